//! FAISS through the shim in `native/shim.cpp`. All unsafe code of the crate is here.
//!
//! Invariants:
//! - Buffer lengths are checked here against what the C++ side reads and writes.
//! - List numbers are checked before they reach FAISS: -1 would drop a vector silently, and one past the end would read
//!   outside the lists.
//! - Searching takes `&self` and may run on several threads; FAISS's search functions do not change the index. Whatever
//!   changes it takes `&mut self`.
#![allow(unsafe_code)]

// Brings the static libraries onto the linker's command line.
use faiss_sys as _;

mod ffi;
mod flat;
mod mapped;

use std::ffi::{CStr, CString, c_int};
use std::path::Path;
use std::ptr::NonNull;
use std::sync::Arc;

pub use ffi::Shape;
use ffi::*;
pub use flat::{RangeHits, directions, flat_range, flat_search, kmeans};
pub use mapped::{MappedFile, bytes_of};

use crate::ordinals::OrdinalSet;
use crate::{IndexError, Metric};

/// Sets how many threads FAISS and OpenBLAS use in this process; 0 leaves OpenMP's default.
pub fn set_threads(count: usize) {
    // SAFETY: sets an atomic and calls a setter of OpenBLAS.
    unsafe { fx_threads(c_int::try_from(count).unwrap_or(0)) }
}

/// What BLAS says of itself and the kernels it chose (`OpenBLAS 0.3.21 … kernels SkylakeX`), or `None` if it is not
/// OpenBLAS.
pub fn blas() -> Option<String> {
    // SAFETY: static NUL-terminated strings.
    let (text, core) = unsafe { (CStr::from_ptr(fx_blas()), CStr::from_ptr(fx_blas_core())) };
    let (text, core) = (text.to_string_lossy(), core.to_string_lossy());
    (!text.is_empty()).then(|| format!("{}, kernels {core}", text.trim()))
}

/// The value for the environment variable `OPENBLAS_CORETYPE` that fits this processor, if it has AVX2 or better.
///
/// OpenBLAS picks kernels by model number, and for a processor newer than itself falls back to the oldest, which are
/// several times slower. It reads the variable when it is loaded, so it must be set before this program starts.
pub fn blas_core_type() -> Option<&'static str> {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::is_x86_feature_detected as has;
        if has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl") {
            return Some("SkylakeX");
        }
        if has!("avx2") && has!("fma") {
            return Some("Haswell");
        }
    }
    None
}

/// A FAISS index, owned.
pub struct Native {
    raw: NonNull<RawIndex>,
    shape: Shape,
    /// What the index borrows on the C++ side: the quantizer of its model, mapped memory.
    _borrows: (Option<Arc<Native>>, Option<Arc<MappedFile>>),
}

// SAFETY: FAISS indexes have no thread affinity; `&self` methods only call const functions of FAISS, which are safe to
// call concurrently, and every change needs `&mut self`.
unsafe impl Send for Native {}
// SAFETY: as above.
unsafe impl Sync for Native {}

impl Drop for Native {
    fn drop(&mut self) {
        // SAFETY: owned, and dropped once.
        unsafe { fx_free(self.raw.as_ptr()) }
    }
}

impl Native {
    fn own(
        action: &'static str,
        code: c_int,
        raw: *mut RawIndex,
        borrows: (Option<Arc<Native>>, Option<Arc<MappedFile>>),
    ) -> Result<Self, IndexError> {
        done(action, code)?;
        let raw = NonNull::new(raw)
            .ok_or_else(|| IndexError::Faiss { action, reason: "no index came back".into() })?;
        let mut native = Self { raw, shape: Shape::default(), _borrows: borrows };
        native.refresh();
        Ok(native)
    }

    fn refresh(&mut self) {
        // SAFETY: a valid index and a struct of the layout declared on both sides.
        unsafe { fx_shape(self.raw.as_ptr(), &mut self.shape) }
    }

    /// What a factory string makes.
    pub fn from_factory(factory: &str, dimension: usize, metric: Metric) -> Result<Self, IndexError> {
        let wrong = |reason: String| IndexError::Factory { factory: factory.to_owned(), dimension, reason };
        let text = CString::new(factory).map_err(|_| wrong("it holds a NUL byte".into()))?;
        let d = c_int::try_from(dimension).map_err(|_| wrong("the dimension is too large".into()))?;
        let mut raw = std::ptr::null_mut();
        // SAFETY: `text` is NUL-terminated and `raw` receives an owned index.
        let code = unsafe { fx_factory(d, text.as_ptr(), c_int::from(metric == Metric::L2), &mut raw) };
        Self::own("building an index", code, raw, (None, None)).map_err(|error| match error {
            IndexError::Faiss { reason, .. } => wrong(reason),
            other => other,
        })
    }

    /// Reads an index file. Its checksum should have been compared before: FAISS trusts the sizes it reads.
    pub fn read(path: &Path) -> Result<Self, IndexError> {
        let text = c_path(path)?;
        let mut raw = std::ptr::null_mut();
        // SAFETY: `text` is NUL-terminated and `raw` receives an owned index.
        let code = unsafe { fx_read(text.as_ptr(), &mut raw) };
        Self::own("reading a model", code, raw, (None, None))
    }

