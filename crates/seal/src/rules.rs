//! A contract's shape, compiled: for each place that it names, how a value there is handled and where its person is found.
//!
//! The rules decide by one principle: what is not named, or not of the kind that was named, is of the most restricted
//! class. A class inherited from a container reaches only what the contract names, and whole subtrees of which it names
//! nothing; it never reaches an unnamed neighbour of something named.

use std::collections::BTreeSet;

use tradelane_model::Class;
use tradelane_model::pattern::{Pattern, Segment};
use tradelane_model::shape::{Place, Shape, Types};
use tradelane_tape::{Kind, Names};

use crate::error::ShapeError;

/// Number of a rule in holes: twice the place, plus one for what is below or at the place without being named.
pub(crate) type RuleId = u16;
/// The most classes that a set in an audit leaf can hold.
pub(crate) const MAX_CLASSES: usize = 64;
const MAX_PLACES: usize = 32_767;

/// How a value is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Handling {
    /// Part of the skeleton.
    Public,
    /// Part of the skeleton, but marked as a hole, so that a view can leave it out.
    Open,
    /// Taken out of the skeleton and encrypted.
    Sealed,
}

/// Where a field's person is found: so many steps down the field's own path, then these properties.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SubjectPath {
    pub(crate) shared: usize,
    pub(crate) rest: Vec<String>,
}

impl SubjectPath {
    /// The names from the root, for a field at `at`.
    fn names(&self, at: &Pattern) -> Vec<String> {
        let name = |segment: &Segment| match segment {
            Segment::Property(name) => Some(name.clone()),
            Segment::Items | Segment::AnyProperty => None,
        };
        let shared = at.segments().iter().take(self.shared).filter_map(name);
        shared.chain(self.rest.iter().cloned()).collect()
    }
}

#[derive(Debug)]
pub(crate) struct PlaceRule {
    pub(crate) pattern: Pattern,
    pub(crate) class: u16,
    pub(crate) handling: Handling,
    pub(crate) types: Types,
    pub(crate) subject: Option<SubjectPath>,
    /// The contract names nothing below: a value here is one hole (or none), whatever it is.
    pub(crate) leaf: bool,
    /// A member whose name no rule knows: its name goes into the hole with its value.
    pub(crate) hides_name: bool,
    pub(crate) required: bool,
    /// In the order of their names.
    pub(crate) properties: Names<Property>,
    pub(crate) any_property: Option<u32>,
    pub(crate) items: Option<u32>,
}

/// A property that the contract names.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Property {
    pub(crate) place: u32,
    /// Its values are public whatever they are: there is nothing to look at.
    pub(crate) plain: bool,
}

/// A contract's shape, compiled for locating, with the number by which records refer to it.
#[derive(Debug)]
pub struct Rules {
    id: u32,
    shape: Shape,
    pub(crate) places: Vec<PlaceRule>,
    pub(crate) classes: Vec<Class>,
    pub(crate) unclassified: u16,
    pub(crate) has_subjects: bool,
}

/// What a contract says of a text, number or boolean in some place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scalar {
    /// Its class.
    pub class: Class,
    /// The types of which it has that class; of others it is unclassified.
    pub types: Types,
    /// The members that lead from the root to the identity of its person.
    pub subject: Option<Vec<String>>,
}

/// What the walk does with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It stays in the skeleton, with all below it.
    Public,
    /// One hole, by this rule.
    Hole(RuleId),
    /// Each member by its own place.
    Members,
    /// Each element by this place.
    Elements(u32),
}

impl Rules {
    /// Compiles `shape`. `id` is the number of the contract version, unique within its product: it goes into every record,
    /// and one number must always mean one shape.
    pub fn compile(shape: &Shape, id: u32) -> Result<Self, ShapeError> {
        Self::compile_with(shape, id, &BTreeSet::new())
    }

    /// As [`compile`](Self::compile), but places in `marked` become holes even if they are public.
    pub(crate) fn compile_with(shape: &Shape, id: u32, marked: &BTreeSet<Pattern>) -> Result<Self, ShapeError> {
        let classes = shape.classes();
        if classes.len() > MAX_CLASSES {
            return Err(ShapeError::TooManyClasses);
        }
        let unclassified = class_index(&classes, &Class::unclassified());
        let mut compiler = Compiler { shape, classes: &classes, unclassified, marked, places: Vec::new() };
        let inherited = Inherited { class: None, subject: None };
        compiler.add(&shape.root, Pattern::default(), &inherited, false)?;
        let places = compiler.places;
        let has_subjects = places.iter().any(|place| place.subject.is_some());
        Ok(Self { id, shape: shape.clone(), places, classes, unclassified, has_subjects })
    }

