//! Why a ring was missed or an honest account accused: the group with its reasons.

use std::collections::{BTreeMap, HashMap};

use clusters::{ClustersConfig, detect};
use records::tables::{Reason, Role, Tables};

use crate::Error;
use crate::world::World;

fn reasons(reasons: &[Reason]) -> String {
    let all: Vec<String> = reasons.iter().map(|r| format!("{} {:+.1}", r.signal, r.log_odds)).collect();
    all.join(", ")
}

pub fn explain(world: &World, config: &ClustersConfig, tables: &Tables) -> Result<(), Error> {
    let truth = |id: &str| world.truth.0.get(id);
    let kind = |id: &str| truth(id).and_then(|t| t.kind.clone()).unwrap_or_default();
    // Who was accused, and in which company.
    let mut clusters: BTreeMap<&str, Vec<(&str, f64)>> = BTreeMap::new();
    for row in tables.members.iter().filter(|m| m.role == Role::Member) {
        clusters.entry(&row.cluster_id).or_default().push((row.account_id.as_str(), row.score));
    }
    for (cluster, members) in &clusters {
        let honest: Vec<_> =
            members.iter().filter(|(id, _)| truth(id).is_none_or(|t| t.ring_id.is_none())).collect();
        let mut rings: BTreeMap<String, usize> = BTreeMap::new();
        for (id, _) in members {
            if let Some(ring) = truth(id).and_then(|t| t.ring_id.clone()) {
                *rings.entry(format!("{ring} {}", kind(id))).or_default() += 1;
            }
        }
        if honest.is_empty() && rings.len() < 2 {
            continue;
        }
        let row = tables.clusters.iter().find(|c| c.cluster_id == *cluster);
        println!(
            "MIXED {cluster} of {}: rings {rings:?}, score {:.3}: {}",
            members.len(),
            row.map_or(0.0, |r| r.score),
            row.map_or(String::new(), |r| reasons(&r.reasons))
        );
        for (id, score) in honest.into_iter().take(8) {
            let own = tables.members.iter().find(|m| m.account_id.as_str() == *id);
            println!("   {} {score:.2}: {}", kind(id), own.map_or(String::new(), |m| reasons(&m.reasons)));
        }
    }
    // All groups that were judged, whatever their score.
    let lenient = ClustersConfig { min_score: 0.0, min_member_score: 0.0, min_accounts: 2, ..config.clone() };
    let all = detect(world.input.clone(), &lenient)?;
    let all_tau = all.thresholds["tau"] as f32;
    let all = all.tables;
    let home: HashMap<&str, &str> = all
        .members
        .iter()
        .filter(|m| m.role == Role::Member)
        .map(|m| (m.account_id.as_str(), m.cluster_id.as_str()))
        .collect();
    let victims: HashMap<&str, f64> = all
        .members
        .iter()
        .filter(|m| m.role == Role::Victim)
        .map(|m| (m.account_id.as_str(), m.score))
        .collect();
    let mut sizes: HashMap<&str, usize> = HashMap::new();
    home.values().for_each(|c| *sizes.entry(c).or_default() += 1);
    let accused: HashMap<&str, &str> =
        clusters.iter().flat_map(|(c, m)| m.iter().map(move |(id, _)| (*id, *c))).collect();
    let mut rings: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (id, facts) in &world.truth.0 {
        if let Some(ring) = &facts.ring_id {
            rings.entry(ring).or_default().push(id);
        }
    }
    lost(world, all_tau, &rings, &accused);
    for (ring, bots) in rings {
        let mut found: BTreeMap<&str, usize> = BTreeMap::new();
        bots.iter().filter_map(|b| accused.get(b)).for_each(|c| *found.entry(c).or_default() += 1);
        let best = found.values().max().copied().unwrap_or(0);
        if best * 10 >= bots.len() * 9 {
            continue;
        }
        let word = if best * 2 >= bots.len() { "PARTLY" } else { "MISSED" };
        println!("{word} {ring} {} of {}: accused {found:?}", kind(bots[0]), bots.len());
        let mut groups: BTreeMap<&str, usize> = BTreeMap::new();
        bots.iter().filter_map(|b| home.get(b)).for_each(|c| *groups.entry(c).or_default() += 1);
        let mut groups: Vec<(&str, usize)> = groups.into_iter().collect();
        groups.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
        let alone = bots.iter().filter(|b| !home.contains_key(*b)).count();
        let called_victim = bots.iter().filter(|b| victims.contains_key(*b)).count();
        println!("   in {} groups, {alone} in none, {called_victim} called victims", groups.len());
        neighbours(world, all_tau, &bots);
        for (cluster, n) in groups.into_iter().take(3) {
            let row = all.clusters.iter().find(|c| c.cluster_id == cluster);
            println!(
                "   {n} in a group of {} scored {:.3}: {}",
                sizes[cluster],
                row.map_or(0.0, |r| r.score),
                row.map_or(String::new(), |r| reasons(&r.reasons))
            );
        }
    }
    Ok(())
}

