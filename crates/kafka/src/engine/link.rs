//! One connection to a broker of the cluster, as the hub's own user: requests out, their answers back in the same order.
//!
//! Each client connection has one of its own, so that what a broker knows of a connection (its order, its throttling, its
//! groups' waits) stays that client's. It knows no tenant.

use std::io;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{RequestHeader, ResponseHeader, SaslAuthenticateRequest, SaslHandshakeRequest};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tradelane_keys::{ScramClient, ScramError};
use tradelane_transport::TlsConnector;

use super::config::{Login, LoginMechanism};
use crate::wire::text;

/// Time for a connection with everything that comes before the first request.
const CONNECT: Duration = Duration::from_secs(10);
/// Time for an answer. A group's rebalance may take minutes.
const ANSWER: Duration = Duration::from_secs(1_000);
/// The longest answer.
const LONGEST: usize = 256 << 20;
/// Most that is reserved ahead of what has arrived.
const AHEAD: usize = 1 << 20;
/// Requests that wait to be written or for their answers: more than a client's connection lets through at once.
const UNDER_WAY: usize = 64;
/// Where a request's number is in its frame.
const CORRELATION: Range<usize> = 8..12;

/// The broker cannot be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Down {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("the connection ended before the answer")]
    Ended,
    #[error("no answer in time")]
    Slow,
    #[error("the broker refuses the hub's own user: {0}")]
    Login(String),
    #[error("the broker's answer is not understood: {0}")]
    Answer(&'static str),
    #[error("a request cannot be written in version {0}")]
    Version(i16),
    #[error("no broker {0}")]
    NoNode(i32),
}