    /// The number of the contract version.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The shape from which these rules were compiled.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    pub(crate) fn place(&self, index: u32) -> Option<&PlaceRule> {
        self.places.get(index as usize)
    }

    /// The place that a rule is about, and whether it is about what is not named there.
    pub(crate) fn of_rule(&self, rule: RuleId) -> Option<(&PlaceRule, bool)> {
        self.places.get(usize::from(rule >> 1)).map(|place| (place, rule & 1 == 1))
    }

    pub(crate) fn class_of_rule(&self, rule: RuleId) -> u16 {
        match self.of_rule(rule) {
            Some((place, false)) => place.class,
            _ => self.unclassified,
        }
    }

    pub(crate) fn handling_of_rule(&self, rule: RuleId) -> Handling {
        match self.of_rule(rule) {
            Some((place, false)) => place.handling,
            _ => Handling::Sealed,
        }
    }

    /// What is said of a scalar to which these members lead, decided as the walk decides; `at` has names only.
    pub fn scalar_at(&self, at: &Pattern) -> Scalar {
        let class = |class: u16| self.classes.get(usize::from(class)).cloned().unwrap_or_else(Class::unclassified);
        let of = |place: &PlaceRule, rule: RuleId, types| Scalar {
            class: class(self.class_of_rule(rule)),
            types,
            subject: place.subject.as_ref().map(|path| path.names(at)),
        };
        let mut index = 0;
        let unknown = Scalar { class: Class::unclassified(), types: Types::ANY, subject: None };
        for segment in at.segments() {
            let (Some(place), Segment::Property(name)) = (self.place(index), segment) else { return unknown };
            let own = (index as RuleId) << 1;
            match self.decide(index, place, Kind::Object) {
                // All below is one.
                Verdict::Public => return of(place, own, Types::ANY),
                Verdict::Hole(rule) => return of(place, rule, Types::ANY),
                _ => match place.property(name).or(place.any_property) {
                    Some(child) => index = child,
                    None => return of(place, own | 1, Types::ANY),
                },
            }
        }
        let Some(place) = self.place(index) else { return unknown };
        let own = (index as RuleId) << 1;
        // A scalar where the contract names a container, without saying that there may be either.
        if !place.leaf && place.types == Types::ANY {
            of(place, own | 1, Types::ANY)
        } else {
            of(place, own, place.types)
        }
    }

    /// Decides about a value of this kind at this place.
    #[inline]
    pub(crate) fn decide(&self, index: u32, place: &PlaceRule, kind: Kind) -> Verdict {
        let own = (index as RuleId) << 1;
        if !allows(place.types, kind) {
            return Verdict::Hole(own | 1);
        }
        let whole = || if place.handling == Handling::Public { Verdict::Public } else { Verdict::Hole(own) };
        if place.leaf {
            return whole();
        }
        match (kind, place.items) {
            (Kind::Object, _) if place.has_members() => Verdict::Members,
            (Kind::Array, Some(items)) => Verdict::Elements(items),
            // A list where an object was named, an object where a list was: deeper or other than any rule expects.
            (Kind::Object | Kind::Array, _) => Verdict::Hole(own | 1),
            (Kind::Null, _) => whole(),
            // A scalar where a container is expected belongs to its class only if the contract says that it may be one.
            _ if place.types == Types::ANY => Verdict::Hole(own | 1),
            _ => whole(),
        }
    }
}

impl PlaceRule {
    /// The place of the property with this name, if the contract names it.
    pub(crate) fn property(&self, name: &str) -> Option<u32> {
        self.properties.named(name).map(|known| known.place)
    }

    pub(crate) fn has_members(&self) -> bool {
        !self.properties.is_empty() || self.any_property.is_some()
    }

    pub(crate) fn properties(&self) -> impl Iterator<Item = (&str, u32)> {
        self.properties.iter().map(|(name, known)| (name, known.place))
    }
}

pub(crate) fn allows(types: Types, kind: Kind) -> bool {
    let wanted = match kind {
        Kind::Null => Types::NULL,
        Kind::Bool => Types::BOOLEAN,
        // JSON Schema counts 1.0 among the integers, so the text alone does not tell.
        Kind::Number => Types::NUMBER.or(Types::INTEGER),
        Kind::String => Types::STRING,
        Kind::Array => Types::ARRAY,
        Kind::Object => Types::OBJECT,
    };
    types == Types::ANY || types.0 & wanted.0 != 0
}

