//! May this schema be the next version? Read, resolved, compiled, and held against earlier versions.

use std::collections::BTreeMap;
use std::sync::Arc;

use tradelane_model::registry::{Compatibility, Registry, SchemaKind, SchemaReference, SchemaText, SubjectVersion};
use tradelane_model::{OrgId, codes};
use tradelane_registry::{Reference, Schema, SchemaProblem};

use super::NewSchema;
use crate::error::{HubError, Result};

/// The most places that an answer names.
const MAX_TOLD: usize = 50;
/// The most references of one schema.
const MAX_REFERENCES: usize = 64;

/// A schema with everything that it refers to.
pub(super) struct Whole {
    kind: SchemaKind,
    text: String,
    references: Vec<Reference>,
}

/// The canonical form of what was sent, by the owner's schemas that it refers to. Compiling takes its time, in a thread of
/// its own.
pub(super) async fn text(registry: &Arc<Registry>, owner: &OrgId, new: NewSchema) -> Result<SchemaText> {
    let kind = SchemaKind::named(new.kind.as_deref());
    let kind = kind.ok_or_else(|| invalid("`schemaType` must be \"AVRO\", \"JSON\" or \"PROTOBUF\"."))?;
    if new.references.len() > MAX_REFERENCES {
        return Err(invalid("A schema refers to at most 64 others."));
    }
    let mut references = new.references;
    if new.normalize {
        references.sort();
        references.dedup();
    }
    let draft = SchemaText { kind, text: new.text, references };
    if kind == SchemaKind::Json {
        return canonical(registry, owner, &draft, new.normalize);
    }
    let (registry, owner) = (registry.clone(), owner.clone());
    blocking(move || canonical(&registry, &owner, &draft, new.normalize)).await
}

/// The schema in canonical or normal form.
fn canonical(registry: &Registry, owner: &OrgId, schema: &SchemaText, normalize: bool) -> Result<SchemaText> {
    let references = match schema.kind {
        // What a JSON Schema refers to says nothing of its form.
        SchemaKind::Json => Vec::new(),
        SchemaKind::Avro | SchemaKind::Protobuf => whole(registry, owner, schema)?.references,
    };
    let text = tradelane_registry::canonical(schema.kind, &schema.text, &references, normalize).map_err(problem)?;
    Ok(SchemaText { kind: schema.kind, text, references: schema.references.clone() })
}

/// The first of these schemas that has the same normal form, by its place among them.
pub(super) async fn same_when_normal(
    registry: &Arc<Registry>,
    owner: &OrgId,
    schema: &SchemaText,
    others: Vec<Arc<SchemaText>>,
) -> Result<Option<usize>> {
    let (registry, owner, schema) = (registry.clone(), owner.clone(), schema.clone());
    blocking(move || {
        let normal = canonical(&registry, &owner, &schema, true)?.text;
        let is_same = |other: &Arc<SchemaText>| {
            other.kind == schema.kind
                && other.references == schema.references
                && canonical(&registry, &owner, other, true).is_ok_and(|other| other.text == normal)
        };
        Ok(others.iter().position(is_same))
    })
    .await
}

/// A Protobuf schema as the base64 of its descriptor, which some deserializers ask for; others as they are.
pub(super) async fn serialized(
    registry: &Arc<Registry>,
    owner: &OrgId,
    schema: Arc<SchemaText>,
) -> Result<Arc<SchemaText>> {
    if schema.kind != SchemaKind::Protobuf {
        return Ok(schema);
    }
    let (registry, owner) = (registry.clone(), owner.clone());
    blocking(move || {
        let Schema::Protobuf(compiled) = whole(&registry, &owner, &schema)?.parse()? else { return Ok(schema) };
        Ok(Arc::new(SchemaText { text: compiled.serialized("default"), ..SchemaText::clone(&schema) }))
    })
    .await
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|error| HubError::of(codes::INTERNAL).because(error))?
}

/// A schema with what it refers to in the same organization, directly or through others; each after what it refers to.
pub(super) fn whole(registry: &Registry, owner: &OrgId, schema: &SchemaText) -> Result<Whole> {
    let mut found = Found { registry, owner, texts: BTreeMap::new(), order: Vec::new() };
    found.all(&schema.references, schema.kind, 0)?;
    let Found { mut texts, order, .. } = found;
    let named = order.into_iter().filter_map(|name| {
        let text = texts.remove(&name)?.text.clone();
        Some(Reference { name, text })
    });
    Ok(Whole { kind: schema.kind, text: schema.text.clone(), references: named.collect() })
}

