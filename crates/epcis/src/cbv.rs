//! The Core Business Vocabulary 2.0: which words are standard in which field, and the forms in which they are written
//! (bare word, CURIE, web URI, URN). Knows nothing of events.

use std::borrow::Cow;

use crate::context::Context;

/// CBV 2.0, section 7.1, sorted.
const BIZ_STEPS: &[&str] = &[
    "accepting",
    "arriving",
    "assembling",
    "collecting",
    "commissioning",
    "consigning",
    "creating_class_instance",
    "cycle_counting",
    "decommissioning",
    "departing",
    "destroying",
    "disassembling",
    "dispensing",
    "encoding",
    "entering_exiting",
    "holding",
    "inspecting",
    "installing",
    "killing",
    "loading",
    "other",
    "packing",
    "picking",
    "receiving",
    "removing",
    "repackaging",
    "repairing",
    "replacing",
    "reserving",
    "retail_selling",
    "sampling",
    "sensor_reporting",
    "shipping",
    "staging_outbound",
    "stock_taking",
    "stocking",
    "storing",
    "transporting",
    "unloading",
    "unpacking",
    "void_shipping",
];

/// CBV 2.0, section 7.2, sorted.
const DISPOSITIONS: &[&str] = &[
    "active",
    "available",
    "completeness_inferred",
    "completeness_verified",
    "conformant",
    "container_closed",
    "container_open",
    "damaged",
    "destroyed",
    "dispensed",
    "disposed",
    "encoded",
    "expired",
    "in_progress",
    "in_transit",
    "inactive",
    "mismatch_class",
    "mismatch_instance",
    "mismatch_quantity",
    "needs_replacement",
    "no_pedigree_match",
    "non_conformant",
    "non_sellable_other",
    "partially_dispensed",
    "recalled",
    "reserved",
    "retail_sold",
    "returned",
    "sellable_accessible",
    "sellable_not_accessible",
    "stolen",
    "unavailable",
    "unknown",
];

/// CBV 2.0, section 7.3, sorted.
const BIZ_TRANSACTION_TYPES: &[&str] = &[
    "bol",
    "cert",
    "desadv",
    "inv",
    "pedigree",
    "po",
    "poc",
    "prodorder",
    "recadv",
    "rma",
    "testprd",
    "testres",
    "upevt",
];

/// CBV 2.0, section 7.4, sorted.
const SOURCE_DEST_TYPES: &[&str] = &["location", "owning_party", "possessing_party"];

/// CBV 2.0, section 7.5, sorted.
const ERROR_REASONS: &[&str] = &["did_not_occur", "incorrect_data"];

/// GS1 Web Vocabulary, `gs1:MeasurementType`, sorted.
const MEASUREMENT_TYPES: &[&str] = &[
    "AbsoluteHumidity",
    "AbsorbedDose",
    "AbsorbedDoseRate",
    "Acceleration",
    "Altitude",
    "AmountOfSubstance",
    "AmountOfSubstancePerUnitVolume",
    "Angle",
    "AngularAcceleration",
    "AngularMomentum",
    "AngularVelocity",
    "Area",
    "Capacitance",
    "Conductance",
    "Conductivity",
    "Count",
    "Density",
    "Dimensionless",
    "DoseEquivalent",
    "DoseEquivalentRate",
    "DynamicViscosity",
    "ElectricCharge",
    "ElectricCurrent",
    "ElectricCurrentDensity",
    "ElectricFieldStrength",
    "Energy",
    "Exposure",
    "Force",
    "Frequency",
    "Illuminance",
    "Inductance",
    "Irradiance",
    "KinematicViscosity",
    "Length",
    "LinearMomentum",
    "Luminance",
    "LuminousFlux",
    "LuminousIntensity",
    "MagneticFlux",
    "MagneticFluxDensity",
    "MagneticVectorPotential",
    "Mass",
    "MassConcentration",
    "MassFlowRate",
    "MassPerAreaTime",
    "MemoryCapacity",
    "MolalityOfSolute",
    "MolarEnergy",
    "MolarMass",
    "MolarVolume",
    "Power",
    "Pressure",
    "RadiantFlux",
    "RadiantIntensity",
    "Radioactivity",
    "RelativeHumidity",
    "Resistance",
    "Resistivity",
    "SolidAngle",
    "SpecificVolume",
    "Speed",
    "SurfaceDensity",
    "SurfaceTension",
    "Temperature",
    "Time",
    "Torque",
    "Voltage",
    "Volume",
    "VolumeFlowRate",
    "VolumeFraction",
    "VolumetricFlux",
    "Wavenumber",
];

