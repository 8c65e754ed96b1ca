//! A hub with an owner and two partners behind the real listener on loopback, and a client that says what it likes.
#![allow(dead_code, unreachable_pub, missing_docs)] // every test file uses a part of it

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    MetadataRequest, MetadataResponse, RequestHeader, ResponseHeader, SaslAuthenticateRequest, SaslAuthenticateResponse,
};
use kafka_protocol::messages::{SaslHandshakeRequest, SaslHandshakeResponse, TopicName};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tradelane_hub::{Caller, ClusterLog, Hub, HubConfig, NewCredential, Presented, SystemClock};
use tradelane_kafka::{
    ClusterTopics, KafkaConfig, KafkaLimits, Login, LoginMechanism, Password, Server, Transport, UpstreamConfig,
};
use tradelane_model::organization::CredentialKind;
use tradelane_records::{BatchBuilder, BatchHead, HeaderSource};
use tradelane_testkit::Kafka;

pub const NETWORK: &str = r#"
apiVersion: tradelane/v1
kind: Organization
spec: {id: acme, name: Acme}
---
apiVersion: tradelane/v1
kind: Organization
spec: {id: near, name: Near}
---
apiVersion: tradelane/v1
kind: Organization
spec: {id: far, name: Far}
---
apiVersion: tradelane/v1
kind: Principal
spec: {id: acme.owner, organization: acme, kind: user, roles: [admin, data-owner]}
---
apiVersion: tradelane/v1
kind: Principal
spec: {id: acme.wms, organization: acme, roles: [publisher]}
---
apiVersion: tradelane/v1
kind: Principal
spec: {id: near.app, organization: near, roles: [consumer]}
---
apiVersion: tradelane/v1
kind: Principal
spec: {id: far.app, organization: far, roles: [consumer]}
"#;

pub const CONTRACT: &str = r#"
apiVersion: v3.1.0
kind: DataContract
id: acme-orders
tenant: acme
version: 1.0.0
status: active
name: Orders
schema:
  - name: order
    properties:
      - {name: id, logicalType: string, required: true, classification: public}
      - {name: qty, logicalType: integer, required: true, classification: public}
      - {name: price, logicalType: number, classification: confidential}
slaProperties:
  - {property: retention, value: 30, unit: d}
customProperties:
  - {property: tradelane, value: {purposes: [replenishment]}}
"#;

/// Both products have the same contract; `near` is granted the first, nobody the second.
pub const PRODUCTS: &str = r#"
apiVersion: tradelane/v1
kind: Product
spec: {id: acme-orders, owner: acme, name: Orders, contract: acme-orders, partitions: 2}
---
apiVersion: tradelane/v1
kind: Product
spec: {id: acme-secret, owner: acme, name: Secret, contract: acme-orders}
---
apiVersion: tradelane/v1
kind: Grant
spec:
  id: near-orders
  product: acme-orders
  consumer: near
  purpose: replenishment
  view: {classes: {confidential: drop}}
"#;

pub const TOPIC: &str = "acme-orders";
pub const SECRET: &str = "acme-secret";

pub struct World {
    pub hub: Hub,
    pub address: SocketAddr,
    /// Ports that stand for brokers of a cluster behind.
    pub ports: BTreeMap<i32, u16>,
    pub operator: Caller,
    pub owner: Caller,
    pub keys: BTreeMap<String, String>,
    stop: Option<oneshot::Sender<()>>,
    pub server: Option<JoinHandle<()>>,
    _directory: tempfile::TempDir,
}

