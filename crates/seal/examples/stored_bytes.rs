//! What a stored event takes, and what it costs to make it small: `cargo run --release -p tradelane-seal --features bench
//! --example stored_bytes`. Bytes of a value in a Kafka batch of 100 events, and nanoseconds per event, best of several rounds.

#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "measures time and prints it")]

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Instant;

use tradelane_keys::{AeadKey, SecretBytes};
use tradelane_model::Class;
use tradelane_model::pattern::Pattern;
use tradelane_model::shape::{FieldRule, Shape};
use tradelane_records::{BatchBuilder, BatchHead, HeaderSource, Output};
use tradelane_seal::bench_docs::{self, Size};
use tradelane_seal::*;
use tradelane_tape::{Limits, Tape};

/// Events that a dictionary is trained from, and others that are measured.
const LEARNED: u64 = 1_000;
const MEASURED: u64 = 2_000;
const BATCH: usize = 100;
const ROUNDS: usize = 15;

struct Keys {
    inner: bench_docs::Keys,
    dictionary: Option<Arc<Dictionary>>,
}

impl OpeningKeys for Keys {
    fn log_key(&self, id: u64) -> Option<Arc<AeadKey>> {
        self.inner.log_key(id)
    }

    fn data_key(&self, id: u64) -> DataKeyState {
        self.inner.data_key(id)
    }

    fn dictionary(&self, _: &ProductContext, _: u32) -> Option<Arc<Dictionary>> {
        self.dictionary.clone()
    }
}

fn main() {
    println!(
        "bytes per value in batches of {BATCH}; ns per event for seal (with parse and locate) and open (skeleton only)\n"
    );
    println!(
        "| events | plain | lz4 | zstd | sealed | event | dictionary | seal | event | dictionary | open | event | dictionary |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|");
    run("small orders", orders(), &order);
    let documents = |size| move |number| bench_docs::document(0, size, number);
    run("1 KiB", bench_docs::shape(0, true), &documents(Size::Small));
    run("7.5 KiB", bench_docs::shape(0, true), &documents(Size::Large));
}

/// An order of some 200 bytes, two fields of it classified.
fn order(number: u64) -> Vec<u8> {
    let n = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut out = String::new();
    let status = ["created", "confirmed", "shipped", "delivered"][(n >> 7) as usize % 4];
    let site = ["urn:epc:id:sgln:0614141.00777.0", "urn:epc:id:sgln:0614141.00888.0"][(n >> 11) as usize % 2];
    let _ = write!(
        out,
        r#"{{"orderId":"ORD-{number:08}","status":"{status}","site":"{site}","item":"urn:epc:id:sgtin:0614141.{:06}.{}","quantity":{},"price":{}.{:02},"buyer":{{"id":"c{}"}}}}"#,
        (n >> 20) % 1_000,
        (n >> 13) % 100_000,
        (n >> 33) % 500 + 1,
        (n >> 9) % 900,
        (n >> 3) % 100,
        (n >> 40) % 5_000
    );
    out.into_bytes()
}

fn orders() -> Shape {
    let mut shape = Shape::default();
    for at in ["/orderId", "/status", "/site", "/item", "/quantity"] {
        shape.add_rule(&FieldRule {
            at: Pattern::parse(at).expect("a pattern"),
            class: Class::named(Class::PUBLIC),
            subject: None,
        });
    }
    for (at, class) in [("/price", Class::CONFIDENTIAL), ("/buyer/id", Class::PII)] {
        let at = Pattern::parse(at).expect("a pattern");
        shape.add_rule(&FieldRule {
            subject: (class == Class::PII).then(|| at.clone()),
            at,
            class: Class::named(class),
        });
    }
    shape
}

fn run(name: &str, shape: Shape, document: &dyn Fn(u64) -> Vec<u8>) {
    let world = World::new(&shape);
    let mut tape = Tape::new();
    let (mut samples, mut sizes) = (Vec::new(), Vec::new());
    for number in 0..LEARNED {
        let start = samples.len();
        let packing = Packing { dictionary: None, sample: Some(&mut samples) };
        world.seal(&mut tape, &document(number), Some(packing), &mut Vec::new());
        sizes.push(samples.len() - start);
    }
    let start = Instant::now();
    let trained = Dictionary::train(&samples, &sizes).expect("they have something in common");
    let training = start.elapsed();
    let dictionary = Arc::new(Dictionary::new(1, &trained).expect("a dictionary"));
    let documents: Vec<Vec<u8>> = (LEARNED..LEARNED + MEASURED).map(document).collect();

    let mut line = format!("| {name} | {} | {} | {} |", plain(&documents), lz4(&documents), zstd(&documents));
    let (mut seals, mut opens) = (Vec::new(), Vec::new());
    for form in [Form::Plain, Form::Event, Form::Dictionary(dictionary)] {
        let keys = Keys { inner: bench_docs::Keys::new(), dictionary: form.dictionary() };
        let world = World { keys, ..World::new(&shape) };
        let mut out = Vec::new();
        let records: Vec<Vec<u8>> = documents
            .iter()
            .map(|json| {
                let mut record = Vec::new();
                world.seal(&mut tape, json, form.packing(), &mut record);
                record
            })
            .collect();
        seals.push(best(|i| {
            out.clear();
            world.seal(&mut tape, &documents[i], form.packing(), &mut out);
        }));
        let mut buffer = Vec::new();
        opens.push(best(|i| {
            let event = OpenedEvent::open_with(&records[i], &world.product, &world.keys, std::mem::take(&mut buffer));
            buffer = std::hint::black_box(event.expect("opens")).into_buffer();
        }));
        let _ = write!(line, " {} |", plain(&records));
    }
    for ns in seals.iter().chain(&opens) {
        let _ = write!(line, " {ns:.0} |");
    }
    println!("{line}");
    println!("| | | | | | | dictionary {} B, trained in {training:.1?} | | | | | | |", trained.len());
}

