//! Objects: properties in open and closed content models, what is required, and what depends on what.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Bound, Differ, Done, Found, Pair, bounds, is_any, is_never};
use crate::SchemaProblem;

/// The longest pattern that is tried on names.
const MAX_PATTERN: usize = 4_096;
const FALSE: &Value = &Value::Bool(false);

impl<'a> Differ<'a> {
    pub(super) fn objects(&mut self, pair: Pair<'a>, at: &str, found: &mut Found) -> Done {
        required(pair, at, found);
        self.properties(pair, at, found)?;
        self.patterns(pair, at, found)?;
        self.additional(pair, at, found)?;
        self.dependencies(pair, at, found)?;
        self.names(pair, at, found)?;
        unevaluated(pair, "unevaluatedProperties", at, found);
        let all = [bound!("maxProperties", true, "MAX_PROPERTIES"), bound!("minProperties", false, "MIN_PROPERTIES")];
        bounds(pair, &all, at, found);
        Ok(())
    }

    fn properties(&mut self, pair: Pair<'a>, at: &str, found: &mut Found) -> Done {
        let all: BTreeSet<&'a String> = names(pair.old, "properties").chain(names(pair.new, "properties")).collect();
        for name in all {
            let place = format!("{at}/properties/{name}");
            match (property(pair.old, name), property(pair.new, name)) {
                (Some(old), Some(new)) => self.schemas(pair.with(old, new), &place, found)?,
                (Some(old), None) => self.removed(pair, name, old, &place, found)?,
                (None, Some(new)) => self.added(pair, name, new, &place, found)?,
                (None, None) => {}
            }
        }
        Ok(())
    }

    /// A name that the update does not know is one of those that it takes beside the known ones.
    fn removed(&mut self, pair: Pair<'a>, name: &str, old: &'a Value, place: &str, found: &mut Found) -> Done {
        match beside(pair.new, name)? {
            Beside::Open => found.fine("PROPERTY_REMOVED_FROM_OPEN_CONTENT_MODEL", place),
            Beside::Like(like) => {
                let mut inner = Found::default();
                self.schemas(pair.with(old, like), place, &mut inner)?;
                let broken = inner.broken;
                found.join(inner);
                if broken {
                    found.breaks("PROPERTY_REMOVED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL", place);
                } else {
                    found.fine("PROPERTY_REMOVED_IS_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL", place);
                }
            }
            Beside::Closed if is_never(old) => {
                found.fine("PROPERTY_WITH_FALSE_REMOVED_FROM_CLOSED_CONTENT_MODEL", place)
            }
            Beside::Closed => found.breaks("PROPERTY_REMOVED_FROM_CLOSED_CONTENT_MODEL", place),
        }
        Ok(())
    }

    /// A name that the original did not know was taken with any value, with some, or not at all.
    fn added(&mut self, pair: Pair<'a>, name: &str, new: &'a Value, place: &str, found: &mut Found) -> Done {
        match beside(pair.old, name)? {
            Beside::Open if is_any(new) && !is_required(pair.new, name) => {
                found.fine("PROPERTY_WITH_EMPTY_SCHEMA_ADDED_TO_OPEN_CONTENT_MODEL", place);
                return Ok(());
            }
            Beside::Open => {
                found.breaks("PROPERTY_ADDED_TO_OPEN_CONTENT_MODEL", place);
                return Ok(());
            }
            Beside::Like(like) => {
                let mut inner = Found::default();
                self.schemas(pair.with(like, new), place, &mut inner)?;
                let broken = inner.broken;
                found.join(inner);
                if broken {
                    found.breaks("PROPERTY_ADDED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL", place);
                } else {
                    found.fine("PROPERTY_ADDED_IS_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL", place);
                }
            }
            Beside::Closed => {}
        }
        if !is_required(pair.new, name) {
            found.fine("OPTIONAL_PROPERTY_ADDED_TO_UNOPEN_CONTENT_MODEL", place);
        } else if new.get("default").is_some() {
            found.fine("REQUIRED_PROPERTY_WITH_DEFAULT_ADDED_TO_UNOPEN_CONTENT_MODEL", place);
        } else {
            found.breaks("REQUIRED_PROPERTY_ADDED_TO_UNOPEN_CONTENT_MODEL", place);
        }
        Ok(())
    }

    /// Patterns that both have, and new ones, which narrow what an open model took.
    fn patterns(&mut self, pair: Pair<'a>, at: &str, found: &mut Found) -> Done {
        for pattern in names(pair.new, "patternProperties") {
            let of = |schema: &'a Value| schema.get("patternProperties").and_then(|all| all.get(pattern));
            let place = format!("{at}/patternProperties/{pattern}");
            match (of(pair.old), of(pair.new)) {
                (Some(old), Some(new)) => self.schemas(pair.with(old, new), &place, found)?,
                (None, Some(new)) if is_any(new) => {}
                (None, Some(new)) => match additional(pair.old) {
                    Beside::Open => found.breaks("PROPERTY_ADDED_TO_OPEN_CONTENT_MODEL", &place),
                    Beside::Like(like) => self.schemas(pair.with(like, new), &place, found)?,
                    Beside::Closed => {}
                },
                _ => {}
            }
        }
        Ok(())
    }

    fn additional(&mut self, pair: Pair<'a>, at: &str, found: &mut Found) -> Done {
        let place = format!("{at}/additionalProperties");
        match (additional(pair.old), additional(pair.new)) {
            (Beside::Closed, Beside::Closed) | (Beside::Open, Beside::Open) => {}
            (Beside::Closed, _) => found.fine("ADDITIONAL_PROPERTIES_ADDED", &place),
            (_, Beside::Closed) => found.breaks("ADDITIONAL_PROPERTIES_REMOVED", &place),
            (Beside::Open, Beside::Like(_)) => found.breaks("ADDITIONAL_PROPERTIES_NARROWED", &place),
            (Beside::Like(_), Beside::Open) => found.fine("ADDITIONAL_PROPERTIES_EXTENDED", &place),
            (Beside::Like(old), Beside::Like(new)) => self.schemas(pair.with(old, new), &place, found)?,
        }
        Ok(())
    }

