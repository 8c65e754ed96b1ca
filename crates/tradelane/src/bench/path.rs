//! The governed path of a whole hub in this process: start, permits, publishing, reading, recording.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tradelane_audit::{AuditLog, Leaf, Outcome, Signer, Word};
use tradelane_hub::publish::{Body, Publish};
use tradelane_hub::{Caller, From, Hub, HubConfig, NewCredential, Presented, ReadLimits, SystemClock};
use tradelane_keys::{AtRest, SecretBytes, SigningKey};
use tradelane_model::organization::CredentialKind;
use tradelane_model::{Compression, Grant, ProductId, Timestamp};
use tradelane_policy::{Action, Authorizer, Epochs, Permit, Request, Resource};
use tradelane_seal::bench_docs::{self, Size, schema_like};
use tradelane_storage::sqlite::{LogOptions, SqliteLog};
use tradelane_storage::{Append, EventLog, StreamId};

use super::documents::{network, people};
use super::{Effort, Figure, Target};
use crate::failure::{Failure, Result};
use crate::stopwatch::Stopwatch;
use crate::wiring::runtime;

/// Events in one publish request.
const BATCH: usize = 1_000;
/// Readers of an equal view.
const READERS: usize = 20;

fn broken(error: impl std::fmt::Display) -> Failure {
    Failure::failed(format!("the benchmark's own hub is broken: {error}"))
}

fn open(dir: &std::path::Path, runtime: &Runtime) -> Result<(Hub, Caller)> {
    let config = HubConfig {
        data: dir.join("data"),
        root_key: dir.join("root.key"),
        origin: "bench.invalid/audit".into(),
        issuer: "https://bench.invalid".into(),
        clock: Arc::new(SystemClock),
        clock_tolerance: 5,
        render_cache: 64 << 20,
        postgres: None,
    };
    runtime.block_on(async {
        let (hub, _) = Hub::open(config).await.map_err(broken)?;
        let key = hub.bootstrap().await.map_err(broken)?.ok_or_else(|| broken("it is not new"))?;
        let operator = hub.authenticate(Presented::ApiKey(key.expose())).map_err(broken)?;
        Ok((hub, operator))
    })
}

/// From nothing to the first governed answer, and the memory that it takes.
pub(super) fn start(_: Effort) -> Result<Vec<Figure>> {
    let dir = tempfile::tempdir().map_err(broken)?;
    let runtime = runtime()?;
    let watch = Stopwatch::start();
    let (hub, operator) = open(dir.path(), &runtime)?;
    runtime.block_on(hub.catalog(&operator)).map_err(broken)?;
    let took = watch.elapsed();
    let memory = resident_megabytes();
    Ok(vec![
        Figure {
            name: "start-to-first-answer",
            value: took.as_secs_f64() * 1e3,
            unit: "ms",
            target: Target::AtMost(500.0),
            made_of: "stores made, keys drawn, first operator, one answer on record; in process".into(),
        },
        Figure {
            name: "start-idle-memory",
            value: memory,
            unit: "MB",
            target: Target::AtMost(60.0),
            made_of: "resident after that answer".into(),
        },
    ])
}

fn resident_megabytes() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kilobytes.map_or(f64::NAN, |kilobytes| kilobytes / 1024.0)
}

/// Seconds of processor time that this process has used, all threads.
fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// What checking a permit costs among few and among many grants.
pub(super) fn permits(effort: Effort) -> Result<Vec<Figure>> {
    let checks = (effort.seconds * 2e6) as usize;
    let few = check_time(10, checks)?;
    let many = check_time(100_000, checks)?;
    let figure = |name, ns: f64, grants: &str| Figure {
        name,
        value: ns,
        unit: "ns",
        target: Target::AtMost(100.0),
        made_of: format!("one check among {grants} grants; no policy is evaluated"),
    };
    Ok(vec![figure("permit-check-10", few, "10"), figure("permit-check-100000", many, "100,000")])
}

fn check_time(grants: usize, checks: usize) -> Result<f64> {
    let authorizer = Authorizer::new(Arc::new(Epochs::new()));
    let permits = (0..grants).map(|n| permit(&authorizer, n)).collect::<Result<Vec<Permit>>>()?;
    let now = Timestamp(1_790_000_000_000_000);
    let (mut at, mut good) = (0, 0_usize);
    let watch = Stopwatch::start();
    for _ in 0..checks {
        at = (at + 7_919) % grants;
        good += usize::from(permits.get(at).is_some_and(|permit| black_box(permit.check(black_box(now))).is_ok()));
    }
    let took = watch.elapsed();
    if good == checks { Ok(took.as_nanos() as f64 / checks as f64) } else { Err(broken("a permit does not hold")) }
}

