//! Random contracts and random events against a plain reading of the rules on a DOM.

use std::collections::BTreeMap;

use base64::Engine as _;
use proptest::prelude::*;
use serde_json::{Map, Value};
use tradelane_model::shape::{Place, Shape};
use tradelane_model::{Class, ViewSpec};

use crate::common::*;

const NAMES: [&str; 7] = ["a", "b", "name", "é", "x/y", "~", "a quite long property name"];
pub(crate) const CLASSES: [&str; 5] = ["public", "internal", "confidential", "pii", "sensitive-pii"];

pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }

    pub(crate) fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len() as u64) as usize]
    }
}

fn random_place(random: &mut Random, depth: u64) -> Place {
    let mut place = Place::default();
    if random.below(4) > 0 || depth >= 3 {
        place.class = (random.below(6) > 0).then(|| class(random.pick(&CLASSES)));
    }
    if depth < 3 {
        match random.below(4) {
            0 => {}
            1 => place.items = Some(Box::new(random_place(random, depth + 1))),
            _ => {
                for _ in 0..random.below(4) + 1 {
                    let name = random.pick(&NAMES).to_owned();
                    place.properties.insert(name, random_place(random, depth + 1));
                }
            }
        }
    }
    place
}

/// A text of JSON for a value that fits the place most of the time, with blanks and escapes; texts and numbers are marks
/// that occur once.
struct Writer<'a> {
    random: &'a mut Random,
    out: String,
    marks: Vec<String>,
}

impl Writer<'_> {
    fn blanks(&mut self) {
        let blanks = self.random.pick(&["", "", "", " ", "\n  ", "\t"]);
        self.out.push_str(blanks);
    }

    fn text(&mut self, text: &str) {
        self.out.push('"');
        for c in text.chars() {
            if self.random.below(8) == 0 {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    self.out.push_str(&format!("\\u{unit:04x}"));
                }
            } else {
                self.out.push(c);
            }
        }
        self.out.push('"');
    }

    fn mark(&mut self) {
        let mark = format!("MARK{:012}", self.random.below(1_000_000_000_000));
        if self.random.below(4) == 0 {
            let digits = mark.replace("MARK", "7");
            self.out.push_str(&digits);
            self.marks.push(digits);
        } else {
            self.text(&mark);
            self.marks.push(mark);
        }
    }

    fn value(&mut self, place: Option<&Place>, depth: u64) {
        self.blanks();
        let fits = place.filter(|_| self.random.below(8) > 0);
        match fits {
            Some(place) if !place.properties.is_empty() => self.object(&place.properties, depth),
            Some(Place { items: Some(items), .. }) => self.array(Some(items), depth),
            _ if depth >= 5 => self.mark(),
            _ => match self.random.below(7) {
                0 => self.object(&BTreeMap::new(), depth),
                1 => self.array(None, depth),
                2 => {
                    let word = self.random.pick(&["null", "true", "false"]);
                    self.out.push_str(word);
                }
                _ => self.mark(),
            },
        }
        self.blanks();
    }

    fn object(&mut self, places: &BTreeMap<String, Place>, depth: u64) {
        let mut names: Vec<(String, Option<&Place>)> =
            places.iter().map(|(name, place)| (name.clone(), Some(place))).collect();
        names.retain(|_| self.random.below(5) > 0);
        for _ in 0..self.random.below(3) {
            let name = format!("EXTRA{:09}", self.random.below(1_000_000_000));
            names.push((name, None));
        }
        for i in (1..names.len()).rev() {
            names.swap(i, self.random.below(i as u64 + 1) as usize);
        }
        self.out.push('{');
        for (i, (name, place)) in names.iter().enumerate() {
            if i > 0 {
                self.out.push(',');
            }
            self.blanks();
            self.text(name);
            self.blanks();
            self.out.push(':');
            self.value(*place, depth + 1);
        }
        self.out.push('}');
    }

    fn array(&mut self, items: Option<&Place>, depth: u64) {
        self.out.push('[');
        for i in 0..self.random.below(4) {
            if i > 0 {
                self.out.push(',');
            }
            self.value(items, depth + 1);
        }
        self.out.push(']');
    }
}

