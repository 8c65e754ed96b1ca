//! The schema registry, in the shapes that Confluent's clients speak: paths, bodies and the numbers of errors are theirs, and
//! parameters that are not known are passed over, as they expect. What a schema is, and who may see it, is the hub's.
//!
//! Source: the API reference of Confluent's schema registry, and what its clients send.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::{Method, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tradelane_hub::{Audited, HubError, NewSchema, Result, SchemaRecord, SchemaSetting, SubjectQuery, WhichVersion};
use tradelane_model::codes;
use tradelane_model::registry::{Compatibility, Mode, SchemaKind, SchemaReference, SchemaText};

use crate::api::{Operation, array, integer, object, operation, text, words};
use crate::door::{Ask, BodySize, Route, governed};
use crate::params::{Params, wrong};
use crate::problem::{Dialect, REGISTRY_JSON};
use crate::reply::Reply;

/// What bodies and answers may be called.
const MEDIA: [&str; 3] = [REGISTRY_JSON, "application/vnd.schemaregistry+json", "application/json"];
/// The most names in one answer.
const MAX_LISTED: usize = 10_000;

pub(super) fn routes(routes: &mut Vec<Route>) {
    subjects(routes);
    schemas(routes);
    settings(routes);
}

fn described(id: &'static str, summary: &'static str, answer: Value) -> Operation {
    operation(id, "Schemas", summary).answer(200, "Done.", REGISTRY_JSON, answer)
}

/// Whose path has a subject's name, and nothing else that could be refused.
fn of_subject(id: &'static str, summary: &'static str, answer: Value) -> Operation {
    described(id, summary, answer).refuses(422, "The name is none that a subject can have.")
}

fn flag() -> Value {
    json!({ "type": "boolean" })
}

fn schema_body(operation: Operation) -> Operation {
    let reference = json!({ "type": "object", "required": ["name", "subject", "version"], "properties": {
        "name": text(), "subject": text(), "version": integer(1, 1 << 30) } });
    let body = json!({ "type": "object", "required": ["schema"], "properties": {
        "schema": text(), "schemaType": words(&["AVRO", "JSON", "PROTOBUF"]), "references": array(reference) } });
    operation
        .body(REGISTRY_JSON, body.clone())
        .body("application/json", body)
        .query("normalize", flag(), "Put the schema in the one form that schemas have that mean the same.")
        .refuses(422, "The schema is not valid.")
}

fn subjects(routes: &mut Vec<Route>) {
    const SUBJECT: &str = "/registry/subjects/{subject}";
    const VERSIONS: &str = "/registry/subjects/{subject}/versions";
    const VERSION: &str = "/registry/subjects/{subject}/versions/{version}";
    let mut add = |route: Route| routes.push(route.speaks(Dialect::Registry));
    let list = described("registrySubjects", "The subjects that you may know of", array(text()))
        .about("Those of your organization, and `PRODUCT-value` for what you read by a grant.")
        .query("subjectPrefix", text(), "Those whose names begin so.")
        .query("deleted", flag(), "Deleted ones as well.")
        .query("deletedOnly", flag(), "Deleted ones only.");
    add(governed(Method::GET, "/registry/subjects", list, list_subjects));
    let lookup = described("registryLookup", "The version of a subject that has this schema", object()).query(
        "deleted",
        flag(),
        "Deleted versions as well.",
    );
    add(governed(Method::POST, SUBJECT, schema_body(lookup), look_up).takes(BodySize::Manifests));
    let delete = described("registryDeleteSubject", "Delete all versions of a subject", array(integer(1, 1 << 30)))
        .query("permanent", flag(), "For good, after it was deleted.")
        .refuses(422, "Another schema refers to it, or the mode does not allow it.");
    add(governed(Method::DELETE, SUBJECT, delete, delete_subject));
    let versions = of_subject("registryVersions", "The versions of a subject", array(integer(1, 1 << 30))).query(
        "deleted",
        flag(),
        "Deleted ones as well.",
    );
    add(governed(Method::GET, VERSIONS, versions, list_versions));
    let register = described("registryRegister", "Register a schema as the next version", object())
        .about(
            "A subject that has the schema keeps its version. The id of an equal schema is the same in all subjects.",
        )
        .refuses(409, "It is not compatible with an earlier version.");
    add(governed(Method::POST, VERSIONS, schema_body(register), register_schema).takes(BodySize::Manifests));
    let one = described("registryVersion", "A version of a subject", object())
        .query("format", text(), "`serialized`: Protobuf as the base64 of its descriptor.")
        .query("deleted", flag(), "Even if it is deleted.")
        .refuses(422, "The version is not a number.");
    add(governed(Method::GET, VERSION, one, get_version));
    let delete = described("registryDeleteVersion", "Delete a version", integer(1, 1 << 30))
        .query("permanent", flag(), "For good, after it was deleted.")
        .refuses(422, "Another schema refers to it, or the mode does not allow it.");
    add(governed(Method::DELETE, VERSION, delete, delete_version));
    let schema = described("registryVersionSchema", "The schema of a version, alone", json!({}))
        .query("format", text(), "`serialized`: Protobuf as the base64 of its descriptor.")
        .query("deleted", flag(), "Even if it is deleted.")
        .refuses(422, "The version is not a number.");
    add(governed(Method::GET, "/registry/subjects/{subject}/versions/{version}/schema", schema, version_schema));
    let by = described("registryReferencedBy", "Ids of schemas that refer to a version", array(integer(1, 1 << 31)))
        .refuses(422, "The version is not a number.");
    add(governed(Method::GET, "/registry/subjects/{subject}/versions/{version}/referencedby", by, referenced_by));
}

