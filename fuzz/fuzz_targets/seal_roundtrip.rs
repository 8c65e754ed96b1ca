//! Any JSON that parses: revealed it is byte for byte what was sealed, masked it is JSON again and shows only what is named.
#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use tradelane_keys::{AeadKey, SecretBytes};
use tradelane_model::pattern::Pattern;
use tradelane_model::shape::{FieldRule, Shape};
use tradelane_model::{Action, Class, ViewSpec};
use tradelane_seal::*;
use tradelane_tape::{Limits, Tape};

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

struct World {
    keys: Keys,
    rules: Arc<Rules>,
    reveal: View,
    others: Vec<View>,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let mut shape = Shape::default();
    let rules = [
        ("/a", "internal"),
        ("/b", "pii"),
        ("/c/*", "confidential"),
        ("/d/{}", "pii"),
        ("/e/a", "public"),
        ("/e/b", "pii"),
    ];
    for (at, class) in rules {
        let at = Pattern::parse(at).expect("a pattern");
        let subject = (class == "pii").then(|| Pattern::parse("/a").expect("a pattern"));
        shape.add_rule(&FieldRule { at, class: Class::named(class), subject });
    }
    let rules = Arc::new(Rules::compile(&shape, 1).expect("compiles"));
    let view = |spec: &ViewSpec| {
        let keys = ViewKeys::derive(&SecretBytes::new([1; 32]), "c", "p", 1, "g");
        View::compile(&rules, &rules, spec, keys).expect("compiles")
    };
    let reveal = view(&ViewSpec::reveal_all(shape.classes()));
    let actions =
        [Action::Drop, Action::Redact, Action::Pseudonym, Action::Token, Action::Partial { first: 1, last: 1 }];
    let others = actions.map(|action| {
        let classes = ["confidential", "pii"].map(|name| (Class::named(name).expect("a class"), action.clone()));
        view(&ViewSpec { classes: classes.into(), ..ViewSpec::default() })
    });
    let log = LogKey::new(1, &SecretBytes::new([2; 32]));
    let data = Arc::new(DataKey::new(2, SecretBytes::new([3; 32])));
    World { keys: Keys { opening: log.opening(), log, data }, rules, reveal, others: others.into() }
});

fuzz_target!(|json: &[u8]| {
    let world = &*WORLD;
    let (mut tape, mut shown) = (Tape::new(), Tape::new());
    let Ok(doc) = tape.parse(json, &Limits::EVENT) else { return };
    let tagger = SubjectTagger::new(&SecretBytes::new([4; 32]));
    let Ok(located) = world.rules.locate(doc, &tagger) else { return };
    let product = ProductContext::new("acme", "shipments");
    let mut record = Vec::new();
    located.seal(&product, &world.keys.log, &world.keys, &mut record).expect("seals");
    let event = OpenedEvent::open(&record, &product, &world.keys).expect("opens");
    let (mut scratch, mut out) = (Scratch::default(), Vec::new());
    world.reveal.render(&event, &world.keys, &mut scratch, &mut out).expect("renders");
    assert_eq!(out, json);
    for view in &world.others {
        out.clear();
        view.render(&event, &world.keys, &mut scratch, &mut out).expect("renders");
        let doc = shown.parse(&out, &Limits::DOCUMENT).expect("a view is JSON");
        let names = doc.root().members().map(|(name, _)| name.as_str().into_owned());
        assert!(names.into_iter().all(|name| ["a", "b", "c", "d", "e"].contains(&name.as_str())));
    }
});
