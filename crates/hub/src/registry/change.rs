//! Registering and deleting schemas, and what is demanded of new ones: for those who manage the product, or the
//! organization's products for a subject that belongs to none.

use std::sync::Arc;

use tradelane_audit::Leaf;
use tradelane_model::journal::Change;
use tradelane_model::registry::{Compatibility, Mode, Registry, SchemaText, Settings, Subject};
use tradelane_model::{Model, codes};

use super::{
    NewSchema, SchemaRecord, SchemaSettings, Sight, WhichVersion, check, own_subject, record, settings, version,
};
use crate::Hub;
use crate::audit_trail::CHANGE;
use crate::authorize::{Act, On};
use crate::doorway::{Audited, Caller};
use crate::error::{HubError, Result};

/// How often a change is tried again when somebody changed the subject while the schemas were compared.
const ATTEMPTS: usize = 4;

/// What to set; nothing: as it is without a setting.
#[derive(Debug, Clone, Copy)]
pub enum SchemaSetting {
    /// Which changes are allowed.
    Compatibility(Option<Compatibility>),
    /// Whether any is.
    Mode(Option<Mode>),
}

impl Hub {
    /// Registers a schema as the next version of a subject, unless the subject has it.
    pub async fn register_schema(
        &self,
        caller: &Caller,
        subject: &str,
        new: NewSchema,
    ) -> Result<Audited<SchemaRecord>> {
        let sight = self.changeable(caller, subject)?;
        let owner = &caller.organization.id;
        let schema = check::text(&self.model().registry.clone(), owner, new).await?;
        for _ in 0..ATTEMPTS {
            let seen = self.model().registry.clone();
            if let Some(known) = known(&seen, caller, subject, &schema) {
                return self.audited(self.schema_leaf(caller, &sight), known).await;
            }
            self.writable(&seen, caller, subject)?;
            let told = self.held_against(&seen, caller, subject, None, &schema).await?;
            if !told.is_empty() {
                let detail = format!(
                    "The schema is not compatible with an earlier version of subject \"{subject}\"; details: [{}]",
                    told.join(", ")
                );
                return Err(HubError::new(codes::SCHEMA_INCOMPATIBLE, detail));
            }
            let decide = |model: &Model, _| {
                let now = &model.registry;
                if !Arc::ptr_eq(now, &seen) && !is_alike(now, &seen, caller, subject) {
                    return Err(HubError::of(codes::CONFLICT).retry(1));
                }
                check::whole(now, owner, &schema)?;
                let id = now.id_of(owner, &schema).unwrap_or_else(|| now.next_id());
                let version = now.subject(owner, subject).map_or(1, |found| found.next());
                let change = Change::SchemaRegistered {
                    owner: owner.clone(),
                    subject: subject.to_owned(),
                    version,
                    id,
                    schema: schema.clone(),
                };
                let schema = Arc::new(schema.clone());
                Ok((vec![change], SchemaRecord { subject: subject.to_owned(), version, id, schema }))
            };
            match self.change(&caller.principal.id, self.change_leaf(caller, &sight), decide).await {
                Err(error) if error.code == codes::CONFLICT => {}
                done => return done.map(|(value, leaf)| Audited { value, leaf }),
            }
        }
        Err(HubError::of(codes::CONFLICT).retry(1))
    }

    /// What keeps a schema from being the next version of a subject, or from following one version of it; nothing: it may.
    pub async fn check_schema(
        &self,
        caller: &Caller,
        subject: &str,
        against: Option<WhichVersion>,
        new: NewSchema,
    ) -> Result<Audited<Vec<String>>> {
        let sight = self.sight(caller, subject)?;
        let Sight::Own { .. } = sight else { return Err(HubError::of(codes::FORBIDDEN)) };
        let registry = self.model().registry.clone();
        let schema = check::text(&registry, &caller.organization.id, new).await?;
        let told = self.held_against(&registry, caller, subject, against, &schema).await?;
        self.audited(self.schema_leaf(caller, &sight), told).await
    }

    async fn held_against(
        &self,
        registry: &Arc<Registry>,
        caller: &Caller,
        subject: &str,
        against: Option<WhichVersion>,
        schema: &SchemaText,
    ) -> Result<Vec<String>> {
        let owner = &caller.organization.id;
        let level = registry.compatibility(owner, subject);
        let earlier = match (against, registry.subject(owner, subject)) {
            // With nothing there to follow, the last version of it is followed by anything.
            (Some(WhichVersion::Latest), None) => Vec::new(),
            (Some(which), _) => {
                let found = own_subject(registry, caller, subject, false)?;
                vec![*version(&found, which, false)?]
            }
            (None, None) => Vec::new(),
            (None, Some(_)) if level == Compatibility::None => Vec::new(),
            (None, Some(found)) if level.is_transitive() => found.live().rev().copied().collect(),
            (None, Some(found)) => found.latest().copied().into_iter().collect(),
        };
        let new = check::whole(registry, owner, schema)?;
        check::incompatibilities(registry.clone(), owner.clone(), new, earlier, level).await
    }

