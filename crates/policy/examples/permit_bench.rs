//! What a permit costs to check among 10, 1,000 and 100,000 grants, and what asking Cedar and CEL costs.
//!
//! `cargo run --release -p tradelane-policy --example permit_bench`

#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a benchmark prints, and measures durations")]

use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use serde_json::json;
use tradelane_model::grant::{Conditions, GrantState};
use tradelane_model::{Grant, Organization, Principal, Product, Role, Timestamp};
use tradelane_policy::{Action, Authorizer, Epochs, Permit, Reader, Request, Resource, RowFilter};
use tradelane_tape::{Limits, Tape};

const NOW: Timestamp = Timestamp(1_790_000_000_000_000);
const CHECKS: u32 = 5_000_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for grants in [10usize, 1_000, 100_000] {
        let authorizer = Authorizer::new(Arc::new(Epochs::new()));
        let started = Instant::now();
        let permits: Result<Vec<Permit>, _> = (0..grants).map(|n| permit(&authorizer, n)).collect();
        let permits = permits?;
        let asked = started.elapsed() / grants as u32;
        // A walk that visits grants out of order, as readers do.
        let started = Instant::now();
        let mut at = 0;
        for _ in 0..CHECKS {
            at = (at + 7_919) % grants;
            black_box(permits[at].check(black_box(NOW)))?;
        }
        let each = started.elapsed().as_nanos() as f64 / f64::from(CHECKS);
        println!("{grants:>7} grants: check {each:>6.1} ns, authorize {asked:?}");
    }
    filters()
}

fn permit(authorizer: &Authorizer, n: usize) -> Result<Permit, Box<dyn std::error::Error>> {
    let org = |id: &str| -> Result<Organization, serde_json::Error> { serde_json::from_value(json!({"id": id})) };
    let (owner, reader) = (org("maker")?, org("carrier")?);
    let product: Product = serde_json::from_value(json!({"id": "maker.stock", "owner": "maker", "contract": "stock"}))?;
    let principal = Principal {
        id: format!("p-{}", n % 100).parse()?,
        organization: reader.id.clone(),
        kind: Default::default(),
        roles: BTreeSet::from([Role::Consumer]),
        attributes: BTreeMap::new(),
        suspended: false,
    };
    let grant = Grant {
        id: format!("g-{n}").parse()?,
        product: product.id.clone(),
        consumer: reader.id.clone(),
        purpose: "delivery".into(),
        conditions: Conditions::default(),
        status: GrantState::Active { by: "owner".parse()?, at: NOW },
        pseudonym_epoch: 0,
        pin: None,
    };
    let snapshot = authorizer.snapshot(&principal.id, &reader.id, Some(&owner.id), Some(&product.id), Some(&grant.id));
    Ok(authorizer.authorize(Request {
        principal: &principal,
        org: &reader,
        action: Action::Read,
        resource: Resource::Product { product: &product, owner: &owner, region: None, classes: &[] },
        grant: Some(&grant),
        reveals: &[],
        purpose: None,
        region: None,
        ip: None,
        now: NOW,
        until: Timestamp::MAX,
        snapshot,
    })?)
}

fn filters() -> Result<(), Box<dyn std::error::Error>> {
    let skus: Vec<String> = (0..10_000).map(|n| format!("SKU-{n}")).collect();
    let reader = Reader::new(&BTreeMap::from([("skus".to_owned(), json!(skus))]));
    let event = json!({"sku": "SKU-9999", "site": "a", "items": (0..20).map(|n| json!({"sku": format!("SKU-{}", n * 1_000)})).collect::<Vec<_>>()}).to_string();
    let mut tape = Tape::new();
    let event = tape.parse(event.as_bytes(), &Limits::default())?.root();
    for source in ["event.site == 'a'", "event.sku in reader.skus", "event.items.exists(i, i.sku in reader.skus)"] {
        let filter = RowFilter::compile(source)?;
        let time = |rounds: u32, run: &dyn Fn()| {
            let started = Instant::now();
            (0..rounds).for_each(|_| run());
            started.elapsed() / rounds
        };
        let fast = time(100_000, &|| _ = black_box(filter.evaluate(event, &reader, NOW)));
        let slow = time(1_000, &|| _ = black_box(filter.interpret(event, &reader, NOW)));
        println!("{source}: {fast:?}, interpreted {slow:?}");
    }
    Ok(())
}
