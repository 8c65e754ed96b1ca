//! The hub's HTTP API, as a client sees it. Blocking: a command does one thing at a time.
//!
//! Knows paths, headers and problems (RFC 9457); what answers mean is the commands' affair.

use std::io::{BufReader, Read};
use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};

use crate::environment::variable;
use crate::failure::{Failure, Result};
use crate::profile::{Key, Profile};

/// The largest answer that is read into memory.
const MAX_ANSWER: u64 = 256 << 20;
/// What may stand in one segment of a path or one value of a query.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A connection to one hub, with one key.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    agent: ureq::Agent,
    base: String,
    key: Option<Key>,
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// What is sent with a request.
#[derive(Debug, Default)]
pub(crate) struct Send<'a> {
    pub(crate) content_type: Option<&'a str>,
    pub(crate) accept: Option<&'a str>,
    pub(crate) headers: &'a [(&'a str, &'a str)],
    pub(crate) body: &'a [u8],
}

impl Client {
    /// A client for the hub of this profile.
    pub(crate) fn new(profile: &Profile) -> Result<Self> {
        let base = profile.url.trim_end_matches('/').to_owned();
        let https = base.starts_with("https://");
        if !https && !base.starts_with("http://") {
            return Err(Failure::usage("the hub's address starts with https://").remedy("correct --url"));
        }
        if !https && profile.key.is_some() && !is_loopback(&base) {
            return Err(Failure::usage("a key is sent over TLS only").remedy("use https:// in the hub's address"));
        }
        let roots = match &profile.ca_pem {
            Some(pem) => certificates(pem.as_bytes())?,
            None if https => system_roots()?,
            None => Vec::new(),
        };
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .root_certs(RootCerts::Specific(Arc::new(roots)))
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .build();
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .tls_config(tls)
            .user_agent(concat!("tradelane/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(Duration::from_secs(10)))
            .timeout_per_read(Some(Duration::from_secs(120)))
            .build()
            .new_agent();
        Ok(Self { agent, base, key: profile.key.clone() })
    }

    /// The same hub with another key.
    pub(crate) fn with_key(&self, key: Option<Key>) -> Self {
        Self { key, ..self.clone() }
    }

    /// The hub's address.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    fn request(&self, method: Method, path: &str, send: &Send<'_>) -> Result<ureq::http::Response<ureq::Body>> {
        let mut request = http::Request::builder().method(method.clone()).uri(format!("{}{path}", self.base));
        if let Some(key) = &self.key {
            request = request.header("authorization", format!("Bearer {}", key.expose()));
        }
        if let Some(content_type) = send.content_type {
            request = request.header("content-type", content_type);
        }
        if let Some(accept) = send.accept {
            request = request.header("accept", accept);
        }
        for (name, value) in send.headers {
            request = request.header(*name, *value);
        }
        let wrong = |_| Failure::usage("an argument cannot be part of a request").remedy("check names and addresses");
        let answer = if matches!(method, Method::GET | Method::HEAD | Method::DELETE) && send.body.is_empty() {
            self.agent.run(request.body(()).map_err(wrong)?)
        } else {
            self.agent.run(request.body(send.body).map_err(wrong)?)
        };
        answer.map_err(|error| self.unreachable(&error))
    }

    fn unreachable(&self, error: &ureq::Error) -> Failure {
        let remedy = match error {
            ureq::Error::Tls(_) | ureq::Error::Rustls(_) => "give the authority that signed its certificate with --ca",
            ureq::Error::Timeout(_) => "retry; the hub did not answer in time",
            _ if error.to_string().contains("certificate") => {
                "give the authority that signed its certificate with --ca"
            }
            _ => "check that it runs and that the address is right",
        };
        Failure::failed(format!("the hub at {} cannot be reached: {error}", self.base)).remedy(remedy)
    }

    /// Sends a request and reads the whole answer, whatever its status.
    pub(crate) fn exchange(&self, method: Method, path: &str, send: &Send<'_>) -> Result<Answer> {
        let response = self.request(method, path, send)?;
        let (parts, body) = response.into_parts();
        let body = body.into_with_config().limit(MAX_ANSWER).read_to_vec().map_err(|error| self.unreachable(&error))?;
        Ok(Answer { status: parts.status, headers: parts.headers, body })
    }

    /// Sends a request; anything but success is a failure.
    pub(crate) fn send(&self, method: Method, path: &str, send: &Send<'_>) -> Result<Answer> {
        let answer = self.exchange(method, path, send)?;
        if answer.status.is_success() { Ok(answer) } else { Err(answer.problem()) }
    }

    /// GET of a JSON document.
    pub(crate) fn get(&self, path: &str) -> Result<Value> {
        self.send(Method::GET, path, &Send { accept: Some("application/json"), ..Send::default() })?.json()
    }

    /// POST of a JSON document.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let body = body.to_string();
        let send = Send { content_type: Some("application/json"), body: body.as_bytes(), ..Send::default() };
        self.send(Method::POST, path, &send)?.json()
    }

