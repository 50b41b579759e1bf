//! `facering run`: a pipeline until it ends or is stopped.

use std::path::Path;
use std::time::Duration;

use anyhow::bail;
use ingest::SourceConfig;
use serde_json::json;

use super::{print, print_result, runtime};
use crate::cli::Common;
use crate::config::{PipelineKind, Settings};
use crate::outcome::Misconfigured;
use crate::pipeline::{Outcome, Pipeline};
use crate::{service, signals};

pub fn execute(common: &Common, file: &Path) -> anyhow::Result<()> {
    let settings = Settings::load(common, Some(file))?;
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
    let runtime = runtime()?;
    let outcome = runtime.block_on(run(&settings))?;
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
        format!("{}\n{snapshot}", outcome.summary.text())
    };
    let folder = outcome.snapshot.as_ref().map(|snapshot| snapshot.folder.display().to_string());
    print_result(common, &json!({"summary": outcome.summary, "snapshot": folder}), text)
}

async fn run(settings: &Settings) -> anyhow::Result<Outcome> {
    let stop = signals::stop_on_signal()?;
    let mut pipeline = Pipeline::open(settings)?;
    let service = service::start(settings, &pipeline).await?;
    let stream = settings.pipeline.kind == PipelineKind::Stream;
    let every = stream.then(|| Duration::from_secs(settings.output.every_s));
    let outcome = pipeline.run(every, !stream, stop).await;
    service.close().await;
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
