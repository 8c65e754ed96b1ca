//! Later events in the form of an earlier version of their contract.
//!
//! By now an event is as its reader's view shows it: what the earlier version does not name was not shown. Here members that
//! it does not know are left out, required ones that are missing get the default that it gives them, and what then does not
//! keep the schema of the reader's view is withheld. Events in Avro and Protobuf are brought into the earlier version's own
//! schema by what their encodings say of versions, and where they are shown as text, that text is converted as JSON is.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use tradelane_encodings::Tree;
use tradelane_model::pattern::{Pattern, Segment};
use tradelane_model::shape::{Place, Shape};
use tradelane_model::view::{Action, ViewSpec};
use tradelane_model::{Class, Contract};
use tradelane_schema::Schema;
use tradelane_seal::{Codec, Withheld};
use tradelane_tape::{Kind, Limits, Node, Tape, text};

use crate::error::{HubError, Result};
use crate::views::schema_of_view;

/// A conversion to the form of one version, for one view.
pub(crate) struct Down {
    root: Form,
    schema: Schema,
    /// Does the view show what no rule names?
    keeps_unnamed: bool,
    /// The schema of that version, if its events are not JSON.
    codec: Option<Arc<Codec>>,
}

/// What a version knows of a place.
#[derive(Default)]
struct Form {
    properties: BTreeMap<String, Form>,
    any_property: Option<Box<Form>>,
    items: Option<Box<Form>>,
    /// Members with their values that are put in where they are missing.
    defaults: BTreeMap<String, String>,
}

impl Form {
    /// Does it name nothing below, so that what is there stays?
    fn is_leaf(&self) -> bool {
        self.properties.is_empty() && self.any_property.is_none() && self.items.is_none()
    }
}

impl Down {
    /// The conversion to the form that this version has in that view.
    pub(super) fn compile(contract: &Contract, spec: &ViewSpec, codec: Option<Arc<Codec>>) -> Result<Self> {
        let invalid = |error: String| HubError::of(tradelane_model::codes::CONTRACT_INVALID).because(error);
        let schema = schema_of_view(contract, spec)?;
        let schema = Schema::compile(&schema).map_err(|error| invalid(error.to_string()))?;
        let forms = Forms { shape: &contract.shape, spec };
        let root = forms.form(&contract.shape.root, Some(&contract.json_schema), &Pattern::default());
        let keeps_unnamed = spec.class_action(&Class::unclassified()) == Action::Reveal;
        Ok(Self { root, schema, keeps_unnamed, codec })
    }

    /// Converts the event in an encoding of its own that `out` ends with, and that was written by the schema of `writer`.
    pub(crate) fn convert_binary(
        &self,
        writer: Option<&Codec>,
        tree: &mut Tree,
        out: &mut Vec<u8>,
        from: usize,
    ) -> std::result::Result<(), Withheld> {
        let (Some(writer), Some(reader)) = (writer, &self.codec) else { return Err(Withheld::OtherVersion) };
        let event = out.split_off(from.min(out.len()));
        reader.resolve(writer, &event, tree, out).map_err(|_| Withheld::OtherVersion)
    }

    /// Converts the text of an event that `out` ends with.
    pub(crate) fn convert_text(&self, out: &mut Vec<u8>, from: usize) -> std::result::Result<(), Withheld> {
        let event = out.split_off(from.min(out.len()));
        let mut tape = Tape::new();
        let Ok(doc) = tape.parse(&event, &Limits::DOCUMENT) else { return Err(Withheld::OtherVersion) };
        self.write(doc.root(), &self.root, out);
        let converted = out.get(from..).unwrap_or_default();
        let mut tape = Tape::new();
        let Ok(doc) = tape.parse(converted, &Limits::DOCUMENT) else { return Err(Withheld::OtherVersion) };
        if self.schema.is_valid(doc.root()) { Ok(()) } else { Err(Withheld::OtherVersion) }
    }

