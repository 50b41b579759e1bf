//! Which packs there are: those compiled in as descriptions, and those installed in the packs' folder.

use std::path::{Path, PathBuf};

use crate::pack::{ACCEPTED_FILE, DESCRIPTION_FILE, sha256_of};
use crate::{ModelPack, ModelsConfig, PackDescription, PackError};

/// Descriptions of packs that anybody can install. Their weights are not part of facering.
const KNOWN: &[&str] = &[
    include_str!("../packs/yunet-mobilefacenet.toml"),
    include_str!("../packs/buffalo_l.toml"),
    include_str!("../packs/buffalo_s.toml"),
    include_str!("../packs/antelopev2.toml"),
];

/// The packs that facering can install.
///
/// # Errors
/// [`PackError::Description`] only if facering was built from a broken description.
pub fn known_packs() -> Result<Vec<PackDescription>, PackError> {
    KNOWN.iter().map(|text| PackDescription::parse(text, Path::new("compiled-in pack"))).collect()
}

/// A pack as `facering models list` shows it.
#[derive(Debug)]
pub struct ListedPack {
    /// Its name.
    pub name: String,
    /// Its description; for an installed pack the installed one.
    pub description: Option<PackDescription>,
    /// Its folder, if installed.
    pub folder: Option<PathBuf>,
    /// Why it cannot be used as it is; `None` if it can, or is not installed.
    pub trouble: Option<PackError>,
}

/// All packs, installed or known, by name. Hashes the installed files.
///
/// # Errors
/// [`PackError::Description`] only if facering was built from a broken description.
pub fn list_packs(config: &ModelsConfig) -> Result<Vec<ListedPack>, PackError> {
    let mut packs: Vec<ListedPack> = Vec::new();
    for folder in folders(config) {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries.filter_map(Result::ok).filter(|e| e.path().join(DESCRIPTION_FILE).exists()) {
            let name = entry.file_name().to_string_lossy().into_owned();
            if packs.iter().any(|pack| pack.name == name) {
                continue;
            }
            let opened = ModelPack::open(&entry.path(), config.accept_license);
            let text = std::fs::read_to_string(entry.path().join(DESCRIPTION_FILE)).unwrap_or_default();
            packs.push(ListedPack {
                name,
                description: PackDescription::parse(&text, &entry.path()).ok(),
                folder: Some(entry.path()),
                trouble: opened.err(),
            });
        }
    }
    for description in known_packs()? {
        if !packs.iter().any(|pack| pack.name == description.id.as_str()) {
            let name = description.id.to_string();
            packs.push(ListedPack { name, description: Some(description), folder: None, trouble: None });
        }
    }
    packs.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(packs)
}

/// Finds, reads and checks the configured pack.
///
/// # Errors
/// [`PackError`] if it is unknown, or as [`ModelPack::open`].
pub fn load_pack(config: &ModelsConfig) -> Result<ModelPack, PackError> {
    let looked_in = folders(config);
    let unknown = || PackError::Unknown { pack: config.pack.clone(), looked_in: looked_in.clone() };
    if !crate::config::is_pack_name(&config.pack) {
        return Err(unknown());
    }
    let mut candidates = looked_in.iter().map(|folder| folder.join(&config.pack));
    let folder = candidates.find(|f| f.join(DESCRIPTION_FILE).exists()).ok_or_else(unknown)?;
    let pack = ModelPack::open(&folder, config.accept_license)?;
    if pack.id().as_str() != config.pack {
        let detail = format!("its id is {}, but its folder is called {}", pack.id(), config.pack);
        return Err(PackError::Description { path: folder.join(DESCRIPTION_FILE), detail });
    }
    Ok(pack)
}

