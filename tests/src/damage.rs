//! Valid input made invalid, and a process of little memory in which to read it.
// How much was tried is part of what a test says.
#![allow(clippy::print_stdout)]

use std::process::Command;

use anyhow::{Context, ensure};

/// Numbers that look random and are the same in every run (xorshift, Marsaglia 2003).
pub struct Chance(u64);

impl Chance {
    /// Another sequence for each seed.
    pub fn new(seed: u64) -> Self {
        let mut chance = Self(0x9e37_79b9_7f4a_7c15 ^ (seed + 1).wrapping_mul(0x2545_f491_4f6c_dd1d));
        chance.below(1);
        chance
    }

    /// A number below `n`; 0 if that is 0.
    pub fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % n.max(1)
    }

    /// True in so many of a hundred cases.
    pub fn percent(&mut self, share: usize) -> bool {
        self.below(100) < share
    }
}

/// Changes, removes, doubles or inserts a few bytes, or cuts the end off. Half of the cases damage only the part of the
/// bytes that says what the rest means.
pub fn damage(bytes: &mut Vec<u8>, telling: std::ops::Range<usize>, chance: &mut Chance) {
    let telling = telling.start.min(bytes.len())..telling.end.min(bytes.len());
    let all = telling.is_empty() || chance.percent(50);
    for _ in 0..1 + chance.below(6) {
        if bytes.is_empty() {
            return;
        }
        let range = if all { 0..bytes.len() } else { telling.clone() };
        let at = (range.start + chance.below(range.len())).min(bytes.len() - 1);
        match chance.below(9) {
            0 => bytes[at] = 0xff,
            1 => bytes[at] = 0,
            2 | 3 => bytes[at] ^= 1 << chance.below(8),
            4 if bytes.len() > 20 => drop(bytes.remove(at)),
            5 => bytes.insert(at, chance.below(256) as u8),
            6 => {
                let end = (at + chance.below(16)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => bytes[at] = chance.below(256) as u8,
        }
    }
    if chance.percent(8) {
        bytes.truncate(chance.below(bytes.len()));
    }
}

const CHILD: &str = "FACERING_TEST_CHILD";

/// Whether this process is the one of little memory.
pub fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// Runs another test of this test program in a process of its own that may use so much address space, so that neither a
/// crash nor boundless memory goes unnoticed. It has to say `cases done` at its end.
pub fn run_child(test: &str, limit_mib: u64) -> anyhow::Result<()> {
    let limited = format!("ulimit -v {}; exec \"$0\" --exact --nocapture {test}", limit_mib * 1024);
    let output = Command::new("sh")
        .args(["-c", &limited])
        .arg(std::env::current_exe()?)
        .env(CHILD, "1")
        // Address space is reserved for each arena otherwise.
        .env("MALLOC_ARENA_MAX", "1")
        .output()
        .context("sh does not start")?;
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    let last: Vec<&str> = said.lines().rev().take(30).collect();
    let last = last.into_iter().rev().collect::<Vec<_>>().join("\n");
    ensure!(output.status.success(), "{}:\n{last}", output.status);
    ensure!(said.contains("cases done"), "the child did nothing:\n{last}");
    println!("{}", said.lines().find(|line| line.contains("cases done")).unwrap_or_default());
    Ok(())
}
