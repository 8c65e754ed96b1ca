//! Rendering: the skeleton copied, its holes filled as a view says.
//!
//! A view of literals touches no key. Where values are needed, each section is opened at most once per event, into a
//! buffer that is wiped when it is dropped. A member that is left out takes its name and one comma with it; an element of
//! an array becomes `null`, so that positions never shift.

use tradelane_tape::{Limits, Tape};
use zeroize::Zeroize;

use crate::cache::{Replacements, StandIns};
use crate::error::Withheld;
use crate::format::{Body, Hole, OPEN, ValueKind};
use crate::key::{DataKeyState, OpeningKeys};
use crate::mask;
use crate::open::OpenedEvent;
use crate::view::{Change, Op, Path, RuleOp, Splice, View, ViewKeys};

/// A set of a view's classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClassSet(u64);

impl ClassSet {
    #[inline(always)]
    pub(crate) fn insert(&mut self, class: u8) {
        self.0 |= 1 << (class & 63);
    }

    /// Is the class at this index of the view in it?
    pub fn contains(self, class: u8) -> bool {
        class < 64 && self.0 & (1 << class) != 0
    }

    /// Both together: for one audit leaf about many events.
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Is nothing in it?
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// What rendering did, for the record of the access.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rendered {
    /// Classes of which a value was shown, whole or changed. `public` is not counted: it has no holes.
    pub classes: ClassSet,
    /// Fields left out because their subject's key was destroyed.
    pub erased: u32,
}

/// Buffers of a worker, kept from event to event. Wiped when dropped.
#[derive(Debug, Default)]
pub struct Scratch {
    sections: Vec<SectionState>,
    /// Opened sections, one after the other.
    plain: Vec<u8>,
    /// A changed value.
    text: Vec<u8>,
    /// A revealed event on the slow path, and its body.
    clear: Vec<u8>,
    body: Vec<u8>,
    tape: Tape,
    value_tape: Tape,
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.plain.zeroize();
        self.text.zeroize();
        self.clear.zeroize();
        self.body.zeroize();
    }
}

/// What is known of a section while an event is rendered.
#[derive(Debug, Clone, Copy)]
struct SectionState {
    /// How far its holes have been passed.
    cursor: u32,
    /// Where it is in the buffer of opened sections.
    opened: Opened,
}

#[derive(Debug, Clone, Copy)]
enum Opened {
    NotYet,
    At(usize),
    Erased,
}

impl View {
    /// Appends the event as this view shows it to `out`. On an error nothing is appended, and the caller quarantines the
    /// record.
    pub fn render(
        &self,
        event: &OpenedEvent<'_>,
        keys: &dyn OpeningKeys,
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
    ) -> Result<Rendered, Withheld> {
        let start = out.len();
        let rendered = self.render_unchecked(event, keys, scratch, out);
        if rendered.is_err() {
            out.truncate(start);
        }
        rendered
    }

    fn render_unchecked(
        &self,
        event: &OpenedEvent<'_>,
        keys: &dyn OpeningKeys,
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
    ) -> Result<Rendered, Withheld> {
        if event.shape() != self.event.id() {
            return Err(Withheld::OtherShape);
        }
        match &self.path {
            Path::Fast(splice) if splice.literal => run(splice, &event.body()?, &mut NoValues, out),
            Path::Fast(splice) => self.with_values(splice, self.cache.as_ref(), event, keys, scratch, out),
            Path::Slow { reveal, rules, splice } => {
                let mut clear = std::mem::take(&mut scratch.clear);
                clear.clear();
                let revealed = self.with_values(reveal, None, event, keys, scratch, &mut clear)?;
                let mut tape = std::mem::take(&mut scratch.tape);
                let mut body = std::mem::take(&mut scratch.body);
                body.clear();
                let doc = tape.parse(&clear, &Limits::DOCUMENT).map_err(|_| Withheld::Unclassifiable)?;
                let located = rules.locate_clear(doc).map_err(|_| Withheld::Unclassifiable)?;
                located.write_body(&mut body);
                let again = OpenedEvent::from_clear(event.shape(), body);
                let rendered = self.with_values(splice, None, &again, keys, scratch, out)?;
                (scratch.clear, scratch.tape, scratch.body) = (clear, tape, again.into_buffer());
                Ok(Rendered { erased: revealed.erased, ..rendered })
            }
        }
    }

