//! Changed fields of Protobuf events: what a view shows in place of a field, in the field's own type.
//!
//! The same actions as for JSON give the same values wherever the types are the same. Where a type cannot hold what JSON
//! would show, the field is left out.

use tradelane_encodings::protobuf::{Field, Kind, Label, Schema, packed, timestamp_parts};
use tradelane_encodings::{Slot, varint};
use tradelane_tape::{Tape, text};

use crate::binary::avro::{coarse, first_day, whole, whole_bucket};
use crate::format::ValueKind;
use crate::key::DataKey;
use crate::mask;
use crate::view::{Change, ViewKeys};

/// How a tag says that a length follows.
const COUNTED: u64 = 2;
const DAY: i64 = 86_400;

/// Writes what `change` makes of a field, `raw` with its tag, into the empty `out`. None: nothing.
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
    let field = schema.field(slot)?;
    let mut masks = Masks { schema, change, keys, data_key, tape };
    if field.label == Label::Map {
        return masks.entry(slot, raw, out);
    }
    masks.field(slot, field, raw, out)
}

struct Masks<'m> {
    schema: &'m Schema,
    change: Change,
    keys: &'m ViewKeys,
    data_key: Option<&'m DataKey>,
    tape: &'m mut Tape,
}

impl Masks<'_> {
    fn field(&mut self, slot: Slot, field: &Field, raw: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let (tag, skip) = varint::read(raw)?;
        let head = raw.get(..skip)?;
        let value = self.schema.value(raw)?;
        if field.kind == Kind::String {
            let shown = self.text(slot, raw)?;
            return counted(head, shown.as_bytes(), out);
        }
        match self.change {
            Change::Partial { .. } if field.label == Label::Repeated => None,
            Change::Partial { .. } => {
                out.extend_from_slice(self.schema.redacted(slot));
                Some(())
            }
            Change::Pseudonym if field.kind == Kind::Bytes => {
                let mut shown = zeroize::Zeroizing::new(Vec::new());
                self.schema.write_scalar(slot, raw, &mut shown);
                let mac = mask::pseudonym_bytes(&shown, self.keys, self.tape)?;
                counted(head, mac.first_chunk::<16>()?, out)
            }
            Change::Date(unit) => {
                let message = self.schema.message_at(slot)?;
                let (seconds, _) = Some(timestamp_parts(value)).filter(|_| self.schema.is_timestamp(message))?;
                let cut = first_day(seconds.div_euclid(DAY), unit)?.checked_mul(DAY)?;
                let mut inner = vec![8];
                varint::write(cut as u64, &mut inner);
                counted(head, &inner, out)
            }
            Change::Geo { .. } | Change::Number { .. } if tag & 7 == COUNTED => {
                // Numbers that are written together: all of them, or none.
                let mut together = Vec::with_capacity(value.len());
                packed(field, value).try_for_each(|one| number(self.change, &field.kind, one, &mut together))?;
                counted(head, &together, out)
            }
            Change::Geo { .. } | Change::Number { .. } => {
                out.extend_from_slice(head);
                number(self.change, &field.kind, value, out)
            }
            Change::Pseudonym | Change::Token => None,
        }
    }

    /// A text, by way of the JSON masks, whose result is text.
    fn text(&mut self, slot: Slot, raw: &[u8]) -> Option<String> {
        let mut shown = zeroize::Zeroizing::new(Vec::new());
        self.schema.write_scalar(slot, raw, &mut shown);
        let mut json = Vec::new();
        mask::change(self.change, ValueKind::String, &shown, self.keys, self.data_key, self.tape, &mut json)?;
        let contents = json.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
        Some(text::unescape(std::str::from_utf8(contents).ok()?).into_owned())
    }

    /// An entry of a map: its key stays, its value changes.
    fn entry(&mut self, slot: Slot, raw: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let schema = self.schema;
        let (_, skip) = varint::read(raw)?;
        let value_slot = schema.map_value(slot)?;
        let value_field = schema.field(value_slot)?;
        let mut rest = schema.value(raw)?;
        let mut inner = Vec::with_capacity(raw.len());
        while !rest.is_empty() {
            let len = occurrence(rest)?;
            let (part, after) = rest.split_at_checked(len)?;
            rest = after;
            match varint::read(part)?.0 >> 3 {
                2 => {
                    let mut changed = Vec::new();
                    self.field(value_slot, value_field, part, &mut changed)?;
                    inner.extend_from_slice(&changed);
                }
                _ => inner.extend_from_slice(part),
            }
        }
        counted(raw.get(..skip)?, &inner, out)
    }
}

