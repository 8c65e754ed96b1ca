//! A handful of connections that are made anew when they break, and the schema they expect.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio_postgres::{Client, Config, NoTls, Statement};

use crate::error::{Result, StorageError};
use crate::recovery::{Integrity, Recovery};
use crate::sealing::KeyCheck;

/// Connections at most.
const CONNECTIONS: usize = 8;
/// How long making a connection may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Serializes migrations of nodes that start together; any number that nobody else uses.
const MIGRATION_LOCK: i64 = 0x5452_4144_454c_414e;

/// One kind of database schema.
pub(super) struct Kind {
    /// The PostgreSQL schema that the tables are in.
    pub(super) schema: &'static str,
    /// The statements that lead from each version to the next.
    pub(super) migrations: &'static [&'static str],
}

/// A connection with the statements prepared on it.
pub(super) struct Connection {
    pub(super) client: Client,
    statements: HashMap<&'static str, Statement>,
}

impl Connection {
    /// The statement, prepared once per connection.
    pub(super) async fn prepared(&mut self, text: &'static str) -> Result<Statement> {
        if let Some(statement) = self.statements.get(text) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(text).await?;
        self.statements.insert(text, statement.clone());
        Ok(statement)
    }
}

/// The connections.
pub(super) struct Pool {
    config: Config,
    kind: &'static Kind,
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
}

/// A connection lent out; given back when dropped, unless it is broken or in the middle of something.
pub(super) struct Lent<'a> {
    pool: &'a Pool,
    connection: Option<Connection>,
    sound: bool,
    _permit: tokio::sync::OwnedSemaphorePermit,
}

impl Lent<'_> {
    pub(super) fn connection(&mut self) -> Result<&mut Connection> {
        self.connection.as_mut().ok_or_else(|| StorageError::Engine { cause: "a connection was lost".to_owned() })
    }

    /// What was done on the connection is over: others may have it. A future that is dropped half-way never gets
    /// here, and its connection is closed, which rolls back.
    pub(super) fn finished(mut self) {
        self.sound = true;
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take()
            && self.sound
            && !connection.client.is_closed()
        {
            self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
    }
}

impl Pool {
    /// Connects, and brings the schema up to date.
    #[expect(clippy::disallowed_methods, reason = "measures how long opening took")]
    pub(super) async fn open(parameters: &str, kind: &'static Kind, key: &KeyCheck) -> Result<(Self, Recovery)> {
        let began = Instant::now();
        let config: Config = parameters
            .parse()
            .map_err(|_| StorageError::Unavailable { cause: "the connection string is not valid".to_owned() })?;
        let store = format!("PostgreSQL {}, schema {}", config.get_dbname().unwrap_or("(default)"), kind.schema);
        let pool = Self { config, kind, idle: Mutex::new(Vec::new()), permits: Arc::new(Semaphore::new(CONNECTIONS)) };
        let mut lent = pool.lend().await?;
        let found = migrate(&mut lent.connection()?.client, kind, key, &store).await?;
        lent.finished();
        let recovery = Recovery {
            store,
            created: found == 0,
            unclean: false,
            wal_commits: 0,
            wal_frames: 0,
            replayed: 0,
            torn_bytes: 0,
            migrated_from: (found > 0 && found < kind.migrations.len() as u32).then_some(found),
            integrity: Integrity::Server,
            took: began.elapsed(),
        };
        tracing::info!(store = %recovery.store, "{recovery}");
        Ok((pool, recovery))
    }

    /// A connection that works as far as one can know: one that is idle, or a new one.
    pub(super) async fn lend(&self) -> Result<Lent<'_>> {
        let closed = |_| StorageError::Stopped { cause: "the store is closed".to_owned() };
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(closed)?;
        let idle = loop {
            let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            match idle {
                Some(connection) if connection.client.is_closed() => {}
                other => break other,
            }
        };
        let connection = match idle {
            Some(connection) => connection,
            None => tokio::time::timeout(PATIENCE, self.connect()).await.map_err(|_| StorageError::Unavailable {
                cause: format!("PostgreSQL did not answer within {} s", PATIENCE.as_secs()),
            })??,
        };
        Ok(Lent { pool: self, connection: Some(connection), sound: false, _permit: permit })
    }

    async fn connect(&self) -> Result<Connection> {
        let (client, connection) = self.config.connect(NoTls).await?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::warn!("a connection to PostgreSQL ended: {}", super::explain(&error));
            }
        });
        // A commit is acknowledged when it is on disk, whatever the server's default; nothing waits for ever.
        client
            .batch_execute(&format!(
                "SET synchronous_commit = on; SET statement_timeout = '30s'; SET lock_timeout = '10s';
                 SET idle_in_transaction_session_timeout = '60s'; SET search_path = {}",
                self.kind.schema
            ))
            .await?;
        Ok(Connection { client, statements: HashMap::new() })
    }
}

/// Brings the schema up to date in one transaction; answers the version it had.
async fn migrate(client: &mut Client, kind: &Kind, key: &KeyCheck, store: &str) -> Result<u32> {
    let transaction = client.transaction().await?;
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&MIGRATION_LOCK]).await?;
    transaction
        .batch_execute(&format!(
            "CREATE SCHEMA IF NOT EXISTS {};
             CREATE TABLE IF NOT EXISTS schema_version (version INTEGER PRIMARY KEY);
             CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value BYTEA NOT NULL)",
            kind.schema
        ))
        .await?;
    let row = transaction.query_one("SELECT coalesce(max(version), 0) FROM schema_version", &[]).await?;
    let found = row.try_get::<_, i32>(0)?.max(0) as u32;
    let supported = kind.migrations.len() as u32;
    if found > supported {
        return Err(StorageError::NewerSchema { store: store.to_owned(), found, supported });
    }
    match transaction.query_opt("SELECT value FROM meta WHERE name = 'key_check'", &[]).await? {
        Some(row) => key.verify(row.try_get(0)?, store)?,
        None => {
            let sealed = key.seal();
            transaction.execute("INSERT INTO meta (name, value) VALUES ('key_check', $1)", &[&sealed]).await?;
        }
    }
    for (index, statements) in kind.migrations.iter().enumerate().skip(found as usize) {
        transaction.batch_execute(statements).await?;
        let version = index as i32 + 1;
        transaction.execute("INSERT INTO schema_version (version) VALUES ($1)", &[&version]).await?;
    }
    transaction.commit().await?;
    Ok(found)
}