    /// Reads an index from memory.
    pub fn read_bytes(bytes: &[u8]) -> Result<Self, IndexError> {
        let mut raw = std::ptr::null_mut();
        // SAFETY: the reader on the other side stops at `length`; `raw` receives an owned index.
        let code = unsafe { fx_read_bytes(bytes.as_ptr(), bytes.len(), &mut raw) };
        Self::own("reading a segment", code, raw, (None, None))
    }

    /// Writes the index to a file, without fsync.
    pub fn write(&self, path: &Path) -> Result<(), IndexError> {
        let text = c_path(path)?;
        // SAFETY: a valid index and a NUL-terminated path.
        done("writing an index", unsafe { fx_write(self.raw.as_ptr(), text.as_ptr()) })
    }

    /// Its shape.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Vectors in it.
    pub fn total(&self) -> usize {
        // SAFETY: a valid index.
        usize::try_from(unsafe { fx_total(self.raw.as_ptr()) }).unwrap_or(0)
    }

    fn rows(&self, action: &'static str, x: &[f32], dimension: u64) -> Result<usize, IndexError> {
        let dimension = dimension as usize;
        expect(action, dimension > 0 && x.len().is_multiple_of(dimension))?;
        Ok(x.len() / dimension)
    }

    /// Sets how it is to be trained: seed, iterations, codes of the vectors themselves.
    pub fn prepare(&mut self, seed: u64, iterations: usize) -> Result<(), IndexError> {
        let seed = (seed % 1_000_000_007) as c_int;
        // SAFETY: a valid index, exclusively borrowed.
        done("preparing the training", unsafe {
            fx_prepare(self.raw.as_ptr(), seed, iterations.clamp(1, 1000) as c_int)
        })
    }

    /// Trains the transforms before the lists.
    pub fn train_chain(&mut self, x: &[f32]) -> Result<(), IndexError> {
        let rows = self.rows("training transforms", x, self.shape.dimension)?;
        // SAFETY: `x` holds `rows` vectors of the index's dimension.
        done("training transforms", unsafe { fx_train_chain(self.raw.as_ptr(), rows, x.as_ptr()) })
    }

    /// Takes vectors through the transforms before the lists (a copy where there are none).
    pub fn transformed(&self, x: &[f32]) -> Result<Vec<f32>, IndexError> {
        let rows = self.rows("transforming vectors", x, self.shape.dimension)?;
        let mut out = vec![0.0; rows * self.shape.lists_dimension as usize];
        // SAFETY: `x` holds `rows` vectors of the outer and `out` of the inner dimension.
        done("transforming vectors", unsafe {
            fx_apply_chain(self.raw.as_ptr(), rows, x.as_ptr(), out.as_mut_ptr())
        })?;
        Ok(out)
    }

    /// Trains the coarse centroids on transformed vectors.
    pub fn train_coarse(&mut self, x: &[f32]) -> Result<(), IndexError> {
        let rows = self.rows("training centroids", x, self.shape.lists_dimension)?;
        // SAFETY: `x` holds `rows` vectors of the inner dimension.
        done("training centroids", unsafe { fx_train_coarse(self.raw.as_ptr(), rows, x.as_ptr()) })
    }

    /// Takes coarse centroids, one for each list.
    pub fn set_centroids(&mut self, centroids: &[f32]) -> Result<(), IndexError> {
        let wanted = self.shape.lists * self.shape.lists_dimension;
        expect("setting centroids", centroids.len() as u64 == wanted)?;
        // SAFETY: one vector of the inner dimension for each list.
        done("setting centroids", unsafe { fx_set_centroids(self.raw.as_ptr(), centroids.as_ptr()) })
    }

    /// Trains the encoder of the lists on transformed vectors, after the centroids.
    pub fn train_codes(&mut self, x: &[f32]) -> Result<(), IndexError> {
        let rows = self.rows("training codes", x, self.shape.lists_dimension)?;
        // SAFETY: `x` holds `rows` vectors of the inner dimension.
        done("training codes", unsafe { fx_train_codes(self.raw.as_ptr(), rows, x.as_ptr()) })?;
        self.refresh();
        Ok(())
    }

    /// Trains an index without lists.
    pub fn train_whole(&mut self, x: &[f32]) -> Result<(), IndexError> {
        let rows = self.rows("training", x, self.shape.dimension)?;
        // SAFETY: `x` holds `rows` vectors of the index's dimension.
        done("training", unsafe { fx_train_whole(self.raw.as_ptr(), rows, x.as_ptr()) })?;
        self.refresh();
        Ok(())
    }

    /// The coarse centroids, list after list, where the quantizer is an exact one; empty otherwise.
    pub fn flat_centroids(&self) -> &[f32] {
        // SAFETY: a valid index; null or one vector of the inner dimension for each list, which stay where they are
        // until the quantizer is changed, and that takes `&mut self`.
        unsafe {
            let at = fx_flat_centroids(self.raw.as_ptr());
            if at.is_null() {
                return &[];
            }
            std::slice::from_raw_parts(at, (self.shape.lists * self.shape.lists_dimension) as usize)
        }
    }

