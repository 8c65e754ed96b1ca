//! The log on this machine: opened, written through one thread, read by many.
//!
//! It records and proves. It does not know who may read which leaf: whoever mounts it decides that.

use std::fs::File;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, mpsc};
use std::task::{Context, Poll};
use std::thread::JoinHandle;

use quick_cache::sync::Cache;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tradelane_keys::AtRest;

use crate::error::AuditError;
use crate::leaf::{Leaf, Prepared};
use crate::merkle::{Hash, Tree};
use crate::note::{Checkpoint, MAX_NOTE, Note, NoteError, Signer, VerifierKey};
use crate::recover::{self, Recovery};
use crate::segment::{Sealer, TilePlace};
use crate::writer::{Disk, Job, RealDisk, Writer};

/// Leaves that may wait for the disk: bounds memory to some 64 MiB.
const MAX_WAITING: usize = 131_072;
/// Calls that may wait for the disk.
const MAX_CALLS: usize = 4_096;
/// Most leaves in one call of [`AuditLog::record_many`].
pub const MAX_BATCH: usize = 65_536;
/// Tiles of leaf hashes kept in memory after they were read: 16 KiB each.
const CACHED_TILES: usize = 128;

/// How a log is opened.
pub struct Options {
    /// A segment that has grown beyond this many bytes is followed by a new one. At most 1 GiB.
    pub segment_bytes: u64,
    /// Up to this many bytes of leaves, all are authenticated one by one at start; beyond, only the last segment, and
    /// the rest through index and signed root.
    pub scan_all_below: u64,
    /// What writes and syncs. Tests put a faulty one here.
    pub disk: Box<dyn Disk>,
}

impl Default for Options {
    fn default() -> Self {
        Self { segment_bytes: 64 << 20, scan_all_below: 256 << 20, disk: Box::new(RealDisk) }
    }
}

/// One file of leaves.
pub(crate) struct Segment {
    pub(crate) first: u64,
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<File>,
    /// Durable bytes.
    pub(crate) len: AtomicU64,
}

/// What is durable and signed; nothing else is ever read.
pub(crate) struct State {
    pub(crate) tree: Tree,
    /// Every tile that has begun.
    pub(crate) tiles: Vec<TilePlace>,
    pub(crate) segments: Vec<Arc<Segment>>,
    /// Commitments of the last, partial tile.
    pub(crate) tail: Vec<Hash>,
    /// The signed checkpoint, with witnesses' lines.
    pub(crate) checkpoint: Arc<str>,
    pub(crate) signed: Checkpoint,
    /// The disk failed so that what is durable is unknown.
    pub(crate) failed: bool,
}

pub(crate) struct Shared {
    pub(crate) dir: PathBuf,
    pub(crate) sealer: Sealer,
    pub(crate) key: VerifierKey,
    state: RwLock<State>,
    pub(crate) cache: Cache<u64, Arc<CachedTile>>,
}

/// Entries and leaf hashes of a full tile.
pub(crate) struct CachedTile {
    pub(crate) commitments: Vec<Hash>,
    pub(crate) hashes: Vec<Hash>,
}

impl Shared {
    /// The state. A writer that panicked left it as it was before its group: it changes in one step.
    pub(crate) fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.write().unwrap_or_else(PoisonError::into_inner));
    }
}

/// An audit log, open for writing. Share it behind an `Arc`.
pub struct AuditLog {
    pub(crate) shared: Arc<Shared>,
    queue: Mutex<Option<mpsc::SyncSender<Job>>>,
    /// Room for leaves and for calls: whoever has both never waits at the queue.
    room: Arc<Semaphore>,
    calls: Arc<Semaphore>,
    writer: Mutex<Option<JoinHandle<()>>>,
    _lock: File,
}

impl AuditLog {
    /// Opens the log in `dir`, or begins one. The signer's name is the log's origin. `at_rest` encrypts what leaves say.
    ///
    /// # Errors
    /// Whatever is not whole, except an unfinished last write, is refused with its place.
    pub fn open(dir: &Path, signer: Signer, at_rest: AtRest) -> Result<(Self, Recovery), AuditError> {
        Self::open_with(dir, signer, at_rest, Options::default())
    }

    /// As [`AuditLog::open`], with options.
    pub fn open_with(
        dir: &Path,
        signer: Signer,
        at_rest: AtRest,
        options: Options,
    ) -> Result<(Self, Recovery), AuditError> {
        let key = signer.public().clone();
        let sealer = Sealer::new(at_rest, key.name());
        let opened = recover::open(dir, &sealer, &key, options.scan_all_below)?;
        let shared = Arc::new(Shared {
            dir: dir.to_owned(),
            sealer,
            key,
            state: RwLock::new(opened.state),
            cache: Cache::new(CACHED_TILES),
        });
        let room = Arc::new(Semaphore::new(MAX_WAITING));
        let mut writer = Writer::new(Arc::clone(&shared), signer, options, opened.index);
        writer.publish();
        let (queue, jobs) = mpsc::sync_channel(MAX_CALLS);
        let thread = std::thread::Builder::new().name("audit-writer".into());
        let writer = thread.spawn(move || writer.run(&jobs)).map_err(AuditError::Write)?;
        let calls = Arc::new(Semaphore::new(MAX_CALLS));
        let writer = Mutex::new(Some(writer));
        let log = Self { shared, queue: Mutex::new(Some(queue)), room, calls, writer, _lock: opened.lock };
        Ok((log, opened.recovery))
    }

