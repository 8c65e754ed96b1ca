//! No input makes this crate allocate more than it is allowed: counted at the allocator, in a process of its own.

use peak_alloc::PeakAlloc;
use tradelane_records::{
    Action, Batch, BatchBuilder, BatchError, BatchHead, Decompressor, HEADER_LEN, Limits, Output, Rewriter, patch,
};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Bytes that `work` had allocated at most, beside what there was before. Old and new block of a move are both counted.
fn peak(work: impl FnOnce()) -> usize {
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    work();
    ALLOCATOR.peak_usage().saturating_sub(before)
}

fn forge(attributes: u8, count: i32, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    BatchBuilder::new(&mut bytes, &BatchHead::default()).finish(0).expect("empty");
    bytes[22] = attributes;
    bytes[23..27].copy_from_slice(&i32::MAX.to_be_bytes());
    bytes[57..61].copy_from_slice(&count.to_be_bytes());
    bytes.extend_from_slice(body);
    let length = (bytes.len() - 12) as i32;
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    patch::set_producer(&mut bytes, 1, 1, 1).expect("whole");
    bytes
}

fn walk(bytes: &[u8], limits: &Limits) -> Result<u32, BatchError> {
    let (batch, _) = Batch::parse(bytes, limits)?;
    let mut scratch = Decompressor::new();
    batch.records(&mut scratch, limits)?.try_fold(0, |count, record| record.map(|_| count + 1))
}

// One test, so that nothing else allocates meanwhile.
#[test]
fn hostile_input_allocates_no_more_than_its_cap() {
    let limits = Limits { max_decompressed: 1 << 20, ..Limits::default() };
    // What codecs keep for themselves: windows and tables of fixed size.
    let fixed = 128 << 10;

    for claim in [i32::MAX, i32::MIN, -1, 1_000_000, 100_000, 1] {
        for codec in 0..8 {
            let bytes = forge(codec, claim, &[]);
            assert_eq!(bytes.len(), HEADER_LEN);
            let used = peak(|| assert!(walk(&bytes, &limits).is_err()));
            assert!(used <= fixed, "{claim} records, codec {codec}: {used}");
        }
    }

    // Lengths inside of records that promise what is not there.
    for body in [&[0xfe, 0xff, 0xff, 0xff, 0x0f][..], &[20, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff, 0x0f, 0, 0]] {
        let bytes = forge(0, 1, body);
        assert_eq!(peak(|| assert!(walk(&bytes, &limits).is_err())), 0);
    }
    let headers = forge(0, 1, &[22, 0, 0, 0, 1, 1, 0xfe, 0xff, 0xff, 0xff, 0x0f, 0]);
    assert_eq!(peak(|| assert_eq!(walk(&headers, &limits), Err(BatchError::TooManyHeaders))), 0);

    // Frames that claim large blocks, windows or contents and hold nothing.
    let zstd_window = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa0, 0x01, 0x00, 0x00];
    let zstd_content = [0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0x01, 0, 0];
    let snappy = [0xff, 0xff, 0xff, 0xff, 0x0f, 0x00, 0x41];
    let lz4 = [4, 0x22, 0x4d, 0x18, 0x60, 0x70, 0x73, 5, 0, 0, 0, 0x10, 0x41, 1, 0, 0x50];
    for (codec, claim) in [(4, &zstd_window[..]), (4, &zstd_content), (2, &snappy), (3, &lz4)] {
        let bytes = forge(codec, 1, claim);
        let used = peak(|| assert!(walk(&bytes, &limits).is_err()));
        assert!(used <= fixed, "codec {codec}: {used}");
    }

    // Bombs: 6 MB of zeros, which a cap of 1 MiB may cost little more than 1 MiB, twice while a buffer moves.
    let zeros = vec![0; 6_000_000];
    for codec in 1..=4u8 {
        let bytes = forge(codec, 1, &compress(codec, &zeros));
        let used = peak(|| assert_eq!(walk(&bytes, &limits), Err(BatchError::Bomb)));
        assert!(used <= 2 * limits.max_decompressed + fixed, "codec {codec}: {used}");
        let mut out = Vec::new();
        let used = peak(|| {
            let (batch, _) = Batch::parse(&bytes, &limits).expect("a good header");
            let mut rewriter = Rewriter::new();
            assert!(rewriter.rewrite(&batch, &limits, Output::Lz4, &mut out, |_, _| Action::Keep).is_err());
        });
        assert!(used <= 2 * limits.max_decompressed + fixed, "codec {codec}, rewriting: {used}");
    }
}

fn compress(codec: u8, plain: &[u8]) -> Vec<u8> {
    match codec {
        1 => {
            let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            std::io::Write::write_all(&mut out, plain).expect("to memory");
            out.finish().expect("to memory")
        }
        2 => snap::raw::Encoder::new().compress_vec(plain).expect("to memory"),
        3 => {
            let mut frame = vec![4, 0x22, 0x4d, 0x18, 0x60, 0x70, 0x73];
            for block in plain.chunks(4 << 20) {
                let packed = lz4_flex::block::compress(block);
                frame.extend_from_slice(&(packed.len() as u32).to_le_bytes());
                frame.extend_from_slice(&packed);
            }
            frame.extend_from_slice(&[0; 4]);
            frame
        }
        _ => {
            let mut out = Vec::with_capacity(zstd_safe::compress_bound(plain.len()));
            zstd_safe::compress(&mut out, plain, 3).expect("to memory");
            out
        }
    }
}
