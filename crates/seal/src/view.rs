//! A grant, compiled: what is done at each place of an event, decided once and looked up per hole.
//!
//! A view reads events of one contract version (the one that cut them) under the current one. Where the two agree, or the
//! current one merely changed what is done with a hole, events are spliced. Where a place that was left in the clear has
//! since been restricted, or holes would have to be cut otherwise, events take the slow path: revealed in memory, parsed
//! and located anew under the current contract, then spliced.

use std::collections::BTreeSet;
use std::sync::Arc;

use tradelane_encodings::Tree;
use tradelane_keys::{MacKey, SecretBytes, hkdf};
use tradelane_model::pattern::{Pattern, Segment};
use tradelane_model::shape::Types;
use tradelane_model::view::{DateUnit, Generalize};
use tradelane_model::{Action, Class, ViewSpec};

use crate::binary::Codec;
use crate::cache::Replacements;
use crate::error::{ViewError, Withheld};
use crate::format::Encoding;
use crate::render::ClassSet;
use crate::rules::{Handling, PlaceRule, RuleId, Rules};

/// Bytes of stand-ins that a view keeps at most.
const CACHE_BYTES: u64 = 8 << 20;

/// The secrets of a view's stand-ins, which bind them to one reader.
#[derive(Debug, Clone)]
pub struct ViewKeys {
    pub(crate) pseudonyms: MacKey,
    pub(crate) grant: String,
}

impl ViewKeys {
    /// Derives them from the tenant's key for views. Two consumers, purposes or epochs share no pseudonym; tokens are
    /// further bound to the grant.
    pub fn derive(tenant_key: &SecretBytes<32>, consumer: &str, purpose: &str, epoch: u64, grant: &str) -> Self {
        let epoch = epoch.to_be_bytes();
        let info: [&[u8]; 4] = [b"tradelane/pseudonym/v1", consumer.as_bytes(), purpose.as_bytes(), &epoch];
        let key = hkdf(tenant_key.expose(), &info);
        Self { pseudonyms: MacKey::new(key.expose()), grant: grant.to_owned() }
    }
}

/// A grant's view of the events of one contract version.
#[derive(Debug)]
pub struct View {
    pub(crate) event: Arc<Rules>,
    pub(crate) classes: Vec<Class>,
    pub(crate) keys: ViewKeys,
    pub(crate) path: Path,
    pub(crate) cache: Option<Replacements>,
    /// The schema of the events, if they are not JSON.
    pub(crate) codec: Option<Arc<Codec>>,
    /// The same view of events of another schema, into which those of this one are brought before they are masked.
    pub(crate) onto: Option<Box<View>>,
}

/// How events of this version are rendered.
#[derive(Debug)]
pub(crate) enum Path {
    /// Spliced as they are stored.
    Fast(Splice),
    /// Revealed, located under `rules`, then spliced.
    Slow { reveal: Splice, rules: Box<Rules>, splice: Splice },
}

/// What to do at each hole, by its rule.
#[derive(Debug)]
pub(crate) struct Splice {
    pub(crate) ops: Vec<RuleOp>,
    pub(crate) decisions: Vec<Decision>,
    /// No hole of this view needs its value: literals only, no key, no decryption.
    pub(crate) literal: bool,
    /// Some hole is shown as it was sealed: its section must be opened, even if all stand-ins are known.
    pub(crate) opens: bool,
    /// Every hole is shown as it is.
    pub(crate) identity: bool,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct RuleOp {
    pub(crate) op: Op,
    /// Whether `op` is to drop: the frequent case, as a flag of its own, which is a plain branch and no table of jumps.
    pub(crate) drops: bool,
    /// Index into the view's classes.
    pub(crate) class: u8,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Op {
    Reveal,
    Drop,
    Redact,
    Change(Change),
}

/// Actions that look at the value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Change {
    Partial { first: u8, last: u8 },
    Date(DateUnit),
    Geo { decimals: u8 },
    Number { bucket: f64, decimals: u8 },
    Pseudonym,
    Token,
}

/// What is done with a rule's fields, and why.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Decision {
    pub(crate) action: Action,
    /// The field pattern of the view that decided; none: the class did.
    pub(crate) by_field: Option<Pattern>,
    pub(crate) class: u16,
}

