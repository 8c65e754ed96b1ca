//! The accept loop: connections in, within limits; TLS 1.3; HTTP/1.1 and HTTP/2; and an orderly end.
//!
//! It knows nothing of routes: every request goes to `crate::front::Front`.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tradelane_hub::Hub;
use tradelane_transport::{Connections, Idle, Peer, Place, Task, TlsAcceptor, TlsOptions, TransportError};

use crate::config::{HttpConfig, ServerLimits};
use crate::front::Front;

/// After an accept that failed for want of files or memory, the next waits this long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// HTTP/2 pings, by which a peer that is gone without a word is noticed.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// Flow-control windows: large enough that one bulk reader is not slowed, small enough that many fit.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;

/// The listener cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be listened on.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, io::Error),
    /// The metrics cannot be set up.
    #[error("the metrics cannot be set up: {0}")]
    Metrics(#[from] prometheus::Error),
    /// The certificate or key cannot be used, or plain HTTP was wanted beyond loopback.
    #[error(transparent)]
    Transport(#[from] TransportError),
}

/// A listener that is bound and not yet serving.
pub struct Server {
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
    front: Arc<Front>,
    limits: Arc<ServerLimits>,
    connections: Arc<Connections>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("listener", &self.listener).finish_non_exhaustive()
    }
}

impl Server {
    /// Takes the address and reads or makes the certificate. Needs a Tokio runtime.
    pub async fn bind(config: HttpConfig, hub: Hub) -> Result<Self, ServeError> {
        let acceptor = config.transport.acceptor(config.listen, &tls_options(), hub.now().seconds())?;
        let listener = TcpListener::bind(config.listen).await.map_err(|e| ServeError::Listen(config.listen, e))?;
        let limits = Arc::new(config.limits);
        let connections = Connections::new(limits.connections, limits.connections_per_peer);
        let secure = acceptor.is_some();
        let front = Front::new(hub, Arc::clone(&limits), config.metrics_for, secure)?;
        Ok(Self { listener, acceptor, front: Arc::new(front), limits, connections })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// `https` or `http`.
    pub fn scheme(&self) -> &'static str {
        if self.acceptor.is_some() { "https" } else { "http" }
    }

    /// What takes its TLS connections, for telling it to read its certificate again. None without TLS.
    pub fn acceptor(&self) -> Option<TlsAcceptor> {
        self.acceptor.clone()
    }

    /// Shows the metrics of another listener on this one's page as well.
    pub fn add_metrics(&self, more: impl Fn() -> Vec<u8> + Send + Sync + 'static) {
        self.front.add_metrics(Box::new(more));
    }

    /// Lets readiness depend on another listener as well: `name` is what the check is called.
    pub fn add_check(&self, name: &'static str, is_well: impl Fn() -> bool + Send + Sync + 'static) {
        self.front.add_check((name, Box::new(is_well)));
    }

    /// Serves until `stop` is ready; then takes no more connections, tells event streams to end, and gives open requests
    /// `drain` to be answered.
    ///
    /// A [`Task`], as `stop` is, so that a server is compiled here and not once more where it is started.
    pub fn run(self, stop: Task) -> Task {
        Box::pin(self.run_until(stop))
    }

    async fn run_until(self, mut stop: Task) {
        let graceful = GracefulShutdown::new();
        loop {
            tokio::select! {
                biased;
                () = &mut stop => break,
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, peer)) => self.take(stream, peer, graceful.watcher()),
                    // A connection that was gone before it was accepted is nobody's fault; no more files is ours.
                    Err(error) if is_of_connection(&error) => {}
                    Err(error) => {
                        tracing::warn!(target: "tradelane::serve", %error, "cannot accept connections");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        drop(self.listener);
        self.front.close();
        let drained = timeout(self.limits.drain, async {
            graceful.shutdown().await;
            self.front.idle().await;
        });
        if drained.await.is_err() {
            tracing::warn!(target: "tradelane::serve", open = self.connections.count(), "connections were cut off");
        }
    }

    fn take(&self, stream: TcpStream, address: SocketAddr, watcher: Watcher) {
        let peer = Peer::of(address.ip());
        let Some(place) = self.connections.admit(peer) else {
            self.front.refused_connection();
            return;
        };
        self.front.open_connections(self.connections.count());
        let connection =
            Connection { front: Arc::clone(&self.front), limits: Arc::clone(&self.limits), address, watcher, place };
        let acceptor = self.acceptor.clone();
        tokio::spawn(async move {
            // Small answers must not wait for more.
            let _ = stream.set_nodelay(true);
            let stream = Idle::new(stream, connection.limits.connection_idle);
            match acceptor {
                None => connection.serve(stream).await,
                Some(acceptor) => match timeout(connection.limits.handshake, acceptor.accept(stream)).await {
                    Ok(Ok(stream)) => connection.serve(stream).await,
                    Ok(Err(_)) | Err(_) => connection.front.failed_handshake(),
                },
            }
        });
    }
}

/// One connection and all it needs until it ends.
struct Connection {
    front: Arc<Front>,
    limits: Arc<ServerLimits>,
    address: SocketAddr,
    watcher: Watcher,
    place: Place,
}

impl Connection {
    async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(self, stream: S) {
        let Self { front, limits, address, watcher, place } = self;
        let service = service_fn(move |request| {
            let front = Arc::clone(&front);
            async move { front.answer(request, address).await }
        });
        let http = protocol(&limits);
        let connection = http.serve_connection(TokioIo::new(stream), service).into_owned();
        // How a connection ends is the peer's affair; what was asked on it is in the request log.
        let _ = watcher.watch(connection).await;
        drop(place);
    }
}

pub(crate) fn protocol(limits: &ServerLimits) -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_read)
        .max_buf_size(limits.header_bytes.max(8 * 1024))
        .max_headers(limits.headers);
    http.http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .max_concurrent_streams(limits.streams_per_connection)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(STREAM_WINDOW as usize)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT);
    http
}

fn tls_options() -> TlsOptions {
    TlsOptions { alpn: vec![b"h2".to_vec(), b"http/1.1".to_vec()], client_certificates: false }
}

fn is_of_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
