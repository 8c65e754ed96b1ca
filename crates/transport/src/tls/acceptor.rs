//! Takes TLS connections as whoever the listener is at the moment. A certificate of one's own can be renewed while
//! connections stay open: new ones get the new one, and files that cannot be used change nothing.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use tokio::io::{AsyncRead, AsyncWrite};

use super::{Secured, TlsError, TlsOptions, Transport, TransportError, development, from_files};

/// What of a file changes when it is replaced or rewritten: its place on the disk, its length and its time.
type Stamp = Option<(u64, u64, i64, i64)>;

impl Transport {
    /// What takes TLS connections on `listen`; none for plain text. `now` dates a development certificate, in seconds since
    /// the Unix epoch.
    pub fn acceptor(
        &self,
        listen: SocketAddr,
        options: &TlsOptions,
        now: i64,
    ) -> Result<Option<TlsAcceptor>, TransportError> {
        let seen = self.stamps();
        let tls = match self {
            Self::PlainLoopback if listen.ip().is_loopback() => return Ok(None),
            Self::PlainLoopback => return Err(TransportError::PlainBeyondLoopback(listen)),
            Self::Certificate { chain, key } => from_files(chain, key, options)?,
            Self::Development { directory, names } => development(directory, names, options, now)?,
        };
        let current = RwLock::new(tokio_rustls::TlsAcceptor::from(Arc::new(tls)));
        let inner = Inner { transport: self.clone(), options: options.clone(), current, seen: Mutex::new(seen) };
        Ok(Some(TlsAcceptor(Arc::new(inner))))
    }

    fn stamps(&self) -> [Stamp; 2] {
        match self {
            Self::Certificate { chain, key } => [stamp(chain), stamp(key)],
            _ => [None; 2],
        }
    }
}

fn stamp(path: &Path) -> Stamp {
    let file = fs::metadata(path).ok()?;
    Some((file.ino(), file.len(), file.mtime(), file.mtime_nsec()))
}

/// Takes TLS connections. Clones are of one listener: what one reloads, all have.
#[derive(Clone)]
pub struct TlsAcceptor(Arc<Inner>);

struct Inner {
    transport: Transport,
    options: TlsOptions,
    current: RwLock<tokio_rustls::TlsAcceptor>,
    /// Of the files, before they were read last.
    seen: Mutex<[Stamp; 2]>,
}

impl std::fmt::Debug for TlsAcceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("TlsAcceptor").field(&self.0.transport).finish()
    }
}

impl TlsAcceptor {
    /// The server's side of the handshake.
    pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) -> io::Result<Secured<S>> {
        let current = self.0.current.read().unwrap_or_else(PoisonError::into_inner).clone();
        current.accept(stream).await
    }

    /// Reads certificate and key again, whether or not they changed; blocks on the files. On an error the old ones stay.
    /// A development certificate stays as it is.
    pub fn reload(&self) -> Result<(), TlsError> {
        let Transport::Certificate { chain, key } = &self.0.transport else { return Ok(()) };
        // Looked at before they are read: what is changed in between is found changed the next time.
        *self.0.seen.lock().unwrap_or_else(PoisonError::into_inner) = self.0.transport.stamps();
        let config = from_files(chain, key, &self.0.options)?;
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        *self.0.current.write().unwrap_or_else(PoisonError::into_inner) = acceptor;
        Ok(())
    }

    /// As [`TlsAcceptor::reload`], if the files are not those that were read last; none if they are.
    pub fn look(&self) -> Option<Result<(), TlsError>> {
        let changed = *self.0.seen.lock().unwrap_or_else(PoisonError::into_inner) != self.0.transport.stamps();
        changed.then(|| self.reload())
    }
}

#[cfg(test)]
mod tests {
    use tradelane_keys::DevelopmentCa;

    use super::*;

    const NOW: i64 = 1_795_000_000;

    #[test]
    fn files_that_changed_are_read_and_bad_ones_change_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let (chain, key) = (directory.path().join("chain.pem"), directory.path().join("key.pem"));
        let authority = DevelopmentCa::generate(&[], NOW).unwrap();
        let put = |n: i64| {
            let identity = authority.issue_server(&[], NOW + n).unwrap();
            fs::write(&chain, &identity.chain_pem).unwrap();
            fs::write(&key, identity.key_pem.as_bytes()).unwrap();
        };
        put(0);
        let transport = Transport::Certificate { chain: chain.clone(), key: key.clone() };
        let listen = SocketAddr::from(([127, 0, 0, 1], 1));
        let acceptor = transport.acceptor(listen, &TlsOptions::default(), NOW).unwrap().unwrap();
        assert!(acceptor.look().is_none(), "nothing changed");
        fs::remove_file(&chain).unwrap();
        assert!(acceptor.look().unwrap().is_err() && acceptor.look().is_none(), "a file that is gone, told once");
        fs::write(&chain, "no certificate").unwrap();
        assert!(acceptor.look().unwrap().is_err() && acceptor.reload().is_err(), "a file that is none");
        put(1);
        assert!(acceptor.look().unwrap().is_ok(), "and when they are whole again, they are taken");
        assert!(acceptor.look().is_none());
    }
}
