//! From names and values to a [`Query`]: the standard's table of parameters. Knows no events.

use std::borrow::Cow;
use std::collections::HashSet;

use tradelane_tape::{Kind, Node};

use super::epcs::{self, Matcher};
use super::error::{QueryError, QueryFault};
use super::fields::{self, Name, Op, Operand, Scope};
use super::filter::Filter;
use super::order::{Direction, OrderBy};
use super::{Query, sensors};
use crate::cbv::{Term, Vocabulary};
use crate::context::Context;
use crate::time::DateTime;
use crate::uri::is_uri;

/// Most parameters of one query.
pub const MOST_PARAMETERS: usize = 100;
/// Most values of one parameter.
pub const MOST_VALUES: usize = 1000;
/// Longest name or value.
const LONGEST: usize = 4096;

/// One parameter.
struct Parameter<'p> {
    name: &'p str,
    values: Vec<Cow<'p, str>>,
}

type Parsed<T> = Result<T, QueryFault>;

pub(super) fn pairs<'p>(
    pairs: impl IntoIterator<Item = (&'p str, &'p str)>,
    prefixes: &Context<'_>,
) -> Result<Query, QueryError> {
    let mut builder = Builder::new(prefixes);
    for (name, value) in pairs {
        // A text is one value although it holds a '|' where the parameter takes one text only.
        let values = match name {
            "nextPageToken" | "orderBy" => vec![Cow::Borrowed(value)],
            _ => value.split('|').take(MOST_VALUES + 1).map(Cow::Borrowed).collect(),
        };
        builder.add(&Parameter { name, values })?;
    }
    builder.finish()
}

pub(super) fn json(object: Node<'_>) -> Result<Query, QueryError> {
    if object.kind() != Kind::Object {
        return Err(QueryError::new(QueryFault::Value, "query"));
    }
    let prefixes = object.get("@context").map(Context::of).unwrap_or_default();
    let mut builder = Builder::new(&prefixes);
    for (key, value) in object.members() {
        let name = key.as_str();
        if name == "@context" {
            continue;
        }
        let values = match value.kind() {
            Kind::Array if value.len() > MOST_VALUES => {
                return Err(QueryError::new(QueryFault::TooMany, &name));
            }
            Kind::Array => value.elements().map(json_value).collect(),
            _ => Some(vec![json_value(value)]).and_then(|values| values.into_iter().collect()),
        };
        let values: Option<Vec<_>> = values;
        let values = values.ok_or_else(|| QueryError::new(QueryFault::Value, &name))?;
        builder.add(&Parameter { name: &name, values })?;
    }
    builder.finish()
}

fn json_value(value: Node<'_>) -> Option<Cow<'_, str>> {
    match value.kind() {
        Kind::String => value.as_str(),
        Kind::Number => value.number_text().map(Cow::Borrowed),
        Kind::Bool => Some(Cow::Borrowed(if value.as_bool() == Some(true) { "true" } else { "false" })),
        Kind::Null => Some(Cow::Borrowed("")),
        Kind::Array | Kind::Object => None,
    }
}

struct Builder<'c> {
    prefixes: &'c Context<'c>,
    seen: HashSet<String>,
    query: Query,
    direction: Option<Direction>,
    order: Option<OrderBy>,
}

impl<'c> Builder<'c> {
    fn new(prefixes: &'c Context<'c>) -> Self {
        Self { prefixes, seen: HashSet::new(), query: Query::default(), direction: None, order: None }
    }

    fn add(&mut self, parameter: &Parameter<'_>) -> Result<(), QueryError> {
        let Parameter { name, values } = parameter;
        let fail = |fault| QueryError::new(fault, name);
        let too_long = name.len() > LONGEST || values.iter().any(|value| value.len() > LONGEST);
        if self.seen.len() >= MOST_PARAMETERS || values.len() > MOST_VALUES || too_long {
            return Err(fail(QueryFault::TooMany));
        }
        if !self.seen.insert((*name).to_owned()) {
            return Err(fail(QueryFault::Twice));
        }
        if self.control(parameter).map_err(fail)? {
            return Ok(());
        }
        let filter = match self.fixed(parameter) {
            Some(filter) => filter,
            None => self.open_ended(parameter),
        };
        self.query.filters.extend(filter.map_err(fail)?);
        Ok(())
    }

