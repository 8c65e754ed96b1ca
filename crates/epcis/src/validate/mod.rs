//! Validation of EPCIS 2.0 documents, query documents, single events and lists of events, straight on the parsed tape.
//!
//! Typed and hand-written: no schema is interpreted and nothing is allocated for a valid event. It refuses whatever GS1's
//! JSON schema 2.0.1 refuses, and what no schema catches. It does not know who sent the document or what is stored.

mod checker;
mod document;
mod event;
mod fields;
mod lists;
mod sensor;

use tradelane_tape::{Doc, Kind, Node};

use crate::context::Context;
use crate::rule::{Rule, Violation};
use checker::{Checker, Found};

/// Most violations that one report lists; the rest is only known to exist.
pub const MOST_VIOLATIONS: usize = 100;

/// What kind of text was validated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// An `EPCISDocument`.
    Document,
    /// An `EPCISQueryDocument`.
    QueryDocument,
    /// One event, alone.
    Event,
    /// A JSON array of events.
    EventList,
    /// None of these.
    Unknown,
}

/// What validation found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What the text is.
    pub shape: Shape,
    /// How many events are in it.
    pub events: usize,
    /// The rules that were broken, in document order; at most [`MOST_VIOLATIONS`].
    pub violations: Vec<Violation>,
    /// Whether there are more than are listed.
    pub truncated: bool,
}

impl Report {
    /// Whether no rule was broken.
    pub fn is_valid(&self) -> bool {
        self.violations.is_empty()
    }

    /// Whether the document apart from its events, and the event with this index, broke no rule. A truncated report
    /// answers no.
    pub fn event_is_valid(&self, index: usize) -> bool {
        !self.truncated && self.violations.iter().all(|violation| violation.event.is_some_and(|event| event != index))
    }
}

/// Validates whatever EPCIS text it is; places are pointers from the root of the document.
pub fn validate(doc: Doc<'_>) -> Report {
    let root = doc.root();
    let mut found = Found::default();
    let (shape, events) = match root.kind() {
        Kind::Object => match root.get("type") {
            Some(kind) if kind.eq_str("EPCISDocument") => (Shape::Document, document::capture(root, &mut found)),
            Some(kind) if kind.eq_str("EPCISQueryDocument") => {
                (Shape::QueryDocument, document::query(root, &mut found))
            }
            _ => {
                alone(root, root, None, &mut found);
                (Shape::Event, 1)
            }
        },
        Kind::Array => {
            for (index, node) in root.elements().enumerate() {
                alone(node, root, Some(index), &mut found);
            }
            (Shape::EventList, root.len())
        }
        _ => {
            Checker::new(root, None, &Context::default(), &mut found).fail(root, Rule::NotEpcis);
            (Shape::Unknown, 0)
        }
    };
    let (violations, truncated) = found.take();
    Report { shape, events, violations, truncated }
}

/// Validates one event whose surrounding `@context` is known already (that of its document, or one stored beside it);
/// its own is added. Places are pointers from the event.
pub fn validate_event(event: Node<'_>, surrounding: &Context<'_>) -> Vec<Violation> {
    let mut found = Found::default();
    let context = surrounding.with(event.get("@context"));
    event::event(event, &mut Checker::new(event, None, &context, &mut found));
    found.take().0
}

/// An event that no document surrounds must bring its `@context`.
fn alone<'a>(event: Node<'a>, root: Node<'a>, index: Option<usize>, found: &mut Found) {
    let own = event.get("@context");
    let context = own.map_or_else(Context::out_of_sight, Context::of);
    let mut checker = Checker::new(root, index.or(Some(0)), &context, found);
    if event.kind() == Kind::Object && own.is_none() && event.get("type").is_some() {
        checker.fail(event, Rule::ContextMissing);
    }
    event::event(event, &mut checker);
}
