//! Rendering: the skeleton copied, its holes filled as a view says.
//!
//! A view of literals touches no key. Where values are needed, each section is opened at most once per event, into a
//! buffer that is wiped when it is dropped. A member that is left out takes its name and one comma with it; an element of
//! an array becomes `null`, so that positions never shift.

use tradelane_encodings::{Gone, Tree};
use tradelane_tape::{Limits, Tape};
use zeroize::Zeroize;

use crate::binary::{Binary, Codec};
use crate::cache::{Replacements, StandIns, StandInsBuilder};
use crate::error::Withheld;
use crate::format::{Body, Encoding, Hole, OPEN, ValueKind};
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

/// Limits of an event of ours that was put together again: no larger than what was stored, but for what stands for
/// nothing.
const BINARY: tradelane_encodings::Limits = tradelane_encodings::Limits {
    max_bytes: Limits::DOCUMENT.max_bytes,
    max_depth: 96,
    max_nodes: Limits::DOCUMENT.max_nodes,
};

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
    /// A binary event that is to be shown as JSON.
    shown: Vec<u8>,
    body: Vec<u8>,
    tape: Tape,
    value_tape: Tape,
    tree: Tree,
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.plain.zeroize();
        self.text.zeroize();
        self.clear.zeroize();
        self.shown.zeroize();
        self.body.zeroize();
    }
}

/// What is known of a section while an event is rendered.
#[derive(Debug, Clone, Copy)]
struct SectionState {
    /// Where the value of its next hole begins: in the section, and in the buffer of opened sections once it is open.
    next: usize,
    /// Where it ends in that buffer.
    end: usize,
    opened: Opened,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opened {
    NotYet,
    Yes,
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
        let rendered = self.render_unchecked(event, keys, scratch, out, None);
        if rendered.is_err() {
            out.truncate(start);
        }
        rendered
    }

    /// Appends the event as this view shows it, as JSON: what [`render`](Self::render) shows, without the values that a
    /// binary encoding needs in the place of those that are left out. `defaults`: Protobuf fields that are not set and have
    /// a default have it, those that the view hides too: for rules that look at fields that the view reveals.
    pub fn render_json(
        &self,
        event: &OpenedEvent<'_>,
        keys: &dyn OpeningKeys,
        scratch: &mut Scratch,
        defaults: bool,
        out: &mut Vec<u8>,
    ) -> Result<Rendered, Withheld> {
        if event.encoding() == Encoding::Json {
            return self.render(event, keys, scratch, out);
        }
        let codec = self.codec.as_ref().ok_or(Withheld::OtherShape)?;
        let start = out.len();
        let mut shown = std::mem::take(&mut scratch.shown);
        shown.clear();
        let mut gone = Vec::new();
        let rendered = self.render_unchecked(event, keys, scratch, &mut shown, Some(&mut gone));
        let written = rendered.and_then(|rendered| {
            gone.sort_unstable();
            codec.walk(&shown, &BINARY, &mut scratch.tree).map_err(|_| Withheld::Unclassifiable)?;
            let written = codec.write_json_without(&shown, &scratch.tree, &gone, defaults, out);
            written.map_err(|_| Withheld::Unclassifiable).map(|()| rendered)
        });
        scratch.shown = shown;
        if written.is_err() {
            out.truncate(start);
        }
        written
    }

    fn render_unchecked(
        &self,
        event: &OpenedEvent<'_>,
        keys: &dyn OpeningKeys,
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
        gone: Option<&mut Vec<Gone>>,
    ) -> Result<Rendered, Withheld> {
        if event.shape() != self.event.id() || event.encoding() != self.encoding() {
            return Err(Withheld::OtherShape);
        }
        match &self.path {
            Path::Fast(splice) if splice.literal => {
                let body = event.body()?;
                match &self.codec {
                    None => run(splice, &body, &mut NoValues, out),
                    Some(codec) => {
                        Binary { codec, reframe: !splice.identity, gone }.run(splice, &body, &mut NoValues, out)
                    }
                }
            }
            Path::Fast(splice) => self.with_values(splice, self.cache.as_ref(), event, keys, scratch, out, gone),
            Path::Slow { reveal, rules, splice } => {
                let mut clear = std::mem::take(&mut scratch.clear);
                clear.clear();
                let revealed = self.with_values(reveal, None, event, keys, scratch, &mut clear, None)?;
                let mut body = std::mem::take(&mut scratch.body);
                body.clear();
                self.cut_anew(rules, &clear, scratch, &mut body)?;
                let again = OpenedEvent::from_clear(self.encoding(), event.shape(), body);
                let rendered = self.with_values(splice, None, &again, keys, scratch, out, gone)?;
                (scratch.clear, scratch.body) = (clear, again.into_buffer());
                Ok(Rendered { erased: revealed.erased, ..rendered })
            }
        }
    }

