//! Events in a binary encoding: located and masked where they lie, without becoming JSON.
//!
//! A [`Codec`] is the schema of the events' encoding. What it tells of an event's bytes (a tree of values) is all that
//! locating needs; what is put in the place of a value that may not be shown is what the encoding has for nothing, or a
//! value of the same type, so that what a view shows is an event of the same schema, which every reader of the original
//! understands.

mod avro;
mod protobuf;
mod splice;

use tradelane_encodings::avro::Schema as AvroSchema;
use tradelane_encodings::protobuf::Schema as ProtobufSchema;
use tradelane_encodings::{Gone, Limits, Slot, TooLong, Tree, Unresolved, WalkError};
use tradelane_model::ViewSpec;
use tradelane_model::pattern::Pattern;
use tradelane_model::shape::Shape;
use tradelane_tape::Tape;

use crate::error::{LocateError, ViewError};
use crate::format::{Encoding, ValueKind};
use crate::key::DataKey;
use crate::locate::Located;
use crate::rules::Rules;
use crate::subject::SubjectTagger;
use crate::view::{Change, ViewKeys};

pub(crate) use splice::Binary;

/// What a mark stands at, as its hole's `prefix` has it.
const ARRAY_BLOCK: u16 = 0;
const MAP_BLOCK: u16 = 1;
const MAP_ENTRY: u16 = 2;
const LENGTH: u16 = 3;
const END: u16 = 4;

/// What holding a contract against the schema of its events came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreement {
    /// Whatever the schema allows, the contract's types and required fields allow as well: events need not be held
    /// against them one by one.
    pub is_implied: bool,
}

/// The schema of a binary encoding, compiled.
#[derive(Debug, Clone)]
pub struct Codec(Schema);

#[derive(Debug, Clone)]
enum Schema {
    Avro(AvroSchema),
    Protobuf(ProtobufSchema),
}

impl Codec {
    /// For events in Avro.
    pub fn avro(schema: AvroSchema) -> Self {
        Self(Schema::Avro(schema))
    }

    /// For events in Protobuf.
    pub fn protobuf(schema: ProtobufSchema) -> Self {
        Self(Schema::Protobuf(schema))
    }

    /// The encoding's number in stored events.
    pub fn encoding(&self) -> Encoding {
        match &self.0 {
            Schema::Avro(_) => Encoding::Avro,
            Schema::Protobuf(_) => Encoding::Protobuf,
        }
    }

    /// Checks that the bytes are one event, and notes its values.
    pub fn walk(&self, event: &[u8], limits: &Limits, tree: &mut Tree) -> Result<(), WalkError> {
        match &self.0 {
            Schema::Avro(schema) => schema.walk(event, limits, tree),
            Schema::Protobuf(schema) => schema.walk(event, limits, tree),
        }
    }

    /// Appends an event that was walked as JSON, as quality rules read it: fields that have a default have it.
    pub fn write_json(&self, event: &[u8], tree: &Tree, out: &mut Vec<u8>) -> Result<(), TooLong> {
        match &self.0 {
            Schema::Avro(schema) => schema.write_json(event, tree, &[], out),
            Schema::Protobuf(schema) => schema.write_json(event, tree, true, out),
        }
    }

    /// Appends an event of which something was left out as JSON. `defaults`: fields that have a default have it.
    pub(crate) fn write_json_without(
        &self,
        event: &[u8],
        tree: &Tree,
        gone: &[Gone],
        defaults: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), TooLong> {
        match &self.0 {
            Schema::Avro(schema) => schema.write_json(event, tree, gone, out),
            Schema::Protobuf(schema) => schema.write_json(event, tree, defaults, out),
        }
    }

    /// Appends an event that was written with the schema of `writer` as an event of this one. On an error, `out` is as it
    /// was; otherwise `tree` is that of what was appended.
    pub fn resolve(&self, writer: &Self, event: &[u8], tree: &mut Tree, out: &mut Vec<u8>) -> Result<(), Unresolved> {
        const OTHER: Unresolved = Unresolved("it is not an event of the schema that it names");
        let start = out.len();
        writer.walk(event, &Limits::EVENT, tree).map_err(|_| OTHER)?;
        match (&self.0, &writer.0) {
            (Schema::Avro(reader), Schema::Avro(writer)) => reader.resolve(writer, event, tree, out),
            (Schema::Protobuf(reader), Schema::Protobuf(writer)) => reader.resolve(writer, event, tree, out),
            _ => Err(OTHER),
        }?;
        // Whatever the two schemas are, what leaves is an event of this one.
        let walked = self.walk(out.get(start..).unwrap_or_default(), &Limits::EVENT, tree);
        walked.map_err(|_| {
            out.truncate(start);
            Unresolved("what came of it is no event of the other schema")
        })
    }

