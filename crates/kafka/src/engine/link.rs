//! One connection to a broker of the cluster, as the hub's own user: requests out, their answers back, one after the other.
//!
//! Each client connection has one of its own, so that what a broker knows of a connection (its order, its throttling, its
//! groups' waits) stays that client's. It knows no tenant.

use std::io;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{RequestHeader, ResponseHeader, SaslAuthenticateRequest, SaslHandshakeRequest};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
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

/// The broker cannot be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Down {
    #[error("{0}")]
    Io(#[from] io::Error),
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

/// A connection.
pub(crate) struct Link {
    stream: Box<dyn Stream>,
    correlation: i32,
    client: StrBytes,
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
            let mut link = Self { stream, correlation: 0, client };
            if let Some(login) = login {
                link.log_in(login).await?;
            }
            Ok(link)
        };
        timeout(CONNECT, opening).await.map_err(|_| Down::Slow)?
    }

    async fn log_in(&mut self, login: &Login) -> Result<(), Down> {
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

    async fn sasl(&mut self, bytes: Vec<u8>) -> Result<Bytes, Down> {
        // Version 0: without a session that ends. A broker that ends sessions closes the connection, and so do we then.
        let answer = self.call(0, &SaslAuthenticateRequest::default().with_auth_bytes(bytes.into())).await?;
        match answer.error_code {
            0 => Ok(answer.auth_bytes),
            code => Err(Down::Login(format!("error {code}"))),
        }
    }

    /// Asks and waits for the answer.
    pub(crate) async fn call<R: Request>(&mut self, version: i16, request: &R) -> Result<R::Response, Down> {
        self.send(version, request).await?;
        let frame = timeout(ANSWER, self.frame()).await.map_err(|_| Down::Slow)??;
        let mut frame = frame;
        let header = ResponseHeader::decode(&mut frame, R::Response::header_version(version));
        let header = header.map_err(|_| Down::Answer("its head"))?;
        if header.correlation_id != self.correlation {
            return Err(Down::Answer("it is to another request"));
        }
        R::Response::decode(&mut frame, version).map_err(|_| Down::Answer("its body"))
    }

    /// Asks something that has no answer.
    pub(crate) async fn send<R: Request>(&mut self, version: i16, request: &R) -> Result<(), Down> {
        self.correlation = self.correlation.wrapping_add(1) & i32::MAX;
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(self.correlation)
            .with_client_id(Some(self.client.clone()));
        let unsupported = |_| Down::Version(version);
        let mut out = BytesMut::with_capacity(request.compute_size(version).map_err(unsupported)? + 256);
        out.put_u32(0);
        header.encode(&mut out, R::header_version(version)).map_err(unsupported)?;
        request.encode(&mut out, version).map_err(unsupported)?;
        let length = u32::try_from(out.len() - 4).map_err(|_| Down::Answer("a request is too long"))?;
        if let Some(place) = out.first_chunk_mut::<4>() {
            *place = length.to_be_bytes();
        }
        self.stream.write_all(&out).await?;
        self.stream.flush().await?;
        Ok(())
    }

    /// The next frame; memory follows what arrives.
    async fn frame(&mut self) -> Result<Bytes, Down> {
        let length = self.stream.read_i32().await?;
        let length =
            usize::try_from(length).ok().filter(|&length| length <= LONGEST).ok_or(Down::Answer("its length"))?;
        let mut frame = BytesMut::with_capacity(length.min(AHEAD));
        let mut rest = (&mut self.stream).take(length as u64);
        while frame.len() < length {
            if rest.read_buf(&mut frame).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
        Ok(frame.freeze())
    }
}
