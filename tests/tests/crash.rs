//! Killed before and after every durable step and at random moments, started again: the final tables equal those of a run
//! that nobody disturbed.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use end_to_end::faces::{backfill, finish, write};
use end_to_end::program::{Running, stderr};
use end_to_end::tables::{assert_equal, canonical};
use serde_json::Value;

/// Places of `crates/failpoint` that a backfill passes again and again, and how many passes at most are waited for.
const OFTEN: [(&str, usize); 14] = [
    ("commit.before", 5),
    ("index_file.written", 4),
    ("dead_letters.published", 2),
    ("commit.after", 5),
    ("manifest.before", 3),
    ("dead_letters.marked", 2),
    ("seal.before", 2),
    ("index.applied", 4),
    ("manifest.after", 3),
    ("compact.before", 1),
    ("dead_letters.before", 2),
    ("index_file.renamed", 4),
    ("seal.after", 2),
    ("compact.after", 1),
];
/// Those it passes once, at its end.
const ONCE: [&str; 5] =
    ["snapshot.before", "snapshot.written", "snapshot.renamed", "snapshot.named", "snapshot.after"];

/// Kills wanted in all, and how many of them one state goes through.
const KILLS: usize = 200;
const KILLS_A_STATE: usize = 12;

/// The orders for one state: places in turn, with a different number of passes each time, then two in its snapshot.
fn orders(state: usize) -> Vec<String> {
    let mut orders = Vec::new();
    for n in 0..KILLS_A_STATE - 2 {
        let (place, most) = OFTEN[(state * (KILLS_A_STATE - 2) + n) % OFTEN.len()];
        orders.push(format!("{place}:{}", 1 + (state + n) % most));
        if n % 4 == 3 {
            orders.push(format!("any:{}", 1 + (7 * state + 11 * n) % 40));
        }
    }
    orders.extend([0, 2].map(|n| ONCE[(state + n) % ONCE.len()].to_owned()));
    orders
}

/// Runs until killed as ordered. `None` if the input ended before that.
fn killed_at(file: &Path, folder: &Path, order: &str) -> anyhow::Result<Option<String>> {
    let output = backfill(file, folder).env("FACERING_FAILPOINT", order).output()?;
    if output.status.success() {
        return Ok(None);
    }
    let said = stderr(&output);
    let place = said.lines().find_map(|line| line.strip_prefix("killed at ")?.split(',').next());
    Ok(Some(place.with_context(|| format!("{order}: it failed by itself:\n{said}"))?.to_owned()))
}

/// Every event read is accounted for, and exactly the broken rows were given up.
fn assert_counted(summary: &Value, rows: &Value, broken: u64, when: &str) {
    let ever = &summary["summary"]["ever"];
    let number = |key: &str| ever[key].as_u64().unwrap_or(0);
    assert_eq!(
        number("read"),
        number("applied") + number("superseded") + number("dead"),
        "{when}: an event is lost or counted twice: {ever}"
    );
    assert_eq!(number("dead"), broken, "{when}: {ever}");
    assert_eq!(ever["read"], *rows, "{when}: another number of events was read");
}

#[test]
fn a_crash_anywhere_changes_nothing() -> anyhow::Result<()> {
    let began = Instant::now();
    let folder = tempfile::tempdir()?;
    let (file, broken) = write(folder.path(), 500)?;
    let undisturbed = folder.path().join("undisturbed");
    let summary = finish(&file, &undisturbed)?;
    let expected = canonical(&undisturbed.join("output"))?;
    let members = expected["members"].as_array().context("rows")?;
    assert!(!members.is_empty(), "nothing was found, so nothing is compared");
    assert_counted(&summary, &summary["summary"]["ever"]["read"], broken, "undisturbed");
    let rows = &summary["summary"]["ever"]["read"];

    let (next, kills) = (AtomicUsize::new(0), Mutex::new(BTreeMap::<String, usize>::new()));
    let total = || kills.lock().map_or(0, |kills| kills.values().sum::<usize>());
    let work = || -> anyhow::Result<()> {
        while total() < KILLS {
            let state = next.fetch_add(1, Ordering::Relaxed);
            let here = folder.path().join(format!("state-{state}"));
            let orders = orders(state);
            for order in &orders {
                let Some(place) = killed_at(&file, &here, order)? else {
                    ensure!(order != &orders[0], "{order} was never passed");
                    continue;
                };
                if let Ok(mut kills) = kills.lock() {
                    *kills.entry(place).or_default() += 1;
                }
            }
            let summary = finish(&file, &here)?;
            let when = format!("after crashes at {}", orders.join(", "));
            assert_counted(&summary, rows, broken, &when);
            assert_equal(&expected, &canonical(&here.join("output"))?, &when);
            let drafts = std::fs::read_dir(here.join("output/clusters"))?.filter(|entry| {
                entry.as_ref().is_ok_and(|e| e.file_name().to_string_lossy().contains("draft"))
            });
            assert_eq!(drafts.count(), 0, "{when}: drafts are left");
            std::fs::remove_dir_all(&here)?;
        }
        Ok(())
    };
    // Two at a time: starting takes longer than being killed.
    std::thread::scope(|scope| -> anyhow::Result<()> {
        let other = scope.spawn(work);
        work()?;
        other.join().map_err(|_| anyhow::anyhow!("a comparison failed, see above"))?
    })?;
    let kills = kills.into_inner().unwrap_or_default();
    for place in OFTEN.iter().map(|(place, _)| place).chain(&ONCE) {
        assert!(kills.contains_key(*place), "nobody was killed at {place}: {kills:?}");
    }
    println!("{} kills in {:.0} s: {kills:?}", kills.values().sum::<usize>(), began.elapsed().as_secs_f64());
    Ok(())
}

#[test]
fn a_crash_at_any_moment_and_a_lost_index_change_nothing() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (file, broken) = write(folder.path(), 500)?;
    let undisturbed = folder.path().join("undisturbed");
    let summary = finish(&file, &undisturbed)?;
    let expected = canonical(&undisturbed.join("output"))?;
    let rows = &summary["summary"]["ever"]["read"];

    // One state, killed again and again at moments nobody chose.
    let here = folder.path().join("random");
    for round in 0..10_u64 {
        let mut running = Running::start(backfill(&file, &here), &folder.path().join("log"))?;
        std::thread::sleep(Duration::from_millis(150 + (round * 7919) % 600));
        running.kill()?;
    }
    let summary = finish(&file, &here)?;
    assert_counted(&summary, rows, broken, "after random kills");
    assert_equal(&expected, &canonical(&here.join("output"))?, "after random kills");

    // A backfill that is run again reads nothing and changes nothing.
    let summary = finish(&file, &here)?;
    assert_counted(&summary, rows, broken, "after running it twice");
    assert_equal(&expected, &canonical(&here.join("output"))?, "after running it twice");

    // The index is no more than the state: somebody deletes it in the middle of the work.
    let here = folder.path().join("index-lost");
    for order in ["commit.after:30", "compact.after:1"] {
        ensure!(killed_at(&file, &here, order)?.is_some(), "{order} was never passed");
        std::fs::remove_dir_all(here.join("state/index"))?;
    }
    let summary = finish(&file, &here)?;
    assert_counted(&summary, rows, broken, "after the index was lost");
    assert_equal(&expected, &canonical(&here.join("output"))?, "after the index was lost");
    Ok(())
}
