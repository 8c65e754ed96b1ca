//! Missing nowhere: in every API that carries names, another tenant's are what does not exist.
//!
//! Each API has a row here with how it is asked; an API that is served and has no row fails.

mod support;

use std::fmt::Debug;

use kafka_protocol::messages as m;
use kafka_protocol::messages::GroupId;
use kafka_protocol::protocol::StrBytes;
use support::{Client, SECRET, TOPIC, World, await_topic, batch, order, topic, upstream};
use tradelane_testkit::{Kafka, KafkaSecurity};

/// Asks about a topic and a group and returns the answer as text.
async fn ask(client: &mut Client, api: &str, name: &str, group: &str) -> Option<String> {
    let group_id = GroupId(text(group));
    Some(match api {
        "Produce" => {
            let data = m::produce_request::PartitionProduceData::default().with_records(Some(batch(&[order(1)], None)));
            let data =
                m::produce_request::TopicProduceData::default().with_name(topic(name)).with_partition_data(vec![data]);
            show(client.ask(9, &m::ProduceRequest::default().with_acks(-1).with_topic_data(vec![data])).await)
        }
        "Fetch" => {
            let asked = m::fetch_request::FetchPartition::default().with_partition_max_bytes(1_000);
            let asked = m::fetch_request::FetchTopic::default().with_topic(topic(name)).with_partitions(vec![asked]);
            show(client.ask(12, &m::FetchRequest::default().with_max_bytes(1_000).with_topics(vec![asked])).await)
        }
        "ListOffsets" => {
            let asked = m::list_offsets_request::ListOffsetsPartition::default().with_timestamp(-1);
            let asked = m::list_offsets_request::ListOffsetsTopic::default()
                .with_name(topic(name))
                .with_partitions(vec![asked]);
            show(client.ask(8, &m::ListOffsetsRequest::default().with_topics(vec![asked])).await)
        }
        "Metadata" => {
            let asked = m::metadata_request::MetadataRequestTopic::default().with_name(Some(topic(name)));
            show(client.ask(12, &m::MetadataRequest::default().with_topics(Some(vec![asked]))).await)
        }
        "DescribeTopicPartitions" => {
            let asked = m::describe_topic_partitions_request::TopicRequest::default().with_name(topic(name));
            let request = m::DescribeTopicPartitionsRequest::default().with_response_partition_limit(10);
            show(client.ask(0, &request.with_topics(vec![asked])).await)
        }
        "DescribeConfigs" => {
            let asked = m::describe_configs_request::DescribeConfigsResource::default()
                .with_resource_type(2)
                .with_resource_name(text(name))
                .with_configuration_keys(None);
            show(client.ask(4, &m::DescribeConfigsRequest::default().with_resources(vec![asked])).await)
        }
        "OffsetForLeaderEpoch" => {
            let asked = m::offset_for_leader_epoch_request::OffsetForLeaderPartition::default();
            let asked = m::offset_for_leader_epoch_request::OffsetForLeaderTopic::default()
                .with_topic(topic(name))
                .with_partitions(vec![asked]);
            show(client.ask(4, &m::OffsetForLeaderEpochRequest::default().with_topics(vec![asked])).await)
        }
        "OffsetCommit" => show(client.ask(8, &commit(name, group, 7)).await),
        "OffsetFetch" => {
            let asked = m::offset_fetch_request::OffsetFetchRequestTopic::default()
                .with_name(topic(name))
                .with_partition_indexes(vec![0]);
            let by_name = client
                .ask(
                    7,
                    &m::OffsetFetchRequest::default().with_group_id(group_id.clone()).with_topics(Some(vec![asked])),
                )
                .await;
            let all = client.ask(7, &m::OffsetFetchRequest::default().with_group_id(group_id).with_topics(None)).await;
            show((by_name, all))
        }
        "OffsetDelete" => {
            let asked = m::offset_delete_request::OffsetDeleteRequestPartition::default();
            let asked = m::offset_delete_request::OffsetDeleteRequestTopic::default()
                .with_name(topic(name))
                .with_partitions(vec![asked]);
            show(
                client
                    .ask(0, &m::OffsetDeleteRequest::default().with_group_id(group_id).with_topics(vec![asked]))
                    .await,
            )
        }
        "AddPartitionsToTxn" => {
            let asked = m::add_partitions_to_txn_request::AddPartitionsToTxnTopic::default()
                .with_name(topic(name))
                .with_partitions(vec![0]);
            show(client.ask(3, &m::AddPartitionsToTxnRequest::default().with_v3_and_below_topics(vec![asked])).await)
        }
        "AddOffsetsToTxn" => show(client.ask(3, &m::AddOffsetsToTxnRequest::default().with_group_id(group_id)).await),
        "TxnOffsetCommit" => {
            let asked = m::txn_offset_commit_request::TxnOffsetCommitRequestPartition::default();
            let asked = m::txn_offset_commit_request::TxnOffsetCommitRequestTopic::default()
                .with_name(topic(name))
                .with_partitions(vec![asked]);
            show(
                client
                    .ask(3, &m::TxnOffsetCommitRequest::default().with_group_id(group_id).with_topics(vec![asked]))
                    .await,
            )
        }
        "FindCoordinator" => {
            show(client.ask(4, &m::FindCoordinatorRequest::default().with_coordinator_keys(vec![text(group)])).await)
        }
        "DescribeGroups" => show(client.ask(5, &m::DescribeGroupsRequest::default().with_groups(vec![group_id])).await),
        "ListGroups" => show(client.ask(5, &m::ListGroupsRequest::default()).await),
        "DeleteGroups" => {
            show(client.ask(2, &m::DeleteGroupsRequest::default().with_groups_names(vec![group_id])).await)
        }
        "Heartbeat" => {
            let request = m::HeartbeatRequest::default().with_group_id(group_id).with_member_id("m".into());
            show(client.ask(4, &request).await)
        }
        "SyncGroup" => {
            let request = m::SyncGroupRequest::default().with_group_id(group_id).with_member_id("m".into());
            show(client.ask(5, &request).await)
        }
        "LeaveGroup" => {
            let leaving = m::leave_group_request::MemberIdentity::default().with_member_id("m".into());
            show(
                client
                    .ask(4, &m::LeaveGroupRequest::default().with_group_id(group_id).with_members(vec![leaving]))
                    .await,
            )
        }
        "JoinGroup" => {
            // With a member id that is somebody's or nobody's: it is refused in either case.
            let protocol = m::join_group_request::JoinGroupRequestProtocol::default().with_name("range".into());
            let request = m::JoinGroupRequest::default()
                .with_group_id(group_id)
                .with_member_id("m".into())
                .with_session_timeout_ms(10_000)
                .with_rebalance_timeout_ms(10_000)
                .with_protocol_type("consumer".into())
                .with_protocols(vec![protocol]);
            show(client.ask(7, &request).await)
        }
        "ConsumerGroupHeartbeat" => {
            // It joins, or is nobody's member; how long it takes to be assigned something does not matter.
            let request = m::ConsumerGroupHeartbeatRequest::default()
                .with_group_id(group_id.clone())
                .with_member_id("m".into())
                .with_rebalance_timeout_ms(10_000);
            let join = request
                .clone()
                .with_subscribed_topic_names(Some(vec![topic(name)]))
                .with_topic_partitions(Some(Vec::new()));
            let joined = client.ask(1, &join).await;
            let next = request.with_rebalance_timeout_ms(-1).with_member_epoch(joined.member_epoch);
            let next = client.ask(1, &next).await;
            let leave = m::ConsumerGroupHeartbeatRequest::default().with_group_id(group_id).with_member_id("m".into());
            show((joined, next, client.ask(1, &leave.with_member_epoch(-1)).await))
        }
        "ConsumerGroupDescribe" => {
            show(client.ask(1, &m::ConsumerGroupDescribeRequest::default().with_group_ids(vec![group_id])).await)
        }
        _ => return None,
    })
}

