//! The grammar: one pass over the document, iterative, so that nesting never reaches the stack.

use crate::entry::*;
use crate::keys::{self, MANY};
use crate::scan::{self, refuse};
use crate::tape::Tape;
use crate::{Limits, ParseError, ParseReason};

/// A container that is still open.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    /// Its entry.
    container: u32,
    /// Its tag, and above it the members or elements so far; 0 outside of any container.
    meta: u32,
    /// One bit per low six bits of a name's hash: a clear bit proves a name new.
    seen: u64,
}

const OUTSIDE: Frame = Frame { container: 0, meta: NULL, seen: 0 };

pub(crate) struct Parser<'t> {
    json: &'t [u8],
    tape: &'t mut Tape,
    max_depth: usize,
    max_nodes: usize,
    /// Entries that fit before the tape must grow or the document be refused.
    room: usize,
}

impl<'t> Parser<'t> {
    pub(crate) fn new(tape: &'t mut Tape, json: &'t [u8], limits: &Limits) -> Self {
        let max_nodes = limits.max_nodes.min(Limits::MOST_NODES) as usize;
        let room = tape.entries.capacity().min(max_nodes);
        let max_depth = usize::from(limits.max_depth.min(Limits::MOST_DEPTH));
        Parser { json, tape, max_depth, max_nodes, room }
    }

