//! Bounds of text and numbers, which may loosen and not tighten.

use super::{Found, Pair, allows};

/// A bound: its keyword, and the names of its being added, removed, raised and lowered.
pub(super) struct Bound {
    pub(super) word: &'static str,
    pub(super) is_upper: bool,
    pub(super) names: [&'static str; 4],
}

pub(super) fn bounds(pair: Pair<'_>, all: &[Bound], at: &str, found: &mut Found) {
    for bound in all {
        let place = format!("{at}/{}", bound.word);
        let [added, removed, increased, decreased] = bound.names;
        match pair.keyword(bound.word) {
            (None, None) => {}
            (None, Some(_)) => found.breaks(added, &place),
            (Some(_), None) => found.fine(removed, &place),
            (Some(old), Some(new)) if old == new => {}
            (Some(old), Some(new)) => match (old.as_f64(), new.as_f64()) {
                (Some(old), Some(new)) if old < new && bound.is_upper => found.fine(increased, &place),
                (Some(old), Some(new)) if old < new => found.breaks(increased, &place),
                (Some(old), Some(new)) if old > new && bound.is_upper => found.breaks(decreased, &place),
                (Some(old), Some(new)) if old > new => found.fine(decreased, &place),
                (Some(_), Some(_)) => {}
                _ => found.breaks("TYPE_CHANGED", &place),
            },
        }
    }
}

pub(super) fn text(pair: Pair<'_>, at: &str, found: &mut Found) {
    if !allows(pair.old, "string") {
        return;
    }
    bounds(pair, &[bound!("maxLength", true, "MAX_LENGTH"), bound!("minLength", false, "MIN_LENGTH")], at, found);
    let place = format!("{at}/pattern");
    match pair.keyword("pattern") {
        (None, Some(_)) => found.breaks("PATTERN_ADDED", &place),
        (Some(_), None) => found.fine("PATTERN_REMOVED", &place),
        (Some(old), Some(new)) if old != new => found.breaks("PATTERN_CHANGED", &place),
        _ => {}
    }
}

pub(super) fn numbers(pair: Pair<'_>, at: &str, found: &mut Found) {
    if !allows(pair.old, "number") {
        return;
    }
    let all = [
        bound!("maximum", true, "MAXIMUM"),
        bound!("minimum", false, "MINIMUM"),
        bound!("exclusiveMaximum", true, "EXCLUSIVE_MAXIMUM"),
        bound!("exclusiveMinimum", false, "EXCLUSIVE_MINIMUM"),
    ];
    bounds(pair, &all, at, found);
    let place = format!("{at}/multipleOf");
    match pair.keyword("multipleOf") {
        (None, Some(_)) => found.breaks("MULTIPLE_OF_ADDED", &place),
        (Some(_), None) => found.fine("MULTIPLE_OF_REMOVED", &place),
        (Some(old), Some(new)) if old != new => match (old.as_f64(), new.as_f64()) {
            (Some(old), Some(new)) if old % new == 0.0 => found.fine("MULTIPLE_OF_REDUCED", &place),
            (Some(old), Some(new)) if new % old == 0.0 => found.breaks("MULTIPLE_OF_EXPANDED", &place),
            _ => found.breaks("MULTIPLE_OF_CHANGED", &place),
        },
        _ => {}
    }
}
