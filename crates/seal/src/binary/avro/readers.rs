//! The schema of a view: that of the events, with a remark beside each field of which the view does not show the value.
//!
//! What a view shows has the types of what was published, so the schema is the same for readers of all views, but for the
//! remarks. A record that is used at several places has a remark where all of them agree.

use std::collections::{BTreeMap, HashSet};

use tradelane_encodings::Slot;
use tradelane_encodings::avro::{Schema, Type};
use tradelane_model::shape::Shape;
use tradelane_model::{Action, ViewSpec};

use crate::error::ViewError;
use crate::rules::Rules;
use crate::view::{Decision, decide_all};

pub(in crate::binary) fn view_schema(schema: &Schema, shape: &Shape, spec: &ViewSpec) -> Result<String, ViewError> {
    let rules = Rules::compile(shape, 0)?;
    let decisions = decide_all(&rules, spec)?;
    let mut remarks =
        Remarks { schema, rules: &rules, decisions: &decisions, found: BTreeMap::new(), seen: HashSet::new() };
    remarks.place(0, 0);
    let found = remarks.found;
    Ok(schema.for_readers(|slot| found.get(&slot).copied().flatten()))
}

struct Remarks<'r> {
    schema: &'r Schema,
    rules: &'r Rules,
    decisions: &'r [Decision],
    /// None inside: there is nothing to say, or not the same everywhere.
    found: BTreeMap<Slot, Option<&'static str>>,
    seen: HashSet<(u32, Slot)>,
}

impl Remarks<'_> {
    fn place(&mut self, index: u32, first: Slot) {
        let (rules, schema) = (self.rules, self.schema);
        let Some(place) = rules.place(index) else { return };
        if place.leaf || !self.seen.insert((index, first)) {
            return;
        }
        for slot in schema.branches(first) {
            match schema.type_at(slot).map(|(kind, _)| kind) {
                Some(Type::Record(fields)) => {
                    for field in fields {
                        match place.property(&field.name).or(place.any_property) {
                            Some(child) => {
                                let is_leaf = rules.place(child).is_some_and(|child| child.leaf);
                                let words = if is_leaf { self.words(child * 2) } else { None };
                                self.note(field.slot, words);
                                self.place(child, field.slot);
                            }
                            None => {
                                let words = self.words(index * 2 + 1);
                                self.note(field.slot, words);
                            }
                        }
                    }
                }
                Some(Type::Array(inner)) => place.items.into_iter().for_each(|items| self.place(items, *inner)),
                Some(Type::Map(inner)) => {
                    let named = place.properties().map(|(_, child)| child);
                    named.chain(place.any_property).for_each(|child| self.place(child, *inner));
                }
                _ => {}
            }
        }
    }

    fn words(&self, decision: u32) -> Option<&'static str> {
        match self.decisions.get(decision as usize).map(|decision| &decision.action)? {
            Action::Reveal => None,
            Action::Drop => Some("Left out for this reader."),
            Action::Redact => Some("Redacted for this reader."),
            Action::Partial { .. } => Some("Shown to this reader in part."),
            Action::Generalize(_) => Some("Made coarse for this reader."),
            Action::Pseudonym => Some("A pseudonym for this reader."),
            Action::Token => Some("A token for this reader."),
        }
    }

    fn note(&mut self, slot: Slot, words: Option<&'static str>) {
        let known = self.found.entry(slot).or_insert(words);
        if *known != words {
            *known = None;
        }
    }
}
