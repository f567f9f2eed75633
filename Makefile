# What one does with this repository. `make` prints it. Everything runs on loopback and ends what it starts.

SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS   += --no-print-directory
.DEFAULT_GOAL := help

FUZZTIME ?= 10s
BENCH    ?= full
TOOL     := go tool -modfile=tools/go.mod
# Where goroutines share state. The compiler is left out: it shares nothing but its worker pool, which its own tests race.
RACE     := ./runtime/... ./compiler/kubernetes/live ./compiler/publisher ./internal/audit/... ./internal/depot/... ./internal/e2e ./internal/gitwatch ./internal/testkit/... ./internal/webhook
REPORT   := go run ./internal/testreport

.PHONY: help
help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | while IFS=$$'\t' read -r name text; do printf '  make %-8s %s\n' "$$name" "$$text"; done

.PHONY: build
build: ## build bin/gwctl and bin/gwrun
	@mkdir -p bin
	go build -o bin/ ./cmd/...

.PHONY: run
run: build ## serve the example repository, with a demo upstream, until interrupted
	bin/gwrun dev examples/config-repo

.PHONY: test
test: servers ## run all tests, with the real servers they need
	@go test -json ./... | $(REPORT)

.PHONY: race
race: servers ## run the tests of the parts with shared state under the race detector
	@CGO_ENABLED=1 TESTKIT_BUILD_FLAGS=-race go test -race -timeout 30m -json $(RACE) | $(REPORT)

.PHONY: golden
golden: ## rewrite everything that is generated: code, schemas, docs, golden files
	@go generate ./...
	@GOLDEN_UPDATE=1 go test -count=1 -run Golden ./... | { grep -v 'no test files\|no tests to run' || true; }

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME (10s) each
	@.ci/fuzz $(FUZZTIME)

.PHONY: lint
lint: ## check form, vet, staticcheck, import rules and known vulnerabilities
	@.ci/lint

.PHONY: bench
bench: ## measure side by side with nginx, HAProxy, Caddy, Traefik and Fastify (BENCH=short: three minutes)
	@.ci/programs nginx haproxy caddy strace redis-server
	@go run ./bench -mode $(BENCH) $(if $(RECORD),-record docs/benchmarks.md)

.PHONY: faults
faults: ## break what stands behind gwrun while it is under load; RECORD=1 puts the figures into docs/reliability.md
	@go test -count=1 -v -timeout 20m ./internal/faults $(if $(RECORD),-args -record ../../docs/reliability.md)

.PHONY: loop
loop: ## go once through the whole GitOps loop under load; RECORD=1 puts the transcript into docs/loop.md
	@go test -count=1 -v -timeout 20m -run '^TestLoop$$' ./internal/e2e $(if $(RECORD),-args -record ../../docs/loop.md)

.PHONY: kubernetes
kubernetes: ## run discovery and the live source against a real kube-apiserver, built from source once, and etcd
	@command -v etcd >/dev/null || .ci/programs etcd-server
	@go test -count=1 -v -timeout 60m -tags kubernetes -run 'TestAPIServer|TestKubernetesLive' ./runtime/discovery/kubernetes ./internal/e2e

.PHONY: check
check: ## what CI runs: lint, nothing generated is stale, race, test
	@echo '== lint';   .ci/lint
	@echo '== golden'; .ci/unchanged $(MAKE) golden
	@echo '== race';   $(MAKE) race
	@echo '== test';   $(MAKE) test

# Installs the servers that tests talk to, where it may; says what will be skipped where it may not.
.PHONY: servers
servers:
	@.ci/programs redis-server git
