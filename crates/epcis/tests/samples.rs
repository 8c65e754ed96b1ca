//! The published sample documents, when they are beside the repository: valid ones flow, invalid ones are refused at the
//! right place, hashes are the published ones, and nothing that GS1's JSON schema refuses is accepted. Without the samples
//! these tests have nothing to do; our own fixtures are tested in `fixtures.rs`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tradelane_epcis::validate::{Report, validate};
use tradelane_schema::Schema;
use tradelane_tape::{Limits, Tape};

#[expect(clippy::disallowed_methods, reason = "says where the samples are; it configures nothing")]
fn samples() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/samples");
    let root = std::env::var_os("TRADELANE_SAMPLES").map_or(beside, PathBuf::from);
    let epcis = root.join("epcis");
    epcis.is_dir().then_some(epcis)
}

/// Every sample that is an EPCIS document or event, by folder and name.
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

fn official_schema() -> Option<Schema> {
    let path = samples()?.join("spec/epcis-json-schema-2.0.1.json");
    let schema: Value = serde_json::from_slice(&std::fs::read(path).expect("readable")).expect("JSON");
    Some(Schema::compile(&schema).expect("GS1's schema compiles"))
}

/// Samples that the standard refuses although no `Invalid` is in their names, with the rules that they break.
const NOT_VALID: &[(&str, &str)] = &[
    // Measurement types that are no words of the vocabulary, and a report without type: GS1's schema refuses them too.
    ("openepcis-json/Capture__Documents__SensorData_with_combined_events.json", "EPCIS-034"),
    ("openepcis-json/Capture__Documents__TransactionEvent_with_userExtensions.json", "EPCIS-034"),
    ("openepcis-json/Query__SensorData_with_combined_events.json", "EPCIS-034"),
    ("openepcis-json/Query__TransactionEvent_with_userExtensions.json", "EPCIS-034"),
    // The same attribute in sensorMetadata and in sensorReport: conformance requirement TCR-53, step 29.
    ("gs1-json/WithFullCombinationOfFields__aggregation_event_all_possible_fields.jsonld", "EPCIS-046"),
    ("gs1-json/WithFullCombinationOfFields__transaction_event_all_possible_fields.jsonld", "EPCIS-046"),
    ("gs1-json/WithFullCombinationOfFields__transformation_event_all_possible_fields.jsonld", "EPCIS-046"),
    ("openepcis-json/Capture__Documents__AggregationEvent_all_possible_fields.json", "EPCIS-046"),
    ("openepcis-json/Capture__Documents__AssociationEvent_all_possible_fields.json", "EPCIS-046"),
    ("openepcis-json/Capture__Documents__TransactionEvent_all_possible_fields.json", "EPCIS-046"),
    ("openepcis-json/Capture__Documents__TransformationEvent_all_possible_fields.json", "EPCIS-046"),
    ("openepcis-json/Capture__Documents__JumbledFieldsOrder.json", "EPCIS-046"),
    ("openepcis-json/Query__JumbledFieldsOrder.json", "EPCIS-046"),
];

/// A sample whose event has one member name twice: refused before it is an event at all.
const NOT_PARSED: &[&str] = &["gs1-json/AssociationEvent__AssociationEvent-h.jsonld"];

/// Where the samples called invalid break which rule first.
const INVALID: &[(&str, &str, &str)] = &[
    ("Combination_of_events_with_missing_mandatory_fields", "EPCIS-016", "/epcisBody/eventList/0"),
    ("EPCISDocument_without_context", "EPCIS-003", ""),
    ("ObjectEvent_with_invalid_certificationInfo", "EPCIS-054", "/epcisBody/eventList/0/certificationInfo/0"),
    ("ObjectEvent_with_non_standard_bizStep_in_second_event", "EPCIS-028", "/epcisBody/eventList/1/bizStep"),
    ("ObjectEvent_with_quantity_as_text", "EPCIS-010", "/epcisBody/eventList/0/quantityList/0/quantity"),
    ("ObjectEvent_without_identifier_list", "EPCIS-019", "/epcisBody/eventList/0"),
];

#[test]
fn every_valid_sample_flows() {
    for (name, json) in documents() {
        let listed = NOT_VALID.iter().any(|(listed, _)| *listed == name) || NOT_PARSED.contains(&name.as_str());
        if name.contains("Invalid") || listed {
            continue;
        }
        let report = report(&json).expect("parsed");
        assert!(report.is_valid(), "{name}: {:?}", report.violations);
        assert!(report.events > 0, "{name}");
    }
}

