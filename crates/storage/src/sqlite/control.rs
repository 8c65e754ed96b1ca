//! Journal and keyed state in one SQLite file.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row, params};
use tradelane_keys::SecretBytes;
use tradelane_model::Timestamp;

use super::readers::Readers;
use super::worker::Worker;
use super::{At, open};
use crate::error::{Result, StorageError};
use crate::journal::{Journal, Journaled, MAX_EVENTS};
use crate::keyed_state::{Entry, KeyedState, MAX_LIST, Put, Swap};
use crate::recovery::Recovery;
use crate::sealing::{JournalSeal, KeyCheck, StateSeal};
use crate::{journal, keyed_state, sql};

const KIND: open::Kind = open::Kind {
    application_id: 0x544c_4354, // "TLCT"
    page_size: 4096,
    secure_delete: false,
    exclusive: false,
    vacuum: false,
    autocheckpoint: 1000,
    synced: true,
    migrations: &["CREATE TABLE journal (seq INTEGER PRIMARY KEY, event BLOB NOT NULL) STRICT;
         CREATE TABLE keyed_state (
             space TEXT NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL, version INTEGER NOT NULL,
             expires INTEGER NOT NULL, PRIMARY KEY (space, key)) STRICT, WITHOUT ROWID;
         CREATE INDEX keyed_state_expires ON keyed_state (expires);"],
};

/// How many connections read at once.
const READERS: usize = 4;

/// The control plane's store: a [`Journal`] and a [`KeyedState`] in one file.
pub struct SqliteControl {
    readers: Readers,
    worker: Worker,
    seals: Arc<Seals>,
    recovery: Recovery,
    _lock: File,
}

struct Seals {
    place: String,
    journal: JournalSeal,
    state: StateSeal,
}

impl SqliteControl {
    /// Opens or creates the file. Blocks: call it before serving, or on a thread for blocking work.
    pub fn open(path: &Path, key: &SecretBytes<32>) -> Result<Self> {
        let opened = open::open(path, &KIND, &KeyCheck::new(key))?;
        let readers = Readers::new(path, &opened.place, READERS);
        let worker = Worker::start(opened.connection, opened.place.clone(), Box::new(|_| Ok(())))?;
        let seals = Seals { place: opened.place, journal: JournalSeal::new(key), state: StateSeal::new(key) };
        Ok(Self { readers, worker, seals: Arc::new(seals), recovery: opened.recovery, _lock: opened.lock })
    }

    /// What opening it found and did.
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }
}

impl Drop for SqliteControl {
    fn drop(&mut self) {
        // The last to close a file tidies its write-ahead log away; that must be the one that writes.
        self.readers.close();
    }
}

#[async_trait]
impl Journal for SqliteControl {
    async fn append(&self, expected_seq: u64, events: Vec<Bytes>) -> Result<Journaled> {
        journal::check(&events)?;
        let seals = Arc::clone(&self.seals);
        self.worker.write(move |connection| seals.journal_append(connection, expected_seq, &events)).await
    }

    async fn read(&self, from_seq: u64, max: usize) -> Result<Vec<(u64, Bytes)>> {
        let seals = Arc::clone(&self.seals);
        self.readers.read(move |connection| seals.journal_read(connection, from_seq, max.min(MAX_EVENTS))).await
    }

    async fn head(&self) -> Result<u64> {
        let seals = Arc::clone(&self.seals);
        self.readers.read(move |connection| seals.journal_head(connection)).await
    }
}

impl Seals {
    fn journal_head(&self, connection: &Connection) -> Result<u64> {
        let mut statement = connection.prepare_cached(sql::JOURNAL_HEAD).at(&self.place)?;
        let head: i64 = statement.query_row([], |row| row.get(0)).at(&self.place)?;
        Ok(head as u64)
    }

