//! The examples that users copy: they are what they say they are.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use tradelane_epcis::validate::validate;
use tradelane_model::manifest::{Manifest, parse};
use tradelane_model::plan::{Verb, plan};
use tradelane_model::{Entry, Model, Timestamp};
use tradelane_tape::{Limits, Tape};

fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn manifests() -> Vec<Manifest> {
    let read = |path: &PathBuf| parse(&path.display().to_string(), &std::fs::read_to_string(path).unwrap()).unwrap();
    files("network", ".yaml").iter().flat_map(read).collect()
}

#[test]
fn the_manifests_can_be_applied_and_applied_again() {
    let (manifests, by, at) = (manifests(), "hub.operator".parse().unwrap(), Timestamp(1));
    let mut model = Model::default();
    let first = plan(&model, &manifests, false, &by, at).unwrap();
    assert!(first.steps.iter().all(|step| step.verb == Verb::Create));
    for change in first.changes() {
        model.apply(&Entry { at, by: by.clone(), change: change.clone() }).unwrap();
    }
    let second = plan(&model, &manifests, true, &by, at).unwrap();
    assert!(second.steps.iter().all(|step| step.verb == Verb::NoOp), "{second:?}");
    assert_eq!((model.organizations.len(), model.products.len()), (4, 5));
}

#[test]
fn every_action_of_a_view_is_shown_by_some_grant() {
    let mut used = BTreeSet::new();
    for manifest in manifests() {
        let Manifest::Grant(grant) = manifest else { continue };
        let view = serde_json::to_value(&grant.conditions.view).unwrap();
        for part in ["classes", "fields"] {
            for action in view[part].as_object().into_iter().flat_map(|actions| actions.values()) {
                used.insert(
                    action
                        .as_str()
                        .map_or_else(|| action.as_object().unwrap().keys().next().unwrap().clone(), str::to_owned),
                );
            }
        }
    }
    let all = ["drop", "generalize", "partial", "pseudonym", "redact", "reveal", "token"];
    assert_eq!(used.iter().map(String::as_str).collect::<Vec<_>>(), all);
}

#[test]
fn a_view_names_only_fields_that_its_contract_names() {
    let manifests = manifests();
    for manifest in &manifests {
        let Manifest::Grant(grant) = manifest else { continue };
        let product = manifests.iter().find_map(|m| match m {
            Manifest::Product(product) if product.id == grant.product => Some(product),
            _ => None,
        });
        let wanted = &product.unwrap().contract;
        let contract = manifests.iter().find_map(|m| match m {
            Manifest::Contract { contract, .. } if contract.id == *wanted => Some(contract),
            _ => None,
        });
        let shape = &contract.unwrap().shape;
        for field in grant.conditions.view.fields.keys() {
            assert!(shape.place(field).is_some(), "{}: {field}", grant.id);
        }
    }
}

#[test]
fn the_documents_are_valid_epcis_but_for_the_one_that_says_so() {
    let mut tape = Tape::new();
    for path in files("epcis", ".json") {
        let bytes = std::fs::read(&path).unwrap();
        let report = validate(tape.parse(&bytes, &Limits::DOCUMENT).unwrap());
        let broken = path.ends_with("invalid-shipment.json");
        assert_eq!(report.is_valid(), !broken, "{}: {:?}", path.display(), report.violations);
    }
}
