# Targets of tasksink. `make` lists them.
GOLANGCI_LINT = github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
ACTIONLINT = github.com/rhysd/actionlint/cmd/actionlint@v1.7.12
BIN = $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/tasksink/bin

.PHONY: help demo observe test chart-test kube-test bench lint format image dependencies
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## the main job in one process, with nothing installed; ends with a ledger of every record
	go run ./cmd/demo

# Built first, as go run calls Ctrl-C a failure.
observe: ## the demo, tasksink and Prometheus with the alerts, to look at, until Ctrl-C; needs Debian's package prometheus
	@mkdir -p $(BIN)
	go build -o $(BIN)/observe ./internal/observe
	$(BIN)/observe

test: ## run all tests, with the race detector; against Apache Kafka too where Java and Maven, or Docker, are installed
	go test -race -parallel 16 -timeout 20m ./...
	cd internal/release && go test -timeout 10m ./...

chart-test: $(BIN)/golangci-lint ## lint, render and check the Helm chart; Helm itself is built once
	cd internal/charttest && $(BIN)/golangci-lint run && go test -count=1 -timeout 10m ./... # Go does not see what Helm reads

# The API server's version is told by a variable of its build; without it Helm would take it for Kubernetes 0.0.
KUBE = $(shell cd internal/kube && go list -m -f '{{.Version}}' k8s.io/kubernetes)
KUBE_BIN = $(BIN)/kube-$(KUBE)
kube-test: $(BIN)/golangci-lint ## install, upgrade, roll back and uninstall the chart in an API server of Kubernetes, built from source once (10 min)
	@mkdir -p $(KUBE_BIN)
	cd internal/kube && $(BIN)/golangci-lint run && \
	  { test -x $(KUBE_BIN)/etcd || go build -o $(KUBE_BIN)/etcd go.etcd.io/etcd/server/v3; } && \
	  { test -x $(KUBE_BIN)/kube-apiserver || go build -ldflags "-s -w -X k8s.io/component-base/version.gitVersion=$(KUBE)" -o $(KUBE_BIN)/kube-apiserver k8s.io/kubernetes/cmd/kube-apiserver; } && \
	  KUBE_BIN=$(KUBE_BIN) go test -count=1 -timeout 10m .

bench: ## measure; ROWS="a b" some rows, RUNS=n repeats, OUT=FILE as JSON, WORKER='COMMAND' another program: docs/performance.md
	@mkdir -p $(BIN)
	go build -o $(BIN)/bench ./internal/bench
	$(BIN)/bench

lint: $(BIN)/golangci-lint $(BIN)/actionlint ## check formatting, go vet, golangci-lint, the workflows, and that modules are what go.sum says
	@test -z "$$(gofmt -l .)" || { echo "not formatted, run make format:"; gofmt -l .; exit 1; }
	go vet ./...
	$(BIN)/golangci-lint run
	cd internal/release && go vet ./... && $(BIN)/golangci-lint run
	$(BIN)/actionlint -shellcheck= -pyflakes=
	go mod verify
	cd internal/release && go mod verify

image: ## the image for all platforms, programs, SBOMs and licences into dist/, without Docker; the same commit gives the same bytes
	go run -C internal/release . --root $(CURDIR) image --out $(CURDIR)/dist

dependencies: ## write versions and licences in docs/dependencies.md anew
	go run -C internal/release . --root $(CURDIR) dependencies

format: ## format all Go files
	gofmt -w .

$(BIN)/golangci-lint:
	GOBIN=$(BIN) go install $(GOLANGCI_LINT)

$(BIN)/actionlint:
	GOBIN=$(BIN) go install $(ACTIONLINT)
