# Builds, tests and shows Cloakroom. Needs Go, make and a shell; the set-up
# scripts in deploy/setup see to the rest, without installing anything.

.DEFAULT_GOAL := help
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory
SHELL := /bin/sh

# Go may be installed without being on the PATH.
ifeq ($(shell command -v go 2>/dev/null),)
export PATH := $(PATH):/usr/local/go/bin
endif
ifeq ($(shell command -v go 2>/dev/null),)
$(error Go is not on the PATH and not in /usr/local/go: install it from https://go.dev/dl/)
endif

# The release that this is, where a tag says so; else the binary tells its commit.
VERSION := $(shell git describe --tags --dirty 2>/dev/null)
# The binary tells its commit where git can; a checkout that git refuses to look
# at (another owner's) can be built all the same.
BUILDVCS := $(if $(shell git rev-parse HEAD 2>/dev/null),auto,false)
ifeq ($(BUILDVCS),false)
export GOFLAGS := $(GOFLAGS) -buildvcs=false
endif
BUILD := go build -trimpath -buildvcs=$(BUILDVCS) -ldflags "-s -w$(if $(VERSION), -X main.version=$(VERSION))"

# Without cgo, as what is released: one compilation serves checks, tests and the
# program. The race detector alone needs it.
export CGO_ENABLED := 0

# Tests run in the folders of their packages.
ifdef CORPUS
override CORPUS := $(abspath $(CORPUS))
export CORPUS
endif

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2

# Each package and fuzz target that "make fuzz" gives FUZZTIME.
FUZZTIME ?= 8s
FUZZ     ?= ./message:FuzzScanner ./message:FuzzParseValue ./milter:FuzzPackets

# Tests of the flow that tell what became of CORPUS.
CORPUS_TESTS := ^TestCorpus(With|Is)

# Packages whose tests wait the longest: the first to begin, others compute beside them,
# and a third takes the turn of whoever waits.
WAITING := ./vault/sftp ./vault/ftps ./internal/testserver ./internal/app

# Packages whose code runs in several goroutines.
RACE ?= ./admin ./milter ./flow ./ledger ./policy/directory ./sisa/... ./vault ./internal/app ./internal/db ./internal/jobs ./internal/spool ./internal/submit

# Tests in them that take much through one goroutine, or through a browser: slow under the
# race detector, which has nothing to find in them that the others have not.
RACELESS ?= Corpus|BentMessages|DifficultMessages|Browser|ScreenReaders|LittleMemory|LargeFiles|LargeLists|FindsWhatIsMissing|TakesTheSameTime|TakeTheSameTime|ABackup|Backups|Rebuil|ARestore|Restored|HeldInBoundedMemory|DecidedInBounded|DoesNotSlowDown|ProgressIsTold|OnlyWhoIsKnown

.PHONY: help build deb test demo setup lint fmt unit corpus race fuzz e2e torture torture-vault bench bench-store clean test-plan demo-plan

help: ## Print this
	@echo "make TARGET, where TARGET is one of:"
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "CORPUS=DIR   real messages for the corpus tests; CI=true makes their absence an error"
	@echo "KEEP=1       \"make demo\" stays up for mail of your own"
	@echo "FUZZTIME=8s  time for each fuzz target"

build: ## Build bin/cloakroom
	@$(BUILD) -o bin/cloakroom ./cmd/cloakroom
	@echo "built bin/cloakroom"

deb: build ## Build the Debian package into bin
	@file=$$(VERSION="$(VERSION)" ./deploy/packaging/build.sh bin/cloakroom bin) && echo "built $${file#$(CURDIR)/}"

demo: demo-plan build ## Show Cloakroom with a private Postfix, a private OpenSSH and real mail
	@./deploy/setup/postfix.sh
	@./deploy/setup/openssh.sh
	@go build -o bin/demo ./deploy/demo
	@echo
	@exec bin/demo $(if $(filter-out 0,$(KEEP)),-keep)

demo-plan:
	@echo "make demo will:"
	@echo "  1. look for Postfix and OpenSSH; unpack what is missing into a cache folder, beside the system"
	@echo "  2. build bin/cloakroom"
	@echo "  3. start Cloakroom, a private Postfix and a private OpenSSH on loopback, send mail through them, and show"
	@echo "     what became of it: the mail as delivered, the links, the copies in the vault"
	@echo "Temporary folders only. No system service is started, no installed server touched.$(if $(filter-out 0,$(shell id -u)), Postfix is started by sudo.)"
	@echo

test: test-plan setup lint unit corpus race fuzz e2e ## Run every check and test
	@echo "make test: all passed"

test-plan:
	@echo "make test will:"
	@echo "  1. look for Postfix, PostgreSQL and Python; unpack what is missing into a cache folder, beside the system"
	@echo "  2. check formatting, go vet, staticcheck"
	@echo "  3. run the unit tests, some of them with a private PostgreSQL or Postfix on loopback"
	@echo "  4. take real messages through it, if CORPUS names a folder of them"
	@echo "  5. run the concurrent packages once more under the race detector"
	@echo "  6. fuzz the readers of mail, $(FUZZTIME) each"
	@echo "  7. drive the built program through a private Postfix, end to end, and its vault through every fault"
	@echo "Temporary folders only. No system service is started, no installed server touched.$(if $(filter-out 0,$(shell id -u)), Postfix is started by sudo.)"
	@echo

setup:
	@./deploy/setup/postfix.sh
	@./deploy/setup/postgresql.sh
	@./deploy/setup/slapd.sh
	@./deploy/setup/openssh.sh
	@./deploy/setup/python.sh
	@./deploy/setup/proftpd.sh
	@./deploy/setup/chromium.sh
	@./deploy/setup/prometheus.sh
	@./deploy/setup/systemd.sh
	@./deploy/setup/dkimpy.sh
	@./deploy/setup/dovecot.sh
	@./deploy/setup/sendmail.sh

lint: ## Check formatting, go vet and staticcheck
	@echo "== gofmt, go vet, staticcheck"
	@wrong=$$(gofmt -l $$(find . -name '*.go' -not -path '*/.*' -not -path '*/testdata/*')) || exit 1; \
		if [ -n "$$wrong" ]; then echo "not formatted (make fmt):"; echo "$$wrong"; exit 1; fi
	go vet ./...
	go run $(STATICCHECK) ./...

fmt: ## Format all Go files
	gofmt -w $$(find . -name '*.go' -not -path '*/.*' -not -path '*/testdata/*')

unit: ## Run the tests beside the code
	@echo "== unit tests"
	go test -p 3 -timeout 30m -skip '$(CORPUS_TESTS)' $(WAITING) $$(go list ./... | grep -v '/test$$')

corpus: ## Take the messages of CORPUS through the flow, and tell what became of them
	@echo "== corpus"
	go test -count=1 -v -run '$(CORPUS_TESTS)' ./flow

race: ## Run the concurrent packages under the race detector
	@echo "== race detector"
	@if command -v "$$(go env CC)" >/dev/null 2>&1; then \
		echo "CGO_ENABLED=1 go test -race -short -timeout 30m -skip '$(RACELESS)' $(RACE)"; CGO_ENABLED=1 go test -race -short -timeout 30m -skip '$(RACELESS)' $(RACE); \
	elif [ "$$CI" = true ]; then \
		echo "the race detector needs a C compiler ($$(go env CC) is missing)"; exit 1; \
	else \
		echo "SKIPPED: the race detector needs a C compiler ($$(go env CC) is missing)"; \
	fi

fuzz: ## Fuzz the readers of mail for FUZZTIME each
	@echo "== fuzz, $(FUZZTIME) each"
	@for f in $(FUZZ); do \
		echo "go test -run '^$$' -fuzz '^$${f#*:}$$' -fuzztime $(FUZZTIME) -fuzzminimizetime 5x $${f%%:*}"; \
		go test -run '^$$' -fuzz "^$${f#*:}$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 5x "$${f%%:*}" || exit 1; \
	done

e2e: ## Drive the built program through a private Postfix
	@echo "== end to end"
	go test -count=1 -parallel 4 -timeout 30m ./test

torture: ## Kill the daemon 50 times under load and check the books, and bend 60,000 messages; 15 minutes
	@./deploy/setup/postfix.sh
	@./deploy/setup/python.sh
	TORTURE=long go test -count=1 -v -timeout 60m -run 'TestKillsUnderLoad' ./test
	TORTURE=long go test -count=1 -v -timeout 60m -run 'TestBentMessages' ./flow

torture-vault: ## Put the vault under fire in full: 2,000 attachments up to 50 MB, 20 kills; 10 minutes, 12 GB
	@./deploy/setup/postfix.sh
	@./deploy/setup/openssh.sh
	@./deploy/setup/proftpd.sh
	TORTURE=long go test -count=1 -v -timeout 60m -run VaultUnderFire ./test

bench: ## Run the benchmarks
	go test -run '^$$' -bench . -benchmem ./...

# How many links the store has that "make bench-store" makes: ten million take an hour or more, 25 GB, and a million files.
BIGSTORE_LINKS ?= 10000000

bench-store: ## Measure commands, pages, start and mail over a store of BIGSTORE_LINKS links
	@./deploy/setup/postfix.sh
	@./deploy/setup/chromium.sh
	BIGSTORE_LINKS=$(BIGSTORE_LINKS) go test -count=1 -v -timeout 5h -run TestTheProgramOverAStore ./test

clean: ## Remove what was built; the cache of unpacked servers stays
	rm -rf bin
