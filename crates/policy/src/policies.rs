//! Cedar policies made ready: parsed, checked strictly against the schema, sliced so that a decision looks only at those
//! that can apply. A text that is not right in every part is refused whole, with the place.

use std::collections::HashMap;

use cedar_policy::{Effect, Policy, PolicyId, PolicySet, ResourceConstraint, Schema, ValidationMode, Validator};
use miette::Diagnostic;
use tradelane_model::{ErrorCode, OrgId, ProductId, codes};

/// Largest policy text of an organization, in bytes.
pub const MAX_TEXT: usize = 64 * 1024;
/// Most policies of an organization.
pub const MAX_POLICIES: usize = 200;

/// Why an organization's policies are refused. None of them is used then; those in force stay.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// More bytes or policies than allowed.
    #[error("policies of one organization are at most {MAX_POLICIES}, in at most {MAX_TEXT} bytes")]
    TooLarge,
    /// The text is no Cedar.
    #[error("line {line}, column {column}: {what}")]
    Syntax {
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
        /// What the parser says.
        what: String,
    },
    /// A policy speaks of what there is not, or compares what cannot be compared.
    #[error("line {line}, column {column}: policy {policy}: {what}")]
    Invalid {
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
        /// The policy's `@id`, or its number.
        policy: String,
        /// What the validator says.
        what: String,
    },
    /// Something that organizations cannot use.
    #[error("policy {policy}: {what}")]
    Unusable {
        /// The policy's `@id`, or its number.
        policy: String,
        /// What.
        what: &'static str,
    },
}

impl PolicyError {
    /// The stable code for a caller.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::TooLarge => codes::TOO_LARGE,
            _ => codes::FILTER_INVALID,
        }
    }
}

/// One organization's policies, sliced.
#[derive(Debug)]
pub(crate) struct OrgPolicies {
    /// Those that may apply to any of its resources.
    pub(crate) general: PolicySet,
    /// Those that name one product.
    pub(crate) by_product: HashMap<ProductId, PolicySet>,
    /// Its forbids, for what its own people do elsewhere. Its permits mean nothing there: else an organization could
    /// permit itself to read what others own.
    pub(crate) forbids: PolicySet,
}

/// Parses and validates without slicing; used for the platform's policies too.
pub(crate) fn parse(text: &str, schema: &Schema, prefix: &str) -> Result<Vec<Policy>, PolicyError> {
    let set: PolicySet = text.parse().map_err(|errors: cedar_policy::ParseErrors| syntax(text, &errors))?;
    if set.num_of_policies() + set.num_of_templates() > MAX_POLICIES {
        return Err(PolicyError::TooLarge);
    }
    if let Some(template) = set.templates().next() {
        let policy = template.id().to_string();
        return Err(PolicyError::Unusable { policy, what: "templates with ?principal or ?resource are not used here" });
    }
    let result = Validator::new(schema.clone()).validate(&set, ValidationMode::Strict);
    if let Some(error) = result.validation_errors().next() {
        let (line, column) = place(text, first_label(error));
        let policy = set.policy(error.policy_id()).and_then(|policy| policy.annotation("id"));
        let policy = policy.map_or_else(|| error.policy_id().to_string(), str::to_owned);
        return Err(PolicyError::Invalid { line, column, policy, what: error.to_string() });
    }
    let mut policies: Vec<Policy> = Vec::new();
    let mut ids = std::collections::HashSet::new();
    for policy in set.policies() {
        let name = policy.annotation("id").map_or_else(|| policy.id().to_string(), str::to_owned);
        if !ids.insert(name.clone()) {
            return Err(PolicyError::Unusable { policy: name, what: "another policy has the same @id" });
        }
        policies.push(policy.new_id(PolicyId::new(format!("{prefix}:{name}"))));
    }
    Ok(policies)
}

/// Policies as a set; their ids are unique by construction.
pub(crate) fn set_of<'a>(policies: impl IntoIterator<Item = &'a Policy>) -> PolicySet {
    let mut set = PolicySet::new();
    for policy in policies {
        if set.add(policy.clone()).is_err() {
            debug_assert!(false, "ids are unique");
        }
    }
    set
}

impl OrgPolicies {
    pub(crate) fn compile(org: &OrgId, text: &str, schema: &Schema) -> Result<Self, PolicyError> {
        if text.len() > MAX_TEXT {
            return Err(PolicyError::TooLarge);
        }
        let policies = parse(text, schema, org.as_str())?;
        let mut products: HashMap<ProductId, Vec<&Policy>> = HashMap::new();
        let mut general = Vec::new();
        for policy in &policies {
            match only_product(policy) {
                Some(product) => products.entry(product).or_default().push(policy),
                None => general.push(policy),
            }
        }
        Ok(Self {
            general: set_of(general),
            by_product: products.into_iter().map(|(product, policies)| (product, set_of(policies))).collect(),
            forbids: set_of(policies.iter().filter(|policy| policy.effect() == Effect::Forbid)),
        })
    }
}

/// The product that a policy's scope names, if it is for one product only.
fn only_product(policy: &Policy) -> Option<ProductId> {
    match policy.resource_constraint() {
        ResourceConstraint::Eq(uid) if uid.type_name().to_string() == "Product" => uid.id().unescaped().parse().ok(),
        _ => None,
    }
}

fn syntax(text: &str, errors: &cedar_policy::ParseErrors) -> PolicyError {
    let first = errors.iter().next();
    let (line, column) = place(text, first.and_then(|error| first_label(error)));
    let what = first.map_or_else(|| errors.to_string(), ToString::to_string);
    PolicyError::Syntax { line, column, what }
}

fn first_label(error: &dyn Diagnostic) -> Option<usize> {
    error.labels()?.next().map(|label| label.offset())
}

/// Line and column, from 1; of the beginning if the offset is not known.
pub(crate) fn place(text: &str, offset: Option<usize>) -> (usize, usize) {
    let before = offset.and_then(|offset| text.get(..offset)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}
