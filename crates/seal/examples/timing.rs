//! Times of sealing and rendering, beside a copy of the document and the peers' way: `cargo run --release -p tradelane-seal
//! --features bench --example timing`. Nanoseconds per event, best of several rounds; the ratios are what to trust.

#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "measures time and prints it")]

use std::sync::Arc;
use std::time::Instant;

use tradelane_keys::{AeadKey, SecretBytes};
use tradelane_model::{Action, Class, ViewSpec};
use tradelane_seal::bench_docs::{self, KINDS, Size};
use tradelane_seal::{OpenedEvent, ProductContext, Rules, Scratch, SubjectTagger, View, ViewKeys};
use tradelane_tape::{Limits, Tape};

const DOCUMENTS: u64 = 4_000;
const ROUNDS: usize = 15;
const RUN: usize = 100;

fn main() {
    let mut report = std::io::stdout().lock();
    for size in [Size::Small, Size::Large] {
        for subjects in [false, true] {
            run(size, subjects, &mut report);
        }
    }
}

fn run(size: Size, subjects: bool, report: &mut impl std::io::Write) {
    let keys = bench_docs::Keys::new();
    let product = ProductContext::new("acme", "bench");
    let secret = SecretBytes::new([7; 32]);
    let tagger = SubjectTagger::new(&secret);
    let shapes: Vec<_> = (0..KINDS).map(|kind| bench_docs::shape(kind, subjects)).collect();
    let rules: Vec<Arc<Rules>> =
        shapes.iter().map(|shape| Arc::new(Rules::compile(shape, 1).expect("compiles"))).collect();
    let mut tape = Tape::new();
    let kind = |i: usize| i % KINDS;
    let documents: Vec<Vec<u8>> =
        (0..DOCUMENTS).map(|number| bench_docs::document(kind(number as usize), size, number)).collect();
    let mut holes = 0;
    let records: Vec<Vec<u8>> = documents
        .iter()
        .enumerate()
        .map(|(i, json)| {
            let located = rules[kind(i)].locate(tape.parse(json, &Limits::EVENT).expect("valid"), &tagger);
            let located = located.expect("located");
            holes += located.hole_count();
            let mut record = Vec::new();
            located.seal(&product, &keys.log, &keys, &mut record).expect("sealed");
            record
        })
        .collect();
    let bytes = |all: &[Vec<u8>]| all.iter().map(Vec::len).sum::<usize>() as f64 / all.len() as f64;
    let (document, record) = (bytes(&documents), bytes(&records));
    let _ = writeln!(
        report,
        "\n{size:?}, subjects {subjects}: document {document:.0} B, {:.1} holes, record {record:.0} B ({:.2}x)",
        holes as f64 / DOCUMENTS as f64,
        record / document
    );
    let events: Vec<_> =
        records.iter().map(|record| OpenedEvent::open(record, &product, &keys).expect("opens")).collect();
    let mut out = Vec::with_capacity(64 << 10);
    let copy = best(|i| {
        out.clear();
        out.extend_from_slice(&documents[i]);
        std::hint::black_box(&out);
    });
    let mut line = |name: &str, ns: f64| {
        let _ = writeln!(report, "  {name:<34} {ns:>9.0} ns  {:>7.2}x copy", ns / copy);
    };
    line("copy", copy);
    for (name, actions) in views() {
        let views: Vec<View> = rules
            .iter()
            .map(|rules| View::compile(rules, rules, &spec(actions), view_keys(&secret)).expect("compiles"))
            .collect();
        let mut scratch = Scratch::default();
        let ns = best(|i| {
            out.clear();
            views[kind(i)].render(&events[i], &keys, &mut scratch, &mut out).expect("renders");
            std::hint::black_box(&out);
        });
        line(name, ns);
        let mut buffer = Vec::new();
        let ns = best(|i| {
            out.clear();
            let event = OpenedEvent::open_with(&records[i], &product, &keys, std::mem::take(&mut buffer));
            let event = event.expect("opens");
            views[kind(i)].render(&event, &keys, &mut scratch, &mut out).expect("renders");
            std::hint::black_box(&out);
            buffer = event.into_buffer();
        });
        line(&format!("  open + {name}"), ns);
    }
    // What revealing a section cannot be below, whatever is around it.
    let (key, nonce, mut sealed, mut opened) = (AeadKey::new(&secret), [7; 12], [7; 32], [0; 32]);
    let tag = key.seal_in_place_detached(&nonce, &[], &mut sealed);
    let ns = best(|_| {
        let sealed = std::hint::black_box(&sealed);
        key.open_detached(&nonce, &[], sealed, &tag, &mut opened).expect("opens");
        std::hint::black_box(&opened);
    });
    line("AES-256-GCM opens 32 bytes", ns);
    let ns = best(|i| drop(std::hint::black_box(bench_docs::peer_mask(&documents[i], &shapes[kind(i)]))));
    line("peer: DOM, mask all, serialize", ns);
    let ns = best(|i| drop(std::hint::black_box(serde_json::from_slice::<serde_json::Value>(&documents[i]))));
    line("peer: serde_json parse", ns);
    let ns = best(|i| {
        std::hint::black_box(tape.parse(&documents[i], &Limits::EVENT).expect("valid").node_count());
    });
    line("parse", ns);
    let ns = best(|i| {
        let doc = tape.parse(&documents[i], &Limits::EVENT).expect("valid");
        drop(std::hint::black_box(rules[kind(i)].locate(doc, &tagger).expect("located")));
    });
    line("parse + locate", ns);
    let ns = best(|i| {
        out.clear();
        let doc = tape.parse(&documents[i], &Limits::EVENT).expect("valid");
        let located = rules[kind(i)].locate(doc, &tagger).expect("located");
        located.seal(&product, &keys.log, &keys, &mut out).expect("sealed");
        std::hint::black_box(&out);
    });
    line("parse + locate + seal", ns);
}

/// Nanoseconds per document: for each run of documents the best of some rounds, so that what else the machine does shows
/// as little as can be.
fn best(mut work: impl FnMut(usize)) -> f64 {
    let runs = DOCUMENTS as usize / RUN;
    let mut bests = vec![f64::MAX; runs];
    for _ in 0..ROUNDS {
        for (run, best) in bests.iter_mut().enumerate() {
            let start = Instant::now();
            (run * RUN..(run + 1) * RUN).for_each(&mut work);
            *best = best.min(start.elapsed().as_nanos() as f64);
        }
    }
    bests.iter().sum::<f64>() / DOCUMENTS as f64
}

type Actions = &'static [(&'static str, Action)];

fn views() -> [(&'static str, Actions); 4] {
    [
        ("masked", &[]),
        ("one class revealed", &[("confidential", Action::Reveal)]),
        ("pseudonyms, warm", &[("pii", Action::Pseudonym)]),
        (
            "all revealed",
            &[("confidential", Action::Reveal), ("pii", Action::Reveal), ("sensitive-pii", Action::Reveal)],
        ),
    ]
}

fn spec(actions: Actions) -> ViewSpec {
    let classes = actions.iter().map(|(name, action)| (Class::named(name).expect("a class"), action.clone()));
    ViewSpec { classes: classes.collect(), ..ViewSpec::default() }
}

fn view_keys(secret: &SecretBytes<32>) -> ViewKeys {
    ViewKeys::derive(secret, "retail", "planning", 1, "grant-1")
}