    fn journal_append(&self, connection: &Connection, expected: u64, events: &[Bytes]) -> Result<Journaled> {
        let actual = self.journal_head(connection)?;
        if actual != expected {
            return Ok(Journaled::Conflict { actual });
        }
        let mut insert = connection.prepare_cached(sql::JOURNAL_APPEND).at(&self.place)?;
        let mut seq = expected;
        for event in events {
            seq += 1;
            insert.execute(params![seq as i64, self.journal.seal(seq, event)]).at(&self.place)?;
        }
        Ok(Journaled::At(seq))
    }

    fn journal_read(&self, connection: &Connection, from: u64, max: usize) -> Result<Vec<(u64, Bytes)>> {
        let mut expected = from.clamp(1, i64::MAX as u64);
        let mut select = connection.prepare_cached(sql::JOURNAL_READ).at(&self.place)?;
        let mut rows = select.query(params![expected as i64, max as i64]).at(&self.place)?;
        let mut events = Vec::new();
        while let Some(row) = rows.next().at(&self.place)? {
            let seq = row.get::<_, i64>(0).at(&self.place)? as u64;
            let sealed = blob(row, 1).at(&self.place)?;
            if seq != expected {
                return Err(StorageError::Corrupt { place: format!("journal, event {expected} is missing") });
            }
            events.push((seq, Bytes::from(self.journal.open(seq, sealed)?)));
            expected += 1;
        }
        Ok(events)
    }

    fn entry(&self, space: &str, key: &[u8], row: &Row<'_>, first: usize) -> Result<Entry> {
        let version: i64 = row.get(first + 1).at(&self.place)?;
        let expires: i64 = row.get(first + 2).at(&self.place)?;
        let value = self.state.open(space, key, version, expires, blob(row, first).at(&self.place)?)?;
        Ok(Entry { value: Bytes::from(value), version: version as u64, expires: Timestamp(expires) })
    }

    fn state_get(&self, connection: &Connection, space: &str, key: &[u8], now: Timestamp) -> Result<Option<Entry>> {
        let mut select = connection.prepare_cached(sql::STATE_GET).at(&self.place)?;
        let mut rows = select.query(params![space, key, now.0]).at(&self.place)?;
        let row = rows.next().at(&self.place)?;
        row.map(|row| self.entry(space, key, row, 0)).transpose()
    }

    fn state_insert(
        &self,
        connection: &Connection,
        at: &Slot,
        value: &[u8],
        expires: Timestamp,
        unless_after: Option<Timestamp>,
    ) -> Result<Option<u64>> {
        let version = keyed_state::new_version();
        let sealed = self.state.seal(&at.space, &at.key, version, expires.0, value);
        let text = if unless_after.is_some() { sql::STATE_PUT_IF_ABSENT } else { sql::STATE_PUT };
        let mut insert = connection.prepare_cached(text).at(&self.place)?;
        let stored = match unless_after {
            Some(now) => insert.execute(params![at.space, at.key, sealed, version, expires.0, now.0]),
            None => insert.execute(params![at.space, at.key, sealed, version, expires.0]),
        };
        Ok((stored.at(&self.place)? == 1).then_some(version as u64))
    }

    fn state_put_if_absent(
        &self,
        connection: &Connection,
        at: &Slot,
        value: &[u8],
        expires: Timestamp,
        now: Timestamp,
    ) -> Result<Put> {
        if let Some(entry) = self.state_get(connection, &at.space, &at.key, now)? {
            return Ok(Put::Exists(entry));
        }
        match self.state_insert(connection, at, value, expires, Some(now))? {
            Some(version) => Ok(Put::Stored(version)),
            None => Err(StorageError::Engine { cause: format!("{}: an entry came from nowhere", self.place) }),
        }
    }

    fn state_swap(
        &self,
        connection: &Connection,
        at: &Slot,
        expected: u64,
        value: &[u8],
        expires: Timestamp,
        now: Timestamp,
    ) -> Result<Swap> {
        let version = keyed_state::new_version();
        let sealed = self.state.seal(&at.space, &at.key, version, expires.0, value);
        let mut update = connection.prepare_cached(sql::STATE_SWAP).at(&self.place)?;
        let swapped = update
            .execute(params![sealed, version, expires.0, at.space, at.key, expected as i64, now.0])
            .at(&self.place)?;
        if swapped == 1 {
            return Ok(Swap::Done(version as u64));
        }
        self.state_get(connection, &at.space, &at.key, now).map(Swap::Lost)
    }
}

