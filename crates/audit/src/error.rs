//! What can go wrong with the log on this machine. Verification has errors of its own, in [`crate::verify`].

use std::io;
use std::path::PathBuf;

use tradelane_model::{ErrorCode, codes};

use crate::leaf::LeafError;
use crate::note::NoteError;

/// Why the log could not be opened, written or read.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The leaf itself is not acceptable.
    #[error("the record cannot be logged: {0}")]
    Leaf(#[from] LeafError),
    /// The disk refused a write: nothing of this group was recorded. The log goes on if the next write succeeds.
    #[error("the audit log could not be written, so nothing was done")]
    Write(#[source] io::Error),
    /// The disk failed in a way that leaves it unknown what is durable. Nothing is recorded until the log is reopened.
    #[error("the audit log's disk failed earlier; the hub must be restarted before anything can be recorded")]
    Poisoned,
    /// More leaves are waiting than the log takes.
    #[error("the audit log has more waiting than it takes; retry shortly")]
    Overloaded,
    /// The log was closed.
    #[error("the audit log is closed")]
    Closed,
    /// The disk refused a read.
    #[error("the audit log could not be read")]
    Read(#[source] io::Error),
    /// Files of the log are missing, changed or cut. Nothing is repaired.
    #[error("{}: {what}, at byte {offset}, leaf {leaf}; restore the audit log from a backup", file.display())]
    Corrupt {
        /// Which file.
        file: PathBuf,
        /// Where in it.
        offset: u64,
        /// The leaf that should be there.
        leaf: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// Leaves that a signed checkpoint counts are gone.
    #[error("the audit log holds {found} leaves, but it signed a checkpoint of {signed}; restore it from a backup")]
    Shorter {
        /// Leaves on disk.
        found: u64,
        /// Leaves that the checkpoint counts.
        signed: u64,
    },
    /// The leaves hash to another root than the checkpoint signs.
    #[error("the first {size} leaves are not those that the checkpoint signs; restore the audit log from a backup")]
    Rewritten {
        /// Size of the checkpoint.
        size: u64,
    },
    /// The checkpoint on disk is not this log's.
    #[error("the checkpoint on disk is not accepted: {0}; is this the right directory and signing key?")]
    Checkpoint(#[source] NoteError),
    /// Another process has the log open.
    #[error("another process has the audit log open")]
    Locked,
    /// There is no such leaf.
    #[error("there is no leaf {0} yet")]
    NoLeaf(u64),
}

impl AuditError {
    /// The stable code for a caller of the hub.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Overloaded => codes::OVERLOADED,
            Self::NoLeaf(_) => codes::NOT_FOUND,
            Self::Corrupt { .. } | Self::Shorter { .. } | Self::Rewritten { .. } => codes::STORAGE_CORRUPT,
            Self::Leaf(_) => codes::INTERNAL,
            _ => codes::AUDIT_UNAVAILABLE,
        }
    }
}
