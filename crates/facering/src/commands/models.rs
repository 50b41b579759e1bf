//! `facering models`: packs that are known and installed, brought in, verified, measured.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use embed::{Embedder, ListedPack, ModelPack, PackDescription};
use records::Pixels;
use serde_json::json;
use simulate::portrait::{Nuisance, PortraitIdentity, render};

use super::print_result;
use crate::cli::{Common, ModelsAction};
use crate::config::Settings;
use crate::outcome::Misconfigured;

/// Pictures that `models bench` goes through, and their size.
const BENCH_PICTURES: u64 = 32;
const BENCH_SIDE: u32 = 320;

pub fn execute(common: &Common, action: &ModelsAction) -> anyhow::Result<()> {
    let mut settings = Settings::load(common, None)?;
    let mut choose = |pack: &Option<String>| {
        if let Some(pack) = pack {
            settings.models.pack.clone_from(pack);
        }
    };
    match action {
        ModelsAction::List => list(common, &settings),
        ModelsAction::Install { pack, from, accept_license } => {
            install(common, &settings, pack, from, *accept_license)
        }
        ModelsAction::Verify { pack } => {
            choose(pack);
            verify(common, &settings)
        }
        ModelsAction::Bench { pack } => {
            choose(pack);
            bench(common, &settings)
        }
    }
}

fn list(common: &Common, settings: &Settings) -> anyhow::Result<()> {
    let packs = embed::list_packs(&settings.models)?;
    let value: Vec<_> = packs
        .iter()
        .map(|pack| {
            json!({
                "pack": pack.name,
                "installed": pack.folder.as_ref().map(|folder| folder.display().to_string()),
                "trouble": pack.trouble.as_ref().map(ToString::to_string),
                "license": pack.description.as_ref().map(|d| d.license.clone()),
                "non_commercial": pack.description.as_ref().map(|d| d.non_commercial),
                "dimension": pack.description.as_ref().map(|d| d.dimension),
                "about": pack.description.as_ref().map(|d| d.about.clone()),
            })
        })
        .collect();
    print_result(common, &value, || packs.iter().map(line).collect::<Vec<_>>().join("\n"))
}

fn line(pack: &ListedPack) -> String {
    let state = match (&pack.folder, &pack.trouble) {
        (None, _) => "not installed".to_owned(),
        (Some(folder), None) => format!("installed in {}", folder.display()),
        (Some(_), Some(trouble)) => format!("unusable: {trouble}"),
    };
    let about = pack.description.as_ref().map_or_else(String::new, |description| {
        let terms = if description.non_commercial { ", non-commercial use only" } else { "" };
        format!("\n    {}\n    licence: {}{terms}", description.about, description.license)
    });
    format!("{:<20} {state}{about}", pack.name)
}

/// Copies a pack's two files out of a folder or a zip archive, checks them, and writes their description beside them.
fn install(
    common: &Common,
    settings: &Settings,
    name: &str,
    from: &Path,
    accept_license: bool,
) -> anyhow::Result<()> {
    let known = embed::known_packs()?;
    let Some(description) = known.iter().find(|d| d.id.as_str() == name) else {
        let names: Vec<&str> = known.iter().map(|d| d.id.as_str()).collect();
        let told = format!("is no pack that facering describes; there are {}", names.join(", "));
        return Err(Misconfigured::usage(name, told));
    };
    if description.non_commercial && !accept_license {
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
        std::fs::remove_dir_all(&beside)
            .with_context(|| format!("{} cannot be removed", beside.display()))?;
    }
    std::fs::create_dir_all(&beside).with_context(|| format!("{} cannot be made", beside.display()))?;
    let installed = bring(description, from, &beside)
        .and_then(|()| embed::install_pack(description, &beside, accept_license).map_err(Into::into))
        .and_then(|_| replace(&beside, &folder));
    if let Err(error) = installed {
        drop(std::fs::remove_dir_all(&beside));
        return Err(error);
    }
    let pack = ModelPack::open(&folder, accept_license)?;
    let value =
        json!({"pack": name, "folder": folder.display().to_string(), "license": pack.description().license});
    print_result(common, &value, || {
        format!("{name} is installed in {} (licence: {})", folder.display(), pack.description().license)
    })
}

