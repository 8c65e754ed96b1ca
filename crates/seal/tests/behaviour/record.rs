//! The record as a whole: integrity, erasure, keys.

use tradelane_model::{Action, ViewSpec};
use tradelane_seal::{Header, OpenedEvent, ProductContext, Withheld};
use tradelane_tape::{Limits, Tape};

use crate::common::*;

const SHAPE: &[(&str, &str)] = &[
    ("/id", "public"),
    ("/note", "internal"),
    ("/price", "confidential"),
    ("/people/*/id", "pii@/people/*/id"),
    ("/people/*/name", "pii@/people/*/id"),
    ("/people/*/role", "public"),
];

const EVENT: &str = r#"{"id":1,"note":"n","price":42,"people":[{"id":"p1","name":"Anna","role":"a"},{"id":"p2","name":"Bob","role":"b"}]}"#;

#[test]
fn every_flipped_bit_is_an_error_and_never_another_event() {
    let keys = Keys::new();
    let rules = rules(SHAPE);
    let view = view(&rules, &reveal_all(&rules));
    let record = seal(&rules, &keys, EVENT);
    assert_eq!(render(&view, &keys, &record), EVENT);
    for bit in 0..record.len() * 8 {
        let mut changed = record.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(try_render(&view, &keys, &changed).is_err(), "bit {bit}");
    }
}

#[test]
fn a_cut_or_a_longer_record_is_an_error() {
    let keys = Keys::new();
    let rules = rules(SHAPE);
    let view = view(&rules, &ViewSpec::default());
    let record = seal(&rules, &keys, EVENT);
    for len in 0..record.len() {
        assert!(try_render(&view, &keys, &record[..len]).is_err(), "{len} bytes");
    }
    let longer = [record.as_slice(), b"x"].concat();
    assert!(try_render(&view, &keys, &longer).is_err());
}

#[test]
fn parts_of_two_records_cannot_be_mixed() {
    let keys = Keys::new();
    let rules = rules(SHAPE);
    let view = view(&rules, &reveal_all(&rules));
    let one = seal(&rules, &keys, EVENT);
    let two = seal(&rules, &keys, EVENT);
    assert_ne!(one, two, "sealing again is a fresh record");
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

#[test]
fn sections_of_one_record_cannot_be_swapped() {
    let keys = Keys::new();
    let rules = rules(&[("/a", "pii"), ("/b", "confidential")]);
    let view = view(&rules, &reveal_all(&rules));
    let record = seal(&rules, &keys, r#"{"a":"11","b":"22"}"#);
    let mut swapped = record.clone();
    let end = record.len();
    swapped[end - 8..end - 4].copy_from_slice(&record[end - 4..]);
    swapped[end - 4..].copy_from_slice(&record[end - 8..end - 4]);
    assert_eq!(try_render(&view, &keys, &swapped).unwrap_err(), Withheld::Corrupt);
}

#[test]
fn a_record_of_one_product_does_not_open_as_another() {
    let keys = Keys::new();
    let record = seal(&rules(SHAPE), &keys, EVENT);
    let other = ProductContext::new("acme", "inventory");
    assert_eq!(OpenedEvent::open(&record, &other, &keys).unwrap_err(), Withheld::Corrupt);
    assert_ne!(ProductContext::new("a", "bc"), ProductContext::new("ab", "c"));
}

#[test]
fn a_destroyed_key_leaves_the_row_and_nothing_of_the_person() {
    let keys = Keys::new();
    let rules = rules(SHAPE);
    let all = view(&rules, &reveal_all(&rules));
    let pseudonyms = view(&rules, &spec(&[("pii", Action::Pseudonym)], &[]));
    let record = seal(&rules, &keys, EVENT);
    assert!(render(&pseudonyms, &keys, &record).matches("p-").count() == 4);
    keys.destroy("p1");
    pseudonyms.clear_cache();
    let (shown, rendered) = try_render(&all, &keys, &record).unwrap();
    assert_eq!(shown, r#"{"id":1,"note":"n","price":42,"people":[{"role":"a"},{"id":"p2","name":"Bob","role":"b"}]}"#);
    assert_eq!(rendered.erased, 2);
    assert_eq!(render(&pseudonyms, &keys, &record).matches("p-").count(), 2);
}

#[test]
fn a_missing_key_withholds_the_record_unless_it_is_not_needed() {
    let keys = Keys::new();
    let rules = rules(SHAPE);
    let record = seal(&rules, &keys, EVENT);
    keys.lose_default();
    assert_eq!(try_render(&view(&rules, &reveal_all(&rules)), &keys, &record).unwrap_err(), Withheld::MissingKey);
    assert!(try_render(&view(&rules, &ViewSpec::default()), &keys, &record).is_ok());
    let foreign = seal(&rules, &Keys::with_log(78), r#"{"id":1}"#);
    assert_eq!(OpenedEvent::open(&foreign, &product(), &keys).unwrap_err(), Withheld::UnknownLogKey);
}

#[test]
fn a_view_of_another_version_refuses_the_record() {
    let keys = Keys::new();
    let old = rules(SHAPE);
    let now = std::sync::Arc::new(tradelane_seal::Rules::compile(&shape(SHAPE), 2).unwrap());
    let record = seal(&old, &keys, EVENT);
    assert_eq!(Header::read(&record).unwrap().shape, 1);
    assert_eq!(try_render(&view(&now, &ViewSpec::default()), &keys, &record).unwrap_err(), Withheld::OtherShape);
}

#[test]
fn a_scrub_finds_damage_in_sections_that_no_view_opens() {
    let keys = Keys::new();
    let rules = rules(SHAPE);
    let mut record = seal(&rules, &keys, EVENT);
    OpenedEvent::open(&record, &product(), &keys).unwrap().verify_sections(&keys).unwrap();
    *record.last_mut().unwrap() ^= 1;
    let event = OpenedEvent::open(&record, &product(), &keys).unwrap();
    assert_eq!(event.verify_sections(&keys), Err(Withheld::Corrupt));
}

#[test]
fn each_person_is_located_once_and_a_field_without_its_person_is_told() {
    let rules = rules(SHAPE);
    let mut tape = Tape::new();
    let mut locate = |json: &str| {
        let doc = tape.parse(json.as_bytes(), &Limits::EVENT).unwrap();
        let located = rules.locate(doc, &tagger()).unwrap();
        (located.subjects().to_vec(), located.is_unattributed())
    };
    let (subjects, unattributed) = locate(EVENT);
    assert_eq!(subjects, [tagger().tag("p1"), tagger().tag("p2")]);
    assert!(!unattributed);
    let (subjects, unattributed) = locate(r#"{"people":[{"name":"Anna"},{"id":7,"name":"Bob"}]}"#);
    assert_eq!(subjects, [tagger().tag("7")], "a number is an identity as well");
    assert!(unattributed);
}

#[test]
fn an_erased_person_is_gone_from_reclassified_events_too() {
    let keys = Keys::new();
    let old = rules(SHAPE);
    let record = seal(&old, &keys, EVENT);
    keys.destroy("p2");
    let mut later = SHAPE.to_vec();
    later[0] = ("/id", "confidential");
    let now = std::sync::Arc::new(tradelane_seal::Rules::compile(&shape(&later), 2).unwrap());
    let view =
        tradelane_seal::View::compile(&old, &now, &spec(&[("pii", Action::Reveal)], &[]), view_keys("r")).unwrap();
    assert!(!view.is_fast());
    assert_eq!(
        render(&view, &keys, &record),
        r#"{"note":"n","people":[{"id":"p1","name":"Anna","role":"a"},{"role":"b"}]}"#
    );
}
