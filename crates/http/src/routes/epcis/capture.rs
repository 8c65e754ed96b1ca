//! The capture interface: documents as jobs, single events at once.

use http::{Method, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tradelane_hub::{Audited, HubError, Result};
use tradelane_model::codes;

use super::versions::{check, media};
use super::{JSON, JSON_LD};
use crate::api::{array, operation, reference, text, words};
use crate::door::{Ask, BodySize, Route, governed};
use crate::params::wrong;
use crate::problem::Dialect;
use crate::reply::Reply;

/// What needs no escape in a path's part (RFC 3986, 3.3): `unreserved`, `:` and `@`.
pub(super) const PART: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b':').remove(b'@');

pub(super) fn routes(routes: &mut Vec<Route>) {
    let behaviour = words(&["rollback", "proceed"]);
    let post = operation("epcisCapture", "EPCIS", "Capture an EPCIS document as a job")
        .header("GS1-Capture-Error-Behaviour", behaviour, "All or nothing (rollback), or all that is valid (proceed).")
        .body(JSON, reference("EpcisDocument"))
        .body(JSON_LD, reference("EpcisDocument"))
        .done(202, "The job has begun; Location names it.")
        .sends(202, "Location", text(), "The job.");
    let at = "/epcis/{product}/capture";
    routes.push(capturing(governed(Method::POST, at, post, capture)).takes(BodySize::Events));
    let jobs_of = super::query::paged(operation("epcisCaptureJobs", "EPCIS", "Capture jobs")).answer(
        200,
        "The jobs.",
        JSON,
        array(reference("CaptureJob")),
    );
    routes.push(capturing(governed(Method::GET, at, jobs_of, jobs)));
    let job_of =
        operation("epcisCaptureJob", "EPCIS", "A capture job").answer(200, "The job.", JSON, reference("CaptureJob"));
    routes.push(capturing(governed(Method::GET, "/epcis/{product}/capture/{capture}", job_of, job)));
    let one = operation("epcisCaptureEvent", "EPCIS", "Capture one event")
        .body(JSON, reference("EpcisEvent"))
        .body(JSON_LD, reference("EpcisEvent"))
        .done(201, "Stored; Location names it.")
        .sends(201, "Location", text(), "The event.")
        .refuses(409, "An event with this eventID was captured before.");
    let at = "/epcis/{product}/events";
    routes.push(capturing(governed(Method::POST, at, one, capture_event)).takes(BodySize::Events));
}

fn capturing(route: Route) -> Route {
    route.speaks(Dialect::EpcisCapture)
}

async fn capture(ask: Ask) -> Result<Audited<Reply>> {
    ask.no_query()?;
    check(&ask)?;
    let proceed = match ask.header("gs1-capture-error-behaviour")? {
        None | Some("rollback") => false,
        Some("proceed") => true,
        Some(_) => return Err(wrong("GS1-Capture-Error-Behaviour", "rollback or proceed")),
    };
    must_be_json(&ask)?;
    let product = ask.product()?;
    let job = ask.hub().capture(&ask.caller, &product, ask.body.clone(), proceed).await?;
    Ok(job.map(|job| Reply::new(StatusCode::ACCEPTED).location(&format!("/epcis/{product}/capture/{}", job.id))))
}

async fn capture_event(ask: Ask) -> Result<Audited<Reply>> {
    ask.no_query()?;
    check(&ask)?;
    must_be_json(&ask)?;
    let product = ask.product()?;
    let stored = ask.hub().capture_event(&ask.caller, &product, ask.body.clone()).await?;
    Ok(stored.map(|stored| {
        let id = utf8_percent_encode(&stored.event_id, PART);
        Reply::new(StatusCode::CREATED).location(&format!("/epcis/{product}/events/{id}"))
    }))
}

async fn job(ask: Ask) -> Result<Audited<Reply>> {
    ask.no_query()?;
    check(&ask)?;
    let media = media(&ask)?;
    let job = ask.hub().capture_job(&ask.caller, &ask.product()?, ask.path("capture")).await?;
    Ok(job.map(|job| Reply::of(StatusCode::OK, media, serde_json::to_vec(&job).unwrap_or_default())))
}

fn must_be_json(ask: &Ask) -> Result<()> {
    let essence = ask.media_type()?.essence;
    if essence == JSON || essence == JSON_LD { Ok(()) } else { Err(HubError::of(codes::UNSUPPORTED_MEDIA)) }
}

async fn jobs(ask: Ask) -> Result<Audited<Reply>> {
    check(&ask)?;
    let media = media(&ask)?;
    let mut query = ask.query()?;
    let (size, after) = super::query::page(&mut query)?;
    query.finish()?;
    let product = ask.product()?;
    let jobs = ask.hub().capture_jobs(&ask.caller, &product, after.as_deref(), size).await?;
    let expires = super::query::expires(ask.hub());
    Ok(jobs.map(|jobs| {
        let next = jobs.last().filter(|_| jobs.len() == size).map(|job| job.id.clone());
        let reply = Reply::of(StatusCode::OK, media, serde_json::to_vec(&jobs).unwrap_or_default());
        super::query::with_next(reply, &format!("/epcis/{product}/capture"), next.as_deref(), size, &expires)
    }))
}
