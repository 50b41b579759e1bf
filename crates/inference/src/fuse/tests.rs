use proptest::prelude::*;

use super::onnx::{Attribute, Constant, Graph, Model, Node, OperatorSet, Value};
use super::*;
use crate::session::tests::runtime;
use crate::{Element, InferenceConfig, Provider, Runtime, Session, TensorView};

/// Numbers that look like weights.
fn noise(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..count).map(next).collect()
}

/// A tensor's name and shape, as ONNX writes them; a length that is no number gets a name.
fn port(name: &str, shape: &[Option<i64>]) -> Vec<u8> {
    #[derive(Clone, PartialEq, Message)]
    struct Length {
        #[prost(int64, optional, tag = "1")]
        value: Option<i64>,
        #[prost(string, optional, tag = "2")]
        parameter: Option<String>,
    }
    let length = |(at, length): (usize, &Option<i64>)| {
        Length { value: *length, parameter: length.is_none().then(|| format!("axis {at}")) }.encode_to_vec()
    };
    Value::tensor_of(name, onnx::FLOAT, shape.iter().enumerate().map(length).collect()).written()
}

/// One branch: what it takes, its channels, and whether a convolution of every channel for itself follows.
#[derive(Clone, Debug)]
struct Branch {
    from: usize,
    channels: i64,
    kernel: i64,
    biased: bool,
    deep: usize,
    given: bool,
}

const INPUT_CHANNELS: i64 = 5;

fn convolution(graph: &mut Graph, value: &str, output: &str, shape: [i64; 4], biased: bool, group: i64) {
    let seed = graph.initializer.len() as u64;
    let count = shape.iter().product::<i64>() as usize;
    let mut input = vec![value.to_owned(), format!("{output}.weight")];
    graph.initializer.push(Constant::floats(input[1].clone(), shape.to_vec(), &noise(count, seed)));
    if biased {
        input.push(format!("{output}.bias"));
        let bias = noise(shape[0] as usize, seed + 1000);
        graph.initializer.push(Constant::floats(input[2].clone(), vec![shape[0]], &bias));
    }
    let (kernel, pad) = (shape[2], shape[2] / 2);
    let mut attributes =
        vec![Attribute::integers("kernel_shape", &[kernel; 2]), Attribute::integers("pads", &[pad; 4])];
    if group != 1 {
        attributes.push(Attribute::integer("group", group));
    }
    graph.node.push(Node::new("Conv", input, vec![output.to_owned()], attributes));
}

/// A network of two trunks with these branches, each of which is an output.
fn network(branches: &[Branch], opset: i64) -> Vec<u8> {
    let mut graph = Graph { name: Some("branches".into()), ..Graph::default() };
    graph.input = vec![port("picture", &[None, Some(INPUT_CHANNELS), None, None])];
    for trunk in 0..2 {
        let name = format!("trunk{trunk}");
        convolution(&mut graph, "picture", &name, [16 + trunk, INPUT_CHANNELS, 3, 3], true, 1);
    }
    for (at, branch) in branches.iter().enumerate() {
        let mut value = format!("branch{at}");
        let (trunk, into) = (format!("trunk{}", branch.from), 16 + branch.from as i64);
        let (channels, kernel) = (branch.channels, branch.kernel);
        convolution(&mut graph, &trunk, &value, [channels, into, kernel, kernel], branch.biased, 1);
        if branch.given {
            graph.output.push(port(&value, &[None, Some(channels), None, None]));
        }
        for step in 0..branch.deep {
            let next = format!("branch{at}.{step}");
            convolution(&mut graph, &value, &next, [channels, 1, 3, 3], true, channels);
            value = next;
        }
        graph.node.push(Node::new("Sigmoid", vec![value], vec![format!("out{at}")], vec![]));
        graph.output.push(port(&format!("out{at}"), &[None, Some(channels), None, None]));
    }
    let opset_import = vec![OperatorSet { domain: None, version: Some(opset) }];
    Model { ir_version: Some(6), graph: Some(graph), opset_import, ..Model::default() }.encode_to_vec()
}

fn branch(from: usize, channels: i64, deep: usize) -> Branch {
    Branch { from, channels, kernel: 1, biased: true, deep, given: false }
}

