//! FAISS functions that work on plain vectors without an index, and the result of range searches.

use std::ffi::c_int;
use std::ptr::NonNull;

use super::ffi::*;
use crate::{IndexError, Metric};

/// Result of a range search, held by FAISS.
pub struct RangeHits {
    raw: NonNull<RawRange>,
    rows: usize,
}

impl Drop for RangeHits {
    fn drop(&mut self) {
        // SAFETY: owned, and dropped once.
        unsafe { fx_range_free(self.raw.as_ptr()) }
    }
}

impl RangeHits {
    pub(super) fn own(
        action: &'static str,
        code: c_int,
        raw: *mut RawRange,
        rows: usize,
    ) -> Result<Self, IndexError> {
        done(action, code)?;
        let raw = NonNull::new(raw)
            .ok_or_else(|| IndexError::Faiss { action, reason: "no result came back".into() })?;
        Ok(Self { raw, rows })
    }

    /// Ids and raw scores of one query, in no order.
    pub fn of(&self, row: usize) -> (&[i64], &[f32]) {
        if row >= self.rows {
            return (&[], &[]);
        }
        let (mut limits, mut ids, mut scores) = (std::ptr::null(), std::ptr::null(), std::ptr::null());
        // SAFETY: FAISS holds `rows + 1` limits, and that many ids and scores, until the result is freed; `row` is
        // below `rows`.
        unsafe {
            fx_range_view(self.raw.as_ptr(), &mut limits, &mut ids, &mut scores);
            let (from, to) = (*limits.add(row), *limits.add(row + 1));
            if to <= from || ids.is_null() {
                return (&[], &[]);
            }
            (
                std::slice::from_raw_parts(ids.add(from), to - from),
                std::slice::from_raw_parts(scores.add(from), to - from),
            )
        }
    }
}

fn flat_rows(d: usize, x: &[f32], base: &[f32]) -> Result<(usize, usize), IndexError> {
    let fits = d > 0 && x.len().is_multiple_of(d) && base.len().is_multiple_of(d);
    expect("comparing vectors", fits)?;
    Ok((x.len() / d, base.len() / d))
}

/// The `k` best rows of `base` for each query, by exhaustive comparison. Rows of -1 pad.
pub fn flat_search(
    metric: Metric,
    d: usize,
    x: &[f32],
    base: &[f32],
    k: usize,
) -> Result<(Vec<i64>, Vec<f32>), IndexError> {
    let (rows, base_rows) = flat_rows(d, x, base)?;
    let (mut ids, mut scores) = (vec![-1; rows * k], vec![0.0; rows * k]);
    // SAFETY: `x` and `base` hold whole vectors of `d` values, the outputs `rows * k` values.
    done("comparing vectors", unsafe {
        fx_flat_search(
            c_int::from(metric == Metric::L2),
            d,
            rows,
            x.as_ptr(),
            base_rows,
            base.as_ptr(),
            k,
            scores.as_mut_ptr(),
            ids.as_mut_ptr(),
        )
    })?;
    Ok((ids, scores))
}

/// Every row of `base` beyond `radius` for each query, by exhaustive comparison.
pub fn flat_range(
    metric: Metric,
    d: usize,
    x: &[f32],
    base: &[f32],
    radius: f32,
) -> Result<RangeHits, IndexError> {
    let (rows, base_rows) = flat_rows(d, x, base)?;
    let mut raw = std::ptr::null_mut();
    // SAFETY: `x` and `base` hold whole vectors of `d` values; `raw` receives an owned result.
    let code = unsafe {
        let l2 = c_int::from(metric == Metric::L2);
        fx_flat_range(l2, d, rows, x.as_ptr(), base_rows, base.as_ptr(), radius, &mut raw)
    };
    RangeHits::own("comparing vectors", code, raw, rows)
}

/// `k` centroids of the rows by k-means (spherical for inner product).
pub fn kmeans(
    metric: Metric,
    d: usize,
    x: &[f32],
    k: usize,
    iterations: usize,
    seed: u64,
) -> Result<Vec<f32>, IndexError> {
    let (rows, _) = flat_rows(d, x, &[])?;
    expect("clustering", k > 0 && k <= rows && c_int::try_from(k).is_ok())?;
    let mut out = vec![0.0; k * d];
    // SAFETY: `x` holds `rows` vectors of `d` values, `out` `k` of them.
    done("clustering", unsafe {
        fx_kmeans(
            d as c_int,
            rows,
            x.as_ptr(),
            k,
            c_int::from(metric == Metric::L2),
            iterations as c_int,
            (seed % 1_000_000_007) as c_int,
            out.as_mut_ptr(),
        )
    })?;
    Ok(out)
}

/// The `out_d` directions (rows of `d` values, orthonormal) that keep the most of the inner products of the rows.
pub fn directions(d: usize, out_d: usize, x: &[f32]) -> Result<Vec<f32>, IndexError> {
    let (rows, _) = flat_rows(d, x, &[])?;
    expect("finding directions", out_d > 0 && out_d <= d && rows >= out_d)?;
    let mut out = vec![0.0; out_d * d];
    // SAFETY: `x` holds `rows` vectors of `d` values, `out` `out_d` of them.
    done("finding directions", unsafe { fx_directions(d, out_d, rows, x.as_ptr(), out.as_mut_ptr()) })?;
    Ok(out)
}

/// Rows of `d` values projected on directions (rows of `d` values too).
pub fn project(d: usize, directions: &[f32], x: &[f32]) -> Result<Vec<f32>, IndexError> {
    let (rows, out_d) = flat_rows(d, x, directions)?;
    let mut out = vec![0.0; rows * out_d];
    // SAFETY: `x` holds `rows` and `directions` `out_d` vectors of `d` values, `out` `rows` of `out_d`.
    done("projecting vectors", unsafe {
        fx_project(d, out_d, rows, x.as_ptr(), directions.as_ptr(), out.as_mut_ptr())
    })?;
    Ok(out)
}
