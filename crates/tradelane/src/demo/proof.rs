//! A proof verified without the hub: from a receipt's text and the log's public key, and nothing else.

use serde_json::json;
use tradelane_audit::{Expectations, Receipt, VerifierKey, verify_log};

use super::stage::{Stage, millis, milliseconds};
use super::story::leaf_of_read;
use crate::commands::audit::{HubSource, fetch_receipt, fetch_text, leaf_json};
use crate::failure::{Failure, Result};
use crate::stopwatch::Stopwatch;

pub(super) fn run(stage: &mut Stage, product: &str) -> Result<()> {
    stage.heading("A proof, verified without the hub");
    let leaf = leaf_of_read(stage, "northline-desk", product)?;
    let text = fetch_receipt(&stage.of("northline-desk"), leaf)?;
    let key = fetch_text(&stage.of("northline-desk"), "/tlog/key")?;
    stage.say(format!(
        "northline read {product}; the answer carried Tradelane-Receipt: {leaf}, and it keeps the receipt ({} bytes)",
        text.len()
    ));
    // From here on nothing is asked of the hub: two texts are all there is.
    let begin = Stopwatch::start();
    let log: VerifierKey = key.trim().parse().map_err(|_| Failure::no("the log's key does not read"))?;
    let proven = Receipt::parse(&text).and_then(|receipt| receipt.verify(&log));
    let proven = proven.map_err(|error| Failure::no(format!("the receipt: {error}")))?;
    let took = begin.elapsed();
    let said = leaf_json(&proven.leaf);
    let word = |name: &str| said[name].as_str().unwrap_or("none").to_owned();
    stage.holds(format!(
        "Offline, in {}: leaf {leaf} of {} is under the signed root",
        milliseconds(took),
        proven.checkpoint.size
    ));
    stage.say(format!(
        "It says: {} of {}, {} of {}, offsets {}, classes {}",
        word("principal"),
        word("org"),
        word("action"),
        word("product"),
        word("offsets"),
        word("classes")
    ));
    stage.must(word("action") == "read" && word("product") == product, "the receipt is of that read")?;
    let forged = forge(&text);
    let refused = Receipt::parse(&forged).and_then(|receipt| receipt.verify(&log)).is_err();
    stage.must(refused, "a receipt with one character changed proves nothing")?;
    stage.refused("One character of it changed: it proves nothing");
    let source = HubSource(stage.of("nobody"));
    let whole = verify_log(&source, &log, &Expectations::default(), |_, _| {});
    let whole = whole.map_err(|error| Failure::no(format!("the log: {error}")))?;
    stage.holds(format!(
        "The whole log as anyone may fetch it: {} leaves, every tile and the root agree",
        whole.checkpoint.size
    ));
    stage.fact("proof", json!({"leaf": leaf, "verifyMs": millis(took), "logLeaves": whole.checkpoint.size}));
    Ok(())
}

/// The receipt with one character of its leaf changed.
fn forge(text: &str) -> String {
    let at = text.find("extra ").map_or(0, |at| at + 40);
    text.char_indices()
        .map(|(i, c)| {
            if i != at {
                c
            } else if c == 'A' {
                'B'
            } else {
                'A'
            }
        })
        .collect()
}
