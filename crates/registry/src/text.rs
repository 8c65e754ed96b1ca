//! The text of schemas: read as JSON where it is JSON, under the bounds that hold for all of them.

use serde_json::Value;

use crate::SchemaProblem;

/// The longest text of a schema, in bytes.
pub(crate) const MAX_TEXT: usize = 256 << 10;
/// The deepest nesting.
pub(crate) const MAX_DEPTH: usize = 96;
/// The most bytes of a schema with everything that it refers to.
const MAX_ALL: usize = 1 << 20;
/// The most references, the references' own included.
const MAX_REFERENCES: usize = 128;

/// Another schema, by the name that a schema calls it.
#[derive(Debug, Clone)]
pub struct Reference {
    /// The name: a `$ref` of JSON Schema, a full name of Avro, an `import` of Protobuf.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// Is all of it together small enough to be looked at?
pub(crate) fn bounded(text: &str, references: &[Reference]) -> Result<(), SchemaProblem> {
    let all = || references.iter().map(|reference| reference.text.as_str()).chain([text]);
    if references.len() > MAX_REFERENCES {
        return Err(SchemaProblem::TooLarge("128 references"));
    }
    if all().any(|text| text.len() > MAX_TEXT) {
        return Err(SchemaProblem::TooLarge("256 KiB of text"));
    }
    if all().map(str::len).sum::<usize>() > MAX_ALL {
        return Err(SchemaProblem::TooLarge("1 MiB with all that it refers to"));
    }
    Ok(())
}

/// Reads JSON.
pub(crate) fn json(text: &str) -> Result<Value, SchemaProblem> {
    if text.len() > MAX_TEXT {
        return Err(SchemaProblem::TooLarge("256 KiB of text"));
    }
    let syntax = |error: serde_json::Error| SchemaProblem::Syntax { line: error.line(), column: error.column() };
    let value: Value = serde_json::from_str(text).map_err(syntax)?;
    if depth(&value) > MAX_DEPTH { Err(SchemaProblem::TooLarge("96 levels")) } else { Ok(value) }
}

/// The parser does not nest deeper than 128 levels, so neither does this.
fn depth(value: &Value) -> usize {
    match value {
        Value::Array(elements) => 1 + elements.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// The text of a value that reads as the same text again. A number with more digits than are kept is cut to those that are.
pub(crate) fn settled(value: &Value) -> Result<String, SchemaProblem> {
    let mut text = value.to_string();
    for _ in 0..4 {
        let again = json(&text)?.to_string();
        if again == text {
            return Ok(text);
        }
        text = again;
    }
    Err(SchemaProblem::Invalid { place: "number".to_owned(), reason: "has more digits than are kept" })
}
