//! Sealed segments: immutable files, mapped for reading.
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

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::IndexError;
use crate::files::{Checksum, Hashing, checksum_of, write_durably};
use crate::native::{MappedFile, Native, bytes_of};
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

    fn read(path: &Path, file: &MappedFile) -> Result<Self, IndexError> {
        let words: &[u64] = file.values(0, 16);
        let &[magic, kind, dimension, code_size, rows, lists, model, body, .., checksum] = words else {
            return Err(IndexError::damaged(path, format!("it has only {} bytes", file.len())));
        };
        if magic != MAGIC {
            return Err(IndexError::damaged(path, "it is no segment of a face index"));
        }
        let found = Self { kind, dimension, code_size, rows, lists, model, body };
        let whole = (HEADER as u64).checked_add(body);
        if whole != Some(file.len() as u64) {
            let text = format!("it has {} bytes where its header says {HEADER} + {body}", file.len());
            return Err(IndexError::damaged(path, text));
        }
        let table: &[u64] = if kind == KIND_LISTS {
            let entries = usize::try_from(lists).ok().and_then(|lists| lists.checked_add(1));
            file.values(HEADER, entries.unwrap_or(usize::MAX))
        } else {
            &[]
        };
        if sum(&words[..15], table) != checksum {
            return Err(IndexError::damaged(path, "its header does not match its checksum"));
        }
        Ok(found)
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
    file: Arc<MappedFile>,
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
        let file = Arc::new(MappedFile::open(path)?);
        let header = Header::read(path, &file)?;
        let wrong = |reason: &str| IndexError::damaged(path, reason);
        let (kind, model) = kind_of(form);
        if header.kind != kind || header.model != model || header.dimension != dimension as u64 {
            return Err(wrong("it was made with another model than this index has"));
        }
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
                let shape = model.native.shape();
                if header.lists != shape.lists || header.code_size != shape.code_size {
                    return Err(wrong("its lists are not those of the model"));
                }
                let table = (header.lists as usize + 1) * 8;
                let starts: &[u64] = file.values(HEADER, header.lists as usize + 1);
                let ends_right = starts.last().map(|end| end + table as u64) == Some(header.body);
                let unit = header.code_size + 8;
                let mut count = 0;
                let whole = starts.first() == Some(&0)
                    && starts.windows(2).all(|pair| {
                        let length = pair[1].wrapping_sub(pair[0]);
                        let n = length / unit;
                        count += n;
                        pair[0] <= pair[1] && (n * header.code_size).next_multiple_of(8) + n * 8 == length
                    });
                if !ends_right || !whole || count != header.rows {
                    return Err(wrong("its table of lists does not fit its size"));
                }
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
        Ok(Self { path: path.to_owned(), header, file, content })
    }

    /// For searching.
    pub fn part(&self) -> Part<'_> {
        let rows = self.header.rows as usize;
        let ordinals = || self.file.values::<u64>(HEADER, rows);
        match &self.content {
            Content::Flat => Part::Flat {
                ordinals: ordinals(),
                vectors: self.file.values(HEADER + rows * 8, rows * self.header.dimension as usize),
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
        self.file.len() as u64
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

type Out<'a> = Hashing<&'a mut BufWriter<File>>;

fn kind_of(form: &Form) -> (u64, u64) {
    let model = form.model().and_then(|model| u64::from_str_radix(&model.facts.id, 16).ok()).unwrap_or(0);
    match form {
        Form::Flat => (KIND_FLAT, model),
        Form::Lists(_) => (KIND_LISTS, model),
        Form::Opaque(_) => (KIND_OPAQUE, model),
    }
}

fn put(out: &mut Out<'_>, path: &Path, bytes: &[u8]) -> Result<(), IndexError> {
    out.write_all(bytes).map_err(IndexError::io("writing", path))
}

fn mixed_forms(path: &Path) -> IndexError {
    IndexError::damaged(path, "rows of different forms cannot be written into one segment")
}

fn write_flat(
    out: &mut Out<'_>,
    path: &Path,
    header: &mut Header,
    sources: &[Source<'_>],
) -> Result<u64, IndexError> {
    let mut ordinals = Vec::new();
    let mut dropped = 0;
    for source in sources {
        let Part::Flat { ordinals: all, .. } = source.part else { return Err(mixed_forms(path)) };
        let kept = all.iter().filter(|ordinal| !source.gone.contains(**ordinal));
        let before = ordinals.len();
        ordinals.extend(kept.map(|ordinal| ordinal + source.offset));
        dropped += (all.len() - (ordinals.len() - before)) as u64;
    }
    header.rows = ordinals.len() as u64;
    header.body = header.rows * (8 + 4 * header.dimension);
    put(out, path, bytes_of(&header.to_words(&[])))?;
    put(out, path, bytes_of(&ordinals))?;
    for source in sources {
        let Part::Flat { ordinals, vectors } = source.part else { return Err(mixed_forms(path)) };
        for (ordinal, vector) in ordinals.iter().zip(vectors.chunks_exact(header.dimension as usize)) {
            if !source.gone.contains(*ordinal) {
                put(out, path, bytes_of(vector))?;
            }
        }
    }
    Ok(dropped)
}

fn write_lists(
    out: &mut Out<'_>,
    path: &Path,
    header: &mut Header,
    sources: &[Source<'_>],
) -> Result<u64, IndexError> {
    let lists = header.lists as usize;
    let size = header.code_size as usize;
    let mut starts = Vec::with_capacity(lists + 1);
    let (mut at, mut dropped) = (0u64, 0);
    starts.push(0);
    for list in 0..lists {
        let mut kept = 0;
        for source in sources {
            let Part::Lists(view) = &source.part else { return Err(mixed_forms(path)) };
            let ids = view.list(list)?.1;
            let rows = ids.iter().filter(|id| !source.gone.contains(**id as u64)).count() as u64;
            dropped += ids.len() as u64 - rows;
            kept += rows;
        }
        header.rows += kept;
        at += (kept * header.code_size).next_multiple_of(8) + kept * 8;
        starts.push(at);
    }
    header.body = at + starts.len() as u64 * 8;
    put(out, path, bytes_of(&header.to_words(&starts)))?;
    put(out, path, bytes_of(&starts))?;
    let (mut codes, mut ordinals) = (Vec::new(), Vec::<u64>::new());
    for list in 0..lists {
        codes.clear();
        ordinals.clear();
        for source in sources {
            let Part::Lists(view) = &source.part else { return Err(mixed_forms(path)) };
            let (list_codes, ids) = view.list(list)?;
            for (code, id) in list_codes.chunks_exact(size).zip(ids) {
                let ordinal = *id as u64;
                if !source.gone.contains(ordinal) {
                    codes.extend_from_slice(code);
                    ordinals.push(ordinal + source.offset);
                }
            }
        }
        codes.resize(codes.len().next_multiple_of(8), 0);
        put(out, path, &codes)?;
        put(out, path, bytes_of(&ordinals))?;
    }
    Ok(dropped)
}

fn write_opaque(
    out: &mut Out<'_>,
    path: &Path,
    header: &mut Header,
    sources: &[Source<'_>],
) -> Result<u64, IndexError> {
    let [Source { part: Part::Opaque { index, ordinals }, offset, .. }] = sources else {
        return Err(mixed_forms(path));
    };
    let draft = path.with_extension("faiss.tmp");
    let blob =
        index.write(&draft).and_then(|()| std::fs::read(&draft).map_err(IndexError::io("reading", &draft)));
    let _ = std::fs::remove_file(&draft);
    let blob = blob?;
    let ordinals: Vec<u64> = ordinals.iter().map(|ordinal| ordinal + offset).collect();
    header.rows = ordinals.len() as u64;
    header.body = header.rows * 8 + blob.len() as u64;
    put(out, path, bytes_of(&header.to_words(&[])))?;
    put(out, path, bytes_of(&ordinals))?;
    put(out, path, &blob)?;
    Ok(0)
}

/// Refuses sources whose ordinals would leave the allowed range.
pub fn check_offset(greatest: u64, offset: u64) -> Result<(), IndexError> {
    match greatest.checked_add(offset) {
        Some(sum) if sum < ORDINAL_LIMIT => Ok(()),
        _ => Err(IndexError::OrdinalOutOfRange(greatest.saturating_add(offset))),
    }
}
