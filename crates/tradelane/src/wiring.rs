//! Puts the parts together: from a configuration to a hub that answers. `serve`, `demo` and tests start it alike.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tradelane_http::{CA_CERTIFICATE, Server};
use tradelane_hub::{Hub, HubError};
use tradelane_kafka::ClusterTopics;
use tradelane_keys::CredentialText;

use crate::certificates::Certificates;
use crate::config::{Config, TlsMode};
use crate::failure::{Failure, Result};

/// A hub that serves.
pub(crate) struct Started {
    /// The hub itself; whoever runs it in the same process may ask it without a listener.
    #[allow(dead_code, reason = "for benchmarks and tests in this process")]
    pub(crate) hub: Hub,
    /// Where it serves: `https://localhost:PORT`, or the configured address.
    pub(crate) url: String,
    /// Where it serves Kafka clients, if it does.
    pub(crate) kafka: Option<SocketAddr>,
    /// The development authority's certificate, for clients to trust.
    pub(crate) ca_file: Option<PathBuf>,
    /// The first operator's key, at the very first start.
    pub(crate) operator_key: Option<CredentialText>,
    /// What each store found and did when it was opened.
    pub(crate) recovered: Vec<String>,
    certificates: Certificates,
    stop: watch::Sender<bool>,
    serving: Vec<JoinHandle<()>>,
}

impl Started {
    /// Reads certificates of one's own again; connections that are open stay as they are.
    pub(crate) async fn renew(&self) {
        self.certificates.clone().read(false).await;
    }

    /// Takes no more requests, lets open ones end, and returns when all is quiet.
    pub(crate) async fn stop(self) {
        self.stop.send_replace(true);
        for listener in self.serving {
            // A listener that is gone already, or whose task died, has nothing left to end.
            let _ = listener.await;
        }
    }
}

/// The runtime of a hub: a worker per core.
pub(crate) fn runtime() -> Result<Runtime> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("tradelane").build();
    runtime.map_err(|error| Failure::failed(format!("no threads can be started: {error}")))
}

/// Opens the stores, recovers them if need be, makes the first operator if there is none, and begins to serve.
pub(crate) async fn start(config: &Config) -> Result<Started> {
    private_folder(&config.data)?;
    let upstream = config.has_cluster().then(|| config.cluster.upstream()).transpose();
    let upstream = upstream.map_err(|(path, error)| Failure::file(&path, error))?;
    let opening = match upstream.clone() {
        None => Hub::open(config.hub()).await,
        Some(upstream) => {
            let topics = ClusterTopics::new(upstream).map_err(|error| Failure::failed(format!("Kafka: {error}")))?;
            Hub::open_before_cluster(config.hub(), Arc::new(topics)).await
        }
    };
    let (hub, opened) = opening.map_err(refused)?;
    let operator_key = hub.bootstrap().await.map_err(refused)?;
    hub.retain_every(Duration::from_secs(config.retention.sweep_seconds));
    let server = Server::bind(config.http(), hub.clone()).await.map_err(|error| Failure::failed(error.to_string()))?;
    let address = server.local_addr().map_err(|error| Failure::failed(format!("the listener: {error}")))?;
    let host = if address.ip().is_loopback() { "localhost".to_owned() } else { address.ip().to_string() };
    let url = format!("{}://{host}:{}", server.scheme(), address.port());
    let ca_file = (config.tls.mode == TlsMode::Development).then(|| config.authority().join(CA_CERTIFICATE));
    let (stop, stopped) = watch::channel(false);
    let mut serving = Vec::new();
    let mut certificates = Certificates(server.acceptor().into_iter().collect());
    let mut kafka = None;
    if let Some(listener) = config.kafka() {
        let listener = match upstream {
            None => tradelane_kafka::Server::bind(listener, hub.clone()).await,
            Some(upstream) => tradelane_kafka::Server::in_front_of(upstream, listener, hub.clone()).await,
        };
        let listener = listener.map_err(|error| Failure::failed(format!("Kafka: {error}")))?;
        kafka = listener.local_addr().ok();
        certificates.0.extend(listener.acceptor());
        let observer = listener.observer();
        if config.has_cluster() {
            let observer = observer.clone();
            server.add_check("kafka-cluster", move || observer.is_ready());
        }
        server.add_metrics(move || observer.text());
        serving.push(tokio::spawn(listener.run(Box::pin(told(stopped.clone())))));
    }
    serving.push(tokio::spawn(certificates.clone().watch(told(stopped.clone()))));
    serving.push(tokio::spawn(server.run(Box::pin(told(stopped)))));
    Ok(Started { hub, url, kafka, ca_file, operator_key, recovered: opened.recovered, certificates, stop, serving })
}

/// Ready when the hub is told to stop. A sender that is gone means the same as one that spoke.
async fn told(mut stopped: watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

/// The data folder is nobody else's to read.
fn private_folder(folder: &std::path::Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|error| Failure::file(folder, error))
}

/// The operator is told the cause as well: it is the operator's own machine.
fn refused(error: HubError) -> Failure {
    let message = match &error.cause {
        Some(cause) => format!("{} ({cause})", error.detail),
        None => error.detail.clone(),
    };
    Failure::failed(message).coded(error.code.as_str())
}