fn permit(authorizer: &Authorizer, n: usize) -> Result<Permit> {
    let from = |value: Value| serde_json::from_value(value).map_err(broken);
    let (owner, reader) = (from(json!({"id": "maker"}))?, from(json!({"id": "partner"}))?);
    let (owner, reader): (tradelane_model::Organization, tradelane_model::Organization) = (owner, reader);
    let product: tradelane_model::Product =
        serde_json::from_value(json!({"id": "maker.stock", "owner": "maker", "contract": "stock"})).map_err(broken)?;
    let principal: tradelane_model::Principal = serde_json::from_value(
        json!({"id": format!("p-{}", n % 100), "organization": "partner", "roles": ["consumer"]}),
    )
    .map_err(broken)?;
    let status = json!({"state": "active", "by": "owner", "at": "2026-01-01T00:00:00Z"});
    let grant: Grant = serde_json::from_value(
        json!({"id": format!("g-{n}"), "product": "maker.stock", "consumer": "partner", "purpose": "bench", "status": status}),
    )
    .map_err(broken)?;
    let snapshot = authorizer.snapshot(&principal.id, &reader.id, Some(&owner.id), Some(&product.id), Some(&grant.id));
    let request = Request {
        principal: &principal,
        org: &reader,
        action: Action::Read,
        resource: Resource::Product { product: &product, owner: &owner, region: None, classes: &[] },
        grant: Some(&grant),
        reveals: &[],
        purpose: None,
        region: None,
        ip: None,
        now: Timestamp(1_790_000_000_000_000),
        until: Timestamp::MAX,
        snapshot,
    };
    authorizer.authorize(request).map_err(broken)
}

struct Bench {
    runtime: Runtime,
    hub: Hub,
    owner: Caller,
    partners: Vec<Caller>,
    product: ProductId,
    _dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Result<Self> {
        let dir = tempfile::tempdir().map_err(broken)?;
        let runtime = runtime()?;
        let (hub, operator) = open(dir.path(), &runtime)?;
        let sample: Value = serde_json::from_slice(&bench_docs::document(0, Size::Small, 0)).map_err(broken)?;
        let files = network(&bench_docs::shape(0, false), &schema_like(&sample), READERS, Compression::None);
        let (owner, partners) = runtime.block_on(async {
            hub.apply(&operator, &people(READERS), false).await.map_err(broken)?;
            let owner = key(&hub, &operator, "bench.owner").await?;
            hub.apply(&owner, &files, false).await.map_err(broken)?;
            let mut partners = Vec::new();
            for n in 0..READERS {
                partners.push(key(&hub, &operator, &format!("partner-{n}.app")).await?);
            }
            Ok::<_, Failure>((owner, partners))
        })?;
        let product = "bench-shipments".parse().map_err(broken)?;
        Ok(Self { runtime, hub, owner, partners, product, _dir: dir })
    }

    fn read_all(&self, caller: &Caller) -> Result<u64> {
        let limits = ReadLimits { max_events: 100_000, max_bytes: 4 << 20, wait: Duration::ZERO };
        self.runtime.block_on(async {
            let reader = self.hub.reader(caller, &self.product, None).await.map_err(broken)?;
            let (mut at, mut count) = (From::Earliest, 0);
            loop {
                let page = self.hub.read(&reader, at, limits).await.map_err(broken)?;
                count += u64::from(page.value().count);
                if page.value().next >= page.value().end {
                    return Ok(count);
                }
                at = From::Offset(page.value().next);
            }
        })
    }

    fn publish(&self, batch: &Bytes) -> Result<()> {
        let request = Publish {
            product: self.product.clone(),
            body: Body::Lines(batch.clone()),
            idempotency_key: None,
            proceed: false,
            partition: None,
            version: None,
        };
        self.runtime.block_on(self.hub.publish(&self.owner, request)).map(drop).map_err(broken)
    }
}

async fn key(hub: &Hub, operator: &Caller, principal: &str) -> Result<Caller> {
    let new = NewCredential {
        principal: principal.parse().map_err(broken)?,
        kind: CredentialKind::ApiKey,
        lifetime_seconds: 3_600,
        replaces: None,
        overlap_seconds: 0,
    };
    let issued = hub.issue_credential(operator, new).await.map_err(broken)?;
    hub.authenticate(Presented::ApiKey(issued.value().text.expose())).map_err(broken)
}

/// Publishing and reading through a hub, and the audit log by itself.
pub(super) fn hub(effort: Effort) -> Result<Vec<Figure>> {
    let bench = Bench::new()?;
    let batches: Vec<Bytes> = (0..8).map(batch).collect();
    let mut figures = publishing(effort, &bench, &batches)?;
    drop(bench);
    figures.push(reading(&batches)?);
    figures.push(audit(effort)?);
    Ok(figures)
}

fn batch(number: u64) -> Bytes {
    let mut lines = Vec::with_capacity(BATCH * 1_100);
    for n in 0..BATCH as u64 {
        lines.extend_from_slice(&bench_docs::document(0, Size::Small, number * BATCH as u64 + n));
        lines.push(b'\n');
    }
    lines.into()
}

