//! Row filters and quality rules: what they decide, what they refuse, what they look at.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};
use tradelane_model::Timestamp;
use tradelane_policy::{CelError, CelFault, QualityRule, Reader, RowFilter, RuleOutcome, Verdict};
use tradelane_tape::{Limits, Tape};

const NOW: Timestamp = Timestamp(1_790_000_000_000_000);

fn reader(attributes: Value) -> Reader {
    Reader::new(&serde_json::from_value::<BTreeMap<String, Value>>(attributes).unwrap())
}

fn decide(filter: &str, event: &str, attributes: Value) -> Verdict {
    let filter = RowFilter::compile(filter).unwrap();
    let mut tape = Tape::new();
    let event = tape.parse(event.as_bytes(), &Limits::default()).unwrap().root();
    let reader = reader(attributes);
    let verdict = filter.evaluate(event, &reader, NOW);
    assert_eq!(verdict, filter.interpret(event, &reader, NOW));
    verdict
}

#[test]
fn a_distributor_gets_only_what_it_carries() {
    let skus = json!({"skus": ["A-1", "B-2"]});
    assert_eq!(decide("event.sku in reader.skus", r#"{"sku":"B-2"}"#, skus.clone()), Verdict::Admit);
    assert_eq!(decide("event.sku in reader.skus", r#"{"sku":"C-3"}"#, skus.clone()), Verdict::Drop);
    assert_eq!(decide("event.sku in reader.skus", r#"{"sku":"\u0041-1"}"#, skus.clone()), Verdict::Admit);
    let any = "event.items.exists(i, i.sku in reader.skus)";
    assert_eq!(decide(any, r#"{"items":[{"sku":"X"},{"sku":"A-1"}]}"#, skus.clone()), Verdict::Admit);
    assert_eq!(decide(any, r#"{"items":[]}"#, skus), Verdict::Drop);
}

#[test]
fn what_cannot_be_decided_is_withheld() {
    let skus = json!({"skus": ["A-1"]});
    for (filter, event, fault) in [
        ("event.sku in reader.skus", r#"{"other":1}"#, CelFault::Missing),
        ("event.sku in reader.carried", r#"{"sku":"A-1"}"#, CelFault::Missing),
        ("event.n > 'text'", r#"{"n":1}"#, CelFault::Type),
        ("event.sku", r#"{"sku":"A-1"}"#, CelFault::NotBoolean),
        ("event.n / 0 == 1", r#"{"n":1}"#, CelFault::Failed),
        ("timestamp(event.t) < now", r#"{"t":"soon"}"#, CelFault::Failed),
    ] {
        let verdict = decide(filter, event, skus.clone());
        assert_eq!(verdict, Verdict::Fault(fault), "{filter}");
        assert!(!verdict.admits());
    }
}

#[test]
fn the_usual_operators_work_on_an_event() {
    let event = r#"{"a":{"b":"x"},"n":3,"d":2.5,"big":18446744073709551615,"list":[1,2,3],"t":"2026-01-01T00:00:00Z","nul":null}"#;
    for filter in [
        "event.a.b == 'x' && event.n == 3",
        "event['a']['b'].startsWith('x')",
        "has(event.a.b) && !has(event.a.c)",
        "event.list.all(n, n > 0) && event.list[1] == 2 && size(event.list) == 3",
        "event.d > 2.4 && event.n < 2.5 + 1.0",
        "timestamp(event.t) < now",
        "event.a.b.matches('^[a-z]$')",
        "event.big == 18446744073709551615u",
        "event.nul == null",
        "event.list.filter(n, n > 1).size() == 2",
        "event.list.map(n, n * 2)[2] == 6",
        "event.list.exists_one(n, n == 2)",
        "event.list.exists(n, [2, 9].exists(m, m == n))",
        "'a' in event",
        "reader == {}",
        "event.missing == 1 || event.n == 3",
    ] {
        assert_eq!(decide(filter, event, json!({})), Verdict::Admit, "{filter}");
    }
    let filter = RowFilter::compile("event.n == 3").unwrap();
    assert!(filter.evaluate_json(&json!({"n": 3}), &Reader::nobody(), NOW).admits());
}

#[test]
fn a_quality_rule_holds_fails_or_has_a_fault() {
    let rule = QualityRule::compile("event.qty >= 0 && event.qty <= 1000").unwrap();
    let check = |event: &str| {
        let mut tape = Tape::new();
        rule.evaluate(tape.parse(event.as_bytes(), &Limits::default()).unwrap().root(), NOW)
    };
    assert_eq!(check(r#"{"qty":5}"#), RuleOutcome::Holds);
    assert_eq!(check(r#"{"qty":-5}"#), RuleOutcome::Fails);
    assert_eq!(check("{}"), RuleOutcome::Fault(CelFault::Missing));
    assert!(matches!(QualityRule::compile("reader.x == 1"), Err(CelError::UnknownVariable { .. })));
}

#[test]
fn an_expression_that_may_not_be_is_refused_with_its_place() {
    assert!(matches!(RowFilter::compile("event.a ==\n == 1"), Err(CelError::Syntax { line: 2, .. })));
    assert!(matches!(
        RowFilter::compile("event.a == 1 && payload.b == 2"),
        Err(CelError::UnknownVariable { line: 1, column: 17, name, .. }) if name == "payload"
    ));
    assert!(matches!(RowFilter::compile("read(event.a)"), Err(CelError::UnknownFunction { .. })));
    for unbounded in [
        "event.a.matches(reader.pattern)",
        "event.l.map(x, x + x).size() > 1",
        "event.l.map(x, [x, x]).size() > 1",
        "event.l.map(x, x).map(x, x).size() > 1",
        "event.a.all(x, event.a.all(y, event.a.all(z, z == x)))",
        "b'abc' == event.a",
        "Message{a: 1} == event.a",
    ] {
        assert!(matches!(RowFilter::compile(unbounded), Err(CelError::Unbounded { .. })), "{unbounded}");
    }
    for large in [
        "1 == 1 && ".repeat(500) + "true",
        "(".repeat(60) + "true" + &")".repeat(60),
        "!(".repeat(40) + "true" + &")".repeat(40),
        "[".repeat(5_000),
    ] {
        assert!(RowFilter::compile(&large).is_err());
    }
}

#[test]
fn an_event_too_big_for_the_expression_is_withheld_and_soon() {
    let list = format!("{{\"l\":[{}]}}", vec!["1"; 5_000].join(","));
    assert_eq!(
        decide("event.l.all(x, event.l.exists(y, y == x))", &list, json!({})),
        Verdict::Fault(CelFault::TooMuch)
    );
    let huge = format!("{{\"l\":[{}]}}", vec!["1"; 60_000].join(","));
    assert_eq!(decide("size(event.l) > 0", &huge, json!({})), Verdict::Fault(CelFault::TooMuch));
    let aside = format!("{{\"l\":[{}],\"sku\":\"a\"}}", vec!["1"; 60_000].join(","));
    assert_eq!(
        decide("event.sku == 'a' && 1 == 1", &aside, json!({})),
        Verdict::Admit,
        "what is not looked at costs nothing"
    );
}

#[test]
fn a_filter_says_what_it_looks_at() {
    for (filter, paths) in [
        ("event.a.b == 'x'", vec!["/a/b"]),
        ("event['a/b'] == 'x' && has(event.c)", vec!["/a~1b", "/c"]),
        ("event.items.exists(i, i.sku in reader.skus)", vec!["/items/*/sku"]),
        ("event.items[0].sku == 'x'", vec!["/items/*/sku"]),
        ("event.items.exists(i, i == 'x')", vec!["/items/*"]),
        ("event.items.exists(i, true)", vec!["/items"]),
        ("event.items.all(i, i.parts.all(p, p.n > 0))", vec!["/items/*/parts/*/n"]),
        ("event.a == 1 || event.a.b == 2", vec!["/a"]),
        ("event[reader.field] == 1", vec![""]),
        ("size(event) > 3", vec![""]),
        ("event.exists(k, k == 'x')", vec!["/*"]),
        ("reader.x == 1", vec![]),
        ("[event.a].exists(x, x.b == 1)", vec!["/a"]),
    ] {
        let compiled = RowFilter::compile(filter).unwrap();
        assert_eq!(compiled.paths().iter().map(|path| path.as_str()).collect::<Vec<_>>(), paths, "{filter}");
    }
}

#[test]
fn the_commonest_filters_skip_the_interpreter() {
    for filter in [
        "event.sku in reader.skus",
        "event.a.b == 'x'",
        "reader.site == event.site",
        "event.l.exists(x, x in reader.skus)",
        "event.l.exists(x, x.a.b in reader.skus) && event.k != 'x' || !(event.c == 'y')",
    ] {
        assert!(RowFilter::compile(filter).unwrap().is_fast(), "{filter}");
    }
    for filter in
        ["event.n == 1", "event.l.all(x, x in reader.skus)", "event.l.exists(x, !(x in reader.skus))", "now > now"]
    {
        assert!(!RowFilter::compile(filter).unwrap().is_fast(), "{filter}");
    }
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => prop_oneof![Just("a"), Just("b"), Just("c"), Just("\u{e9}\"\\"), Just("")].prop_map(Value::from),
        1 => (-2i64..3).prop_map(Value::from),
        1 => Just(json!(1.0)),
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::from),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let member = prop_oneof![Just("a"), Just("b"), Just("c")];
    scalar().prop_recursive(3, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(member.clone(), inner, 0..3)
                .prop_map(|map| Value::Object(map.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())),
        ]
    })
}

fn object() -> impl Strategy<Value = Value> {
    prop::collection::btree_map(prop_oneof![Just("a"), Just("b"), Just("c")], value(), 0..4)
        .prop_map(|map| Value::Object(map.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()))
}

fn term() -> impl Strategy<Value = String> {
    let path = prop_oneof![Just("a"), Just("b"), Just("a.b"), Just("c.a"), Just("a.a.c")];
    let attribute = prop_oneof![Just("a"), Just("b"), Just("c")];
    let below = prop_oneof![Just("x"), Just("x.a"), Just("x.b.c")];
    prop_oneof![
        (path.clone(), attribute.clone()).prop_map(|(p, r)| format!("event.{p} in reader.{r}")),
        (path.clone(), attribute.clone()).prop_map(|(p, r)| format!("event.{p} == reader.{r}")),
        (path.clone(), attribute.clone()).prop_map(|(p, r)| format!("reader.{r} != event.{p}")),
        path.clone().prop_map(|p| format!("event.{p} == 'a'")),
        (path, below, attribute).prop_map(|(p, b, r)| format!("event.{p}.exists(x, {b} in reader.{r})")),
    ]
}

fn filter() -> impl Strategy<Value = String> {
    term().prop_recursive(3, 8, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} && {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} || {b})")),
            inner.prop_map(|a| format!("!({a})")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn short_cuts_and_interpreter_never_differ(filter in filter(), event in object(), attributes in object()) {
        let compiled = RowFilter::compile(&filter).unwrap();
        prop_assert!(compiled.is_fast());
        let text = event.to_string();
        let mut tape = Tape::new();
        let node = tape.parse(text.as_bytes(), &Limits::default()).unwrap().root();
        let reader = reader(attributes.clone());
        prop_assert_eq!(compiled.evaluate(node, &reader, NOW), compiled.interpret(node, &reader, NOW), "{} {} {}", filter, text, attributes);
    }

    #[test]
    fn only_what_a_filter_names_decides_it(filter in filter(), event in object(), attributes in object(), other in value()) {
        let compiled = RowFilter::compile(&filter).unwrap();
        let reader = reader(attributes);
        let before = compiled.evaluate_json(&event, &reader, NOW);
        let mut changed = event;
        for name in ["d", "e"] {
            changed[name] = other.clone();
        }
        prop_assert_eq!(before, compiled.evaluate_json(&changed, &reader, NOW));
    }

}

proptest! {
    // Each refused text costs the parser its attempts to recover.
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn hostile_text_never_panics(text in "\\PC{0,80}") {
        let _ = RowFilter::compile(&text);
        let _ = QualityRule::compile(&format!("event.a == 1 && {text}"));
    }
}

#[test]
fn what_would_grow_beyond_its_inputs_is_refused_or_withheld() {
    let whole = "x".repeat(700_000);
    let many: Vec<u32> = (0..20_000).collect();
    let event = json!({ "l": many, "s": whole, "n": [[many], [many]] });
    let long = reader(json!({ "s": whole }));
    for source in [
        "size(event.l.map(x, event.l)) > 1",
        "size(event.l.map(x, x)) > 1",
        "size(event.l.filter(x, x > 1)) > 1",
        "event.l.all(x, event.n == event.n)",
        "event.l.all(x, reader.s.contains('y'))",
        "event.l.exists(x, string(x).matches('^[a-z]{9}$'))",
        &format!("size({}) > 1", ["event.s"; 40].join(" + ")),
    ] {
        let filter = RowFilter::compile(source).unwrap();
        assert_eq!(filter.evaluate_json(&event, &long, NOW), Verdict::Fault(CelFault::TooMuch), "{source:.60}");
    }
    for source in ["event.s.matches('((a{99}){99}){99}')", "event.s.matches('(')", "(event.l + event.l).all(x, x > 1)"]
    {
        assert!(matches!(RowFilter::compile(source), Err(CelError::Unbounded { .. })), "{source}");
    }
    let items: Vec<Value> = (0..5_000).map(|n| json!({ "kind": "A", "n": n })).collect();
    let event = json!({ "items": items });
    let linear = RowFilter::compile("event.items.all(i, i.kind == 'A' && i.n >= 0)").unwrap();
    assert_eq!(linear.evaluate_json(&event, &Reader::nobody(), NOW), Verdict::Admit, "what is linear may be long");
}
