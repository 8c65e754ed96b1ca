//! Access requests and grants.

use http::{Method, StatusCode};
use serde_json::json;
use tradelane_hub::{AccessRequest, Audited, Result};
use tradelane_model::grant::Conditions;
use tradelane_model::topic::InvalidTopic;
use tradelane_model::{Grant, GrantId};

use super::shapes::{AccessRequestBody, ReasonBody};
use crate::api::{Operation, object, operation, reference};
use crate::door::{Ask, Route, governed};
use crate::params::wrong;
use crate::reply::Reply;

/// The longest purpose.
const MAX_PURPOSE: usize = 200;

pub(super) fn routes(routes: &mut Vec<Route>) {
    let request = operation("requestAccess", "Access", "Ask a product's owner for a grant")
        .body("application/json", reference("AccessRequestBody"))
        .answer(201, "The request; its id is the grant's.", "application/json", reference("Grant"))
        .refuses(409, "Your organization has another topic of that name.")
        .refuses(422, "The request does not fit the contract.");
    routes.push(governed(Method::POST, "/v1/access-requests", request, request_access));
    let list = operation("listGrants", "Access", "The grants that you use, and those on your products").answer(
        200,
        "By id.",
        "application/json",
        reference("GrantList"),
    );
    routes.push(governed(Method::GET, "/v1/grants", list, grants));
    let approve_it = decision("approveGrant", "Agree to a request, or change a grant", "Conditions");
    routes.push(governed(Method::POST, "/v1/grants/{grant}/approve", approve_it, approve));
    let deny_it = decision("denyGrant", "Refuse a request", "ReasonBody");
    routes.push(governed(Method::POST, "/v1/grants/{grant}/deny", deny_it, deny));
    let revoke_it = decision("revokeGrant", "End a grant; the next read is refused", "ReasonBody");
    routes.push(governed(Method::POST, "/v1/grants/{grant}/revoke", revoke_it, revoke));
    let move_it = operation("moveGrant", "Access", "Take the newest version of the contract before its notice is over")
        .about("For the consumer of a grant that stays with an earlier major version. There is no way back.")
        .answer(200, "The grant as it is now.", "application/json", reference("Grant"))
        .refuses(409, "The grant reads the newest version.");
    routes.push(governed(Method::POST, "/v1/grants/{grant}/move", move_it, move_grant));
    let told = operation("listNotices", "Access", "Versions of contracts that end: of what you read, and of your products")
        .about("Answers that are served in such a version say so as well, in `Deprecation` (RFC 9745) and `Sunset` (RFC 8594).")
        .answer(200, "By grant.", "application/json", object());
    routes.push(governed(Method::GET, "/v1/notices", told, notices));
}

fn decision(id: &'static str, summary: &'static str, body: &str) -> Operation {
    operation(id, "Access", summary)
        .body("application/json", reference(body))
        .answer(200, "The grant as it is now.", "application/json", reference("Grant"))
        .refuses(409, "The grant is not in a state that allows this, or the consumer has another topic of that name.")
        .refuses(422, "The conditions cannot be used.")
}

async fn request_access(ask: Ask) -> Result<Audited<Reply>> {
    ask.no_query()?;
    let body: AccessRequestBody = ask.json()?;
    let product = body.product.parse().map_err(|_| wrong("product", "a product id"))?;
    if body.purpose.is_empty() || body.purpose.chars().count() > MAX_PURPOSE {
        return Err(wrong("purpose", "one of the contract's purposes, 1 to 200 characters"));
    }
    let topic = body.topic.as_deref().map(str::parse).transpose();
    let topic = topic.map_err(|error: InvalidTopic| wrong("topic", &error.to_string()))?;
    let request = AccessRequest { product, purpose: body.purpose, note: body.note, topic };
    let grant = ask.hub().request_access(&ask.caller, request).await?;
    Ok(grant.map(|grant| told(StatusCode::CREATED, &grant).location("/v1/grants")))
}

async fn grants(ask: Ask) -> Result<Audited<Reply>> {
    ask.no_query()?;
    let grants = ask.hub().grants(&ask.caller).await?;
    Ok(grants.map(|grants| Reply::json(StatusCode::OK, &json!({ "grants": grants }))))
}

async fn approve(ask: Ask) -> Result<Audited<Reply>> {
    ask.no_query()?;
    let conditions: Conditions = ask.json()?;
    let grant = ask.hub().approve(&ask.caller, &ask.id::<GrantId>("grant")?, conditions).await?;
    Ok(grant.map(|grant| told(StatusCode::OK, &grant)))
}

async fn deny(ask: Ask) -> Result<Audited<Reply>> {
    ask.no_query()?;
    let body: ReasonBody = ask.json()?;
    let grant = ask.hub().deny(&ask.caller, &ask.id::<GrantId>("grant")?, &body.reason).await?;
    Ok(grant.map(|grant| told(StatusCode::OK, &grant)))
}

async fn revoke(ask: Ask) -> Result<Audited<Reply>> {
    ask.no_query()?;
    let body: ReasonBody = ask.json()?;
    let grant = ask.hub().revoke(&ask.caller, &ask.id::<GrantId>("grant")?, &body.reason).await?;
    Ok(grant.map(|grant| told(StatusCode::OK, &grant)))
}

async fn move_grant(ask: Ask) -> Result<Audited<Reply>> {
    ask.no_query()?;
    let grant = ask.hub().move_grant(&ask.caller, &ask.id::<GrantId>("grant")?).await?;
    Ok(grant.map(|grant| told(StatusCode::OK, &grant)))
}

async fn notices(ask: Ask) -> Result<Audited<Reply>> {
    ask.no_query()?;
    let notices = ask.hub().notices(&ask.caller).await?;
    Ok(notices.map(|notices| Reply::json(StatusCode::OK, &json!({ "notices": notices }))))
}

fn told(status: StatusCode, grant: &Grant) -> Reply {
    Reply::json(status, grant)
}
