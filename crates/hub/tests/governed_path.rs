//! The governed path as its users live it: publish, read, change, revoke, erase, prove.

mod support;

use std::time::Duration;

use serde_json::json;
use support::{CONTRACT, World, config, limits, product};
use tradelane_hub::publish::{Body, Publish};
use tradelane_hub::{From, Hub, Presented};
use tradelane_model::codes;

const EVENTS: &str = r#"{"id":"1","sku":"A","qty":3,"price":9.5,"customer":{"email":"ann@example.org","name":"Ann"}}
{"id":"2","sku":"B","qty":1,"price":7,"customer":{"email":"bob@example.org","name":"Bob"}}
{"id":"3","sku":"C","qty":8,"price":2,"customer":{"email":"ann@example.org","name":"Ann"}}
"#;

#[tokio::test]
async fn each_partner_sees_its_own_view_of_the_same_event() {
    let world = World::new().await;
    world.publish(EVENTS).await.unwrap();
    let own = world.read(&world.owner).await.unwrap();
    assert_eq!(own[0]["customer"]["email"], "ann@example.org");
    let near = world.read(&world.near).await.unwrap();
    assert_eq!(near.len(), 2, "the row filter lets through what near carries");
    assert!(near[0].get("price").is_none(), "confidential is dropped by default");
    let far = world.read(&world.far).await.unwrap();
    assert_eq!((far.len(), &far[0]["price"]), (3, &json!(9.5)));
    let (a, b) = (&near[0]["customer"]["email"], &far[0]["customer"]["email"]);
    assert!(a.is_string() && b.is_string() && a != b, "two consumers' pseudonyms cannot be joined");
    assert_eq!(far[0]["customer"]["email"], far[2]["customer"]["email"], "one consumer's can");
    for reader in [&near, &far] {
        assert!(!serde_json::to_string(reader).unwrap().contains("example.org"));
    }
}