fn convolutions(model: &[u8]) -> usize {
    let graph = Model::decode(model).unwrap().graph.unwrap();
    graph.node.iter().filter(|node| node.is("Conv")).count()
}

/// What a model gives for a picture, each output with its shape.
fn answers(session: &Session, (height, width): (usize, usize)) -> Vec<(Vec<usize>, Vec<f32>)> {
    let shape = [1, INPUT_CHANNELS as usize, height, width];
    let values = noise(shape.iter().product(), 77);
    let outputs = session.run(&[TensorView::f32(&shape, &values)]).unwrap();
    outputs.iter().map(|output| (output.shape.clone(), output.as_f32().unwrap().to_vec())).collect()
}

fn same_answers(runtime: &Runtime, stored: &[u8], fused: &[u8]) -> Result<(), TestCaseError> {
    let stored = runtime.session_from_bytes("stored", stored).unwrap();
    let fused = runtime.session_from_bytes("fused", fused).unwrap();
    prop_assert_eq!(stored.inputs(), fused.inputs());
    prop_assert_eq!(stored.outputs(), fused.outputs());
    for size in [(8, 8), (9, 17)] {
        for ((shape, before), (fused_shape, after)) in
            answers(&stored, size).into_iter().zip(answers(&fused, size))
        {
            prop_assert_eq!(shape, fused_shape);
            for (before, after) in before.iter().zip(&after) {
                prop_assert!((before - after).abs() <= 1e-5 * (1.0 + before.abs()), "{} {}", before, after);
            }
        }
    }
    Ok(())
}

#[test]
fn a_score_a_box_and_landmarks_are_computed_at_once() {
    let heads = [branch(0, 1, 1), branch(0, 4, 1), branch(0, 1, 1), branch(0, 10, 1)];
    for opset in [11, 13, 18] {
        let stored = network(&heads, opset);
        let fused = for_processor(&stored, None).unwrap();
        // Two trunks, of which one is not looked at, and twice four branches.
        assert_eq!((convolutions(&stored), convolutions(&fused)), (10, 4));
        let graph = Model::decode(fused.as_slice()).unwrap().graph.unwrap();
        let unused = graph.initializer.iter().filter(|constant| {
            !graph.node.iter().any(|node| node.input.iter().any(|name| name == constant.name()))
        });
        assert_eq!(unused.count(), 0);
        if let Some(runtime) = runtime() {
            same_answers(&runtime, &stored, &fused).unwrap();
        }
    }
}

#[test]
fn what_would_take_as_long_stays_apart() {
    let same = |branches: &[Branch]| for_processor(&network(branches, 11), None).is_none();
    assert!(same(&[branch(0, 16, 1), branch(0, 32, 1)]), "whole blocks");
    assert!(same(&[branch(0, 9, 1), branch(0, 9, 1)]), "two blocks either way");
    assert!(same(&[branch(0, 4, 1), branch(1, 4, 1)]), "of different values");
    let wide = Branch { kernel: 3, ..branch(0, 4, 1) };
    assert!(same(&[branch(0, 4, 1), wide]), "of different kernels");
    let plain = Branch { biased: false, ..branch(0, 4, 1) };
    assert!(same(&[branch(0, 4, 1), plain]), "one without a bias");
}

