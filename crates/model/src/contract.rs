//! Data contracts: ODCS 3.1 documents (Open Data Contract Standard, bitol.io), read into what Tradelane enforces.
//!
//! Of an ODCS document this reads: `id`, `version`, `status`, `name`, `description`, the one object under `schema`
//! with its properties (types, `required`, `logicalTypeOptions`, `classification`, the custom property `default`), quality
//! rules of `type: custom` and `engine: cel`, `slaProperties` (of which `retention` is enforced), and the custom property
//! `tradelane`, which holds what ODCS has no word for: see [`Extension`]. Everything else is kept in the text and shown
//! in the catalog.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::class::Class;
use crate::evolution::Evolution;
use crate::id::ContractId;
use crate::native::NativeSchema;
use crate::pattern::Pattern;
use crate::product::Format;
use crate::records::RecordRules;
use crate::references::{self, SchemaFile};
use crate::registry::SchemaReference;
use crate::shape::{FieldRule, Place, Shape, Types};
use crate::time::parse_duration;

/// The longest contract text accepted, in bytes.
pub const MAX_TEXT: usize = 1 << 20;
/// The most places that a shape may name.
pub const MAX_PLACES: usize = 4_096;

/// Why a contract cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {reason}")]
pub struct ContractError {
    /// Where in the document: a JSON Pointer, or a line.
    pub place: String,
    /// What is wrong there and what to do.
    pub reason: String,
}

pub(crate) fn wrong(place: impl Into<String>, reason: impl Into<String>) -> ContractError {
    ContractError { place: place.into(), reason: reason.into() }
}

/// A quality rule: a CEL expression over `event` that must be true.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QualityRule {
    /// Its name in errors and in the quarantine.
    pub name: String,
    /// The expression.
    pub expression: String,
    /// `error` refuses the event; anything else counts it.
    pub refuses: bool,
}

/// A promise about the data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sla {
    /// `availability`, `latency`, `retention`, ...
    pub property: String,
    /// Its value.
    pub value: Value,
    /// Its unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
}

/// The custom property `tradelane` of a contract.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Extension {
    /// What the events are; `json` unless said.
    #[serde(default)]
    pub format: Format,
    /// Where the data may be kept.
    #[serde(default)]
    pub region: Option<String>,
    /// What the data may be used for; a grant names one. Empty: any.
    #[serde(default)]
    pub purposes: Vec<String>,
    /// The owner's own classes, each with the built-in class that it is as restricted as.
    #[serde(default)]
    pub classes: BTreeMap<Class, Class>,
    /// Rules by pattern; they win over `classification` in the schema.
    #[serde(default)]
    pub fields: Vec<FieldRule>,
    /// A JSON Schema (2020-12 or draft-07) that events must keep, instead of the one made from the ODCS properties.
    #[serde(default)]
    pub json_schema: Option<Value>,
    /// The Avro schema of `format: avro`: its text, or the schema itself.
    #[serde(default)]
    pub avro_schema: Option<Value>,
    /// The text of the `.proto` file of `format: protobuf`.
    #[serde(default)]
    pub protobuf_schema: Option<String>,
    /// Which message of that file an event is, by its full name.
    #[serde(default)]
    pub protobuf_message: Option<String>,
    /// Registered schemas of the owner to which its own schema refers, each by the name that it calls it.
    #[serde(default)]
    pub references: Vec<SchemaReference>,
    /// What the keys and headers of records are.
    #[serde(default)]
    pub records: RecordRules,
    /// How its major versions follow each other.
    #[serde(default)]
    pub evolution: Option<Evolution>,
}

/// A contract, read and checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Contract {
    /// Its id.
    pub id: ContractId,
    /// Its version, as its author writes it (semantic versioning).
    pub version: String,
    /// `draft`, `active`, `deprecated`, ...
    pub status: String,
    /// Its name for people.
    pub name: String,
    /// What the data is for, its limits and use.
    pub purpose: String,
    /// What the events are.
    pub format: Format,
    /// Where the data may be kept.
    pub region: Option<String>,
    /// What it may be used for; empty: any.
    pub purposes: Vec<String>,
    /// Seconds that events are kept; none: for ever.
    pub retention: Option<i64>,
    /// Schema and classification as one tree.
    pub shape: Shape,
    /// The JSON Schema that events must keep.
    pub json_schema: Value,
    /// The schema of the events' own encoding, if they are not JSON.
    pub native: Option<NativeSchema>,
    /// What either of the two refers to.
    pub references: Vec<SchemaReference>,
    /// That, with what it refers to in turn, each after what it refers to itself. There once the contract is applied.
    pub files: Arc<[SchemaFile]>,
    /// Quality rules in CEL.
    pub quality: Vec<QualityRule>,
    /// Promises.
    pub sla: Vec<Sla>,
    /// Keys and headers of records.
    pub records: RecordRules,
    /// The notice that consumers get of a breaking change.
    pub evolution: Option<Evolution>,
    /// The document as it was written.
    pub text: String,
}

