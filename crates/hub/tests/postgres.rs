//! The governed path with journal, keys and small state in PostgreSQL: the same tests as on the embedded stores, and two
//! hubs that share one database. Events stay in each node's own embedded log, and so does the record of accesses.
#![cfg(feature = "postgres")]
#![allow(clippy::duplicate_mod, reason = "the tests of other files are run once more, with their support")]

#[path = "compression.rs"]
mod compression;
#[path = "epcis.rs"]
mod epcis;
#[path = "governed_path.rs"]
mod governed_path;
mod support;

use std::sync::Arc;
use std::time::Duration;

use support::{World, config, limits, product};
use tradelane_hub::publish::{Body, Publish};
use tradelane_hub::{Caller, From, Hub, Presented, Reader};
use tradelane_model::codes;

const EVENT: &str = r#"{"id":"1","sku":"A","qty":3,"customer":{"email":"ann@example.org","name":"Ann"}}"#;

/// How long a node may take to follow another: it looks every half second.
const PATIENCE: Duration = Duration::from_secs(20);

/// A world on PostgreSQL, and a second hub on the same database and root key with folders of its own.
struct Pair {
    a: World,
    b: Hub,
    folder: tempfile::TempDir,
}

impl Pair {
    async fn new() -> Option<Self> {
        let url = support::postgres::database()?;
        let a = World::on_database(&url).await;
        let folder = tempfile::tempdir().unwrap();
        std::fs::copy(a.dir.path().join("root.key"), folder.path().join("root.key")).unwrap();
        std::fs::write(folder.path().join(support::DATABASE), url).unwrap();
        let mut other = config(&folder, &a.clock);
        let refused = Hub::open(other.clone()).await.err().expect("two logs under one name");
        assert!(refused.detail.contains("audit_origin"), "{}", refused.detail);
        other.origin = "hub-b.test/audit".into();
        let (b, opened) = Hub::open(other).await.unwrap();
        assert!(opened.recovered.iter().any(|store| store.contains("hub")), "{opened:?}");
        assert!(b.bootstrap().await.unwrap().is_none(), "the first operator is there already");
        Some(Self { a, b, folder })
    }

    fn on_b(&self, caller: &str) -> Caller {
        self.b.authenticate(Presented::ApiKey(caller)).unwrap()
    }
}

async fn publish(hub: &Hub, caller: &Caller) {
    let request = Publish {
        product: product(),
        body: Body::One(EVENT.into()),
        idempotency_key: None,
        proceed: false,
        partition: None,
        version: None,
    };
    hub.publish(caller, request).await.unwrap();
}

async fn text(hub: &Hub, reader: &Reader) -> String {
    let page = hub.read(reader, From::Earliest, limits(Duration::ZERO)).await.unwrap();
    page.value().chunks.iter().map(|chunk| String::from_utf8(chunk.lines().to_vec()).unwrap()).collect()
}

