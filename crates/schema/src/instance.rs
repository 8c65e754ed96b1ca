//! The tape's nodes as the validator reads them.
//!
//! The validator wants one node type for every lifetime (`Json::Node<'a>`), which the tape's `Node<'a>` is already: a
//! copyable handle of the document's lifetime. Two things it must be able to say besides: a member's *name* is
//! validated like a string value (`propertyNames`), and names are no nodes of the tape; and a node knows the [`Walk`]
//! that bounds the work. So an instance is either of the two, and stays `Copy`.

use crate::equal;
use crate::number::Number;
use crate::walk::Walk;
use jsonschema::JsonType;
use jsonschema::json::{self, Json, NodeIdentity};
use serde_json::Value;
use std::borrow::Cow;
use tradelane_tape::{Elements, Kind, Members, Name, Node};

/// The representation: the validator is generic over it.
pub(crate) struct OnTape;

#[derive(Clone, Copy)]
pub(crate) enum Instance<'a> {
    /// A value of the document.
    Value(Node<'a>, &'a Walk<'a>),
    /// The decoded name of a member, wherever it is held.
    Name(&'a str),
}

impl Json for OnTape {
    type Node<'a> = Instance<'a>;
    type PreparedKey = Name;
    /// A look-up walks over the members; so one pass over them replaces as many look-ups as there are names to find.
    const KEYS_PER_LOOKUP: usize = 16;
    type StringBuffer = ();

    fn prepare_key(key: &str) -> Name {
        Name::new(key)
    }

    fn with_string_node<T>((): &mut (), string: &str, f: impl FnOnce(Instance<'_>) -> T) -> T {
        f(Instance::Name(string))
    }
}

impl<'a> json::Node<'a, OnTape> for Instance<'a> {
    type Object = Object<'a>;
    type Array = Array<'a>;
    type Number = Number<'a>;

    #[inline]
    fn as_object(&self) -> Option<Object<'a>> {
        match *self {
            Instance::Value(node, walk) if node.kind() == Kind::Object => {
                walk.step(1);
                Some(Object { node, walk })
            }
            _ => None,
        }
    }

    #[inline]
    fn as_array(&self) -> Option<Array<'a>> {
        match *self {
            Instance::Value(node, walk) if node.kind() == Kind::Array => {
                walk.step(1);
                Some(Array { node, walk })
            }
            _ => None,
        }
    }

    #[inline]
    fn as_string(&self) -> Option<Cow<'a, str>> {
        match *self {
            Instance::Value(node, _) => node.as_str(),
            Instance::Name(name) => Some(Cow::Borrowed(name)),
        }
    }

    #[inline]
    fn as_number(&self) -> Option<Number<'a>> {
        match *self {
            Instance::Value(node, _) if node.kind() == Kind::Number => Some(Number(node)),
            _ => None,
        }
    }

    #[inline]
    fn as_boolean(&self) -> Option<bool> {
        match *self {
            Instance::Value(node, _) => node.as_bool(),
            Instance::Name(_) => None,
        }
    }

    #[inline]
    fn is_null(&self) -> bool {
        matches!(*self, Instance::Value(node, _) if node.is_null())
    }

    #[inline]
    fn is_number(&self) -> bool {
        self.json_type() == JsonType::Number
    }

    #[inline]
    fn json_type(&self) -> JsonType {
        match *self {
            Instance::Name(_) => JsonType::String,
            Instance::Value(node, _) => match node.kind() {
                Kind::Null => JsonType::Null,
                Kind::Bool => JsonType::Boolean,
                Kind::Number => JsonType::Number,
                Kind::String => JsonType::String,
                Kind::Array => JsonType::Array,
                Kind::Object => JsonType::Object,
            },
        }
    }

    fn string_length(&self) -> Option<u64> {
        let characters = match *self {
            Instance::Name(name) => characters(name.as_bytes()),
            Instance::Value(node, _) => match node.raw_contents() {
                Some(plain) => characters(plain),
                None => characters(node.as_str()?.as_bytes()),
            },
        };
        Some(characters as u64)
    }

    fn equals_value(&self, expected: &Value) -> bool {
        match *self {
            Instance::Value(node, walk) => walk.step(1) && equal::equals_value(node, expected),
            Instance::Name(name) => expected.as_str() == Some(name),
        }
    }

    /// Never the value: see [`Walk`]. The validator asks for it where it makes an error.
    fn to_value(&self) -> Cow<'a, Value> {
        Cow::Owned(match *self {
            Instance::Value(node, walk) => walk.stand_in(node),
            Instance::Name(_) => Value::Null,
        })
    }

    #[inline]
    fn identity(&self) -> Option<NodeIdentity> {
        Some(match *self {
            Instance::Value(node, _) => NodeIdentity::tagged(node.doc().address(), node.index()),
            // Text of a document and its tape never share an address, nor do two names that are held at once.
            Instance::Name(name) => NodeIdentity::tagged(name.as_ptr() as usize, u32::MAX),
        })
    }
}

