//! The messages that an event is made of. They are handed in, by whoever understands `.proto` files.

use std::collections::HashMap;

use tradelane_tape::Kind as Shown;

use crate::tree::Slot;
use crate::varint;

/// The position of what the schema does not have.
pub const UNKNOWN: Slot = Slot::MAX;
/// The most fields of all messages together.
const MAX_FIELDS: usize = 32_768;
/// The longest value that stands for a required field that was left out.
const MAX_LITERAL: usize = 16 << 10;

/// Why messages cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {reason}")]
pub struct SchemaError {
    /// The message or field.
    pub at: String,
    /// What is wrong there.
    pub reason: String,
}

/// What a field holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// 32 bits.
    Int32,
    /// 64 bits.
    Int64,
    /// 32 bits, from 0.
    Uint32,
    /// 64 bits, from 0.
    Uint64,
    /// 32 bits, zigzag.
    Sint32,
    /// 64 bits, zigzag.
    Sint64,
    /// Four bytes, from 0.
    Fixed32,
    /// Eight bytes, from 0.
    Fixed64,
    /// Four bytes.
    Sfixed32,
    /// Eight bytes.
    Sfixed64,
    /// Four bytes, with a fraction.
    Float,
    /// Eight bytes, with a fraction.
    Double,
    /// 0 or 1.
    Bool,
    /// UTF-8.
    String,
    /// Bytes.
    Bytes,
    /// One of these numbers with their names, the default first.
    Enum(Vec<(i32, Box<str>)>),
    /// The message at this index.
    Message(u32),
    /// The message at this index, between two tags.
    Group(u32),
}

/// How often a field occurs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Label {
    /// At most once; whether it was set can be told.
    Optional,
    /// At most once; its default is as if it were not set.
    Implicit,
    /// Once.
    Required,
    /// Any number of times.
    Repeated,
    /// A repeated message of a key (field 1) and a value (field 2).
    Map,
}

/// A field of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its number.
    pub number: u32,
    /// Its name, as the `.proto` file has it.
    pub name: Box<str>,
    /// What it holds.
    pub kind: Kind,
    /// How often it occurs.
    pub label: Label,
    /// Of fields with the same number here, at most one is set.
    pub oneof: Option<u32>,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its full name.
    pub name: Box<str>,
    /// Its fields, in the order of their numbers.
    pub fields: Vec<Field>,
}

/// A field where it stands.
#[derive(Debug, Clone)]
struct Position {
    message: u32,
    field: u32,
    /// What stands for it if it was left out: nothing, unless it is required.
    absent: Box<[u8]>,
    /// What stands for it if nothing of it is shown.
    redacted: Box<[u8]>,
}

/// Messages, the first of which is the event.
#[derive(Debug, Clone)]
pub struct Schema {
    messages: Vec<Message>,
    slots: Vec<Position>,
    /// The position of the first field of each message.
    first: Vec<u32>,
    by_number: Vec<HashMap<u32, Slot>>,
}

pub(super) const TIMESTAMP: &str = "google.protobuf.Timestamp";

impl Schema {
    /// Takes messages, the first of which is the event. Fields hold messages by their index.
    pub fn new(messages: Vec<Message>) -> Result<Self, SchemaError> {
        let wrong = |at: &str, reason: &str| Err(SchemaError { at: at.to_owned(), reason: reason.to_owned() });
        let count: usize = messages.iter().map(|message| message.fields.len()).sum();
        if messages.is_empty() || count > MAX_FIELDS {
            return wrong("the schema", "has no message, or more than 32,768 fields");
        }
        let mut schema = Self { messages, slots: Vec::new(), first: Vec::new(), by_number: Vec::new() };
        // Position 0 is the event's own.
        let root = Position { message: 0, field: u32::MAX, absent: Box::default(), redacted: Box::default() };
        schema.slots.push(root);
        for (message, index) in schema.messages.iter().zip(0_u32..) {
            schema.first.push(schema.slots.len() as u32);
            let mut numbers = HashMap::new();
            for (field, at) in message.fields.iter().zip(0_u32..) {
                if let Kind::Message(inner) | Kind::Group(inner) = field.kind
                    && inner as usize >= schema.messages.len()
                {
                    return wrong(&message.name, "has a field of a message that is not there");
                }
                numbers.insert(field.number, schema.slots.len() as Slot);
                schema.slots.push(Position {
                    message: index,
                    field: at,
                    absent: Box::default(),
                    redacted: Box::default(),
                });
            }
            schema.by_number.push(numbers);
        }
        schema.fill()?;
        Ok(schema)
    }

    /// Works out what stands for fields of which nothing is shown.
    fn fill(&mut self) -> Result<(), SchemaError> {
        let least = self.least_messages();
        if let (Some(root), Some(Some(value))) = (self.slots.first_mut(), least.first()) {
            (root.absent, root.redacted) = (value.clone().into(), value.clone().into());
        }
        for slot in 1..self.slots.len() as Slot {
            let Some(field) = self.field(slot) else { continue };
            let is_required = field.label == Label::Required;
            let mut absent = Vec::new();
            if is_required && self.write_least(field, &least, false, &mut absent).is_none() {
                let reason = "is required and holds a message of its own kind: no value could ever end".to_owned();
                return Err(SchemaError { at: field.name.to_string(), reason });
            }
            let mut redacted = Vec::new();
            let has_none = matches!(field.label, Label::Map);
            if !has_none && self.write_least(field, &least, true, &mut redacted).is_none() {
                redacted.clear();
            }
            if let Some(position) = self.slots.get_mut(usize::from(slot)) {
                (position.absent, position.redacted) = (absent.into(), redacted.into());
            }
        }
        Ok(())
    }

