//! FindCoordinator: which broker keeps a group or a transactional id, at our address for it.

use kafka_protocol::messages::{BrokerId, FindCoordinatorRequest};
use kafka_protocol::protocol::StrBytes;

use super::{Failed, Passing};
use crate::codes;
use crate::names::{inside, outside};
use crate::wire::Rope;

/// Kafka's error code.
const COORDINATOR_NOT_AVAILABLE: i16 = 15;

impl Passing<'_> {
    pub(super) async fn find_coordinator(&mut self) -> Result<Rope, Failed> {
        let mut request: FindCoordinatorRequest = self.ask.request.decode()?;
        let version = self.ask.request.version;
        let organization = self.organization();
        request.key = inside(organization, &request.key);
        for key in &mut request.coordinator_keys {
            *key = inside(organization, key);
        }
        if version >= 4 {
            request.key = StrBytes::default();
        }
        let mut answer = self.call(&request).await?;
        answer.throttle_time_ms = if version >= 1 { self.throttle(answer.throttle_time_ms) } else { 0 };
        if version < 4 && answer.error_code == codes::NONE {
            match self.way.cluster.place(answer.node_id) {
                Some((host, port)) => answer = answer.with_host(host).with_port(port),
                None => {
                    answer = answer
                        .with_error_code(COORDINATOR_NOT_AVAILABLE)
                        .with_node_id(BrokerId(-1))
                        .with_host(StrBytes::default())
                        .with_port(-1);
                }
            }
        }
        answer.error_message = None;
        for found in &mut answer.coordinators {
            found.key = outside(organization, &found.key).unwrap_or_default();
            found.error_message = None;
            match self.way.cluster.place(found.node_id) {
                Some((host, port)) => (found.host, found.port) = (host, port),
                None => {
                    (found.node_id, found.host, found.port) = (BrokerId(-1), StrBytes::default(), -1);
                    if found.error_code == codes::NONE {
                        found.error_code = COORDINATOR_NOT_AVAILABLE;
                    }
                }
            }
        }
        Ok(self.ask.request.reply(&answer)?)
    }
}
