//! A pack of toy networks with known answers: what they give grows with the brightest pixel of a picture.

use std::path::Path;

use embed::{ModelPack, PackDescription, known_packs};
use records::{PackId, Pixels};

use super::onnx::{Attribute, Constant, Node, Port, model, node};

/// Side of the toy detector's canvas.
pub const SIDE: usize = 64;

/// A face as the toy detector gives it for the brightest pixel 1: stride, column, row, anchor, score, distances to
/// left, top, right, bottom in strides. Its landmarks are the ArcFace template, shrunk around the anchor.
pub const FACES: [(usize, usize, usize, usize, f32, [f32; 4]); 3] = [
    (8, 3, 2, 1, 0.9, [1.0, 1.0, 2.0, 3.0]),
    // The same face from the neighbouring cell, which must be suppressed.
    (8, 4, 2, 0, 0.8, [2.0, 1.0, 1.0, 3.0]),
    (32, 1, 1, 0, 0.95, [0.9, 0.5, 0.5, 0.5]),
];

/// The landmarks' offsets in pixels from their anchor, for the brightest pixel 1.
pub fn offsets() -> [[f32; 2]; 5] {
    [[-5.0, -5.0], [5.5, -5.0], [0.2, 1.0], [-4.2, 7.2], [4.6, 7.2]]
}

#[derive(Clone, Copy)]
pub struct Shape {
    /// The batch axis takes any length.
    pub any_batch: bool,
    /// Outputs have a batch axis.
    pub axis: bool,
    /// What a picture gives depends on the batch.
    pub mixes: bool,
}

/// SCRFD's nine outputs.
pub fn detector(shape: Shape, half: bool) -> Vec<u8> {
    let axes = if shape.mixes { vec![0, 1, 2, 3] } else { vec![1, 2, 3] };
    let mut brightest = node("ReduceMax", &["in"], "max");
    brightest.attributes = vec![("axes", Attribute::Ints(axes)), ("keepdims", Attribute::Int(1))];
    let mut zero = node("ReduceMin", &["in"], "min");
    zero.attributes = vec![("axes", Attribute::Ints(vec![1, 2, 3])), ("keepdims", Attribute::Int(1))];
    // `min - min` has one value a picture, so that a mixed maximum is spread over the batch again.
    let mut nodes = vec![
        brightest,
        zero,
        node("Sub", &["min", "min"], "zero"),
        node("Add", &["max", "zero"], "spread"),
        node("Reshape", &["spread", "column"], "m"),
    ];
    let (mut constants, mut outputs): (Vec<Constant>, Vec<Port>) = (Vec::new(), Vec::new());
    let shapes: [(&str, &[i64]); 4] =
        [("column", &[-1, 1, 1]), ("flat1", &[-1, 1]), ("flat4", &[-1, 4]), ("flat10", &[-1, 10])];
    for (kind, width) in [1usize, 4, 10].into_iter().enumerate() {
        for stride in [8, 16, 32] {
            let cells = SIDE / stride;
            let rows = cells * cells * 2;
            let mut values = vec![0.0; rows * width];
            for (_, column, row, anchor, score, distances) in FACES.iter().filter(|face| face.0 == stride) {
                let at = (row * cells + column) * 2 + anchor;
                let landmarks: Vec<f32> =
                    offsets().as_flattened().iter().map(|offset| offset / stride as f32).collect();
                let source: &[f32] = match kind {
                    0 => std::slice::from_ref(score),
                    1 => distances,
                    _ => &landmarks,
                };
                values[at * width..(at + 1) * width].copy_from_slice(source);
            }
            let (constant, output) = (format!("c{kind}_{stride}"), format!("o{kind}_{stride}"));
            constants.push(Constant {
                name: constant.clone(),
                shape: vec![1, rows as i64, width as i64],
                values,
            });
            let product = if shape.axis { output.clone() } else { format!("p{kind}_{stride}") };
            nodes.push(node("Mul", &["m", &constant], &product));
            let width = width as i64;
            if shape.axis {
                outputs.push((output, vec![None, Some(rows as i64), Some(width)]));
            } else {
                nodes.push(node("Reshape", &[&product, &format!("flat{width}")], &output));
                outputs.push((output, vec![None, Some(width)]));
            }
        }
    }
    let batch = (!shape.any_batch).then_some(1);
    let input: Port = ("in".into(), vec![batch, Some(3), Some(SIDE as i64), Some(SIDE as i64)]);
    model(half, &nodes, &constants, &shapes, &[input], &outputs)
}

/// The mean of each channel; if it mixes, the batch's mean is added.
pub fn embedder(mixes: bool, half: bool) -> Vec<u8> {
    let mut mean = node("ReduceMean", &["in"], if mixes { "own" } else { "out" });
    mean.attributes = vec![("axes", Attribute::Ints(vec![2, 3])), ("keepdims", Attribute::Int(0))];
    let mut nodes: Vec<Node> = vec![mean];
    if mixes {
        let mut all = node("ReduceMean", &["own"], "all");
        all.attributes = vec![("axes", Attribute::Ints(vec![0])), ("keepdims", Attribute::Int(1))];
        nodes.extend([all, node("Add", &["own", "all"], "out")]);
    }
    let input: Port = ("in".into(), vec![None, Some(3), Some(112), Some(112)]);
    model(half, &nodes, &[], &[], &[input], &[("out".into(), vec![None, Some(3)])])
}

/// An embedder.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum ToyEmbedder {
    /// The mean of each channel.
    Plain,
    /// The batch's mean is added.
    Mixing,
    /// Random weights, quantised to int8 by `data/int8/make.py`.
    Int8,
    /// The plain one in fp16 from the input to the output, as is the pack's detector then.
    Half,
}

/// Writes the pack into a folder and installs it.
pub fn pack(
    folder: &Path,
    shape: Shape,
    embedder: ToyEmbedder,
    change: impl FnOnce(&mut PackDescription),
) -> ModelPack {
    let known = known_packs().unwrap();
    let mut description = known.into_iter().find(|pack| pack.id.as_str() == "buffalo_l").unwrap();
    description.id = PackId::new("toy").unwrap();
    description.non_commercial = false;
    description.dimension = 3;
    description.detector.input_size = SIDE;
    description.embedder.normalisation.mean = [200.0; 3];
    (description.detector.sha256, description.embedder.sha256) = (None, None);
    change(&mut description);
    let half = embedder == ToyEmbedder::Half;
    let model = match embedder {
        ToyEmbedder::Plain | ToyEmbedder::Half => self::embedder(false, half),
        ToyEmbedder::Mixing => self::embedder(true, false),
        ToyEmbedder::Int8 => include_bytes!("../data/int8/embedder.onnx").to_vec(),
    };
    std::fs::write(folder.join(&description.detector.file), detector(shape, half)).unwrap();
    std::fs::write(folder.join(&description.embedder.file), model).unwrap();
    embed::install_pack(&description, folder, false).unwrap()
}

/// A picture of one colour.
pub fn plain(side: u32, colour: [u8; 3]) -> Pixels {
    Pixels { width: side, height: side, rgb: colour.repeat((side * side) as usize).into() }
}
