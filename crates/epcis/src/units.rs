//! Units of measure: the UN/CEFACT Recommendation 20 codes that sensors use, by what they measure, and conversion between
//! codes of one dimension. Knows nothing of events.
//!
//! A unit is `base = (value + shift) * numerator / denominator`, with the defining ratios of the units and not rounded
//! decimals wherever a definition exists (an inch is 0.0254 m, a degree Fahrenheit 5/9 K), so that a conversion costs
//! three roundings of an `f64` at most. Compare converted values with [`compare`], which forgives that much.

use std::cmp::Ordering;

use Dimension::*;

/// What a unit measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dimension {
    /// Base unit KEL.
    Temperature,
    /// Base unit KGM.
    Mass,
    /// Base unit MTR.
    Length,
    /// Base unit MTK.
    Area,
    /// Base unit MTQ.
    Volume,
    /// Base unit PAL.
    Pressure,
    /// Base unit MTS.
    Speed,
    /// Base unit MSK.
    Acceleration,
    /// Base unit NEW.
    Force,
    /// Base unit JOU.
    Energy,
    /// Base unit WTT.
    Power,
    /// Base unit NU.
    Torque,
    /// Base unit VLT.
    Voltage,
    /// Base unit AMP.
    ElectricCurrent,
    /// Base unit COU.
    ElectricCharge,
    /// Base unit OHM.
    Resistance,
    /// Base unit C61.
    Resistivity,
    /// Base unit SIE.
    Conductance,
    /// Base unit D10.
    Conductivity,
    /// Base unit FAR.
    Capacitance,
    /// Base unit 81.
    Inductance,
    /// Base unit WEB.
    MagneticFlux,
    /// Base unit D33.
    MagneticFluxDensity,
    /// Base unit D59.
    MagneticVectorPotential,
    /// Base unit D50.
    ElectricFieldStrength,
    /// Base unit A41.
    ElectricCurrentDensity,
    /// Base unit HTZ.
    Frequency,
    /// Base unit SEC.
    Time,
    /// Base unit C81.
    Angle,
    /// Base unit D27.
    SolidAngle,
    /// Base unit 2A.
    AngularVelocity,
    /// Base unit 2B.
    AngularAcceleration,
    /// Base unit LUX.
    Illuminance,
    /// Base unit A24.
    Luminance,
    /// Base unit LUM.
    LuminousFlux,
    /// Base unit CDL.
    LuminousIntensity,
    /// Base unit D54.
    Irradiance,
    /// Base unit D57.
    RadiantIntensity,
    /// Base unit C34.
    AmountOfSubstance,
    /// Base unit C36.
    AmountOfSubstancePerUnitVolume,
    /// Base unit D74.
    MolarMass,
    /// Base unit A40.
    MolarVolume,
    /// Base unit B15.
    MolarEnergy,
    /// Base unit C19.
    MolalityOfSolute,
    /// Base unit KMQ.
    Density,
    /// Base unit A39.
    SpecificVolume,
    /// Base unit 28.
    SurfaceDensity,
    /// Base unit KGS.
    MassFlowRate,
    /// Base unit MQS.
    VolumeFlowRate,
    /// Base unit S4.
    KinematicViscosity,
    /// Base unit C65.
    DynamicViscosity,
    /// Base unit 4P.
    SurfaceTension,
    /// Base unit BQL.
    Radioactivity,
    /// Base unit A95.
    AbsorbedDose,
    /// Base unit A96.
    AbsorbedDoseRate,
    /// Base unit D13.
    DoseEquivalent,
    /// Base unit P65.
    DoseEquivalentRate,
    /// Base unit CKG.
    Exposure,
    /// Base unit B31.
    LinearMomentum,
    /// Base unit B33.
    AngularMomentum,
    /// Base unit C62.
    Ratio,
    /// Base unit C92.
    Wavenumber,
    /// Base unit AD.
    MemoryCapacity,
}

/// One unit of measure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Unit {
    /// The Recommendation 20 code.
    pub code: &'static str,
    /// What it measures.
    pub dimension: Dimension,
    numerator: f64,
    denominator: f64,
    shift: f64,
}

const fn unit(code: &'static str, dimension: Dimension, numerator: f64, denominator: f64, shift: f64) -> Unit {
    Unit { code, dimension, numerator, denominator, shift }
}

