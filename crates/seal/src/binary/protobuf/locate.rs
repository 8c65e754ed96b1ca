//! Finding the classified fields of a Protobuf event: the same rules and sections as for JSON, over its fields as they
//! occur.
//!
//! A hole covers a field with its tag and length, so that not even which field it was is left in the clear. Marks note the
//! lengths of messages in which a view may change something. What the schema does not have is of the most restricted class,
//! wherever it stands.

use std::collections::HashMap;

use tradelane_encodings::protobuf::{Label, Schema, UNKNOWN};
use tradelane_encodings::{Node, Part, Slot, Tree};
use tradelane_tape::Kind;

use crate::binary::{END, LENGTH, identity};
use crate::error::LocateError;
use crate::format::{OPEN, ValueKind};
use crate::locate::{Spot, kind_of};
use crate::plans::Plans;
use crate::rules::{Handling, PlaceRule, RuleId, Rules, Verdict};
use crate::subject::SubjectTagger;

pub(in crate::binary) fn locate(
    rules: &Rules,
    schema: &Schema,
    event: &[u8],
    tree: &Tree,
    tagger: Option<&SubjectTagger>,
) -> Result<(Vec<Spot>, Plans), LocateError> {
    let (spots, plans) = (Vec::with_capacity(16), Plans::default());
    let mut walk = Walk { rules, schema, event, tree, tagger, spots, plans, path: Vec::new(), known: HashMap::new() };
    let (Some(root), Some(place)) = (tree.node(0), rules.place(0)) else { return Ok((walk.spots, walk.plans)) };
    walk.path.push(Step::at(0));
    match rules.decide(0, place, Kind::Object) {
        Verdict::Public | Verdict::Elements(_) => walk.unknown(0, place, 0)?,
        Verdict::Hole(rule) => walk.hole(root, place, walk.of_all(0, rule), ValueKind::Object)?,
        Verdict::Members => walk.message(0, 0)?,
    }
    Ok((walk.spots, walk.plans))
}

/// A value on the way to where we are.
#[derive(Debug, Clone, Copy)]
struct Step {
    node: u32,
    /// The value is a map: all fields of the node's message that stand at this position.
    map: Option<Slot>,
}

impl Step {
    fn at(node: u32) -> Self {
        Self { node, map: None }
    }
}

struct Walk<'r> {
    rules: &'r Rules,
    schema: &'r Schema,
    event: &'r [u8],
    tree: &'r Tree,
    /// None: nothing is taken out of the skeleton.
    tagger: Option<&'r SubjectTagger>,
    spots: Vec<Spot>,
    plans: Plans,
    path: Vec<Step>,
    /// People who were found, by the place of a field and the value from which the way to them starts: many fields of a
    /// list lead to one, and are not to look for them one by one.
    known: HashMap<(usize, u32), Option<u16>>,
}

type Found = Result<(), LocateError>;