    pub(crate) fn run(mut self) -> Result<(), ParseError> {
        let mut current = OUTSIDE;
        let (mut pos, mut byte) = self.token(0)?;
        // Each turn reads one value, whose first byte is known, and what closes after it.
        'value: loop {
            match byte {
                b'"' => {
                    let (end, escaped) = scan::string(self.json, pos)?;
                    self.leaf(pos, end, STRING | escaped)?;
                    pos = end;
                }
                b'{' => {
                    self.open(pos, OBJECT, &mut current)?;
                    (pos, byte) = self.token(pos + 1)?;
                    if byte != b'}' {
                        (pos, byte) = self.member(pos, byte, &mut current)?;
                        continue 'value;
                    }
                    pos = self.close(pos, &mut current)?;
                }
                b'[' => {
                    self.open(pos, ARRAY, &mut current)?;
                    (pos, byte) = self.token(pos + 1)?;
                    if byte != b']' {
                        current.meta += ONE;
                        continue 'value;
                    }
                    pos = self.close(pos, &mut current)?;
                }
                b'-' | b'0'..=b'9' => {
                    let (end, flags) = scan::number(self.json, pos, byte)?;
                    self.leaf(pos, end, NUMBER | flags)?;
                    pos = end;
                }
                b't' => pos = self.word(pos, b"true", BOOL | TRUE)?,
                b'f' => pos = self.word(pos, b"false", BOOL)?,
                b'n' => pos = self.word(pos, b"null", NULL)?,
                _ => return Err(refuse(pos, ParseReason::ExpectedValue)),
            }
            // After a value: the next one of the container, or the container's end, any number of times.
            loop {
                match current.meta & KIND {
                    OBJECT => {
                        (pos, byte) = self.token(pos)?;
                        if byte == b',' {
                            (pos, byte) = self.token(pos + 1)?;
                            (pos, byte) = self.member(pos, byte, &mut current)?;
                            continue 'value;
                        }
                        if byte != b'}' {
                            return Err(refuse(pos, ParseReason::ExpectedCommaOrBrace));
                        }
                    }
                    ARRAY => {
                        (pos, byte) = self.token(pos)?;
                        if byte == b',' {
                            (pos, byte) = self.token(pos + 1)?;
                            current.meta += ONE;
                            continue 'value;
                        }
                        if byte != b']' {
                            return Err(refuse(pos, ParseReason::ExpectedCommaOrBracket));
                        }
                    }
                    _ => {
                        return match scan::next_token(self.json, pos) {
                            None => Ok(()),
                            Some((at, _)) => Err(refuse(at, ParseReason::TrailingData)),
                        };
                    }
                }
                pos = self.close(pos, &mut current)?;
            }
        }
    }

    #[inline(always)]
    fn token(&self, pos: usize) -> Result<(usize, u8), ParseError> {
        scan::next_token(self.json, pos).ok_or_else(|| refuse(self.json.len(), ParseReason::UnexpectedEnd))
    }

    /// A member's name and colon: the position and first byte of its value.
    #[inline(always)]
    fn member(&mut self, pos: usize, byte: u8, object: &mut Frame) -> Result<(usize, u8), ParseError> {
        if byte != b'"' {
            return Err(refuse(pos, ParseReason::ExpectedName));
        }
        let (end, escaped) = scan::string(self.json, pos)?;
        let mut name = Entry { start: pos as u32, end: end as u32, link: 0, meta: NAME | escaped };
        name.link = if escaped == 0 {
            keys::hash(self.json, pos + 1, end - pos - 2)
        } else {
            keys::hash_escaped(self.json, name, &mut self.tape.decoded)
        };
        let index = self.push(name)?;
        object.meta += ONE;
        let bit = 1 << (name.link & 63);
        // Large objects are compared as a whole when they close.
        if object.seen & bit != 0
            && object.meta >> COUNT_SHIFT <= MANY as u32
            && keys::seen_before(self.json, &self.tape.entries, object.container as usize, index)
        {
            return Err(refuse(pos, ParseReason::DuplicateName));
        }
        object.seen |= bit;
        let (colon, byte) = self.token(end)?;
        if byte != b':' {
            return Err(refuse(colon, ParseReason::ExpectedColon));
        }
        self.token(colon + 1)
    }

    /// Begins a container: what was `current` is the one around it.
    #[inline(always)]
    fn open(&mut self, pos: usize, kind: u32, current: &mut Frame) -> Result<(), ParseError> {
        if self.tape.frames.len() >= self.max_depth {
            return Err(refuse(pos, ParseReason::TooDeep));
        }
        let index = self.push(Entry { start: pos as u32, end: 0, link: 0, meta: kind })?;
        self.tape.frames.push(std::mem::replace(current, Frame { container: index as u32, meta: kind, seen: 0 }));
        Ok(())
    }

    /// Ends the container whose last byte is at `pos`: the position after it. The one around it is `current` again.
    #[inline(always)]
    fn close(&mut self, pos: usize, current: &mut Frame) -> Result<usize, ParseError> {
        let closed = std::mem::replace(current, self.tape.frames.pop().unwrap_or(OUTSIDE));
        let index = closed.container as usize;
        if closed.meta >> COUNT_SHIFT > MANY as u32
            && closed.meta & KIND == OBJECT
            && let Some(name) = keys::duplicate_among_many(self.json, self.tape, index)
        {
            let place = self.tape.entries.get(name).map_or(pos, |name| name.start as usize);
            return Err(refuse(place, ParseReason::DuplicateName));
        }
        let after = self.tape.entries.len() as u32;
        if let Some(entry) = self.tape.entries.get_mut(index) {
            entry.end = pos as u32 + 1;
            entry.link = after;
            entry.meta = closed.meta;
        }
        Ok(pos + 1)
    }

    #[inline(always)]
    fn word(&mut self, pos: usize, word: &'static [u8], meta: u32) -> Result<usize, ParseError> {
        let end = scan::literal(self.json, pos, word)?;
        self.leaf(pos, end, meta)?;
        Ok(end)
    }

    #[inline(always)]
    fn leaf(&mut self, start: usize, end: usize, meta: u32) -> Result<(), ParseError> {
        let link = self.tape.entries.len() as u32 + 1;
        self.push(Entry { start: start as u32, end: end as u32, link, meta })?;
        Ok(())
    }

    #[inline(always)]
    fn push(&mut self, entry: Entry) -> Result<usize, ParseError> {
        let index = self.tape.entries.len();
        if index >= self.room {
            self.grow(entry.start)?;
        }
        self.tape.entries.push(entry);
        Ok(index)
    }

    /// Doubles the tape, but never beyond what the limits allow.
    #[cold]
    #[inline(never)]
    fn grow(&mut self, place: u32) -> Result<(), ParseError> {
        let entries = &mut self.tape.entries;
        if entries.len() >= self.max_nodes {
            return Err(refuse(place as usize, ParseReason::TooManyNodes));
        }
        let wanted = (entries.len() * 2).max(128).min(self.max_nodes);
        entries.reserve_exact(wanted - entries.len());
        self.room = entries.capacity().min(self.max_nodes);
        Ok(())
    }
}
