#!/usr/bin/env python3
"""Tables and pictures from the JSON of `populations --json`. Needs nothing but Python."""
import json
import statistics
import sys
from pathlib import Path

INK, GRID, OURS, OTHERS = "#222", "#ddd", "#c2410c", "#2563eb"


def means(rows):
    ways = {}
    for row in rows:
        ways.setdefault(row["way"], []).append(row["figures"])
    mean = lambda all, of: statistics.fmean(of(f) for f in all)
    for way, all in ways.items():
        yield way, {
            "BCubed F": mean(all, lambda f: f["bcubed_f"]),
            "pairwise P": mean(all, lambda f: f["pairwise_p"]),
            "pairwise R": mean(all, lambda f: f["pairwise_r"]),
            "rings": mean(all, lambda f: f["ring_recall"]),
            "bots": mean(all, lambda f: f["account_recall"]),
            "honest": mean(all, lambda f: f["false_accusation"]),
            "upper": mean(all, lambda f: f["false_accusation_ci"][1]),
            "victims": mean(all, lambda f: f["victims_accused"] / max(1, f["counts"]["victims"])),
            "ece": None if any(f["calibration_error"] is None for f in all) else mean(all, lambda f: f["calibration_error"]),
            "largest": mean(all, lambda f: f["largest_cluster"]),
        }


def table(ways):
    lines = [
        "| way | BCubed F | pairwise precision | pairwise recall | rings found | bots found | honest accused | upper end | victims accused | largest cluster | calibration error |",
        "| --- " * 11 + "|",
    ]
    for way, f in ways:
        ece = "" if f["ece"] is None else f"{f['ece']:.3f}"
        lines.append(
            f"| {way} | {f['BCubed F']:.3f} | {f['pairwise P']:.3f} | {f['pairwise R']:.3f} | {f['rings']:.1%} | {f['bots']:.1%} "
            f"| {f['honest']:.3%} | {f['upper']:.3%} | {f['victims']:.2%} | {f['largest']:,.0f} | {ece} |"
        )
    return "\n".join(lines)


def kinds(rows):
    ours = [row["figures"] for row in rows if row["way"] == "facering"]
    lines = ["| kind | accounts | accused |", "| --- | --- | --- |"]
    for part in ("bots_by_kind", "by_kind"):
        for kind in sorted({k for f in ours for k in f[part]}):
            accounts = sum(f[part].get(kind, {"accounts": 0})["accounts"] for f in ours)
            accused = sum(f[part].get(kind, {"accused": 0})["accused"] for f in ours)
            lines.append(f"| {kind} | {accounts:,} | {accused:,} ({accused / max(1, accounts):.2%}) |")
    return "\n".join(lines)


def svg(width, height, body):
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12" fill="{INK}">'
        f'<rect width="{width}" height="{height}" fill="white"/>{"".join(body)}</svg>\n'
    )


def text(x, y, words, anchor="start", colour=INK, size=12):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}" font-size="{size}">{words}</text>'


def line(x1, y1, x2, y2, colour=GRID, width=1, dash=""):
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="{width}"{dashed}/>'


def ways_picture(ways):
    """Rings found against honest accounts accused, the latter on a logarithmic scale."""
    import math

    left, right, top, bottom = 70, 560, 30, 330
    least, most = 1e-5, 0.5
    x = lambda v: left + (right - left) * (math.log10(max(v, least)) - math.log10(least)) / (math.log10(most) - math.log10(least))
    y = lambda v: bottom - (bottom - top) * v
    body = []
    for tick in (1e-5, 1e-4, 1e-3, 1e-2, 1e-1):
        body += [line(x(tick), top, x(tick), bottom), text(x(tick), bottom + 18, f"{tick:.3%}".rstrip("0").rstrip(".%") + "%", "middle")]
    for tick in (0, 0.25, 0.5, 0.75, 1):
        body += [line(left, y(tick), right, y(tick)), text(left - 8, y(tick) + 4, f"{tick:.0%}", "end")]
    body += [
        text((left + right) / 2, bottom + 40, "honest accounts accused", "middle"),
        text(left, top - 12, "rings found"),
        line(x(1e-3), top, x(1e-3), bottom, OURS, 1, "4 3"),
        line(left, y(0.95), right, y(0.95), OURS, 1, "4 3"),
    ]
    for number, (way, f) in enumerate(ways):
        colour = OURS if way == "facering" else OTHERS
        px, py = x(f["honest"]), y(f["rings"])
        mark = "facering" if way == "facering" else str(number)
        body += [f'<circle cx="{px:.1f}" cy="{py:.1f}" r="5" fill="{colour}"/>', text(px + 8, py + 4, mark, colour=colour)]
        if way != "facering":
            body.append(text(right + 20, top + 18 * number, f"{number}: {way}", colour=colour, size=11))
    return svg(820, 380, body)


