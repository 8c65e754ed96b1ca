//! The journal: every change to the control plane, in order.
//!
//! An [`Entry`] is stored as its JSON (`docs/formats/control-store.md`). Changes say what *is* after them, not how
//! to get there, so that applying one needs nothing but the state before.

use serde::{Deserialize, Serialize};

use crate::grant::Grant;
use crate::id::{ContractId, CredentialId, GrantId, OrgId, PrincipalId, ProductId};
use crate::organization::{Credential, Organization, Principal};
use crate::product::Product;
use crate::registry::{SchemaText, Settings};
use crate::time::Timestamp;

/// One change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "change", content = "of")]
pub enum Change {
    /// An organization is as given.
    OrganizationPut(Organization),
    /// An organization is no more, and nothing of it works.
    OrganizationDeleted(OrgId),
    /// A principal is as given.
    PrincipalPut(Principal),
    /// A principal is no more.
    PrincipalDeleted(PrincipalId),
    /// A credential was issued.
    CredentialIssued(Credential),
    /// A credential stopped working.
    CredentialRevoked(CredentialId),
    /// A credential that was replaced stops working then, if not before.
    CredentialRetired {
        /// Which.
        id: CredentialId,
        /// When it stops working.
        at: Timestamp,
    },
    /// A contract has a new revision: its document and its owner.
    ContractPut {
        /// Whose contract it is.
        owner: OrgId,
        /// The ODCS document as written.
        text: String,
    },
    /// A contract that no product uses is no more.
    ContractDeleted(ContractId),
    /// A product is as given.
    ProductPut(Product),
    /// A product is no more. Its events are deleted with it.
    ProductDeleted(ProductId),
    /// A grant is as given: requested, approved, denied, changed or revoked.
    GrantPut(Grant),
    /// A request that was never answered, or a grant that ended, is forgotten.
    GrantDeleted(GrantId),
    /// An organization's own Cedar policies are as given; empty text: none.
    PolicyPut {
        /// Whose.
        organization: OrgId,
        /// Cedar policies.
        text: String,
    },
    /// A person's key was destroyed. The commitment says which without naming them.
    SubjectErased {
        /// Whose data it was in.
        organization: OrgId,
        /// HMAC of the identity under a key that was destroyed with it: lower-case hex.
        commitment: String,
    },
    /// A named EPCIS query is as given.
    QueryPut {
        /// Whose query.
        organization: OrgId,
        /// Its name.
        name: String,
        /// Its definition (EPCIS 2.0 query definition document).
        query: serde_json::Value,
    },
    /// A named EPCIS query is no more.
    QueryDeleted {
        /// Whose query.
        organization: OrgId,
        /// Its name.
        name: String,
    },
    /// A subject has a new version.
    SchemaRegistered {
        /// Whose subject.
        owner: OrgId,
        /// Its name.
        subject: String,
        /// The number of the version.
        version: u32,
        /// The id of its schema, new or of an equal one.
        id: u32,
        /// The schema.
        schema: SchemaText,
    },
    /// A version of a subject is deleted.
    SchemaDeleted {
        /// Whose subject.
        owner: OrgId,
        /// Its name.
        subject: String,
        /// The number of the version.
        version: u32,
        /// For good, and not only out of sight.
        permanent: bool,
    },
    /// What is demanded of new versions is as given; nothing: as by default.
    SchemaSettingsPut {
        /// Whose.
        owner: OrgId,
        /// Of this subject; an empty name: of all that have no settings of their own.
        subject: String,
        /// What.
        settings: Settings,
    },
}

/// A change with its who and when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: PrincipalId,
    /// What.
    #[serde(flatten)]
    pub change: Change,
}
