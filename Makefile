# Everything that is done to this tree, by name. A machine with Go and make can run all but lint,
# which fetches its tools.

GOFUMPT      = go run mvdan.cc/gofumpt@v0.12.0
STATICCHECK  = go run honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOLANGCILINT = go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

# The race detector needs a C compiler.
RACE := $(shell cc=$$(go env CC); if [ "$$(go env CGO_ENABLED)" = 1 ] && command -v $${cc%% *} >/dev/null 2>&1; then echo -race; fi)

# For test, e2e: more flags of go test, and a file to keep its whole output in.
TESTFLAGS ?=
TESTLOG   ?= /dev/null
# For fuzz: how long each target runs.
FUZZTIME ?= 30s
# For faults: how many runs, and the seed of the first.
RUNS ?= 20
SEED ?= 1

# Shows of the output of "go test -v" what failed, one line for each package, and what was left out.
define run_tests
@$(if $(RACE),,echo "The race detector is off: it needs cgo and a C compiler.")
@{ go test -v $(RACE) $(TESTFLAGS) $(1) 2>&1; echo "exit status of go test: $$?"; } | tee "$(TESTLOG)" | awk -f .ci/tests.awk
endef

.PHONY: help fmt lint test e2e bench fuzz faults planted

help:
	@echo "make test    every test that this machine can run; says which were left out"
	@echo "make e2e     the tests that run the binary or a whole server"
	@echo "make fuzz    each fuzz target for a while (FUZZTIME=30s)"
	@echo "make faults  three nodes under crashes, cuts and power cuts (root; RUNS=20 SEED=1)"
	@echo "make planted whether the campaign of faults catches bugs planted for it (root; minutes)"
	@echo "make bench   the hot paths, then the table of figures, beside its peers (minutes)"
	@echo "make fmt     format the code"
	@echo "make lint    gofumpt, go vet, staticcheck, golangci-lint, at pinned versions"

fmt:
	$(GOFUMPT) -w .

lint:
	@unformatted=$$($(GOFUMPT) -l .) || exit 1; if [ -n "$$unformatted" ]; then echo "not formatted, see make fmt:"; echo "$$unformatted"; exit 1; fi
	go vet ./...
	$(STATICCHECK) ./...
	$(GOLANGCILINT) run ./...

test:
	$(call run_tests,./...)

e2e:
	$(call run_tests,-count=1 ./e2e/... ./cmd/... ./server/...)

bench:
	go test -run '^$$' -bench . -benchmem ./...
	go run ./cmd/parley bench all

fuzz:
	@grep -r '^func Fuzz' --include='*_test.go' . | sed -E 's|^(.*)/[^/]*:func (Fuzz[A-Za-z0-9_]*).*|\1 \2|' | sort -u | \
	while read -r dir target; do \
		echo "fuzz $$dir $$target"; \
		go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x "$$dir" || exit 1; \
	done

faults:
	go run ./e2e/faults -runs $(RUNS) -seed $(SEED)
	go run ./e2e/faults -minority -runs 3 -seed $(SEED)

planted:
	go run ./e2e/faults -plant all -runs 5 -seed $(SEED)
