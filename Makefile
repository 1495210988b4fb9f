# rqvault: build, test, and see it work. `make help` lists the targets.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := build
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

FUZZTIME ?= 60s

# What is set for somebody's own Redis or store must not reach tests and demos; only
# where to find the programs may (see tools/setup.sh).
PROGRAMS := RQVAULT_CHROMIUM RQVAULT_PROMETHEUS RQVAULT_PROMTOOL RQVAULT_PYTHON RQVAULT_REDIS_SERVER RQVAULT_VERSITYGW
unexport $(filter-out $(PROGRAMS),$(filter RQVAULT_%,$(.VARIABLES)))

# Git refuses a clone that belongs to somebody else (a directory mounted into a
# container), and then Go cannot stamp the commit. That is no reason not to build.
ifneq ($(shell git rev-parse HEAD >/dev/null 2>&1 && echo stamp),stamp)
export GOFLAGS := $(strip $(GOFLAGS) -buildvcs=false)
endif

.PHONY: build
build: ## build ./bin/rqvault, one static program
	@tools/setup.sh build
	CGO_ENABLED=0 go build -trimpath -o bin/rqvault .

.PHONY: test
test: ## install what the tests need, check the code, run every test against real servers
	@tools/setup.sh test
	@test -z "$$(gofmt -l .)" || { echo "gofmt -w is needed on:"; gofmt -l .; exit 1; }
	go vet ./...
	.bin/staticcheck ./...
	CGO_ENABLED=1 go test -race -timeout 40m ./...

.PHONY: demo
demo: ## lose 40 real jobs with kill -9 and get them back, every command shown
	@tools/setup.sh demo
	@$(MAKE) build
	@tools/demo.sh

.PHONY: demo-s3
demo-s3: ## the same in short, with the snapshots in an S3 bucket
	@tools/setup.sh demo-s3
	@$(MAKE) build
	@tools/demo-s3.sh

.PHONY: drill
drill: ## train for an outage, in ten minutes: docs/runbook.md on a private Redis
	@tools/setup.sh demo
	@$(MAKE) build
	@tools/drill.sh

# For make ledger and make healthy: how often, from which seed, how long jobs are produced
# in a run, how many a second, how many runs work at once, and (for ledger) which outage and policy, as go
# test -run wants them, such as ONLY='FLUSHALL/at-most-once'.
SEED ?= 0
DURATION ?= 2s
RATE ?= 60
AT_ONCE ?= 3
ONLY ?=

.PHONY: ledger
ledger: RUNS ?= 20
ledger: ## lose real work in five ways, RUNS (20) times each, and count what became of it
	@tools/setup.sh ledger
	cd internal/ledger && go test -count 1 -timeout 6h -parallel 60 -run "^TestLedger$$/^outage$$/$(ONLY)" \
		-args -runs $(RUNS) -seed $(SEED) -duration $(DURATION) -rate $(RATE) -at-once $(AT_ONCE) -table ../../docs/recovery.md

.PHONY: soak
soak: DURATION = 30m
soak: ## two daemons and two sources for half an hour (DURATION), while everything fails in turn
	@tools/setup.sh test
	cd internal/soak && go test -count 1 -timeout 6h -v -run '^TestSoak$$' -args -duration $(DURATION) -seed $(SEED)

.PHONY: healthy
healthy: RUNS ?= 100
healthy: ## see that a Redis which only works on gives no false alarm, in RUNS (100) runs
	@tools/setup.sh ledger
	cd internal/ledger && go test -count 1 -timeout 6h -parallel $(AT_ONCE) -run '^TestHealthy$$' \
		-args -runs $(RUNS) -seed $(SEED) -duration $(DURATION) -rate $(RATE) -at-once $(AT_ONCE)

# For make bench and bench-full: how often each row is measured, and which rows, by a part
# of their names.
BENCH_RUNS ?= 5
ROWS ?=

.PHONY: bench
bench: SIZE ?= quick
bench: ## measure rqvault against its peers on 50,000 jobs, and write docs/performance.md's table
	@tools/setup.sh test
	@$(MAKE) build
	go run ./internal/bench -size $(SIZE) -runs $(BENCH_RUNS) -only "$(ROWS)" -doc docs/performance.md

.PHONY: bench-memory
bench-memory: ## peak memory of backups of up to 10 million keys, of a list of 10 million ids and of large values
	go run ./internal/bench -memory -doc docs/performance.md

.PHONY: bench-full
bench-full: ## the same on 2,000,000 jobs and 500,000 other keys; takes an hour and 10 GB in /tmp
	@$(MAKE) bench SIZE=full

# For make packages: where to, which release (without the v), and for which machines.
DIST ?= dist
VERSION ?= $(shell git describe --tags --match 'v[0-9]*' 2>/dev/null | sed 's/^v//')
ARCHES ?= amd64 arm64

.PHONY: packages
packages: ## build the deb and the rpm into dist/, for amd64 and arm64
	@tools/setup.sh packages
	@tools/packages.sh "$(DIST)" "$(VERSION)" $(ARCHES)

.PHONY: test-packages
test-packages: ## install the deb in a clean Debian and back up there; check all of deploy/
	@tools/setup.sh test-packages
	cd tools/packaging && go vet ./... && ../../.bin/staticcheck ./... && go test -timeout 20m ./...

.PHONY: fuzz
fuzz: ## fuzz every parser, each for FUZZTIME (60s)
	@tools/setup.sh build
	@tools/fuzz.sh $(FUZZTIME)

.PHONY: clean
clean: ## remove what was built, the tools too
	rm -rf bin .bin dist

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
