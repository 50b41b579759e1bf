//! Memory for the batches of a model with one input: written in place, and copied to a device once.
//!
//! On the processor a batch is a part of one block, read where it lies. For a GPU there is a page-locked tensor for each
//! of a few batch sizes, so that the driver copies straight out of it and the network sees few different shapes: cuDNN
//! and TensorRT prepare each shape anew. A batch between two sizes is run at the larger one, and the rows beyond it, left
//! over from earlier batches, are not looked at.

use std::time::{Duration, Instant};

use half::f16;
use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::session::{Session as OrtSession, SessionInputValue};
use ort::value::{DynTensor, DynValue, TensorElementType, TensorRef};

use crate::{Element, Lent, Port, Provider, RunError, Session};

/// Memory for batches of one session's only input.
pub struct Feed {
    /// Length of each axis, the first being that of a whole batch.
    shape: Vec<usize>,
    row: usize,
    memory: Memory,
}

enum Memory {
    F32(Vec<f32>),
    F16(Vec<f16>),
    U8(Vec<u8>),
    /// Tensors with their number of rows, rising.
    Bound(Vec<(usize, DynTensor)>),
}

/// The rows of a batch, to be written one after another.
pub enum Rows<'a> {
    /// 32-bit floats.
    F32(&'a mut [f32]),
    /// 16-bit floats.
    F16(&'a mut [f16]),
    /// Unsigned bytes.
    U8(&'a mut [u8]),
}

impl std::fmt::Debug for Feed {
    /// Leaves out the values, which may be a face.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Feed({:?})", self.shape)
    }
}

impl Feed {
    /// The memory of the first `count` rows, or as many as there are.
    ///
    /// # Errors
    /// [`RunError::Failed`] if a device's memory cannot be written.
    pub fn rows(&mut self, count: usize) -> Result<Rows<'_>, RunError> {
        let length = count.min(self.most()) * self.row;
        match &mut self.memory {
            Memory::F32(values) => Ok(Rows::F32(&mut values[..length])),
            Memory::F16(values) => Ok(Rows::F16(&mut values[..length])),
            Memory::U8(values) => Ok(Rows::U8(&mut values[..length])),
            Memory::Bound(tensors) => {
                let failed =
                    |error: ort::Error| RunError::Failed { model: "feed".into(), detail: error.to_string() };
                let (_, tensor) = fitting(tensors, count)?;
                if tensor.data_type() == &TensorElementType::Float16 {
                    let (_, values) = tensor.try_extract_tensor_mut::<f16>().map_err(failed)?;
                    Ok(Rows::F16(&mut values[..length]))
                } else {
                    let (_, values) = tensor.try_extract_tensor_mut::<f32>().map_err(failed)?;
                    Ok(Rows::F32(&mut values[..length]))
                }
            }
        }
    }

    /// From now on rows have this shape, with as many values as at first or fewer. On a GPU the shape stays.
    ///
    /// # Errors
    /// [`RunError::Failed`] if there is no room for them.
    pub fn reshape(&mut self, row: &[usize]) -> Result<(), RunError> {
        if self.shape[1..] == *row {
            return Ok(());
        }
        let (length, most) = (row.iter().product::<usize>(), self.most());
        let room = match &self.memory {
            Memory::F32(values) => values.len(),
            Memory::F16(values) => values.len(),
            Memory::U8(values) => values.len(),
            Memory::Bound(_) => 0,
        };
        if length * most > room {
            return Err(RunError::Failed {
                model: "feed".into(),
                detail: format!("rows of {row:?} do not fit memory for {most} of {:?}", &self.shape[1..]),
            });
        }
        (self.shape, self.row) = (shaped(most, row), length);
        Ok(())
    }

    /// Rows that fit.
    pub fn most(&self) -> usize {
        self.shape.first().copied().unwrap_or(0)
    }
}

fn fitting(tensors: &mut [(usize, DynTensor)], count: usize) -> Result<&mut (usize, DynTensor), RunError> {
    tensors.iter_mut().find(|(rows, _)| *rows >= count).ok_or_else(|| RunError::Failed {
        model: "feed".into(),
        detail: format!("a batch of {count} is larger than its memory"),
    })
}

/// Batch sizes for which a GPU has memory: powers of two up to the largest batch. TensorRT builds an engine for each
/// shape, which takes minutes, and so gets the smallest and the largest only.
fn sizes(most: usize, provider: Provider) -> Vec<usize> {
    let mut sizes: Vec<usize> = match provider {
        Provider::TensorRt => vec![1],
        _ => (0..).map(|power| 1 << power).take_while(|size| *size < most).collect(),
    };
    sizes.push(most);
    sizes.dedup();
    sizes
}

