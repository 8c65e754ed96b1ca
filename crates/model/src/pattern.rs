//! Patterns of places in a document: JSON Pointers (RFC 6901) in which `*` stands for every element of an array and
//! `{}` for every property that has no rule of its own.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One step of a pattern.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Segment {
    /// The property of that name.
    Property(String),
    /// `*`: every element of an array.
    Items,
    /// `{}`: every property of an object that no other rule names.
    AnyProperty,
}

/// A place in a document, or many alike: `/shipTo/name`, `/lines/*/sku`, `/labels/{}`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Pattern(Vec<Segment>);

/// A text that is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a field pattern is empty or starts with '/', has at most {MAX_DEPTH} segments, and escapes '~' as ~0 and '/' as ~1"
)]
pub struct InvalidPattern;

/// The deepest place that a rule may name.
pub const MAX_DEPTH: usize = 32;

impl Pattern {
    /// Reads a pattern.
    pub fn parse(text: &str) -> Result<Self, InvalidPattern> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let rest = text.strip_prefix('/').ok_or(InvalidPattern)?;
        let segments = rest.split('/').map(segment).collect::<Result<Vec<_>, _>>()?;
        if segments.len() > MAX_DEPTH { Err(InvalidPattern) } else { Ok(Self(segments)) }
    }

    /// A pattern of these steps.
    pub fn from_segments(segments: Vec<Segment>) -> Self {
        Self(segments)
    }

    /// The steps from the root.
    pub fn segments(&self) -> &[Segment] {
        &self.0
    }

    /// This pattern with one more step.
    pub fn join(&self, segment: Segment) -> Self {
        let mut segments = self.0.clone();
        segments.push(segment);
        Self(segments)
    }
}

fn segment(text: &str) -> Result<Segment, InvalidPattern> {
    match text {
        "*" => return Ok(Segment::Items),
        "{}" => return Ok(Segment::AnyProperty),
        _ => {}
    }
    let mut name = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '~' => name.push(match chars.next() {
                Some('0') => '~',
                Some('1') => '/',
                // A property that is really called `*` or `{}`.
                Some('2') => '*',
                Some('3') => '{',
                _ => return Err(InvalidPattern),
            }),
            c => name.push(c),
        }
    }
    Ok(Segment::Property(name))
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for segment in &self.0 {
            match segment {
                Segment::Items => f.write_str("/*")?,
                Segment::AnyProperty => f.write_str("/{}")?,
                Segment::Property(name) if name == "*" => f.write_str("/~2")?,
                Segment::Property(name) if name == "{}" => f.write_str("/~3}")?,
                Segment::Property(name) => write!(f, "/{}", name.replace('~', "~0").replace('/', "~1"))?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_reads_back_as_it_was_written() {
        for text in ["", "/a", "/a/*/b", "/labels/{}", "/a~1b/c~0d", "/~2", "/~3}"] {
            assert_eq!(Pattern::parse(text).unwrap().to_string(), text);
        }
        for text in ["a", "/a~", "/a~4"] {
            assert_eq!(Pattern::parse(text), Err(InvalidPattern), "{text}");
        }
    }
}
