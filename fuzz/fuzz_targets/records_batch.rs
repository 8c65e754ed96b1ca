//! Any bytes as the `records` field of a request: refused or walked, never more memory than the limits, and what is walked and
//! written again is the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tradelane_records::{Batch, BatchBuilder, BatchHead, BatchesIter, Decompressor, HeaderSource, Limits, Part};

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { max_batch_bytes: 1 << 20, max_records: 10_000, max_decompressed: 1 << 20, max_headers: 100 };
    let mut scratch = Decompressor::new();
    for part in BatchesIter::new(bytes, &limits) {
        let Ok(Part::Batch(batch)) = part else { continue };
        let Ok(records) = batch.records(&mut scratch, &limits) else { continue };
        assert!(records.uncompressed_len() <= limits.max_decompressed.max(bytes.len()));
        let Ok(records) = records.collect::<Result<Vec<_>, _>>() else { continue };
        assert_eq!(records.len(), batch.record_count() as usize);
        let (mut anew, mut copied) = (Vec::new(), Vec::new());
        // Timestamps of the log's clock say nothing about what was written as each record's own.
        let head = BatchHead { log_append_time: None, ..BatchHead::of(&batch) };
        let mut builder = BatchBuilder::new(&mut anew, &head);
        let mut copier = BatchBuilder::new(&mut copied, &head);
        for record in &records {
            let list: Vec<_> = record.headers.collect();
            let own = batch.base_timestamp() + record.timestamp_delta();
            builder
                .push(record.offset_delta, own, record.key, record.value, HeaderSource::List(&list))
                .expect("was read");
            copier.push(record.offset_delta, own, record.key, record.value, record.headers).expect("was read");
        }
        builder.finish(batch.last_offset_delta()).expect("was read");
        copier.finish(batch.last_offset_delta()).expect("was read");
        assert_eq!(anew, copied);
        let (again, rest) = Batch::parse(&anew, &Limits::default()).expect("was written");
        assert!(rest.is_empty());
        let mut other = Decompressor::new();
        let again: Vec<_> = again
            .records(&mut other, &limits)
            .expect("was written")
            .map(|record| record.expect("was written"))
            .collect();
        assert_eq!(again.len(), records.len());
        for (ours, theirs) in again.iter().zip(&records) {
            assert_eq!((ours.offset_delta, ours.key, ours.value), (theirs.offset_delta, theirs.key, theirs.value));
            assert_eq!(ours.headers, theirs.headers);
        }
    }
});
