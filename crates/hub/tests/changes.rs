//! What changes under those who read and publish: who still may goes on and hears nothing of it.

mod support;

use std::time::Duration;

use support::{CONTRACT, World, limits, product};
use tradelane_hub::{FetchRecords, From, Hub};

const EVENT: &str = r#"{"id":"1","sku":"A","qty":1}"#;

/// The contract's next revision, of which there is a new one for each number.
async fn revise(world: &World, number: u32) {
    let text = CONTRACT.replace("version: 1.0.0", &format!("version: 1.0.{number}"));
    world.hub.apply(&world.owner, &[("contract.yaml".into(), text)], false).await.unwrap();
}

#[tokio::test]
async fn who_waits_for_events_gets_them_although_the_contract_was_revised_meanwhile() {
    let world = World::new().await;
    world.publish(EVENT).await.unwrap();
    let reader = world.hub.reader(&world.near, &product(), None).await.unwrap();
    let waiting = world.hub.read(&reader, From::Latest, limits(Duration::from_secs(30)));
    let records = world.hub.wait_records(&reader, 0, 1);
    let changing = async {
        for number in 1..4 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            revise(&world, number).await;
        }
        world.publish(EVENT).await.unwrap();
    };
    let (read, waited, ()) = tokio::join!(waiting, records, changing);
    assert_eq!(read.map(|page| page.value().count).unwrap(), 1);
    waited.unwrap();
}

#[tokio::test]
async fn a_page_that_was_prepared_before_a_revision_is_handed_out_empty_and_comes_whole_the_next_time() {
    let world = World::new().await;
    world.publish(EVENT).await.unwrap();
    let reader = world.hub.reader(&world.near, &product(), None).await.unwrap();
    let all = FetchRecords { partition: 0, offset: 0, max_bytes: 1 << 20 };
    let prepared = world.hub.prepare_records(&reader, all).await.unwrap();
    assert!(prepared.bytes() > 0);
    revise(&world, 1).await;
    let past = world.hub.release_records(prepared).await.unwrap();
    assert!(past.batches.is_empty(), "it was rendered as the earlier revision says");
    assert_eq!((past.next, past.leaf), (0, None));
    let now = world.hub.fetch_records(&reader, all).await.unwrap();
    assert!(!now.batches.is_empty() && now.leaf.is_some());
}

#[tokio::test]
async fn a_contract_that_is_another_products_ends_nobodys_page() {
    let world = World::new().await;
    world.publish(EVENT).await.unwrap();
    let reader = world.hub.reader(&world.near, &product(), None).await.unwrap();
    let all = FetchRecords { partition: 0, offset: 0, max_bytes: 1 << 20 };
    let prepared = world.hub.prepare_records(&reader, all).await.unwrap();
    let other = CONTRACT.replacen("id: acme-orders", "id: acme-others", 1);
    assert_ne!(other, CONTRACT);
    world.hub.apply(&world.owner, &[("other.yaml".into(), other)], false).await.unwrap();
    let page = world.hub.release_records(prepared).await.unwrap();
    assert!(!page.batches.is_empty() && page.leaf.is_some());
}

#[tokio::test]
async fn no_publisher_is_refused_because_a_contract_is_revised_again_and_again() {
    let world = World::new().await;
    let lines = vec![EVENT; 200].join("\n");
    let publishing = async {
        let mut stored = 0;
        for _ in 0..60 {
            world.publish(&lines).await.unwrap();
            stored += 200;
        }
        stored
    };
    let revising = async {
        for number in 1.. {
            revise(&world, number).await;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let stored = tokio::select! {
        stored = publishing => stored,
        () = revising => unreachable!("revisions do not end"),
    };
    assert_eq!(end(&world.hub, &world).await, stored);
}

async fn end(hub: &Hub, world: &World) -> u64 {
    let reader = hub.reader(&world.owner, &product(), None).await.unwrap();
    hub.record_bounds(&reader, 0).await.unwrap().end
}
