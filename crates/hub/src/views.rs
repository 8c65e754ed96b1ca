//! Contracts and grants, compiled once and shared: validators, rules of classification, views, row filters.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use serde_json::Value;
use tradelane_keys::{MacKey, SecretBytes, Sha256, sha256};
use tradelane_model::grant::{Conditions, Grant};
use tradelane_model::pattern::Pattern;
use tradelane_model::product::Format;
use tradelane_model::view::{Action, ViewSpec};
use tradelane_model::{Class, Contract, ErrorCode, Model, OrgId, ProductId, Timestamp, codes};
use tradelane_policy::{QualityRule, Reader as ReaderFacts, RowFilter, RuleOutcome};
use tradelane_schema::Schema;
use tradelane_seal::{Located, ProductContext, Rules, SealError, SubjectTagger, View, ViewKeys, view_schema};
use tradelane_tape::{Doc, Limits};

use crate::Hub;
use crate::envelope::{Envelope, EnvelopeView};
use crate::error::{HubError, Place, Result};
use crate::evolve::{Down, Kept, Pinned, tightened};
use crate::key_field::{self, KeyField, tighter};
use crate::keyring::BatchKeys;
use crate::native::{Cut, Looking, NativeContract};
use crate::references::json_schema;
use crate::views::kept::read;

pub(crate) use crate::views::kept::Views;

/// How often something is compiled, at most, if the model changes each time before it is done.
const ATTEMPTS: usize = 10;
/// The most places that one bad event is described by.
const MAX_PLACES: usize = 20;

/// A revision of a contract, ready for publishing and reading.
pub(crate) struct CompiledContract {
    pub(crate) owner: OrgId,
    pub(crate) contract: Arc<Contract>,
    pub(crate) revision: u32,
    /// Of its text.
    pub(crate) digest: [u8; 32],
    pub(crate) rules: Arc<Rules>,
    pub(crate) product: ProductContext,
    schema: Option<Schema>,
    /// The schema of the events' own encoding, if they are not JSON.
    pub(crate) native: Option<Arc<NativeContract>>,
    quality: Vec<CompiledQuality>,
    pub(crate) tagger: SubjectTagger,
    pub(crate) envelope: Arc<Envelope>,
}

struct CompiledQuality {
    name: String,
    refuses: bool,
    rule: QualityRule,
}

/// What one event was found to be: sealed, or not to be stored.
pub(crate) type Verdict<T = ()> = std::result::Result<T, (ErrorCode, Vec<Place>)>;

impl CompiledContract {
    /// Parses, checks and seals one event, appending it to `out`: the life of an event up to the log.
    pub(crate) fn check_and_seal(
        &self,
        kept: Option<&Kept>,
        looking: &mut Looking,
        event: &[u8],
        keys: &BatchKeys,
        now: Timestamp,
        out: &mut Vec<u8>,
    ) -> Result<Verdict> {
        if let Some(native) = &self.native {
            return self.check_and_seal_binary(native, kept, looking, event, keys, now, out);
        }
        let Looking { tape, packing, found, .. } = looking;
        let doc = match tape.parse(event, &Limits::EVENT) {
            Ok(doc) => doc,
            Err(error) => {
                let at = error.position(event);
                let message = format!("line {}, column {}: {}", at.line, at.column, error.reason);
                let place = Place { pointer: String::new(), rule: "json".into(), message };
                return Ok(Err((codes::MALFORMED_JSON, vec![place])));
            }
        };
        if let Err(refused) = kept.map_or(self, |kept| &kept.contract).check(doc, now) {
            return Ok(Err(refused));
        }
        if let Some(Err(refused)) = self.envelope.key_field.as_ref().map(|field| field.look(doc.root(), found)) {
            return Ok(Err(refused));
        }
        let located = match self.rules.locate(doc, &self.tagger) {
            Ok(located) => located,
            Err(error) => {
                let place = Place { pointer: String::new(), rule: "locate".into(), message: error.to_string() };
                return Ok(Err((error.code(), vec![place])));
            }
        };
        if let Some(refused) = unattributed(&located) {
            return Ok(Err(refused));
        }
        match packing.seal(self.revision, &located, &self.product, keys, out) {
            Ok(()) => Ok(Ok(())),
            Err(error @ SealError::TooLarge) => {
                let place = Place { pointer: String::new(), rule: "seal".into(), message: error.to_string() };
                Ok(Err((error.code(), vec![place])))
            }
            Err(error) => Err(HubError::of(error.code()).because(error).retry(1)),
        }
    }

