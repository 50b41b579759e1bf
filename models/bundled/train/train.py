"""Trains, exports and evaluates the bundled pack; README.md beside this file says how."""
import argparse
import pathlib
import random

import numpy as np
import torch

import common
import detector
import embedder

HERE = pathlib.Path(__file__).resolve().parent


def embedder_data(folder):
    crops = np.load(folder / "crops.npy", mmap_mode="r")
    names = torch.from_numpy(np.load(folder / "identity.npy")).long()
    return crops, names, torch.from_numpy(np.load(folder / "traits.npy"))


def detector_data(folder):
    pictures = np.load(folder / "pictures.npy", mmap_mode="r")
    rows = torch.from_numpy(np.load(folder / "faces.npy"))
    faces = [torch.zeros(0, 15) for _ in range(len(pictures))]
    for picture in rows[:, 0].unique().long().tolist():
        own = rows[rows[:, 0] == picture, 1:]
        faces[picture] = torch.cat([own, torch.ones(len(own), 1)], 1)
    return pictures, faces


def export_embedder(weights, path, _data, _seed):
    model = embedder.Embedder()
    model.load_state_dict(torch.load(weights))
    model.eval()
    common.export(
        model.exported(), path, torch.zeros(1, 3, 112, 112), ["embedding"], {"input": {0: "batch"}, "embedding": {0: "batch"}}
    )


def export_detector(weights, path, data, seed):
    model = detector.Detector()
    model.load_state_dict(torch.load(weights))
    common.fold(detector.measure(model, detector_data(data)[0], seed))
    export_model(model, path)


def export_model(model, path):
    names = [f"{what}_{stride}" for what in ("score", "bbox", "kps") for stride in detector.STRIDES]
    dynamic = {name: {0: "batch", 1: "anchors_" + name.split("_")[1]} for name in names}
    dynamic["input"] = {0: "batch", 2: "height", 3: "width"}
    common.export(model, str(path), torch.zeros(1, 3, 320, 320), names, dynamic)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["embedder", "detector", "export-embedder", "export-detector"])
    parser.add_argument("--data", type=pathlib.Path, help="folder that render_training wrote")
    parser.add_argument("--work", type=pathlib.Path, required=True, help="folder for checkpoints")
    parser.add_argument("--out", type=pathlib.Path, default=HERE.parent, help="folder for the ONNX files")
    parser.add_argument("--epochs", type=float, nargs="+", default=[8, 1.5],
                        help="detector: passes over the pictures at 160 and at 320 pixels")
    parser.add_argument("--steps", type=int, default=2600, help="embedder: batches of 128 faces")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    random.seed(arguments.seed)
    np.random.seed(arguments.seed)
    arguments.work.mkdir(parents=True, exist_ok=True)
    network = arguments.what.removeprefix("export-")
    weights = arguments.work / f"{network}.pt"
    if arguments.what == "embedder":
        embedder.train(embedder_data(arguments.data), arguments.steps, arguments.seed, weights)
    elif arguments.what == "detector":
        detector.train(detector_data(arguments.data), arguments.epochs, arguments.seed, weights)
    target = arguments.out / f"{network}.onnx"
    {"embedder": export_embedder, "detector": export_detector}[network](
        weights, str(target), arguments.data, arguments.seed
    )
    print(f"{target.name}: {target.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