/// Finishes an installation: the files lie in `folder`; hashes the description leaves out are taken from them, those it
/// gives are checked, and `pack.toml` is written.
///
/// # Errors
/// [`PackError`] if the licence is not accepted, a file is missing or has another hash, or `folder` cannot be written.
pub fn install_pack(
    description: &PackDescription,
    folder: &Path,
    accept_license: bool,
) -> Result<ModelPack, PackError> {
    let mut description = description.clone();
    if let Some(published) = &description.embedder.published {
        let path = folder.join(&description.embedder.file);
        if sha256_of(&description.id, &path)? == published.sha256 {
            let failed = |error: std::io::Error| PackError::File {
                pack: description.id.clone(),
                path: path.clone(),
                detail: error.to_string(),
            };
            // What the edits give is checked like any other file.
            if let Some(edited) = published.edited(&std::fs::read(&path).map_err(failed)?) {
                std::fs::write(&path, edited).map_err(failed)?;
            }
        }
    }
    for (file, sha256) in [
        (&description.detector.file, &mut description.detector.sha256),
        (&description.embedder.file, &mut description.embedder.sha256),
    ] {
        if sha256.is_none() {
            *sha256 = Some(sha256_of(&description.id, &folder.join(file))?);
        }
    }
    let pack = ModelPack::new(description, folder, accept_license)?;
    let path = folder.join(DESCRIPTION_FILE);
    let wrong = |detail: String| PackError::Description { path: path.clone(), detail };
    let text = toml::to_string(pack.description()).map_err(|error| wrong(error.to_string()))?;
    std::fs::write(&path, text).map_err(|error| wrong(error.to_string()))?;
    if pack.description().non_commercial {
        std::fs::write(folder.join(ACCEPTED_FILE), "").map_err(|error| wrong(error.to_string()))?;
    }
    Ok(pack)
}

