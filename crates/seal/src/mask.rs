//! Changed values: what a view shows in place of a JSON value that it may not show as it is.
//!
//! Every result is valid JSON of the same type where a type can be kept. A value that an action does not fit (a date that
//! is none) gives no result, and is dropped.

use tradelane_model::view::DateUnit;
use tradelane_tape::{Limits, Tape, jcs, text};

use crate::format::ValueKind;
use crate::key::DataKey;
use crate::token::write_token;
use crate::view::{Change, ViewKeys};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

const STARS: &str = "***";
/// Bytes of the HMAC that a pseudonym shows: 128 bits, so that collisions do not happen by accident.
const PSEUDONYM_BYTES: usize = 16;

/// What stands for a value of this kind when nothing of it is shown. None: it is dropped.
#[inline]
pub(crate) fn redacted(kind: ValueKind) -> Option<&'static [u8]> {
    match kind {
        ValueKind::Null => Some(b"null"),
        ValueKind::Bool => Some(b"false"),
        ValueKind::Number => Some(b"0"),
        ValueKind::String => Some(b"\"***\""),
        ValueKind::Array => Some(b"[]"),
        ValueKind::Object => Some(b"{}"),
        ValueKind::Member | ValueKind::Mark => None,
    }
}

/// Writes what `change` makes of a value into the empty `out`. `None`: it makes nothing of it.
pub(crate) fn change(
    change: Change,
    kind: ValueKind,
    raw: &[u8],
    keys: &ViewKeys,
    data_key: Option<&DataKey>,
    tape: &mut Tape,
    out: &mut Vec<u8>,
) -> Option<()> {
    if kind == ValueKind::Member {
        return None;
    }
    if kind == ValueKind::Null {
        out.extend_from_slice(b"null");
        return Some(());
    }
    match change {
        Change::Partial { first, last } => partial(kind, raw, first, last, out),
        Change::Date(unit) => date(raw, unit, out),
        Change::Geo { decimals } => geo(kind, raw, usize::from(decimals), out),
        Change::Number { bucket, decimals } => bucketed(kind, raw, bucket, usize::from(decimals), out),
        Change::Pseudonym => pseudonym(raw, keys, tape, out),
        Change::Token => {
            let canonical = canonical(raw, tape)?;
            write_token(&canonical, data_key?, &keys.grant, out);
            Some(())
        }
    }
}

/// The decoded text of a string value.
fn decoded(raw: &[u8]) -> Option<std::borrow::Cow<'_, str>> {
    let contents = raw.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    std::str::from_utf8(contents).ok().map(text::unescape)
}

/// First and last characters (Unicode scalars, not bytes and not escapes) with stars between. A text that this would show
/// whole shows nothing; how much is hidden is not shown either.
fn partial(kind: ValueKind, raw: &[u8], first: u8, last: u8, out: &mut Vec<u8>) -> Option<()> {
    if kind != ValueKind::String {
        out.extend_from_slice(redacted(kind)?);
        return Some(());
    }
    let value = decoded(raw)?;
    let (first, last) = (usize::from(first), usize::from(last));
    let count = value.chars().count();
    let mut shown = String::with_capacity(64);
    if count > first + last {
        shown.extend(value.chars().take(first));
        shown.push_str(STARS);
        shown.extend(value.chars().skip(count - last));
    } else {
        shown.push_str(STARS);
    }
    text::write_string(&shown, out);
    Some(())
}

/// The front of an ISO 8601 date or RFC 3339 time.
fn date(raw: &[u8], unit: DateUnit, out: &mut Vec<u8>) -> Option<()> {
    let value = decoded(raw)?;
    let day = value.get(..10)?;
    let digits = |at: usize, byte: u8| if at == 4 || at == 7 { byte == b'-' } else { byte.is_ascii_digit() };
    let is_date = day.bytes().enumerate().all(|(at, byte)| digits(at, byte));
    let ends = value.as_bytes().get(10).is_none_or(|byte| matches!(byte, b'T' | b't' | b' '));
    if !is_date || !ends {
        return None;
    }
    let kept = match unit {
        DateUnit::Day => 10,
        DateUnit::Month => 7,
        DateUnit::Year => 4,
    };
    text::write_string(day.get(..kept)?, out);
    Some(())
}

