//! What Tradelane does, one file per use case. This page is the product's table of contents.
//!
//! Listeners call [`Hub`] and never see storage, keys or policy; the hub never knows how a listener speaks. Every use
//! case runs through one doorway ([`doorway`]): a [`Caller`] that authentication made, a permit that authorization
//! made, and an [`Audited`] result that the audit made.
//!
//! | who | what |
//! |---|---|
//! | everyone | [`authenticate`], [`catalog`], [`audit_trail`] |
//! | publishers | [`publish`], [`records`], [`capture`] |
//! | consumers | [`read`], [`records`], [`topics`], [`query`], [`access`] |
//! | data owners | [`apply`], [`evolve`], [`registry`], [`access`], [`explain`], [`quarantine`], [`detokenize`] |
//! | administrators | [`credential`], [`apply`] |
//! | privacy officers | [`erase`] |
//! | operators | [`open`], [`elsewhere`], [`health`], [`retention`] |

pub mod access;
pub mod apply;
pub mod audit_trail;
pub mod authenticate;
mod authorize;
mod batch;
pub mod capture;
pub mod catalog;
pub mod clock;
pub mod compact;
mod control;
pub mod credential;
pub mod detokenize;
mod dictionaries;
pub mod doorway;
pub mod elsewhere;
mod envelope;
pub mod erase;
pub mod error;
pub mod evolve;
pub mod explain;
pub mod health;
mod key_field;
mod keyring;
mod native;
pub mod open;
pub mod publish;
pub mod quarantine;
pub mod query;
pub mod read;
pub mod records;
mod references;
pub mod registry;
pub mod retention;
mod state;
pub mod topics;
mod views;

pub use access::AccessRequest;
pub use audit_trail::TrailQuery;
pub use authenticate::{Presented, Proving, Token};
pub use clock::{Clock, SystemClock};
pub use credential::{IssuedCredential, NewCertificate, NewCredential};
pub use doorway::{Audited, Caller};
pub use elsewhere::{BatchNumbers, ClusterError, ClusterLog, Committed};
pub use error::{HubError, Place, Result};
pub use evolve::Notice;
pub use open::{Hub, HubConfig, Opened};
pub use publish::{Body, Part, Publish, Published, Quarantined};
pub use read::{Chunk, From, Page, ReadLimits, Reader};
pub use records::{
    FetchRecords, PublishRecords, RecordBounds, RecordsOutcome, RecordsPage, RefusedRecord, RenderedPage, SealOutcome,
    SealedRecords, StoredRecords, UnrecordedPage,
};
pub use registry::{NewSchema, SchemaRecord, SchemaSetting, SchemaSettings, SubjectQuery, WhichVersion};
pub use state::Space;
pub use topics::Topic;
