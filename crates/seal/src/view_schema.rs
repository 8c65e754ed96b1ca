//! The JSON Schema of a view: what a reader can rely on.
//!
//! Masks break a contract's own schema (a dropped name is not there, `***` is no e-mail address), so each grant publishes
//! this one instead, and every event that keeps the contract validates against it as rendered, also after people whose
//! data it holds were erased. It says which places there are and of which types; it does not repeat the contract's formats
//! and ranges.

use serde_json::{Map, Value, json};
use tradelane_model::shape::{Shape, Types};
use tradelane_model::{Action, ViewSpec};

use crate::error::ViewError;
use crate::rules::{Handling, PlaceRule, Rules};
use crate::view::{Decision, decide_all};

/// The JSON Schema (2020-12) of events of `shape` as a reader with this view sees them.
pub fn view_schema(shape: &Shape, spec: &ViewSpec) -> Result<Value, ViewError> {
    let rules = Rules::compile(shape, 0)?;
    let decisions = decide_all(&rules, spec)?;
    let writer = Writer { rules: &rules, decisions: &decisions };
    let root = match writer.place(0) {
        Some(root) if root.may_vanish => or_null(root.schema),
        Some(root) => root.schema,
        None => json!({ "type": "null" }),
    };
    let mut schema = match root {
        Value::Object(schema) => schema,
        _ => Map::new(),
    };
    schema.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
    Ok(Value::Object(schema))
}

/// What a reader finds at a place.
struct Seen {
    schema: Value,
    /// It may be missing (a member) or `null` (an element) although the event has it.
    may_vanish: bool,
}

struct Writer<'a> {
    rules: &'a Rules,
    decisions: &'a [Decision],
}

/// Everything but containers.
const SCALARS: Types = Types(Types::NULL.0 | Types::BOOLEAN.0 | Types::NUMBER.0 | Types::INTEGER.0 | Types::STRING.0);

impl Writer<'_> {
    /// `None`: the reader never finds anything there.
    fn place(&self, index: u32) -> Option<Seen> {
        let place = self.rules.place(index)?;
        if place.leaf {
            return self.whole(index, place, place.types);
        }
        if place.types == Types::ANY && *self.unnamed(index)? == Action::Reveal {
            return Some(Seen { schema: json!({}), may_vanish: true });
        }
        self.container(index, place)
    }

    fn container(&self, index: u32, place: &PlaceRule) -> Option<Seen> {
        let any = place.types == Types::ANY;
        let mut ways = Vec::new();
        // A container that the contract does not describe is hidden where it is not expected.
        let mut may_vanish = any;
        if place.has_members() && (any || place.types.has(Types::OBJECT)) {
            ways.push(self.object(index, place));
        } else if place.types.has(Types::OBJECT) && !any {
            may_vanish = self.undescribed(index, Types::OBJECT, &mut ways) || may_vanish;
        }
        if let Some(items) = place.items
            && (any || place.types.has(Types::ARRAY))
        {
            ways.push(self.array(items));
        } else if place.types.has(Types::ARRAY) && !any {
            may_vanish = self.undescribed(index, Types::ARRAY, &mut ways) || may_vanish;
        }
        let scalars = if any { Types::NULL } else { Types(place.types.0 & SCALARS.0) };
        if scalars != Types::ANY {
            match self.whole(index, place, scalars) {
                Some(seen) => {
                    may_vanish |= seen.may_vanish;
                    ways.push(seen.schema);
                }
                None => may_vanish = true,
            }
        }
        let one = if ways.len() == 1 { ways.pop() } else { None };
        match one {
            Some(schema) => Some(Seen { schema, may_vanish }),
            None if ways.is_empty() => None,
            None => Some(Seen { schema: json!({ "anyOf": ways }), may_vanish }),
        }
    }

    fn undescribed(&self, index: u32, types: Types, ways: &mut Vec<Value>) -> bool {
        if self.unnamed(index).is_some_and(|action| *action == Action::Reveal) {
            ways.push(types_schema(types));
        }
        true
    }

    fn object(&self, index: u32, place: &PlaceRule) -> Value {
        let mut properties = Map::new();
        let mut required = Vec::new();
        for (name, child) in place.properties() {
            let Some(seen) = self.place(child) else { continue };
            if !seen.may_vanish && self.rules.place(child).is_some_and(|child| child.required) {
                required.push(name.to_owned());
            }
            properties.insert(name.to_owned(), seen.schema);
        }
        required.sort();
        let additional = match place.any_property {
            Some(child) => self.place(child).map_or(json!(false), |seen| seen.schema),
            None => json!(self.unnamed(index).is_some_and(|action| *action == Action::Reveal)),
        };
        let mut schema = Map::new();
        schema.insert("type".into(), json!("object"));
        schema.insert("properties".into(), Value::Object(properties));
        if !required.is_empty() {
            schema.insert("required".into(), json!(required));
        }
        if additional != json!(true) {
            schema.insert("additionalProperties".into(), additional);
        }
        Value::Object(schema)
    }

    fn array(&self, items: u32) -> Value {
        let items = match self.place(items) {
            Some(seen) if seen.may_vanish => or_null(seen.schema),
            Some(seen) => seen.schema,
            None => json!({ "type": "null" }),
        };
        json!({ "type": "array", "items": items })
    }

    /// A place of which the view treats the whole value alike.
    fn whole(&self, index: u32, place: &PlaceRule, types: Types) -> Option<Seen> {
        let decision = self.decisions.get(index as usize * 2)?;
        // What is sealed may be erased; what does not have the expected type is hidden.
        let sealed = place.handling == Handling::Sealed;
        if place.hides_name && decision.action != Action::Reveal {
            return None;
        }
        let any = types == Types::ANY;
        let null = if any || types.has(Types::NULL) { Types::NULL } else { Types::ANY };
        let seen = |schema, may_vanish| Some(Seen { schema, may_vanish });
        let numbers = Types(types.0 & Types::NUMBER.or(Types::INTEGER).0);
        match &decision.action {
            Action::Reveal => seen(types_schema(types), sealed),
            Action::Drop => None,
            Action::Redact => seen(types_schema(types), false),
            Action::Partial { .. } => seen(types_schema(types), sealed),
            Action::Pseudonym | Action::Token => seen(types_schema(Types::STRING.or(null)), sealed),
            Action::Generalize(generalize) => {
                use tradelane_model::view::Generalize;
                let kept = match generalize {
                    Generalize::Date(_) => Types::STRING,
                    Generalize::Number { .. } => Types::NUMBER,
                    Generalize::Geo { .. } if any => Types::STRING.or(Types::NUMBER),
                    Generalize::Geo { .. } if numbers == Types::ANY => Types::STRING,
                    Generalize::Geo { .. } if types.has(Types::STRING) => Types::STRING.or(Types::NUMBER),
                    Generalize::Geo { .. } => Types::NUMBER,
                };
                seen(types_schema(kept.or(null)), true)
            }
        }
    }

    fn unnamed(&self, index: u32) -> Option<&Action> {
        self.decisions.get(index as usize * 2 + 1).map(|decision| &decision.action)
    }
}

fn types_schema(types: Types) -> Value {
    match types.names().as_slice() {
        [] => json!({}),
        [one] => json!({ "type": one }),
        several => json!({ "type": several }),
    }
}

fn or_null(schema: Value) -> Value {
    match schema {
        Value::Object(object) if object.is_empty() => Value::Object(object),
        schema => json!({ "anyOf": [schema, { "type": "null" }] }),
    }
}
