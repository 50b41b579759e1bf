//! What is written to the audit log: searching for faces, and erasing an account.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::{Extension, Json};
use base64::Engine;
use records::{AccountId, Cosine, Embedding, FaceKey};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::answers::{FaceAnswer, Forgotten, QueryAnswer, SearchAnswer};
use crate::errors::{ApiError, ErrorBody};
use crate::shared::Shared;
use crate::state::{SearchLimits, StateError};
use crate::tables_api::account_id;
use crate::tokens::Caller;

/// Photos of an account that are searched with.
const MOST_PHOTOS: usize = 32;

/// Header with the purpose of a search or erasure, where the body has no field for it.
const PURPOSE: &str = "facering-purpose";

/// A search: one query given by `vector`, `picture`, `account` or `face`, or many given by `queries`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SearchRequest {
    /// Why this search is made, 3 to 500 characters; stands in the audit log. May also be given by the header
    /// `facering-purpose`.
    #[schema(min_length = 3, max_length = 500, example = "ticket 4711: reported impersonation")]
    purpose: Option<String>,
    /// An embedding of the configured model pack, of any length.
    #[schema(min_items = 2, max_items = 4096)]
    vector: Option<Vec<f32>>,
    /// A picture's bytes as base64.
    picture: Option<String>,
    /// Every face of this account.
    account: Option<String>,
    /// A face the state knows.
    face: Option<String>,
    /// Several queries, each with one of the four.
    queries: Option<Vec<SearchQuery>>,
    /// Most matches a face, 1 to 1,000.
    #[schema(minimum = 1, maximum = 1000, default = 20)]
    limit: Option<usize>,
    /// Smallest cosine of a match, -1 to 1.
    #[schema(minimum = -1, maximum = 1, default = 0.4)]
    min_cosine: Option<f32>,
}

/// One query: `vector`, `picture`, `account` or `face`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SearchQuery {
    /// An embedding of the configured model pack, of any length.
    #[schema(min_items = 2, max_items = 4096)]
    vector: Option<Vec<f32>>,
    /// A picture's bytes as base64.
    picture: Option<String>,
    /// Every face of this account.
    account: Option<String>,
    /// A face the state knows.
    face: Option<String>,
}

/// A checked query.
enum Query {
    Vector(Embedding),
    Picture(Bytes),
    Account(AccountId),
    Face(FaceKey),
}

struct Search {
    purpose: String,
    queries: Vec<Query>,
    limits: SearchLimits,
}