    /// The same revision with other rules of what is shown; nothing is published under it.
    pub(crate) fn for_reading(&self, contract: Arc<Contract>, rules: Arc<Rules>, envelope: Arc<Envelope>) -> Self {
        Self {
            owner: self.owner.clone(),
            contract,
            revision: self.revision,
            digest: self.digest,
            rules,
            product: self.product.clone(),
            schema: None,
            native: self.native.clone(),
            quality: Vec::new(),
            tagger: self.tagger.clone(),
            envelope,
        }
    }

    /// Does the event keep the contract?
    fn check(&self, doc: Doc<'_>, now: Timestamp) -> Verdict {
        if self.contract.format == Format::Epcis {
            let report = tradelane_epcis::validate::validate(doc);
            if !report.is_valid() {
                let places = report.violations.into_iter().take(MAX_PLACES).map(epcis_place).collect();
                return Err((codes::EPCIS_INVALID, places));
            }
            if report.shape != tradelane_epcis::validate::Shape::Event {
                let message = "send documents to the capture interface; here each event stands alone".to_owned();
                let place = Place { pointer: String::new(), rule: "event".into(), message };
                return Err((codes::EPCIS_INVALID, vec![place]));
            }
        }
        self.check_schema(doc)?;
        self.check_rules(doc, now)
    }

    /// Does a binary event, shown as JSON, keep what the contract says beyond its encoding's schema?
    pub(crate) fn check_binary(&self, doc: Doc<'_>, is_held_to_json: bool, now: Timestamp) -> Verdict {
        if is_held_to_json {
            self.check_schema(doc)?;
        }
        self.check_rules(doc, now)
    }

    /// Does the contract have quality rules that refuse events?
    pub(crate) fn has_rules(&self) -> bool {
        self.quality.iter().any(|quality| quality.refuses)
    }

    fn check_schema(&self, doc: Doc<'_>) -> Verdict {
        if let Some(schema) = &self.schema
            && !schema.is_valid(doc.root())
        {
            let violations = schema.validate(doc.root(), MAX_PLACES).err().unwrap_or_default();
            let place =
                |v: tradelane_schema::Violation| Place { pointer: v.instance_path, rule: v.rule, message: v.message };
            return Err((codes::CONTRACT_VIOLATION, violations.into_iter().map(place).collect()));
        }
        Ok(())
    }

    fn check_rules(&self, doc: Doc<'_>, now: Timestamp) -> Verdict {
        for quality in self.quality.iter().filter(|quality| quality.refuses) {
            if quality.rule.evaluate(doc.root(), now) != RuleOutcome::Holds {
                let message = "the event fails this quality rule of its contract".to_owned();
                let place = Place { pointer: String::new(), rule: quality.name.clone(), message };
                return Err((codes::QUALITY_RULE, vec![place]));
            }
        }
        Ok(())
    }
}

/// Data of a person whom nobody can name could never be erased with them.
pub(crate) fn unattributed(located: &Located<'_>) -> Option<(ErrorCode, Vec<Place>)> {
    let message = "a field that belongs to a person has no subject: the member that the contract names as the \
                   person's identity is missing, or is neither text nor a number";
    let place = || Place { pointer: String::new(), rule: "subject".into(), message: message.into() };
    located.is_unattributed().then(|| (codes::CONTRACT_VIOLATION, vec![place()]))
}

pub(crate) fn epcis_place(violation: tradelane_epcis::Violation) -> Place {
    Place { rule: violation.rule.id().to_owned(), message: violation.sentence().to_owned(), pointer: violation.place }
}

/// Compiles what needs a library: the schema, the classification, the quality rules. Fails as `apply` must.
pub(crate) fn compile_contract(contract: &Contract) -> Result<(Option<Schema>, Rules, Vec<QualityRule>)> {
    let invalid = |what: String| HubError::new(codes::CONTRACT_INVALID, format!("contract {}: {what}", contract.id));
    let schema = match contract.format {
        // The standard's own rules are the schema of EPCIS events; a contract may ask for more.
        Format::Epcis if !has_own_schema(contract) => None,
        _ => Some(Schema::compile(&*json_schema(contract)?).map_err(|error| invalid(error.to_string()))?),
    };
    let rules = Rules::compile(&contract.shape, 1).map_err(|error| invalid(error.to_string()))?;
    KeyField::check(contract, &rules)?;
    NativeContract::compile(contract, contract)?;
    let quality = contract.quality.iter().map(|rule| {
        QualityRule::compile(&rule.expression).map_err(|error| {
            HubError::new(codes::FILTER_INVALID, format!("contract {}, rule {}: {error}", contract.id, rule.name))
        })
    });
    Ok((schema, rules, quality.collect::<Result<_>>()?))
}

