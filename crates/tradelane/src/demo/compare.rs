//! The same event as each partner sees it: one row per field, one column per partner.

use std::collections::BTreeMap;

use serde_json::Value;

use super::stage::Stage;
use super::world::PARTNERS;
use crate::out::Tone;

/// The width of the first column, and the least of the others.
const FIELD: usize = 26;
const LEAST: usize = 12;

/// Leaf values by their place, in the order of the document. Extension prefixes are left out of the names.
pub(super) fn fields(event: &Value) -> Vec<(String, Value)> {
    let mut all = Vec::new();
    walk("", event, &mut all);
    all
}

fn walk(at: &str, value: &Value, all: &mut Vec<(String, Value)>) {
    let join = |name: &str| if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") };
    match value {
        Value::Object(members) => members.iter().for_each(|(name, inner)| {
            let short = name.rsplit_once(':').map_or(name.as_str(), |(_, short)| short);
            walk(&join(if short.is_empty() { name } else { short }), inner, all);
        }),
        Value::Array(elements) => elements.iter().enumerate().for_each(|(i, inner)| {
            let name = if elements.len() == 1 { at.to_owned() } else { format!("{at}[{i}]") };
            walk(&name, inner, all);
        }),
        leaf => all.push((at.to_owned(), leaf.clone())),
    }
}

/// One event in the eyes of all partners; a partner that does not get the event has none.
pub(super) struct Seen {
    pub(super) by: Vec<Option<Value>>,
}

/// How many fields each partner saw as they were, changed, and not at all.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Tally {
    pub(super) shown: usize,
    pub(super) changed: usize,
    pub(super) gone: usize,
}

impl Tally {
    /// Adds another event's.
    pub(super) fn add(&mut self, other: Self) {
        self.shown += other.shown;
        self.changed += other.changed;
        self.gone += other.gone;
    }

    fn count(&mut self, tone: Tone) {
        match tone {
            Tone::Good => self.shown += 1,
            Tone::Warn => self.changed += 1,
            _ => self.gone += 1,
        }
    }
}

/// What is seen of an event.
pub(super) fn tally(full: &Value, seen: Option<&Value>) -> Tally {
    let seen: Option<BTreeMap<String, Value>> = seen.map(|event| fields(event).into_iter().collect());
    let mut sum = Tally::default();
    for (place, value) in fields(full) {
        sum.count(cell(seen.as_ref().map(|view| view.get(&place)), &value, LEAST).0);
    }
    sum
}

impl Seen {
    /// Prints the table; rows on which all agree are counted only. Returns the partners' tallies.
    pub(super) fn print(&self, stage: &Stage, most: usize) -> Vec<Tally> {
        let out = stage.out;
        let header: Vec<String> = PARTNERS.iter().map(|p| format!("{}\n{}", p.name, p.role)).collect();
        let mut titles = vec!["field"];
        titles.extend(header.iter().map(String::as_str));
        let mut table = out.grid(&titles);
        let views: Vec<Option<BTreeMap<String, Value>>> =
            self.by.iter().map(|event| event.as_ref().map(|event| fields(event).into_iter().collect())).collect();
        let owner = self.by.first().and_then(Option::as_ref).map(fields).unwrap_or_default();
        let mut tallies = vec![Tally::default(); views.len()];
        let (mut same, mut left) = (0, 0);
        let borders = 3 * (views.len() + 1) + 1;
        let width = (out.width().saturating_sub(FIELD + borders) / views.len().max(1)).max(LEAST);
        for (place, full) in &owner {
            let cells: Vec<(Tone, String)> =
                views.iter().map(|view| cell(view.as_ref().map(|view| view.get(place)), full, width)).collect();
            for ((tone, _), tally) in cells.iter().zip(&mut tallies) {
                tally.count(*tone);
            }
            if cells.iter().all(|(tone, _)| *tone == Tone::Good) {
                same += 1;
            } else if table.row_count() < most {
                let mut row = vec![out.cell(Tone::Plain, label(place))];
                row.extend(cells.into_iter().map(|(tone, text)| out.cell(tone, text)));
                table.add_row(row);
            } else {
                left += 1;
            }
        }
        out.print(&table);
        let more = if left > 0 { format!(" {left} more differ.") } else { String::new() };
        stage.say(format!("{same} more fields are the same for all.{more}"));
        tallies
    }
}

/// The end of a place says what it is; its beginning is shown if there is room.
fn label(place: &str) -> String {
    if place.chars().count() <= FIELD {
        return place.to_owned();
    }
    let mut parts = place.rsplitn(3, '.');
    let (last, before) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    shorten(&format!("{before}.{last}"), FIELD)
}

fn cell(seen: Option<Option<&Value>>, full: &Value, width: usize) -> (Tone, String) {
    match seen {
        None => (Tone::Dim, "no such event".into()),
        Some(None | Some(Value::Null)) if !full.is_null() => (Tone::Bad, "—".into()),
        Some(None) => (Tone::Bad, "—".into()),
        Some(Some(value)) if value == full => (Tone::Good, shorten(&plain(value), width)),
        Some(Some(value)) => (Tone::Warn, shorten(&plain(value), width)),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The text, or its beginning and its end.
pub(super) fn shorten(text: &str, most: usize) -> String {
    let count = text.chars().count();
    if count <= most {
        return text.to_owned();
    }
    let tail = (most - 1) / 3;
    let head: String = text.chars().take(most - 1 - tail).collect();
    let tail: String = text.chars().skip(count - tail).collect();
    format!("{head}…{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_named_by_their_place_without_prefixes() {
        let event = serde_json::json!({"a:b": {"c": [1], "d": [2, {"e:f": "x"}]}, "g": null});
        let names: Vec<String> = fields(&event).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["b.c", "b.d[0]", "b.d[1].f", "g"]);
    }

    #[test]
    fn a_long_text_keeps_its_two_ends() {
        assert_eq!(shorten("short", 10), "short");
        assert_eq!(shorten("urn:epc:id:sscc:9506000.1000404711", 16), "urn:epc:id…04711");
    }
}
