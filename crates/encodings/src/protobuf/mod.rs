//! Protobuf: messages as their descriptors have them, and the binary encoding of one message.
//!
//! Source: Protocol Buffers' "Encoding" and "ProtoJSON Format", the language specifications of proto2 and proto3.

mod json;
mod resolve;
mod schema;
mod walk;

#[cfg(test)]
mod tests;

pub use json::{packed, timestamp_parts};
pub use schema::{Field, Kind, Label, Message, Schema, SchemaError, UNKNOWN};
