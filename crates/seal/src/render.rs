//! Rendering: the skeleton copied, its holes filled as a view says.
//!
//! A view of literals touches no key. Where values are needed, each section is opened at most once per event, into a
//! buffer that is wiped when it is dropped.

use tradelane_encodings::{Gone, Tree};
use tradelane_tape::{Limits, Tape};
use zeroize::Zeroize;

use crate::binary::Binary;
use crate::cache::{Replacements, StandIns, StandInsBuilder};
use crate::error::Withheld;
use crate::format::{Body, Encoding};
use crate::key::OpeningKeys;
use crate::open::OpenedEvent;
use crate::splice::{NoValues, run};
use crate::values::{SectionState, Values};
use crate::view::{Path, Splice, View};

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
        let codec = self.shower().codec.as_ref().ok_or(Withheld::OtherShape)?;
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
                self.bring_over(&mut clear, &mut scratch.tree)?;
                let mut body = std::mem::take(&mut scratch.body);
                body.clear();
                let shower = self.shower();
                shower.cut_anew(rules, &clear, scratch, &mut body)?;
                let again = OpenedEvent::from_clear(self.encoding(), event.shape(), body);
                let rendered = shower.with_values(splice, None, &again, keys, scratch, out, gone)?;
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
        if self.onto.is_some() {
            // Where a value was that is gone is known in the other schema only.
            gone.clear();
            self.bring_over(&mut clear, &mut scratch.tree)?;
        }
        let codec = self.shower().codec.as_ref().unwrap_or(codec);
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
        let memory = cache.map(|cache| Memory { cache, known: cache.get(event.tag()) });
        let Some(codec) = &self.codec else {
            if let Some(Memory { known: Some(known), .. }) = &memory
                && !splice.opens
            {
                return run(splice, &event.body()?, &mut known.in_order(), out);
            }
            let run = |body: &Body<'_>, values: &mut Values<'_, '_>, out: &mut Vec<u8>| run(splice, body, values, out);
            return self.run_with(run, memory, event, keys, scratch, out);
        };
        let start = out.len();
        let mut binary = Binary { codec, reframe: !splice.identity, gone };
        let mut work =
            |body: &Body<'_>, values: &mut Values<'_, '_>, out: &mut Vec<u8>| binary.run(splice, body, values, out);
        let rendered = self.run_with(&mut work, memory, event, keys, scratch, out)?;
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
        memory: Option<Memory<'_>>,
        event: &OpenedEvent<'_>,
        keys: &dyn OpeningKeys,
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
    ) -> Result<Rendered, Withheld> {
        let body = event.body()?;
        scratch.sections.clear();
        scratch.sections.resize(body.sections.len(), SectionState::CLOSED);
        let known = memory.as_ref().and_then(|memory| memory.known.as_ref());
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
            known: known.map(StandIns::in_order),
            computed: (memory.is_some() && known.is_none()).then(StandInsBuilder::default),
        };
        let rendered = run(&body, &mut values, out)?;
        if let (Some(computed), Some(memory)) = (values.computed, &memory) {
            memory.cache.insert(event.tag(), computed.finish());
        }
        Ok(rendered)
    }
}

/// What a view remembers of an event.
struct Memory<'v> {
    cache: &'v Replacements,
    known: Option<StandIns>,
}
