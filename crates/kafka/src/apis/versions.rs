//! ApiVersions: what is served, to whoever asks, before anything else is known of them.

use kafka_protocol::messages::ApiVersionsResponse;
use kafka_protocol::messages::api_versions_response::ApiVersion;

use crate::codes;
use crate::engine::Cluster;
use crate::wire::schema::Malformed;
use crate::wire::table::SERVED;
use crate::wire::{Request, Rope};

/// The table. A version from the future gets it in the oldest form, with the error that makes clients ask again (KIP-511).
/// Nothing is said of features: the tagged fields at their defaults stop older clients (librdkafka 2.0.2).
///
/// In front of a cluster, only what its brokers serve as well.
pub(crate) fn answer(request: &Request, throttle: i32, upstream: Option<&Cluster>) -> Result<Rope, Malformed> {
    let apis = SERVED.iter().filter_map(|api| {
        let (least, most) = match upstream {
            None if api.key.is_of_a_cluster() => return None,
            None => (api.advertised, api.max),
            Some(cluster) => cluster.offers(api)?,
        };
        let version = ApiVersion::default().with_api_key(api.key as i16);
        Some(version.with_min_version(least).with_max_version(most))
    });
    let known = request.version <= request.api.max;
    if known {
        // The names of software that it may carry are of no use here, but they must be well-formed.
        request.decode::<kafka_protocol::messages::ApiVersionsRequest>()?;
    }
    let response = ApiVersionsResponse::default()
        .with_error_code(if known { codes::NONE } else { codes::UNSUPPORTED_VERSION })
        .with_api_keys(apis.collect())
        .with_throttle_time_ms(throttle);
    request.reply_in(&response, if known { request.version } else { 0 })
}
