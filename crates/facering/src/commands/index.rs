//! `facering index`: inspect, measure and tidy up the face index.

use std::path::PathBuf;

use anyhow::Context;
use serde_json::Value;

use super::print_result;
use crate::answers::ask_or_open;
use crate::cli::{Common, IndexAction};
use crate::config::Settings;
use crate::control::Question;

pub fn execute(common: &Common, action: &IndexAction) -> anyhow::Result<()> {
    let settings = Settings::load(common, None)?;
    match action {
        IndexAction::Info => show(common, &ask_or_open(&settings, Question::IndexInfo)?),
        IndexAction::Compact => show(common, &ask_or_open(&settings, Question::IndexCompact)?),
        IndexAction::Bench(arguments) => {
            let parameters = index::BenchParams {
                factory: arguments.factory.clone(),
                vectors: arguments.vectors,
                queries: arguments.queries,
                dim: arguments.dim,
                threads: arguments.threads,
                seed: arguments.seed,
                ..Default::default()
            };
            let folder = Scratch::new()?;
            let progress = |step: &index::TrainProgress| tracing::debug!(?step, "training");
            let card =
                index::bench(&folder.0, &parameters, &progress).context("the index cannot be measured")?;
            show(common, &serde_json::to_value(card)?)
        }
    }
}

/// A folder for the measured index, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> anyhow::Result<Self> {
        let folder = std::env::temp_dir().join(format!("facering-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        Ok(Self(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, folder = %self.0.display(), "the measured index stays behind");
        }
    }
}

fn show(common: &Common, value: &Value) -> anyhow::Result<()> {
    print_result(common, value, || {
        let lines = value.as_object().into_iter().flatten();
        lines
            .map(|(key, value)| format!("{:<24} {value}", key.replace('_', " ")))
            .collect::<Vec<_>>()
            .join("\n")
    })
}
