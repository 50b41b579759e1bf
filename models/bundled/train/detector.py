"""The bundled detector: SCRFD's outputs from a small pyramid network.

Three levels (strides 8, 16, 32), two anchors a cell at (column * stride, row * stride). Outputs by position:
scores 8/16/32 [n,a,1] after the sigmoid, boxes 8/16/32 [n,a,4] as distances to left, top, right and bottom,
landmarks 8/16/32 [n,a,10] as offsets, both in strides.
"""
import copy

import torch
from torch import nn
from torch.nn import functional as F

import common

STRIDES = (8, 16, 32)
# Face sizes (square root of the area, pixels) that the two anchors of each level are for.
ANCHORS = ((16.0, 32.0), (64.0, 128.0), (256.0, 512.0))


class Block(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.first = common.conv(channels, channels)
        self.second = common.conv(channels, channels, act=False)

    def forward(self, x):
        return F.relu(x + self.second(self.first(x)))


class Detector(nn.Module):
    """Input [n,3,h,w] with h and w multiples of 32 (trained at 320), RGB as (x - 127.5) / 128."""

    def __init__(self, widths=(8, 16, 32, 48, 64), neck=32):
        super().__init__()
        a, b, c, d, e = widths
        self.stem = nn.Sequential(common.conv(3, a, stride=2), common.conv(a, b, stride=2))
        self.c8 = nn.Sequential(common.conv(b, c, stride=2), Block(c))
        self.c16 = nn.Sequential(common.conv(c, d, stride=2), Block(d))
        self.c32 = nn.Sequential(common.conv(d, e, stride=2), Block(e), Block(e))
        self.lateral = nn.ModuleList([common.conv(width, neck, size=1) for width in (c, d, e)])
        self.smooth = nn.ModuleList([common.conv(neck, neck) for _ in STRIDES])
        self.trunk = common.conv(neck, neck)
        self.score = nn.ModuleList([nn.Conv2d(neck, 2, 1) for _ in STRIDES])
        self.box = nn.ModuleList([nn.Conv2d(neck, 8, 1) for _ in STRIDES])
        self.points = nn.ModuleList([nn.Conv2d(neck, 20, 1) for _ in STRIDES])
        for score in self.score:
            nn.init.constant_(score.bias, -4.0)
        for level, sizes in enumerate(ANCHORS):
            scale = torch.tensor(sizes) / STRIDES[level]
            self.register_buffer(f"box_scale{level}", (scale / 2).repeat_interleave(4).view(1, 8, 1, 1))
            self.register_buffer(f"point_scale{level}", (scale / 2).repeat_interleave(10).view(1, 20, 1, 1))

    def forward(self, x, logits: bool = False):
        x8 = self.c8(self.stem(x))
        x16 = self.c16(x8)
        x32 = self.c32(x16)
        n32 = self.lateral[2](x32)
        n16 = self.lateral[1](x16) + F.interpolate(n32, scale_factor=2.0, mode="nearest")
        n8 = self.lateral[0](x8) + F.interpolate(n16, scale_factor=2.0, mode="nearest")
        scores, boxes, points = [], [], []
        for level, n in enumerate((n8, n16, n32)):
            trunk = self.trunk[level] if isinstance(self.trunk, nn.ModuleList) else self.trunk
            n = trunk(self.smooth[level](n))
            score = self.rows(self.score[level](n), 1)
            scores.append(score if logits else torch.sigmoid(score))
            distance = torch.exp(self.box[level](n).clamp(-4.0, 3.0)) * getattr(self, f"box_scale{level}")
            boxes.append(self.rows(distance, 4))
            points.append(self.rows(self.points[level](n) * getattr(self, f"point_scale{level}"), 10))
        return (*scores, *boxes, *points)

    def split(self):
        """Gives each level its own copy of the trunk, for `measure`."""
        self.trunk = nn.ModuleList([copy.deepcopy(self.trunk) for _ in STRIDES])
        return self

    @staticmethod
    def rows(x, values):
        """[n, 2*values, h, w] to [n, h*w*2, values]: cells row by row, the two anchors of a cell together."""
        return x.permute(0, 2, 3, 1).reshape(x.shape[0], -1, values)


def grid(size):
    """For every anchor of every level: x, y, stride and anchor size, in the order of the outputs."""
    rows = []
    for stride, sizes in zip(STRIDES, ANCHORS):
        cells = size // stride
        y, x = torch.meshgrid(torch.arange(cells), torch.arange(cells), indexing="ij")
        spots = torch.stack([x, y], -1).reshape(-1, 2).float() * stride
        for_each = spots.repeat_interleave(2, 0)
        kinds = torch.tensor(sizes).repeat(len(spots))
        rows.append(torch.cat([for_each, torch.full((len(kinds), 1), float(stride)), kinds[:, None]], 1))
    return torch.cat(rows)


def assign(anchors, faces):
    """Which anchor answers for which face: index of the face, -1 for none, -2 where no answer is asked.

    An anchor is responsible when its size fits the face and it lies near the face's middle; around those
    lies a ring where both answers are right. Faces of weight 0 (cut off, or too small) are asked nowhere.
    """
    owner = torch.full((len(anchors),), -1, dtype=torch.long)
    if not len(faces):
        return owner
    x1, y1, x2, y2 = faces[:, :4].T
    size = ((x2 - x1) * (y2 - y1)).sqrt().clamp(min=1.0)
    middle = torch.stack([(x1 + x2) / 2, (y1 + y2) / 2], 1)
    away = torch.cdist(anchors[:, :2], middle)
    counts = faces[:, 14] > 0
    fit = (anchors[:, 3:4] / size.clamp(18.0, 460.0)).log2().abs()
    reach = torch.maximum(0.22 * size[None], 0.72 * anchors[:, 2:3])
    close = (fit < 0.62) & (away < reach) & counts
    ring = (fit < 1.1) & (away < torch.maximum(0.40 * size[None], 1.5 * anchors[:, 2:3]))
    ring |= ~counts & (away < 0.7 * size[None])
    owner[ring.any(1)] = -2
    nearest = torch.where(close, away / size[None], torch.inf).min(1)
    return torch.where(close.any(1), nearest.indices, owner)


def decoded(anchors, distance):
    spots, stride = anchors[:, :2], anchors[:, 2:3]
    return torch.cat([spots - distance[:, :2] * stride, spots + distance[:, 2:] * stride], 1)


def overlap(a, b):
    """IoU and generalised IoU of boxes pair by pair."""
    low, high = torch.maximum(a[:, :2], b[:, :2]), torch.minimum(a[:, 2:], b[:, 2:])
    inner = (high - low).clamp(min=0).prod(1)
    area = lambda box: (box[:, 2:] - box[:, :2]).clamp(min=0).prod(1)
    union = area(a) + area(b) - inner
    hull = (torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])).prod(1)
    iou = inner / union.clamp(min=1e-6)
    return iou, iou - (hull - union) / hull.clamp(min=1e-6)


