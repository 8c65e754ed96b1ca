//! From a schema to checks.
//!
//! A schema is left to the validator as a whole if it holds a keyword that is not known here, or references that need
//! more than a look at the schema itself.

use super::{
    ALL, ARRAY, Array, Bounds, Check, EXACT, Form, Kinds, Member, NUMBER, OBJECT, Object, Quick, Rules, STRING, of,
};
use crate::compile::{Dialect, validator_of};
use crate::instance::OnTape;
use jsonschema::Validator;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};
use std::collections::{HashMap, HashSet};
use tradelane_tape::{Kind, Names};

/// Most validators besides that of the whole schema.
const MOST_OTHERS: usize = 64;
/// Most texts of an `enum` that are compared one by one.
const MOST_CHOICES: usize = 16;
/// Deepest nesting of checks of one and the same value.
const MOST_NESTED: usize = 32;

type Keywords = Map<String, Value>;

impl Quick {
    /// Compiles a schema that the validator accepts. None if it must be left to the validator.
    pub(crate) fn compile(schema: &Value, dialect: Dialect) -> Option<Quick> {
        let mut compiler = Compiler {
            root: schema,
            dialect,
            is_one_resource: !has_inner_id(schema),
            numbers: HashMap::new(),
            open: Vec::new(),
            others: Vec::new(),
            cited: Vec::new(),
        };
        let root = compiler.number(schema);
        let mut drafts = Vec::new();
        // Each schema is compiled once, wherever it is referred to.
        while let Some(schema) = compiler.open.get(drafts.len()).copied() {
            let draft = compiler.draft(schema)?;
            drafts.push(draft);
        }
        link(drafts, root, compiler.others)
    }
}

/// A schema whose inner schemas are still numbers.
struct Draft {
    check: Check,
    rules: Rules,
    also: Vec<usize>,
    items: Option<usize>,
    /// For each member, in the order of the table: its schema, none if anything is right, and whether it must be there.
    members: Vec<(String, Inner, bool)>,
    unnamed: Inner,
}

/// A schema inside of another.
#[derive(Debug, Clone, Copy)]
enum Inner {
    Anything,
    Schema(usize),
}

struct Compiler<'s> {
    root: &'s Value,
    dialect: Dialect,
    /// No schema inside changes what references are relative to.
    is_one_resource: bool,
    /// Schemas by their address: their place in `open`.
    numbers: HashMap<*const Value, usize>,
    open: Vec<&'s Value>,
    others: Vec<Validator<OnTape>>,
    /// What they were made of.
    cited: Vec<Value>,
}

impl<'s> Compiler<'s> {
    fn number(&mut self, schema: &'s Value) -> usize {
        *self.numbers.entry(schema).or_insert_with(|| {
            self.open.push(schema);
            self.open.len() - 1
        })
    }

    fn draft(&mut self, schema: &'s Value) -> Option<Draft> {
        let mut draft = Draft {
            check: Check::ANYTHING,
            rules: Rules::default(),
            also: Vec::new(),
            items: None,
            members: Vec::new(),
            unnamed: Inner::Anything,
        };
        let keywords = match schema {
            Value::Bool(true) => return Some(draft),
            Value::Bool(false) => {
                draft.check = Check::NOTHING;
                return Some(draft);
            }
            Value::Object(keywords) => keywords,
            _ => return None,
        };
        if self.dialect == Dialect::Draft7 && keywords.contains_key("$ref") {
            // All that stands beside it is ignored.
            draft.also.push(self.reference(keywords.get("$ref")?)?);
            draft.check = Check { pass: 0, look: ALL, plain_text: false, ..draft.check };
            return Some(draft);
        }
        self.keywords(keywords, schema, &mut draft)?;
        Some(draft)
    }

