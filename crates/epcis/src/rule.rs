//! The rules that an EPCIS document or event can break: stable ids, one sentence each. Knows nothing of how they are
//! checked. `docs/epcis.md` lists them with their sources.

use std::fmt;

macro_rules! rules {
    ($($name:ident $id:literal $sentence:literal;)*) => {
        /// A rule of EPCIS 2.0 or CBV 2.0. Ids are never reused and never change their meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Rule {
            $(#[doc = $sentence] $name,)*
        }

        impl Rule {
            /// Every rule, by id.
            pub const ALL: &'static [Rule] = &[$(Rule::$name,)*];

            /// The stable id, for example `EPCIS-014`.
            pub const fn id(self) -> &'static str {
                match self { $(Rule::$name => $id,)* }
            }

            /// What the rule asks, in one sentence that holds no value of any document.
            pub const fn sentence(self) -> &'static str {
                match self { $(Rule::$name => $sentence,)* }
            }
        }
    };
}

rules! {
    NotEpcis "EPCIS-001" "This is no EPCIS document, event or list of events: an object with `type`, or an array of them, is expected.";
    TypeMissing "EPCIS-002" "`type` is missing or is no string.";
    ContextMissing "EPCIS-003" "`@context` is missing: a document, and an event sent alone, must refer to the EPCIS context.";
    ContextShape "EPCIS-004" "`@context` must be a URI, an object, or a list of these without repetition.";
    SchemaVersion "EPCIS-005" "`schemaVersion` must be a version such as \"2.0\".";
    CreationDate "EPCIS-006" "`creationDate` must be a date and time with time zone.";
    BodyMissing "EPCIS-007" "`epcisBody` is missing, or does not hold its list of events or query results.";
    UnknownField "EPCIS-008" "EPCIS defines no such field here; an extension needs a prefix declared in `@context`, or a full URI, as its name.";
    UndeclaredPrefix "EPCIS-009" "The prefix of this field is not declared in `@context`.";
    WrongKind "EPCIS-010" "The value is of the wrong JSON type for this field.";
    NoUri "EPCIS-011" "The value must be an absolute URI.";
    NoTime "EPCIS-012" "The value must be a date and time with time zone, as in 2026-03-01T08:30:00.000+01:00.";
    ZoneOffset "EPCIS-013" "`eventTimeZoneOffset` must be written as +hh:mm or -hh:mm, at most fourteen hours.";
    EventTimeMissing "EPCIS-014" "`eventTime` is missing.";
    ZoneOffsetMissing "EPCIS-015" "`eventTimeZoneOffset` is missing.";
    ActionMissing "EPCIS-016" "`action` is missing; this event type needs one.";
    ActionUnknown "EPCIS-017" "`action` must be ADD, OBSERVE or DELETE.";
    ForbiddenField "EPCIS-018" "This event type does not have this field.";
    NothingObserved "EPCIS-019" "An ObjectEvent needs `epcList`, a `quantityList` with an element, or `sensorElementList` with `readPoint`.";
    AggregationParent "EPCIS-020" "An AggregationEvent that adds or deletes needs `parentID`.";
    AggregationChildren "EPCIS-021" "An AggregationEvent that adds or observes needs an element in `childEPCs` or `childQuantityList`.";
    AssociationParent "EPCIS-022" "An AssociationEvent needs `parentID`.";
    AssociationChildren "EPCIS-023" "An AssociationEvent that adds or observes needs an element in `childEPCs` or `childQuantityList`.";
    TransactionMissing "EPCIS-024" "A TransactionEvent needs an element in `bizTransactionList`.";
    TransactionObjects "EPCIS-025" "A TransactionEvent that adds or observes needs `epcList` or an element in `quantityList`.";
    TransformationSides "EPCIS-026" "A TransformationEvent needs inputs and outputs, or `transformationID` and one of the two.";
    IlmdNotAllowed "EPCIS-027" "`ilmd` is for an ObjectEvent that adds and for a TransformationEvent only.";
    BizStep "EPCIS-028" "`bizStep` must be a CBV word or a URI outside the CBV's namespaces.";
    Disposition "EPCIS-029" "A disposition must be a CBV word or a URI outside the CBV's namespaces.";
    PersistentDisposition "EPCIS-030" "`persistentDisposition` must hold `set` or `unset`, each a list of at least one disposition, and nothing else.";
    BizTransactionType "EPCIS-031" "A business transaction type must be a CBV word or a URI outside the CBV's namespaces.";
    SourceDestType "EPCIS-032" "A source or destination type must be a CBV word or a URI outside the CBV's namespaces.";
    ErrorReason "EPCIS-033" "The reason of an error declaration must be a CBV word or a URI outside the CBV's namespaces.";
    MeasurementType "EPCIS-034" "The type of a sensor report must be a measurement type of the GS1 Web Vocabulary, or a URI outside it.";
    SensorAlert "EPCIS-035" "`exception` must be ALARM_CONDITION, ERROR_CONDITION, or a URI outside the GS1 Web Vocabulary.";
    Component "EPCIS-036" "`component` must be a CBV word or a URI outside the CBV's namespaces.";
    EpcMalformed "EPCIS-037" "The EPC URI breaks the grammar of its scheme.";
    LinkMalformed "EPCIS-038" "The GS1 Digital Link URI breaks the grammar of its key or qualifiers.";
    CheckDigit "EPCIS-039" "The check digit of the GS1 key is wrong.";
    Repeated "EPCIS-040" "The list holds the same value twice.";
    ElementField "EPCIS-041" "An element of this list has its own fields only; extensions are not allowed in it.";
    RequiredMember "EPCIS-042" "A member that this object needs is missing.";
    Uom "EPCIS-043" "`uom` must be a UN/CEFACT Recommendation 20 code of two or three upper-case letters and digits.";
    SensorReportEmpty "EPCIS-044" "`sensorReport` must hold at least one report.";
    SensorTypeMissing "EPCIS-045" "A sensor report needs `type`.";
    SensorTwice "EPCIS-046" "The same attribute stands in `sensorMetadata` and in a `sensorReport` of it; it may stand in one of them.";
    SensorPeriod "EPCIS-047" "`startTime` is after `endTime`.";
    SensorRange "EPCIS-048" "`minValue` is above `maxValue`.";
    SensorStatistic "EPCIS-049" "`sDev` must not be negative and `percRank` must be between 0 and 100.";
    UomDimension "EPCIS-050" "The unit of measure does not measure what the type of the report names.";
    HexBinary "EPCIS-051" "`hexBinaryValue` must be hexadecimal digits.";
    EventId "EPCIS-052" "`eventID` must be a URI; a UUID or a hash in it must be complete.";
    DeclarationTimeMissing "EPCIS-053" "`declarationTime` of the error declaration is missing.";
    CertificationInfo "EPCIS-054" "`certificationInfo` must be a URI or a list of URIs.";
    IlmdField "EPCIS-055" "The fields of `ilmd` need a declared prefix, or a full URI, as their names.";
    ExtensionName "EPCIS-056" "The name of an extension field must be a URI or a prefixed name without blanks.";
    ExtensionType "EPCIS-057" "An event type that is not of the standard needs a declared prefix, or a full URI, as its name.";
    QueryName "EPCIS-058" "`queryResults` needs `queryName` and `resultsBody` with `eventList`.";
    MasterData "EPCIS-059" "The master data in `epcisHeader` are not of the form that EPCIS gives them.";
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

/// One rule broken at one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// RFC 6901 pointer into the document or event that was validated.
    pub place: String,
    /// Which event of the document, from 0; `None` for a rule of the document itself.
    pub event: Option<usize>,
    /// The rule.
    pub rule: Rule,
}

impl Violation {
    /// What the rule asks; nothing of the document is in it.
    pub fn sentence(&self) -> &'static str {
        self.rule.sentence()
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.place.is_empty() { "/" } else { &self.place };
        write!(f, "{place}: {} {}", self.rule.id(), self.rule.sentence())
    }
}

#[cfg(test)]
mod tests {
    use super::Rule;

    #[test]
    fn rule_ids_are_numbered_without_gap_or_repetition() {
        for (at, rule) in Rule::ALL.iter().enumerate() {
            assert_eq!(rule.id(), format!("EPCIS-{:03}", at + 1));
            assert!(rule.sentence().ends_with('.') && rule.sentence().len() < 160, "{rule}");
        }
    }
}