impl World {
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut KafkaLimits)) -> Self {
        Self::start(change, None).await
    }

    /// In front of a cluster, at addresses that real clients find.
    pub async fn in_front_of(upstream: UpstreamConfig) -> Self {
        Self::in_front_of_with(|_| {}, upstream).await
    }

    pub async fn in_front_of_with(change: impl FnOnce(&mut KafkaLimits), upstream: UpstreamConfig) -> Self {
        let topics = Arc::new(ClusterTopics::new(upstream.clone()).unwrap());
        Self::start(change, Some((upstream, topics))).await
    }

    /// The same, whose own events go that way.
    pub async fn with_events(upstream: UpstreamConfig, events: Arc<dyn ClusterLog>) -> Self {
        Self::start(|_| {}, Some((upstream, events))).await
    }

    async fn start(
        change: impl FnOnce(&mut KafkaLimits),
        cluster: Option<(UpstreamConfig, Arc<dyn ClusterLog>)>,
    ) -> Self {
        let (upstream, events) = cluster.unzip();
        let directory = tempfile::Builder::new().prefix("tradelane-").tempdir().unwrap();
        let config = HubConfig {
            data: directory.path().join("data"),
            root_key: directory.path().join("root.key"),
            origin: "hub.test/audit".into(),
            issuer: "https://hub.test".into(),
            clock: Arc::new(SystemClock),
            clock_tolerance: 5,
            render_cache: 8 << 20,
            postgres: None,
        };
        let (hub, _) = match events {
            None => Hub::open(config).await.unwrap(),
            Some(events) => Hub::open_before_cluster(config, events).await.unwrap(),
        };
        let key = hub.bootstrap().await.unwrap().unwrap();
        let operator = hub.authenticate(Presented::ApiKey(key.expose())).unwrap();
        hub.apply(&operator, &[("network.yaml".into(), NETWORK.into())], false).await.unwrap();
        let mut keys = BTreeMap::new();
        for principal in ["acme.owner", "acme.wms", "near.app", "far.app"] {
            keys.insert(principal.to_owned(), issue(&hub, &operator, principal).await);
        }
        let owner = hub.authenticate(Presented::ApiKey(&keys["acme.owner"])).unwrap();
        let files = [("contract.yaml".into(), CONTRACT.into()), ("products.yaml".into(), PRODUCTS.into())];
        hub.apply(&owner, &files, false).await.unwrap();
        let mut limits = KafkaLimits::default();
        limits.groups.initial_rebalance_delay_ms = 0;
        change(&mut limits);
        let config = KafkaConfig {
            listen: "127.0.0.1:0".parse().unwrap(),
            transport: Transport::PlainLoopback,
            advertised_host: if upstream.is_some() { String::new() } else { "kafka.test".into() },
            advertised_port: if upstream.is_some() { 0 } else { 19_092 },
            limits,
        };
        let server = match upstream {
            None => Server::bind(config, hub.clone()).await.unwrap(),
            Some(upstream) => Server::in_front_of(upstream, config, hub.clone()).await.unwrap(),
        };
        let (ports, observer) = (server.node_ports(), server.observer());
        let address = server.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let server = tokio::spawn(server.run(Box::pin(async {
            let _ = stopped.await;
        })));
        for _ in 0..600 {
            if observer.is_ready() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Self {
            hub,
            address,
            ports,
            operator,
            owner,
            keys,
            stop: Some(stop),
            server: Some(server),
            _directory: directory,
        }
    }

    pub fn stop(&mut self) {
        drop(self.stop.take());
    }

    pub async fn connect(&self) -> Client {
        Client { stream: TcpStream::connect(self.address).await.unwrap(), correlation: 0, answered: 0 }
    }

    /// A client that said who it is.
    pub async fn client(&self, principal: &str) -> Client {
        let mut client = self.connect().await;
        let answer = client.plain(&self.keys[principal]).await;
        assert_eq!(answer.error_code, 0, "{:?}", answer.error_message);
        client
    }

    /// The same at the port that stands for a broker.
    pub async fn node(&self, principal: &str, node: i32) -> Client {
        let stream = TcpStream::connect((self.address.ip(), self.ports[&node])).await.unwrap();
        let mut client = Client { stream, correlation: 0, answered: 0 };
        assert_eq!(client.plain(&self.keys[principal]).await.error_code, 0);
        client
    }

    /// The same at whichever port answers all.
    pub async fn at(&self, principal: &str) -> Client {
        if self.ports.is_empty() { self.client(principal).await } else { self.node(principal, 0).await }
    }

    /// Gives a partner the product of [`TOPIC`] under that name.
    pub async fn grant(&self, consumer: &str, topic: &str) -> tradelane_hub::Result<()> {
        self.grant_as(&format!("{consumer}-orders"), consumer, topic).await
    }

    /// The same by a grant of that id.
    pub async fn grant_as(&self, id: &str, consumer: &str, topic: &str) -> tradelane_hub::Result<()> {
        let spec = format!("id: {id}, product: acme-orders, consumer: {consumer}, purpose: replenishment");
        let file = format!("apiVersion: tradelane/v1\nkind: Grant\nspec: {{{spec}, topic: {topic}}}\n");
        self.hub.apply(&self.owner, &[("grant.yaml".into(), file)], false).await.map(drop)
    }

    /// Takes everything away from `near`.
    pub async fn revoke_grant(&self) {
        self.hub.revoke(&self.owner, &"near-orders".parse().unwrap(), "test").await.unwrap();
    }

    pub async fn revoke_key(&self, principal: &str) {
        let id = self.keys[principal].split('_').nth(1).unwrap().parse().unwrap();
        self.hub.revoke_credential(&self.operator, &id).await.unwrap();
    }
}

