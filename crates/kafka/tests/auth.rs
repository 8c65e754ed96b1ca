//! Who is it? Every mechanism, and every way in which it is not.

mod support;

use std::time::Duration;

use kafka_protocol::messages::{ApiVersionsRequest, MetadataRequest, SaslHandshakeRequest, SaslHandshakeResponse};
use kafka_protocol::protocol::StrBytes;
use support::{World, issue, issue_kind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tradelane_keys::{MacKey, sha256};
use tradelane_model::organization::CredentialKind;

fn all() -> MetadataRequest {
    MetadataRequest::default().with_topics(None)
}

/// The client's side of SCRAM-SHA-256, up to the proof (RFC 5802, section 3).
fn proof(secret: &str, first_bare: &str, challenge: &str) -> String {
    let decode = |text: &str| base64::Engine::decode(&base64::engine::general_purpose::STANDARD, text).unwrap();
    let encode = |bytes: &[u8]| base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bytes);
    let field = |name: &str| challenge.split(',').find_map(|part| part.strip_prefix(name)).unwrap().to_owned();
    let (nonce, salt, rounds) = (field("r="), decode(&field("s=")), field("i=").parse::<u32>().unwrap());
    let password = MacKey::new(secret.as_bytes());
    let mut block = password.mac(&[&salt[..], &[0, 0, 0, 1]].concat());
    let mut salted = block;
    for _ in 1..rounds {
        block = password.mac(&block);
        salted.iter_mut().zip(block).for_each(|(out, byte)| *out ^= byte);
    }
    let client_key = MacKey::new(&salted).mac(b"Client Key");
    let without_proof = format!("c=biws,r={nonce}");
    let signed = format!("{first_bare},{challenge},{without_proof}");
    let signature = MacKey::new(&sha256(&client_key)).mac(signed.as_bytes());
    let proof: Vec<u8> = client_key.iter().zip(signature).map(|(key, mask)| key ^ mask).collect();
    format!("{without_proof},p={}", encode(&proof))
}

