//! What can go wrong: at the start, or while running.

use std::path::PathBuf;

use crate::{Element, Provider};

/// Something that is wrong from the start. Retrying does not help: stop and say so.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No library anywhere.
    #[error(
        "ONNX Runtime was not found in {}; run `make setup`, or set `inference.library` to libonnxruntime.so",
        listed(.looked_in)
    )]
    LibraryNotFound {
        /// Every place that was looked at.
        looked_in: Vec<PathBuf>,
    },
    /// A path was named, but there is no library.
    #[error(
        "{named_by} names {}, where there is no libonnxruntime.so; correct it, or leave it out and run `make setup`",
        .path.display()
    )]
    LibraryMissing {
        /// The configuration key or environment variable that names it.
        named_by: &'static str,
        /// The path.
        path: PathBuf,
    },
    /// The library is there but cannot be used.
    #[error("ONNX Runtime could not be loaded ({detail}); install version 1.24 or newer with `make setup`")]
    LibraryRefused {
        /// What the loader says, with the path.
        detail: String,
    },
    /// Another library was loaded before.
    #[error(
        "ONNX Runtime is loaded from {} already, but {} was asked for; a process can load only one",
        .loaded.display(), .asked.display()
    )]
    OtherLibrary {
        /// The loaded one.
        loaded: PathBuf,
        /// The one asked for now.
        asked: PathBuf,
    },
    /// A provider was required and cannot be had.
    #[error(
        "the execution provider {provider} cannot be had ({detail}); install a build of ONNX Runtime that has it, \
         or set `inference.require = false` to go on without it"
    )]
    ProviderMissing {
        /// The provider.
        provider: Provider,
        /// What ONNX Runtime says.
        detail: String,
    },
    /// The model cannot be loaded.
    #[error("the model {model} cannot be loaded ({detail}); check the file, or install its pack again")]
    ModelRefused {
        /// The model's file or name.
        model: String,
        /// What ONNX Runtime says.
        detail: String,
    },
}

/// A batch that could not be run. Others may well go through.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// Another number of inputs than the model has.
    #[error("the model {model} takes {expected} inputs and was given {found}; give one tensor an input")]
    InputCount {
        /// The model.
        model: String,
        /// How many it takes.
        expected: usize,
        /// How many were given.
        found: usize,
    },
    /// A tensor's data do not fill its shape.
    #[error("a tensor for the model {model} has the shape {shape:?} but {found} values; they must agree")]
    Shape {
        /// The model.
        model: String,
        /// The shape.
        shape: Vec<usize>,
        /// The number of values.
        found: usize,
    },
    /// The model failed.
    #[error("the model {model} failed ({detail}); leave this batch out")]
    Failed {
        /// The model.
        model: String,
        /// What ONNX Runtime says.
        detail: String,
    },
    /// An output of a type that is not read here.
    #[error(
        "the model {model} gives {element:?} as output {output}; only f32, f16, u8, i8, i32 and i64 are read"
    )]
    OutputType {
        /// The model.
        model: String,
        /// The output.
        output: String,
        /// Its type.
        element: Element,
    },
}

fn listed(paths: &[PathBuf]) -> String {
    let shown: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    shown.join(", ")
}
