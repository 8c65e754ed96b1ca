//! A hub in a temporary directory behind the real listener on loopback, and a client that trusts its authority only.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tradelane_http::{CA_CERTIFICATE, HttpConfig, Server, ServerLimits};
use tradelane_hub::{Hub, HubConfig, SystemClock};

/// A running listener.
pub(crate) struct World {
    pub(crate) address: SocketAddr,
    pub(crate) hub: Hub,
    pub(crate) operator: String,
    keys: BTreeMap<String, String>,
    tls: Arc<rustls::ClientConfig>,
    stop: Option<oneshot::Sender<()>>,
    server: Option<JoinHandle<()>>,
    _directory: tempfile::TempDir,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.text()))
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("ASCII"))
    }

    #[track_caller]
    pub(crate) fn must(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        self
    }
}

/// A request in the making.
pub(crate) struct Ask<'a> {
    world: &'a World,
    method: Method,
    path: String,
    headers: Vec<(String, String)>,
    body: Bytes,
}

impl<'a> Ask<'a> {
    /// As the holder of that key.
    pub(crate) fn key(self, key: &str) -> Self {
        self.header("authorization", &format!("Bearer {key}"))
    }

    /// As that principal of the world.
    pub(crate) fn as_(self, principal: &str) -> Self {
        let key = self.world.keys[principal].clone();
        self.key(&key)
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn body(mut self, media: &str, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self.header("content-type", media)
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string())
    }

    fn request(&self) -> Request<Full<Bytes>> {
        let mut request = Request::builder().method(self.method.clone()).uri(&self.path).header("host", "localhost");
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request.body(Full::new(self.body.clone())).expect("a request")
    }

    pub(crate) async fn send(self) -> Answer {
        let response = self.open().await;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("a whole body").to_bytes();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    /// The head of the answer; the body is still to come.
    pub(crate) async fn open(self) -> http::Response<Incoming> {
        let stream = self.world.connect(&[b"http/1.1"]).await;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("HTTP/1.1");
        tokio::spawn(connection);
        sender.send_request(self.request()).await.expect("an answer")
    }

    pub(crate) async fn send_http2(self) -> Answer {
        let stream = self.world.connect(&[b"h2"]).await;
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
        tokio::spawn(connection);
        let mut request = self.request();
        request.headers_mut().remove("host");
        *request.uri_mut() = format!("https://localhost{}", self.path).parse().expect("a URI");
        let (parts, body) = sender.send_request(request).await.expect("an answer").into_parts();
        let body = body.collect().await.expect("a whole body").to_bytes();
        Answer { status: parts.status, headers: parts.headers, body }
    }
}

pub(crate) fn example(path: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

impl World {
    /// With the example network, and with limits as the test wants them.
    pub(crate) async fn with(limits: ServerLimits) -> Self {
        let directory = tempfile::Builder::new().prefix("tradelane-").tempdir().expect("a directory");
        let config = HubConfig {
            data: directory.path().join("data"),
            root_key: directory.path().join("root.key"),
            origin: "hub.test/audit".into(),
            issuer: "https://hub.test".into(),
            clock: Arc::new(SystemClock),
            clock_tolerance: 30,
            render_cache: 1 << 20,
            postgres: None,
        };
        let (hub, _) = Hub::open(config).await.expect("a hub");
        let operator = hub.bootstrap().await.expect("a first operator").expect("a new hub").expose().to_owned();
        let tls = directory.path().join("tls");
        let mut config = HttpConfig::development("127.0.0.1:0".parse().expect("an address"), &tls);
        config.limits = limits;
        let server = Server::bind(config, hub.clone()).await.expect("a listener");
        let address = server.local_addr().expect("an address");
        let (stop, stopped) = oneshot::channel();
        let server = tokio::spawn(server.run(Box::pin(async {
            let _ = stopped.await;
        })));
        let pem = std::fs::read(tls.join(CA_CERTIFICATE)).expect("an authority");
        let mut world = Self {
            address,
            hub,
            operator,
            keys: BTreeMap::new(),
            tls: client_config(&pem),
            stop: Some(stop),
            server: Some(server),
            _directory: directory,
        };
        world.furnish().await;
        world
    }

    pub(crate) async fn start() -> Self {
        Self::with(ServerLimits::default()).await
    }

    async fn furnish(&mut self) {
        self.apply(&self.operator, &["organizations.yaml"]).await;
        for principal in ["acme-desk", "northline-desk", "medidis-desk", "corner-desk"] {
            let issued = self
                .post(&format!("/v1/principals/{principal}/credentials"))
                .key(&self.operator)
                .json(&json!({ "kind": "api-key", "lifetimeSeconds": 3600 }))
                .send()
                .await
                .must(201);
            let secret = issued.json()["secret"].as_str().expect("a secret").to_owned();
            self.keys.insert(principal.to_owned(), secret);
        }
        let files = ["acme/stock.odcs.yaml", "acme/stock.yaml", "acme/shipments.odcs.yaml", "acme/shipments.yaml"];
        self.apply(&self.keys["acme-desk"], &files).await;
        let files = ["northline/tracking.odcs.yaml", "northline/tracking.yaml"];
        self.apply(&self.keys["northline-desk"], &files).await;
    }

    pub(crate) async fn apply(&self, key: &str, files: &[&str]) -> Value {
        let files: Vec<Value> =
            files.iter().map(|name| json!({ "name": name, "text": example(&format!("network/{name}")) })).collect();
        self.post("/v1/apply").key(key).json(&json!({ "files": files })).send().await.must(200).json()
    }

    pub(crate) fn key_of(&self, principal: &str) -> &str {
        &self.keys[principal]
    }

    pub(crate) fn ask(&self, method: Method, path: &str) -> Ask<'_> {
        Ask { world: self, method, path: path.to_owned(), headers: Vec::new(), body: Bytes::new() }
    }

    pub(crate) fn get(&self, path: &str) -> Ask<'_> {
        self.ask(Method::GET, path)
    }

    pub(crate) fn post(&self, path: &str) -> Ask<'_> {
        self.ask(Method::POST, path)
    }

    /// Publishes the example's stock events; how many there are.
    pub(crate) async fn publish_stock(&self) -> u64 {
        let lines = example("json/acme-stock.ndjson");
        let events = self.post("/v1/products/acme-stock/events").as_("acme-desk");
        let answer = events.body("application/x-ndjson", lines).send().await.must(201);
        answer.json()["count"].as_u64().expect("a count")
    }

    /// A TLS connection that offers these protocols.
    pub(crate) async fn connect(&self, protocols: &[&[u8]]) -> TlsStream<TcpStream> {
        let mut config = (*self.tls).clone();
        config.alpn_protocols = protocols.iter().map(|p| p.to_vec()).collect();
        let stream = TcpStream::connect(self.address).await.expect("a connection");
        let name = ServerName::try_from("localhost").expect("a name");
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("TLS")
    }

    /// The number of leaves that the public checkpoint says.
    pub(crate) async fn leaves(&self) -> u64 {
        let note = self.get("/tlog/checkpoint").send().await.must(200);
        note.text().lines().nth(1).and_then(|line| line.parse().ok()).expect("a size")
    }

    /// Tells the listener to stop.
    pub(crate) fn stop(&mut self) -> JoinHandle<()> {
        drop(self.stop.take());
        self.server.take().expect("a server")
    }
}

fn client_config(pem: &[u8]) -> Arc<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pem).expect("a certificate")).expect("a root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}
