//! `facering run`: a pipeline until it ends or is stopped.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use ingest::SourceConfig;
use serde_json::json;

use super::{print, print_result, runtime};
use crate::cli::Common;
use crate::config::{PipelineKind, Settings};
use crate::control::{self, Question};
use crate::outcome::Misconfigured;
use crate::pipeline::{Outcome, Pipeline};
use crate::{service, signals, standing, state_folders};

/// How long requests under way may still take at the end.
const CLOSE_WAIT: Duration = Duration::from_secs(5);

pub fn execute(common: &Common, file: &Path, beside: bool) -> anyhow::Result<()> {
    let mut settings = Settings::load(common, Some(file))?;
    if beside {
        let folder = place_beside(&settings)?;
        settings = settings.beside(folder);
        std::fs::create_dir_all(&settings.state.path)
            .with_context(|| format!("{} cannot be made", settings.state.path.display()))?;
        tracing::info!("filling a state beside the one in use, in {}", settings.state.path.display());
    }
    match (&settings.pipeline.kind, &settings.source) {
        (PipelineKind::Stream, SourceConfig::Parquet(_)) => {
            return Err(Misconfigured::usage(
                "source.kind",
                "a stream reads kafka; for files use kind = \"backfill\"",
            ));
        }
        (PipelineKind::Report, _) => return report_once(common, &settings),
        _ => {}
    }
    if settings.pipeline.kind == PipelineKind::Backfill {
        if let Some(answer) = beside_a_stream(&settings)? {
            return print_result(common, &answer, || {
                format!(
                    "{} rows were read by the running pipeline; its next snapshot shows them",
                    answer["rows"]
                )
            });
        }
        // Files have no topic beside them; whoever looks for what was given up looks where the tables are.
        settings.dead_letters.file.get_or_insert_with(|| settings.output.path.join("dead_letters.jsonl"));
    }
    let runtime = runtime()?;
    let outcome = runtime.block_on(run(&settings));
    // Threads that still decode or write a snapshot are waited for as long as a stop may take, then left: what they do is
    // not committed, or only a draft.
    let limit = Duration::from_secs(settings.pipeline.stop_timeout_s);
    let left = signals::asked_at().map_or(limit, |asked| limit.saturating_sub(asked.elapsed()));
    runtime.shutdown_timeout(left);
    let outcome = outcome?;
    let text = || {
        let snapshot = outcome.snapshot.as_ref().map_or_else(
            || "no snapshot was written".to_owned(),
            |s| {
                format!(
                    "snapshot: {} ({} clusters, {} suspected accounts)",
                    s.folder.display(),
                    s.clusters,
                    s.members
                )
            },
        );
        let abandoned =
            if outcome.abandoned { "work in flight was abandoned; the next start does it\n" } else { "" };
        format!("{abandoned}{}\n{snapshot}", outcome.summary.text())
    };
    let folder = outcome.snapshot.as_ref().map(|snapshot| snapshot.folder.display().to_string());
    print_result(
        common,
        &json!({"summary": outcome.summary, "snapshot": folder, "abandoned": outcome.abandoned}),
        text,
    )
}

/// Where the state of `models.pack` lies or will lie, beside the one in use, which holds faces of another pack.
fn place_beside(settings: &Settings) -> anyhow::Result<PathBuf> {
    let (in_use, pack) = (&settings.state.path, &settings.models.pack);
    if !state_folders::has_state(in_use) {
        bail!(
            "there is no state in {} that {pack} could be brought in beside; run without --beside",
            in_use.display()
        );
    }
    let holds = |folder: &Path| -> anyhow::Result<bool> {
        let seen = standing::look(&settings.state, folder)?;
        Ok(seen.standing.pack.is_some_and(|holds| holds.as_str() == pack))
    };
    if holds(in_use)? {
        return Err(Misconfigured::usage(
            "models.pack",
            format!(
                "the state in use, in {}, holds faces of {pack}; --beside fills a second one for another pack",
                in_use.display()
            ),
        ));
    }
    // One kept from before a switch goes on where it was.
    for folder in state_folders::all(&settings.root) {
        if folder != *in_use && holds(&folder)? {
            return Ok(folder);
        }
    }
    Ok(state_folders::of_pack(&settings.root, pack))
}

/// Asks the pipeline that owns the state, if one is running, to read the files beside its stream.
fn beside_a_stream(settings: &Settings) -> anyhow::Result<Option<serde_json::Value>> {
    let SourceConfig::Parquet(source) = &settings.source else { return Ok(None) };
    let mut source = source.clone();
    if !source.path.to_string_lossy().contains("://") {
        // The other process may run in another folder.
        source.path = std::path::absolute(&source.path).context("source.path cannot be resolved")?;
    }
    control::ask(&settings.state.path, &Question::Backfill { source })
}

async fn run(settings: &Settings) -> anyhow::Result<Outcome> {
    let stop = signals::stop_on_signal()?;
    let mut pipeline = Pipeline::open(settings)?;
    // A backfill ends by itself; whoever wants to look at its clusters serves them afterwards.
    let stream = settings.pipeline.kind == PipelineKind::Stream;
    let service = service::start(settings, &pipeline, stream).await?;
    let every = stream.then(|| Duration::from_secs(settings.output.every_s));
    let outcome = pipeline.run(every, !stream, stop).await;
    // Requests under way are answered, but not at the price of a stop that never ends.
    if tokio::time::timeout(CLOSE_WAIT, service.close()).await.is_err() {
        tracing::warn!("requests under way were not answered in time");
    }
    outcome
}

/// The pipeline `report`: no source, one snapshot of the state as it is, and the report.
fn report_once(common: &Common, settings: &Settings) -> anyhow::Result<()> {
    let pipeline = Pipeline::open(settings)?;
    match pipeline.write_snapshot()? {
        Some(written) => {
            let value =
                json!({"snapshot": written.folder.display().to_string(), "clusters": written.clusters});
            print_result(common, &value, || format!("snapshot: {}", written.folder.display()))
        }
        None if common.json => print("{\"snapshot\": null}"),
        None => {
            bail!("the state in {} is empty: run a stream or a backfill first", settings.state.path.display())
        }
    }
}
