//! What a crash, a torn write or a full disk may not do: lose what was acknowledged, or damage anything.
//!
//! The writer is this same test program, started once more as a child; it prints a line for each acknowledgement.
//! `TRADELANE_CRASH_ROUNDS` makes the kill loop longer than the few rounds of an ordinary run.

// The child learns its task from the environment, and how long to run is the operator's choice.
#![expect(clippy::disallowed_methods, reason = "see above")]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tradelane_keys::SecretBytes;
use tradelane_model::Timestamp;
use tradelane_storage::sqlite::{LogOptions, SqliteControl, SqliteKeys, SqliteLog};
use tradelane_storage::{
    Append, Appended, Dedup, EventLog, Journal, Journaled, KeyRecord, KeyState, KeyStore, NewKey, StorageError,
    StreamId,
};
use tradelane_testkit::{TinyDisk, copy_dir, flip_byte, temp_dir};

const DIRECTORY: &str = "TRADELANE_CRASH_CHILD";
const ROUND: &str = "TRADELANE_CRASH_ROUND";
const WRITERS: u64 = 3;

fn key() -> SecretBytes<32> {
    SecretBytes::new([7; 32])
}

/// Small limits, so that checkpoints and new segments happen within a round and reads come from disk.
fn options() -> LogOptions {
    LogOptions { tail_bytes: 0, checkpoint_bytes: 1 << 20, segment_bytes: 2 << 20, ..LogOptions::default() }
}

/// The n-th batch of a writer: from a few bytes to some 90 kB, told apart from all others.
fn append(writer: u64, n: u64) -> Append {
    let seed = writer << 40 | n;
    let length = (seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as usize % 90_000;
    let mut payload = seed.to_be_bytes().to_vec();
    payload.extend((0..length).map(|at| (at as u64 ^ seed) as u8));
    let mut digest = [0; 32];
    digest[..8].copy_from_slice(&seed.to_be_bytes());
    Append {
        stream: StreamId::new("load", (writer % 2) as u32),
        count: n as u32 % 5 + 1,
        payload: Bytes::from(payload),
        timestamp: Timestamp(n as i64),
        dedup: Some(Dedup { key: digest, body: digest, expires: Timestamp::MAX }),
    }
}

/// Two batches that are appended as one.
fn pair(n: u64) -> Vec<Append> {
    let one = |partition: u32| {
        let mut append = append(WRITERS + u64::from(partition), n);
        append.stream = StreamId::new("pair", partition);
        append
    };
    vec![one(1), one(0)]
}

/// What a writer had acknowledged: `log writer n base`, `pair n base base`, `journal seq` or `key id`.
type Acknowledged = Vec<Vec<String>>;

fn acknowledge(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("\nACK {line}\n").as_bytes()).and_then(|()| out.flush()).expect("the parent listens");
}

/// Not a test of its own: the child that writes until it is killed.
#[test]
fn child_that_writes() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let round: u64 = std::env::var(ROUND).ok().and_then(|round| round.parse().ok()).unwrap_or(0);
    let directory = Path::new(&directory);
    let log = Arc::new(SqliteLog::open(&directory.join("log.db"), &key(), &options()).unwrap());
    let control = SqliteControl::open(&directory.join("control.db"), &key()).unwrap();
    let keys = SqliteKeys::open(&directory.join("keys.db"), &key()).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async move {
        let log_writers = (0..WRITERS).map(|writer| {
            let log = Arc::clone(&log);
            tokio::spawn(async move {
                for n in round * 1_000_000.. {
                    let Appended { base_offset, .. } = log.append(append(writer, n)).await.unwrap();
                    acknowledge(&format!("log {writer} {n} {base_offset}"));
                }
            })
        });
        let _log_writers: Vec<_> = log_writers.collect();
        let _pair_writer = tokio::spawn(async move {
            for n in round * 1_000_000.. {
                let appended = log.append_all(pair(n)).await.unwrap();
                acknowledge(&format!("pair {n} {} {}", appended[0].base_offset, appended[1].base_offset));
            }
        });
        let mut head = control.head().await.unwrap();
        for id in round * 1_000_000 + 1.. {
            let event = Bytes::from(vec![id as u8; 300]);
            let Journaled::At(seq) = control.append(head, vec![event]).await.unwrap() else { panic!("one writer") };
            head = seq;
            acknowledge(&format!("journal {seq} {id}"));
            let record = KeyRecord { id, wrapped: Bytes::from(vec![id as u8; 60]), created: Timestamp(0) };
            let mut tag = [1; 32];
            tag[..8].copy_from_slice(&id.to_be_bytes());
            keys.put_if_absent(vec![NewKey { scope: "subject".to_owned(), tag, record }]).await.unwrap();
            acknowledge(&format!("key {id}"));
        }
    });
}

