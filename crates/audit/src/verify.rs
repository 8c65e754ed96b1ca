//! Verifying a whole log offline, from nothing but its published files and its public key: this is what
//! `tradelane audit verify` does, and what anyone else can do.
//!
//! The order is from the leaves up, so that the first thing that is wrong is named as closely as it can be: entries
//! against leaf hashes, leaf hashes against the tiles above, tiles against the signed root.

use std::io;
use std::path::{Path, PathBuf};

use crate::leaf::{LeafError, Opening};
use crate::merkle::{Hash, HashSource, TILE_WIDTH, Tree, consistency_proof, leaf_hash, levels, verify_consistency};
use crate::note::{Checkpoint, MAX_NOTE, NoteError, VerifierKey};
use crate::tiles::{Resource, parse_bundle, parse_tile, widths};

/// Largest entry bundle: 256 entries of 65,535 bytes with their lengths.
pub const MAX_RESOURCE: u64 = 256 * (65_535 + 2);

/// Where published files come from: a directory, a web server, a log in this process.
pub trait TileSource {
    /// The bytes at a path of C2SP tlog-tiles, without a leading slash; `None` if there are none. An implementation
    /// reads no more than [`MAX_RESOURCE`] bytes.
    fn fetch(&self, path: &str) -> io::Result<Option<Vec<u8>>>;
}

/// An exported directory.
#[derive(Debug, Clone)]
pub struct DirSource(PathBuf);

impl DirSource {
    /// The directory that holds `checkpoint` and `tile/`.
    pub fn new(dir: &Path) -> Self {
        Self(dir.to_owned())
    }
}

impl TileSource for DirSource {
    fn fetch(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        use io::Read;
        let file = match std::fs::File::open(self.0.join(path)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        file.take(MAX_RESOURCE + 1).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }
}

impl TileSource for crate::log::AuditLog {
    fn fetch(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        self.serve(path).map_err(io::Error::other)
    }
}

/// What is checked beyond the log itself.
#[derive(Default)]
pub struct Expectations<'a> {
    /// A checkpoint of this log that was kept from before: the log must have grown from it.
    pub older: Option<&'a str>,
    /// Leaves that the caller holds, by index: each must be what the log committed to.
    pub openings: &'a [(u64, Opening)],
}

/// A log that is as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// What the log signed, and now is known to be true of its leaves.
    pub checkpoint: Checkpoint,
    /// Size of the older checkpoint, if one was given: its leaves are still the first ones.
    pub grown_from: Option<u64>,
    /// Openings that were checked.
    pub openings: usize,
}

