//! What a snapshot of a running stream costs: out of everything, and as an update after some accounts have changed. The real
//! program over a drawn population, reading the state and writing the tables included. `bench/updates.sh` runs it.
//!
//! `updates FOLDER ACCOUNTS LATE [key=value…]`: draws the population into FOLDER and backfills all but LATE of its accounts,
//! once; then starts a stream over a copy of that state, and has the late ones come as a backfill beside it.
#![allow(clippy::print_stdout, reason = "a bench")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use end_to_end::backfill::{backfill, finish, simulate};
use end_to_end::broker::Broker;
use end_to_end::program::Running;
use end_to_end::python;
use end_to_end::stream::Stream;
use end_to_end::tables::{kind, latest};

const PATIENCE: Duration = Duration::from_secs(1800);

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, accounts, late, settings @ ..] = arguments.as_slice() else {
        bail!("usage: updates FOLDER ACCOUNTS LATE [key=value…]");
    };
    let folder = PathBuf::from(folder);
    prepare(&folder, accounts.parse()?, late.parse()?)?;
    tokio::runtime::Runtime::new()?.block_on(measure(&folder, settings))
}

/// Draws the population and fills the state, unless both are there.
fn prepare(folder: &Path, accounts: u32, late: u32) -> anyhow::Result<()> {
    if folder.join("ready").exists() {
        return Ok(());
    }
    std::fs::create_dir_all(folder)?;
    simulate(accounts, 1, &folder.join("data"))?;
    // The late accounts are drawn from all of them, so that bots and honest ones are among them.
    const SCRIPT: &str = "
import pyarrow as pa, pyarrow.compute as pc, pyarrow.parquet as pq, random, sys
table = pq.read_table(sys.argv[1])
names = sorted(set(table['account_id'].to_pylist()))
late = pa.array(random.Random(1).sample(names, int(sys.argv[3])))
is_late = pc.is_in(table['account_id'], value_set=late)
pq.write_table(table.filter(pc.invert(is_late)), f'{sys.argv[2]}/early.parquet', row_group_size=20000)
pq.write_table(table.filter(is_late), f'{sys.argv[2]}/late.parquet')
print(table.num_rows)
";
    let text = |path: &Path| path.display().to_string();
    python::json(SCRIPT, &[&text(&folder.join("data/faces.parquet")), &text(folder), &late.to_string()])?;
    let start = Instant::now();
    let printed = finish(backfill(&text(&folder.join("early.parquet")), &folder.join("full"), &[]))?;
    println!("backfilled in {:.0} s:\n{printed}", start.elapsed().as_secs_f64());
    std::fs::write(folder.join("ready"), "")?;
    Ok(())
}

async fn measure(folder: &Path, settings: &[String]) -> anyhow::Result<()> {
    let home = folder.join("stream");
    if home.exists() {
        std::fs::remove_dir_all(&home)?;
    }
    let copied = Command::new("cp").arg("-r").arg(folder.join("full")).arg(&home).status()?;
    ensure!(copied.success(), "the state was not copied");
    std::fs::remove_dir_all(home.join("output")).context("the copied output stays")?;
    let broker = Broker::start()?;
    let topic = format!("updates-{}", std::process::id());
    broker.create_topics(&[&topic, &format!("{topic}.dead")], 1).await?;
    let mut stream = Stream::new(broker.address(), &topic, &home).set("output.every_s=2");
    stream.settings.extend(settings.iter().cloned());
    let output = stream.output();
    let mut running = Running::start(stream.command(), &stream.log())?;
    let memory = |when: &str, running: &Running| {
        let (all, anonymous) = running.memory_mib();
        println!(
            "{when}: {all} MiB of memory, {anonymous} of them not mapped files; most so far {} MiB",
            peak(running.id())
        );
    };
    running.wait_until("the first snapshot", PATIENCE, || latest(&output).is_some())?;
    std::thread::sleep(Duration::from_secs(3));
    memory("after the first snapshot", &running);
    let first = latest(&output);
    tokio::task::block_in_place(|| {
        finish(backfill(&folder.join("late.parquet").display().to_string(), &home, &[]))
    })?;
    running.wait_until("the next snapshot", PATIENCE, || latest(&output) != first)?;
    memory("after the next one", &running);
    running.wait_until("a full one at rest", PATIENCE, || {
        latest(&output) != first && kind(&output).as_deref() == Some("full")
    })?;
    memory("at rest", &running);
    for line in running.log().lines().filter(|line| line.contains("snapshot written")) {
        println!("{line}");
    }
    ensure!(running.stop(Duration::from_secs(120))?.success(), "{}", running.log());
    Ok(())
}

/// The most memory that a process had so far, in MiB.
fn peak(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) / 1024
}
