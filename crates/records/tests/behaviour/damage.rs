//! Whatever is done to a batch, it is refused or means the same; nothing panics.

use proptest::prelude::*;
use tradelane_records::{BatchError, BatchHead, BatchesIter, Decompressor, HEADER_LEN, Limits, Output};

use crate::build::{Batch, build, parse, plain, read, records};

/// Writes length and checksum, so that what is behind them is reached.
pub(crate) fn reseal(bytes: &mut [u8]) {
    let length = (bytes.len() - 12) as i32;
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    let crc = crc_fast::crc32_iscsi(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
}

/// A batch of any records with any claimed count and last delta.
pub(crate) fn forge(attributes: i16, last_offset_delta: i32, count: i32, body: &[u8]) -> Vec<u8> {
    let mut bytes = build(&BatchHead::default(), &[], 0, Output::Uncompressed);
    bytes[21..23].copy_from_slice(&attributes.to_be_bytes());
    bytes[23..27].copy_from_slice(&last_offset_delta.to_be_bytes());
    bytes[57..61].copy_from_slice(&count.to_be_bytes());
    bytes.extend_from_slice(body);
    reseal(&mut bytes);
    bytes
}

fn outcome(bytes: &[u8]) -> Result<usize, BatchError> {
    let (batch, _) = Batch::parse(bytes, &Limits::default())?;
    read(&batch).map(|records| records.len())
}

#[test]
fn every_truncation_is_an_error_that_says_what_is_missing() {
    for output in [Output::Uncompressed, Output::Lz4] {
        let whole = build(&BatchHead::default(), &plain(12), 11, output);
        for cut in 0..whole.len() {
            let needed = if cut < 12 { 12 } else { whole.len() };
            let error = BatchError::Truncated { needed, available: cut };
            assert_eq!(Batch::parse(&whole[..cut], &Limits::default()).unwrap_err(), error);
        }
    }
}

#[test]
fn every_flipped_bit_is_an_error_or_outside_of_the_checksum() {
    for output in [Output::Uncompressed, Output::Lz4] {
        let whole = build(&BatchHead { base_offset: 3, ..BatchHead::default() }, &plain(12), 11, output);
        let meant = read(&parse(&whole)).unwrap();
        for bit in 0..whole.len() * 8 {
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            match Batch::parse(&damaged, &Limits::default()) {
                Err(_) => {}
                // Base offset and leader epoch: brokers write them without touching the checksum.
                Ok((batch, _)) => {
                    assert!(bit / 8 < 8 || (12..16).contains(&(bit / 8)), "bit {bit}");
                    assert_eq!(read(&batch).unwrap(), meant);
                }
            }
        }
    }
}

#[test]
fn without_its_checksum_a_batch_is_what_it_is_with_a_right_one() {
    let whole = build(&BatchHead::default(), &plain(12), 11, Output::Uncompressed);
    // What is before says how long it is.
    for at in 12..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x41;
        let authenticated = |bytes: &[u8]| {
            let (batch, rest) = Batch::parse_authenticated(bytes, &Limits::default())?;
            read(&batch).map(|records| (format!("{records:?}"), rest.len()))
        };
        let unsummed = authenticated(&damaged);
        let crc = crc_fast::crc32_iscsi(&damaged[21..]);
        damaged[17..21].copy_from_slice(&crc.to_be_bytes());
        let summed = Batch::parse(&damaged, &Limits::default())
            .and_then(|(batch, rest)| read(&batch).map(|records| (format!("{records:?}"), rest.len())));
        assert_eq!(unsummed, summed, "byte {at}");
    }
}

#[test]
fn every_damaged_byte_behind_a_right_checksum_is_survived() {
    for output in [Output::Uncompressed, Output::Lz4] {
        let whole = build(&BatchHead::default(), &plain(12), 11, output);
        for at in 16..whole.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff, whole[at] ^ 0x10] {
                let mut damaged = whole.clone();
                damaged[at] = value;
                reseal(&mut damaged);
                let _ = outcome(&damaged);
            }
        }
    }
}

#[test]
fn sixty_one_bytes_that_claim_two_billion_records_are_refused() {
    assert_eq!(outcome(&forge(0, 0, i32::MAX, &[])), Err(BatchError::RecordCount(i32::MAX)));
    assert_eq!(outcome(&forge(0, 0, -1, &[])), Err(BatchError::RecordCount(-1)));
    for codec in 1..=4 {
        assert_eq!(outcome(&forge(codec, 0, i32::MAX, &[])), Err(BatchError::RecordCount(i32::MAX)));
        assert_eq!(outcome(&forge(codec, 0, 100_001, &[])), Err(BatchError::TooManyRecords(100_001)));
    }
    for codec in 5..=7 {
        assert_eq!(outcome(&forge(codec, 0, 0, &[])), Err(BatchError::Compression(codec as u8)));
    }
}

#[test]
fn lengths_and_formats_that_are_none_of_ours_are_called_by_name() {
    let whole = build(&BatchHead::default(), &plain(1), 0, Output::Uncompressed);
    for length in [i32::MIN, -1, 0, 48] {
        let mut bytes = whole.clone();
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        assert_eq!(outcome(&bytes), Err(BatchError::Length(length)));
    }
    let mut bytes = whole.clone();
    bytes[8..12].copy_from_slice(&i32::MAX.to_be_bytes());
    assert_eq!(outcome(&bytes), Err(BatchError::TooLarge(i32::MAX as usize + 12)));
    for magic in [0, 1, 3, -1] {
        let mut bytes = whole.clone();
        bytes[16] = magic as u8;
        assert_eq!(outcome(&bytes), Err(BatchError::Magic(magic)));
    }
    let small = Limits { max_batch_bytes: whole.len() - 1, ..Limits::default() };
    assert_eq!(Batch::parse(&whole, &small).unwrap_err(), BatchError::TooLarge(whole.len()));
    assert_eq!(Batch::parse(&whole, &small).unwrap_err().kafka_code(), 10);
}

