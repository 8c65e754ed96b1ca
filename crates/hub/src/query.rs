//! EPCIS queries: over events as the reader's view renders them, so that a query cannot probe what the view hides.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use bytes::Bytes;
use serde_json::Value;
use tradelane_audit::Leaf;
use tradelane_epcis::document::{self, Head};
use tradelane_epcis::{Context, Query, QueryError};
use tradelane_model::journal::Change;
use tradelane_model::product::Format;
use tradelane_model::{Model, ProductId, codes};
use tradelane_tape::{Kind, Limits, Node, Tape};

use crate::Hub;
use crate::audit_trail::{CHANGE, LIST, QUERY, hub_leaf};
use crate::authenticate::to_hex;
use crate::authorize::{Act, On};
use crate::doorway::{Audited, Caller};
use crate::error::{HubError, Result};
use crate::publish::malformed;
use crate::read::{Reader, Rendered};

/// Events per page unless the query says otherwise, and at most.
const PER_PAGE: usize = 30;
const MAX_PER_PAGE: usize = 1_000;
/// Bytes of events after which a page ends, however many were asked for: an event may have a megabyte.
const PAGE_BYTES: usize = 8 << 20;
/// The most events that are put in order, and the most bytes of them.
const MAX_ORDERED: usize = 10_000;
const ORDERED_BYTES: usize = 32 << 20;
/// The most values of a vocabulary that are listed, and about the most bytes of them.
const MAX_LISTED: usize = 10_000;
const LISTED_BYTES: usize = 4 << 20;
/// The most named queries of one organization.
const MAX_QUERIES: usize = 1_000;

/// Parameters of a query, as the request has them.
pub type Parameters = Vec<(String, String)>;

/// A page of a query's result.
#[derive(Debug, Clone)]
pub struct EventPage {
    /// An `EPCISQueryDocument`.
    pub document: Vec<u8>,
    /// How many events are in it.
    pub count: usize,
    /// The `nextPageToken` for the next page.
    pub next: Option<String>,
}

/// What can be listed of a product's events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vocabulary {
    /// Types of events.
    EventTypes,
    /// EPCs.
    Epcs,
    /// Business steps.
    BizSteps,
    /// Business locations.
    BizLocations,
    /// Read points.
    ReadPoints,
    /// Dispositions.
    Dispositions,
}

impl Hub {
    /// Runs a query over what the caller may see of a product.
    pub async fn epcis_query(
        &self,
        caller: &Caller,
        product: &ProductId,
        parameters: &Parameters,
    ) -> Result<Audited<EventPage>> {
        let pairs = parameters.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let query = Query::from_pairs(pairs, &Context::default()).map_err(refused)?;
        self.run(caller, product, &query, "SimpleEventQuery", &identity(parameters)).await
    }

    /// Runs a named query; the parameters add to it.
    pub async fn run_query(
        &self,
        caller: &Caller,
        product: &ProductId,
        name: &str,
        paging: &Parameters,
    ) -> Result<Audited<EventPage>> {
        let model = self.model();
        let key = (caller.organization.id.clone(), query_name(product, name)?);
        let stored = model.queries.get(&key).ok_or_else(HubError::not_found)?;
        let mut query = stored_query(stored)?;
        let page = paging.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let page = Query::from_pairs(page, &Context::default()).map_err(refused)?;
        if page.filter_count() > 0 {
            return Err(HubError::new(codes::QUERY_INVALID, "A named query takes perPage and nextPageToken only."));
        }
        query.per_page = page.per_page.or(query.per_page);
        query.next_page_token = page.next_page_token;
        self.run(caller, product, &query, name, &identity(&vec![("name".into(), name.into())])).await
    }

    async fn run(
        &self,
        caller: &Caller,
        product: &ProductId,
        query: &Query,
        name: &str,
        identity: &[u8; 32],
    ) -> Result<Audited<EventPage>> {
        let reader = self.epcis_reader(caller, product).await?;
        let from = match &query.next_page_token {
            Some(token) => self.page_from(token, identity)?,
            None => 0,
        };
        let per_page =
            query.per_page.map_or(PER_PAGE, |n| usize::try_from(n).unwrap_or(PER_PAGE)).clamp(1, MAX_PER_PAGE);
        let find = |reader: Reader| async move {
            let found = match &query.order {
                Some(_) => self.ordered(&reader, query, from, per_page).await?,
                None => self.unordered(&reader, query, from, per_page).await?,
            };
            Ok((reader, found))
        };
        let (reader, (events, next)) = self.renewing(&reader, find).await?;
        let head = Head { created: self.now(), contexts: &[] };
        let document = document::query_document(&head, name, None, events.iter().map(Vec::as_slice));
        let next = next.map(|next| self.page_token(next, identity));
        let page = EventPage { document, count: events.len(), next };
        let leaf = self.query_leaf(&reader, page.count);
        self.audited(leaf, page).await
    }

