//! What can go wrong in a store, as the hub sees it. The variants are about what to do next, not about the engine.

use tradelane_model::codes::{self, ErrorCode};

/// The result of a storage operation.
pub type Result<T, E = StorageError> = std::result::Result<T, E>;

/// A storage operation that was not done. Unless said otherwise, nothing of it is visible or durable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StorageError {
    /// The disk (or the configured limit) is full. Reads go on, and so do writes once there is room.
    #[error("the storage is full: nothing was written; free some space or shorten a retention, then send it again")]
    Full,
    /// Bytes at rest are not what was written there. Never answered with other bytes.
    #[error("stored data is damaged at {place}: restore it from a backup or a replica")]
    Corrupt {
        /// File, table and key of the damage; never a stored value.
        place: String,
    },
    /// The store is sealed under another key than the one given.
    #[error("{store} is encrypted under another key: start with the key it was created with")]
    WrongKey {
        /// The file or database.
        store: String,
    },
    /// The store was written by a newer release.
    #[error("{store} has schema version {found}, and this release reads up to {supported}: start the newer release")]
    NewerSchema {
        /// The file or database.
        store: String,
        /// The version found.
        found: u32,
        /// The newest version that this release knows.
        supported: u32,
    },
    /// The file or database is something else.
    #[error("{store} is no store of this kind: check the configured path")]
    Foreign {
        /// The file or database.
        store: String,
    },
    /// Another process has the store open.
    #[error("{store} is open in another process: stop that one first")]
    Locked {
        /// The file.
        store: String,
    },
    /// The same idempotency key was used with another body.
    #[error("this idempotency key was used before with another body: send the first body again or take a new key")]
    DedupConflict,
    /// The stream was never appended to, or was deleted.
    #[error("there is no such stream")]
    UnknownStream,
    /// The offset is no longer kept.
    #[error("offset {asked} is no longer kept: the stream starts at {start}")]
    Truncated {
        /// The offset asked for.
        asked: u64,
        /// The first offset that is kept.
        start: u64,
    },
    /// The offset is beyond the end of the stream.
    #[error("offset {asked} is beyond the end of the stream at {end}")]
    BeyondEnd {
        /// The offset asked for.
        asked: u64,
        /// The offset that the next event will get.
        end: u64,
    },
    /// An argument outside its documented bounds.
    #[error("{what} is out of bounds")]
    Limit {
        /// The argument.
        what: &'static str,
    },
    /// A key id that is taken, by a key or by the tombstone of one.
    #[error("this key id is taken: draw another one")]
    KeyIdTaken,
    /// The store cannot be reached or did not answer in time. A write may or may not have been done.
    #[error("the storage cannot be reached: try again, and look before repeating a write")]
    Unavailable {
        /// The cause, for the operator.
        cause: String,
    },
    /// The store refused to go on after an error of the disk, or is shutting down.
    #[error("the storage has stopped after an error of its disk: see the log, then start again")]
    Stopped {
        /// The cause, for the operator.
        cause: String,
    },
    /// Any other failure of the engine below.
    #[error("the storage failed")]
    Engine {
        /// The cause, for the operator.
        cause: String,
    },
}

impl StorageError {
    /// The stable code of this error.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Full => codes::STORAGE_FULL,
            Self::Corrupt { .. } => codes::STORAGE_CORRUPT,
            Self::WrongKey { .. } => codes::STORAGE_WRONG_KEY,
            Self::NewerSchema { .. } => codes::STORAGE_NEWER_SCHEMA,
            Self::Foreign { .. } => codes::STORAGE_FOREIGN,
            Self::Locked { .. } => codes::STORAGE_LOCKED,
            Self::DedupConflict => codes::KEY_REUSED,
            Self::UnknownStream => codes::UNKNOWN_STREAM,
            Self::Truncated { .. } => codes::OFFSET_GONE,
            Self::BeyondEnd { .. } => codes::OFFSET_BEYOND_END,
            Self::Limit { .. } => codes::STORAGE_LIMIT,
            Self::KeyIdTaken => codes::CONFLICT,
            Self::Unavailable { .. } | Self::Stopped { .. } => codes::STORAGE_UNAVAILABLE,
            Self::Engine { .. } => codes::INTERNAL,
        }
    }

    /// The cause for the operator, where the engine below gave one. It never holds a stored value.
    pub fn cause(&self) -> Option<&str> {
        match self {
            Self::Unavailable { cause } | Self::Stopped { cause } | Self::Engine { cause } => Some(cause),
            Self::Corrupt { place } => Some(place),
            _ => None,
        }
    }
}
