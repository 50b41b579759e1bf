//! `facering index train`: centroids and codes from a sample, for an empty block or for the state's own index.

use std::path::Path;

use anyhow::{Context, bail};
use index::{FaceIndex, Factory, Metric, TrainParams, VectorFile};
use serde_json::Value;
use store::Store;

use super::progress::Reporter;
use super::vectors::{draw, draw_from_store, open_files, runtime_for_lists, sample_size};
use super::{folder_info, show_info};
use crate::answers::ask_or_open;
use crate::cli::{Common, IndexTrainArgs};
use crate::config::Settings;
use crate::control::{Question, TrainQuestion};
use crate::outcome::Misconfigured;

/// The name that stands for the faces of the state.
pub const STORE: &str = "store";

pub fn execute(common: &Common, settings: &Settings, arguments: &IndexTrainArgs) -> anyhow::Result<()> {
    let factory = match Factory::parse(&arguments.factory) {
        Ok(Factory::Faiss(text)) => text,
        Ok(_) => {
            let text = format!("`{}` needs no training; expected one like IVF262144,PQ64", arguments.factory);
            return Err(Misconfigured::usage("--factory", text));
        }
        Err(reason) => return Err(Misconfigured::usage("--factory", reason)),
    };
    let metric = match arguments.metric.as_deref() {
        Some("l2") => Metric::L2,
        Some(_) => Metric::Ip,
        None => settings.index.metric,
    };
    match &arguments.out {
        Some(out) => train_block(common, settings, arguments, &factory, metric, out),
        None => {
            if metric != settings.index.metric {
                let text = format!("the state's index has the metric {}", settings.index.metric.as_str());
                return Err(Misconfigured::usage("--metric", text));
            }
            if !matches!(Factory::parse(&settings.index.factory), Ok(Factory::Auto))
                && Factory::parse(&settings.index.factory) != Factory::parse(&factory)
            {
                let text = format!(
                    "index.factory is {}, so the index would go back to it; set it to auto or to {factory}",
                    settings.index.factory
                );
                return Err(Misconfigured::usage("--factory", text));
            }
            let from = (arguments.from != STORE)
                .then(|| std::path::absolute(&arguments.from))
                .transpose()
                .context("the path of --from cannot be resolved")?;
            let question = TrainQuestion { factory, from, sample: arguments.sample };
            show_info(common, &ask_or_open(settings, Question::IndexTrain(question))?)
        }
    }
}

fn train_block(
    common: &Common,
    settings: &Settings,
    arguments: &IndexTrainArgs,
    factory: &str,
    metric: Metric,
    out: &Path,
) -> anyhow::Result<()> {
    if out.join("MANIFEST").exists() {
        return Err(index::IndexError::Exists(out.to_owned()).into());
    }
    let reporter = Reporter::new();
    // What an interrupted training leaves lies here, and the same command goes on with it.
    let workshop = out.join("training");
    let wanted = Some(sample_size(arguments.sample, factory));
    let sample = if arguments.from == STORE {
        let store = Store::open(&settings.state)?;
        draw_from_store(&store.reader(), wanted, &workshop, &reporter)?
    } else {
        draw(&open_files(Path::new(&arguments.from))?, wanted, &workshop, &reporter)?
    };
    let model = train_on(settings, &sample, factory, metric, &workshop, &reporter)?;
    let dimension = sample.dimension();
    let block = FaceIndex::begin(out, dimension, metric, Some(model.into()), &settings.index)?;
    std::fs::remove_dir_all(&workshop)
        .with_context(|| format!("{} cannot be removed", workshop.display()))?;
    drop(reporter);
    show_info(common, &folder_info(&block)?)
}

fn train_on(
    settings: &Settings,
    sample: &VectorFile,
    factory: &str,
    metric: Metric,
    workshop: &Path,
    reporter: &Reporter,
) -> anyhow::Result<index::Model> {
    let ordinals: Vec<u64> = (0..sample.rows()).collect();
    let params = TrainParams {
        factory: factory.to_owned(),
        metric,
        seed: settings.index.seed,
        two_level_from: settings.index.two_level_from,
        checkpoint: Some(workshop.join("levels")),
        runtime: runtime_for_lists(settings),
        ..TrainParams::default()
    };
    index::set_threads(settings.index.threads);
    let progress = |step: &index::TrainProgress| reporter.step(step);
    Ok(index::train(sample, &ordinals, sample.dimension(), &params, workshop, &progress)?)
}

/// Moves the index of an opened state to a model trained on its own faces, or on those of files. Searching and adding
/// go on meanwhile.
pub fn train_state(
    settings: &Settings,
    face_index: &FaceIndex,
    exact: &dyn index::ExactVectors,
    question: &TrainQuestion,
) -> anyhow::Result<Value> {
    let reporter = Reporter::new();
    let progress = |step: &index::TrainProgress| reporter.step(step);
    match &question.from {
        None => face_index.promote(&question.factory, exact, &progress)?,
        Some(path) => {
            let files = open_files(path)?;
            if files.dimension() != face_index.dimension() {
                bail!(
                    "the embeddings in {} have {} numbers and those of the state {}; train on embeddings of the \
                     state's model pack",
                    path.display(),
                    files.dimension(),
                    face_index.dimension()
                );
            }
            let workshop = settings.state.path.join("index").join("training");
            let wanted = Some(sample_size(question.sample, &question.factory));
            let sample = draw(&files, wanted, &workshop, &reporter)?;
            let metric = face_index.metric();
            let model = train_on(settings, &sample, &question.factory, metric, &workshop, &reporter)?;
            face_index.adopt(model, exact, &progress)?;
            drop(sample);
            std::fs::remove_dir_all(&workshop)
                .with_context(|| format!("{} cannot be removed", workshop.display()))?;
        }
    }
    drop(reporter);
    Ok(serde_json::to_value(face_index.info()?)?)
}
