//! An Avro schema with the named types that it refers to: read, checked, every name resolved.
//!
//! Source: Apache Avro 1.12.0 Specification, "Schema Declaration". Data is not read here.

mod canonical;
mod resolve;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::SchemaProblem;
use crate::text::{self, MAX_DEPTH, Reference};

pub(crate) use canonical::canonical;
pub(crate) use resolve::compare;

/// The most types in a schema with all that it refers to.
const MAX_TYPES: usize = 65_536;
/// How much of a default value may be looked at: records may hold records by default.
const MAX_DEFAULT: usize = 10_000;

/// A schema, and every type that it is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct AvroSchema {
    types: Vec<Type>,
    root: TypeId,
    /// Where the schema's own types begin; before them are those of its references.
    own: usize,
}

/// A type's place among those of its schema.
pub(crate) type TypeId = usize;

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Type {
    Primitive(Primitive, Option<Decimal>),
    Array(TypeId),
    Map(TypeId),
    Union(Vec<TypeId>),
    Enum { name: Name, aliases: Vec<Name>, symbols: Vec<String>, default: Option<String> },
    Fixed { name: Name, aliases: Vec<Name>, size: u32, decimal: Option<Decimal> },
    Record { name: Name, aliases: Vec<Name>, fields: Vec<Field> },
}

/// Types without a name or parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Primitive {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
}

impl Primitive {
    const ALL: [(&'static str, Self); 8] = [
        ("null", Self::Null),
        ("boolean", Self::Boolean),
        ("int", Self::Int),
        ("long", Self::Long),
        ("float", Self::Float),
        ("double", Self::Double),
        ("bytes", Self::Bytes),
        ("string", Self::String),
    ];

    fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, primitive)| *primitive)
    }

    pub(crate) fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(_, primitive)| *primitive == self).map_or("null", |(name, _)| name)
    }
}

/// The logical type `decimal`, whose scale decides what the bytes mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Decimal {
    pub(crate) precision: u32,
    pub(crate) scale: u32,
}

/// A full name: namespace and name, with a dot between them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name(String);

impl Name {
    pub(crate) fn full(&self) -> &str {
        &self.0
    }

    fn namespace(&self) -> &str {
        self.0.rsplit_once('.').map_or("", |(namespace, _)| namespace)
    }

    /// Without its namespace.
    pub(crate) fn last(&self) -> &str {
        self.0.rsplit_once('.').map_or(self.full(), |(_, name)| name)
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) aliases: Vec<String>,
    pub(crate) kind: TypeId,
    pub(crate) default: Option<Value>,
}

impl AvroSchema {
    /// Reads a schema. `references`: schemas that it refers to by the names of their types, each after those that it
    /// refers to itself.
    ///
    /// # Errors
    /// [`SchemaProblem`] if one of them is no Avro schema, or if they are too large or too many.
    pub fn parse(text: &str, references: &[Reference]) -> Result<Self, SchemaProblem> {
        text::bounded(text, references)?;
        let mut reader = Reader::default();
        for reference in references {
            reader.schema(&text::json(&reference.text)?, "")?;
        }
        let own = reader.types.len();
        let root = reader.schema(&text::json(text)?, "")?;
        let schema = Self { types: reader.types, root, own };
        schema.check_defaults()?;
        Ok(schema)
    }

    pub(crate) fn get(&self, id: TypeId) -> Result<&Type, SchemaProblem> {
        self.types.get(id).ok_or(SchemaProblem::Dangling)
    }

    fn check_defaults(&self) -> Result<(), SchemaProblem> {
        let mut left = MAX_DEFAULT;
        for kind in self.types.get(self.own..).unwrap_or_default() {
            let Type::Record { name, fields, .. } = kind else { continue };
            for field in fields {
                let Some(default) = &field.default else { continue };
                if !self.holds(field.kind, default, &mut left, 0)? {
                    let place = format!("{}.{}", name.full(), field.name);
                    return Err(SchemaProblem::Invalid {
                        place,
                        reason: "the default is no value of the field's type",
                    });
                }
            }
        }
        Ok(())
    }

