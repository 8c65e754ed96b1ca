//! The schemas of the document: those of the listener's own types are derived from them; those of the model's, which knows
//! nothing of OpenAPI, are written here, and a fuzzer holds the running hub against them.

use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;

use crate::problem::{PlaceSchema, Problem, RegistryError};
use crate::routes::shapes;

/// A reference to a schema of the document.
pub(crate) fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// Text.
pub(crate) fn text() -> Value {
    json!({ "type": "string" })
}

/// One of these words.
pub(crate) fn words(words: &[&str]) -> Value {
    json!({ "type": "string", "enum": words })
}

/// The id of something.
pub(crate) fn id() -> Value {
    json!({ "type": "string", "pattern": "^[a-z0-9][a-z0-9._-]{0,62}$" })
}

/// A whole number between bounds.
pub(crate) fn integer(least: u64, most: u64) -> Value {
    json!({ "type": "integer", "minimum": least, "maximum": most })
}

/// A list.
pub(crate) fn array(of: Value) -> Value {
    json!({ "type": "array", "items": of })
}

/// Any JSON object.
pub(crate) fn object() -> Value {
    json!({ "type": "object" })
}

type Derived = Vec<(String, RefOr<Schema>)>;

fn derive<T: ToSchema>(all: &mut Derived) {
    all.push((T::name().into_owned(), T::schema()));
    T::schemas(all);
}

/// All of them.
pub(crate) fn all() -> Map<String, Value> {
    let mut derived = Derived::new();
    derive::<Problem<'_>>(&mut derived);
    derive::<PlaceSchema>(&mut derived);
    derive::<shapes::Published>(&mut derived);
    derive::<shapes::EventPage>(&mut derived);
    derive::<shapes::EventEnvelope>(&mut derived);
    derive::<shapes::QuarantinePage>(&mut derived);
    derive::<shapes::AccessRequestBody>(&mut derived);
    derive::<shapes::ReasonBody>(&mut derived);
    derive::<shapes::GrantList>(&mut derived);
    derive::<shapes::Catalog>(&mut derived);
    derive::<shapes::ApplyBody>(&mut derived);
    derive::<RegistryError<'_>>(&mut derived);
    derive::<shapes::PlanBody>(&mut derived);
    derive::<shapes::NewCredentialBody>(&mut derived);
    derive::<shapes::NewCertificateBody>(&mut derived);
    derive::<shapes::RegisteredBody<'_>>(&mut derived);
    derive::<shapes::IssuedBody>(&mut derived);
    derive::<shapes::CredentialList>(&mut derived);
    derive::<shapes::ErasureRequest>(&mut derived);
    derive::<shapes::ErasureBody>(&mut derived);
    derive::<shapes::ExplainRequest>(&mut derived);
    derive::<shapes::DetokenizeRequest>(&mut derived);
    derive::<shapes::DetokenizedBody>(&mut derived);
    derive::<shapes::TrailPage>(&mut derived);
    derive::<shapes::TokenBody>(&mut derived);
    derive::<shapes::OAuthError>(&mut derived);
    derive::<shapes::Metadata>(&mut derived);
    derive::<shapes::HealthBody>(&mut derived);
    derive::<shapes::CaptureJobBody>(&mut derived);
    derive::<shapes::NamedQuery>(&mut derived);
    derive::<shapes::Collection>(&mut derived);
    let mut schemas = Map::new();
    for (name, schema) in derived {
        schemas.insert(name, serde_json::to_value(schema).unwrap_or_default());
    }
    of_the_model(&mut schemas);
    schemas.sort_keys();
    schemas
}

