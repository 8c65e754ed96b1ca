//! The accept loop: connections in, within limits; TLS 1.3; and an orderly end. It knows nothing of requests.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout, timeout_at};
use tradelane_hub::Hub;
use tradelane_transport::{
    Connections, Idle, Peer, Task, TlsAcceptor, TlsConnector, TlsOptions, TransportError, client_certificate,
};

use crate::config::KafkaConfig;
use crate::connection::Connection;
use crate::engine::Cluster;
use crate::engine::config::UpstreamConfig;
use crate::shared::Shared;

/// After an accept that failed for want of files or memory, the next waits this long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How often groups are looked through for what has expired.
const SWEEP: Duration = Duration::from_secs(300);
/// The first byte of a TLS handshake.
const HANDSHAKE: u8 = 0x16;

/// The listener cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be listened on.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, io::Error),
    /// The metrics cannot be set up.
    #[error("the metrics cannot be set up: {0}")]
    Metrics(#[from] prometheus::Error),
    /// The certificate or key cannot be used, or plain text was wanted beyond loopback.
    #[error(transparent)]
    Transport(#[from] TransportError),
}

/// A listener that is bound and not yet serving.
pub struct Server {
    address: SocketAddr,
    /// One for all that come first, and one for each broker of the cluster behind, by its number.
    listeners: Vec<(Option<i32>, TcpListener)>,
    acceptor: Option<TlsAcceptor>,
    shared: Arc<Shared>,
    connections: Arc<Connections>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Shows the listener's metrics to whoever collects them.
#[derive(Clone)]
pub struct Observer {
    shared: Arc<Shared>,
    connections: Arc<Connections>,
}

impl std::fmt::Debug for Observer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Observer(..)")
    }
}

impl Observer {
    /// Can clients be served? Not while a cluster that is to keep the records does not answer.
    pub fn is_ready(&self) -> bool {
        self.shared.upstream.as_ref().is_none_or(|cluster| cluster.is_reachable())
    }

    /// All metrics, in Prometheus' text format.
    pub fn text(&self) -> Vec<u8> {
        self.shared.measure(self.connections.count());
        self.shared.metrics.text()
    }
}

impl Server {
    /// Takes the address and reads or makes the certificate. Needs a Tokio runtime.
    pub async fn bind(config: KafkaConfig, hub: Hub) -> Result<Self, ServeError> {
        Self::bind_with(config, None, hub).await
    }

    /// The same in front of a cluster of Apache Kafka, which keeps the records, groups and transactions. Takes a port for
    /// each broker as well, on the same address. While the cluster was never reached, clients are not let in.
    pub async fn in_front_of(upstream: UpstreamConfig, config: KafkaConfig, hub: Hub) -> Result<Self, ServeError> {
        Self::bind_with(config, Some(upstream), hub).await
    }

    async fn bind_with(config: KafkaConfig, upstream: Option<UpstreamConfig>, hub: Hub) -> Result<Self, ServeError> {
        let options = TlsOptions { alpn: Vec::new(), client_certificates: true };
        let acceptor = config.transport.acceptor(config.listen, &options, hub.now().seconds())?;
        let listener = TcpListener::bind(config.listen).await.map_err(|e| ServeError::Listen(config.listen, e))?;
        let address = listener.local_addr().map_err(|e| ServeError::Listen(config.listen, e))?;
        let host = match config.advertised_host.as_str() {
            "" if address.ip().is_loopback() => "localhost".to_owned(),
            "" => address.ip().to_string(),
            host => host.to_owned(),
        };
        let port = if config.advertised_port == 0 { address.port() } else { config.advertised_port };
        let connections = Connections::new(config.limits.connections, config.limits.connections_per_peer);
        let mut nodes = Vec::new();
        let upstream = match upstream {
            None => None,
            Some(upstream) => {
                nodes = node_listeners(address.ip(), &upstream).await?;
                Some(Arc::new(cluster_behind(upstream, &host, &nodes)?))
            }
        };
        let shared = Arc::new(Shared::new(hub, config.limits, host, port, upstream)?);
        let nodes = nodes.into_iter().map(|(node, listener)| (Some(node), listener));
        let listeners = nodes.chain([(None, listener)]).collect();
        Ok(Self { address, listeners, acceptor, shared, connections })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }

    /// What takes its TLS connections, for telling it to read its certificate again. None without TLS.
    pub fn acceptor(&self) -> Option<TlsAcceptor> {
        self.acceptor.clone()
    }

    /// The ports that stand for brokers of the cluster behind, by the brokers' numbers.
    pub fn node_ports(&self) -> BTreeMap<i32, u16> {
        let port = |(node, listener): &(Option<i32>, TcpListener)| Some(((*node)?, listener.local_addr().ok()?.port()));
        self.listeners.iter().filter_map(port).collect()
    }

    /// Its metrics, for as long as anyone wants them.
    pub fn observer(&self) -> Observer {
        Observer { shared: Arc::clone(&self.shared), connections: Arc::clone(&self.connections) }
    }

    /// Serves until `stop` is ready; then takes no more connections, ends waits, and gives open requests `drain` to be
    /// answered.
    ///
    /// A [`Task`], as `stop` is, so that a server is compiled here and not once more where it is started.
    pub fn run(self, stop: Task) -> Task {
        Box::pin(self.run_until(stop))
    }

