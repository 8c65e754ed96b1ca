//! Names of things. Every id is a short, printable, case-sensitive word that is safe in a URL, a file name, a log
//! line and an audit leaf: `[a-z0-9][a-z0-9._-]{0,62}`.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A word that is no id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a {0} is 1 to 63 characters of a-z, 0-9, '.', '_' or '-', and starts with a letter or digit")]
pub struct InvalidId(pub &'static str);

fn check(word: &str, kind: &'static str) -> Result<(), InvalidId> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = word.as_bytes();
    let ok = matches!(bytes.first(), Some(&first) if plain(first))
        && bytes.len() <= 63
        && bytes.iter().all(|&b| plain(b) || matches!(b, b'.' | b'_' | b'-'));
    if ok { Ok(()) } else { Err(InvalidId(kind)) }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(word: &str) -> Result<Self, InvalidId> {
                check(word, $kind).map(|()| Self(Arc::from(word)))
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(word: String) -> Result<Self, InvalidId> {
                word.parse()
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

id!(/** An organization: a tenant of the hub. */ OrgId, "organization id");
id!(/** A user, service, device or peer hub of one organization. */ PrincipalId, "principal id");
id!(/** A data product: a named stream of events. */ ProductId, "product id");
id!(/** A data contract (the `id` of its ODCS document). */ ContractId, "contract id");
id!(/** A grant. */ GrantId, "grant id");
id!(/** An API key or an OAuth client secret. */ CredentialId, "credential id");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_word_that_is_safe_everywhere() {
        for good in ["a", "acme", "acme.stock-v2", "0", "x_y"] {
            assert_eq!(good.parse::<OrgId>().unwrap().as_str(), good);
        }
        let long = "a".repeat(64);
        for bad in ["", "A", ".a", "-a", "a b", "a/b", "ä", "a\n", long.as_str()] {
            assert!(bad.parse::<OrgId>().is_err(), "{bad:?}");
        }
    }
}
