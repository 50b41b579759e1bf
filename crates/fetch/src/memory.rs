//! How many decoded pixels may wait for the next stages.
//!
//! Invariant: what [`Memory::hold`] gave counts until the last clone of its pixels is dropped, wherever that is.

use std::sync::Arc;

use bytes::Bytes;
use records::Pixels;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What one permit stands for, in bytes; the greatest number of permits is 2^32.
const UNIT: usize = 1024;

/// The memory for pixels.
#[derive(Clone)]
pub(crate) struct Memory(Arc<Semaphore>);

/// Pixels with their share of the memory.
struct Held {
    rgb: Bytes,
    _share: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.rgb
    }
}

impl Memory {
    pub(crate) fn new(mib: usize) -> Self {
        Self(Arc::new(Semaphore::new((mib << 20) / UNIT)))
    }

    /// Whether nothing is left, so that decoding a picture would be in vain.
    pub(crate) fn is_full(&self) -> bool {
        self.0.available_permits() == 0
    }

    /// Counts these pixels in; `None` if there is no room for them.
    pub(crate) fn hold(&self, pixels: Pixels) -> Option<Pixels> {
        let units = u32::try_from(pixels.rgb.len().div_ceil(UNIT)).ok()?;
        // What does not fit closes the rest as well: otherwise every further picture would be decoded in vain.
        let Ok(share) = Arc::clone(&self.0).try_acquire_many_owned(units) else { return None };
        let held = Held { rgb: pixels.rgb, _share: share };
        Some(Pixels { rgb: Bytes::from_owner(held), ..pixels })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pixels(kib: usize) -> Pixels {
        Pixels { width: 1, height: 1, rgb: vec![7; kib * 1024].into() }
    }

    #[test]
    fn what_is_held_counts_until_its_last_clone_is_gone() {
        let memory = Memory::new(1);
        let first = memory.hold(pixels(600)).unwrap();
        assert!(memory.hold(pixels(600)).is_none());
        let clone = first.clone();
        drop(first);
        assert!(memory.hold(pixels(600)).is_none());
        let slice = clone.rgb.slice(5..9);
        drop(clone);
        assert!(memory.hold(pixels(600)).is_none());
        assert_eq!(slice.as_ref(), [7; 4]);
        drop(slice);
        let again = memory.hold(pixels(1024)).unwrap();
        assert!(memory.is_full());
        drop(again);
        assert!(!memory.is_full());
    }

    #[test]
    fn a_picture_larger_than_all_memory_is_never_held() {
        assert!(Memory::new(1).hold(pixels(1025)).is_none());
    }
}
