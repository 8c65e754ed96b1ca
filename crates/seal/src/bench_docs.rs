//! Realistic events for benchmarks, and the peers' way of masking them: parse to a DOM, change it, serialize.
//!
//! Four kinds of documents of about 1 KiB and 8 KiB; 7 and 37 of their fields, some 15 percent of the bytes, are
//! classified. Everything is made from a number, so that a run can be repeated.

use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use tradelane_keys::{AeadKey, SecretBytes};
use tradelane_model::Class;
use tradelane_model::pattern::Pattern;
use tradelane_model::shape::{FieldRule, Place, Shape};

use crate::key::{DataKey, DataKeyState, LogKey, OpeningKeys, SealingKeys};
use crate::subject::SubjectTag;

/// Kinds of documents, each with a contract of its own.
pub const KINDS: usize = 4;

/// How large a document is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// About 1 KiB, 7 classified fields.
    Small,
    /// About 8 KiB, 37 classified fields.
    Large,
}

const KIND_NAMES: [(&str, &str); KINDS] =
    [("shipment", "parcels"), ("inventory", "lots"), ("delivery", "stops"), ("telemetry", "readings")];

/// The contract of a kind. With `subjects`, personal data belongs to the person whose id is beside it.
pub fn shape(kind: usize, subjects: bool) -> Shape {
    let (_, list) = KIND_NAMES[kind % KINDS];
    let mut shape = Shape::default();
    let mut rule = |at: &str, class: &str, subject: Option<&str>| {
        let subject = subject.filter(|_| subjects).map(|subject| Pattern::parse(subject).expect("a pattern"));
        shape.add_rule(&FieldRule { at: Pattern::parse(at).expect("a pattern"), class: Class::named(class), subject });
    };
    let public = ["id", "type", "created", "origin", "destination", "carrier", "service", "status", "reference"];
    let more = ["equipment", "vessel", "voyage", "incoterm", "currency", "temperature", "sequence", "sealed", "tags"];
    let freight = ["route", "remarks", "document", "distance", "co2"];
    for name in public.iter().chain(&more).chain(&freight) {
        rule(&format!("/{name}"), Class::PUBLIC, None);
    }
    let person = Some("/consignee/id");
    rule("/consignee/id", Class::PII, person);
    rule("/consignee/name", Class::PII, person);
    rule("/consignee/phone", Class::PII, person);
    rule("/consignee/email", Class::PII, person);
    rule("/consignee/country", Class::PUBLIC, None);
    rule("/consignee/diagnosis", Class::SENSITIVE_PII, person);
    rule("/terms/price", Class::CONFIDENTIAL, None);
    rule("/terms/margin", Class::CONFIDENTIAL, None);
    rule("/terms/payment", Class::PUBLIC, None);
    for name in ["sku", "lot", "quantity", "unit", "weight", "dimensions", "handling", "country", "description"] {
        rule(&format!("/{list}/*/{name}"), Class::PUBLIC, None);
    }
    let packer = format!("/{list}/*/packer/id");
    rule(&packer, Class::PUBLIC, None);
    rule(&format!("/{list}/*/packer/name"), Class::PII, Some(&packer));
    rule(&format!("/{list}/*/cost"), Class::CONFIDENTIAL, None);
    shape
}

