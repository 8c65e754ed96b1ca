//! Finding the classified fields of a parsed document, as byte ranges with what surrounds them.
//!
//! This is the only part of sealing that knows JSON: it notes, beside each value, how far the member's name reaches before
//! it and its comma after it, so that a view can take the member out of the text without looking at it.

use tradelane_tape::{Doc, Kind, Node};

use crate::error::LocateError;
use crate::format::{Encoding, OPEN, ValueKind};
use crate::plans::{FEW, Plans};
use crate::rules::{Handling, PlaceRule, RuleId, Rules, Verdict};
use crate::subject::{SubjectTag, SubjectTagger};

const MAX_DEPTH: usize = 256;

/// A parsed event whose classified fields are known: the step before sealing.
#[derive(Debug)]
pub struct Located<'d> {
    pub(crate) encoding: Encoding,
    pub(crate) bytes: &'d [u8],
    pub(crate) shape: u32,
    pub(crate) spots: Vec<Spot>,
    pub(crate) plans: Plans,
}

/// A hole to be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spot {
    pub(crate) start: u32,
    pub(crate) end: u32,
    pub(crate) prefix: u16,
    pub(crate) suffix: u16,
    pub(crate) rule: RuleId,
    /// [`OPEN`] if the value stays in the skeleton.
    pub(crate) section: u16,
    pub(crate) last: bool,
    pub(crate) kind: ValueKind,
}

impl Located<'_> {
    /// The distinct people whose data the event holds. There must be a durable key for each before sealing.
    pub fn subjects(&self) -> &[SubjectTag] {
        &self.plans.subjects
    }

    /// Whether a field that should belong to a person has none, because the place of the identity is absent or holds no
    /// text or number. Such fields are sealed under the product's own key, which erasing that person does not touch: a
    /// publisher that needs erasure refuses the event.
    pub fn is_unattributed(&self) -> bool {
        self.plans.unattributed
    }

    /// Fields that became holes.
    pub fn hole_count(&self) -> usize {
        self.spots.len()
    }
}

impl Rules {
    /// Finds the classified fields of `doc`, and the people they are about.
    pub fn locate<'d>(&self, doc: Doc<'d>, tagger: &SubjectTagger) -> Result<Located<'d>, LocateError> {
        self.locate_with(doc, Some(tagger))
    }

    /// The same, with every value left in the skeleton and nobody's identity looked at: for an event that is masked at once.
    pub(crate) fn locate_clear<'d>(&self, doc: Doc<'d>) -> Result<Located<'d>, LocateError> {
        self.locate_with(doc, None)
    }

    fn locate_with<'d>(&self, doc: Doc<'d>, tagger: Option<&SubjectTagger>) -> Result<Located<'d>, LocateError> {
        let mut walk = Walk {
            rules: self,
            tagger,
            located: Located {
                encoding: Encoding::Json,
                bytes: doc.bytes(),
                shape: self.id(),
                spots: Vec::with_capacity(FEW),
                plans: Plans::default(),
            },
            path: Vec::with_capacity(if self.has_subjects { 8 } else { 0 }),
            depth: 0,
            known: [(u32::MAX, 0); 4],
            oldest: 0,
        };
        walk.value(doc.root(), 0, Surroundings::default())?;
        Ok(walk.located)
    }
}

/// What is around a value.
#[derive(Debug, Clone, Copy, Default)]
struct Surroundings {
    /// Where its name begins, if it is a member.
    name: Option<u32>,
    /// Where the next member's name begins, if there is one.
    next: Option<u32>,
}

struct Walk<'r, 'd> {
    rules: &'r Rules,
    /// None: nothing is taken out of the skeleton.
    tagger: Option<&'r SubjectTagger>,
    located: Located<'d>,
    /// The values from the root to where we are; kept only if some field has a subject.
    path: Vec<Node<'d>>,
    depth: usize,
    /// The last identities met: tape index and subject, so that siblings share one keyed hash.
    known: [(u32, u16); 4],
    oldest: usize,
}

