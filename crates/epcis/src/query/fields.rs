//! Comparing extension fields: their names, where they are looked for, and their values.

use tradelane_tape::{Kind, Node};

use crate::context::Context;
use crate::time::DateTime;
use crate::units;

/// How a value is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    Eq,
    Gt,
    Ge,
    Lt,
    Le,
}

impl Op {
    /// Whether a value that compares so with the operand is accepted.
    pub(super) fn accepts(self, ordering: std::cmp::Ordering) -> bool {
        match self {
            Self::Eq => ordering.is_eq(),
            Self::Gt => ordering.is_gt(),
            Self::Ge => ordering.is_ge(),
            Self::Lt => ordering.is_lt(),
            Self::Le => ordering.is_le(),
        }
    }

    /// Compares two numbers, one of which may have been converted.
    pub(super) fn accepts_number(self, value: f64, operand: f64) -> bool {
        units::compare(value, operand).is_some_and(|ordering| self.accepts(ordering))
    }
}

/// The name of an extension field: a full URI, or as it was written when its prefix is declared nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    expanded: String,
    written: String,
}

impl Name {
    /// Reads the name of a field; `None` when it has no namespace.
    pub(super) fn of(text: &str, prefixes: &Context<'_>) -> Option<Self> {
        let (prefix, local) = text.split_once(':')?;
        let shaped = !prefix.is_empty() && !local.is_empty() && !text.chars().any(char::is_whitespace);
        shaped.then(|| Self { expanded: joined(text, prefixes), written: text.to_owned() })
    }

    /// Whether a key of an event is this field.
    pub(super) fn is(&self, key: &str, context: &Context<'_>) -> bool {
        key.contains(':') && (key == self.written || joined(key, context) == self.expanded)
    }
}

/// Namespace and local name as one URI. The standard's prose separates them with `#` where the namespace ends in none.
fn joined(name: &str, context: &Context<'_>) -> String {
    context.split_key(name).map_or_else(
        || name.to_owned(),
        |(namespace, local)| {
            let namespace = namespace.trim_end_matches(['#', '/']);
            format!("{namespace}#{local}")
        },
    )
}

/// Where an extension field is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    Event,
    Ilmd,
    ErrorDeclaration,
    ReadPoint,
    BizLocation,
    SensorElement,
    SensorMetadata,
    SensorReport,
}

impl Scope {
    /// Runs a check on the objects of the scope until one passes.
    fn any<'a>(self, event: Node<'a>, mut check: impl FnMut(Node<'a>) -> bool) -> bool {
        let member = |name: &str| event.get(name);
        match self {
            Self::Event => check(event),
            Self::Ilmd => member("ilmd").is_some_and(check),
            Self::ErrorDeclaration => member("errorDeclaration").is_some_and(check),
            Self::ReadPoint => member("readPoint").is_some_and(check),
            Self::BizLocation => member("bizLocation").is_some_and(check),
            Self::SensorElement => member("sensorElementList").into_iter().flat_map(Node::elements).any(check),
            Self::SensorMetadata => member("sensorElementList")
                .into_iter()
                .flat_map(Node::elements)
                .filter_map(|element| element.get("sensorMetadata"))
                .any(check),
            Self::SensorReport => member("sensorElementList")
                .into_iter()
                .flat_map(Node::elements)
                .filter_map(|element| element.get("sensorReport"))
                .flat_map(Node::elements)
                .any(&mut check),
        }
    }
}

/// A value that an extension field is compared with.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Operand {
    text: String,
    number: Option<f64>,
    time: Option<DateTime>,
}

impl Operand {
    pub(super) fn of(text: &str) -> Self {
        let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
        Self { text: text.to_owned(), number, time: DateTime::parse(text) }
    }

    /// Whether it can be ordered: `GT`, `GE`, `LT` and `LE` take numbers and times.
    pub(super) fn is_ordered(&self) -> bool {
        self.number.is_some() || self.time.is_some()
    }

    fn accepts(&self, op: Op, value: Node<'_>, context: &Context<'_>) -> bool {
        match value.kind() {
            Kind::Array => value.elements().any(|one| self.accepts(op, one, context)),
            Kind::Number => match (value.as_f64(), self.number) {
                (Some(value), Some(operand)) => op.accepts_number(value, operand),
                _ => false,
            },
            Kind::Bool => op == Op::Eq && value.as_bool() == self.text.parse().ok(),
            Kind::String => {
                let text = value.as_str().unwrap_or_default();
                if op == Op::Eq && (text == self.text || context.expand(&text) == self.text) {
                    return true;
                }
                if let (Some(value), Some(operand)) = (DateTime::parse(&text), self.time) {
                    return op.accepts(value.cmp(&operand));
                }
                match (text.parse::<f64>(), self.number) {
                    (Ok(value), Some(operand)) => op.accepts_number(value, operand),
                    _ => false,
                }
            }
            Kind::Null | Kind::Object => false,
        }
    }
}

/// A condition on an extension field.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Condition {
    pub(super) scope: Scope,
    /// Whether the field is looked for inside of other extensions, at any depth, instead of at the top.
    pub(super) inner: bool,
    pub(super) name: Name,
    /// The comparison and its operands, one of which must hold; `None`: the field exists.
    pub(super) test: Option<(Op, Vec<Operand>)>,
}

impl Condition {
    pub(super) fn holds(&self, event: Node<'_>, context: &Context<'_>) -> bool {
        self.scope.any(event, |object| {
            if !self.inner {
                return self.among(object, context);
            }
            object.members().any(|(key, value)| key.as_str().contains(':') && self.within(value, context))
        })
    }

    fn within(&self, value: Node<'_>, context: &Context<'_>) -> bool {
        match value.kind() {
            Kind::Object => self.among(value, context) || value.members().any(|(_, inner)| self.within(inner, context)),
            Kind::Array => value.elements().any(|inner| self.within(inner, context)),
            _ => false,
        }
    }

    fn among(&self, object: Node<'_>, context: &Context<'_>) -> bool {
        object.members().any(|(key, value)| {
            self.name.is(&key.as_str(), context)
                && self
                    .test
                    .as_ref()
                    .is_none_or(|(op, operands)| operands.iter().any(|operand| operand.accepts(*op, value, context)))
        })
    }
}
