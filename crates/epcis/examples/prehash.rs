//! Prints what the event hash is made of: `cargo run -p tradelane-epcis --example prehash -- FILE...`, one line per event,
//! file name, hash and pre-hash string with tabs between them.

use std::io::Write;

use tradelane_epcis::{document, hash};
use tradelane_tape::{Limits, Tape};

fn main() -> std::io::Result<()> {
    let mut tape = Tape::new();
    let mut out = std::io::stdout().lock();
    for path in std::env::args().skip(1) {
        let json = std::fs::read(&path)?;
        let name = path.rsplit('/').next().unwrap_or_default();
        match tape.parse(&json, &Limits::DOCUMENT) {
            Ok(doc) => {
                for event in document::events(doc) {
                    let pre_hash = hash::pre_hash(event.node, &event.context, &[]);
                    let id = hash::event_hash(event.node, &event.context, &[]);
                    writeln!(out, "{name}\t{id}\t{pre_hash}")?;
                }
            }
            Err(error) => writeln!(out, "{name}\tnot parsed\t{error}")?,
        }
    }
    Ok(())
}
