//! Reading: clusters and accounts.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use records::AccountId;
use records::tables::{ClusterRow, LinkKind, Role};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::answers::{Account, Cluster, ClusterDetail, ClusterPage, Evidence, Member};
use crate::errors::{ApiError, ErrorBody};
use crate::review::Verdict;
use crate::shared::Shared;

/// Which clusters, and how many.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ClusterQuery {
    /// Most clusters to answer, 1 to 500.
    #[param(minimum = 1, maximum = 500, default = 50)]
    limit: Option<usize>,
    /// The page after this one: the `next` of the page before.
    after: Option<String>,
    /// Only clusters with at least this score.
    #[param(minimum = 0.0, maximum = 1.0)]
    min_score: Option<f64>,
    /// Only clusters with a link of this kind: `same_bytes`, `same_photo` or `same_person`.
    #[param(pattern = "^(same_bytes|same_photo|same_person)$")]
    kind: Option<String>,
    /// Only clusters of this change: `new`, `grown`, `shrunk`, `merged`, `split` or `unchanged`.
    #[param(pattern = "^(new|grown|shrunk|merged|split|unchanged)$")]
    change: Option<String>,
    /// Only clusters of this status: `open`, `returned` (dismissed, with something new since), `confirmed` or
    /// `dismissed`.
    #[param(pattern = "^(open|returned|confirmed|dismissed)$")]
    status: Option<String>,
}

#[utoipa::path(
    get, path = "/v1/clusters", tag = "clusters", params(ClusterQuery), security(("token" = ["reader"])),
    responses(
        (status = 200, description = "Clusters of the newest snapshot, best score first", body = ClusterPage),
        (status = 400, description = "A parameter is wrong", body = ErrorBody),
        (status = 404, description = "The newest snapshot has no cluster as `after` names", body = ErrorBody),
        (status = 503, description = "There is no snapshot yet", body = ErrorBody),
        (status = 401, description = "A token is needed", body = ErrorBody),
        (status = 403, description = "The role does not suffice", body = ErrorBody),
    )
)]
pub(crate) async fn clusters(
    State(shared): State<Arc<Shared>>,
    query: Result<Query<ClusterQuery>, QueryRejection>,
) -> Result<Json<ClusterPage>, ApiError> {
    let Query(query) = query.map_err(|error| ApiError::invalid(error.body_text()))?;
    let limit = query.limit.unwrap_or(50);
    if !(1..=500).contains(&limit) {
        return Err(ApiError::invalid(format!("limit is {limit}; allowed are 1 to 500")));
    }
    let kind: Option<LinkKind> = word(query.kind.as_deref(), "kind")?;
    let change: Option<records::tables::Change> = word(query.change.as_deref(), "change")?;
    let status = query.status.as_deref().map(|word| Verdict::ALL.into_iter().find(|v| v.as_str() == word));
    if status == Some(None) {
        return Err(ApiError::invalid("status is none of the words it may be"));
    }
    let status = status.flatten();
    let least = query.min_score.unwrap_or(0.0);
    if !(0.0..=1.0).contains(&least) {
        return Err(ApiError::invalid("min_score lies outside 0 to 1"));
    }
    shared
        .blocking(move |shared| {
            let (catalogue, review) = shared.review()?;
            let verdict = |row: &ClusterRow| {
                catalogue.row_of(&row.cluster_id).map_or(Verdict::Open, |at| review.verdict(at))
            };
            let fits = |row: &&ClusterRow| {
                row.score >= least
                    && status.is_none_or(|status| verdict(row) == status)
                    && kind.is_none_or(|kind| row.kinds.contains(&kind))
                    && change.is_none_or(|change| row.change == change)
            };
            let ranked = catalogue.ranked(query.after.as_deref());
            let ranked =
                ranked.ok_or_else(|| ApiError::not_found("cluster as after names in the newest snapshot"))?;
            let mut rows: Vec<&ClusterRow> = ranked.filter(fits).take(limit + 1).collect();
            let more = rows.len() > limit;
            rows.truncate(limit);
            let next = rows.last().filter(|_| more).map(|row| row.cluster_id.clone());
            let answer = |row: &ClusterRow| {
                let at = catalogue.row_of(&row.cluster_id).unwrap_or_default();
                Cluster::new(row, catalogue.doubt(at), &review.status(at))
            };
            let clusters = rows.into_iter().map(answer).collect();
            Ok(Json(ClusterPage { snapshot: catalogue.snapshot().to_owned(), clusters, next }))
        })
        .await
}