fn class_index(classes: &[Class], class: &Class) -> u16 {
    // `Shape::classes` lists every class of a place and `unclassified`, which is the last resort here too.
    let last = classes.len().saturating_sub(1);
    u16::try_from(classes.iter().position(|known| known == class).unwrap_or(last)).unwrap_or(u16::MAX)
}

struct Compiler<'a> {
    shape: &'a Shape,
    classes: &'a [Class],
    unclassified: u16,
    marked: &'a BTreeSet<Pattern>,
    places: Vec<PlaceRule>,
}

struct Inherited<'a> {
    class: Option<&'a Class>,
    subject: Option<&'a Pattern>,
}

impl Compiler<'_> {
    /// Adds a place and all below it; parents before children, children by name, so that numbers never change.
    fn add(
        &mut self,
        place: &Place,
        pattern: Pattern,
        inherited: &Inherited<'_>,
        is_any: bool,
    ) -> Result<u32, ShapeError> {
        if self.places.len() >= MAX_PLACES {
            return Err(ShapeError::TooManyPlaces);
        }
        let index = self.places.len();
        let here = Inherited {
            class: place.class.as_ref().or(inherited.class),
            subject: place.subject.as_ref().or(inherited.subject),
        };
        let mut class = here.class.map_or(self.unclassified, |class| class_index(self.classes, class));
        let mut handling = self.handling(class, &pattern);
        // The name of a member that only `{}` matches may be data itself, a map keyed by e-mail for one. Unless its class
        // says otherwise it is hidden with everything below, as the most restricted of what is there.
        let hides_name = is_any && handling == Handling::Sealed;
        if hides_name {
            class = self.most_restricted(place, class);
            handling = self.handling(class, &pattern);
        }
        let subject = here.subject.map(|subject| subject_path(&pattern, subject)).transpose()?;
        let leaf = hides_name || place.is_leaf();
        self.places.push(PlaceRule {
            pattern: pattern.clone(),
            class,
            handling,
            types: if hides_name { Types::ANY } else { place.types },
            subject,
            leaf,
            hides_name,
            required: place.required,
            properties: Names::default(),
            any_property: None,
            items: None,
        });
        if !leaf {
            self.add_children(place, &pattern, &here, index)?;
        }
        Ok(index as u32)
    }

    fn add_children(
        &mut self,
        place: &Place,
        pattern: &Pattern,
        here: &Inherited<'_>,
        index: usize,
    ) -> Result<(), ShapeError> {
        let mut properties = Vec::with_capacity(place.properties.len());
        for (name, child) in &place.properties {
            let at = pattern.join(Segment::Property(name.clone()));
            let place = self.add(child, at, here, false)?;
            properties.push((name.as_str(), Property { place, plain: self.is_plain(place) }));
        }
        let mut below = |child: &Option<Box<Place>>, segment: Segment| {
            let is_any = segment == Segment::AnyProperty;
            let at = pattern.join(segment);
            child.as_ref().map(|child| self.add(child, at, here, is_any)).transpose()
        };
        let any_property = below(&place.any_property, Segment::AnyProperty)?;
        let items = below(&place.items, Segment::Items)?;
        if let Some(rule) = self.places.get_mut(index) {
            rule.properties = Names::new(properties);
            rule.any_property = any_property;
            rule.items = items;
        }
        Ok(())
    }

    fn is_plain(&self, place: u32) -> bool {
        let place = self.places.get(place as usize);
        place.is_some_and(|place| place.leaf && place.handling == Handling::Public && place.types == Types::ANY)
    }

    fn handling(&self, class: u16, pattern: &Pattern) -> Handling {
        let Some(class) = self.classes.get(usize::from(class)) else { return Handling::Sealed };
        match class.as_str() {
            Class::PUBLIC if self.marked.contains(pattern) => Handling::Open,
            Class::PUBLIC => Handling::Public,
            // An owner's own class that ranks with these is marked too, so that a view can leave it out.
            _ if self.shape.is_sealed(class) => Handling::Sealed,
            _ => Handling::Open,
        }
    }

    fn most_restricted(&self, place: &Place, class: u16) -> u16 {
        let rank = |class: u16| self.classes.get(usize::from(class)).map_or(u16::MAX, |class| self.shape.rank(class));
        let below = place.properties.values().chain(place.any_property.as_deref()).chain(place.items.as_deref());
        below.fold(class, |most, child| {
            let own = child.class.as_ref().map_or(most, |class| class_index(self.classes, class));
            let child = self.most_restricted(child, own);
            if rank(child) > rank(most) { child } else { most }
        })
    }
}

