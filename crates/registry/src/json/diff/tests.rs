//! Changes of JSON Schemas and whether readers of the new one understand what the old one took.

use super::*;
use crate::Reference;

/// What breaks, by name and place; empty: nothing does.
fn broken(old: &str, new: &str) -> Vec<String> {
    let parse = |text: &str| JsonSchema::parse(text, &[]).unwrap();
    let changes = compare(&parse(old), &parse(new), &mut 50_000).unwrap();
    changes.into_iter().filter(|c| !c.is_compatible).map(|c| format!("{} {}", c.kind, c.at)).collect()
}

#[track_caller]
fn fine(old: &str, new: &str) {
    assert_eq!(broken(old, new), Vec::<String>::new(), "{old} -> {new}");
}

#[track_caller]
fn breaks(old: &str, new: &str, how: &[&str]) {
    assert_eq!(broken(old, new), how, "{old} -> {new}");
}

#[test]
fn types_may_widen_and_not_narrow() {
    fine(r#"{"type":"integer"}"#, r#"{"type":"number"}"#);
    breaks(r#"{"type":"number"}"#, r#"{"type":"integer"}"#, &["TYPE_NARROWED #"]);
    breaks(r#"{"type":"object"}"#, r#"{"type":"array"}"#, &["TYPE_CHANGED #"]);
    fine(r#"{"type":"string"}"#, r#"{"type":["string","null"]}"#);
    breaks(r#"{"type":["string","null"]}"#, r#"{"type":"string"}"#, &["SUM_TYPE_NARROWED #"]);
    fine(r#"{"type":"string"}"#, "{}");
    fine("false", r#"{"type":"string"}"#);
    breaks("{}", r#"{"type":"string"}"#, &["TYPE_CHANGED #"]);
    breaks(r#"{"type":"string"}"#, "false", &["TYPE_CHANGED #"]);
}

#[test]
fn bounds_may_loosen_and_not_tighten() {
    for (word, kind, name, is_upper) in [
        ("maxLength", "string", "MAX_LENGTH", true),
        ("minLength", "string", "MIN_LENGTH", false),
        ("maximum", "number", "MAXIMUM", true),
        ("exclusiveMinimum", "number", "EXCLUSIVE_MINIMUM", false),
        ("maxItems", "array", "MAX_ITEMS", true),
        ("minProperties", "object", "MIN_PROPERTIES", false),
    ] {
        let with = |n: u32| format!(r#"{{"type":"{kind}","{word}":{n}}}"#);
        let without = format!(r#"{{"type":"{kind}"}}"#);
        let (looser, tighter) = if is_upper { (with(11), with(10)) } else { (with(10), with(11)) };
        fine(&tighter, &looser);
        fine(&tighter, &without);
        let way = if is_upper { "DECREASED" } else { "INCREASED" };
        breaks(&looser, &tighter, &[&format!("{name}_{way} #/{word}")]);
        breaks(&without, &tighter, &[&format!("{name}_ADDED #/{word}")]);
    }
    fine(r#"{"type":"number","multipleOf":10}"#, r#"{"type":"number","multipleOf":2}"#);
    breaks(
        r#"{"type":"number","multipleOf":10}"#,
        r#"{"type":"number","multipleOf":11}"#,
        &["MULTIPLE_OF_CHANGED #/multipleOf"],
    );
    breaks(r#"{"type":"string","pattern":"a"}"#, r#"{"type":"string","pattern":"b"}"#, &["PATTERN_CHANGED #/pattern"]);
}

#[test]
fn values_may_be_added_to_an_enumeration_and_not_taken_away() {
    fine(r#"{"enum":["a"]}"#, r#"{"enum":["b","a"]}"#);
    fine(r#"{"type":"string","enum":["a"]}"#, r#"{"type":"string"}"#);
    fine(r#"{"const":1}"#, r#"{"enum":[1,2]}"#);
    breaks(r#"{"enum":["a","b"]}"#, r#"{"enum":["a"]}"#, &["ENUM_ARRAY_NARROWED #/enum"]);
    breaks(r#"{"enum":["a","b"]}"#, r#"{"enum":["a","c"]}"#, &["ENUM_ARRAY_CHANGED #/enum"]);
    breaks(r#"{"type":"string"}"#, r#"{"type":"string","enum":["a"]}"#, &["TYPE_CHANGED #/enum"]);
}

const CLOSED: &str = r#"{"type":"object","properties":{"a":{"type":"string"}},"additionalProperties":false}"#;

#[test]
fn a_closed_model_takes_new_optional_properties_and_keeps_its_old_ones() {
    let with = |b: &str, required: &str| {
        format!(
            r#"{{"type":"object","properties":{{"a":{{"type":"string"}},"b":{b}}},"required":{required},"additionalProperties":false}}"#
        )
    };
    fine(CLOSED, &with(r#"{"type":"number"}"#, "[]"));
    fine(CLOSED, &with(r#"{"type":"number","default":0}"#, r#"["b"]"#));
    let how = ["REQUIRED_PROPERTY_ADDED_TO_UNOPEN_CONTENT_MODEL #/properties/b"];
    breaks(CLOSED, &with(r#"{"type":"number"}"#, r#"["b"]"#), &how);
    let how = ["PROPERTY_REMOVED_FROM_CLOSED_CONTENT_MODEL #/properties/b"];
    breaks(&with(r#"{"type":"number"}"#, "[]"), CLOSED, &how);
    fine(&with("false", "[]"), CLOSED);
}

#[test]
fn an_open_model_loses_properties_and_takes_no_new_ones_with_a_type() {
    let open = r#"{"type":"object","properties":{"a":{"type":"string"}}}"#;
    let none = r#"{"type":"object"}"#;
    fine(open, none);
    breaks(none, open, &["PROPERTY_ADDED_TO_OPEN_CONTENT_MODEL #/properties/a"]);
    fine(none, r#"{"type":"object","properties":{"a":{}}}"#);
    breaks(open, CLOSED, &["ADDITIONAL_PROPERTIES_REMOVED #/additionalProperties"]);
    fine(CLOSED, open);
}

#[test]
fn a_partly_open_model_says_what_names_may_come_and_go() {
    let like = |kind: &str, more: &str| {
        format!(r#"{{"type":"object","properties":{{{more}}},"additionalProperties":{{"type":"{kind}"}}}}"#)
    };
    fine(&like("string", ""), &like("string", r#""b":{"type":"string"}"#));
    breaks(
        &like("string", ""),
        &like("string", r#""b":{"type":"number"}"#),
        &["TYPE_CHANGED #/properties/b", "PROPERTY_ADDED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL #/properties/b"],
    );
    fine(&like("number", r#""b":{"type":"integer"}"#), &like("number", ""));
    let patterned = r#"{"type":"object","patternProperties":{"^I_":{"type":"integer"}},"additionalProperties":false}"#;
    let named = r#"{"type":"object","properties":{"I_1":{"type":"number"}},"patternProperties":{"^I_":{"type":"integer"}},"additionalProperties":false}"#;
    fine(patterned, named);
}

#[test]
fn what_becomes_required_needs_a_default() {
    let with =
        |a: &str, required: &str| format!(r#"{{"type":"object","properties":{{"a":{a}}},"required":{required}}}"#);
    let text = r#"{"type":"string"}"#;
    fine(&with(text, r#"["a"]"#), &with(text, "[]"));
    breaks(&with(text, "[]"), &with(text, r#"["a"]"#), &["REQUIRED_ATTRIBUTE_ADDED #/required/a"]);
    fine(&with(text, "[]"), &with(r#"{"type":"string","default":""}"#, r#"["a"]"#));
    breaks(r#"{"type":"object"}"#, r#"{"type":"object","required":["x"]}"#, &["REQUIRED_ATTRIBUTE_ADDED #/required/x"]);
}

#[test]
fn places_are_told_inside_of_objects_and_arrays() {
    let nested = |kind: &str| {
        format!(
            r#"{{"type":"object","properties":{{"l":{{"type":"array","items":{{"type":"object","properties":{{"q":{{"type":"{kind}"}}}}}}}}}}}}"#
        )
    };
    fine(&nested("integer"), &nested("number"));
    breaks(&nested("number"), &nested("integer"), &["TYPE_NARROWED #/properties/l/items/properties/q"]);
}

#[test]
fn first_elements_and_the_rest_are_compared_in_every_dialect() {
    let two = r#"{"type":"array","prefixItems":[{"type":"string"},{"type":"number"}],"items":false}"#;
    let one = r#"{"type":"array","items":[{"type":"string"}],"additionalItems":false}"#;
    fine(one, two);
    breaks(two, one, &["ITEM_REMOVED_FROM_CLOSED_CONTENT_MODEL #/items/1"]);
    breaks(
        r#"{"type":"array"}"#,
        r#"{"type":"array","items":{"type":"string"}}"#,
        &["ADDITIONAL_ITEMS_NARROWED #/items"],
    );
    breaks(r#"{"type":"array"}"#, r#"{"type":"array","uniqueItems":true}"#, &["UNIQUE_ITEMS_ADDED #/uniqueItems"]);
}

#[test]
fn alternatives_may_be_added_and_each_old_one_needs_a_new_one() {
    let any = |word: &str, kinds: &[&str]| {
        let all: Vec<String> = kinds.iter().map(|kind| format!(r#"{{"type":"{kind}"}}"#)).collect();
        format!(r#"{{"{word}":[{}]}}"#, all.join(","))
    };
    fine(&any("oneOf", &["string"]), &any("oneOf", &["number", "string"]));
    breaks(&any("oneOf", &["string"]), &any("oneOf", &["number"]), &["COMBINED_TYPE_SUBSCHEMAS_CHANGED #"]);
    breaks(&any("anyOf", &["number", "string"]), &any("anyOf", &["string"]), &["SUM_TYPE_NARROWED #"]);
    fine(&any("oneOf", &["number", "string"]), &any("anyOf", &["string", "number"]));
    breaks(&any("anyOf", &["number", "string"]), &any("oneOf", &["string", "number"]), &["COMBINED_TYPE_CHANGED #"]);
    fine(r#"{"type":"string"}"#, &any("oneOf", &["null", "string"]));
    breaks(r#"{"type":"string"}"#, &any("oneOf", &["null", "number"]), &["TYPE_CHANGED #"]);
    fine(&any("oneOf", &["integer"]), r#"{"type":"number"}"#);
    breaks(&any("oneOf", &["null", "string"]), r#"{"type":"string"}"#, &["TYPE_CHANGED #"]);
}

#[test]
fn all_of_may_lose_parts_and_gains_only_what_held_before() {
    let all = |parts: &str| format!(r#"{{"allOf":[{parts}]}}"#);
    let (red, both) = (r#"{"type":"string"},{"enum":["red"]}"#, r#"{"enum":["red","blue"]},{"type":"string"}"#);
    fine(&all(red), &all(both));
    breaks(&all(both), &all(red), &["COMBINED_TYPE_SUBSCHEMAS_CHANGED #"]);
    fine(&all(red), &all(r#"{"type":"string"}"#));
    breaks(&all(r#"{"type":"string"}"#), &all(red), &["PRODUCT_TYPE_EXTENDED #"]);
}

#[test]
fn not_turns_the_direction_around() {
    fine(r#"{"not":{"type":"number"}}"#, r#"{"not":{"type":"integer"}}"#);
    breaks(r#"{"not":{"type":"integer"}}"#, r#"{"not":{"type":"number"}}"#, &["NOT_TYPE_EXTENDED #/not"]);
    breaks(r#"{"type":"string"}"#, r#"{"type":"string","not":{"const":"x"}}"#, &["TYPE_CHANGED #/not"]);
}

#[test]
fn what_cannot_be_told_breaks() {
    let when =
        |kind: &str| format!(r#"{{"type":"object","if":{{"required":["a"]}},"then":{{"required":["{kind}"]}}}}"#);
    fine(&when("b"), &when("b"));
    assert!(!broken(&when("b"), &when("c")).is_empty());
    assert!(!broken(r#"{"type":"object"}"#, &when("b")).is_empty());
    fine(&when("b"), r#"{"type":"object"}"#);
    let names = r#"{"type":"object","propertyNames":{"maxLength":3}}"#;
    assert!(!broken(r#"{"type":"object"}"#, names).is_empty());
    assert!(!broken(r#"{"type":"object"}"#, r#"{"type":"object","dependentRequired":{"a":["b"]}}"#).is_empty());
    assert!(!broken(r#"{"type":"array"}"#, r#"{"type":"array","contains":{"type":"string"}}"#).is_empty());
}

#[test]
fn references_are_looked_through_and_recursive_schemas_end() {
    let tree = |kind: &str| {
        format!(
            r##"{{"type":"object","properties":{{"v":{{"$ref":"#/$defs/v"}},"next":{{"$ref":"#"}}}},"$defs":{{"v":{{"type":"{kind}"}}}}}}"##
        )
    };
    fine(&tree("integer"), &tree("number"));
    breaks(&tree("number"), &tree("integer"), &["TYPE_NARROWED #/properties/v"]);
    let other = |kind: &str| Reference { name: "o.json".into(), text: format!(r#"{{"type":"{kind}"}}"#) };
    let text = r#"{"type":"object","properties":{"o":{"$ref":"o.json"}}}"#;
    let with = |kind: &str| JsonSchema::parse(text, &[other(kind)]).unwrap();
    let changes = compare(&with("number"), &with("integer"), &mut 50_000).unwrap();
    assert!(changes.iter().any(|c| c.kind == "TYPE_NARROWED" && c.at == "#/properties/o"), "{changes:?}");
    assert!(compare(&with("integer"), &with("integer"), &mut 50_000).unwrap().is_empty());
    let dangling = JsonSchema::parse(r#"{"properties":{"a":{"$ref":"https://example.com/x"}}}"#, &[]).unwrap();
    let other = JsonSchema::parse(r#"{"properties":{"a":{"type":"string"}}}"#, &[]).unwrap();
    assert_eq!(compare(&dangling, &other, &mut 50_000).err(), Some(SchemaProblem::Dangling));
}

#[test]
fn entangled_schemas_are_given_up_on() {
    // Each level doubles the pairs that must be looked at.
    let mut text = r#"{"type":"string","minLength":1}"#.to_owned();
    for level in 0..12 {
        let branch = format!(r#"{{"type":"object","properties":{{"p{level}":{text}}}}}"#);
        text = format!(r#"{{"anyOf":[{branch},{branch},{branch}]}}"#);
        if text.len() > 200_000 {
            break;
        }
    }
    let old = JsonSchema::parse(&text, &[]).unwrap();
    let new = JsonSchema::parse(&text.replace("\"minLength\":1", "\"minLength\":2"), &[]).unwrap();
    assert_eq!(compare(&old, &new, &mut 20_000).err(), Some(SchemaProblem::TooComplex));
}