    pub(crate) fn with_values(
        &self,
        splice: &Splice,
        cache: Option<&Replacements>,
        event: &OpenedEvent<'_>,
        keys: &dyn OpeningKeys,
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
    ) -> Result<Rendered, Withheld> {
        let body = event.body()?;
        scratch.sections.clear();
        scratch.sections.resize(body.sections.len(), SectionState { cursor: 0, opened: Opened::NotYet });
        let known = cache.and_then(|cache| cache.get(event.tag()));
        let computed = (cache.is_some() && known.is_none()).then(StandIns::default);
        let mut values = Values {
            event,
            body,
            keys,
            view_keys: &self.keys,
            scratch,
            opened_to: 0,
            known: known.as_deref(),
            computed,
            changed: 0,
        };
        let rendered = run(splice, &body, &mut values, out)?;
        if let (Some(cache), Some(computed)) = (cache, values.computed) {
            cache.insert(event.tag(), computed);
        }
        Ok(rendered)
    }
}

/// Where the values of holes come from.
trait Source {
    /// Called once for each sealed hole, in order.
    fn pass(&mut self, hole: Hole) -> Result<u32, Withheld>;
    /// The text for a hole; `None`: drop it. The flag: because it was erased.
    fn value(&mut self, hole: Hole, offset: u32, op: Op) -> Result<(Option<&[u8]>, bool), Withheld>;
}

/// The one loop over holes.
#[inline]
fn run<S: Source>(splice: &Splice, body: &Body<'_>, source: &mut S, out: &mut Vec<u8>) -> Result<Rendered, Withheld> {
    let start = out.len();
    let skeleton = body.skeleton;
    out.reserve(skeleton.len() + 64);
    let mut rendered = Rendered::default();
    let mut copied = 0;
    for bytes in body.holes {
        let hole = Hole::from_bytes(bytes);
        let RuleOp { op, class } = *splice.ops.get(usize::from(hole.rule)).ok_or(Withheld::Corrupt)?;
        let open = hole.section() == OPEN;
        let offset = if open { 0 } else { source.pass(hole)? };
        let at = hole.at as usize;
        let after = if open { at + hole.len as usize } else { at };
        let text = match op {
            Op::Reveal if open => {
                rendered.classes.insert(class);
                continue;
            }
            Op::Drop => None,
            Op::Redact => mask::redacted(hole.kind()),
            Op::Reveal | Op::Change(_) => {
                let (text, erased) = source.value(hole, offset, op)?;
                rendered.erased += u32::from(erased);
                if text.is_some() {
                    rendered.classes.insert(class);
                }
                text
            }
        };
        match text {
            Some(text) => {
                out.extend_from_slice(skeleton.get(copied..at).ok_or(Withheld::Corrupt)?);
                out.extend_from_slice(text);
                copied = after;
            }
            None if hole.prefix != 0 || hole.kind() == ValueKind::Member => {
                let name = at.checked_sub(usize::from(hole.prefix)).ok_or(Withheld::Corrupt)?;
                out.extend_from_slice(skeleton.get(copied..name).ok_or(Withheld::Corrupt)?);
                copied = after + usize::from(hole.suffix);
                if hole.is_last() {
                    remove_comma(out, start);
                }
            }
            None => {
                out.extend_from_slice(skeleton.get(copied..at).ok_or(Withheld::Corrupt)?);
                out.extend_from_slice(b"null");
                copied = after;
            }
        }
    }
    out.extend_from_slice(skeleton.get(copied..).ok_or(Withheld::Corrupt)?);
    Ok(rendered)
}

/// After the last member of an object was left out: what stands before it is the comma of a member that stayed, or the
/// object's brace.
fn remove_comma(out: &mut Vec<u8>, start: usize) {
    let written = out.get(start..).unwrap_or_default();
    let blanks = written.iter().rev().take_while(|byte| byte.is_ascii_whitespace()).count();
    let end = out.len() - blanks;
    if end > start && out.get(end - 1) == Some(&b',') {
        out.truncate(end - 1);
    }
}

/// For views of literals.
struct NoValues;

impl Source for NoValues {
    #[inline(always)]
    fn pass(&mut self, _: Hole) -> Result<u32, Withheld> {
        Ok(0)
    }

    fn value(&mut self, _: Hole, _: u32, _: Op) -> Result<(Option<&[u8]>, bool), Withheld> {
        // A hole whose rule reveals, but which is sealed although the rule's fields are open: not of our making.
        Err(Withheld::Corrupt)
    }
}

