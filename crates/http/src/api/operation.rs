//! How a route describes itself: one value per operation, from which the OpenAPI document is made.
//!
//! What all operations of a kind share (credentials, the problems that any of them can answer, the parameters that a path
//! names) is added here once, so that no route can forget to say it.

use serde_json::{Map, Value, json};

use crate::door::Route;
use crate::problem::{Dialect, PROBLEM_JSON, REGISTRY_JSON};

/// A route's description.
#[derive(Debug, Clone)]
pub(crate) struct Operation {
    id: &'static str,
    tag: &'static str,
    summary: &'static str,
    description: Option<&'static str>,
    parameters: Vec<Value>,
    bodies: Map<String, Value>,
    responses: Vec<(u16, Value)>,
    refusals: Vec<(u16, &'static str)>,
}

/// Describes an operation: its id (for clients that are generated), its group, and one line.
pub(crate) fn operation(id: &'static str, tag: &'static str, summary: &'static str) -> Operation {
    Operation {
        id,
        tag,
        summary,
        description: None,
        parameters: Vec::new(),
        bodies: Map::new(),
        responses: Vec::new(),
        refusals: Vec::new(),
    }
}

impl Operation {
    #[cfg(test)]
    pub(crate) fn id(&self) -> &'static str {
        self.id
    }

    /// More than a line.
    pub(crate) fn about(mut self, text: &'static str) -> Self {
        self.description = Some(text);
        self
    }

    /// A parameter of the query.
    pub(crate) fn query(mut self, name: &str, schema: Value, about: &str) -> Self {
        self.parameters
            .push(json!({ "name": name, "in": "query", "required": false, "description": about, "schema": schema }));
        self
    }

    /// A request header.
    pub(crate) fn header(mut self, name: &str, schema: Value, about: &str) -> Self {
        self.parameters
            .push(json!({ "name": name, "in": "header", "required": false, "description": about, "schema": schema }));
        self
    }

    /// A form of the body.
    pub(crate) fn body(mut self, media: &str, schema: Value) -> Self {
        self.bodies.insert(media.into(), json!({ "schema": schema }));
        self
    }

    /// A form of the body, with an example.
    pub(crate) fn body_like(mut self, media: &str, schema: Value, example: Value) -> Self {
        self.bodies.insert(media.into(), json!({ "schema": schema, "example": example }));
        self
    }

    /// A good answer without a body.
    pub(crate) fn done(mut self, status: u16, about: &str) -> Self {
        self.responses.push((status, json!({ "description": about })));
        self
    }

    /// A good answer. Called again with the same status, it adds a media type.
    pub(crate) fn answer(mut self, status: u16, about: &str, media: &str, schema: Value) -> Self {
        let content = json!({ "schema": schema });
        match self.responses.iter_mut().find(|(s, _)| *s == status) {
            Some((_, response)) => response["content"][media] = content,
            None => self.responses.push((status, json!({ "description": about, "content": { media: content } }))),
        }
        self
    }

    /// A header of a good answer.
    pub(crate) fn sends(mut self, status: u16, name: &str, schema: Value, about: &str) -> Self {
        if let Some((_, response)) = self.responses.iter_mut().find(|(s, _)| *s == status) {
            response["headers"][name] = json!({ "description": about, "schema": schema });
        }
        self
    }

    /// An error that this operation has beyond those that all have.
    pub(crate) fn refuses(mut self, status: u16, about: &'static str) -> Self {
        self.refusals.push((status, about));
        self
    }
}

/// What a path's parts are.
fn path_parameter(name: &str) -> Value {
    let id = json!({ "type": "string", "pattern": "^[a-z0-9][a-z0-9._-]{0,62}$" });
    let text = json!({ "type": "string", "minLength": 1 });
    let (schema, about) = match name {
        "product" => (id, "The data product."),
        "grant" => (id, "The grant."),
        "principal" => (id, "The principal."),
        "credential" => (id, "The credential."),
        "leaf" => {
            (json!({ "type": "integer", "format": "int64", "minimum": 0 }), "The leaf's number in the audit log.")
        }
        "subject" => (json!({ "type": "string", "minLength": 1, "maxLength": 255 }), "The subject, percent-encoded."),
        "version" => {
            (json!({ "type": "string", "pattern": "^(latest|-1|[1-9][0-9]{0,8})$" }), "A version, or `latest`.")
        }
        "id" => (json!({ "type": "integer", "minimum": 1, "maximum": i32::MAX }), "The schema's id."),
        "slug" => (id, "The error's short name."),
        "path" => (text, "The rest of the path, as C2SP tlog-tiles lays it out."),
        "capture" => (text, "The capture job."),
        "event" => (text, "The event's eventID, percent-encoded."),
        "query" => (json!({ "type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._~-]{0,62}$" }), "The query's name."),
        "resource" => {
            (json!({ "type": "string", "enum": crate::routes::RESOURCES }), "A kind of value that events have.")
        }
        _ => (text, "A value of that kind, percent-encoded."),
    };
    json!({ "name": name, "in": "path", "required": true, "description": about, "schema": schema })
}

