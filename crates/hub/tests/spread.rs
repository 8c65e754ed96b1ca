//! One request for several partitions: each event goes where its key says, all of them or none, and once.

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use support::{World, config};
use tradelane_hub::publish::{Body, Publish, Published};
use tradelane_hub::{Caller, From, Hub, ReadLimits, Result, TrailQuery};
use tradelane_model::{ProductId, codes};

const CONTRACT: &str = r#"
apiVersion: v3.1.0
kind: DataContract
id: acme-stock
tenant: acme
version: 1.0.0
status: active
name: Stock
schema:
  - name: level
    properties:
      - {name: sku, logicalType: string, required: true, classification: public}
      - {name: level, logicalType: integer, classification: public}
      - {name: note, logicalType: string, classification: confidential}
customProperties:
  - {property: tradelane, value: {purposes: [planning], records: {key: {class: confidential}}}}
"#;

fn product() -> ProductId {
    "acme-stock".parse().unwrap()
}

async fn has_partitions(world: &World, partitions: u32) {
    let text = format!(
        "apiVersion: tradelane/v1\nkind: Product\n\
         spec: {{id: acme-stock, owner: acme, contract: acme-stock, partitions: {partitions}}}\n"
    );
    let files = [("c.yaml".into(), CONTRACT.into()), ("p.yaml".into(), text)];
    world.hub.apply(&world.owner, &files, false).await.unwrap();
}

async fn world() -> World {
    let world = World::new().await;
    has_partitions(&world, 10).await;
    world
}

/// A CloudEvent with this key; without one if it is empty.
fn event(n: usize, key: &str, data: &Value) -> Value {
    let mut event = json!({"specversion": "1.0", "id": n.to_string(), "source": "/erp", "type": "level", "data": data});
    if !key.is_empty() {
        event["partitionkey"] = json!(key);
    }
    event
}

/// Levels of articles, whose key is their number; the level says where in the request it is.
fn levels(skus: &[&str]) -> Vec<Value> {
    let level = |(n, sku): (usize, &&str)| event(n, sku, &json!({"sku": sku, "level": n}));
    skus.iter().enumerate().map(level).collect()
}

async fn send(hub: &Hub, caller: &Caller, events: &[Value], key: Option<&str>, proceed: bool) -> Result<Published> {
    let body = Body::CloudEvents(Value::from(events).to_string().into());
    let (product, idempotency_key) = (product(), key.map(str::to_owned));
    let request = Publish { product, body, idempotency_key, proceed, partition: None, version: None };
    Ok(hub.publish(caller, request).await?.into_parts().0)
}

/// What is in the partitions that have something: articles and levels.
async fn stored(hub: &Hub, caller: &Caller) -> BTreeMap<u32, Vec<(String, u64)>> {
    let reader = hub.reader(caller, &product(), None).await.unwrap();
    let mut all = BTreeMap::new();
    for partition in 0..10 {
        let limits = ReadLimits { max_events: 10_000, max_bytes: 16 << 20, wait: Duration::ZERO };
        let page = hub.read(&reader.at_partition(partition), From::Earliest, limits).await.unwrap();
        let lines: Vec<u8> = page.value().chunks.iter().flat_map(|chunk| chunk.lines().to_vec()).collect();
        let events = serde_json::Deserializer::from_slice(&lines).into_iter::<Value>().map(|line| {
            let event = line.unwrap()["event"].take();
            (event["sku"].as_str().unwrap().to_owned(), event["level"].as_u64().unwrap())
        });
        let events: Vec<_> = events.collect();
        if !events.is_empty() {
            all.insert(partition, events);
        }
    }
    all
}

fn places(published: &Published) -> Vec<(u32, u64, u32)> {
    published.parts.iter().map(|part| (part.partition, part.offset, part.count)).collect()
}

#[tokio::test]
async fn the_events_of_a_request_go_where_their_keys_say_in_their_order_and_each_part_is_on_record() {
    let world = world().await;
    // Kafka's clients choose 7 for `abc` and 6 for `foobar`.
    let done =
        send(&world.hub, &world.publisher, &levels(&["abc", "foobar", "abc", "abc", "foobar"]), None, false).await;
    let done = done.unwrap();
    assert_eq!((places(&done), done.count, done.duplicate), (vec![(6, 0, 2), (7, 0, 3)], 5, false));
    assert!(done.only().is_none());
    let all = stored(&world.hub, &world.owner).await;
    let of = |sku: &str, levels: &[u64]| levels.iter().map(|level| (sku.to_owned(), *level)).collect::<Vec<_>>();
    assert_eq!(all, BTreeMap::from([(6, of("foobar", &[1, 4])), (7, of("abc", &[0, 2, 3]))]));

    let again = send(&world.hub, &world.publisher, &levels(&["foobar", "abc", "x"])[..2], None, true).await.unwrap();
    assert_eq!(places(&again), [(6, 2, 1), (7, 3, 1)]);
    let trail = world.hub.trail(&world.auditor, TrailQuery { max: 1_000, ..Default::default() }).await.unwrap();
    for part in done.parts.iter().chain(&again.parts) {
        let (_, leaf) = trail.value().leaves.iter().find(|(number, _)| *number == part.receipt).unwrap();
        let last = part.offset + u64::from(part.count) - 1;
        assert_eq!((leaf.partition, leaf.offsets), (Some(part.partition), Some((part.offset, last))));
        assert_eq!((leaf.action.as_str(), leaf.count), ("publish", u64::from(part.count)));
        let receipt = world.hub.receipt(&world.publisher, part.receipt).await.unwrap();
        let proven = receipt.value().verify(&world.hub.log_key().parse().unwrap()).unwrap();
        assert_eq!(proven.leaf.partition, Some(part.partition));
    }
}

