//! Reading a parsed document: values, members, elements. Everything here is a view of the tape and of the document's
//! own bytes; only strings with escapes allocate when they are read.

use crate::entry::*;
use crate::keys::{self, Name};
use crate::text;
use std::borrow::Cow;
use std::ops::Range;

/// A parsed document.
#[derive(Clone, Copy, Debug)]
pub struct Doc<'a> {
    text: &'a str,
    entries: &'a [Entry],
}

impl<'a> Doc<'a> {
    #[inline(always)]
    pub(crate) fn new(text: &'a str, entries: &'a [Entry]) -> Self {
        Doc { text, entries }
    }

    /// Its one value.
    #[inline]
    pub fn root(self) -> Node<'a> {
        Node { doc: self, index: 0 }
    }

    /// The document as it came, white space and all.
    #[inline]
    pub fn bytes(self) -> &'a [u8] {
        self.text.as_bytes()
    }

    /// The document as text.
    #[inline]
    pub fn text(self) -> &'a str {
        self.text
    }

    /// Entries on the tape: values and member names.
    #[inline]
    pub fn node_count(self) -> u32 {
        self.entries.len() as u32
    }

    /// The value at a tape index; none if there is no such entry or it is a member name.
    #[inline]
    pub fn node(self, index: u32) -> Option<Node<'a>> {
        let entry = self.entries.get(index as usize)?;
        (entry.kind() != NAME).then_some(Node { doc: self, index })
    }

    /// The member whose name is at a tape index; none if there is no name.
    #[inline]
    pub fn member(self, index: u32) -> Option<(Key<'a>, Node<'a>)> {
        let entry = self.entries.get(index as usize).copied()?;
        (entry.kind() == NAME).then_some((Key { doc: self, entry, index }, Node { doc: self, index: index + 1 }))
    }

    /// Where the tape lies in memory: tells two documents that are alive at once apart.
    #[inline]
    pub fn address(self) -> usize {
        self.entries.as_ptr() as usize
    }

    #[inline(always)]
    fn entry(self, index: u32) -> Entry {
        self.entries.get(index as usize).copied().unwrap_or_default()
    }

    #[inline(always)]
    fn slice(self, range: Range<usize>) -> &'a str {
        self.text.get(range).unwrap_or_default()
    }

    /// What stands between the quotes of a string or name.
    #[inline(always)]
    fn contents(self, entry: Entry) -> &'a str {
        self.slice(entry.start as usize + 1..(entry.end as usize).wrapping_sub(1))
    }
}

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `null`
    Null,
    /// `true` or `false`
    Bool,
    /// A number of any magnitude.
    Number,
    /// A string.
    String,
    /// An array.
    Array,
    /// An object.
    Object,
}

/// A value of a document.
#[derive(Clone, Copy, Debug)]
pub struct Node<'a> {
    doc: Doc<'a>,
    index: u32,
}

impl<'a> Node<'a> {
    #[inline(always)]
    fn entry(self) -> Entry {
        self.doc.entry(self.index)
    }

    /// What the value is.
    #[inline]
    pub fn kind(self) -> Kind {
        match self.entry().kind() {
            BOOL => Kind::Bool,
            NUMBER => Kind::Number,
            STRING => Kind::String,
            ARRAY => Kind::Array,
            OBJECT => Kind::Object,
            _ => Kind::Null,
        }
    }

