//! Sealed segments: immutable files, mapped for reading. Where the process may not have the address space for that, lists
//! are read one by one.
//!
//! Invariants:
//! - A segment file is written once, synced, renamed into place, and never changed afterwards.
//! - All its numbers are checked when it is opened, so that nothing read from it can lead outside the mapping.
//!
//! Layout, little-endian: a header of 128 bytes, then by kind
//! - flat: ordinals (u64 each), vectors (f32 each);
//! - lists: a table of lists + 1 offsets (u64) into what follows, then for each list its codes, padded to 8 bytes, and
//!   its ordinals (u64 each);
//! - opaque: ordinals (u64 each), then a FAISS index file.

mod write;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::write::{write_flat, write_lists, write_opaque};
use crate::IndexError;
use crate::files::{Checksum, Hashing, checksum_of, write_durably};
use crate::memory::room_to_map;
use crate::model::Model;
use crate::native::{MappedFile, Native, bytes_of, bytes_of_mut};
use crate::ordinals::{ORDINAL_LIMIT, OrdinalSet};
use crate::rows::{Form, Part};

const MAGIC: u64 = u64::from_le_bytes(*b"FACESEG1");
const HEADER: usize = 128;

/// The numbers at the beginning of a segment file.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Header {
    kind: u64,
    dimension: u64,
    code_size: u64,
    rows: u64,
    lists: u64,
    model: u64,
    body: u64,
}

impl Header {
    fn to_words(self, table: &[u64]) -> [u64; 16] {
        let mut words = [0; 16];
        words[..8].copy_from_slice(&[
            MAGIC,
            self.kind,
            self.dimension,
            self.code_size,
            self.rows,
            self.lists,
            self.model,
            self.body,
        ]);
        words[15] = sum(&words[..15], table);
        words
    }

    /// Checks the first words of a file of `length` bytes against the table that follows, which `table` gives for a number
    /// of entries.
    fn read<'a>(
        path: &Path,
        length: u64,
        words: &[u64],
        table: impl FnOnce(usize) -> Result<Cow<'a, [u64]>, IndexError>,
    ) -> Result<(Self, Cow<'a, [u64]>), IndexError> {
        let &[magic, kind, dimension, code_size, rows, lists, model, body, .., checksum] = words else {
            return Err(IndexError::damaged(path, format!("it has only {length} bytes")));
        };
        if magic != MAGIC {
            return Err(IndexError::damaged(path, "it is no segment of a face index"));
        }
        let found = Self { kind, dimension, code_size, rows, lists, model, body };
        if (HEADER as u64).checked_add(body) != Some(length) {
            let text = format!("it has {length} bytes where its header says {HEADER} + {body}");
            return Err(IndexError::damaged(path, text));
        }
        let table = if kind == KIND_LISTS {
            let entries = lists.checked_add(1).filter(|entries| *entries <= length / 8).unwrap_or(0);
            table(entries as usize)?
        } else {
            Cow::Borrowed(&[] as &[u64])
        };
        if sum(&words[..15], &table) != checksum {
            return Err(IndexError::damaged(path, "its header does not match its checksum"));
        }
        Ok((found, table))
    }
}

const KIND_FLAT: u64 = 1;
const KIND_LISTS: u64 = 2;
const KIND_OPAQUE: u64 = 3;

fn sum(header: &[u64], table: &[u64]) -> u64 {
    let mut checksum = Checksum::default();
    checksum.update(bytes_of(header));
    checksum.update(bytes_of(table));
    checksum.finish()
}

enum Content {
    Flat,
    Lists(Native),
    Opaque(Native),
}

/// A sealed segment.
pub struct Segment {
    /// Its file.
    pub path: PathBuf,
    header: Header,
    /// `None` where there was no address space to map it.
    file: Option<Arc<MappedFile>>,
    content: Content,
}

/// What the manifest keeps of a segment.
pub struct Written {
    /// Vectors in it.
    pub rows: u64,
    /// Vectors that were left out because they are deleted.
    pub dropped: u64,
    /// Checksum of the whole file.
    pub checksum: u64,
}

/// Rows to be written, without those in `gone`, with `offset` added to their ordinals.
pub struct Source<'a> {
    /// The rows.
    pub part: Part<'a>,
    /// What to leave out.
    pub gone: &'a OrdinalSet,
    /// Added to each ordinal.
    pub offset: u64,
}