#[utoipa::path(
    post, path = "/v1/search", tag = "search", security(("token" = ["analyst"])),
    request_body(content(
        (SearchRequest = "application/json"),
        (Vec<u8> = "image/*"),
    ), description = "A search as JSON; or one picture's bytes, with the purpose in the header facering-purpose"),
    params(("facering-purpose" = Option<String>, Header, description = "Why this search is made, 3 to 500 characters")),
    responses(
        (status = 200, description = "The photos most like each query", body = SearchAnswer),
        (status = 400, description = "The request is wrong, or names no purpose", body = ErrorBody),
        (status = 403, description = "Search is switched off, or the role does not suffice", body = ErrorBody),
        (status = 413, description = "The body is too large", body = ErrorBody),
        (status = 415, description = "The body is neither JSON nor a picture", body = ErrorBody),
        (status = 422, description = "No face on the picture, no picture, or a vector of another dimension", body = ErrorBody),
        (status = 429, description = "Too many queries within a minute", body = ErrorBody),
        (status = 503, description = "Not ready, busy, or the audit log cannot be written", body = ErrorBody),
        (status = 401, description = "A token is needed", body = ErrorBody),
    )
)]
pub(crate) async fn search(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<SearchAnswer>, ApiError> {
    if !shared.config.search_enabled {
        let message = "face search is switched off; the operator switches it on with serve.search_enabled";
        return Err(ApiError::forbidden("search_disabled", message));
    }
    let body = body.map_err(|error| too_large(&error))?;
    shared
        .blocking(move |shared| {
            let search = read(&headers, body, shared.config.max_queries)?;
            shared.spend(&caller, search.queries.len())?;
            let subject = subject(&search.queries);
            shared.audited(&caller, "search", &search.purpose, &subject)?;
            // All faces of all queries are searched for at once, then dealt back to their queries.
            let mut faces = Vec::new();
            let mut counts = Vec::new();
            for query in search.queries {
                let found = match query {
                    Query::Vector(vector) => vec![vector],
                    Query::Picture(bytes) => shared.state.embed(bytes)?,
                    Query::Account(account) => faces_of(shared, &account)?,
                    Query::Face(face) => vec![known_face(shared, &face)?],
                };
                counts.push(found.len());
                faces.extend(found);
            }
            let mut answers = shared.state.search(&faces, search.limits)?.into_iter().map(FaceAnswer::from);
            let results = counts.iter().map(|n| QueryAnswer { faces: answers.by_ref().take(*n).collect() });
            Ok(Json(SearchAnswer { results: results.collect() }))
        })
        .await
}

/// What was searched with, for the audit log: which kind how often. Ids stay out, since an erased one must not live on.
fn subject(queries: &[Query]) -> String {
    let of = |kind: fn(&Query) -> bool| queries.iter().filter(|query| kind(query)).count();
    let (vectors, pictures) = (of(|q| matches!(q, Query::Vector(_))), of(|q| matches!(q, Query::Picture(_))));
    let (accounts, faces) = (of(|q| matches!(q, Query::Account(_))), of(|q| matches!(q, Query::Face(_))));
    let kinds = [(vectors, "vectors"), (pictures, "pictures"), (accounts, "accounts"), (faces, "faces")];
    let counted = kinds.iter().filter(|(count, _)| *count > 0).map(|(count, kind)| format!("{count} {kind}"));
    counted.collect::<Vec<_>>().join(", ")
}

/// The faces of an account, largest of each picture first.
fn faces_of(shared: &Shared, account: &AccountId) -> Result<Vec<Embedding>, ApiError> {
    let unknown = || StateError::Unanswerable("the state knows no face of this account".to_owned());
    let view = shared.state.account(account)?.ok_or_else(unknown)?;
    let mut faces = Vec::new();
    for photo in view.photos.iter().take(MOST_PHOTOS) {
        faces.extend(shared.state.faces_on(&photo.picture)?.into_iter().map(|(_, embedding)| embedding));
    }
    if faces.is_empty() { Err(unknown().into()) } else { Ok(faces) }
}

fn known_face(shared: &Shared, face: &FaceKey) -> Result<Embedding, ApiError> {
    let found = shared.state.faces_on(&face.photo)?.into_iter().find(|(key, _)| key == face);
    let unknown = || StateError::Unanswerable("the state knows no such face".to_owned());
    Ok(found.ok_or_else(unknown)?.1)
}

/// A body that could not be read, mostly since it is too large.
pub(crate) fn too_large(error: &BytesRejection) -> ApiError {
    let status = error.status();
    let code = if status == StatusCode::PAYLOAD_TOO_LARGE { "too_large" } else { "invalid_request" };
    ApiError::new(status, code, error.body_text())
}

fn read(headers: &HeaderMap, body: Bytes, most: usize) -> Result<Search, ApiError> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let kind = header(header::CONTENT_TYPE.as_str()).unwrap_or_default();
    let purpose = header(PURPOSE).map(str::to_owned);
    if kind.starts_with("image/") {
        if body.is_empty() {
            return Err(ApiError::invalid("the body is empty"));
        }
        let limits = limits(None, None)?;
        return Ok(Search {
            purpose: checked_purpose(purpose)?,
            queries: vec![Query::Picture(body)],
            limits,
        });
    }
    if kind.split(';').next().map(str::trim) != Some("application/json") {
        let message = "content-type must be application/json or image/…";
        return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media_type", message));
    }
    let request: SearchRequest = serde_json::from_slice(&body)
        .map_err(|error| ApiError::invalid(format!("the body is no search: {error}")))?;
    let SearchRequest { vector, picture, account, face, .. } = request;
    let single = SearchQuery { vector, picture, account, face };
    let queries = match (request.queries, &single) {
        (Some(queries), SearchQuery { vector: None, picture: None, account: None, face: None }) => queries,
        (Some(_), _) => {
            return Err(ApiError::invalid("give either queries, or one vector, picture, account or face"));
        }
        (None, _) => vec![single],
    };
    if queries.is_empty() || queries.len() > most {
        let message = format!("there are {} queries; allowed are 1 to {most}", queries.len());
        return Err(ApiError::invalid(message));
    }
    let queries = queries.into_iter().enumerate().map(|(nth, query)| {
        checked_query(query).map_err(|why| ApiError::invalid(format!("query {nth}: {why}")))
    });
    Ok(Search {
        purpose: checked_purpose(request.purpose.or(purpose))?,
        queries: queries.collect::<Result<_, _>>()?,
        limits: limits(request.limit, request.min_cosine)?,
    })
}

