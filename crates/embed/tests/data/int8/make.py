#!/usr/bin/env python3
"""Writes `embedder.onnx` beside this file: a small embedder of random weights, quantised to int8 as ONNX Runtime's
`quantize_dynamic` does it, with the ranges of activations taken from each batch as a whole.

    python3 make.py

Needs numpy, onnx and onnxruntime.
"""
import pathlib
import tempfile

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

HERE = pathlib.Path(__file__).resolve().parent


def main():
    random = np.random.default_rng(1)
    nodes, weights, x, channels = [], [], "in", 3
    for at, (width, size, stride) in enumerate(((8, 7, 4), (16, 3, 2), (16, 3, 2), *[(16, 3, 1)] * 8)):
        w = random.normal(0, np.sqrt(2 / (channels * size * size)), (width, channels, size, size)).astype(np.float32)
        weights.append(numpy_helper.from_array(w, f"w{at}"))
        nodes.append(helper.make_node("Conv", [x, f"w{at}"], [f"c{at}"], kernel_shape=[size, size], strides=[stride, stride],
                                      pads=[size // 2] * 4))
        nodes.append(helper.make_node("Relu", [f"c{at}"], [f"r{at}"]))
        x, channels = f"r{at}", width
    nodes.append(helper.make_node("Flatten", [x], ["flat"], axis=1))
    weights.append(numpy_helper.from_array(random.normal(0, 0.04, (channels * 7 * 7, 3)).astype(np.float32), "g"))
    nodes.append(helper.make_node("MatMul", ["flat", "g"], ["product"]))
    # What all pictures have in common is taken off, as trained embedders do it: what is left shows small errors.
    common = np.zeros(3, np.float32)
    for _ in range(2):
        centred = [*weights, numpy_helper.from_array(-common, "common")]
        whole = [*nodes, helper.make_node("Add", ["product", "common"], ["out"])]
        model = built(whole, centred)
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        pictures = random.normal(-0.5, 1, (16, 3, 112, 112)) * np.linspace(0.1, 0.8, 16)[:, None, None, None]
        common = common + session.run(None, {"in": pictures.astype(np.float32)})[0].mean(0)
    with tempfile.TemporaryDirectory() as folder:
        plain = pathlib.Path(folder) / "plain.onnx"
        onnx.save(model, plain)
        quantize_dynamic(plain, HERE / "embedder.onnx", weight_type=QuantType.QUInt8)


def built(nodes, weights):
    graph = helper.make_graph(nodes, "int8", [helper.make_tensor_value_info("in", TensorProto.FLOAT, ["batch", 3, 112, 112])],
                              [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["batch", 3])], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], producer_name="facering")
    model.ir_version = 8
    return model


if __name__ == "__main__":
    main()
