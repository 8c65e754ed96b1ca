//! The key of an event that comes without one: the field of it that its contract names (`records.key.from`), taken from the
//! tape of the one parse.
//!
//! A key is stored by the class that the contract gives to keys (`envelope.rs`), so that class must be as restricted as the
//! field's, and a key belongs to whom the field belongs to. It does not know of partitions.

use tradelane_model::pattern::{Pattern, Segment};
use tradelane_model::shape::Types;
use tradelane_model::{Action, Class, Contract, ViewSpec, codes};
use tradelane_seal::{Rules, Scalar};
use tradelane_tape::{Kind, Node};

use crate::error::{HubError, Place, Result};
use crate::views::Verdict;

/// The most bytes of a key that is taken from an event; the same as of a CloudEvent's `partitionkey`.
pub(crate) const MAX_KEY: usize = 2_048;

/// Where the key of an event is, compiled.
pub(crate) struct KeyField {
    pub(crate) at: Pattern,
    /// What the contract says of it.
    pub(crate) field: Scalar,
    names: Vec<String>,
}

/// What is found in an event beside what is sealed of it.
#[derive(Default)]
pub(crate) struct Found {
    /// Is its key looked for? Not if it came with one.
    wants_key: bool,
    pub(crate) key: Option<Vec<u8>>,
    /// Who it says that its key belongs to, if that is not what the key itself says.
    pub(crate) person: Option<String>,
}

impl Found {
    /// Nothing yet.
    pub(crate) fn nothing(wants_key: bool) -> Self {
        Self { wants_key, ..Self::default() }
    }
}

impl KeyField {
    /// `rules` are those by which the events are cut.
    pub(crate) fn compile(at: &Pattern, rules: &Rules) -> Self {
        let name = |segment: &Segment| match segment {
            Segment::Property(name) => Some(name.clone()),
            Segment::Items | Segment::AnyProperty => None,
        };
        Self { at: at.clone(), field: rules.scalar_at(at), names: at.segments().iter().filter_map(name).collect() }
    }

    /// Can keys be taken from there, with the class that the contract gives them? What the field holds would be read from
    /// a key of a less restricted one.
    pub(crate) fn check(contract: &Contract, rules: &Rules) -> Result<()> {
        let Some((key, at)) = contract.records.key.as_ref().and_then(|key| Some((key, key.from.as_ref()?))) else {
            return Ok(());
        };
        let invalid =
            |what: String| Err(HubError::new(codes::CONTRACT_INVALID, format!("contract {}: {what}", contract.id)));
        let found = Self::compile(at, rules);
        let (class, is) = (&key.class, &found.field.class);
        if contract.shape.rank(class) < contract.shape.rank(is) {
            return invalid(format!(
                "keys are taken from {at}, which is {is}, and `records.key` gives them the less restricted class {class}, by \
                 which they would show what the field holds. Give keys the class {is}, or the field the class {class}."
            ));
        }
        if key.subject && found.has_other_person() {
            return invalid(format!(
                "`records.key` says by `subject: true` that a key names the person whom it belongs to; but it is taken from \
                 {at}, which belongs to a person whom another field names. Leave `subject` out: keys belong to whom the \
                 field belongs to."
            ));
        }
        Ok(())
    }

    /// Does it belong to a person whom another field names?
    pub(crate) fn has_other_person(&self) -> bool {
        self.field.subject.as_ref().is_some_and(|names| *names != self.names)
    }

    /// Looks for what is wanted of an event.
    pub(crate) fn look(&self, event: Node<'_>, found: &mut Found) -> Verdict {
        let get = |names: &[String]| names.iter().try_fold(event, |node, name| node.get(name));
        if let Some(names) = self.field.subject.as_ref().filter(|_| self.has_other_person()) {
            found.person = get(names).and_then(identity);
        }
        if found.wants_key {
            found.key = Some(self.key(get(&self.names)).map_err(|problem| self.refusal(problem))?);
        }
        Ok(())
    }

    fn key(&self, node: Option<Node<'_>>) -> std::result::Result<Vec<u8>, String> {
        let node = node.ok_or("the field that is the event's key is missing")?;
        let (types, key) = match node.kind() {
            Kind::String => (Types::STRING, node.as_str().unwrap_or_default().into_owned()),
            Kind::Number => (Types::NUMBER.or(Types::INTEGER), node.raw_text().to_owned()),
            Kind::Bool => (Types::BOOLEAN, node.raw_text().to_owned()),
            Kind::Null => return Err("the field that is the event's key is null".into()),
            Kind::Array | Kind::Object => {
                return Err("the event's key is text, a number, true or false, and no list or object".into());
            }
        };
        // What is of another type than the contract names is more restricted than the contract says.
        if self.field.types != Types::ANY && self.field.types.0 & types.0 == 0 {
            return Err("the event's key is of another type than the contract names there".into());
        }
        match key.len() {
            1..=MAX_KEY => Ok(key.into_bytes()),
            _ => Err(format!("the event's key has 1 to {MAX_KEY} bytes")),
        }
    }

    fn refusal(&self, message: String) -> (tradelane_model::ErrorCode, Vec<Place>) {
        (codes::KEY_INVALID, vec![Place { pointer: self.at.to_string(), rule: "key".into(), message }])
    }
}

/// Who a value names, as where the field itself is sealed.
fn identity(node: Node<'_>) -> Option<String> {
    match node.kind() {
        Kind::String => node.as_str().map(|text| text.into_owned()),
        Kind::Number => Some(node.raw_text().to_owned()),
        _ => None,
    }
}

/// What a view does with a field of that class: never more than this is done with a key that was taken from there.
pub(crate) fn shown(spec: &ViewSpec, at: &Pattern, class: &Class) -> Action {
    let action = spec.action_at(at, class);
    // An action for what is above does not show what has no name there.
    if class.as_str() == Class::UNCLASSIFIED { tighter(action, spec.class_action(class)) } else { action }
}

/// What shows no more than either.
pub(crate) fn tighter(one: Action, other: Action) -> Action {
    match (one, other) {
        (Action::Reveal, action) | (action, Action::Reveal) => action,
        (one, other) if one == other => one,
        _ => Action::Drop,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_actions_that_is_taken_which_shows_no_more_than_either() {
        let partial = Action::Partial { first: 1, last: 1 };
        for (one, other, shown) in [
            (Action::Reveal, Action::Reveal, Action::Reveal),
            (Action::Reveal, Action::Pseudonym, Action::Pseudonym),
            (Action::Drop, Action::Reveal, Action::Drop),
            (Action::Redact, Action::Redact, Action::Redact),
            (partial, Action::Pseudonym, Action::Drop),
        ] {
            assert_eq!(tighter(one.clone(), other.clone()), shown);
            assert_eq!(tighter(other, one), shown);
        }
    }
}