    /// Appends the whole event as JSON, but for what was erased.
    pub(crate) fn reveal_json(
        &self,
        event: &OpenedEvent<'_>,
        keys: &dyn OpeningKeys,
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
    ) -> Result<(), Withheld> {
        let all = Splice::reveal_all(&self.event);
        let Some(codec) = &self.codec else {
            return self.with_values(&all, None, event, keys, scratch, out, None).map(drop);
        };
        let (mut clear, mut gone) = (zeroize::Zeroizing::new(Vec::new()), Vec::new());
        self.with_values(&all, None, event, keys, scratch, &mut clear, Some(&mut gone))?;
        gone.sort_unstable();
        codec.walk(&clear, &BINARY, &mut scratch.tree).map_err(|_| Withheld::Unclassifiable)?;
        codec.write_json_without(&clear, &scratch.tree, &gone, false, out).map_err(|_| Withheld::Unclassifiable)
    }

    /// Cuts a revealed event by the rules of the current contract.
    fn cut_anew(
        &self,
        rules: &crate::rules::Rules,
        clear: &[u8],
        scratch: &mut Scratch,
        body: &mut Vec<u8>,
    ) -> Result<(), Withheld> {
        let unclassifiable = |_| Withheld::Unclassifiable;
        match &self.codec {
            None => {
                let doc = scratch.tape.parse(clear, &Limits::DOCUMENT).map_err(|_| Withheld::Unclassifiable)?;
                rules.locate_clear(doc).map_err(unclassifiable)?.write_body(body);
            }
            Some(codec) => {
                codec.walk(clear, &BINARY, &mut scratch.tree).map_err(|_| Withheld::Unclassifiable)?;
                let located = rules.locate_binary_clear(codec, clear, &scratch.tree).map_err(unclassifiable)?;
                located.write_body(body);
            }
        }
        Ok(())
    }

    #[allow(clippy::too_many_arguments, reason = "the one place where all of them meet")]
    pub(crate) fn with_values(
        &self,
        splice: &Splice,
        cache: Option<&Replacements>,
        event: &OpenedEvent<'_>,
        keys: &dyn OpeningKeys,
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
        gone: Option<&mut Vec<Gone>>,
    ) -> Result<Rendered, Withheld> {
        let Some(codec) = &self.codec else {
            let run = |body: &Body<'_>, values: &mut Values<'_, '_>, out: &mut Vec<u8>| run(splice, body, values, out);
            return self.run_with(run, cache, event, keys, scratch, out);
        };
        let start = out.len();
        let mut binary = Binary { codec, reframe: !splice.identity, gone };
        let mut work =
            |body: &Body<'_>, values: &mut Values<'_, '_>, out: &mut Vec<u8>| binary.run(splice, body, values, out);
        let rendered = self.run_with(&mut work, cache, event, keys, scratch, out)?;
        // Something was to be shown whole, and is gone: framing that knows sizes does not fit any more.
        if !splice.identity || rendered.erased == 0 {
            return Ok(rendered);
        }
        out.truncate(start);
        if let Some(gone) = &mut binary.gone {
            gone.clear();
        }
        binary.reframe = true;
        let work =
            |body: &Body<'_>, values: &mut Values<'_, '_>, out: &mut Vec<u8>| binary.run(splice, body, values, out);
        self.run_with(work, None, event, keys, scratch, out)
    }

