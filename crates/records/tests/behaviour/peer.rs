//! Cross-check with another codec on batches that are valid: `kafka-protocol` reads what we write, and we what it writes.

use bytes::{Bytes, BytesMut};
use indexmap::IndexMap;
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::{
    Compression, Record, RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};
use proptest::prelude::*;
use tradelane_records::{BatchHead, Output};

use crate::build::{Owned, build, parse, read, records};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn the_peer_reads_what_we_write(records in records(20)) {
        let last = records.last().map_or(0, |record| record.offset_delta);
        // Its headers are a map from text, so these are compared in the fixtures' tests.
        let records: Vec<_> = records.into_iter().map(|record| Owned { headers: Vec::new(), ..record }).collect();
        let bytes = build(&BatchHead { base_offset: 7, ..BatchHead::default() }, &records, last, Output::Uncompressed);
        let theirs = RecordBatchDecoder::decode(&mut Bytes::from(bytes)).unwrap().records;
        let theirs: Vec<_> = theirs
            .into_iter()
            .map(|record| Owned {
                offset_delta: (record.offset - 7) as i32,
                timestamp: record.timestamp,
                key: record.key.map(|key| key.to_vec()),
                value: record.value.map(|value| value.to_vec()),
                headers: Vec::new(),
            })
            .collect();
        prop_assert_eq!(theirs, records);
    }

    #[test]
    fn we_read_what_the_peer_writes(values in proptest::collection::vec(proptest::option::of(".{0,60}"), 1..20)) {
        let theirs: Vec<_> = values.iter().enumerate().map(|(at, value)| record(at, value.as_deref())).collect();
        let mut bytes = BytesMut::new();
        let options = RecordEncodeOptions { version: 2, compression: Compression::None };
        RecordBatchEncoder::encode(&mut bytes, &theirs, &options).unwrap();
        let ours = read(&parse(&bytes)).unwrap();
        prop_assert_eq!(ours.len(), values.len());
        for (at, (ours, value)) in ours.iter().zip(&values).enumerate() {
            prop_assert_eq!(ours.offset_delta, at as i32);
            prop_assert_eq!(ours.timestamp, 1_000 + at as i64);
            prop_assert_eq!(ours.value.as_deref(), value.as_ref().map(|value| value.as_bytes()));
            prop_assert_eq!(&ours.headers, &[(b"name".to_vec(), Some(vec![at as u8]))]);
        }
    }
}

fn record(at: usize, value: Option<&str>) -> Record {
    Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: 0,
        producer_id: 5,
        producer_epoch: 1,
        timestamp_type: TimestampType::Creation,
        offset: at as i64,
        sequence: at as i32,
        timestamp: 1_000 + at as i64,
        key: None,
        value: value.map(|value| Bytes::copy_from_slice(value.as_bytes())),
        headers: IndexMap::from([(StrBytes::from_static_str("name"), Some(Bytes::from(vec![at as u8])))]),
    }
}
