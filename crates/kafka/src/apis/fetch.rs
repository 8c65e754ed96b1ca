//! Fetch: records through the hub's one governed read.
//!
//! A fetch of a session is made whole first, and goes the way of every other: what a caller may see is decided anew each time. A
//! wait ends when there are records or when the right to read ends. Batches go to the socket as the hub has them.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use kafka_protocol::messages::FetchRequest;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use tokio::time::Instant;
use tradelane_hub::{Caller, FetchRecords, Hub, HubError, Reader, UnrecordedPage};
use tradelane_model::ProductId;
use uuid::Uuid;
use uuid::fmt::Hyphenated;

use crate::apis::fetched::{self, FetchedPartition, FetchedTopic};
use crate::apis::produce::offset;
use crate::apis::{Answer, Ask, Quiet};
use crate::codes;
use crate::quota::Of;
use crate::sessions::{NO_SESSION, Part};
use crate::shared::LEADER_EPOCH;
use crate::wire::schema::Malformed;

/// From this version on, topics are named by their ids (KIP-516).
const BY_ID: i16 = 13;
/// A leader epoch that is not known here.
const UNKNOWN_LEADER_EPOCH: i16 = 76;

/// A partition that is asked for, and what there is of it so far.
struct Asked {
    topic: usize,
    index: i32,
    product: Option<ProductId>,
    reader: Option<Reader>,
    next: u64,
    most: usize,
    /// It has more, for which there is no room in this answer.
    crowded: bool,
    error: i16,
    start: i64,
    end: i64,
    /// What is rendered for the answer.
    pages: Vec<UnrecordedPage>,
    /// What is on record, and may be sent.
    batches: Vec<Bytes>,
}

impl Asked {
    fn held(&self) -> usize {
        self.pages.iter().map(UnrecordedPage::bytes).sum()
    }
}

pub(crate) async fn answer(ask: &Ask<'_>, quiet: &mut Quiet) -> Result<Answer, Malformed> {
    let (request, part) = match begun(ask, ask.request.decode()?) {
        Ok(begun) => begun,
        Err(code) => {
            let rope = fetched::encode(ask.request, quiet.millis(), code, NO_SESSION, &[]);
            return Ok(Answer { rope: Some(rope), end: ask.ended });
        }
    };
    let mut asked = Vec::new();
    for (at, topic) in request.topics.iter().enumerate() {
        for partition in &topic.partitions {
            asked.push(begin(ask, at, topic, partition).await);
        }
    }
    gather(ask, &request, &mut asked).await;
    join_all(asked.iter_mut().map(|partition| release(ask, partition))).await;
    let bytes = asked.iter().flat_map(|partition| &partition.batches).map(Bytes::len).sum();
    ask.charge(Of::BytesOut, bytes, quiet);
    let ended = ask.ended || asked.iter().any(|partition| partition.error == codes::SASL_AUTHENTICATION_FAILED);
    let mut topics = told(&request, &asked);
    let session = ask.shared.sessions.finish(&part, &request, &mut topics, ask.shared.elapsed());
    let rope = fetched::encode(ask.request, quiet.millis(), codes::NONE, session, &topics);
    Ok(Answer { rope: Some(rope), end: ended })
}

/// The whole of what is asked, and what it is a part of; or Kafka's error code.
pub(crate) fn begun(ask: &Ask<'_>, request: FetchRequest) -> Result<(FetchRequest, Part), i16> {
    let by_id = ask.request.version >= BY_ID;
    ask.shared.sessions.begin(&ask.caller.principal().id, request, by_id, ask.shared.elapsed())
}

async fn begin(ask: &Ask<'_>, topic: usize, named: &FetchTopic, partition: &FetchPartition) -> Asked {
    let mut asked = Asked {
        topic,
        index: partition.partition,
        product: meant(&ask.shared.hub, ask.caller, ask.request.version, named),
        reader: None,
        next: 0,
        most: usize::try_from(partition.partition_max_bytes).unwrap_or(0),
        crowded: false,
        error: codes::NONE,
        start: -1,
        end: -1,
        pages: Vec::new(),
        batches: Vec::new(),
    };
    asked.error = match &asked.product {
        _ if ask.ended => codes::TOPIC_AUTHORIZATION_FAILED,
        Some(product) if partition.partition >= 0 => match ask.shared.hub.reader(ask.caller, product, None).await {
            Ok(reader) => {
                asked.reader = Some(reader);
                codes::NONE
            }
            Err(error) => named_as(ask.request.version, ask.refusal(product, &error)),
        },
        _ => named_as(ask.request.version, codes::UNKNOWN_TOPIC_OR_PARTITION),
    };
    if asked.error != codes::NONE {
        return asked;
    }
    match u64::try_from(partition.fetch_offset) {
        Ok(_) if partition.current_leader_epoch > LEADER_EPOCH => asked.error = UNKNOWN_LEADER_EPOCH,
        Ok(offset) => asked.next = offset,
        Err(_) => asked.error = codes::OFFSET_OUT_OF_RANGE,
    }
    asked
}

/// The product that is asked for, by name or by id. @platformatic/kafka (1.35) writes the text of a topic's id where version
/// 12 has the name; there is nothing else that it could mean.
pub(crate) fn meant(hub: &Hub, caller: &Caller, version: i16, topic: &FetchTopic) -> Option<ProductId> {
    if version >= BY_ID {
        return hub.product_with_id(caller, topic.topic_id.into_bytes());
    }
    let named = hub.product_named(caller, &topic.topic);
    let is_id = version == 12 && named.is_none() && topic.topic.len() == Hyphenated::LENGTH;
    let id = if is_id { Uuid::parse_str(&topic.topic).ok() } else { None };
    named.or_else(|| hub.product_with_id(caller, id?.into_bytes()))
}

