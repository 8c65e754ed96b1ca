//! All codecs in, each under its cap; a bomb is an error.

use std::io::Write;

use proptest::prelude::*;
use tradelane_records::{BatchError, BatchHead, Compression, Decompressor, HEADER_LEN, Limits, Output};

use crate::build::{Batch, build, parse, plain, read, records};
use crate::damage::forge;

pub(crate) const CODECS: [Compression; 4] =
    [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

pub(crate) fn compress(codec: Compression, plain: &[u8]) -> Vec<u8> {
    match codec {
        Compression::None => plain.to_vec(),
        Compression::Gzip => {
            let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            out.write_all(plain).unwrap();
            out.finish().unwrap()
        }
        Compression::Snappy => snap::raw::Encoder::new().compress_vec(plain).unwrap(),
        Compression::Lz4 => lz4(plain, 0x60, 0x70, &plain.chunks(4 << 20).collect::<Vec<_>>()),
        Compression::Zstd => {
            let mut out = Vec::with_capacity(zstd_safe::compress_bound(plain.len()));
            zstd_safe::compress(&mut out, plain, 3).unwrap();
            out
        }
    }
}

/// An LZ4 frame with independent blocks and what else the flags ask for.
fn lz4(whole: &[u8], flags: u8, block: u8, blocks: &[&[u8]]) -> Vec<u8> {
    let mut descriptor = vec![flags, block];
    if flags & 8 != 0 {
        descriptor.extend_from_slice(&(whole.len() as u64).to_le_bytes());
    }
    let mut out = vec![4, 0x22, 0x4d, 0x18];
    out.extend_from_slice(&descriptor);
    out.push((twox_hash::XxHash32::oneshot(0, &descriptor) >> 8) as u8);
    let mut past: &[u8] = &[];
    for data in blocks {
        let packed = if flags & 0x20 == 0 {
            lz4_flex::block::compress_with_dict(data, past)
        } else {
            lz4_flex::block::compress(data)
        };
        past = data;
        out.extend_from_slice(&(packed.len() as u32).to_le_bytes());
        out.extend_from_slice(&packed);
        if flags & 0x10 != 0 {
            out.extend_from_slice(&twox_hash::XxHash32::oneshot(0, &packed).to_le_bytes());
        }
    }
    out.extend_from_slice(&[0; 4]);
    if flags & 4 != 0 {
        out.extend_from_slice(&twox_hash::XxHash32::oneshot(0, whole).to_le_bytes());
    }
    out
}

/// An uncompressed batch with its records compressed.
pub(crate) fn recode(batch: &[u8], codec: Compression) -> Vec<u8> {
    let parsed = parse(batch);
    let number = match codec {
        Compression::None => 0,
        Compression::Gzip => 1,
        Compression::Snappy => 2,
        Compression::Lz4 => 3,
        Compression::Zstd => 4,
    };
    let body = compress(codec, &batch[HEADER_LEN..]);
    forge(number, parsed.last_offset_delta(), parsed.record_count() as i32, &body)
}

fn attempt(bytes: &[u8], limits: &Limits) -> Result<usize, BatchError> {
    let (batch, _) = Batch::parse(bytes, limits)?;
    let mut scratch = Decompressor::new();
    batch.records(&mut scratch, limits)?.try_fold(0, |sum, record| Ok(sum + record?.raw().len()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn each_codec_gives_back_what_was_compressed(records in records(30)) {
        let last = records.last().map_or(0, |record| record.offset_delta);
        let bytes = build(&BatchHead::default(), &records, last, Output::Uncompressed);
        for codec in CODECS {
            let packed = recode(&bytes, codec);
            let batch = parse(&packed);
            prop_assert_eq!(batch.compression(), codec);
            prop_assert_eq!(read(&batch), Ok(records.clone()));
        }
    }

    #[test]
    fn damaged_or_cut_compressed_bytes_are_survived(
        codec in prop::sample::select(CODECS.to_vec()),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut body = compress(codec, &build(&BatchHead::default(), &plain(20), 19, Output::Uncompressed)[HEADER_LEN..]);
        for (at, value) in damage {
            let at = at.index(body.len());
            body[at] = value;
        }
        body.truncate(cut.index(body.len() + 1));
        let attributes = 1 + CODECS.iter().position(|other| *other == codec).unwrap() as i16;
        let _ = attempt(&forge(attributes, 19, 20, &body), &Limits::default());
    }
}

#[test]
fn the_scratch_serves_batch_after_batch() {
    let mut scratch = Decompressor::new();
    for round in 0..3 {
        for codec in CODECS {
            let records = plain(1 + 40 * round);
            let last = records.len() as i32 - 1;
            let bytes = recode(&build(&BatchHead::default(), &records, last, Output::Uncompressed), codec);
            let batch = parse(&bytes);
            assert_eq!(batch.records(&mut scratch, &Limits::default()).unwrap().count(), records.len());
        }
    }
    scratch.shrink_to(0);
}

#[test]
fn a_bomb_is_an_error_at_the_cap_and_not_before() {
    // One record with a value of zeros, and what each codec makes of it.
    let mut records = plain(1);
    records[0].value = Some(vec![0; 3_000_000]);
    let bytes = build(&BatchHead::default(), &records, 0, Output::Uncompressed);
    let size = bytes.len() - HEADER_LEN;
    for codec in CODECS {
        let packed = recode(&bytes, codec);
        assert!(packed.len() < size / 15, "{codec:?} {}", packed.len());
        let exact = Limits { max_decompressed: size, ..Limits::default() };
        assert_eq!(attempt(&packed, &exact), Ok(size), "{codec:?}");
        for short in [1, 2, 1_000, size / 2, size - 20] {
            let limits = Limits { max_decompressed: size - short, ..Limits::default() };
            assert_eq!(attempt(&packed, &limits), Err(BatchError::Bomb), "{codec:?} {short}");
        }
        // A scratch that is large from an earlier batch does not lift the cap.
        let mut scratch = Decompressor::new();
        parse(&packed).records(&mut scratch, &Limits::default()).unwrap();
        let limits = Limits { max_decompressed: size - 1, ..Limits::default() };
        assert_eq!(parse(&packed).records(&mut scratch, &limits).unwrap_err(), BatchError::Bomb, "{codec:?}");
    }
}

#[test]
fn a_snappy_block_that_claims_more_than_it_can_hold_is_refused() {
    // Claims 64 MiB less one in four bytes, then a literal.
    let bytes = forge(2, 0, 1, &[0xff, 0xff, 0xff, 0x1f, 0x00, 0x41]);
    assert_eq!(attempt(&bytes, &Limits::default()), Err(BatchError::Corrupt(Compression::Snappy)));
}

#[test]
fn snappy_in_javas_frames_is_read_chunk_by_chunk() {
    let bytes = build(&BatchHead::default(), &plain(30), 29, Output::Uncompressed);
    let mut framed = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec();
    for chunk in bytes[HEADER_LEN..].chunks(500) {
        let packed = compress(Compression::Snappy, chunk);
        framed.extend_from_slice(&(packed.len() as i32).to_be_bytes());
        framed.extend_from_slice(&packed);
    }
    assert_eq!(read(&parse(&forge(2, 29, 30, &framed))), Ok(plain(30)));
    for cut in 0..framed.len() {
        assert!(attempt(&forge(2, 29, 30, &framed[..cut]), &Limits::default()).is_err());
    }
}

#[test]
fn lz4_frames_of_every_kind_are_read_and_checked() {
    let bytes = build(&BatchHead::default(), &plain(30), 29, Output::Uncompressed);
    let body = &bytes[HEADER_LEN..];
    let blocks: Vec<_> = body.chunks(700).collect();
    for flags in [0x60, 0x40, 0x70, 0x68, 0x64, 0x7c, 0x5c] {
        for block in [0x40, 0x50, 0x60, 0x70] {
            let frame = lz4(body, flags, block, &blocks);
            assert_eq!(read(&parse(&forge(3, 29, 30, &frame))), Ok(plain(30)), "{flags:x}");
            for at in (0..frame.len()).filter(|at| flags == 0x7c || *at < 15) {
                let mut damaged = frame.clone();
                damaged[at] ^= 0x10;
                let outcome = attempt(&forge(3, 29, 30, &damaged), &Limits::default());
                // With all checksums on, no damage passes.
                assert!(outcome.is_err() || flags != 0x7c, "{flags:x} {at}");
            }
            let trailing = [frame.as_slice(), &[0]].concat();
            assert!(attempt(&forge(3, 29, 30, &trailing), &Limits::default()).is_err());
        }
    }
    // A header checksum as messages of magic 0 and 1 had it, over the magic bytes as well, is wrong here.
    let mut old = lz4(body, 0x60, 0x40, &blocks);
    let wrong = twox_hash::XxHash32::oneshot(0, &old[..6]);
    old[6] = (wrong >> 8) as u8;
    assert_eq!(attempt(&forge(3, 29, 30, &old), &Limits::default()), Err(BatchError::Corrupt(Compression::Lz4)));
}

#[test]
fn what_is_written_as_lz4_is_smaller_or_not_compressed() {
    let mut records = plain(3);
    records[1].value = Some(vec![b'x'; 200_000]);
    let bytes = build(&BatchHead::default(), &records, 2, Output::Lz4);
    assert_eq!((parse(&bytes).compression(), bytes.len() < 3_000), (Compression::Lz4, true));
    assert_eq!(read(&parse(&bytes)), Ok(records.clone()));
    // Noise: an LCG's high bytes.
    let mut state = 1u64;
    let mut noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    records[1].value = Some((0..200_000).map(|_| noise()).collect());
    records.truncate(2);
    let bytes = build(&BatchHead::default(), &records, 1, Output::Lz4);
    assert_eq!(parse(&bytes).compression(), Compression::None);
    assert_eq!(read(&parse(&bytes)), Ok(records));
}
