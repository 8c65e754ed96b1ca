//! The files in which leaves live: append-only segments of frames, and the index of tiles. Byte by byte in
//! `docs/formats/audit.md`.
//!
//! This module turns frames into bytes and back. It decides neither when to write nor what to do about damage.

use tradelane_keys::{AtRest, sha256};

use crate::leaf::{MAX_BODY, OPENING_HEAD};
use crate::merkle::Hash;

/// Bytes before the first frame of a segment.
pub(crate) const SEGMENT_HEADER: usize = 48;
/// Bytes before a frame's body.
pub(crate) const FRAME_HEADER: usize = 48;
/// Most leaves in a frame: a frame never crosses the border of a tile.
pub(crate) const MAX_FRAME_LEAVES: u32 = 256;
/// Largest body of a frame.
const MAX_FRAME_BODY: u32 = MAX_FRAME_LEAVES * (32 + OPENING_HEAD + MAX_BODY) as u32 + 64;

const SEGMENT_MAGIC: &[u8; 8] = b"TLAUDIT1";
const FRAME_MAGIC: &[u8; 4] = b"TLAF";
/// Header bytes that a frame's sealed openings are bound to: all but the body's length and the check.
const BOUND: usize = 40;
const AAD_TAG: &[u8] = b"tradelane.audit.frame.1";

/// The name of the segment whose first leaf is `first`.
pub(crate) fn segment_name(first: u64) -> String {
    format!("leaves-{first:020}.seg")
}

/// The first leaf of the segment of that name.
pub(crate) fn parse_segment_name(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("leaves-")?.strip_suffix(".seg")?;
    let first = digits.parse().ok()?;
    (segment_name(first) == name).then_some(first)
}

/// The first bytes of a segment.
pub(crate) fn segment_header(first: u64, origin: &Hash) -> [u8; SEGMENT_HEADER] {
    let mut header = [0; SEGMENT_HEADER];
    header[..8].copy_from_slice(SEGMENT_MAGIC);
    header[8..16].copy_from_slice(&first.to_be_bytes());
    header[16..].copy_from_slice(origin);
    header
}

/// What stands before a frame's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    /// Index of the first leaf.
    pub(crate) first: u64,
    /// Number of leaves.
    pub(crate) count: u32,
    /// Offset in the segment of the group commit that this frame belongs to.
    pub(crate) group: u32,
    /// Earliest time of a leaf, in microseconds.
    pub(crate) earliest: i64,
    /// Latest time of a leaf.
    pub(crate) latest: i64,
    /// Bytes of the body: commitments and sealed openings.
    pub(crate) body: u32,
}

impl FrameHeader {
    fn encode(&self) -> [u8; FRAME_HEADER] {
        let mut out = [0; FRAME_HEADER];
        out[..4].copy_from_slice(FRAME_MAGIC);
        out[4..12].copy_from_slice(&self.first.to_be_bytes());
        out[12..16].copy_from_slice(&self.count.to_be_bytes());
        out[16..20].copy_from_slice(&self.group.to_be_bytes());
        out[20..28].copy_from_slice(&self.earliest.to_be_bytes());
        out[28..36].copy_from_slice(&self.latest.to_be_bytes());
        out[40..44].copy_from_slice(&self.body.to_be_bytes());
        let check = sha256(&out[..44]);
        out[44..].copy_from_slice(&check[..4]);
        out
    }

    /// Reads a header; `None` if the bytes are none, or are damaged.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; FRAME_HEADER] = bytes.first_chunk()?;
        if bytes[..4] != *FRAME_MAGIC || bytes[36..40] != [0; 4] || sha256(&bytes[..44])[..4] != bytes[44..] {
            return None;
        }
        let u32_at = |at: usize| bytes[at..].first_chunk().map(|b| u32::from_be_bytes(*b));
        let u64_at = |at: usize| bytes[at..].first_chunk().map(|b| u64::from_be_bytes(*b));
        let header = Self {
            first: u64_at(4)?,
            count: u32_at(12)?,
            group: u32_at(16)?,
            earliest: u64_at(20)? as i64,
            latest: u64_at(28)? as i64,
            body: u32_at(40)?,
        };
        let plausible = (1..=MAX_FRAME_LEAVES).contains(&header.count)
            && (header.count * 32..=MAX_FRAME_BODY).contains(&header.body)
            && header.first.checked_add(u64::from(header.count)).is_some();
        plausible.then_some(header)
    }

    /// Bytes of the whole frame.
    pub(crate) fn frame_len(&self) -> u64 {
        FRAME_HEADER as u64 + u64::from(self.body)
    }

    /// Bytes of the commitments, which stand first in the body.
    pub(crate) fn commitments_len(&self) -> usize {
        self.count as usize * 32
    }
}

/// Seals and opens the openings of one log.
pub(crate) struct Sealer {
    at_rest: AtRest,
    pub(crate) origin: Hash,
}

impl Sealer {
    pub(crate) fn new(at_rest: AtRest, origin: &str) -> Self {
        Self { at_rest, origin: sha256(origin.as_bytes()) }
    }

    fn aad(&self, header: &[u8], commitments: &[u8]) -> Vec<u8> {
        let mut aad = Vec::with_capacity(AAD_TAG.len() + 32 + BOUND + commitments.len());
        aad.extend_from_slice(AAD_TAG);
        aad.extend_from_slice(&self.origin);
        aad.extend_from_slice(&header[..BOUND]);
        aad.extend_from_slice(commitments);
        aad
    }

