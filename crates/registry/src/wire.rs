//! The prefix by which a record names the schema that it was written with, as Confluent's serializers put it in front of a
//! value: a zero byte and the schema's id (4 bytes, big endian).
//!
//! Source: Confluent's "Wire format" of its serializers. JSON cannot begin with a zero byte, so nothing is mistaken.

/// Bytes of the prefix.
pub const PREFIX: usize = 5;

/// A value that begins like a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framed<'a> {
    /// There is no prefix: the value is as it is.
    Plain(&'a [u8]),
    /// The id, and what follows it.
    Named(u32, &'a [u8]),
    /// It ends inside the prefix.
    Cut,
}

/// Takes the prefix off a value, if it has one.
pub fn split(value: &[u8]) -> Framed<'_> {
    match value {
        [0, a, b, c, d, rest @ ..] => Framed::Named(u32::from_be_bytes([*a, *b, *c, *d]), rest),
        [0, ..] => Framed::Cut,
        _ => Framed::Plain(value),
    }
}

/// The prefix of a value that was written with that schema.
pub fn prefix(id: u32) -> [u8; PREFIX] {
    let [a, b, c, d] = id.to_be_bytes();
    [0, a, b, c, d]
}

/// The most levels that a message may be nested.
const MAX_LEVELS: usize = 32;

/// Takes off the path of the message that a Protobuf value is: at each level its place among the messages that are declared
/// there, from 0. Nothing, if it is cut off or longer than messages nest.
///
/// Between the prefix and the value stand the number of levels and then each place, as zigzag varints; a zero alone means the
/// first message of the file.
pub fn message_path(rest: &[u8]) -> Option<(Vec<u32>, &[u8])> {
    let (count, mut rest) = zigzag(rest)?;
    if count == 0 {
        return Some((vec![0], rest));
    }
    let count = usize::try_from(count).ok().filter(|count| *count <= MAX_LEVELS)?;
    let mut path = Vec::with_capacity(count);
    for _ in 0..count {
        let (place, after) = zigzag(rest)?;
        path.push(u32::try_from(place).ok()?);
        rest = after;
    }
    Some((path, rest))
}

/// Writes the path of a message, as it stands between the prefix and the value.
pub fn put_message_path(path: &[u32], out: &mut Vec<u8>) {
    let mut put = |number: u64| {
        let mut left = number << 1;
        while left >= 0x80 {
            out.push(u8::try_from(left & 0x7f).unwrap_or(0) | 0x80);
            left >>= 7;
        }
        out.push(u8::try_from(left).unwrap_or(0));
    };
    if path == [0] {
        return put(0);
    }
    put(path.len() as u64);
    path.iter().for_each(|place| put(u64::from(*place)));
}

/// A zigzag varint of at most 32 bits' worth, and what follows it.
fn zigzag(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let mut value = 0_u64;
    for (index, byte) in bytes.iter().enumerate().take(5) {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let number = i64::try_from(value >> 1).ok()?;
            let number = if value & 1 == 0 { number } else { -number - 1 };
            return Some((number, bytes.get(index + 1..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_taken_off_and_put_back() {
        let framed = [&prefix(0x0102_0304)[..], b"{}"].concat();
        assert_eq!(split(&framed), Framed::Named(0x0102_0304, b"{}"));
        assert_eq!(split(b"{}"), Framed::Plain(b"{}"));
        assert_eq!(split(b""), Framed::Plain(b""));
        for cut in 1..PREFIX {
            assert_eq!(split(&framed[..cut]), Framed::Cut);
        }
    }

    #[test]
    fn the_path_of_a_message_is_taken_off_and_put_back() {
        for path in [&[0][..], &[1], &[0, 0], &[2, 1, 0], &[u32::MAX >> 1]] {
            let mut bytes = Vec::new();
            put_message_path(path, &mut bytes);
            let whole = bytes.len();
            bytes.extend_from_slice(b"rest");
            assert_eq!(message_path(&bytes), Some((path.to_vec(), &b"rest"[..])));
            for cut in 0..whole {
                assert_eq!(message_path(&bytes[..cut]), None, "{path:?} cut at {cut}");
            }
        }
        // As Confluent's serializer for Python writes the first message, and the second one within it.
        assert_eq!(message_path(&[0]), Some((vec![0], &[][..])));
        assert_eq!(message_path(&[4, 0, 2]), Some((vec![0, 1], &[][..])));
        for hostile in [&[3][..], &[1], &[2, 1], &[0xff; 12], &[0x80, 0x80], &[100, 0]] {
            assert_eq!(message_path(hostile), None, "{hostile:?}");
        }
    }
}
