//! In front of every route: a request's id, its line in the log, its count, and the headers that every answer has.
//!
//! The log line names the route's template, never the path or the query as they were asked for, and nothing of a body.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use tokio::sync::{Notify, watch};
use tower::ServiceExt;
use tradelane_hub::{Hub, HubError};
use tradelane_model::{CredentialId, ErrorCode, OrgId, PrincipalId, codes};
use tradelane_transport::{Buckets, Peer};

use crate::config::{MetricsFor, ServerLimits};
use crate::metrics::Metrics;
use crate::problem::{self, Dialect};
use crate::streams::Streams;
use crate::unread::{Emptied, Patience};

/// Two years, as the preload lists demand.
const HSTS: HeaderValue = HeaderValue::from_static("max-age=63072000; includeSubDomains");
const NOTHING: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
/// The header with the request's id.
pub(crate) const REQUEST_ID: &str = "tradelane-request-id";

/// Writes metrics in Prometheus' text format.
pub(crate) type MoreMetrics = Box<dyn Fn() -> Vec<u8> + Send + Sync>;
/// The name of a check, and whether all is well.
pub(crate) type MoreReady = (&'static str, Box<dyn Fn() -> bool + Send + Sync>);

/// What every route shares.
pub(crate) struct Shared {
    pub(crate) hub: Hub,
    pub(crate) limits: Arc<ServerLimits>,
    pub(crate) metrics: Metrics,
    pub(crate) metrics_for: MetricsFor,
    /// Metrics of others in the same process.
    pub(crate) more_metrics: OnceLock<MoreMetrics>,
    /// What else has to be well for the process to be ready.
    pub(crate) more_ready: OnceLock<MoreReady>,
    pub(crate) per_credential: Buckets<CredentialId>,
    pub(crate) per_organization: Buckets<OrgId>,
    pub(crate) per_peer: Buckets<Peer>,
    pub(crate) refusals: Buckets<Peer>,
    pub(crate) streams: Arc<Streams>,
    pub(crate) work: Arc<Work>,
    pub(crate) closing: watch::Sender<bool>,
    start: Instant,
}

impl Shared {
    /// Time since the listener started, for the buckets.
    pub(crate) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }
}

/// Work that goes on even if its client does not wait for it.
#[derive(Debug, Default)]
pub(crate) struct Work {
    open: AtomicUsize,
    done: Notify,
}

/// One piece of such work.
pub(crate) struct Working(Arc<Work>);

impl Work {
    pub(crate) fn begin(self: &Arc<Self>) -> Working {
        self.open.fetch_add(1, Ordering::AcqRel);
        Working(Arc::clone(self))
    }

    async fn ended(&self) {
        loop {
            let done = self.done.notified();
            if self.open.load(Ordering::Acquire) == 0 {
                return;
            }
            done.await;
        }
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::AcqRel);
        self.0.done.notify_waiters();
    }
}

/// Where a request came from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct From {
    pub(crate) peer: Peer,
    pub(crate) loopback: bool,
}

/// A request's id.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(pub(crate) Arc<str>);

/// What a route knows of a request that the log should know as well.
#[derive(Debug, Clone, Default)]
pub(crate) struct Observed {
    pub(crate) route: Option<&'static str>,
    pub(crate) organization: Option<OrgId>,
    pub(crate) principal: Option<PrincipalId>,
    pub(crate) code: Option<ErrorCode>,
}

/// The whole listener behind the sockets.
pub(crate) struct Front {
    shared: Arc<Shared>,
    router: Router,
    secure: bool,
}

impl Front {
    pub(crate) fn new(
        hub: Hub,
        limits: Arc<ServerLimits>,
        metrics_for: MetricsFor,
        secure: bool,
    ) -> Result<Self, prometheus::Error> {
        let shared = Arc::new(Shared {
            hub,
            metrics: Metrics::new()?,
            metrics_for,
            more_metrics: OnceLock::new(),
            more_ready: OnceLock::new(),
            per_credential: Buckets::new(limits.per_credential),
            per_organization: Buckets::new(limits.per_organization),
            per_peer: Buckets::new(limits.per_peer),
            refusals: Buckets::new(limits.refusals_per_peer),
            streams: Streams::new(limits.streams_per_credential),
            work: Arc::default(),
            closing: watch::Sender::new(false),
            start: now(),
            limits,
        });
        let router = crate::routes::router(&shared);
        Ok(Self { shared, router, secure })
    }

