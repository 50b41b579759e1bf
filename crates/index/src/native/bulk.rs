//! Many queries against many vectors, in register tiles: see `native/bulk.h`.

use std::borrow::Cow;
use std::ffi::c_int;
use std::marker::PhantomData;
use std::ptr::NonNull;

use super::Native;
use super::ffi::{RawIndex, done, expect};
use crate::IndexError;

#[repr(C)]
/// Pairs on the C++ side.
struct RawPairs {
    _opaque: [u8; 0],
    _not_send: PhantomData<*mut u8>,
}

#[repr(C)]
/// Queries in 8 bits on the C++ side.
struct RawBytes {
    _opaque: [u8; 0],
    _not_send: PhantomData<*mut u8>,
}

unsafe extern "C" {
    fn fx_bulk_fits(index: *const RawIndex) -> c_int;
    fn fx_has_chain(index: *const RawIndex) -> c_int;
    fn fx_bytes_new(
        index: *const RawIndex,
        x: *const f32,
        n: usize,
        radius: f32,
        out: *mut *mut RawBytes,
    ) -> c_int;
    fn fx_bytes_free(bytes: *mut RawBytes);
    fn fx_bulk_lists(
        view: *const RawIndex,
        x: *const f32,
        bytes: *const RawBytes,
        first: usize,
        last: usize,
        starts: *const u64,
        queries: *const u32,
        radius: f32,
        out: *mut *mut RawPairs,
    ) -> c_int;
    fn fx_bulk_flat(
        d: usize,
        x: *const f32,
        queries: *const u32,
        count: usize,
        base: *const f32,
        base_rows: usize,
        radius: f32,
        out: *mut *mut RawPairs,
    ) -> c_int;
    fn fx_pairs_view(pairs: *const RawPairs, found: *mut *const Pair, count: *mut usize);
    fn fx_pairs_free(pairs: *mut RawPairs);
}

/// A pair above the radius: id of the stored vector, number of the query, raw score.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Pair {
    /// Id in a list, or number of the row.
    pub id: u64,
    /// Number of the query.
    pub query: u32,
    /// Inner product.
    pub score: f32,
}

/// Pairs that were found, held on the C++ side.
pub struct Pairs(NonNull<RawPairs>);

// SAFETY: plain memory on the C++ side, owned by this value and not changed any more.
unsafe impl Send for Pairs {}
// SAFETY: as above.
unsafe impl Sync for Pairs {}

impl Drop for Pairs {
    fn drop(&mut self) {
        // SAFETY: owned, and dropped once.
        unsafe { fx_pairs_free(self.0.as_ptr()) }
    }
}

impl Pairs {
    fn own(action: &'static str, code: c_int, raw: *mut RawPairs) -> Result<Self, IndexError> {
        done(action, code)?;
        let raw = NonNull::new(raw)
            .ok_or_else(|| IndexError::Faiss { action, reason: "no result came back".into() })?;
        Ok(Self(raw))
    }

    /// All of them, in no order.
    pub fn as_slice(&self) -> &[Pair] {
        let (mut found, mut count) = (std::ptr::null(), 0);
        // SAFETY: the result holds `count` pairs of the layout declared on both sides until it is freed.
        unsafe {
            fx_pairs_view(self.0.as_ptr(), &mut found, &mut count);
            if count == 0 || found.is_null() {
                return &[];
            }
            std::slice::from_raw_parts(found, count)
        }
    }
}

/// Queries and a codebook in 8 bits, held on the C++ side: see `native/bytes.h`.
pub struct Bytes {
    raw: NonNull<RawBytes>,
    rows: usize,
}

// SAFETY: plain memory on the C++ side, owned by this value and not changed any more.
unsafe impl Send for Bytes {}
// SAFETY: as above.
unsafe impl Sync for Bytes {}

impl Drop for Bytes {
    fn drop(&mut self) {
        // SAFETY: owned, and dropped once.
        unsafe { fx_bytes_free(self.raw.as_ptr()) }
    }
}

/// Numbers of queries, grouped by the list that they visit.
pub struct Visits<'a> {
    /// The first list.
    pub first: usize,
    /// Where in `queries` those of each list from `first` on begin, and the end of the last.
    pub starts: &'a [u64],
    /// Numbers of rows of the queries.
    pub queries: &'a [u32],
}