    /// In the order of the log; `from` is an offset.
    async fn unordered(
        &self,
        reader: &Reader,
        query: &Query,
        from: u64,
        per_page: usize,
    ) -> Result<(Vec<Vec<u8>>, Option<u64>)> {
        let mut events: Vec<Vec<u8>> = Vec::new();
        let (mut next, mut seen, mut bytes) = (None, 0_u32, 0);
        let limit = query.event_count_limit;
        let most = query.max_event_count;
        self.scan(reader, from, |event, node| {
            if !query.matches(node, event.time) {
                return ControlFlow::Continue(());
            }
            seen = seen.saturating_add(1);
            let has_room = events.len() < per_page && bytes < PAGE_BYTES && next.is_none();
            if has_room && limit.is_none_or(|limit| seen <= limit) {
                bytes += event.event.len();
                events.push(event.event.to_vec());
            } else if next.is_none() && limit.is_none_or(|limit| seen <= limit) {
                next = Some(event.offset);
            }
            // How many there are matters only to a query that bears no more than so many.
            let enough = next.is_some() || limit.is_some_and(|limit| seen >= limit);
            let counted = most.is_none_or(|most| seen > most);
            if enough && counted { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .await?;
        if from == 0 && most.is_some_and(|most| seen > most) {
            return Err(too_large());
        }
        Ok((events, next))
    }

    /// In the order that the query asks for; `from` is a position in it.
    async fn ordered(
        &self,
        reader: &Reader,
        query: &Query,
        from: u64,
        per_page: usize,
    ) -> Result<(Vec<Vec<u8>>, Option<u64>)> {
        let mut found = Vec::new();
        let (mut overflow, mut bytes) = (false, 0);
        self.scan(reader, 0, |event, node| {
            if query.matches(node, event.time) {
                bytes += event.event.len();
                if found.len() >= MAX_ORDERED || bytes > ORDERED_BYTES {
                    overflow = true;
                    return ControlFlow::Break(());
                }
                found.push((query.order_key(node, &Context::default(), event.time), event.event.to_vec()));
            }
            ControlFlow::Continue(())
        })
        .await?;
        if overflow || query.max_event_count.is_some_and(|most| found.len() > most as usize) {
            return Err(too_large());
        }
        if let Some((_, direction)) = &query.order {
            found.sort_by(|(one, _), (other, _)| one.compare(other, *direction));
        }
        found.truncate(query.event_count_limit.map_or(usize::MAX, |limit| limit as usize));
        let start = usize::try_from(from).unwrap_or(usize::MAX).min(found.len());
        let end = (start + per_page).min(found.len());
        let next = (end < found.len()).then_some(end as u64);
        Ok((found.drain(start..end).map(|(_, event)| event).collect(), next))
    }

    /// Shows the visitor every event that the reader may see, as the reader sees it. What it has seen may leave if there is no
    /// error: the right to read was still there at the end.
    async fn scan(
        &self,
        reader: &Reader,
        from: u64,
        visit: impl FnMut(Rendered<'_>, Node<'_>) -> ControlFlow<()>,
    ) -> Result<()> {
        self.scan_all(reader, from, visit).await?;
        self.check(reader)
    }

    async fn scan_all(
        &self,
        reader: &Reader,
        from: u64,
        mut visit: impl FnMut(Rendered<'_>, Node<'_>) -> ControlFlow<()>,
    ) -> Result<()> {
        let mut tape = Tape::new();
        let mut at = from;
        loop {
            let (chunks, next) = self.chunks(reader, at).await?;
            for chunk in &chunks {
                for event in chunk.iter().filter(|event| event.offset >= from) {
                    let doc = tape.parse(event.event, &Limits::DOCUMENT);
                    let doc = doc.map_err(|error| HubError::of(codes::WITHHELD).because(error))?;
                    if visit(event, doc.root()).is_break() {
                        return Ok(());
                    }
                }
            }
            match next {
                Some(next) => at = next,
                None => return Ok(()),
            }
            // A long scan lets others work, and ends when the right to read does.
            tokio::task::yield_now().await;
            self.check(reader)?;
        }
    }

    fn query_leaf(&self, reader: &Reader, count: usize) -> Leaf {
        let mut leaf = hub_leaf(self.now(), &reader.caller, QUERY);
        leaf.product = Some(reader.product.clone());
        leaf.owner = Some(reader.view.current.owner.clone());
        leaf.grant = reader.grant().cloned();
        leaf.purpose = reader.grant.as_ref().map(|grant| tradelane_audit::Word::near(&grant.purpose));
        leaf.view = Some(reader.view.digest);
        leaf.count = count as u64;
        leaf.classes = reader.view.disclosed(self, &reader.product);
        leaf
    }

    /// Who may not read hears nothing of what the product holds.
    async fn epcis_reader(&self, caller: &Caller, product: &ProductId) -> Result<Reader> {
        let reader = self.reader(caller, product, None).await?;
        self.holds_epcis(product)?;
        Ok(reader)
    }

    fn holds_epcis(&self, product: &ProductId) -> Result<()> {
        match self.model().format_of(product) {
            Some(Format::Epcis) => Ok(()),
            Some(_) => Err(HubError::new(
                codes::BAD_PARAMETER,
                "This product does not hold EPCIS events; read it as a stream.",
            )),
            None => Err(HubError::not_found()),
        }
    }

    /// The values of a vocabulary in what the caller may see.
    pub async fn epcis_values(
        &self,
        caller: &Caller,
        product: &ProductId,
        vocabulary: Vocabulary,
    ) -> Result<Audited<Vec<String>>> {
        let reader = self.epcis_reader(caller, product).await?;
        let find = |reader: Reader| async move {
            let mut values = Values::default();
            self.scan(&reader, 0, |_, event| {
                collect(event, vocabulary, &mut values);
                if values.are_enough() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })
            .await?;
            Ok((reader, values.all))
        };
        let (reader, values) = self.renewing(&reader, find).await?;
        let leaf = self.query_leaf(&reader, values.len());
        self.audited(leaf, values.into_iter().collect()).await
    }

    /// One event by its `eventID`, as a query document.
    pub async fn epcis_event(&self, caller: &Caller, product: &ProductId, id: &str) -> Result<Audited<Vec<u8>>> {
        let parameters = vec![("EQ_eventID".to_owned(), id.to_owned())];
        let page = self.epcis_query(caller, product, &parameters).await?;
        if page.value.count == 0 {
            return Err(HubError::not_found());
        }
        Ok(page.map(|page| page.document))
    }

    /// Saves a named query (EPCIS 2.0, 8.2.7): `{"name": ..., "query": {...}}`.
    pub async fn put_query(&self, caller: &Caller, product: &ProductId, definition: Bytes) -> Result<Audited<String>> {
        // Whoever may read may ask in a way of its own.
        self.epcis_reader(caller, product).await?;
        let mut tape = Tape::new();
        tape.parse(&definition, &Limits::EVENT).map_err(|error| malformed(&error, &definition))?;
        let definition: Value = serde_json::from_slice(&definition).map_err(|_| HubError::of(codes::MALFORMED_JSON))?;
        stored_query(&definition)?;
        let name = definition.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        let full = query_name(product, &name)?;
        let organization = caller.organization.id.clone();
        let mut leaf = hub_leaf(self.now(), caller, CHANGE);
        leaf.product = Some(product.clone());
        let decide = |model: &Model, _| {
            if model.queries.contains_key(&(organization.clone(), full.clone())) {
                return Err(HubError::new(codes::CONFLICT, "A query of that name exists; delete it first."));
            }
            if model.queries.keys().filter(|(org, _)| *org == organization).count() >= MAX_QUERIES {
                return Err(HubError::new(
                    codes::CONFLICT,
                    format!("An organization has at most {MAX_QUERIES} queries."),
                ));
            }
            let put =
                Change::QueryPut { organization: organization.clone(), name: full.clone(), query: definition.clone() };
            Ok((vec![put], name.clone()))
        };
        let (value, leaf) = self.change(&caller.principal.id, leaf, decide).await?;
        Ok(Audited { value, leaf })
    }

    /// Deletes a named query.
    pub async fn delete_query(&self, caller: &Caller, product: &ProductId, name: &str) -> Result<Audited<()>> {
        self.reader(caller, product, None).await?;
        let (organization, full) = (caller.organization.id.clone(), query_name(product, name)?);
        let mut leaf = hub_leaf(self.now(), caller, CHANGE);
        leaf.product = Some(product.clone());
        let decide = |model: &Model, _| {
            if !model.queries.contains_key(&(organization.clone(), full.clone())) {
                return Err(HubError::not_found());
            }
            Ok((vec![Change::QueryDeleted { organization: organization.clone(), name: full.clone() }], ()))
        };
        let (value, leaf) = self.change(&caller.principal.id, leaf, decide).await?;
        Ok(Audited { value, leaf })
    }

    /// The named queries of the caller's organization on this product: their definitions.
    pub async fn queries(&self, caller: &Caller, product: &ProductId) -> Result<Audited<Vec<Value>>> {
        self.allow(caller, Act::Discover, On::Product(product))?;
        self.holds_epcis(product)?;
        let (model, prefix) = (self.model(), format!("{product}/"));
        let own = |(org, name): &&(tradelane_model::OrgId, String)| {
            *org == caller.organization.id && name.starts_with(&prefix)
        };
        let found = model.queries.iter().filter(|(key, _)| own(key));
        let queries: Vec<Value> = found.map(|(_, query)| (**query).clone()).collect();
        let mut leaf = hub_leaf(self.now(), caller, LIST);
        leaf.product = Some(product.clone());
        leaf.count = queries.len() as u64;
        self.audited(leaf, queries).await
    }

    fn page_token(&self, at: u64, identity: &[u8; 32]) -> String {
        let mac = self.inner().dedup_key.mac_parts(&[b"page\0", &at.to_le_bytes(), identity]);
        format!("{at}.{}", to_hex(mac.get(..12).unwrap_or(&mac)))
    }

    /// A token that was not handed out for this query leads nowhere.
    fn page_from(&self, token: &str, identity: &[u8; 32]) -> Result<u64> {
        let at = token.split_once('.').and_then(|(at, _)| at.parse().ok());
        let at = at.filter(|at| {
            let right = self.page_token(*at, identity);
            tradelane_keys::constant_time_eq(right.as_bytes(), token.as_bytes())
        });
        at.ok_or_else(|| HubError::new(codes::QUERY_INVALID, "nextPageToken is not one that this query was given."))
    }
}

fn stored_query(definition: &Value) -> Result<Query> {
    let query = definition.get("query").filter(|query| query.is_object());
    let query = query.ok_or_else(|| HubError::new(codes::QUERY_INVALID, "`query` must be an object of parameters."))?;
    let text = serde_json::to_vec(query).map_err(|error| HubError::of(codes::INTERNAL).because(error))?;
    let mut tape = Tape::new();
    let doc = tape.parse(&text, &Limits::EVENT).map_err(|error| malformed(&error, &text))?;
    Query::from_json(doc.root()).map_err(refused)
}

/// Names are an organization's own per product.
fn query_name(product: &ProductId, name: &str) -> Result<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > 100 || !name.chars().all(plain) {
        let detail = "A query's name is 1 to 100 letters, digits, '-', '_' or '.'.";
        return Err(HubError::new(codes::QUERY_INVALID, detail));
    }
    Ok(format!("{product}/{name}"))
}

fn refused(error: QueryError) -> HubError {
    HubError::new(error.code(), format!("The query cannot be run: {error}."))
}

fn too_large() -> HubError {
    HubError::new(codes::QUERY_INVALID, "More events match than the query bears: narrow it, or raise maxEventCount.")
}

/// What tells one query from another: its parameters without those of paging.
fn identity(parameters: &Parameters) -> [u8; 32] {
    let mut sorted: Vec<_> = parameters.iter().filter(|(name, _)| name != "nextPageToken").collect();
    sorted.sort();
    let mut hash = tradelane_keys::Sha256::new();
    for (name, value) in sorted {
        for part in [name, value] {
            hash.update(&(part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
    }
    hash.finish()
}

/// The values of a vocabulary that were found.
#[derive(Default)]
struct Values {
    all: BTreeSet<String>,
    bytes: usize,
}

impl Values {
    fn add(&mut self, value: String) {
        let bytes = value.len();
        if !self.are_enough() && self.all.insert(value) {
            self.bytes += bytes;
        }
    }

    fn are_enough(&self) -> bool {
        self.all.len() >= MAX_LISTED || self.bytes >= LISTED_BYTES
    }
}

fn collect(event: Node<'_>, vocabulary: Vocabulary, values: &mut Values) {
    let mut add = |node: Option<Node<'_>>| {
        if let Some(text) = node.and_then(|node| node.as_str()) {
            values.add(text.into_owned());
        }
    };
    match vocabulary {
        Vocabulary::EventTypes => add(event.get("type")),
        Vocabulary::BizSteps => add(event.get("bizStep")),
        Vocabulary::Dispositions => add(event.get("disposition")),
        Vocabulary::BizLocations => add(event.pointer("/bizLocation/id")),
        Vocabulary::ReadPoints => add(event.pointer("/readPoint/id")),
        Vocabulary::Epcs => {
            add(event.get("parentID"));
            for list in ["epcList", "childEPCs", "inputEPCList", "outputEPCList"] {
                let list = event.get(list).filter(|list| list.kind() == Kind::Array);
                list.into_iter().flat_map(Node::elements).for_each(|epc| add(Some(epc)));
            }
        }
    }
}
