//! What groups have read, and who of their organization may move or delete it.

use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use kafka_protocol::messages::{
    DeleteGroupsRequest, GroupId, OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest,
};
use kafka_protocol::protocol::StrBytes;

use super::support::{Client, TOPIC, World, topic};

const TOPIC_AUTHORIZATION_FAILED: i16 = 29;
const GROUP_AUTHORIZATION_FAILED: i16 = 30;

fn group() -> GroupId {
    GroupId(StrBytes::from_static_str("readers"))
}

async fn commit(client: &mut Client, offset: i64) -> i16 {
    let partition = OffsetCommitRequestPartition::default().with_committed_offset(offset);
    let asked = OffsetCommitRequestTopic::default().with_name(topic(TOPIC)).with_partitions(vec![partition]);
    let request = OffsetCommitRequest::default().with_group_id(group()).with_generation_id_or_member_epoch(-1);
    client.ask(8, &request.with_topics(vec![asked])).await.topics[0].partitions[0].error_code
}

async fn delete_group(client: &mut Client) -> i16 {
    client.ask(2, &DeleteGroupsRequest::default().with_groups_names(vec![group()])).await.results[0].error_code
}

pub(crate) async fn who_may_not_read_a_topic_neither_moves_nor_deletes_what_groups_have_read_of_it(world: &World) {
    let mut owner = world.node("acme.owner", 0).await;
    let mut publisher = world.node("acme.wms", 0).await;
    assert_eq!(commit(&mut owner, 3).await, 0);

    assert_eq!(commit(&mut publisher, 1).await, TOPIC_AUTHORIZATION_FAILED);
    let partition = OffsetDeleteRequestPartition::default();
    let asked = OffsetDeleteRequestTopic::default().with_name(topic(TOPIC)).with_partitions(vec![partition]);
    let request = OffsetDeleteRequest::default().with_group_id(group()).with_topics(vec![asked]);
    let refused = publisher.ask(0, &request).await;
    assert_eq!(refused.topics[0].partitions[0].error_code, TOPIC_AUTHORIZATION_FAILED);
    assert_eq!(delete_group(&mut publisher).await, GROUP_AUTHORIZATION_FAILED);

    let all = OffsetFetchRequest::default().with_group_id(group()).with_topics(None);
    let kept = owner.ask(7, &all).await;
    assert_eq!(kept.topics[0].partitions[0].committed_offset, 3);
    assert_eq!(delete_group(&mut owner).await, 0);
}
