//! The whole way from links to tables.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;
use records::tables::Tables;
use records::{AccountId, PhotoKey};

use crate::account_graph::{Parts, Suppressed};
use crate::background::Background;
use crate::communities::{Options, communities};
use crate::decisions::Decisions;
use crate::entities::{Entities, entities};
use crate::evidence::{NONE, evidence};
use crate::incidence::Incidence;
use crate::input::{Dismissed, Input, PreviousCluster};
use crate::judge::{Court, Found};
use crate::popularity::Popularity;
use crate::profile::Profiles;
use crate::quarantine::Quarantined;
use crate::score::{Scoring, generated_shares};
use crate::tables::{Raw, attach, finish, raws};
use crate::times::Births;
use crate::typed::{tau, typed_links};
use crate::victims::ownerships;
use crate::{ClustersConfig, ClustersError, PackCalibration};

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
    let (previous, dismissed) = (std::mem::take(&mut input.previous), std::mem::take(&mut input.dismissed));
    let (local, background) = find(&mut input, config, None);
    let background = background.unwrap_or_default();
    Ok(detection(&local.raws, &local, &background, &input.pack, (&previous, &dismissed), config))
}

/// What was found in some of a population, or all of it, before clusters have names.
#[derive(Debug)]
pub(crate) struct Local {
    pub(crate) raws: Vec<Raw>,
    pub(crate) suppressed: Vec<(PhotoKey, Suppressed)>,
    pub(crate) communities: usize,
    /// What the photos and faces of the input belong to.
    pub(crate) entities: Entities,
}

/// Names the clusters and puts everything together.
pub(crate) fn detection(
    raws: &[Raw],
    local: &Local,
    background: &Background,
    pack: &PackCalibration,
    (previous, dismissed): (&[PreviousCluster], &[Dismissed]),
    config: &ClustersConfig,
) -> Detection {
    let finished = finish(raws.iter().collect(), previous, dismissed, config);
    let mut thresholds = thresholds(config, pack, background.tau);
    for flood in &finished.quarantined {
        thresholds.insert(format!("quarantined.{}", flood.signal), flood.held_back as f64);
    }
    Detection {
        tables: finished.tables,
        thresholds,
        suppressed: local.suppressed.clone(),
        dismissed: finished.dismissed,
        quarantined: finished.quarantined,
        communities: local.communities,
    }
}

/// Finds clusters in a canonical input, whose links are used up. Without a background, the input is the whole population and
/// its background is measured.
pub(crate) fn find(
    input: &mut Input,
    config: &ClustersConfig,
    background: Option<&Background>,
) -> (Local, Option<Background>) {
    let tau = background.map_or_else(|| tau(input, config), |b| b.tau);
    let links = typed_links(input, config, tau);
    let input = &*input;
    let entities = entities(input, &links);
    let mut inc = Incidence::new(input, &entities);
    let mut measured = None;
    let background = match background {
        Some(background) => background,
        None => measured.insert(Background::of(input, &entities, &inc, tau, config)),
    };
    let popularity = background.popularity(input, &entities);
    inc.against(
        background.accounts,
        background.posts.clone(),
        popularity.photos.clone(),
        popularity.people.clone(),
    );
    let births = Births::new(&input.accounts, &background.births);
    let profiles = Profiles::new(&input.accounts, &background.weights);
    let generated = generated_shares(input);
    tracing::debug!(tau, links = links.len(), "typed links grouped into photos and people");

    let decisions = Decisions::new(input);
    let ownerships = if config.without.iter().any(|w| w == "victims") {
        vec![None; input.accounts.len()]
    } else {
        ownerships(input, &inc, &births, &profiles)
    };
    // Whom an analyst confirmed as a bot is nobody's victim.
    let likely: Vec<bool> = ownerships
        .iter()
        .zip(&decisions.confirmed)
        .map(|(o, sure)| !*sure && o.as_ref().is_some_and(|o| o.log_odds() > 0.0))
        .collect();
    let allowed: BTreeSet<&AccountId> = input.allow.accounts.iter().collect();
    let aside: Vec<bool> = input
        .accounts
        .iter()
        .zip(&likely)
        .map(|(a, owner)| *owner || a.facts.verified == Some(true) || allowed.contains(&a.id))
        .collect();

    let parts = Parts { inc: &inc, births: &births, popularity: &popularity, config, aside: &aside };
    let mut graph = parts.build(input.accounts.len());
    decisions.shape(&mut graph);
    let options = Options { split_below: config.split_below, seeds: config.seeds };
    let groups = decisions.regroup(&graph, communities(&graph, options));
    tracing::debug!(links = graph.edge_count(), communities = groups.len(), "account graph");

    let scoring = Scoring {
        input,
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
        Court { scoring, graph: &graph, likely: &likely, aside: &aside, decisions: &decisions, config };
    let mut found: Vec<Found> = groups.par_iter().flat_map_iter(|g| court.judge(g)).collect();
    court.reunite(&mut found);
    court.recruit(&mut found);

    let mut cluster_of = vec![NONE; input.accounts.len()];
    for (at, cluster) in found.iter().enumerate() {
        cluster.members.iter().for_each(|m| cluster_of[m.account as usize] = at as u32);
    }
    let hurt = attach(&inc, &likely, &mut cluster_of);
    let rows = evidence(input, &entities, &inc, &links, tau, &cluster_of);
    let raws = raws(input, &inc, &entities.photo, &found, (&ownerships, &hurt), rows);
    let suppressed = suppressed(input, &popularity);
    let local = Local { raws, suppressed, communities: groups.len(), entities };
    (local, measured)
}

/// What is popular, most widely shown first.
fn suppressed(input: &Input, popularity: &Popularity) -> Vec<(PhotoKey, Suppressed)> {
    let photos = popularity.photos.iter().map(|(e, n)| (*e, false, *n));
    let people = popularity.people.iter().map(|(e, n)| (*e, true, *n));
    let mut all: Vec<(PhotoKey, Suppressed)> = photos
        .chain(people)
        .map(|(entity, person, owners)| {
            let photo = if person { input.faces[entity as usize].photo } else { entity };
            (input.photos[photo as usize].key, Suppressed { entity, person, owners })
        })
        .collect();
    all.sort_by_key(|(key, s)| (std::cmp::Reverse(s.owners), s.person, *key, s.entity));
    all
}

fn thresholds(config: &ClustersConfig, pack: &PackCalibration, tau: f32) -> BTreeMap<String, f64> {
    [
        ("tau", f64::from(tau)),
        ("link_floor", f64::from(pack.link_floor)),
        ("same_photo_cosine", f64::from(pack.same_photo_cosine)),
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
