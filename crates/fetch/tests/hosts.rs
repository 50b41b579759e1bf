//! The stage against a real server on this machine that behaves in every bad way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Response, header};
use axum::routing::get;
use bytes::Bytes;
use fetch::{FetchConfig, FetchError, Fetcher, KnownPhotos};
use futures::StreamExt;
use records::{
    AccountId, Batch, CheckpointDelta, DeadLetterReason as Reason, Embedding, EventBody, FetchedEvent,
    GivenFace, Origin, PartitionId, PhotoId, PhotoKey, PhotoRef, PhotoSource, PhotoUrl, Picture, Position,
    ProfileEvent, ProfileFacts, Span, StagedBody, Timestamp,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const PICTURE: &[u8] = include_bytes!("fixtures/orientation_5.jpg");

#[derive(Default)]
struct Server {
    hits: Mutex<Vec<String>>,
    busy: AtomicUsize,
    busiest: AtomicUsize,
}

impl Server {
    fn hits(&self, name: &str) -> usize {
        self.hits.lock().unwrap().iter().filter(|hit| *hit == name).count()
    }
}

fn answer(status: u16, body: impl Into<Body>) -> Response<Body> {
    Response::builder().status(status).body(body.into()).unwrap()
}

fn redirect(to: &str) -> Response<Body> {
    Response::builder().status(302).header(header::LOCATION, to).body(Body::empty()).unwrap()
}

/// 10 MB of zeros in 10 kB, made by the system's gzip.
fn bomb() -> Vec<u8> {
    let mut child = std::process::Command::new("gzip")
        .arg("-9")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let feeder =
        std::thread::spawn(move || std::io::Write::write_all(&mut stdin, &vec![0; 10 << 20]).unwrap());
    let output = child.wait_with_output().unwrap();
    feeder.join().unwrap();
    output.stdout
}

async fn serve(
    Path(name): Path<String>,
    State(server): State<Arc<Server>>,
    headers: HeaderMap,
) -> Response<Body> {
    server.hits.lock().unwrap().push(name.clone());
    let nth = server.hits(&name);
    match name.as_str() {
        "slow" => {
            tokio::time::sleep(Duration::from_secs(30)).await;
            answer(200, PICTURE)
        }
        "endless" => {
            let chunks = futures::stream::repeat(Ok::<_, Infallible>(Bytes::from(vec![7; 4096])));
            answer(200, Body::from_stream(chunks))
        }
        "drip" => {
            let chunks = futures::stream::repeat(()).then(|()| async {
                tokio::time::sleep(Duration::from_millis(50)).await;
                Ok::<_, Infallible>(Bytes::from_static(b"x"))
            });
            answer(200, Body::from_stream(chunks))
        }
        "loop" => redirect("/loop"),
        "hop3" => redirect("/hop2"),
        "hop2" => redirect("/hop1"),
        "hop1" => redirect("good"),
        "to-private" => redirect("http://192.168.0.1/x.jpg"),
        "to-metadata" => redirect("http://169.254.169.254/latest/meta-data"),
        "to-file" => redirect("file:///etc/passwd"),
        "to-nowhere" => answer(302, ""),
        "missing" => answer(404, ""),
        "denied" => answer(403, ""),
        "teapot" => answer(418, ""),
        "broken" => answer(500, ""),
        "shy" if nth <= 2 => answer(503, ""),
        "throttled" if nth == 1 => {
            Response::builder().status(429).header(header::RETRY_AFTER, "1").body(Body::empty()).unwrap()
        }
        "for-hours" => {
            Response::builder().status(429).header(header::RETRY_AFTER, "7200").body(Body::empty()).unwrap()
        }
        "html" => answer(200, "<html>login</html>"),
        "cut" => answer(200, &PICTURE[..PICTURE.len() / 2]),
        "bomb" => Response::builder().header(header::CONTENT_ENCODING, "gzip").body(bomb().into()).unwrap(),
        "no-gzip" => {
            Response::builder().header(header::CONTENT_ENCODING, "gzip").body(PICTURE.into()).unwrap()
        }
        "big" => answer(200, vec![1; 3 << 20]),
        "tagged" => match headers.get(header::IF_NONE_MATCH) {
            Some(tag) if tag == "\"v1\"" => answer(304, ""),
            _ => Response::builder().header(header::ETAG, "\"v1\"").body(PICTURE.into()).unwrap(),
        },
        "counted" => {
            let busy = server.busy.fetch_add(1, Ordering::SeqCst) + 1;
            server.busiest.fetch_max(busy, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(20)).await;
            server.busy.fetch_sub(1, Ordering::SeqCst);
            answer(200, PICTURE)
        }
        _ => answer(200, PICTURE),
    }
}

async fn start() -> (String, Arc<Server>) {
    let server = Arc::new(Server::default());
    let app = Router::new()
        .route("/{name}", get(serve))
        .route("/bucket-of-mine/{name}", get(serve))
        .with_state(Arc::clone(&server));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (base, server)
}

fn config() -> FetchConfig {
    FetchConfig {
        danger_allow_networks: vec!["127.0.0.0/8".into()],
        timeout_ms: 600,
        connect_timeout_ms: 500,
        backoff_ms: 10,
        backoff_max_ms: 2000,
        max_bytes: 2 << 20,
        host_failures: 0,
        ..Default::default()
    }
}

#[derive(Default)]
struct Known(HashSet<PhotoKey>);

impl KnownPhotos for Known {
    fn knows(&self, key: &PhotoKey) -> bool {
        self.0.contains(key)
    }
}

fn event(account: &str, body: EventBody) -> ProfileEvent {
    ProfileEvent {
        account: AccountId::new(account).unwrap(),
        observed_at: Timestamp::EPOCH,
        body,
        origin: Origin::row(PartitionId::file("f"), Position(0)),
    }
}

fn replace(account: &str, sources: Vec<PhotoSource>) -> ProfileEvent {
    let photo = |(at, source)| PhotoRef { photo_id: PhotoId::new(format!("p{at}")).unwrap(), source };
    let photos = sources.into_iter().enumerate().map(photo).collect();
    event(account, EventBody::Replace { photos, facts: ProfileFacts::default() })
}

fn urls(urls: &[String]) -> Vec<PhotoSource> {
    urls.iter().map(|url| PhotoSource::Url(PhotoUrl::new(url.clone()))).collect()
}

fn batch(events: Vec<ProfileEvent>) -> Batch<ProfileEvent> {
    let mut delta = CheckpointDelta::default();
    delta.extend(PartitionId::file("f"), Span { from: Position(0), to: Position(9) }).unwrap();
    Batch::new(events, delta)
}

async fn fetch(fetcher: &Fetcher, events: Vec<ProfileEvent>) -> Batch<FetchedEvent> {
    fetcher.fetch(batch(events), &Known::default()).await.unwrap()
}

async fn one(config: FetchConfig, url: String) -> Result<usize, Reason> {
    let fetcher = Fetcher::new(&config).unwrap();
    let batch = fetch(&fetcher, vec![replace("a", urls(&[url]))]).await;
    match batch.dead.first() {
        Some(letter) => {
            assert!(!letter.detail.contains("secret"), "{}", letter.detail);
            Err(letter.reason)
        }
        None => Ok(batch.items[0].photos().len()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_way_to_fail_has_its_reason_and_its_number_of_attempts() {
    let (base, server) = start().await;
    for (name, expected, attempts) in [
        ("good", Ok(1), 1),
        ("hop3", Ok(1), 1),
        ("shy", Ok(1), 3),
        ("slow", Err(Reason::Timeout), 4),
        ("drip", Err(Reason::Timeout), 4),
        ("endless", Err(Reason::TooLarge), 1),
        ("big", Err(Reason::TooLarge), 1),
        ("bomb", Err(Reason::TooLarge), 1),
        ("loop", Err(Reason::TooManyRedirects), 6),
        ("to-private", Err(Reason::AddressRefused), 1),
        ("to-metadata", Err(Reason::AddressRefused), 1),
        ("to-file", Err(Reason::UrlRefused), 1),
        ("to-nowhere", Err(Reason::UrlRefused), 1),
        ("missing", Err(Reason::NotFound), 1),
        ("denied", Err(Reason::Denied), 1),
        ("teapot", Err(Reason::UnexpectedStatus), 1),
        ("broken", Err(Reason::UnexpectedStatus), 4),
        ("for-hours", Err(Reason::Throttled), 1),
        ("html", Err(Reason::NotAnImage), 1),
        ("cut", Err(Reason::CorruptImage), 1),
        ("no-gzip", Err(Reason::CorruptImage), 1),
    ] {
        let found = one(config(), format!("{base}/{name}?secret=1")).await;
        assert_eq!(found, expected, "{name}");
        assert_eq!(server.hits(name), attempts, "{name}");
    }
    let began = Instant::now();
    assert_eq!(one(config(), format!("{base}/throttled")).await, Ok(1));
    assert!(began.elapsed() >= Duration::from_secs(1), "the host's wish is honoured");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_asked_that_the_guard_refuses() {
    let (base, server) = start().await;
    let port = base.rsplit(':').next().unwrap();
    let strict = || FetchConfig { danger_allow_networks: vec![], ..config() };
    for host in ["127.0.0.1", "localhost", "0x7f.1", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0"] {
        let found = one(strict(), format!("http://{host}:{port}/good")).await;
        assert_eq!(found, Err(Reason::AddressRefused), "{host}");
    }
    assert_eq!(server.hits("good"), 0);
    for url in ["ftp://h.example/x", "no url", "file:///etc/passwd", "data:image/png;base64,AA", "http://"] {
        assert_eq!(one(strict(), url.into()).await, Err(Reason::UrlRefused), "{url}");
    }
    assert_eq!(
        one(config(), format!("http://localhost:{port}/good")).await,
        Ok(1),
        "allowed by name of its network"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_off_or_is_not_there_is_unreachable() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            let _ = socket.read(&mut [0; 1024]).await;
            let _ = socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\nshort").await;
        }
    });
    assert_eq!(one(config(), format!("http://{address}/x")).await, Err(Reason::Unreachable));
    assert_eq!(asked.load(Ordering::SeqCst), 4);
    // Nobody listens on this one any more.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(one(config(), format!("http://{closed}/x")).await, Err(Reason::Unreachable));
    assert_eq!(one(config(), "http://no-such-host.invalid/x".into()).await, Err(Reason::Unreachable));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_photo_falls_alone_and_order_is_kept() {
    let (base, server) = start().await;
    let at = |name: &str| format!("{base}/{name}");
    let fetcher = Fetcher::new(&config()).unwrap();
    let events = vec![
        replace("a", urls(&[at("good"), at("missing"), at("same")])),
        event("b", EventBody::Deleted),
        replace("c", urls(&[at("good"), at("html")])),
        replace("d", vec![]),
        replace(
            "e",
            vec![PhotoSource::Inline(PICTURE.into()), PhotoSource::Inline(Bytes::from_static(b"no"))],
        ),
    ];
    let hashes: Vec<_> = events.iter().map(ProfileEvent::content_hash).collect();
    let batch = fetch(&fetcher, events).await;
    assert_eq!(batch.items.iter().map(|e| e.account.as_str()).collect::<Vec<_>>(), ["a", "b", "c", "d", "e"]);
    assert_eq!(batch.items.iter().map(|e| e.content_hash).collect::<Vec<_>>(), hashes);
    assert_eq!(batch.items.iter().map(|e| e.photos().len()).collect::<Vec<_>>(), [2, 0, 1, 0, 1]);
    assert_eq!(batch.items[1].body, StagedBody::Deleted);
    let dead: Vec<_> = batch
        .dead
        .iter()
        .map(|l| (l.account.as_ref().unwrap().as_str(), l.photo.as_ref().unwrap().as_str(), l.reason))
        .collect();
    let expected =
        [("a", "p1", Reason::NotFound), ("c", "p1", Reason::NotAnImage), ("e", "p1", Reason::NotAnImage)];
    assert_eq!(dead, expected);
    assert_eq!(server.hits("good"), 1, "one URL is fetched once");
    let photo = &batch.items[0].photos()[0];
    assert_eq!((photo.key, photo.file_bytes), (PhotoKey::of_bytes(PICTURE), PICTURE.len() as u64));
    let Picture::Pixels(pixels) = &photo.picture else { panic!("not decoded") };
    let Picture::Pixels(again) = &batch.items[0].photos()[1].picture else { panic!("not decoded") };
    assert_eq!((pixels.width, pixels.height), (32, 48));
    assert_eq!(pixels.rgb.as_ptr(), again.rgb.as_ptr(), "equal bytes are decoded once");
    assert_eq!(batch.delta.iter().count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn known_pictures_are_neither_decoded_nor_sent_again() {
    let (base, server) = start().await;
    let fetcher = Fetcher::new(&config()).unwrap();
    let events = || batch(vec![replace("a", urls(&[format!("{base}/tagged"), format!("{base}/good")]))]);
    let nobody = Known::default();
    let known = Known([PhotoKey::of_bytes(PICTURE)].into());
    let first = fetcher.fetch(events(), &nobody).await.unwrap();
    assert!(first.items[0].photos().iter().all(|p| matches!(p.picture, Picture::Pixels(_))));
    let second = fetcher.fetch(events(), &known).await.unwrap();
    for photo in second.items[0].photos() {
        assert_eq!(photo.picture, Picture::Known);
        assert_eq!((photo.key, photo.file_bytes), (PhotoKey::of_bytes(PICTURE), PICTURE.len() as u64));
    }
    // A state that lost the picture gets it whole, whatever the host was told before.
    let third = fetcher.fetch(events(), &nobody).await.unwrap();
    assert!(third.items[0].photos().iter().all(|p| matches!(p.picture, Picture::Pixels(_))));
    assert_eq!(server.hits("tagged"), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_to_one_host_are_limited() {
    let (base, server) = start().await;
    let fetcher = Fetcher::new(&FetchConfig { per_host: 3, ..config() }).unwrap();
    let addresses: Vec<_> = (0..30).map(|n| format!("{base}/counted?{n}")).collect();
    let batch = fetch(&fetcher, vec![replace("a", urls(&addresses))]).await;
    assert_eq!(batch.items[0].photos().len(), 30);
    assert_eq!(server.busiest.load(Ordering::SeqCst), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_host_does_not_hold_up_the_batch() {
    let (base, server) = start().await;
    let config = FetchConfig { host_failures: 3, host_patience_ms: 500, retries: 1, per_host: 4, ..config() };
    let fetcher = Fetcher::new(&config).unwrap();
    let addresses: Vec<_> = (0..60).map(|n| format!("{base}/slow?{n}")).collect();
    let began = Instant::now();
    let batch = fetch(&fetcher, vec![replace("a", urls(&addresses))]).await;
    assert!(batch.dead.iter().all(|l| l.reason == Reason::Timeout));
    assert_eq!(batch.dead.len(), 60);
    assert!(server.hits("slow") <= 12, "{}", server.hits("slow"));
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_network_is_an_error_and_not_many_dead_letters() {
    // The server gets a runtime of its own, so that its open connections end with it.
    let listener = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let app = Router::new().route("/{name}", get(serve)).with_state(Arc::new(Server::default()));
    let server = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    server.spawn(async move {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        axum::serve(listener, app).await.unwrap();
    });
    let config = FetchConfig { retries: 0, outage_hosts: 5, ..config() };
    let fetcher = Fetcher::new(&config).unwrap();
    let addresses: Vec<_> = (0..6).map(|n| format!("http://127.0.0.{}:{port}/good", n + 2)).collect();
    let events = || vec![replace("a", urls(&addresses))];
    assert_eq!(fetch(&fetcher, events()).await.items[0].photos().len(), 6);
    server.shutdown_background();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let error = fetcher.fetch(batch(events()), &Known::default()).await.unwrap_err();
    assert!(matches!(error, FetchError::Outage { hosts: 6, .. }), "{error}");

    // Hosts that nobody ever reached say nothing: an event full of them must not stop the run.
    let strangers = Fetcher::new(&config).unwrap();
    assert_eq!(fetch(&strangers, events()).await.dead.len(), 6);
    // Nor is it an outage while anybody answers.
    let (base, _server) = start().await;
    let mut mixed = addresses.clone();
    mixed.push(format!("{base}/missing"));
    assert_eq!(fetch(&fetcher, vec![replace("a", urls(&mixed))]).await.dead.len(), 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_read_only_from_named_folders() {
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join("pictures");
    std::fs::create_dir(&inside).unwrap();
    std::fs::write(inside.join("a b.jpg"), PICTURE).unwrap();
    std::fs::write(folder.path().join("outside.jpg"), PICTURE).unwrap();
    std::os::unix::fs::symlink(folder.path().join("outside.jpg"), inside.join("link.jpg")).unwrap();
    let config = FetchConfig { allow_file_roots: vec![inside.clone()], ..config() };
    assert!(config.problems().is_empty());
    let url = |name: &str| format!("file://{}/{name}", inside.display());
    assert_eq!(one(config.clone(), url("a%20b.jpg")).await, Ok(1));
    assert_eq!(one(config.clone(), url("none.jpg")).await, Err(Reason::NotFound));
    for name in ["../outside.jpg", "%2e%2e/outside.jpg", "link.jpg"] {
        assert_eq!(one(config.clone(), url(name)).await, Err(Reason::UrlRefused), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_one_photo_are_one_photo() {
    let face = |photo: &str, hash: Option<u8>, x: f32| GivenFace {
        photo_id: PhotoId::new(photo).unwrap(),
        photo_sha256: hash.map(|h| PhotoKey::from_sha256([h; 32])),
        photo_pdq: None,
        face_width_px: None,
        embedding: Some(Embedding::normalised(&[1.0, x]).unwrap()),
        pack: None,
    };
    let faces = vec![face("p", None, 0.1), face("q", None, 0.2), face("p", Some(9), 0.3)];
    let fetcher = Fetcher::new(&config()).unwrap();
    let batch = fetch(&fetcher, vec![event("a", EventBody::Faces { faces, facts: None })]).await;
    let StagedBody::Add { photos, facts: None } = &batch.items[0].body else { panic!("not added") };
    let rows = |at: usize| match &photos[at].picture {
        Picture::Given(rows) => rows.len(),
        other => panic!("{other:?}"),
    };
    assert_eq!((photos.len(), rows(0), rows(1)), (2, 2, 1));
    assert_eq!(photos[0].key, PhotoKey::from_sha256([9; 32]));
    let account = AccountId::new("a").unwrap();
    assert_eq!(photos[1].key, PhotoKey::unhashed(&account, &PhotoId::new("q").unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn buckets_are_read_only_where_configured() {
    let (base, server) = start().await;
    let config = FetchConfig {
        allow_s3_buckets: vec!["bucket-of-mine".into()],
        s3_endpoint: base.clone(),
        danger_allow_networks: vec![],
        ..config()
    };
    assert!(config.problems().iter().all(|(key, _)| !key.starts_with("s3")), "{:?}", config.problems());
    assert_eq!(one(config.clone(), "s3://other/x.jpg".into()).await, Err(Reason::UrlRefused));
    assert_eq!(
        one(FetchConfig { allow_s3_buckets: vec![], ..config.clone() }, "s3://bucket-of-mine/good".into())
            .await,
        Err(Reason::UrlRefused)
    );
    // The operator's endpoint is reached although it is on loopback; strangers' URLs to the same place are not.
    assert_eq!(one(config.clone(), "s3://bucket-of-mine/good".into()).await, Ok(1));
    assert_eq!(server.hits("good"), 1);
    assert_eq!(one(config, format!("{base}/good")).await, Err(Reason::AddressRefused));
}
