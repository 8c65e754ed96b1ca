//! Any bytes as an Avro event of any schema: what the walk takes comes back byte by byte, and every view of it is an event
//! of the same schema that has none of the hidden text.
#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use tradelane_encodings::avro::Schema;
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

// The schema is the text up to the first line feed, the event what follows.
fuzz_target!(|data: &[u8]| {
    let Some(end) = data.iter().position(|byte| *byte == b'\n') else { return };
    let (schema, event) = (&data[..end], &data[end + 1..]);
    let Ok(schema) = std::str::from_utf8(schema) else { return };
    let Ok(schema) = Schema::parse(schema) else { return };
    let again = Schema::parse(&schema.for_readers(|_| None)).expect("what readers get");
    assert_eq!(again.canonical(), schema.canonical());
    let codec = Arc::new(Codec::avro(schema));

    let (mut tree, mut scratch, mut out) = (Tree::new(), Scratch::default(), Vec::new());
    let limits = Limits { max_nodes: 5_000, ..Limits::EVENT };
    if codec.walk(event, &limits, &mut tree).is_err() {
        return;
    }
    let tagger = SubjectTagger::new(&SecretBytes::new([4; 32]));
    let Ok(located) = RULES.locate_binary(&codec, event, &tree, &tagger) else { return };
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
    codec.resolve(&codec, event, &mut tree, &mut first).expect("its own form");
    codec.resolve(&codec, &first, &mut tree, &mut second).expect("its own form");
    assert_eq!(first, second);
});
