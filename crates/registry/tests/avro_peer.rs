//! The Rust implementation of Avro as a peer: where this registry says that a new schema reads what an old one wrote, the
//! peer reads it, and events are brought into its form; and both have the same canonical form and fingerprint. It is also
//! what holds the two readers of Avro schemas to each other: this one, which knows all that a registry may be sent, and that
//! of events, which knows where in an event what is classified stands.

use apache_avro::Schema as Peer;
use apache_avro::rabin::Rabin;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use proptest::prelude::*;
use serde_json::{Value as Json, json};
use tradelane_encodings::avro::Schema as Events;
use tradelane_encodings::{Limits, Tree, Unresolved};
use tradelane_model::registry::SchemaKind;
use tradelane_registry::{AvroSchema, STEPS, Schema, compare};

const PRIMITIVES: [&str; 8] = ["null", "boolean", "int", "long", "float", "double", "bytes", "string"];

/// A type, its named types called after `path`, so that two schemas made apart have names in common.
fn kind(depth: u32) -> BoxedStrategy<Json> {
    let primitive = prop::sample::select(PRIMITIVES.to_vec()).prop_map(|name| json!(name));
    if depth == 0 {
        return primitive.boxed();
    }
    let symbols = prop::sample::subsequence(vec!["A", "B", "C", "D"], 1..4);
    let enumeration = (symbols, any::<bool>()).prop_map(|(symbols, has_default)| {
        let mut one = json!({ "type": "enum", "name": "?", "symbols": symbols });
        if has_default {
            one["default"] = json!(symbols[0]);
        }
        one
    });
    let union = prop::sample::subsequence(PRIMITIVES.to_vec(), 1..4).prop_map(|names| json!(names));
    let fields = prop::collection::vec((0_usize..5, kind(depth - 1), any::<bool>()), 0..4);
    let record = fields.prop_map(|fields| {
        let mut seen = std::collections::BTreeSet::new();
        let fields: Vec<Json> = fields
            .into_iter()
            .filter(|(number, ..)| seen.insert(*number))
            .map(|(number, kind, has_default)| {
                let mut field = json!({ "name": format!("f{number}"), "type": kind });
                if let (true, Some(default)) = (has_default, default_of(&kind)) {
                    field["default"] = default;
                }
                field
            })
            .collect();
        json!({ "type": "record", "name": "?", "fields": fields })
    });
    prop_oneof![
        3 => primitive,
        1 => kind(depth - 1).prop_map(|items| json!({ "type": "array", "items": items })),
        1 => kind(depth - 1).prop_map(|values| json!({ "type": "map", "values": values })),
        1 => (1_u32..3).prop_map(|size| json!({ "type": "fixed", "name": "?", "size": size })),
        1 => enumeration,
        1 => union,
        3 => record,
    ]
    .boxed()
}

fn default_of(kind: &Json) -> Option<Json> {
    Some(match kind.as_str()? {
        "null" => Json::Null,
        "boolean" => json!(true),
        "int" | "long" => json!(7),
        "float" | "double" => json!(1.5),
        _ => json!("x"),
    })
}

/// Gives each named type a name by its place: the same place, the same name.
fn named(schema: &mut Json, path: &str) {
    match schema {
        Json::Array(branches) => {
            branches.iter_mut().enumerate().for_each(|(index, branch)| named(branch, &format!("{path}_{index}")));
        }
        Json::Object(members) => {
            if members.get("name") == Some(&json!("?")) {
                members.insert("name".into(), json!(path));
            }
            for part in ["items", "values"] {
                if let Some(part) = members.get_mut(part) {
                    named(part, &format!("{path}_p"));
                }
            }
            for field in members.get_mut("fields").and_then(Json::as_array_mut).into_iter().flatten() {
                let path = format!("{path}_{}", field["name"].as_str().unwrap_or_default());
                named(&mut field["type"], &path);
            }
        }
        _ => {}
    }
}

/// A value of a schema, from bytes that decide.
fn value(schema: &Json, seed: &mut impl Iterator<Item = u8>) -> Value {
    let mut next = || seed.next().unwrap_or(0);
    let number = next();
    match schema {
        Json::String(name) => match name.as_str() {
            "null" => Value::Null,
            "boolean" => Value::Boolean(number % 2 == 0),
            "int" => Value::Int(i32::from(number) - 100),
            "long" => Value::Long(i64::from(number) - 100),
            "float" => Value::Float(f32::from(number)),
            "double" => Value::Double(f64::from(number)),
            "bytes" => Value::Bytes(vec![b'a' + number % 20; usize::from(number % 4)]),
            _ => Value::String("x".repeat(usize::from(number % 4))),
        },
        Json::Array(branches) => {
            let index = usize::from(number) % branches.len();
            Value::Union(u32::try_from(index).unwrap(), Box::new(value(&branches[index], seed)))
        }
        other => match other["type"].as_str().unwrap() {
            "array" => Value::Array((0..number % 3).map(|_| value(&other["items"], seed)).collect()),
            "map" => Value::Map((0..number % 3).map(|n| (n.to_string(), value(&other["values"], seed))).collect()),
            "fixed" => {
                let size = usize::try_from(other["size"].as_u64().unwrap()).unwrap();
                Value::Fixed(size, vec![number; size])
            }
            "enum" => {
                let symbols = other["symbols"].as_array().unwrap();
                let index = usize::from(number) % symbols.len();
                Value::Enum(u32::try_from(index).unwrap(), symbols[index].as_str().unwrap().into())
            }
            _ => {
                let fields = other["fields"].as_array().unwrap();
                Value::Record(
                    fields.iter().map(|f| (f["name"].as_str().unwrap().into(), value(&f["type"], seed))).collect(),
                )
            }
        },
    }
}

