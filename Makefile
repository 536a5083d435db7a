# Drover: build, test, install. `make` lists the targets.

SWIFT   ?= swift
SWIFTC  ?= $(SWIFT)c
PYTHON  ?= python3
PREFIX  ?= /usr/local
DESTDIR ?=
CYCLES  ?= 100

DROVER      := .build/release/drover
PLUGIN      := .build/release/libnbdkit-drover-plugin.so
# Where nbdkit looks for plugins; it is told by name where it does not look here (nbdkit --dump-config).
PLUGINS     ?= $(if $(filter /usr,$(PREFIX)),$(shell pkg-config --variable=plugindir nbdkit),$(PREFIX)/lib/nbdkit/plugins)
DEB         := .build/deb
TESTING     := .build/testing
# Swift's runtime is in the binary, and no library is looked for beside it. What is generic is specialised across targets, too.
# The Swift tests may import what is internal, so that they are linked with the very modules that are shipped.
BUILD       := $(SWIFT) build -c release --static-swift-stdlib --disable-local-rpath -Xswiftc -cross-module-optimization -Xswiftc -gnone \
               -Xswiftc -enable-testing -Xswiftc -I$(TESTING) -Xlinker -L$(TESTING)
define prepare
	@.ci/packages build
	@.ci/testing $(TESTING)
endef
define build
	$(BUILD) --product drover
	$(BUILD) --product NBDPlugin
	@.ci/plugin .build/release
endef
SWIFT_CODE  := Sources Tests Package.swift
# $(call sanitized-test,SANITIZER,RUNTIME): the Swift tests, optimized, because they take many minutes otherwise; what is compiled must be instrumented.
# Swift's backtracer hangs under a sanitizer, which says itself where it was.
sanitized-test = SWIFT_BACKTRACE=enable=no $(SWIFT) test --sanitize $1 --scratch-path .build-$1 -Xswiftc -O && \
                 grep -q $2.module_ctor .build-$1/debug/droverPackageTests.xctest
INSTALLED   := bin/drover share/drover share/doc/drover share/man/man1/drover.1.gz share/man/man1/drover-*.1.gz share/man/man1/nbdkit-drover-plugin.1.gz share/man/man5/drover-*.5.gz \
               share/bash-completion/completions/drover share/zsh/site-functions/_drover share/fish/vendor_completions.d/drover.fish

export SWIFTC
export DROVER_VERSION ?= $(shell .ci/version)
# What is tested here must not take this make for a jobserver of its own.
unexport MAKEFLAGS MFLAGS

.DEFAULT_GOAL := help
.PHONY: help prepare build demo test test-build unit-test integration-test crash-matrix powercut fuzz test-sanitizers lint format bench install uninstall deb release \
        packages clean

help: ## list these targets
	@echo "Drover moves herds of copy-on-write disk images. Targets:"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Once, whoever builds beside it.
prepare:
	$(prepare)

build: prepare ## build the release binary, .build/release/drover, and nbdkit's plugin beside it (installs missing build packages)
	$(build)

demo: build ## migrate a small fleet of real guests into demo-out/, kill it on the way, resume, verify
	@.ci/packages demo
	@Pipelines/demo.sh

# Modules are compiled one after the other, which is work for one core alone half of the time: tests are compiled beside them.
test: packages ## everything: packages, lint, release build, unit tests, integration tests
	@$(MAKE) --no-print-directory -j2 lint test-build
	@$(MAKE) --no-print-directory -j2 unit-test integration-test

test-build: prepare ## the release binary and the Swift tests, which are linked with its modules
	$(BUILD) --product droverPackageTests

unit-test: test-build ## the Swift tests, all of them (`swift test --filter NAME` for some)
	$(SWIFT) test -c release --skip-build

integration-test: build ## real programs and a Python reference against the release binary
	$(PYTHON) Tests/Integration/run.py

crash-matrix: build ## kill every command at every call that changes a file system; `make test` tries a sample (COMMANDS="pack unpack" for some)
	@.ci/packages test
	$(PYTHON) Tests/Crash/matrix.py $(addprefix --only ,$(COMMANDS))
	$(if $(COMMANDS),,$(PYTHON) Tests/Crash/in_place.py)

powercut: build ## cut the power of real file systems CYCLES=1000 times, as root; `make test` does it 20 times
	@.ci/packages test
	$(PYTHON) Tests/Crash/powercut.py --cycles $(CYCLES)

fuzz: ## look for inputs that crash Drover, hang it or have it contradict itself (SECONDS=300 in all)
	@.ci/packages build
	@Tests/Fuzz/fuzz $(or $(SECONDS),300)

test-sanitizers: ## the Swift tests under ThreadSanitizer and AddressSanitizer
	@.ci/packages build
	TSAN_OPTIONS=halt_on_error=1 $(call sanitized-test,thread,tsan)
	ASAN_OPTIONS=detect_leaks=0 $(call sanitized-test,address,asan)

lint: ## complain about Swift code that is not formatted as .swift-format says
	$(SWIFT) format lint --strict --parallel --recursive $(SWIFT_CODE)

format: ## format the Swift code in place
	$(SWIFT) format --in-place --parallel --recursive $(SWIFT_CODE)

bench: build ## time Drover beside the real programs (BENCH_SIZE=2G BENCH_ROUNDS=7), tables in Markdown
	@.ci/packages bench
	@$(PYTHON) Tests/Bench/bench.py

install: $(DROVER) $(PLUGIN) ## install binary, nbdkit's plugin, man pages, completions, documentation under DESTDIR and PREFIX (/usr/local)
	install -D -m 755 $(DROVER) "$(DESTDIR)$(PREFIX)/bin/drover"
	install -D -m 644 $(PLUGIN) "$(DESTDIR)$(PLUGINS)/nbdkit-drover-plugin.so"
	@.ci/share $(DROVER) "$(DESTDIR)$(PREFIX)/share"

uninstall: ## remove what install put there
	rm -rf $(foreach path,$(INSTALLED),"$(DESTDIR)$(PREFIX)"/$(path)) "$(DESTDIR)$(PLUGINS)/nbdkit-drover-plugin.so"

deb: build ## make the Debian packages of Drover and of nbdkit's plugin in .build/deb
	@.ci/packages package
	@.ci/deb $(DROVER) $(PLUGIN) "$(DEB)"

release: ## check that this commit is a release (tag, CHANGELOG, nothing uncommitted), and make its packages
	@.ci/release
	@$(MAKE) deb

# Man pages and the package bear the date of the last commit, not that of the day they are made.
install deb: export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || stat -c %Y CHANGELOG.md)

# Only where there is none yet: `sudo make install` after `make build` compiles nothing as root.
$(DROVER):
	$(prepare)
	$(build)

$(PLUGIN): $(DROVER)
	@.ci/plugin .build/release

packages: ## install the Debian packages that build, demo and test need
	@.ci/packages build demo test

clean: ## remove everything that was built
	$(SWIFT) package clean
	rm -rf .build .build-fuzz .build-thread .build-address demo-out
