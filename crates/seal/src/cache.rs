//! Stand-ins that were computed before: per record, all that a view puts in place of values it had to look at.
//!
//! The key is the tag of the record's skeleton, which no two records share. What is kept is what the reader gets, never a
//! value itself; it is bounded in bytes and cleared on erasure.

use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::{Cache, DefaultLifecycle};
use tradelane_keys::Tag;

/// The stand-ins of one record in the order of its holes, in one piece of memory: an end for each (little endian, the
/// highest bit set if it is dropped instead), then their text.
#[derive(Debug, Clone)]
pub(crate) struct StandIns {
    bytes: Arc<[u8]>,
    count: usize,
}

/// Stand-ins as they are computed.
#[derive(Debug, Default)]
pub(crate) struct StandInsBuilder {
    text: Vec<u8>,
    ends: Vec<u32>,
}

const DROPPED: u32 = 1 << 31;

impl StandInsBuilder {
    pub(crate) fn push(&mut self, text: Option<&[u8]>) {
        self.text.extend_from_slice(text.unwrap_or_default());
        let dropped = if text.is_none() { DROPPED } else { 0 };
        self.ends.push(self.text.len() as u32 | dropped);
    }

    pub(crate) fn finish(self) -> StandIns {
        let mut bytes = Vec::with_capacity(self.ends.len() * 4 + self.text.len());
        self.ends.iter().for_each(|end| bytes.extend_from_slice(&end.to_le_bytes()));
        bytes.extend_from_slice(&self.text);
        StandIns { bytes: bytes.into(), count: self.ends.len() }
    }
}

impl StandIns {
    /// One after the other.
    #[inline(always)]
    pub(crate) fn in_order(&self) -> StandInsInOrder<'_> {
        let (ends, text) = self.bytes.split_at_checked(self.count * 4).unwrap_or_default();
        StandInsInOrder { ends: ends.as_chunks().0.iter(), text, at: 0 }
    }

    fn weight(&self) -> u64 {
        (self.bytes.len() + 96) as u64
    }
}

/// Goes through the stand-ins of a record.
#[derive(Debug, Clone)]
pub(crate) struct StandInsInOrder<'a> {
    ends: std::slice::Iter<'a, [u8; 4]>,
    text: &'a [u8],
    /// Where the next one begins.
    at: usize,
}

impl<'a> StandInsInOrder<'a> {
    /// The next one: none if there is no more, and none inside if it is dropped.
    #[inline(always)]
    pub(crate) fn next(&mut self) -> Option<Option<&'a [u8]>> {
        let end = u32::from_le_bytes(*self.ends.next()?);
        if end & DROPPED != 0 {
            return Some(None);
        }
        let from = std::mem::replace(&mut self.at, end as usize);
        self.text.get(from..end as usize).map(Some)
    }
}

/// A bounded map from records to their stand-ins.
#[derive(Debug)]
pub(crate) struct Replacements(Cache<RecordTag, StandIns, ByBytes, BuildHasherDefault<TagHasher>>);

impl Replacements {
    pub(crate) fn new(bytes: u64) -> Self {
        let expected = usize::try_from(bytes / 512).unwrap_or(usize::MAX);
        Self(Cache::with(expected, bytes, ByBytes, BuildHasherDefault::default(), DefaultLifecycle::default()))
    }

    #[inline]
    pub(crate) fn get(&self, record: &Tag) -> Option<StandIns> {
        self.0.get(&RecordTag(*record))
    }

    pub(crate) fn insert(&self, record: &Tag, stand_ins: StandIns) {
        self.0.insert(RecordTag(*record), stand_ins);
    }

    pub(crate) fn clear(&self) {
        self.0.clear();
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct RecordTag(Tag);

/// A tag is as good as random already; its first half is its hash.
impl Hash for RecordTag {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.first_chunk().map_or(0, |half| u64::from_le_bytes(*half)));
    }
}

#[derive(Debug, Default, Clone)]
struct TagHasher(u64);

impl Hasher for TagHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, half: u64) {
        self.0 = half;
    }
}

#[derive(Debug, Clone)]
struct ByBytes;

impl Weighter<RecordTag, StandIns> for ByBytes {
    fn weight(&self, _: &RecordTag, stand_ins: &StandIns) -> u64 {
        stand_ins.weight()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stand_ins_come_back_in_order_and_are_forgotten_on_clear() {
        let cache = Replacements::new(1 << 16);
        let mut stand_ins = StandInsBuilder::default();
        stand_ins.push(Some(b"ab"));
        stand_ins.push(None);
        stand_ins.push(Some(b"c"));
        cache.insert(&[7; 16], stand_ins.finish());
        let found = cache.get(&[7; 16]).unwrap();
        let mut in_order = found.in_order();
        let mut next = || in_order.next();
        assert_eq!((next(), next(), next()), (Some(Some(&b"ab"[..])), Some(None), Some(Some(&b"c"[..]))));
        assert_eq!(next(), None);
        cache.clear();
        assert!(cache.get(&[7; 16]).is_none());
    }

    #[test]
    fn the_cache_stays_within_its_bytes() {
        let cache = Replacements::new(1 << 16);
        for i in 0..10_000_u64 {
            let mut tag = [0; 16];
            tag[..8].copy_from_slice(&i.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes());
            let mut stand_ins = StandInsBuilder::default();
            stand_ins.push(Some(&[0; 100]));
            cache.insert(&tag, stand_ins.finish());
        }
        assert!(cache.0.weight() <= 1 << 16);
    }
}
