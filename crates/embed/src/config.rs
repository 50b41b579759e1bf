//! Configuration sections `models` and `embed`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Which model pack to use and where packs lie (section `models`).
#[derive(Deserialize, Serialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct ModelsConfig {
    /// The pack's id, which is its folder's name.
    pub pack: String,
    /// The folder with the packs. Empty: `models` in the working folder, then beside the program or above it, then
    /// `../share/facering/models` beside the program.
    pub path: PathBuf,
    /// Accept the licence of packs that may not be used commercially. `models install --accept-license` does the same
    /// for one pack.
    pub accept_license: bool,
}

impl Default for ModelsConfig {
    fn default() -> Self {
        Self { pack: "bundled".to_owned(), path: PathBuf::new(), accept_license: false }
    }
}

impl ModelsConfig {
    /// Everything wrong with the values, as (key relative to the section, sentence).
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        if !is_pack_name(&self.pack) {
            let sentence = "must be a pack's name of letters, digits, '-', '_' and '.', like bundled";
            problems.push(("pack".to_owned(), sentence.to_owned()));
        }
        problems
    }
}

/// Whether a name may be used as the folder of a pack.
pub(crate) fn is_pack_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !name.is_empty() && name.len() <= 100 && !name.starts_with('.') && name.chars().all(allowed)
}

/// How pictures are embedded (section `embed`).
#[derive(Deserialize, Serialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct EmbedConfig {
    /// Pictures given to the detector at once, 1 to 256. One takes about 5 MB at an input size of 640.
    pub detect_batch: usize,
    /// Faces given to the embedder at once, 1 to 1024. One takes about 0.15 MB.
    pub embed_batch: usize,
    /// Longest that a picture or face waits for others to share its batch, in milliseconds, 0 to 1000. It does not wait
    /// at all when no other is on its way.
    pub batch_wait_ms: u64,
    /// Threads that resize, align and hash; 0 takes one for each core.
    pub threads: usize,
    /// Most faces kept of one picture, largest first, 1 to 1000.
    pub max_faces: usize,
    /// Look again with a border around the picture where no face was found. Faces that fill the frame are missed
    /// otherwise.
    pub retry_with_border: bool,
    /// Narrowest face, in pixels of the picture, that may make a link. Embeddings of narrower ones cannot be trusted.
    pub min_width_px: f32,
    /// Least sharpness (0 to 1) of a face that may make a link.
    pub min_sharpness: f32,
    /// Most turned (0 frontal to 1 profile) face that may make a link.
    pub max_turned: f32,
    /// Keep a small JPEG of every picture for reports.
    pub thumbnails: bool,
    /// Longer side of the thumbnails in pixels, 16 to 1024.
    pub thumbnail_px: u32,
}

impl Default for EmbedConfig {
    fn default() -> Self {
        Self {
            detect_batch: 16,
            embed_batch: 64,
            batch_wait_ms: 5,
            threads: 0,
            max_faces: 100,
            retry_with_border: true,
            min_width_px: 45.0,
            min_sharpness: 0.2,
            max_turned: 0.6,
            thumbnails: false,
            thumbnail_px: 160,
        }
    }
}

impl EmbedConfig {
    /// Everything wrong with the values, as (key relative to the section, sentence).
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        let mut check = |key: &str, fits: bool, allowed: &str| {
            if !fits {
                problems.push((key.to_owned(), format!("is out of range; allowed is {allowed}")));
            }
        };
        check("detect_batch", (1..=256).contains(&self.detect_batch), "1 to 256");
        check("embed_batch", (1..=1024).contains(&self.embed_batch), "1 to 1024");
        check("batch_wait_ms", self.batch_wait_ms <= 1000, "0 to 1000");
        check("threads", self.threads <= 1024, "0 (one for each core) to 1024");
        check("max_faces", (1..=1000).contains(&self.max_faces), "1 to 1000");
        check("min_width_px", (0.0..=1000.0).contains(&self.min_width_px), "0 to 1000");
        check("min_sharpness", (0.0..=1.0).contains(&self.min_sharpness), "0 to 1");
        check("max_turned", (0.0..=1.0).contains(&self.max_turned), "0 to 1");
        check("thumbnail_px", (16..=1024).contains(&self.thumbnail_px), "16 to 1024");
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_reported_at_once() {
        assert_eq!(EmbedConfig::default().problems(), vec![]);
        let wrong = EmbedConfig {
            detect_batch: 0,
            embed_batch: 5000,
            batch_wait_ms: 60_000,
            threads: 5000,
            max_faces: 0,
            min_width_px: f32::NAN,
            min_sharpness: -1.0,
            max_turned: 2.0,
            thumbnail_px: 5,
            ..EmbedConfig::default()
        };
        assert_eq!(wrong.problems().len(), 9);
    }

    #[test]
    fn a_pack_name_leads_nowhere_else() {
        assert_eq!(ModelsConfig::default().problems(), vec![]);
        for name in ["", "../x", "a/b", ".hidden"] {
            assert!(!is_pack_name(name), "{name}");
        }
        let wrong = ModelsConfig { pack: "a/b".into(), ..ModelsConfig::default() };
        assert_eq!(wrong.problems().len(), 1);
    }
}