#[derive(Clone)]
enum Form {
    Plain,
    Event,
    Dictionary(Arc<Dictionary>),
}

impl Form {
    fn dictionary(&self) -> Option<Arc<Dictionary>> {
        if let Self::Dictionary(dictionary) = self { Some(dictionary.clone()) } else { None }
    }

    fn packing(&self) -> Option<Packing<'_>> {
        match self {
            Self::Plain => None,
            Self::Event => Some(Packing::default()),
            Self::Dictionary(dictionary) => Some(Packing { dictionary: Some(dictionary), sample: None }),
        }
    }
}

struct World {
    rules: Rules,
    tagger: SubjectTagger,
    product: ProductContext,
    keys: Keys,
}

impl World {
    fn new(shape: &Shape) -> Self {
        Self {
            rules: Rules::compile(shape, 1).expect("compiles"),
            tagger: SubjectTagger::new(&SecretBytes::new([7; 32])),
            product: ProductContext::new("acme", "bench"),
            keys: Keys { inner: bench_docs::Keys::new(), dictionary: None },
        }
    }

    fn seal(&self, tape: &mut Tape, json: &[u8], packing: Option<Packing<'_>>, out: &mut Vec<u8>) {
        let doc = tape.parse(json, &Limits::EVENT).expect("valid");
        let located = self.rules.locate(doc, &self.tagger).expect("located");
        let (product, keys) = (&self.product, &self.keys.inner);
        let sealed = match packing {
            None => located.seal(product, &keys.log, keys, out),
            Some(packing) => located.seal_packed(product, &keys.log, keys, packing, out),
        };
        sealed.expect("sealed");
    }
}

/// Bytes per record of the batches' bodies, as some codec makes them.
fn in_batches(values: &[Vec<u8>], size: impl Fn(&[u8], Output) -> usize, output: Output) -> usize {
    let mut total = 0;
    for values in values.chunks(BATCH) {
        let mut bytes = Vec::new();
        let mut batch = BatchBuilder::new(&mut bytes, &BatchHead::default());
        for (delta, value) in (0..).zip(values) {
            batch.push(delta, i64::from(delta), None, Some(value), HeaderSource::NONE).expect("fits");
        }
        batch.finish_as(values.len() as i32 - 1, output).expect("fits");
        total += size(&bytes, output);
    }
    total / values.len()
}

fn plain(values: &[Vec<u8>]) -> usize {
    in_batches(values, |batch, _| batch.len(), Output::Uncompressed)
}

fn lz4(values: &[Vec<u8>]) -> usize {
    in_batches(values, |batch, _| batch.len(), Output::Lz4)
}

/// As a producer with `compression.type=zstd` makes it: the head of a batch, and its records in one frame.
fn zstd(values: &[Vec<u8>]) -> usize {
    const HEAD: usize = 61;
    let size = |batch: &[u8], _| {
        let (_, records) = batch.split_at(HEAD);
        let mut out = vec![0; zstd_safe::compress_bound(records.len())];
        HEAD + zstd_safe::compress(out.as_mut_slice(), records, 3).expect("compresses")
    };
    in_batches(values, size, Output::Uncompressed)
}

/// Nanoseconds per event: for each run of events the best of some rounds.
fn best(mut work: impl FnMut(usize)) -> f64 {
    let runs = MEASURED as usize / BATCH;
    let mut bests = vec![f64::MAX; runs];
    for _ in 0..ROUNDS {
        for (run, best) in bests.iter_mut().enumerate() {
            let start = Instant::now();
            (run * BATCH..(run + 1) * BATCH).for_each(&mut work);
            *best = best.min(start.elapsed().as_nanos() as f64);
        }
    }
    bests.iter().sum::<f64>() / MEASURED as f64
}
