//! Groups of photos or faces that go together, as last found.

use std::collections::HashMap;

/// Groups of photos or faces; whoever has no label is alone.
#[derive(Debug, Default)]
pub(super) struct Labels {
    label: HashMap<u32, u32>,
    group: HashMap<u32, Vec<u32>>,
    next: u32,
}

impl Labels {
    /// Those in one group with something, itself left out if it is alone.
    pub(super) fn with(&self, one: u32) -> &[u32] {
        self.label.get(&one).and_then(|label| self.group.get(label)).map_or(&[], Vec::as_slice)
    }

    /// Gives new groups to some, which leave their old ones.
    pub(super) fn renew(&mut self, groups: impl Iterator<Item = Vec<u32>>) {
        for group in groups {
            for one in &group {
                if let Some(old) = self.label.remove(one)
                    && let Some(left) = self.group.get_mut(&old)
                {
                    left.retain(|other| other != one);
                }
            }
            if group.len() > 1 {
                group.iter().for_each(|one| {
                    self.label.insert(*one, self.next);
                });
                self.group.insert(self.next, group);
                self.next += 1;
            }
        }
    }
}