    /// No deeper than the tape lets an event nest.
    fn write(&self, node: Node<'_>, form: &Form, out: &mut Vec<u8>) {
        match node.kind() {
            Kind::Object if !form.is_leaf() => {
                out.push(b'{');
                let mut is_first = true;
                let mut separate = |out: &mut Vec<u8>| {
                    if !std::mem::replace(&mut is_first, false) {
                        out.push(b',');
                    }
                };
                for (key, value) in node.members() {
                    let known = form.properties.get(&*key.as_str()).or(form.any_property.as_deref());
                    if known.is_none() && !self.keeps_unnamed {
                        continue;
                    }
                    separate(out);
                    text::write_string(&key.as_str(), out);
                    out.push(b':');
                    match known {
                        Some(known) => self.write(value, known, out),
                        None => out.extend_from_slice(value.raw()),
                    }
                }
                for (name, value) in form.defaults.iter().filter(|(name, _)| node.get(name).is_none()) {
                    separate(out);
                    text::write_string(name, out);
                    out.push(b':');
                    out.extend_from_slice(value.as_bytes());
                }
                out.push(b'}');
            }
            Kind::Array => match &form.items {
                None => out.extend_from_slice(node.raw()),
                Some(items) => {
                    out.push(b'[');
                    for (index, element) in node.elements().enumerate() {
                        if index > 0 {
                            out.push(b',');
                        }
                        self.write(element, items, out);
                    }
                    out.push(b']');
                }
            },
            _ => out.extend_from_slice(node.raw()),
        }
    }
}

struct Forms<'a> {
    shape: &'a Shape,
    spec: &'a ViewSpec,
}

impl Forms<'_> {
    fn form(&self, place: &Place, schema: Option<&Value>, at: &Pattern) -> Form {
        let below = |word: &str| schema.and_then(|schema| schema.get(word));
        let mut form = Form::default();
        for (name, child) in &place.properties {
            let schema = below("properties").and_then(|properties| properties.get(name));
            let at = at.join(Segment::Property(name.clone()));
            let is_required = child.required
                || below("required").and_then(Value::as_array).is_some_and(|list| list.iter().any(|one| one == name));
            let default = schema.and_then(|schema| schema.get("default"));
            // What the view does not reveal is not made up either.
            if let Some(default) = default.filter(|_| is_required && self.action(&at) == Action::Reveal) {
                form.defaults.insert(name.clone(), default.to_string());
            }
            form.properties.insert(name.clone(), self.form(child, schema, &at));
        }
        if let Some(any) = &place.any_property {
            form.any_property =
                Some(Box::new(self.form(any, below("additionalProperties"), &at.join(Segment::AnyProperty))));
        }
        if let Some(items) = &place.items {
            form.items = Some(Box::new(self.form(items, below("items"), &at.join(Segment::Items))));
        }
        form
    }

    fn action(&self, at: &Pattern) -> Action {
        super::impact::action_at(self.shape, self.spec, at).1
    }
}

/// The class that a place has or inherits.
pub(super) fn class_at(shape: &Shape, at: &Pattern) -> Class {
    let mut class = shape.root.class.clone();
    let mut place = Some(&shape.root);
    for segment in at.segments() {
        place = place.and_then(|place| match segment {
            Segment::Property(name) => place.properties.get(name),
            Segment::AnyProperty => place.any_property.as_deref(),
            Segment::Items => place.items.as_deref(),
        });
        class = place.and_then(|place| place.class.clone()).or(class);
    }
    class.unwrap_or_else(Class::unclassified)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contract(properties: &str) -> Contract {
        Contract::parse(&format!(
            "apiVersion: v3.1.0\nkind: DataContract\nid: c\nversion: 1.0.0\nstatus: active\nschema:\n  - name: e\n    properties:\n{properties}"
        ))
        .unwrap()
    }

    #[test]
    fn members_of_later_versions_go_defaults_come_and_what_does_not_fit_is_withheld() {
        let contract = contract(
            "      - {name: id, logicalType: string, required: true, classification: public}\n      \
             - {name: unit, logicalType: string, required: true, classification: public, customProperties: [{property: default, value: each}]}\n      \
             - {name: secret, logicalType: string, required: true, classification: confidential, customProperties: [{property: default, value: x}]}\n      \
             - name: lines\n        logicalType: array\n        classification: public\n        items: {logicalType: object, properties: [{name: sku, logicalType: string}]}\n",
        );
        let down = Down::compile(&contract, &ViewSpec::default(), None).unwrap();
        let convert = |event: &str| {
            let mut out = [b"before ", event.as_bytes()].concat();
            down.convert_text(&mut out, 7).map(|()| String::from_utf8(out).unwrap())
        };
        assert_eq!(
            convert(r#"{"id":"1","new":{"a":1},"lines":[{"sku":"A","more":2},{}]}"#).unwrap(),
            r#"before {"id":"1","lines":[{"sku":"A"},{}],"unit":"each"}"#
        );
        assert_eq!(convert(r#"{"id":"1","unit":"box"}"#).unwrap(), r#"before {"id":"1","unit":"box"}"#);
        for bad in [r#"{"unit":"box"}"#, r#"{"id":7}"#, r#"{"id":"1","lines":"none"}"#] {
            assert_eq!(convert(bad), Err(Withheld::OtherVersion), "{bad}");
        }
    }
}
