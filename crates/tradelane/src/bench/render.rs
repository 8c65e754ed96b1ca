//! Rendering, sealing and validating, one document at a time on one core.

use std::hint::black_box;
use std::sync::Arc;

use serde_json::Value;
use tradelane_epcis::{Context, document as epcis_document, validate_event};
use tradelane_keys::SecretBytes;
use tradelane_model::{Action, Class, ViewSpec};
use tradelane_schema::Schema;
use tradelane_schema::bench_peer::Peer;
use tradelane_seal::bench_docs::{self, KINDS, Size, schema_like};
use tradelane_seal::{OpenedEvent, ProductContext, Rules, Scratch, SubjectTagger, View, ViewKeys};
use tradelane_tape::{Limits, Tape};

use super::documents::{best, documents};
use super::{Effort, Figure, Target};
use crate::failure::{Failure, Result};

fn broken(error: impl std::fmt::Display) -> Failure {
    Failure::failed(format!("the benchmark's own material is broken: {error}"))
}

/// What a view costs beside a copy of the document and beside the peers' way.
pub(super) fn views(effort: Effort) -> Result<Vec<Figure>> {
    let mut figures = of_size(effort, Size::Small)?;
    figures.extend(of_size(effort, Size::Large)?);
    Ok(figures)
}

