//! Does one JSON Schema take all that another one takes? Told as the changes between them, each with its place and whether
//! it is harmless.
//!
//! The names of changes and what is harmless are those that Confluent's registry answers with, since clients show them.
//! The method is our own: a schema is a conjunction of keywords, and each keyword of the update must follow from the
//! original's. What cannot be told is not compatible.

/// A [`Bound`] by its keyword, whether it is an upper one, and how its changes are called.
macro_rules! bound {
    ($word:literal, $upper:literal, $name:literal) => {
        Bound {
            word: $word,
            is_upper: $upper,
            names: [
                concat!($name, "_ADDED"),
                concat!($name, "_REMOVED"),
                concat!($name, "_INCREASED"),
                concat!($name, "_DECREASED"),
            ],
        }
    };
}

mod array;
mod bounds;
mod object;

use std::collections::BTreeSet;

use serde_json::Value;

use bounds::{Bound, bounds, numbers, text};

use super::JsonSchema;
use crate::SchemaProblem;
use crate::difference::{Difference, MAX_TOLD};

/// How deep pairs of schemas may nest.
const MAX_DEPTH: usize = 128;
/// The changes from `original` to `update`. The update takes all that the original takes if each of them is compatible.
/// `steps` is how many pairs of schemas may still be looked at, at first [`crate::STEPS`].
///
/// # Errors
/// [`SchemaProblem`] if a reference leads nowhere, or comparing takes more work than is spent on it.
pub(crate) fn compare(
    original: &JsonSchema,
    update: &JsonSchema,
    steps: &mut usize,
) -> Result<Vec<Difference>, SchemaProblem> {
    if original == update {
        return Ok(Vec::new());
    }
    let mut differ = Differ { old: original, new: update, steps: *steps, depth: 0, open: BTreeSet::new() };
    let mut found = Found::default();
    let pair = Pair { old: original.root(), old_in: original.root(), new: update.root(), new_in: update.root() };
    let done = differ.schemas(pair, "#", &mut found);
    *steps = differ.steps;
    done.map(|()| found.all)
}

/// Two schemas, and the documents that they are in.
#[derive(Clone, Copy)]
struct Pair<'a> {
    old: &'a Value,
    old_in: &'a Value,
    new: &'a Value,
    new_in: &'a Value,
}

impl<'a> Pair<'a> {
    fn with(self, old: &'a Value, new: &'a Value) -> Self {
        Self { old, new, ..self }
    }

    fn keyword(&self, name: &str) -> (Option<&'a Value>, Option<&'a Value>) {
        (self.old.get(name), self.new.get(name))
    }
}

/// Changes so far.
#[derive(Default)]
struct Found {
    all: Vec<Difference>,
    broken: bool,
}

impl Found {
    fn fine(&mut self, kind: &'static str, at: &str) {
        self.push(kind, at, true);
    }

    fn breaks(&mut self, kind: &'static str, at: &str) {
        self.broken = true;
        self.push(kind, at, false);
    }

    /// What breaks is kept before what does not.
    fn push(&mut self, kind: &'static str, at: &str, is_compatible: bool) {
        if self.all.len() < MAX_TOLD || (!is_compatible && self.all.len() < 2 * MAX_TOLD) {
            self.all.push(Difference { kind, at: at.to_owned(), is_compatible, what: String::new() });
        }
    }

    fn join(&mut self, other: Found) {
        self.broken |= other.broken;
        for change in other.all {
            self.push(change.kind, &change.at, change.is_compatible);
        }
    }
}

struct Differ<'a> {
    old: &'a JsonSchema,
    new: &'a JsonSchema,
    /// Left.
    steps: usize,
    depth: usize,
    /// Pairs that are being compared: a recursive schema meets itself again.
    open: BTreeSet<(usize, usize)>,
}

type Done = Result<(), SchemaProblem>;

impl<'a> Differ<'a> {
    fn schemas(&mut self, pair: Pair<'a>, at: &str, found: &mut Found) -> Done {
        if self.depth > MAX_DEPTH {
            return Err(SchemaProblem::TooComplex);
        }
        self.steps = self.steps.checked_sub(1).ok_or(SchemaProblem::TooComplex)?;
        let (old, old_in) = self.old.meant(pair.old, pair.old_in)?;
        let (new, new_in) = self.new.meant(pair.new, pair.new_in)?;
        let pair = Pair { old, old_in, new, new_in };
        let key = (std::ptr::from_ref(old).addr(), std::ptr::from_ref(new).addr());
        if !self.open.insert(key) {
            return Ok(());
        }
        self.depth += 1;
        let done = self.meant(pair, at, found);
        self.depth -= 1;
        self.open.remove(&key);
        done
    }

