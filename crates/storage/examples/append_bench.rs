//! Durable appends of 64 KiB batches to the event log, against plain files with `fdatasync`, in the same run.
//!
//! `cargo run --release -p tradelane-storage --example append_bench [MiB per measurement] [directory]`
//!
//! A plain file does what a log must do at least: with one writer, each batch is written and synced; with 16, the 16
//! batches are written and synced together. There are two of them, because a sync costs much more where the file has
//! grown (its size is metadata that must reach the disk, too): one file grows with each write, the other is overwritten
//! in place, over and over in 16 MiB that were written before. The event log does both: small groups are written over
//! zeros that were written ahead of them, bigger ones let the segment grow.
//!
//! Rounds alternate; the median round counts, and the span of all rounds is printed, since a busy machine moves it.

#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "measures durations, and prints them")]

use std::fs::File;
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tradelane_keys::SecretBytes;
use tradelane_model::Timestamp;
use tradelane_storage::sqlite::{LogOptions, SqliteLog};
use tradelane_storage::{Append, EventLog, StreamId};

const BATCH: usize = 64 << 10;
const ROUNDS: usize = 5;
/// What the overwritten file has.
const REUSED: usize = 16 << 20;

struct Measured {
    per_second: f64,
    median: Duration,
    worst: Duration,
}

fn summary(mut latencies: Vec<Duration>, took: Duration) -> Measured {
    latencies.sort_unstable();
    let per_second = (latencies.len() * BATCH) as f64 / took.as_secs_f64() / 1e6;
    let median = latencies.get(latencies.len() / 2).copied().unwrap_or_default();
    Measured { per_second, median, worst: latencies.last().copied().unwrap_or_default() }
}

fn plain(path: &Path, batches: usize, writers: usize, reuse: bool) -> std::io::Result<Measured> {
    let mut file = File::create(path)?;
    let block = vec![0x5a; BATCH];
    if reuse {
        file.write_all(&vec![0xa5; REUSED])?;
        file.sync_all()?;
        file.rewind()?;
    }
    let mut latencies = Vec::new();
    let began = Instant::now();
    for _ in 0..batches / writers {
        let each = Instant::now();
        for _ in 0..writers {
            if reuse && file.stream_position()? >= REUSED as u64 {
                file.rewind()?;
            }
            file.write_all(&block)?;
        }
        file.sync_data()?;
        latencies.extend(std::iter::repeat_n(each.elapsed(), writers));
    }
    let measured = summary(latencies, began.elapsed());
    drop(file);
    std::fs::remove_file(path)?;
    Ok(measured)
}

async fn log(path: &Path, batches: usize, writers: usize) -> Measured {
    let key = SecretBytes::random();
    let log = Arc::new(SqliteLog::open(path, &key, &LogOptions::default()).expect("the log opens"));
    let payload = Bytes::from(vec![0x5a; BATCH]);
    let began = Instant::now();
    let tasks: Vec<_> = (0..writers)
        .map(|writer| {
            let (log, payload) = (Arc::clone(&log), payload.clone());
            let stream = StreamId::new("bench", writer as u32 % 4);
            tokio::spawn(async move {
                let mut latencies = Vec::new();
                for _ in 0..batches / writers {
                    let append = Append {
                        stream: stream.clone(),
                        count: 64,
                        payload: payload.clone(),
                        timestamp: Timestamp(0),
                        dedup: None,
                    };
                    let each = Instant::now();
                    log.append(append).await.expect("there is room");
                    latencies.push(each.elapsed());
                }
                latencies
            })
        })
        .collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await.expect("the task ends"));
    }
    summary(latencies, began.elapsed())
}

/// Prints the median round; answers its MB/s.
fn report(writers: usize, name: &str, mut rounds: Vec<Measured>) -> f64 {
    rounds.sort_by(|a, b| a.per_second.total_cmp(&b.per_second));
    let (slowest, fastest) = (rounds[0].per_second, rounds[rounds.len() - 1].per_second);
    let median = &rounds[rounds.len() / 2];
    println!(
        "{writers:>2} writers  {name:<17} {:>7.1} ({slowest:.1} to {fastest:.1})  median {:.2} ms, worst {:.2} ms",
        median.per_second,
        median.median.as_secs_f64() * 1e3,
        median.worst.as_secs_f64() * 1e3,
    );
    median.per_second
}

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mebibytes: usize = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(128);
    let directory = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let directory = directory.join(format!("tradelane-append-bench-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let batches = (mebibytes << 20) / BATCH;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    println!("{mebibytes} MiB in batches of 64 KiB, {ROUNDS} rounds: median MB/s (slowest to fastest round), latency");
    for writers in [1, 16] {
        let (mut growing, mut reused, mut stored) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            growing.push(plain(&directory.join("plain"), batches, writers, false)?);
            reused.push(plain(&directory.join("plain"), batches, writers, true)?);
            let path = directory.join(format!("log-{writers}-{round}.db"));
            stored.push(runtime.block_on(log(&path, batches, writers)));
        }
        let growing = report(writers, "file, growing", growing);
        let reused = report(writers, "file, overwritten", reused);
        let stored = report(writers, "event log", stored);
        println!(
            "{writers:>2} writers  ratio to the growing file {:.2}, to the overwritten file {:.2}",
            stored / growing,
            stored / reused
        );
    }
    std::fs::remove_dir_all(&directory)
}
