//! Sensor elements: metadata, reports, and the rules between them that no schema catches.

use tradelane_tape::{Kind, Node};

use super::checker::Checker;
use super::lists;
use crate::cbv::Vocabulary;
use crate::rule::Rule;
use crate::units;

/// The attributes that may stand in `sensorMetadata` for all reports, or in each report, but not in both.
const SHARED: &[&str] = &["time", "deviceID", "deviceMetadata", "rawData", "dataProcessingMethod", "bizRules"];

fn shared(name: &str) -> u8 {
    SHARED.iter().position(|shared| *shared == name).map_or(0, |at| 1 << at)
}

/// One `sensorElement`.
pub(super) fn element<'a>(checker: &mut Checker<'_, 'a>, element: Node<'a>) {
    if !checker.is(element, Kind::Object) {
        return;
    }
    let (mut metadata, mut reports) = (None, None);
    for (key, value) in element.members() {
        if key.eq_str("sensorMetadata") {
            metadata = Some(value);
        } else if key.eq_str("sensorReport") {
            reports = Some(value);
        } else {
            checker.extension(key, value);
        }
    }
    let in_metadata = metadata.map_or(0, |node| self::metadata(node, checker));
    match reports {
        None => checker.fail(element, Rule::RequiredMember),
        Some(list) if list.kind() == Kind::Array && list.is_empty() => checker.fail(list, Rule::SensorReportEmpty),
        Some(list) => checker.each(list, |checker, node| report(node, in_metadata, checker)),
    }
}

/// Checks the metadata and tells which of the shared attributes they hold.
fn metadata<'a>(metadata: Node<'a>, checker: &mut Checker<'_, 'a>) -> u8 {
    if !checker.is(metadata, Kind::Object) {
        return 0;
    }
    let mut held = 0;
    let (mut start, mut end) = (None, None);
    for (key, value) in metadata.members() {
        let name = key.as_str();
        held |= shared(&name);
        match &*name {
            "time" => {
                checker.time(value, Rule::NoTime);
            }
            "startTime" => start = checker.time(value, Rule::NoTime),
            "endTime" => end = checker.time(value, Rule::NoTime),
            "deviceID" | "deviceMetadata" | "rawData" | "dataProcessingMethod" | "bizRules" => checker.uri(value),
            _ => checker.extension(key, value),
        }
    }
    if let (Some(start), Some(end)) = (start, end)
        && start > end
    {
        checker.fail(metadata, Rule::SensorPeriod);
    }
    held
}

fn report<'a>(report: Node<'a>, in_metadata: u8, checker: &mut Checker<'_, 'a>) {
    if !checker.is(report, Kind::Object) {
        return;
    }
    let (mut typed, mut kind, mut unit) = (false, None, None);
    let (mut least, mut most) = (None, None);
    for (key, value) in report.members() {
        let name = key.as_str();
        if in_metadata & shared(&name) != 0 {
            checker.fail(value, Rule::SensorTwice);
        }
        match &*name {
            "type" => {
                typed = true;
                kind = checker.term(Vocabulary::MeasurementType, value, Rule::MeasurementType);
            }
            "uom" => {
                lists::uom(value, checker);
                unit = Some(value);
            }
            "minValue" => least = checker.number(value),
            "maxValue" => most = checker.number(value),
            _ => attribute(&name, key, value, checker),
        }
    }
    if !typed {
        checker.fail(report, Rule::SensorTypeMissing);
    }
    if let (Some(least), Some(most)) = (least, most)
        && least > most
    {
        checker.fail(report, Rule::SensorRange);
    }
    if let (Some(kind), Some(unit)) = (kind, unit)
        && unit.as_str().is_some_and(|code| !units::may_measure(&code, kind))
    {
        checker.fail(unit, Rule::UomDimension);
    }
}

/// An attribute of a report that stands for itself.
fn attribute<'a>(name: &str, key: tradelane_tape::Key<'a>, value: Node<'a>, checker: &mut Checker<'_, 'a>) {
    match name {
        "exception" => {
            checker.term(Vocabulary::SensorAlert, value, Rule::SensorAlert);
        }
        "component" => {
            checker.term(Vocabulary::Component, value, Rule::Component);
        }
        "time" => {
            checker.time(value, Rule::NoTime);
        }
        "deviceID"
        | "deviceMetadata"
        | "rawData"
        | "dataProcessingMethod"
        | "bizRules"
        | "microorganism"
        | "chemicalSubstance"
        | "coordinateReferenceSystem"
        | "uriValue" => checker.uri(value),
        "value" | "meanValue" | "percValue" => {
            checker.number(value);
        }
        "sDev" => {
            if checker.number(value).is_some_and(|deviation| deviation < 0.0) {
                checker.fail(value, Rule::SensorStatistic);
            }
        }
        "percRank" => {
            if checker.number(value).is_some_and(|rank| !(0.0..=100.0).contains(&rank)) {
                checker.fail(value, Rule::SensorStatistic);
            }
        }
        "stringValue" => {
            checker.is(value, Kind::String);
        }
        "booleanValue" => {
            checker.is(value, Kind::Bool);
        }
        "hexBinaryValue" => {
            checker.text(value, |checker, text| {
                if text.is_empty() || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
                    checker.fail(value, Rule::HexBinary);
                }
            });
        }
        _ => checker.extension(key, value),
    }
}
