//! The audit trail, receipts, and the log itself as C2SP tlog-tiles.

use http::header::CACHE_CONTROL;
use http::{HeaderValue, Method, StatusCode};
use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;
use tradelane_hub::{Audited, HubError, Result, TrailQuery};
use tradelane_model::codes;

use crate::api::{integer, operation, reference, text};
use crate::door::{Ask, PublicAsk, Route, governed, public};
use crate::params::whole;
use crate::reply::Reply;

pub(super) fn routes(routes: &mut Vec<Route>) {
    let time = json!({ "type": "string", "format": "date-time" });
    let trail_of = operation("auditTrail", "Audit", "What is on record in which your organization has a part")
        .query("product", crate::api::id(), "Of this product only.")
        .query("from", time.clone(), "From this time on.")
        .query("until", time, "Before this time.")
        .query("after", integer(0, 1 << 53), "Leaves after this one.")
        .query("limit", integer(1, 1_000), "At most so many.")
        .answer(200, "Oldest first.", "application/json", reference("TrailPage"));
    routes.push(governed(Method::GET, "/v1/audit/trail", trail_of, trail));
    let receipt_of = operation("auditReceipt", "Audit", "Proof that a leaf is in the log, to be checked offline")
        .answer(200, "A C2SP tlog-proof.", "text/plain; charset=utf-8", text());
    routes.push(governed(Method::GET, "/v1/audit/receipts/{leaf}", receipt_of, receipt));
    let checkpoint_of = operation("tlogCheckpoint", "Audit", "The log's signed checkpoint (C2SP tlog-checkpoint)")
        .answer(200, "A signed note.", "text/plain; charset=utf-8", text());
    routes.push(public(Method::GET, "/tlog/checkpoint", checkpoint_of, checkpoint));
    let key_of = operation("tlogKey", "Audit", "The log's public key").answer(
        200,
        "A verifier key as signed notes have it.",
        "text/plain; charset=utf-8",
        text(),
    );
    routes.push(public(Method::GET, "/tlog/key", key_of, key));
    let tile_of = operation("tlogTile", "Audit", "A tile or entry bundle of the log (C2SP tlog-tiles)")
        .about("Entries are keyed commitments: they say nothing to those who do not hold their opening.")
        .answer(200, "Hashes.", "application/octet-stream", json!({ "type": "string", "format": "binary" }))
        .refuses(404, "There is no such tile yet.");
    routes.push(public(Method::GET, "/tlog/tile/{*path}", tile_of, tile));
}

async fn trail(ask: Ask) -> Result<Audited<Reply>> {
    let mut query = ask.query()?;
    let time = "a time as in RFC 3339, for example 2026-11-21T10:00:00Z";
    let wanted = TrailQuery {
        product: query.read("product", "a product id")?,
        from: query.read("from", time)?,
        until: query.read("until", time)?,
        after: query.number("after", 0, 1 << 53)?,
        max: usize::try_from(query.number("limit", 1, 1_000)?.unwrap_or(100)).unwrap_or(100),
    };
    query.finish()?;
    let page = ask.hub().trail(&ask.caller, wanted).await?;
    Ok(page.map(|page| {
        let entries = page.leaves.iter().filter_map(|(index, leaf)| {
            let mut body = Vec::new();
            // A leaf of the log was written by the same encoder: it always fits.
            leaf.encode(&mut body).ok()?;
            let leaf = RawValue::from_string(String::from_utf8(body).ok()?).ok()?;
            Some(Entry { index: *index, leaf })
        });
        let entries: Vec<Entry> = entries.collect();
        // `after` names the last leaf that was looked at.
        let next = page.next.map(|next| next.saturating_sub(1));
        Reply::json(StatusCode::OK, &Trail { entries, next })
    }))
}

#[derive(Serialize)]
struct Trail {
    entries: Vec<Entry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<u64>,
}

#[derive(Serialize)]
struct Entry {
    index: u64,
    leaf: Box<RawValue>,
}

async fn receipt(ask: Ask) -> Result<Audited<Reply>> {
    ask.no_query()?;
    let leaf = whole(ask.path("leaf")).ok_or_else(|| HubError::of(codes::NOT_FOUND))?;
    let receipt = ask.hub().receipt(&ask.caller, leaf).await?;
    Ok(receipt.map(|receipt| Reply::of(StatusCode::OK, "text/plain; charset=utf-8", receipt.to_text())))
}

async fn checkpoint(ask: PublicAsk) -> Result<Reply> {
    let note = ask.shared.hub.checkpoint().await?;
    let fresh = HeaderValue::from_static("no-cache");
    Ok(Reply::of(StatusCode::OK, "text/plain; charset=utf-8", note).header(CACHE_CONTROL, fresh))
}

async fn key(ask: PublicAsk) -> Result<Reply> {
    Ok(Reply::of(StatusCode::OK, "text/plain; charset=utf-8", format!("{}\n", ask.shared.hub.log_key())))
}

async fn tile(ask: PublicAsk) -> Result<Reply> {
    let tile = ask.shared.hub.tile(&format!("tile/{}", ask.path("path"))).await?;
    let tile = tile.ok_or_else(|| HubError::of(codes::NOT_FOUND))?;
    // A tile that is there never changes.
    let for_ever = HeaderValue::from_static("public, max-age=31536000, immutable");
    Ok(Reply::of(StatusCode::OK, "application/octet-stream", tile).header(CACHE_CONTROL, for_ever))
}
