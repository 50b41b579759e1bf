//! The service over real sockets.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr
)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use common::{METRICS, Service, SmallState};
use serde_json::json;
use serve::{ServeConfig, ServeError, Server, openapi};
use sha2::{Digest, Sha256};

#[tokio::test(flavor = "multi_thread")]
async fn reading_works_without_tokens_on_loopback() {
    let service = Service::start(SmallState::new(), |_| {}).await;
    assert_eq!(service.get("/v1/health").await.json(), json!({"status": "ok"}));
    let ready = service.get("/v1/ready").await;
    assert_eq!((ready.status, &ready.json()["faces"]), (200, &json!(8)));
    assert_eq!(service.get("/v1/metrics").await.body, METRICS);
    let page = service.get("/report").await;
    assert!(page.body.starts_with("<!DOCTYPE html>"));
    for header in ["cache-control: no-store", "frame-ancestors 'none'", "nosniff", "text/html"] {
        assert!(page.head.contains(header), "{header} is missing: {}", page.head);
    }
    let account = service.get("/v1/accounts/account%203").await.json();
    assert_eq!(account["clusters"][0]["cluster_id"], "fc-001");
    assert_eq!(account["photos"][0]["photo_id"], "avatar");
    let unknown = service.get("/v1/accounts/nobody").await;
    assert_eq!((unknown.status, unknown.code()), (404, "not_found".into()));
    assert_eq!(service.get("/v1/accounts/%00").await.status, 400);
    assert_eq!(service.get("/elsewhere").await.status, 404);
    assert_eq!(service.send("PUT /v1/clusters", &[], b"").await.status, 405);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_clusters_join_without_gap_or_double() {
    let service = Service::start(SmallState::new(), |_| {}).await;
    let (mut seen, mut next) = (Vec::new(), String::new());
    loop {
        let page = service.get(&format!("/v1/clusters?limit=50{next}")).await.json();
        for cluster in page["clusters"].as_array().unwrap() {
            seen.push((
                cluster["score"].as_f64().unwrap(),
                cluster["cluster_id"].as_str().unwrap().to_owned(),
            ));
        }
        match page["next"].as_str() {
            Some(id) => next = format!("&after={id}"),
            None => break,
        }
    }
    let mut sorted = seen.clone();
    sorted.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    sorted.dedup();
    assert_eq!((seen.len(), &seen), (120, &sorted));
    let few = service.get("/v1/clusters?kind=same_bytes&min_score=0.85").await.json();
    let scores: Vec<_> =
        few["clusters"].as_array().unwrap().iter().map(|c| c["score"].as_f64().unwrap()).collect();
    assert!(!scores.is_empty() && scores.iter().all(|score| *score >= 0.85));
    for wrong in ["limit=0", "limit=501", "kind=twins", "status=gone", "min_score=2", "colour=red", "limit=x"]
    {
        assert_eq!(service.get(&format!("/v1/clusters?{wrong}")).await.status, 400, "{wrong}");
    }
    assert_eq!(service.get("/v1/clusters?after=fc-999").await.status, 404);
    let cluster = service.get("/v1/clusters/fc-007?evidence_limit=0").await.json();
    let count = |key: &str| cluster[key].as_array().unwrap().len();
    assert_eq!((count("members"), count("victims"), count("evidence")), (2, 1, 0));
    assert_eq!(cluster["evidence_total"], 1);
    assert_eq!(cluster["members"][0]["profile"]["username"], "user 0");
    assert_eq!(service.get("/v1/clusters/fc-999").await.status, 404);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_first_snapshot_it_says_so() {
    let state = SmallState { latest: None, ..SmallState::new() };
    let service = Service::start(state, |_| {}).await;
    let ready = service.get("/v1/ready").await;
    assert_eq!((ready.status, &ready.json()["waiting_for"]), (503, &json!("the first snapshot")));
    let clusters = service.get("/v1/clusters").await;
    assert_eq!((clusters.status, clusters.code()), (503, "not_ready".into()));
    assert!(clusters.head.contains("retry-after"));
    assert_eq!(service.get("/v1/accounts/account%201").await.json()["clusters"], json!([]));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn search_is_off_until_switched_on() {
    let service = Service::start(SmallState::new(), |_| {}).await;
    let answer = service.search(&json!({"purpose": "ticket 1", "vector": [1, 0, 0, 0, 0, 0, 0, 0]})).await;
    assert_eq!((answer.status, answer.code()), (403, "search_disabled".into()));
    assert_eq!(service.audit(), "");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn search_finds_and_is_audited() {
    let service = Service::start(SmallState::new(), |config| config.search_enabled = true).await;
    let vector = json!([1, 0, 0, 0, 0, 0, 0, 0]);
    let picture = [0u8, 0, 200, 0, 0, 0, 0, 0];
    let text = base64::engine::general_purpose::STANDARD.encode(picture);
    let single = service.search(&json!({"purpose": "ticket 1", "vector": vector, "limit": 1})).await;
    let found = &single.json()["results"][0]["faces"][0]["matches"][0];
    assert_eq!(found["account_id"], "account 0", "{single:?}");
    let cosine = found["cosine"].as_f64().unwrap();
    assert!((cosine - 1.0 / 1.25f64.sqrt()).abs() < 1e-6);
    assert!((found["distance"].as_f64().unwrap() - (2.0 - 2.0 * cosine)).abs() < 1e-6);
    let both =
        json!({"purpose": "ticket 2", "queries": [{"vector": vector}, {"picture": text}], "min_cosine": 0.8});
    let batch = service.search(&both).await.json();
    let names: Vec<_> =
        (0..2).map(|n| &batch["results"][n]["faces"][0]["matches"][0]["account_id"]).collect();
    assert_eq!(names, ["account 0", "account 2"]);
    let raw = service
        .send("POST /v1/search", &["Content-Type: image/jpeg", "facering-purpose: ticket 3"], &picture)
        .await;
    assert_eq!(raw.json()["results"][0]["faces"][0]["matches"][0]["account_id"], "account 2");

    let lines: Vec<serde_json::Value> =
        service.audit().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let purposes: Vec<_> = lines.iter().map(|line| line["purpose"].as_str().unwrap()).collect();
    assert_eq!(purposes, ["ticket 1", "ticket 2", "ticket 3"]);
    assert_eq!(
        (&lines[1]["caller"], &lines[1]["subject"]),
        (&json!("local"), &json!("1 vectors, 1 pictures"))
    );
    assert!(lines[0]["at"].as_str().unwrap().starts_with("20"));

    let wrong = [
        (json!({"vector": vector}), 400, "purpose_needed"),
        (json!({"purpose": "  a ", "vector": vector}), 400, "purpose_needed"),
        (json!({"purpose": "line\nbreak", "vector": vector}), 400, "purpose_needed"),
        (json!({"purpose": "ticket"}), 400, "invalid_request"),
        (json!({"purpose": "ticket", "vector": vector, "picture": text}), 400, "invalid_request"),
        (json!({"purpose": "ticket", "vector": vector, "queries": []}), 400, "invalid_request"),
        (json!({"purpose": "ticket", "queries": []}), 400, "invalid_request"),
        (json!({"purpose": "ticket", "vector": [0, 0, 0]}), 400, "invalid_request"),
        (json!({"purpose": "ticket", "vector": [1e39, 0]}), 400, "invalid_request"),
        (json!({"purpose": "ticket", "vector": vector, "limit": 0}), 400, "invalid_request"),
        (json!({"purpose": "ticket", "vector": vector, "min_cosine": 2}), 400, "invalid_request"),
        (json!({"purpose": "ticket", "vector": vector, "who": "me"}), 400, "invalid_request"),
        (json!({"purpose": "ticket", "picture": "?"}), 400, "invalid_request"),
        (json!({"purpose": "ticket", "vector": [1, 2, 3]}), 422, "unanswerable"),
        (json!({"purpose": "ticket", "picture": "AAAA"}), 422, "unanswerable"),
    ];
    for (body, status, code) in wrong {
        let answer = service.search(&body).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{body}");
    }
    let form = service.send("POST /v1/search", &["Content-Type: text/plain"], b"{}").await;
    assert_eq!(form.status, 415);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_search_without_its_audit_entry() {
    let service = Service::start(SmallState::new(), |config| {
        config.search_enabled = true;
        config.audit_path = Some("/dev/full".into());
    })
    .await;
    let answer = service.search(&json!({"purpose": "ticket 1", "vector": [1, 0, 0, 0, 0, 0, 0, 0]})).await;
    assert_eq!((answer.status, answer.code()), (503, "no_audit_log".into()));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_decide() {
    let hash = |token: &str| hex::encode(Sha256::digest(token));
    let text: String = ["reader", "analyst", "admin"]
        .map(|role| format!("[[token]]\nname = '{role} one'\nrole = '{role}'\nsha256 = '{}'\n", hash(role)))
        .concat();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens.toml");
    std::fs::write(&path, text).unwrap();
    let service = Service::start(SmallState::new(), |config| {
        config.tokens_path = Some(path);
        config.search_enabled = true;
    })
    .await;
    let vector = json!({"purpose": "ticket 9", "vector": [1, 0, 0, 0, 0, 0, 0, 0]}).to_string();
    // What nobody, a stranger, the reader, the analyst and the administrator get.
    let cases = [
        ("GET /v1/health", [200, 200, 200, 200, 200]),
        ("GET /v1/ready", [200, 200, 200, 200, 200]),
        ("GET /", [401, 401, 200, 200, 200]),
        ("GET /openapi.json", [401, 401, 200, 200, 200]),
        ("GET /v1/metrics", [401, 401, 200, 200, 200]),
        ("GET /v1/clusters", [401, 401, 200, 200, 200]),
        ("GET /v1/accounts/account%204", [401, 401, 200, 200, 200]),
        ("POST /v1/search", [401, 401, 403, 200, 200]),
        ("DELETE /v1/accounts/account%204", [401, 401, 403, 403, 200]),
        ("DELETE /v1/accounts/account%204", [401, 401, 403, 403, 404]),
    ];
    for (line, expected) in cases {
        for (token, status) in
            [None, Some("guess"), Some("reader"), Some("analyst"), Some("admin")].iter().zip(expected)
        {
            let bearer =
                token.map(|token| format!("Authorization: Bearer {token}")).unwrap_or("X-None: 1".into());
            let headers = [bearer.as_str(), "Content-Type: application/json", "facering-purpose: request 77"];
            let body = if line.starts_with("POST") { vector.as_bytes() } else { b"" };
            let answer = service.send(line, &headers, body).await;
            assert_eq!(answer.status, status, "{line} as {token:?}: {answer:?}");
        }
    }
    let basic = base64::engine::general_purpose::STANDARD.encode("me:reader");
    assert_eq!(service.send("GET /", &[&format!("Authorization: Basic {basic}")], b"").await.status, 200);
    let nobody = service.get("/").await;
    assert!(nobody.head.contains("www-authenticate: Basic"), "{}", nobody.head);
    let audit = service.audit();
    assert!(audit.contains("\"caller\":\"admin one\"") && audit.contains("request 77"));
    assert!(!audit.contains("account 4"), "an erased account must not live on in the audit log");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_account_is_no_longer_found() {
    let service = Service::start(SmallState::new(), |config| config.search_enabled = true).await;
    let body = json!({"purpose": "ticket 1", "vector": [1, 0.5, 0, 0, 0, 0, 0, 0], "limit": 1});
    let first =
        |answer: serde_json::Value| answer["results"][0]["faces"][0]["matches"][0]["account_id"].clone();
    assert_eq!(first(service.search(&body).await.json()), "account 0");
    let unasked = service.send("DELETE /v1/accounts/account%200", &[], b"").await;
    assert_eq!((unasked.status, unasked.code()), (400, "purpose_needed".into()));
    let receipt =
        service.send("DELETE /v1/accounts/account%200", &["facering-purpose: asked by its owner"], b"").await;
    assert_eq!((receipt.status, &receipt.json()["receipt"]), (200, &json!("erased")));
    assert_eq!(service.get("/v1/accounts/account%200").await.status, 404);
    assert_ne!(first(service.search(&body).await.json()), "account 0");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_sites_are_refused() {
    let service = Service::start(SmallState::new(), |config| config.search_enabled = true).await;
    let line = "DELETE /v1/accounts/account%205";
    let purpose = "facering-purpose: none of yours";
    let origin = service.send(line, &["Origin: https://evil.example", purpose], b"").await;
    assert_eq!((origin.status, origin.code()), (403, "cross_site".into()));
    let fetch = service
        .send("GET /v1/clusters", &["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors"], b"")
        .await;
    assert_eq!(fetch.status, 403);
    let rebound = service.send("GET /v1/clusters", &["Host: evil.example"], b"").await;
    assert_eq!((rebound.status, rebound.code()), (403, "foreign_host".into()));
    assert_eq!(service.get("/v1/accounts/account%205").await.status, 200);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_hold() {
    let state = SmallState { slowness: Duration::from_millis(1500), ..SmallState::new() };
    let service = Arc::new(
        Service::start(state, |config| {
            config.search_enabled = true;
            config.max_body_bytes = 2048;
            config.request_timeout_seconds = 1;
            config.max_concurrent = 1;
            config.queries_per_minute = 4;
            config.max_queries = 3;
        })
        .await,
    );
    let large = service.send("POST /v1/search", &["Content-Type: application/json"], &[b' '; 4096]).await;
    assert_eq!((large.status, large.code()), (413, "too_large".into()));
    let query = json!({"vector": [1, 0, 0, 0, 0, 0, 0, 0]});
    let many = service.search(&json!({"purpose": "ticket", "queries": [query, query, query, query]})).await;
    assert_eq!((many.status, many.code()), (400, "invalid_request".into()));
    let slow = tokio::spawn({
        let (service, query) = (Arc::clone(&service), query.clone());
        async move { service.search(&json!({"purpose": "ticket", "queries": [query]})).await }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let crowded = service.get("/v1/clusters").await;
    assert_eq!((crowded.status, crowded.code()), (503, "busy".into()));
    let slow = slow.await.unwrap();
    assert_eq!((slow.status, slow.code()), (504, "timeout".into()));
    let still = service.get("/v1/clusters").await;
    assert_eq!(still.status, 503, "the slow search still holds the only place");
    tokio::time::sleep(Duration::from_millis(800)).await;
    assert_eq!(service.get("/v1/clusters").await.status, 200);
    let wide = json!({"purpose": "ticket", "queries": [query, query, query]});
    assert_eq!(service.search(&wide).await.status, 504);
    tokio::time::sleep(Duration::from_millis(800)).await;
    let limited = service.search(&wide).await;
    assert_eq!((limited.status, limited.code()), (429, "rate_limited".into()));
    Arc::into_inner(service).unwrap().stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_refuses_to_listen_openly_without_tokens() {
    let bind = |config| Server::bind(config, Arc::new(SmallState::new()), Arc::new(String::new));
    let open = ServeConfig { listen: "0.0.0.0:0".into(), ..ServeConfig::default() };
    let error = bind(open.clone()).await.unwrap_err();
    assert!(matches!(&error, ServeError::Config(_)), "{error}");
    assert!(error.to_string().contains("needs tokens_path"), "{error}");
    let missing = ServeConfig { tokens_path: Some("/nonexistent/tokens.toml".into()), ..open };
    assert!(matches!(bind(missing).await.unwrap_err(), ServeError::Tokens(_)));
    let first = bind(ServeConfig { listen: "127.0.0.1:0".into(), ..ServeConfig::default() }).await.unwrap();
    let taken = ServeConfig { listen: first.address().to_string(), ..ServeConfig::default() };
    assert!(matches!(bind(taken).await.unwrap_err(), ServeError::Listen { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_openapi_document_names_every_route_and_every_reference_exists() {
    let service = Service::start(SmallState::new(), |_| {}).await;
    let document = service.get("/openapi.json").await.json();
    assert_eq!(document, serde_json::to_value(openapi()).unwrap());
    let paths = document["paths"].as_object().unwrap();
    let mut operations: Vec<String> = paths
        .iter()
        .flat_map(|(path, item)| {
            item.as_object().unwrap().keys().map(move |method| format!("{method} {path}"))
        })
        .collect();
    operations.sort();
    let expected = [
        "delete /v1/accounts/{id}",
        "get /v1/accounts/{id}",
        "get /v1/clusters",
        "get /v1/clusters/{id}",
        "get /v1/decisions",
        "get /v1/health",
        "get /v1/metrics",
        "get /v1/pictures/{picture}",
        "get /v1/ready",
        "post /v1/decisions",
        "post /v1/search",
    ];
    assert_eq!(operations, expected);
    for operation in expected {
        // Every documented route answers: a route that does not exist would say so by its own code.
        let (method, path) = operation.split_once(' ').unwrap();
        let answer = service
            .send(
                &format!(
                    "{} {}",
                    method.to_uppercase(),
                    path.replace("{id}", "fc-001").replace("{picture}", "x")
                ),
                &[],
                b"",
            )
            .await;
        assert_ne!(answer.status, 405, "{operation}");
        assert!(!answer.body.contains("no such page"), "{operation}: {answer:?}");
    }
    let text = document.to_string();
    for reference in text.split("\"$ref\":\"#").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(document.pointer(reference).is_some(), "{reference} stands nowhere");
    }
    service.stop().await;
}

/// The real recorder behind the metrics endpoint, as the binary installs it.
#[tokio::test(flavor = "multi_thread")]
async fn requests_are_counted_by_route_and_never_by_account() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().install_recorder().unwrap();
    let config = ServeConfig { listen: "127.0.0.1:0".into(), ..ServeConfig::default() };
    let render = recorder.clone();
    let server =
        Server::bind(config, Arc::new(SmallState::new()), Arc::new(move || render.render())).await.unwrap();
    let address = server.address();
    let task = tokio::spawn(server.run(std::future::pending()));
    let fetch = |path: &'static str| async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    };
    fetch("/v1/accounts/account%206").await;
    let metrics = fetch("/v1/metrics").await;
    let counted = metrics
        .lines()
        .find(|line| line.starts_with("facering_http_requests_total") && line.contains("/v1/accounts/{id}"));
    assert!(counted.is_some_and(|line| line.contains("status=\"200\"")), "{metrics}");
    assert!(!metrics.contains("account%206") && !metrics.contains("account 6"));
    task.abort();
}
