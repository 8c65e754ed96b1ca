//! CloudEvents 1.0 on their way in: the data is the event, `source` and `id` make a retry the same event.

use bytes::Bytes;
use tradelane_keys::Sha256;
use tradelane_model::codes;
use tradelane_tape::{Kind, Node, Tape};

use super::{DOCUMENT, Events, malformed};
use crate::error::{HubError, Result};

/// The longest value of an attribute that is looked at.
const MAX_ATTRIBUTE: usize = 2_048;

/// Structured mode: one JSON document with attributes and `data`.
pub(super) fn structured(bytes: &Bytes) -> Result<Events> {
    let mut tape = Tape::new();
    let doc = tape.parse(bytes, &DOCUMENT).map_err(|error| malformed(&error, bytes))?;
    let mut identity = Sha256::new();
    let range = one(doc.root(), &mut identity)?;
    Ok(Events { ranges: [range].into(), identity: Some(identity.finish()), ..Events::one(bytes.clone()) })
}

/// Batched mode: an array of documents in structured mode.
pub(super) fn batched(bytes: &Bytes) -> Result<Events> {
    let mut tape = Tape::new();
    let doc = tape.parse(bytes, &DOCUMENT).map_err(|error| malformed(&error, bytes))?;
    if doc.root().kind() != Kind::Array {
        return Err(invalid("a batch is a JSON array of CloudEvents"));
    }
    let mut identity = Sha256::new();
    let ranges = doc.root().elements().map(|event| one(event, &mut identity)).collect::<Result<_>>()?;
    Ok(Events { ranges, identity: Some(identity.finish()), ..Events::one(bytes.clone()) })
}

/// Binary mode: attributes in headers, the event in the body.
pub(super) fn binary(attributes: &[(String, String)], data: &Bytes) -> Result<Events> {
    let get = |name: &str| attributes.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
    let mut identity = Sha256::new();
    attributes_of(get("specversion"), get("id"), get("source"), get("type"), &mut identity)?;
    Ok(Events { identity: Some(identity.finish()), ..Events::one(data.clone()) })
}

fn one(event: Node<'_>, identity: &mut Sha256) -> Result<std::ops::Range<usize>> {
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
    Ok(data.range())
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
