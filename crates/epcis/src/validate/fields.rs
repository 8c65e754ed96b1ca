//! The fields of an event and which event types have them. Knows nothing of their values.

/// A field that EPCIS defines for events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Field {
    Context,
    Type,
    EventTime,
    RecordTime,
    ZoneOffset,
    EventId,
    CertificationInfo,
    ErrorDeclaration,
    Action,
    BizStep,
    Disposition,
    PersistentDisposition,
    ReadPoint,
    BizLocation,
    BizTransactionList,
    SourceList,
    DestinationList,
    SensorElementList,
    Ilmd,
    EpcList,
    QuantityList,
    ParentId,
    ChildEpcs,
    ChildQuantityList,
    InputEpcList,
    InputQuantityList,
    OutputEpcList,
    OutputQuantityList,
    TransformationId,
}

/// How many fields there are.
pub(super) const FIELDS: usize = Field::TransformationId as usize + 1;

impl Field {
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "@context" => Self::Context,
            "type" => Self::Type,
            "eventTime" => Self::EventTime,
            "recordTime" => Self::RecordTime,
            "eventTimeZoneOffset" => Self::ZoneOffset,
            "eventID" => Self::EventId,
            "certificationInfo" => Self::CertificationInfo,
            "errorDeclaration" => Self::ErrorDeclaration,
            "action" => Self::Action,
            "bizStep" => Self::BizStep,
            "disposition" => Self::Disposition,
            "persistentDisposition" => Self::PersistentDisposition,
            "readPoint" => Self::ReadPoint,
            "bizLocation" => Self::BizLocation,
            "bizTransactionList" => Self::BizTransactionList,
            "sourceList" => Self::SourceList,
            "destinationList" => Self::DestinationList,
            "sensorElementList" => Self::SensorElementList,
            "ilmd" => Self::Ilmd,
            "epcList" => Self::EpcList,
            "quantityList" => Self::QuantityList,
            "parentID" => Self::ParentId,
            "childEPCs" => Self::ChildEpcs,
            "childQuantityList" => Self::ChildQuantityList,
            "inputEPCList" => Self::InputEpcList,
            "inputQuantityList" => Self::InputQuantityList,
            "outputEPCList" => Self::OutputEpcList,
            "outputQuantityList" => Self::OutputQuantityList,
            "transformationID" => Self::TransformationId,
            _ => return None,
        })
    }

    const fn bit(self) -> u32 {
        1 << self as u8
    }
}

/// The type of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EventType {
    Object,
    Aggregation,
    Transaction,
    Transformation,
    Association,
    Extension,
}

const EVERY: u32 = Field::Context.bit()
    | Field::Type.bit()
    | Field::EventTime.bit()
    | Field::RecordTime.bit()
    | Field::ZoneOffset.bit()
    | Field::EventId.bit()
    | Field::CertificationInfo.bit()
    | Field::ErrorDeclaration.bit();

// The schema, unlike the SHACL shapes, lets every standard event type have a persistentDisposition.
const STANDARD: u32 = EVERY
    | Field::BizStep.bit()
    | Field::Disposition.bit()
    | Field::PersistentDisposition.bit()
    | Field::ReadPoint.bit()
    | Field::BizLocation.bit()
    | Field::BizTransactionList.bit()
    | Field::SourceList.bit()
    | Field::DestinationList.bit()
    | Field::SensorElementList.bit();

const CHILDREN: u32 =
    Field::Action.bit() | Field::ParentId.bit() | Field::ChildEpcs.bit() | Field::ChildQuantityList.bit();

impl EventType {
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "ObjectEvent" => Self::Object,
            "AggregationEvent" => Self::Aggregation,
            "TransactionEvent" => Self::Transaction,
            "TransformationEvent" => Self::Transformation,
            "AssociationEvent" => Self::Association,
            _ => return None,
        })
    }

    /// Whether an event of this type may have the field.
    pub(super) fn has(self, field: Field) -> bool {
        let fields = match self {
            Self::Object => {
                STANDARD | Field::Action.bit() | Field::EpcList.bit() | Field::QuantityList.bit() | Field::Ilmd.bit()
            }
            Self::Aggregation | Self::Association => STANDARD | CHILDREN,
            Self::Transaction => {
                STANDARD
                    | Field::Action.bit()
                    | Field::ParentId.bit()
                    | Field::EpcList.bit()
                    | Field::QuantityList.bit()
            }
            Self::Transformation => {
                STANDARD
                    | Field::InputEpcList.bit()
                    | Field::InputQuantityList.bit()
                    | Field::OutputEpcList.bit()
                    | Field::OutputQuantityList.bit()
                    | Field::TransformationId.bit()
                    | Field::Ilmd.bit()
            }
            Self::Extension => u32::MAX,
        };
        fields & field.bit() != 0
    }

    /// Whether `action` is required.
    pub(super) fn acts(self) -> bool {
        !matches!(self, Self::Transformation | Self::Extension)
    }
}
