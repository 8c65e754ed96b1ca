//! Documents around events: taking them apart so that every event can be stored alone, building them around rendered
//! events, and error reports. Knows nothing of storage.
//!
//! An event is kept exactly as its bytes stood in the document; its `@context` is kept beside it. [`with_context`] puts
//! the two together again where an event must stand alone.

use std::borrow::Cow;

use tradelane_model::Timestamp;
use tradelane_tape::{Doc, Kind, Node, text};

use crate::context::Context;
use crate::rule::Violation;
use crate::time::DateTime;

/// The context that every EPCIS 2.0 document refers to.
pub const EPCIS_CONTEXT: &str = "https://ref.gs1.org/standards/epcis/2.0.0/epcis-context.jsonld";

/// One event of a document.
#[derive(Debug, Clone)]
pub struct EventRef<'a> {
    /// Its place among the events, from 0.
    pub index: usize,
    /// The event; `node.raw()` are its bytes as they came.
    pub node: Node<'a>,
    /// The bytes of the `@context` around it, if there is one. The event's own is in the event.
    pub surrounding: Option<&'a [u8]>,
    /// The prefixes of that surrounding context.
    pub context: Context<'a>,
}

impl<'a> EventRef<'a> {
    /// The `eventID`, if it has one.
    pub fn event_id(&self) -> Option<Cow<'a, str>> {
        self.node.get("eventID").and_then(|id| id.as_str())
    }

    /// `eventTime`, if it is one.
    pub fn event_time(&self) -> Option<Timestamp> {
        let time = self.node.get("eventTime")?.as_str()?;
        DateTime::parse(&time).map(DateTime::timestamp)
    }
}

/// The list of events of a document or query document.
fn event_list(root: Node<'_>) -> Option<Node<'_>> {
    let body = root.get("epcisBody")?;
    let results = body.get("queryResults").and_then(|results| results.get("resultsBody"));
    results.unwrap_or(body).get("eventList").filter(|list| list.kind() == Kind::Array)
}

/// The events of a document, query document, list of events or single event, in order.
pub fn events(doc: Doc<'_>) -> Vec<EventRef<'_>> {
    let root = doc.root();
    if root.kind() == Kind::Array {
        let alone = |(index, node)| EventRef { index, node, surrounding: None, context: Context::default() };
        return root.elements().enumerate().map(alone).collect();
    }
    if root.get("epcisBody").is_none() {
        return vec![EventRef { index: 0, node: root, surrounding: None, context: Context::default() }];
    }
    let context_node = root.get("@context");
    let context = context_node.map(Context::of).unwrap_or_default();
    let surrounding = context_node.map(Node::raw);
    let elements = event_list(root).into_iter().flat_map(Node::elements).enumerate();
    elements.map(|(index, node)| EventRef { index, node, surrounding, context: context.clone() }).collect()
}

/// An event that stands alone: its own bytes, with the `@context` that surrounded it put first. An event that has its own
/// `@context` is surrounded by both, the own one last, as JSON-LD resolves them.
pub fn with_context(event: Node<'_>, surrounding: &[u8]) -> Vec<u8> {
    let raw = event.raw();
    if event.kind() != Kind::Object {
        return raw.to_vec();
    }
    let mut out = Vec::with_capacity(raw.len() + surrounding.len() + 32);
    let Some(own) = event.get("@context") else {
        out.extend_from_slice(b"{\"@context\":");
        out.extend_from_slice(surrounding);
        if !event.is_empty() {
            out.push(b',');
        }
        out.extend_from_slice(raw.get(1..).unwrap_or_default());
        return out;
    };
    let start = event.range().start;
    let place = own.range();
    out.extend_from_slice(raw.get(..place.start - start).unwrap_or_default());
    out.push(b'[');
    out.extend_from_slice(inside(surrounding));
    out.push(b',');
    out.extend_from_slice(inside(own.raw()));
    out.push(b']');
    out.extend_from_slice(raw.get(place.end - start..).unwrap_or_default());
    out
}

/// The elements of a JSON array, without its brackets; any other value as it is.
fn inside(json: &[u8]) -> &[u8] {
    let inner = json.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]"));
    match inner.map(<[u8]>::trim_ascii) {
        Some(b"") | None => json,
        Some(elements) => elements,
    }
}

/// What a document around events says of itself.
#[derive(Debug, Clone)]
pub struct Head<'a> {
    /// When the document is made.
    pub created: Timestamp,
    /// Contexts beside the EPCIS one, as JSON values (strings or objects).
    pub contexts: &'a [&'a [u8]],
}