    /// Is that value, as defaults are written in JSON, one of the type?
    fn holds(&self, id: TypeId, value: &Value, left: &mut usize, depth: usize) -> Result<bool, SchemaProblem> {
        if depth > MAX_DEPTH {
            return Ok(false);
        }
        *left = left.checked_sub(1).ok_or(SchemaProblem::TooComplex)?;
        Ok(match self.get(id)? {
            Type::Primitive(primitive, _) => is_primitive(*primitive, value),
            Type::Fixed { size, .. } => {
                is_latin(value) && value.as_str().is_some_and(|text| text.chars().count() == *size as usize)
            }
            Type::Enum { symbols, .. } => {
                value.as_str().is_some_and(|symbol| symbols.iter().any(|known| known == symbol))
            }
            Type::Array(items) => match value {
                Value::Array(elements) => self.all_hold(elements.iter().map(|value| (*items, value)), left, depth)?,
                _ => false,
            },
            Type::Map(values) => match value {
                Value::Object(members) => self.all_hold(members.values().map(|value| (*values, value)), left, depth)?,
                _ => false,
            },
            // Since 1.12 a default is of the first branch that it fits; before, of the first.
            Type::Union(branches) => {
                for branch in branches {
                    if self.holds(*branch, value, left, depth + 1)? {
                        return Ok(true);
                    }
                }
                false
            }
            Type::Record { fields, .. } => match value {
                Value::Object(members) => {
                    for field in fields {
                        let Some(value) = members.get(&field.name).or(field.default.as_ref()) else {
                            return Ok(false);
                        };
                        if !self.holds(field.kind, value, left, depth + 1)? {
                            return Ok(false);
                        }
                    }
                    true
                }
                _ => false,
            },
        })
    }

    fn all_hold<'a>(
        &self,
        mut values: impl Iterator<Item = (TypeId, &'a Value)>,
        left: &mut usize,
        depth: usize,
    ) -> Result<bool, SchemaProblem> {
        values.try_fold(true, |so_far, (id, value)| Ok(so_far && self.holds(id, value, left, depth + 1)?))
    }
}

fn is_primitive(primitive: Primitive, value: &Value) -> bool {
    match primitive {
        Primitive::Null => value.is_null(),
        Primitive::Boolean => value.is_boolean(),
        Primitive::Int => value.as_i64().is_some_and(|number| i32::try_from(number).is_ok()),
        Primitive::Long => value.is_i64(),
        Primitive::Float | Primitive::Double => value.is_number(),
        Primitive::Bytes => is_latin(value),
        Primitive::String => value.is_string(),
    }
}

/// Bytes are written as text whose characters are the bytes.
fn is_latin(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.chars().all(|char| u32::from(char) < 256))
}

/// A schema as far as it was read.
#[derive(Default)]
struct Reader {
    types: Vec<Type>,
    names: BTreeMap<String, TypeId>,
}

fn invalid(place: &str, reason: &'static str) -> SchemaProblem {
    SchemaProblem::Invalid { place: place.to_owned(), reason }
}

impl Reader {
    /// `space`: the namespace that names without one are in.
    fn schema(&mut self, schema: &Value, space: &str) -> Result<TypeId, SchemaProblem> {
        match schema {
            Value::String(name) => self.by_name(name, space),
            Value::Array(branches) => self.union(branches, space),
            Value::Object(members) => self.complex(members, space),
            _ => Err(SchemaProblem::NotAvro),
        }
    }

    fn add(&mut self, kind: Type) -> Result<TypeId, SchemaProblem> {
        if self.types.len() >= MAX_TYPES {
            return Err(SchemaProblem::TooLarge("65536 types"));
        }
        self.types.push(kind);
        Ok(self.types.len() - 1)
    }

    fn by_name(&mut self, name: &str, space: &str) -> Result<TypeId, SchemaProblem> {
        if let Some(primitive) = Primitive::named(name) {
            return self.add(Type::Primitive(primitive, None));
        }
        let full = if name.contains('.') || space.is_empty() { name.to_owned() } else { format!("{space}.{name}") };
        let found = self.names.get(full.trim_start_matches('.'));
        found.copied().ok_or_else(|| invalid(name, "is neither a type nor defined before it is used"))
    }

