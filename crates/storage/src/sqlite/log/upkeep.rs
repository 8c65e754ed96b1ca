//! Retention and deletion: long work in short steps, each a transaction of its own, with appends in between.

use std::collections::VecDeque;
use std::sync::Arc;

use rusqlite::{Connection, params};
use tokio::sync::oneshot;
use tradelane_model::Timestamp;

use super::super::At;
use super::read::row_end;
use super::streams::{Stream, offset_of, row_id};
use crate::error::{Result, StorageError};
use crate::event_log::{Truncate, Truncated};

/// What one step removes at most: batches, their bytes (one batch may have more), dedup keys, free pages.
const BATCHES: usize = 256;
const BYTES: u64 = 8 << 20;
const KEYS: i64 = 4096;
const PAGES: u64 = 2048;

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
    spare_pages: u64,
}

impl Upkeep {
    pub(super) fn new(unfinished: Vec<Task>, spare_pages: u64) -> Self {
        Self { queue: unfinished.into(), spare_pages }
    }

    pub(super) fn add(&mut self, task: Task) {
        self.queue.push_back(task);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Does one step of the first task; true if that ended a task and space may have been given back.
    pub(super) fn step(&mut self, connection: &Connection, place: &str) -> bool {
        let Some(mut task) = self.queue.pop_front() else { return false };
        let outcome = if task.vacuuming {
            give_back(connection, self.spare_pages, place)
        } else {
            in_transaction(connection, place, |connection| remove(&mut task.work, connection, place)).map(|all| {
                task.vacuuming = all;
                false
            })
        };
        match outcome {
            Ok(false) => {
                self.queue.push_front(task);
                false
            }
            Ok(true) => {
                task.finish(Ok(()));
                true
            }
            Err(error) => {
                task.finish(Err(error));
                false
            }
        }
    }
}

fn in_transaction<T>(
    connection: &Connection,
    place: &str,
    work: impl FnOnce(&Connection) -> Result<(T, Option<Moved>)>,
) -> Result<T> {
    connection.execute_batch("BEGIN IMMEDIATE").at(place)?;
    let outcome = work(connection).and_then(|done| connection.execute_batch("COMMIT").at(place).map(|()| done));
    if outcome.is_err() && !connection.is_autocommit() {
        drop(connection.execute_batch("ROLLBACK"));
    }
    outcome.map(|(done, moved)| {
        if let Some(Moved { stream, start }) = moved {
            stream.set_start(start);
        }
        done
    })
}

/// A stream whose start is to be moved once the step is on disk.
struct Moved {
    stream: Arc<Stream>,
    start: u64,
}

/// Removes one step's worth of rows; true when there are no more.
fn remove(work: &mut Work, connection: &Connection, place: &str) -> Result<(bool, Option<Moved>)> {
    match work {
        Work::Truncate { stream, until, done, .. } => truncate(connection, stream, *until, done, place),
        Work::Purge { number, .. } => Ok((purge(connection, *number, place)?, None)),
        Work::Sweep { now, swept, .. } => {
            let removed = connection
                .prepare_cached(
                    "DELETE FROM dedup WHERE key IN (SELECT key FROM dedup WHERE expires < ?1 ORDER BY expires LIMIT ?2)",
                )
                .and_then(|mut delete| delete.execute(params![now.0, KEYS]))
                .at(place)?;
            *swept += removed as u64;
            Ok(((removed as i64) < KEYS, None))
        }
    }
}

/// The oldest batches of a stream that one step may remove: `(end offset, bytes)` of each that `goes`; and whether
/// there may be more.
fn oldest(
    connection: &Connection,
    number: u32,
    goes: impl Fn(u64, Timestamp) -> bool,
    place: &str,
) -> Result<(Vec<(u64, u64)>, bool)> {
    let mut select = connection
        .prepare_cached(
            "SELECT id, count, timestamp, length(payload) FROM batch WHERE id >= ?1 AND id <= ?2 ORDER BY id LIMIT ?3",
        )
        .at(place)?;
    let mut rows = select.query(params![row_id(number, 0), row_end(number), BATCHES as i64]).at(place)?;
    let (mut found, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next().at(place)? {
        let end = offset_of(row.get(0).at(place)?) + u64::from(row.get::<_, u32>(1).at(place)?);
        if !goes(end, Timestamp(row.get(2).at(place)?)) {
            return Ok((found, false));
        }
        let length = row.get::<_, i64>(3).at(place)? as u64;
        found.push((end, length));
        bytes += length;
        if bytes >= BYTES {
            return Ok((found, true));
        }
    }
    let more = found.len() == BATCHES;
    Ok((found, more))
}

fn delete_below(connection: &Connection, number: u32, end: u64, place: &str) -> Result<()> {
    connection
        .prepare_cached("DELETE FROM batch WHERE id >= ?1 AND id < ?2")
        .and_then(|mut delete| delete.execute([row_id(number, 0), row_id(number, end)]))
        .at(place)?;
    Ok(())
}

fn truncate(
    connection: &Connection,
    stream: &Arc<Stream>,
    until: Truncate,
    done: &mut Truncated,
    place: &str,
) -> Result<(bool, Option<Moved>)> {
    let goes = |end: u64, timestamp: Timestamp| match until {
        Truncate::Offset(offset) => end <= offset,
        Truncate::Before(time) => timestamp < time,
    };
    let (found, more) = oldest(connection, stream.number, goes, place)?;
    let Some(&(start, _)) = found.last() else { return Ok((true, None)) };
    delete_below(connection, stream.number, start, place)?;
    let moved = connection
        .prepare_cached("UPDATE stream SET start = ?1 WHERE number = ?2 AND deleted = 0")
        .and_then(|mut update| update.execute(params![start as i64, stream.number]))
        .at(place)?;
    if moved == 0 {
        return Err(StorageError::UnknownStream);
    }
    done.start = start;
    done.batches += found.len() as u64;
    done.bytes += found.iter().map(|(_, bytes)| bytes).sum::<u64>();
    Ok((!more, Some(Moved { stream: Arc::clone(stream), start })))
}

fn purge(connection: &Connection, number: u32, place: &str) -> Result<bool> {
    let (found, more) = oldest(connection, number, |_, _| true, place)?;
    if let Some(&(end, _)) = found.last() {
        delete_below(connection, number, end, place)?;
    }
    if !more {
        connection.execute("DELETE FROM stream WHERE number = ?1", [number]).at(place)?;
    }
    Ok(!more)
}

/// Gives one step's worth of free pages back; true when only the spare ones are left.
fn give_back(connection: &Connection, spare: u64, place: &str) -> Result<bool> {
    let free: i64 = connection.query_row("PRAGMA freelist_count", [], |row| row.get(0)).at(place)?;
    let surplus = (free as u64).saturating_sub(spare);
    if surplus == 0 {
        return Ok(true);
    }
    let mut vacuum = connection.prepare(&format!("PRAGMA incremental_vacuum({})", surplus.min(PAGES))).at(place)?;
    let mut rows = vacuum.query([]).at(place)?;
    while rows.next().at(place)?.is_some() {}
    Ok(surplus <= PAGES)
}
