//! The server that benchmarks hold the hub against: it does what a plain service does with events, on the same HTTP stack
//! and nothing else. It checks no credentials and keeps no record; it is for loopback and for measuring.
//!
//! | request | work |
//! |---|---|
//! | `POST /parse` | each line of the body parsed with serde_json, and forgotten |
//! | `POST /store` | the body appended to a file; answered after `fdatasync`, many bodies in one |
//! | `GET /raw?from=N` | stored bodies from the N-th on as they lie in the file, up to `max-bytes` |
//! | `GET /masked?from=N` | the same, each line parsed to a DOM, masked and written out again |

use std::convert::Infallible;
use std::fs::File;
use std::hint::black_box;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::pin::Pin;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::config::ServerLimits;
use crate::params::Params;
use crate::serve::protocol;

/// Bodies that may wait for the disk.
const WAITING: usize = 1_024;
/// The most bytes of one answer.
const PAGE: u64 = 64 << 20;

/// Makes of an event what a reader may see; none if it is no JSON.
pub type Mask = Arc<dyn Fn(&[u8]) -> Option<Vec<u8>> + Send + Sync>;

/// Listens on a free port of loopback and serves for as long as the process runs.
///
/// # Errors
/// If the file in `directory` or the port cannot be had.
pub fn serve(directory: &Path, mask: Mask, told: Box<dyn FnOnce(SocketAddr) + Send>) -> Served<'_> {
    Box::pin(answer(directory, mask, told))
}

/// Boxed, so that the server is compiled here and not once more where it is started.
pub type Served<'a> = Pin<Box<dyn Future<Output = io::Result<()>> + Send + 'a>>;

async fn answer(directory: &Path, mask: Mask, told: Box<dyn FnOnce(SocketAddr) + Send>) -> io::Result<()> {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    let peer = Arc::new(Peer { store: Store::open(directory)?, mask });
    told(listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        let peer = Arc::clone(&peer);
        tokio::spawn(async move {
            // As the hub does.
            let _ = stream.set_nodelay(true);
            let service = service_fn(move |request| {
                let peer = Arc::clone(&peer);
                async move { Ok::<_, Infallible>(peer.answer(request).await) }
            });
            let _ = protocol(&ServerLimits::default()).serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

struct Peer {
    store: Store,
    mask: Mask,
}

impl Peer {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let work = match (request.method(), request.uri().path()) {
            (&Method::POST, "/parse") => {
                let Some(body) = read(request).await else { return status(StatusCode::PAYLOAD_TOO_LARGE) };
                parsed(body).await
            }
            (&Method::POST, "/store") => {
                let Some(body) = read(request).await else { return status(StatusCode::PAYLOAD_TOO_LARGE) };
                self.store.append(body).await
            }
            (&Method::GET, path @ ("/raw" | "/masked")) => {
                let masked = path == "/masked";
                let (from, most) = page(request.uri().query().unwrap_or_default());
                tokio::task::spawn_blocking(move || self.page(from, most, masked)).await.unwrap_or(None)
            }
            _ => return status(StatusCode::NOT_FOUND),
        };
        work.unwrap_or_else(|| status(StatusCode::INTERNAL_SERVER_ERROR))
    }

    fn page(&self, from: usize, most: u64, masked: bool) -> Option<Response<Full<Bytes>>> {
        let (bytes, next) = self.store.read(from, most)?;
        let body = if masked { self.masked(&bytes)? } else { bytes };
        let answer = Response::builder().header("content-type", "application/x-ndjson");
        answer.header("tradelane-next", next).body(Full::from(body)).ok()
    }

    fn masked(&self, lines: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(lines.len());
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            out.extend_from_slice(&(self.mask)(line)?);
            out.push(b'\n');
        }
        Some(out)
    }
}

async fn read(request: Request<Incoming>) -> Option<Bytes> {
    let most = ServerLimits::default().event_body;
    Limited::new(request.into_body(), most).collect().await.ok().map(http_body_util::Collected::to_bytes)
}

fn page(query: &str) -> (usize, u64) {
    let mut params = Params::parse(query).unwrap_or_default();
    let mut number = |name: &str| params.take(name).ok().flatten().and_then(|text| text.parse::<u64>().ok());
    let from = number("from").and_then(|from| usize::try_from(from).ok()).unwrap_or(0);
    (from, number("max-bytes").unwrap_or(8 << 20).min(PAGE))
}

/// Large bodies are worked on where they hold nobody up, as the hub does.
async fn parsed(body: Bytes) -> Option<Response<Full<Bytes>>> {
    let work = move || {
        let mut count = 0_u64;
        for line in body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            black_box(serde_json::from_slice::<serde_json::Value>(line).ok()?);
            count += 1;
        }
        Some(json(&format!("{{\"count\":{count}}}")))
    };
    tokio::task::spawn_blocking(work).await.ok().flatten()
}

fn json(text: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text.to_owned()));
    response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/json"));
    response
}

