GO ?= go
GOLANGCI = github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
ESBUILD = github.com/evanw/esbuild/cmd/esbuild@v0.28.2

CYCLONEDX = github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0
GOVULNCHECK = golang.org/x/vuln/cmd/govulncheck@v1.9.0
TARGETS = linux-amd64 linux-arm64 darwin-arm64

.PHONY: run test soak bench mutants stories fuzz lint staticcheck vuln build release echarts

# A relay on loopback, plain HTTP. FLAGS='--grace 5s' passes flags on.
run: build
	@bin/pyrycode-relay $(FLAGS)

# The commit is stamped in where this is a checkout that git trusts, so that a running relay can always be named.
build:
	@$(GO) build -buildvcs=auto -o bin/ ./cmd/... 2>/dev/null || $(GO) build -buildvcs=false -o bin/ ./cmd/...

# Their time limit is for what hangs: on two busy cores some packages take minutes.
test:
	$(GO) vet ./...
	$(GO) test -race -timeout 30m ./...

# The long versions of the tests: some minutes.
soak:
	SOAK=1 $(GO) test -race -timeout 60m -count=1 ./...

# The figures of docs/performance.md: some minutes, on a machine that does nothing else.
bench:
	$(GO) test -run '^$$' -bench . -benchmem ./actors/... ./transport
	$(GO) test -run '^$$' -bench . -benchtime 1x -timeout 30m ./transport/measure

# Each patch under testdata is a plausible mistake; its tests must see it.
mutants:
	$(GO) test -tags mutants -run TestMutants -count=1 -timeout 2h -v ./actors/

# Renews what the stories expect. Read the diff as you would read code.
stories:
	$(GO) test ./actors/slots -run 'TestStories|TestDiagrams' -rewrite
	$(GO) test ./cmd/claimstorm/report -run TestTold -rewrite

# Makes the plotting library of claimstorm's report anew, from the packages that its lock file names. It needs npm.
ECHARTS = cmd/claimstorm/report/echarts
echarts:
	npm ci --prefix $(ECHARTS) --ignore-scripts
	$(GO) run $(ESBUILD) $(ECHARTS)/parts.js --bundle --minify --format=iife --global-name=echarts --target=es2020 \
		--legal-comments=inline --outfile=$(ECHARTS)/echarts.min.js
	cd $(ECHARTS)/node_modules && cat echarts/NOTICE echarts/LICENSE echarts/licenses/LICENSE-d3 zrender/LICENSE >../LICENSE
	rm -r $(ECHARTS)/node_modules

# Inputs for each target, in thousands: some seconds of each. By count, since Go 1.26 may take the end of a -fuzztime for a
# finding (go.dev/issue/75804).
FUZZ ?= 25
fuzz:
	for target in transport:Frames transport:Gate transport:Forwarded actors/replay:Run actors:Envelope actors/envelope:Frame actors/envelope:Parse; do \
		$(GO) test ./$${target%:*} -run '^$$' -fuzz "^Fuzz$${target#*:}$$" -fuzztime $(FUZZ)000x -fuzzminimizetime 1s || exit; \
	done

lint:
	GOTOOLCHAIN=local $(GO) run $(GOLANGCI) run

# Of golangci-lint's checks those of staticcheck alone; `make lint` has them too.
staticcheck:
	GOTOOLCHAIN=local $(GO) run $(GOLANGCI) run --enable-only staticcheck

# Known holes in what the relay calls. Needs the database at vuln.go.dev, or a copy of it: VULNDB=file:///path.
VULNDB ?= https://vuln.go.dev
vuln:
	$(GO) run $(GOVULNCHECK) -db $(VULNDB) ./...

# Static binaries with their checksums and what they are made of, in dist/. Equal commits and Go versions give equal bytes.
release: $(TARGETS:%=dist/pyrycode-relay-%) $(TARGETS:%=dist/pyrycode-relay-%.cdx.json)
	cd dist && { command -v sha256sum >/dev/null && sha256sum pyrycode-relay-* || shasum -a 256 pyrycode-relay-*; } >SHA256SUMS

# Each release is built anew: only the Go toolchain knows whether the commit is another one.
.PHONY: $(TARGETS:%=dist/pyrycode-relay-%) $(TARGETS:%=dist/pyrycode-relay-%.cdx.json)
RELEASE = CGO_ENABLED=0 GOFLAGS= GOOS=$(word 1,$(subst -, ,$*)) GOARCH=$(word 2,$(subst -, ,$*)) GOAMD64=v1 GOARM64=v8.0

$(TARGETS:%=dist/pyrycode-relay-%): dist/pyrycode-relay-%:
	$(RELEASE) $(GO) build -trimpath -buildvcs=true -ldflags='-s -w' -o $@ ./cmd/pyrycode-relay

$(TARGETS:%=dist/pyrycode-relay-%.cdx.json): dist/pyrycode-relay-%.cdx.json: dist/pyrycode-relay-%
	$(GO) run $(CYCLONEDX) bin -json -noserial -notimestamp -output $@ $<
