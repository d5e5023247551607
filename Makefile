# Every target starts from a fresh checkout: .ci/setup installs what is missing (and says what and
# why), .ci/rocksdb compiles the storage engine once into a shared cache. `make help` lists them.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

# What a person may set: make run ARGS='--nodes 5', make sim SEEDS=0..1000, make fuzz CASES=1000000.
ARGS ?=
SEEDS ?= 0..100
CASES ?= 100000
# make fuzz: SMALL=wide for small histories of clients with contexts too.
SMALL ?=
# make bench: rounds, and seconds a measurement.
ROUNDS ?= 3
POINT_S ?= 8
# make profile: seconds a step.
STEP_S ?= 6
# make chaos: runs of each fault, any value for the short form, and clusters at a time.
RUNS ?= 1
SHORT ?=
JOBS ?= 3

# With RocksDB's archive from the cache, and without RocksDB at all.
CARGO := .ci/rocksdb cargo
CORE := cargo
SIM := $(CORE) run --quiet --release --locked -p starling-sim --bin starling-sim --
BUILT := $(or $(CARGO_TARGET_DIR),target)/release
NEXTEST := nextest run --locked --config-file .ci/nextest.toml

.PHONY: help run test dashboards drills verify format-check lint docs diagrams audit sim chaos bench profile fuzz fmt clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-14s %s\n", $$1, $$2}' Makefile

# On a terminal the cluster gets its own foreground process group: Ctrl-C then reaches it and not
# make, which would otherwise report the clean stop as an interrupt. (The closing `exit` keeps bash
# from replacing itself with the cluster, and so from handing the terminal back.)
run: ## build, start a 3-node cluster on loopback, print curl commands; Ctrl-C stops it
	@.ci/setup build
	@echo "Building Starling (release); the first build takes minutes, the next ones seconds." >&2
	@$(CARGO) build --release --locked -p starling-node --bin starling
	@if [ -t 0 ]; then set -m; else enter=exec; fi; \
	$${enter:-} $(CARGO) run --quiet --release --locked -p starling-node --bin starling -- dev $(ARGS); \
	exit $$?

test: ## every test of the three crates, and the examples in the documentation
	@.ci/setup build test
	@$(CARGO) test --quiet --locked --workspace --doc
	@$(CARGO) test --quiet --locked -p starling-client --features embedded --doc
	@$(CARGO) $(NEXTEST) --workspace
	@$(CARGO) $(NEXTEST) -p starling-client --features embedded --test embedded
	@$(CORE) $(NEXTEST) -p starling-sim --features rig --bin starling-chaos

dashboards: ## boards, rules and alerts of grafana/ against a real Prometheus; a part of test
	@.ci/setup build test
	@$(CARGO) $(NEXTEST) -p starling-node --test prometheus

verify: format-check lint docs audit sim test ## all checks, dashboards too; changes nothing in the tree

drills: ## break clusters that a Prometheus watches; which alerts fired, and when (15 min; ARGS=name)
	@.ci/setup build test
	@$(CARGO) build --release --locked -p starling-node --bin starling
	@STARLING=$(BUILT)/starling .ci/drills $(ARGS)

format-check: ## the format, without changing it
	@.ci/setup lint
	@cargo fmt --all --check

# The second clippy is also the proof that the core compiles without the server; which crates it
# may pull in is tested in node/tests/house.rs.
lint: ## clippy on everything, and on the pure core alone
	@.ci/setup build lint
	@$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	@$(CARGO) clippy --locked -p starling-client --features embedded --all-targets -- -D warnings
	@$(CORE) clippy --locked -p starling-node --no-default-features -- -D warnings
	@$(CORE) clippy --locked -p starling-sim --features rig --all-targets -- -D warnings

docs: ## spelling, the API documentation, pictures as new as their sources; links, commands: tests
	@.ci/setup build docs
	@.ci/spelling
	@.ci/diagrams check
	@RUSTDOCFLAGS='-D warnings' $(CARGO) doc --locked --workspace --no-deps \
		--features starling-client/embedded

diagrams: ## render docs/diagrams/**/*.dot that changed to the SVG beside it
	@.ci/setup diagrams
	@.ci/diagrams

audit: ## licences, sources and advisories of all dependencies
	@.ci/setup audit
	@.ci/audit

sim: ## the simulator over SEEDS (0..100), seeds in two builds, every known bug, what was reached
	@.ci/setup build
	@$(SIM) sweep --seeds $(SEEDS)
	@$(SIM) sweep --seeds 0..60 --families --reach | grep -Ev '^ *[0-9]+ '
	@$(SIM) twice --seeds 0..3
	@$(CORE) build --quiet --locked -p starling-sim --bin starling-sim
	@$(SIM) twice --seeds 0..5 --with $(or $(CARGO_TARGET_DIR),target)/debug/starling-sim
	@$(SIM) sweep --seeds 0..1000 --mutants

chaos: ## break five real processes in every way, RUNS (1) times each; SHORT=1 for 4 faults in 90 s
	@.ci/setup build chaos
	@$(CARGO) build --release --locked -p starling-node --bin starling
	@$(CORE) build --release --locked -p starling-sim --features rig --bins
	@$(BUILT)/starling-chaos all --starling $(BUILT)/starling --runs $(RUNS) --jobs $(JOBS) \
		--simulator $(BUILT)/starling-sim \
		$(if $(SHORT),--short) $(ARGS)

bench: ## measure beside a bare server, Redis and RocksDB, ROUNDS (3) rounds; see docs/performance.md
	@BENCH_ROUNDS=$(ROUNDS) BENCH_SECONDS=$(POINT_S) .ci/bench

profile: ## load a cluster step by step and write docs/performance-profile.md with plots (6 minutes)
	@PROFILE_SECONDS=$(STEP_S) .ci/profile

fuzz: ## the types' property tests on CASES (100000) new random histories each; not coverage-guided
	@.ci/setup build test
	@STARLING_HISTORIES=$(CASES) $(if $(SMALL),STARLING_SMALL=$(SMALL)) $(CORE) $(NEXTEST) \
		--profile fuzz --release -p starling-node --no-default-features -E 'binary(/^crdt_/)'

fmt: ## format the tree
	@.ci/setup lint
	@cargo fmt --all

clean: ## remove what was built here; the cached RocksDB stays
	@cargo clean
