//! Texts that equal schemas have in common: the registry's canonical and normal text, and the specification's Parsing
//! Canonical Form with its 64-bit fingerprint.
//!
//! Source: Apache Avro 1.12.0 Specification, "Parsing Canonical Form for Schemas" and "Schema Fingerprints".

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::{AvroSchema, Primitive, Type, TypeId};
use crate::SchemaProblem;
use crate::text::{self, Reference};

/// The fingerprint of nothing.
const EMPTY: u64 = 0xc15d_213a_a4d7_a795;

/// The text without blanks between tokens; `normalize`: with the members of each object in one order as well.
pub(crate) fn canonical(text: &str, references: &[Reference], normalize: bool) -> Result<String, SchemaProblem> {
    AvroSchema::parse(text, references)?;
    let value = text::json(text)?;
    text::settled(&if normalize { normal(&value, true) } else { value })
}

/// `is_schema`: members are attributes of a type, and not those of a default value or of somebody's property.
fn normal(value: &Value, is_schema: bool) -> Value {
    match value {
        Value::Array(elements) => elements.iter().map(|element| normal(element, is_schema)).collect(),
        Value::Object(members) if is_schema => schema(members),
        Value::Object(_) => {
            let mut sorted = value.clone();
            sorted.sort_all_objects();
            sorted
        }
        other => other.clone(),
    }
}

fn schema(members: &Map<String, Value>) -> Value {
    const FIRST: [&str; 4] = ["name", "namespace", "type", "doc"];
    /// What holds schemas, or a list whose order is its meaning.
    const LAST: [&str; 4] = ["items", "values", "fields", "symbols"];
    if let (1, Some(Value::String(name))) = (members.len(), members.get("type"))
        && Primitive::named(name).is_some()
    {
        return name.as_str().into();
    }
    let mut out = Map::new();
    let mut put = |name: &str| {
        let Some(value) = members.get(name) else { return };
        let value = match name {
            "aliases" => {
                let mut sorted = value.clone();
                if let Value::Array(names) = &mut sorted {
                    names.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
                    names.dedup();
                }
                sorted
            }
            "type" | "items" | "values" | "fields" => normal(value, true),
            _ => normal(value, false),
        };
        out.insert(name.to_owned(), value);
    };
    FIRST.into_iter().for_each(&mut put);
    let is_fixed = |name: &str| FIRST.contains(&name) || LAST.contains(&name);
    let others: BTreeSet<&str> = members.keys().map(String::as_str).filter(|name| !is_fixed(name)).collect();
    others.into_iter().for_each(&mut put);
    LAST.into_iter().for_each(&mut put);
    Value::Object(out)
}

impl AvroSchema {
    /// The Parsing Canonical Form: what of the schema decides how data is read, in one form.
    ///
    /// # Errors
    /// [`SchemaProblem`] if writing it takes more than is spent on it.
    pub fn parsing_form(&self) -> Result<String, SchemaProblem> {
        let mut out = String::new();
        self.form(self.root, &mut BTreeSet::new(), &mut out)?;
        Ok(out)
    }

    /// The fingerprint `CRC-64-AVRO` of the Parsing Canonical Form.
    ///
    /// # Errors
    /// [`SchemaProblem`] if that form takes more than is spent on it.
    pub fn fingerprint(&self) -> Result<u64, SchemaProblem> {
        Ok(rabin(self.parsing_form()?.as_bytes()))
    }

    /// No deeper than the texts were: a type that was written is a name from then on.
    fn form(&self, id: TypeId, written: &mut BTreeSet<TypeId>, out: &mut String) -> Result<(), SchemaProblem> {
        let named = |out: &mut String, name: &str| {
            let _ = write!(out, r#"{{"name":"{name}","type":"#);
        };
        let kind = self.get(id)?;
        if let Type::Enum { name, .. } | Type::Fixed { name, .. } | Type::Record { name, .. } = kind {
            if !written.insert(id) {
                let _ = write!(out, "\"{}\"", name.full());
                return Ok(());
            }
            named(out, name.full());
        }
        match kind {
            Type::Primitive(primitive, _) => {
                let _ = write!(out, "\"{}\"", primitive.as_str());
            }
            Type::Array(items) => {
                out.push_str(r#"{"type":"array","items":"#);
                self.form(*items, written, out)?;
                out.push('}');
            }
            Type::Map(values) => {
                out.push_str(r#"{"type":"map","values":"#);
                self.form(*values, written, out)?;
                out.push('}');
            }
            Type::Union(branches) => {
                out.push('[');
                for (index, branch) in branches.iter().enumerate() {
                    out.push_str(if index == 0 { "" } else { "," });
                    self.form(*branch, written, out)?;
                }
                out.push(']');
            }
            Type::Enum { symbols, .. } => {
                let _ = write!(out, r#""enum","symbols":["{}"]}}"#, symbols.join("\",\""));
            }
            Type::Fixed { size, .. } => {
                let _ = write!(out, r#""fixed","size":{size}}}"#);
            }
            Type::Record { fields, .. } => {
                out.push_str(r#""record","fields":["#);
                for (index, field) in fields.iter().enumerate() {
                    out.push_str(if index == 0 { "" } else { "," });
                    named(out, &field.name);
                    self.form(field.kind, written, out)?;
                    out.push('}');
                }
                out.push_str("]}");
            }
        }
        Ok(())
    }
}

fn rabin(bytes: &[u8]) -> u64 {
    let mut fingerprint = EMPTY;
    for byte in bytes {
        let mut entry = (fingerprint ^ u64::from(*byte)) & 0xff;
        for _ in 0..8 {
            entry = (entry >> 1) ^ (EMPTY & (entry & 1).wrapping_neg());
        }
        fingerprint = (fingerprint >> 8) ^ entry;
    }
    fingerprint
}
