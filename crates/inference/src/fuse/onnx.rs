//! The ONNX format, as far as networks are rewritten (ONNX IR specification, `onnx.proto`): numbers are those of its fields.
//!
//! What is only passed on is kept as the bytes it came in.

use std::collections::BTreeSet;

use prost::Message;

/// A constant's values are 32-bit floats (`TensorProto.DataType`).
pub const FLOAT: i32 = 1;
/// They are bytes.
pub const BYTE: i32 = 2;
/// They are 64-bit integers.
const INT64: i32 = 7;
/// They lie in another file (`TensorProto.DataLocation`).
const EXTERNAL: i32 = 1;
/// An attribute is an integer (`AttributeProto.AttributeType`).
const INTEGER: i32 = 2;
/// It is a list of integers.
const INTEGERS: i32 = 7;

/// A network with the versions it was written for.
#[derive(Clone, PartialEq, Message)]
pub struct Model {
    #[prost(int64, optional, tag = "1")]
    pub ir_version: Option<i64>,
    #[prost(string, optional, tag = "2")]
    pub producer_name: Option<String>,
    #[prost(string, optional, tag = "3")]
    pub producer_version: Option<String>,
    #[prost(string, optional, tag = "4")]
    pub domain: Option<String>,
    #[prost(int64, optional, tag = "5")]
    pub model_version: Option<i64>,
    #[prost(string, optional, tag = "6")]
    pub doc_string: Option<String>,
    #[prost(message, optional, tag = "7")]
    pub graph: Option<Graph>,
    #[prost(message, repeated, tag = "8")]
    pub opset_import: Vec<OperatorSet>,
    #[prost(bytes = "vec", repeated, tag = "14")]
    pub metadata_props: Vec<Vec<u8>>,
    #[prost(bytes = "vec", repeated, tag = "20")]
    pub training_info: Vec<Vec<u8>>,
    #[prost(bytes = "vec", repeated, tag = "25")]
    pub functions: Vec<Vec<u8>>,
    #[prost(bytes = "vec", repeated, tag = "26")]
    pub configuration: Vec<Vec<u8>>,
}

/// Which version of which operators a network uses.
#[derive(Clone, PartialEq, Message)]
pub struct OperatorSet {
    #[prost(string, optional, tag = "1")]
    pub domain: Option<String>,
    #[prost(int64, optional, tag = "2")]
    pub version: Option<i64>,
}

/// Nodes in an order in which they can be computed, and constants.
#[derive(Clone, PartialEq, Message)]
pub struct Graph {
    #[prost(message, repeated, tag = "1")]
    pub node: Vec<Node>,
    #[prost(string, optional, tag = "2")]
    pub name: Option<String>,
    #[prost(message, repeated, tag = "5")]
    pub initializer: Vec<Constant>,
    #[prost(string, optional, tag = "10")]
    pub doc_string: Option<String>,
    #[prost(bytes = "vec", repeated, tag = "11")]
    pub input: Vec<Vec<u8>>,
    #[prost(bytes = "vec", repeated, tag = "12")]
    pub output: Vec<Vec<u8>>,
    #[prost(bytes = "vec", repeated, tag = "13")]
    pub value_info: Vec<Vec<u8>>,
    #[prost(bytes = "vec", repeated, tag = "14")]
    pub quantization_annotation: Vec<Vec<u8>>,
    #[prost(bytes = "vec", repeated, tag = "15")]
    pub sparse_initializer: Vec<Vec<u8>>,
    #[prost(bytes = "vec", repeated, tag = "16")]
    pub metadata_props: Vec<Vec<u8>>,
}

/// An operator with the names of what it takes and gives.
#[derive(Clone, PartialEq, Message)]
pub struct Node {
    #[prost(string, repeated, tag = "1")]
    pub input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub output: Vec<String>,
    #[prost(string, optional, tag = "3")]
    pub name: Option<String>,
    #[prost(string, optional, tag = "4")]
    pub op_type: Option<String>,
    /// Each is an [`Attribute`].
    #[prost(bytes = "vec", repeated, tag = "5")]
    pub attribute: Vec<Vec<u8>>,
    #[prost(string, optional, tag = "6")]
    pub doc_string: Option<String>,
    #[prost(string, optional, tag = "7")]
    pub domain: Option<String>,
    #[prost(string, optional, tag = "8")]
    pub overload: Option<String>,
    #[prost(bytes = "vec", repeated, tag = "9")]
    pub metadata_props: Vec<Vec<u8>>,
    #[prost(bytes = "vec", repeated, tag = "10")]
    pub device_configurations: Vec<Vec<u8>>,
}

/// What is read of an attribute. Others have other fields, so an attribute is read and never written back.
#[derive(Clone, PartialEq, Message)]
pub struct Attribute {
    #[prost(string, optional, tag = "1")]
    pub name: Option<String>,
    #[prost(int64, optional, tag = "3")]
    pub i: Option<i64>,
    #[prost(bytes = "vec", optional, tag = "6")]
    pub g: Option<Vec<u8>>,
    #[prost(int64, repeated, packed = "false", tag = "8")]
    pub ints: Vec<i64>,
    #[prost(bytes = "vec", repeated, tag = "11")]
    pub graphs: Vec<Vec<u8>>,
    #[prost(int32, optional, tag = "20")]
    pub kind: Option<i32>,
}