impl Contract {
    /// Reads an ODCS 3.1 document in YAML (or JSON, which is YAML).
    pub fn parse(text: &str) -> Result<Self, ContractError> {
        if text.len() > MAX_TEXT {
            return Err(wrong("", format!("a contract has at most {MAX_TEXT} bytes")));
        }
        let document: Value = yaml(text).map_err(|e| wrong("", format!("not YAML: {e}")))?;
        Self::read(&document, text)
    }

    fn read(document: &Value, text: &str) -> Result<Self, ContractError> {
        expect(document, "kind", |kind| kind == "DataContract", "must be DataContract")?;
        expect(document, "apiVersion", |v| v.starts_with("v3."), "must be v3.1.0 (an earlier v3 is read too)")?;
        let id = required(document, "id")?.parse().map_err(|e| wrong("/id", format!("{e}")))?;
        let extension = extension(document)?;
        let native = NativeSchema::read(&extension)?;
        let references = references::read(&extension)?;
        let object = the_one_object(document)?;
        let mut shape = Shape { own_classes: extension.classes.clone(), ..Shape::default() };
        check_own_classes(&shape)?;
        let mut quality = Vec::new();
        shape.root = properties(object, "/schema/0", &mut quality, 0)?;
        shape.root.types = Types::OBJECT;
        quality_rules(object, "/schema/0", &mut quality)?;
        if extension.format == Format::Epcis {
            name_epcis_context(&mut shape);
        }
        extension.fields.iter().for_each(|rule| shape.add_rule(rule));
        check_shape(&shape)?;
        extension.evolution.as_ref().map(Evolution::check).transpose()?;
        let json_schema = match extension.json_schema {
            Some(schema) => schema,
            None => schema_of(object),
        };
        extension.records.check(&shape, &json_schema, extension.format)?;
        let sla = sla(document)?;
        Ok(Self {
            id,
            version: required(document, "version")?.to_owned(),
            status: required(document, "status")?.to_owned(),
            name: text_at(document, "/name").or(text_at(document, "/dataProduct")).unwrap_or_default().to_owned(),
            purpose: text_at(document, "/description/purpose").unwrap_or_default().to_owned(),
            format: extension.format,
            region: extension.region,
            purposes: extension.purposes,
            retention: retention(&sla)?,
            shape,
            json_schema,
            native,
            references,
            files: Arc::default(),
            quality,
            sla,
            records: extension.records,
            evolution: extension.evolution,
            text: text.to_owned(),
        })
    }

    /// May the data be used for this?
    pub fn allows_purpose(&self, purpose: &str) -> bool {
        !purpose.is_empty() && (self.purposes.is_empty() || self.purposes.iter().any(|p| p == purpose))
    }
}

/// Without its `@context` no reader can tell what the names in an EPCIS event mean. It declares vocabularies, and is
/// public unless the contract says otherwise.
fn name_epcis_context(shape: &mut Shape) {
    if let (Ok(at), class) = (Pattern::parse("/@context"), Class::named(Class::PUBLIC)) {
        shape.add_rule(&FieldRule { at, class, subject: None });
    }
}

/// A YAML document. Only `true` and `false` are booleans (YAML 1.2): `unit: y` and `region: no` are text.
pub(crate) fn yaml(text: &str) -> Result<Value, serde_saphyr::Error> {
    serde_saphyr::from_str_with_options(text, serde_saphyr::options! { strict_booleans: true })
}

fn text_at<'a>(document: &'a Value, pointer: &str) -> Option<&'a str> {
    document.pointer(pointer).and_then(Value::as_str)
}