    fn meant(&mut self, pair: Pair<'a>, at: &str, found: &mut Found) -> Done {
        annotations(pair, at, found);
        if is_never(pair.old) || is_any(pair.new) {
            return Ok(());
        }
        if is_never(pair.new) || is_any(pair.old) {
            found.breaks("TYPE_CHANGED", at);
            return Ok(());
        }
        if self.sums(pair, at, found)? {
            return Ok(());
        }
        self.products(pair, at, found)?;
        self.negations(pair, at, found)?;
        conditions(pair, at, found);
        if types(pair, at, found) {
            enumerations(pair, at, found);
            text(pair, at, found);
            numbers(pair, at, found);
            if allows(pair.old, "object") && allows(pair.new, "object") {
                self.objects(pair, at, found)?;
            }
            if allows(pair.old, "array") && allows(pair.new, "array") {
                self.arrays(pair, at, found)?;
            }
        }
        Ok(())
    }

    /// Does the new schema take all that the old one takes?
    fn follows(&mut self, pair: Pair<'a>, at: &str) -> Result<Option<Found>, SchemaProblem> {
        let mut found = Found::default();
        self.schemas(pair, at, &mut found)?;
        Ok((!found.broken).then_some(found))
    }

    /// `anyOf` and `oneOf`. True if they decide it alone.
    fn sums(&mut self, pair: Pair<'a>, at: &str, found: &mut Found) -> Result<bool, SchemaProblem> {
        match (sum(pair.old), sum(pair.new)) {
            (None, None) => Ok(false),
            (Some((_, branches)), None) => {
                let mut all = Found::default();
                for branch in branches {
                    match self.follows(pair.with(branch, pair.new), at)? {
                        Some(one) => all.join(one),
                        // What stands beside the branches may still be enough.
                        None if is_bare(pair.old) => {
                            found.breaks("TYPE_CHANGED", at);
                            return Ok(true);
                        }
                        None => return Ok(false),
                    }
                }
                found.join(all);
                Ok(true)
            }
            (None, Some((_, branches))) => {
                for branch in branches {
                    if let Some(one) = self.follows(pair.with(pair.old, branch), at)? {
                        found.join(one);
                        if branches.len() > 1 {
                            found.fine("SUM_TYPE_EXTENDED", at);
                        }
                        return Ok(is_bare(pair.new));
                    }
                }
                found.breaks("TYPE_CHANGED", at);
                Ok(true)
            }
            (Some((old_word, old)), Some((new_word, new))) => {
                self.both_sums(pair, (old_word, old), (new_word, new), at, found)?;
                Ok(is_bare(pair.old) && is_bare(pair.new))
            }
        }
    }

    fn both_sums(
        &mut self,
        pair: Pair<'a>,
        (old_word, old): (&'static str, &'a [Value]),
        (new_word, new): (&'static str, &'a [Value]),
        at: &str,
        found: &mut Found,
    ) -> Done {
        if old_word != new_word {
            // Exactly one is more than any; any is exactly one if there is one.
            if new_word == "oneOf" && old.len() > 1 {
                found.breaks("COMBINED_TYPE_CHANGED", at);
                return Ok(());
            }
            found.fine("COMBINED_TYPE_EXTENDED", at);
        }
        match old.len().cmp(&new.len()) {
            std::cmp::Ordering::Less => found.fine("SUM_TYPE_EXTENDED", at),
            std::cmp::Ordering::Greater => found.breaks("SUM_TYPE_NARROWED", at),
            std::cmp::Ordering::Equal => {}
        }
        self.matched(pair, old_word, old, new, at, found)
    }

    /// Each old branch needs a new one of its own that takes it.
    fn matched(
        &mut self,
        pair: Pair<'a>,
        word: &str,
        old: &'a [Value],
        new: &'a [Value],
        at: &str,
        found: &mut Found,
    ) -> Done {
        let mut takes: Vec<Vec<Option<Found>>> = Vec::with_capacity(old.len());
        for (index, branch) in old.iter().enumerate() {
            let place = format!("{at}/{word}/{index}");
            let row = new.iter().map(|other| self.follows(pair.with(branch, other), &place));
            takes.push(row.collect::<Result<_, _>>()?);
        }
        let by_new = matching(&takes, new.len());
        let mut count = 0;
        for (new_index, old_index) in by_new.iter().enumerate() {
            let Some(old_index) = old_index else { continue };
            count += 1;
            if let Some(one) = takes.get_mut(*old_index).and_then(|row| row.get_mut(new_index)).and_then(Option::take) {
                found.join(one);
            }
        }
        if count < old.len().min(new.len()) {
            found.breaks("COMBINED_TYPE_SUBSCHEMAS_CHANGED", at);
        }
        Ok(())
    }

