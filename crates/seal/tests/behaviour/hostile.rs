//! Events made to hurt.

use tradelane_model::ViewSpec;
use tradelane_seal::{LocateError, Withheld};
use tradelane_tape::{Limits, Tape};

use crate::common::*;

#[test]
fn a_million_elements_are_sealed_and_masked() {
    let rules = rules(&[("/list/*", "pii")]);
    let keys = Keys::new();
    let json = format!("{{\"list\":[{}1]}}", "1,".repeat(999_000));
    let record = seal(&rules, &keys, &json);
    let masked = render(&view(&rules, &ViewSpec::default()), &keys, &record);
    assert_eq!(masked, format!("{{\"list\":[{}null]}}", "null,".repeat(999_000)));
    assert_eq!(render(&view(&rules, &reveal_all(&rules)), &keys, &record), json);
}

#[test]
fn a_crowd_in_one_event_is_refused_and_a_class_of_them_is_not() {
    let rules = rules(&[("/p/*", "pii@/p/*")]);
    let crowd = |people: usize| {
        let people: Vec<String> = (0..people).map(|person| format!("\"person {person}\"")).collect();
        format!("{{\"p\":[{}]}}", people.join(","))
    };
    let mut tape = Tape::new();
    let many = crowd(4_001);
    let doc = tape.parse(many.as_bytes(), &Limits::DOCUMENT).unwrap();
    assert_eq!(rules.locate(doc, &tagger()).unwrap_err(), LocateError::TooManySubjects);
    let keys = Keys::new();
    let some = crowd(100);
    let record = seal(&rules, &keys, &some);
    assert_eq!(render(&view(&rules, &reveal_all(&rules)), &keys, &record), some);
    keys.destroy("person 50");
    let shown = render(&view(&rules, &reveal_all(&rules)), &keys, &record);
    assert_eq!(shown, some.replace("\"person 50\"", "null"));
}

#[test]
fn blanks_without_end_are_refused_where_they_would_not_fit() {
    let rules = rules(&[("/a", "pii"), ("/b", "public")]);
    let mut tape = Tape::new();
    let blanks = " ".repeat(70_000);
    for json in [format!("{{\"a\":{blanks}1}}"), format!("{{\"a\":1,{blanks}\"b\":1}}")] {
        let doc = tape.parse(json.as_bytes(), &Limits::DOCUMENT).unwrap();
        assert_eq!(rules.locate(doc, &tagger()).unwrap_err(), LocateError::WideGap);
    }
    let harmless = format!("{{\"b\":{blanks}1}}");
    assert_eq!(shown(&[("/a", "pii"), ("/b", "public")], &ViewSpec::default(), &harmless), harmless);
}

#[test]
fn the_deepest_document_that_parses_is_hidden_where_it_is_not_named() {
    let deep = format!("{{\"x\":{}{},\"id\":1}}", "[".repeat(63), "]".repeat(63));
    assert_eq!(shown(&[("/id", "public")], &ViewSpec::default(), &deep), "{\"id\":1}");
}

/// A record around any body and sections, sealed as the format's description says, with the log key's own key.
fn forge(key: &tradelane_keys::AeadKey, body: &[u8], sections: &[u8]) -> Vec<u8> {
    forge_as(1, key, body, sections)
}

/// The same in some version; without a dictionary in version 2.
fn forge_as(version: u8, key: &tradelane_keys::AeadKey, body: &[u8], sections: &[u8]) -> Vec<u8> {
    let mut header = vec![b'T', b'S', version, 1];
    header.extend_from_slice(&1_u32.to_le_bytes());
    header.extend_from_slice(&77_u64.to_le_bytes());
    header.extend_from_slice(&5_u64.to_le_bytes());
    header.extend_from_slice(&[3; 12]);
    header.extend_from_slice(&(body.len() as u32).to_le_bytes());
    let product = tradelane_keys::sha256(b"tradelane/sealed-event/v1\0acme\0shipments");
    let mut aad = [header.as_slice(), &[0xFF; 4], &product].concat();
    if version == 2 {
        aad.extend_from_slice(&[0; 36]);
        header.extend_from_slice(&[0; 4]);
    }
    let mut nonce = [0; 12];
    nonce[0] = 5;
    let mut sealed = body.to_vec();
    key.seal_in_place(&nonce, &aad, &mut sealed);
    [header.as_slice(), &sealed, sections].concat()
}