    fn keywords(&mut self, keywords: &'s Keywords, schema: &'s Value, draft: &mut Draft) -> Option<()> {
        let mut others = Keywords::new();
        let mut look: Kinds = 0;
        let mut allowed = ALL;
        let has_patterns = keywords.contains_key("patternProperties");
        let has_places = keywords.contains_key("prefixItems")
            || keywords.contains_key("additionalItems")
            || keywords.get("items").is_some_and(Value::is_array);
        let unevaluated = ["unevaluatedItems", "unevaluatedProperties"];
        if unevaluated.iter().any(|keyword| keywords.contains_key(*keyword)) {
            // What they see depends on everything beside them.
            others = keywords.clone();
            others.shift_remove("$schema");
            others.shift_remove("$defs");
            others.shift_remove("definitions");
            look = ALL;
        }
        for (keyword, value) in keywords.iter().take(if others.is_empty() { keywords.len() } else { 0 }) {
            match keyword.as_str() {
                "title" | "description" | "default" | "examples" | "$comment" | "deprecated" | "readOnly"
                | "writeOnly" | "$defs" | "definitions" => {}
                "$schema" | "$id" if std::ptr::eq(schema, self.root) => {}
                "$ref" => draft.also.push(self.reference(value)?),
                "allOf" => {
                    for inner in value.as_array()? {
                        let inner = self.number(inner);
                        draft.also.push(inner);
                    }
                }
                "type" => {
                    let (kinds, integers) = types(value)?;
                    allowed &= kinds;
                    draft.rules.integers = integers;
                }
                "enum" => match choices(value.as_array()?) {
                    Some((kinds, choice)) => {
                        allowed &= kinds;
                        draft.rules.choice = Some(choice);
                        look |= ALL;
                    }
                    None => drop(others.insert(keyword.clone(), value.clone())),
                },
                // Beside an `enum` there is one choice already.
                "const" => match choices(std::slice::from_ref(value)) {
                    Some((kinds, choice)) if !keywords.contains_key("enum") => {
                        allowed &= kinds;
                        draft.rules.choice = Some(choice);
                        look |= ALL;
                    }
                    _ => drop(others.insert(keyword.clone(), value.clone())),
                },
                "minLength" => draft.check.shortest = count(value)?,
                "maxLength" => draft.check.longest = count(value)?,
                "format" => {
                    let alone = Keywords::from_iter([(keyword.clone(), value.clone())]);
                    draft.rules.form = Some(Form::new(value.as_str()?, self.other(alone)?));
                    draft.check.plain_text = false;
                    look |= STRING;
                }
                "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" => {
                    let bounds = draft.rules.bounds.get_or_insert(Bounds::NONE);
                    let bound = value.as_f64().filter(|bound| bound.abs() < EXACT)?;
                    match keyword.as_str() {
                        "minimum" => bounds.least = bound,
                        "maximum" => bounds.most = bound,
                        "exclusiveMinimum" => bounds.above = bound,
                        _ => bounds.below = bound,
                    }
                    look |= NUMBER;
                }
                "minItems" => draft.rules.array.get_or_insert(Array::ANY).fewest = count(value)? as usize,
                "maxItems" => draft.rules.array.get_or_insert(Array::ANY).most = count(value)? as usize,
                "items" if !has_places => {
                    draft.rules.array.get_or_insert(Array::ANY);
                    draft.items = Some(self.number(value));
                }
                "minProperties" => draft.rules.object().fewest = count(value)? as usize,
                "maxProperties" => draft.rules.object().most = count(value)? as usize,
                "required" => {
                    draft.rules.object();
                }
                "properties" if !has_patterns => {
                    draft.rules.object();
                }
                "additionalProperties" if !has_patterns => {
                    draft.rules.object();
                    draft.unnamed = Inner::Schema(self.number(value));
                }
                // They do not depend on what is beside them but each other, and all of them are put to one validator.
                "pattern"
                | "contentEncoding"
                | "contentMediaType"
                | "contentSchema"
                | "multipleOf"
                | "uniqueItems"
                | "contains"
                | "minContains"
                | "maxContains"
                | "prefixItems"
                | "items"
                | "additionalItems"
                | "patternProperties"
                | "properties"
                | "additionalProperties"
                | "propertyNames"
                | "dependentRequired"
                | "dependentSchemas"
                | "dependencies"
                | "anyOf"
                | "oneOf"
                | "not"
                | "if"
                | "then"
                | "else" => drop(others.insert(keyword.clone(), value.clone())),
                _ => return None,
            }
        }
        if draft.check.shortest > 0 || draft.check.longest < u32::MAX {
            look |= STRING;
        }
        if draft.rules.integers {
            look |= NUMBER;
        }
        if draft.rules.array.is_some() {
            look |= ARRAY;
        }
        if draft.rules.object.is_some() {
            look |= OBJECT;
            self.members(keywords, has_patterns, draft)?;
        }
        look |= kinds_of(&others);
        if !draft.also.is_empty() {
            look = ALL;
        }
        if !others.is_empty() {
            draft.rules.others.push(self.other(others)?);
        }
        draft.check.plain_text &=
            draft.rules.choice.is_none() && draft.also.is_empty() && draft.rules.others.is_empty();
        draft.check.pass = allowed & !look;
        draft.check.look = allowed & look;
        Some(())
    }

