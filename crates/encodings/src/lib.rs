//! Events that are not JSON: the schemas of their encodings, and their bytes, walked once.
//!
//! An [`avro::Schema`] is read from its text and checked whole; a [`protobuf::Schema`] is made of messages by whoever
//! understands `.proto` files. Their `walk` then holds an event to it, byte by byte under
//! [`Limits`], and notes where every value lies in a [`Tree`]: what the tape is for JSON. All that follows, such as
//! classification and masks, works on those places; `write_json` shows an event, or a value of it, as the JSON text that
//! rules and people read.
//!
//! What this crate does not know: classification, contracts, views, registries. It is pure, and its memory is bounded by
//! its limits, never by a number that stands in an event.

pub mod avro;
pub mod protobuf;
mod tree;
pub mod varint;

pub use tree::{Gone, Limits, Node, Part, Slot, TooLong, Tree, Unresolved, WalkError};
