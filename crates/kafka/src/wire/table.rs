//! What is served: every API with its versions. What is not in this table does not exist.
//!
//! Groups of KIP-848 (68, 69) are a cluster's. Share groups (76 to 79), telemetry (71, 72), changes of topics, configurations and access rights,
//! and all that brokers say among themselves (keys of 10000 and above included) are absent on purpose.

use super::requests as shape;
use super::schema::Schema;

/// An API, by Kafka's own number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(i16)]
pub(crate) enum Key {
    Produce = 0,
    Fetch = 1,
    ListOffsets = 2,
    Metadata = 3,
    OffsetCommit = 8,
    OffsetFetch = 9,
    FindCoordinator = 10,
    JoinGroup = 11,
    Heartbeat = 12,
    LeaveGroup = 13,
    SyncGroup = 14,
    DescribeGroups = 15,
    ListGroups = 16,
    SaslHandshake = 17,
    ApiVersions = 18,
    InitProducerId = 22,
    OffsetForLeaderEpoch = 23,
    AddPartitionsToTxn = 24,
    AddOffsetsToTxn = 25,
    EndTxn = 26,
    TxnOffsetCommit = 28,
    DescribeConfigs = 32,
    SaslAuthenticate = 36,
    DeleteGroups = 42,
    OffsetDelete = 47,
    DescribeCluster = 60,
    ConsumerGroupHeartbeat = 68,
    ConsumerGroupDescribe = 69,
    DescribeTopicPartitions = 75,
}

/// Which names of a tenant's an API carries; each kind has its test that another tenant's do not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Names {
    /// None that are looked up.
    None,
    /// Topics.
    Topics,
    /// Groups.
    Groups,
    /// Both.
    TopicsAndGroups,
}

/// An API as it is served.
#[derive(Debug)]
pub(crate) struct Api {
    pub(crate) key: Key,
    /// Its name in metrics and logs.
    pub(crate) name: &'static str,
    /// The least version that is advertised.
    pub(crate) advertised: i16,
    /// The least version that is served; between the two, the answer is that the version is not supported.
    pub(crate) min: i16,
    /// The highest version.
    pub(crate) max: i16,
    pub(crate) names: Names,
    pub(crate) schema: &'static Schema,
}

const fn api(key: Key, name: &'static str, min: i16, max: i16, names: Names, schema: &'static Schema) -> Api {
    Api { key, name, advertised: min, min, max, names, schema }
}

