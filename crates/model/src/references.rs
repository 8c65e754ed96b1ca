//! What a contract's schema refers to: schemas that its owner has registered, taken into the revision when it is applied.
//!
//! The model applies one change after the other, so a revision takes what was registered before it, always the same, whatever
//! becomes of the subject later. Whether the schemas are valid, and whether they are what is referred to, is not known here.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::contract::{Contract, ContractError, Extension, wrong};
use crate::id::OrgId;
use crate::product::Format;
use crate::registry::{Registry, SchemaKind, SchemaReference};

/// The most references of a contract.
pub const MAX_REFERENCES: usize = 64;
/// The most schemas that it takes in, those included that these refer to, and how far that goes.
pub const MAX_FILES: usize = 128;
const MAX_LEVELS: usize = 16;
/// The most bytes of all of them.
pub const MAX_BYTES: usize = 1 << 20;

/// A schema that another one refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaFile {
    /// How those that refer to it call it.
    pub name: String,
    /// Its text, as it was registered.
    pub text: Arc<str>,
}

fn place(index: usize) -> String {
    format!("/customProperties/tradelane/references/{index}")
}

/// What the contract's extension names.
pub(crate) fn read(extension: &Extension) -> Result<Vec<SchemaReference>, ContractError> {
    let list = &extension.references;
    let has_schema = match extension.format {
        Format::Json | Format::Epcis => extension.json_schema.is_some(),
        Format::Avro | Format::Protobuf => true,
    };
    if !list.is_empty() && !has_schema {
        return Err(wrong(place(0), "goes with a `jsonSchema` that refers to it"));
    }
    if list.len() > MAX_REFERENCES {
        return Err(wrong(place(MAX_REFERENCES), format!("a schema refers to at most {MAX_REFERENCES} others")));
    }
    let is_twice =
        |(index, one): &(usize, &SchemaReference)| list.iter().take(*index).any(|other| other.name == one.name);
    match list.iter().enumerate().find(is_twice) {
        Some((index, _)) => Err(wrong(place(index), "has the name of another reference")),
        None => Ok(list.clone()),
    }
}

impl Contract {
    /// Takes in what it refers to, from what its owner has registered by now: [`files`](Self::files).
    ///
    /// # Errors
    /// A reference that leads to nothing, to something deleted or to another language; too many or too large schemas.
    pub fn resolve(&mut self, registry: &Registry, owner: &OrgId) -> Result<(), ContractError> {
        let kind = match self.format {
            Format::Json | Format::Epcis => SchemaKind::Json,
            Format::Avro => SchemaKind::Avro,
            Format::Protobuf => SchemaKind::Protobuf,
        };
        let mut found =
            Found { registry, owner, kind, known: BTreeMap::new(), files: Vec::new(), open: Vec::new(), bytes: 0 };
        for (index, reference) in self.references.iter().enumerate() {
            let subject = registry.subject(owner, &reference.subject);
            let version = subject.and_then(|subject| subject.version(reference.version));
            if version.is_none_or(|version| version.deleted) {
                let reason = format!("there is no version {} of a subject {}", reference.version, reference.subject);
                return Err(wrong(place(index), reason));
            }
            found.take(reference).map_err(|reason| wrong(place(index), reason))?;
        }
        self.files = found.files.into();
        Ok(())
    }
}

/// What was found so far.
struct Found<'a> {
    registry: &'a Registry,
    owner: &'a OrgId,
    kind: SchemaKind,
    /// Ids of schemas by the names by which they are referred to.
    known: BTreeMap<String, u32>,
    /// Each after what it refers to itself.
    files: Vec<SchemaFile>,
    /// The ids of those whose references are being followed.
    open: Vec<u32>,
    bytes: usize,
}

