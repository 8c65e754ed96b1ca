//! Where the values of an event's holes come from: its sections, opened when they are first needed, and the stand-ins that
//! were computed before.

use tradelane_tape::Tape;

use crate::binary::Codec;
use crate::cache::{StandInsBuilder, StandInsInOrder};
use crate::error::Withheld;
use crate::format::{Body, Hole, OPEN, ValueKind};
use crate::key::{DataKeyState, OpeningKeys};
use crate::mask;
use crate::open::OpenedEvent;
use crate::splice::Source;
use crate::view::{Change, Op, ViewKeys};

/// What is known of a section while an event is rendered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SectionState {
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

impl SectionState {
    pub(crate) const CLOSED: Self = Self { next: 0, end: 0, opened: Opened::NotYet };
}

/// For records all of whose stand-ins are known, and views that show nothing else of what is sealed.
impl Source for StandInsInOrder<'_> {
    #[inline(always)]
    fn pass(&mut self, _: Hole) -> Result<(), Withheld> {
        Ok(())
    }

    #[inline(always)]
    fn value(&mut self, _: Hole, op: Op) -> Result<(Option<&[u8]>, bool), Withheld> {
        match op {
            Op::Change(_) => self.next().map(|text| (text, false)).ok_or(Withheld::Corrupt),
            // As in a view of literals.
            _ => Err(Withheld::Corrupt),
        }
    }
}

/// For everything else.
pub(crate) struct Values<'a, 'r> {
    pub(crate) event: &'a OpenedEvent<'r>,
    pub(crate) body: Body<'a>,
    pub(crate) keys: &'a dyn OpeningKeys,
    pub(crate) view_keys: &'a ViewKeys,
    pub(crate) codec: Option<&'a Codec>,
    pub(crate) sections: &'a mut [SectionState],
    /// Opened sections, one after the other.
    pub(crate) plain: &'a mut Vec<u8>,
    /// A changed value.
    pub(crate) text: &'a mut Vec<u8>,
    pub(crate) tape: &'a mut Tape,
    /// How much of the buffer of opened sections is used.
    pub(crate) opened_to: usize,
    pub(crate) known: Option<StandInsInOrder<'a>>,
    pub(crate) computed: Option<StandInsBuilder>,
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
        if self.known.is_none() {
            return self.change(hole, change);
        }
        self.pass(hole)?;
        let stand_in = self.known.as_mut().and_then(StandInsInOrder::next);
        stand_in.map(|text| (text, false)).ok_or(Withheld::Corrupt)
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
