#!/usr/bin/env bash
# Measures facering on a GPU: faces/s through the embedder, pictures/s from JPEG to embedding, how busy the GPU is.
#
#   bench/gpu.sh                      cuda and tensorrt, fp32 and fp16, batches 32 to 256
#   PROVIDERS=cuda BATCHES=64,128 SECONDS_EACH=20 bench/gpu.sh
#   PROVIDERS=cpu BATCHES=1 SECONDS_EACH=1 bench/gpu.sh       tries the script out where there is no GPU
#
# Needs NVIDIA's driver (nvidia-smi). Everything else comes from PyPI by name and stays in ~/.cache/facering: the GPU
# build of ONNX Runtime and NVIDIA's libraries. FACERING_ORT_GPU=FOLDER takes an ONNX Runtime that is there already
# (a folder with libonnxruntime.so* and libonnxruntime_providers_*.so). Writes bench/results/gpu-DATE.json and prints a
# table for docs/benchmarks.md. Networks with random weights are made for the purpose (bench/gpu_models.py).
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

ORT_VERSION=1.31.1
PROVIDERS=${PROVIDERS:-cuda,tensorrt}
PACKS=${PACKS:-gpu-fp32,gpu-fp16}
BATCHES=${BATCHES:-32,64,128,256}
SECONDS_EACH=${SECONDS_EACH:-15}
DEVICE=${DEVICE:-0}
FACERING=${FACERING:-target/release/facering}
WORK=${WORK:-$CACHE/bench-gpu}

need_command python3 "install Python 3 with pip, then run this again"
[ -x "$FACERING" ] || fail "$FACERING is missing: run \`make build\` first"
mkdir -p "$WORK" bench/results

gpu=no
if [ "$PROVIDERS" != cpu ]; then
    need_command nvidia-smi "this measures a GPU; PROVIDERS=cpu tries the script out without one"
    gpu=yes
fi

# 1. What the models are made with.
tools=$WORK/python
if [ ! -f "$tools/.complete" ]; then
    step "numpy and onnx from PyPI"
    python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --target "$tools" numpy onnx ||
        fail "pip could not install numpy and onnx: check the network and run this again"
    touch "$tools/.complete"
fi
if [ ! -f "$WORK/packs/gpu-fp16/pack.toml" ] || [ bench/gpu_models.py -nt "$WORK/packs/gpu-fp16/pack.toml" ]; then
    step "networks of random weights"
    PYTHONPATH=$tools python3 bench/gpu_models.py "$WORK/packs"
fi

# 2. ONNX Runtime for the GPU with the CUDA libraries it wants; TensorRT only if it is measured.
library=()
if [ -n "${FACERING_ORT_GPU:-}" ]; then
    library=("--set=inference.library=$FACERING_ORT_GPU")
elif [ $gpu = yes ]; then
    runtime=$WORK/onnxruntime-gpu-$ORT_VERSION
    pip_into() { python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --target "$@"; }
    if [ ! -f "$runtime/.complete" ]; then
        step "ONNX Runtime $ORT_VERSION for the GPU from PyPI (some GB, once)"
        rm -rf "$runtime"
        pip_into "$runtime" "onnxruntime-gpu[cuda,cudnn]==$ORT_VERSION" ||
            fail "pip could not install onnxruntime-gpu $ORT_VERSION; with your own build set FACERING_ORT_GPU"
        touch "$runtime/.complete"
    fi
    if [[ $PROVIDERS == *tensorrt* ]] && [ ! -f "$runtime/.tensorrt" ]; then
        step "TensorRT from PyPI (some GB, once)"
        if pip_into "$runtime/tensorrt" tensorrt; then
            touch "$runtime/.tensorrt"
        else
            printf 'TensorRT cannot be had by pip here; measuring without it\n' >&2
            PROVIDERS=$(tr , '\n' <<<"$PROVIDERS" | grep -vx tensorrt | paste -sd,)
        fi
    fi
    libraries=$(find "$runtime" -name '*.so*' -printf '%h\n' | sort -u | paste -sd:)
    export LD_LIBRARY_PATH=$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
    ort=$(find "$runtime/onnxruntime/capi" -name 'libonnxruntime.so*' | sort | tail -1)
    [ -n "$ort" ] || fail "the wheel of onnxruntime-gpu has no libonnxruntime.so; set FACERING_ORT_GPU to a folder with one"
    library=("--set=inference.library=$ort")
