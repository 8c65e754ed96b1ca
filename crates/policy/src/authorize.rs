//! Cedar, asked once per session or grant. Deny by default, deny on error, and a forbid always wins.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};

use cedar_policy::{
    Context, Decision, Entities, Entity, EntityId, EntityTypeName, EntityUid, PolicySet, RestrictedExpression, Schema,
};
use tradelane_model::{Class, ErrorCode, Grant, OrgId, Organization, Principal, Product, Timestamp, codes};

use crate::epoch::{Epochs, Scope, Snapshot};
use crate::permit::Permit;
use crate::policies::{OrgPolicies, PolicyError, parse, set_of};

const SCHEMA: &str = include_str!("tradelane.cedarschema");
const PLATFORM: &str = include_str!("platform.cedar");

/// How long a permit lasts at most. Policies may speak of the hour, so a yes must be asked for again.
pub const PERMIT_SECONDS: i64 = 60;

macro_rules! actions {
    ($($(#[doc = $doc:literal])* $name:ident = $word:literal,)*) => {
        /// What can be done. The words are those of the Cedar schema.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Action {
            $($(#[doc = $doc])* $name,)*
        }

        impl Action {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The word in policies and in the audit log.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }
        }
    };
}

actions! {
    /// Publish events to a product.
    Publish = "publish",
    /// Read events of a product.
    Read = "read",
    /// See a product and its schema in the catalog.
    Discover = "discover",
    /// Ask for a grant.
    RequestAccess = "request-access",
    /// Change or delete a product or its contract.
    ManageProduct = "manage-product",
    /// Approve, deny, change or revoke grants of a product.
    DecideGrant = "decide-grant",
    /// See field by field what a reader would see, without classified values.
    Explain = "explain",
    /// Turn tokens of a product back into values.
    Detokenize = "detokenize",
    /// See what was put in quarantine and why.
    ReadQuarantine = "read-quarantine",
    /// Write new contracts and products for an organization.
    CreateProduct = "create-product",
    /// See the grants that an organization gave and has.
    ListGrants = "list-grants",
    /// Give up a grant that one's organization has.
    ReturnGrant = "return-grant",
    /// Manage principals and credentials of an organization.
    ManagePrincipals = "manage-principals",
    /// Change an organization's policies.
    ManagePolicies = "manage-policies",
    /// Read the audit of an organization.
    ReadAudit = "read-audit",
    /// Read the changes that concern an organization.
    ReadJournal = "read-journal",
    /// Look up which events hold data of a person.
    FindSubject = "find-subject",
    /// Erase a person.
    EraseSubject = "erase-subject",
    /// Create, suspend or delete organizations.
    ManageOrganizations = "manage-organizations",
    /// Operate the hub.
    Operate = "operate",
    /// Read the hub's metrics.
    ReadMetrics = "read-metrics",
}

/// What something is done to.
#[derive(Debug, Clone, Copy)]
pub enum Resource<'a> {
    /// The hub itself.
    Hub,
    /// An organization's principals, policies, audit, subjects.
    Organization(&'a Organization),
    /// A product.
    Product {
        /// The product.
        product: &'a Product,
        /// Whose it is.
        owner: &'a Organization,
        /// Where its data must stay, if its contract says.
        region: Option<&'a str>,
        /// Classes that its contract names.
        classes: &'a [Class],
    },
}

/// A question to the authorizer, with the facts to answer it.
#[derive(Debug)]
pub struct Request<'a> {
    /// Who asks.
    pub principal: &'a Principal,
    /// The principal's organization.
    pub org: &'a Organization,
    /// What for to do.
    pub action: Action,
    /// To what.
    pub resource: Resource<'a>,
    /// The grant under which a consumer acts, as the model has it. It is checked here: product, consumer, life.
    pub grant: Option<&'a Grant>,
    /// Classes that the grant's view reveals.
    pub reveals: &'a [Class],
    /// The purpose that the caller states; the grant's if it states none.
    pub purpose: Option<&'a str>,
    /// Where the caller is, if known.
    pub region: Option<&'a str>,
    /// The caller's address, if known.
    pub ip: Option<IpAddr>,
    /// The time.
    pub now: Timestamp,
    /// When the caller's credentials run out.
    pub until: Timestamp,
    /// Epochs, taken before all these facts were read: see [`Authorizer::snapshot`].
    pub snapshot: Snapshot,
}

/// A no, with its reasons.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{sentence}")]
pub struct Denial {
    /// Ids of the policies that forbid it, as `platform:ID` or `ORGANIZATION:ID`; empty if none allows it.
    pub policies: Vec<String>,
    /// One sentence for the caller.
    pub sentence: String,
}

impl Denial {
    fn new(policies: Vec<String>, sentence: impl Into<String>) -> Self {
        Self { policies, sentence: sentence.into() }
    }

    /// The stable code for a caller.
    pub fn code(&self) -> ErrorCode {
        if self.policies.iter().any(|id| id == "platform:no-grant") { codes::NO_GRANT } else { codes::FORBIDDEN }
    }
}

/// Decides. Holds the platform's policies and every organization's own.
#[derive(Debug)]
pub struct Authorizer {
    cedar: cedar_policy::Authorizer,
    schema: Schema,
    platform: PolicySet,
    orgs: RwLock<HashMap<OrgId, Arc<OrgPolicies>>>,
    epochs: Arc<Epochs>,
}

impl Authorizer {
    /// With the built-in policies.
    ///
    /// # Panics
    /// Never: that schema and policies are right is tested.
    pub fn new(epochs: Arc<Epochs>) -> Self {
        let (schema, _) = Schema::from_cedarschema_str(SCHEMA).expect("the built-in schema parses");
        let platform = set_of(&parse(PLATFORM, &schema, "platform").expect("the built-in policies are valid"));
        Self { cedar: cedar_policy::Authorizer::new(), schema, platform, orgs: RwLock::default(), epochs }
    }

    /// The counters that end permits.
    pub fn epochs(&self) -> &Arc<Epochs> {
        &self.epochs
    }

    /// Whether a text could be an organization's policies.
    pub fn check_policies(&self, org: &OrgId, text: &str) -> Result<(), PolicyError> {
        OrgPolicies::compile(org, text, &self.schema).map(drop)
    }

    /// Puts an organization's policies in force, in place of those it had. Every permit that rests on them ends.
    pub fn set_policies(&self, org: &OrgId, text: &str) -> Result<(), PolicyError> {
        let compiled = Arc::new(OrgPolicies::compile(org, text, &self.schema)?);
        self.orgs.write().unwrap_or_else(PoisonError::into_inner).insert(org.clone(), compiled);
        self.epochs.bump(&Scope::Org(org.clone()));
        Ok(())
    }

    /// Takes an organization's policies out of force.
    pub fn remove_policies(&self, org: &OrgId) {
        self.orgs.write().unwrap_or_else(PoisonError::into_inner).remove(org);
        self.epochs.bump(&Scope::Org(org.clone()));
    }

    /// The epochs that a decision about these rests on. Take it before reading any other fact.
    pub fn snapshot(
        &self,
        principal: &tradelane_model::PrincipalId,
        org: &OrgId,
        owner: Option<&OrgId>,
        product: Option<&tradelane_model::ProductId>,
        grant: Option<&tradelane_model::GrantId>,
    ) -> Snapshot {
        let owner = owner.filter(|owner| *owner != org);
        self.epochs.snapshot([
            Some(Scope::Principal(principal.clone())),
            Some(Scope::Org(org.clone())),
            owner.cloned().map(Scope::Org),
            product.cloned().map(Scope::Product),
            grant.cloned().map(Scope::Grant),
        ])
    }

    /// Answers a question. What no policy allows, what one forbids, and what cannot be evaluated is denied.
    pub fn authorize(&self, request: Request<'_>) -> Result<Permit, Denial> {
        if request.principal.organization != request.org.id {
            return Err(Denial::new(Vec::new(), "The principal is not of this organization."));
        }
        if request.now >= request.until {
            return Err(Denial::new(Vec::new(), "The credentials have expired."));
        }
        let granted = self.live_grant(&request);
        let question = ask(&request, granted, &self.schema);
        let question = question.ok_or_else(|| Denial::new(Vec::new(), "The facts cannot be put to the policies."))?;
        let mut allowed = self.judge(&self.platform, &question)?;
        for (policies, permits_count) in self.applicable(&request) {
            for set in policies {
                let yes = self.judge(&set.get(), &question)?;
                allowed |= yes && permits_count;
            }
        }
        if !allowed {
            let action = request.action.as_str();
            return Err(Denial::new(Vec::new(), format!("No policy allows this caller to {action} here.")));
        }
        Ok(permit(request, granted))
    }

    /// The grant, if it is for this product, this consumer and this purpose, and alive.
    fn live_grant<'a>(&self, request: &Request<'a>) -> Option<&'a Grant> {
        let Resource::Product { product, .. } = request.resource else { return None };
        request.grant.filter(|grant| {
            grant.product == product.id
                && grant.consumer == request.org.id
                && grant.is_live(request.now)
                && request.purpose.is_none_or(|purpose| purpose == grant.purpose)
        })
    }

    /// Policies of organizations that apply, and whether their permits count: an owner may allow what is done to its
    /// own; where a principal acts on what is another's, its organization can only forbid.
    fn applicable(&self, request: &Request<'_>) -> Vec<(Vec<Slice>, bool)> {
        let orgs = self.orgs.read().unwrap_or_else(PoisonError::into_inner);
        let (owner, product) = match request.resource {
            Resource::Hub => (None, None),
            Resource::Organization(org) => (Some(&org.id), None),
            Resource::Product { product, owner, .. } => (Some(&owner.id), Some(&product.id)),
        };
        let mut applicable = Vec::new();
        if let Some(policies) = owner.and_then(|owner| orgs.get(owner)) {
            let mut slices = vec![Slice::General(Arc::clone(policies))];
            let named = product.filter(|product| policies.by_product.contains_key(*product));
            slices.extend(named.map(|product| Slice::Product(Arc::clone(policies), product.clone())));
            applicable.push((slices, true));
        }
        if let Some(policies) = orgs.get(&request.org.id)
            && owner != Some(&request.org.id)
        {
            applicable.push((vec![Slice::Forbids(Arc::clone(policies))], false));
        }
        applicable
    }

    /// Whether a set allows it; a denial if one of the set's policies forbids it or cannot be evaluated.
    fn judge(&self, set: &PolicySet, question: &Question) -> Result<bool, Denial> {
        let response = self.cedar.is_authorized(&question.request, set, &question.entities);
        let diagnostics = response.diagnostics();
        if let Some(error) = diagnostics.errors().next() {
            let cedar_policy::AuthorizationError::PolicyEvaluationError(error) = error;
            let id = error.policy_id().to_string();
            return Err(Denial::new(vec![id], "A policy could not be evaluated; its author must correct it."));
        }
        if response.decision() == Decision::Allow {
            return Ok(true);
        }
        let mut forbidding: Vec<String> = diagnostics.reason().map(ToString::to_string).collect();
        forbidding.sort();
        let Some(first) = diagnostics.reason().min() else { return Ok(false) };
        let reason = set.annotation(first, "reason").filter(|reason| !reason.is_empty());
        let sentence = reason.map_or_else(|| format!("Policy {first} forbids this."), str::to_owned);
        Err(Denial::new(forbidding, sentence))
    }
}

