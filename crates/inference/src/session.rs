//! One model, ready to run.

use std::sync::{Mutex, MutexGuard, PoisonError};

use ort::session::SessionInputValue;
use ort::value::{DynValue, Tensor as Owned, TensorElementType, TensorRef, ValueType};

use crate::{Element, Lent, Provider, RunError, Tensor, TensorData, TensorView, ViewData};

/// An input or output of a model.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// Its values' type.
    pub element: Element,
    /// Length of each axis, outermost first; `None` where any length goes.
    pub shape: Vec<Option<usize>>,
}

impl Port {
    fn of(outlet: &ort::value::Outlet) -> Self {
        let (element, shape) = match outlet.dtype() {
            ValueType::Tensor { ty, shape, .. } => {
                (element_of(*ty), shape.iter().map(|length| usize::try_from(*length).ok()).collect())
            }
            _ => (Element::Other, Vec::new()),
        };
        Self { name: outlet.name().to_owned(), element, shape }
    }
}

/// A loaded model on one device. Threads may share it; one runs at a time.
pub struct Session {
    name: String,
    inner: Mutex<ort::session::Session>,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    provider: Provider,
    device: u32,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("name", &self.name)
            .field("inputs", &self.inputs)
            .field("outputs", &self.outputs)
            .field("provider", &self.provider)
            .finish_non_exhaustive()
    }
}

impl Session {
    pub(crate) fn new(name: &str, session: ort::session::Session, provider: Provider, device: u32) -> Self {
        Self {
            name: name.to_owned(),
            inputs: session.inputs().iter().map(Port::of).collect(),
            outputs: session.outputs().iter().map(Port::of).collect(),
            inner: Mutex::new(session),
            provider,
            device,
        }
    }

    /// Number of the GPU, where the provider is one.
    pub fn device(&self) -> u32 {
        self.device
    }

    /// The model itself, by one thread at a time.
    pub(crate) fn lock(&self) -> MutexGuard<'_, ort::session::Session> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The model's file or name, for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the model takes, in order.
    pub fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    /// What the model gives, in order.
    pub fn outputs(&self) -> &[Port] {
        &self.outputs
    }

    /// The first provider of this session; nodes that it cannot compute run on the next or on the processor.
    pub fn provider(&self) -> Provider {
        self.provider
    }

    /// Runs the model on one tensor an input, in the model's order; gives all outputs in the model's order.
    ///
    /// On a GPU the inputs are copied there once and the outputs back once.
    ///
    /// # Errors
    /// [`RunError`] if inputs are missing, a shape does not fit, or the model fails.
    pub fn run(&self, inputs: &[TensorView<'_>]) -> Result<Vec<Tensor>, RunError> {
        if inputs.len() != self.inputs.len() {
            return Err(RunError::InputCount {
                model: self.name.clone(),
                expected: self.inputs.len(),
                found: inputs.len(),
            });
        }
        inputs.iter().try_for_each(|view| self.check(view))?;
        if self.provider.is_gpu() { self.run_bound(inputs) } else { self.run_plain(inputs) }
    }

    fn run_plain(&self, inputs: &[TensorView<'_>]) -> Result<Vec<Tensor>, RunError> {
        let values = inputs.iter().map(|view| self.lend(view)).collect::<Result<Vec<_>, _>>()?;
        let mut session = self.lock();
        let outputs = session.run(values.as_slice()).map_err(|error| self.failed(&error))?;
        self.outputs.iter().enumerate().map(|(at, port)| self.copied(port, &outputs[at])).collect()
    }

    /// Inputs are bound, which copies them to the device at once; outputs are bound to the host's memory.
    ///
    /// The tensors bound are owned ones: binding a lent one that the device does not need copied makes `ort` 2.0.0-rc.15
    /// clone it, and its clone of a lent tensor locks a mutex twice and never returns.
    fn run_bound(&self, inputs: &[TensorView<'_>]) -> Result<Vec<Tensor>, RunError> {
        let failed = |error: ort::Error| self.failed(&error);
        let values = inputs.iter().map(|view| self.own(view)).collect::<Result<Vec<_>, _>>()?;
        let mut session = self.lock();
        let mut binding = session.create_binding().map_err(failed)?;
        for (port, value) in self.inputs.iter().zip(&values) {
            binding.bind_input(port.name.as_str(), value).map_err(failed)?;
        }
        let host = crate::feed::host_memory().map_err(failed)?;
        for port in &self.outputs {
            binding.bind_output_to_device(port.name.as_str(), &host).map_err(failed)?;
        }
        binding.synchronize_inputs().map_err(failed)?;
        let outputs = session.run_binding(&binding).map_err(failed)?;
        binding.synchronize_outputs().map_err(failed)?;
        self.outputs
            .iter()
            .map(|port| {
                let value = outputs.get(&port.name).ok_or_else(|| RunError::Failed {
                    model: self.name.clone(),
                    detail: format!("it gave no output {}", port.name),
                })?;
                self.copied(port, value)
            })
            .collect()
    }

    pub(crate) fn failed(&self, error: &ort::Error) -> RunError {
        RunError::Failed { model: self.name.clone(), detail: error.to_string() }
    }

    fn check(&self, view: &TensorView<'_>) -> Result<(), RunError> {
        let values = view.data.len();
        let product = view.shape.iter().try_fold(1usize, |product, length| product.checked_mul(*length));
        if product == Some(values) {
            return Ok(());
        }
        Err(RunError::Shape { model: self.name.clone(), shape: view.shape.to_vec(), found: values })
    }

    fn lend<'v>(&self, view: &TensorView<'v>) -> Result<SessionInputValue<'v>, RunError> {
        let shape = view.shape;
        let lent: ort::Result<SessionInputValue<'v>> = match view.data {
            ViewData::F32(data) => TensorRef::from_array_view((shape, data)).map(Into::into),
            ViewData::F16(data) => TensorRef::from_array_view((shape, data)).map(Into::into),
            ViewData::U8(data) => TensorRef::from_array_view((shape, data)).map(Into::into),
            ViewData::I8(data) => TensorRef::from_array_view((shape, data)).map(Into::into),
            ViewData::I32(data) => TensorRef::from_array_view((shape, data)).map(Into::into),
            ViewData::I64(data) => TensorRef::from_array_view((shape, data)).map(Into::into),
        };
        lent.map_err(|error| self.failed(&error))
    }

