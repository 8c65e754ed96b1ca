//! Names that are known beforehand, each with what is known of it, found by the hash that a member's name already has.

use crate::keys::Name;
use crate::node::Key;

/// A table of names, made once and asked for each member of many documents.
///
/// The names are its maker's. Who chooses the members of a document cannot make a look-up slow: a search passes only
/// over known names, and of those only over ones that lie side by side in a table that is at most half full.
#[derive(Clone, Debug)]
pub struct Names<T> {
    known: Vec<(Name, T)>,
    /// Places in `known` plus one by the hash of the name; 0: empty. A power of two of them, of which at least one is
    /// empty, so that each search ends.
    slots: Box<[u32]>,
}

impl<T> Names<T> {
    /// A table of these names. Of two that are the same, the first counts.
    pub fn new<'n>(names: impl IntoIterator<Item = (&'n str, T)>) -> Self {
        let known: Vec<_> = names.into_iter().map(|(name, value)| (Name::new(name), value)).collect();
        let mut slots = vec![0_u32; (known.len() * 2).next_power_of_two()].into_boxed_slice();
        let mask = slots.len() - 1;
        for ((name, _), slot) in known.iter().zip(1..) {
            let mut at = name.hash() as usize & mask;
            while slots.get(at).is_some_and(|taken| *taken != 0) {
                at = (at + 1) & mask;
            }
            if let Some(free) = slots.get_mut(at) {
                *free = slot;
            }
        }
        Names { known, slots }
    }

    /// What is known of a member's name.
    #[inline(always)]
    pub fn find(&self, key: Key<'_>) -> Option<&T> {
        let hash = key.hash();
        let mask = self.slots.len().wrapping_sub(1);
        let mut at = hash as usize & mask;
        let (name, value) = loop {
            let slot = *self.slots.get(at)? as usize;
            let (name, value) = self.known.get(slot.wrapping_sub(1))?;
            if name.hash() == hash {
                break (name, value);
            }
            at = (at + 1) & mask;
        };
        // Texts are compared outside of the loop, which stays small for it; two names of one hash are rare.
        if key.is(name) { Some(value) } else { self.named(&key.as_str()) }
    }

    /// What is known of a name.
    #[inline(never)]
    pub fn named(&self, name: &str) -> Option<&T> {
        self.known.iter().find(|(known, _)| known.as_str() == name).map(|(_, value)| value)
    }

    /// The names in the order in which they were given.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        self.known.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// What is known of them, to be changed.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.known.iter_mut().map(|(_, value)| value)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }
}

impl<T> Default for Names<T> {
    fn default() -> Self {
        Names::new([])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Limits, Tape};

    #[test]
    fn each_known_name_is_found_and_no_other_however_it_is_written() {
        for count in [0, 1, 2, 3, 7, 8, 9, 100] {
            let known: Vec<String> = (0..count).map(|i| format!("name-{i}-é")).collect();
            let names = Names::new(known.iter().map(String::as_str).zip(0..));
            let mut tape = Tape::new();
            for (i, name) in known.iter().enumerate() {
                let json = format!(r#"{{"{name}": 1, "{}": 1, "{name}x": 1, "": 1}}"#, name.replace('n', "\\u006e"));
                // The second is the first once more, so it stands in a document of its own.
                let (plain, escaped) = json.split_once(", ").unwrap();
                for json in [format!("{plain}}}"), format!("{{{escaped}")] {
                    let doc = tape.parse(json.as_bytes(), &Limits::EVENT).unwrap();
                    let found: Vec<_> = doc.root().members().map(|(key, _)| names.find(key).copied()).collect();
                    assert_eq!(found[0], Some(i), "{json}");
                    assert!(found[1..].iter().all(Option::is_none), "{json}");
                }
                assert_eq!(names.named(name), Some(&i));
            }
            assert_eq!(names.named("another"), None);
            assert_eq!(names.iter().map(|(name, _)| name).collect::<Vec<_>>(), known);
        }
    }

    #[test]
    fn of_two_same_names_the_first_counts() {
        let names = Names::new([("a", 1), ("b", 2), ("a", 3)]);
        let mut tape = Tape::new();
        let doc = tape.parse(br#"{"a": 0}"#, &Limits::EVENT).unwrap();
        let (key, _) = doc.root().members().next().unwrap();
        assert_eq!((names.find(key), names.named("a")), (Some(&1), Some(&1)));
    }
}
