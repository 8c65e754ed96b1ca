//! Publishing to a cluster: each batch once, however often a request is retried and on whichever node.
//!
//! The hub's state and a topic have no transaction in common, and neither have partitions of a topic. So a request with an
//! idempotency key first puts down under which numbers its batches, one for each partition, will go to the cluster, and then
//! sends them. Whoever comes with the same key and finds no answer there, because a node died in between, is still at it, or
//! could not store all of them, sends them again under the same numbers: the cluster itself tells those that it has. Numbers
//! whose batches are in doubt are used for nothing else ([`ClusterLog::settle`]), so each batch is always the last one under
//! them, which the cluster never forgets before the key expires.
//!
//! Of a request that fails, what is stored stays and is read. So it goes on record before the failure is told, whether or not
//! the request is ever sent again; and what is on record is kept, for whoever completes it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tradelane_model::{ProductId, Timestamp, codes};
use tradelane_records::patch;
use tradelane_storage::{Dedup, Put, StorageError, StreamId};

use super::{BatchNumbers, ClusterError, ClusterLog};
use crate::Hub;
use crate::error::{HubError, Result};
use crate::publish::proof::Proof;
use crate::publish::{SealedPart, Stored};

/// How often it is looked again what became of one that somebody else works on.
const LOOKS: usize = 3;

/// A request with an idempotency key, as it is kept: JSON (`docs/formats/control-store.md`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    /// Digest of what was sent.
    body: [u8; 32],
    /// Of the leaves that are on record; none, if there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    salt: Option<[u8; 32]>,
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
    /// Written when another part failed; none: nothing is known to say that the batch is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    leaf: Option<KeptLeaf>,
}

/// A leaf of a node's audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct KeptLeaf {
    log: String,
    number: u64,
}

