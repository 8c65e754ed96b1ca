//! What is built parses to what was meant, and what stands in a header survives.

use proptest::prelude::*;
use tradelane_records::{
    BatchBuilder, BatchError, BatchHead, BatchesIter, BuildError, Compression, Decompressor, HeaderSource, Limits,
    Output, Part, TimestampType, patch,
};

pub(crate) use tradelane_records::Batch;

/// A record that owns what it is made of.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Owned {
    pub(crate) offset_delta: i32,
    pub(crate) timestamp: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

pub(crate) fn build(head: &BatchHead, records: &[Owned], last_offset_delta: i32, output: Output) -> Vec<u8> {
    let mut out = b"before".to_vec();
    let mut builder = BatchBuilder::new(&mut out, head);
    for record in records {
        let headers: Vec<_> = record.headers.iter().map(|(name, value)| (name.as_slice(), value.as_deref())).collect();
        builder
            .push(
                record.offset_delta,
                record.timestamp,
                record.key.as_deref(),
                record.value.as_deref(),
                headers.as_slice(),
            )
            .expect("in order");
    }
    let built = builder.finish_as(last_offset_delta, output).expect("in order");
    assert_eq!(built.records as usize, records.len());
    out[built.range].to_vec()
}

pub(crate) fn read(batch: &Batch<'_>) -> Result<Vec<Owned>, BatchError> {
    let mut scratch = Decompressor::new();
    batch
        .records(&mut scratch, &Limits::default())?
        .map(|record| {
            let record = record?;
            Ok(Owned {
                offset_delta: record.offset_delta,
                timestamp: record.timestamp,
                key: record.key.map(<[u8]>::to_vec),
                value: record.value.map(<[u8]>::to_vec),
                headers: record.headers.map(|(name, value)| (name.to_vec(), value.map(<[u8]>::to_vec))).collect(),
            })
        })
        .collect()
}

pub(crate) fn parse(bytes: &[u8]) -> Batch<'_> {
    let (batch, rest) = Batch::parse(bytes, &Limits::default()).expect("a batch");
    assert!(rest.is_empty());
    batch
}

pub(crate) fn plain(count: i32) -> Vec<Owned> {
    (0..count)
        .map(|at| Owned {
            offset_delta: at,
            timestamp: 1_000 + i64::from(at),
            key: Some(format!("key {at}").into_bytes()),
            value: Some(format!("value of record {at}, of which there is more than one byte").into_bytes()),
            headers: vec![(b"trace".to_vec(), Some(vec![at as u8]))],
        })
        .collect()
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..40),
        (any::<u8>(), 0usize..3_000).prop_map(|(byte, length)| vec![byte; length]),
    ]
}

fn record() -> impl Strategy<Value = Owned> {
    let headers = proptest::collection::vec((bytes(), proptest::option::of(bytes())), 0..4);
    (1i32..9, any::<i32>(), proptest::option::of(bytes()), proptest::option::of(bytes()), headers).prop_map(
        |(step, timestamp, key, value, headers)| Owned {
            offset_delta: step,
            timestamp: i64::from(timestamp) * 1_000,
            key,
            value,
            headers,
        },
    )
}

pub(crate) fn records(most: usize) -> impl Strategy<Value = Vec<Owned>> {
    proptest::collection::vec(record(), 0..most).prop_map(|mut records| {
        let mut delta = -1;
        for record in &mut records {
            delta += record.offset_delta;
            record.offset_delta = delta;
        }
        records
    })
}

