//! Reading the log: tiles and proofs for anyone, openings for whom the caller lets have them.

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use tradelane_model::{OrgId, ProductId, Timestamp};

use crate::error::AuditError;
use crate::leaf::{Leaf, Opening, Word, split_openings};
use crate::log::{AuditLog, CachedTile, Segment, Shared};
use crate::merkle::{
    Hash, HashSource, TILE_WIDTH, consistency_proof, fold_full, inclusion_proof, leaf_hash_of_commitment, root_at,
};
use crate::receipt::Receipt;
use crate::segment::{FRAME_HEADER, FrameHeader, SEGMENT_HEADER, TilePlace};
use crate::tiles::{Resource, all_resources, write_bundle};

/// Most leaves that one page of a query returns.
pub const MAX_PAGE: usize = 1_000;
/// Most leaves that one page of a query looks at, so that a page takes a bounded time.
const MAX_LOOKED_AT: u64 = 200_000;

/// Which leaves an auditor asks for. Members that are `None` let everything pass.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Filter {
    /// Leaves in which this organization has a part, as actor or owner.
    pub org: Option<OrgId>,
    /// Leaves about this product.
    pub product: Option<ProductId>,
    /// Leaves of this action.
    pub action: Option<Word>,
    /// Leaves at this time or later.
    pub from: Option<Timestamp>,
    /// Leaves before this time.
    pub to: Option<Timestamp>,
    /// Leaves from this index on; where a page goes on.
    pub start: u64,
    /// Leaves before this index.
    pub end: Option<u64>,
    /// Leaves per page, at most [`MAX_PAGE`]; 0 means that.
    pub limit: usize,
}

impl Filter {
    fn lets_pass(&self, leaf: &Leaf) -> bool {
        self.org.as_ref().is_none_or(|org| leaf.concerns(org))
            && self.product.as_ref().is_none_or(|product| leaf.product.as_ref() == Some(product))
            && self.action.as_ref().is_none_or(|action| leaf.action == *action)
            && self.from.is_none_or(|from| leaf.time >= from)
            && self.to.is_none_or(|to| leaf.time < to)
    }

    /// Whether leaves of these times can pass at all.
    fn may_span(&self, earliest: i64, latest: i64) -> bool {
        self.from.is_none_or(|from| latest >= from.0) && self.to.is_none_or(|to| earliest < to.0)
    }
}

/// A page of leaves.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// Index and leaf, in the log's order.
    pub leaves: Vec<(u64, Leaf)>,
    /// Where to go on; `None` when everything was looked at.
    pub next: Option<u64>,
}

impl AuditLog {
    /// The bytes at a path of C2SP tlog-tiles (`checkpoint`, `tile/...`), without a leading slash. `None` if the path
    /// names nothing in the log as it is now.
    pub fn serve(&self, path: &str) -> Result<Option<Vec<u8>>, AuditError> {
        match Resource::parse(path) {
            None => Ok(None),
            Some(Resource::Checkpoint) => Ok(Some(self.checkpoint().as_bytes().to_vec())),
            Some(Resource::Tile(level, number, width)) => {
                let Some(start) = number.checked_mul(TILE_WIDTH) else { return Ok(None) };
                let hashes = self.size().checked_shr(8 * u32::from(level)).unwrap_or(0);
                if start.checked_add(u64::from(width)).is_none_or(|end| end > hashes) {
                    return Ok(None);
                }
                let hashes = self.shared.hashes(level, start, usize::from(width))?;
                Ok(Some(hashes.as_flattened().to_vec()))
            }
            Some(Resource::Entries(number, width)) => {
                let Some(start) = number.checked_mul(TILE_WIDTH) else { return Ok(None) };
                if start.checked_add(u64::from(width)).is_none_or(|end| end > self.size()) {
                    return Ok(None);
                }
                Ok(Some(write_bundle(&self.shared.commitments(number, usize::from(width))?)))
            }
        }
    }

    /// Proof that leaf `index` is in the tree of `size` leaves.
    pub fn inclusion_proof(&self, index: u64, size: u64) -> Result<Vec<Hash>, AuditError> {
        if index >= size || size > self.size() {
            return Err(AuditError::NoLeaf(index.max(size)));
        }
        inclusion_proof(&*self.shared, index, size)
    }

    /// Proof that the tree of `old` leaves is the beginning of the tree of `size` leaves.
    pub fn consistency_proof(&self, old: u64, size: u64) -> Result<Vec<Hash>, AuditError> {
        if old > size || size > self.size() {
            return Err(AuditError::NoLeaf(old.max(size)));
        }
        consistency_proof(&*self.shared, old, size)
    }

    /// The root of the first `size` leaves.
    pub fn root_at(&self, size: u64) -> Result<Hash, AuditError> {
        if size > self.size() {
            return Err(AuditError::NoLeaf(size));
        }
        root_at(&*self.shared, size)
    }

