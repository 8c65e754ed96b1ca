//! Kafka's error codes, and which one each refusal of the hub becomes.
//!
//! <https://kafka.apache.org/protocol#protocol_error_codes>. It does not know which version of an API may carry which.

use tradelane_hub::HubError;
use tradelane_model::{ErrorCode, codes};

pub(crate) const NONE: i16 = 0;
pub(crate) const OFFSET_OUT_OF_RANGE: i16 = 1;
pub(crate) const CORRUPT_MESSAGE: i16 = 2;
pub(crate) const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
pub(crate) const MESSAGE_TOO_LARGE: i16 = 10;
pub(crate) const INVALID_REQUIRED_ACKS: i16 = 21;
pub(crate) const TOPIC_AUTHORIZATION_FAILED: i16 = 29;
pub(crate) const GROUP_AUTHORIZATION_FAILED: i16 = 30;
pub(crate) const UNSUPPORTED_SASL_MECHANISM: i16 = 33;
pub(crate) const ILLEGAL_SASL_STATE: i16 = 34;
pub(crate) const UNSUPPORTED_VERSION: i16 = 35;
pub(crate) const INVALID_REQUEST: i16 = 42;
pub(crate) const OUT_OF_ORDER_SEQUENCE_NUMBER: i16 = 45;
pub(crate) const INVALID_PRODUCER_EPOCH: i16 = 47;
pub(crate) const TRANSACTIONAL_ID_AUTHORIZATION_FAILED: i16 = 53;
pub(crate) const KAFKA_STORAGE_ERROR: i16 = 56;
pub(crate) const SASL_AUTHENTICATION_FAILED: i16 = 58;
pub(crate) const INVALID_RECORD: i16 = 87;
pub(crate) const THROTTLING_QUOTA_EXCEEDED: i16 = 89;
pub(crate) const UNKNOWN_TOPIC_ID: i16 = 100;

/// The same code for a request that names topics by their ids: such a topic is unknown by its id.
pub(crate) fn by_id(code: i16) -> i16 {
    if code == UNKNOWN_TOPIC_OR_PARTITION { UNKNOWN_TOPIC_ID } else { code }
}

/// What the hub's refusal is to a Kafka client.
pub(crate) fn of(error: &HubError) -> i16 {
    of_code(error.code)
}

/// The same by its stable code.
pub(crate) fn of_code(code: ErrorCode) -> i16 {
    match code {
        codes::NOT_FOUND | codes::NO_GRANT => UNKNOWN_TOPIC_OR_PARTITION,
        codes::GRANT_ENDED | codes::FORBIDDEN => TOPIC_AUTHORIZATION_FAILED,
        codes::CREDENTIALS_EXPIRED | codes::UNAUTHENTICATED => SASL_AUTHENTICATION_FAILED,
        codes::OFFSET_BEYOND_END => OFFSET_OUT_OF_RANGE,
        codes::TOO_LARGE => MESSAGE_TOO_LARGE,
        codes::RATE_LIMITED => THROTTLING_QUOTA_EXCEEDED,
        // What the hub cannot do now: the client tries again.
        code if code.info().status >= 500 => KAFKA_STORAGE_ERROR,
        _ => INVALID_RECORD,
    }
}
