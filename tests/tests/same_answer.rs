//! The same events by Kafka and by backfill, in another order, give the same tables; and a backfill into the state of a
//! stream changes nothing that the stream knows better.

use std::path::Path;
use std::time::Duration;

use end_to_end::backfill::{backfill, finish};
use end_to_end::broker::Broker;
use end_to_end::pictures::PictureServer;
use end_to_end::program::{self, Running};
use end_to_end::python;
use end_to_end::tables::{assert_equal, canonical, records_covered};
use end_to_end::world::draw;

/// The events as rows in another order, in two files.
fn reorder(from: &Path, to: &Path) -> anyhow::Result<()> {
    const SCRIPT: &str = "
import os, pyarrow.parquet as pq, random, sys
table = pq.read_table(sys.argv[1])
order = list(range(table.num_rows))
random.Random(5).shuffle(order)
table = table.take(order)
os.makedirs(sys.argv[2])
half = table.num_rows // 2
pq.write_table(table.slice(0, half), f'{sys.argv[2]}/b.parquet', row_group_size=20)
pq.write_table(table.slice(half), f'{sys.argv[2]}/a.parquet', row_group_size=33)
print(table.num_rows)
";
    python::json(SCRIPT, &[&from.display().to_string(), &to.display().to_string()])?;
    Ok(())
}

/// What both roads are told.
const SHARED: [&str; 3] =
    ["index.factory=Flat", "fetch.danger_allow_networks=127.0.0.0/8", "models.pack=bundled"];

/// A stream of `topic` into the folder `home`.
fn stream(broker: &Broker, topic: &str, home: &Path) -> anyhow::Result<Running> {
    std::fs::create_dir_all(home)?;
    let mut command = program::facering();
    command
        .arg("run")
        .arg(program::root().join("pipelines/stream.toml"))
        .arg(format!("--set=source.brokers={}", broker.address()))
        .arg(format!("--set=source.topic={topic}"))
        .arg(format!("--set=source.group={topic}"))
        .arg(format!("--set=state.path={}", home.join("state").display()))
        .arg(format!("--set=output.path={}", home.join("output").display()))
        .args(["--set=output.every_s=1", "--set=serve.listen="])
        .args(SHARED.map(|setting| format!("--set={setting}")));
    Running::start(command, &home.join("log"))
}

#[tokio::test(flavor = "multi_thread")]
async fn kafka_and_parquet_give_the_same_tables() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let here = |name: &str| folder.path().join(name);
    let server = PictureServer::start().await?;
    let events = tokio::task::block_in_place(|| draw(&server, &here("data"), 110))?;
    let broker = Broker::start()?;
    let topic = format!("same-{}", std::process::id());
    broker.create_topics(&[&topic, &format!("{topic}.dead")], 3).await?;
    broker.produce(&topic, &events).await?;

    let mut running = stream(&broker, &topic, &here("stream"))?;
    running.wait_until("a snapshot of all events", Duration::from_secs(180), || {
        records_covered(&here("stream/output")) == events.len() as u64
    })?;
    running.stop(Duration::from_secs(60))?;
    let expected = canonical(&here("stream/output"))?;
    let members = expected["members"].as_array().map_or(0, Vec::len);
    assert!(members > 10, "only {members} accounts were found, so little is compared");

    tokio::task::block_in_place(|| -> anyhow::Result<()> {
        reorder(&here("data/profiles.parquet"), &here("rows"))?;
        let rows = here("rows").display().to_string();
        finish(backfill(&rows, &here("backfill"), &SHARED))?;
        assert_equal(&expected, &canonical(&here("backfill/output"))?, "by backfill, in another order");
        // The same rows into the stream's own state: every one of them is known.
        finish(backfill(&rows, &here("stream"), &SHARED))?;
        assert_equal(&expected, &canonical(&here("stream/output"))?, "backfilled after the stream");
        Ok(())
    })?;

    // Beside a running stream, which has seen half of the events when all of them come as rows.
    let (topic, half) = (format!("{topic}-beside"), events.len() / 2);
    broker.create_topics(&[&topic, &format!("{topic}.dead")], 3).await?;
    broker.produce(&topic, &events[..half]).await?;
    let mut running = stream(&broker, &topic, &here("beside"))?;
    let output = here("beside/output");
    running.wait_until("a snapshot of half the events", Duration::from_secs(180), || {
        records_covered(&output) == half as u64
    })?;
    let rows = here("rows").display().to_string();
    let printed = tokio::task::block_in_place(|| finish(backfill(&rows, &here("beside"), &SHARED)))?;
    assert!(
        printed.contains(&format!("{} rows were read by the running pipeline", events.len())),
        "{printed}"
    );
    broker.produce(&topic, &events[half..]).await?;
    running.wait_until("a snapshot of everything", Duration::from_secs(180), || {
        records_covered(&output) == 2 * events.len() as u64
    })?;
    running.stop(Duration::from_secs(60))?;
    assert_equal(&expected, &canonical(&output)?, "backfilled beside the stream");
    Ok(())
}