/// Every unit that is known here, by code.
#[rustfmt::skip]
#[allow(clippy::approx_constant, clippy::excessive_precision)] // Definitions are written out as their sources give them.
pub const UNITS: &[Unit] = &[
    unit("22", SpecificVolume, 1.0, 10.0, 0.0),
    unit("23", Density, 1000.0, 1.0, 0.0),
    unit("28", SurfaceDensity, 1.0, 1.0, 0.0),
    unit("2A", AngularVelocity, 1.0, 1.0, 0.0),
    unit("2B", AngularAcceleration, 1.0, 1.0, 0.0),
    unit("2C", Exposure, 0.000258, 1.0, 0.0),
    unit("2M", Speed, 1.0, 100.0, 0.0),
    unit("2P", MemoryCapacity, 1000.0, 1.0, 0.0),
    unit("2Q", Radioactivity, 1000.0, 1.0, 0.0),
    unit("2R", Radioactivity, 3.7e13, 1.0, 0.0),
    unit("2U", Mass, 1e3, 1.0, 0.0),
    unit("2X", Speed, 1.0, 60.0, 0.0),
    unit("2Y", Exposure, 0.000000258, 1.0, 0.0),
    unit("2Z", Voltage, 1.0, 1000.0, 0.0),
    unit("3B", Energy, 1e6, 1.0, 0.0),
    unit("41", VolumeFlowRate, 1.0, 6e7, 0.0),
    unit("4C", KinematicViscosity, 1.0, 1e6, 0.0),
    unit("4G", Volume, 1.0, 1e9, 0.0),
    unit("4H", Length, 1.0, 1e6, 0.0),
    unit("4K", ElectricCurrent, 1.0, 1000.0, 0.0),
    unit("4L", MemoryCapacity, 1e6, 1.0, 0.0),
    unit("4M", MassFlowRate, 1.0, 3.6e9, 0.0),
    unit("4N", Radioactivity, 1e6, 1.0, 0.0),
    unit("4O", Capacitance, 1.0, 1e6, 0.0),
    unit("4P", SurfaceTension, 1.0, 1.0, 0.0),
    unit("4T", Capacitance, 1.0, 1e12, 0.0),
    unit("59", Ratio, 1.0, 1e6, 0.0),
    unit("61", Ratio, 1.0, 1e9, 0.0),
    unit("74", Pressure, 1.0, 1000.0, 0.0),
    unit("77", Length, 0.0000254, 1.0, 0.0),
    unit("81", Inductance, 1.0, 1.0, 0.0),
    unit("85", Energy, 1.3558179483314004, 1.0, 0.0),
    unit("87", Density, 16.018463373960142, 1.0, 0.0),
    unit("89", DynamicViscosity, 1.0, 10.0, 0.0),
    unit("91", KinematicViscosity, 1.0, 1e4, 0.0),
    unit("A11", Length, 1.0, 1e10, 0.0),
    unit("A24", Luminance, 1.0, 1.0, 0.0),
    unit("A36", MolarVolume, 1.0, 1e6, 0.0),
    unit("A39", SpecificVolume, 1.0, 1.0, 0.0),
    unit("A4", ElectricCurrentDensity, 10000.0, 1.0, 0.0),
    unit("A40", MolarVolume, 1.0, 1.0, 0.0),
    unit("A41", ElectricCurrentDensity, 1.0, 1.0, 0.0),
    unit("A45", Length, 10.0, 1.0, 0.0),
    unit("A48", Temperature, 5.0, 9.0, 0.0),
    unit("A53", Energy, 1.602176634, 1e19, 0.0),
    unit("A57", Energy, 1.0, 1e7, 0.0),
    unit("A61", AbsorbedDose, 1.0, 10000.0, 0.0),
    unit("A7", ElectricCurrentDensity, 1e6, 1.0, 0.0),
    unit("A71", Length, 1.0, 1e15, 0.0),
    unit("A73", Acceleration, 0.3048, 1.0, 0.0),
    unit("A76", Acceleration, 1.0, 100.0, 0.0),
    unit("A8", ElectricCharge, 1.0, 1.0, 0.0),
    unit("A86", Frequency, 1e9, 1.0, 0.0),
    unit("A87", Resistance, 1e9, 1.0, 0.0),
    unit("A89", Pressure, 1e9, 1.0, 0.0),
    unit("A90", Power, 1e9, 1.0, 0.0),
    unit("A91", Angle, 3.141592653589793, 200.0, 0.0),
    unit("A93", Density, 1.0, 1000.0, 0.0),
    unit("A94", MolarMass, 1.0, 1000.0, 0.0),
    unit("A95", AbsorbedDose, 1.0, 1.0, 0.0),
    unit("A96", AbsorbedDoseRate, 1.0, 1.0, 0.0),
    unit("A97", Pressure, 100.0, 1.0, 0.0),
    unit("A99", MemoryCapacity, 1.0, 8.0, 0.0),
    unit("ACR", Area, 4046.8564224, 1.0, 0.0),
    unit("AD", MemoryCapacity, 1.0, 1.0, 0.0),
    unit("AK", Length, 1.8288, 1.0, 0.0),
    unit("AMH", ElectricCharge, 3600.0, 1.0, 0.0),
    unit("AMP", ElectricCurrent, 1.0, 1.0, 0.0),
    unit("APZ", Mass, 0.0311034768, 1.0, 0.0),
    unit("ARE", Area, 100.0, 1.0, 0.0),
    unit("ATM", Pressure, 101325.0, 1.0, 0.0),
    unit("ATT", Pressure, 98066.5, 1.0, 0.0),
    unit("B15", MolarEnergy, 1.0, 1.0, 0.0),
    unit("B22", ElectricCurrent, 1000.0, 1.0, 0.0),
    unit("B23", ElectricCurrentDensity, 1000.0, 1.0, 0.0),
    unit("B26", ElectricCharge, 1000.0, 1.0, 0.0),
    unit("B31", LinearMomentum, 1.0, 1.0, 0.0),
    unit("B33", AngularMomentum, 1.0, 1.0, 0.0),
    unit("B34", Density, 1000.0, 1.0, 0.0),
    unit("B35", Density, 1000.0, 1.0, 0.0),
    unit("B37", Force, 9.80665, 1.0, 0.0),
    unit("B38", Energy, 9.80665, 1.0, 0.0),
    unit("B44", MolarEnergy, 1000.0, 1.0, 0.0),
    unit("B45", AmountOfSubstance, 1000.0, 1.0, 0.0),
    unit("B46", AmountOfSubstancePerUnitVolume, 1000.0, 1.0, 0.0),
    unit("B47", Force, 1000.0, 1.0, 0.0),
    unit("B48", Torque, 1000.0, 1.0, 0.0),
    unit("B49", Resistance, 1000.0, 1.0, 0.0),
    unit("B50", Resistivity, 1000.0, 1.0, 0.0),
    unit("B51", Force, 9.80665, 1.0, 0.0),
    unit("B52", Time, 1000.0, 1.0, 0.0),
    unit("B53", Conductance, 1000.0, 1.0, 0.0),
    unit("B54", Conductivity, 1000.0, 1.0, 0.0),
    unit("B56", MagneticVectorPotential, 1000.0, 1.0, 0.0),
    unit("B58", MolarVolume, 1.0, 1e3, 0.0),
    unit("B60", Illuminance, 1.0, 1.0, 0.0),
    unit("B66", ElectricCurrentDensity, 1e6, 1.0, 0.0),
    unit("B68", MemoryCapacity, 1.25e8, 1.0, 0.0),
    unit("B72", Density, 1000.0, 1.0, 0.0),
    unit("B73", Force, 1e6, 1.0, 0.0),
    unit("B74", Torque, 1e6, 1.0, 0.0),
    unit("B75", Resistance, 1e6, 1.0, 0.0),
    unit("B76", Resistivity, 1e6, 1.0, 0.0),
    unit("B77", Conductivity, 1e6, 1.0, 0.0),
    unit("B78", Voltage, 1e6, 1.0, 0.0),
    unit("B79", ElectricFieldStrength, 1e6, 1.0, 0.0),
    unit("B84", ElectricCurrent, 1.0, 1e6, 0.0),
    unit("B86", ElectricCharge, 1.0, 1e6, 0.0),
    unit("B90", Inductance, 1.0, 1e6, 0.0),
    unit("B92", Force, 1.0, 1e6, 0.0),
    unit("B93", Torque, 1.0, 1e6, 0.0),
    unit("B94", Resistance, 1.0, 1e6, 0.0),
    unit("B95", Resistivity, 1.0, 1e6, 0.0),
    unit("B96", Pressure, 1.0, 1e6, 0.0),
    unit("B97", Angle, 1.0, 1e6, 0.0),
    unit("B98", Time, 1.0, 1e6, 0.0),
    unit("B99", Conductance, 1.0, 1e6, 0.0),
    unit("BAR", Pressure, 1e5, 1.0, 0.0),
    unit("BHP", Power, 745.6998715822702, 1.0, 0.0),
    unit("BLL", Volume, 0.158987294928, 1.0, 0.0),
    unit("BQL", Radioactivity, 1.0, 1.0, 0.0),
    unit("BTU", Energy, 1055.05585262, 1.0, 0.0),
    unit("C10", Capacitance, 1.0, 1000.0, 0.0),
    unit("C11", Acceleration, 1.0, 1e5, 0.0),
    unit("C13", AbsorbedDose, 1.0, 1000.0, 0.0),
    unit("C14", Inductance, 1.0, 1000.0, 0.0),
    unit("C15", Energy, 1.0, 1000.0, 0.0),
    unit("C16", Speed, 1.0, 1000.0, 0.0),
    unit("C17", KinematicViscosity, 1.0, 1e6, 0.0),
    unit("C18", AmountOfSubstance, 1.0, 1000.0, 0.0),
    unit("C19", MolalityOfSolute, 1.0, 1.0, 0.0),
    unit("C20", Force, 1.0, 1000.0, 0.0),
    unit("C22", SurfaceTension, 1.0, 1000.0, 0.0),
    unit("C24", DynamicViscosity, 1.0, 1000.0, 0.0),
    unit("C25", Angle, 1.0, 1000.0, 0.0),
    unit("C26", Time, 1.0, 1000.0, 0.0),
    unit("C27", Conductance, 1.0, 1000.0, 0.0),
    unit("C28", DoseEquivalent, 1.0, 1000.0, 0.0),
    unit("C29", MagneticFluxDensity, 1.0, 1000.0, 0.0),
    unit("C3", ElectricFieldStrength, 1.0, 1e6, 0.0),
    unit("C30", ElectricFieldStrength, 1.0, 1000.0, 0.0),
    unit("C31", Power, 1.0, 1000.0, 0.0),
    unit("C32", Irradiance, 1.0, 1000.0, 0.0),
    unit("C33", MagneticFlux, 1.0, 1000.0, 0.0),
    unit("C34", AmountOfSubstance, 1.0, 1.0, 0.0),
    unit("C35", AmountOfSubstancePerUnitVolume, 1000.0, 1.0, 0.0),
    unit("C36", AmountOfSubstancePerUnitVolume, 1.0, 1.0, 0.0),
    unit("C37", MemoryCapacity, 125.0, 1.0, 0.0),
    unit("C38", AmountOfSubstancePerUnitVolume, 1000.0, 1.0, 0.0),
    unit("C39", ElectricCurrent, 1.0, 1e9, 0.0),
    unit("C40", ElectricCharge, 1.0, 1e9, 0.0),
    unit("C41", Capacitance, 1.0, 1e9, 0.0),
    unit("C43", Inductance, 1.0, 1e9, 0.0),
    unit("C45", Length, 1.0, 1e9, 0.0),
    unit("C46", Resistivity, 1.0, 1e9, 0.0),
    unit("C47", Time, 1.0, 1e9, 0.0),
    unit("C48", MagneticFluxDensity, 1.0, 1e9, 0.0),
    unit("C52", Length, 1.0, 1e12, 0.0),
    unit("C55", Pressure, 1.0, 1.0, 0.0),
    unit("C56", Pressure, 1e6, 1.0, 0.0),
    unit("C60", Resistivity, 1.0, 100.0, 0.0),
    unit("C61", Resistivity, 1.0, 1.0, 0.0),
    unit("C62", Ratio, 1.0, 1.0, 0.0),
    unit("C65", DynamicViscosity, 1.0, 1.0, 0.0),
    unit("C68", Energy, 1e15, 1.0, 0.0),
    unit("C7", DynamicViscosity, 1.0, 1000.0, 0.0),
    unit("C70", ElectricCurrent, 1.0, 1e12, 0.0),
    unit("C71", ElectricCharge, 1.0, 1e12, 0.0),
    unit("C73", Inductance, 1.0, 1e12, 0.0),
    unit("C78", Force, 4.4482216152605, 1.0, 0.0),
    unit("C8", Exposure, 1.0, 1000.0, 0.0),
    unit("C80", AbsorbedDose, 1.0, 100.0, 0.0),
    unit("C81", Angle, 1.0, 1.0, 0.0),
    unit("C92", Wavenumber, 1.0, 1.0, 0.0),
    unit("C97", Frequency, 1.0, 1.0, 0.0),
    unit("CDL", LuminousIntensity, 1.0, 1.0, 0.0),
    unit("CEL", Temperature, 1.0, 1.0, 273.15),
    unit("CKG", Exposure, 1.0, 1.0, 0.0),
    unit("CLT", Volume, 1.0, 1e5, 0.0),
    unit("CMK", Area, 1.0, 10000.0, 0.0),
    unit("CMQ", Volume, 1.0, 1e6, 0.0),
    unit("CMT", Length, 1.0, 100.0, 0.0),
    unit("COU", ElectricCharge, 1.0, 1.0, 0.0),
    unit("CTM", Mass, 1.0, 5000.0, 0.0),
    unit("CUR", Radioactivity, 3.7e10, 1.0, 0.0),
    unit("CWA", Mass, 45.359237, 1.0, 0.0),
    unit("CWI", Mass, 50.80234544, 1.0, 0.0),
    unit("D10", Conductivity, 1.0, 1.0, 0.0),
    unit("D13", DoseEquivalent, 1.0, 1.0, 0.0),
    unit("D27", SolidAngle, 1.0, 1.0, 0.0),
    unit("D29", Frequency, 1e12, 1.0, 0.0),
    unit("D30", Energy, 1e12, 1.0, 0.0),
    unit("D31", Power, 1e12, 1.0, 0.0),
    unit("D33", MagneticFluxDensity, 1.0, 1.0, 0.0),
    unit("D36", MemoryCapacity, 125000.0, 1.0, 0.0),
    unit("D41", Density, 1000.0, 1.0, 0.0),
    unit("D47", ElectricFieldStrength, 100.0, 1.0, 0.0),
    unit("D50", ElectricFieldStrength, 1.0, 1.0, 0.0),
    unit("D51", ElectricFieldStrength, 1000.0, 1.0, 0.0),
    unit("D54", Irradiance, 1.0, 1.0, 0.0),
    unit("D57", RadiantIntensity, 1.0, 1.0, 0.0),
    unit("D59", MagneticVectorPotential, 1.0, 1.0, 0.0),
    unit("D60", MagneticVectorPotential, 1000.0, 1.0, 0.0),
    unit("D61", Angle, 3.141592653589793, 10800.0, 0.0),
    unit("D62", Angle, 3.141592653589793, 648000.0, 0.0),
    unit("D70", Energy, 4.1868, 1.0, 0.0),
    unit("D74", MolarMass, 1.0, 1.0, 0.0),
    unit("D77", ElectricCharge, 1e6, 1.0, 0.0),
    unit("D80", Power, 1.0, 1e6, 0.0),
    unit("D81", MagneticFluxDensity, 1.0, 1e6, 0.0),
    unit("D82", Voltage, 1.0, 1e6, 0.0),
    unit("D83", Torque, 1.0, 1000.0, 0.0),
    unit("D85", Irradiance, 1.0, 1e6, 0.0),
    unit("D86", ElectricCharge, 1.0, 1000.0, 0.0),
    unit("D91", DoseEquivalent, 1.0, 100.0, 0.0),
    unit("DAY", Time, 86400.0, 1.0, 0.0),
    unit("DD", Angle, 3.141592653589793, 180.0, 0.0),
    unit("DLT", Volume, 1.0, 1e4, 0.0),
    unit("DMK", Area, 1.0, 100.0, 0.0),
    unit("DMQ", Volume, 1.0, 1000.0, 0.0),
    unit("DMT", Length, 1.0, 10.0, 0.0),
    unit("DN", Torque, 1.0, 10.0, 0.0),
    unit("DTN", Mass, 100.0, 1.0, 0.0),
    unit("DU", Force, 1.0, 1e5, 0.0),
    unit("DX", SurfaceTension, 1.0, 1000.0, 0.0),
    unit("E09", ElectricCharge, 3.6, 1.0, 0.0),
    unit("E14", Energy, 4186800.0, 1.0, 0.0),
    unit("E32", VolumeFlowRate, 1.0, 3.6e6, 0.0),
    unit("E34", MemoryCapacity, 1e9, 1.0, 0.0),
    unit("E35", MemoryCapacity, 1e12, 1.0, 0.0),
    unit("E36", MemoryCapacity, 1e15, 1.0, 0.0),
    unit("E40", Ratio, 1.0, 1e5, 0.0),
    unit("E45", Resistance, 1.0, 1000.0, 0.0),
    unit("E64", MemoryCapacity, 1024.0, 1.0, 0.0),
    unit("E90", Wavenumber, 100.0, 1.0, 0.0),
    unit("E93", MassFlowRate, 1.0, 3600.0, 0.0),
    unit("E96", AngularVelocity, 3.141592653589793, 180.0, 0.0),
    unit("F13", Mass, 14.5939029372, 1.0, 0.0),
    unit("F21", Torque, 0.1129848290276167, 1.0, 0.0),
    unit("F26", MassFlowRate, 1.0, 8.64e7, 0.0),
    unit("F27", MassFlowRate, 1.0, 3.6e6, 0.0),
    unit("F28", MassFlowRate, 1.0, 6e4, 0.0),
    unit("F29", MassFlowRate, 1.0, 1000.0, 0.0),
    unit("F30", MassFlowRate, 1.0, 86400.0, 0.0),
    unit("F31", MassFlowRate, 1.0, 60.0, 0.0),
    unit("F80", Power, 746.043, 1.0, 0.0),
    unit("F88", Torque, 1.0, 100.0, 0.0),
    unit("FAH", Temperature, 5.0, 9.0, 459.67),
    unit("FAR", Capacitance, 1.0, 1.0, 0.0),
    unit("FH", AmountOfSubstance, 1.0, 1e6, 0.0),
    unit("FOT", Length, 0.3048, 1.0, 0.0),
    unit("FR", Speed, 0.00508, 1.0, 0.0),
    unit("FS", Speed, 0.3048, 1.0, 0.0),
    unit("FTK", Area, 0.09290304, 1.0, 0.0),
    unit("FTQ", Volume, 0.028316846592, 1.0, 0.0),
    unit("G42", Conductivity, 1.0, 1e4, 0.0),
    unit("G43", Conductivity, 1.0, 1e6, 0.0),
    unit("G44", Conductivity, 1.0, 1e7, 0.0),
    unit("G45", Conductivity, 1.0, 1e9, 0.0),
    unit("G51", VolumeFlowRate, 1.0, 1000.0, 0.0),
    unit("G52", VolumeFlowRate, 1.0, 86400.0, 0.0),
    unit("G53", VolumeFlowRate, 1.0, 60.0, 0.0),
    unit("G54", VolumeFlowRate, 1.0, 8.64e10, 0.0),
    unit("GBQ", Radioactivity, 1e9, 1.0, 0.0),
    unit("GE", Density, 119.82642731689663, 1.0, 0.0),
    unit("GJ", Density, 1000.0, 1.0, 0.0),
    unit("GL", Density, 1.0, 1.0, 0.0),
    unit("GLI", Volume, 0.00454609, 1.0, 0.0),
    unit("GLL", Volume, 0.003785411784, 1.0, 0.0),
    unit("GM", SurfaceDensity, 1.0, 1000.0, 0.0),
    unit("GO", SurfaceDensity, 1.0, 1e6, 0.0),
    unit("GP", Density, 1.0, 1e6, 0.0),
    unit("GQ", Density, 1.0, 1e9, 0.0),
    unit("GRM", Mass, 1.0, 1000.0, 0.0),
    unit("GRN", Mass, 0.00006479891, 1.0, 0.0),
    unit("GV", Energy, 1e9, 1.0, 0.0),
    unit("GWH", Energy, 3.6e12, 1.0, 0.0),
    unit("H08", Radioactivity, 1.0, 1e6, 0.0),
    unit("H19", Volume, 1e6, 1.0, 0.0),
    unit("H20", Volume, 1e9, 1.0, 0.0),
    unit("H38", ElectricCurrent, 1e6, 1.0, 0.0),
    unit("H43", Conductivity, 100.0, 1.0, 0.0),
    unit("H44", Resistance, 1e12, 1.0, 0.0),
    unit("H49", Speed, 1.0, 360000.0, 0.0),
    unit("H61", Conductivity, 1.0, 10.0, 0.0),
    unit("H70", Time, 1.0, 1e12, 0.0),
    unit("H75", Pressure, 10.0, 1.0, 0.0),
    unit("H78", Pressure, 98.0665, 1.0, 0.0),
    unit("H83", SpecificVolume, 1.0, 1000.0, 0.0),
    unit("HAR", Area, 10000.0, 1.0, 0.0),
    unit("HGM", Mass, 1.0, 10.0, 0.0),
    unit("HJ", Power, 735.49875, 1.0, 0.0),
    unit("HLT", Volume, 1.0, 10.0, 0.0),
    unit("HM", Speed, 0.44704, 1.0, 0.0),
    unit("HMT", Length, 100.0, 1.0, 0.0),
    unit("HN", Pressure, 133.322387415, 1.0, 0.0),
    unit("HP", Pressure, 9.80665, 1.0, 0.0),
    unit("HTZ", Frequency, 1.0, 1.0, 0.0),
    unit("HUR", Time, 3600.0, 1.0, 0.0),
    unit("INH", Length, 0.0254, 1.0, 0.0),
    unit("INK", Area, 0.00064516, 1.0, 0.0),
    unit("INQ", Volume, 0.000016387064, 1.0, 0.0),
    unit("IU", Speed, 0.0254, 1.0, 0.0),
    unit("IV", Acceleration, 0.0254, 1.0, 0.0),
    unit("J75", Energy, 4.19002, 1.0, 0.0),
    unit("JOU", Energy, 1.0, 1.0, 0.0),
    unit("K14", Speed, 0.3048, 3600.0, 0.0),
    unit("K40", Acceleration, 9.80665, 1.0, 0.0),
    unit("K6", Volume, 1.0, 1.0, 0.0),
    unit("KEL", Temperature, 1.0, 1.0, 0.0),
    unit("KGM", Mass, 1.0, 1.0, 0.0),
    unit("KGS", MassFlowRate, 1.0, 1.0, 0.0),
    unit("KHZ", Frequency, 1000.0, 1.0, 0.0),
    unit("KJO", Energy, 1000.0, 1.0, 0.0),
    unit("KLX", Illuminance, 1000.0, 1.0, 0.0),
    unit("KMH", Speed, 1.0, 3.6, 0.0),
    unit("KMK", Area, 1e6, 1.0, 0.0),
    unit("KMQ", Density, 1.0, 1.0, 0.0),
    unit("KMT", Length, 1000.0, 1.0, 0.0),
    unit("KNT", Speed, 1852.0, 3600.0, 0.0),
    unit("KPA", Pressure, 1000.0, 1.0, 0.0),
    unit("KVT", Voltage, 1000.0, 1.0, 0.0),
    unit("KWH", Energy, 3.6e6, 1.0, 0.0),
    unit("KWT", Power, 1000.0, 1.0, 0.0),
    unit("KX", SpecificVolume, 1.0, 1e6, 0.0),
    unit("L2", VolumeFlowRate, 1.0, 6e4, 0.0),
    unit("L31", DoseEquivalent, 1.0, 1e5, 0.0),
    unit("LBR", Mass, 0.45359237, 1.0, 0.0),
    unit("LTN", Mass, 1016.0469088, 1.0, 0.0),
    unit("LTR", Volume, 1.0, 1000.0, 0.0),
    unit("LUM", LuminousFlux, 1.0, 1.0, 0.0),
    unit("LUX", Illuminance, 1.0, 1.0, 0.0),
    unit("M1", Density, 1.0, 1000.0, 0.0),
    unit("M33", AmountOfSubstancePerUnitVolume, 1.0, 1.0, 0.0),
    unit("M38", Acceleration, 1000.0, 1.0, 0.0),
    unit("M39", Acceleration, 1.0, 100.0, 0.0),
    unit("M41", Acceleration, 1.0, 1000.0, 0.0),
    unit("M43", Angle, 6.283185307179586, 6400.0, 0.0),
    unit("M44", Angle, 6.283185307179586, 1.0, 0.0),
    unit("M45", AngularAcceleration, 3.141592653589793, 180.0, 0.0),
    unit("M46", AngularVelocity, 3.141592653589793, 30.0, 0.0),
    unit("M5", Radioactivity, 3.7e4, 1.0, 0.0),
    unit("M62", Speed, 1000.0, 1.0, 0.0),
    unit("M92", Torque, 1.3558179483314004, 1.0, 0.0),
    unit("MAL", Volume, 1000.0, 1.0, 0.0),
    unit("MAW", Power, 1e6, 1.0, 0.0),
    unit("MBR", Pressure, 100.0, 1.0, 0.0),
    unit("MC", Mass, 1.0, 1e9, 0.0),
    unit("MCU", Radioactivity, 3.7e7, 1.0, 0.0),
    unit("MGM", Mass, 1.0, 1e6, 0.0),
    unit("MHZ", Frequency, 1e6, 1.0, 0.0),
    unit("MIK", Area, 2589988.110336, 1.0, 0.0),
    unit("MIN", Time, 60.0, 1.0, 0.0),
    unit("MLT", Volume, 1.0, 1e6, 0.0),
    unit("MMK", Area, 1.0, 1e6, 0.0),
    unit("MMQ", Volume, 1.0, 1e9, 0.0),
    unit("MMT", Length, 1.0, 1000.0, 0.0),
    unit("MPA", Pressure, 1e6, 1.0, 0.0),
    unit("MQH", VolumeFlowRate, 1.0, 3600.0, 0.0),
    unit("MQS", VolumeFlowRate, 1.0, 1.0, 0.0),
    unit("MSK", Acceleration, 1.0, 1.0, 0.0),
    unit("MTK", Area, 1.0, 1.0, 0.0),
    unit("MTQ", Volume, 1.0, 1.0, 0.0),
    unit("MTR", Length, 1.0, 1.0, 0.0),
    unit("MTS", Speed, 1.0, 1.0, 0.0),
    unit("MWH", Energy, 3.6e9, 1.0, 0.0),
    unit("N48", Irradiance, 10000.0, 1.0, 0.0),
    unit("N90", Capacitance, 1000.0, 1.0, 0.0),
    unit("N92", Conductance, 1.0, 1e12, 0.0),
    unit("NEW", Force, 1.0, 1.0, 0.0),
    unit("NMI", Length, 1852.0, 1.0, 0.0),
    unit("NQ", Conductance, 1.0, 1.0, 0.0),
    unit("NU", Torque, 1.0, 1.0, 0.0),
    unit("NX", Ratio, 1.0, 1000.0, 0.0),
    unit("OHM", Resistance, 1.0, 1.0, 0.0),
    unit("ONZ", Mass, 0.028349523125, 1.0, 0.0),
    unit("OZA", Volume, 0.0000295735295625, 1.0, 0.0),
    unit("OZI", Volume, 0.0000284130625, 1.0, 0.0),
    unit("P1", Ratio, 1.0, 100.0, 0.0),
    unit("P25", Illuminance, 10.763910416709722, 1.0, 0.0),
    unit("P27", Illuminance, 10.763910416709722, 1.0, 0.0),
    unit("P28", Luminance, 1550.0031000062, 1.0, 0.0),
    unit("P29", Luminance, 3.4262590996353905, 1.0, 0.0),
    unit("P31", Luminance, 10000.0, 3.141592653589793, 0.0),
    unit("P33", LuminousIntensity, 1000.0, 1.0, 0.0),
    unit("P34", LuminousIntensity, 1.0, 1000.0, 0.0),
    unit("P47", MolalityOfSolute, 1000.0, 1.0, 0.0),
    unit("P54", AbsorbedDoseRate, 1.0, 1000.0, 0.0),
    unit("P55", AbsorbedDoseRate, 1.0, 1e6, 0.0),
    unit("P56", AbsorbedDoseRate, 1.0, 1e9, 0.0),
    unit("P57", AbsorbedDoseRate, 1.0, 60.0, 0.0),
    unit("P58", AbsorbedDoseRate, 1.0, 6e4, 0.0),
    unit("P59", AbsorbedDoseRate, 1.0, 6e7, 0.0),
    unit("P60", AbsorbedDoseRate, 1.0, 6e10, 0.0),
    unit("P61", AbsorbedDoseRate, 1.0, 3600.0, 0.0),
    unit("P62", AbsorbedDoseRate, 1.0, 3.6e6, 0.0),
    unit("P63", AbsorbedDoseRate, 1.0, 3.6e9, 0.0),
    unit("P64", AbsorbedDoseRate, 1.0, 3.6e12, 0.0),
    unit("P65", DoseEquivalentRate, 1.0, 1.0, 0.0),
    unit("P66", DoseEquivalentRate, 1.0, 1000.0, 0.0),
    unit("P67", DoseEquivalentRate, 1.0, 1e6, 0.0),
    unit("P68", DoseEquivalentRate, 1.0, 1e9, 0.0),
    unit("P69", DoseEquivalentRate, 1.0, 100.0, 0.0),
    unit("P70", DoseEquivalentRate, 1.0, 3600.0, 0.0),
    unit("P71", DoseEquivalentRate, 1.0, 3.6e6, 0.0),
    unit("P72", DoseEquivalentRate, 1.0, 3.6e9, 0.0),
    unit("P73", DoseEquivalentRate, 1.0, 3.6e12, 0.0),
    unit("P74", DoseEquivalentRate, 1.0, 60.0, 0.0),
    unit("P75", DoseEquivalentRate, 1.0, 6e4, 0.0),
    unit("P76", DoseEquivalentRate, 1.0, 6e7, 0.0),
    unit("P77", DoseEquivalentRate, 1.0, 6e10, 0.0),
    unit("PAL", Pressure, 1.0, 1.0, 0.0),
    unit("PS", Pressure, 8896443230521.0, 1290320000.0, 0.0),
    unit("PTI", Volume, 0.00056826125, 1.0, 0.0),
    unit("PTL", Volume, 0.000473176473, 1.0, 0.0),
    unit("QTI", Volume, 0.0011365225, 1.0, 0.0),
    unit("QTL", Volume, 0.000946352946, 1.0, 0.0),
    unit("RPM", AngularVelocity, 6.283185307179586, 60.0, 0.0),
    unit("RPS", AngularVelocity, 6.283185307179586, 1.0, 0.0),
    unit("S4", KinematicViscosity, 1.0, 1.0, 0.0),
    unit("SEC", Time, 1.0, 1.0, 0.0),
    unit("SIE", Conductance, 1.0, 1.0, 0.0),
    unit("SMI", Length, 1609.344, 1.0, 0.0),
    unit("STI", Mass, 6.35029318, 1.0, 0.0),
    unit("STN", Mass, 907.18474, 1.0, 0.0),
    unit("TAH", ElectricCharge, 3600000.0, 1.0, 0.0),
    unit("TNE", Mass, 1000.0, 1.0, 0.0),
    unit("UA", Pressure, 101325.0, 760.0, 0.0),
    unit("VLT", Voltage, 1.0, 1.0, 0.0),
    unit("WEB", MagneticFlux, 1.0, 1.0, 0.0),
    unit("WEE", Time, 604800.0, 1.0, 0.0),
    unit("WHR", Energy, 3600.0, 1.0, 0.0),
    unit("WTT", Power, 1.0, 1.0, 0.0),
    unit("X1", Length, 20.1168, 1.0, 0.0),
    unit("YDK", Area, 0.83612736, 1.0, 0.0),
    unit("YDQ", Volume, 0.764554857984, 1.0, 0.0),
    unit("YRD", Length, 0.9144, 1.0, 0.0),
];

