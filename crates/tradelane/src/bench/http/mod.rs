//! A hub over HTTP beside a server that does what a plain service does: the same connections, the same load, one after
//! the other in one run. Both speak plain HTTP on loopback, so that TLS is in neither side of a ratio.
//!
//! Processor time is the server's alone, as the system counts it for its process.

mod servers;
mod wire;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::json;
use tradelane_http::bench_peer;
use tradelane_model::Compression;
use tradelane_seal::bench_docs::{self, Size};

use self::servers::{Hub, PRODUCT, Server, Settings};
use self::wire::Wire;
use super::{Figure, Target, show};
use crate::failure::{Failure, Result};
use crate::out::Out;
use crate::stopwatch::Stopwatch;
use crate::wiring::runtime;

/// Events in one publish request.
const BATCH: usize = 1_000;
/// Readers of an equal view.
const READERS: usize = 100;
/// Readers of the first figures: each is measured with nothing rendered for it before.
const COLD_READERS: usize = 3;

/// Options of `bench http`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Seconds for each measurement of publishing
    #[arg(long, default_value_t = 6.0)]
    seconds: f64,
    /// Thousands of events that are read
    #[arg(long, default_value_t = 100)]
    batches: usize,
    /// Connections that publish
    #[arg(long, default_value_t = 4)]
    connections: usize,
    /// Run the servers on this core (needs taskset); run this program itself on another
    #[arg(long, value_name = "CORE")]
    core: Option<String>,
    /// Where the servers keep their files: a disk, or the figures of durable publishing mean nothing
    #[arg(long, value_name = "FOLDER")]
    folder: Option<std::path::PathBuf>,
    /// Run the hub in front of the cluster of Apache Kafka at this address, without TLS; it makes topics there
    #[arg(long, value_name = "HOST:PORT")]
    cluster: Option<String>,
    /// How the product's events are packed: none, event or dictionary
    #[arg(long, default_value = "none", value_parser = compression)]
    compression: Compression,
}

fn compression(text: &str) -> std::result::Result<Compression, serde_json::Error> {
    serde_json::from_value(json!(text))
}

fn broken(error: impl std::fmt::Display) -> Failure {
    Failure::failed(format!("the benchmark is broken: {error}"))
}

/// The plain server, until it is killed.
pub(super) fn peer(folder: &Path, out: Out) -> Result<()> {
    let shape = bench_docs::shape(0, false);
    let mask: bench_peer::Mask = Arc::new(move |line| bench_docs::peer_mask(line, &shape));
    let told = move |address| out.value(&json!({ "url": format!("http://{address}") }));
    runtime()?.block_on(bench_peer::serve(folder, mask, Box::new(told))).map_err(broken)
}

/// What a load amounted to.
#[derive(Debug, Clone, Copy)]
struct Load {
    events: f64,
    wall: f64,
    cpu: f64,
}

impl Load {
    /// Microseconds of the server's processor time per event.
    fn micros(self) -> f64 {
        self.cpu * 1e6 / self.events
    }

    fn per_second(self) -> f64 {
        self.events / self.wall
    }

    fn per_cpu_second(self) -> f64 {
        self.events / self.cpu
    }
}

pub(super) fn run(args: &Args, out: Out) -> Result<()> {
    let place = match &args.folder {
        Some(folder) => tempfile::tempdir_in(folder),
        None => tempfile::tempdir(),
    };
    let place = place.map_err(broken)?;
    let core = args.core.as_deref();
    let batches: Vec<Vec<u8>> = (0..16).map(batch).collect();
    let progress = out.progress(4, "measuring");
    let peer = Server::peer(&place.path().join("peer"), core)?;
    let start = |name: &str, readers, cache| {
        let settings =
            Settings { readers, cache, core, cluster: args.cluster.as_deref(), compression: args.compression };
        Hub::start(&place.path().join(name), settings)
    };
    let hub = start("publish", 0, 64)?;
    let mut figures = publishing(args, &batches, &hub, &peer)?;
    drop((hub, peer));
    progress.inc(1);

    // A cache that holds nothing: each reader's events are rendered for it.
    let hub = start("read", COLD_READERS, 1)?;
    fill(args.batches, &batches, &hub)?;
    progress.inc(1);
    let read = reading(args, &batches, &hub, &place.path().join("reading"))?;
    figures.push(read.figure);
    drop(hub);
    progress.inc(1);

    let hub = start("equal", READERS, 64)?;
    figures.push(equal_views(&batches, &hub, read.governed, read.raw)?);
    progress.finish_and_clear();
    show(&figures, out);
    Ok(())
}

