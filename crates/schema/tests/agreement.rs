//! The verdict on the tape is the verdict on a DOM, for schemas and documents of every shape.

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use tradelane_schema::Schema;
use tradelane_tape::{Limits, Tape};

/// Few names and values, so that schemas and documents meet.
fn name() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "c", "é", "a/b~", ""]).prop_map(str::to_owned)
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3i64..4).prop_map(Value::from),
        prop::sample::select(vec![0.5, 1.0, -2.5, 1e300, 1e-300, 9_007_199_254_740_992.0]).prop_map(Value::from),
        prop::sample::select(vec![u64::MAX, 9_007_199_254_740_993]).prop_map(Value::from),
        prop::sample::select(vec!["", "a", "ab", "😀\n", "2026-11-21", "x@example.com"]).prop_map(Value::from),
    ]
}

fn document() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..20).prop_map(Value::from),
            prop::collection::vec((name(), inner), 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn keyword(name: &'static str, value: impl Strategy<Value = Value> + 'static) -> BoxedStrategy<Value> {
    value.prop_map(move |value| json!({ name: value })).boxed()
}

fn rule() -> impl Strategy<Value = Value> {
    let small = || (0u64..4).prop_map(Value::from);
    let kind = prop::sample::select(vec!["null", "boolean", "integer", "number", "string", "array", "object"]);
    prop_oneof![
        keyword("type", kind.clone().prop_map(Value::from)),
        keyword("type", prop::collection::btree_set(kind, 1..4).prop_map(|kinds| json!(kinds))),
        keyword("const", document()),
        keyword("enum", prop::collection::vec(document(), 1..4).prop_map(Value::from)),
        keyword("minimum", scalar().prop_filter("a number", Value::is_number)),
        keyword("exclusiveMaximum", scalar().prop_filter("a number", Value::is_number)),
        keyword("multipleOf", prop::sample::select(vec![json!(1), json!(2), json!(0.5), json!(0.01)])),
        keyword("minLength", small()),
        keyword("maxLength", small()),
        keyword("minItems", small()),
        keyword("maxItems", small()),
        keyword("minProperties", small()),
        keyword("maxProperties", small()),
        keyword("uniqueItems", Just(json!(true))),
        keyword(
            "pattern",
            prop::sample::select(vec![json!("^a"), json!("^(?!a)"), json!("b$"), json!("^\\S*$"), json!("(.)\\1")])
        ),
        keyword("format", prop::sample::select(vec![json!("date"), json!("email"), json!("regex"), json!("uri")])),
        keyword("required", prop::collection::btree_set(name(), 0..4).prop_map(|names| json!(names))),
        Just(json!({})),
        Just(json!(true)),
        Just(json!(false)),
    ]
}

fn schema() -> impl Strategy<Value = Value> {
    rule().prop_recursive(4, 24, 4, |inner| {
        let some = || prop::collection::vec(inner.clone(), 1..4).prop_map(Value::from);
        let members = || prop::collection::btree_map(name(), inner.clone(), 0..4).prop_map(|m| json!(m));
        let patterns =
            prop::collection::btree_map(prop::sample::select(vec!["^a", "b", "^(?!a)"]), inner.clone(), 0..3);
        prop_oneof![
            keyword("allOf", some()),
            keyword("anyOf", some()),
            keyword("oneOf", some()),
            keyword("prefixItems", some()),
            keyword("not", inner.clone()),
            keyword("items", inner.clone()),
            keyword("contains", inner.clone()),
            keyword("propertyNames", inner.clone()),
            keyword("additionalProperties", inner.clone()),
            keyword("unevaluatedProperties", inner.clone()),
            keyword("unevaluatedItems", inner.clone()),
            keyword("properties", members()),
            keyword("dependentSchemas", members()),
            keyword("patternProperties", patterns.prop_map(|m| json!(m))),
            prop::collection::vec(inner.clone(), 3).prop_map(|s| json!({"if": s[0], "then": s[1], "else": s[2]})),
            prop::collection::vec(inner.clone(), 2..5).prop_map(|schemas| {
                // Several keywords side by side.
                let merged: Map<String, Value> =
                    schemas.into_iter().filter_map(|s| s.as_object().cloned()).flatten().collect();
                Value::Object(merged)
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_tape_and_the_dom_agree(schema in schema(), documents in prop::collection::vec(document(), 1..4)) {
        let peer = jsonschema::options().should_validate_formats(true).build(&schema).expect("a valid schema");
        let ours = Schema::compile(&schema).expect("a valid schema");
        let mut tape = Tape::new();
        for document in documents {
            let text = document.to_string();
            let doc = tape.parse(text.as_bytes(), &Limits::default()).unwrap();
            let expected = peer.is_valid(&document);
            prop_assert_eq!(ours.is_valid(doc.root()), expected, "{} {}", schema, text);
            match ours.validate(doc.root(), 5) {
                Ok(()) => prop_assert!(expected),
                Err(violations) => {
                    prop_assert!(!expected && !violations.is_empty() && violations.len() <= 5);
                    for violation in violations {
                        // The place exists, and it is the first that the other way names too, if only one is asked for.
                        prop_assert!(doc.root().pointer(&violation.instance_path).is_some(), "{violation}");
                    }
                }
            }
        }
    }
}
