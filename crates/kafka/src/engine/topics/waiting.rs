//! Waiting for more, for any number of readers: while anybody waits, each broker is asked every so often how far the partitions
//! that it leads have come, all in one question. Nobody's wait holds a connection.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;
use tradelane_storage::StreamId;

use super::super::link::Down;
use super::ask::{Kind, locked};
use super::{LATEST, LIST_OFFSETS, Topics, index, offsets};
use crate::codes;

/// How often the brokers are asked.
const LOOK: Duration = Duration::from_millis(25);
/// Every so many times, who leads what is sought.
const SELDOM: u64 = 20;
/// Time for an answer: a broker that does not come to it holds up those who wait for others.
const PATIENCE: Duration = Duration::from_secs(2);

/// Partitions that somebody waits for, and how far they were when it was last looked.
#[derive(Default)]
pub(super) struct Waiting {
    ends: Mutex<HashMap<StreamId, watch::Sender<u64>>>,
    is_looking: AtomicBool,
}

impl Waiting {
    /// Until the partition's end is beyond the offset.
    pub(super) async fn wait(topics: &Arc<Topics>, stream: &StreamId, offset: u64) {
        let waiting = &topics.waiting;
        let mut end = {
            let mut ends = locked(&waiting.ends);
            ends.entry(stream.clone()).or_insert_with(|| watch::Sender::new(0)).subscribe()
        };
        if !waiting.is_looking.swap(true, Ordering::SeqCst) {
            tokio::spawn(look(Arc::downgrade(topics)));
        }
        // Its other half is there for as long as anybody waits.
        let _ = end.wait_for(|end| *end > offset).await;
    }

    /// What somebody still waits for.
    fn wanted(&self) -> Vec<StreamId> {
        let mut ends = locked(&self.ends);
        ends.retain(|_, end| end.receiver_count() > 0);
        ends.keys().cloned().collect()
    }

    fn tell(&self, stream: &StreamId, end: u64) {
        if let Some(known) = locked(&self.ends).get(stream) {
            known.send_if_modified(|known| std::mem::replace(known, end) != end);
        }
    }
}

/// Looks for as long as anybody waits.
async fn look(topics: Weak<Topics>) {
    for round in 0_u64.. {
        let Some(topics) = topics.upgrade() else { return };
        let wanted = topics.waiting.wanted();
        if wanted.is_empty() {
            topics.waiting.is_looking.store(false, Ordering::SeqCst);
            // Somebody may have come in between, and have seen that it was being looked.
            if topics.waiting.wanted().is_empty() || topics.waiting.is_looking.swap(true, Ordering::SeqCst) {
                return;
            }
            continue;
        }
        look_once(&topics, wanted, round.is_multiple_of(SELDOM)).await;
        drop(topics);
        tokio::time::sleep(LOOK).await;
    }
}

/// What is not known to be led by anybody, because its topic is not there or its broker is not, is sought only now and then.
async fn look_once(topics: &Topics, wanted: Vec<StreamId>, is_sought: bool) {
    let mut by_leader: HashMap<i32, HashMap<Arc<str>, Vec<StreamId>>> = HashMap::new();
    for stream in wanted {
        let leader = match topics.asking.known_leader(&stream) {
            None if is_sought => topics.asking.leader(&stream).await.ok().flatten(),
            known => known,
        };
        if let Some(leader) = leader {
            let led = by_leader.entry(leader).or_default();
            led.entry(Arc::clone(&stream.product)).or_default().push(stream);
        }
    }
    let looks = by_leader.into_iter().map(|(leader, led)| async move {
        let looked = timeout(PATIENCE, look_at(topics, leader, &led)).await.unwrap_or(Err(Down::Slow));
        if let Err(error) = looked {
            tracing::debug!(target: "tradelane::kafka", leader, %error, "the ends of partitions cannot be asked for");
            led.values().flatten().for_each(|stream| topics.asking.forget(stream));
        }
    });
    futures_util::future::join_all(looks).await;
}

async fn look_at(topics: &Topics, leader: i32, led: &HashMap<Arc<str>, Vec<StreamId>>) -> Result<(), Down> {
    let mut asked = Vec::with_capacity(led.len());
    for streams in led.values() {
        let partitions: Result<Vec<_>, _> = streams.iter().map(index).collect();
        if let Some(first) = streams.first() {
            asked.push((topics.asking.topic(first), partitions?));
        }
    }
    let answer = topics.asking.call(leader, Kind::Look, LIST_OFFSETS, &offsets(asked, LATEST)).await?;
    for stream in led.values().flatten() {
        let name = topics.asking.topic(stream);
        let mut parts = answer.topics.iter().filter(|topic| topic.name == name).flat_map(|topic| &topic.partitions);
        let found = parts.find(|found| u32::try_from(found.partition_index) == Ok(stream.partition));
        match found {
            Some(found) if found.error_code == codes::NONE => {
                topics.waiting.tell(stream, u64::try_from(found.offset).unwrap_or(0));
            }
            _ => topics.asking.forget(stream),
        }
    }
    Ok(())
}
