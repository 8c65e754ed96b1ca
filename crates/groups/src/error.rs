//! What a group may answer instead of what was asked, one to one with Kafka's error codes.
//!
//! It does not know which versions of a request may carry which code; the listener does.

/// A refusal, as Kafka's protocol names it (<https://kafka.apache.org/protocol#protocol_error_codes>).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum GroupError {
    /// What the leader assigned is larger than a group may hold.
    #[error("the group cannot hold that much")]
    UnknownServerError,
    /// The metadata of one committed offset is longer than allowed.
    #[error("the metadata of the offset is too long")]
    OffsetMetadataTooLarge,
    /// The offsets of the group are being read; ask again.
    #[error("the group is being loaded")]
    CoordinatorLoadInProgress,
    /// The store could not be read or written, or the group is just being removed; ask again.
    #[error("the coordinator is not available")]
    CoordinatorNotAvailable,
    /// The generation is not the current one.
    #[error("the generation is not the current one")]
    IllegalGeneration,
    /// The protocol type or the protocols do not fit those of the members that are there.
    #[error("the protocols do not fit those of the group")]
    InconsistentGroupProtocol,
    /// The group id is empty or too long.
    #[error("the group id is not valid")]
    InvalidGroupId,
    /// No member of that id, or it belongs to another principal.
    #[error("the member is not known")]
    UnknownMemberId,
    /// The session timeout is outside what is allowed.
    #[error("the session timeout is outside what is allowed")]
    InvalidSessionTimeout,
    /// Members are joining: join again.
    #[error("the group is rebalancing")]
    RebalanceInProgress,
    /// A value that no client sends, or one beyond a limit that has no code of its own.
    #[error("the request is not valid")]
    InvalidRequest,
    /// The tenant has as many groups as it may have.
    #[error("no more groups are allowed")]
    PolicyViolation,
    /// The group still has members.
    #[error("the group is not empty")]
    NonEmptyGroup,
    /// There is no such group.
    #[error("the group does not exist")]
    GroupIdNotFound,
    /// Join again with the member id that comes with this answer (KIP-394).
    #[error("join again with the member id given")]
    MemberIdRequired,
    /// The group has as many members as it may have.
    #[error("the group is full")]
    GroupMaxSizeReached,
    /// Another member has this instance id now (KIP-345).
    #[error("another member has this instance id")]
    FencedInstanceId,
    /// The offset belongs to a topic that a member reads.
    #[error("the group is subscribed to the topic")]
    GroupSubscribedToTopic,
}

impl GroupError {
    /// The error code on the wire.
    pub const fn code(self) -> i16 {
        match self {
            Self::UnknownServerError => -1,
            Self::OffsetMetadataTooLarge => 12,
            Self::CoordinatorLoadInProgress => 14,
            Self::CoordinatorNotAvailable => 15,
            Self::IllegalGeneration => 22,
            Self::InconsistentGroupProtocol => 23,
            Self::InvalidGroupId => 24,
            Self::UnknownMemberId => 25,
            Self::InvalidSessionTimeout => 26,
            Self::RebalanceInProgress => 27,
            Self::InvalidRequest => 42,
            Self::PolicyViolation => 44,
            Self::NonEmptyGroup => 68,
            Self::GroupIdNotFound => 69,
            Self::MemberIdRequired => 79,
            Self::GroupMaxSizeReached => 81,
            Self::FencedInstanceId => 82,
            Self::GroupSubscribedToTopic => 86,
        }
    }
}
