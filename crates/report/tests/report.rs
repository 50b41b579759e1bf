//! The report from a snapshot folder on disk, read back and rendered.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr
)]

mod common;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use arrow::array::Array;
use common::{Keys, population, write, write_snapshot};
use records::tables::{Change, Role};
use report::{
    CsvTable, Differences, HtmlOptions, Snapshot, SnapshotError, TerminalOptions, csv, html, json,
    read_snapshot, terminal,
};

fn written(keys: Keys, thumbnails: bool) -> (tempfile::TempDir, Snapshot) {
    let folder = tempfile::tempdir().unwrap();
    let people = population::population();
    write_snapshot(folder.path(), &people.tables, &population::run_info("snapshot=20260402T123400Z"), keys);
    if thumbnails {
        population::write_thumbnails(&folder.path().join("thumbnails"), &people.pictures);
    }
    let snapshot = read_snapshot(folder.path()).unwrap();
    (folder, snapshot)
}

/// An earlier state: the star lacks ten members, the newest ring is not there, another one still is.
fn earlier() -> (tempfile::TempDir, Snapshot) {
    let folder = tempfile::tempdir().unwrap();
    let mut tables = population::population().tables;
    let mut gone = tables.clusters[3].clone();
    gone.cluster_id = "fc-77aa01".into();
    tables.clusters.retain(|c| !["fc-7c1e90", "fc-90b3fe"].contains(&c.cluster_id.as_str()));
    tables.clusters.push(gone);
    let mut seen = 0;
    tables.members.retain(|m| {
        seen += usize::from(m.cluster_id == "fc-2b84d7" && m.role == Role::Member);
        m.cluster_id != "fc-2b84d7" || m.role == Role::Victim || seen > 10
    });
    write_snapshot(folder.path(), &tables, &population::run_info("snapshot=20260326T090000Z"), Keys::Hex);
    let snapshot = read_snapshot(folder.path()).unwrap();
    (folder, snapshot)
}

#[test]
fn what_was_written_is_read() {
    for keys in [Keys::Hex, Keys::Bytes] {
        let (_folder, snapshot) = written(keys, false);
        assert!(
            snapshot.tables == population::population().tables,
            "the tables differ from what was written"
        );
        assert_eq!(snapshot.run, population::run_info("snapshot=20260402T123400Z"));
    }
}

#[test]
fn latest_is_followed_and_never_leaves_the_folder() {
    let (folder, _) = written(Keys::Hex, false);
    let output = tempfile::tempdir().unwrap();
    let clusters = output.path().join("clusters");
    std::fs::create_dir(&clusters).unwrap();
    let name = "snapshot=20260402T123400Z";
    let people = population::population();
    write_snapshot(&clusters.join(name), &people.tables, &population::run_info(name), Keys::Hex);
    for text in [name, "snapshot=20260402T123400Z\n", "20260402T123400Z"] {
        std::fs::write(clusters.join("LATEST"), text).unwrap();
        assert_eq!(read_snapshot(output.path()).unwrap().tables.clusters.len(), 17);
        assert!(read_snapshot(&clusters).is_ok());
    }
    for text in ["", "..", "snapshot=none", folder.path().to_str().unwrap()] {
        std::fs::write(clusters.join("LATEST"), text).unwrap();
        assert!(matches!(read_snapshot(output.path()), Err(SnapshotError::BadLatest { .. })), "{text:?}");
    }
}

#[test]
fn damage_is_named() {
    let said = |path: &Path| {
        let error = read_snapshot(path).unwrap_err();
        let mut text = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(inner) = source {
            text = format!("{text}: {inner}");
            source = inner.source();
        }
        text
    };
    let empty = tempfile::tempdir().unwrap();
    assert!(said(empty.path()).contains("neither clusters.parquet nor clusters/LATEST"));
    let (folder, snapshot) = written(Keys::Hex, false);
    let path = folder.path();
    let without = |name: &str| {
        common::clusters(&snapshot.tables)
            .into_iter()
            .filter(|(column, _)| *column != name)
            .collect::<Vec<_>>()
    };
    write(path, "clusters", without("score"));
    assert!(said(path).contains("the column score is missing"), "{}", said(path));
    let mut columns = without("change");
    let words = vec!["vanished"; snapshot.tables.clusters.len()];
    columns.push(("change", std::sync::Arc::new(arrow::array::StringArray::from(words))));
    write(path, "clusters", columns);
    assert!(said(path).contains("vanished is not a word"), "{}", said(path));
    let mut columns = without("accounts");
    let list = columns.iter().find(|(name, _)| *name == "parents").unwrap().1.clone();
    assert_eq!(list.len(), snapshot.tables.clusters.len());
    columns.push(("accounts", list));
    write(path, "clusters", columns);
    assert!(said(path).contains("the column accounts"), "{}", said(path));
    std::fs::write(path.join("clusters.parquet"), b"PAR1 not really").unwrap();
    assert!(said(path).contains("no readable Parquet"), "{}", said(path));
    std::fs::remove_file(path.join("run.json")).unwrap();
    assert!(said(path).contains("run.json cannot be read"), "{}", said(path));
}

