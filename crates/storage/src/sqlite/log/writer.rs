//! The thread that appends. It takes whatever has queued up, writes it as one group, and acknowledges it once that has
//! been synced: one sync for all that came while the last one was running.

use std::collections::VecDeque;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use rusqlite::{OptionalExtension, params};
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tradelane_keys::{SecretBytes, random_array};

use super::super::At;
use super::KIND;
use super::LogOptions;
use super::checkpoint::Checkpointer;
use super::frames::{FrameHeader, Kind};
use super::index::{Durable, Index, insert_batch, insert_key, note_end};
use super::rewrite;
use super::segments::Segments;
use super::streams::{MAX_OFFSET, MAX_STREAMS, Stream, Streams, row_id};
use super::upkeep::{Task, Upkeep};
use crate::error::{Result, StorageError};
use crate::event_log::{Append, Appended, Bounds, Rewrite, StoredBatch, StreamId};

/// What one transaction takes at most.
const GROUP: usize = 1024;
const GROUP_BYTES: usize = 8 << 20;
/// The rest of a checkpoint that the writer does itself, between two commits.
const SMALL_REST: u64 = 2 << 20;

/// Appends that wait to be written, as one.
pub(super) struct Pending {
    pub(super) appends: Vec<Append>,
    pub(super) reply: oneshot::Sender<Result<Vec<Appended>>>,
    /// Its room in the queue, given back when it has been answered.
    pub(super) _room: OwnedSemaphorePermit,
}

/// What the writer is asked to do.
pub(super) enum Op {
    Append(Box<Pending>),
    Rewrite(Arc<Stream>, Vec<Rewrite>, oneshot::Sender<Result<bool>>),
    Delete(Arc<Stream>, oneshot::Sender<Result<bool>>),
    Upkeep(Task),
}

pub(super) struct Writer {
    index: Index,
    segments: Segments,
    key: Arc<SecretBytes<32>>,
    streams: Arc<Streams>,
    /// Incarnations of the streams there are: a dedup key of a deleted stream counts no more.
    live: HashSet<[u8; 16]>,
    /// The order in which batches came into memory, and how many bytes they are.
    recent: VecDeque<Arc<Stream>>,
    recent_bytes: usize,
    tail_bytes: usize,
    upkeep: Upkeep,
    checkpointer: Checkpointer,
    checkpoint_bytes: u64,
    stopped: Option<StorageError>,
}

/// What the appends of one transaction changed, none of it visible until the commit.
#[derive(Default)]
struct Changes {
    born: HashMap<StreamId, Arc<Stream>>,
    ends: HashMap<u32, u64>,
}

/// What became of appends that are one.
enum Outcome {
    Wrote(Vec<(Arc<Stream>, StoredBatch)>),
    /// Where they are since the first time.
    Duplicate(Vec<u64>),
    Refused(StorageError),
}

/// What is known of an append's key.
enum Known {
    Nothing,
    /// It did just this, at that offset.
    Done(u64),
    /// It did something else.
    Other,
}