impl Segment {
    /// Opens and checks a segment that must belong to `form`.
    ///
    /// # Errors
    /// [`IndexError::Damaged`] if it is cut off, foreign or inconsistent.
    pub fn open(path: &Path, form: &Form, dimension: usize) -> Result<Self, IndexError> {
        // Lists can be read one by one where a mapping would take the address space that other work needs.
        let bytes = std::fs::metadata(path).map_or(0, |facts| facts.len());
        let mapped = match form {
            Form::Lists(_) if !room_to_map(bytes) => None,
            _ => MappedFile::open(path)?,
        };
        match mapped {
            Some(file) => Self::open_mapped(path, Arc::new(file), form, dimension),
            None => Self::open_unmapped(path, form, dimension),
        }
    }

    fn open_mapped(
        path: &Path,
        file: Arc<MappedFile>,
        form: &Form,
        dimension: usize,
    ) -> Result<Self, IndexError> {
        let table = |entries| Ok(Cow::Borrowed(file.values(HEADER, entries)));
        let (header, _) = Header::read(path, file.len() as u64, file.values(0, 16), table)?;
        let wrong = |reason: &str| IndexError::damaged(path, reason);
        check_model(path, &header, form, dimension)?;
        let rows = usize::try_from(header.rows).map_err(|_| wrong("it is too large for this machine"))?;
        let ordinals_end = rows.checked_mul(8).and_then(|n| n.checked_add(HEADER));
        let content = match form {
            Form::Flat => {
                if (rows as u64).checked_mul(8 + 4 * header.dimension) != Some(header.body) {
                    return Err(wrong("its size does not fit its number of vectors"));
                }
                Content::Flat
            }
            Form::Lists(model) => {
                let starts: &[u64] = file.values(HEADER, header.lists as usize + 1);
                check_table(path, &header, model, starts)?;
                let table = size_of_val(starts);
                Content::Lists(model.native.view_mapped(&file, HEADER, HEADER + table, rows)?)
            }
            Form::Opaque(_) => {
                let blob = ordinals_end
                    .and_then(|at| file.bytes().get(at..))
                    .ok_or_else(|| wrong("it is cut off"))?;
                let index = Native::read_bytes(blob)?;
                if index.total() != rows || index.shape().dimension != header.dimension {
                    return Err(wrong("the FAISS index in it has another size than its header says"));
                }
                Content::Opaque(index)
            }
        };
        Ok(Self { path: path.to_owned(), header, file: Some(file), content })
    }

    /// Lists can be read one by one; other forms need the whole file.
    fn open_unmapped(path: &Path, form: &Form, dimension: usize) -> Result<Self, IndexError> {
        let Form::Lists(model) = form else {
            let text = "it cannot be mapped: this process may not have so much address space (ulimit -v)";
            return Err(IndexError::damaged(path, text));
        };
        let file = File::open(path).map_err(IndexError::io("opening", path))?;
        let length = file.metadata().map_err(IndexError::io("reading", path))?.len();
        let read = |at: usize, count: usize| {
            let mut words = vec![0u64; count];
            file.read_exact_at(bytes_of_mut(&mut words), at as u64)
                .map_err(IndexError::io("reading", path))?;
            Ok(words)
        };
        let words = read(0, 16)?;
        let (header, starts) =
            Header::read(path, length, &words, |entries| read(HEADER, entries).map(Cow::Owned))?;
        check_model(path, &header, form, dimension)?;
        check_table(path, &header, model, &starts)?;
        let blocks = HEADER + size_of_val(&*starts);
        let view = model.native.view_read(path, &starts, blocks, header.rows as usize)?;
        Ok(Self { path: path.to_owned(), header, file: None, content: Content::Lists(view) })
    }

