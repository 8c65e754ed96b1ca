//! Certificates that are renewed while the hub serves: looked at every minute, and read at once when the operator says so.

use std::time::Duration;

use tradelane_http::TlsAcceptor;

/// How often the files are looked at.
const EVERY: Duration = Duration::from_secs(60);

/// Those of all listeners.
#[derive(Debug, Clone)]
pub(crate) struct Certificates(pub(crate) Vec<TlsAcceptor>);

impl Certificates {
    /// Takes certificates whose files change, until `stop` is ready.
    pub(crate) async fn watch(self, stop: impl Future<Output = ()>) {
        let mut stop = std::pin::pin!(stop);
        // They were read just now.
        let mut every = tokio::time::interval_at(tokio::time::Instant::now() + EVERY, EVERY);
        loop {
            tokio::select! {
                () = &mut stop => return,
                _ = every.tick() => self.clone().read(true).await,
            }
        }
    }

    /// Reads them again, or only those whose files changed. The log says what came of it; one that cannot be used leaves
    /// the old one in its place.
    pub(crate) async fn read(self, only_changed: bool) {
        let read = move || {
            for acceptor in &self.0 {
                match if only_changed { acceptor.look() } else { Some(acceptor.reload()) } {
                    None => {}
                    Some(Ok(())) => {
                        tracing::info!(target: "tradelane", "new connections get the certificate as it is now");
                    }
                    Some(Err(error)) => {
                        tracing::error!(target: "tradelane", %error, "the new certificate cannot be used; the old one stays");
                    }
                }
            }
        };
        // A thread that died has changed nothing.
        let _ = tokio::task::spawn_blocking(read).await;
    }
}
