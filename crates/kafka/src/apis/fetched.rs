//! The answer to a fetch, written by hand: batches go to the socket as they are, without being copied. Whoever keeps the
//! records, it is the same.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::fetch_request::FetchTopic;
use kafka_protocol::messages::fetch_response::AbortedTransaction;
use uuid::Uuid;

use crate::wire::{Request, Rope};

/// A partition without records takes about this much room.
const PARTITION_HEAD: usize = 64;

/// A topic of the answer.
pub(crate) struct FetchedTopic<'a> {
    /// Under which it was asked for: before version 13.
    pub(crate) name: &'a str,
    /// From version 13 on.
    pub(crate) id: Uuid,
    pub(crate) partitions: Vec<FetchedPartition<'a>>,
}

impl<'a> FetchedTopic<'a> {
    /// As it was asked for, with nothing yet.
    pub(crate) fn of(topic: &'a FetchTopic) -> Self {
        Self { name: &topic.topic, id: topic.topic_id, partitions: Vec::new() }
    }
}

/// What there is of a partition; offsets that are not known are -1.
pub(crate) struct FetchedPartition<'a> {
    pub(crate) index: i32,
    /// Kafka's error code.
    pub(crate) error: i16,
    pub(crate) high_watermark: i64,
    pub(crate) last_stable: i64,
    pub(crate) start: i64,
    /// None for who reads what is not committed too.
    pub(crate) aborted: Option<&'a [AbortedTransaction]>,
    /// -1: none.
    pub(crate) preferred_replica: i32,
    pub(crate) batches: &'a [Bytes],
}

/// FetchResponse, versions 4 to 17, of a session or of none. `code` is an error of the whole.
pub(crate) fn encode(
    request: &Request,
    throttle_ms: i32,
    code: i16,
    session: i32,
    topics: &[FetchedTopic<'_>],
) -> Rope {
    let version = request.version;
    let flexible = request.api.schema.is_flexible(version);
    let partitions: usize = topics.iter().map(|topic| topic.partitions.len()).sum();
    request.reply_with(partitions * PARTITION_HEAD + 64, |head| {
        let mut out = Pieces { rope: Rope::default(), now: std::mem::take(head), flexible };
        out.now.put_i32(throttle_ms);
        if version >= 7 {
            out.now.put_i16(code);
            out.now.put_i32(session);
        }
        out.count(topics.len());
        for topic in topics {
            match version {
                13.. => out.now.put_slice(topic.id.as_bytes()),
                _ => out.name(topic.name),
            }
            out.count(topic.partitions.len());
            topic.partitions.iter().for_each(|partition| out.partition(version, partition));
            out.tags();
        }
        out.tags();
        out.finish(head)
    })
}

/// Bytes that are written, and bytes that only pass.
struct Pieces {
    rope: Rope,
    now: BytesMut,
    flexible: bool,
}

impl Pieces {
    fn varint(&mut self, mut value: usize) {
        while value >= 0x80 {
            self.now.put_u8((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.now.put_u8(value as u8);
    }

    fn count(&mut self, count: usize) {
        match self.flexible {
            true => self.varint(count + 1),
            false => self.now.put_u32(u32::try_from(count).unwrap_or(0)),
        }
    }

    fn no_array(&mut self) {
        match self.flexible {
            true => self.now.put_u8(0),
            false => self.now.put_i32(-1),
        }
    }

    fn name(&mut self, name: &str) {
        match self.flexible {
            true => self.varint(name.len() + 1),
            false => self.now.put_u16(u16::try_from(name.len()).unwrap_or(0)),
        }
        self.now.put_slice(name.as_bytes());
    }

    fn records(&mut self, batches: &[Bytes]) {
        self.count(batches.iter().map(Bytes::len).sum());
        if batches.is_empty() {
            return;
        }
        self.rope.push(self.now.split().freeze());
        batches.iter().for_each(|batch| self.rope.push(batch.clone()));
    }

    fn partition(&mut self, version: i16, partition: &FetchedPartition<'_>) {
        self.now.put_i32(partition.index);
        self.now.put_i16(partition.error);
        self.now.put_i64(partition.high_watermark);
        self.now.put_i64(partition.last_stable);
        if version >= 5 {
            self.now.put_i64(partition.start);
        }
        match partition.aborted {
            Some(aborted) => {
                self.count(aborted.len());
                for transaction in aborted {
                    self.now.put_i64(*transaction.producer_id);
                    self.now.put_i64(transaction.first_offset);
                    self.tags();
                }
            }
            None => self.no_array(),
        }
        if version >= 11 {
            self.now.put_i32(partition.preferred_replica);
        }
        self.records(partition.batches);
        self.tags();
    }

    fn tags(&mut self) {
        if self.flexible {
            self.now.put_u8(0);
        }
    }

    /// The pieces after `head`, which gets what was written first.
    fn finish(mut self, head: &mut BytesMut) -> Rope {
        self.rope.push(self.now.freeze());
        *head = self.rope.take_first();
        self.rope
    }
}
