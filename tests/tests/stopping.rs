//! The end of a stream whose picture hosts do not answer: in bounded memory, within the configured time, at once when asked
//! twice, and always without loss.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use end_to_end::broker::{Broker, Outgoing};
use end_to_end::faults::{Fault, FaultServer};
use end_to_end::program::Running;
use end_to_end::stream::{Stream, free_address, get, metric};
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(60);

/// Events that name a picture each; a long field that nobody reads makes them large.
fn events(count: usize, padding: usize, url: impl Fn(usize) -> String) -> Vec<Outgoing> {
    let padding = "x".repeat(padding);
    (0..count)
        .map(|n| {
            let account = format!("a{n}");
            let event = json!({"account_id": account, "observed_at": "2026-01-01T00:00:00Z", "padding": padding,
                "photos": [{"photo_id": "p", "url": url(n)}]});
            let value = Some(event.to_string().into_bytes());
            Outgoing { key: account, value, headers: vec![], timestamp_ms: None }
        })
        .collect()
}

fn read(running: &Running) -> anyhow::Result<(u64, u64)> {
    let log = running.log();
    let line = log.lines().rev().find(|line| line.starts_with("{\"")).context("no summary was printed")?;
    let ever = &serde_json::from_str::<serde_json::Value>(line)?["summary"]["ever"];
    let number = |key: &str| ever[key].as_u64().unwrap_or(0);
    Ok((number("read"), number("applied") + number("superseded") + number("dead")))
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_never_answer_hold_up_neither_memory_nor_the_end() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let server = FaultServer::start().await?;
    server.put("a.jpg", vec![0; 1000]);
    let broker = Broker::start()?;
    let topic = format!("silence-{}", std::process::id());
    broker.create_topics(&[&topic, &format!("{topic}.dead")], 2).await?;
    // Pictures that fail at once, then ones that never come.
    let all = 20_050;
    let url =
        |n: usize| server.url("a.jpg", Some(if n < 50 { Fault::Html } else { Fault::Silence }), n as u64);
    for part in events(all, 6000, url).chunks(2000) {
        broker.produce(&topic, part).await?;
    }
    let address = free_address()?;
    let patient = Stream::new(broker.address(), &topic, folder.path())
        .set(format!("serve.listen={address}"))
        .set("fetch.timeout_ms=3600000")
        .set("fetch.concurrency=10000")
        .set("fetch.per_host=10000")
        .set("source.batch_events=50")
        .set("pipeline.stop_timeout_s=3");
    let start = |stream: &Stream| {
        let mut command = stream.command();
        command.arg("--json");
        Running::start(command, &stream.log())
    };
    let mut running = start(&patient)?;
    // The stall is complete: requests wait, and no more of them come.
    let mut before = 0;
    running.wait_until("a stall", PATIENCE, || {
        let now = server.requests();
        let stalled = now > 100 && now == before;
        before = now;
        if !stalled {
            std::thread::sleep(Duration::from_secs(1));
        }
        stalled
    })?;
    let (_, first) = running.memory_mib();
    std::thread::sleep(Duration::from_secs(8));
    let (_, later) = running.memory_mib();
    println!("{first} MiB when stalled, {later} MiB 8 seconds later, 120 MB wait in the topic");
    assert!(later <= first + 64, "memory grows while nothing moves: {first} MiB, then {later} MiB");

    let asked = Instant::now();
    let status = running.stop(Duration::from_secs(30))?;
    let took = asked.elapsed();
    ensure!(status.success(), "{status}\n{}", running.log());
    assert!(running.log().contains("abandoned"), "{}", running.log());
    // Three seconds for the work in flight, and up to five to leave the group.
    assert!(took < Duration::from_secs(12), "a stop took {took:?}");
    let (events, accounted) = read(&running)?;
    assert_eq!(events, accounted);
    assert!(events < all as u64, "nothing was abandoned");

    // Asked twice, it ends at once, however long the first may take.
    let mut running = start(&patient.clone().set("pipeline.stop_timeout_s=600"))?;
    let before = server.requests();
    running.wait_until("requests", PATIENCE, || server.requests() > before + 50)?;
    running.signal("TERM")?;
    std::thread::sleep(Duration::from_millis(500));
    let asked = Instant::now();
    let status = running.stop(Duration::from_secs(30))?;
    assert_eq!(status.code(), Some(130), "{}", running.log());
    assert!(asked.elapsed() < Duration::from_secs(5), "a second signal took {:?}", asked.elapsed());

    // With less patience everything comes to its end, and every event is there.
    let impatient = Stream::new(broker.address(), &topic, folder.path())
        .set(format!("serve.listen={address}"))
        .set("fetch.timeout_ms=200")
        .set("fetch.retries=0")
        .set("fetch.concurrency=10000")
        .set("fetch.per_host=10000")
        .set("source.batch_events=2000")
        .set("source.batch_photos=2000")
        .set("fetch.host_patience_ms=100")
        .set("fetch.outage_hosts=0");
    let mut running = start(&impatient)?;
    let before = events_total(address);
    assert_eq!(before, 0);
    running.wait_until("all events", PATIENCE, || {
        get(address, "/v1/metrics")
            .is_ok_and(|(_, text)| metric(&text, "facering_events_total") + events >= all as u64)
    })?;
    let status = running.stop(Duration::from_secs(60))?;
    ensure!(status.success(), "{status}\n{}", running.log());
    let (events, accounted) = read(&running)?;
    assert_eq!((events, accounted), (all as u64, all as u64));
    Ok(())
}

fn events_total(address: std::net::SocketAddr) -> u64 {
    get(address, "/v1/metrics").map_or(0, |(_, text)| metric(&text, "facering_events_total"))
}
