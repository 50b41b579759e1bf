"""The bundled embedder: an aligned face of 112x112 pixels becomes 512 numbers whose direction is the person.

A small residual network, trained with CosFace (large-margin cosine loss) over the training identities. As the
drawn people's traits are known, a second head also learns to read them; it is thrown away after training.
"""
import math

import torch
from torch import nn
from torch.nn import functional as F

import common

DIMENSION = 512


class Block(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.first = common.conv(channels, channels)
        self.second = common.conv(channels, channels, act=False)

    def forward(self, x):
        return F.relu(x + self.second(self.first(x)))


class Embedder(nn.Module):
    """Input [n,3,112,112], RGB as (x - 127.5) / 127.5; output [n,512], not normalised."""

    def __init__(self, widths=(16, 32, 64, 128), depths=(0, 1, 1, 1), pooled=256):
        super().__init__()
        layers, last = [], 3
        for width, depth in zip(widths, depths):
            layers.append(common.conv(last, width, stride=2))
            layers += [Block(width) for _ in range(depth)]
            last = width
        self.features = nn.Sequential(*layers, common.conv(last, pooled, size=1))
        # One weight per place instead of an average: where a feature lies is part of who it is.
        self.pool = common.conv(pooled, pooled, size=7, padding=0, groups=pooled, act=False)
        self.out = nn.Linear(pooled, DIMENSION, bias=False)
        self.norm = nn.BatchNorm1d(DIMENSION)

    def pooled(self, x):
        return self.pool(self.features(x)).flatten(1)

    def forward(self, x):
        return self.norm(self.out(self.pooled(x)))

    def exported(self):
        """A copy for inference with every normalisation folded into the weights."""
        common.fold(self)
        scale = self.norm.weight / torch.sqrt(self.norm.running_var + self.norm.eps)
        folded = nn.Linear(self.out.in_features, DIMENSION)
        with torch.no_grad():
            folded.weight.copy_(self.out.weight * scale[:, None])
            folded.bias.copy_(self.norm.bias - self.norm.running_mean * scale)
        return nn.Sequential(self.features, self.pool, nn.Flatten(1), folded)


class CosFace(nn.Module):
    """Large-margin cosine loss (Wang et al. 2018) with living examples in place of learnt class centres.

    For each face the other photo of its person must win, by a margin in cosine, against every other person of
    the batch and of a queue of recent batches (cross-batch memory, Wang et al. 2020). Thousands of people are
    so told apart after few steps, where centres would each be visited too seldom.
    """

    def __init__(self, scale=24.0, memory=3072):
        super().__init__()
        self.scale, self.memory = scale, memory
        self.vectors, self.owners = torch.zeros(0, DIMENSION), torch.zeros(0, dtype=torch.long)

    def forward(self, embedding, label, margin, remember):
        z = F.normalize(embedding)
        own = z @ z.T
        alike = label[:, None] == label[None]
        off = ~torch.eye(len(z), dtype=torch.bool)
        past = z @ self.vectors.T
        past = past.masked_fill(label[:, None] == self.owners[None], -1e4)
        others = torch.cat([own.masked_fill(alike, -1e4), past], 1) * self.scale
        rivals = others.logsumexp(1)
        i, j = torch.nonzero(alike & off, as_tuple=True)
        cost = F.softplus(rivals[i] - self.scale * (own[i, j] - margin)).mean()
        if remember:
            self.vectors = torch.cat([z.detach(), self.vectors])[: self.memory]
            self.owners = torch.cat([label, self.owners])[: self.memory]
        return cost


def augment(batch, generator):
    """Mirror, small changes of light and colour, sometimes a dark patch; batch is u8 [n,112,112,3]."""
    n = len(batch)
    draw = lambda low, high, *shape: torch.rand(*shape, generator=generator) * (high - low) + low
    x = batch.permute(0, 3, 1, 2).float()
    flip = torch.rand(n, generator=generator) < 0.5
    x[flip] = x[flip].flip(3)
    x = (x - 128) * draw(0.85, 1.15, n, 1, 1, 1) + 128
    x = x * draw(0.88, 1.12, n, 1, 1, 1) * draw(0.94, 1.06, n, 3, 1, 1)
    for i in torch.nonzero(torch.rand(n, generator=generator) < 0.15).flatten().tolist():
        y, w = int(draw(0, 90, 1)), int(draw(0, 90, 1))
        h, v = int(draw(8, 32, 1)), int(draw(8, 32, 1))
        x[i, :, y : y + h, w : w + v] = draw(0, 255, 1)
    x = x.clamp(0, 255)
    return ((x - 127.5) / 127.5).contiguous(memory_format=torch.channels_last)


def train(data, steps, seed, out, people=64, views=2, rate=3e-3):
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    crops, names, traits = data
    classes, width = traits.shape
    photos = len(crops) // classes
    model = Embedder().to(memory_format=torch.channels_last)
    head, reader = CosFace(), nn.Linear(256, width)
    print(f"embedder: {sum(p.numel() for p in model.parameters()):,} parameters, {len(crops):,} crops of {classes:,} people")
    parameters = [*model.parameters(), *reader.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps, pct_start=0.15)
    clock, sums = common.Clock(), torch.zeros(2)
    order = torch.zeros(0, dtype=torch.long)
    for step in range(steps):
        if len(order) < people:
            order = torch.cat([order, torch.randperm(classes, generator=generator)])
        chosen, order = order[:people].sort().values, order[people:]
        # Some photos of each person: the crops of one person lie one behind the other.
        shots = torch.rand(people, photos, generator=generator).argsort(1)[:, :views]
        rows = (chosen[:, None] * photos + shots).flatten()
        x, label = augment(torch.from_numpy(crops[rows.numpy()]), generator), names[rows]
        # The margin grows over the first half: from the start it would only hinder.
        margin = 0.25 * min(1.0, 2 * step / steps)
        pooled = model.pooled(x)
        cost = head(model.norm(model.out(pooled)), label, margin, remember=step > steps // 10)
        trait = F.mse_loss(reader(pooled), traits[label] * 2 - 1)
        optimiser.zero_grad(set_to_none=True)
        (cost + 12.0 * trait).backward()
        nn.utils.clip_grad_norm_(parameters, 10.0)
        optimiser.step()
        schedule.step()
        sums += torch.tensor([cost.item(), trait.item()])
        if step % 50 == 49 or step + 1 == steps:
            shown = (sums / (step % 50 + 1)).tolist()
            sums.zero_()
            print(f"step {step + 1}/{steps}: loss {shown[0]:.4f}, traits {shown[1]:.4f}, margin {margin:.2f}, {clock}", flush=True)
            torch.save(model.state_dict(), out)
    return model
