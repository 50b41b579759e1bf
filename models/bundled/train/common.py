"""What both networks share: layers, folding of normalisations, export, clock."""
import time

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)


class Clock:
    """Wall-clock and processor minutes since the start, for the log."""

    def __init__(self):
        self.wall, self.cpu = time.time(), time.process_time()

    def __str__(self):
        return f"{(time.time() - self.wall) / 60:.1f} min, {(time.process_time() - self.cpu) / 60:.1f} CPU min"


def conv(inputs, outputs, size=3, stride=1, padding=None, groups=1, act=True):
    """Convolution, batch normalisation and, unless told otherwise, ReLU."""
    padding = size // 2 if padding is None else padding
    layers = [nn.Conv2d(inputs, outputs, size, stride, padding, groups=groups, bias=False), nn.BatchNorm2d(outputs)]
    return nn.Sequential(*layers, *([nn.ReLU()] if act else []))


def fold(module):
    """Folds every Conv+BatchNorm pair below `module` into one convolution, in place."""
    module.eval()
    for part in module.modules():
        if isinstance(part, nn.Sequential) and len(part) >= 2:
            if isinstance(part[0], nn.Conv2d) and isinstance(part[1], nn.BatchNorm2d):
                part[0] = fuse_conv_bn_eval(part[0], part[1])
                part[1] = nn.Identity()


def export(model, path, example, names, dynamic):
    """Writes ONNX with opset 17; weights are stored as fp16 and widened on loading, arithmetic stays fp32."""
    model = model.to(memory_format=torch.contiguous_format).eval()
    torch.onnx.export(
        model, (example,), path, input_names=["input"], output_names=names, dynamic_axes=dynamic,
        opset_version=17, do_constant_folding=True, dynamo=False,
    )
    graph = onnx.load(path)
    halve(graph.graph)
    graph.producer_name, graph.producer_version = "facering", "1"
    graph.doc_string = "Trained on drawn portraits only; it knows no real face."
    onnx.checker.check_model(graph, full_check=True)
    onnx.save(graph, path)


def halve(graph):
    """Stores large float32 weights as float16, followed by a Cast that the runtime folds away when it loads."""
    kept, casts = [], []
    for weight in graph.initializer:
        values = numpy_helper.to_array(weight)
        if values.dtype != np.float32 or values.size < 256:
            kept.append(weight)
            continue
        kept.append(numpy_helper.from_array(values.astype(np.float16), weight.name + "_half"))
        casts.append(onnx.helper.make_node("Cast", [weight.name + "_half"], [weight.name], to=onnx.TensorProto.FLOAT))
    del graph.initializer[:]
    graph.initializer.extend(kept)
    nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend(casts + nodes)
