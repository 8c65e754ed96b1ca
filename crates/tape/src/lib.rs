//! JSON, parsed once.
//!
//! [`Tape::parse`] checks a document completely (UTF-8, grammar, escapes, duplicate names, limits) and notes where
//! every value begins and ends. All that follows, such as validation, classification, sealing, hashing and error
//! places, works on those [`Node`]s and on byte ranges of the original document; nothing is copied into a DOM.
//!
//! Stricter than RFC 8259 where leniency would let two readers see two documents: duplicate member names are refused
//! (compared decoded, so that `"\u0061"` is `"a"`), lone surrogates are refused, and size, depth and number of nodes
//! are bounded by [`Limits`]. Numbers keep their text, whatever their magnitude.
//!
//! What this crate does not know: schemas, classification, contracts, I/O. It is pure, and its memory is bounded by
//! the limits that the caller gives.

mod entry;
mod error;
pub mod jcs;
mod keys;
mod limits;
mod names;
pub mod ndjson;
mod node;
mod parse;
pub mod pointer;
mod scan;
mod simd;
mod tape;
pub mod text;

pub use error::{ParseError, ParseReason, Position};
pub use keys::Name;
pub use limits::Limits;
pub use names::Names;
pub use node::{Cursor, Doc, Elements, Key, Kind, Members, Node};
pub use tape::Tape;