impl View {
    /// Compiles `spec` for reading events that `event` cut, under the contract that is `current` now.
    pub fn compile(
        event: &Arc<Rules>,
        current: &Arc<Rules>,
        spec: &ViewSpec,
        keys: ViewKeys,
    ) -> Result<Self, ViewError> {
        let decisions = decide_all(current, spec)?;
        let marked = marked(current, &decisions);
        let fast = if marked.is_empty() { carried_over(event, current, &decisions) } else { None };
        let path = match fast {
            Some(decisions) => Path::Fast(Splice::new(event, decisions, true)),
            None => {
                let rules = Rules::compile_with(current.shape(), current.id(), &marked)?;
                let splice = Splice::new(&rules, decisions, false);
                Path::Slow { reveal: Splice::reveal_all(event), rules: Box::new(rules), splice }
            }
        };
        let changes = |splice: &Splice| splice.ops.iter().any(|rule| matches!(rule.op, Op::Change(_)));
        let cached = match &path {
            Path::Fast(splice) => changes(splice),
            Path::Slow { .. } => false,
        };
        let cache = cached.then(|| Replacements::new(CACHE_BYTES));
        let classes = current.classes.clone();
        Ok(Self { event: Arc::clone(event), classes, keys, path, cache, codec: None, onto: None })
    }

    /// The same for events in a binary encoding that are shown in another schema than they are written in: put together in
    /// memory, brought into the schema of `shown` by what their encoding says of versions, and only then classified, under
    /// the `current` contract, and masked. So no value is classified by a name under which it is not shown.
    pub fn compile_onto(
        (event, written): (&Arc<Rules>, Arc<Codec>),
        (current, shown): (&Arc<Rules>, Arc<Codec>),
        spec: &ViewSpec,
        keys: ViewKeys,
    ) -> Result<Self, ViewError> {
        let decisions = decide_all(current, spec)?;
        let rules = Rules::compile_with(current.shape(), current.id(), &marked(current, &decisions))?;
        let splice = Splice::new(&rules, decisions, false);
        let view = |rules: &Arc<Rules>, codec, path, onto| Self {
            event: Arc::clone(rules),
            classes: current.classes.clone(),
            keys: keys.clone(),
            path,
            cache: None,
            codec: Some(codec),
            onto,
        };
        let onto = view(current, shown, Path::Fast(Splice::reveal_all(current)), None);
        let path = Path::Slow { reveal: Splice::reveal_all(event), rules: Box::new(rules), splice };
        Ok(view(event, written, path, Some(Box::new(onto))))
    }

    /// What shows events once they are in the schema in which they are shown.
    pub(crate) fn shower(&self) -> &Self {
        self.onto.as_deref().unwrap_or(self)
    }

    /// The same view of events in a binary encoding, whose schema is that of the contract version that cut them.
    pub fn of_binary(self, codec: Arc<Codec>) -> Self {
        Self { codec: Some(codec), ..self }
    }

    /// Brings a revealed event into the schema in which it is shown, if that is another one than it was written in.
    pub(crate) fn bring_over(&self, clear: &mut Vec<u8>, tree: &mut Tree) -> Result<(), Withheld> {
        let (Some(onto), Some(written)) = (&self.onto, &self.codec) else { return Ok(()) };
        let shown = onto.codec.as_ref().ok_or(Withheld::OtherShape)?;
        let mut brought = zeroize::Zeroizing::new(Vec::with_capacity(clear.len()));
        shown.resolve(written, clear, tree, &mut brought).map_err(|_| Withheld::OtherVersion)?;
        std::mem::swap(clear, &mut *brought);
        Ok(())
    }

    pub(crate) fn encoding(&self) -> Encoding {
        self.codec.as_ref().map_or(Encoding::Json, |codec| codec.encoding())
    }

    /// Number of the contract version whose events this view reads.
    pub fn event_shape(&self) -> u32 {
        self.event.id()
    }

    /// Whether events are spliced as they are stored; otherwise each is parsed again.
    pub fn is_fast(&self) -> bool {
        matches!(self.path, Path::Fast(_))
    }

    /// Whether no event needs a data key.
    pub fn is_literal(&self) -> bool {
        matches!(&self.path, Path::Fast(splice) if splice.literal)
    }

    /// The names of the classes in a set that rendering returned.
    pub fn class_names(&self, set: ClassSet) -> Vec<Class> {
        let held = self.classes.iter().zip(0_u8..).filter(|(_, index)| set.contains(*index));
        held.map(|(class, _)| class.clone()).collect()
    }

    /// The classes of which this view can show anything at all, in whatever form: for the grant's description.
    pub fn disclosed_classes(&self) -> Vec<Class> {
        let (Path::Fast(splice) | Path::Slow { splice, .. }) = &self.path;
        let mut set = ClassSet::default();
        for rule in splice.ops.iter().filter(|rule| matches!(rule.op, Op::Reveal | Op::Change(_))) {
            set.insert(rule.class);
        }
        self.class_names(set)
    }