    /// Appends a whole frame. The body's length in `header` is filled in here.
    pub(crate) fn write_frame(&self, header: FrameHeader, commitments: &[Hash], openings: &[u8], out: &mut Vec<u8>) {
        let commitments = commitments.as_flattened();
        let sealed = self.at_rest.seal_blob(&self.aad(&header.encode(), commitments), openings);
        let header = FrameHeader { body: (commitments.len() + sealed.len()) as u32, ..header };
        out.extend_from_slice(&header.encode());
        out.extend_from_slice(commitments);
        out.extend_from_slice(&sealed);
    }

    /// The commitments and the openings of a frame's body, if every byte of frame and header is as it was written.
    pub(crate) fn open_body(&self, header: &FrameHeader, body: &[u8]) -> Option<(Vec<Hash>, Vec<u8>)> {
        let (commitments, sealed) = body.split_at_checked(header.commitments_len())?;
        let plain = self.at_rest.open_blob(&self.aad(&header.encode(), commitments), sealed).ok()?;
        Some((commitments.as_chunks::<32>().0.to_vec(), plain))
    }
}

/// Where a tile begins, and which times its leaves span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TilePlace {
    /// Number of the segment, in order.
    pub(crate) segment: u32,
    /// Offset of the frame that holds the tile's first leaf.
    pub(crate) offset: u32,
    /// Earliest time of a leaf, in microseconds.
    pub(crate) earliest: i64,
    /// Latest time of a leaf.
    pub(crate) latest: i64,
}

/// Bytes of a record of the index.
pub(crate) const INDEX_RECORD: usize = 56;

/// One full tile in the index: its root and its place.
pub(crate) fn index_record(root: &Hash, place: &TilePlace) -> [u8; INDEX_RECORD] {
    let mut out = [0; INDEX_RECORD];
    out[..32].copy_from_slice(root);
    out[32..36].copy_from_slice(&place.segment.to_be_bytes());
    out[36..40].copy_from_slice(&place.offset.to_be_bytes());
    out[40..48].copy_from_slice(&place.earliest.to_be_bytes());
    out[48..].copy_from_slice(&place.latest.to_be_bytes());
    out
}

/// All whole records of an index.
pub(crate) fn parse_index(bytes: &[u8]) -> Vec<(Hash, TilePlace)> {
    let parse = |record: &[u8; INDEX_RECORD]| {
        let (root, rest) = record.split_first_chunk::<32>()?;
        let (segment, rest) = rest.split_first_chunk::<4>()?;
        let (offset, rest) = rest.split_first_chunk::<4>()?;
        let (earliest, rest) = rest.split_first_chunk::<8>()?;
        let (latest, _) = rest.split_first_chunk::<8>()?;
        let place = TilePlace {
            segment: u32::from_be_bytes(*segment),
            offset: u32::from_be_bytes(*offset),
            earliest: i64::from_be_bytes(*earliest),
            latest: i64::from_be_bytes(*latest),
        };
        Some((*root, place))
    };
    bytes.as_chunks::<INDEX_RECORD>().0.iter().map_while(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tradelane_keys::SecretBytes;

    fn header() -> FrameHeader {
        FrameHeader { first: 256, count: 2, group: 48, earliest: -5, latest: 9, body: 64 }
    }

    #[test]
    fn one_flipped_bit_anywhere_in_a_frame_is_noticed() {
        let sealer = Sealer::new(AtRest::new(&SecretBytes::new([3; 32])), "hub.example/audit");
        let mut frame = Vec::new();
        sealer.write_frame(header(), &[[1; 32], [2; 32]], b"openings", &mut frame);
        let open = |frame: &[u8]| {
            let header = FrameHeader::decode(frame)?;
            sealer.open_body(&header, frame.get(FRAME_HEADER..header.frame_len() as usize)?)
        };
        assert_eq!(open(&frame).unwrap(), (vec![[1; 32], [2; 32]], b"openings".to_vec()));
        for bit in 0..frame.len() * 8 {
            let mut changed = frame.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(open(&changed).is_none(), "bit {bit}");
        }
        let elsewhere = Sealer::new(AtRest::new(&SecretBytes::new([3; 32])), "other.example/audit");
        assert!(elsewhere.open_body(&FrameHeader::decode(&frame).unwrap(), &frame[FRAME_HEADER..]).is_none());
    }

    #[test]
    fn a_segment_is_named_by_its_first_leaf() {
        assert_eq!(parse_segment_name(&segment_name(1_000_000)), Some(1_000_000));
        for name in ["leaves-1.seg", "leaves-0000000000000000000x.seg", "index", "leaves-00000000000000000001.seg~"] {
            assert_eq!(parse_segment_name(name), None);
        }
    }

    #[test]
    fn an_index_reads_back_up_to_its_last_whole_record() {
        let place = TilePlace { segment: 1, offset: 2, earliest: -3, latest: 4 };
        let mut bytes = index_record(&[7; 32], &place).to_vec();
        bytes.extend_from_slice(&[0; INDEX_RECORD - 1]);
        assert_eq!(parse_index(&bytes), vec![([7; 32], place)]);
    }
}
