//! The catalog and the quarantine.

use http::{Method, StatusCode};
use serde_json::json;
use tradelane_hub::{Audited, Result};

use crate::api::{integer, operation, reference, text};
use crate::door::{Ask, Route, governed};
use crate::reply::Reply;

pub(super) fn routes(routes: &mut Vec<Route>) {
    let list = operation("listProducts", "Catalog", "The products that you may know of").answer(
        200,
        "By id.",
        "application/json",
        reference("Catalog"),
    );
    routes.push(governed(Method::GET, "/v1/products", list, products));
    let one = operation("getProduct", "Catalog", "A product, its contract and its fields; never an event").answer(
        200,
        "The product.",
        "application/json",
        reference("CatalogEntry"),
    );
    routes.push(governed(Method::GET, "/v1/products/{product}", one, product));
    let schema = operation("getProductSchema", "Catalog", "The JSON Schema of what you read")
        .about("Of your grant's view; for the owner, of the contract.")
        .query("purpose", text(), "Of the grant for this purpose.")
        .answer(200, "The schema.", "application/schema+json", reference("JsonSchema"));
    routes.push(governed(Method::GET, "/v1/products/{product}/schema", schema, product_schema));
    let set_aside = operation("listQuarantine", "Catalog", "Events that were set aside, for the product's owner")
        .about("Go on behind the last one until there is none: large events make an answer shorter than its limit.")
        .query("from", integer(0, 1 << 53), "The first place in the quarantine.")
        .query("limit", integer(1, 1_000), "At most so many.")
        .answer(200, "Oldest first, each with its reasons.", "application/json", reference("QuarantinePage"));
    routes.push(governed(Method::GET, "/v1/products/{product}/quarantine", set_aside, quarantine));
}

async fn products(ask: Ask) -> Result<Audited<Reply>> {
    ask.no_query()?;
    let found = ask.hub().catalog(&ask.caller).await?;
    Ok(found.map(|products| Reply::json(StatusCode::OK, &json!({ "products": products }))))
}

async fn product(ask: Ask) -> Result<Audited<Reply>> {
    ask.no_query()?;
    let found = ask.hub().product(&ask.caller, &ask.product()?).await?;
    Ok(found.map(|product| Reply::json(StatusCode::OK, &product)))
}

async fn product_schema(ask: Ask) -> Result<Audited<Reply>> {
    let mut query = ask.query()?;
    let purpose = query.take("purpose")?;
    query.finish()?;
    let media = ask.accepts(&["application/schema+json", "application/json"])?;
    let schema = ask.hub().product_schema(&ask.caller, &ask.product()?, purpose.as_deref()).await?;
    Ok(schema.map(|schema| Reply::of(StatusCode::OK, media, schema.to_string())))
}

async fn quarantine(ask: Ask) -> Result<Audited<Reply>> {
    let mut query = ask.query()?;
    let from = query.number("from", 0, 1 << 53)?.unwrap_or(0);
    let limit = query.number("limit", 1, 1_000)?.unwrap_or(100);
    query.finish()?;
    let limit = usize::try_from(limit).unwrap_or(100);
    let found = ask.hub().quarantine(&ask.caller, &ask.product()?, from, limit).await?;
    Ok(found.map(|events| Reply::json(StatusCode::OK, &json!({ "events": events }))))
}
