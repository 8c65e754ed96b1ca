//! What holds for every request, whatever it asks for: TLS, limits, headers, credentials, the log.

mod support;

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use support::World;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tradelane_http::{HttpConfig, Rate, ServeError, Server, ServerLimits, Transport};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_has_its_security_headers_over_both_protocols() {
    let world = World::start().await;
    for answer in [
        world.get("/healthz").send().await.must(200),
        world.get("/v1/products").as_("acme-desk").send_http2().await.must(200),
        world.get("/nowhere").send_http2().await.must(404),
        world.get("/v1/products").send().await.must(401),
        world.get("/docs").send().await.must(200),
    ] {
        assert!(answer.header("strict-transport-security").starts_with("max-age=63072000"));
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert!(answer.header("content-security-policy").starts_with("default-src 'none'"));
        assert!(!answer.header("tradelane-request-id").is_empty());
        assert!(!answer.headers.contains_key("access-control-allow-origin"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_path_takes_the_methods_that_it_names_and_no_others() {
    let world = World::start().await;
    let answer = world.ask(Method::PUT, "/v1/grants").send().await.must(405);
    assert_eq!(answer.header("allow"), "GET,HEAD");
    assert_eq!(answer.json()["code"], "TL-1015");
    let missing = world.get("/epcis/acme-shipments/a/b/c/d").send().await.must(404);
    assert_eq!(missing.json()["type"], "epcisException:NoSuchResourceException");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exactly_one_credential_is_taken_and_only_from_its_header() {
    let world = World::start().await;
    let key = world.key_of("acme-desk").to_owned();
    world.get("/v1/products").header("x-api-key", &key).send().await.must(200);
    world.get("/v1/products").key(&key).header("x-api-key", &key).send().await.must(400);
    world.get("/v1/products").key(&key).key(&key).send().await.must(400);
    world.get(&format!("/v1/products?access_token={key}")).send().await.must(401);
    let wrong = format!("{}A", &key[..key.len() - 1]);
    let refused = world.get("/v1/products").key(&wrong).send().await;
    assert!(refused.status == 401 || wrong == key);
    assert!(!refused.text().contains(&wrong[8..]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_trades_its_secret_for_a_token_that_does_less() {
    let world = World::start().await;
    let body = json!({ "kind": "client-secret", "lifetimeSeconds": 600 });
    let client = world.post("/v1/principals/acme-desk/credentials").as_("acme-desk").json(&body).send().await.must(201);
    let client = client.json();
    let (id, secret) = (client["id"].as_str().unwrap(), client["secret"].as_str().unwrap());
    let form = "application/x-www-form-urlencoded";
    let post = format!("grant_type=client_credentials&scope=read%3Aacme-stock&client_id={id}&client_secret={secret}");
    let token = world.post("/oauth/token").body(form, post.clone()).send().await.must(200);
    assert_eq!(token.header("cache-control"), "no-store");
    let token = token.json();
    assert_eq!((&token["token_type"], &token["scope"]), (&json!("Bearer"), &json!("read:acme-stock")));
    let access = token["access_token"].as_str().unwrap();
    world.get("/v1/products/acme-stock/events").key(access).send().await.must(200);
    let publish = world.post("/v1/products/acme-stock/events").key(access).json(&json!({}));
    publish.send().await.must(403);

    use base64::Engine as _;
    let basic = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{id}:{secret}")));
    let ask = || world.post("/oauth/token").header("authorization", &basic);
    ask().body(form, "grant_type=client_credentials&scope=publish:acme-stock").send().await.must(200);
    let both = ask().body(form, post).send().await.must(400);
    assert_eq!(both.json()["error"], "invalid_request");
    let wrong = format!("grant_type=client_credentials&scope=manage&client_id={id}&client_secret=tls_wrong");
    let refused = world.post("/oauth/token").body(form, wrong).send().await.must(401);
    assert_eq!(refused.json()["error"], "invalid_client");
    let other = world.post("/oauth/token").body(form, "grant_type=password").send().await.must(400);
    assert_eq!(other.json()["error"], "invalid_request");

    let known = world.get("/.well-known/oauth-authorization-server").send().await.must(200).json();
    assert_eq!(known["token_endpoint"], "https://hub.test/oauth/token");
    let keys = world.get("/.well-known/jwks.json").send().await.must(200).json();
    assert!(!keys["keys"].as_array().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_or_too_often_is_refused_in_words() {
    let limits = ServerLimits {
        event_body: 10_000,
        small_body: 1_000,
        uri_bytes: 1_000,
        per_credential: Rate { per_second: 0.01, burst: 12 },
        ..ServerLimits::default()
    };
    let world = World::with(limits).await;
    let events = "/v1/products/acme-stock/events";
    let large = world.post(events).as_("corner-desk").body("application/json", vec![b' '; 10_001]);
    assert_eq!(large.send().await.must(413).json()["code"], "TL-1004");
    let long = world.get(&format!("/v1/products?{}", "a".repeat(1_000))).as_("corner-desk").send().await.must(414);
    assert_eq!(long.json()["code"], "TL-1016");
    let mut last = None;
    for _ in 0..20 {
        last = Some(world.get("/v1/products").as_("corner-desk").send().await);
    }
    let last = last.unwrap().must(429);
    assert_eq!(last.json()["code"], "TL-5001");
    assert!(last.header("retry-after").parse::<u32>().unwrap() > 0);
    assert!(last.header("ratelimit").starts_with("\"credential\";r=0;"));
    world.get("/v1/products").as_("medidis-desk").send().await.must(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_does_not_speak_is_closed() {
    let limits = ServerLimits {
        handshake: Duration::from_millis(300),
        header_read: Duration::from_millis(300),
        body_idle: Duration::from_millis(300),
        ..ServerLimits::default()
    };
    let world = World::with(limits).await;
    let within =
        |what: &'static str| async move { tokio::time::timeout(Duration::from_secs(20), async {}).await.expect(what) };
    within("a clock").await;

    let mut silent = TcpStream::connect(world.address).await.unwrap();
    let mut buffer = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(20), silent.read_to_end(&mut buffer)).await;
    assert!(ended.is_ok(), "a handshake that never begins");

    let mut slow = world.connect(&[b"http/1.1"]).await;
    slow.write_all(b"GET /healthz HTTP/1.1\r\nhost: loc").await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(20), slow.read_to_end(&mut buffer)).await;
    assert!(ended.is_ok(), "a head that never ends");

    let mut body = world.connect(&[b"http/1.1"]).await;
    let head = format!(
        "POST /v1/products/acme-stock/events HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\ncontent-length: 100\r\n\r\n{{",
        world.key_of("acme-desk")
    );
    body.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 12];
    let read = tokio::time::timeout(Duration::from_secs(20), body.read_exact(&mut answer)).await;
    read.expect("a body that never comes").unwrap();
    assert_eq!(&answer, b"HTTP/1.1 408");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_peer_has_so_many_connections_and_no_more() {
    let limits = ServerLimits { connections_per_peer: 3, ..ServerLimits::default() };
    let world = World::with(limits).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(world.connect(&[b"http/1.1"]).await);
    }
    let mut more = TcpStream::connect(world.address).await.unwrap();
    let mut buffer = [0; 1];
    let read =
        tokio::time::timeout(Duration::from_secs(20), more.read(&mut buffer)).await.expect("it is closed at once");
    assert!(matches!(read, Ok(0) | Err(_)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_http_is_offered_on_loopback_only() {
    let world = World::start().await;
    let mut config = HttpConfig::development("0.0.0.0:0".parse().unwrap(), "unused");
    config.transport = Transport::PlainLoopback;
    let refused = Server::bind(config, world.hub.clone()).await;
    assert!(matches!(refused, Err(ServeError::Transport(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documentation_says_what_there_is_and_runs_nothing() {
    let world = World::start().await;
    let document: Value = world.get("/openapi.json").send().await.must(200).json();
    assert_eq!(document["openapi"], "3.1.0");
    let page = world.get("/docs").send().await.must(200);
    assert!(!page.header("content-security-policy").contains("script-src"));
    assert!(page.text().contains("/v1/products/{product}/events"));
    world.get("/errors/contract-violation").send().await.must(200);
    let text = world.get("/errors/contract-violation").header("accept", "text/markdown").send().await.must(200);
    assert!(text.text().starts_with("# TL-1002"));
    world.get("/errors/none").send().await.must(404);
    let metrics = world.get("/metrics").send().await.must(200);
    assert!(
        metrics.text().contains("tradelane_http_requests_total") && metrics.text().contains("tradelane_audit_leaves")
    );
    assert_eq!(world.get("/readyz").send().await.must(200).json()["ready"], true);
    let options = world.ask(Method::OPTIONS, "/epcis/acme-shipments/capture").send().await.must(204);
    assert_eq!(options.header("gs1-capture-error-behaviour"), "all");
    assert_eq!(options.header("gs1-epcis-version"), "2.0.0");
    let old = world.get("/epcis/acme-shipments/events").as_("acme-desk").header("gs1-epcis-max", "1.2").send().await;
    assert_eq!(old.must(406).json()["type"], "epcisException:NotAcceptableException");
}

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        std::io::Write::write(&mut *self.0.lock().unwrap(), bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn the_log_tells_of_each_request_and_holds_no_value_and_no_secret() {
    let captured = Captured::default();
    let writer = captured.clone();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::set_global_default(subscriber).expect("one subscriber in this process");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut secrets =
        vec!["Ines Duarte".to_owned(), "E-1187".to_owned(), "s3cr3t-query".to_owned(), "s3cr3t-path".to_owned()];
    runtime.block_on(async {
        let world = World::start().await;
        world.publish_stock().await;
        secrets.push(world.key_of("corner-desk").to_owned());
        secrets.push(world.key_of("corner-desk").split('_').nth(2).unwrap().to_owned());
        let events = "/v1/products/acme-stock/events";
        world.get(&format!("{events}?purpose=s3cr3t-query")).as_("corner-desk").send().await;
        world.get("/v1/products/s3cr3t-path").as_("corner-desk").send().await.must(404);
        let broken = r#"{"countedBy":{"name":"Ines Duarte","employeeId":"E-1187"},"sku":"x"}"#;
        world.post(events).as_("acme-desk").body("application/json", broken).send().await.must(422);
        world.post("/v1/erasures").as_("acme-desk").json(&json!({ "subject": "E-1187" })).send().await.must(200);
        world.get(events).key("tlk_s3cr3t-query").send().await.must(401);
    });
    let log = String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("\"route\":\"/v1/products/{product}/events\"") && log.contains("\"organization\":\"corner\""));
    for secret in secrets {
        assert!(!log.contains(&secret), "the log holds {secret}");
    }
}
