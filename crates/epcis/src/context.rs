//! `@context`: which namespace prefixes a document or an event declares. Remote contexts are never fetched: that of EPCIS
//! is built in, any other is noted as unknown. Knows nothing of what the prefixes are used for.

use std::borrow::Cow;

use tradelane_tape::{Kind, Node};

/// What GS1's EPCIS context declares.
const STANDARD: &[(&str, &str)] = &[
    ("cbv", "https://ref.gs1.org/cbv/"),
    ("cbvmda", "urn:epcglobal:cbv:mda:"),
    ("dcterms", "http://purl.org/dc/terms/"),
    ("epcis", "https://ref.gs1.org/epcis/"),
    ("gs1", "https://gs1.org/voc/"),
    ("owl", "http://www.w3.org/2002/07/owl#"),
    ("rdfs", "http://www.w3.org/2000/01/rdf-schema#"),
    ("xsd", "http://www.w3.org/2001/XMLSchema#"),
];

/// Most prefixes that are kept of one context; a document has a handful.
const MOST_PREFIXES: usize = 1000;

/// The prefixes in force at some place of a document: the standard's, then the document's, then the event's own.
#[derive(Debug, Clone, Default)]
pub struct Context<'a> {
    declared: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    foreign: bool,
}

/// Whether a context's URI names GS1's own EPCIS context, of any version and at any of the places it was published.
fn is_epcis_context(uri: &str) -> bool {
    uri.ends_with("epcis-context.jsonld") || uri.starts_with("https://ref.gs1.org/")
}

impl<'a> Context<'a> {
    /// Reads the value of `@context`.
    pub fn of(node: Node<'a>) -> Self {
        let mut context = Self::default();
        context.add(node);
        context
    }

    /// The context of what should have one and has not: prefixes may be declared anywhere, so none is called undeclared.
    pub fn out_of_sight() -> Self {
        Self { declared: Vec::new(), foreign: true }
    }

    /// This context with another one, of an inner object, on top. `None` leaves it as it is.
    pub fn with(&self, inner: Option<Node<'a>>) -> Cow<'_, Self> {
        match inner {
            None => Cow::Borrowed(self),
            Some(node) => {
                let mut context = self.clone();
                context.add(node);
                Cow::Owned(context)
            }
        }
    }

    fn add(&mut self, node: Node<'a>) {
        match node.kind() {
            Kind::String => {
                let uri = node.as_str().unwrap_or_default();
                self.foreign |= !is_epcis_context(&uri);
            }
            Kind::Array => {
                node.elements().filter(|inner| inner.kind() != Kind::Array).for_each(|inner| self.add(inner))
            }
            Kind::Object => {
                for (key, value) in node.members() {
                    // The expanded form of a term definition, {"@id": ...}, declares a prefix just as a string does.
                    let namespace = value.as_str().or_else(|| value.get("@id").and_then(|id| id.as_str()));
                    let prefix = key.as_str();
                    if let Some(namespace) = namespace
                        && !prefix.starts_with('@')
                        && self.declared.len() < MOST_PREFIXES
                    {
                        self.declared.push((prefix, namespace));
                    }
                }
            }
            _ => {}
        }
    }

    /// The namespace of a prefix; the innermost declaration counts.
    pub fn namespace(&self, prefix: &str) -> Option<&str> {
        let declared =
            self.declared.iter().rev().find(|(name, _)| name == prefix).map(|(_, namespace)| namespace.as_ref());
        declared.or_else(|| STANDARD.iter().find(|(name, _)| *name == prefix).map(|(_, namespace)| *namespace))
    }

    /// Whether a remote context is referred to that is not built in, so that a prefix may be declared out of sight.
    pub fn is_partly_unknown(&self) -> bool {
        self.foreign
    }

    /// Expands `prefix:local` when the prefix is declared; any other text stays as it is.
    pub fn expand<'t>(&self, text: &'t str) -> Cow<'t, str> {
        match text.split_once(':') {
            Some((prefix, local)) if !local.starts_with("//") => match self.namespace(prefix) {
                Some(namespace) => Cow::Owned(format!("{namespace}{local}")),
                None => Cow::Borrowed(text),
            },
            _ => Cow::Borrowed(text),
        }
    }

    /// Namespace and local name of a key: declared prefix, or a full URI split after its last `/`, `#` or `:`.
    /// `None` for a key without namespace.
    pub fn split_key<'t>(&'t self, key: &'t str) -> Option<(&'t str, &'t str)> {
        let (prefix, local) = key.split_once(':')?;
        if !local.starts_with("//")
            && let Some(namespace) = self.namespace(prefix)
        {
            return Some((namespace, local));
        }
        let longest = self
            .declared
            .iter()
            .map(|(_, namespace)| namespace.as_ref())
            .chain(STANDARD.iter().map(|(_, namespace)| *namespace))
            .filter(|namespace| key.starts_with(namespace) && key.len() > namespace.len())
            .map(str::len)
            .max();
        let end = match longest {
            Some(end) => end,
            None => key.rfind(['/', '#', ':'])? + 1,
        };
        Some((key.get(..end)?, key.get(end..)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tradelane_tape::{Limits, Tape};

    fn with(json: &str, check: impl FnOnce(&Context<'_>)) {
        let mut tape = Tape::new();
        let doc = tape.parse(json.as_bytes(), &Limits::default()).expect("valid JSON");
        check(&Context::of(doc.root()));
    }

    #[test]
    fn prefixes_are_found_in_every_shape_of_context() {
        let json = r#"["https://ref.gs1.org/standards/epcis/epcis-context.jsonld", {"ex": "https://ex.com/"}, {"y": {"@id": "urn:y:"}}]"#;
        with(json, |context| {
            assert_eq!(context.namespace("ex"), Some("https://ex.com/"));
            assert_eq!(context.namespace("y"), Some("urn:y:"));
            assert_eq!(context.namespace("gs1"), Some("https://gs1.org/voc/"));
            assert_eq!(context.namespace("z"), None);
            assert!(!context.is_partly_unknown());
            assert_eq!(context.expand("ex:a"), "https://ex.com/a");
            assert_eq!(context.expand("https://ex.com/a"), "https://ex.com/a");
        });
    }

    #[test]
    fn a_foreign_remote_context_is_noted() {
        with(r#""https://schema.org/""#, |context| assert!(context.is_partly_unknown()));
    }

    #[test]
    fn a_full_uri_key_splits_as_its_prefixed_form_does() {
        with(r#"{"ex": "https://ex.com/ns/"}"#, |context| {
            assert_eq!(context.split_key("ex:a/b"), Some(("https://ex.com/ns/", "a/b")));
            assert_eq!(context.split_key("https://ex.com/ns/a/b"), Some(("https://ex.com/ns/", "a/b")));
            assert_eq!(context.split_key("https://other.com/x#y"), Some(("https://other.com/x#", "y")));
            assert_eq!(context.split_key("plain"), None);
        });
    }
}
