//! The bodies of segment files, by form.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use super::{Header, Source};
use crate::IndexError;
use crate::files::Hashing;
use crate::native::bytes_of;
use crate::rows::Part;

/// Where a body goes: the file, with its checksum kept.
pub type Out<'a> = Hashing<&'a mut BufWriter<File>>;

fn put(out: &mut Out<'_>, path: &Path, bytes: &[u8]) -> Result<(), IndexError> {
    out.write_all(bytes).map_err(IndexError::io("writing", path))
}

fn mixed_forms(path: &Path) -> IndexError {
    IndexError::damaged(path, "rows of different forms cannot be written into one segment")
}

/// Ordinals, then vectors; gives how many deleted rows were left out.
pub fn write_flat(
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

/// The table of lists, then each list; gives how many deleted rows were left out.
pub fn write_lists(
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
            let all = view.list_len(list) as u64;
            let rows = if source.gone.is_empty() {
                all
            } else {
                let left = |id: &&i64| !source.gone.contains(**id as u64);
                view.with_list(list, |_, ids| Ok(ids.iter().filter(left).count() as u64))?
            };
            dropped += all - rows;
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
            view.with_list(list, |list_codes, ids| {
                for (code, id) in list_codes.chunks_exact(size).zip(ids) {
                    let ordinal = *id as u64;
                    if !source.gone.contains(ordinal) {
                        codes.extend_from_slice(code);
                        ordinals.push(ordinal + source.offset);
                    }
                }
                Ok(())
            })?;
        }
        codes.resize(codes.len().next_multiple_of(8), 0);
        put(out, path, &codes)?;
        put(out, path, bytes_of(&ordinals))?;
    }
    Ok(dropped)
}

/// Ordinals, then the FAISS index as it is.
pub fn write_opaque(
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
