//! What no rule names is of the most restricted class.

use tradelane_model::shape::Types;
use tradelane_model::{Action, ViewSpec};

use crate::common::*;

/// A view that shows every class that has a name.
fn everything_named() -> ViewSpec {
    let named = ["public", "internal", "confidential", "pii", "sensitive-pii"];
    spec(&named.map(|name| (name, Action::Reveal)), &[])
}

#[test]
fn an_additional_property_is_never_shown_and_neither_is_its_name() {
    let rules = &[("/id", "public"), ("/to/name", "pii")];
    let json = r#"{"anna@example.org":1,"id":1,"to":{"name":"A","secret":{"a":[1]}},"more":"x"}"#;
    assert_eq!(shown(rules, &everything_named(), json), r#"{"id":1,"to":{"name":"A"}}"#);
}

#[test]
fn a_class_on_a_container_does_not_reach_its_unnamed_members() {
    let rules = &[("/to", "public"), ("/to/ssn", "sensitive-pii")];
    assert_eq!(shown(rules, &everything_named(), r#"{"to":{"ssn2":"1","ssn":"2"}}"#), r#"{"to":{"ssn":"2"}}"#);
}

#[test]
fn a_class_on_a_container_of_which_nothing_is_named_reaches_all_of_it() {
    let json = r#"{"to":{"a":[{"b":1}],"c":2}}"#;
    assert_eq!(shown(&[("/to", "public")], &ViewSpec::default(), json), json);
    assert_eq!(shown(&[("/to", "pii")], &ViewSpec::default(), json), "{}");
}

#[test]
fn a_deeper_array_than_the_pattern_expects_is_hidden() {
    let rules = &[("/list/*/pii", "pii"), ("/list/*/ok", "public")];
    assert_eq!(
        shown(rules, &everything_named(), r#"{"list":[[{"pii":1,"ok":2}],{"pii":3,"ok":4}]}"#),
        r#"{"list":[null,{"pii":3,"ok":4}]}"#
    );
}

#[test]
fn an_object_where_a_list_is_expected_is_hidden_and_the_other_way_round() {
    let rules = &[("/list/*/ok", "public"), ("/object/ok", "public")];
    assert_eq!(shown(rules, &everything_named(), r#"{"list":{"ok":1},"object":[{"ok":1}],"x":0}"#), "{}");
}

#[test]
fn a_text_where_an_object_is_expected_is_hidden() {
    let rules = &[("/to", "public"), ("/to/name", "pii")];
    assert_eq!(shown(rules, &everything_named(), r#"{"to":"Anna"}"#), "{}");
    assert_eq!(shown(rules, &everything_named(), r#"{"to":null}"#), r#"{"to":null}"#);
}

#[test]
fn a_place_that_the_schema_names_without_a_class_is_hidden() {
    let mut shape = shape(&[("/id", "public")]);
    shape.root.properties.entry("free".to_owned()).or_default().types = Types::STRING;
    let rules = std::sync::Arc::new(tradelane_seal::Rules::compile(&shape, 1).unwrap());
    let keys = Keys::new();
    let record = seal(&rules, &keys, r#"{"id":1,"free":"text"}"#);
    assert_eq!(render(&view(&rules, &everything_named()), &keys, &record), r#"{"id":1}"#);
}

#[test]
fn a_value_of_another_type_than_the_schema_allows_is_hidden() {
    let mut shape = shape(&[("/id", "public")]);
    shape.root.properties.get_mut("id").unwrap().types = Types::STRING;
    let rules = std::sync::Arc::new(tradelane_seal::Rules::compile(&shape, 1).unwrap());
    let keys = Keys::new();
    let show = |json| render(&view(&rules, &everything_named()), &keys, &seal(&rules, &keys, json));
    assert_eq!(show(r#"{"id":"x"}"#), r#"{"id":"x"}"#);
    assert_eq!(show(r#"{"id":{"ssn":"1"}}"#), "{}");
}

#[test]
fn the_keys_of_a_map_of_personal_data_are_data_too() {
    let rules = &[("/contacts/{}/phone", "pii"), ("/contacts/{}/city", "public")];
    let json = r#"{"contacts":{"anna@example.org":{"phone":"1","city":"Bern"}}}"#;
    assert_eq!(shown(rules, &ViewSpec::default(), json), r#"{"contacts":{}}"#);
    let redact = spec(&[("unclassified", Action::Redact), ("pii", Action::Redact)], &[]);
    assert_eq!(shown(rules, &redact, json), r#"{"contacts":{}}"#, "a mask would show the name");
    let open = &[("/contacts/{}", "public"), ("/contacts/{}/phone", "pii"), ("/contacts/{}/city", "public")];
    assert_eq!(
        shown(open, &ViewSpec::default(), json),
        r#"{"contacts":{"anna@example.org":{"city":"Bern"}}}"#,
        "the owner said that the names are public"
    );
}

#[test]
fn an_escaped_name_is_the_same_name() {
    let rules = &[("/a", "pii"), ("/id", "public")];
    assert_eq!(shown(rules, &ViewSpec::default(), r#"{"\u0061":1,"\u0069d":2}"#), r#"{"\u0069d":2}"#);
}

#[test]
fn a_document_that_is_one_scalar_is_masked_as_null() {
    assert_eq!(shown(&[("", "pii")], &ViewSpec::default(), r#" "Anna" "#), " null ");
    assert_eq!(shown(&[("/a", "public")], &ViewSpec::default(), r#""Anna""#), "null");
}

#[test]
fn an_unnamed_field_of_an_old_contract_stays_hidden_when_a_newer_one_forgets_places() {
    let keys = Keys::new();
    let old = rules(&[("/id", "public"), ("/memo", "internal")]);
    let record = seal(&old, &keys, r#"{"id":1,"memo":"m","x":2}"#);
    let now = std::sync::Arc::new(tradelane_seal::Rules::compile(&shape(&[("/id", "public")]), 2).unwrap());
    let view = tradelane_seal::View::compile(&old, &now, &everything_named(), view_keys("r")).unwrap();
    assert_eq!(render(&view, &keys, &record), r#"{"id":1}"#);
}

/// Names are found by a hash of 32 bits, which is no secret and easily collided.
#[test]
fn a_name_that_only_hashes_like_a_named_one_is_not_shown() {
    let mut seen = std::collections::HashMap::new();
    let alike = (0_u32..).find_map(|number| {
        let name = format!("name{number:08x}");
        seen.insert(tradelane_tape::Name::new(&name).hash(), name.clone()).map(|before| (before, name))
    });
    let (named, other) = alike.expect("in some hundred thousand names");
    let at = format!("/{named}");
    let json = format!(r#"{{"{other}":1,"{named}":2,"last":3}}"#);
    let public = ViewSpec::default();
    assert_eq!(shown(&[(&at, "public")], &public, &json), format!(r#"{{"{named}":2}}"#));
    // Where the contract names both, each is found.
    let beside = format!("/{other}");
    assert_eq!(shown(&[(&at, "public"), (&beside, "pii")], &public, &json), format!(r#"{{"{named}":2}}"#));
    assert_eq!(shown(&[(&at, "pii"), (&beside, "public")], &public, &json), format!(r#"{{"{other}":1}}"#));
}
