//! What somebody tries who is let in, and wants more than that.

mod support;

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::{Value, json};
use support::{CONTRACT, World, limits, product};
use tokio::sync::Notify;
use tradelane_hub::publish::{Body, Publish};
use tradelane_hub::{
    AccessRequest, BatchNumbers, Caller, ClusterError, ClusterLog, Committed, From, NewCertificate, NewCredential,
    Presented,
};
use tradelane_model::organization::CredentialKind;
use tradelane_model::{ErrorCode, ProductId, codes};
use tradelane_storage::{Bounds, StreamId};

/// Products that nobody but their owner knows of: one of plain events, and one of EPCIS.
const HIDDEN: &str = r#"
apiVersion: v3.1.0
kind: DataContract
id: acme-track
tenant: acme
version: 1.0.0
status: active
name: Tracking
schema: [{name: event}]
customProperties:
  - {property: tradelane, value: {format: epcis, fields: [{at: /type, class: public}]}}
---
apiVersion: tradelane/v1
kind: Product
spec: {id: acme-hidden, owner: acme, contract: acme-orders, discoverable: false}
---
apiVersion: tradelane/v1
kind: Product
spec: {id: acme-track, owner: acme, contract: acme-track, discoverable: false}
"#;

const ABSENT: &str = "acme-absent";

async fn world() -> World {
    let world = World::new().await;
    world.hub.apply(&world.owner, &[("hidden.yaml".into(), HIDDEN.into())], false).await.unwrap();
    world
}

fn new(kind: CredentialKind, principal: &str) -> NewCredential {
    NewCredential {
        principal: principal.parse().unwrap(),
        kind,
        lifetime_seconds: 86_400,
        replaces: None,
        overlap_seconds: 0,
    }
}

/// Somebody with an access token of that scope.
async fn with_scope(world: &World, caller: &Caller, scope: &str) -> Caller {
    let id = caller.principal().id.as_str();
    let issued = world.hub.issue_credential(caller, new(CredentialKind::ClientSecret, id)).await.unwrap();
    let issued = issued.value();
    let token = world.hub.issue_token(issued.id.as_str(), issued.text.expose(), scope).await.unwrap();
    world.hub.authenticate(Presented::AccessToken(&token.value().access_token)).unwrap()
}

#[tokio::test]
async fn a_token_gives_itself_no_credential_beyond_its_scope() {
    let world = World::new().await;
    let narrow = with_scope(&world, &world.near, "read:acme-orders").await;
    for kind in [CredentialKind::ApiKey, CredentialKind::ClientSecret] {
        let issued = world.hub.issue_credential(&narrow, new(kind, "near.app")).await;
        assert_eq!(issued.unwrap_err().code, codes::FORBIDDEN, "{kind:?}");
    }
    let certificate =
        NewCertificate { principal: "near.app".parse().unwrap(), digest: [7; 32], lifetime_seconds: 86_400 };
    let registered = world.hub.register_certificate(&narrow, certificate).await;
    assert_eq!(registered.unwrap_err().code, codes::FORBIDDEN);
    let revoked = world.hub.revoke_credential(&narrow, world.near.credential()).await;
    assert_eq!(revoked.unwrap_err().code, codes::FORBIDDEN);
    let wide = with_scope(&world, &world.near, "manage").await;
    world.hub.issue_credential(&wide, new(CredentialKind::ApiKey, "near.app")).await.unwrap();
}

#[tokio::test]
async fn a_credential_that_was_revoked_while_its_request_was_under_way_leaves_no_other_behind() {
    let world = World::new().await;
    // Who was authenticated before the body of its request was there.
    world.hub.revoke_credential(&world.operator, world.near.credential()).await.unwrap();
    let issued = world.hub.issue_credential(&world.near, new(CredentialKind::ApiKey, "near.app")).await;
    assert_eq!(issued.unwrap_err().code, codes::CREDENTIALS_EXPIRED);
    let certificate =
        NewCertificate { principal: "near.app".parse().unwrap(), digest: [7; 32], lifetime_seconds: 86_400 };
    let registered = world.hub.register_certificate(&world.near, certificate).await;
    assert_eq!(registered.unwrap_err().code, codes::CREDENTIALS_EXPIRED);
}