/// GS1 Web Vocabulary, `gs1:SensorAlertType`, sorted.
const SENSOR_ALERTS: &[&str] = &["ALARM_CONDITION", "ERROR_CONDITION"];

/// CBV 2.0, section 7.9, sorted.
const COMPONENTS: &[&str] = &[
    "altitude",
    "axial_distance",
    "azimuth",
    "easting",
    "elevation_angle",
    "height",
    "latitude",
    "longitude",
    "northing",
    "polar_angle",
    "spherical_radius",
    "x",
    "y",
    "z",
];

/// A vocabulary of the CBV, or of the GS1 Web Vocabulary where EPCIS takes its terms from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Vocabulary {
    /// `bizStep`.
    BizStep,
    /// `disposition` and both lists of `persistentDisposition`.
    Disposition,
    /// `type` in `bizTransactionList`.
    BizTransactionType,
    /// `type` in `sourceList` and `destinationList`.
    SourceDestType,
    /// `reason` in `errorDeclaration`.
    ErrorReason,
    /// `type` in `sensorReport`.
    MeasurementType,
    /// `exception` in `sensorReport`.
    SensorAlert,
    /// `component` in `sensorReport`.
    Component,
}

/// What a text is to a vocabulary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Term {
    /// A standard word, however it was written.
    Standard(&'static str),
    /// Written in a namespace of the standard, but the standard has no such word.
    UnknownStandard,
    /// Something else: a user's own URI, or no URI at all.
    Other,
}

/// Web URIs of CBV terms start with this.
pub const CBV_WEB: &str = "https://ref.gs1.org/cbv/";
/// Web URIs of GS1 Web Vocabulary terms start with this.
pub const GS1_VOC: &str = "https://gs1.org/voc/";
/// URNs of CBV terms, as EPCIS 1.x wrote them, start with this.
pub const CBV_URN: &str = "urn:epcglobal:cbv:";

