//! `facering simulate`: a labelled synthetic population, as embeddings or as pictures.

use simulate::{FaceOptions, Options, PictureOptions, Population, Space, write_faces, write_pictures};

use super::print_result;
use crate::cli::{Common, SimulateArgs};
use crate::outcome::Misconfigured;

pub fn execute(common: &Common, arguments: &SimulateArgs) -> anyhow::Result<()> {
    let mut options = Options { accounts: arguments.accounts, seed: arguments.seed, ..Options::default() };
    if let Some(bots) = arguments.bots {
        options.bots = bots;
    }
    if let Some((key, problem)) = options.problems().into_iter().next() {
        return Err(Misconfigured::usage(&format!("--{key}"), problem));
    }
    let population = Population::new(options)?;
    let written = if arguments.images {
        let pictures =
            PictureOptions { url_prefix: arguments.url_prefix.clone(), ..PictureOptions::default() };
        if let Some((key, problem)) = pictures.problems().into_iter().next() {
            return Err(Misconfigured::usage(&format!("--{}", key.replace('_', "-")), problem));
        }
        write_pictures(&population, &pictures, &arguments.out)?
    } else {
        let space = if arguments.dimension == "128" { Space::MobileFaceNet128 } else { Space::ArcFace512 };
        let hashes = !arguments.no_hashes;
        let faces = FaceOptions { space, sha256: hashes, pdq: hashes, ..FaceOptions::default() };
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