#[tokio::test]
async fn a_request_that_is_retried_is_told_the_same_places_and_stored_once() {
    let world = world().await;
    let events = levels(&["abc", "foobar", "21", "abc"]);
    let first = send(&world.hub, &world.publisher, &events, Some("k"), false).await.unwrap();
    assert_eq!(first.parts.len(), 3);
    send(&world.hub, &world.publisher, &levels(&["foobar", "abc"]), Some("other"), false).await.unwrap();
    let again = send(&world.hub, &world.publisher, &events, Some("k"), false).await.unwrap();
    assert_eq!((places(&again), again.duplicate), (places(&first), true));
    // The events' own ids do it as well as a key.
    let unnamed = send(&world.hub, &world.publisher, &events, None, false).await.unwrap();
    let unnamed_again = send(&world.hub, &world.publisher, &events, None, false).await.unwrap();
    assert_eq!((places(&unnamed_again), unnamed_again.duplicate), (places(&unnamed), true));
    let before = stored(&world.hub, &world.owner).await;
    // Other bodies under the key, whatever partitions they have.
    for other in [levels(&["foobar"]), levels(&["abc", "foobar"]), levels(&["ab", "ac", "ad", "ae", "af", "ag"])] {
        let refused = send(&world.hub, &world.publisher, &other, Some("k"), false).await.unwrap_err();
        assert_eq!(refused.code, codes::KEY_REUSED);
    }
    assert_eq!(stored(&world.hub, &world.owner).await, before);

    let World { hub, clock, dir, owner, publisher, .. } = world;
    drop(hub);
    let (hub, _) = Hub::open(config(&dir, &clock)).await.unwrap();
    let again = send(&hub, &publisher, &events, Some("k"), false).await.unwrap();
    assert_eq!((places(&again), again.duplicate), (places(&first), true), "nor does a restart forget it");
    assert_eq!(stored(&hub, &owner).await, before);
}

#[tokio::test]
async fn a_retry_whose_events_would_go_elsewhere_by_now_is_refused_and_stores_nothing() {
    let world = world().await;
    let events = levels(&["abc", "foobar"]);
    send(&world.hub, &world.publisher, &events, Some("k"), false).await.unwrap();
    has_partitions(&world, 11).await;
    let before = stored(&world.hub, &world.owner).await;
    let refused = send(&world.hub, &world.publisher, &events, Some("k"), false).await.unwrap_err();
    assert_eq!(refused.code, codes::KEY_REUSED);
    assert!(refused.detail.contains("has changed"), "{}", refused.detail);
    assert_eq!(stored(&world.hub, &world.owner).await, before);
}

#[tokio::test]
async fn one_bad_event_refuses_all_parts_or_is_set_aside_by_its_place_in_the_request() {
    let world = world().await;
    let mut events = levels(&["abc", "foobar", "abc"]);
    events[1]["data"]["level"] = json!("none");
    let refused = send(&world.hub, &world.publisher, &events, Some("k"), false).await.unwrap_err();
    assert!(refused.places.iter().all(|place| place.pointer.starts_with("/1")), "{:?}", refused.places);
    assert!(stored(&world.hub, &world.owner).await.is_empty());
    let done = send(&world.hub, &world.publisher, &events, Some("k"), true).await.unwrap();
    assert_eq!((places(&done), done.quarantined.len(), done.quarantined[0].index), (vec![(7, 0, 2)], 1, 1));
    events[0]["data"]["level"] = json!("none");
    events[2]["data"]["level"] = json!("none");
    let nothing = send(&world.hub, &world.publisher, &events, Some("all bad"), true).await.unwrap();
    assert_eq!((places(&nothing), nothing.count, nothing.quarantined.len()), (vec![], 0, 3));
}

#[tokio::test]
async fn events_without_a_key_stay_together_beside_those_that_have_one() {
    let world = world().await;
    let keys = ["abc", "", "foobar", "", ""];
    let events: Vec<_> =
        keys.iter().enumerate().map(|(n, key)| event(n, key, &json!({"sku": format!("-{key}"), "level": n}))).collect();
    send(&world.hub, &world.publisher, &events, Some("k"), false).await.unwrap();
    let all: Vec<_> = stored(&world.hub, &world.owner).await.into_values().flatten().collect();
    let keyless: Vec<u64> = all.iter().filter(|(sku, _)| sku == "-").map(|(_, level)| *level).collect();
    assert_eq!((all.len(), keyless), (5, vec![1, 3, 4]), "in one partition, so in their order");
}

#[tokio::test]
async fn a_large_request_that_several_cores_seal_keeps_the_order_of_each_key() {
    let world = world().await;
    let skus: Vec<String> = (0..3_000).map(|n| format!("sku-{}", n * 7 % 41)).collect();
    let note = "x".repeat(100);
    let events: Vec<_> = (skus.iter().enumerate())
        .map(|(n, sku)| event(n, sku, &json!({"sku": sku, "level": n, "note": note})))
        .collect();
    let done = send(&world.hub, &world.publisher, &events, None, false).await.unwrap();
    assert_eq!((done.count, done.parts.len()), (3_000, 10));
    let mut partition_of = BTreeMap::new();
    for (partition, events) in stored(&world.hub, &world.owner).await {
        let count = done.parts.iter().find(|part| part.partition == partition).unwrap().count;
        assert_eq!(events.len(), count as usize);
        assert!(events.is_sorted_by_key(|(_, level)| *level));
        for (sku, level) in events {
            assert_eq!(sku, skus[level as usize]);
            assert_eq!(*partition_of.entry(sku).or_insert(partition), partition, "a key has one partition");
        }
    }
}
