//! Every error that can reach a caller: a stable code, its page, its HTTP status, what it means and what to do.
//!
//! Codes are never reused and never change their meaning. `docs/errors/` holds a page for each, made from this table.

use std::fmt;

/// A stable error code such as `TL-1002`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ErrorCode(&'static str);

/// What is known of a code.
#[derive(Debug, Clone, Copy)]
pub struct ErrorInfo {
    /// The code.
    pub code: ErrorCode,
    /// A short name for links: `contract-violation`.
    pub slug: &'static str,
    /// The HTTP status that goes with it.
    pub status: u16,
    /// What was wrong, in one sentence.
    pub title: &'static str,
    /// What to do.
    pub remedy: &'static str,
}

impl ErrorCode {
    /// The code as text.
    pub const fn as_str(self) -> &'static str {
        self.0
    }

    /// What is known of it.
    pub fn info(self) -> &'static ErrorInfo {
        ALL.iter().find(|info| info.code == self).unwrap_or(&ALL[ALL.len() - 1])
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

macro_rules! codes {
    ($($name:ident $code:literal $status:literal $slug:literal $title:literal $remedy:literal;)*) => {
        $(#[doc = $title] pub const $name: ErrorCode = ErrorCode($code);)*

        /// The whole table, by code.
        pub const ALL: &[ErrorInfo] = &[
            $(ErrorInfo { code: $name, slug: $slug, status: $status, title: $title, remedy: $remedy },)*
        ];
    };
}

codes! {
    MALFORMED_JSON "TL-1001" 400 "malformed-json" "The body is not JSON that can be accepted."
        "Send UTF-8 JSON (RFC 8259) without duplicate keys or lone surrogates; the place is in the answer.";
    CONTRACT_VIOLATION "TL-1002" 422 "contract-violation" "The event does not keep its product's data contract."
        "Compare the event with the contract's schema at the place named in the answer.";
    EPCIS_INVALID "TL-1003" 422 "epcis-invalid" "The document or event is not valid EPCIS 2.0."
        "Run `tradelane epcis validate` on it; each violation names its place and rule.";
    TOO_LARGE "TL-1004" 413 "too-large" "The request is larger than its limit."
        "Send smaller events or fewer in one request; the limits are in the answer and in the documentation.";
    UNSUPPORTED_MEDIA "TL-1005" 415 "unsupported-media-type" "This content type is not accepted here."
        "Use application/json, application/x-ndjson, application/cloudevents+json or application/cloudevents-batch+json as the operation says.";
    BAD_PARAMETER "TL-1006" 400 "bad-parameter" "A parameter, header or field of the request is missing or not understood."
        "Correct the one named in the answer; the OpenAPI document lists what is accepted.";
    QUALITY_RULE "TL-1007" 422 "quality-rule-failed" "The event fails a quality rule of its contract."
        "The rule's name is in the answer; the contract says what it demands.";
    CLOUDEVENT_INVALID "TL-1008" 400 "cloudevent-invalid" "The CloudEvent lacks an attribute or carries one that is not valid."
        "Send id, source, specversion 1.0 and type, and the data as JSON.";
    DUPLICATE_EVENT "TL-1009" 409 "duplicate-event" "An event with this eventID was captured before."
        "Nothing: it is stored. To correct an event, publish an error declaration.";
    CONTRACT_INVALID "TL-1010" 422 "contract-invalid" "The data contract cannot be used."
        "Correct the place named in the answer; `datacontract lint` checks the ODCS part.";
    MANIFEST_INVALID "TL-1011" 422 "manifest-invalid" "A manifest cannot be applied."
        "Correct the file and place named in the answer; nothing was changed.";
    QUERY_INVALID "TL-1012" 400 "query-parameter" "The EPCIS query has a parameter that is unknown or has a value of the wrong form."
        "Correct the parameter named in the answer (EPCIS 2.0, section 8.2.7).";
    FILTER_INVALID "TL-1013" 422 "filter-invalid" "A row filter, quality rule or policy does not compile."
        "Correct the expression at the place named in the answer.";
    NOT_ACCEPTABLE "TL-1014" 406 "not-acceptable" "The version or media type asked for is not offered."
        "Ask for EPCIS 2.0, CBV 2.0 and JSON, or leave the header out.";
    METHOD_NOT_ALLOWED "TL-1015" 405 "method-not-allowed" "This path does not take that method."
        "The Allow header says which it takes.";
    URI_TOO_LONG "TL-1016" 414 "uri-too-long" "The request's path and query are longer than the limit."
        "Ask for less at once; long EPCIS queries can be stored with POST /epcis/{product}/queries and run by name.";
    ENCODING_INVALID "TL-1017" 422 "encoding-invalid" "The event's bytes are not what its schema says."
        "Serialize it with the schema that its product's contract carries, and nothing after it.";
    BINARY_PRODUCT "TL-1018" 415 "binary-product" "The product's events are Avro or Protobuf, which cannot be sent this way."
        "Publish with a Kafka client and the serializer of the schema registry.";
    CONTRACT_BREAKING "TL-1019" 409 "contract-breaking" "The change of the data contract would break its consumers."
        "Undo what breaks, or raise the contract's major version and give a notice period; `tradelane impact` says who would notice.";
    VERSION_ENDED "TL-1020" 422 "version-ended" "The event is of a version of its contract that is not taken any more."
        "Publish by the newest version: its notice period is over, and what breaks can no longer be brought into the form that readers have.";
    KEY_REQUIRED "TL-1021" 422 "key-required" "The product keeps the last event of each key, and this event has none."
        "Name the field that is the key in the contract (`records.key.from`), or send the event with a key: as a CloudEvent with the attribute `partitionkey`, or as a Kafka record.";
    KEY_INVALID "TL-1022" 422 "key-invalid" "The field that the contract names as the event's key holds none."
        "Put text, a number, true or false there, of 1 to 2,048 bytes; or send the event as a CloudEvent with the attribute `partitionkey`, which is its key then.";
    UNAUTHENTICATED "TL-2001" 401 "unauthenticated" "The request carries no credentials that could be accepted."
        "Send `Authorization: Bearer` with an API key or an access token from /oauth/token.";
    CREDENTIALS_EXPIRED "TL-2002" 401 "credentials-expired" "The access token or key has expired or was revoked."
        "Ask for a new token, or for a new key from your administrator.";
    OAUTH_INVALID_CLIENT "TL-2003" 401 "invalid-client" "The OAuth client is unknown or its secret is wrong."
        "Check client_id and client_secret; secrets expire and are rotated.";
    OAUTH_INVALID_REQUEST "TL-2004" 400 "invalid-request" "The token request is not one that this server understands."
        "Send grant_type=client_credentials, form-encoded, with scopes of products that you may use.";
    FORBIDDEN "TL-3001" 403 "forbidden" "You are not allowed to do this."
        "Ask your administrator for the role, or the product's owner for a grant.";
    GRANT_ENDED "TL-3002" 403 "grant-ended" "The grant was revoked, has expired, or changed since this read began."
        "Read again from your last cursor if the grant is active; otherwise ask the product's owner.";
    NOT_FOUND "TL-3003" 404 "not-found" "There is nothing here that you may see."
        "Check the name; what you have no grant for looks like what does not exist.";
    NO_GRANT "TL-3004" 403 "no-grant" "Your organization has no active grant for this product."
        "Ask for access with POST /v1/access-requests.";
    KEY_REUSED "TL-4001" 422 "idempotency-key-reused" "This Idempotency-Key was used with another body."
        "Use a new key for a new request.";
    IN_FLIGHT "TL-4002" 409 "request-in-flight" "A request with this Idempotency-Key is still being worked on."
        "Wait and retry with the same key and body.";
    CONFLICT "TL-4003" 409 "conflict" "Somebody changed this at the same time, or it is not in a state that allows the change."
        "Read it again and decide anew.";
    TOPIC_TAKEN "TL-4004" 409 "topic-taken" "The consumer has another topic of that name."
        "Give `topic` another name; where several grants give one organization the same product, they name the same topic.";
    RATE_LIMITED "TL-5001" 429 "rate-limited" "More requests than your quota allows."
        "Wait as long as Retry-After says.";
    TIMED_OUT "TL-5002" 408 "timed-out" "The request took longer than its limit to arrive or to be answered."
        "Retry; send less at once.";
    OVERLOADED "TL-5003" 503 "overloaded" "The hub has more work than it accepts at once."
        "Retry after the time in Retry-After.";
    KEYS_UNAVAILABLE "TL-6004" 503 "keys-unavailable" "A key that this needs cannot be reached."
        "Retry; the operator's log names the key store's trouble.";
    AUDIT_UNAVAILABLE "TL-6005" 503 "audit-unavailable" "The access could not be recorded, so it did not happen."
        "Retry; the operator's log names the audit log's trouble.";
    WITHHELD "TL-6006" 422 "record-withheld" "A record cannot be shown safely and was put in quarantine."
        "The product's owner sees it and the reason in the quarantine.";
    STORAGE_FULL "TL-7001" 507 "storage-full" "There is no room to store this; nothing was written, and reading still works."
        "Retry later with the same Idempotency-Key; the operator must add space or shorten a retention.";
    STORAGE_CORRUPT "TL-7002" 500 "storage-corrupt" "Stored data fails its integrity check and is not served."
        "The operator must restore it from a backup or a replica; the log names the place.";
    STORAGE_WRONG_KEY "TL-7003" 500 "storage-wrong-key" "The store is encrypted under another root key than the one given."
        "Start with the root key that the store was created with.";
    STORAGE_NEWER_SCHEMA "TL-7004" 500 "storage-newer-schema" "The store was written by a newer release."
        "Start the newer release, or restore a backup made by this one.";
    STORAGE_FOREIGN "TL-7005" 500 "storage-foreign" "The file or database is no store of this kind."
        "Check the configured path.";
    STORAGE_LOCKED "TL-7006" 503 "storage-locked" "The store is open in another process."
        "Stop that process first.";
    UNKNOWN_STREAM "TL-7007" 404 "unknown-stream" "There is no such stream."
        "Check the product's name; a stream comes to be with its first event.";
    OFFSET_GONE "TL-7008" 410 "offset-gone" "The offset asked for is no longer kept."
        "Start again from the first offset that is kept; the answer names it.";
    OFFSET_BEYOND_END "TL-7009" 400 "offset-beyond-end" "The offset asked for is beyond the end of the stream."
        "Read from an offset that a publish or an earlier read returned.";
    STORAGE_LIMIT "TL-7010" 400 "storage-limit" "An argument is outside its documented bounds."
        "Keep to the limits in the documentation.";
    STORAGE_UNAVAILABLE "TL-7011" 503 "storage-unavailable" "The storage could not be reached or has stopped."
        "Retry with the same Idempotency-Key; the operator's log names the cause.";
    SUBJECT_UNKNOWN "TL-8001" 404 "subject-unknown" "There is no such subject that you may see."
        "Check the name: TOPIC-value, TOPIC-key, or a subject of your own organization.";
    SCHEMA_VERSION_UNKNOWN "TL-8002" 404 "schema-version-unknown" "The subject has no such version."
        "Ask for one that the subject's list of versions names, or for `latest`.";
    SCHEMA_UNKNOWN "TL-8003" 404 "schema-unknown" "There is no such schema that you may see."
        "Check the id or the schema; what you have no grant for looks like what does not exist.";
    SUBJECT_DELETED "TL-8004" 404 "subject-deleted" "The subject was deleted already."
        "Send permanent=true to delete it for good.";
    SUBJECT_NOT_DELETED "TL-8005" 404 "subject-not-deleted" "The subject must be deleted before it can be deleted for good."
        "Delete it without permanent=true first.";
    SCHEMA_VERSION_DELETED "TL-8006" 404 "schema-version-deleted" "The version was deleted already."
        "Send permanent=true to delete it for good.";
    SCHEMA_VERSION_NOT_DELETED "TL-8007" 404 "schema-version-not-deleted" "The version must be deleted before it can be deleted for good."
        "Delete it without permanent=true first.";
    COMPATIBILITY_UNSET "TL-8008" 404 "compatibility-unset" "The subject has no compatibility level of its own."
        "Ask with defaultToGlobal=true, or set one.";
    MODE_UNSET "TL-8009" 404 "mode-unset" "The subject has no mode of its own."
        "Ask with defaultToGlobal=true, or set one.";
    SCHEMA_INVALID "TL-8010" 422 "schema-invalid" "The schema cannot be registered."
        "Correct what the answer names; schemas are JSON Schema, draft-07, 2019-09 or 2020-12.";
    SCHEMA_VERSION_INVALID "TL-8011" 422 "schema-version-invalid" "The version is neither a number from 1 on nor `latest`."
        "Send a number that the subject's list of versions names, or `latest`.";
    COMPATIBILITY_INVALID "TL-8012" 422 "compatibility-invalid" "The compatibility level is not known."
        "Send BACKWARD, FORWARD or FULL, one of these with _TRANSITIVE, or NONE.";
    MODE_INVALID "TL-8013" 422 "mode-invalid" "The mode is not known or not offered."
        "Send READWRITE or READONLY.";
    SUBJECT_READ_ONLY "TL-8014" 422 "subject-read-only" "The subject is in a mode that does not allow this."
        "Set its mode, or that of all subjects, to READWRITE.";
    SCHEMA_IN_USE "TL-8015" 422 "schema-in-use" "Another schema refers to this version."
        "Delete the schemas that refer to it first.";
    SUBJECT_INVALID "TL-8016" 422 "subject-invalid" "The name is none that a subject can have."
        "Use 1 to 255 bytes without control characters.";
    SCHEMA_INCOMPATIBLE "TL-8017" 409 "schema-incompatible" "The schema is not compatible with an earlier version of its subject."
        "Correct the places named in the answer, or register under a new subject with a new major version.";
    SCHEMA_ID_UNKNOWN "TL-8018" 422 "schema-id-unknown" "The record was written with a schema that its product does not have."
        "Register the schema under PRODUCT-value, and use the id that the registry answers.";
    INTERNAL "TL-9001" 500 "internal" "Something went wrong that should not."
        "Retry; if it persists, give the operator the instance id in the answer.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_and_slug_is_used_once() {
        for (i, a) in ALL.iter().enumerate() {
            for b in &ALL[i + 1..] {
                assert!(a.code != b.code && a.slug != b.slug, "{} {}", a.code, b.code);
                assert!(a.code.as_str() < b.code.as_str(), "the table is sorted");
            }
            assert!((400..600).contains(&a.status));
        }
    }
}
