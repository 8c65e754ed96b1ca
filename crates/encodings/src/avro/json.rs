//! Avro values as JSON text, as rules and people read them.
//!
//! Unions are transparent; bytes are base64 (RFC 4648, section 4); decimals are numbers with all their digits; dates and
//! times are text as RFC 3339 has it; durations are ISO 8601. A floating point number that JSON does not have is the text
//! `NaN`, `Infinity` or `-Infinity`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tradelane_tape::text::write_string;

use super::schema::{Logical, Schema, Type};
use super::walk::is_container;
use crate::tree::{Gone, Node, Part, Slot, TooLong, Tree};
use crate::varint;

impl Schema {
    /// Appends the event that `tree` was walked from as JSON. What is `gone` is left out: a member with its name, an item
    /// as null.
    pub fn write_json(&self, bytes: &[u8], tree: &Tree, gone: &[Gone], out: &mut Vec<u8>) -> Result<(), TooLong> {
        let writer = Writer { schema: self, bytes, tree, gone, most: out.len() + MAX_JSON };
        match tree.node(0) {
            Some(root) if !writer.is_gone(&root) => writer.value(0, root, out),
            _ => out.extend_from_slice(b"null"),
        }
        if out.len() > writer.most { Err(TooLong) } else { Ok(()) }
    }

    /// Appends a value that is no container as JSON, from the bytes of its position.
    pub fn write_scalar(&self, slot: Slot, bytes: &[u8], out: &mut Vec<u8>) {
        if let Some((kind, logical)) = self.type_at(slot) {
            scalar(kind, logical, self.inner(slot, bytes), out);
        }
    }
}

struct Writer<'w> {
    schema: &'w Schema,
    bytes: &'w [u8],
    tree: &'w Tree,
    gone: &'w [Gone],
    /// Where the text may end.
    most: usize,
}

/// The longest text of an event: what the tape takes as a document.
const MAX_JSON: usize = tradelane_tape::Limits::DOCUMENT.max_bytes;

impl Writer<'_> {
    fn is_gone(&self, node: &Node) -> bool {
        let found = Gone { start: node.start, end: node.end, slot: self.schema.first(node.slot) };
        !self.gone.is_empty() && self.gone.binary_search(&found).is_ok()
    }

    fn value(&self, index: u32, node: Node, out: &mut Vec<u8>) {
        let Part::Value(kind) = node.part else { return };
        if out.len() > self.most {
            return;
        }
        if !is_container(kind) {
            return self.schema.write_scalar(node.slot, self.bytes.get(node.range()).unwrap_or_default(), out);
        }
        match self.schema.type_at(node.slot) {
            Some((Type::Record(fields), _)) => {
                let named = fields.iter().map(|field| &*field.name).zip(self.tree.below(index));
                self.members(named.map(|(name, (index, node))| (name, index, node)), out);
            }
            Some((Type::Map(_), _)) => {
                let mut name = "";
                let entries = self.tree.below(index).filter_map(|(index, node)| {
                    if node.part == Part::Key {
                        name = self.schema.key(self.bytes, &node);
                    }
                    matches!(node.part, Part::Value(_)).then_some((name, index, node))
                });
                self.members(entries, out);
            }
            _ => self.items(index, out),
        }
    }

    fn members<'a>(&self, members: impl Iterator<Item = (&'a str, u32, Node)>, out: &mut Vec<u8>) {
        out.push(b'{');
        let mut first = true;
        for (name, index, node) in members.filter(|(_, _, node)| !self.is_gone(node)) {
            if !std::mem::take(&mut first) {
                out.push(b',');
            }
            write_string(name, out);
            out.push(b':');
            self.value(index, node, out);
        }
        out.push(b'}');
    }

    fn items(&self, index: u32, out: &mut Vec<u8>) {
        out.push(b'[');
        let mut first = true;
        for (index, node) in self.tree.below(index).filter(|(_, node)| node.part != Part::Block) {
            if !std::mem::take(&mut first) {
                out.push(b',');
            }
            match self.is_gone(&node) {
                true => out.extend_from_slice(b"null"),
                false => self.value(index, node, out),
            }
        }
        out.push(b']');
    }
}

