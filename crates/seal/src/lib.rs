//! The sealed event: the boundary around classified data is a storage format.
//!
//! An event is parsed once. [`Rules`] (a contract's shape, compiled) locate its classified fields as byte ranges, and what
//! no rule names counts as the most restricted class. Sealing keeps the document as a skeleton with holes, and the
//! classified values in one encrypted section per class and subject, under that subject's key. A [`View`] (a grant,
//! compiled) renders the event by copying the skeleton and filling the holes: with nothing, with literals, with stand-ins,
//! or with the values themselves where the reader is entitled to them. A reader who is entitled to nothing costs no parse,
//! no key and no decryption.
//!
//! The life of an event as types: [`Located`] -> sealed bytes -> [`OpenedEvent`] -> rendered bytes. Plain text of a
//! classified field exists in this crate only; nothing here prints, logs or returns it in an error.
//!
//! What this crate does not know: contracts' texts, grants, permits, storage, time. Keys come in through
//! [`SealingKeys`] and [`OpeningKeys`]. The stored form is described byte by byte in `docs/formats/sealed-event.md`.
//! Locating is apart from format and rendering: another encoding needs its own `locate`, masks and repair of separators,
//! and brings its own number in the header.

mod append;
#[cfg(feature = "bench")]
pub mod bench_docs;
mod binary;
mod cache;
mod dictionary;
mod error;
mod explain;
mod format;
mod key;
mod locate;
mod mask;
mod open;
mod pack;
mod plans;
mod render;
mod rules;
mod seal;
mod splice;
mod subject;
mod token;
mod values;
mod view;
mod view_schema;

pub use binary::{Agreement, Codec};
pub use dictionary::{Dictionary, MAX_DICTIONARY};
pub use error::{LocateError, SealError, ShapeError, ViewError, Withheld};
pub use explain::FieldExplanation;
pub use format::{Encoding, Header, ProductContext};
pub use key::{DataKey, DataKeyState, LogKey, OpeningKeys, SealingKeys};
pub use locate::Located;
pub use open::OpenedEvent;
pub use pack::Packing;
pub use render::{ClassSet, Rendered, Scratch};
pub use rules::{Rules, Scalar};
pub use subject::{SubjectTag, SubjectTagger};
pub use token::{TokenError, detokenize};
pub use view::{View, ViewKeys};
pub use view_schema::view_schema;
