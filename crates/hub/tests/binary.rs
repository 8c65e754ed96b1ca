//! Products in Avro and Protobuf, from the producer's serializer to each reader's.

mod support;

use bytes::Bytes;
use serde_json::{Value, json};
use support::World;
use tradelane_encodings::avro::Schema;
use tradelane_encodings::{Limits, Tree, varint};
use tradelane_hub::publish::{Body, Publish};
use tradelane_hub::{Caller, FetchRecords, From, NewSchema, PublishRecords, RecordsOutcome};
use tradelane_model::registry::{FIRST_VIEW_ID, SchemaKind, SchemaText};
use tradelane_model::{ProductId, codes};
use tradelane_records::{Batch, BatchBuilder, BatchHead, Decompressor, HeaderSource};

const AVRO: &str = r#"{"type":"record","name":"acme.Order","fields":[{"name":"id","type":"string"},{"name":"sku","type":"string"},{"name":"qty","type":"int"},{"name":"price","type":["null","double"],"default":null},{"name":"email","type":"string"}]}"#;
const AVRO_2: &str = r#"{"type":"record","name":"acme.Order","fields":[{"name":"id","type":"string"},{"name":"sku","type":"string"},{"name":"qty","type":"int"},{"name":"price","type":["null","double"],"default":null},{"name":"email","type":"string"},{"name":"note","type":"string","default":"-"}]}"#;
const PROTO: &str = r#"syntax = "proto3"; package acme; message Order { string id = 1; string sku = 2; int32 qty = 3; optional double price = 4; string email = 5; }"#;

fn contract(version: &str, price: &str, extra: &str, format: &str) -> String {
    format!(
        r#"
apiVersion: v3.1.0
kind: DataContract
id: acme-native
tenant: acme
version: {version}
status: active
name: Orders
schema:
  - name: order
    properties:
      - {{name: id, logicalType: string, required: true, classification: public}}
      - {{name: sku, logicalType: string, required: true, classification: confidential}}
      - {{name: qty, logicalType: integer, required: true, classification: internal}}
      - {{name: price, logicalType: number, classification: {price}}}
      - {{name: email, logicalType: string, required: true, classification: pii, customProperties: [{{property: subject, value: /email}}]}}
{extra}
    quality:
      - {{type: custom, engine: cel, name: some-quantity, severity: error, implementation: "event.qty > 0"}}
customProperties:
  - property: tradelane
    value:
      purposes: [replenishment, claims]
{format}
"#
    )
}

fn avro(text: &str) -> String {
    format!("      format: avro\n      avroSchema: '{text}'")
}

const PRODUCT: &str = r#"
apiVersion: tradelane/v1
kind: Product
spec: {id: acme-native, owner: acme, name: Orders, contract: acme-native, discoverable: true}
---
apiVersion: tradelane/v1
kind: Grant
spec:
  id: near-native
  product: acme-native
  consumer: near
  purpose: replenishment
  view: {classes: {pii: pseudonym}}
  filter: event.sku in reader.skus
  attributes: {skus: [A, B]}
---
apiVersion: tradelane/v1
kind: Grant
spec:
  id: far-native
  product: acme-native
  consumer: far
  purpose: claims
  view: {classes: {pii: reveal, confidential: reveal}}
"#;

fn product() -> ProductId {
    "acme-native".parse().unwrap()
}

async fn world(contract: String) -> World {
    let world = World::new().await;
    let files = [("contract.yaml".into(), contract), ("product.yaml".into(), PRODUCT.into())];
    world.hub.apply(&world.owner, &files, false).await.unwrap();
    world
}

async fn register(world: &World, kind: &str, text: &str) -> u32 {
    let new = NewSchema { kind: Some(kind.into()), text: text.into(), ..NewSchema::default() };
    world.hub.register_schema(&world.owner, "acme-native-value", new).await.unwrap().into_parts().0.id
}

fn text(text: &str, out: &mut Vec<u8>) {
    varint::write_signed(text.len() as i64, out);
    out.extend_from_slice(text.as_bytes());
}