fn schemas(routes: &mut Vec<Route>) {
    let mut add = |route: Route| routes.push(route.speaks(Dialect::Registry));
    let types = described("registryTypes", "What schemas can be written in", array(text()));
    add(governed(Method::GET, "/registry/schemas/types", types, schema_types));
    let by_id = described("registrySchema", "The schema of an id", object()).query(
        "format",
        text(),
        "`serialized`: Protobuf as the base64 of its descriptor.",
    );
    add(governed(Method::GET, "/registry/schemas/ids/{id}", by_id, schema_by_id));
    let alone = described("registrySchemaText", "The schema of an id, alone", json!({})).query(
        "format",
        text(),
        "`serialized`: Protobuf as the base64 of its descriptor.",
    );
    add(governed(Method::GET, "/registry/schemas/ids/{id}/schema", alone, schema_alone));
    let deleted = |operation: Operation| operation.query("deleted", flag(), "Deleted versions as well.");
    let versions = described("registrySchemaVersions", "Where a schema is registered", array(object()));
    add(governed(Method::GET, "/registry/schemas/ids/{id}/versions", deleted(versions), schema_versions));
    let subjects = described("registrySchemaSubjects", "Under which subjects a schema is registered", array(text()));
    add(governed(Method::GET, "/registry/schemas/ids/{id}/subjects", deleted(subjects), schema_subjects));
}

