//! The JSON that requests and answers have, where it is the listener's own. What the hub's types write themselves is
//! described here for the OpenAPI document only.

use serde::{Deserialize, Serialize};
use tradelane_model::organization::CredentialKind;
use utoipa::ToSchema;

/// What was stored.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[allow(dead_code)] // Its shape is all that is used.
pub(crate) struct Published {
    /// Where they are, partition by partition; none if nothing was stored.
    parts: Vec<Part>,
    /// The partition that all of them are in, if it is one.
    partition: Option<u32>,
    /// The offset of the first event in it.
    offset: Option<u64>,
    /// How many were stored.
    count: u32,
    /// True if this request had been done before; nothing was stored again.
    duplicate: bool,
    /// When the hub took them.
    #[schema(format = "date-time")]
    time: String,
    /// Events that were set aside.
    quarantined: Vec<Quarantined>,
    /// With it the audit leaf proves what was sent: its digest is SHA-256(salt || SHA-256(body)).
    salt: String,
    /// The leaf in the audit log; of several, that of the first part.
    receipt: u64,
}

/// Events that are in one partition, one behind the other.
#[derive(ToSchema)]
#[allow(dead_code)] // Its shape is all that is used.
pub(crate) struct Part {
    /// The partition.
    partition: u32,
    /// The offset of the first of them.
    offset: u64,
    /// How many.
    count: u32,
    /// The leaf in the audit log that says so.
    receipt: u64,
}

/// An event that was set aside.
#[derive(ToSchema)]
#[allow(dead_code)] // Its shape is all that is used.
pub(crate) struct Quarantined {
    /// Its place in the request, from 0.
    index: u64,
    /// Why.
    code: String,
    /// What was wrong with it.
    #[schema(value_type = Vec<crate::problem::PlaceSchema>)]
    places: Vec<()>,
}

/// Events as the caller's grant shows them.
#[derive(ToSchema)]
#[allow(dead_code)] // Its shape is all that is used.
pub(crate) struct EventPage {
    /// In the order of their offsets.
    events: Vec<EventEnvelope>,
    /// Where to go on: the next request's `from`.
    next: u64,
    /// The offset that the next published event will get.
    end: u64,
}

/// One event and where it stands.
#[derive(ToSchema)]
#[allow(dead_code)] // Its shape is all that is used.
pub(crate) struct EventEnvelope {
    /// Its offset.
    offset: u64,
    /// When the hub took it.
    #[schema(format = "date-time")]
    time: String,
    /// The event.
    event: serde_json::Value,
}

/// Events that were set aside.
#[derive(ToSchema)]
#[allow(dead_code)] // Its shape is all that is used.
pub(crate) struct QuarantinePage {
    /// Oldest first.
    #[schema(value_type = Vec<Object>)]
    events: Vec<()>,
}

/// A request for a grant.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AccessRequestBody {
    /// The product.
    #[schema(pattern = "^[a-z0-9][a-z0-9._-]{0,62}$")]
    pub(crate) product: String,
    /// What for; one of the contract's purposes.
    #[schema(min_length = 1, max_length = 200)]
    pub(crate) purpose: String,
    /// A word to the owner.
    #[serde(default)]
    #[schema(max_length = 2000)]
    pub(crate) note: String,
    /// The Kafka topic under which to find it, and it only; none: as the owner decides, by itself the product's id.
    #[serde(default)]
    #[schema(pattern = "^[a-zA-Z0-9._-]{1,249}$")]
    pub(crate) topic: Option<String>,
}

/// Why.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReasonBody {
    /// For the other side and the audit trail.
    #[schema(max_length = 2000)]
    pub(crate) reason: String,
}

/// Grants in which the caller's organization has a part.
#[derive(ToSchema)]
#[allow(dead_code)] // Its shape is all that is used.
pub(crate) struct GrantList {
    /// By id.
    #[schema(schema_with = grants)]
    grants: Vec<()>,
}

fn grants() -> utoipa::openapi::schema::Schema {
    list_of("Grant")
}

fn list_of(name: &str) -> utoipa::openapi::schema::Schema {
    utoipa::openapi::schema::ArrayBuilder::new().items(utoipa::openapi::Ref::from_schema_name(name)).build().into()
}

/// Products that the caller may know of.
#[derive(ToSchema)]
#[allow(dead_code)] // Its shape is all that is used.
pub(crate) struct Catalog {
    /// By id.
    #[schema(schema_with = entries)]
    products: Vec<()>,
}