/// A part of an organization's policies.
enum Slice {
    General(Arc<OrgPolicies>),
    Product(Arc<OrgPolicies>, tradelane_model::ProductId),
    Forbids(Arc<OrgPolicies>),
}

impl Slice {
    fn get(&self) -> std::borrow::Cow<'_, PolicySet> {
        use std::borrow::Cow;
        match self {
            Self::General(policies) => Cow::Borrowed(&policies.general),
            Self::Product(policies, product) => {
                policies.by_product.get(product).map_or_else(|| Cow::Owned(PolicySet::new()), Cow::Borrowed)
            }
            Self::Forbids(policies) => Cow::Borrowed(&policies.forbids),
        }
    }
}

fn permit(request: Request<'_>, grant: Option<&Grant>) -> Permit {
    let (owner, product) = match request.resource {
        Resource::Hub => (None, None),
        Resource::Organization(org) => (Some(org.id.clone()), None),
        Resource::Product { product, owner, .. } => (Some(owner.id.clone()), Some(product.id.clone())),
    };
    // An owner that reads its own needs no grant, and is not bound by the end of one.
    let grant = grant.filter(|_| owner.as_ref() != Some(&request.org.id));
    let end = grant.and_then(|grant| grant.conditions.expires).unwrap_or(Timestamp::MAX);
    let purpose = request.purpose.or(grant.map(|grant| grant.purpose.as_str()));
    Permit {
        principal: request.principal.id.clone(),
        org: request.org.id.clone(),
        action: request.action,
        owner,
        product,
        grant: grant.map(|grant| grant.id.clone()),
        purpose: purpose.map(str::to_owned),
        expires: request.now.plus_seconds(PERMIT_SECONDS).min(request.until).min(end),
        snapshot: request.snapshot,
    }
}

