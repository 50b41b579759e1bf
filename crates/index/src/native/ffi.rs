//! The functions of `native/shim.cpp` and how their failures become errors.
//!
//! The declarations must agree with the definitions there, parameter for parameter.

use std::ffi::{CStr, CString, c_char, c_int};
use std::marker::PhantomData;
use std::path::Path;

use crate::{IndexError, Metric};

#[repr(C)]
/// An index on the C++ side.
pub struct RawIndex {
    _opaque: [u8; 0],
    _not_send: PhantomData<*mut u8>,
}

#[repr(C)]
/// A range result on the C++ side.
pub struct RawRange {
    _opaque: [u8; 0],
    _not_send: PhantomData<*mut u8>,
}

/// What FAISS built from a factory string.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug)]
pub struct Shape {
    /// Dimension of vectors given to it.
    pub dimension: u64,
    /// Dimension after its transforms (OPQ, PCA).
    pub lists_dimension: u64,
    /// Inverted lists, 0 without.
    pub lists: u64,
    /// Bytes of a code in the lists.
    pub code_size: u64,
    trained: c_int,
    plain_lists: c_int,
    l2: c_int,
    flat_quantizer: c_int,
}

impl Shape {
    /// Whether vectors can be added.
    pub fn is_trained(&self) -> bool {
        self.trained != 0
    }

    /// Whether its lists are arrays of fixed-size codes, which segments can hold and map.
    pub fn has_plain_lists(&self) -> bool {
        self.plain_lists != 0
    }

    /// The metric.
    pub fn metric(&self) -> Metric {
        if self.l2 == 0 { Metric::Ip } else { Metric::L2 }
    }

    /// Whether lists are found by exact search over the centroids.
    pub fn has_flat_quantizer(&self) -> bool {
        self.flat_quantizer != 0
    }
}