    /// What leaf `index` says, with its salt. Only for whom the leaf concerns.
    pub fn opening(&self, index: u64) -> Result<Opening, AuditError> {
        if index >= self.size() {
            return Err(AuditError::NoLeaf(index));
        }
        let mut frames = self.shared.frames(index / TILE_WIDTH)?;
        loop {
            let frame = frames.next()?.ok_or(AuditError::NoLeaf(index))?;
            let end = frame.header.first + u64::from(frame.header.count);
            if index >= end {
                continue;
            }
            let opened = frame.open(&self.shared)?;
            let at = usize::try_from(index - frame.header.first).unwrap_or(usize::MAX);
            return opened.into_iter().nth(at).ok_or(AuditError::NoLeaf(index));
        }
    }

    /// A receipt for leaf `index` under the current checkpoint. Only for whom the leaf concerns.
    pub fn receipt(&self, index: u64) -> Result<Receipt, AuditError> {
        let (checkpoint, size) = {
            let state = self.shared.state();
            (state.checkpoint.to_string(), state.signed.size)
        };
        let path = self.inclusion_proof(index, size)?;
        Ok(Receipt { index, opening: self.opening(index)?, path, checkpoint })
    }

    /// A page of the leaves that a filter lets pass. What is returned is for an auditor of everything, or for an
    /// organization that `filter.org` names: the caller sees to it.
    pub fn query(&self, filter: &Filter) -> Result<Page, AuditError> {
        let limit = if filter.limit == 0 { MAX_PAGE } else { filter.limit.min(MAX_PAGE) };
        let end = filter.end.unwrap_or(u64::MAX).min(self.size());
        let mut page = Page { leaves: Vec::new(), next: None };
        let mut at = filter.start;
        let mut looked_at = 0;
        while at < end {
            let tile = at / TILE_WIDTH;
            let tile_end = ((tile + 1) * TILE_WIDTH).min(end);
            if looked_at >= MAX_LOOKED_AT {
                page.next = Some(at);
                return Ok(page);
            }
            if self.shared.place(tile).is_some_and(|place| !filter.may_span(place.earliest, place.latest)) {
                at = tile_end;
                // Skipping is cheap, yet a log of a billion leaves has millions of tiles.
                looked_at += 1;
                continue;
            }
            looked_at += tile_end - at;
            for (index, opening) in self.shared.openings(tile, at, tile_end)? {
                let leaf = opening.leaf()?;
                at = index + 1;
                if filter.lets_pass(&leaf) {
                    page.leaves.push((index, leaf));
                    if page.leaves.len() == limit {
                        page.next = (at < end).then_some(at);
                        return Ok(page);
                    }
                }
            }
            at = tile_end;
        }
        Ok(page)
    }

    /// Writes the public part of the log (checkpoint, tiles, entries) as files below `dir`, to be served by any web
    /// server or verified elsewhere. `progress` is told how many files were written.
    pub fn export(&self, dir: &Path, mut progress: impl FnMut(u64)) -> Result<u64, AuditError> {
        let (checkpoint, size) = {
            let state = self.shared.state();
            (Arc::clone(&state.checkpoint), state.signed.size)
        };
        let mut written = 0;
        for resource in all_resources(size) {
            let path = resource.path();
            let bytes = match resource {
                Resource::Checkpoint => checkpoint.as_bytes().to_vec(),
                _ => self.serve(&path)?.ok_or(AuditError::NoLeaf(size))?,
            };
            let file = dir.join(path);
            let parent = file.parent().unwrap_or(dir);
            std::fs::create_dir_all(parent).and_then(|()| std::fs::write(&file, bytes)).map_err(AuditError::Write)?;
            written += 1;
            progress(written);
        }
        Ok(written)
    }
}

impl HashSource for Shared {
    type Error = AuditError;

    fn hashes(&self, level: u8, start: u64, count: usize) -> Result<Vec<Hash>, AuditError> {
        if let Some(hashes) = self.state().tree.hashes(usize::from(level), start, count) {
            return Ok(hashes.to_vec());
        }
        let tile = self.tile(start / TILE_WIDTH)?;
        let from = (start % TILE_WIDTH) as usize;
        tile.hashes.get(from..from + count).map(<[Hash]>::to_vec).ok_or(AuditError::NoLeaf(start))
    }
}

impl Shared {
    fn place(&self, tile: u64) -> Option<TilePlace> {
        self.state().tiles.get(usize::try_from(tile).ok()?).copied()
    }

    /// The first `count` entries of a tile.
    fn commitments(&self, tile: u64, count: usize) -> Result<Vec<Hash>, AuditError> {
        {
            let state = self.state();
            if state.tree.size() / TILE_WIDTH == tile
                && let Some(tail) = state.tail.get(..count)
            {
                return Ok(tail.to_vec());
            }
        }
        let tile_read = self.tile(tile)?;
        tile_read.commitments.get(..count).map(<[Hash]>::to_vec).ok_or(AuditError::NoLeaf(tile * TILE_WIDTH))
    }

