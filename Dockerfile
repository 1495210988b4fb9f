# syntax=docker/dockerfile:1
# The image holds one static program, the roots of TLS, and no shell. It runs as nobody,
# and needs no writable file system but /data (where a directory store goes) and /tmp.
#
#   docker build -t rqvault .
#   docker run --read-only --tmpfs /tmp -v rqvault-data:/data rqvault backup --redis redis://redis:6379

FROM --platform=$BUILDPLATFORM golang:1.26.8-bookworm AS build
ARG TARGETOS TARGETARCH
# A release's name, such as v1.2.3. Without it the program knows its commit.
ARG VERSION=
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -ldflags "-s -w -X rqvault/internal/command.linked=$VERSION" -o /rqvault . \
    && mkdir /data

FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /rqvault /usr/bin/rqvault
COPY --from=build --chown=65532:65532 /data /data
USER 65532:65532
WORKDIR /data
VOLUME /data
EXPOSE 19121
# A command that ends needs no health check, and the daemon tells its own on /healthz,
# which the image has no program to ask: the orchestrator does.
HEALTHCHECK NONE
ENTRYPOINT ["/usr/bin/rqvault"]
CMD ["help"]