#[tokio::test]
async fn a_revoked_grant_reads_nothing_and_cuts_off_who_is_waiting() {
    let world = World::new().await;
    world.publish(EVENTS).await.unwrap();
    let reader = world.hub.reader(&world.near, &product(), None).await.unwrap();
    let (hub, waiting) = (world.hub.clone(), reader.clone());
    let waiter = tokio::spawn(async move {
        hub.read(&waiting, From::Latest, limits(Duration::from_secs(30))).await.map(|page| page.value().count)
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    world.hub.revoke(&world.owner, &"near-orders".parse().unwrap(), "done").await.unwrap();
    let cut = tokio::time::timeout(Duration::from_secs(5), waiter).await.expect("at once").unwrap();
    assert_eq!(cut.unwrap_err().code, codes::GRANT_ENDED);
    let again = world.hub.read(&reader, From::Earliest, limits(Duration::ZERO)).await;
    assert_eq!(again.unwrap_err().code, codes::GRANT_ENDED);
    assert_eq!(world.read(&world.near).await.unwrap_err().code, codes::NO_GRANT);
}

#[tokio::test]
async fn what_a_revoked_credential_opened_stops_at_once() {
    let world = World::new().await;
    world.publish(EVENTS).await.unwrap();
    let reader = world.hub.reader(&world.near, &product(), None).await.unwrap();
    world.hub.revoke_credential(&world.operator, world.near.credential()).await.unwrap();
    let read = world.hub.read(&reader, From::Earliest, limits(Duration::ZERO)).await;
    assert_eq!(read.unwrap_err().code, codes::GRANT_ENDED);
    let error = world.hub.authenticate(Presented::ApiKey(&world.near_key)).unwrap_err();
    assert_eq!(error.code, codes::CREDENTIALS_EXPIRED);
}

#[tokio::test]
async fn a_grant_that_expires_stops_by_itself() {
    let world = World::new().await;
    world.publish(EVENTS).await.unwrap();
    let mut conditions = grant_conditions();
    conditions.expires = Some(world.hub.now().plus_seconds(60));
    world.hub.approve(&world.owner, &"near-orders".parse().unwrap(), conditions).await.unwrap();
    let reader = world.hub.reader(&world.near, &product(), None).await.unwrap();
    assert!(world.hub.read(&reader, From::Earliest, limits(Duration::ZERO)).await.is_ok());
    world.clock.pass(61);
    let read = world.hub.read(&reader, From::Earliest, limits(Duration::ZERO)).await;
    assert_eq!(read.unwrap_err().code, codes::GRANT_ENDED);
    assert!(world.read(&world.near).await.is_err());
}

fn grant_conditions() -> tradelane_model::grant::Conditions {
    serde_json::from_value(json!({"view": {"classes": {"pii": "redact"}}})).unwrap()
}

#[tokio::test]
async fn a_changed_view_holds_for_events_that_were_rendered_before() {
    let world = World::new().await;
    world.publish(EVENTS).await.unwrap();
    let before = world.read(&world.far).await.unwrap();
    assert_eq!(before[0]["price"], json!(9.5));
    world.hub.approve(&world.owner, &"far-orders".parse().unwrap(), grant_conditions()).await.unwrap();
    let after = world.read(&world.far).await.unwrap();
    assert!(after[0].get("price").is_none());
    assert_eq!(after[0]["customer"]["email"], "***");
}

#[tokio::test]
async fn a_reclassified_field_is_masked_in_events_of_before() {
    let world = World::new().await;
    world.publish(EVENTS).await.unwrap();
    assert_eq!(world.read(&world.near).await.unwrap()[0]["sku"], "A");
    let stricter = CONTRACT
        .replace(
            "name: qty, logicalType: integer, required: true, classification: internal",
            "name: qty, logicalType: integer, required: true, classification: pii",
        )
        .replace(
            "name: id, logicalType: string, required: true, classification: public",
            "name: id, logicalType: string, required: true, classification: confidential",
        );
    assert_ne!(stricter, CONTRACT);
    world.hub.apply(&world.owner, &[("contract.yaml".into(), stricter)], false).await.unwrap();
    let near = world.read(&world.near).await.unwrap();
    assert!(near[0].get("id").is_none(), "{}", near[0]);
    assert_ne!(near[0]["qty"], json!(3));
}

#[tokio::test]
async fn an_erased_person_is_gone_for_everyone_and_nothing_of_them_is_in_the_log() {
    let world = World::new().await;
    world.publish(EVENTS).await.unwrap();
    assert!(serde_json::to_string(&world.read(&world.owner).await.unwrap()).unwrap().contains("ann@"));
    let far = world.read(&world.far).await.unwrap();
    let erasure = world.hub.erase(&world.privacy, "ann@example.org").await.unwrap();
    assert_eq!(erasure.value().keys_destroyed, 1);
    let own = world.read(&world.owner).await.unwrap();
    assert!(!serde_json::to_string(&own).unwrap().contains("ann@"));
    assert_eq!(own[1]["customer"]["email"], "bob@example.org", "others are untouched");
    let after = world.read(&world.far).await.unwrap();
    assert!(after[0]["customer"].get("email").is_none(), "no pseudonym outlives the key");
    assert_eq!(after[1], far[1]);
    let again = world.hub.erase(&world.privacy, "ann@example.org").await.unwrap();
    assert_eq!(again.value().keys_destroyed, 0);
    world.publish(r#"{"id":"4","sku":"A","qty":1,"customer":{"email":"ann@example.org"}}"#).await.unwrap();
    let own = world.read(&world.owner).await.unwrap();
    assert_eq!(own[3]["customer"]["email"], "ann@example.org", "who comes back has a new key");
    assert!(own[0]["customer"].get("email").is_none(), "and what was erased stays erased");
}

#[tokio::test]
async fn a_bad_event_refuses_the_batch_whole_or_goes_to_quarantine() {
    let world = World::new().await;
    let batch = r#"{"id":"1","sku":"A","qty":1}
{"id":"2","sku":"A","qty":0}
{"id":"3","qty":1}
{"id":"4","sku":"A","qty":1,"id":"5"}
"#;
    let error = world.publish(batch).await.unwrap_err();
    assert_eq!(error.code, codes::QUALITY_RULE);
    let pointers: Vec<_> = error.places.iter().map(|place| place.pointer.clone()).collect();
    assert_eq!(pointers.len(), 3, "{pointers:?}");
    assert!(pointers[1].starts_with("/2"));
    assert!(world.read(&world.owner).await.unwrap().is_empty());
    let request = Publish {
        product: product(),
        body: Body::Lines(batch.into()),
        idempotency_key: None,
        proceed: true,
        partition: None,
        version: None,
    };
    let published = world.hub.publish(&world.publisher, request).await.unwrap();
    assert_eq!((published.value().count, published.value().quarantined.len()), (1, 3));
    let aside = world.hub.quarantine(&world.owner, &product(), 0, 10).await.unwrap();
    assert_eq!(aside.value().len(), 3);
    assert!(world.hub.quarantine(&world.near, &product(), 0, 10).await.is_err());
}

#[tokio::test]
async fn a_big_batch_that_several_cores_seal_keeps_its_order_and_what_is_refused_its_place() {
    let world = World::new().await;
    let bad = |n: usize| n % 97 == 5;
    let note = "n".repeat(600);
    let line = |n: usize| {
        let quantity = if bad(n) { 0 } else { 1 };
        let email = format!("{}@example.com", n % 50);
        format!(r#"{{"id":"{n}","sku":"A","qty":{quantity},"customer":{{"email":"{email}","name":"{note}"}}}}"#) + "\n"
    };
    let request = |proceed| Publish {
        product: product(),
        body: Body::Lines((0..2_000).map(line).collect::<String>().into()),
        idempotency_key: None,
        proceed,
        partition: None,
        version: None,
    };
    let error = world.hub.publish(&world.publisher, request(false)).await.unwrap_err();
    let places: Vec<_> = error.places.iter().map(|place| place.pointer.clone()).collect();
    assert_eq!(places, (0..2_000).filter(|n| bad(*n)).map(|n| format!("/{n}")).collect::<Vec<_>>());
    let published = world.hub.publish(&world.publisher, request(true)).await.unwrap();
    let refused: Vec<usize> = published.value().quarantined.iter().map(|aside| aside.index).collect();
    assert_eq!(refused, (0..2_000).filter(|n| bad(*n)).collect::<Vec<_>>());
    let read = world.read(&world.owner).await.unwrap();
    let ids: Vec<String> = read.iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids, (0..2_000).filter(|n| !bad(*n)).map(|n| n.to_string()).collect::<Vec<_>>());
    assert!(read.iter().all(|event| event["customer"]["name"] == note), "each under its own person's key");
}

#[tokio::test]
async fn data_of_a_person_who_is_not_named_is_refused_because_it_could_not_be_erased() {
    let world = World::new().await;
    let lenient =
        CONTRACT.replace("{name: email, logicalType: string, required: true}", "{name: email, logicalType: string}");
    assert_ne!(lenient, CONTRACT);
    world.hub.apply(&world.owner, &[("contract.yaml".into(), lenient)], false).await.unwrap();
    let nameless = r#"{"id":"1","sku":"A","qty":1,"customer":{"email":null,"name":"Ann"}}"#;
    let error = world.publish(nameless).await.unwrap_err();
    assert_eq!((error.code, error.places[0].rule.as_str()), (codes::CONTRACT_VIOLATION, "subject"));
    world.publish(r#"{"id":"2","sku":"A","qty":1}"#).await.expect("nobody's data needs no name");
}

#[tokio::test]
async fn a_retry_with_the_same_key_stores_once_and_another_body_is_refused() {
    let world = World::new().await;
    let request = |text: &'static str| Publish {
        product: product(),
        body: Body::One(text.into()),
        idempotency_key: Some("k-1".into()),
        proceed: false,
        partition: None,
        version: None,
    };
    let one = r#"{"id":"1","sku":"A","qty":1}"#;
    let first = world.hub.publish(&world.publisher, request(one)).await.unwrap();
    let second = world.hub.publish(&world.publisher, request(one)).await.unwrap();
    assert_eq!((first.value().duplicate, second.value().duplicate), (false, true));
    assert_eq!(first.value().only().unwrap().offset, second.value().only().unwrap().offset);
    let other = world.hub.publish(&world.publisher, request(r#"{"id":"2","sku":"A","qty":1}"#)).await;
    assert_eq!(other.unwrap_err().code, codes::KEY_REUSED);
    assert_eq!(world.read(&world.owner).await.unwrap().len(), 1);
}

#[tokio::test]
async fn nobody_does_what_its_role_does_not_say() {
    let world = World::new().await;
    let refused = |code: tradelane_model::ErrorCode| matches!(code.info().status, 403 | 404);
    let request = Publish {
        product: product(),
        body: Body::One(r#"{"id":"1","sku":"A","qty":1}"#.into()),
        idempotency_key: None,
        proceed: false,
        partition: None,
        version: None,
    };
    for caller in [&world.near, &world.owner, &world.operator, &world.privacy] {
        assert!(refused(world.hub.publish(caller, request.clone()).await.unwrap_err().code));
    }
    for caller in [&world.operator, &world.publisher, &world.privacy, &world.auditor] {
        assert!(refused(world.read(caller).await.unwrap_err().code), "only the owner and who has a grant read");
    }
    assert!(refused(world.hub.erase(&world.owner, "x").await.unwrap_err().code));
    assert!(refused(world.hub.revoke(&world.near, &"far-orders".parse().unwrap(), "").await.unwrap_err().code));
    assert!(refused(
        world.hub.approve(&world.near, &"near-orders".parse().unwrap(), grant_conditions()).await.unwrap_err().code
    ));
    let operator_role =
        "apiVersion: tradelane/v1\nkind: Principal\nspec: {id: acme.evil, organization: acme, roles: [operator]}\n";
    let files = [("evil.yaml".to_owned(), operator_role.to_owned())];
    assert!(refused(world.hub.apply(&world.owner, &files, false).await.unwrap_err().code));
}

#[tokio::test]
async fn every_access_leaves_a_leaf_whose_receipt_verifies_offline() {
    let world = World::new().await;
    world.publish(EVENTS).await.unwrap();
    let reader = world.hub.reader(&world.near, &product(), None).await.unwrap();
    let page = world.hub.read(&reader, From::Earliest, limits(Duration::ZERO)).await.unwrap();
    let receipt = world.hub.receipt(&world.near, page.leaf()).await.unwrap();
    let key = world.hub.log_key().parse().unwrap();
    let text = receipt.value().to_text();
    let proven = tradelane_audit::Receipt::parse(&text).unwrap().verify(&key).unwrap();
    assert_eq!(proven.leaf.grant.unwrap().as_str(), "near-orders");
    assert_eq!((proven.leaf.offsets, proven.leaf.count), (Some((0, 1)), 2));
    assert!(!text.contains("example.org"));
    assert!(world.hub.receipt(&world.far, page.leaf()).await.is_err(), "somebody else's leaf looks like none");
    let trail =
        world.hub.trail(&world.auditor, tradelane_hub::TrailQuery { max: 1_000, ..Default::default() }).await.unwrap();
    assert!(trail.value().leaves.iter().any(|(index, _)| *index == page.leaf()), "the owner sees who read");
}

#[tokio::test]
async fn a_hub_that_starts_again_knows_everything_and_no_value_is_in_its_files() {
    let world = World::new().await;
    world.publish(EVENTS).await.unwrap();
    let (dir, clock, near_key) = (world.dir, world.clock, world.near_key);
    drop(world.hub);
    for entry in walk(dir.path()) {
        let bytes = std::fs::read(&entry).unwrap();
        for secret in ["ann@example.org", "Bob", "acme.wms", "near-orders"] {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{secret} is in {}", entry.display());
        }
    }
    let (hub, opened) = Hub::open(config(&dir, &clock)).await.unwrap();
    assert!(!opened.is_new && opened.recovered.len() >= 4, "{opened:?}");
    assert!(hub.bootstrap().await.unwrap().is_none());
    let near = hub.authenticate(Presented::ApiKey(&near_key)).unwrap();
    let reader = hub.reader(&near, &product(), None).await.unwrap();
    let page = hub.read(&reader, From::Earliest, limits(Duration::ZERO)).await.unwrap();
    assert_eq!(page.value().count, 2);
}

fn walk(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[tokio::test]
async fn an_apply_is_planned_first_done_whole_and_done_once() {
    let world = World::new().await;
    let files = [("contract.yaml".to_owned(), CONTRACT.to_owned())];
    let plan = world.hub.plan(&world.owner, &files, false).await.unwrap();
    assert!(plan.value().iter().all(|line| line.verb == tradelane_model::plan::Verb::NoOp));
    let broken = format!(
        "{}\n---\napiVersion: tradelane/v1\nkind: Product\nspec: {{id: p2, owner: acme, contract: nowhere}}\n",
        CONTRACT.replace("1.0.0", "1.1.0")
    );
    let error = world.hub.apply(&world.owner, &[("x.yaml".to_owned(), broken)], false).await.unwrap_err();
    assert_eq!(error.code, codes::CONFLICT);
    let catalog = world.hub.catalog(&world.near).await.unwrap();
    assert_eq!(catalog.value()[0].version, "1.0.0", "nothing of it was done");
}

#[tokio::test]
async fn a_network_of_thousands_is_applied_at_once_and_what_is_more_is_refused_in_its_plan() {
    let world = World::new().await;
    let manifests = |kind: &str, specs: &mut dyn Iterator<Item = String>| {
        let documents = specs.map(|spec| format!("apiVersion: tradelane/v1\nkind: {kind}\nspec: {{{spec}}}\n"));
        vec![(format!("{kind}.yaml"), documents.collect::<Vec<_>>().join("---\n"))]
    };
    let organizations = |count: u32| manifests("Organization", &mut (0..count).map(|n| format!("id: partner-{n}")));
    let too_many = world.hub.plan(&world.operator, &organizations(10_001), false).await.unwrap_err();
    assert_eq!(too_many.code, codes::TOO_LARGE);
    assert!(too_many.detail.contains("10001 changes") && too_many.detail.contains("in parts"), "{}", too_many.detail);
    let done = world.hub.apply(&world.operator, &organizations(3_000), false).await.unwrap();
    assert_eq!(done.value().len(), 3_000);
    let grant = |n| format!("id: g-{n}, product: {}, consumer: partner-{n}, purpose: claims", product());
    let grants = manifests("Grant", &mut (0..3_000).map(grant));
    world.hub.apply(&world.owner, &grants, false).await.unwrap();
    let again = world.hub.plan(&world.owner, &grants, false).await.unwrap();
    assert!(again.value().iter().all(|line| line.verb == tradelane_model::plan::Verb::NoOp));
}

#[tokio::test]
async fn an_access_request_is_answered_by_the_owner() {
    let world = World::new().await;
    let request = tradelane_hub::AccessRequest {
        product: product(),
        purpose: "claims".into(),
        note: "please".into(),
        topic: None,
    };
    let asked = world.hub.request_access(&world.near, request).await.unwrap();
    let id = asked.value().id.clone();
    let reader = world.hub.reader(&world.near, &product(), Some("claims")).await;
    assert_eq!(reader.err().unwrap().code, codes::NO_GRANT);
    world.hub.approve(&world.owner, &id, grant_conditions()).await.unwrap();
    assert!(world.hub.reader(&world.near, &product(), Some("claims")).await.is_ok());
    let bad = tradelane_hub::AccessRequest {
        product: product(),
        purpose: "marketing".into(),
        note: String::new(),
        topic: None,
    };
    assert!(world.hub.request_access(&world.near, bad).await.is_err());
}

#[tokio::test]
async fn explain_says_field_by_field_what_a_partner_sees_and_why() {
    let world = World::new().await;
    world.publish(EVENTS).await.unwrap();
    let event = tradelane_hub::explain::EventRef::Stored { partition: 0, offset: 2 };
    let explained = world.hub.explain(&world.owner, &product(), &"near".parse().unwrap(), None, event).await.unwrap();
    assert!(!explained.value().row_passes, "near does not carry C");
    let price = explained.value().fields.iter().find(|field| field.pointer == "/price").unwrap();
    assert_eq!((price.class.as_str(), price.because.as_str()), ("confidential", "default"));
    let event = tradelane_hub::explain::EventRef::Stored { partition: 0, offset: 0 };
    assert!(world.hub.explain(&world.near, &product(), &"near".parse().unwrap(), None, event).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_reads_while_others_are_erased_misses_nothing() {
    let world = World::new().await;
    let persons: Vec<String> = (0..60).map(|n| format!("p{n}@example.org")).collect();
    for person in &persons {
        world
            .publish(&format!(r#"{{"id":"{person}","sku":"A","qty":1,"customer":{{"email":"{person}"}}}}"#))
            .await
            .unwrap();
    }
    let (hub, privacy, gone) = (world.hub.clone(), world.privacy.clone(), persons.clone());
    let erasing = tokio::spawn(async move {
        for person in gone.iter().skip(1) {
            hub.erase(&privacy, person).await.unwrap();
        }
    });
    while !erasing.is_finished() {
        let own = world.read(&world.owner).await.unwrap();
        assert_eq!(own.len(), persons.len(), "nothing of anybody is withheld");
        assert_eq!(own[0]["customer"]["email"], "p0@example.org", "whoever stays is readable throughout");
    }
    erasing.await.unwrap();
    let own = serde_json::to_string(&world.read(&world.owner).await.unwrap()).unwrap();
    assert_eq!(own.matches("\"email\"").count(), 1);
}
