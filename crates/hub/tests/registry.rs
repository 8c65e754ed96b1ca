//! The schema registry as owners and partners find it, and records that name their schema.

mod support;

use bytes::Bytes;
use support::{World, product};
use tradelane_hub::{
    Audited, Body, Caller, FetchRecords, NewSchema, Publish, PublishRecords, RecordsOutcome, Result, SchemaRecord,
    SchemaSetting, SubjectQuery, WhichVersion,
};
use tradelane_model::codes;
use tradelane_model::registry::{Compatibility, FIRST_VIEW_ID, Mode, SchemaReference};
use tradelane_records::{Batch, BatchBuilder, BatchHead, Decompressor, HeaderSource, Limits};

const SUBJECT: &str = "acme-orders-value";
const V1: &str = r#"{"type":"object","properties":{"id":{"type":"string"},"qty":{"type":"integer"}},"required":["id"],"additionalProperties":false}"#;
const V2: &str = r#"{"type":"object","properties":{"id":{"type":"string"},"qty":{"type":"number"},"sku":{"type":"string"}},"required":["id"],"additionalProperties":false}"#;
const NARROWED: &str = r#"{"type":"object","properties":{"id":{"type":"string"},"qty":{"type":"integer"},"sku":{"type":"string"}},"required":["id"],"additionalProperties":false}"#;

fn json(text: &str) -> NewSchema {
    NewSchema { kind: Some("JSON".into()), text: text.into(), ..NewSchema::default() }
}

async fn register(world: &World, subject: &str, text: &str) -> Result<SchemaRecord> {
    world.hub.register_schema(&world.owner, subject, json(text)).await.map(|done| done.into_parts().0)
}

#[track_caller]
fn refused<T>(done: Result<Audited<T>>, code: tradelane_model::ErrorCode) {
    match done {
        Ok(_) => panic!("not refused as {code}"),
        Err(error) => assert_eq!(error.code, code, "{error}"),
    }
}

