//! EPCIS on the governed path: captured once, queried through the reader's view.

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::{World, limits};
use tradelane_hub::capture::CaptureJob;
use tradelane_hub::query::Vocabulary;
use tradelane_hub::{Caller, From};
use tradelane_model::{ProductId, codes};

const CONTRACT: &str = r#"
apiVersion: v3.1.0
kind: DataContract
id: acme-track
tenant: acme
version: 1.0.0
status: active
name: Tracking
schema: [{name: event}]
customProperties:
  - property: tradelane
    value:
      format: epcis
      fields:
        - {at: /type, class: public}
        - {at: /eventID, class: public}
        - {at: /eventTime, class: public}
        - {at: /eventTimeZoneOffset, class: public}
        - {at: "/epcList/*", class: public}
        - {at: /action, class: public}
        - {at: /bizStep, class: public}
        - {at: /bizLocation/id, class: confidential}
---
apiVersion: tradelane/v1
kind: Product
spec: {id: acme-track, owner: acme, contract: acme-track}
---
apiVersion: tradelane/v1
kind: Grant
spec: {id: near-track, product: acme-track, consumer: near, purpose: tracking}
"#;

const PLACE: &str = "urn:epc:id:sgln:9521321.00001.0";

fn track() -> ProductId {
    "acme-track".parse().unwrap()
}

fn event(number: u32) -> Value {
    json!({
        "type": "ObjectEvent", "eventID": format!("urn:uuid:0b5e2a52-6d3c-4c0d-9e0f-{number:012x}"),
        "eventTime": format!("2026-03-01T08:{:02}:00.000Z", number % 60), "eventTimeZoneOffset": "+00:00",
        "epcList": [format!("urn:epc:id:sgtin:9521321.012345.{number}")], "action": "OBSERVE",
        "bizStep": if number.is_multiple_of(2) { "shipping" } else { "receiving" }, "bizLocation": {"id": PLACE},
    })
}

fn document(events: &[Value]) -> String {
    json!({
        "@context": ["https://ref.gs1.org/standards/epcis/2.0.0/epcis-context.jsonld"], "type": "EPCISDocument",
        "schemaVersion": "2.0", "creationDate": "2026-03-01T09:00:00Z", "epcisBody": {"eventList": events},
    })
    .to_string()
}

async fn world() -> World {
    let world = World::new().await;
    world.hub.apply(&world.owner, &[("track.yaml".into(), CONTRACT.into())], false).await.unwrap();
    world
}