/// Where packs may lie, in the order of search.
pub fn folders(config: &ModelsConfig) -> Vec<PathBuf> {
    if !config.path.as_os_str().is_empty() {
        return vec![config.path.clone()];
    }
    let mut folders = vec![PathBuf::from("models")];
    if let Some(beside) = std::env::current_exe().ok().as_deref().and_then(Path::parent) {
        folders.extend(beside.ancestors().map(|folder| folder.join("models")));
        folders.extend(beside.parent().map(|prefix| prefix.join("share/facering/models")));
    }
    folders
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> PackDescription {
        let mut description = known_packs().unwrap().remove(0);
        description.detector.sha256 = None;
        description.embedder.sha256 = None;
        description
    }

    fn config(root: &Path, pack: &str) -> ModelsConfig {
        ModelsConfig { pack: pack.into(), path: root.into(), accept_license: false }
    }

    #[test]
    fn the_known_packs_are_described_well() {
        let names: Vec<String> = known_packs().unwrap().iter().map(|pack| pack.id.to_string()).collect();
        assert_eq!(names, ["yunet-mobilefacenet", "buffalo_l", "buffalo_s", "antelopev2"]);
        for pack in known_packs().unwrap() {
            let text = toml::to_string(&pack).unwrap();
            assert_eq!(PackDescription::parse(&text, Path::new("x")).unwrap(), pack);
        }
    }

    #[test]
    fn an_installed_pack_is_found_and_watched() {
        let root = tempfile::tempdir().unwrap();
        let description = small();
        let folder = root.path().join(description.id.as_str());
        std::fs::create_dir(&folder).unwrap();
        let missing = install_pack(&description, &folder, false).unwrap_err().to_string();
        assert!(missing.contains("cannot be read"), "{missing}");
        std::fs::write(folder.join(&description.detector.file), b"one").unwrap();
        std::fs::write(folder.join(&description.embedder.file), b"two").unwrap();
        install_pack(&description, &folder, false).unwrap();
        let config = config(root.path(), description.id.as_str());
        assert_eq!(load_pack(&config).unwrap().dimension(), 128);
        assert!(list_packs(&config).unwrap().iter().any(|p| p.folder.is_some() && p.trouble.is_none()));

        std::fs::write(folder.join(&description.embedder.file), b"tampered").unwrap();
        assert!(matches!(load_pack(&config), Err(PackError::Hash { .. })));
        std::fs::remove_file(folder.join(&description.embedder.file)).unwrap();
        assert!(matches!(load_pack(&config), Err(PackError::File { .. })));
        let listed = list_packs(&config).unwrap();
        assert!(listed.iter().any(|p| p.trouble.is_some()) && listed.len() == 4);
    }

    #[test]
    fn a_published_file_is_turned_into_the_packs() {
        let root = tempfile::tempdir().unwrap();
        let mut description = small();
        let hash = |bytes: &[u8]| hex::encode(<sha2::Sha256 as sha2::Digest>::digest(bytes));
        let edit = |at, old: &str, new: &str| crate::Edit { at, old: old.into(), new: new.into() };
        description.embedder.published = Some(crate::PublishedFile {
            sha256: hash(b"abcdef"),
            edits: vec![edit(1, "62", "78797a"), edit(4, "6566", "")],
        });
        description.embedder.sha256 = Some(hash(b"axyzcd"));
        let file = root.path().join(&description.embedder.file);
        std::fs::write(root.path().join(&description.detector.file), b"one").unwrap();
        for brought in [b"abcdef", b"axyzcd"] {
            std::fs::write(&file, brought).unwrap();
            install_pack(&description, root.path(), false).unwrap();
            assert_eq!(
                std::fs::read(&file).unwrap(),
                b"axyzcd",
                "the published file and the pack's are both taken"
            );
        }
        std::fs::write(&file, b"abcdeg").unwrap();
        assert!(matches!(install_pack(&description, root.path(), false), Err(PackError::Hash { .. })));
        let published = description.embedder.published.unwrap();
        assert_eq!(published.edited(b"ab"), None, "too short");
        assert_eq!(published.edited(b"aXcdef"), None, "other bytes");
    }

    #[test]
    fn an_unknown_pack_is_one_clear_sentence() {
        let root = tempfile::tempdir().unwrap();
        for name in ["nothing", "../etc"] {
            let error = load_pack(&config(root.path(), name)).unwrap_err().to_string();
            assert!(error.contains("was not found") && error.contains("models list"), "{error}");
        }
    }

    #[test]
    fn a_licence_has_to_be_accepted_once() {
        let root = tempfile::tempdir().unwrap();
        let mut description = small();
        description.non_commercial = true;
        let folder = root.path().join(description.id.as_str());
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join(&description.detector.file), b"one").unwrap();
        std::fs::write(folder.join(&description.embedder.file), b"two").unwrap();
        assert!(matches!(install_pack(&description, &folder, false), Err(PackError::License { .. })));
        install_pack(&description, &folder, true).unwrap();
        assert!(load_pack(&config(root.path(), description.id.as_str())).is_ok());
        std::fs::remove_file(folder.join(ACCEPTED_FILE)).unwrap();
        let refused = load_pack(&config(root.path(), description.id.as_str())).unwrap_err();
        assert!(matches!(refused, PackError::License { .. }));
    }

    #[test]
    fn a_wrong_description_names_everything_wrong() {
        let mut description = small();
        description.detector.input_size = 100;
        description.embedder.input_size = 128;
        description.detector.file = "../detector.onnx".into();
        description.calibration.impostor_tail = vec![[0.5, 0.1], [0.4, 0.2]];
        let text = toml::to_string(&description).unwrap();
        let error = PackDescription::parse(&text, Path::new("pack.toml")).unwrap_err().to_string();
        for key in ["detector.input_size", "embedder.input_size", "detector.file", "impostor_tail"] {
            assert!(error.contains(key), "{error}");
        }
        let extra = format!("surprise = 1\n{}", toml::to_string(&small()).unwrap());
        assert!(PackDescription::parse(&extra, Path::new("pack.toml")).is_err());
    }
}