/// What is said of a product to whoever may not know of it, in all that names one.
async fn said(world: &World, caller: &Caller, id: &str) -> Vec<(&'static str, ErrorCode)> {
    let (hub, product): (_, ProductId) = (&world.hub, id.parse().unwrap());
    let publish = Publish {
        product: product.clone(),
        body: Body::One(r#"{"id":"1","sku":"A","qty":1}"#.into()),
        idempotency_key: None,
        proceed: false,
        partition: None,
        version: None,
    };
    let access = AccessRequest { product: product.clone(), purpose: "claims".into(), note: String::new(), topic: None };
    let definition = r#"{"name":"all","query":{}}"#;
    vec![
        ("read", hub.reader(caller, &product, None).await.err().unwrap().code),
        ("publish", hub.publish(caller, publish).await.err().unwrap().code),
        ("request", hub.request_access(caller, access).await.err().map_or(codes::INTERNAL, |error| error.code)),
        ("product", hub.product(caller, &product).await.err().unwrap().code),
        ("schema", hub.product_schema(caller, &product, None).await.err().unwrap().code),
        ("quarantine", hub.quarantine(caller, &product, 0, 10).await.err().unwrap().code),
        ("query", hub.epcis_query(caller, &product, &Vec::new()).await.err().unwrap().code),
        ("queries", hub.queries(caller, &product).await.err().map_or(codes::INTERNAL, |error| error.code)),
        ("put query", hub.put_query(caller, &product, definition.into()).await.err().unwrap().code),
        ("capture", hub.capture(caller, &product, "{}".into(), false).await.err().unwrap().code),
        ("event", hub.capture_event(caller, &product, "{}".into()).await.err().unwrap().code),
        ("jobs", hub.capture_jobs(caller, &product, None, 10).await.err().unwrap().code),
    ]
}

#[tokio::test]
async fn a_product_that_one_may_not_know_of_is_none_whatever_is_asked_of_it() {
    let world = world().await;
    let files = |id: &str| {
        let grant = format!(
            "apiVersion: tradelane/v1\nkind: Grant\nspec: {{id: far-own, product: {id}, consumer: far, purpose: claims}}\n"
        );
        [("grant.yaml".to_owned(), grant)]
    };
    for id in [ABSENT, "acme-hidden"] {
        let refused = world.hub.apply(&world.far, &files(id), false).await.unwrap_err();
        assert_eq!((refused.code, refused.detail.contains("there is no product")), (codes::MANIFEST_INVALID, true));
    }
    let callers = [
        ("a key", world.far.clone()),
        ("a token to read", with_scope(&world, &world.far, "read").await),
        ("a token to publish", with_scope(&world, &world.far, "publish").await),
        ("a token for one product", with_scope(&world, &world.far, "read:acme-orders").await),
    ];
    for (who, caller) in &callers {
        let absent = said(&world, caller, ABSENT).await;
        for hidden in ["acme-hidden", "acme-track"] {
            assert_eq!(said(&world, caller, hidden).await, absent, "{who}, {hidden}");
        }
    }
    let out_of_scope = with_scope(&world, &world.near, "read").await;
    let refused = world.hub.quarantine(&out_of_scope, &product(), 0, 10).await.unwrap_err();
    assert_eq!(refused.code, codes::FORBIDDEN, "what one knows of is told apart");
}

#[tokio::test]
async fn what_a_change_would_do_is_told_to_the_contracts_own_organization_alone() {
    let world = World::new().await;
    let people = "apiVersion: tradelane/v1\nkind: Principal\n\
                  spec: {id: far.app, organization: far, roles: [consumer, data-owner]}\n";
    world.hub.apply(&world.operator, &[("far.yaml".into(), people.into())], false).await.unwrap();
    let theirs = CONTRACT.replace("tenant: acme", "tenant: far").replace("version: 1.0.0", "version: 2.0.0");
    let absent = theirs.replace("id: acme-orders", "id: far-orders");
    for text in [theirs, absent] {
        let told = world.hub.impact(&world.far, &[("c.yaml".into(), text)]).await.unwrap();
        assert!(told.value().is_empty(), "{:?}", told.value());
    }
}

#[tokio::test]
async fn a_reader_goes_on_as_long_as_the_token_that_it_came_with_and_no_longer() {
    let world = World::new().await;
    let issued = world.hub.issue_credential(&world.far, new(CredentialKind::ClientSecret, "far.app")).await.unwrap();
    let issued = issued.value();
    let token = async || {
        let token = world.hub.issue_token(issued.id.as_str(), issued.text.expose(), "read").await.unwrap();
        world.hub.authenticate(Presented::AccessToken(&token.value().access_token)).unwrap()
    };
    let first = world.hub.reader(&token().await, &product(), None).await.unwrap();
    world.clock.pass(500);
    let second = world.hub.reader(&token().await, &product(), None).await.unwrap();
    world.clock.pass(200);
    let now = limits(Duration::ZERO);
    world.hub.read(&second, From::Earliest, now).await.unwrap();
    let ended = world.hub.read(&first, From::Earliest, now).await.unwrap_err();
    assert_eq!(ended.code, codes::GRANT_ENDED, "the second token is none for who came with the first");
    world.hub.read(&second, From::Earliest, now).await.unwrap();
}

const TRACK: &str = r#"
apiVersion: v3.1.0
kind: DataContract
id: acme-track
tenant: acme
version: 1.0.0
status: active
name: Tracking
schema: [{name: event}]
customProperties:
  - {property: tradelane, value: {format: epcis, fields: [{at: /type, class: public}, {at: /eventID, class: public}]}}
---
apiVersion: tradelane/v1
kind: Product
spec: {id: acme-track, owner: acme, contract: acme-track}
---
apiVersion: tradelane/v1
kind: Grant
spec: {id: near-track, product: acme-track, consumer: near, purpose: tracking}
"#;

fn track() -> ProductId {
    "acme-track".parse().unwrap()
}

/// An EPCIS event of about so many bytes.
fn observed(number: usize, bytes: usize) -> Value {
    json!({
        "@context": [
            "https://ref.gs1.org/standards/epcis/2.0.0/epcis-context.jsonld", {"example": "https://ns.example/"},
        ],
        "type": "ObjectEvent", "eventID": format!("urn:uuid:0b5e2a52-6d3c-4c0d-9e0f-{number:012x}"),
        "eventTime": "2026-03-01T08:00:00.000Z", "eventTimeZoneOffset": "+00:00",
        "epcList": ["urn:epc:id:sgtin:9521321.012345.1"], "action": "OBSERVE", "example:note": "x".repeat(bytes),
    })
}

async fn send(world: &World, product: ProductId, events: &[Value], proceed: bool) {
    let lines: Vec<String> = events.iter().map(Value::to_string).collect();
    let body = Body::Lines(lines.join("\n").into());
    let publish = Publish { product, body, idempotency_key: None, proceed, partition: None, version: None };
    world.hub.publish(&world.publisher, publish).await.unwrap();
}

/// A cluster in memory for one partition with one batch of two events, whose reads can be made to wait.
#[derive(Default)]
struct Slow {
    batch: Mutex<Option<Bytes>>,
    waits: AtomicBool,
    asked: Notify,
    goes_on: Notify,
}

#[async_trait]
impl ClusterLog for Slow {
    async fn bounds(&self, _: &StreamId) -> Result<Option<Bounds>, ClusterError> {
        Ok(Some(Bounds { start: 0, end: 2 * u64::from(self.batch.lock().unwrap().is_some()) }))
    }

    async fn read(&self, _: &StreamId, from: u64, _: usize) -> Result<Committed, ClusterError> {
        if self.waits.swap(false, SeqCst) {
            self.asked.notify_one();
            self.goes_on.notified().await;
        }
        let batches: Vec<Bytes> = self.batch.lock().unwrap().iter().filter(|_| from == 0).cloned().collect();
        Ok(Committed { next: from + 2 * batches.len() as u64, bytes: 1, batches })
    }

    async fn wait(&self, _: &StreamId, _: u64) {}

    async fn number(&self, streams: &[StreamId]) -> Result<Vec<BatchNumbers>, ClusterError> {
        Ok(vec![BatchNumbers { producer: 1, epoch: 0, sequence: 0 }; streams.len()])
    }

    async fn append(&self, _: u32, mut batches: Vec<(StreamId, Bytes)>) -> Vec<Result<u64, ClusterError>> {
        *self.batch.lock().unwrap() = batches.pop().map(|(_, batch)| batch);
        vec![Ok(0)]
    }

    fn settle(&self, _: &[(StreamId, BatchNumbers, u32)]) {}
}

/// A query during which something changes.
async fn query_while(world: &World, cluster: &Slow, change: impl Future) -> tradelane_hub::Result<usize> {
    cluster.waits.store(true, SeqCst);
    let changing = async {
        cluster.asked.notified().await;
        change.await;
        cluster.goes_on.notify_one();
    };
    let (track, parameters) = (track(), vec![("perPage".to_owned(), "1".to_owned())]);
    let (found, ()) = tokio::join!(world.hub.epcis_query(&world.near, &track, &parameters), changing);
    Ok(found?.value().count)
}

#[tokio::test]
async fn a_query_whose_grant_ends_while_it_looks_shows_nothing_and_another_change_is_not_noticed() {
    let cluster = Arc::new(Slow::default());
    let world = World::before(cluster.clone()).await;
    let apply = async |text: String| world.hub.apply(&world.owner, &[("t.yaml".into(), text)], false).await.unwrap();
    apply(TRACK.into()).await;
    send(&world, track(), &[observed(1, 10), observed(2, 10)], false).await;
    let revised = apply(TRACK.replace("version: 1.0.0", "version: 1.0.1"));
    assert_eq!(query_while(&world, &cluster, revised).await.unwrap(), 1);
    let grant = "near-track".parse().unwrap();
    let revoked = world.hub.revoke(&world.owner, &grant, "over");
    assert_eq!(query_while(&world, &cluster, revoked).await.unwrap_err().code, codes::GRANT_ENDED);
}

#[tokio::test]
async fn large_events_make_short_pages_and_are_not_all_held_to_be_put_in_order() {
    let world = World::new().await;
    world.hub.apply(&world.owner, &[("t.yaml".into(), TRACK.into())], false).await.unwrap();
    let events: Vec<Value> = (0..40).map(|number| observed(number, 900 << 10)).collect();
    for some in events.chunks(20) {
        send(&world, track(), some, false).await;
    }
    let (mut seen, mut token, mut pages) = (0, None, 0);
    loop {
        let mut pairs = vec![("perPage".to_owned(), "1000".to_owned())];
        pairs.extend(token.map(|token| ("nextPageToken".to_owned(), token)));
        let page = world.hub.epcis_query(&world.owner, &track(), &pairs).await.unwrap();
        let page = page.value();
        assert!(page.document.len() < 10 << 20, "{} bytes", page.document.len());
        (seen, pages) = (seen + page.count, pages + 1);
        token = page.next.clone();
        if token.is_none() {
            break;
        }
    }
    assert_eq!((seen, pages), (40, 4));
    let ordered = vec![("orderBy".to_owned(), "eventTime".to_owned())];
    let refused = world.hub.epcis_query(&world.owner, &track(), &ordered).await.unwrap_err();
    assert_eq!(refused.code, codes::QUERY_INVALID);
    assert_eq!(
        world.hub.epcis_query(&world.near, &track(), &ordered).await.unwrap().value().count,
        30,
        "as it is seen"
    );
}

#[tokio::test]
async fn what_was_set_aside_is_shown_in_answers_of_a_bounded_size() {
    let world = World::new().await;
    let bad = |number: usize| json!({"id": number.to_string(), "sku": "A", "qty": 0, "note": "x".repeat(1_000_000)});
    let events: Vec<Value> = (0..25).map(bad).collect();
    send(&world, product(), &events, true).await;
    let (mut from, mut counts) = (0, Vec::new());
    loop {
        let page = world.hub.quarantine(&world.owner, &product(), from, 1_000).await.unwrap();
        let Some(last) = page.value().last() else { break };
        from = last.offset + 1;
        counts.push(page.value().len());
    }
    assert_eq!((counts.iter().sum::<usize>(), counts.len()), (25, 2), "{counts:?}");
}