    /// The `k` best lists of each transformed vector with the quantizer's scores, best first; -1 pads.
    pub fn coarse(&self, x: &[f32], k: usize) -> Result<(Vec<i64>, Vec<f32>), IndexError> {
        let rows = self.rows("finding lists", x, self.shape.lists_dimension)?;
        let k = k.min(self.shape.lists as usize).max(1);
        let (mut lists, mut scores) = (vec![-1; rows * k], vec![0.0; rows * k]);
        // SAFETY: `x` holds `rows` vectors of the inner dimension, the outputs `rows * k` values.
        done("finding lists", unsafe {
            fx_coarse(self.raw.as_ptr(), rows, x.as_ptr(), k, scores.as_mut_ptr(), lists.as_mut_ptr())
        })?;
        Ok((lists, scores))
    }

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

    /// Codes and ids of one list.
    pub fn list(&self, list: usize) -> Result<(&[u8], &[i64]), IndexError> {
        self.check_lists(&[list as i64], false)?;
        let (mut rows, mut codes, mut ids) = (0, std::ptr::null(), std::ptr::null());
        // SAFETY: the list exists.
        done("reading a list", unsafe { fx_list(self.raw.as_ptr(), list, &mut rows, &mut codes, &mut ids) })?;
        if rows == 0 {
            return Ok((&[], &[]));
        }
        expect("reading a list", ids.is_aligned())?;
        // SAFETY: FAISS or the checked mapping holds `rows` codes and ids there for as long as the index is not
        // changed, which `&self` rules out.
        Ok(unsafe {
            (
                std::slice::from_raw_parts(codes, rows * self.shape.code_size as usize),
                std::slice::from_raw_parts(ids, rows),
            )
        })
    }

    /// The `k` best of the given lists for each transformed vector, tombstones left out. Ids of -1 pad.
    pub fn search_lists(
        &self,
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
        let rows = self.check_probes(x, probes)?;
        let chunks = gone.pointers();
        let selector = if gone.is_empty() { std::ptr::null() } else { chunks.as_ptr() };
        let mut raw = std::ptr::null_mut();
        // SAFETY: as in `search_lists`; `raw` receives an owned result.
        let code = unsafe {
            fx_lists_range(
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

    /// Appends vectors to an index without plain lists; they get the next numbers.
    pub fn add(&mut self, x: &[f32]) -> Result<(), IndexError> {
        let rows = self.rows("adding vectors", x, self.shape.dimension)?;
        expect("adding vectors", self.shape.is_trained())?;
        // SAFETY: `x` holds `rows` vectors of the index's dimension.
        done("adding vectors", unsafe { fx_add(self.raw.as_ptr(), rows, x.as_ptr()) })
    }

    /// The `k` best of an index without plain lists, by the number each vector got. Numbers of -1 pad.
    pub fn search(&self, x: &[f32], k: usize, nprobe: usize) -> Result<(Vec<i64>, Vec<f32>), IndexError> {
        let rows = self.rows("searching", x, self.shape.dimension)?;
        let (mut ids, mut scores) = (vec![-1; rows * k], vec![0.0; rows * k]);
        // SAFETY: `x` holds `rows` vectors, the outputs `rows * k` values.
        done("searching", unsafe {
            fx_search(
                self.raw.as_ptr(),
                rows,
                x.as_ptr(),
                k,
                nprobe.max(1),
                scores.as_mut_ptr(),
                ids.as_mut_ptr(),
            )
        })?;
        Ok((ids, scores))
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faiss_errors_come_back_as_errors() {
        assert!(matches!(Native::from_factory("Nonsense9", 64, Metric::Ip), Err(IndexError::Factory { .. })));
        assert!(matches!(Native::from_factory("IVF16,PQ7", 64, Metric::Ip), Err(IndexError::Factory { .. })));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("foreign");
        std::fs::write(&path, b"this is no index at all").unwrap();
        assert!(Native::read(&path).is_err());
        assert!(Native::read_bytes(b"IxF").is_err());
    }

    #[test]
    fn list_numbers_are_checked_before_faiss_sees_them() {
        let mut index = Native::from_factory("IVF4,Flat", 8, Metric::Ip).unwrap();
        index.set_centroids(&[0.5; 32]).unwrap();
        let x = [0.35; 8];
        for list in [-1, 4] {
            assert!(matches!(index.encode(&x, &[list]), Err(IndexError::Coarse(_))));
            assert!(matches!(index.add_codes(&[1], &[list], &[0; 32]), Err(IndexError::Coarse(_))));
        }
        assert!(index.encode(&x, &[0, 1]).is_err(), "two lists for one vector");
        let probes = Probes { nprobe: 1, lists: &[4], scores: &[0.0] };
        assert!(index.search_lists(&x, 1, &probes, &OrdinalSet::default()).is_err());
    }

    #[test]
    fn openblas_is_linked() {
        assert!(blas().is_some_and(|text| text.contains("OpenBLAS")), "reference BLAS is 14 times slower");
    }
}
