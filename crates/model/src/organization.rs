//! Organizations, their principals, and what principals prove themselves with.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::id::{CredentialId, OrgId, PrincipalId};
use crate::time::Timestamp;

/// A tenant of the hub.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Organization {
    /// Its id.
    pub id: OrgId,
    /// Its name for people.
    #[serde(default)]
    pub name: String,
    /// What the hub's operator vouches for (region, GLN, ...); row filters and policies may use it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, serde_json::Value>,
    /// Nothing of a suspended organization works.
    #[serde(default)]
    pub suspended: bool,
}

/// What a principal may do in its own organization. Cedar policies give each role its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Runs the hub: organizations, health, retention. Sees no event.
    Operator,
    /// Manages its organization: principals, credentials, policies.
    Admin,
    /// Writes contracts, products and grants; decides on access requests.
    DataOwner,
    /// Publishes events to its organization's products.
    Publisher,
    /// Reads what its organization was granted, and asks for more.
    Consumer,
    /// Reads the audit of its organization.
    Auditor,
    /// Privacy officer: finds and erases subjects.
    Privacy,
    /// Support: explains and looks up without seeing classified values.
    Support,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Operator,
        Self::Admin,
        Self::DataOwner,
        Self::Publisher,
        Self::Consumer,
        Self::Auditor,
        Self::Privacy,
        Self::Support,
    ];

    /// The word that configuration and policies use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Admin => "admin",
            Self::DataOwner => "data-owner",
            Self::Publisher => "publisher",
            Self::Consumer => "consumer",
            Self::Auditor => "auditor",
            Self::Privacy => "privacy",
            Self::Support => "support",
        }
    }
}

/// What kind of actor a principal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum PrincipalKind {
    /// A person.
    User,
    /// A program.
    #[default]
    Service,
    /// A sensor, scanner or gateway.
    Device,
    /// Another hub.
    Peer,
}

/// Someone or something that acts; belongs to one organization.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Principal {
    /// Its id, unique on the hub.
    pub id: PrincipalId,
    /// Its organization.
    pub organization: OrgId,
    /// What it is.
    #[serde(default)]
    pub kind: PrincipalKind,
    /// What it may do.
    #[serde(default)]
    pub roles: BTreeSet<Role>,
    /// Attributes for policies (shift, region, ...).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, serde_json::Value>,
    /// Nothing of a suspended principal works.
    #[serde(default)]
    pub suspended: bool,
}

/// What a credential is presented as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CredentialKind {
    /// A bearer key: `Authorization: Bearer tlk_...` or `X-Api-Key`.
    ApiKey,
    /// An OAuth 2 client secret: exchanged for short-lived tokens.
    ClientSecret,
    /// A client certificate (X.509), whose key the holder proves to have in the TLS handshake.
    Certificate,
}

/// A key or secret of a principal. Only a hash is kept: the secret is shown once, when it is issued.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Credential {
    /// Its id; part of the key that the holder presents.
    pub id: CredentialId,
    /// Who holds it.
    pub principal: PrincipalId,
    /// How it is presented.
    pub kind: CredentialKind,
    /// SHA-256 of the secret under a label of its own, or of the certificate (DER); lower-case hex.
    pub hash: String,
    /// What SCRAM needs of an API key, for clients that prove a key instead of sending it. None for keys that were issued
    /// before there was SCRAM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scram: Option<ScramSecrets>,
    /// When it was issued.
    pub issued: Timestamp,
    /// When it stops working.
    pub expires: Timestamp,
    /// When it was revoked, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Timestamp>,
}

/// Verifiers of one secret, one per hash, as RFC 5803 writes them.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScramSecrets {
    /// For SCRAM-SHA-256.
    pub sha256: String,
    /// For SCRAM-SHA-512.
    pub sha512: String,
}

impl std::fmt::Debug for ScramSecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ScramSecrets(..)")
    }
}

impl Credential {
    /// Does it work at that time?
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.revoked.is_none() && now < self.expires
    }
}
