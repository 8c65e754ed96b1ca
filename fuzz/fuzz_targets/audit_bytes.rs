#![no_main]
//! Bytes of the audit log from outside: entry bundles, tiles, leaves. A leaf that reads has one spelling.

use libfuzzer_sys::fuzz_target;
use tradelane_audit::Leaf;
use tradelane_audit::tiles::{parse_bundle, parse_tile};

fuzz_target!(|bytes: &[u8]| {
    if let Some(entries) = parse_bundle(bytes) {
        let length: usize = entries.iter().map(|entry| entry.len() + 2).sum();
        assert_eq!(length, bytes.len());
    }
    if let Some(hashes) = parse_tile(bytes, (bytes.len() / 32) as u16) {
        assert_eq!(hashes.as_flattened(), bytes);
    }
    if let Ok(leaf) = Leaf::decode(bytes) {
        let mut again = Vec::new();
        leaf.encode(&mut again).expect("what was read can be written");
        assert_eq!(again, bytes);
    }
});
