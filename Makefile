# Shortcuts only: what a target does is one command that also works by hand.
.DEFAULT_GOAL := help
.PHONY: help tools wasm test chaos demo check explain bench fuzz lint fmt clean

CHAOS := cargo run --profile native -p velocitygate-chaos --bin chaos --

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-7s %s\n", $$1, $$2 }' Makefile

tools: ## Put Envoy, Toxiproxy, Redis and the wasm target in place (.tools/, tools/versions.env)
	@python3 -B tools/install.py

wasm: tools ## Build target/wasm32-wasip1/release/velocitygate.wasm
	cargo build --release --target wasm32-wasip1 -p velocitygate

test: tools wasm ## Run every test: installer, docker-compose.yml, filter, chaos runner
	python3 -B -m unittest discover -s tools
	cd tools/compose && go test -count=1 ./...
	cargo test --workspace

chaos: tools wasm ## Break Redis under load and judge what was measured (SCENARIO=a,b)
	$(CHAOS) run $(if $(SCENARIO),--scenario $(SCENARIO)) $(if $(STACK),--stack $(STACK))

demo: tools wasm ## Start the stack and print three curl lines to try; Ctrl-C stops it
	$(CHAOS) demo

check: ## Check configurations without an Envoy (CONFIG=file...; STRICT=1 lets warnings count)
	$(CHAOS) check $(if $(STRICT),--strict) $(or $(CONFIG),$(wildcard envoy/*.yaml envoy/*/*.yaml))

explain: ## Say what a configuration makes of a request (CONFIG=file REQUEST="[--header 'n: v'] URL")
	$(CHAOS) explain $(or $(CONFIG),envoy/envoy.yaml) $(or $(REQUEST),http://localhost/)

bench: wasm ## Measure the filter beside its peers and judge the ratios (PEER=a,b ROUNDS=5 SECONDS=5)
	@python3 -B tools/install.py --bench
	$(CHAOS) bench $(if $(PEER),--peer $(PEER)) $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(SECONDS),--seconds $(SECONDS))

fuzz: wasm ## Feed random input to all parsers, the engine and the module (FUZZ_SECONDS=30 for each of 11)
	FUZZ_SECONDS=$(or $(FUZZ_SECONDS),30) cargo test --profile fuzz -p velocitygate --test fuzz -- --test-threads=1 --nocapture

lint: ## Check formatting, clippy (native and wasm) and documentation links
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo clippy --target wasm32-wasip1 -p velocitygate -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --lib

fmt: ## Format the Rust and Go code
	cargo fmt --all
	gofmt -l -w tools/compose

clean: ## Remove what was built and installed here; reports stay
	cargo clean
	rm -rf .tools
