//! Which files a path means.

use std::fs::File;
use std::path::{Component, Path, PathBuf};

use super::remote::{self, Opened, RemoteFile};
use crate::{ParquetConfig, SourceError};

/// A file of the source.
#[derive(Debug, Clone)]
pub(super) struct SourceFile {
    /// Relative to the source's folder, with `/`; the file's own name if the source is a single file.
    pub(super) name: String,
    pub(super) place: Place,
}

/// Where a file lies.
#[derive(Debug, Clone)]
pub(super) enum Place {
    Local(PathBuf),
    Remote(RemoteFile),
}

impl SourceFile {
    /// Opens it for reading.
    ///
    /// # Errors
    /// [`SourceError::Damaged`] if it cannot be opened.
    pub(super) fn open(&self) -> Result<Opened, SourceError> {
        match &self.place {
            Place::Local(path) => File::open(path).map(Opened::Local).map_err(|e| self.damaged(&e)),
            Place::Remote(file) => Ok(Opened::Remote(file.clone())),
        }
    }

    /// Why it cannot be read: what the object store last refused, or else what the reader of Parquet said.
    pub(super) fn damaged(&self, error: &dyn std::fmt::Display) -> SourceError {
        let file = self.name.clone();
        match &self.place {
            Place::Remote(RemoteFile { trouble, .. }) if trouble.get().is_some() => {
                SourceError::Store { file, detail: trouble.get().cloned().unwrap_or_default() }
            }
            _ => SourceError::Damaged { file, detail: error.to_string() },
        }
    }
}

/// Finds the files that the source's path means, sorted by name: a file, a folder searched for `*.parquet`, or a pattern;
/// on this machine or, as a URL, in an object store. Names that begin with `.` or `_` are left out, since writers keep
/// unfinished files under such names.
///
/// # Errors
/// [`SourceError::Path`] if there is none, or something cannot be read.
pub(super) fn find(config: &ParquetConfig) -> Result<Vec<SourceFile>, SourceError> {
    let path = config.path.as_path();
    let text = path.to_string_lossy();
    let failed = |detail: String| SourceError::Path { path: text.to_string(), detail };
    let mut files = if text.contains("://") {
        remote::find(&text, &config.store).map_err(failed)?
    } else {
        find_local(path).map_err(failed)?
    };
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

fn find_local(path: &Path) -> Result<Vec<SourceFile>, String> {
    let mut files = Vec::new();
    if let Ok(meta) = std::fs::metadata(path) {
        if meta.is_file() {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            return Ok(vec![SourceFile { name, place: Place::Local(path.into()) }]);
        }
        walk(path, "", &mut files).map_err(|e| e.to_string())?;
        files.retain(|file| file.name.ends_with(".parquet"));
        if files.is_empty() {
            return Err("the folder holds no file named *.parquet".into());
        }
    } else if path.to_string_lossy().contains(['*', '?']) {
        let (base, pattern) = split(path);
        if !base.is_dir() {
            return Err(format!("{} is no folder", base.display()));
        }
        walk(&base, "", &mut files).map_err(|e| e.to_string())?;
        let pattern: Vec<&str> = pattern.iter().map(String::as_str).collect();
        files.retain(|file| matches(&pattern, &file.name.split('/').collect::<Vec<_>>()));
        if files.is_empty() {
            return Err("no file fits the pattern".into());
        }
    } else {
        return Err("there is no such file or folder".into());
    }
    Ok(files)
}

/// The folder before the first wildcard, and the parts from there on.
fn split(path: &Path) -> (PathBuf, Vec<String>) {
    let mut base = PathBuf::new();
    let mut pattern = Vec::new();
    for component in path.components() {
        let text = component.as_os_str().to_string_lossy();
        let wild = matches!(component, Component::Normal(_)) && text.contains(['*', '?']);
        if wild || !pattern.is_empty() {
            pattern.push(text.into_owned());
        } else {
            base.push(component);
        }
    }
    if base.as_os_str().is_empty() {
        base.push(".");
    }
    (base, pattern)
}

/// Whether the parts of a name fit the parts of a pattern; `**` stands for any number of folders.
pub(super) fn matches(pattern: &[&str], name: &[&str]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some((&"**", rest)), _) if matches(rest, name) => true,
        (Some((&"**", _)), Some((_, deeper))) => matches(pattern, deeper),
        (Some((part, rest)), Some((first, deeper))) => {
            fits(part.as_bytes(), first.as_bytes()) && matches(rest, deeper)
        }
        _ => false,
    }
}

/// Whether a name fits a pattern with `*` and `?`; linear in the name for each star.
fn fits(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(c) if *c == b'?' || *c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    p = at + 1;
                    n = from + 1;
                    star = Some((at, n));
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

/// All files below a folder. Links to folders are not followed, so that there is no way in circles.
fn walk(folder: &Path, prefix: &str, files: &mut Vec<SourceFile>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let own = entry.file_name().to_string_lossy().into_owned();
        if own.starts_with(['.', '_']) {
            continue;
        }
        let name = if prefix.is_empty() { own } else { format!("{prefix}/{own}") };
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            walk(&path, &name, files)?;
        } else if std::fs::metadata(&path)?.is_file() {
            files.push(SourceFile { name, place: Place::Local(path) });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: &Path) -> ParquetConfig {
        ParquetConfig { path: path.into(), ..ParquetConfig::default() }
    }

    fn names(path: &Path) -> Vec<String> {
        find(&at(path)).unwrap().into_iter().map(|f| f.name).collect()
    }

    #[test]
    fn files_folders_and_patterns() {
        let root = tempfile::tempdir().unwrap();
        for name in [
            "b.parquet",
            "a.parquet",
            "x/c.parquet",
            "x/y/d.parquet",
            "x/_tmp/e.parquet",
            ".f.parquet",
            "g.csv",
        ] {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, b"").unwrap();
        }
        let root = root.path();
        assert_eq!(names(root), ["a.parquet", "b.parquet", "x/c.parquet", "x/y/d.parquet"]);
        assert_eq!(names(&root.join("x/c.parquet")), ["c.parquet"]);
        assert_eq!(names(&root.join("?.parquet")), ["a.parquet", "b.parquet"]);
        assert_eq!(names(&root.join("**/*.parquet")), names(root));
        assert_eq!(
            names(&root.join("x/*/*.parquet")),
            ["y/d.parquet"],
            "relative to the first wildcard's folder"
        );
        for bad in ["none", "none/*.parquet", "*.orc"] {
            assert!(find(&at(&root.join(bad))).is_err(), "{bad}");
        }
        assert!(
            find(&at(&root.join("x/_tmp/..").join("_tmp"))).is_ok(),
            "an unfinished folder can still be named itself"
        );
    }

    #[test]
    fn stars_fit_any_run() {
        for (pattern, name, fit) in [
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c", "abcd", false),
            ("*a*a*", "banana", true),
            ("?", "", false),
        ] {
            assert_eq!(fits(pattern.as_bytes(), name.as_bytes()), fit, "{pattern} {name}");
        }
    }
}
