//! The SQLite stores: the conformance suite, and what is theirs alone.

use bytes::Bytes;
use tradelane_keys::SecretBytes;
use tradelane_model::Timestamp;
use tradelane_storage::sqlite::{LogOptions, SqliteControl, SqliteKeys, SqliteLog};
use tradelane_storage::{
    Append, EventLog, Journal, Journaled, KeyRecord, KeyRef, KeyStore, KeyedState, NewKey, StorageError, StreamId,
    Truncate, conformance,
};
use tradelane_testkit::temp_dir;

fn key() -> SecretBytes<32> {
    SecretBytes::new([7; 32])
}

/// No memory for the newest batches: every read goes to the file.
fn from_disk() -> LogOptions {
    LogOptions { tail_bytes: 0, ..LogOptions::default() }
}

fn append(stream: &StreamId, payload: Vec<u8>) -> Append {
    Append { stream: stream.clone(), count: 1, payload: Bytes::from(payload), timestamp: Timestamp(0), dedup: None }
}

/// Bytes that look like no other bytes.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed * 2 + 1;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

fn contains(directory: &std::path::Path, needle: &[u8]) -> bool {
    let files = std::fs::read_dir(directory).unwrap();
    files.flatten().any(|file| {
        let bytes = std::fs::read(file.path()).unwrap();
        bytes.windows(needle.len()).any(|window| window == needle)
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_conforms_from_memory_and_from_disk() {
    for options in [LogOptions::default(), from_disk()] {
        let directory = temp_dir();
        let log = SqliteLog::open(&directory.path().join("log.db"), &key(), &options).unwrap();
        conformance::event_log(&log).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_control_store_conforms() {
    let directory = temp_dir();
    let control = SqliteControl::open(&directory.path().join("control.db"), &key()).unwrap();
    conformance::journal(&control).await;
    conformance::keyed_state(&control).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_store_conforms() {
    let directory = temp_dir();
    let keys = SqliteKeys::open(&directory.path().join("keys.db"), &key()).unwrap();
    conformance::key_store(&keys).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_there_after_a_clean_restart() {
    let directory = temp_dir();
    let (log_path, control_path) = (directory.path().join("log.db"), directory.path().join("control.db"));
    let stream = StreamId::new("orders", 3);
    {
        let log = SqliteLog::open(&log_path, &key(), &LogOptions::default()).unwrap();
        let control = SqliteControl::open(&control_path, &key()).unwrap();
        assert!(log.recovery().created && control.recovery().created);
        for n in 0..5u8 {
            log.append(append(&stream, vec![n; 1000])).await.unwrap();
        }
        log.truncate_before(&stream, Truncate::Offset(2)).await.unwrap();
        control.append(0, vec![Bytes::from_static(b"grant")]).await.unwrap();
    }
    let log = SqliteLog::open(&log_path, &key(), &LogOptions::default()).unwrap();
    let control = SqliteControl::open(&control_path, &key()).unwrap();
    assert!(!log.recovery().unclean && !log.recovery().created, "{}", log.recovery());
    assert!(!control.recovery().unclean, "{}", control.recovery());
    let read = log.read(&stream, 2, usize::MAX).await.unwrap();
    assert_eq!(read.len(), 3);
    assert_eq!(read[0].payload, vec![2; 1000]);
    assert_eq!(Journal::read(&control, 1, 1).await.unwrap()[0].1, Bytes::from_static(b"grant"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_on_disk_in_the_clear() {
    let directory = temp_dir();
    let secret = noise(1, 64);
    let log = SqliteLog::open(&directory.path().join("log.db"), &key(), &LogOptions::default()).unwrap();
    let control = SqliteControl::open(&directory.path().join("control.db"), &key()).unwrap();
    log.append(append(&StreamId::new("orders", 0), secret.clone())).await.unwrap();
    control.append(0, vec![Bytes::from(secret.clone())]).await.unwrap();
    control.put("token", b"k", Bytes::from(secret.clone()), Timestamp::MAX).await.unwrap();
    assert!(!contains(directory.path(), &secret[..16]));
    drop((log, control));
    assert!(!contains(directory.path(), &secret[..16]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destroyed_key_is_gone_from_every_file() {
    let directory = temp_dir();
    let raw = directory.path().join("keys.db");
    let keys = SqliteKeys::open(&raw, &key()).unwrap();
    let tag: [u8; 32] = noise(2, 32).try_into().unwrap();
    let new = |id: u64, tag| NewKey {
        scope: "subject/acme".to_owned(),
        tag,
        record: KeyRecord { id, wrapped: Bytes::from(noise(id, 60)), created: Timestamp(0) },
    };
    let mut batch: Vec<NewKey> = (1..200).map(|id| new(id, noise(1000 + id, 32).try_into().unwrap())).collect();
    batch.push(new(200, tag));
    keys.put_if_absent(batch).await.unwrap();
    assert!(contains(directory.path(), &tag), "the test looks where the key is");
    keys.destroy(vec![KeyRef::Id(200)], Timestamp(1)).await.unwrap();
    assert!(!contains(directory.path(), &tag));
    assert_eq!(keys.load_all(0, 1000).await.unwrap().len(), 199);
    keys.put_if_absent(vec![new(300, [3; 32])]).await.unwrap();
    drop(keys);
    let keys = SqliteKeys::open(&raw, &key()).unwrap();
    assert_eq!(keys.load_all(0, 1000).await.unwrap().len(), 200);
    assert_eq!(keys.tombstones(0, 10).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_gives_space_back_to_the_file_system() {
    let directory = temp_dir();
    let path = directory.path().join("log.db");
    let options = LogOptions { spare_bytes: 0, checkpoint_bytes: 1 << 20, ..from_disk() };
    let log = SqliteLog::open(&path, &key(), &options).unwrap();
    let (old, young) = (StreamId::new("old", 0), StreamId::new("young", 0));
    for n in 0..200 {
        log.append(append(&old, noise(n, 60_000))).await.unwrap();
        if n % 10 == 0 {
            log.append(append(&young, noise(n, 60_000))).await.unwrap();
        }
    }
    let done = log.truncate_before(&old, Truncate::Offset(190)).await.unwrap();
    assert_eq!(done.batches, 190);
    assert!(done.bytes >= 190 * 60_000);
    drop(log);
    let length = std::fs::metadata(&path).unwrap().len();
    assert!(length < (35 * 64) << 10, "30 batches of 60 kB are left in {length} bytes");
    let log = SqliteLog::open(&path, &key(), &options).unwrap();
    for n in (0..200).step_by(10) {
        let read = log.read(&young, n / 10, 1).await.unwrap();
        assert_eq!(read[0].payload, noise(n, 60_000));
    }
    assert!(log.delete_stream(&young).await.unwrap());
    assert_eq!(log.streams().await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moved_or_changed_batch_is_an_error_never_other_bytes() {
    let directory = temp_dir();
    let path = directory.path().join("log.db");
    let stream = StreamId::new("orders", 0);
    {
        let log = SqliteLog::open(&path, &key(), &from_disk()).unwrap();
        for n in 0..6 {
            log.append(append(&stream, noise(n, 500))).await.unwrap();
        }
    }
    let tamper = |statement: &str| {
        rusqlite::Connection::open(&path).unwrap().execute_batch(statement).unwrap();
    };
    tamper(
        "UPDATE batch SET payload = (SELECT payload FROM batch WHERE id = 1) WHERE id = 0;
         UPDATE batch SET timestamp = 5 WHERE id = 2;
         DELETE FROM batch WHERE id = 4;",
    );
    let log = SqliteLog::open(&path, &key(), &from_disk()).unwrap();
    for (offset, damaged) in [(0, true), (1, false), (2, true), (3, false), (4, true), (5, false)] {
        let read = log.read(&stream, offset, 1).await;
        match read {
            Err(StorageError::Corrupt { place }) => assert!(damaged && place.contains("orders/0"), "{place}"),
            read => assert!(!damaged && read.unwrap()[0].base_offset == offset, "{offset}"),
        }
    }
    let sound = log.read(&stream, 3, usize::MAX).await.unwrap();
    assert_eq!(sound.len(), 1, "what comes before the damage is served, nothing after it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_journal_event_is_an_error() {
    let directory = temp_dir();
    let path = directory.path().join("control.db");
    {
        let control = SqliteControl::open(&path, &key()).unwrap();
        let events = (0..3u8).map(|n| Bytes::from(vec![n])).collect();
        assert_eq!(control.append(0, events).await, Ok(Journaled::At(3)));
        control.put("token", b"a", Bytes::from_static(b"x"), Timestamp::MAX).await.unwrap();
    }
    let raw = rusqlite::Connection::open(&path).unwrap();
    raw.execute_batch("UPDATE journal SET event = (SELECT event FROM journal WHERE seq = 1) WHERE seq = 2").unwrap();
    raw.execute_batch("UPDATE keyed_state SET key = x'62'").unwrap();
    drop(raw);
    let control = SqliteControl::open(&path, &key()).unwrap();
    assert!(Journal::read(&control, 1, 1).await.is_ok());
    assert!(matches!(Journal::read(&control, 1, 3).await, Err(StorageError::Corrupt { .. })));
    assert!(matches!(control.get("token", b"b", Timestamp(0)).await, Err(StorageError::Corrupt { .. })));
}

#[test]
fn a_store_opens_only_with_its_own_key_and_for_one_process() {
    let directory = temp_dir();
    let path = directory.path().join("control.db");
    let open = SqliteControl::open(&path, &key()).unwrap();
    assert!(matches!(SqliteControl::open(&path, &key()), Err(StorageError::Locked { .. })));
    drop(open);
    let other = SecretBytes::new([8; 32]);
    assert!(matches!(SqliteControl::open(&path, &other), Err(StorageError::WrongKey { .. })));
    assert!(SqliteControl::open(&path, &key()).is_ok());
}

#[test]
fn a_file_of_another_kind_or_a_newer_release_is_refused() {
    let directory = temp_dir();
    let path = directory.path().join("control.db");
    drop(SqliteControl::open(&path, &key()).unwrap());
    assert!(matches!(SqliteKeys::open(&path, &key()), Err(StorageError::Foreign { .. })));
    rusqlite::Connection::open(&path).unwrap().execute_batch("INSERT INTO schema_version VALUES (99)").unwrap();
    let refused = SqliteControl::open(&path, &key()).err();
    assert_eq!(refused, Some(StorageError::NewerSchema { store: "control.db".to_owned(), found: 99, supported: 1 }));
    let text = directory.path().join("text.db");
    std::fs::write(&text, noise(1, 5000)).unwrap();
    assert!(matches!(SqliteLog::open(&text, &key(), &from_disk()), Err(StorageError::Foreign { .. })));
}

#[cfg(unix)]
#[test]
fn files_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let directory = temp_dir();
    let _log = SqliteLog::open(&directory.path().join("log.db"), &key(), &from_disk()).unwrap();
    for file in std::fs::read_dir(directory.path()).unwrap().flatten() {
        let mode = file.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{:?}", file.path());
    }
}
