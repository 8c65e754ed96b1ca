//! The lexical level: where a token ends. Each function takes the document and a position, and answers with the
//! position after the token or with the reason and place of refusal.

use crate::entry::{ESCAPED, FRACTIONAL};
use crate::simd::{self, LANES};
use crate::{Limits, ParseError, ParseReason};

#[inline(always)]
pub(crate) fn byte_at(json: &[u8], pos: usize) -> Option<u8> {
    json.get(pos).copied()
}

#[cold]
#[inline(never)]
pub(crate) fn refuse(offset: usize, reason: ParseReason) -> ParseError {
    ParseError { offset, reason }
}

/// The next byte that is not white space, and its position.
#[inline(always)]
pub(crate) fn next_token(json: &[u8], pos: usize) -> Option<(usize, u8)> {
    match json.get(pos) {
        Some(&b) if b > b' ' => Some((pos, b)),
        Some(_) => after_blanks(json, pos),
        None => None,
    }
}

/// As [`next_token`], where white space is expected: a single blank, or a line end with its indentation.
#[inline(never)]
fn after_blanks(json: &[u8], mut pos: usize) -> Option<(usize, u8)> {
    loop {
        match json.get(pos..).and_then(|rest| rest.first_chunk::<LANES>()) {
            Some(chunk) => {
                let tokens = simd::not_blank(chunk);
                if tokens != 0 {
                    pos += tokens.trailing_zeros() as usize;
                    return Some((pos, byte_at(json, pos)?));
                }
                pos += LANES;
            }
            None => loop {
                match byte_at(json, pos)? {
                    b' ' | b'\n' | b'\r' | b'\t' => pos += 1,
                    other => return Some((pos, other)),
                }
            },
        }
    }
}

/// A string whose opening quote is at `pos`: the position after its closing quote, and `ESCAPED` or 0.
#[inline(always)]
pub(crate) fn string(json: &[u8], pos: usize) -> Result<(usize, u32), ParseError> {
    let stop = stop_of_string(json, pos + 1);
    // Apart from the rest, so that the end of a plain string is a plain number.
    if byte_at(json, stop) == Some(b'"') { Ok((stop + 1, 0)) } else { string_from_stop(json, stop) }
}

/// Where a run of plain string bytes ends; where a whole chunk is not left, at the latest.
#[inline(always)]
fn stop_of_string(json: &[u8], mut at: usize) -> usize {
    while let Some(chunk) = json.get(at..).and_then(|rest| rest.first_chunk::<LANES>()) {
        let stops = simd::string_stops(chunk);
        if stops != 0 {
            return at + stops.trailing_zeros() as usize;
        }
        at += LANES;
    }
    at
}

/// A string that does not end at `at`: because of an escape, or because the document is about to.
#[inline(never)]
fn string_from_stop(json: &[u8], mut at: usize) -> Result<(usize, u32), ParseError> {
    loop {
        match byte_at(json, at) {
            Some(b'"') => return Ok((at + 1, 0)),
            Some(b'\\' | 0..=0x1F) => return string_with_escapes(json, at),
            Some(_) => at += 1,
            None => return Err(refuse(json.len(), ParseReason::UnexpectedEnd)),
        }
    }
}

/// The rest of a string from its first stop on: `at` is a backslash or a control character (or the end).
#[inline(never)]
fn string_with_escapes(json: &[u8], mut at: usize) -> Result<(usize, u32), ParseError> {
    loop {
        at = stop_of_string(json, at);
        match byte_at(json, at) {
            Some(b'"') => return Ok((at + 1, ESCAPED)),
            Some(b'\\') => at = escape(json, at)?,
            Some(0..=0x1F) => return Err(refuse(at, ParseReason::ControlCharacter)),
            Some(_) => at += 1,
            None => return Err(refuse(json.len(), ParseReason::UnexpectedEnd)),
        }
    }
}

