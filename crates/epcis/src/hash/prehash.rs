//! The order of an event's fields in its pre-hash string: the standard's for its own fields, sorted for the rest.

use tradelane_tape::{Kind, Node};

use super::value;
use crate::cbv::Vocabulary;
use crate::context::Context;

/// How the value of a field is written.
#[derive(Clone, Copy)]
enum Form {
    /// A value, or each of a list of values, as `name=value`.
    Plain,
    /// A time.
    Time,
    /// A term of a vocabulary.
    Term(Vocabulary),
    /// A list: its name once, then each element as `epc=value`.
    Epcs,
    /// A list of objects: its name once, then each as the element's name and these fields.
    Elements(&'static str, &'static [(&'static str, Form)]),
    /// An object with these fields, or a list of such objects, each under the field's name.
    Parts(&'static [(&'static str, Form)]),
}

use Form::{Elements, Epcs, Parts, Plain, Term, Time};

const QUANTITY: &[(&str, Form)] = &[("epcClass", Plain), ("quantity", Plain), ("uom", Plain)];

const SENSOR: &[(&str, Form)] = &[
    (
        "sensorMetadata",
        Parts(&[
            ("time", Time),
            ("startTime", Time),
            ("endTime", Time),
            ("deviceID", Plain),
            ("deviceMetadata", Plain),
            ("rawData", Plain),
            ("dataProcessingMethod", Plain),
            ("bizRules", Plain),
        ]),
    ),
    (
        "sensorReport",
        Parts(&[
            ("type", Term(Vocabulary::MeasurementType)),
            ("exception", Term(Vocabulary::SensorAlert)),
            ("deviceID", Plain),
            ("deviceMetadata", Plain),
            ("rawData", Plain),
            ("dataProcessingMethod", Plain),
            ("time", Time),
            ("microorganism", Plain),
            ("chemicalSubstance", Plain),
            ("value", Plain),
            ("component", Term(Vocabulary::Component)),
            ("stringValue", Plain),
            ("booleanValue", Plain),
            ("hexBinaryValue", Plain),
            ("uriValue", Plain),
            ("minValue", Plain),
            ("maxValue", Plain),
            ("meanValue", Plain),
            ("sDev", Plain),
            ("percRank", Plain),
            ("percValue", Plain),
            ("uom", Plain),
            ("coordinateReferenceSystem", Plain),
        ]),
    ),
];

const ORDER: &[(&str, Form)] = &[
    ("eventTime", Time),
    ("eventTimeZoneOffset", Plain),
    ("certificationInfo", Plain),
    ("parentID", Plain),
    ("epcList", Epcs),
    ("inputEPCList", Epcs),
    ("childEPCs", Epcs),
    ("quantityList", Elements("quantityElement", QUANTITY)),
    ("childQuantityList", Elements("quantityElement", QUANTITY)),
    ("inputQuantityList", Elements("quantityElement", QUANTITY)),
    ("outputEPCList", Epcs),
    ("outputQuantityList", Elements("quantityElement", QUANTITY)),
    ("action", Plain),
    ("transformationID", Plain),
    ("bizStep", Term(Vocabulary::BizStep)),
    ("disposition", Term(Vocabulary::Disposition)),
    (
        "persistentDisposition",
        Parts(&[("set", Term(Vocabulary::Disposition)), ("unset", Term(Vocabulary::Disposition))]),
    ),
    ("readPoint", Parts(&[("id", Plain)])),
    ("bizLocation", Parts(&[("id", Plain)])),
    ("sensorElementList", Elements("sensorElement", SENSOR)),
];

/// Fields of an event that are never hashed.
const LEFT_OUT: &[&str] = &["@context", "recordTime", "eventID", "type", "errorDeclaration"];

/// Comments are no part of what happened.
const COMMENTS: &[&str] = &["rdfs:comment", "comment", "#text"];

/// The lists of typed values: their name, the member that holds the value, the vocabulary of the type.
const TYPED: &[(&str, &str, Vocabulary)] = &[
    ("bizTransactionList", "bizTransaction", Vocabulary::BizTransactionType),
    ("sourceList", "source", Vocabulary::SourceDestType),
    ("destinationList", "destination", Vocabulary::SourceDestType),
];

struct Writer<'w> {
    context: &'w Context<'w>,
    ignored: &'w [String],
}

/// The pre-hash string of an event.
pub(super) fn event(event: Node<'_>, context: &Context<'_>, ignored: &[String]) -> String {
    let writer = Writer { context, ignored };
    let mut out = String::with_capacity(1024);
    out.push_str("eventType=");
    if let Some(kind) = event.get("type").and_then(|kind| kind.as_str()) {
        out.push_str(&context.expand(&kind));
    }
    for (name, form) in ORDER {
        if let Some(value) = event.get(name).filter(|_| !writer.ignores(name)) {
            out.push_str(&writer.field(name, *form, value));
        }
    }
    out.push_str(&writer.rest(event));
    out
}