impl Session {
    /// Memory for batches of up to `most` rows of the shape `row`.
    ///
    /// # Errors
    /// [`RunError`] if the model takes more than one input, or neither floats nor bytes, or there is no memory.
    pub fn feed(&self, row: &[usize], most: usize) -> Result<Feed, RunError> {
        self.feed_on(row, most, self.provider().is_gpu())
    }

    fn feed_on(&self, row: &[usize], most: usize, bound: bool) -> Result<Feed, RunError> {
        let [Port { element, .. }] = self.inputs() else {
            let (model, expected) = (self.name().to_owned(), self.inputs().len());
            return Err(RunError::InputCount { model, expected, found: 1 });
        };
        let (row_len, most) = (row.iter().product::<usize>(), most.max(1));
        let memory = match element {
            Element::F32 | Element::F16 if bound => self.bound_memory(row, most, *element)?,
            Element::F32 => Memory::F32(vec![0.0; most * row_len]),
            Element::F16 => Memory::F16(vec![f16::ZERO; most * row_len]),
            Element::U8 if !bound => Memory::U8(vec![0; most * row_len]),
            other => {
                let detail = format!("it takes {other:?} where floats or bytes are expected");
                return Err(RunError::Failed { model: self.name().to_owned(), detail });
            }
        };
        Ok(Feed { shape: shaped(most, row), row: row_len, memory })
    }

    fn bound_memory(&self, row: &[usize], most: usize, element: Element) -> Result<Memory, RunError> {
        let failed = |error: ort::Error| self.failed(&error);
        let element =
            if element == Element::F16 { TensorElementType::Float16 } else { TensorElementType::Float32 };
        let session = self.lock();
        let allocator = match page_locked(&session, self.device()) {
            Ok(allocator) => allocator,
            Err(error) => {
                // Without it the driver copies once more, from ordinary into page-locked memory.
                tracing::debug!(model = self.name(), %error, "no page-locked memory");
                Allocator::default()
            }
        };
        let tensor =
            |rows: usize| Ok((rows, DynTensor::new(&allocator, element, shaped(rows, row)).map_err(failed)?));
        let tensors =
            sizes(most, self.provider()).into_iter().map(tensor).collect::<Result<_, RunError>>()?;
        Ok(Memory::Bound(tensors))
    }