fn random_event(seed: u64) -> (Shape, String, Vec<String>) {
    let mut random = Random(seed);
    let mut shape = Shape { root: random_place(&mut random, 0), ..Shape::default() };
    shape.root.class = None;
    let mut writer = Writer { random: &mut random, out: String::new(), marks: Vec::new() };
    writer.value(Some(&shape.root), 0);
    (shape, writer.out, writer.marks)
}

/// The masked event as the rules say it in words, on a DOM.
pub(crate) fn masked(value: &Value, place: &Place, inherited: Option<&Class>) -> Option<Value> {
    let class = place.class.as_ref().or(inherited);
    let visible = class.is_some_and(|class| matches!(class.as_str(), "public" | "internal"));
    if place.properties.is_empty() && place.items.is_none() {
        return visible.then(|| value.clone());
    }
    match (value, &place.items) {
        (Value::Object(members), _) if !place.properties.is_empty() => {
            let kept = members.iter().filter_map(|(name, value)| {
                let child = place.properties.get(name)?;
                Some((name.clone(), masked(value, child, class)?))
            });
            Some(Value::Object(kept.collect::<Map<_, _>>()))
        }
        (Value::Array(elements), Some(items)) => {
            Some(Value::Array(elements.iter().map(|e| masked(e, items, class).unwrap_or(Value::Null)).collect()))
        }
        (Value::Null, _) if visible => Some(Value::Null),
        _ => None,
    }
}

/// A mark in every spelling in which it might leak.
fn spellings(mark: &str) -> Vec<Vec<u8>> {
    let escaped: String = mark.chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect();
    let hex: String = mark.bytes().map(|byte| format!("{byte:02x}")).collect();
    let utf16 = |bytes: fn(u16) -> [u8; 2]| mark.encode_utf16().flat_map(bytes).collect::<Vec<u8>>();
    let mut all =
        vec![mark.as_bytes().to_vec(), escaped.into_bytes(), hex.to_uppercase().into_bytes(), hex.into_bytes()];
    all.push(utf16(u16::to_le_bytes));
    all.push(utf16(u16::to_be_bytes));
    for shift in 0..3 {
        // The part of a base64 text that does not depend on what is around the mark.
        let padded = [vec![b'x'; shift], mark.as_bytes().to_vec()].concat();
        let text = base64::engine::general_purpose::STANDARD_NO_PAD.encode(padded);
        all.push(text.into_bytes()[4..16].to_vec());
    }
    all
}

pub(crate) fn occurs(needle: &[u8], haystack: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn reveal_all_is_exact_and_a_mask_is_what_the_rules_say(seed in any::<u64>()) {
        let (shape, json, marks) = random_event(seed);
        let keys = Keys::of(Form::of(seed));
        let rules = std::sync::Arc::new(tradelane_seal::Rules::compile(&shape, 1).unwrap());
        let record = seal(&rules, &keys, &json);
        prop_assert_eq!(&render(&view(&rules, &reveal_all(&rules)), &keys, &record), &json);

        let out = render(&view(&rules, &ViewSpec::default()), &keys, &record);
        let value: Value = serde_json::from_str(&json).unwrap();
        let expected = masked(&value, &shape.root, None).unwrap_or(Value::Null);
        let seen: Value = serde_json::from_str(&out).unwrap();
        prop_assert_eq!(&seen, &expected, "{} -> {}", json, out);

        let visible = expected.to_string();
        for mark in &marks {
            for spelling in spellings(mark) {
                prop_assert!(!occurs(&spelling, &record), "{} is stored", mark);
                if !visible.contains(mark.as_str()) {
                    prop_assert!(!occurs(&spelling, out.as_bytes()), "{} is shown", mark);
                }
            }
        }
        prop_assert!(!out.contains("EXTRA") || visible.contains("EXTRA"));
    }

    #[test]
    fn a_random_change_of_a_record_never_shows_another_event(seed in any::<u64>(), at in any::<u64>(), bit in 0..8_u8) {
        let (shape, json, _) = random_event(seed);
        let keys = Keys::of(Form::of(seed));
        let rules = std::sync::Arc::new(tradelane_seal::Rules::compile(&shape, 1).unwrap());
        let mut record = seal(&rules, &keys, &json);
        let at = (at % record.len() as u64) as usize;
        record[at] ^= 1 << bit;
        prop_assert!(try_render(&view(&rules, &reveal_all(&rules)), &keys, &record).is_err());
    }
}
