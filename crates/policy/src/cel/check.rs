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
/// Sizes of a compiled pattern, in bytes, and what compiling one counts for: it happens on every evaluation.
const PATTERNS: [(usize, u64); 4] = [(16 << 10, 2_000), (64 << 10, 8_000), (256 << 10, 32_000), (1 << 20, 128_000)];
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
                if matches!(loops.iter_range.expr, Expr::Comprehension(_)) || additions(&loops.iter_range) > 0 {
                    let what = "loop over a member of the event, not over another loop's result or a sum";
                    return Err(self.unbounded(ided, what));
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
                Some(Expr::Literal(LiteralValue::String(text))) if text.inner().len() > MAX_PATTERN => {
                    Err(self.unbounded(ided, "matches takes a constant pattern of at most 256 bytes"))
                }
                Some(Expr::Literal(LiteralValue::String(text))) if pattern_steps(text.inner()).is_some() => Ok(()),
                Some(Expr::Literal(LiteralValue::String(_))) => {
                    Err(self.unbounded(ided, "the pattern does not compile, or to more than 1 MiB: repeat less"))
                }
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

/// What compiling the pattern counts for; nothing if it does not compile within bounds.
fn pattern_steps(pattern: &str) -> Option<u64> {
    let fits = |bytes: usize| regex::RegexBuilder::new(pattern).size_limit(bytes).build().is_ok();
    PATTERNS.iter().find(|(bytes, _)| fits(*bytes)).map(|(_, steps)| *steps)
}

/// How many `+` there are in an expression: what they add up may be as many times longer than a value of the event.
fn additions(ided: &IdedExpr) -> u64 {
    let of = |parts: &[&IdedExpr]| parts.iter().map(|part| additions(part)).sum::<u64>();
    match &ided.expr {
        Expr::Select(select) => additions(&select.operand),
        Expr::List(list) => list.elements.iter().map(additions).sum(),
        Expr::Map(map) => map
            .entries
            .iter()
            .map(|entry| match &entry.expr {
                EntryExpr::MapEntry(entry) => of(&[&entry.key, &entry.value]),
                EntryExpr::StructField(_) => 0,
            })
            .sum(),
        Expr::Call(call) => {
            let below: u64 = call.target.as_deref().into_iter().chain(&call.args).map(additions).sum();
            below + u64::from(call.func_name == operators::ADD)
        }
        // What a macro adds to its accumulator is counted where the loop is.
        Expr::Comprehension(loops) => additions(&loops.iter_range),
        _ => 0,
    }
}

/// How large the values are that an expression meets.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sizes {
    /// Length of the longest list or map.
    pub(crate) longest: usize,
    /// Bytes of the longest text.
    pub(crate) text: usize,
    /// All values together.
    pub(crate) values: usize,
    /// Bytes of all texts together.
    pub(crate) bytes: usize,
}

impl Sizes {
    /// Of two inputs together.
    pub(crate) fn with(self, other: Self) -> Self {
        Self {
            longest: self.longest.max(other.longest),
            text: self.text.max(other.text),
            values: self.values.saturating_add(other.values),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }
}

/// What an expression costs, as a polynomial of the length of the longest list that it can meet: steps outside of
/// loops, within one, within two, and beyond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Cost {
    steps: [u64; 4],
    /// Parts that may look at all of a text, by the same places.
    texts: [u64; 4],
    /// Parts that may look at everything there is: comparisons of lists and maps, and copies of what a loop gathers.
    wholes: [u64; 4],
    /// The longest list and text that the expression itself holds.
    list: usize,
    text: usize,
}

impl Cost {
    pub(crate) fn of(expression: &IdedExpr) -> Self {
        let mut cost = Self::default();
        cost.add(expression, 0);
        cost
    }