    /// The document it belongs to.
    #[inline]
    pub fn doc(self) -> Doc<'a> {
        self.doc
    }

    /// Its place on the tape: unique in the document, and smaller than those of the values inside it.
    #[inline]
    pub fn index(self) -> u32 {
        self.index
    }

    /// The tape index after this value and all inside it.
    #[inline]
    pub fn next_index(self) -> u32 {
        self.entry().link
    }

    /// Its byte range in the document; strings with their quotes.
    #[inline]
    pub fn range(self) -> Range<usize> {
        self.entry().range()
    }

    /// Its bytes as they stand in the document.
    #[inline]
    pub fn raw(self) -> &'a [u8] {
        self.raw_text().as_bytes()
    }

    /// Its text as it stands in the document.
    #[inline]
    pub fn raw_text(self) -> &'a str {
        self.doc.slice(self.range())
    }

    /// Whether it is `null`.
    #[inline]
    pub fn is_null(self) -> bool {
        self.entry().kind() == NULL
    }

    /// The bool, if it is one.
    #[inline]
    pub fn as_bool(self) -> Option<bool> {
        let entry = self.entry();
        (entry.kind() == BOOL).then_some(entry.has(TRUE))
    }

    /// The string's text, if it is one: borrowed from the document unless it has escapes.
    #[inline]
    pub fn as_str(self) -> Option<Cow<'a, str>> {
        let entry = self.entry();
        (entry.kind() == STRING).then(|| decode(self.doc.contents(entry), entry))
    }

    /// The string's text if it is one and has no escapes.
    #[inline]
    pub fn raw_str(self) -> Option<&'a str> {
        let entry = self.entry();
        (entry.meta & (KIND | ESCAPED) == STRING).then(|| self.doc.contents(entry))
    }

    /// The bytes between the quotes if it is a string without escapes: UTF-8, as all of the document.
    #[inline]
    pub fn raw_contents(self) -> Option<&'a [u8]> {
        let entry = self.entry();
        (entry.meta & (KIND | ESCAPED) == STRING).then(|| keys::contents(self.doc.bytes(), entry))
    }

    /// Whether it is a string with exactly this text. Never allocates.
    #[inline]
    pub fn eq_str(self, text: &str) -> bool {
        let entry = self.entry();
        entry.kind() == STRING && is_text(self.doc.contents(entry), entry, text)
    }

    /// The number's text, if it is one.
    #[inline]
    pub fn number_text(self) -> Option<&'a str> {
        (self.entry().kind() == NUMBER).then(|| self.raw_text())
    }

    /// Whether it is a number written without a fraction and without an exponent.
    #[inline]
    pub fn is_written_as_integer(self) -> bool {
        self.entry().meta & (KIND | FRACTIONAL) == NUMBER
    }

    /// The number, if it is written as an integer and fits.
    #[inline]
    pub fn as_i64(self) -> Option<i64> {
        if self.is_written_as_integer() { self.raw_text().parse().ok() } else { None }
    }

    /// The number, if it is written as an integer (not as `-0`) and fits.
    #[inline]
    pub fn as_u64(self) -> Option<u64> {
        // `-0` would parse as 0; a signed number is for `as_i64`.
        if self.is_written_as_integer() { self.raw_text().parse().ok() } else { None }
    }

    /// The number as the nearest double, if it is a number within a double's range. Correctly rounded; too small a
    /// number becomes zero, too large a one is none.
    #[inline]
    pub fn as_f64(self) -> Option<f64> {
        self.number_text()?.parse::<f64>().ok().filter(|double| double.is_finite())
    }

    /// Members of an object, elements of an array, and 0 for the rest.
    #[inline]
    pub fn len(self) -> usize {
        self.entry().count()
    }

    /// Whether it has neither members nor elements.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The members of an object in the document's order; nothing for the rest.
    #[inline]
    pub fn members(self) -> Members<'a> {
        let entry = self.entry();
        let count = if entry.kind() == OBJECT { entry.count() as u32 } else { 0 };
        Members { doc: self.doc, next: self.index + 1, left: count }
    }

    /// The elements of an array in order; nothing for the rest.
    #[inline]
    pub fn elements(self) -> Elements<'a> {
        let entry = self.entry();
        let count = if entry.kind() == ARRAY { entry.count() as u32 } else { 0 };
        Elements { doc: self.doc, next: self.index + 1, left: count }
    }

    /// The value of a member, if this is an object that has it. Compares decoded names; linear in the members.
    #[inline]
    pub fn get(self, key: &str) -> Option<Node<'a>> {
        self.members().find(|(name, _)| name.eq_str(key)).map(|(_, value)| value)
    }

    /// As [`Node::get`], for a name prepared once: hashes are compared before texts.
    #[inline]
    pub fn get_name(self, name: &Name) -> Option<Node<'a>> {
        self.members().find(|(key, _)| key.is(name)).map(|(_, value)| value)
    }

    /// The value of the member at which `cursor` stands, if that is this object's and has this name; the cursor goes on
    /// to the next one. Looking up the members in the order of the document, this takes no search. The cursor must be
    /// this document's.
    #[inline]
    pub fn next_if_named(self, name: &Name, cursor: &mut Cursor) -> Option<Node<'a>> {
        if cursor.object != self.index {
            *cursor = Cursor { object: self.index, next: self.index + 1, end: self.entry().link };
        }
        let at = cursor.next;
        let entry = self.doc.entry(at);
        let key = Key { doc: self.doc, entry, index: at };
        if at >= cursor.end || entry.kind() != NAME || !key.is(name) {
            return None;
        }
        let value = Node { doc: self.doc, index: at + 1 };
        cursor.next = value.entry().link;
        Some(value)
    }

    /// The element at `i`, if this is an array that has it. Linear in `i`.
    #[inline]
    pub fn at(self, i: usize) -> Option<Node<'a>> {
        self.elements().nth(i)
    }

    /// The value that an RFC 6901 JSON Pointer names, seen from this one. The empty pointer names this value itself.
    pub fn pointer(self, ptr: &str) -> Option<Node<'a>> {
        crate::pointer::resolve(self, ptr)
    }
}

