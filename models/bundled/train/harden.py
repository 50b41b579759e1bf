"""Second stage of the detector: from its ONNX file on, with the face-free pictures that still fool it.

    python harden.py --scenes DIR --empties DIR --start OLD.onnx --out detector.onnx

Most face-free pictures teach nothing any more: of each pass over `empties` only those with the highest score are
kept, and half of every batch is drawn from them; the other half are scenes with faces, so that nothing else is
forgotten. The file's normalisations are folded, so what is trained is what is used.
"""
import argparse
import pathlib

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import nn

import common
import detector
from train import detector_data, export_model


def load(path):
    """The network with the weights of its ONNX file, normalisations folded as they are there."""
    model = detector.Detector().split()
    common.fold(model)
    stored = {w.name.removesuffix("_half"): torch.from_numpy(numpy_helper.to_array(w).astype(np.float32))
              for w in onnx.load(path).graph.initializer}
    model.load_state_dict({name: stored[name] for name in model.state_dict()})
    return model


def worst(model, pictures, batch=32):
    """The highest score in each picture."""
    model.eval()
    scores = []
    with torch.no_grad():
        for start in range(0, len(pictures), batch):
            x = torch.from_numpy(pictures[start : start + batch]).permute(0, 3, 1, 2).float()
            outputs = model(((x - 127.5) / 128).contiguous(memory_format=torch.channels_last))
            scores.append(torch.cat(outputs[:3], 1)[:, :, 0].max(1).values)
    return torch.cat(scores)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=pathlib.Path, required=True, help="pictures with faces")
    parser.add_argument("--empties", type=pathlib.Path, required=True, help="pictures without one")
    parser.add_argument("--start", type=pathlib.Path, required=True, help="the ONNX file to start from")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="the ONNX file to write")
    parser.add_argument("--rounds", type=int, default=3, help="how often the hardest pictures are chosen anew")
    parser.add_argument("--steps", type=int, default=350, help="batches of 16 in a round")
    parser.add_argument("--hard", type=int, default=1200, help="face-free pictures kept of each pass")
    parser.add_argument("--rate", type=float, default=8e-4)
    parser.add_argument("--brief", action="store_true", help="do not go through all face-free pictures once more at the end")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    generator = torch.Generator().manual_seed(arguments.seed)
    pictures, faces = detector_data(arguments.scenes)
    empties = np.load(arguments.empties / "pictures.npy", mmap_mode="r")
    model = load(arguments.start).to(memory_format=torch.channels_last)
    print(f"{len(pictures):,} scenes with faces, {len(empties):,} pictures without, from {arguments.start.name}", flush=True)
    total = arguments.rounds * arguments.steps
    optimiser = torch.optim.AdamW(model.parameters(), lr=arguments.rate, weight_decay=0.002)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, arguments.rate, total_steps=total, pct_start=0.1)
    anchors, clock, nothing = detector.grid(pictures.shape[1]), common.Clock(), torch.zeros(0, 15)
    hard = torch.zeros(0, dtype=torch.long)
    for round_ in range(arguments.rounds):
        scores = worst(model, empties)
        # What was hard once stays, or it would be forgotten again.
        hard = torch.cat([hard, scores.topk(arguments.hard).indices]).unique()
        print(f"round {round_ + 1}: {int((scores > 0.5).sum())} of the face-free score over .5, {int((scores > 0.7).sum())} over .7, "
              f"highest {scores.max():.3f}; {len(hard)} are hard, {clock}", flush=True)
        model.train()
        sums = torch.zeros(3)
        for step in range(arguments.steps):
            with_faces = torch.randint(len(pictures), (8,), generator=generator).sort().values
            without = hard[torch.randint(len(hard), (8,), generator=generator)].sort().values
            drawn = np.concatenate([pictures[with_faces.numpy()], empties[without.numpy()]])
            own = [faces[i] for i in with_faces.tolist()] + [nothing] * 8
            x, targets = detector.augment(torch.from_numpy(drawn), own, pictures.shape[1], generator)
            score, box, points = detector.loss(model(x, logits=True), anchors, targets)
            optimiser.zero_grad(set_to_none=True)
            (score + 1.5 * box + 4.0 * points).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimiser.step()
            schedule.step()
            sums += torch.tensor([score.item(), box.item(), points.item()])
        score, box, points = (sums / arguments.steps).tolist()
        print(f"round {round_ + 1}: score {score:.4f}, box {box:.4f}, landmarks {points:.5f}, {clock}", flush=True)
        torch.save(model.state_dict(), arguments.out.with_suffix(".pt"))
    if not arguments.brief:
        scores = worst(model, empties)
        print(f"at the end: {int((scores > 0.5).sum())} over .5, {int((scores > 0.7).sum())} over .7, highest {scores.max():.3f}, {clock}")
    export_model(model, arguments.out)
    print(f"{arguments.out.name}: {arguments.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
