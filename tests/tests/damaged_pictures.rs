//! Pictures of every format with bytes changed, removed, doubled or cut: pixels of a sane size, or a failure. No panic, no
//! abort, and no more memory than the limits promise: the work is done in a process whose memory is limited.

use std::path::PathBuf;

use end_to_end::damage::{Chance, damage, is_child, run_child};
use end_to_end::program;

const CASES: u64 = 4000;
const MOST_PIXELS: u64 = 1_000_000;

/// Every picture among the fixtures of `fetch`.
fn fixtures() -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(program::root().join("crates/fetch/tests/fixtures"))? {
        found.push(entry?.path());
    }
    found.sort();
    anyhow::ensure!(found.len() > 10, "only {} fixtures", found.len());
    Ok(found)
}

#[test]
fn damaged_pictures_are_pixels_or_failures() -> anyhow::Result<()> {
    run_child("child_decodes_damaged_pictures", 1024)
}

#[test]
fn child_decodes_damaged_pictures() -> anyhow::Result<()> {
    if !is_child() {
        return Ok(());
    }
    let whole = fixtures()?.iter().map(std::fs::read).collect::<Result<Vec<_>, _>>()?;
    let mut reasons = std::collections::BTreeMap::<&str, u64>::new();
    for case in 0..CASES {
        let mut chance = Chance::new(case);
        let mut bytes = whole[case as usize % whole.len()].clone();
        // Sizes and tables stand at the beginning.
        damage(&mut bytes, 0..200, &mut chance);
        match fetch::decode(&bytes, MOST_PIXELS) {
            Ok(pixels) => {
                let count = u64::from(pixels.width) * u64::from(pixels.height);
                assert!(count <= MOST_PIXELS, "case {case}: {} x {}", pixels.width, pixels.height);
                assert_eq!(pixels.rgb.len() as u64, count * 3, "case {case}");
                *reasons.entry("pixels").or_default() += 1;
            }
            Err(failure) => *reasons.entry(failure.reason.as_str()).or_default() += 1,
        }
    }
    assert!(reasons.len() > 2, "{reasons:?}");
    println!("{CASES} cases done: {reasons:?}");
    Ok(())
}
