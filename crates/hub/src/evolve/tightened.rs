//! What an earlier version of a contract names, as restricted as it or a later one has it, whichever is more.
//!
//! By it events of the earlier version are cut that come while the later one holds, and by it readers who stay with the
//! earlier version read. What the later version does not name at all is as restricted as it was. It does not know of views
//! or events.

use tradelane_model::Class;
use tradelane_model::shape::{Place, Shape};

/// The old shape, each place at least as restricted as in the new one.
///
/// The form of stored events depends on it: for the same two shapes it must always be the same
/// (`docs/formats/sealed-event.md`).
pub(crate) fn tightened(old: &Shape, new: &Shape) -> Shape {
    let mut shape = old.clone();
    for (own, like) in &new.own_classes {
        let known = shape.own_classes.get(own).and_then(Class::builtin_rank);
        if known < like.builtin_rank() {
            shape.own_classes.insert(own.clone(), like.clone());
        }
    }
    let top = Class::unclassified();
    let root = Inherited { was: &top, is: &top, now: &top, has_subject: false };
    Tightening { old, new }.place(&mut shape.root, Some(&new.root), &root);
    shape
}

struct Tightening<'a> {
    old: &'a Shape,
    new: &'a Shape,
}

/// What a place has from those above it.
struct Inherited<'a> {
    /// Its class in the old shape,
    was: &'a Class,
    /// in the new one,
    is: &'a Class,
    /// and in the one that is made.
    now: &'a Class,
    /// Does the old shape say whose it is?
    has_subject: bool,
}

impl Tightening<'_> {
    /// `there`: the same place in the new shape; none: it is not named there.
    fn place(&self, place: &mut Place, there: Option<&Place>, above: &Inherited<'_>) {
        let was = place.class.as_ref().unwrap_or(above.was).clone();
        let is = there.and_then(|there| there.class.as_ref()).unwrap_or(above.is).clone();
        let is_raised = there.is_some() && self.new.rank(&is) > self.old.rank(&was);
        let wanted = if is_raised { &is } else { &was };
        if place.class.as_ref().unwrap_or(above.now) != wanted {
            place.class = Some(wanted.clone());
        }
        let Some(there) = there else { return };
        let has_subject = above.has_subject || place.subject.is_some();
        // Events of the old version must be able to say whose they are.
        let subject = there.subject.as_ref().filter(|subject| !has_subject && self.old.place(subject).is_some());
        place.subject = subject.or(place.subject.as_ref()).cloned();
        let now = place.class.as_ref().unwrap_or(above.now).clone();
        self.below(place, there, &Inherited { was: &was, is: &is, now: &now, has_subject });
    }

    fn below(&self, place: &mut Place, there: &Place, above: &Inherited<'_>) {
        // What a leaf says, it says of all below it.
        let (is_leaf, is_whole) = (place.is_leaf(), there.is_leaf());
        let unnamed = Place::default();
        let any = there.any_property.as_deref();
        for (name, child) in &mut place.properties {
            let found = there.properties.get(name).or(any);
            let found = if is_whole { Some(&unnamed) } else { found };
            self.place(child, found, above);
        }
        // What the old shape has no name of its own for, and the new one has.
        let base = place.any_property.as_deref().cloned().or(is_leaf.then(Place::default));
        let mut grown = false;
        for (name, found) in &there.properties {
            let Some(base) = base.as_ref().filter(|_| !place.properties.contains_key(name)) else { continue };
            if let Some(child) = self.stricter(base, found, above) {
                place.properties.insert(name.clone(), child);
                grown = true;
            }
        }
        match &mut place.any_property {
            Some(any_here) => self.place(any_here, if is_whole { Some(&unnamed) } else { any }, above),
            None if is_leaf => {
                let child = any.and_then(|any| self.stricter(&unnamed, any, above));
                // Beside what was named now, the rest stays what it was.
                place.any_property = child.or(grown.then(Place::default)).map(Box::new);
            }
            None => {}
        }
        let items = there.items.as_deref();
        match &mut place.items {
            Some(items_here) => self.place(items_here, if is_whole { Some(&unnamed) } else { items }, above),
            None if is_leaf => {
                place.items = items.and_then(|items| self.stricter(&unnamed, items, above)).map(Box::new);
            }
            None => {}
        }
    }

    /// What stood for a place that only the new shape names, if that restricts anything of it further.
    fn stricter(&self, base: &Place, there: &Place, above: &Inherited<'_>) -> Option<Place> {
        let mut child = base.clone();
        self.place(&mut child, Some(there), above);
        let mut plain = base.clone();
        self.place(&mut plain, None, above);
        (child != plain).then_some(child)
    }
}

