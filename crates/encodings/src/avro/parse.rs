//! From a schema's text to its types. Every rule of the specification that two readers could otherwise take differently is
//! held: names, uniqueness, unions, references, defaults.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::schema::{Field, Logical, MAX_LITERAL, MAX_SLOTS, MAX_TYPES, Named, Position, Schema, SchemaError, Type};
use crate::tree::Slot;

/// Types within types.
const MAX_DEPTH: usize = 64;
/// The longest name with its namespace.
const MAX_NAME: usize = 512;

pub(super) fn parse(text: &str, known: &[&str]) -> Result<Schema, SchemaError> {
    let mut parser = Parser {
        schema: Schema { types: Vec::new(), slots: Vec::new() },
        names: HashMap::new(),
        path: Vec::new(),
        depth: 0,
    };
    for text in known {
        let value = parser.json(text)?;
        parser.schema(&value, "")?;
    }
    let value = parser.json(text)?;
    let root = parser.schema(&value, "")?;
    parser.number(root)
}

struct Parser {
    schema: Schema,
    names: HashMap<String, u32>,
    path: Vec<String>,
    depth: usize,
}

impl Parser {
    fn wrong<T>(&self, reason: impl Into<String>) -> Result<T, SchemaError> {
        let at = if self.path.is_empty() { "the schema".to_owned() } else { self.path.join(".") };
        Err(SchemaError { at, reason: reason.into() })
    }

    fn json(&self, text: &str) -> Result<Value, SchemaError> {
        match serde_json::from_str(text) {
            Ok(value) => Ok(value),
            // The name of a type alone is a schema too, and some write it without quotes.
            Err(_) if is_name(text.trim()) => Ok(Value::String(text.trim().to_owned())),
            Err(error) => self.wrong(format!("is not JSON: {error}")),
        }
    }

    fn add(&mut self, kind: Type, logical: Logical, name: Option<String>) -> Result<u32, SchemaError> {
        if self.schema.types.len() >= MAX_TYPES {
            return self.wrong(format!("more than {MAX_TYPES} types"));
        }
        let index = self.schema.types.len() as u32;
        self.schema.types.push(Named { kind, logical, name: name.map(String::into_boxed_str), aliases: Vec::new() });
        Ok(index)
    }

    /// A type, wherever one may stand.
    fn schema(&mut self, value: &Value, space: &str) -> Result<u32, SchemaError> {
        if self.depth >= MAX_DEPTH {
            return self.wrong(format!("is nested deeper than {MAX_DEPTH} types"));
        }
        self.depth += 1;
        let index = match value {
            Value::String(name) => self.named(name, space),
            Value::Array(branches) => self.union(branches, space),
            Value::Object(object) => self.object(object, space),
            _ => self.wrong("a schema is a name, an object or a list of branches"),
        }?;
        self.depth -= 1;
        Ok(index)
    }

    /// A primitive, or a type that was defined before.
    fn named(&mut self, name: &str, space: &str) -> Result<u32, SchemaError> {
        if let Some(kind) = primitive(name) {
            return self.add(kind, Logical::None, None);
        }
        let full = if name.contains('.') || space.is_empty() { name.to_owned() } else { format!("{space}.{name}") };
        match self.names.get(&full) {
            Some(index) => Ok(*index),
            None => self.wrong(format!("names the type {full}, which is not defined before it")),
        }
    }

    fn union(&mut self, list: &[Value], space: &str) -> Result<u32, SchemaError> {
        let mut branches = Vec::with_capacity(list.len());
        let mut seen = HashSet::new();
        for branch in list {
            let index = self.schema(branch, space)?;
            let Some(named) = self.schema.named(index) else { continue };
            if matches!(named.kind, Type::Union(_)) {
                return self.wrong("a branch of a union cannot be a union");
            }
            let tag = named.name.clone().unwrap_or_else(|| word(&named.kind).into());
            if !seen.insert(tag.clone()) {
                return self.wrong(format!("the union has two branches that are {tag}"));
            }
            branches.push(index);
        }
        if branches.is_empty() {
            return self.wrong("a union has a branch at least");
        }
        self.add(Type::Union(branches), Logical::None, None)
    }

