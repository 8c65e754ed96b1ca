//! Manifests: organizations, principals, contracts, products, grants and policies as the YAML that `apply` reads.
//!
//! A file holds one or more documents between `---` lines. A document of `kind: DataContract` is an ODCS contract;
//! every other document has `apiVersion: tradelane/v1`, a `kind`, and a `spec`.

use serde::Deserialize;
use serde_json::Value;

use crate::contract::Contract;
use crate::grant::Conditions;
use crate::id::{GrantId, OrgId, ProductId};
use crate::organization::{Organization, Principal};
use crate::product::Product;

/// The version that manifests name.
pub const API_VERSION: &str = "tradelane/v1";

/// What one document of a manifest wants to be true.
#[derive(Debug, Clone, PartialEq)]
pub enum Manifest {
    /// An organization.
    Organization(Organization),
    /// A principal.
    Principal(Principal),
    /// A contract: its owner is the organization named in its `tenant`.
    Contract {
        /// Whose it is.
        owner: OrgId,
        /// The contract.
        contract: Box<Contract>,
    },
    /// A product.
    Product(Product),
    /// A grant that the owner gives of its own accord.
    Grant(GrantManifest),
    /// An organization's Cedar policies.
    Policy {
        /// Whose.
        organization: OrgId,
        /// The policies.
        text: String,
    },
}

/// A grant as a manifest says it: active, unless it ends.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GrantManifest {
    /// Its id.
    pub id: GrantId,
    /// What is read.
    pub product: ProductId,
    /// Who reads.
    pub consumer: OrgId,
    /// What for.
    pub purpose: String,
    /// What the owner decided.
    #[serde(flatten)]
    pub conditions: Conditions,
    /// Pseudonyms of one epoch cannot be joined with those of another.
    #[serde(default)]
    pub pseudonym_epoch: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Policy {
    organization: OrgId,
    policies: String,
}

/// Why a manifest cannot be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}, document {document}: {reason}")]
pub struct ManifestError {
    /// The file's name, as the caller gave it.
    pub file: String,
    /// Which document of it, from 1.
    pub document: usize,
    /// What is wrong and what to do.
    pub reason: String,
}

/// Reads all documents of one file, or refuses it whole.
pub fn parse(file: &str, text: &str) -> Result<Vec<Manifest>, ManifestError> {
    let documents = split(text);
    let mut manifests = Vec::new();
    for (i, document) in documents.iter().enumerate() {
        let wrong = |reason: String| ManifestError { file: file.to_owned(), document: i + 1, reason };
        if document.trim().is_empty()
            || document.lines().all(|l| l.trim().is_empty() || l.trim_start().starts_with('#'))
        {
            continue;
        }
        if document.len() > crate::contract::MAX_TEXT {
            return Err(wrong("is larger than 1 MiB".into()));
        }
        manifests.push(parse_one(document).map_err(wrong)?);
    }
    Ok(manifests)
}

/// YAML's document marker stands at the start of a line and nowhere else means anything.
fn split(text: &str) -> Vec<String> {
    let mut documents = vec![String::new()];
    for line in text.lines() {
        if line == "---" || line.starts_with("--- ") {
            documents.push(String::new());
        } else if let Some(last) = documents.last_mut() {
            last.push_str(line);
            last.push('\n');
        }
    }
    documents
}

fn parse_one(text: &str) -> Result<Manifest, String> {
    let document: Value = crate::contract::yaml(text).map_err(|e| format!("not YAML: {e}"))?;
    let kind = document.get("kind").and_then(Value::as_str).ok_or("has no `kind`")?;
    if kind == "DataContract" {
        let owner =
            document.get("tenant").and_then(Value::as_str).ok_or("has no `tenant`: the organization that owns it")?;
        let owner = owner.parse().map_err(|e| format!("/tenant: {e}"))?;
        let contract = Box::new(Contract::parse(text).map_err(|e| e.to_string())?);
        return Ok(Manifest::Contract { owner, contract });
    }
    if document.get("apiVersion").and_then(Value::as_str) != Some(API_VERSION) {
        return Err(format!("`apiVersion` must be {API_VERSION}"));
    }
    if let Some(extra) =
        document.as_object().into_iter().flatten().find(|(k, _)| !["apiVersion", "kind", "spec"].contains(&k.as_str()))
    {
        return Err(format!("`{}` is not a field of a manifest; put it under `spec`", extra.0));
    }
    let spec = document.get("spec").cloned().ok_or("has no `spec`")?;
    match kind {
        "Organization" => from_spec(spec).map(Manifest::Organization),
        "Principal" => from_spec(spec).map(Manifest::Principal),
        "Product" => from_spec(spec).map(Manifest::Product),
        "Grant" => from_spec(spec).map(Manifest::Grant),
        "Policy" => {
            from_spec::<Policy>(spec).map(|p| Manifest::Policy { organization: p.organization, text: p.policies })
        }
        _ => Err("`kind` must be Organization, Principal, DataContract, Product, Grant or Policy".into()),
    }
}

fn from_spec<T: serde::de::DeserializeOwned>(spec: Value) -> Result<T, String> {
    serde_json::from_value(spec).map_err(|e| format!("/spec: {e}"))
}