    /// Steps on values of these sizes.
    pub(crate) fn steps(&self, sizes: Sizes) -> u64 {
        let text = sizes.text.max(self.text) as u64 / BYTES_PER_STEP;
        let whole = (sizes.values as u64).saturating_add(sizes.bytes as u64 / BYTES_PER_STEP);
        let longest = sizes.longest.max(self.list) as u64;
        let each = |at: usize| {
            let texts = self.texts[at].saturating_mul(text);
            self.steps[at].saturating_add(texts).saturating_add(self.wholes[at].saturating_mul(whole))
        };
        (0..4).rev().fold(0u64, |sum, at| sum.saturating_mul(longest).saturating_add(each(at)))
    }

    fn add(&mut self, ided: &IdedExpr, nested: usize) {
        let at = nested.min(3);
        self.steps[at] += 1;
        match &ided.expr {
            Expr::Literal(LiteralValue::String(text)) => self.text = self.text.max(text.inner().len()),
            Expr::Select(select) => self.add(&select.operand, nested),
            Expr::List(list) => {
                self.list = self.list.max(list.elements.len());
                list.elements.iter().for_each(|element| self.add(element, nested));
            }
            Expr::Map(map) => {
                self.list = self.list.max(map.entries.len());
                for entry in &map.entries {
                    if let EntryExpr::MapEntry(entry) = &entry.expr {
                        self.add(&entry.key, nested);
                        self.add(&entry.value, nested);
                    }
                }
            }
            Expr::Call(call) => {
                let parts = || call.target.as_deref().into_iter().chain(&call.args);
                let times = 1 + parts().map(additions).sum::<u64>();
                self.texts[at] += times;
                match call.func_name.as_str() {
                    "matches" => {
                        let pattern = call.args.get(usize::from(call.target.is_none())).map(|pattern| &pattern.expr);
                        if let Some(Expr::Literal(LiteralValue::String(pattern))) = pattern {
                            self.steps[at] += pattern_steps(pattern.inner()).unwrap_or(u64::from(u32::MAX));
                        }
                        self.texts[at] += 3 * times;
                    }
                    operators::ADD | operators::IN => self.wholes[at] += times,
                    // With a constant on one side there is nothing to go into.
                    operators::EQUALS | operators::NOT_EQUALS
                        if !parts().any(|part| matches!(part.expr, Expr::Literal(_))) =>
                    {
                        self.wholes[at] += times;
                    }
                    _ => {}
                }
                parts().for_each(|part| self.add(part, nested));
            }
            Expr::Comprehension(loops) => {
                self.add(&loops.iter_range, nested);
                self.add(&loops.accu_init, nested);
                self.add(&loops.loop_cond, nested + 1);
                self.add(&loops.loop_step, nested + 1);
                self.add(&loops.result, nested);
                // `map` and `filter` copy what they have gathered with every element. If that is not a part of the
                // element, each copy may be as large as everything there is.
                if let Some(gathered) = gathered(&loops.loop_step) {
                    let of_element = rooted_in(gathered, &loops.iter_var);
                    self.wholes[(nested + if of_element { 1 } else { 2 }).min(3)] += 1;
                }
            }
            _ => {}
        }
    }
}

/// What a loop's step appends to the accumulator, if it is a list that grows.
fn gathered(step: &IdedExpr) -> Option<&IdedExpr> {
    let Expr::Call(call) = &step.expr else { return None };
    match (call.func_name.as_str(), call.args.as_slice()) {
        (operators::ADD, [_, added]) => match &added.expr {
            Expr::List(list) => list.elements.first(),
            _ => None,
        },
        (operators::CONDITIONAL, [_, yes, _]) => gathered(yes),
        _ => None,
    }
}

/// Is it the variable, a member of it or of that?
fn rooted_in(ided: &IdedExpr, variable: &str) -> bool {
    match &ided.expr {
        Expr::Ident(name) => name == variable,
        Expr::Select(select) => rooted_in(&select.operand, variable),
        Expr::Literal(_) => true,
        _ => false,
    }
}
