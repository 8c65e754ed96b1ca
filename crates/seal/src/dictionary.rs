//! Compression of what is public in events, with what events of the same product have in common.
//!
//! A dictionary is made of samples once and never changes; a record names it by its number and binds its bytes. Contexts are
//! kept by each thread and digested dictionaries with the dictionary, so that no record makes any. What this module does not
//! know: what it compresses. Only [`pack`](crate::pack) calls it, with public bytes alone.

use std::cell::RefCell;
use std::fmt;

use tradelane_keys::sha256;
use zstd_safe::{CCtx, CDict, DCtx, DDict};

/// The most bytes of a dictionary.
pub const MAX_DICTIONARY: usize = 64 << 10;
/// Bytes of a dictionary that is trained: a compromise between what it saves and how much of the processor's cache it takes.
const TRAINED: usize = 16 << 10;
/// zstd's own default. Higher levels save little on a kilobyte.
const LEVEL: i32 = 3;
/// How a dictionary in zstd's format begins (RFC 8878, section 5).
const MAGIC: [u8; 4] = 0xEC30_A437_u32.to_le_bytes();

thread_local! {
    static COMPRESSOR: RefCell<CCtx<'static>> = RefCell::new(CCtx::create());
    static DECOMPRESSOR: RefCell<DCtx<'static>> = RefCell::new(DCtx::create());
}

/// What public parts of a product's events have in common.
pub struct Dictionary {
    number: u32,
    digest: [u8; 32],
    for_sealing: CDict<'static>,
    for_opening: DDict<'static>,
}

impl Dictionary {
    /// A stored dictionary, ready for use. `number` names it among those of its product, from 1 on. None if it is 0, or
    /// if there are no bytes, or more than [`MAX_DICTIONARY`], or they are damaged.
    pub fn new(number: u32, bytes: &[u8]) -> Option<Self> {
        if number == 0 || bytes.is_empty() || bytes.len() > MAX_DICTIONARY {
            return None;
        }
        let for_sealing = CDict::try_create(bytes, LEVEL)?;
        let for_opening = DDict::try_create(bytes)?;
        Some(Self { number, digest: sha256(bytes), for_sealing, for_opening })
    }

    /// Makes a dictionary of samples ([`Packing::sample`](crate::Packing)) that lie one after the other; `sizes` says where
    /// each ends. None if they are too few or have nothing in common. Takes seconds for a mebibyte.
    pub fn train(samples: &[u8], sizes: &[usize]) -> Option<Vec<u8>> {
        if sizes.iter().try_fold(0_usize, |sum, size| sum.checked_add(*size)) != Some(samples.len()) {
            return None;
        }
        let mut bytes = vec![0; TRAINED];
        let len = zstd_safe::train_from_buffer(bytes.as_mut_slice(), samples, sizes).ok()?;
        bytes.truncate(len);
        // Records name their dictionary themselves: without an id in it, frames are four bytes shorter.
        if let Some((magic, rest)) = bytes.split_first_chunk_mut::<4>()
            && *magic == MAGIC
            && let Some(id) = rest.first_chunk_mut::<4>()
        {
            *id = [0; 4];
        }
        Some(bytes)
    }

    /// Its number among those of its product.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// What binds a record to these bytes and no others.
    pub(crate) fn digest(&self) -> &[u8; 32] {
        &self.digest
    }
}

impl fmt::Debug for Dictionary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dictionary({})", self.number)
    }
}

/// Appends a frame of `plain` to `out`. On an error `out` is as it was.
pub(crate) fn compress(plain: &[u8], dictionary: Option<&Dictionary>, out: &mut Vec<u8>) -> Result<(), ()> {
    let start = out.len();
    out.resize(start + zstd_safe::compress_bound(plain.len()), 0);
    let (_, room) = out.split_at_mut(start);
    let done = COMPRESSOR.with_borrow_mut(|context| match dictionary {
        Some(dictionary) => context.compress_using_cdict(room, plain, &dictionary.for_sealing),
        None => context.compress(room, plain, LEVEL),
    });
    out.truncate(start + done.as_ref().map_or(0, |len| *len));
    done.map(drop).map_err(drop)
}

/// Decompresses one frame into `out`, in place of what was there. None if it is damaged, or does not say that it is at most
/// `cap` bytes, or is not what it says.
pub(crate) fn decompress(frame: &[u8], dictionary: Option<&Dictionary>, cap: usize, out: &mut Vec<u8>) -> Option<()> {
    let claimed = zstd_safe::get_frame_content_size(frame).ok()??;
    let claimed = usize::try_from(claimed).ok().filter(|len| *len <= cap)?;
    out.clear();
    out.resize(claimed, 0);
    let len = DECOMPRESSOR.with_borrow_mut(|context| match dictionary {
        Some(dictionary) => context.decompress_using_ddict(out.as_mut_slice(), frame, &dictionary.for_opening),
        None => context.decompress(out.as_mut_slice(), frame),
    });
    (len.ok()? == claimed).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> (Vec<u8>, Vec<usize>) {
        let all: Vec<Vec<u8>> = (0..400)
            .map(|n| {
                let city = ["Hamburg", "Rotterdam", "Piraeus"][n % 3];
                format!(r#"{{"type":"shipment","number":{n},"origin":"{city}","status":"in transit"}}"#).into_bytes()
            })
            .collect();
        (all.concat(), all.iter().map(Vec::len).collect())
    }

    #[test]
    fn what_was_compressed_with_a_dictionary_is_smaller_and_comes_back() {
        let (bytes, sizes) = samples();
        let dictionary = Dictionary::new(1, &Dictionary::train(&bytes, &sizes).unwrap()).unwrap();
        let plain = br#"{"type":"shipment","number":77777,"origin":"Piraeus","status":"in transit"}"#;
        let (mut with, mut without, mut back) = (Vec::new(), Vec::new(), Vec::new());
        compress(plain, Some(&dictionary), &mut with).unwrap();
        compress(plain, None, &mut without).unwrap();
        assert!(with.len() * 2 < without.len(), "{} and {} bytes", with.len(), without.len());
        decompress(&with, Some(&dictionary), 1 << 20, &mut back).unwrap();
        assert_eq!(back, plain);
        decompress(&without, None, 1 << 20, &mut back).unwrap();
        assert_eq!(back, plain);
    }

    #[test]
    fn a_bomb_ends_at_the_cap_before_anything_is_allocated() {
        let mut frame = Vec::new();
        compress(&vec![0; 1 << 20], None, &mut frame).unwrap();
        assert!(frame.len() < 200);
        let mut out = Vec::new();
        assert!(decompress(&frame, None, (1 << 20) - 1, &mut out).is_none());
        assert_eq!(out.capacity(), 0);
        assert!(decompress(&frame, None, 1 << 20, &mut out).is_some());
    }

    #[test]
    fn samples_that_have_nothing_in_common_make_no_dictionary_and_no_panic() {
        assert!(Dictionary::train(&[], &[]).is_none());
        assert!(Dictionary::train(b"abc", &[1, 1]).is_none());
        assert!(Dictionary::train(b"abc", &[usize::MAX, 4]).is_none());
        assert!(Dictionary::new(0, b"bytes").is_none());
        assert!(Dictionary::new(1, b"").is_none());
    }
}
