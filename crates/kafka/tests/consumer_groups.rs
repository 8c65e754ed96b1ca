//! Groups of KIP-848 in front of a real cluster: the broker assigns, and what it says is each member's own: names, ids, and
//! nothing that it may not read.

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use kafka_protocol::messages as m;
use kafka_protocol::messages::GroupId;
use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use kafka_protocol::protocol::StrBytes;
use support::{Client, SECRET, TOPIC, World, await_topic, subscription, topic, upstream};
use tradelane_kafka::{KafkaLimits, Rate};
use tradelane_testkit::{Kafka, KafkaSecurity};
use uuid::Uuid;

const PREFIX: &str = "hub.";
/// What `near` calls the topic.
const NAME: &str = "supplier-a.orders";
const GROUP: &str = "g";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_that_the_broker_assigns() {
    let Some(kafka) = Kafka::start(1, KafkaSecurity::SaslTls) else { return };
    let world = World::in_front_of(upstream(&kafka, PREFIX)).await;
    world.grant("near", NAME).await.unwrap();
    await_topic(&mut world.at("acme.owner").await, SECRET).await;
    await_topic(&mut world.at("near.app").await, NAME).await;
    for principal in ["near.app", "far.app", "acme.wms"] {
        await_coordinator(&mut world.at(principal).await, principal).await;
    }
    it_is_offered_as_far_as_both_speak_it(&world).await;
    members_share_what_they_know_by_their_own_names_and_ids(&world).await;
    offsets_are_committed_under_the_members_epoch(&world).await;
    a_connection_that_knows_nothing_of_a_member_asks_it_to_say_all(&world).await;
    a_pattern_finds_what_the_reader_may_see_and_never_reaches_the_broker(&kafka, &world).await;
    what_the_broker_would_not_take_is_refused(&world).await;
    members_of_both_protocols_share_a_group(&world).await;
    who_may_publish_only_is_told_so(&world).await;
    a_group_is_described_to_its_own_organization(&world).await;
    a_client_that_asks_too_often_is_told_to_be_quiet(&kafka).await;
    a_grant_that_ends_takes_the_assignment_and_a_new_one_gives_it_back(&world).await;
    a_credential_that_is_revoked_beats_no_more(&world).await;
}

/// As a broker says it that has them switched off: Java's clients and librdkafka's then end with an error. Of an API that is not
/// there librdkafka tells nobody (2.16), and tries again for ever.
#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_engine_says_that_it_has_none() {
    let world = World::new().await;
    let mut member = Member::new(&world, "near.app", GROUP, "first", &[TOPIC]).await;
    let versions = member.client.ask(3, &m::ApiVersionsRequest::default()).await;
    assert!(versions.api_keys.iter().any(|api| api.api_key == 68));
    assert!(versions.api_keys.iter().all(|api| api.api_key != 69), "administrators ask for classic groups");
    for version in [0, 1] {
        let refused = member.client.ask(version, &member.request()).await;
        assert_eq!((refused.error_code, refused.member_epoch), (35, 0));
        assert!(refused.error_message.unwrap().contains("group.protocol=classic"));
    }
    let listed = member.client.ask(5, &m::ListGroupsRequest::default()).await;
    assert!(listed.groups.is_empty());
}

/// A member, as a client keeps it.
struct Member {
    client: Client,
    group: &'static str,
    id: StrBytes,
    epoch: i32,
    names: Vec<&'static str>,
    pattern: Option<&'static str>,
    /// As it was told last.
    held: BTreeSet<(Uuid, i32)>,
    /// Nothing was said yet, or something went wrong.
    says_all: bool,
}