/// A coordinate in degrees as a number or as text, or the two of a `geo:` URI (RFC 5870, without its parameters).
fn geo(kind: ValueKind, raw: &[u8], decimals: usize, out: &mut Vec<u8>) -> Option<()> {
    match kind {
        ValueKind::Number => {
            let degrees = number(std::str::from_utf8(raw).ok()?)?;
            out.extend_from_slice(rounded(degrees, decimals).as_bytes());
        }
        ValueKind::String => {
            let value = decoded(raw)?;
            let shown = match value.strip_prefix("geo:") {
                Some(rest) => {
                    let mut parts = rest.split([',', ';']);
                    let (latitude, longitude) = (number(parts.next()?)?, number(parts.next()?)?);
                    format!("geo:{},{}", rounded(latitude, decimals), rounded(longitude, decimals))
                }
                None => rounded(number(&value)?, decimals),
            };
            text::write_string(&shown, out);
        }
        _ => return None,
    }
    Some(())
}

fn bucketed(kind: ValueKind, raw: &[u8], bucket: f64, decimals: usize, out: &mut Vec<u8>) -> Option<()> {
    if kind != ValueKind::Number {
        return None;
    }
    let value = number(std::str::from_utf8(raw).ok()?)?;
    let floor = (value / bucket).floor() * bucket;
    if !floor.is_finite() {
        return None;
    }
    out.extend_from_slice(rounded(floor, decimals).as_bytes());
    Some(())
}

fn number(text: &str) -> Option<f64> {
    text.parse::<f64>().ok().filter(|number| number.is_finite())
}

pub(crate) fn rounded(number: f64, decimals: usize) -> String {
    let text = format!("{number:.decimals$}");
    // Minus nothing is nothing.
    if text.bytes().all(|byte| matches!(byte, b'-' | b'0' | b'.')) { text.replace('-', "") } else { text }
}

fn pseudonym(raw: &[u8], keys: &ViewKeys, tape: &mut Tape, out: &mut Vec<u8>) -> Option<()> {
    let mac = pseudonym_bytes(raw, keys, tape)?;
    out.push(b'"');
    out.extend_from_slice(pseudonym_text(mac.first_chunk()?)?.as_bytes());
    out.push(b'"');
    Some(())
}

/// HMAC over the canonical value, so that one value spelled in two ways has one pseudonym.
pub(crate) fn pseudonym_bytes(raw: &[u8], keys: &ViewKeys, tape: &mut Tape) -> Option<[u8; 32]> {
    Some(keys.pseudonyms.mac(&canonical(raw, tape)?))
}

/// A pseudonym as text.
pub(crate) fn pseudonym_text(mac: &[u8; PSEUDONYM_BYTES]) -> Option<String> {
    let mut text = [0; 24];
    let written = URL_SAFE_NO_PAD.encode_slice(mac, &mut text).ok()?;
    Some(format!("p-{}", std::str::from_utf8(text.get(..written)?).ok()?))
}

