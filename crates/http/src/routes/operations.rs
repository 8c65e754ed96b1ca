//! Health, readiness and metrics.

use std::fmt::Write as _;

use http::{Method, StatusCode};
use tradelane_hub::health::Check;
use tradelane_hub::{HubError, Result};
use tradelane_model::codes;

use crate::api::{operation, reference, text};
use crate::config::MetricsFor;
use crate::door::{PublicAsk, Route, public};
use crate::reply::Reply;

pub(super) fn routes(routes: &mut Vec<Route>) {
    let alive = operation("health", "Operations", "Is the process alive?").answer(
        200,
        "It is.",
        "application/json",
        reference("HealthBody"),
    );
    routes.push(public(Method::GET, "/healthz", alive, health));
    let ready = operation("readiness", "Operations", "Can the hub serve?")
        .answer(200, "It can.", "application/json", reference("HealthBody"))
        .answer(503, "It cannot, and why.", "application/json", reference("HealthBody"));
    routes.push(public(Method::GET, "/readyz", ready, readiness));
    let numbers = operation("metrics", "Operations", "Metrics in Prometheus' text format")
        .about("For peers on the same machine, unless the configuration says otherwise.")
        .answer(200, "The metrics.", "text/plain; version=0.0.4; charset=utf-8", text())
        .refuses(404, "Not for this peer.");
    routes.push(public(Method::GET, "/metrics", numbers, metrics));
}

async fn health(ask: PublicAsk) -> Result<Reply> {
    ask.no_query()?;
    Ok(Reply::of(StatusCode::OK, "application/json", r#"{"ready":true,"checks":[]}"#))
}

async fn readiness(ask: PublicAsk) -> Result<Reply> {
    ask.no_query()?;
    let mut health = ask.shared.hub.health().await;
    if let Some((name, is_well)) = ask.shared.more_ready.get() {
        let check = Check { name, ok: is_well() };
        health.ready &= check.ok;
        health.checks.push(check);
    }
    let closing = *ask.shared.closing.borrow();
    let status = if health.ready && !closing { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok(Reply::json(status, &health))
}

async fn metrics(ask: PublicAsk) -> Result<Reply> {
    if ask.shared.metrics_for == MetricsFor::Loopback && !ask.from.loopback {
        return Err(HubError::of(codes::NOT_FOUND));
    }
    ask.no_query()?;
    let mut page = ask.shared.metrics.text();
    page.extend_from_slice(hub_metrics(&ask).as_bytes());
    if let Some(more) = ask.shared.more_metrics.get() {
        page.extend_from_slice(&more());
    }
    Ok(Reply::of(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", page))
}

/// What the hub counts, in the same format.
fn hub_metrics(ask: &PublicAsk) -> String {
    let stats = ask.shared.hub.stats();
    let mut page = String::new();
    for (name, value) in &stats.counters {
        let _ = writeln!(page, "# TYPE tradelane_{name}_total counter\ntradelane_{name}_total {value}");
    }
    let gauges = [
        ("audit_leaves", stats.audit_leaves),
        ("journal_entries", stats.journal_entries),
        ("live_grants", stats.live_grants),
        ("dictionaries", stats.dictionaries),
    ];
    for (name, value) in gauges {
        let _ = writeln!(page, "# TYPE tradelane_{name} gauge\ntradelane_{name} {value}");
    }
    page
}
