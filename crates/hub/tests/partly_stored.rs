//! A request of which a cluster stores one part and not the other: what is stored is on record at once, and once, whether or
//! not the request is ever completed.

mod support;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::{Value, json};
use support::{World, config};
use tradelane_audit::Leaf;
use tradelane_hub::publish::{Body, Publish, Published};
use tradelane_hub::{
    BatchNumbers, Caller, ClusterError, ClusterLog, Committed, Hub, HubError, Presented, Result, TrailQuery,
};
use tradelane_keys::sha256;
use tradelane_model::codes;
use tradelane_storage::{Bounds, StreamId};
use tradelane_testkit::TinyDisk;

const STOCK: &str = r#"
apiVersion: v3.1.0
kind: DataContract
id: acme-stock
tenant: acme
version: 1.0.0
status: active
name: Stock
schema: [{name: level, properties: [{name: sku, logicalType: string, classification: public}]}]
customProperties:
  - {property: tradelane, value: {purposes: [planning], records: {key: {class: public}}}}
---
apiVersion: tradelane/v1
kind: Product
spec: {id: acme-stock, owner: acme, contract: acme-stock, partitions: 10}
"#;

/// A cluster in memory of which some partitions are out of reach.
#[derive(Default)]
struct Memory {
    /// Where batches are, by partition and the sequence number that they came with.
    places: Mutex<HashMap<(u32, i32), u64>>,
    ends: Mutex<HashMap<u32, u64>>,
    away: Mutex<Vec<u32>>,
    numbers: AtomicI32,
}

impl Memory {
    fn store(&self, partition: u32, batch: &[u8]) -> u64 {
        let number = |at: usize| i32::from_be_bytes(batch[at..at + 4].try_into().unwrap());
        let (sequence, count) = (number(53), number(57));
        *self.places.lock().unwrap().entry((partition, sequence)).or_insert_with(|| {
            let mut ends = self.ends.lock().unwrap();
            let end = ends.entry(partition).or_default();
            *end += count as u64;
            *end - count as u64
        })
    }
}

#[async_trait]
impl ClusterLog for Memory {
    async fn bounds(&self, stream: &StreamId) -> Result<Option<Bounds>, ClusterError> {
        Ok(self.ends.lock().unwrap().get(&stream.partition).map(|end| Bounds { start: 0, end: *end }))
    }

    async fn read(&self, _: &StreamId, from: u64, _: usize) -> Result<Committed, ClusterError> {
        Ok(Committed { next: from, ..Committed::default() })
    }

    async fn wait(&self, _: &StreamId, _: u64) {}

    async fn number(&self, streams: &[StreamId]) -> Result<Vec<BatchNumbers>, ClusterError> {
        let number = |_| BatchNumbers { producer: 1, epoch: 0, sequence: self.numbers.fetch_add(1, Ordering::SeqCst) };
        Ok(streams.iter().map(number).collect())
    }

    async fn append(&self, _: u32, batches: Vec<(StreamId, Bytes)>) -> Vec<Result<u64, ClusterError>> {
        let away = self.away.lock().unwrap();
        let append = |(stream, batch): &(StreamId, Bytes)| match away.contains(&stream.partition) {
            true => Err(ClusterError::Unavailable("away".into())),
            false => Ok(self.store(stream.partition, batch)),
        };
        batches.iter().map(append).collect()
    }

    fn settle(&self, _: &[(StreamId, BatchNumbers, u32)]) {}
}

/// In front of that cluster, with a folder in which a test may have put something before.
async fn world(dir: tempfile::TempDir, cluster: &Arc<Memory>) -> World {
    let world = World::begin(dir, Some(cluster.clone())).await;
    world.hub.apply(&world.owner, &[("stock.yaml".into(), STOCK.into())], false).await.unwrap();
    world
}

/// CloudEvents of articles, whose keys these are. Kafka's clients choose partition 6 for `foobar`, 7 for `abc`, 0 for `21`.
fn events(skus: &[&str]) -> Bytes {
    let event = |(n, sku): (usize, &&str)| {
        json!({"specversion": "1.0", "id": n.to_string(), "source": "/erp", "type": "level", "partitionkey": sku,
               "data": {"sku": sku}})
    };
    Value::from_iter(skus.iter().enumerate().map(event)).to_string().into()
}

async fn send(hub: &Hub, caller: &Caller, events: &Bytes) -> Result<Published> {
    let request = Publish {
        product: "acme-stock".parse().unwrap(),
        body: Body::CloudEvents(events.clone()),
        idempotency_key: None,
        proceed: false,
        partition: None,
        version: None,
    };
    Ok(hub.publish(caller, request).await?.into_parts().0)
}

/// What is on record as published, by the numbers of the leaves.
async fn on_record(hub: &Hub, auditor: &Caller) -> BTreeMap<u64, Leaf> {
    let trail = hub.trail(auditor, TrailQuery { max: 1_000, ..Default::default() }).await.unwrap().into_parts().0;
    trail.leaves.into_iter().filter(|(_, leaf)| leaf.action.as_str() == "publish").collect()
}

type Place = (Option<u32>, Option<(u64, u64)>, u64);

fn places(leaves: &BTreeMap<u64, Leaf>) -> Vec<Place> {
    leaves.values().map(|leaf| (leaf.partition, leaf.offsets, leaf.count)).collect()
}

