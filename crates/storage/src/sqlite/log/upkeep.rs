//! Retention and deletion: long work in short steps, each a transaction of its own, with appends in between.

use std::collections::VecDeque;
use std::sync::Arc;

use rusqlite::{Connection, params};
use tokio::sync::oneshot;
use tradelane_model::Timestamp;

use super::super::At;
use super::super::reserve::Reserve;
use super::index::{Durable, Index, place_in};
use super::read::row_end;
use super::segments::{Place, Segments};
use super::streams::{Stream, offset_of, row_id};
use crate::error::{Result, StorageError};
use crate::event_log::{Truncate, Truncated};

/// What one step removes at most: batches, dedup keys, free pages of the index.
const BATCHES: usize = 256;
const KEYS: i64 = 4096;
const PAGES: u64 = 2048;
/// Free pages of the index that are kept for new rows.
const SPARE: u64 = 256;

type Reply<T> = oneshot::Sender<Result<T>>;

/// One piece of upkeep.
pub(super) struct Task {
    work: Work,
    /// The rows are gone; free pages are being given back.
    vacuuming: bool,
}

enum Work {
    Truncate { stream: Arc<Stream>, until: Truncate, done: Truncated, reply: Reply<Truncated> },
    Purge { number: u32, reply: Option<Reply<bool>> },
    Sweep { now: Timestamp, swept: u64, reply: Reply<u64> },
}

impl Task {
    /// Removes batches from the start of a stream.
    pub(super) fn truncate(stream: Arc<Stream>, until: Truncate, reply: Reply<Truncated>) -> Self {
        let done = Truncated { start: stream.bounds().start, ..Truncated::default() };
        Self { work: Work::Truncate { stream, until, done, reply }, vacuuming: false }
    }

    /// Removes what is left of a deleted stream.
    pub(super) fn purge(number: u32, reply: Option<Reply<bool>>) -> Self {
        Self { work: Work::Purge { number, reply }, vacuuming: false }
    }

    /// Removes expired dedup keys.
    pub(super) fn sweep(now: Timestamp, reply: Reply<u64>) -> Self {
        Self { work: Work::Sweep { now, swept: 0, reply }, vacuuming: false }
    }

    fn finish(self, outcome: Result<()>) {
        // Whoever asked may have gone away.
        match self.work {
            Work::Truncate { done, reply, .. } => drop(reply.send(outcome.map(|()| done))),
            Work::Purge { reply, .. } => drop(reply.map(|reply| reply.send(outcome.map(|()| true)))),
            Work::Sweep { swept, reply, .. } => drop(reply.send(outcome.map(|()| swept))),
        }
    }
}

/// What waits to be done.
pub(super) struct Upkeep {
    queue: VecDeque<Task>,
    reserve: Reserve,
}

impl Upkeep {
    pub(super) fn new(unfinished: Vec<Task>, reserve: Reserve) -> Self {
        Self { queue: unfinished.into(), reserve }
    }

