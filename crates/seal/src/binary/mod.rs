//! Events in a binary encoding: located and masked where they lie, without becoming JSON.
//!
//! A [`Codec`] is the schema of the events' encoding. What it tells of an event's bytes (a tree of values) is all that
//! locating needs; what is put in the place of a value that may not be shown is a value of the same type, so that what a
//! view shows is an event of the same schema, which every reader of the original understands.

mod agree;
mod locate;
mod mask;
mod readers;
mod splice;

use tradelane_encodings::avro::Schema;
use tradelane_encodings::{Gone, Limits, TooLong, Tree, WalkError};
use tradelane_model::contract::ContractError;
use tradelane_model::native::NativeSchema;
use tradelane_tape::Kind;

use crate::format::Encoding;

pub use agree::Agreement;
pub(crate) use splice::Binary;

/// The schema of a binary encoding, compiled.
#[derive(Debug, Clone)]
pub struct Codec {
    schema: Schema,
}

impl Codec {
    /// Compiles the schema that a contract carries.
    pub fn compile(native: &NativeSchema) -> Result<Self, ContractError> {
        let wrong = |place: &str, reason: String| ContractError { place: place.to_owned(), reason };
        match native {
            NativeSchema::Avro { text } => {
                let schema = Schema::parse(text).map_err(|error| wrong("avroSchema", error.to_string()))?;
                Ok(Self { schema })
            }
            NativeSchema::Protobuf { .. } => {
                Err(wrong("format", "events in Protobuf are not stored by this release".to_owned()))
            }
        }
    }

    /// The encoding's number in stored events.
    pub fn encoding(&self) -> Encoding {
        Encoding::Avro
    }

    /// Checks that the bytes are one event, and notes its values.
    pub fn walk(&self, event: &[u8], limits: &Limits, tree: &mut Tree) -> Result<(), WalkError> {
        self.schema.walk(event, limits, tree)
    }

    /// Appends an event that was walked as JSON, as quality rules and people read it.
    pub fn write_json(&self, event: &[u8], tree: &Tree, out: &mut Vec<u8>) -> Result<(), TooLong> {
        self.schema.write_json(event, tree, &[], out)
    }

    /// A form of the schema that is equal where events have equal bytes and meaning.
    pub fn canonical(&self) -> String {
        self.schema.canonical()
    }

    pub(crate) fn write_json_without(
        &self,
        event: &[u8],
        tree: &Tree,
        gone: &[Gone],
        out: &mut Vec<u8>,
    ) -> Result<(), TooLong> {
        self.schema.write_json(event, tree, gone, out)
    }

    /// The text of an identity: text decoded, a number as JSON writes it. None: it is neither.
    fn identity(&self, event: &[u8], tree: &Tree, index: u32) -> Option<String> {
        let node = tree.node(index)?;
        if !matches!(self.schema.kind_at(node.slot), Kind::String | Kind::Number) {
            return None;
        }
        let mut text = Vec::new();
        self.schema.write_scalar(node.slot, event.get(node.range())?, &mut text);
        let text = String::from_utf8(text).ok()?;
        let inside = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        Some(inside.map_or_else(|| text.clone(), |inside| tradelane_tape::text::unescape(inside).into_owned()))
    }
}
