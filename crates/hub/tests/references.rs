//! Contracts whose schemas refer to others that their owner has registered.

mod support;

use bytes::Bytes;
use support::World;
use tradelane_hub::{Caller, FetchRecords, NewSchema, PublishRecords, RecordsOutcome, Result};
use tradelane_model::registry::{SchemaKind, SchemaReference};
use tradelane_model::{ProductId, codes};
use tradelane_records::{Batch, BatchBuilder, BatchHead, Decompressor, HeaderSource, Limits};

const ADDRESS: &str = r#"{"type":"record","name":"Address","namespace":"acme","fields":[{"name":"city","type":"string"},{"name":"street","type":"string"}]}"#;
const ORDER: &str = r#"{"type":"record","name":"Order","namespace":"acme","fields":[{"name":"id","type":"string"},{"name":"to","type":"Address"}]}"#;
const GEO: &str = r#"syntax = "proto3"; package common; message Address { string city = 1; string street = 2; } message Secret { string of_nobody = 1; }"#;
const PARCEL: &str = r#"syntax = "proto3"; package acme; import "common/geo.proto"; message Parcel { string id = 1; common.Address to = 2; }"#;
const PLACE: &str =
    r#"{"type":"object","properties":{"city":{"type":"string"},"street":{"type":"string"}},"required":["city"]}"#;

const PRODUCT: &str = r#"
apiVersion: tradelane/v1
kind: Product
spec: {id: acme-sent, owner: acme, name: Sent, contract: acme-sent}
---
apiVersion: tradelane/v1
kind: Grant
spec: {id: far-sent, product: acme-sent, consumer: far, purpose: claims}
"#;

fn contract(version: &str, format: &str) -> String {
    format!(
        r#"
apiVersion: v3.1.0
kind: DataContract
id: acme-sent
tenant: acme
version: {version}
status: active
name: Sent
schema:
  - name: sent
    properties:
      - {{name: id, logicalType: string, required: true, classification: public}}
      - name: to
        logicalType: object
        classification: pii
        properties:
          - {{name: city, logicalType: string, classification: public}}
          - {{name: street, logicalType: string}}
customProperties:
  - property: tradelane
    value:
      purposes: [claims]
{format}
"#
    )
}

fn avro(reference: &str) -> String {
    format!("      format: avro\n      avroSchema: '{ORDER}'\n      references: [{reference}]")
}

fn product() -> ProductId {
    "acme-sent".parse().unwrap()
}

async fn register(world: &World, subject: &str, kind: &str, text: &str, references: &[(&str, &str)]) -> u32 {
    let reference = |(name, subject): &(&str, &str)| SchemaReference {
        name: (*name).into(),
        subject: (*subject).into(),
        version: 1,
    };
    let references = references.iter().map(reference).collect();
    let new = NewSchema { kind: Some(kind.into()), text: text.into(), references, normalize: false };
    world.hub.register_schema(&world.owner, subject, new).await.unwrap().into_parts().0.id
}

async fn apply(world: &World, contract: String) -> Result<()> {
    let files = [("contract.yaml".into(), contract), ("product.yaml".into(), PRODUCT.into())];
    world.hub.apply(&world.owner, &files, false).await.map(drop)
}

fn framed(id: u32, event: &[u8]) -> Vec<u8> {
    [&[0][..], &id.to_be_bytes(), event].concat()
}

async fn publish(world: &World, value: &[u8]) -> RecordsOutcome {
    let mut bytes = Vec::new();
    let mut builder = BatchBuilder::new(&mut bytes, &BatchHead::default());
    builder.push(0, 1_800_000_000_000, Some(b"k"), Some(value), HeaderSource::NONE).unwrap();
    builder.finish(0).unwrap();
    let publish = PublishRecords { product: product(), partition: 0, batch: Bytes::from(bytes) };
    world.hub.publish_records(&world.publisher, publish).await.unwrap()
}

