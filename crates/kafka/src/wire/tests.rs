//! The wire, as an adversary would use it; and that the shapes of requests are those that the decoder has.

use bytes::{BufMut, Bytes};
use kafka_protocol::messages::ApiKey;

use super::schema::{Field, Kind, Malformed};
use super::table::{Key, SERVED, served};
use super::{NoRequest, Request};

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// Writes a request as its shape has it.
struct Writer<'a> {
    out: Vec<u8>,
    version: i16,
    flexible: bool,
    dice: &'a mut Dice,
}

impl Writer<'_> {
    fn fields(&mut self, fields: &[Field]) {
        let version = self.version;
        for field in fields.iter().filter(|field| (field.from..=field.to).contains(&version)) {
            self.value(field.kind);
        }
        if self.flexible {
            self.out.put_u8(0);
        }
    }

    fn value(&mut self, kind: Kind) {
        match kind {
            // Booleans and lengths of nothing else: 0 and 1 are always valid.
            Kind::Fixed(size) => {
                let last = self.dice.throw(2) as u8;
                self.out.extend(std::iter::repeat_n(0, size - 1));
                self.out.put_u8(last);
            }
            Kind::Text => {
                let length = self.dice.throw(5) as usize;
                match self.flexible {
                    true => self.out.put_u8(length as u8 + 1),
                    false => self.out.put_u16(length as u16),
                }
                self.out.extend_from_slice(&b"abcde"[..length]);
            }
            Kind::Blob => {
                let length = self.dice.throw(9) as usize;
                self.length(length);
                self.out.extend(std::iter::repeat_n(0xfe, length));
            }
            Kind::Array(of) => {
                let count = self.dice.throw(4) as usize;
                self.length(count);
                (0..count).for_each(|_| self.value(*of));
            }
            Kind::Struct(fields) => self.fields(fields),
            Kind::Optional(fields) => match self.dice.throw(2) {
                0 => self.out.put_i8(-1),
                _ => {
                    self.out.put_i8(1);
                    self.fields(fields);
                }
            },
        }
    }

    fn length(&mut self, length: usize) {
        match self.flexible {
            true => self.out.put_u8(length as u8 + 1),
            false => self.out.put_u32(length as u32),
        }
    }
}

fn frame(key: i16, version: i16, flexible: bool, body: &[u8]) -> Bytes {
    let mut out = Vec::new();
    out.put_i16(key);
    out.put_i16(version);
    out.put_i32(7);
    out.put_i16(2);
    out.put_slice(b"me");
    if flexible {
        out.put_u8(0);
    }
    out.put_slice(body);
    out.into()
}

fn written(api: &super::Api, version: i16, dice: &mut Dice) -> Vec<u8> {
    let flexible = api.schema.is_flexible(version);
    let mut writer = Writer { out: Vec::new(), version, flexible, dice };
    writer.fields(api.schema.fields);
    writer.out
}

/// Every request that is written by its shape is one for the decoder, to the last byte: the shapes are right.
#[test]
fn the_shapes_of_requests_are_those_of_the_decoder() {
    let mut dice = Dice(1);
    for api in &SERVED {
        for version in api.min..=api.max {
            for _ in 0..200 {
                let body = written(api, version, &mut dice);
                let request = Request::read(frame(api.key as i16, version, api.schema.is_flexible(version), &body));
                assert_eq!(api.schema.check(version, &body), Ok(0));
                let decoded = request.unwrap().decode_any();
                assert_eq!(decoded, Ok(()), "{} v{version}: {body:02x?}", api.name);
            }
        }
    }
}

#[test]
fn a_request_that_is_cut_off_anywhere_is_refused() {
    let mut dice = Dice(2);
    for api in &SERVED {
        for version in api.min..=api.max {
            let body = written(api, version, &mut dice);
            for length in 0..body.len() {
                let cut = api.schema.check(version, &body[..length]);
                assert!(cut.is_err(), "{} v{version} of {length} bytes of {}", api.name, body.len());
            }
        }
    }
}

#[test]
fn a_metadata_request_that_claims_two_thousand_million_topics_is_refused_before_it_is_decoded() {
    for version in 0..=8 {
        let request = Request::read(frame(3, version, false, &[0x7f, 0xff, 0xff, 0xff])).unwrap();
        assert_eq!(request.decode_any(), Err(Malformed::Short));
    }
    let request = Request::read(frame(3, 12, true, &[0xff, 0xff, 0xff, 0xff, 0x07, 0, 0, 0])).unwrap();
    assert_eq!(request.decode_any(), Err(Malformed::Short));
}

