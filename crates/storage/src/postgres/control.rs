//! Journal and keyed state in a PostgreSQL database.

use async_trait::async_trait;
use bytes::Bytes;
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;
use tradelane_keys::SecretBytes;
use tradelane_model::Timestamp;

use super::pool::{Connection, Kind, Pool};
use crate::error::{Result, StorageError};
use crate::journal::{Journal, Journaled, MAX_EVENTS};
use crate::keyed_state::{Entry, KeyedState, MAX_LIST, Put, Swap};
use crate::recovery::Recovery;
use crate::sealing::{JournalSeal, KeyCheck, StateSeal};
use crate::{journal, keyed_state, sql};

static KIND: Kind = Kind {
    schema: "tradelane_control",
    migrations: &["CREATE TABLE journal (seq BIGINT PRIMARY KEY, event BYTEA NOT NULL);
         CREATE TABLE keyed_state (
             space TEXT COLLATE \"C\" NOT NULL, key BYTEA NOT NULL, value BYTEA NOT NULL, version BIGINT NOT NULL,
             expires BIGINT NOT NULL, PRIMARY KEY (space, key));
         CREATE INDEX keyed_state_expires ON keyed_state (expires);"],
};

/// The control plane's store: a [`Journal`] and a [`KeyedState`] in one database.
pub struct PgControl {
    pool: Pool,
    journal: JournalSeal,
    state: StateSeal,
    recovery: Recovery,
}

impl PgControl {
    /// Connects with a connection string of either form that libpq knows, and brings the schema up to date.
    pub async fn open(parameters: &str, key: &SecretBytes<32>) -> Result<Self> {
        let (pool, recovery) = Pool::open(parameters, &KIND, &KeyCheck::new(key)).await?;
        Ok(Self { pool, journal: JournalSeal::new(key), state: StateSeal::new(key), recovery })
    }

    /// What opening it found and did.
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    async fn head_on(&self, connection: &mut Connection) -> Result<u64> {
        let statement = connection.prepared(sql::JOURNAL_HEAD).await?;
        let head: i64 = connection.client.query_one(&statement, &[]).await?.try_get(0)?;
        Ok(head.max(0) as u64)
    }

    /// Appends in one transaction; `None` if somebody else was first.
    async fn append_on(&self, connection: &mut Connection, expected: u64, events: &[Bytes]) -> Result<Option<u64>> {
        let insert = connection.prepared(sql::JOURNAL_APPEND).await?;
        let transaction = connection.client.transaction().await?;
        let mut seq = expected;
        for event in events {
            seq += 1;
            let sealed = self.journal.seal(seq, event);
            match transaction.execute(&insert, &[&(seq as i64), &sealed]).await {
                Ok(_) => {}
                // Two saw the same head: the number is taken.
                Err(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
        transaction.commit().await?;
        Ok(Some(seq))
    }

    fn entry(&self, space: &str, key: &[u8], row: &Row, first: usize) -> Result<Entry> {
        let (version, expires): (i64, i64) = (row.try_get(first + 1)?, row.try_get(first + 2)?);
        let value = self.state.open(space, key, version, expires, row.try_get(first)?)?;
        Ok(Entry { value: Bytes::from(value), version: version as u64, expires: Timestamp(expires) })
    }

    async fn get_on(&self, connection: &mut Connection, space: &str, key: &[u8], now: i64) -> Result<Option<Entry>> {
        let statement = connection.prepared(sql::STATE_GET).await?;
        let row = connection.client.query_opt(&statement, &[&space, &key, &now]).await?;
        row.map(|row| self.entry(space, key, &row, 0)).transpose()
    }
}

#[async_trait]
impl Journal for PgControl {
    async fn append(&self, expected_seq: u64, events: Vec<Bytes>) -> Result<Journaled> {
        journal::check(&events)?;
        let mut lent = self.pool.lend().await?;
        let connection = lent.connection()?;
        let mut actual = self.head_on(connection).await?;
        let mut done = None;
        if actual == expected_seq {
            done = self.append_on(connection, expected_seq, &events).await?;
            if done.is_none() {
                actual = self.head_on(connection).await?;
            }
        }
        lent.finished();
        Ok(done.map_or(Journaled::Conflict { actual }, Journaled::At))
    }

    async fn read(&self, from_seq: u64, max: usize) -> Result<Vec<(u64, Bytes)>> {
        let mut lent = self.pool.lend().await?;
        let connection = lent.connection()?;
        let statement = connection.prepared(sql::JOURNAL_READ).await?;
        let mut expected = from_seq.clamp(1, i64::MAX as u64);
        let rows = connection.client.query(&statement, &[&(expected as i64), &(max.min(MAX_EVENTS) as i64)]).await?;
        lent.finished();
        let mut events = Vec::with_capacity(rows.len());
        for row in rows {
            let seq = row.try_get::<_, i64>(0)? as u64;
            if seq != expected {
                return Err(StorageError::Corrupt { place: format!("journal, event {expected} is missing") });
            }
            events.push((seq, Bytes::from(self.journal.open(seq, row.try_get(1)?)?)));
            expected += 1;
        }
        Ok(events)
    }

    async fn head(&self) -> Result<u64> {
        let mut lent = self.pool.lend().await?;
        let head = self.head_on(lent.connection()?).await?;
        lent.finished();
        Ok(head)
    }
}

#[async_trait]
impl KeyedState for PgControl {
    async fn put_if_absent(
        &self,
        space: &str,
        key: &[u8],
        value: Bytes,
        expires: Timestamp,
        now: Timestamp,
    ) -> Result<Put> {
        keyed_state::check_place(space, key)?;
        keyed_state::check_value(&value)?;
        let version = keyed_state::new_version();
        let sealed = self.state.seal(space, key, version, expires.0, &value);
        let mut lent = self.pool.lend().await?;
        let connection = lent.connection()?;
        let statement = connection.prepared(sql::STATE_PUT_IF_ABSENT).await?;
        // An entry that was in the way may be gone when it is looked at: then it is absent after all.
        let outcome = loop {
            let stored =
                connection.client.execute(&statement, &[&space, &key, &sealed, &version, &expires.0, &now.0]).await?;
            if stored == 1 {
                break Put::Stored(version as u64);
            }
            if let Some(entry) = self.get_on(connection, space, key, now.0).await? {
                break Put::Exists(entry);
            }
        };
        lent.finished();
        Ok(outcome)
    }

    async fn get(&self, space: &str, key: &[u8], now: Timestamp) -> Result<Option<Entry>> {
        keyed_state::check_place(space, key)?;
        let mut lent = self.pool.lend().await?;
        let entry = self.get_on(lent.connection()?, space, key, now.0).await?;
        lent.finished();
        Ok(entry)
    }

    async fn compare_and_swap(
        &self,
        space: &str,
        key: &[u8],
        expected: Option<u64>,
        value: Bytes,
        expires: Timestamp,
        now: Timestamp,
    ) -> Result<Swap> {
        let Some(expected) = expected else {
            return Ok(match KeyedState::put_if_absent(self, space, key, value, expires, now).await? {
                Put::Stored(version) => Swap::Done(version),
                Put::Exists(entry) => Swap::Lost(Some(entry)),
            });
        };
        keyed_state::check_place(space, key)?;
        keyed_state::check_value(&value)?;
        let version = keyed_state::new_version();
        let sealed = self.state.seal(space, key, version, expires.0, &value);
        let mut lent = self.pool.lend().await?;
        let connection = lent.connection()?;
        let statement = connection.prepared(sql::STATE_SWAP).await?;
        let expected = expected as i64;
        let swapped = connection
            .client
            .execute(&statement, &[&sealed, &version, &expires.0, &space, &key, &expected, &now.0])
            .await?;
        let outcome = if swapped == 1 {
            Swap::Done(version as u64)
        } else {
            Swap::Lost(self.get_on(connection, space, key, now.0).await?)
        };
        lent.finished();
        Ok(outcome)
    }

    async fn put(&self, space: &str, key: &[u8], value: Bytes, expires: Timestamp) -> Result<u64> {
        keyed_state::check_place(space, key)?;
        keyed_state::check_value(&value)?;
        let version = keyed_state::new_version();
        let sealed = self.state.seal(space, key, version, expires.0, &value);
        let mut lent = self.pool.lend().await?;
        let connection = lent.connection()?;
        let statement = connection.prepared(sql::STATE_PUT).await?;
        connection.client.execute(&statement, &[&space, &key, &sealed, &version, &expires.0]).await?;
        lent.finished();
        Ok(version as u64)
    }

    async fn delete(&self, space: &str, key: &[u8], now: Timestamp) -> Result<bool> {
        keyed_state::check_place(space, key)?;
        let mut lent = self.pool.lend().await?;
        let connection = lent.connection()?;
        let statement = connection.prepared(sql::STATE_DELETE).await?;
        let gone = connection.client.query_opt(&statement, &[&space, &key]).await?;
        lent.finished();
        match gone {
            Some(row) => Ok(row.try_get::<_, i64>(0)? > now.0),
            None => Ok(false),
        }
    }

    async fn list(&self, space: &str, after: &[u8], max: usize, now: Timestamp) -> Result<Vec<(Bytes, Entry)>> {
        keyed_state::check_place(space, after)?;
        let mut lent = self.pool.lend().await?;
        let connection = lent.connection()?;
        let statement = connection.prepared(sql::STATE_LIST).await?;
        let most = max.min(MAX_LIST) as i64;
        let rows = connection.client.query(&statement, &[&space, &after, &now.0, &most]).await?;
        lent.finished();
        let mut entries = Vec::with_capacity(rows.len());
        for row in rows {
            let key: &[u8] = row.try_get(0)?;
            entries.push((Bytes::copy_from_slice(key), self.entry(space, key, &row, 1)?));
        }
        Ok(entries)
    }

    async fn sweep(&self, now: Timestamp) -> Result<u64> {
        let mut lent = self.pool.lend().await?;
        let connection = lent.connection()?;
        let statement = connection.prepared(sql::STATE_SWEEP).await?;
        let removed = connection.client.execute(&statement, &[&now.0]).await?;
        lent.finished();
        Ok(removed)
    }
}