def loss(outputs, anchors, targets):
    score = torch.cat(outputs[:3], 1)[:, :, 0]
    box, points = torch.cat(outputs[3:6], 1), torch.cat(outputs[6:], 1)
    owner = torch.stack([assign(anchors, faces) for faces in targets])
    image, anchor = torch.nonzero(owner >= 0, as_tuple=True)
    goal = torch.zeros_like(score)
    count = max(1, len(image))
    near = far = score.sum() * 0
    if len(image):
        truth = torch.stack([targets[i][owner[i, a]] for i, a in zip(image.tolist(), anchor.tolist())])
        place = anchors[anchor]
        iou, generalised = overlap(decoded(place, box[image, anchor]), truth[:, :4])
        far = (1 - generalised).mean()
        guess = place[:, None, :2] + points[image, anchor].view(-1, 5, 2) * place[:, None, 2:3]
        side = (truth[:, 2] - truth[:, 0]).clamp(min=1.0)[:, None, None]
        near = F.smooth_l1_loss(guess / side, truth[:, 4:14].view(-1, 5, 2) / side, beta=0.02)
        # The score learns how well the box fits, so the best anchor of a face survives suppression.
        goal[image, anchor] = 0.5 + 0.5 * iou.detach().clamp(min=0)
    # Quality focal loss (Li et al. 2020).
    wrong = (goal - score.sigmoid()).abs().pow(2)
    focal = wrong * F.binary_cross_entropy_with_logits(score, goal, reduction="none")
    asked = (owner != -2).float()
    return (focal * asked).sum() / count, far, near


def window(picture, faces, size, draw):
    """A square part of `picture` (float [3,s,s]) as [3,size,size], moved a little beyond its edges, with
    the faces in its coordinates.

    At the full size that is the picture itself, moved. At a smaller size it is the picture scaled down, or,
    when that would make faces too small, a part of it around one of them.
    """
    full = picture.shape[1]
    sizes = ((faces[:, 2] - faces[:, 0]) * (faces[:, 3] - faces[:, 1])).sqrt()
    shrink = full // size
    if shrink > 1 and not (len(faces) and float(sizes.min()) < 20.0 * shrink and draw() < 0.85):
        picture = F.avg_pool2d(picture[None], shrink)[0]
        faces = torch.cat([faces[:, :14] / shrink, faces[:, 14:]], 1)
        full, shrink = size, 1
    if shrink > 1:
        chosen = faces[int(draw() * len(faces))]
        dx = int(size * (0.2 + 0.6 * draw()) - float(chosen[0] + chosen[2]) / 2)
        dy = int(size * (0.2 + 0.6 * draw()) - float(chosen[1] + chosen[3]) / 2)
    else:
        reach = 0.16 * size * (draw() < 0.6)
        dx, dy = int((draw() - 0.5) * reach), int((draw() - 0.5) * reach)
    canvas = torch.zeros(3, size, size)
    left, top = max(0, dx), max(0, dy)
    right, bottom = min(size, full + dx), min(size, full + dy)
    if right > left and bottom > top:
        canvas[:, top:bottom, left:right] = picture[:, top - dy : bottom - dy, left - dx : right - dx]
    shift = torch.tensor([dx, dy] * 7 + [0], dtype=torch.float32)
    return canvas, faces + shift


