//! Numbers of variable length, seven bits to a byte, the lowest first, as Avro and Protobuf both write them.

/// The most bytes of a number of 64 bits.
pub const MAX: usize = 10;

/// Reads a number of at most 64 bits from the front of `bytes`; returns it and its length. None: it does not end, or has
/// more bits.
#[inline]
pub fn read(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0_u64;
    for (at, byte) in bytes.iter().take(MAX).enumerate() {
        let bits = u64::from(byte & 0x7F);
        if at == MAX - 1 && bits > 1 {
            return None;
        }
        value |= bits << (7 * at);
        if byte & 0x80 == 0 {
            return Some((value, at + 1));
        }
    }
    None
}

/// Appends a number.
#[inline]
pub fn write(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A signed number from its zigzag form: 0, -1, 1, -2, ...
#[inline]
pub fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// The zigzag form of a signed number.
#[inline]
pub fn zigzag(value: i64) -> u64 {
    (value << 1) as u64 ^ (value >> 63) as u64
}

/// Reads a signed number in zigzag form.
#[inline]
pub fn read_signed(bytes: &[u8]) -> Option<(i64, usize)> {
    read(bytes).map(|(value, len)| (unzigzag(value), len))
}

/// Appends a signed number in zigzag form.
#[inline]
pub fn write_signed(value: i64, out: &mut Vec<u8>) {
    write(zigzag(value), out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_reads_back_as_it_was_written() {
        for value in [0, 1, -1, 63, -64, 64, 300, i64::from(i32::MAX), i64::MAX, i64::MIN] {
            let mut bytes = Vec::new();
            write_signed(value, &mut bytes);
            assert_eq!(read_signed(&bytes), Some((value, bytes.len())));
        }
    }

    #[test]
    fn a_number_that_does_not_end_or_fit_is_refused() {
        assert_eq!(read(&[]), None);
        assert_eq!(read(&[0x80; 9]), None);
        assert_eq!(read(&[0xFF; 11]), None);
        assert_eq!(read(&[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x02]), None);
        assert_eq!(read(&[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01]), Some((u64::MAX, 10)));
    }
}
