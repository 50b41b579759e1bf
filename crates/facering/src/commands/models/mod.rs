//! `facering models`: packs that are known and installed, brought in, verified, measured.

mod bench;
mod install;
mod switch;

use embed::ListedPack;
use serde_json::json;

use super::print_result;
use crate::cli::{Common, ModelsAction};
use crate::config::Settings;

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
            install::execute(common, &settings, pack, from.as_deref(), *accept_license)
        }
        ModelsAction::Verify { pack } => {
            choose(pack);
            verify(common, &settings)
        }
        ModelsAction::Switch { pack, anyway, remove_old } => {
            switch::execute(common, settings, pack, *anyway, *remove_old)
        }
        ModelsAction::Bench(arguments) => {
            choose(&arguments.pack);
            bench::execute(common, &settings, arguments)
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