    /// The members that are named, and those that must be there.
    fn members(&mut self, keywords: &'s Keywords, has_patterns: bool, draft: &mut Draft) -> Option<()> {
        let named = keywords.get("properties").filter(|_| !has_patterns);
        let required = keywords.get("required").map(|names| names.as_array()?.iter().map(Value::as_str).collect());
        let required: HashSet<&str> = required.unwrap_or(Some(HashSet::new()))?;
        let unnamed = draft.unnamed;
        for (name, schema) in named.map(Value::as_object).unwrap_or_default().into_iter().flatten() {
            let inner = Inner::Schema(self.number(schema));
            draft.members.push((name.clone(), inner, required.contains(name.as_str())));
        }
        let known: HashSet<&str> =
            named.and_then(Value::as_object).into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        let others = required.difference(&known).map(|name| ((*name).to_owned(), unnamed, true));
        draft.members.extend(others);
        draft.rules.object().required = u32::try_from(required.len()).ok()?;
        Some(())
    }

    /// What a reference within the schema names.
    fn reference(&mut self, reference: &'s Value) -> Option<usize> {
        let pointer = reference.as_str()?.strip_prefix('#')?;
        let pointer = percent_decode_str(pointer).decode_utf8().ok()?;
        let is_pointer = pointer.is_empty() || pointer.starts_with('/');
        if !is_pointer || !self.is_one_resource || self.root.get("$id").is_some() {
            return None;
        }
        let named = self.root.pointer(&pointer)?;
        Some(self.number(named))
    }

    /// A validator for these rules alone.
    fn other(&mut self, keywords: Keywords) -> Option<u32> {
        let schema = Value::Object(keywords);
        if let Some(same) = self.cited.iter().position(|cited| *cited == schema) {
            return Some(same as u32);
        }
        if self.others.len() >= MOST_OTHERS || !stands_alone(&schema) {
            return None;
        }
        self.others.push(validator_of(&schema, self.dialect).ok()?);
        self.cited.push(schema);
        Some(self.others.len() as u32 - 1)
    }
}

impl Bounds {
    const NONE: Bounds =
        Bounds { least: f64::NEG_INFINITY, most: f64::INFINITY, above: f64::NEG_INFINITY, below: f64::INFINITY };
}

impl Array {
    const ANY: Array = Array { fewest: 0, most: usize::MAX, items: Check::ANYTHING };
}

impl Rules {
    fn object(&mut self) -> &mut Object {
        self.object.get_or_insert_with(|| Object {
            fewest: 0,
            most: usize::MAX,
            members: Names::default(),
            required: 0,
            unnamed: Check::ANYTHING,
        })
    }
}

/// Puts the checks of inner schemas where they are needed. None if a schema comes back to itself on the same value.
fn link(drafts: Vec<Draft>, root: usize, others: Vec<Validator<OnTape>>) -> Option<Quick> {
    let mut known = vec![None; drafts.len()];
    for number in 0..drafts.len() {
        nesting(&drafts, number, 0, &mut known)?;
    }
    let mut checks: Vec<Check> = drafts.iter().zip(0..).map(|(draft, rules)| Check { rules, ..draft.check }).collect();
    // A schema that is only a reference is what it refers to.
    for (number, draft) in drafts.iter().enumerate() {
        let mut named = (number, draft);
        while let Some(next) = named.1.is_reference() {
            named = (next, drafts.get(next)?);
        }
        let check = Check { rules: u32::try_from(named.0).ok()?, ..named.1.check };
        *checks.get_mut(number)? = check;
    }
    let at = |number: usize| checks.get(number).copied();
    let inner = |inner: Inner| match inner {
        Inner::Anything => Some(Check::ANYTHING),
        Inner::Schema(number) => at(number),
    };
    let mut all = Vec::with_capacity(drafts.len());
    for draft in drafts {
        let mut rules = draft.rules;
        rules.also = draft.also.into_iter().map(at).collect::<Option<_>>()?;
        if let (Some(array), Some(items)) = (&mut rules.array, draft.items) {
            array.items = at(items)?;
        }
        if let Some(object) = &mut rules.object {
            object.unnamed = inner(draft.unnamed)?;
            let members: Vec<_> = draft
                .members
                .iter()
                .map(|(name, check, required)| {
                    Some((name.as_str(), Member { check: inner(*check)?, required: u32::from(*required) }))
                })
                .collect::<Option<_>>()?;
            object.members = Names::new(members);
        }
        all.push(rules);
    }
    Some(Quick { root: at(root)?, rules: all, others })
}

