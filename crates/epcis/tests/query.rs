//! Queries over our own fixture events: what each kind of parameter finds, and which parameters are refused.

use std::cmp::Ordering;
use std::path::Path;

use tradelane_epcis::query::{Direction, OrderKey, QueryFault};
use tradelane_epcis::time::DateTime;
use tradelane_epcis::{Context, Query, document};
use tradelane_model::Timestamp;
use tradelane_tape::{Limits, Tape};

/// The events of `all-kinds.json`, in its order.
const KINDS: &[&str] = &["object", "aggregation", "transaction", "transformation", "association", "sensor", "declared"];

fn recorded() -> Timestamp {
    DateTime::parse("2026-03-02T09:00:00Z").expect("a time").timestamp()
}

fn json() -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testkit/fixtures/epcis/valid/all-kinds.json");
    std::fs::read(path).expect("fixture")
}

fn run(query: &Query) -> Vec<&'static str> {
    let json = json();
    let mut tape = Tape::new();
    let doc = tape.parse(&json, &Limits::default()).expect("JSON");
    let events = document::events(doc);
    let found = events.iter().filter(|event| query.matches_in(event.node, &event.context, recorded()));
    found.map(|event| KINDS[event.index]).collect()
}

/// What parameters find; prefixes are those that a caller declares.
fn found(pairs: &[(&str, &str)]) -> Vec<&'static str> {
    let declared = br#"{"lane":"https://ns.tradelane.example/epcis/"}"#;
    let mut tape = Tape::new();
    let prefixes = Context::of(tape.parse(declared, &Limits::default()).expect("JSON").root());
    run(&Query::from_pairs(pairs.iter().copied(), &prefixes).unwrap_or_else(|error| panic!("{error}")))
}

fn refused(pairs: &[(&str, &str)]) -> QueryFault {
    Query::from_pairs(pairs.iter().copied(), &Context::default()).expect_err("refused").fault
}

#[test]
fn no_parameter_finds_every_event() {
    assert_eq!(found(&[]), KINDS);
}

#[test]
fn types_actions_and_times_narrow_the_result() {
    assert_eq!(found(&[("eventType", "AggregationEvent|AssociationEvent")]), ["aggregation", "association"]);
    assert_eq!(found(&[("EQ_action", "OBSERVE")]), ["sensor", "declared"]);
    assert_eq!(found(&[("GE_eventTime", "2026-03-01T07:30:00Z")]).len(), 7);
    assert_eq!(found(&[("LT_eventTime", "2026-03-01T07:30:00Z")]).len(), 0);
    assert_eq!(found(&[("GE_recordTime", "2026-03-02T09:00:00Z")]).len(), 7);
    assert_eq!(found(&[("LT_recordTime", "2026-03-02T10:00:00 01:00")]).len(), 0, "a blank stands for a lost plus");
}

#[test]
fn vocabulary_is_equal_in_every_form() {
    for form in [
        "packing",
        "cbv:BizStep-packing",
        "https://ref.gs1.org/cbv/BizStep-packing",
        "urn:epcglobal:cbv:bizstep:packing",
    ] {
        assert_eq!(found(&[("EQ_bizStep", form)]), ["aggregation"], "{form}");
    }
    assert_eq!(found(&[("EQ_bizStep", "https://vocab.tradelane.example/step/pressing")]), ["transformation"]);
    assert_eq!(found(&[("EQ_disposition", "in_transit|active")]), ["object", "transaction"]);
    assert_eq!(found(&[("EQ_persistentDisposition_set", "completeness_verified")]), ["declared"]);
    assert_eq!(found(&[("EQ_persistentDisposition_unset", "completeness_verified")]), [""; 0]);
}