fn replace(beside: &Path, folder: &Path) -> anyhow::Result<()> {
    if folder.exists() {
        std::fs::remove_dir_all(folder)
            .with_context(|| format!("{} cannot be replaced", folder.display()))?;
    }
    std::fs::rename(beside, folder).with_context(|| format!("{} cannot be put in place", folder.display()))
}

fn bring(description: &PackDescription, from: &Path, to: &Path) -> anyhow::Result<()> {
    for file in [&description.detector.file, &description.embedder.file] {
        let target = to.join(file);
        if from.is_dir() {
            let source = find_in(from, file).with_context(|| {
                format!("{} has no file {file}, which the pack {} needs", from.display(), description.id)
            })?;
            std::fs::copy(&source, &target)
                .with_context(|| format!("{} cannot be copied", source.display()))?;
        } else {
            unzip(from, file, &target)?;
        }
    }
    Ok(())
}

/// The file itself, or one folder deeper, as published archives unpack.
fn find_in(folder: &Path, file: &str) -> Option<PathBuf> {
    let direct = folder.join(file);
    if direct.is_file() {
        return Some(direct);
    }
    let deeper = std::fs::read_dir(folder).ok()?.filter_map(Result::ok).map(|entry| entry.path().join(file));
    deeper.into_iter().find(|path| path.is_file())
}

fn unzip(archive: &Path, file: &str, target: &Path) -> anyhow::Result<()> {
    let opened =
        std::fs::File::open(archive).with_context(|| format!("{} cannot be opened", archive.display()))?;
    let mut zip = zip::ZipArchive::new(opened)
        .with_context(|| format!("{} is neither a folder nor a zip archive", archive.display()))?;
    let name = (0..zip.len())
        .filter_map(|at| Some(zip.name_for_index(at)?.ok()?.into_owned()))
        .find(|name| Path::new(name).file_name().is_some_and(|last| last == file))
        .with_context(|| format!("{} has no file {file}", archive.display()))?;
    let mut packed =
        zip.by_name(&name).with_context(|| format!("{name} in {} is damaged", archive.display()))?;
    let mut out =
        std::fs::File::create(target).with_context(|| format!("{} cannot be written", target.display()))?;
    std::io::copy(&mut packed, &mut out)
        .with_context(|| format!("{name} in {} is damaged", archive.display()))?;
    Ok(())
}

fn verify(common: &Common, settings: &Settings) -> anyhow::Result<()> {
    let pack = embed::load_pack(&settings.models)?;
    let runtime = inference::Runtime::start(&settings.inference)?;
    for check in embed::verify(&runtime, &pack) {
        if let Some(trouble) = check.trouble {
            return Err(trouble.into());
        }
        tracing::info!("{}", check.name);
    }
    print_result(common, &json!({"pack": pack.id(), "sound": true}), || format!("{} is sound", pack.id()))
}

fn bench(common: &Common, settings: &Settings) -> anyhow::Result<()> {
    let pack = embed::load_pack(&settings.models)?;
    let runtime = inference::Runtime::start(&settings.inference)?;
    let embedder = Embedder::new(&runtime, &pack, settings.embed.clone())?;
    let mut pictures = Vec::new();
    for seed in 0..BENCH_PICTURES {
        let drawn = render(&PortraitIdentity::from_seed(seed), &Nuisance::from_seed(seed), BENCH_SIDE)?;
        pictures.push(Pixels { width: drawn.width, height: drawn.height, rgb: Bytes::from(drawn.pixels) });
    }
    let rows = embedder.bench(&pictures, &[1, 8, 32, 128], Duration::from_secs(2))?;
    let value = json!({"pack": pack.id(), "providers": settings.inference.providers, "rows": rows});
    print_result(common, &value, || {
        let mut lines = vec!["batch  pictures/s  faces/s  time".to_owned()];
        for row in &rows {
            let shares: Vec<String> =
                row.shares.iter().map(|(part, share)| format!("{part} {:.0}%", share * 100.0)).collect();
            lines.push(format!(
                "{:>5}  {:>10.1}  {:>7.1}  {}",
                row.batch,
                row.pictures_per_second,
                row.faces_per_second,
                shares.join(", ")
            ));
        }
        lines.join("\n")
    })
}
