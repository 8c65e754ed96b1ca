//! CloudEvents 1.0 over HTTP: the binary mode's headers as attributes on the way in, envelopes on the way out.
//!
//! The structured and batched modes are bodies, which the hub reads. Nothing here knows what an event means.

use bytes::{BufMut, Bytes, BytesMut};
use http::HeaderMap;
use percent_encoding::percent_decode_str;
use tradelane_hub::{HubError, Result};
use tradelane_model::codes;

/// The header that makes a request a CloudEvent in binary mode.
pub(crate) const SPEC_VERSION: &str = "ce-specversion";
const MAX_ATTRIBUTES: usize = 32;
const MAX_VALUE: usize = 1_024;

/// The attributes of a CloudEvent in binary mode, in the order of their names (HTTP protocol binding, 3.1).
/// `content_type` becomes `datacontenttype`.
pub(crate) fn attributes(headers: &HeaderMap, content_type: Option<&str>) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for (name, value) in headers {
        let Some(name) = name.as_str().strip_prefix("ce-") else { continue };
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()) {
            return Err(invalid("A ce- header has a name that no CloudEvents attribute can have."));
        }
        let value = value.to_str().ok().filter(|text| text.len() <= MAX_VALUE);
        let value =
            value.ok_or_else(|| invalid("A ce- header's value is not printable ASCII of at most 1024 bytes."))?;
        let value = percent_decode_str(value).decode_utf8();
        let value = value.map_err(|_| invalid("A ce- header's value is not percent-encoded UTF-8."))?;
        if found.iter().any(|(n, _)| n == name) {
            return Err(invalid("A ce- header comes more than once."));
        }
        found.push((name.to_owned(), value.into_owned()));
    }
    if found.len() > MAX_ATTRIBUTES {
        return Err(invalid("The CloudEvent has more than 32 attributes."));
    }
    if let Some(content_type) = content_type {
        found.push(("datacontenttype".to_owned(), content_type.to_owned()));
    }
    found.sort();
    Ok(found)
}

fn invalid(detail: &str) -> HubError {
    HubError::new(codes::CLOUDEVENT_INVALID, format!("{detail} Send id, source, specversion 1.0 and type."))
}

/// Writes one rendered event as a CloudEvent in structured mode. `product` is an id, so it needs no escapes.
/// Its id is its offset, behind its partition if that is not the first.
pub(crate) fn envelope(out: &mut BytesMut, product: &str, place: (u32, u64), time: &str, event: &[u8]) {
    let (partition, offset) = place;
    let partition = if partition > 0 { format!("{partition}/") } else { String::new() };
    let head = format!(
        "{{\"specversion\":\"1.0\",\"id\":\"{partition}{offset}\",\"source\":\"/v1/products/{product}\",\"type\":\"tradelane.event\",\
         \"time\":\"{time}\",\"datacontenttype\":\"application/json\",\"data\":"
    );
    out.reserve(head.len() + event.len() + 1);
    out.put_slice(head.as_bytes());
    out.put_slice(event);
    out.put_u8(b'}');
}

/// Joins pieces into one JSON array.
pub(crate) fn batch(pieces: impl Iterator<Item = Bytes>) -> Vec<Bytes> {
    let mut row = vec![Bytes::from_static(b"[")];
    for (i, piece) in pieces.enumerate() {
        if i > 0 {
            row.push(Bytes::from_static(b","));
        }
        row.push(piece);
    }
    row.push(Bytes::from_static(b"]"));
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&'static str, &str)]) -> Result<Vec<(String, String)>> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        attributes(&headers, Some("application/json"))
    }

    #[test]
    fn headers_become_attributes() {
        let found = read(&[("ce-id", "a%20b"), ("ce-specversion", "1.0"), ("host", "x")]).unwrap();
        let expected = [("datacontenttype", "application/json"), ("id", "a b"), ("specversion", "1.0")];
        assert_eq!(found, expected.map(|(n, v)| (n.to_owned(), v.to_owned())));
    }

    #[test]
    fn attributes_that_are_none_are_refused() {
        for bad in [[("ce-", "1")], [("ce-a-b", "1")], [("ce-id", "%ff")]] {
            assert_eq!(read(&bad).unwrap_err().code, codes::CLOUDEVENT_INVALID, "{bad:?}");
        }
        assert!(read(&[("ce-id", "1"), ("ce-id", "2")]).is_err());
    }

    #[test]
    fn an_envelope_is_json_around_the_event_as_it_is() {
        let mut out = BytesMut::new();
        envelope(&mut out, "stock", (0, 7), "2026-11-21T10:00:00Z", br#"{"a": 1}"#);
        let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(value["id"], "7");
        assert_eq!(value["data"]["a"], 1);
        let row = batch([Bytes::from_static(b"1"), Bytes::from_static(b"2")].into_iter());
        assert_eq!(row.concat(), b"[1,2]");
    }
}
