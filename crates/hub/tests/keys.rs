//! The key of an event that comes without one is the field that its contract names: it chooses the partition, is what
//! compaction goes by, and is kept and shown no further than the field.

mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::{Value, json};
use support::World;
use support::records::{Got, Sent, batch, got, value};
use tradelane_hub::compact::COMPACTION_LAG;
use tradelane_hub::publish::{Body, Publish, Published};
use tradelane_hub::{
    BatchNumbers, Caller, ClusterError, ClusterLog, Committed, FetchRecords, PublishRecords, RecordsOutcome, Result,
};
use tradelane_model::codes;
use tradelane_records::BatchHead;
use tradelane_storage::{Bounds, StreamId};

const BY_ID: &str = "{class: internal, from: /parcel/id}";
const BY_PHONE: &str = "{class: pii, from: /phone}";

fn contract(key: &str) -> String {
    format!(
        r#"
apiVersion: v3.1.0
kind: DataContract
id: acme-parcels
tenant: acme
version: 1.0.0
status: active
name: Parcels
schema:
  - name: parcel
    properties:
      - name: parcel
        logicalType: object
        properties: [{{name: id, classification: internal}}, {{name: weight, logicalType: number, classification: public}}]
      - {{name: n, logicalType: integer, classification: public}}
      - {{name: margin, logicalType: string, classification: confidential}}
      - {{name: phone, logicalType: string, classification: pii}}
      - {{name: customer, logicalType: string, classification: pii}}
customProperties:
  - property: tradelane
    value:
      purposes: [planning]
      fields: [{{at: /phone, subject: /customer}}, {{at: /customer, subject: /customer}}]
      records: {{key: {key}}}
"#
    )
}

const PRODUCTS: &str = r#"
apiVersion: tradelane/v1
kind: Product
spec: {id: acme-parcels, owner: acme, contract: acme-parcels, partitions: 10}
---
apiVersion: tradelane/v1
kind: Product
spec: {id: acme-last, owner: acme, contract: acme-parcels, cleanup: compact}
---
apiVersion: tradelane/v1
kind: Grant
spec: {id: near-parcels, product: acme-parcels, consumer: near, purpose: planning, view: {classes: {pii: reveal}}}
---
apiVersion: tradelane/v1
kind: Grant
spec: {id: far-parcels, product: acme-parcels, consumer: far, purpose: planning, view: {fields: {/parcel/id: drop}}}
"#;

struct Parcels(World);

impl Parcels {
    async fn keyed(key: &str) -> Self {
        Self::within(World::new().await, key, PRODUCTS).await
    }

    async fn within(world: World, key: &str, products: &str) -> Self {
        let parcels = Self(world);
        parcels.apply(&contract(key)).await.unwrap();
        let products = ("p.yaml".into(), products.into());
        parcels.0.hub.apply(&parcels.0.owner, &[products], false).await.unwrap();
        parcels
    }

    async fn apply(&self, contract: &str) -> Result<()> {
        let file = ("c.yaml".into(), contract.to_owned());
        self.0.hub.apply(&self.0.owner, &[file], false).await.map(drop)
    }

    async fn publish(&self, product: &str, body: Body, key: Option<&str>, proceed: bool) -> Result<Published> {
        let (product, idempotency_key) = (product.parse().unwrap(), key.map(str::to_owned));
        let request = Publish { product, body, idempotency_key, proceed, partition: None, version: None };
        Ok(self.0.hub.publish(&self.0.publisher, request).await?.into_parts().0)
    }

    async fn send(&self, body: Body) -> Result<Published> {
        self.publish("acme-parcels", body, None, false).await
    }

    async fn records(&self, caller: &Caller, product: &str, partition: u32) -> Vec<Got> {
        let reader = self.0.hub.reader(caller, &product.parse().unwrap(), None).await.unwrap();
        let fetch = FetchRecords { partition, offset: 0, max_bytes: 16 << 20 };
        got(&self.0.hub.fetch_records(&reader, fetch).await.unwrap())
    }

    /// Keys of all partitions that have events, with their `n`, as the owner sees them.
    async fn stored(&self) -> BTreeMap<u32, Vec<(Option<String>, u64)>> {
        let mut all = BTreeMap::new();
        for partition in 0..10 {
            let records = self.records(&self.0.owner, "acme-parcels", partition).await;
            let n = |record: &Got| serde_json::from_str::<Value>(record.value.as_ref().unwrap()).unwrap()["n"].as_u64();
            let seen: Vec<_> = records.iter().map(|record| (record.key.clone(), n(record).unwrap())).collect();
            if !seen.is_empty() {
                all.insert(partition, seen);
            }
        }
        all
    }

