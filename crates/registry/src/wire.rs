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
}
