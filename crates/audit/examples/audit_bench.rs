//! Leaves per second, durable, against a plain file that takes the same bytes with the same number of syncs.
//!
//! `cargo run --release -p tradelane-audit --example audit_bench [LEAVES] [LEAVES_PER_COMMIT]`

#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a benchmark prints, and measures durations")]

use std::fs::File;
use std::io::Write;
use std::time::{Duration, Instant};

use tradelane_audit::{AuditLog, Leaf, Outcome, Signer, Word};
use tradelane_keys::{AtRest, SecretBytes, SigningKey};
use tradelane_model::{Class, Timestamp};

/// Calls that wait at the same time.
const IN_FLIGHT: usize = 4;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<usize>());
    let total = arguments.next().transpose()?.unwrap_or(500_000);
    let group = arguments.next().transpose()?.unwrap_or(4_096);
    let dir = std::env::temp_dir().join(format!("tradelane-audit-bench-{}", std::process::id()));
    let signer = Signer::new("bench.example/audit", SigningKey::generate()).ok_or("no origin")?;
    let (log, _) = AuditLog::open(&dir, signer, AtRest::new(&SecretBytes::random()))?;
    let leaves: Vec<Leaf> = (0..group as u64).map(leaf).collect();

    let (started, cpu) = (Instant::now(), cpu_time());
    let mut latencies = Vec::new();
    let mut waiting = std::collections::VecDeque::new();
    for _ in 0..total / group {
        // As in the hub, callers prepare their leaves while those before them are made durable.
        waiting.push_back((Instant::now(), log.submit(&leaves)?));
        if waiting.len() == IN_FLIGHT
            && let Some((submitted, pending)) = waiting.pop_front()
        {
            pending.wait()?;
            latencies.push(submitted.elapsed());
        }
    }
    for (submitted, pending) in waiting {
        pending.wait()?;
        latencies.push(submitted.elapsed());
    }
    let (took, cpu) = (started.elapsed(), cpu_time() - cpu);
    let recorded = log.size();
    let bytes = segment_bytes(&dir)?;
    let plain = plain_file(&dir, bytes / (recorded / group as u64), recorded / group as u64)?;
    latencies.sort();
    let rate = recorded as f64 / took.as_secs_f64();
    println!("leaves                      {recorded} in commits of {group}, {} bytes each on disk", bytes / recorded);
    println!(
        "durable                     {rate:.0} leaves/s, p50 call {:?}, longest {:?}",
        latencies[latencies.len() / 2],
        latencies[latencies.len() - 1]
    );
    println!(
        "CPU                         {:.0} ns per leaf, {:.0} leaves per core and second",
        cpu.as_nanos() as f64 / recorded as f64,
        recorded as f64 / cpu.as_secs_f64()
    );
    println!("plain file, same bytes      {:.0} leaves/s", recorded as f64 / plain.as_secs_f64());
    println!("ratio to the plain file     {:.2}", plain.as_secs_f64() / took.as_secs_f64());
    let proofs = Instant::now();
    for index in (0..recorded).step_by((recorded / 1_000).max(1) as usize) {
        log.receipt(index)?;
    }
    println!("receipt, spread over all    {:?} each", proofs.elapsed() / 1_000);
    drop(log);
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}

fn leaf(n: u64) -> Leaf {
    let class = Class::named("confidential").into_iter().collect();
    let mut leaf = Leaf::new(
        Timestamp(1_790_000_000_000_000 + n as i64),
        "carrier".parse().expect("an id"),
        Word::literal("read"),
        Outcome::Allowed,
    );
    leaf.principal = "carrier-tms".parse().ok();
    leaf.owner = "manufacturer".parse().ok();
    leaf.product = "manufacturer.shipments".parse().ok();
    leaf.grant = "g-carrier-shipments".parse().ok();
    leaf.purpose = Some(Word::literal("delivery"));
    leaf.offsets = Some((n * 100, n * 100 + 99));
    leaf.count = 100;
    leaf.classes = class;
    leaf.view = Some([n as u8; 32]);
    leaf
}

fn segment_bytes(dir: &std::path::Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.path().extension().is_some_and(|end| end == "seg") {
            bytes += entry.metadata()?.len();
        }
    }
    Ok(bytes)
}

fn plain_file(dir: &std::path::Path, bytes: u64, commits: u64) -> std::io::Result<Duration> {
    let mut file = File::create(dir.join("plain"))?;
    let block: Vec<u8> = (0..bytes).map(|i| (i * 31) as u8).collect();
    let started = Instant::now();
    for _ in 0..commits {
        file.write_all(&block)?;
        file.sync_data()?;
    }
    Ok(started.elapsed())
}

/// CPU time of all threads of this process, as the kernel counts it.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    // Fields 14 and 15 of the whole line: user and system time in ticks of 10 ms.
    Duration::from_millis((ticks(11) + ticks(12)) * 10)
}
