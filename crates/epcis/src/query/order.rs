//! In which order a query wants its events.

use std::cmp::Ordering;

use tradelane_model::Timestamp;
use tradelane_tape::{Kind, Node};

use super::fields::Name;
use crate::context::Context;
use crate::time::DateTime;

/// `orderBy`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderBy {
    /// When it happened.
    EventTime,
    /// When it was recorded.
    RecordTime,
    /// By an extension field at the top of the event.
    Extension(Name),
}

/// `orderDirection`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Direction {
    /// Smallest first.
    Ascending,
    /// Largest first; the default.
    #[default]
    Descending,
}

/// What an event is ordered by. Events without the field come before all others.
#[derive(Debug, Clone, PartialEq)]
pub enum OrderKey {
    /// The event has no such field.
    Absent,
    /// A number.
    Number(f64),
    /// A time.
    Time(DateTime),
    /// Any other text, by its bytes.
    Text(String),
}

impl OrderKey {
    fn rank(&self) -> u8 {
        match self {
            Self::Absent => 0,
            Self::Number(_) => 1,
            Self::Time(_) => 2,
            Self::Text(_) => 3,
        }
    }

    /// Compares two keys in the direction wanted. A total order.
    pub fn compare(&self, other: &Self, direction: Direction) -> Ordering {
        let ascending = match (self, other) {
            (Self::Number(one), Self::Number(other)) => one.total_cmp(other),
            (Self::Time(one), Self::Time(other)) => one.cmp(other),
            (Self::Text(one), Self::Text(other)) => one.cmp(other),
            _ => self.rank().cmp(&other.rank()),
        };
        match direction {
            Direction::Ascending => ascending,
            Direction::Descending => ascending.reverse(),
        }
    }
}

impl OrderBy {
    pub(super) fn key(&self, event: Node<'_>, context: &Context<'_>, record_time: Timestamp) -> OrderKey {
        match self {
            Self::EventTime => event.get("eventTime").map_or(OrderKey::Absent, of_value),
            Self::RecordTime => OrderKey::Time(DateTime::from(record_time)),
            Self::Extension(name) => {
                let found = event.members().find(|(key, _)| name.is(&key.as_str(), context));
                found.map_or(OrderKey::Absent, |(_, value)| of_value(value))
            }
        }
    }
}

fn of_value(value: Node<'_>) -> OrderKey {
    match value.kind() {
        Kind::Number => value.as_f64().map_or(OrderKey::Absent, OrderKey::Number),
        Kind::String => {
            let text = value.as_str().unwrap_or_default();
            DateTime::parse(&text).map_or_else(|| OrderKey::Text(text.into_owned()), OrderKey::Time)
        }
        _ => OrderKey::Absent,
    }
}
