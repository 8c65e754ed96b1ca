//! What a contract knows of a document's places: the tree from which holes are compiled.
//!
//! Schema and classification are one tree, so that a place which the schema allows but no rule names cannot be
//! forgotten: it has no node, or a node without a class, and both mean "most restricted".

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::class::Class;
use crate::pattern::{Pattern, Segment};

/// JSON types that a place may hold, as a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Types(pub u8);

impl Types {
    /// Nothing is known of the type.
    pub const ANY: Self = Self(0);
    /// `null`
    pub const NULL: Self = Self(1);
    /// `true` or `false`
    pub const BOOLEAN: Self = Self(2);
    /// Any number.
    pub const NUMBER: Self = Self(4);
    /// A number without a fraction.
    pub const INTEGER: Self = Self(8);
    /// Text.
    pub const STRING: Self = Self(16);
    /// An array.
    pub const ARRAY: Self = Self(32);
    /// An object.
    pub const OBJECT: Self = Self(64);

    /// Both.
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Is every type of `other` in this set?
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The names that JSON Schema uses.
    pub fn names(self) -> Vec<&'static str> {
        let all = [
            (Self::NULL, "null"),
            (Self::BOOLEAN, "boolean"),
            (Self::NUMBER, "number"),
            (Self::INTEGER, "integer"),
            (Self::STRING, "string"),
            (Self::ARRAY, "array"),
            (Self::OBJECT, "object"),
        ];
        all.into_iter().filter(|(t, _)| self.has(*t)).map(|(_, name)| name).collect()
    }
}

/// How restricted a class is at most whose values are left where they are: as `internal`.
const OPEN: u16 = 100;

/// One place.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Place {
    /// The class that a rule gives it; what is below inherits it. `None`: inherited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<Class>,
    /// Where in the event the identity of the person is found whose data this is (and what is below it). Array steps
    /// that it shares with this place's own pattern mean the same element.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Pattern>,
    /// The types that the schema allows here.
    #[serde(default)]
    pub types: Types,
    /// Must the property be there?
    #[serde(default)]
    pub required: bool,
    /// Properties that have a name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<String, Place>,
    /// Properties that have none (`{}`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub any_property: Option<Box<Place>>,
    /// Elements of an array (`*`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<Box<Place>>,
}

impl Place {
    /// The place below by this step, made if it is not there.
    fn child(&mut self, segment: &Segment) -> &mut Place {
        match segment {
            Segment::Property(name) => self.properties.entry(name.clone()).or_default(),
            Segment::AnyProperty => self.any_property.get_or_insert_default(),
            Segment::Items => self.items.get_or_insert_default(),
        }
    }

    /// Does it have places below that a rule or the schema names?
    pub fn is_leaf(&self) -> bool {
        self.properties.is_empty() && self.any_property.is_none() && self.items.is_none()
    }

    fn walk<'a>(&'a self, at: &Pattern, visit: &mut impl FnMut(&Pattern, &'a Place)) {
        visit(at, self);
        for (name, place) in &self.properties {
            place.walk(&at.join(Segment::Property(name.clone())), visit);
        }
        if let Some(place) = &self.any_property {
            place.walk(&at.join(Segment::AnyProperty), visit);
        }
        if let Some(place) = &self.items {
            place.walk(&at.join(Segment::Items), visit);
        }
    }
}

/// A rule for one pattern: `at` is of that class, and belongs to the person found at `subject`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FieldRule {
    /// The place.
    pub at: Pattern,
    /// Its class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<Class>,
    /// Where the identity of its subject is found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Pattern>,
}

/// All that one version of a contract knows of its documents.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Shape {
    /// The document itself.
    pub root: Place,
    /// The owner's own classes, from least to most restricted; each as the built-in class that it is ranked with.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub own_classes: BTreeMap<Class, Class>,
}

impl Shape {
    /// Adds a rule: classes and subjects of later rules win over those of earlier ones at the same place.
    pub fn add_rule(&mut self, rule: &FieldRule) {
        let mut place = &mut self.root;
        for segment in rule.at.segments() {
            place = place.child(segment);
        }
        if rule.class.is_some() {
            place.class = rule.class.clone();
        }
        if rule.subject.is_some() {
            place.subject = rule.subject.clone();
        }
    }

    /// The place that a pattern names exactly.
    pub fn place(&self, pattern: &Pattern) -> Option<&Place> {
        pattern.segments().iter().try_fold(&self.root, |place, segment| match segment {
            Segment::Property(name) => place.properties.get(name),
            Segment::AnyProperty => place.any_property.as_deref(),
            Segment::Items => place.items.as_deref(),
        })
    }

    /// Every place with its pattern, parents first.
    pub fn places(&self) -> Vec<(Pattern, &Place)> {
        let mut places = Vec::new();
        self.root.walk(&Pattern::default(), &mut |at, place| places.push((at.clone(), place)));
        places
    }

    /// How restricted a class is here: an owner's own class as the built-in one that it stands with, an unknown one
    /// as the most restricted.
    pub fn rank(&self, class: &Class) -> u16 {
        let known = class.builtin_rank();
        let own = || self.own_classes.get(class).and_then(Class::builtin_rank);
        known.or_else(own).unwrap_or(u16::MAX)
    }

    /// Is what is of this class encrypted under the key of whom it belongs to, beside the encryption of all that is stored?
    pub fn is_sealed(&self, class: &Class) -> bool {
        self.rank(class) > OPEN
    }

    /// Every class that a place of this shape has, and `unclassified`.
    pub fn classes(&self) -> Vec<Class> {
        let mut classes: Vec<Class> = self.places().into_iter().filter_map(|(_, place)| place.class.clone()).collect();
        classes.push(Class::unclassified());
        classes.sort_by_key(|class| (self.rank(class), class.clone()));
        classes.dedup();
        classes
    }
}