async fn scram(world: &World, user: &str, secret: &str) -> i16 {
    let mut client = world.connect().await;
    let bare = format!("n={user},r=nonce");
    let first = client.sasl("SCRAM-SHA-256", format!("n,,{bare}").as_bytes()).await;
    assert_eq!(first.error_code, 0, "a user who does not exist gets as far as one who does");
    let challenge = String::from_utf8(first.auth_bytes.to_vec()).unwrap();
    let last = client.sasl_next(proof(secret, &bare, &challenge).as_bytes()).await;
    if last.error_code == 0 {
        assert!(last.auth_bytes.starts_with(b"v=") && last.session_lifetime_ms > 0);
        assert_eq!(client.ask(9, &all()).await.topics.len(), 1);
    } else {
        assert!(client.is_closed().await);
    }
    last.error_code
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_key_is_proved_by_scram_and_nothing_else_is() {
    let world = World::new().await;
    let key = &world.keys["near.app"];
    let id = key.split('_').nth(1).unwrap();
    assert_eq!(scram(&world, id, key).await, 0);
    assert_eq!(scram(&world, id, &world.keys["far.app"]).await, 58);
    assert_eq!(scram(&world, "0123456789abcdef", key).await, 58);
    world.revoke_key("near.app").await;
    assert_eq!(scram(&world, id, key).await, 58);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_or_a_token_is_a_password_and_a_token_is_a_bearer() {
    let world = World::new().await;
    let secret = issue_kind(&world.hub, &world.operator, "near.app", CredentialKind::ClientSecret).await;
    let id = secret.split('_').nth(1).unwrap();
    let token = world.hub.issue_token(id, &secret, "read").await.unwrap().value().access_token.clone();
    let mut client = world.connect().await;
    let answer = client.plain(&token).await;
    assert_eq!(answer.error_code, 0);
    assert!((1..=600_000).contains(&answer.session_lifetime_ms), "{}", answer.session_lifetime_ms);
    let mut client = world.connect().await;
    let bearer = format!("n,,\x01auth=Bearer {token}\x01\x01");
    assert_eq!(client.sasl("OAUTHBEARER", bearer.as_bytes()).await.error_code, 0);
    assert_eq!(client.ask(9, &all()).await.topics.len(), 1);
    // A refused token: the client is told why, says that it heard, and is refused (RFC 7628, 3.2.3).
    let mut client = world.connect().await;
    let told = client.sasl("OAUTHBEARER", b"n,,\x01auth=Bearer nonsense\x01\x01").await;
    assert_eq!((told.error_code, &told.auth_bytes[..]), (0, &br#"{"status":"invalid_token"}"#[..]));
    assert_eq!(client.sasl_next(b"\x01").await.error_code, 58);
    assert!(client.is_closed().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_renewed_by_the_same_principal_only() {
    let world = World::new().await;
    let mut client = world.client("near.app").await;
    let rotated = issue(&world.hub, &world.operator, "near.app").await;
    assert_eq!(client.plain(&rotated).await.error_code, 0);
    world.revoke_key("near.app").await;
    assert_eq!(client.ask(9, &all()).await.topics.len(), 1, "the new key holds");
    let other = client.plain(&world.keys["far.app"]).await;
    assert_eq!(other.error_code, 58);
    assert!(client.is_closed().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn before_authentication_nothing_is_answered_but_what_leads_to_it() {
    let world = World::with(|limits| limits.small_request = 4_096).await;
    for (key, name, ..) in tradelane_kafka::served(true) {
        if ["ApiVersions", "SaslHandshake", "SaslAuthenticate"].contains(&name) {
            continue;
        }
        let mut client = world.connect().await;
        client.send_body(key, 4, 1, &[0; 64]).await;
        assert!(client.is_closed().await, "{name}");
    }
    let mut client = world.connect().await;
    assert_eq!(client.ask(3, &ApiVersionsRequest::default().with_client_software_name("x".into())).await.error_code, 0);
    client.stream.write_u32(5_000).await.unwrap();
    assert!(client.is_closed().await, "a large request of nobody");
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_from_the_future_are_answered_in_the_oldest_form() {
    let world = World::new().await;
    let mut client = world.connect().await;
    client.send_body(18, 77, 2, &[1, 2, 3]).await;
    let answer = client.answer::<ApiVersionsRequest>(0).await.unwrap();
    assert_eq!(answer.error_code, 35);
    let produce = answer.api_keys.iter().find(|api| api.api_key == 0).unwrap();
    assert_eq!((produce.min_version, produce.max_version), (0, 13));
    assert!(answer.api_keys.iter().all(|api| ![69, 71, 72].contains(&api.api_key) && api.api_key < 10_000));
    let answer = client.ask(3, &ApiVersionsRequest::default()).await;
    assert_eq!((answer.error_code, answer.finalized_features_epoch), (0, -1));
    assert!(answer.supported_features.is_empty() && answer.finalized_features.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_is_not_offered_is_refused_with_what_is() {
    let world = World::new().await;
    for (version, mechanism, error) in [(1, "GSSAPI", 33), (0, "PLAIN", 35)] {
        let mut client = world.connect().await;
        let handshake = SaslHandshakeRequest::default().with_mechanism(StrBytes::from_static_str(mechanism));
        let answer: SaslHandshakeResponse = client.ask(version, &handshake).await;
        assert_eq!((answer.error_code, answer.mechanisms.len()), (error, 4));
        assert!(client.is_closed().await);
    }
    let mut client = world.connect().await;
    assert_eq!(client.sasl_next(b"\0a\0b").await.error_code, 34, "a token without a handshake");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_served_ends_the_connection_of_whoever_asks() {
    let world = World::new().await;
    let served: Vec<i16> = tradelane_kafka::served(false).iter().map(|(key, ..)| *key).collect();
    for key in (0..=100).chain([10_000, -1]).filter(|key| !served.contains(key)) {
        let mut client = world.client("near.app").await;
        client.send_body(key, 0, 1, &[0; 16]).await;
        assert!(client.is_closed().await, "API {key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_on_a_plain_port_and_http_end_at_once() {
    let world = World::new().await;
    for hello in [&b"\x16\x03\x01\x02\x00\x01\x00\x01"[..], b"GET / HTTP/1.1\r\n\r\n"] {
        let mut client = world.connect().await;
        client.stream.write_all(hello).await.unwrap();
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(10), client.stream.read_to_end(&mut rest)).await;
        assert!(ended.is_ok() && rest.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn places_are_limited_by_credential_and_given_back() {
    let world = World::with(|limits| limits.connections_per_credential = 1).await;
    let first = world.client("near.app").await;
    assert_eq!(world.connect().await.plain(&world.keys["near.app"]).await.error_code, 58);
    drop(first);
    for _ in 0..100 {
        if world.connect().await.plain(&world.keys["near.app"]).await.error_code == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the place was not given back");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_guesses_is_no_longer_listened_to() {
    let world = World::with(|limits| {
        limits.refusals_per_peer = tradelane_kafka::Rate { per_second: 0.001, burst: 3 };
    })
    .await;
    for _ in 0..3 {
        assert_eq!(world.connect().await.plain("tlk_wrong").await.error_code, 58);
    }
    let mut client = world.connect().await;
    let handshake = SaslHandshakeRequest::default().with_mechanism("PLAIN".into());
    client.ask(1, &handshake).await;
    let request = kafka_protocol::messages::SaslAuthenticateRequest::default();
    client.send(2, &request.with_auth_bytes("\0a\0b".into())).await;
    assert!(client.is_closed().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_stops_ends_waits_and_connections() {
    let mut world = World::with(|limits| limits.fetch_wait = Duration::from_secs(300)).await;
    let mut idle = world.client("near.app").await;
    world.stop();
    assert!(idle.is_closed().await);
    world.server.take().unwrap().await.unwrap();
}
