//! Fetch sessions (KIP-227): on the embedded engine, and in front of a real cluster.

mod support;

use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{FetchRequest, FetchResponse, ProduceRequest};
use support::{Client, TOPIC, World, await_topic, batch, order, topic, upstream};
use tradelane_kafka::KafkaLimits;
use tradelane_testkit::{Kafka, KafkaSecurity};
use uuid::Uuid;

const NOT_FOUND: i16 = 70;
const WRONG_EPOCH: i16 = 71;
const OTHER_NAMES: i16 = 106;

fn limits(limits: &mut KafkaLimits) {
    limits.fetch_sessions_per_principal = 2;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_the_embedded_engine() {
    a_session_says_what_is_new_while_the_grant_stands(&World::with(limits).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_front_of_a_cluster() {
    let Some(kafka) = Kafka::start(1, KafkaSecurity::SaslTls) else { return };
    a_session_says_what_is_new_while_the_grant_stands(&World::in_front_of_with(limits, upstream(&kafka, "hub.")).await)
        .await;
}

async fn a_session_says_what_is_new_while_the_grant_stands(world: &World) {
    let mut near = world.at("near.app").await;
    let id = await_topic(&mut near, TOPIC).await.topics[0].topic_id;
    let mut publisher = world.at("acme.wms").await;
    for version in [7, 12, 13, 17] {
        let named = |partitions: &[(i32, i64)]| asked(version, id, partitions);
        let begun = fetch(&mut near, version, (0, 0), named(&[(0, 0), (1, 0)])).await;
        let session = begun.session_id;
        assert!(session > 0 && begun.error_code == 0);
        assert_eq!(told(&begun).len(), 2, "the first answer is whole");
        let start = begun.responses[0].partitions.iter().find(|found| found.partition_index == 0).unwrap();
        let end = start.high_watermark;
        let moved = fetch(&mut near, version, (session, 1), named(&[(0, end)])).await;
        assert_eq!((moved.error_code, moved.session_id), (0, session));
        assert!(told(&moved).is_empty(), "nothing is new: {moved:?}");
        produce(&mut publisher, 0).await;
        let new = fetch(&mut near, version, (session, 2), vec![]).await;
        assert_eq!(told(&new), [(0, 0, true)], "v{version}: only what is new");
        let again = fetch(&mut near, version, (session, 3), named(&[(0, end + 1)])).await;
        assert_eq!(told(&again), []);

        // It is that principal's, in that order, by those names.
        let mut far = world.at("far.app").await;
        assert_eq!(fetch(&mut far, version, (session, 4), vec![]).await.error_code, NOT_FOUND);
        assert_eq!(fetch(&mut near, version, (session, 3), vec![]).await.error_code, WRONG_EPOCH);
        assert_eq!(fetch(&mut near, version, (session ^ 1, 4), vec![]).await.error_code, NOT_FOUND);
        let other = if version < 13 { 13 } else { 12 };
        assert_eq!(fetch(&mut near, other, (session, 4), vec![]).await.error_code, OTHER_NAMES);
        // Over another connection it goes on; what is forgotten is not asked for any more.
        let mut again = world.at("near.app").await;
        let forgotten = ForgottenTopic::default().with_partitions(vec![0]);
        let forgotten = match version {
            ..13 => forgotten.with_topic(topic(TOPIC)),
            _ => forgotten.with_topic_id(id),
        };
        produce(&mut publisher, 0).await;
        let request = request((session, 4), vec![]).with_forgotten_topics_data(vec![forgotten]);
        assert_eq!(told(&again.ask(version, &request).await), []);
        // Closed.
        let closed = fetch(&mut near, version, (session, -1), vec![]).await;
        assert_eq!((closed.error_code, closed.session_id), (0, 0));
        assert_eq!(fetch(&mut near, version, (session, 5), vec![]).await.error_code, NOT_FOUND);
    }

    let begin = async |near: &mut Client| fetch(near, 12, (0, 0), asked(12, id, &[(0, 0), (1, 0)])).await.session_id;
    let oldest = begin(&mut near).await;
    let (_, newest) = (begin(&mut near).await, begin(&mut near).await);
    assert_eq!(fetch(&mut near, 12, (oldest, 1), vec![]).await.error_code, NOT_FOUND, "the oldest gave way");

    // What a session holds is no right: the end of a grant is said of partitions that nobody names.
    assert_eq!(fetch(&mut near, 12, (newest, 1), asked(12, id, &[(0, 1)])).await.error_code, 0);
    world.revoke_grant().await;
    for epoch in 2..4 {
        let mut ended = told(&fetch(&mut near, 12, (newest, epoch), vec![]).await);
        ended.sort_unstable();
        assert_eq!(ended, [(0, 29, false), (1, 29, false)]);
    }
}

fn asked(version: i16, id: Uuid, partitions: &[(i32, i64)]) -> Vec<FetchTopic> {
    let asked = partitions.iter().map(|(partition, offset)| {
        FetchPartition::default()
            .with_partition(*partition)
            .with_fetch_offset(*offset)
            .with_partition_max_bytes(1 << 20)
    });
    let named = FetchTopic::default().with_partitions(asked.collect());
    vec![if version < 13 { named.with_topic(topic(TOPIC)) } else { named.with_topic_id(id) }]
}

fn request((session, epoch): (i32, i32), topics: Vec<FetchTopic>) -> FetchRequest {
    FetchRequest::default()
        .with_max_wait_ms(300)
        .with_min_bytes(1)
        .with_max_bytes(1 << 20)
        .with_session_id(session)
        .with_session_epoch(epoch)
        .with_topics(topics)
}

async fn fetch(client: &mut Client, version: i16, session: (i32, i32), topics: Vec<FetchTopic>) -> FetchResponse {
    client.ask(version, &request(session, topics)).await
}

/// Partition, error, and whether there are records.
fn told(answer: &FetchResponse) -> Vec<(i32, i16, bool)> {
    let all = answer.responses.iter().flat_map(|topic| &topic.partitions);
    let has_records = |records: &Option<bytes::Bytes>| records.as_ref().is_some_and(|records| !records.is_empty());
    all.map(|found| (found.partition_index, found.error_code, has_records(&found.records))).collect()
}

async fn produce(client: &mut Client, partition: i32) {
    let data = PartitionProduceData::default().with_index(partition).with_records(Some(batch(&[order(1)], None)));
    let data = TopicProduceData::default().with_name(topic(TOPIC)).with_partition_data(vec![data]);
    let request = ProduceRequest::default().with_acks(-1).with_timeout_ms(10_000).with_topic_data(vec![data]);
    assert_eq!(client.ask(9, &request).await.responses[0].partition_responses[0].error_code, 0);
}