impl Member {
    async fn new(world: &World, principal: &str, group: &'static str, id: &str, names: &[&'static str]) -> Self {
        let id = StrBytes::from_string(id.to_owned());
        let (client, names) = (world.at(principal).await, names.to_vec());
        Self { client, group, id, epoch: 0, names, pattern: None, held: BTreeSet::new(), says_all: true }
    }

    fn request(&self) -> m::ConsumerGroupHeartbeatRequest {
        let request = m::ConsumerGroupHeartbeatRequest::default()
            .with_group_id(group(self.group))
            .with_member_id(self.id.clone())
            .with_member_epoch(self.epoch)
            .with_rebalance_timeout_ms(-1);
        if !self.says_all {
            return request;
        }
        request
            .with_rebalance_timeout_ms(10_000)
            .with_subscribed_topic_names(Some(self.names.iter().map(|name| topic(name)).collect()))
            .with_subscribed_topic_regex(self.pattern.map(|pattern| StrBytes::from_string(pattern.to_owned())))
            .with_topic_partitions(Some(self.owned()))
    }

    fn owned(&self) -> Vec<TopicPartitions> {
        let one = |&(id, partition)| TopicPartitions::default().with_topic_id(id).with_partitions(vec![partition]);
        self.held.iter().map(one).collect()
    }

    /// One heartbeat, and one more to say that what was taken is given up.
    async fn beat(&mut self) -> i16 {
        let answer = self.client.ask(1, &self.request()).await;
        if answer.error_code != 0 {
            self.says_all = true;
            if matches!(answer.error_code, 25 | 110) {
                (self.epoch, self.held) = (0, BTreeSet::new());
            }
            return answer.error_code;
        }
        (self.epoch, self.says_all) = (answer.member_epoch, false);
        if let Some(assignment) = answer.assignment {
            let parts = |topic: &m::consumer_group_heartbeat_response::TopicPartitions| {
                let id = topic.topic_id;
                topic.partitions.iter().map(|partition| (id, *partition)).collect::<Vec<_>>()
            };
            self.held = assignment.topic_partitions.iter().flat_map(parts).collect();
            let request = self.request().with_topic_partitions(Some(self.owned()));
            let answer = self.client.ask(1, &request).await;
            assert_eq!(answer.error_code, 0);
            self.epoch = answer.member_epoch;
            self.says_all = answer.assignment.is_some();
        }
        0
    }

    async fn leave(&mut self) {
        self.epoch = -1;
        self.says_all = false;
        assert_eq!(self.client.ask(1, &self.request()).await.error_code, 0);
    }
}