/// A tensor of weights.
#[derive(Clone, PartialEq, Message)]
pub struct Constant {
    #[prost(int64, repeated, packed = "false", tag = "1")]
    pub dims: Vec<i64>,
    #[prost(int32, optional, tag = "2")]
    pub data_type: Option<i32>,
    #[prost(bytes = "vec", optional, tag = "3")]
    pub segment: Option<Vec<u8>>,
    #[prost(float, repeated, tag = "4")]
    pub float_data: Vec<f32>,
    #[prost(int32, repeated, tag = "5")]
    pub int32_data: Vec<i32>,
    #[prost(bytes = "vec", repeated, tag = "6")]
    pub string_data: Vec<Vec<u8>>,
    #[prost(int64, repeated, tag = "7")]
    pub int64_data: Vec<i64>,
    #[prost(string, optional, tag = "8")]
    pub name: Option<String>,
    #[prost(bytes = "vec", optional, tag = "9")]
    pub raw_data: Option<Vec<u8>>,
    #[prost(double, repeated, tag = "10")]
    pub double_data: Vec<f64>,
    #[prost(uint64, repeated, tag = "11")]
    pub uint64_data: Vec<u64>,
    #[prost(string, optional, tag = "12")]
    pub doc_string: Option<String>,
    #[prost(bytes = "vec", repeated, tag = "13")]
    pub external_data: Vec<Vec<u8>>,
    #[prost(int32, optional, tag = "14")]
    pub data_location: Option<i32>,
    #[prost(bytes = "vec", repeated, tag = "16")]
    pub metadata_props: Vec<Vec<u8>>,
}

/// The name of an input, an output or a value between, and its type.
#[derive(Clone, PartialEq, Message)]
pub struct Value {
    #[prost(string, optional, tag = "1")]
    pub name: Option<String>,
    #[prost(message, optional, tag = "2")]
    kind: Option<Type>,
    #[prost(string, optional, tag = "3")]
    doc_string: Option<String>,
    #[prost(bytes = "vec", repeated, tag = "4")]
    metadata_props: Vec<Vec<u8>>,
}

/// A type; only tensors are read.
#[derive(Clone, PartialEq, Message)]
struct Type {
    #[prost(message, optional, tag = "1")]
    tensor: Option<TensorType>,
    #[prost(string, optional, tag = "6")]
    denotation: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorType {
    #[prost(int32, optional, tag = "1")]
    element: Option<i32>,
    #[prost(message, optional, tag = "2")]
    shape: Option<Shape>,
}

#[derive(Clone, PartialEq, Message)]
struct Shape {
    #[prost(bytes = "vec", repeated, tag = "1")]
    dim: Vec<Vec<u8>>,
}

impl Model {
    /// Version of ONNX's own operators.
    pub fn opset(&self) -> Option<i64> {
        let own = |set: &&OperatorSet| matches!(set.domain(), "" | "ai.onnx");
        self.opset_import.iter().find(own)?.version
    }
}

impl Graph {
    /// Whether a node has a graph of its own, which may read any value of this one.
    pub fn has_subgraphs(&self) -> bool {
        let graphs = |attribute: &[u8]| {
            Attribute::decode(attribute).map_or(true, |read| read.g.is_some() || !read.graphs.is_empty())
        };
        self.node.iter().flat_map(|node| &node.attribute).any(|attribute| graphs(attribute))
    }

    /// Whether weights lie in other files, whose names are relative to the model's.
    pub fn has_external_data(&self) -> bool {
        self.initializer.iter().any(|constant| constant.data_location() == EXTERNAL)
    }

    /// The constant with this name, unless the graph's caller may give another in its place.
    pub fn constant(&self, name: &str) -> Option<&Constant> {
        let named = self.initializer.iter().find(|constant| constant.name() == name)?;
        (!names(&self.input).any(|input| input == name)).then_some(named)
    }

    /// Whether the graph gives this value to its caller.
    pub fn gives(&self, name: &str) -> bool {
        names(&self.output).any(|output| output == name)
    }

    /// Drops the constants that no node takes, and what is said of values that no node gives.
    pub fn forget_unused(&mut self) {
        let taken: BTreeSet<&str> =
            self.node.iter().flat_map(|node| node.input.iter().map(String::as_str)).collect();
        let outputs: BTreeSet<String> = names(&self.output).collect();
        self.initializer
            .retain(|constant| taken.contains(constant.name()) || outputs.contains(constant.name()));
        let given: BTreeSet<&str> =
            self.node.iter().flat_map(|node| node.output.iter().map(String::as_str)).collect();
        self.value_info.retain(|value| names([value]).any(|name| given.contains(name.as_str())));
    }
}

impl Value {
    /// What these bytes say, if all of it is understood.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        Self::decode(bytes).ok().filter(|value| value.encoded_len() == bytes.len())
    }

