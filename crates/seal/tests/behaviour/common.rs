//! Keys, shapes and shortcuts for the tests.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, LazyLock};

use tradelane_keys::{AeadKey, SecretBytes};
use tradelane_model::pattern::Pattern;
use tradelane_model::shape::{FieldRule, Shape};
use tradelane_model::{Action, Class, ViewSpec};
use tradelane_seal::*;
use tradelane_tape::{Limits, Tape};

/// A key store in memory that can destroy and lose keys.
pub(crate) struct Keys {
    pub(crate) log: LogKey,
    log_opening: Arc<AeadKey>,
    by_subject: RefCell<HashMap<SubjectTag, Arc<DataKey>>>,
    default: Arc<DataKey>,
    destroyed: RefCell<HashSet<u64>>,
    lost: RefCell<HashSet<u64>>,
    pub(crate) form: Form,
}

/// In which form events are sealed.
#[derive(Debug, Clone)]
pub(crate) enum Form {
    Plain,
    Packed(Option<Arc<Dictionary>>),
}

static DICTIONARY: LazyLock<Arc<Dictionary>> = LazyLock::new(|| {
    let samples: Vec<String> = (0..300)
        .map(|n| {
            format!(r#"{{"id":{n},"name":"a quite long property name","people":[{{"role":"a"}},{{"role":"b{n}"}}]}}"#)
        })
        .collect();
    let sizes: Vec<usize> = samples.iter().map(String::len).collect();
    let bytes = Dictionary::train(samples.concat().as_bytes(), &sizes).unwrap();
    Arc::new(Dictionary::new(1, &bytes).unwrap())
});

impl Form {
    pub(crate) fn with_dictionary() -> Self {
        Self::Packed(Some(DICTIONARY.clone()))
    }

    /// Each of the forms in its turn.
    pub(crate) fn of(seed: u64) -> Self {
        match seed % 3 {
            0 => Self::Plain,
            1 => Self::Packed(None),
            _ => Self::with_dictionary(),
        }
    }
}

impl Keys {
    pub(crate) fn new() -> Self {
        Self::with_log(77)
    }

    pub(crate) fn of(form: Form) -> Self {
        Self { form, ..Self::new() }
    }

    /// The same keys, and another form.
    pub(crate) fn in_form(&self, form: Form) -> Self {
        Self { log_opening: self.log_opening.clone(), default: self.default.clone(), form, ..Self::new() }
    }

    pub(crate) fn with_log(id: u64) -> Self {
        let log = LogKey::new(id, &SecretBytes::random());
        Self {
            log_opening: log.opening(),
            log,
            by_subject: RefCell::default(),
            default: Arc::new(DataKey::with_schedule(1, SecretBytes::random())),
            destroyed: RefCell::default(),
            lost: RefCell::default(),
            form: Form::Plain,
        }
    }

    /// Makes keys for subjects that have none, as the hub does.
    pub(crate) fn ensure(&self, subjects: &[SubjectTag]) {
        let mut keys = self.by_subject.borrow_mut();
        for subject in subjects {
            let id = 100 + keys.len() as u64;
            keys.entry(*subject).or_insert_with(|| Arc::new(DataKey::new(id, SecretBytes::random())));
        }
    }

    pub(crate) fn destroy(&self, identity: &str) {
        let keys = self.by_subject.borrow();
        let key = &keys[&tagger().tag(identity)];
        self.destroyed.borrow_mut().insert(key.id());
    }

    pub(crate) fn lose_default(&self) {
        self.lost.borrow_mut().insert(1);
    }
}

impl SealingKeys for Keys {
    fn subject_key(&self, subject: &SubjectTag) -> Option<Arc<DataKey>> {
        self.by_subject.borrow().get(subject).cloned()
    }

    fn default_key(&self) -> Option<Arc<DataKey>> {
        Some(Arc::clone(&self.default))
    }
}

impl OpeningKeys for Keys {
    fn log_key(&self, id: u64) -> Option<Arc<AeadKey>> {
        (id == 77).then(|| Arc::clone(&self.log_opening))
    }

    fn data_key(&self, id: u64) -> DataKeyState {
        if self.destroyed.borrow().contains(&id) {
            return DataKeyState::Destroyed;
        }
        if self.lost.borrow().contains(&id) {
            return DataKeyState::Missing;
        }
        let keys = self.by_subject.borrow();
        let found = std::iter::once(&self.default).chain(keys.values()).find(|key| key.id() == id);
        found.map_or(DataKeyState::Missing, |key| DataKeyState::Live(Arc::clone(key)))
    }

    fn dictionary(&self, _: &ProductContext, number: u32) -> Option<Arc<Dictionary>> {
        match &self.form {
            Form::Packed(Some(known)) if known.number() == number => Some(Arc::clone(known)),
            _ => None,
        }
    }
}

pub(crate) fn tagger() -> SubjectTagger {
    SubjectTagger::new(&SecretBytes::new([5; 32]))
}

pub(crate) fn product() -> ProductContext {
    ProductContext::new("acme", "shipments")
}

pub(crate) fn class(name: &str) -> Class {
    Class::named(name).unwrap()
}

pub(crate) fn pattern(text: &str) -> Pattern {
    Pattern::parse(text).unwrap()
}

/// A shape from `(place, class)` and `(place, class @ subject)`.
pub(crate) fn shape(rules: &[(&str, &str)]) -> Shape {
    let mut shape = Shape::default();
    for (at, what) in rules {
        let (name, subject) = match what.split_once('@') {
            Some((name, subject)) => (name, Some(pattern(subject))),
            None => (*what, None),
        };
        shape.add_rule(&FieldRule { at: pattern(at), class: Some(class(name)), subject });
    }
    shape
}

pub(crate) fn rules(list: &[(&str, &str)]) -> Arc<Rules> {
    Arc::new(Rules::compile(&shape(list), 1).unwrap())
}

pub(crate) fn spec(classes: &[(&str, Action)], fields: &[(&str, Action)]) -> ViewSpec {
    ViewSpec {
        classes: classes.iter().map(|(name, action)| (class(name), action.clone())).collect(),
        fields: fields.iter().map(|(at, action)| (pattern(at), action.clone())).collect(),
    }
}

pub(crate) fn reveal_all(rules: &Rules) -> ViewSpec {
    ViewSpec::reveal_all(rules.shape().classes())
}

pub(crate) fn view_keys(consumer: &str) -> ViewKeys {
    ViewKeys::derive(&SecretBytes::new([9; 32]), consumer, "planning", 1, &format!("grant-{consumer}"))
}

pub(crate) fn view(rules: &Arc<Rules>, spec: &ViewSpec) -> View {
    View::compile(rules, rules, spec, view_keys("retail")).unwrap()
}

pub(crate) fn seal(rules: &Rules, keys: &Keys, json: &str) -> Vec<u8> {
    let mut tape = Tape::new();
    let doc = tape.parse(json.as_bytes(), &Limits::DOCUMENT).unwrap();
    let located = rules.locate(doc, &tagger()).unwrap();
    seal_located(&located, keys)
}

/// In the form that the keys say.
pub(crate) fn seal_located(located: &Located<'_>, keys: &Keys) -> Vec<u8> {
    keys.ensure(located.subjects());
    let mut record = b"before".to_vec();
    match &keys.form {
        Form::Plain => located.seal(&product(), &keys.log, keys, &mut record).unwrap(),
        Form::Packed(dictionary) => {
            let packing = Packing { dictionary: dictionary.as_deref(), sample: None };
            located.seal_packed(&product(), &keys.log, keys, packing, &mut record).unwrap();
        }
    }
    record.split_off(b"before".len())
}

pub(crate) fn try_render(view: &View, keys: &Keys, record: &[u8]) -> Result<(String, Rendered), Withheld> {
    let event = OpenedEvent::open(record, &product(), keys)?;
    let mut out = b"before".to_vec();
    let rendered = view.render(&event, keys, &mut Scratch::default(), &mut out);
    if rendered.is_err() {
        assert_eq!(out, b"before", "nothing is left behind");
    }
    let text = String::from_utf8(out).unwrap();
    rendered.map(|rendered| (text.strip_prefix("before").unwrap().to_owned(), rendered))
}

pub(crate) fn render(view: &View, keys: &Keys, record: &[u8]) -> String {
    try_render(view, keys, record).unwrap().0
}

/// Seals and shows in one go.
pub(crate) fn shown(list: &[(&str, &str)], spec: &ViewSpec, json: &str) -> String {
    let keys = Keys::new();
    let rules = rules(list);
    render(&view(&rules, spec), &keys, &seal(&rules, &keys, json))
}