    /// Runs the model on the first `count` rows of `feed` and lends all outputs, in the model's order, to `read`. Outputs
    /// may have more rows than `count`. Also tells how long the model itself took.
    ///
    /// # Errors
    /// [`RunError`] if the rows do not fit or the model fails.
    pub fn run_feed<R>(
        &self,
        feed: &mut Feed,
        count: usize,
        read: impl FnOnce(&[Lent<'_>]) -> R,
    ) -> Result<(R, Duration), RunError> {
        if count > feed.most() {
            let found = count * feed.row;
            return Err(RunError::Shape { model: self.name().to_owned(), shape: feed.shape.clone(), found });
        }
        let failed = |error: ort::Error| self.failed(&error);
        let (shape, length) = (shaped(count, &feed.shape[1..]), count * feed.row);
        let input: SessionInputValue<'_> = match &mut feed.memory {
            Memory::F32(values) => {
                TensorRef::from_array_view((shape, &values[..length])).map_err(failed)?.into()
            }
            Memory::F16(values) => {
                TensorRef::from_array_view((shape, &values[..length])).map_err(failed)?.into()
            }
            Memory::U8(values) => {
                TensorRef::from_array_view((shape, &values[..length])).map_err(failed)?.into()
            }
            Memory::Bound(tensors) => return self.run_bound_feed(&fitting(tensors, count)?.1, read),
        };
        let mut session = self.lock();
        let start = Instant::now();
        let outputs = session.run([input]).map_err(failed)?;
        let took = start.elapsed();
        let lent = self.outputs().iter().enumerate().map(|(at, port)| self.lent(port, &outputs[at]));
        Ok((read(&lent.collect::<Result<Vec<_>, _>>()?), took))
    }

    /// The input is bound, which copies it to the device; outputs are bound to the host's memory, which copies them back.
    fn run_bound_feed<R>(
        &self,
        input: &DynTensor,
        read: impl FnOnce(&[Lent<'_>]) -> R,
    ) -> Result<(R, Duration), RunError> {
        let failed = |error: ort::Error| self.failed(&error);
        let mut session = self.lock();
        let start = Instant::now();
        let mut binding = session.create_binding().map_err(failed)?;
        for port in self.inputs() {
            binding.bind_input(port.name.as_str(), input).map_err(failed)?;
        }
        let host = host_memory().map_err(failed)?;
        for port in self.outputs() {
            binding.bind_output_to_device(port.name.as_str(), &host).map_err(failed)?;
        }
        binding.synchronize_inputs().map_err(failed)?;
        let outputs = session.run_binding(&binding).map_err(failed)?;
        binding.synchronize_outputs().map_err(failed)?;
        let took = start.elapsed();
        let lent = self.outputs().iter().map(|port| {
            let value: &DynValue = outputs.get(&port.name).ok_or_else(|| RunError::Failed {
                model: self.name().to_owned(),
                detail: format!("it gave no output {}", port.name),
            })?;
            self.lent(port, value)
        });
        Ok((read(&lent.collect::<Result<Vec<_>, _>>()?), took))
    }
}

/// Memory of the host in which a device puts outputs.
pub(crate) fn host_memory() -> ort::Result<MemoryInfo<'static>> {
    MemoryInfo::new(AllocationDevice::CPU, 0, AllocatorType::Device, MemoryType::CPUOutput)
}

fn page_locked(session: &OrtSession, device: u32) -> ort::Result<Allocator> {
    let device = i32::try_from(device).unwrap_or(0);
    let memory =
        MemoryInfo::new(AllocationDevice::CUDA_PINNED, device, AllocatorType::Device, MemoryType::CPUInput)?;
    Allocator::new(session, memory)
}

fn shaped(rows: usize, row: &[usize]) -> Vec<usize> {
    std::iter::once(rows).chain(row.iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::tests::{doubling, runtime};

    #[test]
    fn a_feed_gives_what_a_plain_run_gives_on_both_roads() {
        let Some(runtime) = runtime() else { return };
        let session = runtime.session_from_bytes("doubling", &doubling()).unwrap();
        for bound in [false, true] {
            let mut feed = session.feed_on(&[2], 5, bound).unwrap();
            assert_eq!(feed.most(), 5);
            // Smaller batches after larger ones must not see what those left behind.
            for count in [5, 1, 3, 4] {
                let Rows::F32(rows) = feed.rows(count).unwrap() else { panic!("f32 goes in") };
                assert_eq!(rows.len(), 2 * count);
                rows.iter_mut().enumerate().for_each(|(at, value)| *value = (10 * count + at) as f32);
                let read = |outputs: &[Lent<'_>]| outputs[0].floats().unwrap()[..2 * count].to_vec();
                let (doubled, _) = session.run_feed(&mut feed, count, read).unwrap();
                let expected: Vec<f32> = (0..2 * count).map(|at| 2.0 * (10 * count + at) as f32).collect();
                assert_eq!(doubled, expected, "bound {bound}, {count} rows");
            }
            assert!(matches!(session.run_feed(&mut feed, 6, |_| ()), Err(RunError::Shape { .. })));
        }
    }

    #[test]
    fn rows_may_become_smaller_and_no_larger() {
        let Some(runtime) = runtime() else { return };
        let session = runtime.session_from_bytes("doubling", &doubling()).unwrap();
        let mut feed = session.feed_on(&[2, 3], 4, false).unwrap();
        feed.reshape(&[2]).unwrap();
        let Rows::F32(rows) = feed.rows(3).unwrap() else { panic!("f32 goes in") };
        rows.copy_from_slice(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let read = |outputs: &[Lent<'_>]| (outputs[0].shape.clone(), outputs[0].floats().unwrap().to_vec());
        let ((shape, doubled), _) = session.run_feed(&mut feed, 3, read).unwrap();
        assert_eq!((shape, doubled), (vec![3, 2], vec![2.0, 4.0, 6.0, 8.0, 10.0, 12.0]));
        assert!(matches!(feed.reshape(&[7]), Err(RunError::Failed { .. })));
        feed.reshape(&[3, 2]).unwrap();
        assert_eq!(feed.most(), 4);
        // A GPU's tensors keep the shape they were made with.
        let mut bound = session.feed_on(&[2], 4, true).unwrap();
        bound.reshape(&[2]).unwrap();
        assert!(matches!(bound.reshape(&[1]), Err(RunError::Failed { .. })));
    }

    #[test]
    fn a_gpu_sees_few_shapes() {
        assert_eq!(sizes(16, Provider::Cuda), [1, 2, 4, 8, 16]);
        assert_eq!(sizes(24, Provider::Cuda), [1, 2, 4, 8, 16, 24]);
        assert_eq!(sizes(1, Provider::Cuda), [1]);
        assert_eq!(sizes(16, Provider::TensorRt), [1, 16]);
        assert_eq!(sizes(1, Provider::TensorRt), [1]);
    }
}
