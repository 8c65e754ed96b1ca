//! What clients see that are still sending when they are refused: the answer, with a real client of its own mind.

mod support;

use std::io::Write;
use std::process::{Command, Stdio};

use support::World;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const LARGE: usize = 50 << 20;
const NDJSON: &str = "content-type: application/x-ndjson";

/// What curl saw: its exit code and the answer's status.
fn curl(port: u16, path: &str, headers: &[&str], protocol: &str) -> (i32, String) {
    let mut command = Command::new("curl");
    command.args(["-sk", protocol, "--max-time", "60", "-o", "/dev/null", "-w", "%{http_code}", "--data-binary", "@-"]);
    command.args(headers.iter().flat_map(|header| ["-H", header]));
    command.arg(format!("https://localhost:{port}{path}"));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    // curl reads all of it before it sends anything.
    input.write_all(&vec![b' '; LARGE]).unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

fn has_curl() -> bool {
    Command::new("curl").arg("-V").output().is_ok_and(|output| output.status.success())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_sees_why_it_is_refused_although_it_sends_fifty_megabytes() {
    if !has_curl() {
        eprintln!("SKIPPED: curl is not installed");
        return;
    }
    let world = World::start().await;
    let key = format!("authorization: Bearer {}", world.key_of("acme-desk"));
    let events = "/v1/products/acme-stock/events";
    for protocol in ["--http1.1", "--http2"] {
        // "Expect:" keeps curl from asking first; with it, it must not send at all.
        for expect in ["expect:", "expect: 100-continue"] {
            for (path, credentials, status) in [
                (events, "x-none: 1", "401"),
                (events, key.as_str(), "413"),
                ("/nowhere", key.as_str(), "404"),
                ("/v1/grants", key.as_str(), "405"),
            ] {
                let (port, headers) = (world.address.port(), [credentials.to_owned(), expect.to_owned()]);
                let seen = tokio::task::spawn_blocking(move || {
                    curl(port, path, &[&headers[0], &headers[1], NDJSON], protocol)
                });
                let seen = seen.await.unwrap();
                assert_eq!(seen, (0, status.to_owned()), "{protocol} {path} {expect}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_reads_only_after_it_has_sent_everything_sees_the_answer_and_goes_on() {
    let world = World::start().await;
    let mut stream = world.connect(&[b"http/1.1"]).await;
    let head = format!("POST /v1/products HTTP/1.1\r\nhost: localhost\r\ncontent-length: {LARGE}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let piece = vec![b' '; 1 << 20];
    for _ in 0..LARGE >> 20 {
        stream.write_all(&piece).await.unwrap();
    }
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).await.unwrap();
    let statuses: Vec<&str> = answers.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
    assert_eq!(statuses, ["405", "200"], "{answers}");
}