fn required<'a>(document: &'a Value, name: &str) -> Result<&'a str, ContractError> {
    document.get(name).and_then(Value::as_str).ok_or_else(|| wrong(format!("/{name}"), "is required, as text"))
}

fn expect(document: &Value, name: &str, ok: impl Fn(&str) -> bool, reason: &str) -> Result<(), ContractError> {
    if ok(required(document, name)?) { Ok(()) } else { Err(wrong(format!("/{name}"), reason)) }
}

fn the_one_object(document: &Value) -> Result<&Value, ContractError> {
    match document.get("schema").and_then(Value::as_array).map(Vec::as_slice) {
        Some([object]) => Ok(object),
        _ => Err(wrong("/schema", "must hold exactly one object: the event of this product")),
    }
}

fn extension(document: &Value) -> Result<Extension, ContractError> {
    let list = document.get("customProperties").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut found = list.iter().enumerate().filter(|(_, p)| text_at(p, "/property") == Some("tradelane"));
    let Some((i, property)) = found.next() else { return Ok(Extension::default()) };
    if found.next().is_some() {
        return Err(wrong("/customProperties", "holds `tradelane` twice"));
    }
    let value = property.get("value").cloned().unwrap_or_default();
    serde_json::from_value(value).map_err(|e| wrong(format!("/customProperties/{i}/value"), e.to_string()))
}

fn check_own_classes(shape: &Shape) -> Result<(), ContractError> {
    for (own, like) in &shape.own_classes {
        if own.builtin_rank().is_some() {
            return Err(wrong("/customProperties", format!("the class {own} is built in and cannot be defined anew")));
        }
        if like.builtin_rank().is_none() {
            return Err(wrong("/customProperties", format!("the class {own} must be ranked with a built-in class")));
        }
    }
    Ok(())
}

fn check_shape(shape: &Shape) -> Result<(), ContractError> {
    let places = shape.places();
    if places.len() > MAX_PLACES {
        return Err(wrong("/schema", format!("names more than {MAX_PLACES} places")));
    }
    for (at, place) in &places {
        if let Some(class) = &place.class
            && class.builtin_rank().is_none()
            && !shape.own_classes.contains_key(class)
        {
            return Err(wrong("/schema", format!("{at} has the class {class}, which the contract does not define")));
        }
        if let Some(subject) = &place.subject
            && shape.place(subject).is_none()
        {
            return Err(wrong(
                "/schema",
                format!("{at} has its subject at {subject}, which the contract does not name"),
            ));
        }
    }
    Ok(())
}

/// The place that an ODCS object or property describes.
fn properties(element: &Value, at: &str, quality: &mut Vec<QualityRule>, depth: usize) -> Result<Place, ContractError> {
    if depth > crate::pattern::MAX_DEPTH {
        return Err(wrong(at, "is nested too deeply"));
    }
    let mut place = Place { types: types(element), ..Place::default() };
    place.required = element.get("required").and_then(Value::as_bool).unwrap_or(false);
    place.class = class_of(element, at)?;
    place.subject = subject_of(element, at)?;
    for (i, property) in element.get("properties").and_then(Value::as_array).into_iter().flatten().enumerate() {
        let at = format!("{at}/properties/{i}");
        let name = text_at(property, "/name").ok_or_else(|| wrong(&at, "has no name"))?;
        let child = properties(property, &at, quality, depth + 1)?;
        quality_rules(property, &at, quality)?;
        if place.properties.insert(name.to_owned(), child).is_some() {
            return Err(wrong(at, "is named twice"));
        }
    }
    if let Some(items) = element.get("items") {
        place.items = Some(Box::new(properties(items, &format!("{at}/items"), quality, depth + 1)?));
    }
    Ok(place)
}

fn class_of(element: &Value, at: &str) -> Result<Option<Class>, ContractError> {
    let Some(name) = element.get("classification") else { return Ok(None) };
    let class = name.as_str().and_then(Class::named);
    class.map(Some).ok_or_else(|| wrong(format!("{at}/classification"), "is not the name of a class"))
}

fn subject_of(element: &Value, at: &str) -> Result<Option<Pattern>, ContractError> {
    let list = element.get("customProperties").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let Some(property) = list.iter().find(|p| text_at(p, "/property") == Some("subject")) else { return Ok(None) };
    let pattern = text_at(property, "/value").and_then(|text| Pattern::parse(text).ok());
    pattern
        .map(Some)
        .ok_or_else(|| wrong(format!("{at}/customProperties"), "the value of `subject` is no field pattern"))
}

