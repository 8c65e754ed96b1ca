//! What travels around an event: the key and headers of its record, as Kafka clients send and read them.
//!
//! Keys and headers hold personal data as often as values do, so they are classified by the contract (`records`), and what
//! it does not name is as restricted as an unnamed field. What is `public` is stored as it came. Everything else goes into
//! a small document of its own that is sealed like an event, with the same classes, subjects and views, and is named by
//! the event that it belongs to; in the place of the key stands a token that is equal for equal keys, so that partitioning
//! and compaction still work. `docs/formats/event-log.md` describes both.

use std::collections::HashSet;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use tradelane_keys::MacKey;
use tradelane_model::pattern::{Pattern, Segment};
use tradelane_model::records::{KeyRule, RecordRules};
use tradelane_model::shape::{Place as ShapePlace, Shape, Types};
use tradelane_model::{Action, Class, Contract, ViewSpec, codes};
use tradelane_seal::{ClassSet, OpenedEvent, ProductContext, Rules, Scratch, SubjectTagger, View, Withheld};
use tradelane_tape::{Limits, Tape};

use crate::batch::{MAX_HEADERS, Record};
use crate::error::{HubError, Place, Result};
use crate::key_field::{KeyField, tighter};
use crate::keyring::{BatchKeys, NotingKeys};
use crate::views::Verdict;

/// The header that holds what is sealed of key and headers. Producers cannot send a name with a NUL.
const SEALED: &[u8] = b"\0sealed";
/// The header that holds the id of the schema that the producer named in front of the event. Nobody is shown it.
pub(crate) const SCHEMA: &[u8] = b"\0schema";
/// Members of the sealed document: headers whose values are text, any other bytes (base64), and none.
const TEXT_HEADERS: &str = "headers";
const BINARY_HEADERS: &str = "headers64";
const EMPTY_HEADERS: &str = "headers0";
const HEADERS: [&str; 3] = [TEXT_HEADERS, BINARY_HEADERS, EMPTY_HEADERS];
/// Bytes of a sealed event that name it.
const NAMED_BY: usize = 40;
/// Bytes of a key's token.
const TOKEN: usize = 16;
/// The most bytes of a record's key, and of all its headers.
const MAX_KEY: usize = 64 << 10;
const MAX_HEADER_BYTES: usize = 256 << 10;
/// The sealed document is small, whatever an event may be.
const LIMITS: Limits = Limits { max_bytes: 1 << 20, max_depth: 8, max_nodes: 20_000 };

/// A header: its name, and its value if it has one.
pub(crate) type Header<'a> = (&'a [u8], Option<&'a [u8]>);

/// Key and headers as a producer sent them.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Around<'a> {
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) headers: &'a [Header<'a>],
    /// Who the event says that the key belongs to, if that is not what the key itself says.
    pub(crate) person: Option<&'a str>,
}

/// What a contract says of keys and headers, compiled.
pub(crate) struct Envelope {
    key_class: Class,
    /// Where the key is of an event that comes without one.
    pub(crate) key_field: Option<KeyField>,
    /// Is a key sealed for a person whom another field of its event names?
    has_other_person: bool,
    public_headers: HashSet<Vec<u8>>,
    rules: Arc<Rules>,
    product: ProductContext,
    tokens: MacKey,
}

