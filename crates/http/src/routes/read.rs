//! Read: events out by cursor, with a long poll or as a stream of server-sent events.
//!
//! NDJSON is the cheap way: rendered chunks are shared between readers of equal views and go out as they are.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::stream;
use http::{Method, StatusCode};
use serde_json::json;
use tokio::sync::watch;
use tradelane_hub::{Audited, Chunk, From, Hub, HubError, Notice, Page, ReadLimits, Reader, Result};
use tradelane_model::codes;

use crate::api::{array, integer, operation, reference, text};
use crate::door::{Ask, Asked, Route, governed};
use crate::params::{LAST_PARTITION, Params, whole, wrong};
use crate::problem::{self, Dialect};
use crate::reply::{Pieces, Reply};
use crate::streams::Streaming;
use crate::{cloudevents, sse};

const NDJSON: &str = "application/x-ndjson";
const JSON: &str = "application/json";
const SSE: &str = "text/event-stream";
const CLOUD: &str = "application/cloudevents-batch+json";
/// The most that a cursor can be: what a JSON number holds without loss.
const MAX_OFFSET: u64 = 1 << 53;
const DEFAULT_EVENTS: u64 = 1_000;
const MIN_BYTES: u64 = 1_024;
/// The longest purpose that a grant can have, in characters.
const MAX_PURPOSE: usize = 200;
/// What a client of an event stream waits before it connects again, in milliseconds.
const RETRY_AFTER: u32 = 2_000;

pub(super) fn routes(routes: &mut Vec<Route>) {
    let cursor = json!({ "oneOf": [crate::api::words(&["earliest", "latest"]), integer(0, MAX_OFFSET)] });
    let described = operation("readEvents", "Events", "Read events as your grant shows them")
        .about(
            "Go on from `Tradelane-Next` (or `Link: rel=next`). With `wait`, an answer with nothing in it is held back until \
             there is something. As `text/event-stream` the answer does not end: each event's id is its offset, and a client \
             that connects again with `Last-Event-ID` misses nothing; an event named `revoked` ends it when the grant ends.",
        )
        .query("from", cursor, "Where to start; `earliest` unless said.")
        .query("limit", integer(1, 100_000), "At most so many events, up to the hub's own limit.")
        .query("max-bytes", integer(MIN_BYTES, 1 << 30), "About so many bytes, up to the hub's own limit.")
        .query("wait", integer(0, 60), "Seconds to wait for events, up to the hub's own limit.")
        .query("partition", integer(0, LAST_PARTITION.into()), "Which partition of the product; 0 unless said.")
        .query("purpose", json!({ "type": "string", "maxLength": 200 }), "Read under the grant for this purpose.")
        .header("Last-Event-ID", integer(0, MAX_OFFSET), "For event streams: the last event that was received.")
        .answer(200, "Events in the order of their offsets.", NDJSON, text())
        .answer(200, "", JSON, reference("EventPage"))
        .answer(200, "", SSE, text())
        .answer(200, "", CLOUD, array(json!({ "type": "object" })))
        .sends(200, "Tradelane-Next", integer(0, MAX_OFFSET), "The next request's `from`.")
        .sends(200, "Link", text(), "The next request; and where to read of the version's end, if it has one.")
        .sends(200, "Deprecation", text(), "Since when the version that you read is deprecated (RFC 9745).")
        .sends(200, "Sunset", text(), "Until when it is served (RFC 8594).")
        .refuses(410, "The offset is no longer kept.");
    routes.push(governed(Method::GET, "/v1/products/{product}/events", described, read));
}

/// What a reader asks for.
struct Wanted {
    from: From,
    limits: ReadLimits,
    purpose: Option<String>,
    partition: u32,
}

async fn read(ask: Ask) -> Result<Audited<Reply>> {
    let product = ask.product()?;
    let wanted = wanted(&ask)?;
    let media = ask.accepts(&[NDJSON, JSON, SSE, CLOUD])?;
    let resumed = resume(&ask)?;
    let reader = ask.hub().reader(&ask.caller, &product, wanted.purpose.as_deref()).await?;
    let reader = reader.at_partition(wanted.partition);
    if media == SSE {
        return follow(ask, reader, Wanted { from: resumed.unwrap_or(wanted.from), ..wanted }).await;
    }
    let closing = ask.shared.closing.subscribe();
    let page = read_or_close(ask.hub(), &reader, wanted.from, wanted.limits, closing).await?;
    let notice = ask.hub().notice_of(&reader);
    Ok(page.map(|page| {
        let (next, partition) = (page.next, wanted.partition);
        let reply = match media {
            JSON => Reply::of(StatusCode::OK, JSON, as_json(&page)),
            CLOUD => Reply::row(CLOUD, as_cloud_events(product.as_str(), partition, &page)),
            _ => Reply::row(NDJSON, page.chunks.iter().map(Chunk::lines).collect()),
        };
        let link = next_link(product.as_str(), partition, next, wanted.purpose.as_deref());
        let reply = reply.text_header("tradelane-next", &next.to_string());
        match notice {
            None => reply.text_header("link", &link),
            Some(Notice { pin, .. }) => reply
                .text_header("link", &format!("{link}, </v1/notices>; rel=\"deprecation\""))
                .text_header("deprecation", &format!("@{}", pin.since.seconds()))
                .text_header("sunset", &pin.until.http_date()),
        }
    }))
}