    /// `allOf`: each new part must follow from an old part, or from what stands beside them.
    fn products(&mut self, pair: Pair<'a>, at: &str, found: &mut Found) -> Done {
        let (old, new) = (list(pair.old, "allOf"), list(pair.new, "allOf"));
        if new.len() < old.len() {
            found.fine("PRODUCT_TYPE_NARROWED", at);
        }
        let mut unmet = 0;
        for part in new {
            let mut met = false;
            for (index, other) in old.iter().chain([pair.old]).enumerate() {
                if index == old.len() && !old.is_empty() && is_bare_product(pair.old) {
                    break;
                }
                let place = format!("{at}/allOf/{index}");
                if let Some(one) = self.follows(pair.with(other, part), &place)? {
                    found.join(one);
                    met = true;
                    break;
                }
            }
            unmet += usize::from(!met);
        }
        if unmet > 0 {
            let kind = if new.len() > old.len() { "PRODUCT_TYPE_EXTENDED" } else { "COMBINED_TYPE_SUBSCHEMAS_CHANGED" };
            found.breaks(kind, at);
        }
        Ok(())
    }

    /// `not` turns the question around.
    fn negations(&mut self, pair: Pair<'a>, at: &str, found: &mut Found) -> Done {
        match pair.keyword("not") {
            (_, None) => Ok(()),
            (None, Some(_)) => {
                found.breaks("TYPE_CHANGED", &format!("{at}/not"));
                Ok(())
            }
            (Some(old), Some(new)) if old == new => Ok(()),
            (Some(old), Some(new)) => {
                let mut turned = Differ {
                    old: self.new,
                    new: self.old,
                    steps: self.steps,
                    depth: self.depth,
                    open: BTreeSet::new(),
                };
                let place = format!("{at}/not");
                let back = Pair { old: new, old_in: pair.new_in, new: old, new_in: pair.old_in };
                let follows = turned.follows(back, &place)?.is_some();
                self.steps = turned.steps;
                if follows {
                    found.fine("NOT_TYPE_NARROWED", &place)
                } else {
                    found.breaks("NOT_TYPE_EXTENDED", &place)
                }
                Ok(())
            }
        }
    }
}

/// The largest matching (Kuhn): for each column, the row that it goes to.
fn matching(takes: &[Vec<Option<Found>>], columns: usize) -> Vec<Option<usize>> {
    let mut by_column = vec![None; columns];
    for row in 0..takes.len() {
        assign(row, takes, &mut by_column, &mut vec![false; columns]);
    }
    by_column
}

fn assign(row: usize, takes: &[Vec<Option<Found>>], by_column: &mut [Option<usize>], seen: &mut [bool]) -> bool {
    for column in 0..by_column.len() {
        let takes_it = takes.get(row).and_then(|row| row.get(column)).is_some_and(Option::is_some);
        let Some(seen_it) = seen.get_mut(column).filter(|seen| takes_it && !**seen) else { continue };
        *seen_it = true;
        let holder = by_column.get(column).copied().flatten();
        if holder.is_none_or(|holder| assign(holder, takes, by_column, seen)) {
            if let Some(place) = by_column.get_mut(column) {
                *place = Some(row);
            }
            return true;
        }
    }
    false
}

const ANNOTATIONS: [&str; 14] = [
    "$schema",
    "$id",
    "id",
    "$comment",
    "title",
    "description",
    "default",
    "examples",
    "$defs",
    "definitions",
    "$anchor",
    "deprecated",
    "readOnly",
    "writeOnly",
];

fn constraints(schema: &Value) -> impl Iterator<Item = &String> {
    let members = schema.as_object().into_iter().flatten();
    members.map(|(name, _)| name).filter(|name| !ANNOTATIONS.contains(&name.as_str()))
}

/// Does it take everything?
fn is_any(schema: &Value) -> bool {
    *schema == Value::Bool(true) || (schema.is_object() && constraints(schema).next().is_none())
}

/// Does it take nothing?
fn is_never(schema: &Value) -> bool {
    *schema == Value::Bool(false)
}

/// Does it say nothing but its `anyOf` or `oneOf`?
fn is_bare(schema: &Value) -> bool {
    constraints(schema).all(|name| matches!(name.as_str(), "anyOf" | "oneOf"))
}

fn is_bare_product(schema: &Value) -> bool {
    constraints(schema).all(|name| name == "allOf")
}

fn list<'a>(schema: &'a Value, name: &str) -> &'a [Value] {
    schema.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn sum(schema: &Value) -> Option<(&'static str, &[Value])> {
    let of = |word| schema.get(word).and_then(Value::as_array).map(|branches| (word, branches.as_slice()));
    of("oneOf").or_else(|| of("anyOf"))
}

