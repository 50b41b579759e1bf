//! `facering index` as a user types it: an empty block is trained, blocks are filled apart, merged on disk, moved and
//! searched; and what a user sees who does something wrong.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;

use anyhow::{Context, ensure};
use arrow::array::{FixedSizeListBuilder, Float32Builder, RecordBatch};
use end_to_end::program::{facering, run, stderr};
use end_to_end::{faces, python};
use parquet::arrow::ArrowWriter;
use serde_json::Value;

const D: usize = 64;

/// A vector that belongs to a number: every number an identity of its own.
fn vector(number: u64) -> Vec<f32> {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut unit = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f32 / (1u64 << 53) as f32
    };
    // The sum of four even numbers is near enough to a Gaussian.
    let mut values: Vec<f32> = (0..D).map(|_| unit() + unit() + unit() + unit() - 2.0).collect();
    let norm = values.iter().map(|v| v * v).sum::<f32>().sqrt();
    values.iter_mut().for_each(|v| *v /= norm);
    values
}

/// Writes rows as Parquet with the one column that training and filling read; an empty row is null.
fn write(path: &Path, rows: impl Iterator<Item = Vec<f32>>) -> anyhow::Result<String> {
    let mut builder = FixedSizeListBuilder::new(Float32Builder::new(), D as i32);
    for row in rows {
        let there = !row.is_empty();
        let row = if there { row } else { vec![0.0; D] };
        row.iter().for_each(|value| builder.values().append_value(*value));
        builder.append(there);
    }
    let batch =
        RecordBatch::try_from_iter_with_nullable([("embedding", Arc::new(builder.finish()) as _, true)])?;
    let mut writer = ArrowWriter::try_new(File::create(path)?, batch.schema(), None)?;
    writer.write(&batch)?;
    writer.close()?;
    Ok(path.display().to_string())
}

fn index(arguments: &[&str]) -> anyhow::Result<Output> {
    run(["index"].iter().chain(arguments))
}

fn json(arguments: &[&str]) -> anyhow::Result<Value> {
    let output = index(&[arguments, &["--json"]].concat())?;
    ensure!(output.status.success(), "{arguments:?}: {}", stderr(&output));
    serde_json::from_slice(&output.stdout).context("no JSON")
}

fn errors(output: &Output) -> String {
    let text = stderr(output);
    text.lines().filter(|line| line.starts_with("error: ")).collect::<Vec<_>>().join("\n")
}

/// The one sentence of a command that must fail.
fn refused(arguments: &[&str], code: i32) -> anyhow::Result<String> {
    let output = index(arguments)?;
    ensure!(output.status.code() == Some(code), "{arguments:?}: {}", stderr(&output));
    let errors = errors(&output);
    ensure!(errors.lines().count() == 1, "one sentence: {}", stderr(&output));
    Ok(errors)
}

struct Place(tempfile::TempDir);

impl Place {
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// An empty block of 16 lists, trained on identities that nothing else uses.
    fn with_empty() -> anyhow::Result<Self> {
        let place = Self(tempfile::tempdir()?);
        let sample = write(&place.path("sample.parquet"), (1_000_000..1_012_000).map(vector))?;
        let empty = place.text("empty");
        let trained = json(&["train", "--from", &sample, "--factory", "IVF16,PQ32", "--out", &empty])?;
        assert_eq!((trained["vectors"].as_u64(), trained["lists"].as_u64()), (Some(0), Some(16)));
        assert_eq!(trained["factory"], "IVF16,PQ32np");
        assert!(trained["model"]["warning"].is_null() && trained["model"]["trained_on"] == 12_000);
        assert!(!place.path("empty/training").exists(), "the workshop is gone");
        Ok(place)
    }
}

