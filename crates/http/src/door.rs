//! The one doorway. A route is registered here or nowhere: [`governed`] routes authenticate, are held to rates and sizes,
//! and must hand back an [`Audited`] reply, which only the hub's audit can make; [`public`] routes are named in
//! [`PUBLIC`], which a test holds against the routes that exist.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequestParts, RawPathParams};
use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use tokio::time::timeout;
use tradelane_hub::{Audited, Caller, Hub, HubError, Result};
use tradelane_model::{ProductId, codes};
use tradelane_transport::Verdict;

use crate::api::Operation;
use crate::config::ServerLimits;
use crate::front::{From, Observed, RequestId, Shared};
use crate::media::{MediaType, negotiate};
use crate::params::{Params, bad};
use crate::presented::{Unpresented, as_password, basic_password, presented};
use crate::problem::{self, Dialect};
use crate::reply::Reply;
use crate::routes::EPCIS;

/// The number of the leaf in the audit log under which an access is on record.
pub(crate) const RECEIPT: HeaderName = HeaderName::from_static("tradelane-receipt");
const EPCIS_VERSION: HeaderName = HeaderName::from_static("gs1-epcis-version");
const CBV_VERSION: HeaderName = HeaderName::from_static("gs1-cbv-version");
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Every route that needs no credentials, and nothing else. Each is of the listener itself, or shows commitments and keys
/// that are public by design.
pub(crate) const PUBLIC: &[(&str, &str)] = &[
    ("GET", "/"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("GET", "/openapi.json"),
    ("GET", "/docs"),
    ("GET", "/errors"),
    ("GET", "/errors/{slug}"),
    ("GET", "/tlog/checkpoint"),
    ("GET", "/tlog/key"),
    ("GET", "/tlog/tile/{*path}"),
    ("POST", "/oauth/token"),
    ("GET", "/.well-known/jwks.json"),
    ("GET", "/.well-known/oauth-authorization-server"),
    ("OPTIONS", "/epcis/{product}"),
    ("OPTIONS", "/epcis/{product}/capture"),
    ("OPTIONS", "/epcis/{product}/capture/{capture}"),
    ("OPTIONS", "/epcis/{product}/events"),
    ("OPTIONS", "/epcis/{product}/events/{event}"),
    ("OPTIONS", "/epcis/{product}/{resource}"),
    ("OPTIONS", "/epcis/{product}/{resource}/{value}"),
    ("OPTIONS", "/epcis/{product}/{resource}/{value}/events"),
    ("OPTIONS", "/epcis/{product}/queries"),
    ("OPTIONS", "/epcis/{product}/queries/{query}"),
    ("OPTIONS", "/epcis/{product}/queries/{query}/events"),
];

/// How large a body a route takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodySize {
    /// It takes none, and reads none.
    None,
    /// A small document.
    Small,
    /// Manifests.
    Manifests,
    /// Events.
    Events,
}

impl BodySize {
    fn bytes(self, limits: &ServerLimits) -> usize {
        match self {
            Self::None => 0,
            Self::Small => limits.small_body,
            Self::Manifests => limits.manifest_body,
            Self::Events => limits.event_body,
        }
    }
}

type GovernedHandler = Box<dyn Fn(Ask) -> BoxFuture<'static, Result<Audited<Reply>>> + Send + Sync>;
type PublicHandler = Box<dyn Fn(PublicAsk) -> BoxFuture<'static, Result<Reply>> + Send + Sync>;

/// Who may pass.
pub(crate) enum Access {
    /// Callers, and only on record.
    Governed(GovernedHandler),
    /// Anyone.
    Public(PublicHandler),
}

/// A route: what the router, the OpenAPI document and the tests are all made from.
pub(crate) struct Route {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) dialect: Dialect,
    pub(crate) body: BodySize,
    pub(crate) access: Access,
    pub(crate) operation: Operation,
}