fn head() -> impl Strategy<Value = BatchHead> {
    let producer = (any::<i64>(), any::<i16>(), any::<i32>());
    (0..i64::MAX / 2, any::<i32>(), any::<i32>(), any::<[bool; 3]>(), producer).prop_map(
        |(base_offset, leader_epoch, base, [transactional, control, delete_horizon], producer)| BatchHead {
            base_offset,
            leader_epoch,
            base_timestamp: i64::from(base) * 1_000,
            transactional,
            control,
            delete_horizon,
            producer_id: producer.0,
            producer_epoch: producer.1,
            base_sequence: producer.2,
            ..BatchHead::default()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn what_is_built_parses_to_the_same(head in head(), records in records(20), more in 0i32..5, lz4: bool) {
        let last = records.last().map_or(0, |record| record.offset_delta) + more;
        let bytes = build(&head, &records, last, if lz4 { Output::Lz4 } else { Output::Uncompressed });
        let batch = parse(&bytes);
        prop_assert_eq!(read(&batch), Ok(records.clone()));
        prop_assert_eq!(batch.last_offset_delta(), last);
        prop_assert_eq!(batch.record_count() as usize, records.len());
        let expected = BatchHead { empty_max_timestamp: batch.max_timestamp(), ..head };
        prop_assert_eq!(BatchHead::of(&batch), expected);
        let newest = records.iter().map(|record| record.timestamp).max().unwrap_or(-1);
        prop_assert_eq!(batch.max_timestamp(), newest);
        prop_assert!(batch.compression() == Compression::None || lz4);
    }

    #[test]
    fn records_copied_one_by_one_make_the_same_batch(records in records(20), other_base: i32) {
        let last = records.last().map_or(0, |record| record.offset_delta);
        let bytes = build(&BatchHead::default(), &records, last, Output::Uncompressed);
        let mut scratch = Decompressor::new();
        let batch = parse(&bytes);
        for base_timestamp in [0, i64::from(other_base)] {
            let mut out = Vec::new();
            let mut builder = BatchBuilder::new(&mut out, &BatchHead { base_timestamp, ..BatchHead::default() });
            for record in batch.records(&mut scratch, &Limits::default()).unwrap() {
                builder.push_record(&record.unwrap()).unwrap();
            }
            builder.finish(last).unwrap();
            prop_assert_eq!(read(&parse(&out)), Ok(records.clone()));
            prop_assert!(base_timestamp != 0 || out == bytes);
        }
    }
}

#[test]
fn duplicate_headers_keep_their_order() {
    let headers: [(&[u8], Option<&[u8]>); 4] = [(b"a", Some(b"1")), (b"b", None), (b"a", Some(b"2")), (b"", Some(b""))];
    let mut out = Vec::new();
    let mut builder = BatchBuilder::new(&mut out, &BatchHead::default());
    builder.push(0, 0, None, None, headers.as_slice()).unwrap();
    builder.finish(0).unwrap();
    let mut scratch = Decompressor::new();
    let limits = Limits::default();
    let record = parse(&out).records(&mut scratch, &limits).unwrap().next().unwrap().unwrap();
    assert_eq!(record.headers.collect::<Vec<_>>(), headers);
    assert_eq!(record.headers.count_left(), 4);

    let mut copy = Vec::new();
    let mut builder = BatchBuilder::new(&mut copy, &BatchHead::default());
    builder.push(0, 0, None, None, record.headers).unwrap();
    builder.finish(0).unwrap();
    assert_eq!(copy, out);

    let mut encoded = Vec::new();
    tradelane_records::encode_headers(&headers, &mut encoded).unwrap();
    assert_eq!(encoded, record.headers.raw());
    assert!(tradelane_records::Headers::parse(&encoded, &limits).is_ok());
    encoded.push(0);
    assert!(tradelane_records::Headers::parse(&encoded, &limits).is_err());
}

#[test]
fn log_append_time_is_every_records_time_and_survives() {
    let head = BatchHead { log_append_time: Some(77), ..BatchHead::default() };
    let bytes = build(&head, &plain(3), 9, Output::Uncompressed);
    let batch = parse(&bytes);
    assert_eq!((batch.timestamp_type(), batch.max_timestamp()), (TimestampType::LogAppendTime, 77));
    assert!(read(&batch).unwrap().iter().all(|record| record.timestamp == 77));
    assert_eq!(BatchHead::of(&batch).log_append_time, Some(77));
    assert_eq!((batch.last_offset_delta(), batch.is_dense()), (9, false));
}

#[test]
fn a_batch_without_records_keeps_its_range() {
    let head = BatchHead { base_offset: 40, empty_max_timestamp: 5, ..BatchHead::default() };
    let bytes = build(&head, &[], 9, Output::Lz4);
    let batch = parse(&bytes);
    assert_eq!(bytes.len(), tradelane_records::HEADER_LEN);
    assert_eq!((batch.record_count(), batch.last_offset(), batch.next_offset()), (0, 49, 50));
    assert_eq!((batch.max_timestamp(), read(&batch)), (5, Ok(vec![])));
}

#[test]
fn what_cannot_be_written_leaves_the_buffer_as_it_was() {
    let mut out = b"kept".to_vec();
    let mut builder = BatchBuilder::new(&mut out, &BatchHead { base_timestamp: -5, ..BatchHead::default() });
    assert_eq!(builder.push(-1, 0, None, None, HeaderSource::NONE), Err(BuildError::OffsetDelta));
    assert!(builder.is_empty());
    builder.push(4, 0, None, None, HeaderSource::NONE).unwrap();
    assert_eq!(builder.push(4, 0, None, None, HeaderSource::NONE), Err(BuildError::OffsetDelta));
    assert_eq!(builder.push(5, i64::MAX, None, None, HeaderSource::NONE), Err(BuildError::Timestamp));
    assert_eq!((builder.count(), builder.len()), (1, 61 + 7));
    assert_eq!(builder.finish(3), Err(BuildError::OffsetDelta));
    assert_eq!(out, b"kept");
}

#[test]
fn fields_are_patched_in_place() {
    let mut bytes = build(&BatchHead::default(), &plain(3), 2, Output::Uncompressed);
    patch::set_base_offset(&mut bytes, 1_000).unwrap();
    patch::set_leader_epoch(&mut bytes, 8).unwrap();
    patch::set_producer(&mut bytes, 5, 6, i32::MAX - 1).unwrap();
    patch::set_log_append_time(&mut bytes, 99).unwrap();
    let batch = parse(&bytes);
    assert_eq!((batch.base_offset(), batch.last_offset(), batch.leader_epoch()), (1_000, 1_002, 8));
    assert_eq!((batch.producer_id(), batch.producer_epoch(), batch.base_sequence()), (5, 6, i32::MAX - 1));
    assert_eq!(batch.last_sequence(), 0, "sequence numbers begin again at 0");
    assert_eq!(read(&batch).unwrap()[1].timestamp, 99);
    for cut in 0..61 {
        assert!(patch::set_producer(&mut bytes[..cut], 0, 0, 0).is_err());
        assert!(patch::set_base_offset(&mut bytes[..cut], 0).is_err());
    }
}

#[test]
fn a_field_of_batches_ends_with_what_is_whole() {
    let one = build(&BatchHead::default(), &plain(2), 1, Output::Uncompressed);
    let two = build(&BatchHead { base_offset: 2, ..BatchHead::default() }, &plain(3), 2, Output::Lz4);
    let both = [one.as_slice(), &two].concat();
    for cut in 0..=both.len() {
        let parts: Vec<_> = BatchesIter::new(&both[..cut], &Limits::default()).map(|part| part.unwrap()).collect();
        let whole = parts.iter().filter(|part| matches!(part, Part::Batch(_))).count();
        assert_eq!(whole, usize::from(cut >= one.len()) + usize::from(cut == both.len()));
        let partial = cut != 0 && cut != one.len() && cut != both.len();
        assert_eq!(matches!(parts.last(), Some(Part::Partial(_))), partial, "{cut}");
    }
    let mut damaged = both.clone();
    damaged[30] ^= 1;
    let parts: Vec<_> = BatchesIter::new(&damaged, &Limits::default()).map(|part| part.map(|_| ())).collect();
    assert_eq!(parts, [Err(BatchError::Crc)]);
}
