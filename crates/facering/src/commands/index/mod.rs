//! `facering index`: train, fill, merge, inspect, measure and tidy up the face index.

mod bench;
mod blocks;
mod progress;
mod train;
mod vectors;

use std::path::Path;

use index::{ExactVectors, FaceIndex};
use serde_json::Value;

pub use train::train_state;
pub use vectors::runtime_for_lists;

use super::print_result;
use crate::answers::ask_or_open;
use crate::cli::{Common, IndexAction};
use crate::config::Settings;
use crate::control::Question;

pub fn execute(common: &Common, action: &IndexAction) -> anyhow::Result<()> {
    let settings = Settings::load(common, None)?;
    match action {
        IndexAction::Info(folder) => match &folder.index {
            None => show_info(common, &ask_or_open(&settings, Question::IndexInfo)?),
            Some(folder) => {
                let index = FaceIndex::open_existing(folder, &settings.index, None)?;
                show_info(common, &folder_info(&index)?)
            }
        },
        IndexAction::Compact(folder) => match &folder.index {
            None => show_info(common, &ask_or_open(&settings, Question::IndexCompact)?),
            Some(folder) => show_info(common, &compact(&settings, folder)?),
        },
        IndexAction::Train(arguments) => train::execute(common, &settings, arguments),
        IndexAction::Fill(arguments) => blocks::fill(common, &settings, arguments),
        IndexAction::Merge(arguments) => blocks::merge(common, &settings, arguments),
        IndexAction::Search(arguments) => blocks::search(common, &settings, arguments),
        IndexAction::Bench(arguments) => bench::execute(common, &settings, arguments),
    }
}

fn compact(settings: &Settings, folder: &Path) -> anyhow::Result<Value> {
    let index = FaceIndex::open_existing(folder, &settings.index, None)?;
    let kept = index.kept_vectors()?;
    index.compact(true, kept.as_ref().map(|kept| kept as &dyn ExactVectors))?;
    folder_info(&index)
}

/// The facts of an index that this process has opened.
fn folder_info(index: &FaceIndex) -> anyhow::Result<Value> {
    let mut info = serde_json::to_value(index.info()?)?;
    info["anonymous_mb"] = index::anonymous_mib().into();
    Ok(info)
}

fn show(common: &Common, value: &Value) -> anyhow::Result<()> {
    print_result(common, value, || lines(value).join("\n"))
}

/// One line for each plain value.
fn lines(value: &Value) -> Vec<String> {
    let all = value.as_object().into_iter().flatten();
    all.map(|(key, value)| format!("{:<26} {value}", key.replace('_', " "))).collect()
}

/// The facts of an index, with its recall card as a table.
fn show_info(common: &Common, info: &Value) -> anyhow::Result<()> {
    print_result(common, info, || {
        let mut plain = info.clone();
        let object = plain.as_object_mut();
        let model = object.and_then(|object| object.remove("model")).unwrap_or(Value::Null);
        let mut text = lines(&plain);
        if let Some(facts) = model.as_object() {
            let kept = facts
                .iter()
                .filter(|(key, _)| !["card", "factory", "metric", "dimension"].contains(&key.as_str()));
            text.extend(
                kept.map(|(key, value)| {
                    format!("{:<26} {value}", format!("model {}", key.replace('_', " ")))
                }),
            );
            text.extend(card(&model["card"]));
        }
        text.join("\n")
    })
}

/// The recall card: a row for each nprobe, a column for each cosine.
fn card(points: &Value) -> Vec<String> {
    let points: Vec<(f64, u64, f64)> = points
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|point| {
            Some((point["cosine"].as_f64()?, point["nprobe"].as_u64()?, point["recall"].as_f64()?))
        })
        .collect();
    let mut nprobes: Vec<u64> = points.iter().map(|point| point.1).collect();
    nprobes.sort_unstable();
    nprobes.dedup();
    let mut cosines: Vec<f64> = points.iter().map(|point| point.0).collect();
    cosines.sort_by(|a, b| b.total_cmp(a));
    cosines.dedup();
    if nprobes.is_empty() {
        return Vec::new();
    }
    let heads: Vec<String> =
        cosines.iter().map(|cosine| format!("{:>8}", format!("cos {cosine:.1}"))).collect();
    let mut text = vec![
        "recall card: share of unseen faces whose list is among the visited ones".to_owned(),
        format!("{:>8}{}", "nprobe", heads.concat()),
    ];
    for nprobe in nprobes {
        let cells = cosines.iter().map(|cosine| {
            let point = points.iter().find(|point| point.0 == *cosine && point.1 == nprobe);
            point.map_or(format!("{:>8}", "-"), |point| format!("{:>8.3}", point.2))
        });
        text.push(format!("{nprobe:>8}{}", cells.collect::<String>()));
    }
    text
}
