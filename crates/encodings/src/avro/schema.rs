//! A schema as it was understood: types in a list, positions where values of them stand.

use serde_json::Value;
use tradelane_tape::Kind;

use super::{literal, parse};
use crate::tree::{Node, Part, Slot, Tree};

/// The most types that a schema may have, each use of a primitive counted.
pub(super) const MAX_TYPES: usize = 8_192;
/// The most positions, each branch of a union counted.
pub(super) const MAX_SLOTS: usize = 32_768;
/// The largest `fixed`, and the largest value that stands where a field was left out.
pub(super) const MAX_LITERAL: usize = 16 << 10;

/// Why a text is no schema that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {reason}")]
pub struct SchemaError {
    /// The place, as names from the outermost type to the field: `acme.Order.lines.sku`.
    pub at: String,
    /// What is wrong there.
    pub reason: String,
}

/// A type that means more than its bytes do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Logical {
    /// None that is known and fits.
    None,
    /// A decimal number with so many digits after the point, as two's complement, big endian.
    Decimal {
        /// All digits.
        precision: u32,
        /// Those after the point.
        scale: u32,
    },
    /// A decimal number that brings its own scale.
    BigDecimal,
    /// A UUID as text or in 16 bytes.
    Uuid,
    /// Days since 1970-01-01.
    Date,
    /// Milli- or microseconds since midnight; the number is how many there are in a second.
    Time(i64),
    /// The same since 1970-01-01T00:00:00Z.
    Timestamp(i64),
    /// The same in whatever zone, which is not said.
    LocalTimestamp(i64),
    /// Months, days and milliseconds.
    Duration,
}

/// What a value is made of.
#[derive(Debug, Clone, PartialEq)]
pub enum Type {
    /// Nothing.
    Null,
    /// One byte, 0 or 1.
    Boolean,
    /// 32 bits, zigzag.
    Int,
    /// 64 bits, zigzag.
    Long,
    /// Four bytes.
    Float,
    /// Eight bytes.
    Double,
    /// A length and so many bytes.
    Bytes,
    /// A length and so many bytes of UTF-8.
    String,
    /// So many bytes.
    Fixed(usize),
    /// The number of one of these symbols.
    Enum {
        /// By number.
        symbols: Vec<Box<str>>,
        /// What a reader takes for a symbol that it does not know.
        default: Option<u32>,
    },
    /// Blocks of items at this position.
    Array(Slot),
    /// Blocks of keys and values at this position.
    Map(Slot),
    /// Fields, one after the other.
    Record(Vec<Field>),
    /// The number of a branch and a value of it.
    Union(Vec<u32>),
}

/// A field of a record.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// Its name.
    pub name: Box<str>,
    /// Its position: the first of as many as its union has branches.
    pub slot: Slot,
    /// What readers take where a writer did not have the field, as JSON.
    pub default: Option<Value>,
    /// The same as bytes of the whole position.
    pub(super) default_bytes: Option<Box<[u8]>>,
    /// Names that the field goes by for readers as well.
    pub(super) aliases: Vec<Box<str>>,
}

/// A type with its name, if it has one, and its meaning.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Named {
    pub(super) kind: Type,
    pub(super) logical: Logical,
    /// Of records, enumerations and fixed types, with its namespace.
    pub(super) name: Option<Box<str>>,
    /// Names, with their namespaces, that it goes by for readers as well.
    pub(super) aliases: Vec<Box<str>>,
}

/// A position at which values stand, or one branch of the union there.
#[derive(Debug, Clone)]
pub struct Position {
    /// The type of the position itself; a union's own.
    pub(super) whole: u32,
    /// The type of the branch; without a union, the same.
    pub(super) inner: u32,
    /// The number of the branch.
    pub(super) branch: Option<u32>,
    /// What stands for a value that is left out, as bytes of the whole position.
    pub(super) absent: Box<[u8]>,
    /// What stands for a value of this branch of which nothing is shown.
    pub(super) redacted: Box<[u8]>,
}

impl Position {
    /// What stands for a value that is left out: null if the union there has it, or else the field's default, or else the
    /// least value of the type. Bytes of the whole position.
    pub fn absent(&self) -> &[u8] {
        &self.absent
    }

    /// What stands for a value of which nothing is shown but that it is there: a value of the same branch.
    pub fn redacted(&self) -> &[u8] {
        &self.redacted
    }

