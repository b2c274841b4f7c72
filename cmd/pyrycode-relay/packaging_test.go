package main

import (
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"
)

func readRepo(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("../..", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestManifestsSayWhatTheRelayUnderstands: each setting that a manifest gives is a flag's, and all of them together are accepted.
func TestManifestsSayWhatTheRelayUnderstands(t *testing.T) {
	setting := regexp.MustCompile(`(?m)^[^#\n]*?\b(PYRYCODE_RELAY_[A-Z0-9_]+) ?[=:] ?"?([^"\s]*)`)
	more := regexp.MustCompile(`\b(PYRYCODE_RELAY_[A-Z0-9_]+)=(\S+)`) // the others of an Environment= line
	t.Setenv("XDG_CACHE_HOME", t.TempDir())                           // where certificates lie by default: there may be no home, or a cache that is too wide
	for _, name := range []string{"Dockerfile", "compose.yaml", "compose.caddy.yaml", "fly.toml", "docs/deploy/pyrycode-relay.service"} {
		t.Run(name, func(t *testing.T) {
			text := readRepo(t, name)
			given := append(setting.FindAllStringSubmatch(text, -1), more.FindAllStringSubmatch(text, -1)...)
			if len(given) == 0 {
				t.Fatal("no settings")
			}
			known := twins(t)
			for _, s := range given {
				twin, value := s[1], strings.TrimSuffix(s[2], "\\")
				if !slices.Contains(known, twin) && twin != envPrefix+"_FCM_CREDENTIALS" {
					t.Errorf("%s is no flag's twin", twin)
				}
				switch {
				case twin == envPrefix+"_DOMAIN":
					value = "relay.example.com"
				case twin == envPrefix+"_CERT_CACHE":
					value = t.TempDir()
				case strings.HasPrefix(value, "${"), twin == envPrefix+"_PRODUCTION": // that looks at who runs this
					continue
				}
				t.Setenv(twin, value)
			}
			var f flags
			if err := parse(&f, nil, "test", "", kong.Vars{"version": ""}); err != nil {
				t.Error(err)
			}
		})
	}
}

// twins are the environment twins of all flags.
func twins(t *testing.T) (names []string) {
	t.Helper()
	var f flags
	for _, flag := range kong.Must(&f, kong.Vars{"version": ""}, kong.DefaultEnvars(envPrefix)).Model.Flags {
		names = append(names, flag.Envs...)
	}
	return names
}

// instruction is one of a Dockerfile.
type instruction struct{ name, args string }

// stages reads a Dockerfile as far as ours goes: stages of instructions, with lines that go on.
func stages(text string) (stages [][]instruction) {
	text = regexp.MustCompile(`(?m)^#.*\n`).ReplaceAllString(text, "")
	for line := range strings.Lines(strings.ReplaceAll(text, "\\\n", " ")) {
		name, args, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name == "FROM" {
			stages = append(stages, nil)
		}
		if name != "" {
			last := len(stages) - 1
			stages[last] = append(stages[last], instruction{name, args})
		}
	}
	return stages
}

// TestImageIsTheBinaryAlone: from scratch, with a numeric user that is not root, and no step that would need a shell.
func TestImageIsTheBinaryAlone(t *testing.T) {
	all := stages(readRepo(t, "Dockerfile"))
	image := map[string]string{}
	for _, i := range all[len(all)-1] {
		image[i.name] += i.args + "\n"
	}
	for name, want := range map[string]string{
		"FROM": `^scratch\n$`, "USER": `^[1-9]\d*:[1-9]\d*\n$`, "ENTRYPOINT": `^\["/pyrycode-relay"\]\n$`,
		"HEALTHCHECK": `CMD \["/pyrycode-relay", "healthcheck"\]\n$`, "RUN": `^$`, "ADD": `^$`,
	} {
		if !regexp.MustCompile(want).MatchString(image[name]) {
			t.Errorf("%s %q: want %s", name, image[name], want)
		}
	}
	if from := all[0][0].args; !regexp.MustCompile(` golang:1\.\d+\.\d+-\w+ AS build$`).MatchString(from) {
		t.Errorf("FROM %s: want an image of one Go version", from)
	}
}

// TestImageIsBuiltStatic runs the build of the Dockerfile in a clean clone, outside a container.
func TestImageIsBuiltStatic(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("reads ELF")
	}
	src, root := filepath.Join(t.TempDir(), "src"), t.TempDir()
	if out, err := exec.Command("git", "clone", "-q", "--no-hardlinks", "../..", src).CombinedOutput(); err != nil {
		t.Skipf("no clone of git's to build from: %s", out)
	}
	for _, i := range stages(readRepo(t, "Dockerfile"))[0] {
		if i.name != "RUN" || strings.Contains(i.args, "go mod download") { // go test has the modules
			continue
		}
		step := strings.NewReplacer(" /pyrycode-relay", " "+root+"/pyrycode-relay", " /state", " "+root+"/state").Replace(i.args)
		cmd := exec.Command("sh", "-e", "-c", step)
		cmd.Dir = src
		cmd.Env = append(os.Environ(), "TARGETOS=linux", "TARGETARCH="+runtime.GOARCH)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("RUN %s: %v\n%s", step, err, out)
		}
	}
	bin := filepath.Join(root, "pyrycode-relay")
	f, err := elf.Open(bin)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("not static: it has a %s", p.Type)
		}
	}
	commit, err := exec.Command("git", "-C", src, "rev-parse", "HEAD").Output()
	if err != nil {
		t.Fatal(err)
	}
	version, err := exec.Command(bin, "--version").Output()
	if err != nil || !strings.Contains(string(version), "("+strings.TrimSpace(string(commit))+", 2") {
		t.Errorf("--version says %q (%v), want commit %s and its date", version, err, commit)
	}
	if info, err := os.Stat(filepath.Join(root, "state/pyrycode-relay")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the place for certificates: %v %v, want mode 0700", info, err)
	}
}

