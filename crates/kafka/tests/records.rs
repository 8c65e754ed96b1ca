//! Records in and out, as a client that knows every corner of the protocol would do it.

mod support;

use std::time::Duration;

use bytes::{Buf, Bytes};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{
    FetchRequest, InitProducerIdRequest, ListOffsetsRequest, MetadataRequest, ProduceRequest, TransactionalId,
};
use kafka_protocol::protocol::StrBytes;
use support::{Client, SECRET, TOPIC, World, batch, order, topic};
use tradelane_records::{Batch, Decompressor, Limits};

const LIMITS: Limits =
    Limits { max_batch_bytes: 1 << 20, max_records: 10_000, max_decompressed: 1 << 20, max_headers: 10 };

fn produce_request(name: &str, partition: i32, records: Bytes, acks: i16) -> ProduceRequest {
    let data = PartitionProduceData::default().with_index(partition).with_records(Some(records));
    let data = TopicProduceData::default().with_name(topic(name)).with_partition_data(vec![data]);
    ProduceRequest::default().with_acks(acks).with_timeout_ms(5_000).with_topic_data(vec![data])
}

async fn produce(client: &mut Client, name: &str, partition: i32, records: Bytes) -> PartitionProduceResponse {
    let answer = client.ask(9, &produce_request(name, partition, records, -1)).await;
    answer.responses[0].partition_responses[0].clone()
}

fn fetch_request(name: &str, partition: i32, offset: i64, wait: i32) -> FetchRequest {
    let asked =
        FetchPartition::default().with_partition(partition).with_fetch_offset(offset).with_partition_max_bytes(1 << 20);
    let asked = FetchTopic::default().with_topic(topic(name)).with_partitions(vec![asked]);
    FetchRequest::default().with_max_wait_ms(wait).with_min_bytes(1).with_max_bytes(1 << 20).with_topics(vec![asked])
}

async fn fetch(client: &mut Client, name: &str, offset: i64) -> PartitionData {
    let answer = client.ask(12, &fetch_request(name, 0, offset, 0)).await;
    answer.responses[0].partitions[0].clone()
}

