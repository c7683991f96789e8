# What people and CI run. Each target does all that it needs; `make setup` alone only prepares.

.PHONY: setup test lint image

## The parts that tests run against: a Kubernetes control plane (first build: some minutes) and an authorization server.
setup:
	tests/setup

## Everything.
test: setup
	cargo test

lint:
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --no-deps --quiet

## The container image, built without a container engine: target/image/emailasset-operator.tar. A first build takes about ten minutes.
image:
	deploy/image
