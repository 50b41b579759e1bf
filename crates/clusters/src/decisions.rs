//! What analysts decided about groups of accounts, laid over the graph and its communities.
//!
//! Invariants:
//! - No community holds accounts of both sides of a split.
//! - Accounts of a confirmed or merged cluster stand in one community, unless a split or an allow-list says otherwise.
//! - The result depends on the sets of decisions, not on their order.

use std::collections::{BTreeMap, BTreeSet};

use petgraph::graph::NodeIndex;
use petgraph::visit::EdgeRef;
use records::AccountId;

use crate::communities::AccountGraph;
use crate::input::Input;

/// Weight of a link that an analyst made: as much as one photo that both show.
const DECIDED: f32 = 1.0;

/// Decisions about groups, by account number.
#[derive(Debug, Default)]
pub(crate) struct Decisions {
    /// Account -> whether it was confirmed as a bot.
    pub(crate) confirmed: Vec<bool>,
    /// Sets that belong together, largest last.
    together: Vec<Vec<u32>>,
    /// Pairs of sides that do not.
    apart: Vec<(BTreeSet<u32>, BTreeSet<u32>)>,
}

impl Decisions {
    /// From a canonical input. Accounts that are gone or allowed are left out.
    pub(crate) fn new(input: &Input) -> Self {
        let allowed: BTreeSet<&AccountId> = input.allow.accounts.iter().collect();
        let number = |id: &AccountId| {
            if allowed.contains(id) {
                return None;
            }
            input.accounts.binary_search_by(|a| a.id.cmp(id)).ok().map(|at| at as u32)
        };
        let numbers = |ids: &[AccountId]| ids.iter().filter_map(number).collect::<BTreeSet<u32>>();
        let mut confirmed = vec![false; input.accounts.len()];
        let mut together = Vec::new();
        for cluster in &input.confirmed {
            let members = numbers(&cluster.members);
            members.iter().for_each(|a| confirmed[*a as usize] = true);
            together.push(members.into_iter().collect::<Vec<u32>>());
        }
        together.extend(input.merged.iter().map(|m| numbers(&m.members).into_iter().collect::<Vec<u32>>()));
        together.retain(|set| set.len() > 1);
        together.sort_by(|x, y| x.len().cmp(&y.len()).then(x.cmp(y)));
        together.dedup();
        let mut apart: Vec<_> = input
            .split
            .iter()
            .map(|s| (numbers(&s.one), numbers(&s.other)))
            .filter(|(one, other)| !one.is_empty() && !other.is_empty())
            .map(|(one, other)| if one < other { (one, other) } else { (other, one) })
            .collect();
        apart.sort();
        apart.dedup();
        Self { confirmed, together, apart }
    }

    /// Links what was put together and takes away links between the sides of a split.
    pub(crate) fn shape(&self, graph: &mut AccountGraph) {
        for set in &self.together {
            // Each with the next: enough to hang together, whatever the community makes of it.
            for pair in set.windows(2) {
                let (a, b) = (NodeIndex::new(pair[0] as usize), NodeIndex::new(pair[1] as usize));
                if graph.find_edge(a, b).is_none() {
                    graph.add_edge(a, b, DECIDED);
                }
            }
        }
        for (one, other) in &self.apart {
            graph.retain_edges(|graph, edge| {
                let ends = graph.edge_endpoints(edge).map(|(a, b)| (a.index() as u32, b.index() as u32));
                ends.is_none_or(|(a, b)| {
                    !(one.contains(&a) && other.contains(&b) || one.contains(&b) && other.contains(&a))
                })
            });
        }
    }

    /// Whether a split keeps some accounts from being in one cluster with others.
    pub(crate) fn forbids(&self, some: impl Iterator<Item = u32> + Clone, others: &[u32]) -> bool {
        self.apart.iter().any(|(x, y)| {
            let meets = |a: &BTreeSet<u32>, b: &BTreeSet<u32>| {
                some.clone().any(|s| a.contains(&s)) && others.iter().any(|o| b.contains(o))
            };
            meets(x, y) || meets(y, x)
        })
    }

