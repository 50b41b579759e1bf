//! From an account graph to communities: nothing that hangs together by a thread.
//!
//! Invariants:
//! - Connected components only shard the work; no community reaches across two of them.
//! - Each community is connected, and two halves of it have links at least `split_below` times as dense as its own.
//! - The result does not depend on the order of links or on the number of threads.

use std::collections::HashMap;

use petgraph::graph::{NodeIndex, UnGraph};
use petgraph::visit::EdgeRef;
use rayon::prelude::*;

use crate::leiden::{Csr, leiden, renumber, split_disconnected};
use crate::union_find::UnionFind;

/// Accounts as nodes (all of them, so a node's index is the account's), weights on links.
pub(crate) type AccountGraph = UnGraph<(), f32, u32>;

/// A graph is split again at most this often; communities of communities of communities say enough.
const DEPTH: u32 = 6;
/// Communities this large are examined with one seed: in so large a crowd single accounts matter less than the time.
const MANY: usize = 20_000;

/// How communities are looked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// `ClustersConfig::split_below`.
    pub(crate) split_below: f64,
    /// `ClustersConfig::seeds`.
    pub(crate) seeds: u32,
}

/// Communities of at least two accounts, each sorted, ordered by their smallest account.
pub(crate) fn communities(graph: &AccountGraph, options: Options) -> Vec<Vec<u32>> {
    let mut sets = UnionFind::new(graph.node_count());
    for edge in graph.edge_references() {
        sets.union(edge.source().index() as u32, edge.target().index() as u32);
    }
    let mut shards: HashMap<u32, Vec<u32>> = HashMap::new();
    for (account, root) in sets.into_roots().into_iter().enumerate() {
        if graph.edges(NodeIndex::new(account)).next().is_some() {
            shards.entry(root).or_default().push(account as u32);
        }
    }
    let shards: Vec<Vec<u32>> = shards.into_values().collect();
    let mut found: Vec<Vec<u32>> =
        shards.par_iter().flat_map_iter(|shard| split(graph, shard, options)).collect();
    found.sort_unstable();
    found
}

/// Splits a connected set of accounts into its communities.
fn split(graph: &AccountGraph, shard: &[u32], options: Options) -> Vec<Vec<u32>> {
    if shard.len() <= 3 {
        return vec![shard.to_vec()];
    }
    let (csr, links) = induced(graph, shard);
    let seeds = if shard.len() > MANY { 1 } else { options.seeds };
    let runs: Vec<Vec<u32>> =
        (0..seeds).map(|seed| partition(&csr, &links, options.split_below, u64::from(seed), DEPTH)).collect();
    let mut labels = agree(&runs, &links);
    absorb(&csr, &mut labels);
    cut_bridges(&csr, &links, &mut labels);
    split_disconnected(&csr, &mut labels);
    groups(&labels)
        .into_iter()
        .filter(|g| g.len() > 1)
        .map(|group| group.into_iter().map(|node| shard[node as usize]).collect())
        .collect()
}

/// The graph among some accounts (sorted), with nodes numbered by their place in the list.
pub(crate) fn induced(graph: &AccountGraph, accounts: &[u32]) -> (Csr, Vec<(u32, u32, f64)>) {
    let place = |account: usize| accounts.binary_search(&(account as u32)).ok().map(|at| at as u32);
    let mut links = Vec::new();
    for (at, account) in accounts.iter().enumerate() {
        for edge in graph.edges(NodeIndex::new(*account as usize)) {
            let other =
                if edge.source().index() == *account as usize { edge.target() } else { edge.source() };
            if other.index() as u32 > *account
                && let Some(to) = place(other.index())
            {
                links.push((at as u32, to, f64::from(*edge.weight())));
            }
        }
    }
    links.sort_by_key(|(a, b, _)| (*a, *b));
    (Csr::new(accounts.len(), &links), links)
}

/// Nodes of each community, by community number; numbers follow smallest nodes.
fn groups(labels: &[u32]) -> Vec<Vec<u32>> {
    let mut labels = labels.to_vec();
    let mut groups = vec![Vec::new(); renumber(&mut labels)];
    for (node, label) in labels.iter().enumerate() {
        groups[*label as usize].push(node as u32);
    }
    groups
}