fn avro_order(id: &str, sku: &str, qty: i64, email: &str) -> Vec<u8> {
    let mut out = Vec::new();
    text(id, &mut out);
    text(sku, &mut out);
    varint::write_signed(qty, &mut out);
    out.push(2);
    out.extend_from_slice(&12.5_f64.to_le_bytes());
    text(email, &mut out);
    out
}

fn framed(id: u32, event: &[u8]) -> Vec<u8> {
    [&[0][..], &id.to_be_bytes(), event].concat()
}

fn batch(values: &[Vec<u8>]) -> Bytes {
    let mut bytes = Vec::new();
    let mut builder = BatchBuilder::new(&mut bytes, &BatchHead::default());
    for (delta, value) in (0..).zip(values) {
        builder.push(delta, 1_800_000_000_000, Some(b"k"), Some(value), HeaderSource::NONE).unwrap();
    }
    builder.finish(i32::try_from(values.len()).unwrap() - 1).unwrap();
    bytes.into()
}

async fn publish(world: &World, values: &[Vec<u8>]) -> RecordsOutcome {
    let publish = PublishRecords { product: product(), partition: 0, batch: batch(values) };
    world.hub.publish_records(&world.publisher, publish).await.unwrap()
}

#[track_caller]
fn refused(outcome: RecordsOutcome, code: tradelane_model::ErrorCode) {
    match outcome {
        RecordsOutcome::Refused(refused) => assert_eq!(refused[0].code, code, "{}", refused[0].message),
        RecordsOutcome::Stored(_) => panic!("stored"),
    }
}

/// Values as a Kafka client gets them: the id in front, and what follows it.
async fn fetched(world: &World, caller: &Caller) -> Vec<(u32, Vec<u8>)> {
    let reader = world.hub.reader(caller, &product(), None).await.unwrap();
    let fetch = FetchRecords { partition: 0, offset: 0, max_bytes: 1 << 20 };
    let page = world.hub.fetch_records(&reader, fetch).await.unwrap();
    let mut all = Vec::new();
    for bytes in &page.batches {
        let (batch, _) = Batch::parse(bytes, &tradelane_records::Limits::default()).unwrap();
        for record in batch.records(&mut Decompressor::new(), &tradelane_records::Limits::default()).unwrap() {
            match record.unwrap().value.unwrap() {
                [0, a, b, c, d, event @ ..] => all.push((u32::from_be_bytes([*a, *b, *c, *d]), event.to_vec())),
                // What is left out of a batch whole leaves a marker.
                other => assert!(other.len() < 8, "a value without an id"),
            }
        }
    }
    all
}

/// Events as listeners of text get them.
async fn lines(world: &World, caller: &Caller) -> Vec<Value> {
    let reader = world.hub.reader(caller, &product(), None).await.unwrap();
    let page = world.hub.read(&reader, From::Earliest, support::limits(std::time::Duration::ZERO)).await.unwrap();
    let lines: Vec<u8> = page.value().chunks.iter().flat_map(|chunk| chunk.lines().to_vec()).collect();
    let text = String::from_utf8(lines).unwrap();
    text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["event"].clone()).collect()
}

async fn schema_of(world: &World, caller: &Caller, id: u32) -> SchemaText {
    let schema = world.hub.schema_by_id(caller, id).await.unwrap().into_parts().0;
    SchemaText::clone(&schema)
}

/// Every event that listeners of text show keeps the JSON Schema of its view.
async fn keep_their_schema(world: &World, caller: &Caller) {
    let schema = world.hub.product_schema(caller, &product(), None).await.unwrap().into_parts().0;
    let schema = tradelane_schema::Schema::compile(&schema).unwrap();
    for event in lines(world, caller).await {
        let text = event.to_string();
        let mut tape = tradelane_tape::Tape::new();
        let doc = tape.parse(text.as_bytes(), &tradelane_tape::Limits::EVENT).unwrap();
        assert!(schema.is_valid(doc.root()), "{text}");
    }
}