impl Draft {
    /// What it refers to, if it says nothing else.
    fn is_reference(&self) -> Option<usize> {
        let rules = &self.rules;
        let says_more = self.check.look != ALL
            || self.check.shortest > 0
            || self.check.longest < u32::MAX
            || rules.form.is_some()
            || rules.choice.is_some()
            || rules.integers
            || rules.bounds.is_some()
            || rules.array.is_some()
            || rules.object.is_some()
            || !rules.others.is_empty();
        match self.also.as_slice() {
            [one] if !says_more => Some(*one),
            _ => None,
        }
    }
}

/// How deeply checks of one value are nested. None: too deeply, or without an end.
fn nesting(drafts: &[Draft], number: usize, depth: usize, known: &mut [Option<usize>]) -> Option<usize> {
    if let Some(nested) = known.get(number).copied()? {
        return (depth + nested <= MOST_NESTED).then_some(nested);
    }
    if depth >= MOST_NESTED {
        return None;
    }
    let mut nested = 1;
    for inner in &drafts.get(number)?.also {
        nested = nested.max(nesting(drafts, *inner, depth + 1, known)? + 1);
    }
    *known.get_mut(number)? = Some(nested);
    Some(nested)
}

/// The kinds that a `type` names, and whether numbers must be integers.
fn types(value: &Value) -> Option<(Kinds, bool)> {
    let one = std::slice::from_ref(value);
    let names: Vec<&str> =
        value.as_array().map_or(one, Vec::as_slice).iter().map(Value::as_str).collect::<Option<_>>()?;
    let kind = |name: &&str| {
        Some(match *name {
            "null" => of(Kind::Null),
            "boolean" => of(Kind::Bool),
            "string" => STRING,
            "number" | "integer" => NUMBER,
            "array" => ARRAY,
            "object" => OBJECT,
            _ => return None,
        })
    };
    let kinds = names.iter().try_fold(0, |kinds, name| Some(kinds | kind(name)?))?;
    Some((kinds, names.contains(&"integer") && !names.contains(&"number")))
}

/// Values that are compared here, and their kinds; numbers and containers are left to the validator.
fn choices(values: &[Value]) -> Option<(Kinds, Vec<Value>)> {
    let kind = |value: &Value| match value {
        Value::Null => Some(of(Kind::Null)),
        Value::Bool(_) => Some(of(Kind::Bool)),
        Value::String(_) => Some(STRING),
        _ => None,
    };
    let kinds = values.iter().try_fold(0, |kinds, value| Some(kinds | kind(value)?))?;
    (values.len() <= MOST_CHOICES).then(|| (kinds, values.to_vec()))
}

/// A count that is written as an integer. Nothing in a document has more than 2^32 parts.
fn count(value: &Value) -> Option<u32> {
    value.as_u64().map(|count| u32::try_from(count).unwrap_or(u32::MAX))
}

/// The kinds of values that these keywords may refuse.
fn kinds_of(keywords: &Keywords) -> Kinds {
    keywords.keys().fold(0, |kinds, keyword| {
        kinds
            | match keyword.as_str() {
                "pattern" | "contentEncoding" | "contentMediaType" | "contentSchema" => STRING,
                "multipleOf" => NUMBER,
                "uniqueItems" | "contains" | "minContains" | "maxContains" | "prefixItems" | "items"
                | "additionalItems" => ARRAY,
                "patternProperties"
                | "properties"
                | "additionalProperties"
                | "propertyNames"
                | "dependentRequired"
                | "dependentSchemas"
                | "dependencies" => OBJECT,
                _ => ALL,
            }
    })
}

/// Whether a schema inside of this one has a name of its own.
fn has_inner_id(root: &Value) -> bool {
    let mut open = vec![root];
    while let Some(value) = open.pop() {
        match value {
            Value::Array(elements) => open.extend(elements),
            Value::Object(members) if !std::ptr::eq(value, root) && members.get("$id").is_some() => return true,
            Value::Object(members) => open.extend(members.values()),
            _ => {}
        }
    }
    false
}

/// Whether it means the same wherever it stands: it neither refers to anything nor has a name.
fn stands_alone(schema: &Value) -> bool {
    let mut open = vec![schema];
    while let Some(value) = open.pop() {
        match value {
            Value::Array(elements) => open.extend(elements),
            Value::Object(members) => {
                if members.keys().any(|name| name.starts_with('$') && name != "$comment") {
                    return false;
                }
                open.extend(members.values());
            }
            _ => {}
        }
    }
    true
}
