//! k-means in two levels, for list counts at which one level would take days.
//!
//! The first level finds about `sqrt(lists)` groups on a part of the sample; every vector is assigned to its group; then
//! each group gets a share of the lists in proportion to its vectors and is clustered on its own. The cost falls from
//! `sample * lists` to about `sample * 2 * sqrt(lists)` comparisons a round.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use crate::IndexError;
use crate::exact::{ExactVectors, read_exact};
use crate::files::{Checksum, write_durably};
use crate::native::{self, Native, bytes_of};
use crate::progress::Meter;
use crate::train::{TrainParams, read_sample};

/// Vectors for each centroid of the first level.
const FIRST_PER_CENTROID: usize = 256;
/// Vectors for each centroid of the second level that still help.
const SECOND_PER_CENTROID: usize = 256;
const BATCH: usize = 8192;

/// Groups of the first level.
pub fn groups_of(lists: usize, sample: usize) -> usize {
    ((lists as f64).sqrt().round() as usize).clamp(1, sample.max(1))
}

/// A training in two levels.
pub struct TwoLevel<'a> {
    /// Dimension of the vectors as they are read.
    pub dimension: usize,
    /// Centroids wanted.
    pub lists: usize,
    /// Metric, seed, rounds, checkpoint.
    pub params: &'a TrainParams,
    /// Takes vectors through the transforms before the lists.
    pub transform: &'a Native,
}

impl TwoLevel<'_> {
    /// The centroids, `lists` rows of the dimension after the transforms.
    pub fn train(
        &self,
        vectors: &dyn ExactVectors,
        ordinals: &[u64],
        meter: &Meter<'_>,
    ) -> Result<Vec<f32>, IndexError> {
        let d = self.transform.shape().lists_dimension as usize;
        let (metric, rounds, seed) = (self.params.metric, self.params.iterations, self.params.seed);
        let groups = groups_of(self.lists, ordinals.len());
        let mut kept = Checkpoint::open(self, ordinals)?;

        let first = match kept.read("level-1", groups * d)? {
            Some(centroids) => centroids,
            None => {
                let most = ordinals.len().min(groups * FIRST_PER_CENTROID);
                let sample = read_sample(vectors, self.dimension, &ordinals[..most], "reading", meter)?;
                meter.step("level 1", 0, 1);
                let sample = self.transform.transformed(sample.values())?;
                let groups = groups.min(sample.len() / d);
                let centroids = native::kmeans(metric, d, &sample, groups, rounds, seed)?;
                kept.write("level-1", &centroids)?;
                centroids
            }
        };
        let groups = first.len() / d;

        let mut members: Vec<Vec<u64>> = vec![Vec::new(); groups];
        let mut batch = Vec::new();
        let total = ordinals.len() as u64;
        for (done, ordinals) in ordinals.chunks(BATCH).enumerate() {
            meter.step("assigning", (done * BATCH) as u64, total);
            self.read(vectors, ordinals, &mut batch)?;
            let (nearest, _) =
                native::flat_search(metric, d, &self.transform.transformed(&batch)?, &first, 1)?;
            for ((ordinal, group), row) in
                ordinals.iter().zip(nearest).zip(batch.chunks_exact(self.dimension))
            {
                let there = row.iter().any(|value| *value != 0.0);
                if let (true, Some(group)) =
                    (there, usize::try_from(group).ok().and_then(|g| members.get_mut(g)))
                {
                    group.push(*ordinal);
                }
            }
        }

        let sizes: Vec<usize> = members.iter().map(Vec::len).collect();
        let shares = shares(&sizes, self.lists).ok_or_else(|| IndexError::TooFewToTrain {
            factory: self.params.factory.clone(),
            needed: self.lists,
            found: sizes.iter().sum(),
        })?;
        let mut centroids = Vec::with_capacity(self.lists * d);
        for (group, (members, share)) in members.into_iter().zip(shares).enumerate() {
            meter.step("level 2", group as u64, groups as u64);
            if share == 0 {
                continue;
            }
            let name = format!("level-2-{group}");
            if let Some(done) = kept.read(&name, share * d)? {
                centroids.extend(done);
                continue;
            }
            let most = members.len().min(share * SECOND_PER_CENTROID);
            self.read(vectors, &members[..most], &mut batch)?;
            let sample = self.transform.transformed(&batch)?;
            let found = native::kmeans(metric, d, &sample, share, rounds, seed + group as u64)?;
            kept.write(&name, &found)?;
            centroids.extend(found);
        }
        Ok(centroids)
    }

    fn read(
        &self,
        vectors: &dyn ExactVectors,
        ordinals: &[u64],
        out: &mut Vec<f32>,
    ) -> Result<(), IndexError> {
        read_exact(vectors, self.dimension, ordinals, out)
    }
}

