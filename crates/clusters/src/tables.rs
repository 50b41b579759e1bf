//! From what was found to the rows of the tables.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use records::tables::{AccountRow, Change, ClusterRow, EvidenceRow, LinkKind, MemberRow, Role, Tables};
use records::{AccountId, PhotoKey};

use crate::ClustersConfig;
use crate::evidence::NONE;
use crate::incidence::{Incidence, NOBODY};
use crate::input::{Dismissed, Input, PreviousCluster};
use crate::judge::Found;
use crate::lineage::lineage;
use crate::quarantine::{Quarantined, quarantine};
use crate::victims::Ownership;

/// Gives each likely owner to the cluster that shows most of its photos; `(account, cluster)`.
pub(crate) fn attach(inc: &Incidence, likely: &[bool], cluster_of: &mut [u32]) -> Vec<(u32, u32)> {
    let mut hurt = Vec::new();
    for account in (0..likely.len() as u32).filter(|a| likely[*a as usize]) {
        let mut stolen: BTreeMap<u32, usize> = BTreeMap::new();
        for hold in inc.photos.of_account(account).iter().filter(|h| !inc.popular(h.entity)) {
            let mut there: Vec<u32> = inc
                .photos
                .owners(hold.entity)
                .iter()
                .map(|h| h.account)
                .filter(|a| !likely[*a as usize])
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

/// A cluster with everything that is written about it, before it has a name.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Raw {
    /// Its row; `cluster_id` is empty here and in the rows below.
    pub(crate) cluster: ClusterRow,
    /// Members, then likely victims, each by account.
    pub(crate) members: Vec<MemberRow>,
    /// Its links.
    pub(crate) evidence: Vec<EvidenceRow>,
    /// Everybody named above.
    pub(crate) accounts: Vec<AccountRow>,
}

impl Raw {
    /// Accounts that are accused.
    pub(crate) fn accused(&self) -> impl Iterator<Item = &AccountId> + Clone {
        self.members.iter().filter(|m| m.role == Role::Member).map(|m| &m.account_id)
    }
}

/// Makes the rows of each cluster.
pub(crate) fn raws(
    input: &Input,
    inc: &Incidence,
    photo_entity: &[u32],
    found: &[Found],
    (owners, hurt): (&[Option<Ownership>], &[(u32, u32)]),
    evidence: Vec<(u32, EvidenceRow)>,
) -> Vec<Raw> {
    let id = |account: u32| &input.accounts[account as usize].id;
    let mut rows: Vec<Vec<EvidenceRow>> = vec![Vec::new(); found.len()];
    for (cluster, row) in evidence {
        rows[cluster as usize].push(row);
    }
    let mut hurt_by: HashMap<u32, Vec<u32>> = HashMap::new();
    hurt.iter().for_each(|(account, cluster)| hurt_by.entry(*cluster).or_default().push(*account));
    let raw = |(at, (cluster, evidence)): (usize, (&Found, Vec<EvidenceRow>))| {
        let count = Count::of(input, inc, photo_entity, &evidence);
        let times = || evidence.iter().flat_map(|r| [r.observed_a, r.observed_b]);
        let seen = cluster.members.iter().map(|m| &input.accounts[m.account as usize]);
        let row = ClusterRow {
            cluster_id: String::new(),
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
            change: Change::New,
            parents: Vec::new(),
        };
        let mut members: Vec<MemberRow> = cluster
            .members
            .iter()
            .map(|member| MemberRow {
                cluster_id: String::new(),
                account_id: id(member.account).clone(),
                score: member.score,
                role: Role::Member,
                reasons: member.reasons.clone(),
            })
            .collect();
        let mut named: Vec<u32> = cluster.members.iter().map(|m| m.account).collect();
        for account in hurt_by.get(&(at as u32)).into_iter().flatten() {
            let Some(owner) = &owners[*account as usize] else { continue };
            named.push(*account);
            members.push(MemberRow {
                cluster_id: String::new(),
                account_id: id(*account).clone(),
                score: owner.score(),
                role: Role::Victim,
                reasons: owner.reasons.clone(),
            });
        }
        let accounts = named.into_iter().map(|account| account_row(input, account)).collect();
        Raw { cluster: row, members, evidence, accounts }
    };
    found.iter().zip(rows).enumerate().map(raw).collect()
}

/// What the tables hold, and what they do not.
pub(crate) struct Finished {
    pub(crate) tables: Tables,
    /// Clusters that stay dismissed.
    pub(crate) dismissed: usize,
    pub(crate) quarantined: Vec<Quarantined>,
}

/// Holds clusters back that flood or were dismissed, names the others, and puts the rows in order.
pub(crate) fn finish(
    mut raws: Vec<&Raw>,
    previous: &[PreviousCluster],
    dismissals: &[Dismissed],
    config: &ClustersConfig,
) -> Finished {
    raws.sort_by(|x, y| x.accused().next().cmp(&y.accused().next()));
    let quarantined = quarantine(&mut raws, previous, config);
    // Each dismissal with the accounts it names, so that only clusters it has to do with are compared.
    let mut named_in: HashMap<&AccountId, Vec<usize>> = HashMap::new();
    for (number, dismissal) in dismissals.iter().enumerate() {
        dismissal.members.iter().for_each(|m| named_in.entry(m).or_default().push(number));
    }
    let dismissed = |raw: &Raw| {
        let candidates: BTreeSet<usize> =
            raw.accused().filter_map(|m| named_in.get(m)).flatten().copied().collect();
        candidates.into_iter().any(|number| {
            let dismissal = &dismissals[number];
            let known: BTreeSet<&AccountId> = dismissal.members.iter().collect();
            raw.evidence.len() as u64 <= dismissal.evidence && raw.accused().all(|m| known.contains(m))
        })
    };
    let found = raws.len();
    raws.retain(|raw| !dismissed(raw));
    let members: Vec<Vec<AccountId>> = raws.iter().map(|raw| raw.accused().cloned().collect()).collect();
    let descents = lineage(&members, previous);
    let dismissed = found - raws.len();

    let mut tables = Tables { clusters: vec![], members: vec![], evidence: vec![], accounts: vec![] };
    let mut accounts: BTreeMap<&AccountId, &AccountRow> = BTreeMap::new();
    for (raw, descent) in raws.into_iter().zip(descents) {
        tables.clusters.push(ClusterRow {
            cluster_id: descent.cluster_id.clone(),
            change: descent.change,
            parents: descent.parents,
            ..raw.cluster.clone()
        });
        let member = |row: &MemberRow| MemberRow { cluster_id: descent.cluster_id.clone(), ..row.clone() };
        tables.members.extend(raw.members.iter().map(member));
        let link = |row: &EvidenceRow| EvidenceRow { cluster_id: descent.cluster_id.clone(), ..row.clone() };
        tables.evidence.extend(raw.evidence.iter().map(link));
        accounts.extend(raw.accounts.iter().map(|row| (&row.account_id, row)));
    }
    tables.clusters.sort_by(|x, y| y.score.total_cmp(&x.score).then_with(|| x.cluster_id.cmp(&y.cluster_id)));
    tables
        .members
        .sort_by(|x, y| (&x.cluster_id, x.role, &x.account_id).cmp(&(&y.cluster_id, y.role, &y.account_id)));
    tables.evidence.sort_by(|x, y| x.cluster_id.cmp(&y.cluster_id));
    tables.accounts = accounts.into_values().cloned().collect();
    Finished { tables, dismissed, quarantined }
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
