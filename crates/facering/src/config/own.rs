//! Settings of the binary's own: what runs, which models, where snapshots go.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// What a pipeline does. A closed set: there is no language for wiring.
#[derive(Deserialize, Serialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "lowercase")]
pub enum PipelineKind {
    /// Kafka to clusters, until stopped.
    #[default]
    Stream,
    /// Parquet to clusters, until the input ends.
    Backfill,
    /// Clusters and report of the state as it is, once.
    Report,
}

/// The section `[pipeline]`.
#[derive(Deserialize, Serialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct PipelineConfig {
    /// What runs: `stream`, `backfill` or `report`.
    pub kind: PipelineKind,
    /// How long a stop (SIGTERM, Ctrl-C) may take to finish work in flight, in seconds, before it is abandoned.
    pub stop_timeout_s: u64,
}

impl Default for PipelineConfig {
    fn default() -> Self {
        Self { kind: PipelineKind::Stream, stop_timeout_s: 30 }
    }
}

impl PipelineConfig {
    /// Everything that is wrong, as the key within the section and a sentence.
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        if !(1..=3600).contains(&self.stop_timeout_s) {
            problems.push(("stop_timeout_s".into(), format!("is {}; 1 to 3600 are allowed", self.stop_timeout_s)));
        }
        problems
    }
}

/// The section `[models]`.
#[derive(Deserialize, Serialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct ModelsConfig {
    /// The pack in use. `bundled` knows drawn portraits only; for photographs install a real one.
    pub pack: String,
    /// Where packs lie, a folder for each. Empty: `models` in the current folder, above the program, or
    /// `../share/facering/models` beside it, whichever has the pack.
    pub path: PathBuf,
}

impl Default for ModelsConfig {
    fn default() -> Self {
        Self { pack: "bundled".into(), path: PathBuf::new() }
    }
}

impl ModelsConfig {
    /// Everything that is wrong, as the key within the section and a sentence.
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if self.pack.is_empty() || self.pack.starts_with('.') || !self.pack.chars().all(plain) {
            let rule = "is no name of a pack; letters, digits, '-', '_' and '.' are allowed";
            problems.push(("pack".into(), format!("{:?} {rule}", self.pack)));
        }
        problems
    }

    /// Folders in which packs are looked for, best first.
    pub fn folders(&self) -> Vec<PathBuf> {
        if !self.path.as_os_str().is_empty() {
            return vec![self.path.clone()];
        }
        let mut folders = vec![PathBuf::from("models")];
        if let Ok(program) = std::env::current_exe() {
            folders.extend(program.ancestors().skip(1).take(4).map(|above| above.join("models")));
            folders.extend(program.parent().map(|folder| folder.join("../share/facering/models")));
        }
        folders
    }

    /// The folder of the first place that has this pack, else where it would be installed.
    pub fn folder_of(&self, pack: &str) -> PathBuf {
        let folders = self.folders();
        let has_it = |folder: &&PathBuf| folder.join(pack).join("pack.toml").exists();
        let chosen = folders.iter().find(has_it).or(folders.first());
        chosen.map_or_else(|| Path::new("models").join(pack), |folder| folder.join(pack))
    }
}

/// The section `[output]`.
#[derive(Deserialize, Serialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct OutputConfig {
    /// Snapshots are written below `clusters/` in this folder.
    pub path: PathBuf,
    /// A stream writes a snapshot this often if anything changed, in seconds.
    pub every_s: u64,
    /// How many snapshots are kept; older ones are removed.
    pub keep: usize,
    /// Write the HTML report beside each snapshot, as `report.html` in this folder.
    pub report: bool,
}

impl Default for OutputConfig {
    fn default() -> Self {
        Self { path: "output".into(), every_s: 300, keep: 30, report: false }
    }
}

impl OutputConfig {
    /// Everything that is wrong, as the key within the section and a sentence.
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        let mut require = |ok: bool, key: &str, sentence: String| {
            if !ok {
                problems.push((key.to_owned(), sentence));
            }
        };
        require(!self.path.as_os_str().is_empty(), "path", "is empty; name the folder for snapshots".into());
        require((1..=86_400).contains(&self.every_s), "every_s", format!("is {}; 1 to 86400 are allowed", self.every_s));
        require(self.keep >= 1, "keep", "is 0; at least one snapshot has to be kept".into());
        problems
    }
}
