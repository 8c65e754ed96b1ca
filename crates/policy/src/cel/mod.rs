//! Row filters and quality rules in CEL, over the event's own tape.
//!
//! An expression is checked when it is compiled: its size and depth, the variables it may name, the functions there are,
//! and that nothing in it can grow or loop beyond what a budget allows. Evaluation is total: it holds, it does not, or it
//! has a fault, and a row whose filter has a fault is withheld.

mod check;
mod fast;
mod paths;
mod reader;
mod value;

use std::sync::{Arc, LazyLock};

use cel::common::ast::IdedExpr;
use cel::common::types::CelBool;
use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;
use cel::{Context, Env, ExecutionError, Value};
use tradelane_model::{ErrorCode, Timestamp, codes};
use tradelane_tape::Node;

pub use paths::EventPath;
pub use reader::Reader;

/// Longest expression, in bytes.
pub const MAX_EXPRESSION: usize = 4_096;
/// Deepest nesting of an expression.
pub const MAX_DEPTH: u16 = 32;
/// Steps that one evaluation may take, as estimated from the expression and the sizes of its inputs.
pub const MAX_STEPS: u64 = 2_000_000;
/// Values of an event that one evaluation may look at.
pub const MAX_VALUES: usize = 50_000;

/// Why an expression is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CelError {
    /// It is no CEL.
    #[error("line {line}, column {column}: {what}")]
    Syntax {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What the parser says.
        what: String,
    },
    /// It is longer, deeper or bigger than allowed.
    #[error("an expression is at most {MAX_EXPRESSION} bytes, {MAX_DEPTH} levels deep and of 500 parts")]
    TooLarge,
    /// It names a variable that there is not.
    #[error("line {line}, column {column}: there is no variable {name}; there are {known}")]
    UnknownVariable {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// The name.
        name: String,
        /// What may be named.
        known: &'static str,
    },
    /// It calls a function that there is not.
    #[error("line {line}, column {column}: there is no function {name}")]
    UnknownFunction {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// The name.
        name: String,
    },
    /// It does something whose cost cannot be bounded.
    #[error("line {line}, column {column}: {what}")]
    Unbounded {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What, and what to write instead.
        what: &'static str,
    },
}

impl CelError {
    /// The stable code for a caller.
    pub fn code(&self) -> ErrorCode {
        codes::FILTER_INVALID
    }
}

/// Why an evaluation gave no answer. Never holds a value of the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CelFault {
    /// A member that the expression needs is not there.
    #[error("the event lacks a member that the expression needs")]
    Missing,
    /// Values of kinds that do not go together.
    #[error("the expression combines values of kinds that do not go together")]
    Type,
    /// The result is neither true nor false.
    #[error("the expression gives neither true nor false")]
    NotBoolean,
    /// The event is too big for the expression.
    #[error("the event is too large for the expression to be evaluated on it")]
    TooMuch,
    /// Anything else: an overflow, a division by zero, a text that is no time.
    #[error("the expression failed on this event")]
    Failed,
}

/// What a row filter says of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The reader gets it.
    Admit,
    /// The reader does not.
    Drop,
    /// It could not be decided: the reader does not get it, and the owner may want to know.
    Fault(CelFault),
}

impl Verdict {
    /// Whether the reader gets the event. A fault withholds it.
    pub fn admits(self) -> bool {
        self == Self::Admit
    }
}

/// Which events a reader gets: CEL over `event`, `reader` and `now`.
#[derive(Debug)]
pub struct RowFilter {
    program: Program,
    fast: Option<fast::Fast>,
}

impl RowFilter {
    /// Compiles a filter.
    pub fn compile(source: &str) -> Result<Self, CelError> {
        let program = Program::compile(source, &check::FILTER)?;
        let fast = fast::Fast::of(&program.expression);
        Ok(Self { program, fast })
    }

    /// The members of the event that the filter looks at: what must be opened to decide.
    pub fn paths(&self) -> &[EventPath] {
        self.program.paths.list()
    }

    /// Whether the verdict on an event can change with time.
    pub fn uses_now(&self) -> bool {
        self.program.uses_now
    }

    /// Whether common forms are decided without the interpreter.
    pub fn is_fast(&self) -> bool {
        self.fast.is_some()
    }

    /// Decides for one event. `event` is the clear event, or one that is open at [`RowFilter::paths`].
    pub fn evaluate(&self, event: Node<'_>, reader: &Reader, now: Timestamp) -> Verdict {
        match self.fast.as_ref().and_then(|fast| fast.decide(event, reader)) {
            Some(true) => Verdict::Admit,
            Some(false) => Verdict::Drop,
            None => self.interpret(event, reader, now),
        }
    }

    /// As [`RowFilter::evaluate`], always through the interpreter: the reference that the short cuts must agree with.
    pub fn interpret(&self, event: Node<'_>, reader: &Reader, now: Timestamp) -> Verdict {
        match self.program.evaluate(event, Some(reader), now) {
            Ok(true) => Verdict::Admit,
            Ok(false) => Verdict::Drop,
            Err(fault) => Verdict::Fault(fault),
        }
    }