impl Writer<'_> {
    fn ignores(&self, name: &str) -> bool {
        COMMENTS.contains(&name) || self.ignored.iter().any(|ignored| ignored == name)
    }

    /// One field of the standard; empty when it says nothing.
    fn field(&self, name: &str, form: Form, node: Node<'_>) -> String {
        match form {
            Plain | Time | Term(_) => self.each(node, |one| self.scalar(name, form, one)),
            Epcs => named(name, self.each(node, |one| self.scalar("epc", Plain, one))),
            Elements(element, fields) => named(name, self.each(node, |one| named(element, self.fields(one, fields)))),
            Parts(fields) => self.each(node, |one| named(name, self.fields(one, fields))),
        }
    }

    /// Every element of an array, or the value itself, sorted and joined.
    fn each<'a>(&self, node: Node<'a>, write: impl Fn(Node<'a>) -> String) -> String {
        if node.kind() != Kind::Array {
            return write(node);
        }
        let mut parts: Vec<String> = node.elements().map(write).collect();
        parts.sort_unstable();
        parts.concat()
    }

    fn scalar(&self, name: &str, form: Form, node: Node<'_>) -> String {
        let text = value::text_of(node);
        let canonical = match form {
            Time => value::time(&text),
            Term(vocabulary) => {
                let term = vocabulary.canonical(text.trim(), self.context);
                value::canonical(&term, self.context)
            }
            _ => value::canonical(&text, self.context),
        };
        if canonical.is_empty() { String::new() } else { format!("{name}={canonical}") }
    }

    /// The fields of an object in their order, then its extensions.
    fn fields(&self, node: Node<'_>, fields: &[(&str, Form)]) -> String {
        let mut out = String::new();
        for (name, form) in fields {
            if let Some(value) = node.get(name).filter(|_| !self.ignores(name)) {
                out.push_str(&self.field(name, *form, value));
            }
        }
        let mut extensions: Vec<String> = Vec::new();
        for (key, value) in node.members() {
            let name = key.as_str();
            if name.contains(':') && !self.ignores(&name) {
                self.generic(&name, value, &mut extensions);
            }
        }
        extensions.sort_unstable();
        out.push_str(&extensions.concat());
        out
    }

    /// What the order does not name, sorted: typed lists, `ilmd`, extensions.
    fn rest(&self, event: Node<'_>) -> String {
        let mut parts: Vec<String> = Vec::new();
        for (key, value) in event.members() {
            let name = key.as_str();
            let done = LEFT_OUT.contains(&&*name) || ORDER.iter().any(|(known, _)| *known == name);
            if done || self.ignores(&name) {
                continue;
            }
            match TYPED.iter().find(|(list, _, _)| *list == name) {
                Some((_, member, vocabulary)) => {
                    let inner = self.each(value, |one| self.typed(member, *vocabulary, one));
                    parts.push(named(&name, inner));
                }
                None => self.generic(&name, value, &mut parts),
            }
        }
        parts.push(self.business_rules(event));
        parts.sort_unstable();
        parts.concat()
    }

    /// `bizRules` of sensor reports: the order does not name it there, so it comes with what is left, in its shells.
    fn business_rules(&self, event: Node<'_>) -> String {
        let Some(list) = event.get("sensorElementList").filter(|_| !self.ignores("bizRules")) else {
            return String::new();
        };
        let report = |one: Node<'_>| {
            let rules = one.get("bizRules").map(|value| self.scalar("bizRules", Plain, value));
            named("sensorReport", rules.unwrap_or_default())
        };
        let element = |one: Node<'_>| {
            let reports = one.get("sensorReport").map(|reports| self.each(reports, report));
            named("sensorElement", reports.unwrap_or_default())
        };
        named("sensorElementList", self.each(list, element))
    }

    /// `type=...` first, then the value, as the vectors have it.
    fn typed(&self, member: &str, vocabulary: Vocabulary, node: Node<'_>) -> String {
        let part = |name: &str, form| node.get(name).map(|value| self.scalar(name, form, value)).unwrap_or_default();
        format!("{}{}", part("type", Term(vocabulary)), part(member, Plain))
    }

    /// A field of whatever kind, under its expanded name; an array gives one entry per element.
    fn generic(&self, name: &str, node: Node<'_>, out: &mut Vec<String>) {
        let key = match self.context.split_key(name) {
            Some((namespace, local)) => format!("{{{namespace}}}{local}"),
            None => name.to_owned(),
        };
        // As in XML, a list's name stands once and its elements have that name without `List`.
        if let Some(element) = key.strip_suffix("List").filter(|element| !element.is_empty()) {
            let inner = self.each(node, |one| format!("{element}{}", self.content(one)));
            if !(node.kind() == Kind::Array && node.is_empty()) {
                out.push(format!("{key}{inner}"));
            }
        } else if node.kind() == Kind::Array {
            out.extend(node.elements().map(|one| format!("{key}{}", self.content(one))));
        } else {
            out.push(format!("{key}{}", self.content(node)));
        }
    }

    /// `=value`, or the members of an object, or the elements of an array within an array.
    fn content(&self, node: Node<'_>) -> String {
        match node.kind() {
            Kind::Object => {
                let mut parts: Vec<String> = Vec::new();
                for (key, value) in node.members() {
                    let name = key.as_str();
                    if !self.ignores(&name) {
                        self.generic(&name, value, &mut parts);
                    }
                }
                parts.sort_unstable();
                parts.concat()
            }
            Kind::Array => self.each(node, |one| self.content(one)),
            _ => {
                let text = value::canonical(&value::text_of(node), self.context);
                if text.is_empty() { text } else { format!("={text}") }
            }
        }
    }
}

/// A name before what it holds; nothing when it holds nothing.
fn named(name: &str, inner: String) -> String {
    if inner.is_empty() { inner } else { format!("{name}{inner}") }
}
