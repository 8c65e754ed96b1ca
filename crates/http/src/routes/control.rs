//! Manifests: a plan first, then the same plan carried out.

use http::{Method, StatusCode};
use serde_json::json;
use tradelane_hub::{Audited, HubError, Result};
use tradelane_model::codes;

use super::shapes::ApplyBody;
use crate::api::{object, operation, reference, text};
use crate::door::{Ask, BodySize, Route, governed};
use crate::params::{bad, wrong};
use crate::reply::Reply;

/// The longest name of a file.
const MAX_NAME: usize = 255;

pub(super) fn routes(routes: &mut Vec<Route>) {
    let described = operation("apply", "Control", "Make organizations, contracts, products and grants as manifests say")
        .about("All of it or nothing. With `dry-run`, only the plan is made. Applying the same manifests again changes nothing.")
        .query("dry-run", json!({ "type": "boolean" }), "Tell the plan and change nothing.")
        .query("prune", json!({ "type": "boolean" }), "Delete what the named organizations have and no manifest names.")
        .body("application/json", reference("ApplyBody"))
        .body("application/yaml", text())
        .answer(200, "The plan, and whether it was carried out.", "application/json", reference("PlanBody"))
        .refuses(409, "Somebody changed this at the same time.")
        .refuses(422, "A manifest cannot be applied; nothing was changed.");
    routes.push(governed(Method::POST, "/v1/apply", described, apply).takes(BodySize::Manifests));
    let described = operation("impact", "Control", "Who would notice a change of contracts, and how")
        .about(
            "For each contract in the manifests that is there already: what breaks, whether it may be applied, and for each \
             grant which fields would disappear, appear, change their type or be masked otherwise, what its row filter would \
             miss, and who read by it lately. Changes nothing.",
        )
        .body("application/json", reference("ApplyBody"))
        .body("application/yaml", text())
        .answer(200, "By contract.", "application/json", object())
        .refuses(422, "A manifest cannot be read.");
    routes.push(governed(Method::POST, "/v1/impact", described, impact).takes(BodySize::Manifests));
}

async fn apply(ask: Ask) -> Result<Audited<Reply>> {
    let mut query = ask.query()?;
    let (dry_run, prune) = (query.flag("dry-run")?, query.flag("prune")?);
    query.finish()?;
    let files = files(&ask)?;
    let steps = match dry_run {
        true => ask.hub().plan(&ask.caller, &files, prune).await?,
        false => ask.hub().apply(&ask.caller, &files, prune).await?,
    };
    Ok(steps.map(|steps| Reply::json(StatusCode::OK, &json!({ "applied": !dry_run, "steps": steps }))))
}

async fn impact(ask: Ask) -> Result<Audited<Reply>> {
    ask.no_query()?;
    let impacts = ask.hub().impact(&ask.caller, &files(&ask)?).await?;
    Ok(impacts.map(|impacts| Reply::json(StatusCode::OK, &json!({ "contracts": impacts }))))
}

fn files(ask: &Ask) -> Result<Vec<(String, String)>> {
    match ask.media_type()?.essence.as_str() {
        "application/json" => {
            let body: ApplyBody = ask.json()?;
            if body.files.iter().any(|file| file.name.chars().count() > MAX_NAME) {
                return Err(wrong("name", "at most 255 characters"));
            }
            Ok(body.files.into_iter().map(|file| (file.name, file.text)).collect())
        }
        "application/yaml" | "application/x-yaml" | "text/yaml" => {
            let text = std::str::from_utf8(&ask.body).map_err(|_| bad("The body is not UTF-8."))?;
            Ok(vec![("body".to_owned(), text.to_owned())])
        }
        _ => Err(HubError::of(codes::UNSUPPORTED_MEDIA)),
    }
}