/// What was found of a schema's references.
struct Found<'a> {
    registry: &'a Registry,
    owner: &'a OrgId,
    texts: BTreeMap<String, Arc<SchemaText>>,
    order: Vec<String>,
}

impl Found<'_> {
    fn all(&mut self, references: &[SchemaReference], kind: SchemaKind, depth: usize) -> Result<()> {
        if depth > MAX_REFERENCES {
            return Err(invalid("References lead through at most 64 schemas."));
        }
        for reference in references {
            let subject = self.registry.subject(self.owner, &reference.subject);
            let known = subject.and_then(|subject| subject.version(reference.version));
            let other = known.and_then(|known| self.registry.schema(known.id)).map(|found| found.schema.clone());
            let other = other.ok_or_else(|| invalid("A reference names a subject or version that does not exist."))?;
            if other.kind != kind {
                return Err(invalid("A reference leads to a schema of another type."));
            }
            match self.texts.get(&reference.name) {
                Some(before) if *before == other => continue,
                Some(_) => return Err(invalid("Two references of the same name lead to different schemas.")),
                None => {}
            }
            if self.texts.len() >= 2 * MAX_REFERENCES {
                return Err(invalid("A schema and what it refers to have at most 128 references."));
            }
            self.texts.insert(reference.name.clone(), other.clone());
            self.all(&other.references, kind, depth + 1)?;
            self.order.push(reference.name.clone());
        }
        Ok(())
    }
}

impl Whole {
    fn parse(&self) -> Result<Schema> {
        Schema::parse(self.kind, &self.text, &self.references).map_err(problem)
    }
}

/// Is the schema valid, and what keeps it from following the earlier versions? It takes its time, in a thread of its own,
/// and one earlier version after the other, so that many take no more memory than one.
pub(super) async fn incompatibilities(
    registry: Arc<Registry>,
    owner: OrgId,
    new: Whole,
    earlier: Vec<SubjectVersion>,
    level: Compatibility,
) -> Result<Vec<String>> {
    blocking(move || judge(&registry, &owner, &new, &earlier, level)).await
}

fn judge(
    registry: &Registry,
    owner: &OrgId,
    new: &Whole,
    earlier: &[SubjectVersion],
    level: Compatibility,
) -> Result<Vec<String>> {
    let mut steps = tradelane_registry::STEPS;
    let schema = new.parse()?;
    if let Schema::Json(schema) = &schema {
        tradelane_schema::Schema::compile(&schema.bundled()).map_err(|error| invalid(&format!("{error}.")))?;
    }
    for other in earlier {
        let old = registry.schema(other.id).ok_or_else(|| HubError::of(codes::SCHEMA_UNKNOWN))?;
        let old = whole(registry, owner, &old.schema)?.parse()?;
        let mut told = Vec::new();
        if level.reads_old() {
            tell(&old, &schema, ("new", "old"), &mut steps, &mut told)?;
        }
        if level.is_read_by_old() {
            tell(&schema, &old, ("old", "new"), &mut steps, &mut told)?;
        }
        if !told.is_empty() {
            told.push(format!("{{oldSchemaVersion: {}}}", other.version));
            told.push(format!("{{compatibility: '{}'}}", level.as_str()));
            return Ok(told);
        }
    }
    Ok(Vec::new())
}

fn tell(
    writer: &Schema,
    reader: &Schema,
    (reads, wrote): (&str, &str),
    steps: &mut usize,
    told: &mut Vec<String>,
) -> Result<()> {
    let changes = match tradelane_registry::compare(writer, reader, steps) {
        Err(SchemaProblem::Mixed) => {
            told.push("{errorType:\"SCHEMA_TYPE_CHANGED\", description:\"The schemas are of different types\"}".into());
            return Ok(());
        }
        changes => changes.map_err(problem)?,
    };
    let breaking = changes.iter().filter(|change| !change.is_compatible).take(MAX_TOLD);
    told.extend(breaking.map(|change| change.told(reads, wrote)));
    Ok(())
}

pub(super) fn invalid(detail: &str) -> HubError {
    HubError::new(codes::SCHEMA_INVALID, detail)
}

fn problem(problem: SchemaProblem) -> HubError {
    let mut text = problem.to_string();
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    invalid(&format!("{text}."))
}