/// Where look-ups in an object go on ([`Node::next_if_named`]).
#[derive(Clone, Copy, Debug)]
pub struct Cursor {
    /// Tape index of the object, of its next member's name, and of what is behind it.
    object: u32,
    next: u32,
    end: u32,
}

impl Cursor {
    /// Stands in no object yet.
    pub const NOWHERE: Cursor = Cursor { object: u32::MAX, next: 0, end: 0 };

    /// Stands behind a member of `object`, which has that value.
    #[inline]
    pub fn behind(object: Node<'_>, value: Node<'_>) -> Cursor {
        Cursor { object: object.index, next: value.entry().link, end: object.entry().link }
    }
}

/// A member's name.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    doc: Doc<'a>,
    entry: Entry,
    index: u32,
}

impl<'a> Key<'a> {
    /// Its place on the tape: that of its value minus one.
    #[inline]
    pub fn index(self) -> u32 {
        self.index
    }

    /// Hash of the decoded name, as [`Name`] computes it; quick and weak, for tables of known names.
    #[inline(always)]
    pub fn hash(self) -> u32 {
        self.entry.link
    }

    /// Its byte range in the document, with the quotes.
    #[inline]
    pub fn range(self) -> Range<usize> {
        self.entry.range()
    }

    /// Its bytes in the document, with the quotes.
    #[inline]
    pub fn raw(self) -> &'a [u8] {
        self.doc.slice(self.range()).as_bytes()
    }

    /// What stands between its quotes, if it has no escapes.
    #[inline]
    pub fn raw_str(self) -> Option<&'a str> {
        (!self.entry.has(ESCAPED)).then(|| self.doc.contents(self.entry))
    }

    /// The name, decoded.
    #[inline]
    pub fn as_str(self) -> Cow<'a, str> {
        decode(self.doc.contents(self.entry), self.entry)
    }

    /// As [`Key::eq_str`], for a name prepared once: hashes are compared before texts.
    #[inline(always)]
    pub fn is(self, name: &Name) -> bool {
        self.entry.link == name.hash()
            && if self.entry.has(ESCAPED) {
                self.eq_str(name.as_str())
            } else {
                name.is_at(self.doc.bytes(), self.entry)
            }
    }

    /// Whether the decoded name is `text`. Never allocates.
    #[inline(always)]
    pub fn eq_str(self, text: &str) -> bool {
        if self.entry.has(ESCAPED) {
            return is_text(self.doc.contents(self.entry), self.entry, text);
        }
        keys::equal(keys::contents(self.doc.bytes(), self.entry), text.as_bytes())
    }
}

#[inline(always)]
fn decode<'a>(contents: &'a str, entry: Entry) -> Cow<'a, str> {
    if entry.has(ESCAPED) { Cow::Owned(text::unescape_owned(contents)) } else { Cow::Borrowed(contents) }
}

#[inline(always)]
fn is_text(contents: &str, entry: Entry, text: &str) -> bool {
    if entry.has(ESCAPED) { text::decoded(contents).eq(text.chars()) } else { contents == text }
}

/// Members of an object, in the document's order.
#[derive(Clone, Debug)]
pub struct Members<'a> {
    doc: Doc<'a>,
    next: u32,
    left: u32,
}

impl<'a> Iterator for Members<'a> {
    type Item = (Key<'a>, Node<'a>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let key = Key { doc: self.doc, entry: self.doc.entry(self.next), index: self.next };
        let value = Node { doc: self.doc, index: self.next + 1 };
        self.next = value.entry().link;
        Some((key, value))
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left as usize, Some(self.left as usize))
    }
}

impl ExactSizeIterator for Members<'_> {}

/// Elements of an array, in order.
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    doc: Doc<'a>,
    next: u32,
    left: u32,
}

impl<'a> Iterator for Elements<'a> {
    type Item = Node<'a>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let value = Node { doc: self.doc, index: self.next };
        self.next = value.entry().link;
        Some(value)
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left as usize, Some(self.left as usize))
    }
}

impl ExactSizeIterator for Elements<'_> {}
