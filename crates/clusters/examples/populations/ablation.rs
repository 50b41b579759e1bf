//! What each part of the detector is worth: the same populations without it.

use clusters::{ClustersConfig, detect};

use crate::Error;
use crate::figures::Row;
use crate::world::World;

/// Signals that are taken away one at a time.
const SIGNALS: [&str; 14] = [
    "shared_photos",
    "reuse",
    "people",
    "famous",
    "group_photos",
    "own_life",
    "popular",
    "size",
    "creation",
    "profiles",
    "names",
    "mass_reuse",
    "single_photo",
    "victims",
];

pub fn rows(world: &World, config: &ClustersConfig, seed: u64) -> Result<Vec<Row>, Error> {
    let mut variants: Vec<(String, ClustersConfig)> = SIGNALS
        .iter()
        .map(|signal| {
            let config = ClustersConfig { without: vec![(*signal).to_owned()], ..config.clone() };
            (format!("without {signal}"), config)
        })
        .collect();
    variants.push((
        "without communities (connected components of the account graph)".to_owned(),
        ClustersConfig { split_below: 1e-9, ..config.clone() },
    ));
    variants.push((
        "without popularity (no photo is generic)".to_owned(),
        ClustersConfig { generic_owners: usize::MAX, mass_owners: usize::MAX, ..config.clone() },
    ));
    let mut rows = Vec::new();
    for (way, config) in variants {
        let found = detect(world.input.clone(), &config)?;
        rows.push(Row::of(&way, seed, &found.tables, world)?);
    }
    let mut fixed = world.input.clone();
    fixed.pack.tail = vec![
        clusters::TailPoint { cosine: 0.499, false_match_rate: 1e-2 },
        clusters::TailPoint { cosine: 0.5, false_match_rate: 1e-12 },
    ];
    let found = detect(fixed, config)?;
    rows.push(Row::of("with a fixed threshold (cosine .50) instead of tau(N)", seed, &found.tables, world)?);
    Ok(rows)
}
