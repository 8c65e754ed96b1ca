//! Changed values of binary events: what a view shows in place of a value, in the value's own type.
//!
//! The same actions as for JSON give the same values wherever the types are the same. Where a type cannot hold what JSON
//! would show (a pseudonym of a number, a month as a day count), the nearest value of the type stands; where there is none,
//! the value is left out.

use tradelane_encodings::avro::{Logical, Schema, Type};
use tradelane_encodings::{Slot, varint};
use tradelane_model::view::DateUnit;
use tradelane_tape::{Tape, text};

use crate::format::ValueKind;
use crate::key::DataKey;
use crate::mask;
use crate::view::{Change, ViewKeys};

/// Writes what `change` makes of a value, `raw` with the number of its branch, into the empty `out`. None: nothing.
#[allow(clippy::too_many_arguments, reason = "what mask::change takes, and where the value stood")]
pub(in crate::binary) fn change(
    schema: &Schema,
    change: Change,
    slot: Slot,
    raw: &[u8],
    keys: &ViewKeys,
    data_key: Option<&DataKey>,
    tape: &mut Tape,
    out: &mut Vec<u8>,
) -> Option<()> {
    let (kind, logical) = schema.type_at(slot)?;
    let inner = schema.inner(slot, raw);
    if *kind == Type::Null {
        out.extend_from_slice(raw);
        return Some(());
    }
    let branch = raw.get(..raw.len() - inner.len())?;
    let plain = *kind == Type::String && logical == Logical::None;
    // The value as JSON has it: what the stand-ins of all encodings are made from.
    let mut shown = zeroize::Zeroizing::new(Vec::new());
    schema.write_scalar(slot, raw, &mut shown);
    match change {
        Change::Pseudonym => {
            let mac = mask::pseudonym_bytes(&shown, keys, tape)?;
            out.extend_from_slice(branch);
            stand_in(kind, logical, &mac, out)
        }
        Change::Partial { .. } if !plain => {
            out.extend_from_slice(schema.position(slot)?.redacted());
            Some(())
        }
        Change::Date(unit) if !plain => {
            out.extend_from_slice(branch);
            days(kind, logical, inner, unit, out)
        }
        Change::Geo { .. } | Change::Number { .. } if !plain => {
            out.extend_from_slice(branch);
            number(change, kind, logical, inner, out)
        }
        // Text, by way of the JSON masks, whose result is text.
        _ if plain => {
            let mut json = Vec::new();
            mask::change(change, ValueKind::String, &shown, keys, data_key, tape, &mut json)?;
            let contents = json.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
            let contents = text::unescape(std::str::from_utf8(contents).ok()?);
            out.extend_from_slice(branch);
            counted(contents.as_bytes(), out);
            Some(())
        }
        _ => None,
    }
}

fn counted(bytes: &[u8], out: &mut Vec<u8>) {
    varint::write_signed(bytes.len() as i64, out);
    out.extend_from_slice(bytes);
}

/// A pseudonym in the types that have room for one.
fn stand_in(kind: &Type, logical: Logical, mac: &[u8; 32], out: &mut Vec<u8>) -> Option<()> {
    let (first, _) = mac.split_first_chunk::<16>()?;
    match (kind, logical) {
        (Type::String, Logical::None) => counted(mask::pseudonym_text(first)?.as_bytes(), out),
        (Type::String, Logical::Uuid) => counted(uuid_text(&uuid(first)).as_bytes(), out),
        (Type::Fixed(16), Logical::Uuid) => out.extend_from_slice(&uuid(first)),
        (Type::Bytes, Logical::None) => counted(first, out),
        (Type::Fixed(size @ 16..=32), Logical::None) => out.extend_from_slice(mac.get(..*size)?),
        _ => return None,
    }
    Some(())
}

/// A UUID of version 8, whose bits are whoever's made it (RFC 9562, section 5.8).
fn uuid(bytes: &[u8; 16]) -> [u8; 16] {
    let mut uuid = *bytes;
    let [_, _, _, _, _, _, version, _, variant, ..] = &mut uuid;
    *version = *version & 0x0F | 0x80;
    *variant = *variant & 0x3F | 0x80;
    uuid
}

