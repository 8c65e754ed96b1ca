//! An event that was written with one schema, as an event of another: what a reader does that has both, done for a reader
//! that has only one.
//!
//! Source: the Avro specification 1.12.0, "Schema Resolution". Names match as there: their last part, or an alias of the
//! reader's. Where a value fits several branches of the reader's union, one of the same full name wins over one of the same
//! last part, and that over one that it could be promoted to, as in Java. Stricter than the specification: types of different meaning (milliseconds and microseconds,
//! decimals of different scale) do not match, for nothing would convert their numbers.

use super::schema::{Field, Logical, Named, Schema, Type};
use crate::tree::{Limits, Node, Part, Slot, Tree, Unresolved};
use crate::varint;

type Resolved<T = ()> = Result<T, Unresolved>;

impl Schema {
    /// Appends an event of `writer`, which was walked into `tree`, as an event of this schema. On an error, `out` is as it
    /// was.
    pub fn resolve(&self, writer: &Self, event: &[u8], tree: &Tree, out: &mut Vec<u8>) -> Resolved {
        let start = out.len();
        let resolving = Resolving { writer, reader: self, event, tree, most: start + Limits::EVENT.max_bytes };
        let done = resolving.value(0, 0, out);
        if done.is_err() {
            out.truncate(start);
        }
        done
    }
}

struct Resolving<'r> {
    writer: &'r Schema,
    reader: &'r Schema,
    event: &'r [u8],
    tree: &'r Tree,
    /// How long the output may become: defaults that are put into every item of a list add up.
    most: usize,
}

const MISSING: Unresolved = Unresolved("it has no such value");

impl<'r> Resolving<'r> {
    /// The value at `index`, for a position of the reader's of which `first` is the first branch.
    fn value(&self, index: u32, first: Slot, out: &mut Vec<u8>) -> Resolved {
        if out.len() > self.most {
            return Err(Unresolved("it would be larger than an event may be"));
        }
        let node = self.tree.node(index).ok_or(MISSING)?;
        let written = self.writer.position(node.slot).and_then(|at| self.writer.named(at.inner)).ok_or(MISSING)?;
        let slot = self.branch(written, first)?;
        let position = self.reader.position(slot).ok_or(MISSING)?;
        if let Some(number) = position.branch() {
            varint::write_signed(number.into(), out);
        }
        let read = self.reader.named(position.inner).ok_or(MISSING)?;
        let bytes = self.event.get(node.range()).ok_or(MISSING)?;
        self.content(index, (written, self.writer.inner(node.slot, bytes)), read, out)
    }

    /// The reader's branch for a value of that type.
    fn branch(&self, written: &Named, first: Slot) -> Resolved<Slot> {
        let fits = |how: fn(&Self, &Named, &Named) -> bool| {
            self.reader.branches(first).find(|slot| {
                let read = self.reader.position(*slot).and_then(|at| self.reader.named(at.inner));
                read.is_some_and(|read| how(self, written, read))
            })
        };
        let is_itself = |this: &Self, from: &Named, to: &Named| from.name == to.name && this.is_same(from, to);
        let found = fits(is_itself).or_else(|| fits(Self::is_same)).or_else(|| fits(Self::promotes));
        found.ok_or(Unresolved("a value is of another type"))
    }

    /// Are these one type by its kind and name? What is inside is seen when it is reached.
    fn is_same(&self, written: &Named, read: &Named) -> bool {
        let has_name = || match (&written.name, &read.name) {
            (Some(from), Some(to)) => last(from) == last(to) || read.aliases.contains(from),
            _ => false,
        };
        let means_it = written.logical == read.logical
            || matches!((written.logical, read.logical), (_, Logical::None) | (Logical::None, _));
        match (&written.kind, &read.kind) {
            (Type::Record(_), Type::Record(_)) | (Type::Enum { .. }, Type::Enum { .. }) => has_name(),
            (Type::Fixed(from), Type::Fixed(to)) => from == to && has_name() && means_it,
            (Type::Array(_), Type::Array(_)) | (Type::Map(_), Type::Map(_)) => true,
            (Type::Union(_), _) | (_, Type::Union(_)) => false,
            (from, to) => from == to && means_it,
        }
    }