#[test]
fn offsets_stay_within_the_batch_and_increase() {
    // Length 6, attributes, timestamp delta, offset delta, no key, no value, no headers.
    let record = |delta: u8| [12, 0, 0, delta << 1, 1, 1, 0];
    let body = |deltas: &[u8]| deltas.iter().flat_map(|delta| record(*delta)).collect::<Vec<_>>();
    assert_eq!(outcome(&forge(0, 9, 2, &body(&[0, 9]))), Ok(2));
    assert_eq!(outcome(&forge(0, 8, 2, &body(&[0, 9]))), Err(BatchError::OffsetDelta));
    assert_eq!(outcome(&forge(0, 9, 2, &body(&[4, 4]))), Err(BatchError::OffsetDelta));
    assert_eq!(outcome(&forge(0, 9, 2, &body(&[4, 3]))), Err(BatchError::OffsetDelta));
    assert_eq!(outcome(&forge(0, 9, 1, &[12, 0, 0, 1, 1, 1, 0])), Err(BatchError::OffsetDelta), "delta -1");
    assert_eq!(outcome(&forge(0, -1, 0, &[])), Err(BatchError::Offsets));
    let mut bytes = forge(0, 9, 0, &[]);
    bytes[..8].copy_from_slice(&(i64::MAX - 9).to_be_bytes());
    assert_eq!(outcome(&bytes), Err(BatchError::Offsets), "there is no next offset");
    bytes[..8].copy_from_slice(&(i64::MAX - 10).to_be_bytes());
    assert_eq!(outcome(&bytes), Ok(0));
}

#[test]
fn exactly_the_counted_records_and_nothing_after_them() {
    let record = [12, 0, 0, 0, 1, 1, 0];
    assert_eq!(outcome(&forge(0, 9, 0, &record)), Err(BatchError::Trailing));
    assert_eq!(outcome(&forge(0, 9, 1, &[record.as_slice(), &[0]].concat())), Err(BatchError::Trailing));
    assert_eq!(outcome(&forge(0, 9, 2, &[record.as_slice(), &[0; 7]].concat())), Err(BatchError::Fields));
    let cases: [(&[u8], BatchError); 9] = [
        (&[14, 0, 0, 0, 1, 1, 0, 0], BatchError::RecordLength), // a byte after the headers
        (&[16, 0, 0, 0, 1, 1, 0, 0], BatchError::RecordLength), // longer than the batch
        (&[11, 0, 0, 0, 1, 1, 0, 0], BatchError::RecordLength), // negative
        (&[12, 0, 0, 0, 3, 1, 0], BatchError::Fields),          // key of -2
        (&[12, 0, 0, 0, 1, 80, 0], BatchError::Fields),         // value longer than the record
        (&[12, 0, 0, 0, 1, 1, 1], BatchError::Fields),          // -1 headers
        (&[14, 0, 0, 0, 1, 1, 2, 1], BatchError::Fields),       // header without a name
        (&[14, 0, 0, 0, 1, 1, 0x80, 0], BatchError::Varint),    // overlong count of headers
        (&[16, 0, 0, 0, 1, 1, 0xfe, 0x7f, 0], BatchError::TooManyHeaders),
    ];
    for (body, error) in cases {
        assert_eq!(outcome(&forge(0, 0, 1, body)), Err(error), "{body:?}");
    }
}

#[test]
fn a_timestamp_that_no_number_holds_is_refused() {
    let mut bytes = forge(0, 0, 1, &[12, 0, 2, 0, 1, 1, 0]);
    bytes[27..35].copy_from_slice(&i64::MAX.to_be_bytes());
    reseal(&mut bytes);
    assert_eq!(outcome(&bytes), Err(BatchError::Timestamp));
}

#[test]
fn walking_ends_after_an_error() {
    let bytes = forge(0, 9, 3, &[[12, 0, 0, 0, 1, 1, 0], [12, 0, 0, 0, 3, 1, 0], [12, 0, 0, 4, 1, 1, 0]].concat());
    let mut scratch = Decompressor::new();
    let walked: Vec<_> =
        parse(&bytes).records(&mut scratch, &Limits::default()).unwrap().map(|record| record.is_ok()).collect();
    assert_eq!(walked, [true, false]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = outcome(&bytes);
        prop_assert!(BatchesIter::new(&bytes, &Limits::default()).count() <= 4);
    }

    #[test]
    fn any_body_behind_a_right_header_is_survived(
        attributes in 0i16..8,
        last in -1i32..20,
        count in -1i32..20,
        body in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let _ = outcome(&forge(attributes, last, count, &body));
    }

    #[test]
    fn damage_behind_a_right_checksum_is_survived(
        records in records(8),
        lz4: bool,
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let output = if lz4 { Output::Lz4 } else { Output::Uncompressed };
        let mut bytes = build(&BatchHead::default(), &records, records.len() as i32 * 9, output);
        for (at, value) in damage {
            let at = at.index(bytes.len());
            if at >= HEADER_LEN || at >= 21 {
                bytes[at] = value;
            }
        }
        reseal(&mut bytes);
        if let Ok((batch, _)) = Batch::parse(&bytes, &Limits::default())
            && let Ok(records) = read(&batch)
        {
            prop_assert_eq!(records.len(), batch.record_count() as usize);
        }
    }
}
