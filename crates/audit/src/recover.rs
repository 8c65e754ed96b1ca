//! Opening a log's directory: what is whole is taken, a torn last write is cut off and reported, anything else that is
//! not as it was written is refused with its place.
//!
//! How a torn write is told from damage: frames of one group commit name the offset at which their group began. A group
//! is written only after the one before is durable. So if a damaged frame is followed by a frame of a later group, what
//! is damaged had been durable, and was changed since.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crate::error::AuditError;
use crate::log::{Segment, State};
use crate::merkle::{Growth, Hash, TILE_WIDTH, Tree, leaf_hash_of_commitment};
use crate::note::{Checkpoint, MAX_NOTE, NoteError, VerifierKey};
use crate::segment::{
    FRAME_HEADER, FrameHeader, INDEX_RECORD, SEGMENT_HEADER, Sealer, TilePlace, index_record, parse_index,
    parse_segment_name, segment_header,
};

pub(crate) const CHECKPOINT_FILE: &str = "checkpoint";
/// The length of that file, unless the log's name is very long: a sector.
pub(crate) const CHECKPOINT_BYTES: usize = 512;
pub(crate) const INDEX_FILE: &str = "index";
const LOCK_FILE: &str = "lock";

/// What was found when a log was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Leaves in the log.
    pub leaves: u64,
    /// Leaves that were read and authenticated one by one; those before are vouched for by index and checkpoint.
    pub scanned: u64,
    /// A last write that was not finished, and was cut off. None of its leaves had been acknowledged.
    pub torn: Option<Torn>,
    /// Whole leaves that no checkpoint on disk counted yet.
    pub beyond_checkpoint: u64,
    /// There are leaves, and the checkpoint file is missing or empty.
    pub checkpoint_missing: bool,
    /// The index did not fit and was made anew.
    pub index_rebuilt: bool,
}

/// A write that a crash interrupted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Torn {
    /// The segment.
    pub file: PathBuf,
    /// Where it was cut.
    pub offset: u64,
    /// Bytes cut off.
    pub bytes: u64,
}

impl Recovery {
    /// Whether the log had been closed in order.
    pub fn is_clean(&self) -> bool {
        self.torn.is_none() && self.beyond_checkpoint == 0 && !self.checkpoint_missing && !self.index_rebuilt
    }
}

impl std::fmt::Display for Recovery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "audit log: {} leaves, {} checked one by one", self.leaves, self.scanned)?;
        if let Some(torn) = &self.torn {
            let file = torn.file.display();
            write!(f, "; cut {} bytes of an unfinished write at byte {} of {file}", torn.bytes, torn.offset)?;
        }
        if self.beyond_checkpoint > 0 {
            write!(f, "; signed {} leaves that no checkpoint counted", self.beyond_checkpoint)?;
        }
        if self.checkpoint_missing {
            f.write_str("; the checkpoint file was missing")?;
        }
        if self.index_rebuilt {
            f.write_str("; rebuilt the index")?;
        }
        Ok(())
    }
}

pub(crate) struct Opened {
    pub(crate) state: State,
    pub(crate) recovery: Recovery,
    pub(crate) index: OpenIndex,
    pub(crate) lock: File,
}

/// The index file, right up to `len`, and what must follow there.
pub(crate) struct OpenIndex {
    pub(crate) file: File,
    pub(crate) len: u64,
    pub(crate) waiting: Vec<u8>,
}