    fn run_with(
        &self,
        run: impl FnOnce(&Body<'_>, &mut Values<'_, '_>, &mut Vec<u8>) -> Result<Rendered, Withheld>,
        cache: Option<&Replacements>,
        event: &OpenedEvent<'_>,
        keys: &dyn OpeningKeys,
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
    ) -> Result<Rendered, Withheld> {
        let body = event.body()?;
        scratch.sections.clear();
        scratch.sections.resize(body.sections.len(), SectionState { next: 0, end: 0, opened: Opened::NotYet });
        let known = cache.and_then(|cache| cache.get(event.tag()));
        let computed = (cache.is_some() && known.is_none()).then(StandInsBuilder::default);
        let Scratch { sections, plain, text, value_tape, .. } = scratch;
        let mut values = Values {
            event,
            body,
            keys,
            view_keys: &self.keys,
            codec: self.codec.as_deref(),
            sections,
            plain,
            text,
            tape: value_tape,
            opened_to: 0,
            known: known.as_ref(),
            computed,
            changed: 0,
        };
        let rendered = run(&body, &mut values, out)?;
        if let (Some(cache), Some(computed)) = (cache, values.computed) {
            cache.insert(event.tag(), computed.finish());
        }
        Ok(rendered)
    }
}

/// Where the values of holes come from.
pub(crate) trait Source {
    /// Called for each hole whose value is not asked for, in order.
    fn pass(&mut self, hole: Hole) -> Result<(), Withheld>;
    /// The text for a hole; `None`: drop it. The flag: because it was erased.
    fn value(&mut self, hole: Hole, op: Op) -> Result<(Option<&[u8]>, bool), Withheld>;
}

/// The one loop over holes.
///
/// What a view does is known per rule; what is left to do per hole is a look-up and one copy. It is written so that a
/// hole that is left out, the most frequent case, costs no call and no read of what was written just before: pieces of
/// the skeleton are short there.
#[inline(always)]
fn run<S: Source>(splice: &Splice, body: &Body<'_>, source: &mut S, out: &mut Vec<u8>) -> Result<Rendered, Withheld> {
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
            Op::Drop | Op::Redact => {
                source.pass(hole)?;
                if *drops { None } else { mask::redacted(hole.kind()) }
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
                out.extend_from_slice(text.unwrap_or(b"null"));
                copied = after;
            }
        }
    }
    out.extend_from_slice(skeleton.get(copied..).ok_or(Withheld::Corrupt)?);
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
    if !hole.is_last() {
        copy(skeleton, copied, name, out)?;
        return Ok(next);
    }
    // Looked up where it is read from: what was just written is slow to read back.
    match if name > copied { skeleton.get(name - 1) } else { None } {
        Some(b',') => copy(skeleton, copied, name - 1, out)?,
        Some(b'!'..) => copy(skeleton, copied, name, out)?,
        _ => {
            copy(skeleton, copied, name, out)?;
            take_comma_back(out, start);
        }
    }
    Ok(next)
}

/// Pieces up to this length are copied as one block of it, which takes two loads and stores and no call.
const SHORT: usize = 32;

/// Appends a piece of the skeleton.
#[inline(always)]
pub(crate) fn copy(skeleton: &[u8], from: usize, to: usize, out: &mut Vec<u8>) -> Result<(), Withheld> {
    // A `to` before `from` gives a huge length, which the last arm refuses.
    let len = to.wrapping_sub(from);
    match skeleton.get(from..).and_then(|rest| rest.first_chunk::<SHORT>()) {
        Some(block) if len <= SHORT => {
            let end = out.len() + len;
            out.extend_from_slice(block);
            out.truncate(end);
        }
        _ => out.extend_from_slice(skeleton.get(from..to).ok_or(Withheld::Corrupt)?),
    }
    Ok(())
}

/// What was written last is the comma of a member that stayed, with blanks after it, or the object's brace.
#[inline(never)]
fn take_comma_back(out: &mut Vec<u8>, start: usize) {
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
    fn pass(&mut self, _: Hole) -> Result<(), Withheld> {
        Ok(())
    }

    #[inline(always)]
    fn value(&mut self, _: Hole, _: Op) -> Result<(Option<&[u8]>, bool), Withheld> {
        // A hole whose rule reveals, but which is sealed although the rule's fields are open: not of our making.
        Err(Withheld::Corrupt)
    }
}

