//! Tensors in and out: plain data with a shape, row-major.

use std::borrow::Cow;

use half::f16;

/// The type of a tensor's values.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Element {
    /// 32-bit float.
    F32,
    /// 16-bit float.
    F16,
    /// Unsigned byte.
    U8,
    /// Signed byte.
    I8,
    /// Signed 32-bit integer.
    I32,
    /// Signed 64-bit integer.
    I64,
    /// Anything else; models that take or give it cannot be run here.
    Other,
}

/// Values that are lent to a session.
#[derive(Clone, Copy, Debug)]
pub enum ViewData<'a> {
    /// 32-bit floats.
    F32(&'a [f32]),
    /// 16-bit floats.
    F16(&'a [f16]),
    /// Unsigned bytes.
    U8(&'a [u8]),
    /// Signed bytes.
    I8(&'a [i8]),
    /// Signed 32-bit integers.
    I32(&'a [i32]),
    /// Signed 64-bit integers.
    I64(&'a [i64]),
}

impl ViewData<'_> {
    /// The number of values.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::F16(values) => values.len(),
            Self::U8(values) => values.len(),
            Self::I8(values) => values.len(),
            Self::I32(values) => values.len(),
            Self::I64(values) => values.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A tensor lent to a session; the number of values is the product of the shape.
#[derive(Clone, Copy)]
pub struct TensorView<'a> {
    /// Length of each axis, outermost first.
    pub shape: &'a [usize],
    /// The values, row-major.
    pub data: ViewData<'a>,
}

macro_rules! view_from {
    ($($name:ident: $element:ty => $variant:ident),*) => {
        impl<'a> TensorView<'a> {
            $(
                #[doc = concat!("A tensor of `", stringify!($element), "`.")]
                pub fn $name(shape: &'a [usize], values: &'a [$element]) -> Self {
                    Self { shape, data: ViewData::$variant(values) }
                }
            )*
        }
    };
}
view_from!(f32: f32 => F32, f16: f16 => F16, u8: u8 => U8, i8: i8 => I8, i32: i32 => I32, i64: i64 => I64);

/// A tensor that a session lends for reading, until its next run.
pub struct Lent<'a> {
    /// Length of each axis, outermost first.
    pub shape: Vec<usize>,
    /// The values, row-major.
    pub data: ViewData<'a>,
}

impl<'a> Lent<'a> {
    /// The floats; fp16 is widened. `None` for integers.
    pub fn floats(&self) -> Option<Cow<'a, [f32]>> {
        match self.data {
            ViewData::F32(values) => Some(Cow::Borrowed(values)),
            ViewData::F16(values) => Some(values.iter().map(|value| value.to_f32()).collect()),
            _ => None,
        }
    }
}

impl std::fmt::Debug for Lent<'_> {
    /// Leaves out the values, which may be an embedding.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Lent({:?})", self.shape)
    }
}

/// Values that a session gave.
#[derive(Clone, PartialEq)]
pub enum TensorData {
    /// 32-bit floats.
    F32(Vec<f32>),
    /// 16-bit floats.
    F16(Vec<f16>),
    /// Unsigned bytes.
    U8(Vec<u8>),
    /// Signed bytes.
    I8(Vec<i8>),
    /// Signed 32-bit integers.
    I32(Vec<i32>),
    /// Signed 64-bit integers.
    I64(Vec<i64>),
}

/// A tensor that a session gave.
#[derive(Clone, PartialEq)]
pub struct Tensor {
    /// Length of each axis, outermost first.
    pub shape: Vec<usize>,
    /// The values, row-major.
    pub data: TensorData,
}

impl Tensor {
    /// The floats; fp16 is widened. `None` for integers.
    pub fn into_f32(self) -> Option<Vec<f32>> {
        match self.data {
            TensorData::F32(values) => Some(values),
            TensorData::F16(values) => Some(values.into_iter().map(f16::to_f32).collect()),
            _ => None,
        }
    }

    /// The 32-bit floats, without a copy. `None` for any other type.
    pub fn as_f32(&self) -> Option<&[f32]> {
        match &self.data {
            TensorData::F32(values) => Some(values),
            _ => None,
        }
    }

    /// The 64-bit integers, without a copy. `None` for any other type.
    pub fn as_i64(&self) -> Option<&[i64]> {
        match &self.data {
            TensorData::I64(values) => Some(values),
            _ => None,
        }
    }
}

impl std::fmt::Debug for Tensor {
    /// Leaves out the values, which may be an embedding.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tensor({:?})", self.shape)
    }
}
