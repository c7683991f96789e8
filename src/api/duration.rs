//! Durations as people write them in Kubernetes.
