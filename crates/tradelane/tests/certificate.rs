//! A hub whose certificate is renewed while it serves: SIGHUP makes it read the files again.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use tradelane_keys::DevelopmentCa;

/// A hub's process, which ends with the test.
struct Hub(Child);

impl Drop for Hub {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

type Connection = StreamOwned<ClientConnection, TcpStream>;

#[expect(clippy::disallowed_methods, reason = "a certificate must be valid now")]
fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

/// Puts a new certificate and key in place; the certificate.
fn issue(authority: &DevelopmentCa, folder: &Path) -> CertificateDer<'static> {
    let identity = authority.issue_server(&[], now()).unwrap();
    std::fs::write(folder.join("chain.pem"), &identity.chain_pem).unwrap();
    std::fs::write(folder.join("key.pem"), identity.key_pem.as_bytes()).unwrap();
    CertificateDer::from_pem_slice(identity.chain_pem.as_bytes()).unwrap()
}

fn connect(authority: &DevelopmentCa, address: SocketAddr) -> Connection {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.certificate_pem().as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut connection = StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), stream);
    well(&mut connection);
    connection
}

/// One request on an open connection.
fn well(connection: &mut Connection) {
    connection.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        connection.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 200"), "{head}");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
    connection.read_exact(&mut vec![0; length]).unwrap();
}

fn shown(connection: &Connection) -> CertificateDer<'static> {
    connection.conn.peer_certificates().unwrap()[0].clone().into_owned()
}

#[test]
fn a_renewed_certificate_is_taken_at_sighup_without_dropping_a_connection_and_a_bad_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let authority = DevelopmentCa::generate(&[], now()).unwrap();
    let first = issue(&authority, folder.path());
    let config = "[listen]\naddress = \"127.0.0.1:0\"\n[tls]\nmode = \"certificate\"\ncertificate = \"chain.pem\"\nkey = \"key.pem\"\n";
    std::fs::write(folder.path().join("tradelane.toml"), config).unwrap();
    let mut hub = Hub(Command::new(env!("CARGO_BIN_EXE_tradelane"))
        .args(["--json", "serve", "-c"])
        .arg(folder.path().join("tradelane.toml"))
        .env_clear()
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap());
    let mut log = BufReader::new(hub.0.stderr.take().unwrap()).lines();
    let mut line = String::new();
    BufReader::new(hub.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let said: Value = serde_json::from_str(&line).unwrap();
    let port: u16 = said["url"].as_str().unwrap().rsplit(':').next().unwrap().parse().unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let process = hub.0.id().to_string();
    let mut hang_up = |expected: &str| {
        assert!(Command::new("kill").args(["-HUP", &process]).status().unwrap().success());
        let told =
            log.by_ref().map_while(Result::ok).find(|line| line.contains("certificate") && !line.contains("SIGHUP"));
        let told = told.expect("it says what came of it");
        assert!(told.contains(expected), "{told}");
    };

    let mut open = connect(&authority, address);
    assert_eq!(shown(&open), first);
    let second = issue(&authority, folder.path());
    assert_ne!(first, second);
    hang_up("as it is now");
    assert_eq!(shown(&connect(&authority, address)), second);
    well(&mut open);

    std::fs::write(folder.path().join("key.pem"), "no key").unwrap();
    hang_up("the old one stays");
    assert_eq!(shown(&connect(&authority, address)), second);
    let strangers = DevelopmentCa::generate(&[], now()).unwrap().issue_server(&[], now()).unwrap();
    std::fs::write(folder.path().join("key.pem"), strangers.key_pem.as_bytes()).unwrap();
    hang_up("the old one stays");
    assert_eq!(shown(&connect(&authority, address)), second, "a key of another certificate is none");

    let third = issue(&authority, folder.path());
    hang_up("as it is now");
    assert_eq!(shown(&connect(&authority, address)), third);
    well(&mut open);
}
