//! Wrapped keys in a PostgreSQL database of their own.

use async_trait::async_trait;
use bytes::Bytes;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Statement, Transaction};
use tradelane_keys::SecretBytes;
use tradelane_model::Timestamp;

use super::pool::{Connection, Kind, Pool};
use crate::error::{Result, StorageError};
use crate::key_store::{KeyRecord, KeyRef, KeyState, KeyStore, MAX_KEYS, NewKey, StoredKey, Tombstone};
use crate::recovery::Recovery;
use crate::sealing::{KeyCheck, KeySeal};
use crate::{key_store, sql};

static KIND: Kind = Kind {
    schema: "tradelane_keys",
    migrations: &["CREATE TABLE key (
             id BIGINT PRIMARY KEY, scope TEXT COLLATE \"C\" NOT NULL, tag BYTEA NOT NULL, wrapped BYTEA NOT NULL,
             created BIGINT NOT NULL, UNIQUE (scope, tag));
         CREATE TABLE tombstone (id BIGINT PRIMARY KEY, destroyed_at BIGINT NOT NULL);"],
};

/// The key store on PostgreSQL.
pub struct PgKeys {
    pool: Pool,
    seal: KeySeal,
    recovery: Recovery,
}

impl PgKeys {
    /// Connects with a connection string of either form that libpq knows, and brings the schema up to date.
    pub async fn open(parameters: &str, key: &SecretBytes<32>) -> Result<Self> {
        let (pool, recovery) = Pool::open(parameters, &KIND, &KeyCheck::new(key)).await?;
        Ok(Self { pool, seal: KeySeal::new(key), recovery })
    }

    /// What opening it found and did.
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    fn record(&self, scope: &str, tag: &[u8; 32], id: i64, sealed: &[u8], created: i64) -> Result<KeyRecord> {
        let wrapped = Bytes::from(self.seal.open(scope, tag, id, created, sealed)?);
        Ok(KeyRecord { id: id as u64, wrapped, created: Timestamp(created) })
    }

    /// Puts one key, or finds the one that was first. A concurrent put of the same tag is waited for.
    async fn put(&self, transaction: &Transaction<'_>, statements: &Put, key: &NewKey) -> Result<KeyRecord> {
        let (id, created) = (key_store::check_id(key.record.id)?, key.record.created.0);
        let tag = &key.tag[..];
        if transaction.query_opt(&statements.buried, &[&id]).await?.is_some() {
            return match self.by_tag(transaction, statements, key).await? {
                Some(first) => Ok(first),
                None => Err(StorageError::KeyIdTaken),
            };
        }
        let sealed = self.seal.seal(&key.scope, &key.tag, id, created, &key.record.wrapped);
        match transaction.execute(&statements.put, &[&id, &key.scope, &tag, &sealed, &created]).await {
            Ok(1) => Ok(key.record.clone()),
            // Destroyed between the two statements: the caller's next try finds a free tag.
            Ok(_) => self.by_tag(transaction, statements, key).await?.ok_or_else(|| StorageError::Unavailable {
                cause: "a key was destroyed while it was looked up".to_owned(),
            }),
            Err(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => Err(StorageError::KeyIdTaken),
            Err(error) => Err(error.into()),
        }
    }

    async fn by_tag(&self, transaction: &Transaction<'_>, statements: &Put, key: &NewKey) -> Result<Option<KeyRecord>> {
        let row = transaction.query_opt(&statements.by_tag, &[&key.scope, &&key.tag[..]]).await?;
        row.map(|row| self.record(&key.scope, &key.tag, row.try_get(0)?, row.try_get(1)?, row.try_get(2)?)).transpose()
    }

    async fn tombstone(&self, connection: &mut Connection, id: i64) -> Result<Option<Tombstone>> {
        let statement = connection.prepared(sql::KEY_IS_BURIED).await?;
        let row = connection.client.query_opt(&statement, &[&id]).await?;
        row.map(|row| Ok(Tombstone { id: id as u64, destroyed_at: Timestamp(row.try_get(0)?) })).transpose()
    }
}

/// The statements of a put.
struct Put {
    buried: Statement,
    put: Statement,
    by_tag: Statement,
}

fn tag_of(bytes: &[u8], id: i64) -> Result<[u8; 32]> {
    bytes.try_into().map_err(|_| StorageError::Corrupt { place: format!("key, id {id}") })
}

fn page_bounds(after: u64, max: usize) -> (i64, i64) {
    (i64::try_from(after).unwrap_or(i64::MAX), max.min(MAX_KEYS) as i64)
}

#[async_trait]
impl KeyStore for PgKeys {
    async fn put_if_absent(&self, keys: Vec<NewKey>) -> Result<Vec<KeyRecord>> {
        key_store::check(&keys)?;
        let mut lent = self.pool.lend().await?;
        let connection = lent.connection()?;
        let statements = Put {
            buried: connection.prepared(sql::KEY_IS_BURIED).await?,
            put: connection.prepared(sql::KEY_PUT).await?,
            by_tag: connection.prepared(sql::KEY_BY_TAG).await?,
        };
        let transaction = connection.client.transaction().await?;
        // In one order everywhere: two batches with the same tags wait for each other instead of both for ever.
        let mut order: Vec<usize> = (0..keys.len()).collect();
        order.sort_by(|&a, &b| (&keys[a].scope, &keys[a].tag, a).cmp(&(&keys[b].scope, &keys[b].tag, b)));
        let mut records = vec![None; keys.len()];
        for at in order {
            records[at] = Some(self.put(&transaction, &statements, &keys[at]).await?);
        }
        transaction.commit().await?;
        lent.finished();
        Ok(records.into_iter().flatten().collect())
    }

