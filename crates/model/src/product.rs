//! Data products.

use serde::{Deserialize, Serialize};

use crate::id::{ContractId, OrgId, ProductId};

/// What the events of a product are, beyond what their contract says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// JSON documents, checked against the contract's schema.
    #[default]
    Json,
    /// EPCIS 2.0 events, checked against the standard's rules and the contract's.
    Epcis,
    /// Avro's binary encoding of one datum, checked against the contract's Avro schema.
    Avro,
    /// Protobuf's binary encoding of one message, checked against the contract's Protobuf schema.
    Protobuf,
}

/// A named stream of events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Product {
    /// Its id, unique on the hub.
    pub id: ProductId,
    /// Whose it is.
    pub owner: OrgId,
    /// Its name for people.
    #[serde(default)]
    pub name: String,
    /// What it is for, for the catalog.
    #[serde(default)]
    pub description: String,
    /// The contract that its events keep.
    pub contract: ContractId,
    /// Is it in the catalog of every organization, or only of those with a grant?
    #[serde(default = "yes")]
    pub discoverable: bool,
    /// How many sequences its events are spread over, 1 to [`MAX_PARTITIONS`]. May grow, never shrink. Events of one
    /// partition have an order; those of different ones have none.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub partitions: u32,
    /// How its events are made smaller before they are encrypted. What is stored already stays as it is.
    #[serde(default, skip_serializing_if = "Compression::is_none")]
    pub compression: Compression,
    /// What becomes of its older events.
    #[serde(default, skip_serializing_if = "Cleanup::is_delete")]
    pub cleanup: Cleanup,
}

/// What becomes of a product's older events: Kafka's `cleanup.policy`. What the contract's retention says holds beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum Cleanup {
    /// They stay for as long as the contract says.
    #[default]
    Delete,
    /// Of the events of each key only the last one stays, and every event has a key.
    Compact,
}

impl Cleanup {
    /// Do events stay, later ones or not?
    pub fn is_delete(&self) -> bool {
        *self == Self::Delete
    }
}

/// How an event is made smaller before its public part is encrypted, one by one. A batch of sealed events does not compress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// Each event by itself.
    Event,
    /// Each event with a dictionary of what the product's events have in common, once there is one.
    Dictionary,
}

impl Compression {
    /// Are events left as they are?
    pub fn is_none(&self) -> bool {
        *self == Self::None
    }
}

/// The most partitions of a product.
pub const MAX_PARTITIONS: u32 = 256;

fn yes() -> bool {
    true
}

fn one() -> u32 {
    1
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
fn is_one(partitions: &u32) -> bool {
    *partitions == 1
}
