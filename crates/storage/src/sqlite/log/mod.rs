//! The embedded event log: record batches in segment files, and an index of them in SQLite.
//!
//! * `writer.rs`: one thread appends, with one sync for everything that has queued up.
//! * `segments.rs`, `frames.rs`: the files that batches lie in, and their bytes.
//! * `index.rs`: which batches there are and where; what retries are known by.
//! * `replay.rs`: at a start, what the segments hold and the index does not know yet.
//! * `convert.rs`: moves what an earlier release kept in rows of the index.
//! * `rewrite.rs`: what compaction leaves, in the place of what was there.
//! * `upkeep.rs`: retention and deletion, in small steps between appends.
//! * `checkpoint.rs`: moves the index's write-ahead log into its database beside the writer.
//! * `streams.rs`: bounds, keys and the newest batches in memory.
//! * `read.rs`: batches that are no longer in memory.

mod checkpoint;
mod convert;
mod frames;
mod index;
mod read;
mod replay;
mod rewrite;
mod segments;
mod streams;
mod upkeep;
mod writer;

use std::collections::HashSet;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use async_trait::async_trait;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tradelane_keys::SecretBytes;
use tradelane_model::Timestamp;

use self::checkpoint::Checkpointer;
use self::index::Index;
use self::segments::Files;
use self::streams::{Stream, Streams};
use self::upkeep::{Task, Upkeep};
use self::writer::{Op, Pending, Writer};
use super::readers::Readers;
use super::reserve::Reserve;
use super::{At, open};
use crate::error::{Result, StorageError};
use crate::event_log::{
    Append, Appended, Bounds, EventLog, MAX_BATCH, MAX_COUNT, MAX_TOGETHER, Rewrite, StoredBatch, StreamId, Truncate,
    Truncated,
};
use crate::recovery::Recovery;
use crate::sealing::KeyCheck;

const KIND: open::Kind = open::Kind {
    application_id: 0x544c_4c47, // "TLLG"
    page_size: 4096,
    secure_delete: false,
    exclusive: false,
    vacuum: true,
    autocheckpoint: 0,
    synced: false,
    migrations: &[
        "CREATE TABLE stream (
             number INTEGER PRIMARY KEY, product TEXT NOT NULL, part INTEGER NOT NULL, incarnation BLOB NOT NULL,
             start INTEGER NOT NULL, deleted INTEGER NOT NULL DEFAULT 0) STRICT;
         CREATE UNIQUE INDEX stream_name ON stream (product, part) WHERE deleted = 0;
         CREATE TABLE batch (
             id INTEGER PRIMARY KEY, count INTEGER NOT NULL, timestamp INTEGER NOT NULL, payload BLOB NOT NULL) STRICT;
         CREATE TABLE dedup (
             key BLOB PRIMARY KEY, body BLOB NOT NULL, incarnation BLOB NOT NULL, base INTEGER NOT NULL,
             expires INTEGER NOT NULL) STRICT, WITHOUT ROWID;
         CREATE INDEX dedup_expires ON dedup (expires);",
        "ALTER TABLE batch RENAME TO batch_in_row;
         CREATE UNIQUE INDEX stream_incarnation ON stream (incarnation);
         CREATE TABLE batch (
             id INTEGER PRIMARY KEY, count INTEGER NOT NULL, timestamp INTEGER NOT NULL, segment INTEGER NOT NULL,
             position INTEGER NOT NULL, length INTEGER NOT NULL) STRICT;
         CREATE INDEX batch_place ON batch (segment, position);
         CREATE TABLE written (
             log BLOB NOT NULL, segment INTEGER NOT NULL, position INTEGER NOT NULL, sequence INTEGER NOT NULL) STRICT;",
    ],
};

/// How the log uses memory and disk.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// Bytes of payload that may wait to be written before appends wait for room.
    pub queue_bytes: usize,
    /// Bytes of the newest batches that are kept in memory, over all streams, for readers that follow the end.
    pub tail_bytes: usize,
    /// How many older reads run at once.
    pub readers: usize,
    /// Bytes of the index's write-ahead log from which on it is moved into its database.
    pub checkpoint_bytes: u64,
    /// Bytes of a segment from which on the next one begins.
    pub segment_bytes: u64,
    /// The most bytes that the segments may take up; appends are refused as on a full disk. `None`: the disk decides.
    pub max_bytes: Option<u64>,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            queue_bytes: 64 << 20,
            tail_bytes: 32 << 20,
            readers: 4,
            checkpoint_bytes: 16 << 20,
            segment_bytes: 64 << 20,
            max_bytes: None,
        }
    }
}

/// How many operations may wait for the writer.
const QUEUE: usize = 4096;
/// Bytes that one permit of the queue stands for.
const PERMIT: usize = 1024;

