//! Tokens turned back into values: for the owner of the data, and on record.

use serde_json::Value;
use tradelane_model::{GrantId, ProductId, codes};

use crate::Hub;
use crate::audit_trail::{DETOKENIZE, hub_leaf};
use crate::authorize::{Act, On};
use crate::doorway::{Audited, Caller};
use crate::error::{HubError, Result};
use crate::keyring::NotingKeys;

impl Hub {
    /// The value behind a token that a reader was given through that grant.
    pub async fn detokenize(
        &self,
        caller: &Caller,
        product: &ProductId,
        grant: &GrantId,
        token: &str,
    ) -> Result<Audited<Value>> {
        self.allow(caller, Act::Detokenize, On::Product(product))?;
        let model = self.model();
        let known =
            model.grants.get(grant).filter(|known| known.product == *product).ok_or_else(HubError::not_found)?;
        let keyring = &self.inner().keyring;
        let open = |keys: &NotingKeys<'_>| tradelane_seal::detokenize(token, known.id.as_str(), keys);
        let opened = keyring.with_data_keys(open).await?;
        let bytes = opened
            .map_err(|error| HubError::new(error.code(), format!("The token cannot be turned back: {error}.")))?;
        let value = serde_json::from_slice(&bytes).map_err(|_| HubError::of(codes::INTERNAL))?;
        let mut leaf = hub_leaf(self.now(), caller, DETOKENIZE);
        leaf.product = Some(product.clone());
        leaf.grant = Some(grant.clone());
        leaf.owner = Some(known.consumer.clone());
        leaf.count = 1;
        self.audited(leaf, value).await
    }
}
