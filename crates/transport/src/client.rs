//! TLS 1.3 towards a server of one's own: trusted are the authorities of one file, and nobody else.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::version::TLS13;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::tls::TlsError;

/// Makes TLS connections.
#[derive(Clone)]
pub struct TlsConnector(tokio_rustls::TlsConnector);

impl std::fmt::Debug for TlsConnector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TlsConnector(..)")
    }
}

/// A connection inside TLS, from the client's side.
pub type SecuredClient<S> = tokio_rustls::client::TlsStream<S>;

impl TlsConnector {
    /// Trusts the certificates of that PEM file.
    pub fn trusting(authorities: &Path) -> Result<Self, TlsError> {
        let pem = fs::read(authorities).map_err(|error| TlsError::File(authorities.to_owned(), error))?;
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|_| TlsError::NoCertificate(authorities.to_owned()))?;
            roots.add(certificate).map_err(TlsError::Pair)?;
        }
        if roots.is_empty() {
            return Err(TlsError::NoCertificate(authorities.to_owned()));
        }
        let config = rustls::ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&TLS13])
            .map_err(TlsError::Pair)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(tokio_rustls::TlsConnector::from(Arc::new(config))))
    }

    /// The client's side of the handshake with the server of that name.
    pub async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        host: &str,
        stream: S,
    ) -> io::Result<SecuredClient<S>> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        self.0.connect(name, stream).await
    }
}