    fn promotes(&self, written: &Named, read: &Named) -> bool {
        use Type::{Bytes, Double, Float, Int, Long, String};
        let is_plain = written.logical == Logical::None && read.logical == Logical::None;
        is_plain
            && matches!(
                (&written.kind, &read.kind),
                (Int, Long | Float | Double)
                    | (Long, Float | Double)
                    | (Float, Double)
                    | (String, Bytes)
                    | (Bytes, String)
            )
    }

    /// A value without the number of its branch.
    fn content(&self, index: u32, written: (&Named, &[u8]), read: &Named, out: &mut Vec<u8>) -> Resolved {
        let (written, bytes) = written;
        match (&written.kind, &read.kind) {
            (Type::Record(from), Type::Record(to)) => self.record(index, from, to, out)?,
            (Type::Array(_), Type::Array(slot)) => self.items(index, *slot, false, out)?,
            (Type::Map(_), Type::Map(slot)) => self.items(index, *slot, true, out)?,
            (Type::Enum { symbols: from, .. }, Type::Enum { symbols: to, default }) => {
                let number = varint::read_signed(bytes).and_then(|(number, _)| usize::try_from(number).ok());
                let symbol = number.and_then(|number| from.get(number)).ok_or(MISSING)?;
                let known = to.iter().position(|known| known == symbol).map(|known| known as i64);
                let number = known.or(default.map(i64::from));
                varint::write_signed(number.ok_or(Unresolved("a symbol is not known there"))?, out);
            }
            (Type::Int | Type::Long, Type::Float) => out.extend_from_slice(&(long(bytes)? as f32).to_le_bytes()),
            (Type::Int | Type::Long, Type::Double) => out.extend_from_slice(&(long(bytes)? as f64).to_le_bytes()),
            (Type::Float, Type::Double) => {
                let bytes = bytes.first_chunk().ok_or(MISSING)?;
                out.extend_from_slice(&f64::from(f32::from_le_bytes(*bytes)).to_le_bytes());
            }
            (Type::Bytes, Type::String) if std::str::from_utf8(super::json::counted(bytes)).is_err() => {
                return Err(Unresolved("bytes that are to be text are not UTF-8"));
            }
            // Everything else that matches is written alike.
            _ => out.extend_from_slice(bytes),
        }
        Ok(())
    }

    /// The reader's fields in the reader's order.
    fn record(&self, index: u32, from: &'r [Field], to: &[Field], out: &mut Vec<u8>) -> Resolved {
        let values: Vec<u32> = self.tree.below(index).map(|(index, _)| index).collect();
        for field in to {
            let by = |name: &str| from.iter().position(|other| *other.name == *name);
            // A name wins over an alias.
            let found = by(&field.name).or_else(|| field.aliases.iter().find_map(|alias| by(alias)));
            match (found.and_then(|found| values.get(found)), &field.default_bytes) {
                (Some(value), _) => self.value(*value, field.slot, out)?,
                (None, Some(default)) => out.extend_from_slice(default),
                (None, None) => return Err(Unresolved("a field is missing that has no default")),
            }
        }
        Ok(())
    }

    /// The items of an array, or the entries of a map, in one block.
    fn items(&self, index: u32, slot: Slot, is_map: bool, out: &mut Vec<u8>) -> Resolved {
        let is_value = |node: &Node| matches!(node.part, Part::Value(_));
        let count = self.tree.below(index).filter(|(_, node)| is_value(node)).count();
        if count > 0 {
            varint::write_signed(count as i64, out);
        }
        for (index, node) in self.tree.below(index) {
            match node.part {
                Part::Key if is_map => out.extend_from_slice(self.event.get(node.range()).ok_or(MISSING)?),
                Part::Value(_) => self.value(index, slot, out)?,
                _ => {}
            }
        }
        out.push(0);
        Ok(())
    }
}

fn long(bytes: &[u8]) -> Resolved<i64> {
    varint::read_signed(bytes).map(|(value, _)| value).ok_or(MISSING)
}

/// A name without its namespace.
fn last(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(_, last)| last)
}
