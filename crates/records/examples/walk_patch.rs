//! Time to check a batch of 64 records of 1 KiB, walk it and copy it without a tenth of its records, beside decoding and
//! re-encoding it with `kafka-protocol`: `cargo run --release -p tradelane-records --example walk_patch`. Uncompressed, best of
//! several rounds over 32 different batches; the ratio is what to trust.

#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "measures time and prints it")]

use std::hint::black_box;
use std::io::Write;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use kafka_protocol::records::{Compression, RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions};
use tradelane_records::{Action, Batch, BatchBuilder, BatchHead, Decompressor, Limits, Output, Rewriter};

const BATCHES: usize = 32;
const RECORDS: i32 = 64;
const VALUE: usize = 1_024;
const ROUNDS: usize = 400;

fn main() {
    let mut report = std::io::stdout().lock();
    for headers in [0, 2] {
        run(headers, &mut report);
    }
}

fn run(headers: usize, report: &mut impl Write) {
    let batches: Vec<Bytes> = (0..BATCHES).map(|seed| Bytes::from(batch(seed, headers))).collect();
    let limits = Limits::default();

    let mut scratch = Decompressor::new();
    let walk = best(&batches, |batch| {
        let (batch, _) = Batch::parse(batch, &limits).expect("valid");
        batch.records(&mut scratch, &limits).expect("valid").map(|record| record.expect("valid").raw().len()).sum()
    });
    let parse = best(&batches, |batch| Batch::parse(batch, &limits).expect("valid").0.bytes().len());

    let (mut rewriter, mut out) = (Rewriter::new(), Vec::new());
    let patch = best(&batches, |batch| {
        out.clear();
        let (batch, _) = Batch::parse(batch, &limits).expect("valid");
        rewriter
            .rewrite(&batch, &limits, Output::Uncompressed, &mut out, |record, _| {
                if record.offset_delta % 10 == 5 { Action::Drop } else { Action::Keep }
            })
            .expect("valid");
        black_box(&out).len()
    });
    let copy = best(&batches, |batch| {
        out.clear();
        out.extend_from_slice(batch);
        black_box(&out).len()
    });

    let mut buffer = BytesMut::new();
    let options = RecordEncodeOptions { version: 2, compression: Compression::None };
    let peer = best(&batches, |batch| {
        buffer.clear();
        let mut records = RecordBatchDecoder::decode(&mut batch.clone()).expect("valid").records;
        records.retain(|record| record.offset % 10 != 5);
        RecordBatchEncoder::encode(&mut buffer, &records, &options).expect("valid");
        black_box(&buffer).len()
    });
    let _ = writeln!(
        report,
        "{RECORDS} records of {VALUE} B, {headers} headers each: copy {copy:.2} us, parse {parse:.2} us, parse and walk {walk:.2} us, \
         walk and patch {patch:.2} us, kafka-protocol decode and re-encode {peer:.2} us: {:.1}x faster",
        peer / patch
    );
}

/// A batch as a producer makes it, with text that differs from batch to batch.
fn batch(seed: usize, headers: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let mut builder =
        BatchBuilder::new(&mut out, &BatchHead { base_timestamp: 1_700_000_000_000, ..BatchHead::default() });
    let list: Vec<(&[u8], Option<&[u8]>)> = [
        (&b"traceparent"[..], Some(&b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"[..])),
        (b"content-type", Some(b"application/json")),
    ][..headers]
        .to_vec();
    for at in 0..RECORDS {
        let mut value = format!("{{\"shipment\":{},\"text\":\"", seed * 1_000 + at as usize).into_bytes();
        value.extend((value.len()..VALUE - 2).map(|byte| b'a' + ((byte * 7 + seed * 13) % 26) as u8));
        value.extend_from_slice(b"\"}");
        let key = format!("shipment-{:07}", seed * 1_000 + at as usize);
        builder
            .push(at, 1_700_000_000_000 + i64::from(at), Some(key.as_bytes()), Some(&value), list.as_slice())
            .expect("in order");
    }
    builder.finish(RECORDS - 1).expect("in order");
    out
}

/// Microseconds per batch, of the fastest round.
fn best(batches: &[Bytes], mut work: impl FnMut(&Bytes) -> usize) -> f64 {
    let mut fastest = f64::MAX;
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        let mut sum = 0usize;
        for batch in batches {
            sum = sum.wrapping_add(work(black_box(batch)));
        }
        black_box(sum);
        fastest = fastest.min(begun.elapsed().as_secs_f64() * 1e6 / batches.len() as f64);
    }
    fastest
}
