//! What is around the events: document, query document, header with master data, `@context`.

use tradelane_tape::{Kind, Node};

use super::checker::{Checker, Found};
use super::event;
use crate::context::Context;
use crate::rule::Rule;
use crate::uri::is_uri;

/// An `EPCISDocument`; returns how many events it holds.
pub(super) fn capture<'a>(root: Node<'a>, found: &mut Found) -> usize {
    let own = root.get("@context");
    let surrounding = own.map_or_else(Context::out_of_sight, Context::of);
    let mut checker = Checker::new(root, None, &surrounding, found);
    head(root, own, &mut checker);
    for (name, rule) in [("schemaVersion", Rule::SchemaVersion), ("creationDate", Rule::CreationDate)] {
        if root.get(name).is_none() {
            checker.fail(root, rule);
        }
    }
    let list = body(root, &mut checker).and_then(|body| {
        let list = body.get("eventList").filter(|list| list.kind() == Kind::Array);
        if list.is_none() {
            checker.fail(body.get("eventList").unwrap_or(body), Rule::BodyMissing);
        }
        others(body, &["eventList"], &mut checker);
        list
    });
    events(root, list, &surrounding, found)
}

/// An `EPCISQueryDocument`; returns how many events it holds.
pub(super) fn query<'a>(root: Node<'a>, found: &mut Found) -> usize {
    let own = root.get("@context");
    let surrounding = own.map_or_else(Context::out_of_sight, Context::of);
    let mut checker = Checker::new(root, None, &surrounding, found);
    head(root, own, &mut checker);
    let list = body(root, &mut checker).and_then(|body| {
        others(body, &["queryResults"], &mut checker);
        let Some(results) = body.get("queryResults") else {
            checker.fail(body, Rule::BodyMissing);
            return None;
        };
        query_results(results, &mut checker)
    });
    events(root, list, &surrounding, found)
}

fn query_results<'a>(results: Node<'a>, checker: &mut Checker<'_, 'a>) -> Option<Node<'a>> {
    if !checker.is(results, Kind::Object) {
        return None;
    }
    others(results, &["queryName", "subscriptionID", "resultsBody"], checker);
    match results.get("queryName") {
        None => checker.fail(results, Rule::QueryName),
        Some(name) => {
            checker.is(name, Kind::String);
        }
    }
    if let Some(id) = results.get("subscriptionID") {
        checker.is(id, Kind::String);
    }
    let Some(body) = results.get("resultsBody") else {
        checker.fail(results, Rule::QueryName);
        return None;
    };
    if !checker.is(body, Kind::Object) {
        return None;
    }
    others(body, &["eventList", "vocabularyList"], checker);
    if let Some(list) = body.get("vocabularyList") {
        checker.each(list, vocabulary);
    }
    let list = body.get("eventList");
    match list {
        None => checker.fail(body, Rule::QueryName),
        Some(list) => {
            checker.is(list, Kind::Array);
        }
    }
    list
}

fn events<'a>(root: Node<'a>, list: Option<Node<'a>>, surrounding: &Context<'a>, found: &mut Found) -> usize {
    let Some(list) = list else { return 0 };
    for (index, node) in list.elements().enumerate() {
        let context = surrounding.with(node.get("@context"));
        event::event(node, &mut Checker::new(root, Some(index), &context, found));
    }
    list.len()
}

/// Everything at the top of a document but its body.
fn head<'a>(root: Node<'a>, own: Option<Node<'a>>, checker: &mut Checker<'_, 'a>) {
    match own {
        None => checker.fail(root, Rule::ContextMissing),
        Some(node) => context(node, checker),
    }
    for (key, value) in root.members() {
        match &*key.as_str() {
            "@context" | "type" | "epcisBody" => {}
            "id" => checker.uri(value),
            "schemaVersion" => {
                checker.text(value, |checker, text| {
                    if !is_version(text) {
                        checker.fail(value, Rule::SchemaVersion);
                    }
                });
            }
            "creationDate" => {
                checker.time(value, Rule::CreationDate);
            }
            "instanceIdentifier" | "sender" | "receiver" if is_capture(root) => {
                checker.is(value, Kind::String);
            }
            "epcisHeader" if is_capture(root) => header(value, checker),
            _ => checker.extension(key, value),
        }
    }
}

