//! The listener in front of a real cluster of Apache Kafka: what its brokers keep is sealed, what clients see is theirs, and
//! groups, transactions and idempotence are the cluster's.

#[path = "cluster/compressed.rs"]
mod compressed;
#[path = "cluster/events.rs"]
mod events;
#[path = "cluster/group_rights.rs"]
mod group_rights;
mod support;

use std::path::Path;
use std::process::Output;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{
    AddPartitionsToTxnRequest, ApiVersionsRequest, BrokerId, EndTxnRequest, FetchRequest, InitProducerIdRequest,
    InitProducerIdResponse, ListGroupsRequest, MetadataRequest, ProduceRequest, ProducerId, TransactionalId,
};
use kafka_protocol::protocol::StrBytes;
use support::{Client, SECRET, TOPIC, World, await_topic, batch, order, topic, upstream};
use tradelane_hub::{NewSchema, Presented};
use tradelane_model::organization::CredentialKind;
use tradelane_records::{BatchesIter, Limits, Part};
use tradelane_testkit::{Kafka, KafkaSecurity};

const PREFIX: &str = "hub.";

fn produce_request(partition: i32, records: Bytes, transaction: Option<&str>) -> ProduceRequest {
    let data = PartitionProduceData::default().with_index(partition).with_records(Some(records));
    ProduceRequest::default()
        .with_acks(-1)
        .with_timeout_ms(10_000)
        .with_transactional_id(transaction.map(id))
        .with_topic_data(vec![TopicProduceData::default().with_name(topic(TOPIC)).with_partition_data(vec![data])])
}

async fn produce(client: &mut Client, request: ProduceRequest) -> PartitionProduceResponse {
    let mut answer = client.ask(9, &request).await;
    answer.responses.remove(0).partition_responses.remove(0)
}

async fn fetch(client: &mut Client, name: &str, partition: i32, offset: i64, isolation: i8) -> PartitionData {
    let asked =
        FetchPartition::default().with_partition(partition).with_fetch_offset(offset).with_partition_max_bytes(1 << 20);
    let request = FetchRequest::default()
        .with_max_wait_ms(500)
        .with_min_bytes(1)
        .with_max_bytes(1 << 20)
        .with_isolation_level(isolation)
        .with_session_epoch(-1)
        .with_topics(vec![FetchTopic::default().with_topic(topic(name)).with_partitions(vec![asked])]);
    let mut answer = client.ask(12, &request).await;
    assert_eq!(answer.error_code, 0);
    answer.responses.remove(0).partitions.remove(0)
}

/// Offsets and values of all records that are nobody's markers.
fn values(data: &PartitionData) -> Vec<(i64, String)> {
    let limits = Limits::default();
    let mut values = Vec::new();
    for part in BatchesIter::new(data.records.as_deref().unwrap_or_default(), &limits) {
        let Part::Batch(batch) = part.unwrap() else { panic!("a batch is cut") };
        if batch.is_control() {
            continue;
        }
        for record in batch.plain_records(&limits).unwrap() {
            let record = record.unwrap();
            let text = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
            values.push((batch.base_offset() + i64::from(record.offset_delta), text));
        }
    }
    values
}

/// Where a consumer goes on.
fn next_offset(data: &PartitionData) -> Option<i64> {
    let last = BatchesIter::new(data.records.as_deref().unwrap_or_default(), &Limits::default()).last()?;
    match last.unwrap() {
        Part::Batch(batch) => Some(batch.next_offset()),
        Part::Partial(_) => None,
    }
}

fn id(name: &str) -> TransactionalId {
    TransactionalId(StrBytes::from_string(name.to_owned()))
}

/// Does any file below hold these bytes?
fn holds(directory: &Path, needle: &[u8]) -> bool {
    std::fs::read_dir(directory).unwrap().flatten().any(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return holds(&path, needle);
        }
        std::fs::read(&path).unwrap_or_default().windows(needle.len()).any(|window| window == needle)
    })
}