fn has_own_schema(contract: &Contract) -> bool {
    contract.text.contains("jsonSchema")
}

/// The JSON Schema of a view of a contract's events.
pub(crate) fn schema_of_view(contract: &Contract, spec: &ViewSpec) -> Result<Value> {
    let schema = view_schema(&contract.shape, spec).map_err(|error| HubError::of(error.code()).because(error))?;
    Ok(if contract.native.is_some() { crate::native::as_text(schema) } else { schema })
}

/// What a product's contract cuts events by.
pub(crate) fn rules_of(model: &Model, product: &ProductId) -> Result<Arc<Rules>> {
    let contract = model.contract_of(product).ok_or_else(HubError::not_found)?.current();
    let (_, rules, _) = compile_contract(contract)?;
    Ok(Arc::new(rules))
}

/// Can these conditions be used with a product that has these rules?
pub(crate) fn check_conditions(rules: &Arc<Rules>, conditions: &Conditions) -> Result<()> {
    let keys = ViewKeys::derive(&SecretBytes::new([0; 32]), "", "", 0, "");
    let view = View::compile(rules, rules, &conditions.view, keys);
    view.map_err(|error| HubError::new(codes::MANIFEST_INVALID, format!("the view cannot be used: {error}")))?;
    if let Some(filter) = &conditions.filter {
        RowFilter::compile(filter).map_err(|error| HubError::new(codes::FILTER_INVALID, error.to_string()))?;
    }
    Ok(())
}

/// A grant, compiled for reading: one view per contract revision that events were sealed under.
pub(crate) struct GrantView {
    pub(crate) current: Arc<CompiledContract>,
    pub(crate) spec: ViewSpec,
    keys: ViewKeys,
    by_revision: Mutex<HashMap<u32, Arc<View>>>,
    envelopes: Mutex<HashMap<u32, Arc<EnvelopeView>>>,
    pub(crate) filter: Option<GrantFilter>,
    /// The ids of its schemas by revision, once they were asked for.
    pub(crate) schemas: Mutex<HashMap<u32, u32>>,
    /// Does it show the owner everything?
    pub(crate) is_owners: bool,
    /// The earlier version of the contract that it stays with.
    pub(crate) pinned: Option<Pinned>,
    /// How late events of earlier major versions are brought into the form that is read, once there was one.
    pub(crate) form: OnceLock<Arc<Down>>,
    /// Equal digests render equal bytes.
    pub(crate) digest: [u8; 32],
    /// The product's stream, as rendered batches name it.
    pub(crate) stream: Arc<str>,
}

impl GrantView {
    /// Was it for an earlier version of the contract whose time is over?
    pub(crate) fn is_over(&self, now: Timestamp) -> bool {
        self.pinned.as_ref().is_some_and(|pinned| pinned.is_over(now))
    }

    /// The classes of which the view can show anything.
    pub(crate) fn disclosed(&self, hub: &Hub, product: &ProductId) -> Vec<Class> {
        let view = hub.view_for(self, product, self.current.revision);
        view.map(|view| view.disclosed_classes()).unwrap_or_default()
    }
}

/// A row filter with what it needs to know.
pub(crate) struct GrantFilter {
    pub(crate) filter: RowFilter,
    pub(crate) reader: ReaderFacts,
    /// The same facts as bytes, to tell readers apart.
    known: Vec<u8>,
    /// Shows just the fields that the filter looks at.
    pub(crate) spec: ViewSpec,
    keys: ViewKeys,
    by_revision: Mutex<HashMap<u32, Arc<View>>>,
    /// Does the verdict on an event change with time?
    pub(crate) looks_at_time: bool,
}

impl Hub {
    /// The contract that a product's events keep now.
    pub(crate) fn contract(&self, product: &ProductId) -> Result<Arc<CompiledContract>> {
        let model = self.model();
        let revision = model.contract_of(product).ok_or_else(HubError::not_found)?.revision();
        self.contract_at(&model, product, revision)
    }