    /// A full tile's entries and leaf hashes, checked against the tree.
    fn tile(&self, number: u64) -> Result<Arc<CachedTile>, AuditError> {
        if let Some(tile) = self.cache.get(&number) {
            return Ok(tile);
        }
        let mut frames = self.frames(number)?;
        let mut commitments = Vec::with_capacity(TILE_WIDTH as usize);
        while (commitments.len() as u64) < TILE_WIDTH {
            let frame = frames.next()?.ok_or(AuditError::NoLeaf(number * TILE_WIDTH))?;
            commitments.extend(frame.commitments()?);
        }
        let hashes: Vec<Hash> = commitments.iter().map(leaf_hash_of_commitment).collect();
        let root = self.state().tree.hashes(1, number, 1).and_then(|root| root.first().copied());
        if root != fold_full(hashes.clone()) {
            let place = frames.begin;
            return Err(frames.corrupt(place, "the entries of this tile were changed"));
        }
        let tile = Arc::new(CachedTile { commitments, hashes });
        self.cache.insert(number, Arc::clone(&tile));
        Ok(tile)
    }

    /// Openings of the leaves `from..to`, all within one tile.
    fn openings(&self, tile: u64, from: u64, to: u64) -> Result<Vec<(u64, Opening)>, AuditError> {
        let mut frames = self.frames(tile)?;
        let mut openings = Vec::new();
        let mut at = tile * TILE_WIDTH;
        while at < to {
            let frame = frames.next()?.ok_or(AuditError::NoLeaf(at))?;
            let end = frame.header.first + u64::from(frame.header.count);
            if end > from {
                let indexed = (frame.header.first..).zip(frame.open(self)?);
                openings.extend(indexed.filter(|(index, _)| (from..to).contains(index)));
            }
            at = end;
        }
        Ok(openings)
    }

    /// Walks over the frames of a tile.
    fn frames(&self, tile: u64) -> Result<Frames, AuditError> {
        let place = self.place(tile).ok_or(AuditError::NoLeaf(tile * TILE_WIDTH))?;
        let segments: Vec<Arc<Segment>> = self.state().segments.iter().skip(place.segment as usize).cloned().collect();
        Ok(Frames {
            segments,
            number: 0,
            offset: u64::from(place.offset),
            begin: u64::from(place.offset),
            leaf: tile * TILE_WIDTH,
        })
    }
}

/// A walk over frames, from one segment into the next.
struct Frames {
    segments: Vec<Arc<Segment>>,
    number: usize,
    offset: u64,
    begin: u64,
    /// The leaf that must come next.
    leaf: u64,
}

impl Frames {
    fn next(&mut self) -> Result<Option<Frame>, AuditError> {
        let Some(mut segment) = self.segments.get(self.number) else { return Ok(None) };
        if self.offset >= segment.durable() {
            self.number += 1;
            self.offset = SEGMENT_HEADER as u64;
            match self.segments.get(self.number) {
                Some(next) => segment = next,
                None => return Ok(None),
            }
        }
        let mut bytes = [0; FRAME_HEADER];
        segment.file.read_exact_at(&mut bytes, self.offset).map_err(AuditError::Read)?;
        let header = FrameHeader::decode(&bytes).filter(|header| header.first == self.leaf);
        let header = header.ok_or_else(|| self.corrupt(self.offset, "a frame is damaged"))?;
        let frame = Frame { header, segment: Arc::clone(segment), offset: self.offset };
        self.offset += header.frame_len();
        self.leaf += u64::from(header.count);
        Ok(Some(frame))
    }

    fn corrupt(&self, offset: u64, what: &'static str) -> AuditError {
        let file = self.segments.get(self.number).map(|segment| segment.path.clone()).unwrap_or_default();
        AuditError::Corrupt { file, offset, leaf: self.leaf, what }
    }
}

/// A frame on disk.
struct Frame {
    header: FrameHeader,
    segment: Arc<Segment>,
    offset: u64,
}

impl Frame {
    fn read(&self, length: usize) -> Result<Vec<u8>, AuditError> {
        let mut bytes = vec![0; length];
        let at = self.offset + FRAME_HEADER as u64;
        self.segment.file.read_exact_at(&mut bytes, at).map_err(AuditError::Read)?;
        Ok(bytes)
    }

    fn commitments(&self) -> Result<Vec<Hash>, AuditError> {
        Ok(self.read(self.header.commitments_len())?.as_chunks::<32>().0.to_vec())
    }

    fn open(&self, shared: &Shared) -> Result<Vec<Opening>, AuditError> {
        let corrupt = |what| AuditError::Corrupt {
            file: self.segment.path.clone(),
            offset: self.offset,
            leaf: self.header.first,
            what,
        };
        let body = self.read(self.header.body as usize)?;
        let opened = shared.sealer.open_body(&self.header, &body);
        let (commitments, plain) = opened.ok_or_else(|| corrupt("a frame is damaged"))?;
        let openings = split_openings(&plain, commitments.len()).ok_or_else(|| corrupt("openings do not read"))?;
        let openings: Vec<Opening> =
            openings.into_iter().map(|(salt, body)| Opening { salt: *salt, body: body.to_vec() }).collect();
        Ok(openings)
    }
}
