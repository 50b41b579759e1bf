//! Disjoint sets over dense numbers.
//!
//! Invariant: the representative of a set is its smallest member, so it does not depend on the order of the unions.

/// Disjoint sets over `0..n`.
#[derive(Debug, Clone)]
pub(crate) struct UnionFind {
    parent: Vec<u32>,
}

impl UnionFind {
    /// `n` sets of one member each.
    pub(crate) fn new(n: usize) -> Self {
        Self { parent: (0..n as u32).collect() }
    }

    /// The smallest member of `x`'s set.
    pub(crate) fn find(&mut self, mut x: u32) -> u32 {
        while self.parent[x as usize] != x {
            let above = self.parent[x as usize];
            self.parent[x as usize] = self.parent[above as usize];
            x = self.parent[x as usize];
        }
        x
    }

    /// Joins two sets; gives the new representative and the one that was absorbed, or `None` if they were one set.
    pub(crate) fn union(&mut self, a: u32, b: u32) -> Option<(u32, u32)> {
        let (a, b) = (self.find(a), self.find(b));
        if a == b {
            return None;
        }
        let (low, high) = (a.min(b), a.max(b));
        self.parent[high as usize] = low;
        Some((low, high))
    }

    /// The representative of every number.
    pub(crate) fn into_roots(mut self) -> Vec<u32> {
        (0..self.parent.len() as u32).map(|x| self.find(x)).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against the closure computed by brute force.
        #[test]
        fn agrees_with_transitive_closure(edges in prop::collection::vec((0u32..20, 0u32..20), 0..40)) {
            let mut sets = UnionFind::new(20);
            let mut near = [[false; 20]; 20];
            near.iter_mut().enumerate().for_each(|(i, row)| row[i] = true);
            for (a, b) in &edges {
                sets.union(*a, *b);
                near[*a as usize][*b as usize] = true;
                near[*b as usize][*a as usize] = true;
            }
            for k in 0..20 { for i in 0..20 { for j in 0..20 {
                near[i][j] |= near[i][k] && near[k][j];
            } } }
            let roots = sets.into_roots();
            for i in 0..20 {
                for j in 0..20 { prop_assert_eq!(near[i][j], roots[i] == roots[j]); }
                prop_assert_eq!(roots[i] as usize, (0..20).find(|j| near[i][*j]).unwrap());
            }
        }
    }
}
