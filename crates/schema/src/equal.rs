//! Equality in JSON Schema's sense, on the tape: numbers by value, objects regardless of order.

use serde_json::Value;
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use tradelane_tape::{Kind, Node};

/// Whether `node` equals a value of the schema (`const`, `enum`). Its depth is the schema's.
pub(crate) fn equals_value(node: Node<'_>, expected: &Value) -> bool {
    match expected {
        Value::Null => node.is_null(),
        Value::Bool(expected) => node.as_bool() == Some(*expected),
        Value::String(expected) => node.eq_str(expected),
        Value::Number(expected) => number(node).is_some_and(|value| value == schema_number(expected)),
        Value::Array(expected) => {
            node.kind() == Kind::Array
                && node.len() == expected.len()
                && node.elements().zip(expected).all(|(node, expected)| equals_value(node, expected))
        }
        Value::Object(expected) => {
            node.kind() == Kind::Object
                && node.len() == expected.len()
                && node
                    .members()
                    .all(|(key, value)| expected.get(&*key.as_str()).is_some_and(|other| equals_value(value, other)))
        }
    }
}

/// A number by value: integers exactly, the rest as doubles.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Numeric {
    Integer(i128),
    Double(f64),
    /// Beyond a double; equal to nothing.
    Beyond,
}

fn number(node: Node<'_>) -> Option<Numeric> {
    if node.kind() != Kind::Number {
        return None;
    }
    Some(if let Some(unsigned) = node.as_u64() {
        Numeric::Integer(unsigned.into())
    } else if let Some(signed) = node.as_i64() {
        Numeric::Integer(signed.into())
    } else {
        node.as_f64().map_or(Numeric::Beyond, double)
    })
}

fn schema_number(number: &serde_json::Number) -> Numeric {
    if let Some(unsigned) = number.as_u64() {
        Numeric::Integer(unsigned.into())
    } else if let Some(signed) = number.as_i64() {
        Numeric::Integer(signed.into())
    } else {
        number.as_f64().map_or(Numeric::Beyond, double)
    }
}

/// A double that is an integer counts as one, so that `1` and `1.0` are equal. 2^100 is well within an i128 and well
/// above what else can be an integer here.
fn double(value: f64) -> Numeric {
    const BOUND: f64 = (1u128 << 100) as f64;
    if value.fract() == 0.0 && value.abs() < BOUND { Numeric::Integer(value as i128) } else { Numeric::Double(value) }
}

/// Whether two values of one document are equal. Recursive: the tape bounds the depth.
fn equal(a: Node<'_>, b: Node<'_>) -> bool {
    if a.kind() != b.kind() {
        return false;
    }
    match a.kind() {
        Kind::Null => true,
        Kind::Bool => a.as_bool() == b.as_bool(),
        Kind::Number => match (number(a), number(b)) {
            (Some(Numeric::Beyond), Some(Numeric::Beyond)) => a.raw() == b.raw(),
            (a, b) => a == b,
        },
        Kind::String => match (a.raw_str(), b.raw_str()) {
            (Some(a), Some(b)) => a == b,
            _ => a.as_str() == b.as_str(),
        },
        Kind::Array => a.len() == b.len() && a.elements().zip(b.elements()).all(|(a, b)| equal(a, b)),
        Kind::Object => a.len() == b.len() && same_members(a, b),
    }
}

fn same_members(a: Node<'_>, b: Node<'_>) -> bool {
    // In the same order more often than not; else by sorted names, never by one search per member.
    if a.members()
        .zip(b.members())
        .all(|((name, value), (other, twin))| name.as_str() == other.as_str() && equal(value, twin))
    {
        return true;
    }
    let sorted = |node: Node<'_>| {
        let mut members: Vec<_> =
            node.members().map(|(key, value)| (key.as_str().into_owned(), value.index())).collect();
        members.sort_unstable();
        members
    };
    sorted(a).into_iter().zip(sorted(b)).all(|((name, value), (other, twin))| {
        name == other
            && match (a.doc().node(value), b.doc().node(twin)) {
                (Some(value), Some(twin)) => equal(value, twin),
                _ => false,
            }
    })
}

/// Elements up to which each is compared with each.
const FEW: usize = 16;

/// `uniqueItems`. Linear in the array's bytes: above [`FEW`] elements, only those of equal hash are compared.
pub(crate) fn all_unique(array: Node<'_>) -> bool {
    if array.len() <= FEW {
        return array.elements().enumerate().all(|(i, a)| array.elements().take(i).all(|b| !equal(a, b)));
    }
    let keys = RandomState::new();
    let mut seen: HashMap<u64, Vec<u32>> = HashMap::with_capacity(array.len());
    for element in array.elements() {
        let alike = seen.entry(hash(element, &keys)).or_default();
        let doc = array.doc();
        if alike.iter().any(|&index| doc.node(index).is_some_and(|other| equal(element, other))) {
            return false;
        }
        alike.push(element.index());
    }
    true
}

/// Equal values hash alike. Keyed, so that nobody can make many different values collide.
fn hash(node: Node<'_>, keys: &RandomState) -> u64 {
    let mut state = keys.build_hasher();
    match node.kind() {
        Kind::Null => state.write_u8(0),
        Kind::Bool => state.write_u8(1 + u8::from(node.as_bool() == Some(true))),
        Kind::Number => {
            state.write_u8(3);
            match number(node) {
                Some(Numeric::Integer(integer)) => state.write_i128(integer),
                Some(Numeric::Double(double)) => state.write_u64(double.to_bits()),
                _ => state.write(node.raw()),
            }
        }
        Kind::String => {
            state.write_u8(4);
            state.write(node.as_str().unwrap_or_default().as_bytes());
        }
        Kind::Array => {
            state.write_u8(5);
            node.elements().for_each(|element| state.write_u64(hash(element, keys)));
        }
        Kind::Object => {
            state.write_u8(6);
            // Order must not matter, so members are summed.
            let members = node.members().map(|(key, value)| {
                let mut member = keys.build_hasher();
                member.write(key.as_str().as_bytes());
                member.write_u64(hash(value, keys));
                member.finish()
            });
            state.write_u64(members.fold(0, u64::wrapping_add));
        }
    }
    state.finish()
}
