//! Why a schema was refused.

use tradelane_model::{ErrorCode, codes};

/// A schema that cannot be used. The texts cite the schema, never a document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// More values and names than [`crate::Schema::MOST_NODES`].
    #[error("the schema holds more than {limit} values; split it or leave out what the product does not use")]
    TooLarge {
        /// The bound.
        limit: usize,
    },
    /// Nested deeper than [`crate::Schema::MOST_DEPTH`].
    #[error("the schema is nested deeper than {limit} levels; move inner parts to $defs")]
    TooDeep {
        /// The bound.
        limit: usize,
    },
    /// Its references and combinations apply too many schemas to one value.
    #[error(
        "the schema applies too many schemas to one value, or nests them too deeply; untangle $ref, allOf and anyOf"
    )]
    TooEntangled,
    /// A string longer than [`crate::Schema::LONGEST_PATTERN`] where a regular expression stands.
    #[error("a pattern of the schema is longer than {limit} bytes; shorten it or use an enum")]
    PatternTooLong {
        /// The bound.
        limit: usize,
    },
    /// `$schema` names a dialect that is not supported.
    #[error("the schema's dialect is not supported; use JSON Schema 2020-12, 2019-09 or draft-07")]
    UnknownDialect,
    /// A `$ref` leads outside of the schema, or to nothing. Nothing is fetched.
    #[error("a reference of the schema cannot be resolved; put what it names under $defs: {reason}")]
    Reference {
        /// What the validator says of it.
        reason: String,
    },
    /// It breaks the rules of its dialect.
    #[error("the schema is not valid at {place:?}: {reason}")]
    Invalid {
        /// JSON Pointer into the schema; empty for the whole.
        place: String,
        /// What the validator says of it.
        reason: String,
    },
}

impl SchemaError {
    /// The stable code.
    pub fn code(&self) -> ErrorCode {
        codes::CONTRACT_INVALID
    }
}
