//! What cannot be put on record does not happen: a hub whose audit log lies on a disk that is full.
//!
//! The audit log's folder leads to a small file system of its own, as an operator may well have it.

mod support;

use std::time::Duration;

use support::{CONTRACT, PRODUCT, World, limits, product};
use tradelane_hub::compact::COMPACTION_LAG;
use tradelane_hub::publish::{Body, Publish, Published};
use tradelane_hub::{Audited, From, Hub, Result, TrailQuery};
use tradelane_model::codes;
use tradelane_testkit::TinyDisk;

async fn publish(world: &World, n: usize) -> Result<Audited<Published>> {
    let event = format!(r#"{{"id":"{n}","sku":"A","qty":1,"customer":{{"email":"ann@example.org"}}}}"#);
    let request = Publish {
        product: product(),
        body: Body::One(event.into()),
        idempotency_key: Some(format!("key-{n}")),
        partition: None,
        version: None,
        proceed: false,
    };
    world.hub.publish(&world.publisher, request).await
}

/// Fills the disk to the last byte that a leaf could take; how many publishes were acknowledged meanwhile.
async fn until_refused(world: &World, from: usize) -> usize {
    for n in from..from + 10_000 {
        if let Err(error) = publish(world, n).await {
            assert_eq!((error.code, error.code.info().status), (codes::AUDIT_UNAVAILABLE, 503));
            // A smaller leaf may still fit.
            while world.hub.catalog(&world.near).await.is_ok() {}
            return n;
        }
    }
    panic!("the disk never filled up");
}

async fn ready(hub: &Hub) -> bool {
    hub.health().await.ready
}

#[tokio::test]
async fn a_hub_whose_audit_disk_is_full_shows_nothing_acknowledges_nothing_and_recovers() {
    let Some(disk) = TinyDisk::mount(4) else { return };
    let world = World::with_audit_at(disk.path()).await;
    publish(&world, 0).await.unwrap();
    let reader = world.hub.reader(&world.near, &product(), None).await.unwrap();
    world.hub.read(&reader, From::Earliest, limits(Duration::ZERO)).await.unwrap();

    let filler = disk.fill_up();
    let refused = until_refused(&world, 1).await;
    for from in [From::Earliest, From::Offset(0), From::Latest] {
        let read = world.hub.read(&reader, from, limits(Duration::ZERO)).await;
        assert_eq!(read.err().map(|error| error.code), Some(codes::AUDIT_UNAVAILABLE), "nothing leaves");
    }
    assert!(world.hub.reader(&world.far, &product(), None).await.is_ok(), "a reader is no access yet");
    assert_eq!(world.read(&world.far).await.unwrap_err().code, codes::AUDIT_UNAVAILABLE);
    assert_eq!(world.hub.catalog(&world.near).await.err().map(|e| e.code), Some(codes::AUDIT_UNAVAILABLE));
    let revoked = world.hub.revoke(&world.owner, &"far-orders".parse().unwrap(), "over").await;
    assert_eq!(revoked.err().map(|e| e.code), Some(codes::AUDIT_UNAVAILABLE), "no change without its leaf");
    let erased = world.hub.erase(&world.privacy, "ann@example.org").await;
    assert_eq!(erased.err().map(|e| e.code), Some(codes::AUDIT_UNAVAILABLE), "no erasure either");
    assert_eq!(publish(&world, refused).await.err().map(|e| e.code), Some(codes::AUDIT_UNAVAILABLE));
    assert!(ready(&world.hub).await, "a full disk is not a broken one: the next write that fits goes through");

    std::fs::remove_file(filler).unwrap();
    let again = publish(&world, refused).await.unwrap();
    assert!(again.value().duplicate, "it was stored, and not acknowledged: the retry finds it");
    let page = world.hub.read(&reader, From::Earliest, limits(Duration::ZERO)).await.unwrap();
    assert_eq!(page.value().count as usize, refused + 1, "each once");
    let far = world.read(&world.far).await.unwrap();
    assert_eq!(far.len(), refused + 1, "the grant that could not be revoked on record still holds");
    let text = serde_json::to_string(&world.read(&world.owner).await.unwrap()).unwrap();
    assert!(text.contains("ann@example.org"), "and nobody was erased off the record");
    let receipt = world.hub.receipt(&world.near, page.leaf()).await.unwrap();
    assert!(receipt.value().verify(&world.hub.log_key().parse().unwrap()).is_ok());
    let erased = world.hub.erase(&world.privacy, "ann@example.org").await.unwrap();
    assert_eq!(erased.value().keys_destroyed, 1);
}

/// So full that nothing can be put on record any more.
async fn fill_up(disk: &TinyDisk, world: &World) -> std::path::PathBuf {
    let filler = disk.fill_up();
    while world.hub.catalog(&world.near).await.is_ok() {}
    filler
}

/// The last leaf of an action: the offsets that it names, and its count.
async fn last_leaf(world: &World, action: &str) -> Option<(Option<(u64, u64)>, u64)> {
    let trail = world.hub.trail(&world.auditor, TrailQuery { max: 1_000, ..Default::default() }).await.unwrap();
    let leaves = &trail.value().leaves;
    let last = leaves.iter().rev().find(|(_, leaf)| leaf.action.as_str() == action);
    last.map(|(_, leaf)| (leaf.offsets, leaf.count))
}

#[tokio::test]
async fn what_cannot_be_put_on_record_is_neither_compacted_nor_does_it_leave_the_log_or_the_quarantine() {
    let Some(disk) = TinyDisk::mount(4) else { return };
    let world = World::with_audit_at(disk.path()).await;
    let contract = CONTRACT.replace("value: 30, unit: d", "value: 1, unit: d");
    let compacted = PRODUCT.replace("discoverable: true", "cleanup: compact");
    assert!(contract != CONTRACT && compacted != PRODUCT);
    let files = [("contract.yaml".into(), contract), ("product.yaml".into(), compacted)];
    world.hub.apply(&world.owner, &files, false).await.unwrap();
    let send = async |n: usize, qty: usize| {
        let event = format!(
            r#"{{"specversion":"1.0","id":"{n}","source":"/erp","type":"order","partitionkey":"k",
                "data":{{"id":"{n}","sku":"A","qty":{qty}}}}}"#
        );
        let body = Body::CloudEvent(event.into());
        let (product, idempotency_key, partition, version) = (product(), None, None, None);
        let request = Publish { product, body, idempotency_key, partition, version, proceed: true };
        world.hub.publish(&world.publisher, request).await.unwrap();
    };
    for n in 0..3 {
        send(n, 1).await;
        send(n, 0).await;
    }
    let there = async || world.read(&world.owner).await.unwrap().len();
    let aside = async || world.hub.quarantine(&world.owner, &product(), 0, 10).await.unwrap().value().len();
    world.clock.pass(COMPACTION_LAG + 1);

    let filler = fill_up(&disk, &world).await;
    assert_eq!(world.hub.retain().await.unwrap().superseded, 0);
    std::fs::remove_file(filler).unwrap();
    assert_eq!((there().await, last_leaf(&world, "compaction").await), (3, None));
    assert_eq!(world.hub.retain().await.unwrap().superseded, 2, "the next round does it");
    assert_eq!((there().await, last_leaf(&world, "compaction").await), (1, Some((Some((0, 2)), 2))));

    world.clock.pass(20 * 86_400);
    let filler = fill_up(&disk, &world).await;
    assert_eq!(world.hub.retain().await.err().map(|error| error.code), Some(codes::AUDIT_UNAVAILABLE));
    std::fs::remove_file(filler).unwrap();
    assert_eq!((there().await, aside().await, last_leaf(&world, "retention").await), (1, 3, None));
    world.hub.retain().await.unwrap();
    assert_eq!((there().await, last_leaf(&world, "retention").await), (0, Some((Some((0, 2)), 3))));
    assert_eq!((aside().await, last_leaf(&world, "quarantine.retention").await), (0, Some((Some((0, 2)), 3))));
}

#[tokio::test]
async fn retention_takes_all_that_is_older_and_nothing_that_is_younger_and_is_on_record_once() {
    let world = World::new().await;
    for n in 0..23 {
        publish(&world, n).await.unwrap();
        world.clock.pass(86_400);
    }
    // Of 30 days: each day one more goes.
    world.clock.pass(8 * 86_400 - 60);
    for old in 1..=5 {
        for _ in 0..2 {
            world.hub.retain().await.unwrap();
            assert_eq!(last_leaf(&world, "retention").await, Some((Some((old - 1, old - 1)), 1)));
        }
        assert_eq!(world.read(&world.owner).await.unwrap().len() as u64, 23 - old);
        world.clock.pass(86_400);
    }
    world.clock.pass(7 * 86_400);
    world.hub.retain().await.unwrap();
    assert_eq!(last_leaf(&world, "retention").await, Some((Some((5, 12)), 8)));
    assert_eq!(world.read(&world.owner).await.unwrap().len(), 10);
}
