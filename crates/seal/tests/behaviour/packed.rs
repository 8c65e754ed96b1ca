//! The packed form: what compression must not change, must not leak, and must not be led to do.

use std::sync::Arc;

use proptest::prelude::*;
use tradelane_model::ViewSpec;
use tradelane_seal::{Dictionary, Encoding, Header, OpenedEvent, Packing, ProductContext, Withheld};
use tradelane_tape::{Limits, Tape};

use crate::common::*;
use crate::properties::occurs;

const SHAPE: &[(&str, &str)] = &[
    ("/id", "public"),
    ("/status", "public"),
    ("/note", "internal"),
    ("/price", "confidential"),
    ("/people/*/id", "pii@/people/*/id"),
    ("/people/*/name", "pii@/people/*/id"),
    ("/people/*/role", "public"),
];

const EVENT: &str = r#"{"id":1,"status":"in transit","note":"n","price":42,"people":[{"id":"p1","name":"Anna","role":"a"},{"id":"p2","name":"Bob","role":"b"}]}"#;

fn forms() -> [Keys; 2] {
    [Keys::of(Form::Packed(None)), Keys::of(Form::with_dictionary())]
}

/// The public bytes of an event, as a dictionary would learn them.
fn sample(json: &str) -> Vec<u8> {
    let (keys, rules) = (Keys::new(), rules(SHAPE));
    let mut tape = Tape::new();
    let located = rules.locate(tape.parse(json.as_bytes(), &Limits::EVENT).unwrap(), &tagger()).unwrap();
    keys.ensure(located.subjects());
    let mut sample = Vec::new();
    let packing = Packing { dictionary: None, sample: Some(&mut sample) };
    located.seal_packed(&product(), &keys.log, &keys, packing, &mut Vec::new()).unwrap();
    sample
}

#[test]
fn every_flipped_bit_of_a_packed_record_is_an_error_and_never_another_event() {
    for keys in forms() {
        let rules = rules(SHAPE);
        let view = view(&rules, &reveal_all(&rules));
        let record = seal(&rules, &keys, EVENT);
        assert_eq!(Header::read(&record).unwrap().encoding, Encoding::Json);
        assert_eq!(render(&view, &keys, &record), EVENT);
        for bit in 0..record.len() * 8 {
            let mut changed = record.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(try_render(&view, &keys, &changed).is_err(), "bit {bit}");
        }
        for len in 0..record.len() {
            assert!(try_render(&view, &keys, &record[..len]).is_err(), "{len} bytes");
        }
    }
}

#[test]
fn parts_of_two_packed_records_cannot_be_mixed() {
    for keys in forms() {
        let rules = rules(SHAPE);
        let view = view(&rules, &reveal_all(&rules));
        let (one, two) = (seal(&rules, &keys, EVENT), seal(&rules, &keys, EVENT));
        assert_eq!(one.len(), two.len());
        for start in 0..one.len() {
            for end in [start + 1, start + 16, one.len()] {
                let mut mixed = one.clone();
                let end = end.min(one.len());
                mixed[start..end].copy_from_slice(&two[start..end]);
                if mixed != one && mixed != two {
                    assert!(try_render(&view, &keys, &mixed).is_err(), "{start}..{end}");
                }
            }
        }
    }
}

#[test]
fn a_record_opens_with_its_own_product_and_dictionary_only() {
    let keys = Keys::of(Form::with_dictionary());
    let record = seal(&rules(SHAPE), &keys, EVENT);
    assert_eq!(Header::read(&record).unwrap().dictionary(), Some(1));
    let other = ProductContext::new("acme", "inventory");
    assert_eq!(OpenedEvent::open(&record, &other, &keys).unwrap_err(), Withheld::Corrupt);
    let Form::Packed(Some(right)) = keys.form.clone() else { panic!("it has a dictionary") };
    let another = Dictionary::new(1, b"another dictionary that has the same number").unwrap();
    for (form, error) in [
        (Form::Plain, Withheld::UnknownDictionary),
        (Form::Packed(None), Withheld::UnknownDictionary),
        (Form::Packed(Some(Arc::new(another))), Withheld::Corrupt),
    ] {
        let keys = keys.in_form(form);
        assert_eq!(OpenedEvent::open(&record, &product(), &keys).unwrap_err(), error);
    }
    assert_eq!(Withheld::UnknownDictionary.reason(), "unknown-dictionary");
    let keys = keys.in_form(Form::Packed(Some(right)));
    assert!(OpenedEvent::open(&record, &product(), &keys).is_ok());
}

