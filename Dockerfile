# The image for those who build with Docker; `make image` makes what is released, without it. Both hold the same: a static
# program, its licences and SBOM, certificate authorities, user 65532, no shell.
#
#   docker buildx build --platform linux/amd64,linux/arm64 --tag tasksink .
#
# Images are pinned by digest. Go is the same in .github/workflows: a test compares.
FROM --platform=$BUILDPLATFORM golang:1.26.8@sha256:0f063af2d465d8dcae54cce04278ada488b96f77b42449c8d071e47d016cc65a AS build
WORKDIR /src
COPY go.mod go.sum ./
COPY internal/release/go.mod internal/release/go.sum internal/release/
RUN go mod download && cd internal/release && go mod download
# With .git, which says what the version is.
COPY . .
ARG TARGETOS
ARG TARGETARCH
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -ldflags=-w -o /out/tasksink ./cmd/tasksink && \
    go run -C internal/release . --root /src documents /out/tasksink /out/doc

FROM gcr.io/distroless/static:nonroot@sha256:e2e927ec666bae08560abb3c55d0659eceabb657f56b6782ab500a9fc7f555e3
ARG VERSION=devel
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="tasksink" \
      org.opencontainers.image.description="Kafka task events in, HubSpot tasks out: in full batches, none lost" \
      org.opencontainers.image.source="https://github.com/tasksink/tasksink" \
      org.opencontainers.image.documentation="https://github.com/tasksink/tasksink#readme" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.created="$CREATED"
COPY --from=build /out/tasksink /tasksink
COPY --from=build /out/doc/ /usr/share/doc/tasksink/
# As a number: Kubernetes' runAsNonRoot cannot tell from a name.
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/tasksink"]
CMD ["run"]