    fn finish(mut self) -> Result<Query, QueryError> {
        let query = &mut self.query;
        if query.event_count_limit.is_some() && (query.max_event_count.is_some() || self.order.is_none()) {
            return Err(QueryError::new(QueryFault::Combination, "eventCountLimit"));
        }
        query.order = self.order.map(|by| (by, self.direction.unwrap_or_default()));
        Ok(self.query)
    }

    /// The parameters that say what of the result is wanted; whether this was one.
    fn control(&mut self, parameter: &Parameter<'_>) -> Parsed<bool> {
        match parameter.name {
            "orderBy" => {
                self.order = Some(match parameter.one()? {
                    "eventTime" => OrderBy::EventTime,
                    "recordTime" => OrderBy::RecordTime,
                    name => OrderBy::Extension(Name::of(name, self.prefixes).ok_or(QueryFault::Value)?),
                });
            }
            "orderDirection" => {
                self.direction = Some(match parameter.one()? {
                    "ASC" => Direction::Ascending,
                    "DESC" => Direction::Descending,
                    _ => return Err(QueryFault::Value),
                });
            }
            "eventCountLimit" => self.query.event_count_limit = Some(parameter.count()?),
            "maxEventCount" => self.query.max_event_count = Some(parameter.count()?),
            "perPage" => self.query.per_page = Some(parameter.count()?),
            "nextPageToken" => self.query.next_page_token = Some(parameter.one()?.to_owned()),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The parameters with a fixed name.
    fn fixed(&self, parameter: &Parameter<'_>) -> Option<Parsed<Option<Filter>>> {
        let filter = match parameter.name {
            "eventType" => parameter.event_types(self.prefixes),
            "GE_eventTime" => parameter.time().map(|time| Filter::EventTime(Op::Ge, time)),
            "LT_eventTime" => parameter.time().map(|time| Filter::EventTime(Op::Lt, time)),
            "GE_recordTime" => parameter.time().map(|time| Filter::RecordTime(Op::Ge, time)),
            "LT_recordTime" => parameter.time().map(|time| Filter::RecordTime(Op::Lt, time)),
            "EQ_action" => parameter.actions(),
            "EQ_bizStep" => self.terms(parameter, &["bizStep"], Vocabulary::BizStep),
            "EQ_disposition" => self.terms(parameter, &["disposition"], Vocabulary::Disposition),
            "EQ_persistentDisposition_set" | "EQ_set" => {
                self.terms(parameter, &["persistentDisposition", "set"], Vocabulary::Disposition)
            }
            "EQ_persistentDisposition_unset" | "EQ_unset" => {
                self.terms(parameter, &["persistentDisposition", "unset"], Vocabulary::Disposition)
            }
            "EQ_errorReason" => self.terms(parameter, &["errorDeclaration", "reason"], Vocabulary::ErrorReason),
            "EQ_readPoint" => self.place(parameter, "readPoint", false),
            "WD_readPoint" => self.place(parameter, "readPoint", true),
            "EQ_bizLocation" => self.place(parameter, "bizLocation", false),
            "WD_bizLocation" => self.place(parameter, "bizLocation", true),
            "EQ_transformationID" => self.uris(parameter).map(|uris| Filter::Uri(&["transformationID"], uris)),
            "EQ_eventID" => self.uris(parameter).map(|uris| Filter::Uri(&["eventID"], uris)),
            "EQ_correctiveEventID" => {
                self.uris(parameter).map(|uris| Filter::Uri(&["errorDeclaration", "correctiveEventIDs"], uris))
            }
            "MATCH_epc" => self.epcs(parameter, &["epcList", "childEPCs"]),
            "MATCH_parentID" => self.epcs(parameter, &["parentID"]),
            "MATCH_inputEPC" => self.epcs(parameter, &["inputEPCList"]),
            "MATCH_outputEPC" => self.epcs(parameter, &["outputEPCList"]),
            "MATCH_anyEPC" => {
                self.epcs(parameter, &["epcList", "childEPCs", "parentID", "inputEPCList", "outputEPCList"])
            }
            "MATCH_epcClass" => self.classes(parameter, &["quantityList", "childQuantityList"]),
            "MATCH_inputEPCClass" => self.classes(parameter, &["inputQuantityList"]),
            "MATCH_outputEPCClass" => self.classes(parameter, &["outputQuantityList"]),
            "MATCH_anyEPCClass" => self
                .classes(parameter, &["quantityList", "childQuantityList", "inputQuantityList", "outputQuantityList"]),
            "EXISTS_errorDeclaration" => return Some(parameter.flag(Filter::ErrorDeclared)),
            "EXISTS_sensorElementList" | "EXISTS_sensorElement" => {
                return Some(parameter.flag(Filter::Sensor(sensors::Condition::Exists)));
            }
            "GE_errorDeclaration_Time" | "GE_errorDeclarationTime" => {
                parameter.time().map(|time| Filter::DeclarationTime(Op::Ge, time))
            }
            "LT_errorDeclaration_Time" | "LT_errorDeclarationTime" => {
                parameter.time().map(|time| Filter::DeclarationTime(Op::Lt, time))
            }
            name => return self.sensor(name, parameter).map(|parsed| parsed.map(|held| Some(Filter::Sensor(held)))),
        };
        Some(filter.map(Some))
    }

    /// The parameters on sensor data with a fixed name.
    fn sensor(&self, name: &str, parameter: &Parameter<'_>) -> Option<Parsed<sensors::Condition>> {
        use sensors::Condition::{Boolean, Text, Time, Type, Uri};
        let uri = |name| self.uris(parameter).map(|uris| Uri(name, uris));
        let time = |name, op| parameter.time().map(|time| Time(name, op, time));
        Some(match name {
            "EQ_type" => self.canonical_terms(parameter, Vocabulary::MeasurementType).map(Type),
            "EQ_deviceID" => uri("deviceID"),
            "EQ_deviceMetadata" => uri("deviceMetadata"),
            "EQ_rawData" => uri("rawData"),
            "EQ_dataProcessingMethod" => uri("dataProcessingMethod"),
            "EQ_microorganism" => uri("microorganism"),
            "EQ_chemicalSubstance" => uri("chemicalSubstance"),
            "EQ_bizRules" => uri("bizRules"),
            "EQ_uriValue" => uri("uriValue"),
            "EQ_stringValue" => parameter.texts().map(|texts| Text("stringValue", texts)),
            "EQ_hexBinaryValue" => parameter.texts().map(|texts| Text("hexBinaryValue", texts)),
            "EQ_booleanValue" => parameter.one().and_then(|text| match text {
                "true" => Ok(Boolean(true)),
                "false" => Ok(Boolean(false)),
                _ => Err(QueryFault::Value),
            }),
            "EQ_time" => time("time", Op::Eq),
            "GE_time" => time("time", Op::Ge),
            "LT_time" => time("time", Op::Lt),
            "GE_startTime" => time("startTime", Op::Ge),
            "LT_startTime" => time("startTime", Op::Lt),
            "GE_endTime" => time("endTime", Op::Ge),
            "LT_endTime" => time("endTime", Op::Lt),
            _ => return None,
        })
    }

    /// The parameters whose name holds a type, a unit or the name of an extension field.
    fn open_ended(&self, parameter: &Parameter<'_>) -> Parsed<Option<Filter>> {
        let name = parameter.name;
        if name.starts_with("HASATTR_") || name.starts_with("EQATTR_") || name.starts_with("EQ_ATTR_") {
            return Err(QueryFault::XmlOnly);
        }
        for (prefix, list, member) in [
            ("EQ_bizTransaction_", "bizTransactionList", "bizTransaction"),
            ("EQ_source_", "sourceList", "source"),
            ("EQ_destination_", "destinationList", "destination"),
        ] {
            if let Some(kind) = name.strip_prefix(prefix) {
                return self.typed(parameter, list, member, kind).map(Some);
            }
        }
        let (op, rest) = name.split_once('_').ok_or(QueryFault::Unknown)?;
        if op == "EXISTS" {
            let condition = self.condition(rest, None)?;
            return parameter.flag(Filter::Field(condition));
        }
        let op = match op {
            "EQ" => Op::Eq,
            "GT" => Op::Gt,
            "GE" => Op::Ge,
            "LT" => Op::Lt,
            "LE" => Op::Le,
            _ => return Err(QueryFault::Unknown),
        };
        if let Some(filter) = parameter.number(op, rest) {
            return filter.map(Some);
        }
        self.extension(parameter, op, rest).map(Some)
    }

    /// `EQ_prefix:field`, `GE_ILMD_prefix:field`, `EQ_INNER_SENSORREPORT_prefix:field`, ...
    fn extension(&self, parameter: &Parameter<'_>, op: Op, rest: &str) -> Parsed<Filter> {
        let operands: Vec<Operand> = parameter.values.iter().map(|value| Operand::of(value)).collect();
        let condition = self.condition(rest, Some((op, operands)))?;
        let (_, operands) = condition.test.as_ref().ok_or(QueryFault::Value)?;
        if op != Op::Eq && (operands.len() != 1 || !operands.iter().all(Operand::is_ordered)) {
            return Err(QueryFault::Value);
        }
        Ok(Filter::Field(condition))
    }

    fn condition(&self, rest: &str, test: Option<(Op, Vec<Operand>)>) -> Parsed<fields::Condition> {
        let (inner, rest) = rest.strip_prefix("INNER_").map_or((false, rest), |rest| (true, rest));
        let scopes = [
            ("ILMD_", Scope::Ilmd),
            ("ERROR_DECLARATION_", Scope::ErrorDeclaration),
            ("SENSORELEMENT_", Scope::SensorElement),
            ("SENSORMETADATA_", Scope::SensorMetadata),
            ("SENSORREPORT_", Scope::SensorReport),
            ("readPoint_", Scope::ReadPoint),
            ("bizLocation_", Scope::BizLocation),
        ];
        let found = scopes.iter().find_map(|(prefix, scope)| Some((*scope, rest.strip_prefix(prefix)?)));
        let (scope, field) = found.unwrap_or((Scope::Event, rest));
        let name = Name::of(field, self.prefixes).ok_or(QueryFault::Unknown)?;
        Ok(fields::Condition { scope, inner, name, test })
    }

    fn canonical_terms(&self, parameter: &Parameter<'_>, vocabulary: Vocabulary) -> Parsed<Vec<String>> {
        let canonical = |value: &Cow<'_, str>| match vocabulary.read(value) {
            Term::Standard(_) => Ok(vocabulary.canonical(value, self.prefixes).into_owned()),
            Term::Other if is_uri(value) => Ok(self.prefixes.expand(value).into_owned()),
            _ => Err(QueryFault::Value),
        };
        parameter.values.iter().map(canonical).collect()
    }

    fn terms(&self, parameter: &Parameter<'_>, path: &'static [&'static str], of: Vocabulary) -> Parsed<Filter> {
        self.canonical_terms(parameter, of).map(|terms| Filter::Term(path, of, terms))
    }

    fn uris(&self, parameter: &Parameter<'_>) -> Parsed<Vec<String>> {
        let canonical = |value: &Cow<'_, str>| {
            is_uri(value).then(|| epcs::canonical(value, self.prefixes)).ok_or(QueryFault::Value)
        };
        parameter.values.iter().map(canonical).collect()
    }

    fn place(&self, parameter: &Parameter<'_>, field: &'static str, descendants: bool) -> Parsed<Filter> {
        self.uris(parameter).map(|values| Filter::Place { field, descendants, values })
    }

    fn matchers(&self, parameter: &Parameter<'_>) -> Parsed<Vec<Matcher>> {
        let matcher = |value: &Cow<'_, str>| {
            is_uri(value).then(|| Matcher::of(value, self.prefixes)).flatten().ok_or(QueryFault::Value)
        };
        parameter.values.iter().map(matcher).collect()
    }

