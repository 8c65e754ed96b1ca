//! Schemas as a registry sees them: read and capped, in canonical form, with what they refer to, held against earlier
//! versions; and the prefix by which a record names its schema.
//!
//! Pure. It does not know who registers, under which subject, or whether a JSON Schema is valid in its dialect (that is
//! `tradelane-schema`'s to say). Nothing is fetched: a reference leads into the schema or to one that is handed in.

mod avro;
mod difference;
mod json;
mod protobuf;
mod text;
pub mod wire;

use tradelane_model::registry::SchemaKind;

pub use avro::AvroSchema;
pub use difference::Difference;
pub use json::JsonSchema;
pub use protobuf::{ProtobufSchema, in_one_file};
pub use text::Reference;

/// The pairs of schemas or types that may be looked at in one check, however many versions it looks back.
pub const STEPS: usize = 500_000;

/// Why a schema cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaProblem {
    /// Its text is no JSON that can be read.
    #[error("the schema is not JSON (line {line}, column {column})")]
    Syntax {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// It is neither an object nor true or false.
    #[error("a JSON Schema is an object, or true or false")]
    Kind,
    /// It is JSON and no Avro schema.
    #[error("an Avro schema is the name of a type, a list of types, or an object with a `type`")]
    NotAvro,
    /// A part of it is not as its language demands.
    #[error("`{place}` {reason}")]
    Invalid {
        /// The name of the part.
        place: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The compiler of Protobuf does not take it.
    #[error("the Protobuf schema cannot be compiled: {0}")]
    NotCompiled(String),
    /// It is larger than is taken.
    #[error("the schema has more than {0}")]
    TooLarge(&'static str),
    /// A reference leads nowhere.
    #[error("the schema refers to something that is neither in it nor among its references")]
    Dangling,
    /// Two schemas of different languages.
    #[error("the schemas are not written in the same language")]
    Mixed,
    /// Comparing takes more work than is spent on it.
    #[error("the schemas are too entangled to be compared")]
    TooComplex,
}

/// A schema with the schemas that it refers to.
#[derive(Debug, Clone)]
pub enum Schema {
    /// JSON Schema.
    Json(JsonSchema),
    /// Avro.
    Avro(AvroSchema),
    /// Protobuf.
    Protobuf(ProtobufSchema),
}

impl Schema {
    /// Reads a schema and the schemas that it refers to, directly or through others; each of those after what it refers
    /// to itself.
    ///
    /// # Errors
    /// [`SchemaProblem`] if one of them is no schema of that kind, or if they are too large or too many.
    pub fn parse(kind: SchemaKind, text: &str, references: &[Reference]) -> Result<Self, SchemaProblem> {
        Ok(match kind {
            SchemaKind::Json => Self::Json(JsonSchema::parse(text, references)?),
            SchemaKind::Avro => Self::Avro(AvroSchema::parse(text, references)?),
            SchemaKind::Protobuf => Self::Protobuf(ProtobufSchema::parse(text, references)?),
        })
    }
}

/// The changes from `original` to `update`. The update takes all that the original takes if each of them is compatible.
/// Of Avro only what is not compatible is told. `steps` is how many pairs may still be looked at, at first [`STEPS`].
///
/// # Errors
/// [`SchemaProblem`] if a reference leads nowhere, the schemas are of different kinds, or comparing takes more work than is
/// spent on it.
pub fn compare(original: &Schema, update: &Schema, steps: &mut usize) -> Result<Vec<Difference>, SchemaProblem> {
    match (original, update) {
        (Schema::Json(original), Schema::Json(update)) => json::compare(original, update, steps),
        (Schema::Avro(original), Schema::Avro(update)) => avro::compare(original, update, steps),
        (Schema::Protobuf(original), Schema::Protobuf(update)) => protobuf::compare(original, update, steps),
        _ => Err(SchemaProblem::Mixed),
    }
}

/// The canonical text of a schema. JSON Schema and Avro: no blanks between tokens, members in their order; `normalize`: in
/// one order. Protobuf: as it is compiled, without comments, whether it came as text or as a base64 descriptor; `normalize`:
/// fields and values by number, imports by name.
///
/// # Errors
/// [`SchemaProblem`] if it is no schema of that kind or too large.
pub fn canonical(
    kind: SchemaKind,
    text: &str,
    references: &[Reference],
    normalize: bool,
) -> Result<String, SchemaProblem> {
    match kind {
        SchemaKind::Json => json::canonical(text, normalize),
        SchemaKind::Avro => avro::canonical(text, references, normalize),
        SchemaKind::Protobuf => protobuf::canonical(text, references, normalize),
    }
}