/// Beats for all of them until it is so.
async fn until(members: &mut [&mut Member], what: &str, is_so: impl Fn(&[&mut Member]) -> bool) {
    for _ in 0..300 {
        for member in members.iter_mut() {
            let error = member.beat().await;
            assert!(matches!(error, 0 | 14..=16 | 25 | 110), "error {error}");
        }
        if is_so(members) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let held: Vec<_> = members.iter().map(|member| (&member.id, member.epoch, &member.held)).collect();
    panic!("{what} did not happen: {held:?}")
}

async fn id_of(world: &World, principal: &str, name: &str) -> Uuid {
    await_topic(&mut world.at(principal).await, name).await.topics[0].topic_id
}

async fn it_is_offered_as_far_as_both_speak_it(world: &World) {
    let versions = world.at("near.app").await.ask(3, &m::ApiVersionsRequest::default()).await;
    let offered = |key| versions.api_keys.iter().find(|api| api.api_key == key).map(|api| api.max_version);
    assert_eq!([68, 69, 8, 9].map(offered), [Some(1), Some(1), Some(9), Some(9)]);
}

async fn members_share_what_they_know_by_their_own_names_and_ids(world: &World) {
    let id = id_of(world, "near.app", NAME).await;
    // A product's own id, what others have, and what nobody has are all the same: nothing.
    let mut first = Member::new(world, "near.app", GROUP, "first", &[NAME, TOPIC, SECRET, "no-such"]).await;
    until(&mut [&mut first], "all partitions", |members| members[0].held == [(id, 0), (id, 1)].into()).await;
    let mut second = Member::new(world, "near.app", GROUP, "second", &[NAME]).await;
    until(&mut [&mut first, &mut second], "one partition each", |members| {
        let all: BTreeSet<_> = members.iter().flat_map(|member| member.held.clone()).collect();
        members.iter().all(|member| member.held.len() == 1) && all == [(id, 0), (id, 1)].into()
    })
    .await;
    second.leave().await;
    until(&mut [&mut first], "all partitions again", |members| members[0].held.len() == 2).await;
    // Version 0, in which the broker names the member.
    let mut old = world.at("near.app").await;
    let join = m::ConsumerGroupHeartbeatRequest::default()
        .with_group_id(group(GROUP))
        .with_rebalance_timeout_ms(10_000)
        .with_subscribed_topic_names(Some(vec![topic(NAME)]))
        .with_topic_partitions(Some(Vec::new()));
    let joined = old.ask(0, &join).await;
    assert_eq!(joined.error_code, 0);
    let beat = m::ConsumerGroupHeartbeatRequest::default()
        .with_group_id(group(GROUP))
        .with_member_id(joined.member_id.clone().unwrap())
        .with_rebalance_timeout_ms(-1);
    assert_eq!(old.ask(0, &beat.clone().with_member_epoch(joined.member_epoch)).await.error_code, 0);
    assert_eq!(old.ask(0, &beat.with_member_epoch(-1)).await.error_code, 0);
    first.leave().await;
}

async fn offsets_are_committed_under_the_members_epoch(world: &World) {
    let mut member = Member::new(world, "near.app", GROUP, "commits", &[NAME]).await;
    until(&mut [&mut member], "all partitions", |members| members[0].held.len() == 2).await;
    let commit = |epoch: i32, id: &str| {
        let asked = m::offset_commit_request::OffsetCommitRequestPartition::default().with_committed_offset(7);
        let asked = m::offset_commit_request::OffsetCommitRequestTopic::default()
            .with_name(topic(NAME))
            .with_partitions(vec![asked]);
        m::OffsetCommitRequest::default()
            .with_group_id(group(GROUP))
            .with_member_id(StrBytes::from_string(id.to_owned()))
            .with_generation_id_or_member_epoch(epoch)
            .with_topics(vec![asked])
    };
    let fetch = |epoch: i32| {
        let asked = m::offset_fetch_request::OffsetFetchRequestTopics::default()
            .with_name(topic(NAME))
            .with_partition_indexes(vec![0]);
        let asked = m::offset_fetch_request::OffsetFetchRequestGroup::default()
            .with_group_id(group(GROUP))
            .with_member_id(Some("commits".into()))
            .with_member_epoch(epoch)
            .with_topics(Some(vec![asked]));
        m::OffsetFetchRequest::default().with_groups(vec![asked])
    };
    for (epoch, id, error) in [(member.epoch, "commits", 0), (member.epoch + 5, "commits", 113), (1, "nobody", 25)] {
        let committed = member.client.ask(9, &commit(epoch, id)).await;
        assert_eq!(committed.topics[0].partitions[0].error_code, error, "{id} at epoch {epoch}");
    }
    let found = member.client.ask(9, &fetch(member.epoch)).await;
    assert_eq!(found.groups[0].topics[0].name, topic(NAME));
    assert_eq!(found.groups[0].topics[0].partitions[0].committed_offset, 7);
    assert_eq!(member.client.ask(9, &fetch(member.epoch + 5)).await.groups[0].error_code, 113);
    // A member of an epoch that is over is told to join anew.
    let fenced = member.request().with_member_epoch(member.epoch + 5);
    assert_eq!(member.client.ask(1, &fenced).await.error_code, 110);
    member.says_all = true;
    member.leave().await;
}

async fn a_connection_that_knows_nothing_of_a_member_asks_it_to_say_all(world: &World) {
    let mut member = Member::new(world, "near.app", GROUP, "moves", &[NAME]).await;
    until(&mut [&mut member], "all partitions", |members| members[0].held.len() == 2).await;
    let (epoch, held) = (member.epoch, member.held.clone());
    member.client = world.at("near.app").await;
    assert_eq!(member.beat().await, 16);
    assert_eq!(member.beat().await, 0, "it says all, and stays what it was");
    assert_eq!((member.epoch, &member.held), (epoch, &held));
    member.leave().await;
}

async fn a_pattern_finds_what_the_reader_may_see_and_never_reaches_the_broker(kafka: &Kafka, world: &World) {
    let id = id_of(world, "near.app", NAME).await;
    let mut near = Member::new(world, "near.app", GROUP, "pattern", &[]).await;
    near.pattern = Some(".*orders|acme.*");
    until(&mut [&mut near], "all partitions", |members| members[0].held == [(id, 0), (id, 1)].into()).await;
    let tool = ["--bootstrap-server", kafka.plain(), "--describe", "--members", "--verbose", "--group", "near/g"];
    let behind = kafka.tool("consumer-groups", &tool, b"");
    let behind = String::from_utf8_lossy(&behind.stdout).into_owned();
    assert!(behind.contains("hub.acme-orders") && !behind.contains(".*"), "{behind}");
    // Whoever may see nothing finds nothing, and finds what it is granted at its next heartbeat.
    let mut far = Member::new(world, "far.app", GROUP, "far", &[]).await;
    far.pattern = Some(".*");
    assert_eq!(far.beat().await, 0);
    assert!(far.held.is_empty());
    world.grant("far", "orders.in").await.unwrap();
    let granted = id_of(world, "far.app", "orders.in").await;
    until(&mut [&mut far], "what is granted", |members| members[0].held == [(granted, 0), (granted, 1)].into()).await;
    for (pattern, error) in [("(", 128), ("a)|(b", 128)] {
        (far.pattern, far.says_all) = (Some(pattern), true);
        assert_eq!(far.client.ask(1, &far.request()).await.error_code, error);
    }
    far.leave().await;
    near.leave().await;
}

async fn what_the_broker_would_not_take_is_refused(world: &World) {
    let mut member = Member::new(world, "near.app", GROUP, "refused", &[NAME]).await;
    let sticky = member.request().with_server_assignor(Some("sticky".into()));
    assert_eq!(member.client.ask(1, &sticky).await.error_code, 112);
    let range = member.request().with_server_assignor(Some("range".into()));
    assert_eq!(member.client.ask(1, &range).await.error_code, 0);
    member.leave().await;
    let silent = member.request().with_member_epoch(0).with_rebalance_timeout_ms(1_000);
    assert_eq!(member.client.ask(1, &silent).await.error_code, 42, "it wants nothing");
}

/// A broker that keeps members of both assigns to the older ones as well, by the names that it knows.
async fn members_of_both_protocols_share_a_group(world: &World) {
    let mut newer = Member::new(world, "near.app", "both", "newer", &[NAME]).await;
    await_coordinator(&mut newer.client, "near.app").await;
    until(&mut [&mut newer], "all partitions", |members| members[0].held.len() == 2).await;
    let mut older = world.at("near.app").await;
    let protocol = m::join_group_request::JoinGroupRequestProtocol::default()
        .with_name("range".into())
        .with_metadata(subscription(&[NAME, SECRET]));
    let join = m::JoinGroupRequest::default()
        .with_group_id(group("both"))
        .with_session_timeout_ms(30_000)
        .with_rebalance_timeout_ms(30_000)
        .with_protocol_type("consumer".into())
        .with_protocols(vec![protocol]);
    let id = older.ask(5, &join).await.member_id;
    let join = join.with_member_id(id);
    for _ in 0..100 {
        let joined = older.ask(5, &join).await;
        assert_eq!(joined.error_code, 0);
        let sync = m::SyncGroupRequest::default()
            .with_group_id(group("both"))
            .with_generation_id(joined.generation_id)
            .with_member_id(joined.member_id);
        let synced = older.ask(3, &sync).await;
        assert!(matches!(synced.error_code, 0 | 27), "error {}", synced.error_code);
        let said = String::from_utf8_lossy(&synced.assignment).into_owned();
        assert!(!said.contains(TOPIC) && !said.contains(PREFIX) && !said.contains(SECRET), "{said:?}");
        if said.contains(NAME) {
            assert_eq!(newer.held.len(), 1);
            newer.leave().await;
            return;
        }
        assert_eq!(newer.beat().await, 0);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the older member is assigned nothing")
}

async fn who_may_publish_only_is_told_so(world: &World) {
    let mut member = Member::new(world, "acme.wms", GROUP, "publisher", &[TOPIC]).await;
    assert_eq!(member.beat().await, 29);
    member.pattern = Some(".*");
    member.names.clear();
    assert_eq!(member.beat().await, 0, "a pattern finds what may be read");
    assert!(member.held.is_empty());
    member.leave().await;
}

async fn a_group_is_described_to_its_own_organization(world: &World) {
    let id = id_of(world, "near.app", NAME).await;
    let mut member = Member::new(world, "near.app", GROUP, "described", &[NAME, "no-such"]).await;
    until(&mut [&mut member], "all partitions", |members| members[0].held.len() == 2).await;
    let describe = m::ConsumerGroupDescribeRequest::default().with_group_ids(vec![group(GROUP)]);
    let found = member.client.ask(1, &describe).await.groups.remove(0);
    assert_eq!((found.error_code, found.group_id, found.members.len()), (0, group(GROUP), 1));
    let one = &found.members[0];
    assert_eq!(one.client_id.as_str(), "test");
    assert_eq!(one.subscribed_topic_names.iter().collect::<BTreeSet<_>>(), [&topic("no-such"), &topic(NAME)].into());
    for assignment in [&one.assignment, &one.target_assignment] {
        let told = &assignment.topic_partitions[0];
        assert_eq!((&told.topic_name, told.topic_id, told.partitions.len()), (&topic(NAME), id, 2));
    }
    let others = world.at("far.app").await.ask(1, &describe).await;
    assert!(others.groups[0].members.is_empty(), "{others:?}");
    member.leave().await;
}

async fn a_client_that_asks_too_often_is_told_to_be_quiet(kafka: &Kafka) {
    let few = |limits: &mut KafkaLimits| limits.requests_per_credential = Rate { per_second: 1.0, burst: 3 };
    let world = World::in_front_of_with(few, upstream(kafka, "few.")).await;
    let mut member = Member::new(&world, "near.app", "few", "few", &[TOPIC]).await;
    let mut quiet = 0;
    for _ in 0..5 {
        quiet = quiet.max(member.client.ask(1, &member.request()).await.throttle_time_ms);
    }
    assert!(quiet > 0);
}

async fn a_grant_that_ends_takes_the_assignment_and_a_new_one_gives_it_back(world: &World) {
    let mut member = Member::new(world, "near.app", GROUP, "ends", &[NAME]).await;
    until(&mut [&mut member], "all partitions", |members| members[0].held.len() == 2).await;
    world.revoke_grant().await;
    until(&mut [&mut member], "nothing left", |members| members[0].held.is_empty()).await;
    let mut anew = Member::new(world, "near.app", "anew", "anew", &[NAME, TOPIC]).await;
    await_coordinator(&mut anew.client, "near.app").await;
    for _ in 0..5 {
        assert_eq!(anew.beat().await, 0);
        assert!(anew.held.is_empty());
    }
    world.grant_as("near-again", "near", NAME).await.unwrap();
    until(&mut [&mut member], "all partitions again", |members| members[0].held.len() == 2).await;
    member.leave().await;
}

async fn a_credential_that_is_revoked_beats_no_more(world: &World) {
    let mut member = Member::new(world, "near.app", GROUP, "revoked", &[NAME]).await;
    until(&mut [&mut member], "all partitions", |members| members[0].held.len() == 2).await;
    world.revoke_key("near.app").await;
    member.client.send(1, &member.request()).await;
    assert!(member.client.is_closed().await);
}

/// Waits until the groups of these tests can be asked for, as every client does.
async fn await_coordinator(client: &mut Client, who: &str) {
    for name in [GROUP, "both", "anew"] {
        let mut last = 0;
        for _ in 0..600 {
            let key = StrBytes::from_string(name.to_owned());
            let find = m::FindCoordinatorRequest::default().with_coordinator_keys(vec![key]);
            let found = client.ask(4, &find).await.coordinators[0].error_code;
            let asked = m::OffsetFetchRequest::default().with_group_id(group(name)).with_topics(None);
            last = if found == 0 { client.ask(7, &asked).await.error_code } else { found };
            if last == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(last, 0, "there is no coordinator for {who}");
    }
}

fn group(name: &str) -> GroupId {
    GroupId(StrBytes::from_string(name.to_owned()))
}
