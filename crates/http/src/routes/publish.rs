//! Publish: events in, in any of the forms that they come in.

use http::header::CONTENT_TYPE;
use http::{Method, StatusCode};
use serde_json::json;
use tradelane_hub::{Audited, Body, HubError, Publish, Result};
use tradelane_model::codes;

use crate::api::{array, integer, operation, reference, text, words};
use crate::cloudevents;
use crate::door::{Ask, BodySize, Route, governed};
use crate::media::MediaType;
use crate::params::{LAST_PARTITION, wrong};
use crate::reply::Reply;

/// The longest idempotency key.
const MAX_KEY: usize = 255;

pub(super) fn routes(routes: &mut Vec<Route>) {
    let events = "/v1/products/{product}/events";
    let described = operation("publishEvents", "Events", "Publish one event, a batch, or CloudEvents")
        .about(
            "One JSON document is one event and a JSON array a batch; NDJSON has one event per line. A batch is stored whole or \
             not at all, unless `on-error=quarantine` sets aside what does not keep the contract. Events with a \
             key (`partitionkey` of a CloudEvent, or the field that the contract names) go to the partition that Kafka's clients \
             choose for it. A request with an \
             `Idempotency-Key` can be repeated: it is answered as the first time and stored once.",
        )
        .query("on-error", words(&["refuse", "quarantine"]), "What happens to events that do not keep the contract.")
        .query("partition", integer(0, LAST_PARTITION.into()), "Where all of them go; unless said, their keys choose, or the hub.")
        .query(
            "version",
            integer(0, u32::MAX.into()),
            "The major version of the contract that they are of; an earlier one is taken until its notice is over.",
        )
        .header(
            "Idempotency-Key",
            json!({ "type": "string", "pattern": "^\"[\\x20\\x21\\x23-\\x5b\\x5d-\\x7e]{1,255}\"$" }),
            "A quoted string that names this request (draft-ietf-httpapi-idempotency-key-header), for example a UUID.",
        )
        .body_like("application/json", json!({ "description": "An event, or an array of events." }), json!({}))
        .body("application/x-ndjson", text())
        .body("application/cloudevents+json", json!({ "type": "object" }))
        .body("application/cloudevents-batch+json", array(json!({ "type": "object" })))
        .answer(201, "Stored, durably.", "application/json", reference("Published"))
        .refuses(409, "A request with this Idempotency-Key is still being worked on.")
        .refuses(
            422,
            "An event does not keep the contract, its version is not taken any more, or the Idempotency-Key was used with \
             another body or is of events that would be stored otherwise by now.",
        )
        .refuses(507, "There is no room to store this.");
    routes.push(governed(Method::POST, events, described, publish).takes(BodySize::Events));
}

async fn publish(ask: Ask) -> Result<Audited<Reply>> {
    let product = ask.product()?;
    let mut query = ask.query()?;
    let proceed = match query.take("on-error")?.as_deref() {
        None | Some("refuse") => false,
        Some("quarantine") => true,
        Some(_) => return Err(wrong("on-error", "refuse or quarantine")),
    };
    let partition = query.partition()?;
    let version = query.version()?;
    query.finish()?;
    let idempotency_key = ask.header("idempotency-key")?.map(idempotency_key).transpose()?;
    let body = body(&ask)?;
    let request = Publish { product, body, idempotency_key, proceed, partition, version };
    let published = ask.hub().publish(&ask.caller, request).await?;
    let receipt = published.leaf();
    Ok(published.map(|published| {
        let mut value = serde_json::to_value(&published).unwrap_or_default();
        if let Some(only) = published.only() {
            value["partition"] = json!(only.partition);
            value["offset"] = json!(only.offset);
        }
        value["receipt"] = json!(receipt);
        Reply::json(StatusCode::CREATED, &value)
    }))
}

/// The events, by what the body says it is.
fn body(ask: &Ask) -> Result<Body> {
    let bytes = ask.body.clone();
    if ask.headers.contains_key(cloudevents::SPEC_VERSION) {
        // In binary mode the content type is that of the data.
        let content_type = ask.header(CONTENT_TYPE.as_str())?;
        if content_type.is_some_and(|text| !MediaType::parse(text).is_some_and(|media| is_json(&media))) {
            return Err(HubError::of(codes::UNSUPPORTED_MEDIA));
        }
        let attributes = cloudevents::attributes(&ask.headers, content_type)?;
        return Ok(Body::CloudEventBinary { attributes, data: bytes });
    }
    match ask.media_type()?.essence.as_str() {
        "application/json" | "application/ld+json" if starts_array(&bytes) => Ok(Body::Array(bytes)),
        "application/json" | "application/ld+json" => Ok(Body::One(bytes)),
        "application/x-ndjson" | "application/jsonl" => Ok(Body::Lines(bytes)),
        "application/cloudevents+json" => Ok(Body::CloudEvent(bytes)),
        "application/cloudevents-batch+json" => Ok(Body::CloudEvents(bytes)),
        _ => Err(HubError::of(codes::UNSUPPORTED_MEDIA)),
    }
}

fn is_json(media: &MediaType) -> bool {
    (media.essence == "application/json" || media.essence.ends_with("+json")) && media.is_utf8()
}

fn starts_array(bytes: &[u8]) -> bool {
    bytes.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'[')
}

/// A structured field string (RFC 9651, 3.3.3): quoted, with `\"` and `\\` as its only escapes.
fn idempotency_key(text: &str) -> Result<String> {
    let inner = text.trim().strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    inner.and_then(unescape).filter(|key| (1..=MAX_KEY).contains(&key.len())).ok_or_else(|| {
        wrong(
            "Idempotency-Key",
            "a quoted string of 1 to 255 printable ASCII characters, for example \"8e03978e-40d5\"",
        )
    })
}

fn unescape(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.push(chars.next().filter(|c| matches!(c, '"' | '\\'))?),
            '"' => return None,
            ' '..='~' => out.push(c),
            _ => return None,
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idempotency_key_is_a_quoted_string() {
        assert_eq!(idempotency_key("\"abc\"").unwrap(), "abc");
        assert_eq!(idempotency_key(r#" "a\"b\\" "#).unwrap(), r#"a"b\"#);
        for bad in ["abc", "\"\"", "\"", "\"a\"b\"", r#""a\""#, r#""\n""#, "\"ä\""] {
            assert!(idempotency_key(bad).is_err(), "{bad}");
        }
        assert!(idempotency_key(&format!("\"{}\"", "a".repeat(256))).is_err());
    }

    #[test]
    fn an_array_is_known_by_its_first_character() {
        assert!(starts_array(b" \n[1]"));
        assert!(!starts_array(b"{\"a\":[]}") && !starts_array(b""));
    }
}