/// A request in Cedar's terms.
struct Question {
    request: cedar_policy::Request,
    entities: Entities,
}

fn ask(request: &Request<'_>, grant: Option<&Grant>, schema: &Schema) -> Option<Question> {
    let principal = uid("Principal", request.principal.id.as_str())?;
    let mut entities = vec![organization(request.org)?, principal_entity(request.principal)?];
    for role in &request.principal.roles {
        entities.push(Entity::new_no_attrs(uid("Role", role.as_str())?, HashSet::new()));
    }
    let resource = match request.resource {
        Resource::Hub => {
            let hub = uid("Hub", "hub")?;
            entities.push(Entity::new_no_attrs(hub.clone(), HashSet::new()));
            hub
        }
        Resource::Organization(org) => {
            if org.id != request.org.id {
                entities.push(organization(org)?);
            }
            uid("Organization", org.id.as_str())?
        }
        Resource::Product { product, owner, region, classes } => {
            if owner.id != request.org.id {
                entities.push(organization(owner)?);
            }
            entities.push(product_entity(product, owner, region, classes)?);
            uid("Product", product.id.as_str())?
        }
    };
    let action = uid("Action", request.action.as_str())?;
    let context = Context::from_pairs(facts(request, grant)).ok()?;
    Some(Question {
        request: cedar_policy::Request::new(principal, action, resource, context, Some(schema)).ok()?,
        entities: Entities::from_entities(entities, Some(schema)).ok()?,
    })
}

