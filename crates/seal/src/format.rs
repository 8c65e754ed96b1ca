//! The bytes of a sealed event. `docs/formats/sealed-event.md` describes them one by one; this is the code for it.
//!
//! It knows nothing of encodings but their numbers: a hole is a place in the skeleton with a little of what surrounds it.

use tradelane_keys::{Nonce, TAG_LEN, Tag, sha256};

use crate::dictionary::Dictionary;

pub(crate) const MAGIC: [u8; 2] = *b"TS";
/// The body is as the views read it.
pub(crate) const VERSION: u8 = 1;
/// The body is packed, and the number of its dictionary follows the header.
pub(crate) const PACKED: u8 = 2;
pub(crate) const HEADER_LEN: usize = 40;
/// Bytes between a header and a packed body.
pub(crate) const DICTIONARY_LEN: usize = 4;
const AAD_LEN: usize = HEADER_LEN + 4 + 32;
pub(crate) const COUNTS_LEN: usize = 8;
pub(crate) const SECTION_LEN: usize = 32;
pub(crate) const HOLE_LEN: usize = 16;
/// Section number of a hole whose value is in the skeleton.
pub(crate) const OPEN: u16 = 0xFFF;
pub(crate) const MAX_SECTIONS: usize = 4_000;
/// Index that the body has in associated data, where sections have theirs.
const BODY_INDEX: u32 = u32::MAX;

/// The product that an event belongs to, as it enters the associated data of every part of a record.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ProductContext([u8; 32]);

impl ProductContext {
    /// For the product of this owner with this id.
    pub fn new(owner: &str, product: &str) -> Self {
        let mut text = Vec::with_capacity(64 + owner.len() + product.len());
        text.extend_from_slice(b"tradelane/sealed-event/v1\0");
        text.extend_from_slice(owner.as_bytes());
        text.push(0);
        text.extend_from_slice(product.as_bytes());
        Self(sha256(&text))
    }

    /// What names the product and says nothing of it.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// What an event is written in. Each encoding has its own way of locating fields, of masks, and of closing the gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Encoding {
    /// JSON.
    Json = 1,
    /// Avro's binary encoding.
    Avro = 2,
    /// Protobuf's binary encoding.
    Protobuf = 3,
}

impl Encoding {
    fn of(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Json),
            2 => Some(Self::Avro),
            3 => Some(Self::Protobuf),
            _ => None,
        }
    }
}

/// The clear part of a record: what is needed to find the right keys and views, and nothing of the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What the event is written in.
    pub encoding: Encoding,
    /// Number of the contract version whose rules cut the event.
    pub shape: u32,
    /// Key of the skeleton.
    pub log_key: u64,
    /// Nonce of the skeleton under that key.
    pub(crate) counter: u64,
    /// Base of the sections' nonces.
    pub(crate) salt: Nonce,
    /// Length of the encrypted body without its tag.
    pub(crate) body_len: u32,
    /// If the body is packed: the number of its dictionary, 0 for none.
    pub(crate) packed: Option<u32>,
}

impl Header {
    /// Reads the header of a record; `None` if it is not a sealed event that this release reads.
    pub fn read(record: &[u8]) -> Option<Self> {
        let (head, after) = record.split_first_chunk::<HEADER_LEN>()?;
        let (magic, rest) = head.split_first_chunk::<4>()?;
        let [m, n, version, encoding] = *magic;
        if [m, n] != MAGIC {
            return None;
        }
        let packed = match version {
            VERSION => None,
            PACKED => Some(u32::from_le_bytes(*after.first_chunk::<DICTIONARY_LEN>()?)),
            _ => return None,
        };
        let (shape, rest) = rest.split_first_chunk()?;
        let (log_key, rest) = rest.split_first_chunk()?;
        let (counter, rest) = rest.split_first_chunk()?;
        let (salt, rest) = rest.split_first_chunk()?;
        Some(Self {
            encoding: Encoding::of(encoding)?,
            shape: u32::from_le_bytes(*shape),
            log_key: u64::from_le_bytes(*log_key),
            counter: u64::from_le_bytes(*counter),
            salt: *salt,
            body_len: u32::from_le_bytes(*rest.first_chunk()?),
            packed,
        })
    }

    /// The number of the dictionary without which the record cannot be read; none if it needs none.
    pub fn dictionary(&self) -> Option<u32> {
        self.packed.filter(|number| *number != 0)
    }

    pub(crate) fn to_bytes(self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        let fields: [&[u8]; 7] = [
            &MAGIC,
            &[if self.packed.is_some() { PACKED } else { VERSION }, self.encoding as u8],
            &self.shape.to_le_bytes(),
            &self.log_key.to_le_bytes(),
            &self.counter.to_le_bytes(),
            &self.salt,
            &self.body_len.to_le_bytes(),
        ];
        let mut rest = bytes.as_mut_slice();
        for field in fields {
            let (here, after) = rest.split_at_mut(field.len());
            here.copy_from_slice(field);
            rest = after;
        }
        bytes
    }

