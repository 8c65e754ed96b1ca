//! The body of a record in its packed form, and back: what is public is compressed, everything else is not.
//!
//! Compressing a secret together with text that somebody else chooses tells, by the length of the result, whether the two
//! are alike. So one frame holds what every reader of any view may see: the public text and where its holes are. Lengths and
//! kinds of what is classified, and values of open holes, stand beside it as they are. `docs/formats/sealed-event.md`
//! describes both, byte by byte.

use std::cell::RefCell;

use crate::dictionary::{Dictionary, compress, decompress};
use crate::error::Withheld;
use crate::format::{Encoding, Hole, MAX_SECTIONS, OPEN, SECTION_LEN, Section, ValueKind, counts};
use crate::locate::Located;
use tradelane_keys::{TAG_LEN, Tag};

/// The most public bytes of one event: beyond what an event of the largest size with holes everywhere has.
const MAX_PUBLIC: usize = 8 << 20;
/// How a frame begins (RFC 8878, section 3.1.1). It is not stored: its place has the frame's length.
const MAGIC: [u8; 4] = 0xFD2F_B528_u32.to_le_bytes();
/// A section's entry: id of its key, tag.
const ENTRY_LEN: usize = 8 + TAG_LEN;
/// In the upper half of a hole's first byte: the number of its section follows; the hole is open.
const FOLLOWS: u8 = 14;
const IS_OPEN: u8 = 15;

thread_local! {
    /// Public bytes of the event at hand.
    static PUBLIC: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// How an event is to be packed.
#[derive(Debug, Default)]
pub struct Packing<'a> {
    /// What it has in common with others of its product. None: it is compressed by itself.
    pub dictionary: Option<&'a Dictionary>,
    /// Takes a copy of the public bytes, from which a dictionary may be trained.
    pub sample: Option<&'a mut Vec<u8>>,
}

/// A packed body in which the sections' entries are still to be written.
pub(crate) struct Packed {
    /// Where they are in the body.
    entries: usize,
}

impl Packed {
    /// Writes the entry of a section.
    pub(crate) fn set_section(&self, index: usize, key: u64, tag: &Tag, body: &mut [u8]) {
        let at = self.entries + index * ENTRY_LEN;
        let Some((id, place)) = body.get_mut(at..at + ENTRY_LEN).and_then(<[u8]>::split_first_chunk_mut::<8>) else {
            return;
        };
        *id = key.to_le_bytes();
        place.copy_from_slice(tag);
    }
}

/// Appends the packed body of an event to `out`. None, and `out` as it was: it cannot be packed, and is stored as it is.
pub(crate) fn pack(event: &Located<'_>, packing: Packing<'_>, out: &mut Vec<u8>) -> Option<Packed> {
    let start = out.len();
    let done = PUBLIC.with_borrow_mut(|public| {
        public.clear();
        write_public(event, public)?;
        if public.len() > MAX_PUBLIC {
            return None;
        }
        if let Some(sample) = packing.sample {
            sample.extend_from_slice(public);
        }
        compress(public, packing.dictionary, out).ok()
    });
    done?;
    let frame = out.get_mut(start..)?;
    let len = u32::try_from(frame.len().checked_sub(MAGIC.len())?).ok()?;
    *frame.first_chunk_mut()? = len.to_le_bytes();

    let sections = &event.plans.sections;
    put(out, event.spots.len() as u64);
    put(out, sections.len() as u64);
    let entries = out.len();
    out.resize(entries + sections.len() * ENTRY_LEN, 0);
    sections.iter().for_each(|plan| put(out, u64::from(plan.len)));
    for spot in &event.spots {
        let (first, section) = match spot.section {
            OPEN => (IS_OPEN, None),
            few if few < u16::from(FOLLOWS) => (few as u8, None),
            many => (FOLLOWS, Some(many)),
        };
        out.push(first << 4 | u8::from(spot.last) << 3 | spot.kind as u8);
        if let Some(section) = section {
            put(out, u64::from(section));
        }
        if event.encoding != Encoding::Json {
            put(out, u64::from(spot.suffix));
        }
        put(out, u64::from(spot.end - spot.start));
    }
    for spot in event.spots.iter().filter(|spot| spot.section == OPEN) {
        out.extend_from_slice(event.text(spot.start, spot.end));
    }
    Some(Packed { entries: entries - start })
}

/// Where the holes are, and the text without them. None if holes overlap.
fn write_public(event: &Located<'_>, out: &mut Vec<u8>) -> Option<()> {
    let (mut end, mut rule) = (0, 0);
    for spot in &event.spots {
        put(out, u64::from(spot.start.checked_sub(end)?));
        put(out, u64::from(zigzag(i32::from(spot.rule) - rule)));
        put(out, u64::from(spot.prefix));
        // In a binary encoding it may depend on the value.
        if event.encoding == Encoding::Json {
            put(out, u64::from(spot.suffix));
        }
        (end, rule) = (spot.end, i32::from(spot.rule));
    }
    let mut end = 0;
    for spot in &event.spots {
        out.extend_from_slice(event.text(end, spot.start));
        end = spot.end;
    }
    out.extend_from_slice(event.text(end, event.bytes.len() as u32));
    Some(())
}