/// Opens or creates the log in `dir`.
pub(crate) fn open(dir: &Path, sealer: &Sealer, key: &VerifierKey, scan_all_below: u64) -> Result<Opened, AuditError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(AuditError::Write)?;
    let lock = open_file(&dir.join(LOCK_FILE))?;
    take_lock(&lock)?;
    let files = list_segments(dir)?;
    let checkpoint = read_checkpoint(dir, key)?;
    let index = open_file(&dir.join(INDEX_FILE))?;
    let records = parse_index(&read_all(&index, u64::MAX)?);

    let bytes: u64 = files.iter().map(|file| file.len).sum();
    let found = Found { sealer, files: &files, checkpoint: checkpoint.as_ref() };
    let shortcut = if bytes <= scan_all_below { None } else { found.shortcut(&records) };
    let (scan, index_rebuilt) = match shortcut.map(|tiles| found.scan(&records[..=tiles])) {
        Some(Ok(scan)) => (scan, false),
        // The index is no authority: what it says is only taken if it leads to the signed root.
        Some(Err(_)) => (found.scan(&[])?, true),
        None => (found.scan(&[])?, !records.is_empty() && bytes > scan_all_below),
    };
    let len = (scan.base_tiles * INDEX_RECORD) as u64;
    let waiting = scan.added.iter().flat_map(|(root, place)| index_record(root, place)).collect();
    index.set_len(len).map_err(AuditError::Write)?;
    let index = OpenIndex { file: index, len, waiting };

    let signed = checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.size);
    let size = scan.growth.size();
    let recovery = Recovery {
        leaves: size,
        scanned: size - scan.base_tiles as u64 * TILE_WIDTH,
        torn: scan.torn,
        beyond_checkpoint: if checkpoint.is_some() { size - signed } else { 0 },
        checkpoint_missing: checkpoint.is_none() && size > 0,
        index_rebuilt,
    };
    let mut tree = scan.base;
    tree.apply(scan.growth);
    let segments = files
        .into_iter()
        .zip(scan.lengths)
        .map(|(file, len)| {
            Arc::new(Segment { first: file.first, path: file.path, file: file.file, len: AtomicU64::new(len) })
        })
        .collect();
    let state = State {
        tree,
        tiles: scan.tiles,
        segments,
        tail: scan.tail,
        checkpoint: Arc::from(""),
        signed: Checkpoint { origin: key.name().to_owned(), size: 0, root: [0; 32] },
        failed: false,
    };
    Ok(Opened { state, recovery, index, lock })
}

/// Takes the lock, or gives up after half a second: a process that this one is just forking holds it for a moment too.
fn take_lock(lock: &File) -> Result<(), AuditError> {
    for _ in 0..50 {
        if lock.try_lock().is_ok() {
            return Ok(());
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    Err(AuditError::Locked)
}

pub(crate) fn open_file(path: &Path) -> Result<File, AuditError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options.open(path).map_err(AuditError::Write)
}

/// A new segment, durable under its name.
pub(crate) fn create_segment(dir: &Path, first: u64, origin: &Hash) -> io::Result<Segment> {
    let path = dir.join(crate::segment::segment_name(first));
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(&path)?;
    file.write_all(&segment_header(first, origin))?;
    file.sync_all()?;
    File::open(dir)?.sync_all()?;
    Ok(Segment { first, path, file: Arc::new(file), len: AtomicU64::new(SEGMENT_HEADER as u64) })
}

struct SegmentFile {
    first: u64,
    path: PathBuf,
    file: Arc<File>,
    len: u64,
}

fn list_segments(dir: &Path) -> Result<Vec<SegmentFile>, AuditError> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).map_err(AuditError::Read)? {
        let entry = entry.map_err(AuditError::Read)?;
        let Some(first) = entry.file_name().to_str().and_then(parse_segment_name) else { continue };
        let path = entry.path();
        let file = Arc::new(open_file(&path)?);
        let len = file.metadata().map_err(AuditError::Read)?.len();
        files.push(SegmentFile { first, path, file, len });
    }
    files.sort_by_key(|file| file.first);
    Ok(files)
}

fn read_all(file: &File, most: u64) -> Result<Vec<u8>, AuditError> {
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes).map_err(AuditError::Read)?;
    Ok(bytes)
}