fn settings(routes: &mut Vec<Route>) {
    let mut add = |route: Route| routes.push(route.speaks(Dialect::Registry));
    let levels: Vec<&str> = Compatibility::ALL.iter().map(|(name, _)| *name).collect();
    let level =
        json!({ "type": "object", "required": ["compatibility"], "properties": { "compatibility": words(&levels) } });
    let mode =
        json!({ "type": "object", "required": ["mode"], "properties": { "mode": words(&["READWRITE", "READONLY"]) } });
    let body = |operation: Operation, body: &Value| {
        operation
            .body(REGISTRY_JSON, body.clone())
            .body("application/json", body.clone())
            .refuses(422, "It is not known.")
    };
    let or_global =
        |operation: Operation| operation.query("defaultToGlobal", flag(), "What holds, if the subject has none.");
    let of_all = described("registryConfig", "The compatibility of subjects without one of their own", object());
    add(governed(Method::GET, "/registry/config", of_all, get_config));
    let put = described("registryPutConfig", "Set the compatibility of subjects without one of their own", object());
    add(governed(Method::PUT, "/registry/config", body(put, &level), put_config));
    let delete = described("registryDeleteConfig", "Back to BACKWARD", object());
    add(governed(Method::DELETE, "/registry/config", delete, delete_config));
    let of_one = of_subject("registrySubjectConfig", "The compatibility of a subject", object());
    add(governed(Method::GET, "/registry/config/{subject}", or_global(of_one), get_config));
    let put = described("registryPutSubjectConfig", "Set the compatibility of a subject", object());
    add(governed(Method::PUT, "/registry/config/{subject}", body(put, &level), put_config));
    let delete = of_subject("registryDeleteSubjectConfig", "Back to what holds for all", object());
    add(governed(Method::DELETE, "/registry/config/{subject}", delete, delete_config));
    let of_all = described("registryMode", "The mode of all subjects", object());
    add(governed(Method::GET, "/registry/mode", of_all, get_mode));
    let put = described("registryPutMode", "Set the mode of all subjects", object());
    add(governed(Method::PUT, "/registry/mode", body(put, &mode), put_mode));
    let of_one = of_subject("registrySubjectMode", "The mode of a subject", object());
    add(governed(Method::GET, "/registry/mode/{subject}", or_global(of_one), get_mode));
    let put = described("registryPutSubjectMode", "Set the mode of a subject", object());
    add(governed(Method::PUT, "/registry/mode/{subject}", body(put, &mode), put_mode));
    let delete = of_subject("registryDeleteSubjectMode", "Back to what holds for all", object());
    add(governed(Method::DELETE, "/registry/mode/{subject}", delete, delete_mode));
    let check = |id, summary| {
        schema_body(described(id, summary, object())).query("verbose", flag(), "Say what is not compatible.")
    };
    let all = check("registryCompatibility", "Could this schema be the next version?");
    let path = "/registry/compatibility/subjects/{subject}/versions";
    add(governed(Method::POST, path, all, check_all).takes(BodySize::Manifests));
    let one = check("registryVersionCompatibility", "Is this schema compatible with that version?");
    let path = "/registry/compatibility/subjects/{subject}/versions/{version}";
    add(governed(Method::POST, path, one, check_one).takes(BodySize::Manifests));
}

/// A schema as clients send it. What is for other registries is passed over where it says nothing.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SchemaBody {
    schema: String,
    #[serde(default)]
    schema_type: Option<String>,
    #[serde(default)]
    references: Option<Vec<SchemaReference>>,
    #[serde(default)]
    id: Option<i64>,
    #[serde(default)]
    metadata: Option<Value>,
    #[serde(default)]
    rule_set: Option<Value>,
}

#[derive(Deserialize)]
struct ConfigBody {
    #[serde(default)]
    compatibility: Option<String>,
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
struct ModeBody {
    #[serde(default)]
    mode: Option<String>,
}

fn body<T: DeserializeOwned>(ask: &Ask) -> Result<T> {
    let media = ask.media_type()?;
    if !MEDIA.contains(&media.essence.as_str()) && media.essence != "application/octet-stream" {
        return Err(HubError::new(codes::UNSUPPORTED_MEDIA, format!("Send {REGISTRY_JSON}.")));
    }
    serde_json::from_slice(&ask.body).map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        HubError::new(codes::BAD_PARAMETER, format!("The body has not the form that this operation takes ({place})."))
    })
}

fn new_schema(ask: &Ask, query: &mut Params) -> Result<NewSchema> {
    let body: SchemaBody = body(ask)?;
    if body.id.is_some_and(|id| id > 0) {
        let detail = "Ids are given by the registry; a schema cannot be imported under one of its own.";
        return Err(HubError::new(codes::SUBJECT_READ_ONLY, detail));
    }
    if body.metadata.is_some_and(|value| !value.is_null()) || body.rule_set.is_some_and(|value| !value.is_null()) {
        let detail = "Metadata and rule sets are not kept; a product's contract is the place for both.";
        return Err(HubError::new(codes::SCHEMA_INVALID, detail));
    }
    Ok(NewSchema {
        kind: body.schema_type,
        text: body.schema,
        references: body.references.unwrap_or_default(),
        normalize: said(query, "normalize")?,
    })
}

/// Clients write `true` as their language does.
fn said(query: &mut Params, name: &str) -> Result<bool> {
    match query.take(name)? {
        None => Ok(false),
        Some(word) if word.eq_ignore_ascii_case("true") => Ok(true),
        Some(word) if word.eq_ignore_ascii_case("false") => Ok(false),
        Some(_) => Err(wrong(name, "true or false")),
    }
}

fn reply(ask: &Ask, value: &Value) -> Result<Reply> {
    Ok(Reply::of(StatusCode::OK, ask.accepts(&MEDIA)?, value.to_string()))
}

