//! The whole way from links to tables.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rayon::prelude::*;
use records::tables::{AccountRow, ClusterRow, EvidenceRow, LinkKind, MemberRow, Role, Tables};
use records::{AccountId, PhotoKey};

use crate::account_graph::{Parts, Suppressed};
use crate::communities::{Options, communities};
use crate::entities::entities;
use crate::evidence::{NONE, evidence};
use crate::incidence::{Incidence, NOBODY};
use crate::input::Input;
use crate::judge::{Court, Found};
use crate::lineage::lineage;
use crate::profile::Profiles;
use crate::score::{Scoring, generated_shares};
use crate::times::Births;
use crate::typed::{tau, typed_links};
use crate::victims::{Ownership, victims};
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

    let owners = victims(&input, &inc, &births, &profiles);
    let allowed: BTreeSet<&AccountId> = input.allow.accounts.iter().collect();
    let aside: Vec<bool> = input
        .accounts
        .iter()
        .zip(&owners)
        .map(|(a, owner)| owner.is_some() || a.facts.verified == Some(true) || allowed.contains(&a.id))
        .collect();

    let parts = Parts { inc: &inc, births: &births, config, aside: &aside };
    let built = parts.build(input.accounts.len());
    let options = Options { split_below: config.split_below, seeds: config.seeds };
    let groups = communities(&built.graph, options);
    tracing::debug!(links = built.graph.edge_count(), communities = groups.len(), "account graph");

    let scoring = Scoring {
        input: &input,
        inc: &inc,
        births: &births,
        profiles: &profiles,
        calibration: &config.calibration,
        mass_owners: config.mass_owners,
        generated: &generated,
    };
    let court = Court { scoring, graph: &built.graph, owners: &owners, config };
    let found: Vec<Found> = groups.par_iter().flat_map_iter(|g| court.judge(g)).collect();

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
    let thresholds = thresholds(config, &input, tau);
    Ok(Detection { tables, thresholds, suppressed, dismissed, communities: groups.len() })
}

/// Gives each likely owner to the cluster that shows most of its photos; `(account, cluster)`.
fn attach(inc: &Incidence, owners: &[Option<Ownership>], cluster_of: &mut [u32]) -> Vec<(u32, u32)> {
    let mut hurt = Vec::new();
    for account in (0..owners.len() as u32).filter(|a| owners[*a as usize].is_some()) {
        let mut stolen: BTreeMap<u32, usize> = BTreeMap::new();
        for hold in inc.photos.of_account(account) {
            let mut there: Vec<u32> = inc
                .photos
                .owners(hold.entity)
                .iter()
                .map(|h| h.account)
                .filter(|a| owners[*a as usize].is_none())
                .map(|a| cluster_of[a as usize])
                .filter(|c| *c != NONE)
                .collect();
            there.sort_unstable();
            there.dedup();
            there.into_iter().for_each(|c| *stolen.entry(c).or_default() += 1);
        }
        if let Some((cluster, _)) = stolen.into_iter().max_by(|x, y| x.1.cmp(&y.1).then(y.0.cmp(&x.0))) {
            hurt.push((account, cluster));
        }
    }
    hurt.iter().for_each(|(account, cluster)| cluster_of[*account as usize] = *cluster);
    hurt
}

