//! One connection: who it is, its requests one after the other, its answers in the same order.
//!
//! As with Kafka's own broker, the next request is begun when the one before is answered; one more is read ahead. So
//! answers cannot overtake each other, and nobody can pile up work here. In front of a cluster, some requests to publish are
//! under way at once ([`flight`](crate::flight)). Whoever may no longer be here is noticed at the next request, or within
//! a second without one.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use kafka_protocol::messages::{
    SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinError;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tradelane_hub::{Caller, HubError, Presented};
use tradelane_transport::Peer;

use crate::apis::{self, Answer, Ask, Quiet, holder};
use crate::codes;
use crate::engine::{self, Way};
use crate::flight::{Flight, Turn};
use crate::frames::{Frame, Frames, Memory, NoFrame};
use crate::quota::{Of, Seat};
use crate::sasl::{Exchange, MECHANISMS, Mechanism, Step};
use crate::shared::Shared;
use crate::wire::schema::Malformed;
use crate::wire::table::Key;
use crate::wire::{Request, Rope, text};

/// How often a connection looks whether its caller is still who it was.
const STILL: Duration = Duration::from_secs(1);
/// The longest session that clients are told of; some cannot wait longer. Sooner or later, the hub checks each request.
const LONGEST_SESSION_MS: i64 = 86_400_000;
/// Requests to publish that are under way at once.
const AT_ONCE: usize = 8;
/// What a client hears of a credential that is not accepted, whatever is wrong with it.
const REFUSED: &str = "Authentication failed: the credential is unknown, wrong, expired or revoked.";

/// Somebody, and how that was found.
struct Known {
    caller: Caller,
    /// None for a client certificate.
    mechanism: Option<Mechanism>,
    _seat: Seat,
}

/// A connection.
pub(crate) struct Connection {
    shared: Arc<Shared>,
    peer: Peer,
    host: Arc<str>,
    known: Option<Known>,
    exchange: Option<Exchange>,
    longest: Arc<AtomicUsize>,
    /// For large requests of its organization, once that is known.
    memory: Arc<OnceLock<Arc<Semaphore>>>,
    /// To the cluster, if records are kept by one.
    way: Option<Arc<Way>>,
}

/// What a connection wakes up for.
enum Event {
    Frame(Result<Frame, NoFrame>),
    /// The oldest of the requests that are under way is done.
    Flown(Result<Done, JoinError>),
    Tick,
}

