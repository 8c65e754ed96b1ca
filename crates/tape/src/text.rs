//! String contents: escapes read and written.

use std::borrow::Cow;

/// The characters of a string's contents (what stands between its quotes), escapes decoded.
///
/// Meant for contents that a parse accepted. Whatever else it is given, it does not panic: what is no escape becomes
/// U+FFFD.
#[derive(Clone, Debug)]
pub struct Decoded<'a> {
    rest: std::str::Chars<'a>,
}

/// Decodes contents character by character, without allocating.
pub fn decoded(contents: &str) -> Decoded<'_> {
    Decoded { rest: contents.chars() }
}

impl Iterator for Decoded<'_> {
    type Item = char;

    #[inline]
    fn next(&mut self) -> Option<char> {
        match self.rest.next()? {
            '\\' => Some(self.escape().unwrap_or(char::REPLACEMENT_CHARACTER)),
            plain => Some(plain),
        }
    }
}

impl Decoded<'_> {
    fn escape(&mut self) -> Option<char> {
        Some(match self.rest.next()? {
            'b' => '\u{8}',
            'f' => '\u{C}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => return self.unicode(),
            same @ ('"' | '\\' | '/') => same,
            _ => return None,
        })
    }

    fn unicode(&mut self) -> Option<char> {
        let first = self.hex4()?;
        if !(0xD800..0xDC00).contains(&first) {
            return char::from_u32(first);
        }
        if self.rest.next()? != '\\' || self.rest.next()? != 'u' {
            return None;
        }
        let second = self.hex4()?.checked_sub(0xDC00).filter(|low| *low < 0x400)?;
        char::from_u32(0x10000 + ((first - 0xD800) << 10) + second)
    }

    fn hex4(&mut self) -> Option<u32> {
        let mut value = 0;
        for _ in 0..4 {
            value = value * 16 + self.rest.next()?.to_digit(16)?;
        }
        Some(value)
    }
}

/// The text of a string's contents; borrowed when it has no escapes.
pub fn unescape(contents: &str) -> Cow<'_, str> {
    match memchr::memchr(b'\\', contents.as_bytes()) {
        None => Cow::Borrowed(contents),
        Some(_) => Cow::Owned(unescape_owned(contents)),
    }
}

/// The same, for contents that are known to have escapes: plain runs are copied whole.
pub(crate) fn unescape_owned(contents: &str) -> String {
    let mut text = String::with_capacity(contents.len());
    let mut rest = contents;
    while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
        let (plain, escaped) = rest.split_at(at);
        text.push_str(plain);
        let mut one = decoded(escaped);
        text.extend(one.next());
        rest = one.rest.as_str();
    }
    text.push_str(rest);
    text
}

/// Appends `text` as a JSON string with its quotes, in the form of RFC 8785 (section 3.2.2.2): the shortest escapes,
/// and only where they must be.
pub fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    write_contents(text, out);
    out.push(b'"');
}

fn write_contents(text: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|&b| b < 0x20 || b == b'"' || b == b'\\') {
        let (plain, special) = rest.split_at(at);
        out.extend_from_slice(plain);
        let Some((&byte, after)) = special.split_first() else { return };
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            8 => out.extend_from_slice(b"\\b"),
            9 => out.extend_from_slice(b"\\t"),
            10 => out.extend_from_slice(b"\\n"),
            12 => out.extend_from_slice(b"\\f"),
            13 => out.extend_from_slice(b"\\r"),
            other => {
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(other >> 4)]);
                out.push(HEX[usize::from(other & 15)]);
            }
        }
        rest = after;
    }
    out.extend_from_slice(rest);
}
