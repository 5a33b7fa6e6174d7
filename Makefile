# Targets of tasksink. `make` lists them.
GOLANGCI_LINT = github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
BIN = $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/tasksink/bin

.PHONY: help demo observe test bench lint format
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## the main job in one process, with nothing installed; ends with a ledger of every record
	go run ./cmd/demo

observe: ## the demo, tasksink and Prometheus with the alerts, to look at, until Ctrl-C; needs Debian's package prometheus
	go run ./internal/observe

test: ## run all tests, with the race detector; against Apache Kafka too where Java and Maven, or Docker, are installed
	go test -race -parallel 16 -timeout 20m ./...

bench: ## measure; ROWS="a b" some rows, RUNS=n repeats, OUT=FILE as JSON, WORKER='COMMAND' another program: docs/performance.md
	@mkdir -p $(BIN)
	go build -o $(BIN)/bench ./internal/bench
	$(BIN)/bench

lint: $(BIN)/golangci-lint ## check formatting, go vet and golangci-lint
	@test -z "$$(gofmt -l .)" || { echo "not formatted, run make format:"; gofmt -l .; exit 1; }
	go vet ./...
	$(BIN)/golangci-lint run

format: ## format all Go files
	gofmt -w .

$(BIN)/golangci-lint:
	GOBIN=$(BIN) go install $(GOLANGCI_LINT)