/// The last value as a Kafka client gets it: the id in front, and what follows it.
async fn fetched(world: &World, caller: &Caller) -> (u32, Vec<u8>) {
    let reader = world.hub.reader(caller, &product(), None).await.unwrap();
    let fetch = FetchRecords { partition: 0, offset: 0, max_bytes: 1 << 20 };
    let page = world.hub.fetch_records(&reader, fetch).await.unwrap();
    let (batch, _) = Batch::parse(page.batches.last().unwrap(), &Limits::default()).unwrap();
    let mut scratch = Decompressor::new();
    let record = batch.records(&mut scratch, &Limits::default()).unwrap().last().unwrap().unwrap();
    let [0, a, b, c, d, event @ ..] = record.value.unwrap() else { panic!("a value without an id") };
    (u32::from_be_bytes([*a, *b, *c, *d]), event.to_vec())
}

#[tokio::test]
async fn an_avro_contract_takes_what_it_refers_to_as_it_is_when_it_is_applied() {
    let world = World::new().await;
    register(&world, "address", "AVRO", ADDRESS, &[]).await;
    apply(&world, contract("1.0.0", &avro("{name: acme.Address, subject: address, version: 1}"))).await.unwrap();
    let id = register(&world, "acme-sent-value", "AVRO", ORDER, &[("acme.Address", "address")]).await;
    let event = b"\x06o-1\x08Oslo\x0CGate 1";
    assert!(matches!(publish(&world, &framed(id, event)).await, RecordsOutcome::Stored(_)));
    assert_eq!(fetched(&world, &world.owner).await, (id, event.to_vec()));
    let (shown, seen) = fetched(&world, &world.far).await;
    assert_eq!(seen, b"\x06o-1\x08Oslo\x00", "the street is nobody else's");
    let schema = world.hub.schema_by_id(&world.far, shown).await.unwrap().into_parts().0;
    assert!(schema.references.is_empty() && schema.text.contains(r#""name":"city""#), "{}", schema.text);

    // Whatever becomes of the registry, the contract keeps what it took, also after a restart.
    for (subject, permanent) in
        [("acme-sent-value", false), ("acme-sent-value", true), ("address", false), ("address", true)]
    {
        world.hub.delete_subject(&world.owner, subject, permanent).await.unwrap();
    }
    assert_eq!(fetched(&world, &world.far).await.1, seen);
    let (dir, clock, key) = (world.dir, world.clock, world.owner_key);
    drop(world.hub);
    let (hub, _) = tradelane_hub::Hub::open(support::config(&dir, &clock)).await.unwrap();
    let owner = hub.authenticate(tradelane_hub::Presented::ApiKey(&key)).unwrap();
    let reader = hub.reader(&owner, &product(), None).await.unwrap();
    let fetch = FetchRecords { partition: 0, offset: 0, max_bytes: 1 << 20 };
    assert_eq!(hub.fetch_records(&reader, fetch).await.unwrap().batches.len(), 1);
}

#[tokio::test]
async fn a_protobuf_contract_imports_and_its_readers_get_one_file_with_what_the_events_are_made_of() {
    let world = World::new().await;
    register(&world, "geo", "PROTOBUF", GEO, &[]).await;
    let format = |version: u32| {
        format!(
            "      format: protobuf\n      protobufMessage: acme.Parcel\n      protobufSchema: '{PARCEL}'\n      references: [{{name: common/geo.proto, subject: geo, version: {version}}}]"
        )
    };
    apply(&world, contract("1.0.0", &format(1))).await.unwrap();
    let id = register(&world, "acme-sent-value", "PROTOBUF", PARCEL, &[("common/geo.proto", "geo")]).await;
    let event = b"\x00\x0A\x03p-1\x12\x0E\x0A\x04Oslo\x12\x06Gate 1";
    assert!(matches!(publish(&world, &framed(id, event)).await, RecordsOutcome::Stored(_)));
    assert_eq!(fetched(&world, &world.owner).await, (id, event.to_vec()));
    let (shown, seen) = fetched(&world, &world.far).await;
    assert_eq!(seen, b"\x00\x0A\x03p-1\x12\x06\x0A\x04Oslo");
    let schema = world.hub.schema_by_id(&world.far, shown).await.unwrap().into_parts().0;
    assert_eq!((schema.kind, schema.references.len()), (SchemaKind::Protobuf, 0));
    assert!(schema.text.contains("Address") && !schema.text.contains("Secret"), "{}", schema.text);
    // The same file with another meaning of what it imports is another schema.
    let other = GEO.replace("string city = 1; string street = 2;", "string street = 1; string city = 2;");
    register(&world, "other", "PROTOBUF", &other, &[]).await;
    let setting = tradelane_hub::SchemaSetting::Compatibility(Some(tradelane_model::registry::Compatibility::None));
    world.hub.set_schema_setting(&world.owner, Some("acme-sent-value"), setting).await.unwrap();
    let foreign = register(&world, "acme-sent-value", "PROTOBUF", PARCEL, &[("common/geo.proto", "other")]).await;
    let RecordsOutcome::Refused(told) = publish(&world, &framed(foreign, event)).await else { panic!("it was stored") };
    assert_eq!(told[0].code, codes::SCHEMA_ID_UNKNOWN);
}

#[tokio::test]
async fn a_json_contract_is_held_to_what_it_refers_to() {
    let world = World::new().await;
    register(&world, "place", "JSON", PLACE, &[]).await;
    let format = "      jsonSchema: {type: object, required: [id, to], properties: {id: {type: string}, to: {$ref: place.json}}}\n      references: [{name: place.json, subject: place, version: 1}]";
    apply(&world, contract("1.0.0", format)).await.unwrap();
    assert!(matches!(
        publish(&world, br#"{"id":"1","to":{"city":"Oslo","street":"Gate 1"}}"#).await,
        RecordsOutcome::Stored(_)
    ));
    let RecordsOutcome::Refused(told) = publish(&world, br#"{"id":"1","to":{"street":"Gate 1"}}"#).await else {
        panic!("it was stored")
    };
    assert_eq!(told[0].code, codes::CONTRACT_VIOLATION);
    let schema = world.hub.product_schema(&world.owner, &product(), None).await.unwrap().into_parts().0;
    assert!(tradelane_schema::Schema::compile(&schema).is_ok(), "it stands by itself");
    // What it refers to counts where it is held against what was before.
    let narrower = PLACE.replace(r#"["city"]"#, r#"["city","street"]"#);
    register(&world, "narrower", "JSON", &narrower, &[]).await;
    let next = contract("1.1.0", &format.replace("subject: place", "subject: narrower"));
    assert_eq!(apply(&world, next.clone()).await.unwrap_err().code, codes::CONTRACT_BREAKING);
    let impact = world.hub.impact(&world.owner, &[("c.yaml".into(), next)]).await.unwrap().into_parts().0;
    assert!(!impact[0].may_apply && !impact[0].breaks.is_empty(), "{impact:?}");
}

#[tokio::test]
async fn a_reference_that_leads_nowhere_or_to_another_kind_is_refused_with_its_place() {
    let world = World::new().await;
    register(&world, "address", "AVRO", ADDRESS, &[]).await;
    register(&world, "place", "JSON", PLACE, &[]).await;
    register(&world, "deleted", "AVRO", ADDRESS, &[]).await;
    world.hub.delete_subject(&world.owner, "deleted", false).await.unwrap();
    let reference =
        |subject: &str, version: u32| format!("{{name: acme.Address, subject: {subject}, version: {version}}}");
    let many = (0..65).map(|number| reference("address", number)).collect::<Vec<_>>().join(", ");
    let cases = [
        (avro(&reference("nowhere", 1)), "/references/0"),
        (avro(&reference("address", 2)), "/references/0"),
        (avro(&reference("deleted", 1)), "/references/0"),
        (avro(&reference("place", 1)), "another language"),
        (avro(&format!("{}, {}", reference("address", 1), reference("address", 1))), "/references/1"),
        (avro(&many), "at most 64"),
        (avro("{name: acme.Address, subject: address}"), "version"),
        (avro(""), "avroSchema"),
        (format!("      references: [{}]", reference("place", 1)), "jsonSchema"),
    ];
    for (format, expected) in cases {
        let error = apply(&world, contract("1.0.0", &format)).await.unwrap_err();
        assert!(error.detail.contains(expected), "{} should name {expected}", error.detail);
    }
}
