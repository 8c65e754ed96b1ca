//! Why a reader sees what it sees: an event's fields one by one, with the rule and the action that decided.
//!
//! What a reader sees is not computed a second time here: the event is rendered, and each field is looked up in the result.

use tradelane_model::pattern::Pattern;
use tradelane_model::{Action, Class};
use tradelane_tape::{Limits, Node, Tape, pointer};

use crate::error::Withheld;
use crate::key::OpeningKeys;
use crate::open::OpenedEvent;
use crate::render::Scratch;
use crate::rules::{RuleId, Rules, Verdict};
use crate::view::{Path, Splice, View};

/// One field of an event and what a view makes of it. It holds what the reader would see, and the names of members even
/// where the reader would not see them: it is for the owner of the data.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldExplanation {
    /// Where in the event (RFC 6901).
    pub pointer: String,
    /// Its class under the contract.
    pub class: Class,
    /// The place of the contract that names it; if `named` is false, the one under which it was found.
    pub rule: Pattern,
    /// Whether the contract names it; what it does not name is of the most restricted class.
    pub named: bool,
    /// What the view does with it.
    pub action: Action,
    /// The field pattern of the view that decided so; none: its action for the class, or the default.
    pub by_field: Option<Pattern>,
    /// Whether it belongs to a person who can be erased.
    pub has_subject: bool,
    /// What the reader sees, as JSON text; none if the field is left out.
    pub rendered: Option<String>,
}

impl View {
    /// Explains an event, field by field, in the order of the document. Fields of erased people are not listed: nothing is
    /// known of them.
    pub fn explain(&self, event: &OpenedEvent<'_>, keys: &dyn OpeningKeys) -> Result<Vec<FieldExplanation>, Withheld> {
        let mut scratch = Scratch::default();
        let mut shown = Vec::new();
        self.render_json(event, keys, &mut scratch, false, &mut shown)?;
        let mut clear = zeroize::Zeroizing::new(Vec::new());
        self.reveal_json(event, keys, &mut scratch, &mut clear)?;
        let (mut shown_tape, mut clear_tape) = (Tape::new(), Tape::new());
        let parse = |_| Withheld::Unclassifiable;
        let shown = shown_tape.parse(&shown, &Limits::DOCUMENT).map_err(parse)?;
        let clear = clear_tape.parse(&clear, &Limits::DOCUMENT).map_err(parse)?;
        let (rules, splice) = match &self.path {
            Path::Fast(splice) => (&*self.event, splice),
            Path::Slow { rules, splice, .. } => (&**rules, splice),
        };
        let mut explainer =
            Explainer { rules, splice, shown: shown.root(), pointer: String::new(), fields: Vec::new() };
        explainer.value(clear.root(), 0);
        Ok(explainer.fields)
    }
}

struct Explainer<'a> {
    rules: &'a Rules,
    splice: &'a Splice,
    shown: Node<'a>,
    pointer: String,
    fields: Vec<FieldExplanation>,
}

impl Explainer<'_> {
    fn value(&mut self, node: Node<'_>, index: u32) {
        let rules = self.rules;
        let Some(place) = rules.place(index) else { return };
        match rules.decide(index, place, node.kind()) {
            Verdict::Public => self.field((index as RuleId) << 1),
            Verdict::Hole(rule) => self.field(rule),
            Verdict::Elements(items) => {
                for (at, element) in node.elements().enumerate() {
                    self.below(&at.to_string(), |this| this.value(element, items));
                }
            }
            Verdict::Members => {
                for (key, value) in node.members() {
                    let name = key.as_str();
                    let child = place.property(&name).or(place.any_property);
                    self.below(&name, |this| match child {
                        Some(child) => this.value(value, child),
                        None => this.field((index as RuleId) << 1 | 1),
                    });
                }
            }
        }
    }

    fn below(&mut self, step: &str, work: impl FnOnce(&mut Self)) {
        let len = self.pointer.len();
        pointer::push_token(&mut self.pointer, step);
        work(self);
        self.pointer.truncate(len);
    }

    fn field(&mut self, rule: RuleId) {
        let (Some((place, unnamed)), Some(decision)) =
            (self.rules.of_rule(rule), self.splice.decisions.get(usize::from(rule)))
        else {
            return;
        };
        let class = self.rules.classes.get(usize::from(self.rules.class_of_rule(rule)));
        self.fields.push(FieldExplanation {
            pointer: self.pointer.clone(),
            class: class.cloned().unwrap_or_else(Class::unclassified),
            rule: place.pattern.clone(),
            named: !unnamed,
            action: self.splice.effective(rule, &decision.action),
            by_field: decision.by_field.clone(),
            has_subject: place.subject.is_some(),
            rendered: self.shown.pointer(&self.pointer).map(|shown| shown.raw_text().to_owned()),
        });
    }
}
