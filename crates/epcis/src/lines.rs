//! What `tradelane epcis validate` and `tradelane epcis hash` print: one line per event. Knows no files and no exit codes.

use tradelane_tape::{Limits, Tape};

use crate::hash;
use crate::rule::Violation;
use crate::validate;

/// One line for the terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The text, without line break.
    pub text: String,
    /// Whether what it speaks of is valid.
    pub valid: bool,
}

impl Line {
    fn good(text: String) -> Self {
        Self { text, valid: true }
    }

    fn bad(text: String) -> Self {
        Self { text, valid: false }
    }
}

fn unreadable(name: &str, json: &[u8], error: &tradelane_tape::ParseError) -> Line {
    let position = error.position(json);
    Line::bad(format!("{name}: invalid: line {} column {}: {}", position.line, position.column, error.reason.text()))
}

/// One line per event, `valid` or `invalid` with every place and rule; rules of the document around the events come first.
pub fn validate_lines(name: &str, json: &[u8]) -> Vec<Line> {
    let mut tape = Tape::new();
    let doc = match tape.parse(json, &Limits::DOCUMENT) {
        Ok(doc) => doc,
        Err(error) => return vec![unreadable(name, json, &error)],
    };
    let report = validate::validate(doc);
    let told = |of: Option<usize>| -> String {
        let of_it: Vec<String> =
            report.violations.iter().filter(|violation| violation.event == of).map(Violation::to_string).collect();
        of_it.join("; ")
    };
    let mut lines = Vec::with_capacity(report.events + 1);
    let around = told(None);
    if !around.is_empty() {
        lines.push(Line::bad(format!("{name}: invalid: {around}")));
    }
    for index in 0..report.events {
        let of_event = told(Some(index));
        lines.push(match of_event.as_str() {
            "" => Line::good(format!("{name}: event {index}: valid")),
            violations => Line::bad(format!("{name}: event {index}: invalid: {violations}")),
        });
    }
    if report.truncated {
        lines.push(Line::bad(format!(
            "{name}: invalid: more violations than {} are not listed",
            validate::MOST_VIOLATIONS
        )));
    }
    if lines.is_empty() {
        lines.push(Line::good(format!("{name}: valid, without events")));
    }
    lines
}

/// One line per event: its Event Hash ID and nothing else, as the standard's test vectors have it.
pub fn hash_lines(name: &str, json: &[u8]) -> Vec<Line> {
    let mut tape = Tape::new();
    match tape.parse(json, &Limits::DOCUMENT) {
        Ok(doc) => hash::document_hashes(doc).into_iter().map(Line::good).collect(),
        Err(error) => vec![unreadable(name, json, &error)],
    }
}