/// The answer in a form that the caller takes, which was asked for before anything was done.
fn answer<T>(media: &'static str, found: Audited<T>, form: impl FnOnce(T) -> Value) -> Audited<Reply> {
    found.map(|found| Reply::of(StatusCode::OK, media, form(found).to_string()))
}

fn which(ask: &Ask) -> Result<WhichVersion> {
    match ask.path("version") {
        "latest" | "-1" => Ok(WhichVersion::Latest),
        number => {
            let number = number.parse().ok().filter(|number| (1..1 << 30).contains(number));
            number.map(WhichVersion::Number).ok_or_else(|| HubError::of(codes::SCHEMA_VERSION_INVALID))
        }
    }
}

fn with_text(schema: &SchemaText, mut value: Value) -> Value {
    // A client that is told none takes it to be Avro.
    if schema.kind != SchemaKind::Avro {
        value["schemaType"] = json!(schema.kind.as_str());
    }
    if !schema.references.is_empty() {
        value["references"] = json!(schema.references);
    }
    value["schema"] = json!(schema.text);
    value
}

fn of_version(record: SchemaRecord) -> Value {
    let SchemaRecord { subject, version, id, schema } = record;
    with_text(&schema, json!({ "subject": subject, "version": version, "id": id }))
}

async fn list_subjects(ask: Ask) -> Result<Audited<Reply>> {
    let media = ask.accepts(&MEDIA)?;
    let mut query = ask.query()?;
    let wanted = SubjectQuery {
        prefix: query.take("subjectPrefix")?.unwrap_or_default().trim_start_matches(":*:").to_owned(),
        deleted: said(&mut query, "deleted")?,
        deleted_only: said(&mut query, "deletedOnly")?,
    };
    let offset = query.number("offset", 0, u64::from(u32::MAX))?.unwrap_or(0);
    // Clients say -1 for no limit.
    let limit = query.take("limit")?.and_then(|limit| limit.parse::<usize>().ok()).unwrap_or(MAX_LISTED);
    let found = ask.hub().schema_subjects(&ask.caller, wanted).await?;
    let skip = usize::try_from(offset).unwrap_or(usize::MAX);
    Ok(answer(media, found, |names| names.into_iter().skip(skip).take(limit.min(MAX_LISTED)).collect()))
}

async fn look_up(ask: Ask) -> Result<Audited<Reply>> {
    let media = ask.accepts(&MEDIA)?;
    let mut query = ask.query()?;
    let (new, deleted) = (new_schema(&ask, &mut query)?, said(&mut query, "deleted")?);
    let found = ask.hub().schema_lookup(&ask.caller, ask.path("subject"), new, deleted).await?;
    Ok(answer(media, found, of_version))
}

async fn delete_subject(ask: Ask) -> Result<Audited<Reply>> {
    let media = ask.accepts(&MEDIA)?;
    let permanent = said(&mut ask.query()?, "permanent")?;
    let done = ask.hub().delete_subject(&ask.caller, ask.path("subject"), permanent).await?;
    Ok(answer(media, done, |versions| json!(versions)))
}

async fn list_versions(ask: Ask) -> Result<Audited<Reply>> {
    let media = ask.accepts(&MEDIA)?;
    let deleted = said(&mut ask.query()?, "deleted")?;
    let found = ask.hub().schema_versions(&ask.caller, ask.path("subject"), deleted).await?;
    Ok(answer(media, found, |versions| json!(versions)))
}

async fn register_schema(ask: Ask) -> Result<Audited<Reply>> {
    let media = ask.accepts(&MEDIA)?;
    let mut query = ask.query()?;
    let new = new_schema(&ask, &mut query)?;
    let done = ask.hub().register_schema(&ask.caller, ask.path("subject"), new).await?;
    Ok(answer(media, done, of_version))
}

async fn version_of(ask: &Ask) -> Result<Audited<SchemaRecord>> {
    let mut query = ask.query()?;
    let (deleted, is_serialized) = (said(&mut query, "deleted")?, serialized(&mut query)?);
    let mut found = ask.hub().schema_version(&ask.caller, ask.path("subject"), which(ask)?, deleted).await?;
    if is_serialized {
        let schema = ask.hub().serialized_schema(&ask.caller, found.value().schema.clone()).await?;
        found = found.map(|found| SchemaRecord { schema, ..found });
    }
    Ok(found)
}

