//! Decodes a picture and writes `width height\n` and the RGB bytes to standard output, to be compared with another
//! decoder: `cargo run --release -p fetch --example decode_dump FILE`.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::io::Write;

fn main() {
    let bytes = std::fs::read(std::env::args().nth(1).unwrap()).unwrap();
    match fetch::decode(&bytes, 100_000_000) {
        Ok(pixels) => {
            let mut out = std::io::stdout().lock();
            writeln!(out, "{} {}", pixels.width, pixels.height).unwrap();
            out.write_all(&pixels.rgb).unwrap();
        }
        Err(failure) => {
            eprintln!("{}: {}", failure.reason, failure.detail);
            std::process::exit(1);
        }
    }
}
