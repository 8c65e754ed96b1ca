//! Reads batches from the file.

use rusqlite::{Connection, OptionalExtension, params};
use tradelane_model::Timestamp;

use super::super::At;
use super::streams::{MAX_OFFSET, Stream, offset_of, row_id};
use crate::error::{Result, StorageError};
use crate::event_log::StoredBatch;

const PLACE: &str = "log.db, table batch";

/// The first row id that is not of this stream any more.
pub(super) fn row_end(number: u32) -> i64 {
    row_id(number, MAX_OFFSET - 1)
}

/// The offset after the stream's last batch, if it has one.
pub(super) fn end_of(connection: &Connection, number: u32, place: &str) -> Result<Option<u64>> {
    let mut select = connection
        .prepare_cached("SELECT id, count FROM batch WHERE id >= ?1 AND id <= ?2 ORDER BY id DESC LIMIT 1")
        .at(place)?;
    let last: Option<(i64, u32)> = select
        .query_row([row_id(number, 0), row_end(number)], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
        .at(place)?;
    Ok(last.map(|(id, count)| offset_of(id) + u64::from(count)))
}

/// The batches from the one that holds `from`, before `end`. Runs in one snapshot of the file.
pub(super) fn batches(
    connection: &Connection,
    stream: &Stream,
    from: u64,
    end: u64,
    max_bytes: usize,
) -> Result<Vec<StoredBatch>> {
    let mut first = connection
        .prepare_cached("SELECT id FROM batch WHERE id >= ?1 AND id <= ?2 ORDER BY id DESC LIMIT 1")
        .at(PLACE)?;
    let first: Option<i64> = first
        .query_row([row_id(stream.number, 0), row_id(stream.number, from)], |row| row.get(0))
        .optional()
        .at(PLACE)?;
    let Some(first) = first else { return Err(missing(connection, stream, from)) };
    let mut select = connection
        .prepare_cached("SELECT id, count, timestamp, payload FROM batch WHERE id >= ?1 AND id < ?2 ORDER BY id")
        .at(PLACE)?;
    let mut rows = select.query(params![first, row_id(stream.number, end)]).at(PLACE)?;
    let (mut batches, mut bytes, mut next) = (Vec::new(), 0usize, None);
    while let Some(row) = rows.next().at(PLACE)? {
        let base = offset_of(row.get(0).at(PLACE)?);
        let count: u32 = row.get(1).at(PLACE)?;
        let timestamp = Timestamp(row.get(2).at(PLACE)?);
        let sealed = row.get_ref(3).at(PLACE)?.as_blob().map_err(|_| stream.damaged_at(base))?;
        // A batch that is gone from the middle is damage, not a gap.
        let in_order = match next {
            None => base <= from && from < base + u64::from(count),
            Some(next) => base == next,
        };
        bytes = bytes.saturating_add(sealed.len());
        if !in_order || (bytes > max_bytes && !batches.is_empty()) {
            break;
        }
        match stream.open(base, count, timestamp, sealed) {
            Ok(batch) => batches.push(batch),
            // What is sound before the damage is still served; whoever goes on from there is told.
            Err(_) if !batches.is_empty() => break,
            Err(damage) => return Err(damage),
        }
        next = Some(base + u64::from(count));
    }
    if batches.is_empty() { Err(missing(connection, stream, from)) } else { Ok(batches) }
}

/// Why there is no batch at this offset: it was truncated meanwhile, or the file is damaged.
fn missing(connection: &Connection, stream: &Stream, offset: u64) -> StorageError {
    let start: Result<Option<i64>> = connection
        .query_row("SELECT start FROM stream WHERE number = ?1 AND deleted = 0", [stream.number], |row| row.get(0))
        .optional()
        .at(PLACE);
    match start {
        Err(error) => error,
        Ok(None) => StorageError::UnknownStream,
        Ok(Some(start)) if start as u64 > offset => StorageError::Truncated { asked: offset, start: start as u64 },
        Ok(Some(_)) => stream.damaged_at(offset),
    }
}
