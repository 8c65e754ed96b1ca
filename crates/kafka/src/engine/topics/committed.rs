//! Which batches of a fetch are committed: as consumers with `isolation.level=read_committed` find out (KIP-98), and none beyond
//! the last stable offset. Markers of transactions are passed over.

use std::collections::HashSet;

use bytes::Bytes;
use kafka_protocol::messages::fetch_response::AbortedTransaction;
use tradelane_records::{Batch, Limits};

/// What a batch may be here; what is in it is looked at elsewhere, within limits of its own.
const ANY: Limits =
    Limits { max_batch_bytes: usize::MAX, max_records: u32::MAX, max_decompressed: 1 << 40, max_headers: 0 };
/// The type of a marker: the two bytes after the version, in its key (`EndTransactionMarker`).
const ABORT: [u8; 2] = [0, 0];

/// The committed batches, and where to go on: behind all that was looked at. `aborted` are the transactions that overlap what
/// was fetched from `from` on.
pub(super) fn committed(
    batches: Vec<Bytes>,
    aborted: &[AbortedTransaction],
    from: u64,
    stable: i64,
) -> (Vec<Bytes>, u64) {
    let mut begun: Vec<_> = aborted.iter().map(|one| (one.first_offset, one.producer_id.0)).collect();
    begun.sort_unstable();
    let mut begun = begun.into_iter().peekable();
    let mut aborting = HashSet::new();
    let mut shown = Vec::with_capacity(batches.len());
    let mut next = from;
    let mut batches = batches.into_iter().peekable();
    while let Some(bytes) = batches.next() {
        let Ok((batch, _)) = Batch::parse(&bytes, &ANY) else {
            // Whoever shows it says so. What it would have said of transactions is not known, so this is the end of what
            // can be told from one list; the next one begins behind it.
            let end = tradelane_hub::elsewhere::covered(&bytes, next, batches.peek()).end;
            shown.push(bytes);
            return (shown, end);
        };
        if batch.base_offset() >= stable {
            break;
        }
        next = next.max(u64::try_from(batch.next_offset()).unwrap_or(next));
        while let Some((_, producer)) = begun.next_if(|(first, _)| *first <= batch.last_offset()) {
            aborting.insert(producer);
        }
        if batch.is_control() {
            if is_abort(&batch) {
                aborting.remove(&batch.producer_id());
            }
            continue;
        }
        if !(batch.is_transactional() && aborting.contains(&batch.producer_id())) {
            shown.push(bytes);
        }
    }
    (shown, next)
}

fn is_abort(marker: &Batch<'_>) -> bool {
    let first = marker.plain_records(&ANY).and_then(|mut records| records.next()?.ok());
    first.and_then(|record| record.key).and_then(|key| key.get(2..4)) == Some(ABORT.as_slice())
}

#[cfg(test)]
mod tests {
    use tradelane_records::{BatchBuilder, BatchHead, HeaderSource};

    use super::*;

    fn batch(base_offset: i64, count: i32, producer_id: i64, transactional: bool) -> Bytes {
        let head = BatchHead {
            base_offset,
            producer_id,
            producer_epoch: 0,
            base_sequence: 0,
            transactional,
            ..Default::default()
        };
        let mut out = Vec::new();
        let mut builder = BatchBuilder::new(&mut out, &head);
        for at in 0..count {
            builder.push(at, 0, None, Some(b"v"), HeaderSource::NONE).unwrap();
        }
        builder.finish(count - 1).unwrap();
        out.into()
    }

    fn marker(base_offset: i64, producer_id: i64, commit: bool) -> Bytes {
        let head = BatchHead {
            base_offset,
            producer_id,
            producer_epoch: 0,
            transactional: true,
            control: true,
            ..Default::default()
        };
        let mut out = Vec::new();
        let mut builder = BatchBuilder::new(&mut out, &head);
        let key = [0, 0, 0, u8::from(commit)];
        builder.push(0, 0, Some(&key), Some(&[0; 6]), HeaderSource::NONE).unwrap();
        builder.finish(0).unwrap();
        out.into()
    }

    fn aborted(producer: i64, first: i64) -> AbortedTransaction {
        AbortedTransaction::default().with_producer_id(producer.into()).with_first_offset(first)
    }

    fn bases(shown: &[Bytes]) -> Vec<i64> {
        shown.iter().map(|bytes| Batch::parse(bytes, &ANY).unwrap().0.base_offset()).collect()
    }

    const END: i64 = 1_000;

    #[test]
    fn an_aborted_transaction_is_passed_over_up_to_its_marker() {
        let all = vec![
            batch(0, 2, -1, false),
            batch(2, 1, 7, true),
            batch(3, 1, 8, true),
            marker(4, 7, false),
            batch(5, 1, 7, true),
            marker(6, 7, true),
            marker(7, 8, true),
        ];
        let (shown, next) = committed(all, &[aborted(7, 2)], 0, END);
        assert_eq!((bases(&shown), next), (vec![0, 3, 5], 8));
    }

    #[test]
    fn a_page_that_begins_within_an_aborted_transaction_knows_it() {
        let (shown, next) = committed(vec![batch(9, 1, 7, true), marker(10, 7, false)], &[aborted(7, 2)], 9, END);
        assert_eq!((bases(&shown), next), (vec![], 11));
        let lists = [aborted(7, 12), aborted(7, 2)];
        let all = vec![batch(9, 1, 7, true), marker(10, 7, false), batch(11, 1, 7, false), batch(12, 3, 7, true)];
        assert_eq!(bases(&committed(all, &lists, 9, END).0), [11]);
    }

    #[test]
    fn nothing_beyond_the_last_stable_offset_is_shown() {
        let all = vec![batch(0, 2, -1, false), batch(2, 1, 7, true), batch(3, 1, -1, false)];
        let (shown, next) = committed(all, &[], 0, 2);
        assert_eq!((bases(&shown), next), (vec![0], 2));
    }

    #[test]
    fn a_damaged_batch_ends_the_page() {
        let mut damaged = batch(2, 3, 7, true).to_vec();
        *damaged.last_mut().unwrap() ^= 1;
        let all = vec![batch(0, 2, -1, false), damaged.into(), batch(5, 1, 7, true)];
        let (shown, next) = committed(all, &[aborted(7, 2)], 0, END);
        assert_eq!((shown.len(), next), (2, 5));
    }

    #[test]
    fn gaps_of_compaction_are_passed() {
        let (shown, next) = committed(vec![batch(40, 2, -1, false)], &[], 3, END);
        assert_eq!((bases(&shown), next), (vec![40], 42));
    }
}