/// A route for callers. That its handler answers with an [`Audited`] reply is what keeps every access on record.
pub(crate) fn governed<H, F>(method: Method, path: &'static str, operation: Operation, handler: H) -> Route
where
    H: Fn(Ask) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Audited<Reply>>> + Send + 'static,
{
    let access = Access::Governed(Box::new(move |ask| handler(ask).boxed()));
    Route { body: size_for(&method), method, path, dialect: Dialect::Hub, access, operation }
}

/// A route for anyone. It must be named in [`PUBLIC`].
pub(crate) fn public<H, F>(method: Method, path: &'static str, operation: Operation, handler: H) -> Route
where
    H: Fn(PublicAsk) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Reply>> + Send + 'static,
{
    let access = Access::Public(Box::new(move |ask| handler(ask).boxed()));
    Route { body: size_for(&method), method, path, dialect: Dialect::Hub, access, operation }
}

fn size_for(method: &Method) -> BodySize {
    if matches!(*method, Method::POST | Method::PUT) { BodySize::Small } else { BodySize::None }
}

impl Route {
    pub(crate) fn takes(mut self, body: BodySize) -> Self {
        self.body = body;
        self
    }

    pub(crate) fn speaks(mut self, dialect: Dialect) -> Self {
        self.dialect = dialect;
        self
    }

    pub(crate) fn is_public(&self) -> bool {
        matches!(self.access, Access::Public(_))
    }
}

/// A request of an authenticated caller, its body read.
pub(crate) struct Ask {
    pub(crate) shared: Arc<Shared>,
    pub(crate) caller: Caller,
    pub(crate) request: Asked,
}

/// A request of anyone.
pub(crate) struct PublicAsk {
    pub(crate) shared: Arc<Shared>,
    pub(crate) from: From,
    pub(crate) request: Asked,
}

/// The parts of a request that handlers look at.
pub(crate) struct Asked {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) id: RequestId,
    path: Vec<(Arc<str>, Arc<str>)>,
    uri: http::Uri,
}

impl Ask {
    pub(crate) fn hub(&self) -> &Hub {
        &self.shared.hub
    }

    pub(crate) fn limits(&self) -> &ServerLimits {
        &self.shared.limits
    }
}

impl std::ops::Deref for Ask {
    type Target = Asked;

    fn deref(&self) -> &Asked {
        &self.request
    }
}

impl std::ops::Deref for PublicAsk {
    type Target = Asked;

    fn deref(&self) -> &Asked {
        &self.request
    }
}

impl Asked {
    /// A part of the path, decoded.
    pub(crate) fn path(&self, name: &str) -> &str {
        self.path.iter().find(|(n, _)| &**n == name).map_or("", |(_, value)| value)
    }

    /// An id in the path. A word that can be no id names nothing.
    pub(crate) fn id<T: std::str::FromStr>(&self, name: &str) -> Result<T> {
        self.path(name).parse().map_err(|_| HubError::of(codes::NOT_FOUND))
    }

    pub(crate) fn product(&self) -> Result<ProductId> {
        self.id("product")
    }

    pub(crate) fn query(&self) -> Result<Params> {
        Params::parse(self.uri.query().unwrap_or_default())
    }

    /// The path as it was asked for.
    pub(crate) fn uri_path(&self) -> &str {
        self.uri.path()
    }

    /// For operations that know no parameters.
    pub(crate) fn no_query(&self) -> Result<()> {
        self.query()?.finish()
    }

    /// A header that may come once.
    pub(crate) fn header(&self, name: &str) -> Result<Option<&str>> {
        let mut values = self.headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(value), None) => {
                value.to_str().map(Some).map_err(|_| bad(format!("The header `{name}` is not printable ASCII.")))
            }
            _ => Err(bad(format!("The header `{name}` comes more than once; send it once."))),
        }
    }

    /// What the body says it is.
    pub(crate) fn media_type(&self) -> Result<MediaType> {
        let text = self.header(CONTENT_TYPE.as_str())?;
        let media = text.and_then(MediaType::parse).filter(MediaType::is_utf8);
        media.ok_or_else(|| HubError::of(codes::UNSUPPORTED_MEDIA))
    }

    /// Which of these the caller takes.
    pub(crate) fn accepts(&self, offered: &[&'static str]) -> Result<&'static str> {
        let mut values = self.headers.get_all(ACCEPT).iter();
        let accept = match (values.next(), values.next()) {
            (None, _) => None,
            (Some(one), None) => Some(one.to_str().unwrap_or("invalid").to_owned()),
            _ => {
                Some(self.headers.get_all(ACCEPT).iter().filter_map(|v| v.to_str().ok()).collect::<Vec<_>>().join(","))
            }
        };
        negotiate(accept.as_deref(), offered).ok_or_else(|| {
            let detail =
                format!("This is offered as {}; ask for one of these or leave Accept out.", offered.join(", "));
            HubError::new(codes::NOT_ACCEPTABLE, detail)
        })
    }

    /// The body as JSON of a known form.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T> {
        if self.media_type()?.essence != "application/json" {
            return Err(HubError::of(codes::UNSUPPORTED_MEDIA));
        }
        serde_json::from_slice(&self.body).map_err(|error| not_as_expected(&error))
    }
}

