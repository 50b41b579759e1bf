"""Measures the two ONNX files on people whom training never saw and writes EVALUATION.md and calibration.json.

Everything runs as it does in use: ONNX Runtime, JPEG files decoded, letterboxed to 320, detected, aligned by the
detected landmarks, embedded.
"""
import argparse
import hashlib
import importlib.util
import io
import json
import pathlib

import cv2
import numpy as np
import onnxruntime
from PIL import Image

from common import TEMPLATE

HERE = pathlib.Path(__file__).resolve().parent
# `smallest_face` of ../pack.toml: people seen from behind, 16 pixels wide, are beyond a detector of this size.
SMALLEST = 20
TAILS = (0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8)


def session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def letterbox(rgb, size):
    scale = min(size / rgb.shape[1], size / rgb.shape[0])
    width, height = max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale))
    canvas = np.zeros((size, size, 3), np.uint8)
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    canvas[:height, :width] = cv2.resize(rgb, (width, height), interpolation=way)
    return canvas, scale


def suppress(boxes, scores, limit=0.4):
    order, keep = np.argsort(-scores), []
    while len(order):
        first, rest = order[0], order[1:]
        keep.append(first)
        order = rest[iou(boxes[first], boxes[rest]) <= limit]
    return keep


def iou(box, others):
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    inner = np.clip(high - low, 0, None).prod(1)
    area = lambda b: (b[..., 2] - b[..., 0]) * (b[..., 3] - b[..., 1])
    return inner / (area(box) + area(others) - inner + 1e-9)


def detect(model, rgb, threshold, size=320):
    """Faces as (box, score, landmarks) in pixels of the picture, largest first."""
    canvas, scale = letterbox(rgb, size)
    blob = ((canvas.astype(np.float32) - 127.5) / 128).transpose(2, 0, 1)[None]
    raw = model.run(None, {model.get_inputs()[0].name: np.ascontiguousarray(blob)})
    boxes, scores, points = [], [], []
    for level, stride in enumerate((8, 16, 32)):
        cells = size // stride
        y, x = np.divmod(np.arange(cells * cells), cells)
        anchor = np.repeat(np.stack([x, y], 1).astype(np.float32) * stride, 2, 0)
        score = raw[level].reshape(-1)
        keep = score >= threshold
        reach = raw[level + 3].reshape(-1, 4)[keep] * stride
        boxes.append(np.concatenate([anchor[keep] - reach[:, :2], anchor[keep] + reach[:, 2:]], 1))
        points.append(anchor[keep][:, None] + raw[level + 6].reshape(-1, 5, 2)[keep] * stride)
        scores.append(score[keep])
    boxes, scores, points = np.concatenate(boxes) / scale, np.concatenate(scores), np.concatenate(points) / scale
    faces = [(boxes[i], float(scores[i]), points[i]) for i in suppress(boxes, scores)]
    return sorted(faces, key=lambda f: -(f[0][2] - f[0][0]) * (f[0][3] - f[0][1]))


def align(rgb, landmarks):
    """The least-squares similarity onto the template (no reflection), as 112x112 pixels."""
    source, goal = landmarks @ [1, 1j], TEMPLATE @ [1, 1j]
    a, b = source - source.mean(), goal - goal.mean()
    turn = (a.conj() @ b) / (a.conj() @ a).real
    shift = goal.mean() - turn * source.mean()
    matrix = np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])
    return cv2.warpAffine(rgb, matrix, (112, 112), flags=cv2.INTER_LINEAR, borderValue=0)


def embed(model, crops, batch=64):
    out = []
    for start in range(0, len(crops), batch):
        x = (np.stack(crops[start : start + batch]).astype(np.float32) - 127.5) / 127.5
        out.append(model.run(None, {model.get_inputs()[0].name: np.ascontiguousarray(x.transpose(0, 3, 1, 2))})[0])
    out = np.concatenate(out)
    return out / np.linalg.norm(out, axis=1, keepdims=True)


def read_photos(folder):
    rows = np.load(folder / "photos.npy")
    with open(folder / "photos.bin", "rb") as file:
        for row in rows:
            file.seek((int(row[2]) << 20) + int(row[3]))
            rgb = np.asarray(Image.open(io.BytesIO(file.read(int(row[4])))).convert("RGB"))
            yield row, rgb


