//! Connections that only read, on the threads that tokio keeps for blocking work.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, OpenFlags};
use tokio::sync::Semaphore;

use super::{At, open};
use crate::error::{Result, StorageError};

/// A handful of read-only connections, opened as they are needed.
pub(crate) struct Readers {
    shared: Arc<Shared>,
    permits: Arc<Semaphore>,
}

struct Shared {
    path: PathBuf,
    place: String,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    pub(crate) fn new(path: &Path, place: &str, most: usize) -> Self {
        let shared = Shared { path: path.to_owned(), place: place.to_owned(), idle: Mutex::new(Vec::new()) };
        Self { shared: Arc::new(shared), permits: Arc::new(Semaphore::new(most)) }
    }

    /// Closes the connections, and lets no more be opened.
    pub(crate) fn close(&self) {
        self.permits.close();
        self.shared.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Runs `work` on a connection of its own, in one snapshot of the database.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let stopped = |_| StorageError::Stopped { cause: "the store is closed".to_owned() };
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(stopped)?;
        let shared = Arc::clone(&self.shared);
        let task = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            shared.run(work)
        });
        task.await.map_err(|error| StorageError::Engine { cause: error.to_string() })?
    }
}

impl Shared {
    fn run<T>(&self, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => open::connect(&self.path, &self.place, OpenFlags::SQLITE_OPEN_READ_ONLY)?,
        };
        connection.execute_batch("BEGIN").at(&self.place)?;
        let result = work(&connection);
        // A snapshot that stays open would keep the write-ahead log from starting over.
        if connection.execute_batch("COMMIT").is_ok() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
        result
    }
}