/// Key and headers, as they are stored or as a reader sees them.
#[derive(Default)]
pub(crate) struct KeyAndHeaders {
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Envelope {
    /// Compiles the rules of a contract for the events of one product that are cut by `events`; `written` is the version of
    /// the contract that they are of.
    pub(crate) fn compile(
        (contract, written): (&Contract, &Contract),
        events: &Rules,
        (owner, product): (&str, &str),
        tokens: MacKey,
    ) -> Result<Self> {
        let mut key = key_rule(contract, written);
        let key_field = key.as_ref().and_then(|key| key.from.as_ref()).map(|at| KeyField::compile(at, events));
        if let (Some(key), Some(KeyField { field, .. })) = (&mut key, &key_field) {
            key.class = stricter(contract, &key.class, &field.class);
        }
        let records = &RecordRules { key, headers: contract.records.headers.clone() };
        let shape = shape(records, key_field.as_ref(), &contract.shape);
        let rules = Rules::compile(&shape, events.id()).map_err(|error| HubError::of(error.code()).because(error))?;
        let public = records.headers.iter().filter(|(_, class)| class.as_str() == Class::PUBLIC);
        Ok(Self {
            key_class: key_class(records),
            has_other_person: shape.is_sealed(&key_class(records))
                && key_field.as_ref().is_some_and(KeyField::has_other_person),
            key_field,
            public_headers: public.map(|(name, _)| name.clone().into_bytes()).collect(),
            rules: Arc::new(rules),
            // No product has a slash in its name: what is sealed as one cannot be opened as the other.
            product: ProductContext::new(owner, &format!("{product}/record")),
            tokens,
        })
    }

    fn key_is_public(&self) -> bool {
        self.key_class.as_str() == Class::PUBLIC
    }

    /// Seals what must be sealed of key and headers. `event` is the sealed event that they belong to; empty for none.
    pub(crate) fn seal(
        &self,
        tape: &mut Tape,
        around: &Around<'_>,
        event: &[u8],
        tagger: &SubjectTagger,
        keys: &BatchKeys,
    ) -> Result<Verdict<KeyAndHeaders>> {
        if let Some(problem) = problem(around) {
            return Ok(Err((codes::TOO_LARGE, vec![place("/key", problem)])));
        }
        let tagger = match (around.key, around.person) {
            (Some(_), None) if self.has_other_person => {
                let problem = "the key belongs to a person whom the event does not name, or there is no event: the member that \
                               the contract names as the person's identity is missing, or is neither text nor a number";
                return Ok(Err((codes::CONTRACT_VIOLATION, vec![place("/key", problem)])));
            }
            (Some(_), Some(person)) => &tagger.of_one(person),
            _ => tagger,
        };
        let mut stored = KeyAndHeaders::default();
        let mut sealed = Map::new();
        match around.key {
            Some(key) if self.key_is_public() => stored.key = Some(key.to_vec()),
            Some(key) => {
                put(&mut sealed, "key", key);
                stored.key = self.tokens.mac_parts(&[b"record-key", key]).get(..TOKEN).map(<[u8]>::to_vec);
            }
            None => {}
        }
        for (name, value) in around.headers {
            if self.public_headers.contains(*name) {
                stored.headers.push((name.to_vec(), value.map(<[u8]>::to_vec)));
            } else {
                put_header(&mut sealed, name, *value);
            }
        }
        if sealed.is_empty() {
            return Ok(Ok(stored));
        }
        sealed.insert("of".into(), name_of(event).into());
        let text = serde_json::to_vec(&sealed).map_err(|error| HubError::of(codes::INTERNAL).because(error))?;
        let refused = |message: String| Ok(Err((codes::CONTRACT_VIOLATION, vec![place("/key", &message)])));
        let doc = match tape.parse(&text, &LIMITS) {
            Ok(doc) => doc,
            Err(error) => return refused(error.reason.to_string()),
        };
        let located = match self.rules.locate(doc, tagger) {
            Ok(located) => located,
            Err(error) => return refused(error.to_string()),
        };
        if located.is_unattributed() {
            return refused("the key names a person, and is neither text nor bytes".into());
        }
        let mut out = Vec::with_capacity(text.len() + 256);
        let done = located.seal(&self.product, &keys.log_key, keys, &mut out);
        done.map_err(|error| HubError::of(error.code()).because(error).retry(1))?;
        stored.headers.push((SEALED.to_vec(), Some(out)));
        Ok(Ok(stored))
    }

    /// Notes the schema that stood in front of the event.
    pub(crate) fn name_schema(stored: &mut KeyAndHeaders, id: Option<u32>) {
        stored.headers.extend(id.map(|id| (SCHEMA.to_vec(), Some(id.to_be_bytes().to_vec()))));
    }

    /// The sealed part of a stored record, if it has one.
    pub(crate) fn sealed_part<'a>(record: &Record<'a>) -> Option<&'a [u8]> {
        record.headers.clone().find(|(name, _)| *name == SEALED).and_then(|(_, value)| value)
    }
}

/// A view of keys and headers that were sealed under one revision of the contract.
pub(crate) struct EnvelopeView {
    event: Arc<Envelope>,
    current: Arc<Envelope>,
    /// For the sealed part.
    pub(crate) view: View,
    key: Action,
    public: bool,
}

