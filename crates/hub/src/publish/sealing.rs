//! Sealing a batch: each event is checked and sealed on its own, so a big batch is worked on by as many cores as are idle.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::Builder;

use tradelane_model::{Timestamp, codes};

use super::framed::Schemas;
use super::partitioner::Spread;
use super::{Events, Refused, SealedBatch, SealedPart};
use crate::batch::{self, BatchWriter};
use crate::dictionaries::BatchPacking;
use crate::envelope::{Around, Envelope, Header, KeyAndHeaders};
use crate::error::{HubError, Place, Result};
use crate::key_field::Found;
use crate::keyring::BatchKeys;
use crate::native::Looking;
use crate::views::{CompiledContract, Verdict};

/// The fewest events that are worth a thread of their own, and the fewest bytes.
const EVENTS: usize = 128;
const BYTES: usize = 64 << 10;
/// The most threads that work on one batch.
const MOST: usize = 8;

/// How many threads are sealing, so that a batch is spread over idle cores only.
pub(crate) struct Cores {
    all: usize,
    busy: AtomicUsize,
}

impl Cores {
    /// Those that this process may use.
    pub(crate) fn new() -> Self {
        let all = std::thread::available_parallelism().map_or(1, usize::from);
        Self { all, busy: AtomicUsize::new(0) }
    }

    /// One for the caller, and up to `more` that are idle.
    fn take(&self, more: usize) -> Taken<'_> {
        let taken = |busy: usize| 1 + more.min(self.all.saturating_sub(busy + 1));
        let before = self.busy.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |busy| Some(busy + taken(busy)));
        Taken { cores: self, count: taken(before.unwrap_or_else(|busy| busy)) }
    }
}

/// Cores that are given back when this is dropped.
struct Taken<'a> {
    cores: &'a Cores,
    count: usize,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.cores.busy.fetch_sub(self.count, Ordering::Relaxed);
    }
}

/// A batch that is to be sealed.
pub(super) struct Work {
    pub(super) contract: Arc<CompiledContract>,
    pub(super) events: Events,
    pub(super) spread: Spread,
    pub(super) keys: BatchKeys,
    pub(super) now: Timestamp,
    pub(super) schemas: Schemas,
    pub(super) packing: BatchPacking,
    /// Is an event without a key none of this product's?
    pub(super) needs_keys: bool,
}

impl Work {
    /// Checks and seals every event.
    pub(super) fn seal(mut self, cores: &Cores) -> (Result<SealedBatch>, BatchKeys) {
        let parts = (self.events.ranges.len() / EVENTS).min(self.events.body.len() / BYTES).min(MOST);
        // A dictionary is learned from whole batches; there are few until it is there.
        let parts = if self.packing.learns() { 1 } else { parts };
        let taken = cores.take(parts.saturating_sub(1));
        (self.in_parts(taken.count), self.keys)
    }

    /// The first part goes into the batches at once. The others are sealed meanwhile, and go behind it in their order.
    fn in_parts(&mut self, parts: usize) -> Result<SealedBatch> {
        let packing = std::mem::take(&mut self.packing);
        let (this, count) = (&*self, self.events.ranges.len());
        let partitions = this.spread.partitions();
        // What sealing adds to an event of seven holes in three sections, and a record to it: a batch that outgrew its memory
        // would be copied.
        let about = (this.events.body.len() + count * 320) / partitions.len().max(1) + 64;
        let mut bytes: Vec<Vec<u8>> = partitions.clone().map(|_| Vec::with_capacity(about)).collect();
        let head = this.events.head.unwrap_or_else(|| batch::head(0, this.now));
        let mut batches: Vec<_> = bytes.iter_mut().map(|bytes| BatchWriter::new(bytes, &head)).collect();
        let begins = |part: usize| count * part / parts;
        let (refused, lesson) = std::thread::scope(|scope| {
            let others: Vec<_> = (1..parts)
                .map(|part| (packing.again(), begins(part)..begins(part + 1)))
                .map(|(packing, range)| Builder::new().spawn_scoped(scope, move || this.part(range, packing)))
                .collect::<Result<_, _>>()
                .map_err(|error| HubError::of(codes::INTERNAL).because(error).retry(1))?;
            let mut first = Sealing::new(this, packing, Sealed::Batches(&mut batches));
            first.all(0..begins(1))?;
            let (mut refused, lesson) = (first.refused, first.looking.packing.lesson());
            for other in others {
                let part = other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
                for Record { nth, time, around, value } in &part.records {
                    let value = value.as_ref().and_then(|value| part.events.get(value.clone()));
                    nth_of(&mut batches, *nth)?.push(*time, around, value)?;
                }
                refused.extend(part.refused);
            }
            Ok::<_, HubError>((refused, lesson))
        })?;
        let counts: Vec<u32> = batches.iter().map(BatchWriter::count).collect();
        batches.into_iter().zip(&counts).try_for_each(|(batch, count)| batch.finish(*count))?;
        let parts = partitions.zip(bytes).zip(counts);
        let parts = parts.map(|((partition, bytes), count)| SealedPart { partition, bytes, count }).collect();
        Ok(SealedBatch { parts, refused, lesson })
    }

    fn part(&self, range: Range<usize>, packing: BatchPacking) -> Result<Part> {
        let mut records = Vec::with_capacity(range.len());
        let mut sealing = Sealing::new(self, packing, Sealed::Part(&mut records));
        sealing.all(range)?;
        let Sealing { event: events, refused, .. } = sealing;
        Ok(Part { events, records, refused })
    }
}

/// Sealed events that are to be put into the batch.
struct Part {
    events: Vec<u8>,
    records: Vec<Record>,
    refused: Vec<Refused>,
}