/// A value's place, owned by the work that is sent to the writing thread.
struct Slot {
    space: String,
    key: Vec<u8>,
}

impl Slot {
    fn new(space: &str, key: &[u8]) -> Result<Self> {
        keyed_state::check_place(space, key)?;
        Ok(Self { space: space.to_owned(), key: key.to_owned() })
    }
}

fn blob<'a>(row: &'a Row<'_>, column: usize) -> rusqlite::Result<&'a [u8]> {
    Ok(row.get_ref(column)?.as_blob()?)
}

#[async_trait]
impl KeyedState for SqliteControl {
    async fn put_if_absent(
        &self,
        space: &str,
        key: &[u8],
        value: Bytes,
        expires: Timestamp,
        now: Timestamp,
    ) -> Result<Put> {
        keyed_state::check_value(&value)?;
        let (seals, at) = (Arc::clone(&self.seals), Slot::new(space, key)?);
        self.worker.write(move |connection| seals.state_put_if_absent(connection, &at, &value, expires, now)).await
    }

    async fn get(&self, space: &str, key: &[u8], now: Timestamp) -> Result<Option<Entry>> {
        let (seals, at) = (Arc::clone(&self.seals), Slot::new(space, key)?);
        self.readers.read(move |connection| seals.state_get(connection, &at.space, &at.key, now)).await
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
        keyed_state::check_value(&value)?;
        let (seals, at) = (Arc::clone(&self.seals), Slot::new(space, key)?);
        self.worker.write(move |connection| seals.state_swap(connection, &at, expected, &value, expires, now)).await
    }

    async fn put(&self, space: &str, key: &[u8], value: Bytes, expires: Timestamp) -> Result<u64> {
        keyed_state::check_value(&value)?;
        let (seals, at) = (Arc::clone(&self.seals), Slot::new(space, key)?);
        let version =
            self.worker.write(move |connection| seals.state_insert(connection, &at, &value, expires, None)).await?;
        version.ok_or_else(|| StorageError::Engine { cause: "a put stored nothing".to_owned() })
    }

    async fn delete(&self, space: &str, key: &[u8], now: Timestamp) -> Result<bool> {
        let (seals, at) = (Arc::clone(&self.seals), Slot::new(space, key)?);
        self.worker
            .write(move |connection| {
                let mut delete = connection.prepare_cached(sql::STATE_DELETE).at(&seals.place)?;
                let gone = delete.query_row(params![at.space, at.key], |row| row.get::<_, i64>(0)).optional();
                Ok(gone.at(&seals.place)?.is_some_and(|expires| expires > now.0))
            })
            .await
    }

    async fn list(&self, space: &str, after: &[u8], max: usize, now: Timestamp) -> Result<Vec<(Bytes, Entry)>> {
        let (seals, at) = (Arc::clone(&self.seals), Slot::new(space, after)?);
        self.readers
            .read(move |connection| {
                let mut select = connection.prepare_cached(sql::STATE_LIST).at(&seals.place)?;
                let mut rows =
                    select.query(params![at.space, at.key, now.0, max.min(MAX_LIST) as i64]).at(&seals.place)?;
                let mut entries = Vec::new();
                while let Some(row) = rows.next().at(&seals.place)? {
                    let key = Bytes::copy_from_slice(blob(row, 0).at(&seals.place)?);
                    let entry = seals.entry(&at.space, &key, row, 1)?;
                    entries.push((key, entry));
                }
                Ok(entries)
            })
            .await
    }

    async fn sweep(&self, now: Timestamp) -> Result<u64> {
        let seals = Arc::clone(&self.seals);
        self.worker
            .write(move |connection| Ok(connection.execute(sql::STATE_SWEEP, [now.0]).at(&seals.place)? as u64))
            .await
    }
}