    /// Adds the metrics of another part of the process; one such part is all there is.
    pub(crate) fn add_metrics(&self, more: MoreMetrics) {
        let _ = self.shared.more_metrics.set(more);
    }

    /// Adds what another part of the process says of its own readiness; one such part is all there is.
    pub(crate) fn add_check(&self, check: MoreReady) {
        let _ = self.shared.more_ready.set(check);
    }

    /// Answers one request.
    pub(crate) async fn answer(
        &self,
        request: Request<Incoming>,
        from: SocketAddr,
    ) -> Result<Response<Body>, Infallible> {
        let began = now();
        let id = RequestId(uuid::Uuid::now_v7().to_string().into());
        let method = request.method().clone();
        let (parts, body) = request.into_parts();
        let limits = &self.shared.limits;
        let patience = Patience { bytes: limits.unread_body, time: limits.request };
        let body = Body::new(Emptied::new(body, &parts.headers, patience));
        let mut request = Request::from_parts(parts, body);
        let ip = from.ip().to_canonical();
        request.extensions_mut().insert(From { peer: Peer::of(ip), loopback: ip.is_loopback() });
        request.extensions_mut().insert(id.clone());
        let mut response = self.route(request, &id).await?;
        let observed = response.extensions_mut().remove::<Observed>().unwrap_or_default();
        self.headers(&mut response, &id);
        self.observe(&method, response.status().as_u16(), began.elapsed(), &observed, &id);
        Ok(response)
    }

    async fn route(&self, request: Request<Body>, id: &RequestId) -> Result<Response<Body>, Infallible> {
        let asked = request.uri().path_and_query().map_or(0, |p| p.as_str().len());
        if asked > self.shared.limits.uri_bytes {
            let error = HubError::of(codes::URI_TOO_LONG);
            return Ok(problem::answer(&error, dialect_of(request.uri().path()), &id.0).into_response());
        }
        self.router.clone().oneshot(request).await
    }

    fn headers(&self, response: &mut Response<Body>, id: &RequestId) {
        let headers = response.headers_mut();
        if self.secure {
            headers.insert(STRICT_TRANSPORT_SECURITY, HSTS);
        }
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        headers.insert(RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
        headers.entry(CONTENT_SECURITY_POLICY).or_insert(NOTHING);
        headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        if let Ok(value) = HeaderValue::from_str(&id.0) {
            headers.insert(REQUEST_ID, value);
        }
    }

    fn observe(&self, method: &http::Method, status: u16, took: Duration, observed: &Observed, id: &RequestId) {
        let method = known_method(method);
        let route = observed.route.unwrap_or("unmatched");
        self.shared.metrics.answered(method, route, status, took);
        tracing::info!(
            target: "tradelane::request",
            method,
            route,
            status,
            micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            organization = observed.organization.as_ref().map(OrgId::as_str),
            principal = observed.principal.as_ref().map(PrincipalId::as_str),
            code = observed.code.map(ErrorCode::as_str),
            request_id = &*id.0,
            "request"
        );
    }

    pub(crate) fn open_connections(&self, count: usize) {
        self.shared.metrics.connections.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    pub(crate) fn refused_connection(&self) {
        self.shared.metrics.refused_connections.inc();
    }

    pub(crate) fn failed_handshake(&self) {
        self.shared.metrics.failed_handshakes.inc();
    }

    /// Tells event streams and waiting readers to end.
    pub(crate) fn close(&self) {
        self.shared.closing.send_replace(true);
    }

    /// Ready when no work is open that goes on without its client.
    pub(crate) async fn idle(&self) {
        self.shared.work.ended().await;
    }
}

#[expect(clippy::disallowed_methods, reason = "durations of requests and of rates are measured, no time is told")]
fn now() -> Instant {
    Instant::now()
}

/// A caller may invent methods; labels may not grow with them.
fn known_method(method: &http::Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "OTHER",
    }
}

/// In which words a path that no route has is refused.
pub(crate) fn dialect_of(path: &str) -> Dialect {
    match path {
        path if path.starts_with("/epcis/") => Dialect::EpcisQuery,
        path if path.starts_with("/registry/") => Dialect::Registry,
        _ => Dialect::Hub,
    }
}
