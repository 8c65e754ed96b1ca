//! Events in a binary encoding: which schema they were written with, whether they keep their contract, and what their
//! readers are told of their schema.
//!
//! An event names the schema that its producer used. It must be one that the contract has, now or in an earlier revision,
//! so that what was stored can be read for as long as the contract is there, whatever becomes of the registry. The event
//! is cut by the rules of the current revision all the same: a producer that has not moved to the newest schema yet does
//! not escape a stricter class. The number that says which revision cut an event therefore says both ([`Cut`]).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use tradelane_encodings::avro::Schema;
use tradelane_encodings::{Limits, Tree};
use tradelane_model::native::NativeSchema;
use tradelane_model::registry::{Registry, SchemaKind, SchemaReference};
use tradelane_model::{Contract, OrgId, ProductId, Timestamp, ViewSpec, codes};
use tradelane_registry::{ProtobufSchema, Reference, SchemaProblem, canonical, in_one_file, wire};
use tradelane_seal::{Codec, Encoding, SealError};
use tradelane_tape::Tape;

use crate::Hub;
use crate::dictionaries::BatchPacking;
use crate::error::{HubError, Place, Result};
use crate::evolve::{Held, Kept};
use crate::key_field::Found;
use crate::keyring::BatchKeys;
use crate::references::files;
use crate::views::{CompiledContract, Verdict};

/// The revision whose rules cut an event, and how many revisions before it the one is whose schema the event is written
/// in. As a number: the revision in the lower 20 bits, the distance in the 11 above, and in the highest whether the rules are
/// those of both revisions laid over each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cut {
    pub(crate) revision: u32,
    pub(crate) back: u32,
    /// Is it cut by what the earlier revision names, as restricted as either has it? Otherwise by the later one alone.
    pub(crate) laid: bool,
}

const REVISION_BITS: u32 = 20;
const BACK_BITS: u32 = 11;
const LAID: u32 = 1 << 31;

impl Cut {
    pub(crate) fn of(number: u32) -> Self {
        let back = (number >> REVISION_BITS) & ((1 << BACK_BITS) - 1);
        Self { revision: number & ((1 << REVISION_BITS) - 1), back, laid: number & LAID != 0 }
    }

    /// None: more revisions than can be told apart.
    pub(crate) fn number(self) -> Option<u32> {
        let fits = self.revision < 1 << REVISION_BITS && self.back < 1 << BACK_BITS;
        fits.then_some(self.revision | self.back << REVISION_BITS | if self.laid { LAID } else { 0 })
    }

    /// The revision whose schema the event is written in.
    pub(crate) fn schema(self) -> u32 {
        self.revision.saturating_sub(self.back)
    }
}

/// A contract whose events have a schema of their own encoding, compiled.
pub(crate) struct NativeContract {
    pub(crate) codec: Arc<Codec>,
    /// Must events be shown to the JSON Schema of the contract? Not if its types are all that it demands and the encoding
    /// keeps to them anyway.
    pub(crate) is_held_to_json: bool,
    /// What stands between a schema's id and an event: in Protobuf, which message of the schema it is.
    pub(crate) path: Arc<[u8]>,
    /// What the schema means: equal for schemas whose events have equal bytes and meaning.
    canonical: String,
}

/// A schema, compiled, as [`NativeContract`] keeps it.
struct Compiled {
    codec: Codec,
    canonical: String,
    path: Vec<u8>,
}

fn compile(contract: &Contract, native: &NativeSchema) -> std::result::Result<Compiled, String> {
    let files = files(contract);
    match native {
        NativeSchema::Avro { text } => {
            let known: Vec<&str> = files.iter().map(|file| file.text.as_str()).collect();
            let schema = Schema::parse_with(text, &known).map_err(|error| format!("avroSchema: {error}"))?;
            let canonical = schema.canonical();
            Ok(Compiled { codec: Codec::avro(schema), canonical, path: Vec::new() })
        }
        NativeSchema::Protobuf { text, message } => {
            let wrong = |error: SchemaProblem| format!("protobufSchema: {error}");
            let text = &in_one_file(text, &files).map_err(wrong)?;
            let schema = ProtobufSchema::parse(text, &[]).map_err(wrong)?;
            let (messages, place) = schema.messages(message).map_err(wrong)?;
            let canonical = canonical(SchemaKind::Protobuf, text, &[], true).map_err(wrong)?;
            let mut path = Vec::new();
            wire::put_message_path(&place, &mut path);
            Ok(Compiled { codec: Codec::protobuf(messages), canonical, path })
        }
    }
}

impl NativeContract {
    /// Compiles the schema that `written` carries, for events that keep the contract `rules`. None: they are JSON.
    pub(crate) fn compile(written: &Contract, rules: &Contract) -> Result<Option<Self>> {
        let invalid = |what: String| HubError::new(codes::CONTRACT_INVALID, format!("contract {}: {what}", rules.id));
        let Some(native) = &written.native else { return Ok(None) };
        let Compiled { codec, canonical, path } = compile(written, native).map_err(invalid)?;
        let is_own = std::ptr::eq(written, rules);
        let is_implied = match codec.agree(&rules.shape) {
            Ok(agreement) => agreement.is_implied,
            Err((place, reason)) if is_own => return Err(invalid(format!("{place}: {reason}"))),
            // An earlier schema need not have what the current contract names.
            Err(_) => false,
        };
        let says_more = rules.text.contains("logicalTypeOptions") || rules.text.contains("jsonSchema");
        Ok(Some(Self {
            codec: Arc::new(codec),
            is_held_to_json: says_more || !is_implied,
            canonical,
            path: path.into(),
        }))
    }
}