/// The checkpoint on disk, if there is one. An empty file is what a power loss may leave of a renamed one.
fn read_checkpoint(dir: &Path, key: &VerifierKey) -> Result<Option<Checkpoint>, AuditError> {
    let file = match File::open(dir.join(CHECKPOINT_FILE)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(AuditError::Read(error)),
    };
    let mut bytes = read_all(&file, MAX_NOTE as u64 + 1)?;
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    bytes.truncate(end);
    if bytes.is_empty() {
        return Ok(None);
    }
    let text = String::from_utf8(bytes).map_err(|_| AuditError::Checkpoint(NoteError::Malformed("it is not UTF-8")))?;
    Checkpoint::open(&text, key).map(Some).map_err(AuditError::Checkpoint)
}

struct Found<'a> {
    sealer: &'a Sealer,
    files: &'a [SegmentFile],
    checkpoint: Option<&'a Checkpoint>,
}

/// What reading the segments gave.
struct Scan {
    base: Tree,
    base_tiles: usize,
    growth: Growth,
    tiles: Vec<TilePlace>,
    /// Tiles that were completed, for the index.
    added: Vec<(Hash, TilePlace)>,
    /// Commitments of the last, partial tile.
    tail: Vec<Hash>,
    torn: Option<Torn>,
    /// Length of each segment, after a cut.
    lengths: Vec<u64>,
}