    /// Nonce of a section: the salt, its last four bytes changed by the section's number.
    pub(crate) fn section_nonce(&self, index: u32) -> Nonce {
        let mut nonce = self.salt;
        if let Some(last) = nonce.last_chunk_mut::<4>() {
            *last = (u32::from_le_bytes(*last) ^ index).to_le_bytes();
        }
        nonce
    }
}

/// Associated data: `header ‖ index ‖ product`, for a packed body `‖ number ‖ digest` of its dictionary. It holds every part
/// to its own place in its own record.
pub(crate) struct AssociatedData {
    bytes: [u8; AAD_LEN + DICTIONARY_LEN + 32],
    /// Of them, those of a body.
    body: usize,
}

impl AssociatedData {
    pub(crate) fn new(header: &[u8; HEADER_LEN], product: &ProductContext) -> Self {
        let mut bytes = [0; AAD_LEN + DICTIONARY_LEN + 32];
        let (head, rest) = bytes.split_at_mut(HEADER_LEN);
        head.copy_from_slice(header);
        let (_, rest) = rest.split_at_mut(4);
        let (place, _) = rest.split_at_mut(32);
        place.copy_from_slice(&product.0);
        Self { bytes, body: AAD_LEN }
    }

    /// The body is packed, with this dictionary.
    pub(crate) fn packed_with(mut self, dictionary: Option<&Dictionary>) -> Self {
        if let Some(dictionary) = dictionary {
            let (_, rest) = self.bytes.split_at_mut(AAD_LEN);
            let (number, digest) = rest.split_at_mut(DICTIONARY_LEN);
            number.copy_from_slice(&dictionary.number().to_le_bytes());
            digest.copy_from_slice(dictionary.digest());
        }
        self.body = self.bytes.len();
        self
    }

    pub(crate) fn body(&mut self) -> &[u8] {
        let len = self.body;
        self.place(BODY_INDEX, len)
    }

    pub(crate) fn section(&mut self, index: u32) -> &[u8] {
        self.place(index, AAD_LEN)
    }

    fn place(&mut self, index: u32, len: usize) -> &[u8] {
        let (_, rest) = self.bytes.split_at_mut(HEADER_LEN);
        let (place, _) = rest.split_at_mut(4);
        place.copy_from_slice(&index.to_le_bytes());
        self.bytes.get(..len).unwrap_or_default()
    }
}

/// An entry of the section table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Section {
    pub(crate) key: u64,
    /// From the end of the body's tag.
    pub(crate) offset: u32,
    pub(crate) len: u32,
    pub(crate) tag: Tag,
}

impl Section {
    pub(crate) fn to_bytes(self) -> [u8; SECTION_LEN] {
        let mut bytes = [0; SECTION_LEN];
        let (key, rest) = bytes.split_at_mut(8);
        let (offset, rest) = rest.split_at_mut(4);
        let (len, tag) = rest.split_at_mut(4);
        key.copy_from_slice(&self.key.to_le_bytes());
        offset.copy_from_slice(&self.offset.to_le_bytes());
        len.copy_from_slice(&self.len.to_le_bytes());
        tag.copy_from_slice(&self.tag);
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8; SECTION_LEN]) -> Self {
        let word = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        let (_, tag) = bytes.split_last_chunk::<TAG_LEN>().unwrap_or((&[], &[0; TAG_LEN]));
        Self { key: u64::from(word(0)) | u64::from(word(4)) << 32, offset: word(8), len: word(12), tag: *tag }
    }
}

/// What a hole's value is, so that a mask can keep its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum ValueKind {
    Null = 0,
    Bool = 1,
    Number = 2,
    String = 3,
    Array = 4,
    Object = 5,
    /// A member with its name.
    Member = 6,
    /// No value, but framing that depends on what is around it. Binary encodings have it; `prefix` says which.
    Mark = 7,
}

impl ValueKind {
    #[inline(always)]
    pub(crate) fn from_bits(bits: u16) -> Self {
        match bits & 7 {
            0 => Self::Null,
            1 => Self::Bool,
            2 => Self::Number,
            3 => Self::String,
            4 => Self::Array,
            5 => Self::Object,
            6 => Self::Member,
            _ => Self::Mark,
        }
    }
}

/// An entry of the hole table: 16 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hole {
    /// Where the value is, or would be, in the skeleton.
    pub(crate) at: u32,
    /// Its length.
    pub(crate) len: u32,
    /// The rule that made it.
    pub(crate) rule: u16,
    /// Section (12 bits), last member of its object (1 bit), kind of value (3 bits).
    pub(crate) place: u16,
    /// Bytes before the value that go with it when it is dropped: the member's name, colon and blanks.
    pub(crate) prefix: u16,
    /// Bytes after the value that go with it: the comma and blanks up to the next member. In a binary encoding: the
    /// position of its schema.
    pub(crate) suffix: u16,
}

impl Hole {
    pub(crate) fn place(section: u16, last: bool, kind: ValueKind) -> u16 {
        (section & 0xFFF) | u16::from(last) << 12 | (kind as u16) << 13
    }

    #[inline(always)]
    pub(crate) fn section(self) -> u16 {
        self.place & 0xFFF
    }