#[test]
fn samples_that_the_standard_refuses_are_refused_for_that_reason() {
    for (name, json) in documents() {
        assert_eq!(report(&json).is_none(), NOT_PARSED.contains(&name.as_str()), "{name}");
        if let Some((_, rule)) = NOT_VALID.iter().find(|(listed, _)| *listed == name) {
            let report = report(&json).expect("parsed");
            assert_eq!(report.violations.first().map(|violation| violation.rule.id()), Some(*rule), "{name}");
        }
    }
}

#[test]
fn every_invalid_sample_is_refused_at_the_right_place() {
    let documents = documents();
    for (part, rule, place) in INVALID {
        for (name, json) in documents.iter().filter(|(name, _)| name.ends_with(&format!("Invalid__{part}.json"))) {
            let report = report(json).expect("parsed");
            let first = report.violations.first().expect("refused");
            assert_eq!((first.rule.id(), first.place.as_str()), (*rule, *place), "{name}");
        }
    }
}

#[test]
fn every_published_vector_is_reproduced() {
    let Some(root) = samples() else { return };
    let mut compared = 0;
    let mut wrong = Vec::new();
    for path in std::fs::read_dir(root.join("hash-vectors")).expect("readable").flatten().map(|entry| entry.path()) {
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

#[test]
fn what_the_official_schema_refuses_is_refused() {
    let Some(schema) = official_schema() else { return };
    let mut tape = Tape::new();
    for (name, json) in documents() {
        let Ok(doc) = tape.parse(&json, &Limits::default()) else { continue };
        let officially = schema.is_valid(doc.root());
        assert!(officially || !validate(doc).is_valid(), "{name}");
    }
}

/// Every place of a JSON value, as a pointer.
fn places(value: &Value, at: &str, out: &mut Vec<String>) {
    out.push(at.to_owned());
    match value {
        Value::Object(members) => {
            for (key, inner) in members {
                places(inner, &format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), out);
            }
        }
        Value::Array(elements) => {
            for (index, inner) in elements.iter().enumerate() {
                places(inner, &format!("{at}/{index}"), out);
            }
        }
        _ => {}
    }
}

/// The document with the value at a place damaged in one of several ways; `None` where that changes nothing.
fn damaged(document: &Value, place: &str, way: usize) -> Option<Value> {
    let mut changed = document.clone();
    let target = changed.pointer_mut(place)?;
    *target = match way {
        0 => Value::Null,
        1 => Value::from("no uri at all"),
        2 => Value::from(-1),
        3 => Value::Array(Vec::new()),
        4 => Value::Object(serde_json::Map::new()),
        5 => Value::from("urn:epcglobal:cbv:bizstep:shipping"),
        6 => match target {
            Value::Array(elements) if !elements.is_empty() => {
                let mut twice = elements.clone();
                twice.push(elements[0].clone());
                Value::Array(twice)
            }
            Value::Object(members) => {
                let mut more = members.clone();
                more.insert("unknown".to_owned(), Value::from(1));
                Value::Object(more)
            }
            _ => return None,
        },
        _ => {
            let (parent, key) = place.rsplit_once('/')?;
            let key = key.replace("~1", "/").replace("~0", "~");
            let mut without = document.clone();
            without.pointer_mut(parent)?.as_object_mut()?.remove(&key)?;
            return Some(without);
        }
    };
    (changed != *document).then_some(changed)
}

#[test]
fn no_damage_that_the_official_schema_notices_goes_unnoticed() {
    let Some(schema) = official_schema() else { return };
    let mut tape = Tape::new();
    let (mut tried, mut noticed) = (0, 0);
    for (name, json) in documents() {
        let Ok(document) = serde_json::from_slice::<Value>(&json) else { continue };
        if json.len() > 4000 || report(&json).is_none_or(|report| !report.is_valid()) {
            continue;
        }
        let mut all = Vec::new();
        places(&document, "", &mut all);
        // A list of events is taken here, and is no document to the schema: the root itself stays as it is.
        all.retain(|place| !place.is_empty());
        for (at, place) in all.iter().enumerate() {
            // Each way of damage at every third place keeps the test short; across the samples all meet.
            for way in (0..8).filter(|way| (at + way) % 3 == 0) {
                let Some(changed) = damaged(&document, place, way) else { continue };
                let text = serde_json::to_vec(&changed).expect("JSON");
                let doc = tape.parse(&text, &Limits::default()).expect("JSON");
                tried += 1;
                if !schema.is_valid(doc.root()) {
                    noticed += 1;
                    assert!(!validate(doc).is_valid(), "{name}: way {way} at {place}");
                }
            }
        }
    }
    assert!(tried > 1000 && noticed > 500, "{tried} tried, {noticed} noticed");
}