    /// Forgets all stand-ins. To be called after an erasure, before it is acknowledged.
    pub fn clear_cache(&self) {
        if let Some(cache) = &self.cache {
            cache.clear();
        }
    }
}

impl Splice {
    fn new(rules: &Rules, decisions: Vec<Decision>, sealed: bool) -> Self {
        let ops = decisions.iter().zip(0_u16..).map(|(decision, rule)| {
            let op = op(rules, rule, &decision.action);
            let class = u8::try_from(decision.class).unwrap_or(u8::MAX);
            RuleOp { op, drops: op == Op::Drop, class }
        });
        let ops: Vec<RuleOp> = ops.collect();
        let opened = |(rule, op): (RuleId, &RuleOp)| {
            op.op == Op::Reveal && sealed && rules.handling_of_rule(rule) == Handling::Sealed
        };
        let opens = (0_u16..).zip(&ops).any(opened);
        let literal = !opens && !ops.iter().any(|rule| matches!(rule.op, Op::Change(_)));
        let identity = ops.iter().all(|rule| rule.op == Op::Reveal);
        Self { ops, decisions, literal, opens, identity }
    }

    /// What is really done: an action that does not fit a field is a drop.
    pub(crate) fn effective(&self, rule: RuleId, action: &Action) -> Action {
        match self.ops.get(usize::from(rule)).map(|rule| rule.op) {
            Some(Op::Drop) | None => Action::Drop,
            Some(_) => action.clone(),
        }
    }

    pub(crate) fn reveal_all(rules: &Rules) -> Self {
        let decision = |rule| Decision { action: Action::Reveal, by_field: None, class: rules.class_of_rule(rule) };
        let all = 0..u16::try_from(rules.places.len() * 2).unwrap_or(u16::MAX);
        Self::new(rules, all.map(decision).collect(), true)
    }
}

fn op(rules: &Rules, rule: RuleId, action: &Action) -> Op {
    // A field whose name is data too, or that is not what the contract names, is shown whole or not at all.
    let whole = rules.of_rule(rule).is_none_or(|(place, unnamed)| unnamed || place.hides_name);
    match action {
        Action::Reveal => Op::Reveal,
        Action::Drop => Op::Drop,
        _ if whole => Op::Drop,
        Action::Redact => Op::Redact,
        Action::Partial { first, last } => Op::Change(Change::Partial { first: *first, last: *last }),
        Action::Generalize(Generalize::Date(unit)) => Op::Change(Change::Date(*unit)),
        Action::Generalize(Generalize::Geo { decimals }) => Op::Change(Change::Geo { decimals: *decimals }),
        Action::Generalize(Generalize::Number { bucket }) => {
            Op::Change(Change::Number { bucket: *bucket, decimals: decimals_of(*bucket) })
        }
        Action::Pseudonym => Op::Change(Change::Pseudonym),
        Action::Token => Op::Change(Change::Token),
    }
}

/// Decimals that a multiple of the bucket needs, so that 0.1 * 3 is written as 0.3.
fn decimals_of(bucket: f64) -> u8 {
    let text = bucket.to_string();
    let decimals = text.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    u8::try_from(decimals.min(20)).unwrap_or(20)
}

/// What the view does by each rule of the current contract: two decisions per place, named and unnamed.
pub(crate) fn decide_all(current: &Rules, spec: &ViewSpec) -> Result<Vec<Decision>, ViewError> {
    if let Some(problem) = spec.problem() {
        return Err(ViewError::BadAction(problem));
    }
    let known: BTreeSet<&Pattern> = current.places.iter().map(|place| &place.pattern).collect();
    if let Some(unknown) = spec.fields.keys().find(|pattern| !known.contains(pattern)) {
        return Err(ViewError::UnknownField(unknown.clone()));
    }
    let mut decisions = Vec::with_capacity(current.places.len() * 2);
    for place in &current.places {
        decisions.push(decide_named(current, spec, place)?);
        decisions.push(decide_unnamed(current, spec, place));
    }
    Ok(decisions)
}

fn decide_named(current: &Rules, spec: &ViewSpec, place: &PlaceRule) -> Result<Decision, ViewError> {
    let class = current.classes.get(usize::from(place.class)).cloned().unwrap_or_else(Class::unclassified);
    let decision = match field_action(spec, &place.pattern) {
        Some((pattern, action)) => Decision { action: action.clone(), by_field: Some(pattern), class: place.class },
        None => Decision { action: spec.class_action(&class), by_field: None, class: place.class },
    };
    if decision.action == Action::Token && place.handling != Handling::Sealed {
        return Err(ViewError::TokenOfOpenField { at: place.pattern.clone(), class });
    }
    Ok(decision)
}