impl Head<'_> {
    fn open(&self, kind: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"@context\":[\"");
        out.extend_from_slice(EPCIS_CONTEXT.as_bytes());
        out.push(b'"');
        for context in self.contexts {
            out.push(b',');
            out.extend_from_slice(inside(context));
        }
        out.extend_from_slice(b"],\"type\":\"");
        out.extend_from_slice(kind.as_bytes());
        out.extend_from_slice(b"\",\"schemaVersion\":\"2.0\",\"creationDate\":\"");
        out.extend_from_slice(DateTime::from(self.created).to_millis().as_bytes());
        out.extend_from_slice(b"\",\"epcisBody\":{");
    }
}

fn list<'e>(events: impl IntoIterator<Item = &'e [u8]>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\"eventList\":[");
    for (at, event) in events.into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(event);
    }
    out.push(b']');
}

/// An `EPCISDocument` around rendered events.
pub fn epcis_document<'e>(head: &Head<'_>, events: impl IntoIterator<Item = &'e [u8]>) -> Vec<u8> {
    let mut out = Vec::with_capacity(4096);
    head.open("EPCISDocument", &mut out);
    list(events, &mut out);
    out.extend_from_slice(b"}}");
    out
}

/// An `EPCISQueryDocument` around rendered events.
pub fn query_document<'e>(
    head: &Head<'_>,
    query_name: &str,
    subscription: Option<&str>,
    events: impl IntoIterator<Item = &'e [u8]>,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(4096);
    head.open("EPCISQueryDocument", &mut out);
    out.extend_from_slice(b"\"queryResults\":{\"queryName\":");
    text::write_string(query_name, &mut out);
    if let Some(id) = subscription {
        out.extend_from_slice(b",\"subscriptionID\":");
        text::write_string(id, &mut out);
    }
    out.extend_from_slice(b",\"resultsBody\":{");
    list(events, &mut out);
    out.extend_from_slice(b"}}}}");
    out
}

/// One error of a capture job or of a refused request, as RFC 9457 (and 7807) shapes it: `type` names an exception of the
/// EPCIS standard.
pub fn problem(exception: &str, title: &str, status: u16, detail: &str, violations: &[Violation]) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    out.extend_from_slice(b"{\"type\":");
    text::write_string(&format!("epcisException:{exception}"), &mut out);
    out.extend_from_slice(b",\"title\":");
    text::write_string(title, &mut out);
    out.extend_from_slice(format!(",\"status\":{status},\"detail\":").as_bytes());
    text::write_string(detail, &mut out);
    if !violations.is_empty() {
        out.extend_from_slice(b",\"errors\":[");
        for (at, violation) in violations.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            one_error(violation, &mut out);
        }
        out.push(b']');
    }
    out.push(b'}');
    out
}

fn one_error(violation: &Violation, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"pointer\":");
    text::write_string(&violation.place, out);
    if let Some(event) = violation.event {
        out.extend_from_slice(format!(",\"event\":{event}").as_bytes());
    }
    out.extend_from_slice(b",\"rule\":");
    text::write_string(violation.rule.id(), out);
    out.extend_from_slice(b",\"detail\":");
    text::write_string(violation.sentence(), out);
    out.push(b'}');
}
