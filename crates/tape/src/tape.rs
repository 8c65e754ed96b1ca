//! The reusable buffers of a parse.

use crate::entry::Entry;
use crate::parse::{Frame, Parser};
use crate::{Doc, Limits, ParseError, ParseReason};

/// Buffers that a worker keeps from parse to parse, so that a parse allocates nothing once they have grown.
///
/// They grow to what [`Limits`] allow and no further, and after a giant document they are given back at the next
/// parse of an ordinary one.
#[derive(Debug, Default)]
pub struct Tape {
    pub(crate) entries: Vec<Entry>,
    pub(crate) frames: Vec<Frame>,
    /// Names of one object as (hash, index), while they are compared.
    pub(crate) names: Vec<u64>,
    /// One decoded name, while it is hashed.
    pub(crate) decoded: Vec<u8>,
}

/// What is kept between parses, in entries: enough for a document of some 500 KiB.
const KEPT_ENTRIES: usize = 1 << 16;
const KEPT_NAMES: usize = 1 << 13;
const KEPT_FRAMES: usize = 1 << 10;
const KEPT_DECODED: usize = 1 << 14;

impl Tape {
    /// Empty buffers; nothing is allocated before the first parse.
    pub fn new() -> Self {
        Self::default()
    }

    /// Checks `json` completely and notes where its values are.
    ///
    /// The document borrows the tape: one document per tape at a time.
    ///
    /// # Errors
    /// [`ParseError`] with the first offending byte, for anything that is not one JSON text in UTF-8 within `limits`
    /// and without duplicate names and lone surrogates.
    pub fn parse<'a>(&'a mut self, json: &'a [u8], limits: &Limits) -> Result<Doc<'a>, ParseError> {
        self.give_back(json.len());
        if json.len() > limits.max_bytes || json.len() >= u32::MAX as usize {
            return Err(ParseError { offset: 0, reason: ParseReason::TooLarge });
        }
        // One vectorized pass; it also makes every later slice of the document a `str` without another check.
        let text = std::str::from_utf8(json)
            .map_err(|e| ParseError { offset: e.valid_up_to(), reason: ParseReason::InvalidUtf8 })?;
        Parser::new(self, json, limits).run()?;
        Ok(Doc::new(text, &self.entries))
    }

    /// Bytes that the buffers hold at the moment.
    pub fn retained_bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>()
            + self.frames.capacity() * size_of::<Frame>()
            + self.names.capacity() * size_of::<u64>()
            + self.decoded.capacity()
    }

    /// Frees what a giant document left behind, unless another giant one is coming.
    fn give_back(&mut self, next_bytes: usize) {
        self.entries.clear();
        self.frames.clear();
        // An entry takes at least one byte of the document, and in practice some eight.
        if self.entries.capacity() > KEPT_ENTRIES && next_bytes / 8 < KEPT_ENTRIES {
            self.entries.shrink_to(KEPT_ENTRIES);
        }
        if self.names.capacity() > KEPT_NAMES {
            self.names = Vec::new();
        }
        if self.frames.capacity() > KEPT_FRAMES {
            self.frames = Vec::new();
        }
        if self.decoded.capacity() > KEPT_DECODED {
            self.decoded = Vec::new();
        }
    }
}
