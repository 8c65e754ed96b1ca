//! Hostile schemas are refused, hostile documents are handled, and nothing of a document gets into a message.

use serde_json::{Value, json};
use tradelane_schema::{Schema, SchemaError, Violation};
use tradelane_tape::{Limits, Tape};

fn violations(schema: &Value, json: &str) -> Vec<Violation> {
    let schema = Schema::compile(schema).expect("a usable schema");
    let mut tape = Tape::new();
    let doc = tape.parse(json.as_bytes(), &Limits { max_nodes: 2_000_000, ..Limits::default() }).expect("JSON");
    schema.validate(doc.root(), 100).err().unwrap_or_default()
}

/// A value that must not turn up anywhere.
const SECRET: &str = "S3CR3T-4711";

#[test]
fn no_message_holds_a_value_of_the_document() {
    let rules = [
        json!({"type": "integer"}),
        json!({"type": ["null", "boolean"]}),
        json!({"const": "x"}),
        json!({"enum": ["x", 1]}),
        json!({"pattern": "^x$"}),
        json!({"minLength": 99}),
        json!({"maxLength": 1}),
        json!({"format": "date"}),
        json!({"not": {}}),
        json!(false),
        json!({"anyOf": [{"const": 1}, {"pattern": "^y$"}]}),
        json!({"oneOf": [{"const": 1}, {"maxLength": 2}]}),
        json!({"oneOf": [{}, {}]}),
        json!({"allOf": [{"if": {"type": "string"}, "then": {"const": 1}}]}),
        json!({"contentEncoding": "base64"}),
    ];
    for rule in &rules {
        let schemas = [
            json!({"properties": {"p": rule}}),
            json!({"additionalProperties": rule}),
            json!({"propertyNames": rule}),
            json!({"properties": {"a": {"items": rule}}}),
            json!({"properties": {"a": {"contains": rule}}}),
            json!({"properties": {"a": {"uniqueItems": true, "maxItems": 1, "unevaluatedItems": rule}}}),
            json!({"patternProperties": {"p": rule}}),
            json!({"unevaluatedProperties": rule}),
        ];
        for schema in schemas {
            for dialect in ["https://json-schema.org/draft/2020-12/schema", "http://json-schema.org/draft-07/schema#"] {
                let mut schema = schema.clone();
                schema["$schema"] = json!(dialect);
                let json = format!(r#"{{"p": "{SECRET}", "a": ["{SECRET}", "{SECRET}"], "o": {{"x": "{SECRET}"}}}}"#);
                for violation in violations(&schema, &json) {
                    assert!(!format!("{violation} {violation:?}").contains(SECRET), "{schema} {violation:?}");
                }
            }
        }
    }
}

#[test]
fn names_of_the_document_stand_in_the_place_only() {
    for schema in [
        json!({"additionalProperties": false}),
        json!({"unevaluatedProperties": false}),
        json!({"propertyNames": {"maxLength": 2}}),
        json!({"additionalProperties": {"type": "object"}}),
        json!({"maxProperties": 0}),
    ] {
        let found = violations(&schema, &format!(r#"{{"{SECRET}": 1}}"#));
        assert!(!found.is_empty());
        for violation in found {
            let rest = format!("{} {} {}", violation.schema_path, violation.rule, violation.message);
            assert!(!rest.contains(SECRET), "{violation:?}");
        }
    }
}

#[test]
fn references_to_the_outside_are_refused() {
    for reference in
        ["https://example.com/x.json", "file:///etc/passwd", "other.json", "#/$defs/none", "http://[::1]/x", "urn:x:y"]
    {
        let refused = Schema::compile(&json!({"properties": {"a": {"$ref": reference}}}));
        assert!(matches!(refused, Err(SchemaError::Reference { .. })), "{reference}: {refused:?}");
    }
    assert!(Schema::compile(&json!({"$ref": "#/$defs/a", "$defs": {"a": {}}})).is_ok());
    assert!(Schema::compile(&json!({"$ref": "https://json-schema.org/draft/2020-12/schema"})).is_ok());
}

#[test]
fn oversized_and_broken_schemas_are_refused() {
    let mut deep = json!({});
    for _ in 0..200 {
        deep = json!({ "items": deep });
    }
    assert_eq!(Schema::compile(&deep).unwrap_err(), SchemaError::TooDeep { limit: Schema::MOST_DEPTH });
    let wide = json!({"enum": (0..60_000).collect::<Vec<_>>()});
    assert_eq!(Schema::compile(&wide).unwrap_err(), SchemaError::TooLarge { limit: Schema::MOST_NODES });
    let long = json!({"pattern": "a".repeat(5_000)});
    assert_eq!(Schema::compile(&long).unwrap_err(), SchemaError::PatternTooLong { limit: Schema::LONGEST_PATTERN });
    for broken in [
        json!({"type": "strin"}),
        json!({"pattern": "(("}),
        json!({"minLength": -1}),
        json!({"properties": 1}),
        json!({"pattern": "(a{1000}){1000}"}),
        json!({"required": "a"}),
        json!([]),
        json!(1),
        json!({"patternProperties": {"((": {}}}),
    ] {
        assert!(matches!(Schema::compile(&broken), Err(SchemaError::Invalid { .. })), "{broken}");
    }
    let error = Schema::compile(&json!({"properties": {"a": {"type": 7}}})).unwrap_err();
    assert!(matches!(&error, SchemaError::Invalid { place, .. } if place == "/properties/a/type"), "{error:?}");
    assert_eq!(error.code().as_str(), "TL-1010");
}

#[test]
fn runaway_patterns_end_and_count_as_not_matched() {
    let schema = json!({"properties": {"p": {"pattern": "^(?!x)(a+)+$"}, "q": {"pattern": "(.*)(.*)(.*)\\1\\2x$"}}});
    let json = json!({"p": "a".repeat(40) + "!", "q": "ab".repeat(400)}).to_string();
    let found = violations(&schema, &json);
    assert!(!found.is_empty());
    assert!(found.iter().all(|violation| violation.rule == "pattern"), "{found:?}");
    let many: Vec<Value> = (0..200).map(|i| json!("a".repeat(30 + i % 7) + &i.to_string())).collect();
    let schema = json!({"items": {"anyOf": [{"pattern": "^(?=a)(a|aa)+$"}, {"pattern": "^(?=a)(a*)*$"}]}});
    assert!(!violations(&schema, &json!(many).to_string()).is_empty());
    assert!(!violations(&json!({"pattern": "^(?=a)(a|a)*$"}), &json!("a".repeat(50) + "b").to_string()).is_empty());
}

#[test]
fn a_million_wrong_elements_take_bounded_work_and_a_verdict() {
    let elements = |n: usize| format!("[{}]", vec!["1"; n].join(","));
    let schema =
        json!({"items": {"anyOf": [{"type": "string"}, {"type": "null"}, {"required": ["a"], "type": "object"}]}});
    assert_eq!(violations(&schema, &elements(150_000)).len(), 100);
    let unlisted = violations(&schema, &elements(1_000_000));
    assert_eq!((unlisted.len(), unlisted[0].rule.as_str()), (1, "schema"));
    let valid = json!({"items": {"type": "integer"}, "maxItems": 2_000_000});
    assert!(violations(&valid, &elements(1_000_000)).is_empty());
    let distinct = format!("[{}]", (0..200_000).map(|i| i.to_string()).collect::<Vec<_>>().join(","));
    assert!(violations(&json!({"uniqueItems": true}), &distinct).is_empty());
}

#[test]
fn errors_past_the_bound_are_not_reported_for_emptied_containers() {
    // Alternatives that fail more often than errors may be made, beside a check that an emptied array would fail.
    let schema = json!({"properties": {
        "a": {"anyOf": [{"items": {"type": "string"}}, {"items": {"type": "null"}}]},
        "b": {"contains": {"const": 1}},
        "c": {"items": {"required": ["x"]}},
    }});
    let json = format!(r#"{{"a": [{}], "b": [1], "c": [{{"x": 1}}]}}"#, vec!["1"; 50_000].join(","));
    let found = violations(&schema, &json);
    assert!(
        found
            .iter()
            .all(|violation| !violation.instance_path.starts_with("/b") && !violation.instance_path.starts_with("/c"))
    );
    assert!(!found.is_empty());
}

/// Definitions d0 to d(n), each of which is `of` the reference to the next.
fn chain(n: usize, of: impl Fn(Value) -> Value) -> Value {
    let mut defs = serde_json::Map::new();
    for i in 0..n {
        defs.insert(format!("d{i}"), of(json!({"$ref": format!("#/$defs/d{}", i + 1)})));
    }
    defs.insert(format!("d{n}"), json!({"type": "object"}));
    json!({"$ref": "#/$defs/d0", "$defs": defs})
}

#[test]
fn references_that_double_on_one_value_are_refused() {
    let entangled = |schema: &Value| matches!(Schema::compile(schema), Err(SchemaError::TooEntangled));
    assert!(entangled(&chain(30, |next| json!({"allOf": [next, next]}))));
    assert!(entangled(&chain(9, |next| json!({"anyOf": vec![next; 5]}))));
    assert!(entangled(&chain(40, |next| next)), "a long chain nests on the stack");
    assert!(!entangled(&chain(6, |next| json!({"allOf": [next, next]}))));
    // The same by other names for the same thing.
    let mut renamed = json!({"$defs": {}, "$ref": "x0.json"});
    for i in 0..20 {
        let next = format!("https://example.com/x{}.json", i + 1);
        renamed["$defs"][format!("{i}")] = json!({"$id": format!("https://example.com/x{i}.json"), "oneOf": [{"$ref": next}, {"not": {"$ref": next}}]});
    }
    assert!(entangled(&renamed));
    let mut anchored = json!({"$defs": {}, "$ref": "#a0"});
    for i in 0..20 {
        let next = format!("#a{}", i + 1);
        anchored["$defs"][format!("{i}")] =
            json!({"$anchor": format!("a{i}"), "if": {"$ref": next}, "then": {"$ref": next}});
    }
    assert!(entangled(&anchored));
    assert!(!entangled(&json!({"$defs": {"a": {"$ref": "#/$defs/a"}}})), "the validator cuts cycles");
}

#[test]
fn references_that_double_on_the_way_down_come_to_an_end() {
    let twice = json!({"properties": {"a": {"$ref": "#"}, "b": {"type": "string"}}});
    let schema = json!({"allOf": [twice, twice], "properties": {"wrong": false}});
    let compiled = Schema::compile(&schema).unwrap();
    let mut tape = Tape::new();
    for (innermost, wrong, valid) in [("{}", "", true), ("{\"b\":1}", "", false), ("{}", ",\"wrong\":1", false)] {
        let json = format!("{}{innermost}{}{wrong}}}", "{\"a\":".repeat(60), "}".repeat(59));
        let doc = tape.parse(json.as_bytes(), &Limits::default()).unwrap();
        assert_eq!(compiled.validate(doc.root(), 10).is_ok(), valid);
    }
}

#[test]
fn a_recursive_schema_follows_the_deepest_document_that_the_tape_takes() {
    let schema = json!({"$ref": "#/$defs/tree", "$defs": {"tree": {
        "anyOf": [{"type": "null"}, {"type": "array", "items": {"$ref": "#/$defs/tree"}}]}}});
    let compiled = Schema::compile(&schema).unwrap();
    let depth = usize::from(Limits::MOST_DEPTH);
    let json = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let wrong = format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    let mut tape = Tape::new();
    let limits = Limits { max_depth: u16::MAX, ..Limits::default() };
    assert!(compiled.is_valid(tape.parse(json.as_bytes(), &limits).unwrap().root()));
    assert!(compiled.validate(tape.parse(wrong.as_bytes(), &limits).unwrap().root(), 10).is_err());
    // As many schemas on each level as a schema may nest.
    let mut defs = json!({});
    for i in 0..20 {
        defs[format!("d{i}")] = json!({"allOf": [{"$ref": format!("#/$defs/d{}", i + 1)}]});
    }
    defs["d10"] = json!({"items": {"$ref": "#/$defs/d0"}, "type": "array"});
    let deep = Schema::compile(&json!({"$ref": "#/$defs/d0", "$defs": defs})).unwrap();
    assert!(deep.is_valid(tape.parse(json.as_bytes(), &limits).unwrap().root()));
    assert!(deep.validate(tape.parse(wrong.as_bytes(), &limits).unwrap().root(), 10).is_err());
    let endless = json!({"$ref": "#"});
    if let Ok(schema) = Schema::compile(&endless) {
        let _ = schema.is_valid(tape.parse(b"{}", &limits).unwrap().root());
    }
}