impl Writer {
    pub(super) fn new(
        index: Index,
        segments: Segments,
        key: Arc<SecretBytes<32>>,
        streams: Arc<Streams>,
        upkeep: Upkeep,
        checkpointer: Checkpointer,
        options: &LogOptions,
    ) -> Self {
        let live = streams.all().iter().map(|stream| stream.incarnation).collect();
        Self {
            index,
            segments,
            key,
            streams,
            live,
            recent: VecDeque::new(),
            recent_bytes: 0,
            tail_bytes: options.tail_bytes,
            upkeep,
            checkpointer,
            checkpoint_bytes: options.checkpoint_bytes,
            stopped: None,
        }
    }

    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Op>) {
        while let Some((group, other)) = self.take(&mut queue) {
            self.append_all(group);
            match other {
                Some(Op::Rewrite(stream, rewrites, reply)) => drop(reply.send(self.rewrite(&stream, &rewrites))),
                Some(Op::Delete(stream, reply)) => self.delete(&stream, reply),
                Some(Op::Upkeep(task)) => self.upkeep.add(task),
                Some(Op::Append(_)) | None => {}
            }
            if self.upkeep.step(&mut self.index, &mut self.segments) {
                // What was given back leaves the file with the next checkpoint.
                self.checkpointer.ask();
            }
            self.mind_the_wal();
        }
        self.streams.all().iter().for_each(|stream| stream.close());
    }

    /// The next appends, and the operation after them if it is no append. `None` when the log is closed.
    fn take(&self, queue: &mut mpsc::Receiver<Op>) -> Option<(Vec<Pending>, Option<Op>)> {
        let first = if self.upkeep.is_empty() {
            queue.blocking_recv()?
        } else {
            match queue.try_recv() {
                Ok(op) => op,
                Err(TryRecvError::Empty) => return Some((Vec::new(), None)),
                Err(TryRecvError::Disconnected) => return None,
            }
        };
        let (mut group, mut appends, mut bytes, mut next) = (Vec::new(), 0, 0, Some(first));
        while let Some(op) = next {
            let Op::Append(pending) = op else { return Some((group, Some(op))) };
            bytes += pending.appends.iter().map(|append| append.payload.len()).sum::<usize>();
            appends += pending.appends.len();
            group.push(*pending);
            next = if appends < GROUP && bytes < GROUP_BYTES { queue.try_recv().ok() } else { None };
        }
        Some((group, None))
    }

    fn append_all(&mut self, group: Vec<Pending>) {
        if group.is_empty() {
            return;
        }
        match self.commit(&group) {
            Ok((changes, outcomes)) => {
                for stream in changes.born.into_values() {
                    self.live.insert(stream.incarnation);
                    self.streams.add(stream);
                }
                for (pending, outcome) in group.into_iter().zip(outcomes) {
                    // The caller may have gone away; the batch is there all the same.
                    drop(pending.reply.send(self.show(outcome)));
                }
            }
            Err(error) => {
                if matches!(error, StorageError::Stopped { .. }) {
                    self.stop(&error);
                }
                for pending in group {
                    drop(pending.reply.send(Err(error.clone())));
                }
            }
        }
    }

    /// After a failed sync nobody knows what is on disk: only opening the file anew tells.
    fn stop(&mut self, error: &StorageError) {
        tracing::error!("the log stops: {error} ({})", error.cause().unwrap_or_default());
        self.stopped = Some(error.clone());
        self.streams.all().iter().for_each(|stream| stream.close());
    }

    /// Writes the group. When this returns `Ok`, it is on disk.
    fn commit(&mut self, group: &[Pending]) -> Result<(Changes, Vec<Outcome>)> {
        if let Some(error) = &self.stopped {
            return Err(error.clone());
        }
        self.segments.begin()?;
        // Segments do not say what a stream is called: its birth has to be in the index to stay.
        let mut appends = group.iter().flat_map(|pending| &pending.appends);
        let births = appends.any(|append| self.streams.find(&append.stream).is_none());
        self.index.begin(if births { Durable::Now } else { Durable::Later })?;
        let mut changes = Changes::default();
        let outcomes: Result<Vec<Outcome>> =
            group.iter().map(|pending| self.write_all(&pending.appends, &mut changes)).collect();
        match outcomes {
            Ok(outcomes) => write(&mut self.index, &mut self.segments).map(|()| (changes, outcomes)),
            Err(error) => {
                self.index.roll_back();
                Err(error)
            }
        }
    }

    /// Writes appends that are one inside the transaction: all, or none of them. An error is one of the transaction as a whole.
    fn write_all(&mut self, appends: &[Append], changes: &mut Changes) -> Result<Outcome> {
        let mut places = Vec::with_capacity(appends.len());
        for append in appends {
            let found = changes.born.get(&append.stream).cloned().or_else(|| self.streams.find(&append.stream));
            let Some(stream) = found.map_or_else(|| self.give_birth(append, changes), |stream| Ok(Some(stream)))?
            else {
                return Ok(Outcome::Refused(StorageError::Limit { what: "the number of streams" }));
            };
            let base = changes.ends.get(&stream.number).copied().unwrap_or_else(|| stream.bounds().end);
            if base + u64::from(append.count) >= MAX_OFFSET {
                return Ok(Outcome::Refused(StorageError::Limit { what: "the stream's length" }));
            }
            places.push((stream, base));
        }
        let mut done = Vec::new();
        for (append, (stream, _)) in appends.iter().zip(&places) {
            match self.known(append, stream, changes)? {
                Known::Nothing => {}
                Known::Done(base) => done.push(base),
                Known::Other => return Ok(Outcome::Refused(StorageError::DedupConflict)),
            }
        }
        if !done.is_empty() {
            let all = done.len() == appends.len();
            return Ok(if all { Outcome::Duplicate(done) } else { Outcome::Refused(StorageError::DedupConflict) });
        }
        let write = |(append, (stream, base)): (&Append, _)| self.write(append, stream, base, changes);
        appends.iter().zip(places).map(write).collect::<Result<_>>().map(Outcome::Wrote)
    }

    /// Writes one append to its place.
    fn write(
        &mut self,
        append: &Append,
        stream: Arc<Stream>,
        base: u64,
        changes: &mut Changes,
    ) -> Result<(Arc<Stream>, StoredBatch)> {
        let (connection, place) = (self.index.connection(), self.index.place());
        let Append { count, timestamp, payload, dedup, .. } = append;
        let incarnation = stream.incarnation;
        if let Some(dedup) = dedup {
            insert_key(connection, dedup, &incarnation, base, place)?;
        }
        let header =
            FrameHeader { kind: Kind::Append(dedup.clone()), incarnation, base, count: *count, timestamp: *timestamp };
        let lies = self.segments.put(&header, |out| stream.seal(base, *count, *timestamp, payload, out));
        insert_batch(connection, row_id(stream.number, base), *count, timestamp.0, &lies, place)?;
        changes.ends.insert(stream.number, base + u64::from(*count));
        let batch = StoredBatch { base_offset: base, count: *count, timestamp: *timestamp, payload: payload.clone() };
        Ok((stream, batch))
    }

    /// What the append's key was used for before.
    fn known(&self, append: &Append, stream: &Stream, changes: &Changes) -> Result<Known> {
        let Some(dedup) = &append.dedup else { return Ok(Known::Nothing) };
        let known: Option<([u8; 32], [u8; 16], i64)> = self
            .index
            .connection()
            .prepare_cached("SELECT body, incarnation, base FROM dedup WHERE key = ?1 AND expires > ?2")
            .and_then(|mut select| {
                select
                    .query_row(params![dedup.key, append.timestamp.0], |row| {
                        Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                    })
                    .optional()
            })
            .at(self.index.place())?;
        let Some((body, incarnation, first)) = known else { return Ok(Known::Nothing) };
        if incarnation == stream.incarnation && body == dedup.body {
            return Ok(Known::Done(first as u64));
        }
        let born = changes.born.values().any(|stream| stream.incarnation == incarnation);
        Ok(if born || self.live.contains(&incarnation) { Known::Other } else { Known::Nothing })
    }

    /// Makes the stream, or `None` if there are as many as there can be.
    fn give_birth(&mut self, append: &Append, changes: &mut Changes) -> Result<Option<Arc<Stream>>> {
        // Numbers are handed out upwards; past the end, the first that a purged stream left is taken.
        let free = "SELECT coalesce((SELECT max(number) + 1 FROM stream), 0)";
        let gap = "SELECT coalesce(min(number) + 1, 0) FROM stream AS this
                   WHERE NOT EXISTS (SELECT 1 FROM stream AS next WHERE next.number = this.number + 1)";
        let ask =
            |text: &str| self.index.connection().query_row(text, [], |row| row.get::<_, u32>(0)).at(self.index.place());
        let mut number = ask(free)?;
        if number >= MAX_STREAMS {
            number = ask(gap)?;
        }
        if number >= MAX_STREAMS {
            return Ok(None);
        }
        let id = append.stream.clone();
        let incarnation: [u8; 16] = random_array();
        self.index
            .connection()
            .execute(
                "INSERT INTO stream (number, product, part, incarnation, start) VALUES (?1, ?2, ?3, ?4, 0)",
                params![number, &*id.product, id.partition, incarnation],
            )
            .at(self.index.place())?;
        let bounds = Bounds { start: 0, end: 0 };
        let stream = Arc::new(Stream::new(Arc::clone(&self.key), id.clone(), number, incarnation, bounds));
        changes.born.insert(id, Arc::clone(&stream));
        Ok(Some(stream))
    }

    /// Makes what is on disk visible.
    fn show(&mut self, outcome: Outcome) -> Result<Vec<Appended>> {
        match outcome {
            Outcome::Refused(error) => Err(error),
            Outcome::Duplicate(bases) => {
                Ok(bases.into_iter().map(|base_offset| Appended { base_offset, duplicate: true }).collect())
            }
            Outcome::Wrote(batches) => {
                Ok(batches.into_iter().map(|(stream, batch)| self.show_one(stream, batch)).collect())
            }
        }
    }

    fn show_one(&mut self, stream: Arc<Stream>, batch: StoredBatch) -> Appended {
        let base_offset = batch.base_offset;
        self.recent_bytes += batch.payload.len();
        stream.publish(batch);
        self.recent.push_back(stream);
        while self.recent_bytes > self.tail_bytes
            && let Some(oldest) = self.recent.pop_front()
        {
            self.recent_bytes -= oldest.forget_oldest();
        }
        Appended { base_offset, duplicate: false }
    }

    fn rewrite(&mut self, stream: &Stream, rewrites: &[Rewrite]) -> Result<bool> {
        if let Some(error) = &self.stopped {
            return Err(error.clone());
        }
        // What a deleted stream had is on its way out.
        if !self.live.contains(&stream.incarnation) {
            return Err(StorageError::UnknownStream);
        }
        let done = rewrite::rewrite(&mut self.index, &mut self.segments, stream, rewrites);
        match &done {
            Ok(true) => {
                let until = rewrites.iter().map(|rewrite| rewrite.offsets.end).max().unwrap_or(0);
                self.recent_bytes -= stream.forget_before(until);
            }
            Err(error @ StorageError::Stopped { .. }) => self.stop(error),
            _ => {}
        }
        done
    }

    fn delete(&mut self, stream: &Stream, reply: oneshot::Sender<Result<bool>>) {
        let marked = self.index.transaction(Durable::Now, |connection, place| {
            connection
                .execute(
                    "UPDATE stream SET deleted = 1 WHERE number = ?1 AND incarnation = ?2",
                    params![stream.number, stream.incarnation],
                )
                .at(place)
        });
        match marked {
            Ok(0) => drop(reply.send(Ok(false))),
            Ok(_) => {
                self.live.remove(&stream.incarnation);
                self.streams.remove(&stream.id);
                self.upkeep.add(Task::purge(stream.number, Some(reply)));
            }
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    /// Keeps the write-ahead log short without making appends wait for long.
    fn mind_the_wal(&mut self) {
        let page = u64::from(KIND.page_size);
        let Ok((written, moved)) = self.wal_state() else { return };
        let (length, rest) = (written * page, written.saturating_sub(moved) * page);
        if length < self.checkpoint_bytes || rest == 0 {
            // Once everything has been moved, the next commit starts the log over by itself.
            return;
        }
        if !self.checkpointer.is_idle() {
            if length < self.checkpoint_bytes * 8 {
                return;
            }
            // Far behind: appends wait, or the disk would fill up with log.
            self.checkpointer.wait();
        }
        if rest <= SMALL_REST || length >= self.checkpoint_bytes * 8 {
            if let Err(error) = self.index.connection().query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())) {
                tracing::warn!("the log's checkpoint failed: {error}");
            }
        } else {
            self.checkpointer.ask();
        }
    }

    /// Pages in the write-ahead log, and how many of them are in the database already.
    fn wal_state(&self) -> rusqlite::Result<(u64, u64)> {
        let mut state = self.index.connection().prepare_cached("PRAGMA wal_checkpoint(NOOP)")?;
        let (written, moved): (i64, i64) = state.query_row([], |row| Ok((row.get(1)?, row.get(2)?)))?;
        Ok((written.max(0) as u64, moved.max(0) as u64))
    }
}

/// Writes the group that was put together, and commits the index's transaction about it: both, or neither.
pub(super) fn write(index: &mut Index, segments: &mut Segments) -> Result<()> {
    let written = match segments.write() {
        Ok(written) => written,
        Err(error) => {
            index.roll_back();
            return Err(error);
        }
    };
    let committed = note_end(index.connection(), &written.after, index.place()).and_then(|()| index.commit());
    if committed.is_err() {
        index.roll_back();
        segments.undo(&written)?;
    }
    committed
}