#[test]
fn keys_match_in_every_spelling_and_by_pattern() {
    assert_eq!(found(&[("MATCH_epc", "urn:epc:id:sgtin:9521321.012345.1001")]), ["object", "aggregation", "declared"]);
    assert_eq!(found(&[("MATCH_epc", "urn:epc:idpat:sgtin:9521321.*.*")]), ["object", "aggregation", "declared"]);
    assert_eq!(found(&[("MATCH_anyEPC", "urn:epc:idpat:sscc:9521321.*")]), ["aggregation", "transaction"]);
    assert_eq!(found(&[("MATCH_parentID", "urn:epc:idpat:grai:*.*.*")]), ["association"]);
    assert_eq!(found(&[("MATCH_outputEPC", "urn:epc:id:sgtin:9521321.054321.2")]), ["transformation"]);
    assert_eq!(found(&[("MATCH_inputEPCClass", "urn:epc:class:lgtin:9521321.012345.L-7")]), ["transformation"]);
    assert_eq!(
        found(&[("MATCH_anyEPCClass", "urn:epc:class:lgtin:9521321.012345.L-7")]),
        ["aggregation", "transformation"]
    );
    assert_eq!(found(&[("EQ_transformationID", "urn:epc:id:gdti:9521321.00009.R-1")]), ["transformation"]);
}

#[test]
fn places_match_exactly_or_with_what_is_below_them() {
    let gln = "https://id.gs1.org/414/9521321000018";
    assert_eq!(found(&[("EQ_readPoint", gln)]).len(), 7);
    assert_eq!(found(&[("EQ_bizLocation", "urn:epc:id:sgln:9521321.00001.0")]), ["object"]);
    assert_eq!(found(&[("WD_readPoint", gln)]).len(), 7);
    assert_eq!(
        found(&[("WD_bizLocation", "https://id.gs1.org/414/95213210000")]),
        [""; 0],
        "a prefix is no place above"
    );
}

#[test]
fn transactions_sources_and_destinations_match_by_type_and_value() {
    assert_eq!(found(&[("EQ_bizTransaction_po", "urn:epcglobal:cbv:bt:9521321000008:4711")]), ["transaction"]);
    assert_eq!(found(&[("EQ_bizTransaction_inv", "urn:epcglobal:cbv:bt:9521321000008:4711")]), [""; 0]);
    assert_eq!(found(&[("EQ_source_owning_party", "urn:epc:id:pgln:9521321.00000")]), ["transaction"]);
    assert_eq!(found(&[("EQ_destination_location", "urn:epc:id:sgln:9521987.00042.dock-3")]), ["transaction"]);
}

#[test]
fn quantities_compare_as_numbers_and_in_units() {
    assert_eq!(found(&[("EQ_quantity", "12.5")]), ["aggregation"]);
    assert_eq!(found(&[("GE_quantity", "12.5"), ("LT_quantity", "200")]), ["aggregation", "transformation"]);
    assert_eq!(found(&[("GT_quantity_GRM", "99999")]), ["transformation"]);
    assert_eq!(found(&[("EQ_quantity_LTR", "12.5")]), [""; 0]);
}

#[test]
fn sensor_values_are_found_in_any_unit() {
    assert_eq!(found(&[("EXISTS_sensorElementList", "true")]), ["sensor"]);
    assert_eq!(found(&[("EXISTS_sensorElementList", "false")]).len(), 7);
    assert_eq!(found(&[("EQ_type", "gs1:Temperature")]), ["sensor"]);
    assert_eq!(found(&[("EQ_value_CEL", "3.5")]), ["sensor"], "38.3 degrees Fahrenheit");
    assert_eq!(found(&[("GE_maxValue_KEL", "280.4")]), ["sensor"]);
    assert_eq!(found(&[("GT_maxValue_KEL", "280.4")]), [""; 0]);
    assert_eq!(found(&[("EQ_sDev_KEL", "0.5")]), ["sensor"], "a deviation has no zero point");
    assert_eq!(found(&[("GE_value_KGM", "0")]), [""; 0]);
    assert_eq!(found(&[("EQ_booleanValue", "true")]), ["sensor"]);
    assert_eq!(found(&[("EQ_deviceID", "https://id.gs1.org/8004/9521321sensor-9")]), ["sensor"]);
    assert_eq!(found(&[("GE_startTime", "2026-03-01T06:00:00Z"), ("LT_endTime", "2026-03-01T07:00:01Z")]), ["sensor"]);
    assert_eq!(found(&[("GE_time", "2026-03-01T06:30:00Z")]), ["sensor"]);
}

