//! What a contract says of record keys and headers, and of the field that is the key of an event which comes without one.
//!
//! Whether the class of a key is restricted enough for what the field holds is not known here.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::class::Class;
use crate::contract::{ContractError, wrong};
use crate::pattern::{Pattern, Segment};
use crate::product::Format;
use crate::shape::Shape;

/// The most headers that a contract may name.
const MAX_HEADERS: usize = 256;
/// The most references of a JSON Schema that are followed to one field.
const MAX_REFERENCES: usize = 64;
/// Where in a contract keys are described.
const AT: &str = "/customProperties/tradelane/records/key/from";

/// What travels beside the events of a product: record keys and headers, as Kafka clients send them. What is not named
/// here is as restricted as an unnamed field.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RecordRules {
    /// The key.
    #[serde(default)]
    pub key: Option<KeyRule>,
    /// Headers by name.
    #[serde(default)]
    pub headers: BTreeMap<String, Class>,
}

/// What the keys of a product's records are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyRule {
    /// Their class; unless said, that of what no rule names.
    #[serde(default = "Class::unclassified")]
    pub class: Class,
    /// Does a key name a person? Then it is erased with that person.
    #[serde(default)]
    pub subject: bool,
    /// The field that is the key of an event which comes without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Pattern>,
}

impl RecordRules {
    /// The field that is the key of an event which comes without one.
    pub fn key_from(&self) -> Option<&Pattern> {
        self.key.as_ref()?.from.as_ref()
    }

    pub(crate) fn check(&self, shape: &Shape, schema: &Value, format: Format) -> Result<(), ContractError> {
        if self.headers.len() > MAX_HEADERS {
            return Err(wrong("/customProperties", format!("names more than {MAX_HEADERS} headers")));
        }
        let classes = self.headers.values().chain(self.key.iter().map(|key| &key.class));
        for class in classes {
            if class.builtin_rank().is_none() && !shape.own_classes.contains_key(class) {
                return Err(wrong(
                    "/customProperties",
                    format!("`records` has the class {class}, which is not defined"),
                ));
            }
        }
        self.key_from().map_or(Ok(()), |from| check_from(from, shape, schema, format))
    }
}

fn check_from(from: &Pattern, shape: &Shape, schema: &Value, format: Format) -> Result<(), ContractError> {
    if !matches!(format, Format::Json | Format::Epcis) {
        return Err(wrong(AT, "is for events in JSON: those in Avro and Protobuf are records, with keys of their own"));
    }
    let name = |segment: &Segment| match segment {
        Segment::Property(name) => Some(name.clone()),
        Segment::Items | Segment::AnyProperty => None,
    };
    let names: Option<Vec<String>> = from.segments().iter().map(name).collect();
    let Some(names) = names.filter(|names| !names.is_empty()) else {
        return Err(wrong(AT, "names one field, as a JSON Pointer without `*` and `{}`, such as /order/id"));
    };
    let is_index = |name: &String| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
    if names.iter().any(|name| name == "-" || is_index(name)) && shape.place(from).is_none() {
        return Err(wrong(AT, "names an element of a list: a key is a member of objects"));
    }
    can_have(schema, &names).map_err(|reason| wrong(AT, format!("{from} {reason}")))
}

/// Can an event that keeps this JSON Schema have text, a number, true or false there? What it says by other words than
/// these is not looked at: then it may.
fn can_have(whole: &Value, names: &[String]) -> Result<(), &'static str> {
    const NOTHING: &str = "is nothing that an event can have, by the contract's schema; name one of its fields";
    let mut references = 0;
    let mut schema = whole;
    let mut names = names.iter();
    loop {
        while let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            references += 1;
            let Some(found) = reference.strip_prefix('#').and_then(|at| whole.pointer(at)) else { return Ok(()) };
            if references > MAX_REFERENCES {
                return Ok(());
            }
            schema = found;
        }
        if schema == &Value::Bool(false) {
            return Err(NOTHING);
        }
        let Some(name) = names.next() else { break };
        if !allows(schema, &["object"]) {
            return Err("goes through what is no object in the contract's schema");
        }
        let known = schema.get("properties").and_then(|properties| properties.get(name));
        let others = || schema.get("additionalProperties").filter(|_| schema.get("patternProperties").is_none());
        match known.or_else(others) {
            Some(next) => schema = next,
            None => return Ok(()),
        }
    }
    match allows(schema, &["string", "number", "integer", "boolean"]) {
        true => Ok(()),
        false => Err("is no text, number, true or false in the contract's schema, as a key must be"),
    }
}

/// Does a schema let a value be of one of these types?
fn allows(schema: &Value, types: &[&str]) -> bool {
    match schema.get("type") {
        Some(Value::String(one)) => types.contains(&one.as_str()),
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).any(|one| types.contains(&one)),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Contract;

    fn contract(extension: &str) -> Result<Contract, ContractError> {
        Contract::parse(&format!(
            "apiVersion: v3.1.0\nkind: DataContract\nid: c\nversion: 1.0.0\nstatus: active\nschema:\n  - name: e\n    properties:\n      \
             - {{name: id, logicalType: string}}\n      \
             - {{name: lines, logicalType: array, items: {{logicalType: object}}}}\n      \
             - {{name: years, logicalType: object, properties: [{{name: '2026', logicalType: integer}}]}}\n\
             customProperties: [{{property: tradelane, value: {{{extension}}}}}]\n"
        ))
    }

    const CLOSED: &str = r##"jsonSchema: {type: object, additionalProperties: false,
        properties: {id: {type: [string, "null"]}, at: {$ref: "#/$defs/place"}, no: false, any: {}, tags: {additionalProperties: {type: object}}},
        $defs: {place: {type: object, properties: {gln: {type: integer}}, additionalProperties: false}}}"##;

    #[test]
    fn the_field_that_is_the_key_is_one_that_an_event_can_have() {
        let from = |pointer: &str| format!("records: {{key: {{class: public, from: {pointer}}}}}");
        for pointer in ["/id", "/more", "/years/2026", "/years/x/y"] {
            let read = contract(&from(pointer)).unwrap_or_else(|error| panic!("{pointer}: {error}"));
            assert_eq!(read.records.key_from().unwrap().to_string(), pointer);
        }
        for pointer in ["", "id", "/lines/*/sku", "/labels/{}", "/lines/0", "/more/0/x", "/id/x", "/lines", "/years"] {
            let refused = contract(&from(&format!("\"{pointer}\""))).unwrap_err().to_string();
            assert!(!refused.is_empty(), "{pointer}");
        }
        for pointer in ["/id", "/at/gln", "/any/x/y"] {
            assert!(contract(&format!("{CLOSED}, {}", from(pointer))).is_ok(), "{pointer}");
        }
        for pointer in ["/sku", "/at", "/at/name", "/at/gln/x", "/no", "/tags/a"] {
            let refused = contract(&format!("{CLOSED}, {}", from(pointer))).unwrap_err();
            assert!(refused.place == AT && refused.reason.contains(pointer), "{pointer}: {refused}");
        }
        assert!(contract(&format!("{}, format: epcis", from("/id"))).is_ok());
    }

    #[test]
    fn a_key_without_a_class_is_as_restricted_as_what_no_rule_names() {
        let read = contract("records: {key: {from: /id}}").unwrap();
        assert_eq!(read.records.key.unwrap().class, Class::unclassified());
    }
}