    /// For searching.
    pub fn part(&self) -> Part<'_> {
        let rows = self.header.rows as usize;
        let file = self.file.as_ref();
        let ordinals = || file.map_or(&[] as &[u64], |file| file.values(HEADER, rows));
        match &self.content {
            Content::Flat => Part::Flat {
                ordinals: ordinals(),
                vectors: file.map_or(&[], |file| {
                    file.values(HEADER + rows * 8, rows * self.header.dimension as usize)
                }),
            },
            Content::Lists(view) => Part::Lists(view),
            Content::Opaque(index) => Part::Opaque { index, ordinals: ordinals() },
        }
    }

    /// Vectors in it, deleted ones included.
    pub fn rows(&self) -> u64 {
        self.header.rows
    }

    /// Size of the file.
    pub fn bytes(&self) -> u64 {
        HEADER as u64 + self.header.body
    }

    /// Bytes of it that lie in memory of their own (opaque segments; the others are mapped).
    pub fn resident_bytes(&self) -> u64 {
        if matches!(self.content, Content::Opaque(_)) { self.bytes() } else { 0 }
    }

    /// Reads the whole file and compares it with the checksum of the manifest.
    pub fn verify(&self, checksum: u64) -> Result<(), IndexError> {
        match checksum_of(&self.path)? == checksum {
            true => Ok(()),
            false => Err(IndexError::damaged(&self.path, "its content does not match its checksum")),
        }
    }

    /// Writes the rows of the sources as one new segment. Opaque parts are written as they are: there must be one
    /// source, and it keeps its deleted rows.
    pub fn write(
        path: &Path,
        form: &Form,
        dimension: usize,
        sources: &[Source<'_>],
    ) -> Result<Written, IndexError> {
        let (kind, model) = kind_of(form);
        let mut header =
            Header { kind, dimension: dimension as u64, code_size: 0, rows: 0, lists: 0, model, body: 0 };
        let mut written = Written { rows: 0, dropped: 0, checksum: 0 };
        write_durably(path, |writer| {
            let mut out = Hashing::new(writer);
            let result = match form {
                Form::Flat => write_flat(&mut out, path, &mut header, sources),
                Form::Lists(model) => {
                    let shape = model.native.shape();
                    (header.lists, header.code_size) = (shape.lists, shape.code_size);
                    write_lists(&mut out, path, &mut header, sources)
                }
                Form::Opaque(_) => write_opaque(&mut out, path, &mut header, sources),
            };
            written.dropped = result?;
            written.rows = header.rows;
            written.checksum = out.checksum.finish();
            Ok(())
        })?;
        Ok(written)
    }
}

fn kind_of(form: &Form) -> (u64, u64) {
    let model = form.model().and_then(|model| u64::from_str_radix(&model.facts.id, 16).ok()).unwrap_or(0);
    match form {
        Form::Flat => (KIND_FLAT, model),
        Form::Lists(_) => (KIND_LISTS, model),
        Form::Opaque(_) => (KIND_OPAQUE, model),
    }
}

fn check_model(path: &Path, header: &Header, form: &Form, dimension: usize) -> Result<(), IndexError> {
    let (kind, model) = kind_of(form);
    if header.kind == kind && header.model == model && header.dimension == dimension as u64 {
        Ok(())
    } else {
        Err(IndexError::damaged(path, "it was made with another model than this index has"))
    }
}

/// Every list must lie behind the one before and have the length of a whole number of codes and ordinals.
fn check_table(path: &Path, header: &Header, model: &Model, starts: &[u64]) -> Result<(), IndexError> {
    let shape = model.native.shape();
    if header.lists != shape.lists || header.code_size != shape.code_size {
        return Err(IndexError::damaged(path, "its lists are not those of the model"));
    }
    let unit = header.code_size + 8;
    let mut count = 0;
    let ends_right = starts.last().map(|end| end + size_of_val(starts) as u64) == Some(header.body);
    let whole = starts.first() == Some(&0)
        && starts.windows(2).all(|pair| {
            let length = pair[1].wrapping_sub(pair[0]);
            let n = length / unit;
            count += n;
            pair[0] <= pair[1] && (n * header.code_size).next_multiple_of(8) + n * 8 == length
        });
    if ends_right && whole && count == header.rows {
        Ok(())
    } else {
        Err(IndexError::damaged(path, "its table of lists does not fit its size"))
    }
}

/// Refuses sources whose ordinals would leave the allowed range.
pub fn check_offset(greatest: u64, offset: u64) -> Result<(), IndexError> {
    match greatest.checked_add(offset) {
        Some(sum) if sum < ORDINAL_LIMIT => Ok(()),
        _ => Err(IndexError::OrdinalOutOfRange(greatest.saturating_add(offset))),
    }
}