    /// DELETE.
    pub(crate) fn delete(&self, path: &str) -> Result<Value> {
        self.send(Method::DELETE, path, &Send::default())?.json()
    }

    /// GET whose answer is read as it comes.
    pub(crate) fn stream(&self, path: &str, send: &Send<'_>) -> Result<BufReader<Box<dyn Read + std::marker::Send>>> {
        let response = self.request(Method::GET, path, send)?;
        let (parts, body) = response.into_parts();
        if !parts.status.is_success() {
            let body = body.into_with_config().limit(1 << 20).read_to_vec().unwrap_or_default();
            return Err(Answer { status: parts.status, headers: parts.headers, body }.problem());
        }
        Ok(BufReader::new(Box::new(body.into_with_config().limit(u64::MAX).reader())))
    }
}

impl Answer {
    /// The body as JSON; nothing counts as null.
    pub(crate) fn json(&self) -> Result<Value> {
        if self.body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&self.body)
            .map_err(|_| Failure::failed(format!("the hub answered {} with something else than JSON", self.status)))
    }

    /// A header's text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// What the hub says was wrong (RFC 9457).
    pub(crate) fn problem(&self) -> Failure {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let text = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
        let title = text("detail").or_else(|| text("title")).or_else(|| text("error_description"));
        let message = title.unwrap_or_else(|| format!("the hub answered {}", self.status));
        let server = self.status.is_server_error();
        let mut failure = if server { Failure::failed(message) } else { Failure::no(message) };
        failure.code = text("code").or_else(|| text("error"));
        failure.places = places(&body);
        failure.remedy = text("remedy");
        failure
    }
}

/// The places of a problem, each on one line.
pub(crate) fn places(body: &Value) -> Vec<String> {
    let list = body.get("places").or_else(|| body.get("errors")).and_then(Value::as_array);
    let one = |place: &Value| {
        let text = |name: &str| place.get(name).and_then(Value::as_str).unwrap_or_default();
        let (pointer, rule, message) = (text("pointer"), text("rule"), text("message"));
        let pointer = if pointer.is_empty() { "/" } else { pointer };
        if rule.is_empty() { format!("{pointer}: {message}") } else { format!("{pointer}: {message} [{rule}]") }
    };
    list.into_iter().flatten().map(one).collect()
}

/// One segment of a path, or one value of a query.
pub(crate) fn escape(text: &str) -> String {
    utf8_percent_encode(text, PLAIN).to_string()
}

fn is_loopback(base: &str) -> bool {
    let host = base.trim_start_matches("http://");
    let host = host.split(['/', '?']).next().unwrap_or_default();
    let host = host.rsplit_once(':').map_or(
        host,
        |(host, port)| {
            if port.bytes().all(|b| b.is_ascii_digit()) { host } else { base }
        },
    );
    matches!(host, "localhost" | "127.0.0.1" | "[::1]")
}

fn certificates(pem: &[u8]) -> Result<Vec<Certificate<'static>>> {
    let certificates: Vec<_> = ureq::tls::parse_pem(pem)
        .filter_map(|item| match item {
            Ok(ureq::tls::PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if certificates.is_empty() {
        return Err(Failure::usage("the authority's file holds no PEM certificate").remedy("correct --ca"));
    }
    Ok(certificates)
}

/// The authorities that the system trusts, from the bundle where distributions keep it.
fn system_roots() -> Result<Vec<Certificate<'static>>> {
    const BUNDLES: [&str; 4] = [
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/pki/tls/certs/ca-bundle.crt",
        "/etc/ssl/cert.pem",
        "/etc/ssl/ca-bundle.pem",
    ];
    let named = variable("SSL_CERT_FILE");
    let mut paths = named.as_deref().into_iter().chain(BUNDLES);
    let pem = paths.find_map(|path| std::fs::read(path).ok());
    let missing =
        || Failure::usage("no authority is known").remedy("give the one that signed the hub's certificate with --ca");
    certificates(&pem.ok_or_else(missing)?)
}