impl EnvelopeView {
    /// `event` is how it was sealed, `current` the contract as it is now, and `limit` what is shown of a key at most.
    pub(crate) fn compile(
        event: &Arc<Envelope>,
        current: &Arc<Envelope>,
        spec: &ViewSpec,
        limit: Action,
        keys: tradelane_seal::ViewKeys,
    ) -> Result<Self> {
        let mut by_class = ViewSpec { classes: spec.classes.clone(), fields: std::collections::BTreeMap::new() };
        let by_key_class = by_class.class_action(&current.key_class);
        let key = match tighter(by_key_class.clone(), limit) {
            // There is no token of what is not sealed.
            Action::Token if !current.rules.shape().is_sealed(&current.key_class) => Action::Drop,
            action => action,
        };
        if key != by_key_class {
            by_class.fields.extend(["key", "key64"].map(|name| (member(name), key.clone())));
        }
        let view = View::compile(&event.rules, &current.rules, &by_class, keys)
            .map_err(|error| HubError::of(error.code()).because(error))?;
        // A key that was public and is not any more is not shown: the token machinery has never seen it.
        let key = match (event.key_is_public(), current.key_is_public()) {
            (true, false) => Action::Drop,
            _ => key,
        };
        let public = Class::named(Class::PUBLIC).is_some_and(|class| by_class.class_action(&class) == Action::Reveal);
        Ok(Self { event: event.clone(), current: current.clone(), view, key, public })
    }

    /// Shows a record's key and headers.
    pub(crate) fn show(
        &self,
        record: &Record<'_>,
        keys: &NotingKeys<'_>,
        scratch: &mut Scratch,
    ) -> std::result::Result<(KeyAndHeaders, ClassSet), Withheld> {
        let mut shown = KeyAndHeaders::default();
        if self.event.key_is_public() && self.key == Action::Reveal {
            shown.key = record.key.map(<[u8]>::to_vec);
        }
        for (name, value) in record.headers.filter(|(name, _)| *name != SEALED && *name != SCHEMA) {
            if self.public && self.current.public_headers.contains(name) {
                shown.headers.push((name.to_vec(), value.map(<[u8]>::to_vec)));
            }
        }
        let Some(sealed) = Envelope::sealed_part(record) else { return Ok((shown, ClassSet::default())) };
        let opened = OpenedEvent::open(sealed, &self.event.product, keys)?;
        let mut text = Vec::new();
        let classes = self.view.render(&opened, keys, scratch, &mut text)?.classes;
        let document: Map<String, Value> = serde_json::from_slice(&text).map_err(|_| Withheld::Malformed)?;
        let of = document.get("of").and_then(Value::as_str);
        if of != Some(name_of(record.sealed.unwrap_or_default()).as_str()) {
            return Err(Withheld::Corrupt);
        }
        if let Some(key) = bytes_of(&document, "key", self.key == Action::Reveal) {
            shown.key = Some(key);
        }
        self.show_headers(&document, &mut shown.headers);
        Ok((shown, classes))
    }

    fn show_headers(&self, document: &Map<String, Value>, out: &mut Vec<(Vec<u8>, Option<Vec<u8>>)>) {
        for member in HEADERS {
            let Some(Value::Object(headers)) = document.get(member) else { continue };
            for (name, values) in headers {
                // An element that a view left out is null.
                for text in values.as_array().into_iter().flatten().filter_map(Value::as_str) {
                    let value = match member {
                        TEXT_HEADERS => Some(text.as_bytes().to_vec()),
                        // What a view changed is text, and is no base64 any more.
                        BINARY_HEADERS => Some(STANDARD.decode(text).unwrap_or_else(|_| text.as_bytes().to_vec())),
                        _ => None,
                    };
                    out.push((name.clone().into_bytes(), value));
                }
            }
        }
    }
}

fn key_class(records: &RecordRules) -> Class {
    records.key.as_ref().map_or_else(Class::unclassified, |rule| rule.class.clone())
}

/// What holds for keys. The field is that of the version which the events are of, and its keys are as restricted as either
/// version has keys; and as the field, which the newer version may restrict further.
fn key_rule(contract: &Contract, written: &Contract) -> Option<KeyRule> {
    let newest = contract.records.key.clone();
    let earlier = written.records.key.as_ref().filter(|earlier| earlier.from.is_some());
    match (newest, earlier) {
        (Some(newest), Some(earlier)) => {
            let class = stricter(contract, &newest.class, &earlier.class);
            Some(KeyRule { class, subject: newest.subject || earlier.subject, from: earlier.from.clone() })
        }
        (Some(newest), None) => Some(KeyRule { from: None, ..newest }),
        (None, Some(earlier)) => Some(KeyRule { class: Class::unclassified(), ..earlier.clone() }),
        (None, None) => None,
    }
}

fn stricter(contract: &Contract, one: &Class, other: &Class) -> Class {
    if contract.shape.rank(other) > contract.shape.rank(one) { other.clone() } else { one.clone() }
}