/// Splits again and again, each time at a resolution relative to the piece's own density, until nothing falls apart: so a
/// sparse ring of a thousand stays whole where two dense rings on a thread do not.
fn partition(csr: &Csr, links: &[(u32, u32, f64)], split_below: f64, seed: u64, depth: u32) -> Vec<u32> {
    let n = csr.nodes();
    let pairs = n as f64 * (n as f64 - 1.0) / 2.0;
    let density = links.iter().map(|(_, _, w)| w).sum::<f64>() / pairs.max(1.0);
    let mut labels = leiden(csr, density * split_below, seed);
    let count = renumber(&mut labels);
    if count <= 1 || depth == 0 {
        return labels;
    }
    let mut place = vec![0u32; n];
    let pieces = groups(&labels);
    for piece in &pieces {
        for (at, node) in piece.iter().enumerate() {
            place[*node as usize] = at as u32;
        }
    }
    let mut inside: Vec<Vec<(u32, u32, f64)>> = vec![Vec::new(); pieces.len()];
    for (a, b, w) in links {
        if labels[*a as usize] == labels[*b as usize] {
            inside[labels[*a as usize] as usize].push((place[*a as usize], place[*b as usize], *w));
        }
    }
    let mut result = vec![0u32; n];
    let mut next = 0;
    for (piece, own) in pieces.iter().zip(inside) {
        if piece.len() <= 3 {
            piece.iter().for_each(|node| result[*node as usize] = next);
            next += 1;
            continue;
        }
        let sub = partition(&Csr::new(piece.len(), &own), &own, split_below, seed, depth - 1);
        for (at, node) in piece.iter().enumerate() {
            result[*node as usize] = next + sub[at];
        }
        next += sub.iter().max().map_or(0, |m| m + 1);
    }
    result
}

/// Keeps links whose ends are together in more than half of the runs, and takes what they connect.
fn agree(runs: &[Vec<u32>], links: &[(u32, u32, f64)]) -> Vec<u32> {
    let Some(first) = runs.first() else { return Vec::new() };
    let mut sets = UnionFind::new(first.len());
    for (a, b, _) in links {
        let together = runs.iter().filter(|run| run[*a as usize] == run[*b as usize]).count();
        if together * 2 > runs.len() {
            sets.union(*a, *b);
        }
    }
    sets.into_roots()
}

/// Hands small fragments (one or two accounts, or an eighth of the neighbour) to the community that holds at least half of
/// their weight: accounts on the rim of a sparse ring are too thinly linked for any resolution.
fn absorb(csr: &Csr, labels: &mut [u32]) {
    renumber(labels);
    for _ in 0..3 {
        let members = groups(labels);
        let mut moved = false;
        for (own, group) in members.iter().enumerate() {
            let mut to: HashMap<u32, f64> = HashMap::new();
            let mut volume = 0.0;
            for node in group {
                for (other, weight) in csr.neighbours(*node) {
                    volume += weight;
                    if labels[other as usize] != own as u32 {
                        *to.entry(labels[other as usize]).or_default() += weight;
                    }
                }
            }
            let best = to.into_iter().max_by(|x, y| x.1.total_cmp(&y.1).then(y.0.cmp(&x.0)));
            let Some((target, weight)) = best else { continue };
            let larger = members.get(target as usize).map_or(0, Vec::len);
            let small = group.len() <= 2.max(larger / 8) && larger > group.len();
            let still_here = group.iter().all(|node| labels[*node as usize] == own as u32);
            if small && still_here && weight >= 0.5 * volume {
                group.iter().for_each(|node| labels[*node as usize] = target);
                moved = true;
            }
        }
        if !moved {
            break;
        }
        renumber(labels);
    }
}

/// Separates what hangs on one link that is weaker than an average one, where at least three accounts stand on either side.
fn cut_bridges(csr: &Csr, links: &[(u32, u32, f64)], labels: &mut [u32]) {
    let mut fresh = labels.iter().max().map_or(0, |m| m + 1);
    for group in groups(labels).into_iter().filter(|g| g.len() >= 6) {
        let own = labels[group[0] as usize];
        let inside =
            links.iter().filter(|(a, b, _)| labels[*a as usize] == own && labels[*b as usize] == own);
        let (count, sum) = inside.fold((0.0, 0.0), |(n, s), (_, _, w)| (n + 1.0, s + w));
        let weak = sum / f64::max(count, 1.0);
        let member = |node: u32| labels[node as usize] == own;
        let cut: Vec<Vec<u32>> = bridges(csr, group[0], member)
            .into_iter()
            .filter(|b| b.weight < weak && b.below.len() >= 3 && group.len() - b.below.len() >= 3)
            .map(|b| b.below)
            .collect();
        // Deeper ones come first, so an outer cut must not take back what an inner one separated.
        for below in cut {
            for node in below {
                if labels[node as usize] == own {
                    labels[node as usize] = fresh;
                }
            }
            fresh += 1;
        }
    }
}

/// A link whose loss disconnects a community.
pub(crate) struct Bridge {
    /// Its ends.
    pub(crate) ends: (u32, u32),
    /// Its weight.
    pub(crate) weight: f64,
    /// What it would cut off from the start node.
    pub(crate) below: Vec<u32>,
}