/// What follows a length.
pub(super) fn counted(bytes: &[u8]) -> &[u8] {
    let skip = varint::read(bytes).map_or(bytes.len(), |(_, len)| len);
    bytes.get(skip..).unwrap_or_default()
}

fn scalar(kind: &Type, logical: Logical, bytes: &[u8], out: &mut Vec<u8>) {
    let number = || varint::read_signed(bytes).map_or(0, |(number, _)| number);
    match kind {
        Type::Null => out.extend_from_slice(b"null"),
        Type::Boolean => out.extend_from_slice(if bytes == [1] { b"true" } else { b"false" }),
        Type::Int | Type::Long => integer(number(), logical, out),
        Type::Float => {
            let number = bytes.first_chunk().map_or(0.0, |bytes| f32::from_le_bytes(*bytes));
            float(f64::from(number), &number.to_string(), out);
        }
        Type::Double => {
            let number = bytes.first_chunk().map_or(0.0, |bytes| f64::from_le_bytes(*bytes));
            float(number, &number.to_string(), out);
        }
        Type::String => write_string(std::str::from_utf8(counted(bytes)).unwrap_or_default(), out),
        Type::Bytes => binary(logical, counted(bytes), out),
        Type::Fixed(_) => binary(logical, bytes, out),
        Type::Enum { symbols, .. } => {
            let symbol = usize::try_from(number()).ok().and_then(|number| symbols.get(number));
            write_string(symbol.map_or("", |symbol| symbol), out);
        }
        Type::Array(_) | Type::Map(_) | Type::Record(_) | Type::Union(_) => out.extend_from_slice(b"null"),
    }
}

pub(crate) fn float(number: f64, shortest: &str, out: &mut Vec<u8>) {
    if number.is_finite() {
        let large = number != 0.0 && !(1e-7..1e21).contains(&number.abs());
        match large {
            true => out.extend_from_slice(format!("{number:e}").as_bytes()),
            false => out.extend_from_slice(shortest.as_bytes()),
        }
    } else {
        let name = if number.is_nan() {
            "NaN"
        } else if number > 0.0 {
            "Infinity"
        } else {
            "-Infinity"
        };
        write_string(name, out);
    }
}

fn integer(number: i64, logical: Logical, out: &mut Vec<u8>) {
    let text = match logical {
        Logical::Date => date(number),
        Logical::Time(unit) => time(number, unit),
        Logical::Timestamp(unit) => moment(number, unit).map(|text| text + "Z"),
        Logical::LocalTimestamp(unit) => moment(number, unit),
        _ => return out.extend_from_slice(number.to_string().as_bytes()),
    };
    // A day that no calendar has is shown as its number, as text all the same.
    write_string(&text.unwrap_or_else(|| number.to_string()), out);
}

fn date(days: i64) -> Option<String> {
    let epoch = jiff::civil::date(1970, 1, 1);
    let days = i32::try_from(days).ok()?;
    epoch.checked_add(jiff::Span::new().try_days(days).ok()?).ok().map(|date| date.to_string())
}

