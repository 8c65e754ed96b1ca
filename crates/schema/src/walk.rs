//! One pass of the validator over a document, bounded in work and in what it remembers.
//!
//! The validator follows a schema wherever it leads, makes an error object for each failed keyword (alternatives
//! included), and asks the failing node for its value to put into it. A hostile document can fail a million times, a
//! clumsy schema can visit one place exponentially often, and values must not end up in messages. So:
//!
//! - A node answers with the *number* of the error instead of a value.
//! - Reading containers counts as steps. When the steps or the errors are used up, the walk is exhausted: containers
//!   appear empty, and the validator soon comes to its end. A verdict that was not reached by then is "invalid".
//! - An error that was made after exhaustion is dropped, because an emptied container may be all that is wrong.

use serde_json::{Map, Value};
use std::cell::{Cell, OnceCell};
use tradelane_tape::{Cursor, Kind, Name, Node};

pub(crate) struct Walk<'a> {
    root: Node<'a>,
    /// Steps left; none when exhausted.
    steps: Cell<u64>,
    errors: Cell<u32>,
    /// Errors made before exhaustion.
    sound: Cell<u32>,
    /// Behind the member of the last look-up that found something: the next is likely for the next member.
    cursor: Cell<Cursor>,
    outline: OnceCell<Value>,
}

impl<'a> Walk<'a> {
    /// Error objects, those inside of alternatives included. Each takes some 400 bytes.
    pub(crate) const MOST_ERRORS: u32 = 10_000;
    /// Steps for any document, and more for each of its tape entries: some tenths of a second of work at the very
    /// worst, where an ordinary event takes thousands.
    const STEPS: u64 = 4_000_000;
    const STEPS_PER_NODE: u64 = 100;

    #[inline]
    pub(crate) fn new(root: Node<'a>) -> Self {
        let nodes = u64::from(root.next_index().saturating_sub(root.index()));
        Walk {
            root,
            steps: Cell::new(Self::STEPS + nodes * Self::STEPS_PER_NODE),
            errors: Cell::new(0),
            sound: Cell::new(u32::MAX),
            cursor: Cell::new(Cursor::NOWHERE),
            outline: OnceCell::new(),
        }
    }

    /// Takes steps; false when there are none left, and for ever after.
    #[inline(always)]
    pub(crate) fn step(&self, steps: usize) -> bool {
        let left = self.steps.get();
        if left > steps as u64 {
            self.steps.set(left - steps as u64);
            true
        } else {
            self.exhaust()
        }
    }

    /// The value of a member.
    #[inline]
    pub(crate) fn get(&self, object: Node<'a>, name: &Name) -> Option<Node<'a>> {
        if !self.step(1) {
            return None;
        }
        let mut cursor = self.cursor.get();
        let next = object.next_if_named(name, &mut cursor);
        self.cursor.set(cursor);
        if next.is_some() { next } else { self.search(object, name) }
    }

    /// The same, passing the members one by one.
    #[inline(never)]
    fn search(&self, object: Node<'a>, name: &Name) -> Option<Node<'a>> {
        if !self.step(object.len() / 8) {
            return None;
        }
        let found = object.get_name(name)?;
        self.cursor.set(Cursor::behind(object, found));
        Some(found)
    }

    #[cold]
    fn exhaust(&self) -> bool {
        if !self.exhausted() || self.sound.get() == u32::MAX {
            self.sound.set(self.errors.get());
        }
        self.steps.set(0);
        false
    }

    #[inline(always)]
    pub(crate) fn exhausted(&self) -> bool {
        self.steps.get() == 0
    }

    /// What an error about `node` carries as its value.
    pub(crate) fn stand_in(&self, node: Node<'a>) -> Value {
        let number = self.errors.get().saturating_add(1);
        self.errors.set(number);
        if number == Self::MOST_ERRORS {
            self.exhaust();
        }
        if node.index() == self.root.index() && matches!(node.kind(), Kind::Array | Kind::Object) {
            // When a regular expression gives up, the validator looks the place up in the root's value.
            return self.outline.get_or_init(|| outline(self.root)).clone();
        }
        Value::from(number)
    }

    /// Whether the check behind an error that carries `stand_in` saw the document whole.
    pub(crate) fn is_sound(&self, stand_in: &Value) -> bool {
        match stand_in.as_u64() {
            Some(number) => number <= u64::from(self.sound.get()),
            None => !self.exhausted(),
        }
    }
}

/// The document's arrays, objects and names, without any scalar. Recursive: the tape bounds the depth.
fn outline(node: Node<'_>) -> Value {
    match node.kind() {
        Kind::Array => Value::Array(node.elements().map(outline).collect()),
        Kind::Object => {
            let mut members = Map::new();
            members.extend(node.members().map(|(key, value)| (key.as_str().into_owned(), outline(value))));
            Value::Object(members)
        }
        _ => Value::Null,
    }
}
