//! Writing so that a crash leaves either the old file or the new one.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use crate::IndexError;

/// Writes `path` through a temporary neighbour: write, fsync, rename, fsync of the folder.
pub fn write_durably(
    path: &Path,
    body: impl FnOnce(&mut BufWriter<File>) -> Result<(), IndexError>,
) -> Result<(), IndexError> {
    let temporary = path.with_extension("tmp");
    let result = (|| {
        let file = File::create(&temporary).map_err(IndexError::io("creating", &temporary))?;
        let mut writer = BufWriter::with_capacity(1 << 20, file);
        body(&mut writer)?;
        writer.flush().map_err(IndexError::io("writing", &temporary))?;
        failpoint::pass("index_file.written");
        writer.get_ref().sync_all().map_err(IndexError::io("syncing", &temporary))?;
        fs::rename(&temporary, path).map_err(IndexError::io("renaming", &temporary))?;
        failpoint::pass("index_file.renamed");
        sync_folder_of(path)
    })();
    if result.is_err() {
        // The half-written file is of no use; if removing it fails too, the next opening removes it.
        let _ = fs::remove_file(&temporary);
    }
    result
}

/// Makes a rename or removal in the folder of `path` durable.
pub fn sync_folder_of(path: &Path) -> Result<(), IndexError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(IndexError::io("syncing", folder))
}

/// A 64-bit hash against accidental damage (not against malice): words mixed as in the finaliser of SplitMix64.
#[derive(Clone, Copy)]
pub struct Checksum {
    state: u64,
    length: u64,
    pending: [u8; 8],
}

impl Default for Checksum {
    fn default() -> Self {
        Self { state: 0x9e37_79b9_7f4a_7c15, length: 0, pending: [0; 8] }
    }
}

impl Checksum {
    /// Takes in bytes; how they are cut into calls does not matter.
    pub fn update(&mut self, mut bytes: &[u8]) {
        let held = (self.length % 8) as usize;
        self.length += bytes.len() as u64;
        if held > 0 {
            let (head, rest) = bytes.split_at(bytes.len().min(8 - held));
            self.pending[held..held + head.len()].copy_from_slice(head);
            bytes = rest;
            if held + head.len() < 8 {
                return;
            }
            self.mix(u64::from_le_bytes(self.pending));
        }
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.mix(u64::from_le_bytes(*word)));
        self.pending[..rest.len()].copy_from_slice(rest);
    }

    fn mix(&mut self, word: u64) {
        let mut x = (self.state ^ word).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x ^= x >> 29;
        self.state = x.wrapping_mul(0x94d0_49bb_1331_11eb) ^ (x >> 32);
    }

    /// The hash.
    pub fn finish(mut self) -> u64 {
        let held = (self.length % 8) as usize;
        self.pending[held..].fill(0);
        self.mix(u64::from_le_bytes(self.pending));
        self.mix(self.length);
        self.state
    }
}

/// Passes bytes on and keeps their checksum.
pub struct Hashing<W> {
    inner: W,
    /// Of everything written so far.
    pub checksum: Checksum,
}

impl<W> Hashing<W> {
    /// Starts with nothing written.
    pub fn new(inner: W) -> Self {
        Self { inner, checksum: Checksum::default() }
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.checksum.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

/// The checksum of a whole file.
pub fn checksum_of(path: &Path) -> Result<u64, IndexError> {
    use std::io::Read;
    let mut file = File::open(path).map_err(IndexError::io("opening", path))?;
    let mut checksum = Checksum::default();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).map_err(IndexError::io("reading", path))? {
            0 => return Ok(checksum.finish()),
            n => checksum.update(&buffer[..n]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        write_durably(&path, |w| w.write_all(b"old").map_err(IndexError::io("writing", &path))).unwrap();
        let failed = write_durably(&path, |w| {
            let _ = w.write_all(b"new");
            Err(IndexError::Poisoned)
        });
        assert!(failed.is_err());
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_flipped_bit_changes_the_checksum() {
        let mut bytes = vec![7; 1001];
        let sum = |bytes: &[u8]| {
            let mut checksum = Checksum::default();
            checksum.update(bytes);
            checksum.finish()
        };
        let before = sum(&bytes);
        for at in [0, 500, 1000] {
            bytes[at] ^= 1;
            assert_ne!(sum(&bytes), before);
            bytes[at] ^= 1;
        }
        assert_ne!(sum(&bytes[..1000]), before);
        let mut cut = Checksum::default();
        bytes.chunks(7).for_each(|piece| cut.update(piece));
        assert_eq!(cut.finish(), before);
    }
}