/// The allow-list, by key.
pub(crate) static SERVED: [Api; 29] = [
    // Older clients take a least version above 0 for a broker that does not know compression (KAFKA-18659).
    Api {
        key: Key::Produce,
        name: "Produce",
        advertised: 0,
        min: 3,
        max: 13,
        names: Names::Topics,
        schema: &shape::PRODUCE,
    },
    api(Key::Fetch, "Fetch", 4, 17, Names::Topics, &shape::FETCH),
    api(Key::ListOffsets, "ListOffsets", 1, 8, Names::Topics, &shape::LIST_OFFSETS),
    api(Key::Metadata, "Metadata", 0, 12, Names::Topics, &shape::METADATA),
    api(Key::OffsetCommit, "OffsetCommit", 2, 9, Names::TopicsAndGroups, &shape::OFFSET_COMMIT),
    api(Key::OffsetFetch, "OffsetFetch", 1, 9, Names::TopicsAndGroups, &shape::OFFSET_FETCH),
    api(Key::FindCoordinator, "FindCoordinator", 0, 4, Names::Groups, &shape::FIND_COORDINATOR),
    api(Key::JoinGroup, "JoinGroup", 0, 9, Names::Groups, &shape::JOIN_GROUP),
    api(Key::Heartbeat, "Heartbeat", 0, 4, Names::Groups, &shape::HEARTBEAT),
    api(Key::LeaveGroup, "LeaveGroup", 0, 5, Names::Groups, &shape::LEAVE_GROUP),
    api(Key::SyncGroup, "SyncGroup", 0, 5, Names::Groups, &shape::SYNC_GROUP),
    api(Key::DescribeGroups, "DescribeGroups", 0, 5, Names::Groups, &shape::DESCRIBE_GROUPS),
    api(Key::ListGroups, "ListGroups", 0, 5, Names::Groups, &shape::LIST_GROUPS),
    // After a handshake of version 0 come bare tokens, which nobody sends any more; but its being there tells older clients
    // (librdkafka 2.0.2) that there is SASL at all.
    Api {
        key: Key::SaslHandshake,
        name: "SaslHandshake",
        advertised: 0,
        min: 1,
        max: 1,
        names: Names::None,
        schema: &shape::SASL_HANDSHAKE,
    },
    api(Key::ApiVersions, "ApiVersions", 0, 4, Names::None, &shape::API_VERSIONS),
    api(Key::InitProducerId, "InitProducerId", 0, 5, Names::None, &shape::INIT_PRODUCER_ID),
    api(Key::OffsetForLeaderEpoch, "OffsetForLeaderEpoch", 2, 4, Names::Topics, &shape::OFFSET_FOR_LEADER_EPOCH),
    api(Key::AddPartitionsToTxn, "AddPartitionsToTxn", 0, 3, Names::Topics, &shape::ADD_PARTITIONS_TO_TXN),
    api(Key::AddOffsetsToTxn, "AddOffsetsToTxn", 0, 3, Names::Groups, &shape::ADD_OFFSETS_TO_TXN),
    api(Key::EndTxn, "EndTxn", 0, 3, Names::None, &shape::END_TXN),
    api(Key::TxnOffsetCommit, "TxnOffsetCommit", 0, 3, Names::TopicsAndGroups, &shape::TXN_OFFSET_COMMIT),
    api(Key::DescribeConfigs, "DescribeConfigs", 1, 4, Names::Topics, &shape::DESCRIBE_CONFIGS),
    api(Key::SaslAuthenticate, "SaslAuthenticate", 0, 2, Names::None, &shape::SASL_AUTHENTICATE),
    api(Key::DeleteGroups, "DeleteGroups", 0, 2, Names::Groups, &shape::DELETE_GROUPS),
    api(Key::OffsetDelete, "OffsetDelete", 0, 0, Names::TopicsAndGroups, &shape::OFFSET_DELETE),
    api(Key::DescribeCluster, "DescribeCluster", 0, 2, Names::None, &shape::DESCRIBE_CLUSTER),
    api(
        Key::ConsumerGroupHeartbeat,
        "ConsumerGroupHeartbeat",
        0,
        1,
        Names::TopicsAndGroups,
        &shape::CONSUMER_GROUP_HEARTBEAT,
    ),
    api(Key::ConsumerGroupDescribe, "ConsumerGroupDescribe", 0, 1, Names::Groups, &shape::CONSUMER_GROUP_DESCRIBE),
    api(
        Key::DescribeTopicPartitions,
        "DescribeTopicPartitions",
        0,
        0,
        Names::Topics,
        &shape::DESCRIBE_TOPIC_PARTITIONS,
    ),
];

impl Key {
    /// May it be asked before anyone has said who they are?
    pub(crate) fn is_before_authentication(self) -> bool {
        matches!(self, Self::ApiVersions | Self::SaslHandshake | Self::SaslAuthenticate)
    }

    /// Is it there only if a cluster keeps the groups? Our own coordinator speaks the classic protocol, and says so to members of
    /// the newer one.
    pub(crate) fn is_of_a_cluster(self) -> bool {
        self == Self::ConsumerGroupDescribe
    }
}

/// The API of that number, if it is served.
pub(crate) fn served(key: i16) -> Option<&'static Api> {
    SERVED.iter().find(|api| api.key as i16 == key)
}
