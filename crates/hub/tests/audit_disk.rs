//! What cannot be put on record does not happen: a hub whose audit log lies on a disk that is full.
//!
//! The audit log's folder leads to a small file system of its own, as an operator may well have it.

mod support;

use std::time::Duration;

use support::{World, limits, product};
use tradelane_hub::publish::{Body, Publish, Published};
use tradelane_hub::{Audited, From, Hub, Result};
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