struct Values<'a, 'r> {
    event: &'a OpenedEvent<'r>,
    body: Body<'a>,
    keys: &'a dyn OpeningKeys,
    view_keys: &'a ViewKeys,
    codec: Option<&'a Codec>,
    sections: &'a mut [SectionState],
    /// Opened sections, one after the other.
    plain: &'a mut Vec<u8>,
    /// A changed value.
    text: &'a mut Vec<u8>,
    tape: &'a mut Tape,
    /// How much of the buffer of opened sections is used.
    opened_to: usize,
    known: Option<&'a StandIns>,
    computed: Option<StandInsBuilder>,
    /// Changed values so far.
    changed: usize,
}

impl Source for Values<'_, '_> {
    #[inline(always)]
    fn pass(&mut self, hole: Hole) -> Result<(), Withheld> {
        if !hole.is_open() {
            let state = self.sections.get_mut(usize::from(hole.section())).ok_or(Withheld::Corrupt)?;
            state.next += hole.len as usize;
        }
        Ok(())
    }

    #[inline(always)]
    fn value(&mut self, hole: Hole, op: Op) -> Result<(Option<&[u8]>, bool), Withheld> {
        let Op::Change(change) = op else {
            let value = self.plain(hole)?;
            return Ok((value, value.is_none()));
        };
        let index = self.changed;
        self.changed += 1;
        if let Some(known) = self.known {
            self.pass(hole)?;
            return known.get(index).map(|text| (text, false)).ok_or(Withheld::Corrupt);
        }
        self.change(hole, change)
    }
}

impl Values<'_, '_> {
    /// A hole's value as it was published, and on to the next one of its section; `None`: erased.
    #[inline(always)]
    fn plain(&mut self, hole: Hole) -> Result<Option<&[u8]>, Withheld> {
        let len = hole.len as usize;
        if hole.is_open() {
            let start = hole.at as usize;
            return self.body.skeleton.get(start..start + len).map(Some).ok_or(Withheld::Corrupt);
        }
        let slot = usize::from(hole.section());
        let mut state = self.sections.get_mut(slot).ok_or(Withheld::Corrupt)?;
        if state.opened != Opened::Yes {
            if state.opened == Opened::NotYet {
                self.open(hole.section())?;
            }
            state = self.sections.get_mut(slot).ok_or(Withheld::Corrupt)?;
            if state.opened == Opened::Erased {
                return Ok(None);
            }
        }
        let (start, end) = (state.next, state.next + len);
        state.next = end;
        if end > state.end {
            return Err(Withheld::Corrupt);
        }
        self.plain.get(start..end).map(Some).ok_or(Withheld::Corrupt)
    }

    /// Opens a section into the buffer.
    #[inline(never)]
    fn open(&mut self, index: u16) -> Result<(), Withheld> {
        let section = self.body.section(index).ok_or(Withheld::Corrupt)?;
        let base = self.opened_to;
        let end = base + section.len as usize;
        if self.plain.len() < end {
            self.plain.resize(end, 0);
        }
        let place = self.plain.get_mut(base..end).ok_or(Withheld::Corrupt)?;
        let live = self.event.open_section(index, &section, self.keys, place)?;
        let state = self.sections.get_mut(usize::from(index)).ok_or(Withheld::Corrupt)?;
        if live {
            self.opened_to = end;
            // Holes of it that were passed are behind already.
            state.next += base;
            state.end = end;
            state.opened = Opened::Yes;
        } else {
            state.opened = Opened::Erased;
        }
        Ok(())
    }

    /// Cold: computes a stand-in and remembers it.
    #[cold]
    #[inline(never)]
    fn change(&mut self, hole: Hole, change: Change) -> Result<(Option<&[u8]>, bool), Withheld> {
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
        let mut text = std::mem::take(self.text);
        let mut tape = std::mem::take(self.tape);
        text.clear();
        let (view_keys, codec) = (self.view_keys, self.codec);
        let plain = self.plain(hole)?;
        let erased = plain.is_none();
        let shown = plain.and_then(|raw| {
            let key = data_key.as_deref();
            match codec {
                None => mask::change(change, hole.kind(), raw, view_keys, key, &mut tape, &mut text),
                Some(_) if hole.kind() == ValueKind::Member => None,
                Some(codec) => codec.change(change, hole.suffix, raw, view_keys, key, &mut tape, &mut text),
            }
        });
        if let Some(computed) = &mut self.computed {
            computed.push(shown.map(|()| text.as_slice()));
        }
        *self.tape = tape;
        *self.text = text;
        Ok((shown.map(|()| self.text.as_slice()), erased))
    }
}
