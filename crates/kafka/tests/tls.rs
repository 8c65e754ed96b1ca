//! TLS on the Kafka port, and clients that are known by their certificate.

mod support;

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use support::World;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tradelane_hub::NewCertificate;
use tradelane_kafka::{KafkaConfig, KafkaLimits, Server, Transport};
use tradelane_keys::{DevelopmentCa, ServerIdentity, sha256};

const NOW: i64 = 1_795_000_000;
/// Metadata of all topics, version 1, of a client without a name.
const METADATA: [u8; 18] = [0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, 9, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];

struct Port {
    world: World,
    address: std::net::SocketAddr,
    authority: CertificateDer<'static>,
    _directory: tempfile::TempDir,
}

/// A second listener for the same hub, with TLS.
async fn port() -> Port {
    let world = World::new().await;
    let directory = tempfile::Builder::new().prefix("tradelane-").tempdir().unwrap();
    let config = KafkaConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        transport: Transport::Development { directory: directory.path().to_owned(), names: Vec::new() },
        advertised_host: String::new(),
        advertised_port: 0,
        limits: KafkaLimits::default(),
    };
    let server = Server::bind(config, world.hub.clone()).await.unwrap();
    let address = server.local_addr().unwrap();
    tokio::spawn(server.run(Box::pin(std::future::pending())));
    let pem = std::fs::read(directory.path().join("development-ca.pem")).unwrap();
    let authority = CertificateDer::from_pem_slice(&pem).unwrap();
    Port { world, address, authority, _directory: directory }
}

/// A client's certificate and key, of an authority that the hub does not know.
fn identity() -> (ServerIdentity, CertificateDer<'static>) {
    let identity = DevelopmentCa::generate(&[], NOW).unwrap().issue_server(&[], NOW).unwrap();
    let certificate = CertificateDer::from_pem_slice(identity.chain_pem.as_bytes()).unwrap();
    (identity, certificate)
}

impl Port {
    async fn connect(&self, identity: Option<&ServerIdentity>) -> TlsStream<TcpStream> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.authority.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots);
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(identity.chain_pem.as_bytes()).collect();
                let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain.unwrap(), key).unwrap()
            }
        };
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
    }
}

/// How many bytes the answer has; none if the connection ends instead.
async fn asks(stream: &mut TlsStream<TcpStream>) -> Option<u32> {
    stream.write_all(&METADATA).await.ok()?;
    let length = tokio::time::timeout(Duration::from_secs(20), stream.read_u32()).await.unwrap().ok()?;
    let mut answer = vec![0; length as usize];
    stream.read_exact(&mut answer).await.ok()?;
    Some(length)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registered_certificate_is_its_principal_until_it_is_revoked() {
    let port = port().await;
    let (identity, certificate) = identity();
    assert_eq!(asks(&mut port.connect(Some(&identity)).await).await, None, "nobody's certificate says nothing");
    let new = NewCertificate {
        principal: "near.app".parse().unwrap(),
        digest: sha256(&certificate),
        lifetime_seconds: 3_600,
    };
    let hub = &port.world.hub;
    let id = hub.register_certificate(&port.world.operator, new.clone()).await.unwrap().value().clone();
    let mut known = port.connect(Some(&identity)).await;
    assert!(asks(&mut known).await.is_some());
    assert_eq!(asks(&mut port.connect(None).await).await, None, "without a certificate SASL comes first");
    assert!(hub.register_certificate(&port.world.operator, new.clone()).await.is_err(), "it is one principal's");
    hub.revoke_credential(&port.world.operator, &id).await.unwrap();
    assert_eq!(asks(&mut known).await, None);
    assert_eq!(asks(&mut port.connect(Some(&identity)).await).await, None);
    assert!(hub.register_certificate(&port.world.operator, new).await.is_err(), "it is never taken again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_registered_by_those_who_manage_its_principal() {
    let port = port().await;
    let (_, certificate) = identity();
    let new = NewCertificate {
        principal: "near.app".parse().unwrap(),
        digest: sha256(&certificate),
        lifetime_seconds: 3_600,
    };
    let refused = port.world.hub.register_certificate(&port.world.owner, new).await;
    assert!(refused.is_err(), "Acme's owner manages nobody at Near");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_tls_is_ended_on_a_port_with_tls() {
    let port = port().await;
    let mut stream = TcpStream::connect(port.address).await.unwrap();
    stream.write_all(&METADATA).await.unwrap();
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut rest)).await;
    assert!(ended.is_ok() && rest.is_empty());
}
