//! The OpenAPI 3.1 document: made from the table of routes and from the types that they read and write.
//!
//! `docs/api/openapi.json` is a copy of it; a test says when the copy is stale.

mod operation;
mod schemas;

use serde_json::{Map, Value, json};

pub(crate) use operation::{Operation, operation};
pub(crate) use schemas::{array, id, integer, object, reference, text, words};

use crate::door::Route;

/// The document for these routes.
pub(crate) fn document(routes: &[Route]) -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for route in routes {
        let item = paths.entry(operation::openapi_path(route.path)).or_insert_with(|| json!({}));
        item[route.method.as_str().to_ascii_lowercase()] = operation::describe(route);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Tradelane",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "Governed data sharing between the organizations of a supply chain.",
            "description": INTRODUCTION,
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "tags": TAGS.map(|(name, description)| json!({ "name": name, "description": description })),
        "paths": paths,
        "components": {
            "schemas": schemas::all(),
            "headers": {
                "Tradelane-Receipt": {
                    "description": "The number of the leaf in the audit log under which this access is on record.",
                    "schema": { "type": "integer", "format": "int64", "minimum": 0 }
                },
                "RateLimit": {
                    "description": "What is left of the quota (r) and the seconds until there is more (t).",
                    "schema": { "type": "string" }
                },
                "RateLimit-Policy": {
                    "description": "The quota: requests at once (q) and the seconds in which they come back (w).",
                    "schema": { "type": "string" }
                }
            },
            "securitySchemes": {
                "bearer": {
                    "type": "http", "scheme": "bearer",
                    "description": "An API key (`tlk_...`) or an access token from /oauth/token."
                },
                "apiKey": { "type": "apiKey", "in": "header", "name": "X-Api-Key", "description": "An API key (`tlk_...`)." },
                "oauth2": {
                    "type": "oauth2",
                    "description": "Short-lived tokens (`at+jwt`), narrowed to what a client needs.",
                    "flows": { "clientCredentials": { "tokenUrl": "/oauth/token", "scopes": {
                        "read:*": "Read every product that the client's organization was granted.",
                        "publish:*": "Publish to every product of the client's organization.",
                        "manage": "Manage what the client's roles allow.",
                        "audit": "Read the organization's audit trail."
                    } } }
                },
                "basicKey": { "type": "http", "scheme": "basic", "description": "Any user name, and an API key as the password." },
                "client": { "type": "http", "scheme": "basic", "description": "client_id and client_secret." }
            }
        }
    })
}

const INTRODUCTION: &str = "One contract says what a partner may see; every listener enforces it; every access leaves a \
proof. Send an API key or an access token as `Authorization: Bearer`. Every governed answer carries `Tradelane-Receipt`, \
the number under which the access is in the audit log; ask for its proof at `/v1/audit/receipts/{leaf}`. Errors are \
problems (RFC 9457) with a stable code and a page under `/errors`.";

const TAGS: [(&str, &str); 10] = [
    ("Events", "Publish to a product and read from it."),
    ("Catalog", "What there is, under which contract."),
    ("Access", "Ask for grants, decide on them, end them."),
    ("Control", "Organizations, contracts and products as manifests."),
    ("Credentials", "API keys, client secrets and access tokens."),
    ("Privacy", "Erase persons, explain views, turn tokens back."),
    ("Audit", "The trail, receipts, and the log itself as C2SP tlog-tiles."),
    ("EPCIS", "The REST binding of EPCIS 2.0, per product."),
    ("Schemas", "A schema registry as Confluent's clients know it."),
    ("Operations", "Health, metrics and this documentation."),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_in_the_document_leads_somewhere() {
        let document = document(&crate::routes::all());
        let mut references = Vec::new();
        collect(&document, &mut references);
        assert!(!references.is_empty());
        for reference in references {
            let pointer = reference.strip_prefix('#').expect("references stay inside the document");
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }

    #[test]
    fn every_operation_has_an_id_of_its_own() {
        let mut seen = std::collections::HashSet::new();
        for route in crate::routes::all() {
            assert!(seen.insert(route.operation.id()), "{}", route.operation.id());
        }
    }

    fn collect(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                for (key, value) in map {
                    match value {
                        Value::String(text) if key == "$ref" => found.push(text.clone()),
                        _ => collect(value, found),
                    }
                }
            }
            Value::Array(list) => list.iter().for_each(|value| collect(value, found)),
            _ => {}
        }
    }
}