fn entries() -> utoipa::openapi::schema::Schema {
    list_of("CatalogEntry")
}

/// Manifests to apply.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ApplyBody {
    /// The files.
    #[schema(max_items = 1000)]
    pub(crate) files: Vec<ApplyFile>,
}

/// A manifest file.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ApplyFile {
    /// Its name, for messages.
    #[schema(max_length = 255)]
    pub(crate) name: String,
    /// YAML: one or more documents.
    pub(crate) text: String,
}

/// What an apply did, or would do.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[allow(dead_code)] // Its shape is all that is used.
pub(crate) struct PlanBody {
    /// Was anything changed?
    applied: bool,
    /// Step by step.
    steps: Vec<PlanStep>,
}

/// A step of a plan.
#[derive(ToSchema)]
#[allow(dead_code)] // Its shape is all that is used.
pub(crate) struct PlanStep {
    /// `create`, `change`, `delete` or `no-op`.
    verb: String,
    /// `organization`, `principal`, `contract`, `product`, `grant` or `policy`.
    kind: String,
    /// Which.
    id: String,
}

/// A credential to issue.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct NewCredentialBody {
    /// How it is presented: `api-key` or `client-secret`.
    #[schema(value_type = CredentialKindSchema)]
    pub(crate) kind: CredentialKind,
    /// Seconds until it expires.
    #[schema(minimum = 1, maximum = 31622400)]
    pub(crate) lifetime_seconds: i64,
    /// The credential that it takes the place of.
    #[serde(default)]
    pub(crate) replaces: Option<String>,
    /// Seconds that the replaced one goes on working; 0 after a compromise.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 604800)]
    pub(crate) overlap_seconds: i64,
}

/// A client certificate to register.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct NewCertificateBody {
    /// SHA-256 of the certificate (DER), in hexadecimal digits.
    #[schema(pattern = "^[0-9A-Fa-f]{64}$")]
    pub(crate) sha256: String,
    /// Seconds for which it is accepted.
    #[schema(minimum = 60, maximum = 31622400)]
    pub(crate) lifetime_seconds: i64,
}

/// A client certificate that was registered.
#[derive(Serialize, ToSchema)]
pub(crate) struct RegisteredBody<'a> {
    /// The credential's id, by which it is revoked.
    pub(crate) id: &'a str,
}

/// How a credential is presented.
#[derive(ToSchema)]
#[schema(as = CredentialKind, rename_all = "kebab-case")]
#[allow(dead_code)] // Its shape is all that is used.
pub(crate) enum CredentialKindSchema {
    ApiKey,
    ClientSecret,
}

/// A credential that was issued. The secret is shown this once.
#[derive(Serialize, ToSchema)]
pub(crate) struct IssuedBody<'a> {
    /// Its id; for a client secret, the `client_id`.
    pub(crate) id: &'a str,
    /// What the holder presents.
    pub(crate) secret: &'a str,
    /// When it stops working.
    #[schema(format = "date-time")]
    pub(crate) expires: String,
}

/// Credentials of the caller's organization.
#[derive(ToSchema)]
#[allow(dead_code)] // Its shape is all that is used.
pub(crate) struct CredentialList {
    /// By id.
    #[schema(schema_with = credentials)]
    credentials: Vec<()>,
}

fn credentials() -> utoipa::openapi::schema::Schema {
    list_of("Credential")
}

/// A person to erase.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ErasureRequest {
    /// The value by which the contract's `subject` fields name the person, for example an e-mail address.
    #[schema(min_length = 1, max_length = 1024)]
    pub(crate) subject: String,
}

/// What an erasure did.
#[derive(ToSchema)]
#[allow(dead_code)] // Its shape is all that is used.
#[schema(as = Erasure)]
pub(crate) struct ErasureBody {
    /// Keys that are no more.
    #[schema(rename = "keysDestroyed")]
    keys_destroyed: u32,
    /// What the audit log holds of it.
    commitment: String,
    /// Opens the commitment, for whoever must prove later whom it was about.
    key: String,
    /// When.
    #[schema(format = "date-time")]
    at: String,
}

/// Which event to explain, to whom.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct ExplainRequest {
    /// The organization that would read.
    #[schema(pattern = "^[a-z0-9][a-z0-9._-]{0,62}$")]
    pub(crate) organization: String,
    /// For which purpose, if it has several grants.
    #[serde(default)]
    pub(crate) purpose: Option<String>,
    /// A stored event, in the partition 0 unless said; or
    #[serde(default)]
    pub(crate) offset: Option<u64>,
    /// its partition; or
    #[serde(default)]
    pub(crate) partition: Option<u32>,
    /// one that was not published.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub(crate) event: Option<Box<serde_json::value::RawValue>>,
}

