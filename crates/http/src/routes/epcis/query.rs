//! The query interface: events by parameters, the values that there are, and named queries.

use http::{Method, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;
use tradelane_hub::query::{EventPage, Vocabulary};
use tradelane_hub::{Audited, Hub, HubError, Result};
use tradelane_model::codes;

use super::versions::{check, media};
use super::{CONTEXT, JSON, JSON_LD, RESOURCES};
use crate::api::{Operation, array, integer, operation, reference, text, words};
use crate::door::{Ask, Route, governed};
use crate::params::{Params, whole};
use crate::problem::Dialect;
use crate::reply::Reply;
use crate::routes::shapes::Collection;

const DEFAULT_PAGE: u64 = 30;
const MAX_PAGE: u64 = 1_000;
/// How long a page's token is promised to work, in seconds.
const TOKEN_SECONDS: i64 = 3_600;

pub(super) fn routes(routes: &mut Vec<Route>) {
    let mut push = |method, path, operation, handler: Handler| {
        let handler = move |ask: Ask| handler(ask);
        routes.push(governed(method, path, operation, handler).speaks(Dialect::EpcisQuery));
    };
    let top = operation("epcisRoot", "EPCIS", "The resources of this base URL");
    push(Method::GET, "/epcis/{product}", collection(top), |ask| Box::pin(root(ask)));

    let found =
        queried(paged(operation("epcisEvents", "EPCIS", "Events that match a query, as your grant shows them")));
    push(Method::GET, "/epcis/{product}/events", found, |ask| Box::pin(events(ask)));
    let one = operation("epcisEvent", "EPCIS", "An event by its eventID").answer(
        200,
        "An EPCISQueryDocument with the event.",
        JSON,
        reference("EpcisDocument"),
    );
    push(Method::GET, "/epcis/{product}/events/{event}", one, |ask| Box::pin(event(ask)));

    let values_of = operation("epcisValues", "EPCIS", "The values of that kind in events that you may see");
    push(Method::GET, "/epcis/{product}/{resource}", collection(paged(values_of)), |ask| Box::pin(values(ask)));
    let value_of = operation("epcisValue", "EPCIS", "What there is below a value");
    push(Method::GET, "/epcis/{product}/{resource}/{value}", collection(value_of), |ask| Box::pin(value(ask)));
    let with_value = queried(paged(operation("epcisValueEvents", "EPCIS", "Events with that value")));
    let at = "/epcis/{product}/{resource}/{value}/events";
    push(Method::GET, at, with_value, |ask| Box::pin(value_events(ask)));

    let list = paged(operation("epcisQueries", "EPCIS", "Your organization's named queries")).answer(
        200,
        "The queries.",
        JSON,
        array(reference("NamedQuery")),
    );
    push(Method::GET, "/epcis/{product}/queries", list, |ask| Box::pin(queries(ask)));
    let create = operation("epcisCreateQuery", "EPCIS", "Give a query a name")
        .body(JSON, reference("NamedQuery"))
        .done(201, "Stored; Location names it.")
        .sends(201, "Location", text(), "The query.")
        .refuses(409, "There is a query of this name.");
    push(Method::POST, "/epcis/{product}/queries", create, |ask| Box::pin(create_query(ask)));
    let shown =
        operation("epcisQuery", "EPCIS", "A named query").answer(200, "The query.", JSON, reference("NamedQuery"));
    push(Method::GET, "/epcis/{product}/queries/{query}", shown, |ask| Box::pin(query(ask)));
    let deleted = operation("epcisDeleteQuery", "EPCIS", "Delete a named query").done(204, "It is gone.");
    push(Method::DELETE, "/epcis/{product}/queries/{query}", deleted, |ask| Box::pin(delete_query(ask)));
    let run = operation("epcisQueryEvents", "EPCIS", "Events that match a named query");
    let at = "/epcis/{product}/queries/{query}/events";
    push(Method::GET, at, found_document(paged(run)), |ask| Box::pin(query_events(ask)));
}

type Handler = fn(Ask) -> futures_util::future::BoxFuture<'static, Result<Audited<Reply>>>;

/// Parameters that all lists have.
pub(super) fn paged(operation: Operation) -> Operation {
    operation.query("perPage", integer(1, MAX_PAGE), "At most so many, 30 unless said.").query(
        "nextPageToken",
        text(),
        "From the Link of the page before.",
    )
}

fn collection(operation: Operation) -> Operation {
    operation.answer(200, "The collection.", JSON, reference("Collection"))
}

fn found_document(operation: Operation) -> Operation {
    operation.answer(200, "An EPCISQueryDocument.", JSON, reference("EpcisDocument"))
}

/// The standard's query parameters that are used most; the hub knows all of them (EPCIS 2.0, 8.2.7.1).
fn queried(operation: Operation) -> Operation {
    let time = json!({ "type": "string", "format": "date-time" });
    let mut operation = found_document(operation)
        .about("Parameters with several values take them separated by `|`. All of the standard's parameters are understood, \
                those for sensor data, extensions and `ilmd` as well, and units are converted. A field that your grant does \
                not show matches nothing.")
        .query("eventType", text(), "The type of event, for example ObjectEvent.")
        .query("GE_eventTime", time.clone(), "At or after.")
        .query("LT_eventTime", time.clone(), "Before.")
        .query("GE_recordTime", time.clone(), "Captured at or after.")
        .query("LT_recordTime", time, "Captured before.")
        .query("EQ_action", words(&["ADD", "OBSERVE", "DELETE"]), "The action.")
        .query("orderBy", words(&["eventTime", "recordTime"]), "What they are ordered by.")
        .query("orderDirection", words(&["ASC", "DESC"]), "In which direction.")
        .query("eventCountLimit", json!({ "type": "integer", "minimum": 1 }), "Only so many, in that order.")
        .query("maxEventCount", json!({ "type": "integer", "minimum": 1 }), "Refuse if there are more.");
    for name in
        ["EQ_bizStep", "EQ_disposition", "EQ_readPoint", "EQ_bizLocation", "MATCH_epc", "MATCH_anyEPC", "EQ_eventID"]
    {
        operation = operation.query(name, text(), "Equal to this, or one of these.");
    }
    operation
}

/// A part of a list.
struct Window {
    start: usize,
    size: usize,
}

/// How many, and from which token on.
pub(super) fn page(query: &mut Params) -> Result<(usize, Option<String>)> {
    let size = query.number("perPage", 1, MAX_PAGE).map_err(parameter)?.unwrap_or(DEFAULT_PAGE);
    let token = query.take("nextPageToken").map_err(parameter)?;
    Ok((usize::try_from(size).unwrap_or(DEFAULT_PAGE as usize), token))
}

impl Window {
    fn take(query: &mut Params) -> Result<Self> {
        let (size, token) = page(query)?;
        let start = match token {
            None => 0,
            Some(token) => whole(&token).and_then(|at| usize::try_from(at).ok()).ok_or_else(bad_token)?,
        };
        Ok(Self { start, size })
    }

    /// The part, and the token of the next one.
    fn of<T>(&self, list: Vec<T>) -> (Vec<T>, Option<String>) {
        let end = self.start.saturating_add(self.size);
        let next = (end < list.len()).then(|| end.to_string());
        (list.into_iter().skip(self.start).take(self.size).collect(), next)
    }
}

fn bad_token() -> HubError {
    HubError::new(codes::QUERY_INVALID, "`nextPageToken` is none that this server gave; start again without it.")
}

fn parameter(error: HubError) -> HubError {
    HubError { code: codes::QUERY_INVALID, ..error }
}

/// Until when a token given now works.
pub(super) fn expires(hub: &Hub) -> String {
    hub.now().plus_seconds(TOKEN_SECONDS).to_string()
}

/// The link to the next page, if there is one. `path` may have a query.
pub(super) fn with_next(reply: Reply, path: &str, token: Option<&str>, size: usize, expires: &str) -> Reply {
    let Some(token) = token else { return reply };
    let token = utf8_percent_encode(token, NON_ALPHANUMERIC);
    let joint = if path.contains('?') { '&' } else { '?' };
    reply
        .text_header("link", &format!("<{path}{joint}perPage={size}&nextPageToken={token}>; rel=\"next\""))
        .text_header("gs1-next-page-token-expires", expires)
}

async fn root(ask: Ask) -> Result<Audited<Reply>> {
    ask.no_query().map_err(parameter)?;
    check(&ask)?;
    let media = media(&ask)?;
    let product = ask.hub().product(&ask.caller, &ask.product()?).await?;
    let members = ["events", "capture", "queries"].into_iter().chain(RESOURCES).map(str::to_owned);
    Ok(product.map(|_| told(media, members.collect())))
}

fn told(media: &'static str, member: Vec<String>) -> Reply {
    let collection = Collection { context: CONTEXT, kind: "Collection", member };
    Reply::of(StatusCode::OK, media, serde_json::to_vec(&collection).unwrap_or_default())
}

async fn events(ask: Ask) -> Result<Audited<Reply>> {
    let params = ask.query().map_err(parameter)?;
    find(ask, params.into_rest()).await
}

/// Runs a query and answers with a page of its events.
async fn find(ask: Ask, params: Vec<(String, String)>) -> Result<Audited<Reply>> {
    check(&ask)?;
    let media = media(&ask)?;
    check_paging(&params)?;
    let page = ask.hub().epcis_query(&ask.caller, &ask.product()?, &params).await?;
    found(&ask, media, page)
}

/// A page's size is held to the same bounds everywhere; all else is the hub's to judge.
fn check_paging(params: &[(String, String)]) -> Result<()> {
    let sizes = params.iter().filter(|(name, _)| name == "perPage");
    let good = |size: &str| whole(size).is_some_and(|size| (1..=MAX_PAGE).contains(&size));
    match sizes.map(|(_, size)| size.as_str()).all(good) {
        true => Ok(()),
        false => Err(parameter(crate::params::wrong("perPage", "a whole number from 1 to 1000"))),
    }
}

/// A page of events and the link to the next: the query as it was asked, on the path that it was asked on.
fn found(ask: &Ask, media: &'static str, page: Audited<EventPage>) -> Result<Audited<Reply>> {
    let expires = expires(ask.hub());
    let asked = ask.query()?.into_rest();
    let again = asked.into_iter().filter(|(name, _)| name != "nextPageToken");
    Ok(page.map(|page| {
        let reply = Reply::of(StatusCode::OK, media, page.document);
        let Some(token) = page.next else { return reply };
        let pairs = again.chain([("nextPageToken".to_owned(), token)]).map(|(name, value)| {
            let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
            format!("{}={}", encode(&name), encode(&value))
        });
        let link = format!("<{}?{}>; rel=\"next\"", ask.uri_path(), pairs.collect::<Vec<_>>().join("&"));
        reply.text_header("link", &link).text_header("gs1-next-page-token-expires", &expires)
    }))
}

async fn event(ask: Ask) -> Result<Audited<Reply>> {
    ask.no_query().map_err(parameter)?;
    check(&ask)?;
    let media = media(&ask)?;
    let event = ask.hub().epcis_event(&ask.caller, &ask.product()?, ask.path("event")).await?;
    Ok(event.map(|event| Reply::of(StatusCode::OK, media, event)))
}

/// The resource in the path, which the router does not know.
fn resource(ask: &Ask) -> Result<(Vocabulary, &'static str)> {
    match ask.path("resource") {
        "eventTypes" => Ok((Vocabulary::EventTypes, "eventType")),
        "epcs" => Ok((Vocabulary::Epcs, "MATCH_anyEPC")),
        "bizSteps" => Ok((Vocabulary::BizSteps, "EQ_bizStep")),
        "bizLocations" => Ok((Vocabulary::BizLocations, "EQ_bizLocation")),
        "readPoints" => Ok((Vocabulary::ReadPoints, "EQ_readPoint")),
        "dispositions" => Ok((Vocabulary::Dispositions, "EQ_disposition")),
        _ => Err(HubError::of(codes::NOT_FOUND)),
    }
}

async fn values(ask: Ask) -> Result<Audited<Reply>> {
    let (vocabulary, _) = resource(&ask)?;
    check(&ask)?;
    let media = media(&ask)?;
    let mut query = ask.query().map_err(parameter)?;
    let window = Window::take(&mut query)?;
    query.finish().map_err(parameter)?;
    let product = ask.product()?;
    let values = ask.hub().epcis_values(&ask.caller, &product, vocabulary).await?;
    let (expires, path) = (expires(ask.hub()), ask.uri_path().to_owned());
    Ok(values.map(|values| {
        let (members, next) = window.of(values);
        with_next(told(media, members), &path, next.as_deref(), window.size, &expires)
    }))
}

async fn value(ask: Ask) -> Result<Audited<Reply>> {
    let (vocabulary, _) = resource(&ask)?;
    ask.no_query().map_err(parameter)?;
    check(&ask)?;
    let media = media(&ask)?;
    let values = ask.hub().epcis_values(&ask.caller, &ask.product()?, vocabulary).await?;
    if !values.value().iter().any(|value| value == ask.path("value")) {
        return Err(HubError::of(codes::NOT_FOUND));
    }
    Ok(values.map(|_| told(media, vec!["events".to_owned()])))
}

async fn value_events(ask: Ask) -> Result<Audited<Reply>> {
    let (_, parameter_of) = resource(&ask)?;
    let mut params = ask.query().map_err(parameter)?.into_rest();
    if params.iter().any(|(name, _)| name == parameter_of) {
        return Err(HubError::new(
            codes::QUERY_INVALID,
            format!("`{parameter_of}` is in the path; leave it out of the query."),
        ));
    }
    params.push((parameter_of.to_owned(), ask.path("value").to_owned()));
    find(ask, params).await
}

async fn queries(ask: Ask) -> Result<Audited<Reply>> {
    check(&ask)?;
    let media = media(&ask)?;
    let mut query = ask.query().map_err(parameter)?;
    let window = Window::take(&mut query)?;
    query.finish().map_err(parameter)?;
    let product = ask.product()?;
    let queries = ask.hub().queries(&ask.caller, &product).await?;
    let expires = expires(ask.hub());
    Ok(queries.map(|queries| {
        let (queries, next) = window.of(queries);
        let reply = Reply::of(StatusCode::OK, media, serde_json::to_vec(&queries).unwrap_or_default());
        with_next(reply, &format!("/epcis/{product}/queries"), next.as_deref(), window.size, &expires)
    }))
}

async fn create_query(ask: Ask) -> Result<Audited<Reply>> {
    ask.no_query().map_err(parameter)?;
    check(&ask)?;
    let essence = ask.media_type()?.essence;
    if essence != JSON && essence != JSON_LD {
        return Err(HubError::of(codes::UNSUPPORTED_MEDIA));
    }
    let product = ask.product()?;
    let stored = ask.hub().put_query(&ask.caller, &product, ask.body.clone()).await?;
    Ok(stored.map(|name| {
        let name = utf8_percent_encode(&name, super::capture::PART);
        Reply::new(StatusCode::CREATED).location(&format!("/epcis/{product}/queries/{name}"))
    }))
}

async fn query(ask: Ask) -> Result<Audited<Reply>> {
    ask.no_query().map_err(parameter)?;
    check(&ask)?;
    let media = media(&ask)?;
    let queries = ask.hub().queries(&ask.caller, &ask.product()?).await?;
    let name = ask.path("query");
    let found = queries.value().iter().find(|query| query["name"] == name);
    let found = found.ok_or_else(|| HubError::of(codes::NOT_FOUND))?;
    let body = serde_json::to_vec(found).unwrap_or_default();
    Ok(queries.map(|_| Reply::of(StatusCode::OK, media, body)))
}

async fn delete_query(ask: Ask) -> Result<Audited<Reply>> {
    ask.no_query().map_err(parameter)?;
    let deleted = ask.hub().delete_query(&ask.caller, &ask.product()?, ask.path("query")).await?;
    Ok(deleted.map(|()| Reply::new(StatusCode::NO_CONTENT)))
}

async fn query_events(ask: Ask) -> Result<Audited<Reply>> {
    check(&ask)?;
    let media = media(&ask)?;
    let paging = ask.query().map_err(parameter)?.into_rest();
    check_paging(&paging)?;
    let page = ask.hub().run_query(&ask.caller, &ask.product()?, ask.path("query"), &paging).await?;
    found(&ask, media, page)
}
