//! The Event Hash ID of CBV 2.0: a canonical text of an event, hashed, in the form `ni:///sha-256;<hex>?ver=CBV2.0`.
//!
//! The published vectors decide; where they leave something open, so does the implementation that made them, and where
//! that loses information, the standard's text (`docs/epcis.md` lists each such choice). It does not check that the event
//! is valid: an invalid event has a hash as well.

mod prehash;
pub(crate) mod value;

use tradelane_tape::{Doc, Node};

use crate::context::Context;
use crate::document;

/// In this namespace a document may say, as `ignoreFields`, which fields of its events are not hashed.
const IGNORE_NAMESPACE: &str = "https://repository-x.example.com/";

/// The canonical text of an event (its "pre-hash string"). `ignored` names fields, as written in the event, that are left
/// out wherever they stand.
pub fn pre_hash(event: Node<'_>, surrounding: &Context<'_>, ignored: &[String]) -> String {
    let context = surrounding.with(event.get("@context"));
    prehash::event(event, &context, ignored)
}

/// The Event Hash ID of an event.
pub fn event_hash(event: Node<'_>, surrounding: &Context<'_>, ignored: &[String]) -> String {
    id_of(&pre_hash(event, surrounding, ignored))
}

/// The Event Hash ID of every event of a document, query document, list of events or single event, in order.
pub fn document_hashes(doc: Doc<'_>) -> Vec<String> {
    let ignored = ignored_fields(doc.root());
    document::events(doc).iter().map(|event| event_hash(event.node, &event.context, &ignored)).collect()
}

fn id_of(pre_hash: &str) -> String {
    let digest = tradelane_keys::sha256(pre_hash.as_bytes());
    let mut id = String::with_capacity(92);
    id.push_str("ni:///sha-256;");
    for byte in digest {
        for digit in [byte >> 4, byte & 15] {
            id.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
        }
    }
    id.push_str("?ver=CBV2.0");
    id
}

/// The fields that a document asks to leave out; it says so beside its body, a query document in its results.
fn ignored_fields(root: Node<'_>) -> Vec<String> {
    let context = root.get("@context").map(Context::of).unwrap_or_default();
    let results = root.get("epcisBody").and_then(|body| body.get("queryResults"));
    let Some(holder) = (if results.is_some() { results } else { Some(root) }) else { return Vec::new() };
    let list = holder.members().find_map(|(key, value)| {
        let name = key.as_str();
        let asks = context.split_key(&name) == Some((IGNORE_NAMESPACE, "ignoreFields"));
        asks.then_some(value)
    });
    list.map(|list| list.elements().filter_map(|name| name.as_str()).map(|name| name.into_owned()).collect())
        .unwrap_or_default()
}