    fn dependencies(&mut self, pair: Pair<'a>, at: &str, found: &mut Found) -> Done {
        for word in ["dependencies", "dependentRequired", "dependentSchemas"] {
            let all: BTreeSet<&'a String> = names(pair.old, word).chain(names(pair.new, word)).collect();
            for name in all {
                let of = |schema: &'a Value| schema.get(word).and_then(|all| all.get(name));
                let place = format!("{at}/{word}/{name}");
                match (of(pair.old), of(pair.new)) {
                    (Some(old), None) if old.is_array() => found.fine("DEPENDENCY_ARRAY_REMOVED", &place),
                    (Some(_), None) => found.fine("DEPENDENCY_SCHEMA_REMOVED", &place),
                    (None, Some(new)) if new.is_array() => found.breaks("DEPENDENCY_ARRAY_ADDED", &place),
                    (None, Some(_)) => found.breaks("DEPENDENCY_SCHEMA_ADDED", &place),
                    (Some(Value::Array(old)), Some(Value::Array(new))) => {
                        let within = |a: &[Value], b: &[Value]| a.iter().all(|name| b.contains(name));
                        match (within(old, new), within(new, old)) {
                            (true, true) => {}
                            (true, false) => found.breaks("DEPENDENCY_ARRAY_EXTENDED", &place),
                            (false, true) => found.fine("DEPENDENCY_ARRAY_NARROWED", &place),
                            (false, false) => found.breaks("DEPENDENCY_ARRAY_CHANGED", &place),
                        }
                    }
                    (Some(old), Some(new)) if old.is_array() || new.is_array() => {
                        found.breaks("DEPENDENCY_ARRAY_CHANGED", &place);
                    }
                    (Some(old), Some(new)) => self.schemas(pair.with(old, new), &place, found)?,
                    (None, None) => {}
                }
            }
        }
        Ok(())
    }

    fn names(&mut self, pair: Pair<'a>, at: &str, found: &mut Found) -> Done {
        let place = format!("{at}/propertyNames");
        match pair.keyword("propertyNames") {
            (_, None) => Ok(()),
            (None, Some(_)) => {
                found.breaks("SCHEMA_ADDED", &place);
                Ok(())
            }
            (Some(old), Some(new)) => self.schemas(pair.with(old, new), &place, found),
        }
    }
}

/// What depends on other keywords' outcome: nothing can be told of a change but that it is gone.
pub(super) fn unevaluated(pair: Pair<'_>, word: &str, at: &str, found: &mut Found) {
    let (old, new) = pair.keyword(word);
    if new.is_some_and(|new| !is_any(new)) && old != new && old != Some(FALSE) {
        found.breaks("SCHEMA_ADDED", &format!("{at}/{word}"));
    }
}

/// What is taken beside the named properties.
pub(super) enum Beside<'a> {
    /// Anything.
    Open,
    /// What keeps this schema.
    Like(&'a Value),
    /// Nothing.
    Closed,
}

/// Under that name.
fn beside<'a>(schema: &'a Value, name: &str) -> Result<Beside<'a>, SchemaProblem> {
    for (pattern, like) in schema.get("patternProperties").and_then(Value::as_object).into_iter().flatten() {
        if pattern.len() > MAX_PATTERN {
            return Err(SchemaProblem::TooLarge("4096 bytes in a pattern"));
        }
        // A pattern that this engine does not know cannot be told to match.
        let expression = regex::RegexBuilder::new(pattern).size_limit(1 << 20).dfa_size_limit(1 << 20).build();
        if expression.is_ok_and(|expression| expression.is_match(name)) {
            return Ok(Beside::Like(like));
        }
    }
    Ok(additional(schema))
}

/// Under a name that no pattern matches.
fn additional(schema: &Value) -> Beside<'_> {
    match schema.get("additionalProperties") {
        None => Beside::Open,
        Some(schema) if is_never(schema) => Beside::Closed,
        Some(schema) if is_any(schema) => Beside::Open,
        Some(schema) => Beside::Like(schema),
    }
}

fn names<'a>(schema: &'a Value, word: &str) -> impl Iterator<Item = &'a String> {
    schema.get(word).and_then(Value::as_object).into_iter().flat_map(|members| members.keys())
}

fn property<'a>(schema: &'a Value, name: &str) -> Option<&'a Value> {
    schema.get("properties")?.get(name)
}

fn is_required(schema: &Value, name: &str) -> bool {
    super::list(schema, "required").iter().any(|required| required == name)
}

fn required(pair: Pair<'_>, at: &str, found: &mut Found) {
    let of = |schema: &Value| -> BTreeSet<String> {
        super::list(schema, "required").iter().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let (old, new) = (of(pair.old), of(pair.new));
    for name in old.difference(&new) {
        found.fine("REQUIRED_ATTRIBUTE_REMOVED", &format!("{at}/required/{name}"));
    }
    for name in new.difference(&old) {
        let place = format!("{at}/required/{name}");
        match (property(pair.old, name), property(pair.new, name)) {
            // Told with the property that is new.
            (None, Some(_)) => {}
            (_, Some(property)) if property.get("default").is_some() => {
                found.fine("REQUIRED_ATTRIBUTE_WITH_DEFAULT_ADDED", &place);
            }
            _ => found.breaks("REQUIRED_ATTRIBUTE_ADDED", &place),
        }
    }
}
