//! Where the state of a model pack lies, and which of several is in use.
//!
//! ```text
//! <state.path>/store, index, …           the state of the first pack
//! <state.path>/packs/<pack>/store, …     the state of a pack brought in beside it
//! <state.path>/ACTIVE                    `packs/<pack>` if that one is in use; no file: the first
//! ```
//!
//! Invariants:
//! - A state holds faces of one pack only, so bringing in a new pack means a second state, filled from the same source.
//! - `ACTIVE` is replaced in one step: whatever happens while switching, one of the two is in use, and whole.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

const ACTIVE: &str = "ACTIVE";
const PACKS: &str = "packs";

/// The folder of the state in use below `root`.
pub fn active(root: &Path) -> anyhow::Result<PathBuf> {
    let path = root.join(ACTIVE);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(root.to_path_buf()),
        Err(error) => return Err(error).with_context(|| format!("{} cannot be read", path.display())),
    };
    let plain = |pack: &&str| !pack.is_empty() && !pack.starts_with('.') && !pack.contains(['/', '\\']);
    let pack = text.trim().strip_prefix("packs/").filter(plain);
    match pack {
        Some(pack) => Ok(of_pack(root, pack)),
        None => bail!(
            "{} does not name a state; write packs/PACK into it, or remove it to use the state beside it",
            path.display()
        ),
    }
}

/// Where the state of a pack lies that is brought in beside the one in use.
pub fn of_pack(root: &Path, pack: &str) -> PathBuf {
    root.join(PACKS).join(pack)
}

/// Every folder below `root` that holds a state, the first one first.
pub fn all(root: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(root.join(PACKS)).into_iter().flatten().filter_map(Result::ok);
    let mut beside: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    beside.sort();
    std::iter::once(root.to_path_buf()).chain(beside).filter(|folder| has_state(folder)).collect()
}

/// Whether a state was ever begun in a folder.
pub fn has_state(folder: &Path) -> bool {
    folder.join("store").exists()
}

/// Makes the state in `folder`, which lies below `root`, the one in use.
pub fn activate(root: &Path, folder: &Path) -> anyhow::Result<()> {
    let path = root.join(ACTIVE);
    let told = || format!("{} cannot be written", path.display());
    if folder == root {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("{} cannot be removed", path.display()));
            }
            _ => {}
        }
    } else {
        let pack = folder.file_name().context("the state's folder has no name")?.to_string_lossy();
        let new = root.join(".ACTIVE.new");
        let mut file = File::create(&new).with_context(told)?;
        writeln!(file, "{PACKS}/{pack}").with_context(told)?;
        file.sync_all().with_context(told)?;
        fs::rename(&new, &path).with_context(told)?;
    }
    File::open(root).and_then(|folder| folder.sync_all()).with_context(told)
}

/// Removes the state in `folder`, but not what is configured to lie beside it, nor other packs' states.
pub fn remove(root: &Path, folder: &Path) -> anyhow::Result<()> {
    let told = |path: &Path| format!("{} cannot be removed", path.display());
    if folder != root {
        return fs::remove_dir_all(folder).with_context(|| told(folder));
    }
    for part in ["store", "index"] {
        let path = root.join(part);
        if path.exists() {
            fs::remove_dir_all(&path).with_context(|| told(&path))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_state_is_in_use() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        assert_eq!(active(root).unwrap(), root);
        let new = of_pack(root, "new");
        for folder in [root, &new] {
            fs::create_dir_all(folder.join("store")).unwrap();
            fs::create_dir_all(folder.join("index")).unwrap();
        }
        fs::write(root.join("tokens.toml"), "mine").unwrap();
        assert_eq!(all(root), [root.to_path_buf(), new.clone()]);
        activate(root, &new).unwrap();
        assert_eq!(active(root).unwrap(), new);
        activate(root, root).unwrap();
        activate(root, root).unwrap();
        assert_eq!(active(root).unwrap(), root);
        activate(root, &new).unwrap();
        remove(root, root).unwrap();
        assert_eq!(all(root), std::slice::from_ref(&new));
        assert!(root.join("tokens.toml").exists());
        remove(root, &new).unwrap();
        assert!(all(root).is_empty());
    }

    #[test]
    fn a_strange_file_leads_nowhere_else() {
        let root = tempfile::tempdir().unwrap();
        for text in ["", "..", "packs/", "packs/..", "packs/../..", "/etc", "packs/a/b"] {
            fs::write(root.path().join(ACTIVE), text).unwrap();
            let error = active(root.path()).unwrap_err().to_string();
            assert!(error.contains("does not name a state"), "{text}: {error}");
        }
    }
}
