//! Configuration section `inference`.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What computes a model.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// The processor. Always there.
    Cpu,
    /// An NVIDIA GPU by CUDA; needs a GPU build of ONNX Runtime.
    Cuda,
    /// An NVIDIA GPU by TensorRT; needs a GPU build of ONNX Runtime.
    TensorRt,
}

impl Provider {
    /// The word that stands in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::TensorRt => "tensorrt",
        }
    }

    /// Whether tensors have to be copied to another device first.
    pub const fn is_gpu(self) -> bool {
        !matches!(self, Self::Cpu)
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where ONNX Runtime is and what it computes on.
#[derive(Deserialize, Serialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct InferenceConfig {
    /// The library `libonnxruntime.so…`, or the folder it lies in. Empty: the environment's `ORT_DYLIB_PATH`, then
    /// `.deps/onnxruntime/lib` beside the program or above it, then `../lib/facering` beside the program.
    pub library: PathBuf,
    /// Execution providers in the order in which they are tried: `cpu`, `cuda`, `tensorrt`.
    pub providers: Vec<Provider>,
    /// Refuse to start if the first provider cannot be had, where otherwise the next one is taken with a warning.
    pub require: bool,
    /// Numbers of the GPUs to use, from 0. Each has one session of each model, and they share the work.
    pub devices: Vec<u32>,
    /// Folder in which TensorRT keeps the engines it builds, which takes minutes for each model. Empty: none are kept.
    pub engine_cache: PathBuf,
    /// Threads of each model on the processor, shared among up to eight sessions that work side by side; 0 takes as many as
    /// there are cores.
    pub intra_threads: usize,
}

impl Default for InferenceConfig {
    fn default() -> Self {
        Self {
            library: PathBuf::new(),
            providers: vec![Provider::Cpu],
            require: false,
            devices: vec![0],
            engine_cache: PathBuf::new(),
            intra_threads: 0,
        }
    }
}

impl InferenceConfig {
    /// Everything wrong with the values, as (key relative to the section, sentence).
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        let mut wrong = |key: &str, sentence: &str| problems.push((key.to_owned(), sentence.to_owned()));
        if self.providers.is_empty() {
            wrong("providers", "is empty; name at least one of cpu, cuda, tensorrt");
        }
        if self.providers.iter().enumerate().any(|(at, p)| self.providers[..at].contains(p)) {
            wrong("providers", "names a provider twice; name each of cpu, cuda, tensorrt at most once");
        }
        if self.devices.is_empty() {
            wrong("devices", "is empty; name at least one GPU by its number, like [0]");
        }
        if self.devices.iter().enumerate().any(|(at, d)| *d > 255 || self.devices[..at].contains(d)) {
            wrong("devices", "names a GPU twice or one above 255; GPUs are counted from 0");
        }
        if self.intra_threads > 1024 {
            wrong("intra_threads", "is above 1024; allowed are 0 (all cores) to 1024");
        }
        if !self.library.as_os_str().is_empty() && !self.library.exists() {
            wrong("library", "does not exist; name libonnxruntime.so or its folder, or leave it empty");
        }
        problems
    }

    /// Devices that get a session of each model: those configured, or the one processor.
    pub(crate) fn sessions(&self) -> Vec<u32> {
        let gpu = self.providers.iter().any(|provider| provider.is_gpu());
        if gpu { self.devices.clone() } else { vec![0] }
    }

    /// Sessions of one model that share the processor, and the threads of each. The steps of a small network take
    /// microseconds, so threads that share one spend their time waking each other: YuNet at 640 got through 154
    /// pictures/s with one session on each of two cores, 102 with one session on both. More than eight would mostly hold
    /// more copies of the model.
    pub(crate) fn beside(&self) -> (usize, usize) {
        const MOST: usize = 8;
        let threads = self.threads().max(1);
        let sessions = threads.min(MOST);
        (sessions, (threads + sessions / 2) / sessions)
    }

    /// Threads to give a session that works alone.
    pub(crate) fn threads(&self) -> usize {
        match self.intra_threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_share_the_processor() {
        let beside = |intra_threads| InferenceConfig { intra_threads, ..InferenceConfig::default() }.beside();
        assert_eq!([1, 2, 8, 9, 12, 64].map(beside), [(1, 1), (2, 1), (8, 1), (8, 1), (8, 2), (8, 8)]);
        let (sessions, threads) = beside(0);
        assert!(sessions * threads >= 1);
    }

    #[test]
    fn every_problem_is_reported_at_once() {
        assert_eq!(InferenceConfig::default().problems(), vec![]);
        let wrong = InferenceConfig {
            library: "/nowhere/libonnxruntime.so".into(),
            providers: vec![],
            require: true,
            devices: vec![300],
            engine_cache: PathBuf::new(),
            intra_threads: 5000,
        };
        let keys: Vec<String> = wrong.problems().into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["providers", "devices", "intra_threads", "library"]);
        let twice =
            InferenceConfig { providers: vec![Provider::Cpu, Provider::Cpu], ..InferenceConfig::default() };
        assert_eq!(twice.problems().len(), 1);
        let none = InferenceConfig { devices: vec![], ..InferenceConfig::default() };
        assert_eq!(none.problems().len(), 1);
    }

    #[test]
    fn the_providers_words_are_those_of_serde() {
        for provider in [Provider::Cpu, Provider::Cuda, Provider::TensorRt] {
            assert_eq!(serde_json::to_string(&provider).unwrap(), format!("\"{provider}\""));
        }
    }
}