def quantiles(values):
    return {f"q{int(q * 1000):03d}": round(float(np.quantile(values, q)), 4) for q in (0.005, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95)}


def look(model, folders, least=0.3):
    """For every picture of `render_training pictures`: its true faces, and what the detector gives from `least` on."""
    seen = []
    for folder in folders:
        pictures, rows = np.load(folder / "pictures.npy", mmap_mode="r"), np.load(folder / "faces.npy")
        for index in range(len(pictures)):
            truth = rows[rows[:, 0] == index, 1:] if len(rows) else np.zeros((0, 14))
            seen.append((truth, detect(model, np.ascontiguousarray(pictures[index]), least)))
    return seen


def choose_threshold(seen):
    """The middle between the lowest threshold without a false alarm and the highest at which .995 of the faces that
    the lowest threshold finds are still found; without such a middle, the lowest without a false alarm."""
    curve = {}
    for step in range(30, 96):
        figures = detector_figures(seen, step / 100)
        alarms = figures["false_alarms_face_free"] + figures["false_alarms_beside_faces"]
        curve[step] = (alarms, figures["recall"])
    quiet = min((t for t in curve if all(curve[u][0] == 0 for u in curve if u >= t)), default=95)
    full = max(t for t in curve if curve[t][1] >= 0.995 * curve[30][1])
    chosen = (quiet + full) / 200 if full > quiet else quiet / 100
    for t in range(30, 96, 5):
        print(f"  threshold {t / 100:.2f}: {curve[t][0]} false alarms, recall {curve[t][1]:.4f}")
    print(f"no false alarm from {quiet / 100:.2f} on, recall holds up to {full / 100:.2f}: threshold {chosen:.3f}")
    return round(chosen, 2)


def detector_figures(seen, threshold):
    """Recall, false alarms and landmark error of what `look` saw, at a threshold.

    Faces are asked for from a tenth above the smallest width on: around it, either answer is right.
    """
    found = missed = extra = alarms = empty = 0
    errors, by_size, highest = [], {}, 0.0
    for truth, guesses in seen:
        if not len(truth):
            highest = max([highest, *(score for box, score, _ in guesses if box[2] - box[0] >= SMALLEST)])
        guesses = [guess for guess in guesses if guess[1] >= threshold and guess[0][2] - guess[0][0] >= SMALLEST]
        if not len(truth):
            empty += 1
            alarms += len(guesses)
            continue
        used = set()
        for row in truth:
            width = row[2] - row[0]
            inside = np.clip(row[:4], 0, 320)
            if (inside[2:] - inside[:2]).prod() < 0.6 * (row[2:4] - row[:2]).prod() or width < 1.1 * SMALLEST:
                continue
            overlaps = np.array([iou(row[:4], box[None])[0] for box, _, _ in guesses])
            hit = len(overlaps) > 0 and overlaps.max() > 0.5
            if hit:
                best = int(overlaps.argmax())
                used.add(best)
                errors.append(np.linalg.norm(guesses[best][2] - row[4:].reshape(5, 2), axis=1).mean() / width)
            found, missed = found + int(hit), missed + int(not hit)
            band = next(name for limit, name in ((25, "22-25"), (50, "25-50"), (100, "50-100"), (200, "100-200"), (9999, "over 200")) if width < limit)
            hits = by_size.setdefault(band, [0, 0])
            hits[0], hits[1] = hits[0] + int(hit), hits[1] + 1
        for number, (box, _, _) in enumerate(guesses):
            if number not in used and not any(iou(box, row[None, :4])[0] > 0.3 for row in truth):
                extra += 1
    return {
        "pictures": len(seen), "faces": found + missed, "recall": found / max(1, found + missed),
        "recall_by_width": {k: f"{a}/{b}" for k, (a, b) in sorted(by_size.items())},
        "face_free_pictures": empty, "false_alarms_face_free": alarms, "highest_score_face_free": highest,
        "false_alarms_beside_faces": extra,
        "landmark_error_mean": float(np.mean(errors)) if errors else 0.0,
        "landmark_error_q95": float(np.quantile(errors, 0.95)) if errors else 0.0,
    }


