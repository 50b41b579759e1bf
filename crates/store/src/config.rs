//! What of the state can be configured.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The section `[state]`.
#[derive(Deserialize, Serialize, Clone, Debug, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct StoreConfig {
    /// The state folder. One process owns it at a time; the store lies in `store` below it.
    pub path: PathBuf,
    /// Memory for blocks read from disk, in MiB: at least 8.
    pub cache_mib: u64,
    /// Memory for rows that are not yet folded into tables, all kinds of rows together, in MiB: at least 16.
    pub buffer_mib: u64,
    /// Disk space after which journals are folded into tables, in MiB: at least 64. Larger ones mean fewer rewrites and
    /// a longer start after a crash.
    pub journal_mib: u64,
    /// Threads that fold journals and compact tables in the background: 1 to 64.
    pub workers: usize,
    /// Files kept open at most: at least 16.
    pub open_files: usize,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            path: PathBuf::from("state"),
            cache_mib: 256,
            buffer_mib: 128,
            journal_mib: 512,
            workers: 1,
            open_files: 512,
        }
    }
}

impl StoreConfig {
    /// The defaults in this folder.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), ..Self::default() }
    }

    /// Everything that is wrong, as the key within the section and a sentence.
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        let mut require = |ok: bool, key: &str, sentence: String| {
            if !ok {
                problems.push((key.to_owned(), sentence));
            }
        };
        require(!self.path.as_os_str().is_empty(), "path", "is empty; name the folder of the state".into());
        let (cache, journal) = (self.cache_mib, self.journal_mib);
        require(cache >= 8, "cache_mib", format!("is {cache}; at least 8 is needed"));
        let buffer = self.buffer_mib;
        require(buffer >= 16, "buffer_mib", format!("is {buffer}; at least 16 is needed"));
        require(journal >= 64, "journal_mib", format!("is {journal}; at least 64 is needed"));
        let workers = self.workers;
        require((1..=64).contains(&workers), "workers", format!("is {workers}; 1 to 64 are allowed"));
        let files = self.open_files;
        require(files >= 16, "open_files", format!("is {files}; at least 16 are needed"));
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_told_at_once() {
        assert_eq!(StoreConfig::default().problems(), []);
        let wrong = StoreConfig {
            path: PathBuf::new(),
            cache_mib: 0,
            buffer_mib: 15,
            journal_mib: 63,
            workers: 0,
            open_files: 1,
        };
        let keys: Vec<_> = wrong.problems().into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["path", "cache_mib", "buffer_mib", "journal_mib", "workers", "open_files"]);
    }

    #[test]
    fn unknown_keys_are_refused() {
        assert!(toml::from_str::<StoreConfig>("path = \"x\"\ncache = 3").is_err());
        assert_eq!(toml::from_str::<StoreConfig>("path = \"x\"").unwrap(), StoreConfig::at("x"));
    }
}