/// What is wrong with a log.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The source failed.
    #[error("{path} could not be read")]
    Source {
        /// Which resource.
        path: String,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// A file that a log of that size must have is missing.
    #[error("{path} is missing: leaves {first} to {last} cannot be checked")]
    Missing {
        /// Which resource.
        path: String,
        /// First leaf below it.
        first: u64,
        /// Last leaf below it.
        last: u64,
    },
    /// A file does not have the form that it must have.
    #[error("{path} is not well-formed: a tile or bundle of {expected} hashes or entries was expected")]
    Form {
        /// Which resource.
        path: String,
        /// Hashes or entries that it must hold.
        expected: u16,
    },
    /// The checkpoint is not accepted.
    #[error("the checkpoint is not accepted: {0}")]
    Checkpoint(#[source] NoteError),
    /// The older checkpoint is not accepted.
    #[error("the older checkpoint is not accepted: {0}")]
    OlderCheckpoint(#[source] NoteError),
    /// A leaf is another than the one that was logged.
    #[error("leaf {0} was changed: it does not hash to what the tree holds at its place")]
    Changed(u64),
    /// A leaf is gone, and those after it moved up.
    #[error("leaf {0} was removed: the leaf at its place is the one that was logged after it")]
    Removed(u64),
    /// A leaf stands twice or was put between.
    #[error("a leaf was inserted at {0}: the leaf logged there stands one place later")]
    Inserted(u64),
    /// Two leaves changed places, or a leaf stands where another was.
    #[error("leaf {index} was reordered: the leaf at its place was logged as leaf {logged}")]
    Reordered {
        /// The place.
        index: u64,
        /// Where the leaf that stands there belongs.
        logged: u64,
    },
    /// Hashes of the tree contradict each other.
    #[error("{path} does not match the tile above it: leaves {first} to {last} were changed, removed or reordered")]
    Tile {
        /// Which tile.
        path: String,
        /// First leaf below it.
        first: u64,
        /// Last leaf below it.
        last: u64,
    },
    /// Files agree with each other, and not with what was signed.
    #[error("the leaves do not hash to the root that the checkpoint of {size} leaves signs: the log was rewritten")]
    Root {
        /// Size of the signed tree.
        size: u64,
    },
    /// The log is not a continuation of the older checkpoint.
    #[error("the log of {size} leaves does not continue the older checkpoint of {old}: its history was rewritten")]
    Inconsistent {
        /// Size of the older checkpoint.
        old: u64,
        /// Size of the log.
        size: u64,
    },
    /// An opening is of another leaf.
    #[error("the record held for leaf {0} is not the one that the log committed to")]
    Opening(u64),
    /// An opening is of no leaf of this log.
    #[error("a record is held for leaf {index}, but the log has {size} leaves")]
    NoSuchLeaf {
        /// Index of the opening.
        index: u64,
        /// Size of the log.
        size: u64,
    },
    /// The log committed to something that is no leaf.
    #[error("the record of leaf {index} does not read: {cause}")]
    Unreadable {
        /// Index of the leaf.
        index: u64,
        /// Why.
        cause: LeafError,
    },
}

/// Verifies everything: the checkpoint's signature, every entry, every tile, the root; that the log continues an older
/// checkpoint; that openings are of their leaves. Memory grows with one hash per 256 leaves. `progress` is told the
/// leaves checked so far and their number.
pub fn verify_log(
    source: &dyn TileSource,
    log: &VerifierKey,
    expected: &Expectations<'_>,
    mut progress: impl FnMut(u64, u64),
) -> Result<Verified, VerifyError> {
    let note = fetch(source, Resource::Checkpoint, 0)?;
    let note = String::from_utf8(note).ok().filter(|note| note.len() <= MAX_NOTE);
    let note = note.ok_or(VerifyError::Checkpoint(NoteError::Malformed("it is not text of at most 64 KiB")))?;
    let checkpoint = Checkpoint::open(&note, log).map_err(VerifyError::Checkpoint)?;
    let older = expected.older.map(|note| Checkpoint::open(note, log)).transpose();
    let older = older.map_err(VerifyError::OlderCheckpoint)?;

    let (tree, older_root) = verify_leaves(source, &checkpoint, expected, older.as_ref(), &mut progress)?;
    verify_tiles(source, &tree)?;
    if tree.root() != checkpoint.root {
        return Err(VerifyError::Root { size: checkpoint.size });
    }
    if let Some(older) = &older {
        let inconsistent = VerifyError::Inconsistent { old: older.size, size: checkpoint.size };
        if older_root != Some(older.root) {
            return Err(inconsistent);
        }
        // The recomputed root says it already; that the proof made from the tiles verifies says that a partner who
        // holds only the two checkpoints can be convinced as well.
        let tiles = Tiles { source, size: checkpoint.size };
        let proof = consistency_proof(&tiles, older.size, checkpoint.size)?;
        if !verify_consistency(older.size, &older.root, checkpoint.size, &checkpoint.root, &proof) {
            return Err(inconsistent);
        }
    }
    Ok(Verified { grown_from: older.map(|older| older.size), openings: expected.openings.len(), checkpoint })
}

/// Entries against leaf hashes, tile by tile; gives the tree of the entries.
fn verify_leaves(
    source: &dyn TileSource,
    checkpoint: &Checkpoint,
    expected: &Expectations<'_>,
    older: Option<&Checkpoint>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(Tree, Option<Hash>), VerifyError> {
    let size = checkpoint.size;
    let mut openings: Vec<&(u64, Opening)> = expected.openings.iter().collect();
    openings.sort_by_key(|(index, _)| *index);
    if let Some((index, _)) = openings.last()
        && *index >= size
    {
        return Err(VerifyError::NoSuchLeaf { index: *index, size });
    }
    let mut openings = openings.into_iter().peekable();
    let mut growth = Tree::default().begin();
    let mut older_root = older.filter(|older| older.size == 0).map(|_| growth.root());
    for (number, width) in widths(size) {
        let first = number * TILE_WIDTH;
        let bundle = fetch(source, Resource::Entries(number, width), size)?;
        let tile = fetch_tile(source, 0, number, width, size)?;
        let entries = parse_bundle(&bundle).ok_or_else(|| form(Resource::Entries(number, width), width))?;
        compare(&entries, &tile, first)?;
        for (index, entry) in (first..).zip(&entries) {
            while let Some((_, opening)) = openings.next_if(|(at, _)| *at == index) {
                check_opening(index, opening, entry)?;
            }
            growth.push(leaf_hash(entry));
            if older.is_some_and(|older| older.size == growth.size()) {
                older_root = Some(growth.root());
            }
        }
        progress(first + u64::from(width), size);
    }
    let mut tree = Tree::default();
    tree.apply(growth);
    Ok((tree, older_root))
}

fn check_opening(index: u64, opening: &Opening, entry: &[u8]) -> Result<(), VerifyError> {
    if opening.commitment() != entry {
        return Err(VerifyError::Opening(index));
    }
    opening.leaf().map(drop).map_err(|cause| VerifyError::Unreadable { index, cause })
}

/// Names what happened where entries and leaf hashes first differ.
fn compare(entries: &[&[u8]], tile: &[Hash], first: u64) -> Result<(), VerifyError> {
    let hashes: Vec<Hash> = entries.iter().map(|entry| leaf_hash(entry)).collect();
    let Some(at) = (0..hashes.len().max(tile.len())).find(|&at| hashes.get(at) != tile.get(at)) else { return Ok(()) };
    let index = first + at as u64;
    let found = hashes.get(at);
    let shifted_up = hashes.get(at..).is_some_and(|rest| {
        // What follows a removed leaf is one place early; the bundle's last entry may be new.
        let known = tile.get(at + 1..).unwrap_or_default();
        rest.len() >= known.len() && !known.is_empty() && rest.iter().zip(known).all(|(a, b)| a == b)
    });
    if found.is_none() || shifted_up {
        return Err(VerifyError::Removed(index));
    }
    if tile.get(at).is_some()
        && hashes.get(at + 1..).is_some_and(|rest| {
            let moved = tile.get(at..).unwrap_or_default();
            !rest.is_empty() && rest.len() <= moved.len() && rest.iter().zip(moved).all(|(a, b)| a == b)
        })
    {
        return Err(VerifyError::Inserted(index));
    }
    match tile.iter().position(|hash| Some(hash) == found) {
        Some(logged) => Err(VerifyError::Reordered { index, logged: first + logged as u64 }),
        None => Err(VerifyError::Changed(index)),
    }
}

/// Every published tile above the leaves against the tree of the entries.
fn verify_tiles(source: &dyn TileSource, tree: &Tree) -> Result<(), VerifyError> {
    let size = tree.size();
    for level in 1..levels(size) {
        for (number, width) in widths(size >> (8 * u32::from(level))) {
            let published = fetch_tile(source, level, number, width, size)?;
            let start = number * TILE_WIDTH;
            let own = tree.hashes(usize::from(level), start, usize::from(width)).unwrap_or_default();
            if let Some(at) = (0..published.len()).find(|&at| published.get(at) != own.get(at)) {
                let below = start + at as u64;
                let (first, last) = span(level - 1, below, TILE_WIDTH as u16, size);
                let path = Resource::Tile(level - 1, below, TILE_WIDTH as u16).path();
                return Err(VerifyError::Tile { path, first, last });
            }
        }
    }
    Ok(())
}

/// First and last leaf below a tile.
fn span(level: u8, number: u64, width: u16, size: u64) -> (u64, u64) {
    let each = 1u64.checked_shl(8 * u32::from(level)).unwrap_or(u64::MAX);
    let first = number.saturating_mul(TILE_WIDTH).saturating_mul(each);
    let last = first.saturating_add(each.saturating_mul(u64::from(width))).min(size).saturating_sub(1);
    (first, last)
}

fn form(resource: Resource, expected: u16) -> VerifyError {
    VerifyError::Form { path: resource.path(), expected }
}

fn fetch(source: &dyn TileSource, resource: Resource, size: u64) -> Result<Vec<u8>, VerifyError> {
    let path = resource.path();
    match source.fetch(&path) {
        Ok(Some(bytes)) if bytes.len() as u64 <= MAX_RESOURCE => Ok(bytes),
        Ok(Some(_)) => Err(form(resource, TILE_WIDTH as u16)),
        Ok(None) => {
            let (first, last) = match resource {
                Resource::Checkpoint => (0, size.saturating_sub(1)),
                Resource::Tile(level, number, width) => span(level, number, width, size),
                Resource::Entries(number, width) => span(0, number, width, size),
            };
            Err(VerifyError::Missing { path, first, last })
        }
        Err(cause) => Err(VerifyError::Source { path, cause }),
    }
}

fn fetch_tile(
    source: &dyn TileSource,
    level: u8,
    number: u64,
    width: u16,
    size: u64,
) -> Result<Vec<Hash>, VerifyError> {
    let resource = Resource::Tile(level, number, width);
    parse_tile(&fetch(source, resource, size)?, width).ok_or_else(|| form(resource, width))
}

/// Published tiles as a source of proofs. What it gives is not authenticated: verify the proof.
pub struct Tiles<'a> {
    /// Where tiles come from.
    pub source: &'a dyn TileSource,
    /// Size of the tree, which says how wide the last tiles are.
    pub size: u64,
}

impl HashSource for Tiles<'_> {
    type Error = VerifyError;

    fn hashes(&self, level: u8, start: u64, count: usize) -> Result<Vec<Hash>, VerifyError> {
        let number = start / TILE_WIDTH;
        let all = self.size.checked_shr(8 * u32::from(level)).unwrap_or(0);
        let width = all.saturating_sub(number * TILE_WIDTH).min(TILE_WIDTH) as u16;
        let tile = fetch_tile(self.source, level, number, width, self.size)?;
        let from = (start % TILE_WIDTH) as usize;
        let hashes = tile.get(from..from + count).map(<[Hash]>::to_vec);
        hashes.ok_or_else(|| form(Resource::Tile(level, number, width), width))
    }
}
