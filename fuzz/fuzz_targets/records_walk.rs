//! Any records behind a right header and checksum, which a fuzzer does not find by itself: walking and rewriting end, and a
//! rewritten batch holds what was decided. Two bytes of attributes, two each of last offset delta and count, then the records.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tradelane_records::{Action, Batch, BatchBuilder, BatchHead, Decompressor, Limits, Output, Rewriter, patch};

fuzz_target!(|bytes: &[u8]| {
    let [attributes, choice, last_high, last_low, count_high, count_low, body @ ..] = bytes else { return };
    let limits = Limits { max_batch_bytes: 1 << 20, max_records: 10_000, max_decompressed: 1 << 20, max_headers: 100 };
    let mut batch = Vec::new();
    BatchBuilder::new(&mut batch, &BatchHead::default()).finish(0).expect("empty");
    batch[22] = *attributes;
    batch[23..27].copy_from_slice(&[0, 0, *last_high, *last_low]);
    batch[57..61].copy_from_slice(&[0, 0, *count_high, *count_low]);
    batch.extend_from_slice(body);
    let length = (batch.len() - 12) as i32;
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    // Writes the checksum anew.
    patch::set_producer(&mut batch, 1, 2, 3).expect("whole");

    let Ok((batch, _)) = Batch::parse(&batch, &limits) else { return };
    let mut scratch = Decompressor::new();
    let walked = batch.records(&mut scratch, &limits).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let decide = |delta: i32| match (delta as u32).wrapping_mul(2_654_435_761).rotate_left(u32::from(*choice)) % 4 {
        0 => Action::Drop,
        1 => Action::Replace,
        2 => Action::Tombstone,
        _ => Action::Keep,
    };
    let output = if choice & 0x80 == 0 { Output::Uncompressed } else { Output::Lz4 };
    let mut out = Vec::new();
    let done = Rewriter::new().rewrite(&batch, &limits, output, &mut out, |record, edit| {
        edit.value.extend_from_slice(b"other");
        decide(record.offset_delta)
    });
    let (Ok(walked), Ok(done)) = (walked.as_ref(), done) else {
        assert!(walked.is_err() && done.is_err() && out.is_empty());
        return;
    };
    let (copy, rest) = Batch::parse(&out, &Limits::default()).expect("was written");
    assert!(rest.is_empty());
    assert_eq!((copy.last_offset_delta(), copy.base_offset()), (batch.last_offset_delta(), batch.base_offset()));
    let mut other = Decompressor::new();
    let copied: Vec<_> = copy
        .records(&mut other, &Limits::default())
        .expect("was written")
        .map(|record| record.expect("was written"))
        .collect();
    let mut copied = copied.iter();
    for record in walked {
        let action = if batch.is_control() { Action::Keep } else { decide(record.offset_delta) };
        if action == Action::Drop {
            continue;
        }
        let copy = copied.next().expect("was kept");
        let value = match action {
            Action::Replace => Some(&b"other"[..]),
            Action::Tombstone => None,
            _ => record.value,
        };
        assert_eq!(
            (copy.offset_delta, copy.timestamp, copy.key, copy.value),
            (record.offset_delta, record.timestamp, record.key, value)
        );
        assert_eq!(copy.headers, record.headers);
        assert!(action != Action::Keep || copy.raw() == record.raw());
    }
    assert!(copied.next().is_none());
    assert_eq!(done.kept + done.dropped + done.replaced, batch.record_count());
});
