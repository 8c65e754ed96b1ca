//! The stores on SQLite: three files apart from each other, so that each is backed up and destroyed on its own terms.
//!
//! * `log.db`: the index of the event log, whose batches lie in segment files beside it ([`SqliteLog`]).
//! * `control.db`: journal and keyed state ([`SqliteControl`]).
//! * `keys.db`: wrapped keys ([`SqliteKeys`]).
//!
//! All run in WAL mode. What is acknowledged has been synced: the commit (`synchronous=FULL`), or in the log the segment,
//! from which the index is completed after a loss of power. Each store has one thread that writes and commits whatever has
//! queued up in one transaction.

mod control;
mod keys;
mod log;
mod open;
mod readers;
mod reserve;
mod wal;
mod worker;

pub use control::SqliteControl;
pub use keys::SqliteKeys;
pub use log::{LogOptions, SqliteLog};

use rusqlite::ErrorCode;

use crate::error::StorageError;

/// Says what an error of SQLite means for the caller. `place` names file and table.
pub(crate) fn explain(place: &str, error: &rusqlite::Error) -> StorageError {
    use rusqlite::ffi;
    let cause = format!("{place}: {error}");
    let rusqlite::Error::SqliteFailure(failure, _) = error else {
        return match error {
            rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::IntegralValueOutOfRange(..) => StorageError::Corrupt { place: place.to_owned() },
            _ => StorageError::Engine { cause },
        };
    };
    match failure.code {
        ErrorCode::DiskFull => StorageError::Full,
        ErrorCode::DatabaseCorrupt => StorageError::Corrupt { place: place.to_owned() },
        ErrorCode::NotADatabase => StorageError::Foreign { store: place.to_owned() },
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => StorageError::Unavailable { cause },
        ErrorCode::SystemIoFailure => match failure.extended_code {
            // A file that may not grow: a quota, or a file size limit; and the wal-index on a full disk.
            ffi::SQLITE_IOERR_WRITE | ffi::SQLITE_IOERR_SHMSIZE => StorageError::Full,
            ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC => StorageError::Stopped { cause },
            ffi::SQLITE_IOERR_SHORT_READ | ffi::SQLITE_IOERR_CORRUPTFS => {
                StorageError::Corrupt { place: place.to_owned() }
            }
            _ => StorageError::Unavailable { cause },
        },
        _ => StorageError::Engine { cause },
    }
}

/// Turns SQLite results into ours, naming the place.
pub(crate) trait At<T> {
    /// Names the file and table an error came from.
    fn at(self, place: &str) -> Result<T, StorageError>;
}

impl<T> At<T> for rusqlite::Result<T> {
    fn at(self, place: &str) -> Result<T, StorageError> {
        self.map_err(|error| explain(place, &error))
    }
}