/// A token to turn back.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DetokenizeRequest {
    /// The grant through which it was read.
    #[schema(pattern = "^[a-z0-9][a-z0-9._-]{0,62}$")]
    pub(crate) grant: String,
    /// As a view showed it.
    #[schema(min_length = 1, max_length = 8192)]
    pub(crate) token: String,
}

/// A token's value.
#[derive(Serialize, ToSchema)]
pub(crate) struct DetokenizedBody {
    /// As it was published.
    pub(crate) value: serde_json::Value,
}

/// A page of the audit trail.
#[derive(ToSchema)]
#[allow(dead_code)] // Its shape is all that is used.
pub(crate) struct TrailPage {
    /// Oldest first.
    #[schema(schema_with = trail)]
    entries: Vec<()>,
    /// The next request's `after`; absent at the end.
    next: Option<u64>,
}

fn trail() -> utoipa::openapi::schema::Schema {
    list_of("TrailEntry")
}

/// An access token (RFC 6749, 5.1).
#[derive(ToSchema)]
#[allow(dead_code)] // Its shape is all that is used.
pub(crate) struct TokenBody {
    /// The token.
    access_token: String,
    /// Always `Bearer`.
    token_type: String,
    /// Seconds.
    expires_in: i64,
    /// What it may be used for.
    scope: String,
}

/// An error of the token endpoint (RFC 6749, 5.2).
#[derive(ToSchema)]
#[allow(dead_code)] // Its shape is all that is used.
pub(crate) struct OAuthError {
    /// `invalid_client`, `invalid_request`, ...
    error: String,
    /// One sentence.
    error_description: String,
}

/// OAuth 2 authorization server metadata (RFC 8414).
#[derive(Serialize, ToSchema)]
pub(crate) struct Metadata<'a> {
    pub(crate) issuer: &'a str,
    pub(crate) token_endpoint: String,
    pub(crate) jwks_uri: String,
    pub(crate) grant_types_supported: [&'a str; 1],
    pub(crate) response_types_supported: [&'a str; 0],
    pub(crate) token_endpoint_auth_methods_supported: [&'a str; 2],
    pub(crate) scopes_supported: [&'a str; 4],
    pub(crate) service_documentation: String,
}

/// How the hub is.
#[derive(ToSchema)]
#[allow(dead_code)] // Its shape is all that is used.
pub(crate) struct HealthBody {
    /// Can it serve?
    ready: bool,
    /// Check by check.
    checks: Vec<HealthCheck>,
}

/// A check.
#[derive(ToSchema)]
#[allow(dead_code)] // Its shape is all that is used.
pub(crate) struct HealthCheck {
    /// What was checked.
    name: String,
    /// Is it well?
    ok: bool,
}

/// A capture job (EPCIS 2.0).
#[derive(ToSchema)]
#[schema(as = CaptureJob, rename_all = "camelCase")]
#[allow(dead_code)] // Its shape is all that is used.
pub(crate) struct CaptureJobBody {
    /// The job.
    #[schema(rename = "captureID")]
    capture_id: String,
    #[schema(format = "date-time")]
    created_at: String,
    #[schema(format = "date-time")]
    finished_at: Option<String>,
    /// Is it still at work?
    running: bool,
    /// Was there no error so far?
    success: bool,
    /// `rollback` or `proceed`.
    capture_error_behaviour: String,
    /// What was wrong.
    #[schema(value_type = Vec<Object>)]
    errors: Vec<()>,
}

/// A named query (EPCIS 2.0).
#[derive(ToSchema)]
#[allow(dead_code)] // Its shape is all that is used.
pub(crate) struct NamedQuery {
    /// Its name.
    #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._~-]{0,62}$")]
    name: String,
    /// Its parameters (query-schema.json).
    #[schema(value_type = Object)]
    query: (),
}

/// A collection (EPCIS 2.0).
#[derive(Serialize, ToSchema)]
pub(crate) struct Collection<'a> {
    #[serde(rename = "@context")]
    pub(crate) context: &'a str,
    #[serde(rename = "type")]
    pub(crate) kind: &'a str,
    pub(crate) member: Vec<String>,
}