impl From<ScramError> for Down {
    fn from(error: ScramError) -> Self {
        Self::Login(error.to_string())
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A connection. What was sent is answered in its order; whoever no longer waits for an answer leaves the others theirs.
pub(crate) struct Link {
    requests: Mutex<Requests>,
    client: StrBytes,
}

struct Requests {
    correlation: i32,
    out: mpsc::Sender<Outgoing>,
}

/// A frame to be written, and who waits for its answer; nobody, if there is none.
struct Outgoing {
    frame: Bytes,
    waiting: Option<Waiting>,
}

type Waiting = (i32, oneshot::Sender<Bytes>);

/// An answer that is on its way.
pub(crate) struct Pending<R> {
    version: i16,
    frame: oneshot::Receiver<Bytes>,
    of: PhantomData<fn() -> R>,
}

impl<R: Request> Pending<R> {
    /// Waits for it.
    pub(crate) async fn answer(self) -> Result<R::Response, Down> {
        let frame = timeout(ANSWER, self.frame).await.map_err(|_| Down::Slow)?;
        let mut frame = frame.map_err(|_| Down::Ended)?;
        ResponseHeader::decode(&mut frame, R::Response::header_version(self.version))
            .map_err(|_| Down::Answer("its head"))?;
        R::Response::decode(&mut frame, self.version).map_err(|_| Down::Answer("its body"))
    }
}

impl Link {
    /// Connects and logs in. `client` is what the broker is told as the client's id.
    pub(crate) async fn open(
        host: &str,
        port: u16,
        tls: Option<&TlsConnector>,
        login: Option<&Login>,
        client: StrBytes,
    ) -> Result<Self, Down> {
        let opening = async {
            let stream = TcpStream::connect((host, port)).await?;
            stream.set_nodelay(true)?;
            let stream: Box<dyn Stream> = match tls {
                Some(tls) => Box::new(tls.connect(host, stream).await?),
                None => Box::new(stream),
            };
            let (out, requests) = mpsc::channel(UNDER_WAY);
            tokio::spawn(drive(stream, requests));
            let link = Self { requests: Mutex::new(Requests { correlation: 0, out }), client };
            if let Some(login) = login {
                link.log_in(login).await?;
            }
            Ok(link)
        };
        timeout(CONNECT, opening).await.map_err(|_| Down::Slow)?
    }

    async fn log_in(&self, login: &Login) -> Result<(), Down> {
        let wanted = SaslHandshakeRequest::default().with_mechanism(text(login.mechanism.name()));
        let answer = self.call(1, &wanted).await?;
        if answer.error_code != 0 {
            return Err(Down::Login(format!("it does not offer {}", login.mechanism.name())));
        }
        let (user, password) = (&login.username, login.password.expose());
        match login.mechanism {
            LoginMechanism::Plain => {
                self.sasl(format!("\0{user}\0{password}").into_bytes()).await?;
            }
            LoginMechanism::Scram(hash) => {
                let (client, first) = ScramClient::begin(hash, user);
                let challenge = self.sasl(first.into_bytes()).await?;
                let (proven, last) = client.prove(&challenge, password)?;
                proven.check(&self.sasl(last.into_bytes()).await?)?;
            }
        }
        Ok(())
    }

    async fn sasl(&self, bytes: Vec<u8>) -> Result<Bytes, Down> {
        // Version 0: without a session that ends. A broker that ends sessions closes the connection, and so do we then.
        let answer = self.call(0, &SaslAuthenticateRequest::default().with_auth_bytes(bytes.into())).await?;
        match answer.error_code {
            0 => Ok(answer.auth_bytes),
            code => Err(Down::Login(format!("error {code}"))),
        }
    }

    /// Asks and waits for the answer.
    pub(crate) async fn call<R: Request>(&self, version: i16, request: &R) -> Result<R::Response, Down> {
        self.ask(version, request)?.answer().await
    }

    /// Asks. Requests are written in the order of these calls, which never wait: how much is under way at once is what
    /// a client's connection lets through.
    pub(crate) fn ask<R: Request>(&self, version: i16, request: &R) -> Result<Pending<R>, Down> {
        let (sender, frame) = oneshot::channel();
        self.write(version, request, Some(sender))?;
        Ok(Pending { version, frame, of: PhantomData })
    }

    /// Tells something that has no answer.
    pub(crate) fn tell<R: Request>(&self, version: i16, request: &R) -> Result<(), Down> {
        self.write(version, request, None)
    }

    /// Has it ended?
    pub(crate) fn is_over(&self) -> bool {
        self.locked().out.is_closed()
    }

    fn write<R: Request>(
        &self,
        version: i16,
        request: &R,
        waiting: Option<oneshot::Sender<Bytes>>,
    ) -> Result<(), Down> {
        let unsupported = |_| Down::Version(version);
        let mut out = BytesMut::with_capacity(request.compute_size(version).map_err(unsupported)? + 256);
        out.put_u32(0);
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_client_id(Some(self.client.clone()));
        header.encode(&mut out, R::header_version(version)).map_err(unsupported)?;
        request.encode(&mut out, version).map_err(unsupported)?;
        let length = u32::try_from(out.len() - 4).map_err(|_| Down::Answer("a request is too long"))?;
        if let Some(place) = out.first_chunk_mut::<4>() {
            *place = length.to_be_bytes();
        }
        let mut requests = self.locked();
        requests.correlation = requests.correlation.wrapping_add(1) & i32::MAX;
        let correlation = requests.correlation;
        if let Some(place) = out.get_mut(CORRELATION) {
            place.copy_from_slice(&correlation.to_be_bytes());
        }
        let waiting = waiting.map(|sender| (correlation, sender));
        requests.out.try_send(Outgoing { frame: out.freeze(), waiting }).map_err(|_| Down::Ended)
    }

    fn locked(&self) -> MutexGuard<'_, Requests> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes what is asked and hands out what is answered, until the link is given up or the broker goes.
async fn drive(stream: Box<dyn Stream>, mut requests: mpsc::Receiver<Outgoing>) {
    let (mut read, mut write) = tokio::io::split(stream);
    let (expect, mut expected) = mpsc::channel(UNDER_WAY);
    let writing = async move {
        while let Some(outgoing) = requests.recv().await {
            // Before it is written: its answer may be here at once.
            if let Some(waiting) = outgoing.waiting {
                expect.send(waiting).await.map_err(|_| Down::Ended)?;
            }
            write.write_all(&outgoing.frame).await?;
            if requests.is_empty() {
                write.flush().await?;
            }
        }
        Ok::<_, Down>(())
    };
    let reading = async {
        loop {
            let answer = frame(&mut read).await?;
            let (correlation, waiting): Waiting = expected.try_recv().map_err(|_| Down::Answer("to nothing"))?;
            if answer.first_chunk::<4>() != Some(&correlation.to_be_bytes()) {
                return Err::<(), _>(Down::Answer("it is to another request"));
            }
            // Who waited may have gone.
            let _ = waiting.send(answer);
        }
    };
    let ended = tokio::select! {
        ended = writing => ended,
        ended = reading => ended,
    };
    if let Err(error) = ended {
        tracing::debug!(target: "tradelane::kafka", %error, "a connection to the cluster ended");
    }
}

/// The next frame; memory follows what arrives.
async fn frame<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Bytes, Down> {
    let length = stream.read_i32().await?;
    let length = usize::try_from(length).ok().filter(|&length| length <= LONGEST).ok_or(Down::Answer("its length"))?;
    let mut frame = BytesMut::with_capacity(length.min(AHEAD));
    let mut rest = stream.take(length as u64);
    while frame.len() < length {
        if rest.read_buf(&mut frame).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
    }
    Ok(frame.freeze())
}
