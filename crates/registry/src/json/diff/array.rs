//! Arrays: the schema of all elements, those of the first ones, and what comes after them.

use serde_json::Value;

use super::object::unevaluated;
use super::{Bound, Differ, Done, Found, Pair, bounds, is_any, is_never};

impl<'a> Differ<'a> {
    pub(super) fn arrays(&mut self, pair: Pair<'a>, at: &str, found: &mut Found) -> Done {
        let (old, new) = (Elements::of(pair.old), Elements::of(pair.new));
        for index in 0..old.first.len().max(new.first.len()) {
            let place = format!("{at}/items/{index}");
            match (old.first.get(index), new.first.get(index)) {
                (Some(old), Some(new)) => self.schemas(pair.with(old, new), &place, found)?,
                (Some(gone), None) => self.element_removed(pair, gone, new.rest, &place, found)?,
                (None, Some(more)) => self.element_added(pair, old.rest, more, &place, found)?,
                (None, None) => {}
            }
        }
        let place =
            format!("{at}/{}", if old.first.is_empty() && new.first.is_empty() { "items" } else { "additionalItems" });
        self.rest(pair, old.rest, new.rest, &place, found)?;
        self.contains(pair, at, found)?;
        unevaluated(pair, "unevaluatedItems", at, found);
        let all = [bound!("maxItems", true, "MAX_ITEMS"), bound!("minItems", false, "MIN_ITEMS")];
        bounds(pair, &all, at, found);
        let unique = |schema: &Value| schema.get("uniqueItems") == Some(&Value::Bool(true));
        match (unique(pair.old), unique(pair.new)) {
            (true, false) => found.fine("UNIQUE_ITEMS_REMOVED", &format!("{at}/uniqueItems")),
            (false, true) => found.breaks("UNIQUE_ITEMS_ADDED", &format!("{at}/uniqueItems")),
            _ => {}
        }
        Ok(())
    }

    fn element_removed(
        &mut self,
        pair: Pair<'a>,
        gone: &'a Value,
        rest: Option<&'a Value>,
        place: &str,
        found: &mut Found,
    ) -> Done {
        match rest {
            None => found.fine("ITEM_REMOVED_FROM_OPEN_CONTENT_MODEL", place),
            Some(rest) if is_any(rest) => found.fine("ITEM_REMOVED_FROM_OPEN_CONTENT_MODEL", place),
            Some(rest) if is_never(rest) && is_never(gone) => {
                found.fine("ITEM_WITH_FALSE_REMOVED_FROM_CLOSED_CONTENT_MODEL", place);
            }
            Some(rest) if is_never(rest) => found.breaks("ITEM_REMOVED_FROM_CLOSED_CONTENT_MODEL", place),
            Some(rest) => match self.follows(pair.with(gone, rest), place)? {
                Some(_) => found.fine("ITEM_REMOVED_IS_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL", place),
                None => found.breaks("ITEM_REMOVED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL", place),
            },
        }
        Ok(())
    }

    fn element_added(
        &mut self,
        pair: Pair<'a>,
        rest: Option<&'a Value>,
        more: &'a Value,
        place: &str,
        found: &mut Found,
    ) -> Done {
        match rest {
            Some(rest) if is_never(rest) => found.fine("ITEM_ADDED_TO_CLOSED_CONTENT_MODEL", place),
            Some(rest) if !is_any(rest) => match self.follows(pair.with(rest, more), place)? {
                Some(_) => found.fine("ITEM_ADDED_IS_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL", place),
                None => found.breaks("ITEM_ADDED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL", place),
            },
            _ if is_any(more) => found.fine("ITEM_WITH_EMPTY_SCHEMA_ADDED_TO_OPEN_CONTENT_MODEL", place),
            _ => found.breaks("ITEM_ADDED_TO_OPEN_CONTENT_MODEL", place),
        }
        Ok(())
    }

    /// What holds for all elements after the first ones.
    fn rest(
        &mut self,
        pair: Pair<'a>,
        old: Option<&'a Value>,
        new: Option<&'a Value>,
        place: &str,
        found: &mut Found,
    ) -> Done {
        let limits = |schema: Option<&'a Value>| schema.filter(|schema| !is_any(schema));
        match (limits(old), limits(new)) {
            (None, None) => {}
            (Some(old), None) if is_never(old) => found.fine("ADDITIONAL_ITEMS_ADDED", place),
            (Some(_), None) => found.fine("ADDITIONAL_ITEMS_EXTENDED", place),
            (None, Some(new)) if is_never(new) => found.breaks("ADDITIONAL_ITEMS_REMOVED", place),
            (None, Some(_)) => found.breaks("ADDITIONAL_ITEMS_NARROWED", place),
            (Some(old), Some(new)) => self.schemas(pair.with(old, new), place, found)?,
        }
        Ok(())
    }

    fn contains(&mut self, pair: Pair<'a>, at: &str, found: &mut Found) -> Done {
        let place = format!("{at}/contains");
        match pair.keyword("contains") {
            (_, None) => {}
            (None, Some(_)) => found.breaks("SCHEMA_ADDED", &place),
            (Some(old), Some(new)) => {
                // At least so many keep it: it may take more. At most so many do: it may not.
                let changed =
                    old != new && (pair.old.get("maxContains").is_some() || pair.new.get("maxContains").is_some());
                if changed {
                    found.breaks("TYPE_CHANGED", &place);
                } else {
                    self.schemas(pair.with(old, new), &place, found)?;
                }
            }
        }
        if pair.new.get("contains").is_some() {
            let all = [bound!("maxContains", true, "MAX_CONTAINS"), bound!("minContains", false, "MIN_CONTAINS")];
            bounds(pair, &all, at, found);
        }
        Ok(())
    }
}

/// The schemas of elements, in whichever dialect they are written.
struct Elements<'a> {
    first: &'a [Value],
    /// None: anything.
    rest: Option<&'a Value>,
}

impl<'a> Elements<'a> {
    fn of(schema: &'a Value) -> Self {
        match (schema.get("prefixItems"), schema.get("items")) {
            (Some(Value::Array(first)), rest) => Self { first, rest },
            (_, Some(Value::Array(first))) => Self { first, rest: schema.get("additionalItems") },
            (_, rest) => Self { first: &[], rest },
        }
    }
}
