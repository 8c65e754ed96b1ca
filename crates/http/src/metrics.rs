//! What is counted of the listener, in Prometheus' text format. Labels are route templates and statuses: never a path as it
//! was asked for, never an organization.

use std::time::Duration;

use prometheus::{
    Encoder, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder,
};

/// Bounds of the latency histogram, in seconds.
const SECONDS: [f64; 10] = [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0];

/// The listener's own metrics.
pub(crate) struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    seconds: HistogramVec,
    pub(crate) connections: IntGauge,
    pub(crate) refused_connections: IntCounter,
    pub(crate) failed_handshakes: IntCounter,
    pub(crate) rate_limited: IntCounter,
    pub(crate) event_streams: IntGauge,
}

impl Metrics {
    /// Registers all of them. The names are constants, so it fails never or always.
    pub(crate) fn new() -> Result<Self, prometheus::Error> {
        let metrics = Self {
            registry: Registry::new(),
            requests: IntCounterVec::new(
                Opts::new("tradelane_http_requests_total", "Requests answered."),
                &["method", "route", "status"],
            )?,
            seconds: HistogramVec::new(
                HistogramOpts::new("tradelane_http_request_seconds", "Time from a request's head to its answer's.")
                    .buckets(SECONDS.to_vec()),
                &["method", "route"],
            )?,
            connections: IntGauge::new("tradelane_http_connections", "Open connections.")?,
            refused_connections: IntCounter::new(
                "tradelane_http_connections_refused_total",
                "Connections refused because there were too many.",
            )?,
            failed_handshakes: IntCounter::new("tradelane_tls_handshakes_failed_total", "TLS handshakes that failed.")?,
            rate_limited: IntCounter::new("tradelane_http_rate_limited_total", "Requests refused by a rate limit.")?,
            event_streams: IntGauge::new("tradelane_http_event_streams", "Open event streams.")?,
        };
        metrics.registry.register(Box::new(metrics.requests.clone()))?;
        metrics.registry.register(Box::new(metrics.seconds.clone()))?;
        metrics.registry.register(Box::new(metrics.connections.clone()))?;
        metrics.registry.register(Box::new(metrics.refused_connections.clone()))?;
        metrics.registry.register(Box::new(metrics.failed_handshakes.clone()))?;
        metrics.registry.register(Box::new(metrics.rate_limited.clone()))?;
        metrics.registry.register(Box::new(metrics.event_streams.clone()))?;
        Ok(metrics)
    }

    pub(crate) fn answered(&self, method: &str, route: &str, status: u16, took: Duration) {
        self.requests.with_label_values(&[method, route, status_label(status)]).inc();
        self.seconds.with_label_values(&[method, route]).observe(took.as_secs_f64());
    }

    /// Everything as text.
    pub(crate) fn text(&self) -> Vec<u8> {
        let mut out = Vec::new();
        // Writing to memory does not fail.
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut out);
        out
    }
}

/// Statuses that are of interest one by one; the others by their class.
fn status_label(status: u16) -> &'static str {
    match status {
        200 => "200",
        201 => "201",
        202 => "202",
        400 => "400",
        401 => "401",
        403 => "403",
        404 => "404",
        409 => "409",
        413 => "413",
        422 => "422",
        429 => "429",
        500 => "500",
        503 => "503",
        507 => "507",
        _ => match status / 100 {
            2 => "2xx",
            3 => "3xx",
            4 => "4xx",
            _ => "5xx",
        },
    }
}
