//! Events as CEL values, made from the tape without a DOM between: only the members that the expression looks at, and
//! texts borrowed where they need no unescaping.

use std::collections::HashMap;

use cel::common::types::{
    CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString, CelTimestamp, CelUInt,
};
use cel::common::value::Val;
use tradelane_model::Timestamp;
use tradelane_tape::{Kind, Node};

use super::check::Sizes;
use super::paths::Tree;

/// Builds one value and keeps count.
pub(crate) struct Builder {
    left: usize,
    sizes: Sizes,
}

/// All of what is below.
const WHOLE: &Tree = &Tree { whole: true, members: std::collections::BTreeMap::new(), each: None };

impl Builder {
    /// With room for so many values.
    pub(crate) fn new(most: usize) -> Self {
        Self { left: most, sizes: Sizes::default() }
    }

    /// How large everything is that was built.
    pub(crate) fn sizes(&self) -> Sizes {
        self.sizes
    }

    fn text(&mut self, bytes: usize) {
        self.sizes.text = self.sizes.text.max(bytes);
        self.sizes.bytes += bytes;
    }

    /// The parts of `node` that `tree` wants; `None` if they are too many.
    pub(crate) fn build<'a>(&mut self, node: Node<'a>, tree: &Tree) -> Option<Box<dyn Val + 'a>> {
        self.left = self.left.checked_sub(1)?;
        self.sizes.values += 1;
        match node.kind() {
            Kind::Null => Some(Box::new(CelNull)),
            Kind::Bool => Some(Box::new(CelBool::from(node.as_bool()?))),
            Kind::Number => Some(number(node)),
            Kind::String => {
                let text = node.as_str()?;
                self.text(text.len());
                Some(Box::new(CelString::from(text)))
            }
            Kind::Array => self.list(node, tree),
            Kind::Object => self.map(node, tree),
        }
    }

    fn list<'a>(&mut self, node: Node<'a>, tree: &Tree) -> Option<Box<dyn Val + 'a>> {
        self.sizes.longest = self.sizes.longest.max(node.len());
        let below = match &tree.each {
            Some(each) if !tree.whole => each,
            _ => WHOLE,
        };
        let elements: Option<Vec<Box<dyn Val + 'a>>> =
            node.elements().map(|element| self.build(element, below)).collect();
        Some(Box::new(CelList::from(elements?)))
    }

    fn map<'a>(&mut self, node: Node<'a>, tree: &Tree) -> Option<Box<dyn Val + 'a>> {
        // Elements of an object are wanted by a loop over its keys: then all of it is.
        let all = tree.whole || tree.each.is_some();
        self.sizes.longest = self.sizes.longest.max(if all { node.len() } else { tree.members.len() });
        let mut members: HashMap<CelMapKey<'a>, Box<dyn Val + 'a>> = HashMap::new();
        if all {
            for (key, value) in node.members() {
                let value = self.build(value, WHOLE)?;
                // A loop over a map goes over its names.
                self.text(key.as_str().len());
                members.insert(key_of(key), value);
            }
        } else {
            for (name, below) in &tree.members {
                if let Some((key, value)) = node.members().find(|(key, _)| key.eq_str(name)) {
                    let value = self.build(value, below)?;
                    members.insert(key_of(key), value);
                }
            }
        }
        Some(Box::new(CelMap::from(members)))
    }
}

fn key_of(key: tradelane_tape::Key<'_>) -> CelMapKey<'_> {
    match key.raw_str() {
        Some(name) => CelMapKey::from(name),
        None => CelMapKey::from(key.as_str().into_owned()),
    }
}

/// Numbers written as integers are `int`, beyond its range `uint`; all others are `double`.
fn number<'a>(node: Node<'a>) -> Box<dyn Val + 'a> {
    if node.is_written_as_integer() {
        if let Some(number) = node.as_i64() {
            return Box::new(CelInt::from(number));
        }
        if let Some(number) = node.as_u64() {
            return Box::new(CelUInt::from(number));
        }
    }
    // Beyond what a double holds it is infinite: greater than every number, equal to none that can be written.
    let beyond =
        if node.number_text().is_some_and(|text| text.starts_with('-')) { f64::NEG_INFINITY } else { f64::INFINITY };
    Box::new(CelDouble::from(node.as_f64().unwrap_or(beyond)))
}

/// A point in time; `None` if CEL's calendar does not reach so far.
pub(crate) fn timestamp(time: Timestamp) -> Option<Box<dyn Val>> {
    let utc = chrono::DateTime::from_timestamp_micros(time.0)?;
    Some(Box::new(CelTimestamp::from(utc.fixed_offset())))
}
