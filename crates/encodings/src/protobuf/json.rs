//! Protobuf values as JSON text, as rules and people read them.
//!
//! Names are those of the `.proto` file. Numbers are numbers, those of 64 bits too; bytes are base64 (RFC 4648, section 4);
//! an enumeration's value is its name, or its number as text; points in time are text as RFC 3339 has it. Fields of which
//! it cannot be told whether they were set can be shown with their default or left out.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tradelane_tape::text::write_string;

use super::schema::{COUNTED, Field, Kind, Label, Schema, UNKNOWN, wire_type};
use crate::avro;
use crate::tree::{Node, Part, Slot, TooLong, Tree};
use crate::varint;

/// The longest text of an event: what the tape takes as a document.
const MAX_JSON: usize = tradelane_tape::Limits::DOCUMENT.max_bytes;

impl Schema {
    /// Appends the message that `tree` was walked from as JSON. `defaults`: fields of which it cannot be told whether they
    /// were set are shown, lists and maps without entries too.
    pub fn write_json(&self, bytes: &[u8], tree: &Tree, defaults: bool, out: &mut Vec<u8>) -> Result<(), TooLong> {
        let writer = Writer { schema: self, bytes, tree, defaults, most: out.len() + MAX_JSON };
        writer.message(0, 0, out);
        if out.len() > writer.most { Err(TooLong) } else { Ok(()) }
    }

    /// Appends a value that is no message as JSON, from a field as it occurs; a point in time is one.
    pub fn write_scalar(&self, slot: Slot, occurrence: &[u8], out: &mut Vec<u8>) {
        if let (Some(field), Some(value)) = (self.field(slot), self.value(occurrence)) {
            self.scalar(field, value, out);
        }
    }

