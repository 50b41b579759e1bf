//! Whoever is forgotten leaves no byte behind: every file of state and output is searched for ids, hashes, vectors and
//! pixels, as text and as bytes, before and after.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use arrow::array::{Float32Builder, ListBuilder, RecordBatch, StringArray, TimestampMicrosecondArray};
use end_to_end::program::{self, Running, run, stderr};
use records::{AccountId, PhotoKey};
use serde_json::Value;
use simulate::{PictureOptions, Population, demo_options, write_pictures};
use store::{Store, StoreConfig};

fn set(key: &str, value: impl std::fmt::Display) -> String {
    format!("--set={key}={value}")
}

/// Where a test's state lies, and how commands are told.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("thumbnail.key"), "5e".repeat(32))?;
        Ok(Self { folder })
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn output(&self) -> PathBuf {
        self.folder.path().join("output")
    }

    fn settings(&self) -> Vec<String> {
        vec![
            set("state.path", self.state().display()),
            set("output.path", self.output().display()),
            set("privacy.thumbnail_key_file", self.folder.path().join("thumbnail.key").display()),
        ]
    }

    fn backfill(&self, source: &Path, more: &[&str]) -> anyhow::Result<()> {
        let mut command = program::facering();
        command.arg("run").arg(program::root().join("pipelines/backfill.toml"));
        command.arg(set("source.path", source.display())).args(self.settings()).args(more);
        let output = command.output()?;
        anyhow::ensure!(output.status.success(), "{}", stderr(&output));
        Ok(())
    }

    fn ask(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let output =
            run(arguments.iter().map(ToString::to_string).chain(["--json".into()]).chain(self.settings()))?;
        anyhow::ensure!(output.status.success(), "{arguments:?}: {}", stderr(&output));
        serde_json::from_slice(&output.stdout).with_context(|| format!("{arguments:?} prints no JSON"))
    }

    /// Files of state and output that hold these bytes.
    fn holding(&self, secret: &[u8]) -> anyhow::Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        let mut folders = vec![self.state(), self.output()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder)? {
                let path = entry?.path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.is_file() && memchr(&std::fs::read(&path)?, secret) {
                    found.push(path);
                }
            }
        }
        Ok(found)
    }
}

/// Whether `text` holds `word`. A whole state is searched dozens of times, so only where the first bytes fit is compared.
fn memchr(text: &[u8], word: &[u8]) -> bool {
    let Some((first, rest)) = word.split_first() else { return false };
    let mut from = 0;
    while let Some(at) = text[from..].iter().position(|byte| byte == first) {
        from += at + 1;
        if text[from..].starts_with(rest) {
            return true;
        }
    }
    false
}

/// Everything by which an account could be known again, and that is nobody else's.
fn secrets(state: &Path, account: &AccountId) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    let store = Store::open(&StoreConfig::at(state))?;
    let reader = store.reader();
    let mut secrets = vec![("id".to_owned(), account.as_str().as_bytes().to_vec())];
    let row = reader.account(account)?.context("the account is in the state")?;
    secrets.extend(row.facts.username.map(|name| ("user name".into(), name.into_bytes())));
    for own in reader.photos_of(account)? {
        let picture: PhotoKey = own.photo;
        if reader.photo(&picture)?.is_none_or(|photo| photo.owners > 1) {
            continue;
        }
        secrets.push(("picture's hash".into(), picture.as_bytes().to_vec()));
        secrets.push(("picture's hash as text".into(), picture.to_string().into_bytes()));
        let thumbnail = reader.thumbnail(&picture)?.context("thumbnails are kept")?;
        assert!(!memchr(&thumbnail, b"JFIF"), "a thumbnail lies in the clear");
        secrets.push(("sealed thumbnail".into(), thumbnail[8..].to_vec()));
        for face in reader.faces_of(picture) {
            let (_, face) = face?;
            let vector = reader.vector_of(face.ordinal)?.context("a vector")?;
            let fp16 = vector.iter().flat_map(|v| half::f16::from_f32(*v).to_le_bytes());
            secrets.push(("vector as fp16".into(), fp16.collect()));
            secrets.push(("vector as f32".into(), vector.iter().flat_map(|v| v.to_le_bytes()).collect()));
        }
    }
    Ok(secrets)
}

