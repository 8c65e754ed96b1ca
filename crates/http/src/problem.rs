//! Errors as callers see them: RFC 9457 problems, in the words of the API that was called.
//!
//! One [`HubError`] has four faces: the hub's own API, the exception types of EPCIS 2.0, OAuth's error responses
//! (RFC 6749, 5.2), and the numbers of Confluent's schema registry. The cause never leaves the process: it is logged with the request's id, which the problem carries as
//! its `instance`.

use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use tradelane_hub::{HubError, Place};
use tradelane_model::{ErrorCode, codes};

use crate::reply::Reply;

/// Which API's words an error is told in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// The hub's own.
    Hub,
    /// EPCIS 2.0, capture side.
    EpcisCapture,
    /// EPCIS 2.0, query side.
    EpcisQuery,
    /// OAuth 2.
    OAuth,
    /// Confluent's schema registry.
    Registry,
}

/// The media type of a problem.
pub(crate) const PROBLEM_JSON: &str = "application/problem+json";
/// The most places told in one problem; the rest is counted in the detail.
const MAX_PLACES: usize = 100;
/// The media type of the schema registry, and of its errors.
pub(crate) const REGISTRY_JSON: &str = "application/vnd.schemaregistry.v1+json";

/// RFC 9457 with our members.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Problem<'a> {
    /// A page that explains the error; under `/epcis` the standard's exception type.
    #[serde(rename = "type")]
    #[schema(value_type = String, format = "uri-reference")]
    kind: String,
    /// What was wrong, the same for every occurrence.
    title: &'a str,
    /// The HTTP status.
    status: u16,
    /// What was wrong this time, and what to do.
    detail: &'a str,
    /// Names this occurrence in the operator's log.
    #[schema(value_type = String, format = "uri-reference")]
    instance: String,
    /// The stable code.
    code: &'a str,
    /// Where in the input.
    #[serde(skip_serializing_if = "<[Place]>::is_empty")]
    #[schema(value_type = Vec<PlaceSchema>)]
    places: &'a [Place],
    /// Seconds after which to try again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(rename = "retryAfter")]
    retry_after: Option<u32>,
}

/// [`Place`], for the OpenAPI document.
#[derive(utoipa::ToSchema)]
#[schema(as = Place)]
#[allow(dead_code)] // Its shape is all that is used.
pub(crate) struct PlaceSchema {
    /// JSON Pointer (RFC 6901) into what was sent; for a batch it starts with the event's index.
    pointer: String,
    /// The rule that is broken there.
    rule: String,
    /// What to do.
    message: String,
}

/// An error as clients of Confluent's schema registry know it.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct RegistryError<'a> {
    /// The HTTP status, or a number that begins with it.
    error_code: u32,
    /// What was wrong and what to do, with the hub's own code.
    message: &'a str,
}

#[derive(Serialize)]
struct OAuthError<'a> {
    error: &'a str,
    error_description: &'a str,
}

