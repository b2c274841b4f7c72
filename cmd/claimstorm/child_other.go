//go:build !linux

package main

import "syscall"

// childsAttr is for a relay that is ours to end. It stays in our group, as nothing else ends it here when we are killed: the Ctrl-C
// that ends a run early ends the relay, too.
func childsAttr() *syscall.SysProcAttr { return nil }