#[test]
fn blocks_are_trained_filled_merged_moved_and_searched() -> anyhow::Result<()> {
    let place = Place::with_empty()?;
    let (empty, merged) = (place.text("empty"), place.text("merged"));
    let face = |at: u64| if at == 7 { Vec::new() } else { vector(at) };
    write(&place.path("a.parquet"), (0..1_500).map(face))?;
    write(&place.path("b.parquet"), (1_500..4_000).map(face))?;
    for name in ["a", "b"] {
        let (block, from) = (place.text(name), place.text(&format!("{name}.parquet")));
        let filled = json(&["fill", &block, "--model", &empty, "--from", &from])?;
        assert_eq!(filled["added"], if name == "a" { 1_499 } else { 2_500 });
        let again = json(&["fill", &block, "--from", &from])?;
        assert_eq!(again["added"], 0, "all rows are there already");
    }
    let info = json(&["merge", "--out", &merged, &place.text("a"), &place.text("b")])?;
    assert_eq!((info["vectors"].as_u64(), info["segments"].as_u64()), (Some(3_999), Some(1)));
    let twice = refused(&["merge", "--out", &merged, &place.text("b")], 1)?;
    assert!(twice.contains("b.parquet") && twice.contains("already"), "{twice}");

    let elsewhere = place.text("elsewhere");
    std::fs::rename(&merged, &elsewhere)?;
    ["a", "b", "empty"].iter().try_for_each(|name| std::fs::remove_dir_all(place.path(name)))?;
    // Copies: the face itself, and a little of another.
    let copy = |at: u64| -> Vec<f32> {
        vector(at).iter().zip(vector(at + 500_000)).map(|(a, b)| 0.92 * a + 0.39 * b).collect()
    };
    let queries = write(&place.path("queries.parquet"), (1_400..1_600).map(copy))?;
    let found = json(&["search", &elsewhere, "--from", &queries, "-k", "1"])?;
    let mut right = 0;
    for (at, answer) in found["answers"].as_array().context("answers")?.iter().enumerate() {
        let at = 1_400 + at as u64;
        let (file, row) = if at < 1_500 { ("a.parquet", at) } else { ("b.parquet", at - 1_500) };
        let hit = &answer["found"][0];
        right += u64::from(hit["file"] == file && hit["row"] == row);
        assert!((0.85..0.97).contains(&hit["cosine"].as_f64().unwrap_or(0.0)) || hit["row"] != row, "{hit}");
    }
    assert!(right >= 190, "{right} of 200");
    let range = json(&["search", &elsewhere, "--from", &queries, "--threshold", "0.8", "--nprobe", "16"])?;
    let all = range["answers"].as_array().context("answers")?;
    assert_eq!(all.iter().filter(|answer| !answer["found"][0].is_null()).count(), 200);

    // Measured against exact search; the card stays with the index.
    let card = json(&["bench", "--index", &elsewhere, "--queries", "200"])?;
    assert!(card["recall_at_1"]["16"].as_f64().context("recall")? > 0.98, "{card}");
    assert!(card["curve"]["0.5"]["1"].is_number() && card["train_s"].is_null());
    let info = json(&["info", "--index", &elsewhere])?;
    assert_eq!(info["measured"]["recall_at_1"], card["recall_at_1"]);
    assert_eq!(info["sources"].as_array().map(Vec::len), Some(2));
    assert!(info["model"]["calibration"]["slope"].as_f64().context("slope")? > 0.5);
    let text = String::from_utf8(index(&["info", "--index", &elsewhere])?.stdout)?;
    assert!(text.contains("recall card") && text.contains("cos 0.9"), "{text}");
    Ok(())
}

#[test]
fn a_small_sample_is_warned_about_with_figures() -> anyhow::Result<()> {
    let place = Place(tempfile::tempdir()?);
    let sample = write(&place.path("sample.parquet"), (0..300).map(vector))?;
    let train =
        |factory: &str, out: &str| index(&["train", "--from", &sample, "--factory", factory, "--out", out]);
    let output = train("IVF64,SQ8", &place.text("small"))?;
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("at least 39 a list, 2496 in all"), "{}", stderr(&output));
    let info = json(&["info", "--index", &place.text("small")])?;
    assert!(info["model"]["warning"].as_str().is_some_and(|text| text.contains("2496 in all")));
    let refused = errors(&train("IVF512,SQ8", &place.text("none"))?);
    assert!(refused.contains("at least 512 vectors and 300 were given"), "{refused}");
    Ok(())
}