/// The unit of a code.
pub fn find(code: &str) -> Option<&'static Unit> {
    UNITS.binary_search_by(|unit| unit.code.cmp(code)).ok().and_then(|at| UNITS.get(at))
}

impl Unit {
    /// A value of this unit in the base unit of its dimension.
    pub fn to_base(self, value: f64) -> f64 {
        (value + self.shift) * self.numerator / self.denominator
    }

    /// A value of the base unit in this unit.
    pub fn of_base(self, base: f64) -> f64 {
        base * self.denominator / self.numerator - self.shift
    }
}

/// Converts between two codes; `None` when one is unknown or they measure different things. A code that is not known
/// here still converts to itself.
pub fn convert(value: f64, from: &str, to: &str) -> Option<f64> {
    if from == to {
        return Some(value);
    }
    let (from, to) = (find(from)?, find(to)?);
    (from.dimension == to.dimension).then(|| to.of_base(from.to_base(value)))
}

/// Compares two numbers of which one was converted: equal when they differ by less than a billionth.
pub fn compare(one: f64, other: f64) -> Option<Ordering> {
    let scale = one.abs().max(other.abs()).max(1e-12);
    if (one - other).abs() <= scale * 1e-9 { Some(Ordering::Equal) } else { one.partial_cmp(&other) }
}

