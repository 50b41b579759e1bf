//! Convolutions that read the same value, computed as one.
//!
//! Where each of them is followed by a convolution of every channel for itself, and by nothing else, those are computed
//! as one as well.

use std::collections::BTreeMap;

use super::Names;
use super::onnx::{Attribute, Constant, Graph, Node};

/// Channels that ONNX Runtime computes together: of 32-bit floats 16 with AVX-512, 8 otherwise. Most is won with 16.
const BLOCK: i64 = 16;

/// From this version of the operators on, `Split` takes the lengths of the parts as an input.
const SPLIT_TAKES_LENGTHS: i64 = 13;

/// A convolution with constant weights.
#[derive(Clone, PartialEq)]
struct Convolution {
    /// Its place among the graph's nodes.
    at: usize,
    /// Channels that it gives.
    channels: i64,
    alike: Alike,
}

/// What two convolutions have to share so that one can do the work of both.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Alike {
    /// Whether every channel is computed from the one with its number, and not from all.
    each_for_itself: bool,
    /// Input channels that a channel is computed from, and the kernel's sides.
    kernel: Vec<i64>,
    /// All attributes but the number of groups.
    attributes: Vec<Vec<u8>>,
    biased: bool,
}

/// Joins all that is worth it; tells whether there was any.
pub fn join(graph: &mut Graph, opset: i64) -> bool {
    let mut names = Names::of(graph);
    let mut found = false;
    while let Some(generations) = worthwhile(graph) {
        replace(graph, &generations, opset, &mut names);
        found = true;
    }
    found
}

/// Siblings that take fewer blocks of channels together than each by itself, and generations of their descendants that can
/// be joined as well, each in the siblings' order.
fn worthwhile(graph: &Graph) -> Option<Vec<Vec<Convolution>>> {
    let mut families: BTreeMap<(&str, Alike), Vec<Convolution>> = BTreeMap::new();
    for (at, node) in graph.node.iter().enumerate() {
        if let Some(one) = convolution(graph, at).filter(|one| !one.alike.each_for_itself) {
            families.entry((node.input[0].as_str(), one.alike.clone())).or_default().push(one);
        }
    }
    let blocks = |channels: i64| (channels + BLOCK - 1) / BLOCK;
    let pays = |family: &Vec<Convolution>| {
        let apart: i64 = family.iter().map(|one| blocks(one.channels)).sum();
        apart > blocks(family.iter().map(|one| one.channels).sum())
    };
    let mut family = families.into_values().find(pays)?;
    let mut generations = Vec::new();
    loop {
        let children = children(graph, &family);
        generations.push(family);
        match children {
            Some(children) => family = children,
            None => return Some(generations),
        }
    }
}

/// The node with this number, if it is a convolution whose weights are known.
fn convolution(graph: &Graph, at: usize) -> Option<Convolution> {
    let node = &graph.node[at];
    let (taken, [_]) = (node.input.as_slice(), node.output.as_slice()) else { return None };
    let (weights, bias) = match taken {
        [_, weights] => (weights, None),
        [_, weights, bias] => (weights, Some(bias)),
        _ => return None,
    };
    let weights = graph.constant(weights).filter(|_| node.is("Conv"))?;
    weights.values().filter(|values| !values.is_empty())?;
    let (&channels, kernel) = weights.dims.split_first()?;
    if let Some(bias) = bias {
        let bias = graph.constant(bias)?;
        bias.values().filter(|_| bias.dims == [channels])?;
    }
    let group = node.number("group").unwrap_or(1);
    let each_for_itself = kernel.first() == Some(&1) && group == channels;
    (each_for_itself || group == 1).then(|| Convolution {
        at,
        channels,
        alike: Alike {
            each_for_itself,
            kernel: kernel.to_vec(),
            attributes: node.attributes_but("group"),
            biased: bias.is_some(),
        },
    })
}

/// For each of the siblings the only node that reads what it gives, if they are convolutions of every channel for itself
/// and alike.
fn children(graph: &Graph, family: &[Convolution]) -> Option<Vec<Convolution>> {
    let children: Option<Vec<Convolution>> = family
        .iter()
        .map(|parent| {
            let value = graph.node[parent.at].output.first()?;
            let reads = |(_, node): &(usize, &Node)| node.input.contains(value);
            let mut readers = graph.node.iter().enumerate().filter(reads);
            let (child, _) = readers.next()?;
            let alone = readers.next().is_none() && !graph.gives(value);
            // In a graph with a circle this would never end.
            let child = convolution(graph, child).filter(|child| alone && child.at > parent.at)?;
            (child.alike.each_for_itself && child.channels == parent.channels).then_some(child)
        })
        .collect();
    children.filter(|children| children.windows(2).all(|two| two[0].alike == two[1].alike))
}

/// Puts one chain of convolutions where the first of the siblings stood, and behind it what gives each its part of the
/// channels.
fn replace(graph: &mut Graph, generations: &[Vec<Convolution>], opset: i64, names: &mut Names) {
    let (Some(siblings), Some(last)) = (generations.first(), generations.last()) else { return };
    let Some(place) = siblings.iter().map(|one| one.at).min() else { return };
    let mut value = graph.node[place].input[0].clone();
    let mut chain = Vec::new();
    for family in generations {
        let (node, constants) = joined(graph, family, &value, names);
        value.clone_from(&node.output[0]);
        chain.push(node);
        graph.initializer.extend(constants);
    }
    let parts: Vec<i64> = last.iter().map(|one| one.channels).collect();
    let given = last.iter().map(|one| graph.node[one.at].output[0].clone()).collect();
    let (mut taken, mut attributes) = (vec![value.clone()], vec![Attribute::integer("axis", 1)]);
    if opset < SPLIT_TAKES_LENGTHS {
        attributes.push(Attribute::integers("split", &parts));
    } else {
        let lengths = names.like(&value);
        taken.push(lengths.clone());
        graph.initializer.push(Constant::integers(lengths, &parts));
    }
    chain.push(Node::new("Split", taken, given, attributes));
    let gone = |at: usize| generations.iter().flatten().any(|one| one.at == at);
    let mut nodes = Vec::with_capacity(graph.node.len());
    for (at, node) in std::mem::take(&mut graph.node).into_iter().enumerate() {
        if at == place {
            nodes.append(&mut chain);
        }
        if !gone(at) {
            nodes.push(node);
        }
    }
    graph.node = nodes;
}

/// One convolution that gives the channels of all of these in turn, and its constants.
fn joined(graph: &Graph, family: &[Convolution], value: &str, names: &mut Names) -> (Node, Vec<Constant>) {
    let first = &family[0];
    let channels: i64 = family.iter().map(|one| one.channels).sum();
    let mut input = vec![value.to_owned()];
    let mut constants = Vec::new();
    for port in 1..if first.alike.biased { 3 } else { 2 } {
        let parts = family.iter().filter_map(|one| graph.constant(&graph.node[one.at].input[port])?.values());
        let name = names.like(&graph.node[first.at].input[port]);
        let mut dims = vec![channels];
        if port == 1 {
            dims.extend(&first.alike.kernel);
        }
        constants.push(Constant::floats(name.clone(), dims, &parts.flatten().collect::<Vec<f32>>()));
        input.push(name);
    }
    let mut attributes = first.alike.attributes.clone();
    if first.alike.each_for_itself {
        attributes.push(Attribute::integer("group", channels));
    }
    let output = names.like(&graph.node[first.at].output[0]);
    (Node::new("Conv", input, vec![output], attributes), constants)
}
