//! Durable appends of 64 KiB batches to the event log, against a plain file with `fdatasync`, in the same run.
//!
//! `cargo run --release -p tradelane-storage --example append_bench [MiB per measurement] [directory]`
//!
//! The plain file does what a log must do at least: with one writer, each batch is written and synced; with 16, the 16
//! batches are written and synced together. Both do the same number of appends; rounds alternate and the best counts.

#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "measures durations, and prints them")]

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tradelane_keys::SecretBytes;
use tradelane_model::Timestamp;
use tradelane_storage::sqlite::{LogOptions, SqliteLog};
use tradelane_storage::{Append, EventLog, StreamId};

const BATCH: usize = 64 << 10;
const ROUNDS: usize = 3;

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

fn plain(path: &Path, batches: usize, writers: usize) -> std::io::Result<Measured> {
    let mut file = File::create(path)?;
    let block = vec![0x5a; BATCH];
    let mut latencies = Vec::new();
    let began = Instant::now();
    for _ in 0..batches / writers {
        let each = Instant::now();
        for _ in 0..writers {
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

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mebibytes: usize = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(128);
    let directory = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let directory = directory.join(format!("tradelane-append-bench-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let batches = (mebibytes << 20) / BATCH;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    println!("{mebibytes} MiB in batches of 64 KiB; MB/s, median and worst latency in ms; best of {ROUNDS} rounds");
    for writers in [1, 16] {
        let (mut file, mut stored): (Option<Measured>, Option<Measured>) = (None, None);
        let better = |best: &mut Option<Measured>, next: Measured| {
            if best.as_ref().is_none_or(|best| next.per_second > best.per_second) {
                *best = Some(next);
            }
        };
        for round in 0..ROUNDS {
            better(&mut file, plain(&directory.join("plain"), batches, writers)?);
            better(
                &mut stored,
                runtime.block_on(log(&directory.join(format!("log-{writers}-{round}.db")), batches, writers)),
            );
        }
        if let (Some(file), Some(stored)) = (file, stored) {
            for (name, measured) in [("plain file", &file), ("event log", &stored)] {
                println!(
                    "{writers:>2} writers  {name:<10} {:>7.1} MB/s  {:>7.2}  {:>8.2}",
                    measured.per_second,
                    measured.median.as_secs_f64() * 1e3,
                    measured.worst.as_secs_f64() * 1e3,
                );
            }
            println!("{writers:>2} writers  ratio      {:>7.2}", stored.per_second / file.per_second);
        }
    }
    std::fs::remove_dir_all(&directory)
}
