//! How far a state is: whose faces it holds and what of its source it has read, also while a pipeline is running on it.

use std::path::Path;

use anyhow::Context;
use records::{Checkpoint, PackId};
use serde::{Deserialize, Serialize};
use store::{Reader, Store, StoreConfig};

use crate::control::{self, Question};

/// What a state is asked for before another one is filled beside it, or takes its place.
#[derive(Serialize, Deserialize)]
pub struct Standing {
    /// The pack of its faces, once it has one.
    pub pack: Option<PackId>,
    /// What it has read.
    pub checkpoint: Checkpoint,
}

impl Standing {
    /// Of a state that is open.
    pub fn of(reader: &Reader) -> Self {
        Self { pack: reader.pack().cloned(), checkpoint: reader.checkpoint().clone() }
    }

    /// What another state has read and this one has not, partition by partition.
    pub fn behind(&self, other: &Self) -> Vec<String> {
        let behind = other.checkpoint.iter().filter_map(|(partition, position)| {
            let read = self.checkpoint.position(partition).map_or(0, |found| found.0);
            let left = position.0.saturating_sub(read);
            (left > 0).then(|| format!("{partition}: {left} behind"))
        });
        behind.collect()
    }
}

/// A state, and the store if nobody else has it open: while this lives, no pipeline starts on it.
pub struct Seen {
    /// How far it is.
    pub standing: Standing,
    /// `None` while a pipeline is running on it.
    pub store: Option<Store>,
}

/// Asks the pipeline that is running on the state in `folder`, or opens the state.
pub fn look(config: &StoreConfig, folder: &Path) -> anyhow::Result<Seen> {
    if let Some(answer) = control::ask(folder, &Question::Standing)? {
        let standing = serde_json::from_value(answer)
            .context("the running facering is of another version; ask with the same one")?;
        return Ok(Seen { standing, store: None });
    }
    let config = StoreConfig { path: folder.to_path_buf(), ..config.clone() };
    let store = Store::open(&config).with_context(|| {
        format!("the state in {} cannot be opened; stop what uses it first", folder.display())
    })?;
    Ok(Seen { standing: Standing::of(&store.reader()), store: Some(store) })
}

#[cfg(test)]
mod tests {
    use records::{PartitionId, Position};

    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let of = |read: [(&str, u64); 3]| {
            let mut checkpoint = Checkpoint::default();
            for (partition, at) in read {
                checkpoint.restore(PartitionId::file(partition), Position(at));
            }
            Standing { pack: None, checkpoint }
        };
        let (old, new) = (of([("a", 5), ("b", 7), ("c", 2)]), of([("a", 5), ("b", 3), ("d", 9)]));
        assert_eq!(new.behind(&old), ["file:b: 4 behind", "file:c: 2 behind"]);
        assert!(new.behind(&new).is_empty());
    }
}