/// The value in the form of RFC 8785.
fn canonical<'a>(raw: &'a [u8], tape: &mut Tape) -> Option<std::borrow::Cow<'a, [u8]>> {
    // A text without escapes is canonical already: what would need one cannot stand in it.
    if raw.starts_with(b"\"") && !raw.contains(&b'\\') {
        return Some(std::borrow::Cow::Borrowed(raw));
    }
    let doc = tape.parse(raw, &Limits::DOCUMENT).ok()?;
    let mut out = Vec::with_capacity(raw.len());
    jcs::canonicalize(doc.root(), &mut out);
    Some(std::borrow::Cow::Owned(out))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tradelane_keys::SecretBytes;

    fn shown(action: Change, kind: ValueKind, raw: &str) -> Option<String> {
        let keys = ViewKeys::derive(&SecretBytes::new([1; 32]), "c", "p", 1, "g");
        let mut out = Vec::new();
        change(action, kind, raw.as_bytes(), &keys, None, &mut Tape::new(), &mut out)?;
        Some(String::from_utf8(out).unwrap())
    }

    #[test]
    fn partial_counts_characters_and_keeps_escaping_valid() {
        let cut = |raw| shown(Change::Partial { first: 1, last: 2 }, ValueKind::String, raw);
        assert_eq!(cut(r#""Zürich""#).unwrap(), r#""Z***ch""#);
        assert_eq!(cut(r#""\"quoted\\\"""#).unwrap(), r#""\"***\\\"""#);
        assert_eq!(cut(r#""\ud83d\ude00bcd""#).unwrap(), "\"😀***cd\"");
        assert_eq!(cut(r#""abc""#).unwrap(), r#""***""#, "a text shown whole is not partial");
        assert_eq!(shown(Change::Partial { first: 1, last: 1 }, ValueKind::Number, "1234").unwrap(), "0");
    }

    #[test]
    fn dates_are_cut_and_what_is_no_date_is_dropped() {
        let cut = |unit, raw| shown(Change::Date(unit), ValueKind::String, raw);
        assert_eq!(cut(DateUnit::Day, r#""2026-11-21T10:00:00Z""#).unwrap(), r#""2026-11-21""#);
        assert_eq!(cut(DateUnit::Month, r#""2026-11-21""#).unwrap(), r#""2026-11""#);
        assert_eq!(cut(DateUnit::Year, r#""2026-11-21""#).unwrap(), r#""2026""#);
        for bad in [r#""21.11.2026""#, r#""2026-11-211""#, r#""""#, r#""2026-11-2é""#, "7"] {
            assert_eq!(cut(DateUnit::Year, bad), None);
        }
    }

    #[test]
    fn numbers_and_places_become_coarse() {
        let bucket = |bucket: f64, decimals, raw| shown(Change::Number { bucket, decimals }, ValueKind::Number, raw);
        assert_eq!(bucket(10.0, 0, "47").unwrap(), "40");
        assert_eq!(bucket(10.0, 0, "-3").unwrap(), "-10");
        assert_eq!(bucket(0.1, 1, "0.35").unwrap(), "0.3");
        assert_eq!(bucket(10.0, 0, "1e999"), None);
        let geo = |kind, raw| shown(Change::Geo { decimals: 1 }, kind, raw);
        assert_eq!(geo(ValueKind::Number, "47.3769").unwrap(), "47.4");
        assert_eq!(geo(ValueKind::Number, "-0.01").unwrap(), "0.0");
        assert_eq!(geo(ValueKind::String, r#""geo:47.3769,8.5417;u=5""#).unwrap(), r#""geo:47.4,8.5""#);
        assert_eq!(geo(ValueKind::String, r#""Zürich""#), None);
    }

    #[test]
    fn a_value_spelled_in_two_ways_has_one_pseudonym() {
        let pseudonym = |kind, raw| shown(Change::Pseudonym, kind, raw).unwrap();
        assert_eq!(pseudonym(ValueKind::String, r#""Anna""#), pseudonym(ValueKind::String, r#""\u0041nna""#));
        assert_eq!(
            pseudonym(ValueKind::Object, r#"{"a":1,"b":2.0}"#),
            pseudonym(ValueKind::Object, r#"{ "b":2, "a":1 }"#)
        );
        assert_ne!(pseudonym(ValueKind::String, r#""1""#), pseudonym(ValueKind::Number, "1"));
    }
}