/// Makes the rows.
fn tables(
    input: &Input,
    inc: &Incidence,
    photo_entity: &[u32],
    found: &[Found],
    (owners, hurt): (&[Option<Ownership>], &[(u32, u32)]),
    evidence: Vec<(u32, EvidenceRow)>,
) -> (Tables, usize) {
    let id = |account: u32| &input.accounts[account as usize].id;
    let mut rows: Vec<Vec<EvidenceRow>> = vec![Vec::new(); found.len()];
    for (cluster, row) in evidence {
        rows[cluster as usize].push(row);
    }
    let dismissed = |at: usize| {
        input.dismissed.iter().any(|d| {
            let known: BTreeSet<&AccountId> = d.members.iter().collect();
            rows[at].len() as u64 <= d.evidence
                && found[at].members.iter().all(|m| known.contains(id(m.account)))
        })
    };
    let kept: Vec<usize> = (0..found.len()).filter(|at| !dismissed(*at)).collect();
    let members: Vec<Vec<AccountId>> =
        kept.iter().map(|at| found[*at].members.iter().map(|m| id(m.account).clone()).collect()).collect();
    let descents = lineage(&members, &input.previous);

    let mut tables = Tables { clusters: vec![], members: vec![], evidence: vec![], accounts: vec![] };
    let mut named: BTreeSet<u32> = BTreeSet::new();
    let mut hurt_by: HashMap<u32, Vec<u32>> = HashMap::new();
    hurt.iter().for_each(|(account, cluster)| hurt_by.entry(*cluster).or_default().push(*account));
    for (at, descent) in kept.iter().zip(descents) {
        let cluster = &found[*at];
        let evidence = std::mem::take(&mut rows[*at]);
        let count = Count::of(input, inc, photo_entity, &evidence);
        let times = || evidence.iter().flat_map(|r| [r.observed_a, r.observed_b]);
        let seen = cluster.members.iter().map(|m| &input.accounts[m.account as usize]);
        tables.clusters.push(ClusterRow {
            cluster_id: descent.cluster_id.clone(),
            score: cluster.score.probability(),
            accounts: cluster.members.len() as i32,
            photos: count.pictures,
            identities: count.people,
            first_seen: times()
                .min()
                .or_else(|| seen.clone().map(|a| a.first_seen).min())
                .unwrap_or(input.as_of),
            last_seen: times().max().or_else(|| seen.map(|a| a.last_seen).max()).unwrap_or(input.as_of),
            kinds: count.kinds,
            reasons: cluster.score.reasons.clone(),
            weakest_link: cluster.weakest.clone(),
            change: descent.change,
            parents: descent.parents,
        });
        for member in &cluster.members {
            named.insert(member.account);
            tables.members.push(MemberRow {
                cluster_id: descent.cluster_id.clone(),
                account_id: id(member.account).clone(),
                score: member.score,
                role: Role::Member,
                reasons: member.reasons.clone(),
            });
        }
        for account in hurt_by.get(&(*at as u32)).into_iter().flatten() {
            let Some(owner) = &owners[*account as usize] else { continue };
            named.insert(*account);
            tables.members.push(MemberRow {
                cluster_id: descent.cluster_id.clone(),
                account_id: id(*account).clone(),
                score: owner.score(),
                role: Role::Victim,
                reasons: owner.reasons.clone(),
            });
        }
        let name = |mut row: EvidenceRow| {
            row.cluster_id.clone_from(&descent.cluster_id);
            row
        };
        tables.evidence.extend(evidence.into_iter().map(name));
    }
    tables.clusters.sort_by(|x, y| y.score.total_cmp(&x.score).then_with(|| x.cluster_id.cmp(&y.cluster_id)));
    tables
        .members
        .sort_by(|x, y| (&x.cluster_id, x.role, &x.account_id).cmp(&(&y.cluster_id, y.role, &y.account_id)));
    tables.evidence.sort_by(|x, y| x.cluster_id.cmp(&y.cluster_id));
    tables.accounts = named.into_iter().map(|account| account_row(input, account)).collect();
    (tables, found.len() - kept.len())
}

fn account_row(input: &Input, account: u32) -> AccountRow {
    let row = &input.accounts[account as usize];
    let from = input.ownerships.partition_point(|o| o.account < account);
    let photos = input.ownerships[from..].iter().take_while(|o| o.account == account).count();
    AccountRow {
        account_id: row.id.clone(),
        facts: row.facts.clone(),
        first_seen: row.first_seen,
        last_seen: row.last_seen,
        photos: photos as i32,
    }
}

/// What a cluster's evidence shows.
struct Count {
    pictures: i32,
    people: i32,
    kinds: Vec<LinkKind>,
}

impl Count {
    fn of(input: &Input, inc: &Incidence, photo_entity: &[u32], evidence: &[EvidenceRow]) -> Self {
        let pictures: BTreeSet<PhotoKey> = evidence.iter().flat_map(|r| [r.picture_a, r.picture_b]).collect();
        let people: BTreeSet<u32> = pictures
            .iter()
            .filter_map(|key| input.photos.binary_search_by_key(key, |p| p.key).ok())
            .map(|photo| inc.person_of[photo_entity[photo] as usize])
            .filter(|person| *person != NOBODY)
            .collect();
        let kinds: BTreeSet<LinkKind> = evidence.iter().map(|r| r.kind).collect();
        Self {
            pictures: pictures.len() as i32,
            people: people.len() as i32,
            kinds: kinds.into_iter().collect(),
        }
    }
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
