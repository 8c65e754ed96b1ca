//! Grants: who may read which product, for which purpose, seen how, until when, under which terms.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::evolution::Pin;
use crate::id::{GrantId, OrgId, PrincipalId, ProductId};
use crate::time::Timestamp;
use crate::topic::TopicName;
use crate::view::ViewSpec;

/// Where a grant is in its life: requested -> active -> revoked, or requested -> denied. Expiry is a time, not a state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum GrantState {
    /// The consumer asked; the owner has not answered.
    Requested,
    /// The owner agreed.
    Active {
        /// Who approved.
        by: PrincipalId,
        /// When.
        at: Timestamp,
    },
    /// The owner refused.
    Denied {
        /// Who refused.
        by: PrincipalId,
        /// Why, for the consumer.
        reason: String,
    },
    /// It was active and is no more.
    Revoked {
        /// Who revoked.
        by: PrincipalId,
        /// When.
        at: Timestamp,
        /// Why, for the consumer.
        reason: String,
    },
}

/// What the owner decides about a grant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Conditions {
    /// How the consumer sees an event.
    #[serde(default)]
    pub view: ViewSpec,
    /// Which events it sees: a CEL expression over `event`, `reader` and `now`; none means all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// What the owner asserts of this consumer, as `reader.NAME` in the filter (its SKUs, its regions).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, serde_json::Value>,
    /// When the grant ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// What the consumer agreed to, in words (transfer, onward sharing, deletion).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub terms: String,
    /// The Kafka topic under which the consumer finds the product, and it only; none: the product's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<TopicName>,
}

/// Who may read which product, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Grant {
    /// Its id, unique on the hub.
    pub id: GrantId,
    /// What is read.
    pub product: ProductId,
    /// Who reads.
    pub consumer: OrgId,
    /// What for; one of the contract's purposes.
    pub purpose: String,
    /// What the owner decided.
    #[serde(flatten)]
    pub conditions: Conditions,
    /// Where it is in its life.
    pub status: GrantState,
    /// Pseudonyms and tokens of one epoch cannot be joined with those of another.
    #[serde(default)]
    pub pseudonym_epoch: u32,
    /// The major version of the contract that it stays with while notice of a breaking change is given; none: it reads the
    /// newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<Pin>,
}

impl Grant {
    /// The version that it stays with at that time, if that is an earlier one.
    pub fn pinned(&self, now: Timestamp) -> Option<&Pin> {
        self.pin.as_ref().filter(|pin| now < pin.until)
    }

    /// May it be used at that time?
    pub fn is_live(&self, now: Timestamp) -> bool {
        matches!(self.status, GrantState::Active { .. }) && self.conditions.expires.is_none_or(|end| now < end)
    }
}