#[cfg(test)]
mod tests {
    use tradelane_model::Contract;
    use tradelane_model::pattern::Pattern;

    use super::*;

    fn shape(properties: &str, fields: &str) -> Shape {
        let text = format!(
            "apiVersion: v3.1.0\nkind: DataContract\nid: c\nversion: 1.0.0\nstatus: active\nschema:\n  - name: e\n    properties:\n{properties}\
             customProperties: [{{property: tradelane, value: {{fields: [{fields}]}}}}]\n"
        );
        Contract::parse(&text).unwrap().shape
    }

    fn class(shape: &Shape, at: &str) -> String {
        super::super::down::class_at(shape, &Pattern::parse(at).unwrap()).to_string()
    }

    #[test]
    fn what_the_newest_contract_restricts_further_is_restricted_and_nothing_is_opened() {
        let old = shape(
            "      - {name: a, logicalType: string, classification: public}\n      \
             - {name: b, logicalType: string, classification: pii}\n      \
             - {name: gone, logicalType: string, classification: internal}\n      \
             - name: c\n        logicalType: object\n        classification: internal\n        properties: [{name: x, logicalType: string}, {name: y, logicalType: string, classification: public}, {name: z, logicalType: string}, {name: gone, logicalType: string}]\n",
            "",
        );
        let new = shape(
            "      - {name: a, logicalType: string, classification: pii}\n      \
             - {name: b, logicalType: string, classification: public}\n      \
             - name: c\n        logicalType: object\n        classification: confidential\n        properties: [{name: x, logicalType: string}, {name: y, logicalType: string, classification: public}, {name: z, logicalType: string, classification: public}]\n",
            "",
        );
        let now = tightened(&old, &new);
        assert_eq!(
            ["/a", "/b", "/gone", "/c/x", "/c/y", "/c/z", "/c/gone"].map(|at| class(&now, at)),
            ["pii", "pii", "internal", "confidential", "public", "internal", "internal"]
        );
    }

    #[test]
    fn a_class_reaches_what_only_one_of_the_two_names_by_itself() {
        let old = shape(
            "      - {name: whole, logicalType: object, classification: internal}\n      \
             - {name: same, logicalType: object, classification: internal}\n      \
             - name: split\n        logicalType: object\n        classification: internal\n        properties: [{name: x, logicalType: string, classification: public}]\n      \
             - {name: list, logicalType: array, classification: public}\n",
            "{at: \"/map/{}\", class: internal}",
        );
        let new = shape(
            "      - name: whole\n        logicalType: object\n        classification: internal\n        properties: [{name: tax, logicalType: string, classification: pii}, {name: name, logicalType: string}]\n      \
             - name: same\n        logicalType: object\n        classification: internal\n        properties: [{name: name, logicalType: string, classification: public}]\n      \
             - {name: split, logicalType: object, classification: confidential}\n      \
             - name: list\n        logicalType: array\n        items: {logicalType: object, properties: [{name: tax, logicalType: string, classification: pii}]}\n",
            "{at: \"/map/{}\", class: internal}, {at: /map/tax, class: pii}",
        );
        let now = tightened(&old, &new);
        assert_eq!(
            ["/whole/tax", "/whole/name", "/whole/{}", "/split/x", "/map/tax", "/map/{}", "/list/*/tax"]
                .map(|at| class(&now, at)),
            ["pii", "internal", "internal", "confidential", "pii", "internal", "pii"]
        );
        assert!(now.place(&Pattern::parse("/same").unwrap()).unwrap().is_leaf(), "nothing below it is restricted");
        assert_eq!(tightened(&old, &old), old);
    }

    #[test]
    fn whose_a_field_is_holds_for_the_earlier_version_as_far_as_that_can_say_it() {
        let properties = "      - {name: email, logicalType: string, classification: pii}\n      - {name: name, logicalType: string, classification: pii}\n";
        let id = "      - {name: id, logicalType: string, classification: pii}\n";
        let old = shape(properties, "");
        let new = shape(&format!("{properties}{id}"), "{at: /email, subject: /email}, {at: /name, subject: /id}");
        let now = tightened(&old, &new);
        let subject = |at: &str| now.place(&Pattern::parse(at).unwrap()).unwrap().subject.clone();
        assert_eq!(subject("/email"), Some(Pattern::parse("/email").unwrap()));
        assert_eq!(subject("/name"), None, "no event of the earlier version has that member");
    }
}