#[test]
fn the_page_stands_alone_and_names_cannot_break_out() {
    let (_folder, snapshot) = written(Keys::Hex, true);
    let page = html(&snapshot, None, &HtmlOptions::default()).unwrap();
    assert_eq!(page.matches("<script").count(), 1, "only the page's own script");
    assert_eq!(page.matches("</script>").count(), 1);
    assert!(!page.contains("<img"), "the hostile name became an element");
    assert!(page.contains("&lt;script&gt;alert(1)"), "the hostile name is shown as text");
    assert!(page.contains("{{ 7*7 }}"), "names are not templates");
    assert!(!page.contains('\u{202e}'), "a name must not turn the reading direction");
    for outside in ["http://", "https://", "//", "url(", "@import", "src="] {
        let found: Vec<&str> = page
            .match_indices(outside)
            .map(|(at, _)| page.get(at.saturating_sub(20)..at + 30).unwrap_or_default())
            .filter(|near| !near.contains("http://www.w3.org/2000/svg") && !near.contains("; base64,"))
            // Comments of the script, the hostile name, and base64 may hold two slashes.
            .filter(|near| !near.contains("\n// ") && !near.contains("  // ") && !near.contains("&lt;img"))
            .filter(|near| near.contains([' ', '=', '(']) && near.contains(['"', '\'', '(']))
            .collect();
        assert!(found.is_empty(), "{outside}: {found:?}");
    }
    assert!(page.contains("default-src &#x27;none&#x27;"));
    assert!(!page.contains("style=\""), "inline styles are refused by the policy");
    let images = page.matches("<image id=").count();
    let uses: BTreeSet<&str> =
        page.split("href=\"#p").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert_eq!(images, uses.len(), "each thumbnail once, and none unused");
}

#[test]
fn victims_stand_apart() {
    let (_folder, snapshot) = written(Keys::Hex, false);
    let page = html(&snapshot, None, &HtmlOptions { members: 1000, ..HtmlOptions::default() }).unwrap();
    let victims: Vec<_> = snapshot.tables.members.iter().filter(|m| m.role == Role::Victim).collect();
    assert!(victims.len() > 5);
    let lists: Vec<&str> = page
        .split("<h3>Suspected accounts</h3>")
        .skip(1)
        .map(|rest| rest.split("</section>").next().unwrap_or_default())
        .collect();
    assert_eq!(lists.len(), snapshot.tables.clusters.len());
    for victim in victims {
        let code = format!("<code>{}</code>", victim.account_id);
        assert!(page.contains(&code));
        assert!(lists.iter().all(|list| !list.contains(&code)), "{code} is listed as suspected");
    }
    assert!(page.contains("<em>not accused</em>"));
}

#[test]
fn the_weakest_link_says_who_falls_off() {
    let (_folder, snapshot) = written(Keys::Hex, false);
    let page = html(&snapshot, None, &HtmlOptions::default()).unwrap();
    let ring = page.split("<h3>Weakest link</h3>").nth(1).unwrap();
    let text = ring.split("</section>").next().unwrap();
    assert!(text.contains("Without it"), "{text}");
    assert!(text.contains("would fall off the cluster: <bdi>"), "{text}");
}

#[test]
fn differences_are_found_and_come_first() {
    let ((_now, now), (_then, then)) = (written(Keys::Hex, false), earlier());
    let differences = Differences::between(&now, &then);
    let change = |id: &str| differences.clusters[id].change;
    assert_eq!(change("fc-7c1e90"), Change::New);
    assert_eq!(change("fc-2b84d7"), Change::Grown);
    assert_eq!(differences.clusters["fc-2b84d7"].joined.len(), 10);
    assert_eq!(change("fc-4417aa"), Change::Unchanged);
    let gone: Vec<_> =
        differences.gone.iter().map(|g| (g.cluster_id.as_str(), g.went_into.clone())).collect();
    assert_eq!(gone, [("fc-77aa01", vec!["fc-e05a11".to_owned()])]);
    let page = html(&now, Some(&then), &HtmlOptions::default()).unwrap();
    let place = |id: &str| page.find(&format!("data-id=\"{id}\"")).unwrap();
    assert!(place("fc-2b84d7") < place("fc-4417aa"), "grown before unchanged, though its score is lower");
    assert!(page.contains("Gone since") && page.contains("fc-77aa01"));
    let short = terminal(&now, Some(&then), &TerminalOptions::default());
    assert!(short.contains("1\u{a0}network gone since"), "{short}");
}

