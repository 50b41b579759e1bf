//! `facering report`: what an analyst reads, from the tables alone.

use std::fs;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use anyhow::Context;
use report::{CsvTable, HtmlOptions, Snapshot, TerminalOptions, read_snapshot};

use super::print;
use crate::cli::{Common, ReportArgs};
use crate::config::Settings;
use crate::sealing::{self, ThumbnailKey};

pub fn execute(common: &Common, arguments: &ReportArgs) -> anyhow::Result<()> {
    let settings = Settings::load(common, None)?;
    let folder = arguments.clusters.clone().unwrap_or_else(|| settings.output.path.clone());
    let key = ThumbnailKey::find(&settings.privacy.thumbnail_key_file)?;
    let snapshot = sealing::opened(read_snapshot(&folder)?, key);
    let previous = arguments.since.as_deref().map(|name| since(&folder, name)).transpose()?;
    if let Some(file) = &arguments.html {
        write_html(&snapshot, previous.as_ref(), file)?;
        tracing::info!(file = %file.display(), "report written");
    }
    if let Some(file) = &arguments.csv {
        write(file, &report::csv(&snapshot, CsvTable::Clusters))?;
        tracing::info!(file = %file.display(), "clusters written");
    }
    if common.json {
        print(&report::json(&snapshot, previous.as_ref()).context("the snapshot cannot be written as JSON")?)
    } else if arguments.html.is_none() && arguments.csv.is_none() {
        let terminal = std::io::stdout().is_terminal();
        let options = TerminalOptions { colour: terminal, ..TerminalOptions::default() };
        print(&report::terminal(&snapshot, previous.as_ref(), &options))
    } else {
        Ok(())
    }
}

/// Writes the page beside its final place and renames it, so that nobody opens half a report.
pub fn write_html(snapshot: &Snapshot, previous: Option<&Snapshot>, file: &Path) -> anyhow::Result<()> {
    let page = report::html(snapshot, previous, &HtmlOptions::default())?;
    write(file, &page)
}

fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    let name = file.file_name().and_then(|name| name.to_str()).context("the output needs a file name")?;
    let beside: PathBuf = file.with_file_name(format!(".{name}.new"));
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)
            .with_context(|| format!("the folder {} cannot be made", folder.display()))?;
    }
    fs::write(&beside, text)
        .and_then(|()| fs::rename(&beside, file))
        .with_context(|| format!("{} cannot be written", file.display()))
}

/// An earlier snapshot: a folder, or the name of one beside the newest.
fn since(output: &Path, name: &str) -> anyhow::Result<Snapshot> {
    let given = PathBuf::from(name);
    let bare = name.strip_prefix("snapshot=").unwrap_or(name);
    let named = [output.join("clusters"), output.to_path_buf()]
        .map(|folder| folder.join(format!("snapshot={bare}")))
        .into_iter()
        .find(|folder| folder.is_dir());
    let folder = if given.is_dir() { given } else { named.unwrap_or(given) };
    Ok(read_snapshot(&folder)?)
}
