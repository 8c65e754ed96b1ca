//! Events in Protobuf: random messages, contracts and events against a plain reading of the rules, and what each mask makes
//! of each type.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};
use tradelane_encodings::protobuf::{Field, Kind, Label, Message, Schema};
use tradelane_encodings::{Limits, Tree, varint};
use tradelane_model::shape::{Place, Shape};
use tradelane_model::view::{DateUnit, Generalize};
use tradelane_model::{Action, ViewSpec};
use tradelane_seal::*;

use crate::common::*;
use crate::properties::{CLASSES, Random, masked, occurs};

fn seal_binary(rules: &Rules, codec: &Codec, keys: &Keys, event: &[u8]) -> Vec<u8> {
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
    schema.write_json(event, &tree, false, &mut out).unwrap();
    serde_json::from_slice(&out).unwrap()
}

fn tag(number: u32, wire: u8, out: &mut Vec<u8>) {
    varint::write(u64::from(number) << 3 | u64::from(wire), out);
}

fn counted(number: u32, bytes: &[u8], out: &mut Vec<u8>) {
    tag(number, 2, out);
    varint::write(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn field(number: u32, name: &str, kind: Kind, label: Label) -> Field {
    Field { number, name: name.into(), kind, label, oneof: None }
}

/// Messages, a contract for them and an event of the first, made together.
struct Maker {
    random: Random,
    messages: Vec<Message>,
    marks: Vec<String>,
}

impl Maker {
    fn class(&mut self) -> Place {
        let has_class = self.random.below(3) > 0;
        Place { class: has_class.then(|| class(self.random.pick(&CLASSES))), ..Place::default() }
    }

    fn message(&mut self, depth: u64) -> (u32, Place) {
        let index = self.messages.len() as u32;
        self.messages.push(Message { name: format!("M{index}").into(), fields: Vec::new() });
        let (mut place, mut fields) = (Place::default(), Vec::new());
        for number in 1..self.random.below(5) + 2 {
            let (kind, inner) = self.kind(depth);
            let name = format!("f{number}");
            let label = match self.random.below(6) {
                0 => Label::Optional,
                1 => Label::Required,
                2 | 3 => Label::Repeated,
                4 => Label::Map,
                _ => Label::Implicit,
            };
            let (kind, label) = match (kind, label) {
                // Maps hold no groups, and are messages of their own.
                (Kind::Group(inner), Label::Map) => (Kind::Group(inner), Label::Repeated),
                (kind, Label::Map) => {
                    let entry = self.messages.len() as u32;
                    let pair =
                        vec![field(1, "key", Kind::String, Label::Implicit), field(2, "value", kind, Label::Implicit)];
                    self.messages.push(Message { name: format!("E{entry}").into(), fields: pair });
                    (Kind::Message(entry), Label::Map)
                }
                other => other,
            };
            let mut at = self.class();
            match label {
                Label::Repeated if self.random.below(4) > 0 => at.items = Some(Box::new(inner)),
                Label::Map if self.random.below(4) > 0 => drop(at.properties.insert("k0".into(), inner)),
                Label::Repeated | Label::Map => {}
                _ => at = Place { class: at.class, ..inner },
            }
            if self.random.below(5) > 0 {
                place.properties.insert(name.clone(), at);
            }
            fields.push(field(number as u32, &name, kind, label));
        }
        self.messages[index as usize].fields = fields;
        (index, place)
    }

    fn kind(&mut self, depth: u64) -> (Kind, Place) {
        let scalar = self.class();
        match self.random.below(if depth >= 3 { 7 } else { 10 }) {
            0 => (Kind::Int64, scalar),
            1 => (Kind::Sint32, scalar),
            2 => (Kind::Double, scalar),
            3 => (Kind::Fixed32, scalar),
            4 => (Kind::Bool, scalar),
            5 => (Kind::Bytes, scalar),
            7 | 8 => {
                let (message, place) = self.message(depth + 1);
                (Kind::Message(message), Place { class: scalar.class, ..place })
            }
            9 => {
                let (message, place) = self.message(depth + 1);
                (Kind::Group(message), Place { class: scalar.class, ..place })
            }
            _ => (Kind::String, scalar),
        }
    }

    fn mark(&mut self) -> String {
        let mark = format!("MARK{:08}", self.random.below(100_000_000));
        self.marks.push(mark.clone());
        mark
    }

    /// A message's bytes; its fields in any order.
    fn write(&mut self, message: u32) -> Vec<u8> {
        let mut parts: Vec<Vec<u8>> = Vec::new();
        for field in self.messages[message as usize].fields.clone() {
            let times = match field.label {
                Label::Required => 1,
                Label::Repeated => self.random.below(4),
                Label::Map => self.random.below(3),
                _ => self.random.below(2),
            };
            let is_number =
                matches!(field.kind, Kind::Int64 | Kind::Sint32 | Kind::Double | Kind::Fixed32 | Kind::Bool);
            if field.label == Label::Repeated && is_number && self.random.below(2) == 0 {
                let mut together = Vec::new();
                (0..times).for_each(|_| self.scalar(&field.kind, &mut together));
                let mut out = Vec::new();
                counted(field.number, &together, &mut out);
                parts.push(out);
                continue;
            }
            for at in 0..times {
                let mut out = Vec::new();
                if field.label == Label::Map {
                    let Kind::Message(entry) = field.kind else { panic!("an entry is a message") };
                    let value = self.messages[entry as usize].fields[1].clone();
                    let key = if at == 0 { "k0".to_owned() } else { self.mark() + &at.to_string() };
                    let mut pair = Vec::new();
                    counted(1, key.as_bytes(), &mut pair);
                    if self.random.below(5) > 0 {
                        self.field(&value, &mut pair);
                    }
                    counted(field.number, &pair, &mut out);
                } else {
                    self.field(&field, &mut out);
                }
                parts.push(out);
            }
        }
        // What it hides elsewhere has a test of its own.
        if message == 0 && self.random.below(3) == 0 {
            let (mark, mut out) = (self.mark(), Vec::new());
            counted(1_000, mark.as_bytes(), &mut out);
            parts.push(out);
        }
        for at in (1..parts.len()).rev() {
            parts.swap(at, self.random.below(at as u64 + 1) as usize);
        }
        parts.concat()
    }

    fn field(&mut self, field: &Field, out: &mut Vec<u8>) {
        match field.kind {
            Kind::Message(message) => {
                let inner = self.write(message);
                counted(field.number, &inner, out);
            }
            Kind::Group(message) => {
                tag(field.number, 3, out);
                let inner = self.write(message);
                out.extend(inner);
                tag(field.number, 4, out);
            }
            Kind::String | Kind::Bytes => {
                let mark = self.mark();
                counted(field.number, mark.as_bytes(), out);
            }
            ref kind => {
                let wire = match kind {
                    Kind::Double => 1,
                    Kind::Fixed32 => 5,
                    _ => 0,
                };
                tag(field.number, wire, out);
                self.scalar(kind, out);
            }
        }
    }

    fn scalar(&mut self, kind: &Kind, out: &mut Vec<u8>) {
        let number = self.random.below(u64::MAX) >> self.random.below(60);
        match kind {
            Kind::Double => out.extend_from_slice(&((number % 1_000) as f64 / 8.0).to_le_bytes()),
            Kind::Fixed32 => out.extend_from_slice(&(number as u32).to_le_bytes()),
            Kind::Bool => out.push((number & 1) as u8),
            Kind::Sint32 => varint::write(u64::from(number as u32), out),
            _ => varint::write(number, out),
        }
    }
}

struct Made {
    schema: Schema,
    shape: Shape,
    event: Vec<u8>,
    marks: Vec<String>,
}

fn made(seed: u64) -> Made {
    let mut maker = Maker { random: Random(seed), messages: Vec::new(), marks: Vec::new() };
    let (_, root) = maker.message(0);
    let event = maker.write(0);
    let schema = Schema::new(maker.messages).unwrap();
    Made { schema, shape: Shape { root, ..Shape::default() }, event, marks: maker.marks }
}

/// Without what has no entries: a list that lost all of them is not there at all, and items leave no gap.
fn without_empty(value: Value) -> Option<Value> {
    let is_full = |value: &Value| value != &json!({}) && value != &json!([]) && !value.is_null();
    let value = match value {
        Value::Array(items) => items.into_iter().filter_map(without_empty).collect(),
        Value::Object(members) => {
            members.into_iter().filter_map(|(name, value)| Some((name, without_empty(value)?))).collect()
        }
        value => value,
    };
    is_full(&value).then_some(value)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn reveal_all_is_exact_and_a_mask_is_what_the_rules_say(seed in any::<u64>()) {
        let mut made = made(seed);
        // Required fields are compared in a test of their own.
        made.schema = relaxed(&made.schema);
        let (codec, keys) = (Arc::new(Codec::protobuf(made.schema.clone())), Keys::of(Form::of(seed)));
        let rules = Arc::new(Rules::compile(&made.shape, 1).unwrap());
        let record = seal_binary(&rules, &codec, &keys, &made.event);
        let all = view_of(&rules, &codec, &reveal_all(&rules));
        prop_assert_eq!(&shown(&all, &keys, &record).unwrap(), &made.event);

        let clear = to_json(&made.schema, &made.event);
        prop_assert_eq!(&shown_json(&all, &keys, &record), &clear);
        let view = view_of(&rules, &codec, &ViewSpec::default());
        let out = shown(&view, &keys, &record).unwrap();
        let expected = masked(&clear, &made.shape.root, None).unwrap_or(Value::Null);
        prop_assert_eq!(without_empty(shown_json(&view, &keys, &record)), without_empty(expected.clone()), "{}", clear);
        to_json(&made.schema, &out);

        let visible = expected.to_string();
        for mark in &made.marks {
            prop_assert!(!occurs(mark.as_bytes(), &record), "{} is stored", mark);
            let is_shown = occurs(mark.as_bytes(), &out);
            prop_assert!(!is_shown || visible.contains(mark.as_str()) || visible.contains(&base64(mark)), "{} is shown", mark);
        }
    }

    #[test]
    fn whatever_is_hidden_what_is_shown_is_an_event_with_all_that_is_required(seed in any::<u64>()) {
        let made = made(seed);
        let (codec, keys) = (Arc::new(Codec::protobuf(made.schema.clone())), Keys::of(Form::of(seed)));
        let rules = Arc::new(Rules::compile(&made.shape, 1).unwrap());
        let record = seal_binary(&rules, &codec, &keys, &made.event);
        for action in [Action::Drop, Action::Redact, Action::Pseudonym, Action::Partial { first: 1, last: 1 },
                       Action::Generalize(Generalize::Number { bucket: 10.0 })] {
            let classes = CLASSES.iter().skip(1).map(|name| (class(name), action.clone())).collect();
            let view = view_of(&rules, &codec, &ViewSpec { classes, ..ViewSpec::default() });
            let out = shown(&view, &keys, &record).unwrap();
            to_json(&made.schema, &out);
            for field in made.schema.messages()[0].fields.iter().filter(|field| field.label == Label::Required) {
                let slot = made.schema.named(0, &field.name).unwrap();
                let (mut tree, mut found) = (Tree::new(), false);
                made.schema.walk(&out, &Limits::EVENT, &mut tree).unwrap();
                tree.below(0).for_each(|(_, node)| found |= node.slot == slot);
                prop_assert!(found, "{} with {:?}", field.name, action);
            }
        }
    }

    #[test]
    fn an_event_cut_anew_shows_what_the_current_contract_says(seed in any::<u64>()) {
        let mut made = made(seed);
        made.schema = relaxed(&made.schema);
        let (codec, keys) = (Arc::new(Codec::protobuf(made.schema.clone())), Keys::of(Form::of(seed)));
        let mut before = made.shape.clone();
        publish(&mut before.root);
        let old = Arc::new(Rules::compile(&before, 1).unwrap());
        let current = Arc::new(Rules::compile(&made.shape, 2).unwrap());
        let record = seal_binary(&old, &codec, &keys, &made.event);
        let view = View::compile(&old, &current, &ViewSpec::default(), view_keys("corner"));
        let view = view.unwrap().of_binary(codec.clone());
        let clear = to_json(&made.schema, &made.event);
        let expected = masked(&clear, &made.shape.root, None).unwrap_or(Value::Null);
        prop_assert_eq!(without_empty(shown_json(&view, &keys, &record)), without_empty(expected));
    }

    #[test]
    fn a_random_change_of_a_record_never_shows_another_event(seed in any::<u64>(), at in any::<u64>(), bit in 0..8_u8) {
        let made = made(seed);
        let (codec, keys) = (Arc::new(Codec::protobuf(made.schema.clone())), Keys::of(Form::of(seed)));
        let rules = Arc::new(Rules::compile(&made.shape, 1).unwrap());
        let mut record = seal_binary(&rules, &codec, &keys, &made.event);
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
        let (codec, keys) = (Arc::new(Codec::protobuf(made.schema.clone())), Keys::of(Form::of(seed)));
        if codec.walk(&made.event, &Limits::EVENT, &mut Tree::new()).is_err() {
            return Ok(());
        }
        let rules = Arc::new(Rules::compile(&made.shape, 1).unwrap());
        let record = seal_binary(&rules, &codec, &keys, &made.event);
        prop_assert_eq!(&shown(&view_of(&rules, &codec, &reveal_all(&rules)), &keys, &record).unwrap(), &made.event);
        let out = shown(&view_of(&rules, &codec, &ViewSpec::default()), &keys, &record).unwrap();
        codec.walk(&out, &Limits::EVENT, &mut Tree::new()).unwrap();
    }
}

/// The same messages without required fields.
fn relaxed(schema: &Schema) -> Schema {
    let mut messages = schema.messages().to_vec();
    for field in messages.iter_mut().flat_map(|message| &mut message.fields) {
        if field.label == Label::Required {
            field.label = Label::Optional;
        }
    }
    Schema::new(messages).unwrap()
}

/// Everything that has a name becomes public.
fn publish(place: &mut Place) {
    place.class = Some(class("public"));
    place.properties.values_mut().for_each(publish);
    if let Some(items) = &mut place.items {
        publish(items);
    }
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

fn order_schema() -> Schema {
    let message = |name: &str, fields| Message { name: name.into(), fields };
    let order = vec![
        field(1, "id", Kind::String, Label::Implicit),
        field(2, "who", Kind::String, Label::Implicit),
        field(3, "qty", Kind::Uint32, Label::Implicit),
        field(4, "nums", Kind::Sint64, Label::Repeated),
        field(5, "at", Kind::Message(2), Label::Optional),
        field(6, "labels", Kind::Message(1), Label::Map),
        field(7, "key", Kind::Bytes, Label::Implicit),
        field(8, "lines", Kind::Message(3), Label::Repeated),
    ];
    let entry = vec![field(1, "key", Kind::String, Label::Implicit), field(2, "value", Kind::String, Label::Implicit)];
    let time = vec![field(1, "seconds", Kind::Int64, Label::Implicit), field(2, "nanos", Kind::Int32, Label::Implicit)];
    let line = vec![field(1, "sku", Kind::String, Label::Implicit), field(2, "price", Kind::Double, Label::Implicit)];
    Schema::new(vec![
        message("acme.Order", order),
        message("acme.Order.LabelsEntry", entry),
        message("google.protobuf.Timestamp", time),
        message("acme.Line", line),
    ])
    .unwrap()
}

fn order() -> Vec<u8> {
    let mut out = Vec::new();
    counted(1, b"o-1", &mut out);
    counted(2, b"Anna", &mut out);
    out.extend_from_slice(&[0x18, 47]);
    let mut together = Vec::new();
    [47, -3].into_iter().for_each(|number| varint::write_signed(number, &mut together));
    counted(4, &together, &mut out);
    let mut time = vec![8];
    // 2026-11-21T01:46:40Z
    varint::write(1_795_225_600, &mut time);
    counted(5, &time, &mut out);
    for (key, value) in [("color", "crimson"), ("anna@example.org", "vip")] {
        let mut entry = Vec::new();
        counted(1, key.as_bytes(), &mut entry);
        counted(2, value.as_bytes(), &mut entry);
        counted(6, &entry, &mut out);
    }
    counted(7, b"\x01\x02", &mut out);
    let mut line = Vec::new();
    counted(1, b"x", &mut line);
    line.push(0x11);
    line.extend_from_slice(&12.5_f64.to_le_bytes());
    counted(8, &line, &mut out);
    out
}

fn order_rules() -> Arc<Rules> {
    rules(&[
        ("/id", "public"),
        ("/who", "pii@/who"),
        ("/qty", "confidential"),
        ("/nums/*", "confidential"),
        ("/at", "confidential"),
        ("/labels/color", "confidential"),
        ("/labels/{}", "pii@/who"),
        ("/key", "confidential"),
        ("/lines/*/sku", "public"),
        ("/lines/*/price", "confidential"),
    ])
}

#[test]
fn masks_keep_types_and_lengths_are_counted_anew() {
    let schema = order_schema();
    let (codec, keys, rules) = (Arc::new(Codec::protobuf(schema.clone())), Keys::new(), order_rules());
    let record = seal_binary(&rules, &codec, &keys, &order());
    let number = Action::Generalize(Generalize::Number { bucket: 10.0 });
    let view = view_of(
        &rules,
        &codec,
        &spec(
            &[],
            &[
                ("/who", Action::Pseudonym),
                ("/qty", number.clone()),
                ("/nums/*", number.clone()),
                ("/at", Action::Generalize(Generalize::Date(DateUnit::Month))),
                ("/labels/color", Action::Partial { first: 2, last: 1 }),
                ("/key", Action::Pseudonym),
                ("/lines/*/price", number),
            ],
        ),
    );
    let seen = to_json(&schema, &shown(&view, &keys, &record).unwrap());
    assert_eq!(seen["qty"], 40);
    assert_eq!(seen["nums"], json!([40, -10]));
    assert_eq!(seen["at"], "2026-11-01T00:00:00Z");
    assert_eq!(seen["labels"], json!({"color": "cr***n"}));
    assert_eq!(seen["lines"], json!([{"sku": "x", "price": 10}]));
    assert!(seen["who"].as_str().unwrap().starts_with("p-"), "{seen}");
    assert_eq!(seen["key"].as_str().unwrap().len(), 24, "sixteen bytes in base64");
    let dropped = shown_json(&view_of(&rules, &codec, &ViewSpec::default()), &keys, &record);
    assert_eq!(dropped, json!({"id": "o-1", "lines": [{"sku": "x"}]}));
}

#[test]
fn an_erased_person_leaves_nothing_in_any_view() {
    let schema = order_schema();
    let (codec, keys, rules) = (Arc::new(Codec::protobuf(schema.clone())), Keys::new(), order_rules());
    let record = seal_binary(&rules, &codec, &keys, &order());
    keys.destroy("Anna");
    let view = view_of(&rules, &codec, &reveal_all(&rules));
    let out = shown(&view, &keys, &record).unwrap();
    for gone in ["Anna", "anna@example.org", "vip"] {
        assert!(!occurs(gone.as_bytes(), &out), "{gone}");
    }
    let seen = to_json(&schema, &out);
    assert!(seen.get("who").is_none());
    assert_eq!(seen["labels"], json!({"color": "crimson"}));
}

#[test]
fn a_contract_that_names_what_its_schema_does_not_have_is_told_the_place() {
    let codec = Codec::protobuf(order_schema());
    let agreed = |list: &[(&str, &str)]| codec.agree(&shape(list));
    assert!(agreed(&[("/id", "public"), ("/lines/*/sku", "pii"), ("/labels/{}", "pii"), ("/labels/x", "pii")]).is_ok());
    for (at, reason) in
        [("/nmae", "no such field"), ("/id/x", "text there"), ("/id/*", "text there"), ("/at/seconds", "text")]
    {
        let (_, why) = agreed(&[(at, "public")]).unwrap_err();
        assert!(why.contains(reason), "{at}: {why}");
    }
}

#[test]
fn what_the_schema_does_not_have_is_hidden_wherever_it_stands() {
    let schema = order_schema();
    let (codec, keys) = (Arc::new(Codec::protobuf(schema.clone())), Keys::new());
    let (mut line, mut event) = (Vec::new(), Vec::new());
    counted(1, b"sku", &mut line);
    counted(900, b"SECRET", &mut line);
    counted(1, b"o-1", &mut event);
    counted(8, &line, &mut event);
    counted(900, b"SECRET", &mut event);
    let seen = |list: &[(&str, &str)], spec: &ViewSpec| {
        let rules = rules(list);
        let record = seal_binary(&rules, &codec, &keys, &event);
        assert!(!occurs(b"SECRET", &record));
        let all = view_of(&rules, &codec, &reveal_all(&rules));
        assert_eq!(shown(&all, &keys, &record).unwrap(), event);
        let out = shown(&view_of(&rules, &codec, spec), &keys, &record).unwrap();
        assert!(!occurs(b"SECRET", &out));
        to_json(&schema, &out)
    };
    let none = ViewSpec::default();
    assert_eq!(
        seen(&[("/id", "public"), ("/lines/*/sku", "public")], &none),
        json!({"id": "o-1", "lines": [{"sku": "sku"}]})
    );
    assert_eq!(
        seen(&[("/id", "public"), ("/lines", "public")], &none),
        json!({"id": "o-1", "lines": [{"sku": "sku"}]})
    );
    assert_eq!(seen(&[("/id", "public"), ("/lines", "internal")], &none), json!({"id": "o-1"}));
    let revealed = spec(&[("confidential", Action::Reveal)], &[]);
    assert_eq!(seen(&[("/id", "public"), ("/lines", "confidential")], &revealed), json!({"id": "o-1"}));
}
