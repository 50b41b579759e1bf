//! Exact vectors in a file: fp16, row after row.
//!
//! Invariants:
//! - Rows are read when they are asked for and never held: hundreds of gigabytes need no memory and no address space.
//! - A file is written once, synced and renamed into place; it never changes afterwards.
//! - Half precision moves the cosine of two faces by less than .001. A row of zeros is a row without a vector.
//!
//! Layout, little-endian: 64 bytes of header (magic, dimension, rows, checksum of the rows, three zeros, checksum of
//! the header), then the rows.

use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use half::f16;
use half::slice::HalfFloatSliceExt;

use crate::IndexError;
use crate::exact::ExactVectors;
use crate::files::{Checksum, Hashing, write_durably};
use crate::native::{bytes_of, bytes_of_mut};

const MAGIC: u64 = u64::from_le_bytes(*b"FACEVEC1");
const HEADER: usize = 64;

/// Vectors in a file; the ordinal is the row.
pub struct VectorFile {
    path: PathBuf,
    file: File,
    dimension: usize,
    rows: u64,
    checksum: u64,
}

fn header(dimension: usize, rows: u64, checksum: u64) -> [u64; 8] {
    let mut words = [MAGIC, dimension as u64, rows, checksum, 0, 0, 0, 0];
    let mut sum = Checksum::default();
    sum.update(bytes_of(&words[..7]));
    words[7] = sum.finish();
    words
}

/// Takes the vectors of a file that is being written.
pub struct VectorSink<'a> {
    out: Hashing<&'a mut BufWriter<File>>,
    path: &'a Path,
    dimension: usize,
    rows: u64,
    halves: Vec<f16>,
}

impl VectorSink<'_> {
    /// Appends whole rows of the file's dimension.
    ///
    /// # Errors
    /// [`IndexError::WrongDimension`], [`IndexError::Io`].
    pub fn push(&mut self, vectors: &[f32]) -> Result<(), IndexError> {
        if !vectors.len().is_multiple_of(self.dimension) {
            return Err(IndexError::WrongDimension { expected: self.dimension, found: vectors.len() });
        }
        self.halves.resize(vectors.len(), f16::ZERO);
        self.halves.convert_from_f32_slice(vectors);
        let bits: &[u16] = self.halves.reinterpret_cast();
        self.out.write_all(bytes_of(bits)).map_err(IndexError::io("writing", self.path))?;
        self.rows += (vectors.len() / self.dimension) as u64;
        Ok(())
    }
}