    /// The number of the union's branch that the position stands for; none where there is no union.
    pub fn branch(&self) -> Option<u32> {
        self.branch
    }
}

/// An Avro schema.
#[derive(Debug, Clone)]
pub struct Schema {
    pub(super) types: Vec<Named>,
    pub(super) slots: Vec<Position>,
}

impl Schema {
    /// Reads a schema that refers to nothing outside of itself.
    pub fn parse(text: &str) -> Result<Self, SchemaError> {
        Self::parse_with(text, &[])
    }

    /// Reads a schema that may name what the `known` schemas define, each of which may name what those before it do.
    pub fn parse_with(text: &str, known: &[&str]) -> Result<Self, SchemaError> {
        let mut schema = parse::parse(text, known)?;
        literal::fill(&mut schema)?;
        Ok(schema)
    }

    /// How many positions there are. They are numbered from 0, the event's own.
    pub fn slot_count(&self) -> usize {
        self.slots.len()
    }

    /// A position.
    #[inline]
    pub fn position(&self, slot: Slot) -> Option<&Position> {
        self.slots.get(usize::from(slot))
    }

    pub(super) fn named(&self, index: u32) -> Option<&Named> {
        self.types.get(index as usize)
    }

    /// The type and meaning of values at a position (of the branch that it stands for).
    pub fn type_at(&self, slot: Slot) -> Option<(&Type, Logical)> {
        let named = self.named(self.position(slot)?.inner)?;
        Some((&named.kind, named.logical))
    }

    /// The positions of all branches where `slot` is the first of them; itself alone without a union.
    pub fn branches(&self, slot: Slot) -> std::ops::Range<Slot> {
        let whole = self.position(slot).and_then(|position| self.named(position.whole));
        let count = match whole.map(|named| &named.kind) {
            Some(Type::Union(branches)) => branches.len() as Slot,
            _ => 1,
        };
        slot..slot.saturating_add(count)
    }

    /// The position of the first branch where `slot` is one of them.
    pub fn first(&self, slot: Slot) -> Slot {
        let branch = self.position(slot).and_then(Position::branch).unwrap_or(0);
        slot.saturating_sub(branch as Slot)
    }

    /// The index of a member of a record or map by its name.
    pub fn member(&self, bytes: &[u8], tree: &Tree, index: u32, name: &str) -> Option<u32> {
        match self.type_at(tree.node(index)?.slot)?.0 {
            Type::Record(fields) => {
                let at = fields.iter().position(|field| &*field.name == name)?;
                tree.below(index).nth(at).map(|(index, _)| index)
            }
            Type::Map(_) => {
                let is_key = |node: &Node| node.part == Part::Key && self.key(bytes, node) == name;
                tree.below(index).find(|(_, node)| is_key(node)).map(|(key, _)| key + 1)
            }
            _ => None,
        }
    }

    /// The text of a map's key.
    pub fn key<'b>(&self, bytes: &'b [u8], node: &Node) -> &'b str {
        let bytes = bytes.get(node.range()).unwrap_or_default();
        std::str::from_utf8(super::json::counted(bytes)).unwrap_or_default()
    }

    /// The JSON kind that values at a position are shown as.
    pub fn kind_at(&self, slot: Slot) -> Kind {
        self.type_at(slot).map_or(Kind::Null, |(kind, logical)| kind_of(kind, logical))
    }

    /// Where the value itself begins in the bytes of a position: after the number of the union's branch.
    pub fn inner<'b>(&self, slot: Slot, bytes: &'b [u8]) -> &'b [u8] {
        match self.position(slot) {
            Some(Position { branch: Some(_), .. }) => {
                let skip = crate::varint::read(bytes).map_or(bytes.len(), |(_, len)| len);
                bytes.get(skip..).unwrap_or_default()
            }
            _ => bytes,
        }
    }
}

/// What a value is in JSON: text for what people read as text, a number for what they calculate with.
pub(super) fn kind_of(kind: &Type, logical: Logical) -> Kind {
    match (kind, logical) {
        (_, Logical::Decimal { .. } | Logical::BigDecimal) => Kind::Number,
        (Type::Null, _) => Kind::Null,
        (Type::Boolean, _) => Kind::Bool,
        (Type::Int | Type::Long, Logical::None) | (Type::Float | Type::Double, _) => Kind::Number,
        (Type::Array(_), _) => Kind::Array,
        (Type::Map(_) | Type::Record(_), _) => Kind::Object,
        _ => Kind::String,
    }
}
