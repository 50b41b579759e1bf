//! The whole way from links to tables.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;
use records::tables::Tables;
use records::{AccountId, PhotoKey};

use crate::account_graph::{Parts, Suppressed};
use crate::communities::{Options, communities};
use crate::decisions::Decisions;
use crate::entities::entities;
use crate::evidence::{NONE, evidence};
use crate::incidence::Incidence;
use crate::input::Input;
use crate::judge::{Court, Found};
use crate::profile::Profiles;
use crate::quarantine::{Quarantined, quarantine};
use crate::score::{Scoring, generated_shares};
use crate::tables::{attach, tables};
use crate::times::Births;
use crate::typed::{tau, typed_links};
use crate::victims::{Ownership, ownerships};
use crate::{ClustersConfig, ClustersError};

/// What came of it.
#[derive(Debug)]
pub struct Detection {
    /// The tables, each in a fixed order: clusters by falling score, members and evidence by cluster, accounts by id.
    pub tables: Tables,
    /// Every threshold in force, for `run.json`.
    pub thresholds: BTreeMap<String, f64>,
    /// Photos and people so widely shown that they were held back, most widely shown first; the picture stands for both.
    pub suppressed: Vec<(PhotoKey, Suppressed)>,
    /// Clusters left out because an analyst dismissed them and nothing new came.
    pub dismissed: usize,
    /// Signals that flooded, whose new clusters are held back.
    pub quarantined: Vec<Quarantined>,
    /// Communities that were judged.
    pub communities: usize,
}

/// Finds the clusters.
///
/// # Errors
/// [`ClustersError::Reference`] or [`ClustersError::TooMany`] if the input contradicts itself or is too large.
pub fn detect(input: Input, config: &ClustersConfig) -> Result<Detection, ClustersError> {
    let mut input = input.canonical()?;
    let tau = tau(&input, config);
    let links = typed_links(&input, config, tau);
    input.links = Vec::new();
    let entities = entities(&input, &links);
    let inc = Incidence::new(&input, &entities);
    let births = Births::new(&input.accounts);
    let profiles = Profiles::new(&input.accounts);
    let generated = generated_shares(&input);
    tracing::debug!(tau, links = links.len(), "typed links grouped into photos and people");

    let decisions = Decisions::new(&input);
    let ownerships = if config.without.iter().any(|w| w == "victims") {
        vec![None; input.accounts.len()]
    } else {
        ownerships(&input, &inc, &births, &profiles)
    };
    // Whom an analyst confirmed as a bot is nobody's victim.
    let owners: Vec<Option<Ownership>> = ownerships
        .iter()
        .zip(&decisions.confirmed)
        .map(|(o, sure)| o.clone().filter(|o| !*sure && o.log_odds() > 0.0))
        .collect();
    let allowed: BTreeSet<&AccountId> = input.allow.accounts.iter().collect();
    let aside: Vec<bool> = input
        .accounts
        .iter()
        .zip(&owners)
        .map(|(a, owner)| owner.is_some() || a.facts.verified == Some(true) || allowed.contains(&a.id))
        .collect();

    let parts = Parts { inc: &inc, births: &births, config, aside: &aside };
    let mut built = parts.build(input.accounts.len());
    decisions.shape(&mut built.graph);
    let options = Options { split_below: config.split_below, seeds: config.seeds };
    let groups = decisions.regroup(&built.graph, communities(&built.graph, options));
    tracing::debug!(links = built.graph.edge_count(), communities = groups.len(), "account graph");

    let scoring = Scoring {
        input: &input,
        inc: &inc,
        births: &births,
        profiles: &profiles,
        calibration: &config.calibration,
        mass_owners: config.mass_owners,
        generated: &generated,
        ownerships: &ownerships,
        confirmed: &decisions.confirmed,
        without: &config.without,
    };
    let court =
        Court { scoring, graph: &built.graph, owners: &owners, aside: &aside, decisions: &decisions, config };
    let mut found: Vec<Found> = groups.par_iter().flat_map_iter(|g| court.judge(g)).collect();
    court.reunite(&mut found);
    court.recruit(&mut found);
    let quarantined = quarantine(&mut found, &input, config);

    let mut cluster_of = vec![NONE; input.accounts.len()];
    for (at, cluster) in found.iter().enumerate() {
        cluster.members.iter().for_each(|m| cluster_of[m.account as usize] = at as u32);
    }
    let hurt = attach(&inc, &owners, &mut cluster_of);
    let rows = evidence(&input, &entities, &inc, &links, tau, &cluster_of);
    let mut suppressed: Vec<(PhotoKey, Suppressed)> = built
        .suppressed
        .iter()
        .map(|s| {
            let photo = if s.person { input.faces[s.entity as usize].photo } else { s.entity };
            (input.photos[photo as usize].key, *s)
        })
        .collect();
    suppressed.sort_by_key(|(key, s)| (std::cmp::Reverse(s.owners), s.person, *key));
    let (tables, dismissed) = tables(&input, &inc, &entities.photo, &found, (&owners, &hurt), rows);
    let mut thresholds = thresholds(config, &input, tau);
    for flood in &quarantined {
        thresholds.insert(format!("quarantined.{}", flood.signal), flood.held_back as f64);
    }
    Ok(Detection { tables, thresholds, suppressed, dismissed, quarantined, communities: groups.len() })
}

fn thresholds(config: &ClustersConfig, input: &Input, tau: f32) -> BTreeMap<String, f64> {
    [
        ("tau", f64::from(tau)),
        ("link_floor", f64::from(input.pack.link_floor)),
        ("same_photo_cosine", f64::from(input.pack.same_photo_cosine)),
        ("copy_cosine", f64::from(config.copy_cosine)),
        ("pdq_distance", f64::from(config.pdq_distance)),
        ("false_neighbours", config.false_neighbours),
        ("min_score", config.min_score),
        ("min_member_score", config.min_member_score),
        ("min_accounts", config.min_accounts as f64),
        ("pair_cap", config.pair_cap as f64),
        ("generic_owners", config.generic_owners as f64),
        ("mass_owners", config.mass_owners as f64),
        ("split_below", config.split_below),
        ("seeds", f64::from(config.seeds)),
        ("calibration.scale", config.calibration.scale),
        ("calibration.offset", config.calibration.offset),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect()
}
