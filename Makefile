# The commands a person types here. `make` alone lists them.
#
# Everything is built by the Swift package manager; what a task needs from the system is in the
# table of scripts/setup, which prints nothing when all is there.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help setup build release run test lab image bench heal live soak fuzz churn format lint docs clean

# An import that Package.swift does not declare would let a layer reach upwards unseen.
SWIFT_BUILD := swift build --explicit-target-dependency-import-check error
# Release builds carry the Swift runtime with them: one file to copy, and calls into the runtime
# that need no indirection.
RELEASE := $(SWIFT_BUILD) -c release --static-swift-stdlib --product holdfast
SWIFT_FILES := Package.swift Sources Tests

# make run ARGS="--listen 127.0.0.1:8080 --store /tmp/store"
ARGS ?=
# make test FILTER=HTTPTests
FILTER ?=
# make test TRANSACTIONS=1000000 SEED=7: how much the simulation does, and from which seed
TRANSACTIONS ?= 100000
SEED ?= 1
SIMULATE = SWIFT_DETERMINISTIC_HASHING=1 HOLDFAST_TRANSACTIONS=$(TRANSACTIONS) HOLDFAST_SEED=$(SEED)
# make lab LAB="L10 L11 --fix be-liberal"
LAB ?=
# make image BUILDER=podman TAG=0.2.0
BUILDER ?=
TAG ?= 0.1.0
# make bench BENCH="--quick --only small-hits --servers holdfast,nginx"
BENCH ?=
# make live LIVE="--megabytes 200"
LIVE ?=
# make heal HEAL="--count 10 --only holdfast,nginx"
HEAL ?=
# make soak MINUTES=30 TRANSACTIONS=1000000 SEED=7 SOAK="--rate 100"
MINUTES ?= 30
SOAK ?=
# make fuzz TARGET=request TIME=60 (seconds), or TIME=30m (minutes of processor time)
TARGET ?= all
TIME ?= 60

help: ## list these targets
	@echo "Holdfast: a caching HTTP proxy and package mirror."
	@echo
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

setup: ## install what building and testing need
	@scripts/setup build test

build: ## build for debugging
	@scripts/setup build
	$(SWIFT_BUILD)

release: ## build the program as it is shipped
	@scripts/setup build
	$(RELEASE)

run: release ## build and start the proxy with its defaults (ARGS="…" adds options)
	@echo
	@echo "Holdfast starts on 127.0.0.1:3128; Ctrl-C stops it. In another terminal:"
	@echo "  curl -x http://127.0.0.1:3128 -sS -D- -o /dev/null http://example.org/        # twice: see Cache-Status"
	@echo "  sudo apt-get -o Acquire::http::Proxy=http://127.0.0.1:3128 update"
	@echo "  curl -s http://127.0.0.1:3129/metrics"
	@echo
	@exec "$$($(RELEASE) --show-bin-path)/holdfast" serve $(ARGS)

# The release build comes first: it finds what only the optimiser's eyes find, and the last lines
# on the screen are then the tests' own.
test: ## build everything, run all tests (FILTER=Name narrows)
	@scripts/setup build test
	$(RELEASE)
	$(SIMULATE) scripts/test $(if $(FILTER),--filter $(FILTER))

lab: ## break connections on purpose in network namespaces, and compare (LAB="L10 --tier P")
	@scripts/setup build test
	@[ -n "$(NO_BUILD)" ] || $(RELEASE)
	@"$$($(RELEASE) --show-bin-path)/holdfast" lab run $(if $(LAB),$(LAB),--all)

