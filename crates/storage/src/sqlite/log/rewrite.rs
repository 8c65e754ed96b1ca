//! Puts batches in the place of others: one transaction for all of them, between two groups of appends.

use rusqlite::Connection;

use super::super::At;
use super::frames::{FrameHeader, Kind};
use super::index::{Durable, Index, insert_batch, place_in};
use super::segments::{Place, Segments};
use super::streams::{Stream, offset_of, row_id};
use super::writer::write;
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
pub(super) fn rewrite(
    index: &mut Index,
    segments: &mut Segments,
    stream: &Stream,
    rewrites: &[Rewrite],
) -> Result<bool> {
    let place = index.place().to_owned();
    segments.begin()?;
    index.begin(Durable::Now)?;
    let mut freed = Vec::new();
    let replaced = rewrites
        .iter()
        .try_fold(true, |all, one| Ok(all && replace(index.connection(), segments, stream, one, &mut freed, &place)?));
    if !matches!(replaced, Ok(true)) {
        index.roll_back();
        return replaced;
    }
    write(index, segments)?;
    segments.release(index.connection(), freed, &place);
    Ok(true)
}

fn replace(
    connection: &Connection,
    segments: &mut Segments,
    stream: &Stream,
    rewrite: &Rewrite,
    freed: &mut Vec<Place>,
    place: &str,
) -> Result<bool> {
    let offsets = &rewrite.offsets;
    let Some(lay) = whole_batches(connection, stream, rewrite, place)? else { return Ok(false) };
    freed.extend(lay);
    connection
        .prepare_cached("DELETE FROM batch WHERE id >= ?1 AND id < ?2")
        .and_then(|mut delete| {
            delete.execute([row_id(stream.number, offsets.start), row_id(stream.number, offsets.end)])
        })
        .at(place)?;
    let count = (offsets.end - offsets.start) as u32;
    let Rewrite { timestamp, payload, .. } = rewrite;
    let header = FrameHeader {
        kind: Kind::Rewrite,
        incarnation: stream.incarnation,
        base: offsets.start,
        count,
        timestamp: *timestamp,
    };
    let lies = segments.put(&header, |out| stream.seal(offsets.start, count, *timestamp, payload, out));
    insert_batch(connection, row_id(stream.number, offsets.start), count, timestamp.0, &lies, place)?;
    Ok(true)
}

/// Where the batches lie, if whole ones, in a row and without a gap, cover exactly these offsets.
fn whole_batches(
    connection: &Connection,
    stream: &Stream,
    rewrite: &Rewrite,
    place: &str,
) -> Result<Option<Vec<Place>>> {
    let offsets = &rewrite.offsets;
    let mut select = connection
        .prepare_cached("SELECT id, count, segment, position, length FROM batch WHERE id >= ?1 AND id < ?2 ORDER BY id")
        .at(place)?;
    let range = [row_id(stream.number, offsets.start), row_id(stream.number, offsets.end)];
    let mut rows = select.query(range).at(place)?;
    let (mut lay, mut next) = (Vec::new(), offsets.start);
    while let Some(row) = rows.next().at(place)? {
        if offset_of(row.get(0).at(place)?) != next {
            return Ok(None);
        }
        next += u64::from(row.get::<_, u32>(1).at(place)?);
        lay.push(place_in(row, 2).at(place)?);
    }
    Ok((next == offsets.end).then_some(lay))
}