/// How long the first field is; groups are not in entries of maps.
fn occurrence(bytes: &[u8]) -> Option<usize> {
    let (tag, skip) = varint::read(bytes)?;
    let rest = bytes.get(skip..)?;
    let len = match tag & 7 {
        0 => varint::read(rest)?.1,
        1 => 8,
        COUNTED => {
            let (len, more) = varint::read(rest)?;
            usize::try_from(len).ok()?.checked_add(more)?
        }
        5 => 4,
        _ => return None,
    };
    skip.checked_add(len)
}

fn counted(head: &[u8], bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
    out.extend_from_slice(head);
    varint::write(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
    Some(())
}

/// A number made coarse, in its own type.
fn number(change: Change, kind: &Kind, value: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let four = || value.first_chunk::<4>().copied();
    let eight = || value.first_chunk::<8>().copied();
    let plain = || varint::read(value).map(|(number, _)| number);
    let made = |number: i128| floor(change, number);
    match kind {
        Kind::Float => {
            let shown = coarse(change, f64::from(f32::from_le_bytes(four()?)))? as f32;
            out.extend_from_slice(&Some(shown).filter(|shown| shown.is_finite())?.to_le_bytes());
        }
        Kind::Double => out.extend_from_slice(&coarse(change, f64::from_le_bytes(eight()?))?.to_le_bytes()),
        Kind::Int32 => varint::write(i64::from(i32::try_from(made(i128::from(plain()? as i32))?).ok()?) as u64, out),
        Kind::Int64 => varint::write(i64::try_from(made(i128::from(plain()? as i64))?).ok()? as u64, out),
        Kind::Uint32 => varint::write(u64::from(u32::try_from(made(i128::from(plain()? as u32))?).ok()?), out),
        Kind::Uint64 => varint::write(u64::try_from(made(i128::from(plain()?))?).ok()?, out),
        Kind::Sint32 => {
            let number = i32::try_from(made(i128::from(varint::unzigzag(plain()?) as i32))?).ok()?;
            varint::write_signed(i64::from(number), out);
        }
        Kind::Sint64 => {
            varint::write_signed(i64::try_from(made(i128::from(varint::unzigzag(plain()?)))?).ok()?, out);
        }
        Kind::Fixed32 => {
            let number = u32::try_from(made(i128::from(u32::from_le_bytes(four()?)))?).ok()?;
            out.extend_from_slice(&number.to_le_bytes());
        }
        Kind::Sfixed32 => {
            let number = i32::try_from(made(i128::from(i32::from_le_bytes(four()?)))?).ok()?;
            out.extend_from_slice(&number.to_le_bytes());
        }
        Kind::Fixed64 => {
            let number = u64::try_from(made(i128::from(u64::from_le_bytes(eight()?)))?).ok()?;
            out.extend_from_slice(&number.to_le_bytes());
        }
        Kind::Sfixed64 => {
            let number = i64::try_from(made(i128::from(i64::from_le_bytes(eight()?)))?).ok()?;
            out.extend_from_slice(&number.to_le_bytes());
        }
        _ => return None,
    }
    Some(())
}

fn floor(change: Change, number: i128) -> Option<i128> {
    match (change, whole_bucket(change)) {
        (Change::Geo { .. }, _) => Some(number),
        (_, Some(bucket)) => Some(number - number.rem_euclid(i128::from(bucket))),
        _ => whole(coarse(change, number as f64)?).map(i128::from),
    }
}
