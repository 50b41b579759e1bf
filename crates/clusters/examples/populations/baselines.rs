//! What a script with a graph or clustering library does, on the same links: groups of three accounts or more are accused.

use std::collections::HashMap;

use clusters::Input;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::Error;
use crate::figures::Row;
use crate::world::World;

/// Cosine for the baselines that take one: where the components do best on the populations used for tuning.
const COSINE: f32 = 0.9;
/// Owners of one picture up to which every pair is linked.
const PAIRS_UP_TO: usize = 40;
/// Neighbours within which DBSCAN calls a face a core.
const CORE: usize = 2;

pub fn rows(world: &World, seed: u64) -> Result<Vec<Row>, Error> {
    let input = &world.input;
    let mut rows = Vec::new();
    for cosine in [0.5, 0.6, 0.7, 0.8, 0.9] {
        let groups = components(input, cosine);
        rows.push(Row::of_groups(&format!("connected components, cosine {cosine}"), seed, &groups, world)?);
    }
    let graph = Graph::new(input, COSINE);
    rows.push(Row::of_groups(&format!("Louvain, cosine {COSINE}"), seed, &graph.louvain(), world)?);
    rows.push(Row::of_groups(&format!("Chinese whispers, cosine {COSINE}"), seed, &graph.whispers(), world)?);
    rows.push(Row::of_groups(
        &format!("DBSCAN of faces, cosine {COSINE}"),
        seed,
        &dbscan(input, COSINE),
        world,
    )?);
    Ok(rows)
}

fn find(parent: &mut [u32], mut node: u32) -> u32 {
    while parent[node as usize] != node {
        parent[node as usize] = parent[parent[node as usize] as usize];
        node = parent[node as usize];
    }
    node
}

fn union(parent: &mut [u32], a: u32, b: u32) {
    let (a, b) = (find(parent, a), find(parent, b));
    parent[a.max(b) as usize] = a.min(b);
}

fn grouped(labels: impl Iterator<Item = (u32, u32)>) -> Vec<Vec<u32>> {
    let mut groups: HashMap<u32, Vec<u32>> = HashMap::new();
    for (account, label) in labels {
        groups.entry(label).or_default().push(account);
    }
    groups.into_values().collect()
}

/// Accounts connected by pictures with equal bytes or faces at least so alike.
fn components(input: &Input, cosine: f32) -> Vec<Vec<u32>> {
    let accounts = input.accounts.len() as u32;
    let mut parent: Vec<u32> = (0..accounts + input.photos.len() as u32).collect();
    for own in &input.ownerships {
        union(&mut parent, own.account, accounts + own.photo);
    }
    for link in input.links.iter().filter(|l| l.cosine >= cosine) {
        let photo = |face: u32| accounts + input.faces[face as usize].photo;
        union(&mut parent, photo(link.a), photo(link.b));
    }
    grouped((0..accounts).map(|a| (a, find(&mut parent, a))))
}

/// Accounts with the number of links between them as weight.
struct Graph {
    near: Vec<Vec<(u32, f64)>>,
}

impl Graph {
    fn new(input: &Input, cosine: f32) -> Self {
        let mut owners: Vec<Vec<u32>> = vec![Vec::new(); input.photos.len()];
        input.ownerships.iter().for_each(|o| owners[o.photo as usize].push(o.account));
        let mut weights: HashMap<(u32, u32), f64> = HashMap::new();
        let mut link = |a: u32, b: u32| {
            if a != b {
                *weights.entry((a.min(b), a.max(b))).or_default() += 1.0;
            }
        };
        for owners in &owners {
            for (at, a) in owners.iter().enumerate() {
                let reach = if owners.len() <= PAIRS_UP_TO { owners.len() } else { 8 };
                owners[at + 1..].iter().take(reach).for_each(|b| link(*a, *b));
            }
        }
        for edge in input.links.iter().filter(|l| l.cosine >= cosine) {
            let of = |face: u32| owners[input.faces[face as usize].photo as usize].iter().take(6);
            for a in of(edge.a) {
                of(edge.b).for_each(|b| link(*a, *b));
            }
        }
        let mut near = vec![Vec::new(); input.accounts.len()];
        let mut weights: Vec<_> = weights.into_iter().collect();
        weights.sort_by_key(|w| w.0);
        for ((a, b), weight) in weights {
            near[a as usize].push((b, weight));
            near[b as usize].push((a, weight));
        }
        Self { near }
    }

    /// Chinese whispers (Biemann 2006): everybody takes the label that weighs most around, twenty times.
    fn whispers(&self) -> Vec<Vec<u32>> {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut labels: Vec<u32> = (0..self.near.len() as u32).collect();
        let mut order = labels.clone();
        for _ in 0..20 {
            order.shuffle(&mut rng);
            for node in &order {
                if let Some(best) = heaviest(&self.near[*node as usize], &labels) {
                    labels[*node as usize] = best;
                }
            }
        }
        grouped((0..).zip(labels))
    }

