//! Dead letters of a running stream: listed, published with the original bytes, and sent again, which completes what was
//! missing and never undoes newer pictures.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::ensure;
use end_to_end::broker::{Broker, Outgoing};
use end_to_end::faults::FaultServer;
use end_to_end::program::{self, Running, run, stderr};
use end_to_end::stream::{Stream, free_address, get, metric};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

fn event(account: &str, second: u32, photos: &[(&str, String)]) -> Outgoing {
    let photos: Vec<Value> = photos.iter().map(|(id, url)| json!({"photo_id": id, "url": url})).collect();
    let event = json!({"account_id": account, "observed_at": format!("2026-01-01T00:00:{second:02}Z"), "photos": photos});
    Outgoing {
        key: account.into(),
        value: Some(event.to_string().into_bytes()),
        headers: vec![("trace".into(), b"7".to_vec())],
        timestamp_ms: None,
    }
}

fn photos(address: SocketAddr, account: &str) -> BTreeSet<String> {
    let body = get(address, &format!("/v1/accounts/{account}")).map_or(String::new(), |(_, body)| body);
    let view: Value = serde_json::from_str(&body).unwrap_or_default();
    let ids = view["photos"].as_array().into_iter().flatten();
    ids.filter_map(|photo| Some(photo["photo_id"].as_str()?.to_owned())).collect()
}

fn set(ids: &[&str]) -> BTreeSet<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

fn portrait(shade: u8) -> anyhow::Result<Vec<u8>> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image::RgbImage::from_pixel(80, 80, image::Rgb([shade, 90, 120]))
        .write_to(&mut bytes, image::ImageFormat::Jpeg)?;
    Ok(bytes.into_inner())
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_are_listed_published_and_sent_again() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let server = FaultServer::start().await?;
    server.put("one.jpg", portrait(10)?);
    server.put("two.jpg", portrait(200)?);
    let url = |name: &str| server.url(name, None, 0);
    let broker = Broker::start()?;
    let topic = format!("letters-{}", std::process::id());
    broker.create_topics(&[&topic, &format!("{topic}.dead")], 1).await?;
    let address = free_address()?;
    let stream = Stream::new(broker.address(), &topic, folder.path()).set(format!("serve.listen={address}"));
    let mut running = Running::start(stream.command(), &stream.log())?;

    // One photo of each first event is not there yet. The second account has shown another picture since.
    let sent = [
        event("first", 1, &[("here", url("one.jpg")), ("late", url("late.jpg"))]),
        event("second", 1, &[("here", url("one.jpg")), ("late", url("late.jpg"))]),
        event("second", 2, &[("new", url("two.jpg"))]),
        Outgoing { value: Some(b"{broken".to_vec()), ..event("third", 1, &[]) },
    ];
    broker.produce(&topic, &sent).await?;
    let total = |name: &str| get(address, "/v1/metrics").map_or(0, |(_, text)| metric(&text, name));
    running.wait_until("all events", PATIENCE, || total("facering_events_total") == 4)?;
    assert_eq!(photos(address, "first"), set(&["here"]), "the event's other photo is there");
    assert_eq!(photos(address, "second"), set(&["new"]));

    let state = format!("--set=state.path={}", folder.path().join("state").display());
    let letters = |arguments: &[&str]| -> anyhow::Result<Value> {
        let output = run([&["deadletters"], arguments, &["--json", &state]].concat())?;
        ensure!(output.status.success(), "{}", stderr(&output));
        Ok(serde_json::from_slice(&output.stdout)?)
    };
    assert_eq!(letters(&["list"])?["by_reason"], json!({"malformed_json": 1, "not_found": 2}));
    let listed = letters(&["list", "--reason=not_found"])?;
    let named: BTreeSet<_> = listed["letters"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|l| (l["account"].to_string(), l["photo"].to_string()))
        .collect();
    let expected = [("\"first\"", "\"late\""), ("\"second\"", "\"late\"")];
    assert_eq!(named, expected.map(|(a, p)| (a.to_owned(), p.to_owned())).into());

    published(&broker, &format!("{topic}.dead"), &sent)?;

    // The picture appears, and the letters are sent again: the first account is completed, the second left alone.
    server.put("late.jpg", portrait(120)?);
    assert_eq!(letters(&["replay", "--reason=not_found"])?["sent"], 2);
    running.wait_until("the events again", PATIENCE, || total("facering_events_total") == 6)?;
    assert_eq!(photos(address, "first"), set(&["here", "late"]), "the replay completes the account");
    assert_eq!(photos(address, "second"), set(&["new"]), "a replay must not undo newer pictures");
    assert_eq!(letters(&["list"])?["by_reason"], json!({"malformed_json": 1}), "letters sent again are gone");
    assert_eq!(
        total("facering_events_superseded_total"),
        1,
        "the first event of the second account, sent again"
    );

    let status = running.stop(Duration::from_secs(60))?;
    ensure!(status.success(), "{status}\n{}", running.log());
    let unknown = run(["deadletters", "list", "--reason=bad_weather", &state])?;
    assert!(!unknown.status.success());
    assert!(program::stderr(&unknown).contains("docs/dead-letters.md"), "{}", program::stderr(&unknown));
    Ok(())
}

/// The topic holds every letter with the original key, bytes and headers, and three headers more.
fn published(broker: &Broker, topic: &str, sent: &[Outgoing]) -> anyhow::Result<()> {
    let consumer: BaseConsumer = rdkafka::ClientConfig::new()
        .set("bootstrap.servers", broker.address())
        .set("group.id", "probe")
        .set("auto.offset.reset", "earliest")
        .create()?;
    consumer.subscribe(&[topic])?;
    let mut found = Vec::new();
    let began = std::time::Instant::now();
    while found.len() < 3 && began.elapsed() < PATIENCE {
        let Some(message) = consumer.poll(Duration::from_millis(200)) else { continue };
        let message = message?.detach();
        let header = |name: &str| {
            let found = message.headers().and_then(|headers| headers.iter().find(|h| h.key == name));
            String::from_utf8_lossy(found.and_then(|h| h.value).unwrap_or_default()).into_owned()
        };
        let key = String::from_utf8_lossy(message.key().unwrap_or_default()).into_owned();
        assert_eq!(header("trace"), "7", "the original headers are kept");
        assert!(!header("facering-detail").is_empty());
        let original = sent.iter().any(|sent| sent.key == key && sent.value.as_deref() == message.payload());
        assert!(original, "the letter of {key} does not hold the original bytes");
        found.push((key, header("facering-stage"), header("facering-reason")));
    }
    found.sort();
    let expected = [
        ("first", "fetch", "not_found"),
        ("second", "fetch", "not_found"),
        ("third", "ingest", "malformed_json"),
    ];
    assert_eq!(found, expected.map(|(a, b, c)| (a.to_owned(), b.to_owned(), c.to_owned())));
    Ok(())
}
