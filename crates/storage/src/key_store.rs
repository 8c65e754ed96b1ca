//! Wrapped keys. This store never sees a key in the clear: it keeps what a root key wrapped, and forgets it for good.

use async_trait::async_trait;
use bytes::Bytes;
use tradelane_model::Timestamp;

use crate::error::{Result, StorageError};

/// The most bytes of a wrapped key.
pub const MAX_WRAPPED: usize = 4096;
/// The most bytes of a scope.
pub const MAX_SCOPE: usize = 255;
/// The most keys in one call, and the most that one page returns.
pub const MAX_KEYS: usize = 10_000;

/// A wrapped key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// Drawn at random by the caller, 1 to 2^63 - 1; unique in the store for ever, destroyed keys included.
    pub id: u64,
    /// The key as the root key wrapped it.
    pub wrapped: Bytes,
    /// When it was made.
    pub created: Timestamp,
}

/// A key to put, with what finds it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    /// What kind of key this is and whose: `subject/acme`, `log`, `signer`.
    pub scope: String,
    /// A keyed digest of what the key is for within the scope (a subject); all zero for a singleton.
    pub tag: [u8; 32],
    /// The key.
    pub record: KeyRecord,
}

/// A key with what finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredKey {
    /// See [`NewKey::scope`].
    pub scope: String,
    /// See [`NewKey::tag`].
    pub tag: [u8; 32],
    /// The key.
    pub record: KeyRecord,
}

/// All that is left of a destroyed key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tombstone {
    /// The id it had.
    pub id: u64,
    /// When it was destroyed.
    pub destroyed_at: Timestamp,
}

/// What the store knows of a key id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyState {
    /// The key is there.
    Live(StoredKey),
    /// The key was destroyed.
    Destroyed(Tombstone),
    /// No key ever had this id.
    Unknown,
}

/// Names one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyRef {
    /// By its id.
    Id(u64),
    /// By scope and tag.
    Tag {
        /// See [`NewKey::scope`].
        scope: String,
        /// See [`NewKey::tag`].
        tag: [u8; 32],
    },
}

/// Wrapped keys, in a store of their own. Writes return when they are durable.
#[async_trait]
pub trait KeyStore: Send + Sync {
    /// Puts each key unless its scope and tag have one, in one transaction. Returns, in the same order, the key that
    /// is there now: the one given, or the one that was first. An id that any other key has or had is
    /// [`KeyIdTaken`](crate::StorageError::KeyIdTaken), and nothing is put.
    async fn put_if_absent(&self, keys: Vec<NewKey>) -> Result<Vec<KeyRecord>>;

    /// What is known of this id.
    async fn get(&self, id: u64) -> Result<KeyState>;

    /// The keys with these tags in this scope, in the same order; `None` where there is none.
    async fn get_by_tag(&self, scope: &str, tags: &[[u8; 32]]) -> Result<Vec<Option<KeyRecord>>>;

    /// Destroys the keys and leaves tombstones (id and time: no scope, no tag, no key), in one transaction. Returns the
    /// tombstones of those that were there. When it returns, the wrapped bytes are gone from the store's files, its
    /// write-ahead log included (PostgreSQL: see docs/formats/control-store.md for what lingers there).
    async fn destroy(&self, keys: Vec<KeyRef>, at: Timestamp) -> Result<Vec<Tombstone>>;

    /// Up to `max` keys whose ids are above `after`, by id; for a start that loads them all.
    async fn load_all(&self, after: u64, max: usize) -> Result<Vec<StoredKey>>;

    /// Up to `max` tombstones whose ids are above `after`, by id; to replay destructions on a restored copy.
    async fn tombstones(&self, after: u64, max: usize) -> Result<Vec<Tombstone>>;
}

/// The tag of a key that is the only one of its scope.
pub const SINGLETON: [u8; 32] = [0; 32];

/// Refuses keys that are out of bounds before they reach an engine.
pub(crate) fn check(keys: &[NewKey]) -> Result<()> {
    if keys.len() > MAX_KEYS {
        return Err(StorageError::Limit { what: "the number of keys" });
    }
    for key in keys {
        check_scope(&key.scope)?;
        check_id(key.record.id)?;
        if key.record.wrapped.len() > MAX_WRAPPED {
            return Err(StorageError::Limit { what: "the size of a wrapped key" });
        }
    }
    Ok(())
}

/// Refuses a scope that is out of bounds.
pub(crate) fn check_scope(scope: &str) -> Result<()> {
    if scope.is_empty() || scope.len() > MAX_SCOPE || scope.contains('\0') {
        return Err(StorageError::Limit { what: "the name of a scope" });
    }
    Ok(())
}

/// Refuses an id that is out of bounds; otherwise as the engines store it.
pub(crate) fn check_id(id: u64) -> Result<i64> {
    i64::try_from(id).ok().filter(|&id| id > 0).ok_or(StorageError::Limit { what: "a key id" })
}
