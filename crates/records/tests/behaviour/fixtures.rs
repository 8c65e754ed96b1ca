//! Batches as Java's clients and librdkafka write them (tests/fixtures/README.md), read and rewritten.

use std::path::Path;

use tradelane_records::{Action, BatchHead, Compression, Decompressor, Limits, Output, Rewriter, TimestampType};

use crate::build::{Owned, parse, read};

fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/{name}.batch"));
    std::fs::read(path).expect("checked in")
}

fn codec(name: &str) -> Compression {
    match name {
        "none" => Compression::None,
        "gzip" => Compression::Gzip,
        "snappy" => Compression::Snappy,
        "lz4" => Compression::Lz4,
        "zstd" => Compression::Zstd,
        other => panic!("{other}"),
    }
}

fn json(at: usize) -> Vec<u8> {
    format!("{{\"shipment\":{at},\"note\":\"{}\"}}", "abcdefgh".repeat(at)).into_bytes()
}

/// What `Write.java` writes.
fn javas() -> Vec<Owned> {
    let trace = |at: usize| {
        vec![
            (b"trace".to_vec(), Some(format!("t{at}").into_bytes())),
            (b"trace".to_vec(), None),
            (Vec::new(), Some(Vec::new())),
        ]
    };
    (0..40)
        .map(|at| Owned {
            offset_delta: (at + 2 * (at / 10)) as i32,
            timestamp: 1_700_000_000_000 + at as i64 * 37 - (at as i64 % 5) * 100,
            key: (at % 4 != 0).then(|| format!("key-{at}").into_bytes()),
            value: (at % 7 != 3).then(|| json(at)),
            headers: if at % 3 == 0 { trace(at) } else { Vec::new() },
        })
        .collect()
}

#[test]
fn batches_of_javas_clients_are_read_in_every_codec() {
    for name in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let bytes = fixture(&format!("java-{name}"));
        let batch = parse(&bytes);
        assert_eq!((batch.compression(), batch.timestamp_type()), (codec(name), TimestampType::CreateTime));
        assert_eq!((batch.base_offset(), batch.last_offset_delta(), batch.leader_epoch()), (500, 45, 4));
        assert_eq!((batch.producer_id(), batch.producer_epoch(), batch.base_sequence()), (9, 3, 12));
        assert_eq!(read(&batch), Ok(javas()), "{name}");
        assert_eq!(batch.max_timestamp(), javas().iter().map(|record| record.timestamp).max().unwrap());
    }
}

#[test]
fn large_values_of_javas_clients_are_read_block_by_block() {
    for name in ["gzip", "snappy", "lz4", "zstd"] {
        let bytes = fixture(&format!("java-{name}-zeros"));
        assert_eq!(read(&parse(&bytes)).unwrap()[0].value, Some(vec![0; 300_000]), "{name}");
    }
}

#[test]
fn what_only_a_broker_writes_is_read() {
    let bytes = fixture("java-log-append-time");
    let batch = parse(&bytes);
    assert!(batch.is_transactional() && batch.timestamp_type() == TimestampType::LogAppendTime);
    assert!(read(&batch).unwrap().iter().all(|record| record.timestamp == 1_700_000_000_777));

    let bytes = fixture("java-commit-marker");
    let batch = parse(&bytes);
    assert!(batch.is_control() && batch.is_transactional());
    // Version 0, type 1: a commit.
    assert_eq!(read(&batch).unwrap()[0].key.as_deref(), Some([0, 0, 0, 1].as_slice()));
    let mut out = Vec::new();
    let limits = Limits::default();
    let done = Rewriter::new().rewrite(&batch, &limits, Output::Uncompressed, &mut out, |_, _| Action::Drop).unwrap();
    assert!(done.is_unchanged() && out == bytes, "markers are nobody's to drop");

    let bytes = fixture("java-empty");
    let batch = parse(&bytes);
    assert_eq!((batch.record_count(), batch.last_offset(), read(&batch)), (0, 545, Ok(vec![])));
}

#[test]
fn dropping_everything_leaves_what_compaction_leaves() {
    let empty = fixture("java-empty");
    for name in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let (bytes, mut out) = (fixture(&format!("java-{name}")), Vec::new());
        let limits = Limits::default();
        Rewriter::new().rewrite(&parse(&bytes), &limits, Output::Lz4, &mut out, |_, _| Action::Drop).unwrap();
        let (ours, javas) = (parse(&out), parse(&empty));
        assert_eq!(ours.max_timestamp(), parse(&bytes).max_timestamp());
        // Java's has no base timestamp, and was given a round largest one.
        let ours = BatchHead { base_timestamp: -1, empty_max_timestamp: 1_700_000_000_000, ..BatchHead::of(&ours) };
        assert_eq!(ours, BatchHead::of(&javas));
        assert_eq!((out.len(), parse(&out).last_offset_delta()), (empty.len(), javas.last_offset_delta()));
    }
}

#[test]
fn batches_of_librdkafka_are_read_in_every_codec() {
    for name in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let bytes = fixture(&format!("librdkafka-{name}"));
        let batch = parse(&bytes);
        assert_eq!((batch.compression(), batch.is_dense()), (codec(name), true));
        let mut scratch = Decompressor::new();
        for (at, record) in batch.records(&mut scratch, &Limits::default()).unwrap().enumerate() {
            let record = record.unwrap();
            assert_eq!(record.key, Some(format!("key-{at}").as_bytes()));
            assert_eq!(record.value, Some(json(at).as_slice()));
            let headers: Vec<_> = record.headers.collect();
            assert_eq!(headers, [(&b"trace"[..], Some(&b"a"[..])), (b"trace", Some(b"b"))]);
        }
    }
}
