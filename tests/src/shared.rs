//! The real portraits, models and golden values, which lie beside the checkout and are no part of the project.

use std::path::PathBuf;

/// The folder, or `None` after saying loudly that the test is skipped.
pub fn folder(test: &str) -> Option<PathBuf> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared");
    let folder = PathBuf::from(std::env::var("FACERING_SHARED").unwrap_or_else(|_| default.into()));
    if folder.join("portraits/portraits.tsv").exists() {
        return Some(folder);
    }
    eprintln!("SKIPPED {test}: no real portraits at {}; set FACERING_SHARED", folder.display());
    None
}

/// A portrait of a person.
pub struct Portrait {
    /// Who it shows.
    pub person: String,
    /// Which of the two collections it is from: `gpo` (colour) or `directory` (grey).
    pub collection: String,
    /// The JPEG.
    pub bytes: Vec<u8>,
}

/// All portraits, sorted by person and collection.
pub fn portraits(folder: &std::path::Path) -> anyhow::Result<Vec<Portrait>> {
    let mut portraits = Vec::new();
    for collection in ["gpo", "directory"] {
        for entry in std::fs::read_dir(folder.join("portraits").join(collection))? {
            let path = entry?.path();
            let person = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            portraits.push(Portrait { person, collection: collection.into(), bytes: std::fs::read(&path)? });
        }
    }
    portraits.sort_by(|a, b| (&a.person, &a.collection).cmp(&(&b.person, &b.collection)));
    Ok(portraits)
}
