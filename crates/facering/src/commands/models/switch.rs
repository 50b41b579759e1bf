//! `facering models switch`: from now on, the state that another pack has filled.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use records::Checkpoint;
use serde_json::json;
use store::{Store, StoreConfig};

use super::print_result;
use crate::cli::Common;
use crate::config::Settings;
use crate::state_folders;

pub fn execute(
    common: &Common,
    mut settings: Settings,
    pack: &str,
    anyway: bool,
    remove_old: bool,
) -> anyhow::Result<()> {
    settings.models.pack = pack.to_owned();
    embed::load_pack(&settings.models)?;
    let (root, old) = (settings.root.clone(), settings.state.path.clone());
    if !state_folders::has_state(&old) {
        bail!(
            "there is no state in {}; nothing has to be switched, just set models.pack = \"{pack}\"",
            old.display()
        );
    }
    // Both are opened, so that no pipeline is running on either while they change places.
    let (in_use, pack_in_use) = open(&settings.state, &old)?;
    if pack_in_use.as_deref() == Some(pack) {
        bail!("the state in {} holds faces of {pack} already; nothing has to be switched", old.display());
    }
    let (new, other) = find(&settings, pack, &old)?;
    let behind = missing(in_use.reader().checkpoint(), other.reader().checkpoint());
    if !behind.is_empty() && !anyway {
        bail!(
            "the state of {pack} has not read everything that the one in use has ({}); let `facering run --beside` go on, \
             or switch all the same with --anyway",
            behind.join(", ")
        );
    }
    // What analysts decided holds for accounts and pictures, whatever pack their faces were embedded with.
    other.committer()?.adopt_decisions(&in_use.reader().decisions()?)?;
    drop((in_use, other));
    state_folders::activate(&root, &new)?;
    if remove_old {
        state_folders::remove(&root, &old)?;
    }
    let value = json!({
        "pack": pack, "state": new.display().to_string(), "before": pack_in_use,
        "kept": (!remove_old).then(|| old.display().to_string()),
    });
    print_result(common, &value, || {
        let kept = match (&pack_in_use, remove_old) {
            (_, true) => "the old state is removed".to_owned(),
            (Some(before), false) => {
                format!(
                    "the old state is kept in {}; `facering models switch {before}` goes back",
                    old.display()
                )
            }
            (None, false) => format!("the old state is kept in {}", old.display()),
        };
        format!("the state in {} is in use; set models.pack = \"{pack}\" ({kept})", new.display())
    })
}

/// The state of the pack among those that are not in use.
fn find(settings: &Settings, pack: &str, old: &Path) -> anyhow::Result<(PathBuf, Store)> {
    for folder in state_folders::all(&settings.root).into_iter().filter(|folder| folder != old) {
        let (store, holds) = open(&settings.state, &folder)?;
        if holds.as_deref() == Some(pack) {
            return Ok((folder, store));
        }
    }
    bail!(
        "there is no state with faces of {pack} in {}; fill one with `facering run PIPELINE --beside --set models.pack={pack}`",
        settings.root.display()
    )
}

fn open(config: &StoreConfig, folder: &Path) -> anyhow::Result<(Store, Option<String>)> {
    let config = StoreConfig { path: folder.to_path_buf(), ..config.clone() };
    let store = Store::open(&config).with_context(|| {
        format!("the state in {} cannot be opened; stop the pipeline that uses it first", folder.display())
    })?;
    let pack = store.reader().pack().map(ToString::to_string);
    Ok((store, pack))
}

/// What the state in use has read and the other has not, partition by partition.
fn missing(in_use: &Checkpoint, other: &Checkpoint) -> Vec<String> {
    let behind = in_use.iter().filter_map(|(partition, position)| {
        let left = position.0.saturating_sub(other.position(partition).map_or(0, |found| found.0));
        (left > 0).then(|| format!("{partition}: {left} behind"))
    });
    behind.collect()
}

#[cfg(test)]
mod tests {
    use records::{PartitionId, Position};

    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let (mut old, mut new) = (Checkpoint::default(), Checkpoint::default());
        for (partition, at) in [("a", 5), ("b", 7), ("c", 2)] {
            old.restore(PartitionId::file(partition), Position(at));
        }
        for (partition, at) in [("a", 5), ("b", 3), ("d", 9)] {
            new.restore(PartitionId::file(partition), Position(at));
        }
        assert_eq!(missing(&old, &new), ["file:b: 4 behind", "file:c: 2 behind"]);
        assert!(missing(&new, &new).is_empty());
    }
}
