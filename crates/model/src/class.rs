//! Classes of fields, from least to most restricted.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What a field is. Five classes are built in; an owner may add its own, which are as restricted as the owner says.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Class(Arc<str>);

impl Class {
    /// Anyone with a grant may see it.
    pub const PUBLIC: &'static str = "public";
    /// Of no harm to a partner with a grant; shown unless a view says otherwise.
    pub const INTERNAL: &'static str = "internal";
    /// Commercial secrets.
    pub const CONFIDENTIAL: &'static str = "confidential";
    /// Data of a person.
    pub const PII: &'static str = "pii";
    /// Data of a person that can harm them.
    pub const SENSITIVE_PII: &'static str = "sensitive-pii";
    /// What no rule names: more restricted than anything that has a name.
    pub const UNCLASSIFIED: &'static str = "unclassified";

    /// The class of that name. `restricted`, a word other contracts use, reads as `confidential`.
    pub fn named(name: &str) -> Option<Self> {
        let name = if name == "restricted" { Self::CONFIDENTIAL } else { name };
        let ok = !name.is_empty()
            && name.len() <= 63
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_');
        ok.then(|| Self(Arc::from(name)))
    }

    /// The class of whatever no rule names.
    pub fn unclassified() -> Self {
        Self(Arc::from(Self::UNCLASSIFIED))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// How restricted a built-in class is; `None` for an owner's own.
    pub fn builtin_rank(&self) -> Option<u16> {
        match self.as_str() {
            Self::PUBLIC => Some(0),
            Self::INTERNAL => Some(100),
            Self::CONFIDENTIAL => Some(200),
            Self::PII => Some(300),
            Self::SENSITIVE_PII => Some(400),
            Self::UNCLASSIFIED => Some(u16::MAX),
            _ => None,
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Class {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Class {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::named(&name)
            .ok_or_else(|| serde::de::Error::custom("a class is 1 to 63 characters of a-z, 0-9, '-' or '_'"))
    }
}
