//! Conditions on sensor data, with conversion of units.

use tradelane_tape::Node;

use super::epcs;
use super::fields::Op;
use crate::cbv::Vocabulary;
use crate::context::Context;
use crate::time::DateTime;
use crate::units;

/// A condition that some sensor element must meet. Each parameter is looked at for itself, as the standard words it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Condition {
    /// There is a sensor element.
    Exists,
    /// The type of a report is one of these canonical URIs.
    Type(Vec<String>),
    /// A URI of a report, or of the metadata of all reports, is one of these.
    Uri(&'static str, Vec<String>),
    /// A text of a report is one of these; hexadecimal digits compare without case.
    Text(&'static str, Vec<String>),
    /// `booleanValue`.
    Boolean(bool),
    /// A time of the metadata or of a report.
    Time(&'static str, Op, DateTime),
    /// A number of a report, in a unit when one is named.
    Number { name: &'static str, op: Op, operands: Vec<f64>, unit: Option<String> },
}

fn elements<'a>(event: Node<'a>) -> impl Iterator<Item = Node<'a>> {
    event.get("sensorElementList").into_iter().flat_map(Node::elements)
}

fn reports<'a>(event: Node<'a>) -> impl Iterator<Item = Node<'a>> {
    elements(event).filter_map(|element| element.get("sensorReport")).flat_map(Node::elements)
}

/// An attribute wherever it may stand: in the metadata of an element, or in its reports.
fn attribute<'a>(event: Node<'a>, name: &'static str) -> impl Iterator<Item = Node<'a>> {
    let metadata = elements(event).filter_map(|element| element.get("sensorMetadata"));
    metadata.chain(reports(event)).filter_map(move |object| object.get(name))
}

impl Condition {
    pub(super) fn holds(&self, event: Node<'_>, context: &Context<'_>) -> bool {
        match self {
            Self::Exists => elements(event).next().is_some(),
            Self::Type(types) => reports(event).filter_map(|report| report.get("type")?.as_str()).any(|kind| {
                let canonical = Vocabulary::MeasurementType.canonical(&kind, context);
                types.iter().any(|wanted| *wanted == canonical)
            }),
            Self::Uri(name, values) => attribute(event, name).filter_map(Node::as_str).any(|uri| {
                let canonical = epcs::canonical(&uri, context);
                values.contains(&canonical)
            }),
            Self::Text(name, values) => reports(event)
                .filter_map(|report| report.get(name)?.as_str())
                .any(|text| values.iter().any(|value| is_same(name, value, &text))),
            Self::Boolean(wanted) => {
                reports(event).any(|report| report.get("booleanValue").and_then(Node::as_bool) == Some(*wanted))
            }
            Self::Time(name, op, operand) => attribute(event, name)
                .filter_map(|value| DateTime::parse(&value.as_str()?))
                .any(|time| op.accepts(time.cmp(operand))),
            Self::Number { name, op, operands, unit } => reports(event).any(|report| {
                let value = report.get(name).and_then(Node::as_f64);
                let value = value.and_then(|value| in_unit(value, report, unit.as_deref(), *name == "sDev"));
                value.is_some_and(|value| operands.iter().any(|operand| op.accepts_number(value, *operand)))
            }),
        }
    }
}

fn is_same(name: &str, one: &str, other: &str) -> bool {
    if name == "hexBinaryValue" { one.eq_ignore_ascii_case(other) } else { one == other }
}

/// A value of a report in the unit asked for. A report without unit has no value in any. A deviation is a difference: it
/// converts without the zero point of the scale.
fn in_unit(value: f64, report: Node<'_>, unit: Option<&str>, difference: bool) -> Option<f64> {
    let Some(unit) = unit else { return Some(value) };
    let own = report.get("uom")?.as_str()?;
    let converted = units::convert(value, &own, unit)?;
    Some(if difference { converted - units::convert(0.0, &own, unit)? } else { converted })
}
