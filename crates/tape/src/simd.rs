//! Sixteen bytes at a time: where a string's run of plain bytes ends, and where white space ends.
//!
//! The only module of this crate with unsafe code. The intrinsics used are SSE2, which every x86-64 processor has and
//! every x86-64 target of Rust assumes, so that no detection is needed; they are marked unsafe only because a caller
//! must be known to have the feature. No pointer is involved: loads go through arrays. Other targets take the portable
//! functions, which the tests hold equal to these.

#![allow(unsafe_code)]

/// How many bytes one step looks at.
pub(crate) const LANES: usize = 16;

/// Bit i is set when byte i ends a run of plain string bytes: a quote, a backslash or a control character.
#[inline(always)]
pub(crate) fn string_stops(chunk: &[u8; LANES]) -> u32 {
    #[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
    {
        // SAFETY: SSE2 is on for the whole build (the cfg above), which is all that the callee asks for.
        unsafe { sse2::string_stops(chunk) }
    }
    #[cfg(not(all(target_arch = "x86_64", target_feature = "sse2")))]
    portable::string_stops(chunk)
}

/// Bit i is set when byte i is not JSON white space.
#[inline(always)]
pub(crate) fn not_blank(chunk: &[u8; LANES]) -> u32 {
    #[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
    {
        // SAFETY: as above.
        unsafe { sse2::not_blank(chunk) }
    }
    #[cfg(not(all(target_arch = "x86_64", target_feature = "sse2")))]
    portable::not_blank(chunk)
}

#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
mod sse2 {
    use super::LANES;
    use std::arch::x86_64::*;

    #[inline]
    #[target_feature(enable = "sse2")]
    fn load(chunk: &[u8; LANES]) -> __m128i {
        // Two halves by value: the compiler makes one unaligned load of it, and no pointer is dereferenced here.
        let both = u128::from_le_bytes(*chunk);
        _mm_set_epi64x((both >> 64) as i64, both as i64)
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    pub(super) fn string_stops(chunk: &[u8; LANES]) -> u32 {
        let x = load(chunk);
        let quote = _mm_cmpeq_epi8(x, _mm_set1_epi8(b'"' as i8));
        let backslash = _mm_cmpeq_epi8(x, _mm_set1_epi8(b'\\' as i8));
        // Unsigned x <= 0x1F, as min(x, 0x1F) == x.
        let control = _mm_cmpeq_epi8(_mm_min_epu8(x, _mm_set1_epi8(0x1F)), x);
        _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, backslash), control)) as u32
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    pub(super) fn not_blank(chunk: &[u8; LANES]) -> u32 {
        let x = load(chunk);
        let space = _mm_cmpeq_epi8(x, _mm_set1_epi8(b' ' as i8));
        let line = _mm_cmpeq_epi8(x, _mm_set1_epi8(b'\n' as i8));
        let tab = _mm_cmpeq_epi8(x, _mm_set1_epi8(b'\t' as i8));
        let back = _mm_cmpeq_epi8(x, _mm_set1_epi8(b'\r' as i8));
        let blank = _mm_or_si128(_mm_or_si128(space, line), _mm_or_si128(tab, back));
        !_mm_movemask_epi8(blank) as u32 & 0xFFFF
    }
}

/// The same, byte by byte, for other targets and as the oracle of the tests.
#[cfg(any(test, not(all(target_arch = "x86_64", target_feature = "sse2"))))]
mod portable {
    use super::LANES;

    fn mask(chunk: &[u8; LANES], is: impl Fn(u8) -> bool) -> u32 {
        chunk.iter().enumerate().fold(0, |mask, (i, &b)| mask | u32::from(is(b)) << i)
    }

    pub(super) fn string_stops(chunk: &[u8; LANES]) -> u32 {
        mask(chunk, |b| b < 0x20 || b == b'"' || b == b'\\')
    }

    pub(super) fn not_blank(chunk: &[u8; LANES]) -> u32 {
        mask(chunk, |b| !matches!(b, b' ' | b'\n' | b'\r' | b'\t'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_in_every_lane_is_classed_as_the_portable_way_does() {
        for byte in 0..=255u8 {
            for lane in 0..LANES {
                for background in [b'a', b' ', b'"', 0x00, 0xFF, 0x80] {
                    let mut chunk = [background; LANES];
                    chunk[lane] = byte;
                    assert_eq!(string_stops(&chunk), portable::string_stops(&chunk), "{byte} in lane {lane}");
                    assert_eq!(not_blank(&chunk), portable::not_blank(&chunk), "{byte} in lane {lane}");
                }
            }
        }
    }
}
