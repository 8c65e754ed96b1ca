//! What an expression may say: its size, its names, and nothing whose cost cannot be bounded before it runs.

use cel::Env;
use cel::common::ast::{EntryExpr, Expr, IdedExpr, LiteralValue, operators};

use super::{CelError, MAX_DEPTH, MAX_EXPRESSION};

/// Most parts of an expression, macros expanded.
const MAX_PARTS: usize = 500;
/// Most comprehensions (`all`, `exists`, `filter`, `map`, `exists_one`) inside one another.
const MAX_NESTED: u32 = 2;
/// Longest pattern of `matches`.
const MAX_PATTERN: usize = 256;
/// What compiling a pattern counts for: it happens on every evaluation.
const PATTERN_STEPS: u64 = 2_000;
/// Bytes of text that count as one step where a function looks at all of it.
const BYTES_PER_STEP: u64 = 64;

/// Names that an expression may use.
pub(crate) struct Scope {
    variables: &'static [&'static str],
    listed: &'static str,
}

/// Row filters.
pub(crate) const FILTER: Scope = Scope { variables: &["event", "reader", "now"], listed: "event, reader and now" };
/// Quality rules.
pub(crate) const RULE: Scope = Scope { variables: &["event", "now"], listed: "event and now" };

const FUNCTIONS: &[&str] = &[
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "matches",
    "int",
    "uint",
    "double",
    "string",
    "bool",
    "timestamp",
    "duration",
    "type",
    "getFullYear",
    "getMonth",
    "getDate",
    "getDayOfMonth",
    "getDayOfWeek",
    "getDayOfYear",
    "getHours",
    "getMinutes",
    "getSeconds",
    "getMilliseconds",
];
const TYPES: &[&str] =
    &["bool", "int", "uint", "double", "string", "list", "map", "null_type", "timestamp", "duration"];

/// Parses an expression and refuses what it may not say, with the place.
pub(crate) fn parse(source: &str, env: &Env, scope: &Scope) -> Result<IdedExpr, CelError> {
    if source.len() > MAX_EXPRESSION || bracket_depth(source) > usize::from(MAX_DEPTH) {
        return Err(CelError::TooLarge);
    }
    let parsed = env.parser().max_recursion_depth(MAX_DEPTH * 3).parse_with_source_info(source);
    let (expression, info) = parsed.map_err(|errors| {
        let first = errors.errors.first();
        let at = |pos: isize| usize::try_from(pos).unwrap_or(0).max(1);
        CelError::Syntax {
            line: first.map_or(1, |error| at(error.pos.0)),
            column: first.map_or(1, |error| at(error.pos.1 + 1)),
            what: first.map_or_else(|| "it does not parse".to_owned(), |error| error.msg.clone()),
        }
    })?;
    let place = |id: u64| crate::policies::place(source, info.offset_for(id).map(|(start, _)| start as usize));
    let mut check = Check { scope, place: &place, bound: Vec::new(), parts: 0 };
    check.expression(&expression, 0, 0)?;
    Ok(expression)
}

/// How deep brackets nest, strings not looked into: bounds the parser's own recursion before it runs.
fn bracket_depth(source: &str) -> usize {
    let (mut depth, mut deepest) = (0usize, 0usize);
    for byte in source.bytes() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

struct Check<'a> {
    scope: &'a Scope,
    place: &'a dyn Fn(u64) -> (usize, usize),
    /// Variables of the comprehensions around.
    bound: Vec<&'a str>,
    parts: usize,
}

