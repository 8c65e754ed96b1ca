//! Matching EPCs and EPC classes: exact keys in any of their spellings, and EPC patterns.

use crate::context::Context;
use crate::epc::{self, Epc, Reading, Scheme};
use crate::hash::value::canonical_key;

/// One value of a `MATCH_` parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Matcher {
    /// This key or URI, in its canonical form.
    Exact(String),
    /// An instance of the class with this canonical URI, or the class itself.
    Class { class: String, instances: Vec<String> },
    /// Any key of the scheme whose company prefix is this (or any).
    Prefix { scheme: Scheme, company: Option<String> },
}

/// The one spelling of an identifier.
pub(super) fn canonical(text: &str, context: &Context<'_>) -> String {
    let expanded = context.expand(text);
    canonical_key(&expanded).unwrap_or_else(|| expanded.into_owned())
}

impl Matcher {
    /// Reads a value; `None` if it is an EPC URI that breaks its grammar.
    pub(super) fn of(text: &str, context: &Context<'_>) -> Option<Self> {
        match epc::read(text) {
            Reading::Malformed => None,
            Reading::Pattern(pattern) => Some(Self::pattern(&pattern)),
            Reading::Identity(_) => Some(Self::Exact(canonical(text, context))),
            Reading::Other => {
                let canonical = canonical(text, context);
                // A Digital Link URI of a class names its instances as the pattern with a wildcard serial does.
                let instances = instances_of(&canonical);
                Some(if instances.is_empty() {
                    Self::Exact(canonical)
                } else {
                    Self::Class { class: canonical, instances }
                })
            }
        }
    }

    fn pattern(pattern: &Epc<'_>) -> Self {
        match pattern.to_digital_link() {
            Some(class) => {
                let instances = instances_of(&class);
                Self::Class { class, instances }
            }
            None => Self::Prefix { scheme: pattern.scheme, company: pattern.prefix.value().map(str::to_owned) },
        }
    }

    /// Whether a canonical identifier of an event matches. A class in the event matches only as itself.
    pub(super) fn accepts(&self, canonical: &str) -> bool {
        match self {
            Self::Exact(exact) => exact == canonical,
            Self::Class { class, instances } => {
                let below = |start: &String| canonical.len() > start.len() && canonical.starts_with(start.as_str());
                class == canonical || instances.iter().any(below)
            }
            Self::Prefix { scheme, company } => is_of(*scheme, company.as_deref(), canonical),
        }
    }
}

/// What the canonical URIs of a class's instances start with; nothing when the URI names no class.
fn instances_of(class: &str) -> Vec<String> {
    let Some((ai, key)) = class.strip_prefix("https://id.gs1.org/").and_then(|rest| rest.split_once('/')) else {
        return Vec::new();
    };
    let digits = key.bytes().all(|b| b.is_ascii_digit());
    match (ai, key.len()) {
        ("01", 14) if digits => vec![format!("{class}/21/"), format!("{class}/235/")],
        ("8006", 18) if digits => vec![format!("{class}/21/")],
        ("8003", 14) | ("253" | "255", 13) if digits => vec![class.to_owned()],
        ("8010", _) if !key.contains('/') => vec![format!("{class}/8011/")],
        _ => Vec::new(),
    }
}

/// Whether a canonical URI is an instance of the scheme, with that company prefix.
fn is_of(scheme: Scheme, company: Option<&str>, canonical: &str) -> bool {
    let Some(rest) = canonical.strip_prefix("https://id.gs1.org/") else { return false };
    let Some((ai, key)) = rest.split_once('/') else { return false };
    if ai != scheme.ai() {
        return false;
    }
    let serialized = match scheme {
        Scheme::Sgtin | Scheme::Itip => key.contains("/21/"),
        Scheme::Lgtin => key.contains("/10/"),
        Scheme::Upui => key.contains("/235/"),
        Scheme::Cpi => key.contains("/8011/"),
        Scheme::Grai => key.len() > 14,
        Scheme::Gdti | Scheme::Sgcn => key.len() > 13,
        _ => true,
    };
    // An indicator or extension digit, or the filling zero of a GRAI, stands before the company prefix.
    let shifted =
        matches!(scheme, Scheme::Sgtin | Scheme::Lgtin | Scheme::Upui | Scheme::Itip | Scheme::Sscc | Scheme::Grai);
    let from_company = key.get(usize::from(shifted)..).unwrap_or_default();
    serialized && company.is_none_or(|company| from_company.starts_with(company))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(pattern: &str, epc: &str) -> bool {
        let context = Context::default();
        Matcher::of(pattern, &context).is_some_and(|matcher| matcher.accepts(&canonical(epc, &context)))
    }

    #[test]
    fn an_epc_matches_in_every_spelling() {
        let link = "https://id.gs1.org/01/04012345111118/21/9876";
        let urn = "urn:epc:id:sgtin:4012345.011111.9876";
        assert!(accepts(link, urn) && accepts(urn, link) && accepts(urn, urn));
        assert!(accepts(urn, "https://shop.example/01/04012345111118/21/9876?x=1"));
        assert!(!accepts(urn, "urn:epc:id:sgtin:4012345.011111.98765"));
        assert!(accepts("https://example.com/x", "https://example.com/x"));
    }

    #[test]
    fn a_pattern_matches_its_instances() {
        let urn = "urn:epc:id:sgtin:4012345.011111.9876";
        assert!(accepts("urn:epc:idpat:sgtin:4012345.011111.*", urn));
        assert!(accepts("urn:epc:idpat:sgtin:4012345.*.*", urn));
        assert!(accepts("urn:epc:idpat:sgtin:*.*.*", urn));
        assert!(accepts("https://id.gs1.org/01/04012345111118", urn));
        assert!(!accepts("urn:epc:idpat:sgtin:4012345.011112.*", urn));
        assert!(!accepts("urn:epc:idpat:sgtin:4012346.*.*", urn));
        assert!(!accepts("urn:epc:idpat:sscc:*.*", urn));
        assert!(accepts("urn:epc:idpat:sscc:4012345.*", "urn:epc:id:sscc:4012345.3111111111"));
        assert!(accepts("urn:epc:idpat:grai:4012345.00022.*", "urn:epc:id:grai:4012345.00022.334455"));
    }

    #[test]
    fn a_class_matches_itself_and_a_lot_is_no_instance() {
        let class = "urn:epc:idpat:sgtin:4012345.066666.*";
        assert!(accepts(class, class));
        assert!(!accepts(class, "urn:epc:class:lgtin:4012345.066666.L1"));
        assert!(Matcher::of("urn:epc:idpat:sgtin:40.*", &Context::default()).is_none());
    }
}
