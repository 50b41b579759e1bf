//! The ONNX graphs of the coarse assignment, written as protobuf bytes: 8 bits for processors, half precision for GPUs.
//!
//! Inputs: `x` f32 [batch, d], `chunk_k` i64 [1], `result_k` i64 [1]. Output: `lists` i64 [batch, result_k].
//!
//! 1. `x` is projected on the directions with the most energy and scaled to u8 with zero point 128, each row by its own
//!    greatest value; the order of a row's inner products does not depend on that factor.
//! 2. For each chunk of centroids (s8, one factor for all): `MatMulInteger`, then the `chunk_k` best of the chunk. On
//!    processors with VNNI u8 x s8 is the fast pairing; s8 x s8 is 19 times slower in ONNX Runtime 1.31.
//! 3. The `result_k` best of all chunks.
//!
//! In half precision there is no projection: `x` is cast, multiplied with the centroids of each chunk (`MatMul`), and the
//! scores are cast back for `TopK`.
//!
//! Centroid `j * chunks + c` is column `j` of chunk `c`: neighbours by number, which two-level training makes neighbours
//! in space, lie in different chunks, so that the best of one chunk rarely hides a better one of the same chunk.
//!
//! Field numbers are those of `onnx.proto3` (IR version 8, operator set 13).

/// Columns of a chunk: of those measured, the fastest that keeps the agreement.
pub const CHUNK: usize = 2048;
/// The same on a GPU, which wants large products.
pub const HALF_CHUNK: usize = 16_384;

const FLOAT: u64 = 1;
const UINT8: u64 = 2;
const INT8: u64 = 3;
const INT64: u64 = 7;
const FLOAT16: u64 = 10;

/// A protobuf message being written.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn number(mut self, field: u64, value: u64) -> Self {
        self.varint(field << 3);
        self.varint(value);
        self
    }

    fn bytes(mut self, field: u64, bytes: &[u8]) -> Self {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    fn text(self, field: u64, text: &str) -> Self {
        self.bytes(field, text.as_bytes())
    }

    fn message(self, field: u64, message: Self) -> Self {
        self.bytes(field, &message.0)
    }
}

/// A graph being written: its nodes and constants.
#[derive(Default)]
struct Graph(Message);

enum Attribute {
    Int(&'static str, i64),
    Ints(&'static str, &'static [i64]),
}

impl Graph {
    fn node(&mut self, op: &str, inputs: &[&str], outputs: &[&str], attributes: &[Attribute]) {
        let mut node = Message::default();
        node = inputs.iter().fold(node, |node, name| node.text(1, name));
        node = outputs.iter().fold(node, |node, name| node.text(2, name));
        node = node.text(3, outputs.first().copied().unwrap_or_default()).text(4, op);
        for attribute in attributes {
            let written = match attribute {
                Attribute::Int(name, value) => {
                    Message::default().text(1, name).number(3, *value as u64).number(20, 2)
                }
                Attribute::Ints(name, values) => values
                    .iter()
                    .fold(Message::default().text(1, name), |message, value| message.number(8, *value as u64))
                    .number(20, 7),
            };
            node = node.message(5, written);
        }
        self.0 = std::mem::take(&mut self.0).message(1, node);
    }

    fn constant(&mut self, name: &str, element: u64, shape: &[usize], raw: &[u8]) {
        let tensor = shape.iter().fold(Message::default(), |tensor, length| tensor.number(1, *length as u64));
        let tensor = tensor.number(2, element).text(8, name).bytes(9, raw);
        self.0 = std::mem::take(&mut self.0).message(5, tensor);
    }

    fn port(&mut self, field: u64, name: &str, element: u64, shape: &[Option<usize>]) {
        let shape = shape.iter().enumerate().fold(Message::default(), |shape, (axis, length)| {
            let dimension = match length {
                Some(length) => Message::default().number(1, *length as u64),
                None => Message::default().text(2, &format!("{name}_{axis}")),
            };
            shape.message(1, dimension)
        });
        let tensor = Message::default().number(1, element).message(2, shape);
        let kind = Message::default().message(1, tensor);
        let port = Message::default().text(1, name).message(2, kind);
        self.0 = std::mem::take(&mut self.0).message(field, port);
    }

    /// The best of a chunk's scores `score_…`, as list numbers. Needs `stride`, the number of chunks.
    fn best_of_chunk(&mut self, chunk: usize) {
        let name = |part: &str| format!("{part}_{chunk}");
        self.constant(&name("first"), INT64, &[], &(chunk as i64).to_le_bytes());
        let axis = [Attribute::Int("axis", 1)];
        self.node("TopK", &[&name("score"), "chunk_k"], &[&name("best"), &name("at")], &axis);
        self.node("Mul", &[&name("at"), "stride"], &[&name("row")], &[]);
        self.node("Add", &[&name("row"), &name("first")], &[&name("list")], &[]);
    }

