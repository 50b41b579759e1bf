//! `facering models install`: a pack's files from an address, a folder or a zip archive, put in place when they are what
//! they should be.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use embed::{ModelPack, PackDescription, PackError};
use serde_json::json;

use super::print_result;
use crate::cli::Common;
use crate::commands::runtime;
use crate::config::Settings;
use crate::outcome::Misconfigured;

/// Largest file or archive downloaded; the largest pack known has 400 MB.
const MOST_BYTES: u64 = 4 << 30;

pub fn execute(
    common: &Common,
    settings: &Settings,
    name: &str,
    from: Option<&str>,
    accept_license: bool,
) -> anyhow::Result<()> {
    let known = embed::known_packs()?;
    let Some(description) = known.iter().find(|d| d.id.as_str() == name) else {
        if is_there(settings, name) {
            return Err(Misconfigured::usage(name, "is there already; nothing has to be installed"));
        }
        let names: Vec<&str> = known.iter().map(|d| d.id.as_str()).collect();
        let told = format!("is no pack that facering describes; there are {}", names.join(", "));
        return Err(Misconfigured::usage(name, told));
    };
    let accepted = accept_license || settings.models.accept_license;
    if description.non_commercial && !accepted {
        bail!(
            "the pack {name} has the licence \"{}\", which forbids commercial use; if you accept it, add --accept-license",
            description.license
        );
    }
    let packs =
        embed::folders(&settings.models).into_iter().next().context("no folder for packs is configured")?;
    let folder = packs.join(name);
    // Put together beside its final place, so that a failed installation leaves nothing that looks whole.
    let beside = packs.join(format!(".{name}.new"));
    if beside.exists() {
        fs::remove_dir_all(&beside).with_context(|| format!("{} cannot be removed", beside.display()))?;
    }
    fs::create_dir_all(&beside).with_context(|| format!("{} cannot be made", beside.display()))?;
    let installed = bring(description, from, &beside)
        .and_then(|()| {
            embed::install_pack(description, &beside, accepted).map_err(|error| refused(error, from))
        })
        .and_then(|_| replace(&beside, &folder));
    if let Err(error) = installed {
        drop(fs::remove_dir_all(&beside));
        return Err(error);
    }
    let pack = ModelPack::open(&folder, accepted)?;
    let value =
        json!({"pack": name, "folder": folder.display().to_string(), "license": pack.description().license});
    print_result(common, &value, || {
        format!("{name} is installed in {} (licence: {})", folder.display(), pack.description().license)
    })
}

/// Whether a pack of that name lies where packs are looked for.
fn is_there(settings: &Settings, name: &str) -> bool {
    let models = embed::ModelsConfig { pack: name.to_owned(), ..settings.models.clone() };
    embed::load_pack(&models).is_ok()
}

/// Why the files that were brought are not the pack, without the folder where they lay meanwhile.
fn refused(error: PackError, from: Option<&str>) -> anyhow::Error {
    match error {
        PackError::Hash { pack, path, expected, found } => anyhow!(
            "nothing was installed: the file {} from {} has the SHA-256 {found}, that of the pack {pack} has {expected}; \
             bring the published file",
            path.file_name().unwrap_or_default().display(),
            from.unwrap_or("the published address"),
        ),
        other => other.into(),
    }
}

fn replace(beside: &Path, folder: &Path) -> anyhow::Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("{} cannot be replaced", folder.display()))?;
    }
    fs::rename(beside, folder).with_context(|| format!("{} cannot be put in place", folder.display()))
}

/// Brings both files into `to` from where the user says, or from the addresses in the description.
fn bring(description: &PackDescription, from: Option<&str>, to: &Path) -> anyhow::Result<()> {
    let files = [
        (&description.detector.file, &description.detector.url),
        (&description.embedder.file, &description.embedder.url),
    ];
    match from {
        None => {
            let mut fetched = Fetched::new(to)?;
            for (file, url) in files {
                let url = url.as_deref().with_context(|| {
                    format!("no address is known for {file}; bring the files with --from FOLDER or --from archive.zip")
                })?;
                fetched.take(url, file, &to.join(file))?;
            }
            fetched.done()
        }
        Some(url) if url.starts_with("http://") || url.starts_with("https://") => {
            let mut fetched = Fetched::new(to)?;
            for (file, _) in files {
                // An address that ends like a folder has the two files in it.
                let url = if url.ends_with('/') { format!("{url}{file}") } else { url.to_owned() };
                fetched.take(&url, file, &to.join(file))?;
            }
            fetched.done()
        }
        Some(path) => {
            let from = Path::new(path);
            files.iter().try_for_each(|(file, url)| {
                if !from.is_dir() {
                    return unzip(from, file, &to.join(file));
                }
                // A file downloaded by hand has the name under which it is published.
                let published = url.as_deref().and_then(|url| url.rsplit('/').next()).unwrap_or(file);
                copy(from, &[file, published], &to.join(file))
            })
        }
    }
}