    /// Louvain (Blondel and others 2008): modularity, level by level.
    fn louvain(&self) -> Vec<Vec<u32>> {
        let mut level: Vec<Vec<(u32, f64)>> = self.near.clone();
        let mut place: Vec<u32> = (0..level.len() as u32).collect();
        loop {
            let labels = moved(&level);
            let mut names: HashMap<u32, u32> = HashMap::new();
            for label in &labels {
                let next = names.len() as u32;
                names.entry(*label).or_insert(next);
            }
            place.iter_mut().for_each(|p| *p = names[&labels[*p as usize]]);
            if names.len() == level.len() {
                return grouped((0..).zip(place));
            }
            let mut sums: Vec<HashMap<u32, f64>> = vec![HashMap::new(); names.len()];
            for (node, near) in level.iter().enumerate() {
                let own = names[&labels[node]];
                for (other, weight) in near {
                    *sums[own as usize].entry(names[&labels[*other as usize]]).or_default() += weight;
                }
            }
            level = sums
                .into_iter()
                .map(|m| {
                    let mut row: Vec<_> = m.into_iter().collect();
                    row.sort_by_key(|r| r.0);
                    row
                })
                .collect();
        }
    }
}

fn heaviest(near: &[(u32, f64)], labels: &[u32]) -> Option<u32> {
    let mut around: HashMap<u32, f64> = HashMap::new();
    for (other, weight) in near {
        *around.entry(labels[*other as usize]).or_default() += weight;
    }
    around.into_iter().max_by(|x, y| x.1.total_cmp(&y.1).then(y.0.cmp(&x.0))).map(|b| b.0)
}

/// One level of Louvain: nodes move while modularity gains. A node's link to itself counts twice already.
fn moved(near: &[Vec<(u32, f64)>]) -> Vec<u32> {
    let degree: Vec<f64> = near.iter().map(|n| n.iter().map(|e| e.1).sum()).collect();
    let all: f64 = degree.iter().sum::<f64>().max(1e-9);
    let mut labels: Vec<u32> = (0..near.len() as u32).collect();
    let mut total = degree.clone();
    for _ in 0..30 {
        let mut changes = 0;
        for node in 0..near.len() {
            let own = labels[node];
            total[own as usize] -= degree[node];
            let mut around: HashMap<u32, f64> = HashMap::from([(own, 0.0)]);
            for (other, weight) in near[node].iter().filter(|e| e.0 as usize != node) {
                *around.entry(labels[*other as usize]).or_default() += weight;
            }
            let gain = |label: u32, weight: f64| weight - total[label as usize] * degree[node] / all;
            let stay = gain(own, around[&own]);
            let best = around
                .iter()
                .map(|(label, weight)| (*label, gain(*label, *weight)))
                .max_by(|x, y| x.1.total_cmp(&y.1).then(y.0.cmp(&x.0)));
            let target = best.filter(|b| b.1 > stay + 1e-9).map_or(own, |b| b.0);
            changes += usize::from(target != own);
            labels[node] = target;
            total[target as usize] += degree[node];
        }
        if changes == 0 {
            break;
        }
    }
    labels
}

/// DBSCAN (Ester and others 1996) over faces; an account goes to the largest cluster that holds a face of it.
fn dbscan(input: &Input, cosine: f32) -> Vec<Vec<u32>> {
    let near: Vec<_> = input.links.iter().filter(|l| l.cosine >= cosine).collect();
    let mut owners: Vec<Vec<u32>> = vec![Vec::new(); input.photos.len()];
    input.ownerships.iter().for_each(|o| owners[o.photo as usize].push(o.account));
    // A picture that several accounts show is as many points in one place.
    let mut count: Vec<usize> =
        input.faces.iter().map(|f| owners[f.photo as usize].len().saturating_sub(1)).collect();
    for link in &near {
        count[link.a as usize] += owners[input.faces[link.b as usize].photo as usize].len();
        count[link.b as usize] += owners[input.faces[link.a as usize].photo as usize].len();
    }
    let core = |face: u32| count[face as usize] >= CORE;
    let mut parent: Vec<u32> = (0..input.faces.len() as u32).collect();
    for link in &near {
        if core(link.a) && core(link.b) {
            union(&mut parent, link.a, link.b);
        }
    }
    let mut label: Vec<Option<u32>> =
        (0..input.faces.len() as u32).map(|f| core(f).then(|| find(&mut parent, f))).collect();
    for link in &near {
        // The border goes to a core that it touches.
        let (a, b) = (label[link.a as usize], label[link.b as usize]);
        if core(link.a) && b.is_none() {
            label[link.b as usize] = a;
        } else if core(link.b) && a.is_none() {
            label[link.a as usize] = b;
        }
    }
    let mut members: HashMap<u32, Vec<u32>> = HashMap::new();
    for (face, label) in label.iter().enumerate() {
        if let Some(label) = label {
            members.entry(*label).or_default().extend(&owners[input.faces[face].photo as usize]);
        }
    }
    let mut home: HashMap<u32, (usize, u32)> = HashMap::new();
    for (label, accounts) in &mut members {
        accounts.sort_unstable();
        accounts.dedup();
        for account in accounts.iter() {
            let this = (accounts.len(), *label);
            let slot = home.entry(*account).or_insert(this);
            *slot = (*slot).max(this);
        }
    }
    grouped(home.into_iter().map(|(account, (_, label))| (account, label)))
}