/// The library's own words may repeat a value: only those that cannot are passed on.
fn not_as_expected(error: &serde_json::Error) -> HubError {
    let place = format!("line {}, column {}", error.line(), error.column());
    match error.classify() {
        serde_json::error::Category::Data => {
            let words = error.to_string();
            let missing =
                words.split_once(" at line").map(|(what, _)| what).filter(|what| what.starts_with("missing field"));
            let what = missing.unwrap_or("a field has an unknown name or a value of the wrong form");
            bad(format!("In the body, {what} ({place}); the OpenAPI document shows what is expected."))
        }
        _ => HubError::new(codes::MALFORMED_JSON, format!("The body is not JSON ({place}).")),
    }
}

/// One request through the door.
pub(crate) async fn pass(shared: Arc<Shared>, route: Arc<Route>, request: Request<Body>) -> Response<Body> {
    let (mut parts, body) = request.into_parts();
    let id = parts.extensions.get::<RequestId>().cloned().unwrap_or(RequestId("".into()));
    let mut observed = Observed { route: Some(route.path), ..Observed::default() };
    let mut extra = HeaderMap::new();
    let outcome = match &route.access {
        Access::Governed(handler) => {
            let passing =
                Passing { shared: &shared, route: &route, id: &id, observed: &mut observed, extra: &mut extra };
            passing.governed(handler, &mut parts, body).await
        }
        Access::Public(handler) => public_pass(&shared, &route, &id, handler, &mut parts, body).await,
    };
    let reply = outcome.unwrap_or_else(|error| problem::answer(&error, route.dialect, &id.0));
    observed.code = reply.code;
    let mut response = reply.into_response();
    if !route.is_public() {
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response.headers_mut().extend(extra);
    if matches!(route.dialect, Dialect::EpcisCapture | Dialect::EpcisQuery) {
        response.headers_mut().insert(EPCIS_VERSION, HeaderValue::from_static(EPCIS));
        response.headers_mut().insert(CBV_VERSION, HeaderValue::from_static(EPCIS));
    }
    response.extensions_mut().insert(observed);
    response
}

struct Passing<'a> {
    shared: &'a Arc<Shared>,
    route: &'a Route,
    id: &'a RequestId,
    observed: &'a mut Observed,
    extra: &'a mut HeaderMap,
}

impl Passing<'_> {
    /// Authenticate, hold to the rates, read the body, act: in this order, so that nobody unknown costs memory.
    async fn governed(self, handler: &GovernedHandler, parts: &mut Parts, body: Body) -> Result<Reply> {
        let caller = authenticate(self.shared, self.route.dialect, parts)?;
        self.observed.organization = Some(caller.organization().id.clone());
        self.observed.principal = Some(caller.principal().id.clone());
        within_rates(self.shared, &caller, self.extra)?;
        let request = read_request(self.shared, self.route, self.id, parts, body).await?;
        let ask = Ask { shared: Arc::clone(self.shared), caller, request };
        let reply = if parts.method.is_safe() {
            answer_in_time(handler(ask), longest(&self.shared.limits)).await?
        } else {
            finish_in_time(self.shared, handler(ask)).await?
        };
        let (reply, leaf) = reply.into_parts();
        self.extra.insert(RECEIPT, leaf.into());
        Ok(reply)
    }
}

async fn public_pass(
    shared: &Arc<Shared>,
    route: &Route,
    id: &RequestId,
    handler: &PublicHandler,
    parts: &mut Parts,
    body: Body,
) -> Result<Reply> {
    let from = parts.extensions.get::<From>().copied().ok_or_else(|| HubError::of(codes::INTERNAL))?;
    let verdict = shared.per_peer.take(&from.peer, shared.elapsed());
    if !verdict.allowed {
        return Err(over_rate(shared, verdict));
    }
    let request = read_request(shared, route, id, parts, body).await?;
    answer_in_time(handler(PublicAsk { shared: Arc::clone(shared), from, request }), shared.limits.request).await
}

fn longest(limits: &ServerLimits) -> Duration {
    limits.request + limits.longest_wait
}

/// Reading stops when nobody waits for it any more.
async fn answer_in_time<T>(work: BoxFuture<'static, Result<T>>, most: Duration) -> Result<T> {
    match timeout(most, AssertUnwindSafe(work).catch_unwind()).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => Err(HubError::of(codes::INTERNAL).because("a handler panicked")),
        Err(_) => Err(HubError::of(codes::TIMED_OUT)),
    }
}

/// What changes something is carried to its end, even if its client goes away: a half-told change could not be repeated.
async fn finish_in_time<T: Send + 'static>(shared: &Arc<Shared>, work: BoxFuture<'static, Result<T>>) -> Result<T> {
    let working = shared.work.begin();
    let task = tokio::spawn(async move {
        let outcome = work.await;
        drop(working);
        outcome
    });
    match timeout(shared.limits.request, task).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => Err(HubError::of(codes::INTERNAL).because("a handler panicked")),
        Err(_) => Err(HubError::of(codes::TIMED_OUT)),
    }
}

