//! Moves batches that an index of schema version 1 held in its rows into segments. They stay sealed as they are.

use rusqlite::{Connection, params};

use super::super::At;
use super::frames::{FrameHeader, Kind};
use super::index::{Durable, Index, insert_batch};
use super::segments::Segments;
use super::streams::offset_of;
use super::writer::write;
use crate::error::Result;

/// What one step moves: so many rows, or about so many bytes.
const ROWS: usize = 1024;
const BYTES: usize = 8 << 20;

/// Moves what is left to move. Goes on where it was interrupted.
pub(super) fn convert(index: &mut Index, segments: &mut Segments) -> Result<()> {
    let place = index.place().to_owned();
    let old: bool = index
        .connection()
        .query_row("SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'batch_in_row')", [], |row| row.get(0))
        .at(&place)?;
    if !old {
        return Ok(());
    }
    let mut moved = 0;
    loop {
        segments.begin()?;
        index.begin(Durable::Now)?;
        match step(index.connection(), segments, &place) {
            Ok(0) => break,
            Ok(rows) => moved += rows,
            Err(error) => {
                index.roll_back();
                return Err(error);
            }
        }
        write(index, segments)?;
        tracing::info!(moved, "batches of an earlier release are moved into segments");
    }
    index.connection().execute_batch("DROP TABLE batch_in_row").at(&place)?;
    index.commit()
}

/// Puts the first rows into the group; answers how many.
fn step(connection: &Connection, segments: &mut Segments, place: &str) -> Result<usize> {
    let mut select = connection
        .prepare_cached(
            "SELECT id, count, timestamp, payload, incarnation FROM batch_in_row JOIN stream ON number = id >> 43
             ORDER BY id LIMIT ?1",
        )
        .at(place)?;
    let mut rows = select.query([ROWS as i64]).at(place)?;
    let (mut moved, mut bytes, mut last) = (0, 0, 0i64);
    while bytes < BYTES
        && let Some(row) = rows.next().at(place)?
    {
        last = row.get(0).at(place)?;
        let sealed: Vec<u8> = row.get(3).at(place)?;
        let header = FrameHeader {
            kind: Kind::Rewrite,
            incarnation: row.get(4).at(place)?,
            base: offset_of(last),
            count: row.get(1).at(place)?,
            timestamp: tradelane_model::Timestamp(row.get(2).at(place)?),
        };
        let lies = segments.put(&header, |out| out.extend_from_slice(&sealed));
        insert_batch(connection, last, header.count, header.timestamp.0, &lies, place)?;
        (moved, bytes) = (moved + 1, bytes + sealed.len());
    }
    drop(rows);
    if moved > 0 {
        connection.execute("DELETE FROM batch_in_row WHERE id <= ?1", params![last]).at(place)?;
    }
    Ok(moved)
}