/// How the faces of a ring are linked among each other and with others.
fn neighbours(world: &World, tau: f32, bots: &[&str]) {
    let input = &world.input;
    let ids: std::collections::HashSet<&str> = bots.iter().copied().collect();
    let mut owners: HashMap<u32, Vec<u32>> = HashMap::new();
    input.ownerships.iter().for_each(|o| owners.entry(o.photo).or_default().push(o.account));
    let in_ring = |account: u32| ids.contains(input.accounts[account as usize].id.as_str());
    let mut inside: HashMap<u32, usize> = HashMap::new();
    let mut outside: BTreeMap<String, usize> = BTreeMap::new();
    for link in input.links.iter().filter(|l| l.cosine >= tau) {
        let of = |face: u32| &owners[&input.faces[face as usize].photo];
        let (a, b) = (of(link.a), of(link.b));
        for (mine, theirs) in [(a, b), (b, a)] {
            for account in mine.iter().filter(|x| in_ring(**x)) {
                for other in theirs.iter().filter(|x| *x != account) {
                    if in_ring(*other) {
                        *inside.entry(*account).or_default() += 1;
                    } else {
                        let id = input.accounts[*other as usize].id.as_str();
                        let kind = world.truth.0.get(id).and_then(|t| t.kind.clone()).unwrap_or_default();
                        *outside.entry(kind).or_default() += 1;
                    }
                }
            }
        }
    }
    let mut counts: Vec<usize> = Vec::new();
    let mut photos: Vec<usize> = Vec::new();
    for (at, account) in input.accounts.iter().enumerate().filter(|(_, a)| ids.contains(a.id.as_str())) {
        counts.push(inside.get(&(at as u32)).copied().unwrap_or(0));
        photos.push(input.ownerships.iter().filter(|o| o.account == at as u32).count());
        let _ = account;
    }
    if counts.len() <= 20 {
        println!(
            "   tau {tau:.3}; links of each bot inside {counts:?}, photos {photos:?}; outside {outside:?}"
        );
    }
}

/// How many bots were missed in rings that were found, and how many of those share nothing that can be compared.
fn lost(world: &World, tau: f32, rings: &BTreeMap<&str, Vec<&str>>, accused: &HashMap<&str, &str>) {
    let input = &world.input;
    let ring_of: HashMap<&str, &str> =
        rings.iter().flat_map(|(ring, bots)| bots.iter().map(move |b| (*b, *ring))).collect();
    let ring = |account: u32| ring_of.get(input.accounts[account as usize].id.as_str()).copied();
    let mut owners: HashMap<u32, Vec<u32>> = HashMap::new();
    input.ownerships.iter().for_each(|o| owners.entry(o.photo).or_default().push(o.account));
    let mut friends: HashMap<u32, usize> = HashMap::new();
    let mut meet = |a: u32, b: u32| {
        if a != b && ring(a).is_some() && ring(a) == ring(b) {
            *friends.entry(a).or_default() += 1;
            *friends.entry(b).or_default() += 1;
        }
    };
    for list in owners.values() {
        for pair in list.windows(2) {
            meet(pair[0], pair[1]);
        }
    }
    for link in input.links.iter().filter(|l| l.cosine >= tau) {
        for a in &owners[&input.faces[link.a as usize].photo] {
            for b in owners[&input.faces[link.b as usize].photo].iter().take(3) {
                meet(*a, *b);
            }
        }
    }
    let mut table: BTreeMap<String, (usize, usize, usize)> = BTreeMap::new();
    for (at, account) in input.accounts.iter().enumerate() {
        let id = account.id.as_str();
        if ring_of.contains_key(id) && !accused.contains_key(id) {
            let kind = world.truth.0[id].kind.clone().unwrap_or_default();
            let row = table.entry(kind).or_default();
            row.0 += 1;
            row.1 += usize::from(!friends.contains_key(&(at as u32)));
            row.2 += usize::from(friends.get(&(at as u32)).is_some_and(|n| *n >= 4));
        }
    }
    println!("LOST bots by kind (all, without anything comparable, with four links or more): {table:?}");
}