async fn capture(world: &World, text: String, proceed: bool) -> CaptureJob {
    let taken = world.hub.capture(&world.publisher, &track(), text.into(), proceed).await.unwrap();
    let id = taken.value().id.clone();
    for _ in 0..500 {
        let job = world.hub.capture_job(&world.publisher, &track(), &id).await.unwrap();
        if !job.value().running {
            return job.value().clone();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the job never ended");
}

async fn query(world: &World, caller: &Caller, pairs: &[(&str, &str)]) -> Vec<Value> {
    let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let page = world.hub.epcis_query(caller, &track(), &pairs).await.unwrap();
    let document: Value = serde_json::from_slice(&page.value().document).unwrap();
    document["epcisBody"]["queryResults"]["resultsBody"]["eventList"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_query_cannot_probe_a_masked_field() {
    let world = world().await;
    assert!(capture(&world, document(&[event(1), event(2)]), false).await.success);
    assert_eq!(query(&world, &world.owner, &[("EQ_bizLocation", PLACE)]).await.len(), 2);
    let seen = query(&world, &world.near, &[]).await;
    assert_eq!(seen.len(), 2);
    assert!(!serde_json::to_string(&seen).unwrap().contains(PLACE));
    for parameter in ["EQ_bizLocation", "WD_bizLocation"] {
        assert!(query(&world, &world.near, &[(parameter, PLACE)]).await.is_empty(), "{parameter}");
    }
    let listed = world.hub.epcis_values(&world.near, &track(), Vocabulary::BizLocations).await.unwrap();
    assert!(listed.value().is_empty());
    assert_eq!(query(&world, &world.near, &[("EQ_bizStep", "shipping")]).await.len(), 1, "what is shown can be asked");
}

#[tokio::test]
async fn a_document_that_is_sent_twice_is_stored_once_and_another_event_under_its_id_is_refused() {
    let world = world().await;
    let text = document(&[event(1), event(2)]);
    assert_eq!(capture(&world, text.clone(), false).await.captured, 2);
    let again = capture(&world, text, false).await;
    assert!(!again.success && again.captured == 0);
    assert!(again.errors.iter().all(|error| error.rule == "duplicate-event"));
    let mut other = event(1);
    other["bizStep"] = json!("packing");
    let mixed = document(&[other, event(3)]);
    assert_eq!(capture(&world, mixed.clone(), false).await.captured, 0, "rollback stores nothing");
    let proceeded = capture(&world, mixed, true).await;
    assert_eq!((proceeded.captured, proceeded.errors.len()), (1, 1));
    assert_eq!(query(&world, &world.owner, &[]).await.len(), 3);
}

#[tokio::test]
async fn what_was_captured_is_not_captured_again_days_later() {
    let world = world().await;
    let whole = document(&[event(1), event(2)]);
    assert_eq!(capture(&world, whole.clone(), false).await.captured, 2);
    let mut bad = event(9);
    bad["action"] = json!("SHOUT");
    let partly = document(&[event(3), bad]);
    assert_eq!(capture(&world, partly.clone(), true).await.captured, 1);
    for _ in 0..2 {
        world.clock.pass(40 * 3_600);
        for (text, proceed) in [(&whole, false), (&whole, true), (&partly, true)] {
            let again = capture(&world, text.clone(), proceed).await;
            assert_eq!((again.captured, again.errors.len()), (0, 2), "{:?}", again.errors);
            assert!(again.errors.iter().any(|error| error.rule == "duplicate-event"));
        }
    }
    assert_eq!(query(&world, &world.owner, &[]).await.len(), 3);
}

#[tokio::test]
async fn a_document_with_a_bad_event_is_rolled_back_or_stored_without_it() {
    let world = world().await;
    let mut bad = event(9);
    bad["action"] = json!("SHOUT");
    let text = document(&[event(1), bad, event(2)]);
    let rolled_back = capture(&world, text.clone(), false).await;
    assert_eq!((rolled_back.success, rolled_back.captured), (false, 0));
    assert!(rolled_back.errors[0].pointer.starts_with("/epcisBody/eventList/1"), "{:?}", rolled_back.errors);
    assert_eq!(capture(&world, text, true).await.captured, 2);
}

#[tokio::test]
async fn pages_of_a_query_hold_every_event_once_and_a_token_is_good_for_its_query_only() {
    let world = world().await;
    let events: Vec<Value> = (1..=7).map(event).collect();
    assert!(capture(&world, document(&events), false).await.success);
    for order in [vec![], vec![("orderBy".to_owned(), "eventTime".to_owned())]] {
        let (mut seen, mut token) = (Vec::new(), None);
        loop {
            let mut pairs = order.clone();
            pairs.push(("perPage".into(), "3".into()));
            pairs.extend(token.map(|token| ("nextPageToken".to_owned(), token)));
            let page = world.hub.epcis_query(&world.near, &track(), &pairs).await.unwrap();
            let document: Value = serde_json::from_slice(&page.value().document).unwrap();
            let list = document["epcisBody"]["queryResults"]["resultsBody"]["eventList"].as_array().unwrap().clone();
            seen.extend(list.iter().map(|event| event["eventID"].as_str().unwrap().to_owned()));
            token = page.value().next.clone();
            if token.is_none() {
                break;
            }
            let stolen = vec![
                ("EQ_bizStep".to_owned(), "shipping".to_owned()),
                ("nextPageToken".to_owned(), token.clone().unwrap()),
            ];
            let error = world.hub.epcis_query(&world.near, &track(), &stolen).await.unwrap_err();
            assert_eq!(error.code, codes::QUERY_INVALID);
        }
        let distinct: std::collections::BTreeSet<&String> = seen.iter().collect();
        assert_eq!((seen.len(), distinct.len()), (7, 7));
    }
}

#[tokio::test]
async fn one_event_is_captured_by_itself_and_a_second_time_is_a_conflict() {
    let world = world().await;
    let mut alone = event(5);
    alone["@context"] = json!("https://ref.gs1.org/standards/epcis/2.0.0/epcis-context.jsonld");
    let text = alone.to_string();
    let captured = world.hub.capture_event(&world.publisher, &track(), text.clone().into()).await.unwrap();
    assert_eq!(captured.value().event_id, alone["eventID"].as_str().unwrap());
    let again = world.hub.capture_event(&world.publisher, &track(), text.into()).await.unwrap_err();
    assert_eq!(again.code, codes::DUPLICATE_EVENT);
    let reader = world.hub.reader(&world.near, &track(), None).await.unwrap();
    let page = world.hub.read(&reader, From::Earliest, limits(Duration::ZERO)).await.unwrap();
    assert_eq!(page.value().count, 1);
}

#[tokio::test]
async fn a_named_query_is_its_organizations_own() {
    let world = world().await;
    assert!(capture(&world, document(&[event(1), event(2)]), false).await.success);
    let definition = json!({"name": "shipped", "query": {"EQ_bizStep": ["shipping"]}}).to_string();
    world.hub.put_query(&world.near, &track(), definition.into()).await.unwrap();
    let page = world.hub.run_query(&world.near, &track(), "shipped", &Vec::new()).await.unwrap();
    assert_eq!(page.value().count, 1);
    assert!(world.hub.run_query(&world.owner, &track(), "shipped", &Vec::new()).await.is_err());
    world.hub.delete_query(&world.near, &track(), "shipped").await.unwrap();
    assert!(world.hub.run_query(&world.near, &track(), "shipped", &Vec::new()).await.is_err());
}
