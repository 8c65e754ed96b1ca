//! The SQLite stores: the conformance suite, and what is theirs alone.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use tradelane_keys::SecretBytes;
use tradelane_model::Timestamp;
use tradelane_storage::sqlite::{LogOptions, SqliteControl, SqliteKeys, SqliteLog};
use tradelane_storage::{
    Append, Bounds, EventLog, Journal, Journaled, KeyRecord, KeyRef, KeyStore, KeyedState, NewKey, Rewrite,
    StorageError, StreamId, Truncate, conformance,
};
use tradelane_testkit::{flip_byte, temp_dir};

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

/// All files below a folder.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap().flatten();
    entries.flat_map(|entry| if entry.path().is_dir() { files(&entry.path()) } else { vec![entry.path()] }).collect()
}

fn contains(directory: &Path, needle: &[u8]) -> bool {
    let holds = |path: &PathBuf| std::fs::read(path).unwrap().windows(needle.len()).any(|window| window == needle);
    files(directory).iter().any(holds)
}

/// The segments beside an index.
fn segments(index: &Path) -> Vec<PathBuf> {
    let mut segments = files(&index.with_file_name("log.db-segments"));
    segments.sort();
    segments
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

/// What is left of two streams in segments of half a megabyte when most of one of them was removed: bytes on the disk.
#[cfg(target_os = "linux")]
async fn room_after_retention(batch: usize) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let directory = temp_dir();
    let path = directory.path().join("log.db");
    let options = LogOptions { segment_bytes: 512 << 10, checkpoint_bytes: 1 << 20, ..from_disk() };
    let log = SqliteLog::open(&path, &key(), &options).unwrap();
    let (old, young) = (StreamId::new("old", 0), StreamId::new("young", 0));
    for n in 0..200 {
        log.append(append(&old, noise(n, batch))).await.unwrap();
        if n % 10 == 0 {
            log.append(append(&young, noise(n, batch))).await.unwrap();
        }
    }
    let before = segments(&path).len();
    let done = log.truncate_before(&old, Truncate::Offset(190)).await.unwrap();
    assert_eq!(done.batches, 190);
    assert!(done.bytes >= 190 * batch as u64);
    drop(log);
    let room = segments(&path).iter().map(|path| std::fs::metadata(path).unwrap().blocks() * 512).sum();
    let log = SqliteLog::open(&path, &key(), &options).unwrap();
    for n in (0..200).step_by(10) {
        let read = log.read(&young, n / 10, 1).await.unwrap();
        assert_eq!(read[0].payload, noise(n, batch));
    }
    for n in 190..200 {
        assert_eq!(log.read(&old, n, 1).await.unwrap()[0].payload, noise(n, batch));
    }
    assert!(log.delete_stream(&young).await.unwrap());
    assert_eq!(log.streams().await.unwrap().len(), 1);
    drop(log);
    drop(SqliteLog::open(&path, &key(), &options).unwrap());
    assert!(segments(&path).len() < before || before == 1, "segments that hold nothing are removed");
    room
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn retention_gives_space_back_to_the_file_system() {
    let room = room_after_retention(60_000).await;
    assert!(room < (35 * 64) << 10, "30 batches of 60 kB are left in {room} bytes");
    let room = room_after_retention(1_000).await;
    assert!(room < 30 * (8 << 10), "30 batches of 1 kB are left in {room} bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moved_or_changed_batch_is_an_error_never_other_bytes() {
    let directory = temp_dir();
    let path = directory.path().join("log.db");
    let stream = StreamId::new("orders", 0);
    {
        let log = SqliteLog::open(&path, &key(), &from_disk()).unwrap();
        for n in 0..9 {
            log.append(append(&stream, noise(n, 500))).await.unwrap();
        }
    }
    let raw = rusqlite::Connection::open(&path).unwrap();
    raw.execute_batch(
        "UPDATE batch SET position = (SELECT position FROM batch WHERE id = 1) WHERE id = 0;
         UPDATE batch SET timestamp = 5 WHERE id = 2;
         DELETE FROM batch WHERE id = 4;
         UPDATE batch SET segment = 77 WHERE id = 6;",
    )
    .unwrap();
    let changed: i64 = raw.query_row("SELECT position FROM batch WHERE id = 7", [], |row| row.get(0)).unwrap();
    drop(raw);
    flip_byte(&segments(&path)[0], changed as u64 + 100).unwrap();
    let log = SqliteLog::open(&path, &key(), &from_disk()).unwrap();
    let damages = [true, false, true, false, true, false, true, true, false];
    for (offset, damaged) in damages.into_iter().enumerate() {
        match log.read(&stream, offset as u64, 1).await {
            Err(StorageError::Corrupt { place }) => {
                assert!(damaged && (place.contains("orders/0") || place.contains("000077.seg")), "{place}");
            }
            read => assert!(!damaged && read.unwrap()[0].base_offset == offset as u64, "{offset}"),
        }
    }
    let sound = log.read(&stream, 3, usize::MAX).await.unwrap();
    assert_eq!(sound.len(), 1, "what comes before the damage is served, nothing after it");
}

/// Makes of a log what the first release wrote: sealed batches in the rows, no segments.
fn as_the_first_release_wrote_it(path: &Path) {
    let raw = rusqlite::Connection::open(path).unwrap();
    let segment = std::fs::read(&segments(path)[0]).unwrap();
    raw.execute_batch(
        "CREATE TABLE old (
             id INTEGER PRIMARY KEY, count INTEGER NOT NULL, timestamp INTEGER NOT NULL, payload BLOB NOT NULL) STRICT",
    )
    .unwrap();
    let mut select = raw.prepare("SELECT id, count, timestamp, position, length FROM batch").unwrap();
    let mut rows = select.query([]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        let [id, count, timestamp, position, length] = [0, 1, 2, 3, 4].map(|at| row.get::<_, i64>(at).unwrap());
        let sealed = &segment[position as usize..(position + length) as usize];
        raw.execute("INSERT INTO old VALUES (?1, ?2, ?3, ?4)", (id, count, timestamp, sealed)).unwrap();
    }
    drop(rows);
    drop(select);
    raw.execute_batch(
        "DROP TABLE batch; DROP TABLE written; DROP INDEX stream_incarnation; ALTER TABLE old RENAME TO batch;
         DELETE FROM schema_version WHERE version = 2;",
    )
    .unwrap();
    std::fs::remove_dir_all(path.with_file_name("log.db-segments")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_of_the_first_release_is_converted_and_loses_nothing() {
    let directory = temp_dir();
    let path = directory.path().join("log.db");
    let streams = [StreamId::new("orders", 0), StreamId::new("orders", 1)];
    let log = SqliteLog::open(&path, &key(), &from_disk()).unwrap();
    for n in 0..1500 {
        log.append(append(&streams[n as usize % 2], noise(n, if n % 100 == 0 { 700_000 } else { 900 }))).await.unwrap();
    }
    log.truncate_before(&streams[1], Truncate::Offset(10)).await.unwrap();
    drop(log);
    as_the_first_release_wrote_it(&path);
    for converted_from in [Some(1), None] {
        let log = SqliteLog::open(&path, &key(), &from_disk()).unwrap();
        assert_eq!(log.recovery().migrated_from, converted_from);
        for n in (0..1500).filter(|n| n % 2 == 0 || *n > 20) {
            let read = log.read(&streams[n as usize % 2], n / 2, 1).await.unwrap();
            assert!(read[0].payload == noise(n, if n % 100 == 0 { 700_000 } else { 900 }), "{n}");
        }
        let end = log.bounds(&streams[0]).await.unwrap().unwrap().end;
        assert_eq!(log.append(append(&streams[0], vec![1])).await.unwrap().base_offset, end);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_never_see_damage_while_what_they_read_is_removed_and_rewritten() {
    let directory = temp_dir();
    let options = LogOptions { segment_bytes: 32 << 10, ..from_disk() };
    let log = Arc::new(SqliteLog::open(&directory.path().join("log.db"), &key(), &options).unwrap());
    let stream = StreamId::new("orders", 0);
    for n in 0..20 {
        log.append(append(&stream, noise(n, 6_000))).await.unwrap();
    }
    let readers = (0..2u64).map(|reader| {
        let (log, stream) = (Arc::clone(&log), stream.clone());
        tokio::spawn(async move {
            let mut seen = 0;
            loop {
                let Bounds { start, end } = log.bounds(&stream).await.unwrap().unwrap();
                let offset = start + (seen + reader) % (end - start);
                match log.read(&stream, offset, 30_000).await {
                    Ok(batches) if end >= 300 => return batches.len(),
                    Ok(batches) => seen += batches.len() as u64,
                    Err(StorageError::Truncated { .. }) => {}
                    Err(error) => panic!("{error:?}"),
                }
            }
        })
    });
    let readers: Vec<_> = readers.collect();
    for n in 20..300 {
        log.append(append(&stream, noise(n, 6_000))).await.unwrap();
        let offsets = n - 10..n - 8;
        let rewrite = Rewrite { offsets, timestamp: Timestamp(0), payload: Bytes::from(noise(n, 9_000)) };
        if n % 2 == 0 {
            assert!(log.rewrite(&stream, vec![rewrite]).await.unwrap());
        }
        log.truncate_before(&stream, Truncate::Offset(n - 15)).await.unwrap();
    }
    for reader in readers {
        assert!(reader.await.unwrap() > 0);
    }
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
    let entries = std::fs::read_dir(directory.path()).unwrap().flatten().map(|entry| entry.path());
    for path in entries.chain(files(directory.path())) {
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{path:?}");
    }
}
