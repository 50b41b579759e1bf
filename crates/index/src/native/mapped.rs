//! Files mapped for reading, and numbers as bytes.

use std::path::Path;
use std::ptr::NonNull;

use super::ffi::*;
use crate::IndexError;

/// A file mapped for reading. It must not be changed while it is mapped; segments never are.
pub struct MappedFile {
    data: NonNull<u8>,
    length: usize,
}

// SAFETY: read-only memory without thread affinity.
unsafe impl Send for MappedFile {}
// SAFETY: as above.
unsafe impl Sync for MappedFile {}

impl Drop for MappedFile {
    fn drop(&mut self) {
        // SAFETY: mapped by `open` with this length, unmapped once.
        unsafe { fx_unmap(self.data.as_ptr(), self.length) }
    }
}

impl MappedFile {
    /// Maps a whole file; `None` if the process may not have the address space for it.
    pub fn open(path: &Path) -> Result<Option<Self>, IndexError> {
        let text = c_path(path)?;
        let (mut data, mut length) = (std::ptr::null(), 0);
        // SAFETY: `text` is NUL-terminated; the outputs receive address and length.
        let code = unsafe { fx_map(text.as_ptr(), &mut data, &mut length) };
        if code == 1 {
            return Ok(None);
        }
        if code != 0 {
            return Err(IndexError::damaged(path, format!("it cannot be mapped ({})", reason())));
        }
        let data = NonNull::new(data.cast_mut()).ok_or_else(|| IndexError::damaged(path, "it is empty"))?;
        Ok(Some(Self { data, length }))
    }

    pub(super) fn as_ptr(&self) -> *const u8 {
        self.data.as_ptr()
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.length
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: mapped with this length for as long as `self` lives.
        unsafe { std::slice::from_raw_parts(self.data.as_ptr(), self.length) }
    }

    /// `count` values of a plain number type from offset `at`; empty if that lies outside or is not aligned.
    pub fn values<T: Plain>(&self, at: usize, count: usize) -> &[T] {
        let size = size_of::<T>();
        let end = count.checked_mul(size).and_then(|bytes| bytes.checked_add(at));
        if !at.is_multiple_of(align_of::<T>()) || end.is_none_or(|end| end > self.length) {
            return &[];
        }
        // SAFETY: the range lies in the mapping, which begins on a page; every bit pattern is a `T`.
        unsafe { std::slice::from_raw_parts(self.data.as_ptr().add(at).cast(), count) }
    }
}

/// Number types of which every bit pattern is a value.
pub trait Plain: Copy {}
impl Plain for u16 {}
impl Plain for u64 {}
impl Plain for f32 {}

/// The bytes of plain numbers in memory order (little-endian on the machines facering supports).
pub fn bytes_of<T: Plain>(values: &[T]) -> &[u8] {
    // SAFETY: plain numbers have no padding.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}

/// The same for filling them.
pub fn bytes_of_mut<T: Plain>(values: &mut [T]) -> &mut [u8] {
    // SAFETY: plain numbers have no padding, and every bit pattern is one.
    unsafe { std::slice::from_raw_parts_mut(values.as_mut_ptr().cast(), size_of_val(values)) }
}
