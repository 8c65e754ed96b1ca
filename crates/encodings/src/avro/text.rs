//! A schema written out again: in one form for what means the same, and as readers of a view are given it.

use serde_json::{Map, Value, json};

use super::parse::word;
use super::schema::{Logical, Named, Schema, Type};
use crate::tree::Slot;

impl Schema {
    /// The schema in a form that is equal for schemas whose events have the same bytes and mean the same. It knows names,
    /// types, logical types and symbols; defaults and remarks are for readers and left out.
    pub fn canonical(&self) -> String {
        self.written(&mut |_| None, false)
    }

    /// The schema as it is given to readers: no remarks, aliases or other attributes of its author, and `remark`'s words
    /// beside each field for which it has some.
    pub fn for_readers(&self, mut remark: impl FnMut(Slot) -> Option<&'static str>) -> String {
        self.written(&mut remark, true)
    }

    fn written(&self, remark: &mut dyn FnMut(Slot) -> Option<&'static str>, defaults: bool) -> String {
        let mut writer = Writer { schema: self, seen: vec![false; self.types.len()], remark, defaults };
        let root = self.position(0).map_or(0, |root| root.whole);
        writer.named(root, "").to_string()
    }
}

struct Writer<'w> {
    schema: &'w Schema,
    seen: Vec<bool>,
    remark: &'w mut dyn FnMut(Slot) -> Option<&'static str>,
    defaults: bool,
}

impl Writer<'_> {
    fn at(&mut self, slot: Slot, space: &str) -> Value {
        let whole = self.schema.position(slot).map_or(0, |position| position.whole);
        self.named(whole, space)
    }

    fn named(&mut self, index: u32, space: &str) -> Value {
        let schema = self.schema;
        let Some(named) = schema.named(index) else { return Value::Null };
        if let Some(name) = &named.name
            && self.seen.get_mut(index as usize).is_some_and(|seen| std::mem::replace(seen, true))
        {
            return json!(name);
        }
        match &named.kind {
            Type::Union(branches) => branches.iter().map(|branch| self.named(*branch, space)).collect(),
            Type::Array(slot) => json!({ "type": "array", "items": self.at(*slot, space) }),
            Type::Map(slot) => json!({ "type": "map", "values": self.at(*slot, space) }),
            _ => self.defined(named, space),
        }
    }

    fn defined(&mut self, named: &Named, space: &str) -> Value {
        let kind = word(&named.kind);
        let mut object = Map::new();
        object.insert("type".into(), json!(kind));
        let mut own_space = space;
        if let Some(name) = &named.name {
            object.insert("name".into(), json!(name));
            own_space = name.rsplit_once('.').map_or("", |(space, _)| space);
            if own_space.is_empty() && !space.is_empty() {
                object.insert("namespace".into(), json!(""));
            }
        }
        match &named.kind {
            Type::Record(fields) => {
                let mut list = Vec::with_capacity(fields.len());
                for field in fields {
                    let mut member = Map::new();
                    member.insert("name".into(), json!(field.name));
                    member.insert("type".into(), self.at(field.slot, own_space));
                    if let Some(default) = field.default.as_ref().filter(|_| self.defaults) {
                        member.insert("default".into(), default.clone());
                    }
                    if let Some(words) = (self.remark)(field.slot) {
                        member.insert("doc".into(), json!(words));
                    }
                    list.push(Value::Object(member));
                }
                object.insert("fields".into(), Value::Array(list));
            }
            Type::Enum { symbols, default } => {
                object.insert("symbols".into(), json!(symbols));
                let default = default.and_then(|number| symbols.get(number as usize)).filter(|_| self.defaults);
                if let Some(default) = default {
                    object.insert("default".into(), json!(default));
                }
            }
            Type::Fixed(size) => drop(object.insert("size".into(), json!(size))),
            _ => {}
        }
        logical(&named.kind, named.logical, &mut object);
        // A primitive without more to it is its name alone.
        if object.len() == 1 { json!(kind) } else { Value::Object(object) }
    }
}

fn logical(kind: &Type, logical: Logical, object: &mut Map<String, Value>) {
    let unit = |unit: i64| match unit {
        1_000 => "millis",
        1_000_000 => "micros",
        _ => "nanos",
    };
    let name = match logical {
        Logical::None => return,
        Logical::Decimal { precision, scale } => {
            object.insert("precision".into(), json!(precision));
            object.insert("scale".into(), json!(scale));
            "decimal".to_owned()
        }
        Logical::BigDecimal => "big-decimal".to_owned(),
        Logical::Uuid => "uuid".to_owned(),
        Logical::Date => "date".to_owned(),
        Logical::Time(per_second) => {
            format!("time-{}", if *kind == Type::Int { "millis" } else { unit(per_second) })
        }
        Logical::Timestamp(per_second) => format!("timestamp-{}", unit(per_second)),
        Logical::LocalTimestamp(per_second) => format!("local-timestamp-{}", unit(per_second)),
        Logical::Duration => "duration".to_owned(),
    };
    object.insert("logicalType".into(), json!(name));
}