    fn object(&mut self, object: &Map<String, Value>, space: &str) -> Result<u32, SchemaError> {
        let kind = match object.get("type") {
            Some(Value::String(kind)) => kind.as_str(),
            Some(nested) => return self.schema(nested, space),
            None => return self.wrong("has no `type`"),
        };
        match kind {
            "record" | "error" => self.record(object, space),
            "enum" => self.enumeration(object, space),
            "fixed" => self.fixed(object, space),
            "array" | "map" => {
                let inside = if kind == "array" { "items" } else { "values" };
                let Some(value) = object.get(inside) else { return self.wrong(format!("has no `{inside}`")) };
                let inner = self.schema(value, space)?;
                // The slot is set once all positions are known.
                let container = if kind == "array" { Type::Array(0) } else { Type::Map(0) };
                let index = self.add(container, Logical::None, None)?;
                self.remember(index, inner);
                Ok(index)
            }
            _ => match primitive(kind) {
                Some(primitive) => {
                    let logical = self.logical(object, &primitive)?;
                    self.add(primitive, logical, None)
                }
                None => self.named(kind, space),
            },
        }
    }

    /// Keeps the type inside a container until positions are numbered: as a position without a number.
    fn remember(&mut self, container: u32, inner: u32) {
        let position =
            Position { whole: container, inner, branch: None, absent: Box::default(), redacted: Box::default() };
        self.schema.slots.push(position);
    }

    /// Defines a named type before what is in it, so that it may name itself.
    fn define(&mut self, object: &Map<String, Value>, space: &str, kind: Type) -> Result<(u32, String), SchemaError> {
        let Some(name) = object.get("name").and_then(Value::as_str) else { return self.wrong("has no `name`") };
        let (space, name) = match name.rsplit_once('.') {
            Some((space, name)) => (space, name),
            None => (object.get("namespace").and_then(Value::as_str).unwrap_or(space), name),
        };
        let full = if space.is_empty() { name.to_owned() } else { format!("{space}.{name}") };
        if full.len() > MAX_NAME || !full.split('.').all(is_name) {
            return self
                .wrong(format!("{:?} is no name: letters, digits and _, not beginning with a digit", short(&full)));
        }
        if primitive(&full).is_some() {
            return self.wrong(format!("{full} is the name of a primitive type"));
        }
        let index = self.add(kind, Logical::None, Some(full.clone()))?;
        if self.names.insert(full.clone(), index).is_some() {
            return self.wrong(format!("{full} is defined twice"));
        }
        self.path.push(full);
        let aliases = self.aliases(object)?;
        let space = space.to_owned();
        let full = |alias: &str| match alias.contains('.') || space.is_empty() {
            true => alias.into(),
            false => format!("{space}.{alias}").into(),
        };
        let aliases = aliases.into_iter().map(full).collect();
        if let Some(named) = self.schema.types.get_mut(index as usize) {
            named.aliases = aliases;
        }
        Ok((index, space))
    }

