//! Events in Avro: random schemas, contracts and events against a plain reading of the rules, and what each mask makes of
//! each type.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};
use tradelane_encodings::avro::Schema;
use tradelane_encodings::{Limits, Tree, varint};
use tradelane_model::shape::{Place, Shape};
use tradelane_model::view::{DateUnit, Generalize};
use tradelane_model::{Action, ViewSpec};
use tradelane_seal::*;

use crate::common::*;
use crate::properties::{CLASSES, Random, masked, occurs};

pub(crate) fn codec(schema: &str) -> Arc<Codec> {
    Arc::new(Codec::avro(Schema::parse(schema).unwrap()))
}

pub(crate) fn seal_avro(rules: &Rules, codec: &Codec, keys: &Keys, event: &[u8]) -> Vec<u8> {
    let mut tree = Tree::new();
    codec.walk(event, &Limits::EVENT, &mut tree).unwrap();
    let located = rules.locate_binary(codec, event, &tree, &tagger()).unwrap();
    seal_located(&located, keys)
}

fn view_of(rules: &Arc<Rules>, codec: &Arc<Codec>, spec: &ViewSpec) -> View {
    view(rules, spec).of_binary(codec.clone())
}

fn shown(view: &View, keys: &Keys, record: &[u8]) -> Result<Vec<u8>, Withheld> {
    let event = OpenedEvent::open(record, &product(), keys)?;
    let mut out = Vec::new();
    view.render(&event, keys, &mut Scratch::default(), &mut out)?;
    Ok(out)
}

fn shown_json(view: &View, keys: &Keys, record: &[u8]) -> Value {
    let event = OpenedEvent::open(record, &product(), keys).unwrap();
    let mut out = Vec::new();
    view.render_json(&event, keys, &mut Scratch::default(), false, &mut out).unwrap();
    serde_json::from_slice(&out).unwrap()
}

fn to_json(schema: &Schema, event: &[u8]) -> Value {
    let (mut tree, mut out) = (Tree::new(), Vec::new());
    schema.walk(event, &Limits::EVENT, &mut tree).unwrap();
    schema.write_json(event, &tree, &[], &mut out).unwrap();
    serde_json::from_slice(&out).unwrap()
}

fn text(text: &str, out: &mut Vec<u8>) {
    varint::write_signed(text.len() as i64, out);
    out.extend_from_slice(text.as_bytes());
}

/// A schema, a contract for it and an event of it, made together.
struct Maker {
    random: Random,
    names: usize,
    out: Vec<u8>,
    marks: Vec<String>,
}

impl Maker {
    fn place(&mut self, depth: u64) -> Place {
        let has_class = depth > 0 && self.random.below(3) > 0;
        Place { class: has_class.then(|| class(self.random.pick(&CLASSES))), ..Place::default() }
    }

    /// A type with its place; what it makes is written by a function of its own, since items are written several times.
    fn kind(&mut self, depth: u64) -> (Value, Place, Make) {
        let mut place = self.place(depth);
        let deep = depth >= 4;
        let (schema, make) = match self.random.below(if deep { 8 } else { 13 }) {
            0 => (json!("long"), Make::Long),
            1 => (json!("boolean"), Make::Boolean),
            2 => (json!("bytes"), Make::Bytes),
            3 => (json!("double"), Make::Double),
            4 => (json!("null"), Make::Null),
            5 => (self.named(json!({"type": "fixed", "size": 12})), Make::Fixed),
            6 | 7 => (json!("string"), Make::String),
            8 => {
                let (items, below, make) = self.kind(depth + 1);
                place.items = (self.random.below(4) > 0).then(|| Box::new(below));
                (json!({"type": "array", "items": items}), Make::Array(Box::new(make)))
            }
            9 => {
                let (values, below, make) = self.kind(depth + 1);
                if self.random.below(3) > 0 {
                    place.properties.insert("k0".into(), below.clone());
                }
                (json!({"type": "map", "values": values}), Make::Map(Box::new(make)))
            }
            10 => {
                let (inner, below, make) = self.kind(depth + 1);
                if inner.is_array() || inner == json!("null") {
                    (inner, make)
                } else {
                    let class = place.class.take();
                    place = Place { class, ..below };
                    let first = self.random.below(2) == 0;
                    let union = if first { json!(["null", inner]) } else { json!([inner, "null"]) };
                    (union, Make::Maybe(Box::new(make), first))
                }
            }
            _ => {
                let mut fields = Vec::new();
                let mut makes = Vec::new();
                for at in 0..self.random.below(4) + 1 {
                    let (schema, below, make) = self.kind(depth + 1);
                    let name = format!("f{at}");
                    fields.push(json!({"name": name, "type": schema}));
                    makes.push(make);
                    if self.random.below(5) > 0 {
                        place.properties.insert(name, below);
                    }
                }
                (self.named(json!({"type": "record", "fields": fields})), Make::Record(makes))
            }
        };
        (schema, place, make)
    }

