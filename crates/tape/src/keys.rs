//! Member names: their hash, their equality under escapes, and the search for duplicates.
//!
//! The hash is quick and weak on purpose: it only saves comparisons. Nothing depends on its being hard to collide: up
//! to [`MANY`] members a collision costs one walk over them, and above that names are sorted by (hash, text), so that
//! no input makes the search quadratic.

use crate::entry::{ESCAPED, Entry};
use crate::tape::Tape;
use crate::text;
use std::cmp::Ordering;

/// Members up to which each new name is compared with those before it.
pub(crate) const MANY: usize = 64;

/// A member name prepared once, for quick look-ups in many objects ([`crate::Node::get_name`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    text: Box<str>,
    hash: u32,
    /// Its first sixteen bytes, padded with zeros.
    head: [u64; 2],
}

impl Name {
    /// Prepares `text`, which is the decoded name.
    pub fn new(text: &str) -> Name {
        Name { hash: hash(text.as_bytes(), 0, text.len()), head: sixteen(text.as_bytes(), 0), text: text.into() }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The hash that a member of this name has ([`crate::Key::hash`]).
    #[inline(always)]
    pub fn hash(&self) -> u32 {
        self.hash
    }

    /// Whether the bytes of a name without escapes are this one's. Names are short: two loads and masks beat a call.
    #[inline(always)]
    pub(crate) fn is_at(&self, json: &[u8], entry: Entry) -> bool {
        let len = self.text.len();
        if (entry.end - entry.start) as usize != len + 2 {
            return false;
        }
        let start = entry.start as usize + 1;
        match KEEP.get(len) {
            Some([low, high]) => {
                let [found_low, found_high] = sixteen(json, start);
                let [wanted_low, wanted_high] = self.head;
                ((found_low ^ wanted_low) & low) | ((found_high ^ wanted_high) & high) == 0
            }
            None => json.get(start..start + len) == Some(self.text.as_bytes()),
        }
    }
}

const KEEP: [[u64; 2]; 17] = {
    let mut masks = [[0u64; 2]; 17];
    let mut len = 0;
    while len <= 16 {
        let kept = if len == 16 { u128::MAX } else { (1u128 << (8 * len)) - 1 };
        masks[len] = [kept as u64, (kept >> 64) as u64];
        len += 1;
    }
    masks
};

/// Hash of the `len` bytes of `text` that begin at `start`. It reads the 16 bytes after `start` whole where the text
/// has them, and masks what does not belong.
#[inline(always)]
pub(crate) fn hash(text: &[u8], start: usize, len: usize) -> u32 {
    let [head_low, head_high] = sixteen(text, start);
    let [mut low, mut high] = match KEEP.get(len) {
        Some([keep_low, keep_high]) => [head_low & keep_low, head_high & keep_high],
        None => {
            let [tail_low, tail_high] = sixteen(text, start + len - 16);
            [head_low ^ tail_low.rotate_left(23), head_high ^ tail_high.rotate_left(41)]
        }
    };
    low ^= 0x9E37_79B9_7F4A_7C15 ^ len as u64;
    high ^= 0xD6E8_FEB8_6659_FD93;
    let product = u128::from(low) * u128::from(high);
    let folded = (product >> 64) as u64 ^ product as u64;
    (folded ^ (folded >> 32)) as u32
}

#[inline(always)]
fn sixteen(text: &[u8], at: usize) -> [u64; 2] {
    let both = match text.get(at..).and_then(|rest| rest.first_chunk::<16>()) {
        Some(chunk) => u128::from_le_bytes(*chunk),
        None => short(text, at),
    };
    [both as u64, (both >> 64) as u64]
}

/// The last bytes of a text, padded with zeros.
#[inline(never)]
fn short(text: &[u8], at: usize) -> u128 {
    let mut padded = [0u8; 16];
    for (to, from) in padded.iter_mut().zip(text.get(at..).unwrap_or_default()) {
        *to = *from;
    }
    u128::from_le_bytes(padded)
}

/// Contents of a name or string entry: what stands between the quotes.
#[inline(always)]
pub(crate) fn contents(json: &[u8], entry: Entry) -> &[u8] {
    json.get(entry.start as usize + 1..(entry.end as usize).wrapping_sub(1)).unwrap_or_default()
}

/// Whether two names are the same bytes. Names are short: two loads that may overlap beat a call.
#[inline(always)]
pub(crate) fn equal(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    match a.len() {
        4..=8 => equal_ends::<4>(a, b),
        9..=16 => equal_ends::<8>(a, b),
        _ => a == b,
    }
}

/// For `N` to `2 N` bytes.
#[inline(always)]
fn equal_ends<const N: usize>(a: &[u8], b: &[u8]) -> bool {
    a.first_chunk::<N>() == b.first_chunk::<N>() && a.last_chunk::<N>() == b.last_chunk::<N>()
}

fn as_text(json: &[u8], entry: Entry) -> &str {
    // The document was checked as a whole; this is for names with escapes only.
    std::str::from_utf8(contents(json, entry)).unwrap_or_default()
}

/// Whether two names are the same once decoded.
pub(crate) fn same(json: &[u8], a: Entry, b: Entry) -> bool {
    if (a.meta | b.meta) & ESCAPED == 0 {
        return equal(contents(json, a), contents(json, b));
    }
    text::decoded(as_text(json, a)).eq(text::decoded(as_text(json, b)))
}

/// An order of decoded names. UTF-8 sorts as its characters do, so plain and escaped names share one order.
fn order(json: &[u8], a: Entry, b: Entry) -> Ordering {
    if (a.meta | b.meta) & ESCAPED == 0 {
        return contents(json, a).cmp(contents(json, b));
    }
    text::decoded(as_text(json, a)).cmp(text::decoded(as_text(json, b)))
}

/// Hash of a name with escapes: that of its decoded text.
#[inline(never)]
pub(crate) fn hash_escaped(json: &[u8], entry: Entry, decoded: &mut Vec<u8>) -> u32 {
    decoded.clear();
    let mut utf8 = [0u8; 4];
    for c in text::decoded(as_text(json, entry)) {
        decoded.extend_from_slice(c.encode_utf8(&mut utf8).as_bytes());
    }
    hash(decoded, 0, decoded.len())
}

/// Whether a name of the object at `container` equals the one at `newest`, which is the tape's last entry.
#[inline(never)]
pub(crate) fn seen_before(json: &[u8], entries: &[Entry], container: usize, newest: usize) -> bool {
    let Some(&new) = entries.get(newest) else { return false };
    let mut at = container + 1;
    while at < newest {
        let (Some(&name), Some(value)) = (entries.get(at), entries.get(at + 1)) else { return false };
        if name.link == new.link && same(json, name, new) {
            return true;
        }
        at = value.link as usize;
    }
    false
}

/// Looks for a duplicate in a closed object of any size: the index of a later one of two equal names.
#[inline(never)]
pub(crate) fn duplicate_among_many(json: &[u8], tape: &mut Tape, container: usize) -> Option<usize> {
    let entries = &tape.entries;
    let names = &mut tape.names;
    names.clear();
    let mut at = container + 1;
    while let (Some(name), Some(value)) = (entries.get(at), entries.get(at + 1)) {
        names.push(u64::from(name.link) << 32 | at as u64);
        at = value.link as usize;
    }
    names.sort_unstable();
    let entry = |packed: &u64| entries.get(*packed as u32 as usize).copied().unwrap_or_default();
    for run in names.chunk_by_mut(|a, b| a >> 32 == b >> 32) {
        if run.len() == 1 {
            continue;
        }
        // Equal names end up side by side, and among them the order of the document is kept.
        run.sort_unstable_by(|a, b| order(json, entry(a), entry(b)).then(a.cmp(b)));
        for (a, b) in run.iter().zip(run.iter().skip(1)) {
            if same(json, entry(a), entry(b)) {
                return Some(*b as u32 as usize);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_hashes_alike_wherever_it_stands() {
        for len in 0..40 {
            let name: String = ('a'..='z').cycle().take(len).collect();
            let alone = hash(name.as_bytes(), 0, len);
            for surroundings in ["", "\"", "\":[1,2,3,4,5,6,7,8,9]", "\u{7F}"] {
                let text = format!("{{\"{name}{surroundings}");
                assert_eq!(hash(text.as_bytes(), 2, len), alone, "{len} bytes");
            }
        }
    }

    #[test]
    fn names_are_equal_if_all_their_bytes_are() {
        let name: Vec<u8> = (b'a'..=b'z').collect();
        for len in 0..name.len() {
            let mut other = name[..len].to_vec();
            assert!(equal(&name[..len], &other) && !equal(&name[..len + 1], &other));
            for i in 0..len {
                other[i] ^= 1;
                assert!(!equal(&name[..len], &other), "{len} bytes, the one at {i} differs");
                other[i] ^= 1;
            }
        }
    }

    #[test]
    fn a_prepared_name_is_found_wherever_it_stands_and_no_other_is() {
        for len in 0..40 {
            let name: String = ('a'..='z').cycle().take(len).collect();
            let prepared = Name::new(&name);
            for after in ["", ":1}", ":[1,2,3,4,5,6,7,8,9]"] {
                let text = format!("{{\"{name}\"{after}");
                let entry = Entry { start: 1, end: 3 + len as u32, link: prepared.hash(), meta: 0 };
                assert!(prepared.is_at(text.as_bytes(), entry), "{len} bytes");
                for i in 0..len {
                    let mut other = text.clone().into_bytes();
                    other[2 + i] ^= 1;
                    assert!(!prepared.is_at(&other, entry), "{len} bytes, the one at {i} differs");
                }
                assert!(!prepared.is_at(text.as_bytes(), Entry { end: entry.end + 1, ..entry }));
                assert!(!prepared.is_at(text.as_bytes(), Entry { start: 2, ..entry }));
            }
        }
    }

    #[test]
    fn names_that_differ_in_one_byte_hash_apart() {
        let base = "abcdefghijklmnop";
        for len in 1..=16 {
            let name = &base[..len];
            for i in 0..len {
                let mut other = name.as_bytes().to_vec();
                other[i] ^= 1;
                assert_ne!(hash(name.as_bytes(), 0, len), hash(&other, 0, len));
            }
        }
    }
}