    /// Holds a contract's shape against the schema; on disagreement, the place and what is wrong there.
    ///
    /// A name that is misspelled in one of them would leave a field unclassified: hidden from everybody, which is safe and
    /// of no use.
    pub fn agree(&self, shape: &Shape) -> Result<Agreement, (Pattern, String)> {
        match &self.0 {
            Schema::Avro(schema) => avro::agree(schema, shape),
            Schema::Protobuf(schema) => protobuf::agree(schema, shape),
        }
    }

    /// The Avro schema of events of this contract as a view shows them; none of other encodings.
    pub fn view_schema(&self, shape: &Shape, spec: &ViewSpec) -> Result<Option<String>, ViewError> {
        match &self.0 {
            Schema::Avro(schema) => avro::view_schema(schema, shape, spec).map(Some),
            Schema::Protobuf(_) => Ok(None),
        }
    }

    /// The same without remarks.
    pub fn plain_schema(&self) -> Option<String> {
        match &self.0 {
            Schema::Avro(schema) => Some(schema.for_readers(|_| None)),
            Schema::Protobuf(_) => None,
        }
    }

    fn absent(&self, slot: Slot) -> &[u8] {
        match &self.0 {
            Schema::Avro(schema) => schema.position(slot).map(|position| position.absent()).unwrap_or_default(),
            Schema::Protobuf(schema) => schema.absent(slot),
        }
    }

    fn redacted(&self, slot: Slot) -> &[u8] {
        match &self.0 {
            Schema::Avro(schema) => schema.position(slot).map(|position| position.redacted()).unwrap_or_default(),
            Schema::Protobuf(schema) => schema.redacted(slot),
        }
    }

    /// Can a value of this kind be shown as being there, and no more?
    fn has_redacted(&self, kind: ValueKind) -> bool {
        match (&self.0, kind) {
            (_, ValueKind::Member | ValueKind::Mark) => false,
            // Numbers that are written together; how many they are is not known where they are sealed.
            (Schema::Protobuf(_), ValueKind::Array) => false,
            _ => true,
        }
    }

    /// The position that text for people leaves out where a value at `slot` is gone.
    fn gone(&self, slot: Slot) -> Slot {
        match &self.0 {
            Schema::Avro(schema) => schema.first(slot),
            Schema::Protobuf(_) => slot,
        }
    }

    /// Writes what `change` makes of a value, as it stands in its hole, into the empty `out`. None: nothing.
    #[allow(clippy::too_many_arguments, reason = "what mask::change takes, and where the value stood")]
    pub(crate) fn change(
        &self,
        change: Change,
        slot: Slot,
        raw: &[u8],
        keys: &ViewKeys,
        data_key: Option<&DataKey>,
        tape: &mut Tape,
        out: &mut Vec<u8>,
    ) -> Option<()> {
        match &self.0 {
            Schema::Avro(schema) => avro::change(schema, change, slot, raw, keys, data_key, tape, out),
            Schema::Protobuf(schema) => protobuf::change(schema, change, slot, raw, keys, data_key, tape, out),
        }
    }
}

impl Rules {
    /// Finds the classified fields of an event that was walked into `tree`, and the people they are about.
    pub fn locate_binary<'d>(
        &self,
        codec: &Codec,
        event: &'d [u8],
        tree: &Tree,
        tagger: &SubjectTagger,
    ) -> Result<Located<'d>, LocateError> {
        self.locate_binary_with(codec, event, tree, Some(tagger))
    }

    /// The same, with every value left in the skeleton: for an event that is masked at once.
    pub(crate) fn locate_binary_clear<'d>(
        &self,
        codec: &Codec,
        event: &'d [u8],
        tree: &Tree,
    ) -> Result<Located<'d>, LocateError> {
        self.locate_binary_with(codec, event, tree, None)
    }

    fn locate_binary_with<'d>(
        &self,
        codec: &Codec,
        event: &'d [u8],
        tree: &Tree,
        tagger: Option<&SubjectTagger>,
    ) -> Result<Located<'d>, LocateError> {
        let (spots, plans) = match &codec.0 {
            Schema::Avro(schema) => avro::locate(self, schema, event, tree, tagger)?,
            Schema::Protobuf(schema) => protobuf::locate(self, schema, event, tree, tagger)?,
        };
        Ok(Located { encoding: codec.encoding(), bytes: event, shape: self.id(), spots, plans })
    }
}

/// What a scalar of an identity is as text: JSON's text without its quotes.
fn identity(json: Vec<u8>) -> Option<String> {
    let text = String::from_utf8(json).ok()?;
    match text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        Some(inside) => Some(tradelane_tape::text::unescape(inside).into_owned()),
        None => Some(text),
    }
}