/// What a measurement type of the GS1 Web Vocabulary is measured in; `None` where any unit may do (`Dimensionless`,
/// `Count`) or none is known here.
pub fn dimension_of(measurement: &str) -> Option<Dimension> {
    Some(match measurement {
        "AbsoluteHumidity" | "Density" | "MassConcentration" => Density,
        "AbsorbedDose" => AbsorbedDose,
        "AbsorbedDoseRate" => AbsorbedDoseRate,
        "Acceleration" => Acceleration,
        "Altitude" | "Length" => Length,
        "AmountOfSubstance" => AmountOfSubstance,
        "AmountOfSubstancePerUnitVolume" => AmountOfSubstancePerUnitVolume,
        "Angle" => Angle,
        "AngularAcceleration" => AngularAcceleration,
        "AngularMomentum" => AngularMomentum,
        "AngularVelocity" => AngularVelocity,
        "Area" => Area,
        "Capacitance" => Capacitance,
        "Conductance" => Conductance,
        "Conductivity" => Conductivity,
        "DoseEquivalent" => DoseEquivalent,
        "DoseEquivalentRate" => DoseEquivalentRate,
        "DynamicViscosity" => DynamicViscosity,
        "ElectricCharge" => ElectricCharge,
        "ElectricCurrent" => ElectricCurrent,
        "ElectricCurrentDensity" => ElectricCurrentDensity,
        "ElectricFieldStrength" => ElectricFieldStrength,
        "Energy" => Energy,
        "Exposure" => Exposure,
        "Force" => Force,
        "Frequency" => Frequency,
        "Illuminance" => Illuminance,
        "Inductance" => Inductance,
        "Irradiance" => Irradiance,
        "KinematicViscosity" => KinematicViscosity,
        "LinearMomentum" => LinearMomentum,
        "Luminance" => Luminance,
        "LuminousFlux" => LuminousFlux,
        "LuminousIntensity" => LuminousIntensity,
        "MagneticFlux" => MagneticFlux,
        "MagneticFluxDensity" => MagneticFluxDensity,
        "MagneticVectorPotential" => MagneticVectorPotential,
        "Mass" => Mass,
        "MassFlowRate" => MassFlowRate,
        "MemoryCapacity" => MemoryCapacity,
        "MolalityOfSolute" => MolalityOfSolute,
        "MolarEnergy" => MolarEnergy,
        "MolarMass" => MolarMass,
        "MolarVolume" => MolarVolume,
        "Power" | "RadiantFlux" => Power,
        "Pressure" => Pressure,
        "RadiantIntensity" => RadiantIntensity,
        "Radioactivity" => Radioactivity,
        "RelativeHumidity" | "VolumeFraction" => Ratio,
        "Resistance" => Resistance,
        "Resistivity" => Resistivity,
        "SolidAngle" => SolidAngle,
        "SpecificVolume" => SpecificVolume,
        "Speed" => Speed,
        "SurfaceDensity" => SurfaceDensity,
        "SurfaceTension" => SurfaceTension,
        "Temperature" => Temperature,
        "Time" => Time,
        "Torque" => Torque,
        "Voltage" => Voltage,
        "Volume" => Volume,
        "VolumeFlowRate" => VolumeFlowRate,
        "Wavenumber" => Wavenumber,
        _ => return None,
    })
}

