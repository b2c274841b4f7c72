// Command pyrycode-relay is the relay: binaries claim their server-ids here (docs/protocol.md).
package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"github.com/alecthomas/kong"

	"github.com/pyrycode/pyrycode-relay/transport"
	"github.com/pyrycode/pyrycode-relay/transport/admin"
)

const (
	exitFailure = 1 // a failure while running
	exitConfig  = 2 // flags or environment that make no sense
)

func main() { os.Exit(run(os.Args[1:])) }

// commands are what may stand in place of the relay's flags: each is given what follows its name, and gives the exit code.
var commands = map[string]func(args []string) int{
	"claims": runClaims, "slots": runSlots, "release": runRelease, "replay": runReplay,
}

func run(args []string) int {
	if err := dropEmptyTwins(); err != nil {
		return fail(exitFailure, err)
	}
	if len(args) > 0 && commands[args[0]] != nil {
		return commands[args[0]](args[1:])
	}
	return relay(args)
}

// relay runs the relay.
func relay(args []string) int {
	var f flags
	build := readBuild()
	err := parse(&f, args, "pyrycode-relay",
		"A relay for pyry binaries: the first claim of a server-id wins, and nobody is locked out by his own dead past self.\n\n"+
			"Commands in place of flags, each with its own --help: claims and slots show what a running relay decides and who holds what, "+
			"release throws a holder out, replay handles a --record again, healthcheck asks how the relay is.\n\n"+
			"Without flags it serves plain HTTP on loopback, to try it. Every flag has an environment twin: --probe-timeout is "+
			envPrefix+"_PROBE_TIMEOUT; the flag beats its twin.",
		kong.Vars{"version": fmt.Sprintf("%s (%s, %s)", build.Version, build.Commit, build.Built)})
	if err != nil {
		return fail(exitConfig, err)
	}
	inherited, err := inherit()
	if err == nil {
		err = f.takeSockets(inherited)
	}
	if err != nil {
		return fail(exitConfig, err)
	}
	cfg := f.config()
	if cfg.AliveEvery, err = watchdog(); err != nil {
		return fail(exitConfig, err)
	}
	service := manager{cfg.Log}
	if cfg.AliveEvery > 0 {
		cfg.Alive = service.alive
	}
	if cfg.MaxConnections == 0 {
		cfg.MaxConnections = connectionsByDescriptors()
	}
	if limit := memoryLimit(); cfg.MaxQueuedBytes == 0 {
		cfg.MaxQueuedBytes = limit / 4
	}
	cfg.Build = build
	var tokenFile string
	cfg.AdminToken = func() (token string) {
		token, tokenFile = leaveToken(&f, cfg)
		return token
	}
	cfg.Started = func(l, admin net.Addr) {
		announce(cfg, l, admin, tokenFile)
		service.ready()
	}
	err = serve(cfg, service)
	if tokenFile != "" {
		_ = os.Remove(tokenFile)
	}
	if err != nil {
		return fail(exitFailure, err)
	}
	return 0
}

// leaveToken leaves the admin token in its file. Where that cannot be, nobody can release a slot, and all else goes on.
func leaveToken(f *flags, cfg transport.Config) (token, file string) {
	file, err := f.tokenFile()
	if err == nil {
		token, err = admin.NewToken(file)
	}
	if err != nil {
		cfg.Log.Warn("admin_token_missing", "error", err.Error())
		return "", ""
	}
	return token, file
}

// parse reads args and the environment into the flags that are the fields of into, and has them validated.
func parse(into any, args []string, name, description string, more ...kong.Option) error {
	parser := kong.Must(into, append(more,
		kong.Name(name),
		kong.Description(description),
		kong.DefaultEnvars(envPrefix),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.ValueFormatter(func(v *kong.Value) string { return v.Help }), // the twins follow from one rule, said in the help
	)...)
	if _, err := parser.Parse(args); err != nil {
		return errors.New(strings.TrimPrefix(err.Error(), name+": ")) // kong puts it before a Validate error: ours name the flag
	}
	return nil
}

