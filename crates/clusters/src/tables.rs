//! From what was found to the rows of the tables.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use records::tables::{AccountRow, ClusterRow, EvidenceRow, LinkKind, MemberRow, Role, Tables};
use records::{AccountId, PhotoKey};

use crate::evidence::NONE;
use crate::incidence::{Incidence, NOBODY};
use crate::input::Input;
use crate::judge::Found;
use crate::lineage::lineage;
use crate::victims::Ownership;

/// Gives each likely owner to the cluster that shows most of its photos; `(account, cluster)`.
pub(crate) fn attach(
    inc: &Incidence,
    owners: &[Option<Ownership>],
    cluster_of: &mut [u32],
) -> Vec<(u32, u32)> {
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

/// Makes the rows; also counts the clusters that stay dismissed.
pub(crate) fn tables(
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
    // Each dismissal with the accounts it names, so that only clusters it has to do with are compared.
    let mut named_in: HashMap<&AccountId, Vec<usize>> = HashMap::new();
    for (number, dismissal) in input.dismissed.iter().enumerate() {
        dismissal.members.iter().for_each(|m| named_in.entry(m).or_default().push(number));
    }
    let dismissed = |at: usize| {
        let members: Vec<&AccountId> = found[at].members.iter().map(|m| id(m.account)).collect();
        let candidates: BTreeSet<usize> =
            members.iter().filter_map(|m| named_in.get(*m)).flatten().copied().collect();
        candidates.into_iter().any(|number| {
            let dismissal = &input.dismissed[number];
            let known: BTreeSet<&AccountId> = dismissal.members.iter().collect();
            rows[at].len() as u64 <= dismissal.evidence && members.iter().all(|m| known.contains(*m))
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