/// The event log in segments, indexed by SQLite.
pub struct SqliteLog {
    readers: Readers,
    files: Arc<Files>,
    ops: mpsc::Sender<Op>,
    writer: Option<JoinHandle<()>>,
    room: Arc<Semaphore>,
    queue_bytes: usize,
    streams: Arc<Streams>,
    recovery: Recovery,
    _lock: File,
}

impl SqliteLog {
    /// Opens or creates the file. Blocks: call it before serving, or on a thread for blocking work.
    pub fn open(path: &Path, key: &SecretBytes<32>, options: &LogOptions) -> Result<Self> {
        let opened = open::open(path, &KIND, &KeyCheck::new(key))?;
        let (place, mut recovery) = (opened.place, opened.recovery);
        opened.connection.execute_batch("PRAGMA cache_size=-16384").at(&place)?;
        let mut index = Index::new(opened.connection, place.clone());
        let mut replayed = replay::open(&mut index, Files::beside(path)?, options)?;
        convert::convert(&mut index, &mut replayed.segments)?;
        recovery.found_elsewhere(replayed.groups, replayed.torn_bytes);
        let key = Arc::new(SecretBytes::new(*key.expose()));
        let loaded = load(index.connection(), &key, &place)?;
        let streams = Arc::new(Streams::new(loaded.streams));
        let files = Arc::clone(replayed.segments.files());

        let beside = open::connect(path, &place, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        beside.execute_batch("PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0").at(&place)?;
        let writer = Writer::new(
            index,
            replayed.segments,
            key,
            Arc::clone(&streams),
            Upkeep::new(loaded.unfinished, Reserve::beside(path)),
            Checkpointer::start(beside)?,
            options,
        );
        let (ops, queue) = mpsc::channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("log writer".to_owned())
            .spawn(move || writer.run(queue))
            .map_err(|error| StorageError::Unavailable { cause: error.to_string() })?;
        let queue_bytes = options.queue_bytes.clamp(PERMIT, 1 << 30);
        Ok(Self {
            readers: Readers::new(path, &place, options.readers.max(1)),
            files,
            ops,
            writer: Some(thread),
            room: Arc::new(Semaphore::new(queue_bytes / PERMIT)),
            queue_bytes,
            streams,
            recovery,
            _lock: opened.lock,
        })
    }

    /// What opening it found and did.
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    fn find(&self, stream: &StreamId) -> Result<Arc<Stream>> {
        self.streams.find(stream).ok_or(StorageError::UnknownStream)
    }

    /// Reads batches that are no longer in memory. What was removed or rewritten between the look into the index and the
    /// look into the segment is looked up again; what is in its place and does not open is damaged.
    async fn read_files(
        &self,
        stream: &Arc<Stream>,
        from: u64,
        end: u64,
        max_bytes: usize,
    ) -> Result<Vec<StoredBatch>> {
        let mut before = None;
        loop {
            let (stream, files) = (Arc::clone(stream), Arc::clone(&self.files));
            let read = move |connection: &Connection| {
                let rows = read::rows(connection, &stream, from, end, max_bytes)?;
                Ok(read::batches(&files, &stream, &rows).map_err(|error| (rows, error)))
            };
            match self.readers.read(read).await? {
                Ok(batches) => return Ok(batches),
                Err((rows, damage)) if before.replace(rows.first().copied()) == Some(rows.first().copied()) => {
                    return Err(damage);
                }
                Err(_) => {}
            }
        }
    }

    async fn ask<T>(&self, op: impl FnOnce(oneshot::Sender<Result<T>>) -> Op) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        self.ops.send(op(reply)).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }
}

impl Drop for SqliteLog {
    fn drop(&mut self) {
        // The last to close a file tidies its write-ahead log away; that must be one that may write.
        self.readers.close();
        // Without a sender the writer finishes what was queued and ends.
        self.ops = mpsc::channel(1).0;
        if let Some(thread) = self.writer.take() {
            drop(thread.join());
        }
    }
}

fn stopped() -> StorageError {
    StorageError::Stopped { cause: "the log is closed".to_owned() }
}

struct Loaded {
    streams: Vec<Arc<Stream>>,
    unfinished: Vec<Task>,
}

/// Reads which streams there are and where they end.
fn load(connection: &Connection, key: &Arc<SecretBytes<32>>, place: &str) -> Result<Loaded> {
    let mut streams = Vec::new();
    let mut unfinished = Vec::new();
    let mut select =
        connection.prepare("SELECT number, product, part, incarnation, start, deleted FROM stream").at(place)?;
    let mut rows = select.query([]).at(place)?;
    while let Some(row) = rows.next().at(place)? {
        let number: u32 = row.get(0).at(place)?;
        if row.get::<_, bool>(5).at(place)? {
            unfinished.push(Task::purge(number, None));
            continue;
        }
        let product: String = row.get(1).at(place)?;
        let id = StreamId::new(product, row.get(2).at(place)?);
        let start = row.get::<_, i64>(4).at(place)? as u64;
        let end = read::end_of(connection, number, place)?.unwrap_or(start).max(start);
        let incarnation: [u8; 16] = row.get(3).at(place)?;
        streams.push(Arc::new(Stream::new(Arc::clone(key), id, number, incarnation, Bounds { start, end })));
    }
    Ok(Loaded { streams, unfinished })
}