fi

# 3. Measure. The GPU's own counter is read twice a second meanwhile.
results=bench/results/gpu-$(date -u +%Y%m%dT%H%M%SZ).json
parts=$WORK/parts && rm -rf "$parts" && mkdir -p "$parts"
watching=
stop_watching() { [ -z "$watching" ] || { kill "$watching" 2>/dev/null || true; wait "$watching" 2>/dev/null || true; watching=; }; }
trap stop_watching EXIT
for provider in ${PROVIDERS//,/ }; do
    for pack in ${PACKS//,/ }; do
        for batch in ${BATCHES//,/ }; do
            name=$provider-$pack-$batch
            step "$provider, $pack, batch $batch"
            if [ $gpu = yes ]; then
                nvidia-smi --id="$DEVICE" --query-gpu=utilization.gpu,utilization.memory,power.draw,memory.used \
                    --format=csv,noheader,nounits --loop-ms=500 >"$parts/$name.busy" 2>/dev/null &
                watching=$!
            fi
            # `require`: the figure of a silent fallback to the processor would be worth nothing.
            "$FACERING" models bench "$pack" --json --batches="$batch" --seconds="$SECONDS_EACH" \
                --set=models.path="$WORK/packs" --set=inference.providers="[\"$provider\"]" \
                --set=inference.require=true --set=inference.devices="[$DEVICE]" \
                --set=inference.engine_cache="$([ "$provider" != tensorrt ] || echo "$WORK/engines")" \
                "${library[@]}" >"$parts/$name.json" || fail "facering models bench failed for $name; see above"
            stop_watching
        done
    done
done

python3 - "$parts" "$results" <<'PYTHON'
import json, pathlib, platform, subprocess, sys, time

def run(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None

parts, rows = pathlib.Path(sys.argv[1]), []
for path in sorted(parts.glob("*.json"), key=lambda p: (p.stem.rsplit("-", 1)[0], int(p.stem.rsplit("-", 1)[1]))):
    measured = json.loads(path.read_text())
    row = {"provider": measured["providers"][0], "pack": measured["pack"], **measured["rows"][0]}
    busy = path.with_suffix(".busy")
    if busy.exists():
        values = [line.split(",") for line in busy.read_text().splitlines() if line.count(",") == 3]
        load = sorted(float(v[0]) for v in values if v[0].strip().replace(".", "").isdigit())
        # Loading and warming up are in it as well, so the upper half is the time of measuring.
        row["gpu_busy_percent"] = sum(load[len(load) // 2:]) / max(1, len(load) - len(load) // 2)
    rows.append(row)
out = {
    "date": time.strftime("%Y-%m-%d", time.gmtime()), "commit": run("git", "rev-parse", "HEAD"),
    "gpu": run("nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"),
    "processor": platform.processor() or platform.machine(), "cores": measured["cores"],
    "onnxruntime": measured["onnxruntime"], "one_core_ms": measured["one_core_ms"], "rows": rows,
}
pathlib.Path(sys.argv[2]).write_text(json.dumps(out, indent=1) + "\n")
print(f"\n{out['date']}, {out['gpu'] or 'no GPU'}, {out['onnxruntime'].splitlines()[0]}\n")
print("| provider | networks | batch | embedder, faces/s | detector, pictures/s | JPEG to embedding, pictures/s | GPU busy |")
print("| --- | --- | --- | --- | --- | --- | --- |")
for r in rows:
    busy = f"{r['gpu_busy_percent']:.0f}%" if "gpu_busy_percent" in r else "-"
    print(f"| {r['provider']} | {r['pack']} | {r['batch']} | {r['embedding_faces_per_second']:,.0f} | "
          f"{r['detection_pictures_per_second']:,.0f} | {r['pictures_per_second']:,.0f} | {busy} |")
best = lambda key: max(r[key] for r in rows)
print(f"\nGoals on an H200: embedder 8,000 faces/s (best here {best('embedding_faces_per_second'):,.0f}), JPEG to embedding "
      f"4,000 pictures/s (best here {best('pictures_per_second'):,.0f}), GPU busy over 90%.")
PYTHON
echo "written: $results"
