//! Products whose events are compressed before they are encrypted: smaller, and otherwise as if they were not.

mod support;

use std::time::Duration;

use bytes::Bytes;
use support::{World, config, keyed_state, product};
use tradelane_hub::{Caller, Clock as _, Hub, Presented, PublishRecords, Reader, SealOutcome};
use tradelane_records::{Batch, BatchBuilder, BatchHead, HeaderSource, Limits};

pub(crate) const COMPRESSION: &str = "compression: dictionary";

pub(crate) async fn compress(hub: &Hub, owner: &Caller, how: &str) {
    let text = support::PRODUCT.replace("discoverable: true", how);
    assert!(text.contains(how));
    hub.apply(owner, &[("product.yaml".into(), text)], false).await.unwrap();
}

fn order(n: usize) -> String {
    let sku = ["A", "B", "C"][n % 3];
    format!(
        r#"{{"id":"order-of-the-day-{n}","sku":"{sku}","qty":{qty},"price":{n}.5,"customer":{{"email":"ann{n}@example.org","name":"Ann of the {n}th"}}}}"#,
        qty = n + 1
    )
}

pub(crate) fn lines(orders: std::ops::Range<usize>) -> String {
    orders.map(|n| order(n) + "\n").collect()
}

/// A batch of orders as a cluster would store it, sealed.
pub(crate) async fn sealed(hub: &Hub, caller: &Caller, orders: std::ops::Range<usize>) -> Bytes {
    let mut bytes = Vec::new();
    let count = orders.len() as i32;
    let mut builder = BatchBuilder::new(&mut bytes, &BatchHead::default());
    for (delta, n) in (0..).zip(orders) {
        builder.push(delta, 0, None, Some(order(n).as_bytes()), HeaderSource::NONE).unwrap();
    }
    builder.finish(count - 1).unwrap();
    let publish = PublishRecords { product: product(), partition: 0, batch: bytes.into() };
    match hub.seal_records(caller, publish).await.unwrap() {
        SealOutcome::Sealed(sealed) => sealed.batch,
        SealOutcome::Refused(refused) => panic!("{refused:?}"),
    }
}

/// What a reader sees of it.
pub(crate) async fn shown(hub: &Hub, reader: &Reader, batch: &Bytes) -> Vec<String> {
    let page = hub.render_records(reader, 0, 0, vec![batch.clone()]).await.unwrap();
    let mut values = Vec::new();
    for bytes in &page.batches {
        let (batch, _) = Batch::parse(bytes, &Limits::default()).unwrap();
        if batch.is_control() {
            continue;
        }
        let records = batch.plain_records(&Limits::default()).unwrap();
        values.extend(records.map(|record| String::from_utf8(record.unwrap().value.unwrap().to_vec()).unwrap()));
    }
    values
}

/// A thousand orders, in batches so small that each is sealed by one thread, which learns from all of it.
async fn teach(world: &World, first: usize) {
    for from in (first..first + 1_000).step_by(100) {
        world.publish(&lines(from..from + 100)).await.unwrap();
    }
}

