//! What can go wrong, at each edge of the crate. Nothing here ever carries a value of an event.

use tradelane_model::pattern::Pattern;
use tradelane_model::{Class, ErrorCode, codes};

/// A shape that cannot be compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// More places than rule numbers.
    #[error("the contract names more than 32,767 places; split the product")]
    TooManyPlaces,
    /// More classes than can be told apart in an audit leaf.
    #[error("the contract uses more than 64 classes; merge some")]
    TooManyClasses,
    /// A subject inside an array that its field is not inside.
    #[error(
        "the subject {subject} of {at} is inside an array that {at} is not inside, so it names no single person; move it"
    )]
    AmbiguousSubject {
        /// The field.
        at: Pattern,
        /// Where its subject was said to be.
        subject: Pattern,
    },
}

impl ShapeError {
    /// The stable code.
    pub fn code(&self) -> ErrorCode {
        codes::CONTRACT_INVALID
    }
}

/// A document that cannot be cut into skeleton and holes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LocateError {
    /// A name with what surrounds it is longer than the format's field.
    #[error("the event has more than 65,535 bytes between two values; remove blanks or shorten names")]
    WideGap,
    /// More people (and classes) in one event than sections.
    #[error("the event holds data of more than 4,000 different people; split it")]
    TooManySubjects,
    /// Deeper than the walk goes.
    #[error("the event is nested deeper than 256 levels")]
    TooDeep,
}

impl LocateError {
    /// The stable code.
    pub fn code(&self) -> ErrorCode {
        codes::TOO_LARGE
    }
}

/// A located event that could not be sealed. Nothing was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The caller promised a key for every subject that was located.
    #[error("a data key that sealing needs is not at hand; retry")]
    MissingKey,
    /// Its nonces are counted, and the count has reached the cap.
    #[error("the log key has sealed as many events as it may; the hub must make a new one")]
    LogKeyUsedUp,
    /// Above what the format can number.
    #[error("the event is too large to be sealed")]
    TooLarge,
}

impl SealError {
    /// The stable code.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::MissingKey | Self::LogKeyUsedUp => codes::OVERLOADED,
            Self::TooLarge => codes::TOO_LARGE,
        }
    }
}

/// A view that cannot be compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ViewError {
    /// A field action for a place that the contract does not name.
    #[error(
        "the view has an action for {0}, which the contract does not name as a place of its own; name it in the contract first"
    )]
    UnknownField(Pattern),
    /// Values that are not sealed have no key from which a token could be derived.
    #[error("the view makes tokens of {at}, which is {class}; tokens are for sealed classes (confidential and above)")]
    TokenOfOpenField {
        /// The field.
        at: Pattern,
        /// Its class.
        class: Class,
    },
    /// Parameters out of range.
    #[error("{0}")]
    BadAction(String),
    /// The shape that the contract's fields compile to, with the view's, is too large.
    #[error(transparent)]
    Shape(#[from] ShapeError),
}

impl ViewError {
    /// The stable code.
    pub fn code(&self) -> ErrorCode {
        codes::MANIFEST_INVALID
    }
}

/// Why a record is not shown at all: the caller quarantines it with this reason and goes on with the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Withheld {
    /// Not in the form of a sealed event, or of a version that this release does not read.
    #[error("the record is not a sealed event that this release can read")]
    Malformed,
    /// Its bytes are not those that were sealed, or belong to another product.
    #[error("the record does not authenticate: it was changed, moved or mixed with another")]
    Corrupt,
    /// The log key is not known here.
    #[error("the record's log key is not in the key store")]
    UnknownLogKey,
    /// The dictionary is not known here.
    #[error("the record was compressed with a dictionary of its product that is not in the store")]
    UnknownDictionary,
    /// A data key is neither live nor destroyed.
    #[error("a data key of the record is not in the key store")]
    MissingKey,
    /// The view was compiled for another version of the contract.
    #[error("the record was sealed under another version of its contract than this view reads")]
    OtherShape,
    /// The current contract cannot be applied to the old record.
    #[error("the record cannot be classified anew under the current contract")]
    Unclassifiable,
    /// The event is of another version of the contract than its reader reads, into whose form it cannot be brought.
    #[error("the record is of another version of its contract than the reader's, and cannot be shown in that one")]
    OtherVersion,
    /// There is no such version of the product's contract: the record is none of this hub's making.
    #[error("the record names a version of its contract that there is not")]
    UnknownVersion,
}

impl Withheld {
    /// The stable code.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::OtherShape => codes::INTERNAL,
            _ => codes::STORAGE_CORRUPT,
        }
    }

    /// A short stable word for metrics and audit.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Corrupt => "corrupt",
            Self::UnknownLogKey => "unknown-log-key",
            Self::UnknownDictionary => "unknown-dictionary",
            Self::MissingKey => "missing-key",
            Self::OtherShape => "other-shape",
            Self::Unclassifiable => "unclassifiable",
            Self::OtherVersion => "other-version",
            Self::UnknownVersion => "unknown-version",
        }
    }
}