    /// The least value of each message: its required fields. None: it has none that ends, or it is too large.
    fn least_messages(&self) -> Vec<Option<Vec<u8>>> {
        let mut least: Vec<Option<Vec<u8>>> = vec![None; self.messages.len()];
        loop {
            let mut found = false;
            for (index, message) in self.messages.iter().enumerate() {
                if least.get(index).is_some_and(Option::is_some) {
                    continue;
                }
                let mut value = Vec::new();
                let mut required = message.fields.iter().filter(|field| field.label == Label::Required);
                let whole = required.all(|field| {
                    self.write_least(field, &least, false, &mut value).is_some() && value.len() <= MAX_LITERAL
                });
                if whole && let Some(place) = least.get_mut(index) {
                    *place = Some(value);
                    found = true;
                }
            }
            if !found {
                return least;
            }
        }
    }

    /// Appends a field with its least value; `stars`: with a text that says that something is not shown.
    fn write_least(&self, field: &Field, least: &[Option<Vec<u8>>], stars: bool, out: &mut Vec<u8>) -> Option<()> {
        varint::write(tag(field.number, wire_type(&field.kind)), out);
        match &field.kind {
            Kind::String if stars => out.extend_from_slice(b"\x03***"),
            Kind::Enum(values) => varint::write(i64::from(values.first().map_or(0, |(number, _)| *number)) as u64, out),
            Kind::Message(index) => {
                let value = least.get(*index as usize)?.as_ref()?;
                varint::write(value.len() as u64, out);
                out.extend_from_slice(value);
            }
            Kind::Group(index) => {
                out.extend_from_slice(least.get(*index as usize)?.as_ref()?);
                varint::write(tag(field.number, END_GROUP), out);
            }
            kind => match wire_type(kind) {
                FIXED64 => out.extend_from_slice(&[0; 8]),
                FIXED32 => out.extend_from_slice(&[0; 4]),
                _ => out.push(0),
            },
        }
        Some(())
    }

    /// The messages; the event is the first.
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// The field at a position; none for the event's own and for what the schema does not have.
    #[inline]
    pub fn field(&self, slot: Slot) -> Option<&Field> {
        let position = self.slots.get(usize::from(slot))?;
        self.messages.get(position.message as usize)?.fields.get(position.field as usize)
    }

    /// The position of a message's field with that number.
    pub fn numbered(&self, message: u32, number: u32) -> Option<Slot> {
        self.by_number.get(message as usize)?.get(&number).copied()
    }

    /// The position of a message's field by its name.
    pub fn named(&self, message: u32, name: &str) -> Option<Slot> {
        let fields = &self.messages.get(message as usize)?.fields;
        let at = fields.iter().position(|field| *field.name == *name)?;
        let first = *self.first.get(message as usize)?;
        Slot::try_from(first as usize + at).ok()
    }

    /// The message that the values at a position are, if they are one.
    pub fn message_at(&self, slot: Slot) -> Option<u32> {
        if slot == 0 {
            return Some(0);
        }
        match self.field(slot)?.kind {
            Kind::Message(message) | Kind::Group(message) => Some(message),
            _ => None,
        }
    }

    /// The position of the values of a map.
    pub fn map_value(&self, slot: Slot) -> Option<Slot> {
        self.numbered(self.message_at(slot)?, 2)
    }

    /// What stands at a position for what was left out: nothing, unless the field is required.
    pub fn absent(&self, slot: Slot) -> &[u8] {
        self.slots.get(usize::from(slot)).map(|position| &*position.absent).unwrap_or_default()
    }

    /// What stands at a position for a value of which nothing is shown but that it is there.
    pub fn redacted(&self, slot: Slot) -> &[u8] {
        self.slots.get(usize::from(slot)).map(|position| &*position.redacted).unwrap_or_default()
    }

    /// The JSON kind that one value at a position is shown as.
    pub fn kind_at(&self, slot: Slot) -> Shown {
        match self.field(slot).map(|field| &field.kind) {
            Some(Kind::Bool) => Shown::Bool,
            Some(Kind::String | Kind::Bytes | Kind::Enum(_)) => Shown::String,
            Some(Kind::Message(message)) if self.is_timestamp(*message) => Shown::String,
            None | Some(Kind::Message(_) | Kind::Group(_)) => Shown::Object,
            Some(_) => Shown::Number,
        }
    }

    /// Points in time are one value, and not the two numbers that they are made of.
    pub fn is_timestamp(&self, message: u32) -> bool {
        self.messages.get(message as usize).is_some_and(|message| *message.name == *TIMESTAMP)
    }
}

pub(super) const VARINT: u8 = 0;
pub(super) const FIXED64: u8 = 1;
pub(super) const COUNTED: u8 = 2;
pub(super) const BEGIN_GROUP: u8 = 3;
pub(super) const END_GROUP: u8 = 4;
pub(super) const FIXED32: u8 = 5;

/// What stands in front of a value.
pub(super) fn tag(number: u32, wire: u8) -> u64 {
    u64::from(number) << 3 | u64::from(wire)
}

/// How values of a kind are written, one by one.
pub(super) fn wire_type(kind: &Kind) -> u8 {
    match kind {
        Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => FIXED64,
        Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => FIXED32,
        Kind::String | Kind::Bytes | Kind::Message(_) => COUNTED,
        Kind::Group(_) => BEGIN_GROUP,
        _ => VARINT,
    }
}
