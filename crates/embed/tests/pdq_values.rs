//! PDQ of real portraits held against what the authors' own code gives for them.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

mod common;

use common::toys::{self, Shape, ToyEmbedder};
use embed::{EmbedConfig, Embedder};
use records::Pdq;

fn pdq(text: &str, quality: u8) -> Pdq {
    let mut bits = [0; 32];
    hex::decode_to_slice(text, &mut bits).unwrap();
    Pdq { bits, quality }
}

#[test]
fn portraits_have_the_authors_hashes() {
    let (Some(shared), Some(runtime)) = (common::shared(), common::runtime()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let shape = Shape { any_batch: true, axis: true, mixes: false };
    let pack = toys::pack(folder.path(), shape, ToyEmbedder::Plain, |_| {});
    let config = EmbedConfig { retry_with_border: false, ..EmbedConfig::default() };
    let embedder = Embedder::new(&runtime, &pack, config).unwrap();
    let (mut rows, mut worst, mut sum, mut worst_quality) = (0, 0, 0, 0);
    for row in include_str!("data/pdq.tsv").lines().filter(|line| !line.starts_with('#')) {
        let columns: Vec<&str> = row.split('\t').collect();
        let &[name, quality, plain, mirrored] = columns.as_slice() else { panic!("{row}") };
        let picture = common::decode(&shared.join(name)).unwrap();
        let content = embedder.embed_batch(vec![&picture]).remove(0).unwrap();
        let (found, flipped) = (content.facts.pdq.unwrap(), content.facts.pdq_mirrored.unwrap());
        let expected = pdq(plain, quality.parse().unwrap());
        for distance in [found.distance(&expected), flipped.distance(&pdq(mirrored, expected.quality))] {
            worst = worst.max(distance);
            sum += distance;
        }
        worst_quality = worst_quality.max(found.quality.abs_diff(expected.quality));
        rows += 1;
    }
    println!(
        "{rows} portraits: worst {worst} of 256 bits, mean {:.2}, quality off by {worst_quality}",
        sum as f64 / 2.0 / rows as f64
    );
    assert!(rows > 50 && worst <= 4 && worst_quality <= 1, "{worst} bits, quality {worst_quality}");
}