/// All bridges of the community around `start`, deepest first (R. E. Tarjan, "A note on finding the bridges of a graph", 1974,
/// with a stack of its own, since a long chain would overflow the program's).
pub(crate) fn bridges(csr: &Csr, start: u32, member: impl Fn(u32) -> bool) -> Vec<Bridge> {
    const UNSEEN: u32 = u32::MAX;
    let n = csr.nodes();
    let (mut order, mut low) = (vec![UNSEEN; n], vec![UNSEEN; n]);
    let mut visited: Vec<u32> = Vec::new();
    let neighbours = |node: u32| csr.neighbours(node).filter(|(o, _)| member(*o)).collect::<Vec<_>>();
    let mut found = Vec::new();
    // Node, its parent, weight of the link to the parent, neighbours, next neighbour to look at.
    let mut stack = vec![(start, start, 0.0, neighbours(start), 0usize)];
    (order[start as usize], low[start as usize]) = (0, 0);
    visited.push(start);
    while let Some((node, parent, weight, around, at)) = stack.last_mut() {
        let (node, parent, weight) = (*node, *parent, *weight);
        if let Some((other, link)) = around.get(*at).copied() {
            *at += 1;
            if order[other as usize] == UNSEEN {
                let number = visited.len() as u32;
                (order[other as usize], low[other as usize]) = (number, number);
                visited.push(other);
                stack.push((other, node, link, neighbours(other), 0));
            } else if other != parent {
                low[node as usize] = low[node as usize].min(order[other as usize]);
            }
        } else {
            stack.pop();
            if node != start {
                low[parent as usize] = low[parent as usize].min(low[node as usize]);
                if low[node as usize] > order[parent as usize] {
                    // Everything visited since stands below.
                    let below = visited[order[node as usize] as usize..].to_vec();
                    found.push(Bridge { ends: (parent, node), weight, below });
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn graph(nodes: usize, links: &[(u32, u32, f32)]) -> AccountGraph {
        let mut graph = AccountGraph::with_capacity(nodes, links.len());
        (0..nodes).for_each(|_| {
            graph.add_node(());
        });
        for (a, b, w) in links {
            graph.add_edge(NodeIndex::new(*a as usize), NodeIndex::new(*b as usize), *w);
        }
        graph
    }

    const OPTIONS: Options = Options { split_below: 0.15, seeds: 5 };

    fn clique(base: u32, n: u32) -> Vec<(u32, u32, f32)> {
        (0..n).flat_map(|a| (a + 1..n).map(move |b| (base + a, base + b, 1.0))).collect()
    }

    #[test]
    fn rings_on_a_thread_fall_apart() {
        let mut links = clique(0, 8);
        links.extend(clique(8, 8));
        links.push((7, 8, 0.8));
        let found = communities(&graph(17, &links), OPTIONS);
        assert_eq!(found, [(0..8).collect::<Vec<_>>(), (8..16).collect()]);
    }

    #[test]
    fn a_sparse_ring_stays_whole() {
        // 400 accounts, each linked with about 10 others at random: a density of .025.
        let mut state = 7u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as u32 % 400
        };
        let mut links = std::collections::BTreeMap::new();
        while links.len() < 2000 {
            let (a, b) = (next(), next());
            if a != b {
                links.insert((a.min(b), a.max(b)), 0.9);
            }
        }
        let links: Vec<_> = links.into_iter().map(|((a, b), w)| (a, b, w)).collect();
        let found = communities(&graph(400, &links), OPTIONS);
        assert!(found[0].len() >= 395, "{:?}", found.iter().map(Vec::len).collect::<Vec<_>>());
    }

    #[test]
    fn many_rings_on_a_chain_fall_apart() {
        let mut links = Vec::new();
        for ring in 0..40 {
            links.extend(clique(ring * 6, 6));
            if ring > 0 {
                links.push((ring * 6 - 1, ring * 6, 0.9));
            }
        }
        let found = communities(&graph(240, &links), OPTIONS);
        assert_eq!(found.len(), 40, "{:?}", found.iter().map(Vec::len).collect::<Vec<_>>());
    }

    proptest! {
        #[test]
        fn bridges_agree_with_removal(pairs in prop::collection::btree_set((0u32..9, 0u32..9), 1..16)) {
            let links: Vec<(u32, u32, f64)> = pairs
                .iter()
                .filter(|(a, b)| a < b)
                .map(|(a, b)| (*a, *b, 1.0))
                .collect();
            let csr = Csr::new(9, &links);
            let reach = |without: Option<(u32, u32)>| {
                let mut sets = UnionFind::new(9);
                for (a, b, _) in &links {
                    if Some((*a, *b)) != without { sets.union(*a, *b); }
                }
                let roots = sets.into_roots();
                (0..9u32).filter(|n| roots[*n as usize] == roots[0]).collect::<Vec<_>>()
            };
            let all = reach(None);
            let mut found: Vec<((u32, u32), usize)> = bridges(&csr, 0, |_| true)
                .into_iter()
                .map(|b| ((b.ends.0.min(b.ends.1), b.ends.0.max(b.ends.1)), b.below.len()))
                .collect();
            let mut wanted: Vec<((u32, u32), usize)> = links
                .iter()
                .filter(|(a, _, _)| all.contains(a))
                .map(|(a, b, _)| ((*a, *b), all.len() - reach(Some((*a, *b))).len()))
                .filter(|(_, cut)| *cut > 0)
                .collect();
            found.sort_unstable();
            wanted.sort_unstable();
            prop_assert_eq!(found, wanted);
        }
    }
}
