//! Rendering a binary event: the skeleton copied, its holes filled with values of the same type.
//!
//! In Avro, what is left out leaves the value that the schema has for nothing: null, the field's default, or the least value
//! of its type. An entry of a map is left out whole. Since nobody knows beforehand which entries stay, a map whose entries
//! may go is written with a block for each; a block of an array that said its size in bytes says its count only. In
//! Protobuf, what is left out is not there, and lengths are written once what they count is known. A view that reveals
//! everything changes no byte.

use tradelane_encodings::{Gone, Slot, varint};

use super::{ARRAY_BLOCK, Codec, END, LENGTH, MAP_BLOCK, MAP_ENTRY};
use crate::error::Withheld;
use crate::format::{Body, Hole, ValueKind};
use crate::render::Rendered;
use crate::splice::{Source, copy};
use crate::view::{Op, RuleOp, Splice};

/// What is known of the encoding while an event is rendered.
pub(crate) struct Binary<'a> {
    pub(crate) codec: &'a Codec,
    /// Write the framing anew, because something in it may change.
    pub(crate) reframe: bool,
    /// Values that stand for what was left out, if somebody wants to know.
    pub(crate) gone: Option<&'a mut Vec<Gone>>,
}

impl Binary<'_> {
    /// The one loop over holes.
    pub(crate) fn run<S: Source>(
        &mut self,
        splice: &Splice,
        body: &Body<'_>,
        source: &mut S,
        out: &mut Vec<u8>,
    ) -> Result<Rendered, Withheld> {
        let start = out.len();
        let skeleton = body.skeleton;
        let mut rendered = Rendered::default();
        let mut copied = 0;
        // Where the entry at hand begins, while its key is not copied yet.
        let mut entry: Option<usize> = None;
        // Where messages begin whose lengths are not known yet.
        let mut begun: Vec<usize> = Vec::new();
        for bytes in body.holes {
            let hole = Hole::from_bytes(bytes);
            let at = hole.at as usize;
            let after = if hole.is_open() { at + hole.len as usize } else { at };
            if hole.kind() == ValueKind::Mark {
                if self.reframe {
                    copy(skeleton, copied, at, out)?;
                    copied = after;
                    entry = (hole.prefix == MAP_ENTRY).then_some(out.len());
                    frame(hole.prefix, skeleton.get(at..after).ok_or(Withheld::Corrupt)?, &mut begun, out)?;
                }
                continue;
            }
            let RuleOp { op, class, .. } = splice.ops.get(usize::from(hole.rule)).ok_or(Withheld::Corrupt)?;
            let entry = entry.take();
            let in_map = hole.prefix != 0 || hole.kind() == ValueKind::Member;
            let value = match op {
                Op::Reveal if hole.is_open() => {
                    rendered.classes.insert(*class);
                    continue;
                }
                Op::Drop => {
                    source.pass(hole)?;
                    None
                }
                Op::Redact => {
                    source.pass(hole)?;
                    self.codec.has_redacted(hole.kind()).then(|| self.codec.redacted(hole.suffix))
                }
                Op::Reveal | Op::Change(_) => {
                    let (value, erased) = source.value(hole, *op)?;
                    rendered.erased += u32::from(erased);
                    if value.is_some() {
                        rendered.classes.insert(*class);
                    }
                    value
                }
            };
            match (value, entry) {
                (None, Some(begin)) if in_map => {
                    // The key has not been copied: only the block's count has to go again.
                    out.truncate(begin);
                    copied = after;
                    continue;
                }
                (None, _) if hole.kind() == ValueKind::Member => {
                    // Reached only before the framing is written anew, by what was erased.
                    copy(skeleton, copied, at, out)?;
                }
                (Some(value), _) => {
                    copy(skeleton, copied, at, out)?;
                    out.extend_from_slice(value);
                }
                (None, _) => {
                    copy(skeleton, copied, at, out)?;
                    let from = out.len() - start;
                    out.extend_from_slice(self.codec.absent(hole.suffix));
                    self.note(from, out.len() - start, hole.suffix);
                }
            }
            copied = after;
        }
        out.extend_from_slice(skeleton.get(copied..).ok_or(Withheld::Corrupt)?);
        Ok(rendered)
    }

    fn note(&mut self, start: usize, end: usize, slot: Slot) {
        let slot = self.codec.gone(slot);
        if let Some(gone) = &mut self.gone {
            gone.push(Gone { start: start as u32, end: end as u32, slot });
        }
    }
}

/// Writes what stands in place of a mark.
fn frame(what: u16, framing: &[u8], begun: &mut Vec<usize>, out: &mut Vec<u8>) -> Result<(), Withheld> {
    match what {
        ARRAY_BLOCK => {
            let (count, _) = varint::read_signed(framing).ok_or(Withheld::Corrupt)?;
            varint::write_signed(count.checked_abs().ok_or(Withheld::Corrupt)?, out);
        }
        MAP_BLOCK => {}
        // A block of one.
        MAP_ENTRY => out.push(2),
        LENGTH => begun.push(out.len()),
        END => {
            let begin = begun.pop().ok_or(Withheld::Corrupt)?;
            let mut length = Vec::with_capacity(varint::MAX);
            varint::write((out.len() - begin) as u64, &mut length);
            out.splice(begin..begin, length);
        }
        _ => return Err(Withheld::Corrupt),
    }
    Ok(())
}