fn written(directory: &Path) -> u64 {
    std::fs::read_dir(directory).unwrap().flatten().filter_map(|entry| entry.metadata().ok()).map(|m| m.len()).sum()
}

/// Runs a tool of Kafka's as that principal, against the hub.
fn tool(kafka: &Kafka, world: &World, principal: &str, name: &str, arguments: &[&str], input: &[u8]) -> Output {
    let folder = tradelane_testkit::temp_dir();
    let file = folder.path().join("client.properties");
    let login = "org.apache.kafka.common.security.plain.PlainLoginModule required";
    let key = &world.keys[principal];
    let settings = format!(
        "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\nsasl.jaas.config={login} username=\"any\" password=\"{key}\";\n"
    );
    std::fs::write(&file, settings).unwrap();
    let file = file.to_str().unwrap().to_owned();
    let bootstrap = world.address.to_string();
    let given = ["--command-config", &file, "--bootstrap-server", &bootstrap];
    kafka.tool(name, &[&given, arguments].concat(), input)
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_behind_the_hub() {
    let Some(kafka) = Kafka::start(1, KafkaSecurity::SaslTls) else { return };
    let world = World::in_front_of(upstream(&kafka, PREFIX)).await;
    topics_are_products_and_brokers_are_ours(&world).await;
    records_are_sealed_in_and_shown_out(&kafka, &world).await;
    what_breaks_the_contract_never_reaches_the_cluster(&kafka, &world).await;
    a_retry_of_an_idempotent_producer_is_stored_once(&world).await;
    transactions_are_the_clusters_own(&world).await;
    compaction_keeps_the_last_of_each_key(&kafka, &world).await;
    kafkas_own_tools_publish_and_read_in_groups(&kafka, &world).await;
    an_organizations_groups_are_its_own(&world).await;
    group_rights::who_may_not_read_a_topic_neither_moves_nor_deletes_what_groups_have_read_of_it(&world).await;
    requests_sent_together_are_stored_and_answered_in_order(&world).await;
    an_avro_product_is_sealed_in_and_shown_in_the_schema_of_the_view(&kafka, &world).await;
    what_was_read_ahead_is_for_the_credential_and_the_isolation_it_was_read_for(&world).await;
    compressed::compressed_events_read_the_same_and_no_word_of_them_is_in_the_clusters_files(&kafka, &world).await;
    what_was_read_ahead_leaves_only_while_the_grant_stands(&world).await;
    who_may_no_longer_is_told_so(&world).await;
}

async fn topics_are_products_and_brokers_are_ours(world: &World) {
    let mut client = world.client("near.app").await;
    let versions = client
        .ask(
            3,
            &ApiVersionsRequest::default()
                .with_client_software_name("t".into())
                .with_client_software_version("1".into()),
        )
        .await;
    let produce = versions.api_keys.iter().find(|api| api.api_key == 0).unwrap();
    assert_eq!(produce.min_version, 0, "older clients would not compress (KAFKA-18659)");
    assert!(versions.api_keys.iter().all(|api| !matches!(api.api_key, 19 | 20 | 29..=31 | 75 | 10_000..)));
    let answer = await_topic(&mut client, TOPIC).await;
    let broker = answer.brokers.iter().find(|broker| broker.node_id == BrokerId(0)).unwrap();
    assert_eq!((broker.host.as_str(), broker.port), ("localhost", i32::from(world.ports[&0])));
    assert_eq!(answer.brokers.len(), 1);
    assert_eq!(answer.topics[0].partitions.len(), 2);
    let all = client.ask(12, &MetadataRequest::default().with_topics(None)).await;
    let names: Vec<_> = all.topics.iter().map(|found| found.name.clone().unwrap().to_string()).collect();
    assert_eq!(names, [TOPIC], "neither other products nor what the cluster keeps for itself");
}

async fn records_are_sealed_in_and_shown_out(kafka: &Kafka, world: &World) {
    let planted = r#"{"id":"planted-open","qty":4,"price":987654.25}"#.to_owned();
    let mut owner = world.node("acme.wms", 0).await;
    let stored = produce(&mut owner, produce_request(0, batch(&[planted.clone(), order(2)], None), None)).await;
    assert_eq!((stored.error_code, stored.base_offset), (0, 0));
    let mut near = world.node("near.app", 0).await;
    let shown = fetch(&mut near, TOPIC, 0, 0, 0).await;
    assert_eq!((shown.error_code, shown.high_watermark), (0, 2));
    let shown = values(&shown);
    assert_eq!(shown[0], (0, r#"{"id":"planted-open","qty":4}"#.to_owned()), "without the price");
    assert_eq!(shown[1].0, 1);
    let own = values(&fetch(&mut world.node("acme.owner", 0).await, TOPIC, 0, 0, 0).await);
    assert_eq!(own[0].1, planted);
    let mut far = world.node("far.app", 0).await;
    for name in [TOPIC, SECRET, "no-such"] {
        assert_eq!(fetch(&mut far, name, 0, 0, 0).await.error_code, 3, "{name} does not exist for it");
    }
    let segment = kafka.data().join(format!("broker-0/log/{PREFIX}{TOPIC}-0"));
    assert!(written(&segment) > 200, "the records are in the cluster");
    for secret in ["987654.25", "planted-open"] {
        assert!(!holds(kafka.data(), secret.as_bytes()), "{secret} lies open in the cluster's files");
    }
}

async fn what_breaks_the_contract_never_reaches_the_cluster(kafka: &Kafka, world: &World) {
    let mut owner = world.node("acme.wms", 0).await;
    let bad = r#"{"id":"o1","qty":"not a number"}"#.to_owned();
    let refused = produce(&mut owner, produce_request(0, batch(&[order(1), bad], None), None)).await;
    assert_eq!(refused.error_code, 87);
    assert_eq!(refused.record_errors.len(), 1);
    assert_eq!(refused.record_errors[0].batch_index, 1);
    let end = kafka.tool("get-offsets", &["--bootstrap-server", kafka.plain(), "--topic", "hub.acme-orders"], b"");
    assert!(text(&end).contains("hub.acme-orders:0:2"), "{end:?}");
    let mut near = world.node("near.app", 0).await;
    let refused = produce(&mut near, produce_request(0, batch(&[order(1)], None), None)).await;
    assert_eq!(refused.error_code, 29, "a reader does not publish");
}

async fn a_retry_of_an_idempotent_producer_is_stored_once(world: &World) {
    let mut owner = world.node("acme.wms", 0).await;
    let begin = InitProducerIdRequest::default().with_transactional_id(None).with_transaction_timeout_ms(60_000);
    let mut near = world.node("near.app", 0).await;
    for (name, refused) in [(None, 31), (Some(id("tx")), 53)] {
        let answer = near.ask(4, &begin.clone().with_transactional_id(name)).await;
        assert_eq!((answer.error_code, answer.producer_id.0), (refused, -1), "a reader publishes nothing");
    }
    let producer = init(&mut owner, &begin).await;
    let at = |sequence| Some((producer.producer_id.0, producer.producer_epoch, sequence));
    let records = batch(&[order(5), order(6)], at(0));
    let first = produce(&mut owner, produce_request(1, records.clone(), None)).await;
    let again = produce(&mut owner, produce_request(1, records, None)).await;
    assert_eq!((first.error_code, again.error_code), (0, 0));
    assert_eq!(first.base_offset, again.base_offset, "sealed anew, and still the same to the cluster");
    let gap = produce(&mut owner, produce_request(1, batch(&[order(7)], at(9)), None)).await;
    assert_eq!(gap.error_code, 45);
    assert_eq!(values(&fetch(&mut owner_of(world).await, TOPIC, 1, 0, 0).await).len(), 2);
}

/// Asks for a producer id until the cluster has its coordinator ready, as every client does.
async fn init(client: &mut Client, request: &InitProducerIdRequest) -> InitProducerIdResponse {
    for _ in 0..200 {
        let answer = client.ask(4, request).await;
        match answer.error_code {
            0 => return answer,
            14..=16 | 51 => tokio::time::sleep(Duration::from_millis(100)).await,
            other => panic!("error {other}"),
        }
    }
    panic!("no producer id")
}

async fn owner_of(world: &World) -> Client {
    world.node("acme.owner", 0).await
}

async fn transactions_are_the_clusters_own(world: &World) {
    let mut owner = world.node("acme.wms", 0).await;
    let found = events::await_coordinator(&mut owner).await;
    let coordinator = &found.coordinators[0];
    assert_eq!((coordinator.key.as_str(), coordinator.port), ("tx", i32::from(world.ports[&0])));
    let begin =
        InitProducerIdRequest::default().with_transactional_id(Some(id("tx"))).with_transaction_timeout_ms(60_000);
    let producer = init(&mut owner, &begin).await;
    let (who, epoch) = (producer.producer_id, producer.producer_epoch);
    let before = fetch(&mut owner_of(world).await, TOPIC, 1, 0, 1).await.high_watermark;
    transaction(&mut owner, who, epoch, 0, &order(70), false).await;
    transaction(&mut owner, who, epoch, 1, &order(71), true).await;
    let mut near = world.node("near.app", 0).await;
    let (mut shown, mut aborted) = (Vec::new(), Vec::new());
    // Two records and two markers, one batch each; a broker may answer with fewer than there are.
    let mut at = before;
    for _ in 0..100 {
        let committed = fetch(&mut near, TOPIC, 1, at, 1).await;
        aborted.extend(committed.aborted_transactions.clone().unwrap_or_default());
        shown.extend(values(&committed));
        at = next_offset(&committed).unwrap_or(at);
        if at == before + 4 {
            break;
        }
    }
    assert!(!aborted.is_empty());
    assert!(aborted.iter().all(|one| (one.producer_id, one.first_offset) == (who, before)), "{aborted:?}");
    // Consumers pass over what the list names, by the producer that batches still carry.
    assert_eq!(shown.iter().map(|(offset, _)| *offset).collect::<Vec<_>>(), [before, before + 2]);
    assert!(shown.iter().all(|(_, value)| !value.contains("price")));
}

async fn transaction(owner: &mut Client, who: ProducerId, epoch: i16, sequence: i32, value: &str, commit: bool) {
    in_transaction(owner, who, epoch, sequence, value).await;
    end_transaction(owner, "tx", who, epoch, commit).await;
}

/// Begins one.
async fn in_transaction(owner: &mut Client, who: ProducerId, epoch: i16, sequence: i32, value: &str) {
    add_to_transaction(owner, "tx", who, epoch, 1).await;
    let records = support::batch_in_transaction(&[value.to_owned()], (who.0, epoch, sequence));
    let stored = produce(owner, produce_request(1, records, Some("tx"))).await;
    assert_eq!(stored.error_code, 0, "{:?}", stored.error_message);
}

async fn add_to_transaction(owner: &mut Client, name: &str, who: ProducerId, epoch: i16, partition: i32) {
    let add = AddPartitionsToTxnRequest::default()
        .with_v3_and_below_transactional_id(id(name))
        .with_v3_and_below_producer_id(who)
        .with_v3_and_below_producer_epoch(epoch)
        .with_v3_and_below_topics(vec![
            AddPartitionsToTxnTopic::default().with_name(topic(TOPIC)).with_partitions(vec![partition]),
        ]);
    // While the markers of the one before are written, the next has to wait (CONCURRENT_TRANSACTIONS).
    loop {
        let added = owner.ask(3, &add).await;
        match added.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code {
            0 => break,
            51 => tokio::time::sleep(Duration::from_millis(50)).await,
            other => panic!("error {other}"),
        }
    }
}

async fn end_transaction(owner: &mut Client, name: &str, who: ProducerId, epoch: i16, commit: bool) {
    let end = EndTxnRequest::default()
        .with_transactional_id(id(name))
        .with_producer_id(who)
        .with_producer_epoch(epoch)
        .with_committed(commit);
    assert_eq!(owner.ask(3, &end).await.error_code, 0);
}

async fn settings_of(client: &mut Client, name: &str) -> std::collections::BTreeMap<String, String> {
    let asked = kafka_protocol::messages::describe_configs_request::DescribeConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(kafka_protocol::protocol::StrBytes::from_string(name.to_owned()))
        .with_configuration_keys(None);
    let request = kafka_protocol::messages::DescribeConfigsRequest::default().with_resources(vec![asked]);
    let answer = client.ask(4, &request).await.results.remove(0);
    assert_eq!(answer.resource_name.as_str(), name);
    let value = |setting: &kafka_protocol::messages::describe_configs_response::DescribeConfigsResourceResult| {
        assert!(setting.read_only && setting.synonyms.is_empty());
        (setting.name.to_string(), setting.value.as_ref().map(ToString::to_string).unwrap_or_default())
    };
    answer.configs.iter().map(value).collect()
}

/// Keys are sealed; what stands for them is equal for equal keys.
async fn compaction_keeps_the_last_of_each_key(kafka: &Kafka, world: &World) {
    let clock = "message.timestamp.type=LogAppendTime"; // segments are closed by their records' time
    let settings = ["cleanup.policy=compact", "segment.ms=50", "min.cleanable.dirty.ratio=0.01", clock];
    let settings = settings.iter().flat_map(|setting| ["--config", setting]);
    let create = ["--bootstrap-server", kafka.plain(), "--create", "--topic", "hub.acme-secret"];
    let create: Vec<_> = create.into_iter().chain(settings).collect();
    text(&kafka.tool("topics", &create, b""));
    let mut owner = world.node("acme.wms", 0).await;
    let told = settings_of(&mut owner, SECRET).await;
    assert_eq!(told.get("cleanup.policy").map(String::as_str), Some("compact"), "as the cluster has it");
    assert!(told.contains_key("retention.ms") && !told.contains_key("segment.ms"), "and only what is of use: {told:?}");
    assert_eq!(settings_of(&mut owner, "hub.acme-secret").await.len(), 0, "by the caller's name of it");
    let product = "apiVersion: tradelane/v1\nkind: Product\nspec: {id: acme-more, owner: acme, contract: acme-orders, cleanup: compact}";
    let refused = world.hub.apply(&world.owner, &[("more.yaml".into(), product.into())], false).await.err().unwrap();
    assert!(refused.detail.contains("cleanup.policy"), "{refused:?}");
    for number in 0..12 {
        let mut request = produce_request(0, batch(&[order(number)], None), None);
        request.topic_data[0].name = topic(SECRET);
        assert_eq!(produce(&mut owner, request).await.error_code, 0);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let mut reader = owner_of(world).await;
    for _ in 0..900 {
        let (mut left, mut at) = (Vec::new(), 0);
        while at < 12 {
            let fetched = fetch(&mut reader, SECRET, 0, at, 0).await;
            assert_eq!(fetched.error_code, 0);
            left.extend(values(&fetched));
            at = next_offset(&fetched).expect("a batch for every offset asked for");
        }
        assert_eq!(left.last(), Some(&(11, order(11))));
        // The segment that is written to is not compacted.
        if left.len() <= 3 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("nothing was compacted")
}

async fn kafkas_own_tools_publish_and_read_in_groups(kafka: &Kafka, world: &World) {
    let lines: String = (100..150).map(|n| order(n) + "\n").collect();
    let settings = ["--topic", TOPIC, "--command-property", "compression.type=gzip"];
    text(&tool(kafka, world, "acme.wms", "console-producer", &settings, lines.as_bytes()));
    let reading =
        ["--topic", TOPIC, "--from-beginning", "--group", "tools", "--max-messages", "50", "--timeout-ms", "30000"];
    let committed = [&reading[..], &["--isolation-level", "read_committed"]].concat();
    let read = text(&tool(kafka, world, "near.app", "console-consumer", &committed, b""));
    assert_eq!(read.lines().count(), 50, "{read}");
    assert!(read.lines().all(|line| line.starts_with("{\"id\":") && !line.contains("price")), "{read}");
    let listed = text(&tool(kafka, world, "near.app", "consumer-groups", &["--list"], b""));
    assert_eq!(listed.trim(), "tools");
    let described = text(&tool(kafka, world, "near.app", "consumer-groups", &["--describe", "--group", "tools"], b""));
    assert!(described.contains(TOPIC) && !described.contains(PREFIX), "{described}");
    let behind = kafka.tool("consumer-groups", &["--bootstrap-server", kafka.plain(), "--list"], b"");
    assert_eq!(text(&behind).trim(), "near/tools");
}

async fn an_organizations_groups_are_its_own(world: &World) {
    let groups = |answer: kafka_protocol::messages::ListGroupsResponse| {
        answer.groups.iter().map(|group| group.group_id.to_string()).collect::<Vec<_>>()
    };
    let near = groups(world.node("near.app", 0).await.ask(4, &ListGroupsRequest::default()).await);
    let far = groups(world.node("far.app", 0).await.ask(4, &ListGroupsRequest::default()).await);
    assert_eq!(near, ["tools"]);
    assert_eq!(far, Vec::<String>::new());
}

async fn requests_sent_together_are_stored_and_answered_in_order(world: &World) {
    let mut owner = world.node("acme.wms", 0).await;
    // The first is the longest to seal, and one in between is refused.
    for count in [3_000_u32, 2, 0, 200, 1, 5] {
        let orders: Vec<_> = (0..count).map(order).collect();
        let records = if count == 0 { batch(&["{}".to_owned()], None) } else { batch(&orders, None) };
        owner.send(9, &produce_request(0, records, None)).await;
    }
    let (mut next, mut stored) = (None, Vec::new());
    for count in [3_000_i64, 2, 0, 200, 1, 5] {
        let mut answer = owner.answer::<ProduceRequest>(9).await.unwrap();
        let answer = answer.responses.remove(0).partition_responses.remove(0);
        if count == 0 {
            assert_eq!(answer.error_code, 87);
            continue;
        }
        assert_eq!(answer.error_code, 0);
        assert!(next.is_none_or(|next| next == answer.base_offset));
        next = Some(answer.base_offset + count);
        stored.push(answer.base_offset);
    }
    assert_eq!(stored.len(), 5);
}

const AVRO_PRODUCT: &str = r#"
apiVersion: v3.1.0
kind: DataContract
id: acme-people
tenant: acme
version: 1.0.0
status: active
name: People
schema:
  - name: person
    properties:
      - {name: id, logicalType: string, required: true, classification: public}
      - {name: email, logicalType: string, required: true, classification: confidential}
customProperties:
  - property: tradelane
    value:
      purposes: [replenishment]
      format: avro
      avroSchema: 'AVRO'
---
apiVersion: tradelane/v1
kind: Product
spec: {id: acme-people, owner: acme, name: People, contract: acme-people}
---
apiVersion: tradelane/v1
kind: Grant
spec: {id: near-people, product: acme-people, consumer: near, purpose: replenishment}
"#;
const AVRO: &str =
    r#"{"type":"record","name":"Person","fields":[{"name":"id","type":"string"},{"name":"email","type":"string"}]}"#;

async fn an_avro_product_is_sealed_in_and_shown_in_the_schema_of_the_view(kafka: &Kafka, world: &World) {
    let manifests = AVRO_PRODUCT.replace("AVRO'", &format!("{AVRO}'"));
    world.hub.apply(&world.owner, &[("people.yaml".into(), manifests)], false).await.unwrap();
    let new = NewSchema { kind: Some("AVRO".into()), text: AVRO.into(), ..NewSchema::default() };
    let id = world.hub.register_schema(&world.owner, "acme-people-value", new).await.unwrap().into_parts().0.id;
    let mut owner = world.node("acme.wms", 0).await;
    await_topic(&mut owner, "acme-people").await;
    let framed = |id: u32, event: &[u8]| [&[0][..], &id.to_be_bytes(), event].concat();
    let event = b"\x06p-1\x1eplanted@in.avro";
    let records = batch(&[String::from_utf8(framed(id, event)).unwrap()], None);
    let data = PartitionProduceData::default().with_index(0).with_records(Some(records));
    let topic_data = TopicProduceData::default().with_name(topic("acme-people")).with_partition_data(vec![data]);
    let request = ProduceRequest::default().with_acks(-1).with_timeout_ms(10_000).with_topic_data(vec![topic_data]);
    let stored = produce(&mut owner, request).await;
    assert_eq!(stored.error_code, 0, "{:?}", stored.error_message);
    let value = async |principal: &str| {
        let found = fetch(&mut world.node(principal, 0).await, "acme-people", 0, 0, 0).await;
        let limits = Limits::default();
        let Some(Ok(Part::Batch(batch))) = BatchesIter::new(found.records.as_deref().unwrap(), &limits).next() else {
            panic!("no batch")
        };
        batch.plain_records(&limits).unwrap().next().unwrap().unwrap().value.unwrap().to_vec()
    };
    assert_eq!(value("acme.owner").await, framed(id, event));
    let shown = value("near.app").await;
    let (head, rest) = shown.split_at(5);
    assert_eq!(rest, b"\x06p-1\0", "the address is there and empty, so that every decoder reads on");
    let view = u32::from_be_bytes(*head[1..].first_chunk().unwrap());
    let near = world.hub.authenticate(Presented::ApiKey(&world.keys["near.app"])).unwrap();
    let schema = world.hub.schema_by_id(&near, view).await.unwrap().into_parts().0;
    assert!(schema.text.contains("email"));
    assert!(!holds(kafka.data(), b"planted@in.avro") && !holds(kafka.data(), b"p-1\x1e"));
}

/// Each more than a page; their first offsets.
async fn long_pages(world: &World, pages: u32) -> Vec<i64> {
    let mut owner = world.node("acme.wms", 0).await;
    let mut bases = Vec::new();
    for page in 0..pages {
        let orders: Vec<_> = (0..8_000).map(|n| order(1_000_000 + 10_000 * page + n)).collect();
        let stored = produce(&mut owner, produce_request(0, batch(&orders, None), None)).await;
        assert_eq!(stored.error_code, 0);
        bases.push(stored.base_offset);
    }
    bases
}

/// Time to have the next page ready.
async fn read_ahead() {
    tokio::time::sleep(Duration::from_millis(700)).await;
}

async fn what_was_read_ahead_is_for_the_credential_and_the_isolation_it_was_read_for(world: &World) {
    let bases = long_pages(world, 2).await;
    let end = bases[1] + 8_000;
    // A transaction that stays open behind them, of a page's size.
    let mut owner = world.node("acme.wms", 0).await;
    let begin =
        InitProducerIdRequest::default().with_transactional_id(Some(id("open"))).with_transaction_timeout_ms(60_000);
    let producer = init(&mut owner, &begin).await;
    let (who, epoch) = (producer.producer_id, producer.producer_epoch);
    add_to_transaction(&mut owner, "open", who, epoch, 0).await;
    let orders: Vec<_> = (0..8_000).map(order).collect();
    let records = support::batch_in_transaction(&orders, (who.0, epoch, 0));
    assert_eq!(produce(&mut owner, produce_request(0, records, Some("open"))).await.error_code, 0);

    let mut near = world.node("near.app", 0).await;
    assert_eq!(values(&fetch(&mut near, TOPIC, 0, bases[1], 0).await).len(), 8_000);
    read_ahead().await;
    let committed = fetch(&mut near, TOPIC, 0, end, 1).await;
    assert_eq!(
        values(&committed),
        [],
        "the page of an open transaction waits, and is not for who reads what is committed"
    );
    assert_eq!(values(&fetch(&mut near, TOPIC, 0, end, 0).await).len(), 8_000);
    end_transaction(&mut owner, "open", who, epoch, false).await;

    assert_eq!(values(&fetch(&mut near, TOPIC, 0, bases[0], 0).await).len(), 8_000);
    read_ahead().await;
    let secret = support::issue_kind(&world.hub, &world.operator, "near.app", CredentialKind::ClientSecret).await;
    let client_id = secret.split('_').nth(1).unwrap();
    let token = world.hub.issue_token(client_id, &secret, "publish").await.unwrap().value().access_token.clone();
    assert_eq!(near.plain(&token).await.error_code, 0);
    let refused = fetch(&mut near, TOPIC, 0, bases[1], 0).await;
    assert_ne!(refused.error_code, 0, "its credential no longer reads");
    assert_eq!(refused.records.unwrap_or_default().len(), 0);
}

async fn what_was_read_ahead_leaves_only_while_the_grant_stands(world: &World) {
    let bases = long_pages(world, 3).await;
    let mut near = world.node("near.app", 0).await;
    for (page, base) in bases.iter().enumerate().take(2) {
        let fetched = fetch(&mut near, TOPIC, 0, *base, 0).await;
        let first = 1_000_000 + 10_000 * page;
        let values = values(&fetched);
        assert_eq!(values.first(), Some(&(*base, format!(r#"{{"id":"o{first}","qty":{first}}}"#))));
        assert_eq!(values.len(), 8_000);
        read_ahead().await;
    }
    // Somebody who asks for another place gets that place.
    let back = fetch(&mut near, TOPIC, 0, bases[0], 0).await;
    assert_eq!(values(&back).first().map(|(offset, _)| *offset), Some(bases[0]));
    read_ahead().await;
    world.revoke_grant().await;
    let refused = fetch(&mut near, TOPIC, 0, bases[1], 0).await;
    assert_eq!((refused.error_code, refused.records.unwrap_or_default().len()), (29, 0));
}

async fn who_may_no_longer_is_told_so(world: &World) {
    let mut near = world.node("near.app", 0).await;
    assert_eq!(fetch(&mut near, TOPIC, 0, 0, 0).await.error_code, 29, "it had a grant, and is told that it has ended");
    let wanted = vec![MetadataRequestTopic::default().with_name(Some(topic(TOPIC)))];
    let metadata = near.ask(12, &MetadataRequest::default().with_topics(Some(wanted))).await;
    assert_eq!(metadata.topics[0].error_code, 29);
    let mut far = world.node("far.app", 0).await;
    assert_eq!(fetch(&mut far, TOPIC, 0, 0, 0).await.error_code, 3, "who never had one does not know of it");
    let mut owner = world.node("acme.wms", 0).await;
    world.revoke_key("acme.wms").await;
    owner.send(9, &produce_request(0, batch(&[order(1)], None), None)).await;
    let refused = owner.answer::<ProduceRequest>(9).await.unwrap();
    assert_eq!(refused.responses[0].partition_responses[0].error_code, 29);
    assert!(owner.is_closed().await);
}
