//! Values that stand where a value was left out, worked out once per position.

use serde_json::Value;

use super::parse::word;
use super::schema::{Field, Logical, MAX_LITERAL, Schema, SchemaError, Type};
use crate::tree::Slot;
use crate::varint;

/// All such values of a schema together, in bytes.
const MAX_TOGETHER: usize = 4 << 20;
/// Values within values of a default.
const MAX_DEPTH: usize = 64;
const STARS: &[u8] = b"***";
const NIL_UUID: &[u8] = b"00000000-0000-0000-0000-000000000000";

/// Fills in `absent` and `redacted` of every position, and finds out on the way whether defaults fit, and whether a value
/// of each type can end.
pub(super) fn fill(schema: &mut Schema) -> Result<(), SchemaError> {
    let least = least_of_all(schema)?;
    let mut together = 0;
    for slot in 0..schema.slots.len() {
        let Some(position) = schema.slots.get(slot) else { break };
        let absent = least_at(schema, &least, position.whole).unwrap_or_default();
        let redacted = redacted(schema, &least, position.inner, position.branch);
        together += absent.len() + redacted.len();
        set(schema, slot, absent, redacted);
    }
    for FieldDefault { slot: first, default, absent } in defaults(schema, &least)? {
        together += default.len() + absent.len();
        for slot in schema.branches(first) {
            if let Some(position) = schema.slots.get_mut(usize::from(slot)) {
                position.absent = absent.clone().into();
            }
        }
        let fields = schema.types.iter_mut().filter_map(|named| match &mut named.kind {
            Type::Record(fields) => Some(fields),
            _ => None,
        });
        if let Some(field) = fields.flatten().find(|field| field.slot == first) {
            field.default_bytes = Some(default.into());
        }
    }
    if together > MAX_TOGETHER {
        return Err(wrong("the schema", "its least values have more than 4 MiB"));
    }
    Ok(())
}

fn set(schema: &mut Schema, slot: usize, absent: Vec<u8>, redacted: Vec<u8>) {
    if let Some(position) = schema.slots.get_mut(slot) {
        (position.absent, position.redacted) = (absent.into(), redacted.into());
    }
}

fn wrong(at: &str, reason: impl Into<String>) -> SchemaError {
    SchemaError { at: at.to_owned(), reason: reason.into() }
}

/// The least value of each type. A record is worked out once its fields are.
fn least_of_all(schema: &Schema) -> Result<Vec<Option<Vec<u8>>>, SchemaError> {
    let mut least: Vec<Option<Vec<u8>>> = vec![None; schema.types.len()];
    loop {
        let mut found = false;
        // What is within a type stands after it, so that most are found in one go from the end.
        for index in (0..schema.types.len()).rev() {
            if least.get(index).is_some_and(Option::is_some) {
                continue;
            }
            let Some(value) = least_of(schema, &least, index)? else { continue };
            if let Some(place) = least.get_mut(index) {
                *place = Some(value);
                found = true;
            }
        }
        if !found {
            break;
        }
    }
    match schema.types.iter().zip(&least).find(|(_, least)| least.is_none()) {
        Some((named, _)) => {
            let name = named.name.as_deref().unwrap_or("the schema");
            Err(wrong(name, "holds a value of itself in every case, so that none could ever end"))
        }
        None => Ok(least),
    }
}

fn least_of(schema: &Schema, least: &[Option<Vec<u8>>], index: usize) -> Result<Option<Vec<u8>>, SchemaError> {
    let Some(named) = schema.types.get(index) else { return Ok(None) };
    let value = match (&named.kind, named.logical) {
        (Type::Null, _) => Vec::new(),
        // The unscaled number 0 in one byte.
        (Type::Bytes, Logical::Decimal { .. }) => vec![2, 0],
        // The same, and the scale 0, as bytes within bytes.
        (Type::Bytes, Logical::BigDecimal) => vec![6, 2, 0, 0],
        (Type::String, Logical::Uuid) => counted(NIL_UUID),
        (Type::Boolean | Type::Int | Type::Long | Type::Bytes | Type::String | Type::Array(_) | Type::Map(_), _) => {
            vec![0]
        }
        (Type::Float, _) => vec![0; 4],
        (Type::Double, _) => vec![0; 8],
        (Type::Fixed(size), _) => vec![0; *size],
        (Type::Enum { default, .. }, _) => branch(default.unwrap_or(0)),
        (Type::Union(_), _) => match least_at(schema, least, index as u32) {
            Some(value) => value,
            None => return Ok(None),
        },
        (Type::Record(fields), _) => {
            let mut value = Vec::new();
            for field in fields {
                let Some(position) = schema.position(field.slot) else { return Ok(None) };
                let Some(part) = least_at(schema, least, position.whole) else { return Ok(None) };
                value.extend_from_slice(&part);
                if value.len() > MAX_LITERAL {
                    let name = named.name.as_deref().unwrap_or("the schema");
                    return Err(wrong(name, format!("the least value of it has more than {MAX_LITERAL} bytes")));
                }
            }
            value
        }
    };
    Ok(Some(value))
}

/// The least value where a type stands: null, if a union has it.
fn least_at(schema: &Schema, least: &[Option<Vec<u8>>], index: u32) -> Option<Vec<u8>> {
    let of = |index: u32| least.get(index as usize).cloned().flatten();
    let Type::Union(branches) = &schema.named(index)?.kind else { return of(index) };
    let numbered = || branches.iter().zip(0_u32..);
    let is_null = |index: u32| schema.named(index).is_some_and(|named| named.kind == Type::Null);
    let null = numbered().find(|(inner, _)| is_null(**inner)).map(|(_, number)| branch(number));
    null.or_else(|| numbered().find_map(|(inner, number)| Some([branch(number), of(*inner)?].concat())))
}