/// Words of the model, as its JSON has them.
fn of_the_model(schemas: &mut Map<String, Value>) {
    let mut put = |name: &str, schema: Value| drop(schemas.insert(name.to_owned(), schema));
    let time = json!({ "type": "string", "format": "date-time" });
    put(
        "Action",
        json!({
            "description": "What a view does with a field.",
            "oneOf": [
                words(&["reveal", "drop", "redact", "pseudonym", "token"]),
                { "type": "object", "required": ["partial"], "additionalProperties": false, "properties": { "partial": {
                    "type": "object", "properties": { "first": integer(0, 255), "last": integer(0, 255) } } } },
                { "type": "object", "required": ["generalize"], "additionalProperties": false, "properties": { "generalize": {
                    "oneOf": [
                        { "type": "object", "required": ["date"], "additionalProperties": false,
                          "properties": { "date": words(&["day", "month", "year"]) } },
                        { "type": "object", "required": ["geo"], "additionalProperties": false, "properties": { "geo": {
                            "type": "object", "required": ["decimals"], "properties": { "decimals": integer(0, 6) } } } },
                        { "type": "object", "required": ["number"], "additionalProperties": false, "properties": { "number": {
                            "type": "object", "required": ["bucket"],
                            "properties": { "bucket": { "type": "number", "exclusiveMinimum": 0 } } } } }
                    ] } } }
            ]
        }),
    );
    put(
        "ViewSpec",
        json!({
            "description": "How a reader sees an event. Where nothing is said, public and internal are revealed and everything else is dropped.",
            "type": "object", "additionalProperties": false,
            "properties": {
                "classes": { "type": "object", "additionalProperties": reference("Action"), "propertyNames": id() },
                "fields": { "type": "object", "additionalProperties": reference("Action"),
                            "description": "By field pattern, for example `/recipient/phone`; they win over the class's." }
            }
        }),
    );
    let conditions = json!({
        "view": reference("ViewSpec"),
        "filter": { "type": ["string", "null"], "description": "CEL over `event`, `reader` and `now`; none: all events." },
        "attributes": { "type": "object", "description": "What the owner asserts of the consumer, as `reader.NAME` in the filter." },
        "expires": { "type": ["string", "null"], "format": "date-time" },
        "terms": text(),
        "topic": {
            "type": ["string", "null"], "pattern": "^[a-zA-Z0-9._-]{1,249}$",
            "description": "The Kafka topic under which the consumer finds the product, and it only; none: the product's id.",
        },
    });
    put(
        "Conditions",
        json!({
            "description": "What the owner decides about a grant.",
            "type": "object", "additionalProperties": false, "properties": conditions,
        }),
    );
    let mut grant = json!({
        "id": id(), "product": id(), "consumer": id(), "purpose": text(),
        "status": reference("GrantStatus"), "pseudonymEpoch": { "type": "integer", "minimum": 0 },
        "pin": {
            "description": "The major version of the contract that it stays with, and until when.",
            "type": "object", "required": ["major", "since", "until"],
            "properties": { "major": { "type": "integer", "minimum": 0 }, "since": time, "until": time },
        },
    });
    if let (Some(grant), Some(conditions)) = (grant.as_object_mut(), conditions.as_object()) {
        grant.extend(conditions.clone());
    }
    put(
        "Grant",
        json!({
            "description": "Who may read which product, for which purpose, seen how, until when.",
            "type": "object", "required": ["id", "product", "consumer", "purpose", "view", "status"], "properties": grant,
        }),
    );
    put(
        "GrantStatus",
        json!({
            "type": "object", "required": ["state"],
            "properties": {
                "state": words(&["requested", "active", "denied", "revoked"]),
                "by": id(), "at": time, "reason": text(),
            }
        }),
    );
    put(
        "CatalogEntry",
        json!({
            "description": "What a partner can know of a product without a grant.",
            "type": "object",
            "required": ["id", "name", "description", "owner", "format", "contract", "version", "purposes", "sla", "partitions", "fields", "access"],
            "properties": {
                "id": id(), "name": text(), "description": text(), "owner": id(), "format": words(&["json", "epcis"]),
                "partitions": { "type": "integer", "minimum": 1 },
                "contract": id(), "version": text(), "purposes": array(text()), "region": text(),
                "retentionSeconds": { "type": "integer", "minimum": 1 },
                "sla": array(object()),
                "fields": array(json!({ "type": "object", "required": ["at"], "properties": { "at": text(), "class": text() } })),
                "access": words(&["owner", "granted", "requested", "none"]),
                "topic": { "type": "string", "description": "The Kafka topic to subscribe or publish to; missing if it is none for you." },
                "notices": array(object()),
            }
        }),
    );
    put(
        "Credential",
        json!({
            "description": "A key or secret of a principal; its secret and hash are not shown.",
            "type": "object", "required": ["id", "principal", "kind", "issued", "expires"],
            "properties": {
                "id": id(), "principal": id(), "kind": words(&["api-key", "client-secret", "certificate"]), "hash": text(),
                "issued": time, "expires": time, "revoked": time,
            }
        }),
    );
    put(
        "TrailEntry",
        json!({
            "description": "A leaf of the audit log in which the caller's organization has a part.",
            "type": "object", "required": ["index", "leaf"],
            "properties": {
                "index": { "type": "integer", "format": "int64", "minimum": 0 },
                "leaf": {
                    "type": "object", "required": ["action", "count", "org", "outcome", "time", "v"],
                    "properties": {
                        "action": text(), "classes": array(text()), "count": { "type": "integer", "minimum": 0 },
                        "digest": text(), "grant": id(), "offsets": array(json!({ "type": "integer", "minimum": 0 })),
                        "org": id(), "outcome": words(&["allowed", "refused", "failed"]), "owner": id(), "principal": id(),
                        "partition": { "type": "integer", "minimum": 0 },
                        "product": id(), "purpose": text(), "reason": text(), "v": { "type": "integer" }, "view": text(),
                    }
                }
            }
        }),
    );
    put("Event", json!({ "description": "An event of the product, as its contract says." }));
    put("JsonSchema", json!({ "description": "A JSON Schema.", "type": ["object", "boolean"] }));
    put(
        "Explanation",
        json!({
            "description": "Field by field, what a reader sees of an event and which rule decides.", "type": "object",
        }),
    );
    put(
        "EpcisDocument",
        json!({
            "description": "An EPCISDocument or EPCISQueryDocument (EPCIS 2.0).",
            "type": "object", "required": ["@context", "type", "epcisBody"],
            "properties": {
                "@context": {}, "type": words(&["EPCISDocument", "EPCISQueryDocument"]), "schemaVersion": text(),
                "creationDate": text(), "epcisBody": {},
            }
        }),
    );
    put(
        "EpcisEvent",
        json!({
            "description": "An EPCIS 2.0 event.",
            "type": "object", "required": ["type", "eventTime", "eventTimeZoneOffset"],
            "properties": { "type": text(), "eventTime": text(), "eventTimeZoneOffset": text() },
        }),
    );
    put(
        "EpcisQuery",
        json!({
            "description": "Parameters of an EPCIS 2.0 query (query-schema.json): `EQ_bizStep`, `GE_eventTime`, ...",
            "type": "object",
        }),
    );
}
