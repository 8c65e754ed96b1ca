//! The hub's own reading and publishing in front of a cluster, as its HTTP listener does it: the same events under the same
//! offsets as Kafka clients see, and each request's events stored once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use async_trait::async_trait;
use kafka_protocol::messages::{FindCoordinatorRequest, FindCoordinatorResponse};
use serde_json::{Value, json};
use tradelane_hub::explain::EventRef;
use tradelane_hub::{
    BatchNumbers, Body, Caller, Chunk, ClusterError, ClusterLog, Committed, From, HubError, Page, Presented, Publish,
    Published, ReadLimits,
};
use tradelane_kafka::ClusterTopics;
use tradelane_model::{ProductId, codes};
use tradelane_storage::{Bounds, StreamId};

use super::*;

const MORE: &str = r#"
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
      fields:
        - {at: /type, class: public}
        - {at: /eventID, class: public}
        - {at: /eventTime, class: public}
        - {at: /eventTimeZoneOffset, class: public}
        - {at: "/epcList/*", class: public}
        - {at: /action, class: public}
        - {at: /bizStep, class: public}
        - {at: /bizLocation/id, class: confidential}
---
apiVersion: tradelane/v1
kind: Product
spec: {id: acme-track, owner: acme, contract: acme-track}
---
apiVersion: tradelane/v1
kind: Product
spec: {id: acme-spread, owner: acme, contract: acme-orders, partitions: 10}
---
apiVersion: tradelane/v1
kind: Grant
spec: {id: near-track, product: acme-track, consumer: near, purpose: tracking}
---
apiVersion: tradelane/v1
kind: Grant
spec:
  id: far-secret
  product: acme-secret
  consumer: far
  purpose: replenishment
  filter: "event.qty > 10"
  view: {classes: {confidential: drop}}
"#;

/// A cluster that is cut off from the hub around the storing of a batch.
struct CutOff {
    topics: ClusterTopics,
    when: AtomicU8,
}

const NOT: u8 = 0;
const BEFORE: u8 = 1;
const AFTER: u8 = 2;
/// What goes to [`CUT`] is not stored, all else is.
const BETWEEN: u8 = 3;
const CUT: u32 = 7;

#[async_trait]
impl ClusterLog for CutOff {
    async fn bounds(&self, stream: &StreamId) -> Result<Option<Bounds>, ClusterError> {
        self.topics.bounds(stream).await
    }

    async fn read(&self, stream: &StreamId, from: u64, max_bytes: usize) -> Result<Committed, ClusterError> {
        self.topics.read(stream, from, max_bytes).await
    }

    async fn wait(&self, stream: &StreamId, offset: u64) {
        self.topics.wait(stream, offset).await;
    }

    async fn number(&self, streams: &[StreamId]) -> Result<Vec<BatchNumbers>, ClusterError> {
        self.topics.number(streams).await
    }

    async fn append(&self, partitions: u32, batches: Vec<(StreamId, Bytes)>) -> Vec<Result<u64, ClusterError>> {
        let when = self.when.load(Ordering::SeqCst);
        let cut = || Err(ClusterError::Unavailable("cut off by the test".into()));
        let arrives = |stream: &StreamId| match when {
            BEFORE => false,
            BETWEEN => stream.partition != CUT,
            _ => true,
        };
        let arriving: Vec<bool> = batches.iter().map(|(stream, _)| arrives(stream)).collect();
        let sent = batches.into_iter().filter(|(stream, _)| arrives(stream)).collect();
        let mut stored = self.topics.append(partitions, sent).await.into_iter();
        let outcome = |arrived| if arrived { stored.next().unwrap() } else { cut() };
        let outcomes: Vec<_> = arriving.into_iter().map(outcome).collect();
        if when == AFTER { outcomes.iter().map(|_| cut()).collect() } else { outcomes }
    }

