//! `facering models switch`: from now on, the state that another pack has filled.

use std::path::{Path, PathBuf};

use anyhow::bail;
use serde_json::json;

use super::print_result;
use crate::cli::Common;
use crate::config::Settings;
use crate::standing::{self, Seen};
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
    let in_use = standing::look(&settings.state, &old)?;
    let pack_in_use = in_use.standing.pack.as_ref().map(ToString::to_string);
    if pack_in_use.as_deref() == Some(pack) {
        bail!("the state in {} holds faces of {pack} already; nothing has to be switched", old.display());
    }
    let (new, other) = find(&settings, pack, &old)?;
    let behind = other.standing.behind(&in_use.standing);
    if !behind.is_empty() && !anyway {
        bail!(
            "the state of {pack} has not read everything that the one in use has ({}); let `facering run --beside` go on, \
             or switch all the same with --anyway",
            behind.join(", ")
        );
    }
    // Both are open here, so that no pipeline starts on either while they change places.
    let (in_use, other) = match (in_use.store, other.store) {
        (Some(in_use), Some(other)) => (in_use, other),
        (in_use, other) => {
            // In this order: the new one still reads what the old one has read by then.
            let running = [(in_use.is_none(), &old), (other.is_none(), &new)];
            let running = running.iter().filter(|(running, _)| *running);
            let named: Vec<_> = running.map(|(_, folder)| folder.display().to_string()).collect();
            bail!(
                "the state of {pack} {}; nothing may run while the two change places: stop the pipeline on {} and ask again",
                if behind.is_empty() { "has caught up" } else { "is behind" },
                named.join(", then the one on "),
            )
        }
    };
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
fn find(settings: &Settings, pack: &str, old: &Path) -> anyhow::Result<(PathBuf, Seen)> {
    for folder in state_folders::all(&settings.root).into_iter().filter(|folder| folder != old) {
        let seen = standing::look(&settings.state, &folder)?;
        if seen.standing.pack.as_ref().is_some_and(|holds| holds.as_str() == pack) {
            return Ok((folder, seen));
        }
    }
    bail!(
        "there is no state with faces of {pack} in {}; fill one with `facering run PIPELINE --beside --set models.pack={pack}`",
        settings.root.display()
    )
}
