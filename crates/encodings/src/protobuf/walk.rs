//! One message held to its schema, from the first byte to the last.
//!
//! A node covers a field as it occurs: its tag, its length and its value. What the schema does not have is a node too, so that
//! it can be hidden. What readers could take differently is refused: a field that occurs once twice, two members of a
//! oneof, a key of a map twice.

use std::collections::HashSet;

use tradelane_tape::Kind as Shown;

use super::schema::{
    BEGIN_GROUP, COUNTED, END_GROUP, FIXED32, FIXED64, Field, Kind, Label, Schema, UNKNOWN, VARINT, wire_type,
};
use crate::tree::{Limits, Node, Part, Slot, Tree, WalkError};
use crate::varint;

impl Schema {
    /// Checks that `bytes` are one message of this schema, and notes its fields in `tree`.
    pub fn walk(&self, bytes: &[u8], limits: &Limits, tree: &mut Tree) -> Result<(), WalkError> {
        tree.nodes.clear();
        if bytes.len() > limits.max_bytes.min(u32::MAX as usize) {
            return Err(WalkError { at: 0, reason: "the event is larger than its limit" });
        }
        let mut walk = Walk { schema: self, bytes, at: 0, end: bytes.len(), depth: 0, limits, nodes: &mut tree.nodes };
        let walked = walk.push(0, 0, Part::Value(Shown::Object)).and_then(|root| {
            walk.message(0, None)?;
            walk.close(root);
            Ok(())
        });
        if walked.is_err() {
            tree.nodes.clear();
        }
        walked
    }
}

struct Walk<'w> {
    schema: &'w Schema,
    bytes: &'w [u8],
    at: usize,
    /// Where the message at hand ends.
    end: usize,
    depth: usize,
    limits: &'w Limits,
    nodes: &'w mut Vec<Node>,
}

type Walked<T = ()> = Result<T, WalkError>;

impl<'w> Walk<'w> {
    fn wrong<T>(&self, reason: &'static str) -> Walked<T> {
        Err(WalkError { at: self.at, reason })
    }

    /// The fields of a message up to its end, or up to the end of its group.
    fn message(&mut self, message: u32, group: Option<u32>) -> Walked {
        if self.depth >= self.limits.max_depth {
            return self.wrong("the event is nested more deeply than its limit");
        }
        self.depth += 1;
        let mut set: HashSet<(bool, u32)> = HashSet::new();
        let mut keys: HashSet<(Slot, String)> = HashSet::new();
        loop {
            if self.at >= self.end {
                if group.is_some() {
                    return self.wrong("a group does not end");
                }
                break;
            }
            let start = self.at;
            let (number, wire) = self.tag()?;
            if wire == END_GROUP {
                if group == Some(number) {
                    break;
                }
                return Err(WalkError { at: start, reason: "a group ends that did not begin" });
            }
            let slot = self.schema.numbered(message, number);
            match slot.and_then(|slot| Some((slot, self.schema.field(slot)?))) {
                Some((slot, field)) if fits(field, wire) => {
                    let once = !is_repeated(field);
                    let mut is_new = !once || set.insert((false, number));
                    is_new &= field.oneof.is_none_or(|oneof| set.insert((true, oneof)));
                    if !is_new {
                        return Err(WalkError { at: start, reason: "a field, or two of a oneof, is set twice" });
                    }
                    self.field(start, slot, field, wire, &mut keys)?;
                }
                _ => {
                    let node = self.push(start, UNKNOWN, Part::Value(Shown::String))?;
                    self.skip(number, wire)?;
                    self.close(node);
                }
            }
        }
        self.depth -= 1;
        Ok(())
    }

    fn field(
        &mut self,
        start: usize,
        slot: Slot,
        field: &'w Field,
        wire: u8,
        keys: &mut HashSet<(Slot, String)>,
    ) -> Walked {
        let schema = self.schema;
        let is_packed = wire == COUNTED && wire_type(&field.kind) != COUNTED;
        let shown = if is_packed { Shown::Array } else { schema.kind_at(slot) };
        let node = self.push(start, slot, Part::Value(shown))?;
        match &field.kind {
            Kind::Group(inner) => self.message(*inner, Some(field.number))?,
            Kind::Message(inner) => {
                let length = self.at;
                let outer = self.enter()?;
                let mark = self.push(length, slot, Part::Length)?;
                self.close(mark);
                if schema.is_timestamp(*inner) {
                    // Two numbers that are one value; they are checked, and not seen apart.
                    let nodes = self.nodes.len();
                    self.message(*inner, None)?;
                    if self.nodes.iter().skip(nodes).any(|node| node.slot == UNKNOWN) {
                        return self.wrong("a point in time has more than seconds and nanoseconds");
                    }
                    self.nodes.truncate(nodes);
                } else {
                    let first = self.nodes.len();
                    self.message(*inner, None)?;
                    if field.label == Label::Map {
                        self.entry(slot, first, keys)?;
                    }
                }
                self.end = outer;
            }
            kind if is_packed => {
                let outer = self.enter()?;
                while self.at < self.end {
                    self.scalar(kind)?;
                }
                self.end = outer;
            }
            kind => self.scalar(kind)?,
        }
        self.close(node);
        Ok(())
    }

