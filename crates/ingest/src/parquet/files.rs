//! Which files a path means.

use std::path::{Component, Path, PathBuf};

use crate::SourceError;

/// A file of the source.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SourceFile {
    /// Relative to the source's folder, with `/`; the file's own name if the source is a single file.
    pub(super) name: String,
    pub(super) path: PathBuf,
}

/// Finds the files that `path` means, sorted by name: a file, a folder searched for `*.parquet`, or a pattern. Names
/// that begin with `.` or `_` are left out, since writers keep unfinished files under such names.
///
/// # Errors
/// [`SourceError::Path`] if there is none, or something cannot be read.
pub(super) fn find(path: &Path) -> Result<Vec<SourceFile>, SourceError> {
    let failed = |detail: String| SourceError::Path { path: path.display().to_string(), detail };
    let text = path.to_string_lossy();
    if text.contains("://") {
        return Err(failed("object stores are not read directly; mount or copy the files".into()));
    }
    let mut files = Vec::new();
    if let Ok(meta) = std::fs::metadata(path) {
        if meta.is_file() {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            return Ok(vec![SourceFile { name, path: path.into() }]);
        }
        walk(path, "", &mut files).map_err(|e| failed(e.to_string()))?;
        files.retain(|file| file.name.ends_with(".parquet"));
        if files.is_empty() {
            return Err(failed("the folder holds no file named *.parquet".into()));
        }
    } else if text.contains(['*', '?']) {
        let (base, pattern) = split(path);
        if !base.is_dir() {
            return Err(failed(format!("{} is no folder", base.display())));
        }
        walk(&base, "", &mut files).map_err(|e| failed(e.to_string()))?;
        let pattern: Vec<&str> = pattern.iter().map(String::as_str).collect();
        files.retain(|file| matches(&pattern, &file.name.split('/').collect::<Vec<_>>()));
        if files.is_empty() {
            return Err(failed("no file fits the pattern".into()));
        }
    } else {
        return Err(failed("there is no such file or folder".into()));
    }
    files.sort();
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
fn matches(pattern: &[&str], name: &[&str]) -> bool {
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
            files.push(SourceFile { name, path });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(path: &Path) -> Vec<String> {
        find(path).unwrap().into_iter().map(|f| f.name).collect()
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
            assert!(find(&root.join(bad)).is_err(), "{bad}");
        }
        assert!(find(Path::new("s3://bucket/x")).unwrap_err().to_string().contains("object stores"));
        assert!(
            find(&root.join("x/_tmp/..").join("_tmp")).is_ok(),
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
