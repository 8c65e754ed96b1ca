//! An event that was written with one schema, as an event of another.
//!
//! Protobuf itself would let a reader take what it knows by its numbers, whatever it once meant. Here a field that the other
//! schema does not have is left out, one that has the same number, name and kind stays (a kind may become a wider one that is
//! written alike), and an event with any other is not brought into that form at all.
//!
//! Source: Protocol Buffers, "Updating A Message Type".

use super::schema::{COUNTED, END_GROUP, Field, Kind, Label, Schema, tag};
use super::walk::is_repeated;
use crate::tree::{Node, Part, Tree, Unresolved};
use crate::varint;

type Resolved<T = ()> = Result<T, Unresolved>;

impl Schema {
    /// Appends an event of `writer`, which was walked into `tree`, as an event of this schema. On an error, `out` is as it
    /// was.
    pub fn resolve(&self, writer: &Self, event: &[u8], tree: &Tree, out: &mut Vec<u8>) -> Resolved {
        let start = out.len();
        let done = Resolving { writer, reader: self, event, tree }.message(0, 0, out);
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
}

impl Resolving<'_> {
    /// The fields below `index`, as fields of the reader's message.
    fn message(&self, index: u32, message: u32, out: &mut Vec<u8>) -> Resolved {
        for (index, node) in self.tree.below(index) {
            if !matches!(node.part, Part::Value(_)) {
                continue;
            }
            // What the writer's schema does not have, this one may not know of either.
            let Some(written) = self.writer.field(node.slot) else { continue };
            let Some(slot) = self.reader.numbered(message, written.number) else { continue };
            let read = self.reader.field(slot).ok_or(Unresolved("it has no such field"))?;
            self.field(index, node, written, read, out)?;
        }
        let all = self.reader.messages().get(message as usize).map(|message| &*message.fields).unwrap_or_default();
        let mut required = all.iter().filter(|field| field.label == Label::Required);
        let is_there = |number: u32| {
            let mut below = self.tree.below(index);
            below.any(|(_, node)| self.writer.field(node.slot).is_some_and(|field| field.number == number))
        };
        if required.all(|field| is_there(field.number)) {
            Ok(())
        } else {
            Err(Unresolved("a required field is missing"))
        }
    }

    fn field(&self, index: u32, node: Node, written: &Field, read: &Field, out: &mut Vec<u8>) -> Resolved {
        if written.name != read.name || is_repeated(written) != is_repeated(read) {
            return Err(Unresolved("a number stands for another field"));
        }
        let bytes = self.event.get(node.range()).unwrap_or_default();
        let is_time = |schema: &Schema, message: u32| schema.is_timestamp(message);
        match (&written.kind, &read.kind) {
            (Kind::Message(from), Kind::Message(to)) if is_time(self.writer, *from) || is_time(self.reader, *to) => {
                if is_time(self.writer, *from) != is_time(self.reader, *to) {
                    return Err(Unresolved("a field is of another kind"));
                }
                out.extend_from_slice(bytes);
            }
            (Kind::Message(_), Kind::Message(to)) => {
                varint::write(tag(read.number, COUNTED), out);
                let mut inner = Vec::with_capacity(bytes.len());
                self.message(index, *to, &mut inner)?;
                varint::write(inner.len() as u64, out);
                out.extend_from_slice(&inner);
            }
            (Kind::Group(_), Kind::Group(to)) => {
                let begin = varint::read(bytes).map_or(0, |(_, len)| len);
                out.extend_from_slice(bytes.get(..begin).unwrap_or_default());
                self.message(index, *to, out)?;
                varint::write(tag(read.number, END_GROUP), out);
            }
            (from, to) if is_written_alike(from, to) => out.extend_from_slice(bytes),
            _ => return Err(Unresolved("a field is of another kind")),
        }
        Ok(())
    }
}

/// Is every value of a kind written as the same value of the other? Whether bytes are UTF-8 is seen when the event is
/// walked by its reader's schema.
fn is_written_alike(from: &Kind, to: &Kind) -> bool {
    use Kind::{Bool, Bytes, Enum, Group, Int32, Int64, Message, Sint32, Sint64, String, Uint32, Uint64};
    match (from, to) {
        (Enum(_), Enum(_)) => true,
        (Message(_) | Group(_), _) | (_, Message(_) | Group(_)) => false,
        (Int32, Int64) | (Uint32, Uint64 | Int64) | (Sint32, Sint64) | (Bool, Int32 | Int64 | Uint32 | Uint64) => true,
        (String, Bytes) | (Bytes, String) => true,
        (from, to) => from == to,
    }
}