    fn union(&mut self, branches: &[Value], space: &str) -> Result<TypeId, SchemaProblem> {
        let mut ids = Vec::with_capacity(branches.len());
        let mut seen = BTreeSet::new();
        for branch in branches {
            let id = self.schema(branch, space)?;
            let what = match self.types.get(id) {
                Some(Type::Union(_)) | None => return Err(invalid("union", "holds another union")),
                Some(Type::Primitive(primitive, _)) => primitive.as_str().to_owned(),
                Some(Type::Array(_)) => "array".to_owned(),
                Some(Type::Map(_)) => "map".to_owned(),
                Some(Type::Enum { name, .. } | Type::Fixed { name, .. } | Type::Record { name, .. }) => {
                    name.full().to_owned()
                }
            };
            if !seen.insert(what.clone()) {
                return Err(invalid(&what, "is in a union twice"));
            }
            ids.push(id);
        }
        self.add(Type::Union(ids))
    }

    fn complex(&mut self, members: &Map<String, Value>, space: &str) -> Result<TypeId, SchemaProblem> {
        let Some(kind) = members.get("type") else { return Err(SchemaProblem::NotAvro) };
        let Value::String(kind) = kind else { return self.schema(kind, space) };
        match kind.as_str() {
            "array" => {
                let items = self.part(members, "items", space)?;
                self.add(Type::Array(items))
            }
            "map" => {
                let values = self.part(members, "values", space)?;
                self.add(Type::Map(values))
            }
            "record" | "error" => self.record(members, space),
            "enum" => self.enumeration(members, space),
            "fixed" => self.fixed(members, space),
            name => match Primitive::named(name) {
                Some(primitive) => self.add(Type::Primitive(primitive, decimal(members))),
                None => self.by_name(name, space),
            },
        }
    }

    fn part(&mut self, members: &Map<String, Value>, name: &str, space: &str) -> Result<TypeId, SchemaProblem> {
        let part =
            members.get(name).ok_or_else(|| invalid(name, "is required of arrays (`items`) and maps (`values`)"))?;
        self.schema(part, space)
    }

    fn record(&mut self, members: &Map<String, Value>, space: &str) -> Result<TypeId, SchemaProblem> {
        let (name, aliases) = names(members, space)?;
        // Named before its fields are read: they may refer to it.
        let id = self.define(&name, Type::Record { name: name.clone(), aliases: Vec::new(), fields: Vec::new() })?;
        let Some(Value::Array(list)) = members.get("fields") else {
            return Err(invalid(name.full(), "has no `fields`"));
        };
        let mut fields: Vec<Field> = Vec::with_capacity(list.len());
        let mut seen = BTreeSet::new();
        for field in list {
            let field = self.field(field, &name)?;
            if !seen.insert(field.name.clone()) {
                return Err(invalid(&field.name, "is a field twice"));
            }
            fields.push(field);
        }
        self.replace(id, Type::Record { name, aliases, fields });
        Ok(id)
    }

    fn field(&mut self, field: &Value, record: &Name) -> Result<Field, SchemaProblem> {
        let name = field.get("name").and_then(Value::as_str).filter(|name| is_name(name));
        let name = name.ok_or_else(|| invalid(record.full(), "has a field without a valid name"))?;
        let kind = field.get("type").ok_or_else(|| invalid(name, "has no type"))?;
        let aliases = texts(field.get("aliases"), name)?;
        if let Some(order) = field.get("order")
            && !matches!(order.as_str(), Some("ascending" | "descending" | "ignore"))
        {
            return Err(invalid(name, "has an `order` that is none"));
        }
        let kind = self.schema(kind, record.namespace())?;
        Ok(Field { name: name.to_owned(), aliases, kind, default: field.get("default").cloned() })
    }