// TestUnitGivesTheShutdownItsTime and is hardened in the ways that matter most; `systemd-analyze security` knows more.
func TestUnitGivesTheShutdownItsTime(t *testing.T) {
	unit := readRepo(t, "docs/deploy/pyrycode-relay.service")
	for _, line := range []string{
		"Type=notify", "WatchdogSec=30s", "TimeoutStopSec=30s", "DynamicUser=yes", "NoNewPrivileges=yes", "CapabilityBoundingSet=",
		"ProtectSystem=strict", "StateDirectoryMode=0700",
	} {
		if !slices.Contains(strings.Split(unit, "\n"), line) {
			t.Errorf("no line %s", line)
		}
	}
	for _, name := range []string{"https", "http"} {
		if s := readRepo(t, "docs/deploy/pyrycode-relay-"+name+".socket"); !strings.Contains(s, "\nFileDescriptorName="+name+"\n") {
			t.Errorf("the socket of %s has another name", name)
		}
	}
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("no systemd-analyze to verify the units with")
	}
	var version int
	said, _ := exec.Command(analyze, "--version").Output()
	if _, err := fmt.Sscanf(string(said), "systemd %d", &version); err != nil || version < 247 { // of the newest setting, ProtectProc=
		t.Skipf("systemd-analyze does not know every setting: %s", said)
	}
	dir := t.TempDir()
	files := []string{"verify"}
	for _, name := range []string{"pyrycode-relay.service", "pyrycode-relay-https.socket", "pyrycode-relay-http.socket"} {
		file := filepath.Join(dir, name)
		text := strings.Replace(readRepo(t, "docs/deploy/"+name), "/usr/local/bin/pyrycode-relay", "/bin/true", 1)
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	out, err := exec.Command(analyze, files...).CombinedOutput()
	t.Logf("systemd-analyze verify: %v\n%s", err, out)
	for line := range strings.Lines(string(out)) { // it complains of this machine's other units, too, and where there is no systemd to ask
		if strings.Contains(line, "pyrycode-relay") {
			t.Error(line)
		}
	}
}

// TestComposeFilesAreCompose: each key is one of Compose's, so that a misspelt limit is no limit that is missing; and the relay is
// confined in each.
func TestComposeFilesAreCompose(t *testing.T) {
	token := regexp.MustCompile(`PYRYCODE_RELAY_ADMIN_TOKEN_FILE=(\S+)`).FindStringSubmatch(readRepo(t, "Dockerfile"))
	for _, name := range []string{"compose.yaml", "compose.caddy.yaml"} {
		var file struct {
			Services map[string]struct {
				Build, Image, Restart string
				Network               string `yaml:"network_mode"`
				Ports, Volumes, Tmpfs []string
				Environment           map[string]string
				DependsOn             []string `yaml:"depends_on"`
				ReadOnly              bool     `yaml:"read_only"`
				CapDrop               []string `yaml:"cap_drop"`
				CapAdd                []string `yaml:"cap_add"`
				SecurityOpt           []string `yaml:"security_opt"`
				MemLimit              string   `yaml:"mem_limit"`
				PIDs                  int      `yaml:"pids_limit"`
				Ulimits               map[string]int
				StopGrace             string `yaml:"stop_grace_period"`
			}
			Volumes map[string]struct{}
		}
		d := yaml.NewDecoder(strings.NewReader(readRepo(t, name)))
		d.KnownFields(true)
		if err := d.Decode(&file); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		relay := file.Services["relay"]
		if !relay.ReadOnly || !slices.Equal(relay.CapDrop, []string{"ALL"}) || relay.MemLimit == "" || relay.PIDs == 0 || relay.Ulimits["nofile"] == 0 || relay.StopGrace == "" {
			t.Errorf("%s: the relay is not confined: %+v", name, relay)
		}
		mounts := strings.Join(append(relay.Volumes, relay.Tmpfs...), ":") + ":"
		if !strings.Contains(mounts, filepath.Dir(token[1])+":") {
			t.Errorf("%s: there is no place for %s", name, token[1])
		}
		for _, service := range file.Services {
			for _, v := range service.Volumes {
				if from, _, _ := strings.Cut(v, ":"); !strings.HasPrefix(from, "./") {
					if _, ok := file.Volumes[from]; !ok {
						t.Errorf("%s: no volume %q", name, from)
					}
				}
			}
		}
	}
}