impl<'a> Check<'a> {
    fn expression(&mut self, ided: &'a IdedExpr, depth: u16, nested: u32) -> Result<(), CelError> {
        self.parts += 1;
        // A macro expands into some levels of its own.
        if self.parts > MAX_PARTS || depth > MAX_DEPTH * 2 {
            return Err(CelError::TooLarge);
        }
        let depth = depth + 1;
        match &ided.expr {
            Expr::Unspecified | Expr::Struct(_) => Err(self.unbounded(ided, "messages are not used here")),
            Expr::Literal(LiteralValue::Bytes(_)) => Err(self.unbounded(ided, "an event holds no bytes")),
            Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => self.name(ided, name),
            Expr::Select(select) => self.expression(&select.operand, depth, nested),
            Expr::List(list) => {
                for element in &list.elements {
                    self.element(element, nested)?;
                    self.expression(element, depth, nested)?;
                }
                Ok(())
            }
            Expr::Map(map) => {
                for entry in &map.entries {
                    let EntryExpr::MapEntry(entry) = &entry.expr else {
                        return Err(self.unbounded(ided, "messages are not used here"));
                    };
                    self.element(&entry.value, nested)?;
                    self.expression(&entry.key, depth, nested)?;
                    self.expression(&entry.value, depth, nested)?;
                }
                Ok(())
            }
            Expr::Call(call) => {
                self.function(ided, &call.func_name, call.args.get(usize::from(call.target.is_none())), nested)?;
                for part in call.target.as_deref().into_iter().chain(&call.args) {
                    self.expression(part, depth, nested)?;
                }
                Ok(())
            }
            Expr::Comprehension(loops) => {
                if nested >= MAX_NESTED {
                    return Err(
                        self.unbounded(ided, "at most two of all, exists, filter and map stand inside one another")
                    );
                }
                if matches!(loops.iter_range.expr, Expr::Comprehension(_)) {
                    return Err(self.unbounded(ided, "loop over a member of the event, not over another loop's result"));
                }
                self.expression(&loops.iter_range, depth, nested)?;
                let before = self.bound.len();
                self.bound.extend([loops.iter_var.as_str(), loops.accu_var.as_str()]);
                self.bound.extend(loops.iter_var2.as_deref());
                self.body(&loops.accu_init, depth, nested)?;
                self.body(&loops.loop_cond, depth, nested + 1)?;
                self.body(&loops.loop_step, depth, nested + 1)?;
                self.body(&loops.result, depth, nested)?;
                self.bound.truncate(before);
                Ok(())
            }
        }
    }

    /// Parts of a comprehension that its macro wrote: the accumulator may be added to there.
    fn body(&mut self, ided: &'a IdedExpr, depth: u16, nested: u32) -> Result<(), CelError> {
        let accumulates = |part: &IdedExpr| matches!(&part.expr, Expr::Ident(name) if name.starts_with('@'));
        match &ided.expr {
            // `map` and `filter` append one element to the accumulator.
            Expr::Call(call) if call.func_name == operators::ADD && call.args.first().is_some_and(accumulates) => {
                self.parts += 1;
                match call.args.get(1).map(|added| &added.expr) {
                    Some(Expr::List(list)) => {
                        list.elements.iter().try_for_each(|element| self.expression(element, depth + 1, nested))
                    }
                    _ => call.args.iter().try_for_each(|part| self.expression(part, depth + 1, nested)),
                }
            }
            // `exists_one` counts; `filter` and `map` with a condition choose between adding and not.
            Expr::Call(call)
                if call.func_name == operators::CONDITIONAL && call.args.last().is_some_and(accumulates) =>
            {
                self.parts += 1;
                call.args.iter().try_for_each(|part| self.body(part, depth + 1, nested))
            }
            _ => self.expression(ided, depth, nested),
        }
    }

    /// A literal list or map inside a loop would multiply what the loop gives.
    fn element(&self, element: &IdedExpr, nested: u32) -> Result<(), CelError> {
        if nested > 0 && !matches!(element.expr, Expr::Literal(_)) {
            return Err(self.unbounded(element, "inside a loop, lists and maps hold constants only"));
        }
        Ok(())
    }

