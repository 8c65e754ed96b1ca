//! Sequences of idempotent producers: that nothing between two batches is missing.
//!
//! Kept in memory and bounded. A producer that is not known may begin anywhere, as in Kafka; that a batch came before is
//! the hub's to know, durably. It does not know who may publish.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use quick_cache::sync::Cache;
use tradelane_model::{PrincipalId, ProductId};

use crate::codes::{INVALID_PRODUCER_EPOCH, OUT_OF_ORDER_SEQUENCE_NUMBER};

/// Whose sequence.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    principal: PrincipalId,
    producer: i64,
    product: ProductId,
    partition: u32,
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    epoch: i16,
    next: i32,
}

/// The producer's fields of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sequence {
    producer: i64,
    epoch: i16,
    first: i32,
    count: i32,
}

impl Sequence {
    /// Of a record batch (magic 2); none if its producer is not idempotent. The batch is checked elsewhere.
    pub(crate) fn of(batch: &Bytes) -> Option<Self> {
        let producer = i64::from_be_bytes(*batch.get(43..)?.first_chunk()?);
        let epoch = i16::from_be_bytes(*batch.get(51..)?.first_chunk()?);
        let first = i32::from_be_bytes(*batch.get(53..)?.first_chunk()?);
        let count = i32::from_be_bytes(*batch.get(57..)?.first_chunk()?);
        (producer >= 0 && epoch >= 0 && first >= 0 && count > 0).then_some(Self { producer, epoch, first, count })
    }

    /// The number after its last record; after the highest comes 0.
    fn end(&self) -> i32 {
        self.first.wrapping_add(self.count) & i32::MAX
    }
}

/// All sequences that are remembered.
pub(crate) struct Producers {
    states: Cache<Key, State>,
    /// Two batches of one producer are not taken in at once.
    writing: Mutex<()>,
}

/// A batch that is in sequence; its end is remembered when it is done.
pub(crate) struct InSequence<'a> {
    producers: &'a Producers,
    key: Key,
    after: State,
}

impl Producers {
    pub(crate) fn new(most: usize) -> Self {
        Self { states: Cache::new(most), writing: Mutex::new(()) }
    }

    /// Is the batch the next, or one that was there before? Otherwise Kafka's error code.
    pub(crate) fn check(
        &self,
        principal: &PrincipalId,
        product: &ProductId,
        partition: u32,
        sequence: Sequence,
    ) -> Result<InSequence<'_>, i16> {
        let key =
            Key { principal: principal.clone(), producer: sequence.producer, product: product.clone(), partition };
        let state = self.states.get(&key);
        if let Some(state) = state {
            if sequence.epoch < state.epoch {
                return Err(INVALID_PRODUCER_EPOCH);
            }
            let is_new_epoch = sequence.epoch > state.epoch;
            let expected = if is_new_epoch { 0 } else { state.next };
            let distance = sequence.first.wrapping_sub(expected) & i32::MAX;
            // Behind is what is less than half the circle away; that is a retry, and the hub knows what became of it.
            let is_behind = !is_new_epoch && distance > i32::MAX / 2;
            if distance != 0 && !is_behind {
                return Err(OUT_OF_ORDER_SEQUENCE_NUMBER);
            }
            if is_behind {
                return Ok(InSequence { producers: self, key, after: state });
            }
        }
        let after = State { epoch: sequence.epoch, next: sequence.end() };
        Ok(InSequence { producers: self, key, after })
    }
}

impl InSequence<'_> {
    /// The batch was stored, or refused for what it holds: the next one follows it.
    pub(crate) fn done(self) {
        let _writing = self.producers.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let older = self.producers.states.get(&self.key).is_some_and(|now| now.epoch > self.after.epoch);
        if !older {
            self.producers.states.insert(self.key, self.after);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequence(epoch: i16, first: i32, count: i32) -> Sequence {
        Sequence { producer: 7, epoch, first, count }
    }

    #[test]
    fn a_gap_is_refused_a_retry_passes_and_an_unknown_producer_begins_anywhere() {
        let producers = Producers::new(100);
        let (principal, product) = ("p".parse().unwrap(), "shipments".parse().unwrap());
        let check = |partition, s| producers.check(&principal, &product, partition, s);
        check(0, sequence(0, 40, 10)).ok().unwrap().done();
        assert_eq!(check(0, sequence(0, 51, 1)).err(), Some(OUT_OF_ORDER_SEQUENCE_NUMBER));
        check(0, sequence(0, 40, 10)).ok().unwrap().done();
        check(0, sequence(0, 50, 5)).ok().unwrap().done();
        assert!(check(1, sequence(0, 900, 1)).is_ok(), "another partition is another sequence");
        assert!(check(0, sequence(1, 0, 1)).is_ok());
        assert_eq!(check(0, sequence(1, 3, 1)).err(), Some(OUT_OF_ORDER_SEQUENCE_NUMBER));
        check(0, sequence(1, 0, 1)).ok().unwrap().done();
        assert_eq!(check(0, sequence(0, 55, 1)).err(), Some(INVALID_PRODUCER_EPOCH));
    }

    #[test]
    fn sequences_go_round() {
        let producers = Producers::new(100);
        let (principal, product) = ("p".parse().unwrap(), "shipments".parse().unwrap());
        producers.check(&principal, &product, 0, sequence(0, i32::MAX - 1, 3)).ok().unwrap().done();
        assert!(producers.check(&principal, &product, 0, sequence(0, 1, 3)).is_ok());
        assert!(producers.check(&principal, &product, 0, sequence(0, 2, 3)).is_err());
    }
}