/// One leaf for each part, which the answer names, and which prove what was sent.
fn proves(leaves: &BTreeMap<u64, Leaf>, done: &Published, sent: &Bytes) {
    let salt: Vec<u8> = (0..32).map(|at| u8::from_str_radix(&done.salt[2 * at..2 * at + 2], 16).unwrap()).collect();
    let digest = sha256(&[salt, sha256(sent).to_vec()].concat());
    for part in &done.parts {
        let leaf = &leaves[&part.receipt];
        let last = part.offset + u64::from(part.count) - 1;
        assert_eq!((leaf.partition, leaf.offsets), (Some(part.partition), Some((part.offset, last))));
        assert_eq!(leaf.digest, Some(digest));
    }
}

fn fails(failed: Result<Published>, stored: &str) -> HubError {
    let failed = failed.unwrap_err();
    let tells = format!("these have their events: {stored}.");
    assert!(failed.detail.contains(&tells), "{}", failed.detail);
    failed
}

#[tokio::test]
async fn a_part_that_is_stored_when_another_fails_is_on_record_at_once_and_not_again_when_the_request_is_completed() {
    let cluster = Arc::new(Memory::default());
    let world = world(tempfile::tempdir().unwrap(), &cluster).await;
    let sent = events(&["foobar", "abc", "21", "foobar"]);
    let send = async || send(&world.hub, &world.publisher, &sent).await;
    let record = async || on_record(&world.hub, &world.auditor).await;
    let away = |partitions: &[u32]| *cluster.away.lock().unwrap() = partitions.to_vec();

    away(&[0, 6, 7]);
    assert_eq!(send().await.unwrap_err().code, codes::STORAGE_UNAVAILABLE);
    assert!(record().await.is_empty(), "nothing is stored");
    away(&[0, 7]);
    let first = (Some(6), Some((0, 1)), 2);
    for _ in 0..2 {
        assert_eq!(fails(send().await, "6").code, codes::STORAGE_UNAVAILABLE);
        assert_eq!(places(&record().await), [first]);
    }
    // Each retry puts on record what it stored, and what is stored is not asked for again.
    away(&[0, 6]);
    fails(send().await, "6, 7");
    let second = (Some(7), Some((0, 0)), 1);
    assert_eq!(places(&record().await), [first, second]);
    away(&[6, 7]);
    let done = send().await.unwrap();
    assert_eq!((done.count, done.parts.len(), done.duplicate), (4, 3, false));
    let leaves = record().await;
    assert_eq!(places(&leaves), [first, second, (Some(0), Some((0, 0)), 1)]);
    proves(&leaves, &done, &sent);

    let again = send().await.unwrap();
    assert!(again.duplicate);
    let leaves = record().await;
    assert_eq!(leaves.len(), 6, "an answer that is given again has leaves of its own, as ever");
    proves(&leaves, &again, &sent);
}

#[tokio::test]
async fn what_cannot_be_put_on_record_when_a_part_fails_is_put_on_record_by_the_retry() {
    let Some(disk) = TinyDisk::mount(4) else { return };
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("data")).unwrap();
    std::os::unix::fs::symlink(disk.path(), dir.path().join("data/audit")).unwrap();
    let cluster = Arc::new(Memory::default());
    let world = world(dir, &cluster).await;
    let sent = events(&["foobar", "abc"]);
    *cluster.away.lock().unwrap() = vec![7];
    let filler = disk.fill_up();
    while world.hub.catalog(&world.near).await.is_ok() {}
    let failed = fails(send(&world.hub, &world.publisher, &sent).await, "6");
    assert_eq!((failed.code, failed.retry_after), (codes::AUDIT_UNAVAILABLE, Some(1)), "it is to be sent again");
    std::fs::remove_file(filler).unwrap();
    cluster.away.lock().unwrap().clear();
    let done = send(&world.hub, &world.publisher, &sent).await.unwrap();
    let leaves = on_record(&world.hub, &world.auditor).await;
    assert_eq!(places(&leaves), [(Some(6), Some((0, 0)), 1), (Some(7), Some((0, 0)), 1)]);
    proves(&leaves, &done, &sent);
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn a_request_that_another_node_completes_is_on_record_there_as_a_whole() {
    let Some(url) = support::postgres::database() else { return };
    let cluster = Arc::new(Memory::default());
    let [dir, folder] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    std::fs::write(dir.path().join(support::DATABASE), &url).unwrap();
    std::fs::write(folder.path().join(support::DATABASE), &url).unwrap();
    let world = world(dir, &cluster).await;
    std::fs::copy(world.dir.path().join("root.key"), folder.path().join("root.key")).unwrap();
    let mut other = config(&folder, &world.clock);
    other.origin = "hub-b.test/audit".into();
    let (b, _) = Hub::open_before_cluster(other, cluster.clone()).await.unwrap();
    let publisher = b.authenticate(Presented::ApiKey(&world.publisher_key)).unwrap();

    let sent = events(&["foobar", "abc"]);
    *cluster.away.lock().unwrap() = vec![7];
    fails(send(&world.hub, &world.publisher, &sent).await, "6");
    fails(send(&b, &publisher, &sent).await, "6");
    cluster.away.lock().unwrap().clear();
    let done = send(&b, &publisher, &sent).await.unwrap();
    let first = (Some(6), Some((0, 0)), 1);
    assert_eq!(places(&on_record(&world.hub, &world.auditor).await), [first]);
    let leaves = on_record(&b, &world.auditor).await;
    assert_eq!(places(&leaves), [first, (Some(7), Some((0, 0)), 1)], "so each receipt is had where the answer is");
    proves(&leaves, &done, &sent);
}