    /// An entry of a map has a key that no other has, and nothing but a key and a value.
    fn entry(&mut self, slot: Slot, first: usize, keys: &mut HashSet<(Slot, String)>) -> Walked {
        let Some(message) = self.schema.message_at(slot) else { return Ok(()) };
        let key_slot = self.schema.numbered(message, 1).unwrap_or(UNKNOWN);
        let mut key = self.schema.default_text(key_slot);
        let mut at = first;
        while let Some(node) = self.nodes.get(at) {
            at = (node.next as usize).max(at + 1);
            if node.slot == UNKNOWN {
                return self.wrong("an entry of a map has more than a key and a value");
            }
            if node.slot == key_slot {
                key = self.schema.key_text(node.slot, self.bytes.get(node.range()).unwrap_or_default());
            }
        }
        if keys.insert((slot, key)) { Ok(()) } else { self.wrong("the map has this key twice") }
    }

    /// Reads a length, and goes into so many bytes; returns the end of what is around them.
    fn enter(&mut self) -> Walked<usize> {
        let len = usize::try_from(self.varint()?).ok().and_then(|len| self.at.checked_add(len));
        match len.filter(|end| *end <= self.end) {
            Some(end) => Ok(std::mem::replace(&mut self.end, end)),
            None => self.wrong("the event ends inside of a value"),
        }
    }

    fn scalar(&mut self, kind: &Kind) -> Walked {
        match wire_type(kind) {
            FIXED64 => self.take(8).map(drop),
            FIXED32 => self.take(4).map(drop),
            COUNTED => {
                let outer = self.enter()?;
                let len = self.end - self.at;
                let bytes = self.take(len)?;
                self.end = outer;
                if *kind == Kind::String && std::str::from_utf8(bytes).is_err() {
                    return self.wrong("a text is not UTF-8");
                }
                Ok(())
            }
            _ => {
                let value = self.varint()?;
                if *kind == Kind::Bool && value > 1 {
                    return self.wrong("a boolean is 0 or 1");
                }
                Ok(())
            }
        }
    }

    /// Passes over what the schema does not have.
    fn skip(&mut self, number: u32, wire: u8) -> Walked {
        match wire {
            VARINT => self.varint().map(drop),
            FIXED64 => self.take(8).map(drop),
            FIXED32 => self.take(4).map(drop),
            COUNTED => {
                let outer = self.enter()?;
                self.at = self.end;
                self.end = outer;
                Ok(())
            }
            BEGIN_GROUP => {
                if self.depth >= self.limits.max_depth {
                    return self.wrong("the event is nested more deeply than its limit");
                }
                self.depth += 1;
                loop {
                    let (inner, wire) = self.tag()?;
                    if wire == END_GROUP {
                        if inner == number {
                            break;
                        }
                        return self.wrong("a group ends that did not begin");
                    }
                    self.skip(inner, wire)?;
                }
                self.depth -= 1;
                Ok(())
            }
            _ => self.wrong("a tag has a type that there is not"),
        }
    }

    fn tag(&mut self) -> Walked<(u32, u8)> {
        let start = self.at;
        let tag = self.varint()?;
        match u32::try_from(tag >> 3).ok().filter(|number| (1..1 << 29).contains(number)) {
            Some(number) => Ok((number, (tag & 7) as u8)),
            None => Err(WalkError { at: start, reason: "a field has a number that there is not" }),
        }
    }

    fn push(&mut self, start: usize, slot: Slot, part: Part) -> Walked<usize> {
        if self.nodes.len() >= self.limits.max_nodes as usize {
            return self.wrong("the event has more values than its limit");
        }
        let index = self.nodes.len();
        self.nodes.push(Node { start: start as u32, end: start as u32, next: index as u32 + 1, slot, part });
        Ok(index)
    }

    fn close(&mut self, index: usize) {
        let (end, next) = (self.at as u32, self.nodes.len() as u32);
        if let Some(node) = self.nodes.get_mut(index) {
            (node.end, node.next) = (end, next);
        }
    }

    fn take(&mut self, len: usize) -> Walked<&'w [u8]> {
        match self.at.checked_add(len).filter(|end| *end <= self.end).and_then(|end| self.bytes.get(self.at..end)) {
            Some(taken) => {
                self.at += len;
                Ok(taken)
            }
            None => self.wrong("the event ends inside of a value"),
        }
    }

    fn varint(&mut self) -> Walked<u64> {
        match varint::read(self.bytes.get(self.at..self.end).unwrap_or_default()) {
            Some((value, len)) => {
                self.at += len;
                Ok(value)
            }
            None => self.wrong("a number does not end, or has more than 64 bits"),
        }
    }
}

/// Any number of times?
pub(super) fn is_repeated(field: &Field) -> bool {
    matches!(field.label, Label::Repeated | Label::Map)
}

/// May a field be written so? Numbers that repeat may be written one by one or together.
fn fits(field: &Field, wire: u8) -> bool {
    let own = wire_type(&field.kind);
    wire == own || (wire == COUNTED && field.label == Label::Repeated && matches!(own, VARINT | FIXED32 | FIXED64))
}