fn schema() -> impl Strategy<Value = Json> {
    kind(3).prop_map(|mut schema| {
        named(&mut schema, "N");
        schema
    })
}

/// The schema with a few changes, such as people make.
fn changed(schema: &Json, seed: &mut impl Iterator<Item = u8>) -> Json {
    let number = seed.next().unwrap_or(0);
    match schema {
        Json::String(name) if number.is_multiple_of(4) => match name.as_str() {
            "int" => json!("long"),
            "long" => json!("double"),
            "bytes" => json!("string"),
            "string" => json!("bytes"),
            "null" => json!(["null", "int"]),
            other => json!(["null", other]),
        },
        Json::Object(members) => {
            let mut members = members.clone();
            for part in ["items", "values"] {
                if let Some(part) = members.get_mut(part) {
                    *part = changed(part, seed);
                }
            }
            if let Some(Json::Array(fields)) = members.get_mut("fields") {
                if number.is_multiple_of(3) {
                    fields.pop();
                }
                for field in fields.iter_mut() {
                    if field.get("default").is_none() {
                        field["type"] = changed(&field["type"], seed);
                    }
                }
                if number.is_multiple_of(2) {
                    fields.push(json!({ "name": format!("g{number}"), "type": "string", "default": "new" }));
                }
            }
            Json::Object(members)
        }
        other => other.clone(),
    }
}

fn ours(schema: &Json) -> Schema {
    Schema::parse(SchemaKind::Avro, &schema.to_string(), &[]).unwrap()
}

/// An event, as events are brought from one version's form into another's.
fn brought(old: &Json, new: &Json, event: &[u8]) -> Result<Vec<u8>, Unresolved> {
    let (old, new) = (Events::parse(&old.to_string()).unwrap(), Events::parse(&new.to_string()).unwrap());
    let (mut tree, mut out) = (Tree::new(), Vec::new());
    old.walk(event, &Limits::EVENT, &mut tree).unwrap();
    new.resolve(&old, event, &tree, &mut out).map(|()| out)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn what_is_compatible_the_peer_reads(old in schema(), other in schema(), seed in prop::collection::vec(any::<u8>(), 64), is_changed in prop::bool::weighted(0.8)) {
        let mut seed = seed.into_iter().cycle().take(4096);
        let new = if is_changed { changed(&old, &mut seed) } else { other };
        let (Ok(writer), Ok(reader)) = (Peer::parse_str(&old.to_string()), Peer::parse_str(&new.to_string())) else {
            return Err(TestCaseError::fail(format!("the peer takes no {old} or {new}")));
        };
        prop_assert!(compare(&ours(&old), &ours(&old), &mut STEPS.clone()).unwrap().is_empty(), "itself: {}", old);
        let broken = compare(&ours(&old), &ours(&new), &mut STEPS.clone()).unwrap();
        for _ in 0..4 {
            let written = value(&old, &mut seed);
            let bytes = GenericDatumWriter::builder(&writer).build().unwrap().write_value_to_vec(written.clone()).unwrap();
            let resolving = GenericDatumReader::builder(&writer).reader_schema(&reader).build();
            let read = resolving.and_then(|resolving| resolving.read_value(&mut bytes.as_slice()));
            let brought = brought(&old, &new, &bytes);
            if broken.is_empty() {
                prop_assert!(read.is_ok(), "{old} -> {new}: {written:?}: {:?}", read.err());
                prop_assert!(brought.is_ok(), "{old} -> {new}: {written:?}: {:?}", brought.err());
            }
            if let Ok(brought) = brought {
                let there = GenericDatumReader::builder(&reader).build().unwrap().read_value(&mut brought.as_slice());
                prop_assert!(there.is_ok(), "{old} -> {new}: {written:?}: {:?}", there.err());
            }
        }
    }

    #[test]
    fn canonical_form_and_fingerprint_are_the_peers(schema in schema()) {
        let text = schema.to_string();
        let (ours, peer) = (AvroSchema::parse(&text, &[]).unwrap(), Peer::parse_str(&text).unwrap());
        prop_assert_eq!(ours.parsing_form().unwrap(), peer.canonical_form());
        let theirs = peer.fingerprint::<Rabin>();
        prop_assert_eq!(ours.fingerprint().unwrap().to_le_bytes().to_vec(), theirs.bytes);
        let normal = tradelane_registry::canonical(SchemaKind::Avro, &text, &[], true).unwrap();
        prop_assert_eq!(AvroSchema::parse(&normal, &[]).unwrap().fingerprint(), ours.fingerprint());
    }
}