/// The answer to a request that was refused or failed.
pub(crate) fn answer(error: &HubError, dialect: Dialect, request_id: &str) -> Reply {
    let status = status_of(error.code, dialect);
    if status.is_server_error() || error.cause.is_some() {
        tracing::warn!(
            target: "tradelane::error", instance = request_id, code = error.code.as_str(),
            cause = error.cause.as_deref().unwrap_or("none given"), "a request failed"
        );
    }
    let mut reply = Reply::new(status);
    reply.code = Some(error.code);
    let (media, body) = match dialect {
        Dialect::OAuth => ("application/json", oauth_body(error)),
        Dialect::Registry => (REGISTRY_JSON, registry_body(error, status)),
        _ => (PROBLEM_JSON, problem_body(error, dialect, status, request_id)),
    };
    reply.headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
    reply.headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(seconds) = error.retry_after {
        reply.headers.insert(RETRY_AFTER, seconds.into());
    }
    if let Some(challenge) = challenge(error.code, dialect) {
        reply.headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    reply.with_body(body)
}

/// The same error as one JSON object, for a place inside an answer (an event stream that ends).
pub(crate) fn problem_body(error: &HubError, dialect: Dialect, status: StatusCode, request_id: &str) -> Vec<u8> {
    let info = error.code.info();
    let kind = match dialect {
        Dialect::EpcisCapture | Dialect::EpcisQuery => exception(error.code, status, dialect).to_owned(),
        Dialect::Hub | Dialect::OAuth | Dialect::Registry => format!("/errors/{}", info.slug),
    };
    let problem = Problem {
        kind,
        title: info.title,
        status: status.as_u16(),
        detail: &error.detail,
        instance: format!("urn:uuid:{request_id}"),
        code: error.code.as_str(),
        places: error.places.get(..MAX_PLACES).unwrap_or(&error.places),
        retry_after: error.retry_after,
    };
    serde_json::to_vec(&problem).unwrap_or_default()
}

fn oauth_body(error: &HubError) -> Vec<u8> {
    let word = match error.code {
        codes::OAUTH_INVALID_CLIENT | codes::UNAUTHENTICATED | codes::CREDENTIALS_EXPIRED => "invalid_client",
        codes::RATE_LIMITED | codes::OVERLOADED => "temporarily_unavailable",
        codes::FORBIDDEN => "invalid_scope",
        code if code.info().status >= 500 => "server_error",
        _ => "invalid_request",
    };
    // RFC 6749 allows printable ASCII without quotes and backslashes here.
    let plain = |c: char| matches!(c, ' '..='~') && !matches!(c, '"' | '\\');
    let description: String = error.detail.chars().map(|c| if plain(c) { c } else { '\'' }).collect();
    serde_json::to_vec(&OAuthError { error: word, error_description: &description }).unwrap_or_default()
}

fn registry_body(error: &HubError, status: StatusCode) -> Vec<u8> {
    let message = format!("{} ({})", error.detail, error.code);
    serde_json::to_vec(&RegistryError { error_code: registry_number(error.code, status), message: &message })
        .unwrap_or_default()
}

/// The numbers that clients of Confluent's registry tell errors apart by; the status where there is none.
fn registry_number(code: ErrorCode, status: StatusCode) -> u32 {
    match code {
        codes::SUBJECT_UNKNOWN => 40401,
        codes::SCHEMA_VERSION_UNKNOWN => 40402,
        codes::SCHEMA_UNKNOWN => 40403,
        codes::SUBJECT_DELETED => 40404,
        codes::SUBJECT_NOT_DELETED => 40405,
        codes::SCHEMA_VERSION_DELETED => 40406,
        codes::SCHEMA_VERSION_NOT_DELETED => 40407,
        codes::COMPATIBILITY_UNSET => 40408,
        codes::MODE_UNSET => 40409,
        codes::SCHEMA_INVALID => 42201,
        codes::SCHEMA_VERSION_INVALID => 42202,
        codes::COMPATIBILITY_INVALID => 42203,
        codes::MODE_INVALID => 42204,
        codes::SUBJECT_READ_ONLY => 42205,
        codes::SCHEMA_IN_USE => 42206,
        codes::SUBJECT_INVALID => 42208,
        codes::INTERNAL => 50001,
        _ => status.as_u16().into(),
    }
}

pub(crate) fn status_of(code: ErrorCode, dialect: Dialect) -> StatusCode {
    let status = match (dialect, code) {
        // The standard knows no 422: what is not valid is a bad request there.
        (Dialect::EpcisCapture | Dialect::EpcisQuery, _) if code.info().status == 422 => 400,
        (Dialect::OAuth, codes::FORBIDDEN) => 400,
        _ => code.info().status,
    };
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// The exception types of EPCIS 2.0 (section 12 and its OpenAPI document).
fn exception(code: ErrorCode, status: StatusCode, dialect: Dialect) -> &'static str {
    match status.as_u16() {
        401 | 403 => "epcisException:SecurityException",
        404 | 410 => "epcisException:NoSuchResourceException",
        406 => "epcisException:NotAcceptableException",
        409 => "epcisException:ResourceAlreadyExistsException",
        413 if dialect == Dialect::EpcisQuery => "epcisException:QueryTooLargeException",
        413 => "epcisException:CaptureLimitExceededException",
        414 => "epcisException:URITooLongException",
        415 => "epcisException:UnsupportedMediaTypeException",
        400 if code == codes::QUERY_INVALID || dialect == Dialect::EpcisQuery => {
            "epcisException:QueryParameterException"
        }
        400 => "epcisException:ValidationException",
        _ => "epcisException:ImplementationException",
    }
}

/// RFC 6750, 3 and 3.1; RFC 6749, 5.2 for the token endpoint.
fn challenge(code: ErrorCode, dialect: Dialect) -> Option<&'static str> {
    match (dialect, code) {
        (Dialect::OAuth, _) if code.info().status == 401 => Some("Basic realm=\"tradelane\", charset=\"UTF-8\""),
        (Dialect::OAuth, _) => None,
        (Dialect::Registry, code) if code.info().status == 401 => {
            Some("Bearer realm=\"tradelane\", Basic realm=\"tradelane\", charset=\"UTF-8\"")
        }
        (_, codes::UNAUTHENTICATED) => Some("Bearer realm=\"tradelane\""),
        (_, codes::CREDENTIALS_EXPIRED) => Some("Bearer realm=\"tradelane\", error=\"invalid_token\""),
        (_, code) if code.info().status == 401 => Some("Bearer realm=\"tradelane\", error=\"invalid_token\""),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(error: &HubError, dialect: Dialect) -> (u16, serde_json::Value, http::HeaderMap) {
        let reply = answer(error, dialect, "id-1");
        let status = reply.status.as_u16();
        let headers = reply.headers.clone();
        (status, serde_json::from_slice(&reply.into_bytes()).unwrap(), headers)
    }

    #[test]
    fn a_problem_tells_what_was_wrong_and_never_the_cause() {
        let place = Place { pointer: "/a".into(), rule: "type".into(), message: "must be text".into() };
        let error =
            HubError::new(codes::CONTRACT_VIOLATION, "No.").at(vec![place]).because("disk /dev/secret").retry(7);
        let (status, body, headers) = body(&error, Dialect::Hub);
        assert_eq!(status, 422);
        assert_eq!(body["type"], "/errors/contract-violation");
        assert_eq!(body["code"], "TL-1002");
        assert_eq!(body["instance"], "urn:uuid:id-1");
        assert_eq!(body["places"][0]["pointer"], "/a");
        assert_eq!(headers["retry-after"], "7");
        assert!(!body.to_string().contains("secret"));
    }

    #[test]
    fn under_epcis_the_standards_exceptions_are_told() {
        for (code, dialect, status, kind) in [
            (codes::EPCIS_INVALID, Dialect::EpcisCapture, 400, "epcisException:ValidationException"),
            (codes::QUERY_INVALID, Dialect::EpcisQuery, 400, "epcisException:QueryParameterException"),
            (codes::DUPLICATE_EVENT, Dialect::EpcisCapture, 409, "epcisException:ResourceAlreadyExistsException"),
            (codes::NO_GRANT, Dialect::EpcisQuery, 403, "epcisException:SecurityException"),
            (codes::TOO_LARGE, Dialect::EpcisCapture, 413, "epcisException:CaptureLimitExceededException"),
            (codes::INTERNAL, Dialect::EpcisQuery, 500, "epcisException:ImplementationException"),
        ] {
            let (got, body, _) = body(&HubError::of(code), dialect);
            assert_eq!((got, body["type"].as_str().unwrap()), (status, kind));
        }
    }

    #[test]
    fn a_refused_credential_is_challenged() {
        let (_, _, headers) = body(&HubError::of(codes::UNAUTHENTICATED), Dialect::Hub);
        assert_eq!(headers["www-authenticate"], "Bearer realm=\"tradelane\"");
        let (status, body, headers) = body(&HubError::of(codes::OAUTH_INVALID_CLIENT), Dialect::OAuth);
        assert_eq!((status, body["error"].as_str().unwrap()), (401, "invalid_client"));
        assert!(headers["www-authenticate"].to_str().unwrap().starts_with("Basic"));
    }
}