impl Native {
    /// Whether [`Native::bulk_lists`] gives the scores that a search gives: inner product, codes of the vectors
    /// themselves.
    pub fn fits_bulk(&self) -> bool {
        // SAFETY: a valid index.
        unsafe { fx_bulk_fits(self.raw.as_ptr()) != 0 }
    }

    /// [`Native::transformed`] without a copy where there are no transforms.
    pub fn transformed_cow<'a>(&self, x: &'a [f32]) -> Result<Cow<'a, [f32]>, IndexError> {
        // SAFETY: a valid index.
        if unsafe { fx_has_chain(self.raw.as_ptr()) } != 0 {
            return self.transformed(x).map(Cow::Owned);
        }
        self.rows("transforming vectors", x, self.shape.lists_dimension)?;
        Ok(Cow::Borrowed(x))
    }

    /// Transformed queries `x` in 8 bits, for this radius and indexes with this one's codebook; `None` where the processor
    /// does not multiply bytes or the codes are no bytes of product quantization.
    pub fn bytes(&self, x: &[f32], radius: f32) -> Result<Option<Bytes>, IndexError> {
        const ACTION: &str = "rounding vectors to bytes";
        let rows = self.rows(ACTION, x, self.shape.lists_dimension)?;
        let mut raw = std::ptr::null_mut();
        // SAFETY: `x` holds `rows` vectors of the lists' dimension; `raw` receives an owned result or null.
        let code = unsafe { fx_bytes_new(self.raw.as_ptr(), x.as_ptr(), rows, radius, &mut raw) };
        done(ACTION, code)?;
        Ok(NonNull::new(raw).map(|raw| Bytes { raw, rows }))
    }

    /// Everything above `radius` in some neighbouring lists, for transformed queries `x`. With the same queries in 8 bits, made
    /// for the same radius, scores are rounded, and a little below the radius counts too.
    pub fn bulk_lists(
        &self,
        x: &[f32],
        bytes: Option<&Bytes>,
        visits: &Visits<'_>,
        radius: f32,
    ) -> Result<Pairs, IndexError> {
        const ACTION: &str = "comparing with lists";
        let rows = self.rows(ACTION, x, self.shape.lists_dimension)?;
        let lists = visits.starts.len().saturating_sub(1);
        let ordered = visits.starts.windows(2).all(|pair| pair[0] <= pair[1])
            && visits.starts.last().is_some_and(|end| *end <= visits.queries.len() as u64);
        let known = visits.queries.iter().all(|query| (*query as usize) < rows);
        let there = visits.first + lists <= self.shape.lists as usize;
        let same = bytes.is_none_or(|bytes| bytes.rows == rows);
        expect(ACTION, self.fits_bulk() && ordered && known && there && same)?;
        let mut raw = std::ptr::null_mut();
        // SAFETY: the lists exist, `starts` holds one more than their number, all within `queries`, whose numbers are
        // rows of `x` and of `bytes`, which was made for an index of this shape; `raw` receives an owned result.
        let code = unsafe {
            fx_bulk_lists(
                self.raw.as_ptr(),
                x.as_ptr(),
                bytes.map_or(std::ptr::null(), |bytes| bytes.raw.as_ptr().cast_const()),
                visits.first,
                visits.first + lists,
                visits.starts.as_ptr(),
                visits.queries.as_ptr(),
                radius,
                &mut raw,
            )
        };
        Pairs::own(ACTION, code, raw)
    }
}

/// Every pair of the named rows of `x` and the rows of `base` above `radius`.
pub fn bulk_flat(
    d: usize,
    x: &[f32],
    queries: &[u32],
    base: &[f32],
    radius: f32,
) -> Result<Pairs, IndexError> {
    const ACTION: &str = "comparing vectors";
    expect(ACTION, d > 0 && x.len().is_multiple_of(d) && base.len().is_multiple_of(d))?;
    expect(ACTION, queries.iter().all(|query| (*query as usize) < x.len() / d))?;
    let mut raw = std::ptr::null_mut();
    // SAFETY: `queries` are rows of `x`, `base` holds whole vectors of `d` values; `raw` receives an owned result.
    let code = unsafe {
        fx_bulk_flat(
            d,
            x.as_ptr(),
            queries.as_ptr(),
            queries.len(),
            base.as_ptr(),
            base.len() / d,
            radius,
            &mut raw,
        )
    };
    Pairs::own(ACTION, code, raw)
}
