//! What a document breaks: the place, the rule, and a sentence that cites the schema but never the document.

use crate::walk::Walk;
use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{JsonTypeSet, ValidationError};
use std::fmt;
use tradelane_tape::pointer::push_token;

/// One broken rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Where in the document: JSON Pointer (RFC 6901), empty for the whole. It is made of the document's own member
    /// names, and is the only part of a violation that comes from the document.
    pub instance_path: String,
    /// Where in the schema: JSON Pointer to the keyword, references not followed.
    pub schema_path: String,
    /// The keyword that is broken, such as `required`.
    pub rule: String,
    /// What the rule asks for. Holds nothing of the document.
    pub message: String,
}

impl Violation {
    /// For a document that is invalid and whose violations were too many to list.
    pub(crate) fn unlisted() -> Violation {
        Violation {
            instance_path: String::new(),
            schema_path: String::new(),
            rule: "schema".to_owned(),
            message: "does not keep the schema, in a document too large or too wrong to list every place".to_owned(),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {} ({})", self.instance_path, self.message, self.rule)
    }
}

/// Longest text taken over from the schema into a message.
const LONGEST: usize = 200;

/// Shortens a text of the schema so that a message stays one sentence.
pub(crate) fn shortened(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}...", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// Adds what `error` means: itself, or one violation per place, or the alternative that came closest.
pub(crate) fn push(error: &ValidationError<'_>, walk: &Walk<'_>, most: usize, into: &mut Vec<Violation>) {
    if into.len() >= most || !walk.is_sound(error.instance()) {
        return;
    }
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
            for name in unexpected.iter().take(most - into.len()) {
                let mut violation = plain(error, "is a member that the schema does not allow".to_owned());
                push_token(&mut violation.instance_path, name);
                into.push(violation);
            }
        }
        ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } => {
            into.push(plain(error, "matches none of the alternatives".to_owned()));
            for inner in closest(context) {
                push(inner, walk, most, into);
            }
        }
        _ => into.push(plain(error, message(error.kind()))),
    }
}

fn plain(error: &ValidationError<'_>, message: String) -> Violation {
    Violation {
        instance_path: error.instance_path().as_str().to_owned(),
        schema_path: error.schema_path().as_str().to_owned(),
        rule: error.kind().keyword().to_owned(),
        message,
    }
}

/// The alternative that the document most likely means: the one whose distinguishing values (`const`, `enum`, `type`)
/// fit best, and of those the one with the fewest errors.
fn closest<'e>(alternatives: &'e [Vec<ValidationError<'static>>]) -> &'e [ValidationError<'static>] {
    let distance = |errors: &&'e Vec<ValidationError<'static>>| {
        let mistaken = errors.iter().filter(|error| {
            matches!(
                error.kind(),
                ValidationErrorKind::Constant { .. }
                    | ValidationErrorKind::Enum { .. }
                    | ValidationErrorKind::Type { .. }
                    | ValidationErrorKind::FalseSchema
            )
        });
        (mistaken.count(), errors.len())
    };
    alternatives.iter().filter(|errors| !errors.is_empty()).min_by_key(distance).map_or(&[], Vec::as_slice)
}

fn message(kind: &ValidationErrorKind) -> String {
    use ValidationErrorKind as K;
    match kind {
        K::AdditionalItems { limit } => format!("has more than the {limit} elements that the schema describes"),
        K::AdditionalProperties { .. } | K::UnevaluatedProperties { .. } => {
            "has members that the schema does not allow".to_owned()
        }
        K::AnyOf { .. } | K::OneOfNotValid { .. } => "matches none of the alternatives".to_owned(),
        K::OneOfMultipleValid { .. } => "matches more than one of the alternatives".to_owned(),
        K::BacktrackLimitExceeded { .. } | K::RegexEngineFailure { .. } => {
            "could not be matched against the schema's pattern with reasonable effort".to_owned()
        }
        K::Constant { expected_value } => format!("must be {}", shortened(&expected_value.to_string())),
        K::Contains => "has too few or too many elements of the kind that the schema counts".to_owned(),
        K::ContentEncoding { content_encoding } => format!("must be encoded as {}", shortened(content_encoding)),
        K::ContentMediaType { content_media_type } => format!("must be of type {}", shortened(content_media_type)),
        K::Custom { .. } => "breaks a rule of the schema".to_owned(),
        K::Enum { options } => format!("must be one of {}", shortened(&options.to_string())),
        K::ExclusiveMaximum { limit } => format!("must be less than {}", shortened(&limit.to_string())),
        K::ExclusiveMinimum { limit } => format!("must be greater than {}", shortened(&limit.to_string())),
        K::FalseSchema => "is not allowed here".to_owned(),
        K::Format { format } => format!("must have the form of {}", shortened(format)),
        K::FromUtf8 { .. } => "must be text in UTF-8 once decoded".to_owned(),
        K::MaxItems { limit } => format!("must have at most {limit} elements"),
        K::Maximum { limit } => format!("must be at most {}", shortened(&limit.to_string())),
        K::MaxLength { limit } => format!("must have at most {limit} characters"),
        K::MaxProperties { limit } => format!("must have at most {limit} members"),
        K::MinItems { limit } => format!("must have at least {limit} elements"),
        K::Minimum { limit } => format!("must be at least {}", shortened(&limit.to_string())),
        K::MinLength { limit } => format!("must have at least {limit} characters"),
        K::MinProperties { limit } => format!("must have at least {limit} members"),
        K::MultipleOf { multiple_of } => format!("must be a multiple of {multiple_of}"),
        K::Not { .. } => "matches what the schema excludes".to_owned(),
        K::Pattern { pattern } => format!("must match the pattern {}", shortened(pattern)),
        // The inner error is about the name; its own message holds no value either.
        K::PropertyNames { error } => format!("has a member whose name {}", message(error.kind())),
        K::Required { property } => format!("must have the member {}", shortened(&property.to_string())),
        K::Type { kind: TypeKind::Single(expected) } => format!("must be of type {expected}"),
        K::Type { kind: TypeKind::Multiple(expected) } => format!("must be of type {}", names(expected)),
        K::UnevaluatedItems { .. } => "has elements that the schema does not allow".to_owned(),
        K::UniqueItems => "must not have two equal elements".to_owned(),
        K::Referencing(_) => "meets a reference of the schema that leads nowhere".to_owned(),
    }
}

fn names(types: &JsonTypeSet) -> String {
    types.iter().map(|expected| expected.to_string()).collect::<Vec<_>>().join(" or ")
}
