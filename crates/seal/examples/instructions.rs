//! Instructions per event, for callgrind, which counts only what happens in `measured`; divide by the number of rounds.
//!
//! ```text
//! valgrind --tool=callgrind --callgrind-out-file=/dev/null --collect-atstart=no --toggle-collect='*measured*' \
//!   target/release/examples/instructions masked 1000
//! ```
//!
//! The first argument is `copy`, `masked`, `one`, `pseudonyms`, `parse`, `validate`, `locate`, `seal`, `subjects` or
//! `governed` (parse, validate, locate, seal); a third, `large`, takes documents of 8 KiB.

use std::sync::Arc;

use tradelane_keys::SecretBytes;
use tradelane_model::{Action, Class, ViewSpec};
use tradelane_schema::Schema;
use tradelane_seal::bench_docs::{self, KINDS, Size};
use tradelane_seal::{OpenedEvent, ProductContext, Rules, Scratch, SubjectTagger, View, ViewKeys};
use tradelane_tape::{Limits, Tape};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let what = arguments.next().unwrap_or_else(|| "masked".to_owned());
    let rounds: usize = arguments.next().and_then(|n| n.parse().ok()).unwrap_or(1000);
    let size = if arguments.next().as_deref() == Some("large") { Size::Large } else { Size::Small };

    let keys = bench_docs::Keys::new();
    let product = ProductContext::new("acme", "bench");
    let secret = SecretBytes::new([7; 32]);
    let tagger = SubjectTagger::new(&secret);
    let shapes: Vec<_> = (0..KINDS).map(|kind| bench_docs::shape(kind, what == "subjects")).collect();
    let rules: Vec<Arc<Rules>> =
        shapes.iter().map(|shape| Arc::new(Rules::compile(shape, 1).expect("compiles"))).collect();
    let views: Vec<View> = rules
        .iter()
        .map(|rules| View::compile(rules, rules, &spec(&what), view_keys(&secret)).expect("compiles"))
        .collect();
    let schemas: Vec<Schema> = (0..KINDS).map(|kind| schema(&bench_docs::document(kind, size, kind as u64))).collect();
    let mut tape = Tape::new();
    let mut records = Vec::new();
    for number in 0..64_u64 {
        let kind = number as usize % KINDS;
        let json = bench_docs::document(kind, size, number);
        let doc = tape.parse(&json, &Limits::EVENT).expect("valid");
        let mut record = Vec::new();
        let located = rules[kind].locate(doc, &tagger).expect("located");
        located.seal(&product, &keys.log, &keys, &mut record).expect("sealed");
        records.push((kind, json, record));
    }
    let events: Vec<_> = records
        .iter()
        .map(|(kind, json, record)| (*kind, json, OpenedEvent::open(record, &product, &keys).expect("opens")))
        .collect();
    let mut scratch = Scratch::default();
    let mut out = Vec::with_capacity(16 << 10);
    for (kind, _, event) in &events {
        // Warm caches, so that the rounds below all cost the same.
        out.clear();
        views[*kind].render(event, &keys, &mut scratch, &mut out).expect("renders");
    }
    measured(rounds, |round| {
        let (kind, json, event) = &events[round % events.len()];
        out.clear();
        match what.as_str() {
            "copy" => out.extend_from_slice(json),
            "validate" => {
                let doc = tape.parse(json, &Limits::EVENT).expect("valid");
                assert!(schemas[*kind].is_valid(doc.root()));
            }
            "locate" => {
                let doc = tape.parse(json, &Limits::EVENT).expect("valid");
                std::hint::black_box(rules[*kind].locate(doc, &tagger).expect("located"));
            }
            "governed" => {
                let doc = tape.parse(json, &Limits::EVENT).expect("valid");
                assert!(schemas[*kind].is_valid(doc.root()));
                let located = rules[*kind].locate(doc, &tagger).expect("located");
                located.seal(&product, &keys.log, &keys, &mut out).expect("sealed");
            }
            "seal" | "subjects" => {
                let doc = tape.parse(json, &Limits::EVENT).expect("valid");
                let located = rules[*kind].locate(doc, &tagger).expect("located");
                located.seal(&product, &keys.log, &keys, &mut out).expect("sealed");
            }
            "parse" => {
                tape.parse(json, &Limits::EVENT).expect("valid");
            }
            _ => {
                views[*kind].render(event, &keys, &mut scratch, &mut out).expect("renders");
            }
        }
        std::hint::black_box(&out);
    });
}

#[inline(never)]
fn measured(rounds: usize, mut work: impl FnMut(usize)) {
    (0..rounds).for_each(&mut work);
}

fn schema(sample: &[u8]) -> Schema {
    let sample = serde_json::from_slice(sample).expect("JSON");
    Schema::compile(&bench_docs::schema_like(&sample)).expect("a schema")
}

fn spec(what: &str) -> ViewSpec {
    let class = |name: &str| Class::named(name).expect("a class");
    let mut spec = ViewSpec::default();
    match what {
        "one" => drop(spec.classes.insert(class("confidential"), Action::Reveal)),
        "pseudonyms" => drop(spec.classes.insert(class("pii"), Action::Pseudonym)),
        _ => {}
    }
    spec
}

fn view_keys(secret: &SecretBytes<32>) -> ViewKeys {
    ViewKeys::derive(secret, "retail", "planning", 1, "grant-1")
}