def augment(pictures, faces, size, generator):
    """Part, mirror, light and colour; pictures u8 [n,s,s,3], faces a list of [k,15] (box, landmarks, 1)."""
    n = len(pictures)
    rand = lambda *shape: torch.rand(*shape, generator=generator)
    draw = lambda: float(rand(1))
    made, moved = [], []
    for i in range(n):
        x, rows = window(pictures[i].permute(2, 0, 1).float(), faces[i], size, draw)
        rows = rows.clone()
        if draw() < 0.5:
            x = x.flip(2)
            rows[:, [0, 2]] = size - rows[:, [2, 0]]
            points = rows[:, 4:14].view(-1, 5, 2)[:, [1, 0, 2, 4, 3]]
            points[:, :, 0] = size - points[:, :, 0]
            rows[:, 4:14] = points.reshape(-1, 10)
        if len(rows):
            # A face of which little is left is neither asked for nor forbidden; one quite outside is gone.
            inside = rows[:, :4].clamp(0, size)
            area = lambda box: (box[:, 2:] - box[:, :2]).prod(1)
            left = area(inside) / area(rows[:, :4])
            small = area(rows[:, :4]).sqrt() < 13
            rows[:, 14] = ((left > 0.6) & ~small).float()
            rows = rows[left > 0.02]
        made.append(x)
        moved.append(rows)
    x = torch.stack(made)
    gain = (0.85 + 0.3 * rand(n, 1, 1, 1)) * (0.93 + 0.14 * rand(n, 3, 1, 1))
    x = (x * gain).clamp(0, 255)
    return ((x - 127.5) / 128).contiguous(memory_format=torch.channels_last), moved


def train(data, epochs, seed, out, rate=4e-3):
    """First on parts of 160 pixels, which is four times quicker, then on whole pictures of 320."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    pictures, faces = data
    model = Detector().to(memory_format=torch.channels_last)
    print(f"detector: {sum(p.numel() for p in model.parameters()):,} parameters, {len(pictures):,} pictures, {sum(map(len, faces)):,} faces")
    clock = common.Clock()
    for size, share, batch, peak in ((160, epochs[0], 32, rate), (pictures.shape[1], epochs[1], 16, rate * 0.4)):
        optimiser = torch.optim.AdamW(model.parameters(), lr=peak, weight_decay=0.01)
        steps = int(len(pictures) * share) // batch
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, peak, total_steps=steps, pct_start=0.15)
        anchors, sums = grid(size), torch.zeros(3)
        order = torch.cat([torch.randperm(len(pictures), generator=generator) for _ in range(int(share) + 1)])
        for step in range(steps):
            chosen = order[step * batch : (step + 1) * batch].sort().values
            drawn = torch.from_numpy(pictures[chosen.numpy()])
            x, targets = augment(drawn, [faces[i] for i in chosen.tolist()], size, generator)
            score, box, points = loss(model(x, logits=True), anchors, targets)
            optimiser.zero_grad(set_to_none=True)
            (score + 1.5 * box + 4.0 * points).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimiser.step()
            schedule.step()
            sums += torch.tensor([score.item(), box.item(), points.item()])
            if step % 100 == 99 or step + 1 == steps:
                score, box, points = (sums / (step % 100 + 1)).tolist()
                sums.zero_()
                print(f"size {size} step {step + 1}/{steps}: score {score:.4f}, box {box:.4f}, landmarks {points:.5f}, {clock}", flush=True)
                torch.save(model.state_dict(), out)
    return model


def measure(model, pictures, seed, batches=60, batch=16):
    """Splits the trunk and measures its normalisation for each level by itself.

    While training, the shared trunk normalises each level by that level's own statistics, but its running
    mean and variance mix all three: used as they are, they shift every box and landmark (the error of the
    landmarks doubles).
    """
    torch.manual_seed(seed)
    model.split().eval()
    for trunk in model.trunk:
        trunk[1].reset_running_stats()
        # None asks for the plain average over all batches.
        trunk[1].momentum = None
        trunk[1].train()
    with torch.no_grad():
        for _ in range(batches):
            chosen = torch.randperm(len(pictures))[:batch].sort().values
            x = torch.from_numpy(pictures[chosen.numpy()]).permute(0, 3, 1, 2).float()
            model(((x - 127.5) / 128).contiguous(memory_format=torch.channels_last))
    return model.eval()