#[test]
fn nothing_is_left_of_who_is_forgotten() -> anyhow::Result<()> {
    let place = Place::new()?;
    let data = place.folder.path().join("data");
    let population = Population::new(demo_options(200, 11))?;
    write_pictures(
        &population,
        &PictureOptions { inline: true, side: 192, ..PictureOptions::default() },
        &data,
    )?;
    let thumbnails = ["--set=embed.thumbnails=true", "--set=output.report=true"];
    place.backfill(&data.join("profiles.parquet"), &thumbnails)?;

    // Of somebody accused, with pictures of their own; named by decisions too.
    let report = place.ask(&["report"])?;
    let clusters = report["clusters"].as_array().context("clusters")?.clone();
    let accounts = || {
        clusters.iter().flat_map(|cluster| {
            let members = cluster["members"].as_array().into_iter().flatten();
            members.map(move |member| (cluster["cluster_id"].as_str(), member["account_id"].as_str()))
        })
    };
    let mut chosen = None;
    for (cluster, account) in accounts() {
        let (cluster, account) = (cluster.context("an id")?, AccountId::new(account.context("an id")?)?);
        let found = secrets(&place.state(), &account)?;
        if found.iter().any(|(what, _)| what.starts_with("vector")) {
            chosen = Some((cluster.to_owned(), account, found));
            break;
        }
    }
    let (cluster, account, found) = chosen.context("nobody has a picture of their own")?;
    let id = account.as_str();
    place.ask(&["decisions", "confirm", &cluster, "--reason", &format!("{id} admits it")])?;
    place.ask(&["decisions", "allow", "--account", id, "--reason", "a mistake"])?;
    for (what, secret) in &found {
        // The index keeps vectors in a form of its own, and tables are compressed; the store's form must be found.
        let wanted = ["id", "user name", "picture's hash", "sealed thumbnail", "vector as fp16"]
            .contains(&what.as_str());
        assert!(
            !wanted || !place.holding(secret)?.is_empty(),
            "{what} is not found, so the search proves nothing"
        );
    }

    let receipt = place.ask(&["forget", id])?;
    assert_eq!(receipt["known"], true);
    for (what, secret) in &found {
        let left = place.holding(secret)?;
        assert!(left.is_empty(), "{what} is left in {left:?}");
    }

    // The receipt proves itself; a changed one does not.
    let file = place.folder.path().join("receipt.json");
    std::fs::write(&file, receipt.to_string())?;
    let key = place.ask(&["receipt", "key"])?;
    let file_text = file.display().to_string();
    place.ask(&[
        "receipt",
        "verify",
        &file_text,
        "--public-key",
        key["public_key"].as_str().context("a key")?,
    ])?;
    assert!(receipt["receipt"].as_str().context("a receipt")?.contains(id));
    std::fs::write(&file, receipt.to_string().replace("faces_erased", "faces_spared"))?;
    assert!(!run(["receipt", "verify", &file_text])?.status.success(), "a changed receipt is refused");

    // What is left is whole: a snapshot without the account in which the other clusters kept their names.
    let after = place.ask(&["report"])?;
    let ids = |report: &Value| -> BTreeSet<String> {
        let all = report["clusters"].as_array().into_iter().flatten();
        all.filter_map(|cluster| cluster["cluster_id"].as_str().map(str::to_owned)).collect()
    };
    let (before, after) = (ids(&report), ids(&after));
    assert!(before.len() - before.intersection(&after).count() <= 1, "{before:?} became {after:?}");
    let log = place.ask(&["decisions", "list", "--all"])?;
    assert_eq!(log["decisions"][1]["deed"], "erased");
    assert_eq!(place.ask(&["forget", id])?["known"], false);
    Ok(())
}

