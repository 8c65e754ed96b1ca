//! The PostgreSQL stores: the conformance suite, and what is theirs alone.
#![cfg(feature = "postgres")]

use bytes::Bytes;
use tradelane_keys::SecretBytes;
use tradelane_model::Timestamp;
use tradelane_storage::postgres::{PgControl, PgKeys};
use tradelane_storage::{
    Journal, Journaled, KeyRecord, KeyRef, KeyStore, KeyedState, NewKey, StorageError, conformance,
};
use tradelane_testkit::PostgresCluster;

fn key() -> SecretBytes<32> {
    SecretBytes::new([7; 32])
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stores_conform_and_survive_lost_connections() {
    let Some(cluster) = PostgresCluster::start() else { return };
    conforms(&cluster).await;
    two_nodes_share_one_journal(&cluster).await;
    a_lost_connection_is_made_anew(&cluster).await;
    values_are_sealed_and_bound_to_their_place(&cluster).await;
    a_wrong_key_and_a_newer_schema_are_refused(&cluster).await;
    a_destroyed_key_is_in_no_page_of_its_table(&cluster).await;
}

async fn conforms(cluster: &PostgresCluster) {
    let control = PgControl::open(&cluster.create_database("control"), &key()).await.unwrap();
    assert!(control.recovery().created);
    conformance::journal(&control).await;
    conformance::keyed_state(&control).await;
    let keys = PgKeys::open(&cluster.create_database("keys"), &key()).await.unwrap();
    conformance::key_store(&keys).await;
}

async fn two_nodes_share_one_journal(cluster: &PostgresCluster) {
    let database = cluster.create_database("two_nodes");
    // Both migrate at once.
    let key = key();
    let (one, other) = tokio::join!(PgControl::open(&database, &key), PgControl::open(&database, &key));
    let (one, other) = (one.unwrap(), other.unwrap());
    for round in 0..20 {
        let event = vec![Bytes::from_static(b"x")];
        let (a, b) = tokio::join!(one.append(round, event.clone()), other.append(round, event));
        let outcomes = [a.unwrap(), b.unwrap()];
        assert!(outcomes.contains(&Journaled::At(round + 1)), "{outcomes:?}");
        assert!(outcomes.contains(&Journaled::Conflict { actual: round + 1 }), "{outcomes:?}");
    }
}

async fn a_lost_connection_is_made_anew(cluster: &PostgresCluster) {
    let control = PgControl::open(&cluster.create_database("lost"), &key()).await.unwrap();
    control.put("space", b"k", Bytes::from_static(b"v"), Timestamp::MAX).await.unwrap();
    cluster.cut_connections("lost");
    // The first use may be the one that notices.
    let first = control.get("space", b"k", Timestamp(0)).await;
    assert!(matches!(first, Ok(Some(_)) | Err(StorageError::Unavailable { .. })), "{first:?}");
    assert!(control.get("space", b"k", Timestamp(0)).await.unwrap().is_some());
}

async fn values_are_sealed_and_bound_to_their_place(cluster: &PostgresCluster) {
    let control = PgControl::open(&cluster.create_database("sealed"), &key()).await.unwrap();
    let events = vec![Bytes::from_static(b"grant one"), Bytes::from_static(b"grant two")];
    control.append(0, events).await.unwrap();
    control.put("space", b"k", Bytes::from_static(b"grant three"), Timestamp::MAX).await.unwrap();
    let dump = cluster.sql("sealed", "SELECT encode(event, 'escape') FROM tradelane_control.journal");
    let values = cluster.sql("sealed", "SELECT encode(value, 'escape') FROM tradelane_control.keyed_state");
    assert!(!dump.contains("grant") && !values.contains("grant"));
    cluster.sql(
        "sealed",
        "UPDATE tradelane_control.journal SET event = (SELECT event FROM tradelane_control.journal WHERE seq = 1)",
    );
    cluster.sql("sealed", "UPDATE tradelane_control.keyed_state SET key = 'l'");
    assert!(Journal::read(&control, 1, 1).await.is_ok());
    assert!(matches!(Journal::read(&control, 2, 1).await, Err(StorageError::Corrupt { .. })));
    assert!(matches!(control.get("space", b"l", Timestamp(0)).await, Err(StorageError::Corrupt { .. })));
}

async fn a_wrong_key_and_a_newer_schema_are_refused(cluster: &PostgresCluster) {
    let database = cluster.create_database("refused");
    drop(PgControl::open(&database, &key()).await.unwrap());
    let other = PgControl::open(&database, &SecretBytes::new([8; 32])).await.err();
    assert!(matches!(other, Some(StorageError::WrongKey { .. })));
    cluster.sql("refused", "INSERT INTO tradelane_control.schema_version VALUES (99)");
    let newer = PgControl::open(&database, &key()).await.err();
    assert!(matches!(newer, Some(StorageError::NewerSchema { found: 99, supported: 1, .. })));
    let nowhere = PgControl::open("host=/nonexistent user=nobody", &key()).await.err();
    assert!(matches!(nowhere, Some(StorageError::Unavailable { .. })), "{nowhere:?}");
}

async fn a_destroyed_key_is_in_no_page_of_its_table(cluster: &PostgresCluster) {
    let keys = PgKeys::open(&cluster.create_database("destroyed"), &key()).await.unwrap();
    let tag = [0xa7; 32];
    let record = KeyRecord { id: 5, wrapped: Bytes::from_static(b"wrapped"), created: Timestamp(0) };
    keys.put_if_absent(vec![NewKey { scope: "subject".to_owned(), tag, record }]).await.unwrap();
    let pages = "CHECKPOINT; SELECT pg_read_binary_file(pg_relation_filepath('tradelane_keys.key'))";
    let needle = "a7".repeat(32);
    assert!(cluster.sql("destroyed", pages).contains(&needle), "the test looks where the key is");
    keys.destroy(vec![KeyRef::Id(5)], Timestamp(1)).await.unwrap();
    assert!(!cluster.sql("destroyed", pages).contains(&needle));
}
