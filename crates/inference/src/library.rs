//! Where ONNX Runtime's library lies.
//!
//! Search order: the configuration, `ORT_DYLIB_PATH`, then `.deps/onnxruntime/lib` in the program's folder and every
//! folder above it, then `../lib/facering` beside the program. What is named must be there; what is only searched may be
//! missing.

use std::path::{Path, PathBuf};

use crate::StartError;

const FILE: &str = "libonnxruntime.so";
const VARIABLE: &str = "ORT_DYLIB_PATH";

/// Finds the library for this process.
///
/// # Errors
/// [`StartError::LibraryMissing`] if a named one is not there, [`StartError::LibraryNotFound`] if none is anywhere.
pub fn find(configured: &Path) -> Result<PathBuf, StartError> {
    let variable = std::env::var_os(VARIABLE).map(PathBuf::from);
    let program = std::env::current_exe().ok();
    find_among(configured, variable.as_deref(), program.as_deref())
}

fn find_among(
    configured: &Path,
    variable: Option<&Path>,
    program: Option<&Path>,
) -> Result<PathBuf, StartError> {
    let named =
        [("`inference.library`", Some(configured)), ("the environment variable ORT_DYLIB_PATH", variable)];
    for (named_by, path) in named {
        if let Some(path) = path.filter(|path| !path.as_os_str().is_empty()) {
            return in_file_or_folder(path)
                .ok_or_else(|| StartError::LibraryMissing { named_by, path: path.to_path_buf() });
        }
    }
    let looked_in = folders(program);
    match looked_in.iter().find_map(|folder| newest_in(folder)) {
        Some(library) => Ok(library),
        None => Err(StartError::LibraryNotFound { looked_in }),
    }
}

fn in_file_or_folder(path: &Path) -> Option<PathBuf> {
    let found = if path.is_dir() { newest_in(path)? } else { path.to_path_buf() };
    // The loader takes a relative path as relative to the program, users as relative to where they stand.
    found.canonicalize().ok()
}

fn folders(program: Option<&Path>) -> Vec<PathBuf> {
    let Some(beside) = program.and_then(Path::parent) else { return Vec::new() };
    let above = beside.ancestors().map(|folder| folder.join(".deps/onnxruntime/lib"));
    let installed = beside.parent().map(|prefix| prefix.join("lib/facering"));
    above.chain(installed).collect()
}

/// The library with the highest version in a folder; one without a version counts as the lowest.
fn newest_in(folder: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?;
    entries
        .filter_map(Result::ok)
        .filter_map(|entry| Some((version(entry.file_name().to_str()?)?, entry.path())))
        .max()
        .map(|(_, path)| path)
}

/// The numbers after `libonnxruntime.so`; `None` if the name is that of another file.
fn version(name: &str) -> Option<Vec<u32>> {
    let rest = name.strip_prefix(FILE)?;
    if rest.is_empty() {
        return Some(Vec::new());
    }
    rest.strip_prefix('.')?.split('.').map(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(path: &Path) -> PathBuf {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, b"x").unwrap();
        path.canonicalize().unwrap()
    }

    #[test]
    fn found_above_the_program_with_the_highest_version() {
        let root = tempfile::tempdir().unwrap();
        let lib = root.path().join(".deps/onnxruntime/lib");
        touch(&lib.join("libonnxruntime.so.1.9.0"));
        let newest = touch(&lib.join("libonnxruntime.so.1.31.1"));
        touch(&lib.join("libonnxruntime.so.1.99.0.debug"));
        touch(&lib.join("libonnxruntime_providers_shared.so"));
        let program = touch(&root.path().join("target/release/deps/facering"));
        let found = find_among(Path::new(""), None, Some(&program)).unwrap();
        assert_eq!(found.canonicalize().unwrap(), newest);
    }

    #[test]
    fn found_beside_an_installed_program() {
        let root = tempfile::tempdir().unwrap();
        let installed = touch(&root.path().join("lib/facering/libonnxruntime.so"));
        let program = touch(&root.path().join("bin/facering"));
        let found = find_among(Path::new(""), None, Some(&program)).unwrap();
        assert_eq!(found.canonicalize().unwrap(), installed);
    }

    #[test]
    fn what_is_named_goes_first_and_must_be_there() {
        let root = tempfile::tempdir().unwrap();
        let named = touch(&root.path().join("a/libonnxruntime.so.1.31.1"));
        let variable = touch(&root.path().join("b/libonnxruntime.so"));
        assert_eq!(find_among(&root.path().join("a"), Some(&variable), None).unwrap(), named);
        assert_eq!(find_among(Path::new(""), Some(&variable), None).unwrap(), variable);
        let error = find_among(&root.path().join("none"), Some(&variable), None).unwrap_err().to_string();
        assert!(error.starts_with("`inference.library` names") && error.contains("make setup"), "{error}");
        let error = find_among(Path::new(""), Some(Path::new("gone.so")), None).unwrap_err().to_string();
        assert!(error.contains("ORT_DYLIB_PATH"), "{error}");
    }

    #[test]
    fn says_where_it_looked() {
        let root = tempfile::tempdir().unwrap();
        let program = touch(&root.path().join("bin/facering"));
        let error = find_among(Path::new(""), None, Some(&program)).unwrap_err().to_string();
        for part in [".deps/onnxruntime/lib", "lib/facering", "make setup", "inference.library"] {
            assert!(error.contains(part), "{error}");
        }
    }
}
