//! Publishing and reading over HTTP: every form that events come and go in.

mod support;

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::{Value, json};
use support::{World, example};
use tradelane_http::ServerLimits;

const EVENTS: &str = "/v1/products/acme-stock/events";

fn stock() -> Vec<String> {
    example("json/acme-stock.ndjson").lines().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_taken_in_every_form() {
    let world = World::start().await;
    let lines = stock();
    let cloud = |i: usize| {
        let data: Value = serde_json::from_str(&lines[i]).unwrap();
        json!({ "specversion": "1.0", "id": format!("e-{i}"), "source": "/erp", "type": "stock", "data": data })
    };
    let forms = [
        ("application/json", lines[0].clone(), 1),
        ("application/json; charset=utf-8", format!("[{},{}]", lines[0], lines[1]), 2),
        ("application/x-ndjson", format!("{}\n{}\n", lines[0], lines[1]), 2),
        ("application/cloudevents+json", cloud(2).to_string(), 1),
        ("application/cloudevents-batch+json", json!([cloud(3), cloud(4)]).to_string(), 2),
    ];
    let mut offset = 0;
    for (media, body, count) in forms {
        let answer = world.post(EVENTS).as_("acme-desk").body(media, body).send().await.must(201).json();
        assert_eq!((answer["offset"].as_u64(), answer["count"].as_u64()), (Some(offset), Some(count)), "{media}");
        let part = json!({ "partition": 0, "offset": offset, "count": count, "receipt": answer["receipt"] });
        assert_eq!((&answer["parts"], &answer["partition"]), (&json!([part]), &json!(0)));
        offset += count;
    }
    let binary = world.post(EVENTS).as_("acme-desk").body("application/json", lines[5 % lines.len()].clone());
    let binary = binary.header("ce-specversion", "1.0").header("ce-id", "e-9").header("ce-source", "/erp");
    binary.header("ce-type", "stock").send().await.must(201);
    let untyped = world.post(EVENTS).as_("acme-desk").body("application/json", lines[0].clone());
    let lacking = untyped.header("ce-specversion", "1.0").send().await.must(400);
    assert_eq!(lacking.json()["code"], "TL-1008");
    let other = world.post(EVENTS).as_("acme-desk").body("text/plain", lines[0].clone()).send().await.must(415);
    assert_eq!(other.json()["type"], "/errors/unsupported-media-type");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_breaks_the_contract_is_refused_with_its_place_or_set_aside() {
    let world = World::start().await;
    let mut bad: Value = serde_json::from_str(&stock()[0]).unwrap();
    bad["sku"] = json!("not-a-sku");
    let batch = format!("{}\n{bad}\n", stock()[0]);
    let ask = || world.post(EVENTS).as_("acme-desk").body("application/x-ndjson", batch.clone());
    let refused = ask().send().await.must(422);
    let problem = refused.json();
    assert_eq!(problem["code"], "TL-1002");
    assert!(problem["places"][0]["pointer"].as_str().unwrap().ends_with("/sku"), "{problem}");
    assert!(!refused.text().contains("not-a-sku"), "a problem never repeats a value");

    let path = format!("{EVENTS}?on-error=quarantine");
    let proceeding = world.post(&path).as_("acme-desk").body("application/x-ndjson", batch.clone());
    let stored = proceeding.send().await.must(201).json();
    assert_eq!(stored["count"], 1);
    assert_eq!(stored["quarantined"][0]["index"], 1);
    let kept = world.get("/v1/products/acme-stock/quarantine").as_("acme-desk").send().await.must(200).json();
    assert_eq!(kept["events"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_with_an_idempotency_key_is_stored_once() {
    let world = World::start().await;
    let send = |body: String, key: &'static str| {
        world.post(EVENTS).as_("acme-desk").header("idempotency-key", key).body("application/json", body).send()
    };
    let first = send(stock()[0].clone(), "\"k-1\"").await.must(201).json();
    let again = send(stock()[0].clone(), "\"k-1\"").await.must(201).json();
    assert_eq!((&first["offset"], &first["duplicate"]), (&again["offset"], &json!(false)));
    assert_eq!(again["duplicate"], true);
    let other = send(stock()[1].clone(), "\"k-1\"").await.must(422).json();
    assert_eq!(other["code"], "TL-4001");
    let unquoted = send(stock()[0].clone(), "k-1").await.must(400).json();
    assert_eq!(unquoted["code"], "TL-1006");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_json_goes_to_the_partition_of_the_key_that_its_contract_names() {
    const SCANS: &str = "/v1/products/northline-tracking/events";
    let world = World::start().await;
    let product = "apiVersion: tradelane/v1\nkind: Product\nspec: {id: northline-tracking, owner: northline, contract: northline-tracking, partitions: 10}\n";
    let files = json!({ "files": [{ "name": "p.yaml", "text": product }] });
    world.post("/v1/apply").as_("northline-desk").json(&files).send().await.must(200);
    let scan = |number: &str, status: &str| json!({ "trackingNumber": number, "status": status, "at": "2026-11-22T10:00:00Z" });
    let send = |media: &str, body: String| world.post(SCANS).as_("northline-desk").body(media, body).send();
    let lines = [scan("abc", "PICKED_UP"), scan("foobar", "PICKED_UP"), scan("abc", "IN_TRANSIT")];
    let lines: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let done = send("application/x-ndjson", lines.clone()).await.must(201).json();
    let places = |done: &Value| -> Vec<(u64, u64)> {
        let part = |part: &Value| (part["partition"].as_u64().unwrap(), part["count"].as_u64().unwrap());
        done["parts"].as_array().unwrap().iter().map(part).collect()
    };
    assert_eq!(places(&done), [(6, 1), (7, 2)], "as Kafka's clients choose");
    let one = send("application/json", scan("abc", "OUT_FOR_DELIVERY").to_string()).await.must(201).json();
    let two = send("application/json", json!([scan("abc", "DELIVERED")]).to_string()).await.must(201).json();
    assert_eq!((&one["partition"], &two["partition"]), (&json!(7), &json!(7)));
    let path = format!("{SCANS}?from=earliest&partition=7");
    let read = world.get(&path).as_("acme-desk").send().await.must(200);
    let events =
        read.text().lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["event"]["status"].clone());
    assert_eq!(events.collect::<Vec<_>>(), ["PICKED_UP", "IN_TRANSIT", "OUT_FOR_DELIVERY", "DELIVERED"]);

    let bad = format!("{lines}{}\n", scan("", "DELIVERED"));
    let refused = send("application/x-ndjson", bad.clone()).await.must(422).json();
    assert_eq!((&refused["code"], &refused["places"][0]["pointer"]), (&json!("TL-1022"), &json!("/3/trackingNumber")));
    let path = format!("{SCANS}?on-error=quarantine");
    let kept = world.post(&path).as_("northline-desk").body("application/x-ndjson", bad).send().await.must(201).json();
    assert_eq!((&kept["count"], &kept["quarantined"][0]["index"]), (&json!(3), &json!(3)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_gets_its_view_in_the_form_that_it_asks_for() {
    let world = World::start().await;
    let count = world.publish_stock().await;
    let path = format!("{EVENTS}?from=earliest&limit=2");
    let read = |media: &'static str| world.get(&path).as_("corner-desk").header("accept", media).send();

    let lines = read("application/x-ndjson").await.must(200);
    let parsed: Vec<Value> = lines.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(parsed.len(), 2);
    assert_eq!(parsed[1]["offset"], 1);
    for hidden in ["/countedBy/name", "/reserved", "/valuation/unitCost", "/bins/0/quantity"] {
        assert!(parsed[0]["event"].pointer(hidden).is_none(), "{hidden} in {}", parsed[0]);
    }
    assert_eq!(parsed[0]["event"]["onHand"], 900, "rounded down to a hundred");
    assert_eq!(lines.header("tradelane-next"), "2");
    assert_eq!(lines.header("link"), "</v1/products/acme-stock/events?from=2>; rel=\"next\"");
    assert_eq!(lines.header("cache-control"), "no-store");

    let page = read("application/json").await.must(200).json();
    assert_eq!(page["events"], json!(parsed));
    assert_eq!((&page["next"], &page["end"]), (&json!(2), &json!(count)));

    let cloud = read("application/cloudevents-batch+json").await.must(200).json();
    assert_eq!(cloud[1]["id"], "1");
    assert_eq!(cloud[1]["data"], parsed[1]["event"]);

    read("text/html").await.must(406);
    let owner = world.get(&path).as_("acme-desk").send().await.must(200);
    let own: Value = serde_json::from_str(owner.text().lines().next().unwrap()).unwrap();
    assert_eq!(own["event"], serde_json::from_str::<Value>(&stock()[0]).unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiting_reader_is_answered_when_an_event_comes() {
    let world = World::start().await;
    let path = format!("{EVENTS}?from=latest&wait=30");
    let waiting = world.get(&path).as_("corner-desk").send();
    let publishing = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        world.publish_stock().await
    };
    let (answer, count) = tokio::join!(waiting, publishing);
    assert_eq!(answer.must(200).text().lines().count() as u64, count);
}

/// Reads an event stream until what was read contains `needle`.
async fn until(body: &mut Incoming, needle: &str) -> String {
    let mut text = String::new();
    while !text.contains(needle) {
        let frame = tokio::time::timeout(Duration::from_secs(60), body.frame()).await.expect("in time");
        let Some(frame) = frame else { panic!("the stream ended after {text}") };
        if let Ok(data) = frame.expect("a frame").into_data() {
            text.push_str(std::str::from_utf8(&data).expect("text"));
        }
    }
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_stream_goes_on_where_it_was_cut_and_ends_with_its_grant() {
    let world = World::start().await;
    let count = world.publish_stock().await;
    let open = |last: Option<u64>| {
        let ask = world.get(EVENTS).as_("corner-desk").header("accept", "text/event-stream");
        match last {
            Some(last) => ask.header("last-event-id", &last.to_string()),
            None => ask,
        }
    };
    let response = open(None).open().await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert!(response.headers().contains_key("tradelane-receipt"));
    let mut body = response.into_body();
    let first = until(&mut body, &format!("id: {}\n", count - 1)).await;
    assert!(first.starts_with("retry: "), "{first}");
    assert_eq!(first.matches("\ndata: ").count() as u64, count);
    drop(body);

    let mut body = open(Some(count - 2)).open().await.into_body();
    let rest = until(&mut body, &format!("id: {}\n", count - 1)).await;
    assert!(!rest.contains(&format!("id: {}\n", count - 2)), "{rest}");

    world.publish_stock().await;
    until(&mut body, &format!("id: {}\n", 2 * count - 1)).await;
    let revoke = world.post("/v1/grants/acme-stock-corner/revoke").as_("acme-desk").json(&json!({ "reason": "Over." }));
    revoke.send().await.must(200);
    let end = until(&mut body, "event: revoked\n").await;
    assert!(end.contains("\"code\":\"TL-300"), "{end}");
    while let Some(frame) = body.frame().await {
        assert!(
            frame.expect("an orderly end").into_data().is_ok_and(|data| data.is_empty() || data.starts_with(b"data"))
        );
    }
    let after = world.get(EVENTS).as_("corner-desk").send().await;
    assert_eq!(after.status, 403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_key_ends_its_event_stream() {
    let limits = ServerLimits { heartbeat: Duration::from_millis(200), ..ServerLimits::default() };
    let world = World::with(limits).await;
    let body = json!({ "kind": "api-key", "lifetimeSeconds": 60 });
    let issued =
        world.post("/v1/principals/corner-desk/credentials").as_("corner-desk").json(&body).send().await.must(201);
    let issued = issued.json();
    let ask = world.get(EVENTS).key(issued["secret"].as_str().unwrap()).header("accept", "text/event-stream");
    let mut stream = ask.open().await.into_body();
    until(&mut stream, "retry: ").await;
    let path = format!("/v1/credentials/{}", issued["id"].as_str().unwrap());
    world.ask(http::Method::DELETE, &path).as_("corner-desk").send().await.must(204);
    until(&mut stream, "event: revoked\n").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_that_stops_tells_its_event_streams() {
    let mut world = World::start().await;
    let ask = world.get(EVENTS).as_("corner-desk").header("accept", "text/event-stream");
    let mut stream = ask.open().await.into_body();
    until(&mut stream, "retry: ").await;
    let stopped = world.stop();
    until(&mut stream, "event: closing\n").await;
    tokio::time::timeout(Duration::from_secs(30), stopped).await.expect("in time").expect("an orderly end");
}