fn authenticate(shared: &Shared, dialect: Dialect, parts: &Parts) -> Result<Caller> {
    let peer = parts.extensions.get::<From>().map(|from| from.peer).ok_or_else(|| HubError::of(codes::INTERNAL))?;
    let password = Some(&parts.headers).filter(|_| dialect == Dialect::Registry).and_then(basic_password);
    let presented = match &password {
        Some(password) => Ok(as_password(password)),
        None => presented(&parts.headers),
    };
    let presented = presented.map_err(|why| match why {
        Unpresented::Nothing => HubError::of(codes::UNAUTHENTICATED),
        Unpresented::Malformed => HubError::new(
            codes::UNAUTHENTICATED,
            "The credentials have no form that is known here; send `Authorization: Bearer` with an API key or access token.",
        ),
        Unpresented::Several => bad("The request carries more than one credential; send exactly one."),
    })?;
    let verdict = shared.refusals.peek(&peer, shared.elapsed());
    if !verdict.allowed {
        return Err(over_rate(shared, verdict));
    }
    shared.hub.authenticate(presented).inspect_err(|_| {
        shared.refusals.take(&peer, shared.elapsed());
    })
}

fn within_rates(shared: &Shared, caller: &Caller, headers: &mut HeaderMap) -> Result<()> {
    let now = shared.elapsed();
    let own = shared.per_credential.take(caller.credential(), now);
    let all = shared.per_organization.take(&caller.organization().id, now);
    let (name, rate, verdict) = match (own.allowed, all.allowed) {
        (true, false) => ("organization", shared.per_organization.rate(), all),
        _ => ("credential", shared.per_credential.rate(), own),
    };
    let window = (f64::from(rate.burst) / rate.per_second).ceil();
    put(headers, RATE_LIMIT_POLICY, format!("\"{name}\";q={};w={window}", rate.burst));
    put(headers, RATE_LIMIT, format!("\"{name}\";r={};t={}", verdict.remaining, verdict.reset));
    if verdict.allowed { Ok(()) } else { Err(over_rate(shared, verdict)) }
}

fn over_rate(shared: &Shared, verdict: Verdict) -> HubError {
    shared.metrics.rate_limited.inc();
    HubError::of(codes::RATE_LIMITED).retry(verdict.reset.max(1))
}

fn put(headers: &mut HeaderMap, name: HeaderName, value: String) {
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(name, value);
    }
}

async fn read_request(shared: &Shared, route: &Route, id: &RequestId, parts: &mut Parts, body: Body) -> Result<Asked> {
    let params = RawPathParams::from_request_parts(parts, &()).await;
    let params = params.map_err(|_| bad("The path is not percent-encoded UTF-8."))?;
    let path = params.iter().map(|(name, value)| (name.into(), value.into())).collect();
    let body = match route.body {
        BodySize::None => Bytes::new(),
        size => {
            let limits = &shared.limits;
            let body = read_body(body, &parts.headers, size.bytes(limits), limits.body_idle);
            timeout(limits.request, body).await.map_err(|_| HubError::of(codes::TIMED_OUT))??
        }
    };
    let headers = std::mem::take(&mut parts.headers);
    let uri = std::mem::take(&mut parts.uri);
    Ok(Asked { headers, body, id: id.clone(), path, uri })
}

/// A body that comes in one piece is taken as it is; several are joined once.
async fn read_body(mut body: Body, headers: &HeaderMap, most: usize, idle: Duration) -> Result<Bytes> {
    let too_large = || {
        let detail = format!("The body is larger than {most} bytes, which is the most that this operation takes.");
        HubError::new(codes::TOO_LARGE, detail)
    };
    let said = headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<usize>().ok());
    if said.is_some_and(|length| length > most) {
        return Err(too_large());
    }
    let mut first = Bytes::new();
    let mut joined = BytesMut::new();
    loop {
        let frame = timeout(idle, body.frame()).await.map_err(|_| HubError::of(codes::TIMED_OUT))?;
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|error| bad("The body ended before it was complete.").because(error))?;
        let Ok(piece) = frame.into_data() else { continue };
        if first.len() + joined.len() + piece.len() > most {
            return Err(too_large());
        }
        match (first.is_empty(), joined.is_empty()) {
            (true, true) => first = piece,
            (_, true) => {
                joined.reserve(said.unwrap_or(0).max(first.len() + piece.len()));
                joined.extend_from_slice(&std::mem::take(&mut first));
                joined.extend_from_slice(&piece);
            }
            _ => joined.extend_from_slice(&piece),
        }
    }
    Ok(if joined.is_empty() { first } else { joined.freeze() })
}
