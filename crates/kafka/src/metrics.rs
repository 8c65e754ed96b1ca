//! What is counted of the listener, in Prometheus' text format. Labels are names of APIs: never a topic, a group or an
//! organization.

use prometheus::{Encoder, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder};

/// The listener's own metrics.
pub(crate) struct Metrics {
    registry: Registry,
    pub(crate) requests: IntCounterVec,
    pub(crate) throttled: IntCounterVec,
    pub(crate) refused: IntCounterVec,
    pub(crate) connections: IntGauge,
    pub(crate) bytes_in: IntCounter,
    pub(crate) bytes_out: IntCounter,
    pub(crate) groups: IntGauge,
    pub(crate) members: IntGauge,
}

impl Metrics {
    /// Registers all of them. The names are constants, so it fails never or always.
    pub(crate) fn new() -> Result<Self, prometheus::Error> {
        let by = |name: &str, help: &str, label: &str| IntCounterVec::new(Opts::new(name, help), &[label]);
        let metrics = Self {
            registry: Registry::new(),
            requests: by("tradelane_kafka_requests_total", "Requests answered.", "api")?,
            throttled: by("tradelane_kafka_throttled_total", "Answers that told the client to be quiet.", "api")?,
            refused: by(
                "tradelane_kafka_connections_refused_total",
                "Connections that were ended, by reason.",
                "reason",
            )?,
            connections: IntGauge::new("tradelane_kafka_connections", "Open connections.")?,
            bytes_in: IntCounter::new("tradelane_kafka_bytes_in_total", "Bytes of requests.")?,
            bytes_out: IntCounter::new("tradelane_kafka_bytes_out_total", "Bytes of answers.")?,
            groups: IntGauge::new("tradelane_kafka_groups", "Consumer groups in memory.")?,
            members: IntGauge::new("tradelane_kafka_group_members", "Members of consumer groups.")?,
        };
        metrics.registry.register(Box::new(metrics.requests.clone()))?;
        metrics.registry.register(Box::new(metrics.throttled.clone()))?;
        metrics.registry.register(Box::new(metrics.refused.clone()))?;
        metrics.registry.register(Box::new(metrics.connections.clone()))?;
        metrics.registry.register(Box::new(metrics.bytes_in.clone()))?;
        metrics.registry.register(Box::new(metrics.bytes_out.clone()))?;
        metrics.registry.register(Box::new(metrics.groups.clone()))?;
        metrics.registry.register(Box::new(metrics.members.clone()))?;
        Ok(metrics)
    }

    pub(crate) fn refused(&self, reason: &str) {
        self.refused.with_label_values(&[reason]).inc();
    }

    /// Everything as text.
    pub(crate) fn text(&self) -> Vec<u8> {
        let mut out = Vec::new();
        // Writing to memory does not fail.
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut out);
        out
    }
}