fn batch(number: u64) -> Vec<u8> {
    let mut lines = Vec::with_capacity(BATCH * 1_100);
    for n in 0..BATCH as u64 {
        lines.extend_from_slice(&bench_docs::document(0, Size::Small, number * BATCH as u64 + n));
        lines.push(b'\n');
    }
    lines
}

fn events_path() -> String {
    format!("/v1/products/{PRODUCT}/events")
}

/// Posts batches over some connections for a while.
fn post(args: &Args, server: &Server, key: Option<&str>, path: &str, batches: &[Vec<u8>]) -> Result<Load> {
    let mut wires = (0..args.connections).map(|_| server.connect(key)).collect::<Result<Vec<Wire>>>()?;
    for wire in &mut wires {
        posted(wire, path, &batches[0])?;
    }
    let (stop, count) = (AtomicBool::new(false), AtomicU64::new(0));
    let (watch, before) = (Stopwatch::start(), server.cpu()?);
    std::thread::scope(|scope| {
        let work = |(first, mut wire): (usize, Wire)| {
            let (stop, count) = (&stop, &count);
            move || {
                for batch in batches.iter().cycle().skip(first) {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    posted(&mut wire, path, batch)?;
                    count.fetch_add(BATCH as u64, Ordering::Relaxed);
                }
                Ok(())
            }
        };
        let threads: Vec<_> = wires.into_iter().enumerate().map(|wire| scope.spawn(work(wire))).collect();
        std::thread::sleep(std::time::Duration::from_secs_f64(args.seconds));
        stop.store(true, Ordering::Relaxed);
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| broken("a connection's thread"))?)
    })?;
    let wall = watch.elapsed().as_secs_f64();
    Ok(Load { events: count.into_inner() as f64, wall, cpu: server.cpu()? - before })
}

fn posted(wire: &mut Wire, path: &str, batch: &[u8]) -> Result<()> {
    let answer = wire.ask("POST", path, "application/x-ndjson", batch)?;
    if answer.status < 300 { Ok(()) } else { Err(broken(String::from_utf8_lossy(wire.body()))) }
}

fn publishing(args: &Args, batches: &[Vec<u8>], hub: &Hub, peer: &Server) -> Result<Vec<Figure>> {
    let governed = post(args, &hub.server, Some(&hub.publisher), &events_path(), batches)?;
    let parsed = post(args, peer, None, "/parse", batches)?;
    let stored = post(args, peer, None, "/store", batches)?;
    Ok(vec![
        Figure {
            name: "http-publish-cpu",
            value: governed.micros() / parsed.micros(),
            unit: "x parsing alone",
            target: Target::AtMost(0.8),
            made_of: format!(
                "{:.2} us server CPU per event governed and durable, {:.2} us parsed by serde_json and forgotten, \
                 {:.2} us stored raw",
                governed.micros(),
                parsed.micros(),
                stored.micros()
            ),
        },
        Figure {
            name: "http-publish-durable",
            value: governed.per_second() / stored.per_second(),
            unit: "x raw storing",
            target: Target::AtLeast(0.8),
            made_of: format!(
                "{:.0} events/s governed, {:.0} raw, {:.0} parsed only; {} connections, batches of {BATCH}",
                governed.per_second(),
                stored.per_second(),
                parsed.per_second(),
                args.connections
            ),
        },
    ])
}

fn fill(count: usize, batches: &[Vec<u8>], hub: &Hub) -> Result<()> {
    let mut wire = hub.server.connect(Some(&hub.publisher))?;
    batches.iter().cycle().take(count).try_for_each(|batch| posted(&mut wire, &events_path(), batch))
}