/// Refuses what is out of bounds before it is queued.
fn check_all(appends: &[Append]) -> Result<()> {
    if appends.len() > MAX_TOGETHER {
        return Err(StorageError::Limit { what: "the number of batches" });
    }
    let mut streams = HashSet::with_capacity(appends.len());
    if !appends.iter().all(|append| streams.insert(&append.stream)) {
        return Err(StorageError::Limit { what: "the batches of a stream that are appended as one" });
    }
    appends.iter().try_for_each(check)
}

fn check(append: &Append) -> Result<()> {
    let Append { stream, count, payload, .. } = append;
    if stream.product.is_empty() || stream.product.len() > 255 || stream.product.contains('\0') {
        return Err(StorageError::Limit { what: "the product's name" });
    }
    if *count == 0 || *count > MAX_COUNT {
        return Err(StorageError::Limit { what: "the number of events in a batch" });
    }
    if payload.len() > MAX_BATCH {
        return Err(StorageError::Limit { what: "the size of a batch" });
    }
    Ok(())
}

#[async_trait]
impl EventLog for SqliteLog {
    async fn append_all(&self, appends: Vec<Append>) -> Result<Vec<Appended>> {
        if appends.is_empty() {
            return Ok(Vec::new());
        }
        check_all(&appends)?;
        let bytes: usize = appends.iter().map(|append| append.payload.len()).sum();
        let weight = bytes.min(self.queue_bytes - PERMIT) / PERMIT + 1;
        let room = Arc::clone(&self.room).acquire_many_owned(weight as u32).await.map_err(|_| stopped())?;
        self.ask(|reply| Op::Append(Box::new(Pending { appends, reply, _room: room }))).await
    }

    async fn read(&self, stream: &StreamId, from_offset: u64, max_bytes: usize) -> Result<Vec<StoredBatch>> {
        let stream = self.find(stream)?;
        let Bounds { start, end } = stream.bounds();
        if from_offset < start {
            return Err(StorageError::Truncated { asked: from_offset, start });
        }
        if from_offset > end {
            return Err(StorageError::BeyondEnd { asked: from_offset, end });
        }
        if from_offset == end {
            return Ok(Vec::new());
        }
        if let Some(batches) = stream.read_tail(from_offset, max_bytes) {
            return Ok(batches);
        }
        self.read_files(&stream, from_offset, end, max_bytes).await
    }

    async fn bounds(&self, stream: &StreamId) -> Result<Option<Bounds>> {
        Ok(self.streams.find(stream).map(|stream| stream.bounds()))
    }

    async fn wait(&self, stream: &StreamId, offset: u64) -> Result<u64> {
        let mut births = self.streams.births();
        let stream = loop {
            births.borrow_and_update();
            match self.streams.find(stream) {
                Some(stream) => break stream,
                None => births.changed().await.map_err(|_| stopped())?,
            }
        };
        let mut ends = stream.watch();
        let end = ends.wait_for(|end| end.offset > offset || !end.open).await.map_err(|_| stopped())?;
        if end.offset > offset { Ok(end.offset) } else { Err(StorageError::UnknownStream) }
    }

    async fn truncate_before(&self, stream: &StreamId, until: Truncate) -> Result<Truncated> {
        let stream = self.find(stream)?;
        self.ask(|reply| Op::Upkeep(Task::truncate(stream, until, reply))).await
    }

    async fn rewrite(&self, stream: &StreamId, rewrites: Vec<Rewrite>) -> Result<bool> {
        let stream = self.find(stream)?;
        rewrites.iter().try_for_each(rewrite::check)?;
        self.ask(|reply| Op::Rewrite(stream, rewrites, reply)).await
    }

    async fn delete_stream(&self, stream: &StreamId) -> Result<bool> {
        let Some(stream) = self.streams.find(stream) else { return Ok(false) };
        self.ask(|reply| Op::Delete(stream, reply)).await
    }

    async fn streams(&self) -> Result<Vec<(StreamId, Bounds)>> {
        Ok(self.streams.all().into_iter().map(|stream| (stream.id.clone(), stream.bounds())).collect())
    }

    async fn sweep(&self, now: Timestamp) -> Result<u64> {
        self.ask(|reply| Op::Upkeep(Task::sweep(now, reply))).await
    }
}