fn uuid_text(uuid: &[u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (at, byte) in uuid.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

/// A day or time, cut to the beginning of its day, month or year.
fn days(kind: &Type, logical: Logical, inner: &[u8], unit: DateUnit, out: &mut Vec<u8>) -> Option<()> {
    const DAY: i64 = 86_400;
    let per_day = match (kind, logical) {
        (Type::Int, Logical::Date) => 1,
        (Type::Long, Logical::Timestamp(unit) | Logical::LocalTimestamp(unit)) => unit.checked_mul(DAY)?,
        _ => return None,
    };
    let (value, _) = varint::read_signed(inner)?;
    let cut = first_day(value.div_euclid(per_day), unit)?.checked_mul(per_day)?;
    varint::write_signed(cut, out);
    Some(())
}

/// The number of the first day of the month or year of a day, both counted from 1970-01-01 in the Gregorian calendar.
pub(in crate::binary) fn first_day(day: i64, unit: DateUnit) -> Option<i64> {
    if unit == DateUnit::Day {
        return Some(day);
    }
    // Days from 1 March of the year 0, in eras of 400 years: leap days are then the last of a year.
    let from_march = day.checked_add(719_468)?;
    let era = from_march.div_euclid(146_097);
    let of_era = from_march.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let month_began = day - (of_year - (153 * month + 2) / 5);
    if unit == DateUnit::Month {
        return Some(month_began);
    }
    // January and February belong to the year before in this count.
    let before = year + era.checked_mul(400)? + i64::from(month >= 10) - 1;
    let days = 365 * before + before.div_euclid(4) - before.div_euclid(100) + before.div_euclid(400);
    Some(days - 719_162)
}

/// A number made coarse: a coordinate rounded, or the floor of its bucket.
fn number(change: Change, kind: &Type, logical: Logical, inner: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let coarse = |value| coarse(change, value);
    match (kind, logical) {
        (Type::Float, _) => {
            let value = f64::from(f32::from_le_bytes(*inner.first_chunk()?));
            let coarse = coarse(value)? as f32;
            out.extend_from_slice(&Some(coarse).filter(|value| value.is_finite())?.to_le_bytes());
        }
        (Type::Double, _) => out.extend_from_slice(&coarse(f64::from_le_bytes(*inner.first_chunk()?))?.to_le_bytes()),
        (Type::Int | Type::Long, Logical::None) => {
            let (value, _) = varint::read_signed(inner)?;
            let value = match (change, whole_bucket(change)) {
                (Change::Geo { .. }, _) => value,
                (_, Some(bucket)) => value.checked_sub(value.rem_euclid(bucket))?,
                _ => whole(coarse(value as f64)?)?,
            };
            if *kind == Type::Int {
                i32::try_from(value).ok()?;
            }
            varint::write_signed(value, out);
        }
        (Type::Bytes | Type::Fixed(_), Logical::Decimal { scale, .. }) => {
            let bytes = match kind {
                Type::Bytes => inner.get(varint::read(inner)?.1..)?,
                _ => inner,
            };
            let value = decimal(change, integer(bytes)?, scale)?;
            write_decimal(kind, value, out)?;
        }
        _ => return None,
    }
    Some(())
}

/// A number made coarse, as JSON would show it.
pub(in crate::binary) fn coarse(change: Change, value: f64) -> Option<f64> {
    let text = match change {
        Change::Geo { decimals } => mask::rounded(value, usize::from(decimals)),
        Change::Number { bucket, decimals } => mask::rounded((value / bucket).floor() * bucket, usize::from(decimals)),
        _ => return None,
    };
    text.parse().ok().filter(|value: &f64| value.is_finite())
}

/// A bucket that whole numbers can be counted in exactly.
pub(in crate::binary) fn whole_bucket(change: Change) -> Option<i64> {
    match change {
        Change::Number { bucket, .. } => whole(bucket).filter(|bucket| *bucket >= 1),
        _ => None,
    }
}

/// A number of at most 2^53 without a fraction.
pub(in crate::binary) fn whole(value: f64) -> Option<i64> {
    (value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0).then_some(value as i64)
}

/// A two's complement number, big endian, if it has at most 128 bits.
fn integer(bytes: &[u8]) -> Option<i128> {
    let negative = bytes.first()? & 0x80 != 0;
    let fill = if negative { 0xFF } else { 0 };
    let extra = bytes.len().saturating_sub(16);
    let (high, low) = bytes.split_at(extra);
    if high.iter().any(|byte| *byte != fill) || (extra > 0 && (low.first()? & 0x80 != 0) != negative) {
        return None;
    }
    let mut wide = [fill; 16];
    let (_, place) = wide.split_at_mut(16 - low.len());
    place.copy_from_slice(low);
    Some(i128::from_be_bytes(wide))
}

/// The unscaled number of the coarse value.
fn decimal(change: Change, unscaled: i128, scale: u32) -> Option<i128> {
    let unit = 10_i128.checked_pow(scale)?;
    match change {
        Change::Number { bucket, decimals } => {
            // The bucket in units of the last digit; one that is finer than the digit is none.
            let text = mask::rounded(bucket, usize::from(decimals));
            let (before, after) = text.split_once('.').unwrap_or((&text, ""));
            let digits: i128 = format!("{before}{after}").parse().ok()?;
            let bucket = digits.checked_mul(unit)?.checked_div(10_i128.checked_pow(after.len() as u32)?)?;
            if bucket < 1 { Some(unscaled) } else { unscaled.checked_sub(unscaled.rem_euclid(bucket)) }
        }
        Change::Geo { decimals } => {
            let kept = scale.saturating_sub(u32::from(decimals));
            let step = 10_i128.checked_pow(kept)?;
            unscaled.checked_add(step / 2).map(|value| value - value.rem_euclid(step))
        }
        _ => None,
    }
}

fn write_decimal(kind: &Type, value: i128, out: &mut Vec<u8>) -> Option<()> {
    let wide = value.to_be_bytes();
    let fill = if value < 0 { 0xFF } else { 0 };
    match kind {
        Type::Fixed(size) if *size >= 16 => {
            out.resize(out.len() + size - 16, fill);
            out.extend_from_slice(&wide);
        }
        Type::Fixed(size) => {
            let (cut, kept) = wide.split_at(16 - size);
            let fits = cut.iter().all(|byte| *byte == fill) && (kept.first()? & 0x80 == fill & 0x80);
            out.extend_from_slice(Some(kept).filter(|_| fits)?);
        }
        _ => {
            let same =
                |pair: &&[u8]| pair.first() == Some(&fill) && pair.get(1).is_some_and(|b| b & 0x80 == fill & 0x80);
            let skip = wide.windows(2).take_while(same).count();
            counted(wide.get(skip..)?, out);
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_cut_to_the_first_of_its_month_or_year() {
        let cases = [(0, 0, 0), (20_779, 20_758, 20_454), (59, 59, 0), (-1, -31, -365), (19_782, 19_754, 19_723)];
        for (day, month, year) in cases {
            assert_eq!(first_day(day, DateUnit::Month), Some(month), "{day}");
            assert_eq!(first_day(day, DateUnit::Year), Some(year), "{day}");
        }
    }

    #[test]
    fn a_decimal_is_floored_to_its_bucket_in_its_own_digits() {
        let bucket = |bucket, decimals, unscaled, scale| decimal(Change::Number { bucket, decimals }, unscaled, scale);
        assert_eq!(bucket(10.0, 0, 12_345, 2), Some(12_000));
        assert_eq!(bucket(0.5, 1, 12_345, 2), Some(12_300));
        assert_eq!(bucket(10.0, 0, -1, 2), Some(-1_000));
        assert_eq!(decimal(Change::Geo { decimals: 1 }, 473_769, 4), Some(474_000));
        for value in [0, 1, -1, 127, 128, -128, -129, i128::MAX, i128::MIN] {
            let mut out = Vec::new();
            write_decimal(&Type::Bytes, value, &mut out).unwrap();
            assert_eq!(integer(&out[1..]), Some(value));
        }
    }
}
