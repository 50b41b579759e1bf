//! Inverted lists through the shim: views on memory, on a mapping or on a file, filled, read and searched.
//!
//! List numbers are checked here before FAISS sees them.

use std::path::Path;
use std::sync::Arc;

use super::ffi::*;
use super::{MappedFile, Native, RangeHits};
use crate::IndexError;
use crate::ordinals::OrdinalSet;

impl Native {
    /// An empty index with lists in memory that shares this one's quantizer.
    pub fn view(self: &Arc<Self>) -> Result<Self, IndexError> {
        let mut raw = std::ptr::null_mut();
        // SAFETY: a valid index; the new one points into it, so it is kept alive in `_borrows`.
        let code = unsafe { fx_view(self.raw.as_ptr(), &mut raw) };
        Self::own("opening a segment", code, raw, (Some(self.clone()), None))
    }

    /// An index over mapped lists that shares this one's quantizer. `starts_at` is the offset in the file of the table
    /// of block starts (lists + 1 of them, u64), relative to `blocks_at`. The caller has checked the table.
    pub fn view_mapped(
        self: &Arc<Self>,
        file: &Arc<MappedFile>,
        starts_at: usize,
        blocks_at: usize,
        rows: usize,
    ) -> Result<Self, IndexError> {
        let table = (self.shape.lists as usize + 1) * 8;
        expect(
            "mapping a segment",
            starts_at.is_multiple_of(8) && starts_at + table <= file.len() && blocks_at <= file.len(),
        )?;
        let mut raw = std::ptr::null_mut();
        // SAFETY: both offsets lie in the mapping, the table is aligned and whole, and mapping and model are kept alive
        // in `_borrows`.
        let code = unsafe {
            let base = file.as_ptr();
            fx_view_mapped(self.raw.as_ptr(), base.add(blocks_at), base.add(starts_at).cast(), rows, &mut raw)
        };
        Self::own("mapping a segment", code, raw, (Some(self.clone()), Some(file.clone())))
    }

    fn check_lists(&self, lists: &[i64], allow_padding: bool) -> Result<(), IndexError> {
        let least = if allow_padding { -1 } else { 0 };
        match lists.iter().find(|list| !(least..self.shape.lists as i64).contains(list)) {
            None => Ok(()),
            Some(list) => {
                Err(IndexError::Coarse(format!("list {list} is not one of the {} lists", self.shape.lists)))
            }
        }
    }

    /// Codes of transformed vectors for the given lists, one after the other.
    pub fn encode(&self, x: &[f32], lists: &[i64]) -> Result<Vec<u8>, IndexError> {
        let rows = self.rows("encoding vectors", x, self.shape.lists_dimension)?;
        expect("encoding vectors", rows == lists.len())?;
        self.check_lists(lists, false)?;
        let mut codes = vec![0; rows * self.shape.code_size as usize];
        // SAFETY: lengths and list numbers were checked.
        done("encoding vectors", unsafe {
            fx_encode(self.raw.as_ptr(), rows, x.as_ptr(), lists.as_ptr(), codes.as_mut_ptr())
        })?;
        Ok(codes)
    }

    /// Appends codes to lists in memory.
    pub fn add_codes(&mut self, ids: &[i64], lists: &[i64], codes: &[u8]) -> Result<(), IndexError> {
        let size = self.shape.code_size as usize;
        expect("adding codes", ids.len() == lists.len() && codes.len() == ids.len() * size)?;
        self.check_lists(lists, false)?;
        // SAFETY: lengths and list numbers were checked; the lists are in memory, since mapped ones are never `&mut`.
        done("adding codes", unsafe {
            fx_add_codes(self.raw.as_ptr(), ids.len(), ids.as_ptr(), lists.as_ptr(), codes.as_ptr())
        })
    }

    /// The same over a file whose lists are read when they are needed. `starts` is the table of block starts behind
    /// `blocks_at`, which the caller has checked.
    pub fn view_read(
        self: &Arc<Self>,
        path: &Path,
        starts: &[u64],
        blocks_at: usize,
        rows: usize,
    ) -> Result<Self, IndexError> {
        expect("opening a segment", starts.len() == self.shape.lists as usize + 1)?;
        let text = c_path(path)?;
        let mut raw = std::ptr::null_mut();
        // SAFETY: `starts` holds one entry more than there are lists and is copied; the model is kept alive in
        // `_borrows`.
        let code = unsafe {
            let (base, starts) = (blocks_at as u64, starts.as_ptr());
            fx_view_read(self.raw.as_ptr(), text.as_ptr(), base, starts, rows, &mut raw)
        };
        Self::own("opening a segment", code, raw, (Some(self.clone()), None))
    }

    /// Vectors in one list, 0 for one that does not exist.
    pub fn list_len(&self, list: usize) -> usize {
        if list as u64 >= self.shape.lists {
            return 0;
        }
        // SAFETY: the list exists.
        unsafe { fx_list_size(self.raw.as_ptr(), list) }
    }