/// What is not named is shown only by an action for the class `unclassified`; an action for its container can hide it
/// further, and never shows it.
fn decide_unnamed(current: &Rules, spec: &ViewSpec, place: &PlaceRule) -> Decision {
    let class = current.unclassified;
    if let Some((pattern, action)) = field_action(spec, &place.pattern)
        && *action != Action::Reveal
    {
        return Decision { action: Action::Drop, by_field: Some(pattern), class };
    }
    let action = match spec.class_action(&Class::unclassified()) {
        Action::Reveal => Action::Reveal,
        _ => Action::Drop,
    };
    Decision { action, by_field: None, class }
}

/// The action of the nearest pattern at or above a place.
fn field_action<'s>(spec: &'s ViewSpec, at: &Pattern) -> Option<(Pattern, &'s Action)> {
    if spec.fields.is_empty() {
        return None;
    }
    let steps = at.segments();
    (0..=steps.len()).rev().find_map(|depth| {
        let prefix = Pattern::from_segments(steps.iter().take(depth).cloned().collect());
        spec.fields.get(&prefix).map(|action| (prefix, action))
    })
}

/// Public places that this view does not simply show: they must become holes, which only the slow path can do.
fn marked(current: &Rules, decisions: &[Decision]) -> BTreeSet<Pattern> {
    let named = decisions.iter().step_by(2);
    let marked = current
        .places
        .iter()
        .zip(named)
        .filter(|(place, decision)| place.handling == Handling::Public && decision.action != Action::Reveal);
    marked.map(|(place, _)| place.pattern.clone()).collect()
}

/// The decisions for the rules of an event's own version, if its holes can be used as they are.
fn carried_over(event: &Rules, current: &Rules, decisions: &[Decision]) -> Option<Vec<Decision>> {
    let mut carried = Vec::with_capacity(event.places.len() * 2);
    for place in &event.places {
        let (named, unnamed) = match find(current, &place.pattern) {
            Found::Exact(index) => {
                let there = current.place(index)?;
                if !same_cut(place, there) && !all_revealed(current, index, decisions) {
                    return None;
                }
                (decision(decisions, index, 0)?, decision(decisions, index, 1)?)
            }
            Found::Below(leaf) => (decision(decisions, leaf, 0)?, decision(decisions, leaf, 1)?),
            Found::Unnamed(above) => (decision(decisions, above, 1)?, decision(decisions, above, 1)?),
        };
        if place.handling == Handling::Public && named.action != Action::Reveal {
            return None;
        }
        carried.push(named.clone());
        carried.push(unnamed.clone());
    }
    Some(carried)
}

fn decision(decisions: &[Decision], place: u32, unnamed: usize) -> Option<&Decision> {
    decisions.get(place as usize * 2 + unnamed)
}

/// Would the current contract cut the same holes at this place?
fn same_cut(event: &PlaceRule, current: &PlaceRule) -> bool {
    let types = current.types == Types::ANY || (event.types != Types::ANY && current.types.has(event.types));
    let containers = event.leaf
        || (event.has_members() == current.has_members() && event.items.is_some() == current.items.is_some());
    types && event.leaf == current.leaf && event.hides_name == current.hides_name && containers
}

fn all_revealed(current: &Rules, index: u32, decisions: &[Decision]) -> bool {
    let Some(root) = current.place(index) else { return false };
    let below = |place: &PlaceRule| place.pattern.segments().starts_with(root.pattern.segments());
    let reveals = |at: usize| decisions.get(at).is_some_and(|decision| decision.action == Action::Reveal);
    let mut inside = current.places.iter().enumerate().filter(|(_, place)| below(place));
    inside.all(|(at, _)| reveals(at * 2) && reveals(at * 2 + 1))
}

enum Found {
    /// The current contract has this place.
    Exact(u32),
    /// The current contract treats all of a place above it as one.
    Below(u32),
    /// The current contract does not name it, under this place.
    Unnamed(u32),
}

fn find(current: &Rules, pattern: &Pattern) -> Found {
    let mut index = 0;
    for segment in pattern.segments() {
        let Some(place) = current.place(index) else { return Found::Unnamed(0) };
        if place.leaf {
            return Found::Below(index);
        }
        let next = match segment {
            Segment::Property(name) => place.property(name).or(place.any_property),
            Segment::AnyProperty => place.any_property,
            Segment::Items => place.items,
        };
        match next {
            Some(next) => index = next,
            None => return Found::Unnamed(index),
        }
    }
    Found::Exact(index)
}