    fn named(&mut self, mut schema: Value) -> Value {
        self.names += 1;
        schema["name"] = json!(format!("N{}", self.names));
        schema
    }

    fn mark(&mut self) -> String {
        let mark = format!("MARK{:08}", self.random.below(100_000_000));
        self.marks.push(mark.clone());
        mark
    }

    fn write(&mut self, make: &Make) {
        match make {
            Make::Null => {}
            Make::Boolean => self.out.push((self.random.below(2)) as u8),
            Make::Long => {
                let number = self.random.below(u64::MAX) as i64 >> self.random.below(60);
                varint::write_signed(number, &mut self.out);
            }
            Make::Double => {
                let number = self.random.below(1_000) as f64 / 8.0;
                self.out.extend_from_slice(&number.to_le_bytes());
            }
            Make::Fixed => {
                let mark = self.mark();
                self.out.extend_from_slice(mark.as_bytes());
            }
            Make::Bytes | Make::String => {
                let mark = self.mark();
                text(&mark, &mut self.out);
            }
            Make::Maybe(inner, null_first) => {
                let is_null = self.random.below(3) == 0;
                self.out.push(if is_null == *null_first { 0 } else { 2 });
                if !is_null {
                    self.write(inner);
                }
            }
            Make::Record(fields) => fields.iter().for_each(|field| self.write(field)),
            Make::Array(item) | Make::Map(item) => {
                let mut key = 0;
                for _ in 0..self.random.below(3) {
                    let count = self.random.below(3) + 1;
                    let before = std::mem::take(&mut self.out);
                    for _ in 0..count {
                        if matches!(make, Make::Map(_)) {
                            // The first key may be named by the contract; the others are data.
                            let name = if key == 0 { "k0".to_owned() } else { self.mark() + &key.to_string() };
                            key += 1;
                            text(&name, &mut self.out);
                        }
                        self.write(item);
                    }
                    let items = std::mem::replace(&mut self.out, before);
                    if self.random.below(2) == 0 {
                        varint::write_signed(-(count as i64), &mut self.out);
                        varint::write_signed(items.len() as i64, &mut self.out);
                    } else {
                        varint::write_signed(count as i64, &mut self.out);
                    }
                    self.out.extend(items);
                }
                self.out.push(0);
            }
        }
    }
}

enum Make {
    Null,
    Boolean,
    Long,
    Double,
    Bytes,
    Fixed,
    String,
    Maybe(Box<Make>, bool),
    Record(Vec<Make>),
    Array(Box<Make>),
    Map(Box<Make>),
}

struct Made {
    schema: String,
    shape: Shape,
    event: Vec<u8>,
    marks: Vec<String>,
}