#[test]
fn the_terminal_form_is_short_and_harmless() {
    let (_folder, snapshot) = written(Keys::Hex, false);
    let text = terminal(&snapshot, None, &TerminalOptions { width: 80, ..TerminalOptions::default() });
    assert!(text.lines().count() < 70);
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert!(text.starts_with("17\u{a0}suspected networks, 4 new or changed"), "{text}");
    assert!(text.contains("fc-7c1e90") && text.contains("likely victims, not accused"));
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'));
}

#[test]
fn exports_hold_every_row() {
    let (_folder, snapshot) = written(Keys::Hex, false);
    let lines = |table| csv(&snapshot, table).matches("\r\n").count() - 1;
    let tables = &snapshot.tables;
    assert_eq!(lines(CsvTable::Clusters), tables.clusters.len());
    assert_eq!(lines(CsvTable::Members), tables.members.len());
    assert_eq!(lines(CsvTable::Evidence), tables.evidence.len());
    let document: serde_json::Value = serde_json::from_str(&json(&snapshot, None).unwrap()).unwrap();
    let clusters = document["clusters"].as_array().unwrap();
    let count = |key: &str| clusters.iter().map(|c| c[key].as_array().unwrap().len()).sum::<usize>();
    assert_eq!((clusters.len(), count("members")), (tables.clusters.len(), tables.members.len()));
    assert_eq!(count("evidence"), tables.evidence.len());
    assert_eq!(clusters[0]["members"][0]["profile"]["facts"]["verified"], false);
}

#[test]
fn thousands_of_clusters_stay_a_page() {
    let (_folder, mut snapshot) = written(Keys::Hex, false);
    let row = snapshot.tables.clusters[10].clone();
    for nth in 0..20_000 {
        let mut row = row.clone();
        row.cluster_id = format!("fc-many-{nth}");
        snapshot.tables.clusters.push(row);
    }
    let start = std::time::Instant::now();
    let page = html(&snapshot, None, &HtmlOptions::default()).unwrap();
    let (took, size) = (start.elapsed(), page.len());
    println!("{} clusters: {size} bytes in {took:?}", snapshot.tables.clusters.len());
    assert!(size < 12 << 20, "{size} bytes");
    assert_eq!(page.matches("<details class=\"cluster\"").count(), 200);
    assert!(page.contains("15017 more clusters stand in clusters.parquet"));
}

#[test]
fn an_empty_snapshot_is_a_page_too() {
    let (_folder, mut snapshot) = written(Keys::Hex, false);
    snapshot.tables.clusters.clear();
    snapshot.tables.members.clear();
    snapshot.tables.evidence.clear();
    assert!(html(&snapshot, None, &HtmlOptions::default()).unwrap().contains("No suspected networks"));
    assert!(terminal(&snapshot, None, &TerminalOptions::default()).starts_with("0\u{a0}suspected networks"));
}

/// Leaves the pages where a person can open them.
#[test]
fn pages_to_look_at() {
    let place = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let ((_now, now), (_then, then)) = (written(Keys::Hex, true), earlier());
    for (name, previous) in [("report.html", None), ("report-since.html", Some(&then))] {
        let page = html(&now, previous, &HtmlOptions::default()).unwrap();
        std::fs::write(place.join(name), &page).unwrap();
        println!("{} ({} bytes)", place.join(name).display(), page.len());
    }
}

/// In a real browser: the script runs, the policy refuses nothing of the page's own.
#[test]
fn a_browser_runs_the_page_without_complaint() {
    let found = ["chromium", "chromium-browser", "google-chrome"].iter().find(|name| {
        std::process::Command::new(name).arg("--version").output().is_ok_and(|out| out.status.success())
    });
    let Some(browser) = found else {
        eprintln!("SKIPPED a_browser_runs_the_page_without_complaint: no chromium on this machine");
        return;
    };
    let (folder, snapshot) = written(Keys::Hex, true);
    let page = folder.path().join("page.html");
    std::fs::write(&page, html(&snapshot, None, &HtmlOptions::default()).unwrap()).unwrap();
    let out = std::process::Command::new(browser)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--enable-logging=stderr",
            "--virtual-time-budget=3000",
        ])
        .arg(format!("--user-data-dir={}", folder.path().join("profile").display()))
        .arg("--dump-dom")
        .arg(format!("file://{}#c2", page.display()))
        .output()
        .unwrap();
    let (dom, said) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(dom.contains("17 shown"), "the script did not run: {said}");
    assert_eq!(
        dom.matches("<details class=\"cluster\" open").count(),
        2,
        "the linked cluster and the first are open"
    );
    assert!(!dom.contains("onerror=\"") && !dom.contains("<img"));
    let complaints: Vec<&str> = said.lines().filter(|line| line.contains("CONSOLE")).collect();
    assert!(complaints.is_empty(), "{complaints:?}");
}
