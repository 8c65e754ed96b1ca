//! The Kafka listener: any Kafka client in, through the hub's one doorway, over the embedded engine or in
//! front of a cluster.
//!
//! It knows Kafka's protocol and nothing of how events are stored, sealed or shown. [`serve`] takes the connection within
//! limits, `connection` finds who it is (SASL or a client certificate) and takes its requests in order, `wire`
//! proves that a request is what it claims to be before it is decoded, and `apis` has one handler per API, each a call of
//! the hub or of the group coordinator.
//!
//! Topics are products: a caller's own, and those that it was granted, each under the name and the id that its organization
//! has for it. Nothing else exists, in any API.

mod apis;
mod codes;
pub mod config;
mod connection;
mod engine;
mod flight;
mod frames;
mod metrics;
mod names;
mod offsets;
mod producers;
mod quota;
mod sasl;
pub mod serve;
mod sessions;
mod shared;
mod subscription;
mod wire;

/// For fuzzing and for tests of what memory is asked for: reads a frame as a connection would, and says whether it is a
/// request.
#[doc(hidden)]
pub fn is_request(frame: &[u8]) -> bool {
    wire::any::is_request(bytes::Bytes::copy_from_slice(frame))
}

/// For the test that another tenant's names do not exist in any API: number, name, and whether it names topics and groups.
/// On the embedded engine, or all that there is in front of a cluster as well.
#[doc(hidden)]
pub fn served(with_a_cluster: bool) -> Vec<(i16, &'static str, bool, bool)> {
    use wire::table::Names::{Groups, Topics, TopicsAndGroups};
    let row = |api: &wire::table::Api| {
        let (topics, groups) =
            (matches!(api.names, Topics | TopicsAndGroups), matches!(api.names, Groups | TopicsAndGroups));
        (api.key as i16, api.name, topics, groups)
    };
    wire::table::SERVED.iter().filter(|api| with_a_cluster || !api.key.is_of_a_cluster()).map(row).collect()
}

pub use config::{KafkaConfig, KafkaLimits, Rate, Transport};
pub use engine::ClusterTopics;
pub use engine::config::{Login, LoginMechanism, Password, UpstreamConfig};
pub use serve::{Observer, ServeError, Server};
