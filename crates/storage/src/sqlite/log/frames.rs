//! The bytes of a segment: a header, then groups of frames. What was written together is one group, whole or not there.
//!
//! All numbers are big endian; docs/formats/event-log.md has the tables.

use tradelane_model::Timestamp;

use crate::event_log::{Dedup, MAX_BATCH};

/// Bytes of a segment's header.
pub(super) const SEGMENT_HEADER: usize = 32;
/// Bytes of a group's header.
pub(super) const GROUP_HEADER: usize = 32;

/// The most bytes that a sealed batch can have.
pub(super) const MAX_SEALED: usize = MAX_BATCH + 64;

const SEGMENT_MAGIC: [u8; 4] = *b"TLSG";
const GROUP_MAGIC: [u8; 4] = *b"TLGP";
const VERSION: u32 = 1;

/// The header of segment `number` of the log `log`.
pub(super) fn segment_header(log: &[u8; 16], number: u64) -> [u8; SEGMENT_HEADER] {
    let mut header = [0; SEGMENT_HEADER];
    header[..4].copy_from_slice(&SEGMENT_MAGIC);
    header[4..8].copy_from_slice(&VERSION.to_be_bytes());
    header[8..16].copy_from_slice(&number.to_be_bytes());
    header[16..].copy_from_slice(log);
    header
}

/// What a group's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct GroupHeader {
    /// Its place among all groups of the log.
    pub(super) sequence: u64,
    /// Bytes after the header.
    pub(super) body: u64,
    /// Frames in them.
    pub(super) frames: u32,
    /// CRC-32C of the body.
    checksum: u32,
}

impl GroupHeader {
    pub(super) fn of(sequence: u64, frames: u32, body: &[u8]) -> Self {
        Self { sequence, body: body.len() as u64, frames, checksum: crc_fast::crc32_iscsi(body) }
    }

    pub(super) fn bytes(&self) -> [u8; GROUP_HEADER] {
        let mut bytes = [0; GROUP_HEADER];
        bytes[..4].copy_from_slice(&GROUP_MAGIC);
        bytes[4..8].copy_from_slice(&self.frames.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[16..24].copy_from_slice(&self.body.to_be_bytes());
        bytes[24..28].copy_from_slice(&self.checksum.to_be_bytes());
        let checksum = crc_fast::crc32_iscsi(&bytes[..28]);
        bytes[28..].copy_from_slice(&checksum.to_be_bytes());
        bytes
    }

    /// The header that these bytes begin with, if they do.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let mut bytes = bytes.get(..GROUP_HEADER)?;
        let whole = bytes;
        let magic: [u8; 4] = take(&mut bytes)?;
        let header = Self {
            frames: u32::from_be_bytes(take(&mut bytes)?),
            sequence: u64::from_be_bytes(take(&mut bytes)?),
            body: u64::from_be_bytes(take(&mut bytes)?),
            checksum: u32::from_be_bytes(take(&mut bytes)?),
        };
        let checksum = u32::from_be_bytes(take(&mut bytes)?);
        (magic == GROUP_MAGIC && checksum == crc_fast::crc32_iscsi(&whole[..28])).then_some(header)
    }

    /// Where in `bytes` the first header is, if there is one.
    pub(super) fn find(bytes: &[u8]) -> Option<usize> {
        let mut candidates = bytes.windows(4).enumerate().filter(|(_, window)| *window == GROUP_MAGIC);
        candidates.find(|(at, _)| Self::read(&bytes[*at..]).is_some()).map(|(at, _)| at)
    }

    /// Is this the body that was written?
    pub(super) fn vouches_for(&self, body: &[u8]) -> bool {
        body.len() as u64 == self.body && crc_fast::crc32_iscsi(body) == self.checksum
    }
}

/// Why a frame was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// An append.
    Append(Option<Dedup>),
    /// What compaction left in the place of others; only the index says whether it was done.
    Rewrite,
}

/// What stands in front of a sealed batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FrameHeader {
    pub(super) kind: Kind,
    pub(super) incarnation: [u8; 16],
    pub(super) base: u64,
    pub(super) count: u32,
    pub(super) timestamp: Timestamp,
}

const APPEND: u8 = 0;
const APPEND_ONCE: u8 = 1;
const REWRITE: u8 = 2;