/// Unicode scalars of a text in UTF-8: its bytes but those that go on with one. Texts of events are short and mostly ASCII,
/// which a few loads tell.
#[inline]
pub(crate) fn characters(text: &[u8]) -> usize {
    let is_ascii = match text.len() {
        0..4 => text.is_ascii(),
        4..8 => are_ascii(text.first_chunk::<4>(), text.last_chunk::<4>()),
        8..=16 => are_ascii(text.first_chunk::<8>(), text.last_chunk::<8>()),
        // The last sixteen may be among the chunks too: it does not matter.
        _ => {
            let (chunks, _) = text.as_chunks::<16>();
            let all = chunks.iter().fold(0, |all, chunk| all | u128::from_le_bytes(*chunk));
            are_ascii(Some(&all.to_le_bytes()), text.last_chunk::<16>())
        }
    };
    if is_ascii { text.len() } else { text.iter().filter(|byte| **byte & 0xC0 != 0x80).count() }
}

/// Whether no byte of both has its highest bit set.
#[inline(always)]
fn are_ascii<const N: usize>(first: Option<&[u8; N]>, last: Option<&[u8; N]>) -> bool {
    let word = |chunk: Option<&[u8; N]>| {
        let mut padded = [0; 16];
        if let (Some(place), Some(chunk)) = (padded.first_chunk_mut::<N>(), chunk) {
            *place = *chunk;
        }
        u128::from_le_bytes(padded)
    };
    (word(first) | word(last)) & (u128::MAX / 0xFF * 0x80) == 0
}

#[derive(Clone, Copy)]
pub(crate) struct Object<'a> {
    node: Node<'a>,
    walk: &'a Walk<'a>,
}

impl<'a> json::Object<'a, OnTape> for Object<'a> {
    type Node = Instance<'a>;
    type MemberName = Cow<'a, str>;
    type MembersIter = MemberInstances<'a>;

    #[inline]
    fn len(&self) -> usize {
        self.node.len()
    }

    #[inline]
    fn get(&self, key: &Name) -> Option<Instance<'a>> {
        self.walk.get(self.node, key).map(|value| Instance::Value(value, self.walk))
    }

    #[inline]
    fn members(&self) -> MemberInstances<'a> {
        MemberInstances { members: self.node.members(), walk: self.walk }
    }
}

pub(crate) struct MemberInstances<'a> {
    members: Members<'a>,
    walk: &'a Walk<'a>,
}

impl<'a> Iterator for MemberInstances<'a> {
    type Item = (Cow<'a, str>, Instance<'a>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if !self.walk.step(1) {
            return None;
        }
        let (key, value) = self.members.next()?;
        Some((key.as_str(), Instance::Value(value, self.walk)))
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Array<'a> {
    node: Node<'a>,
    walk: &'a Walk<'a>,
}

impl<'a> json::Array<'a, OnTape> for Array<'a> {
    type Node = Instance<'a>;
    type ElementsIter = ElementInstances<'a>;

    #[inline]
    fn len(&self) -> usize {
        self.node.len()
    }

    #[inline]
    fn elements(&self) -> ElementInstances<'a> {
        ElementInstances { elements: self.node.elements(), walk: self.walk }
    }

    fn is_unique(&self) -> bool {
        let entries = self.node.next_index().saturating_sub(self.node.index());
        self.walk.step(entries as usize) && equal::all_unique(self.node)
    }
}

pub(crate) struct ElementInstances<'a> {
    elements: Elements<'a>,
    walk: &'a Walk<'a>,
}

impl<'a> Iterator for ElementInstances<'a> {
    type Item = Instance<'a>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if !self.walk.step(1) {
            return None;
        }
        Some(Instance::Value(self.elements.next()?, self.walk))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_counted_as_scalars_whatever_their_length() {
        for unit in ["a", "é", "€", "😀", "aé€😀"] {
            for count in 0..40 {
                let text: String = unit.chars().cycle().take(count).collect();
                assert_eq!(characters(text.as_bytes()), count, "{text}");
            }
        }
    }
}
