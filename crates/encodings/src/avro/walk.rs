//! One event held to its schema, from the first byte to the last.
//!
//! Nothing is allocated by a number that stands in the event: every value, key and block costs a node, and nodes are
//! counted. What two readers could take differently (a map with a key twice, bytes after the end) is refused.

use std::collections::HashSet;

use tradelane_tape::Kind;

use super::json::{MAX_DECIMAL, big_decimal};
use super::schema::{Logical, Schema, Type};
use crate::tree::{Limits, Node, Part, Slot, Tree, WalkError};
use crate::varint;

impl Schema {
    /// Checks that `bytes` are one datum of this schema and nothing else, and notes its values in `tree`.
    pub fn walk(&self, bytes: &[u8], limits: &Limits, tree: &mut Tree) -> Result<(), WalkError> {
        tree.nodes.clear();
        if bytes.len() > limits.max_bytes.min(u32::MAX as usize) {
            return Err(WalkError { at: 0, reason: "the event is larger than its limit" });
        }
        let mut walk = Walk { schema: self, bytes, at: 0, depth: 0, limits, nodes: &mut tree.nodes };
        let mut whole = walk.value(0);
        if whole.is_ok() && walk.at != bytes.len() {
            whole = Err(WalkError { at: walk.at, reason: "bytes follow the end of the event" });
        }
        if whole.is_err() {
            tree.nodes.clear();
        }
        whole
    }
}

struct Walk<'w> {
    schema: &'w Schema,
    bytes: &'w [u8],
    at: usize,
    depth: usize,
    limits: &'w Limits,
    nodes: &'w mut Vec<Node>,
}

type Walked<T = ()> = Result<T, WalkError>;

impl<'w> Walk<'w> {
    fn wrong<T>(&self, reason: &'static str) -> Walked<T> {
        Err(WalkError { at: self.at, reason })
    }

    /// A value at a position, of which `first` is the first branch.
    fn value(&mut self, first: Slot) -> Walked {
        let start = self.at;
        let schema = self.schema;
        let Some(position) = schema.position(first) else { return self.wrong("the schema has no such position") };
        let mut slot = first;
        let branches = schema.branches(first);
        if position.branch().is_some() {
            let number = self.long()?;
            let known = u16::try_from(number).ok().and_then(|number| first.checked_add(number));
            match known.filter(|known| branches.contains(known)) {
                Some(known) => slot = known,
                None => return self.wrong("the union has no branch of this number"),
            }
        }
        let Some((kind, logical)) = schema.type_at(slot) else { return self.wrong("the schema has no such position") };
        let index = self.push(start, slot, Part::Value(schema.kind_at(slot)))?;
        if self.depth >= self.limits.max_depth {
            return self.wrong("the event is nested more deeply than its limit");
        }
        self.depth += 1;
        self.content(kind, logical)?;
        self.depth -= 1;
        self.close(index);
        Ok(())
    }

    fn content(&mut self, kind: &'w Type, logical: Logical) -> Walked {
        match kind {
            Type::Null => {}
            Type::Boolean => match self.take(1)? {
                [0 | 1] => {}
                _ => return self.wrong("a boolean is 0 or 1"),
            },
            Type::Int => {
                self.int()?;
            }
            Type::Long => {
                self.long()?;
            }
            Type::Float => drop(self.take(4)?),
            Type::Double => drop(self.take(8)?),
            Type::Fixed(size) => drop(self.take(*size)?),
            Type::Bytes => {
                let bytes = self.counted()?;
                let is_number = match logical {
                    Logical::Decimal { .. } => (1..=MAX_DECIMAL).contains(&bytes.len()),
                    Logical::BigDecimal => {
                        big_decimal(bytes).is_some_and(|(unscaled, _)| unscaled.len() <= MAX_DECIMAL)
                    }
                    _ => true,
                };
                if !is_number {
                    return self.wrong("a decimal has 1 to 400 bytes, and a scale of 100 at most");
                }
            }
            Type::String => self.text().map(drop)?,
            Type::Enum { symbols, .. } => {
                let number = self.int()?;
                if usize::try_from(number).ok().is_none_or(|number| number >= symbols.len()) {
                    return self.wrong("the enumeration has no symbol of this number");
                }
            }
            Type::Record(fields) => fields.iter().try_for_each(|field| self.value(field.slot))?,
            Type::Array(slot) => self.blocks(*slot, false)?,
            Type::Map(slot) => self.blocks(*slot, true)?,
            Type::Union(_) => return self.wrong("a union within a union"),
        }
        Ok(())
    }

    /// Blocks of items up to the empty one. A block may say how many bytes it has; then it must have so many.
    fn blocks(&mut self, slot: Slot, is_map: bool) -> Walked {
        let mut keys: HashSet<&'w [u8]> = HashSet::new();
        loop {
            let start = self.at;
            let count = self.long()?;
            if count == 0 {
                return Ok(());
            }
            let ends = if count < 0 { Some(self.long()?) } else { None };
            let ends = match ends.map(|size| usize::try_from(size).ok().and_then(|size| self.at.checked_add(size))) {
                Some(None) => return self.wrong("the size of a block is negative"),
                known => known.flatten(),
            };
            let block = self.push(start, slot, Part::Block)?;
            self.close(block);
            let mut left = count.unsigned_abs();
            // Every item costs a node, so that this ends however many are claimed.
            while left > 0 {
                if is_map {
                    let start = self.at;
                    let key = self.text()?;
                    if !keys.insert(key) {
                        return Err(WalkError { at: start, reason: "the map has this key twice" });
                    }
                    let key = self.push(start, slot, Part::Key)?;
                    self.close(key);
                }
                self.value(slot)?;
                left -= 1;
            }
            if ends.is_some_and(|end| end != self.at) {
                return self.wrong("the block does not have the size that it says");
            }
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
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        match rest.get(..len) {
            Some(taken) => {
                self.at += len;
                Ok(taken)
            }
            None => self.wrong("the event ends inside of a value"),
        }
    }

    fn long(&mut self) -> Walked<i64> {
        match varint::read_signed(self.bytes.get(self.at..).unwrap_or_default()) {
            Some((value, len)) => {
                self.at += len;
                Ok(value)
            }
            None => self.wrong("a number does not end, or has more than 64 bits"),
        }
    }

    fn int(&mut self) -> Walked<i32> {
        let start = self.at;
        let value = self.long()?;
        match i32::try_from(value) {
            Ok(value) if self.at - start <= 5 => Ok(value),
            _ => Err(WalkError { at: start, reason: "a number has more than 32 bits" }),
        }
    }

    fn counted(&mut self) -> Walked<&'w [u8]> {
        match usize::try_from(self.long()?) {
            Ok(len) => self.take(len),
            Err(_) => self.wrong("a length is negative"),
        }
    }

    fn text(&mut self) -> Walked<&'w [u8]> {
        let bytes = self.counted()?;
        if std::str::from_utf8(bytes).is_err() {
            return self.wrong("a text is not UTF-8");
        }
        Ok(bytes)
    }
}

/// Kinds whose values hold others.
pub(super) fn is_container(kind: Kind) -> bool {
    matches!(kind, Kind::Array | Kind::Object)
}
