//! Events that are set aside: those of a request together, each once however often the request is sent, on the embedded
//! engine and in front of a cluster.

mod support;

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use support::{World, keyed_state, product};
use tokio::task::AbortHandle;
use tradelane_hub::publish::{Body, Publish, Published};
use tradelane_hub::quarantine::QuarantinedEvent;
use tradelane_hub::{BatchNumbers, Caller, Clock as _, ClusterError, ClusterLog, Committed, Hub, Result};
use tradelane_keys::RootKey;
use tradelane_storage::sqlite::{LogOptions, SqliteLog};
use tradelane_storage::{Bounds, Entry, EventLog, StreamId};

/// Lines of which all but every tenth break the contract.
fn lines(events: usize, all_bad: bool) -> Body {
    let qty = |n: usize| u8::from(!all_bad && n.is_multiple_of(10));
    let line = |n| format!("{{\"id\":\"{n}\",\"sku\":\"A\",\"qty\":{}}}\n", qty(n));
    Body::Lines((0..events).map(line).collect::<String>().into())
}

async fn publish(hub: &Hub, caller: &Caller, body: Body, key: Option<&str>) -> Result<Published> {
    let idempotency_key = key.map(str::to_owned);
    let request =
        Publish { product: product(), body, idempotency_key, proceed: true, partition: Some(0), version: None };
    Ok(hub.publish(caller, request).await?.into_parts().0)
}

/// What the owner sees, in pages.
async fn aside(hub: &Hub, owner: &Caller, page: usize) -> Vec<QuarantinedEvent> {
    let mut all: Vec<QuarantinedEvent> = Vec::new();
    loop {
        let from = all.last().map_or(0, |last| last.offset + 1);
        let more = hub.quarantine(owner, &product(), from, page).await.unwrap().into_parts().0;
        if more.is_empty() {
            return all;
        }
        all.extend(more);
    }
}

async fn settled(hub: &Hub, owner: &Caller, expected: usize) {
    for page in [300, 1_000] {
        let all = aside(hub, owner, page).await;
        assert_eq!(all.len(), expected);
        assert!(all.is_sorted_by(|a, b| a.offset < b.offset));
    }
}

#[tokio::test]
async fn thousands_of_bad_events_are_set_aside_in_few_writes_and_once_however_often_they_are_sent() {
    let world = World::new().await;
    let send = async |body, key| publish(&world.hub, &world.publisher, body, key).await.unwrap();
    for _ in 0..2 {
        let mixed = send(lines(3_000, false), Some("mixed")).await;
        assert_eq!((mixed.count, mixed.quarantined.len()), (300, 100), "an answer names a hundred");
        settled(&world.hub, &world.owner, 2_700).await;
    }
    for _ in 0..2 {
        assert_eq!(send(lines(500, true), Some("all bad")).await.count, 0);
        settled(&world.hub, &world.owner, 3_200).await;
    }
    for times in 1..3 {
        send(lines(10, true), None).await;
        settled(&world.hub, &world.owner, 3_200 + 10 * times).await;
    }
    let first: Vec<_> = aside(&world.hub, &world.owner, 1_000).await.into_iter().take(10).collect();
    assert_eq!(first[8].code, "TL-1007", "{first:?}");
    assert_eq!(first[9].offset, 9, "offsets have no gaps");

    let World { hub, dir, .. } = world;
    drop(hub);
    let (root, _) = RootKey::load_or_create(&dir.path().join("root.key")).unwrap();
    let key = root.derive(&[b"at-rest", b"log"]);
    let log = loop {
        // The last tasks of the hub give its files up.
        match SqliteLog::open(&dir.path().join("data/log.db"), &key, &LogOptions::default()) {
            Ok(log) => break log,
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
        }
    };
    let stream = StreamId::new("acme-orders/quarantine", 0);
    let written = log.read(&stream, 0, usize::MAX).await.unwrap();
    assert_eq!(written.len(), 3 + 1 + 2);
}

