# What people and CI run. Each target does all that it needs. `make help` lists them.

.DEFAULT_GOAL := help
.PHONY: help demo demo-stop setup test test-servers bench soak lint crds image

help: ## Says what there is.
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## Shows the operator at work, in about two minutes. KEEP=1 leaves it running; KUBECONFIG=... uses your cluster.
	@if [ -n "$$KUBECONFIG" ] && command -v kubectl >/dev/null; then tests/setup authorization-server; else tests/setup; fi
	@cargo build --example demo --bins
	@cargo run --quiet --example demo

demo-stop: ## Ends what `make demo KEEP=1` left running.
	@cargo run --quiet --example demo -- stop

setup: ## Gets what tests run against: a Kubernetes control plane (first build: some minutes) and an authorization server.
	tests/setup

# Most tests wait for servers most of the time: more of them than processors run side by side.
test: setup ## Runs all tests.
	RUST_TEST_THREADS=$${RUST_TEST_THREADS:-6} cargo test

test-servers: setup ## Runs the operator against Keycloak and glewlwyd, in about five minutes (the first time 160 MB come from Maven Central, see tests/servers/get).
	tests/servers/get keycloak
	tests/servers/get glewlwyd
	cargo test --test e2e -- --ignored servers:: --test-threads 8

bench: setup ## Measures rates, CPU time and memory of a release build and writes them to docs/measurements.md, in about an hour. ROUNDS=1 COUNTS=1000 is quicker.
	cargo bench --bench figures

soak: setup ## Runs the long proofs with full counts and writes their tables to docs/measurements.md, in about an hour.
	EMAILASSET_SOAK=1 cargo test --release --test model -- --nocapture
	EMAILASSET_SOAK=1 cargo test --release --lib -- --nocapture explain::fuzz
	EMAILASSET_SOAK=1 EMAILASSET_ROUNDS=200 EMAILASSET_REPLICA_ROUNDS=100 cargo test --test e2e -- --nocapture crash:: replicas:: signin::walk::from_consent signin::waiting
	EMAILASSET_SOAK=1 cargo test --test e2e -- --nocapture signin::flood

lint: ## Checks format and style.
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --no-deps --quiet

crds: ## Writes crds/ anew from the code; a test fails while the two differ.
	UPDATE_CRDS=1 cargo test --quiet --lib crds_directory

image: ## Builds the container image without a container engine: target/image/emailasset-operator.tar (first build: ten minutes).
	deploy/image
