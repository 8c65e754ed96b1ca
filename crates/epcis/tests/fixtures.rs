//! Our own documents, under `crates/testkit/fixtures/epcis`: one for every kind of event, and one for every rule.

use std::path::{Path, PathBuf};

use tradelane_epcis::rule::Rule;
use tradelane_epcis::validate::{Report, Shape, validate};
use tradelane_epcis::{Context, document, hash, hash_lines, validate_event, validate_lines};
use tradelane_model::Timestamp;
use tradelane_tape::{Limits, Tape};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../testkit/fixtures/epcis")
}

fn read(name: &str) -> Vec<u8> {
    std::fs::read(fixtures().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn valid() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(fixtures().join("valid")).expect("fixtures");
    entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "json"))
        .collect()
}

fn report(json: &[u8]) -> Report {
    let mut tape = Tape::new();
    validate(tape.parse(json, &Limits::default()).expect("JSON"))
}

#[test]
fn every_kind_of_document_and_event_flows() {
    let mut shapes = Vec::new();
    for path in valid() {
        let report = report(&std::fs::read(&path).expect("readable"));
        assert!(report.is_valid(), "{}: {:?}", path.display(), report.violations);
        shapes.push(report.shape);
    }
    for shape in [Shape::Document, Shape::QueryDocument, Shape::Event, Shape::EventList] {
        assert!(shapes.contains(&shape), "{shape:?}");
    }
}

#[test]
fn every_rule_has_a_document_that_breaks_it_and_no_other() {
    let expected = String::from_utf8(read("invalid/expected.txt")).expect("text");
    let mut broken = Vec::new();
    for line in expected.lines() {
        let mut parts = line.splitn(3, ' ');
        let (name, rule, place) =
            (parts.next().expect("name"), parts.next().expect("rule"), parts.next().expect("place"));
        let place = if place == "/" { "" } else { place };
        let report = report(&read(&format!("invalid/{name}")));
        let found: Vec<_> = report.violations.iter().map(|found| (found.rule.id(), found.place.as_str())).collect();
        assert_eq!(found, [(rule, place)], "{name}");
        broken.push(rule.to_owned());
    }
    for rule in Rule::ALL {
        assert!(broken.iter().any(|id| id == rule.id()), "no fixture breaks {rule}");
    }
}

#[test]
fn our_own_hash_vectors_hold() {
    let mut compared = 0;
    for path in valid() {
        let expected = std::fs::read_to_string(path.with_extension("hashes")).unwrap_or_default();
        let lines: Vec<String> =
            hash_lines("", &std::fs::read(&path).expect("readable")).into_iter().map(|line| line.text).collect();
        assert_eq!(lines, expected.lines().collect::<Vec<_>>(), "{}", path.display());
        compared += lines.len();
    }
    assert!(compared >= 20);
}

#[test]
fn an_event_keeps_its_hash_and_its_validity_when_it_is_stored_alone() {
    let json = read("valid/all-kinds.json");
    let together: Vec<String> = hash_lines("", &json).into_iter().map(|line| line.text).collect();
    let mut tape = Tape::new();
    let doc = tape.parse(&json, &Limits::default()).expect("JSON");
    let mut other = Tape::new();
    for event in document::events(doc) {
        assert!(validate_event(event.node, &event.context).is_empty());
        let alone = document::with_context(event.node, event.surrounding.expect("a context"));
        let single = other.parse(&alone, &Limits::default()).expect("JSON");
        assert!(validate(single).is_valid());
        assert_eq!(hash::document_hashes(single), [together[event.index].clone()]);
    }
}

#[test]
fn an_event_with_a_context_of_its_own_keeps_both() {
    let json = br#"{"type":"ObjectEvent","@context":{"b":"https://b.example/"},"b:x":1,"a:y":2}"#;
    let mut tape = Tape::new();
    let event = tape.parse(json, &Limits::default()).expect("JSON").root();
    let alone = document::with_context(event, br#"[{"a":"https://a.example/"}]"#);
    let expected =
        r#"{"type":"ObjectEvent","@context":[{"a":"https://a.example/"},{"b":"https://b.example/"}],"b:x":1,"a:y":2}"#;
    assert_eq!(String::from_utf8(alone).expect("text"), expected);
}

#[test]
fn documents_built_around_events_are_valid() {
    let json = read("valid/all-kinds.json");
    let mut tape = Tape::new();
    let doc = tape.parse(&json, &Limits::default()).expect("JSON");
    let events = document::events(doc);
    let contexts = [events[0].surrounding.expect("a context")];
    let own: &[u8] = br#"{"lane":"https://ns.tradelane.example/epcis/"}"#;
    assert!(!contexts[0].is_empty());
    let head = document::Head { created: Timestamp(1_772_438_400_000_000), contexts: &[own] };
    let raw = || events.iter().map(|event| event.node.raw());
    let capture = document::epcis_document(&head, raw());
    let query = document::query_document(&head, "SimpleEventQuery", Some("a \"quoted\" id"), raw());
    for (json, shape) in [(capture, Shape::Document), (query, Shape::QueryDocument)] {
        let report = report(&json);
        assert!(report.is_valid(), "{:?}", report.violations);
        assert_eq!((report.shape, report.events), (shape, events.len()));
    }
}

#[test]
fn one_invalid_event_does_not_make_its_neighbours_invalid() {
    let json = read("valid/aggregation.json");
    let text = String::from_utf8(json).expect("text").replacen("\"packing\"", "\"stuffing\"", 1);
    let report = report(text.as_bytes());
    assert!(!report.event_is_valid(0) && report.event_is_valid(1));
}

#[test]
fn errors_are_told_as_a_problem_without_values_of_the_document() {
    let report = report(&read("invalid/biz-step.json"));
    let body = document::problem("ValidationException", "EPCIS document", 400, "Not captured.", &report.violations);
    let value: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(value["type"], "epcisException:ValidationException");
    assert_eq!(value["errors"][0]["pointer"], "/epcisBody/eventList/0/bizStep");
    assert_eq!(value["errors"][0]["rule"], "EPCIS-028");
    assert!(!String::from_utf8(body).expect("text").contains("teleporting"));
}

#[test]
fn lines_say_which_event_is_valid_and_where_another_is_not() {
    let lines = validate_lines("f.json", &read("valid/aggregation.json"));
    assert_eq!(lines.len(), 2);
    assert!(lines.iter().all(|line| line.valid));
    let lines = validate_lines("f.json", &read("invalid/no-event-time.json"));
    assert!(!lines[0].valid);
    assert!(
        lines[0].text.starts_with("f.json: event 0: invalid: /epcisBody/eventList/0: EPCIS-014"),
        "{}",
        lines[0].text
    );
    let lines = validate_lines("f.json", b"{\n \"a\": }");
    assert!(lines[0].text.starts_with("f.json: invalid: line 2 column"), "{}", lines[0].text);
}

#[test]
fn a_violation_list_is_bounded() {
    let event = r#"{"type":"ObjectEvent"}"#;
    let json = format!("[{}]", vec![event; 500].join(","));
    let report = report(json.as_bytes());
    assert!(report.truncated && report.violations.len() == 100 && !report.event_is_valid(499));
    assert_eq!(Context::default().namespace("gs1"), Some("https://gs1.org/voc/"));
}