/// A cluster in memory, which counts what it is sent.
#[derive(Default)]
struct Memory {
    batches: AtomicU64,
    /// Ended once a batch is stored and that is on record.
    doomed: Mutex<Option<AbortHandle>>,
}

#[async_trait]
impl ClusterLog for Memory {
    async fn bounds(&self, _: &StreamId) -> Result<Option<Bounds>, ClusterError> {
        Ok(Some(Bounds { start: 0, end: self.batches.load(SeqCst) }))
    }

    async fn read(&self, _: &StreamId, from: u64, _: usize) -> Result<Committed, ClusterError> {
        Ok(Committed { next: from, ..Committed::default() })
    }

    async fn wait(&self, _: &StreamId, _: u64) {}

    async fn number(&self, streams: &[StreamId]) -> Result<Vec<BatchNumbers>, ClusterError> {
        Ok(vec![BatchNumbers { producer: 1, epoch: 0, sequence: 0 }; streams.len()])
    }

    async fn append(&self, _: u32, batches: Vec<(StreamId, Bytes)>) -> Vec<Result<u64, ClusterError>> {
        batches.iter().map(|_| Ok(self.batches.fetch_add(1, SeqCst))).collect()
    }

    fn settle(&self, _: &[(StreamId, BatchNumbers, u32)]) {
        if let Some(doomed) = self.doomed.lock().unwrap().take() {
            doomed.abort();
        }
    }
}

#[tokio::test]
async fn what_a_request_that_ended_after_it_was_stored_had_to_set_aside_is_set_aside_by_its_retry() {
    let cluster = Arc::new(Memory::default());
    let world = World::before(cluster.clone()).await;
    let (hub, publisher) = (world.hub.clone(), world.publisher.clone());
    let (begin, begun) = tokio::sync::oneshot::channel();
    let request = tokio::spawn(async move {
        begun.await.unwrap();
        publish(&hub, &publisher, lines(2_000, false), Some("ended")).await
    });
    *cluster.doomed.lock().unwrap() = Some(request.abort_handle());
    begin.send(()).unwrap();
    assert!(request.await.unwrap_err().is_cancelled());
    assert_eq!(aside(&world.hub, &world.owner, 1_000).await.len(), 0);
    for _ in 0..2 {
        let again = publish(&world.hub, &world.publisher, lines(2_000, false), Some("ended")).await.unwrap();
        assert!(again.duplicate);
        assert_eq!(cluster.batches.load(SeqCst), 1);
        settled(&world.hub, &world.owner, 1_800).await;
    }
    for _ in 0..2 {
        publish(&world.hub, &world.publisher, lines(50, true), Some("all bad")).await.unwrap();
        settled(&world.hub, &world.owner, 1_850).await;
    }
    let kept = aside(&world.hub, &world.owner, 1_000).await;
    let event = |entry: &QuarantinedEvent| STANDARD.decode(entry.event.as_ref().unwrap()).unwrap();
    assert_eq!(event(&kept[0]), br#"{"id":"1","sku":"A","qty":0}"#);
    assert_eq!(event(&kept[1_799]), br#"{"id":"1999","sku":"A","qty":0}"#);

    let World { hub, dir, clock, .. } = world;
    drop(hub);
    let state = keyed_state(&dir).await;
    let kept = state.list("quarantine", b"", 100, clock.now()).await.unwrap();
    assert_eq!(kept.len(), 3, "in the state that nodes share, not in a file of this one");
    for word in [b"acme-orders".as_slice(), b"\"qty\"", STANDARD.encode(br#"{"id":"1999","#).as_bytes()] {
        let lies_open = |(_, entry): &(_, Entry)| entry.value.windows(word.len()).any(|part| part == word);
        assert!(!kept.iter().any(lies_open), "and for nobody to read there");
    }
}
