//! Files that batches lie in, one after the other, over all streams: a group of appends is one write and one sync.
//!
//! A segment is written at its end only, and a new one begins when it is long enough. What retention and compaction
//! leave behind goes back to the file system at once, as holes, and the file once nothing in it is wanted.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, OptionalExtension};

use super::super::{At, open};
use super::frames::{self, FrameHeader, GROUP_HEADER, GroupHeader, SEGMENT_HEADER};
use crate::buffers::{Buffer, Buffers};
use crate::error::{Result, StorageError};

/// Bytes of buffers that are kept for the next read: what two large pages take.
const BUFFERS: usize = 8 << 20;
/// How many files are kept open for readers.
const OPEN: usize = 64;
/// File systems give whole blocks back.
const BLOCK: u64 = 4096;
/// Groups up to this size are written over zeros that are there already: a file that does not grow is synced in half
/// the time. Bigger groups would pay more for the zeros than they save.
const SMALL: usize = 128 << 10;
/// So far ahead of small groups there are zeros.
static ZEROS: [u8; 1 << 20] = [0; 1 << 20];
/// A buffer that one large group made is not kept for all the small ones after it.
const KEEP_BUFFER: usize = 16 << 20;

/// Where a sealed batch lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) segment: u64,
    pub(super) position: u64,
    pub(super) length: u32,
}

impl Place {
    pub(super) fn end(&self) -> u64 {
        self.position.saturating_add(u64::from(self.length))
    }
}

/// Where the next group goes, and its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    pub(super) segment: u64,
    pub(super) position: u64,
    pub(super) sequence: u64,
}

/// The files, for whoever reads them.
pub(super) struct Files {
    folder: PathBuf,
    /// The folder's name, for messages.
    name: String,
    open: Mutex<HashMap<u64, Arc<File>>>,
    buffers: Buffers,
}

impl Files {
    /// The files of the log whose index is at `index`; makes their folder.
    pub(super) fn beside(index: &Path) -> Result<Self> {
        let folder = open::beside(index, "-segments");
        let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let files = Self { folder, name, open: Mutex::new(HashMap::new()), buffers: Buffers::new(BUFFERS) };
        match open::private_folder(&files.folder) {
            Ok(()) => Ok(files),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(files),
            Err(error) => Err(files.explain(&error)),
        }
    }

    pub(super) fn path(&self, number: u64) -> PathBuf {
        self.folder.join(format!("{number:012}.seg"))
    }

    /// A segment's name, for messages.
    pub(super) fn name(&self, number: u64) -> String {
        format!("{}/{number:012}.seg", self.name)
    }

    /// The folder's name, for messages.
    pub(super) fn folder(&self) -> &str {
        &self.name
    }

    /// The numbers of the segments that there are, in order.
    pub(super) fn numbers(&self) -> Result<Vec<u64>> {
        let entries = std::fs::read_dir(&self.folder).map_err(|error| self.explain(&error))?;
        let name = |entry: io::Result<std::fs::DirEntry>| Some(entry.ok()?.file_name().to_str()?.to_owned());
        let mut numbers: Vec<u64> =
            entries.filter_map(|entry| name(entry)?.strip_suffix(".seg")?.parse().ok()).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// The file of a segment, or damage if it is gone.
    pub(super) fn file(&self, number: u64) -> Result<Arc<File>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = open.get(&number) {
            return Ok(Arc::clone(file));
        }
        let file = match File::open(self.path(number)) {
            Ok(file) => Arc::new(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(StorageError::Corrupt { place: format!("{}, which is gone", self.name(number)) });
            }
            Err(error) => return Err(self.explain(&error)),
        };
        if open.len() >= OPEN {
            open.clear();
        }
        open.insert(number, Arc::clone(&file));
        Ok(file)
    }

    /// Reads bytes of a segment; fewer than asked for are damage.
    pub(super) fn read(&self, number: u64, position: u64, length: usize) -> Result<Buffer> {
        let file = self.file(number)?;
        let mut buffer = self.buffers.filled(length);
        match read_at(&file, &mut buffer, position) {
            Ok(()) => Ok(buffer),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(StorageError::Corrupt { place: format!("{}, which is cut short", self.name(number)) })
            }
            Err(error) => Err(self.explain(&error)),
        }
    }

    /// Creates a segment with its header; when this returns, it and its name are on disk.
    pub(super) fn create(&self, log: &[u8; 16], number: u64) -> Result<File> {
        let mut options = OpenOptions::new();
        options.create_new(true).write(true);
        open::private(&mut options);
        let path = self.path(number);
        let mut file = options.open(&path).map_err(|error| self.explain(&error))?;
        let written = file
            .write_all(&frames::segment_header(log, number))
            .and_then(|()| file.sync_all())
            .and_then(|()| File::open(&self.folder)?.sync_all());
        match written {
            Ok(()) => Ok(file),
            Err(error) => {
                drop(std::fs::remove_file(&path));
                Err(self.explain(&error))
            }
        }
    }

    /// Removes a segment. Who reads it just now goes on reading.
    pub(super) fn remove(&self, number: u64) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
        if let Err(error) = std::fs::remove_file(self.path(number)) {
            tracing::warn!("{} is no longer wanted and could not be removed: {error}", self.name(number));
        }
    }

    /// Bytes that the segments take up on the disk.
    fn stored(&self) -> Result<u64> {
        let size = |number: u64| std::fs::metadata(self.path(number)).map_or(0, |meta| allocated(&meta));
        Ok(self.numbers()?.into_iter().map(size).sum())
    }

    pub(super) fn explain(&self, error: &io::Error) -> StorageError {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        match error.kind() {
            StorageFull | QuotaExceeded | FileTooLarge => StorageError::Full,
            _ => StorageError::Unavailable { cause: format!("{}: {error}", self.name) },
        }
    }
}