    fn own(&self, view: &TensorView<'_>) -> Result<DynValue, RunError> {
        let shape = view.shape;
        let owned = match view.data {
            ViewData::F32(data) => Owned::from_array((shape, data.to_vec())).map(Owned::into_dyn),
            ViewData::F16(data) => Owned::from_array((shape, data.to_vec())).map(Owned::into_dyn),
            ViewData::U8(data) => Owned::from_array((shape, data.to_vec())).map(Owned::into_dyn),
            ViewData::I8(data) => Owned::from_array((shape, data.to_vec())).map(Owned::into_dyn),
            ViewData::I32(data) => Owned::from_array((shape, data.to_vec())).map(Owned::into_dyn),
            ViewData::I64(data) => Owned::from_array((shape, data.to_vec())).map(Owned::into_dyn),
        };
        owned.map_err(|error| self.failed(&error))
    }

    /// An output's values where they lie.
    pub(crate) fn lent<'v>(&self, port: &Port, value: &'v DynValue) -> Result<Lent<'v>, RunError> {
        let failed = |error: ort::Error| self.failed(&error);
        macro_rules! lend {
            ($element:ty, $variant:ident) => {{
                let (shape, data) = value.try_extract_tensor::<$element>().map_err(failed)?;
                let shape = shape.iter().map(|length| usize::try_from(*length).unwrap_or(0)).collect();
                Ok(Lent { shape, data: ViewData::$variant(data) })
            }};
        }
        match port.element {
            Element::F32 => lend!(f32, F32),
            Element::F16 => lend!(half::f16, F16),
            Element::U8 => lend!(u8, U8),
            Element::I8 => lend!(i8, I8),
            Element::I32 => lend!(i32, I32),
            Element::I64 => lend!(i64, I64),
            Element::Other => Err(RunError::OutputType {
                model: self.name.clone(),
                output: port.name.clone(),
                element: port.element,
            }),
        }
    }

    fn copied(&self, port: &Port, value: &DynValue) -> Result<Tensor, RunError> {
        let Lent { shape, data } = self.lent(port, value)?;
        let data = match data {
            ViewData::F32(values) => TensorData::F32(values.to_vec()),
            ViewData::F16(values) => TensorData::F16(values.to_vec()),
            ViewData::U8(values) => TensorData::U8(values.to_vec()),
            ViewData::I8(values) => TensorData::I8(values.to_vec()),
            ViewData::I32(values) => TensorData::I32(values.to_vec()),
            ViewData::I64(values) => TensorData::I64(values.to_vec()),
        };
        Ok(Tensor { shape, data })
    }
}