fn made(seed: u64) -> Made {
    let mut maker = Maker { random: Random(seed), names: 0, out: Vec::new(), marks: Vec::new() };
    let (schema, root, make) = maker.kind(0);
    maker.write(&make);
    let shape = Shape { root, ..Shape::default() };
    Made { schema: schema.to_string(), shape, event: maker.out, marks: maker.marks }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn reveal_all_is_exact_and_a_mask_is_what_the_rules_say(seed in any::<u64>()) {
        let made = made(seed);
        let (codec, keys) = (codec(&made.schema), Keys::of(Form::of(seed)));
        let schema = Schema::parse(&made.schema).unwrap();
        let rules = Arc::new(Rules::compile(&made.shape, 1).unwrap());
        let record = seal_avro(&rules, &codec, &keys, &made.event);
        let all = view_of(&rules, &codec, &reveal_all(&rules));
        prop_assert_eq!(&shown(&all, &keys, &record).unwrap(), &made.event);

        let clear = to_json(&schema, &made.event);
        prop_assert_eq!(&shown_json(&all, &keys, &record), &clear);
        let view = view_of(&rules, &codec, &ViewSpec::default());
        let out = shown(&view, &keys, &record).unwrap();
        let expected = masked(&clear, &made.shape.root, None).unwrap_or(Value::Null);
        prop_assert_eq!(&shown_json(&view, &keys, &record), &expected, "{} {}", made.schema, clear);
        // What is shown is an event of the schema, whatever was left out.
        to_json(&schema, &out);

        let visible = expected.to_string();
        for mark in &made.marks {
            prop_assert!(!occurs(mark.as_bytes(), &record), "{} is stored", mark);
            let is_shown = occurs(mark.as_bytes(), &out);
            prop_assert!(!is_shown || visible.contains(mark.as_str()) || seen_in_base64(&expected, mark), "{} is shown", mark);
        }
    }

    #[test]
    fn an_event_cut_anew_shows_what_the_current_contract_says(seed in any::<u64>()) {
        let made = made(seed);
        let (codec, keys) = (codec(&made.schema), Keys::of(Form::of(seed)));
        let schema = Schema::parse(&made.schema).unwrap();
        let mut before = made.shape.clone();
        publish(&mut before.root);
        let old = Arc::new(Rules::compile(&before, 1).unwrap());
        let current = Arc::new(Rules::compile(&made.shape, 2).unwrap());
        let record = seal_avro(&old, &codec, &keys, &made.event);
        let view = View::compile(&old, &current, &ViewSpec::default(), view_keys("corner"));
        let view = view.unwrap().of_binary(codec.clone());
        let out = shown(&view, &keys, &record).unwrap();
        to_json(&schema, &out);
        let clear = to_json(&schema, &made.event);
        let expected = masked(&clear, &made.shape.root, None).unwrap_or(Value::Null);
        prop_assert_eq!(&shown_json(&view, &keys, &record), &expected);
    }

    #[test]
    fn a_random_change_of_a_record_never_shows_another_event(seed in any::<u64>(), at in any::<u64>(), bit in 0..8_u8) {
        let made = made(seed);
        let (codec, keys) = (codec(&made.schema), Keys::of(Form::of(seed)));
        let rules = Arc::new(Rules::compile(&made.shape, 1).unwrap());
        let mut record = seal_avro(&rules, &codec, &keys, &made.event);
        let at = (at % record.len() as u64) as usize;
        record[at] ^= 1 << bit;
        prop_assert!(shown(&view_of(&rules, &codec, &reveal_all(&rules)), &keys, &record).is_err());
    }

    #[test]
    fn bytes_that_are_changed_are_an_event_that_comes_back_or_are_refused(seed in any::<u64>(), at in any::<u64>(), byte in any::<u8>()) {
        let mut made = made(seed);
        if made.event.is_empty() {
            return Ok(());
        }
        let at = (at % made.event.len() as u64) as usize;
        made.event[at] = byte;
        let (codec, keys) = (codec(&made.schema), Keys::of(Form::of(seed)));
        if codec.walk(&made.event, &Limits::EVENT, &mut Tree::new()).is_err() {
            return Ok(());
        }
        let rules = Arc::new(Rules::compile(&made.shape, 1).unwrap());
        let record = seal_avro(&rules, &codec, &keys, &made.event);
        prop_assert_eq!(&shown(&view_of(&rules, &codec, &reveal_all(&rules)), &keys, &record).unwrap(), &made.event);
        shown(&view_of(&rules, &codec, &ViewSpec::default()), &keys, &record).unwrap();
    }
}

/// Everything that has a name becomes public.
fn publish(place: &mut Place) {
    place.class = Some(class("public"));
    place.properties.values_mut().for_each(publish);
    if let Some(items) = &mut place.items {
        publish(items);
    }
}

/// Bytes are base64 in JSON; is the mark visible that way?
fn seen_in_base64(value: &Value, mark: &str) -> bool {
    use base64::Engine as _;
    let encoded = base64::engine::general_purpose::STANDARD.encode(mark);
    value.to_string().contains(&encoded)
}

