package main

import "syscall"

// childsAttr is for a relay that is ours to end. A Ctrl-C is for us alone: the relay ends when the run has been told. Where we are
// killed before that, by a second one or otherwise, the system kills the relay. (It goes by the thread that started the relay, and Go
// ends no thread that nobody has locked.)
func childsAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