    async fn run_until(mut self, mut stop: Task) {
        let (open, mut all_gone) = mpsc::channel::<()>(1);
        let (accepted, mut arriving) = mpsc::channel(1);
        let mut accepting = JoinSet::new();
        for (node, listener) in std::mem::take(&mut self.listeners) {
            accepting.spawn(accept(listener, node, accepted.clone()));
        }
        if let Some(cluster) = self.shared.upstream.clone() {
            accepting.spawn(async move { cluster.watch().await });
        }
        let mut sweep = interval(SWEEP);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = &mut stop => break,
                _ = sweep.tick() => self.sweep(),
                Some((stream, peer, node)) = arriving.recv() => self.take(stream, peer, node, open.clone()),
            }
        }
        accepting.shutdown().await;
        drop(arriving);
        drop(open);
        self.shared.closing.send_replace(true);
        if timeout(self.shared.limits.drain, all_gone.recv()).await.is_err() {
            tracing::warn!(target: "tradelane::kafka", open = self.connections.count(), "connections were cut off");
        }
    }

    /// Lets what has expired of groups go.
    fn sweep(&self) {
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            if let Err(error) = shared.groups.sweep(shared.hub.now().millis()).await {
                tracing::warn!(target: "tradelane::kafka", %error, "expired group offsets could not be removed");
            }
        });
    }

    /// `open` is dropped when the connection ends.
    fn take(&self, stream: TcpStream, address: SocketAddr, node: Option<i32>, open: mpsc::Sender<()>) {
        let peer = Peer::of(address.ip());
        let Some(place) = self.connections.admit(peer) else {
            self.shared.metrics.refused("too many");
            return;
        };
        let shared = Arc::clone(&self.shared);
        let acceptor = self.acceptor.clone();
        tokio::spawn(async move {
            serve(shared, acceptor, stream, (address, peer), node).await;
            drop((place, open));
        });
    }
}

async fn serve(
    shared: Arc<Shared>,
    acceptor: Option<TlsAcceptor>,
    stream: TcpStream,
    (address, peer): (SocketAddr, Peer),
    node: Option<i32>,
) {
    // What it could be offered is not known yet; as with a broker that starts, it comes again.
    if shared.upstream.as_ref().is_some_and(|cluster| !cluster.is_known()) {
        return shared.metrics.refused("no cluster");
    }
    // Small answers must not wait for more.
    let _ = stream.set_nodelay(true);
    let deadline = Instant::now() + shared.limits.authenticate;
    let host = format!("/{}", address.ip().to_canonical());
    let Some(acceptor) = acceptor else {
        let stream = Idle::new(stream, shared.limits.idle);
        return Connection::new(shared, peer, host, node).serve(stream, deadline).await;
    };
    if !speaks_tls(&stream, deadline).await {
        tracing::warn!(target: "tradelane::kafka", %host, "a client without TLS on a port with TLS, or a silent one");
        return shared.metrics.refused("no tls");
    }
    let stream = Idle::new(stream, shared.limits.idle);
    match timeout_at(deadline, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => {
            let certificate = client_certificate(&stream);
            let mut connection = Connection::new(shared, peer, host, node);
            if let Some(certificate) = certificate {
                connection.present(&certificate);
            }
            connection.serve(stream, deadline).await;
        }
        Ok(Err(error)) => {
            tracing::info!(target: "tradelane::kafka", %host, %error, "a TLS handshake failed");
            shared.metrics.refused("handshake");
        }
        Err(_) => shared.metrics.refused("handshake"),
    }
}

/// Takes connections to one port, for as long as anybody wants them.
async fn accept(
    listener: TcpListener,
    node: Option<i32>,
    accepted: mpsc::Sender<(TcpStream, SocketAddr, Option<i32>)>,
) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                if accepted.send((stream, peer, node)).await.is_err() {
                    return;
                }
            }
            // A connection that was gone before it was accepted is nobody's fault; no more files is ours.
            Err(error) if is_of_connection(&error) => {}
            Err(error) => {
                tracing::warn!(target: "tradelane::kafka", %error, "cannot accept connections");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// A port for each number that a broker may have.
async fn node_listeners(ip: IpAddr, upstream: &UpstreamConfig) -> Result<Vec<(i32, TcpListener)>, ServeError> {
    let mut nodes = Vec::new();
    for (index, node) in (0..upstream.nodes).zip(upstream.first_node..) {
        let port = match upstream.first_node_port {
            0 => 0,
            first => first.saturating_add(index),
        };
        let address = SocketAddr::new(ip, port);
        let listener = TcpListener::bind(address).await.map_err(|error| ServeError::Listen(address, error))?;
        nodes.push((node, listener));
    }
    Ok(nodes)
}

fn cluster_behind(upstream: UpstreamConfig, host: &str, nodes: &[(i32, TcpListener)]) -> Result<Cluster, ServeError> {
    let tls = upstream.authorities.as_deref().map(TlsConnector::trusting).transpose().map_err(TransportError::from)?;
    let port = |(node, listener): &(i32, TcpListener)| Some((*node, listener.local_addr().ok()?.port()));
    Ok(Cluster::new(upstream, tls, host, nodes.iter().filter_map(port).collect()))
}

/// Looks at the first byte without taking it.
async fn speaks_tls(stream: &TcpStream, deadline: Instant) -> bool {
    let mut first = [0];
    matches!(timeout_at(deadline, stream.peek(&mut first)).await, Ok(Ok(1)) if first == [HANDSHAKE])
}

fn is_of_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
