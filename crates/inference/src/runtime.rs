//! ONNX Runtime, loaded once, and the sessions made from it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ort::environment::Environment;
use ort::ep::ExecutionProvider;
use ort::logging::LogLevel;
use ort::session::builder::SessionBuilder;

use crate::fuse::{self, FromBytes};
use crate::{InferenceConfig, Provider, Session, StartError, library};

struct Loaded {
    library: PathBuf,
    environment: Environment,
}

/// The process's one environment: ONNX Runtime allows no second, and dropping it would end every session.
static LOADED: Mutex<Option<Loaded>> = Mutex::new(None);

/// A model's file, and what is given to the processor in its place.
struct Model<'p> {
    path: &'p Path,
    fused: Option<Vec<u8>>,
}

/// ONNX Runtime with the providers it is to use. Cheap to clone.
#[derive(Clone)]
pub struct Runtime {
    environment: Environment,
    library: PathBuf,
    config: InferenceConfig,
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime").field("library", &self.library).field("config", &self.config).finish()
    }
}

impl Runtime {
    /// Finds and loads ONNX Runtime, or takes the one this process has loaded.
    ///
    /// # Errors
    /// [`StartError`] if there is no library, it cannot be used, another one is loaded already, or the first provider
    /// is required and this build does not have it.
    pub fn start(config: &InferenceConfig) -> Result<Self, StartError> {
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        let (library, environment) = match &*loaded {
            Some(Loaded { library, environment }) => {
                let named = !config.library.as_os_str().is_empty();
                if named
                    && let asked = library::find(&config.library)?
                    && asked != *library
                {
                    return Err(StartError::OtherLibrary { loaded: library.clone(), asked });
                }
                (library.clone(), environment.clone())
            }
            None => {
                let library = library::find(&config.library)?;
                let environment = load(&library)?;
                *loaded = Some(Loaded { library: library.clone(), environment: environment.clone() });
                (library, environment)
            }
        };
        drop(loaded);
        let runtime = Self { environment, library, config: config.clone() };
        if let (true, Some(first)) = (config.require, config.providers.first()) {
            runtime
                .builder(&[*first], runtime.first_device(), 1)
                .map_err(|detail| StartError::ProviderMissing { provider: *first, detail })?;
        }
        Ok(runtime)
    }

    /// The library that is loaded.
    pub fn library(&self) -> &Path {
        &self.library
    }

    /// Whether the provider that is tried first is a GPU.
    pub fn prefers_gpu(&self) -> bool {
        self.config.providers.first().is_some_and(|provider| provider.is_gpu())
    }

