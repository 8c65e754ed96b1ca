//! What an owner asserts of a reader (`reader.skus`), made ready once per grant.

use std::collections::{BTreeMap, HashMap, HashSet};

use cel::common::types::{CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString, CelUInt};
use cel::common::value::Val;
use serde_json::Value;

use super::check::Sizes;

/// Attributes of a reader.
#[derive(Debug)]
pub struct Reader {
    value: Box<dyn Val>,
    texts: HashMap<String, String>,
    lists: HashMap<String, HashSet<Box<str>>>,
    sizes: Sizes,
}

impl Reader {
    /// From a grant's attributes.
    pub fn new(attributes: &BTreeMap<String, Value>) -> Self {
        let mut sizes = Sizes { longest: attributes.len(), ..Sizes::default() };
        let mut members: HashMap<CelMapKey<'static>, Box<dyn Val>> = HashMap::new();
        let (mut texts, mut lists) = (HashMap::new(), HashMap::new());
        for (name, value) in attributes {
            members.insert(CelMapKey::from(name.clone()), to_val(value, &mut sizes));
            match value {
                Value::String(text) => drop(texts.insert(name.clone(), text.clone())),
                Value::Array(elements) => {
                    let set: Option<HashSet<Box<str>>> =
                        elements.iter().map(|element| element.as_str().map(Box::from)).collect();
                    lists.extend(set.map(|set| (name.clone(), set)));
                }
                _ => {}
            }
        }
        Self { value: Box::new(CelMap::from(members)), texts, lists, sizes }
    }

    /// A reader of whom nothing is asserted.
    pub fn nobody() -> Self {
        Self::new(&BTreeMap::new())
    }

    pub(crate) fn value(&self) -> &(dyn Val + 'static) {
        self.value.as_ref()
    }

    /// How large everything is that is asserted.
    pub(crate) fn sizes(&self) -> Sizes {
        self.sizes
    }

    /// The attribute of that name, if it is a text.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.texts.get(name).map(String::as_str)
    }

    /// The attribute of that name, if it is a list of texts only.
    pub(crate) fn list(&self, name: &str) -> Option<&HashSet<Box<str>>> {
        self.lists.get(name)
    }
}

fn to_val(value: &Value, sizes: &mut Sizes) -> Box<dyn Val> {
    sizes.values += 1;
    match value {
        Value::Null => Box::new(CelNull),
        Value::Bool(flag) => Box::new(CelBool::from(*flag)),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Box::new(CelInt::from(number)),
            (None, Some(number)) => Box::new(CelUInt::from(number)),
            _ => Box::new(CelDouble::from(number.as_f64().unwrap_or(f64::NAN))),
        },
        Value::String(text) => {
            measure(text, sizes);
            Box::new(CelString::from(text.clone()))
        }
        Value::Array(elements) => {
            sizes.longest = sizes.longest.max(elements.len());
            let elements: Vec<Box<dyn Val>> = elements.iter().map(|element| to_val(element, sizes)).collect();
            Box::new(CelList::from(elements))
        }
        Value::Object(members) => {
            sizes.longest = sizes.longest.max(members.len());
            let member = |(name, value): (&String, &Value)| {
                measure(name, sizes);
                (CelMapKey::from(name.clone()), to_val(value, sizes))
            };
            let members: HashMap<CelMapKey<'static>, Box<dyn Val>> = members.iter().map(member).collect();
            Box::new(CelMap::from(members))
        }
    }
}

fn measure(text: &str, sizes: &mut Sizes) {
    sizes.text = sizes.text.max(text.len());
    sizes.bytes += text.len();
}