    fn name(&self, ided: &IdedExpr, name: &str) -> Result<(), CelError> {
        let plain = name.strip_prefix('.').unwrap_or(name);
        if name.starts_with('@')
            || self.bound.contains(&name)
            || self.scope.variables.contains(&plain)
            || TYPES.contains(&plain)
        {
            return Ok(());
        }
        let (line, column) = (self.place)(ided.id);
        Err(CelError::UnknownVariable { line, column, name: name.to_owned(), known: self.scope.listed })
    }

    fn function(&self, ided: &IdedExpr, name: &str, pattern: Option<&IdedExpr>, nested: u32) -> Result<(), CelError> {
        if name == "matches" {
            return match pattern.map(|pattern| &pattern.expr) {
                Some(Expr::Literal(LiteralValue::String(text))) if text.inner().len() <= MAX_PATTERN => Ok(()),
                _ => Err(self.unbounded(ided, "matches takes a constant pattern of at most 256 bytes")),
            };
        }
        if name == operators::ADD && nested > 0 {
            return Err(self.unbounded(ided, "inside a loop nothing is added up"));
        }
        let operator = name.starts_with(['_', '!', '-', '@']);
        if operator || FUNCTIONS.contains(&name) {
            return Ok(());
        }
        let (line, column) = (self.place)(ided.id);
        Err(CelError::UnknownFunction { line, column, name: name.to_owned() })
    }

    fn unbounded(&self, ided: &IdedExpr, what: &'static str) -> CelError {
        let (line, column) = (self.place)(ided.id);
        CelError::Unbounded { line, column, what }
    }
}

/// What an expression costs, as a polynomial of the length of the longest list that it can meet: steps outside of
/// loops, within one, within two, and `in` within two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Cost {
    steps: [u64; 4],
    /// Parts that may look at all of a text, by the same places.
    texts: [u64; 4],
}

impl Cost {
    pub(crate) fn of(expression: &IdedExpr) -> Self {
        let mut cost = Self::default();
        cost.add(expression, 0);
        cost
    }

    /// Steps when no list is longer than `longest` and no text longer than `text` bytes.
    pub(crate) fn steps(&self, longest: usize, text: usize) -> u64 {
        let (longest, text) = (longest as u64, text as u64 / BYTES_PER_STEP);
        let each = |at: usize| self.steps[at].saturating_add(self.texts[at].saturating_mul(text));
        (0..4).rev().fold(0u64, |sum, at| sum.saturating_mul(longest).saturating_add(each(at)))
    }

    fn add(&mut self, ided: &IdedExpr, nested: usize) {
        self.steps[nested.min(3)] += 1;
        match &ided.expr {
            Expr::Select(select) => self.add(&select.operand, nested),
            Expr::List(list) => list.elements.iter().for_each(|element| self.add(element, nested)),
            Expr::Map(map) => {
                for entry in &map.entries {
                    if let EntryExpr::MapEntry(entry) = &entry.expr {
                        self.add(&entry.key, nested);
                        self.add(&entry.value, nested);
                    }
                }
            }
            Expr::Call(call) => {
                match call.func_name.as_str() {
                    "matches" => {
                        self.steps[nested.min(3)] += PATTERN_STEPS;
                        self.texts[nested.min(3)] += 4;
                    }
                    // `in` looks at every element; so may comparing two lists.
                    operators::IN | operators::EQUALS | operators::NOT_EQUALS => {
                        self.steps[(nested + 1).min(3)] += 1;
                        self.texts[nested.min(3)] += 1;
                    }
                    _ => self.texts[nested.min(3)] += 1,
                }
                call.target.as_deref().into_iter().chain(&call.args).for_each(|part| self.add(part, nested));
            }
            Expr::Comprehension(loops) => {
                self.add(&loops.iter_range, nested);
                self.add(&loops.accu_init, nested);
                self.add(&loops.loop_cond, nested + 1);
                self.add(&loops.loop_step, nested + 1);
                self.add(&loops.result, nested);
            }
            _ => {}
        }
    }
}
