//! Networks rewritten so that the processor gets through them sooner, with the same answers.
//!
//! ONNX Runtime works on 16 channels at a time, and gives a convolution with fewer the time of 16. Detectors end in
//! several such convolutions of one feature map (a score, a box, five landmarks); side by side in one convolution they
//! take the time of one ([`siblings`]). Their first layers pass on more than fits a core's caches; cut into strips it does
//! ([`strips`]).
//!
//! Invariants:
//! - Inputs and outputs keep their names and shapes; a picture may be taken in bytes instead of floats.
//! - Every output value is the same sum in the same order, up to what the library's kernels for full and for partly filled
//!   blocks of channels round differently.
//! - What is not understood down to the last byte is left as it is; what is wrong with a model is told by ONNX Runtime.

mod onnx;
mod siblings;
mod strips;

use std::collections::BTreeSet;
use std::path::Path;

use prost::Message;

use self::onnx::{Graph, Model};
pub use self::strips::FromBytes;

/// Larger files are left alone: in such networks these layers are no matter, and there would be two copies in memory.
const LARGEST_FILE: u64 = 64 << 20;

/// The oldest format in which constants need not be inputs of the graph.
const OLDEST_FORMAT: i64 = 4;

/// The model in a file with the layers joined that the processor is better given at once; `None` if there are none, and
/// where anything is in the way. With `from`, networks for pictures may come to take them in bytes.
pub fn file_for_processor(path: &Path, from: Option<&FromBytes>) -> Option<Vec<u8>> {
    if path.metadata().ok()?.len() > LARGEST_FILE {
        return None;
    }
    for_processor(&std::fs::read(path).ok()?, from)
}

/// The same for a model in memory.
fn for_processor(bytes: &[u8], from: Option<&FromBytes>) -> Option<Vec<u8>> {
    let mut model = Model::decode(bytes).ok()?;
    // A field that is not known here would be lost.
    if model.encoded_len() != bytes.len() || model.ir_version? < OLDEST_FORMAT {
        return None;
    }
    let opset = model.opset()?;
    let graph = model.graph.as_mut()?;
    if graph.has_subgraphs() || graph.has_external_data() {
        return None;
    }
    let joined = siblings::join(graph, opset);
    let cut = from.is_some_and(|from| strips::cut(graph, opset, from));
    if !joined && !cut {
        return None;
    }
    graph.forget_unused();
    Some(model.encode_to_vec())
}

/// Gives out names that stand nowhere in a graph.
struct Names {
    taken: BTreeSet<String>,
    given: usize,
}

impl Names {
    fn of(graph: &Graph) -> Self {
        let nodes = graph.node.iter().flat_map(|node| node.input.iter().chain(&node.output));
        let constants = graph.initializer.iter().filter_map(|constant| constant.name.as_ref());
        Self { taken: nodes.chain(constants).cloned().collect(), given: 0 }
    }

    /// A new name like this one.
    fn like(&mut self, name: &str) -> String {
        loop {
            self.given += 1;
            let new = format!("{name}/{}", self.given);
            if self.taken.insert(new.clone()) {
                return new;
            }
        }
    }
}

#[cfg(test)]
mod tests;