    fn enumeration(&mut self, members: &Map<String, Value>, space: &str) -> Result<TypeId, SchemaProblem> {
        let (name, aliases) = names(members, space)?;
        let symbols = texts(members.get("symbols"), name.full())?;
        if !members.contains_key("symbols") || symbols.iter().any(|symbol| !is_name(symbol)) {
            return Err(invalid(name.full(), "needs `symbols`, each a name"));
        }
        if symbols.iter().collect::<BTreeSet<_>>().len() < symbols.len() {
            return Err(invalid(name.full(), "has a symbol twice"));
        }
        let default = match members.get("default") {
            None => None,
            Some(Value::String(symbol)) if symbols.contains(symbol) => Some(symbol.clone()),
            Some(_) => return Err(invalid(name.full(), "has a default that is none of its symbols")),
        };
        self.define(&name.clone(), Type::Enum { name, aliases, symbols, default })
    }

    fn fixed(&mut self, members: &Map<String, Value>, space: &str) -> Result<TypeId, SchemaProblem> {
        let (name, aliases) = names(members, space)?;
        let size = members.get("size").and_then(Value::as_u64).and_then(|size| u32::try_from(size).ok());
        let size = size.ok_or_else(|| invalid(name.full(), "needs a `size`"))?;
        self.define(&name.clone(), Type::Fixed { name, aliases, size, decimal: decimal(members) })
    }

    fn define(&mut self, name: &Name, kind: Type) -> Result<TypeId, SchemaProblem> {
        let id = self.add(kind)?;
        match self.names.insert(name.full().to_owned(), id) {
            None => Ok(id),
            Some(_) => Err(invalid(name.full(), "is defined twice")),
        }
    }

    fn replace(&mut self, id: TypeId, kind: Type) {
        if let Some(place) = self.types.get_mut(id) {
            *place = kind;
        }
    }
}

/// A type's name and its aliases, which are in its namespace unless they say so.
fn names(members: &Map<String, Value>, space: &str) -> Result<(Name, Vec<Name>), SchemaProblem> {
    let name = members.get("name").and_then(Value::as_str).ok_or_else(|| invalid("type", "has no name"))?;
    let space = match members.get("namespace") {
        None | Some(Value::Null) => space,
        Some(Value::String(own)) => own,
        Some(_) => return Err(invalid(name, "has a namespace that is no text")),
    };
    let name = full(name, space)?;
    if Primitive::named(name.full()).is_some() {
        return Err(invalid(name.full(), "is the name of a primitive type"));
    }
    let aliases = texts(members.get("aliases"), name.full())?;
    let aliases = aliases.iter().map(|alias| full(alias, name.namespace())).collect::<Result<_, _>>()?;
    Ok((name, aliases))
}

fn full(name: &str, space: &str) -> Result<Name, SchemaProblem> {
    let full = if name.contains('.') || space.is_empty() { name.to_owned() } else { format!("{space}.{name}") };
    let full = full.strip_prefix('.').unwrap_or(&full);
    if full.split('.').all(is_name) { Ok(Name(full.to_owned())) } else { Err(invalid(name, "is no name")) }
}

fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn texts(list: Option<&Value>, place: &str) -> Result<Vec<String>, SchemaProblem> {
    let wrong = || invalid(place, "has a list that is none of texts");
    let Some(list) = list else { return Ok(Vec::new()) };
    let list = list.as_array().ok_or_else(wrong)?;
    list.iter().map(|text| text.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
}

/// A logical type that says nothing sensible is none, as the specification has it.
fn decimal(members: &Map<String, Value>) -> Option<Decimal> {
    let is_decimal = members.get("logicalType").and_then(Value::as_str) == Some("decimal");
    let number = |name: &str| members.get(name).and_then(Value::as_u64).and_then(|number| u32::try_from(number).ok());
    let precision = number("precision").filter(|precision| is_decimal && *precision > 0)?;
    let scale = if members.contains_key("scale") { number("scale")? } else { 0 };
    (scale <= precision).then_some(Decimal { precision, scale })
}

#[cfg(test)]
mod tests;