/// Puts a frame behind the others; `seal` puts the sealed batch there. Answers where in `group` that lies.
pub(super) fn put(
    group: &mut Vec<u8>,
    header: &FrameHeader,
    seal: impl FnOnce(&mut Vec<u8>),
) -> std::ops::Range<usize> {
    group.push(match header.kind {
        Kind::Append(None) => APPEND,
        Kind::Append(Some(_)) => APPEND_ONCE,
        Kind::Rewrite => REWRITE,
    });
    group.extend_from_slice(&header.incarnation);
    group.extend_from_slice(&header.base.to_be_bytes());
    group.extend_from_slice(&header.count.to_be_bytes());
    group.extend_from_slice(&header.timestamp.0.to_be_bytes());
    if let Kind::Append(Some(dedup)) = &header.kind {
        group.extend_from_slice(&dedup.key);
        group.extend_from_slice(&dedup.body);
        group.extend_from_slice(&dedup.expires.0.to_be_bytes());
    }
    let length_at = group.len();
    group.extend_from_slice(&[0; 4]);
    let sealed_at = group.len();
    seal(group);
    let length = (group.len() - sealed_at) as u32;
    group[length_at..sealed_at].copy_from_slice(&length.to_be_bytes());
    sealed_at..group.len()
}

/// Takes the next frame off the front of `body`: its header and the sealed batch. `None` if there is none.
pub(super) fn next<'a>(body: &mut &'a [u8]) -> Option<(FrameHeader, &'a [u8])> {
    let [kind] = take(body)?;
    let incarnation = take(body)?;
    let base = u64::from_be_bytes(take(body)?);
    let count = u32::from_be_bytes(take(body)?);
    let timestamp = Timestamp(i64::from_be_bytes(take(body)?));
    let kind = match kind {
        APPEND => Kind::Append(None),
        APPEND_ONCE => {
            let (key, digest) = (take(body)?, take(body)?);
            let expires = Timestamp(i64::from_be_bytes(take(body)?));
            Kind::Append(Some(Dedup { key, body: digest, expires }))
        }
        REWRITE => Kind::Rewrite,
        _ => return None,
    };
    let length = u32::from_be_bytes(take(body)?) as usize;
    let (sealed, rest) = body.split_at_checked(length).filter(|_| length <= MAX_SEALED)?;
    *body = rest;
    Some((FrameHeader { kind, incarnation, base, count, timestamp }, sealed))
}

fn take<const N: usize>(from: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = from.split_first_chunk::<N>()?;
    *from = rest;
    Some(*head)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(kind: Kind) -> FrameHeader {
        FrameHeader { kind, incarnation: [7; 16], base: 9, count: 3, timestamp: Timestamp(-1) }
    }

    fn group() -> (Vec<u8>, Vec<FrameHeader>) {
        let dedup = Dedup { key: [1; 32], body: [2; 32], expires: Timestamp(5) };
        let headers = vec![header(Kind::Append(None)), header(Kind::Append(Some(dedup))), header(Kind::Rewrite)];
        let mut body = Vec::new();
        for (n, header) in headers.iter().enumerate() {
            let lies = put(&mut body, header, |out| out.extend_from_slice(&vec![n as u8; n * 10]));
            assert_eq!(body[lies], vec![n as u8; n * 10]);
        }
        (body, headers)
    }

    #[test]
    fn frames_are_read_as_they_were_put() {
        let (body, headers) = group();
        let mut rest = &body[..];
        for (n, header) in headers.iter().enumerate() {
            assert_eq!(next(&mut rest), Some((header.clone(), &vec![n as u8; n * 10][..])));
        }
        assert_eq!((rest, next(&mut rest)), (&[][..], None));
    }

    #[test]
    fn a_group_with_any_bit_flipped_or_cut_anywhere_is_none() {
        let (body, _) = group();
        let mut bytes = GroupHeader::of(4, 3, &body).bytes().to_vec();
        bytes.extend_from_slice(&body);
        let whole =
            |bytes: &[u8]| GroupHeader::read(bytes).is_some_and(|header| header.vouches_for(&bytes[GROUP_HEADER..]));
        assert!(whole(&bytes));
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(!whole(&changed), "bit {bit}");
        }
        assert!((0..bytes.len()).all(|length| !whole(&bytes[..length])));
    }

    #[test]
    fn a_header_is_found_among_other_bytes() {
        let header = GroupHeader::of(4, 0, &[]).bytes();
        let mut bytes = b"noise TLGP and more TLGPTLG".to_vec();
        assert_eq!(GroupHeader::find(&bytes), None);
        bytes.extend_from_slice(&header);
        assert_eq!(GroupHeader::find(&bytes), Some(27));
    }

    #[test]
    fn hostile_bytes_are_no_frame() {
        let (body, _) = group();
        for cut in 0..body.len() {
            let mut rest = &body[..cut];
            while next(&mut rest).is_some() {}
        }
        assert_eq!(next(&mut &[9u8; 200][..]), None, "a kind that nobody wrote");
        assert_eq!(next(&mut &[0xff; 200][..]), None);
        let mut long = Vec::new();
        put(&mut long, &header(Kind::Rewrite), |_| {});
        let at = long.len() - 4;
        long[at..].fill(0xff);
        assert_eq!(next(&mut &long[..]), None, "a length beyond what is there");
    }
}