unsafe extern "C" {
    pub fn fx_error() -> *const c_char;
    pub fn fx_threads(count: c_int);
    pub fn fx_blas() -> *const c_char;
    pub fn fx_blas_core() -> *const c_char;
    pub fn fx_factory(dimension: c_int, text: *const c_char, l2: c_int, out: *mut *mut RawIndex) -> c_int;
    pub fn fx_free(index: *mut RawIndex);
    pub fn fx_read(path: *const c_char, out: *mut *mut RawIndex) -> c_int;
    pub fn fx_read_bytes(data: *const u8, length: usize, out: *mut *mut RawIndex) -> c_int;
    pub fn fx_write(index: *const RawIndex, path: *const c_char) -> c_int;
    pub fn fx_shape(index: *const RawIndex, out: *mut Shape);
    pub fn fx_total(index: *const RawIndex) -> i64;
    pub fn fx_prepare(index: *mut RawIndex, seed: c_int, iterations: c_int) -> c_int;
    pub fn fx_train_chain(index: *mut RawIndex, rows: usize, x: *const f32) -> c_int;
    pub fn fx_apply_chain(index: *const RawIndex, rows: usize, x: *const f32, out: *mut f32) -> c_int;
    pub fn fx_train_coarse(index: *mut RawIndex, rows: usize, x: *const f32) -> c_int;
    pub fn fx_set_centroids(index: *mut RawIndex, centroids: *const f32) -> c_int;
    pub fn fx_train_codes(index: *mut RawIndex, rows: usize, x: *const f32) -> c_int;
    pub fn fx_train_whole(index: *mut RawIndex, rows: usize, x: *const f32) -> c_int;
    pub fn fx_kmeans(
        d: c_int,
        rows: usize,
        x: *const f32,
        k: usize,
        l2: c_int,
        iterations: c_int,
        seed: c_int,
        out: *mut f32,
    ) -> c_int;
    pub fn fx_flat_centroids(index: *const RawIndex) -> *const f32;
    pub fn fx_directions(d: usize, out_d: usize, rows: usize, x: *const f32, out: *mut f32) -> c_int;
    pub fn fx_project(
        d: usize,
        out_d: usize,
        rows: usize,
        x: *const f32,
        directions: *const f32,
        out: *mut f32,
    ) -> c_int;
    pub fn fx_coarse(
        index: *const RawIndex,
        rows: usize,
        x: *const f32,
        k: usize,
        scores: *mut f32,
        lists: *mut i64,
    ) -> c_int;
    pub fn fx_view(model: *const RawIndex, out: *mut *mut RawIndex) -> c_int;
    pub fn fx_view_mapped(
        model: *const RawIndex,
        base: *const u8,
        starts: *const u64,
        rows: usize,
        out: *mut *mut RawIndex,
    ) -> c_int;
    pub fn fx_encode(
        index: *const RawIndex,
        rows: usize,
        x: *const f32,
        lists: *const i64,
        codes: *mut u8,
    ) -> c_int;
    pub fn fx_add_codes(
        view: *mut RawIndex,
        rows: usize,
        ids: *const i64,
        lists: *const i64,
        codes: *const u8,
    ) -> c_int;
    pub fn fx_view_read(
        model: *const RawIndex,
        path: *const c_char,
        base: u64,
        starts: *const u64,
        rows: usize,
        out: *mut *mut RawIndex,
    ) -> c_int;
    pub fn fx_list_size(view: *const RawIndex, list: usize) -> usize;
    pub fn fx_list(view: *const RawIndex, list: usize, codes: *mut *const u8, ids: *mut *const i64) -> c_int;
    pub fn fx_list_release(view: *const RawIndex, list: usize, codes: *const u8, ids: *const i64);
    pub fn fx_lists_search(
        faiss_only: c_int,
        view: *const RawIndex,
        rows: usize,
        x: *const f32,
        k: usize,
        nprobe: usize,
        lists: *const i64,
        coarse: *const f32,
        gone: *const *const u64,
        gone_chunks: usize,
        scores: *mut f32,
        ids: *mut i64,
    ) -> c_int;
    pub fn fx_lists_range(
        faiss_only: c_int,
        view: *const RawIndex,
        rows: usize,
        x: *const f32,
        radius: f32,
        nprobe: usize,
        lists: *const i64,
        coarse: *const f32,
        gone: *const *const u64,
        gone_chunks: usize,
        out: *mut *mut RawRange,
    ) -> c_int;
    pub fn fx_flat_search(
        l2: c_int,
        d: usize,
        rows: usize,
        x: *const f32,
        base_rows: usize,
        base: *const f32,
        k: usize,
        scores: *mut f32,
        ids: *mut i64,
    ) -> c_int;
    pub fn fx_flat_range(
        l2: c_int,
        d: usize,
        rows: usize,
        x: *const f32,
        base_rows: usize,
        base: *const f32,
        radius: f32,
        out: *mut *mut RawRange,
    ) -> c_int;
    pub fn fx_range_view(
        result: *const RawRange,
        limits: *mut *const usize,
        ids: *mut *const i64,
        scores: *mut *const f32,
    );
    pub fn fx_range_free(result: *mut RawRange);
    pub fn fx_add(index: *mut RawIndex, rows: usize, x: *const f32) -> c_int;
    pub fn fx_search(
        index: *const RawIndex,
        rows: usize,
        x: *const f32,
        k: usize,
        nprobe: usize,
        scores: *mut f32,
        ids: *mut i64,
    ) -> c_int;
    pub fn fx_map(path: *const c_char, data: *mut *const u8, length: *mut usize) -> c_int;
    pub fn fx_unmap(data: *const u8, length: usize);
}

/// The reason the last failing call on this thread left.
pub fn reason() -> String {
    // SAFETY: `fx_error` returns a NUL-terminated string owned by this thread, valid until its next call.
    unsafe { CStr::from_ptr(fx_error()) }.to_string_lossy().into_owned()
}

/// An error unless the call succeeded.
pub fn done(action: &'static str, code: c_int) -> Result<(), IndexError> {
    if code == 0 { Ok(()) } else { Err(IndexError::Faiss { action, reason: reason() }) }
}

/// An error unless the buffers fit.
pub fn expect(action: &'static str, ok: bool) -> Result<(), IndexError> {
    if ok {
        Ok(())
    } else {
        Err(IndexError::Faiss { action, reason: "a buffer has the wrong length".into() })
    }
}

/// A path as C takes it.
pub fn c_path(path: &Path) -> Result<CString, IndexError> {
    use std::os::unix::ffi::OsStrExt;
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| IndexError::damaged(path, "the file name holds a NUL byte"))
}