def tau_picture():
    """The threshold for one person by the number of faces, from the measured impostor tail."""
    normal = statistics.NormalDist()
    measured = [(0.35, 1.7e-3), (0.40, 3.8e-4), (0.45, 6.6e-5)]
    z = [-normal.inv_cdf(rate) for _, rate in measured]
    slope = max((measured[2][0] - measured[0][0]) / (z[2] - z[0]), (measured[2][0] - measured[1][0]) / (z[2] - z[1]))
    tau = lambda n: measured[2][0] + slope * (-normal.inv_cdf(0.01 / n) - z[2])
    left, right, top, bottom = 60, 520, 30, 300
    x = lambda power: left + (right - left) * (power - 2) / 7
    y = lambda cosine: bottom - (bottom - top) * (cosine - 0.3) / 0.7
    body = []
    for power in range(2, 10):
        body += [line(x(power), top, x(power), bottom), text(x(power), bottom + 18, f"10<tspan dy='-5' font-size='9'>{power}</tspan>", "middle")]
    for tick in (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0):
        body += [line(left, y(tick), right, y(tick)), text(left - 8, y(tick) + 4, f"{tick:.1f}", "end")]
    bands = [(0.90, 1.0, "#16a34a", "copies of one photo"), (0.51, 0.88, "#2563eb", "one person, two photos"), (0.30, 0.50, "#9ca3af", "strangers, measured")]
    for low, high, colour, name in bands:
        body += [
            f'<rect x="{right + 10}" y="{y(high):.1f}" width="14" height="{y(low) - y(high):.1f}" fill="{colour}" opacity=".7"/>',
            text(right + 30, (y(low) + y(high)) / 2 + 4, name, colour=colour),
        ]
    points = " ".join(f"{x(2 + i / 20):.1f},{y(tau(10 ** (2 + i / 20))):.1f}" for i in range(141))
    body += [
        f'<polyline points="{points}" fill="none" stroke="{OURS}" stroke-width="2.5"/>',
        line(left, y(0.9), right, y(0.9), "#16a34a", 1.5, "4 3"),
        text(x(2.1), y(0.9) - 6, "same_photo_cosine", colour="#16a34a"),
        text(x(6.2), y(tau(10**6.2)) + 22, "tau(N), .01 strangers a query", colour=OURS),
        text((left + right) / 2, bottom + 40, "faces that may make links", "middle"),
        text(left, top - 12, "cosine"),
    ]
    return svg(720, 350, body)


def head(rows):
    seeds = sorted({row["seed"] for row in rows})
    accounts = rows[0]["figures"]["counts"]["accounts"]
    return f"Means over seeds {seeds[0]} to {seeds[-1]}, {accounts:,} accounts each.\n\n"


def main():
    out = Path(sys.argv[1])
    rows = json.loads((out / "populations.json").read_text())
    parts = json.loads((out / "ablation.json").read_text())
    compared = list(means(rows))
    tables = [head(rows) + table(compared), head(parts) + table(means(parts)), kinds(rows)]
    (out / "tables.md").write_text("\n\n".join(tables) + "\n")
    (out / "ways.svg").write_text(ways_picture(compared))
    (out / "tau.svg").write_text(tau_picture())


if __name__ == "__main__":
    main()