fn commit(name: &str, group: &str, offset: i64) -> m::OffsetCommitRequest {
    let asked = m::offset_commit_request::OffsetCommitRequestPartition::default().with_committed_offset(offset);
    let asked = m::offset_commit_request::OffsetCommitRequestTopic::default()
        .with_name(topic(name))
        .with_partitions(vec![asked]);
    m::OffsetCommitRequest::default()
        .with_group_id(GroupId(text(group)))
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![asked])
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn show(answer: impl Debug) -> String {
    format!("{answer:?}")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_another_tenants_is_what_does_not_exist_in_every_api() {
    let world = World::new().await;
    // The owner's group has an offset of a topic that a partner may see as well.
    let mut owner = world.client("acme.owner").await;
    let committed = owner.ask(8, &commit(TOPIC, "owners-group", 4_711)).await;
    assert_eq!(committed.topics[0].partitions[0].error_code, 0);
    let produced = ask(&mut world.client("acme.wms").await, "Produce", SECRET, "").await.unwrap();
    assert!(produced.contains("error_code: 0"), "{produced}");
    let mut served = tradelane_kafka::served(false);
    // What is listed has no name to ask for: it is asked while the partners have no group of their own.
    served.sort_by_key(|(_, api, ..)| *api != "ListGroups");
    for (_, api, topics, groups) in served {
        // A name of the same length each time, so that answers can be compared as they are.
        for principal in ["near.app", "far.app"] {
            if topics {
                let mut client = world.client(principal).await;
                let theirs = ask(&mut client, api, SECRET, "mine").await;
                let theirs = theirs.unwrap_or_else(|| panic!("{api} has no row in this test"));
                let nobodys = ask(&mut client, api, "acme-nosuch", "mine").await.unwrap();
                assert_eq!(theirs.replace(SECRET, "X"), nobodys.replace("acme-nosuch", "X"), "{api} by {principal}");
            }
            if groups {
                let mut client = world.client(principal).await;
                let theirs = ask(&mut client, api, TOPIC, "owners-group").await;
                let theirs = theirs.unwrap_or_else(|| panic!("{api} has no row in this test"));
                assert!(!theirs.contains("committed_offset: 4711"), "{api} by {principal}: {theirs}");
                let nobodys = ask(&mut client, api, TOPIC, "nobody-group").await.unwrap();
                assert_eq!(
                    theirs.replace("owners-group", "G"),
                    nobodys.replace("nobody-group", "G"),
                    "{api} by {principal}"
                );
            }
        }
    }
    let kept = ask(&mut owner, "OffsetFetch", TOPIC, "owners-group").await.unwrap();
    assert!(kept.contains("committed_offset: 4711"), "nobody else changed it: {kept}");
}

/// The same for groups that only a cluster has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_another_tenants_is_what_does_not_exist_in_every_api_of_a_cluster() {
    let Some(kafka) = Kafka::start(1, KafkaSecurity::SaslTls) else { return };
    let world = World::in_front_of(upstream(&kafka, "hub.")).await;
    // The owner has a member in its group, which reads both of its topics.
    let mut owner = world.at("acme.owner").await;
    for name in [TOPIC, SECRET] {
        await_topic(&mut owner, name).await;
    }
    let groups = ["owners-group", "nobody-group", "mine", "none"];
    for principal in ["acme.owner", "near.app", "far.app"] {
        await_groups(&mut world.at(principal).await, &groups).await;
    }
    let join = m::ConsumerGroupHeartbeatRequest::default()
        .with_group_id(GroupId(text("owners-group")))
        .with_member_id("m".into())
        .with_rebalance_timeout_ms(10_000)
        .with_subscribed_topic_names(Some(vec![topic(TOPIC), topic(SECRET)]))
        .with_topic_partitions(Some(Vec::new()));
    assert_eq!(owner.ask(1, &join).await.error_code, 0);
    let mut rows = tradelane_kafka::served(true);
    rows.retain(|(_, api, ..)| api.starts_with("ConsumerGroup"));
    // Describing first, while the partners have no groups of their own.
    rows.sort_by_key(|(_, api, ..)| *api != "ConsumerGroupDescribe");
    assert_eq!(rows.len(), 2);
    for (_, api, topics, _) in rows {
        for principal in ["near.app", "far.app"] {
            let mut client = world.at(principal).await;
            if topics {
                let theirs = ask(&mut client, api, SECRET, "mine").await.expect("a row in this test");
                let nobodys = ask(&mut client, api, "acme-nosuch", "none").await.unwrap();
                let same = |answer: &str, name: &str| answer.replace(name, "X").replace("mine", "none");
                assert_eq!(same(&theirs, SECRET), same(&nobodys, "acme-nosuch"), "{api} by {principal}");
            }
            let theirs = ask(&mut client, api, "acme-nosuch", "owners-group").await.expect("a row in this test");
            let nobodys = ask(&mut client, api, "acme-nosuch", "nobody-group").await.unwrap();
            assert_eq!(
                theirs.replace("owners-group", "G"),
                nobodys.replace("nobody-group", "G"),
                "{api} by {principal}"
            );
        }
    }
    let described = ask(&mut owner, "ConsumerGroupDescribe", "", "owners-group").await.unwrap();
    assert!(described.contains(SECRET) && described.contains("member_id: \"m\""), "{described}");
}

