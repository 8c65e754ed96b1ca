//! The REST binding of EPCIS 2.0, once per product: `/epcis/{product}` is the base URL that a standard client is given.
//!
//! What is not here: subscriptions and WebSockets (webhooks are a listener of their own), and XML.

mod capture;
mod discovery;
mod query;
mod versions;

use crate::door::Route;

pub(crate) use versions::VERSION;

/// The kinds of values that are resources of their own.
pub(crate) const RESOURCES: [&str; 6] =
    ["eventTypes", "epcs", "bizSteps", "bizLocations", "readPoints", "dispositions"];

/// The context of answers.
const CONTEXT: &str = "https://ref.gs1.org/standards/epcis/2.0.0/epcis-context.jsonld";
const JSON: &str = "application/json";
const JSON_LD: &str = "application/ld+json";

pub(super) fn routes(routes: &mut Vec<Route>) {
    capture::routes(routes);
    query::routes(routes);
    discovery::routes(routes);
}
