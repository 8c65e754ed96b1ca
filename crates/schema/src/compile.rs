//! From a schema to something that validates.

use crate::SchemaError;
use crate::instance::{Instance, OnTape};
use crate::quick::Quick;
use crate::spread;
use crate::violation::{self, Violation};
use crate::walk::Walk;
use jsonschema::error::ValidationErrorKind;
use jsonschema::{Draft, PatternOptions, ValidationError, Validator};
use serde_json::Value;
use std::fmt;
use tradelane_tape::Node;

/// The version of JSON Schema that a schema is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `http://json-schema.org/draft-07/schema#`
    Draft7,
    /// `https://json-schema.org/draft/2019-09/schema`
    Draft201909,
    /// `https://json-schema.org/draft/2020-12/schema`
    Draft202012,
}

impl Dialect {
    /// What `$schema` says; 2020-12 if it says nothing.
    fn of(schema: &Value) -> Result<Dialect, SchemaError> {
        let Some(named) = schema.get("$schema") else { return Ok(Dialect::Draft202012) };
        let uri = named.as_str().ok_or(SchemaError::UnknownDialect)?.trim_end_matches('#');
        let uri = uri.strip_prefix("https://").or_else(|| uri.strip_prefix("http://"));
        match uri {
            Some("json-schema.org/draft-07/schema") => Ok(Dialect::Draft7),
            Some("json-schema.org/draft/2019-09/schema") => Ok(Dialect::Draft201909),
            Some("json-schema.org/draft/2020-12/schema") => Ok(Dialect::Draft202012),
            _ => Err(SchemaError::UnknownDialect),
        }
    }

    fn draft(self) -> Draft {
        match self {
            Dialect::Draft7 => Draft::Draft7,
            Dialect::Draft201909 => Draft::Draft201909,
            Dialect::Draft202012 => Draft::Draft202012,
        }
    }
}

/// A compiled schema. Compile once, share, validate often: it is `Send` and `Sync`.
pub struct Schema {
    validator: Validator<OnTape>,
    /// Its common rules; none if they alone would not decide.
    quick: Option<Quick>,
    dialect: Dialect,
}

impl Schema {
    /// Most values and member names of a schema.
    pub const MOST_NODES: usize = 50_000;
    /// Deepest nesting of a schema.
    pub const MOST_DEPTH: usize = 96;
    /// Longest regular expression, in bytes.
    pub const LONGEST_PATTERN: usize = 4_096;
    /// Steps back that one match of a regular expression may take. It counts only for expressions with look-around or
    /// back-references; the others run in linear time.
    pub const BACKTRACKS: usize = 10_000;
    /// Largest value, in tape entries, for which violations are listed. A larger one gets its verdict only.
    pub const MOST_LISTED_NODES: u32 = 200_000;

    /// Compiles a schema of the dialect that its `$schema` names, or of 2020-12. Formats are checked, not annotated;
    /// formats that the validator does not know are ignored.
    ///
    /// # Errors
    /// [`SchemaError`] if it is too large or entangled, of another dialect, not valid in its own, or refers to something
    /// outside.
    pub fn compile(schema: &Value) -> Result<Schema, SchemaError> {
        check_size(schema)?;
        spread::check(schema)?;
        let dialect = Dialect::of(schema)?;
        let validator = validator_of(schema, dialect)?;
        let quick = Quick::compile(schema, dialect);
        Ok(Schema { validator, quick, dialect })
    }

    /// The dialect that it was compiled in.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Whether the value keeps the schema: the quick way, which makes no violations. A value that takes unreasonably
    /// much work does not keep it.
    #[inline]
    pub fn is_valid(&self, node: Node<'_>) -> bool {
        self.quick.as_ref().is_some_and(|quick| quick.is_kept_by(node)) || self.is_valid_in_all(node)
    }

    /// The same verdict in the long way, by the validator alone.
    #[inline(never)]
    pub fn is_valid_in_all(&self, node: Node<'_>) -> bool {
        let walk = Walk::new(node);
        self.validator.is_valid(Instance::Value(node, &walk)) && !walk.exhausted()
    }

    /// Checks the value, and says what is wrong if something is.
    ///
    /// # Errors
    /// Up to `most` violations (at least one), in the order of the schema.
    pub fn validate(&self, node: Node<'_>, most: usize) -> Result<(), Vec<Violation>> {
        if self.is_valid(node) { Ok(()) } else { Err(self.violations(node, most.max(1))) }
    }

    #[cold]
    fn violations(&self, node: Node<'_>, most: usize) -> Vec<Violation> {
        let mut violations = Vec::new();
        if node.next_index() - node.index() <= Self::MOST_LISTED_NODES {
            let walk = Walk::new(node);
            for error in self.validator.iter_errors(Instance::Value(node, &walk)) {
                if violations.len() >= most {
                    break;
                }
                violation::push(&error, &walk, most, &mut violations);
            }
        }
        if violations.is_empty() {
            violations.push(Violation::unlisted());
        }
        violations
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schema").field("dialect", &self.dialect).finish_non_exhaustive()
    }
}

/// The validator of a schema in a dialect.
pub(crate) fn validator_of(schema: &Value, dialect: Dialect) -> Result<Validator<OnTape>, SchemaError> {
    let patterns =
        PatternOptions::fancy_regex().backtrack_limit(Schema::BACKTRACKS).size_limit(4 << 20).dfa_size_limit(4 << 20);
    jsonschema::options_for::<OnTape>()
        .with_draft(dialect.draft())
        .should_validate_formats(true)
        .with_pattern_options(patterns)
        .offline()
        .build(schema)
        .map_err(refusal)
}

/// Refuses a schema that would be too much work before anything recursive touches it.
fn check_size(schema: &Value) -> Result<(), SchemaError> {
    let mut open = vec![(schema, 0)];
    let mut nodes = 0;
    while let Some((value, depth)) = open.pop() {
        if depth > Schema::MOST_DEPTH {
            return Err(SchemaError::TooDeep { limit: Schema::MOST_DEPTH });
        }
        nodes += 1;
        match value {
            Value::Array(elements) => open.extend(elements.iter().map(|element| (element, depth + 1))),
            Value::Object(members) => {
                nodes += members.len();
                for (name, value) in members {
                    check_pattern(name, value)?;
                    open.push((value, depth + 1));
                }
            }
            _ => {}
        }
        if nodes > Schema::MOST_NODES {
            return Err(SchemaError::TooLarge { limit: Schema::MOST_NODES });
        }
    }
    Ok(())
}

fn check_pattern(name: &str, value: &Value) -> Result<(), SchemaError> {
    let longest = match (name, value) {
        ("pattern", Value::String(pattern)) => pattern.len(),
        ("patternProperties", Value::Object(members)) => members.keys().map(String::len).max().unwrap_or(0),
        _ => 0,
    };
    if longest > Schema::LONGEST_PATTERN {
        return Err(SchemaError::PatternTooLong { limit: Schema::LONGEST_PATTERN });
    }
    Ok(())
}

fn refusal(error: ValidationError<'_>) -> SchemaError {
    let reason = violation::shortened(&error.to_string());
    match error.kind() {
        ValidationErrorKind::Referencing(_) => SchemaError::Reference { reason },
        _ => SchemaError::Invalid { place: error.instance_path().as_str().to_owned(), reason },
    }
}