    fn settle(&self, batches: &[(StreamId, BatchNumbers, u32)]) {
        self.topics.settle(batches);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_in_a_cluster() {
    let Some(kafka) = Kafka::start(1, KafkaSecurity::SaslTls) else { return };
    let upstream = upstream(&kafka, PREFIX);
    let topics = ClusterTopics::new(upstream.clone()).unwrap();
    let cluster = Arc::new(CutOff { topics, when: AtomicU8::new(NOT) });
    let world = World::with_events(upstream, Arc::clone(&cluster) as Arc<dyn ClusterLog>).await;
    world.hub.apply(&world.owner, &[("more.yaml".into(), MORE.into())], false).await.unwrap();
    a_product_without_a_topic_is_empty(&world).await;
    what_is_published_over_either_listener_is_read_over_both(&world).await;
    a_row_filter_holds(&world).await;
    a_request_that_is_retried_is_stored_once(&world, &cluster).await;
    a_cluster_that_cannot_take_all_parts_of_a_request_is_given_none(&kafka, &world).await;
    a_request_of_several_partitions_is_stored_once_in_each(&world, &cluster).await;
    what_one_partition_does_not_take_is_missing_until_the_request_is_retried(&kafka, &world).await;
    only_what_is_committed_is_read(&world).await;
    compaction_and_large_pages_are_read_through(&kafka, &world).await;
    epcis_is_captured_once_and_queried_through_the_view(&world).await;
    what_the_topic_does_not_take_is_refused(&kafka, &world).await;
    readers_that_wait_are_woken_by_events_and_by_revocation(&world).await;
    what_is_set_aside_is_where_all_nodes_find_it(&world).await;
}

fn caller(world: &World, principal: &str) -> Caller {
    world.hub.authenticate(Presented::ApiKey(&world.keys[principal])).unwrap()
}

fn product(name: &str) -> ProductId {
    name.parse().unwrap()
}

async fn read_with(
    world: &World,
    who: &str,
    name: &str,
    partition: u32,
    from: From,
    limits: ReadLimits,
) -> Result<Page, HubError> {
    let reader = world.hub.reader(&caller(world, who), &product(name), None).await?.at_partition(partition);
    let before = world.hub.stats().audit_leaves;
    let page = world.hub.read(&reader, from, limits).await?;
    assert!(page.leaf() >= before, "a leaf of its own");
    Ok(page.into_parts().0)
}

fn limits(max_events: u32, wait: u64) -> ReadLimits {
    ReadLimits { max_events, max_bytes: 1 << 20, wait: Duration::from_secs(wait) }
}

/// Offsets and events of everything that is there now, page by page.
async fn read(world: &World, who: &str, name: &str, partition: u32) -> Vec<(u64, String)> {
    let (mut all, mut from) = (Vec::new(), From::Earliest);
    loop {
        let page = read_with(world, who, name, partition, from, limits(3, 0)).await.unwrap();
        let text = |event: &[u8]| String::from_utf8(event.to_vec()).unwrap();
        all.extend(page.chunks.iter().flat_map(Chunk::iter).map(|event| (event.offset, text(event.event))));
        if page.next >= page.end {
            return all;
        }
        assert!(page.count > 0 || from != From::Offset(page.next), "it goes on");
        from = From::Offset(page.next);
    }
}

async fn publish(world: &World, name: &str, body: Body, key: Option<&str>) -> Result<Published, HubError> {
    publish_to(world, name, body, key, Some(0)).await
}

async fn publish_to(
    world: &World,
    name: &str,
    body: Body,
    key: Option<&str>,
    partition: Option<u32>,
) -> Result<Published, HubError> {
    let idempotency_key = key.map(str::to_owned);
    let request = Publish { product: product(name), body, idempotency_key, proceed: false, partition, version: None };
    Ok(world.hub.publish(&caller(world, "acme.wms"), request).await?.into_parts().0)
}

/// Where the events of a request begin that are all in one partition.
fn offset(published: &Published) -> u64 {
    published.only().unwrap().offset
}

fn lines(orders: &[u32]) -> Body {
    Body::Lines(orders.iter().map(|id| order(*id) + "\n").collect::<String>().into())
}

async fn what_is_set_aside_is_where_all_nodes_find_it(world: &World) {
    let body = Body::Lines(format!("{{\"id\":\"bad-one\"}}\n{}\n{{\"id\":\"bad-two\"}}\n[]\n", order(90)).into());
    let (product, idempotency_key) = (product(SECRET), None);
    let request =
        Publish { product: product.clone(), body, idempotency_key, proceed: true, partition: Some(0), version: None };
    let published = world.hub.publish(&caller(world, "acme.wms"), request).await.unwrap().into_parts().0;
    assert_eq!((published.count, published.quarantined.len()), (1, 3));
    let quarantine =
        async |from, max| world.hub.quarantine(&world.owner, &product, from, max).await.unwrap().into_parts().0;
    let all = quarantine(0, 10).await;
    let of =
        |entries: &[tradelane_hub::quarantine::QuarantinedEvent]| entries.iter().map(|e| e.offset).collect::<Vec<_>>();
    assert_eq!(all.len(), 3);
    assert!(all.is_sorted_by(|a, b| a.offset < b.offset) && all.iter().all(|entry| entry.event.is_some()));
    for (from, max, places) in
        [(0, 2, 0..2), (all[0].offset, 10, 0..3), (all[0].offset + 1, 10, 1..3), (all[2].offset + 1, 10, 3..3)]
    {
        assert_eq!(of(&quarantine(from, max).await), of(&all[places]));
    }
    assert!(world.hub.quarantine(&caller(world, "near.app"), &product, 0, 10).await.is_err());
}

async fn a_product_without_a_topic_is_empty(world: &World) {
    assert!(read(world, "near.app", TOPIC, 0).await.is_empty());
    assert!(read(world, "near.app", TOPIC, 999).await.is_empty(), "nor is there a partition beyond the product's");
    let beyond = read_with(world, "near.app", TOPIC, 0, From::Offset(7), limits(1, 0)).await.unwrap_err();
    assert_eq!(beyond.code, codes::OFFSET_BEYOND_END);
    let unknown = read_with(world, "near.app", SECRET, 0, From::Earliest, limits(1, 0)).await.unwrap_err();
    assert_eq!(unknown.code, codes::NO_GRANT);
}

async fn what_is_published_over_either_listener_is_read_over_both(world: &World) {
    // The first event makes the topic.
    let first = publish(world, TOPIC, lines(&[1, 2]), None).await.unwrap();
    assert_eq!((offset(&first), first.count, first.duplicate), (0, 2, false));
    let mut client = world.client("near.app").await;
    await_topic(&mut client, TOPIC).await;
    let mut owner = world.node("acme.wms", 0).await;
    let records = batch(&[order(3), order(4)], None);
    assert_eq!(produce(&mut owner, produce_request(0, records, None)).await.base_offset, 2);
    assert_eq!(offset(&publish(world, TOPIC, Body::One(order(5).into()), None).await.unwrap()), 4);
    let cloud = json!({"specversion": "1.0", "id": "c6", "source": "/wms", "type": "order",
                       "data": serde_json::from_str::<Value>(&order(6)).unwrap()});
    let cloud = Body::CloudEvent(cloud.to_string().into());
    assert_eq!(offset(&publish_to(world, TOPIC, cloud, None, Some(0)).await.unwrap()), 5);
    let mut near = world.node("near.app", 0).await;
    let over_kafka = values(&fetch(&mut near, TOPIC, 0, 0, 1).await);
    let over_http = read(world, "near.app", TOPIC, 0).await;
    assert_eq!(over_http.len(), 6);
    assert_eq!(over_http, over_kafka.into_iter().map(|(at, text)| (at as u64, text)).collect::<Vec<_>>());
    assert!(over_http.iter().all(|(_, event)| event.contains("qty") && !event.contains("price")), "{over_http:?}");
    assert_eq!(read(world, "acme.owner", TOPIC, 0).await[3].1, order(4), "the owner sees all of it");
    let middle = read_with(world, "near.app", TOPIC, 0, From::Offset(3), limits(2, 0)).await.unwrap();
    let offsets: Vec<_> = middle.chunks.iter().flat_map(Chunk::iter).map(|event| event.offset).collect();
    assert_eq!((offsets, middle.next, middle.end), (vec![3, 4], 5, 6), "within a batch");
    let (orders, near) = (product(TOPIC), "near".parse().unwrap());
    let stored = EventRef::Stored { partition: 0, offset: 3 };
    let explained = world.hub.explain(&world.owner, &orders, &near, None, stored).await.unwrap().into_parts().0;
    assert_eq!(explained.rendered.unwrap(), over_http[3].1);
    let broken = Body::One(r#"{"id":"o1","qty":"not a number"}"#.into());
    assert_eq!(publish(world, TOPIC, broken, None).await.unwrap_err().code, codes::CONTRACT_VIOLATION);
}

async fn a_row_filter_holds(world: &World) {
    publish(world, SECRET, lines(&[5, 50, 6, 60]), None).await.unwrap();
    let seen = read(world, "far.app", SECRET, 0).await;
    assert_eq!(seen.iter().map(|(offset, _)| *offset).collect::<Vec<_>>(), [1, 3]);
    let mut far = world.node("far.app", 0).await;
    await_topic(&mut far, SECRET).await;
    let over_kafka = values(&fetch(&mut far, SECRET, 0, 0, 1).await);
    assert_eq!(seen, over_kafka.into_iter().map(|(at, text)| (at as u64, text)).collect::<Vec<_>>());
}

async fn a_request_that_is_retried_is_stored_once(world: &World, cluster: &CutOff) {
    let before = read(world, "acme.owner", SECRET, 0).await.len();
    for (when, key) in [(BEFORE, "cut-before"), (AFTER, "cut-after")] {
        cluster.when.store(when, Ordering::SeqCst);
        for _ in 0..2 {
            let lost = publish(world, SECRET, lines(&[71, 72]), Some(key)).await.unwrap_err();
            assert_eq!(lost.code, codes::STORAGE_UNAVAILABLE);
        }
        cluster.when.store(NOT, Ordering::SeqCst);
        // What others publish meanwhile is not in its way.
        for other in 0..7 {
            publish(world, SECRET, lines(&[80 + other]), None).await.unwrap();
        }
        let other = publish(world, SECRET, lines(&[73]), Some(key)).await.unwrap_err();
        assert_eq!(other.code, codes::KEY_REUSED);
        let found = publish(world, SECRET, lines(&[71, 72]), Some(key)).await.unwrap();
        let again = publish(world, SECRET, lines(&[71, 72]), Some(key)).await.unwrap();
        assert_eq!((found.duplicate, again.duplicate), (false, true));
        assert_eq!(offset(&found), offset(&again));
    }
    let all = read(world, "acme.owner", SECRET, 0).await;
    assert_eq!(all.len(), before + 2 * (2 + 7));
    assert_eq!(all.iter().filter(|(_, event)| event.contains(r#""o71""#)).count(), 2, "once for each key");
}

pub(crate) async fn await_coordinator(owner: &mut Client) -> FindCoordinatorResponse {
    let find = FindCoordinatorRequest::default().with_key_type(1).with_coordinator_keys(vec!["tx".into()]);
    let mut found = owner.ask(4, &find).await;
    for _ in 0..100 {
        if found.coordinators[0].error_code == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        found = owner.ask(4, &find).await;
    }
    found
}

const SPREAD: &str = "acme-spread";

/// CloudEvents of orders with these keys, whose numbers count from the first on. Kafka's clients choose partition 7 for `abc`
/// and 6 for `foobar`.
fn keyed(first: u32, keys: &[&str]) -> Body {
    let event = |(id, key): (u32, &&str)| {
        json!({"specversion": "1.0", "id": id.to_string(), "source": "/wms", "type": "order", "partitionkey": key,
               "data": serde_json::from_str::<Value>(&order(id)).unwrap()})
    };
    Body::CloudEvents(Value::from_iter((first..).zip(keys).map(event)).to_string().into())
}

/// The orders that are in a partition, and how many offsets it has.
async fn orders_in(world: &World, partition: u32) -> Vec<u64> {
    let all = read(world, "acme.owner", SPREAD, partition).await;
    all.iter().map(|(_, text)| serde_json::from_str::<Value>(text).unwrap()["qty"].as_u64().unwrap()).collect()
}

fn places(published: &Published) -> Vec<(u32, u64, u32)> {
    published.parts.iter().map(|part| (part.partition, part.offset, part.count)).collect()
}

/// One of the partitions is not there yet, so it has no leader.
async fn a_cluster_that_cannot_take_all_parts_of_a_request_is_given_none(kafka: &Kafka, world: &World) {
    let topic = |what: &[&str]| {
        let args = [&["--bootstrap-server", kafka.plain(), "--topic", "hub.acme-spread"], what].concat();
        text(&kafka.tool("topics", &args, b""));
    };
    topic(&["--create", "--partitions", "7"]);
    let send = async || publish_to(world, SPREAD, keyed(1, &["abc", "foobar", "abc"]), None, None).await;
    let refused = send().await.unwrap_err();
    assert_eq!(refused.code, codes::STORAGE_UNAVAILABLE);
    assert!(!refused.detail.contains("have their events"), "{}", refused.detail);
    assert!(orders_in(world, 6).await.is_empty());
    topic(&["--alter", "--partitions", "10"]);
    let done = send().await.unwrap();
    assert_eq!((places(&done), done.duplicate), (vec![(6, 0, 1), (7, 0, 2)], false));
}

async fn a_request_of_several_partitions_is_stored_once_in_each(world: &World, cluster: &CutOff) {
    let send = async |first, keys: &[&str]| publish_to(world, SPREAD, keyed(first, keys), None, None).await;
    let first = send(4, &["abc", "foobar", "abc"]).await.unwrap();
    assert_eq!((places(&first), first.count, first.duplicate), (vec![(6, 1, 1), (7, 2, 2)], 3, false));
    assert!(first.parts[0].receipt < first.parts[1].receipt);
    let again = send(4, &["abc", "foobar", "abc"]).await.unwrap();
    assert_eq!((places(&again), again.duplicate), (places(&first), true));
    for (round, when) in [BEFORE, BETWEEN, AFTER].into_iter().enumerate() {
        let id = 10 * (round as u32 + 1);
        cluster.when.store(when, Ordering::SeqCst);
        for _ in 0..2 {
            let lost = send(id, &["abc", "foobar", "foobar"]).await.unwrap_err();
            assert_eq!(lost.code, codes::STORAGE_UNAVAILABLE);
            let tells = lost.detail.contains("Of the 2 partitions of the request these have their events: 6.");
            assert_eq!(tells, when == BETWEEN, "{}", lost.detail);
        }
        cluster.when.store(NOT, Ordering::SeqCst);
        send(id + 5, &["foobar", "abc"]).await.unwrap();
        let found = send(id, &["abc", "foobar", "foobar"]).await.unwrap();
        let again = send(id, &["abc", "foobar", "foobar"]).await.unwrap();
        assert_eq!((found.duplicate, again.duplicate, places(&again)), (false, true, places(&found)));
        for (partition, offset, count) in places(&found) {
            let orders = orders_in(world, partition).await;
            let there = &orders[offset as usize..][..count as usize];
            assert_eq!(there, if partition == 6 { vec![id as u64 + 1, id as u64 + 2] } else { vec![id as u64] });
        }
    }
    let [six, seven] = [orders_in(world, 6).await, orders_in(world, 7).await];
    for orders in [&six, &seven] {
        assert!(orders.iter().all(|order| orders.iter().filter(|other| *other == order).count() == 1), "{orders:?}");
    }
    assert_eq!((six.len(), seven.len()), (2 + 3 * 3, 4 + 3 * 2));
}

/// A real failure of one part: it is larger than its topic takes, and the other is not.
async fn what_one_partition_does_not_take_is_missing_until_the_request_is_retried(kafka: &Kafka, world: &World) {
    let topic = ["--alter", "--entity-type", "topics", "--entity-name", "hub.acme-spread"];
    let set = |change: [&str; 2]| {
        let args = [&["--bootstrap-server", kafka.plain()], &topic[..], &change].concat();
        text(&kafka.tool("configs", &args, b""));
    };
    set(["--add-config", "max.message.bytes=3000"]);
    let keys = [&["foobar"][..], &["abc"; 40]].concat();
    let mut refused = None;
    let mut first = 1_000;
    // A broker hears of it a little later.
    for _ in 0..100 {
        first += 100;
        refused = publish_to(world, SPREAD, keyed(first, &keys), None, None).await.err();
        if refused.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let refused = refused.unwrap();
    assert_eq!(refused.code, codes::TOO_LARGE);
    assert!(refused.detail.contains("these have their events: 6."), "{}", refused.detail);
    let first_there =
        async |partition| orders_in(world, partition).await.contains(&u64::from(first + u32::from(partition == 7)));
    assert_eq!((first_there(6).await, first_there(7).await), (true, false));
    set(["--delete-config", "max.message.bytes"]);
    let mut done = None;
    for _ in 0..100 {
        done = publish_to(world, SPREAD, keyed(first, &keys), None, None).await.ok();
        if done.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let done = done.unwrap();
    assert_eq!((done.count, done.parts.len(), done.duplicate), (41, 2, false));
    let six = orders_in(world, 6).await;
    assert_eq!(six.iter().filter(|order| **order == u64::from(first)).count(), 1, "and what was there is there once");
    let seven = orders_in(world, 7).await;
    assert!(seven.ends_with(&(first + 1..=first + 40).map(u64::from).collect::<Vec<_>>()));
}

async fn only_what_is_committed_is_read(world: &World) {
    let mut owner = world.node("acme.wms", 0).await;
    await_coordinator(&mut owner).await;
    let begin =
        InitProducerIdRequest::default().with_transactional_id(Some(id("tx"))).with_transaction_timeout_ms(60_000);
    let producer = init(&mut owner, &begin).await;
    let (who, epoch) = (producer.producer_id, producer.producer_epoch);
    publish_to(world, TOPIC, lines(&[1]), None, Some(1)).await.unwrap();
    transaction(&mut owner, who, epoch, 0, &order(90), false).await;
    transaction(&mut owner, who, epoch, 1, &order(91), true).await;
    in_transaction(&mut owner, who, epoch, 2, &order(92)).await;
    publish_to(world, TOPIC, lines(&[2]), None, Some(1)).await.unwrap();
    let ids = |seen: Vec<(u64, String)>| -> Vec<u64> {
        let id = |event: &str| serde_json::from_str::<Value>(event).unwrap()["qty"].as_u64().unwrap();
        seen.iter().map(|(_, event)| id(event)).collect()
    };
    assert_eq!(ids(read(world, "near.app", TOPIC, 1).await), [1, 91], "not beyond a transaction that is open");
    end_transaction(&mut owner, "tx", who, epoch, true).await;
    let page = read_with(world, "near.app", TOPIC, 1, From::Offset(5), limits(9, 20)).await.unwrap();
    assert!(page.count > 0, "whoever waits gets it when it is committed");
    for _ in 0..100 {
        if read(world, "near.app", TOPIC, 1).await.len() == 4 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(ids(read(world, "near.app", TOPIC, 1).await), [1, 91, 92, 2]);
}

async fn compaction_and_large_pages_are_read_through(kafka: &Kafka, world: &World) {
    // Records that are deleted behind the hub's back are a gap at the start.
    let file = tradelane_testkit::temp_dir();
    let request = json!({"version": 1, "partitions": [{"topic": "hub.acme-secret", "partition": 0, "offset": 6}]});
    let path = file.path().join("delete.json");
    std::fs::write(&path, request.to_string()).unwrap();
    let path = path.to_str().unwrap();
    let given = ["--bootstrap-server", kafka.plain(), "--offset-json-file", path];
    text(&kafka.tool("delete-records", &given, b""));
    let left = read(world, "acme.owner", SECRET, 0).await;
    assert_eq!(left[0].0, 6);
    let gone = read_with(world, "acme.owner", SECRET, 0, From::Offset(2), limits(1, 0)).await.unwrap();
    assert_eq!(gone.chunks[0].iter().next().unwrap().offset, 6, "as everywhere, a reader goes on with what is kept");
    // Many at once come in pages that join without a gap.
    let many: Vec<u32> = (1_000..3_000).collect();
    let start = offset(&publish(world, SECRET, lines(&many), Some("many")).await.unwrap());
    let mut at = start;
    while at < start + 2_000 {
        let page = read_with(world, "acme.owner", SECRET, 0, From::Offset(at), limits(700, 0)).await.unwrap();
        for event in page.chunks.iter().flat_map(Chunk::iter) {
            assert_eq!(event.offset, at);
            assert_eq!(event.event, order(1_000 + (at - start) as u32).as_bytes());
            at += 1;
        }
        assert_eq!(page.next, at);
    }
}

async fn what_the_topic_does_not_take_is_refused(kafka: &Kafka, world: &World) {
    let many: Vec<u32> = (5_000..5_050).collect();
    let settings = [("max.message.bytes=1000", codes::TOO_LARGE), ("cleanup.policy=compact", codes::CONFLICT)];
    for (setting, code) in settings {
        let topic = ["--alter", "--entity-type", "topics", "--entity-name", "hub.acme-secret"];
        let set = [&["--bootstrap-server", kafka.plain()], &topic[..], &["--add-config", setting]].concat();
        text(&kafka.tool("configs", &set, b""));
        let mut refused = None;
        // A broker hears of it a little later.
        for _ in 0..100 {
            refused = publish(world, SECRET, lines(&many), None).await.err();
            if refused.is_some() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(refused.unwrap().code, code, "{setting}");
        let unset = ["--delete-config", setting.split('=').next().unwrap()];
        text(&kafka.tool("configs", &[&["--bootstrap-server", kafka.plain()], &topic[..], &unset].concat(), b""));
    }
}

async fn epcis_is_captured_once_and_queried_through_the_view(world: &World) {
    let (track, place) = (product("acme-track"), "urn:epc:id:sgln:9521321.00001.0");
    let event = |number: u32| {
        json!({
            "type": "ObjectEvent", "eventID": format!("urn:uuid:0b5e2a52-6d3c-4c0d-9e0f-{number:012x}"),
            "eventTime": "2026-03-01T08:00:00.000Z", "eventTimeZoneOffset": "+00:00", "action": "OBSERVE",
            "epcList": [format!("urn:epc:id:sgtin:9521321.012345.{number}")],
            "bizStep": if number == 1 { "shipping" } else { "receiving" }, "bizLocation": {"id": place},
        })
    };
    let document = json!({
        "@context": ["https://ref.gs1.org/standards/epcis/2.0.0/epcis-context.jsonld"], "type": "EPCISDocument",
        "schemaVersion": "2.0", "creationDate": "2026-03-01T09:00:00Z",
        "epcisBody": {"eventList": [event(1), event(2)]},
    });
    let wms = caller(world, "acme.wms");
    for round in 0..2 {
        let taken = world.hub.capture(&wms, &track, document.to_string().into(), false).await.unwrap();
        let mut job = taken.into_parts().0;
        while job.running {
            tokio::time::sleep(Duration::from_millis(20)).await;
            job = world.hub.capture_job(&wms, &track, &job.id).await.unwrap().into_parts().0;
        }
        assert_eq!((job.success, job.captured), if round == 0 { (true, 2) } else { (false, 0) }, "{:?}", job.errors);
    }
    let query = async |name: &str, value: &str| {
        let pairs = vec![(name.to_owned(), value.to_owned())];
        let page = world.hub.epcis_query(&caller(world, "near.app"), &track, &pairs).await.unwrap().into_parts().0;
        assert!(!String::from_utf8_lossy(&page.document).contains(place));
        page.count
    };
    assert_eq!(query("perPage", "10").await, 2);
    assert_eq!(query("EQ_bizStep", "shipping").await, 1);
    assert_eq!(query("EQ_bizLocation", place).await, 0, "what is hidden cannot be asked for");
}

async fn readers_that_wait_are_woken_by_events_and_by_revocation(world: &World) {
    let waiting = read_with(world, "near.app", TOPIC, 0, From::Latest, limits(9, 30));
    let publishing = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let mut owner = world.node("acme.wms", 0).await;
        produce(&mut owner, produce_request(0, batch(&[order(99)], None), None)).await
    };
    let (page, stored) = tokio::join!(waiting, publishing);
    let page = page.unwrap();
    assert_eq!((stored.error_code, page.count, page.next), (0, 1, stored.base_offset as u64 + 1));
    let waiting = read_with(world, "near.app", TOPIC, 0, From::Latest, limits(9, 60));
    let revoking = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        world.revoke_grant().await;
    };
    let (page, ()) = tokio::join!(waiting, revoking);
    assert_eq!(page.unwrap_err().code, codes::GRANT_ENDED);
    assert!(read_with(world, "near.app", TOPIC, 0, From::Earliest, limits(9, 0)).await.is_err());
}
