//! The four organizations: from the YAML in `examples/`, applied as its owners would.

use serde_json::{Value, json};

use super::stage::{OPERATOR, Stage};
use crate::commands::{apply, keys, rows};
use crate::failure::Result;
use crate::manifests;
use crate::out::Tone;
use crate::profile::Key;

macro_rules! example {
    ($path:literal) => {
        ($path, include_str!(concat!("../../../../examples/", $path)))
    };
}

/// What the operator applies.
const OF_THE_OPERATOR: [(&str, &str); 1] = [example!("network/organizations.yaml")];
/// What each organization applies for itself: who does it, and the files.
const OF_ACME: [(&str, &str); 6] = [
    example!("network/acme/shipments.odcs.yaml"),
    example!("network/acme/shipments.yaml"),
    example!("network/acme/stock.odcs.yaml"),
    example!("network/acme/stock.yaml"),
    example!("network/acme/epcis.odcs.yaml"),
    example!("network/acme/epcis.yaml"),
];
const OF_NORTHLINE: [(&str, &str); 4] = [
    example!("network/northline/cold-chain.odcs.yaml"),
    example!("network/northline/cold-chain.yaml"),
    example!("network/northline/tracking.odcs.yaml"),
    example!("network/northline/tracking.yaml"),
];

/// Real EPCIS 2.0 documents, and plain JSON.
pub(super) const PRODUCTION: (&str, &str) = example!("epcis/acme-production.json");
pub(super) const SHIPMENTS: (&str, &str) = example!("epcis/acme-shipments.json");
pub(super) const COLD_CHAIN: (&str, &str) = example!("epcis/northline-cold-chain.json");
pub(super) const INVALID: (&str, &str) = example!("epcis/invalid-shipment.json");
pub(super) const STOCK: (&str, &str) = example!("json/acme-stock.ndjson");
pub(super) const TRACKING: (&str, &str) = example!("json/northline-tracking.ndjson");

/// Everyone who acts in the demo.
pub(super) const PRINCIPALS: [&str; 6] =
    ["acme-desk", "acme-erp", "northline-desk", "northline-tms", "medidis-desk", "corner-desk"];

/// An organization, what it is, and who reads for it.
pub(super) struct Partner {
    pub(super) name: &'static str,
    pub(super) role: &'static str,
    pub(super) reader: &'static str,
}

/// The partners in the order of the columns.
pub(super) const PARTNERS: [Partner; 4] = [
    Partner { name: "acme", role: "manufacturer", reader: "acme-desk" },
    Partner { name: "northline", role: "carrier", reader: "northline-desk" },
    Partner { name: "medidis", role: "distributor", reader: "medidis-desk" },
    Partner { name: "corner", role: "retailer", reader: "corner-desk" },
];

/// Applies all files, issues keys, and applies again to show that nothing changes twice.
pub(super) fn organizations(stage: &mut Stage) -> Result<()> {
    stage.heading("Four organizations, from the YAML in examples/");
    let mut steps = Vec::new();
    steps.extend(apply_as(stage, OPERATOR, &OF_THE_OPERATOR)?);
    for principal in PRINCIPALS {
        let issued = keys::issue(&stage.of(OPERATOR), principal, keys::Kind::ApiKey, 1, None)?;
        stage.hand_key(principal, Key::new(&keys::secret_of(&issued)));
    }
    steps.extend(apply_as(stage, "acme-desk", &OF_ACME)?);
    steps.extend(apply_as(stage, "northline-desk", &OF_NORTHLINE)?);
    tell(stage, &steps);
    let again = apply_as(stage, "acme-desk", &OF_ACME)?;
    let changes = apply::changes(&json!({ "steps": again }));
    stage.must(changes == 0, "applying the same files again changes nothing")?;
    stage.holds("Applied a second time: nothing to do");
    stage.fact("applied", json!(steps.len()));
    Ok(())
}

fn apply_as(stage: &Stage, who: &str, files: &[(&str, &str)]) -> Result<Vec<Value>> {
    let files: Vec<(String, String)> = files.iter().map(|(name, text)| ((*name).into(), (*text).into())).collect();
    let answer = stage.of(who).post("/v1/apply?dry-run=false&prune=false", &manifests::body(&files))?;
    Ok(rows(&answer, "steps").to_vec())
}

fn tell(stage: &Stage, steps: &[Value]) {
    let out = stage.out;
    let of = |kind: &str, prefix: &str| -> String {
        let mine = steps.iter().filter(|step| step["kind"] == kind);
        let ids = mine.filter_map(|step| step["id"].as_str()).filter(|id| id.starts_with(prefix));
        ids.collect::<Vec<_>>().join("\n")
    };
    let grants = |name: &str| -> usize {
        let mine = steps.iter().filter(|step| step["kind"] == "grant");
        mine.filter(|step| step["id"].as_str().is_some_and(|id| id.ends_with(&format!("-{name}")))).count()
    };
    let mut table = out.table(&["organization", "is the", "offers", "may read"]);
    for partner in PARTNERS {
        table.add_row([
            out.cell(Tone::Accent, partner.name),
            out.cell(Tone::Plain, partner.role),
            out.cell(Tone::Plain, of("product", &format!("{}-", partner.name))),
            out.cell(Tone::Plain, format!("{} products of others", grants(partner.name))),
        ]);
    }
    stage.table(&table);
}
