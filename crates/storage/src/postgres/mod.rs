//! Journal, keyed state and keys on PostgreSQL, for hubs of more than one node. The statements are those of SQLite
//! (`sql.rs`); what differs is here: connections that break, transactions that race.
//!
//! Keys belong in a database of their own, with its own backups: give [`PgKeys`] another connection string than
//! [`PgControl`].

mod control;
mod keys;
mod pool;

pub use control::PgControl;
pub use keys::PgKeys;

use tokio_postgres::error::SqlState;

use crate::error::StorageError;

/// Says what an error of PostgreSQL means for the caller.
fn explain(error: &tokio_postgres::Error) -> StorageError {
    let Some(state) = error.code() else {
        return StorageError::Unavailable { cause: error.to_string() };
    };
    // The message of the server may quote values; its code and name do not.
    let cause = format!("PostgreSQL: SQLSTATE {}", state.code());
    match *state {
        SqlState::DISK_FULL | SqlState::OUT_OF_MEMORY => StorageError::Full,
        SqlState::DATA_CORRUPTED | SqlState::INDEX_CORRUPTED => StorageError::Corrupt { place: cause },
        SqlState::ADMIN_SHUTDOWN
        | SqlState::CRASH_SHUTDOWN
        | SqlState::CANNOT_CONNECT_NOW
        | SqlState::TOO_MANY_CONNECTIONS
        | SqlState::QUERY_CANCELED
        | SqlState::LOCK_NOT_AVAILABLE
        | SqlState::T_R_DEADLOCK_DETECTED
        | SqlState::T_R_SERIALIZATION_FAILURE
        | SqlState::READ_ONLY_SQL_TRANSACTION
        | SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT => StorageError::Unavailable { cause },
        _ => StorageError::Engine { cause },
    }
}

impl From<tokio_postgres::Error> for StorageError {
    fn from(error: tokio_postgres::Error) -> Self {
        explain(&error)
    }
}