impl Walk<'_> {
    /// The fields of the message at `at`, which stands at the place of that index.
    fn message(&mut self, at: u32, index: u32) -> Found {
        let (rules, tree, schema) = (self.rules, self.tree, self.schema);
        let Some(place) = rules.place(index) else { return Ok(()) };
        for (child, node) in tree.below(at).filter(|(_, node)| node.part != Part::Length) {
            let field = schema.field(node.slot);
            let known = field.and_then(|field| place.property(&field.name).or(place.any_property));
            let depth = self.path.len();
            match (field, known) {
                (Some(field), Some(inner)) => match field.label {
                    Label::Map => self.entry(at, child, node, inner)?,
                    Label::Repeated => self.item(child, node, inner)?,
                    _ => self.single(child, node, inner)?,
                },
                _ => {
                    self.path.push(Step::at(child));
                    let kind = self.kind(node);
                    self.hole(node, place, (index as RuleId) << 1 | 1, kind)?;
                }
            }
            self.path.truncate(depth);
        }
        Ok(())
    }

    fn kind(&self, node: Node) -> ValueKind {
        match node.part {
            Part::Value(kind) if node.slot != UNKNOWN => kind_of(kind),
            _ => ValueKind::Member,
        }
    }

    /// A field that occurs once, or a value that is looked at by itself.
    fn single(&mut self, at: u32, node: Node, index: u32) -> Found {
        let rules = self.rules;
        let Some(place) = rules.place(index) else { return Ok(()) };
        self.path.push(Step::at(at));
        match rules.decide(index, place, self.schema.kind_at(node.slot)) {
            Verdict::Public | Verdict::Elements(_) => self.unknown_in(at, node, place, index),
            Verdict::Hole(rule) => {
                let kind = if place.hides_name { ValueKind::Member } else { self.kind(node) };
                self.hole(node, place, self.of_all(at, rule), kind)
            }
            Verdict::Members => self.framed(at, node, |walk| walk.message(at, index)),
        }
    }

    /// A field of a list: by the rule of the list, or by that of its items. Numbers that are written together are one.
    fn item(&mut self, at: u32, node: Node, index: u32) -> Found {
        let rules = self.rules;
        let Some(place) = rules.place(index) else { return Ok(()) };
        self.path.push(Step::at(at));
        match rules.decide(index, place, Kind::Array) {
            Verdict::Public | Verdict::Members => self.unknown_in(at, node, place, index),
            // All of it or nothing: what a mask would make of a list has no type here.
            Verdict::Hole(rule) => self.hole(node, place, self.of_all(at, rule), ValueKind::Member),
            Verdict::Elements(items) => self.single(at, node, items),
        }
    }

    /// An entry of a map: by the rule of the map, or by that of its key.
    fn entry(&mut self, message: u32, at: u32, node: Node, index: u32) -> Found {
        let (rules, schema) = (self.rules, self.schema);
        let Some(place) = rules.place(index) else { return Ok(()) };
        self.path.push(Step { node: message, map: Some(node.slot) });
        match rules.decide(index, place, Kind::Object) {
            Verdict::Public | Verdict::Elements(_) => return self.unknown_in(at, node, place, index),
            // The keys would be seen in whatever a mask makes of the values.
            Verdict::Hole(rule) => return self.hole(node, place, self.of_all(at, rule), ValueKind::Member),
            Verdict::Members => {}
        }
        let (key, value) = schema.entry(self.event, self.tree, at);
        let value_node = value.and_then(|value| self.tree.node(value));
        self.path.push(Step::at(value.unwrap_or(at)));
        let Some(inner) = place.property(&key).or(place.any_property) else {
            return self.hole(node, place, (index as RuleId) << 1 | 1, ValueKind::Member);
        };
        let Some(inner_place) = rules.place(inner) else { return Ok(()) };
        let kind = schema.map_value(node.slot).map_or(Kind::Null, |slot| schema.kind_at(slot));
        match rules.decide(inner, inner_place, kind) {
            Verdict::Public | Verdict::Elements(_) => self.unknown_in(at, node, inner_place, inner),
            Verdict::Hole(rule) => {
                let kind = if inner_place.hides_name { ValueKind::Member } else { kind_of(kind) };
                self.hole(node, inner_place, self.of_all(at, rule), kind)
            }
            Verdict::Members => match (value, value_node) {
                (Some(value), Some(value_node)) => {
                    self.framed(at, node, |walk| walk.framed(value, value_node, |walk| walk.message(value, inner)))
                }
                _ => Ok(()),
            },
        }
    }

    /// Is there something in a value that the schema does not have?
    fn has_unknown(&self, at: u32) -> bool {
        let end = self.tree.node(at).map_or(at, |node| node.next);
        (at + 1..end).any(|inside| self.tree.node(inside).is_some_and(|node| node.slot == UNKNOWN))
    }

    /// The rule for a value that is one hole: if there is something in it that the schema does not have, all of it is of the
    /// most restricted class.
    fn of_all(&self, at: u32, rule: RuleId) -> RuleId {
        if self.has_unknown(at) { rule | 1 } else { rule }
    }

    /// What the schema does not have in a value that is public.
    fn unknown_in(&mut self, at: u32, node: Node, place: &PlaceRule, index: u32) -> Found {
        if !self.has_unknown(at) {
            return Ok(());
        }
        self.framed(at, node, |walk| walk.unknown(at, place, index))
    }

    fn unknown(&mut self, at: u32, place: &PlaceRule, index: u32) -> Found {
        let tree = self.tree;
        for (child, node) in tree.below(at).filter(|(_, node)| node.part != Part::Length) {
            if node.slot == UNKNOWN {
                self.hole(node, place, (index as RuleId) << 1 | 1, ValueKind::Member)?;
            } else {
                self.unknown_in(child, node, place, index)?;
            }
        }
        Ok(())
    }

    /// Marks the length of a message around what is found in it.
    fn framed(&mut self, at: u32, node: Node, inside: impl FnOnce(&mut Self) -> Found) -> Found {
        let length = self.tree.below(at).find(|(_, node)| node.part == Part::Length);
        let Some((_, length)) = length else {
            // A group has an end of its own.
            return inside(self);
        };
        let first = self.spots.len();
        self.mark(length.start, length.end, LENGTH);
        let before = self.spots.len();
        inside(self)?;
        if self.spots.len() == before {
            self.spots.truncate(first);
        } else {
            self.mark(node.end, node.end, END);
        }
        Ok(())
    }

    fn mark(&mut self, start: u32, end: u32, what: u16) {
        let kind = ValueKind::Mark;
        self.spots.push(Spot { start, end, prefix: what, suffix: 0, rule: 0, section: OPEN, last: false, kind });
    }

    fn hole(&mut self, node: Node, place: &PlaceRule, rule: RuleId, kind: ValueKind) -> Found {
        let section = match (self.rules.handling_of_rule(rule), self.tagger) {
            (Handling::Sealed, Some(tagger)) => {
                let subject = self.subject(place, tagger)?;
                self.plans.section(self.rules.class_of_rule(rule), subject, node.end - node.start)?
            }
            _ => OPEN,
        };
        let (start, end, suffix) = (node.start, node.end, node.slot);
        self.spots.push(Spot { start, end, prefix: 0, suffix, rule, section, last: false, kind });
        Ok(())
    }

    /// The person whom a field at `place` is about; the walk stands at that place, or at a member of it that has none.
    fn subject(&mut self, place: &PlaceRule, tagger: &SubjectTagger) -> Result<Option<u16>, LocateError> {
        let Some(path) = &place.subject else { return Ok(None) };
        let from = self.path.get(path.shared).copied();
        let key = (std::ptr::from_ref(place).addr(), from.map_or(u32::MAX, |from| from.node));
        if let Some(known) = self.known.get(&key) {
            return Ok(*known);
        }
        let holder = from.and_then(|from| path.rest.iter().try_fold(from, |step, name| self.member(step, name)));
        let found = match holder.and_then(|holder| self.identity(holder)) {
            Some(identity) => Some(self.plans.subject(tagger.tag(&identity))?),
            None => self.plans.nobody(),
        };
        self.known.insert(key, found);
        Ok(found)
    }

    fn member(&self, step: Step, name: &str) -> Option<Step> {
        let (tree, schema) = (self.tree, self.schema);
        let mut below = tree.below(step.node);
        if let Some(map) = step.map {
            let mut entries = below.filter(|(_, node)| node.slot == map && node.part != Part::Length);
            return entries.find_map(|(at, _)| match schema.entry(self.event, tree, at) {
                (key, Some(value)) if key == name => Some(Step::at(value)),
                _ => None,
            });
        }
        let message = schema.message_at(tree.node(step.node)?.slot)?;
        let slot = schema.named(message, name)?;
        match schema.field(slot)?.label {
            Label::Map => Some(Step { node: step.node, map: Some(slot) }),
            Label::Repeated => None,
            _ => below.find(|(_, node)| node.slot == slot && node.part != Part::Length).map(|(at, _)| Step::at(at)),
        }
    }

    /// The text of an identity: text decoded, a number as JSON writes it. None: it is neither.
    fn identity(&self, step: Step) -> Option<String> {
        let node = self.tree.node(step.node).filter(|_| step.map.is_none())?;
        if !matches!(self.schema.kind_at(node.slot), Kind::String | Kind::Number) {
            return None;
        }
        let mut text = Vec::new();
        self.schema.write_scalar(node.slot, self.event.get(node.range())?, &mut text);
        identity(text)
    }
}
