//! The audit log: a Merkle log (RFC 6962) published as C2SP tlog-tiles under signed checkpoints.
//!
//! One leaf per change and per read range. The log publishes a salted commitment of each leaf, and hands the leaf itself
//! only to whom it concerns, in a [`Receipt`] that proves offline, with the log's public key alone, that the access was
//! recorded. Everyone can check that nothing recorded was changed, removed or reordered since: [`verify`].
//!
//! What this crate does not know: events, policies, who may read which leaf, HTTP. It asks no clock; leaves bring
//! their time along.

pub mod error;
pub mod leaf;
pub mod log;
pub mod merkle;
pub mod note;
pub mod read;
pub mod receipt;
mod recover;
mod segment;
pub mod tiles;
pub mod verify;
mod writer;

pub use error::AuditError;
pub use leaf::{Leaf, Opening, Outcome, Word};
pub use log::{AuditLog, Options, Pending};
pub use note::{Checkpoint, NoteError, Signer, VerifierKey};
pub use read::{Filter, Page};
pub use receipt::{Proven, Receipt, ReceiptError};
pub use recover::{Recovery, Torn};
pub use tiles::Resource;
pub use verify::{DirSource, Expectations, TileSource, VerifyError, verify_log};
pub use writer::{Disk, RealDisk};