fn word<T: std::str::FromStr>(text: Option<&str>, name: &str) -> Result<Option<T>, ApiError> {
    let wrong = |_| ApiError::invalid(format!("{name} is none of the words it may be"));
    text.map(str::parse).transpose().map_err(wrong)
}

/// How much of a cluster.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DetailQuery {
    /// Most links to answer, 0 to 100,000.
    #[param(minimum = 0, maximum = 100_000, default = 1000)]
    evidence_limit: Option<usize>,
}

#[utoipa::path(
    get, path = "/v1/clusters/{id}", tag = "clusters", security(("token" = ["reader"])),
    params(("id" = String, Path, description = "The cluster's id"), DetailQuery),
    responses(
        (status = 200, description = "The cluster with members, victims and evidence", body = ClusterDetail),
        (status = 400, description = "A parameter is wrong", body = ErrorBody),
        (status = 404, description = "No such cluster in the newest snapshot", body = ErrorBody),
        (status = 401, description = "A token is needed", body = ErrorBody),
        (status = 403, description = "The role does not suffice", body = ErrorBody),
        (status = 503, description = "Busy, or not ready yet", body = ErrorBody),
    )
)]
pub(crate) async fn cluster(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    query: Result<Query<DetailQuery>, QueryRejection>,
) -> Result<Json<ClusterDetail>, ApiError> {
    let Query(query) = query.map_err(|error| ApiError::invalid(error.body_text()))?;
    let limit = query.evidence_limit.unwrap_or(1000);
    if limit > 100_000 {
        return Err(ApiError::invalid(format!("evidence_limit is {limit}; allowed are 0 to 100000")));
    }
    shared
        .blocking(move |shared| {
            let (catalogue, review) = shared.review()?;
            let at = catalogue.row_of(&id).ok_or_else(|| ApiError::not_found("cluster"))?;
            let row = catalogue.cluster(&id).ok_or_else(|| ApiError::not_found("cluster"))?;
            let of_role = |role: Role| {
                let rows = catalogue.members(&id).filter(|member| member.role == role);
                rows.map(|m| Member::new(m, catalogue.account(&m.account_id).map(|a| &a.facts))).collect()
            };
            Ok(Json(ClusterDetail {
                snapshot: catalogue.snapshot().to_owned(),
                cluster: Cluster::new(row, catalogue.doubt(at), &review.status(at)),
                members: of_role(Role::Member),
                victims: of_role(Role::Victim),
                evidence: catalogue.evidence(&id).take(limit).map(Evidence::from).collect(),
                evidence_total: catalogue.evidence(&id).count(),
            }))
        })
        .await
}

/// The account id of a path.
pub(crate) fn account_id(text: &str) -> Result<AccountId, ApiError> {
    AccountId::new(text).map_err(|error| ApiError::invalid(error.to_string()))
}

#[utoipa::path(
    get, path = "/v1/accounts/{id}", tag = "accounts", security(("token" = ["reader"])),
    params(("id" = String, Path, description = "The account's id")),
    responses(
        (status = 200, description = "The account, its photos and its clusters", body = Account),
        (status = 400, description = "This can be no account id", body = ErrorBody),
        (status = 404, description = "The state does not know this account", body = ErrorBody),
        (status = 401, description = "A token is needed", body = ErrorBody),
        (status = 403, description = "The role does not suffice", body = ErrorBody),
        (status = 503, description = "Busy, or not ready yet", body = ErrorBody),
    )
)]
pub(crate) async fn account(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
) -> Result<Json<Account>, ApiError> {
    let id = account_id(&id)?;
    shared
        .blocking(move |shared| {
            let view = shared.state.account(&id)?.ok_or_else(|| ApiError::not_found("account"))?;
            // An account can be looked up before the first snapshot; it is then in no cluster.
            let catalogue = match shared.catalogue() {
                Ok(catalogue) => Some(catalogue),
                Err(crate::state::StateError::NotReady(_)) => None,
                Err(error) => return Err(error.into()),
            };
            let places = catalogue.iter().flat_map(|catalogue| catalogue.memberships(&id));
            Ok(Json(Account::new(id.to_string(), view, places)))
        })
        .await
}