#[test]
fn error_declarations_and_event_ids_are_found() {
    assert_eq!(found(&[("EXISTS_errorDeclaration", "true")]), ["declared"]);
    assert_eq!(found(&[("EQ_errorReason", "incorrect_data")]), ["declared"]);
    assert_eq!(found(&[("GE_errorDeclaration_Time", "2026-03-03T10:00:00Z")]), ["declared"]);
    assert_eq!(found(&[("LT_errorDeclarationTime", "2026-03-03T10:00:00Z")]), [""; 0]);
    assert_eq!(found(&[("EQ_correctiveEventID", "urn:uuid:2f8c2d6e-91f7-4e43-8b4f-5c4b6c3f1a90")]), ["declared"]);
    assert_eq!(found(&[("EQ_eventID", "urn:uuid:0b5e2a52-6d3c-4c0d-9e0f-0e6f5a2b7c11")]), ["declared"]);
}

#[test]
fn extension_fields_are_found_at_their_level_and_inside() {
    assert_eq!(found(&[("EQ_lane:batchOwner", "Nobody|Example Farms")]), ["object"]);
    assert_eq!(found(&[("EQ_https://ns.tradelane.example/epcis/batchOwner", "Example Farms")]), ["object"]);
    assert_eq!(found(&[("EQ_https://ns.tradelane.example/epcis#batchOwner", "Example Farms")]), ["object"]);
    assert_eq!(found(&[("GE_lane:shift", "2"), ("LT_lane:shift", "3")]), ["object"]);
    assert_eq!(found(&[("EXISTS_ILMD_cbvmda:bestBeforeDate", "true")]), ["object"]);
    assert_eq!(found(&[("EQ_ILMD_lane:field", "N-7")]), [""; 0], "not at the top of ilmd");
    assert_eq!(found(&[("EQ_INNER_ILMD_lane:field", "N-7")]), ["object"]);
    assert_eq!(found(&[("EQ_INNER_ILMD_lane:picker", "B. Example")]), ["object"]);
    assert_eq!(found(&[("EQ_readPoint_lane:gate", "G4")]), ["declared"]);
    assert_eq!(found(&[("EQ_ERROR_DECLARATION_lane:by", "quality")]), ["declared"]);
    assert_eq!(found(&[("EXISTS_SENSORELEMENT_lane:calibrated", "true")]), ["sensor"]);
    assert_eq!(found(&[("EQ_other:batchOwner", "Example Farms")]), [""; 0]);
}

#[test]
fn all_parameters_must_hold() {
    assert_eq!(found(&[("EQ_action", "ADD"), ("EQ_bizStep", "packing|shipping")]), ["aggregation", "transaction"]);
    assert_eq!(found(&[("EQ_action", "DELETE"), ("EQ_bizStep", "packing")]), [""; 0]);
}

#[test]
fn unknown_and_misused_parameters_are_refused() {
    assert_eq!(refused(&[("GE_eventDate", "2026-01-01T00:00:00Z")]), QueryFault::Unknown);
    assert_eq!(refused(&[("EQ_weight", "3")]), QueryFault::Unknown);
    assert_eq!(refused(&[("", "3")]), QueryFault::Unknown);
    assert_eq!(refused(&[("EQ_bizTransaction_order", "urn:x:y")]), QueryFault::Unknown);
    assert_eq!(refused(&[("HASATTR_lane:x", "y")]), QueryFault::XmlOnly);
    assert_eq!(refused(&[("GE_eventTime", "yesterday")]), QueryFault::Value);
    assert_eq!(refused(&[("EQ_bizStep", "teleporting")]), QueryFault::Value);
    assert_eq!(refused(&[("EQ_action", "MOVE")]), QueryFault::Value);
    assert_eq!(refused(&[("MATCH_epc", "urn:epc:id:sgtin:1.2.3")]), QueryFault::Value);
    assert_eq!(refused(&[("GE_lane:x", "tall")]), QueryFault::Value);
    assert_eq!(refused(&[("GT_quantity", "1|2")]), QueryFault::Value);
    assert_eq!(refused(&[("EQ_quantity", "NaN")]), QueryFault::Value);
    assert_eq!(refused(&[("perPage", "0")]), QueryFault::Value);
    assert_eq!(refused(&[("orderDirection", "UP")]), QueryFault::Value);
    assert_eq!(refused(&[("EQ_action", "ADD"), ("EQ_action", "DELETE")]), QueryFault::Twice);
    assert_eq!(refused(&[("eventCountLimit", "5")]), QueryFault::Combination);
    assert_eq!(
        refused(&[("orderBy", "eventTime"), ("eventCountLimit", "5"), ("maxEventCount", "9")]),
        QueryFault::Combination
    );
}

