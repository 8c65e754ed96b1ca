//! Any bytes: the tape accepts what serde_json accepts, but for what it refuses on purpose, and reads the same of it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tradelane_tape::{Kind, Limits, Node, ParseReason, Tape, jcs, pointer};

fn same(node: Node<'_>, value: &Value) -> bool {
    match (node.kind(), value) {
        (Kind::Null, Value::Null) => true,
        (Kind::Bool, Value::Bool(expected)) => node.as_bool() == Some(*expected),
        (Kind::Number, Value::Number(expected)) => {
            node.as_u64() == expected.as_u64() && node.as_i64() == expected.as_i64() && node.as_f64() == expected.as_f64()
                // serde_json reads `-0` as a double.
                || node.raw() == b"-0"
        }
        (Kind::String, Value::String(expected)) => {
            node.eq_str(expected) && node.as_str().is_some_and(|text| text == expected.as_str())
        }
        (Kind::Array, Value::Array(expected)) => {
            node.len() == expected.len() && node.elements().zip(expected).all(|(a, b)| same(a, b))
        }
        (Kind::Object, Value::Object(expected)) => {
            node.len() == expected.len()
                && node.members().zip(expected).all(|((name, a), (key, b))| {
                    name.eq_str(key) && node.get(key).is_some_and(|found| found.index() == a.index()) && same(a, b)
                })
        }
        _ => false,
    }
}

fuzz_target!(|json: &[u8]| {
    let limits = Limits { max_depth: 100, ..Limits::EVENT };
    let mut tape = Tape::new();
    let oracle = serde_json::from_slice::<Value>(json);
    match (tape.parse(json, &limits), oracle) {
        (Ok(doc), oracle) => {
            match oracle {
                Ok(value) => assert!(same(doc.root(), &value)),
                Err(error) => assert!(error.to_string().contains("number out of range"), "{error}"),
            }
            for node in (0..doc.node_count()).filter_map(|index| doc.node(index)) {
                let path = pointer::path_to(doc.root(), node.index());
                assert_eq!(doc.root().pointer(&path).map(Node::index), Some(node.index()));
            }
            let mut canonical = Vec::new();
            jcs::canonicalize(doc.root(), &mut canonical);
            let mut again = Vec::new();
            let mut tape = Tape::new();
            // Its strings may grow past the limit by losing escapes only, so it always fits.
            jcs::canonicalize(tape.parse(&canonical, &Limits::DOCUMENT).expect("canonical JSON").root(), &mut again);
            assert_eq!(canonical, again);
        }
        (Err(error), oracle) => {
            assert!(error.offset <= json.len());
            let position = error.position(json);
            assert!(position.line >= 1 && position.column >= 1);
            if oracle.is_ok() {
                assert!(
                    matches!(
                        error.reason,
                        ParseReason::DuplicateName
                            | ParseReason::NumberTooLong
                            | ParseReason::TooDeep
                            | ParseReason::TooManyNodes
                            | ParseReason::TooLarge
                    ),
                    "{error}"
                );
            }
        }
    }
});