fn member(name: &str) -> Pattern {
    Pattern::from_segments(vec![Segment::Property(name.to_owned())])
}

/// The sealed document as a shape: `of`, `key` or `key64`, and headers by name, each a list. Whose key it is, that itself
/// says; or the event, if that has it in a field of somebody's ([`SubjectTagger::of_one`]).
fn shape(records: &RecordRules, key_field: Option<&KeyField>, contract: &Shape) -> Shape {
    let key = |name: &str| {
        let is_field_of_person = key_field.is_some_and(|key| key.field.subject.is_some());
        let is_of_person = is_field_of_person || records.key.as_ref().is_some_and(|rule| rule.subject);
        let subject = is_of_person.then(|| member(name));
        ShapePlace { class: Some(key_class(records)), subject, types: Types::STRING, ..ShapePlace::default() }
    };
    let header = |class: &Class| {
        let item = ShapePlace { class: Some(class.clone()), types: Types::STRING, ..ShapePlace::default() };
        let class = Some(class.clone());
        ShapePlace { class, types: Types::ARRAY, items: Some(Box::new(item)), ..ShapePlace::default() }
    };
    let headers = || {
        let properties = records.headers.iter().map(|(name, class)| (name.clone(), header(class))).collect();
        ShapePlace { types: Types::OBJECT, properties, ..ShapePlace::default() }
    };
    let of = ShapePlace { class: Class::named(Class::PUBLIC), types: Types::STRING, ..ShapePlace::default() };
    let properties =
        [("of", of), ("key", key("key")), ("key64", key("key64")), ("headers", headers()), ("headers64", headers())];
    let properties = properties.into_iter().map(|(name, place)| (name.to_owned(), place)).collect();
    let root = ShapePlace { types: Types::OBJECT, properties, ..ShapePlace::default() };
    Shape { root, own_classes: contract.own_classes.clone() }
}

fn name_of(event: &[u8]) -> String {
    STANDARD.encode(event.get(..NAMED_BY).unwrap_or(event))
}

/// Text as text, anything else in base64 under a name of its own.
fn put(document: &mut Map<String, Value>, name: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => document.insert(name.to_owned(), text.into()),
        Err(_) => document.insert(format!("{name}64"), STANDARD.encode(bytes).into()),
    };
}

fn put_header(document: &mut Map<String, Value>, name: &[u8], value: Option<&[u8]>) {
    let (member, value): (&str, Value) = match value.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => (EMPTY_HEADERS, "".into()),
        Some((_, Ok(text))) => (TEXT_HEADERS, text.into()),
        Some((bytes, Err(_))) => (BINARY_HEADERS, STANDARD.encode(bytes).into()),
    };
    let headers = document.entry(member).or_insert_with(|| Value::Object(Map::new()));
    let Value::Object(headers) = headers else { return };
    let name = String::from_utf8_lossy(name).into_owned();
    if let Value::Array(values) = headers.entry(name).or_insert_with(|| Value::Array(Vec::new())) {
        values.push(value);
    }
}

/// The key of the document: revealed bytes, or whatever stands for them.
fn bytes_of(document: &Map<String, Value>, name: &str, revealed: bool) -> Option<Vec<u8>> {
    if let Some(text) = document.get(name).and_then(Value::as_str) {
        return Some(text.as_bytes().to_vec());
    }
    let text = document.get(&format!("{name}64"))?.as_str()?;
    if revealed { STANDARD.decode(text).ok() } else { Some(text.as_bytes().to_vec()) }
}

fn problem(around: &Around<'_>) -> Option<&'static str> {
    let headers: usize = around.headers.iter().map(|(name, value)| name.len() + value.map_or(0, <[u8]>::len)).sum();
    if around.key.is_some_and(|key| key.len() > MAX_KEY) {
        return Some("a record's key has at most 64 KiB");
    }
    if headers > MAX_HEADER_BYTES || around.headers.len() > MAX_HEADERS {
        return Some("a record's headers have at most 256 KiB, and there are at most 1,000 of them");
    }
    let reserved = |(name, _): &Header<'_>| name.contains(&0) || std::str::from_utf8(name).is_err();
    if around.headers.iter().any(reserved) {
        return Some("a header's name is UTF-8 without NUL");
    }
    None
}

fn place(pointer: &str, message: &str) -> Place {
    Place { pointer: pointer.to_owned(), rule: "record".into(), message: message.to_owned() }
}