    /// Deletes all versions of a subject; `permanent`: for good, after they were deleted. Returns their numbers.
    pub async fn delete_subject(&self, caller: &Caller, subject: &str, permanent: bool) -> Result<Audited<Vec<u32>>> {
        let sight = self.changeable(caller, subject)?;
        let decide = |model: &Model, _| {
            let registry = &model.registry;
            self.writable(registry, caller, subject)?;
            let found = own_subject(registry, caller, subject, true)?;
            match (permanent, found.latest()) {
                (false, None) => return Err(HubError::of(codes::SUBJECT_DELETED)),
                (true, Some(_)) => return Err(HubError::of(codes::SUBJECT_NOT_DELETED)),
                _ => {}
            }
            let going = found.versions.iter().filter(|version| permanent || !version.deleted);
            let numbers: Vec<u32> = going.map(|version| version.version).collect();
            for number in &numbers {
                unused(registry, caller, subject, *number, permanent)?;
            }
            let changes = numbers.iter().map(|number| deletion(caller, subject, *number, permanent));
            Ok((changes.collect(), numbers.clone()))
        };
        let (value, leaf) = self.change(&caller.principal.id, self.change_leaf(caller, &sight), decide).await?;
        Ok(Audited { value, leaf })
    }

    /// Deletes a version; `permanent`: for good, after it was deleted. Returns its number.
    pub async fn delete_schema_version(
        &self,
        caller: &Caller,
        subject: &str,
        which: WhichVersion,
        permanent: bool,
    ) -> Result<Audited<u32>> {
        let sight = self.changeable(caller, subject)?;
        let decide = |model: &Model, _| {
            let registry = &model.registry;
            self.writable(registry, caller, subject)?;
            let found: Arc<Subject> = own_subject(registry, caller, subject, true)?;
            let version = version(&found, which, true)?;
            match (permanent, version.deleted) {
                (false, true) => return Err(HubError::of(codes::SCHEMA_VERSION_DELETED)),
                (true, false) => return Err(HubError::of(codes::SCHEMA_VERSION_NOT_DELETED)),
                _ => {}
            }
            unused(registry, caller, subject, version.version, permanent)?;
            Ok((vec![deletion(caller, subject, version.version, permanent)], version.version))
        };
        let (value, leaf) = self.change(&caller.principal.id, self.change_leaf(caller, &sight), decide).await?;
        Ok(Audited { value, leaf })
    }

    /// Sets what is demanded of new versions of a subject, or of all that have no setting of their own. Returns what held
    /// before.
    pub async fn set_schema_setting(
        &self,
        caller: &Caller,
        subject: Option<&str>,
        setting: SchemaSetting,
    ) -> Result<Audited<SchemaSettings>> {
        let sight = match subject {
            Some(subject) => self.changeable(caller, subject)?,
            None => {
                self.allow(caller, Act::ManageProducts, On::Own)?;
                Sight::Own { product: None }
            }
        };
        let (owner, subject) = (&caller.organization.id, subject.unwrap_or_default());
        let decide = |model: &Model, _| {
            let before = settings(&model.registry, owner, subject);
            let settings = match setting {
                SchemaSetting::Compatibility(compatibility) => Settings { compatibility, ..before.own },
                SchemaSetting::Mode(mode) => Settings { mode, ..before.own },
            };
            let change = Change::SchemaSettingsPut { owner: owner.clone(), subject: subject.to_owned(), settings };
            Ok((vec![change], before))
        };
        let (value, leaf) = self.change(&caller.principal.id, self.change_leaf(caller, &sight), decide).await?;
        Ok(Audited { value, leaf })
    }

    /// A subject that the caller may change; a refusal is on record.
    fn changeable(&self, caller: &Caller, subject: &str) -> Result<Sight> {
        let sight = self.sight(caller, subject)?;
        match &sight {
            Sight::Own { product: Some(product) } | Sight::View { product, .. } => {
                self.allow(caller, Act::ManageProducts, On::Product(product))?;
            }
            Sight::Own { product: None } => drop(self.allow(caller, Act::ManageProducts, On::Own)?),
        }
        // What the organization's policies say, a subject of somebody else is never changed.
        match sight {
            Sight::Own { .. } => Ok(sight),
            Sight::View { .. } => Err(HubError::of(codes::FORBIDDEN)),
        }
    }

    fn writable(&self, registry: &Registry, caller: &Caller, subject: &str) -> Result<()> {
        match registry.mode(&caller.organization.id, subject) {
            Mode::Readwrite => Ok(()),
            Mode::Readonly => Err(HubError::of(codes::SUBJECT_READ_ONLY)),
        }
    }

    fn change_leaf(&self, caller: &Caller, sight: &Sight) -> Leaf {
        Leaf { action: CHANGE, ..self.schema_leaf(caller, sight) }
    }
}

/// The live version that has an equal schema.
fn known(registry: &Registry, caller: &Caller, subject: &str, schema: &SchemaText) -> Option<SchemaRecord> {
    let id = registry.id_of(&caller.organization.id, schema)?;
    let found = registry.subject(&caller.organization.id, subject)?;
    let version = found.live().rev().find(|version| version.id == id)?;
    record(registry, subject, version).ok()
}

/// Would the subject's next version be judged the same?
fn is_alike(now: &Registry, seen: &Registry, caller: &Caller, subject: &str) -> bool {
    let owner = &caller.organization.id;
    let of = |registry: &Registry| {
        let versions = registry.subject(owner, subject).map(|found| found.versions.clone());
        (versions, registry.compatibility(owner, subject), registry.mode(owner, subject))
    };
    of(now) == of(seen)
}

fn unused(registry: &Registry, caller: &Caller, subject: &str, version: u32, permanent: bool) -> Result<()> {
    let mut referrers = registry.referrers(&caller.organization.id, subject, version);
    let is_used = referrers.any(|(_, referrer)| permanent || !referrer.deleted);
    if is_used { Err(HubError::of(codes::SCHEMA_IN_USE)) } else { Ok(()) }
}

fn deletion(caller: &Caller, subject: &str, version: u32, permanent: bool) -> Change {
    Change::SchemaDeleted { owner: caller.organization.id.clone(), subject: subject.to_owned(), version, permanent }
}
