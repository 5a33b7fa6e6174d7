# Targets of tasksink. `make` lists them.
GOLANGCI_LINT = github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
ACTIONLINT = github.com/rhysd/actionlint/cmd/actionlint@v1.7.12
BIN = $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/tasksink/bin

.PHONY: help demo test bench lint format image dependencies
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## the main job in one process, with nothing installed; ends with a ledger of every record
	go run ./cmd/demo

test: ## run all tests, with the race detector; against Apache Kafka too where Java and Maven, or Docker, are installed
	go test -race -parallel 16 -timeout 20m ./...
	cd internal/release && go test -timeout 10m ./...

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