    /// Is there such a revision of the product's contract, as far as this model knows?
    pub(crate) fn knows_revision(model: &Model, product: &ProductId, revision: u32) -> bool {
        let cut = Cut::of(revision);
        let history = model.contract_of(product);
        history.is_some_and(|history| history.at(cut.revision).is_some() && history.at(cut.schema()).is_some())
    }

    /// The contract as an event was cut by it: `revision` is a [`Cut`]'s number, which without a schema from an earlier
    /// revision is the number of the revision.
    pub(crate) fn contract_at(
        &self,
        model: &Model,
        product: &ProductId,
        revision: u32,
    ) -> Result<Arc<CompiledContract>> {
        let history = model.contract_of(product).ok_or_else(HubError::not_found)?;
        let cut = Cut::of(revision);
        let contract = history.at(cut.revision).ok_or_else(HubError::not_found)?;
        let written = history.at(cut.schema()).ok_or_else(HubError::not_found)?;
        let key = (contract.id.clone(), revision, product.clone());
        if let Some(compiled) = read(&self.inner().views.contracts, &key) {
            return Ok(compiled);
        }
        let (schema, _, quality) = compile_contract(contract)?;
        let laid = cut.laid.then(|| tightened(&written.shape, &contract.shape));
        let rules = Rules::compile(laid.as_ref().unwrap_or(&contract.shape), revision)
            .map_err(|error| HubError::of(error.code()).because(error))?;
        let quality = contract.quality.iter().zip(quality).map(|(named, rule)| CompiledQuality {
            name: named.name.clone(),
            refuses: named.refuses,
            rule,
        });
        let tokens = self.inner().keyring.derive(&[b"record-keys", product.as_str().as_bytes()]);
        let tokens = MacKey::new(tokens.expose());
        let (owner, name) = (history.owner.as_str(), product.as_str());
        let envelope = Arc::new(Envelope::compile((contract, written), &rules, (owner, name), tokens)?);
        let compiled = Arc::new(CompiledContract {
            owner: history.owner.clone(),
            contract: contract.clone(),
            revision,
            digest: sha256(contract.text.as_bytes()),
            rules: Arc::new(rules),
            product: ProductContext::new(history.owner.as_str(), product.as_str()),
            schema,
            native: NativeContract::compile(written, contract)?.map(Arc::new),
            quality: quality.collect(),
            tagger: self.inner().keyring.tagger(&history.owner),
            envelope,
        });
        self.keep(&self.inner().views.contracts, model, key, compiled.clone());
        Ok(compiled)
    }

    /// A grant's view, compiled. A grant that is the past by now is a [`CONFLICT`](codes::CONFLICT): look it up again.
    pub(crate) fn grant_view(&self, grant: &Grant) -> Result<Arc<GrantView>> {
        let kept = &self.inner().views.grants;
        for _ in 0..ATTEMPTS {
            let model = self.model();
            if !model.grants.get(&grant.id).is_some_and(|known| std::ptr::eq(&**known, grant)) {
                return Err(HubError::of(codes::CONFLICT).retry(1));
            }
            if let Some(view) = read(kept, &grant.id).filter(|view| !view.is_over(self.now())) {
                return Ok(view);
            }
            let view = Arc::new(self.compile_grant(grant)?);
            // A view that is in use and not kept would not lose its stand-ins when somebody is erased.
            if self.keep(kept, &model, grant.id.clone(), view.clone()) {
                return Ok(view);
            }
        }
        Err(HubError::of(codes::OVERLOADED).retry(1))
    }

    fn compile_grant(&self, grant: &Grant) -> Result<GrantView> {
        let (current, pinned) = self.contract_read_by(grant)?;
        let tenant = self.inner().keyring.derive(&[b"views", current.owner.as_str().as_bytes()]);
        let (consumer, id) = (grant.consumer.as_str(), grant.id.as_str());
        let keys = ViewKeys::derive(&tenant, consumer, &grant.purpose, u64::from(grant.pseudonym_epoch), id);
        let filter = grant.conditions.filter.as_deref().map(|text| self.compile_filter(text, grant, &current, &keys));
        let filter = filter.transpose()?;
        let digest = digest(&current, &grant.conditions.view, Some(grant), filter.as_ref());
        let digest = pinned.as_ref().map_or(digest, |pinned| pinned.digest(digest));
        Ok(GrantView {
            current,
            spec: grant.conditions.view.clone(),
            keys,
            by_revision: Mutex::default(),
            envelopes: Mutex::default(),
            filter,
            schemas: Mutex::default(),
            is_owners: false,
            pinned,
            form: OnceLock::new(),
            digest,
            stream: grant.product.as_str().into(),
        })
    }