/// A value of a branch that shows nothing of itself.
fn redacted(schema: &Schema, least: &[Option<Vec<u8>>], inner: u32, number: Option<u32>) -> Vec<u8> {
    let mut value = number.map(branch).unwrap_or_default();
    match schema.named(inner).map(|named| (&named.kind, named.logical)) {
        Some((Type::String, Logical::None)) => value.extend(counted(STARS)),
        _ => value.extend(least.get(inner as usize).cloned().flatten().unwrap_or_default()),
    }
    value
}

/// A field that has a default of its own.
struct FieldDefault {
    slot: Slot,
    default: Vec<u8>,
    /// What stands for it if it is left out: null, where its union has that.
    absent: Vec<u8>,
}

fn defaults(schema: &Schema, least: &[Option<Vec<u8>>]) -> Result<Vec<FieldDefault>, SchemaError> {
    let mut found = Vec::new();
    for named in &schema.types {
        let Type::Record(fields) = &named.kind else { continue };
        for field in fields {
            let (Some(default), Some(position)) = (&field.default, schema.position(field.slot)) else { continue };
            let mut value = Vec::new();
            let at = || format!("{}.{}", named.name.as_deref().unwrap_or_default(), field.name);
            if encode(schema, position.whole, default, &mut value, 0).is_none() {
                let kind = schema.named(position.whole).map_or("", |named| word(&named.kind));
                return Err(wrong(&at(), format!("its `default` is no {kind} of that kind")));
            }
            let is_nullable = schema.branches(field.slot).any(|slot| {
                matches!(schema.type_at(slot), Some((Type::Null, _))) && schema.branches(field.slot).len() > 1
            });
            let absent = match is_nullable {
                true => least_at(schema, least, position.whole).unwrap_or_default(),
                false => value.clone(),
            };
            found.push(FieldDefault { slot: field.slot, default: value, absent });
        }
    }
    Ok(found)
}

fn branch(number: u32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(2);
    varint::write_signed(i64::from(number), &mut bytes);
    bytes
}

fn counted(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len() + 2);
    write_counted(text, &mut bytes);
    bytes
}

/// Appends a length and so many bytes, as `bytes` and `string` have them.
pub(super) fn write_counted(text: &[u8], out: &mut Vec<u8>) {
    varint::write_signed(text.len() as i64, out);
    out.extend_from_slice(text);
}

/// Appends a default, which a schema writes as JSON. None: it does not fit the type, or is too large.
fn encode(schema: &Schema, index: u32, value: &Value, out: &mut Vec<u8>, depth: usize) -> Option<()> {
    if depth > MAX_DEPTH || out.len() > MAX_LITERAL {
        return None;
    }
    let named = schema.named(index)?;
    match &named.kind {
        Type::Null => value.as_null()?,
        Type::Boolean => out.push(u8::from(value.as_bool()?)),
        Type::Int => varint::write_signed(i64::from(i32::try_from(value.as_i64()?).ok()?), out),
        Type::Long => varint::write_signed(value.as_i64()?, out),
        Type::Float => out.extend_from_slice(&(value.as_f64()? as f32).to_le_bytes()),
        Type::Double => out.extend_from_slice(&value.as_f64()?.to_le_bytes()),
        Type::String => write_counted(value.as_str()?.as_bytes(), out),
        Type::Bytes => write_counted(&latin(value.as_str()?)?, out),
        Type::Fixed(size) => out.extend(Some(latin(value.as_str()?)?).filter(|bytes| bytes.len() == *size)?),
        Type::Enum { symbols, .. } => {
            let number = symbols.iter().position(|symbol| Some(&**symbol) == value.as_str())?;
            varint::write_signed(number as i64, out);
        }
        Type::Array(slot) => {
            let items = value.as_array()?;
            let inner = schema.position(*slot)?.whole;
            if !items.is_empty() {
                varint::write_signed(items.len() as i64, out);
            }
            items.iter().try_for_each(|item| encode(schema, inner, item, out, depth + 1))?;
            out.push(0);
        }
        Type::Map(slot) => {
            let entries = value.as_object()?;
            let inner = schema.position(*slot)?.whole;
            if !entries.is_empty() {
                varint::write_signed(entries.len() as i64, out);
            }
            for (key, value) in entries {
                write_counted(key.as_bytes(), out);
                encode(schema, inner, value, out, depth + 1)?;
            }
            out.push(0);
        }
        Type::Record(fields) => {
            let object = value.as_object()?;
            fields.iter().try_for_each(|field| encode_field(schema, field, object.get(&*field.name), out, depth))?;
        }
        Type::Union(branches) => {
            let start = out.len();
            let fits = branches.iter().zip(0_u32..).any(|(inner, number)| {
                out.truncate(start);
                out.extend(branch(number));
                encode(schema, *inner, value, out, depth + 1).is_some()
            });
            fits.then_some(())?;
        }
    }
    Some(())
}

fn encode_field(schema: &Schema, field: &Field, value: Option<&Value>, out: &mut Vec<u8>, depth: usize) -> Option<()> {
    let value = value.or(field.default.as_ref())?;
    encode(schema, schema.position(field.slot)?.whole, value, out, depth + 1)
}

/// Bytes as a schema's defaults write them: a character for each.
fn latin(text: &str) -> Option<Vec<u8>> {
    text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect()
}