/// One escape, whose backslash is at `at` (both halves of a surrogate pair count as one): the position after it.
fn escape(json: &[u8], at: usize) -> Result<usize, ParseError> {
    match byte_at(json, at + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(at + 2),
        Some(b'u') => match hex4(json, at + 2)? {
            0xDC00..=0xDFFF => Err(refuse(at, ParseReason::LoneSurrogate)),
            0xD800..=0xDBFF => {
                if byte_at(json, at + 6) != Some(b'\\') || byte_at(json, at + 7) != Some(b'u') {
                    return Err(refuse(at, ParseReason::LoneSurrogate));
                }
                match hex4(json, at + 8)? {
                    0xDC00..=0xDFFF => Ok(at + 12),
                    _ => Err(refuse(at, ParseReason::LoneSurrogate)),
                }
            }
            _ => Ok(at + 6),
        },
        Some(_) => Err(refuse(at, ParseReason::InvalidEscape)),
        None => Err(refuse(json.len(), ParseReason::UnexpectedEnd)),
    }
}

fn hex4(json: &[u8], at: usize) -> Result<u32, ParseError> {
    let mut value = 0;
    for i in at..at + 4 {
        let digit = match byte_at(json, i) {
            Some(b) => (b as char).to_digit(16).ok_or_else(|| refuse(i, ParseReason::InvalidEscape))?,
            None => return Err(refuse(json.len(), ParseReason::UnexpectedEnd)),
        };
        value = value * 16 + digit;
    }
    Ok(value)
}

/// A number that begins at `pos` with `first` (a digit or `-`): the position after it, and `FRACTIONAL` or 0.
#[inline(always)]
pub(crate) fn number(json: &[u8], pos: usize, first: u8) -> Result<(usize, u32), ParseError> {
    let mut at = pos;
    let mut lead = first;
    if first == b'-' {
        at += 1;
        lead = byte_at(json, at).ok_or_else(|| refuse(json.len(), ParseReason::UnexpectedEnd))?;
    }
    at = match lead {
        b'0' => at + 1,
        b'1'..=b'9' => digits(json, at + 1),
        _ => return Err(refuse(at, ParseReason::InvalidNumber)),
    };
    let mut flags = 0;
    if byte_at(json, at) == Some(b'.') {
        flags = FRACTIONAL;
        at = some_digits(json, at + 1)?;
    }
    if let Some(b'e' | b'E') = byte_at(json, at) {
        flags = FRACTIONAL;
        at += 1;
        if let Some(b'+' | b'-') = byte_at(json, at) {
            at += 1;
        }
        at = some_digits(json, at)?;
    }
    if at - pos > Limits::NUMBER_BYTES {
        return Err(refuse(pos, ParseReason::NumberTooLong));
    }
    // A digit can follow only a leading zero.
    if let Some(b'0'..=b'9') = byte_at(json, at) {
        return Err(refuse(at, ParseReason::InvalidNumber));
    }
    Ok((at, flags))
}

#[inline(always)]
fn digits(json: &[u8], mut at: usize) -> usize {
    while let Some(b'0'..=b'9') = byte_at(json, at) {
        at += 1;
    }
    at
}

#[inline(always)]
fn some_digits(json: &[u8], at: usize) -> Result<usize, ParseError> {
    match byte_at(json, at) {
        Some(b'0'..=b'9') => Ok(digits(json, at + 1)),
        Some(_) => Err(refuse(at, ParseReason::InvalidNumber)),
        None => Err(refuse(json.len(), ParseReason::UnexpectedEnd)),
    }
}

/// `true`, `false` or `null` that begins at `pos`: the position after it.
#[inline(always)]
pub(crate) fn literal(json: &[u8], pos: usize, word: &'static [u8]) -> Result<usize, ParseError> {
    let rest = json.get(pos..).unwrap_or_default();
    if rest.starts_with(word) {
        return Ok(pos + word.len());
    }
    let same = rest.iter().zip(word).take_while(|(a, b)| a == b).count();
    let reason = if same == rest.len() { ParseReason::UnexpectedEnd } else { ParseReason::InvalidLiteral };
    Err(refuse(pos + same, reason))
}
