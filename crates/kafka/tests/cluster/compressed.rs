//! A product whose events are compressed before they are sealed, in front of a cluster.

use std::time::Duration;

use tradelane_testkit::Kafka;

use super::support::{PRODUCTS, TOPIC, World, batch, order};
use super::{PREFIX, fetch, holds, owner_of, produce, produce_request, values, written};

pub(crate) async fn compressed_events_read_the_same_and_no_word_of_them_is_in_the_clusters_files(
    kafka: &Kafka,
    world: &World,
) {
    let product = PRODUCTS.replace("partitions: 2}", "partitions: 2, compression: dictionary}");
    assert_ne!(product, PRODUCTS);
    world.hub.apply(&world.owner, &[("products.yaml".into(), product)], false).await.unwrap();
    let wordy = |n: usize| format!(r#"{{"id":"warehouse-in-the-north-{n}","qty":{n},"price":4711.{n}}}"#);
    let all = (0..1_100).map(wordy).collect::<Vec<_>>();
    let mut owner = world.node("acme.wms", 0).await;
    assert_eq!(produce(&mut owner, produce_request(1, batch(&all, None), None)).await.error_code, 0);
    while world.hub.stats().dictionaries == 0 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let segment = kafka.data().join(format!("broker-0/log/{PREFIX}{TOPIC}-1"));
    let before = written(&segment);
    let few = (0..100).map(wordy).collect::<Vec<_>>();
    let stored = produce(&mut owner, produce_request(1, batch(&few, None), None)).await;
    assert_eq!(stored.error_code, 0);
    let own = values(&fetch(&mut owner_of(world).await, TOPIC, 1, stored.base_offset, 0).await);
    assert_eq!(own.into_iter().map(|(_, value)| value).collect::<Vec<_>>(), few, "byte by byte");
    let near = values(&fetch(&mut world.node("near.app", 0).await, TOPIC, 1, stored.base_offset, 0).await);
    assert_eq!(near[7].1, r#"{"id":"warehouse-in-the-north-7","qty":7}"#);
    assert_eq!(
        values(&fetch(&mut owner_of(world).await, TOPIC, 0, 0, 0).await)[1].1,
        order(2),
        "what was there before"
    );
    assert!(written(&segment) > before);
    for word in ["warehouse", "north", "4711.7", "\"qty\""] {
        assert!(!holds(kafka.data(), word.as_bytes()), "{word} lies open in the cluster's files");
    }
}
