//! What views do to fields.

use std::sync::Arc;

use tradelane_model::view::{DateUnit, Generalize};
use tradelane_model::{Action, ViewSpec};
use tradelane_seal::{Rules, View, ViewError, detokenize};

use crate::common::*;

const SHAPE: &[(&str, &str)] = &[
    ("/id", "public"),
    ("/note", "internal"),
    ("/price", "confidential"),
    ("/driver", "pii@/driver"),
    ("/stops/*/at", "public"),
    ("/stops/*/name", "pii"),
    ("/codes/*", "confidential"),
    ("/born", "pii"),
];

#[test]
fn reveal_all_returns_the_original_bytes() {
    let json =
        "{ \"price\" :\t1.50e+2 ,\r\n \"driver\":\"\\u0041n\\/na\", \"zz\\u007a\" : [ {} , null ],\"id\" : \"x\" }  ";
    let rules = rules(SHAPE);
    assert_eq!(shown(SHAPE, &reveal_all(&rules), json), json);
}

#[test]
fn what_nobody_mentions_is_dropped_above_internal() {
    let json = r#"{"id":1,"note":"n","price":7,"driver":"Anna","stops":[{"at":"Z","name":"Bob"}],"codes":["a","b"]}"#;
    let masked = shown(SHAPE, &ViewSpec::default(), json);
    assert_eq!(masked, r#"{"id":1,"note":"n","stops":[{"at":"Z"}],"codes":[null,null]}"#);
}

#[test]
fn a_dropped_member_takes_one_comma_and_its_blanks_with_it() {
    let rules = &[("/a", "pii"), ("/b", "public"), ("/c", "pii"), ("/d", "public"), ("/e", "pii"), ("/f", "pii")];
    let cases = [
        (r#"{"a":1}"#, r#"{}"#),
        (r#"{ "a" : 1 }"#, r#"{  }"#),
        (r#"{"a":1,"b":2}"#, r#"{"b":2}"#),
        (r#"{"b":2,"a":1}"#, r#"{"b":2}"#),
        (r#"{ "b" : 2 , "a" : 1 }"#, r#"{ "b" : 2  }"#),
        (r#"{"a":1,"b":2,"c":3,"d":4,"e":5,"f":6}"#, r#"{"b":2,"d":4}"#),
        ("{\n  \"a\": 1,\n  \"b\": 2,\n  \"e\": 3,\n  \"f\": 4\n}", "{\n  \"b\": 2\n}"),
        (r#"{"a":1,"c":3,"e":[1,2],"f":{"x":","}}"#, r#"{}"#),
        (r#"{"b":",","f":1}"#, r#"{"b":","}"#),
    ];
    for (json, expected) in cases {
        assert_eq!(shown(rules, &ViewSpec::default(), json), expected, "{json}");
    }
}

#[test]
fn masks_keep_the_type() {
    let all = spec(&[("confidential", Action::Redact)], &[]);
    let json = r#"{"a":"x","b":12.5,"c":true,"d":null,"e":[1],"f":{"g":1}}"#;
    let names = ["/a", "/b", "/c", "/d", "/e", "/f"].map(|at| (at, "confidential"));
    assert_eq!(shown(&names, &all, json), r#"{"a":"***","b":0,"c":false,"d":null,"e":[],"f":{}}"#);
}

#[test]
fn a_field_action_wins_over_its_class() {
    let spec = spec(
        &[("pii", Action::Redact)],
        &[("/stops/*/name", Action::Partial { first: 1, last: 0 }), ("/price", Action::Reveal)],
    );
    let json = r#"{"price":7,"driver":"Anna","stops":[{"name":"Bob"},{"name":"J\u00f6rg"}]}"#;
    assert_eq!(shown(SHAPE, &spec, json), r#"{"price":7,"driver":"***","stops":[{"name":"B***"},{"name":"J***"}]}"#);
}

#[test]
fn a_field_action_can_hide_what_is_public() {
    let rules = rules(SHAPE);
    let spec = spec(&[], &[("/id", Action::Drop), ("/stops", Action::Drop)]);
    assert!(!view(&rules, &spec).is_fast());
    let json = r#"{"id":1,"note":"n","stops":[{"at":"Z"}]}"#;
    assert_eq!(shown(SHAPE, &spec, json), r#"{"note":"n","stops":[{}]}"#);
}

#[test]
fn values_are_made_coarse() {
    let month = Action::Generalize(Generalize::Date(DateUnit::Month));
    let tens = Action::Generalize(Generalize::Number { bucket: 10.0 });
    let spec = spec(&[], &[("/born", month), ("/price", tens)]);
    let json = r#"{"born":"1980-05-06","price":47}"#;
    assert_eq!(shown(SHAPE, &spec, json), r#"{"born":"1980-05","price":40}"#);
    let json = r#"{"born":"last May","price":47}"#;
    assert_eq!(shown(SHAPE, &spec, json), r#"{"price":40}"#, "what is no date is dropped");
}

#[test]
fn equal_values_have_equal_pseudonyms_for_one_consumer_and_different_ones_for_another() {
    let keys = Keys::new();
    let rules = rules(SHAPE);
    let spec = spec(&[("pii", Action::Pseudonym)], &[]);
    let one = seal(&rules, &keys, r#"{"driver":"Anna"}"#);
    let two = seal(&rules, &keys, r#"{"driver":"\u0041nna"}"#);
    let retail = view(&rules, &spec);
    let carrier = View::compile(&rules, &rules, &spec, view_keys("carrier")).unwrap();
    let shown = render(&retail, &keys, &one);
    assert!(shown.starts_with(r#"{"driver":"p-"#) && !shown.contains("Anna"));
    assert_eq!(shown, render(&retail, &keys, &two));
    assert_eq!(shown, render(&retail, &keys, &one), "the cached one is the same");
    assert_ne!(shown, render(&carrier, &keys, &one));
}

#[test]
fn a_token_turns_back_until_its_subject_is_erased() {
    let keys = Keys::new();
    let rules = rules(SHAPE);
    let view = view(&rules, &spec(&[("pii", Action::Token)], &[]));
    let record = seal(&rules, &keys, r#"{"driver":"\u0041nna"}"#);
    let shown = render(&view, &keys, &record);
    assert_eq!(shown, render(&view, &keys, &seal(&rules, &keys, r#"{"driver":"Anna"}"#)));
    let token = shown.strip_prefix(r#"{"driver":""#).unwrap().strip_suffix(r#""}"#).unwrap();
    assert_eq!(detokenize(token, "grant-retail", &keys).unwrap(), br#""Anna""#);
    assert!(detokenize(token, "grant-carrier", &keys).is_err());
    assert!(detokenize(&token[..token.len() - 2], "grant-retail", &keys).is_err());
    keys.destroy("Anna");
    assert!(detokenize(token, "grant-retail", &keys).is_err());
    view.clear_cache();
    assert_eq!(render(&view, &keys, &record), "{}");
}

#[test]
fn a_field_reclassified_later_is_masked_in_old_events_too() {
    let keys = Keys::new();
    let old = rules(&[("/id", "public"), ("/memo", "public"), ("/ref", "internal"), ("/price", "confidential")]);
    let record = seal(&old, &keys, r#"{"id":1,"memo":"call Anna","ref":"R1","price":9,"extra":true}"#);
    let later = [("/id", "public"), ("/memo", "pii"), ("/ref", "confidential"), ("/price", "confidential")];
    let now = Arc::new(Rules::compile(&shape(&later), 2).unwrap());
    let show = |spec| render(&View::compile(&old, &now, &spec, view_keys("retail")).unwrap(), &keys, &record);
    assert_eq!(show(ViewSpec::default()), r#"{"id":1}"#);
    let spec_memo = spec(&[("pii", Action::Redact), ("confidential", Action::Reveal)], &[]);
    assert_eq!(show(spec_memo), r#"{"id":1,"memo":"***","ref":"R1","price":9}"#);
    let reveal = ViewSpec::reveal_all(now.shape().classes());
    assert_eq!(show(reveal), r#"{"id":1,"memo":"call Anna","ref":"R1","price":9,"extra":true}"#);
}

#[test]
fn a_sealed_field_whose_class_changed_follows_the_new_class_without_a_parse() {
    let keys = Keys::new();
    let old = rules(&[("/id", "public"), ("/price", "confidential")]);
    let record = seal(&old, &keys, r#"{"id":1,"price":9}"#);
    let now = Arc::new(Rules::compile(&shape(&[("/id", "public"), ("/price", "pii")]), 2).unwrap());
    let view = View::compile(&old, &now, &spec(&[("confidential", Action::Reveal)], &[]), view_keys("r")).unwrap();
    assert!(view.is_fast());
    assert_eq!(render(&view, &keys, &record), r#"{"id":1}"#);
}

#[test]
fn a_place_cut_finer_later_is_located_anew() {
    let keys = Keys::new();
    let old = rules(&[("/to", "pii")]);
    let record = seal(&old, &keys, r#"{"to":{"name":"Anna","country":"CH","x":1}}"#);
    let finer = [("/to/name", "pii"), ("/to/country", "public")];
    let now = Arc::new(Rules::compile(&shape(&finer), 2).unwrap());
    let view = View::compile(&old, &now, &ViewSpec::default(), view_keys("r")).unwrap();
    assert_eq!(render(&view, &keys, &record), r#"{"to":{"country":"CH"}}"#);
}

#[test]
fn a_view_that_makes_no_sense_is_refused() {
    let rules = rules(SHAPE);
    let refused = |spec: ViewSpec| View::compile(&rules, &rules, &spec, view_keys("r")).unwrap_err();
    assert!(matches!(refused(spec(&[], &[("/nowhere", Action::Reveal)])), ViewError::UnknownField(_)));
    assert!(matches!(refused(spec(&[], &[("/note", Action::Token)])), ViewError::TokenOfOpenField { .. }));
    let nothing = Action::Generalize(Generalize::Number { bucket: 0.0 });
    assert!(matches!(refused(spec(&[("pii", nothing)], &[])), ViewError::BadAction(_)));
}

#[test]
fn the_classes_that_were_shown_are_reported() {
    let keys = Keys::new();
    let rules = rules(SHAPE);
    let view = view(&rules, &spec(&[("confidential", Action::Reveal), ("pii", Action::Redact)], &[]));
    let classes = |json: &str| {
        let (_, rendered) = try_render(&view, &keys, &seal(&rules, &keys, json)).unwrap();
        view.class_names(rendered.classes).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(classes(r#"{"id":1,"driver":"A"}"#), [""; 0]);
    assert_eq!(classes(r#"{"price":1,"note":"n"}"#), ["internal", "confidential"]);
    let disclosed: Vec<_> = view.disclosed_classes().iter().map(ToString::to_string).collect();
    assert_eq!(disclosed, ["public", "internal", "confidential"]);
}

#[test]
fn explain_tells_each_field_its_rule_and_what_is_seen() {
    let keys = Keys::new();
    let rules = rules(SHAPE);
    let spec = spec(&[("pii", Action::Redact)], &[("/price", Action::Partial { first: 1, last: 0 })]);
    let view = view(&rules, &spec);
    let json = r#"{"id":1,"price":"78","driver":"Anna","stops":[{"name":"B","a~b":2}]}"#;
    let record = seal(&rules, &keys, json);
    let event = tradelane_seal::OpenedEvent::open(&record, &product(), &keys).unwrap();
    let fields = view.explain(&event, &keys).unwrap();
    let line = |at: &str| fields.iter().find(|field| field.pointer == at).unwrap();
    assert_eq!(fields.len(), 5);
    assert_eq!((line("/id").class.as_str(), line("/id").rendered.as_deref()), ("public", Some("1")));
    assert_eq!(
        (line("/price").by_field.clone(), line("/price").rendered.as_deref()),
        (Some(pattern("/price")), Some(r#""7***""#))
    );
    assert!(line("/driver").has_subject && line("/driver").named);
    assert_eq!(line("/stops/0/name").rendered.as_deref(), Some(r#""***""#));
    let unnamed = line("/stops/0/a~0b");
    assert_eq!((unnamed.class.as_str(), unnamed.named, &unnamed.rule), ("unclassified", false, &pattern("/stops/*")));
    assert_eq!((unnamed.action.clone(), unnamed.rendered.clone()), (Action::Drop, None));
}
