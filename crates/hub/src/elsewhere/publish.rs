//! Publishing to a cluster: each batch once, however often a request is retried and on whichever node.
//!
//! The hub's state and a topic have no transaction in common, and neither have partitions of a topic. So a request with an
//! idempotency key first puts down under which numbers its batches, one for each partition, will go to the cluster, and then
//! sends them. Whoever comes with the same key and finds no answer there, because a node died in between, is still at it, or
//! could not store all of them, sends them again under the same numbers: the cluster itself tells those that it has. Numbers
//! whose batches are in doubt are used for nothing else ([`ClusterLog::settle`]), so each batch is always the last one under
//! them, which the cluster never forgets before the key expires.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tradelane_model::{ProductId, Timestamp, codes};
use tradelane_records::patch;
use tradelane_storage::{Dedup, Put, StorageError, StreamId};

use super::{BatchNumbers, ClusterError, ClusterLog};
use crate::Hub;
use crate::error::{HubError, Result};
use crate::publish::{SealedPart, Stored};

/// How often it is looked again what became of one that somebody else works on.
const LOOKS: usize = 3;

/// A request with an idempotency key, as it is kept: JSON (`docs/formats/control-store.md`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    /// Digest of what was sent.
    body: [u8; 32],
    parts: Vec<KeptPart>,
}

/// A batch of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct KeptPart {
    partition: u32,
    /// Records of the batch.
    count: u32,
    numbers: BatchNumbers,
    /// Where the batch is; none: not known to be stored.
    offset: Option<u64>,
}

impl Kept {
    fn read(kept: &[u8]) -> Result<Self> {
        /// As it was kept while there was one batch.
        #[derive(Deserialize)]
        struct One {
            body: [u8; 32],
            #[serde(flatten)]
            part: KeptPart,
        }
        let one = || serde_json::from_slice(kept).map(|One { body, part }| Self { body, parts: vec![part] });
        let kept = serde_json::from_slice(kept).or_else(|_| one());
        kept.map_err(|_| HubError::of(codes::STORAGE_CORRUPT).because("the state of a request does not read"))
    }

    /// Where all of them are, if that is known.
    fn stored(&self, duplicate: bool) -> Option<Vec<Stored>> {
        let stored = |part: &KeptPart| {
            let KeptPart { partition, count, .. } = *part;
            part.offset.map(|base_offset| Stored { partition, base_offset, count, duplicate })
        };
        self.parts.iter().map(stored).collect()
    }
}

impl Hub {
    /// Stores sealed batches in the cluster, each in a partition of its own.
    pub(crate) async fn append_elsewhere(
        &self,
        cluster: &dyn ClusterLog,
        product: &ProductId,
        parts: Vec<SealedPart>,
        dedup: Option<Dedup>,
        now: Timestamp,
    ) -> Result<Vec<Stored>> {
        let partitions = self.partitions_of(product.as_str()).ok_or_else(HubError::not_found)?;
        let mut sending = Sending { hub: self, cluster, product, partitions, parts };
        let Some(dedup) = dedup else {
            let mut kept = sending.begin([0; 32]).await?;
            if let Err(failed) = sending.send(&mut kept).await {
                return Err(failed.told(&kept, false));
            }
            return sending.settled(&kept);
        };
        for _ in 0..LOOKS {
            let found = self.inner().stores.state.cluster_publishing.get(&dedup.key, now).await?;
            let stored = match found {
                Some(entry) => sending.again(&dedup, Kept::read(&entry.value)?).await?,
                None => sending.first(&dedup, now).await?,
            };
            if let Some(stored) = stored {
                return Ok(stored);
            }
        }
        Err(HubError::of(codes::IN_FLIGHT).retry(1))
    }
}

/// Batches on their way.
struct Sending<'a> {
    hub: &'a Hub,
    cluster: &'a dyn ClusterLog,
    product: &'a ProductId,
    /// Of the product.
    partitions: u32,
    parts: Vec<SealedPart>,
}

/// At least one batch is not known to be stored.
struct Failed(ClusterError);

impl Failed {
    /// What the publisher hears. What is stored of the request stays, which is not for it to find out by itself.
    fn told(self, kept: &Kept, has_key: bool) -> HubError {
        let mut error = HubError::from(self.0);
        let stored: Vec<_> = kept.parts.iter().filter(|part| part.offset.is_some()).collect();
        if !stored.is_empty() {
            let partitions: Vec<String> = stored.iter().map(|part| part.partition.to_string()).collect();
            let (of, partitions) = (kept.parts.len(), partitions.join(", "));
            let remedy = if has_key {
                "Sent again under the same key, the others get theirs, and these get nothing twice."
            } else {
                "It has no Idempotency-Key: sent again, these would get them twice."
            };
            error.detail = format!(
                "{} Of the {of} partitions of the request these have their events: {partitions}. {remedy}",
                error.detail
            );
        }
        error
    }
}

