//! The first layers, which hold a picture at its largest, computed strip by strip.
//!
//! At 640 x 640 the first layers of a small detector pass on 5 to 7 MB each, which falls out of a core's caches, and with
//! a busy neighbour out of those that it shares with others. A strip stays in them, the more so as it comes in bytes.
//!
//! A strip is a part of the rows that the last of the layers gives; it is computed from the rows of the picture that they
//! depend on. So strips overlap by a few rows in between, and every value is the same as without them.

use super::Names;
use super::onnx::{Attribute, BYTE, Constant, FLOAT, Graph, Node, Value};

/// How bytes become the numbers that a network takes: `(byte - mean) * factor`, for each of three channels.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct FromBytes {
    /// Subtracted from 0..255.
    pub mean: [f32; 3],
    /// Multiplied with then.
    pub factor: [f32; 3],
}

const STRIPS: i64 = 4;

/// The layers that are cut end where a row of theirs stands for this many of the picture: by then little is passed on.
const ROWS_A_ROW: i64 = 4;

/// The oldest version of the operators in which `Slice` takes its bounds as inputs.
const SLICE_TAKES_BOUNDS: i64 = 10;

/// Rows that a picture has at least.
const LEAST_HEIGHT: i64 = 32;

/// The axis of rows in `[batch, channel, row, column]`.
const ROWS: i64 = 2;

/// What a row of a layer is computed from.
#[derive(Clone, Copy)]
struct Window {
    height: i64,
    stride: i64,
    /// Rows of padding above the picture.
    above: i64,
    /// The same below it.
    below: i64,
}

/// What a strip depends on.
#[derive(Clone, Copy)]
struct Reach {
    /// Rows of the picture above its own.
    above: i64,
    /// Rows below them.
    below: i64,
    /// Rows of the picture that one of its rows stands for.
    rows: i64,
}

/// One of the first layers; without a window each value is computed from the one at its place.
struct Layer {
    at: usize,
    window: Option<Window>,
}

/// Makes the network take bytes, and computes its first layers strip by strip. `false`, and nothing is changed, if it does
/// not begin with layers of which that is known to be the same.
///
/// The network must be given pictures of [`LEAST_HEIGHT`] rows or more.
pub fn cut(graph: &mut Graph, opset: i64, from: &FromBytes) -> bool {
    let Some((port, mut picture)) = picture(graph).filter(|_| opset >= SLICE_TAKES_BOUNDS) else {
        return false;
    };
    let name = picture.name().to_owned();
    let Some(layers) = first_layers(graph, &name) else { return false };
    let Some(reach) = reach(&layers) else { return false };
    let mut names = Names::of(graph);
    let mut cutter = Cutter { picture: name, constants: Vec::new(), nodes: Vec::new(), names: &mut names };
    cutter.cut(graph, &layers, reach, from);
    let Cutter { mut nodes, constants, .. } = cutter;
    let last = layers.last().map(|layer| layer.at);
    let mut kept = Vec::with_capacity(graph.node.len() + nodes.len());
    for (at, node) in std::mem::take(&mut graph.node).into_iter().enumerate() {
        if Some(at) == last {
            kept.append(&mut nodes);
        }
        if !layers.iter().any(|layer| layer.at == at) {
            kept.push(node);
        }
    }
    graph.node = kept;
    graph.initializer.extend(constants);
    picture.set_element(BYTE);
    graph.input[port] = picture.written();
    true
}

/// The only input that is no constant, with its place among the inputs, if it is a batch of pictures in floats.
fn picture(graph: &Graph) -> Option<(usize, Value)> {
    let values: Option<Vec<Value>> = graph.input.iter().map(|bytes| Value::read(bytes)).collect();
    let constant = |value: &Value| graph.initializer.iter().any(|constant| constant.name() == value.name());
    let mut pictures = values?.into_iter().enumerate().filter(|(_, value)| !constant(value));
    let only = pictures.next().filter(|_| pictures.next().is_none())?;
    (only.1.element() == Some(FLOAT) && only.1.axes() == Some(4)).then_some(only)
}

