//! Reading ahead: while a consumer works on one page of a long log, the next one is fetched, rendered and put on record, so
//! that it is there when it is asked for.
//!
//! Begun only after a page that was large, and only for exactly what the consumer will ask next if it goes on. A page that
//! waits here leaves only if the right to read it still stands and nobody was erased meanwhile. It is on record as handed
//! out, as is every page whose connection breaks before it arrives.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use kafka_protocol::messages::FetchRequest;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::Down;
use super::fetch::{Fetched, Fetching, Topic};

/// Pages from this size on say that there is more to come.
const LARGE: usize = 128 << 10;
/// A page that waited longer is fetched anew.
const FRESH: Duration = Duration::from_secs(5);
/// A consumer that asks for other things so often in a row is not read ahead for any more.
const MISSES: u32 = 3;

/// Where a batch says how many offsets it covers: four bytes, after its first offset, its length, its leader's epoch, its
/// magic, its checksum and its attributes.
const LAST_OFFSET_DELTA: usize = 23;

/// What is read ahead for one connection.
#[derive(Default)]
pub(super) struct ReadAhead(Mutex<State>);

#[derive(Default)]
struct State {
    page: Option<Page>,
    misses: u32,
}

/// Given up when it is dropped.
struct Page {
    expected: FetchRequest,
    begun: Instant,
    fetched: JoinHandle<Result<Fetched, Down>>,
}

impl ReadAhead {
    /// The page that is asked for, if it is the one that was read ahead and may still leave.
    pub(super) async fn take(&self, fetching: &Fetching, request: &FetchRequest) -> Option<Fetched> {
        let mut page = self.locked().page.take()?;
        let is_it = page.expected == *request;
        self.locked().misses = if is_it { 0 } else { self.locked().misses + 1 };
        if !is_it || page.begun.elapsed() > FRESH {
            // What may still wait in the broker must not be in the way of what is asked now.
            *fetching.way.fetching.lock().await = None;
            return None;
        }
        let fetched = (&mut page.fetched).await.ok()?.ok()?;
        fetched.topics.iter().all(|topic| may_leave(fetching, topic)).then_some(fetched)
    }

    /// Begins with the page after this one; `request` is what is asked for it, but for where to go on.
    pub(super) fn begin(&self, fetching: Fetching, request: impl FnOnce() -> Option<FetchRequest>, last: &Fetched) {
        if self.locked().misses >= MISSES || last.bytes() < LARGE {
            return;
        }
        let Some(next) = request().and_then(|request| after(request, last)) else { return };
        let expected = next.clone();
        let way = std::sync::Arc::clone(&fetching.way);
        let fetched = tokio::spawn(async move { fetching.fetch(next).await });
        way.ahead.locked().page = Some(Page { expected, begun: Instant::now(), fetched });
    }

    /// Whoever it was read for has gone, or comes with other rights.
    pub(super) fn give_up(&self) {
        self.locked().page = None;
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.fetched.abort();
    }
}

fn may_leave(fetching: &Fetching, topic: &Topic) -> bool {
    let Ok((_, reader)) = &topic.reader else { return false };
    topic.shown.iter().all(|shown| match &shown.page {
        Some(page) => matches!(fetching.shared.hub.may_leave(reader, page), Ok(true)),
        None => false,
    })
}

/// What a consumer asks that goes on where this page ends; none if anything on it was refused.
fn after(mut request: FetchRequest, last: &Fetched) -> Option<FetchRequest> {
    let shown = last.topics.iter().flat_map(|topic| {
        let named = &topic.named;
        topic.shown.iter().map(|shown| ((named.topic.clone(), named.topic_id, shown.index), shown))
    });
    // A session may look at them in another order next time.
    let shown: HashMap<_, _> = shown.collect();
    for asked in &mut request.topics {
        let (name, id) = (asked.topic.clone(), asked.topic_id);
        for partition in &mut asked.partitions {
            let shown = *shown.get(&(name.clone(), id, partition.partition))?;
            if !shown.is_well() {
                return None;
            }
            if let Some(batch) = shown.batches().last() {
                partition.fetch_offset = end_of(batch)?;
            }
        }
    }
    Some(request)
}

fn end_of(batch: &[u8]) -> Option<i64> {
    let base = i64::from_be_bytes(*batch.first_chunk()?);
    let delta = i32::from_be_bytes(*batch.get(LAST_OFFSET_DELTA..)?.first_chunk()?);
    base.checked_add(i64::from(delta))?.checked_add(1)
}