    /// The key that partners check checkpoints and receipts with.
    pub fn verifier_key(&self) -> &VerifierKey {
        &self.shared.key
    }

    /// Number of durable, signed leaves.
    pub fn size(&self) -> u64 {
        self.shared.state().tree.size()
    }

    /// The latest signed checkpoint, with witnesses' lines if there are any.
    pub fn checkpoint(&self) -> Arc<str> {
        Arc::clone(&self.shared.state().checkpoint)
    }

    /// Whether a leaf could be recorded now. False after the disk failed; readiness should say so.
    pub fn is_writable(&self) -> bool {
        !self.shared.state().failed
    }

    /// Records a leaf; resolves to its index once it is durable and signed.
    ///
    /// # Errors
    /// If it was not recorded. What it stands for must then not happen.
    pub async fn record(&self, leaf: Leaf) -> Result<u64, AuditError> {
        self.record_many(std::slice::from_ref(&leaf)).await.map(|indices| indices.start)
    }

    /// Records leaves side by side, all or none; resolves to their indices.
    pub async fn record_many(&self, leaves: &[Leaf]) -> Result<std::ops::Range<u64>, AuditError> {
        let prepared = prepare(leaves)?;
        let room = Arc::clone(&self.room).acquire_many_owned(leaves.len() as u32).await;
        let call = Arc::clone(&self.calls).acquire_owned().await;
        let room = [room.map_err(|_| AuditError::Closed)?, call.map_err(|_| AuditError::Closed)?];
        self.enqueue(prepared, room)?.await
    }

    /// Hands leaves to the writer without waiting for room; the result says when they are durable. Lets a caller do
    /// other work in the meantime. The leaves are recorded whether or not the result is awaited.
    pub fn submit(&self, leaves: &[Leaf]) -> Result<Pending, AuditError> {
        let prepared = prepare(leaves)?;
        let room = Arc::clone(&self.room).try_acquire_many_owned(leaves.len() as u32);
        let call = Arc::clone(&self.calls).try_acquire_owned();
        let room = [room.map_err(|_| AuditError::Overloaded)?, call.map_err(|_| AuditError::Overloaded)?];
        self.enqueue(prepared, room)
    }

    fn enqueue(&self, prepared: Prepared, room: [OwnedSemaphorePermit; 2]) -> Result<Pending, AuditError> {
        let (done, pending) = oneshot::channel();
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = queue.as_ref().ok_or(AuditError::Closed)?;
        // Full it cannot be: there are as many places as permits for calls, and a job keeps its permit until it is done.
        queue.try_send(Job { prepared, done, _room: room }).map_err(|_| AuditError::Closed)?;
        Ok(Pending(pending))
    }

    /// Adds a witness's cosignature line to the current checkpoint. It is served until the next checkpoint.
    ///
    /// # Errors
    /// If the line is not that witness's cosignature of the checkpoint as it is now.
    pub fn add_cosignature(&self, line: &str, witness: &VerifierKey) -> Result<(), NoteError> {
        let mut result = Ok(());
        self.shared.change(|state| {
            let note = format!("{}{line}", state.checkpoint);
            let checked = Note::parse(&note).and_then(|note| note.verify(witness).map(drop));
            let fits = note.len() <= MAX_NOTE && line.ends_with('\n') && line.matches('\n').count() == 1;
            result = if fits { checked } else { Err(NoteError::Malformed("a cosignature is one line")) };
            if result.is_ok() {
                state.checkpoint = Arc::from(note);
            }
        });
        result
    }

    /// Records what waits and stops. Later records are refused.
    pub fn close(&self) {
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        if let Some(writer) = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // A writer that panicked has nothing more to finish.
            let _ = writer.join();
        }
    }
}

impl Drop for AuditLog {
    fn drop(&mut self) {
        self.close();
    }
}

fn prepare(leaves: &[Leaf]) -> Result<Prepared, AuditError> {
    if leaves.is_empty() || leaves.len() > MAX_BATCH {
        return Err(AuditError::Overloaded);
    }
    Ok(Prepared::new(leaves.iter())?)
}

/// Leaves on their way to the disk.
#[must_use = "what a leaf stands for must not happen before the leaf is durable"]
pub struct Pending(oneshot::Receiver<Outcome>);

/// The indices of recorded leaves, or why they were not recorded.
pub(crate) type Outcome = Result<std::ops::Range<u64>, AuditErrorKind>;

/// An error that can be told to several callers.
#[derive(Debug, Clone, Copy)]
pub(crate) enum AuditErrorKind {
    Write(std::io::ErrorKind, Option<i32>),
    Poisoned,
}

impl Pending {
    /// Waits on this thread. Not to be called from an async task.
    pub fn wait(self) -> Result<std::ops::Range<u64>, AuditError> {
        finish(self.0.blocking_recv())
    }
}

impl Future for Pending {
    type Output = Result<std::ops::Range<u64>, AuditError>;
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(finish)
    }
}

fn finish(result: Result<Outcome, oneshot::error::RecvError>) -> Result<std::ops::Range<u64>, AuditError> {
    match result {
        Ok(Ok(indices)) => Ok(indices),
        Ok(Err(AuditErrorKind::Poisoned)) => Err(AuditError::Poisoned),
        Ok(Err(AuditErrorKind::Write(kind, raw))) => {
            Err(AuditError::Write(raw.map_or_else(|| kind.into(), std::io::Error::from_raw_os_error)))
        }
        Err(_) => Err(AuditError::Closed),
    }
}

impl Segment {
    pub(crate) fn durable(&self) -> u64 {
        self.len.load(Ordering::Acquire)
    }
}