struct Load {
    child: Child,
    acknowledged: Arc<Mutex<Acknowledged>>,
    reader: Option<std::thread::JoinHandle<()>>,
}

impl Load {
    fn start(directory: &Path, round: u64) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_writes", "--nocapture", "--test-threads=1"])
            .env(DIRECTORY, directory)
            .env(ROUND, round.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let acknowledged = Arc::new(Mutex::new(Vec::new()));
        let (lines, into) = (BufReader::new(child.stdout.take().unwrap()), Arc::clone(&acknowledged));
        let reader = std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                if let Some(words) = line.strip_prefix("ACK ") {
                    into.lock().unwrap().push(words.split(' ').map(str::to_owned).collect());
                }
            }
        });
        Self { child, acknowledged, reader: Some(reader) }
    }

    /// Waits until so much was acknowledged, and then for an odd moment in the middle of something.
    fn await_acknowledged(&mut self, count: usize, odd: u64) {
        while self.acknowledged.lock().unwrap().len() < count {
            assert!(self.child.try_wait().unwrap().is_none(), "the child ended by itself");
            std::thread::sleep(Duration::from_millis(2));
        }
        std::thread::sleep(Duration::from_micros(odd * 7919 % 20_000));
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// SIGKILL; answers everything that had been acknowledged.
    fn kill(mut self) -> Acknowledged {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.reader.take().unwrap().join().unwrap();
        std::mem::take(&mut self.acknowledged.lock().unwrap())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // Also when a test fails; it may have ended already.
        drop(self.child.kill().and_then(|()| self.child.wait()));
    }
}

fn number(words: &[String], at: usize) -> u64 {
    words[at].parse().unwrap()
}

/// Of each pair both are there or none, acknowledged or not.
async fn whole_pairs(log: &SqliteLog) {
    let mut numbers = [Vec::new(), Vec::new()];
    for (partition, numbers) in (0..).zip(&mut numbers) {
        let stream = StreamId::new("pair", partition);
        let end = log.bounds(&stream).await.unwrap().map_or(0, |bounds| bounds.end);
        let mut offset = 0;
        while offset < end {
            for batch in log.read(&stream, offset, 8 << 20).await.unwrap() {
                let seed = u64::from_be_bytes(batch.payload[..8].try_into().unwrap());
                numbers.push(seed & ((1 << 40) - 1));
                offset = batch.end_offset();
            }
        }
    }
    assert!(numbers[0] == numbers[1], "{} and {} of pairs", numbers[0].len(), numbers[1].len());
}

