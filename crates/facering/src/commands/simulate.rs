//! `facering simulate`: a labelled synthetic population, as embeddings or as pictures.

use simulate::{FaceOptions, Options, PictureOptions, Population, Space, write_faces, write_pictures};

use super::print_result;
use crate::cli::{Common, SimulateArgs};
use crate::outcome::Misconfigured;

pub fn execute(common: &Common, arguments: &SimulateArgs) -> anyhow::Result<()> {
    let mut options = Options { accounts: arguments.accounts, seed: arguments.seed, ..Options::default() };
    for pair in &arguments.with {
        options = with(options, pair)?;
    }
    if let Some(bots) = arguments.bots {
        options.bots = bots;
    }
    if let Some((key, problem)) = options.problems().into_iter().next() {
        return Err(Misconfigured::usage(&format!("--{key}"), problem));
    }
    let population = Population::new(options)?;
    let written = if arguments.images {
        let pictures = PictureOptions {
            url_prefix: arguments.url_prefix.clone(),
            inline: arguments.inline,
            ..PictureOptions::default()
        };
        if let Some((key, problem)) = pictures.problems().into_iter().next() {
            return Err(Misconfigured::usage(&format!("--{}", key.replace('_', "-")), problem));
        }
        write_pictures(&population, &pictures, &arguments.out)?
    } else {
        let space = if arguments.dimension == "128" { Space::MobileFaceNet128 } else { Space::ArcFace512 };
        let hashes = !arguments.no_hashes;
        let profiles = !arguments.no_profiles;
        let faces = FaceOptions { space, sha256: hashes, pdq: hashes, profiles, ..FaceOptions::default() };
        write_faces(&population, &faces, &arguments.out)?
    };
    print_result(common, &written, || {
        let files: Vec<String> = written.files.iter().map(|file| format!("  {}", file.display())).collect();
        format!(
            "{} accounts ({} bots in {} rings, {} victims), {} photos, {} faces:\n{}",
            written.accounts,
            written.bots,
            written.rings,
            written.victims,
            written.photos,
            written.faces,
            files.join("\n")
        )
    })
}

/// The options with one of them set; `rings.slow` names a field of a field.
fn with(options: Options, pair: &str) -> anyhow::Result<Options> {
    let Some((key, text)) = pair.split_once('=') else {
        return Err(Misconfigured::usage("--with", format!("`{pair}` must have the form key=value")));
    };
    let mut all = serde_json::to_value(&options)?;
    let path = format!("/{}", key.trim().replace('.', "/"));
    let Some(slot) = all.pointer_mut(&path) else {
        let known = names(&serde_json::to_value(&options)?, "");
        return Err(Misconfigured::usage(
            "--with",
            format!("`{key}` is no option of a population; known are {}", known.join(", ")),
        ));
    };
    // Numbers are numbers, everything else is text, as in a configuration file.
    *slot = serde_json::from_str(text.trim()).unwrap_or_else(|_| text.trim().into());
    serde_json::from_value(all)
        .map_err(|error| Misconfigured::usage(&format!("--with {key}"), error.to_string()))
}

/// Every option by its full name.
fn names(value: &serde_json::Value, before: &str) -> Vec<String> {
    let Some(fields) = value.as_object() else { return vec![before.to_owned()] };
    let name = |key: &str| if before.is_empty() { key.to_owned() } else { format!("{before}.{key}") };
    fields.iter().flat_map(|(key, field)| names(field, &name(key))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_set_by_name_and_typos_are_told() {
        let set = |pair| with(Options::default(), pair);
        assert_eq!(set("smallest_ring=4").unwrap().smallest_ring, 4);
        assert_eq!(set("rings.slow=0.5").unwrap().rings.slow, 0.5);
        for wrong in ["rings.slwo=1", "smallest_ring", "smallest_ring=many", "bots=-"] {
            assert!(set(wrong).is_err(), "{wrong}");
        }
        let text = format!("{:#}", set("ring.slow=1").unwrap_err());
        assert!(text.contains("rings.slow") && text.contains("honest.twin"), "{text}");
    }
}
