//! How often a schema looks at one and the same value.
//!
//! `allOf`, `anyOf`, `oneOf`, `not`, `if`, `$ref` and their like apply further schemas to the same value. References make
//! that a graph: thirty definitions that name the next one twice are a billion looks. The validator would take them
//! all, on its stack and with an error object each. So the looks and their nesting are counted before a schema is
//! compiled, and a schema with too many is refused. References to itself on the same value are cut by the validator.

use crate::SchemaError;
use percent_encoding::percent_decode_str;
use serde_json::Value;
use std::collections::HashMap;

/// Most looks at one value, and deepest nesting of them.
pub(crate) const MOST_LOOKS: u64 = 20_000;
pub(crate) const MOST_NESTED: u32 = 24;

/// Checks a schema of bounded depth.
pub(crate) fn check(root: &Value) -> Result<(), SchemaError> {
    let mut spread = Spread { root, named: HashMap::new(), known: HashMap::new() };
    spread.collect_names(root);
    let mut open = vec![root];
    while let Some(schema) = open.pop() {
        if spread.looks(schema, 0)?.count > MOST_LOOKS {
            return Err(SchemaError::TooEntangled);
        }
        match schema {
            Value::Array(elements) => open.extend(elements),
            Value::Object(members) => open.extend(members.values()),
            _ => {}
        }
    }
    Ok(())
}

#[derive(Clone, Copy)]
struct Looks {
    count: u64,
    nested: u32,
}

struct Spread<'s> {
    root: &'s Value,
    /// Schemas by the last part of their `$id`, and by their anchors (with `#` in front).
    named: HashMap<String, Vec<&'s Value>>,
    /// Results by address; none while one is being worked out, which is a cycle.
    known: HashMap<*const Value, Option<Looks>>,
}

impl<'s> Spread<'s> {
    fn collect_names(&mut self, root: &'s Value) {
        let mut open = vec![root];
        while let Some(value) = open.pop() {
            match value {
                Value::Array(elements) => open.extend(elements),
                Value::Object(members) => {
                    open.extend(members.values());
                    for (keyword, name) in members {
                        let Some(name) = name.as_str() else { continue };
                        match keyword.as_str() {
                            // In draft-07 `"$id": "#name"` is an anchor.
                            "$id" if name.starts_with('#') => self.name(name.to_owned(), value),
                            "$id" => self.name(last_part(name).to_owned(), value),
                            "$anchor" | "$dynamicAnchor" => self.name(format!("#{name}"), value),
                            "$recursiveAnchor" => {}
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
    }

    fn name(&mut self, name: String, schema: &'s Value) {
        self.named.entry(name).or_default().push(schema);
    }

    fn looks(&mut self, schema: &'s Value, depth: u32) -> Result<Looks, SchemaError> {
        if let Some(known) = self.known.get(&std::ptr::from_ref(schema)) {
            let looks = known.unwrap_or(Looks { count: 1, nested: 1 });
            return if depth + looks.nested > MOST_NESTED { Err(SchemaError::TooEntangled) } else { Ok(looks) };
        }
        if depth >= MOST_NESTED {
            return Err(SchemaError::TooEntangled);
        }
        self.known.insert(schema, None);
        let mut total = Looks { count: 1, nested: 1 };
        for inner in self.applied(schema) {
            let looks = self.looks(inner, depth + 1)?;
            total.count = total.count.saturating_add(looks.count);
            total.nested = total.nested.max(looks.nested + 1);
        }
        self.known.insert(schema, Some(total));
        Ok(total)
    }

    /// Schemas that `schema` applies to the value that it is applied to itself.
    fn applied(&self, schema: &'s Value) -> Vec<&'s Value> {
        let mut applied = Vec::new();
        for (keyword, value) in schema.as_object().into_iter().flatten() {
            match (keyword.as_str(), value) {
                ("allOf" | "anyOf" | "oneOf", Value::Array(schemas)) => applied.extend(schemas),
                ("not" | "if" | "then" | "else", schema) => applied.push(schema),
                ("dependentSchemas" | "dependencies", Value::Object(schemas)) => applied.extend(schemas.values()),
                ("$ref" | "$dynamicRef" | "$recursiveRef", Value::String(reference)) => {
                    applied.extend(self.resolve(reference));
                }
                _ => {}
            }
        }
        applied
    }

    /// What a reference may name. Base URIs are not followed exactly: all schemas that might be meant count. One that
    /// is not found here is a published meta-schema, or the validator refuses it.
    fn resolve(&self, reference: &str) -> Vec<&'s Value> {
        let (base, fragment) = reference.split_once('#').unwrap_or((reference, ""));
        let fragment = percent_decode_str(fragment).decode_utf8_lossy();
        let of_base = || self.named.get(last_part(base)).into_iter().flatten().copied();
        if fragment.is_empty() && base.is_empty() {
            // The nearest `$id`, or the root: all of them count.
            return self.resources().collect();
        }
        if fragment.is_empty() {
            return of_base().collect();
        }
        if fragment.starts_with('/') {
            let bases: Vec<&Value> = if base.is_empty() { self.resources().collect() } else { of_base().collect() };
            return bases.into_iter().filter_map(|resource| resource.pointer(&fragment)).collect();
        }
        self.named.get(&format!("#{fragment}")).into_iter().flatten().copied().collect()
    }

    fn resources(&self) -> impl Iterator<Item = &'s Value> + '_ {
        let inner = self.named.iter().filter(|(name, _)| !name.starts_with('#')).flat_map(|(_, schemas)| schemas);
        std::iter::once(self.root).chain(inner.copied().filter(|schema| !std::ptr::eq(*schema, self.root)))
    }
}

fn last_part(uri: &str) -> &str {
    let uri = uri.trim_end_matches('#');
    uri.rsplit(['/', ':']).next().unwrap_or(uri)
}
