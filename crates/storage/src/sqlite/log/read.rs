//! Reads batches that are no longer in memory: where they lie from the index, then the segments.

use rusqlite::{Connection, OptionalExtension, params};
use tradelane_model::Timestamp;

use super::super::At;
use super::frames::MAX_SEALED;
use super::index::place_in;
use super::segments::{Files, Place};
use super::streams::{MAX_OFFSET, Stream, offset_of, row_id};
use crate::error::{Result, StorageError};
use crate::event_log::StoredBatch;

const PLACE: &str = "log.db, table batch";
/// Bytes between two batches that are read along rather than stepped over: headers, and small batches of other streams.
const GAP: u64 = 8 << 10;
/// Bytes that are read in one go, unless one batch has more.
const RUN: u64 = 1 << 20;

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

/// A batch as the index knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row {
    base: u64,
    count: u32,
    timestamp: Timestamp,
    lies: Place,
}

/// The rows from the one that holds `from`, before `end`; at least one. Runs in one snapshot of the index.
pub(super) fn rows(
    connection: &Connection,
    stream: &Stream,
    from: u64,
    end: u64,
    max_bytes: usize,
) -> Result<Vec<Row>> {
    let mut first = connection
        .prepare_cached("SELECT id FROM batch WHERE id >= ?1 AND id <= ?2 ORDER BY id DESC LIMIT 1")
        .at(PLACE)?;
    let first: Option<i64> = first
        .query_row([row_id(stream.number, 0), row_id(stream.number, from)], |row| row.get(0))
        .optional()
        .at(PLACE)?;
    let Some(first) = first else { return Err(missing(connection, stream, from)) };
    let mut select = connection
        .prepare_cached(
            "SELECT id, count, timestamp, segment, position, length FROM batch WHERE id >= ?1 AND id < ?2 ORDER BY id",
        )
        .at(PLACE)?;
    let mut found = select.query(params![first, row_id(stream.number, end)]).at(PLACE)?;
    let (mut rows, mut bytes, mut next): (Vec<Row>, _, _) = (Vec::new(), 0usize, None);
    while let Some(row) = found.next().at(PLACE)? {
        let row = as_row(row).at(PLACE)?;
        // A batch that is gone from the middle is damage, not a gap.
        let in_order = match next {
            None => row.base <= from && from < row.base + u64::from(row.count),
            Some(next) => row.base == next,
        };
        bytes = bytes.saturating_add(row.lies.length as usize);
        if !in_order || (bytes > max_bytes && !rows.is_empty()) {
            break;
        }
        next = Some(row.base + u64::from(row.count));
        rows.push(row);
    }
    if rows.is_empty() { Err(missing(connection, stream, from)) } else { Ok(rows) }
}

fn as_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    Ok(Row {
        base: offset_of(row.get(0)?),
        count: row.get(1)?,
        timestamp: Timestamp(row.get(2)?),
        lies: place_in(row, 3)?,
    })
}

/// Reads what the rows say, at least one of them. What is sound before the damage is still served; whoever goes on from
/// there is told.
pub(super) fn batches(files: &Files, stream: &Stream, rows: &[Row]) -> Result<Vec<StoredBatch>> {
    let (mut batches, mut rest) = (Vec::with_capacity(rows.len()), rows);
    while !rest.is_empty() {
        let (run, more) = rest.split_at(run_length(rest));
        if let Err(damage) = read_run(files, stream, run, &mut batches) {
            return if batches.is_empty() { Err(damage) } else { Ok(batches) };
        }
        rest = more;
    }
    Ok(batches)
}

/// How many of the rows lie one behind the other and are read in one go. Their memory is let go of together.
fn run_length(rows: &[Row]) -> usize {
    let Some(begin) = rows.first().map(|row| row.lies.position) else { return 0 };
    let behind = |pair: &&[Row]| match pair {
        [one, next] => {
            one.lies.segment == next.lies.segment
                && (one.lies.end()..=one.lies.end() + GAP).contains(&next.lies.position)
                && next.lies.end() - begin <= RUN
        }
        _ => false,
    };
    1 + rows.windows(2).take_while(behind).count()
}

/// Reads rows that lie one behind the other, in one go. Those before the first that is damaged are there on an error too.
fn read_run(files: &Files, stream: &Stream, run: &[Row], batches: &mut Vec<StoredBatch>) -> Result<()> {
    let (Some(first), Some(last)) = (run.first(), run.last()) else { return Ok(()) };
    let begin = first.lies.position;
    if run.iter().any(|row| row.lies.length as usize > MAX_SEALED) {
        return Err(stream.damaged_at(first.base));
    }
    let mut bytes = files.read(first.lies.segment, begin, (last.lies.end() - begin) as usize)?;
    let mut opened = Vec::with_capacity(run.len());
    let whole = run.iter().try_for_each(|row| {
        let at = (row.lies.position - begin) as usize;
        let sealed = &mut bytes[at..at + row.lies.length as usize];
        let plain = stream.open(row.base, row.count, row.timestamp, sealed)?;
        opened.push((row, at + plain.start..at + plain.end));
        Ok(())
    });
    let bytes = bytes.freeze();
    batches.extend(opened.into_iter().map(|(row, plain)| StoredBatch {
        base_offset: row.base,
        count: row.count,
        timestamp: row.timestamp,
        payload: bytes.slice(plain),
    }));
    whole
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
