//! A JSON Schema with the schemas that it refers to.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::SchemaProblem;
use crate::text::{self, MAX_DEPTH, Reference};

mod diff;

pub(crate) use diff::compare;

/// How many references may follow upon another.
const MAX_HOPS: usize = 64;

/// A schema and what it refers to.
#[derive(Debug, Clone, PartialEq)]
pub struct JsonSchema {
    root: Value,
    others: BTreeMap<String, Value>,
}

impl JsonSchema {
    /// Reads a schema and the schemas that it refers to, directly or through others.
    ///
    /// # Errors
    /// [`SchemaProblem`] if one of them is no JSON Schema, or if they are too large or too many.
    pub fn parse(text: &str, references: &[Reference]) -> Result<Self, SchemaProblem> {
        text::bounded(text, references)?;
        let others = references.iter().map(|reference| Ok((reference.name.clone(), parse(&reference.text)?)));
        Ok(Self { root: parse(text)?, others: others.collect::<Result<_, SchemaProblem>>()? })
    }

    /// The schema itself.
    pub fn root(&self) -> &Value {
        &self.root
    }

    /// One schema that holds all that it refers to, so that a validator needs nothing else.
    pub fn bundled(&self) -> Value {
        let mut root = self.root.clone();
        if self.others.is_empty() {
            return root;
        }
        let Value::Object(members) = &mut root else { return root };
        let is_old = members.get("$schema").and_then(Value::as_str).is_some_and(|uri| uri.contains("draft-0"));
        let shelf = members.entry(if is_old { "definitions" } else { "$defs" }).or_insert_with(|| json!({}));
        let Value::Object(shelf) = shelf else { return root };
        for (name, other) in &self.others {
            let mut held = match other {
                Value::Object(held) => held.clone(),
                Value::Bool(false) => Map::from_iter([("not".to_owned(), json!({}))]),
                _ => Map::new(),
            };
            held.insert("$id".into(), name.as_str().into());
            shelf.insert(format!("tradelane:reference:{name}"), Value::Object(held));
        }
        root
    }

    /// What a `$ref` that stands in `document` leads to, and the document that this is in.
    pub(crate) fn follow<'a>(
        &'a self,
        document: &'a Value,
        reference: &str,
    ) -> Result<(&'a Value, &'a Value), SchemaProblem> {
        let (name, fragment) = reference.split_once('#').unwrap_or((reference, ""));
        let own = document.get("$id").and_then(Value::as_str).map(|id| id.trim_end_matches('#'));
        let document = match name {
            "" => document,
            name if own == Some(name) => document,
            name => self.others.get(name).or_else(|| self.by_id(name)).ok_or(SchemaProblem::Dangling)?,
        };
        let found = match fragment {
            "" => Some(document),
            pointer if pointer.starts_with('/') => document.pointer(&decoded(pointer)),
            anchor => anchored(document, anchor, 0),
        };
        found.map(|found| (found, document)).ok_or(SchemaProblem::Dangling)
    }

    fn by_id(&self, id: &str) -> Option<&Value> {
        let says = |other: &&Value| other.get("$id").and_then(Value::as_str) == Some(id);
        self.others.values().find(says)
    }

    /// The schema that is meant where this one stands, and its document: references are followed.
    pub(crate) fn meant<'a>(
        &'a self,
        mut schema: &'a Value,
        mut document: &'a Value,
    ) -> Result<(&'a Value, &'a Value), SchemaProblem> {
        for _ in 0..MAX_HOPS {
            let Some(reference) = schema.get("$ref").and_then(Value::as_str) else { return Ok((schema, document)) };
            (schema, document) = self.follow(document, reference)?;
        }
        Err(SchemaProblem::TooComplex)
    }
}

fn parse(text: &str) -> Result<Value, SchemaProblem> {
    let value = text::json(text)?;
    if matches!(value, Value::Object(_) | Value::Bool(_)) { Ok(value) } else { Err(SchemaProblem::Kind) }
}

/// A pointer in a fragment is percent-encoded.
fn decoded(fragment: &str) -> String {
    let mut out = Vec::with_capacity(fragment.len());
    let mut bytes = fragment.bytes();
    while let Some(byte) = bytes.next() {
        let mut ahead = bytes.clone();
        let digits = [ahead.next(), ahead.next()].map(|digit| digit.and_then(|d| char::from(d).to_digit(16)));
        match (byte, digits) {
            (b'%', [Some(high), Some(low)]) => {
                out.push(u8::try_from(high * 16 + low).unwrap_or(b'%'));
                bytes = ahead;
            }
            _ => out.push(byte),
        }
    }
    String::from_utf8(out).unwrap_or_default()
}