/// A file of embedded faces: one account a row, last observed so many days ago.
fn faces(file: &Path, accounts: &[(&str, i64)]) -> anyhow::Result<()> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_micros() as i64;
    let mut vectors = ListBuilder::new(Float32Builder::new());
    for at in 0..accounts.len() {
        vectors
            .values()
            .append_slice(&(0..512).map(|i| ((at * 512 + i) as f32 * 0.7).sin()).collect::<Vec<_>>());
        vectors.append(true);
    }
    let observed = accounts.iter().map(|(_, days)| now - days * 86_400_000_000);
    let batch = RecordBatch::try_from_iter([
        (
            "account_id",
            Arc::new(accounts.iter().map(|(id, _)| Some(*id)).collect::<StringArray>())
                as arrow::array::ArrayRef,
        ),
        ("photo_id", Arc::new(StringArray::from(vec!["p"; accounts.len()]))),
        ("observed_at", Arc::new(TimestampMicrosecondArray::from_iter_values(observed).with_timezone("UTC"))),
        ("embedding", Arc::new(vectors.finish())),
    ])?;
    let mut writer =
        parquet::arrow::ArrowWriter::try_new(std::fs::File::create(file)?, batch.schema(), None)?;
    writer.write(&batch)?;
    writer.close()?;
    Ok(())
}

/// Nobody sees the account any more, but its bytes are still there: the next start lets them go.
#[test]
fn an_interrupted_erasure_is_finished() -> anyhow::Result<()> {
    let place = Place::new()?;
    let data = place.folder.path().join("faces.parquet");
    faces(&data, &[("Half-Gone-8K", 2), ("new-account", 3), ("other-account", 1)])?;
    place.backfill(&data, &[])?;
    let mut command = program::facering();
    command.args(["forget", "Half-Gone-8K"]).args(place.settings());
    let killed = command.env("FACERING_FAILPOINT", "forget.rows:1").output()?;
    anyhow::ensure!(stderr(&killed).contains("killed at"), "{}", stderr(&killed));
    assert!(!place.holding(b"Half-Gone-8K")?.is_empty(), "nothing was left to finish");
    place.ask(&["deadletters", "list"])?;
    let left = place.holding(b"Half-Gone-8K")?;
    assert!(left.is_empty(), "left in {left:?}");
    Ok(())
}

#[test]
fn who_was_not_seen_for_long_is_forgotten_unasked() -> anyhow::Result<()> {
    let place = Place::new()?;
    let data = place.folder.path().join("faces.parquet");
    faces(&data, &[("Old-Account-7Q", 40), ("new-account", 3), ("other-account", 1)])?;
    place.backfill(&data, &[])?;
    assert!(!place.holding(b"Old-Account-7Q")?.is_empty(), "the search finds nothing, so it proves nothing");
    // A state kept from before a switch of model packs holds the same people.
    let kept = place.state().join("packs/before");
    std::fs::create_dir_all(&kept)?;
    for part in ["store", "index"] {
        let copied = Command::new("cp").arg("-r").arg(place.state().join(part)).arg(&kept).status()?;
        anyhow::ensure!(copied.success(), "cp: {copied}");
    }
    let mut command: Command = program::facering();
    command
        .arg("serve")
        .args(place.settings())
        .args(["--set=serve.listen=127.0.0.1:0", "--set=privacy.retain_days=30"]);
    let mut running = Running::start(command, &place.folder.path().join("log"))?;
    let log = place.folder.path().join("log");
    running.wait_until("an erasure", Duration::from_secs(60), || {
        std::fs::read_to_string(&log).unwrap_or_default().contains("erased by age")
    })?;
    let known = place.ask(&["search", "--account", "new-account"])?;
    assert!(known["faces"].is_array(), "who was seen lately stays: {known}");
    running
        .wait_until("an erasure in the kept state", Duration::from_secs(60), || {
            place.holding(b"Old-Account-7Q").is_ok_and(|left| left.is_empty())
        })
        .with_context(|| format!("{:?} hold it", place.holding(b"Old-Account-7Q")))?;
    let status = running.stop(Duration::from_secs(30))?;
    anyhow::ensure!(status.success(), "{status}\n{}", running.log());
    let left = place.holding(b"Old-Account-7Q")?;
    assert!(left.is_empty(), "left in {left:?}");
    Ok(())
}