/// The layers that follow one another from the picture on, to the first whose rows stand for [`ROWS_A_ROW`] of it.
fn first_layers(graph: &Graph, picture: &str) -> Option<Vec<Layer>> {
    let (mut value, mut rows, mut layers) = (picture.to_owned(), 1, Vec::new());
    while rows < ROWS_A_ROW {
        let mut readers = graph.node.iter().enumerate().filter(|(_, node)| node.input.contains(&value));
        let (at, node) = readers.next()?;
        // In a graph with a circle this would never end.
        let onwards = layers.last().is_none_or(|before: &Layer| before.at < at);
        if readers.next().is_some() || graph.gives(&value) || !onwards {
            return None;
        }
        let layer = layer(graph, at, &value)?;
        // Three channels are a picture's; the means belong to them.
        let three = || graph.constant(node.input.get(1)?).filter(|weights| weights.dims.get(1) == Some(&3));
        if layers.is_empty() {
            three().filter(|_| node.is("Conv"))?;
        }
        rows *= layer.window.map_or(1, |window| window.stride);
        value.clone_from(node.output.first()?);
        layers.push(layer);
    }
    Some(layers)
}

/// The node with this number as a layer, if each row that it gives depends on known rows of `value`, and on nothing else.
fn layer(graph: &Graph, at: usize, value: &str) -> Option<Layer> {
    let node = &graph.node[at];
    let (first, others) = node.input.split_first()?;
    let known = |name: &String| name.is_empty() || graph.constant(name).is_some();
    if first != value || !others.iter().all(known) || node.output.len() != 1 {
        return None;
    }
    if ["Relu", "LeakyRelu", "Clip", "BatchNormalization"].iter().any(|kind| node.is(kind)) {
        return Some(Layer { at, window: None });
    }
    if !["Conv", "MaxPool"].iter().any(|kind| node.is(kind)) {
        return None;
    }
    let spread_out = node.numbers("dilations").unwrap_or_default().iter().any(|step| *step != 1);
    // With it there may be one more row at the end of every strip.
    let rounds_up = node.number("ceil_mode").unwrap_or(0) != 0;
    if rounds_up || spread_out || node.has("auto_pad") || node.number("storage_order").unwrap_or(0) != 0 {
        return None;
    }
    let kernel = match node.numbers("kernel_shape") {
        Some(kernel) => kernel,
        None => graph.constant(others.first()?)?.dims.get(2..)?.to_vec(),
    };
    let stride = node.numbers("strides").unwrap_or_else(|| vec![1; 2]);
    let padding = node.numbers("pads").unwrap_or_else(|| vec![0; 4]);
    match (kernel.as_slice(), stride.as_slice(), padding.as_slice()) {
        (&[height, _], &[stride, _], &[above, _, below, _])
            if [height, stride].iter().all(|length| (1..=LEAST_HEIGHT).contains(length))
                && [above, below].iter().all(|padding| (0..height).contains(padding)) =>
        {
            Some(Layer { at, window: Some(Window { height, stride, above, below }) })
        }
        _ => None,
    }
}

/// What a strip of these layers depends on; `None` if it could be more than the next strip, or if nothing of the last could be
/// left.
fn reach(layers: &[Layer]) -> Option<Reach> {
    let mut reach = Reach { above: 0, below: 0, rows: 1 };
    for window in layers.iter().rev().filter_map(|layer| layer.window) {
        let Window { height, stride, above, .. } = window;
        reach.above = reach.above * stride + above;
        reach.below = (reach.below * stride + height - stride - above).max(0);
        reach.rows *= stride;
    }
    let strip = LEAST_HEIGHT / (STRIPS * reach.rows);
    let left = layers.iter().filter_map(|layer| layer.window).fold(LEAST_HEIGHT, |rows, window| {
        (rows + window.above + window.below - window.height).div_euclid(window.stride) + 1
    });
    let near = reach.above.max(reach.below) <= strip * reach.rows;
    (strip > 0 && near && left > (STRIPS - 1) * strip).then_some(reach)
}

