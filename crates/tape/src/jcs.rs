//! The canonical form of RFC 8785 (JSON Canonicalization Scheme), written straight from the tape.
//!
//! Members are sorted by the UTF-16 code units of their decoded names, strings carry the fewest and shortest escapes,
//! numbers are doubles in ECMAScript's form, and there is no white space. RFC 8785 knows only numbers within a double's
//! range: one beyond it keeps the text it came with, so that it stays apart from every other.

use crate::text::write_string;
use crate::{Key, Kind, Node};
use std::cmp::Ordering;

/// Appends the canonical form of `node` to `out`. Iterative: any depth that was parsed is fine.
pub fn canonicalize(node: Node<'_>, out: &mut Vec<u8>) {
    let mut open: Vec<Open<'_>> = Vec::new();
    let mut next = Some(node);
    loop {
        if let Some(value) = next.take() {
            match value.kind() {
                Kind::Array => {
                    out.push(b'[');
                    open.push(Open { container: Container::Array(value.elements()), first: true });
                }
                Kind::Object => {
                    out.push(b'{');
                    open.push(Open { container: Container::Object(sorted(value)), first: true });
                }
                _ => scalar(value, out),
            }
        }
        let Some(innermost) = open.last_mut() else { return };
        next = innermost.advance(out);
        if next.is_none() {
            open.pop();
        }
    }
}

/// A container that is being written.
struct Open<'a> {
    container: Container<'a>,
    first: bool,
}

enum Container<'a> {
    Array(crate::Elements<'a>),
    Object(std::vec::IntoIter<(Key<'a>, Node<'a>)>),
}

impl<'a> Open<'a> {
    /// Writes what stands before the next value and answers with it, or writes the end.
    fn advance(&mut self, out: &mut Vec<u8>) -> Option<Node<'a>> {
        let first = std::mem::replace(&mut self.first, false);
        let separate = |out: &mut Vec<u8>| {
            if !first {
                out.push(b',');
            }
        };
        match &mut self.container {
            Container::Array(elements) => match elements.next() {
                Some(value) => {
                    separate(out);
                    Some(value)
                }
                None => {
                    out.push(b']');
                    None
                }
            },
            Container::Object(members) => match members.next() {
                Some((key, value)) => {
                    separate(out);
                    write_string(&key.as_str(), out);
                    out.push(b':');
                    Some(value)
                }
                None => {
                    out.push(b'}');
                    None
                }
            },
        }
    }
}

fn sorted<'a>(object: Node<'a>) -> std::vec::IntoIter<(Key<'a>, Node<'a>)> {
    let mut members: Vec<_> = object.members().collect();
    // Names are unique, so an unstable sort has one outcome.
    if members.iter().all(|(key, _)| key.raw_str().is_some()) {
        members.sort_unstable_by(|(a, _), (b, _)| {
            utf16_order(a.raw_str().unwrap_or_default(), b.raw_str().unwrap_or_default())
        });
        return members.into_iter();
    }
    let mut named: Vec<_> = members.into_iter().map(|(key, value)| (key.as_str(), key, value)).collect();
    named.sort_unstable_by(|(a, ..), (b, ..)| utf16_order(a, b));
    named.into_iter().map(|(_, key, value)| (key, value)).collect::<Vec<_>>().into_iter()
}

/// The order of two texts by UTF-16 code units, from their UTF-8. Both orders agree, but that characters beyond the
/// Basic Multilingual Plane (lead bytes F0 to F4) sort as surrogates, before U+E000 to U+FFFF (lead bytes EE and EF).
fn utf16_order(a: &str, b: &str) -> Ordering {
    fn rank(byte: u8) -> u8 {
        if matches!(byte, 0xEE | 0xEF) { byte + 0x10 } else { byte }
    }
    a.bytes().map(rank).cmp(b.bytes().map(rank))
}

fn scalar(value: Node<'_>, out: &mut Vec<u8>) {
    match value.kind() {
        Kind::String => match value.raw_str() {
            // Without escapes there is nothing that would need one.
            Some(_) => out.extend_from_slice(value.raw()),
            None => write_string(&value.as_str().unwrap_or_default(), out),
        },
        Kind::Number => number(value, out),
        _ => out.extend_from_slice(value.raw()),
    }
}

fn number(value: Node<'_>, out: &mut Vec<u8>) {
    // Integers of up to 15 digits are exact doubles, and their canonical form is the one they have.
    let raw = value.raw();
    if value.is_written_as_integer() && raw.len() <= 15 && raw != b"-0" {
        out.extend_from_slice(raw);
        return;
    }
    match value.as_f64() {
        Some(double) => out.extend_from_slice(ryu_js::Buffer::new().format_finite(double).as_bytes()),
        None => out.extend_from_slice(raw),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utf8_compared_by_rank_sorts_as_utf16_does() {
        let texts = [
            "",
            "a",
            "aa",
            "b",
            "\u{7F}",
            "\u{80}",
            "\u{7FF}",
            "\u{800}",
            "\u{D7FF}",
            "\u{E000}",
            "\u{FB33}",
            "\u{FFFF}",
            "\u{10000}",
            "\u{1F600}",
            "\u{10FFFF}",
            "\u{E000}a",
            "\u{1F600}a",
            "a\u{1F600}",
            "a\u{FFFF}",
        ];
        for a in texts {
            for b in texts {
                assert_eq!(utf16_order(a, b), a.encode_utf16().cmp(b.encode_utf16()), "{a:?} {b:?}");
            }
        }
    }
}
