//! The one thread that writes: takes whatever waits as one group, writes it with one append and one sync, signs one
//! checkpoint, and only then tells the callers.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::leaf::Prepared;
use crate::log::{AuditErrorKind, Options, Outcome, Segment, Shared};
use crate::merkle::{Growth, Hash, TILE_WIDTH, leaf_hash_of_commitment};
use crate::note::{Checkpoint, Signer};
use crate::recover::{CHECKPOINT_BYTES, CHECKPOINT_FILE, OpenIndex, create_segment};
use crate::segment::{FrameHeader, TilePlace, index_record};

/// A group takes no further job once it holds so many leaves, so that a caller waits for a bounded write.
const GROUP_LEAVES: usize = 32_768;
/// Largest segment: offsets in it are 32 bits, and one group may come on top.
const MAX_SEGMENT: u64 = 1 << 30;

/// How bytes reach the disk. There is one implementation beside the tests' faulty ones.
pub trait Disk: Send {
    /// Writes all bytes at `offset`, which is the file's end.
    fn append(&mut self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Returns once everything written is durable.
    fn sync(&mut self, file: &File) -> io::Result<()>;
}

/// The disk as the system offers it: `pwrite` and `fdatasync`.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn append(&mut self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        file.write_all_at(bytes, offset)
    }

    fn sync(&mut self, file: &File) -> io::Result<()> {
        file.sync_data()
    }
}

/// Leaves of one call.
pub(crate) struct Job {
    pub(crate) prepared: Prepared,
    pub(crate) done: oneshot::Sender<Outcome>,
    /// Given back when the job is done.
    pub(crate) _room: [OwnedSemaphorePermit; 2],
}

pub(crate) struct Writer {
    shared: Arc<Shared>,
    signer: Signer,
    disk: Box<dyn Disk>,
    segment_bytes: u64,
    index: File,
    index_len: u64,
    /// Records that the disk has not taken yet.
    index_waiting: Vec<u8>,
    /// The checkpoint's file, once this process has made it.
    checkpoint: Option<File>,
    buffer: Vec<u8>,
}

/// A group on its way: everything that becomes visible when it is durable.
struct Group {
    growth: Growth,
    start: u64,
    /// The last partial tile's commitments.
    tail: Vec<Hash>,
    /// The tile that had begun before this group, with its new times.
    open: Option<TilePlace>,
    /// Tiles that begin in this group.
    begun: Vec<TilePlace>,
    /// Records of tiles that this group completes.
    index: Vec<u8>,
}

impl Writer {
    /// `index_waiting`: records to be put at `index_len`, where the index is right so far.
    pub(crate) fn new(shared: Arc<Shared>, signer: Signer, options: Options, index: OpenIndex) -> Self {
        let segment_bytes = options.segment_bytes.clamp(4_096, MAX_SEGMENT);
        let OpenIndex { file: index, len: index_len, waiting: index_waiting } = index;
        Self {
            shared,
            signer,
            disk: options.disk,
            segment_bytes,
            index,
            index_len,
            index_waiting,
            checkpoint: None,
            buffer: Vec::new(),
        }
    }

    /// Works until every sender is gone.
    pub(crate) fn run(&mut self, jobs: &mpsc::Receiver<Job>) {
        while let Ok(job) = jobs.recv() {
            let mut leaves = job.prepared.commitments.len();
            let mut group = vec![job];
            while leaves < GROUP_LEAVES {
                let Ok(job) = jobs.try_recv() else { break };
                leaves += job.prepared.commitments.len();
                group.push(job);
            }
            let outcome = self.commit(&group);
            let mut next = outcome.as_ref().map_or(0, |first| *first);
            for job in group {
                let count = job.prepared.commitments.len() as u64;
                let answer = outcome.map(|_| next..next + count);
                next += count;
                // A caller that gave up waiting does not undo its leaf.
                let _ = job.done.send(answer);
            }
        }
    }

