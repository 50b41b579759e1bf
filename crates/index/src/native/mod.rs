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

mod bulk;
mod ffi;
mod flat;
mod lists;
mod mapped;

#[cfg(test)]
mod tests;

use std::ffi::{CStr, CString, c_int};
use std::path::Path;
use std::ptr::NonNull;
use std::sync::Arc;

pub use bulk::{Bytes, Pairs, Visits, bulk_flat};
pub use ffi::Shape;
use ffi::*;
pub use flat::{RangeHits, directions, flat_range, flat_search, kmeans, project};
pub use lists::Probes;
pub use mapped::{MappedFile, bytes_of, bytes_of_mut};

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
