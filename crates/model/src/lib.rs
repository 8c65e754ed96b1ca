//! Tradelane's words as types: organizations, principals, products, data contracts, grants, views, and the journal
//! of changes that turns one state of the world into the next.
//!
//! Everything here is pure: no clock, no randomness, no file, no socket. It does not know how events are sealed,
//! how decisions are made, or how anything is stored.

pub mod class;
pub mod codes;
pub mod contract;
pub mod evolution;
pub mod grant;
pub mod id;
pub mod journal;
pub mod manifest;
pub mod native;
pub mod organization;
pub mod pattern;
pub mod plan;
pub mod product;
pub mod records;
pub mod references;
pub mod registry;
pub mod shape;
pub mod state;
pub mod time;
pub mod topic;
pub mod view;

pub use class::Class;
pub use codes::ErrorCode;
pub use contract::Contract;
pub use grant::{Grant, GrantState};
pub use id::{ContractId, CredentialId, GrantId, OrgId, PrincipalId, ProductId};
pub use journal::{Change, Entry};
pub use organization::{Credential, Organization, Principal, Role};
pub use product::{Cleanup, Compression, Product};
pub use shape::Shape;
pub use state::Model;
pub use time::Timestamp;
pub use topic::TopicName;
pub use view::{Action, ViewSpec};