fn decoded(schema: &str, event: &[u8]) -> Value {
    let (schema, mut tree, mut out) = (Schema::parse(schema).unwrap(), Tree::new(), Vec::new());
    schema.walk(event, &Limits::EVENT, &mut tree).unwrap();
    schema.write_json(event, &tree, &[], &mut out).unwrap();
    serde_json::from_slice(&out).unwrap()
}

#[tokio::test]
async fn an_avro_event_reaches_each_reader_in_the_schema_of_its_view() {
    let world = world(contract("1.0.0", "confidential", "", &avro(AVRO))).await;
    let id = register(&world, "AVRO", AVRO).await;
    let sent = [avro_order("o-1", "A", 3, "anna@a.b"), avro_order("o-2", "Z", 4, "ben@a.b")];
    let outcome = publish(&world, &[framed(id, &sent[0]), framed(id, &sent[1])]).await;
    assert!(matches!(outcome, RecordsOutcome::Stored(_)));

    let own = fetched(&world, &world.owner).await;
    assert_eq!(own, [(id, sent[0].clone()), (id, sent[1].clone())], "the owner gets what was sent");

    let near = fetched(&world, &world.near).await;
    assert_eq!(near.len(), 1, "the row filter looks at a field that the view hides");
    let (named, event) = &near[0];
    assert!(*named >= FIRST_VIEW_ID);
    let schema = schema_of(&world, &world.near, *named).await;
    assert_eq!(schema.kind, SchemaKind::Avro);
    let seen = decoded(&schema.text, event);
    assert_eq!(seen, decoded(AVRO, event), "the owner's schema reads it as well");
    assert_eq!(
        (&seen["id"], &seen["sku"], &seen["qty"], &seen["price"]),
        (&json!("o-1"), &json!(""), &json!(3), &Value::Null)
    );
    assert!(seen["email"].as_str().unwrap().starts_with("p-"));

    let far = fetched(&world, &world.far).await;
    assert_eq!(far.iter().map(|(_, event)| event.clone()).collect::<Vec<_>>(), sent);

    let pseudonym = seen["email"].clone();
    assert_eq!(lines(&world, &world.near).await, [json!({"id": "o-1", "qty": 3, "email": pseudonym})]);
    assert_eq!(lines(&world, &world.far).await[1]["email"], "ben@a.b");

    keep_their_schema(&world, &world.near).await;
    world.hub.erase(&world.privacy, "anna@a.b").await.unwrap();
    keep_their_schema(&world, &world.far).await;
    let far = fetched(&world, &world.far).await;
    assert_eq!(decoded(AVRO, &far[0].1)["email"], "");
    assert_eq!(decoded(AVRO, &far[1].1)["email"], "ben@a.b");
    assert!(lines(&world, &world.far).await[0].get("email").is_none());
}

#[tokio::test]
async fn what_is_no_event_of_the_contract_is_refused_by_itself() {
    let world = world(contract("1.0.0", "confidential", "", &avro(AVRO))).await;
    let id = register(&world, "AVRO", AVRO).await;
    let good = avro_order("o-1", "A", 3, "anna@a.b");
    refused(publish(&world, std::slice::from_ref(&good)).await, codes::SCHEMA_ID_UNKNOWN);
    refused(publish(&world, &[framed(id + 1, &good)]).await, codes::SCHEMA_ID_UNKNOWN);
    let other = register(&world, "AVRO", AVRO_2).await;
    refused(publish(&world, &[framed(other, &good)]).await, codes::SCHEMA_ID_UNKNOWN);
    refused(publish(&world, &[framed(id, &good[1..])]).await, codes::ENCODING_INVALID);
    refused(publish(&world, &[framed(id, &[&good[..], &[0]].concat())]).await, codes::ENCODING_INVALID);
    refused(publish(&world, &[framed(id, &avro_order("o-1", "A", 0, "anna@a.b"))]).await, codes::QUALITY_RULE);
    let body = Body::Lines(Bytes::from_static(b"{}"));
    let request =
        Publish { product: product(), body, idempotency_key: None, proceed: false, partition: None, version: None };
    let error = world.hub.publish(&world.publisher, request).await.map(|_| ()).unwrap_err();
    assert_eq!(error.code, codes::BINARY_PRODUCT);
}

