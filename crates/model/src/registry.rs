//! Schemas that organizations registered: subjects, versions, ids, and what is demanded of the next version.
//!
//! The words are those of Confluent's schema registry, since its clients speak them. Whether a text is a schema, and
//! whether one is compatible with another, is not known here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::{OrgId, ProductId};
use crate::state::Misfit;

/// Ids from here on name the schemas of views, which are worked out and never registered.
pub const FIRST_VIEW_ID: u32 = 1 << 30;
/// The most versions of a subject, deleted ones included.
pub const MAX_VERSIONS: usize = 1_000;
/// The most subjects of an organization.
pub const MAX_SUBJECTS: usize = 10_000;
/// The most bytes of all schemas of an organization.
pub const MAX_BYTES: u64 = 64 << 20;
/// The longest name of a subject, in bytes.
pub const MAX_NAME: usize = 255;

/// A schema that another one refers to by a name of its own choice.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SchemaReference {
    /// How the schema calls it.
    pub name: String,
    /// The subject that it is registered under.
    pub subject: String,
    /// Its version there.
    pub version: u32,
}

/// What a schema is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum SchemaKind {
    /// JSON Schema.
    #[serde(rename = "JSON")]
    Json,
    /// Apache Avro.
    #[serde(rename = "AVRO")]
    Avro,
    /// Protocol Buffers.
    #[serde(rename = "PROTOBUF")]
    Protobuf,
}

impl SchemaKind {
    /// All of them, by the names that clients use.
    pub const ALL: [(&'static str, Self); 3] =
        [("JSON", Self::Json), ("PROTOBUF", Self::Protobuf), ("AVRO", Self::Avro)];

    /// The kind of that name; clients that name none mean Avro.
    pub fn named(name: Option<&str>) -> Option<Self> {
        let name = name.unwrap_or("AVRO");
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind)
    }

    /// Its name.
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(_, kind)| *kind == self).map_or("JSON", |(name, _)| name)
    }
}

/// A schema as it was registered. Two that are equal have one id within their organization.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SchemaText {
    /// What it is written in.
    pub kind: SchemaKind,
    /// Its text, in canonical form.
    pub text: String,
    /// What it refers to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<SchemaReference>,
}

/// Which earlier versions a new one is held against, and in which direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Compatibility {
    /// None.
    None,
    /// Readers of the new version understand what the last one wrote.
    #[default]
    Backward,
    /// Readers of the new version understand what any earlier one wrote.
    BackwardTransitive,
    /// Readers of the last version understand what the new one writes.
    Forward,
    /// Readers of any earlier version understand what the new one writes.
    ForwardTransitive,
    /// Both, for the last version.
    Full,
    /// Both, for every version.
    FullTransitive,
}

impl Compatibility {
    /// All of them, by the names that clients use.
    pub const ALL: [(&'static str, Self); 7] = [
        ("NONE", Self::None),
        ("BACKWARD", Self::Backward),
        ("BACKWARD_TRANSITIVE", Self::BackwardTransitive),
        ("FORWARD", Self::Forward),
        ("FORWARD_TRANSITIVE", Self::ForwardTransitive),
        ("FULL", Self::Full),
        ("FULL_TRANSITIVE", Self::FullTransitive),
    ];

    /// The level of that name, in any case.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, level)| *level)
    }

    /// Its name.
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(_, level)| *level == self).map_or("NONE", |(name, _)| name)
    }

    /// Must a new version read what earlier ones wrote?
    pub fn reads_old(self) -> bool {
        matches!(self, Self::Backward | Self::BackwardTransitive | Self::Full | Self::FullTransitive)
    }

    /// Must earlier versions read what a new one writes?
    pub fn is_read_by_old(self) -> bool {
        matches!(self, Self::Forward | Self::ForwardTransitive | Self::Full | Self::FullTransitive)
    }

    /// Is every earlier version meant, and not the last one alone?
    pub fn is_transitive(self) -> bool {
        matches!(self, Self::BackwardTransitive | Self::ForwardTransitive | Self::FullTransitive)
    }
}