impl<'d> Walk<'_, 'd> {
    #[inline]
    fn value(&mut self, node: Node<'d>, index: u32, around: Surroundings) -> Result<(), LocateError> {
        let rules = self.rules;
        let Some(place) = rules.place(index) else { return Ok(()) };
        match rules.decide(index, place, node.kind()) {
            // Most values are: nothing to remember, nothing below to look at.
            Verdict::Public => Ok(()),
            verdict => self.enter(node, index, place, verdict, around),
        }
    }

    fn enter(
        &mut self,
        node: Node<'d>,
        index: u32,
        place: &PlaceRule,
        verdict: Verdict,
        around: Surroundings,
    ) -> Result<(), LocateError> {
        let rules = self.rules;
        if self.depth >= MAX_DEPTH {
            return Err(LocateError::TooDeep);
        }
        self.depth += 1;
        if rules.has_subjects {
            self.path.push(node);
        }
        let walked = match verdict {
            Verdict::Public => Ok(()),
            Verdict::Hole(rule) => self.hole(node, place, rule, around),
            Verdict::Members => self.members(node, index, place),
            Verdict::Elements(items) => {
                node.elements().try_for_each(|element| self.value(element, items, Surroundings::default()))
            }
        };
        if rules.has_subjects {
            self.path.pop();
        }
        self.depth -= 1;
        walked
    }

    #[inline(never)]
    fn members(&mut self, node: Node<'d>, index: u32, place: &PlaceRule) -> Result<(), LocateError> {
        let mut members = node.members();
        while let Some((key, _)) = members.next() {
            let known = place.properties.find(key);
            // Most are: nothing to look at.
            if known.is_some_and(|property| property.plain) {
                continue;
            }
            let child = known.map(|property| property.place).or(place.any_property);
            let last = members.len() == 0;
            self.named(node, key.index(), index, place, child, last)?;
        }
        Ok(())
    }

    /// A member whose name is at the tape index `name`; `place` is its object's, `child` its own if there is one.
    #[inline(never)]
    fn named(
        &mut self,
        object: Node<'d>,
        name: u32,
        index: u32,
        place: &PlaceRule,
        child: Option<u32>,
        last: bool,
    ) -> Result<(), LocateError> {
        let (rules, doc) = (self.rules, object.doc());
        // It is there, since the walk has just passed it; if it were not, nothing would be left in the clear for it.
        let (key, value) = doc.member(name).ok_or(LocateError::WideGap)?;
        let known = child.and_then(|child| Some((child, rules.place(child)?)));
        let verdict = known.map(|(child, place)| rules.decide(child, place, value.kind()));
        if verdict == Some(Verdict::Public) {
            return Ok(());
        }
        let next = if last { None } else { doc.member(value.next_index()) };
        let around = Surroundings {
            name: Some(key.range().start as u32),
            next: next.map(|(next, _)| next.range().start as u32),
        };
        match (known, verdict) {
            // Nothing is below a hole, and nobody asks for the way to it.
            (Some((_, place)), Some(Verdict::Hole(rule))) if !rules.has_subjects => {
                self.hole(value, place, rule, around)
            }
            (Some((child, place)), Some(verdict)) => self.enter(value, child, place, verdict, around),
            _ => self.member(value, place, (index as RuleId) << 1 | 1, around),
        }
    }

    /// A value that becomes a hole; with its name, if the name is not the contract's.
    #[inline(always)]
    fn hole(
        &mut self,
        node: Node<'d>,
        place: &PlaceRule,
        rule: RuleId,
        around: Surroundings,
    ) -> Result<(), LocateError> {
        if place.hides_name && around.name.is_some() {
            return self.member(node, place, rule, around);
        }
        let range = node.range();
        let (start, end) = (range.start as u32, range.end as u32);
        let prefix = around.name.map_or(0, |name| start - name);
        self.push(place, rule, (start, end), prefix, around, kind_of(node.kind()))
    }

    fn member(
        &mut self,
        node: Node<'d>,
        place: &PlaceRule,
        rule: RuleId,
        around: Surroundings,
    ) -> Result<(), LocateError> {
        let range = node.range();
        let start = around.name.unwrap_or(range.start as u32);
        self.push(place, rule, (start, range.end as u32), 0, around, ValueKind::Member)
    }

    fn push(
        &mut self,
        place: &PlaceRule,
        rule: RuleId,
        (start, end): (u32, u32),
        prefix: u32,
        around: Surroundings,
        kind: ValueKind,
    ) -> Result<(), LocateError> {
        let suffix = around.next.map_or(0, |next| next - end);
        let section = match (self.rules.handling_of_rule(rule), self.tagger) {
            (Handling::Sealed, Some(tagger)) => self.section(place, rule, end - start, tagger)?,
            _ => OPEN,
        };
        self.located.spots.push(Spot {
            start,
            end,
            prefix: u16::try_from(prefix).map_err(|_| LocateError::WideGap)?,
            suffix: u16::try_from(suffix).map_err(|_| LocateError::WideGap)?,
            rule,
            section,
            last: around.name.is_some() && around.next.is_none(),
            kind,
        });
        Ok(())
    }

    fn section(
        &mut self,
        place: &PlaceRule,
        rule: RuleId,
        len: u32,
        tagger: &SubjectTagger,
    ) -> Result<u16, LocateError> {
        let subject = self.subject(place, tagger)?;
        self.located.plans.section(self.rules.class_of_rule(rule), subject, len)
    }

    /// The person whom a field at `place` is about; the walk stands at that place, or at a member of it that has none.
    fn subject(&mut self, place: &PlaceRule, tagger: &SubjectTagger) -> Result<Option<u16>, LocateError> {
        let Some(path) = &place.subject else { return Ok(None) };
        let from = self.path.get(path.shared).copied();
        let holder = from.and_then(|node| path.rest.iter().try_fold(node, |node, name| node.get(name)));
        let Some(holder) = holder else { return Ok(self.located.plans.nobody()) };
        if let Some((_, subject)) = self.known.iter().find(|(index, _)| *index == holder.index()) {
            return Ok(Some(*subject));
        }
        let tag = match holder.kind() {
            Kind::String => tagger.tag(&holder.as_str().unwrap_or_default()),
            Kind::Number => tagger.tag(holder.raw_text()),
            _ => return Ok(self.located.plans.nobody()),
        };
        let subject = self.located.plans.subject(tag)?;
        if let Some(slot) = self.known.get_mut(self.oldest % 4) {
            *slot = (holder.index(), subject);
        }
        self.oldest += 1;
        Ok(Some(subject))
    }
}

pub(crate) fn kind_of(kind: Kind) -> ValueKind {
    match kind {
        Kind::Null => ValueKind::Null,
        Kind::Bool => ValueKind::Bool,
        Kind::Number => ValueKind::Number,
        Kind::String => ValueKind::String,
        Kind::Array => ValueKind::Array,
        Kind::Object => ValueKind::Object,
    }
}
