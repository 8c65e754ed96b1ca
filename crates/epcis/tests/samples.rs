//! The published sample documents, when they are beside the repository: valid ones flow, invalid ones are refused at the
//! right place. Without them these tests have nothing to do; our own fixtures are tested in `fixtures.rs`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tradelane_epcis::validate::{Report, validate};
use tradelane_tape::{Limits, Tape};

fn samples() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/samples");
    let root = std::env::var_os("TRADELANE_SAMPLES").map_or(beside, PathBuf::from);
    let epcis = root.join("epcis");
    epcis.is_dir().then_some(epcis)
}

fn documents() -> BTreeMap<String, Vec<u8>> {
    let mut documents = BTreeMap::new();
    let Some(root) = samples() else { return documents };
    for folder in ["gs1-json", "openepcis-json", "hash-vectors", "profiles"] {
        let Ok(entries) = std::fs::read_dir(root.join(folder)) else { continue };
        for path in entries.flatten().map(|entry| entry.path()) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let json = path.extension().is_some_and(|end| end == "json" || end == "jsonld");
            if json && !name.starts_with("profile__") && !name.starts_with("Query__Queries") {
                documents.insert(format!("{folder}/{name}"), std::fs::read(&path).expect("readable"));
            }
        }
    }
    let generated = "openepcis-generated-10-events.json";
    documents.insert(generated.to_owned(), std::fs::read(root.join(generated)).expect("readable"));
    documents
}

fn report(json: &[u8]) -> Option<Report> {
    let mut tape = Tape::new();
    tape.parse(json, &Limits::default()).ok().map(validate)
}

#[test]
fn print() {
    for (name, json) in documents() {
        let Some(report) = report(&json) else {
            println!("{name} DUPLICATE");
            continue;
        };
        if !report.is_valid() {
            println!("{name} {:?} {}", report.shape, report.events);
            for violation in report.violations.iter().take(12) {
                println!("    {:?} {violation}", violation.event);
            }
        }
    }
}

#[test]
fn every_published_vector_is_reproduced() {
    let Some(root) = samples() else { return };
    let root = std::env::var_os("VECTORS").map_or(root.join("hash-vectors"), PathBuf::from);
    let mut compared = 0;
    let mut wrong = Vec::new();
    for path in std::fs::read_dir(root).expect("readable").flatten().map(|entry| entry.path()) {
        if path.extension().is_none_or(|end| end != "jsonld") || !path.with_extension("hashes").exists() {
            continue;
        }
        let json = std::fs::read(&path).expect("readable");
        let expected = std::fs::read_to_string(path.with_extension("hashes")).expect("readable");
        let lines: Vec<String> = tradelane_epcis::hash_lines("", &json).into_iter().map(|line| line.text).collect();
        compared += lines.len();
        if lines != expected.split_whitespace().collect::<Vec<_>>() {
            wrong.push(path.display().to_string());
        }
    }
    assert!(compared >= 18 && wrong.is_empty(), "{compared} compared, wrong: {wrong:?}");
}
