//! Zigzag variable-length integers as records have them (those of Protocol Buffers, `sint32` and `sint64`).
//!
//! Read strictly: at most 5 or 10 bytes, no bits beyond the type, no encoding longer than the value needs. So what was read
//! and is written again has the same length, and one value has one spelling. It knows nothing of what the numbers mean.

use crate::error::BatchError;

/// Takes a 32-bit integer off the front of `bytes`.
#[inline]
pub(crate) fn take_i32(bytes: &mut &[u8]) -> Result<i32, BatchError> {
    let [first, rest @ ..] = *bytes else { return Err(BatchError::Varint) };
    let raw = if *first < 0x80 {
        *bytes = rest;
        u32::from(*first)
    } else if let [second @ 1..0x80, rest @ ..] = rest {
        *bytes = rest;
        u32::from(*first & 0x7f) | (u32::from(*second) << 7)
    } else {
        // The fifth byte has four bits left to give.
        u32::try_from(take_long::<5>(bytes)?).map_err(|_| BatchError::Varint)?
    };
    Ok((raw >> 1).cast_signed() ^ (raw & 1).cast_signed().wrapping_neg())
}

/// Takes a 64-bit integer off the front of `bytes`.
#[inline]
pub(crate) fn take_i64(bytes: &mut &[u8]) -> Result<i64, BatchError> {
    let [first, rest @ ..] = *bytes else { return Err(BatchError::Varint) };
    let raw = if *first < 0x80 {
        *bytes = rest;
        u64::from(*first)
    } else {
        take_long::<10>(bytes)?
    };
    Ok((raw >> 1).cast_signed() ^ (raw & 1).cast_signed().wrapping_neg())
}

/// Any length up to `MOST` bytes.
fn take_long<const MOST: usize>(bytes: &mut &[u8]) -> Result<u64, BatchError> {
    let mut value = 0u64;
    let mut shift = 0u32;
    for (at, &byte) in bytes.iter().take(MOST).enumerate() {
        let bits = u64::from(byte & 0x7f);
        // The tenth byte has one bit left to give.
        if shift == 63 && bits > 1 {
            return Err(BatchError::Varint);
        }
        value |= bits << shift;
        if byte < 0x80 {
            let overlong = byte == 0 && at > 0;
            let rest = bytes.split_at_checked(at.saturating_add(1)).map(|(_, rest)| rest);
            let (false, Some(rest)) = (overlong, rest) else { return Err(BatchError::Varint) };
            *bytes = rest;
            return Ok(value);
        }
        shift = shift.saturating_add(7);
    }
    Err(BatchError::Varint)
}

/// Appends a 32-bit integer.
#[inline]
pub(crate) fn put_i32(out: &mut Vec<u8>, value: i32) {
    put_raw(out, u64::from(((value << 1) ^ (value >> 31)).cast_unsigned()));
}

/// Appends a 64-bit integer.
#[inline]
pub(crate) fn put_i64(out: &mut Vec<u8>, value: i64) {
    put_raw(out, ((value << 1) ^ (value >> 63)).cast_unsigned());
}

#[inline]
fn put_raw(out: &mut Vec<u8>, mut raw: u64) {
    while raw >= 0x80 {
        out.push(low_bits(raw) | 0x80);
        raw >>= 7;
    }
    out.push(low_bits(raw));
}

fn low_bits(raw: u64) -> u8 {
    let [low, ..] = raw.to_le_bytes();
    low & 0x7f
}

/// Bytes that a 32-bit integer takes.
#[inline]
pub(crate) fn len_i32(value: i32) -> usize {
    len_raw(u64::from(((value << 1) ^ (value >> 31)).cast_unsigned()))
}

/// Bytes that a 64-bit integer takes.
#[inline]
pub(crate) fn len_i64(value: i64) -> usize {
    len_raw(((value << 1) ^ (value >> 63)).cast_unsigned())
}

fn len_raw(raw: u64) -> usize {
    let bits = 64u32.saturating_sub((raw | 1).leading_zeros());
    usize::try_from(bits.div_ceil(7)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_reads_back_and_has_the_length_foretold(small: i32, large: i64, follows: u8) {
            let mut bytes = Vec::new();
            put_i32(&mut bytes, small);
            prop_assert_eq!(bytes.len(), len_i32(small));
            put_i64(&mut bytes, large);
            prop_assert_eq!(bytes.len(), len_i32(small) + len_i64(large));
            bytes.push(follows);
            let mut rest = bytes.as_slice();
            prop_assert_eq!(take_i32(&mut rest), Ok(small));
            prop_assert_eq!(take_i64(&mut rest), Ok(large));
            prop_assert_eq!(rest.to_vec(), vec![follows]);
        }

        #[test]
        fn a_number_has_one_spelling(bytes in proptest::collection::vec(any::<u8>(), 0..12)) {
            let mut rest = bytes.as_slice();
            if let Ok(value) = take_i64(&mut rest) {
                let mut again = Vec::new();
                put_i64(&mut again, value);
                prop_assert_eq!(again.as_slice(), &bytes[..bytes.len() - rest.len()]);
            }
            let mut rest = bytes.as_slice();
            if let Ok(value) = take_i32(&mut rest) {
                let mut again = Vec::new();
                put_i32(&mut again, value);
                prop_assert_eq!(again.as_slice(), &bytes[..bytes.len() - rest.len()]);
            }
        }
    }

    #[test]
    fn extremes_and_known_encodings() {
        for (value, bytes) in [
            (0, vec![0u8]),
            (-1, vec![1]),
            (1, vec![2]),
            (-64, vec![0x7f]),
            (64, vec![0x80, 1]),
            (i32::MAX, vec![0xfe, 0xff, 0xff, 0xff, 0x0f]),
            (i32::MIN, vec![0xff, 0xff, 0xff, 0xff, 0x0f]),
        ] {
            let mut out = Vec::new();
            put_i32(&mut out, value);
            assert_eq!(out, bytes);
            assert_eq!(take_i32(&mut out.as_slice()), Ok(value));
        }
    }

    #[test]
    fn long_overlong_and_cut_numbers_are_refused() {
        for bytes in [
            &[][..],
            &[0x80],
            &[0x80, 0x00],
            &[0xff, 0x80, 0x00],
            &[0xff, 0xff, 0xff, 0xff, 0x1f],
            &[0xff, 0xff, 0xff, 0xff, 0x80, 0x01],
        ] {
            assert_eq!(take_i32(&mut { bytes }), Err(BatchError::Varint), "{bytes:?}");
        }
        let mut long = vec![0xff; 9];
        long.push(2);
        assert_eq!(take_i64(&mut long.as_slice()), Err(BatchError::Varint));
        *long.last_mut().unwrap() = 1;
        assert_eq!(take_i64(&mut long.as_slice()), Ok(i64::MIN));
        assert_eq!(take_i64(&mut [0x80; 11].as_slice()), Err(BatchError::Varint));
    }
}