    pub(super) fn add(&mut self, task: Task) {
        self.queue.push_back(task);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Does one step of the first task; true if that ended a task and space may have been given back.
    pub(super) fn step(&mut self, index: &mut Index, segments: &mut Segments) -> bool {
        let Some(mut task) = self.queue.pop_front() else { return false };
        let outcome = if task.vacuuming {
            give_back(index.connection(), index.place()).or_else(|error| {
                // The rows are gone, and their pages are free for new ones. Only the file is as long as before.
                tracing::warn!("the log's index could not be made shorter: {error}");
                Ok(true)
            })
        } else {
            index.transaction(Durable::Now, |connection, place| remove(&task.work, connection, place)).map(|step| {
                task.work.note(&step);
                task.vacuuming = step.last;
                segments.release(index.connection(), step.freed, index.place());
                false
            })
        };
        match outcome {
            Ok(true) => {
                task.finish(Ok(()));
                self.reserve.restore();
                return true;
            }
            Ok(false) => self.queue.push_front(task),
            // Removing is what makes room on a full disk.
            Err(StorageError::Full) if self.reserve.release() => self.queue.push_front(task),
            Err(error) => task.finish(Err(error)),
        }
        false
    }
}

/// What one step removed, once it is on disk.
struct Step {
    /// There is nothing more to remove.
    last: bool,
    /// Rows removed.
    rows: u64,
    /// Where batches lay whose rows were removed.
    freed: Vec<Place>,
    /// Where the stream starts now, if that changed.
    start: Option<u64>,
}

impl Work {
    fn note(&mut self, step: &Step) {
        match self {
            Self::Truncate { stream, done, .. } => {
                done.batches += step.rows;
                done.bytes += step.freed.iter().map(|place| u64::from(place.length)).sum::<u64>();
                if let Some(start) = step.start {
                    done.start = start;
                    stream.set_start(start);
                }
            }
            Self::Purge { .. } => {}
            Self::Sweep { swept, .. } => *swept += step.rows,
        }
    }
}

/// Removes one step's worth of rows.
fn remove(work: &Work, connection: &Connection, place: &str) -> Result<Step> {
    match work {
        Work::Truncate { stream, until, .. } => truncate(connection, stream, *until, place),
        Work::Purge { number, .. } => purge(connection, *number, place),
        Work::Sweep { now, .. } => sweep(connection, *now, place),
    }
}

/// The oldest batches of a stream that one step may remove: of each that `goes`, where it ends and where it lies; and
/// whether there may be more.
fn oldest(
    connection: &Connection,
    number: u32,
    goes: impl Fn(u64, Timestamp) -> bool,
    place: &str,
) -> Result<(Option<u64>, Vec<Place>, bool)> {
    let mut select = connection
        .prepare_cached(
            "SELECT id, count, timestamp, segment, position, length FROM batch WHERE id >= ?1 AND id <= ?2
             ORDER BY id LIMIT ?3",
        )
        .at(place)?;
    let mut rows = select.query(params![row_id(number, 0), row_end(number), BATCHES as i64]).at(place)?;
    let (mut last, mut found) = (None, Vec::new());
    while let Some(row) = rows.next().at(place)? {
        let end = offset_of(row.get(0).at(place)?) + u64::from(row.get::<_, u32>(1).at(place)?);
        if !goes(end, Timestamp(row.get(2).at(place)?)) {
            return Ok((last, found, false));
        }
        last = Some(end);
        found.push(place_in(row, 3).at(place)?);
    }
    let more = found.len() == BATCHES;
    Ok((last, found, more))
}

fn delete_below(connection: &Connection, number: u32, end: u64, place: &str) -> Result<()> {
    connection
        .prepare_cached("DELETE FROM batch WHERE id >= ?1 AND id < ?2")
        .and_then(|mut delete| delete.execute([row_id(number, 0), row_id(number, end)]))
        .at(place)?;
    Ok(())
}

fn truncate(connection: &Connection, stream: &Stream, until: Truncate, place: &str) -> Result<Step> {
    let goes = |end: u64, timestamp: Timestamp| match until {
        Truncate::Offset(offset) => end <= offset,
        Truncate::Before(time) => timestamp < time,
    };
    let (start, freed, more) = oldest(connection, stream.number, goes, place)?;
    let Some(start) = start else { return Ok(Step { last: true, rows: 0, freed, start: None }) };
    delete_below(connection, stream.number, start, place)?;
    let moved = connection
        .prepare_cached("UPDATE stream SET start = ?1 WHERE number = ?2 AND deleted = 0")
        .and_then(|mut update| update.execute(params![start as i64, stream.number]))
        .at(place)?;
    if moved == 0 {
        return Err(StorageError::UnknownStream);
    }
    Ok(Step { last: !more, rows: freed.len() as u64, freed, start: Some(start) })
}

fn purge(connection: &Connection, number: u32, place: &str) -> Result<Step> {
    let (end, freed, more) = oldest(connection, number, |_, _| true, place)?;
    if let Some(end) = end {
        delete_below(connection, number, end, place)?;
    }
    if !more {
        connection.execute("DELETE FROM stream WHERE number = ?1", [number]).at(place)?;
    }
    Ok(Step { last: !more, rows: freed.len() as u64, freed, start: None })
}

fn sweep(connection: &Connection, now: Timestamp, place: &str) -> Result<Step> {
    let removed = connection
        .prepare_cached(
            "DELETE FROM dedup WHERE key IN (SELECT key FROM dedup WHERE expires < ?1 ORDER BY expires LIMIT ?2)",
        )
        .and_then(|mut delete| delete.execute(params![now.0, KEYS]))
        .at(place)?;
    Ok(Step { last: (removed as i64) < KEYS, rows: removed as u64, freed: Vec::new(), start: None })
}

/// Gives one step's worth of free pages back; true when only the spare ones are left.
fn give_back(connection: &Connection, place: &str) -> Result<bool> {
    let free: i64 = connection.query_row("PRAGMA freelist_count", [], |row| row.get(0)).at(place)?;
    let surplus = (free as u64).saturating_sub(SPARE);
    if surplus == 0 {
        return Ok(true);
    }
    let mut vacuum = connection.prepare(&format!("PRAGMA incremental_vacuum({})", surplus.min(PAGES))).at(place)?;
    let mut rows = vacuum.query([]).at(place)?;
    while rows.next().at(place)?.is_some() {}
    Ok(surplus <= PAGES)
}
