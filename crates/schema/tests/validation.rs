//! What a schema accepts, refuses, and says about it, run on the tape.

use serde_json::{Value, json};
use tradelane_schema::{Dialect, Schema, SchemaError, Violation};
use tradelane_tape::{Limits, Tape};

fn compile(schema: &Value) -> Schema {
    Schema::compile(schema).expect("a usable schema")
}

fn validate(schema: &Schema, json: &str) -> Result<(), Vec<Violation>> {
    let mut tape = Tape::new();
    let doc = tape.parse(json.as_bytes(), &Limits::default()).expect("JSON");
    let verdict = schema.validate(doc.root(), 100);
    assert_eq!(schema.is_valid(doc.root()), verdict.is_ok());
    verdict
}

fn accepts(schema: &Value, json: &str) -> bool {
    validate(&compile(schema), json).is_ok()
}

/// (place, rule) of each violation.
fn places(schema: &Value, json: &str) -> Vec<(String, String)> {
    let violations = validate(&compile(schema), json).expect_err("a violation");
    violations.into_iter().map(|violation| (violation.instance_path, violation.rule)).collect()
}

#[test]
fn the_dialect_is_what_the_schema_says_or_the_newest() {
    let dialect = |uri: &str| Schema::compile(&json!({ "$schema": uri })).map(|schema| schema.dialect());
    assert_eq!(compile(&json!({})).dialect(), Dialect::Draft202012);
    assert_eq!(compile(&json!(true)).dialect(), Dialect::Draft202012);
    assert_eq!(dialect("https://json-schema.org/draft/2020-12/schema"), Ok(Dialect::Draft202012));
    assert_eq!(dialect("https://json-schema.org/draft/2019-09/schema"), Ok(Dialect::Draft201909));
    assert_eq!(dialect("http://json-schema.org/draft-07/schema#"), Ok(Dialect::Draft7));
    assert_eq!(dialect("http://json-schema.org/draft-07/schema"), Ok(Dialect::Draft7));
    assert_eq!(dialect("http://json-schema.org/draft-04/schema#"), Err(SchemaError::UnknownDialect));
    assert_eq!(dialect("https://example.com/mine"), Err(SchemaError::UnknownDialect));
    assert_eq!(Schema::compile(&json!({"$schema": 7})).unwrap_err(), SchemaError::UnknownDialect);
}

