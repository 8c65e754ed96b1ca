//! Durable things behind narrow traits: the event log, the journal of the control plane, wrapped keys, and small keyed
//! state that expires.
//!
//! Everything here is opaque bytes under ids and numbers. This crate does not know what an event, a grant or a policy
//! is, and it asks no clock: times come in as arguments. What it promises is that *acknowledged means on disk*, that
//! everything at rest is encrypted and bound to its place, and that after a crash each store opens by itself and says
//! what it did.
//!
//! | trait | what for | implementations |
//! |---|---|---|
//! | [`EventLog`] | streams of record batches, addressed by offset | [`sqlite::SqliteLog`] |
//! | [`Journal`] | one gap-free sequence of changes, optimistic concurrency | [`sqlite::SqliteControl`], `postgres::PgControl` |
//! | [`KeyedState`] | idempotency, cursors, jobs, tokens: values with a time to live | [`sqlite::SqliteControl`], `postgres::PgControl` |
//! | [`KeyStore`] | wrapped keys, and their destruction | [`sqlite::SqliteKeys`], `postgres::PgKeys` |

pub mod buffers;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod error;
pub mod event_log;
pub mod journal;
pub mod key_store;
pub mod keyed_state;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod recovery;
mod sealing;
#[cfg_attr(not(feature = "postgres"), allow(dead_code))]
mod sql;
pub mod sqlite;

pub use buffers::{Buffer, Buffers};
pub use error::{Result, StorageError};
pub use event_log::{Append, Appended, Bounds, Dedup, EventLog, Rewrite, StoredBatch, StreamId, Truncate, Truncated};
pub use journal::{Journal, Journaled};
pub use key_store::{KeyRecord, KeyRef, KeyState, KeyStore, NewKey, StoredKey, Tombstone};
pub use keyed_state::{Entry, KeyedState, Put, Swap};
pub use recovery::{Integrity, Recovery};
