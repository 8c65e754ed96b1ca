//! Erasure, explanation of views, and tokens turned back.

use bytes::Bytes;
use http::{Method, StatusCode};
use tradelane_hub::explain::EventRef;
use tradelane_hub::{Audited, Result};
use tradelane_model::OrgId;

use super::shapes::{DetokenizeRequest, DetokenizedBody, ErasureRequest, ExplainRequest};
use crate::api::{operation, reference};
use crate::door::{Ask, BodySize, Route, governed};
use crate::params::{bad, wrong};
use crate::reply::Reply;

pub(super) fn routes(routes: &mut Vec<Route>) {
    let erase_one = operation("eraseSubject", "Privacy", "Erase a person from all products of your organization")
        .about("The person's keys are destroyed: what the log, its copies and backups hold becomes unreadable at once.")
        .body("application/json", reference("ErasureRequest"))
        .answer(200, "Proof of the erasure.", "application/json", reference("Erasure"));
    routes.push(governed(Method::POST, "/v1/erasures", erase_one, erase));
    let explain_it =
        operation("explainEvent", "Privacy", "Field by field, what a reader would see and which rule decides")
            .body("application/json", reference("ExplainRequest"))
            .answer(200, "The explanation.", "application/json", reference("Explanation"))
            .refuses(410, "The offset is no longer kept.")
            .refuses(422, "The event does not keep the contract.");
    let at = "/v1/products/{product}/explain";
    routes.push(governed(Method::POST, at, explain_it, explain).takes(BodySize::Events));
    let back = operation("detokenize", "Privacy", "Turn a token of a view back into its value")
        .body("application/json", reference("DetokenizeRequest"))
        .answer(200, "The value.", "application/json", reference("DetokenizedBody"))
        .refuses(410, "The value's key was destroyed.")
        .refuses(422, "The token is none of this product's.");
    routes.push(governed(Method::POST, "/v1/products/{product}/detokenize", back, detokenize));
}

async fn erase(ask: Ask) -> Result<Audited<Reply>> {
    ask.no_query()?;
    let body: ErasureRequest = ask.json()?;
    let erasure = ask.hub().erase(&ask.caller, &body.subject).await?;
    Ok(erasure.map(|erasure| Reply::json(StatusCode::OK, &erasure)))
}

async fn explain(ask: Ask) -> Result<Audited<Reply>> {
    ask.no_query()?;
    let body: ExplainRequest = ask.json()?;
    let organization: OrgId = body.organization.parse().map_err(|_| wrong("organization", "an organization id"))?;
    let event = match (body.offset, body.event) {
        (Some(offset), None) => EventRef::Stored { partition: body.partition.unwrap_or(0), offset },
        (None, Some(event)) => EventRef::Document(Bytes::from(event.get().to_owned())),
        _ => return Err(bad("The body must have either `offset` or `event`.")),
    };
    let product = ask.product()?;
    let found = ask.hub().explain(&ask.caller, &product, &organization, body.purpose.as_deref(), event).await?;
    Ok(found.map(|explanation| Reply::json(StatusCode::OK, &explanation)))
}

async fn detokenize(ask: Ask) -> Result<Audited<Reply>> {
    ask.no_query()?;
    let body: DetokenizeRequest = ask.json()?;
    let grant = body.grant.parse().map_err(|_| wrong("grant", "a grant id"))?;
    let value = ask.hub().detokenize(&ask.caller, &ask.product()?, &grant, &body.token).await?;
    Ok(value.map(|value| Reply::json(StatusCode::OK, &DetokenizedBody { value })))
}