    async fn keys(&self, caller: &Caller, partition: u32) -> Vec<Option<String>> {
        self.records(caller, "acme-parcels", partition).await.into_iter().map(|record| record.key).collect()
    }
}

fn parcel(id: &Value, n: usize) -> Value {
    json!({"parcel": {"id": id}, "n": n})
}

fn lines(events: &[Value]) -> Body {
    Body::Lines(events.iter().map(|event| format!("{event}\n")).collect::<String>().into())
}

fn cloud(n: usize, key: Option<&str>, data: &Value) -> Value {
    let mut event =
        json!({"specversion": "1.0", "id": n.to_string(), "source": "/wms", "type": "parcel", "data": data});
    if let Some(key) = key {
        event["partitionkey"] = json!(key);
    }
    event
}

fn places(published: &Published) -> Vec<(u32, u64, u32)> {
    published.parts.iter().map(|part| (part.partition, part.offset, part.count)).collect()
}

#[tokio::test]
async fn the_events_of_a_key_are_in_one_order_in_the_partition_that_kafkas_clients_choose_in_every_form() {
    let parcels = Parcels::keyed(BY_ID).await;
    let ids = ["abc", "foobar", "abc", "abc"];
    let events =
        |from: usize| -> Vec<Value> { ids.iter().enumerate().map(|(n, id)| parcel(&json!(id), from + n)).collect() };
    let cloud_events: Vec<Value> = events(8).iter().enumerate().map(|(n, data)| cloud(n, None, data)).collect();
    parcels.send(lines(&events(0))).await.unwrap();
    parcels.send(Body::Array(Value::from(events(4)).to_string().into())).await.unwrap();
    parcels.send(Body::CloudEvents(Value::from(cloud_events).to_string().into())).await.unwrap();
    // Text as it is without its escapes.
    parcels.send(Body::One(r#"{"n":12,"parcel":{"id":"a\u0062c"}}"#.into())).await.unwrap();
    let of = |key: &str, all: &[u64]| all.iter().map(|n| (Some(key.to_owned()), *n)).collect::<Vec<_>>();
    let expected = [(6, of("foobar", &[1, 5, 9])), (7, of("abc", &[0, 2, 3, 4, 6, 7, 8, 10, 11, 12]))];
    assert_eq!(parcels.stored().await, BTreeMap::from(expected), "6 and 7 are what Kafka's clients choose");
}

#[tokio::test]
async fn a_number_is_its_text_as_it_is_written_and_true_and_false_are_words() {
    let parcels = Parcels::keyed(BY_ID).await;
    let ids = [("21", "21"), ("\"21\"", "21"), ("21.0", "21.0"), ("1E2", "1E2"), ("true", "true"), ("false", "false")];
    for (n, (id, key)) in ids.into_iter().enumerate() {
        let body = Body::One(format!(r#"{{"parcel":{{"id":{id}}},"n":{n}}}"#).into());
        let at = parcels.send(body).await.unwrap().only().unwrap().partition;
        assert_eq!(parcels.stored().await[&at].last(), Some(&(Some(key.to_owned()), n as u64)), "{id}");
        assert!(key != "21" || at == 0, "as Kafka's clients choose");
    }
}

#[tokio::test]
async fn a_key_that_is_sent_with_an_event_wins_and_a_kafka_client_without_one_has_chosen() {
    let parcels = Parcels::keyed(BY_ID).await;
    let keyed = [
        cloud(1, Some("foobar"), &parcel(&json!("abc"), 1)),
        cloud(2, None, &parcel(&json!("abc"), 2)),
        cloud(3, Some("foobar"), &json!({"n": 3})),
    ];
    let done = parcels.send(Body::CloudEvents(Value::from(keyed.to_vec()).to_string().into())).await.unwrap();
    assert_eq!(places(&done), [(6, 0, 2), (7, 0, 1)]);
    assert_eq!(parcels.keys(&parcels.0.owner, 6).await, [Some("foobar".into()), Some("foobar".into())]);
    let event = parcel(&json!("abc"), 4).to_string();
    let publish = PublishRecords {
        product: "acme-parcels".parse().unwrap(),
        partition: 3,
        batch: batch(&[value(&event)], BatchHead::default()),
    };
    let outcome = parcels.0.hub.publish_records(&parcels.0.publisher, publish).await.unwrap();
    assert!(matches!(outcome, RecordsOutcome::Stored(_)));
    assert_eq!(parcels.keys(&parcels.0.owner, 3).await, [None]);
}

#[tokio::test]
async fn a_retry_is_told_the_same_places_and_a_large_request_keeps_the_order_of_each_key() {
    let parcels = Parcels::keyed(BY_ID).await;
    let margin = "x".repeat(100);
    let events: Vec<Value> =
        (0..3_000).map(|n| json!({"parcel": {"id": format!("id-{}", n * 7 % 41)}, "n": n, "margin": margin})).collect();
    let first = parcels.publish("acme-parcels", lines(&events), Some("k"), false).await.unwrap();
    assert_eq!((first.count, first.parts.len()), (3_000, 10));
    let again = parcels.publish("acme-parcels", lines(&events), Some("k"), false).await.unwrap();
    assert_eq!((places(&again), again.duplicate), (places(&first), true));
    let mut partition_of = BTreeMap::new();
    for (partition, events) in parcels.stored().await {
        assert!(events.is_sorted_by_key(|(_, n)| *n));
        for (key, n) in events {
            assert_eq!(key, Some(format!("id-{}", n * 7 % 41)));
            assert_eq!(*partition_of.entry(key).or_insert(partition), partition, "a key has one partition");
        }
    }
}

#[tokio::test]
async fn a_field_that_holds_no_key_refuses_its_event_by_its_place_or_sets_it_aside() {
    let parcels = Parcels::keyed(BY_ID).await;
    let events = [
        parcel(&json!("abc"), 0),
        json!({"n": 1}),
        json!({"parcel": {"weight": 2}, "n": 2}),
        parcel(&Value::Null, 3),
        parcel(&json!(["abc"]), 4),
        parcel(&json!({"abc": 1}), 5),
        parcel(&json!(""), 6),
        parcel(&json!("ä".repeat(1_025)), 7),
        parcel(&json!("ä".repeat(1_024)), 8),
    ];
    let refused = parcels.publish("acme-parcels", lines(&events), Some("k"), false).await.unwrap_err();
    assert_eq!(refused.code, codes::KEY_INVALID);
    let told: Vec<&str> = refused.places.iter().map(|place| place.pointer.as_str()).collect();
    assert_eq!(told, (1..8).map(|n| format!("/{n}/parcel/id")).collect::<Vec<_>>());
    assert!(parcels.stored().await.is_empty());
    let done = parcels.publish("acme-parcels", lines(&events), Some("k"), true).await.unwrap();
    let aside: Vec<(usize, &str)> = done.quarantined.iter().map(|event| (event.index, event.code)).collect();
    assert_eq!((done.count, aside), (2, (1..8).map(|n| (n, "TL-1022")).collect()));
}

#[tokio::test]
async fn of_the_events_of_each_key_that_came_as_plain_json_the_last_one_stays() {
    let parcels = Parcels::keyed(BY_ID).await;
    let send = |ids: &[&str], from: usize| {
        let events: Vec<Value> = ids.iter().enumerate().map(|(n, id)| parcel(&json!(id), from + n)).collect();
        parcels.publish("acme-last", lines(&events), None, false)
    };
    send(&["a", "b", "a"], 0).await.unwrap();
    send(&["c", "a"], 3).await.unwrap();
    parcels.0.clock.pass(COMPACTION_LAG + 1);
    send(&["c"], 5).await.unwrap();
    assert_eq!(parcels.0.hub.retain().await.unwrap().superseded, 2);
    let left = parcels.records(&parcels.0.owner, "acme-last", 0).await;
    let left: Vec<_> = left.into_iter().map(|record| (record.offset, record.key.unwrap())).collect();
    assert_eq!(left, [(1, "b".into()), (3, "c".into()), (4, "a".into()), (5, "c".into())]);

    let keyless = Parcels::keyed("{class: internal}").await;
    let refused =
        keyless.publish("acme-last", lines(&[json!({"n": 1}), json!({"n": 2})]), None, false).await.unwrap_err();
    let told: Vec<&str> = refused.places.iter().map(|place| place.pointer.as_str()).collect();
    assert_eq!((refused.code, told), (codes::KEY_REQUIRED, vec!["/0", "/1"]));
}

#[tokio::test]
async fn a_key_is_shown_as_its_class_says_and_never_where_the_field_is_not() {
    let parcels = Parcels::keyed(BY_ID).await;
    parcels.send(lines(&[parcel(&json!("abc"), 0)])).await.unwrap();
    let World { owner, near, far, .. } = &parcels.0;
    assert_eq!(parcels.keys(owner, 7).await, [Some("abc".into())]);
    assert_eq!(parcels.keys(near, 7).await, [Some("abc".into())]);
    assert_eq!(parcels.keys(far, 7).await, [None], "its view drops the field by name");
    // A public key is in the clear, and no more shown to who may not see the field.
    let public = contract("{class: public, from: /parcel/id}")
        .replace("{name: id, classification: internal}", "{name: id, classification: public}");
    let parcels = Parcels::keyed(BY_ID).await;
    parcels.apply(&public).await.unwrap();
    parcels.send(lines(&[parcel(&json!("abc"), 0)])).await.unwrap();
    assert_eq!(parcels.keys(&parcels.0.near, 7).await, [Some("abc".into())]);
    assert_eq!(parcels.keys(&parcels.0.far, 7).await, [None]);

    // The class of keys is shown, that of the field is not.
    let parcels = Parcels::keyed("{class: pii, from: /margin}").await;
    parcels.send(lines(&[json!({"margin": "abc", "n": 0})])).await.unwrap();
    assert_eq!(parcels.keys(&parcels.0.owner, 7).await, [Some("abc".into())]);
    assert_eq!(parcels.keys(&parcels.0.near, 7).await, [None]);
    // Nothing said of its class: as restricted as what no rule names.
    let parcels = Parcels::keyed("{from: /parcel/id}").await;
    parcels.send(lines(&[parcel(&json!("abc"), 0)])).await.unwrap();
    assert_eq!(parcels.keys(&parcels.0.owner, 7).await, [Some("abc".into())]);
    assert_eq!(parcels.keys(&parcels.0.near, 7).await, [None]);
}

#[tokio::test]
async fn a_key_belongs_to_whom_its_field_belongs_to_and_is_erased_with_them() {
    let parcels = Parcels::keyed(BY_PHONE).await;
    let call = |customer: &str, n: usize| json!({"phone": "abc", "customer": customer, "n": n});
    parcels.send(lines(&[call("ann", 0), call("bob", 1)])).await.unwrap();
    let record = |key, value| PublishRecords {
        product: "acme-parcels".parse().unwrap(),
        partition: 7,
        batch: batch(&[Sent { key: Some(key), value, headers: Vec::new() }], BatchHead::default()),
    };
    // A key that a Kafka client sends belongs to the person of its event as well.
    let (hub, publisher) = (&parcels.0.hub, &parcels.0.publisher);
    let event = call("ann", 2).to_string();
    let outcome = hub.publish_records(publisher, record("abc", Some(&event))).await.unwrap();
    assert!(matches!(outcome, RecordsOutcome::Stored(_)));
    // Whose is a key without an event? It could not be erased.
    let RecordsOutcome::Refused(refused) = hub.publish_records(publisher, record("abc", None)).await.unwrap() else {
        panic!("nobody can tell whose the key is");
    };
    assert_eq!(refused[0].code, codes::CONTRACT_VIOLATION);
    let nobody = parcels.send(lines(&[json!({"phone": "abc", "n": 3})])).await.unwrap_err();
    assert_eq!(nobody.code, codes::CONTRACT_VIOLATION);

    let abc = || Some("abc".to_owned());
    assert_eq!(parcels.keys(&parcels.0.near, 7).await, [abc(), abc(), abc()]);
    hub.erase(&parcels.0.privacy, "ann").await.unwrap();
    assert_eq!(parcels.keys(&parcels.0.owner, 7).await, [None, abc(), None]);
    assert_eq!(parcels.keys(&parcels.0.near, 7).await, [None, abc(), None]);
    // The field that says who it is may be the key itself.
    let parcels = Parcels::keyed("{class: pii, from: /customer}").await;
    parcels.send(lines(&[json!({"customer": "abc", "n": 0})])).await.unwrap();
    parcels.0.hub.erase(&parcels.0.privacy, "abc").await.unwrap();
    assert_eq!(parcels.keys(&parcels.0.owner, 7).await, [None]);
}

/// A cluster that keeps what it is sent.
#[derive(Default)]
struct Memory(Mutex<Vec<Bytes>>);

#[async_trait]
impl ClusterLog for Memory {
    async fn bounds(&self, _: &StreamId) -> std::result::Result<Option<Bounds>, ClusterError> {
        Ok(Some(Bounds { start: 0, end: 0 }))
    }

    async fn read(&self, _: &StreamId, from: u64, _: usize) -> std::result::Result<Committed, ClusterError> {
        Ok(Committed { next: from, ..Committed::default() })
    }

    async fn wait(&self, _: &StreamId, _: u64) {}

    async fn number(&self, streams: &[StreamId]) -> std::result::Result<Vec<BatchNumbers>, ClusterError> {
        Ok(vec![BatchNumbers { producer: 1, epoch: 0, sequence: 0 }; streams.len()])
    }

    async fn append(&self, _: u32, batches: Vec<(StreamId, Bytes)>) -> Vec<std::result::Result<u64, ClusterError>> {
        let sent = batches.into_iter().map(|(_, batch)| batch);
        self.0.lock().unwrap().extend(sent);
        vec![Ok(0)]
    }

    fn settle(&self, _: &[(StreamId, BatchNumbers, u32)]) {}
}

#[tokio::test]
async fn what_a_classified_key_holds_is_nowhere_in_what_is_stored() {
    let stored = |key: &'static str, event: &'static str| async move {
        let cluster = Arc::new(Memory::default());
        // A topic's cleanup is set at the cluster.
        let products = PRODUCTS.replace(", cleanup: compact", "");
        let parcels = Parcels::within(World::before(cluster.clone()).await, key, &products).await;
        parcels.send(Body::One(event.into())).await.unwrap();
        let all: Vec<u8> = cluster.0.lock().unwrap().iter().flat_map(|batch| batch.to_vec()).collect();
        assert!(!all.is_empty());
        (all, parcels.0.dir)
    };
    let holds = |bytes: &[u8]| bytes.windows(7).any(|window| window == b"7654321");
    let event = r#"{"phone":"+49-7654321","customer":"ann","n":1}"#;
    for (key, event) in [
        (BY_PHONE, event),
        ("{from: /phone}", event),
        ("{class: sensitive-pii, from: /phone}", event),
        (BY_ID, r#"{"parcel":{"id":"id-7654321"},"n":1}"#),
    ] {
        let (all, dir) = stored(key, event).await;
        assert!(!holds(&all), "{key}");
        let mut folders = vec![dir.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => folders.push(path),
                    false => assert!(!holds(&std::fs::read(&path).unwrap_or_default()), "{}", path.display()),
                }
            }
        }
    }
    // The same look finds what is public.
    let (all, _) = stored("{class: public, from: /n}", r#"{"n":7654321}"#).await;
    assert!(holds(&all));
}

#[tokio::test]
async fn a_contract_whose_keys_would_show_more_than_their_field_is_refused() {
    let parcels = Parcels::keyed(BY_ID).await;
    for (key, told) in [
        ("{class: public, from: /parcel/id}", "less restricted class public"),
        ("{class: confidential, from: /phone}", "/phone, which is pii"),
        ("{class: sensitive-pii, from: /more}", "which is unclassified"),
        ("{class: pii, from: /parcel/more}", "which is unclassified"),
        ("{class: pii, subject: true, from: /phone}", "Leave `subject` out"),
        ("{class: pii, from: /parcel/*}", "names one field"),
        ("{class: pii, from: /parcel}", "is no text"),
        ("{class: pii, from: /n/x}", "no object"),
    ] {
        let refused = parcels.apply(&contract(key).replace("1.0.0", "2.0.0")).await.unwrap_err();
        assert_eq!(refused.code.info().status, 422, "{key}");
        assert!(refused.detail.contains(told), "{key}: {}", refused.detail);
    }
}

/// Publishes an event of a major version.
async fn send(parcels: &Parcels, version: Option<u32>, event: Value) -> Result<Published> {
    let (product, body) = ("acme-parcels".parse().unwrap(), Body::One(event.to_string().into()));
    let request = Publish { product, body, idempotency_key: None, proceed: false, partition: None, version };
    Ok(parcels.0.hub.publish(&parcels.0.publisher, request).await?.into_parts().0)
}

#[tokio::test]
async fn keys_that_come_from_another_field_break_who_reads_and_earlier_versions_keep_theirs() {
    let parcels = Parcels::keyed(BY_PHONE).await;
    for key in ["{class: pii, from: /parcel/id}", "{class: pii}"] {
        let refused = parcels.apply(&contract(key).replace("1.0.0", "1.1.0")).await.unwrap_err();
        assert_eq!(refused.code, codes::CONTRACT_BREAKING, "{key}");
        assert!(refused.detail.contains("keys at /phone no more"), "{}", refused.detail);
    }
    let next =
        contract(BY_ID).replace("1.0.0", "2.0.0").replace("purposes:", "evolution: {notice: P30D}\n      purposes:");
    parcels.apply(&next).await.unwrap();
    let both = json!({"parcel": {"id": "foobar"}, "phone": "abc", "customer": "ann", "n": 0});
    let old = send(&parcels, Some(1), both.clone()).await.unwrap();
    let new = send(&parcels, None, both).await.unwrap();
    assert_eq!((old.only().unwrap().partition, new.only().unwrap().partition), (7, 6));
    assert_eq!(parcels.keys(&parcels.0.owner, 6).await, [Some("foobar".into())]);
    assert_eq!(parcels.keys(&parcels.0.owner, 7).await, [Some("abc".into())]);
    // Keys are internal by now, those of the earlier version are what they were.
    assert_eq!(parcels.keys(&parcels.0.far, 7).await, [None], "that is a phone number");
    parcels.0.hub.erase(&parcels.0.privacy, "ann").await.unwrap();
    assert_eq!(parcels.keys(&parcels.0.owner, 7).await, [None]);

    // A field that the newer version restricts further takes the keys of the earlier one along.
    let parcels = Parcels::keyed(BY_ID).await;
    let next = contract("{class: public, from: /n}")
        .replace("1.0.0", "2.0.0")
        .replace("{name: id, classification: internal}", "{name: id, classification: pii}")
        .replace("fields: [", "evolution: {notice: P30D}\n      fields: [{at: /parcel/id, subject: /customer}, ");
    parcels.apply(&next).await.unwrap();
    send(&parcels, Some(1), json!({"parcel": {"id": "abc"}, "customer": "ann", "n": 0})).await.unwrap();
    assert_eq!(parcels.keys(&parcels.0.owner, 7).await, [Some("abc".into())]);
    assert_eq!(parcels.keys(&parcels.0.far, 7).await, [None]);
    parcels.0.hub.erase(&parcels.0.privacy, "ann").await.unwrap();
    assert_eq!(parcels.keys(&parcels.0.owner, 7).await, [None]);

    let keyless = Parcels::keyed("{class: internal}").await;
    keyless.apply(&contract(BY_ID).replace("1.0.0", "1.1.0")).await.unwrap();
}

#[tokio::test]
async fn captured_epcis_events_have_the_key_that_their_contract_names() {
    let world = World::new().await;
    let manifest = r#"
apiVersion: v3.1.0
kind: DataContract
id: acme-track
tenant: acme
version: 1.0.0
status: active
name: Tracking
schema: [{name: event}]
customProperties:
  - property: tradelane
    value:
      format: epcis
      fields: [{at: /eventID, class: public}]
      records: {key: {class: public, from: /eventID}}
---
apiVersion: tradelane/v1
kind: Product
spec: {id: acme-track, owner: acme, contract: acme-track, cleanup: compact}
"#;
    world.hub.apply(&world.owner, &[("track.yaml".into(), manifest.into())], false).await.unwrap();
    let event = json!({
        "@context": ["https://ref.gs1.org/standards/epcis/2.0.0/epcis-context.jsonld"],
        "type": "ObjectEvent", "eventID": "urn:uuid:0b5e2a52-6d3c-4c0d-9e0f-000000000001",
        "eventTime": "2026-03-01T08:00:00.000Z", "eventTimeZoneOffset": "+00:00",
        "epcList": ["urn:epc:id:sgtin:9521321.012345.1"], "action": "OBSERVE",
    });
    let track = "acme-track".parse().unwrap();
    world.hub.capture_event(&world.publisher, &track, event.to_string().into()).await.unwrap();
    let parcels = Parcels(world);
    let seen = parcels.records(&parcels.0.owner, "acme-track", 0).await;
    assert_eq!(seen[0].key.as_deref(), Some("urn:uuid:0b5e2a52-6d3c-4c0d-9e0f-000000000001"));
}