#[tokio::test]
async fn a_producer_with_an_earlier_schema_is_held_to_the_current_classes() {
    let world = world(contract("1.0.0", "public", "", &avro(AVRO))).await;
    let first = register(&world, "AVRO", AVRO).await;
    let before = avro_order("o-1", "A", 3, "anna@a.b");
    publish(&world, &[framed(first, &before)]).await;
    let view = fetched(&world, &world.near).await;
    assert_eq!(decoded(AVRO, &view[0].1)["price"], 12.5);

    let note = "      - {name: note, logicalType: string, classification: public}";
    let next = contract("1.1.0", "confidential", note, &avro(AVRO_2));
    world.hub.apply(&world.owner, &[("contract.yaml".into(), next)], false).await.unwrap();
    let second = register(&world, "AVRO", AVRO_2).await;
    let mut after = avro_order("o-3", "A", 5, "anna@a.b");
    text("hello", &mut after);
    let stored =
        publish(&world, &[framed(first, &avro_order("o-2", "A", 4, "anna@a.b")), framed(second, &after)]).await;
    assert!(matches!(stored, RecordsOutcome::Stored(_)));

    let view = fetched(&world, &world.near).await;
    assert_eq!(view.len(), 3);
    for (at, ((named, event), written)) in view.iter().zip([AVRO, AVRO, AVRO_2]).enumerate() {
        let schema = schema_of(&world, &world.near, *named).await;
        let seen = decoded(&schema.text, event);
        assert_eq!(seen, decoded(written, event));
        assert_eq!(
            seen["price"],
            Value::Null,
            "event {at} was published when prices were public, or by one who thinks so"
        );
    }
    assert_eq!(decoded(AVRO_2, &view[2].1)["note"], "hello");
    assert_eq!(fetched(&world, &world.owner).await[1].0, first);
}