/// Clients that read Protobuf ask for descriptors. Other forms are not made: a schema comes as it is.
fn serialized(query: &mut Params) -> Result<bool> {
    Ok(query.take("format")?.is_some_and(|format| format == "serialized"))
}

async fn get_version(ask: Ask) -> Result<Audited<Reply>> {
    let media = ask.accepts(&MEDIA)?;
    Ok(answer(media, version_of(&ask).await?, of_version))
}

async fn version_schema(ask: Ask) -> Result<Audited<Reply>> {
    let media = ask.accepts(&MEDIA)?;
    let found = version_of(&ask).await?;
    Ok(found.map(|found| Reply::of(StatusCode::OK, media, found.schema.text.clone())))
}

async fn delete_version(ask: Ask) -> Result<Audited<Reply>> {
    let media = ask.accepts(&MEDIA)?;
    let permanent = said(&mut ask.query()?, "permanent")?;
    let subject = ask.path("subject");
    let done = ask.hub().delete_schema_version(&ask.caller, subject, which(&ask)?, permanent).await?;
    Ok(answer(media, done, |version| json!(version)))
}

async fn referenced_by(ask: Ask) -> Result<Audited<Reply>> {
    let media = ask.accepts(&MEDIA)?;
    let found = ask.hub().schema_referrers(&ask.caller, ask.path("subject"), which(&ask)?).await?;
    Ok(answer(media, found, |ids| json!(ids)))
}

async fn schema_types(ask: Ask) -> Result<Audited<Reply>> {
    // What holds for all is not worth a leaf of its own kind: it is recorded as a look at the settings.
    let types = reply(&ask, &json!(SchemaKind::ALL.map(|(name, _)| name)))?;
    Ok(ask.hub().schema_settings(&ask.caller, None).await?.map(|_| types))
}

/// A number that can be no id names no schema.
fn id(ask: &Ask) -> Result<u32> {
    ask.path("id").parse().map_err(|_| HubError::of(codes::SCHEMA_UNKNOWN))
}

async fn schema_of(ask: &Ask) -> Result<Audited<Arc<SchemaText>>> {
    let is_serialized = serialized(&mut ask.query()?)?;
    let found = ask.hub().schema_by_id(&ask.caller, id(ask)?).await?;
    if !is_serialized {
        return Ok(found);
    }
    let schema = ask.hub().serialized_schema(&ask.caller, found.value().clone()).await?;
    Ok(found.map(|_| schema))
}

async fn schema_by_id(ask: Ask) -> Result<Audited<Reply>> {
    let media = ask.accepts(&MEDIA)?;
    let found = schema_of(&ask).await?;
    Ok(answer(media, found, |schema| with_text(&schema, json!({}))))
}

async fn schema_alone(ask: Ask) -> Result<Audited<Reply>> {
    let media = ask.accepts(&MEDIA)?;
    let found = schema_of(&ask).await?;
    Ok(found.map(|schema| Reply::of(StatusCode::OK, media, schema.text.clone())))
}

async fn uses(ask: &Ask) -> Result<Audited<Vec<(String, u32)>>> {
    let deleted = said(&mut ask.query()?, "deleted")?;
    ask.hub().schema_uses(&ask.caller, id(ask)?, deleted).await
}

async fn schema_versions(ask: Ask) -> Result<Audited<Reply>> {
    let media = ask.accepts(&MEDIA)?;
    let all = |uses: Vec<(String, u32)>| {
        uses.into_iter().map(|(subject, version)| json!({ "subject": subject, "version": version })).collect()
    };
    Ok(answer(media, uses(&ask).await?, all))
}

async fn schema_subjects(ask: Ask) -> Result<Audited<Reply>> {
    let media = ask.accepts(&MEDIA)?;
    let names = |uses: Vec<(String, u32)>| {
        let mut names: Vec<String> = uses.into_iter().map(|(subject, _)| subject).collect();
        names.dedup();
        json!(names)
    };
    Ok(answer(media, uses(&ask).await?, names))
}

