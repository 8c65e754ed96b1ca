//! Contracts that change while partners read: what is refused, who is told, and what each version's readers see.

mod support;

use serde_json::json;
use support::{CONTRACT, World, product};
use tradelane_hub::evolve::FieldChange;
use tradelane_hub::{Notice, SchemaSetting, SubjectQuery, WhichVersion};
use tradelane_model::codes;
use tradelane_model::registry::Compatibility;

const DAY: i64 = 86_400;
const OLD: &str = r#"{"id":"1","sku":"A","qty":1,"price":2.5,"customer":{"email":"ann@example.com","name":"Ann"}}"#;

/// The quantity gets another name and a unit: whoever reads `qty` breaks. The price is known to fewer.
fn renamed() -> String {
    CONTRACT
        .replace("version: 1.0.0", "version: 2.0.0")
        .replace(
            "- {name: qty, logicalType: integer, required: true, classification: internal}",
            "- {name: quantity, logicalType: integer, required: true, classification: internal}\n      \
             - {name: unit, logicalType: string, classification: internal}",
        )
        .replace("event.qty > 0", "event.quantity > 0")
        .replace("{purposes:", "{evolution: {notice: P30D}, purposes:")
}

/// A new version whose events an earlier reader can still be shown: more fields, another range of `qty`.
fn extended() -> String {
    CONTRACT
        .replace("version: 1.0.0", "version: 2.0.0")
        .replace(
            "- {name: qty, logicalType: integer, required: true, classification: internal}",
            "- {name: qty, logicalType: integer, required: true, classification: internal}\n      \
             - {name: unit, logicalType: string, required: true, classification: internal}",
        )
        .replace("{purposes:", "{evolution: {notice: P30D}, purposes:")
}

async fn apply(world: &World, text: &str) -> tradelane_hub::Result<()> {
    world.hub.apply(&world.owner, &[("contract.yaml".into(), text.to_owned())], false).await.map(drop)
}

async fn publish_as(world: &World, version: u32, text: &'static str) -> tradelane_hub::Result<()> {
    let body = tradelane_hub::Body::Lines(text.into());
    let (idempotency_key, partition, proceed, version) = (None, None, false, Some(version));
    let request = tradelane_hub::Publish { product: product(), body, idempotency_key, proceed, partition, version };
    world.hub.publish(&world.publisher, request).await.map(drop)
}

async fn notices(world: &World, caller: &tradelane_hub::Caller) -> Vec<Notice> {
    world.hub.notices(caller).await.unwrap().into_parts().0
}

#[tokio::test]
async fn a_breaking_change_needs_a_higher_major_version_and_a_notice_period() {
    let world = World::new().await;
    let error = |text: String| {
        let world = &world;
        async move { apply(world, &text).await.unwrap_err() }
    };
    let same = error(renamed().replace("2.0.0", "1.1.0")).await;
    assert_eq!(same.code, codes::CONTRACT_BREAKING);
    assert!(same.detail.contains("major version above 1") && same.detail.contains("REQUIRED"), "{}", same.detail);
    let silent = error(renamed().replace("evolution: {notice: P30D}, ", "")).await;
    assert_eq!(silent.code, codes::CONTRACT_BREAKING);
    assert!(silent.detail.contains("notice period"), "{}", silent.detail);
    let dry = world.hub.plan(&world.owner, &[("c.yaml".into(), renamed().replace("2.0.0", "1.1.0"))], false).await;
    assert_eq!(dry.err().unwrap().code, codes::CONTRACT_BREAKING, "the plan says it as well");
    apply(&world, &renamed()).await.unwrap();
    let shorter = renamed().replace("2.0.0", "3.0.0").replace("P30D", "P10D").replace("quantity", "amount");
    let promised = error(shorter).await;
    assert!(promised.detail.contains("promised a notice of P30D"), "{}", promised.detail);
}