func fail(code int, err error) int {
	fmt.Fprintf(os.Stderr, "pyrycode-relay: %v\n", err)
	return code
}

// dropEmptyTwins makes an empty environment twin an absent one: that is what compose files and unit files write for "not set".
func dropEmptyTwins() error {
	for _, kv := range os.Environ() {
		if name, value, _ := strings.Cut(kv, "="); value == "" && strings.HasPrefix(name, envPrefix+"_") {
			if err := os.Unsetenv(name); err != nil {
				return fmt.Errorf("drop the empty %s: %w", name, err)
			}
		}
	}
	return nil
}

const (
	// stopSlack is what a shutdown may take beside its two flags, for what is cut at their end.
	stopSlack = 10 * time.Second
	// atOnce is what the end may take after a second signal.
	atOnce = time.Second
)

var errSecondSignal = errors.New("a second signal: ended at once")

// serve runs until a first SIGTERM or SIGINT, and then until everything is closed or a second one comes.
func serve(cfg transport.Config, service manager) error {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(signals)
	ctx, stop := context.WithCancelCause(context.Background())
	defer stop(nil)
	cut, cutNow := context.WithCancelCause(context.Background())
	defer cutNow(nil)
	go func() { // ends with the process: a signal may come at any time
		s := <-signals
		service.stopping(cfg.DrainSpread + cfg.DrainTimeout + stopSlack)
		stop(errors.New(s.String()))
		<-signals
		cutNow(errSecondSignal)
		<-time.After(atOnce)
		os.Exit(exitFailure) // whatever hangs: perhaps nobody reads the log
	}()
	return transport.Run(ctx, cut, cfg)
}

// announce says where the relay listens, and what to try.
func announce(cfg transport.Config, l, admin net.Addr, tokenFile string) {
	if cfg.Listen == "" {
		fmt.Printf("pyrycode-relay listens on https://%s\n", l)
	} else {
		fmt.Printf("pyrycode-relay listens on http://%s\n", l)
	}
	if admin != nil {
		fmt.Printf("its pages are at    http://%s/\n", admin)
	}
	if tokenFile != "" {
		fmt.Printf("its admin token:    %s\n", tokenFile)
	}
	if cfg.Listen != "" {
		fmt.Printf("try: go run ./cmd/claimstorm claim --id home --url ws://%s\n", l)
	}
}

// readBuild names the program by what the Go toolchain stamped into it.
func readBuild() transport.Build {
	b := transport.Build{Version: "devel", Commit: "unknown", Built: "unknown"}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		b.Version = v
	}
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			b.Commit = s.Value
		case s.Key == "vcs.time":
			b.Built = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			b.Commit += "+modified"
		}
	}
	return b
}

// spareDescriptors are kept for what is not a connection: listeners, epoll, admin requests, files.
const spareDescriptors = 64

// connectionsByDescriptors raises the soft descriptor limit to the hard one, and says how many connections that allows.
func connectionsByDescriptors() int {
	var lim syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil {
		return 1000
	}
	if lim.Cur < lim.Max {
		raised := syscall.Rlimit{Cur: lim.Max, Max: lim.Max}
		if syscall.Setrlimit(syscall.RLIMIT_NOFILE, &raised) == nil {
			lim = raised
		}
	}
	const most = 1 << 20 // an unlimited machine still has only so much memory
	return transport.ConnectionsFor(int(min(lim.Cur, most)) - spareDescriptors)
}

// memoryLimit is what this process may use, in bytes: what GOMEMLIMIT says, or nine tenths of the least of its control groups and
// what the machine has. From here on the garbage collector keeps to it.
func memoryLimit() int64 {
	const unknown = 1 << 30
	limit, err := memlimit.Set(memlimit.WithProvider(func() (uint64, error) {
		group, err := memlimit.FromCgroup()
		machine, merr := memlimit.FromSystem()
		if err != nil {
			return machine, merr
		}
		if merr != nil {
			return group, nil
		}
		return min(group, machine), nil
	}))
	if err != nil || limit == math.MaxInt64 {
		return unknown
	}
	return limit
}
