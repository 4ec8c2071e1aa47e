# The image of one executable. Both base images are arguments, so that they can come from any registry:
#   docker build --build-arg BASE=my.registry/distroless/base-debian12 \
#                --build-arg AMBIENT_REVISION="$(git rev-parse HEAD)" -t ambient .
# The base needs glibc and nothing else; libstdc++ is not used. The container runs with a read-only root and needs no
# writable /tmp; /proc must be there, as it is in every container.
ARG BUILDER=node:24-bookworm-slim
ARG BASE=distroless/base-debian12

FROM ${BUILDER} AS build
WORKDIR /build
COPY package.json bun.lock bunfig.toml ./
COPY compile/setup.mjs compile/setup.mjs
RUN npm run setup
COPY tsconfig.json LICENSE mod.ts ./
COPY compile compile
COPY proto proto
COPY src src
ARG AMBIENT_REVISION=unknown
RUN AMBIENT_REVISION="${AMBIENT_REVISION}" npm run compile

FROM ${BASE}
COPY --from=build /build/dist/ambient /ambient
# Defaults such as ./var/run/secrets/… are relative to the working directory.
WORKDIR /
ENTRYPOINT ["/ambient"]
