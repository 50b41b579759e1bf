//! Two members of one group: partitions move while work is in flight, one member is killed, and the other ends with
//! everything.

use std::path::Path;
use std::time::Duration;

use anyhow::ensure;
use end_to_end::broker::Broker;
use end_to_end::faults::FaultServer;
use end_to_end::program::Running;
use end_to_end::stream::Stream;
use end_to_end::tables::{assert_equal, canonical, latest, records_covered};
use end_to_end::world;

const PATIENCE: Duration = Duration::from_secs(120);

/// Partitions that a member's newest snapshot knows.
fn partitions(output: &Path) -> usize {
    let read = || -> Option<usize> {
        let run = std::fs::read(latest(output)?.join("run.json")).ok()?;
        let run: serde_json::Value = serde_json::from_slice(&run).ok()?;
        Some(run["checkpoint"].as_object()?.len())
    };
    read().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_member_is_survived_by_all_events() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let server = FaultServer::start().await?;
    let world = world::build(folder.path(), 150, &server)?;
    let broker = Broker::start()?;
    let topic = format!("group-{}", std::process::id());
    broker.create_topics(&[&topic, &format!("{topic}.dead")], 4).await?;
    let member = |name: &str| -> anyhow::Result<Stream> {
        let stream = Stream::new(broker.address(), &topic, &folder.path().join(name))
            .set("source.batch_events=8")
            .set("source.properties.heartbeat.interval.ms=500");
        std::fs::create_dir_all(&stream.folder)?;
        Ok(stream)
    };
    let (one, two, alone) = (member("one")?, member("two")?, member("alone")?);

    let (first, rest) = world.messages.split_at(world.messages.len() / 2);
    broker.produce(&topic, first).await?;
    let mut survivor = Running::start(one.command(), &one.log())?;
    survivor.wait_until("work in flight", PATIENCE, || records_covered(&one.output()) > 0)?;
    // The second joins while the first is at work; partitions move.
    let mut victim = Running::start(two.command(), &two.log())?;
    victim.wait_until("partitions of its own", PATIENCE, || partitions(&two.output()) > 0)?;
    broker.produce(&topic, rest).await?;
    victim.kill()?;
    // The broker misses it after a while and gives its partitions back. What the second did is in its state only; the
    // first reads it from where its own state stands.
    let all = world.messages.len() as u64;
    survivor.wait_until("everything", PATIENCE, || records_covered(&one.output()) == all)?;
    let moved = survivor.log().matches("no longer reading").count();
    let status = survivor.stop(Duration::from_secs(60))?;
    ensure!(status.success(), "{status}\n{}", survivor.log());
    assert!(moved > 0, "no partition moved to the second member:\n{}", survivor.log());

    let mut undisturbed = alone;
    undisturbed.group = format!("{topic}-alone");
    let mut running = Running::start(undisturbed.command(), &undisturbed.log())?;
    running.wait_until("everything", PATIENCE, || records_covered(&undisturbed.output()) == all)?;
    ensure!(running.stop(Duration::from_secs(60))?.success(), "{}", running.log());
    assert_equal(
        &canonical(&undisturbed.output())?,
        &canonical(&one.output())?,
        "after the other member was killed",
    );
    Ok(())
}