    /// The value of a field as it occurs: what follows its tag, and its length if it has one.
    pub fn value<'b>(&self, occurrence: &'b [u8]) -> Option<&'b [u8]> {
        let (tag, skip) = varint::read(occurrence)?;
        let rest = occurrence.get(skip..)?;
        if (tag & 7) as u8 != COUNTED {
            return Some(rest);
        }
        rest.get(varint::read(rest)?.1..)
    }

    /// The text of a map's key, from the key as it occurs.
    pub(super) fn key_text(&self, slot: Slot, occurrence: &[u8]) -> String {
        let mut text = Vec::new();
        self.write_scalar(slot, occurrence, &mut text);
        let text = String::from_utf8(text).unwrap_or_default();
        match text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
            Some(inside) => tradelane_tape::text::unescape(inside).into_owned(),
            None => text,
        }
    }

    /// The key of a map's entry, and the index of its value, if it is there.
    pub fn entry(&self, bytes: &[u8], tree: &Tree, index: u32) -> (String, Option<u32>) {
        let Some(node) = tree.node(index) else { return (String::new(), None) };
        let message = self.message_at(node.slot).unwrap_or(0);
        let (key_slot, value_slot) = (self.numbered(message, 1), self.numbered(message, 2));
        let (mut key, mut value) = (None, None);
        for (index, node) in tree.below(index) {
            if node.part == Part::Length {
                continue;
            }
            if Some(node.slot) == key_slot {
                key = bytes.get(node.range()).map(|occurrence| self.key_text(node.slot, occurrence));
            } else if Some(node.slot) == value_slot {
                value = Some(index);
            }
        }
        // A key that is not written is the least of its type.
        let least = || key_slot.map(|slot| self.default_text(slot)).unwrap_or_default();
        (key.unwrap_or_else(least), value)
    }

    pub(super) fn default_text(&self, slot: Slot) -> String {
        match self.field(slot).map(|field| &field.kind) {
            Some(Kind::String) | None => String::new(),
            Some(Kind::Bool) => "false".to_owned(),
            Some(_) => "0".to_owned(),
        }
    }

    fn scalar(&self, field: &Field, value: &[u8], out: &mut Vec<u8>) {
        let number = || varint::read(value).map_or(0, |(number, _)| number);
        let four = || value.first_chunk::<4>().copied().unwrap_or_default();
        let eight = || value.first_chunk::<8>().copied().unwrap_or_default();
        let mut text = |text: String| out.extend_from_slice(text.as_bytes());
        match &field.kind {
            Kind::Int32 => text((number() as i32).to_string()),
            Kind::Int64 => text((number() as i64).to_string()),
            Kind::Uint32 => text((number() as u32).to_string()),
            Kind::Uint64 => text(number().to_string()),
            Kind::Sint32 => text((varint::unzigzag(number()) as i32).to_string()),
            Kind::Sint64 => text(varint::unzigzag(number()).to_string()),
            Kind::Fixed32 => text(u32::from_le_bytes(four()).to_string()),
            Kind::Fixed64 => text(u64::from_le_bytes(eight()).to_string()),
            Kind::Sfixed32 => text(i32::from_le_bytes(four()).to_string()),
            Kind::Sfixed64 => text(i64::from_le_bytes(eight()).to_string()),
            Kind::Float => {
                let number = f32::from_le_bytes(four());
                avro::write_float(f64::from(number), &number.to_string(), out);
            }
            Kind::Double => {
                let number = f64::from_le_bytes(eight());
                avro::write_float(number, &number.to_string(), out);
            }
            Kind::Bool => out.extend_from_slice(if number() == 0 { b"false" } else { b"true" }),
            Kind::String => write_string(std::str::from_utf8(value).unwrap_or_default(), out),
            Kind::Bytes => write_string(&STANDARD.encode(value), out),
            Kind::Enum(values) => {
                let number = number() as i32;
                match values.iter().find(|(known, _)| *known == number) {
                    Some((_, name)) => write_string(name, out),
                    None => write_string(&number.to_string(), out),
                }
            }
            Kind::Message(_) | Kind::Group(_) => self.timestamp(value, out),
        }
    }

    /// Seconds (field 1) and nanoseconds (field 2) since 1970 as a point in time.
    fn timestamp(&self, value: &[u8], out: &mut Vec<u8>) {
        let (seconds, nanos) = timestamp_parts(value);
        let whole = seconds.checked_mul(1_000_000_000).and_then(|n| n.checked_add(i64::from(nanos)));
        match whole.and_then(|nanos| avro::moment(nanos, 1_000_000_000)).or_else(|| avro::moment(seconds, 1)) {
            Some(text) => write_string(&(text + "Z"), out),
            None => write_string(&seconds.to_string(), out),
        }
    }
}

/// The two numbers of a point in time.
pub fn timestamp_parts(mut value: &[u8]) -> (i64, i32) {
    let (mut seconds, mut nanos) = (0, 0);
    while let Some((tag, skip)) = varint::read(value) {
        let rest = value.get(skip..).unwrap_or_default();
        let Some((number, len)) = varint::read(rest) else { break };
        match tag {
            8 => seconds = number as i64,
            16 => nanos = number as i32,
            _ => break,
        }
        value = rest.get(len..).unwrap_or_default();
    }
    (seconds, nanos)
}

struct Writer<'w> {
    schema: &'w Schema,
    bytes: &'w [u8],
    tree: &'w Tree,
    defaults: bool,
    /// Where the text may end.
    most: usize,
}