#[test]
fn what_is_not_understood_is_left_alone() {
    let model = network(&[branch(0, 4, 1), branch(0, 4, 1)], 11);
    assert!(for_processor(&model, None).is_some());
    let change = |change: &dyn Fn(&mut Model)| {
        let mut changed = Model::decode(model.as_slice()).unwrap();
        change(&mut changed);
        for_processor(&changed.encode_to_vec(), None)
    };
    assert_eq!(change(&|model| model.ir_version = Some(3)), None);
    assert_eq!(change(&|model| model.opset_import.clear()), None);
    assert_eq!(change(&|model| model.graph = None), None);
    // A branch's weights may be given by the caller, or cannot be read.
    let weights = |graph: &mut Graph, change: &dyn Fn(&mut Constant)| {
        let named = graph.initializer.iter_mut().find(|constant| constant.name() == "branch0.weight");
        change(named.unwrap());
    };
    let graph =
        |change_graph: &dyn Fn(&mut Graph)| change(&|model| change_graph(model.graph.as_mut().unwrap()));
    assert_eq!(graph(&|graph| graph.input.push(port("branch0.weight", &[Some(4)]))), None);
    assert_eq!(graph(&|graph| weights(graph, &|weights| weights.data_type = Some(10))), None);
    assert_eq!(graph(&|graph| weights(graph, &|weights| weights.dims[0] = 3)), None);
    assert_eq!(graph(&|graph| weights(graph, &|weights| weights.dims[0] = i64::MAX)), None);
    let none = |weights: &mut Constant| {
        *weights = Constant::floats(weights.name().into(), vec![i64::MAX, 0, 1, 1], &[])
    };
    assert_eq!(graph(&|graph| weights(graph, &none)), None);
    // Fields that are not known, truncation, noise.
    assert_eq!(for_processor(&[&model[..], &[0xfa, 0x07, 1, 9]].concat(), None), None);
    for length in [0, 1, model.len() / 2, model.len() - 1] {
        assert_eq!(for_processor(&model[..length], None), None);
    }
    assert_eq!(file_for_processor(Path::new("/nowhere/model.onnx"), None), None);
}

/// No such graph is sound; it must not keep the program from saying so.
#[test]
fn circles_end() {
    let mut model = Model::decode(network(&[branch(0, 4, 1), branch(0, 4, 1)], 11).as_slice()).unwrap();
    for node in &mut model.graph.as_mut().unwrap().node {
        if node.output[0].ends_with(".0") {
            node.output[0] = node.input[0].clone();
        }
    }
    assert!(
        for_processor(&model.encode_to_vec(), None).is_some(),
        "the siblings and their children are joined"
    );
    let begins: [First; 3] = [(3, 2, 1, false, true), (3, 1, 1, false, false), (2, 2, 0, true, false)];
    let mut model = Model::decode(first_layers(&begins, 11, None).as_slice()).unwrap();
    for node in &mut model.graph.as_mut().unwrap().node {
        if node.is("Relu") {
            node.output[0] = node.input[0].clone();
        }
    }
    assert_eq!(cut(&model.encode_to_vec(), &AS_THEY_ARE), None);
}

