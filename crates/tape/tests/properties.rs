//! serde_json as the oracle: the same documents are accepted, and they read the same.

use proptest::prelude::*;
use serde_json::Value;
use tradelane_tape::{Cursor, Kind, Limits, Name, Node, ParseReason, Tape};

fn generous() -> Limits {
    Limits { max_depth: 100, ..Limits::default() }
}

/// The tape's value as serde_json would hold it.
fn to_value(node: Node<'_>) -> Value {
    match node.kind() {
        Kind::Null => Value::Null,
        Kind::Bool => Value::Bool(node.as_bool().expect("a bool")),
        Kind::Number => serde_json::from_slice(node.raw()).expect("a number"),
        Kind::String => Value::String(node.as_str().expect("a string").into_owned()),
        Kind::Array => Value::Array(node.elements().map(to_value).collect()),
        Kind::Object => Value::Object(node.members().map(|(k, v)| (k.as_str().into_owned(), to_value(v))).collect()),
    }
}

fn assert_structure(node: Node<'_>) {
    let doc = node.doc();
    assert_eq!(&doc.bytes()[node.range()], node.raw());
    let mut inside = node.index() + 1;
    match node.kind() {
        Kind::Array => {
            assert_eq!(node.elements().count(), node.len());
            for (i, element) in node.elements().enumerate() {
                assert_eq!(element.index(), inside);
                assert!(node.range().start < element.range().start && element.range().end < node.range().end);
                assert_eq!(node.at(i).map(Node::index), Some(element.index()));
                assert_structure(element);
                inside = element.next_index();
            }
        }
        Kind::Object => {
            assert_eq!(node.members().count(), node.len());
            let mut cursor = Cursor::NOWHERE;
            for (key, value) in node.members() {
                assert_eq!((key.index(), value.index()), (inside, inside + 1));
                assert!(key.range().end < value.range().start);
                let name = key.as_str();
                assert_eq!(node.get(&name).map(Node::index), Some(value.index()));
                let prepared = Name::new(&name);
                assert_eq!(node.get_name(&prepared).map(Node::index), Some(value.index()));
                assert!(key.eq_str(&name) && key.is(&prepared));
                assert!(!key.is(&Name::new(&format!("{name}x"))));
                let at = doc.member(key.index()).map(|(key, value)| (key.range(), value.index()));
                assert_eq!(at, Some((key.range(), value.index())));
                assert_eq!(doc.member(value.index()).map(|_| ()), None, "a value is no name");
                let mut anew = Cursor::behind(node, value);
                let next = node.next_if_named(&prepared, &mut cursor);
                assert_eq!(next.map(Node::index), Some(value.index()), "in the order of the document");
                assert_eq!(node.next_if_named(&prepared, &mut anew).map(Node::index), None, "it stands behind it");
                assert_structure(value);
                inside = value.next_index();
            }
            // Behind the last member, what follows may be a name too: that of another object.
            if let Some((after, _)) = doc.member(node.next_index()) {
                let after = Name::new(&after.as_str());
                assert_eq!(node.next_if_named(&after, &mut cursor).map(Node::index), None);
            }
        }
        _ => assert_eq!(node.len(), 0),
    }
    assert_eq!(node.next_index(), inside);
    let pointer = tradelane_tape::pointer::path_to(doc.root(), node.index());
    assert_eq!(doc.root().pointer(&pointer).map(Node::index), Some(node.index()), "{pointer}");
}

fn json(depth: u32) -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,40}".prop_map(Value::String),
        "[a-z\"\\\\/\u{0}-\u{1F}\u{7F}-\u{9F}]{0,20}".prop_map(Value::String),
    ];
    leaf.prop_recursive(depth, 256, 12, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..12).prop_map(Value::Array),
            proptest::collection::vec((".{0,20}", inner), 0..12).prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

