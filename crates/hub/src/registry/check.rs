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
    text: String,
    references: Vec<Reference>,
}

/// The canonical form of what was sent.
pub(super) fn text(new: NewSchema) -> Result<SchemaText> {
    match new.kind.as_deref() {
        Some("JSON") => {}
        None | Some("AVRO" | "PROTOBUF") => {
            return Err(invalid(
                "JSON Schema is what this registry takes (`schemaType` \"JSON\"); Avro and Protobuf are not.",
            ));
        }
        Some(_) => return Err(invalid("`schemaType` must be \"JSON\".")),
    }
    if new.references.len() > MAX_REFERENCES {
        return Err(invalid("A schema refers to at most 64 others."));
    }
    let text = tradelane_registry::canonical(&new.text, new.normalize).map_err(problem)?;
    let mut references = new.references;
    if new.normalize {
        references.sort();
        references.dedup();
    }
    Ok(SchemaText { kind: SchemaKind::Json, text, references })
}

/// A schema with what it refers to in the same organization, directly or through others.
pub(super) fn whole(registry: &Registry, owner: &OrgId, schema: &SchemaText) -> Result<Whole> {
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    let mut open: Vec<SchemaReference> = schema.references.clone();
    while let Some(reference) = open.pop() {
        let subject = registry.subject(owner, &reference.subject);
        let known = subject.and_then(|subject| subject.version(reference.version));
        let other = known.and_then(|known| registry.schema(known.id));
        let other = other.ok_or_else(|| invalid("A reference names a subject or version that does not exist."))?;
        match found.get(&reference.name) {
            Some(text) if *text == other.schema.text => continue,
            Some(_) => return Err(invalid("Two references of the same name lead to different schemas.")),
            None => {}
        }
        found.insert(reference.name, other.schema.text.clone());
        open.extend(other.schema.references.iter().cloned());
        if found.len() > 2 * MAX_REFERENCES {
            return Err(invalid("A schema and what it refers to have at most 128 references."));
        }
    }
    let references = found.into_iter().map(|(name, text)| Reference { name, text }).collect();
    Ok(Whole { text: schema.text.clone(), references })
}

impl Whole {
    fn parse(&self) -> Result<Schema> {
        Schema::parse(&self.text, &self.references).map_err(problem)
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
    let work = move || judge(&registry, &owner, &new, &earlier, level);
    tokio::task::spawn_blocking(work).await.map_err(|error| HubError::of(codes::INTERNAL).because(error))?
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
    tradelane_schema::Schema::compile(&schema.bundled()).map_err(|error| invalid(&format!("{error}.")))?;
    for other in earlier {
        let old = registry.schema(other.id).ok_or_else(|| HubError::of(codes::SCHEMA_UNKNOWN))?;
        let old = whole(registry, owner, &old.schema)?.parse()?;
        let mut told = Vec::new();
        if level.reads_old() {
            tell(&old, &schema, ("new", "earlier"), &mut steps, &mut told)?;
        }
        if level.is_read_by_old() {
            tell(&schema, &old, ("earlier", "new"), &mut steps, &mut told)?;
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
    let changes = tradelane_registry::compare(writer, reader, steps).map_err(problem)?;
    for change in changes.iter().filter(|change| !change.is_compatible).take(MAX_TOLD) {
        told.push(format!(
            "{{errorType:\"{}\", description:\"The {reads} schema does not take all that the {wrote} one takes at path '{}'\"}}",
            change.kind, change.at
        ));
    }
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
