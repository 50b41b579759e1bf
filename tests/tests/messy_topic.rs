//! Kafka as it really behaves: out of order, twice, compressed by three codecs, with deletions, changed photos and broken
//! messages, the program killed around its Kafka steps and the broker killed as well. The tables equal those of a quiet
//! run over the same events in order.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use end_to_end::broker::{Broker, count};
use end_to_end::faults::FaultServer;
use end_to_end::program::Running;
use end_to_end::stream::Stream;
use end_to_end::tables::{assert_equal, canonical, records_covered};
use end_to_end::world;

const PATIENCE: Duration = Duration::from_secs(120);

/// Where the program is killed, each time with further messages waiting. The fifth and the tenth time the broker goes as well.
const KILLS: [&str; 12] = [
    "broker_commit.before:1",
    "dead_letters.before:1",
    "commit.before:2",
    "broker_commit.after:1",
    "dead_letters.published:1",
    "commit.after:1",
    "broker_commit.before:2",
    "dead_letters.marked:1",
    "index.applied:2",
    "snapshot.written:1",
    "broker_commit.after:2",
    "any:9",
];

/// What `run --json` printed last.
fn ever(running: &Running) -> anyhow::Result<serde_json::Value> {
    let log = running.log();
    let line = log.lines().rev().find(|line| line.starts_with("{\"")).context("no summary was printed")?;
    Ok(serde_json::from_str::<serde_json::Value>(line)?["summary"]["ever"].clone())
}

fn finish(stream: &Stream, messages: u64) -> anyhow::Result<serde_json::Value> {
    let mut command = stream.command();
    command.arg("--json");
    let mut running = Running::start(command, &stream.log())?;
    running
        .wait_until("a snapshot of everything", PATIENCE, || records_covered(&stream.output()) == messages)?;
    let status = running.stop(Duration::from_secs(60))?;
    ensure!(status.success(), "SIGTERM must end it cleanly: {status}\n{}", running.log());
    ever(&running)
}

/// How often a program that writes to this log was killed at a step.
fn kills(log: &Path) -> usize {
    std::fs::read_to_string(log).unwrap_or_default().matches("killed at").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn disorder_kills_and_a_lost_broker_change_nothing() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let server = FaultServer::start().await?;
    let world = world::build(folder.path(), 150, &server)?;
    let mut broker = Broker::start()?;
    let name = |what: &str| format!("{what}-{}", std::process::id());
    let (quiet, messy) = (name("quiet"), name("messy"));
    broker.create_topics(&[&quiet, &format!("{quiet}.dead")], 1).await?;
    broker.create_topics(&[&messy, &format!("{messy}.dead")], 4).await?;

    let calm = Stream::new(broker.address(), &quiet, &folder.path().join("quiet"));
    std::fs::create_dir_all(&calm.folder)?;
    broker.produce_with("none", &quiet, &world.messages).await?;
    let in_order = world.messages.len() as u64;
    let counted = finish(&calm, in_order)?;
    assert_eq!(counted["read"], in_order, "{counted}");
    assert_eq!(counted["dead"], world.broken, "{counted}");
    let letters = world.broken + world.failing;
    assert_eq!(count(broker.address(), &format!("{quiet}.dead"), 1)?, letters);
    let expected = canonical(&calm.output())?;
    assert!(
        !expected["members"].as_array().context("rows")?.is_empty(),
        "nothing was found, so nothing is compared"
    );

    let messages = world.in_disorder();
    let mut stream = Stream::new(broker.address(), &messy, &folder.path().join("messy"))
        .set("source.batch_events=16")
        .set("source.batch_wait_ms=50");
    std::fs::create_dir_all(&stream.folder)?;
    let mut sent = 0;
    let slices: Vec<_> = messages.chunks(messages.len().div_ceil(KILLS.len() + 1)).collect();
    for (n, slice) in slices.iter().enumerate() {
        let codec = ["lz4", "zstd", "gzip"][n % 3];
        let order = KILLS.get(n);
        // One commit to Kafka may stand for all that was there. A second one comes for what comes after the first.
        let twice = order.is_some_and(|order| order.starts_with("broker_commit") && order.ends_with(":2"));
        let (waiting, later) = slice.split_at(if twice { slice.len() / 2 } else { slice.len() });
        broker.produce_with(codec, &messy, waiting).await?;
        sent += slice.len() as u64;
        // Another group each time: nobody waits for the broker to miss the member that was killed. The state knows
        // where to go on.
        stream.group = format!("{messy}-{n}");
        let Some(order) = order else { break };
        let mut command = stream.command();
        command.env("FACERING_FAILPOINT", order);
        let mut running = Running::start(command, &stream.log())?;
        if n % 5 == 4 && broker.is_own() {
            // The broker goes as well, and comes back.
            std::thread::sleep(Duration::from_millis(700));
            broker.kill()?;
            std::thread::sleep(Duration::from_millis(500));
            broker.restart()?;
        }
        if twice {
            let first = sent - later.len() as u64;
            let log = stream.log();
            let goes_on = || records_covered(&stream.output()) == first || kills(&log) > n;
            running.wait_until("the first half", PATIENCE, goes_on)?;
            broker.produce_with(codec, &messy, later).await?;
        }
        let status = running.wait(PATIENCE).with_context(|| format!("nobody was killed at {order}"))?;
        ensure!(!status.success() && kills(&stream.log()) == n + 1, "{order}: {status}\n{}", running.log());
    }
    let counted = finish(&stream, messages.len() as u64)?;
    assert_eq!(counted["read"], messages.len(), "{counted}");
    let sum: u64 = ["applied", "superseded", "dead"].iter().filter_map(|key| counted[key].as_u64()).sum();
    assert_eq!(counted["read"], sum, "an event is lost or counted twice: {counted}");
    assert_equal(&expected, &canonical(&stream.output())?, "after disorder, kills and a lost broker");
    // At least once: a kill between sending and marking sends letters again.
    let published = count(broker.address(), &format!("{messy}.dead"), 4)?;
    assert!(published >= letters, "{published} dead letters in the topic, {letters} expected at least");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_broker_dies_under_a_running_stream() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let server = FaultServer::start().await?;
    let world = world::build(folder.path(), 60, &server)?;
    let mut broker = Broker::start()?;
    if !broker.is_own() {
        eprintln!("SKIPPED the_broker_dies_under_a_running_stream: the broker is not the test's own");
        return Ok(());
    }
    broker.create_topics(&["profiles", "profiles.dead"], 4).await?;
    let stream = Stream::new(broker.address(), "profiles", folder.path()).set("source.batch_events=8");
    let (first, rest) = world.messages.split_at(world.messages.len() / 2);
    broker.produce("profiles", first).await?;
    let mut running = Running::start(stream.command(), &stream.log())?;
    for _ in 0..2 {
        std::thread::sleep(Duration::from_millis(1500));
        broker.kill()?;
        std::thread::sleep(Duration::from_millis(1500));
        broker.restart()?;
    }
    broker.produce("profiles", rest).await?;
    let all = world.messages.len() as u64;
    running.wait_until("a snapshot of everything", PATIENCE, || records_covered(&stream.output()) == all)?;
    // A broker that is gone does not hold up the end either.
    broker.kill()?;
    let status = running.stop(Duration::from_secs(45))?;
    ensure!(status.success(), "{status}\n{}", running.log());
    Ok(())
}
