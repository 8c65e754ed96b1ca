//! Every operation of the OpenAPI document that is not public is asked for without credentials, as somebody else, and as
//! somebody who may; and each that succeeds must be on record. An operation without an example here fails the test, so
//! that nobody can add one that is not tried.

mod support;

use http::Method;
use serde_json::{Value, json};
use support::{Ask, World, example};

/// What somebody of another organization is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stranger {
    /// 403 or 404.
    Refused,
    /// It has its own of these: the answer is of its own organization.
    Own,
}

struct Example {
    path: String,
    body: Option<(&'static str, String)>,
    status: u16,
    stranger: Stranger,
}

fn of(path: impl Into<String>, status: u16, stranger: Stranger) -> Example {
    Example { path: path.into(), body: None, status, stranger }
}

impl Example {
    fn json(mut self, body: Value) -> Self {
        self.body = Some(("application/json", body.to_string()));
        self
    }
}

const STOCK: &str = "/v1/products/acme-stock";
const EPCIS: &str = "/epcis/acme-shipments";

/// A request that acme's desk may make, prepared so that it succeeds.
async fn prepared(world: &World, operation: &str) -> Option<Example> {
    use Stranger::{Own, Refused};
    let event: Value = serde_json::from_str(example("json/acme-stock.ndjson").lines().next()?).ok()?;
    let shipment = single_event(operation);
    Some(match operation {
        "publishEvents" => of(format!("{STOCK}/events"), 201, Refused).json(event),
        "readEvents" => of(format!("{STOCK}/events?limit=1"), 200, Refused),
        "listProducts" => of("/v1/products", 200, Own),
        "getProduct" => of(STOCK, 200, Own),
        "getProductSchema" => of(format!("{STOCK}/schema"), 200, Own),
        "listQuarantine" => of(format!("{STOCK}/quarantine"), 200, Refused),
        "requestAccess" => {
            let body = json!({ "product": "northline-tracking", "purpose": "claims", "note": "Two parcels." });
            of("/v1/access-requests", 201, Own).json(body)
        }
        "listGrants" => of("/v1/grants", 200, Own),
        "approveGrant" => of(format!("/v1/grants/{}/approve", requested(world).await), 200, Refused).json(json!({})),
        "denyGrant" => {
            of(format!("/v1/grants/{}/deny", requested(world).await), 200, Refused).json(json!({ "reason": "No." }))
        }
        "revokeGrant" => of("/v1/grants/acme-stock-corner/revoke", 200, Refused).json(json!({ "reason": "Over." })),
        "apply" => {
            let text = example("network/acme/stock.yaml");
            of("/v1/apply?dry-run=true", 200, Refused).json(json!({ "files": [{ "name": "stock", "text": text }] }))
        }
        "impact" => {
            let text = example("network/acme/stock.yaml");
            of("/v1/impact", 200, Refused).json(json!({ "files": [{ "name": "stock", "text": text }] }))
        }
        "listNotices" => of("/v1/notices", 200, Own),
        "moveGrant" => {
            superseded(world).await;
            of("/v1/grants/northline-tracking-acme/move", 200, Refused)
        }
        "issueCredential" => of("/v1/principals/acme-erp/credentials", 201, Refused)
            .json(json!({ "kind": "client-secret", "lifetimeSeconds": 60 })),
        "listCredentials" => of("/v1/credentials", 200, Own),
        "registerCertificate" => of("/v1/principals/acme-erp/certificates", 201, Refused)
            .json(json!({ "sha256": "7d".repeat(32), "lifetimeSeconds": 3600 })),
        "revokeCredential" => of(format!("/v1/credentials/{}", credential(world).await), 204, Refused),
        "eraseSubject" => of("/v1/erasures", 200, Own).json(json!({ "subject": "E-1187" })),
        "explainEvent" => {
            of(format!("{STOCK}/explain"), 200, Refused).json(json!({ "organization": "medidis", "event": event }))
        }
        "detokenize" => {
            let body = json!({ "grant": "acme-shipments-northline", "token": token(world).await });
            of("/v1/products/acme-shipments/detokenize", 200, Refused).json(body)
        }
        "auditTrail" => of("/v1/audit/trail?limit=5", 200, Own),
        "auditReceipt" => of(format!("/v1/audit/receipts/{}", receipt(world).await), 200, Refused),
        "epcisCapture" => {
            let document = example("epcis/acme-production.json");
            Example { body: Some(("application/ld+json", document)), ..of(format!("{EPCIS}/capture"), 202, Refused) }
        }
        "epcisCaptureJobs" => of(format!("{EPCIS}/capture"), 200, Refused),
        "epcisCaptureJob" => of(captured(world).await, 200, Refused),
        "epcisCaptureEvent" => of(format!("{EPCIS}/events"), 201, Refused).json(shipment),
        "epcisRoot" => of(EPCIS, 200, Own),
        "epcisEvents" => of(format!("{EPCIS}/events?EQ_action=OBSERVE&perPage=2"), 200, Refused),
        "epcisEvent" => of(format!("{EPCIS}/events/{}", stored_event(world).await), 200, Refused),
        "epcisValues" => of(format!("{EPCIS}/eventTypes"), 200, Refused),
        "epcisValue" => of(format!("{EPCIS}/eventTypes/ObjectEvent"), 200, Refused),
        "epcisValueEvents" => of(format!("{EPCIS}/eventTypes/ObjectEvent/events"), 200, Refused),
        "epcisQueries" => of(format!("{EPCIS}/queries"), 200, Own),
        "epcisCreateQuery" => of(format!("{EPCIS}/queries"), 201, Refused).json(query("created")),
        "epcisQuery" => of(format!("{EPCIS}/queries/{}", stored_query(world, "shown").await), 200, Refused),
        "epcisDeleteQuery" => of(format!("{EPCIS}/queries/{}", stored_query(world, "deleted").await), 204, Refused),
        "epcisQueryEvents" => of(format!("{EPCIS}/queries/{}/events", stored_query(world, "run").await), 200, Refused),
        id if id.starts_with("registry") => return schemas(world, id).await,
        _ => return None,
    })
}

const SUBJECT: &str = "/registry/subjects/acme-stock-value";

/// A subject of its own for each operation, so that none is in the way of another.
async fn schemas(world: &World, operation: &str) -> Option<Example> {
    use Stranger::{Own, Refused};
    let versions = format!("{SUBJECT}/versions");
    let schema = || json!({ "schemaType": "JSON", "schema": "{\"type\":\"object\"}" });
    let made = world.post(&versions).as_("acme-desk").json(&schema()).send().await.must(200).json();
    let spare = format!("/registry/subjects/{operation}");
    world.post(&format!("{spare}/versions")).as_("acme-desk").json(&schema()).send().await.must(200);
    let set = |what: &str, path: String, body: Value| {
        world.ask(Method::PUT, &format!("/registry/{what}/{path}")).as_("acme-desk").json(&body).send()
    };
    set("config", "acme-stock-value".into(), json!({ "compatibility": "FULL" })).await.must(200);
    set("mode", "acme-stock-value".into(), json!({ "mode": "READWRITE" })).await.must(200);
    let id = format!("/registry/schemas/ids/{}", made["id"]);
    let level = json!({ "compatibility": "BACKWARD" });
    let mode = json!({ "mode": "READWRITE" });
    Some(match operation {
        "registrySubjects" => of("/registry/subjects", 200, Own),
        "registryLookup" => of(SUBJECT, 200, Refused).json(schema()),
        "registryDeleteSubject" => of(spare, 200, Refused),
        "registryVersions" => of(versions, 200, Refused),
        "registryRegister" => of(versions, 200, Refused).json(schema()),
        "registryVersion" => of(format!("{versions}/1"), 200, Refused),
        "registryDeleteVersion" => of(format!("{spare}/versions/1"), 200, Refused),
        "registryVersionSchema" => of(format!("{versions}/latest/schema"), 200, Refused),
        "registryReferencedBy" => of(format!("{versions}/1/referencedby"), 200, Refused),
        "registryTypes" => of("/registry/schemas/types", 200, Own),
        "registrySchema" => of(id, 200, Refused),
        "registrySchemaText" => of(format!("{id}/schema"), 200, Refused),
        "registrySchemaVersions" => of(format!("{id}/versions"), 200, Refused),
        "registrySchemaSubjects" => of(format!("{id}/subjects"), 200, Refused),
        "registryConfig" => of("/registry/config", 200, Own),
        "registryPutConfig" => of("/registry/config", 200, Refused).json(level),
        "registryDeleteConfig" => of("/registry/config", 200, Refused),
        "registrySubjectConfig" => of("/registry/config/acme-stock-value", 200, Refused),
        "registryPutSubjectConfig" => of("/registry/config/acme-stock-value", 200, Refused).json(level),
        "registryDeleteSubjectConfig" => of("/registry/config/acme-stock-value", 200, Refused),
        "registryMode" => of("/registry/mode", 200, Own),
        "registryPutMode" => of("/registry/mode", 200, Refused).json(mode),
        "registrySubjectMode" => of("/registry/mode/acme-stock-value", 200, Refused),
        "registryPutSubjectMode" => of("/registry/mode/acme-stock-value", 200, Refused).json(mode),
        "registryDeleteSubjectMode" => of("/registry/mode/acme-stock-value", 200, Refused),
        "registryCompatibility" => {
            of(format!("/registry/compatibility{}", &versions["/registry".len()..]), 200, Refused).json(schema())
        }
        "registryVersionCompatibility" => {
            of(format!("/registry/compatibility{}/1", &versions["/registry".len()..]), 200, Refused).json(schema())
        }
        _ => return None,
    })
}

fn query(name: &str) -> Value {
    json!({ "name": name, "query": { "EQ_action": ["OBSERVE"] } })
}

/// An event under an identity of its own.
fn single_event(purpose: &str) -> Value {
    let document: Value = serde_json::from_str(&example("epcis/acme-shipments.json")).expect("JSON");
    let mut event = document["epcisBody"]["eventList"][0].clone();
    event["@context"] = document["@context"].clone();
    event["eventID"] = json!(format!("https://acme.example/events/{purpose}"));
    event
}

async fn requested(world: &World) -> String {
    let body = json!({ "product": "acme-stock", "purpose": "allocation", "note": "" });
    let answer = world.post("/v1/access-requests").as_("northline-desk").json(&body).send().await.must(201);
    answer.json()["id"].as_str().expect("an id").to_owned()
}

/// The carrier breaks its contract, with notice: acme's grant stays with the version that it has.
async fn superseded(world: &World) {
    let broken = example("network/northline/tracking.odcs.yaml")
        .replace("version: 1.0.0", "version: 2.0.0")
        .replace("- {name: sscc, logicalType: string, ", "- {name: sscc, logicalType: string, required: true, ")
        .replace("property: tradelane\n    value:", "property: tradelane\n    value:\n      evolution: {notice: P90D}");
    let body = json!({ "files": [{ "name": "tracking", "text": broken }] });
    world.post("/v1/apply").as_("northline-desk").json(&body).send().await.must(200);
}

async fn credential(world: &World) -> String {
    let body = json!({ "kind": "api-key", "lifetimeSeconds": 60 });
    let issued = world.post("/v1/principals/acme-erp/credentials").as_("acme-desk").json(&body).send().await.must(201);
    issued.json()["id"].as_str().expect("an id").to_owned()
}

async fn receipt(world: &World) -> String {
    world.get("/v1/products").as_("acme-desk").send().await.must(200).header("tradelane-receipt").to_owned()
}

async fn captured(world: &World) -> String {
    let document = example("epcis/acme-shipments.json");
    let ask = world.post(&format!("{EPCIS}/capture")).as_("acme-desk").header("gs1-capture-error-behaviour", "proceed");
    ask.body("application/json", document).send().await.must(202).header("location").to_owned()
}

async fn stored_event(world: &World) -> String {
    let event = single_event("stored");
    let ask = world.post(&format!("{EPCIS}/events")).as_("acme-desk");
    let answer = ask.json(&event).send().await;
    assert!(answer.status == 201 || answer.status == 409, "{}", answer.text());
    "https:%2F%2Facme.example%2Fevents%2Fstored".to_owned()
}

async fn stored_query(world: &World, name: &str) -> String {
    let ask = world.post(&format!("{EPCIS}/queries")).as_("acme-desk");
    let answer = ask.json(&query(name)).send().await;
    assert!(answer.status == 201 || answer.status == 409, "{}", answer.text());
    name.to_owned()
}

/// A token as the carrier sees it.
async fn token(world: &World) -> String {
    stored_event(world).await;
    let read = world.get("/v1/products/acme-shipments/events").as_("northline-desk");
    let page = read.header("accept", "application/json").send().await.must(200).json();
    let mut events = page["events"].as_array().expect("events").iter();
    let order = events.find_map(|e| e["event"]["acme:commercial"]["acme:orderRef"].as_str());
    order.expect("a token in the carrier's view").to_owned()
}

fn request<'a>(world: &'a World, method: &Method, example: &Example) -> Ask<'a> {
    let ask = world.ask(method.clone(), &example.path);
    match &example.body {
        Some((media, body)) => ask.body(media, body.clone()),
        None => ask,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_operation_goes_past_authentication_authorization_or_audit() {
    let world = World::start().await;
    world.publish_stock().await;
    let document: Value = serde_json::from_str(tradelane_http::openapi()).unwrap();
    let mut tried = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let security = operation["security"].as_array().unwrap();
            let governed = security.iter().any(|scheme| scheme.get("bearer").is_some());
            if !governed {
                continue;
            }
            let id = operation["operationId"].as_str().unwrap();
            let method: Method = method.to_ascii_uppercase().parse().unwrap();
            let example = prepared(&world, id).await;
            let example = example.unwrap_or_else(|| panic!("{id} ({method} {path}) has no example in this test"));

            let unknown = request(&world, &method, &example).send().await;
            assert_eq!(unknown.status, 401, "{id} without credentials");
            assert!(unknown.header("www-authenticate").starts_with("Bearer"), "{id}");
            let media = if id.starts_with("registry") {
                "application/vnd.schemaregistry.v1+json"
            } else {
                "application/problem+json"
            };
            assert_eq!(unknown.header("content-type"), media, "{id}");

            if example.stranger == Stranger::Refused {
                // Every organization of the network has a grant on the shipments, and some on the stock by now; the operator's has none.
                let granted = id.starts_with("epcis") || id.starts_with("registry");
                let key = if granted { &world.operator } else { world.key_of("northline-desk") };
                let other = request(&world, &method, &example).key(key).send().await;
                assert!(
                    matches!(other.status.as_u16(), 403 | 404),
                    "{id} as a stranger: {} {}",
                    other.status,
                    other.text()
                );
            }

            let before = world.leaves().await;
            let answer = request(&world, &method, &example).as_("acme-desk").send().await;
            assert_eq!(answer.status.as_u16(), example.status, "{id}: {}", answer.text());
            let leaf: u64 =
                answer.header("tradelane-receipt").parse().unwrap_or_else(|_| panic!("{id} has no receipt"));
            assert!(leaf >= before, "{id}: leaf {leaf} was in the log before");
            assert!(world.leaves().await > leaf, "{id}: leaf {leaf} is not in the log");
            let proof = world.get(&format!("/v1/audit/receipts/{leaf}")).as_("acme-desk").send().await.must(200);
            assert!(proof.text().starts_with("c2sp.org/tlog-proof@v1\n"), "{id}");
            tried += 1;
        }
    }
    assert!(tried >= 60, "{tried} operations were tried");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_in_a_version_that_ends_says_since_when_until_when_and_where_to_read_more() {
    let world = World::start().await;
    let read = || world.get("/v1/products/northline-tracking/events").as_("acme-desk").send();
    let before = read().await.must(200);
    assert!(before.headers.get("deprecation").is_none() && before.headers.get("sunset").is_none());
    superseded(&world).await;
    let answer = read().await.must(200);
    let since = answer.header("deprecation").strip_prefix('@').and_then(|time| time.parse::<i64>().ok());
    assert!(since.is_some_and(|since| since > 1_700_000_000), "{}", answer.header("deprecation"));
    assert!(answer.header("sunset").ends_with(" GMT"), "{}", answer.header("sunset"));
    assert!(answer.header("link").contains("</v1/notices>; rel=\"deprecation\""), "{}", answer.header("link"));
    let told = world.get("/v1/notices").as_("acme-desk").send().await.must(200).json();
    assert_eq!(told["notices"][0]["grant"], "northline-tracking-acme");
    assert_eq!((&told["notices"][0]["version"], &told["notices"][0]["next"]), (&json!("1.0.0"), &json!("2.0.0")));
    let own = world.get("/v1/products/northline-tracking/events").as_("northline-desk").send().await.must(200);
    assert!(own.headers.get("sunset").is_none(), "its owner reads the newest version");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_an_earlier_version_are_taken_where_the_request_says_so() {
    let world = World::start().await;
    superseded(&world).await;
    // The newer version demands an `sscc`.
    let scan = json!({ "trackingNumber": "N-1", "status": "DELIVERED", "at": "2026-11-22T10:00:00Z" });
    let publish = |query: &str| {
        let path = format!("/v1/products/northline-tracking/events{query}");
        world.post(&path).as_("northline-desk").json(&scan).send()
    };
    assert_eq!(publish("").await.must(422).json()["code"], "TL-1002");
    publish("?version=1").await.must(201);
    assert_eq!(publish("?version=2").await.must(422).json()["code"], "TL-1002");
    for unknown in ["?version=3", "?version=-1", "?version=1.0.0"] {
        assert_eq!(publish(unknown).await.must(400).json()["code"], "TL-1006", "{unknown}");
    }
    let seen = world.get("/v1/products/northline-tracking/events").as_("acme-desk").send().await.must(200);
    assert!(seen.text().contains("\"DELIVERED\""), "{}", seen.text());
}