#[test]
fn a_destroyed_key_leaves_of_a_packed_event_the_row_and_nothing_of_the_person() {
    for keys in forms() {
        let rules = rules(SHAPE);
        let all = view(&rules, &reveal_all(&rules));
        let record = seal(&rules, &keys, EVENT);
        keys.destroy("p1");
        let left = r#"{"id":1,"status":"in transit","note":"n","price":42,"people":[{"role":"a"},{"id":"p2","name":"Bob","role":"b"}]}"#;
        assert_eq!(render(&all, &keys, &record), left);
    }
}

#[test]
fn what_a_dictionary_learns_from_has_no_value_that_is_not_public() {
    let learned = sample(EVENT);
    for word in ["Anna", "Bob", "p1", "p2", "42", r#""n""#] {
        assert!(!occurs(word.as_bytes(), &learned), "{word}");
    }
    assert!(occurs(b"in transit", &learned));
    let other = EVENT.replace("Anna", "Josephine").replace("42", "1750.5").replace(r#""n""#, r#""m""#);
    assert_eq!(sample(&other), learned, "it is the same whatever is classified");
}

#[test]
fn the_length_of_a_record_does_not_tell_whether_a_secret_is_like_a_public_value() {
    for keys in forms() {
        let (rules, mut lengths) = (rules(SHAPE), Vec::new());
        for status in ["kj3Xq9Zw7Lm2", "q8Rt5Vn1Yb4c"] {
            for secret in ["kj3Xq9Zw7Lm2", "q8Rt5Vn1Yb4c"] {
                let event = EVENT.replace("in transit", status).replace(r#""n""#, &format!(r#""{secret}""#));
                lengths.push(seal(&rules, &keys, &event.replace("Anna", secret)).len());
            }
        }
        // What is public may compress a byte better or worse than something else; the secret makes no difference.
        assert_eq!(lengths[0], lengths[1]);
        assert_eq!(lengths[2], lengths[3]);
    }
}

#[test]
fn a_packed_event_is_smaller_with_a_dictionary_and_views_read_the_same() {
    let rules = rules(SHAPE);
    let masked = view(&rules, &ViewSpec::default());
    let mut lengths = Vec::new();
    let mut shown = Vec::new();
    for keys in [Keys::new()].into_iter().chain(forms()) {
        let record = seal(&rules, &keys, EVENT);
        shown.push(render(&masked, &keys, &record));
        lengths.push(record.len());
    }
    assert!(shown.iter().all(|text| *text == shown[0]));
    assert!(lengths[2] < lengths[1] && lengths[1] < lengths[0], "{lengths:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn whatever_texts_an_event_has_they_come_back_and_none_is_in_the_record(
        public in "[a-z]{12,40}", internal in "[a-z]{12,40}", secret in "[a-z]{12,40}", repeat in 1..50_usize, form in 1..3_u64,
    ) {
        let keys = Keys::of(Form::of(form));
        let rules = rules(SHAPE);
        let people = (0..repeat).map(|n| format!(r#"{{"id":"{n}","name":"{secret}{n}","role":"{public}"}}"#));
        let people = people.collect::<Vec<_>>().join(",");
        let json = format!(r#"{{ "status" : "{public}", "note":"{internal}",  "people":[{people}], "extra": "{secret}" }}"#);
        let record = seal(&rules, &keys, &json);
        prop_assert_eq!(&render(&view(&rules, &reveal_all(&rules)), &keys, &record), &json);
        let masked = render(&view(&rules, &ViewSpec::default()), &keys, &record);
        prop_assert!(!masked.contains(&secret) && masked.contains(&public));
        for text in [&public, &internal, &secret] {
            prop_assert!(!occurs(text.as_bytes(), &record));
        }
    }
}