    /// The best of all chunks' best, and the whole file with the ports that both graphs have.
    fn into_model(mut self, d: usize, chunks: usize) -> Vec<u8> {
        use Attribute::Int;
        let names = |part: &str| (0..chunks).map(|chunk| format!("{part}_{chunk}")).collect::<Vec<_>>();
        let (best, lists) = (names("best"), names("list"));
        let best: Vec<&str> = best.iter().map(String::as_str).collect();
        let lists: Vec<&str> = lists.iter().map(String::as_str).collect();
        self.node("Concat", &best, &["all_best"], &[Int("axis", 1)]);
        self.node("Concat", &lists, &["all_lists"], &[Int("axis", 1)]);
        self.node("TopK", &["all_best", "result_k"], &["result", "result_at"], &[Int("axis", 1)]);
        self.node("GatherElements", &["all_lists", "result_at"], &["lists"], &[Int("axis", 1)]);
        self.port(11, "x", FLOAT, &[None, Some(d)]);
        self.port(11, "chunk_k", INT64, &[Some(1)]);
        self.port(11, "result_k", INT64, &[Some(1)]);
        self.port(12, "lists", INT64, &[None, None]);
        let graph = self.0.text(2, "coarse");
        let operators = Message::default().text(1, "").number(2, 13);
        Message::default().number(1, 8).message(7, graph).message(8, operators).0
    }
}

fn float_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// The graph for centroids projected on `directions`: `projected` holds one row of `width` values for each list,
/// `directions` is `width` rows of `d` values.
pub fn int8_graph(directions: &[f32], d: usize, projected: &[f32], width: usize) -> Vec<u8> {
    use Attribute::{Int, Ints};
    let lists = projected.len() / width;
    let chunks = lists.div_ceil(CHUNK);
    let mut graph = Graph::default();

    let transposed: Vec<f32> =
        (0..d).flat_map(|column| (0..width).map(move |row| directions[row * d + column])).collect();
    graph.constant("directions", FLOAT, &[d, width], &float_bytes(&transposed));
    graph.constant("span", FLOAT, &[], &float_bytes(&[127.0]));
    graph.constant("least", FLOAT, &[], &float_bytes(&[1e-20]));
    graph.constant("middle", FLOAT, &[], &float_bytes(&[128.0]));
    graph.constant("zero", UINT8, &[], &[128]);
    graph.node("MatMul", &["x", "directions"], &["p"], &[]);
    graph.node("Abs", &["p"], &["p_abs"], &[]);
    graph.node("ReduceMax", &["p_abs"], &["p_max"], &[Ints("axes", &[1]), Int("keepdims", 1)]);
    graph.node("Max", &["p_max", "least"], &["p_most"], &[]);
    graph.node("Div", &["p", "p_most"], &["p_unit"], &[]);
    graph.node("Mul", &["p_unit", "span"], &["p_wide"], &[]);
    graph.node("Round", &["p_wide"], &["p_round"], &[]);
    graph.node("Add", &["p_round", "middle"], &["p_shifted"], &[]);
    graph.node("Cast", &["p_shifted"], &["q"], &[Int("to", UINT8 as i64)]);

    let most = projected.iter().fold(f32::MIN_POSITIVE, |most, value| most.max(value.abs()));
    graph.constant("stride", INT64, &[], &(chunks as i64).to_le_bytes());
    for chunk in 0..chunks {
        let columns: Vec<usize> = (chunk..lists).step_by(chunks).collect();
        let weights: Vec<u8> = (0..width)
            .flat_map(|row| columns.iter().map(move |list| (row, *list)))
            .map(|(row, list)| (projected[list * width + row] / most * 127.0).round() as i8 as u8)
            .collect();
        let (weight, score) = (format!("w_{chunk}"), format!("score_{chunk}"));
        graph.constant(&weight, INT8, &[width, columns.len()], &weights);
        graph.node("MatMulInteger", &["q", &weight, "zero"], &[&score], &[]);
        graph.best_of_chunk(chunk);
    }
    graph.into_model(d, chunks)
}

/// The graph in half precision for centroids of `d` values.
pub fn half_graph(centroids: &[f32], d: usize) -> Vec<u8> {
    let lists = centroids.len() / d;
    let chunks = lists.div_ceil(HALF_CHUNK);
    let mut graph = Graph::default();
    graph.constant("stride", INT64, &[], &(chunks as i64).to_le_bytes());
    graph.node("Cast", &["x"], &["h"], &[Attribute::Int("to", FLOAT16 as i64)]);
    for chunk in 0..chunks {
        let columns: Vec<usize> = (chunk..lists).step_by(chunks).collect();
        let weights: Vec<u8> = (0..d)
            .flat_map(|row| columns.iter().map(move |list| (row, *list)))
            .flat_map(|(row, list)| half::f16::from_f32(centroids[list * d + row]).to_le_bytes())
            .collect();
        let (weight, product, score) =
            (format!("w_{chunk}"), format!("product_{chunk}"), format!("score_{chunk}"));
        graph.constant(&weight, FLOAT16, &[d, columns.len()], &weights);
        graph.node("MatMul", &["h", &weight], &[&product], &[]);
        graph.node("Cast", &[&product], &[&score], &[Attribute::Int("to", FLOAT as i64)]);
        graph.best_of_chunk(chunk);
    }
    graph.into_model(d, chunks)
}