    fn epcs(&self, parameter: &Parameter<'_>, fields: &'static [&'static str]) -> Parsed<Filter> {
        self.matchers(parameter).map(|matchers| Filter::Epc(fields, matchers))
    }

    fn classes(&self, parameter: &Parameter<'_>, lists: &'static [&'static str]) -> Parsed<Filter> {
        self.matchers(parameter).map(|matchers| Filter::Class(lists, matchers))
    }

    fn typed(&self, parameter: &Parameter<'_>, list: &'static str, member: &'static str, kind: &str) -> Parsed<Filter> {
        let vocabulary =
            if member == "bizTransaction" { Vocabulary::BizTransactionType } else { Vocabulary::SourceDestType };
        if !matches!(vocabulary.read(kind), Term::Standard(_)) && !is_uri(kind) {
            return Err(QueryFault::Unknown);
        }
        let kind = vocabulary.canonical(kind, self.prefixes).into_owned();
        let values = self.uris(parameter)?;
        Ok(Filter::Typed { list, member, kind, values })
    }
}

impl Parameter<'_> {
    fn one(&self) -> Parsed<&str> {
        match self.values.as_slice() {
            [one] => Ok(one),
            _ => Err(QueryFault::Value),
        }
    }

    fn time(&self) -> Parsed<DateTime> {
        // A '+' of the offset that nobody percent-encoded arrives as a blank.
        let text = self.one()?.replace(' ', "+");
        DateTime::parse(&text).ok_or(QueryFault::Value)
    }

    /// A count of at least one.
    fn count(&self) -> Parsed<u32> {
        self.one()?.parse().ok().filter(|count| *count > 0).ok_or(QueryFault::Value)
    }

    /// A condition that is asked for with `true`, and not with `false`.
    fn flag(&self, filter: Filter) -> Parsed<Option<Filter>> {
        match self.one()? {
            "" | "true" | "1" => Ok(Some(filter)),
            "false" | "0" => Ok(None),
            _ => Err(QueryFault::Value),
        }
    }

    fn texts(&self) -> Parsed<Vec<String>> {
        Ok(self.values.iter().map(|value| value.clone().into_owned()).collect())
    }

    fn actions(&self) -> Parsed<Filter> {
        let known = self.values.iter().all(|value| matches!(&**value, "ADD" | "OBSERVE" | "DELETE"));
        if !known {
            return Err(QueryFault::Value);
        }
        self.texts().map(Filter::Action)
    }

    fn event_types(&self, prefixes: &Context<'_>) -> Parsed<Filter> {
        const STANDARD: &[&str] =
            &["ObjectEvent", "AggregationEvent", "TransactionEvent", "TransformationEvent", "AssociationEvent"];
        let canonical = |value: &Cow<'_, str>| {
            let bare = value.strip_prefix("epcis:").or_else(|| value.strip_prefix("https://ref.gs1.org/epcis/"));
            let name = bare.unwrap_or(value);
            if STANDARD.contains(&name) {
                return Ok(name.to_owned());
            }
            is_uri(value).then(|| prefixes.expand(value).into_owned()).ok_or(QueryFault::Value)
        };
        let types: Parsed<Vec<String>> = self.values.iter().map(canonical).collect();
        types.map(Filter::EventType)
    }

