//! CloudEvents 1.0 on their way in: the data is the event, `source` and `id` make a retry the same event, and `partitionkey`
//! (the partitioning extension) is its key, as it is for a Kafka record (CloudEvents' Kafka protocol binding, 3.1).

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use tradelane_keys::Sha256;
use tradelane_model::codes;
use tradelane_tape::{Kind, Node, Tape};

use super::{DOCUMENT, Events, KeyPlace, RecordPlace, malformed};
use crate::error::{HubError, Result};

/// The longest value of an attribute that is looked at; as long as a key that is taken from an event.
const MAX_ATTRIBUTE: usize = crate::key_field::MAX_KEY;

/// Structured mode: one JSON document with attributes and `data`.
pub(super) fn structured(bytes: &Bytes) -> Result<Events> {
    let mut tape = Tape::new();
    let doc = tape.parse(bytes, &DOCUMENT).map_err(|error| malformed(&error, bytes))?;
    let mut identity = Sha256::new();
    let (range, key) = one(doc.root(), &mut identity)?;
    let around = keyed(vec![key]);
    Ok(Events { ranges: [range].into(), identity: Some(identity.finish()), around, ..Events::one(bytes.clone()) })
}

/// Batched mode: an array of documents in structured mode.
pub(super) fn batched(bytes: &Bytes) -> Result<Events> {
    let mut tape = Tape::new();
    let doc = tape.parse(bytes, &DOCUMENT).map_err(|error| malformed(&error, bytes))?;
    if doc.root().kind() != Kind::Array {
        return Err(invalid("a batch is a JSON array of CloudEvents"));
    }
    let mut identity = Sha256::new();
    let events = doc.root().elements().map(|event| one(event, &mut identity));
    let (ranges, keys): (Vec<_>, Vec<_>) = events.collect::<Result<Vec<_>>>()?.into_iter().unzip();
    let around = keyed(keys);
    Ok(Events { ranges: ranges.into(), identity: Some(identity.finish()), around, ..Events::one(bytes.clone()) })
}

/// Binary mode: attributes in headers, the event in the body.
pub(super) fn binary(attributes: &[(String, String)], data: &Bytes) -> Result<Events> {
    let get = |name: &str| attributes.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
    let mut identity = Sha256::new();
    attributes_of(get("specversion"), get("id"), get("source"), get("type"), &mut identity)?;
    let around = keyed(vec![get("partitionkey").map(key).transpose()?]);
    Ok(Events { identity: Some(identity.finish()), around, ..Events::one(data.clone()) })
}

/// What is around events with these keys: nothing, if none has one.
fn keyed(keys: Vec<Option<Bytes>>) -> Arc<[RecordPlace]> {
    if keys.iter().all(Option::is_none) {
        return Arc::default();
    }
    let place = |key: Option<Bytes>| RecordPlace {
        time: None,
        key: key.map(KeyPlace::Beside),
        headers: Vec::new(),
        is_tombstone: false,
    };
    keys.into_iter().map(place).collect()
}

fn key(text: &str) -> Result<Bytes> {
    if text.is_empty() || text.len() > MAX_ATTRIBUTE {
        return Err(invalid(&format!("`partitionkey` is text of 1 to {MAX_ATTRIBUTE} bytes")));
    }
    Ok(Bytes::copy_from_slice(text.as_bytes()))
}

/// Where the data is, and the key.
fn one(event: Node<'_>, identity: &mut Sha256) -> Result<(Range<usize>, Option<Bytes>)> {
    if event.kind() != Kind::Object {
        return Err(invalid("a CloudEvent is a JSON object"));
    }
    let text = |name: &str| event.get(name).and_then(Node::as_str);
    let (version, id, source, kind) = (text("specversion"), text("id"), text("source"), text("type"));
    attributes_of(version.as_deref(), id.as_deref(), source.as_deref(), kind.as_deref(), identity)?;
    if event.get("data_base64").is_some() {
        return Err(invalid("the data must be JSON, in `data`"));
    }
    let data = event.get("data").ok_or_else(|| invalid("`data` is missing"))?;
    let key = match event.get("partitionkey") {
        None => None,
        Some(node) => {
            let text = node.as_str().ok_or_else(|| invalid("`partitionkey` is text"))?;
            Some(key(&text)?)
        }
    };
    Ok((data.range(), key))
}

fn attributes_of(
    version: Option<&str>,
    id: Option<&str>,
    source: Option<&str>,
    kind: Option<&str>,
    identity: &mut Sha256,
) -> Result<()> {
    if version != Some("1.0") {
        return Err(invalid("`specversion` must be 1.0"));
    }
    let present = |name: &str, value: Option<&str>| match value {
        Some(value) if !value.is_empty() && value.len() <= MAX_ATTRIBUTE => Ok(value.to_owned()),
        _ => Err(invalid(&format!("`{name}` is required, as text of 1 to {MAX_ATTRIBUTE} bytes"))),
    };
    present("type", kind)?;
    for part in [present("source", source)?, present("id", id)?] {
        identity.update(&(part.len() as u64).to_le_bytes());
        identity.update(part.as_bytes());
    }
    Ok(())
}

fn invalid(what: &str) -> HubError {
    HubError::new(codes::CLOUDEVENT_INVALID, format!("The CloudEvent cannot be taken: {what}."))
}
