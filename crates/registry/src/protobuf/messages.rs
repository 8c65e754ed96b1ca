//! A compiled schema as the messages that an event is made of, for whoever walks events.

use std::collections::HashMap;

use prost_reflect::{Cardinality, Kind, MessageDescriptor};
use tradelane_encodings::protobuf as plain;

use super::ProtobufSchema;
use crate::SchemaProblem;

/// The most messages that an event may be made of.
const MAX_MESSAGES: usize = 4_096;

impl ProtobufSchema {
    /// The message of that full name with all that it holds, and its path in the file as records carry it.
    ///
    /// # Errors
    /// [`SchemaProblem`] if the schema's own file has no such message, or there are too many.
    pub fn messages(&self, name: &str) -> Result<(plain::Schema, Vec<u32>), SchemaProblem> {
        let missing = || SchemaProblem::NotCompiled(format!("there is no message {name} in the file"));
        let root = self.pool().get_message_by_name(name).filter(|found| found.parent_file() == *self.file());
        let root = root.ok_or_else(missing)?;
        let path = path(&root).ok_or_else(missing)?;
        let mut gathered = Gathered { known: HashMap::new(), open: Vec::new() };
        gathered.index(root)?;
        let mut messages = Vec::new();
        while let Some(message) = gathered.open.get(messages.len()).cloned() {
            messages.push(gathered.message(&message)?);
        }
        let schema = plain::Schema::new(messages).map_err(|error| SchemaProblem::NotCompiled(error.to_string()))?;
        Ok((schema, path))
    }
}

/// At each level the message's place among those that are declared there.
fn path(message: &MessageDescriptor) -> Option<Vec<u32>> {
    let mut path = Vec::new();
    let mut at = message.clone();
    loop {
        let parent = at.parent_message();
        let place = match &parent {
            Some(parent) => parent.child_messages().position(|child| child == at),
            None => at.parent_file().messages().position(|child| child == at),
        };
        path.push(u32::try_from(place?).ok()?);
        match parent {
            Some(parent) => at = parent,
            None => break,
        }
    }
    path.reverse();
    Some(path)
}

/// Messages by their full names, in the order in which they were met.
struct Gathered {
    known: HashMap<String, u32>,
    open: Vec<MessageDescriptor>,
}

impl Gathered {
    fn index(&mut self, message: MessageDescriptor) -> Result<u32, SchemaProblem> {
        let next = self.open.len() as u32;
        let index = *self.known.entry(message.full_name().to_owned()).or_insert(next);
        if index == next {
            self.open.push(message);
        }
        if self.open.len() > MAX_MESSAGES {
            return Err(SchemaProblem::TooLarge("4,096 messages"));
        }
        Ok(index)
    }

    fn message(&mut self, message: &MessageDescriptor) -> Result<plain::Message, SchemaProblem> {
        let mut fields = Vec::with_capacity(message.fields().len());
        for field in message.fields() {
            let label = match field.cardinality() {
                _ if field.is_map() => plain::Label::Map,
                _ if message.is_map_entry() => plain::Label::Implicit,
                Cardinality::Repeated => plain::Label::Repeated,
                Cardinality::Required => plain::Label::Required,
                Cardinality::Optional if field.supports_presence() => plain::Label::Optional,
                Cardinality::Optional => plain::Label::Implicit,
            };
            let oneof = field.containing_oneof().filter(|oneof| !oneof.is_synthetic());
            let oneof = oneof.and_then(|oneof| message.oneofs().position(|known| known == oneof));
            fields.push(plain::Field {
                number: field.number(),
                name: field.name().into(),
                kind: self.kind(field.kind(), field.is_group())?,
                label,
                oneof: oneof.map(|at| at as u32),
            });
        }
        fields.sort_by_key(|field| field.number);
        Ok(plain::Message { name: message.full_name().into(), fields })
    }

    fn kind(&mut self, kind: Kind, is_group: bool) -> Result<plain::Kind, SchemaProblem> {
        Ok(match kind {
            Kind::Double => plain::Kind::Double,
            Kind::Float => plain::Kind::Float,
            Kind::Int32 => plain::Kind::Int32,
            Kind::Int64 => plain::Kind::Int64,
            Kind::Uint32 => plain::Kind::Uint32,
            Kind::Uint64 => plain::Kind::Uint64,
            Kind::Sint32 => plain::Kind::Sint32,
            Kind::Sint64 => plain::Kind::Sint64,
            Kind::Fixed32 => plain::Kind::Fixed32,
            Kind::Fixed64 => plain::Kind::Fixed64,
            Kind::Sfixed32 => plain::Kind::Sfixed32,
            Kind::Sfixed64 => plain::Kind::Sfixed64,
            Kind::Bool => plain::Kind::Bool,
            Kind::String => plain::Kind::String,
            Kind::Bytes => plain::Kind::Bytes,
            Kind::Enum(values) => {
                let default = values.default_value().number();
                let mut all: Vec<(i32, Box<str>)> =
                    values.values().map(|value| (value.number(), value.name().into())).collect();
                all.sort_by_key(|(number, _)| *number != default);
                plain::Kind::Enum(all)
            }
            Kind::Message(message) if is_group => plain::Kind::Group(self.index(message)?),
            Kind::Message(message) => plain::Kind::Message(self.index(message)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_found_with_all_that_it_holds_and_where_it_is_declared() {
        let text = r#"syntax = "proto3"; package acme;
            import "google/protobuf/timestamp.proto";
            message Other {}
            message Outer { message Order {
                string id = 1; optional int64 qty = 3; repeated Order parts = 2;
                map<string, Line> lines = 4; google.protobuf.Timestamp at = 5;
                oneof way { string by = 6; bytes token = 7; }
                State state = 8;
            } message Line { string sku = 1; } enum State { NONE = 0; DONE = 1; } }"#;
        let schema = ProtobufSchema::parse(text, &[]).unwrap();
        let (messages, path) = schema.messages("acme.Outer.Order").unwrap();
        assert_eq!(path, [1, 0]);
        let order = &messages.messages()[0];
        let labels: Vec<_> = order.fields.iter().map(|field| (&*field.name, field.label)).collect();
        use plain::Label::{Implicit, Map, Optional, Repeated};
        let expected = [
            ("id", Implicit),
            ("parts", Repeated),
            ("qty", Optional),
            ("lines", Map),
            ("at", Optional),
            ("by", Optional),
            ("token", Optional),
            ("state", Implicit),
        ];
        assert_eq!(labels, expected);
        assert_eq!(order.fields[1].kind, plain::Kind::Message(0));
        assert!(order.fields[5].oneof.is_some() && order.fields[5].oneof == order.fields[6].oneof);
        assert!(order.fields[2].oneof.is_none());
        assert!(schema.messages("acme.Nobody").is_err());
        assert!(schema.messages("google.protobuf.Timestamp").is_err(), "not of this file");
    }
}
