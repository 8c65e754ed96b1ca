//! Where the values of a binary event lie: one flat list, parents before children, in the order of the bytes.

use std::ops::Range;

use tradelane_tape::Kind;

/// A position of a schema, with the branch that a union took there: what tells two values of one event apart by their
/// type and name.
pub type Slot = u16;

/// What an event may be at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Its bytes.
    pub max_bytes: usize,
    /// Values within values.
    pub max_depth: usize,
    /// Values, keys and blocks together. It bounds what values without bytes can cost.
    pub max_nodes: u32,
}

impl Limits {
    /// For one event, as `tradelane_tape::Limits::EVENT` has them.
    pub const EVENT: Self = Self {
        max_bytes: tradelane_tape::Limits::EVENT.max_bytes,
        max_depth: 64,
        max_nodes: tradelane_tape::Limits::EVENT.max_nodes,
    };
}

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// A value, by the JSON kind that it is shown as.
    Value(Kind),
    /// What stands in front of the items of a block of an array or map.
    Block,
    /// The key of an entry of an Avro map; its value is the next node.
    Key,
    /// The length of a Protobuf message, in front of its fields.
    Length,
}

/// A piece of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node {
    /// Its first byte; for a value of a union, that of its branch's number.
    pub start: u32,
    /// The byte after its last.
    pub end: u32,
    /// The index of the node after it and all that is in it.
    pub next: u32,
    /// The position of the schema.
    pub slot: Slot,
    /// What it is.
    pub part: Part,
}

impl Node {
    /// Its bytes in the event.
    pub fn range(&self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// A value that stands for one that was left out, by its place and position: a text for people leaves it out as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Gone {
    /// Its first byte.
    pub start: u32,
    /// The byte after its last.
    pub end: u32,
    /// The position of the schema, of its first branch.
    pub slot: Slot,
}

/// The text of an event is longer than any reader would take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the event is too long as text")]
pub struct TooLong;

/// The pieces of one event. Kept from event to event by whoever walks many.
#[derive(Debug, Default)]
pub struct Tree {
    pub(crate) nodes: Vec<Node>,
}

impl Tree {
    /// One without nodes.
    pub fn new() -> Self {
        Self::default()
    }

    /// The node at an index; the event itself is at 0.
    #[inline]
    pub fn node(&self, index: u32) -> Option<Node> {
        self.nodes.get(index as usize).copied()
    }

    /// The indexes of the nodes right below one, in the order of the bytes.
    pub fn below(&self, index: u32) -> impl Iterator<Item = (u32, Node)> + '_ {
        let end = self.node(index).map_or(0, |node| node.next);
        let mut at = index + 1;
        std::iter::from_fn(move || {
            let node = (at < end).then(|| self.node(at)).flatten()?;
            let here = at;
            // Never back: a list of our own making always goes on.
            at = node.next.max(at + 1);
            Some((here, node))
        })
    }
}

/// Why bytes are not an event of a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("byte {at}: {reason}")]
pub struct WalkError {
    /// Where.
    pub at: usize,
    /// What is wrong there; nothing of the value.
    pub reason: &'static str,
}

/// Why an event cannot be brought into the form of another schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the event does not fit another version of its schema: {0}")]
pub struct Unresolved(pub &'static str);