/// May schemas be registered and deleted?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Mode {
    /// Yes.
    #[default]
    Readwrite,
    /// No.
    Readonly,
}

impl Mode {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Readwrite => "READWRITE",
            Self::Readonly => "READONLY",
        }
    }
}

/// What is set for an organization or one of its subjects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Settings {
    /// Which changes are allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compatibility: Option<Compatibility>,
    /// Whether any is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
}

/// A version of a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubjectVersion {
    /// Its number, from 1.
    pub version: u32,
    /// The id of its schema.
    pub id: u32,
    /// Deleted, and still there to be read by those who ask for it.
    pub deleted: bool,
}

/// The versions of a subject, in order.
#[derive(Debug, Clone, Default)]
pub struct Subject {
    /// Deleted ones included.
    pub versions: Vec<SubjectVersion>,
}

impl Subject {
    /// Those that are not deleted, in order.
    pub fn live(&self) -> impl DoubleEndedIterator<Item = &SubjectVersion> {
        self.versions.iter().filter(|version| !version.deleted)
    }

    /// The last one that is not deleted.
    pub fn latest(&self) -> Option<&SubjectVersion> {
        self.live().next_back()
    }

    /// That one, deleted or not.
    pub fn version(&self, number: u32) -> Option<&SubjectVersion> {
        self.versions.iter().find(|version| version.version == number)
    }

    /// The number of the next version.
    pub fn next(&self) -> u32 {
        self.versions.last().map_or(1, |last| last.version.saturating_add(1))
    }
}

/// A schema with its owner.
#[derive(Debug, Clone)]
pub struct Registered {
    /// Whose it is.
    pub owner: OrgId,
    /// What it says.
    pub schema: Arc<SchemaText>,
}

/// Everything that is registered.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    schemas: BTreeMap<u32, Registered>,
    ids: BTreeMap<(OrgId, Arc<SchemaText>), u32>,
    subjects: BTreeMap<(OrgId, String), Arc<Subject>>,
    /// An empty name: the organization's own.
    settings: BTreeMap<(OrgId, String), Settings>,
    bytes: BTreeMap<OrgId, u64>,
    last_id: u32,
}

impl Registry {
    /// The subject, with its deleted versions.
    pub fn subject(&self, owner: &OrgId, name: &str) -> Option<&Arc<Subject>> {
        self.subjects.get(&(owner.clone(), name.to_owned()))
    }