#[test]
fn each_dialect_follows_its_own_rules() {
    // `prefixItems` is 2020-12; in draft-07 the same thing is `items` with an array.
    let new = json!({"prefixItems": [{"type": "string"}], "items": false});
    assert!(accepts(&new, r#"["a"]"#));
    assert_eq!(places(&new, r#"[1, 2]"#).len(), 2);
    let old = json!({"$schema": "http://json-schema.org/draft-07/schema#",
        "items": [{"type": "string"}], "additionalItems": false});
    assert!(accepts(&old, r#"["a"]"#));
    assert!(!accepts(&old, r#"["a", "b"]"#));
    // Siblings of `$ref` count in 2020-12 and not in draft-07.
    let mut siblings = json!({"properties": {"a": {"$ref": "#/$defs/any", "type": "string"}}, "$defs": {"any": {}}});
    assert!(!accepts(&siblings, r#"{"a": 1}"#));
    siblings["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    assert!(accepts(&siblings, r#"{"a": 1}"#));
    let unevaluated = json!({"allOf": [{"properties": {"a": true}}], "unevaluatedProperties": false});
    assert!(accepts(&unevaluated, r#"{"a": 1}"#));
    assert_eq!(places(&unevaluated, r#"{"a": 1, "b": 2}"#), [("/b".into(), "unevaluatedProperties".into())]);
}

#[test]
fn violations_name_place_and_rule() {
    let schema = json!({
        "type": "object",
        "required": ["id", "items"],
        "properties": {
            "id": {"type": "string", "minLength": 3, "pattern": "^[A-Z]+$"},
            "items": {"type": "array", "minItems": 1, "items": {
                "properties": {"qty": {"type": "integer", "minimum": 1}}, "additionalProperties": false}},
            "a/b~c": {"const": 1},
        },
    });
    assert!(accepts(&schema, r#"{"id": "ABC", "items": [{"qty": 1}, {}]}"#));
    assert_eq!(places(&schema, "{}"), [("".into(), "required".into()), ("".into(), "required".into())]);
    assert_eq!(
        places(&schema, r#"{"id": "a", "items": [{"qty": 2}, {"qty": 0.5, "x": 1}, {"y/z": 1, "z": 2}], "a/b~c": 2}"#),
        [
            ("/id".to_owned(), "minLength".to_owned()),
            ("/id".into(), "pattern".into()),
            ("/items/1/qty".into(), "type".into()),
            ("/items/1/qty".into(), "minimum".into()),
            ("/items/1/x".into(), "additionalProperties".into()),
            ("/items/2/y~1z".into(), "additionalProperties".into()),
            ("/items/2/z".into(), "additionalProperties".into()),
            ("/a~1b~0c".into(), "const".into()),
        ]
        .into_iter()
        .collect::<Vec<_>>()
    );
}

#[test]
fn the_place_of_a_violation_leads_back_to_the_node() {
    let schema = compile(&json!({"additionalProperties": {"items": {"type": "string"}}}));
    let json = r#"{"a~/\u0062": ["x", 7]}"#;
    let mut tape = Tape::new();
    let doc = tape.parse(json.as_bytes(), &Limits::default()).unwrap();
    let violations = schema.validate(doc.root(), 9).unwrap_err();
    assert_eq!(violations[0].instance_path, "/a~0~1b/1");
    assert_eq!(doc.root().pointer(&violations[0].instance_path).unwrap().raw(), b"7");
}

#[test]
fn the_closest_alternative_is_explained() {
    let kind = |name: &str, field: &str| json!({"properties": {"type": {"const": name}, field: {"type": "integer"}}, "required": ["type", field]});
    for keyword in ["anyOf", "oneOf"] {
        let schema = json!({ keyword: [kind("A", "a"), kind("B", "b"), kind("C", "c")] });
        let found = places(&schema, r#"{"type": "B", "b": "x"}"#);
        assert_eq!(found, [("".into(), keyword.to_owned()), ("/b".into(), "type".to_owned())]);
    }
    let both = json!({"oneOf": [{"type": "number"}, {"type": "integer"}]});
    assert_eq!(places(&both, "1"), [("".into(), "oneOf".into())]);
}

#[test]
fn no_more_violations_than_asked_for() {
    let schema = compile(&json!({"items": {"type": "string"}, "properties": {"a": {}}, "additionalProperties": false}));
    let mut tape = Tape::new();
    let numbers = format!("[{}]", vec!["1"; 500].join(","));
    let doc = tape.parse(numbers.as_bytes(), &Limits::default()).unwrap();
    for most in [1, 2, 100, 500, 1000] {
        assert_eq!(schema.validate(doc.root(), most).unwrap_err().len(), most.min(500));
    }
    assert_eq!(schema.validate(doc.root(), 0).unwrap_err().len(), 1);
    let members: Vec<String> = (0..500).map(|i| format!("\"m{i}\":1")).collect();
    let object = format!("{{{}}}", members.join(","));
    let doc = tape.parse(object.as_bytes(), &Limits::default()).unwrap();
    assert_eq!(schema.validate(doc.root(), 7).unwrap_err().len(), 7);
}

#[test]
fn formats_are_checked() {
    for (format, good, bad) in [
        ("date-time", "2026-11-21T12:00:00Z", "2026-13-41T12:00:00Z"),
        ("date", "2026-11-21", "21.11.2026"),
        ("email", "a@example.com", "nobody"),
        ("uri", "urn:epc:id:sgtin:4012345.011111.9876", "not a uri"),
        ("uuid", "123e4567-e89b-12d3-a456-426614174000", "123"),
        ("ipv4", "192.0.2.1", "192.0.2.256"),
        ("hostname", "example.com", "-x-"),
        ("regex", "^a+$", "(("),
    ] {
        for dialect in ["https://json-schema.org/draft/2020-12/schema", "http://json-schema.org/draft-07/schema#"] {
            if format == "uuid" && dialect.contains("07") {
                continue;
            }
            let schema = json!({"$schema": dialect, "format": format});
            assert!(accepts(&schema, &json!(good).to_string()), "{format}");
            assert!(!accepts(&schema, &json!(bad).to_string()), "{format}");
        }
    }
    assert!(accepts(&json!({"format": "of-our-own"}), "\"x\""));
}

#[test]
fn escapes_do_not_hide_names_or_values() {
    let schema = json!({"properties": {"name": {"const": "é\n"}}, "required": ["name"],
        "propertyNames": {"maxLength": 4}, "additionalProperties": false});
    assert!(accepts(&schema, r#"{"\u006e\u0061me": "\u00e9\n"}"#));
    assert!(!accepts(&schema, r#"{"\u006e\u0061me": "e"}"#));
    assert_eq!(places(&json!({"propertyNames": {"maxLength": 4}}), r#"{"\u0061bcde": 1}"#)[0].1, "propertyNames");
    let length = json!({"minLength": 2, "maxLength": 2});
    assert!(accepts(&length, r#""\ud83d\ude00é""#));
    assert!(accepts(&length, r#""😀é""#));
}

#[test]
fn numbers_of_any_magnitude_are_handled() {
    let integer = json!({"type": "integer"});
    let nines = "9".repeat(1000);
    for whole in ["1", "1.0", "-0", "1e3", "1e400", "18446744073709551616", nines.as_str()] {
        assert!(accepts(&integer, whole), "{whole}");
    }
    for other in ["0.5", "1e-3", "1e-400", "\"1\""] {
        assert!(!accepts(&integer, other), "{other}");
    }
    for json in ["1e400", "-1e400", "1e-400", nines.as_str(), "18446744073709551616", "1.5", "-0.0"] {
        for schema in [
            json!({"minimum": 0}),
            json!({"maximum": 10}),
            json!({"exclusiveMaximum": 1e308}),
            json!({"multipleOf": 3}),
            json!({"multipleOf": 0.1}),
            json!({"const": 1}),
            json!({"enum": [1.5, 2]}),
            json!({"type": ["integer", "string"]}),
            json!({"minimum": u64::MAX}),
            json!({"maximum": i64::MIN}),
        ] {
            let _ = validate(&compile(&schema), json);
        }
    }
    assert!(accepts(&json!({"minimum": 10}), "1e400"));
    assert!(!accepts(&json!({"maximum": 10}), "1e400"));
    assert!(accepts(&json!({"const": 1}), "1.0"));
    assert!(accepts(&json!({"const": 1.0}), "1"));
    assert!(accepts(&json!({"enum": [9_007_199_254_740_993_u64]}), "9007199254740993"));
    assert!(!accepts(&json!({"enum": [9_007_199_254_740_993_u64]}), "9007199254740992"));
}

#[test]
fn unique_means_unequal_by_value() {
    let unique = json!({"uniqueItems": true});
    let many = |last: &str| {
        let mut elements: Vec<String> = (0..40).map(|i| i.to_string()).collect();
        elements.push(last.to_owned());
        format!("[{}]", elements.join(","))
    };
    assert!(accepts(&unique, &many("40")));
    for repeated in ["7", "7.0", "70e-1", "0", "-0.0"] {
        assert!(!accepts(&unique, &many(repeated)), "{repeated}");
    }
    for twice in
        ["[1, 1.0]", r#"["a", "\u0061"]"#, r#"[{"a":1,"b":[2]}, {"b":[2.0],"a":1}]"#, "[null, null]", "[[], []]"]
    {
        assert!(!accepts(&unique, twice), "{twice}");
        let padded = twice.replacen('[', &many("50").replace(']', ","), 1);
        assert!(!accepts(&unique, &padded), "{padded}");
    }
    for apart in ["[1, true]", r#"["1", 1]"#, "[0, false, null]", r#"[{"a":1}, {"a":2}, {"b":1}]"#, "[[1,2],[2,1]]"] {
        assert!(accepts(&unique, apart), "{apart}");
    }
    let large = [9_007_199_254_740_992_u64, 9_007_199_254_740_993];
    assert!(accepts(&unique, &json!(large).to_string()));
}

#[test]
fn constants_compare_deeply_and_in_any_order() {
    let schema = json!({"const": {"a": [1, {"b": null}], "c": "é"}});
    assert!(accepts(&schema, r#"{"c": "\u00e9", "a": [1.0, {"b": null}]}"#));
    for other in [
        r#"{"a": [1, {"b": null}]}"#,
        r#"{"a": [1, {"b": 0}], "c": "é"}"#,
        r#"{"a": [1, {"b": null}], "c": "é", "d": 1}"#,
    ] {
        assert!(!accepts(&schema, other), "{other}");
    }
}

#[test]
fn a_part_of_a_document_is_validated_alone() {
    let schema = compile(&json!({"type": "object", "required": ["id"]}));
    let mut tape = Tape::new();
    let doc = tape.parse(br#"{"events": [{"id": 1}, {"no": 2}]}"#, &Limits::default()).unwrap();
    let verdicts: Vec<bool> =
        doc.root().get("events").unwrap().elements().map(|event| schema.validate(event, 5).is_ok()).collect();
    assert_eq!(verdicts, [true, false]);
}