proptest::proptest! {
    #[test]
    fn a_body_of_any_bytes_is_refused_or_rendered_but_never_panics(
        holes in proptest::collection::vec(proptest::prelude::any::<(u8, u8, u8, u16, u8, u8)>(), 0..6),
        sections in proptest::collection::vec((0..3_u8, 0..9_u8, proptest::prelude::any::<[u8; 16]>()), 0..3),
        text in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..60),
        values in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..20),
    ) {
        let mut body = Vec::new();
        body.extend_from_slice(&(holes.len() as u32).to_le_bytes());
        body.extend_from_slice(&(sections.len() as u32).to_le_bytes());
        let mut offset = 0_u32;
        for (key, len, tag) in &sections {
            body.extend_from_slice(&u64::from(*key).to_le_bytes());
            body.extend_from_slice(&offset.to_le_bytes());
            body.extend_from_slice(&u32::from(*len).to_le_bytes());
            body.extend_from_slice(tag);
            offset += u32::from(*len);
        }
        for (at, len, rule, place, prefix, suffix) in &holes {
            body.extend_from_slice(&u32::from(*at).to_le_bytes());
            body.extend_from_slice(&u32::from(*len).to_le_bytes());
            body.extend_from_slice(&u16::from(*rule % 16).to_le_bytes());
            body.extend_from_slice(&place.to_le_bytes());
            body.extend_from_slice(&u16::from(*prefix).to_le_bytes());
            body.extend_from_slice(&u16::from(*suffix).to_le_bytes());
        }
        body.extend_from_slice(&text);
        let keys = Keys::new();
        let rules = rules(&[("/a", "internal"), ("/b", "pii"), ("/c/*", "confidential")]);
        let record = forge(&keys.log.opening(), &body, &values);
        let redact = spec(&[("pii", tradelane_model::Action::Pseudonym), ("internal", tradelane_model::Action::Redact)], &[]);
        for spec in [ViewSpec::default(), reveal_all(&rules), redact] {
            let Ok(event) = tradelane_seal::OpenedEvent::open(&record, &product(), &keys) else { continue };
            let mut out = Vec::new();
            let _ = view(&rules, &spec).render(&event, &keys, &mut tradelane_seal::Scratch::default(), &mut out);
            proptest::prop_assert!(out.len() < 10_000);
        }
    }
}

#[test]
fn the_format_is_what_its_description_says() {
    let keys = Keys::new();
    let rules = rules(&[("/a", "internal")]);
    // {"a":1} with one open hole: at 5, one byte, rule 2 (the second place), a number, the last member, 4 bytes before it.
    let place: u16 = 0xFFF | 1 << 12 | 2 << 13;
    let mut body = vec![1, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 1, 0, 0, 0, 2, 0];
    body.extend_from_slice(&place.to_le_bytes());
    body.extend_from_slice(&[4, 0, 0, 0]);
    body.extend_from_slice(br#"{"a":1}"#);
    let record = forge(&keys.log.opening(), &body, b"");
    assert_eq!(render(&view(&rules, &ViewSpec::default()), &keys, &record), r#"{"a":1}"#);
    let drop = spec(&[("internal", tradelane_model::Action::Drop)], &[]);
    assert_eq!(render(&view(&rules, &drop), &keys, &record), "{}");
}

/// A packed record with this content, in one block of zstd that is not compressed, and with `rest` behind the frame.
fn forge_packed(keys: &Keys, public: &[u8], rest: &[u8]) -> Vec<u8> {
    // RFC 8878: one segment, its size in one byte; the last block, raw.
    let block = ((public.len() as u32) << 3) | 1;
    let mut body = (2 + 3 + public.len() as u32).to_le_bytes().to_vec();
    body.extend_from_slice(&[0x20, public.len() as u8]);
    body.extend_from_slice(&block.to_le_bytes()[..3]);
    body.extend_from_slice(public);
    body.extend_from_slice(rest);
    forge_as(2, &keys.log.opening(), &body, b"")
}

#[test]
fn the_packed_format_is_what_its_description_says() {
    let keys = Keys::of(Form::Packed(None));
    let rules = rules(&[("/a", "internal")]);
    // {"a":1} as above: 5 bytes before it, rule 2, 4 bytes and none around it; an open number, the last member, one byte.
    let public = [&[5, 4, 4, 0], br#"{"a":}"#.as_slice()].concat();
    let rest = [1, 0, 0xF0 | 8 | 2, 1, b'1'];
    let record = forge_packed(&keys, &public, &rest);
    assert_eq!(render(&view(&rules, &ViewSpec::default()), &keys, &record), r#"{"a":1}"#);
    let drop = spec(&[("internal", tradelane_model::Action::Drop)], &[]);
    assert_eq!(render(&view(&rules, &drop), &keys, &record), "{}");
    for damaged in [&rest[..4], &[1, 0, 0xFA, 2, b'1'], &[2, 0, 0xFA, 1, b'1'], &[1, 0, 0xFA, 1, b'1', b'1']] {
        let record = forge_packed(&keys, &public, damaged);
        assert_eq!(try_render(&view(&rules, &drop), &keys, &record).unwrap_err(), Withheld::Corrupt);
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(4_000))]

    #[test]
    fn a_packed_body_of_any_bytes_is_refused_or_rendered(
        public in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..40),
        holes in 0..4_u8,
        sections in 0..3_u8,
        rest in proptest::collection::vec(proptest::prop_oneof![0..20_u8, proptest::prelude::any::<u8>()], 0..120),
    ) {
        let keys = Keys::of(Form::Packed(None));
        let rules = rules(&[("/a", "internal"), ("/b", "pii"), ("/c/*", "confidential")]);
        let record = forge_packed(&keys, &public, &[&[holes, sections], rest.as_slice()].concat());
        for spec in [ViewSpec::default(), reveal_all(&rules)] {
            let Ok(event) = tradelane_seal::OpenedEvent::open(&record, &product(), &keys) else { continue };
            let mut out = Vec::new();
            let _ = view(&rules, &spec).render(&event, &keys, &mut tradelane_seal::Scratch::default(), &mut out);
            proptest::prop_assert!(out.len() < 10_000);
        }
        // And with these bytes for a frame.
        let all = [public.as_slice(), &rest].concat();
        let body = [&(public.len() as u32).to_le_bytes(), all.as_slice()].concat();
        let record = forge_as(2, &keys.log.opening(), &body, b"");
        let _ = tradelane_seal::OpenedEvent::open(&record, &product(), &keys).is_ok();
    }
}