fn wanted(ask: &Ask) -> Result<Wanted> {
    let mut query: Params = ask.query()?;
    let limits = ask.limits();
    let from = match query.take("from")?.as_deref() {
        None | Some("earliest") => From::Earliest,
        Some("latest") => From::Latest,
        Some(text) => From::Offset(cursor(text).ok_or_else(|| wrong("from", "earliest, latest or an offset"))?),
    };
    // A number above what this hub gives is no mistake of the caller's: it gets what there is, and the cursor goes on.
    let max_events = query.number("limit", 1, 100_000)?.unwrap_or(DEFAULT_EVENTS).min(u64::from(limits.page_events));
    let max_bytes = query.number("max-bytes", MIN_BYTES, 1 << 30)?.unwrap_or(u64::MAX).min(limits.page_bytes as u64);
    let wait = Duration::from_secs(query.number("wait", 0, 60)?.unwrap_or(0)).min(limits.longest_wait);
    let partition = query.partition()?.unwrap_or(0);
    let purpose = query.take("purpose")?;
    if purpose.as_ref().is_some_and(|purpose| purpose.chars().count() > MAX_PURPOSE) {
        return Err(wrong("purpose", "at most 200 characters"));
    }
    query.finish()?;
    let max_events = u32::try_from(max_events).unwrap_or(limits.page_events);
    let max_bytes = usize::try_from(max_bytes).unwrap_or(limits.page_bytes);
    Ok(Wanted { from, limits: ReadLimits { max_events, max_bytes, wait }, purpose, partition })
}

fn cursor(text: &str) -> Option<u64> {
    whole(text).filter(|offset| *offset <= MAX_OFFSET)
}

/// One read. A wait ends early when the listener does.
async fn read_or_close(
    hub: &Hub,
    reader: &Reader,
    from: From,
    limits: ReadLimits,
    mut closing: watch::Receiver<bool>,
) -> Result<Audited<Page>> {
    if limits.wait.is_zero() {
        return hub.read(reader, from, limits).await;
    }
    let closed = async {
        // An error means that the listener is gone, which is as good as closed.
        let _ = closing.wait_for(|closing| *closing).await;
    };
    tokio::select! {
        biased;
        page = hub.read(reader, from, limits) => page,
        () = closed => hub.read(reader, from, ReadLimits { wait: Duration::ZERO, ..limits }).await,
    }
}

fn as_json(page: &Page) -> Vec<u8> {
    let size: usize = page.chunks.iter().map(|chunk| chunk.lines().len()).sum();
    let mut out = Vec::with_capacity(size + 64);
    out.extend_from_slice(b"{\"events\":[");
    for (i, event) in page.chunks.iter().flat_map(Chunk::iter).enumerate() {
        let comma = if i > 0 { "," } else { "" };
        out.extend_from_slice(
            format!("{comma}{{\"offset\":{},\"time\":\"{}\",\"event\":", event.offset, event.time).as_bytes(),
        );
        out.extend_from_slice(event.event);
        out.push(b'}');
    }
    out.extend_from_slice(format!("],\"next\":{},\"end\":{}}}", page.next, page.end).as_bytes());
    out
}

fn as_cloud_events(product: &str, partition: u32, page: &Page) -> Vec<Bytes> {
    let envelopes = page.chunks.iter().flat_map(Chunk::iter).map(|event| {
        let mut out = BytesMut::with_capacity(event.event.len() + 256);
        cloudevents::envelope(&mut out, product, (partition, event.offset), &event.time.to_string(), event.event);
        out.freeze()
    });
    cloudevents::batch(envelopes)
}