    fn compile_filter(
        &self,
        text: &str,
        grant: &Grant,
        contract: &CompiledContract,
        keys: &ViewKeys,
    ) -> Result<GrantFilter> {
        let filter = RowFilter::compile(text).map_err(|error| HubError::of(codes::FILTER_INVALID).because(error))?;
        let model = self.model();
        let organization = model.organizations.get(&grant.consumer).map(|org| org.attributes.clone());
        let mut attributes = organization.unwrap_or_default();
        // What the owner asserts wins over what the operator vouches for.
        attributes.extend(grant.conditions.attributes.clone());
        attributes.insert("organization".into(), Value::from(grant.consumer.as_str()));
        attributes.insert("purpose".into(), Value::from(grant.purpose.as_str()));
        Ok(GrantFilter {
            spec: filter_spec(&contract.contract, &filter),
            known: canonical(&attributes),
            reader: ReaderFacts::new(&attributes),
            looks_at_time: filter.uses_now(),
            filter,
            keys: keys.clone(),
            by_revision: Mutex::default(),
        })
    }

    /// The owner's own view: everything, whatever its class.
    pub(crate) fn owner_view(&self, product: &ProductId) -> Result<Arc<GrantView>> {
        let kept = &self.inner().views.owners;
        for _ in 0..ATTEMPTS {
            let model = self.model();
            if let Some(view) = read(kept, product) {
                return Ok(view);
            }
            let view = Arc::new(self.compile_owners(product)?);
            if self.keep(kept, &model, product.clone(), view.clone()) {
                return Ok(view);
            }
        }
        Err(HubError::of(codes::OVERLOADED).retry(1))
    }

    fn compile_owners(&self, product: &ProductId) -> Result<GrantView> {
        let current = self.contract(product)?;
        let records = &current.contract.records;
        let beside = records.headers.values().chain(records.key.iter().map(|key| &key.class)).cloned();
        let spec = ViewSpec::reveal_all(current.contract.shape.classes().into_iter().chain(beside));
        let keys = ViewKeys::derive(&SecretBytes::random(), "", "", 0, "");
        let digest = digest(&current, &spec, None, None);
        let stream = product.as_str().into();
        let (by_revision, envelopes) = (Mutex::default(), Mutex::default());
        Ok(GrantView {
            current,
            spec,
            keys,
            by_revision,
            envelopes,
            filter: None,
            schemas: Mutex::default(),
            is_owners: true,
            pinned: None,
            form: OnceLock::new(),
            digest,
            stream,
        })
    }

    /// The view for events that were sealed under that revision of the contract.
    pub(crate) fn view_for(&self, grant: &GrantView, product: &ProductId, revision: u32) -> Result<Arc<View>> {
        self.view_in(&grant.by_revision, grant, &grant.spec, &grant.keys, product, revision)
    }

    /// The view of keys and headers of records that were sealed under that revision of the contract.
    pub(crate) fn envelope_view_for(
        &self,
        grant: &GrantView,
        product: &ProductId,
        revision: u32,
    ) -> Result<Arc<EnvelopeView>> {
        let mut compiled = grant.envelopes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(view) = compiled.get(&revision) {
            return Ok(view.clone());
        }
        let event = self.contract_at(&self.model(), product, revision)?;
        let limit = self.shown_of_key(grant, product, &event);
        let (event, current, keys) = (&event.envelope, &grant.current.envelope, grant.keys.clone());
        let view = Arc::new(EnvelopeView::compile(event, current, &grant.spec, limit, keys)?);
        compiled.insert(revision, view.clone());
        Ok(view)
    }

    /// What a view shows of the fields that keys are taken from: of a key it shows no more.
    fn shown_of_key(&self, grant: &GrantView, product: &ProductId, event: &CompiledContract) -> Action {
        let current = |at| (at, grant.current.rules.scalar_at(at).class);
        let read = grant.current.contract.records.key_from().map(current);
        let written = event.envelope.key_field.as_ref().map(|KeyField { at, field, .. }| {
            // Another version may call the field otherwise.
            if self.is_converted(grant, product, event.revision) { (at, field.class.clone()) } else { current(at) }
        });
        let actions = read.into_iter().chain(written).map(|(at, class)| key_field::shown(&grant.spec, at, &class));
        actions.fold(Action::Reveal, tighter)
    }

