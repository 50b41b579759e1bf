#!/usr/bin/env python3
"""Writes two model packs of random weights for bench/gpu.sh: speed does not depend on the weights.

    python3 gpu_models.py FOLDER

`gpu-fp32` and `gpu-fp16` in FOLDER, each with
- a detector of SCRFD-10G's shape (the residual backbone, feature pyramid and heads of its published configuration,
  about 10 GFLOPs at 640 x 480) at 320 x 320, with dynamic batch and the nine outputs, that finds exactly one face in
  every picture: its last layers are scaled down to almost nothing and constants added, so that the network's whole work
  is done and its answer is known;
- an embedder of IResNet-50's shape (ArcFace; 6.3 billion multiplications a face) from 112 x 112 to 512 numbers.

Needs numpy and onnx.
"""
import hashlib
import pathlib
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE = 320


class Graph:
    """Collects nodes and weights; `kind` is the numpy type of all of them."""

    def __init__(self, kind):
        self.kind, self.nodes, self.weights, self.count = kind, [], [], 0
        self.random = np.random.default_rng(1)

    def name(self, what):
        self.count += 1
        return f"{what}_{self.count}"

    def constant(self, values, kind=None):
        name = self.name("w")
        self.weights.append(numpy_helper.from_array(np.asarray(values).astype(kind or self.kind), name))
        return name

    def node(self, op, inputs, **attributes):
        out = self.name(op.lower())
        self.nodes.append(helper.make_node(op, inputs, [out], **attributes))
        return out

    def conv(self, x, inputs, outputs, size=3, stride=1, gain=1.0):
        scale = gain * np.sqrt(2.0 / (inputs * size * size))
        weight = self.constant(self.random.normal(0, scale, (outputs, inputs, size, size)))
        bias = self.constant(np.zeros(outputs))
        return self.node("Conv", [x, weight, bias], kernel_shape=[size, size], strides=[stride, stride],
                         pads=[size // 2] * 4)

    def relu(self, x):
        return self.node("Relu", [x])

    def prelu(self, x, channels):
        return self.node("PRelu", [x, self.constant(np.full((channels, 1, 1), 0.25))])

    def add(self, a, b):
        return self.node("Add", [a, b])


def detector(kind):
    g = Graph(kind)
    # Stem and stages of SCRFD-10G: 3x3 convolutions 28, 28, 56, then basic blocks.
    x = g.relu(g.conv("input", 3, 28, stride=2))
    x = g.relu(g.conv(x, 28, 28))
    x = g.relu(g.conv(x, 28, 56))
    x, channels, levels = g.node("MaxPool", [x], kernel_shape=[2, 2], strides=[2, 2]), 56, []
    for width, depth, stride in ((56, 3, 1), (88, 4, 2), (88, 2, 2), (224, 3, 2)):
        for block in range(depth):
            step = stride if block == 0 else 1
            short = x
            if step != 1 or channels != width:
                if step != 1:
                    short = g.node("AveragePool", [x], kernel_shape=[2, 2], strides=[2, 2])
                short = g.conv(short, channels, width, size=1)
            y = g.relu(g.conv(x, channels, width, stride=step))
            x, channels = g.relu(g.add(g.conv(y, width, width, gain=0.3), short)), width
        levels.append((x, width))
    # Feature pyramid (56 channels), top down and bottom up.
    lateral = [g.conv(x, width, 56, size=1) for x, width in levels[1:]]
    for at in (1, 0):
        scales = g.constant([1.0, 1.0, 2.0, 2.0], np.float32)
        up = g.node("Resize", [lateral[at + 1], "", scales], mode="nearest", coordinate_transformation_mode="asymmetric",
                    nearest_mode="floor")
        lateral[at] = g.add(lateral[at], up)
    smooth = [g.conv(x, 56, 56) for x in lateral]
    for at in (1, 2):
        smooth[at] = g.add(smooth[at], g.conv(smooth[at - 1], 56, 56, stride=2))
    smooth = [smooth[0]] + [g.conv(x, 56, 56) for x in smooth[1:]]
    # Heads: three 3x3 convolutions of 80 channels, then scores, boxes and landmarks.
    found = {"score": [], "bbox": [], "kps": []}
    for level, (x, stride) in enumerate(zip(smooth, (8, 16, 32))):
        x = g.relu(g.conv(x, 56, 80))
        x = g.relu(g.conv(x, 80, 80))
        x = g.relu(g.conv(x, 80, 80))
        cells = SIDE // stride
        anchors = cells * cells * 2
        middle = ((cells // 2) * cells + cells // 2) * 2
        for what, values in (("score", 1), ("bbox", 4), ("kps", 10)):
            raw = g.conv(x, 80, 2 * values, gain=1e-3)
            raw = g.node("Transpose", [raw], perm=[0, 2, 3, 1])
            raw = g.node("Reshape", [raw, g.constant([-1, anchors, values], np.int64)])
            # 1e-3 of the network's answer, so that nothing can be folded away, and what is to be found.
            raw = g.node("Mul", [raw, g.constant([1e-3])])
            fixed = np.zeros((1, anchors, values))
            if what == "score":
                fixed[:] = -8.0
                if level == 2:
                    fixed[0, middle] = 6.0
            elif what == "bbox":
                fixed[:] = 3.0
            else:
                face = np.array([[-1.1, -1.0], [1.1, -1.0], [0.0, 0.2], [-0.9, 1.3], [0.9, 1.3]])
                fixed[:] = face.reshape(-1)
            raw = g.add(raw, g.constant(fixed))
            if what == "score":
                raw = g.node("Sigmoid", [raw])
            found[what].append((raw, anchors, values))
    outputs = [out for what in ("score", "bbox", "kps") for out in found[what]]
    return finish(g, [SIDE, SIDE], [(name, ["batch", anchors, values]) for name, anchors, values in outputs])


def embedder(kind):
    g = Graph(kind)
    x = g.prelu(g.conv("input", 3, 64), 64)
    channels = 64
    for width, depth in ((64, 3), (128, 4), (256, 14), (512, 3)):
        for block in range(depth):
            stride = 2 if block == 0 else 1
            short = x if stride == 1 and channels == width else g.conv(x, channels, width, size=1, stride=stride)
            y = g.prelu(g.conv(x, channels, width), width)
            x, channels = g.add(g.conv(y, width, width, stride=stride, gain=0.2), short), width
    x = g.node("Flatten", [x], axis=1)
    weight = g.constant(g.random.normal(0, 0.01, (512, 512 * 7 * 7)))
    x = g.node("Gemm", [x, weight, g.constant(np.zeros(512))], transB=1)
    return finish(g, [112, 112], [(x, ["batch", 512])])


def finish(g, size, outputs):
    element = TensorProto.FLOAT16 if g.kind == np.float16 else TensorProto.FLOAT
    port = lambda name, shape: helper.make_tensor_value_info(name, element, shape)
    graph = helper.make_graph(g.nodes, "random weights", [port("input", ["batch", 3, *size])],
                              [port(name, shape) for name, shape in outputs], g.weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="facering")
    model.ir_version = 9
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


PACK = """id = "{id}"
about = "random weights, for measuring speed only"
dimension = 512
license = "Apache-2.0"

[detector]
family = "scrfd"
file = "detector.onnx"
sha256 = "{detector}"
input_size = {side}
channels = "rgb"
mean = [127.5, 127.5, 127.5]
std = [128.0, 128.0, 128.0]
score_threshold = 0.5
nms_threshold = 0.4

[embedder]
file = "embedder.onnx"
sha256 = "{embedder}"
input_size = 112
channels = "rgb"
mean = [127.5, 127.5, 127.5]
std = [127.5, 127.5, 127.5]

[calibration]
same_person_floor = 0.5
same_photo_cosine = 0.9
impostor_mean = 0.0
impostor_sd = 0.1
impostor_tail = []
basis = "none: the weights are random"
"""


def main():
    root = pathlib.Path(sys.argv[1])
    for pack, kind in (("gpu-fp32", np.float32), ("gpu-fp16", np.float16)):
        folder = root / pack
        folder.mkdir(parents=True, exist_ok=True)
        hashes = {}
        for name, model in (("detector", detector(kind)), ("embedder", embedder(kind))):
            (folder / f"{name}.onnx").write_bytes(model)
            hashes[name] = hashlib.sha256(model).hexdigest()
            print(f"{pack}/{name}.onnx: {len(model):,} bytes")
        (folder / "pack.toml").write_text(PACK.format(id=pack, side=SIDE, **hashes))


if __name__ == "__main__":
    main()