pub async fn issue(hub: &Hub, by: &Caller, principal: &str) -> String {
    issue_kind(hub, by, principal, CredentialKind::ApiKey).await
}

pub async fn issue_kind(hub: &Hub, by: &Caller, principal: &str, kind: CredentialKind) -> String {
    let new = NewCredential {
        principal: principal.parse().unwrap(),
        kind,
        lifetime_seconds: 90 * 86_400,
        replaces: None,
        overlap_seconds: 0,
    };
    hub.issue_credential(by, new).await.unwrap().value().text.expose().to_owned()
}

/// A client that checks nothing by itself, but that answers come in the order of the requests.
pub struct Client {
    pub stream: TcpStream,
    correlation: i32,
    answered: i32,
}

impl Client {
    /// Sends a request and reads its answer.
    pub async fn ask<R: Request + HeaderVersion>(&mut self, version: i16, request: &R) -> R::Response {
        self.send(version, request).await;
        self.answer::<R>(version).await.expect("an answer")
    }

    pub async fn send<R: Request + HeaderVersion>(&mut self, version: i16, request: &R) {
        let mut body = BytesMut::new();
        request.encode(&mut body, version).unwrap();
        self.send_body(R::KEY, version, R::header_version(version), &body).await;
    }

    pub async fn send_body(&mut self, key: i16, version: i16, header: i16, body: &[u8]) {
        self.correlation += 1;
        let mut out = BytesMut::new();
        let head = RequestHeader::default()
            .with_request_api_key(key)
            .with_request_api_version(version)
            .with_correlation_id(self.correlation)
            .with_client_id(Some("test".into()));
        head.encode(&mut out, header).unwrap();
        out.put_slice(body);
        self.stream.write_u32(out.len() as u32).await.unwrap();
        self.stream.write_all(&out).await.unwrap();
    }

    /// The next answer; none if the connection ended.
    pub async fn answer<R: Request>(&mut self, version: i16) -> Option<R::Response> {
        let mut frame = self.frame().await?;
        ResponseHeader::decode(&mut frame, R::Response::header_version(version)).unwrap();
        let response = R::Response::decode(&mut frame, version).unwrap();
        assert!(!frame.has_remaining(), "{} bytes are left", frame.len());
        Some(response)
    }

    pub async fn frame(&mut self) -> Option<Bytes> {
        let length = self.stream.read_u32().await.ok()?;
        let mut frame = vec![0; length as usize];
        self.stream.read_exact(&mut frame).await.ok()?;
        let answered = i32::from_be_bytes(*frame.first_chunk().unwrap());
        // Some requests have no answer.
        assert!((self.answered + 1..=self.correlation).contains(&answered), "{answered} after {}", self.answered);
        self.answered = answered;
        Some(frame.into())
    }