/// As librdkafka 2.16 asks for all topics: the length was shortened and what it had taken up before was left.
#[test]
fn bytes_after_a_request_are_passed_over() {
    let body = [0, 0, 0, 0, 1, 0, 0];
    assert_eq!(served(3).unwrap().schema.check(12, &body), Ok(3));
    assert_eq!(Request::read(frame(3, 12, true, &body)).unwrap().decode_any(), Ok(()));
}

#[test]
fn entries_are_counted_over_all_arrays_of_a_request() {
    // Groups to describe, each of no bytes: two bytes an entry on the wire, many more in memory.
    let mut body = 60_000u32.to_be_bytes().to_vec();
    body.extend(std::iter::repeat_n(0, 120_000));
    let request = Request::read(frame(15, 0, false, &body)).unwrap();
    assert_eq!(request.decode_any(), Err(Malformed::Entries));
}

#[test]
fn what_is_not_on_the_list_does_not_exist() {
    for key in -1..=100 {
        let Some(api) = served(key) else {
            assert_eq!(Request::read(frame(key, 0, false, &[])).unwrap_err(), NoRequest::Api(key));
            continue;
        };
        for version in [api.advertised - 1, api.max + 1, i16::MIN, i16::MAX] {
            let read = Request::read(frame(key, version, false, &[]));
            let future = api.key == Key::ApiVersions && version > api.max;
            assert_eq!(read.is_ok(), future, "{} v{version}", api.name);
        }
    }
    for never in [71, 72, 10_000, i16::MAX] {
        assert!(served(never).is_none());
    }
}

#[test]
fn what_is_advertised_keeps_old_clients_compressing_and_new_ones_have_topic_ids() {
    let produce = served(0).unwrap();
    assert_eq!((produce.advertised, produce.min, produce.max), (0, 3, 13));
    let fetch = served(1).unwrap();
    assert_eq!((fetch.advertised, fetch.max), (4, 17));
    for api in &SERVED {
        let known = ApiKey::try_from(api.key as i16).unwrap();
        assert!(known.valid_versions().min <= api.min && api.max <= known.valid_versions().max, "{}", api.name);
        assert_eq!(api.schema.is_flexible(api.max), known.request_header_version(api.max) == 2, "{}", api.name);
        assert!(SERVED.iter().filter(|other| other.key == api.key).count() == 1);
    }
    assert!(SERVED.is_sorted_by_key(|api| api.key));
}

#[test]
fn noise_is_refused_and_never_more() {
    let mut dice = Dice(3);
    for _ in 0..200_000 {
        let api = &SERVED[dice.throw(SERVED.len() as u64) as usize];
        let version = api.advertised + dice.throw((api.max - api.advertised) as u64 + 2) as i16;
        let mut body: Vec<u8> = written(api, version.clamp(api.min, api.max), &mut dice);
        for _ in 0..1 + dice.throw(4) {
            if !body.is_empty() {
                let at = dice.throw(body.len() as u64) as usize;
                body[at] = dice.throw(256) as u8;
            }
        }
        super::any::is_request(frame(api.key as i16, version, api.schema.is_flexible(version), &body));
    }
}

/// Found by fuzzing: a partition's tag 0 says that it has 5 bytes, and the decoder takes 16 for it, so that what it then reads
/// as a count of topics was never one.
#[test]
fn a_fetch_with_a_tag_that_brokers_send_each_other_is_refused_before_it_is_decoded() {
    #[rustfmt::skip]
    const FETCH: &[u8] = &[
        0x00, 0x01, 0x00, 0x11, 0x00, 0x00, 0x00, 0x07, 0x00, 0x02, 0x6d, 0x65, 0x00, 0x00, 0x00, 0x01, 0x01, 0x00, 0x00, 0x00, 0xfd, 0x00, 0xf6, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x4d, 0x00, 0x00, 0x00, 0x03, 0x02, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d,
        0x0e, 0x0f, 0x10, 0x02, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x05, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0x23, 0xff, 0xff, 0xff, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x10, 0x02, 0x92, 0x00, 0x00, 0x00, 0x03, 0xe8, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x09, 0x00, 0x00, 0x05, 0x65, 0x01, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00,
        0xff, 0xff, 0xff,
    ];
    let request = Request::read(Bytes::from_static(FETCH)).unwrap();
    assert_eq!(request.decode_any(), Err(Malformed::Field));
}