/// The segments, for the one thread that writes them.
pub(super) struct Segments {
    files: Arc<Files>,
    log: [u8; 16],
    active: File,
    /// Where the next group goes.
    end: End,
    /// Up to where the active segment holds zeros to write over.
    zeros: u64,
    /// The group that is being put together, its header first.
    group: Vec<u8>,
    frames: u32,
    /// Segments that ended and may hold nothing that is wanted.
    ended: Vec<u64>,
    segment_bytes: u64,
    max_bytes: Option<u64>,
    stored: u64,
}

impl Segments {
    /// Goes on at `end`, which the segment `active` is written to.
    pub(super) fn new(
        files: Arc<Files>,
        log: [u8; 16],
        active: File,
        end: End,
        options: &super::LogOptions,
    ) -> Result<Self> {
        let stored = if options.max_bytes.is_some() { files.stored()? } else { 0 };
        Ok(Self {
            files,
            log,
            active,
            end,
            zeros: 0,
            group: Vec::new(),
            frames: 0,
            ended: Vec::new(),
            segment_bytes: options.segment_bytes,
            max_bytes: options.max_bytes,
            stored,
        })
    }

    pub(super) fn files(&self) -> &Arc<Files> {
        &self.files
    }

    /// Begins a group, in a new segment if the last one is long enough.
    pub(super) fn begin(&mut self) -> Result<()> {
        if self.end.position >= self.segment_bytes {
            let next = self.end.segment + 1;
            let file = self.files.create(&self.log, next)?;
            drop(self.active.set_len(self.end.position));
            self.active = file;
            self.ended.push(self.end.segment);
            self.end = End { segment: next, position: SEGMENT_HEADER as u64, ..self.end };
            self.zeros = 0;
        }
        self.group.clear();
        self.group.shrink_to(KEEP_BUFFER);
        self.group.resize(GROUP_HEADER, 0);
        self.frames = 0;
        Ok(())
    }

    /// Puts a frame into the group. Answers where its sealed batch will lie.
    pub(super) fn put(&mut self, header: &FrameHeader, seal: impl FnOnce(&mut Vec<u8>)) -> Place {
        let lies = frames::put(&mut self.group, header, seal);
        self.frames += 1;
        Place { segment: self.end.segment, position: self.end.position + lies.start as u64, length: lies.len() as u32 }
    }

    /// Writes the group. When this returns `Ok`, it is on disk; it is given with where the end was before, for `undo`.
    /// On an error nothing of it is there, or the log has to stop.
    pub(super) fn write(&mut self) -> Result<Written> {
        let before = self.end;
        if self.frames == 0 {
            return Ok(Written { before, after: before });
        }
        let (header, body) = self.group.split_at_mut(GROUP_HEADER);
        header.copy_from_slice(&GroupHeader::of(before.sequence, self.frames, body).bytes());
        let length = self.group.len() as u64;
        if self.max_bytes.is_some_and(|most| self.stored + length > most) {
            return Err(StorageError::Full);
        }
        if let Err(error) = self.write_group() {
            self.cut(before.position)?;
            return Err(self.files.explain(&error));
        }
        self.active.sync_data().map_err(|error| stopped(&error))?;
        self.stored += length;
        self.end = End { position: before.position + length, sequence: before.sequence + 1, segment: before.segment };
        Ok(Written { before, after: self.end })
    }

    fn write_group(&mut self) -> io::Result<()> {
        let after = self.end.position + self.group.len() as u64;
        self.active.seek(SeekFrom::Start(self.end.position))?;
        self.active.write_all(&self.group)?;
        if self.group.len() <= SMALL && after > self.zeros {
            let ahead = self.segment_bytes.saturating_sub(after).min(ZEROS.len() as u64);
            // On a full disk small groups go on without.
            if self.active.write_all(&ZEROS[..ahead as usize]).is_ok() {
                self.zeros = after + ahead;
            }
        }
        Ok(())
    }

    /// Takes back a group that was written and that nobody was told of.
    pub(super) fn undo(&mut self, written: &Written) -> Result<()> {
        if written.before == written.after {
            return Ok(());
        }
        self.cut(written.before.position)?;
        self.active.sync_data().map_err(|error| stopped(&error))?;
        self.stored = self.stored.saturating_sub(written.after.position - written.before.position);
        self.end = written.before;
        Ok(())
    }

