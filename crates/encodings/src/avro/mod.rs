//! Avro 1.12: schemas and the binary encoding of one datum, without a container around it.
//!
//! Source: the Avro specification 1.12.0, sections "Schema Declaration", "Binary encoding" and "Logical Types".

mod json;
mod literal;
mod parse;
mod resolve;
mod schema;
mod text;
mod walk;

#[cfg(test)]
mod tests;

pub(crate) use json::{float as write_float, moment};
pub use schema::{Field, Logical, Position, Schema, SchemaError, Type};