#[tokio::test]
async fn a_contract_whose_schema_is_wrong_is_refused_with_the_place() {
    let world = World::new().await;
    let cases = [
        (
            contract(
                "1.0.0",
                "public",
                "",
                &avro(r#"{"type":"record","name":"R","fields":[{"name":"x","type":"nothing"}]}"#),
            ),
            "R.x",
        ),
        (contract("1.0.0", "public", "      - {name: nmae, logicalType: string}", &avro(AVRO)), "/nmae"),
        (
            contract(
                "1.0.0",
                "public",
                "",
                "      format: protobuf\n      protobufMessage: acme.Order\n      protobufSchema: 'message {'",
            ),
            "protobufSchema",
        ),
        (
            contract(
                "1.0.0",
                "public",
                "",
                &format!(
                    "      format: protobuf\n      protobufMessage: acme.Nothing\n      protobufSchema: '{PROTO}'"
                ),
            ),
            "acme.Nothing",
        ),
    ];
    for (text, expected) in cases {
        let error =
            world.hub.apply(&world.owner, &[("contract.yaml".into(), text)], false).await.map(|_| ()).unwrap_err();
        assert!(error.detail.contains(expected), "{} should name {expected}", error.detail);
    }
}

#[tokio::test]
async fn a_protobuf_event_reaches_each_reader_as_the_message_of_its_contract() {
    let format = format!("      format: protobuf\n      protobufMessage: acme.Order\n      protobufSchema: '{PROTO}'");
    let world = world(contract("1.0.0", "confidential", "", &format)).await;
    let id = register(&world, "PROTOBUF", PROTO).await;
    let mut event = Vec::new();
    for (number, value) in [(1_u8, "o-1"), (2, "A"), (5, "anna@a.b")] {
        event.extend_from_slice(&[number << 3 | 2, value.len() as u8]);
        event.extend_from_slice(value.as_bytes());
    }
    event.extend_from_slice(&[3 << 3, 7, 4 << 3 | 1]);
    event.extend_from_slice(&12.5_f64.to_le_bytes());
    let message = [&[0][..], &event].concat();
    assert!(matches!(publish(&world, &[framed(id, &message)]).await, RecordsOutcome::Stored(_)));
    refused(publish(&world, &[framed(id, &[&[2, 2][..], &event].concat())]).await, codes::SCHEMA_ID_UNKNOWN);
    refused(publish(&world, &[framed(id, &[0, 0x0A, 9])]).await, codes::ENCODING_INVALID);
    refused(publish(&world, &[framed(id, &[0])]).await, codes::QUALITY_RULE);

    assert_eq!(fetched(&world, &world.owner).await, [(id, message.clone())]);
    let near = fetched(&world, &world.near).await;
    let schema = schema_of(&world, &world.near, near[0].0).await;
    assert_eq!(schema.kind, SchemaKind::Protobuf);
    assert!(schema.text.contains("message Order"));
    let (first, shown) = near[0].1.split_first().unwrap();
    assert_eq!(*first, 0, "the first message of its file");
    assert!(!shown.windows(8).any(|window| window == 12.5_f64.to_le_bytes() || window == b"anna@a.b"));
    let seen = lines(&world, &world.near).await;
    assert_eq!((&seen[0]["id"], &seen[0]["qty"], seen[0].get("sku")), (&json!("o-1"), &json!(7), None));
    assert!(seen[0]["email"].as_str().unwrap().starts_with("p-"));
    keep_their_schema(&world, &world.near).await;
    world.hub.erase(&world.privacy, "anna@a.b").await.unwrap();
    keep_their_schema(&world, &world.far).await;
    let far = fetched(&world, &world.far).await;
    assert!(!far[0].1.windows(8).any(|window| window == b"anna@a.b"));
}

/// A later version that whoever has the earlier schema alone cannot read: a field in front, and (`qty`) another type.
fn breaking(qty: &str) -> (String, String) {
    let schema = AVRO.replace(r#"[{"name":"id""#, r#"[{"name":"unit","type":"string"},{"name":"id""#);
    let schema = schema.replace(r#""qty","type":"int""#, &format!(r#""qty","type":"{qty}""#));
    let unit = "      - {name: unit, logicalType: string, classification: public}";
    let format = format!("{}\n      evolution: {{notice: P30D}}", avro(&schema));
    (contract("2.0.0", "confidential", unit, &format), schema)
}

fn with_unit(event: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    text("box", &mut out);
    [out, event.to_vec()].concat()
}

#[tokio::test]
async fn a_reader_that_stays_with_an_earlier_schema_is_given_later_events_in_it() {
    let world = world(contract("1.0.0", "confidential", "", &avro(AVRO))).await;
    let first = register(&world, "AVRO", AVRO).await;
    let (old, new) = (avro_order("o-1", "A", 3, "anna@a.b"), avro_order("o-2", "A", 4, "ben@a.b"));
    publish(&world, &[framed(first, &old)]).await;
    let (next, schema) = breaking("int");
    world.hub.apply(&world.owner, &[("contract.yaml".into(), next)], false).await.unwrap();
    let set = tradelane_hub::SchemaSetting::Compatibility(Some(tradelane_model::registry::Compatibility::None));
    world.hub.set_schema_setting(&world.owner, Some("acme-native-value"), set).await.unwrap();
    let second = register(&world, "AVRO", &schema).await;
    let stored = publish(&world, &[framed(second, &with_unit(&new)), framed(first, &new)]).await;
    assert!(matches!(stored, RecordsOutcome::Stored(_)));

    let far = fetched(&world, &world.far).await;
    let ids: Vec<u32> = far.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, [ids[0]; 3], "one schema for all that it reads");
    assert_eq!(far.iter().map(|(_, event)| event.clone()).collect::<Vec<_>>(), [old, new.clone(), new.clone()]);
    assert!(!schema_of(&world, &world.far, ids[0]).await.text.contains("unit"));
    let near = fetched(&world, &world.near).await;
    let seen = decoded(AVRO, &near[1].1);
    assert_eq!((&seen["id"], &seen["sku"], &seen["price"]), (&json!("o-2"), &json!(""), &Value::Null));
    assert!(lines(&world, &world.far).await.iter().all(|event| event.get("unit").is_none()));
    assert_eq!(fetched(&world, &world.owner).await[1].1, with_unit(&new));

    world.clock.pass(31 * 86_400);
    assert_eq!(fetched(&world, &world.far).await[1].1, with_unit(&new), "the notice is over");
}

#[tokio::test]
async fn a_later_event_that_does_not_fit_the_earlier_schema_is_withheld_and_nothing_else_is() {
    let world = world(contract("1.0.0", "confidential", "", &avro(AVRO))).await;
    let first = register(&world, "AVRO", AVRO).await;
    let (next, schema) = breaking("long");
    world.hub.apply(&world.owner, &[("contract.yaml".into(), next)], false).await.unwrap();
    let set = tradelane_hub::SchemaSetting::Compatibility(Some(tradelane_model::registry::Compatibility::None));
    world.hub.set_schema_setting(&world.owner, Some("acme-native-value"), set).await.unwrap();
    let second = register(&world, "AVRO", &schema).await;
    let (good, other) = (avro_order("o-1", "A", 3, "anna@a.b"), with_unit(&avro_order("o-2", "A", 4, "ben@a.b")));
    publish(&world, &[framed(second, &other), framed(first, &good)]).await;
    let far: Vec<Vec<u8>> = fetched(&world, &world.far).await.into_iter().map(|(_, event)| event).collect();
    assert_eq!(far, [good]);
    let withheld = world.hub.quarantine(&world.owner, &product(), 0, 10).await.unwrap().into_parts().0;
    assert_eq!(withheld.iter().map(|entry| entry.record).collect::<Vec<_>>(), [Some(0)]);
}

#[tokio::test]
async fn a_reader_that_stays_with_an_earlier_message_is_given_later_events_as_it() {
    let format = |text: &str| {
        format!(
            "      format: protobuf\n      protobufMessage: acme.Order\n      protobufSchema: '{text}'\n      evolution: {{notice: P30D}}"
        )
    };
    let world = world(contract("1.0.0", "confidential", "", &format(PROTO))).await;
    register(&world, "PROTOBUF", PROTO).await;
    // The order is the second message of its file now, and its price has another type.
    let later = PROTO
        .replace("message Order", "message Unit { string name = 1; } message Order")
        .replace("optional double price = 4;", "optional float price = 4;")
        .replace("string email = 5;", "string email = 5; Unit unit = 6;");
    let extra = "      - {name: unit, logicalType: object, classification: public}";
    let next = contract("2.0.0", "confidential", extra, &format(&later));
    world.hub.apply(&world.owner, &[("contract.yaml".into(), next)], false).await.unwrap();
    let set = tradelane_hub::SchemaSetting::Compatibility(Some(tradelane_model::registry::Compatibility::None));
    world.hub.set_schema_setting(&world.owner, Some("acme-native-value"), set).await.unwrap();
    let second = register(&world, "PROTOBUF", &later).await;
    let known = b"\x0A\x03o-1\x12\x01A\x18\x07\x2A\x08anna@a.b";
    let message = [&[2, 2][..], known, b"\x32\x05\x0A\x03box"].concat();
    let priced = [&message[..], &[4 << 3 | 5], &1.5_f32.to_le_bytes()].concat();
    let stored = publish(&world, &[framed(second, &priced), framed(second, &message)]).await;
    assert!(matches!(stored, RecordsOutcome::Stored(_)));
    let far: Vec<Vec<u8>> = fetched(&world, &world.far).await.into_iter().map(|(_, event)| event).collect();
    assert_eq!(
        far,
        [[&[0][..], known].concat()],
        "the first message of the earlier file; no float is taken for a double"
    );
    assert_eq!(fetched(&world, &world.owner).await[1].1, message);
}

async fn apply(world: &World, contract: String) {
    world.hub.apply(&world.owner, &[("contract.yaml".into(), contract)], false).await.unwrap();
}

async fn any_schema(world: &World) {
    let set = tradelane_hub::SchemaSetting::Compatibility(Some(tradelane_model::registry::Compatibility::None));
    world.hub.set_schema_setting(&world.owner, Some("acme-native-value"), set).await.unwrap();
}

#[tokio::test]
async fn producers_that_lag_behind_a_minor_version_are_held_to_what_their_events_become_in_it() {
    let world = world(contract("1.0.0", "confidential", "", &avro(AVRO))).await;
    let first = register(&world, "AVRO", AVRO).await;
    // The new field must be there and mean something; its default in the schema does.
    let note = "      - {name: note, logicalType: string, required: true, classification: public}";
    let ruled = |rule: &str| {
        contract("1.1.0", "confidential", note, &avro(AVRO_2))
            .replace("event.qty > 0", &format!("event.qty > 0 && {rule}"))
    };
    apply(&world, ruled("event.note == '-'")).await;
    let second = register(&world, "AVRO", AVRO_2).await;
    let old = avro_order("o-1", "A", 3, "anna@a.b");
    let mut new = avro_order("o-2", "A", 4, "ben@a.b");
    text("-", &mut new);
    let outcome = publish(&world, &[framed(first, &old), framed(second, &new)]).await;
    assert!(matches!(outcome, RecordsOutcome::Stored(_)), "{outcome:?}");
    let far = fetched(&world, &world.far).await;
    assert_eq!(
        far.iter().map(|(_, event)| event.clone()).collect::<Vec<_>>(),
        [old.clone(), new],
        "each as it was written"
    );
    for ((named, event), written) in far.iter().zip([AVRO, AVRO_2]) {
        assert_eq!(decoded(&schema_of(&world, &world.far, *named).await.text, event), decoded(written, event));
    }
    apply(&world, ruled("event.note != '-'")).await;
    refused(publish(&world, &[framed(first, &old)]).await, codes::QUALITY_RULE);
}

/// The quantity has another name, which says what it was called before, and is known to fewer.
fn aliased(evolution: &str) -> (String, String) {
    let quantity =
        r#"{"name":"quantity","type":"int","aliases":["qty"]},{"name":"unit","type":"string","default":"each"}"#;
    let schema = AVRO.replace(r#"{"name":"qty","type":"int"}"#, quantity);
    let unit = "      - {name: unit, logicalType: string, classification: public}";
    let text = contract("2.0.0", "confidential", unit, &format!("{}{evolution}", avro(&schema)));
    let text = text.replace("event.qty", "event.quantity").replace(
        "{name: qty, logicalType: integer, required: true, classification: internal}",
        "{name: quantity, logicalType: integer, required: true, classification: confidential}",
    );
    (text, schema)
}

#[tokio::test]
async fn late_events_of_an_earlier_major_version_reach_readers_of_the_new_one_in_its_form_and_under_its_classes() {
    for evolution in ["\n      evolution: {notice: P30D}", ""] {
        let world = world(contract("1.0.0", "confidential", "", &avro(AVRO))).await;
        let first = register(&world, "AVRO", AVRO).await;
        let (history, late) = (avro_order("o-1", "A", 3, "anna@a.b"), avro_order("o-2", "A", 44, "ben@a.b"));
        publish(&world, &[framed(first, &history)]).await;
        let (next, schema) = aliased(evolution);
        apply(&world, next).await;
        let second = register(&world, "AVRO", &schema).await;
        assert!(matches!(publish(&world, &[framed(first, &late)]).await, RecordsOutcome::Stored(_)));
        assert_ne!(first, second);

        assert_eq!(fetched(&world, &world.owner).await[1], (first, late.clone()), "the owner gets what was sent");
        let far = fetched(&world, &world.far).await;
        assert_eq!(decoded(AVRO, &far[0].1)["email"], "anna@a.b", "what came before keeps its schema");
        let shown = schema_of(&world, &world.far, far[1].0).await;
        assert!(shown.text.contains("quantity") && !shown.text.contains(r#""qty","type""#), "{}", shown.text);
        let seen = decoded(&shown.text, &far[1].1);
        assert_eq!((&seen["quantity"], &seen["unit"], &seen["email"]), (&json!(44), &json!("each"), &json!("ben@a.b")));
        let near = fetched(&world, &world.near).await;
        let seen = decoded(&schema, &near[1].1);
        assert_eq!((&seen["id"], &seen["quantity"]), (&json!("o-2"), &json!(0)), "known to fewer under its new name");
        assert!(seen["email"].as_str().unwrap().starts_with("p-"));
        let near = lines(&world, &world.near).await;
        assert!(near[1].get("quantity").is_none() && near[1].get("qty").is_none(), "{near:?}");
        assert_eq!(lines(&world, &world.far).await[1]["quantity"], 44);
        keep_their_schema(&world, &world.near).await;
        let far = "far".parse().unwrap();
        let second = tradelane_hub::explain::EventRef::Stored { partition: 0, offset: 1 };
        let told = world.hub.explain(&world.owner, &product(), &far, None, second).await.unwrap().into_parts().0;
        assert!(told.rendered.unwrap().contains("\"quantity\":44"));

        world.hub.erase(&world.privacy, "ben@a.b").await.unwrap();
        assert_eq!(decoded(&schema, &fetched(&world, &world.far).await[1].1)["email"], "");
        // After the notice it is taken as long as it can be brought into the newest form, and kept to its rules.
        world.clock.pass(31 * 86_400);
        assert!(matches!(publish(&world, &[framed(first, &late)]).await, RecordsOutcome::Stored(_)));
        refused(publish(&world, &[framed(first, &avro_order("o-3", "A", 0, "a@a.b"))]).await, codes::QUALITY_RULE);
    }
}

#[tokio::test]
async fn late_events_that_do_not_fit_the_new_version_are_taken_while_its_notice_lasts_and_shown_to_those_who_stayed() {
    let world = world(contract("1.0.0", "confidential", "", &avro(AVRO))).await;
    let first = register(&world, "AVRO", AVRO).await;
    // Nothing says what the unit of an earlier event would be.
    let (next, schema) = breaking("int");
    apply(&world, next).await;
    any_schema(&world).await;
    let second = register(&world, "AVRO", &schema).await;
    let (late, new) = (avro_order("o-1", "A", 3, "anna@a.b"), with_unit(&avro_order("o-2", "A", 4, "ben@a.b")));
    let outcome = publish(&world, &[framed(first, &late), framed(second, &new)]).await;
    assert!(matches!(outcome, RecordsOutcome::Stored(_)), "{outcome:?}");
    world.hub.move_grant(&world.far, &"far-native".parse().unwrap()).await.unwrap();
    let far: Vec<Vec<u8>> = fetched(&world, &world.far).await.into_iter().map(|(_, event)| event).collect();
    assert_eq!(far, [new], "who moved is not given what it could not read");
    let near = fetched(&world, &world.near).await;
    assert_eq!(near.len(), 2);
    assert_eq!(decoded(AVRO, &near[0].1)["id"], "o-1");
    let withheld = world.hub.quarantine(&world.owner, &product(), 0, 10).await.unwrap().into_parts().0;
    assert_eq!(withheld.iter().map(|entry| entry.record).collect::<Vec<_>>(), [Some(0)]);

    world.clock.pass(31 * 86_400);
    refused(publish(&world, &[framed(first, &late)]).await, codes::VERSION_ENDED);
}