fn next_link(product: &str, partition: u32, next: u64, purpose: Option<&str>) -> String {
    let encoded =
        purpose.map(|p| percent_encoding::utf8_percent_encode(p, percent_encoding::NON_ALPHANUMERIC).to_string());
    let purpose = encoded.map(|p| format!("&purpose={p}")).unwrap_or_default();
    let partition = if partition > 0 { format!("&partition={partition}") } else { String::new() };
    format!("</v1/products/{product}/events?from={next}{partition}{purpose}>; rel=\"next\"")
}

/// The answer that does not end. Its first read is made before the answer begins, so that a refusal is one; every further
/// read is checked and recorded like any other.
async fn follow(ask: Ask, reader: Reader, wanted: Wanted) -> Result<Audited<Reply>> {
    let place = ask.shared.streams.admit(ask.caller.credential()).ok_or_else(|| {
        let detail = "This credential holds as many event streams as it may; close one first.";
        HubError::new(codes::RATE_LIMITED, detail).retry(5)
    })?;
    let limits = ReadLimits { wait: Duration::ZERO, ..wanted.limits };
    let first = ask.hub().read(&reader, wanted.from, limits).await?;
    let shared = std::sync::Arc::clone(&ask.shared);
    shared.metrics.event_streams.inc();
    let Asked { id, .. } = ask.request;
    Ok(first.map(|page| {
        let follow = Follow {
            next: page.next,
            limits: ReadLimits { wait: shared.limits.heartbeat, ..limits },
            closing: shared.closing.subscribe(),
            request_id: id.0.to_string(),
            hub: shared.hub.clone(),
            _counted: Counted { shared },
            reader,
            first: Some(page),
            ended: false,
            _place: place,
        };
        Reply::stream(SSE, follow.pieces()).text_header("x-accel-buffering", "no")
    }))
}

/// Where a stream that was cut off goes on.
fn resume(ask: &Ask) -> Result<Option<From>> {
    let Some(text) = ask.header("last-event-id")?.filter(|text| !text.is_empty()) else { return Ok(None) };
    let last = cursor(text).ok_or_else(|| wrong("Last-Event-ID", "the id of an event of this stream"))?;
    Ok(Some(From::Offset(last + 1)))
}

/// An open event stream.
struct Follow {
    hub: Hub,
    reader: Reader,
    next: u64,
    limits: ReadLimits,
    closing: watch::Receiver<bool>,
    request_id: String,
    first: Option<Page>,
    ended: bool,
    _counted: Counted,
    _place: Streaming,
}

struct Counted {
    shared: std::sync::Arc<crate::front::Shared>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.shared.metrics.event_streams.dec();
    }
}

impl Follow {
    fn pieces(self) -> Pieces {
        Box::pin(stream::unfold(self, |mut follow| async move {
            if follow.ended {
                return None;
            }
            let piece = follow.piece().await;
            Some((piece, follow))
        }))
    }

    async fn piece(&mut self) -> Bytes {
        if let Some(page) = self.first.take() {
            let mut out = BytesMut::from(&sse::retry(RETRY_AFTER)[..]);
            self.put(&mut out, &page);
            return out.freeze();
        }
        if *self.closing.borrow() {
            return self.end("closing", b"{}");
        }
        let read = read_or_close(&self.hub, &self.reader, From::Offset(self.next), self.limits, self.closing.clone());
        match read.await {
            Ok(page) => {
                let (page, _) = page.into_parts();
                let mut out = BytesMut::new();
                self.put(&mut out, &page);
                out.freeze()
            }
            Err(error) => {
                let status = problem::status_of(error.code, Dialect::Hub);
                let name = if matches!(status.as_u16(), 401 | 403 | 404) { "revoked" } else { "problem" };
                let body = problem::problem_body(&error, Dialect::Hub, status, &self.request_id);
                tracing::info!(
                    target: "tradelane::request", request_id = self.request_id, code = error.code.as_str(),
                    "an event stream ended"
                );
                self.end(name, &body)
            }
        }
    }

    fn end(&mut self, name: &str, data: &[u8]) -> Bytes {
        self.ended = true;
        let mut out = BytesMut::new();
        sse::event(&mut out, Some(name), None, data);
        out.freeze()
    }

    /// Events, or a sign of life. Events that the view's row filter left out still move the client's id on.
    fn put(&mut self, out: &mut BytesMut, page: &Page) {
        for event in page.chunks.iter().flat_map(Chunk::iter) {
            sse::event(out, None, Some(event.offset), event.event);
        }
        if page.count == 0 {
            match page.next.checked_sub(1).filter(|_| page.next > self.next) {
                Some(id) => out.put_slice(format!("id: {id}\n\n").as_bytes()),
                None => out.put_slice(&sse::heartbeat()),
            }
        }
        self.next = page.next;
    }
}
