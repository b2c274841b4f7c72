GO ?= go
GOLANGCI = github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
ESBUILD = github.com/evanw/esbuild/cmd/esbuild@v0.28.2

.PHONY: run test soak bench mutants stories fuzz lint build echarts

# A relay on loopback, plain HTTP. FLAGS='--grace 5s' passes flags on.
run: build
	@bin/pyrycode-relay $(FLAGS)

# The commit is stamped in where this is a checkout that git trusts, so that a running relay can always be named.
build:
	@$(GO) build -buildvcs=auto -o bin/ ./cmd/... 2>/dev/null || $(GO) build -buildvcs=false -o bin/ ./cmd/...

test:
	$(GO) vet ./...
	$(GO) test -race ./...

# The long versions of the tests: some minutes.
soak:
	SOAK=1 $(GO) test -race -timeout 60m -count=1 ./...

# The figures of docs/performance.md: some minutes, on a machine that does nothing else.
bench:
	$(GO) test -run '^$$' -bench . -benchmem ./actors/... ./transport
	$(GO) test -run '^$$' -bench . -benchtime 1x -timeout 30m ./transport/measure

# Each patch under testdata is a plausible mistake; its tests must see it.
mutants:
	$(GO) test -tags mutants -run TestMutants -count=1 -timeout 30m -v ./actors/

# Renews what the stories expect. Read the diff as you would read code.
stories:
	$(GO) test ./actors/slots -run 'TestStories|TestDiagrams' -rewrite

# Makes the plotting library of claimstorm's report anew, from the packages that its lock file names. It needs npm.
ECHARTS = cmd/claimstorm/report/echarts
echarts:
	npm ci --prefix $(ECHARTS) --ignore-scripts
	$(GO) run $(ESBUILD) $(ECHARTS)/parts.js --bundle --minify --format=iife --global-name=echarts --target=es2020 \
		--legal-comments=inline --outfile=$(ECHARTS)/echarts.min.js
	cd $(ECHARTS)/node_modules && cat echarts/NOTICE echarts/LICENSE echarts/licenses/LICENSE-d3 zrender/LICENSE >../LICENSE
	rm -r $(ECHARTS)/node_modules

FUZZTIME ?= 20s
fuzz:
	$(GO) test ./transport -run '^$$' -fuzz '^FuzzFrames$$' -fuzztime $(FUZZTIME)
	$(GO) test ./transport -run '^$$' -fuzz '^FuzzGate$$' -fuzztime $(FUZZTIME)
	$(GO) test ./actors -run '^$$' -fuzz '^FuzzEnvelope$$' -fuzztime $(FUZZTIME)
	$(GO) test ./actors/envelope -run '^$$' -fuzz '^FuzzFrame$$' -fuzztime $(FUZZTIME)
	$(GO) test ./actors/envelope -run '^$$' -fuzz '^FuzzParse$$' -fuzztime $(FUZZTIME)

lint:
	GOTOOLCHAIN=local $(GO) run $(GOLANGCI) run
