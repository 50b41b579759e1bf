//! Who may do what, and under which limits.
//!
//! Invariants:
//! - With tokens, every request but health and readiness names a caller whose role suffices.
//! - Without tokens (loopback only), the `Host` must be a loopback name, so that no other site's name can be pointed
//!   at this service (DNS rebinding).
//! - A request that another site's page makes a browser send is refused (CSRF), whatever it carries.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;

use crate::errors::ApiError;
use crate::shared::Shared;
use crate::tokens::{Caller, Role};

/// Lets a request through if its caller has at least `role`, and tells the handler who calls.
pub(crate) async fn authorise(
    State((shared, role)): State<(Arc<Shared>, Role)>,
    mut request: Request,
    next: Next,
) -> Response {
    let headers = request.headers();
    if from_another_site(headers) {
        return ApiError::forbidden("cross_site", "requests from other sites' pages are refused")
            .into_response();
    }
    let caller = match &shared.tokens {
        None if host_is_loopback(headers) => Caller { name: "local".to_owned(), role: Role::Admin },
        None => {
            let message = "without tokens, this service answers to loopback names only";
            return ApiError::forbidden("foreign_host", message).into_response();
        }
        Some(tokens) => match token(headers).and_then(|token| tokens.caller(&token).cloned()) {
            Some(caller) => caller,
            None => {
                let message = "a valid bearer token is needed";
                return ApiError::new(StatusCode::UNAUTHORIZED, "unauthorised", message).into_response();
            }
        },
    };
    if caller.role < role {
        let message = format!("this needs the role {role}; this token's is {}", caller.role);
        return ApiError::forbidden("role", message).into_response();
    }
    request.extensions_mut().insert(caller);
    next.run(request).await
}

/// The token: `Authorization: Bearer TOKEN`, or a browser's Basic password.
fn token(headers: &HeaderMap) -> Option<String> {
    let (scheme, rest) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim().to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = base64::engine::general_purpose::STANDARD.decode(rest.trim()).ok()?;
    String::from_utf8(pair).ok()?.split_once(':').map(|(_, password)| password.to_owned())
}

/// Whether a browser says that another site's page made it send this. Programs send neither header.
fn from_another_site(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = text("sec-fetch-site") {
        let opened_by_hand =
            text("sec-fetch-mode") == Some("navigate") && text("sec-fetch-dest") == Some("document");
        return !(matches!(site, "same-origin" | "none") || opened_by_hand);
    }
    match (text("origin"), text("host")) {
        (None, _) => false,
        (Some(origin), Some(host)) => origin.split_once("://").is_none_or(|(_, from)| from != host),
        (Some(_), None) => true,
    }
}

fn host_is_loopback(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST).and_then(|host| host.to_str().ok()) else { return false };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    bare.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// The outermost layer: the time limit, security headers, metrics and one log line. Logs the route, never the path,
/// since paths name accounts.
pub(crate) async fn observe(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let start = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map_or("unknown", MatchedPath::as_str).to_owned();
    let limit = shared.timeout();
    let mut response = match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let message = format!("the request took longer than {} s", limit.as_secs());
            ApiError::new(StatusCode::GATEWAY_TIMEOUT, "timeout", message).into_response()
        }
    };
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::CONTENT_SECURITY_POLICY, "frame-ancestors 'none'"),
    ] {
        // A page with a policy of its own keeps it.
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    let (status, took) = (response.status().as_u16(), start.elapsed());
    let labels = [("method", method.to_string()), ("route", route.clone()), ("status", status.to_string())];
    metrics::counter!("facering_http_requests_total", &labels).increment(1);
    metrics::histogram!("facering_http_request_seconds", "route" => route.clone()).record(took.as_secs_f64());
    tracing::info!(%method, route, status, ms = took.as_millis() as u64, "request");
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (header::HeaderName::from_static(name), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn other_sites_are_known() {
        let cases: [(&[(&str, &str)], bool); 7] = [
            (&[], false),
            (&[("host", "127.0.0.1:1"), ("origin", "http://127.0.0.1:1")], false),
            (&[("host", "127.0.0.1:1"), ("origin", "http://evil.example")], true),
            (&[("host", "127.0.0.1:1"), ("origin", "null")], true),
            (&[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors")], true),
            (
                &[
                    ("sec-fetch-site", "cross-site"),
                    ("sec-fetch-mode", "navigate"),
                    ("sec-fetch-dest", "document"),
                ],
                false,
            ),
            (&[("sec-fetch-site", "same-origin")], false),
        ];
        for (pairs, refused) in cases {
            let map: HeaderMap = pairs
                .iter()
                .map(|(name, value)| (name.parse::<header::HeaderName>().unwrap(), value.parse().unwrap()))
                .collect();
            assert_eq!(from_another_site(&map), refused, "{pairs:?}");
        }
    }

    #[test]
    fn loopback_names_are_known() {
        for host in ["127.0.0.1:8321", "localhost", "LOCALHOST:1", "[::1]:8321", "127.9.9.9"] {
            assert!(host_is_loopback(&headers(&[("host", host)])), "{host}");
        }
        for host in ["evil.example", "localhost.evil.example:80", "10.0.0.1", "[::2]:1", ""] {
            assert!(!host_is_loopback(&headers(&[("host", host)])), "{host}");
        }
        assert!(!host_is_loopback(&HeaderMap::new()));
    }

    #[test]
    fn tokens_come_as_bearer_or_password() {
        let basic = base64::engine::general_purpose::STANDARD.encode("anyone:to:ken");
        assert_eq!(token(&headers(&[("authorization", "bearer abc ")])).as_deref(), Some("abc"));
        assert_eq!(
            token(&headers(&[("authorization", &format!("Basic {basic}"))])).as_deref(),
            Some("to:ken")
        );
        assert_eq!(token(&headers(&[("authorization", "Digest x")])), None);
    }
}