    /// All subjects of an organization, by name.
    pub fn subjects<'a>(&'a self, owner: &'a OrgId) -> impl Iterator<Item = (&'a str, &'a Arc<Subject>)> {
        let first = (owner.clone(), String::new());
        let own = self.subjects.range(first..).take_while(move |((of, _), _)| of == owner);
        own.map(|((_, name), subject)| (name.as_str(), subject))
    }

    /// The schema of that id.
    pub fn schema(&self, id: u32) -> Option<&Registered> {
        self.schemas.get(&id)
    }

    /// The id of an equal schema of the organization.
    pub fn id_of(&self, owner: &OrgId, schema: &SchemaText) -> Option<u32> {
        self.ids.get(&(owner.clone(), Arc::new(schema.clone()))).copied()
    }

    /// The id that the next new schema gets. Ids are never used twice.
    pub fn next_id(&self) -> u32 {
        self.last_id.saturating_add(1)
    }

    /// What is set for exactly that; an empty name means the organization.
    pub fn settings(&self, owner: &OrgId, subject: &str) -> Settings {
        self.settings.get(&(owner.clone(), subject.to_owned())).copied().unwrap_or_default()
    }

    /// The compatibility that holds for a subject.
    pub fn compatibility(&self, owner: &OrgId, subject: &str) -> Compatibility {
        let own = self.settings(owner, subject).compatibility;
        own.or(self.settings(owner, "").compatibility).unwrap_or_default()
    }

    /// The mode that holds for a subject. What an organization shut, no subject opens.
    pub fn mode(&self, owner: &OrgId, subject: &str) -> Mode {
        match self.settings(owner, "").mode {
            Some(Mode::Readonly) => Mode::Readonly,
            of_all => self.settings(owner, subject).mode.or(of_all).unwrap_or_default(),
        }
    }

    /// The ids that values of a product may be written with.
    pub fn value_ids(&self, owner: &OrgId, product: &ProductId) -> BTreeSet<u32> {
        let subject = self.subject(owner, &value_subject(product));
        subject.into_iter().flat_map(|subject| subject.live()).map(|version| version.id).collect()
    }

    /// Which versions of the organization's subjects, deleted ones included, refer to that one.
    pub fn referrers<'a>(
        &'a self,
        owner: &'a OrgId,
        subject: &'a str,
        version: u32,
    ) -> impl Iterator<Item = (&'a str, SubjectVersion)> {
        let refers = move |id: u32| {
            let references = self.schema(id).map(|found| found.schema.references.as_slice()).unwrap_or_default();
            references.iter().any(|reference| reference.subject == subject && reference.version == version)
        };
        let all = self.subjects(owner).flat_map(|(name, found)| found.versions.iter().map(move |v| (name, *v)));
        all.filter(move |(_, found)| refers(found.id))
    }

    pub(crate) fn register(
        &mut self,
        owner: &OrgId,
        subject: &str,
        version: u32,
        id: u32,
        schema: &SchemaText,
    ) -> Result<(), Misfit> {
        if !is_subject(subject) {
            return Err(Misfit::Invalid("a subject has a name of 1 to 255 printable characters".into()));
        }
        let known = self.id_of(owner, schema);
        let fits = known.map_or(id == self.next_id() && id < FIRST_VIEW_ID, |known| known == id);
        let found = self.subject(owner, subject);
        if !fits || version != found.map_or(1, |found| found.next()) {
            return Err(Misfit::Fixed { what: format!("the id or version of a schema under {subject}") });
        }
        let size = schema.text.len() as u64;
        let used = self.bytes.get(owner).copied().unwrap_or(0);
        let is_full = found
            .map_or_else(|| self.subjects(owner).count() >= MAX_SUBJECTS, |found| found.versions.len() >= MAX_VERSIONS);
        if is_full || (known.is_none() && used + size > MAX_BYTES) {
            return Err(Misfit::Invalid("there is no room for another schema; delete some permanently".into()));
        }
        if known.is_none() {
            let shared = Arc::new(schema.clone());
            self.schemas.insert(id, Registered { owner: owner.clone(), schema: shared.clone() });
            self.ids.insert((owner.clone(), shared), id);
            *self.bytes.entry(owner.clone()).or_default() += size;
            self.last_id = id;
        }
        let found = self.subjects.entry((owner.clone(), subject.to_owned())).or_default();
        Arc::make_mut(found).versions.push(SubjectVersion { version, id, deleted: false });
        Ok(())
    }

    pub(crate) fn delete(&mut self, owner: &OrgId, subject: &str, version: u32, permanent: bool) -> Result<(), Misfit> {
        let missing = || Misfit::Missing { kind: "schema version", id: format!("{subject}/{version}") };
        let key = (owner.clone(), subject.to_owned());
        let found = Arc::make_mut(self.subjects.get_mut(&key).ok_or_else(missing)?);
        let at = found.versions.iter().position(|known| known.version == version).ok_or_else(missing)?;
        if !permanent {
            found.versions.iter_mut().skip(at).take(1).for_each(|version| version.deleted = true);
            return Ok(());
        }
        let id = found.versions.remove(at).id;
        if found.versions.is_empty() {
            self.subjects.remove(&key);
        }
        self.forget_unused(owner, id);
        Ok(())
    }

    fn forget_unused(&mut self, owner: &OrgId, id: u32) {
        let is_used = self.subjects(owner).any(|(_, subject)| subject.versions.iter().any(|v| v.id == id));
        if is_used {
            return;
        }
        if let Some(gone) = self.schemas.remove(&id) {
            if let Some(bytes) = self.bytes.get_mut(owner) {
                *bytes = bytes.saturating_sub(gone.schema.text.len() as u64);
            }
            self.ids.remove(&(owner.clone(), gone.schema));
        }
    }

    pub(crate) fn set(&mut self, owner: &OrgId, subject: &str, settings: Settings) {
        let key = (owner.clone(), subject.to_owned());
        if settings == Settings::default() {
            self.settings.remove(&key);
        } else {
            self.settings.insert(key, settings);
        }
    }

    pub(crate) fn forget_owner(&mut self, owner: &OrgId) {
        self.subjects.retain(|(of, _), _| of != owner);
        self.settings.retain(|(of, _), _| of != owner);
        self.ids.retain(|(of, _), _| of != owner);
        self.schemas.retain(|_, found| found.owner != *owner);
        self.bytes.remove(owner);
    }
}