    /// Makes a group durable and visible, or leaves everything as it was. Returns the first index.
    fn commit(&mut self, jobs: &[Job]) -> Result<u64, AuditErrorKind> {
        if self.shared.state().failed {
            return Err(AuditErrorKind::Poisoned);
        }
        let refused = |error: io::Error| AuditErrorKind::Write(error.kind(), error.raw_os_error());
        let (number, segment) = self.segment().map_err(refused)?;
        let offset = segment.durable();
        let group = self.lay_out(jobs, number, offset);
        if let Err(error) = self.disk.append(&segment.file, &self.buffer, offset) {
            // What was written in part must go, or the next group would stand behind it.
            if segment.file.set_len(offset).is_err() {
                self.shared.change(|state| state.failed = true);
            }
            return Err(refused(error));
        }
        if self.disk.sync(&segment.file).is_err() {
            // After a failed sync the kernel may have dropped the pages: only a restart can tell what is there.
            self.shared.change(|state| state.failed = true);
            return Err(AuditErrorKind::Poisoned);
        }
        segment.len.store(offset + self.buffer.len() as u64, Ordering::Release);
        let start = group.start;
        self.apply(group);
        Ok(start)
    }

    /// The segment to write to; a new one if the last is full.
    fn segment(&self) -> io::Result<(u32, Arc<Segment>)> {
        let state = self.shared.state();
        let (count, size) = (state.segments.len() as u32, state.tree.size());
        let last = state.segments.last().cloned();
        drop(state);
        match last {
            Some(last) if last.durable() < self.segment_bytes || last.first == size => Ok((count - 1, last)),
            _ => {
                let made = Arc::new(create_segment(&self.shared.dir, size, &self.shared.sealer.origin)?);
                self.shared.change(|state| state.segments.push(Arc::clone(&made)));
                Ok((count, made))
            }
        }
    }

    /// Fills the buffer with the group's frames.
    fn lay_out(&mut self, jobs: &[Job], segment: u32, offset: u64) -> Group {
        let mut group = {
            let state = self.shared.state();
            let partial = !state.tail.is_empty();
            Group {
                growth: state.tree.begin(),
                start: state.tree.size(),
                tail: state.tail.clone(),
                open: state.tiles.last().copied().filter(|_| partial),
                begun: Vec::new(),
                index: Vec::new(),
            }
        };
        self.buffer.clear();
        let mut frame = Frame { segment, group: offset as u32, ..Frame::default() };
        for job in jobs {
            let prepared = &job.prepared;
            let mut from = 0;
            for ((commitment, end), time) in prepared.commitments.iter().zip(&prepared.ends).zip(&prepared.times) {
                frame.push(*commitment, prepared.openings.get(from..*end).unwrap_or_default(), *time);
                from = *end;
                if (group.growth.size() + frame.commitments.len() as u64).is_multiple_of(TILE_WIDTH) {
                    frame.flush(&mut group, &self.shared, &mut self.buffer);
                }
            }
        }
        frame.flush(&mut group, &self.shared, &mut self.buffer);
        group
    }

    /// The group is durable: let it be seen, under a fresh checkpoint.
    fn apply(&mut self, group: Group) {
        self.index_waiting.extend_from_slice(&group.index);
        self.write_index();
        let (signed, note) = self.sign(group.growth.size(), group.growth.root());
        // Written before it is published, so that a shorter log would be noticed at the next start. That it may fail on
        // a full disk does no harm: what it would protect is durable in the segment.
        let _ = self.write_checkpoint(&note);
        self.shared.change(|state| {
            state.tree.apply(group.growth);
            if let (Some(last), Some(open)) = (state.tiles.last_mut(), group.open) {
                *last = open;
            }
            state.tiles.extend(group.begun);
            state.tail = group.tail;
            state.checkpoint = note;
            state.signed = signed;
        });
    }

    /// The index can be made anew from the segments: a failure to write it costs time at the next start, no more.
    fn write_index(&mut self) {
        if self.index.write_all_at(&self.index_waiting, self.index_len).is_ok() {
            self.index_len += self.index_waiting.len() as u64;
            self.index_waiting.clear();
        }
    }