impl KeptPart {
    fn stored(&self) -> Option<Stored> {
        let Self { partition, count, offset, .. } = *self;
        offset.map(|base_offset| Stored { partition, base_offset, count, duplicate: false, leaf: None })
    }
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
        let one =
            || serde_json::from_slice(kept).map(|One { body, part }| Self { body, salt: None, parts: vec![part] });
        let kept = serde_json::from_slice(kept).or_else(|_| one());
        kept.map_err(|_| HubError::of(codes::STORAGE_CORRUPT).because("the state of a request does not read"))
    }

    /// Where all of them are, if that is known.
    fn stored(&self) -> Option<Vec<Stored>> {
        self.parts.iter().map(KeptPart::stored).collect()
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
        proof: Option<&mut Proof>,
    ) -> Result<Vec<Stored>> {
        let partitions = self.partitions_of(product.as_str()).ok_or_else(HubError::not_found)?;
        let mut sending = Sending { hub: self, cluster, product, partitions, parts, proof };
        let Some(dedup) = dedup else {
            let mut kept = sending.begin([0; 32]).await?;
            if let Err(failed) = sending.send(&mut kept).await {
                return Err(sending.failed(failed, &mut kept, None).await);
            }
            return sending.settled(&kept);
        };
        for _ in 0..LOOKS {
            let found = self.inner().stores.state.cluster_publishing.get(&dedup.key, now).await?;
            let stored = match found {
                Some(entry) => {
                    let begun = Begun { dedup: &dedup, version: entry.version, now };
                    sending.again(begun, Kept::read(&entry.value)?).await?
                }
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
    /// For what is stored when a part fails; none, if there is one part.
    proof: Option<&'a mut Proof>,
}

/// At least one batch is not known to be stored.
struct Failed(ClusterError);

/// A request with an idempotency key as it was found, or put down.
#[derive(Clone, Copy)]
struct Begun<'a> {
    dedup: &'a Dedup,
    version: u64,
    now: Timestamp,
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
            KeptPart { partition, count, numbers, offset: None, leaf: None }
        };
        Ok(Kept { body, salt: None, parts: self.parts.iter().zip(numbers).map(part).collect() })
    }

    /// Sends the batches that are not known to be stored under their numbers, to the partitions for which these are, and
    /// notes where they are.
    async fn send(&mut self, kept: &mut Kept) -> Result<(), Failed> {
        let missing = self.parts.iter_mut().zip(&mut kept.parts).filter(|(_, kept)| kept.offset.is_none());
        let mut missing: Vec<_> = missing.collect();
        let mut batches = Vec::with_capacity(missing.len());
        for (part, KeptPart { partition, numbers, .. }) in &mut missing {
            let BatchNumbers { producer, epoch, sequence } = *numbers;
            patch::set_producer(&mut part.bytes, producer, epoch, sequence)
                .map_err(|error| Failed(ClusterError::Unavailable(error.to_string())))?;
            batches.push((Hub::stream(self.product, *partition), Bytes::from(std::mem::take(&mut part.bytes))));
        }
        let outcomes = self.cluster.append(self.partitions, batches.clone()).await;
        // They may have to go again, under other numbers.
        for ((part, _), (_, batch)) in missing.iter_mut().zip(batches) {
            part.bytes = batch.into();
        }
        let mut outcomes = outcomes.into_iter();
        let mut failed = None;
        for (_, part) in missing {
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
        let Put::Stored(version) = put else {
            self.settle(&kept, |_| 0);
            return Ok(None);
        };
        if let Err(failed) = self.send(&mut kept).await {
            let begun = Begun { dedup, version, now };
            return Err(self.failed(failed, &mut kept, Some(begun)).await);
        }
        self.done(dedup, &kept).await?;
        // Not before it is on record: until then somebody may have to ask the cluster about these numbers.
        self.settled(&kept).map(Some)
    }

    /// A request that was begun before: `None` if its state changed meanwhile.
    async fn again(&mut self, begun: Begun<'_>, mut kept: Kept) -> Result<Option<Vec<Stored>>> {
        let dedup = begun.dedup;
        if !tradelane_keys::constant_time_eq(&kept.body, &dedup.body) {
            return Err(StorageError::DedupConflict.into());
        }
        // What it says in the leaves that are there, it says in all.
        if let (Some(proof), Some(salt)) = (&mut self.proof, kept.salt) {
            proof.salt = salt;
        }
        if let Some(mut stored) = kept.stored() {
            stored.iter_mut().for_each(|stored| stored.duplicate = true);
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
                Ok(kept.stored().map(|stored| self.with_leaves(stored, &kept)))
            }
            // Whoever began it has come to an end, and gone on.
            Err(Failed(ClusterError::Numbers)) => Ok(None),
            Err(failed) => Err(self.failed(failed, &mut kept, Some(begun)).await),
        }
    }

    /// With the leaves that this node's own audit log has: a receipt is to be had where the answer is.
    fn with_leaves(&self, mut stored: Vec<Stored>, kept: &Kept) -> Vec<Stored> {
        for (stored, part) in stored.iter_mut().zip(&kept.parts) {
            stored.leaf = part.leaf.as_ref().filter(|leaf| leaf.log == self.log()).map(|leaf| leaf.number);
        }
        stored
    }

    /// What the publisher hears of a request that failed, once what is stored of it is on record and kept.
    async fn failed(&mut self, failed: Failed, kept: &mut Kept, begun: Option<Begun<'_>>) -> HubError {
        if kept.parts.iter().all(|part| part.offset.is_none()) {
            return failed.0.into();
        }
        let error = match self.put_on_record(kept).await {
            Ok(()) => HubError::from(failed.0),
            // Sent again it is put on record, so this is the error that has it sent again.
            Err(unrecorded) => unrecorded,
        };
        if let (Some(begun), Ok(value)) = (&begun, encoded(kept)) {
            let Begun { dedup, version, now } = *begun;
            let requests = &self.hub.inner().stores.state.cluster_publishing;
            // If it is not kept, or somebody else kept more, the retry puts on record once more what it finds.
            if let Err(error) = requests.swap(&dedup.key, version, value, dedup.expires, now).await {
                tracing::warn!(target: "tradelane::publish", %error, "what is stored of a request is not kept");
            }
        }
        told(error, kept, begun.is_some())
    }

    /// A leaf for each part that is stored and has none.
    async fn put_on_record(&self, kept: &mut Kept) -> Result<()> {
        let Some(proof) = &self.proof else { return Ok(()) };
        let new = kept.parts.iter().filter(|part| part.leaf.is_none());
        let stored: Vec<Stored> = new.filter_map(KeptPart::stored).collect();
        if stored.is_empty() {
            return Ok(());
        }
        let (_, recorded) = self.hub.record_parts(proof, stored).await?;
        kept.salt = Some(proof.salt);
        for part in &mut kept.parts {
            if let Some(recorded) = recorded.iter().find(|recorded| recorded.partition == part.partition) {
                part.leaf = Some(KeptLeaf { log: self.log().to_owned(), number: recorded.receipt });
            }
        }
        Ok(())
    }

    /// The name of this node's audit log.
    fn log(&self) -> &str {
        self.hub.inner().audit.verifier_key().name()
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
        kept.stored().ok_or_else(|| HubError::of(codes::INTERNAL))
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

/// What is stored of the request stays, which is not for its publisher to find out by itself.
fn told(mut error: HubError, kept: &Kept, has_key: bool) -> HubError {
    let stored = kept.parts.iter().filter(|part| part.offset.is_some());
    let partitions: Vec<String> = stored.map(|part| part.partition.to_string()).collect();
    let (of, partitions) = (kept.parts.len(), partitions.join(", "));
    let remedy = if has_key {
        "Sent again under the same key, the others get theirs, and these get nothing twice."
    } else {
        "It has no Idempotency-Key: sent again, these would get them twice."
    };
    let detail = &error.detail;
    error.detail =
        format!("{detail} Of the {of} partitions of the request these have their events: {partitions}. {remedy}");
    error
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
        let kept = Kept {
            body: [7; 32],
            salt: None,
            parts: vec![KeptPart { partition: 3, count: 2, numbers, offset: None, leaf: None }],
        };
        assert_eq!(Kept::read(old.as_bytes()).unwrap(), kept);
        assert_eq!(Kept::read(&encoded(&kept).unwrap()).unwrap(), kept);
        assert!(kept.stored().is_none());
        assert_eq!(Kept::read(b"{}").unwrap_err().code, codes::STORAGE_CORRUPT);
    }
}