    /// Is the value in the skeleton?
    #[inline(always)]
    pub(crate) fn is_open(self) -> bool {
        self.section() == OPEN
    }

    /// Is it a member, which goes with its name when it is dropped? An element is not.
    #[inline(always)]
    pub(crate) fn is_member(self) -> bool {
        self.prefix != 0 || self.place >> 13 >= ValueKind::Member as u16
    }

    #[inline(always)]
    pub(crate) fn is_last(self) -> bool {
        self.place & 0x1000 != 0
    }

    #[inline(always)]
    pub(crate) fn kind(self) -> ValueKind {
        ValueKind::from_bits(self.place >> 13)
    }

    pub(crate) fn to_bytes(self) -> [u8; HOLE_LEN] {
        let low = u64::from(self.at) | u64::from(self.len) << 32;
        let high = u64::from(self.rule)
            | u64::from(self.place) << 16
            | u64::from(self.prefix) << 32
            | u64::from(self.suffix) << 48;
        (u128::from(low) | u128::from(high) << 64).to_le_bytes()
    }

    #[inline(always)]
    pub(crate) fn from_bytes(bytes: &[u8; HOLE_LEN]) -> Self {
        let both = u128::from_le_bytes(*bytes);
        let (low, high) = (both as u64, (both >> 64) as u64);
        Self {
            at: low as u32,
            len: (low >> 32) as u32,
            rule: high as u16,
            place: (high >> 16) as u16,
            prefix: (high >> 32) as u16,
            suffix: (high >> 48) as u16,
        }
    }
}

/// The parts of a decrypted body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Body<'a> {
    pub(crate) sections: &'a [[u8; SECTION_LEN]],
    pub(crate) holes: &'a [[u8; HOLE_LEN]],
    pub(crate) skeleton: &'a [u8],
}

impl<'a> Body<'a> {
    /// Takes a body apart; `None` if its counts do not fit its length.
    #[inline]
    pub(crate) fn read(body: &'a [u8]) -> Option<Self> {
        let (counts, rest) = body.split_first_chunk::<COUNTS_LEN>()?;
        let counts = u64::from_le_bytes(*counts);
        let (holes, sections) = (counts as u32 as usize, (counts >> 32) as u32 as usize);
        if sections > MAX_SECTIONS {
            return None;
        }
        let (sections, rest) = rest.split_at_checked(sections * SECTION_LEN)?;
        let (holes, skeleton) = rest.split_at_checked(holes.checked_mul(HOLE_LEN)?)?;
        Some(Self { sections: sections.as_chunks().0, holes: holes.as_chunks().0, skeleton })
    }

    #[inline]
    pub(crate) fn section(&self, index: u16) -> Option<Section> {
        self.sections.get(usize::from(index)).map(Section::from_bytes)
    }
}

/// The eight bytes before the tables.
pub(crate) fn counts(holes: u32, sections: u32) -> [u8; COUNTS_LEN] {
    (u64::from(holes) | u64::from(sections) << 32).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_section_and_hole_read_back_as_written() {
        let header = Header {
            encoding: Encoding::Avro,
            shape: 7,
            log_key: u64::MAX - 1,
            counter: 3,
            salt: [9; 12],
            body_len: 512,
            packed: None,
        };
        assert_eq!(Header::read(&header.to_bytes()), Some(header));
        let packed = Header { packed: Some(3), ..header };
        assert_eq!(Header::read(&packed.to_bytes()), None, "the number of its dictionary is missing");
        assert_eq!(Header::read(&[packed.to_bytes().as_slice(), &[3, 0, 0, 0]].concat()), Some(packed));
        let section = Section { key: 0x0102_0304_0506_0708, offset: 5, len: 6, tag: [7; 16] };
        assert_eq!(Section::from_bytes(&section.to_bytes()), section);
        let hole =
            Hole { at: 1, len: 2, rule: 3, place: Hole::place(4, true, ValueKind::String), prefix: 5, suffix: 6 };
        assert_eq!(Hole::from_bytes(&hole.to_bytes()), hole);
        assert_eq!((hole.section(), hole.is_last(), hole.kind()), (4, true, ValueKind::String));
    }

    #[test]
    fn a_header_of_another_version_or_encoding_is_not_read() {
        let header = Header {
            encoding: Encoding::Json,
            shape: 7,
            log_key: 1,
            counter: 3,
            salt: [9; 12],
            body_len: 512,
            packed: None,
        };
        for at in 0..4 {
            let mut bytes = header.to_bytes();
            bytes[at] ^= 0x81;
            assert_eq!(Header::read(&bytes), None);
        }
        assert_eq!(Header::read(&header.to_bytes()[..39]), None);
    }

    #[test]
    fn a_body_whose_counts_do_not_fit_is_refused() {
        assert!(Body::read(&counts(1, 0)).is_none());
        assert!(Body::read(&counts(0, 1)).is_none());
        assert!(Body::read(&counts(u32::MAX, u32::MAX)).is_none());
        assert!(Body::read(&[0; 7]).is_none());
        assert!(Body::read(&[0; 8]).is_some());
    }
}
