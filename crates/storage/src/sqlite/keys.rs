//! Wrapped keys in a SQLite file of their own.
//!
//! One connection does all the work and holds the file alone, so that after keys were destroyed nobody still reads the
//! write-ahead log and it can be overwritten. Deleting a row is not enough: `secure_delete` zeroes its cell, but pages
//! that were split or merged before keep stale copies in their unused part. So the file is rebuilt (`VACUUM`, with its
//! temporary copy in memory), the log is moved into it, zeroed, synced and cut to nothing. That takes time in
//! proportion to the store; destructions that come together share it.

use std::fs::{File, OpenOptions};
use std::io::{Seek, Write};
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, params};
use tradelane_keys::SecretBytes;
use tradelane_model::Timestamp;

use super::worker::Worker;
use super::{At, open};
use crate::error::{Result, StorageError};
use crate::key_store::{KeyRecord, KeyRef, KeyState, KeyStore, MAX_KEYS, NewKey, StoredKey, Tombstone};
use crate::recovery::Recovery;
use crate::sealing::{KeyCheck, KeySeal};
use crate::{key_store, sql};

const KIND: open::Kind = open::Kind {
    application_id: 0x544c_4b59, // "TLKY"
    page_size: 4096,
    secure_delete: true,
    exclusive: true,
    vacuum: false,
    autocheckpoint: 1000,
    synced: true,
    migrations: &["CREATE TABLE key (
             id INTEGER PRIMARY KEY, scope TEXT NOT NULL, tag BLOB NOT NULL, wrapped BLOB NOT NULL,
             created INTEGER NOT NULL, UNIQUE (scope, tag)) STRICT;
         CREATE TABLE tombstone (id INTEGER PRIMARY KEY, destroyed_at INTEGER NOT NULL) STRICT;"],
};

/// The key store on SQLite.
pub struct SqliteKeys {
    worker: Worker,
    keys: Arc<Keys>,
    recovery: Recovery,
    _lock: File,
}

struct Keys {
    place: String,
    seal: KeySeal,
}

impl SqliteKeys {
    /// Opens or creates the file. Blocks: call it before serving, or on a thread for blocking work. A destruction that
    /// a crash cut short is finished here.
    pub fn open(path: &Path, key: &SecretBytes<32>) -> Result<Self> {
        let opened = open::open(path, &KIND, &KeyCheck::new(key))?;
        let log = open::beside(path, "-wal");
        let place = opened.place.clone();
        let scrub = move |connection: &Connection| scrub(connection, &log, &place);
        let unfinished: bool = opened
            .connection
            .query_row("SELECT EXISTS (SELECT 1 FROM meta WHERE name = 'scrub')", [], |row| row.get(0))
            .at(&opened.place)?;
        if unfinished {
            scrub(&opened.connection)?;
        }
        let worker = Worker::start(opened.connection, opened.place.clone(), Box::new(scrub))?;
        let keys = Keys { place: opened.place, seal: KeySeal::new(key) };
        Ok(Self { worker, keys: Arc::new(keys), recovery: opened.recovery, _lock: opened.lock })
    }

    /// What opening it found and did.
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }
}