    /// Signs the state as it was opened.
    pub(crate) fn publish(&mut self) {
        self.write_index();
        let state = self.shared.state();
        let (size, root) = (state.tree.size(), state.tree.root());
        drop(state);
        let (signed, note) = self.sign(size, root);
        // On a full disk the log still opens, to be read; see `apply`.
        let _ = self.write_checkpoint(&note);
        self.shared.change(|state| {
            state.checkpoint = note;
            state.signed = signed;
        });
    }

    fn sign(&self, size: u64, root: Hash) -> (Checkpoint, Arc<str>) {
        let checkpoint = Checkpoint { origin: self.signer.public().name().to_owned(), size, root };
        let note = self.signer.sign(&checkpoint.text());
        (checkpoint, Arc::from(note))
    }

    /// In place: the note and what fills it up lie in one sector, which disks write whole or not. A new file and a rename
    /// for each group would cost more than all else that a group does.
    fn write_checkpoint(&mut self, note: &str) -> io::Result<()> {
        let padded = padded(note);
        match &self.checkpoint {
            Some(file) if padded.len() == CHECKPOINT_BYTES => file.write_all_at(&padded, 0),
            _ => {
                let new = self.shared.dir.join("checkpoint.new");
                std::fs::write(&new, &padded)?;
                let place = self.shared.dir.join(CHECKPOINT_FILE);
                std::fs::rename(new, &place)?;
                self.checkpoint = Some(File::options().write(true).open(place)?);
                Ok(())
            }
        }
    }
}

/// The note with zero bytes behind it, so that the file's length never changes. A longer one is left as it is.
fn padded(note: &str) -> Vec<u8> {
    let mut bytes = note.as_bytes().to_vec();
    bytes.resize(bytes.len().max(CHECKPOINT_BYTES), 0);
    bytes
}

/// A frame being filled.
#[derive(Default)]
struct Frame {
    segment: u32,
    group: u32,
    commitments: Vec<Hash>,
    openings: Vec<u8>,
    earliest: i64,
    latest: i64,
}

impl Frame {
    fn push(&mut self, commitment: Hash, opening: &[u8], time: i64) {
        let first = self.commitments.is_empty();
        self.earliest = if first { time } else { self.earliest.min(time) };
        self.latest = if first { time } else { self.latest.max(time) };
        self.commitments.push(commitment);
        self.openings.extend_from_slice(opening);
    }

    /// Seals the frame into `out` and its leaves into the tree.
    fn flush(&mut self, group: &mut Group, shared: &Shared, out: &mut Vec<u8>) {
        if self.commitments.is_empty() {
            return;
        }
        let header = FrameHeader {
            first: group.growth.size(),
            count: self.commitments.len() as u32,
            group: self.group,
            earliest: self.earliest,
            latest: self.latest,
            body: (self.commitments.len() * 32) as u32,
        };
        let place = TilePlace {
            segment: self.segment,
            offset: self.group + out.len() as u32,
            earliest: self.earliest,
            latest: self.latest,
        };
        shared.sealer.write_frame(header, &self.commitments, &self.openings, out);
        self.grow(group, place);
        self.commitments.clear();
        self.openings.clear();
    }

    fn grow(&self, group: &mut Group, place: TilePlace) {
        if group.growth.size().is_multiple_of(TILE_WIDTH) {
            group.begun.push(place);
        } else if let Some(tile) = group.begun.last_mut().or(group.open.as_mut()) {
            tile.earliest = tile.earliest.min(place.earliest);
            tile.latest = tile.latest.max(place.latest);
        }
        for commitment in &self.commitments {
            group.tail.push(*commitment);
            if let Some(root) = group.growth.push(leaf_hash_of_commitment(commitment)) {
                if let Some(tile) = group.begun.last().or(group.open.as_ref()) {
                    group.index.extend_from_slice(&index_record(&root, tile));
                }
                group.tail.clear();
            }
        }
    }
}