impl NativeContract {
    /// The event in what follows the id of its schema; none if it is another message.
    pub(crate) fn event<'e>(&self, rest: &'e [u8]) -> Option<&'e [u8]> {
        match self.codec.encoding() {
            Encoding::Protobuf => {
                let (place, event) = wire::message_path(rest)?;
                let mut path = Vec::with_capacity(self.path.len());
                wire::put_message_path(&place, &mut path);
                (*path == *self.path).then_some(event)
            }
            _ => Some(rest),
        }
    }
}

/// The buffers in which events are looked at, and how they are packed then.
#[derive(Default)]
pub(crate) struct Looking {
    pub(crate) tape: Tape,
    tree: Tree,
    text: Vec<u8>,
    /// The event in another schema, and its tree.
    brought: Vec<u8>,
    brought_tree: Tree,
    pub(crate) packing: BatchPacking,
    /// What was found in the event at hand beside what is sealed.
    pub(crate) found: Found,
}

impl Looking {
    /// Empty ones, for events that are packed like this.
    pub(crate) fn packed(packing: BatchPacking) -> Self {
        Self { packing, ..Self::default() }
    }
}

impl CompiledContract {
    /// The life of a binary event up to the log: walked once, checked, located, sealed into `out`.
    #[allow(clippy::too_many_arguments, reason = "what check_and_seal takes, and the schema")]
    pub(crate) fn check_and_seal_binary(
        &self,
        native: &NativeContract,
        kept: Option<&Kept>,
        looking: &mut Looking,
        event: &[u8],
        keys: &BatchKeys,
        now: Timestamp,
        out: &mut Vec<u8>,
    ) -> Result<Verdict> {
        let Looking { tape, tree, text, brought, brought_tree, packing, .. } = looking;
        let refused = |code, rule: &str, message: String| {
            Ok(Err((code, vec![Place { pointer: String::new(), rule: rule.into(), message }])))
        };
        if let Err(error) = native.codec.walk(event, &Limits::EVENT, tree) {
            return refused(codes::ENCODING_INVALID, "encoding", error.to_string());
        }
        // It is held to its contract in the form that readers of it have.
        let judge = kept.map_or(self, |kept| &kept.contract);
        let (mut shown, mut codec, mut is_held) = ((event, &*tree), &native.codec, native.is_held_to_json);
        if let (Some(kept), Some(judged)) = (kept, &judge.native) {
            is_held = judged.is_held_to_json;
            if judged.canonical != native.canonical {
                brought.clear();
                match judged.codec.resolve(&native.codec, event, brought_tree, brought) {
                    Ok(()) => (shown, codec) = ((brought.as_slice(), &*brought_tree), &judged.codec),
                    Err(error) if kept.must_fit => return refused(codes::VERSION_ENDED, "version", error.to_string()),
                    Err(_) => is_held = true,
                }
            }
        }
        if is_held || judge.has_rules() {
            text.clear();
            let written = codec.write_json(shown.0, shown.1, text);
            let doc = written.ok().and_then(|()| tape.parse(text, &tradelane_tape::Limits::DOCUMENT).ok());
            let Some(doc) = doc else {
                return refused(codes::TOO_LARGE, "json", "the event is too large to be held to its contract".into());
            };
            if let Err(refused) = judge.check_binary(doc, is_held, now) {
                return Ok(Err(refused));
            }
        }
        let located = match self.rules.locate_binary(&native.codec, event, tree, &self.tagger) {
            Ok(located) => located,
            Err(error) => return refused(error.code(), "locate", error.to_string()),
        };
        if let Some(refused) = crate::views::unattributed(&located) {
            return Ok(Err(refused));
        }
        match packing.seal(self.revision, &located, &self.product, keys, out) {
            Ok(()) => Ok(Ok(())),
            Err(error @ SealError::TooLarge) => refused(error.code(), "seal", error.to_string()),
            Err(error) => Err(HubError::of(error.code()).because(error).retry(1)),
        }
    }
}

/// What registered schemas mean, by their ids, which never mean another. None: not a schema that events can be held to.
#[derive(Default)]
pub(crate) struct Meanings(Mutex<HashMap<u32, Option<Arc<str>>>>);

/// The most meanings that are remembered; beyond, all are worked out again.
const MAX_MEANINGS: usize = 4_096;
/// The most schemas that one refers to.
const MAX_REFERENCES: usize = 128;

impl Meanings {
    fn of(&self, registry: &Registry, id: u32) -> Option<Arc<str>> {
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = lock().get(&id) {
            return known.clone();
        }
        let meaning = meaning(registry, id);
        let mut known = lock();
        if known.len() >= MAX_MEANINGS {
            known.clear();
        }
        known.insert(id, meaning.clone());
        meaning
    }
}