#[test]
fn a_file_is_run_in_its_new_form() {
    let Some(runtime) = runtime() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let stored = network(&[branch(1, 4, 1), branch(1, 3, 0)], 11);
    std::fs::write(&path, &stored).unwrap();
    let session = runtime.session_from_file(&path).unwrap();
    let plain = runtime.session_from_bytes("stored", &stored).unwrap();
    assert_eq!(session.inputs(), plain.inputs());
    for ((_, one), (_, other)) in answers(&session, (8, 8)).iter().zip(&answers(&plain, (8, 8))) {
        assert!(one.iter().zip(other).all(|(one, other)| (one - other).abs() < 1e-5));
    }
    // Only those who say how numbers are made of bytes get a network that takes bytes, and only on the processor.
    let begins: [First; 3] = [(3, 2, 1, false, true), (3, 1, 1, false, false), (2, 2, 0, true, false)];
    std::fs::write(&path, first_layers(&begins, 11, None)).unwrap();
    let takes = |session: &Session| session.inputs()[0].element;
    assert_eq!(takes(&runtime.session_from_file(&path).unwrap()), Element::F32);
    for session in runtime.sessions_for_pictures(&path, &CENTRED).unwrap() {
        assert_eq!(takes(&session), Element::U8);
    }
    let providers = vec![Provider::Cuda, Provider::Cpu];
    let gpu = Runtime::start(&InferenceConfig { providers, ..InferenceConfig::default() }).unwrap();
    for session in gpu.sessions_for_pictures(&path, &CENTRED).unwrap() {
        assert_eq!(takes(&session), Element::F32);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn the_answers_stay(
        branches in prop::collection::vec(
            (0usize..2, 1i64..20, prop::bool::weighted(0.8), prop::bool::weighted(0.8), 0usize..3, prop::bool::weighted(0.1)),
            1..7,
        ),
        opset in prop::sample::select(vec![11i64, 13, 18]),
    ) {
        let Some(runtime) = runtime() else { return Ok(()) };
        let branches: Vec<Branch> = branches.into_iter().map(|(from, channels, narrow, biased, deep, given)| {
            Branch { from, channels, kernel: if narrow { 1 } else { 3 }, biased, deep, given }
        }).collect();
        let stored = network(&branches, opset);
        if let Some(fused) = for_processor(&stored, None) {
            prop_assert!(convolutions(&fused) < convolutions(&stored));
            prop_assert_eq!(for_processor(&fused, None), None, "nothing is left to join");
            same_answers(&runtime, &stored, &fused)?;
        }
    }
}

/// One of the first layers: kernel, stride, padding, whether it is a pooling, and whether a `Relu` follows.
type First = (i64, i64, i64, bool, bool);

/// A network of these layers, given a picture of three channels; `also` is a layer whose value it gives as well.
fn first_layers(layers: &[First], opset: i64, also: Option<usize>) -> Vec<u8> {
    let mut graph = Graph { name: Some("first".into()), ..Graph::default() };
    graph.input = vec![port("picture", &[None, Some(3), None, None])];
    let (mut value, mut channels) = ("picture".to_owned(), 3);
    for (at, (kernel, stride, pad, pooling, relu)) in layers.iter().enumerate() {
        let mut next = format!("layer{at}");
        let out = if *pooling { channels } else { 16 };
        let shape = vec![
            Attribute::integers("kernel_shape", &[*kernel; 2]),
            Attribute::integers("pads", &[*pad; 4]),
            Attribute::integers("strides", &[*stride; 2]),
        ];
        if *pooling {
            graph.node.push(Node::new("MaxPool", vec![value], vec![next.clone()], shape));
        } else {
            convolution(&mut graph, &value, &next, [out, channels, *kernel, *kernel], at % 2 == 0, 1);
            graph.node.last_mut().unwrap().attribute = shape;
        }
        if also == Some(at) {
            graph.output.push(port(&next, &[None, Some(out), None, None]));
        }
        if *relu {
            graph.node.push(Node::new("Relu", vec![next], vec![format!("relu{at}")], vec![]));
            next = format!("relu{at}");
        }
        (value, channels) = (next, out);
    }
    graph.node.push(Node::new("Sigmoid", vec![value], vec!["out".into()], vec![]));
    graph.output.push(port("out", &[None, None, None, None]));
    let opset_import = vec![OperatorSet { domain: None, version: Some(opset) }];
    Model { ir_version: Some(6), graph: Some(graph), opset_import, ..Model::default() }.encode_to_vec()
}

const AS_THEY_ARE: FromBytes = FromBytes { mean: [0.0; 3], factor: [1.0; 3] };
const CENTRED: FromBytes =
    FromBytes { mean: [127.5, 120.0, 110.25], factor: [1.0 / 128.0, 1.0 / 64.0, 1.0 / 57.375] };

/// The model in strips gives for bytes what the stored one gives for the numbers they stand for, bit by bit.
fn same_in_strips(
    runtime: &Runtime,
    stored: &[u8],
    cut: &[u8],
    from: &FromBytes,
) -> Result<(), TestCaseError> {
    let stored = runtime.session_from_bytes("stored", stored).unwrap();
    let cut = runtime.session_from_bytes("cut", cut).unwrap();
    prop_assert_eq!(cut.inputs()[0].element, Element::U8);
    prop_assert_eq!(&cut.inputs()[0].shape, &stored.inputs()[0].shape);
    prop_assert_eq!(stored.outputs(), cut.outputs());
    for (height, width, batch) in [(32, 64, 1), (64, 70, 2), (67, 65, 1), (95, 64, 1)] {
        let shape = [batch, 3, height, width];
        let count = shape.iter().product();
        let bytes: Vec<u8> = noise(count, 5).iter().map(|value| (value * 127.0 + 127.0) as u8).collect();
        let number = |(at, byte): (usize, &u8)| {
            let channel = at / (height * width) % 3;
            (f32::from(*byte) - from.mean[channel]) * from.factor[channel]
        };
        let numbers: Vec<f32> = bytes.iter().enumerate().map(number).collect();
        let before = stored.run(&[TensorView::f32(&shape, &numbers)]).unwrap();
        let after = cut.run(&[TensorView::u8(&shape, &bytes)]).unwrap();
        prop_assert!(before == after, "{} x {}", width, height);
    }
    Ok(())
}

fn cut(model: &[u8], from: &FromBytes) -> Option<Vec<u8>> {
    for_processor(model, Some(from))
}

#[test]
fn what_does_not_begin_like_a_detector_is_not_cut() {
    let begins: [First; 3] = [(3, 2, 1, false, true), (3, 1, 1, false, false), (2, 2, 0, true, false)];
    let model = first_layers(&begins, 11, None);
    assert!(cut(&model, &AS_THEY_ARE).is_some());
    assert_eq!(for_processor(&model, None), None, "nobody asked for bytes");
    assert_eq!(cut(&first_layers(&begins, 9, None), &AS_THEY_ARE), None, "an old `Slice`");
    assert_eq!(cut(&first_layers(&begins[..2], 11, None), &AS_THEY_ARE), None, "no small layer");
    assert_eq!(cut(&first_layers(&begins, 11, Some(1)), &AS_THEY_ARE), None, "a value between is given");
    assert_eq!(cut(&first_layers(&begins[2..], 11, None), &AS_THEY_ARE), None, "no convolution");
    let wide: [First; 3] = [(31, 2, 15, false, true), (3, 1, 1, false, false), (2, 2, 0, true, false)];
    assert_eq!(cut(&first_layers(&wide, 11, None), &AS_THEY_ARE), None, "strips would reach too far");
    let changed = |kind: &str, attribute: Vec<u8>| {
        let mut model = Model::decode(model.as_slice()).unwrap();
        let nodes = &mut model.graph.as_mut().unwrap().node;
        nodes.iter_mut().find(|node| node.is(kind)).unwrap().attribute.push(attribute);
        cut(&model.encode_to_vec(), &AS_THEY_ARE)
    };
    assert_eq!(changed("Conv", Attribute::integers("dilations", &[2, 2])), None);
    assert_eq!(changed("MaxPool", Attribute::integer("ceil_mode", 1)), None);
    assert!(changed("MaxPool", Attribute::integer("ceil_mode", 0)).is_some());
    let shape = |name: &str, values: &[i64]| {
        let mut model = Model::decode(model.as_slice()).unwrap();
        let node = model.graph.as_mut().unwrap().node.iter_mut().find(|node| node.is("MaxPool")).unwrap();
        node.attribute = node.attributes_but(name);
        node.attribute.push(Attribute::integers(name, values));
        cut(&model.encode_to_vec(), &AS_THEY_ARE)
    };
    for far in [0, -1, i64::MAX, i64::MIN] {
        assert_eq!(shape("kernel_shape", &[far; 2]), None);
        assert_eq!(shape("strides", &[far; 2]), None);
        assert_eq!(shape("pads", &[far, 0, if far == 0 { -1 } else { 0 }, 0]), None);
    }
    assert_eq!(shape("strides", &[2]), None, "one axis");
    // Four channels are no picture.
    assert_eq!(cut(&network(&[branch(0, 16, 0)], 11), &AS_THEY_ARE), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]

    #[test]
    fn in_strips_every_value_stays(
        layers in prop::collection::vec((1i64..4, 1i64..3, 0i64..3, prop::bool::weighted(0.2), any::<bool>()), 1..6),
        opset in prop::sample::select(vec![11i64, 13, 18]), centred: bool,
    ) {
        let Some(runtime) = runtime() else { return Ok(()) };
        let sound = |(kernel, stride, pad, pooling, relu): First| {
            (kernel, stride, pad.min(if pooling { kernel / 2 } else { kernel - 1 }), pooling, relu)
        };
        let mut layers: Vec<First> = layers.into_iter().map(sound).collect();
        layers[0].3 = false;
        let from = if centred { CENTRED } else { AS_THEY_ARE };
        let stored = first_layers(&layers, opset, None);
        let left = layers.iter().fold(32, |rows, (kernel, stride, pad, ..)| (rows + 2 * pad - kernel).div_euclid(*stride) + 1);
        // What leaves nothing of a small picture makes ONNX Runtime divide by zero.
        prop_assume!(left > 0);
        if let Some(cut) = cut(&stored, &from) {
            same_in_strips(&runtime, &stored, &cut, &from)?;
        }
    }
}
