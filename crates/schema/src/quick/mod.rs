//! The common rules of a schema, checked on the tape itself.
//!
//! The validator that the schema was compiled to takes any schema and any representation; most of what it does for an
//! event is to find its way. What contracts mostly say (types, members, which of them must be there, lengths, bounds,
//! choices, some formats) is checked here in one pass over the tape, with the members found by the hashes that the tape
//! has of their names. Other rules are put to validators of their own, of just these rules.
//!
//! It only ever says that a value *keeps* the schema, or that it does not know: then the validator decides, and says
//! what is wrong. So its verdicts, and all that is said of violations, are the validator's; what must hold, and is tested
//! beside it, is that nothing is let through here that it would refuse.

mod compile;
mod forms;

use crate::equal;
use crate::instance::{Instance, OnTape, characters};
use crate::number::Number;
use crate::walk::Walk;
use forms::Form;
use jsonschema::Validator;
use jsonschema::json::JsonNumber;
use serde_json::Value;
use std::cell::{Cell, OnceCell};
use tradelane_tape::{Kind, Names, Node};

/// A set of kinds: one bit for each.
type Kinds = u8;
const STRING: Kinds = of(Kind::String);
const NUMBER: Kinds = of(Kind::Number);
const ARRAY: Kinds = of(Kind::Array);
const OBJECT: Kinds = of(Kind::Object);
const ALL: Kinds = of(Kind::Null) | of(Kind::Bool) | STRING | NUMBER | ARRAY | OBJECT;

const fn of(kind: Kind) -> Kinds {
    1 << kind as u8
}

/// A schema that has been compiled to checks.
pub(crate) struct Quick {
    root: Check,
    /// What is to be looked at of values that a [`Check`] does not decide by itself, by its number.
    rules: Vec<Rules>,
    /// Rules that are not known here, in validators of their own.
    others: Vec<Validator<OnTape>>,
}

/// What a schema says of a value, as far as it can be told from the tape entry alone.
#[derive(Debug, Clone, Copy)]
struct Check {
    /// Kinds of which every value keeps the schema.
    pass: Kinds,
    /// Kinds of which a value must be looked at. Those in neither are refused.
    look: Kinds,
    /// Of a text there is only its length to look at.
    plain_text: bool,
    /// Fewest and most characters.
    shortest: u32,
    longest: u32,
    rules: u32,
}

impl Check {
    const ANYTHING: Check =
        Check { pass: ALL, look: 0, plain_text: true, shortest: 0, longest: u32::MAX, rules: u32::MAX };
    const NOTHING: Check = Check { pass: 0, ..Check::ANYTHING };
}

/// What a schema says beyond that.
#[derive(Default)]
struct Rules {
    form: Option<Form>,
    /// `enum` or `const`: texts, bools and nulls.
    choice: Option<Vec<Value>>,
    integers: bool,
    bounds: Option<Bounds>,
    array: Option<Array>,
    object: Option<Object>,
    /// Checks of the same value.
    also: Vec<Check>,
    /// Validators of the same value.
    others: Vec<u32>,
}

/// Numbers on either side; each is an integer or a fraction that a double holds exactly.
#[derive(Debug)]
struct Bounds {
    least: f64,
    most: f64,
    above: f64,
    below: f64,
}

#[derive(Debug)]
struct Array {
    fewest: usize,
    most: usize,
    items: Check,
}

#[derive(Debug)]
struct Object {
    fewest: usize,
    most: usize,
    members: Names<Member>,
    /// How many of them must be there.
    required: u32,
    /// Of those that are not named.
    unnamed: Check,
}

#[derive(Debug, Clone, Copy)]
struct Member {
    check: Check,
    required: u32,
}

/// One pass over a document.
struct Pass<'d> {
    root: Node<'d>,
    /// Values that may still be looked at.
    steps: Cell<u32>,
    /// Bounds what all the validators do together.
    walk: OnceCell<Walk<'d>>,
}

impl Pass<'_> {
    /// Takes steps; false when there are not enough left.
    #[inline(always)]
    fn step(&self, wanted: usize) -> bool {
        let left = u32::try_from(wanted).ok().and_then(|wanted| self.steps.get().checked_sub(wanted));
        left.map(|left| self.steps.set(left)).is_some()
    }
}