/// The document with this number.
pub fn document(kind: usize, size: Size, number: u64) -> Vec<u8> {
    let mut random = Random(number.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut out = String::with_capacity(9_000);
    let (name, list) = KIND_NAMES[kind % KINDS];
    let (a, b, c) = (random.next(), random.next(), random.next());
    let _ = write!(
        out,
        r#"{{"id":"urn:uuid:{a:016x}-{b:08x}","type":"{name}.updated","created":"2026-11-{:02}T{:02}:{:02}:11.{:03}Z","#,
        a % 28 + 1,
        b % 24,
        c % 60,
        a % 1000
    );
    let _ = write!(
        out,
        r#""origin":"urn:epc:id:sgln:0614141.{:05}.0","destination":"urn:epc:id:sgln:0037000.{:05}.0","carrier":"MAEU","service":"express","status":"in_transit","reference":"PO-{:08}","#,
        a % 100_000,
        b % 100_000,
        c % 100_000_000
    );
    let _ = write!(
        out,
        r#""consignee":{{"id":"person-{:06}","name":"{}","phone":"+41 44 {:03} {:02} {:02}","email":"{}@example.org","country":"CH","diagnosis":"{}"}},"#,
        a % 100_000,
        random.name(),
        a % 1000,
        b % 100,
        c % 100,
        random.word(),
        random.word()
    );
    let _ = write!(
        out,
        r#""terms":{{"price":{}.{:02},"margin":0.{:03},"payment":"net 30"}},"equipment":"45G1","vessel":"Ever Given","voyage":"{:05}W","incoterm":"DAP","currency":"CHF","temperature":{}.5,"sequence":{},"sealed":true,"tags":["fragile","cold-chain","priority-{}"],"{list}":["#,
        a % 10_000,
        b % 100,
        c % 1000,
        b % 100_000,
        a % 30,
        c % 1_000_000,
        a % 10
    );
    out.truncate(out.len() - list.len() - 4);
    let _ = write!(
        out,
        r#""route":["CHBSL","DEHAM","NLRTM","SGSIN"],"remarks":"{} and {} on {} pallets, stackable, unload by tail lift at gate {}; call the warehouse office two hours before arrival","document":"urn:epcglobal:cbv:bt:0614141073467:{:08}","distance":{},"co2":{}.{:02},"{list}":["#,
        random.word(),
        random.word(),
        a % 33,
        b % 40,
        c % 100_000_000,
        a % 20_000,
        b % 400,
        c % 100
    );
    let lines = if size == Size::Small { 0 } else { 15 };
    for line in 0..lines {
        let (a, b) = (random.next(), random.next());
        if line > 0 {
            out.push(',');
        }
        let _ = write!(
            out,
            r#"{{"sku":"urn:epc:idpat:sgtin:0614141.{:06}.*","lot":"LOT-{:08}","quantity":{},"unit":"EA","weight":{}.{:02},"dimensions":[{},{},{}],"handling":"keep upright, do not stack above two layers","country":"DE","#,
            a % 1_000_000,
            b % 100_000_000,
            a % 500,
            b % 90,
            a % 100,
            a % 200,
            b % 200,
            a % 90
        );
        let _ = write!(
            out,
            r#""description":"{} {} {} {} for the regional distribution centre {}, inspected and released","packer":{{"id":"packer-{:04}","name":"{} the packer of the {} shift, gate {}"}},"cost":{}.{:02}}}"#,
            random.word(),
            random.word(),
            random.word(),
            random.word(),
            random.word(),
            b % 10_000,
            random.name(),
            random.word(),
            a % 40,
            a % 900,
            b % 100
        );
    }
    out.push_str("]}");
    out.into_bytes()
}

/// A schema that names every member of a sample, its type, and that it must be there: what contracts ask for.
pub fn schema_like(sample: &Value) -> Value {
    match sample {
        Value::Object(members) => {
            let properties: Map<String, Value> =
                members.iter().map(|(name, value)| (name.clone(), schema_like(value))).collect();
            let required: Vec<&String> = members.keys().collect();
            json!({"type": "object", "properties": properties, "required": required})
        }
        Value::Array(elements) => match elements.first() {
            Some(first) => json!({"type": "array", "items": schema_like(first)}),
            None => json!({"type": "array"}),
        },
        Value::String(text) if text.ends_with('Z') && text.contains('T') => {
            json!({"type": "string", "format": "date-time"})
        }
        Value::String(_) => json!({"type": "string", "maxLength": 2000}),
        Value::Number(_) => json!({"type": "number"}),
        Value::Bool(_) => json!({"type": "boolean"}),
        Value::Null => json!({}),
    }
}

/// What gateways do: parse to a DOM, take out what is classified, serialize.
pub fn peer_mask(json: &[u8], shape: &Shape) -> Option<Vec<u8>> {
    let mut value: Value = serde_json::from_slice(json).ok()?;
    remove_classified(&mut value, &shape.root);
    serde_json::to_vec(&value).ok()
}

fn remove_classified(value: &mut Value, place: &Place) {
    match value {
        Value::Object(members) => members.retain(|name, value| match place.properties.get(name) {
            Some(child) if child.is_leaf() => child.class.as_ref().is_some_and(|class| class.as_str() == Class::PUBLIC),
            Some(child) => {
                remove_classified(value, child);
                true
            }
            None => false,
        }),
        Value::Array(elements) => {
            if let Some(items) = &place.items {
                elements.iter_mut().for_each(|element| remove_classified(element, items));
            }
        }
        _ => {}
    }
}

/// Keys for benchmarks: one for the product, one for all people, one log key.
#[derive(Debug)]
pub struct Keys {
    /// The log key.
    pub log: LogKey,
    opening: Arc<AeadKey>,
    product: Arc<DataKey>,
    person: Arc<DataKey>,
}

impl Keys {
    /// Fresh ones.
    pub fn new() -> Self {
        let log = LogKey::new(1, &SecretBytes::random());
        Self {
            opening: log.opening(),
            log,
            product: Arc::new(DataKey::with_schedule(2, SecretBytes::random())),
            person: Arc::new(DataKey::new(3, SecretBytes::random())),
        }
    }
}

impl Default for Keys {
    fn default() -> Self {
        Self::new()
    }
}

impl SealingKeys for Keys {
    fn subject_key(&self, _: &SubjectTag) -> Option<Arc<DataKey>> {
        Some(Arc::clone(&self.person))
    }

    fn default_key(&self) -> Option<Arc<DataKey>> {
        Some(Arc::clone(&self.product))
    }
}

impl OpeningKeys for Keys {
    fn log_key(&self, id: u64) -> Option<Arc<AeadKey>> {
        (id == self.log.id()).then(|| Arc::clone(&self.opening))
    }

    fn data_key(&self, id: u64) -> DataKeyState {
        match id {
            2 => DataKeyState::Live(Arc::clone(&self.product)),
            3 => DataKeyState::Live(Arc::clone(&self.person)),
            _ => DataKeyState::Missing,
        }
    }
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn word(&mut self) -> &'static str {
        const WORDS: [&str; 16] = [
            "bearing",
            "gasket",
            "insulin",
            "housing",
            "catalyst",
            "bracket",
            "solvent",
            "filament",
            "turbine",
            "cartridge",
            "membrane",
            "coupling",
            "resistor",
            "laminate",
            "adhesive",
            "compressor",
        ];
        WORDS[(self.next() % 16) as usize]
    }

    fn name(&mut self) -> &'static str {
        const NAMES: [&str; 8] = [
            "Anna Meier",
            "Jos\\u00e9 \\\"Pepe\\\" Garc\\u00eda",
            "Zoë Müller",
            "Li Wei",
            "Priya Raghunathan",
            "O'Neil, Siobhán",
            "Jean-Luc Dubois",
            "Amara Okafor",
        ];
        NAMES[(self.next() % 8) as usize]
    }
}
