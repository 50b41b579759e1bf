//! From what was found to the rows of the tables.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use records::tables::{AccountRow, ClusterRow, EvidenceRow, LinkKind, MemberRow, Reason, Role, Tables};
use records::{AccountId, PhotoKey};

use crate::evidence::NONE;
use crate::incidence::{Incidence, NOBODY};
use crate::input::{Dismissed, Input};
use crate::judge::Found;
use crate::lineage::lineage;
use crate::victims::Ownership;

/// New members named in a sentence; the others are counted.
const NAMED: usize = 5;

/// Gives each likely owner to the cluster that shows most of its photos; `(account, cluster)`.
pub(crate) fn attach(inc: &Incidence, owners: &[Option<Ownership>], cluster_of: &mut [u32]) -> Vec<(u32, u32)> {
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

/// What is new about a cluster that an analyst dismissed; `None` if nothing is.
fn news(
    dismissed: &Dismissed,
    members: &[&AccountId],
    rows: &[EvidenceRow],
) -> Option<String> {
    let known: BTreeSet<&AccountId> = dismissed.members.iter().collect();
    let new: Vec<&str> =
        members.iter().filter(|id| !known.contains(**id)).map(|id| id.as_str()).collect();
    if !new.is_empty() {
        let more = new.len().saturating_sub(NAMED);
        let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
        return Some(format!("new members: {}{rest}", new[..new.len().min(NAMED)].join(", ")));
    }
    if rows.len() as u64 <= dismissed.evidence {
        return None;
    }
    let later = rows.iter().filter(|r| r.observed_a.max(r.observed_b) > dismissed.as_of);
    Some(match later.max_by_key(|r| r.observed_a.max(r.observed_b)) {
        Some(r) => format!("a new link between {} and {}", r.account_a.as_str(), r.account_b.as_str()),
        None => format!("{} links where there were {}", rows.len(), dismissed.evidence),
    })
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
    // `None`: dismissed, and nothing is new. Else what is, if half of a dismissed cluster is here again.
    let verdict = |at: usize| -> Option<Option<String>> {
        let members: Vec<&AccountId> = found[at].members.iter().map(|m| id(m.account)).collect();
        let mut met: BTreeMap<usize, usize> = BTreeMap::new();
        for number in members.iter().filter_map(|m| named_in.get(*m)).flatten() {
            *met.entry(*number).or_default() += 1;
        }
        let mut back = None;
        for (number, here) in met {
            let dismissal = &input.dismissed[number];
            match news(dismissal, &members, &rows[at]) {
                None => return None,
                Some(text) if 2 * here >= dismissal.members.len() => back = Some(text),
                Some(_) => {}
            }
        }
        Some(back)
    };
    let verdicts: Vec<Option<Option<String>>> = (0..found.len()).map(verdict).collect();
    let kept: Vec<usize> = (0..found.len()).filter(|at| verdicts[*at].is_some()).collect();
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
            reasons: reasons(cluster, verdicts[*at].as_ref().and_then(|v| v.as_ref())),
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

/// A cluster's reasons; one that was dismissed says what brought it back.
fn reasons(cluster: &Found, back: Option<&String>) -> Vec<Reason> {
    let mut reasons = cluster.score.reasons.clone();
    if let Some(detail) = back {
        reasons.push(Reason { signal: "was_dismissed".to_owned(), log_odds: 0.0, detail: detail.clone() });
    }
    reasons
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

