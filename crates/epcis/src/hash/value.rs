//! The one spelling of a value in a pre-hash string. Knows no field.

use std::borrow::Cow;

use tradelane_tape::{Kind, Node};

use crate::context::Context;
use crate::epc::{self, Reading};
use crate::time::DateTime;
use crate::{digital_link, number};

/// A scalar as text; nothing for what has parts of its own.
pub(super) fn text_of<'a>(node: Node<'a>) -> Cow<'a, str> {
    match node.kind() {
        Kind::String => node.as_str().unwrap_or_default(),
        Kind::Number => Cow::Borrowed(node.number_text().unwrap_or_default()),
        Kind::Bool => Cow::Borrowed(if node.as_bool() == Some(true) { "true" } else { "false" }),
        Kind::Null | Kind::Array | Kind::Object => Cow::Borrowed(""),
    }
}

/// A time in UTC with milliseconds; a text that is no time stays as it is.
pub(super) fn time(text: &str) -> String {
    let text = text.trim();
    DateTime::parse(text).map_or_else(|| text.to_owned(), DateTime::to_millis)
}

/// The older URNs of CBV terms as web URIs.
fn web_vocabulary(text: &str) -> Cow<'_, str> {
    let Some(rest) = text.strip_prefix("urn:epcglobal:cbv:") else { return Cow::Borrowed(text) };
    let terms = [("bizstep:", "BizStep-"), ("disp:", "Disp-"), ("btt:", "BTT-"), ("sdt:", "SDT-"), ("er:", "ER-")];
    let found = terms.iter().find_map(|(urn, web)| rest.strip_prefix(urn).map(|word| (web, word)));
    found.map_or(Cow::Borrowed(text), |(web, word)| Cow::Owned(format!("{}{web}{word}", crate::cbv::CBV_WEB)))
}

/// A GS1 key, however it was written, as its constrained canonical Digital Link URI; `None` for anything else.
pub(crate) fn canonical_key(text: &str) -> Option<String> {
    match epc::read(text) {
        Reading::Identity(epc) | Reading::Pattern(epc) => epc.to_digital_link(),
        // A web URI without any dot names no host of the public web; such URIs are compared as they are.
        Reading::Other if text.starts_with("http") && text.contains('.') => digital_link::canonical(text),
        Reading::Other | Reading::Malformed => None,
    }
}

/// Any other value: trimmed, compact URIs expanded, vocabulary in its web form, numbers and GS1 keys in theirs.
pub(super) fn canonical(text: &str, context: &Context<'_>) -> String {
    let expanded = context.expand(text.trim());
    let web = web_vocabulary(&expanded);
    if let Some(number) = number::canonical(&web) {
        return number;
    }
    canonical_key(&web).unwrap_or_else(|| web.into_owned())
}
