//! The schema registry: what is registered under which subject, for those who may know of it.
//!
//! A subject belongs to the organization of its product (`PRODUCT-value`, `PRODUCT-key`), or else to the caller's own. Its
//! owner's people see what is registered. A consumer sees, under the name of the product's values, the schemas of its own
//! view instead (`registry/view.rs`): a writer's schema would tell of fields that the view hides. For everybody else there
//! is nothing. Changes are in `registry/change.rs`.

mod change;
mod check;
mod view;

pub use change::SchemaSetting;

use std::sync::Arc;

use tradelane_audit::Leaf;
use tradelane_model::registry::{
    self as model, Compatibility, Mode, Registry, SchemaReference, SchemaText, Settings, Subject, SubjectVersion,
};
use tradelane_model::{Grant, OrgId, ProductId, codes};

use crate::Hub;
use crate::audit_trail::{SCHEMA, hub_leaf};
use crate::authorize::{Act, On};
use crate::doorway::{Audited, Caller};
use crate::error::{HubError, Result};

/// How many versions are put in normal form to find an equal one, the newest first.
const MAX_NORMALIZED: usize = 50;

/// A schema as somebody sends it.
#[derive(Debug, Clone, Default)]
pub struct NewSchema {
    /// What it is written in, as clients say it: `AVRO`, `JSON` or `PROTOBUF`; nothing means Avro.
    pub kind: Option<String>,
    /// Its text.
    pub text: String,
    /// What it refers to.
    pub references: Vec<SchemaReference>,
    /// Put it in the one form that schemas have that mean the same.
    pub normalize: bool,
}

/// A version of a subject.
#[derive(Debug, Clone)]
pub struct SchemaRecord {
    /// The subject.
    pub subject: String,
    /// Its version.
    pub version: u32,
    /// The id of the schema.
    pub id: u32,
    /// The schema.
    pub schema: Arc<SchemaText>,
}

/// Which version is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhichVersion {
    /// The last one that is not deleted.
    Latest,
    /// That one.
    Number(u32),
}

/// Which subjects are listed.
#[derive(Debug, Clone, Default)]
pub struct SubjectQuery {
    /// Those whose names begin so.
    pub prefix: String,
    /// Those without a live version as well.
    pub deleted: bool,
    /// Only those without a live version.
    pub deleted_only: bool,
}

/// What holds for an organization or a subject.
#[derive(Debug, Clone, Copy)]
pub struct SchemaSettings {
    /// What is set for exactly that.
    pub own: Settings,
    /// What holds.
    pub compatibility: Compatibility,
    /// What holds.
    pub mode: Mode,
}

/// What a subject is to a caller.
enum Sight {
    /// One of its own organization.
    Own { product: Option<ProductId> },
    /// The values of a product, as its grant shows them.
    View { product: ProductId, grant: Arc<Grant> },
}

impl Hub {
    /// The subjects that exist for the caller, by name.
    pub async fn schema_subjects(&self, caller: &Caller, query: SubjectQuery) -> Result<Audited<Vec<String>>> {
        let registry = self.model().registry.clone();
        let own = registry.subjects(&caller.organization.id).filter(|(name, subject)| {
            let is_gone = subject.latest().is_none();
            let wanted = if is_gone { query.deleted || query.deleted_only } else { !query.deleted_only };
            wanted && self.sight(caller, name).is_ok()
        });
        let mut names: Vec<String> = own.map(|(name, _)| name.to_owned()).collect();
        if !query.deleted_only {
            names.extend(self.viewed(caller).into_iter().map(|(product, _)| self.view_subject(caller, &product)));
        }
        names.retain(|name| name.starts_with(&query.prefix));
        names.sort();
        names.dedup();
        let leaf = Leaf { count: names.len() as u64, ..hub_leaf(self.now(), caller, SCHEMA) };
        self.audited(leaf, names).await
    }

    /// The versions of a subject.
    pub async fn schema_versions(&self, caller: &Caller, subject: &str, deleted: bool) -> Result<Audited<Vec<u32>>> {
        let sight = self.sight(caller, subject)?;
        let versions = match &sight {
            Sight::Own { .. } => {
                let registry = self.model().registry.clone();
                let found = own_subject(&registry, caller, subject, deleted)?;
                found.versions.iter().filter(|version| deleted || !version.deleted).map(|v| v.version).collect()
            }
            Sight::View { product, .. } => (1..=self.revisions(product)?).collect(),
        };
        self.audited(self.schema_leaf(caller, &sight), versions).await
    }

    /// A version of a subject.
    pub async fn schema_version(
        &self,
        caller: &Caller,
        subject: &str,
        which: WhichVersion,
        deleted: bool,
    ) -> Result<Audited<SchemaRecord>> {
        let sight = self.sight(caller, subject)?;
        let record = match &sight {
            Sight::Own { .. } => {
                let registry = self.model().registry.clone();
                let found = own_subject(&registry, caller, subject, deleted)?;
                record(&registry, subject, version(&found, which, deleted)?)?
            }
            Sight::View { product, grant } => self.view_version(product, grant, which)?,
        };
        self.audited(self.schema_leaf(caller, &sight), record).await
    }

