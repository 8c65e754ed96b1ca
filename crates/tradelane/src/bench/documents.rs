//! What is measured on: generated events, a JSON Schema that fits them, and a contract for a hub.

use serde_json::{Value, json};
use tradelane_model::Shape;
use tradelane_seal::bench_docs::{self, Size};

use crate::stopwatch::Stopwatch;

use super::Effort;

/// Documents of all kinds.
pub(super) fn documents(effort: Effort, size: Size) -> Vec<Vec<u8>> {
    (0..effort.documents).map(|n| bench_docs::document(n % bench_docs::KINDS, size, n as u64)).collect()
}

/// Nanoseconds per document: the best of some rounds over all of them, as a hub meets them: each one new to the cache.
pub(super) fn best(effort: Effort, mut work: impl FnMut(usize)) -> f64 {
    let mut best = f64::MAX;
    for _ in 0..effort.rounds {
        let watch = Stopwatch::start();
        (0..effort.documents).for_each(&mut work);
        best = best.min(watch.elapsed().as_nanos() as f64);
    }
    best / effort.documents as f64
}

/// An organization with one product of kind 0, and a partner that sees nothing classified.
pub(super) fn network(shape: &Shape, schema: &Value, partners: usize) -> Vec<(String, String)> {
    let places = shape.places();
    let classed = places.iter().filter_map(|(at, place)| place.class.as_ref().map(|class| (at, class)));
    let fields: Vec<Value> =
        classed.map(|(at, class)| json!({"at": at.to_string(), "class": class.as_str()})).collect();
    let contract = json!({
        "apiVersion": "v3.1.0", "kind": "DataContract", "id": "bench-shipments", "tenant": "bench", "version": "1.0.0",
        "status": "active", "name": "Shipments", "schema": [{"name": "shipment"}],
        "customProperties": [{"property": "tradelane", "value": {"fields": fields, "jsonSchema": schema}}],
    });
    let product =
        manifest("Product", json!({"id": "bench-shipments", "owner": "bench", "contract": "bench-shipments"}));
    let mut files = vec![("contract".to_owned(), contract.to_string()), ("product".to_owned(), product)];
    for n in 0..partners {
        let grant = json!({"id": format!("g-{n}"), "product": "bench-shipments", "consumer": format!("partner-{n}"), "purpose": "bench"});
        files.push((format!("grant-{n}"), manifest("Grant", grant)));
    }
    files
}

/// The organizations and principals of that network.
pub(super) fn people(partners: usize) -> Vec<(String, String)> {
    let mut files = vec![
        ("org".to_owned(), manifest("Organization", json!({"id": "bench"}))),
        (
            "owner".to_owned(),
            manifest(
                "Principal",
                json!({"id": "bench.owner", "organization": "bench", "roles": ["data-owner", "publisher"]}),
            ),
        ),
    ];
    for n in 0..partners {
        let org = format!("partner-{n}");
        files.push((org.clone(), manifest("Organization", json!({"id": org}))));
        let principal = json!({"id": format!("{org}.app"), "organization": org, "roles": ["consumer"]});
        files.push((format!("{org}.app"), manifest("Principal", principal)));
    }
    files
}

fn manifest(kind: &str, spec: Value) -> String {
    json!({"apiVersion": "tradelane/v1", "kind": kind, "spec": spec}).to_string()
}