fn types(element: &Value) -> Types {
    let base = match text_at(element, "/logicalType") {
        Some("string" | "date" | "timestamp" | "time") => Types::STRING,
        Some("number") => Types::NUMBER,
        Some("integer") => Types::INTEGER,
        Some("boolean") => Types::BOOLEAN,
        Some("object") => Types::OBJECT,
        Some("array") => Types::ARRAY,
        _ => return Types::ANY,
    };
    let nullable = !element.get("required").and_then(Value::as_bool).unwrap_or(false);
    if nullable { base.or(Types::NULL) } else { base }
}

fn quality_rules(element: &Value, at: &str, rules: &mut Vec<QualityRule>) -> Result<(), ContractError> {
    for (i, rule) in element.get("quality").and_then(Value::as_array).into_iter().flatten().enumerate() {
        if text_at(rule, "/engine") != Some("cel") {
            continue;
        }
        let at = format!("{at}/quality/{i}");
        let expression =
            text_at(rule, "/implementation").ok_or_else(|| wrong(&at, "needs its CEL text in `implementation`"))?;
        rules.push(QualityRule {
            name: text_at(rule, "/name").map_or_else(|| at.clone(), str::to_owned),
            expression: expression.to_owned(),
            refuses: matches!(text_at(rule, "/severity"), None | Some("error")),
        });
    }
    Ok(())
}

fn sla(document: &Value) -> Result<Vec<Sla>, ContractError> {
    let list = document.get("slaProperties").cloned().unwrap_or(Value::Array(Vec::new()));
    serde_json::from_value(list).map_err(|e| wrong("/slaProperties", e.to_string()))
}

fn retention(sla: &[Sla]) -> Result<Option<i64>, ContractError> {
    let Some(rule) = sla.iter().find(|rule| rule.property == "retention") else { return Ok(None) };
    let seconds = match (&rule.value, rule.unit.as_deref()) {
        (Value::String(text), _) => parse_duration(text),
        (Value::Number(n), Some("d" | "day" | "days")) => n.as_i64().and_then(|n| n.checked_mul(86_400)),
        (Value::Number(n), Some("y" | "yr" | "years" | "year")) => n.as_i64().and_then(|n| n.checked_mul(365 * 86_400)),
        (Value::Number(n), Some("h" | "hour" | "hours")) => n.as_i64().and_then(|n| n.checked_mul(3_600)),
        _ => None,
    };
    let reason = "`retention` is a number of d, h or y above 0, or an ISO 8601 duration";
    seconds.filter(|s| *s > 0).map(Some).ok_or_else(|| wrong("/slaProperties", reason))
}

/// The JSON Schema that ODCS properties amount to. `logicalTypeOptions` have JSON Schema's own names and meaning.
fn schema_of(object: &Value) -> Value {
    let mut schema = element_schema(object);
    schema.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
    schema.insert("type".into(), json!("object"));
    Value::Object(schema)
}

fn element_schema(element: &Value) -> Map<String, Value> {
    let mut schema = Map::new();
    match types(element).names().as_slice() {
        [] => {}
        [one] => drop(schema.insert("type".into(), json!(one))),
        several => drop(schema.insert("type".into(), json!(several))),
    }
    let format = match text_at(element, "/logicalType") {
        Some("date") => Some("date"),
        Some("timestamp") => Some("date-time"),
        Some("time") => Some("time"),
        _ => None,
    };
    if let Some(format) = format {
        schema.insert("format".into(), json!(format));
    }
    options(element, &mut schema);
    if let Some(default) = own_property(element, "default") {
        schema.insert("default".into(), default.clone());
    }
    if let Some(list) = element.get("properties").and_then(Value::as_array) {
        let named = list.iter().filter_map(|p| text_at(p, "/name").map(|name| (name, p)));
        let properties: Map<_, _> =
            named.clone().map(|(name, p)| (name.to_owned(), Value::Object(element_schema(p)))).collect();
        let must = named.filter(|(_, p)| p.get("required").and_then(Value::as_bool) == Some(true));
        let must: Vec<&str> = must.map(|(name, _)| name).collect();
        schema.insert("properties".into(), Value::Object(properties));
        schema.insert("required".into(), json!(must));
    }
    if let Some(items) = element.get("items") {
        schema.insert("items".into(), Value::Object(element_schema(items)));
    }
    schema
}