    async fn get(&self, id: u64) -> Result<KeyState> {
        let id = key_store::check_id(id)?;
        let mut lent = self.pool.lend().await?;
        let connection = lent.connection()?;
        let statement = connection.prepared(sql::KEY_GET).await?;
        let state = match connection.client.query_opt(&statement, &[&id]).await? {
            Some(row) => {
                let (scope, tag): (String, [u8; 32]) = (row.try_get(0)?, tag_of(row.try_get(1)?, id)?);
                let record = self.record(&scope, &tag, id, row.try_get(2)?, row.try_get(3)?)?;
                KeyState::Live(StoredKey { scope, tag, record })
            }
            None => self.tombstone(connection, id).await?.map_or(KeyState::Unknown, KeyState::Destroyed),
        };
        lent.finished();
        Ok(state)
    }

    async fn get_by_tag(&self, scope: &str, tags: &[[u8; 32]]) -> Result<Vec<Option<KeyRecord>>> {
        if tags.len() > MAX_KEYS {
            return Err(StorageError::Limit { what: "the number of keys" });
        }
        let mut lent = self.pool.lend().await?;
        let connection = lent.connection()?;
        let statement = connection.prepared(sql::KEY_BY_TAG).await?;
        let mut found = Vec::with_capacity(tags.len());
        for tag in tags {
            let row = connection.client.query_opt(&statement, &[&scope, &&tag[..]]).await?;
            found.push(match row {
                Some(row) => Some(self.record(scope, tag, row.try_get(0)?, row.try_get(1)?, row.try_get(2)?)?),
                None => None,
            });
        }
        lent.finished();
        Ok(found)
    }

    async fn destroy(&self, keys: Vec<KeyRef>, at: Timestamp) -> Result<Vec<Tombstone>> {
        if keys.len() > MAX_KEYS {
            return Err(StorageError::Limit { what: "the number of keys" });
        }
        let mut lent = self.pool.lend().await?;
        let connection = lent.connection()?;
        let by_id = connection.prepared(sql::KEY_DESTROY).await?;
        let by_tag = connection.prepared(sql::KEY_DESTROY_BY_TAG).await?;
        let bury = connection.prepared(sql::KEY_BURY).await?;
        let transaction = connection.client.transaction().await?;
        let mut tombstones = Vec::new();
        for key in keys {
            let gone = match key {
                KeyRef::Id(id) => {
                    let id = key_store::check_id(id)?;
                    (transaction.execute(&by_id, &[&id]).await? == 1).then_some(id)
                }
                KeyRef::Tag { scope, tag } => {
                    let row = transaction.query_opt(&by_tag, &[&scope, &&tag[..]]).await?;
                    row.map(|row| row.try_get(0)).transpose()?
                }
            };
            if let Some(id) = gone {
                transaction.execute(&bury, &[&id, &at.0]).await?;
                tombstones.push(Tombstone { id: id as u64, destroyed_at: at });
            }
        }
        transaction.commit().await?;
        // A deleted row stays in its page until it is vacuumed away; rewriting the table leaves no page of it.
        connection.client.batch_execute("VACUUM FULL key").await?;
        lent.finished();
        Ok(tombstones)
    }

    async fn load_all(&self, after: u64, max: usize) -> Result<Vec<StoredKey>> {
        let mut lent = self.pool.lend().await?;
        let connection = lent.connection()?;
        let statement = connection.prepared(sql::KEY_PAGE).await?;
        let (after, most) = page_bounds(after, max);
        let rows = connection.client.query(&statement, &[&after, &most]).await?;
        lent.finished();
        let mut keys = Vec::with_capacity(rows.len());
        for row in rows {
            let id: i64 = row.try_get(0)?;
            let (scope, tag): (String, [u8; 32]) = (row.try_get(1)?, tag_of(row.try_get(2)?, id)?);
            let record = self.record(&scope, &tag, id, row.try_get(3)?, row.try_get(4)?)?;
            keys.push(StoredKey { scope, tag, record });
        }
        Ok(keys)
    }

    async fn tombstones(&self, after: u64, max: usize) -> Result<Vec<Tombstone>> {
        let mut lent = self.pool.lend().await?;
        let connection = lent.connection()?;
        let statement = connection.prepared(sql::TOMBSTONE_PAGE).await?;
        let (after, most) = page_bounds(after, max);
        let rows = connection.client.query(&statement, &[&after, &most]).await?;
        lent.finished();
        rows.iter()
            .map(|row| Ok(Tombstone { id: row.try_get::<_, i64>(0)? as u64, destroyed_at: Timestamp(row.try_get(1)?) }))
            .collect()
    }
}
