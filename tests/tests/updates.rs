//! A stream that goes on writes updates, and what stands there at rest and at the end is what a backfill of the same events
//! gives, also after a kill in the middle.

use std::path::Path;
use std::time::Duration;

use anyhow::ensure;
use end_to_end::backfill::{backfill, finish};
use end_to_end::broker::Broker;
use end_to_end::pictures::PictureServer;
use end_to_end::program::Running;
use end_to_end::stream::Stream;
use end_to_end::tables::{assert_equal, canonical, count_of_kind, kind, records_covered};
use end_to_end::world::draw;

const PATIENCE: Duration = Duration::from_secs(120);
/// Events that come while the stream goes on: few against the population, so that updates will do.
const LATE: usize = 12;
const AT_ONCE: usize = 2;

/// Waits for a snapshot of so many events that is no update.
fn rest(running: &mut Running, output: &Path, events: u64) -> anyhow::Result<()> {
    running.wait_until("a full snapshot at rest", PATIENCE, || {
        records_covered(output) == events && kind(output).as_deref() == Some("full")
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn updates_end_in_the_tables_of_a_backfill() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let here = |name: &str| folder.path().join(name);
    let server = PictureServer::start().await?;
    let events = tokio::task::block_in_place(|| draw(&server, &here("data"), 160))?;
    let all = events.len() as u64;
    let broker = Broker::start()?;
    let topic = format!("updates-{}", std::process::id());
    broker.create_topics(&[&topic, &format!("{topic}.dead")], 3).await?;
    let mut stream = Stream::new(broker.address(), &topic, &here("stream")).set("index.factory=Flat");
    std::fs::create_dir_all(&stream.folder)?;
    let output = stream.output();

    let (early, late) = events.split_at(events.len() - LATE);
    broker.produce(&topic, early).await?;
    let mut running = Running::start(stream.command(), &stream.log())?;
    let mut sent = early.len() as u64;
    rest(&mut running, &output, sent)?;

    // A few events at a time: each time an update, and once the topic is still for a second a full one.
    let mut late = late.chunks(AT_ONCE);
    for chunk in late.by_ref().take(3) {
        broker.produce(&topic, chunk).await?;
        sent += chunk.len() as u64;
        running.wait_until("the late events", PATIENCE, || records_covered(&output) == sent)?;
    }
    rest(&mut running, &output, sent)?;
    let updates = count_of_kind(&output, "update")?;
    ensure!(updates > 0, "no snapshot was an update:\n{}", running.log());

    // Killed with an update as the newest snapshot, or in the middle of making one.
    for chunk in late.by_ref().take(1) {
        let before = count_of_kind(&output, "update")?;
        broker.produce(&topic, chunk).await?;
        sent += chunk.len() as u64;
        running.wait_until("another update", PATIENCE, || {
            count_of_kind(&output, "update").is_ok_and(|count| count > before)
        })?;
    }
    let chunk = late.next().unwrap_or_default();
    broker.produce(&topic, chunk).await?;
    sent += chunk.len() as u64;
    running.kill()?;
    // Another group: nobody waits for the broker to miss the member that was killed. The state knows where to go on.
    stream.group = format!("{topic}-again");
    let mut running = Running::start(stream.command(), &stream.log())?;
    rest(&mut running, &output, sent)?;
    for chunk in late {
        broker.produce(&topic, chunk).await?;
        sent += chunk.len() as u64;
    }
    ensure!(sent == all, "{sent} of {all} events were sent");
    rest(&mut running, &output, all)?;

    tokio::task::block_in_place(|| -> anyhow::Result<()> {
        let rows = here("data/profiles.parquet").display().to_string();
        let same = ["index.factory=Flat", "fetch.danger_allow_networks=127.0.0.0/8", "models.pack=bundled"];
        finish(backfill(&rows, &here("backfill"), &same))?;
        Ok(())
    })?;
    let expected = canonical(&here("backfill/output"))?;
    let members = expected["members"].as_array().map_or(0, Vec::len);
    assert!(members > 10, "only {members} accounts were found, so little is compared");
    assert_equal(&expected, &canonical(&output)?, "at rest");

    // An event that says nothing new, and a stop as soon as the update after it is written.
    broker.produce(&topic, &events[events.len() - 1..]).await?;
    running.wait_until("the event that came twice", PATIENCE, || records_covered(&output) == all + 1)?;
    let status = running.stop(Duration::from_secs(60))?;
    ensure!(status.success(), "{status}\n{}", running.log());
    ensure!(kind(&output).as_deref() == Some("full"), "the stream ended with an update:\n{}", running.log());
    assert_equal(&expected, &canonical(&output)?, "at the end");
    Ok(())
}