fn annotations(pair: Pair<'_>, at: &str, found: &mut Found) {
    for (name, kind) in [
        ("$id", "ID_CHANGED"),
        ("id", "ID_CHANGED"),
        ("title", "TITLE_CHANGED"),
        ("description", "DESCRIPTION_CHANGED"),
        ("default", "DEFAULT_CHANGED"),
    ] {
        let (old, new) = pair.keyword(name);
        if old != new {
            found.fine(kind, at);
        }
    }
}

/// `if` with what depends on it: nothing can be told of a change.
fn conditions(pair: Pair<'_>, at: &str, found: &mut Found) {
    let of = |schema: &Value| ["if", "then", "else"].map(|name| schema.get(name).cloned());
    if pair.new.get("if").is_some() && of(pair.old) != of(pair.new) {
        found.breaks("COMBINED_TYPE_CHANGED", at);
    }
}

const TYPES: [&str; 6] = ["null", "boolean", "object", "array", "string", "number"];

/// The types that a schema takes, a whole number being one more. Where it says none, its keywords do, as far as they are of
/// one type alone.
fn type_set(schema: &Value) -> BTreeSet<&str> {
    match schema.get("type") {
        Some(Value::String(one)) => BTreeSet::from([one.as_str()]),
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => implied(schema).map_or_else(|| BTreeSet::from(TYPES), |implied| BTreeSet::from([implied])),
    }
}

fn implied(schema: &Value) -> Option<&'static str> {
    const OF: [(&str, &[&str]); 4] = [
        (
            "object",
            &[
                "properties",
                "required",
                "additionalProperties",
                "patternProperties",
                "propertyNames",
                "minProperties",
                "maxProperties",
                "dependencies",
                "dependentRequired",
                "dependentSchemas",
                "unevaluatedProperties",
            ],
        ),
        (
            "array",
            &[
                "items",
                "prefixItems",
                "additionalItems",
                "unevaluatedItems",
                "minItems",
                "maxItems",
                "uniqueItems",
                "contains",
                "minContains",
                "maxContains",
            ],
        ),
        ("string", &["minLength", "maxLength", "pattern"]),
        ("number", &["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"]),
    ];
    let mut kinds = OF.iter().filter(|(_, words)| words.iter().any(|word| schema.get(word).is_some()));
    match (kinds.next(), kinds.next()) {
        (Some((one, _)), None) => Some(one),
        _ => None,
    }
}

fn allows(schema: &Value, kind: &str) -> bool {
    let types = type_set(schema);
    types.contains(kind) || (kind == "number" && types.contains("integer"))
}

/// Compares types; false if they have nothing in common, so that nothing else is worth comparing.
fn types(pair: Pair<'_>, at: &str, found: &mut Found) -> bool {
    // Values that are listed one by one need no type.
    if listed(pair.old).is_some() && pair.old.get("type").is_none() {
        return true;
    }
    let (old, new) = (type_set(pair.old), type_set(pair.new));
    let within = |a: &BTreeSet<&str>, b: &BTreeSet<&str>| {
        a.iter().all(|kind| b.contains(kind) || (*kind == "integer" && b.contains("number")))
    };
    let several = old.len() > 1 || new.len() > 1;
    match (within(&old, &new), within(&new, &old)) {
        (true, true) => {}
        (true, false) if several => found.fine("SUM_TYPE_EXTENDED", at),
        (true, false) => found.fine("TYPE_EXTENDED", at),
        (false, true) if several => found.breaks("SUM_TYPE_NARROWED", at),
        (false, true) => found.breaks("TYPE_NARROWED", at),
        (false, false) => found.breaks("TYPE_CHANGED", at),
    }
    within(&old, &new) || within(&new, &old)
}

/// The values of `enum`, or the one of `const`.
fn listed(schema: &Value) -> Option<Vec<&Value>> {
    match (schema.get("enum"), schema.get("const")) {
        (Some(Value::Array(values)), _) => Some(values.iter().collect()),
        (_, Some(one)) => Some(vec![one]),
        _ => None,
    }
}

fn enumerations(pair: Pair<'_>, at: &str, found: &mut Found) {
    let (Some(old), Some(new)) = (listed(pair.old), listed(pair.new)) else {
        match (listed(pair.old), listed(pair.new)) {
            (Some(_), None) => found.fine("PRODUCT_TYPE_NARROWED", at),
            (None, Some(_)) => found.breaks("TYPE_CHANGED", &format!("{at}/enum")),
            _ => {}
        }
        return;
    };
    let place = format!("{at}/enum");
    let within = |a: &[&Value], b: &[&Value]| a.iter().all(|value| b.contains(value));
    match (within(&old, &new), within(&new, &old)) {
        (true, true) => {}
        (true, false) => found.fine("ENUM_ARRAY_EXTENDED", &place),
        (false, true) => found.breaks("ENUM_ARRAY_NARROWED", &place),
        (false, false) => found.breaks("ENUM_ARRAY_CHANGED", &place),
    }
}

#[cfg(test)]
mod tests;
