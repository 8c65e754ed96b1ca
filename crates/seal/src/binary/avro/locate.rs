//! Finding the classified fields of a binary event: the same rules and sections as for JSON, over a tree of values.
//!
//! A value's hole covers it with the number of its union's branch, so that not even which branch it was is left in the
//! clear. The name of a record's field is in no event; the key of a map's entry is, and goes into the hole with the value
//! if the contract does not name it. Marks note the framing of arrays and maps where a view may change what is inside.

use std::collections::HashMap;

use tradelane_encodings::avro::{Schema, Type};
use tradelane_encodings::{Node, Part, Tree, varint};
use tradelane_tape::Kind;

use crate::binary::{ARRAY_BLOCK, MAP_BLOCK, MAP_ENTRY, identity};
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
    if let Some(root) = tree.node(0) {
        walk.value(0, root, 0, None)?;
    }
    Ok((walk.spots, walk.plans))
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
    /// The values from the root to where we are.
    path: Vec<u32>,
    /// People who were found, by the place of a field and the value from which the way to them starts: many fields of a
    /// list lead to one, and are not to look for them one by one.
    known: HashMap<(usize, u32), Option<u16>>,
}

impl Walk<'_> {
    /// A value at a place of the contract; `entry` is where its key begins, if it is an entry of a map. The tree is no
    /// deeper than its walk allowed.
    fn value(&mut self, at: u32, node: Node, index: u32, entry: Option<u32>) -> Result<(), LocateError> {
        let rules = self.rules;
        let (Some(place), Part::Value(kind)) = (rules.place(index), node.part) else { return Ok(()) };
        self.path.push(at);
        let walked = match rules.decide(index, place, kind) {
            Verdict::Public => Ok(()),
            Verdict::Hole(rule) if entry.is_some() && place.hides_name => self.entry(node, place, rule, entry),
            Verdict::Hole(rule) => self.hole(node, place, rule, entry),
            Verdict::Elements(items) => self.elements(at, items),
            Verdict::Members => match self.schema.type_at(node.slot) {
                Some((Type::Record(fields), _)) => {
                    let named = fields.iter().zip(self.tree.below(at));
                    let mut all = named.map(|(field, (at, node))| (place.property(&field.name), at, node));
                    all.try_for_each(|(known, at, node)| match known.or(place.any_property) {
                        Some(child) => self.value(at, node, child, None),
                        None => self.unnamed(at, node, place, index, None),
                    })
                }
                _ => self.entries(at, place, index),
            },
        };
        self.path.pop();
        walked
    }

    /// A member that the contract does not name.
    fn unnamed(
        &mut self,
        at: u32,
        node: Node,
        place: &PlaceRule,
        index: u32,
        entry: Option<u32>,
    ) -> Result<(), LocateError> {
        let rule = (index as RuleId) << 1 | 1;
        // Its person is found from where it stands, as that of its neighbours.
        self.path.push(at);
        let located = match entry {
            Some(_) => self.entry(node, place, rule, entry),
            None => self.hole(node, place, rule, None),
        };
        self.path.pop();
        located
    }

    fn elements(&mut self, at: u32, items: u32) -> Result<(), LocateError> {
        let (tree, first) = (self.tree, self.spots.len());
        for (at, node) in tree.below(at) {
            match node.part {
                // A block that says how many bytes it has can say so no more once what is in it was changed.
                Part::Block if self.is_sized(node) => self.mark(node, ARRAY_BLOCK),
                Part::Block | Part::Key | Part::Length => {}
                Part::Value(_) => self.value(at, node, items, None)?,
            }
        }
        self.forget_marks(first);
        Ok(())
    }

    fn entries(&mut self, at: u32, place: &PlaceRule, index: u32) -> Result<(), LocateError> {
        let (tree, first) = (self.tree, self.spots.len());
        let mut key = None;
        for (at, node) in tree.below(at) {
            match node.part {
                Part::Block => self.mark(node, MAP_BLOCK),
                Part::Key => {
                    key = Some(node);
                    self.mark(Node { end: node.start, ..node }, MAP_ENTRY);
                }
                Part::Length => {}
                Part::Value(_) => {
                    let Some(key) = key.take() else { continue };
                    let name = self.schema.key(self.event, &key);
                    match place.property(name).or(place.any_property) {
                        Some(child) => self.value(at, node, child, Some(key.start))?,
                        None => self.unnamed(at, node, place, index, Some(key.start))?,
                    }
                }
            }
        }
        self.forget_marks(first);
        Ok(())
    }

    /// Where no value became a hole, no framing will change.
    fn forget_marks(&mut self, first: usize) {
        let only_marks = self.spots.iter().skip(first).all(|spot| spot.kind == ValueKind::Mark);
        if only_marks {
            self.spots.truncate(first);
        }
    }

    fn is_sized(&self, block: Node) -> bool {
        let bytes = self.event.get(block.range()).unwrap_or_default();
        varint::read_signed(bytes).is_some_and(|(count, _)| count < 0)
    }

    fn mark(&mut self, node: Node, what: u16) {
        self.spots.push(Spot {
            start: node.start,
            end: node.end,
            prefix: what,
            suffix: node.slot,
            rule: 0,
            section: OPEN,
            last: false,
            kind: ValueKind::Mark,
        });
    }

    /// A value that becomes a hole. That of a named entry knows how far its key reaches before it.
    fn hole(&mut self, node: Node, place: &PlaceRule, rule: RuleId, entry: Option<u32>) -> Result<(), LocateError> {
        let Part::Value(kind) = node.part else { return Ok(()) };
        let prefix = entry.map_or(0, |key| node.start - key);
        self.push(place, rule, (node.start, node.end), prefix, node.slot, kind_of(kind))
    }

    /// An entry that becomes a hole with its key.
    fn entry(&mut self, node: Node, place: &PlaceRule, rule: RuleId, entry: Option<u32>) -> Result<(), LocateError> {
        let start = entry.unwrap_or(node.start);
        self.push(place, rule, (start, node.end), 0, node.slot, ValueKind::Member)
    }

    fn push(
        &mut self,
        place: &PlaceRule,
        rule: RuleId,
        (start, end): (u32, u32),
        prefix: u32,
        slot: u16,
        kind: ValueKind,
    ) -> Result<(), LocateError> {
        let section = match (self.rules.handling_of_rule(rule), self.tagger) {
            (Handling::Sealed, Some(tagger)) => {
                let subject = self.subject(place, tagger)?;
                self.plans.section(self.rules.class_of_rule(rule), subject, end - start)?
            }
            _ => OPEN,
        };
        let prefix = u16::try_from(prefix).map_err(|_| LocateError::WideGap)?;
        self.spots.push(Spot { start, end, prefix, suffix: slot, rule, section, last: false, kind });
        Ok(())
    }

    /// The person whom a field at `place` is about; the walk stands at that place, or at a member of it that has none.
    fn subject(&mut self, place: &PlaceRule, tagger: &SubjectTagger) -> Result<Option<u16>, LocateError> {
        let Some(path) = &place.subject else { return Ok(None) };
        let (schema, event, tree) = (self.schema, self.event, self.tree);
        let from = self.path.get(path.shared).copied();
        let key = (std::ptr::from_ref(place).addr(), from.unwrap_or(u32::MAX));
        if let Some(known) = self.known.get(&key) {
            return Ok(*known);
        }
        let holder =
            from.and_then(|from| path.rest.iter().try_fold(from, |at, name| schema.member(event, tree, at, name)));
        let found = match holder.and_then(|holder| identity_of(schema, event, tree, holder)) {
            Some(identity) => Some(self.plans.subject(tagger.tag(&identity))?),
            None => self.plans.nobody(),
        };
        self.known.insert(key, found);
        Ok(found)
    }
}

/// The text of an identity: text decoded, a number as JSON writes it. None: it is neither.
fn identity_of(schema: &Schema, event: &[u8], tree: &Tree, index: u32) -> Option<String> {
    let node = tree.node(index)?;
    if !matches!(schema.kind_at(node.slot), Kind::String | Kind::Number) {
        return None;
    }
    let mut text = Vec::new();
    schema.write_scalar(node.slot, event.get(node.range())?, &mut text);
    identity(text)
}
