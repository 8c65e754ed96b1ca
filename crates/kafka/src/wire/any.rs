//! Decodes a request of any API, for tests and fuzzing: what a connection does with a frame before anybody is asked.

use bytes::Bytes;
use kafka_protocol::messages as m;

use super::schema::Malformed;
use super::table::Key;
use super::{NoRequest, Request};

impl Request {
    /// Decodes the body as what the request says it is, and forgets it.
    pub(crate) fn decode_any(&self) -> Result<(), Malformed> {
        match self.api.key {
            Key::Produce => self.decode::<m::ProduceRequest>().map(drop),
            Key::Fetch => self.decode::<m::FetchRequest>().map(drop),
            Key::ListOffsets => self.decode::<m::ListOffsetsRequest>().map(drop),
            Key::Metadata => self.decode::<m::MetadataRequest>().map(drop),
            Key::OffsetCommit => self.decode::<m::OffsetCommitRequest>().map(drop),
            Key::OffsetFetch => self.decode::<m::OffsetFetchRequest>().map(drop),
            Key::FindCoordinator => self.decode::<m::FindCoordinatorRequest>().map(drop),
            Key::JoinGroup => self.decode::<m::JoinGroupRequest>().map(drop),
            Key::Heartbeat => self.decode::<m::HeartbeatRequest>().map(drop),
            Key::LeaveGroup => self.decode::<m::LeaveGroupRequest>().map(drop),
            Key::SyncGroup => self.decode::<m::SyncGroupRequest>().map(drop),
            Key::DescribeGroups => self.decode::<m::DescribeGroupsRequest>().map(drop),
            Key::ListGroups => self.decode::<m::ListGroupsRequest>().map(drop),
            Key::SaslHandshake => self.decode::<m::SaslHandshakeRequest>().map(drop),
            Key::ApiVersions => self.decode::<m::ApiVersionsRequest>().map(drop),
            Key::InitProducerId => self.decode::<m::InitProducerIdRequest>().map(drop),
            Key::OffsetForLeaderEpoch => self.decode::<m::OffsetForLeaderEpochRequest>().map(drop),
            Key::AddPartitionsToTxn => self.decode::<m::AddPartitionsToTxnRequest>().map(drop),
            Key::AddOffsetsToTxn => self.decode::<m::AddOffsetsToTxnRequest>().map(drop),
            Key::EndTxn => self.decode::<m::EndTxnRequest>().map(drop),
            Key::TxnOffsetCommit => self.decode::<m::TxnOffsetCommitRequest>().map(drop),
            Key::DescribeConfigs => self.decode::<m::DescribeConfigsRequest>().map(drop),
            Key::SaslAuthenticate => self.decode::<m::SaslAuthenticateRequest>().map(drop),
            Key::DeleteGroups => self.decode::<m::DeleteGroupsRequest>().map(drop),
            Key::OffsetDelete => self.decode::<m::OffsetDeleteRequest>().map(drop),
            Key::DescribeCluster => self.decode::<m::DescribeClusterRequest>().map(drop),
            Key::ConsumerGroupHeartbeat => self.decode::<m::ConsumerGroupHeartbeatRequest>().map(drop),
            Key::ConsumerGroupDescribe => self.decode::<m::ConsumerGroupDescribeRequest>().map(drop),
            Key::DescribeTopicPartitions => self.decode::<m::DescribeTopicPartitionsRequest>().map(drop),
        }
    }
}

/// Reads a frame and decodes what is in it. True if it is a request.
pub(crate) fn is_request(frame: Bytes) -> bool {
    let request: Result<Request, NoRequest> = Request::read(frame);
    request.is_ok_and(|request| request.decode_any().is_ok())
}
