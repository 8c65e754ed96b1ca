//! The journal of the control plane: one sequence of changes, numbered from 1 without gaps.

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::{Result, StorageError};

/// The most bytes that one journal event may have.
pub const MAX_EVENT: usize = 8 << 20;
/// The most events in one append, and the most that one read returns.
pub const MAX_EVENTS: usize = 10_000;

/// What became of an append to the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Journaled {
    /// Appended and durable; the number of the last event.
    At(u64),
    /// Somebody else was first, nothing was appended; the number of the last event there is.
    Conflict {
        /// The head as it is.
        actual: u64,
    },
}

/// One sequence of opaque events with optimistic concurrency over the whole of it.
#[async_trait]
pub trait Journal: Send + Sync {
    /// Appends the events, all or none, if the journal's head is `expected_seq` (0 when empty). No events is a check
    /// of the head. Returns when they are durable.
    async fn append(&self, expected_seq: u64, events: Vec<Bytes>) -> Result<Journaled>;

    /// Up to `max` events from number `from_seq` on, in order. Numbers start at 1.
    async fn read(&self, from_seq: u64, max: usize) -> Result<Vec<(u64, Bytes)>>;

    /// The number of the last event, 0 if there is none.
    async fn head(&self) -> Result<u64>;
}

/// Refuses what is out of bounds before it reaches an engine.
pub(crate) fn check(events: &[Bytes]) -> Result<()> {
    if events.len() > MAX_EVENTS {
        return Err(StorageError::Limit { what: "the number of journal events" });
    }
    if events.iter().any(|event| event.len() > MAX_EVENT) {
        return Err(StorageError::Limit { what: "the size of a journal event" });
    }
    Ok(())
}