fn meaning(registry: &Registry, id: u32) -> Option<Arc<str>> {
    let registered = registry.schema(id)?;
    let known = referred_to(registry, &registered.owner, &registered.schema.references)?;
    let text = &registered.schema.text;
    match registered.schema.kind {
        SchemaKind::Json => None,
        SchemaKind::Avro => {
            let known: Vec<&str> = known.iter().map(|known| known.text.as_str()).collect();
            Schema::parse_with(text, &known).ok().map(|schema| schema.canonical().into())
        }
        SchemaKind::Protobuf => {
            let whole = in_one_file(text, &known).ok()?;
            canonical(SchemaKind::Protobuf, &whole, &[], true).ok().map(Into::into)
        }
    }
}

/// The texts of what a schema refers to, each after those that it refers to itself. None: not all of it is there.
pub(crate) fn referred_to(registry: &Registry, owner: &OrgId, list: &[SchemaReference]) -> Option<Vec<Reference>> {
    let mut known = Vec::new();
    referred(registry, owner, list, &mut known)?;
    Some(known)
}

fn referred(registry: &Registry, owner: &OrgId, list: &[SchemaReference], known: &mut Vec<Reference>) -> Option<()> {
    for reference in list {
        let version = registry.subject(owner, &reference.subject)?.version(reference.version)?.id;
        let schema = &registry.schema(version)?.schema;
        if known.iter().any(|known| known.name == reference.name && known.text == schema.text) {
            continue;
        }
        // Versions only ever refer to such as were there before them: this ends.
        referred(registry, owner, &schema.references, known)?;
        known.push(Reference { name: reference.name.clone(), text: schema.text.clone() });
        if known.len() > MAX_REFERENCES {
            return None;
        }
    }
    Some(())
}

impl Hub {
    /// What an event is held to that names that schema. None: no revision of the contract has it.
    pub(crate) fn contract_for(
        &self,
        current: &Arc<CompiledContract>,
        product: &ProductId,
        schema: u32,
    ) -> Result<Option<Held>> {
        let model = self.model();
        let Some(meaning) = self.inner().meanings.of(&model.registry, schema) else { return Ok(None) };
        let has_it =
            |contract: &CompiledContract| contract.native.as_ref().is_some_and(|native| *native.canonical == *meaning);
        if has_it(current) {
            return Ok(Some(Held::newest(current.clone())));
        }
        for written in (1..current.revision).rev() {
            if has_it(&*self.contract_at(&model, product, written)?) {
                return self.held_to(current, product, written);
            }
        }
        Ok(None)
    }
}

impl Hub {
    /// What stands between a schema's id and an event that was cut so.
    pub(crate) fn message_path(&self, product: &ProductId, cut: u32) -> Result<Arc<[u8]>> {
        let contract = self.contract_at(&self.model(), product, cut)?;
        Ok(contract.native.as_ref().map(|native| native.path.clone()).unwrap_or_default())
    }
}

/// The JSON Schema of a view, for events that are shown as JSON and are something else. A type that cannot hold what a mask
/// would make of a value leaves it out, and Protobuf has no word for a default: nothing has to be there.
pub(crate) fn as_text(mut schema: Value) -> Value {
    relax(&mut schema);
    schema
}

/// The schema is one of our own, no deeper than a contract names places.
fn relax(schema: &mut Value) {
    let Some(object) = schema.as_object_mut() else { return };
    object.remove("required");
    if let Some(Value::Object(properties)) = object.get_mut("properties") {
        properties.values_mut().for_each(relax);
    }
    if let Some(Value::Array(ways)) = object.get_mut("anyOf") {
        ways.iter_mut().for_each(relax);
    }
    if let Some(additional) = object.get_mut("additionalProperties") {
        relax(additional);
    }
    if let Some(items) = object.get_mut("items") {
        relax(items);
        *items = json!({ "anyOf": [items.take(), { "type": "null" }] });
    }
}

/// The schema of a view of events that are written in a revision's schema, in their encoding's own language. None: they
/// are JSON.
pub(crate) fn view_schema(contract: &Contract, spec: &ViewSpec) -> Result<Option<String>> {
    let Some(native) = &contract.native else { return Ok(None) };
    match native {
        NativeSchema::Avro { .. } => {
            let Compiled { codec, .. } =
                compile(contract, native).map_err(|error| HubError::of(codes::CONTRACT_INVALID).because(error))?;
            // A view may name what an earlier revision did not have yet; then nothing is remarked.
            Ok(codec.view_schema(&contract.shape, spec).ok().flatten().or_else(|| codec.plain_schema()))
        }
        // What is hidden is not there: the schema is the same for all, without its comments.
        // Nobody else finds what it imports, so that stands in it.
        NativeSchema::Protobuf { text, .. } => in_one_file(text, &files(contract))
            .and_then(|text| canonical(SchemaKind::Protobuf, &text, &[], false))
            .map(Some)
            .map_err(|error| HubError::of(codes::CONTRACT_INVALID).because(error)),
    }
}