/// The API that was asked, and what goes on.
type Done = (&'static str, Result<Next, Malformed>);

/// What goes on after a request.
enum Next {
    /// An answer, and the time to be quiet after it.
    Answered(Answer, Quiet),
    /// Nothing: the connection ends.
    End(&'static str),
}

impl Connection {
    /// `node` is the broker that the connection's port stands for; none: any.
    pub(crate) fn new(shared: Arc<Shared>, peer: Peer, host: String, node: Option<i32>) -> Self {
        let way = shared.upstream.as_ref().map(|cluster| Arc::new(Way::new(Arc::clone(cluster), node)));
        let longest = Arc::new(AtomicUsize::new(shared.limits.small_request));
        let host = host.into();
        Self { shared, peer, host, known: None, exchange: None, longest, memory: Arc::default(), way }
    }

    /// Takes the client certificate for who it is, if it is a registered one. With any other, SASL is still to come.
    pub(crate) fn present(&mut self, certificate: &[u8; 32]) {
        let caller = self.shared.hub.authenticate(Presented::Certificate(certificate));
        if let Ok(caller) = caller {
            // Without a seat it stays unknown, and is told so by what SASL answers.
            let _ = self.admit(caller, None);
        }
    }

    /// Serves until the peer goes, the listener closes, or there is a reason to end it.
    pub(crate) async fn serve<S>(mut self, stream: S, authenticated_by: Instant)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (read, mut write) = tokio::io::split(stream);
        let shared = Arc::clone(&self.shared);
        let memory = Memory { all: Arc::clone(&shared.memory), own: Arc::clone(&self.memory) };
        let mut frames = Frames::new(read, Arc::clone(&self.longest), memory, shared.limits.request_arrives);
        let (sender, mut receiver) = mpsc::channel(1);
        let reading = tokio::spawn(async move {
            loop {
                let frame = frames.next().await;
                let last = frame.is_err();
                if sender.send(frame).await.is_err() || last {
                    return;
                }
            }
        });
        let reason = self.requests(&mut receiver, &mut write, authenticated_by).await;
        reading.abort();
        self.leave(reason);
        let _ = tokio::time::timeout(Duration::from_secs(1), write.shutdown()).await;
    }

    /// Members of groups that were joined by a credential that is no longer good go with it.
    fn leave(&self, reason: &'static str) {
        self.shared.metrics.refused(reason);
        if let Some(way) = &self.way {
            way.give_up();
        }
        let Some(known) = &self.known else { return };
        if self.shared.hub.still(&known.caller).is_err() {
            let holder = holder(&known.caller);
            self.shared.groups.evict(known.caller.organization().id.as_str(), |principal| principal == holder);
        }
        tracing::debug!(target: "tradelane::kafka", host = %self.host, reason, "a connection ended");
    }

    async fn requests<W: AsyncWrite + Unpin>(
        &mut self,
        frames: &mut mpsc::Receiver<Result<Frame, NoFrame>>,
        write: &mut W,
        authenticated_by: Instant,
    ) -> &'static str {
        let mut still = interval(STILL);
        still.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut closing = self.shared.closing.subscribe();
        let mut ahead = None;
        let mut flight = Flight::new(AT_ONCE);
        loop {
            let event = match ahead.take() {
                Some(frame) => Event::Frame(frame),
                None => tokio::select! {
                    biased;
                    _ = closing.wait_for(|closing| *closing), if flight.is_empty() => return "closing",
                    Some(done) = flight.next() => Event::Flown(done),
                    frame = frames.recv(), if flight.has_room() => Event::Frame(frame.unwrap_or(Err(NoFrame::End))),
                    _ = still.tick() => Event::Tick,
                },
            };
            let frame = match event {
                Event::Frame(frame) => frame,
                Event::Flown(done) => match self.flown(done, write).await {
                    Some(reason) => return reason,
                    None => continue,
                },
                Event::Tick => match self.idle(authenticated_by) {
                    Some(reason) => return reason,
                    None => continue,
                },
            };
            let frame = match frame {
                Ok(frame) => frame,
                Err(no_frame) => return self.no_frame(&no_frame),
            };
            if self.known.is_none() && Instant::now() >= authenticated_by {
                return "not authenticated in time";
            }
            self.shared.metrics.bytes_in.inc_by(frame.bytes.len() as u64 + 4);
            let request = match Request::read(frame.bytes.clone()) {
                Ok(request) => request,
                Err(error) => {
                    tracing::info!(target: "tradelane::kafka", host = %self.host, %error, "a request was refused");
                    return "request";
                }
            };
            if let (Key::Produce, Some(way), Some(known)) = (request.api.key, &self.way, &self.known) {
                let (shared, way) = (Arc::clone(&self.shared), Arc::clone(way));
                let (caller, host) = (known.caller.clone(), Arc::clone(&self.host));
                flight.begin(|turn| publish(shared, way, caller, host, request, frame, turn));
                continue;
            }
            while let Some(done) = flight.next().await {
                if let Some(reason) = self.flown(done, write).await {
                    return reason;
                }
            }
            let next = if request.api.key == Key::Fetch {
                // Who is gone does not wait.
                let shared = Arc::clone(&self.shared);
                let asked = self.ask(&shared, &request);
                tokio::pin!(asked);
                let next = loop {
                    tokio::select! {
                        next = &mut asked => break Some(next),
                        more = frames.recv(), if ahead.is_none() => match more {
                            Some(Ok(frame)) => ahead = Some(Ok(frame)),
                            Some(Err(_)) | None => break None,
                        },
                    }
                };
                match next {
                    Some(next) => next,
                    None => return "gone",
                }
            } else {
                self.handle(&request).await
            };
            let done = (request.api.name, next);
            drop((request, frame));
            if let Some(reason) = self.answered(done, write).await {
                return reason;
            }
        }
    }

    /// The same for a request that was worked on beside others. One that broke down has no answer, and the ones after it
    /// must not be taken for its.
    async fn flown<W: AsyncWrite + Unpin>(&self, done: Result<Done, JoinError>, write: &mut W) -> Option<&'static str> {
        match done {
            Ok(done) => self.answered(done, write).await,
            Err(_) => Some("failed"),
        }
    }

    /// Sends an answer; says why the connection ends, if it does.
    async fn answered<W: AsyncWrite + Unpin>(&self, done: Done, write: &mut W) -> Option<&'static str> {
        let (api, next) = done;
        let (answer, quiet) = match next {
            Ok(Next::Answered(answer, quiet)) => (answer, quiet),
            Ok(Next::End(reason)) => return Some(reason),
            Err(error) => {
                tracing::info!(target: "tradelane::kafka", host = %self.host, api, %error, "a request was refused");
                return Some("malformed");
            }
        };
        self.shared.metrics.requests.with_label_values(&[api]).inc();
        if let Some(mut rope) = answer.rope {
            self.shared.metrics.bytes_out.inc_by(rope.len() as u64);
            if write.write_all_buf(&mut rope).await.is_err() || write.flush().await.is_err() {
                return Some("gone");
            }
        }
        if answer.end {
            return Some("ended");
        }
        if !quiet.time().is_zero() {
            sleep(quiet.time()).await;
        }
        None
    }

    /// While nothing is asked: is there a reason to end?
    fn idle(&self, authenticated_by: Instant) -> Option<&'static str> {
        match &self.known {
            None if Instant::now() >= authenticated_by => Some("not authenticated in time"),
            None => None,
            // A session that only ran out may be renewed on this connection (KIP-368); its next request decides.
            Some(known) if self.shared.hub.now() >= known.caller.until() => None,
            Some(known) => self.shared.hub.still(&known.caller).is_err().then_some("revoked"),
        }
    }

    fn no_frame(&self, no_frame: &NoFrame) -> &'static str {
        match no_frame {
            NoFrame::End | NoFrame::Io(_) => "gone",
            NoFrame::Tls => {
                let host = &self.host;
                tracing::warn!(target: "tradelane::kafka", %host, "a client speaks TLS to a port without TLS");
                "tls on a plain port"
            }
            NoFrame::Length(length) => {
                let host = &self.host;
                tracing::warn!(target: "tradelane::kafka", %host, length, "a request is longer than allowed");
                "length"
            }
            NoFrame::Slow => "slow",
        }
    }

    async fn handle(&mut self, request: &Request) -> Result<Next, Malformed> {
        match request.api.key {
            Key::SaslHandshake => self.handshake(request),
            Key::SaslAuthenticate => self.authenticate(request).await,
            Key::ApiVersions => {
                let rope = apis::versions::answer(request, 0, self.shared.upstream.as_deref())?;
                Ok(Next::Answered(Answer::of(rope), Quiet::default()))
            }
            key if self.known.is_none() => {
                debug_assert!(!key.is_before_authentication());
                Ok(Next::End("not authenticated"))
            }
            _ => {
                let shared = Arc::clone(&self.shared);
                self.ask(&shared, request).await
            }
        }
    }

    /// A request of somebody who is known.
    async fn ask(&self, shared: &Arc<Shared>, request: &Request) -> Result<Next, Malformed> {
        let Some(known) = &self.known else { return Ok(Next::End("not authenticated")) };
        let ask = Ask { shared, caller: &known.caller, request, host: &self.host, ended: false };
        asked(ask, self.way.as_ref(), &mut Turn::default()).await
    }

    fn handshake(&mut self, request: &Request) -> Result<Next, Malformed> {
        let wanted: SaslHandshakeRequest = request.decode()?;
        let mechanism = Mechanism::named(&wanted.mechanism);
        let error = match mechanism {
            _ if request.version < request.api.min => codes::UNSUPPORTED_VERSION,
            None => codes::UNSUPPORTED_SASL_MECHANISM,
            Some(_) => codes::NONE,
        };
        self.exchange = mechanism.map(Exchange::Begun);
        let response =
            SaslHandshakeResponse::default().with_error_code(error).with_mechanisms(MECHANISMS.map(text).to_vec());
        let answer = Answer { rope: Some(request.reply(&response)?), end: error != codes::NONE };
        Ok(Next::Answered(answer, Quiet::default()))
    }

    async fn authenticate(&mut self, request: &Request) -> Result<Next, Malformed> {
        let message: SaslAuthenticateRequest = request.decode()?;
        let Some(exchange) = self.exchange.take() else {
            let rope = refusal(request, codes::ILLEGAL_SASL_STATE, "A SaslHandshake comes first.")?;
            return Ok(Next::Answered(Answer { rope: Some(rope), end: true }, Quiet::default()));
        };
        let now = self.shared.elapsed();
        if !self.shared.refusals.peek(&self.peer, now).allowed {
            return Ok(Next::End("too many refusals"));
        }
        let outcome = match exchange.next(&self.shared.hub, &message.auth_bytes) {
            Ok(Step::Continue(exchange, bytes)) => {
                self.exchange = Some(exchange);
                let response = SaslAuthenticateResponse::default().with_auth_bytes(bytes.into());
                return Ok(Next::Answered(Answer::of(request.reply(&response)?), Quiet::default()));
            }
            Ok(Step::Done(mechanism, caller, bytes)) => {
                self.admit(caller, Some(mechanism)).map(|session| (session, bytes))
            }
            Err(error) => Err(self.refused(&error)),
        };
        let (rope, end) = match outcome {
            Ok((session, bytes)) => {
                let response =
                    SaslAuthenticateResponse::default().with_auth_bytes(bytes.into()).with_session_lifetime_ms(session);
                (request.reply(&response)?, false)
            }
            Err(why) => {
                self.shared.refusals.take(&self.peer, now);
                (refusal(request, codes::SASL_AUTHENTICATION_FAILED, why)?, true)
            }
        };
        Ok(Next::Answered(Answer { rope: Some(rope), end }, Quiet::default()))
    }

    fn refused(&self, error: &HubError) -> &'static str {
        let (host, code, cause) = (&self.host, error.code, error.cause.as_deref().unwrap_or_default());
        tracing::info!(target: "tradelane::kafka", %host, %code, cause, "a credential was refused");
        REFUSED
    }

    /// Lets the caller in; returns how many milliseconds its session lasts. Somebody who is here already may renew its
    /// session, and may not become somebody else (KIP-368).
    fn admit(&mut self, caller: Caller, mechanism: Option<Mechanism>) -> Result<i64, &'static str> {
        if let Some(known) = self.known.as_ref().filter(|known| known.mechanism.is_some()) {
            let same = known.caller.principal().id == caller.principal().id && known.mechanism == mechanism;
            if !same {
                return Err("A connection's principal and mechanism do not change.");
            }
        }
        if let Some(way) = &self.way {
            way.give_up();
        }
        // The seat that is held goes first: renewing takes none.
        self.known = None;
        let seat =
            self.shared.quotas.seat(&caller).ok_or("Too many connections of this credential or organization.")?;
        let left = caller.until().millis().saturating_sub(self.shared.hub.now().millis());
        // Of whom it is first; that changes only where a certificate is followed by a login.
        self.memory.get_or_init(|| seat.memory());
        self.known = Some(Known { caller, mechanism, _seat: seat });
        self.longest.store(self.shared.limits.request, Ordering::Release);
        Ok(left.clamp(1, LONGEST_SESSION_MS))
    }
}