fn uid(kind: &str, id: &str) -> Option<EntityUid> {
    let kind: EntityTypeName = kind.parse().ok()?;
    Some(EntityUid::from_type_name_and_id(kind, EntityId::new(id)))
}

fn organization(org: &Organization) -> Option<Entity> {
    let attributes = [("suspended".to_owned(), RestrictedExpression::new_bool(org.suspended))];
    Entity::new_with_tags(uid("Organization", org.id.as_str())?, attributes, [], tags(&org.attributes)).ok()
}

fn principal_entity(principal: &Principal) -> Option<Entity> {
    let kind = serde_json::to_value(principal.kind).ok()?;
    let attributes = [
        ("organization".to_owned(), reference("Organization", principal.organization.as_str())?),
        ("kind".to_owned(), RestrictedExpression::new_string(kind.as_str()?.to_owned())),
        ("suspended".to_owned(), RestrictedExpression::new_bool(principal.suspended)),
    ];
    let roles: Option<Vec<EntityUid>> = principal.roles.iter().map(|role| uid("Role", role.as_str())).collect();
    let id = uid("Principal", principal.id.as_str())?;
    Entity::new_with_tags(id, attributes, roles?, tags(&principal.attributes)).ok()
}

fn product_entity(product: &Product, owner: &Organization, region: Option<&str>, classes: &[Class]) -> Option<Entity> {
    let mut attributes = HashMap::from([
        ("owner".to_owned(), reference("Organization", owner.id.as_str())?),
        ("contract".to_owned(), RestrictedExpression::new_string(product.contract.to_string())),
        ("classes".to_owned(), words(classes.iter().map(ToString::to_string))),
    ]);
    if let Some(region) = region {
        attributes.insert("region".to_owned(), RestrictedExpression::new_string(region.to_owned()));
    }
    Entity::new(uid("Product", product.id.as_str())?, attributes, HashSet::new()).ok()
}

fn reference(kind: &str, id: &str) -> Option<RestrictedExpression> {
    uid(kind, id).map(RestrictedExpression::new_entity_uid)
}

fn words(words: impl IntoIterator<Item = String>) -> RestrictedExpression {
    RestrictedExpression::new_set(words.into_iter().map(RestrictedExpression::new_string))
}

/// Attributes as tags: each a set of words. What is neither a scalar nor a list of scalars has none.
fn tags(attributes: &BTreeMap<String, serde_json::Value>) -> Vec<(String, RestrictedExpression)> {
    let word = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => Some(text.clone()),
        serde_json::Value::Bool(_) | serde_json::Value::Number(_) => Some(value.to_string()),
        _ => None,
    };
    let tag = |(name, value): (&String, &serde_json::Value)| {
        let set: Option<Vec<String>> = match value {
            serde_json::Value::Array(values) => values.iter().map(word).collect(),
            value => word(value).map(|word| vec![word]),
        };
        set.map(|set| (name.clone(), words(set)))
    };
    attributes.iter().filter_map(tag).collect()
}

fn facts(request: &Request<'_>, grant: Option<&Grant>) -> Vec<(String, RestrictedExpression)> {
    let seconds = request.now.seconds();
    let days = seconds.div_euclid(86_400);
    let text = |text: &str| RestrictedExpression::new_string(text.to_owned());
    let whole = Timestamp(seconds.saturating_mul(1_000_000)).to_string();
    let mut facts = vec![
        ("now", RestrictedExpression::new_datetime(whole)),
        ("hour", RestrictedExpression::new_long(seconds.rem_euclid(86_400) / 3_600)),
        // 1970-01-01 was a Thursday.
        ("weekday", RestrictedExpression::new_long((days + 3).rem_euclid(7) + 1)),
        ("granted", RestrictedExpression::new_bool(grant.is_some())),
        ("classes", words(request.reveals.iter().map(ToString::to_string))),
    ];
    let purpose = request.purpose.or(grant.map(|grant| grant.purpose.as_str()));
    facts.extend(purpose.map(|purpose| ("purpose", text(purpose))));
    facts.extend(request.region.map(|region| ("region", text(region))));
    facts.extend(request.ip.map(|ip| ("ip", RestrictedExpression::new_ip(ip.to_string()))));
    facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
