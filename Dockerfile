# Builds facering and packs it with ONNX Runtime and the bundled model pack.
FROM rust:1.95-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends python3-pip && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN make build

FROM debian:12-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libgomp1 libopenblas0-pthread libssl3 libstdc++6 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --home-dir /var/lib/facering --create-home facering
COPY --from=build /src/target/release/facering /usr/bin/facering
COPY --from=build /src/.deps/onnxruntime/lib/ /usr/lib/facering/
COPY --from=build /src/models/bundled/ /usr/share/facering/models/bundled/
COPY pipelines/ /etc/facering/pipelines/
COPY config/default.toml /etc/facering/
USER facering
WORKDIR /var/lib/facering
ENTRYPOINT ["/usr/bin/facering"]
CMD ["run", "/etc/facering/pipelines/stream.toml"]