#[test]
fn queries_are_bounded() {
    let many = vec!["urn:x:y"; 1001].join("|");
    assert_eq!(refused(&[("EQ_eventID", &many)]), QueryFault::TooMany);
    let names: Vec<String> = (0..101).map(|at| format!("EQ_lane:f{at}")).collect();
    let pairs: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
    assert_eq!(refused(&pairs), QueryFault::TooMany);
    assert_eq!(refused(&[("EQ_stringValue", &"x".repeat(5000))]), QueryFault::TooMany);
}

#[test]
fn a_refusal_names_the_parameter_and_not_its_value() {
    let error = Query::from_pairs([("EQ_bizStep", "secret\u{7}value")], &Context::default()).expect_err("refused");
    assert_eq!(error.exception(), "QueryParameterException");
    assert_eq!(error.code().as_str(), "TL-1012");
    let text = error.to_string();
    assert!(text.contains("EQ_bizStep") && !text.contains("secret"), "{text}");
}

#[test]
fn a_query_in_json_is_the_same_query() {
    let json = br#"{"@context":[{"l":"https://ns.tradelane.example/epcis/"}],"eventType":["ObjectEvent"],
        "EQ_l:shift":[2],"orderBy":"eventTime","orderDirection":"ASC","perPage":10,"EXISTS_l:batchOwner":null}"#;
    let mut tape = Tape::new();
    let query = Query::from_json(tape.parse(json, &Limits::default()).expect("JSON").root()).expect("a query");
    assert_eq!(run(&query), ["object"]);
    assert_eq!((query.per_page, query.order.as_ref().map(|(_, way)| *way)), (Some(10), Some(Direction::Ascending)));
    let unknown = br#"{"eventType":["ObjectEvent"],"GE_eventDate":"2026-01-01T00:00:00+01:00"}"#;
    let refused = Query::from_json(tape.parse(unknown, &Limits::default()).expect("JSON").root());
    assert_eq!(refused.expect_err("refused").fault, QueryFault::Unknown);
}

#[test]
fn events_are_ordered_by_the_field_asked_for() {
    let query = Query::from_pairs([("orderBy", "eventTime")], &Context::default()).expect("a query");
    assert_eq!(query.order.as_ref().map(|(_, way)| *way), Some(Direction::Descending));
    let mut tape = Tape::new();
    let mut key = |json: &str| {
        let doc = tape.parse(json.as_bytes(), &Limits::default()).expect("JSON");
        query.order_key(doc.root(), &Context::default(), recorded())
    };
    let early = key(r#"{"eventTime":"2026-03-01T08:30:00+01:00"}"#);
    let late = key(r#"{"eventTime":"2026-03-01T08:00:00Z"}"#);
    assert_eq!(early.compare(&late, Direction::Ascending), Ordering::Less);
    assert_eq!(early.compare(&late, Direction::Descending), Ordering::Greater);
    assert_eq!(key("{}"), OrderKey::Absent);
}

#[test]
fn the_bounds_on_record_time_are_known_without_reading_events() {
    let pairs = [("GE_recordTime", "2026-03-01T00:00:00Z"), ("LT_recordTime", "2026-03-02T00:00:00Z")];
    let (from, to) = Query::from_pairs(pairs, &Context::default()).expect("a query").record_time_bounds();
    assert_eq!(to.expect("to").0 - from.expect("from").0, 86_400_000_000);
}

#[test]
fn a_field_that_a_view_took_away_cannot_be_probed() {
    let json = br#"{"type":"ObjectEvent","lane:owner":null}"#;
    let mut tape = Tape::new();
    let event = tape.parse(json, &Limits::default()).expect("JSON").root();
    for (name, value) in
        [("EQ_lane:owner", "A. Example"), ("EQ_bizStep", "packing"), ("MATCH_epc", "urn:epc:idpat:sgtin:*.*.*")]
    {
        let query = Query::from_pairs([(name, value)], &Context::default()).expect("a query");
        assert!(!query.matches(event, recorded()), "{name}");
    }
}
