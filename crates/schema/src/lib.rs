//! JSON Schema (2020-12, 2019-09 and draft-07), run over the tape that a document was parsed to.
//!
//! The rules are those of the `jsonschema` crate; this crate teaches it to read our nodes, so that no second parse and
//! no DOM is needed, and is the only one that instantiates it (it is generic over the node and monomorphizes heavily).
//!
//! What is added around it:
//! - **Nothing is fetched.** A `$ref` must resolve inside the schema or to a published meta-schema, else the schema is
//!   refused when it is compiled.
//! - **Schemas are bounded** in size, depth and length of patterns, and their regular expressions in size and
//!   backtracking: one that does not come to an end counts as not matched, and the document as invalid.
//! - **Violations hold nothing of the payload** but the names on the way to the place. The validator is not given the
//!   values for its messages in the first place (see `walk`), and its messages are not used.
//! - **Work and memory are bounded**, however often a document fails and however entangled a schema is (`spread`, `walk`).
//!
//! What this crate does not know: contracts, classification, EPCIS. It does no I/O.

#[cfg(feature = "bench")]
pub mod bench_peer;
mod compile;
mod equal;
mod error;
mod instance;
mod number;
mod quick;
mod spread;
mod violation;
mod walk;

pub use compile::{Dialect, Schema};
pub use error::SchemaError;
pub use violation::Violation;
