//! One event: its type, the fields that type needs and forbids, and what each holds.

use tradelane_tape::{Kind, Node};

use super::checker::Checker;
use super::fields::{EventType, FIELDS, Field};
use super::{lists, sensor};
use crate::cbv::Vocabulary;
use crate::rule::Rule;
use crate::time;

/// The fields of one event as they were found.
struct Fields<'a>([Option<Node<'a>>; FIELDS]);

impl<'a> Fields<'a> {
    fn get(&self, field: Field) -> Option<Node<'a>> {
        self.0.get(field as usize).copied().flatten()
    }

    /// Whether the field is a list with an element.
    fn holds(&self, field: Field) -> bool {
        self.get(field).is_some_and(|list| list.kind() == Kind::Array && !list.is_empty())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Action {
    Add,
    Observe,
    Delete,
}

/// Checks an event.
pub(super) fn event<'a>(event: Node<'a>, checker: &mut Checker<'_, 'a>) {
    if event.kind() != Kind::Object {
        return checker.fail(event, Rule::NotEpcis);
    }
    let Some(kind) = event_type(event, checker) else { return };
    let mut fields = Fields([None; FIELDS]);
    for (key, value) in event.members() {
        let field = match key.raw_str() {
            Some(name) => Field::named(name),
            None => Field::named(&key.as_str()),
        };
        match field {
            Some(field) if kind.has(field) => {
                if let Some(slot) = fields.0.get_mut(field as usize) {
                    *slot = Some(value);
                }
                self::field(field, value, checker);
            }
            Some(Field::Ilmd) => checker.fail(value, Rule::IlmdNotAllowed),
            Some(_) => checker.fail(value, Rule::ForbiddenField),
            None => checker.extension(key, value),
        }
    }
    required(event, kind, &fields, checker);
}

fn event_type(event: Node<'_>, checker: &mut Checker<'_, '_>) -> Option<EventType> {
    let Some(node) = event.get("type") else {
        checker.fail(event, Rule::TypeMissing);
        return None;
    };
    let Some(name) = node.as_str() else {
        checker.fail(node, Rule::TypeMissing);
        return None;
    };
    if let Some(kind) = EventType::named(&name) {
        return Some(kind);
    }
    if let Some(rule) = checker.extension_problem(&name, Rule::ExtensionType) {
        let rule = if rule == Rule::ExtensionName { Rule::ExtensionType } else { rule };
        checker.fail(node, rule);
        // What an unknown type may hold is unknown: nothing more can be said of the event.
        return None;
    }
    Some(EventType::Extension)
}

fn field<'a>(field: Field, value: Node<'a>, checker: &mut Checker<'_, 'a>) {
    match field {
        Field::Type => {}
        Field::Context => super::document::context(value, checker),
        Field::EventTime | Field::RecordTime => {
            checker.time(value, Rule::NoTime);
        }
        Field::ZoneOffset => {
            checker.text(value, |checker, text| {
                if !time::is_offset(text) {
                    checker.fail(value, Rule::ZoneOffset);
                }
            });
        }
        Field::EventId => event_id(value, checker),
        Field::CertificationInfo => certification_info(value, checker),
        Field::ErrorDeclaration => error_declaration(value, checker),
        Field::Action => {
            checker.text(value, |checker, text| {
                if action_named(text).is_none() {
                    checker.fail(value, Rule::ActionUnknown);
                }
            });
        }
        Field::BizStep => {
            checker.term(Vocabulary::BizStep, value, Rule::BizStep);
        }
        Field::Disposition => {
            checker.term(Vocabulary::Disposition, value, Rule::Disposition);
        }
        Field::PersistentDisposition => lists::persistent_disposition(value, checker),
        Field::ReadPoint | Field::BizLocation => lists::place(value, checker),
        Field::BizTransactionList => lists::biz_transactions(value, checker),
        Field::SourceList => lists::sources(value, "source", checker),
        Field::DestinationList => lists::sources(value, "destination", checker),
        Field::SensorElementList => checker.each(value, sensor::element),
        Field::Ilmd => ilmd(value, checker),
        Field::EpcList | Field::InputEpcList | Field::OutputEpcList => {
            checker.each(value, |checker, epc| checker.key(epc));
            checker.distinct(value);
        }
        Field::ChildEpcs => checker.each(value, |checker, epc| checker.key(epc)),
        Field::ParentId | Field::TransformationId => checker.key(value),
        Field::QuantityList | Field::ChildQuantityList | Field::InputQuantityList | Field::OutputQuantityList => {
            checker.each(value, lists::quantity)
        }
    }
}

fn action_named(text: &str) -> Option<Action> {
    match text {
        "ADD" => Some(Action::Add),
        "OBSERVE" => Some(Action::Observe),
        "DELETE" => Some(Action::Delete),
        _ => None,
    }
}

