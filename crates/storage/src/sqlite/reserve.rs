//! A little room on the disk that is kept for when it is full: removing batches has to be written down, and opening
//! a database takes an index of its write-ahead log.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::open;

/// Enough for the write-ahead log of a few steps of upkeep.
const BYTES: usize = 2 << 20;

/// The file that keeps the room.
pub(crate) struct Reserve {
    path: PathBuf,
}

impl Reserve {
    pub(crate) fn beside(database: &Path) -> Self {
        Self { path: open::beside(database, "-reserve") }
    }

    /// Takes the room, unless it is taken. On a full disk it stays as it is: the next time tries again.
    pub(crate) fn restore(&self) {
        if std::fs::metadata(&self.path).is_ok_and(|file| file.len() >= BYTES as u64) {
            return;
        }
        let mut options = OpenOptions::new();
        options.create(true).truncate(true).write(true);
        open::private(&mut options);
        // Not zeros, which some file systems would store as nothing.
        let written = options.open(&self.path).and_then(|mut file| file.write_all(&vec![0x5a; BYTES]));
        if written.is_err() {
            self.release();
        }
    }

    /// Gives the room back; true if there was any.
    pub(crate) fn release(&self) -> bool {
        std::fs::remove_file(&self.path).is_ok()
    }
}