#[test]
fn mistakes_are_told_in_one_sentence_and_change_nothing() -> anyhow::Result<()> {
    let place = Place::with_empty()?;
    let (empty, block, out) = (place.text("empty"), place.text("block"), place.text("out"));
    let good = write(&place.path("good.parquet"), (0..600).map(vector))?;
    json(&["fill", &block, "--model", &empty, "--from", &good])?;
    let before = json(&["info", "--index", &block])?;

    let train = |from: &str, factory: &str| {
        let arguments = ["train", "--from", from, "--factory", factory, "--out", &out];
        index(&arguments).map(|output| (output.status.code(), errors(&output)))
    };
    let told = [
        (train("nowhere.parquet", "IVF16,PQ32")?, Some(1), "nowhere.parquet"),
        (train(&good, "Nonsense7")?, Some(1), "Nonsense7"),
        (train(&good, "IVF16,PQ7")?, Some(1), "IVF16,PQ7"),
        (train(&good, "IVF8;rm")?, Some(2), "IVF1024,PQ64"),
        (train(&good, "Flat")?, Some(2), "needs no training"),
    ];
    for ((code, error), expected, part) in told {
        assert_eq!(code, expected, "{error}");
        assert!(error.contains(part), "{error}");
    }

    let with = |at: u64, bad: f32| {
        move |row: u64| {
            let mut values = vector(row + 5_000);
            if row == at {
                values[3] = bad;
            }
            values
        }
    };
    write(&place.path("nan.parquet"), (0..300).map(with(250, f32::NAN)))?;
    let nan = refused(&["fill", &block, "--from", &place.text("nan.parquet")], 1)?;
    assert!(nan.contains("nan.parquet, row 250") && nan.contains("finite"), "{nan}");
    let zero = |row: u64| if row == 40 { vec![0.0; D] } else { vector(row) };
    write(&place.path("zero.parquet"), (0..300).map(zero))?;
    let zero = refused(&["fill", &block, "--from", &place.text("zero.parquet")], 1)?;
    assert!(zero.contains("zero.parquet, row 40") && zero.contains("no length"), "{zero}");

    // A disk that takes no more: files may not grow beyond 16 KiB, so the codes of these rows do not fit.
    let more = write(&place.path("more.parquet"), (0..900).map(vector))?;
    let program = facering().get_program().to_owned();
    let full = std::process::Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 32; exec \"$0\" \"$@\""])
        .arg(program)
        .args(["index", "fill", &block, "--from", &more])
        .output()?;
    assert_eq!(full.status.code(), Some(1), "{}", stderr(&full));
    assert!(errors(&full).contains("too large") && errors(&full).contains("block"), "{}", stderr(&full));

    // Another process has the folder open.
    let lock = File::options().write(true).open(place.path("block/LOCK"))?;
    lock.lock()?;
    let locked = refused(&["info", "--index", &block], 1)?;
    assert!(locked.contains("another process"), "{locked}");
    drop(lock);

    let mut after = json(&["info", "--index", &block])?;
    after["anonymous_mb"] = before["anonymous_mb"].clone();
    assert_eq!(before, after, "the index is as it was");

    let folder = refused(&["info", "--index", &place.text("")], 1)?;
    assert!(folder.contains("no face index"), "{folder}");
    let segment = std::fs::read_dir(&block)?
        .filter_map(Result::ok)
        .find(|entry| entry.file_name().to_string_lossy().starts_with("segment-"))
        .context("a segment")?
        .path();
    let whole = std::fs::read(&segment)?;
    for bad in [&whole[..whole.len() - 100], b"a foreign file altogether".as_slice()] {
        std::fs::write(&segment, bad)?;
        let damaged = refused(&["info", "--index", &block], 1)?;
        assert!(damaged.contains("segment-"), "{damaged}");
    }
    std::fs::write(&segment, whole)?;
    assert_eq!(json(&["info", "--index", &block])?["vectors"], 600);
    Ok(())
}

/// A state begins exact; its index moves to a model trained on its own faces or on those of a file, and stays whole.
#[test]
fn the_index_of_a_state_moves_to_a_trained_model() -> anyhow::Result<()> {
    let place = Place(tempfile::tempdir()?);
    let (file, _) = faces::write(place.0.path(), 300)?;
    faces::finish(&file, place.0.path())?;
    let state = format!("--set=state.path={}", place.text("state"));
    let exact = json(&["info", &state])?;
    assert_eq!(exact["factory"], "Flat");
    let vectors = exact["vectors"].as_u64().context("vectors")?;
    assert!(vectors > 300, "{exact}");

    let wrong = refused(
        &["train", "--from", "store", "--factory", "IVF8,SQ8", &state, "--set=index.factory=Flat"],
        2,
    )?;
    assert!(wrong.contains("index.factory"), "{wrong}");
    assert_eq!(json(&["info", &state])?["factory"], "Flat");

    let trained = json(&["train", "--from", "store", "--factory", "IVF16,SQ8", &state])?;
    assert_eq!((&trained["factory"], trained["vectors"].as_u64()), (&"IVF16,SQ8".into(), Some(vectors)));
    let from_file = place.path("simulated/faces.parquet").display().to_string();
    let again = json(&["train", "--from", &from_file, "--factory", "IVF8,SQ8", &state])?;
    assert_eq!((&again["factory"], again["vectors"].as_u64()), (&"IVF8,SQ8".into(), Some(vectors)));
    assert!(!place.path("state/index/training").exists(), "the workshop is gone");

    let rows = python::duckdb(&format!(
        "select account_id from '{from_file}' where embedding is not null group by 1 having count(*) > 1 limit 1"
    ))?;
    let account = rows.first().and_then(|row| row["account_id"].as_str()).context("an account")?;
    let found = run(["search", "--account", account, "-k", "3", "--json", &state])?;
    ensure!(found.status.success(), "{}", stderr(&found));
    let found: Value = serde_json::from_slice(&found.stdout)?;
    assert!(found["faces"].as_array().is_some_and(|faces| !faces.is_empty()), "{found}");
    let forgotten = run(["forget", account, &state, &format!("--set=output.path={}", place.text("output"))])?;
    ensure!(forgotten.status.success(), "{}", stderr(&forgotten));
    let after = json(&["info", &state])?;
    assert!(after["vectors"].as_u64() < Some(vectors) && after["tombstones"] == 0, "{after}");
    Ok(())
}