struct Record {
    /// Which of the batches it goes to.
    nth: usize,
    time: i64,
    around: KeyAndHeaders,
    /// Where in the part's events it is. None: it says that its key is no more.
    value: Option<Range<usize>>,
}

/// Where sealed events go.
enum Sealed<'a, 'o> {
    Batches(&'a mut [BatchWriter<'o>]),
    Part(&'a mut Vec<Record>),
}

/// Events while they are sealed, one after the other.
struct Sealing<'a, 'o> {
    work: &'a Work,
    schemas: Schemas,
    looking: Looking,
    /// The sealed event at hand; in a part, behind those before it.
    event: Vec<u8>,
    sealed: Sealed<'a, 'o>,
    refused: Vec<Refused>,
}

impl<'a, 'o> Sealing<'a, 'o> {
    fn new(work: &'a Work, packing: BatchPacking, sealed: Sealed<'a, 'o>) -> Self {
        let (schemas, looking) = (work.schemas.clone(), Looking::packed(packing));
        Self { work, schemas, looking, event: Vec::new(), sealed, refused: Vec::new() }
    }

    fn all(&mut self, range: Range<usize>) -> Result<()> {
        for index in range {
            let before = self.event.len();
            if let Err((code, places)) = self.record(index, before)? {
                self.event.truncate(before);
                self.refused.push(Refused { index, code, places });
            }
        }
        Ok(())
    }

    /// Checks an event and seals it behind those before it. Answers which schema it names, and what cut it.
    fn value(&mut self, event: &[u8]) -> Result<Verdict<(Option<u32>, Arc<CompiledContract>)>> {
        let Work { keys, now, .. } = self.work;
        let (schema, event) = match self.schemas.split(event) {
            Ok(split) => split,
            Err(refused) => return Ok(Err(refused)),
        };
        let (held, event) = match self.schemas.contract(schema, event)? {
            Ok(found) => found,
            Err(refused) => return Ok(Err(refused)),
        };
        let kept = held.kept.as_ref();
        let verdict = held.cut.check_and_seal(kept, &mut self.looking, event, keys, *now, &mut self.event)?;
        Ok(verdict.map(|()| (schema, held.cut)))
    }

    /// An event with what travels around it. A record without a value says only that its key is no more.
    fn record(&mut self, index: usize, before: usize) -> Result<Verdict> {
        let Work { contract: newest, events, keys, now, .. } = self.work;
        let (place, given) = (events.around.get(index), events.key(index));
        let is_tombstone = place.is_some_and(|place| place.is_tombstone);
        let (mut schema, mut contract) = (None, None);
        self.looking.found = Found::nothing(given.is_none() && events.have_keys_inside);
        if !is_tombstone {
            match self.value(events.get(index))? {
                Ok((named, cut)) => (schema, contract) = (named, Some(cut)),
                Err(refused) => return Ok(Err(refused)),
            }
        }
        let found = std::mem::take(&mut self.looking.found);
        let key = given.or(found.key.as_deref());
        if self.work.needs_keys && key.is_none() {
            let message = codes::KEY_REQUIRED.info().title.to_owned();
            let place = Place { pointer: String::new(), rule: "key".into(), message };
            return Ok(Err((codes::KEY_REQUIRED, vec![place])));
        }
        let text = |range: &Range<usize>| events.body.get(range.clone()).unwrap_or_default();
        let headers = place.into_iter().flat_map(|place| &place.headers);
        let headers: Vec<Header<'_>> = headers.map(|(name, value)| (text(name), value.as_ref().map(text))).collect();
        let around = Around { key, headers: &headers, person: found.person.as_deref() };
        // One number says what cut all parts of a record.
        let CompiledContract { envelope, tagger, .. } = contract.as_deref().unwrap_or(newest);
        let event = self.event.get(before..).unwrap_or_default();
        match envelope.seal(&mut self.looking.tape, &around, event, tagger, keys)? {
            Ok(mut stored) => {
                Envelope::name_schema(&mut stored, schema);
                let time = place.and_then(|place| place.time).unwrap_or_else(|| now.millis());
                self.put(key, time, stored, (!is_tombstone).then_some(before))?;
            }
            Err(refused) => return Ok(Err(refused)),
        }
        Ok(Ok(()))
    }

    /// Puts a record behind the others of its partition, which the key in the clear chooses; its event begins at `value`.
    fn put(&mut self, key: Option<&[u8]>, time: i64, around: KeyAndHeaders, value: Option<usize>) -> Result<()> {
        let nth = self.work.spread.nth(key);
        match &mut self.sealed {
            Sealed::Batches(batches) => {
                nth_of(batches, nth)?.push(time, &around, value.and_then(|begin| self.event.get(begin..)))?;
                self.event.clear();
            }
            Sealed::Part(records) => {
                records.push(Record { nth, time, around, value: value.map(|begin| begin..self.event.len()) });
            }
        }
        Ok(())
    }
}

fn nth_of<'b, 'o>(batches: &'b mut [BatchWriter<'o>], nth: usize) -> Result<&'b mut BatchWriter<'o>> {
    batches.get_mut(nth).ok_or_else(|| HubError::of(codes::INTERNAL).because("a partition that is none"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_spread_over_idle_cores_only_and_gives_them_back() {
        let cores = Cores { all: 4, busy: AtomicUsize::new(0) };
        let first = cores.take(1);
        let second = cores.take(7);
        assert_eq!((first.count, second.count), (2, 2));
        assert_eq!(cores.take(7).count, 1, "whoever comes works, if no core is idle");
        drop(second);
        assert_eq!(cores.take(7).count, 2);
        drop(first);
        assert_eq!(cores.busy.load(Ordering::Relaxed), 0);
        assert_eq!(Cores { all: 1, busy: AtomicUsize::new(0) }.take(7).count, 1);
    }
}
