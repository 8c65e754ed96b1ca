//! Each partner has its own names and ids for what it is granted: on the embedded engine, and in front of a real cluster.

mod support;

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages as m;
use kafka_protocol::messages::GroupId;
use kafka_protocol::protocol::StrBytes;
use support::{Client, SECRET, TOPIC, World, await_topic, batch, order, subscription, topic, upstream};
use tradelane_hub::{AccessRequest, Presented};
use tradelane_model::codes;
use tradelane_model::grant::Conditions;
use tradelane_testkit::{Kafka, KafkaSecurity};
use uuid::Uuid;

const UNKNOWN: i16 = 3;
const ENDED: i16 = 29;
const UNKNOWN_ID: i16 = 100;

#[tokio::test(flavor = "multi_thread")]
async fn on_the_embedded_engine() {
    partners_have_their_own_names(&World::new().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_front_of_a_cluster() {
    let Some(kafka) = Kafka::start(1, KafkaSecurity::SaslTls) else { return };
    partners_have_their_own_names(&World::in_front_of(upstream(&kafka, "hub.")).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_is_idle_for_longer_than_the_limit_stays_while_its_heart_beats() {
    let world = World::with(|limits| limits.idle = Duration::from_millis(600)).await;
    an_idle_consumer_stays(&world, "acme-orders").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_in_front_of_a_cluster() {
    let Some(kafka) = Kafka::start(1, KafkaSecurity::SaslTls) else { return };
    let change = |limits: &mut tradelane_kafka::KafkaLimits| limits.idle = Duration::from_secs(3);
    let world = World::in_front_of_with(change, upstream(&kafka, "hub.")).await;
    an_idle_consumer_stays(&world, "acme-orders").await;
}

async fn partners_have_their_own_names(world: &World) {
    world.grant("near", "supplier-a.orders").await.unwrap();
    world.grant("far", "orders.in").await.unwrap();
    let (mut near, mut far) = (world.at("near.app").await, world.at("far.app").await);
    let (mut owner, mut publisher) = (world.at("acme.owner").await, world.at("acme.wms").await);
    let id_near = await_topic(&mut near, "supplier-a.orders").await.topics[0].topic_id;
    let id_far = await_topic(&mut far, "orders.in").await.topics[0].topic_id;
    let id_own = await_topic(&mut owner, TOPIC).await.topics[0].topic_id;
    assert!(id_near != id_far && id_near != id_own && id_far != id_own, "ids join nothing");
    let all = near.ask(12, &m::MetadataRequest::default().with_topics(None)).await;
    assert_eq!(all.topics.iter().map(|t| t.name.clone().unwrap()).collect::<Vec<_>>(), [topic("supplier-a.orders")]);

    // By id alone, which Java's clients write beside an empty name.
    for name in [None, Some(topic(""))] {
        let asked = |id| m::metadata_request::MetadataRequestTopic::default().with_topic_id(id).with_name(name.clone());
        let asked = m::MetadataRequest::default().with_topics(Some(vec![asked(id_near), asked(id_far)]));
        let found = near.ask(12, &asked).await.topics;
        assert_eq!(found.iter().map(|found| found.error_code).collect::<Vec<_>>(), [0, UNKNOWN_ID]);
        assert_eq!(found[0].name, Some(topic("supplier-a.orders")));
    }

    assert_eq!(produce(&mut publisher, 9, TOPIC, Uuid::nil()).await, 0);
    assert_eq!(produce(&mut publisher, 13, "", id_own).await, 0);
    assert_eq!(produce(&mut near, 9, "supplier-a.orders", Uuid::nil()).await, ENDED);
    assert_eq!(produce(&mut near, 9, TOPIC, Uuid::nil()).await, UNKNOWN);
    assert_eq!(produce(&mut near, 13, "", id_near).await, ENDED);
    for other in [id_own, id_far, Uuid::from_u128(7)] {
        assert_eq!(produce(&mut near, 13, "", other).await, UNKNOWN_ID);
        assert_eq!(fetch(&mut near, 13, "", other).await, (UNKNOWN_ID, 0));
    }
    for version in [4, 12] {
        let (error, bytes) = fetch(&mut near, version, "supplier-a.orders", Uuid::nil()).await;
        assert!(error == 0 && bytes > 0, "v{version}: error {error}, {bytes} bytes");
        assert_eq!(fetch(&mut near, version, TOPIC, Uuid::nil()).await, (UNKNOWN, 0));
    }
    for version in 13..=17 {
        let (error, bytes) = fetch(&mut near, version, "", id_near).await;
        assert!(error == 0 && bytes > 0, "v{version}: error {error}, {bytes} bytes");
        assert!(fetch(&mut far, version, "", id_far).await.1 > 0);
    }

    await_coordinator(&mut near).await;
    await_coordinator(&mut far).await;
    assert_eq!(commit(&mut near, "supplier-a.orders", 1).await, 0);
    assert_eq!(commit(&mut near, TOPIC, 1).await, UNKNOWN);
    assert_eq!(commit(&mut far, "orders.in", 2).await, 0);
    assert_eq!(committed(&mut near, None).await, [("supplier-a.orders".to_owned(), 1)]);
    await_coordinator(&mut owner).await;
    assert_eq!(commit(&mut owner, TOPIC, 1).await, 0);
    the_owner_learns_which_groups_read(world).await;
    let said = subscription(&["supplier-a.orders", TOPIC, "no-such"]);
    let joined = join(&mut near, said.clone()).await;
    assert_eq!(joined.members[0].metadata, said, "members hear what they said");
    assert_eq!(sync(&mut near, &joined).await, &b"mine"[..]);
    let described = near.ask(5, &m::DescribeGroupsRequest::default().with_groups(vec![group("g")])).await;
    assert_eq!(described.groups[0].members[0].member_metadata, said);
    leave(&mut near, &joined).await;

    // A new name: what was committed stays, and the other partner notices nothing.
    world.grant("near", "supplier-b.orders").await.unwrap();
    assert_eq!(await_topic(&mut near, "supplier-b.orders").await.topics[0].topic_id, id_near);
    assert_eq!(committed(&mut near, None).await, [("supplier-b.orders".to_owned(), 1)]);
    assert_eq!(committed(&mut near, Some("supplier-b.orders")).await, [("supplier-b.orders".to_owned(), 1)]);
    assert_eq!(committed(&mut near, Some("supplier-a.orders")).await, [("supplier-a.orders".to_owned(), -1)]);
    assert_eq!(fetch(&mut near, 12, "supplier-a.orders", Uuid::nil()).await, (UNKNOWN, 0));
    assert!(fetch(&mut far, 12, "orders.in", Uuid::nil()).await.1 > 0);
    assert_eq!(committed(&mut far, None).await, [("orders.in".to_owned(), 2)]);

    // The catalog says what to subscribe to; what a consumer asked for stays if the owner names nothing.
    let caller = world.hub.authenticate(Presented::ApiKey(&world.keys["near.app"])).unwrap();
    let entry = world.hub.product(&caller, &TOPIC.parse().unwrap()).await.unwrap();
    assert_eq!(entry.value().topic.as_ref().unwrap().as_str(), "supplier-b.orders");
    let asking = AccessRequest {
        product: SECRET.parse().unwrap(),
        purpose: "replenishment".into(),
        note: String::new(),
        topic: Some("supplier-b.secret".parse().unwrap()),
    };
    let taken = AccessRequest { topic: Some("supplier-b.orders".parse().unwrap()), ..asking.clone() };
    assert_eq!(world.hub.request_access(&caller, taken).await.unwrap_err().code, codes::TOPIC_TAKEN);
    let asked = world.hub.request_access(&caller, asking).await.unwrap().value().id.clone();
    world.hub.approve(&world.owner, &asked, Conditions::default()).await.unwrap();
    await_topic(&mut near, "supplier-b.secret").await;
    let unmeant = Conditions { topic: Some("supplier-b.orders".parse().unwrap()), ..Conditions::default() };
    assert_eq!(world.hub.approve(&world.owner, &asked, unmeant).await.unwrap_err().code, codes::TOPIC_TAKEN);

    // A name that means something already is refused, also one's own.
    let file = "apiVersion: tradelane/v1\nkind: Grant\nspec: {id: n2, product: acme-secret, consumer: near, purpose: replenishment, topic: supplier-b.orders}\n";
    let refused = world.hub.apply(&world.owner, &[("g.yaml".into(), file.into())], false).await.unwrap_err();
    assert_eq!(refused.code, codes::TOPIC_TAKEN);

    world.revoke_grant().await;
    assert_eq!(fetch(&mut near, 12, "supplier-b.orders", Uuid::nil()).await, (ENDED, 0));
    assert_eq!(fetch(&mut near, 13, "", id_near).await, (ENDED, 0));
    for name in [TOPIC, "supplier-a.orders", "orders.in"] {
        assert_eq!(fetch(&mut near, 12, name, Uuid::nil()).await, (UNKNOWN, 0), "{name}");
    }
    assert!(fetch(&mut far, 12, "orders.in", Uuid::nil()).await.1 > 0);
}

/// Of each partner its own groups, at what they committed; nothing of what nobody was granted, and nothing of the owner's own.
async fn the_owner_learns_which_groups_read(world: &World) {
    let files = [("contract.yaml".to_owned(), support::CONTRACT.to_owned())];
    let impact = world.hub.impact(&world.owner, &files).await.unwrap().into_parts().0;
    let of = |grant: &tradelane_hub::evolve::GrantImpact| {
        let groups = grant.groups.iter().map(|group| group.group.clone()).collect::<Vec<_>>().join(" ");
        (grant.consumer.to_string(), grant.product.to_string(), groups)
    };
    let mut told: Vec<_> = impact[0].grants.iter().map(of).collect();
    told.sort();
    let group = |consumer: &str| (consumer.to_owned(), TOPIC.to_owned(), "g".to_owned());
    assert_eq!(told, [group("far"), group("near")]);
}

async fn an_idle_consumer_stays(world: &World, name: &str) {
    let mut silent = world.at("near.app").await;
    let mut member = world.at("near.app").await;
    await_topic(&mut member, name).await;
    await_coordinator(&mut member).await;
    let joined = join(&mut member, subscription(&[name])).await;
    assert_eq!(sync(&mut member, &joined).await, &b"mine"[..]);
    let beat = m::HeartbeatRequest::default()
        .with_group_id(group("g"))
        .with_generation_id(joined.generation_id)
        .with_member_id(joined.member_id.clone());
    let began = tokio::time::Instant::now();
    // The silent one ends by the limit; whoever beats has been there for longer by then, and stays.
    let ended = async {
        let ended = silent.is_closed().await;
        (ended, began.elapsed())
    };
    tokio::pin!(ended);
    let (is_closed, limit) = loop {
        tokio::select! {
            ended = &mut ended => break ended,
            () = tokio::time::sleep(Duration::from_millis(100)) => {
                assert_eq!(member.ask(3, &beat).await.error_code, 0);
            }
        }
    };
    assert!(is_closed);
    while began.elapsed() < limit * 2 {
        assert_eq!(member.ask(3, &beat).await.error_code, 0);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (error, _) = fetch(&mut member, 12, name, Uuid::nil()).await;
    assert_eq!(error, 0);
}

async fn produce(client: &mut Client, version: i16, name: &str, id: Uuid) -> i16 {
    let data = m::produce_request::PartitionProduceData::default().with_records(Some(batch(&[order(1)], None)));
    let data = m::produce_request::TopicProduceData::default()
        .with_name(topic(name))
        .with_topic_id(id)
        .with_partition_data(vec![data]);
    let request = m::ProduceRequest::default().with_acks(-1).with_timeout_ms(10_000).with_topic_data(vec![data]);
    let answer = client.ask(version, &request).await;
    assert_eq!((&answer.responses[0].name, answer.responses[0].topic_id), (&topic(name), id));
    answer.responses[0].partition_responses[0].error_code
}

/// The error, and how many bytes of records there are.
async fn fetch(client: &mut Client, version: i16, name: &str, id: Uuid) -> (i16, usize) {
    let asked = m::fetch_request::FetchPartition::default().with_partition_max_bytes(1 << 20);
    let asked =
        m::fetch_request::FetchTopic::default().with_topic(topic(name)).with_topic_id(id).with_partitions(vec![asked]);
    let request = m::FetchRequest::default()
        .with_max_wait_ms(200)
        .with_max_bytes(1 << 20)
        .with_session_epoch(-1)
        .with_topics(vec![asked]);
    let answer = client.ask(version, &request).await;
    assert_eq!((answer.error_code, answer.session_id), (0, 0));
    assert_eq!((&answer.responses[0].topic, answer.responses[0].topic_id), (&topic(name), id));
    let found = &answer.responses[0].partitions[0];
    (found.error_code, found.records.as_ref().map_or(0, Bytes::len))
}

async fn commit(client: &mut Client, name: &str, offset: i64) -> i16 {
    let asked = m::offset_commit_request::OffsetCommitRequestPartition::default().with_committed_offset(offset);
    let asked = m::offset_commit_request::OffsetCommitRequestTopic::default()
        .with_name(topic(name))
        .with_partitions(vec![asked]);
    let request = m::OffsetCommitRequest::default()
        .with_group_id(group("g"))
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![asked]);
    client.ask(8, &request).await.topics[0].partitions[0].error_code
}

/// What the group has committed: of all topics, or of one. In either form of the request.
async fn committed(client: &mut Client, name: Option<&str>) -> Vec<(String, i64)> {
    let topics = name.map(|name| {
        vec![
            m::offset_fetch_request::OffsetFetchRequestTopic::default()
                .with_name(topic(name))
                .with_partition_indexes(vec![0]),
        ]
    });
    let request = m::OffsetFetchRequest::default().with_group_id(group("g")).with_topics(topics);
    let answer = client.ask(7, &request).await;
    let found = answer.topics.iter().map(|t| (t.name.to_string(), t.partitions[0].committed_offset));
    let of_one: Vec<_> = found.collect();
    let topics = name.map(|name| {
        vec![
            m::offset_fetch_request::OffsetFetchRequestTopics::default()
                .with_name(topic(name))
                .with_partition_indexes(vec![0]),
        ]
    });
    let asked =
        m::offset_fetch_request::OffsetFetchRequestGroup::default().with_group_id(group("g")).with_topics(topics);
    let answer = client.ask(9, &m::OffsetFetchRequest::default().with_groups(vec![asked])).await;
    let found = answer.groups[0].topics.iter().map(|t| (t.name.to_string(), t.partitions[0].committed_offset));
    assert_eq!(found.collect::<Vec<_>>(), of_one);
    of_one
}

async fn await_coordinator(client: &mut Client) {
    for _ in 0..300 {
        let find = m::FindCoordinatorRequest::default().with_coordinator_keys(vec![StrBytes::from_static_str("g")]);
        let found = client.ask(4, &find).await.coordinators[0].error_code;
        // It may be found before it has loaded what it keeps.
        let asked = m::OffsetFetchRequest::default().with_group_id(group("g")).with_topics(None);
        if found == 0 && client.ask(7, &asked).await.error_code == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("there is no coordinator")
}

async fn join(client: &mut Client, said: Bytes) -> m::JoinGroupResponse {
    let protocol =
        m::join_group_request::JoinGroupRequestProtocol::default().with_name("range".into()).with_metadata(said);
    let request = m::JoinGroupRequest::default()
        .with_group_id(group("g"))
        .with_session_timeout_ms(10_000)
        .with_rebalance_timeout_ms(10_000)
        .with_protocol_type("consumer".into())
        .with_protocols(vec![protocol]);
    let member = client.ask(5, &request).await.member_id;
    let joined = client.ask(5, &request.with_member_id(member)).await;
    assert_eq!(joined.error_code, 0);
    joined
}

/// The leader's word, for itself.
async fn sync(client: &mut Client, joined: &m::JoinGroupResponse) -> Bytes {
    let assigned = m::sync_group_request::SyncGroupRequestAssignment::default()
        .with_member_id(joined.member_id.clone())
        .with_assignment(Bytes::from_static(b"mine"));
    let request = m::SyncGroupRequest::default()
        .with_group_id(group("g"))
        .with_generation_id(joined.generation_id)
        .with_member_id(joined.member_id.clone())
        .with_assignments(vec![assigned]);
    client.ask(3, &request).await.assignment
}

async fn leave(client: &mut Client, joined: &m::JoinGroupResponse) {
    let leaving = m::leave_group_request::MemberIdentity::default().with_member_id(joined.member_id.clone());
    let request = m::LeaveGroupRequest::default().with_group_id(group("g")).with_members(vec![leaving]);
    assert_eq!(client.ask(4, &request).await.error_code, 0);
}

fn group(name: &str) -> GroupId {
    GroupId(StrBytes::from_string(name.to_owned()))
}
