//! The value checks that every part of an event shares, and where violations are collected. Knows no field.

use tradelane_tape::{Key, Kind, Node, pointer};

use super::MOST_VIOLATIONS;
use crate::cbv::{CBV_URN, GS1_VOC, Term, Vocabulary};
use crate::context::Context;
use crate::digital_link::{self, Problem};
use crate::epc::{self, Reading};
use crate::rule::{Rule, Violation};
use crate::time::DateTime;
use crate::uri::is_uri;

/// The violations so far.
#[derive(Default)]
pub(super) struct Found {
    violations: Vec<Violation>,
    truncated: bool,
}

impl Found {
    pub(super) fn take(self) -> (Vec<Violation>, bool) {
        (self.violations, self.truncated)
    }
}

/// Checks values of one event (or of the document around the events) and notes what is wrong with them.
pub(super) struct Checker<'c, 'a> {
    base: Node<'a>,
    event: Option<usize>,
    context: &'c Context<'c>,
    found: &'c mut Found,
}

impl<'c, 'a> Checker<'c, 'a> {
    /// `base` is where pointers start.
    pub(super) fn new(base: Node<'a>, event: Option<usize>, context: &'c Context<'c>, found: &'c mut Found) -> Self {
        Self { base, event, context, found }
    }

    /// Notes a violation at a value.
    pub(super) fn fail(&mut self, at: Node<'_>, rule: Rule) {
        if self.found.violations.len() >= MOST_VIOLATIONS {
            self.found.truncated = true;
            return;
        }
        let place = pointer::path_to(self.base, at.index());
        self.found.violations.push(Violation { place, event: self.event, rule });
    }

    /// Whether the value is of the kind; notes it when not.
    pub(super) fn is(&mut self, node: Node<'_>, kind: Kind) -> bool {
        let right = node.kind() == kind;
        if !right {
            self.fail(node, Rule::WrongKind);
        }
        right
    }

    /// Runs a check of its text on a string; notes anything that is no string.
    pub(super) fn text<T>(&mut self, node: Node<'_>, check: impl FnOnce(&mut Self, &str) -> T) -> Option<T> {
        if let Some(text) = node.raw_str() {
            return Some(check(self, text));
        }
        match node.as_str() {
            Some(text) => Some(check(self, &text)),
            None => {
                self.fail(node, Rule::WrongKind);
                None
            }
        }
    }

    /// Any absolute URI. EPC URIs must keep their grammar, Digital Link URIs of id.gs1.org theirs.
    pub(super) fn uri(&mut self, node: Node<'_>) {
        self.uri_like(node, false);
    }

    /// A URI that may name a GS1 key: in addition, check digits count in Digital Link URIs of any domain.
    pub(super) fn key(&mut self, node: Node<'_>) {
        self.uri_like(node, true);
    }

    fn uri_like(&mut self, node: Node<'_>, any_domain: bool) {
        self.text(node, |checker, text| {
            if !is_uri(text) {
                checker.fail(node, Rule::NoUri);
            } else if text.starts_with("urn:epc:") {
                if epc::read(text) == Reading::Malformed {
                    checker.fail(node, Rule::EpcMalformed);
                }
            } else if text.starts_with("http")
                && (any_domain || text.contains("//id.gs1.org/"))
                && let Err(problem) = digital_link::check(text)
            {
                let rule = match problem {
                    Problem::Syntax => Rule::LinkMalformed,
                    Problem::CheckDigit => Rule::CheckDigit,
                };
                checker.fail(node, rule);
            }
        });
    }

    /// A date and time with zone.
    pub(super) fn time(&mut self, node: Node<'_>, rule: Rule) -> Option<DateTime> {
        self.text(node, |checker, text| {
            let time = DateTime::parse(text);
            if time.is_none() {
                checker.fail(node, rule);
            }
            time
        })
        .flatten()
    }

    /// A number; its value when it fits one.
    pub(super) fn number(&mut self, node: Node<'_>) -> Option<f64> {
        if self.is(node, Kind::Number) { node.as_f64() } else { None }
    }

    /// A term of a vocabulary: a standard bare word, or a URI. As in GS1's schema, the URI forms that JSON does not use
    /// for standard words (URNs, web vocabulary URIs) are refused, and so are unknown words in the standard's namespaces.
    pub(super) fn term(&mut self, vocabulary: Vocabulary, node: Node<'_>, rule: Rule) -> Option<&'static str> {
        self.text(node, |checker, text| {
            let term = vocabulary.read(text);
            let written_as_uri = text.contains(':');
            let right = match term {
                Term::Standard(_) => !(written_as_uri && is_form_of_another_syntax(vocabulary, text)),
                Term::UnknownStandard => false,
                Term::Other => is_uri(text) && !text.starts_with(CBV_URN),
            };
            if !right {
                checker.fail(node, rule);
            }
            match term {
                Term::Standard(word) => Some(word),
                _ => None,
            }
        })
        .flatten()
    }

    /// Runs a check on every element of an array; notes anything that is no array.
    pub(super) fn each(&mut self, node: Node<'a>, mut check: impl FnMut(&mut Self, Node<'a>)) {
        if self.is(node, Kind::Array) {
            for element in node.elements() {
                check(self, element);
            }
        }
    }

    /// Refuses a value that stands twice in a list of strings.
    pub(super) fn distinct(&mut self, node: Node<'a>) {
        const SMALL: usize = 12;
        if node.kind() != Kind::Array {
            return;
        }
        let repeated = if node.len() <= SMALL {
            node.elements().enumerate().find_map(|(at, element)| {
                node.elements().take(at).any(|earlier| same(earlier, element)).then_some(element)
            })
        } else {
            let mut seen = std::collections::HashSet::with_capacity(node.len());
            node.elements().find(|element| element.as_str().is_some_and(|text| !seen.insert(text)))
        };
        if let Some(element) = repeated {
            self.fail(element, Rule::Repeated);
        }
    }

    /// A field that the standard does not define at this place: an extension, or a mistake.
    pub(super) fn extension(&mut self, key: Key<'_>, value: Node<'_>) {
        let name = key.as_str();
        if let Some(rule) = self.extension_problem(&name, Rule::UnknownField) {
            self.fail(value, rule);
        }
    }

    /// What is wrong with the name of an extension; `plain` when it has no namespace at all.
    pub(super) fn extension_problem(&self, name: &str, plain: Rule) -> Option<Rule> {
        let Some((prefix, local)) = name.split_once(':') else { return Some(plain) };
        if !is_uri(name) {
            return Some(Rule::ExtensionName);
        }
        let known = local.starts_with("//")
            || prefix.eq_ignore_ascii_case("urn")
            || self.context.namespace(prefix).is_some()
            || self.context.is_partly_unknown();
        (!known).then_some(Rule::UndeclaredPrefix)
    }
}

fn same(one: Node<'_>, other: Node<'_>) -> bool {
    match (one.raw_str(), other.raw_str()) {
        (Some(one), Some(other)) => one == other,
        _ => one.as_str().is_some_and(|one| other.as_str().is_some_and(|other| one == other)),
    }
}

/// The spellings of standard words that GS1's JSON schema refuses.
fn is_form_of_another_syntax(vocabulary: Vocabulary, text: &str) -> bool {
    match vocabulary {
        Vocabulary::MeasurementType | Vocabulary::SensorAlert => {
            text.starts_with(GS1_VOC) || text.contains("gs1.org/voc/")
        }
        _ => text.starts_with(CBV_URN) || text.contains("://ns.gs1.org/cbv/"),
    }
}
