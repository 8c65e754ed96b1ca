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
        prop::sample::select(vec!["", "a", "ab", "😀\n", "2026-11-21", "2026-11-31", "x@example.com"])
            .prop_map(Value::from),
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
        keyword("maximum", scalar().prop_filter("a number", Value::is_number)),
        keyword("exclusiveMinimum", scalar().prop_filter("a number", Value::is_number)),
        keyword("exclusiveMaximum", scalar().prop_filter("a number", Value::is_number)),
        keyword("const", scalar()),
        keyword("enum", prop::collection::vec(scalar(), 1..5).prop_map(Value::from)),
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

const DIALECTS: [&str; 3] = [
    "https://json-schema.org/draft/2020-12/schema",
    "https://json-schema.org/draft/2019-09/schema",
    "http://json-schema.org/draft-07/schema#",
];

/// What contracts are like: an object whose members are described, with definitions that it refers to, also in a circle.
fn contract() -> impl Strategy<Value = Value> {
    let place = || {
        let definition = prop::sample::select(vec!["x", "y", "z"]);
        let reference = definition.prop_map(|name| json!({"$ref": format!("#/$defs/{name}")}));
        prop_oneof![3 => rule(), 1 => reference.clone(), 1 => (reference, rule()).prop_map(|(reference, rule)| {
            let both = [reference, rule].into_iter().filter_map(|s| s.as_object().cloned()).flatten();
            Value::Object(both.collect())
        })]
    };
    let object = move || {
        let members = prop::collection::btree_map(name(), place(), 0..5).prop_map(|m| json!(m));
        let required = prop::collection::btree_set(name(), 0..3);
        let more = prop_oneof![2 => Just(None), 1 => Just(Some(json!(false))), 1 => place().prop_map(Some)];
        let items = prop_oneof![2 => Just(None), 1 => place().prop_map(Some)];
        let beside = prop_oneof![3 => Just(json!({})), 1 => rule(), 1 => place().prop_map(|s| json!({"allOf": [s]}))];
        (members, required, more, items, beside).prop_map(|(members, required, more, items, beside)| {
            let mut schema = json!({"properties": members, "required": required});
            more.into_iter().for_each(|more| schema["additionalProperties"] = more);
            items.into_iter().for_each(|items| schema["items"] = items);
            beside.as_object().into_iter().flatten().for_each(|(name, value)| schema[name] = value.clone());
            schema
        })
    };
    (object(), object(), object(), place(), prop::sample::select(DIALECTS.to_vec())).prop_map(
        |(mut root, x, y, z, dialect)| {
            root["$schema"] = json!(dialect);
            root["$defs"] = json!({"x": x, "y": y, "z": z});
            root
        },
    )
}

/// Texts that are nearly dates, times and the like.
fn nearly() -> impl Strategy<Value = String> {
    let seeds = vec![
        "2026-02-28",
        "2024-02-29",
        "2026-12-31T23:59:60Z",
        "2026-11-21T08:15:30.123+01:00",
        "2026-11-21t08:15:30z",
        "2026-11-21T08:15:30-23:59",
        "0000-01-01T00:00:00.0Z",
        "f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
        "F81D4FAE-7DEC-11D0-A765-00A0C91E6BF6",
    ];
    let changes = prop::collection::vec((any::<prop::sample::Index>(), 0..3_u8, any::<prop::sample::Index>()), 0..3);
    (prop::sample::select(seeds), changes).prop_map(|(seed, changes)| {
        const OTHERS: &[char] = &['0', '1', '2', '3', '6', '9', '-', ':', '.', 'T', 'Z', 'z', '+', 'a', 'g', ' ', 'é'];
        let mut text: Vec<char> = seed.chars().collect();
        for (place, way, other) in changes {
            let at = place.index(text.len().max(1));
            let other = OTHERS[other.index(OTHERS.len())];
            match way {
                0 if at < text.len() => text[at] = other,
                1 => text.insert(at, other),
                _ if at < text.len() => drop(text.remove(at)),
                _ => {}
            }
        }
        text.into_iter().collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_quick_way_agrees_with_the_long_one(
        schema in contract(),
        documents in prop::collection::vec(document(), 1..6),
    ) {
        let Ok(ours) = Schema::compile(&schema) else { return Ok(()) };
        let peer = jsonschema::options().should_validate_formats(true).build(&schema).expect("a valid schema");
        let mut tape = Tape::new();
        for document in documents {
            let text = document.to_string();
            let doc = tape.parse(text.as_bytes(), &Limits::default()).unwrap();
            let expected = peer.is_valid(&document);
            prop_assert_eq!(ours.is_valid_in_all(doc.root()), expected, "{} {}", schema, text);
            prop_assert_eq!(ours.is_valid(doc.root()), expected, "{} {}", schema, text);
        }
    }

    #[test]
    fn forms_are_told_as_the_validator_tells_them(text in nearly()) {
        for dialect in DIALECTS {
            for format in ["date", "date-time", "uuid"] {
                let schema = json!({"$schema": dialect, "format": format});
                let ours = Schema::compile(&schema).expect("a valid schema");
                let json = json!(text).to_string();
                let mut tape = Tape::new();
                let doc = tape.parse(json.as_bytes(), &Limits::default()).unwrap();
                prop_assert_eq!(ours.is_valid(doc.root()), ours.is_valid_in_all(doc.root()), "{} {}", format, text);
            }
        }
    }
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