/// An error in the words of that version.
pub(crate) fn named_as(version: i16, code: i16) -> i16 {
    if version >= BY_ID { codes::by_id(code) } else { code }
}

/// Takes what is there; waits if that is not enough, and takes again.
async fn gather(ask: &Ask<'_>, request: &FetchRequest, asked: &mut [Asked]) {
    let most = usize::try_from(request.max_bytes).unwrap_or(0).min(ask.shared.limits.fetch_bytes);
    let least = usize::try_from(request.min_bytes).unwrap_or(0).min(most);
    let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
    let deadline = Instant::now() + wait.min(ask.shared.limits.fetch_wait);
    let mut closing = ask.shared.closing.subscribe();
    let (mut bytes, mut woken_before) = (0, false);
    loop {
        let before = bytes;
        for partition in asked.iter_mut() {
            bytes += take(ask, partition, most, bytes).await;
        }
        if woken_before && bytes == before {
            // Woken for nothing: whatever the reason, it must not become a race.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let failed = asked.iter().any(|partition| partition.error != codes::NONE);
        let crowded = asked.iter().any(|partition| partition.crowded);
        if failed || crowded || bytes >= least.max(1) || asked.is_empty() && wait.is_zero() {
            return;
        }
        let mut waits = FuturesUnordered::new();
        for (at, partition) in asked.iter().enumerate() {
            if partition.held() < partition.most.max(1)
                && let Some(reader) = &partition.reader
            {
                waits.push(more(ask, at, reader, partition.index, partition.next).boxed());
            }
        }
        if waits.is_empty() && !asked.is_empty() {
            return;
        }
        woken_before = true;
        let woken = tokio::select! {
            woken = waits.next(), if !waits.is_empty() => woken,
            () = tokio::time::sleep_until(deadline) => return,
            _ = closing.wait_for(|closing| *closing) => return,
        };
        drop(waits);
        if let Some((at, Err(error))) = woken
            && let Some(partition) = asked.get_mut(at)
        {
            partition.error = stopped(&error);
            return;
        }
    }
}

/// Ends when the partition goes beyond `next`, or when the right to read it ends.
async fn more(ask: &Ask<'_>, at: usize, reader: &Reader, index: i32, next: u64) -> (usize, Result<(), HubError>) {
    let index = u32::try_from(index).unwrap_or(u32::MAX);
    (at, ask.shared.hub.wait_records(reader, index, next).await)
}

/// Takes what a partition has; returns how many bytes. The first batch of an answer comes whole.
async fn take(ask: &Ask<'_>, partition: &mut Asked, most: usize, so_far: usize) -> usize {
    let (Some(reader), codes::NONE) = (&partition.reader, partition.error) else { return 0 };
    let room = most.saturating_sub(so_far).min(partition.most.saturating_sub(partition.held()));
    if so_far > 0 && room == 0 {
        return 0;
    }
    let Ok(index) = u32::try_from(partition.index) else { return 0 };
    let fetch = FetchRecords { partition: index, offset: partition.next, max_bytes: room.max(1) };
    match ask.shared.hub.prepare_records(reader, fetch).await {
        Ok(page) => {
            let bounds = page.bounds();
            (partition.start, partition.end) = (offset(bounds.start), offset(bounds.end));
            let bytes = page.bytes();
            partition.crowded = so_far > 0 && bytes > room;
            if partition.crowded {
                return 0;
            }
            partition.next = page.next();
            if bytes > 0 {
                partition.pages.push(page);
            }
            bytes
        }
        Err(error) => {
            partition.error = stopped(&error);
            if partition.error == codes::OFFSET_OUT_OF_RANGE
                && let Ok(bounds) = ask.shared.hub.record_bounds(reader, index).await
            {
                (partition.start, partition.end) = (offset(bounds.start), offset(bounds.end));
            }
            0
        }
    }
}

/// Puts on record what a partition has for the answer; nothing else is sent. All partitions do so at once, so that their
/// leaves reach the disk together.
async fn release(ask: &Ask<'_>, partition: &mut Asked) {
    let pages = std::mem::take(&mut partition.pages);
    for released in join_all(pages.into_iter().map(|page| ask.shared.hub.release_records(page))).await {
        match released {
            Ok(page) if page.batches.is_empty() => return,
            Ok(page) => partition.batches.extend(page.batches),
            Err(error) => {
                partition.error = stopped(&error);
                return;
            }
        }
    }
}

/// Why a reader that there was may not go on.
fn stopped(error: &HubError) -> i16 {
    codes::of(error)
}

fn told<'a>(request: &'a FetchRequest, asked: &'a [Asked]) -> Vec<FetchedTopic<'a>> {
    // No transaction was ever aborted here.
    let aborted = (request.isolation_level == 1).then_some(&[][..]);
    let mut topics: Vec<FetchedTopic<'_>> = request.topics.iter().map(FetchedTopic::of).collect();
    for partition in asked {
        let fetched = FetchedPartition {
            index: partition.index,
            error: partition.error,
            high_watermark: partition.end,
            last_stable: partition.end,
            start: partition.start,
            aborted,
            preferred_replica: -1,
            batches: &partition.batches,
        };
        if let Some(topic) = topics.get_mut(partition.topic) {
            topic.partitions.push(fetched);
        }
    }
    topics
}