/// Opens all stores and looks for everything that was acknowledged; answers the log for more questions.
async fn verify(directory: &Path, acknowledged: &Acknowledged) -> SqliteLog {
    let log = SqliteLog::open(&directory.join("log.db"), &key(), &options()).unwrap();
    let control = SqliteControl::open(&directory.join("control.db"), &key()).unwrap();
    let keys = SqliteKeys::open(&directory.join("keys.db"), &key()).unwrap();
    eprintln!("{}\n{}\n{}", log.recovery(), control.recovery(), keys.recovery());
    for words in acknowledged {
        match words[0].as_str() {
            "log" => {
                let sent = append(number(words, 1), number(words, 2));
                let base = number(words, 3);
                let found = &log.read(&sent.stream, base, 1).await.unwrap()[0];
                assert_eq!((found.base_offset, found.count), (base, sent.count));
                assert!(found.payload == sent.payload, "{words:?}");
            }
            "pair" => {
                for (sent, at) in pair(number(words, 1)).iter().zip(2..) {
                    let found = &log.read(&sent.stream, number(words, at), 1).await.unwrap()[0];
                    assert!(found.payload == sent.payload, "{words:?}");
                }
            }
            "journal" => {
                let found = Journal::read(&control, number(words, 1), 1).await.unwrap();
                assert_eq!(found[0].1, vec![number(words, 2) as u8; 300]);
            }
            _ => assert!(matches!(keys.get(number(words, 1)).await.unwrap(), KeyState::Live(_)), "{words:?}"),
        }
    }
    // Retrying what was acknowledged last does nothing, and says where it is.
    for words in acknowledged.iter().rev().filter(|words| words[0] == "log").take(3) {
        let again = log.append(append(number(words, 1), number(words, 2))).await.unwrap();
        assert_eq!(again, Appended { base_offset: number(words, 3), duplicate: true });
    }
    for words in acknowledged.iter().rev().filter(|words| words[0] == "pair").take(3) {
        let again = log.append_all(pair(number(words, 1))).await.unwrap();
        let were = [2, 3].map(|at| Appended { base_offset: number(words, at), duplicate: true });
        assert_eq!(again, were);
    }
    whole_pairs(&log).await;
    for (stream, bounds) in log.streams().await.unwrap() {
        let mut offset = 0;
        while offset < bounds.end {
            offset = log.read(&stream, offset, 8 << 20).await.unwrap().last().unwrap().end_offset();
        }
    }
    let head = control.head().await.unwrap();
    let mut seq = 0;
    while seq < head {
        seq = Journal::read(&control, seq + 1, 1000).await.unwrap().last().unwrap().0;
    }
    log
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_minus_nine_in_a_loop_under_load_loses_nothing_acknowledged() {
    let rounds = std::env::var("TRADELANE_CRASH_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(4);
    let directory = temp_dir();
    let mut acknowledged = Vec::new();
    let mut unclean = 0;
    for round in 0..rounds {
        let mut load = Load::start(directory.path(), round);
        load.await_acknowledged(120, round * 31 + 7);
        acknowledged.extend(load.kill());
        let log = verify(directory.path(), &acknowledged).await;
        unclean += u64::from(log.recovery().unclean);
    }
    assert_eq!(unclean, rounds, "each start says that the last process did not close the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_tail_is_dropped_and_reported_and_nothing_acknowledged_is_lost() {
    let directory = temp_dir();
    let mut load = Load::start(directory.path(), 0);
    for moment in 1..=3u64 {
        load.await_acknowledged(moment as usize * 30, moment);
        // While the writer stands still, its files are what a power loss at this moment leaves, but for what follows.
        load.signal("-STOP");
        std::thread::sleep(Duration::from_millis(100));
        let acknowledged = load.acknowledged.lock().unwrap().clone();
        let copy = temp_dir();
        copy_dir(directory.path(), copy.path()).unwrap();
        load.signal("-CONT");
        let torn = append_torn_group(&last_segment(copy.path()), moment);
        let log = verify(copy.path(), &acknowledged).await;
        assert!(log.recovery().unclean);
        assert!(log.recovery().torn_bytes >= torn, "{}", log.recovery());
    }
    load.kill();
}

/// The segment that is written to: the last one whose creation is over.
fn last_segment(directory: &Path) -> PathBuf {
    let segments = std::fs::read_dir(directory.join("log.db-segments")).unwrap().flatten();
    segments.filter(|entry| entry.metadata().unwrap().len() >= 32).map(|entry| entry.path()).max().unwrap()
}

/// Writes the beginning of a group that never came to its end behind the last one. Answers how many bytes.
fn append_torn_group(segment: &Path, seed: u64) -> u64 {
    let bytes = std::fs::read(segment).unwrap();
    let mut begin = 32;
    while bytes[begin..].starts_with(b"TLGP") {
        begin += group_length(&bytes, begin);
    }
    // As it begins: the header of a group, and a part of its body.
    let first = std::fs::read(segment.with_file_name("000000000001.seg")).unwrap();
    let torn = &first[32..][..(200 + seed as usize * 700).min(group_length(&first, 32) - 1)];
    let mut file = std::fs::OpenOptions::new().append(true).open(segment).unwrap();
    file.set_len(begin as u64).unwrap();
    file.write_all(torn).unwrap();
    torn.len() as u64
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_index_lost_with_the_power_is_found_in_the_segments() {
    let directory = temp_dir();
    let mut load = Load::start(directory.path(), 0);
    load.await_acknowledged(30, 1);
    // The index is not synced with each append. So after a loss of power it may be any older one since the last commit
    // that was: here the one of this moment, the streams' births in it, beside the segments of a later one.
    load.signal("-STOP");
    let early = temp_dir();
    copy_dir(directory.path(), early.path()).unwrap();
    load.signal("-CONT");
    load.await_acknowledged(150, 2);
    load.signal("-STOP");
    let acknowledged = load.acknowledged.lock().unwrap().clone();
    let late = temp_dir();
    copy_dir(directory.path(), late.path()).unwrap();
    load.signal("-CONT");
    for file in ["log.db", "log.db-wal"] {
        std::fs::copy(early.path().join(file), late.path().join(file)).unwrap();
    }
    drop(std::fs::remove_file(late.path().join("log.db-shm")));
    let log = verify(late.path(), &acknowledged).await;
    assert!(log.recovery().replayed > 10, "{}", log.recovery());
    drop(log);
    let log = verify(late.path(), &acknowledged).await;
    assert!(!log.recovery().unclean && log.recovery().replayed == 0, "{}", log.recovery());
    load.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_below_later_commits_is_refused_with_its_place() {
    let directory = temp_dir();
    let path = directory.path().join("log.db");
    let options = LogOptions { segment_bytes: 200 << 10, ..LogOptions::default() };
    let log = SqliteLog::open(&path, &key(), &options).unwrap();
    log.append(append(0, 0)).await.unwrap();
    let early = temp_dir();
    copy_dir(directory.path(), early.path()).unwrap();
    for n in 1..20 {
        log.append(append(0, n)).await.unwrap();
    }
    drop(log);
    let open = |damage: &dyn Fn(&Path)| {
        let copy = temp_dir();
        copy_dir(directory.path(), copy.path()).unwrap();
        for file in ["log.db", "log.db-wal"] {
            std::fs::copy(early.path().join(file), copy.path().join(file)).unwrap();
        }
        damage(&copy.path().join("log.db-segments"));
        SqliteLog::open(&copy.path().join("log.db"), &key(), &options).err()
    };
    let bytes = std::fs::read(directory.path().join("log.db-segments/000000000001.seg")).unwrap();
    let second = 32 + group_length(&bytes, 32) as u64;
    assert_eq!(open(&|_| {}), None);
    let first = |segments: &Path| segments.join("000000000001.seg");
    for at in [second, second + 9, second + 31, second + 32, second + 1000] {
        let refused = open(&|segments| flip_byte(&first(segments), at).unwrap());
        let place = format!("log.db-segments/000000000001.seg, byte {second}");
        assert_eq!(refused, Some(StorageError::Corrupt { place }), "byte {at}");
    }
    let gone = StorageError::Corrupt { place: "log.db-segments/000000000001.seg, which is gone".to_owned() };
    assert_eq!(open(&|segments| std::fs::remove_file(first(segments)).unwrap()), Some(gone));
    let gap = open(&|segments| std::fs::remove_file(segments.join("000000000002.seg")).unwrap());
    assert!(matches!(gap, Some(StorageError::Corrupt { .. })), "{gap:?}");
    let cut = open(&|segments| {
        std::fs::OpenOptions::new().write(true).open(first(segments)).unwrap().set_len(second + 500).unwrap();
    });
    assert!(matches!(cut, Some(StorageError::Corrupt { .. })), "another segment follows: {cut:?}");
    let swapped = open(&|segments| {
        std::fs::rename(segments.join("000000000002.seg"), first(segments)).unwrap();
    });
    assert!(matches!(swapped, Some(StorageError::Corrupt { .. })), "{swapped:?}");
}

/// Bytes of the group at `at` of a segment, its header included.
fn group_length(segment: &[u8], at: usize) -> usize {
    32 + u64::from_be_bytes(segment[at + 16..at + 24].try_into().unwrap()) as usize
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_without_their_index_are_refused_and_kept() {
    let directory = temp_dir();
    let path = directory.path().join("log.db");
    let log = SqliteLog::open(&path, &key(), &options()).unwrap();
    log.append(append(0, 0)).await.unwrap();
    drop(log);
    let segment = std::fs::read(last_segment(directory.path())).unwrap();
    std::fs::remove_file(&path).unwrap();
    for _ in 0..2 {
        let refused = SqliteLog::open(&path, &key(), &options()).err();
        let place = "log.db-segments, whose index log.db is gone".to_owned();
        assert_eq!(refused, Some(StorageError::Corrupt { place }));
    }
    assert!(std::fs::read(last_segment(directory.path())).unwrap() == segment);
}

async fn append_until_full(log: &SqliteLog) -> (Vec<u64>, StorageError) {
    let mut bases = Vec::new();
    for n in 0..10_000 {
        let sent = Append { dedup: None, ..append(0, n) };
        match log.append(sent).await {
            Ok(appended) => bases.push(appended.base_offset),
            Err(error) => return (bases, error),
        }
    }
    panic!("the disk never filled up");
}

async fn everything_reads(log: &SqliteLog, bases: &[u64]) {
    for (n, &base) in bases.iter().enumerate() {
        let sent = append(0, n as u64);
        let read = log.read(&sent.stream, base, 1).await.unwrap();
        assert!(read[0].payload == sent.payload, "batch {n}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_appends_and_serves_reads() {
    let Some(disk) = TinyDisk::mount(24) else { return };
    let path = disk.path().join("log.db");
    let log = SqliteLog::open(&path, &key(), &options()).unwrap();
    let (bases, error) = append_until_full(&log).await;
    assert_eq!((error.code().as_str(), &error), ("TL-7001", &StorageError::Full));
    assert!(bases.len() > 50, "{}", bases.len());
    let filler = disk.fill_up();
    everything_reads(&log, &bases).await;
    drop(log);
    // It starts on the full disk, too, and serves everything.
    let log = SqliteLog::open(&path, &key(), &options()).unwrap();
    everything_reads(&log, &bases).await;
    drop(log);
    std::fs::remove_file(filler).unwrap();
    let log = SqliteLog::open(&path, &key(), &options()).unwrap();
    everything_reads(&log, &bases).await;
    let bounds = log.bounds(&append(0, 0).stream).await.unwrap().unwrap();
    log.truncate_before(&append(0, 0).stream, tradelane_storage::Truncate::Offset(bounds.end / 2)).await.unwrap();
    let more = Append { dedup: None, ..append(0, 0) };
    assert_eq!(log.append(more).await.unwrap().base_offset, bounds.end, "no gap where appends were refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_at_its_size_limit_refuses_appends_until_retention_makes_room() {
    let directory = temp_dir();
    let options = LogOptions { max_bytes: Some(4 << 20), ..options() };
    let log = SqliteLog::open(&directory.path().join("log.db"), &key(), &options).unwrap();
    let (bases, error) = append_until_full(&log).await;
    assert_eq!(error, StorageError::Full);
    everything_reads(&log, &bases).await;
    let stream = append(0, 0).stream;
    let end = log.bounds(&stream).await.unwrap().unwrap().end;
    log.truncate_before(&stream, tradelane_storage::Truncate::Offset(end / 2)).await.unwrap();
    let more = Append { dedup: None, ..append(0, 1) };
    assert_eq!(log.append(more).await.unwrap().base_offset, end);
}
