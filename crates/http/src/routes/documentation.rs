//! The OpenAPI document, the page that shows it, and a page for every error.

use std::sync::OnceLock;

use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY};
use http::{HeaderValue, Method, StatusCode};
use serde_json::json;
use tradelane_hub::{HubError, Result};
use tradelane_model::codes;

use crate::api::{operation, text};
use crate::door::{PublicAsk, Route, public};
use crate::pages;
use crate::reply::Reply;

const HTML: &str = "text/html; charset=utf-8";
const MARKDOWN: &str = "text/markdown; charset=utf-8";
const FRESH: HeaderValue = HeaderValue::from_static("no-cache");
/// The page's own style, and nothing else: no script, no image, no font, no frame.
const PAGE_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
);

pub(super) fn routes(routes: &mut Vec<Route>) {
    let root = operation("root", "Operations", "The page of this document").answer(200, "A page.", HTML, text());
    routes.push(public(Method::GET, "/", root, docs));
    let document = operation("openapi", "Operations", "This document").answer(
        200,
        "OpenAPI 3.1.",
        "application/json",
        json!({ "type": "object" }),
    );
    routes.push(public(Method::GET, "/openapi.json", document, openapi));
    let page = operation("docs", "Operations", "This document as a page").answer(200, "A page.", HTML, text());
    routes.push(public(Method::GET, "/docs", page, docs));
    let list = operation("errors", "Operations", "All errors").answer(200, "A page.", HTML, text());
    routes.push(public(Method::GET, "/errors", list, errors));
    let one = operation("error", "Operations", "An error: what it means and what to do")
        .answer(200, "A page.", HTML, text())
        .answer(200, "", MARKDOWN, text())
        .refuses(404, "There is no such error.")
        .refuses(406, "It is offered as HTML and as Markdown.");
    routes.push(public(Method::GET, "/errors/{slug}", one, error));
}

/// The document as text, made once.
pub(crate) fn openapi_text() -> &'static str {
    static TEXT: OnceLock<String> = OnceLock::new();
    TEXT.get_or_init(|| {
        let document = crate::api::document(&super::all());
        serde_json::to_string_pretty(&document).unwrap_or_default() + "\n"
    })
}

async fn openapi(ask: PublicAsk) -> Result<Reply> {
    ask.no_query()?;
    Ok(Reply::of(StatusCode::OK, "application/json", openapi_text()).header(CACHE_CONTROL, FRESH))
}

async fn docs(ask: PublicAsk) -> Result<Reply> {
    ask.no_query()?;
    static PAGE: OnceLock<String> = OnceLock::new();
    Ok(page(PAGE.get_or_init(|| pages::api_page(&crate::api::document(&super::all())))))
}

async fn errors(ask: PublicAsk) -> Result<Reply> {
    ask.no_query()?;
    static PAGE: OnceLock<String> = OnceLock::new();
    Ok(page(PAGE.get_or_init(pages::errors_page)))
}

async fn error(ask: PublicAsk) -> Result<Reply> {
    ask.no_query()?;
    let slug = ask.path("slug");
    let info = codes::ALL.iter().find(|info| info.slug == slug).ok_or_else(|| HubError::of(codes::NOT_FOUND))?;
    match ask.accepts(&[HTML_TYPE, MARKDOWN_TYPE])? {
        MARKDOWN_TYPE => {
            Ok(Reply::of(StatusCode::OK, MARKDOWN, pages::error_markdown(info)).header(CACHE_CONTROL, FRESH))
        }
        _ => Ok(page(&pages::error_page(info))),
    }
}

const HTML_TYPE: &str = "text/html";
const MARKDOWN_TYPE: &str = "text/markdown";

fn page(html: &str) -> Reply {
    Reply::of(StatusCode::OK, HTML, html.to_owned())
        .header(CONTENT_SECURITY_POLICY, PAGE_POLICY)
        .header(CACHE_CONTROL, FRESH)
}