impl Writer<'_> {
    /// A message: its fields in their order, each with all of its occurrences.
    fn message(&self, message: u32, index: u32, out: &mut Vec<u8>) {
        let mut set: Vec<(Slot, u32, Node)> = self
            .tree
            .below(index)
            .filter(|(_, node)| node.part != Part::Length && node.slot != UNKNOWN)
            .map(|(index, node)| (node.slot, index, node))
            .collect();
        set.sort_by_key(|(slot, index, _)| (*slot, *index));
        out.push(b'{');
        let mut first = true;
        let mut set = set.as_slice();
        let fields = self.schema.messages().get(message as usize).map(|m| m.fields.as_slice()).unwrap_or_default();
        for field in fields {
            let Some(slot) = self.schema.numbered(message, field.number) else { continue };
            let count = set.iter().take_while(|(known, ..)| *known == slot).count();
            let (here, rest) = set.split_at(count);
            set = rest;
            let can_tell = matches!(field.label, Label::Optional | Label::Required);
            if out.len() > self.most || here.is_empty() && (can_tell || !self.defaults) {
                continue;
            }
            if !std::mem::take(&mut first) {
                out.push(b',');
            }
            write_string(&field.name, out);
            out.push(b':');
            match (field.label, here) {
                (Label::Repeated, here) => self.items(field, here, out),
                (Label::Map, here) => self.entries(here, out),
                (_, [(_, index, node), ..]) => self.value(*index, *node, out),
                (_, []) => self.default(field, out),
            }
        }
        out.push(b'}');
    }

    fn value(&self, index: u32, node: Node, out: &mut Vec<u8>) {
        match self.schema.message_at(node.slot) {
            Some(message) if !self.schema.is_timestamp(message) => self.message(message, index, out),
            _ => self.schema.write_scalar(node.slot, self.bytes.get(node.range()).unwrap_or_default(), out),
        }
    }

    fn items(&self, field: &Field, here: &[(Slot, u32, Node)], out: &mut Vec<u8>) {
        out.push(b'[');
        let mut first = true;
        let mut comma = |out: &mut Vec<u8>| {
            if !std::mem::take(&mut first) {
                out.push(b',');
            }
        };
        for (_, index, node) in here {
            if node.part != Part::Value(tradelane_tape::Kind::Array) {
                comma(out);
                self.value(*index, *node, out);
                continue;
            }
            let occurrence = self.bytes.get(node.range()).unwrap_or_default();
            for value in packed(field, self.schema.value(occurrence).unwrap_or_default()) {
                if out.len() > self.most {
                    break;
                }
                comma(out);
                self.schema.scalar(field, value, out);
            }
        }
        out.push(b']');
    }

    fn entries(&self, here: &[(Slot, u32, Node)], out: &mut Vec<u8>) {
        out.push(b'{');
        let mut first = true;
        for (slot, index, _) in here {
            if !std::mem::take(&mut first) {
                out.push(b',');
            }
            let (key, value) = self.schema.entry(self.bytes, self.tree, *index);
            write_string(&key, out);
            out.push(b':');
            match value.and_then(|value| Some((value, self.tree.node(value)?))) {
                Some((value, node)) => self.value(value, node, out),
                None => {
                    let field = self.schema.map_value(*slot).and_then(|slot| self.schema.field(slot));
                    field.into_iter().for_each(|field| self.default(field, out));
                }
            }
        }
        out.push(b'}');
    }

    /// The value that a field has when it is not set.
    fn default(&self, field: &Field, out: &mut Vec<u8>) {
        match &field.kind {
            Kind::Message(_) | Kind::Group(_) => out.extend_from_slice(b"{}"),
            Kind::Enum(values) => write_string(values.first().map_or("", |(_, name)| name), out),
            Kind::String | Kind::Bytes => out.extend_from_slice(b"\"\""),
            _ => self.schema.scalar(field, &[0; 8], out),
        }
    }
}

/// The numbers that were written together, each in its own bytes.
pub fn packed<'b>(field: &Field, mut bytes: &'b [u8]) -> impl Iterator<Item = &'b [u8]> + use<'b> {
    let wire = wire_type(&field.kind);
    std::iter::from_fn(move || {
        let len = match wire {
            super::schema::FIXED64 => 8,
            super::schema::FIXED32 => 4,
            _ => varint::read(bytes)?.1,
        };
        let (one, rest) = bytes.split_at_checked(len)?;
        bytes = rest;
        Some(one)
    })
}