/// Reads everything there is, page by page, over one connection.
fn read(server: &Server, key: Option<&str>, path: &str) -> Result<Load> {
    let mut wire = server.connect(key)?;
    let (watch, before, mut events, mut at) = (Stopwatch::start(), server.cpu()?, 0, 0);
    loop {
        let answer = wire.ask("GET", &format!("{path}?from={at}&limit=10000&max-bytes=4194304"), "", b"")?;
        if answer.status >= 300 {
            return Err(broken(String::from_utf8_lossy(wire.body())));
        }
        let next = answer.next.ok_or_else(|| broken("no next page"))?;
        events += lines(wire.body());
        if wire.body().is_empty() || next == at {
            break;
        }
        at = next;
    }
    let wall = watch.elapsed().as_secs_f64();
    Ok(Load { events: events as f64, wall, cpu: server.cpu()? - before })
}

fn lines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

/// Several readers, one after the other, as one load.
fn read_by(server: &Server, keys: &[String], path: &str) -> Result<Load> {
    let mut sum = Load { events: 0.0, wall: 0.0, cpu: 0.0 };
    for key in keys {
        let load = read(server, Some(key), path)?;
        sum = Load { events: sum.events + load.events, wall: sum.wall + load.wall, cpu: sum.cpu + load.cpu };
    }
    Ok(sum)
}

/// What reading cost.
struct ReadLoads {
    governed: Load,
    raw: Load,
    figure: Figure,
}

/// Reading a masked view beside sending raw, and beside the peer's way of masking.
fn reading(args: &Args, batches: &[Vec<u8>], hub: &Hub, folder: &Path) -> Result<ReadLoads> {
    let peer = Server::peer(folder, args.core.as_deref())?;
    let mut wire = peer.connect(None)?;
    batches.iter().cycle().take(args.batches).try_for_each(|batch| posted(&mut wire, "/store", batch))?;
    let governed = read_by(&hub.server, &hub.readers, &events_path())?;
    let nobody: Vec<String> = vec!["none".to_owned(); COLD_READERS];
    let raw = read_by(&peer, &nobody, "/raw")?;
    let dom = read(&peer, None, "/masked")?;
    let expected = (args.batches * BATCH) as f64;
    if dom.events != expected || raw.events != expected * COLD_READERS as f64 || governed.events != raw.events {
        return Err(broken("not every event was read"));
    }
    let figure = Figure {
        name: "http-read-masked",
        value: governed.per_cpu_second() / raw.per_cpu_second(),
        unit: "x sending raw",
        target: Target::AtLeast(0.85),
        made_of: format!(
            "events per second of server CPU: {:.0} rendered and on record, {:.0} raw, {:.0} ({:.3}x) through a DOM",
            governed.per_cpu_second(),
            raw.per_cpu_second(),
            dom.per_cpu_second(),
            dom.per_cpu_second() / raw.per_cpu_second()
        ),
    };
    Ok(ReadLoads { governed, raw, figure })
}

/// What further readers of an equal view cost above sending, beside the first. Of as many events as the cache of rendered
/// batches holds, as with readers who keep up. `first` is of readers for whom everything was rendered.
fn equal_views(batches: &[Vec<u8>], hub: &Hub, first: Load, raw: Load) -> Result<Figure> {
    fill(batches.len(), batches, hub)?;
    let (warming, others) = hub.readers.split_first().ok_or_else(|| broken("no readers"))?;
    read(&hub.server, Some(warming), &events_path())?;
    let others = read_by(&hub.server, others, &events_path())?;
    let above = |load: Load| load.micros() - raw.micros();
    Ok(Figure {
        name: "http-read-equal-view",
        value: above(others) / above(first),
        unit: "x the first reader, above sending",
        target: Target::AtMost(0.1),
        made_of: format!(
            "us of server CPU per event: {:.3} of a first reader, {:.3} of {} others, {:.3} to send it raw",
            first.micros(),
            others.micros(),
            READERS - 1,
            raw.micros()
        ),
    })
}