    /// The schema of an id that the caller has seen in front of a record or in an answer.
    pub async fn schema_by_id(&self, caller: &Caller, id: u32) -> Result<Audited<Arc<SchemaText>>> {
        let schema = match id {
            model::FIRST_VIEW_ID.. => self.view_by_id(caller, id).map(|found| found.schema),
            _ => self.own_by_id(caller, id),
        };
        let schema = schema.ok_or_else(|| HubError::of(codes::SCHEMA_UNKNOWN))?;
        self.audited(hub_leaf(self.now(), caller, SCHEMA), schema).await
    }

    /// A schema that the caller was shown, in the form that some deserializers ask for: Protobuf as the base64 of its
    /// descriptor, others as they are. What it refers to is looked for among the caller's own.
    pub async fn serialized_schema(&self, caller: &Caller, schema: Arc<SchemaText>) -> Result<Arc<SchemaText>> {
        check::serialized(&self.model().registry.clone(), &caller.organization.id, schema).await
    }

    /// The subjects and versions that have the schema of an id.
    pub async fn schema_uses(&self, caller: &Caller, id: u32, deleted: bool) -> Result<Audited<Vec<(String, u32)>>> {
        let unknown = || HubError::of(codes::SCHEMA_UNKNOWN);
        let uses = if id >= model::FIRST_VIEW_ID {
            let found = self.view_by_id(caller, id).ok_or_else(unknown)?;
            vec![(found.subject, found.version)]
        } else {
            self.own_by_id(caller, id).ok_or_else(unknown)?;
            let registry = self.model().registry.clone();
            let owner = &caller.organization.id;
            let all = registry.subjects(owner).flat_map(|(name, found)| found.versions.iter().map(move |v| (name, v)));
            let having = all.filter(|(_, version)| version.id == id && (deleted || !version.deleted));
            let seen = having.filter(|(name, _)| self.sight(caller, name).is_ok());
            seen.map(|(name, version)| (name.to_owned(), version.version)).collect()
        };
        let leaf = Leaf { count: uses.len() as u64, ..hub_leaf(self.now(), caller, SCHEMA) };
        self.audited(leaf, uses).await
    }

    /// The version of a subject that has this schema.
    pub async fn schema_lookup(
        &self,
        caller: &Caller,
        subject: &str,
        new: NewSchema,
        deleted: bool,
    ) -> Result<Audited<SchemaRecord>> {
        let sight = self.sight(caller, subject)?;
        let normalize = new.normalize;
        let registry = self.model().registry.clone();
        let owner = &caller.organization.id;
        let schema = check::text(&registry, owner, new).await?;
        let mut candidates = match &sight {
            Sight::Own { .. } => {
                let found = own_subject(&registry, caller, subject, deleted)?;
                let versions = found.versions.iter().rev().filter(|version| deleted || !version.deleted);
                versions.filter_map(|version| record(&registry, subject, version).ok()).collect()
            }
            Sight::View { product, grant } => {
                let revisions = (1..=self.revisions(product)?).rev();
                let version = |revision| self.view_version(product, grant, WhichVersion::Number(revision)).ok();
                revisions.filter_map(version).collect::<Vec<SchemaRecord>>()
            }
        };
        let mut place = candidates.iter().position(|record| *record.schema == schema);
        if place.is_none() && normalize {
            let texts = candidates.iter().take(MAX_NORMALIZED).map(|record| record.schema.clone()).collect();
            place = check::same_when_normal(&registry, owner, &schema, texts).await?;
        }
        let place = place.ok_or_else(|| HubError::of(codes::SCHEMA_UNKNOWN))?;
        let record = candidates.swap_remove(place);
        self.audited(self.schema_leaf(caller, &sight), record).await
    }

    /// The ids of the schemas that refer to a version.
    pub async fn schema_referrers(
        &self,
        caller: &Caller,
        subject: &str,
        which: WhichVersion,
    ) -> Result<Audited<Vec<u32>>> {
        let sight = self.sight(caller, subject)?;
        let mut ids = Vec::new();
        if let Sight::Own { .. } = &sight {
            let registry = self.model().registry.clone();
            let found = own_subject(&registry, caller, subject, false)?;
            let number = version(&found, which, false)?.version;
            let live = registry.referrers(&caller.organization.id, subject, number).filter(|(_, v)| !v.deleted);
            ids.extend(live.map(|(_, version)| version.id));
            ids.sort_unstable();
            ids.dedup();
        }
        self.audited(self.schema_leaf(caller, &sight), ids).await
    }

    /// What is set for the caller's organization, or for a subject of it.
    pub async fn schema_settings(&self, caller: &Caller, subject: Option<&str>) -> Result<Audited<SchemaSettings>> {
        let sight = subject.map(|subject| self.sight(caller, subject)).transpose()?;
        let owner = match &sight {
            Some(Sight::View { grant, .. }) => {
                let model = self.model();
                model
                    .products
                    .get(&grant.product)
                    .map(|product| product.owner.clone())
                    .ok_or_else(HubError::not_found)?
            }
            _ => caller.organization.id.clone(),
        };
        let leaf = match &sight {
            Some(sight) => self.schema_leaf(caller, sight),
            None => hub_leaf(self.now(), caller, SCHEMA),
        };
        self.audited(leaf, settings(&self.model().registry, &owner, subject.unwrap_or_default())).await
    }

