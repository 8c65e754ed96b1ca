//! The one loop over holes: the skeleton copied, its holes filled as a view says.
//!
//! A member that is left out takes its name and one comma with it; an element of an array becomes `null`, so that
//! positions never shift. Where values come from is the business of a [`Source`].

use crate::append::{SHORT, append, append_block};
use crate::error::Withheld;
use crate::format::{Body, Hole};
use crate::mask;
use crate::render::Rendered;
use crate::view::{Op, RuleOp, Splice};

/// Where the values of holes come from.
pub(crate) trait Source {
    /// Called for each hole whose value is not asked for, in order.
    fn pass(&mut self, hole: Hole) -> Result<(), Withheld>;
    /// The text for a hole; `None`: drop it. The flag: because it was erased.
    fn value(&mut self, hole: Hole, op: Op) -> Result<(Option<&[u8]>, bool), Withheld>;
}

/// Renders a JSON event.
///
/// What a view does is known per rule; what is left to do per hole is a look-up and one copy. It is written so that a
/// hole that is left out, the most frequent case, costs no call and no read of what was written just before: pieces of
/// the skeleton are short there.
#[inline(always)]
pub(crate) fn run<S: Source>(
    splice: &Splice,
    body: &Body<'_>,
    source: &mut S,
    out: &mut Vec<u8>,
) -> Result<Rendered, Withheld> {
    let start = out.len();
    let skeleton = body.skeleton;
    // Room for the literals of all holes; values make their own.
    out.reserve(skeleton.len() + 8 * body.holes.len() + SHORT);
    let mut rendered = Rendered::default();
    let mut copied = 0;
    for bytes in body.holes {
        let hole = Hole::from_bytes(bytes);
        let RuleOp { op, drops, class } = splice.ops.get(usize::from(hole.rule)).ok_or(Withheld::Corrupt)?;
        let at = hole.at as usize;
        let open = hole.is_open();
        let after = if open { at + hole.len as usize } else { at };
        if *drops && hole.is_member() {
            source.pass(hole)?;
            copied = leave_out(hole, skeleton, copied, after, start, out)?;
            continue;
        }
        let text = match op {
            Op::Reveal if open => {
                rendered.classes.insert(*class);
                continue;
            }
            Op::Drop => {
                source.pass(hole)?;
                None
            }
            Op::Redact => {
                source.pass(hole)?;
                mask::redacted(hole.kind())
            }
            Op::Reveal | Op::Change(_) => {
                let (text, erased) = source.value(hole, *op)?;
                rendered.erased += u32::from(erased);
                if text.is_some() {
                    rendered.classes.insert(*class);
                }
                text
            }
        };
        match text {
            None if hole.is_member() => copied = leave_out(hole, skeleton, copied, after, start, out)?,
            // An element leaves its place: positions never shift.
            text => {
                copy(skeleton, copied, at, out)?;
                append(text.unwrap_or(b"null"), out);
                copied = after;
            }
        }
    }
    append(skeleton.get(copied..).ok_or(Withheld::Corrupt)?, out);
    Ok(rendered)
}

/// Copies up to a member that is left out, and answers from where to go on.
///
/// Its own comma, if it has one, is in its suffix. The last one of its object takes the comma of the one before it
/// along, if that one stayed.
#[inline(always)]
fn leave_out(
    hole: Hole,
    skeleton: &[u8],
    copied: usize,
    after: usize,
    start: usize,
    out: &mut Vec<u8>,
) -> Result<usize, Withheld> {
    let name = (hole.at as usize).checked_sub(usize::from(hole.prefix)).ok_or(Withheld::Corrupt)?;
    let next = after + usize::from(hole.suffix);
    let end = if hole.is_last() {
        // Looked up where it is read from: what was just written is slow to read back.
        match if name > copied { skeleton.get(name - 1) } else { None } {
            Some(b',') => name - 1,
            Some(b'!'..) => name,
            _ => return leave_out_behind_gap(skeleton, copied, name, start, out).map(|()| next),
        }
    } else {
        name
    };
    copy(skeleton, copied, end, out)?;
    Ok(next)
}

/// The same for the last member of its object, if what is before it was left out too, or blanks are.
#[inline(never)]
fn leave_out_behind_gap(
    skeleton: &[u8],
    copied: usize,
    name: usize,
    start: usize,
    out: &mut Vec<u8>,
) -> Result<(), Withheld> {
    copy(skeleton, copied, name, out)?;
    take_comma_back(out, start);
    Ok(())
}

/// Appends a piece of the skeleton.
#[inline(always)]
pub(crate) fn copy(skeleton: &[u8], from: usize, to: usize, out: &mut Vec<u8>) -> Result<(), Withheld> {
    // A `to` before `from` gives a huge length, which the last arm refuses.
    let len = to.wrapping_sub(from);
    match skeleton.get(from..).and_then(|rest| rest.first_chunk()) {
        Some(block) if len <= SHORT => append_block(block, len, out),
        _ => append(skeleton.get(from..to).ok_or(Withheld::Corrupt)?, out),
    }
    Ok(())
}

/// What was written last is the comma of a member that stayed, with blanks after it, or the object's brace.
fn take_comma_back(out: &mut Vec<u8>, start: usize) {
    let written = out.get(start..).unwrap_or_default();
    let blanks = written.iter().rev().take_while(|byte| byte.is_ascii_whitespace()).count();
    let end = out.len() - blanks;
    if end > start && out.get(end - 1) == Some(&b',') {
        out.truncate(end - 1);
    }
}

/// For views of literals.
pub(crate) struct NoValues;

impl Source for NoValues {
    #[inline(always)]
    fn pass(&mut self, _: Hole) -> Result<(), Withheld> {
        Ok(())
    }

    #[inline(always)]
    fn value(&mut self, _: Hole, _: Op) -> Result<(Option<&[u8]>, bool), Withheld> {
        // A hole whose rule reveals, but which is sealed although the rule's fields are open: not of our making.
        Err(Withheld::Corrupt)
    }
}