    /// The server ended the connection, without another answer.
    pub async fn is_closed(&mut self) -> bool {
        let read = tokio::time::timeout(Duration::from_secs(20), self.frame()).await;
        read.expect("the connection is still open").is_none()
    }

    pub async fn sasl(&mut self, mechanism: &str, message: &[u8]) -> SaslAuthenticateResponse {
        let handshake = SaslHandshakeRequest::default().with_mechanism(StrBytes::from_string(mechanism.into()));
        let answer: SaslHandshakeResponse = self.ask(1, &handshake).await;
        assert_eq!(answer.error_code, 0);
        self.sasl_next(message).await
    }

    pub async fn sasl_next(&mut self, message: &[u8]) -> SaslAuthenticateResponse {
        let request = SaslAuthenticateRequest::default().with_auth_bytes(Bytes::copy_from_slice(message));
        self.ask(2, &request).await
    }

    pub async fn plain(&mut self, key: &str) -> SaslAuthenticateResponse {
        self.sasl("PLAIN", format!("\0anyone\0{key}").as_bytes()).await
    }
}

/// A cluster behind the hub.
pub fn upstream(kafka: &Kafka, prefix: &str) -> UpstreamConfig {
    let (user, password) = kafka.login();
    UpstreamConfig {
        bootstrap: kafka.bootstrap().split(',').map(str::to_owned).collect(),
        authorities: Some(kafka.authority().to_owned()),
        login: Some(Login {
            mechanism: LoginMechanism::named("SCRAM-SHA-512").unwrap(),
            username: user.to_owned(),
            password: Password::new(password.to_owned()),
        }),
        topic_prefix: prefix.to_owned(),
        create_topics: true,
        replication_factor: -1,
        first_node: 0,
        nodes: 3,
        first_node_port: 0,
    }
}

/// Asks until all partitions of the topic have a leader, as every client does.
pub async fn await_topic(client: &mut Client, name: &str) -> MetadataResponse {
    for _ in 0..100 {
        let wanted = vec![MetadataRequestTopic::default().with_name(Some(topic(name)))];
        let answer = client.ask(12, &MetadataRequest::default().with_topics(Some(wanted))).await;
        if answer.topics[0].error_code == 0 && answer.topics[0].partitions.iter().all(|p| p.leader_id.0 >= 0) {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{name} has no leader")
}

pub fn topic(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

pub fn order(id: u32) -> String {
    format!(r#"{{"id":"o{id}","qty":{id},"price":9.5}}"#)
}

/// A batch of records without keys; the producer is (id, epoch, first sequence).
pub fn batch(values: &[String], producer: Option<(i64, i16, i32)>) -> Bytes {
    batch_of(values, producer, false)
}

pub fn batch_in_transaction(values: &[String], producer: (i64, i16, i32)) -> Bytes {
    batch_of(values, Some(producer), true)
}

fn batch_of(values: &[String], producer: Option<(i64, i16, i32)>, transactional: bool) -> Bytes {
    let (producer_id, producer_epoch, base_sequence) = producer.unwrap_or((-1, -1, -1));
    let head = BatchHead {
        base_timestamp: 1_795_000_000_000,
        producer_id,
        producer_epoch,
        base_sequence,
        transactional,
        ..BatchHead::default()
    };
    let mut out = Vec::new();
    let mut builder = BatchBuilder::new(&mut out, &head);
    for (at, value) in values.iter().enumerate() {
        builder.push(at as i32, 0, Some(b"key"), Some(value.as_bytes()), HeaderSource::NONE).unwrap();
    }
    builder.finish(values.len() as i32 - 1).unwrap();
    out.into()
}

/// `ConsumerProtocolSubscription`, version 1.
pub fn subscription(topics: &[&str]) -> Bytes {
    let mut out = vec![0, 1];
    out.put_u32(topics.len() as u32);
    for topic in topics {
        out.put_u16(topic.len() as u16);
        out.put_slice(topic.as_bytes());
    }
    out.put_i32(-1);
    out.put_u32(0);
    out.into()
}
