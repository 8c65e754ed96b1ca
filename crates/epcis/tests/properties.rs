//! What holds for whatever comes from outside: no panic, and answers that do not depend on how an event is written.

use proptest::prelude::*;
use tradelane_epcis::units::{UNITS, compare, convert};
use tradelane_epcis::validate::validate;
use tradelane_epcis::{Context, Query, digital_link, epc, hash_lines, number, time, uri, validate_lines};
use tradelane_model::Timestamp;
use tradelane_tape::{Limits, Tape};

/// Pieces that hostile input is likely to be made of.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("urn:epc:id:sgtin:".to_owned()),
        Just("urn:epc:idpat:".to_owned()),
        Just("https://id.gs1.org/01/".to_owned()),
        Just("EQ_INNER_ILMD_".to_owned()),
        Just("GE_value_CEL".to_owned()),
        Just("ni:///sha-256;".to_owned()),
        "[0-9.*:%/|_+-]{0,12}",
        "\\PC{0,8}",
    ]
}

fn text() -> impl Strategy<Value = String> {
    proptest::collection::vec(piece(), 0..6).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_text_makes_a_reader_panic(text in text()) {
        let _ = uri::is_uri(&text);
        let _ = epc::read(&text);
        let _ = digital_link::canonical(&text);
        let _ = digital_link::check(&text);
        let _ = number::canonical(&text);
        let _ = time::DateTime::parse(&text).map(time::DateTime::to_millis);
    }

    #[test]
    fn no_query_panics(pairs in proptest::collection::vec((text(), text()), 0..5)) {
        let borrowed = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        if let Ok(query) = Query::from_pairs(borrowed, &Context::default()) {
            let json = br#"{"type":"ObjectEvent","epcList":["urn:epc:id:sgtin:9521321.012345.1"],"a:b":{"a:c":[1]}}"#;
            let mut tape = Tape::new();
            let doc = tape.parse(json, &Limits::default()).expect("JSON");
            let _ = query.matches(doc.root(), Timestamp(0));
        }
    }

    #[test]
    fn no_bytes_make_the_lines_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = validate_lines("f", &bytes);
        let _ = hash_lines("f", &bytes);
    }

    #[test]
    fn no_event_shaped_json_makes_validation_panic(values in proptest::collection::vec(0usize..12, 28)) {
        const FIELDS: &[&str] = &[
            "@context", "type", "eventTime", "recordTime", "eventTimeZoneOffset", "eventID", "certificationInfo",
            "errorDeclaration", "action", "bizStep", "disposition", "persistentDisposition", "readPoint", "bizLocation",
            "bizTransactionList", "sourceList", "destinationList", "sensorElementList", "ilmd", "epcList",
            "quantityList", "parentID", "childEPCs", "inputEPCList", "transformationID", "epcisBody", "a:b", "eventList",
        ];
        const VALUES: &[&str] = &[
            "null", "1", "\"x\"", "[]", "{}", "[{}]", "[[1]]", "{\"type\":\"ObjectEvent\"}", "\"ObjectEvent\"", "\"ADD\"",
            "[{\"sensorMetadata\":{\"time\":1},\"sensorReport\":[{\"time\":1,\"type\":{}}]}]", "{\"id\":[],\"a\":1,\"set\":1}",
        ];
        let members: Vec<String> =
            FIELDS.iter().zip(&values).map(|(field, at)| format!("\"{field}\":{}", VALUES[*at])).collect();
        let json = format!("{{{}}}", members.join(","));
        let mut tape = Tape::new();
        let report = validate(tape.parse(json.as_bytes(), &Limits::default()).expect("JSON"));
        prop_assert!(!report.is_valid());
        let _ = hash_lines("f", json.as_bytes());
    }

    #[test]
    fn a_number_hashes_the_same_however_it_is_written(whole in 0u32..1_000_000, cents in 0u32..100, zeros in 0usize..4) {
        let plain = number::canonical(&format!("{whole}.{cents:02}"));
        let padded = number::canonical(&format!("+00{whole}.{cents:02}{}", "0".repeat(zeros)));
        prop_assert_eq!(plain.clone(), padded);
        let value: f64 = plain.expect("a number").parse().expect("a number");
        prop_assert!((value - (f64::from(whole) + f64::from(cents) / 100.0)).abs() < 1e-6);
    }

    #[test]
    fn an_sgtin_and_its_digital_link_are_one(item in 0u32..1_000_000, serial in "[A-Za-z0-9!()*+,:%-]{1,10}") {
        let urn = format!("urn:epc:id:sgtin:9521321.{item:06}.{}", serial.replace('%', "%25"));
        let epc::Reading::Identity(read) = epc::read(&urn) else { panic!("an EPC") };
        let link = read.to_digital_link().expect("a link");
        prop_assert_eq!(digital_link::check(&link), Ok(()));
        prop_assert_eq!(digital_link::canonical(&link), Some(link));
    }

    #[test]
    fn the_order_of_members_does_not_change_the_hash(shuffled in Just(vec![
        r#""type":"ObjectEvent""#, r#""eventTime":"2026-03-01T08:30:00Z""#, r#""eventTimeZoneOffset":"+00:00""#,
        r#""action":"ADD""#, r#""epcList":["urn:epc:id:sgtin:9521321.012345.1","urn:epc:id:sgtin:9521321.012345.2"]"#,
        r#""readPoint":{"id":"urn:epc:id:sgln:9521321.00001.0","a:b":1}"#, r#""a:b":{"a:d":[3,1,2],"a:c":true}"#,
        r#""bizTransactionList":[{"bizTransaction":"urn:x:2","type":"po"},{"type":"inv","bizTransaction":"urn:x:1"}]"#,
    ]).prop_shuffle()) {
        let mut sorted = shuffled.clone();
        sorted.sort_unstable();
        let one = hash_lines("f", format!("{{{}}}", shuffled.join(",")).as_bytes());
        let other = hash_lines("f", format!("{{{}}}", sorted.join(" , ")).as_bytes());
        prop_assert_eq!(one, other);
    }

    #[test]
    fn a_conversion_can_be_undone(from in 0..UNITS.len(), to in 0..UNITS.len(), value in -1e6f64..1e6) {
        let (from, to) = (UNITS[from], UNITS[to]);
        if let Some(there) = convert(value, from.code, to.code) {
            let back = convert(there, to.code, from.code).expect("the way back");
            prop_assert!(compare(back, value).is_some_and(|ordering| ordering.is_eq()) || (back - value).abs() < 1e-6);
        }
    }
}