pub(crate) async fn until_learned(hub: &Hub) {
    while hub.stats().dictionaries == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_product_learns_a_dictionary_from_its_events_and_everybody_reads_the_same() {
    let world = World::new().await;
    let before = sealed(&world.hub, &world.publisher, 0..50).await;
    world.publish(&lines(0..5)).await.unwrap();
    compress(&world.hub, &world.owner, "compression: event").await;
    world.publish(&lines(5..10)).await.unwrap();
    let by_itself = sealed(&world.hub, &world.publisher, 0..50).await;
    compress(&world.hub, &world.owner, COMPRESSION).await;
    assert_eq!(world.hub.stats().dictionaries, 0);
    teach(&world, 10).await;
    until_learned(&world.hub).await;
    world.publish(&lines(1_010..1_020)).await.unwrap();
    let with_dictionary = sealed(&world.hub, &world.publisher, 0..50).await;
    compress(&world.hub, &world.owner, "discoverable: true").await;
    world.publish(&lines(1_020..1_025)).await.unwrap();

    let sizes = [before.len(), by_itself.len(), with_dictionary.len()];
    assert!(sizes[2] < sizes[1] && sizes[1] < sizes[0], "{sizes:?}");
    for caller in [&world.owner, &world.near, &world.far] {
        let reader = world.hub.reader(caller, &product(), None).await.unwrap();
        let plain = shown(&world.hub, &reader, &before).await;
        assert!(!plain.is_empty());
        assert_eq!(shown(&world.hub, &reader, &by_itself).await, plain);
        assert_eq!(shown(&world.hub, &reader, &with_dictionary).await, plain);
    }
    let own = world.read(&world.owner).await.unwrap();
    assert_eq!(own.len(), 1_025);
    for (n, event) in own.iter().enumerate() {
        assert_eq!(*event, serde_json::from_str::<serde_json::Value>(&order(n)).unwrap());
    }
    let reader = world.hub.reader(&world.owner, &product(), None).await.unwrap();
    assert_eq!(shown(&world.hub, &reader, &with_dictionary).await[7], order(7), "byte by byte");
}

#[tokio::test]
async fn a_dictionary_is_there_after_a_restart_and_holds_nothing_that_is_classified() {
    let world = World::new().await;
    compress(&world.hub, &world.owner, COMPRESSION).await;
    teach(&world, 0).await;
    until_learned(&world.hub).await;
    let with_dictionary = sealed(&world.hub, &world.publisher, 0..50).await;
    let World { hub, dir, clock, owner_key, publisher_key, .. } = world;
    drop(hub);
    let (_, entry) = keyed_state(&dir).await.list("dictionary", b"", 1, clock.now()).await.unwrap().remove(0);
    let has = |word: &str| entry.value.windows(word.len()).any(|window| window == word.as_bytes());
    assert!(has("order-of-the-day"));
    assert!(!has("example.org") && !has("Ann"), "classified values are in it");
    let files = ["data/control.db", "data/control.db-wal"].map(|file| dir.path().join(file));
    for file in files {
        let stored = std::fs::read(file).unwrap_or_default();
        assert!(!stored.windows(12).any(|window| window == b"order-of-the"), "it is encrypted at rest");
    }

    let hub = loop {
        // The last tasks of the one before give its files up.
        match Hub::open(config(&dir, &clock)).await {
            Ok((hub, _)) => break hub,
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    };
    let owner = hub.authenticate(Presented::ApiKey(&owner_key)).unwrap();
    let publisher = hub.authenticate(Presented::ApiKey(&publisher_key)).unwrap();
    let reader = hub.reader(&owner, &product(), None).await.unwrap();
    assert_eq!(shown(&hub, &reader, &with_dictionary).await.len(), 50);
    let again = sealed(&hub, &publisher, 0..50).await;
    assert!(again.len().abs_diff(with_dictionary.len()) < 16, "it is used from the first event on");
}

#[tokio::test]
async fn what_needs_a_dictionary_that_is_gone_is_withheld_and_the_rest_is_shown() {
    let world = World::new().await;
    let plain = sealed(&world.hub, &world.publisher, 0..5).await;
    compress(&world.hub, &world.owner, COMPRESSION).await;
    teach(&world, 0).await;
    until_learned(&world.hub).await;
    let with_dictionary = sealed(&world.hub, &world.publisher, 0..5).await;

    let World { hub, dir, clock, owner_key, .. } = world;
    drop(hub);
    let state = keyed_state(&dir).await;
    let (key, _) = state.list("dictionary", b"", 1, clock.now()).await.unwrap().remove(0);
    assert!(state.delete("dictionary", &key, clock.now()).await.unwrap());
    drop(state);
    let hub = loop {
        match Hub::open(config(&dir, &clock)).await {
            Ok((hub, _)) => break hub,
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    };
    let owner = hub.authenticate(Presented::ApiKey(&owner_key)).unwrap();
    let reader = hub.reader(&owner, &product(), None).await.unwrap();
    assert_eq!(shown(&hub, &reader, &with_dictionary).await, Vec::<String>::new());
    assert_eq!(shown(&hub, &reader, &plain).await.len(), 5);
}

#[tokio::test]
async fn an_erased_person_is_gone_from_compressed_events() {
    let world = World::new().await;
    compress(&world.hub, &world.owner, COMPRESSION).await;
    teach(&world, 0).await;
    until_learned(&world.hub).await;
    let batch = sealed(&world.hub, &world.publisher, 0..3).await;
    let reader = world.hub.reader(&world.owner, &product(), None).await.unwrap();
    assert!(shown(&world.hub, &reader, &batch).await[1].contains("ann1@example.org"));
    world.hub.erase(&world.privacy, "ann1@example.org").await.unwrap();
    let reader = world.hub.reader(&world.owner, &product(), None).await.unwrap();
    let after = shown(&world.hub, &reader, &batch).await;
    assert_eq!(after[1], r#"{"id":"order-of-the-day-1","sku":"B","qty":2,"price":1.5,"customer":{}}"#);
    assert_eq!(after[2], order(2));
}