    /// Calls `body` with codes and ids of one list.
    pub fn with_list<R>(
        &self,
        list: usize,
        body: impl FnOnce(&[u8], &[i64]) -> Result<R, IndexError>,
    ) -> Result<R, IndexError> {
        self.check_lists(&[list as i64], false)?;
        let rows = self.list_len(list);
        if rows == 0 {
            return body(&[], &[]);
        }
        let (mut codes, mut ids) = (std::ptr::null(), std::ptr::null());
        // SAFETY: the list exists.
        done("reading a list", unsafe { fx_list(self.raw.as_ptr(), list, &mut codes, &mut ids) })?;
        let result = if ids.is_aligned() {
            // SAFETY: FAISS, the checked mapping, or a buffer read for this call holds `rows` codes and ids there until
            // the release below; nobody changes the index meanwhile, which `&self` rules out.
            let (codes, ids) = unsafe {
                (
                    std::slice::from_raw_parts(codes, rows * self.shape.code_size as usize),
                    std::slice::from_raw_parts(ids, rows),
                )
            };
            body(codes, ids)
        } else {
            expect("reading a list", false).and(Err(IndexError::Poisoned))
        };
        // SAFETY: the two come from `fx_list` of this list and are released once.
        unsafe { fx_list_release(self.raw.as_ptr(), list, codes, ids) };
        result
    }

    /// The `k` best of the given lists for each transformed vector, tombstones left out. Ids of -1 pad.
    pub fn search_lists(
        &self,
        x: &[f32],
        k: usize,
        probes: &Probes<'_>,
        gone: &OrdinalSet,
    ) -> Result<(Vec<i64>, Vec<f32>), IndexError> {
        self.search_lists_by(Kernel::Ours, x, k, probes, gone)
    }

    pub(super) fn search_lists_by(
        &self,
        kernel: Kernel,
        x: &[f32],
        k: usize,
        probes: &Probes<'_>,
        gone: &OrdinalSet,
    ) -> Result<(Vec<i64>, Vec<f32>), IndexError> {
        let rows = self.check_probes(x, probes)?;
        let (mut ids, mut scores) = (vec![-1; rows * k], vec![0.0; rows * k]);
        let chunks = gone.pointers();
        let selector = if gone.is_empty() { std::ptr::null() } else { chunks.as_ptr() };
        // SAFETY: lengths and list numbers were checked; `chunks` points into `gone`, which outlives the call.
        done("searching lists", unsafe {
            fx_lists_search(
                kernel as _,
                self.raw.as_ptr(),
                rows,
                x.as_ptr(),
                k,
                probes.nprobe,
                probes.lists.as_ptr(),
                probes.scores.as_ptr(),
                selector,
                chunks.len(),
                scores.as_mut_ptr(),
                ids.as_mut_ptr(),
            )
        })?;
        Ok((ids, scores))
    }

    /// Everything in the given lists beyond `radius` (above it for inner product, below it for L2).
    pub fn range_lists(
        &self,
        x: &[f32],
        radius: f32,
        probes: &Probes<'_>,
        gone: &OrdinalSet,
    ) -> Result<RangeHits, IndexError> {
        self.range_lists_by(Kernel::Ours, x, radius, probes, gone)
    }

    pub(super) fn range_lists_by(
        &self,
        kernel: Kernel,
        x: &[f32],
        radius: f32,
        probes: &Probes<'_>,
        gone: &OrdinalSet,
    ) -> Result<RangeHits, IndexError> {
        let rows = self.check_probes(x, probes)?;
        let chunks = gone.pointers();
        let selector = if gone.is_empty() { std::ptr::null() } else { chunks.as_ptr() };
        let mut raw = std::ptr::null_mut();
        // SAFETY: as in `search_lists`; `raw` receives an owned result.
        let code = unsafe {
            fx_lists_range(
                kernel as _,
                self.raw.as_ptr(),
                rows,
                x.as_ptr(),
                radius,
                probes.nprobe,
                probes.lists.as_ptr(),
                probes.scores.as_ptr(),
                selector,
                chunks.len(),
                &mut raw,
            )
        };
        RangeHits::own("searching lists by range", code, raw, rows)
    }

    fn check_probes(&self, x: &[f32], probes: &Probes<'_>) -> Result<usize, IndexError> {
        let rows = self.rows("searching lists", x, self.shape.lists_dimension)?;
        let wanted = rows * probes.nprobe;
        let fits = probes.nprobe > 0 && probes.nprobe <= self.shape.lists as usize;
        expect("searching lists", fits && probes.lists.len() == wanted && probes.scores.len() == wanted)?;
        self.check_lists(probes.lists, true)?;
        Ok(rows)
    }
}

/// Who scans product codes: facering's kernel where it can (native/scan.h), or always FAISS, which tests hold it against.
#[derive(Clone, Copy)]
pub(super) enum Kernel {
    Ours = 0,
    #[cfg_attr(not(test), expect(dead_code, reason = "the oracle of a test"))]
    Faiss = 1,
}

/// The lists that each query visits: `nprobe` a query, -1 pads, with the quantizer's scores.
pub struct Probes<'a> {
    /// Lists a query.
    pub nprobe: usize,
    /// Their numbers, query after query.
    pub lists: &'a [i64],
    /// Their scores.
    pub scores: &'a [f32],
}
