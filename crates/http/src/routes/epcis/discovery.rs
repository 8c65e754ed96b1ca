//! OPTIONS: what each resource can do and in which versions. The same for every product, so it says nothing of any.

use http::header::ALLOW;
use http::{HeaderValue, Method, StatusCode};
use tradelane_hub::{HubError, Result};
use tradelane_model::codes;

use super::RESOURCES;
use super::versions::VERSION;
use crate::api::operation;
use crate::door::{PublicAsk, Route, public};
use crate::problem::Dialect;
use crate::reply::Reply;

/// The most events of one capture.
const CAPTURE_LIMIT: u32 = 100_000;

pub(super) fn routes(routes: &mut Vec<Route>) {
    let get = "GET, HEAD, OPTIONS";
    let get_post = "GET, HEAD, POST, OPTIONS";
    for (path, id, allow) in [
        ("/epcis/{product}", "epcisOptions", get),
        ("/epcis/{product}/capture", "epcisCaptureOptions", get_post),
        ("/epcis/{product}/capture/{capture}", "epcisCaptureJobOptions", get),
        ("/epcis/{product}/events", "epcisEventsOptions", get_post),
        ("/epcis/{product}/events/{event}", "epcisEventOptions", get),
        ("/epcis/{product}/{resource}", "epcisResourceOptions", get),
        ("/epcis/{product}/{resource}/{value}", "epcisValueOptions", get),
        ("/epcis/{product}/{resource}/{value}/events", "epcisValueEventsOptions", get),
        ("/epcis/{product}/queries", "epcisQueriesOptions", get_post),
        ("/epcis/{product}/queries/{query}", "epcisQueryOptions", "GET, HEAD, DELETE, OPTIONS"),
        ("/epcis/{product}/queries/{query}/events", "epcisQueryEventsOptions", get),
    ] {
        let described = operation(id, "EPCIS", "What this resource can do, and in which versions")
            .done(204, "In the headers.")
            .refuses(404, "There is no such resource.");
        let capture = path.ends_with("/capture");
        let handler = move |ask: PublicAsk| async move { discover(&ask, allow, capture) };
        routes.push(public(Method::OPTIONS, path, described, handler).speaks(Dialect::EpcisQuery));
    }
}

fn discover(ask: &PublicAsk, allow: &'static str, capture: bool) -> Result<Reply> {
    let resource = ask.path("resource");
    if !resource.is_empty() && !RESOURCES.contains(&resource) {
        return Err(HubError::of(codes::NOT_FOUND));
    }
    let mut reply = Reply::new(StatusCode::NO_CONTENT)
        .header(ALLOW, HeaderValue::from_static(allow))
        .text_header("gs1-epcis-min", VERSION)
        .text_header("gs1-epcis-max", VERSION)
        .text_header("gs1-cbv-min", VERSION)
        .text_header("gs1-cbv-max", VERSION)
        .text_header("gs1-epc-format", "Never_Translates")
        .text_header("gs1-vendor-version", concat!("tradelane-", env!("CARGO_PKG_VERSION")));
    if capture {
        reply = reply
            .text_header("gs1-epcis-capture-limit", &CAPTURE_LIMIT.to_string())
            .text_header("gs1-epcis-capture-file-size-limit", &ask.shared.limits.event_body.to_string())
            .text_header("gs1-capture-error-behaviour", "all");
    }
    Ok(reply)
}