/// Waits until these groups can be asked for, as every client does.
async fn await_groups(client: &mut Client, groups: &[&str]) {
    for name in groups {
        let find = m::FindCoordinatorRequest::default().with_coordinator_keys(vec![text(name)]);
        let asked = m::OffsetFetchRequest::default().with_group_id(GroupId(text(name))).with_topics(None);
        for _ in 0..600 {
            let found = client.ask(4, &find).await.coordinators[0].error_code;
            if found == 0 && client.ask(7, &asked).await.error_code == 0 {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_products_id_is_no_topic_for_who_has_another_name_for_it_in_any_api() {
    let world = World::new().await;
    world.grant("near", "supplier-a.orders").await.unwrap();
    let mut near = world.client("near.app").await;
    for (_, api, topics, _) in tradelane_kafka::served(false) {
        if topics {
            let own = ask(&mut near, api, TOPIC, "none").await.unwrap();
            let nobodys = ask(&mut near, api, "acme-nosuch", "none").await.unwrap();
            assert_eq!(own.replace(TOPIC, "X"), nobodys.replace("acme-nosuch", "X"), "{api}");
            assert!(!own.contains("supplier-a"), "{api}: {own}");
            let found = ask(&mut near, api, "supplier-a.orders", "mine").await.unwrap();
            assert!(!found.contains(TOPIC), "{api}: {found}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_topics_has_what_is_granted_and_ids_do_not_help() {
    let world = World::new().await;
    let mut owner = world.client("acme.owner").await;
    let all = m::MetadataRequest::default().with_topics(None);
    let mine = owner.ask(12, &all).await;
    assert_eq!(mine.topics.len(), 2);
    let hidden = mine.topics.iter().find(|t| t.name == Some(topic(SECRET))).unwrap().topic_id;
    for (principal, count) in [("near.app", 1), ("far.app", 0)] {
        let mut client = world.client(principal).await;
        for version in 0..=12 {
            let request =
                if version == 0 { m::MetadataRequest::default().with_topics(Some(vec![])) } else { all.clone() };
            let answer = client.ask(version, &request).await;
            assert_eq!(answer.topics.len(), count, "{principal} v{version}");
            assert_eq!(&*answer.brokers[0].host, "kafka.test");
        }
        let by_id = m::metadata_request::MetadataRequestTopic::default().with_topic_id(hidden).with_name(None);
        let answer = client.ask(12, &m::MetadataRequest::default().with_topics(Some(vec![by_id]))).await;
        assert_eq!(answer.topics[0].error_code, 100);
        // Nor does the id where a name belongs, as one client writes it.
        let fetched = ask(&mut client, "Fetch", &hidden.to_string(), "").await.unwrap();
        assert!(fetched.contains("error_code: 3"), "fetched by the text of an id: {fetched}");
    }
}

/// What others of the organization read is kept from who only publishes: to skip what they have not read, or to have them read
/// all of it again.
#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_read_a_topic_neither_moves_nor_deletes_what_groups_have_read_of_it() {
    const MAY_NOT_READ: &str = "error_code: 29";
    const MAY_NOT_DELETE: &str = "error_code: 30";
    let world = World::new().await;
    let mut owner = world.client("acme.owner").await;
    let mut publisher = world.client("acme.wms").await;
    let committed = owner.ask(8, &commit(TOPIC, "readers", 4_711)).await;
    assert_eq!(committed.topics[0].partitions[0].error_code, 0);
    for (api, refusal) in
        [("OffsetCommit", MAY_NOT_READ), ("OffsetDelete", MAY_NOT_READ), ("DeleteGroups", MAY_NOT_DELETE)]
    {
        let answer = ask(&mut publisher, api, TOPIC, "readers").await.unwrap();
        assert!(answer.contains(refusal), "{api}: {answer}");
    }
    let kept = ask(&mut owner, "OffsetFetch", TOPIC, "readers").await.unwrap();
    assert!(kept.contains("committed_offset: 4711"), "{kept}");
    let deleted = ask(&mut owner, "DeleteGroups", TOPIC, "readers").await.unwrap();
    assert!(deleted.contains("error_code: 0"), "{deleted}");
}
