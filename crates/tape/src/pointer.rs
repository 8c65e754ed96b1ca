//! JSON Pointers (RFC 6901): from a pointer to a value, and from a value to its pointer (for error places).

use crate::{Kind, Node};
use std::fmt::Write;

/// The value that `ptr` names, seen from `root`. Array indices have no sign and no leading zeros; `-` names nothing.
pub(crate) fn resolve<'a>(root: Node<'a>, ptr: &str) -> Option<Node<'a>> {
    if ptr.is_empty() {
        return Some(root);
    }
    let mut node = root;
    for token in ptr.strip_prefix('/')?.split('/') {
        node = match node.kind() {
            Kind::Object if token.contains('~') => node.get(&unescape_token(token)?)?,
            Kind::Object => node.get(token)?,
            Kind::Array => node.at(array_index(token)?)?,
            _ => return None,
        };
    }
    Some(node)
}

fn array_index(token: &str) -> Option<usize> {
    let plain = token.bytes().all(|b| b.is_ascii_digit()) && (token == "0" || !token.starts_with('0'));
    if plain { token.parse().ok() } else { None }
}

/// `~1` is `/`, `~0` is `~`; none for any other use of `~`.
fn unescape_token(token: &str) -> Option<String> {
    let mut text = String::with_capacity(token.len());
    let mut chars = token.chars();
    while let Some(c) = chars.next() {
        text.push(match c {
            '~' => match chars.next()? {
                '0' => '~',
                '1' => '/',
                _ => return None,
            },
            other => other,
        });
    }
    Some(text)
}

/// Appends `/` and the token as a pointer writes it.
pub fn push_token(pointer: &mut String, token: &str) {
    pointer.push('/');
    for c in token.chars() {
        match c {
            '~' => pointer.push_str("~0"),
            '/' => pointer.push_str("~1"),
            other => pointer.push(other),
        }
    }
}

/// The pointer from `root` to the value (or member name) with tape index `index`; as far as it leads, if the index is
/// outside of `root`. The work is the siblings passed on the way: meant for errors.
pub fn path_to(root: Node<'_>, index: u32) -> String {
    let mut pointer = String::new();
    let mut node = root;
    while index > node.index() && index < node.next_index() {
        let inner = match node.kind() {
            Kind::Object => node.members().find(|(_, value)| index < value.next_index()).map(|(key, value)| {
                push_token(&mut pointer, &key.as_str());
                value
            }),
            Kind::Array => {
                node.elements().enumerate().find(|(_, value)| index < value.next_index()).map(|(i, value)| {
                    // Writing to a String cannot fail.
                    let _ = write!(pointer, "/{i}");
                    value
                })
            }
            _ => None,
        };
        match inner {
            Some(value) => node = value,
            None => break,
        }
    }
    pointer
}
