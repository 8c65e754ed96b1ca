//! A schema and a document, one per line: whatever they are, compiling and validating ends, the quick verdict, the long
//! one and listed violations agree, and no violation cites a string of the document.

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
    assert_eq!(compiled.is_valid(doc.root()), compiled.is_valid_in_all(doc.root()));
    let Err(violations) = compiled.validate(doc.root(), 20) else {
        assert!(compiled.is_valid(doc.root()));
        return;
    };
    assert!(!compiled.is_valid(doc.root()));
    assert!((1..=20).contains(&violations.len()));
    let schema_text = schema_value.to_string();
    for violation in &violations {
        assert!(violation.instance_path.is_empty() || violation.instance_path.starts_with('/'));
    }
    for node in (0..doc.node_count()).filter_map(|index| doc.node(index)).filter(|node| node.kind() == Kind::String) {
        let text = node.as_str().unwrap_or_default();
        if text.len() < 16 || schema_text.contains(&*text) {
            continue;
        }
        if violations.iter().any(|violation| violation.message.contains(&*text)) {
            assert!(!cites(&compiled, json, &text), "a violation cites {text:?}");
        }
    }
});

/// Whether a message cites this string of the document, or only happens to have the same words: the fuzzer sees what a
/// text is compared with, and writes our own messages into documents. Another string in its place would be cited as well.
fn cites(schema: &Schema, json: &[u8], text: &str) -> bool {
    const OTHER: &str = "QqQqQqQqQqQqQqQqQqQq";
    let Ok(mut document) = serde_json::from_slice::<serde_json::Value>(json) else { return false };
    replace(&mut document, text, OTHER);
    let document = document.to_string();
    let mut tape = Tape::new();
    let Ok(doc) = tape.parse(document.as_bytes(), &Limits::EVENT) else { return false };
    let violations = schema.validate(doc.root(), 20).err().unwrap_or_default();
    violations.iter().any(|violation| violation.message.contains(OTHER))
}

fn replace(value: &mut serde_json::Value, text: &str, other: &str) {
    match value {
        serde_json::Value::String(string) if string == text => other.clone_into(string),
        serde_json::Value::Array(items) => items.iter_mut().for_each(|item| replace(item, text, other)),
        serde_json::Value::Object(members) => members.values_mut().for_each(|member| replace(member, text, other)),
        _ => {}
    }
}
