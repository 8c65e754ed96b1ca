//! What is measured on: generated events, a JSON Schema that fits them, and a contract for a hub.

use std::path::Path;

use serde_json::{Value, json};
use tradelane_model::Compression;
use tradelane_model::Shape;
use tradelane_seal::bench_docs::{self, Size};

use crate::failure::{Failure, Result};
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

/// An organization with one product of kind 0, compressed so, and partners that see nothing classified.
pub(super) fn network(
    shape: &Shape,
    schema: &Value,
    partners: usize,
    compression: Compression,
) -> Vec<(String, String)> {
    let places = shape.places();
    let classed = places.iter().filter_map(|(at, place)| place.class.as_ref().map(|class| (at, class)));
    let fields: Vec<Value> =
        classed.map(|(at, class)| json!({"at": at.to_string(), "class": class.as_str()})).collect();
    let contract = json!({
        "apiVersion": "v3.1.0", "kind": "DataContract", "id": "bench-shipments", "tenant": "bench", "version": "1.0.0",
        "status": "active", "name": "Shipments", "schema": [{"name": "shipment"}],
        "customProperties": [{"property": "tradelane", "value": {"fields": fields, "jsonSchema": schema}}],
    });
    let spec = json!({
        "id": "bench-shipments", "owner": "bench", "contract": "bench-shipments", "compression": compression,
    });
    let product = manifest("Product", spec);
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

/// `events.ndjson`, events of kind 0 one a line, and the manifests in `people` and `network`.
pub(super) fn write(folder: &Path, count: u64, partners: usize) -> Result<()> {
    let sample = serde_json::from_slice(&bench_docs::document(0, Size::Small, 0)).map_err(broken)?;
    let network = network(&bench_docs::shape(0, false), &bench_docs::schema_like(&sample), partners, Compression::None);
    for (name, files) in [("people", people(partners)), ("network", network)] {
        let place = folder.join(name);
        std::fs::create_dir_all(&place).map_err(broken)?;
        for (name, text) in files {
            let kind = if name == "contract" { "odcs.yaml" } else { "yaml" };
            std::fs::write(place.join(format!("{name}.{kind}")), text).map_err(broken)?;
        }
    }
    let mut lines = Vec::new();
    for n in 0..count {
        lines.extend(bench_docs::document(0, Size::Small, n));
        lines.push(b'\n');
    }
    std::fs::write(folder.join("events.ndjson"), lines).map_err(broken)
}

fn broken(error: impl std::fmt::Display) -> Failure {
    Failure::failed(format!("the benchmark is broken: {error}"))
}

fn manifest(kind: &str, spec: Value) -> String {
    json!({"apiVersion": "tradelane/v1", "kind": kind, "spec": spec}).to_string()
}