    /// Other names, of a type or of a field.
    fn aliases<'v>(&self, object: &'v Map<String, Value>) -> Result<Vec<&'v str>, SchemaError> {
        let list = object.get("aliases").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let names = list.iter().map(|name| name.as_str().filter(|name| name.len() <= MAX_NAME));
        match names.map(|name| name.filter(|name| name.split('.').all(is_name))).collect() {
            Some(names) => Ok(names),
            None => self.wrong("its `aliases` are names"),
        }
    }

    fn record(&mut self, object: &Map<String, Value>, space: &str) -> Result<u32, SchemaError> {
        let (index, space) = self.define(object, space, Type::Record(Vec::new()))?;
        let Some(list) = object.get("fields").and_then(Value::as_array) else { return self.wrong("has no `fields`") };
        let mut fields: Vec<Field> = Vec::with_capacity(list.len());
        let mut names = HashSet::new();
        for field in list {
            let Some(name) = field.get("name").and_then(Value::as_str) else {
                return self.wrong("a field has no name");
            };
            if !is_name(name) || name.len() > MAX_NAME {
                return self.wrong(format!("{:?} is no name of a field", short(name)));
            }
            self.path.push(name.to_owned());
            if !names.insert(name) {
                return self.wrong("is named twice");
            }
            let Some(kind) = field.get("type") else { return self.wrong("has no `type`") };
            // A field may carry the attributes of a primitive's logical type beside it; the specification has them inside.
            let inner = self.schema(kind, &space)?;
            self.remember(index, inner);
            let aliases = field.as_object().map(|field| self.aliases(field)).transpose()?.unwrap_or_default();
            let aliases = aliases.into_iter().map(Into::into).collect();
            let default = field.get("default").cloned();
            fields.push(Field { name: name.into(), slot: 0, default, default_bytes: None, aliases });
            self.path.pop();
        }
        if let Some(named) = self.schema.types.get_mut(index as usize) {
            named.kind = Type::Record(fields);
        }
        self.path.pop();
        Ok(index)
    }

    fn enumeration(&mut self, object: &Map<String, Value>, space: &str) -> Result<u32, SchemaError> {
        let (index, _) = self.define(object, space, Type::Null)?;
        let list = object.get("symbols").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let mut symbols: Vec<Box<str>> = Vec::with_capacity(list.len());
        let mut seen = HashSet::new();
        for symbol in list {
            match symbol.as_str() {
                Some(symbol) if is_name(symbol) && seen.insert(symbol) => symbols.push(symbol.into()),
                _ => return self.wrong("its symbols are names, each once"),
            }
        }
        if symbols.is_empty() {
            return self.wrong("has no `symbols`");
        }
        let default = match object.get("default") {
            None => None,
            Some(default) => {
                let known = symbols.iter().position(|symbol| Some(&**symbol) == default.as_str());
                match known {
                    Some(known) => Some(known as u32),
                    None => return self.wrong("its `default` is none of its symbols"),
                }
            }
        };
        if let Some(named) = self.schema.types.get_mut(index as usize) {
            named.kind = Type::Enum { symbols, default };
        }
        self.path.pop();
        Ok(index)
    }

    fn fixed(&mut self, object: &Map<String, Value>, space: &str) -> Result<u32, SchemaError> {
        let size = object.get("size").and_then(Value::as_u64).and_then(|size| usize::try_from(size).ok());
        let (index, _) = self.define(object, space, Type::Null)?;
        let Some(size) = size.filter(|size| *size <= MAX_LITERAL) else {
            return self.wrong(format!("its `size` is a number up to {MAX_LITERAL}"));
        };
        let kind = Type::Fixed(size);
        let logical = self.logical(object, &kind)?;
        if let Some(named) = self.schema.types.get_mut(index as usize) {
            (named.kind, named.logical) = (kind, logical);
        }
        self.path.pop();
        Ok(index)
    }

    /// A logical type that does not fit its type means nothing, as the specification has it; one with numbers that cannot
    /// be meant is refused.
    fn logical(&self, object: &Map<String, Value>, kind: &Type) -> Result<Logical, SchemaError> {
        let Some(name) = object.get("logicalType").and_then(Value::as_str) else { return Ok(Logical::None) };
        const MILLIS: i64 = 1_000;
        const MICROS: i64 = 1_000_000;
        const NANOS: i64 = 1_000_000_000;
        Ok(match (name, kind) {
            ("decimal", Type::Bytes | Type::Fixed(_)) => {
                let number = |name: &str| object.get(name).and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok());
                let precision = number("precision").filter(|precision| (1..=1_000).contains(precision));
                let scale = if object.contains_key("scale") { number("scale") } else { Some(0) };
                match (precision, scale) {
                    (Some(precision), Some(scale)) if scale <= precision => Logical::Decimal { precision, scale },
                    _ => {
                        return self.wrong("a decimal has a `precision` of 1 to 1000 and a `scale` of at most as much");
                    }
                }
            }
            ("big-decimal", Type::Bytes) => Logical::BigDecimal,
            ("uuid", Type::String | Type::Fixed(16)) => Logical::Uuid,
            ("date", Type::Int) => Logical::Date,
            ("time-millis", Type::Int) => Logical::Time(MILLIS),
            ("time-micros", Type::Long) => Logical::Time(MICROS),
            ("timestamp-millis", Type::Long) => Logical::Timestamp(MILLIS),
            ("timestamp-micros", Type::Long) => Logical::Timestamp(MICROS),
            ("timestamp-nanos", Type::Long) => Logical::Timestamp(NANOS),
            ("local-timestamp-millis", Type::Long) => Logical::LocalTimestamp(MILLIS),
            ("local-timestamp-micros", Type::Long) => Logical::LocalTimestamp(MICROS),
            ("local-timestamp-nanos", Type::Long) => Logical::LocalTimestamp(NANOS),
            ("duration", Type::Fixed(12)) => Logical::Duration,
            _ => Logical::None,
        })
    }

    /// Gives every position that the event can reach its number: the event's own first, then what is in each type, in the
    /// order in which types were defined.
    fn number(self, root: u32) -> Result<Schema, SchemaError> {
        let Self { schema, .. } = &self;
        let mut numbered = Schema { types: schema.types.clone(), slots: Vec::new() };
        self.place(&mut numbered, root)?;
        // What was remembered stands in the order in which types ended; per container it is in the order of its fields.
        let mut inside: HashMap<u32, Vec<u32>> = HashMap::new();
        for remembered in &schema.slots {
            inside.entry(remembered.whole).or_default().push(remembered.inner);
        }
        for index in 0..schema.types.len() as u32 {
            let Some(inner) = inside.get(&index) else { continue };
            let slots = inner.iter().map(|inner| self.place(&mut numbered, *inner));
            let slots = slots.collect::<Result<Vec<Slot>, _>>()?;
            let Some(named) = numbered.types.get_mut(index as usize) else { continue };
            match &mut named.kind {
                Type::Array(slot) | Type::Map(slot) => *slot = slots.first().copied().unwrap_or_default(),
                Type::Record(fields) => fields.iter_mut().zip(slots).for_each(|(field, slot)| field.slot = slot),
                _ => {}
            }
        }
        Ok(numbered)
    }

    fn place(&self, numbered: &mut Schema, whole: u32) -> Result<Slot, SchemaError> {
        let first = numbered.slots.len();
        let position =
            |inner, branch| Position { whole, inner, branch, absent: Box::default(), redacted: Box::default() };
        match self.schema.named(whole).map(|named| &named.kind) {
            Some(Type::Union(branches)) => {
                let all = branches.iter().zip(0..).map(|(inner, number)| position(*inner, Some(number)));
                numbered.slots.extend(all);
            }
            _ => numbered.slots.push(position(whole, None)),
        }
        if numbered.slots.len() > MAX_SLOTS {
            return self.wrong(format!("has more than {MAX_SLOTS} fields and branches"));
        }
        Ok(first as Slot)
    }
}

fn primitive(name: &str) -> Option<Type> {
    Some(match name {
        "null" => Type::Null,
        "boolean" => Type::Boolean,
        "int" => Type::Int,
        "long" => Type::Long,
        "float" => Type::Float,
        "double" => Type::Double,
        "bytes" => Type::Bytes,
        "string" => Type::String,
        _ => return None,
    })
}

/// The word by which a schema calls a type.
pub(super) fn word(kind: &Type) -> &'static str {
    match kind {
        Type::Null => "null",
        Type::Boolean => "boolean",
        Type::Int => "int",
        Type::Long => "long",
        Type::Float => "float",
        Type::Double => "double",
        Type::Bytes => "bytes",
        Type::String => "string",
        Type::Fixed(_) => "fixed",
        Type::Enum { .. } => "enum",
        Type::Array(_) => "array",
        Type::Map(_) => "map",
        Type::Record(_) => "record",
        Type::Union(_) => "union",
    }
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn short(text: &str) -> String {
    text.chars().take(60).collect()
}