struct Values<'a, 'r> {
    event: &'a OpenedEvent<'r>,
    body: Body<'a>,
    keys: &'a dyn OpeningKeys,
    view_keys: &'a ViewKeys,
    scratch: &'a mut Scratch,
    /// How much of the buffer of opened sections is used.
    opened_to: usize,
    known: Option<&'a StandIns>,
    computed: Option<StandIns>,
    /// Changed values so far.
    changed: usize,
}

impl Source for Values<'_, '_> {
    #[inline]
    fn pass(&mut self, hole: Hole) -> Result<u32, Withheld> {
        let state = self.scratch.sections.get_mut(usize::from(hole.section())).ok_or(Withheld::Corrupt)?;
        let offset = state.cursor;
        state.cursor = offset.checked_add(hole.len).ok_or(Withheld::Corrupt)?;
        Ok(offset)
    }

    fn value(&mut self, hole: Hole, offset: u32, op: Op) -> Result<(Option<&[u8]>, bool), Withheld> {
        let Op::Change(change) = op else {
            let value = self.plain(hole, offset)?;
            return Ok((value, value.is_none()));
        };
        let index = self.changed;
        self.changed += 1;
        if let Some(known) = self.known {
            return known.get(index).map(|text| (text, false)).ok_or(Withheld::Corrupt);
        }
        self.change(hole, offset, change)
    }
}

impl Values<'_, '_> {
    /// A hole's value as it was published; `None`: erased.
    fn plain(&mut self, hole: Hole, offset: u32) -> Result<Option<&[u8]>, Withheld> {
        if hole.section() == OPEN {
            let (start, len) = (hole.at as usize, hole.len as usize);
            return self.body.skeleton.get(start..start + len).map(Some).ok_or(Withheld::Corrupt);
        }
        let Some(base) = self.opened(hole.section())? else { return Ok(None) };
        let start = base + offset as usize;
        let section = self.body.section(hole.section()).ok_or(Withheld::Corrupt)?;
        if offset.checked_add(hole.len).is_none_or(|end| end > section.len) {
            return Err(Withheld::Corrupt);
        }
        self.scratch.plain.get(start..start + hole.len as usize).map(Some).ok_or(Withheld::Corrupt)
    }

    /// Where a section is in the buffer, opened now if it was not yet.
    fn opened(&mut self, index: u16) -> Result<Option<usize>, Withheld> {
        let slot = usize::from(index);
        match self.scratch.sections.get(slot).ok_or(Withheld::Corrupt)?.opened {
            Opened::At(base) => return Ok(Some(base)),
            Opened::Erased => return Ok(None),
            Opened::NotYet => {}
        }
        let section = self.body.section(index).ok_or(Withheld::Corrupt)?;
        let base = self.opened_to;
        let end = base + section.len as usize;
        if self.scratch.plain.len() < end {
            self.scratch.plain.resize(end, 0);
        }
        let place = self.scratch.plain.get_mut(base..end).ok_or(Withheld::Corrupt)?;
        let live = self.event.open_section(index, &section, self.keys, place)?;
        if live {
            self.opened_to = end;
        }
        if let Some(state) = self.scratch.sections.get_mut(slot) {
            state.opened = if live { Opened::At(base) } else { Opened::Erased };
        }
        Ok(live.then_some(base))
    }

    /// Cold: computes a stand-in and remembers it.
    fn change(&mut self, hole: Hole, offset: u32, change: Change) -> Result<(Option<&[u8]>, bool), Withheld> {
        let data_key = match (change, hole.section()) {
            (Change::Token, index) if index != OPEN => {
                let section = self.body.section(index).ok_or(Withheld::Corrupt)?;
                match self.keys.data_key(section.key) {
                    DataKeyState::Live(key) => Some(key),
                    DataKeyState::Destroyed => None,
                    DataKeyState::Missing => return Err(Withheld::MissingKey),
                }
            }
            _ => None,
        };
        let mut text = std::mem::take(&mut self.scratch.text);
        let mut tape = std::mem::take(&mut self.scratch.value_tape);
        text.clear();
        let view_keys = self.view_keys;
        let plain = self.plain(hole, offset)?;
        let erased = plain.is_none();
        let shown = plain.and_then(|raw| {
            mask::change(change, hole.kind(), raw, view_keys, data_key.as_deref(), &mut tape, &mut text)
        });
        if let Some(computed) = &mut self.computed {
            computed.push(shown.map(|()| text.as_slice()));
        }
        self.scratch.value_tape = tape;
        self.scratch.text = text;
        Ok((shown.map(|()| self.scratch.text.as_slice()), erased))
    }
}