# Podman and buildah leave out the health check unless they are asked for Docker's format.
image: ## build the images of docker/ from nothing (BUILDER=docker, podman or buildah; TAG=0.1.0)
	@builder='$(BUILDER)'; \
	if [ -z "$$builder" ]; then \
	  if docker info >/dev/null 2>&1; then builder=docker; \
	  elif command -v podman >/dev/null; then builder=podman; \
	  elif command -v buildah >/dev/null; then builder=buildah; \
	  else echo "image: needs docker, podman or buildah: apt-get install podman" >&2; exit 1; fi; \
	fi; \
	format=; [ "$$builder" = docker ] || format="--format docker"; \
	set -ex; \
	$$builder build $$format --file docker/Dockerfile --tag holdfast:$(TAG) \
	  --build-arg REVISION="$$(git rev-parse HEAD 2>/dev/null || echo unknown)" .; \
	$$builder build $$format --file docker/Dockerfile.lab --tag holdfast-lab:$(TAG) --build-arg HOLDFAST=holdfast:$(TAG) .

bench: ## measure beside nginx, Varnish, Squid and Traffic Server (BENCH="--help")
	@scripts/setup build bench
	@[ -n "$(NO_BUILD)" ] || $(RELEASE)
	@python3 Tests/Bench/bench.py --holdfast "$$($(RELEASE) --show-bin-path)/holdfast" $(BENCH)

heal: ## downloads through a Service whose translation fails, by Holdfast and four others (root)
	@scripts/setup build heal
	@[ -n "$(NO_BUILD)" ] || $(RELEASE)
	@python3 Tests/Heal/heal.py --holdfast "$$($(RELEASE) --show-bin-path)/holdfast" $(HEAL)

# A directory of its own: what is built with a sanitizer links with nothing else.
churn: ## ten thousand TLS connections against a build with the address sanitizer
	@scripts/setup build test
	$(SWIFT_BUILD) --sanitize=address --build-path .build-asan --product holdfast
	HOLDFAST_EXECUTABLE="$(CURDIR)/.build-asan/debug/holdfast" HOLDFAST_SANITIZED=1 HOLDFAST_TLS_CHURN=10000 swift test --filter SecureChurnTests

live: ## download real packages with apt through Holdfast (LIVE="--help")
	@scripts/setup build live
	@[ -n "$(NO_BUILD)" ] || $(RELEASE)
	@python3 Tests/Live/live.py --holdfast "$$($(RELEASE) --show-bin-path)/holdfast" $(LIVE)

# Either half alone: MINUTES=0, TRANSACTIONS=0.
soak: TRANSACTIONS = 1000000
soak: ## the simulation at length, then mixed traffic for MINUTES=30: does anything grow?
	@scripts/setup build
	@[ "$(TRANSACTIONS)" = 0 ] || $(SIMULATE) swift test --filter SimulationTests
	@[ "$(MINUTES)" = 0 ] || [ -n "$(NO_BUILD)" ] || $(RELEASE)
	@[ "$(MINUTES)" = 0 ] || \
	  python3 Tests/Soak/soak.py --holdfast "$$($(RELEASE) --show-bin-path)/holdfast" \
	    --minutes $(MINUTES) --json .build/soak/latest.json $(SOAK)

fuzz: ## explore a parser with libFuzzer (TARGET=request TIME=60)
	@scripts/setup fuzz
	@Tests/Fuzz/explore $(TARGET) $(TIME)

format: ## lay out all Swift files as swift format does
	swift format --in-place --recursive --parallel $(SWIFT_FILES)

lint: ## say where the layout or a rule of swift format is not kept
	swift format lint --strict --recursive --parallel $(SWIFT_FILES)

docs: ## make the generated pages anew from the tables in the code
	@scripts/setup build
	$(SWIFT_BUILD) --product holdfast
	@set -e; program="$$(swift build --show-bin-path)/holdfast"; \
	for page in configuration:docs/configuration.md yaml:config/holdfast.yaml \
	    metrics:docs/metrics.md cli:docs/cli.md; do \
	  "$$program" reference "$${page%%:*}" >.build/page; \
	  mv .build/page "$${page#*:}"; echo "$${page#*:}"; \
	done

clean: ## remove everything that was built
	rm -rf .build .build-*