impl Sending<'_> {
    fn stream(&self, partition: u32) -> StreamId {
        Hub::stream(self.product, partition)
    }

    /// Numbers for all batches, none of which is stored.
    async fn begin(&self, body: [u8; 32]) -> Result<Kept> {
        let streams: Vec<StreamId> = self.parts.iter().map(|part| self.stream(part.partition)).collect();
        let numbers = self.cluster.number(&streams).await?;
        if numbers.len() != streams.len() {
            return Err(HubError::of(codes::INTERNAL).because("not a number for each batch"));
        }
        let part = |(part, numbers): (&SealedPart, _)| {
            let SealedPart { partition, count, .. } = *part;
            KeptPart { partition, count, numbers, offset: None }
        };
        Ok(Kept { body, parts: self.parts.iter().zip(numbers).map(part).collect() })
    }

    /// Sends the batches under their numbers, to the partitions for which these are, and notes where they are.
    async fn send(&mut self, kept: &mut Kept) -> Result<(), Failed> {
        let mut batches = Vec::with_capacity(kept.parts.len());
        for (part, KeptPart { partition, numbers, .. }) in self.parts.iter_mut().zip(&kept.parts) {
            let BatchNumbers { producer, epoch, sequence } = *numbers;
            patch::set_producer(&mut part.bytes, producer, epoch, sequence)
                .map_err(|error| Failed(ClusterError::Unavailable(error.to_string())))?;
            batches.push((Hub::stream(self.product, *partition), Bytes::from(std::mem::take(&mut part.bytes))));
        }
        let outcomes = self.cluster.append(self.partitions, batches.clone()).await;
        // They may have to go again, under other numbers.
        for (part, (_, batch)) in self.parts.iter_mut().zip(batches) {
            part.bytes = batch.into();
        }
        let mut outcomes = outcomes.into_iter();
        let mut failed = None;
        for part in &mut kept.parts {
            match outcomes.next().unwrap_or_else(|| Err(ClusterError::Unavailable("nothing of a batch".to_owned()))) {
                Ok(offset) => part.offset = Some(offset),
                // What will not be otherwise next time is worth more to who hears it.
                Err(error) if error.is_final() || failed.is_none() => failed = Some(Failed(error)),
                Err(_) => {}
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// A request that nobody has begun: `None` if somebody has by now.
    async fn first(&mut self, dedup: &Dedup, now: Timestamp) -> Result<Option<Vec<Stored>>> {
        let mut kept = self.begin(dedup.body).await?;
        let requests = &self.hub.inner().stores.state.cluster_publishing;
        let put = requests.put_if_absent(&dedup.key, encoded(&kept)?, dedup.expires, now).await?;
        if let Put::Exists(_) = put {
            self.settle(&kept, |_| 0);
            return Ok(None);
        }
        if let Err(failed) = self.send(&mut kept).await {
            return Err(failed.told(&kept, true));
        }
        self.done(dedup, &kept).await?;
        // Not before it is on record: until then somebody may have to ask the cluster about these numbers.
        self.settled(&kept).map(Some)
    }

    /// A request that was begun before: `None` if its state changed meanwhile.
    async fn again(&mut self, dedup: &Dedup, mut kept: Kept) -> Result<Option<Vec<Stored>>> {
        if !tradelane_keys::constant_time_eq(&kept.body, &dedup.body) {
            return Err(StorageError::DedupConflict.into());
        }
        if let Some(stored) = kept.stored(true) {
            return Ok(Some(stored));
        }
        if !self.is_split_like(&kept) {
            let detail = "This request was begun before and did not come to an answer, and by now the contract takes other \
                          events of it, or they would go to other partitions: look whether they are there before you send \
                          them under another key.";
            return Err(HubError::new(codes::CONFLICT, detail));
        }
        match self.send(&mut kept).await {
            Ok(()) => {
                self.done(dedup, &kept).await?;
                // Nobody had an answer yet, so this is none that is given again.
                Ok(kept.stored(false))
            }
            // Whoever began it has come to an end, and gone on.
            Err(Failed(ClusterError::Numbers)) => Ok(None),
            Err(failed) => Err(failed.told(&kept, true)),
        }
    }

    /// Are these the batches for which the numbers are? One batch goes where it went, whichever partition it would now.
    fn is_split_like(&self, kept: &Kept) -> bool {
        let is_one = self.parts.len() == 1;
        let same = |(part, kept): (&SealedPart, &KeptPart)| {
            part.count == kept.count && (is_one || part.partition == kept.partition)
        };
        self.parts.len() == kept.parts.len() && self.parts.iter().zip(&kept.parts).all(same)
    }

    fn settled(&self, kept: &Kept) -> Result<Vec<Stored>> {
        self.settle(kept, |part| part.count);
        kept.stored(false).ok_or_else(|| HubError::of(codes::INTERNAL))
    }

    fn settle(&self, kept: &Kept, count: impl Fn(&KeptPart) -> u32) {
        let batches: Vec<_> =
            kept.parts.iter().map(|part| (self.stream(part.partition), part.numbers, count(part))).collect();
        self.cluster.settle(&batches);
    }

    async fn done(&self, dedup: &Dedup, kept: &Kept) -> Result<()> {
        let requests = &self.hub.inner().stores.state.cluster_publishing;
        requests.put(&dedup.key, encoded(kept)?, dedup.expires).await
    }
}

fn encoded(kept: &Kept) -> Result<Bytes> {
    let text = serde_json::to_vec(kept).map_err(|error| HubError::of(codes::INTERNAL).because(error))?;
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_was_kept_while_it_was_one_batch_reads() {
        let body = serde_json::to_string(&[7u8; 32]).unwrap();
        let numbers = r#"{"producer":4000,"epoch":0,"sequence":12}"#;
        let old = format!(r#"{{"body":{body},"partition":3,"count":2,"numbers":{numbers},"offset":null}}"#);
        let numbers = BatchNumbers { producer: 4_000, epoch: 0, sequence: 12 };
        let kept = Kept { body: [7; 32], parts: vec![KeptPart { partition: 3, count: 2, numbers, offset: None }] };
        assert_eq!(Kept::read(old.as_bytes()).unwrap(), kept);
        assert_eq!(Kept::read(&encoded(&kept).unwrap()).unwrap(), kept);
        assert!(kept.stored(true).is_none());
        assert_eq!(Kept::read(b"{}").unwrap_err().code, codes::STORAGE_CORRUPT);
    }
}