/// Runs something over the batches for a while; events per second of wall and of processor time.
fn for_a_while(effort: Effort, batches: &[Bytes], mut work: impl FnMut(&Bytes) -> Result<()>) -> Result<(f64, f64)> {
    work(&batches[0])?;
    let (watch, cpu) = (Stopwatch::start(), cpu_seconds());
    let mut events = 0.0;
    while watch.elapsed().as_secs_f64() < effort.seconds {
        for batch in batches {
            work(batch)?;
            events += BATCH as f64;
        }
    }
    Ok((events / watch.elapsed().as_secs_f64(), events / (cpu_seconds() - cpu)))
}

fn publishing(effort: Effort, bench: &Bench, batches: &[Bytes]) -> Result<Vec<Figure>> {
    let governed = for_a_while(effort, batches, |batch| bench.publish(batch))?;
    let dir = tempfile::tempdir().map_err(broken)?;
    let raw = SqliteLog::open(&dir.path().join("raw.db"), &SecretBytes::random(), &LogOptions::default());
    let raw = raw.map_err(broken)?;
    let append = |batch: &Bytes| {
        let stream = StreamId::new("raw", 0);
        let append =
            Append { stream, count: BATCH as u32, payload: batch.clone(), timestamp: Timestamp(0), dedup: None };
        bench.runtime.block_on(raw.append(append)).map(drop).map_err(broken)
    };
    let stored = for_a_while(effort, batches, append)?;
    let parsed = for_a_while(effort, batches, |batch| {
        for line in batch.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            black_box(serde_json::from_slice::<Value>(line).map_err(broken)?);
        }
        append(batch)
    })?;
    Ok(vec![
        Figure {
            name: "hub-publish-cpu",
            value: parsed.1 / governed.1,
            unit: "x parse and store",
            target: Target::AtMost(0.8),
            made_of: format!(
                "{:.0} ns CPU per event governed, {:.0} ns parsed by serde_json and stored; without HTTP",
                1e9 / governed.1,
                1e9 / parsed.1
            ),
        },
        Figure {
            name: "hub-publish-durable",
            value: governed.0 / stored.0,
            unit: "x raw storing",
            target: Target::AtLeast(0.8),
            made_of: format!("{:.0} events/s governed, {:.0} raw; one publisher, without HTTP", governed.0, stored.0),
        },
    ])
}

/// What one more reader of an equal view costs, beside the first: of as many events as the cache of rendered batches
/// holds, as with readers who keep up.
fn reading(batches: &[Bytes]) -> Result<Figure> {
    let bench = Bench::new()?;
    for batch in batches.iter().chain(batches) {
        bench.publish(batch)?;
    }
    let measured = |caller: &Caller| -> Result<f64> {
        let cpu = cpu_seconds();
        let count = bench.read_all(caller)?;
        Ok((cpu_seconds() - cpu) * 1e9 / count.max(1) as f64)
    };
    let (first, others) = bench.partners.split_first().ok_or_else(|| broken("no partner"))?;
    let first = measured(first)?;
    let others = others.iter().map(measured).collect::<Result<Vec<f64>>>()?;
    let other = others.iter().sum::<f64>() / others.len().max(1) as f64;
    Ok(Figure {
        name: "hub-read-equal-view",
        value: other / first,
        unit: "x the first reader",
        target: Target::AtMost(0.1),
        made_of: format!("{other:.0} ns CPU per event, the first {first:.0} ns; reading and record included"),
    })
}

fn audit(effort: Effort) -> Result<Figure> {
    let dir = tempfile::tempdir().map_err(broken)?;
    let signer = Signer::new("bench.invalid/audit", SigningKey::generate()).ok_or_else(|| broken("no origin"))?;
    let (log, _) = AuditLog::open(dir.path(), signer, AtRest::new(&SecretBytes::random())).map_err(broken)?;
    let leaf = Leaf::new(Timestamp(1), "bench".parse().map_err(broken)?, Word::literal("read"), Outcome::Allowed);
    let leaves = vec![leaf; BATCH];
    let runtime = runtime()?;
    let (watch, mut count) = (Stopwatch::start(), 0.0);
    while watch.elapsed().as_secs_f64() < effort.seconds {
        let several = (0..4).map(|_| log.submit(&leaves)).collect::<Vec<_>>();
        for pending in several {
            runtime.block_on(pending.map_err(broken)?).map_err(broken)?;
            count += BATCH as f64;
        }
    }
    Ok(Figure {
        name: "hub-audit-leaves",
        value: count / watch.elapsed().as_secs_f64(),
        unit: "leaves/s",
        target: Target::AtLeast(100_000.0),
        made_of: "durable, 4 requests of 1,000 in flight".into(),
    })
}