const ORDER: &str = r#"{"type":"record","name":"acme.Order","fields":[
  {"name":"id","type":"string"},
  {"name":"who","type":"string"},
  {"name":"phone","type":["null","string"]},
  {"name":"price","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}},
  {"name":"day","type":{"type":"int","logicalType":"date"}},
  {"name":"lines","type":{"type":"array","items":{"type":"record","name":"Line","fields":[
     {"name":"sku","type":"string"},{"name":"qty","type":"int"}]}}},
  {"name":"labels","type":{"type":"map","values":"string"}}]}"#;

fn order(who: &str) -> Vec<u8> {
    let mut out = Vec::new();
    text("o-1", &mut out);
    text(who, &mut out);
    out.push(2);
    text("+41 44 000 00 00", &mut out);
    // 123.45
    out.extend_from_slice(&[4, 0x30, 0x39]);
    varint::write_signed(20_779, &mut out);
    // Two lines in a block that says its size.
    let mut lines = Vec::new();
    for sku in ["x", "y"] {
        text(sku, &mut lines);
        varint::write_signed(47, &mut lines);
    }
    varint::write_signed(-2, &mut out);
    varint::write_signed(lines.len() as i64, &mut out);
    out.extend(lines);
    out.push(0);
    varint::write_signed(2, &mut out);
    for (key, value) in [("color", "red"), ("anna@example.org", "vip")] {
        text(key, &mut out);
        text(value, &mut out);
    }
    out.push(0);
    out
}

fn order_rules() -> Arc<Rules> {
    rules(&[
        ("/id", "public"),
        ("/who", "pii@/who"),
        ("/phone", "pii@/who"),
        ("/price", "confidential"),
        ("/day", "confidential"),
        ("/lines/*/sku", "confidential"),
        ("/lines/*/qty", "confidential"),
        ("/labels/color", "public"),
        ("/labels/{}", "pii@/who"),
    ])
}

fn fields(fields: &[(&str, Action)]) -> ViewSpec {
    spec(&[], fields)
}

#[test]
fn what_is_left_out_is_gone_from_json_and_empty_in_avro() {
    let (codec, keys, rules) = (codec(ORDER), Keys::new(), order_rules());
    let record = seal_avro(&rules, &codec, &keys, &order("Anna"));
    let view = view_of(&rules, &codec, &ViewSpec::default());
    assert_eq!(shown_json(&view, &keys, &record), json!({"id": "o-1", "lines": [{}, {}], "labels": {"color": "red"}}));
    let out = shown(&view, &keys, &record).unwrap();
    let seen = to_json(&Schema::parse(ORDER).unwrap(), &out);
    let line = json!({"sku": "", "qty": 0});
    let expected = json!({"id": "o-1", "who": "", "phone": null, "price": 0.00, "day": "1970-01-01",
        "lines": [line, line], "labels": {"color": "red"}});
    assert_eq!(seen, expected);
}