/// The value of a custom property of an element.
fn own_property<'a>(element: &'a Value, name: &str) -> Option<&'a Value> {
    let list = element.get("customProperties").and_then(Value::as_array)?;
    list.iter().find(|property| text_at(property, "/property") == Some(name))?.get("value")
}

fn options(element: &Value, schema: &mut Map<String, Value>) {
    const SAME: [&str; 15] = [
        "minLength",
        "maxLength",
        "pattern",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "multipleOf",
        "minItems",
        "maxItems",
        "uniqueItems",
        "minProperties",
        "maxProperties",
        "enum",
        "required",
    ];
    let Some(options) = element.get("logicalTypeOptions").and_then(Value::as_object) else { return };
    for name in SAME {
        if let Some(value) = options.get(name) {
            schema.insert(name.into(), value.clone());
        }
    }
    // A format of ODCS is a JSON Schema format for text only; for dates it is a pattern in Java's notation.
    if text_at(element, "/logicalType") == Some("string")
        && let Some(format) = options.get("format")
    {
        schema.insert("format".into(), format.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDERS: &str = r#"
apiVersion: v3.1.0
kind: DataContract
id: acme-orders
version: 1.2.0
status: active
name: Orders
schema:
  - name: order
    properties:
      - {name: id, logicalType: string, required: true, classification: public}
      - name: customer
        logicalType: object
        classification: pii
        properties:
          - {name: email, logicalType: string, logicalTypeOptions: {format: email}}
      - name: lines
        logicalType: array
        items:
          logicalType: object
          properties:
            - {name: qty, logicalType: integer, required: true, classification: internal,
               quality: [{type: custom, engine: cel, name: some, implementation: "event.lines.all(l, l.qty > 0)"}]}
slaProperties:
  - {property: retention, value: 30, unit: d}
customProperties:
  - property: tradelane
    value:
      region: eu
      purposes: [replenishment]
      classes: {trade-secret: confidential}
      fields:
        - {at: /customer, subject: /customer/email}
        - {at: "/notes/{}", class: trade-secret}
"#;

    #[test]
    fn a_contract_is_read_into_shape_schema_and_rules() {
        let contract = Contract::parse(ORDERS).unwrap();
        assert_eq!(contract.retention, Some(30 * 86_400));
        assert!(contract.allows_purpose("replenishment") && !contract.allows_purpose("marketing"));
        let customer = contract.shape.place(&Pattern::parse("/customer").unwrap()).unwrap();
        assert_eq!(customer.class.as_ref().unwrap().as_str(), Class::PII);
        assert_eq!(customer.subject, Some(Pattern::parse("/customer/email").unwrap()));
        assert_eq!(contract.quality.len(), 1);
        assert_eq!(contract.json_schema["properties"]["lines"]["items"]["required"], json!(["qty"]));
        assert_eq!(contract.json_schema["properties"]["customer"]["properties"]["email"]["format"], json!("email"));
        assert!(contract.shape.place(&Pattern::parse("/notes/{}").unwrap()).is_some());
    }

    #[test]
    fn a_year_and_norway_are_text() {
        let contract =
            Contract::parse(&ORDERS.replace("unit: d", "unit: y").replace("region: eu", "region: no")).unwrap();
        assert_eq!(contract.retention, Some(30 * 365 * 86_400));
        assert_eq!(contract.region.as_deref(), Some("no"));
    }

    #[test]
    fn a_contract_that_cannot_be_meant_is_refused_with_its_place() {
        let cases = [
            (ORDERS.replace("DataContract", "Recipe"), "/kind"),
            (ORDERS.replace("classification: internal", "classification: Internal"), "classification"),
            (ORDERS.replace("classification: internal", "classification: unheard-of"), "/lines/*/qty"),
            (ORDERS.replace("subject: /customer/email", "subject: /nowhere"), "/nowhere"),
            (ORDERS.replace("unit: d", "unit: moons"), "/slaProperties"),
            (ORDERS.replace("region: eu", "regoin: eu"), "regoin"),
        ];
        for (text, expected) in cases {
            let error = Contract::parse(&text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error} should name {expected}");
        }
    }
}
