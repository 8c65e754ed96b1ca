//! Small state under keys that expires: idempotency, replay, cursors, capture jobs, tokens.

use async_trait::async_trait;
use bytes::Bytes;
use tradelane_model::Timestamp;

use crate::error::{Result, StorageError};

/// The most bytes of a value.
pub const MAX_VALUE: usize = 4 << 20;
/// The most bytes of a key, and of a space's name.
pub const MAX_KEY: usize = 512;
/// The most entries that one listing returns.
pub const MAX_LIST: usize = 10_000;

/// A value as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The value.
    pub value: Bytes,
    /// Changes with every write, never comes back, says nothing else.
    pub version: u64,
    /// From then on the entry is gone. [`Timestamp::MAX`] for never.
    pub expires: Timestamp,
}

/// What became of a `put_if_absent`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Put {
    /// It was absent and is there now, with this version.
    Stored(u64),
    /// There was one, which stays.
    Exists(Entry),
}

/// What became of a `compare_and_swap`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Swap {
    /// Done; the new version.
    Done(u64),
    /// Somebody else was first; what is there now.
    Lost(Option<Entry>),
}

/// Values under (space, key). An entry that expired at or before `now` is absent for every call. Spaces are names that
/// the code gives (`idempotency`, `cursor`); keys are stored in the clear, so callers hash what is personal. Values are
/// encrypted at rest. Writes return when they are durable.
#[async_trait]
pub trait KeyedState: Send + Sync {
    /// Stores the value if the key is absent.
    async fn put_if_absent(
        &self,
        space: &str,
        key: &[u8],
        value: Bytes,
        expires: Timestamp,
        now: Timestamp,
    ) -> Result<Put>;

    /// The entry, if there is one.
    async fn get(&self, space: &str, key: &[u8], now: Timestamp) -> Result<Option<Entry>>;

    /// Stores the value if the entry's version is the expected one (`None`: if it is absent).
    async fn compare_and_swap(
        &self,
        space: &str,
        key: &[u8],
        expected: Option<u64>,
        value: Bytes,
        expires: Timestamp,
        now: Timestamp,
    ) -> Result<Swap>;

    /// Stores the value whatever was there; returns its version.
    async fn put(&self, space: &str, key: &[u8], value: Bytes, expires: Timestamp) -> Result<u64>;

    /// Removes the entry; true if there was one that had not expired.
    async fn delete(&self, space: &str, key: &[u8], now: Timestamp) -> Result<bool>;

    /// Up to `max` entries of a space whose keys are above `after`, by key.
    async fn list(&self, space: &str, after: &[u8], max: usize, now: Timestamp) -> Result<Vec<(Bytes, Entry)>>;

    /// Removes what expired at or before `now`; returns how many.
    async fn sweep(&self, now: Timestamp) -> Result<u64>;
}

/// Refuses a space or key that is out of bounds before it reaches an engine.
pub(crate) fn check_place(space: &str, key: &[u8]) -> Result<()> {
    if space.is_empty() || space.len() > MAX_KEY || space.contains('\0') {
        return Err(StorageError::Limit { what: "the name of a space" });
    }
    if key.len() > MAX_KEY {
        return Err(StorageError::Limit { what: "the size of a key" });
    }
    Ok(())
}

/// Refuses a value that is out of bounds before it reaches an engine.
pub(crate) fn check_value(value: &[u8]) -> Result<()> {
    if value.len() > MAX_VALUE {
        return Err(StorageError::Limit { what: "the size of a value" });
    }
    Ok(())
}

/// A version that no entry had before: random, so that one deleted and made anew does not look the same.
pub(crate) fn new_version() -> i64 {
    i64::from_be_bytes(tradelane_keys::random_array()) & i64::MAX
}
