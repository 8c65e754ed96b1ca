//! The commonest filters decided straight on the tape. Wherever a value is not of the kind expected, this says nothing,
//! and the interpreter decides: so that the two can differ in speed only. A property test holds them to it.

use cel::common::ast::{Expr, IdedExpr, LiteralValue, operators};
use tradelane_tape::{Kind, Node};

use super::reader::Reader;

/// A filter of a common form.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fast {
    /// `a && b`
    And(Box<Fast>, Box<Fast>),
    /// `a || b`
    Or(Box<Fast>, Box<Fast>),
    /// `!a`
    Not(Box<Fast>),
    /// `event.a.b in reader.list`
    In(Vec<String>, String),
    /// `event.list.exists(x, x.c in reader.list)`; the second path may be empty.
    AnyIn(Vec<String>, Vec<String>, String),
    /// `event.a.b == "text"` or `event.a.b == reader.text`
    Equals(Vec<String>, Text),
}

/// What a member is compared with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Text {
    Constant(String),
    Reader(String),
}

impl Fast {
    /// The filter, if it is of a common form in all its parts.
    pub(crate) fn of(expression: &IdedExpr) -> Option<Self> {
        match &expression.expr {
            Expr::Call(call) if call.target.is_none() => match (call.func_name.as_str(), call.args.as_slice()) {
                (operators::LOGICAL_AND, [a, b]) => Some(Self::And(Box::new(Self::of(a)?), Box::new(Self::of(b)?))),
                (operators::LOGICAL_OR, [a, b]) => Some(Self::Or(Box::new(Self::of(a)?), Box::new(Self::of(b)?))),
                (operators::LOGICAL_NOT, [a]) => Some(Self::Not(Box::new(Self::of(a)?))),
                (operators::IN, [a, b]) => Some(Self::In(path(a, "event")?, attribute(b)?)),
                (operators::EQUALS, [a, b]) => equality(a, b).or_else(|| equality(b, a)),
                (operators::NOT_EQUALS, [a, b]) => {
                    equality(a, b).or_else(|| equality(b, a)).map(|equals| Self::Not(Box::new(equals)))
                }
                _ => None,
            },
            Expr::Comprehension(loops) => {
                if loops.iter_var2.is_some() || loops.iter_var == "event" || loops.iter_var == "reader" {
                    return None;
                }
                let list = path(&loops.iter_range, "event")?;
                // What `exists(x, p)` expands to: start with false, go on while not true, or in p.
                let Expr::Literal(LiteralValue::Boolean(start)) = &loops.accu_init.expr else { return None };
                let accumulator = |part: &IdedExpr| matches!(&part.expr, Expr::Ident(name) if *name == loops.accu_var);
                let Expr::Call(step) = &loops.loop_step.expr else { return None };
                let [accumulated, test] = step.args.as_slice() else { return None };
                if *start.inner()
                    || step.func_name != operators::LOGICAL_OR
                    || !accumulator(accumulated)
                    || !accumulator(&loops.result)
                {
                    return None;
                }
                let Expr::Call(test) = &test.expr else { return None };
                let [element, reader] = test.args.as_slice() else { return None };
                let is_in = test.func_name == operators::IN && test.target.is_none();
                is_in.then(|| Some(Self::AnyIn(list, path(element, &loops.iter_var)?, attribute(reader)?)))?
            }
            _ => None,
        }
    }

    /// Whether the event passes; `None` if the interpreter must tell.
    pub(crate) fn decide(&self, event: Node<'_>, reader: &Reader) -> Option<bool> {
        match self {
            // As in CEL, what one side decides alone stands whatever the other side is, a fault included.
            Self::And(a, b) => match (a.decide(event, reader), || b.decide(event, reader)) {
                (Some(false), _) => Some(false),
                (Some(true), b) => b(),
                (None, b) => b().filter(|b| !b),
            },
            Self::Or(a, b) => match (a.decide(event, reader), || b.decide(event, reader)) {
                (Some(true), _) => Some(true),
                (Some(false), b) => b(),
                (None, b) => b().filter(|b| *b),
            },
            Self::Not(a) => a.decide(event, reader).map(|a| !a),
            Self::In(path, list) => {
                let list = reader.list(list)?;
                text_at(event, path).map(|text| list.contains(text.as_ref()))
            }
            Self::AnyIn(path, below, list) => {
                let list = reader.list(list)?;
                let elements = follow(event, path).filter(|node| node.kind() == Kind::Array)?;
                let mut certain = true;
                for element in elements.elements() {
                    match text_at(element, below) {
                        Some(text) if list.contains(text.as_ref()) => return certain.then_some(true),
                        Some(_) => {}
                        None => certain = false,
                    }
                }
                certain.then_some(false)
            }
            Self::Equals(path, text) => {
                let wanted = match text {
                    Text::Constant(text) => text.as_str(),
                    Text::Reader(name) => reader.text(name)?,
                };
                let node = follow(event, path).filter(|node| node.kind() == Kind::String)?;
                Some(node.eq_str(wanted))
            }
        }
    }
}

/// `event.a.b` as its names, at least one unless the root is a loop's variable.
fn path(expression: &IdedExpr, root: &str) -> Option<Vec<String>> {
    let mut names = Vec::new();
    let mut at = expression;
    loop {
        match &at.expr {
            Expr::Select(select) if !select.test => {
                names.push(select.field.clone());
                at = &select.operand;
            }
            Expr::Ident(name) if name == root => {
                names.reverse();
                return (root != "event" || !names.is_empty()).then_some(names);
            }
            _ => return None,
        }
    }
}

/// `reader.name` as the name.
fn attribute(expression: &IdedExpr) -> Option<String> {
    let mut names = path(expression, "reader")?;
    let name = names.pop()?;
    names.is_empty().then_some(name)
}

fn equality(a: &IdedExpr, b: &IdedExpr) -> Option<Fast> {
    let path = path(a, "event")?;
    let text = match &b.expr {
        Expr::Literal(LiteralValue::String(text)) => Text::Constant(text.inner().to_owned()),
        _ => Text::Reader(attribute(b)?),
    };
    Some(Fast::Equals(path, text))
}

fn follow<'a>(node: Node<'a>, path: &[String]) -> Option<Node<'a>> {
    path.iter().try_fold(node, |node, name| node.get(name))
}

fn text_at<'a>(node: Node<'a>, path: &[String]) -> Option<std::borrow::Cow<'a, str>> {
    follow(node, path).and_then(Node::as_str)
}