fn copy(folder: &Path, names: &[&str], target: &Path) -> anyhow::Result<()> {
    let source = names.iter().find_map(|name| find_in(folder, name)).with_context(|| {
        let file = names.first().unwrap_or(&"");
        format!(
            "{} has no file {file}, nor has a folder in it; name the folder that has it",
            folder.display()
        )
    })?;
    fs::copy(&source, target).with_context(|| format!("{} cannot be copied", source.display()))?;
    Ok(())
}

/// The file itself, or one folder deeper, as published archives unpack.
fn find_in(folder: &Path, file: &str) -> Option<PathBuf> {
    let direct = folder.join(file);
    if direct.is_file() {
        return Some(direct);
    }
    let deeper = fs::read_dir(folder).ok()?.filter_map(Result::ok).map(|entry| entry.path().join(file));
    deeper.into_iter().find(|path| path.is_file())
}

fn unzip(archive: &Path, file: &str, target: &Path) -> anyhow::Result<()> {
    let opened = File::open(archive).with_context(|| format!("{} cannot be opened", archive.display()))?;
    let mut zip = zip::ZipArchive::new(opened)
        .with_context(|| format!("{} is neither a folder nor a zip archive", archive.display()))?;
    let name = (0..zip.len())
        .filter_map(|at| Some(zip.name_for_index(at)?.ok()?.into_owned()))
        .find(|name| Path::new(name).file_name().is_some_and(|last| last == file))
        .with_context(|| format!("{} has no file {file}", archive.display()))?;
    let mut packed =
        zip.by_name(&name).with_context(|| format!("{name} in {} is damaged", archive.display()))?;
    let mut out = File::create(target).with_context(|| format!("{} cannot be written", target.display()))?;
    std::io::copy(&mut packed, &mut out)
        .with_context(|| format!("{name} in {} is damaged", archive.display()))?;
    Ok(())
}

/// Downloads, each address once.
struct Fetched {
    folder: PathBuf,
    files: Vec<(String, PathBuf)>,
    runtime: tokio::runtime::Runtime,
}

impl Fetched {
    fn new(beside: &Path) -> anyhow::Result<Self> {
        let folder = beside.join("download");
        fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        Ok(Self { folder, files: Vec::new(), runtime: runtime()? })
    }

    /// The file called `file` at this address, which is the file or a zip archive with it.
    fn take(&mut self, url: &str, file: &str, target: &Path) -> anyhow::Result<()> {
        let known = self.files.iter().find(|(known, _)| known == url).map(|(_, path)| path.clone());
        let path = match known {
            Some(path) => path,
            None => {
                let path = self.folder.join(self.files.len().to_string());
                tracing::info!("downloading {url}");
                let bytes = self.runtime.block_on(fetch::download(url, &path, MOST_BYTES))?;
                tracing::info!("{bytes} bytes downloaded");
                self.files.push((url.to_owned(), path.clone()));
                path
            }
        };
        if is_zip(&path) {
            return unzip(&path, file, target).with_context(|| format!("{url} is not the pack's archive"));
        }
        fs::copy(&path, target).with_context(|| format!("{} cannot be written", target.display()))?;
        Ok(())
    }

    fn done(self) -> anyhow::Result<()> {
        fs::remove_dir_all(&self.folder)
            .with_context(|| format!("{} cannot be removed", self.folder.display()))
    }
}

fn is_zip(path: &Path) -> bool {
    let mut start = [0; 4];
    File::open(path).is_ok_and(|mut file| std::io::Read::read_exact(&mut file, &mut start).is_ok())
        && start == *b"PK\x03\x04"
}