#[tokio::test]
async fn a_grant_revoked_on_one_node_cuts_off_who_waits_on_the_other() {
    let Some(pair) = Pair::new().await else { return };
    let near = pair.on_b(&pair.a.near_key);
    let publisher = pair.on_b(&pair.a.publisher_key);
    publish(&pair.b, &publisher).await;
    let reader = pair.b.reader(&near, &product(), None).await.unwrap();
    assert!(text(&pair.b, &reader).await.contains("\"sku\":\"A\""));
    let (hub, waiting) = (pair.b.clone(), reader.clone());
    let waiter = tokio::spawn(async move {
        hub.read(&waiting, From::Latest, limits(Duration::from_secs(50))).await.map(|page| page.value().count)
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    pair.a.hub.revoke(&pair.a.owner, &"near-orders".parse().unwrap(), "over").await.unwrap();
    let cut = tokio::time::timeout(PATIENCE, waiter).await.expect("it follows").unwrap();
    assert_eq!(cut.unwrap_err().code, codes::GRANT_ENDED);
    let again = pair.b.read(&reader, From::Earliest, limits(Duration::ZERO)).await;
    assert_eq!(again.err().map(|error| error.code), Some(codes::GRANT_ENDED));
    assert_eq!(pair.b.reader(&near, &product(), None).await.err().map(|e| e.code), Some(codes::NO_GRANT));
}

#[tokio::test]
async fn a_person_erased_on_one_node_is_unreadable_on_the_other() {
    let Some(pair) = Pair::new().await else { return };
    let (owner, publisher) = (pair.on_b(&pair.a.owner_key), pair.on_b(&pair.a.publisher_key));
    publish(&pair.a.hub, &pair.a.publisher).await;
    publish(&pair.b, &publisher).await;
    let reader = pair.b.reader(&owner, &product(), None).await.unwrap();
    assert!(text(&pair.b, &reader).await.contains("ann@example.org"), "sealed, read and rendered before: all cached");
    let erased = pair.a.hub.erase(&pair.a.privacy, "ann@example.org").await.unwrap();
    assert_eq!(erased.value().keys_destroyed, 1, "one key for both nodes");
    let gone = async {
        while text(&pair.b, &pair.b.reader(&owner, &product(), None).await.unwrap()).await.contains("ann@") {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("it follows");
    publish(&pair.b, &publisher).await;
    let after = text(&pair.b, &pair.b.reader(&owner, &product(), None).await.unwrap()).await;
    assert_eq!(after.matches("ann@example.org").count(), 1, "who comes back has a new key, what was stays gone");
    // And a node that starts now finds it gone.
    let (folder, clock) = (pair.folder, Arc::clone(&pair.a.clock));
    drop((reader, pair.b));
    let mut other = config(&folder, &clock);
    other.origin = "hub-b.test/audit".into();
    let (b, _) = Hub::open(other).await.unwrap();
    let owner = b.authenticate(Presented::ApiKey(&pair.a.owner_key)).unwrap();
    let reader = b.reader(&owner, &product(), None).await.unwrap();
    assert_eq!(text(&b, &reader).await.matches("ann@example.org").count(), 1);
}

/// Sealed on one node, as a cluster stores it, and shown on the other.
#[tokio::test]
async fn nodes_that_learn_at_once_agree_on_one_dictionary_and_read_each_others_events() {
    let Some(pair) = Pair::new().await else { return };
    let (owner, publisher) = (pair.on_b(&pair.a.owner_key), pair.on_b(&pair.a.publisher_key));
    compression::compress(&pair.a.hub, &pair.a.owner, compression::COMPRESSION).await;
    let batch = |text: String| Publish {
        product: product(),
        body: Body::Lines(text.into()),
        idempotency_key: None,
        proceed: false,
        partition: None,
        version: None,
    };
    // By then the other node knows of the change.
    tokio::time::sleep(Duration::from_secs(2)).await;
    // Each batch so small that one thread seals it, and learns from all of it.
    for from in (0..1_000).step_by(100) {
        let (a, b) = tokio::join!(
            pair.a.hub.publish(&pair.a.publisher, batch(compression::lines(from..from + 100))),
            pair.b.publish(&publisher, batch(compression::lines(from..from + 100))),
        );
        a.unwrap();
        b.unwrap();
    }
    compression::until_learned(&pair.b).await;
    let learned = async {
        loop {
            let on_a = compression::sealed(&pair.a.hub, &pair.a.publisher, 0..50).await;
            let on_b = compression::sealed(&pair.b, &publisher, 0..50).await;
            if on_a.len() == on_b.len() && on_a.len() < 50 * 400 {
                return (on_a, on_b);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let (on_a, on_b) = tokio::time::timeout(PATIENCE, learned).await.expect("both have it");
    assert_eq!((pair.a.hub.stats().dictionaries, pair.b.stats().dictionaries), (1, 1));
    let reader_a = pair.a.hub.reader(&pair.a.owner, &product(), None).await.unwrap();
    let reader_b = pair.b.reader(&owner, &product(), None).await.unwrap();
    let shown = compression::shown(&pair.b, &reader_b, &on_a).await;
    assert_eq!(shown.len(), 50);
    assert_eq!(compression::shown(&pair.a.hub, &reader_a, &on_b).await, shown);
}

/// As readers of a cluster's topic are shown what another node publishes to it.
#[tokio::test]
async fn what_one_node_sealed_under_a_revision_that_the_other_has_not_heard_of_is_shown_by_that_one_too() {
    let Some(pair) = Pair::new().await else { return };
    let owner = pair.on_b(&pair.a.owner_key);
    for number in 1..8 {
        let text = support::CONTRACT.replace("version: 1.0.0", &format!("version: 1.0.{number}"));
        pair.a.hub.apply(&pair.a.owner, &[("contract.yaml".into(), text)], false).await.unwrap();
        let on_a = compression::sealed(&pair.a.hub, &pair.a.publisher, 0..5).await;
        let reader = pair.b.reader(&owner, &product(), None).await.unwrap();
        assert_eq!(compression::shown(&pair.b, &reader, &on_a).await.len(), 5);
    }
}

#[tokio::test]
async fn changes_on_both_nodes_at_once_are_all_made_and_both_know_them() {
    let Some(pair) = Pair::new().await else { return };
    let operator = pair.on_b(&pair.a.operator_key);
    let organization = |id: &str| {
        let text = format!("apiVersion: tradelane/v1\nkind: Organization\nspec: {{id: {id}, name: X}}\n");
        vec![("organization.yaml".to_owned(), text)]
    };
    for n in 0..8 {
        let (on_a, on_b) = (organization(&format!("a-{n}")), organization(&format!("b-{n}")));
        let (a, b) =
            tokio::join!(pair.a.hub.apply(&pair.a.operator, &on_a, false), pair.b.apply(&operator, &on_b, false));
        a.unwrap();
        b.unwrap();
    }
    let know_all = |hub: Hub, operator: Caller| async move {
        for n in 0..8 {
            for id in [format!("a-{n}"), format!("b-{n}")] {
                let plan = hub.plan(&operator, &organization(&id), false).await.unwrap();
                if plan.value().iter().any(|line| line.verb != tradelane_model::plan::Verb::NoOp) {
                    return false;
                }
            }
        }
        true
    };
    let followed = async {
        while !(know_all(pair.a.hub.clone(), pair.a.operator.clone()).await
            && know_all(pair.b.clone(), operator.clone()).await)
        {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, followed).await.expect("both follow");
}

#[tokio::test]
async fn a_node_that_listens_knows_at_once_what_the_other_changed() {
    let Some(pair) = Pair::new().await else { return };
    let operator = pair.on_b(&pair.a.operator_key);
    for n in 0..16 {
        let text = format!("apiVersion: tradelane/v1\nkind: Organization\nspec: {{id: new-{n}, name: X}}\n");
        let organization = vec![("organization.yaml".to_owned(), text)];
        pair.a.hub.apply(&pair.a.operator, &organization, false).await.unwrap();
        let (first, second, third) = tokio::join!(pair.b.hear_others(), pair.b.hear_others(), pair.b.hear_others());
        first.and(second).and(third).unwrap();
        let plan = pair.b.plan(&operator, &organization, false).await.unwrap();
        assert!(plan.value().iter().all(|line| line.verb == tradelane_model::plan::Verb::NoOp), "{n}");
    }
}