fn element_of(element: TensorElementType) -> Element {
    match element {
        TensorElementType::Float32 => Element::F32,
        TensorElementType::Float16 => Element::F16,
        TensorElementType::Uint8 => Element::U8,
        TensorElementType::Int8 => Element::I8,
        TensorElementType::Int32 => Element::I32,
        TensorElementType::Int64 => Element::I64,
        _ => Element::Other,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{InferenceConfig, Runtime};

    /// A graph `y = x + x` over `[batch, 2]` floats, written out as protobuf.
    pub fn doubling() -> Vec<u8> {
        fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
            [&[number << 3 | 2, bytes.len() as u8], bytes].concat()
        }
        fn number(field: u8, value: u8) -> Vec<u8> {
            vec![field << 3, value]
        }
        fn port(name: &str) -> Vec<u8> {
            let batch = field(1, &field(2, b"batch"));
            let two = field(1, &number(1, 2));
            let tensor = [number(1, 1), field(2, &[batch, two].concat())].concat();
            [field(1, name.as_bytes()), field(2, &field(1, &tensor))].concat()
        }
        let node = [field(1, b"x"), field(1, b"x"), field(2, b"y"), field(4, b"Add")].concat();
        let graph = [field(1, &node), field(2, b"g"), field(11, &port("x")), field(12, &port("y"))].concat();
        [number(1, 8), field(7, &graph), field(8, &number(2, 13))].concat()
    }

    pub fn runtime() -> Option<Runtime> {
        match Runtime::start(&InferenceConfig { intra_threads: 1, ..InferenceConfig::default() }) {
            Ok(runtime) => Some(runtime),
            Err(error) => {
                eprintln!("SKIPPED: {error}");
                None
            }
        }
    }

    #[test]
    fn runs_a_model_from_memory_in_any_batch_size() {
        let Some(runtime) = runtime() else { return };
        let session = runtime.session_from_bytes("doubling", &doubling()).unwrap();
        assert_eq!(
            session.inputs(),
            [Port { name: "x".into(), element: Element::F32, shape: vec![None, Some(2)] }]
        );
        for batch in [1, 3] {
            let values: Vec<f32> = (0..batch * 2).map(|v| v as f32).collect();
            let shape = [batch, 2];
            let view = TensorView::f32(&shape, &values);
            let doubled: Vec<f32> = values.iter().map(|v| v * 2.0).collect();
            let plain = session.run(&[view]).unwrap();
            assert_eq!(plain[0].shape, shape);
            assert_eq!(plain[0].as_f32(), Some(doubled.as_slice()));
            let bound = session.run_bound(&[view]).unwrap();
            assert_eq!(bound, plain, "the GPU's road must give the same");
        }
    }

    #[test]
    fn wrong_inputs_are_errors_of_that_run_only() {
        let Some(runtime) = runtime() else { return };
        let session = runtime.session_from_bytes("doubling", &doubling()).unwrap();
        assert!(matches!(session.run(&[]), Err(RunError::InputCount { expected: 1, found: 0, .. })));
        let short = session.run(&[TensorView::f32(&[2, 2], &[0.0; 3])]);
        assert!(matches!(short, Err(RunError::Shape { found: 3, .. })));
        let wide = session.run(&[TensorView::f32(&[1, 3], &[0.0; 3])]);
        assert!(matches!(wide, Err(RunError::Failed { .. })));
        let integers = session.run(&[TensorView::i64(&[1, 2], &[0; 2])]);
        assert!(matches!(integers, Err(RunError::Failed { .. })));
        assert!(session.run(&[TensorView::f32(&[1, 2], &[0.0; 2])]).is_ok());
    }

    #[test]
    fn what_is_no_model_is_refused() {
        let Some(runtime) = runtime() else { return };
        let error = runtime.session_from_bytes("noise", b"no model").unwrap_err();
        assert!(error.to_string().starts_with("the model noise cannot be loaded"), "{error}");
        let missing = std::path::Path::new("/nowhere/model.onnx");
        assert!(runtime.session_from_file(missing).unwrap_err().to_string().contains("/nowhere/model.onnx"));
    }

    #[test]
    fn a_missing_gpu_is_left_out_unless_required() {
        let Some(runtime) = runtime() else { return };
        if !runtime.library().to_string_lossy().contains(".deps") {
            eprintln!("SKIPPED: another ONNX Runtime than `make setup` installs, which may have a GPU");
            return;
        }
        let mut config =
            InferenceConfig { providers: vec![Provider::Cuda, Provider::Cpu], ..InferenceConfig::default() };
        let session = Runtime::start(&config).unwrap().session_from_bytes("doubling", &doubling()).unwrap();
        assert_eq!(session.provider(), Provider::Cpu);
        config.require = true;
        let error = Runtime::start(&config).unwrap_err();
        assert!(
            matches!(error, crate::StartError::ProviderMissing { provider: Provider::Cuda, .. }),
            "{error}"
        );
    }
}