fn anchored<'a>(value: &'a Value, anchor: &str, depth: usize) -> Option<&'a Value> {
    if depth > MAX_DEPTH {
        return None;
    }
    let named = |name: &str| value.get(name).and_then(Value::as_str) == Some(anchor);
    if named("$anchor") || value.get("$id").and_then(Value::as_str).and_then(|id| id.strip_prefix('#')) == Some(anchor)
    {
        return Some(value);
    }
    match value {
        Value::Object(members) => members.values().find_map(|member| anchored(member, anchor, depth + 1)),
        Value::Array(elements) => elements.iter().find_map(|element| anchored(element, anchor, depth + 1)),
        _ => None,
    }
}

/// The canonical text of a schema: no blanks between tokens, members in their order; `normalize`: by name.
///
/// # Errors
/// [`SchemaProblem`] if it is no JSON Schema or too large.
pub(crate) fn canonical(text: &str, normalize: bool) -> Result<String, SchemaProblem> {
    let mut value = parse(text)?;
    if normalize {
        value.sort_all_objects();
    }
    text::settled(&value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_text_has_no_blanks_and_normal_text_no_order_of_its_own() {
        let text = r#" { "type" : "object", "a": {"z": 1, "b": [2, 1]} } "#;
        assert_eq!(canonical(text, false).unwrap(), r#"{"type":"object","a":{"z":1,"b":[2,1]}}"#);
        assert_eq!(canonical(text, true).unwrap(), r#"{"a":{"b":[2,1],"z":1},"type":"object"}"#);
    }

    #[test]
    fn canonical_text_is_its_own_canonical_text_however_long_its_numbers_are() {
        let long = format!(r#"{{"maximum":{}.5,"minimum":1.1111111111100002e68}}"#, "1".repeat(70));
        let once = canonical(&long, false).unwrap();
        assert_eq!(canonical(&once, false).unwrap(), once);
    }

    #[test]
    fn hostile_schemas_are_refused() {
        assert!(matches!(canonical("{", false), Err(SchemaProblem::Syntax { .. })));
        assert_eq!(canonical("[]", false), Err(SchemaProblem::Kind));
        assert!(canonical(&"[".repeat(10_000), false).is_err());
        let deep = format!("{}{{}}{}", r#"{"not":"#.repeat(100), "}".repeat(100));
        assert!(matches!(canonical(&deep, false), Err(SchemaProblem::TooLarge(_))));
        let long = format!(r#"{{"title":"{}"}}"#, "x".repeat(text::MAX_TEXT));
        assert!(matches!(canonical(&long, false), Err(SchemaProblem::TooLarge(_))));
    }

    #[test]
    fn references_are_followed_by_pointer_anchor_and_name_and_nowhere_else() {
        let other = Reference { name: "other.json".into(), text: r#"{"$defs":{"a b":{"type":"string"}}}"#.into() };
        let text = r#"{"$defs":{"x":{"$anchor":"here","type":"number"}}}"#;
        let schema = JsonSchema::parse(text, std::slice::from_ref(&other)).unwrap();
        let follow = |reference: &str| schema.follow(schema.root(), reference).map(|(found, _)| found.clone());
        assert_eq!(follow("#/$defs/x/type").unwrap(), "number");
        assert_eq!(follow("#here").unwrap()["type"], "number");
        assert_eq!(follow("other.json#/$defs/a%20b").unwrap()["type"], "string");
        for nowhere in ["#/y", "#y", "elsewhere.json", "https://example.com/a.json"] {
            assert_eq!(follow(nowhere).err(), Some(SchemaProblem::Dangling), "{nowhere}");
        }
        let bundled = schema.bundled();
        assert_eq!(bundled["$defs"]["tradelane:reference:other.json"]["$id"], "other.json");
    }

    #[test]
    fn a_reference_to_itself_ends() {
        let schema = JsonSchema::parse(r##"{"$ref":"#"}"##, &[]).unwrap();
        assert_eq!(schema.meant(schema.root(), schema.root()).err(), Some(SchemaProblem::TooComplex));
    }
}