/// What must be there, given the type and the action.
fn required<'a>(event: Node<'a>, kind: EventType, fields: &Fields<'a>, checker: &mut Checker<'_, 'a>) {
    if fields.get(Field::EventTime).is_none() {
        checker.fail(event, Rule::EventTimeMissing);
    }
    if fields.get(Field::ZoneOffset).is_none() {
        checker.fail(event, Rule::ZoneOffsetMissing);
    }
    let given = fields.get(Field::Action);
    if given.is_none() && kind.acts() {
        checker.fail(event, Rule::ActionMissing);
    }
    let action = given.and_then(|node| node.as_str()).and_then(|text| action_named(&text));
    match kind {
        EventType::Object => object(event, action, fields, checker),
        EventType::Aggregation => {
            let joins = matches!(action, Some(Action::Add | Action::Delete));
            if joins && fields.get(Field::ParentId).is_none() {
                checker.fail(event, Rule::AggregationParent);
            }
            children(event, action, fields, Rule::AggregationChildren, checker);
        }
        EventType::Association => {
            if fields.get(Field::ParentId).is_none() {
                checker.fail(event, Rule::AssociationParent);
            }
            children(event, action, fields, Rule::AssociationChildren, checker);
        }
        EventType::Transaction => {
            if !fields.holds(Field::BizTransactionList) {
                checker.fail(event, Rule::TransactionMissing);
            }
            let names = fields.get(Field::EpcList).is_some() || fields.holds(Field::QuantityList);
            if action != Some(Action::Delete) && !names {
                checker.fail(event, Rule::TransactionObjects);
            }
        }
        EventType::Transformation => {
            let inputs = fields.holds(Field::InputEpcList) || fields.holds(Field::InputQuantityList);
            let outputs = fields.holds(Field::OutputEpcList) || fields.holds(Field::OutputQuantityList);
            let continued = fields.get(Field::TransformationId).is_some();
            if !(inputs && outputs || continued && (inputs || outputs)) {
                checker.fail(event, Rule::TransformationSides);
            }
        }
        EventType::Extension => {}
    }
}

fn object<'a>(event: Node<'a>, action: Option<Action>, fields: &Fields<'a>, checker: &mut Checker<'_, 'a>) {
    let sensed = fields.holds(Field::SensorElementList) && fields.get(Field::ReadPoint).is_some();
    if !(fields.get(Field::EpcList).is_some() || fields.holds(Field::QuantityList) || sensed) {
        checker.fail(event, Rule::NothingObserved);
    }
    if let Some(ilmd) = fields.get(Field::Ilmd)
        && action.is_some_and(|action| action != Action::Add)
    {
        checker.fail(ilmd, Rule::IlmdNotAllowed);
    }
}

fn children<'a>(
    event: Node<'a>,
    action: Option<Action>,
    fields: &Fields<'a>,
    rule: Rule,
    checker: &mut Checker<'_, 'a>,
) {
    let names = fields.holds(Field::ChildEpcs) || fields.holds(Field::ChildQuantityList);
    if action != Some(Action::Delete) && !names {
        checker.fail(event, rule);
    }
}

/// A URI; where it is a UUID or a hash, a complete one.
fn event_id(value: Node<'_>, checker: &mut Checker<'_, '_>) {
    checker.text(value, |checker, text| {
        let complete = if let Some(uuid) = text.strip_prefix("urn:uuid:") {
            is_uuid(uuid)
        } else if let Some(hash) = text.strip_prefix("ni:") {
            is_named_hash(hash)
        } else {
            crate::uri::is_uri(text)
        };
        if !complete {
            checker.fail(value, Rule::EventId);
        }
    });
}

fn is_uuid(text: &str) -> bool {
    let shape = text.len() == 36 && [8, 13, 18, 23].iter().all(|at| text.as_bytes().get(*at) == Some(&b'-'));
    shape && text.bytes().filter(|b| *b != b'-').all(|b| b.is_ascii_hexdigit()) && text.matches('-').count() == 4
}

/// RFC 6920 after `ni:`: authority, algorithm, value; the digest of a SHA-256 has its length.
fn is_named_hash(text: &str) -> bool {
    let Some((authority, rest)) = text.strip_prefix("//").and_then(|rest| rest.split_once('/')) else { return false };
    let (name, query) = rest.split_once('?').unwrap_or((rest, ""));
    let Some((algorithm, value)) = name.split_once(';') else { return false };
    let value_ok = !value.is_empty() && value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    let length_ok = algorithm != "sha-256" || matches!(value.len(), 43 | 64);
    let rest_ok = crate::uri::is_uri(&format!("ni://{authority}/?{query}"));
    !algorithm.is_empty()
        && algorithm.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
        && value_ok
        && length_ok
        && rest_ok
}

fn certification_info<'a>(value: Node<'a>, checker: &mut Checker<'_, 'a>) {
    let uri = |checker: &mut Checker<'_, 'a>, node: Node<'a>| {
        if node.as_str().is_some_and(|text| crate::uri::is_uri(&text)) {
            checker.uri(node);
        } else {
            checker.fail(node, Rule::CertificationInfo);
        }
    };
    match value.kind() {
        Kind::Array => value.elements().for_each(|element| uri(checker, element)),
        _ => uri(checker, value),
    }
}

fn error_declaration<'a>(value: Node<'a>, checker: &mut Checker<'_, 'a>) {
    if !checker.is(value, Kind::Object) {
        return;
    }
    let mut declared = false;
    for (key, member) in value.members() {
        match &*key.as_str() {
            "declarationTime" => {
                declared = true;
                checker.time(member, Rule::NoTime);
            }
            "reason" => {
                checker.term(Vocabulary::ErrorReason, member, Rule::ErrorReason);
            }
            "correctiveEventIDs" => checker.each(member, |checker, id| event_id(id, checker)),
            _ => checker.extension(key, member),
        }
    }
    if !declared {
        checker.fail(value, Rule::DeclarationTimeMissing);
    }
}

/// Instance or lot master data: extensions only.
fn ilmd<'a>(value: Node<'a>, checker: &mut Checker<'_, 'a>) {
    if !checker.is(value, Kind::Object) {
        return;
    }
    for (key, member) in value.members() {
        if let Some(rule) = checker.extension_problem(&key.as_str(), Rule::IlmdField) {
            checker.fail(member, rule);
        }
    }
}