fn is_capture(root: Node<'_>) -> bool {
    root.get("type").is_some_and(|kind| kind.eq_str("EPCISDocument"))
}

/// Digits with dots between them.
fn is_version(text: &str) -> bool {
    text.split('.').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
}

fn body<'a>(root: Node<'a>, checker: &mut Checker<'_, 'a>) -> Option<Node<'a>> {
    let Some(body) = root.get("epcisBody") else {
        checker.fail(root, Rule::BodyMissing);
        return None;
    };
    checker.is(body, Kind::Object).then_some(body)
}

/// Refuses the members that are neither known here nor extensions.
fn others<'a>(node: Node<'a>, known: &[&str], checker: &mut Checker<'_, 'a>) {
    for (key, value) in node.members() {
        if !known.iter().any(|name| key.eq_str(name)) {
            checker.extension(key, value);
        }
    }
}

/// `@context`: a URI, an object, or a list of these.
pub(super) fn context<'a>(node: Node<'a>, checker: &mut Checker<'_, 'a>) {
    let one = |node: Node<'a>| match node.kind() {
        Kind::String => node.as_str().is_some_and(|text| is_uri(&text)),
        kind => kind == Kind::Object,
    };
    if node.kind() != Kind::Array {
        if !one(node) {
            checker.fail(node, Rule::ContextShape);
        }
        return;
    }
    for (at, element) in node.elements().enumerate() {
        let repeated = node.elements().take(at.min(64)).any(|earlier| is_same(earlier, element));
        if !one(element) || repeated {
            checker.fail(element, Rule::ContextShape);
        }
    }
}

/// Whether two entries of a context are equal as JSON values.
fn is_same(one: Node<'_>, other: Node<'_>) -> bool {
    if one.kind() != other.kind() || one.len() != other.len() {
        return false;
    }
    let canonical = |node: Node<'_>| {
        let mut bytes = Vec::new();
        tradelane_tape::jcs::canonicalize(node, &mut bytes);
        bytes
    };
    match one.kind() {
        Kind::String => one.as_str() == other.as_str(),
        _ => canonical(one) == canonical(other),
    }
}

fn header<'a>(header: Node<'a>, checker: &mut Checker<'_, 'a>) {
    if !checker.is(header, Kind::Object) {
        return;
    }
    others(header, &["epcisMasterData"], checker);
    let Some(data) = header.get("epcisMasterData") else { return };
    if data.kind() != Kind::Object {
        return checker.fail(data, Rule::MasterData);
    }
    if let Some(list) = data.get("vocabularyList") {
        checker.each(list, vocabulary);
    }
}

/// One vocabulary of master data.
fn vocabulary<'a>(checker: &mut Checker<'_, 'a>, node: Node<'a>) {
    if !identified(node, "type", checker) {
        return;
    }
    let Some(list) = node.get("vocabularyElementList") else { return };
    checker.each(list, |checker, element| {
        if !identified(element, "id", checker) {
            return;
        }
        if let Some(attributes) = element.get("attributes") {
            checker.each(attributes, |checker, attribute| {
                let value = attribute.get("attribute").map(Node::kind);
                let value_ok = value.is_none_or(|kind| matches!(kind, Kind::Number | Kind::String | Kind::Object));
                if identified(attribute, "id", checker) && !value_ok {
                    checker.fail(attribute, Rule::MasterData);
                }
            });
        }
        if let Some(children) = element.get("children") {
            checker.each(children, |checker, child| checker.uri(child));
        }
    });
}

/// Whether a node is an object whose member `name` is a URI; notes it when not.
fn identified<'a>(node: Node<'a>, name: &str, checker: &mut Checker<'_, 'a>) -> bool {
    let right = node.get(name).and_then(|id| id.as_str()).is_some_and(|text| is_uri(&text));
    if !right {
        checker.fail(node, Rule::MasterData);
    }
    right
}