fn subject_path(at: &Pattern, subject: &Pattern) -> Result<SubjectPath, ShapeError> {
    let shared = at.segments().iter().zip(subject.segments()).take_while(|(a, b)| a == b).count();
    let rest = subject.segments().iter().skip(shared).map(|segment| match segment {
        Segment::Property(name) => Ok(name.clone()),
        Segment::Items | Segment::AnyProperty => {
            Err(ShapeError::AmbiguousSubject { at: at.clone(), subject: subject.clone() })
        }
    });
    Ok(SubjectPath { shared, rest: rest.collect::<Result<_, _>>()? })
}

#[cfg(test)]
mod tests {
    use tradelane_keys::SecretBytes;
    use tradelane_model::shape::FieldRule;
    use tradelane_tape::{Limits, Tape};

    use super::*;
    use crate::SubjectTagger;

    #[test]
    fn what_is_said_of_a_scalar_is_what_is_done_with_it_in_an_event() {
        let mut shape = Shape::default();
        let rules = [
            ("/open", Class::PUBLIC, None),
            ("/order/id", Class::INTERNAL, None),
            ("/person", Class::PII, Some("/person/mail")),
            ("/person/mail", Class::PII, None),
            ("/person/plan", Class::PUBLIC, None),
            ("/whole", Class::CONFIDENTIAL, Some("/open")),
            ("/map/{}", Class::PUBLIC, None),
            ("/names/{}/x", Class::SENSITIVE_PII, None),
            ("/names/{}", Class::CONFIDENTIAL, None),
            ("/list/*", Class::PUBLIC, None),
        ];
        for (at, class, subject) in rules {
            let (at, class) = (Pattern::parse(at).unwrap(), Class::named(class));
            shape.add_rule(&FieldRule { at, class, subject: subject.map(|at| Pattern::parse(at).unwrap()) });
        }
        if let Some(order) = shape.root.properties.get_mut("order").and_then(|order| order.properties.get_mut("id")) {
            order.types = Types::STRING;
        }
        let rules = Rules::compile(&shape, 1).unwrap();
        let tagger = SubjectTagger::new(&SecretBytes::new([7; 32]));
        let mail = Some(vec!["person".to_owned(), "mail".to_owned()]);
        let cases = [
            ("/open", Class::PUBLIC, None),
            ("/open/x", Class::PUBLIC, None),
            ("/order", Class::UNCLASSIFIED, None),
            ("/order/id", Class::INTERNAL, None),
            ("/order/id/x", Class::UNCLASSIFIED, None),
            ("/order/more", Class::UNCLASSIFIED, None),
            ("/more", Class::UNCLASSIFIED, None),
            ("/person/mail", Class::PII, mail.clone()),
            ("/person/mail/x", Class::PII, mail.clone()),
            ("/person/plan", Class::PUBLIC, mail.clone()),
            ("/person/more", Class::UNCLASSIFIED, mail),
            ("/whole", Class::CONFIDENTIAL, Some(vec!["open".to_owned()])),
            ("/whole/a/b", Class::CONFIDENTIAL, Some(vec!["open".to_owned()])),
            ("/map/a", Class::PUBLIC, None),
            ("/names/a", Class::SENSITIVE_PII, None),
            ("/names/a/x", Class::SENSITIVE_PII, None),
            ("/list", Class::UNCLASSIFIED, None),
            ("/list/x", Class::UNCLASSIFIED, None),
        ];
        for (at, class, subject) in cases {
            let said = rules.scalar_at(&Pattern::parse(at).unwrap());
            assert_eq!((said.class.as_str(), said.subject), (class, subject), "{at}");
            let event = at
                .rsplit('/')
                .filter(|name| !name.is_empty())
                .fold("\"v\"".to_owned(), |inner, name| format!("{{\"{name}\":{inner}}}"));
            let mut tape = Tape::new();
            let located = rules.locate(tape.parse(event.as_bytes(), &Limits::EVENT).unwrap(), &tagger).unwrap();
            let done = located.spots.first().map(|spot| rules.class_of_rule(spot.rule));
            let done = done.map_or(Class::PUBLIC, |class| rules.classes[usize::from(class)].as_str());
            assert_eq!(done, class, "{at}: {event}");
        }
    }
}