impl Vocabulary {
    fn words(self) -> &'static [&'static str] {
        match self {
            Self::BizStep => BIZ_STEPS,
            Self::Disposition => DISPOSITIONS,
            Self::BizTransactionType => BIZ_TRANSACTION_TYPES,
            Self::SourceDestType => SOURCE_DEST_TYPES,
            Self::ErrorReason => ERROR_REASONS,
            Self::MeasurementType => MEASUREMENT_TYPES,
            Self::SensorAlert => SENSOR_ALERTS,
            Self::Component => COMPONENTS,
        }
    }

    /// What stands between the namespace and the word in a web URI, and in a URN (which the newer ones do not have).
    fn infix(self) -> (&'static str, &'static str) {
        match self {
            Self::BizStep => ("BizStep-", "bizstep:"),
            Self::Disposition => ("Disp-", "disp:"),
            Self::BizTransactionType => ("BTT-", "btt:"),
            Self::SourceDestType => ("SDT-", "sdt:"),
            Self::ErrorReason => ("ER-", "er:"),
            Self::Component => ("Comp-", "comp:"),
            Self::MeasurementType | Self::SensorAlert => ("", ""),
        }
    }

    fn is_web_vocabulary(self) -> bool {
        matches!(self, Self::MeasurementType | Self::SensorAlert)
    }

    /// The standard's own copy of a bare word, if it has it.
    pub fn word(self, bare: &str) -> Option<&'static str> {
        let words = self.words();
        words.binary_search_by(|word| (*word).cmp(bare)).ok().and_then(|at| words.get(at).copied())
    }

    /// Reads any of the forms of a standard term: `shipping`, `cbv:BizStep-shipping`,
    /// `https://ref.gs1.org/cbv/BizStep-shipping` (and its older spellings), `urn:epcglobal:cbv:bizstep:shipping`.
    pub fn read(self, text: &str) -> Term {
        if !text.contains(':') {
            return self.word(text).map_or(Term::Other, Term::Standard);
        }
        let Some(local) = self.local_part(text) else { return Term::Other };
        self.word(local).map_or(Term::UnknownStandard, Term::Standard)
    }

    /// The word of a term in one of the standard's namespaces; an empty one when it belongs to another vocabulary.
    fn local_part(self, text: &str) -> Option<&str> {
        let (web, urn) = self.infix();
        if self.is_web_vocabulary() {
            return ["gs1:", GS1_VOC, "https://www.gs1.org/voc/", "http://gs1.org/voc/", "http://www.gs1.org/voc/"]
                .iter()
                .find_map(|namespace| text.strip_prefix(namespace));
        }
        if let Some(rest) = text.strip_prefix(CBV_URN) {
            return Some(rest.strip_prefix(urn).unwrap_or_default());
        }
        ["cbv:", CBV_WEB, "http://ref.gs1.org/cbv/", "https://ns.gs1.org/cbv/", "http://ns.gs1.org/cbv/"]
            .iter()
            .find_map(|namespace| text.strip_prefix(namespace))
            .map(|rest| rest.strip_prefix(web).unwrap_or_default())
    }

    /// The one URI of a term: the web URI of a standard word, the expansion of a CURIE, or the text itself.
    pub fn canonical<'a>(self, text: &'a str, context: &Context<'_>) -> Cow<'a, str> {
        match self.read(text) {
            Term::Standard(word) if self.is_web_vocabulary() => Cow::Owned(format!("{GS1_VOC}{word}")),
            Term::Standard(word) => Cow::Owned(format!("{CBV_WEB}{}{word}", self.infix().0)),
            Term::UnknownStandard | Term::Other => context.expand(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_is_sorted_for_the_search() {
        use Vocabulary::*;
        for vocabulary in [
            BizStep,
            Disposition,
            BizTransactionType,
            SourceDestType,
            ErrorReason,
            MeasurementType,
            SensorAlert,
            Component,
        ] {
            assert!(vocabulary.words().is_sorted(), "{vocabulary:?}");
            for word in vocabulary.words() {
                assert_eq!(vocabulary.read(word), Term::Standard(word));
            }
        }
    }

    #[test]
    fn a_term_is_the_same_in_every_form() {
        for form in [
            "shipping",
            "cbv:BizStep-shipping",
            "https://ref.gs1.org/cbv/BizStep-shipping",
            "urn:epcglobal:cbv:bizstep:shipping",
        ] {
            assert_eq!(Vocabulary::BizStep.read(form), Term::Standard("shipping"), "{form}");
            let canonical = Vocabulary::BizStep.canonical(form, &Context::default());
            assert_eq!(canonical, "https://ref.gs1.org/cbv/BizStep-shipping");
        }
        assert_eq!(Vocabulary::MeasurementType.read("gs1:Angle"), Term::Standard("Angle"));
        assert_eq!(
            Vocabulary::MeasurementType.canonical("Temperature", &Context::default()),
            "https://gs1.org/voc/Temperature"
        );
    }

    #[test]
    fn words_of_another_vocabulary_and_own_uris_are_told_apart() {
        assert_eq!(Vocabulary::BizStep.read("in_transit"), Term::Other);
        assert_eq!(Vocabulary::BizStep.read("https://ref.gs1.org/cbv/Disp-in_transit"), Term::UnknownStandard);
        assert_eq!(Vocabulary::BizStep.read("https://ref.gs1.org/cbv/BizStep-teleporting"), Term::UnknownStandard);
        assert_eq!(Vocabulary::BizStep.read("https://example.com/step/1"), Term::Other);
        assert_eq!(Vocabulary::BizStep.read(""), Term::Other);
    }
}
