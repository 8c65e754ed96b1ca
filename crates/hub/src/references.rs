//! What a contract's schema refers to, as those who compile schemas want it. The model took it into the revision.

use std::borrow::Cow;

use serde_json::Value;
use tradelane_model::references::SchemaFile;
use tradelane_model::{Contract, codes};
use tradelane_registry::{JsonSchema, Reference};

use crate::error::{HubError, Result};

/// The files, each after what it refers to itself.
pub(crate) fn files(contract: &Contract) -> Vec<Reference> {
    let file = |file: &SchemaFile| Reference { name: file.name.clone(), text: file.text.to_string() };
    contract.files.iter().map(file).collect()
}

/// The JSON Schema of a contract's events, with what it refers to in it.
pub(crate) fn json_schema(contract: &Contract) -> Result<Cow<'_, Value>> {
    if contract.files.is_empty() || contract.native.is_some() {
        return Ok(Cow::Borrowed(&contract.json_schema));
    }
    let files = files(contract);
    let schema = JsonSchema::parse(&contract.json_schema.to_string(), &files);
    let invalid =
        |error| HubError::new(codes::CONTRACT_INVALID, format!("contract {}: jsonSchema: {error}", contract.id));
    Ok(Cow::Owned(schema.map_err(invalid)?.bundled()))
}
