//! One 16-byte entry of the tape: a value or a member name.
//!
//! | field | value | member name |
//! |---|---|---|
//! | `start`, `end` | byte range, strings with their quotes | the same |
//! | `link` | index of the entry after this value's subtree | hash of the decoded name |
//! | `meta` | tag in the low 5 bits, members or elements above | tag |
//!
//! A member is its name's entry followed by its value's. While a container is open, `link` holds its parent.

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Entry {
    pub(crate) start: u32,
    pub(crate) end: u32,
    pub(crate) link: u32,
    pub(crate) meta: u32,
}

/// What an entry is: the low three bits of its tag.
pub(crate) const NULL: u32 = 0;
pub(crate) const BOOL: u32 = 1;
pub(crate) const NUMBER: u32 = 2;
pub(crate) const STRING: u32 = 3;
pub(crate) const ARRAY: u32 = 4;
pub(crate) const OBJECT: u32 = 5;
pub(crate) const NAME: u32 = 6;
pub(crate) const KIND: u32 = 0b111;

/// A string or name with escapes; a number with a fraction or an exponent.
pub(crate) const ESCAPED: u32 = 1 << 3;
pub(crate) const FRACTIONAL: u32 = 1 << 3;
/// A bool that is true.
pub(crate) const TRUE: u32 = 1 << 3;

/// Members or elements are counted above the tag.
pub(crate) const COUNT_SHIFT: u32 = 5;
pub(crate) const ONE: u32 = 1 << COUNT_SHIFT;

impl Entry {
    #[inline(always)]
    pub(crate) fn kind(self) -> u32 {
        self.meta & KIND
    }

    #[inline(always)]
    pub(crate) fn has(self, flag: u32) -> bool {
        self.meta & flag != 0
    }

    #[inline(always)]
    pub(crate) fn count(self) -> usize {
        (self.meta >> COUNT_SHIFT) as usize
    }

    #[inline(always)]
    pub(crate) fn range(self) -> std::ops::Range<usize> {
        self.start as usize..self.end as usize
    }
}