/// Asks the hub, or the cluster behind it. What is asked after the credential has gone is not done any more.
async fn asked(ask: Ask<'_>, way: Option<&Arc<Way>>, turn: &mut Turn) -> Result<Next, Malformed> {
    let ask = Ask { ended: ask.shared.hub.still(ask.caller).is_err(), ..ask };
    let mut quiet = Quiet::default();
    ask.charge(Of::Requests, 1, &mut quiet);
    let answer = match way {
        Some(way) => engine::answer(&ask, way, &mut quiet, turn).await?,
        None => apis::answer(&ask, &mut quiet).await?,
    };
    if !quiet.time().is_zero() {
        ask.shared.metrics.throttled.with_label_values(&[ask.request.api.name]).inc();
    }
    Ok(Next::Answered(answer, quiet))
}

/// A request to publish, with all that it needs when its connection has gone.
async fn publish(
    shared: Arc<Shared>,
    way: Arc<Way>,
    caller: Caller,
    host: Arc<str>,
    request: Request,
    frame: Frame,
    mut turn: Turn,
) -> Done {
    let ask = Ask { shared: &shared, caller: &caller, request: &request, host: &host, ended: false };
    let next = asked(ask, Some(&way), &mut turn).await;
    // One that passed nothing on is no reason for the others to stop, unless the connection ends with it.
    if matches!(&next, Ok(Next::Answered(answer, _)) if !answer.end) && turn.comes().await {
        turn.over();
    }
    drop(frame);
    (request.api.name, next)
}

fn refusal(request: &Request, code: i16, why: &'static str) -> Result<Rope, Malformed> {
    let response = SaslAuthenticateResponse::default().with_error_code(code).with_error_message(Some(text(why)));
    request.reply(&response)
}
