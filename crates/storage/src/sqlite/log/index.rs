//! The index of the log: which batches there are and where they lie, which streams, which keys were used.
//!
//! What an append writes here needs no sync of its own, since the segments hold it already: after a loss of power it is
//! taken from there again (`replay.rs`). What only the index knows (a stream's birth and end, retention, what
//! compaction left) is synced, and everything before it with it.

use rusqlite::{Connection, params};

use super::super::At;
use super::segments::{End, Place};
use crate::error::Result;
use crate::event_log::Dedup;

/// When a commit is on disk.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Durable {
    /// When it returns.
    Now,
    /// With the next checkpoint, or the next commit that is durable now. Until then the segments vouch for it.
    Later,
}

/// The connection that writes the index, in transactions.
pub(super) struct Index {
    connection: Connection,
    place: String,
    durable: Durable,
}

impl Index {
    /// Over a connection that syncs each commit, as `open.rs` makes it.
    pub(super) fn new(connection: Connection, place: String) -> Self {
        Self { connection, place, durable: Durable::Now }
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// Begins a transaction; `commit` or `roll_back` ends it.
    pub(super) fn begin(&mut self, durable: Durable) -> Result<()> {
        if self.durable != durable {
            let level = if durable == Durable::Now { "FULL" } else { "NORMAL" };
            self.connection.execute_batch(&format!("PRAGMA synchronous={level}")).at(&self.place)?;
            self.durable = durable;
        }
        self.connection.execute_batch("BEGIN IMMEDIATE").at(&self.place)
    }

    pub(super) fn commit(&self) -> Result<()> {
        let committed = self.connection.execute_batch("COMMIT").at(&self.place);
        if committed.is_err() {
            self.roll_back();
        }
        committed
    }

    pub(super) fn roll_back(&self) {
        // A full disk may have rolled it back already.
        if !self.connection.is_autocommit() {
            drop(self.connection.execute_batch("ROLLBACK"));
        }
    }

    /// All of `work`, or nothing.
    pub(super) fn transaction<T>(
        &mut self,
        durable: Durable,
        work: impl FnOnce(&Connection, &str) -> Result<T>,
    ) -> Result<T> {
        self.begin(durable)?;
        match work(&self.connection, &self.place) {
            Ok(done) => self.commit().map(|()| done),
            Err(error) => {
                self.roll_back();
                Err(error)
            }
        }
    }
}

/// Notes how far the segments are indexed, in the transaction that indexes them.
pub(super) fn note_end(connection: &Connection, end: &End, place: &str) -> Result<()> {
    connection
        .prepare_cached("UPDATE written SET segment = ?1, position = ?2, sequence = ?3")
        .and_then(|mut update| update.execute([end.segment as i64, end.position as i64, end.sequence as i64]))
        .at(place)?;
    Ok(())
}

/// Notes where a batch lies.
pub(super) fn insert_batch(
    connection: &Connection,
    id: i64,
    count: u32,
    timestamp: i64,
    lies: &Place,
    place: &str,
) -> Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO batch (id, count, timestamp, segment, position, length) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )
        .and_then(|mut insert| {
            insert.execute([
                id,
                i64::from(count),
                timestamp,
                lies.segment as i64,
                lies.position as i64,
                i64::from(lies.length),
            ])
        })
        .at(place)?;
    Ok(())
}

/// Remembers what an append was retried by, and where it went.
pub(super) fn insert_key(
    connection: &Connection,
    dedup: &Dedup,
    incarnation: &[u8; 16],
    base: u64,
    place: &str,
) -> Result<()> {
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO dedup (key, body, incarnation, base, expires) VALUES (?1, ?2, ?3, ?4, ?5)",
        )
        .and_then(|mut insert| {
            insert.execute(params![dedup.key, dedup.body, incarnation, base as i64, dedup.expires.0])
        })
        .at(place)?;
    Ok(())
}

/// The place in three columns of a row, from column `at` on.
pub(super) fn place_in(row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<Place> {
    let number = |at| row.get::<_, i64>(at).map(|number| number as u64);
    Ok(Place { segment: number(at)?, position: number(at + 1)?, length: row.get(at + 2)? })
}