/// Divides `lists` among groups in proportion to their sizes; no group gets more than it has members. `None` if there
/// are fewer members than lists.
fn shares(sizes: &[usize], lists: usize) -> Option<Vec<usize>> {
    let total: usize = sizes.iter().sum();
    if total < lists {
        return None;
    }
    let mut shares: Vec<usize> = sizes
        .iter()
        .map(|size| ((*size as u128 * lists as u128 / total.max(1) as u128) as usize).max(1).min(*size))
        .collect();
    let mut given: usize = shares.iter().sum();
    // The rest goes to where a list has the most members, and surplus is taken from where it has the fewest.
    while given != lists {
        let per_list = |at: usize| sizes[at] as f64 / shares[at].max(1) as f64;
        let order = |a: &usize, b: &usize| per_list(*a).total_cmp(&per_list(*b));
        if given < lists {
            let at = (0..sizes.len()).filter(|at| shares[*at] < sizes[*at]).max_by(order)?;
            shares[at] += 1;
            given += 1;
        } else {
            let at = (0..sizes.len()).filter(|at| shares[*at] > 0).min_by(order)?;
            shares[at] -= 1;
            given -= 1;
        }
    }
    Some(shares)
}

/// Centroids that are done, kept on disk under a name that stands for sample and parameters.
struct Checkpoint {
    folder: Option<std::path::PathBuf>,
}

impl Checkpoint {
    fn open(training: &TwoLevel<'_>, ordinals: &[u64]) -> Result<Self, IndexError> {
        let Some(base) = &training.params.checkpoint else { return Ok(Self { folder: None }) };
        let mut key = Checksum::default();
        let params = training.params;
        key.update(params.factory.as_bytes());
        let numbers =
            [params.seed, params.iterations as u64, training.lists as u64, training.dimension as u64];
        key.update(bytes_of(&numbers));
        key.update(params.metric.as_str().as_bytes());
        key.update(bytes_of(ordinals));
        let folder = base.join(format!("{:016x}", key.finish()));
        std::fs::create_dir_all(&folder).map_err(IndexError::io("creating", &folder))?;
        Ok(Self { folder: Some(folder) })
    }

    fn read(&mut self, name: &str, values: usize) -> Result<Option<Vec<f32>>, IndexError> {
        let Some(path) = self.folder.as_ref().map(|folder| folder.join(name)) else { return Ok(None) };
        let mut bytes = Vec::new();
        match File::open(&path).and_then(|mut file| file.read_to_end(&mut bytes)) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(IndexError::io("reading", &path)(error)),
        }
        let whole = bytes.len() == values * 4;
        Ok(whole.then(|| bytes.as_chunks::<4>().0.iter().map(|value| f32::from_le_bytes(*value)).collect()))
    }

    fn write(&mut self, name: &str, values: &[f32]) -> Result<(), IndexError> {
        let Some(path) = self.folder.as_ref().map(|folder| folder.join(name)) else { return Ok(()) };
        let write = |path: &Path| {
            write_durably(path, |writer| {
                writer.write_all(bytes_of(values)).map_err(IndexError::io("writing", path))
            })
        };
        write(&path)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn shares_add_up(sizes in prop::collection::vec(0usize..500, 1..40), part in 0.01f64..1.0) {
            let total: usize = sizes.iter().sum();
            let lists = (total as f64 * part) as usize;
            let shares = shares(&sizes, lists).unwrap();
            prop_assert_eq!(shares.iter().sum::<usize>(), lists);
            prop_assert!(shares.iter().zip(&sizes).all(|(share, size)| share <= size));
        }
    }

    #[test]
    fn too_few_members_are_refused() {
        assert_eq!(shares(&[3, 4], 8), None);
    }
}