struct Cutter<'n> {
    picture: String,
    constants: Vec<Constant>,
    nodes: Vec<Node>,
    names: &'n mut Names,
}

impl Cutter<'_> {
    fn node(&mut self, kind: &str, input: Vec<String>, attributes: Vec<Vec<u8>>) -> String {
        let output = self.names.like(&self.picture);
        self.nodes.push(Node::new(kind, input, vec![output.clone()], attributes));
        output
    }

    fn whole(&mut self, value: i64) -> String {
        let name = self.names.like(&self.picture);
        self.constants.push(Constant::integers(name.clone(), &[value]));
        name
    }

    fn for_channels(&mut self, values: [f32; 3]) -> String {
        let name = self.names.like(&self.picture);
        self.constants.push(Constant::floats(name.clone(), vec![3, 1, 1], &values));
        name
    }

    fn cut(&mut self, graph: &Graph, layers: &[Layer], reach: Reach, from: &FromBytes) {
        let Reach { above, below, rows } = reach;
        let (shape, axis, groups) = (
            self.node("Shape", vec![self.picture.clone()], vec![]),
            self.whole(ROWS),
            self.whole(STRIPS * rows),
        );
        let height = self.node("Gather", vec![shape, axis.clone()], vec![]);
        let strip = self.node("Div", vec![height, groups], vec![]);
        let mut start = self.whole(0);
        let mut strips = Vec::new();
        for number in 1..=STRIPS {
            // The last takes what is left.
            let (end, next) = if number < STRIPS {
                let times = self.whole(number * rows);
                let (above, below) = (self.whole(-above), self.whole(below));
                let border = self.node("Mul", vec![strip.clone(), times], vec![]);
                (
                    self.node("Add", vec![border.clone(), below], vec![]),
                    self.node("Add", vec![border, above], vec![]),
                )
            } else {
                (self.whole(i64::MAX), String::new())
            };
            let bytes = self.node("Slice", vec![self.picture.clone(), start, end, axis.clone()], vec![]);
            let numbers = self.numbers(bytes, from);
            strips.push(self.through(graph, layers, numbers, number == 1, number == STRIPS));
            start = next;
        }
        let given = layers.last().map(|layer| graph.node[layer.at].output.clone()).unwrap_or_default();
        self.nodes.push(Node::new("Concat", strips, given, vec![Attribute::integer("axis", ROWS)]));
    }

    fn numbers(&mut self, bytes: String, from: &FromBytes) -> String {
        let mut value = self.node("Cast", vec![bytes], vec![Attribute::integer("to", FLOAT.into())]);
        if from.mean != [0.0; 3] {
            let mean = self.for_channels(from.mean);
            value = self.node("Sub", vec![value, mean], vec![]);
        }
        if from.factor != [1.0; 3] {
            let factor = self.for_channels(from.factor);
            value = self.node("Mul", vec![value, factor], vec![]);
        }
        value
    }

    /// The layers for one strip; padding stays where it ends at the picture's border.
    fn through(
        &mut self,
        graph: &Graph,
        layers: &[Layer],
        mut value: String,
        top: bool,
        bottom: bool,
    ) -> String {
        for layer in layers {
            let node = &graph.node[layer.at];
            let mut attributes = node.attribute.clone();
            if layer.window.is_some()
                && let Some(mut padding) = node.numbers("pads")
            {
                padding[0] *= i64::from(top);
                padding[2] *= i64::from(bottom);
                attributes = node.attributes_but("pads");
                attributes.push(Attribute::integers("pads", &padding));
            }
            let mut input = vec![value];
            input.extend(node.input.iter().skip(1).cloned());
            value = self.node(node.op_type(), input, attributes);
        }
        value
    }
}
