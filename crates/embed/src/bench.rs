//! Is a pack sound, and how fast is it here: `facering models verify` and `facering models bench`.

use std::time::{Duration, Instant};

use inference::Runtime;
use records::Pixels;

use crate::embedder::PARTS;
use crate::{EmbedConfig, EmbedError, Embedder, ModelPack, PackError};

/// One thing that was checked.
#[derive(Debug)]
pub struct Check {
    /// What was checked, for a person.
    pub name: &'static str,
    /// What is wrong; `None` if nothing is.
    pub trouble: Option<PackError>,
}

/// Checks a pack: its files' hashes, then that both networks load, take and give what the description says, and give a
/// face the same embedding in a batch as alone. Stops at the first check that fails.
pub fn verify(runtime: &Runtime, pack: &ModelPack) -> Vec<Check> {
    let mut checks = vec![Check {
        name: "the files have the hashes of the description",
        trouble: pack.verify_files().err(),
    }];
    if checks.iter().all(|check| check.trouble.is_none()) {
        let loaded = Embedder::new(runtime, pack, EmbedConfig::default());
        checks.push(Check {
            name: "the networks load, fit the description and give the same in a batch as alone",
            trouble: loaded.err(),
        });
    }
    checks
}

/// How fast a batch size is.
#[derive(Clone, PartialEq, Debug, serde::Serialize)]
pub struct BenchRow {
    /// Pictures at once.
    pub batch: usize,
    /// Pictures a second.
    pub pictures_per_second: f64,
    /// Faces a second.
    pub faces_per_second: f64,
    /// Shares of the busy time in detection, alignment, embedding and hashing; together 1.
    pub shares: Vec<(&'static str, f64)>,
}

impl Embedder {
    /// Embeds the pictures over and over for at least `at_least` a batch size and says how fast that was. No pictures:
    /// no rows.
    ///
    /// # Errors
    /// [`EmbedError`] if a picture cannot be embedded.
    pub fn bench(
        &self,
        pictures: &[Pixels],
        batches: &[usize],
        at_least: Duration,
    ) -> Result<Vec<BenchRow>, EmbedError> {
        let mut rows = Vec::new();
        if pictures.is_empty() {
            return Ok(rows);
        }
        for batch in batches.iter().copied().filter(|batch| *batch > 0) {
            let mut endless = pictures.iter().cycle();
            let mut run = |count: usize| -> Result<usize, EmbedError> {
                let group: Vec<&Pixels> = endless.by_ref().take(count).collect();
                self.embed_chunk(&group)
                    .into_iter()
                    .try_fold(0, |faces, content| Ok(faces + content?.faces.len()))
            };
            // The first run of a new shape allocates.
            run(batch)?;
            let (start, before) = (Instant::now(), self.clock.seconds());
            let (mut done, mut faces) = (0, 0);
            while done == 0 || start.elapsed() < at_least {
                faces += run(batch)?;
                done += batch;
            }
            let (seconds, after) = (start.elapsed().as_secs_f64(), self.clock.seconds());
            let busy: f64 = after.iter().sum::<f64>() - before.iter().sum::<f64>();
            let share = |part: usize| (after[part] - before[part]) / busy.max(1e-9);
            rows.push(BenchRow {
                batch,
                pictures_per_second: done as f64 / seconds,
                faces_per_second: faces as f64 / seconds,
                shares: PARTS.iter().map(|(part, name)| (*name, share(*part as usize))).collect(),
            });
        }
        Ok(rows)
    }
}