fn framed(id: u32, event: &str) -> Vec<u8> {
    [&[0][..], &id.to_be_bytes(), event.as_bytes()].concat()
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

/// Values as a Kafka client gets them: the id in front, if there is one, and the event.
async fn fetched(world: &World, caller: &Caller) -> Vec<(Option<u32>, serde_json::Value)> {
    let reader = world.hub.reader(caller, &product(), None).await.unwrap();
    let fetch = FetchRecords { partition: 0, offset: 0, max_bytes: 1 << 20 };
    let page = world.hub.fetch_records(&reader, fetch).await.unwrap();
    let mut all = Vec::new();
    for bytes in &page.batches {
        let (batch, _) = Batch::parse(bytes, &Limits::default()).unwrap();
        for record in batch.records(&mut Decompressor::new(), &Limits::default()).unwrap() {
            let record = record.unwrap();
            assert!(record.headers.clone().next().is_none(), "what the hub notes beside a record is not shown");
            all.push(match record.value.unwrap() {
                [0, a, b, c, d, event @ ..] => {
                    (Some(u32::from_be_bytes([*a, *b, *c, *d])), serde_json::from_slice(event).unwrap())
                }
                event => (None, serde_json::from_slice(event).unwrap()),
            });
        }
    }
    all
}

#[tokio::test]
async fn a_schema_gets_an_id_once_and_versions_follow_the_compatibility_that_is_set() {
    let world = World::new().await;
    let first = register(&world, SUBJECT, V1).await.unwrap();
    assert_eq!((first.id, first.version), (1, 1));
    let again = register(&world, SUBJECT, &V1.replace(':', " : ")).await.unwrap();
    assert_eq!((again.id, again.version), (1, 1), "blanks make no other schema");
    assert_eq!(register(&world, "common", V1).await.unwrap().id, 1, "equal schemas have one id");
    let second = register(&world, SUBJECT, V2).await.unwrap();
    assert_eq!((second.id, second.version), (2, 2));
    let error = register(&world, SUBJECT, NARROWED).await.unwrap_err();
    assert_eq!(error.code, codes::SCHEMA_INCOMPATIBLE);
    assert!(error.detail.contains("TYPE_NARROWED") && error.detail.contains("#/properties/qty"), "{}", error.detail);
    let told = world.hub.check_schema(&world.owner, SUBJECT, Some(WhichVersion::Number(1)), json(NARROWED)).await;
    assert!(told.unwrap().value().is_empty(), "it follows the first version");
    let setting = SchemaSetting::Compatibility(Some(Compatibility::None));
    world.hub.set_schema_setting(&world.owner, Some(SUBJECT), setting).await.unwrap();
    assert_eq!(register(&world, SUBJECT, NARROWED).await.unwrap().version, 3);
    world.hub.set_schema_setting(&world.owner, Some(SUBJECT), SchemaSetting::Mode(Some(Mode::Readonly))).await.unwrap();
    assert_eq!(register(&world, SUBJECT, "{}").await.unwrap_err().code, codes::SUBJECT_READ_ONLY);
}

#[tokio::test]
async fn forward_and_transitive_levels_look_the_other_way_and_further_back() {
    let world = World::new().await;
    let set = |level| world.hub.set_schema_setting(&world.owner, None, SchemaSetting::Compatibility(Some(level)));
    set(Compatibility::Forward).await.unwrap();
    register(&world, SUBJECT, r#"{"type":"number"}"#).await.unwrap();
    register(&world, SUBJECT, r#"{"type":"integer"}"#).await.unwrap();
    assert_eq!(
        register(&world, SUBJECT, r#"{"type":["integer","null"]}"#).await.unwrap_err().code,
        codes::SCHEMA_INCOMPATIBLE
    );
    set(Compatibility::Backward).await.unwrap();
    register(&world, SUBJECT, r#"{"type":["integer","null"]}"#).await.unwrap();
    set(Compatibility::BackwardTransitive).await.unwrap();
    let error = register(&world, SUBJECT, r#"{"type":["integer","null","string"]}"#).await.unwrap_err();
    assert!(error.detail.contains("{oldSchemaVersion: 1}"), "{}", error.detail);
    register(&world, SUBJECT, r#"{"type":["number","null","string"]}"#).await.unwrap();
}

#[tokio::test]
async fn what_is_no_schema_is_refused_and_nothing_is_fetched() {
    let world = World::new().await;
    for bad in [
        "{",
        "[]",
        r#"{"type":"strnig"}"#,
        r#"{"$ref":"https://example.com/schema.json"}"#,
        r#"{"$ref":"file:///etc/passwd"}"#,
        r#"{"$schema":"http://example.com/own"}"#,
    ] {
        assert_eq!(register(&world, SUBJECT, bad).await.unwrap_err().code, codes::SCHEMA_INVALID, "{bad}");
    }
    for kind in [None, Some("AVRO"), Some("PROTOBUF"), Some("XML")] {
        let new = NewSchema { kind: kind.map(str::to_owned), ..json(V1) };
        refused(world.hub.register_schema(&world.owner, SUBJECT, new).await, codes::SCHEMA_INVALID);
    }
    refused(world.hub.register_schema(&world.owner, "a\u{7}", json(V1)).await, codes::SUBJECT_INVALID);
}

#[tokio::test]
async fn references_are_resolved_and_keep_what_they_name_alive() {
    let world = World::new().await;
    register(&world, "address", r#"{"type":"object","properties":{"city":{"type":"string"}}}"#).await.unwrap();
    let reference = SchemaReference { name: "address.json".into(), subject: "address".into(), version: 1 };
    let text = r#"{"type":"object","properties":{"to":{"$ref":"address.json"}},"additionalProperties":false}"#;
    let new = NewSchema { references: vec![reference.clone()], ..json(text) };
    let made = world.hub.register_schema(&world.owner, SUBJECT, new.clone()).await.unwrap();
    assert_eq!(made.value().schema.references, [reference]);
    let referrers = world.hub.schema_referrers(&world.owner, "address", WhichVersion::Latest).await.unwrap();
    assert_eq!(referrers.value(), &[made.value().id]);
    refused(world.hub.delete_subject(&world.owner, "address", false).await, codes::SCHEMA_IN_USE);
    let missing = SchemaReference { name: "a".into(), subject: "nowhere".into(), version: 1 };
    let new = NewSchema { references: vec![missing], ..new };
    refused(world.hub.register_schema(&world.owner, SUBJECT, new).await, codes::SCHEMA_INVALID);
}

#[tokio::test]
async fn deletion_is_soft_first_and_ids_are_never_given_again() {
    let world = World::new().await;
    let (hub, owner) = (&world.hub, &world.owner);
    register(&world, SUBJECT, V1).await.unwrap();
    register(&world, SUBJECT, V2).await.unwrap();
    refused(
        hub.delete_schema_version(owner, SUBJECT, WhichVersion::Number(1), true).await,
        codes::SCHEMA_VERSION_NOT_DELETED,
    );
    hub.delete_schema_version(owner, SUBJECT, WhichVersion::Number(1), false).await.unwrap();
    refused(
        hub.delete_schema_version(owner, SUBJECT, WhichVersion::Number(1), false).await,
        codes::SCHEMA_VERSION_DELETED,
    );
    assert_eq!(hub.schema_versions(owner, SUBJECT, false).await.unwrap().value(), &[2]);
    assert_eq!(hub.schema_versions(owner, SUBJECT, true).await.unwrap().value(), &[1, 2]);
    refused(hub.delete_subject(owner, SUBJECT, true).await, codes::SUBJECT_NOT_DELETED);
    assert_eq!(hub.delete_subject(owner, SUBJECT, false).await.unwrap().value(), &[2]);
    refused(hub.delete_subject(owner, SUBJECT, false).await, codes::SUBJECT_DELETED);
    refused(hub.schema_versions(owner, SUBJECT, false).await, codes::SUBJECT_UNKNOWN);
    let names = |deleted| hub.schema_subjects(owner, SubjectQuery { deleted, ..SubjectQuery::default() });
    assert!(names(false).await.unwrap().value().is_empty());
    assert_eq!(names(true).await.unwrap().value(), &[SUBJECT]);
    assert!(hub.schema_by_id(owner, 1).await.is_ok(), "what was written with it can still be read");
    assert_eq!(hub.delete_subject(owner, SUBJECT, true).await.unwrap().value(), &[1, 2]);
    refused(hub.schema_by_id(owner, 1).await, codes::SCHEMA_UNKNOWN);
    assert_eq!(register(&world, SUBJECT, V1).await.unwrap().id, 3);
}

#[tokio::test]
async fn a_partner_sees_its_view_s_schema_and_others_nothing() {
    let world = World::new().await;
    let hub = &world.hub;
    let own = register(&world, SUBJECT, V1).await.unwrap();
    register(&world, "acme-internal", V2).await.unwrap();
    let seen = hub.schema_version(&world.near, SUBJECT, WhichVersion::Latest, false).await.unwrap().into_parts().0;
    assert!(seen.id >= FIRST_VIEW_ID && seen.version == 1);
    assert!(!seen.schema.text.contains("price"), "{}", seen.schema.text);
    assert_eq!(hub.schema_by_id(&world.near, seen.id).await.unwrap().value().text, seen.schema.text);
    assert_eq!(hub.schema_uses(&world.near, seen.id, false).await.unwrap().value(), &[(SUBJECT.to_owned(), 1)]);
    let far = hub.schema_version(&world.far, SUBJECT, WhichVersion::Latest, false).await.unwrap().into_parts().0;
    assert_ne!(far.id, seen.id, "another view has another schema");
    refused(hub.schema_by_id(&world.near, far.id).await, codes::SCHEMA_UNKNOWN);
    refused(hub.schema_by_id(&world.near, own.id).await, codes::SCHEMA_UNKNOWN);
    refused(
        hub.schema_version(&world.near, "acme-internal", WhichVersion::Latest, false).await,
        codes::SUBJECT_UNKNOWN,
    );
    assert_eq!(hub.schema_subjects(&world.near, SubjectQuery::default()).await.unwrap().value(), &[SUBJECT]);
    refused(hub.register_schema(&world.near, SUBJECT, json(V2)).await, codes::FORBIDDEN);
    refused(hub.check_schema(&world.near, SUBJECT, None, json(V2)).await, codes::FORBIDDEN);
    assert!(hub.schema_version(&world.publisher, SUBJECT, WhichVersion::Latest, false).await.is_ok());
    refused(hub.register_schema(&world.publisher, SUBJECT, json(V2)).await, codes::FORBIDDEN);
    hub.revoke(&world.owner, &"near-orders".parse().unwrap(), "test").await.unwrap();
    refused(hub.schema_version(&world.near, SUBJECT, WhichVersion::Latest, false).await, codes::SUBJECT_UNKNOWN);
    refused(hub.schema_by_id(&world.near, seen.id).await, codes::SCHEMA_UNKNOWN);
}

const ORDER: &str = r#"{"id":"1","sku":"A","qty":1,"price":9.5,"customer":{"email":"ann@example.com","name":"Ann"}}"#;

#[tokio::test]
async fn a_record_that_names_its_schema_is_read_with_the_schema_of_what_is_shown() {
    let world = World::new().await;
    let id = register(&world, SUBJECT, "true").await.unwrap().id;
    let outcome = publish(&world, &[framed(id, ORDER), ORDER.as_bytes().to_vec()]).await;
    assert!(matches!(outcome, RecordsOutcome::Stored(_)), "{outcome:?}");
    let own = fetched(&world, &world.owner).await;
    assert_eq!((own[0].0, own[1].0), (Some(id), None), "the owner reads what was written");
    assert_eq!(own[0].1, serde_json::from_str::<serde_json::Value>(ORDER).unwrap());
    for partner in [&world.near, &world.far] {
        let records = fetched(&world, partner).await;
        let schema = world.hub.schema_version(partner, SUBJECT, WhichVersion::Latest, false).await.unwrap();
        assert_eq!((records[0].0, records[1].0), (Some(schema.value().id), None));
        assert_eq!(records[0].1, records[1].1);
    }
    let lines = world.read(&world.near).await.unwrap();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0], lines[1], "other listeners show plain JSON");
}

#[tokio::test]
async fn a_schema_of_nobody_or_of_another_subject_is_refused_record_by_record() {
    let world = World::new().await;
    let good = register(&world, SUBJECT, "true").await.unwrap().id;
    let other = register(&world, "common", "{}").await.unwrap().id;
    let records = [framed(good, ORDER), framed(other, ORDER), framed(77, ORDER), vec![0, 0, 1], framed(good, "{}")];
    let RecordsOutcome::Refused(refused) = publish(&world, &records).await else { panic!("it was stored") };
    let told: Vec<_> = refused.iter().map(|record| (record.index, record.code)).collect();
    let unknown = codes::SCHEMA_ID_UNKNOWN;
    assert_eq!(told, [(1, unknown), (2, unknown), (3, unknown), (4, codes::CONTRACT_VIOLATION)]);
    let body = |event: Vec<u8>| Publish {
        product: product(),
        body: Body::One(event.into()),
        idempotency_key: None,
        proceed: false,
        partition: None,
        version: None,
    };
    assert!(world.hub.publish(&world.publisher, body(framed(good, ORDER))).await.is_ok());
    let error = world.hub.publish(&world.publisher, body(framed(77, ORDER))).await.unwrap_err();
    assert_eq!(error.code, unknown);
    world.hub.delete_subject(&world.owner, SUBJECT, false).await.unwrap();
    let RecordsOutcome::Refused(_) = publish(&world, &[framed(good, ORDER)]).await else { panic!("it was stored") };
    assert_eq!(fetched(&world, &world.owner).await[0].0, Some(good), "what is stored stays readable");
}

#[tokio::test]
async fn what_was_registered_is_there_after_a_restart() {
    let world = World::new().await;
    register(&world, SUBJECT, V1).await.unwrap();
    world.hub.delete_subject(&world.owner, SUBJECT, false).await.unwrap();
    register(&world, SUBJECT, V2).await.unwrap();
    let (dir, clock, near_key) = (world.dir, world.clock, world.near_key);
    drop(world.hub);
    let (hub, _) = tradelane_hub::Hub::open(support::config(&dir, &clock)).await.unwrap();
    let near = hub.authenticate(tradelane_hub::Presented::ApiKey(&near_key)).unwrap();
    let seen = hub.schema_version(&near, SUBJECT, WhichVersion::Latest, false).await.unwrap();
    assert!(seen.value().id >= FIRST_VIEW_ID);
}

const ADDRESS: &str =
    r#"{"type":"record","name":"Address","namespace":"acme","fields":[{"name":"city","type":"string"}]}"#;

fn written_in(kind: &str, text: &str) -> NewSchema {
    NewSchema { kind: Some(kind.into()), text: text.into(), ..NewSchema::default() }
}

fn reference(name: &str, subject: &str) -> Vec<SchemaReference> {
    vec![SchemaReference { name: name.into(), subject: subject.into(), version: 1 }]
}

#[tokio::test]
async fn avro_schemas_refer_to_types_of_others_and_follow_the_rules_of_resolution() {
    let world = World::new().await;
    let (hub, owner) = (&world.hub, &world.owner);
    // A client that names no type means Avro.
    hub.register_schema(owner, "address", NewSchema { text: ADDRESS.into(), ..NewSchema::default() }).await.unwrap();
    let order = |more: &str| NewSchema {
        references: reference("acme.Address", "address"),
        ..written_in(
            "AVRO",
            &format!(
                r#"{{"type":"record","name":"Order","namespace":"acme","fields":[{{"name":"to","type":"Address"}}{more}]}}"#
            ),
        )
    };
    let first = hub.register_schema(owner, SUBJECT, order("")).await.unwrap().into_parts().0;
    assert_eq!((first.version, first.schema.kind.as_str()), (1, "AVRO"));
    let told = hub.check_schema(owner, SUBJECT, None, order(r#",{"name":"qty","type":"int"}"#)).await.unwrap();
    assert!(told.value()[0].contains("READER_FIELD_MISSING_DEFAULT_VALUE"), "{:?}", told.value());
    assert!(told.value()[0].contains("'qty' at path '/fields/1' in the new schema"), "{:?}", told.value());
    let second = order(r#",{"name":"qty","type":"int","default":0}"#);
    assert_eq!(hub.register_schema(owner, SUBJECT, second.clone()).await.unwrap().value().version, 2);
    refused(hub.delete_subject(owner, "address", false).await, codes::SCHEMA_IN_USE);
    let unknown = NewSchema { references: Vec::new(), ..second.clone() };
    refused(hub.register_schema(owner, SUBJECT, unknown).await, codes::SCHEMA_INVALID);
    // The same schema in another order of members is found when it is put in normal form.
    let turned =
        r#"{"namespace":"acme","name":"Address","fields":[{"type":{"type":"string"},"name":"city"}],"type":"record"}"#;
    let turned = |normalize| NewSchema { normalize, ..written_in("AVRO", turned) };
    refused(hub.schema_lookup(owner, "address", turned(false), false).await, codes::SCHEMA_UNKNOWN);
    assert_eq!(hub.schema_lookup(owner, "address", turned(true), false).await.unwrap().value().version, 1);
    // Another language is no next version.
    let told = hub.check_schema(owner, SUBJECT, None, json("{}")).await.unwrap();
    assert!(told.value()[0].contains("SCHEMA_TYPE_CHANGED"), "{:?}", told.value());
    refused(hub.register_schema(owner, "other", written_in("THRIFT", "x")).await, codes::SCHEMA_INVALID);
}

#[tokio::test]
async fn protobuf_schemas_are_the_same_as_text_and_as_descriptor() {
    let world = World::new().await;
    let (hub, owner) = (&world.hub, &world.owner);
    let text = "syntax = \"proto3\";\n// What is ordered.\nmessage Order { string id = 1; int32 qty = 2; }";
    let first = hub.register_schema(owner, SUBJECT, written_in("PROTOBUF", text)).await.unwrap().into_parts().0;
    let descriptor = hub.serialized_schema(owner, first.schema.clone()).await.unwrap();
    let again = hub.register_schema(owner, SUBJECT, written_in("PROTOBUF", &descriptor.text)).await.unwrap();
    assert_eq!((again.value().id, again.value().version), (first.id, 1), "{}", first.schema.text);
    let narrowed = text.replace("int32 qty", "string qty");
    let told = hub.check_schema(owner, SUBJECT, None, written_in("PROTOBUF", &narrowed)).await.unwrap();
    assert!(told.value()[0].contains("FIELD_SCALAR_KIND_CHANGED") && told.value()[0].contains("#/Order/2"));
    hub.register_schema(owner, "shared.proto", written_in("PROTOBUF", text)).await.unwrap();
    let importing = "syntax = \"proto3\"; import \"shared.proto\"; message Box { Order order = 1; }";
    refused(hub.register_schema(owner, "box", written_in("PROTOBUF", importing)).await, codes::SCHEMA_INVALID);
    let importing =
        NewSchema { references: reference("shared.proto", "shared.proto"), ..written_in("PROTOBUF", importing) };
    let made = hub.register_schema(owner, "box", importing).await.unwrap().into_parts().0;
    assert_eq!(hub.schema_referrers(owner, "shared.proto", WhichVersion::Latest).await.unwrap().value(), &[made.id]);
    refused(hub.register_schema(owner, "bad", written_in("PROTOBUF", "message {")).await, codes::SCHEMA_INVALID);
}

#[tokio::test]
async fn a_json_record_is_of_the_version_that_takes_what_its_schema_lets_be_written() {
    let world = World::new().await;
    let fields = r#""id":{"type":"string"},"sku":{"type":"string"},"qty":{"type":"integer"},"price":{"type":"number"}"#;
    let schema = |more: &str, required: &str| {
        format!(
            r#"{{"type":"object","properties":{{{fields}{more}}},"required":["id","sku","qty"{required}],"additionalProperties":false}}"#
        )
    };
    let first = register(&world, SUBJECT, &schema("", "")).await.unwrap().id;
    let unit = "      - {name: unit, logicalType: string, required: true, classification: internal}\n";
    let next = support::CONTRACT
        .replace("version: 1.0.0", "version: 2.0.0")
        .replace("      - {name: price,", &format!("{unit}      - {{name: price,"))
        .replace("{purposes:", "{evolution: {notice: P30D}, purposes:");
    world.hub.apply(&world.owner, &[("contract.yaml".into(), next)], false).await.unwrap();
    let setting = SchemaSetting::Compatibility(Some(Compatibility::None));
    world.hub.set_schema_setting(&world.owner, Some(SUBJECT), setting).await.unwrap();
    let second = register(&world, SUBJECT, &schema(r#","unit":{"type":"string"}"#, r#","unit""#)).await.unwrap().id;
    let (old, new) = (r#"{"id":"1","sku":"A","qty":1}"#, r#"{"id":"2","sku":"A","qty":2,"unit":"box"}"#);
    let RecordsOutcome::Stored(_) = publish(&world, &[framed(first, old), framed(second, new)]).await else {
        panic!("refused")
    };
    for bad in [framed(second, old), old.as_bytes().to_vec()] {
        let RecordsOutcome::Refused(told) = publish(&world, &[bad]).await else { panic!("it was stored") };
        assert_eq!(told[0].code, codes::CONTRACT_VIOLATION);
    }
    let held = fetched(&world, &world.far).await;
    let own = world.hub.schema_version(&world.far, SUBJECT, WhichVersion::Latest, false).await.unwrap();
    assert_eq!(own.value().version, 1);
    assert_eq!(held.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [Some(own.value().id); 2]);
    assert!(held.iter().all(|(_, event)| event.get("unit").is_none()));
    world.clock.pass(31 * 86_400);
    let RecordsOutcome::Refused(told) = publish(&world, &[framed(first, old)]).await else { panic!("it was stored") };
    assert_eq!(told[0].code, codes::CONTRACT_VIOLATION);
}