    /// Joins communities that were put together and divides those that a split runs through. Sorted as before.
    pub(crate) fn regroup(&self, graph: &AccountGraph, mut groups: Vec<Vec<u32>>) -> Vec<Vec<u32>> {
        for set in &self.together {
            let inside = |group: &Vec<u32>| group.iter().filter(|a| set.binary_search(a).is_ok()).count();
            let (mine, rest): (Vec<_>, Vec<_>) =
                groups.into_iter().partition(|group| 2 * inside(group) >= group.len() && inside(group) > 0);
            groups = rest;
            let elsewhere: BTreeSet<u32> = groups.iter().flatten().copied().collect();
            let mut joined: BTreeSet<u32> = mine.into_iter().flatten().collect();
            joined.extend(set.iter().filter(|a| !elsewhere.contains(a)));
            if joined.len() > 1 {
                groups.push(joined.into_iter().collect());
            }
        }
        for (one, other) in &self.apart {
            let both = |group: &Vec<u32>| {
                group.iter().any(|a| one.contains(a)) && group.iter().any(|a| other.contains(a))
            };
            let (torn, rest): (Vec<_>, Vec<_>) = groups.into_iter().partition(both);
            groups = rest;
            for group in torn {
                groups.extend(sides(graph, &group, one, other).into_iter().filter(|g| g.len() > 1));
            }
        }
        groups.sort_unstable();
        groups
    }
}

/// The two sides of a community; who is on neither goes with those it has most weight to, nearest first.
fn sides(graph: &AccountGraph, group: &[u32], one: &BTreeSet<u32>, other: &BTreeSet<u32>) -> [Vec<u32>; 2] {
    let mut side: BTreeMap<u32, usize> = BTreeMap::new();
    for account in group {
        if one.contains(account) {
            side.insert(*account, 0);
        } else if other.contains(account) {
            side.insert(*account, 1);
        }
    }
    loop {
        let mut next: Vec<(u32, usize)> = Vec::new();
        for account in group.iter().filter(|a| !side.contains_key(a)) {
            let mut weight = [0.0f64; 2];
            for edge in graph.edges(NodeIndex::new(*account as usize)) {
                let ends = [edge.source().index() as u32, edge.target().index() as u32];
                let neighbour = if ends[0] == *account { ends[1] } else { ends[0] };
                if let Some(at) = side.get(&neighbour) {
                    weight[*at] += f64::from(*edge.weight());
                }
            }
            if weight[0] > 0.0 || weight[1] > 0.0 {
                next.push((*account, usize::from(weight[1] > weight[0])));
            }
        }
        if next.is_empty() {
            break;
        }
        side.extend(next);
    }
    let mut sides = [Vec::new(), Vec::new()];
    for account in group {
        // Nobody's neighbour goes with the first side.
        sides[side.get(account).copied().unwrap_or(0)].push(*account);
    }
    sides
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(nodes: usize, links: &[(u32, u32)]) -> AccountGraph {
        let mut graph = AccountGraph::with_capacity(nodes, links.len());
        (0..nodes).for_each(|_| {
            graph.add_node(());
        });
        for (a, b) in links {
            graph.add_edge(NodeIndex::new(*a as usize), NodeIndex::new(*b as usize), 1.0);
        }
        graph
    }

    fn set(accounts: &[u32]) -> BTreeSet<u32> {
        accounts.iter().copied().collect()
    }

    #[test]
    fn a_split_takes_undecided_accounts_along() {
        // 0-1-2 and 3-4-5 with a bridge 2-3; 0 and 5 are known.
        let mut graph = graph(6, &[(0, 1), (1, 2), (0, 2), (2, 3), (3, 4), (4, 5), (3, 5)]);
        let decisions = Decisions { apart: vec![(set(&[0, 2]), set(&[5, 3]))], ..Default::default() };
        decisions.shape(&mut graph);
        assert!(graph.find_edge(NodeIndex::new(2), NodeIndex::new(3)).is_none());
        let found = decisions.regroup(&graph, vec![(0..6).collect()]);
        assert_eq!(found, [vec![0, 1, 2], vec![3, 4, 5]]);
    }

    #[test]
    fn a_merge_joins_communities_and_loners_but_not_strangers() {
        let mut graph = graph(9, &[(0, 1), (2, 3), (5, 6), (6, 7), (7, 8)]);
        let decisions = Decisions { together: vec![vec![0, 1, 2, 4, 8]], ..Default::default() };
        decisions.shape(&mut graph);
        let found = decisions.regroup(&graph, vec![vec![0, 1], vec![2, 3], vec![5, 6, 7, 8]]);
        assert_eq!(found, [vec![0, 1, 2, 3, 4], vec![5, 6, 7, 8]]);
        assert!(graph.find_edge(NodeIndex::new(2), NodeIndex::new(4)).is_some());
    }
}