/// Offsets and values of what was fetched.
fn values(records: &Option<Bytes>) -> Vec<(i64, String)> {
    let mut rest = records.as_deref().unwrap_or_default();
    let mut values = Vec::new();
    while !rest.is_empty() {
        let (batch, after) = Batch::parse(rest, &LIMITS).unwrap();
        let mut scratch = Decompressor::new();
        for record in batch.records(&mut scratch, &LIMITS).unwrap() {
            let record = record.unwrap();
            let offset = batch.base_offset() + i64::from(record.offset_delta);
            values.push((offset, String::from_utf8_lossy(record.value.unwrap_or_default()).into_owned()));
        }
        rest = after;
    }
    values
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_gets_its_view_at_the_offsets_that_the_producer_was_told() {
    let world = World::new().await;
    let (mut publisher, mut reader) = (world.client("acme.wms").await, world.client("near.app").await);
    let first = produce(&mut publisher, TOPIC, 0, batch(&[order(1), order(2)], None)).await;
    assert_eq!((first.error_code, first.base_offset), (0, 0), "{:?}", first.error_message);
    let second = produce(&mut publisher, TOPIC, 0, batch(&[order(3)], None)).await;
    assert_eq!(second.base_offset, 2);
    let own = fetch(&mut world.client("acme.owner").await, TOPIC, 0).await;
    assert_eq!(values(&own.records)[0].1, order(1));
    for version in 4..=12 {
        let answer = reader.ask(version, &fetch_request(TOPIC, 0, 0, 0)).await;
        let partition = &answer.responses[0].partitions[0];
        assert_eq!((partition.error_code, partition.high_watermark, partition.last_stable_offset), (0, 3, 3));
        let seen = values(&partition.records);
        assert_eq!(seen.iter().map(|(offset, _)| *offset).collect::<Vec<_>>(), [0, 1, 2], "v{version}");
        assert!(seen.iter().all(|(_, value)| value.contains("qty") && !value.contains("price")), "{seen:?}");
    }
    let beyond = fetch(&mut reader, TOPIC, 4).await;
    assert_eq!((beyond.error_code, beyond.high_watermark), (1, 3));
    let other = reader.ask(12, &fetch_request(TOPIC, 1, 0, 0)).await;
    assert_eq!(values(&other.responses[0].partitions[0].records), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_with_a_bad_record_is_refused_whole_and_the_record_is_named() {
    let world = World::new().await;
    let mut publisher = world.client("acme.wms").await;
    let records = batch(&[order(1), r#"{"id":"o2","qty":"many"}"#.into()], None);
    for version in 3..=12 {
        let answer = publisher.ask(version, &produce_request(TOPIC, 0, records.clone(), -1)).await;
        let partition = &answer.responses[0].partition_responses[0];
        assert_eq!(partition.error_code, 87);
        if version >= 8 {
            assert_eq!(partition.record_errors.len(), 1);
            assert_eq!(partition.record_errors[0].batch_index, 1);
            let why = partition.record_errors[0].batch_index_error_message.as_ref().unwrap();
            assert!(why.contains("/qty") && !why.contains("many"), "{why}");
        }
    }
    let nothing = fetch(&mut world.client("near.app").await, TOPIC, 0).await;
    assert_eq!((nothing.error_code, nothing.high_watermark), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_whose_checksum_is_wrong_is_corrupt() {
    let world = World::new().await;
    let mut bytes = batch(&[order(1)], None).to_vec();
    let last = bytes.len() - 2;
    bytes[last] ^= 1;
    let answer = produce(&mut world.client("acme.wms").await, TOPIC, 0, bytes.into()).await;
    assert_eq!(answer.error_code, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotent_producers_retry_is_the_same_record_and_a_gap_is_refused() {
    let world = World::new().await;
    let mut publisher = world.client("acme.wms").await;
    let id = publisher.ask(4, &InitProducerIdRequest::default().with_transactional_id(None)).await;
    assert_eq!(id.error_code, 0);
    let producer = id.producer_id.0;
    let first = batch(&[order(1), order(2)], Some((producer, 0, 0)));
    assert_eq!(produce(&mut publisher, TOPIC, 0, first.clone()).await.base_offset, 0);
    let again = produce(&mut world.client("acme.wms").await, TOPIC, 0, first).await;
    assert_eq!((again.error_code, again.base_offset), (0, 0), "a retry on another connection");
    let gap = produce(&mut publisher, TOPIC, 0, batch(&[order(4)], Some((producer, 0, 3)))).await;
    assert_eq!(gap.error_code, 45);
    let next = produce(&mut publisher, TOPIC, 0, batch(&[order(3)], Some((producer, 0, 2)))).await;
    assert_eq!((next.error_code, next.base_offset), (0, 2));
    let old = produce(&mut publisher, TOPIC, 0, batch(&[order(5)], Some((producer, 1, 0)))).await;
    assert_eq!(old.error_code, 0);
    let fenced = produce(&mut publisher, TOPIC, 0, batch(&[order(6)], Some((producer, 0, 3)))).await;
    assert_eq!(fenced.error_code, 47);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_that_wants_no_answer_gets_none_and_is_cut_off_when_it_fails() {
    let world = World::new().await;
    let mut publisher = world.client("acme.wms").await;
    publisher.send(9, &produce_request(TOPIC, 0, batch(&[order(1)], None), 0)).await;
    // The next answer is the next request's.
    let metadata = publisher.ask(9, &MetadataRequest::default().with_topics(None)).await;
    assert_eq!(metadata.brokers[0].port, 19_092);
    let seen = fetch(&mut world.client("near.app").await, TOPIC, 0).await;
    assert_eq!(seen.high_watermark, 1);
    publisher.send(9, &produce_request(TOPIC, 7, batch(&[order(1)], None), 0)).await;
    assert!(publisher.is_closed().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn old_message_formats_and_strange_acknowledgements_are_refused_by_partition() {
    let world = World::new().await;
    let mut publisher = world.client("acme.wms").await;
    // Acks, timeout, one topic with one partition and no records.
    let mut body = vec![0xff, 0xff, 0, 0, 0, 9, 0, 0, 0, 1, 0, TOPIC.len() as u8];
    body.extend_from_slice(TOPIC.as_bytes());
    body.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0]);
    for (version, after) in [(0, 0), (1, 4), (2, 12)] {
        publisher.send_body(0, version, 1, &body).await;
        let mut answer = publisher.frame().await.unwrap();
        answer.advance(4 + 4 + 2 + TOPIC.len() + 4);
        assert_eq!((answer.get_i32(), answer.get_i16(), answer.get_i64()), (1, 35, -1), "v{version}");
        assert_eq!(answer.len(), after);
    }
    let strange = publisher.ask(9, &produce_request(TOPIC, 0, batch(&[order(1)], None), 2)).await;
    assert_eq!(strange.responses[0].partition_responses[0].error_code, 21);
    let transactional = produce_request(TOPIC, 0, batch(&[order(1)], None), -1)
        .with_transactional_id(Some(TransactionalId(StrBytes::from_static_str("t"))));
    let transactional = publisher.ask(9, &transactional).await;
    assert_eq!(transactional.responses[0].partition_responses[0].error_code, 53);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_waits_for_records_and_begins_a_session_if_it_asks_for_one() {
    let world = World::new().await;
    let (mut publisher, mut reader) = (world.client("acme.wms").await, world.client("near.app").await);
    let request = fetch_request(TOPIC, 0, 0, 60_000).with_session_epoch(0);
    reader.send(12, &request).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    produce(&mut publisher, TOPIC, 0, batch(&[order(1)], None)).await;
    let answer = reader.answer::<FetchRequest>(12).await.unwrap();
    assert!(answer.error_code == 0 && answer.session_id > 0, "{answer:?}");
    assert_eq!(values(&answer.responses[0].partitions[0].records).len(), 1);
    let other = answer.session_id ^ 1;
    let going_on = reader.ask(12, &FetchRequest::default().with_session_id(other).with_session_epoch(1)).await;
    assert_eq!(going_on.error_code, 70, "nobody has that session");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_no_larger_than_the_reader_allows_but_for_its_first_batch() {
    let world = World::new().await;
    let (mut publisher, mut reader) = (world.client("acme.wms").await, world.client("near.app").await);
    for (partition, n) in [(0, 1), (0, 2), (1, 3), (1, 4)] {
        assert_eq!(produce(&mut publisher, TOPIC, partition, batch(&[order(n)], None)).await.error_code, 0);
    }
    let mut held = async |most: usize, of_partition: i32| {
        let mut request = fetch_request(TOPIC, 0, 0, 0);
        request.max_bytes = i32::try_from(most).unwrap();
        let mut other = request.topics[0].partitions[0].clone();
        other.partition = 1;
        request.topics[0].partitions[0].partition_max_bytes = of_partition;
        request.topics[0].partitions.push(other);
        let answer = reader.ask(12, &request).await;
        let told = &answer.responses[0].partitions;
        assert!(told.iter().all(|partition| partition.error_code == 0));
        told.iter().map(|partition| partition.records.as_ref().map_or(0, Bytes::len)).collect::<Vec<_>>()
    };
    let one = held(1, 1 << 20).await[0];
    assert!(one > 1, "the first batch comes whole");
    assert_eq!(held(1, 1 << 20).await, [one, 0]);
    assert_eq!(held(2 * one - 1, 1 << 20).await, [one, 0], "neither another of the partition nor one of the next");
    assert_eq!(held(2 * one, 1 << 20).await, [2 * one, 0]);
    assert_eq!(held(2 * one, 1).await, [one, one], "what a partition leaves is for the next");
    assert_eq!(held(1 << 20, 1 << 20).await, [2 * one, 2 * one]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_grant_ends_a_waiting_fetch() {
    let world = World::with(|limits| limits.fetch_wait = Duration::from_secs(300)).await;
    let mut reader = world.client("near.app").await;
    reader.send(12, &fetch_request(TOPIC, 0, 0, i32::MAX)).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    world.revoke_grant().await;
    let answer = reader.answer::<FetchRequest>(12).await.unwrap();
    assert_eq!(answer.responses[0].partitions[0].error_code, 29);
    let after = fetch(&mut reader, TOPIC, 0).await;
    assert_eq!(after.error_code, 29, "it knows of the topic, and is told that it may not read it any more");
    let mut other = world.client("far.app").await;
    assert_eq!(fetch(&mut other, TOPIC, 0).await.error_code, 3, "what was never granted does not exist");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_ends_producer_and_consumer_at_the_next_request() {
    let world = World::new().await;
    let (mut publisher, mut reader) = (world.client("acme.wms").await, world.client("near.app").await);
    world.revoke_key("acme.wms").await;
    world.revoke_key("near.app").await;
    // The listener may notice before the next request is there; then there is no answer.
    publisher.send(9, &produce_request(TOPIC, 0, batch(&[order(1)], None), -1)).await;
    if let Some(answer) = publisher.answer::<ProduceRequest>(9).await {
        assert_eq!(answer.responses[0].partition_responses[0].error_code, 29);
    }
    assert!(publisher.is_closed().await);
    reader.send(12, &fetch_request(TOPIC, 0, 0, 0)).await;
    if let Some(answer) = reader.answer::<FetchRequest>(12).await {
        assert_eq!(answer.responses[0].partitions[0].error_code, 29);
    }
    assert!(reader.is_closed().await);
    let refused = world.connect().await.plain(&world.keys["near.app"]).await;
    assert_eq!(refused.error_code, 58);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_ends_when_its_key_is_revoked() {
    let world = World::new().await;
    let mut reader = world.client("near.app").await;
    world.revoke_key("near.app").await;
    assert!(reader.is_closed().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_are_listed_for_readers_and_publishers() {
    let world = World::new().await;
    let (mut publisher, mut reader) = (world.client("acme.wms").await, world.client("near.app").await);
    produce(&mut publisher, TOPIC, 0, batch(&[order(1), order(2)], None)).await;
    produce(&mut publisher, TOPIC, 0, batch(&[order(3)], None)).await;
    let list = |timestamp| {
        let partition = ListOffsetsPartition::default().with_timestamp(timestamp);
        let topic = ListOffsetsTopic::default().with_name(topic(TOPIC)).with_partitions(vec![partition]);
        ListOffsetsRequest::default().with_topics(vec![topic])
    };
    for version in 1..=8 {
        for client in [&mut publisher, &mut reader] {
            for (timestamp, offset) in [(-1, 3), (-2, 0), (-4, 0)] {
                let answer = client.ask(version, &list(timestamp)).await;
                let found = &answer.topics[0].partitions[0];
                assert_eq!((found.error_code, found.offset), (0, offset), "v{version} {timestamp}");
            }
        }
        for (timestamp, offset) in [(0, 0), (i64::MAX, -1), (-3, 2)] {
            let answer = reader.ask(version, &list(timestamp)).await;
            let found = &answer.topics[0].partitions[0];
            assert_eq!((found.error_code, found.offset), (0, offset), "v{version} {timestamp}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_or_asks_too_much_is_told_to_be_quiet() {
    let world = World::with(|limits| {
        limits.bytes_in_per_credential = tradelane_kafka::Rate { per_second: 100.0, burst: 100 };
        limits.throttle = Duration::from_millis(300);
    })
    .await;
    let mut publisher = world.client("acme.wms").await;
    let answer = publisher.ask(9, &produce_request(TOPIC, 0, batch(&[order(1), order(2)], None), -1)).await;
    assert_eq!(answer.responses[0].partition_responses[0].error_code, 0, "it is served all the same");
    assert_eq!(answer.throttle_time_ms, 300);
    publisher.ask(9, &MetadataRequest::default().with_topics(None)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_publish_is_told_so_if_it_may_read_and_nothing_else_otherwise() {
    let world = World::new().await;
    let mut reader = world.client("near.app").await;
    assert_eq!(produce(&mut reader, TOPIC, 0, batch(&[order(1)], None)).await.error_code, 29);
    let hidden = produce(&mut reader, SECRET, 0, batch(&[order(1)], None)).await;
    let missing = produce(&mut reader, "no-such-topic", 0, batch(&[order(1)], None)).await;
    assert_eq!(hidden, missing);
    assert_eq!(hidden.error_code, 3);
}