    /// `quantity`, `value_CEL`, `percRank`, ...; `None` when the name is none of these.
    fn number(&self, op: Op, rest: &str) -> Option<Parsed<Filter>> {
        const NUMBERS: &[&str] =
            &["value", "minValue", "maxValue", "meanValue", "sDev", "percRank", "percValue", "quantity"];
        let (name, unit) = rest.split_once('_').map_or((rest, None), |(name, unit)| (name, Some(unit)));
        let name = NUMBERS.iter().find(|known| **known == name)?;
        let shaped = unit.is_none_or(|unit| {
            (2..=3).contains(&unit.len()) && unit.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
        });
        if !shaped || (*name == "percRank" && unit.is_some()) {
            return Some(Err(QueryFault::Unknown));
        }
        Some(self.numbers(op).map(|operands| {
            let unit = unit.map(str::to_owned);
            match *name {
                "quantity" => Filter::Quantity { op, operands, unit },
                name => Filter::Sensor(sensors::Condition::Number { name, op, operands, unit }),
            }
        }))
    }

    fn numbers(&self, op: Op) -> Parsed<Vec<f64>> {
        if op != Op::Eq && self.values.len() != 1 {
            return Err(QueryFault::Value);
        }
        let number = |value: &Cow<'_, str>| value.parse().ok().filter(|number: &f64| number.is_finite());
        self.values.iter().map(|value| number(value).ok_or(QueryFault::Value)).collect()
    }
}
