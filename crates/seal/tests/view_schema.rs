//! Every event that keeps its contract validates, as rendered, against the schema of the view.

#[path = "behaviour/common.rs"]
#[allow(dead_code)]
mod common;

use proptest::prelude::*;
use serde_json::json;
use tradelane_model::shape::{Place, Shape, Types};
use tradelane_model::view::{DateUnit, Generalize};
use tradelane_model::{Action, ViewSpec};
use tradelane_schema::Schema;
use tradelane_seal::{Rules, view_schema};
use tradelane_tape::{Limits, Tape};

use common::*;

const CLASSES: [&str; 5] = ["public", "internal", "confidential", "pii", "sensitive-pii"];
const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }

    fn action(&mut self) -> Action {
        match self.below(9) {
            0 | 1 => Action::Reveal,
            2 => Action::Drop,
            3 => Action::Redact,
            4 => Action::Partial { first: 1, last: 1 },
            5 => Action::Generalize(Generalize::Date(DateUnit::Month)),
            6 => Action::Generalize(Generalize::Geo { decimals: 1 }),
            7 => Action::Generalize(Generalize::Number { bucket: 0.5 }),
            _ => Action::Pseudonym,
        }
    }
}

fn random_place(random: &mut Random, depth: u64) -> Place {
    let mut place = Place { required: random.below(2) == 0, ..Place::default() };
    place.class = (random.below(5) > 0).then(|| class(CLASSES[random.below(5) as usize]));
    match random.below(if depth < 3 { 4 } else { 2 }) {
        0 => {
            let scalars =
                [Types::STRING, Types::NUMBER, Types::INTEGER, Types::BOOLEAN, Types::STRING.or(Types::NUMBER)];
            place.types = scalars[random.below(5) as usize];
        }
        1 => place.types = if random.below(2) == 0 { Types::ANY } else { Types::ARRAY.or(Types::OBJECT) },
        2 => {
            place.types = Types::ARRAY;
            place.items = Some(Box::new(random_place(random, depth + 1)));
        }
        _ => {
            place.types = Types::OBJECT;
            for name in NAMES.iter().take(random.below(5) as usize + 1) {
                place.properties.insert((*name).to_owned(), random_place(random, depth + 1));
            }
        }
    }
    if place.types != Types::ANY && random.below(3) == 0 {
        place.types = place.types.or(Types::NULL);
    }
    place
}

/// A value that the contract allows at this place, sometimes with properties that it does not name.
fn random_value(random: &mut Random, place: &Place, out: &mut String) {
    let types = place.types;
    if types.has(Types::NULL) && types != Types::ANY && random.below(4) == 0 {
        out.push_str("null");
        return;
    }
    if let Some(items) = &place.items {
        out.push('[');
        for i in 0..random.below(3) {
            out.push_str(if i > 0 { "," } else { "" });
            random_value(random, items, out);
        }
        out.push(']');
    } else if !place.properties.is_empty() {
        out.push('{');
        let mut first = true;
        for (name, child) in &place.properties {
            if !child.required && random.below(2) == 0 {
                continue;
            }
            out.push_str(if first { "\"" } else { ",\"" });
            out.push_str(name);
            out.push_str("\":");
            random_value(random, child, out);
            first = false;
        }
        if random.below(3) == 0 {
            out.push_str(if first { "\"extra\":1" } else { ",\"extra\":1" });
        }
        out.push('}');
    } else {
        let fits = |t: Types| types == Types::ANY || types.has(t);
        let values = [
            (Types::STRING, "\"1998-07-05\""),
            (Types::STRING, "\"some text\""),
            (Types::STRING, "\"geo:47.123,8.5\""),
            (Types::NUMBER, "12.75"),
            (Types::INTEGER, "17"),
            (Types::BOOLEAN, "true"),
            (Types::ARRAY, "[1,[2]]"),
            (Types::OBJECT, "{\"x\":{\"y\":1}}"),
        ];
        let values: Vec<_> = values.iter().filter(|(t, _)| fits(*t)).collect();
        out.push_str(values[random.below(values.len() as u64) as usize].1);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_rendered_event_validates_against_its_views_schema(seed in any::<u64>()) {
        let mut random = Random(seed);
        let mut shape = Shape { root: random_place(&mut random, 0), ..Shape::default() };
        shape.root.required = true;
        let mut spec = ViewSpec::default();
        for name in CLASSES.iter().chain(&["unclassified"]) {
            if random.below(2) == 0 {
                spec.classes.insert(class(name), random.action());
            }
        }
        for (at, _) in shape.places() {
            if random.below(4) == 0 {
                spec.fields.insert(at, random.action());
            }
        }
        let rules = std::sync::Arc::new(Rules::compile(&shape, 1).unwrap());
        let schema = view_schema(&shape, &spec).unwrap();
        let compiled = Schema::compile(&schema).unwrap();
        let view = view(&rules, &spec);
        for _ in 0..4 {
            let keys = Keys::new();
            let mut json = String::new();
            random_value(&mut random, &shape.root, &mut json);
            let out = render(&view, &keys, &seal(&rules, &keys, &json));
            let mut tape = Tape::new();
            let doc = tape.parse(out.as_bytes(), &Limits::EVENT).unwrap();
            prop_assert!(compiled.validate(doc.root(), 5).is_ok(), "{} -> {}\n{}\n{:?}", json, out, schema, spec);
        }
    }
}

#[test]
fn the_schema_of_a_view_says_what_a_reader_finds() {
    let mut shape =
        shape(&[("/id", "public"), ("/to/name", "pii"), ("/to/country", "public"), ("/price", "confidential")]);
    shape.root.types = Types::OBJECT;
    for (name, types) in [("id", Types::INTEGER), ("price", Types::NUMBER), ("to", Types::OBJECT)] {
        let place = shape.root.properties.get_mut(name).unwrap();
        (place.types, place.required) = (types, true);
    }
    let schema = view_schema(&shape, &spec(&[("pii", Action::Redact)], &[])).unwrap();
    assert_eq!(
        schema,
        json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {
                "id": { "type": "integer" },
                "to": { "type": "object", "properties": { "name": {}, "country": {} }, "additionalProperties": false }
            },
            "required": ["id", "to"],
            "additionalProperties": false
        })
    );
}
