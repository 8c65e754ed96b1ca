//! Numbers for batches: producer ids of the cluster's, each with at most one batch of a partition under way, so that the batch in
//! doubt is always the last one under its id there.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use kafka_protocol::messages::InitProducerIdRequest;
use tokio::time::Instant;
use tradelane_hub::BatchNumbers;
use tradelane_storage::StreamId;

use super::super::link::Down;
use super::Tried;
use super::ask::{Asking, locked};
use crate::codes;

const INIT_PRODUCER_ID: i16 = 4;
/// Ids that are kept for the next batch.
const KEPT: usize = 32;
/// Ids whose batches are under way or in doubt; one more than that is used once.
const TAKEN: usize = 10_000;
/// Partitions that one id is used for: the cluster remembers each.
const PARTITIONS: usize = 256;
/// An id that was not used for so long may be forgotten there (`producer.id.expiration.ms`: a day).
const FRESH: Duration = Duration::from_secs(3_600);

/// Ids of producers.
#[derive(Default)]
pub(super) struct Numbers {
    idle: Mutex<Vec<Producer>>,
    /// Those whose batches are under way, by id. One that is never settled is never used again.
    taken: Mutex<HashMap<i64, Producer>>,
}

struct Producer {
    id: i64,
    epoch: i16,
    /// By partition, the sequence number of the next record.
    next: HashMap<StreamId, i32>,
    used: Instant,
}

impl Numbers {
    /// Numbers for batches that are sent together, all of one producer.
    pub(super) async fn take(&self, streams: &[StreamId], asking: &Asking) -> Result<Tried<Vec<BatchNumbers>>, Down> {
        let kept = locked(&self.idle).pop();
        let fit = |producer: &Producer| {
            let new = streams.iter().filter(|stream| !producer.next.contains_key(*stream)).count();
            let has_room = new == 0 || producer.next.len() + new <= PARTITIONS;
            has_room && producer.used.elapsed() < FRESH
        };
        let producer = match kept.filter(fit) {
            Some(producer) => producer,
            None => match begin(asking).await? {
                Tried::Done(producer) => producer,
                Tried::Again(why) => return Ok(Tried::Again(why)),
            },
        };
        let numbers = |stream| BatchNumbers {
            producer: producer.id,
            epoch: producer.epoch,
            sequence: producer.next.get(stream).copied().unwrap_or(0),
        };
        let numbers = streams.iter().map(numbers).collect();
        self.keep(producer);
        Ok(Tried::Done(numbers))
    }

    /// What is in doubt is forgotten after a while: it is only kept to be settled.
    fn keep(&self, producer: Producer) {
        let mut taken = locked(&self.taken);
        if taken.len() >= TAKEN {
            taken.retain(|_, other| other.used.elapsed() < FRESH);
        }
        if taken.len() < TAKEN {
            taken.insert(producer.id, Producer { used: Instant::now(), ..producer });
        }
    }

    pub(super) fn settle(&self, batches: &[(StreamId, BatchNumbers, u32)]) {
        let Some((_, first, _)) = batches.first() else { return };
        let Some(mut producer) = locked(&self.taken).remove(&first.producer) else { return };
        for (stream, numbers, count) in batches {
            let next = numbers.sequence.wrapping_add_unsigned(*count) & i32::MAX;
            producer.next.insert(stream.clone(), next);
        }
        let mut idle = locked(&self.idle);
        if idle.len() < KEPT {
            idle.push(producer);
        }
    }
}

async fn begin(asking: &Asking) -> Result<Tried<Producer>, Down> {
    let request = InitProducerIdRequest::default().with_transactional_id(None).with_transaction_timeout_ms(60_000);
    let answer = asking.call_any(INIT_PRODUCER_ID, &request).await?;
    if answer.error_code != codes::NONE {
        return Ok(Tried::Again(format!("error {} for a producer's id", answer.error_code)));
    }
    let (id, epoch) = (answer.producer_id.0, answer.producer_epoch);
    Ok(Tried::Done(Producer { id, epoch, next: HashMap::new(), used: Instant::now() }))
}
