//! The review pages and decisions over real sockets.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr
)]

mod common;

use common::{Service, SmallState};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const JSON: &str = "Content-Type: application/json";

async fn decide(service: &Service, body: &Value) -> common::Answer {
    service.send("POST /v1/decisions", &[JSON], body.to_string().as_bytes()).await
}

fn ids(page: &str) -> Vec<String> {
    page.match_indices("<tr data-id=\"")
        .map(|(at, start)| page[at + start.len()..].split('"').next().unwrap().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_queue_is_cut_sorted_and_filtered_here() {
    let service = Service::start(SmallState::new(), |_| {}).await;
    let first = service.get("/").await;
    assert_eq!(first.status, 200);
    assert!(first.head.contains("script-src 'self'") && !first.head.contains("unsafe"), "{}", first.head);
    let (page, second) = (ids(&first.body), ids(&service.get("/?page=2").await.body));
    assert_eq!((page.len(), second.len()), (50, 50));
    assert!(page.iter().all(|id| !second.contains(id)), "a page repeats another");
    assert_eq!(ids(&service.get("/?page=3").await.body).len(), 20);
    let scores = ids(&service.get("/?sort=score&dir=asc").await.body);
    assert_eq!(scores[0], "fc-000");
    assert_eq!(ids(&service.get("/?q=fc-11").await.body).len(), 10);
    assert_eq!(ids(&service.get("/?q=account%20300").await.body), ["fc-100"], "found by account");
    assert_eq!(ids(&service.get("/?q=USER%202&kind=same_bytes").await.body).len(), 50, "found by user name");
    assert!(ids(&service.get("/?min_accounts=3").await.body).is_empty());
    for wrong in ["status=gone", "sort=colour", "page=x", "min_score=high"] {
        assert_eq!(service.get(&format!("/?{wrong}")).await.status, 400, "{wrong}");
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dismissed_cluster_leaves_the_queue_at_once_and_undoing_brings_it_back() {
    let service = Service::start(SmallState::new(), |_| {}).await;
    let dismiss = json!({"deed": "dismiss", "cluster_id": "fc-007", "reason": "<b>fans</b>"});
    let made = decide(&service, &dismiss).await;
    assert_eq!(made.status, 201, "{made:?}");
    let made = made.json();
    assert_eq!((&made["id"], &made["author"], &made["holds"]), (&json!(1), &json!("local"), &json!(true)));
    assert_eq!((&made["accounts"], &made["cluster_ids"]), (&json!(2), &json!(["fc-007"])));
    assert!(ids(&service.get("/?q=fc-007").await.body).is_empty());
    assert_eq!(ids(&service.get("/?status=dismissed").await.body), ["fc-007"]);
    let shown = service.get("/clusters/fc-007").await.body;
    assert!(shown.contains("<b>Dismissed.</b>") && shown.contains("<p>body of fc-007</p>"));
    assert!(shown.contains("&lt;b&gt;fans") && !shown.contains("<b>fans"), "a reason is text");
    let cluster = service.get("/v1/clusters/fc-007").await.json();
    assert_eq!(
        (&cluster["cluster"]["status"], &cluster["cluster"]["decision"]),
        (&json!("dismissed"), &json!(1))
    );
    let dismissed = service.get("/v1/clusters?status=dismissed").await.json();
    assert_eq!(dismissed["clusters"].as_array().unwrap().len(), 1);

    assert_eq!(decide(&service, &json!({"deed": "undo", "decision": 1})).await.status, 201);
    assert_eq!(ids(&service.get("/?q=fc-007").await.body), ["fc-007"]);
    let log = service.get("/v1/decisions").await.json();
    let rows = log["decisions"].as_array().unwrap();
    assert_eq!((rows.len(), &rows[0]["undoes"], &rows[1]["undone_by"]), (2, &json!(1), &json!(2)));
    assert!(service.get("/decisions").await.body.contains("No decision is in force"));
    assert!(service.get("/decisions?all=true").await.body.contains("undone by decision 2"));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_decided_is_refused_in_a_sentence() {
    let service = Service::start(SmallState::new(), |_| {}).await;
    let refusals = [
        (json!({"deed": "dismiss", "cluster_id": "fc-001", "reason": " "}), 422),
        (json!({"deed": "dismiss", "cluster_id": "nothing", "reason": "fans"}), 422),
        (json!({"deed": "split", "cluster_id": "fc-001", "parts": [["account 3"], ["account 9"]]}), 422),
        (json!({"deed": "undo", "decision": 9}), 422),
        (json!({"deed": "hang", "cluster_id": "fc-001"}), 400),
        (json!({"deed": "confirm", "cluster_id": "fc-001", "author": "somebody else"}), 400),
    ];
    for (body, status) in refusals {
        let answer = decide(&service, &body).await;
        assert_eq!(answer.status, status, "{body}: {answer:?}");
        assert!(!answer.json()["error"]["message"].as_str().unwrap().is_empty());
    }
    let confirm = json!({"deed": "confirm", "cluster_id": "fc-001"}).to_string();
    let old = service.send("POST /v1/decisions?snapshot=older", &[JSON], confirm.as_bytes()).await;
    assert_eq!((old.status, old.code()), (409, "newer_snapshot".into()));
    assert_eq!(service.send("POST /v1/decisions", &[], confirm.as_bytes()).await.status, 415);
    let elsewhere =
        service.send("POST /v1/decisions", &[JSON, "Origin: http://evil.example"], confirm.as_bytes());
    assert_eq!(elsewhere.await.status, 403, "another site's page may not decide");
    assert!(service.get("/v1/decisions").await.json()["decisions"].as_array().unwrap().is_empty());
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_may_look_but_not_decide() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens.toml");
    let hash = |token: &str| hex::encode(Sha256::digest(token.as_bytes()));
    let file = format!(
        "[[token]]\nname = 'rita'\nrole = 'reader'\nsha256 = '{}'\n[[token]]\nname = 'ada'\nrole = 'analyst'\nsha256 = '{}'\n",
        hash("r"),
        hash("a")
    );
    std::fs::write(&path, file).unwrap();
    let service = Service::start(SmallState::new(), |config| config.tokens_path = Some(path)).await;
    let (reader, analyst) = ("Authorization: Bearer r", "Authorization: Bearer a");
    let page = service.send("GET /clusters/fc-001", &[reader], b"").await.body;
    assert!(page.contains("may read, not decide") && !page.contains("data-do=\"confirm\""));
    let confirm = json!({"deed": "confirm", "cluster_id": "fc-001"}).to_string();
    let refused = service.send("POST /v1/decisions", &[JSON, reader], confirm.as_bytes()).await;
    assert_eq!(refused.status, 403);
    let made = service.send("POST /v1/decisions", &[JSON, analyst], confirm.as_bytes()).await;
    assert_eq!((made.status, &made.json()["author"]), (201, &json!("ada")));
    assert_eq!(service.get("/").await.status, 401);
    assert_eq!(service.get("/assets/review.js").await.status, 401);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_accounts_and_searches_have_their_pages() {
    let service = Service::start(SmallState::new(), |config| config.search_enabled = true).await;
    let account = service.get("/accounts/account%203").await;
    assert!(account.body.contains("Suspected in <a href=\"/clusters/fc-001\">"), "{}", account.body);
    assert!(account.body.contains("Forget this account"));
    assert_eq!(service.get("/accounts/nobody").await.status, 404);
    assert!(service.get("/search").await.body.contains("audit log"));
    assert_eq!(service.get("/v1/pictures/xyz").await.status, 400);
    assert_eq!(service.get(&format!("/v1/pictures/{}", "0".repeat(64))).await.status, 404);
    let cluster = service.get("/v1/clusters/fc-000").await.json();
    let picture = cluster["evidence"][0]["picture_a"].as_str().unwrap().to_owned();
    let jpeg = service.get(&format!("/v1/pictures/{picture}")).await;
    assert!(jpeg.status == 200 && jpeg.head.contains("image/jpeg"));
    let purpose = "ticket 1";
    let by_account =
        service.search(&json!({"account": "account 3", "purpose": purpose, "limit": 1})).await.json();
    let found = &by_account["results"][0]["faces"][0]["matches"][0];
    assert_eq!(found["account_id"], "account 3");
    let by_face =
        service.search(&json!({"face": found["face"], "purpose": purpose, "limit": 1})).await.json();
    assert_eq!(by_face["results"][0]["faces"][0]["matches"][0]["account_id"], "account 3");
    assert_eq!(service.search(&json!({"account": "nobody", "purpose": purpose})).await.status, 422);
    assert_eq!(service.search(&json!({"face": "x", "purpose": purpose})).await.status, 400);
    assert!(service.audit().contains("1 accounts"));
    for asset in ["review.css", "review.js", "report.css"] {
        assert_eq!(service.get(&format!("/assets/{asset}")).await.status, 200);
    }
    service.stop().await;
}
