#![no_main]
//! Texts of the audit log from outside: notes, checkpoints, verifier keys, receipts, paths. What reads, reads back.

use libfuzzer_sys::fuzz_target;
use tradelane_audit::note::{Checkpoint, Note, VerifierKey};
use tradelane_audit::{Receipt, Resource};

fuzz_target!(|text: &str| {
    let key = VerifierKey::of_log("hub.example/audit", [7; 32]).expect("a good name");
    if let Ok(note) = Note::parse(text) {
        assert!(note.verify(&key).is_err(), "nobody holds that key");
    }
    if let Ok(checkpoint) = Checkpoint::parse(text) {
        assert_eq!(Checkpoint::parse(&checkpoint.text()), Ok(checkpoint));
    }
    if let Ok(key) = text.parse::<VerifierKey>() {
        assert_eq!(key.to_string().parse(), Ok(key));
    }
    if let Ok(receipt) = Receipt::parse(text) {
        assert!(receipt.verify(&key).is_err());
        assert_eq!(Receipt::parse(&receipt.to_text()), Ok(receipt));
    }
    if let Some(resource) = Resource::parse(text) {
        assert_eq!(resource.path(), text);
    }
});