impl Found<'_> {
    /// The tile from which on leaves must be read when the index is believed up to there: so that the whole last
    /// segment and the signed root are covered.
    fn shortcut(&self, records: &[(Hash, TilePlace)]) -> Option<usize> {
        let last = self.files.last()?.first / TILE_WIDTH;
        let signed = self.checkpoint?.size / TILE_WIDTH;
        let tile = usize::try_from(last.min(signed)).ok()?.min(records.len().checked_sub(1)?);
        (tile > 0).then_some(tile)
    }

    fn check_size(&self, found: u64) -> Result<(), AuditError> {
        match self.checkpoint {
            Some(signed) if signed.size > found => Err(AuditError::Shorter { found, signed: signed.size }),
            _ => Ok(()),
        }
    }

    /// Reads all leaves from the tile of the last of `records` on; from the beginning if there are none.
    fn scan(&self, records: &[(Hash, TilePlace)]) -> Result<Scan, AuditError> {
        let base_tiles = records.len().saturating_sub(1);
        let roots: Vec<Hash> = records[..base_tiles].iter().map(|(root, _)| *root).collect();
        let base = Tree::from_tile_roots(&roots);
        let mut scan = Scan {
            growth: base.begin(),
            base,
            base_tiles,
            tiles: records[..base_tiles].iter().map(|(_, place)| *place).collect(),
            added: Vec::new(),
            tail: Vec::new(),
            torn: None,
            lengths: self.files.iter().map(|file| file.len).collect(),
        };
        self.check_root(&scan.growth)?;
        let (start, offset) = match records.last() {
            Some((_, place)) => (place.segment as usize, u64::from(place.offset)),
            None => (0, 0),
        };
        for (number, file) in self.files.iter().enumerate().skip(start) {
            let offset = if number == start { offset } else { 0 };
            self.scan_segment(&mut scan, number, file, offset)?;
        }
        self.check_size(scan.growth.size())?;
        Ok(scan)
    }

    fn check_root(&self, growth: &Growth) -> Result<(), AuditError> {
        match self.checkpoint {
            Some(signed) if signed.size == growth.size() && signed.root != growth.root() => {
                Err(AuditError::Rewritten { size: signed.size })
            }
            _ => Ok(()),
        }
    }

    fn scan_segment(&self, scan: &mut Scan, number: usize, file: &SegmentFile, from: u64) -> Result<(), AuditError> {
        let corrupt =
            |offset: u64, leaf: u64, what| Err(AuditError::Corrupt { file: file.path.clone(), offset, leaf, what });
        let mut bytes = vec![0; usize::try_from(file.len.saturating_sub(from)).unwrap_or(0)];
        file.file.read_exact_at(&mut bytes, from).map_err(AuditError::Read)?;
        let last = number + 1 == self.files.len();
        let mut at = 0;
        if from == 0 {
            let leaf = scan.growth.size();
            let expected = segment_header(leaf, &self.sealer.origin);
            match bytes.get(..SEGMENT_HEADER) {
                Some(header) if header == expected => at = SEGMENT_HEADER,
                // A crash while the segment was made: it cannot hold anything yet.
                None if last && file.first == leaf => return self.start_again(scan, number, file, &expected),
                Some(_) if file.first != leaf => return corrupt(0, leaf, "leaves are missing before this segment"),
                _ => return corrupt(0, leaf, "the segment's header is damaged"),
            }
        }
        while at < bytes.len() {
            let offset = from + at as u64;
            let rest = &bytes[at..];
            let Some((header, commitments)) = self.read_frame(rest, scan.growth.size()) else {
                let acknowledged = self.checkpoint.is_some_and(|signed| signed.size > scan.growth.size());
                // Where the index pointed here, it is the index that may be wrong: nothing is cut on its word.
                let by_index = at == 0;
                if !last || acknowledged || by_index || later_group(rest, offset) {
                    return corrupt(offset, scan.growth.size(), "a frame is damaged");
                }
                return self.cut(scan, number, file, offset);
            };
            let place = TilePlace {
                segment: number as u32,
                offset: u32::try_from(offset).unwrap_or(u32::MAX),
                earliest: header.earliest,
                latest: header.latest,
            };
            self.take_frame(scan, place, &commitments)?;
            at += header.frame_len() as usize;
        }
        Ok(())
    }

    /// The frame at the beginning of `bytes`, if it is whole, authentic, and the one that must come next.
    fn read_frame(&self, bytes: &[u8], expected: u64) -> Option<(FrameHeader, Vec<Hash>)> {
        let header = FrameHeader::decode(bytes)?;
        let crosses = header.first % TILE_WIDTH + u64::from(header.count) > TILE_WIDTH;
        if header.first != expected || crosses {
            return None;
        }
        let body = bytes.get(FRAME_HEADER..header.frame_len() as usize)?;
        Some((header, self.sealer.open_body(&header, body)?.0))
    }

    fn take_frame(&self, scan: &mut Scan, place: TilePlace, commitments: &[Hash]) -> Result<(), AuditError> {
        match scan.tiles.last_mut() {
            Some(open) if !scan.growth.size().is_multiple_of(TILE_WIDTH) => {
                open.earliest = open.earliest.min(place.earliest);
                open.latest = open.latest.max(place.latest);
            }
            _ => scan.tiles.push(place),
        }
        for commitment in commitments {
            scan.tail.push(*commitment);
            if let Some(root) = scan.growth.push(leaf_hash_of_commitment(commitment)) {
                scan.added.extend(scan.tiles.last().map(|tile| (root, *tile)));
                scan.tail.clear();
            }
            self.check_root(&scan.growth)?;
        }
        Ok(())
    }

    fn cut(&self, scan: &mut Scan, number: usize, file: &SegmentFile, offset: u64) -> Result<(), AuditError> {
        file.file.set_len(offset).and_then(|()| file.file.sync_all()).map_err(AuditError::Write)?;
        scan.torn = Some(Torn { file: file.path.clone(), offset, bytes: file.len - offset });
        scan.lengths[number] = offset;
        Ok(())
    }

    fn start_again(
        &self,
        scan: &mut Scan,
        number: usize,
        file: &SegmentFile,
        header: &[u8; SEGMENT_HEADER],
    ) -> Result<(), AuditError> {
        self.cut(scan, number, file, 0)?;
        file.file.write_all_at(header, 0).and_then(|()| file.file.sync_all()).map_err(AuditError::Write)?;
        scan.lengths[number] = SEGMENT_HEADER as u64;
        Ok(())
    }
}

/// Whether a frame of a group that began after `offset` stands anywhere behind the damage.
fn later_group(bytes: &[u8], offset: u64) -> bool {
    (1..bytes.len())
        .filter(|&at| bytes[at] == b'T')
        .filter_map(|at| FrameHeader::decode(&bytes[at..]))
        .any(|header| u64::from(header.group) > offset)
}
