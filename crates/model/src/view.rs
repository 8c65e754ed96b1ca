//! How a reader sees each class and field.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::class::Class;
use crate::pattern::Pattern;

/// What a view does with a field.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Show it as it was published.
    Reveal,
    /// Remove it: a member with its name, an array element as `null`.
    Drop,
    /// Show that it is there and nothing else: `"***"` for text, `0` for a number, `false` for a boolean.
    Redact,
    /// Show the first and the last so many characters of a text.
    Partial {
        /// Characters shown from the start.
        #[serde(default)]
        first: u8,
        /// Characters shown from the end.
        #[serde(default)]
        last: u8,
    },
    /// Show it coarsely.
    Generalize(Generalize),
    /// Show a stable stand-in that means something to this consumer only.
    Pseudonym,
    /// Show a stand-in that an authorized call turns back.
    Token,
}

/// How a value is made coarse.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Generalize {
    /// A date or time, cut to its day, month or year.
    Date(DateUnit),
    /// A coordinate in degrees, rounded to so many decimals.
    Geo {
        /// Decimals kept (0 to 6): 1 is about 11 km, 2 about 1.1 km.
        decimals: u8,
    },
    /// A number, rounded down to a multiple of the bucket.
    Number {
        /// The width of a bucket, above 0.
        bucket: f64,
    },
}

/// What is kept of a date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DateUnit {
    /// `2026-11-21`
    Day,
    /// `2026-11`
    Month,
    /// `2026`
    Year,
}

/// How a grant's reader sees an event: an action per class, and per field where the owner says more.
///
/// Where nothing is said, `public` and `internal` are revealed and everything else is dropped.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ViewSpec {
    /// Actions by class.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub classes: BTreeMap<Class, Action>,
    /// Actions by field pattern; they win over the class's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<Pattern, Action>,
}

impl ViewSpec {
    /// The view of the owner itself: everything that has a name is revealed, and what has none as well.
    pub fn reveal_all(classes: impl IntoIterator<Item = Class>) -> Self {
        let classes = classes.into_iter().map(|class| (class, Action::Reveal)).collect();
        Self { classes, fields: BTreeMap::new() }
    }

    /// What happens to a field of this class for which no field rule speaks.
    pub fn class_action(&self, class: &Class) -> Action {
        match self.classes.get(class) {
            Some(action) => action.clone(),
            None if matches!(class.as_str(), Class::PUBLIC | Class::INTERNAL) => Action::Reveal,
            None => Action::Drop,
        }
    }

    /// What happens to a field of this class in this place: the action of the nearest pattern at or above it, or its class's.
    pub fn action_at(&self, at: &Pattern, class: &Class) -> Action {
        let steps = at.segments();
        let above = |depth| Pattern::from_segments(steps.iter().take(depth).cloned().collect());
        let named = (0..=steps.len()).rev().find_map(|depth| self.fields.get(&above(depth)));
        named.cloned().unwrap_or_else(|| self.class_action(class))
    }

    /// Why the spec cannot be used, if it cannot: a bucket of nothing, more decimals than a coordinate has.
    pub fn problem(&self) -> Option<String> {
        let bad = |action: &Action| match action {
            Action::Generalize(Generalize::Number { bucket }) => !(bucket.is_finite() && *bucket > 0.0),
            Action::Generalize(Generalize::Geo { decimals }) => *decimals > 6,
            _ => false,
        };
        let class = self.classes.iter().find(|(_, action)| bad(action)).map(|(class, _)| class.to_string());
        let field = self.fields.iter().find(|(_, action)| bad(action)).map(|(field, _)| field.to_string());
        class.or(field).map(|place| format!("the action for {place} needs a bucket above 0, or 0 to 6 decimals"))
    }
}
