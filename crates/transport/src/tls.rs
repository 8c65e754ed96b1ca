//! Who the listener is: TLS 1.3 and nothing older, with certificates of one's own or of a development authority.
//!
//! A listener may ask clients for a certificate. Who that is, is not decided here: the handshake proves that the client
//! holds the key, and its digest is looked up by whoever knows the registered ones (as RFC 8705, 2.2, has it).

mod acceptor;

use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::version::TLS13;
use rustls::{DigitallySignedStruct, DistinguishedName, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use tradelane_keys::{CertificateError, DevelopmentCa};
use zeroize::Zeroizing;

pub use acceptor::TlsAcceptor;

/// The file that clients are told to trust, in a development authority's directory.
pub const CA_CERTIFICATE: &str = "development-ca.pem";
const CA_KEY: &str = "development-ca-key.pem";
const CA_NAMES: &str = "development-ca.names";

/// How a listener proves who it is.
#[derive(Debug, Clone)]
pub enum Transport {
    /// TLS 1.3 with a certificate of one's own: two PEM files, the chain leaf first.
    Certificate {
        /// The chain.
        chain: PathBuf,
        /// The private key (PKCS#8, SEC1 or PKCS#1).
        key: PathBuf,
    },
    /// TLS 1.3 with a certificate of a development authority, which is kept in `directory` and made when it is not there.
    Development {
        /// Where the authority's certificate and key are kept.
        directory: PathBuf,
        /// Names and addresses beyond `localhost` and loopback.
        names: Vec<String>,
    },
    /// No encryption; refused on any address but loopback.
    PlainLoopback,
}

/// What a listener wants of TLS.
#[derive(Debug, Clone, Default)]
pub struct TlsOptions {
    /// Protocols to negotiate (ALPN), best first.
    pub alpn: Vec<Vec<u8>>,
    /// Ask clients for a certificate; those without one are served as well.
    pub client_certificates: bool,
}

/// A listener cannot have its transport.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// Plain text is for loopback.
    #[error("{0} is not a loopback address; plain text is offered on loopback only, configure a certificate")]
    PlainBeyondLoopback(SocketAddr),
    /// The certificate or key cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// A connection inside TLS.
pub type Secured<S> = tokio_rustls::server::TlsStream<S>;

/// SHA-256 of the certificate that the client proved to hold, if it showed one.
pub fn client_certificate<S>(stream: &Secured<S>) -> Option<[u8; 32]> {
    let certificates = stream.get_ref().1.peer_certificates()?;
    certificates.first().map(|certificate| tradelane_keys::sha256(certificate))
}

/// The listener cannot prove who it is.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or written.
    #[error("{path}: {error}", path = .0.display(), error = .1)]
    File(PathBuf, io::Error),
    /// The chain's file holds no certificate.
    #[error("{path} holds no certificate in PEM; the chain starts with the server's own", path = .0.display())]
    NoCertificate(PathBuf),
    /// The key's file holds no private key.
    #[error("{path} holds no private key in PEM", path = .0.display())]
    NoKey(PathBuf),
    /// The pair cannot be used.
    #[error("the certificate and key cannot be used together: {0}")]
    Pair(rustls::Error),
    /// The development authority failed.
    #[error(transparent)]
    Authority(#[from] CertificateError),
}

/// A server's configuration from two PEM files.
fn from_files(chain: &Path, key: &Path, options: &TlsOptions) -> Result<rustls::ServerConfig, TlsError> {
    let chain_pem = fs::read(chain).map_err(|e| TlsError::File(chain.to_owned(), e))?;
    let key_pem = Zeroizing::new(fs::read(key).map_err(|e| TlsError::File(key.to_owned(), e))?);
    let config = configuration(&chain_pem, &key_pem, options);
    config.map_err(|problem| match problem {
        Unusable::Chain => TlsError::NoCertificate(chain.to_owned()),
        Unusable::Key => TlsError::NoKey(key.to_owned()),
        Unusable::Pair(error) => TlsError::Pair(error),
    })
}

/// A server's configuration from a development authority, which is made when `directory` holds none, or one for other
/// names. `now` is in seconds since the Unix epoch. The server's own key never touches the disk.
fn development(
    directory: &Path,
    names: &[String],
    options: &TlsOptions,
    now: i64,
) -> Result<rustls::ServerConfig, TlsError> {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let authority = authority(directory, &names, now)?;
    let identity = authority.issue_server(&names, now)?;
    let config = configuration(identity.chain_pem.as_bytes(), identity.key_pem.as_bytes(), options);
    config.map_err(|problem| match problem {
        Unusable::Pair(error) => TlsError::Pair(error),
        Unusable::Chain => TlsError::NoCertificate(directory.join(CA_CERTIFICATE)),
        Unusable::Key => TlsError::NoKey(directory.join(CA_KEY)),
    })
}

/// The authority in `directory`. It is constrained to its names, so that others need another one.
fn authority(directory: &Path, names: &[&str], now: i64) -> Result<DevelopmentCa, TlsError> {
    let at = |name: &str| directory.join(name);
    let wanted = names.join("\n");
    if fs::read_to_string(at(CA_NAMES)).is_ok_and(|kept| kept == wanted) {
        let read = |name: &str| fs::read_to_string(at(name)).map_err(|e| TlsError::File(at(name), e));
        let key = Zeroizing::new(read(CA_KEY)?);
        return Ok(DevelopmentCa::from_pem(&read(CA_CERTIFICATE)?, &key)?);
    }
    let authority = DevelopmentCa::generate(names, now)?;
    fs::create_dir_all(directory).map_err(|e| TlsError::File(directory.to_owned(), e))?;
    // The names come last: an authority that was cut off while it was written is made again.
    let _ = fs::remove_file(at(CA_NAMES));
    write(&at(CA_KEY), authority.key_pem().as_bytes(), 0o600)?;
    write(&at(CA_CERTIFICATE), authority.certificate_pem().as_bytes(), 0o644)?;
    write(&at(CA_NAMES), wanted.as_bytes(), 0o644)?;
    Ok(authority)
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), TlsError> {
    use std::os::unix::fs::OpenOptionsExt;
    let put = || {
        if let Err(error) = fs::remove_file(path)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    put().map_err(|e| TlsError::File(path.to_owned(), e))
}

enum Unusable {
    Chain,
    Key,
    Pair(rustls::Error),
}

fn configuration(chain_pem: &[u8], key_pem: &[u8], options: &TlsOptions) -> Result<rustls::ServerConfig, Unusable> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain_pem).collect();
    let chain = chain.ok().filter(|chain| !chain.is_empty()).ok_or(Unusable::Chain)?;
    let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(|_| Unusable::Key)?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13])
        .map_err(Unusable::Pair)?;
    let builder = match options.client_certificates {
        false => builder.with_no_client_auth(),
        true => builder.with_client_cert_verifier(Arc::new(HoldsItsKey(provider))),
    };
    let mut config = builder.with_single_cert(chain, key).map_err(Unusable::Pair)?;
    config.alpn_protocols.clone_from(&options.alpn);
    // No early data: it can be replayed, and a publish must not be.
    config.max_early_data_size = 0;
    Ok(config)
}