fn checked_query(query: SearchQuery) -> Result<Query, String> {
    match (query.vector, query.picture, query.account, query.face) {
        (Some(vector), None, None, None) => {
            Embedding::normalised(&vector).map(Query::Vector).map_err(|e| e.to_string())
        }
        (None, Some(text), None, None) => match base64::engine::general_purpose::STANDARD.decode(text.trim())
        {
            Ok(bytes) if !bytes.is_empty() => Ok(Query::Picture(Bytes::from(bytes))),
            Ok(_) => Err("the picture is empty".to_owned()),
            Err(_) => Err("the picture is no base64".to_owned()),
        },
        (None, None, Some(id), None) => AccountId::new(id).map(Query::Account).map_err(|e| e.to_string()),
        (None, None, None, Some(id)) => id
            .parse()
            .map(Query::Face)
            .map_err(|_| "a face's id is 64 hexadecimal digits, a dash and 16 more".to_owned()),
        _ => Err("give one of vector, picture, account and face".to_owned()),
    }
}

fn limits(limit: Option<usize>, least: Option<f32>) -> Result<SearchLimits, ApiError> {
    let (matches, least) = (limit.unwrap_or(20), least.unwrap_or(0.4));
    if !(1..=1000).contains(&matches) {
        return Err(ApiError::invalid(format!("limit is {matches}; allowed are 1 to 1000")));
    }
    if !(-1.0..=1.0).contains(&least) {
        return Err(ApiError::invalid("min_cosine lies outside -1 to 1"));
    }
    Ok(SearchLimits { matches, least: Cosine::new(least) })
}

fn checked_purpose(purpose: Option<String>) -> Result<String, ApiError> {
    let purpose = purpose.unwrap_or_default().trim().to_owned();
    let length = purpose.chars().count();
    if !(3..=500).contains(&length) || purpose.chars().any(char::is_control) {
        let message =
            "a purpose of 3 to 500 characters is needed, in the field purpose or the header facering-purpose";
        return Err(ApiError::new(StatusCode::BAD_REQUEST, "purpose_needed", message));
    }
    Ok(purpose)
}

#[utoipa::path(
    delete, path = "/v1/accounts/{id}", tag = "accounts", security(("token" = ["admin"])),
    params(
        ("id" = String, Path, description = "The account's id"),
        ("facering-purpose" = String, Header, description = "Why the account is erased, 3 to 500 characters"),
    ),
    responses(
        (status = 200, description = "The account is erased; the receipt", body = Forgotten),
        (status = 400, description = "This can be no account id, or no purpose is named", body = ErrorBody),
        (status = 403, description = "The role does not suffice, or there is no audit log", body = ErrorBody),
        (status = 404, description = "The state does not know this account", body = ErrorBody),
        (status = 401, description = "A token is needed", body = ErrorBody),
        (status = 503, description = "Busy, or not ready yet", body = ErrorBody),
    )
)]
pub(crate) async fn forget(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Forgotten>, ApiError> {
    let id = account_id(&id)?;
    let purpose = headers.get(PURPOSE).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let purpose = checked_purpose(purpose)?;
    shared
        .blocking(move |shared| {
            // The log names no account: an erased id must not live on in it.
            shared.audited(&caller, "forget", &purpose, "1 account")?;
            let receipt = shared.state.forget(&id)?.ok_or_else(|| ApiError::not_found("account"))?;
            Ok(Json(Forgotten::new(id.to_string(), receipt)))
        })
        .await
}
