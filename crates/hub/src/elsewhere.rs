//! A hub whose records are kept by a Kafka cluster: it seals them in and shows them out ([`crate::records`]), and has no
//! events of its own to publish to or to read from.

use tradelane_model::codes;

use crate::Hub;
use crate::error::{HubError, Result};
use crate::open::{HubConfig, Opened};

impl Hub {
    /// Opens the hub in front of a cluster. The control plane, audit, keys and quarantine are the hub's own as ever; what
    /// reads or writes events other than as records of that cluster is refused.
    pub async fn open_before_cluster(config: HubConfig) -> Result<(Self, Opened)> {
        Self::open_with(config, true).await
    }

    /// Are the events kept here? Asked wherever the event log is about to be.
    pub(crate) fn has_own_events(&self) -> Result<()> {
        if self.inner().elsewhere {
            let detail =
                "The records of this hub are kept by a Kafka cluster: publish and read them with a Kafka client.";
            return Err(HubError::new(codes::CONFLICT, detail));
        }
        Ok(())
    }
}