/// Any certificate will do, if the client proves that it holds the key.
#[derive(Debug)]
struct HoldsItsKey(Arc<CryptoProvider>);

impl ClientCertVerifier for HoldsItsKey {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: TlsOptions = TlsOptions { alpn: Vec::new(), client_certificates: false };

    const NOW: i64 = 1_795_000_000;

    #[test]
    fn a_development_authority_is_made_once_and_kept() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        development(directory.path(), &[], &NONE, NOW).unwrap();
        let first = fs::read(at(CA_CERTIFICATE)).unwrap();
        development(directory.path(), &[], &NONE, NOW).unwrap();
        assert_eq!(fs::read(at(CA_CERTIFICATE)).unwrap(), first);
        assert_eq!(fs::metadata(at(CA_KEY)).unwrap().permissions().mode() & 0o777, 0o600);
        development(directory.path(), &["hub.test".into()], &NONE, NOW).unwrap();
        assert_ne!(fs::read(at(CA_CERTIFICATE)).unwrap(), first, "other names need another authority");
    }

    #[test]
    fn files_that_hold_no_certificate_or_key_are_named() {
        let directory = tempfile::tempdir().unwrap();
        let (chain, key) = (directory.path().join("chain.pem"), directory.path().join("key.pem"));
        assert!(matches!(from_files(&chain, &key, &NONE), Err(TlsError::File(..))));
        fs::write(&chain, "nothing").unwrap();
        fs::write(&key, "nothing").unwrap();
        assert!(matches!(from_files(&chain, &key, &NONE), Err(TlsError::NoCertificate(_))));
        let identity = DevelopmentCa::generate(&[], NOW).unwrap().issue_server(&[], NOW).unwrap();
        fs::write(&chain, &identity.chain_pem).unwrap();
        assert!(matches!(from_files(&chain, &key, &NONE), Err(TlsError::NoKey(_))));
        fs::write(&key, identity.key_pem.as_bytes()).unwrap();
        assert!(from_files(&chain, &key, &NONE).is_ok());
    }
}