    /// Its bytes.
    pub fn written(&self) -> Vec<u8> {
        self.encode_to_vec()
    }

    /// A tensor with axes that are written already.
    #[cfg(test)]
    pub fn tensor_of(name: &str, element: i32, axes: Vec<Vec<u8>>) -> Self {
        let tensor = TensorType { element: Some(element), shape: Some(Shape { dim: axes }) };
        let kind = Some(Type { tensor: Some(tensor), denotation: None });
        Self { name: Some(name.to_owned()), kind, ..Self::default() }
    }

    fn tensor(&self) -> Option<&TensorType> {
        self.kind.as_ref()?.tensor.as_ref()
    }

    /// The type of a tensor's values.
    pub fn element(&self) -> Option<i32> {
        self.tensor()?.element
    }

    /// How many axes a tensor has, where that is said.
    pub fn axes(&self) -> Option<usize> {
        Some(self.tensor()?.shape.as_ref()?.dim.len())
    }

    /// Changes the type of a tensor's values.
    pub fn set_element(&mut self, element: i32) {
        if let Some(tensor) = self.kind.as_mut().and_then(|kind| kind.tensor.as_mut()) {
            tensor.element = Some(element);
        }
    }
}

fn names<'v>(values: impl IntoIterator<Item = &'v Vec<u8>>) -> impl Iterator<Item = String> {
    values.into_iter().filter_map(|value| Value::decode(value.as_slice()).ok()?.name)
}

impl Node {
    /// A node of ONNX's own operators.
    pub fn new(op_type: &str, input: Vec<String>, output: Vec<String>, attribute: Vec<Vec<u8>>) -> Self {
        let name = output.first().cloned();
        Self { input, output, name, op_type: Some(op_type.to_owned()), attribute, ..Self::default() }
    }

    /// Whether it is this operator of ONNX's own.
    pub fn is(&self, op_type: &str) -> bool {
        self.op_type() == op_type && matches!(self.domain(), "" | "ai.onnx")
    }

    /// Its attributes but for the one with this name, in the order of their bytes.
    pub fn attributes_but(&self, name: &str) -> Vec<Vec<u8>> {
        let other = |attribute: &&Vec<u8>| {
            Attribute::decode(attribute.as_slice()).is_ok_and(|read| read.name() != name)
        };
        let mut others: Vec<Vec<u8>> = self.attribute.iter().filter(other).cloned().collect();
        others.sort();
        others
    }

    fn read(&self, name: &str) -> Option<Attribute> {
        let read = |attribute: &Vec<u8>| Attribute::decode(attribute.as_slice()).ok();
        self.attribute.iter().filter_map(read).find(|attribute| attribute.name() == name)
    }

    /// Whether it has this attribute.
    pub fn has(&self, name: &str) -> bool {
        self.read(name).is_some()
    }

    /// An attribute that is a number, if it is there.
    pub fn number(&self, name: &str) -> Option<i64> {
        self.read(name)?.i
    }

    /// An attribute that is a list of numbers, if it is there.
    pub fn numbers(&self, name: &str) -> Option<Vec<i64>> {
        Some(self.read(name)?.ints)
    }
}

impl Attribute {
    /// An attribute that is a number.
    pub fn integer(name: &str, value: i64) -> Vec<u8> {
        let kind = Some(INTEGER);
        Self { name: Some(name.to_owned()), i: Some(value), kind, ..Self::default() }.encode_to_vec()
    }

    /// An attribute that is a list of numbers.
    pub fn integers(name: &str, values: &[i64]) -> Vec<u8> {
        let (ints, kind) = (values.to_vec(), Some(INTEGERS));
        Self { name: Some(name.to_owned()), ints, kind, ..Self::default() }.encode_to_vec()
    }
}

impl Constant {
    /// A tensor of floats.
    pub fn floats(name: String, dims: Vec<i64>, values: &[f32]) -> Self {
        let raw_data = Some(values.iter().flat_map(|value| value.to_le_bytes()).collect());
        Self { dims, data_type: Some(FLOAT), name: Some(name), raw_data, ..Self::default() }
    }

    /// A list of whole numbers.
    pub fn integers(name: String, values: &[i64]) -> Self {
        let raw_data = Some(values.iter().flat_map(|value| value.to_le_bytes()).collect());
        let dims = vec![values.len() as i64];
        Self { dims, data_type: Some(INT64), name: Some(name), raw_data, ..Self::default() }
    }

    /// Its values, if they are 32-bit floats and as many as its shape says.
    pub fn values(&self) -> Option<Vec<f32>> {
        if self.data_type() != FLOAT || self.segment.is_some() || self.data_location() == EXTERNAL {
            return None;
        }
        let values = match &self.raw_data {
            Some(raw) => {
                let (floats, rest) = raw.as_chunks::<4>();
                rest.is_empty().then(|| floats.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())?
            }
            None => self.float_data.clone(),
        };
        let shape = self.dims.iter().try_fold(1, |product: i64, dim| product.checked_mul(*dim))?;
        (usize::try_from(shape) == Ok(values.len())).then_some(values)
    }
}
