//! What opening a store found and did.

use std::fmt;
use std::time::Duration;

/// How far the store was checked when it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Integrity {
    /// Every page was checked.
    Checked,
    /// The file is bigger than what is checked at a start; its size in bytes. Every read still verifies what it reads.
    TooBig(u64),
    /// The server keeps its own checksums.
    Server,
}

/// The report of opening one store. All counts are zero after a clean shutdown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// The file, or the database.
    pub store: String,
    /// True if the store was made just now.
    pub created: bool,
    /// True if the last process did not close the store: its write-ahead log was left behind.
    pub unclean: bool,
    /// Committed transactions found in the write-ahead log. All of them are kept.
    pub wal_commits: u64,
    /// Frames (pages) of these transactions.
    pub wal_frames: u64,
    /// Groups of batches found in the event log's segments that its index did not know. All of them are kept.
    pub replayed: u64,
    /// Bytes after the last commit that belong to a transaction that was never acknowledged: a torn tail, dropped.
    pub torn_bytes: u64,
    /// The schema version the store had, if it was migrated.
    pub migrated_from: Option<u32>,
    /// How far it was checked.
    pub integrity: Integrity,
    /// How long opening took.
    pub took: Duration,
}

impl Recovery {
    /// Adds what the event log's segments held.
    pub(crate) fn found_elsewhere(&mut self, groups: u64, torn_bytes: u64) {
        // What the index has behind its last commit is in the segments, too.
        (self.replayed, self.torn_bytes) = (groups, torn_bytes);
        self.unclean |= groups > 0 || torn_bytes > 0;
    }
}

impl fmt::Display for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.store)?;
        match (self.created, self.unclean) {
            (true, _) => write!(f, "created")?,
            (false, false) => write!(f, "opened, was closed cleanly")?,
            (false, true) => {
                write!(
                    f,
                    "recovered {} commits ({} pages) from the write-ahead log",
                    self.wal_commits, self.wal_frames
                )?;
                if self.replayed > 0 {
                    write!(f, " and {} groups of batches from its segments", self.replayed)?;
                }
                if self.torn_bytes > 0 {
                    write!(f, ", dropped a torn tail of {} bytes that was never acknowledged", self.torn_bytes)?;
                }
            }
        }
        if let Some(version) = self.migrated_from {
            write!(f, ", migrated from schema version {version}")?;
        }
        match self.integrity {
            Integrity::Checked => write!(f, ", every page checked")?,
            Integrity::TooBig(bytes) => write!(f, ", {bytes} bytes are checked as they are read")?,
            Integrity::Server => {}
        }
        write!(f, ", {} ms", self.took.as_millis())
    }
}
