# The image of one executable. Both base images are arguments, so that they can come from any registry:
#   docker build --build-arg BUILDER=my.registry/node:24-bookworm-slim \
#                --build-arg BASE=my.registry/distroless/base-debian12 \
#                --build-arg AMBIENT_REVISION="$(git rev-parse HEAD)" -t localhost/ambient:0.1.0 .
# The base needs glibc and nothing else; libstdc++ is not used. The container runs with a read-only root and needs no
# writable /tmp; /proc must be there, as it is in every container. `npm run image` makes the same without Docker.
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
# The licences of all that is in it are inside: /ambient version --licenses
COPY --from=build /build/dist/ambient /ambient
# Defaults such as ./var/run/secrets/… are relative to the working directory.
WORKDIR /
# Istio's templates give arguments only: `proxy ztunnel`, `proxy waypoint …`. Who it runs as is for the manifests to say:
# a ztunnel has to be root, a waypoint must not be.
ENTRYPOINT ["/ambient"]
