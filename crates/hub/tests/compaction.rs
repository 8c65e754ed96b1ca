//! Of the events of each key only the last one stays: for products that say so, after a while, and for all readers alike.

mod support;

use bytes::Bytes;
use std::time::Duration;

use support::World;
use support::records::{Got, Sent, batch, got};
use tradelane_hub::compact::{COMPACTION_LAG, TOMBSTONE_RETENTION};
use tradelane_hub::publish::{Body, Publish};
use tradelane_hub::{Caller, FetchRecords, From, PublishRecords, ReadLimits, RecordsOutcome};
use tradelane_model::{ProductId, codes};
use tradelane_records::BatchHead;

const STOCK: &str = r#"
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
      - {name: cost, logicalType: number, classification: confidential}
customProperties:
  - property: tradelane
    value:
      purposes: [planning]
      records:
        key: {class: confidential}
"#;

fn products(cleanup: &str) -> String {
    format!(
        r#"
apiVersion: tradelane/v1
kind: Product
spec: {{id: acme-stock, owner: acme, contract: acme-stock, cleanup: {cleanup}}}
---
apiVersion: tradelane/v1
kind: Product
spec: {{id: acme-levels, owner: acme, contract: acme-stock, cleanup: compact, partitions: 10}}
---
apiVersion: tradelane/v1
kind: Grant
spec: {{id: near-stock, product: acme-stock, consumer: near, purpose: planning, view: {{classes: {{confidential: drop}}}}}}
"#
    )
}

struct Stock {
    world: World,
    product: ProductId,
}

impl Stock {
    async fn new() -> Self {
        let stock = Self { world: World::new().await, product: "acme-stock".parse().unwrap() };
        stock.with("compact").await;
        stock
    }

    async fn with(&self, cleanup: &str) {
        let files = [("c.yaml".into(), STOCK.into()), ("p.yaml".into(), products(cleanup))];
        self.world.hub.apply(&self.world.owner, &files, false).await.unwrap();
    }