    /// What ONNX Runtime says of its build, version first.
    pub fn build_info(&self) -> &'static str {
        ort::info()
    }

    /// A session for the model in a file, on the first device.
    ///
    /// # Errors
    /// [`StartError::ModelRefused`] if the file is missing or no model, [`StartError::ProviderMissing`] if the first
    /// provider is required and cannot run it.
    pub fn session_from_file(&self, path: &Path) -> Result<Session, StartError> {
        self.session_on(&self.model(path, None), self.first_device(), self.config.threads())
    }

    /// Sessions for the model in a file that work side by side: one on each configured GPU, in their order, or a few that
    /// share the processor's threads.
    ///
    /// # Errors
    /// As [`Runtime::session_from_file`].
    pub fn sessions_from_file(&self, path: &Path) -> Result<Vec<Session>, StartError> {
        self.sessions(&self.model(path, None))
    }

    /// The same for a network that is given pictures in floats made of bytes. On the processor it may take the bytes
    /// themselves instead: then its input's type is [`Element::U8`](crate::Element::U8), and pictures need 32 rows.
    ///
    /// # Errors
    /// As [`Runtime::session_from_file`].
    pub fn sessions_for_pictures(&self, path: &Path, from: &FromBytes) -> Result<Vec<Session>, StartError> {
        self.sessions(&self.model(path, Some(from)))
    }

    fn sessions(&self, model: &Model<'_>) -> Result<Vec<Session>, StartError> {
        let (beside, threads) = self.config.beside();
        let mut sessions = Vec::new();
        for device in self.config.sessions() {
            let session = self.session_on(model, device, threads)?;
            let gpu = session.provider().is_gpu();
            sessions.push(session);
            if !gpu {
                // The processor took over; it is there once, however many GPUs were hoped for.
                let more = if sessions.len() == 1 { beside - 1 } else { 0 };
                for _ in 0..more {
                    sessions.push(self.session_on(model, device, threads)?);
                }
                break;
            }
        }
        Ok(sessions)
    }

    fn first_device(&self) -> u32 {
        self.config.devices.first().copied().unwrap_or(0)
    }

    /// Reads the model if it is to be run in another form than it is stored in.
    fn model<'p>(&self, path: &'p Path, from: Option<&FromBytes>) -> Model<'p> {
        Model { path, fused: if self.prefers_gpu() { None } else { fuse::file_for_processor(path, from) } }
    }

    fn session_on(&self, model: &Model<'_>, device: u32, threads: usize) -> Result<Session, StartError> {
        let stored = |builder: &mut SessionBuilder| builder.commit_from_file(model.path);
        self.session(&model.path.display().to_string(), device, threads, |builder| match &model.fused {
            Some(fused) => builder.commit_from_memory(fused).or_else(|_| stored(builder)),
            None => stored(builder),
        })
    }

    /// A session for a model in memory; `name` stands in messages.
    ///
    /// # Errors
    /// As [`Runtime::session_from_file`].
    pub fn session_from_bytes(&self, name: &str, model: &[u8]) -> Result<Session, StartError> {
        let (device, threads) = (self.first_device(), self.config.threads());
        self.session(name, device, threads, |builder| builder.commit_from_memory(model))
    }

    /// Tries all configured providers, then leaves out the first again and again, down to the processor alone.
    fn session(
        &self,
        name: &str,
        device: u32,
        threads: usize,
        commit: impl Fn(&mut SessionBuilder) -> ort::Result<ort::session::Session>,
    ) -> Result<Session, StartError> {
        let refused = |detail: String| StartError::ModelRefused { model: name.to_owned(), detail };
        let mut providers = self.config.providers.as_slice();
        loop {
            let attempt = self
                .builder(providers, device, threads)
                .and_then(|mut builder| commit(&mut builder).map_err(|error| error.to_string()));
            let provider = providers.first().copied().unwrap_or(Provider::Cpu);
            let detail = match attempt {
                Ok(session) => return Ok(Session::new(name, session, provider, device)),
                Err(detail) => detail,
            };
            match providers {
                [] | [Provider::Cpu, ..] => return Err(refused(detail)),
                _ if self.config.require => {
                    return Err(StartError::ProviderMissing { provider, detail });
                }
                [_, rest @ ..] => {
                    tracing::warn!(model = name, %provider, %detail, "execution provider left out");
                    providers = rest;
                }
            }
        }
    }

    fn builder(&self, providers: &[Provider], device: u32, threads: usize) -> Result<SessionBuilder, String> {
        let plain = |error: ort::Error<SessionBuilder>| error.to_string();
        let mut builder = ort::session::Session::builder(&self.environment)
            .map_err(|error| error.to_string())?
            .with_intra_threads(threads)
            .map_err(plain)?
            .with_intra_op_spinning(false)
            .map_err(plain)?
            .with_inter_op_spinning(false)
            .map_err(plain)?;
        let device = i32::try_from(device).unwrap_or(0);
        for provider in providers {
            let registered = match provider {
                // Without an arena every tensor is mapped from the system anew: YuNet takes three times as long.
                Provider::Cpu => ort::ep::CPU::default().with_arena_allocator(true).register(&mut builder),
                Provider::Cuda => ort::ep::CUDA::default().with_device_id(device).register(&mut builder),
                Provider::TensorRt => {
                    let engines = ort::ep::TensorRT::default().with_device_id(device);
                    let cache = &self.config.engine_cache;
                    let engines = if cache.as_os_str().is_empty() {
                        engines
                    } else {
                        engines.with_engine_cache(true).with_engine_cache_path(cache.display())
                    };
                    engines.register(&mut builder)
                }
            };
            registered.map_err(|error| error.to_string())?;
        }
        Ok(builder)
    }
}

fn load(library: &Path) -> Result<Environment, StartError> {
    let refused = |detail: String| StartError::LibraryRefused { detail };
    let environment = ort::init_from(library)
        .map_err(|error| refused(error.to_string()))?
        .with_name("facering")
        .with_telemetry(false)
        .with_logger(Arc::new(|level, _category, _id, _location, message| match level {
            LogLevel::Fatal | LogLevel::Error => tracing::error!(target: "onnxruntime", "{message}"),
            LogLevel::Warning => tracing::warn!(target: "onnxruntime", "{message}"),
            LogLevel::Info | LogLevel::Verbose => {}
        }))
        .build()
        .map_err(|error| refused(error.to_string()))?;
    environment.set_log_level(LogLevel::Warning);
    Ok(environment)
}