struct Targets {
    masked: (&'static str, f64),
    peer: (&'static str, f64),
    revealed: (&'static str, f64),
    pseudonyms: Option<(&'static str, f64)>,
}

fn targets(size: Size) -> Targets {
    match size {
        Size::Small => Targets {
            masked: ("render-masked-1k", 2.0),
            peer: ("render-peer-1k", 30.0),
            revealed: ("render-one-class-1k", 2.5),
            pseudonyms: Some(("render-pseudonyms-1k", 4.0)),
        },
        Size::Large => Targets {
            masked: ("render-masked-8k", 1.3),
            peer: ("render-peer-8k", 60.0),
            revealed: ("render-one-class-8k", 1.7),
            pseudonyms: None,
        },
    }
}

fn of_size(effort: Effort, size: Size) -> Result<Vec<Figure>> {
    let keys = bench_docs::Keys::new();
    let product = ProductContext::new("bench", "bench");
    let secret = SecretBytes::new([7; 32]);
    let tagger = SubjectTagger::new(&secret);
    let shapes: Vec<_> = (0..KINDS).map(|kind| bench_docs::shape(kind, false)).collect();
    let rules = shapes.iter().map(|shape| Rules::compile(shape, 1).map(Arc::new).map_err(broken));
    let rules = rules.collect::<Result<Vec<Arc<Rules>>>>()?;
    let documents = documents(effort, size);
    let mut tape = Tape::new();
    let mut records = Vec::with_capacity(documents.len());
    for (i, json) in documents.iter().enumerate() {
        let doc = tape.parse(json, &Limits::EVENT).map_err(broken)?;
        let located = rules[i % KINDS].locate(doc, &tagger).map_err(broken)?;
        let mut record = Vec::new();
        located.seal(&product, &keys.log, &keys, &mut record).map_err(broken)?;
        records.push(record);
    }
    let events = records.iter().map(|record| OpenedEvent::open(record, &product, &keys).map_err(broken));
    let events = events.collect::<Result<Vec<_>>>()?;
    let mut out = Vec::with_capacity(64 << 10);
    let copy = best(effort, |i| {
        out.clear();
        out.extend_from_slice(&documents[i]);
        black_box(&out);
    });
    let mut timed = |actions: &[(&str, Action)]| -> Result<f64> {
        let spec = spec(actions);
        let views = rules.iter().map(|rules| {
            let keys = ViewKeys::derive(&secret, "partner", "bench", 1, "grant");
            View::compile(rules, rules, &spec, keys).map_err(broken)
        });
        let views = views.collect::<Result<Vec<View>>>()?;
        let mut scratch = Scratch::default();
        Ok(best(effort, |i| {
            out.clear();
            let rendered = views[i % KINDS].render(&events[i], &keys, &mut scratch, &mut out);
            black_box((rendered.is_ok(), &out));
        }))
    };
    let masked = timed(&[])?;
    let revealed = timed(&[(Class::CONFIDENTIAL, Action::Reveal)])?;
    let pseudonyms = timed(&[(Class::PII, Action::Pseudonym)])?;
    let peer = best(effort, |i| drop(black_box(bench_docs::peer_mask(&documents[i], &shapes[i % KINDS]))));
    let targets = targets(size);
    let to_copy = |(name, most): (&'static str, f64), ns: f64| Figure {
        name,
        value: ns / copy,
        unit: "x copy",
        target: Target::AtMost(most),
        made_of: format!("{ns:.0} ns, copy {copy:.0} ns"),
    };
    let mut figures = vec![
        to_copy(targets.masked, masked),
        Figure {
            name: targets.peer.0,
            value: peer / masked,
            unit: "x faster than a DOM",
            target: Target::AtLeast(targets.peer.1),
            made_of: format!("{masked:.0} ns, DOM {peer:.0} ns"),
        },
        to_copy(targets.revealed, revealed),
    ];
    figures.extend(targets.pseudonyms.map(|target| to_copy(target, pseudonyms)));
    Ok(figures)
}

fn spec(actions: &[(&str, Action)]) -> ViewSpec {
    let classes = actions.iter().filter_map(|(name, action)| Some((Class::named(name)?, action.clone())));
    ViewSpec { classes: classes.collect(), ..ViewSpec::default() }
}

/// Parse, validate, locate and seal, beside parsing to a DOM and validating that.
pub(super) fn sealing(effort: Effort) -> Result<Vec<Figure>> {
    let keys = bench_docs::Keys::new();
    let product = ProductContext::new("bench", "bench");
    let tagger = SubjectTagger::new(&SecretBytes::new([7; 32]));
    let documents = documents(effort, Size::Small);
    let mut kinds = Vec::with_capacity(KINDS);
    for (kind, sample) in documents.iter().take(KINDS).enumerate() {
        let sample: Value = serde_json::from_slice(sample).map_err(broken)?;
        let schema = schema_like(&sample);
        let peer = Peer::compile(&schema).ok_or_else(|| broken("no schema"))?;
        let schema = Schema::compile(&schema).map_err(broken)?;
        let rules = Rules::compile(&bench_docs::shape(kind, false), 1).map_err(broken)?;
        kinds.push((rules, schema, peer));
    }
    let (mut tape, mut out) = (Tape::new(), Vec::with_capacity(8 << 10));
    let mut sealed = 0_usize;
    let ours = best(effort, |i| {
        out.clear();
        let (rules, schema, _) = &kinds[i % KINDS];
        let Ok(doc) = tape.parse(&documents[i], &Limits::EVENT) else { return };
        if schema.is_valid(doc.root())
            && let Ok(located) = rules.locate(doc, &tagger)
        {
            sealed += usize::from(located.seal(&product, &keys.log, &keys, &mut out).is_ok());
        }
        black_box(&out);
    });
    let mut valid = 0_usize;
    let peer = best(effort, |i| valid += usize::from(kinds[i % KINDS].2.parse_and_validate(&documents[i])));
    if sealed != valid || sealed == 0 {
        return Err(broken("both ways must accept the same documents"));
    }
    Ok(vec![Figure {
        name: "seal-with-validation-1k",
        value: ours / peer,
        unit: "x DOM and schema",
        target: Target::AtMost(0.45),
        made_of: format!("{ours:.0} ns parse, validate, locate, seal; {peer:.0} ns DOM and validate"),
    }])
}

/// EPCIS events per second on one core, parsed and validated by the standard's rules.
pub(super) fn epcis(effort: Effort) -> Result<Vec<Figure>> {
    let events: Vec<Vec<u8>> = (0..effort.documents).map(object_event).collect();
    let declared = format!(r#"["{}",{{"lane":"https://ns.tradelane.example/epcis/"}}]"#, epcis_document::EPCIS_CONTEXT);
    let mut context_tape = Tape::new();
    let context = context_tape.parse(declared.as_bytes(), &Limits::EVENT).map_err(broken)?;
    let context = Context::of(context.root());
    let mut tape = Tape::new();
    let mut wrong = 0_usize;
    let ns = best(effort, |i| match tape.parse(&events[i], &Limits::EVENT) {
        Ok(doc) => wrong += validate_event(doc.root(), &context).len(),
        Err(_) => wrong += 1,
    });
    if wrong > 0 {
        return Err(broken("its EPCIS events must be valid"));
    }
    let bytes = events.iter().map(Vec::len).sum::<usize>() / events.len().max(1);
    Ok(vec![Figure {
        name: "epcis-validated",
        value: 1e9 / ns,
        unit: "events/s",
        target: Target::AtLeast(150_000.0),
        made_of: format!("{ns:.0} ns for {bytes} bytes, parsing included"),
    }])
}

fn object_event(number: usize) -> Vec<u8> {
    let epcs: Vec<String> =
        (0..8).map(|at| format!("\"urn:epc:id:sgtin:9521321.012345.{}\"", number * 8 + at)).collect();
    format!(
        r#"{{"type":"ObjectEvent","eventID":"urn:uuid:0b5e2a52-6d3c-4c0d-9e0f-{number:012x}","eventTime":"2026-03-01T08:30:00.{:03}+01:00","eventTimeZoneOffset":"+01:00","epcList":[{}],"action":"OBSERVE","bizStep":"shipping","disposition":"in_transit","readPoint":{{"id":"urn:epc:id:sgln:9521321.00001.dock-3"}},"bizLocation":{{"id":"https://id.gs1.org/414/9521321000018"}},"bizTransactionList":[{{"type":"po","bizTransaction":"urn:epcglobal:cbv:bt:9521321000008:{number}"}}],"sourceList":[{{"type":"owning_party","source":"urn:epc:id:pgln:9521321.00000"}}],"destinationList":[{{"type":"owning_party","destination":"urn:epc:id:pgln:9521987.00000"}}],"lane:driver":"A. Example","lane:temperature":4.5}}"#,
        number % 1000,
        epcs.join(",")
    )
    .into_bytes()
}