    /// What the subject is to the caller; an error that says that it is nothing.
    fn sight(&self, caller: &Caller, subject: &str) -> Result<Sight> {
        if !model::is_subject(subject) {
            return Err(HubError::of(codes::SUBJECT_INVALID));
        }
        let model = self.model();
        let unknown = || HubError::of(codes::SUBJECT_UNKNOWN);
        let own = &caller.organization.id;
        let named = model::topic_of(subject).and_then(|topic| model.product_named(own, topic));
        match named.and_then(|id| model.products.get(&id)) {
            Some(product) if product.owner == *own => {
                let sees = self.knows(caller, On::Product(&product.id));
                if sees { Ok(Sight::Own { product: Some(product.id.clone()) }) } else { Err(unknown()) }
            }
            // A product that the caller must not know of takes no name away from it.
            Some(product) if subject.ends_with("-value") => match self.readable(caller, &product.id) {
                Some(grant) => Ok(Sight::View { product: product.id.clone(), grant }),
                None => self.free(caller).ok_or_else(unknown),
            },
            _ => self.free(caller).ok_or_else(unknown),
        }
    }

    /// A subject that belongs to no product is for those who work with any product of the organization.
    fn free(&self, caller: &Caller) -> Option<Sight> {
        let model = self.model();
        let mut own = model.products.values().filter(|product| product.owner == caller.organization.id);
        let knows = self.decide(caller, Act::ManageProducts, On::Own).is_ok()
            || own.any(|product| self.knows(caller, On::Product(&product.id)));
        knows.then_some(Sight::Own { product: None })
    }

    fn knows(&self, caller: &Caller, on: On<'_>) -> bool {
        [Act::Read, Act::Publish, Act::ManageProducts].into_iter().any(|act| self.decide(caller, act, on).is_ok())
    }

    /// The grant by which the caller reads a product of somebody else, if it does.
    fn readable(&self, caller: &Caller, product: &ProductId) -> Option<Arc<Grant>> {
        let model = self.model();
        let mut grants = model.live_grants(&caller.organization.id, product, self.now());
        grants.find(|grant| self.decide(caller, Act::Read, On::Grant(grant)).is_ok()).cloned()
    }

    fn own_by_id(&self, caller: &Caller, id: u32) -> Option<Arc<SchemaText>> {
        let registry = self.model().registry.clone();
        let found = registry.schema(id).filter(|found| found.owner == caller.organization.id)?;
        let mut subjects = registry.subjects(&caller.organization.id);
        let sees = |name: &str, subject: &Subject| {
            subject.versions.iter().any(|version| version.id == id) && self.sight(caller, name).is_ok()
        };
        subjects.any(|(name, subject)| sees(name, subject)).then(|| found.schema.clone())
    }

    fn schema_leaf(&self, caller: &Caller, sight: &Sight) -> Leaf {
        let mut leaf = hub_leaf(self.now(), caller, SCHEMA);
        let (Sight::Own { product: Some(product) } | Sight::View { product, .. }) = sight else { return leaf };
        leaf.owner = self.owner_of(product).filter(|owner| *owner != leaf.org);
        leaf.product = Some(product.clone());
        leaf
    }
}

fn settings(registry: &Registry, owner: &OrgId, subject: &str) -> SchemaSettings {
    SchemaSettings {
        own: registry.settings(owner, subject),
        compatibility: registry.compatibility(owner, subject),
        mode: registry.mode(owner, subject),
    }
}

fn own_subject(registry: &Registry, caller: &Caller, subject: &str, deleted: bool) -> Result<Arc<Subject>> {
    let found = registry.subject(&caller.organization.id, subject);
    let found = found.filter(|found| deleted || found.latest().is_some());
    found.cloned().ok_or_else(|| HubError::of(codes::SUBJECT_UNKNOWN))
}

fn version(subject: &Subject, which: WhichVersion, deleted: bool) -> Result<&SubjectVersion> {
    let found = match which {
        WhichVersion::Latest => subject.latest().or_else(|| subject.versions.last().filter(|_| deleted)),
        WhichVersion::Number(number) => subject.version(number).filter(|version| deleted || !version.deleted),
    };
    found.ok_or_else(|| HubError::of(codes::SCHEMA_VERSION_UNKNOWN))
}

fn record(registry: &Registry, subject: &str, version: &SubjectVersion) -> Result<SchemaRecord> {
    let found = registry.schema(version.id).ok_or_else(|| HubError::of(codes::SCHEMA_UNKNOWN))?;
    let SubjectVersion { version, id, .. } = *version;
    Ok(SchemaRecord { subject: subject.to_owned(), version, id, schema: found.schema.clone() })
}