    async fn send(&self, records: &[Sent<'_>]) -> RecordsOutcome {
        let batch = batch(records, BatchHead::default());
        let publish = PublishRecords { product: self.product.clone(), partition: 0, batch };
        self.world.hub.publish_records(&self.world.publisher, publish).await.unwrap()
    }

    /// Levels of articles, in one batch; without a level, the article is no more.
    async fn levels(&self, levels: &[(&str, Option<u32>)]) {
        let texts: Vec<_> = levels
            .iter()
            .map(|(sku, level)| level.map(|level| format!(r#"{{"sku":"{sku}","level":{level},"cost":1.5}}"#)))
            .collect();
        let sent: Vec<Sent<'_>> = levels
            .iter()
            .zip(&texts)
            .map(|((sku, _), text)| Sent { key: Some(sku), value: text.as_deref(), headers: Vec::new() })
            .collect();
        assert!(matches!(self.send(&sent).await, RecordsOutcome::Stored(_)));
    }

    async fn retained(&self) -> u64 {
        self.world.hub.retain().await.unwrap().superseded
    }

    async fn fetched(&self, caller: &Caller, offset: u64) -> Vec<Got> {
        let reader = self.world.hub.reader(caller, &self.product, None).await.unwrap();
        let mut all = Vec::new();
        let mut at = offset;
        loop {
            let fetch = FetchRecords { partition: 0, offset: at, max_bytes: 1 };
            let page = self.world.hub.fetch_records(&reader, fetch).await.unwrap();
            all.extend(got(&page).into_iter().filter(|record| record.offset >= at.cast_signed()));
            assert!(page.next > at || at == page.end, "whoever fetches gets on");
            if page.next == page.end {
                return all;
            }
            at = page.next;
        }
    }

    /// What there is, as `offset key=level`, without values where there is none.
    async fn seen(&self) -> Vec<String> {
        let level = |record: &Got| {
            let value: Option<serde_json::Value> = record.value.as_deref().map(|v| serde_json::from_str(v).unwrap());
            value.map_or("gone".to_owned(), |value| value["level"].to_string())
        };
        let own = self.fetched(&self.world.owner, 0).await;
        own.iter().map(|r| format!("{} {}={}", r.offset, r.key.as_deref().unwrap_or("none"), level(r))).collect()
    }
}

#[tokio::test]
async fn the_last_event_of_each_key_stays_where_it_was_for_every_reader() {
    let stock = Stock::new().await;
    let world = &stock.world;
    stock.levels(&[("a", Some(1)), ("b", Some(1)), ("a", Some(2))]).await;
    stock.levels(&[("a", Some(3))]).await;
    stock.levels(&[("c", Some(1)), ("b", Some(2))]).await;
    let before = stock.fetched(&world.near, 0).await;
    assert_eq!(stock.retained().await, 0, "what is young stays");
    assert_eq!(before.len(), 6);
    world.clock.pass(COMPACTION_LAG + 1);
    stock.levels(&[("c", Some(9))]).await;

    assert_eq!(stock.retained().await, 3);
    let stayed = ["3 a=3", "4 c=1", "5 b=2", "6 c=9"];
    assert_eq!(stock.seen().await, stayed, "the youngest supersedes nothing yet");
    // Offsets stay, from wherever one goes on, and each view shows what it showed before.
    for offset in 0..7 {
        let near = stock.fetched(&world.near, offset).await;
        let expected: Vec<_> = before.iter().filter(|r| r.offset >= 3.max(offset.cast_signed())).cloned().collect();
        assert_eq!(near[..near.len() - 1], expected);
        assert!(near.iter().all(|record| !record.value.as_ref().unwrap().contains("cost")));
    }
    let reader = world.hub.reader(&world.near, &stock.product, None).await.unwrap();
    let limits = ReadLimits { max_events: 2, max_bytes: 1 << 20, wait: Duration::ZERO };
    for (from, offsets) in [(0, [3, 4]), (2, [3, 4]), (4, [4, 5]), (5, [5, 6])] {
        let page = world.hub.read(&reader, From::Offset(from), limits).await.unwrap();
        let read: Vec<u64> =
            page.value().chunks.iter().flat_map(|chunk| chunk.iter().map(|event| event.offset)).collect();
        assert_eq!(read, offsets, "over HTTP from {from}");
    }
    assert_eq!(stock.retained().await, 0, "nothing to do");
    let trail = world.hub.trail(&world.auditor, tradelane_hub::TrailQuery { max: 1_000, ..Default::default() }).await;
    let leaf =
        trail.unwrap().value().leaves.iter().rev().find(|(_, leaf)| leaf.action.as_str() == "compaction").cloned();
    let (_, leaf) = leaf.expect("it is on record");
    assert_eq!((leaf.count, leaf.offsets), (3, Some((0, 3))), "where something went");
}

#[tokio::test]
async fn a_key_that_is_no_more_is_told_for_a_day_and_then_leaves_nothing() {
    let stock = Stock::new().await;
    stock.levels(&[("a", Some(1)), ("b", Some(1))]).await;
    stock.levels(&[("a", None)]).await;
    stock.world.clock.pass(COMPACTION_LAG + 1);
    assert_eq!(stock.retained().await, 1);
    assert_eq!(stock.seen().await, ["1 b=1", "2 a=gone"]);
    stock.world.clock.pass(TOMBSTONE_RETENTION + 1);
    for n in 0..4 {
        stock.levels(&[("d", Some(n))]).await;
    }
    stock.world.clock.pass(COMPACTION_LAG + 1);
    assert_eq!(stock.retained().await, 4);
    assert_eq!(stock.seen().await, ["1 b=1", "6 d=3"]);
    stock.levels(&[("a", Some(7))]).await;
    assert_eq!(stock.seen().await, ["1 b=1", "6 d=3", "7 a=7"], "and may be again");
}

#[tokio::test]
async fn a_round_after_a_restart_or_a_change_of_mind_finds_the_same() {
    let stock = Stock::new().await;
    stock.with("delete").await;
    for n in 0..300 {
        stock.levels(&[(["a", "b", "c"][n % 3], Some(n as u32))]).await;
    }
    stock.world.clock.pass(COMPACTION_LAG + 1);
    assert_eq!(stock.retained().await, 0, "events stay unless the product says otherwise");
    stock.with("compact").await;
    assert_eq!(stock.retained().await, 297);
    let stayed = ["297 a=297", "298 b=298", "299 c=299"];
    assert_eq!(stock.seen().await, stayed);
    let Stock { world, product } = stock;
    let (clock, dir) = (world.clock.clone(), world.dir);
    let callers = (world.owner.clone(), world.near.clone());
    drop(world.hub);
    let (hub, _) = tradelane_hub::Hub::open(support::config(&dir, &clock)).await.unwrap();
    assert_eq!(hub.retain().await.unwrap().superseded, 0);
    let reader = hub.reader(&callers.0, &product, None).await.unwrap();
    let fetch = FetchRecords { partition: 0, offset: 0, max_bytes: 1 << 20 };
    let kept: Vec<i64> = got(&hub.fetch_records(&reader, fetch).await.unwrap()).iter().map(|r| r.offset).collect();
    assert_eq!(kept, [297, 298, 299]);
}

#[tokio::test]
async fn an_event_without_a_key_is_refused_wherever_it_comes_from() {
    let stock = Stock::new().await;
    let event = r#"{"sku":"a","level":1}"#;
    let keyless = Sent { key: None, value: Some(event), headers: Vec::new() };
    let RecordsOutcome::Refused(refused) = stock.send(&[keyless]).await else { panic!("it has no key") };
    assert_eq!(refused[0].code, codes::KEY_REQUIRED);
    let publish = |product: &str, body: Body| {
        let product = product.parse().unwrap();
        let publish = Publish { product, body, idempotency_key: None, proceed: false, partition: None, version: None };
        stock.world.hub.publish(&stock.world.publisher, publish)
    };
    let code = |outcome: tradelane_hub::Result<_>| outcome.err().map(|error: tradelane_hub::HubError| error.code);
    for body in [Body::One(event.into()), Body::Array(format!("[{event}]").into()), Body::Lines(event.into())] {
        assert_eq!(code(publish("acme-stock", body).await), Some(codes::KEY_REQUIRED));
    }
    let cloud = |id: u32, key: &str| {
        format!(r#"{{"specversion":"1.0","id":"{id}","source":"/erp","type":"level"{key},"data":{event}}}"#)
    };
    let structured = |id: u32, key: &str| Body::CloudEvent(cloud(id, key).into());
    assert_eq!(code(publish("acme-stock", structured(1, "")).await), Some(codes::KEY_REQUIRED));
    for bad in [r#","partitionkey":"""#, r#","partitionkey":7"#] {
        assert_eq!(code(publish("acme-stock", structured(1, bad)).await), Some(codes::CLOUDEVENT_INVALID));
    }
    let a = r#","partitionkey":"a\u00e9""#;
    publish("acme-stock", structured(2, a)).await.unwrap();
    let attributes = [("specversion", "1.0"), ("id", "3"), ("source", "/erp"), ("type", "l"), ("partitionkey", "aé")];
    let attributes = attributes.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    publish("acme-stock", Body::CloudEventBinary { attributes, data: Bytes::from_static(event.as_bytes()) })
        .await
        .unwrap();
    let keys: Vec<_> = stock.fetched(&stock.world.owner, 0).await.into_iter().map(|record| record.key).collect();
    assert_eq!(keys, [Some("aé".to_owned()), Some("aé".to_owned())]);

    // Where there are several partitions it is the one that Kafka's own clients choose.
    let (abc, foobar) = (r#","partitionkey":"abc""#, r#","partitionkey":"foobar""#);
    let done = publish("acme-levels", structured(4, abc)).await.unwrap();
    assert_eq!(done.value().only().unwrap().partition, 7);
    let both = Body::CloudEvents(format!("[{},{}]", cloud(5, abc), cloud(6, foobar)).into());
    let done = publish("acme-levels", both).await.unwrap();
    let places: Vec<_> = done.value().parts.iter().map(|part| (part.partition, part.offset, part.count)).collect();
    assert_eq!(places, [(6, 0, 1), (7, 1, 1)]);
    let twice = Body::CloudEvents(format!("[{},{}]", cloud(7, abc), cloud(8, abc)).into());
    assert_eq!(publish("acme-levels", twice).await.unwrap().value().only().unwrap().partition, 7);
}

#[tokio::test]
async fn whatever_is_published_and_whenever_it_is_compacted_the_last_of_each_key_is_there() {
    let stock = Stock::new().await;
    let mut dice = 7u64;
    let mut roll = |sides: u64| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) % sides
    };
    const KEYS: [&str; 7] = ["a", "b", "c", "d", "e", "f", "g"];
    let mut sent: Vec<(&str, Option<u32>)> = Vec::new();
    let mut gone = 0;
    for _ in 0..60 {
        for _ in 0..roll(6) {
            let one = |roll: &mut dyn FnMut(u64) -> u64| {
                let level = (roll(5) > 0).then(|| roll(1_000) as u32);
                (KEYS[roll(7) as usize], level)
            };
            let records: Vec<_> = (0..=roll(4)).map(|_| one(&mut roll)).collect();
            stock.levels(&records).await;
            sent.extend(records);
        }
        stock.world.clock.pass(roll(2 * TOMBSTONE_RETENTION.unsigned_abs() / 10).cast_signed());
        gone += stock.retained().await;

        let seen = stock.fetched(&stock.world.owner, 0).await;
        assert!(seen.windows(2).all(|pair| pair[0].offset < pair[1].offset), "in order, and none twice");
        let mut last = std::collections::BTreeMap::new();
        for record in &seen {
            let (key, level) = sent[record.offset as usize];
            assert_eq!(record.key.as_deref(), Some(key), "each is what was sent");
            assert_eq!(record.value.is_some(), level.is_some());
            if let (Some(level), Some(value)) = (level, &record.value) {
                assert!(value.contains(&format!(r#""level":{level},"#)), "{value}");
            }
            last.insert(key, record.offset);
        }
        for key in KEYS {
            let Some(offset) = sent.iter().rposition(|(sent, _)| *sent == key) else { continue };
            let there = last.get(key).map(|offset| *offset as usize) == Some(offset);
            // A key that is no more may be forgotten, but nothing older may come back.
            let forgotten = sent[offset].1.is_none() && !last.contains_key(key);
            assert!(there || forgotten, "{key}: {offset}, {last:?}");
        }
    }
    assert!(gone > 100 && sent.len() > 200, "{gone} of {}", sent.len());
}