fn path_parameters(path: &str) -> impl Iterator<Item = Value> {
    let names = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    names.map(|name| path_parameter(name.trim_start_matches('*')))
}

/// The path as OpenAPI writes it.
pub(crate) fn openapi_path(path: &str) -> String {
    path.replace("{*", "{")
}

/// Errors that every governed operation can answer.
const OF_ALL: [(u16, &str); 9] = [
    (400, "The request is not understood."),
    (401, "No credentials that could be accepted."),
    (403, "Not allowed."),
    (404, "There is nothing here that the caller may see."),
    (406, "None of the accepted media types is offered."),
    (408, "The request took longer than its limit."),
    (429, "More requests than the quota allows."),
    (500, "Something went wrong that should not; the operator's log has the cause under the instance."),
    (503, "The hub cannot do this now; Retry-After says when to try again."),
];

/// The operation as OpenAPI 3.1 has it.
pub(crate) fn describe(route: &Route) -> Value {
    let operation = &route.operation;
    let mut parameters: Vec<Value> = path_parameters(route.path).collect();
    parameters.extend(operation.parameters.iter().cloned());
    let mut described = json!({
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": operation.summary,
        "parameters": parameters,
        "responses": responses(route),
    });
    if let Some(text) = operation.description {
        described["description"] = json!(text);
    }
    if !operation.bodies.is_empty() {
        described["requestBody"] = json!({ "required": true, "content": operation.bodies });
    }
    described["security"] = match (route.is_public(), route.dialect) {
        (true, Dialect::OAuth) => json!([{ "client": [] }]),
        (true, _) => json!([]),
        (false, Dialect::Registry) => json!([{ "bearer": [] }, { "apiKey": [] }, { "oauth2": [] }, { "basicKey": [] }]),
        (false, _) => json!([{ "bearer": [] }, { "apiKey": [] }, { "oauth2": [] }]),
    };
    described
}

fn responses(route: &Route) -> Map<String, Value> {
    let operation = &route.operation;
    let mut all = Map::new();
    for (status, response) in &operation.responses {
        let mut response = response.clone();
        if !route.is_public() {
            for name in ["Tradelane-Receipt", "RateLimit", "RateLimit-Policy"] {
                response["headers"][name] = json!({ "$ref": format!("#/components/headers/{name}") });
            }
        }
        all.insert(status.to_string(), response);
    }
    let takes_body = !operation.bodies.is_empty();
    let of_body = [(413, "The body is larger than its limit."), (415, "The body's content type is not accepted here.")];
    let common =
        OF_ALL.iter().filter(|(status, _)| !route.is_public() || matches!(status, 400 | 408 | 429 | 500 | 503));
    let refusals = common.chain(of_body.iter().filter(|_| takes_body)).chain(&operation.refusals);
    for (status, about) in refusals.chain(&[(414, "The path and query are too long.")]) {
        if !all.contains_key(&status.to_string()) {
            all.insert(status.to_string(), problem(*status, about, route.dialect));
        }
    }
    all.sort_keys();
    all
}

fn problem(status: u16, about: &str, dialect: Dialect) -> Value {
    let (media, schema) = match dialect {
        Dialect::OAuth => ("application/json", "OAuthError"),
        Dialect::Registry => (REGISTRY_JSON, "RegistryError"),
        _ => (PROBLEM_JSON, "Problem"),
    };
    // What the listener refuses before it knows the operation is told in its own words.
    let schema = json!({ "$ref": format!("#/components/schemas/{schema}") });
    let mut response = json!({ "description": about, "content": { media: { "schema": schema } } });
    if status == 401 {
        response["headers"]["WWW-Authenticate"] = json!({ "schema": { "type": "string" } });
    }
    if matches!(status, 429 | 503) {
        response["headers"]["Retry-After"] = json!({ "schema": { "type": "integer", "minimum": 0 } });
    }
    response
}