def tar_at(genuine, impostor_sorted, far):
    allowed = int(far * len(impostor_sorted))
    threshold = float(impostor_sorted[len(impostor_sorted) - 1 - allowed])
    return threshold, float((genuine > threshold).mean())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pack", type=pathlib.Path, default=HERE.parent)
    parser.add_argument("--photos", type=pathlib.Path, required=True, help="folder of `render_training photos`")
    parser.add_argument("--pictures", type=pathlib.Path, nargs="+", required=True,
                        help="folders of `render_training pictures` to judge by")
    parser.add_argument("--check", type=pathlib.Path, nargs="+",
                        help="other such folders, with other people and seeds, to choose the threshold on")
    parser.add_argument("--threshold", type=float, default=0.78, help="score_threshold of ../pack.toml, without --check")
    parser.add_argument("--reference", type=pathlib.Path, help="a Python file with scrfd(model, rgb, size): must agree")
    parser.add_argument("--write", type=pathlib.Path, default=HERE)
    arguments = parser.parse_args()
    detector, embedder = session(arguments.pack / "detector.onnx"), session(arguments.pack / "embedder.onnx")
    if arguments.check:
        arguments.threshold = choose_threshold(look(detector, arguments.check))
    result = {"threshold": arguments.threshold, "files": {}}
    for name in ("detector.onnx", "embedder.onnx"):
        data = (arguments.pack / name).read_bytes()
        result["files"][name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    result["detector"] = detector_figures(look(detector, arguments.pictures), arguments.threshold)

    reference = None
    if arguments.reference:
        spec = importlib.util.spec_from_file_location("reference", arguments.reference)
        reference = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(reference)
    people, kinds, crops, found, agreed, errors = [], [], [], 0, 0, []
    for number, (row, rgb) in enumerate(read_photos(arguments.photos)):
        faces = [face for face in detect(detector, rgb, arguments.threshold) if face[0][2] - face[0][0] >= SMALLEST * max(rgb.shape) / 320]
        if reference and number % 20 == 0:
            other = [f for f in reference.scrfd(detector, rgb, size=320, score_threshold=arguments.threshold)
                     if f[0][2] - f[0][0] >= SMALLEST * max(rgb.shape) / 320]
            same = len(other) == len(faces) and all(np.allclose(a[0], b[0]) and np.allclose(a[2], b[2]) for a, b in zip(faces, other))
            agreed += same
            assert same, f"photo {number}: another decoder finds something else"
        width = row[7] - row[5]
        hit = [f for f in faces if iou(row[5:9], f[0][None])[0] > 0.5]
        found += bool(hit)
        points = hit[0][2] if hit else row[9:].reshape(5, 2)
        if hit:
            errors.append(np.linalg.norm(points - row[9:].reshape(5, 2), axis=1).mean() / width)
        people.append(int(row[0]))
        kinds.append(int(row[1]))
        crops.append(align(rgb, points.astype(np.float64)))
    people, kinds = np.array(people), np.array(kinds)
    vectors = embed(embedder, crops)
    # Rows alternate: a photo, then the same photo as a bot remade it.
    original, remade, owner = vectors[kinds == 0], vectors[kinds == 1], people[kinds == 0]
    same_photo = (original * remade).sum(1)
    cosine = original @ original.T
    upper = np.triu(np.ones_like(cosine, bool), 1)
    alike = owner[:, None] == owner[None]
    genuine, impostor = cosine[upper & alike], np.sort(cosine[upper & ~alike])
    nearest = np.where(alike, -1, cosine).max(1)
    figures = {
        "people": int(len(set(owner))), "photos": int(len(original)), "impostor_pairs": int(len(impostor)), "genuine_pairs": int(len(genuine)),
        "photo_detection": found / len(people), "photo_landmark_error": float(np.mean(errors)), "reference_agreed": agreed,
        "impostor_mean": float(impostor.mean()), "impostor_sd": float(impostor.std()),
        "false_match_rate": {str(t): float((len(impostor) - np.searchsorted(impostor, t)) / len(impostor)) for t in TAILS},
        "nearest_impostor": quantiles(nearest),
        "same_photo": {"mean": float(same_photo.mean()), "sd": float(same_photo.std()), **quantiles(same_photo)},
        "same_person": {"mean": float(genuine.mean()), "sd": float(genuine.std()), **quantiles(genuine)},
        "tar": {}, "tar_same_photo": {},
    }
    for far in (1e-3, 1e-4, 1e-5, 1e-6):
        threshold, rate = tar_at(genuine, impostor, far)
        figures["tar"][f"{far:g}"] = {"threshold": threshold, "tar": rate}
        figures["tar_same_photo"][f"{far:g}"] = float((same_photo > threshold).mean())
    result["embedder"] = figures
    single = np.concatenate([embed(embedder, [crop], 1) for crop in crops[:64]])
    mixed = embed(embedder, crops[:64], 64)
    result["batch_equals_single"] = float((single * mixed).sum(1).min())

    (arguments.write / "calibration.json").write_text(json.dumps(result, indent=1) + "\n")
    report(result, arguments.write / "EVALUATION.md")
    print(json.dumps(result, indent=1))


def report(result, path):
    d, e = result["detector"], result["embedder"]
    lines = [
        "# What the bundled pack reaches",
        "",
        "Written by `evaluate.py`, on drawn people whom training never saw. It says nothing about real photographs:",
        "the networks know only this project's own drawings.",
        "",
        "| file | bytes | SHA-256 |", "| --- | --- | --- |",
        *(f"| `{n}` | {f['bytes']:,} | `{f['sha256']}` |" for n, f in result["files"].items()),
        "",
        "## Detector",
        "",
        f"Faces count from a score of {result['threshold']}, chosen on other pictures with other people and seeds (`--check`),",
        f"and from a width of {SMALLEST} pixels of the 320 canvas.",
        "",
        "| figure | value |", "| --- | --- |",
        f"| faces found at IoU > .5, scenes with none to six faces | {d['recall']:.4f} of {d['faces']:,} |",
        f"| by face width in pixels of the 320 canvas | {', '.join(f'{k}: {v}' for k, v in d['recall_by_width'].items())} |",
        f"| faces found, profile photos and remade ones | {e['photo_detection']:.4f} of {2 * e['photos']:,} |",
        f"| false alarms on face-free pictures | {d['false_alarms_face_free']} on {d['face_free_pictures']:,} |",
        f"| highest score on them | {d['highest_score_face_free']:.3f} |",
        f"| false alarms beside faces | {d['false_alarms_beside_faces']} on {d['pictures'] - d['face_free_pictures']:,} |",
        f"| landmark error, share of the face width: scenes, mean and 95% | {d['landmark_error_mean']:.4f}, {d['landmark_error_q95']:.4f} |",
        f"| landmark error: profile photos, mean | {e['photo_landmark_error']:.4f} |",
        "",
        "## Embedder, on faces the detector found and aligned",
        "",
        f"{e['people']:,} people, {e['photos']:,} photos, {e['impostor_pairs']:,} impostor pairs, {e['genuine_pairs']:,} pairs of different photos of one person.",
        "",
        "| false acceptance | cosine | true acceptance, another photo of the person | true acceptance, the same photo remade |", "| --- | --- | --- | --- |",
        *(f"| {far} | {v['threshold']:.3f} | {v['tar']:.4f} | {e['tar_same_photo'][far]:.4f} |" for far, v in e["tar"].items()),
        "",
        f"Impostors: mean {e['impostor_mean']:.4f}, standard deviation {e['impostor_sd']:.4f}.",
        "",
        "| cosine | false-match rate |", "| --- | --- |",
        *(f"| {t} | {r:.3g} |" for t, r in e["false_match_rate"].items()),
        "",
        "| distribution | mean | sd | 0.5% | 1% | 5% | 50% |", "| --- | --- | --- | --- | --- | --- | --- |",
        *(f"| {name} | {v['mean']:.4f} | {v['sd']:.4f} | {v['q005']} | {v['q010']} | {v['q050']} | {v['q500']} |" for name, v in (("the same photo, re-encoded, cropped, resized, mirrored", e["same_photo"]), ("another photo of the same person", e["same_person"]))),
        "",
        f"Nearest of all other people's photos: median {e['nearest_impostor']['q500']}, 95% {e['nearest_impostor']['q950']}.",
        "",
        f"Batch of 64 against one by one: smallest cosine {result['batch_equals_single']:.6f}.",
        "",
    ]
    path.write_text("\n".join(lines))


if __name__ == "__main__":
    main()