#[test]
fn masks_keep_types() {
    let (codec, keys, rules) = (codec(ORDER), Keys::new(), order_rules());
    let record = seal_avro(&rules, &codec, &keys, &order("Anna"));
    let view = view_of(
        &rules,
        &codec,
        &fields(&[
            ("/who", Action::Pseudonym),
            ("/phone", Action::Partial { first: 3, last: 2 }),
            ("/price", Action::Generalize(Generalize::Number { bucket: 10.0 })),
            ("/day", Action::Generalize(Generalize::Date(DateUnit::Month))),
            ("/lines/*/sku", Action::Redact),
            ("/lines/*/qty", Action::Generalize(Generalize::Number { bucket: 10.0 })),
        ]),
    );
    let out = shown(&view, &keys, &record).unwrap();
    let seen = to_json(&Schema::parse(ORDER).unwrap(), &out);
    assert_eq!(seen["phone"], "+41***00");
    assert_eq!(seen["price"], json!(120.00));
    assert_eq!(seen["day"], "2026-11-01");
    assert_eq!(seen["lines"], json!([{"sku": "***", "qty": 40}, {"sku": "***", "qty": 40}]));
    // A person has one pseudonym, in whatever encoding their name came.
    let json_rules = rules_of_json();
    let json_record = seal(&json_rules, &keys, r#"{"who": "Anna"}"#);
    let json_view = tradelane_seal::View::compile(
        &json_rules,
        &json_rules,
        &fields(&[("/who", Action::Pseudonym)]),
        view_keys("corner"),
    );
    let from_json: Value = serde_json::from_str(&render(&json_view.unwrap(), &keys, &json_record)).unwrap();
    let avro_view =
        tradelane_seal::View::compile(&rules, &rules, &fields(&[("/who", Action::Pseudonym)]), view_keys("corner"));
    let from_avro = shown_json(&avro_view.unwrap().of_binary(codec.clone()), &keys, &record);
    assert_eq!(from_avro["who"], from_json["who"]);
    let other =
        tradelane_seal::View::compile(&rules, &rules, &fields(&[("/who", Action::Pseudonym)]), view_keys("other"));
    let elsewhere = shown_json(&other.unwrap().of_binary(codec), &keys, &record);
    assert_ne!(elsewhere["who"], from_avro["who"], "consumers cannot join them");
}

fn rules_of_json() -> Arc<Rules> {
    rules(&[("/who", "pii@/who")])
}

#[test]
fn an_erased_person_leaves_nothing_in_any_view() {
    let (codec, keys, rules) = (codec(ORDER), Keys::new(), order_rules());
    let record = seal_avro(&rules, &codec, &keys, &order("Anna"));
    keys.destroy("Anna");
    let view = view_of(&rules, &codec, &reveal_all(&rules));
    let out = shown(&view, &keys, &record).unwrap();
    for gone in ["Anna", "+41", "anna@example.org", "vip"] {
        assert!(!occurs(gone.as_bytes(), &out), "{gone}");
    }
    let seen = to_json(&Schema::parse(ORDER).unwrap(), &out);
    assert_eq!(seen["phone"], Value::Null);
    assert_eq!(seen["labels"], json!({"color": "red"}));
    assert_eq!(seen["price"], json!(123.45));
    let json = shown_json(&view, &keys, &record);
    assert!(json.get("who").is_none() && json.get("phone").is_none());
}

#[test]
fn a_token_comes_back_as_the_value() {
    let (codec, keys, rules) = (codec(ORDER), Keys::new(), order_rules());
    let record = seal_avro(&rules, &codec, &keys, &order("Anna"));
    let view = view_of(&rules, &codec, &fields(&[("/who", Action::Token)]));
    let seen = shown_json(&view, &keys, &record);
    let token = seen["who"].as_str().unwrap();
    assert!(token.starts_with("t-"), "{token}");
}

#[test]
fn a_record_of_another_encoding_is_not_shown_by_a_view() {
    let (codec, keys, rules) = (codec(ORDER), Keys::new(), order_rules());
    let record = seal_avro(&rules, &codec, &keys, &order("Anna"));
    assert_eq!(shown(&view(&rules, &ViewSpec::default()), &keys, &record), Err(Withheld::OtherShape));
    let json_record = seal(&rules, &keys, r#"{"id": "x"}"#);
    assert_eq!(shown(&view_of(&rules, &codec, &ViewSpec::default()), &keys, &json_record), Err(Withheld::OtherShape));
}

#[test]
fn a_contract_that_names_what_its_schema_does_not_have_is_told_the_place() {
    let codec = codec(ORDER);
    let agreed = |list: &[(&str, &str)]| codec.agree(&shape(list));
    assert!(agreed(&[("/id", "public"), ("/lines/*/sku", "pii"), ("/labels/{}", "pii"), ("/labels/x", "pii")]).is_ok());
    for (at, reason) in
        [("/nmae", "no such field"), ("/id/x", "no such field"), ("/labels/*", "no array"), ("/id/{}", "no map")]
    {
        let (place, why) = agreed(&[(at, "public")]).unwrap_err();
        assert_eq!(place.to_string(), at);
        assert!(why.contains(reason), "{why}");
    }
    let mut typed = shape(&[("/price", "public")]);
    typed.root.properties.get_mut("price").unwrap().types = tradelane_model::shape::Types::STRING;
    assert!(codec.agree(&typed).unwrap_err().1.contains("a number"));
}
