//! Which members of an event an expression looks at, found before any event is seen. What cannot be told is taken to be
//! everything below the last member that can.

use std::collections::{BTreeMap, BTreeSet};

use cel::common::ast::{EntryExpr, Expr, IdedExpr, LiteralValue, operators};

/// Members of an event, as a pattern: a JSON Pointer in which `*` stands for every element of an array. Everything below
/// belongs to it. The empty path is the whole event.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventPath(String);

impl EventPath {
    /// The pattern: `/a/b`, `/epcList/*`, `/items/*/sku`; `~` and `/` in names are escaped as RFC 6901 says.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What is below a member that matters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tree {
    /// Everything does.
    pub(crate) whole: bool,
    /// These members do.
    pub(crate) members: BTreeMap<String, Tree>,
    /// This of every element does.
    pub(crate) each: Option<Box<Tree>>,
}

impl Tree {
    fn add(&mut self, steps: &[Step]) {
        match steps.split_first() {
            None => self.whole = true,
            Some((Step::Member(name), rest)) => self.members.entry(name.clone()).or_default().add(rest),
            Some((Step::Each, rest)) => self.each.get_or_insert_default().add(rest),
        }
    }

    fn list(&self, at: &mut String, out: &mut BTreeSet<EventPath>) {
        if self.whole {
            out.insert(EventPath(at.clone()));
            return;
        }
        let length = at.len();
        for (name, below) in &self.members {
            at.push('/');
            at.push_str(&name.replace('~', "~0").replace('/', "~1"));
            below.list(at, out);
            at.truncate(length);
        }
        if let Some(each) = &self.each {
            at.push_str("/*");
            each.list(at, out);
            at.truncate(length);
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Member(String),
    Each,
}

/// All members that an expression looks at.
pub(crate) struct Paths {
    tree: Tree,
    list: Vec<EventPath>,
}

impl Paths {
    pub(crate) fn of(expression: &IdedExpr) -> Self {
        let mut walk = Walk { tree: Tree::default(), bound: Vec::new() };
        walk.value(expression);
        let mut list = BTreeSet::new();
        walk.tree.list(&mut String::new(), &mut list);
        Self { tree: walk.tree, list: list.into_iter().collect() }
    }

    pub(crate) fn tree(&self) -> &Tree {
        &self.tree
    }

    pub(crate) fn list(&self) -> &[EventPath] {
        &self.list
    }
}

struct Walk<'a> {
    tree: Tree,
    /// Variables of the loops around, innermost last: what of the event they stand for, if it is of the event.
    bound: Vec<(&'a str, Option<Vec<Step>>)>,
}

impl<'a> Walk<'a> {
    /// The path that an expression spells, if it spells one of the event. Nothing is recorded.
    fn path(&self, ided: &'a IdedExpr) -> Option<Vec<Step>> {
        match &ided.expr {
            Expr::Ident(name) => {
                let plain = name.strip_prefix('.');
                let inner = self.bound.iter().rev().find(|(bound, _)| bound == name);
                match (plain, inner) {
                    (None, Some((_, path))) => path.clone(),
                    _ => (plain.unwrap_or(name) == "event").then(Vec::new),
                }
            }
            Expr::Select(select) => {
                let mut path = self.path(&select.operand)?;
                path.push(Step::Member(select.field.clone()));
                Some(path)
            }
            Expr::Call(call) if call.func_name == operators::INDEX && call.target.is_none() => {
                let mut path = self.path(call.args.first()?)?;
                match &call.args.get(1)?.expr {
                    Expr::Literal(LiteralValue::String(name)) => path.push(Step::Member(name.inner().to_owned())),
                    Expr::Literal(LiteralValue::Int(_) | LiteralValue::UInt(_)) => path.push(Step::Each),
                    _ => return None,
                }
                Some(path)
            }
            _ => None,
        }
    }

    /// Records what an expression whose value matters looks at.
    fn value(&mut self, ided: &'a IdedExpr) {
        if let Some(path) = self.path(ided) {
            self.tree.add(&path);
            return;
        }
        match &ided.expr {
            Expr::Select(select) => self.value(&select.operand),
            Expr::List(list) => list.elements.iter().for_each(|element| self.value(element)),
            Expr::Map(map) => {
                for entry in &map.entries {
                    if let EntryExpr::MapEntry(entry) = &entry.expr {
                        self.value(&entry.key);
                        self.value(&entry.value);
                    }
                }
            }
            Expr::Call(call) => call.target.as_deref().into_iter().chain(&call.args).for_each(|part| self.value(part)),
            Expr::Comprehension(loops) => {
                let element = self.path(&loops.iter_range).map(|mut path| {
                    path.push(Step::Each);
                    path
                });
                if element.is_none() || !mentions(&loops.loop_step, &loops.iter_var) {
                    self.value(&loops.iter_range);
                }
                self.value(&loops.accu_init);
                let before = self.bound.len();
                self.bound.push((&loops.iter_var, element));
                self.bound.push((&loops.accu_var, None));
                self.bound.extend(loops.iter_var2.as_deref().map(|name| (name, None)));
                self.value(&loops.loop_cond);
                self.value(&loops.loop_step);
                self.bound.truncate(before + 2);
                self.value(&loops.result);
                self.bound.truncate(before);
            }
            _ => {}
        }
    }
}

/// Whether an expression names a variable. A loop that never looks at its elements still counts them.
fn mentions(ided: &IdedExpr, name: &str) -> bool {
    ided.references().has_variable(name)
}
