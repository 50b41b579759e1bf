//! The demo's output folder. It is emptied of an earlier demo, and only of that.

use std::fs;
use std::path::Path;

use anyhow::{Context, bail};

/// What a demo leaves; nothing else is ever removed.
const LEFT: [&str; 6] =
    ["clusters", "state", "report.html", "truth.parquet", "dead_letters.jsonl", "thumbnail.key"];

/// Makes the folder, or removes what an earlier demo left in it.
///
/// A folder that holds anything else is refused, so that a slip of the finger deletes nothing.
pub fn prepare(out: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(out).with_context(|| format!("the folder {} cannot be made", out.display()))?;
    let told = || format!("the folder {} cannot be read", out.display());
    for entry in fs::read_dir(out).with_context(told)? {
        let name = entry.with_context(told)?.file_name();
        if !LEFT.iter().any(|left| name == *left) {
            bail!(
                "{} holds {}, which no demo has left there; name an empty folder with --out",
                out.display(),
                name.display()
            );
        }
    }
    for name in LEFT {
        let path = out.join(name);
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        match removed {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error)
                    .with_context(|| format!("{} of an earlier demo cannot be removed", path.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_demos_leavings_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("demo");
        prepare(&out).unwrap();
        fs::create_dir(out.join("clusters")).unwrap();
        fs::write(out.join("report.html"), "old").unwrap();
        prepare(&out).unwrap();
        assert_eq!(fs::read_dir(&out).unwrap().count(), 0);
        fs::write(out.join("thesis.txt"), "years of work").unwrap();
        fs::write(out.join("report.html"), "old").unwrap();
        let error = prepare(&out).unwrap_err().to_string();
        assert!(error.contains("thesis.txt"), "{error}");
        assert!(out.join("thesis.txt").exists() && out.join("report.html").exists());
    }
}