fn time(number: i64, unit: i64) -> Option<String> {
    let (seconds, fraction) = (number.div_euclid(unit), number.rem_euclid(unit));
    if !(0..86_400).contains(&seconds) {
        return None;
    }
    let mut text = format!("{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60);
    write_fraction(fraction, unit, &mut text);
    Some(text)
}

pub(crate) fn moment(number: i64, unit: i64) -> Option<String> {
    const DAY: i64 = 86_400;
    let (seconds, fraction) = (number.div_euclid(unit), number.rem_euclid(unit));
    let mut text = date(seconds.div_euclid(DAY))?;
    text.push('T');
    text.push_str(&time(seconds.rem_euclid(DAY), 1)?);
    write_fraction(fraction, unit, &mut text);
    Some(text)
}

fn write_fraction(fraction: i64, unit: i64, text: &mut String) {
    if fraction > 0 {
        let width = unit.ilog10() as usize;
        let digits = format!("{fraction:0width$}");
        text.push('.');
        text.push_str(digits.trim_end_matches('0'));
    }
}

fn binary(logical: Logical, bytes: &[u8], out: &mut Vec<u8>) {
    match logical {
        Logical::Decimal { scale, .. } => decimal(bytes, i64::from(scale), out),
        Logical::BigDecimal => match big_decimal(bytes) {
            Some((unscaled, scale)) => decimal(unscaled, scale, out),
            None => out.push(b'0'),
        },
        Logical::Uuid => write_string(&uuid(bytes), out),
        Logical::Duration => write_string(&duration(bytes), out),
        _ => write_string(&STANDARD.encode(bytes), out),
    }
}

/// Bytes of the unscaled number and the scale.
pub(super) fn big_decimal(bytes: &[u8]) -> Option<(&[u8], i64)> {
    let (len, skip) = varint::read_signed(bytes)?;
    let rest = bytes.get(skip..)?;
    let (unscaled, rest) = rest.split_at_checked(usize::try_from(len).ok()?)?;
    let (scale, _) = varint::read_signed(rest)?;
    (-100..=100).contains(&scale).then_some((unscaled, scale))
}

/// The longest unscaled number that is written out, in bytes.
pub(super) const MAX_DECIMAL: usize = 400;

/// A two's complement number, big endian, with so many of its digits after the point.
fn decimal(bytes: &[u8], scale: i64, out: &mut Vec<u8>) {
    if bytes.len() > MAX_DECIMAL {
        return out.push(b'0');
    }
    let negative = bytes.first().is_some_and(|byte| byte & 0x80 != 0);
    let mut digits = digits(bytes, negative);
    if digits.iter().all(|digit| *digit == b'0') {
        digits = vec![b'0'];
    } else if negative {
        out.push(b'-');
    }
    if scale <= 0 {
        out.extend_from_slice(&digits);
        if digits != b"0" {
            out.resize(out.len() + usize::try_from(-scale).unwrap_or(0), b'0');
        }
        return;
    }
    let scale = usize::try_from(scale).unwrap_or(0);
    if digits.len() <= scale {
        let mut longer = vec![b'0'; scale + 1 - digits.len()];
        longer.append(&mut digits);
        digits = longer;
    }
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    out.extend_from_slice(whole);
    out.push(b'.');
    out.extend_from_slice(fraction);
}

/// The decimal digits of the magnitude, by long division.
fn digits(bytes: &[u8], negative: bool) -> Vec<u8> {
    let mut magnitude: Vec<u8> = bytes.iter().map(|byte| if negative { !byte } else { *byte }).collect();
    if negative {
        for byte in magnitude.iter_mut().rev() {
            let (sum, carry) = byte.overflowing_add(1);
            *byte = sum;
            if !carry {
                break;
            }
        }
    }
    let mut digits = Vec::new();
    while magnitude.iter().any(|byte| *byte != 0) {
        let mut rest = 0_u32;
        for byte in &mut magnitude {
            let value = rest << 8 | u32::from(*byte);
            *byte = (value / 10) as u8;
            rest = value % 10;
        }
        digits.push(b'0' + rest as u8);
    }
    // The smallest number of so many bytes has a magnitude of just these bytes: nothing is lost.
    if digits.is_empty() {
        digits.push(b'0');
    }
    digits.reverse();
    digits
}

fn uuid(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(36);
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

fn duration(bytes: &[u8]) -> String {
    let (parts, _) = bytes.as_chunks::<4>();
    let mut parts = parts.iter().map(|part| u32::from_le_bytes(*part));
    let mut next = || parts.next().unwrap_or_default();
    let (months, days, millis) = (next(), next(), next());
    format!("P{months}M{days}DT{}.{:03}S", millis / 1_000, millis % 1_000)
}