    /// The view that shows a filter what it looks at.
    pub(crate) fn filter_view_for(
        &self,
        grant: &GrantView,
        product: &ProductId,
        revision: u32,
    ) -> Result<Option<Arc<View>>> {
        let Some(filter) = &grant.filter else { return Ok(None) };
        self.view_in(&filter.by_revision, grant, &filter.spec, &filter.keys, product, revision).map(Some)
    }

    fn view_in(
        &self,
        compiled: &Mutex<HashMap<u32, Arc<View>>>,
        grant: &GrantView,
        spec: &ViewSpec,
        keys: &ViewKeys,
        product: &ProductId,
        revision: u32,
    ) -> Result<Arc<View>> {
        let mut compiled = compiled.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(view) = compiled.get(&revision) {
            return Ok(view.clone());
        }
        let event = self.contract_at(&self.model(), product, revision)?;
        let current = &grant.current.rules;
        let view = match (&event.native, &grant.current.native) {
            (Some(written), Some(shown)) if self.is_brought_up(grant, product, revision) => {
                let (written, shown) = (written.codec.clone(), shown.codec.clone());
                View::compile_onto((&event.rules, written), (current, shown), spec, keys.clone())
            }
            (Some(native), _) => View::compile(&event.rules, current, spec, keys.clone())
                .map(|view| view.of_binary(native.codec.clone())),
            (None, _) => View::compile(&event.rules, current, spec, keys.clone()),
        };
        let view = Arc::new(view.map_err(|error| HubError::of(error.code()).because(error))?);
        compiled.insert(revision, view.clone());
        Ok(view)
    }
}

/// Attributes as bytes: a map in the order of its names.
fn canonical(attributes: &BTreeMap<String, Value>) -> Vec<u8> {
    serde_json::to_vec(attributes).unwrap_or_default()
}

/// A filter is the owner's own rule, so it may look at any field, whatever the reader sees of it; and at no other.
fn filter_spec(contract: &Contract, filter: &RowFilter) -> ViewSpec {
    let looked_at: Vec<Pattern> = filter.paths().iter().filter_map(|path| Pattern::parse(path.as_str()).ok()).collect();
    // What cannot be told is taken to be the whole event: all of it that has a name.
    if looked_at.len() < filter.paths().len() || looked_at.iter().any(|path| path.segments().is_empty()) {
        let classes = contract.shape.classes().into_iter().filter(|class| class.as_str() != Class::UNCLASSIFIED);
        return ViewSpec::reveal_all(classes);
    }
    let matters = |at: &Pattern| {
        let at = at.segments();
        let related = |path: &Pattern| at.starts_with(path.segments()) || path.segments().starts_with(at);
        !at.is_empty() && looked_at.iter().any(related)
    };
    let named = contract.shape.places().into_iter().map(|(at, _)| at);
    let fields = named.filter(matters).map(|at| (at, Action::Reveal)).collect();
    ViewSpec { classes: BTreeMap::new(), fields }
}

/// What tells two views apart: the contract, the actions, the filter with its reader, and, where stand-ins are made,
/// for whom.
fn digest(
    contract: &CompiledContract,
    spec: &ViewSpec,
    grant: Option<&Grant>,
    filter: Option<&GrantFilter>,
) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hash.update(&(bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    part(b"tradelane/view/v1");
    part(contract.contract.id.as_str().as_bytes());
    part(&contract.revision.to_le_bytes());
    part(&serde_json::to_vec(spec).unwrap_or_default());
    // The owner finds the writer's schema named in front of a record, a consumer that of its view.
    part(if grant.is_some() { b"consumer" } else { b"owner" });
    let makes_stand_ins = spec.classes.values().chain(spec.fields.values());
    let makes_stand_ins = makes_stand_ins.clone().any(|action| matches!(action, Action::Pseudonym | Action::Token));
    if let Some(grant) = grant {
        if makes_stand_ins {
            part(grant.id.as_str().as_bytes());
            part(grant.consumer.as_str().as_bytes());
            part(grant.purpose.as_bytes());
            part(&grant.pseudonym_epoch.to_le_bytes());
        }
        if let (Some(text), Some(filter)) = (&grant.conditions.filter, filter) {
            part(text.as_bytes());
            part(&filter.known);
        }
    }
    hash.finish()
}

mod kept;
