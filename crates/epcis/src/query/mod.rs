//! The standard's `SimpleEventQuery`: parameters parsed into a typed [`Query`], and whether an event matches it.
//!
//! Matching runs on an event as it was rendered for the reader: what a view hides is not there to be probed. It knows no
//! storage, no paging and no master data: a descendant of a location is told by its identifier (see `WD_` in
//! `docs/epcis.md`).

mod epcs;
mod error;
mod fields;
mod filter;
mod order;
mod parse;
mod sensors;

use tradelane_model::Timestamp;
use tradelane_tape::Node;

use crate::context::Context;
use filter::Filter;

pub use error::{QueryError, QueryFault};
pub use order::{Direction, OrderBy, OrderKey};
pub use parse::{MOST_PARAMETERS, MOST_VALUES};

/// A query, all of whose filters an event must pass.
#[derive(Debug, Clone, Default)]
pub struct Query {
    filters: Vec<Filter>,
    /// `orderBy` and `orderDirection`.
    pub order: Option<(OrderBy, Direction)>,
    /// `eventCountLimit`: only the first so many events, in that order.
    pub event_count_limit: Option<u32>,
    /// `maxEventCount`: more events than this are an error, not a result.
    pub max_event_count: Option<u32>,
    /// `perPage`: events per page, at least 1.
    pub per_page: Option<u32>,
    /// `nextPageToken`, as it was handed out.
    pub next_page_token: Option<String>,
}

impl Query {
    /// A query from the parameters of a request, percent-decoded; lists are separated by `|`. `prefixes` are those that
    /// the caller declared for field names and values (`GS1-Extensions`).
    pub fn from_pairs<'p>(
        pairs: impl IntoIterator<Item = (&'p str, &'p str)>,
        prefixes: &Context<'_>,
    ) -> Result<Self, QueryError> {
        parse::pairs(pairs, prefixes)
    }

    /// A query from the JSON object that `POST /queries` carries in `query`; its own `@context` declares prefixes.
    pub fn from_json(object: Node<'_>) -> Result<Self, QueryError> {
        parse::json(object)
    }

    /// Whether an event that stands alone matches.
    pub fn matches(&self, event: Node<'_>, record_time: Timestamp) -> bool {
        self.matches_in(event, &Context::default(), record_time)
    }

    /// Whether an event matches; `surrounding` is the context of the document that it came in.
    pub fn matches_in(&self, event: Node<'_>, surrounding: &Context<'_>, record_time: Timestamp) -> bool {
        let context = surrounding.with(event.get("@context"));
        self.filters.iter().all(|filter| filter.accepts(event, &context, record_time))
    }

    /// Where an event belongs in the order that the query asks for; the same for all when it asks for none.
    pub fn order_key(&self, event: Node<'_>, surrounding: &Context<'_>, record_time: Timestamp) -> OrderKey {
        match &self.order {
            Some((by, _)) => by.key(event, &surrounding.with(event.get("@context")), record_time),
            None => OrderKey::Absent,
        }
    }

    /// How many filters there are.
    pub fn filter_count(&self) -> usize {
        self.filters.len()
    }

    /// The bounds on the record time that the query names, from (inclusive) and to (exclusive): what a store can use to
    /// skip events without reading them.
    pub fn record_time_bounds(&self) -> (Option<Timestamp>, Option<Timestamp>) {
        let mut bounds = (None, None);
        for filter in &self.filters {
            filter.narrow(&mut bounds);
        }
        bounds
    }
}