#[tokio::test]
async fn a_change_that_breaks_nobody_is_applied_as_ever() {
    let world = World::new().await;
    let more = CONTRACT
        .replace("version: 1.0.0", "version: 1.1.0")
        .replace("- {name: sku,", "- {name: note, logicalType: string, classification: public}\n      - {name: sku,");
    apply(&world, &more).await.unwrap();
    assert!(notices(&world, &world.near).await.is_empty());
    // Where more is demanded, the same change is refused: readers of before may not know the field.
    let setting = SchemaSetting::Compatibility(Some(Compatibility::Full));
    world.hub.set_schema_setting(&world.owner, Some("acme-orders-value"), setting).await.unwrap();
    let again = more
        .replace("1.1.0", "1.2.0")
        .replace("{name: note,", "{name: other, logicalType: string, classification: public}\n      - {name: note,");
    assert_eq!(apply(&world, &again).await.unwrap_err().code, codes::CONTRACT_BREAKING);
    let setting = SchemaSetting::Compatibility(Some(Compatibility::None));
    world.hub.set_schema_setting(&world.owner, Some("acme-orders-value"), setting).await.unwrap();
    apply(&world, &renamed().replace("2.0.0", "1.3.0")).await.unwrap();
}

#[tokio::test]
async fn readers_of_both_versions_are_served_until_the_notice_is_over() {
    let world = World::new().await;
    world.publish(OLD).await.unwrap();
    let before = world.read(&world.far).await.unwrap();
    apply(&world, &extended()).await.unwrap();
    world.publish(r#"{"id":"2","sku":"A","qty":2,"unit":"box","price":9}"#).await.unwrap();

    let told = notices(&world, &world.far).await;
    assert_eq!(told.len(), 1, "its own, and nobody else's");
    assert_eq!((told[0].version.as_str(), told[0].next.as_str(), told[0].pin.major), ("1.0.0", "2.0.0", 1));
    assert_eq!(told[0].pin.until, told[0].pin.since.plus_seconds(30 * DAY));
    assert_eq!(notices(&world, &world.owner).await.len(), 2, "both grants on its product");
    let entry = world.hub.product(&world.far, &product()).await.unwrap().into_parts().0;
    assert_eq!(entry.notices, told);

    let held = world.read(&world.far).await.unwrap();
    assert_eq!(held[0], before[0], "what was read before reads as before");
    assert_eq!(held[1], json!({"id": "2", "sku": "A", "qty": 2, "price": 9}), "the new field is left out");
    let second = tradelane_hub::explain::EventRef::Stored { partition: 0, offset: 1 };
    let far = "far".parse().unwrap();
    let explained = world.hub.explain(&world.owner, &product(), &far, None, second).await.unwrap().into_parts().0;
    let rendered: serde_json::Value = serde_json::from_str(&explained.rendered.unwrap()).unwrap();
    assert_eq!(rendered, held[1], "the owner is shown what the partner sees");
    let schema = world.hub.product_schema(&world.far, &product(), None).await.unwrap().into_parts().0;
    assert!(schema["properties"].get("unit").is_none(), "{schema}");
    let subjects = world.hub.schema_subjects(&world.far, SubjectQuery::default()).await.unwrap().into_parts().0;
    let latest = world.hub.schema_version(&world.far, &subjects[0], WhichVersion::Latest, false).await.unwrap();
    assert_eq!(latest.value().version, 1);

    let own = world.read(&world.owner).await.unwrap();
    assert_eq!(own[1]["unit"], "box");
    let reader = world.hub.reader(&world.far, &product(), None).await.unwrap();
    assert_eq!(world.hub.notice_of(&reader).unwrap(), told[0]);

    world.clock.pass(31 * DAY);
    assert_eq!(world.hub.check(&reader).unwrap_err().code, codes::GRANT_ENDED, "a new reader gets the new version");
    assert!(notices(&world, &world.far).await.is_empty());
    world.publish(r#"{"id":"3","sku":"A","qty":3,"unit":"box"}"#).await.unwrap();
    let moved = world.read(&world.far).await.unwrap();
    assert_eq!(moved.last().unwrap()["unit"], "box");
}

#[tokio::test]
async fn a_consumer_that_moves_reads_the_new_version_at_once_and_others_stay() {
    let world = World::new().await;
    apply(&world, &extended()).await.unwrap();
    world.publish(r#"{"id":"2","sku":"A","qty":2,"unit":"box"}"#).await.unwrap();
    assert!(world.read(&world.far).await.unwrap()[0].get("unit").is_none());
    let id = "far-orders".parse().unwrap();
    world.hub.move_grant(&world.far, &id).await.unwrap();
    assert_eq!(world.read(&world.far).await.unwrap()[0]["unit"], "box");
    assert!(world.read(&world.near).await.unwrap()[0].get("unit").is_none());
    assert_eq!(world.hub.move_grant(&world.far, &id).await.unwrap_err().code, codes::CONFLICT);
    assert_eq!(
        world.hub.move_grant(&world.far, &"near-orders".parse().unwrap()).await.unwrap_err().code,
        codes::NOT_FOUND
    );
    // Manifests that say the grant anew do not take the version away from the other.
    let again = support::PRODUCT.replace("skus: [A, B]", "skus: [A, B, C]");
    world.hub.apply(&world.owner, &[("p.yaml".into(), again)], false).await.unwrap();
    assert!(world.read(&world.near).await.unwrap()[0].get("unit").is_none());
}

#[tokio::test]
async fn what_cannot_be_brought_into_the_old_form_is_withheld_and_blocks_nothing() {
    let world = World::new().await;
    world.publish(OLD).await.unwrap();
    apply(&world, &renamed()).await.unwrap();
    world.publish(r#"{"id":"2","sku":"A","quantity":2}"#).await.unwrap();
    // `far` reads `qty`, which later events do not have; nothing says what it would be.
    let held = world.read(&world.far).await.unwrap();
    assert_eq!(held.len(), 1, "{held:?}");
    assert_eq!(held[0]["qty"], 1);
    let aside = world.hub.quarantine(&world.owner, &product(), 0, 10).await.unwrap();
    assert!(format!("{:?}", aside.value()).contains("another version"), "{:?}", aside.value());
    world.clock.pass(31 * DAY);
    world.publish(r#"{"id":"3","sku":"A","quantity":3}"#).await.unwrap();
    let now = world.read(&world.far).await.unwrap();
    assert_eq!(now.iter().filter(|event| event.get("quantity").is_some()).count(), 2, "{now:?}");
}

#[tokio::test]
async fn what_the_new_version_restricts_is_restricted_for_readers_of_the_old_one_too() {
    let world = World::new().await;
    world.publish(OLD).await.unwrap();
    assert_eq!(world.read(&world.far).await.unwrap()[0]["price"], 2.5);
    let stricter = extended().replace(
        "{name: price, logicalType: number, classification: confidential}",
        "{name: price, logicalType: number, classification: sensitive-pii}",
    );
    assert_ne!(stricter, extended());
    apply(&world, &stricter).await.unwrap();
    world.publish(r#"{"id":"2","sku":"A","qty":2,"unit":"box"}"#).await.unwrap();
    let held = world.read(&world.far).await.unwrap();
    assert_eq!(held.len(), 2);
    assert!(held.iter().all(|event| event.get("price").is_none() && event.get("unit").is_none()), "{held:?}");
}

#[tokio::test]
async fn impact_says_who_would_notice_and_how_and_changes_nothing() {
    let world = World::new().await;
    world.publish(OLD).await.unwrap();
    world.read(&world.far).await.unwrap();
    let changed = renamed()
        .replace(
            "{name: price, logicalType: number, classification: confidential}",
            "{name: price, logicalType: string, classification: confidential}",
        )
        .replace(
            "- {name: sku, logicalType: string, required: true, classification: public}",
            "- {name: id2, logicalType: string, classification: pii}",
        )
        .replace(
            "- {name: email, logicalType: string, required: true}",
            "- {name: email, logicalType: string, required: true, classification: sensitive-pii}",
        );
    let files = [("contract.yaml".to_owned(), changed)];
    let impact = world.hub.impact(&world.owner, &files).await.unwrap().into_parts().0;
    let [of_orders] = &impact[..] else { panic!("{impact:?}") };
    assert!(of_orders.may_apply && !of_orders.breaks.is_empty(), "{of_orders:?}");
    assert_eq!(
        (of_orders.from.as_str(), of_orders.to.as_str(), of_orders.compatibility[0]),
        ("1.0.0", "2.0.0", "BACKWARD")
    );
    let of = |grant: &str| of_orders.grants.iter().find(|one| one.grant.as_str() == grant).unwrap();
    let change = |grant: &str, at: &str| of(grant).fields.iter().find(|field| field.at == at).map(|field| field.change);
    assert_eq!(change("far-orders", "/qty"), Some(FieldChange::Disappears));
    assert_eq!(change("far-orders", "/quantity"), Some(FieldChange::Appears));
    assert_eq!(change("far-orders", "/price"), Some(FieldChange::Type));
    assert_eq!(change("near-orders", "/price"), None, "what it does not see");
    assert_eq!(change("far-orders", "/customer/email"), Some(FieldChange::Disappears), "its new class is not shown");
    assert_eq!(change("far-orders", "/id2"), Some(FieldChange::Appears), "as a pseudonym");
    assert!(of("near-orders").filter[0].contains("/sku, which is no more"), "{:?}", of("near-orders").filter);
    assert_eq!(of("far-orders").readers[0].principal.as_str(), "far.app");
    assert_eq!(of("far-orders").readers[0].events, 1);
    assert!(of("near-orders").readers.is_empty());
    assert!(of("far-orders").groups.is_empty());
    let refused = [("contract.yaml".to_owned(), renamed().replace("2.0.0", "1.0.1"))];
    let impact = world.hub.impact(&world.owner, &refused).await.unwrap().into_parts().0;
    assert!(!impact[0].may_apply && impact[0].refused.as_ref().unwrap().contains("major version"), "{impact:?}");
    assert!(world.hub.impact(&world.near, &refused).await.is_err(), "not for everybody");
    assert_eq!(world.hub.product(&world.owner, &product()).await.unwrap().value().version, "1.0.0");
    let same = [("contract.yaml".to_owned(), CONTRACT.to_owned())];
    let impact = world.hub.impact(&world.owner, &same).await.unwrap().into_parts().0;
    assert!(impact[0].breaks.is_empty() && impact[0].grants.iter().all(|grant| !grant.is_affected));
}

#[tokio::test]
async fn publishers_may_stay_with_the_earlier_version_until_its_notice_is_over_if_they_say_so() {
    let world = World::new().await;
    assert_eq!(publish_as(&world, 7, OLD).await.unwrap_err().code, codes::BAD_PARAMETER);
    publish_as(&world, 1, OLD).await.unwrap();
    apply(&world, &extended()).await.unwrap();
    assert_eq!(world.publish(OLD).await.unwrap_err().code, codes::CONTRACT_VIOLATION, "the newest version has a unit");
    publish_as(&world, 1, OLD).await.unwrap();
    let bad = publish_as(&world, 1, r#"{"id":"1","sku":"A","qty":0}"#).await.unwrap_err();
    assert_eq!(bad.code, codes::QUALITY_RULE, "the earlier version has rules, too");
    publish_as(&world, 2, r#"{"id":"2","sku":"A","qty":2,"unit":"box"}"#).await.unwrap();

    let held = world.read(&world.far).await.unwrap();
    assert_eq!((&held[0], held.len()), (&held[1], 3), "who stayed reads it as ever");
    assert_eq!(world.read(&world.owner).await.unwrap()[1], serde_json::from_str::<serde_json::Value>(OLD).unwrap());
    world.hub.move_grant(&world.far, &"far-orders".parse().unwrap()).await.unwrap();
    let moved = world.read(&world.far).await.unwrap();
    assert_eq!(moved.len(), 2, "history and the new event; the late one has no unit: {moved:?}");
    let aside = world.hub.quarantine(&world.owner, &product(), 0, 10).await.unwrap();
    assert!(format!("{:?}", aside.value()).contains("another version"), "{:?}", aside.value());

    world.clock.pass(31 * DAY);
    assert_eq!(publish_as(&world, 1, OLD).await.unwrap_err().code, codes::VERSION_ENDED);
}

#[tokio::test]
async fn a_late_event_gets_what_the_new_version_says_that_it_lacks() {
    let world = World::new().await;
    let unit = "{name: unit, logicalType: string, required: true, classification: internal";
    let each = extended().replace(unit, &format!("{unit}, customProperties: [{{property: default, value: each}}]"));
    // With a default the change breaks nobody; its notice is given all the same.
    apply(&world, &each).await.unwrap();
    publish_as(&world, 1, OLD).await.unwrap();
    for grant in notices(&world, &world.far).await {
        world.hub.move_grant(&world.far, &grant.grant).await.unwrap();
    }
    let seen = world.read(&world.far).await.unwrap();
    assert_eq!((&seen[0]["unit"], &seen[0]["qty"]), (&json!("each"), &json!(1)));
}

#[tokio::test]
async fn a_late_event_is_sealed_as_restricted_as_either_version_has_it_and_erased_with_its_person() {
    let world = World::new().await;
    let customer = CONTRACT.find("      - name: customer").unwrap()..CONTRACT.find("    quality:").unwrap();
    let mut next = extended();
    let gone = &CONTRACT[customer];
    assert!(next.contains(gone));
    // The customer is no part of the new version, and the price is known to fewer.
    next = next.replace(gone, "").replace(
        "{name: price, logicalType: number, classification: confidential}",
        "{name: price, logicalType: number, classification: sensitive-pii}",
    );
    apply(&world, &next).await.unwrap();
    publish_as(&world, 1, OLD).await.unwrap();
    let held = world.read(&world.far).await.unwrap();
    assert!(held[0].get("price").is_none(), "{held:?}");
    assert!(held[0]["customer"]["email"].as_str().is_some_and(|email| email.starts_with("p-")), "{held:?}");
    assert!(!held[0].to_string().contains("ann@example.com"));
    assert_eq!(world.read(&world.owner).await.unwrap()[0]["customer"]["email"], "ann@example.com");
    world.hub.erase(&world.privacy, "ann@example.com").await.unwrap();
    let own = world.read(&world.owner).await.unwrap();
    assert!(!own[0].to_string().contains("ann"), "{own:?}");
    assert!(world.read(&world.far).await.unwrap()[0]["customer"].get("email").is_none());
}

#[tokio::test]
async fn impact_names_the_groups_that_committed_lately_and_those_of_no_other_organization() {
    let world = World::new().await;
    let groups = |grant: &'static str| {
        let world = &world;
        async move {
            let files = [("contract.yaml".to_owned(), CONTRACT.to_owned())];
            let impact = world.hub.impact(&world.owner, &files).await.unwrap().into_parts().0;
            let of = impact[0].grants.iter().find(|one| one.grant.as_str() == grant).unwrap();
            of.groups.iter().map(|group| group.group.clone()).collect::<Vec<_>>()
        }
    };
    let id = product();
    let note = |caller, group| world.hub.note_group(caller, &id, group);
    note(&world.far, "claims\0\n").await;
    note(&world.owner, "own").await;
    let long = "x".repeat(400);
    note(&world.far, &long).await;
    assert_eq!(groups("far-orders").await, ["claims\0\n"], "a name is whatever its consumer says");
    assert!(groups("near-orders").await.is_empty());
    world.clock.pass(20 * DAY);
    note(&world.far, "later").await;
    assert_eq!(groups("far-orders").await, ["later", "claims\0\n"]);
    world.clock.pass(11 * DAY);
    assert_eq!(groups("far-orders").await, ["later"], "the other is long ago");
}
