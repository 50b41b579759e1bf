//! Settings of the binary's own: what runs, and where snapshots go.

use std::path::PathBuf;

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
    /// Memory for vectors of stored faces that new ones were compared with, in MiB: the same are needed again and again.
    pub vector_cache_mib: usize,
}

impl Default for PipelineConfig {
    fn default() -> Self {
        Self { kind: PipelineKind::Stream, stop_timeout_s: 30, vector_cache_mib: 128 }
    }
}

impl PipelineConfig {
    /// Everything that is wrong, as the key within the section and a sentence.
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        if !(1..=3600).contains(&self.stop_timeout_s) {
            problems.push((
                "stop_timeout_s".into(),
                format!("is {}; 1 to 3600 are allowed", self.stop_timeout_s),
            ));
        }
        let cache = self.vector_cache_mib;
        if !(1..=1 << 20).contains(&cache) {
            problems.push(("vector_cache_mib".into(), format!("is {cache}; 1 to 1048576 are allowed")));
        }
        problems
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
    /// Snapshots older than this are removed too, in days; 0 keeps them whatever their age. The newest always stays.
    pub keep_days: u32,
    /// Write the HTML report beside each snapshot, as `report.html` in this folder.
    pub report: bool,
    /// A stream with up to this many accounts keeps them in memory, so that a snapshot costs what changed; beyond, and with
    /// 0, each is made out of everything.
    pub incremental_accounts: u64,
}

impl Default for OutputConfig {
    fn default() -> Self {
        Self {
            path: "output".into(),
            every_s: 300,
            keep: 30,
            keep_days: 0,
            report: false,
            incremental_accounts: 500_000,
        }
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
        require(
            (1..=86_400).contains(&self.every_s),
            "every_s",
            format!("is {}; 1 to 86400 are allowed", self.every_s),
        );
        require(
            self.keep_days <= 36_500,
            "keep_days",
            format!("is {}; 0 to 36500 are allowed", self.keep_days),
        );
        require(self.keep >= 1, "keep", "is 0; at least one snapshot has to be kept".into());
        problems
    }
}

/// The section `[privacy]`: keys, and how long people's data stays.
#[derive(Deserialize, Serialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(deny_unknown_fields, default)]
pub struct PrivacyConfig {
    /// File with the key that thumbnails are encrypted with, 64 hexadecimal digits. Empty: the variable
    /// `FACERING_THUMBNAIL_KEY`. One of the two is needed for `embed.thumbnails`.
    pub thumbnail_key_file: PathBuf,
    /// File with the key that receipts of erasures are signed with. Empty: `receipt.key` in the state folder. Made where
    /// it is missing.
    pub receipt_key_file: PathBuf,
    /// Accounts last observed more days ago are erased, and dead letters as old; 0 keeps them.
    pub retain_days: u32,
}

impl PrivacyConfig {
    /// Everything that is wrong, as the key within the section and a sentence.
    pub fn problems(&self) -> Vec<(String, String)> {
        let most = 36_500;
        let wrong = self.retain_days > most;
        let problem = ("retain_days".to_owned(), format!("is {}; 0 to {most} are allowed", self.retain_days));
        if wrong { vec![problem] } else { Vec::new() }
    }

    /// What is missing for thumbnails, if they are wanted.
    pub fn missing_for_thumbnails(&self, wanted: bool) -> Option<(String, String)> {
        if !wanted {
            return None;
        }
        match crate::sealing::ThumbnailKey::find(&self.thumbnail_key_file) {
            Ok(Some(_)) => None,
            Ok(None) => Some((
                "thumbnail_key_file".to_owned(),
                "is missing; embed.thumbnails needs a key, since thumbnails are stored encrypted only: make one with \
                 `openssl rand -hex 32 > thumbnail.key` and keep it apart from the state"
                    .to_owned(),
            )),
            Err(error) => Some(("thumbnail_key_file".to_owned(), format!("{error:#}"))),
        }
    }
}