    /// As [`RowFilter::evaluate`], for an event that is not on a tape. Slower: it is written out and parsed first.
    pub fn evaluate_json(&self, event: &serde_json::Value, reader: &Reader, now: Timestamp) -> Verdict {
        let Ok(text) = serde_json::to_vec(event) else { return Verdict::Fault(CelFault::Failed) };
        let mut tape = tradelane_tape::Tape::new();
        match tape.parse(&text, &tradelane_tape::Limits::default()) {
            Ok(doc) => self.evaluate(doc.root(), reader, now),
            Err(_) => Verdict::Fault(CelFault::TooMuch),
        }
    }
}

/// Whether an event keeps a quality rule of its contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleOutcome {
    /// It does.
    Holds,
    /// It does not.
    Fails,
    /// It could not be decided, which counts as not.
    Fault(CelFault),
}

/// A quality rule: CEL over `event` and `now`, evaluated on the clear event when it is published.
#[derive(Debug)]
pub struct QualityRule {
    program: Program,
}

impl QualityRule {
    /// Compiles a rule.
    pub fn compile(source: &str) -> Result<Self, CelError> {
        Ok(Self { program: Program::compile(source, &check::RULE)? })
    }

    /// The members of the event that the rule looks at.
    pub fn paths(&self) -> &[EventPath] {
        self.program.paths.list()
    }

    /// Decides for one event.
    pub fn evaluate(&self, event: Node<'_>, now: Timestamp) -> RuleOutcome {
        match self.program.evaluate(event, None, now) {
            Ok(true) => RuleOutcome::Holds,
            Ok(false) => RuleOutcome::Fails,
            Err(fault) => RuleOutcome::Fault(fault),
        }
    }
}

static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib().with_optional_support(false)));

/// An expression that was checked.
struct Program {
    expression: IdedExpr,
    paths: paths::Paths,
    cost: check::Cost,
    uses_now: bool,
}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Program").field("paths", &self.paths.list()).finish_non_exhaustive()
    }
}

impl Program {
    fn compile(source: &str, scope: &check::Scope) -> Result<Self, CelError> {
        let expression = check::parse(source, &ENV, scope)?;
        let paths = paths::Paths::of(&expression);
        let uses_now = expression.references().has_variable("now");
        Ok(Self { paths, cost: check::Cost::of(&expression), uses_now, expression })
    }

    fn evaluate(&self, event: Node<'_>, reader: Option<&Reader>, now: Timestamp) -> Result<bool, CelFault> {
        let mut builder = value::Builder::new(MAX_VALUES);
        let event = builder.build(event, self.paths.tree()).ok_or(CelFault::TooMuch)?;
        let sizes = builder.sizes().with(reader.map_or_else(check::Sizes::default, Reader::sizes));
        if self.cost.steps(sizes) > MAX_STEPS {
            return Err(CelFault::TooMuch);
        }
        let now = if self.uses_now { Some(value::timestamp(now).ok_or(CelFault::Failed)?) } else { None };
        let variables = Variables { event, reader: reader.map(Reader::value), now };
        // The interpreter is not ours and sees hostile values: should it panic, one row is withheld, and no more.
        let run = std::panic::AssertUnwindSafe(|| {
            let mut context = Context::with_env(Arc::clone(&ENV));
            context.set_variable_resolver(&variables);
            let result = Value::resolve_val(&self.expression, &context).map_err(|error| fault(&error))?;
            result.downcast_ref::<CelBool>().map(|answer| *answer.inner()).ok_or(CelFault::NotBoolean)
        });
        std::panic::catch_unwind(run).unwrap_or(Err(CelFault::Failed))
    }
}

/// Variables of one evaluation; nothing is copied out of them.
struct Variables<'v> {
    event: Box<dyn Val + 'v>,
    reader: Option<&'v (dyn Val + 'static)>,
    now: Option<Box<dyn Val>>,
}

impl VariableResolver for Variables<'_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        match variable {
            "event" => Some(CowVal::Borrowed(self.event.as_ref())),
            "reader" => self.reader.map(|reader| CowVal::Borrowed(reader as &(dyn Val + 'b))),
            "now" => self.now.as_deref().map(|now| CowVal::Borrowed(now as &(dyn Val + 'b))),
            _ => None,
        }
    }
}

/// The kind of an error; its text may hold values, and goes no further.
fn fault(error: &ExecutionError) -> CelFault {
    match error {
        ExecutionError::NoSuchKey(_) | ExecutionError::IndexOutOfBounds(_) | ExecutionError::UndeclaredReference(_) => {
            CelFault::Missing
        }
        ExecutionError::NoSuchOverload(_)
        | ExecutionError::ValuesNotComparable(..)
        | ExecutionError::UnexpectedType { .. }
        | ExecutionError::UnsupportedBinaryOperator(..)
        | ExecutionError::UnsupportedIndex(..)
        | ExecutionError::UnsupportedKeyType(_) => CelFault::Type,
        _ => CelFault::Failed,
    }
}