/// Every object member's name once more, with each character as an escape.
fn escape_all(text: &str) -> String {
    text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn documents_read_as_serde_json_reads_them(value in json(5)) {
        let mut tape = Tape::new();
        for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
            let doc = tape.parse(text.as_bytes(), &generous()).unwrap();
            prop_assert_eq!(to_value(doc.root()), serde_json::from_str::<Value>(&text).unwrap());
            assert_structure(doc.root());
        }
    }

    #[test]
    fn a_damaged_document_is_refused_exactly_when_serde_json_refuses_it(
        value in json(3), place in any::<prop::sample::Index>(), byte in any::<u8>(), how in 0..3
    ) {
        let mut text = value.to_string().into_bytes();
        let at = place.index(text.len());
        match how {
            0 => text[at] = byte,
            1 => text.insert(at, byte),
            _ => { text.remove(at); }
        }
        let mut tape = Tape::new();
        match (tape.parse(&text, &generous()), serde_json::from_slice::<Value>(&text)) {
            (Ok(doc), Ok(value)) => prop_assert_eq!(to_value(doc.root()), value),
            (Err(error), Err(_)) => prop_assert!(error.offset <= text.len()),
            // Ours is stricter about names and numbers; serde_json refuses what no double can hold.
            (Err(error), Ok(_)) => prop_assert_eq!(error.reason, ParseReason::DuplicateName),
            (Ok(_), Err(error)) => prop_assert!(error.to_string().contains("number out of range"), "{}", error),
        }
    }

    #[test]
    fn canonical_form_reads_as_the_document_does(value in json(4)) {
        let text = serde_json::to_string_pretty(&value).unwrap();
        let mut tape = Tape::new();
        let mut canonical = Vec::new();
        tradelane_tape::jcs::canonicalize(tape.parse(text.as_bytes(), &generous()).unwrap().root(), &mut canonical);
        let mut again = Vec::new();
        let doc = tape.parse(&canonical, &generous()).unwrap();
        tradelane_tape::jcs::canonicalize(doc.root(), &mut again);
        prop_assert_eq!(String::from_utf8_lossy(&canonical), String::from_utf8_lossy(&again));
        prop_assert!(approximately(&to_value(doc.root()), &value));
    }

    #[test]
    fn a_duplicate_is_found_whatever_the_number_of_members(
        names in proptest::collection::hash_set("[a-zé😀]{0,24}", 1..150),
        which in any::<prop::sample::Index>(), gap in any::<prop::sample::Index>(), escaped in any::<bool>()
    ) {
        let names: Vec<String> = names.into_iter().collect();
        let mut members: Vec<String> = names.iter().map(|n| format!("\"{n}\":[1,{{\"{n}\":2}}]")).collect();
        let mut tape = Tape::new();
        let unique = format!("{{{}}}", members.join(","));
        prop_assert_eq!(tape.parse(unique.as_bytes(), &generous()).unwrap().root().len(), names.len());
        let twice = which.get(&names);
        let spelt = if escaped { escape_all(twice) } else { twice.clone() };
        members.insert(gap.index(members.len() + 1), format!("\"{spelt}\":0"));
        let text = format!("{{{}}}", members.join(","));
        let error = tape.parse(text.as_bytes(), &generous()).unwrap_err();
        prop_assert_eq!(error.reason, ParseReason::DuplicateName);
        prop_assert_eq!(text.as_bytes()[error.offset], b'"');
    }

    #[test]
    fn any_bytes_are_handled(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut tape = Tape::new();
        if let Ok(doc) = tape.parse(&bytes, &generous()) {
            assert_structure(doc.root());
        }
    }

    #[test]
    fn escapes_written_are_escapes_read(text in ".{0,60}") {
        let mut written = Vec::new();
        tradelane_tape::text::write_string(&text, &mut written);
        prop_assert_eq!(&written, &serde_json::to_vec(&text).unwrap());
        let all = format!("\"{}\"", escape_all(&text));
        let mut tape = Tape::new();
        for json in [written.as_slice(), all.as_bytes()] {
            let doc = tape.parse(json, &generous()).unwrap();
            prop_assert_eq!(doc.root().as_str().unwrap(), text.as_str());
            prop_assert!(doc.root().eq_str(&text));
        }
    }
}

/// Equal but for integers that a double cannot hold.
fn approximately(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| approximately(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(k, v)| b.get(k).is_some_and(|w| approximately(v, w)))
        }
        _ => a == b,
    }
}
