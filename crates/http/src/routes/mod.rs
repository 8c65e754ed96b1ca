//! Every route there is, in one table. The router, the OpenAPI document and the tests are made from it; nothing else in
//! this crate builds a router.

mod access;
mod audit;
mod catalog;
mod control;
mod credentials;
mod documentation;
mod epcis;
mod oauth;
mod operations;
mod privacy;
mod publish;
mod read;
mod registry;
pub(crate) mod shapes;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::routing::{MethodFilter, MethodRouter};
use http::{Request, Response};
use tradelane_hub::HubError;
use tradelane_model::{ErrorCode, codes};

pub(crate) use documentation::openapi_text;
pub(crate) use epcis::{RESOURCES, VERSION as EPCIS};

use crate::door::{PUBLIC, Route, pass};
use crate::front::{Observed, RequestId, Shared, dialect_of};
use crate::problem;

/// The table.
pub(crate) fn all() -> Vec<Route> {
    let mut routes = Vec::new();
    publish::routes(&mut routes);
    read::routes(&mut routes);
    catalog::routes(&mut routes);
    access::routes(&mut routes);
    control::routes(&mut routes);
    credentials::routes(&mut routes);
    privacy::routes(&mut routes);
    audit::routes(&mut routes);
    oauth::routes(&mut routes);
    epcis::routes(&mut routes);
    registry::routes(&mut routes);
    operations::routes(&mut routes);
    documentation::routes(&mut routes);
    routes
}

/// The router of the table.
pub(crate) fn router(shared: &Arc<Shared>) -> Router {
    let mut by_path: BTreeMap<&'static str, MethodRouter> = BTreeMap::new();
    for route in all() {
        let filter = MethodFilter::try_from(route.method.clone());
        debug_assert!(filter.is_ok(), "the table has methods that axum knows");
        let Ok(filter) = filter else { continue };
        // An open route that the list does not name stays shut.
        if route.is_public() && !PUBLIC.contains(&(route.method.as_str(), route.path)) {
            continue;
        }
        let (path, route, shared) = (route.path, Arc::new(route), Arc::clone(shared));
        let handler = move |request: Request<Body>| pass(Arc::clone(&shared), Arc::clone(&route), request);
        let methods = by_path.remove(path).unwrap_or_default().on(filter, handler);
        by_path.insert(path, methods);
    }
    let router = by_path.into_iter().fold(Router::new(), |router, (path, methods)| router.route(path, methods));
    router
        .fallback(async |request: Request<Body>| refuse(&request, codes::NOT_FOUND))
        .method_not_allowed_fallback(async |request: Request<Body>| refuse(&request, codes::METHOD_NOT_ALLOWED))
}

/// What no route takes.
fn refuse(request: &Request<Body>, code: ErrorCode) -> Response<Body> {
    let id = request.extensions().get::<RequestId>().map_or("", |id| &id.0);
    let reply = problem::answer(&HubError::of(code), dialect_of(request.uri().path()), id);
    let observed = Observed { code: reply.code, ..Observed::default() };
    let mut response = reply.into_response();
    response.extensions_mut().insert(observed);
    response
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crate::door::PUBLIC;

    #[test]
    fn routes_without_credentials_are_those_of_the_list_and_no_others() {
        let listed: BTreeSet<_> = PUBLIC.iter().copied().collect();
        let routes = super::all();
        let public = routes.iter().filter(|route| route.is_public());
        let found: BTreeSet<_> = public.map(|route| (route.method.as_str(), route.path)).collect();
        assert_eq!(found, listed);
        assert_eq!(PUBLIC.len(), listed.len(), "each is listed once");
    }

    #[test]
    fn only_the_table_builds_a_router() {
        let mut files = vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
        let needles = [concat!("Router", "::new"), concat!(".rou", "te(")];
        while let Some(path) = files.pop() {
            if path.is_dir() {
                files.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            } else if !path.ends_with("routes/mod.rs") && !path.ends_with("front.rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                assert!(needles.iter().all(|needle| !text.contains(needle)), "{}", path.display());
            }
        }
    }
}
