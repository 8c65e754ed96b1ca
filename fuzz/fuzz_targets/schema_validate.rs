//! A schema and a document, one per line: whatever they are, compiling and validating ends, quick verdict and listed
//! violations agree, and no violation cites a string of the document.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tradelane_schema::Schema;
use tradelane_tape::{Kind, Limits, Tape};

fuzz_target!(|input: &[u8]| {
    let mut lines = input.splitn(2, |&byte| byte == b'\n');
    let (Some(schema), Some(json)) = (lines.next(), lines.next()) else { return };
    let Ok(schema_value) = serde_json::from_slice::<serde_json::Value>(schema) else { return };
    let Ok(compiled) = Schema::compile(&schema_value) else { return };
    let mut tape = Tape::new();
    let Ok(doc) = tape.parse(json, &Limits::EVENT) else { return };
    let Err(violations) = compiled.validate(doc.root(), 20) else {
        assert!(compiled.is_valid(doc.root()));
        return;
    };
    assert!(!compiled.is_valid(doc.root()));
    assert!((1..=20).contains(&violations.len()));
    let schema_text = schema_value.to_string();
    for violation in &violations {
        assert!(violation.instance_path.is_empty() || violation.instance_path.starts_with('/'));
        for node in (0..doc.node_count()).filter_map(|index| doc.node(index)).filter(|node| node.kind() == Kind::String)
        {
            // Long enough that it cannot be part of our own words by chance.
            let text = node.as_str().unwrap_or_default();
            if text.len() >= 16 && !schema_text.contains(&*text) {
                assert!(!violation.message.contains(&*text));
            }
        }
    }
});
