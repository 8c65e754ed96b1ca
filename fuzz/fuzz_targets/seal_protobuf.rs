//! Any bytes as a Protobuf event of one schema that has a field of every kind: what the walk takes comes back byte by byte,
//! and every view of it is an event of the same schema.
#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use tradelane_encodings::protobuf::{Field, Kind, Label, Message, Schema};
use tradelane_encodings::{Limits, Tree};
use tradelane_keys::{AeadKey, SecretBytes};
use tradelane_model::pattern::Pattern;
use tradelane_model::shape::{FieldRule, Shape};
use tradelane_model::{Action, Class, ViewSpec};
use tradelane_seal::*;

struct Keys {
    log: LogKey,
    opening: Arc<AeadKey>,
    data: Arc<DataKey>,
}

impl SealingKeys for Keys {
    fn subject_key(&self, _: &SubjectTag) -> Option<Arc<DataKey>> {
        Some(Arc::clone(&self.data))
    }

    fn default_key(&self) -> Option<Arc<DataKey>> {
        Some(Arc::clone(&self.data))
    }
}

impl OpeningKeys for Keys {
    fn log_key(&self, _: u64) -> Option<Arc<AeadKey>> {
        Some(Arc::clone(&self.opening))
    }

    fn data_key(&self, _: u64) -> DataKeyState {
        DataKeyState::Live(Arc::clone(&self.data))
    }
}

static KEYS: LazyLock<Keys> = LazyLock::new(|| {
    let log = LogKey::new(1, &SecretBytes::new([2; 32]));
    let data = Arc::new(DataKey::new(2, SecretBytes::new([3; 32])));
    Keys { opening: log.opening(), log, data }
});

static RULES: LazyLock<Arc<Rules>> = LazyLock::new(|| {
    let mut shape = Shape::default();
    let rules = [("/a", "internal"), ("/b", "pii"), ("/c/*", "confidential"), ("/c/*/a", "public"), ("/d/{}", "pii"), ("/e/a", "public"), ("/e/b", "pii")];
    for (at, class) in rules {
        let at = Pattern::parse(at).expect("a pattern");
        let subject = (class == "pii").then(|| Pattern::parse("/a").expect("a pattern"));
        shape.add_rule(&FieldRule { at, class: Class::named(class), subject });
    }
    Arc::new(Rules::compile(&shape, 1).expect("compiles"))
});

static CODEC: LazyLock<Arc<Codec>> = LazyLock::new(|| {
    let field = |number: u32, name: &str, kind, label| Field { number, name: name.into(), kind, label, oneof: None };
    let numbers = [
        Kind::Int32, Kind::Int64, Kind::Uint32, Kind::Uint64, Kind::Sint32, Kind::Sint64, Kind::Fixed32, Kind::Fixed64,
        Kind::Sfixed32, Kind::Sfixed64, Kind::Float, Kind::Double, Kind::Bool, Kind::Enum(vec![(0, "A".into())]),
    ];
    let mut root = vec![
        field(1, "a", Kind::String, Label::Implicit),
        field(2, "b", Kind::Bytes, Label::Required),
        field(3, "c", Kind::Message(1), Label::Repeated),
        field(4, "d", Kind::Message(2), Label::Map),
        field(5, "e", Kind::Group(0), Label::Optional),
        field(6, "t", Kind::Message(3), Label::Optional),
    ];
    let all = (7..).zip(numbers).map(|(number, kind)| field(number, &format!("n{number}"), kind, Label::Repeated));
    root.extend(all);
    let line = vec![field(1, "a", Kind::String, Label::Required), field(2, "b", Kind::Message(0), Label::Optional)];
    let entry = vec![field(1, "key", Kind::Sint64, Label::Implicit), field(2, "value", Kind::Message(1), Label::Implicit)];
    let time = vec![field(1, "seconds", Kind::Int64, Label::Implicit), field(2, "nanos", Kind::Int32, Label::Implicit)];
    let message = |name: &str, fields| Message { name: name.into(), fields };
    let messages = vec![
        message("Root", root),
        message("Line", line),
        message("Entry", entry),
        message("google.protobuf.Timestamp", time),
    ];
    Arc::new(Codec::protobuf(Schema::new(messages).expect("a schema")))
});

fuzz_target!(|event: &[u8]| {
    let codec = &*CODEC;
    let (mut tree, mut scratch, mut out) = (Tree::new(), Scratch::default(), Vec::new());
    let limits = Limits { max_nodes: 5_000, ..Limits::EVENT };
    if codec.walk(event, &limits, &mut tree).is_err() {
        return;
    }
    let tagger = SubjectTagger::new(&SecretBytes::new([4; 32]));
    let Ok(located) = RULES.locate_binary(codec, event, &tree, &tagger) else { return };
    let (keys, product) = (&*KEYS, ProductContext::new("acme", "shipments"));
    let mut record = Vec::new();
    located.seal(&product, &keys.log, keys, &mut record).expect("seals");
    let opened = OpenedEvent::open(&record, &product, keys).expect("opens");
    let view = |spec: &ViewSpec| {
        let keys = ViewKeys::derive(&SecretBytes::new([1; 32]), "c", "p", 1, "g");
        View::compile(&RULES, &RULES, spec, keys).expect("compiles").of_binary(codec.clone())
    };
    view(&ViewSpec::reveal_all(RULES.shape().classes())).render(&opened, keys, &mut scratch, &mut out).expect("renders");
    assert_eq!(out, event);
    for action in [Action::Drop, Action::Redact, Action::Pseudonym, Action::Token, Action::Partial { first: 1, last: 1 }] {
        let classes = ["confidential", "pii"].map(|name| (Class::named(name).expect("a class"), action.clone()));
        let view = view(&ViewSpec { classes: classes.into(), ..ViewSpec::default() });
        out.clear();
        view.render(&opened, keys, &mut scratch, &mut out).expect("renders");
        codec.walk(&out, &Limits { max_depth: 200, max_nodes: 1_000_000, max_bytes: 1 << 30 }, &mut tree).expect("an event");
        out.clear();
        let _ = view.render_json(&opened, keys, &mut scratch, false, &mut out);
    }
    // In the form of its own schema it is an event of it, and stays as it is.
    let (mut first, mut second) = (Vec::new(), Vec::new());
    if codec.resolve(codec, event, &mut tree, &mut first).is_ok() {
        codec.resolve(codec, &first, &mut tree, &mut second).expect("its own form");
        assert_eq!(first, second);
    }
});