    fn cut(&mut self, position: u64) -> Result<()> {
        self.zeros = 0;
        self.active.set_len(position).map_err(|error| stopped(&error))
    }

    /// Gives the room of batches back that the index no longer knows; `connection` sees the index as it is on disk now.
    /// What cannot be given back is only a waste.
    pub(super) fn release(&mut self, connection: &Connection, mut freed: Vec<Place>, place: &str) {
        freed.sort_unstable_by_key(|place| (place.segment, place.position));
        for lies in freed.chunk_by(|one, other| one.segment == other.segment) {
            if let Err(error) = self.release_in(connection, lies, place) {
                tracing::warn!("room in the log's segments could not be given back: {error}");
            }
        }
        if !self.ended.is_empty() {
            let ended = std::mem::take(&mut self.ended);
            ended.into_iter().for_each(|number| drop(self.remove_if_empty(connection, number, place)));
        }
        if self.max_bytes.is_some() {
            self.stored = self.files.stored().unwrap_or(self.stored);
        }
    }

    fn release_in(&self, connection: &Connection, freed: &[Place], place: &str) -> Result<()> {
        let Some(&Place { segment, .. }) = freed.first() else { return Ok(()) };
        if self.remove_if_empty(connection, segment, place)? {
            return Ok(());
        }
        let path = self.files.path(segment);
        let file = OpenOptions::new().write(true).open(path).map_err(|error| self.files.explain(&error))?;
        let last = match segment == self.end.segment {
            true => self.end.position,
            false => file.metadata().map_err(|error| self.files.explain(&error))?.len(),
        };
        let mut done = 0;
        for lies in freed {
            if lies.position < done {
                continue;
            }
            // Everything between the batches on both sides that are still wanted, frames' headers included.
            let begin = neighbour(connection, BEFORE, lies, place)?.unwrap_or(SEGMENT_HEADER as u64);
            let end = neighbour(connection, AFTER, lies, place)?.unwrap_or(last);
            let (begin, end) = (begin.next_multiple_of(BLOCK), end / BLOCK * BLOCK);
            if begin < end {
                punch(&file, begin, end - begin).map_err(|error| self.files.explain(&error))?;
            }
            done = end;
        }
        Ok(())
    }

    /// Removes a segment that ended, if no batch in it is wanted.
    fn remove_if_empty(&self, connection: &Connection, number: u64, place: &str) -> Result<bool> {
        let empty = number != self.end.segment && !holds_batches(connection, number, place)?;
        if empty {
            self.files.remove(number);
        }
        Ok(empty)
    }
}

impl Drop for Segments {
    fn drop(&mut self) {
        // The zeros ahead would only take up room.
        drop(self.active.set_len(self.end.position));
    }
}

/// A group on disk: where the end was before it, and is now.
pub(super) struct Written {
    before: End,
    pub(super) after: End,
}

/// After a failed sync nobody knows what is on disk.
fn stopped(error: &io::Error) -> StorageError {
    StorageError::Stopped { cause: format!("the log's segment: {error}") }
}

/// Does the index know a batch in this segment?
pub(super) fn holds_batches(connection: &Connection, number: u64, place: &str) -> Result<bool> {
    connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM batch WHERE segment = ?1)")
        .and_then(|mut select| select.query_row([number as i64], |row| row.get(0)))
        .at(place)
}

const BEFORE: &str =
    "SELECT position + length FROM batch WHERE segment = ?1 AND position < ?2 ORDER BY position DESC LIMIT 1";
const AFTER: &str = "SELECT position FROM batch WHERE segment = ?1 AND position > ?2 ORDER BY position LIMIT 1";

fn neighbour(connection: &Connection, which: &str, lies: &Place, place: &str) -> Result<Option<u64>> {
    let found: Option<i64> = connection
        .prepare_cached(which)
        .and_then(|mut select| {
            select.query_row([lies.segment as i64, lies.position as i64], |row| row.get(0)).optional()
        })
        .at(place)?;
    Ok(found.map(|position| position as u64))
}

#[cfg(unix)]
fn read_at(file: &File, buffer: &mut [u8], position: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, position)
}

#[cfg(windows)]
fn read_at(file: &File, mut buffer: &mut [u8], mut position: u64) -> io::Result<()> {
    use std::os::windows::fs::FileExt;
    while !buffer.is_empty() {
        match file.seek_read(buffer, position)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => (buffer, position) = (&mut buffer[n..], position + n as u64),
        }
    }
    Ok(())
}

#[cfg(unix)]
fn allocated(meta: &std::fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::blocks(meta) * 512
}

#[cfg(not(unix))]
fn allocated(meta: &std::fs::Metadata) -> u64 {
    meta.len()
}

/// Makes a hole, where the file system has such. Elsewhere room comes back with the whole segment.
#[cfg(target_os = "linux")]
fn punch(file: &File, position: u64, length: u64) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    match fallocate(file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, position, length) {
        Err(rustix::io::Errno::OPNOTSUPP) => Ok(()),
        done => done.map_err(Into::into),
    }
}

#[cfg(not(target_os = "linux"))]
fn punch(_: &File, _: u64, _: u64) -> io::Result<()> {
    Ok(())
}