/// The subject of a topic's values, by Confluent's `TopicNameStrategy`. A product's topic is its id for its owner.
pub fn value_subject(topic: impl std::fmt::Display) -> String {
    format!("{topic}-value")
}

/// The topic that a subject would belong to by its name.
pub fn topic_of(subject: &str) -> Option<&str> {
    subject.strip_suffix("-value").or_else(|| subject.strip_suffix("-key")).filter(|topic| !topic.is_empty())
}

/// Can a subject have this name?
pub fn is_subject(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len()) && !name.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> SchemaText {
        SchemaText { kind: SchemaKind::Json, text: text.into(), references: Vec::new() }
    }

    #[test]
    fn an_id_is_given_once_and_shared_by_equal_schemas_of_one_organization_only() {
        let (acme, corner): (OrgId, OrgId) = ("acme".parse().unwrap(), "corner".parse().unwrap());
        let mut registry = Registry::default();
        registry.register(&acme, "a-value", 1, 1, &text("{}")).unwrap();
        assert_eq!(registry.id_of(&acme, &text("{}")), Some(1));
        assert_eq!(registry.id_of(&corner, &text("{}")), None);
        registry.register(&acme, "b-value", 1, 1, &text("{}")).unwrap();
        registry.register(&corner, "a-value", 1, 2, &text("{}")).unwrap();
        assert!(registry.register(&acme, "c", 1, 2, &text("true")).is_err(), "an id of somebody else");
        for subject in ["a-value", "b-value"] {
            registry.delete(&acme, subject, 1, false).unwrap();
            registry.delete(&acme, subject, 1, true).unwrap();
        }
        assert!(registry.schema(1).is_none());
        assert_eq!(registry.next_id(), 3, "an id that is free again is not given again");
        assert_eq!(registry.subjects(&corner).count(), 1);
    }

    #[test]
    fn settings_of_a_subject_win_but_cannot_open_what_is_shut() {
        let acme: OrgId = "acme".parse().unwrap();
        let mut registry = Registry::default();
        let set = |compatibility, mode| Settings { compatibility, mode };
        registry.set(&acme, "", set(Some(Compatibility::Full), None));
        registry.set(&acme, "a", set(Some(Compatibility::None), Some(Mode::Readonly)));
        assert_eq!(registry.compatibility(&acme, "b"), Compatibility::Full);
        assert_eq!(registry.compatibility(&acme, "a"), Compatibility::None);
        assert_eq!(registry.mode(&acme, "a"), Mode::Readonly);
        registry.set(&acme, "", set(None, Some(Mode::Readonly)));
        registry.set(&acme, "a", set(None, Some(Mode::Readwrite)));
        assert_eq!(registry.mode(&acme, "a"), Mode::Readonly);
    }

    #[test]
    fn a_subject_belongs_to_the_topic_that_it_is_named_after() {
        assert_eq!(topic_of("acme-stock-value"), Some("acme-stock"));
        assert_eq!(topic_of("acme-stock-key"), Some("acme-stock"));
        assert!(topic_of("common").is_none() && topic_of("-value").is_none());
        assert!(is_subject("com.acme/Order v1") && !is_subject("") && !is_subject("a\nb"));
    }
}
