//! One filter of a query, and whether an event passes it.

use tradelane_model::Timestamp;
use tradelane_tape::{Kind, Node};

use super::epcs::{self, Matcher};
use super::fields::{self, Op};
use super::sensors;
use crate::cbv::Vocabulary;
use crate::context::Context;
use crate::time::DateTime;

/// A condition on an event.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Filter {
    /// `type` is one of these.
    EventType(Vec<String>),
    /// A time of the event.
    EventTime(Op, DateTime),
    /// When the event was recorded.
    RecordTime(Op, DateTime),
    /// `action` is one of these.
    Action(Vec<String>),
    /// A term, found by this pointer, is one of these canonical URIs; an array holds one of them.
    Term(&'static [&'static str], Vocabulary, Vec<String>),
    /// A URI, found by this path, is one of these; an array holds one of them.
    Uri(&'static [&'static str], Vec<String>),
    /// `id` of a place is one of these or, with descendants, below one of them.
    Place { field: &'static str, descendants: bool, values: Vec<String> },
    /// An EPC in one of these fields matches.
    Epc(&'static [&'static str], Vec<Matcher>),
    /// An EPC class in one of these lists of quantities matches.
    Class(&'static [&'static str], Vec<Matcher>),
    /// An element of a typed list has this type and one of these values.
    Typed { list: &'static str, member: &'static str, kind: String, values: Vec<String> },
    /// The quantity of an element of a quantity list, of that unit when one is named.
    Quantity { op: Op, operands: Vec<f64>, unit: Option<String> },
    /// The event has an error declaration.
    ErrorDeclared,
    /// The time of the error declaration.
    DeclarationTime(Op, DateTime),
    /// Sensor data.
    Sensor(sensors::Condition),
    /// An extension field.
    Field(fields::Condition),
}

const QUANTITIES: &[&str] = &["quantityList", "childQuantityList", "inputQuantityList", "outputQuantityList"];

/// Every value at a path; arrays are looked into at its end.
fn at_path<'a>(event: Node<'a>, path: &[&str]) -> impl Iterator<Item = Node<'a>> {
    let end = path.iter().try_fold(event, |node, name| node.get(name));
    end.into_iter().flat_map(one_or_each)
}

fn one_or_each<'a>(node: Node<'a>) -> impl Iterator<Item = Node<'a>> {
    let alone = (node.kind() != Kind::Array).then_some(node);
    alone.into_iter().chain(node.elements())
}

fn time_of(node: Option<Node<'_>>) -> Option<DateTime> {
    DateTime::parse(&node?.as_str()?)
}

fn has_text(node: Option<Node<'_>>, values: &[String]) -> bool {
    node.and_then(|node| node.as_str()).is_some_and(|text| values.iter().any(|value| *value == text))
}

impl Filter {
    pub(super) fn accepts(&self, event: Node<'_>, context: &Context<'_>, record_time: Timestamp) -> bool {
        match self {
            Self::EventType(types) => event.get("type").and_then(|kind| kind.as_str()).is_some_and(|kind| {
                let expanded = context.expand(&kind);
                types.iter().any(|wanted| *wanted == kind || *wanted == expanded)
            }),
            Self::EventTime(op, operand) => {
                time_of(event.get("eventTime")).is_some_and(|time| op.accepts(time.cmp(operand)))
            }
            Self::RecordTime(op, operand) => op.accepts(DateTime::from(record_time).cmp(operand)),
            Self::Action(actions) => has_text(event.get("action"), actions),
            Self::Term(path, vocabulary, values) => at_path(event, path).filter_map(Node::as_str).any(|term| {
                let canonical = vocabulary.canonical(&term, context);
                values.iter().any(|value| *value == canonical)
            }),
            Self::Uri(path, values) => at_path(event, path)
                .filter_map(Node::as_str)
                .any(|uri| values.contains(&epcs::canonical(&uri, context))),
            Self::Place { field, descendants, values } => {
                let id = event.get(field).and_then(|place| place.get("id")).and_then(|id| id.as_str());
                id.is_some_and(|id| {
                    let id = epcs::canonical(&id, context);
                    values.iter().any(|value| id == *value || (*descendants && is_below(&id, value)))
                })
            }
            Self::Epc(fields, matchers) => fields
                .iter()
                .filter_map(|field| event.get(field))
                .flat_map(one_or_each)
                .filter_map(Node::as_str)
                .any(|epc| any_matches(matchers, &epc, context)),
            Self::Class(lists, matchers) => elements(event, lists)
                .filter_map(|element| element.get("epcClass")?.as_str())
                .any(|class| any_matches(matchers, &class, context)),
            Self::Typed { list, member, kind, values } => elements(event, &[list]).any(|element| {
                let vocabulary = if *member == "bizTransaction" {
                    Vocabulary::BizTransactionType
                } else {
                    Vocabulary::SourceDestType
                };
                let typed = element.get("type").and_then(|given| given.as_str());
                let value = element.get(member).and_then(|value| value.as_str());
                typed.is_some_and(|given| vocabulary.canonical(&given, context) == *kind)
                    && value.is_some_and(|value| values.contains(&epcs::canonical(&value, context)))
            }),
            Self::Quantity { op, operands, unit } => elements(event, QUANTITIES).any(|element| {
                quantity(element, unit.as_deref())
                    .is_some_and(|value| operands.iter().any(|operand| op.accepts_number(value, *operand)))
            }),
            Self::ErrorDeclared => event.get("errorDeclaration").is_some(),
            Self::DeclarationTime(op, operand) => {
                let declared = event.get("errorDeclaration").and_then(|declaration| declaration.get("declarationTime"));
                time_of(declared).is_some_and(|time| op.accepts(time.cmp(operand)))
            }
            Self::Sensor(condition) => condition.holds(event, context),
            Self::Field(condition) => condition.holds(event, context),
        }
    }

    /// Narrows the bounds on the record time by what this filter says of it.
    pub(super) fn narrow(&self, bounds: &mut (Option<Timestamp>, Option<Timestamp>)) {
        match self {
            Self::RecordTime(Op::Ge, time) => {
                let from = time.timestamp();
                bounds.0 = Some(bounds.0.map_or(from, |known| known.max(from)));
            }
            Self::RecordTime(Op::Lt, time) => {
                let to = time.timestamp();
                bounds.1 = Some(bounds.1.map_or(to, |known| known.min(to)));
            }
            _ => {}
        }
    }
}

fn elements<'a>(event: Node<'a>, lists: &[&'static str]) -> impl Iterator<Item = Node<'a>> {
    lists.iter().filter_map(move |list| event.get(list)).flat_map(Node::elements)
}

fn any_matches(matchers: &[Matcher], text: &str, context: &Context<'_>) -> bool {
    let canonical = epcs::canonical(text, context);
    matchers.iter().any(|matcher| matcher.accepts(&canonical))
}

/// A place is below another when its identifier continues the other's after a `/`: a location with an extension is below
/// the location, and whatever a user's own hierarchical URIs say.
fn is_below(id: &str, above: &str) -> bool {
    let rest = id.strip_prefix(above);
    rest.is_some_and(|rest| !rest.is_empty() && (above.ends_with('/') || rest.starts_with('/')))
}

/// The quantity of an element in the unit asked for; without a unit asked for, as it stands.
fn quantity(element: Node<'_>, unit: Option<&str>) -> Option<f64> {
    let value = element.get("quantity")?.as_f64()?;
    match unit {
        None => Some(value),
        Some(unit) => crate::units::convert(value, &element.get("uom")?.as_str()?, unit),
    }
}
