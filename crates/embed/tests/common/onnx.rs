//! Small ONNX models, written as protobuf by hand (field numbers from onnx.proto, IR version 8, operator set 13).

use inference::f16;

/// A float constant.
pub struct Constant {
    pub name: String,
    pub shape: Vec<i64>,
    pub values: Vec<f32>,
}

/// One operator.
pub struct Node {
    pub operator: &'static str,
    pub inputs: Vec<String>,
    pub output: String,
    pub attributes: Vec<(&'static str, Attribute)>,
}

pub enum Attribute {
    Int(i64),
    Ints(Vec<i64>),
}

/// An input or output; `None` for an axis of any length.
pub type Port = (String, Vec<Option<i64>>);

pub fn node(operator: &'static str, inputs: &[&str], output: &str) -> Node {
    let inputs = inputs.iter().map(|name| (*name).to_owned()).collect();
    Node { operator, inputs, output: output.to_owned(), attributes: Vec::new() }
}

/// The file's bytes, with floats of 32 bits or half of that. Integer constants (shapes) are given by `shapes`.
pub fn model(
    half: bool,
    nodes: &[Node],
    constants: &[Constant],
    shapes: &[(&str, &[i64])],
    inputs: &[Port],
    outputs: &[Port],
) -> Vec<u8> {
    let element = if half { 10 } else { 1 };
    let mut graph = Vec::new();
    for node in nodes {
        let mut bytes = Vec::new();
        node.inputs.iter().for_each(|name| field(&mut bytes, 1, name.as_bytes()));
        field(&mut bytes, 2, node.output.as_bytes());
        field(&mut bytes, 4, node.operator.as_bytes());
        for (name, value) in &node.attributes {
            let mut attribute = Vec::new();
            field(&mut attribute, 1, name.as_bytes());
            match value {
                Attribute::Int(value) => {
                    number(&mut attribute, 3, *value as u64);
                    number(&mut attribute, 20, 2);
                }
                Attribute::Ints(values) => {
                    values.iter().for_each(|value| number(&mut attribute, 8, *value as u64));
                    number(&mut attribute, 20, 7);
                }
            }
            field(&mut bytes, 5, &attribute);
        }
        field(&mut graph, 1, &bytes);
    }
    field(&mut graph, 2, b"test");
    for constant in constants {
        let bytes = |value: &f32| {
            if half { f16::from_f32(*value).to_le_bytes().to_vec() } else { value.to_le_bytes().to_vec() }
        };
        let raw: Vec<u8> = constant.values.iter().flat_map(bytes).collect();
        field(&mut graph, 5, &tensor(&constant.name, &constant.shape, element, &raw));
    }
    for (name, values) in shapes {
        let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        field(&mut graph, 5, &tensor(name, &[values.len() as i64], 7, &raw));
    }
    inputs.iter().for_each(|input| field(&mut graph, 11, &port(input, element)));
    outputs.iter().for_each(|output| field(&mut graph, 12, &port(output, element)));
    let (mut set, mut model) = (Vec::new(), Vec::new());
    number(&mut set, 2, 13);
    number(&mut model, 1, 8);
    field(&mut model, 7, &graph);
    field(&mut model, 8, &set);
    model
}

fn tensor(name: &str, shape: &[i64], element: u64, raw: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    shape.iter().for_each(|length| number(&mut bytes, 1, *length as u64));
    number(&mut bytes, 2, element);
    field(&mut bytes, 8, name.as_bytes());
    field(&mut bytes, 9, raw);
    bytes
}

fn port((name, shape): &Port, element: u64) -> Vec<u8> {
    let mut axes = Vec::new();
    for (at, length) in shape.iter().enumerate() {
        let mut axis = Vec::new();
        match length {
            Some(length) => number(&mut axis, 1, *length as u64),
            None => field(&mut axis, 2, format!("{name}_{at}").as_bytes()),
        }
        field(&mut axes, 1, &axis);
    }
    let (mut tensor, mut kind, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
    number(&mut tensor, 1, element);
    field(&mut tensor, 2, &axes);
    field(&mut kind, 1, &tensor);
    field(&mut bytes, 1, name.as_bytes());
    field(&mut bytes, 2, &kind);
    bytes
}

fn field(out: &mut Vec<u8>, number: u64, bytes: &[u8]) {
    varint(out, number << 3 | 2);
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn number(out: &mut Vec<u8>, field: u64, value: u64) {
    varint(out, field << 3);
    varint(out, value);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
