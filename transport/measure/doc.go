// Package measure holds the whole-process measurements of docs/performance.md, as benchmarks: a relay, and beside it in the
// same run a plain server on the same WebSocket library, each in a process of its own, driven over loopback from this one.
// Everything is in its test files; run it by make bench, and its one long test by make soak.
package measure
