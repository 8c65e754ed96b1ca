//! A batch copied without some records or with other values is what building it anew would have made.

use proptest::prelude::*;
use tradelane_records::{Action, BatchError, BatchHead, Compression, Limits, Output, Rewriter, encode_headers};

use crate::build::{Owned, build, parse, plain, read, records};
use crate::damage::forge;
use crate::decompress::{CODECS, recode};

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        4 => Just(Action::Keep),
        2 => Just(Action::Drop),
        1 => Just(Action::Replace),
        1 => Just(Action::Tombstone),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_rewritten_batch_is_what_would_be_built_anew(
        records in records(20),
        actions in proptest::collection::vec(action(), 20),
        value in proptest::collection::vec(any::<u8>(), 0..200),
        lz4: bool,
    ) {
        let output = if lz4 { Output::Lz4 } else { Output::Uncompressed };
        let last = records.last().map_or(0, |record| record.offset_delta) + 2;
        let head = BatchHead { base_offset: 9, producer_id: 4, producer_epoch: 2, base_sequence: 1, ..BatchHead::default() };
        let bytes = build(&head, &records, last, Output::Uncompressed);
        let mut out = b"before".to_vec();
        let mut asked = 0;
        let done = Rewriter::new()
            .rewrite(&parse(&bytes), &Limits::default(), output, &mut out, |_, edit| {
                assert!(edit.value.is_empty() && edit.headers.is_empty());
                edit.value.extend_from_slice(&value);
                asked += 1;
                actions[asked - 1]
            })
            .unwrap();
        prop_assert_eq!(asked, records.len());
        let expected: Vec<_> = records
            .iter()
            .zip(&actions)
            .filter(|(_, action)| **action != Action::Drop)
            .map(|(record, action)| match action {
                Action::Replace => Owned { value: Some(value.clone()), ..record.clone() },
                Action::Tombstone => Owned { value: None, ..record.clone() },
                _ => record.clone(),
            })
            .collect();
        prop_assert_eq!((done.kept + done.replaced + done.dropped) as usize, records.len());
        prop_assert_eq!((done.kept + done.replaced) as usize, expected.len());
        let newest = parse(&bytes).max_timestamp();
        let anew = if done.is_unchanged() {
            bytes
        } else {
            build(&BatchHead { empty_max_timestamp: newest, ..head }, &expected, last, output)
        };
        prop_assert_eq!(&out[6..], anew.as_slice());
    }

    #[test]
    fn a_rewritten_compressed_batch_is_the_same_as_an_uncompressed_one(
        records in records(12),
        drop in proptest::collection::vec(any::<bool>(), 12),
    ) {
        let last = records.last().map_or(0, |record| record.offset_delta);
        let bytes = build(&BatchHead::default(), &records, last, Output::Uncompressed);
        let mut rewriter = Rewriter::new();
        let mut copies = [Compression::None].iter().chain(&CODECS).map(|codec| {
            let (packed, mut out, mut at) = (recode(&bytes, *codec), Vec::new(), 0);
            let done = rewriter.rewrite(&parse(&packed), &Limits::default(), Output::Uncompressed, &mut out, |_, _| {
                at += 1;
                if drop[at - 1] { Action::Drop } else { Action::Keep }
            });
            if done.unwrap().is_unchanged() {
                assert_eq!(out, packed, "what does not change is not recompressed either");
                return bytes.clone();
            }
            out
        });
        let first = copies.next().unwrap();
        prop_assert!(copies.all(|copy| copy == first));
    }
}

#[test]
fn headers_can_be_replaced_with_the_value() {
    let bytes = build(&BatchHead::default(), &plain(3), 2, Output::Uncompressed);
    let mut out = Vec::new();
    Rewriter::new()
        .rewrite(&parse(&bytes), &Limits::default(), Output::Uncompressed, &mut out, |record, edit| {
            edit.value.extend_from_slice(b"sealed");
            encode_headers(&[(b"a", Some(b"1")), (b"a", None)], &mut edit.headers).unwrap();
            if record.offset_delta == 1 { Action::Replace } else { Action::Keep }
        })
        .unwrap();
    let read = read(&parse(&out)).unwrap();
    assert_eq!(read[0], plain(3)[0]);
    assert_eq!(read[1].headers, [(b"a".to_vec(), Some(b"1".to_vec())), (b"a".to_vec(), None)]);
    assert_eq!(read[1].value.as_deref(), Some(b"sealed".as_slice()));
}

#[test]
fn the_largest_timestamp_is_that_of_what_is_left() {
    let bytes = build(&BatchHead::default(), &plain(5), 4, Output::Uncompressed);
    let mut out = Vec::new();
    let mut copy = |head: &[u8], keep: i32| {
        out.clear();
        Rewriter::new()
            .rewrite(&parse(head), &Limits::default(), Output::Uncompressed, &mut out, |record, _| {
                if record.offset_delta < keep { Action::Keep } else { Action::Drop }
            })
            .unwrap();
        (parse(&out).max_timestamp(), parse(&out).last_offset_delta(), parse(&out).record_count())
    };
    assert_eq!(copy(&bytes, 2), (1_001, 4, 2));
    assert_eq!(copy(&bytes, 0), (1_004, 4, 0));
    let broker = BatchHead { log_append_time: Some(9), ..BatchHead::default() };
    assert_eq!(copy(&build(&broker, &plain(5), 4, Output::Uncompressed), 2), (9, 4, 2));
}

#[test]
fn a_bad_record_leaves_the_output_as_it_was() {
    let body = [[12, 0, 0, 0, 1, 1, 0], [12, 0, 0, 0, 3, 1, 0]].concat();
    let mut out = b"before".to_vec();
    let bytes = forge(0, 9, 2, &body);
    let failed = Rewriter::new()
        .rewrite(&parse(&bytes), &Limits::default(), Output::Uncompressed, &mut out, |_, _| Action::Drop);
    assert_eq!(failed, Err(BatchError::Fields));
    assert_eq!(out, b"before");
}