/// Writes the body that was packed, in place of what is in `out`. `packed` is decrypted, and is used up.
pub(crate) fn unpack(
    encoding: Encoding,
    packed: &mut [u8],
    dictionary: Option<&Dictionary>,
    out: &mut Vec<u8>,
) -> Result<(), Withheld> {
    PUBLIC.with_borrow_mut(|public| {
        let unpacked = unpack_with(encoding, packed, dictionary, public, out);
        unpacked.ok_or(Withheld::Corrupt)
    })
}

fn unpack_with(
    encoding: Encoding,
    packed: &mut [u8],
    dictionary: Option<&Dictionary>,
    public: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> Option<()> {
    let first = packed.first_chunk_mut::<4>()?;
    let len = u32::from_le_bytes(std::mem::replace(first, MAGIC));
    let (frame, rest) = packed.split_at_checked((len as usize).checked_add(MAGIC.len())?)?;
    decompress(frame, dictionary, MAX_PUBLIC, public)?;
    let mut public = Reader(public);
    let mut rest = Reader(rest);

    let holes = u32::try_from(rest.number()?).ok()?;
    let sections = usize::try_from(rest.number()?).ok().filter(|count| *count <= MAX_SECTIONS)?;
    out.clear();
    out.extend_from_slice(&counts(holes, sections as u32));
    write_sections(&mut rest, sections, out)?;
    let table = out.len();
    write_holes(encoding, holes, &mut public, &mut rest, out)?;
    write_skeleton(table, holes, &mut public, &mut rest, out)?;
    (public.0.is_empty() && rest.0.is_empty()).then_some(())
}

fn write_sections(rest: &mut Reader<'_>, sections: usize, out: &mut Vec<u8>) -> Option<()> {
    let entries = rest.take(sections * ENTRY_LEN)?;
    let mut offset = 0_u32;
    out.reserve(sections * SECTION_LEN);
    for entry in entries.as_chunks::<ENTRY_LEN>().0 {
        let (key, tag) = entry.split_first_chunk::<8>()?;
        let len = u32::try_from(rest.number()?).ok()?;
        let section = Section { key: u64::from_le_bytes(*key), offset, len, tag: *tag.first_chunk()? };
        out.extend_from_slice(&section.to_bytes());
        offset = offset.checked_add(len)?;
    }
    Some(())
}

fn write_holes(
    encoding: Encoding,
    holes: u32,
    public: &mut Reader<'_>,
    rest: &mut Reader<'_>,
    out: &mut Vec<u8>,
) -> Option<()> {
    let (mut end, mut rule) = (0_u32, 0_i32);
    // Each takes bytes of both, so the table is no larger than what is in memory already allows.
    for _ in 0..holes {
        let at = end.checked_add(u32::try_from(public.number()?).ok()?)?;
        rule = rule.checked_add(unzigzag(u32::try_from(public.number()?).ok()?))?;
        let prefix = public.short()?;
        let first = rest.byte()?;
        let section = match first >> 4 {
            IS_OPEN => OPEN,
            FOLLOWS => rest.short().filter(|section| *section < OPEN)?,
            few => u16::from(few),
        };
        let suffix = if encoding == Encoding::Json { public.short()? } else { rest.short()? };
        let len = u32::try_from(rest.number()?).ok()?;
        let kind = ValueKind::from_bits(u16::from(first));
        let place = Hole::place(section, first & 8 != 0, kind);
        let hole = Hole { at, len, rule: u16::try_from(rule).ok()?, place, prefix, suffix };
        out.extend_from_slice(&hole.to_bytes());
        end = if section == OPEN { at.checked_add(len)? } else { at };
    }
    Some(())
}

fn write_skeleton(
    table: usize,
    holes: u32,
    public: &mut Reader<'_>,
    rest: &mut Reader<'_>,
    out: &mut Vec<u8>,
) -> Option<()> {
    out.reserve(public.0.len() + rest.0.len());
    let mut end = 0;
    for index in 0..holes as usize {
        let bytes = out.get(table..)?.as_chunks().0.get(index)?;
        let hole = Hole::from_bytes(bytes);
        out.extend_from_slice(public.take((hole.at - end) as usize)?);
        end = hole.at;
        if hole.is_open() {
            out.extend_from_slice(rest.take(hole.len as usize)?);
            end += hole.len;
        }
    }
    out.extend_from_slice(public.take(public.0.len())?);
    Some(())
}

/// Bytes that are left.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// LEB128, at most 32 bits.
    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn short(&mut self) -> Option<u16> {
        u16::try_from(self.number()?).ok()
    }
}

fn put(out: &mut Vec<u8>, mut number: u64) {
    while number > 0x7F {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn zigzag(number: i32) -> u32 {
    ((number << 1) ^ (number >> 31)) as u32
}

fn unzigzag(number: u32) -> i32 {
    (number >> 1) as i32 ^ -((number & 1) as i32)
}