impl VectorFile {
    /// Writes a file from what `body` pushes; gives the number of rows.
    ///
    /// # Errors
    /// [`IndexError::Io`], and whatever `body` fails with; no file is left then.
    pub fn write(
        path: &Path,
        dimension: usize,
        body: impl FnOnce(&mut VectorSink<'_>) -> Result<(), IndexError>,
    ) -> Result<u64, IndexError> {
        let mut rows = 0;
        write_durably(path, |writer| {
            let io = |action| IndexError::io(action, path);
            writer.write_all(&[0; HEADER]).map_err(io("writing"))?;
            let out = Hashing::new(&mut *writer);
            let mut sink = VectorSink { out, path, dimension: dimension.max(1), rows: 0, halves: Vec::new() };
            body(&mut sink)?;
            rows = sink.rows;
            let checksum = sink.out.checksum.finish();
            writer.seek(SeekFrom::Start(0)).map_err(io("writing"))?;
            writer.write_all(bytes_of(&header(dimension, rows, checksum))).map_err(io("writing"))
        })?;
        Ok(rows)
    }

    /// Opens a file and checks its header and size.
    ///
    /// # Errors
    /// [`IndexError::Damaged`] if it is cut off or foreign.
    pub fn open(path: &Path) -> Result<Self, IndexError> {
        let mut file = File::open(path)
            .map_err(|error| IndexError::damaged(path, format!("it cannot be opened ({error})")))?;
        let length = file.metadata().map_err(IndexError::io("reading", path))?.len();
        let mut bytes = [0; HEADER];
        if let Err(error) = file.read_exact(&mut bytes) {
            return Err(IndexError::damaged(path, format!("it has {length} bytes ({error})")));
        }
        let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| bytes[8 * at + byte]));
        let words: [u64; 8] = std::array::from_fn(word);
        let [magic, dimension, rows, checksum, ..] = words;
        if magic != MAGIC {
            return Err(IndexError::damaged(path, "it is no file of face vectors"));
        }
        let whole = dimension
            .checked_mul(2)
            .and_then(|row| row.checked_mul(rows))
            .and_then(|body| body.checked_add(HEADER as u64));
        if words != header(dimension as usize, rows, checksum) || dimension == 0 || whole != Some(length) {
            return Err(IndexError::damaged(path, format!("its {length} bytes do not fit its header")));
        }
        Ok(Self { path: path.to_owned(), file, dimension: dimension as usize, rows, checksum })
    }

    /// Dimension of the vectors.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// Rows in it.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Appends neighbouring rows to `out`, zeros for those that do not exist.
    pub(crate) fn read_rows(&self, first: u64, count: usize, out: &mut Vec<f32>) -> std::io::Result<()> {
        let start = out.len();
        out.resize(start + count * self.dimension, 0.0);
        let there = (self.rows.saturating_sub(first)).min(count as u64) as usize * self.dimension;
        let mut halves = vec![f16::ZERO; there];
        let bits: &mut [u16] = halves.reinterpret_cast_mut();
        self.file.read_exact_at(bytes_of_mut(bits), HEADER as u64 + first * 2 * self.dimension as u64)?;
        halves.convert_to_f32_slice(&mut out[start..start + there]);
        Ok(())
    }

    /// Compares the rows with their checksum.
    ///
    /// # Errors
    /// [`IndexError::Damaged`] if they differ.
    pub fn verify(&self) -> Result<(), IndexError> {
        let mut checksum = Checksum::default();
        let mut file = &self.file;
        let mut buffer = vec![0; 1 << 20];
        file.seek(SeekFrom::Start(HEADER as u64)).map_err(IndexError::io("reading", &self.path))?;
        loop {
            match file.read(&mut buffer).map_err(IndexError::io("reading", &self.path))? {
                0 => break,
                length => checksum.update(&buffer[..length]),
            }
        }
        if checksum.finish() == self.checksum {
            Ok(())
        } else {
            Err(IndexError::damaged(&self.path, "its content does not match its checksum"))
        }
    }
}

/// Neighbouring ordinals as runs, which are read together.
pub fn runs(ordinals: &[u64]) -> impl Iterator<Item = Range<u64>> {
    ordinals
        .chunk_by(|a, b| a.checked_add(1) == Some(*b))
        .filter_map(|run| Some(*run.first()?..run.last()? + 1))
}

impl ExactVectors for VectorFile {
    fn vectors(
        &self,
        ordinals: &[u64],
        out: &mut Vec<f32>,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        out.clear();
        out.reserve(ordinals.len() * self.dimension);
        for run in runs(ordinals) {
            self.read_rows(run.start, (run.end - run.start) as usize, out)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SyntheticFaces;

    #[test]
    fn vectors_come_back_in_half_precision() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vectors");
        let vectors = SyntheticFaces::new(24, 1).vectors(100);
        let rows = VectorFile::write(&path, 24, |sink| {
            vectors.chunks(7 * 24).try_for_each(|chunk| sink.push(chunk))
        });
        assert_eq!(rows.unwrap(), 100);
        let file = VectorFile::open(&path).unwrap();
        file.verify().unwrap();
        let mut out = Vec::new();
        file.vectors(&[99, 3, 100], &mut out).unwrap();
        let near = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-3);
        assert!(near(&out[..24], &vectors[99 * 24..]) && near(&out[24..48], &vectors[3 * 24..4 * 24]));
        assert!(out[48..].iter().all(|value| *value == 0.0), "a row that is not there is zero");
        drop(file);

        let whole = std::fs::read(&path).unwrap();
        for bad in [&whole[..whole.len() - 2], &whole[..40], b"something else altogether"] {
            std::fs::write(&path, bad).unwrap();
            assert!(matches!(VectorFile::open(&path), Err(IndexError::Damaged { .. })));
        }
        let mut flipped = whole;
        *flipped.last_mut().unwrap() ^= 1;
        std::fs::write(&path, flipped).unwrap();
        assert!(matches!(VectorFile::open(&path).unwrap().verify(), Err(IndexError::Damaged { .. })));
    }
}
