#!/usr/bin/env python3
"""The peer for pictures: the same with OpenCV and onnxruntime in front of the index, on the same ONNX files.

Reads a `profiles` Parquet file with pictures inline, decodes, finds faces (YuNet), aligns them to the ArcFace template,
embeds them (MobileFaceNet), and links accounts by an exact index and connected components. Prints one JSON object.

It is written to be quick: each distinct picture is worked on once, OpenCV does the pixels, the networks use all cores,
and faces are embedded in batches.
"""
import argparse
import hashlib
import json
import os
import resource
import time

import cv2
import faiss
import networkx as nx
import numpy as np
import onnxruntime as ort
import pyarrow as pa
import pyarrow.parquet as pq

SIZE = 640
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]], np.float32
)
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)


class Detector:
    """YuNet with dynamic sides: BGR, 0..255, three strides."""

    def __init__(self, path):
        self.session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0].name
        self.outputs = [output.name for output in self.session.get_outputs()]
        self.grids = {}
        for stride in (8, 16, 32):
            y, x = np.mgrid[0 : SIZE // stride, 0 : SIZE // stride]
            self.grids[stride] = np.stack([x, y], -1).reshape(-1, 2).astype(np.float32)

    def __call__(self, picture):
        scale = min(SIZE / picture.shape[1], SIZE / picture.shape[0])
        width, height = max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale))
        canvas = np.zeros((SIZE, SIZE, 3), np.uint8)
        way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        canvas[:height, :width] = cv2.resize(picture, (width, height), interpolation=way)
        blob = canvas.transpose(2, 0, 1)[None].astype(np.float32)
        raw = dict(zip(self.outputs, self.session.run(None, {self.input: blob})))
        boxes, scores, points = [], [], []
        for stride, grid in self.grids.items():
            score = np.sqrt(raw[f"cls_{stride}"].ravel().clip(0, 1) * raw[f"obj_{stride}"].ravel().clip(0, 1))
            keep = score >= 0.6
            box = raw[f"bbox_{stride}"].reshape(-1, 4)[keep]
            centre, extent = (grid[keep] + box[:, :2]) * stride, np.exp(box[:, 2:]) * stride
            boxes.append(np.concatenate([centre - extent / 2, extent], 1))
            points.append((raw[f"kps_{stride}"].reshape(-1, 5, 2)[keep] + grid[keep][:, None]) * stride)
            scores.append(score[keep])
        boxes, scores, points = np.concatenate(boxes), np.concatenate(scores), np.concatenate(points) / scale
        kept = cv2.dnn.NMSBoxes(boxes.tolist(), scores.tolist(), 0.6, 0.3)
        return points[np.asarray(kept, int).ravel()]


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("profiles")
    arguments.add_argument("models", help="folder with the two ONNX files")
    arguments.add_argument("out")
    arguments.add_argument("--threshold", type=float, default=0.5)
    options = arguments.parse_args()
    start = time.time()
    detect = Detector(os.path.join(options.models, "yunet_s_dynamic.onnx"))
    embedder = ort.InferenceSession(
        os.path.join(options.models, "mobilefacenet_foamliu_128_dyn.onnx"), providers=["CPUExecutionProvider"]
    )
    name = embedder.get_inputs()[0].name
    owners, faces, vectors, pictures, seen = [], [], [], 0, {}

    def embed():
        if faces:
            batch = ((np.stack(faces).astype(np.float32) / 255 - MEAN) / STD).transpose(0, 3, 1, 2)
            vectors.append(embedder.run(None, {name: np.ascontiguousarray(batch)})[0])
            faces.clear()

    for batch in pq.ParquetFile(options.profiles).iter_batches(batch_size=64, columns=["account_id", "photos"]):
        for account, photos in zip(batch.column("account_id").to_pylist(), batch.column("photos").to_pylist()):
            for photo in photos:
                pictures += 1
                digest = hashlib.sha256(photo["image"]).digest()
                if digest not in seen:
                    seen[digest] = []
                    picture = cv2.imdecode(np.frombuffer(photo["image"], np.uint8), cv2.IMREAD_COLOR)
                    for points in detect(picture) if picture is not None else []:
                        matrix, _ = cv2.estimateAffinePartial2D(points.astype(np.float32), TEMPLATE, method=cv2.LMEDS)
                        if matrix is None:
                            continue
                        face = cv2.warpAffine(picture, matrix, (112, 112), flags=cv2.INTER_LINEAR)
                        seen[digest].append(len(owners))
                        faces.append(face[:, :, ::-1])
                        owners.append([])
                        if len(faces) == 64:
                            embed()
                for face in seen[digest]:
                    owners[face].append(account)
    embed()
    vectors = np.concatenate(vectors).astype(np.float32)
    faiss.normalize_L2(vectors)
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    graph = nx.Graph()
    for accounts in owners:
        graph.add_edges_from((accounts[0], other) for other in accounts[1:])
    scores, rows = index.search(vectors, min(32, len(vectors)))
    for one, rank in zip(*np.nonzero(scores >= options.threshold)):
        for other in owners[rows[one, rank]][:1]:
            if other != owners[one][0]:
                graph.add_edge(owners[one][0], other)
    clusters = [sorted(members) for members in nx.connected_components(graph)]
    names = [number for number, members in enumerate(clusters) for _ in members]
    table = pa.table({"cluster_id": names, "account_id": [account for members in clusters for account in members]})
    pq.write_table(table, options.out, compression="zstd")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"pictures": pictures, "distinct": len(seen), "faces": len(vectors), "clusters": len(clusters),
                      "total_s": round(time.time() - start, 2), "peak_mib": peak // 1024}))


if __name__ == "__main__":
    main()