impl Quick {
    /// Whether the value certainly keeps the schema.
    #[inline]
    pub(crate) fn is_kept_by(&self, node: Node<'_>) -> bool {
        // A schema may look at a place again and again: not here.
        let entries = node.next_index().saturating_sub(node.index());
        let steps = Cell::new(entries.saturating_mul(8).saturating_add(1_000));
        self.keeps(&self.root, node, &Pass { root: node, steps, walk: OnceCell::new() })
    }

    #[inline(always)]
    fn keeps<'d>(&self, check: &Check, node: Node<'d>, pass: &Pass<'d>) -> bool {
        let kind = of(node.kind());
        if check.pass & kind != 0 {
            return true;
        }
        if check.look & kind == 0 {
            return false;
        }
        if kind == STRING && check.plain_text { has_length(check, node) } else { self.look(check, node, pass) }
    }

    #[inline(never)]
    fn look<'d>(&self, check: &Check, node: Node<'d>, pass: &Pass<'d>) -> bool {
        let Some(rules) = self.rules.get(check.rules as usize) else { return false };
        let kept = match node.kind() {
            Kind::String => has_length(check, node) && rules.form.is_none_or(|form| self.has_form(form, node, pass)),
            Kind::Number => {
                (!rules.integers || Number(node).is_integer())
                    && rules.bounds.as_ref().is_none_or(|bounds| bounds.hold(node))
            }
            Kind::Array => rules.array.as_ref().is_none_or(|array| self.elements(array, node, pass)),
            Kind::Object => rules.object.as_ref().is_none_or(|object| self.members(object, node, pass)),
            Kind::Null | Kind::Bool => true,
        };
        kept && rules.choice.as_ref().is_none_or(|choice| choice.iter().any(|one| equal::equals_value(node, one)))
            && ((rules.also.is_empty() && rules.others.is_empty()) || self.further(rules, node, pass))
    }

    #[inline(never)]
    fn further<'d>(&self, rules: &Rules, node: Node<'d>, pass: &Pass<'d>) -> bool {
        pass.step(rules.also.len())
            && rules.also.iter().all(|check| self.keeps(check, node, pass))
            && rules.others.iter().all(|other| self.other(*other, node, pass))
    }

    /// What a validator says.
    #[inline(never)]
    fn other<'d>(&self, other: u32, node: Node<'d>, pass: &Pass<'d>) -> bool {
        let Some(validator) = self.others.get(other as usize) else { return false };
        let walk = pass.walk.get_or_init(|| Walk::new(pass.root));
        validator.is_valid(Instance::Value(node, walk)) && !walk.exhausted()
    }

    fn has_form<'d>(&self, form: Form, node: Node<'d>, pass: &Pass<'d>) -> bool {
        node.raw_contents().is_some_and(|text| form.is_plainly_of(text)) || self.other(form.validator, node, pass)
    }

    #[inline(always)]
    fn elements<'d>(&self, array: &Array, node: Node<'d>, pass: &Pass<'d>) -> bool {
        let len = node.len();
        (array.fewest..=array.most).contains(&len)
            && pass.step(len)
            && node.elements().all(|element| self.keeps(&array.items, element, pass))
    }

    #[inline(always)]
    fn members<'d>(&self, object: &Object, node: Node<'d>, pass: &Pass<'d>) -> bool {
        let len = node.len();
        if len < object.fewest || len > object.most || !pass.step(len) {
            return false;
        }
        // No name occurs twice, so it is enough to count.
        let mut required = 0;
        for (key, value) in node.members() {
            let check = match object.members.find(key) {
                Some(member) => {
                    required += member.required;
                    &member.check
                }
                None => &object.unnamed,
            };
            if !self.keeps(check, value, pass) {
                return false;
            }
        }
        required == object.required
    }
}

/// Whether a text is neither too short nor too long.
#[inline(always)]
fn has_length(check: &Check, node: Node<'_>) -> bool {
    // With its quotes it has two bytes more than its contents, and these at least one for each character, escapes or not.
    let bytes = node.range().len();
    (check.shortest == 0 && bytes <= check.longest as usize) || counts(check, node)
}