/// Leaves nothing of deleted rows, in the file or in the write-ahead log. Nobody else has the file open (`locking_mode=EXCLUSIVE`).
fn scrub(connection: &Connection, log: &Path, place: &str) -> Result<()> {
    connection.execute_batch("VACUUM").at(place)?;
    let (busy, frames, moved): (i64, i64, i64) = connection
        .query_row("PRAGMA wal_checkpoint(FULL)", [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .at(place)?;
    if busy != 0 || frames != moved {
        return Err(StorageError::Unavailable { cause: format!("{place}: the write-ahead log is in use") });
    }
    overwrite(log).map_err(|error| StorageError::Unavailable { cause: format!("{place}-wal: {error}") })?;
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).at(place)?;
    connection.execute_batch("DELETE FROM meta WHERE name = 'scrub'").at(place)
}

/// Zeroes the file in place. The header goes first and alone: without it SQLite takes nothing from the log, however
/// much of the rest a crash leaves.
fn overwrite(path: &Path) -> std::io::Result<()> {
    let mut file = match OpenOptions::new().write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let length = file.metadata()?.len();
    let zeros = [0u8; 1 << 16];
    file.write_all(&zeros[..length.min(32) as usize])?;
    file.sync_data()?;
    let mut done = file.stream_position()?;
    while done < length {
        let step = (length - done).min(zeros.len() as u64);
        file.write_all(&zeros[..step as usize])?;
        done += step;
    }
    file.sync_data()
}

impl Keys {
    fn by_tag(&self, connection: &Connection, scope: &str, tag: &[u8; 32]) -> Result<Option<KeyRecord>> {
        let mut select = connection.prepare_cached(sql::KEY_BY_TAG).at(&self.place)?;
        let row = select
            .query_row(params![scope, tag], |row| Ok((row.get(0)?, row.get::<_, Vec<u8>>(1)?, row.get(2)?)))
            .optional()
            .at(&self.place)?;
        row.map(|(id, wrapped, created)| self.record(scope, tag, id, &wrapped, created)).transpose()
    }

    fn record(&self, scope: &str, tag: &[u8; 32], id: i64, sealed: &[u8], created: i64) -> Result<KeyRecord> {
        let wrapped = Bytes::from(self.seal.open(scope, tag, id, created, sealed)?);
        Ok(KeyRecord { id: id as u64, wrapped, created: Timestamp(created) })
    }

    fn tombstone(&self, connection: &Connection, id: i64) -> Result<Option<Tombstone>> {
        let mut select = connection.prepare_cached(sql::KEY_IS_BURIED).at(&self.place)?;
        let buried: Option<i64> = select.query_row([id], |row| row.get(0)).optional().at(&self.place)?;
        Ok(buried.map(|at| Tombstone { id: id as u64, destroyed_at: Timestamp(at) }))
    }

    fn put(&self, connection: &Connection, key: &NewKey) -> Result<KeyRecord> {
        if let Some(first) = self.by_tag(connection, &key.scope, &key.tag)? {
            return Ok(first);
        }
        let (id, created) = (key_store::check_id(key.record.id)?, key.record.created.0);
        if self.tombstone(connection, id)?.is_some() {
            return Err(StorageError::KeyIdTaken);
        }
        let sealed = self.seal.seal(&key.scope, &key.tag, id, created, &key.record.wrapped);
        let mut insert = connection.prepare_cached(sql::KEY_PUT).at(&self.place)?;
        match insert.execute(params![id, key.scope, key.tag, sealed, created]) {
            Ok(_) => Ok(key.record.clone()),
            Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::ConstraintViolation) => {
                Err(StorageError::KeyIdTaken)
            }
            Err(error) => Err(error).at(&self.place),
        }
    }

    fn page(&self, connection: &Connection, after: u64, max: usize) -> Result<Vec<StoredKey>> {
        let mut select = connection.prepare_cached(sql::KEY_PAGE).at(&self.place)?;
        let mut rows = select.query(page_bounds(after, max)).at(&self.place)?;
        let mut keys = Vec::new();
        while let Some(row) = rows.next().at(&self.place)? {
            let id: i64 = row.get(0).at(&self.place)?;
            let scope: String = row.get(1).at(&self.place)?;
            let tag: [u8; 32] = row.get(2).at(&self.place)?;
            let wrapped: Vec<u8> = row.get(3).at(&self.place)?;
            let record = self.record(&scope, &tag, id, &wrapped, row.get(4).at(&self.place)?)?;
            keys.push(StoredKey { scope, tag, record });
        }
        Ok(keys)
    }

    fn get(&self, connection: &Connection, id: u64) -> Result<KeyState> {
        let id = key_store::check_id(id)?;
        let mut select = connection.prepare_cached(sql::KEY_GET).at(&self.place)?;
        let found: Option<(String, [u8; 32], Vec<u8>, i64)> = select
            .query_row([id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
            .optional()
            .at(&self.place)?;
        if let Some((scope, tag, wrapped, created)) = found {
            let record = self.record(&scope, &tag, id, &wrapped, created)?;
            return Ok(KeyState::Live(StoredKey { scope, tag, record }));
        }
        Ok(self.tombstone(connection, id)?.map_or(KeyState::Unknown, KeyState::Destroyed))
    }

    fn destroy(&self, connection: &Connection, key: &KeyRef, at: Timestamp) -> Result<Option<Tombstone>> {
        let gone = match key {
            KeyRef::Id(id) => {
                let id = key_store::check_id(*id)?;
                let mut delete = connection.prepare_cached(sql::KEY_DESTROY).at(&self.place)?;
                (delete.execute([id]).at(&self.place)? == 1).then_some(id)
            }
            KeyRef::Tag { scope, tag } => {
                let mut delete = connection.prepare_cached(sql::KEY_DESTROY_BY_TAG).at(&self.place)?;
                delete.query_row(params![scope, tag], |row| row.get(0)).optional().at(&self.place)?
            }
        };
        let Some(id) = gone else { return Ok(None) };
        connection.prepare_cached(sql::KEY_BURY).and_then(|mut bury| bury.execute([id, at.0])).at(&self.place)?;
        Ok(Some(Tombstone { id: id as u64, destroyed_at: at }))
    }
}

fn page_bounds(after: u64, max: usize) -> [i64; 2] {
    [i64::try_from(after).unwrap_or(i64::MAX), max.min(MAX_KEYS) as i64]
}

#[async_trait]
impl KeyStore for SqliteKeys {
    async fn put_if_absent(&self, new: Vec<NewKey>) -> Result<Vec<KeyRecord>> {
        key_store::check(&new)?;
        let keys = Arc::clone(&self.keys);
        self.worker.write(move |connection| new.iter().map(|key| keys.put(connection, key)).collect()).await
    }

    async fn get(&self, id: u64) -> Result<KeyState> {
        let keys = Arc::clone(&self.keys);
        self.worker.read(move |connection| keys.get(connection, id)).await
    }

    async fn get_by_tag(&self, scope: &str, tags: &[[u8; 32]]) -> Result<Vec<Option<KeyRecord>>> {
        if tags.len() > MAX_KEYS {
            return Err(StorageError::Limit { what: "the number of keys" });
        }
        let (keys, scope, tags) = (Arc::clone(&self.keys), scope.to_owned(), tags.to_vec());
        self.worker.read(move |connection| tags.iter().map(|tag| keys.by_tag(connection, &scope, tag)).collect()).await
    }

    async fn destroy(&self, doomed: Vec<KeyRef>, at: Timestamp) -> Result<Vec<Tombstone>> {
        if doomed.len() > MAX_KEYS {
            return Err(StorageError::Limit { what: "the number of keys" });
        }
        let keys = Arc::clone(&self.keys);
        self.worker
            .write_and_scrub(move |connection| {
                // Tells the next start to finish what a crash may leave undone.
                connection
                    .execute("INSERT OR REPLACE INTO meta (name, value) VALUES ('scrub', x'01')", [])
                    .at(&keys.place)?;
                doomed.iter().filter_map(|key| keys.destroy(connection, key, at).transpose()).collect()
            })
            .await
    }

    async fn load_all(&self, after: u64, max: usize) -> Result<Vec<StoredKey>> {
        let keys = Arc::clone(&self.keys);
        self.worker.read(move |connection| keys.page(connection, after, max)).await
    }

    async fn tombstones(&self, after: u64, max: usize) -> Result<Vec<Tombstone>> {
        let keys = Arc::clone(&self.keys);
        self.worker
            .read(move |connection| {
                let mut select = connection.prepare_cached(sql::TOMBSTONE_PAGE).at(&keys.place)?;
                let rows = select
                    .query_map(page_bounds(after, max), |row| {
                        Ok(Tombstone { id: row.get::<_, i64>(0)? as u64, destroyed_at: Timestamp(row.get(1)?) })
                    })
                    .at(&keys.place)?;
                rows.collect::<rusqlite::Result<_>>().at(&keys.place)
            })
            .await
    }
}
