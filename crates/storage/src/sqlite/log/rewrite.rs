//! Puts batches in the place of others: one transaction for all of them, between two groups of appends.

use rusqlite::{Connection, params};

use super::super::At;
use super::streams::{Stream, offset_of, row_id};
use crate::error::{Result, StorageError};
use crate::event_log::{MAX_BATCH, MAX_COUNT, Rewrite};

/// Refuses what is out of bounds before it is queued.
pub(super) fn check(rewrite: &Rewrite) -> Result<()> {
    let count = rewrite.offsets.end.saturating_sub(rewrite.offsets.start);
    if count == 0 || count > u64::from(MAX_COUNT) {
        return Err(StorageError::Limit { what: "the number of events in a batch" });
    }
    if rewrite.payload.len() > MAX_BATCH {
        return Err(StorageError::Limit { what: "the size of a batch" });
    }
    Ok(())
}

/// Does all of them, or none and returns false. When this returns `Ok(true)`, it is on disk.
pub(super) fn rewrite(connection: &Connection, stream: &Stream, rewrites: &[Rewrite], place: &str) -> Result<bool> {
    connection.execute_batch("BEGIN IMMEDIATE").at(place)?;
    let outcome = rewrites.iter().try_fold(true, |all, one| Ok(all && replace(connection, stream, one, place)?));
    let outcome = match outcome {
        Ok(true) => connection.execute_batch("COMMIT").at(place).map(|()| true),
        not_done => not_done,
    };
    if !connection.is_autocommit() {
        drop(connection.execute_batch("ROLLBACK"));
    }
    outcome
}

fn replace(connection: &Connection, stream: &Stream, rewrite: &Rewrite, place: &str) -> Result<bool> {
    let offsets = &rewrite.offsets;
    if !are_whole_batches(connection, stream, rewrite, place)? {
        return Ok(false);
    }
    connection
        .prepare_cached("DELETE FROM batch WHERE id >= ?1 AND id < ?2")
        .and_then(|mut delete| {
            delete.execute([row_id(stream.number, offsets.start), row_id(stream.number, offsets.end)])
        })
        .at(place)?;
    let count = (offsets.end - offsets.start) as u32;
    let sealed = stream.seal(offsets.start, count, rewrite.timestamp, &rewrite.payload);
    connection
        .prepare_cached("INSERT INTO batch (id, count, timestamp, payload) VALUES (?1, ?2, ?3, ?4)")
        .and_then(|mut insert| {
            insert.execute(params![row_id(stream.number, offsets.start), count, rewrite.timestamp.0, sealed])
        })
        .at(place)?;
    Ok(true)
}

/// Do whole batches, in a row and without a gap, cover exactly these offsets?
fn are_whole_batches(connection: &Connection, stream: &Stream, rewrite: &Rewrite, place: &str) -> Result<bool> {
    let offsets = &rewrite.offsets;
    let mut select =
        connection.prepare_cached("SELECT id, count FROM batch WHERE id >= ?1 AND id < ?2 ORDER BY id").at(place)?;
    let range = [row_id(stream.number, offsets.start), row_id(stream.number, offsets.end)];
    let mut rows = select.query(range).at(place)?;
    let mut next = offsets.start;
    while let Some(row) = rows.next().at(place)? {
        if offset_of(row.get(0).at(place)?) != next {
            return Ok(false);
        }
        next += u64::from(row.get::<_, u32>(1).at(place)?);
    }
    Ok(next == offsets.end)
}