/// The subject of the path; none where the path has none.
fn subject(ask: &Ask) -> Option<&str> {
    Some(ask.path("subject")).filter(|subject| !subject.is_empty())
}

async fn get_config(ask: Ask) -> Result<Audited<Reply>> {
    let media = ask.accepts(&MEDIA)?;
    let or_global = said(&mut ask.query()?, "defaultToGlobal")?;
    let found = ask.hub().schema_settings(&ask.caller, subject(&ask)).await?;
    if subject(&ask).is_some() && found.value().own.compatibility.is_none() && !or_global {
        return Err(HubError::of(codes::COMPATIBILITY_UNSET));
    }
    Ok(answer(media, found, |found| json!({ "compatibilityLevel": found.compatibility.as_str() })))
}

async fn put_config(ask: Ask) -> Result<Audited<Reply>> {
    let media = ask.accepts(&MEDIA)?;
    let body: ConfigBody = body(&ask)?;
    if body.others.values().any(|value| !value.is_null()) {
        return Err(HubError::new(codes::COMPATIBILITY_INVALID, "`compatibility` is all that can be set here."));
    }
    let level = body.compatibility.as_deref().and_then(Compatibility::named);
    let level = level.ok_or_else(|| HubError::of(codes::COMPATIBILITY_INVALID))?;
    let setting = SchemaSetting::Compatibility(Some(level));
    let done = ask.hub().set_schema_setting(&ask.caller, subject(&ask), setting).await?;
    Ok(answer(media, done, |_| json!({ "compatibility": level.as_str() })))
}

async fn delete_config(ask: Ask) -> Result<Audited<Reply>> {
    let media = ask.accepts(&MEDIA)?;
    let setting = SchemaSetting::Compatibility(None);
    let done = ask.hub().set_schema_setting(&ask.caller, subject(&ask), setting).await?;
    Ok(answer(media, done, |before| json!({ "compatibilityLevel": before.compatibility.as_str() })))
}

async fn get_mode(ask: Ask) -> Result<Audited<Reply>> {
    let media = ask.accepts(&MEDIA)?;
    let or_global = said(&mut ask.query()?, "defaultToGlobal")?;
    let found = ask.hub().schema_settings(&ask.caller, subject(&ask)).await?;
    if subject(&ask).is_some() && found.value().own.mode.is_none() && !or_global {
        return Err(HubError::of(codes::MODE_UNSET));
    }
    Ok(answer(media, found, |found| json!({ "mode": found.mode.as_str() })))
}

async fn put_mode(ask: Ask) -> Result<Audited<Reply>> {
    let media = ask.accepts(&MEDIA)?;
    let body: ModeBody = body(&ask)?;
    let mode = match body.mode.as_deref() {
        Some("READWRITE") => Mode::Readwrite,
        Some("READONLY") => Mode::Readonly,
        _ => return Err(HubError::of(codes::MODE_INVALID)),
    };
    let setting = SchemaSetting::Mode(Some(mode));
    let done = ask.hub().set_schema_setting(&ask.caller, subject(&ask), setting).await?;
    Ok(answer(media, done, |_| json!({ "mode": mode.as_str() })))
}

async fn delete_mode(ask: Ask) -> Result<Audited<Reply>> {
    let media = ask.accepts(&MEDIA)?;
    let done = ask.hub().set_schema_setting(&ask.caller, subject(&ask), SchemaSetting::Mode(None)).await?;
    Ok(answer(media, done, |before| json!({ "mode": before.mode.as_str() })))
}

async fn check_all(ask: Ask) -> Result<Audited<Reply>> {
    check(ask, None).await
}

async fn check_one(ask: Ask) -> Result<Audited<Reply>> {
    let against = which(&ask)?;
    check(ask, Some(against)).await
}

async fn check(ask: Ask, against: Option<WhichVersion>) -> Result<Audited<Reply>> {
    let media = ask.accepts(&MEDIA)?;
    let mut query = ask.query()?;
    let (new, verbose) = (new_schema(&ask, &mut query)?, said(&mut query, "verbose")?);
    let told = ask.hub().check_schema(&ask.caller, ask.path("subject"), against, new).await?;
    Ok(answer(media, told, |told| match verbose {
        true => json!({ "is_compatible": told.is_empty(), "messages": told }),
        false => json!({ "is_compatible": told.is_empty() }),
    }))
}