fn status(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

/// One file of bodies, one after the other.
struct Store {
    file: Arc<File>,
    /// Where each durable body ends.
    ends: Arc<RwLock<Vec<u64>>>,
    queue: SyncSender<(Bytes, oneshot::Sender<usize>)>,
}

impl Store {
    fn open(directory: &Path) -> io::Result<Self> {
        let path = directory.join("bodies");
        let file = File::options().create(true).truncate(true).read(true).write(true).open(path)?;
        let (file, ends) = (Arc::new(file), Arc::<RwLock<Vec<u64>>>::default());
        let (queue, jobs) = sync_channel(WAITING);
        let writer = Writer { file: Arc::clone(&file), ends: Arc::clone(&ends), end: 0 };
        std::thread::Builder::new().name("peer-writer".into()).spawn(move || writer.run(&jobs))?;
        Ok(Self { file, ends, queue })
    }

    async fn append(&self, body: Bytes) -> Option<Response<Full<Bytes>>> {
        let (done, stored) = oneshot::channel();
        self.queue.try_send((body, done)).ok()?;
        stored.await.ok().map(|at| json(&format!("{{\"offset\":{at}}}")))
    }

    fn read(&self, from: usize, most: u64) -> Option<(Vec<u8>, usize)> {
        let (start, end, next) = {
            let ends = self.ends.read().unwrap_or_else(PoisonError::into_inner);
            let start = from.checked_sub(1).map_or(Some(0), |before| ends.get(before).copied())?;
            let fitting = ends.get(from..)?.iter().take_while(|end| **end - start <= most).count();
            let next = (from + fitting.max(1)).min(ends.len());
            (start, next.checked_sub(1).and_then(|last| ends.get(last).copied()).unwrap_or(0).max(start), next)
        };
        let mut bytes = vec![0; usize::try_from(end - start).ok()?];
        self.file.read_exact_at(&mut bytes, start).ok()?;
        Some((bytes, next))
    }
}

struct Writer {
    file: Arc<File>,
    ends: Arc<RwLock<Vec<u64>>>,
    end: u64,
}

impl Writer {
    /// Whatever waits goes to the disk together. An error ends the thread, and with it every later request.
    fn run(mut self, jobs: &Receiver<(Bytes, oneshot::Sender<usize>)>) {
        while let Ok(first) = jobs.recv() {
            let group: Vec<_> = std::iter::once(first).chain(jobs.try_iter().take(63)).collect();
            let mut ends = Vec::with_capacity(group.len());
            for (body, _) in &group {
                if self.file.write_all_at(body, self.end).is_err() {
                    return;
                }
                self.end += body.len() as u64;
                ends.push(self.end);
            }
            if self.file.sync_data().is_err() {
                return;
            }
            let mut all = self.ends.write().unwrap_or_else(PoisonError::into_inner);
            let at = all.len();
            all.extend(ends);
            drop(all);
            for (n, (_, done)) in group.into_iter().enumerate() {
                // A client that went away needs no answer.
                let _ = done.send(at + n);
            }
        }
    }
}