/// Whether a unit can measure what a measurement type names. Codes that are not known here are given the benefit of the
/// doubt.
pub fn may_measure(code: &str, measurement: &str) -> bool {
    match (find(code), dimension_of(measurement)) {
        (Some(unit), Some(dimension)) => unit.dimension == dimension,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_for_the_search() {
        assert!(UNITS.windows(2).all(|pair| pair[0].code < pair[1].code));
        assert!(UNITS.iter().all(|unit| (2..=3).contains(&unit.code.len())));
    }

    #[test]
    fn well_known_conversions_hold() {
        for (value, from, to, expected) in [
            (26.0, "CEL", "KEL", 299.15),
            (212.0, "FAH", "CEL", 100.0),
            (-40.0, "CEL", "FAH", -40.0),
            (1.0, "LBR", "GRM", 453.59237),
            (1.0, "SMI", "KMT", 1.609344),
            (1.0, "ATM", "PAL", 101_325.0),
            (1.0, "PS", "PAL", 6_894.757_293_168_361),
            (36.0, "KMH", "MTS", 10.0),
            (1.0, "KWH", "JOU", 3.6e6),
            (180.0, "DD", "C81", std::f64::consts::PI),
            (1.0, "P70", "P71", 1000.0),
            (50.0, "P1", "C62", 0.5),
            (2.0, "2Z", "VLT", 0.002),
        ] {
            let converted = convert(value, from, to).expect("one dimension");
            assert_eq!(compare(converted, expected), Some(Ordering::Equal), "{value} {from} in {to}: {converted}");
        }
    }

    #[test]
    fn units_of_different_things_do_not_convert() {
        assert_eq!(convert(1.0, "CEL", "KGM"), None);
        assert_eq!(convert(1.0, "CEL", "ZZZ"), None);
        assert_eq!(convert(1.5, "ZZZ", "ZZZ"), Some(1.5));
        assert!(!may_measure("KGM", "Temperature"));
        assert!(may_measure("CEL", "Temperature") && may_measure("C35", "Dimensionless") && may_measure("ZZZ", "Mass"));
    }

    #[test]
    fn every_unit_survives_the_way_there_and_back() {
        for unit in UNITS {
            for value in [-12.5, 0.0, 1.0, 37.7, 1e6] {
                let back = unit.of_base(unit.to_base(value));
                let near = (back - value).abs() <= 1e-9 * value.abs().max(unit.shift.abs()).max(1.0);
                assert!(near, "{}: {value} came back as {back}", unit.code);
            }
        }
    }
}
