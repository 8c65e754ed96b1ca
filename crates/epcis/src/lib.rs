//! EPCIS 2.0 and CBV 2.0 (GS1) as a native product type: validation, event hashes, queries, units, documents.
//!
//! Everything works on the nodes of a parsed [`tradelane_tape`] document and is pure: no I/O, no clock, no storage. What
//! this crate does not know: contracts, classes, views, grants. Callers run queries on events as a reader's view renders
//! them, so that a query cannot probe what the view hides.

pub mod cbv;
pub mod context;
pub mod digital_link;
pub mod document;
pub mod epc;
pub mod hash;
pub mod lines;
pub mod number;
pub mod query;
pub mod rule;
pub mod time;
pub mod units;
pub mod uri;
pub mod validate;

pub use context::Context;
pub use lines::{Line, hash_lines, validate_lines};
pub use query::{Query, QueryError};
pub use rule::{Rule, Violation};
pub use validate::{Report, validate_event};
