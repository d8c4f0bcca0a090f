# Every target is short; CI calls nothing that is not here.
export CGO_ENABLED ?= 0
GO ?= go
FUZZTIME ?= 60s
LINT = $(GO) tool -modfile=tools/go.mod golangci-lint

.PHONY: run build test race check lint e2e bench peers fuzz pages generate web callables clean

run: ## build and start the platform on embedded defaults
	$(GO) build -o bin/warden ./cmd/warden
	./bin/warden serve

build: ## build the program into bin/
	$(GO) build -trimpath -ldflags "-s -w" -o bin/warden ./cmd/warden

test: ## all tests that need no outside service and no C compiler
	$(GO) test -timeout 10m ./...

race: ## the same with the race detector; needs a C compiler
	CGO_ENABLED=1 $(GO) test -race -timeout 20m ./...

lint: ## vet and linters
	$(GO) vet -tags e2e ./...
	$(LINT) run

check: build lint test ## before every push
	git diff --exit-code -- docs README.md web/dist

e2e: ## the real binary, and a browser where one is installed
	$(GO) test -tags e2e -timeout 15m -count 1 ./e2e/...

bench: ## benchmarks and quality runs; see docs/BENCHMARKS.md
	$(GO) test -run '^$$' -bench . -benchtime 1s ./internal/... ./scan | tee bench/latest.txt
	$(GO) run ./bench -binary "$$($(GO) build -o bin/warden ./cmd/warden && pwd)/bin/warden" -corpus ../shared/data/artifacts
	$(GO) run ./bench/gateway -binary bin/warden
	$(GO) run ./bench/inventory -binary bin/warden

peers: ## other scanners on the same corpus; PEERS="picklescan=FOLDER modelscan=FOLDER fickling=FOLDER" names their checkouts
	$(GO) build -o bin/warden ./cmd/warden
	python3 bench/peers.py bin/warden ../shared/data/artifacts $(PEERS)

fuzz: ## every fuzz target for FUZZTIME, one after another
	@for t in $$(grep -rlE '^func Fuzz' --include='*_test.go' . | grep -v node_modules); do \
	  for f in $$(grep -oE '^func Fuzz[A-Za-z0-9]*' $$t | cut -c6-); do \
	    case $$t in *format/pickle/*|*zipfile*|*hdf5*|*onnx*) d=$${FUZZLONG:-5m};; *) d=$(FUZZTIME);; esac; \
	    echo "== $$t $$f $$d"; $(GO) test ./$$(dirname $$t) -run '^$$' -fuzz "^$$f\$$" -fuzztime $$d -fuzzminimizetime 10x || exit 1; done; done

pages: ## rule pages, command pages and README table; Go is enough
	$(GO) test ./internal/arch -run 'TestReadmeTable|TestRulePages|TestCommandPages' -update

generate: pages ## the same, API description, then types and console from it; needs Node.js and npm
	$(GO) test ./internal/api -run TestOpenAPIIsCurrent -update
	$(MAKE) web

web: ## rebuild the console; needs Node.js and npm
	cd web && npm ci --no-audit --no-fund && npm run build

callables: ## the table of callables, from source trees in TREES; see tools/callables/README.md
	$(GO) -C tools/callables run . -trees $(TREES)

clean:
	rm -rf bin
