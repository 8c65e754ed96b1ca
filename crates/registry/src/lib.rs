//! Schemas as a registry sees them: read and capped, in canonical form, with what they refer to, held against earlier
//! versions; and the prefix by which a record names its schema.
//!
//! Pure. It does not know who registers, under which subject, or whether a schema is valid in its dialect (that is
//! `tradelane-schema`'s to say). Nothing is fetched: a reference leads into the schema or to one that is handed in.

mod diff;
mod json;
pub mod wire;

pub use diff::{Difference, STEPS, compare};
pub use json::{Reference, Schema, canonical};

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
    /// It is larger than is taken.
    #[error("the schema has more than {0}")]
    TooLarge(&'static str),
    /// A reference leads nowhere.
    #[error("the schema refers to something that is neither in it nor among its references")]
    Dangling,
    /// Comparing takes more work than is spent on it.
    #[error("the schemas are too entangled to be compared")]
    TooComplex,
}