impl Found<'_> {
    fn take(&mut self, reference: &SchemaReference) -> Result<(), String> {
        let version = self.registry.subject(self.owner, &reference.subject);
        let id = version.and_then(|subject| subject.version(reference.version)).map(|version| version.id);
        let schema = id.and_then(|id| Some((id, self.registry.schema(id)?.schema.clone())));
        let (id, schema) = schema.ok_or("leads to a version that does not exist")?;
        if schema.kind != self.kind {
            return Err("leads to a schema in another language".into());
        }
        if self.open.contains(&id) {
            return Err("leads to a schema that refers to itself".into());
        }
        match self.known.insert(reference.name.clone(), id) {
            None => {}
            Some(before) if before == id => return Ok(()),
            Some(_) => return Err("leads to two schemas of one name".into()),
        }
        self.bytes += schema.text.len();
        if self.known.len() > MAX_FILES || self.bytes > MAX_BYTES || self.open.len() >= MAX_LEVELS {
            return Err(format!(
                "a schema refers to at most {MAX_FILES} others of {} MiB together, over {MAX_LEVELS} steps",
                MAX_BYTES >> 20
            ));
        }
        self.open.push(id);
        schema.references.iter().try_for_each(|reference| self.take(reference))?;
        self.open.pop();
        self.files.push(SchemaFile { name: reference.name.clone(), text: schema.text.as_str().into() });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::SchemaText;

    /// Each refers to those that are named behind it.
    fn registered(owner: &OrgId, schemas: &[(&str, &[&str])]) -> Registry {
        let mut registry = Registry::default();
        for (id, (name, references)) in (1..).zip(schemas) {
            let reference = |name: &&str| SchemaReference { name: (*name).into(), subject: (*name).into(), version: 1 };
            let references = references.iter().map(reference).collect();
            let schema = SchemaText { kind: SchemaKind::Json, text: format!("{{\"title\":\"{name}\"}}"), references };
            registry.register(owner, name, 1, id, &schema).unwrap();
        }
        registry
    }

    fn resolved(registry: &Registry, owner: &str, names: &[&str]) -> Result<Vec<String>, String> {
        let references: Vec<String> =
            names.iter().map(|name| format!("{{name: {name}, subject: {name}, version: 1}}")).collect();
        let mut contract = Contract::parse(&format!(
            "apiVersion: v3.1.0\nkind: DataContract\nid: c\nversion: 1.0.0\nstatus: active\nschema:\n  - name: e\n    properties: []\n\
             customProperties: [{{property: tradelane, value: {{jsonSchema: {{}}, references: [{}]}}}}]\n",
            references.join(", ")
        ))
        .unwrap();
        contract.resolve(registry, &owner.parse().unwrap()).map_err(|error| error.to_string())?;
        Ok(contract.files.iter().map(|file| file.name.clone()).collect())
    }

    #[test]
    fn what_is_referred_to_comes_before_what_refers_to_it_and_once() {
        let owner = "acme".parse().unwrap();
        let registry = registered(&owner, &[("a", &[]), ("b", &["a"]), ("c", &["b", "a"]), ("d", &[])]);
        assert_eq!(resolved(&registry, "acme", &["c", "b", "d"]).unwrap(), ["a", "b", "c", "d"]);
        assert_eq!(resolved(&registry, "acme", &[]).unwrap(), [""; 0]);
        let error = resolved(&registry, "near", &["a"]).unwrap_err();
        assert!(error.contains("/references/0: there is no version 1"), "another's subjects are nobody's: {error}");
    }

    #[test]
    fn a_circle_and_a_way_that_is_too_long_end() {
        let owner = "acme".parse().unwrap();
        let circle = registered(&owner, &[("a", &["b"]), ("b", &["a"])]);
        assert!(resolved(&circle, "acme", &["a"]).unwrap_err().contains("refers to itself"));
        let names: Vec<String> = (0..40).map(|number| format!("s{number}")).collect();
        let before: Vec<Vec<&str>> =
            (0..40).map(|at: usize| at.checked_sub(1).map(|at| names[at].as_str()).into_iter().collect()).collect();
        let chain: Vec<(&str, &[&str])> = names.iter().zip(&before).map(|(name, to)| (&**name, &**to)).collect();
        let chain = registered(&owner, &chain);
        assert_eq!(resolved(&chain, "acme", &["s15"]).unwrap().len(), 16);
        assert!(resolved(&chain, "acme", &["s39"]).unwrap_err().contains("over 16 steps"));
    }
}
