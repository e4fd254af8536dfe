# Everything a newcomer types. Needs Python 3.11+, a C compiler and Rust 1.89+; nothing runs as a
# service and nothing needs root. `make` alone lists the targets.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules --no-print-directory

VENV := .venv
BIN := $(abspath $(VENV))/bin
PY := $(BIN)/python
export PATH := $(BIN):$(PATH)

PROTOS := $(shell find proto -name '*.proto')
RUST := $(shell find signer_ext -not -path '*/target/*' \( -name '*.rs' -o -name 'Cargo.*' \) 2>/dev/null)
WORKSPACE := --manifest-path signer_ext/Cargo.toml
WORKERS ?= auto
FUZZ := signer_ext/fuzz
SECONDS ?= 60
ARM := aarch64-unknown-linux-gnu
MUTATED := manifest cms archive reader
MUTMUT := 3.8.1
PYTEST ?= --numprocesses $(WORKERS) --dist worksteal
ARGS ?=
BENCH ?= $(wildcard bench/*.py)

.PHONY: help demo dev test test-external test-pages lint types format proto proto-baseline faults fanout neighbours push-faults ledger counter probe kernel lock bench fuzz mutants mutants-python sanitize portable wheels clean distclean tools

# Other people's programs that give a verdict on our passes.
demo: NEEDS := openssl
test test-external: NEEDS := git openssl unzip

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' Makefile

demo: tools $(VENV)/ready ## Issue 10,000 signed passes from a recipients file and verify them (ARGS="--count N --keep DIR")
	@$(BIN)/passmill demo $(ARGS)

dev: $(VENV)/ready ## Run every role on embedded PostgreSQL and Valkey until Ctrl-C
	@$(BIN)/passmill dev $(ARGS)

test: tools $(VENV)/ready ## Run every test on the embedded servers (ARGS="-k name")
	@echo "== Rust tests"
	cargo test $(WORKSPACE) --locked --release --workspace --quiet
	echo "== Python tests"
	$(PY) -m pytest $(PYTEST) $(ARGS)

test-external: tools $(VENV)/ready ## Run the tests on private instances of the system's PostgreSQL (15+) and Redis (7+)
	@pg=$$(ls -d /usr/lib/postgresql/*/bin /opt/homebrew/opt/postgresql@*/bin 2>/dev/null | sort -V | tail -n 1 || true)
	redis=$$(PATH=$$PATH:/usr/sbin command -v redis-server || true)
	missing=()
	[[ -n "$$pg" && -x "$$pg/postgres" ]] || missing+=(postgresql)
	[[ -n "$$redis" ]] || missing+=(redis-server)
	if (( $${#missing[@]} )); then
	    echo "test-external needs these packages (Debian's names): apt install $${missing[*]}" >&2
	    exit 1
	fi
	echo "== Python tests on $$("$$pg/postgres" --version) and $$("$$redis" --version | cut -d ' ' -f 1-3)"
	PASSMILL_PG_BIN="$$pg" PASSMILL_VALKEY_BIN="$$redis" $(PY) -m pytest $(PYTEST) $(ARGS)

test-pages: NEEDS := chromium openssl
test-pages: tools $(VENV)/ready ## Open the claim pages in Chromium, as phones and a desktop; pictures go to build/pages
	@PASSMILL_CHROMIUM="$$(command -v chromium)" $(PY) -m pytest tests/browser $(ARGS)

lint: $(VENV)/ready ## Check style, layers, Rust lints and the protocol's rules and compatibility
	@set -x
	ruff check
	ruff format --check
	lint-imports --no-cache
	cargo fmt $(WORKSPACE) --all --check
	cargo fmt --manifest-path $(FUZZ)/Cargo.toml --check
	cargo clippy $(WORKSPACE) --locked --release --workspace --all-targets --quiet -- -D warnings
	$(PY) proto/generate.py image build/passmill.binpb
	buf lint build/passmill.binpb --config proto/buf.yaml
	buf breaking build/passmill.binpb --against proto/baseline.binpb --config proto/buf.yaml

types: $(VENV)/ready ## Check types (mypy --strict) and that the extension is what its stub says
	@set -x
	mypy --strict
	stubtest passmill._signer --mypy-config-file pyproject.toml

format: $(VENV)/ready ## Format Python and Rust
	@ruff check --select I --fix --quiet
	ruff format
	cargo fmt $(WORKSPACE) --all
	cargo fmt --manifest-path $(FUZZ)/Cargo.toml

proto: $(VENV)/packages ## Generate the Python code of the protocol (other targets do it when needed)
	@rm -f server/passmill/v1/__init__.py
	$(MAKE) server/passmill/v1/__init__.py

proto-baseline: $(VENV)/packages ## Accept the protocol as it stands as what `make lint` compares with
	@$(PY) proto/generate.py baseline proto/baseline.binpb

kernel: tools ## Prove the RSA kernel at length: 1,000 keys x 100,000 messages, faults, Wycheproof's vectors, timing
	@RSA_MB_KEYS=1000 RSA_MB_MESSAGES=100000 cargo test $(WORKSPACE) --locked --release -p rsa_mb signatures_equal
	cargo test $(WORKSPACE) --locked --release -p rsa_mb -p pkpass --features fault-injection
	cargo test $(WORKSPACE) --locked --release -p rsa_mb --features wycheproof
	cargo run $(WORKSPACE) --locked --release -p rsa_mb --features timing-probe --example timing

faults: NEEDS := openssl
faults: tools $(VENV)/ready ## Kill workers and crash PostgreSQL under a campaign of 100,000 (ARGS="--recipients N --kills N --crashes N")
	@$(PY) tests/faults/scenario.py $(ARGS)

fanout: NEEDS := openssl
fanout: tools $(VENV)/ready ## Change 200,000 passes of 300,000 registrations; every phone must hear of it (ARGS="--drop 0.5 --writers 50 --flushall 3 --kill-valkey 1 --kill-workers 2")
	@$(PY) -m tests.faults.fanout $(ARGS)

neighbours: tools $(VENV)/ready ## Measure what a tenant whose pushes hang costs another's (ARGS="--hung N --seconds N")
	@$(PY) -m tests.faults.neighbours $(ARGS)

probe: tools $(VENV)/ready ## Send 10,000 requests of any form and 100,000 guesses to the edge
	@EDGE_CASES=1000 EDGE_GUESSES=100000 $(PY) -m pytest tests/edge/test_probing.py $(ARGS)

ledger: $(VENV)/ready ## Post 1,000,000 times by 64 tills while PostgreSQL crashes; sums must hold (ARGS="--operations N --crashes N --seed N")
	@$(PY) -m tests.faults.ledger $(ARGS)

counter: $(VENV)/ready ## Show copies of 1,000 coupons at 200 scanners while the server is killed; each is redeemed once (ARGS="--scanners N --kills N --mutant unique|where|replay")
	@$(PY) -m tests.faults.counter $(ARGS)

push-faults: $(VENV)/ready ## Push 100,000 over 200 faults of the service; none may be lost (ARGS="--pushes N --faults N --seed N")
	@$(PY) -m tests.push.scenario $(ARGS)

lock: $(VENV)/packages ## Renew requirements.lock (ARGS="--upgrade" for newer versions)
	@uv lock $(ARGS)
	uv export --quiet --no-emit-project --all-extras --all-groups --no-header --no-annotate -o requirements.lock

bench: $(VENV)/ready ## Measure; each bench ends with one JSON line (BENCH=bench/signer.py ARGS="--rounds 9")
	@for bench in $(BENCH); do
	    echo "== $$bench"
	    $(PY) "$$bench" --json $(ARGS)
	done

fuzz: nightly build/tools/bin/cargo-fuzz $(VENV)/ready ## Fuzz the signer's readers, a minute each (SECONDS=n ARGS="bundle cms")
	@export PATH="$(CURDIR)/build/tools/bin:$$PATH"
	$(PY) -m tests.signer.fuzz_seeds build/fuzz
	cargo +nightly fuzz build --fuzz-dir $(FUZZ)
	for target in $(or $(ARGS),$(notdir $(basename $(wildcard $(FUZZ)/fuzz_targets/*.rs)))); do
	    echo "== fuzzing $$target for $(SECONDS) s"
	    cargo +nightly fuzz run --fuzz-dir $(FUZZ) "$$target" "build/fuzz/$$target" -- \
	        -max_total_time=$(SECONDS) -timeout=20 -verbosity=0 -print_final_stats=1
	done

sanitize: nightly ## Run the signer's Rust tests under AddressSanitizer, and the kernel's under Miri
	@if ! cargo +nightly miri --version >/dev/null 2>&1; then
	    echo 'This machine lacks Miri: rustup component add miri rust-src --toolchain nightly' >&2
	    exit 1
	fi
	echo "== AddressSanitizer (not inside aws-lc, which is C)"
	RUSTFLAGS=-Zsanitizer=address RSA_MB_KEYS=2 RSA_MB_MESSAGES=64 cargo +nightly test $(WORKSPACE) --locked --quiet \
	    --profile checked --target "$$(rustc -vV | sed -n 's/^host: //p')" --target-dir build/sanitize -p apns -p pkpass -p rsa_mb
	echo "== Miri (not the choice from the table, whose instruction it does not know, nor the check, which takes it too long)"
	RUSTFLAGS='-Ctarget-feature=+avx512f,+avx512ifma' cargo +nightly miri test $(WORKSPACE) --locked --quiet \
	    --target-dir build/miri -p rsa_mb --lib -- kernel:: --skip every_entry_can_be_chosen --skip the_public_operation

portable: tools ## Check that the signer's crates build for a processor without the kernel (64-bit ARM)
	@missing=()
	[[ -d "$$(rustc --print sysroot)/lib/rustlib/$(ARM)" ]] || missing+=("Rust's library for it (rustup target add $(ARM))")
	command -v aarch64-linux-gnu-gcc >/dev/null || missing+=("a C compiler for it (Debian: apt install gcc-aarch64-linux-gnu libc6-dev-arm64-cross)")
	if (( $${#missing[@]} )); then
	    printf 'This machine lacks: %s\n' "$${missing[@]}" >&2
	    exit 1
	fi
	RUSTFLAGS=-Dwarnings cargo check $(WORKSPACE) --locked --target $(ARM) --target-dir build/portable -p apns -p pkpass -p rsa_mb

mutants: build/tools/bin/cargo-mutants ## Change pkpass in hundreds of ways; its tests must notice 85 % (ARGS="--file crates/…")
	@mkdir -p build/mutants
	rm -rf build/mutants/mutants.out
	# 2 and 3 say that some changes went unnoticed, or ran too long; what counts is how many.
	build/tools/bin/cargo-mutants mutants --dir signer_ext --package pkpass --profile checked --jobs 1 \
	    --output build/mutants --colors never $(or $(ARGS),$(MUTATED:%=--file crates/pkpass/src/%.rs)) || { status=$$?; (( status == 2 || status == 3 )); }
	noticed=$$(cat build/mutants/mutants.out/{caught,timeout}.txt | wc -l)
	all=$$(( noticed + $$(wc -l < build/mutants/mutants.out/missed.txt) ))
	echo "== $$noticed of $$all changes noticed; the others: build/mutants/mutants.out/missed.txt"
	(( all > 0 && 100 * noticed >= 85 * all ))

mutants-python: build/tools/mutmut/ready $(VENV)/ready ## Change redeem, ledger, claims and auth in thousands of ways; the tests must notice 85 % (ARGS="ledger --sample 300")
	@$(PY) -m tests.mutation.run build/tools/mutmut $(ARGS)

wheels: tools $(VENV)/packages server/passmill/v1/__init__.py ## Build the wheels of the server, the client and the till into dist/
	@rm -rf dist
	maturin build --quiet --release --out dist
	$(PY) -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir dist ./clients/python ./clients/pos
	ls dist

clean: ## Remove everything that make made, but what `make dev` keeps in .passmill
	@echo "removing the virtual environment, generated code, builds and caches"
	rm -rf $(VENV) build dist demo uv.lock server/passmill/v1 server/buf server/passmill/_signer*.so \
	    signer_ext/target .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +
	[[ ! -e .passmill ]] || echo "kept: .passmill, the data and the keys of \`make dev\`; \`make distclean\` removes it too"

distclean: ## Remove .passmill too: the data and the keys of `make dev`
	@rm -rf .passmill
	$(MAKE) clean

# ---- what must be on the machine ----

define FIND_PYTHON
python=
for candidate in $${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11; do
    if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        python=$$(command -v "$$candidate"); break
    fi
done
endef

# Names everything that is missing at once, before anything is built. NEEDS: what a target wants besides.
tools:
	@$(FIND_PYTHON)
	missing=()
	[[ -n "$$python" ]] || missing+=("Python 3.11 or later (Debian: apt install python3 python3-venv; macOS: brew install python; set PYTHON to choose one)")
	[[ -z "$$python" ]] || "$$python" -c 'import ensurepip, venv' 2>/dev/null || missing+=("Python's venv module (Debian: apt install python3-venv)")
	command -v cc >/dev/null || missing+=("a C compiler (Debian: apt install gcc libc6-dev; macOS: xcode-select --install)")
	if ! command -v cargo >/dev/null || ! command -v rustc >/dev/null; then
	    missing+=("Rust 1.89 or later, with cargo (https://rustup.rs)")
	elif ! printf '%s\n' 1.89 "$$(rustc --version | cut -d ' ' -f 2)" | sort -V -C; then
	    missing+=("Rust 1.89 or later, found $$(rustc --version | cut -d ' ' -f 2) (rustup update)")
	fi
	for tool in $(NEEDS); do
	    command -v "$$tool" >/dev/null || missing+=("$$tool (Debian: apt install $$tool; macOS: brew install $$tool)")
	done
	if (( $${#missing[@]} )); then
	    printf 'This machine lacks: %s\n' "$${missing[@]}" >&2
	    exit 1
	fi

# Cargo's own tools for a single target of this file: kept in build/, nothing else on the machine changes.
build/tools/bin/cargo-%: | tools
	@echo "== $(@F), into build/tools"
	cargo install --quiet --locked --root build/tools $(@F)

# mutmut runs beside the project's locked packages, which come first. Its version is named because
# tests/mutation reads what it writes.
build/tools/mutmut/ready: $(VENV)/packages
	@echo "== mutmut, into build/tools"
	$(PY) -m pip install --quiet --disable-pip-version-check --upgrade --target $(@D) mutmut==$(MUTMUT)
	touch $@

nightly: tools
	@if ! cargo +nightly --version >/dev/null 2>&1; then
	    echo 'This machine lacks the nightly compiler: rustup toolchain install nightly --profile minimal' >&2
	    exit 1
	fi

# ---- the virtual environment: packages, then generated code, then the extension ----

$(VENV)/ready: $(VENV)/packages $(VENV)/extension server/passmill/v1/__init__.py
	@touch $@

# Hash-locked packages. uv does it in a second; pip does the same where uv has no wheel.
$(VENV)/packages: requirements.lock | tools
	@$(FIND_PYTHON)
	echo "== Virtual environment $(VENV) with $$("$$python" --version)"
	[[ -x $(PY) ]] || "$$python" -m venv $(VENV)
	awk '/^uv==/ { on = 1 } on { print } on && !/\\$$/ { exit }' requirements.lock > $(VENV)/uv.lock
	if [[ -x $(BIN)/uv ]] || $(PY) -m pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes -r $(VENV)/uv.lock; then
	    echo "== $$(grep -c == requirements.lock) locked packages (uv)"
	    uv pip sync --quiet --python $(PY) --require-hashes requirements.lock
	else
	    echo "== $$(grep -c == requirements.lock) locked packages (pip, as uv is not to be had: slower)"
	    $(PY) -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	fi
	touch $@

server/passmill/v1/__init__.py: $(VENV)/packages proto/generate.py $(PROTOS)
	@echo "== Protocol code from proto/"
	$(PY) proto/generate.py code server

# Release profile: an unoptimised signer is no use to anyone, and one profile is one build.
# The client, pure Python beside the server's generated code, is put on the path as it is; the till's
# command is installed, as it stands on the client.
$(VENV)/extension: $(VENV)/packages pyproject.toml clients/pos/pyproject.toml $(RUST)
	@echo "== Native signer (the first build takes a few minutes)"
	if [[ -x $(BIN)/uv ]]; then
	    uv pip install --quiet --python $(PY) --no-deps --no-build-isolation --editable . --editable ./clients/pos
	else
	    $(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable . --editable ./clients/pos
	fi
	echo "$(CURDIR)/clients/python" > "$$($(PY) -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/passmill_client.pth"
	touch $@
