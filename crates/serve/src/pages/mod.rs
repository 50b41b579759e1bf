//! The review pages: server-rendered HTML with one small script.
//!
//! Invariants:
//! - Every text from outside is escaped by the templates; the one piece of finished markup is a cluster's body.
//! - The policy of every page allows its own host only: no inline script, no inline style, no other host.
//! - Reading works without the script; deciding needs it.

mod account;
mod assets;
mod cluster;
mod queue;

use std::sync::{Arc, LazyLock};

use axum::Extension;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{Html, IntoResponse, Response};
use minijinja::{Environment, Value};
use serde::{Deserialize, Serialize};

pub(crate) use account::account;
pub(crate) use assets::{review_script, review_style, style};
pub(crate) use cluster::cluster;
pub(crate) use queue::queue;

use crate::decisions_api;
use crate::errors::ApiError;
use crate::shared::Shared;
use crate::tokens::{Caller, Role};

const POLICY: &str = "default-src 'none'; img-src 'self' data:; style-src 'self'; script-src 'self'; connect-src 'self'; \
     form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

static TEMPLATES: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(minijinja::UndefinedBehavior::Strict);
    environment.add_filter("urlencode", |text: String| crate::queue::percent(&text));
    let sources = [
        ("base.html", include_str!("../../templates/base.html")),
        ("queue.html", include_str!("../../templates/queue.html")),
        ("cluster.html", include_str!("../../templates/cluster.html")),
        ("account.html", include_str!("../../templates/account.html")),
        ("decisions.html", include_str!("../../templates/decisions.html")),
        ("dismiss.html", include_str!("../../templates/dismiss.html")),
        ("parts.html", include_str!("../../templates/parts.html")),
        ("search.html", include_str!("../../templates/search.html")),
    ];
    for (name, source) in sources {
        if let Err(error) = environment.add_template(name, source) {
            tracing::error!(name, %error, "a template of the review pages is broken");
        }
    }
    environment
});

/// What every page shows.
#[derive(Serialize)]
struct Frame {
    caller: String,
    role: String,
    may_decide: bool,
    may_erase: bool,
    may_search: bool,
}

impl Frame {
    fn of(caller: &Caller, shared: &Shared) -> Self {
        Self {
            caller: caller.name.clone(),
            role: caller.role.to_string(),
            may_decide: caller.role >= Role::Analyst,
            may_erase: caller.role >= Role::Admin && shared.audit.is_some(),
            may_search: caller.role >= Role::Analyst && shared.config.search_enabled,
        }
    }
}

/// A page: what all of them show, and its own.
#[derive(Serialize)]
struct Page<'a, T: Serialize> {
    frame: &'a Frame,
    page: T,
}

fn render<T: Serialize>(template: &str, frame: &Frame, page: T) -> Result<Response, ApiError> {
    let context = Value::from(minijinja::value::Serde(&Page { frame, page }));
    let html = TEMPLATES.get_template(template).and_then(|template| template.render(context));
    let html = html.map_err(|error| {
        tracing::error!(template, %error, "a page cannot be drawn");
        ApiError::failed()
    })?;
    Ok((policy(), Html(html)).into_response())
}

fn policy() -> [(HeaderName, HeaderValue); 1] {
    [(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY))]
}

/// `1 Mar 2026`, in UTC.
fn day(time: records::Timestamp) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let text = time.to_string();
    let mut parts = text.split(['-', 'T']);
    let mut next = || parts.next().unwrap_or_default();
    let (year, month, day) = (next(), next(), next());
    let month = month.parse::<usize>().ok().and_then(|n| MONTHS.get(n.checked_sub(1)?)).copied();
    format!("{} {} {year}", day.trim_start_matches('0'), month.unwrap_or("?"))
}

/// `1 Mar 2026 14:05 UTC`.
fn minute(time: records::Timestamp) -> String {
    let text = time.to_string();
    let clock = text.split('T').nth(1).and_then(|clock| clock.get(..5)).unwrap_or_default();
    format!("{} {clock} UTC", day(time))
}

/// The newest snapshot's report, the page that can be handed on.
pub(crate) async fn report(State(shared): State<Arc<Shared>>) -> Result<Html<String>, ApiError> {
    shared.blocking(|shared| Ok(Html(shared.state.page()?.to_string()))).await
}

/// The search form; its script asks `/v1/search`.
pub(crate) async fn search(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
) -> Result<Response, ApiError> {
    #[derive(Serialize)]
    struct SearchPage {
        enabled: bool,
    }
    let enabled = shared.config.search_enabled;
    render("search.html", &Frame::of(&caller, &shared), SearchPage { enabled })
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct DecisionsQuery {
    before: Option<u64>,
    all: Option<bool>,
}

/// Every decision, newest first.
pub(crate) async fn decisions(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    query: Result<Query<DecisionsQuery>, QueryRejection>,
) -> Result<Response, ApiError> {
    #[derive(Serialize)]
    struct DecisionsPage {
        all: bool,
        rows: Vec<decisions_api::DecisionAnswer>,
        next: Option<u64>,
    }
    let Query(query) = query.map_err(|error| ApiError::invalid(error.body_text()))?;
    let all = query.all.unwrap_or(false);
    shared
        .blocking(move |shared| {
            let before = query.before.unwrap_or(u64::MAX);
            let page = decisions_api::page(&shared.state.decisions()?, before, !all, 100);
            let page = DecisionsPage { all, rows: page.decisions, next: page.next };
            render("decisions.html", &Frame::of(&caller, shared), page)
        })
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_is_sound() {
        assert_eq!(TEMPLATES.templates().count(), 8);
    }

    #[test]
    fn times_read_well() {
        let time: records::Timestamp = "2026-03-01T14:05:09.5Z".parse().unwrap();
        assert_eq!((day(time).as_str(), minute(time).as_str()), ("1 Mar 2026", "1 Mar 2026 14:05 UTC"));
    }
}
