//! The small objects inside an event: quantities, transactions, sources and destinations, places, dispositions.

use tradelane_tape::{Kind, Node};

use super::checker::Checker;
use crate::cbv::Vocabulary;
use crate::rule::Rule;

/// `{epcClass, quantity?, uom?}` and nothing else.
pub(super) fn quantity<'a>(checker: &mut Checker<'_, 'a>, element: Node<'a>) {
    if !checker.is(element, Kind::Object) {
        return;
    }
    let mut class = false;
    for (key, value) in element.members() {
        if key.eq_str("epcClass") {
            class = true;
            checker.key(value);
        } else if key.eq_str("quantity") {
            checker.number(value);
        } else if key.eq_str("uom") {
            uom(value, checker);
        } else {
            checker.fail(value, Rule::ElementField);
        }
    }
    if !class {
        checker.fail(element, Rule::RequiredMember);
    }
}

/// A code of UN/CEFACT Recommendation 20.
pub(super) fn uom(value: Node<'_>, checker: &mut Checker<'_, '_>) {
    checker.text(value, |checker, code| {
        let shaped =
            (2..=3).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
        if !shaped {
            checker.fail(value, Rule::Uom);
        }
    });
}

/// `[{type?, bizTransaction}]`.
pub(super) fn biz_transactions<'a>(list: Node<'a>, checker: &mut Checker<'_, 'a>) {
    checker.each(list, |checker, element| {
        typed(element, "bizTransaction", false, Vocabulary::BizTransactionType, Rule::BizTransactionType, checker);
    });
}

/// `[{type, source}]` or `[{type, destination}]`.
pub(super) fn sources<'a>(list: Node<'a>, name: &str, checker: &mut Checker<'_, 'a>) {
    checker.each(list, |checker, element| {
        typed(element, name, true, Vocabulary::SourceDestType, Rule::SourceDestType, checker);
    });
}

fn typed<'a>(
    element: Node<'a>,
    name: &str,
    type_needed: bool,
    vocabulary: Vocabulary,
    rule: Rule,
    checker: &mut Checker<'_, 'a>,
) {
    if !checker.is(element, Kind::Object) {
        return;
    }
    let (mut has_type, mut has_value) = (false, false);
    for (key, value) in element.members() {
        if key.eq_str("type") {
            has_type = true;
            checker.term(vocabulary, value, rule);
        } else if key.eq_str(name) {
            has_value = true;
            checker.key(value);
        } else {
            checker.fail(value, Rule::ElementField);
        }
    }
    if !has_value || (type_needed && !has_type) {
        checker.fail(element, Rule::RequiredMember);
    }
}

/// `readPoint` and `bizLocation`: `id` and extensions.
pub(super) fn place<'a>(value: Node<'a>, checker: &mut Checker<'_, 'a>) {
    if !checker.is(value, Kind::Object) {
        return;
    }
    let mut id = false;
    for (key, member) in value.members() {
        if key.eq_str("id") {
            id = true;
            checker.key(member);
        } else {
            checker.extension(key, member);
        }
    }
    if !id {
        checker.fail(value, Rule::RequiredMember);
    }
}

/// `{set?, unset?}`, at least one of them, each a list without repetition.
pub(super) fn persistent_disposition<'a>(value: Node<'a>, checker: &mut Checker<'_, 'a>) {
    if !checker.is(value, Kind::Object) {
        return;
    }
    for (key, list) in value.members() {
        if !(key.eq_str("set") || key.eq_str("unset")) || (list.kind() == Kind::Array && list.is_empty()) {
            checker.fail(list, Rule::PersistentDisposition);
            continue;
        }
        checker.each(list, |checker, disposition| {
            checker.term(Vocabulary::Disposition, disposition, Rule::Disposition);
        });
        checker.distinct(list);
    }
    if value.is_empty() {
        checker.fail(value, Rule::PersistentDisposition);
    }
}