#[inline(never)]
fn counts(check: &Check, node: Node<'_>) -> bool {
    let count = match node.raw_contents() {
        Some(plain) => characters(plain),
        None => node.as_str().map_or(0, |text| characters(text.as_bytes())),
    };
    (check.shortest as usize..=check.longest as usize).contains(&count)
}

impl Bounds {
    fn hold(&self, node: Node<'_>) -> bool {
        let Some(value) = node.as_f64() else { return false };
        // Of larger ones a double does not tell each from its neighbours.
        value.abs() < EXACT && self.least <= value && value <= self.most && self.above < value && value < self.below
    }
}

/// Integers below 2^53 are doubles.
const EXACT: f64 = 9_007_199_254_740_992.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::Dialect;
    use serde_json::json;
    use tradelane_tape::{Limits, Tape};

    /// Whether a schema is not left to the validator, and what is said of a document then.
    fn quickly(schema: &Value, json: &str) -> Option<bool> {
        let mut tape = Tape::new();
        let doc = tape.parse(json.as_bytes(), &Limits::EVENT).unwrap();
        Quick::compile(schema, Dialect::Draft202012).map(|quick| quick.is_kept_by(doc.root()))
    }

    #[test]
    fn what_contracts_say_is_decided_without_the_validator_of_the_whole() {
        let schema = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "https://example.com/order", "title": "an order",
            "type": "object", "required": ["id", "lines", "at"], "additionalProperties": false,
            "properties": {
                "id": {"type": "string", "minLength": 2, "maxLength": 8, "pattern": "^o"},
                "at": {"type": "string", "format": "date-time"},
                "kind": {"enum": ["sale", "return", null]},
                "lines": {"type": "array", "minItems": 1, "items": {
                    "type": "object", "required": ["count"], "properties": {"count": {"type": "integer", "minimum": 1}},
                }},
            },
        });
        let kept =
            r#"{"id": "o-1", "at": "2026-11-21T08:15:30Z", "kind": null, "lines": [{"count": 1}, {"count": 2.0}]}"#;
        assert_eq!(quickly(&schema, kept), Some(true));
        for (from, to) in [
            ("o-1", "o"),
            ("o-1", "o-1234567"),
            ("o-1", "x-1"),
            ("2026-11", "2026-13"),
            ("null", "false"),
            ("[{", "[1, {"),
            ("2.0", "2.5"),
            ("\"count\": 1", "\"count\": 0"),
            ("\"count\": 1", "\"counts\": 1"),
            ("\"kind\"", "\"kinds\""),
        ] {
            let broken = kept.replace(from, to);
            assert_ne!(broken, kept);
            assert_eq!(quickly(&schema, &broken), Some(false), "{broken}");
        }
    }

    #[test]
    fn what_is_not_known_here_is_left_to_the_validator() {
        for schema in [
            json!({"properties": {"a": {"$dynamicRef": "#a"}}}),
            json!({"properties": {"a": {"$ref": "https://json-schema.org/draft/2020-12/schema"}}}),
            json!({"properties": {"a": {"$id": "x"}}}),
            json!({"properties": {"a": {"discriminator": {}}}}),
            json!({"properties": {"a": {"oneOf": [{"$ref": "#/$defs/b"}]}}, "$defs": {"b": {}}}),
            json!({"properties": {"a": {"$ref": "#/$defs/b"}}, "$defs": {"b": {"$ref": "#/$defs/b"}}}),
            json!({"allOf": [{"properties": {"x": {"$ref": "#/$defs/b"}}}, {"$ref": "#/$defs/b"}], "$defs": {"b": {"$ref": "#"}}}),
        ] {
            assert_eq!(quickly(&schema, "{}"), None, "{schema}");
        }
    }

    #[test]
    fn a_schema_that_looks_again_and_again_is_left_to_the_validator() {
        let twice = json!({"properties": {"a": {"allOf": [{"$ref": "#"}, {"$ref": "#"}]}}});
        let nested = |depth: usize| r#"{"a":"#.repeat(depth) + "1" + &"}".repeat(depth);
        assert_eq!(quickly(&twice, &nested(4)), Some(true));
        assert_eq!(quickly(&twice, &nested(40)), Some(false));
    }
}
