# Migrates a directory of COW images with make:
#
#   make -f Pipelines/migrate.mk -j8 FLEET=guests OUT=migrated [FORMAT=raw|cow|qcow2] [DROVER=drover] [OPTIONS='--rate 200M']
#
# Every FLEET/…/NAME.cow becomes OUT/…/NAME.FORMAT: raw flattens the chain; cow and qcow2 keep it as an overlay of one copy of its base,
# OUT/…/BASE.raw. A target depends on every file of its chain, and an overlay on its base's copy. Documentation/make.md says more.

FORMAT  ?= raw
DROVER  ?= drover
OPTIONS ?=

.SUFFIXES:
MAKEFLAGS += --no-builtin-rules
.PHONY: all
.DEFAULT_GOAL := all

ifneq ($(words $(FLEET)) $(words $(OUT)),1 1)
$(error FLEET= and OUT= must be one directory each, without spaces in their names)
endif
$(if $(filter-out raw cow qcow2,$(FORMAT)),$(error FORMAT=$(FORMAT) must be raw, cow or qcow2))
$(if $(shell command -v $(DROVER)),,$(error $(DROVER) is not there (set DROVER=)))
override FLEET := $(patsubst %/,%,$(FLEET))
override OUT   := $(patsubst %/,%,$(OUT))
root := $(realpath $(FLEET))
$(if $(root),,$(error FLEET=$(FLEET) is not there))
$(if $(filter $(root),$(abspath $(OUT)) $(realpath $(OUT))),$(error OUT= must be another directory than FLEET=))

# What make or the shell would take for something else than a part of a name; as it stands between double quotes of the shell.
hash   := \#
unsafe := [][:space:]:%$(hash)\$$=;|&()<>~\"'\\\\*?\`[]
bad    := $(shell find $(FLEET) -name '*.cow' -path "*$(unsafe)*" | head -n 1)
$(if $(bad),$(error make cannot handle the name '$(bad)': rename it, or use drover itself))
# Targets of an earlier run are no images to migrate, where OUT lies in FLEET.
images := $(filter-out $(patsubst $(root)/%,$(FLEET)/%,$(abspath $(OUT)))/%,$(shell find $(FLEET) -name '*.cow' ! -type d | LC_ALL=C sort))

# Those of the OPTIONS that say what a chain consists of.
looking := $(shell set -- $(OPTIONS); while test $$$(hash) -gt 0; do case $$1 in \
    (--backing-map|--backing-search|--confine|--backing-format|-f) printf '%s %s ' "$$1" "$$2"; shift;; \
    (--backing-map=*|--backing-search=*|--confine=*|--backing-format=*|-f?*|--ignore-mtime|--force-share) printf '%s ' "$$1";; esac; shift; done)

# $(call chain,IMAGE): the files of its chain, the image first, each with its format behind it, as =raw; ! for one whose name make cannot handle,
# nothing for what is no image.
chain = $(shell $(DROVER) info --backing-chain --output json $(looking) $1 2>/dev/null \
    | sed -n -e 's/^ *"filename" : "\(.*\)",*$$/\1/p' -e 's/^ *"format" : "\(.*\)",*$$/=\1/p' | sed "/^=/!s/.*$(unsafe).*/!/")
files = $(filter-out =%,$1)

# $(call copy,BASE): where the one copy of a base goes: as its place in FLEET, or OUT/base for one from outside.
copy    = $(OUT)/$(basename $(call inside,$(patsubst $(root)/%,%,$(realpath $1)))).raw
inside  = $(if $(filter /%,$1),base/$(notdir $1),$1)

# $(call image,IMAGE,TARGET,CHAIN)
define image
$(if $(filter !,$3),$(error make cannot handle the name of a file that $1 stands on: rename it, or use drover itself))
all: $2
$2: $(call files,$3)
$(if $(filter cow qcow2,$(FORMAT)),$(if $(word 4,$3),$(call overlay,$2,$(lastword $(call files,$3)),$(call copy,$(lastword $(call files,$3))),$1,$(lastword $3))))
endef

# $(call overlay,TARGET,BASE,COPY,IMAGE,=FORMAT)
define overlay
base.$1 := $3
on.$3 += $4
$1: $3
$(if $(source.$3),$(if $(filter-out $(source.$3),$(realpath $2)),$(error $2 and $(source.$3) would both become $3: rename one)),$(call base,$2,$3,$5))
endef

# $(call base,BASE,COPY,=FORMAT): a raw one is raw whatever its bytes look like. A copy is only made anew if the overlays on it can be.
define base
source.$2 := $(realpath $1)
$2: $1
	@mkdir -p $$(@D)
	@test ! -e $$@ || $$(DROVER) check -q $$(looking) $$(on.$$@)
	+@$$(call convert,--as-base $(if $(filter =raw,$3),-f raw))
endef

# $(call convert,HOW): the recipe's last line; a + before it lets drover take part in make's jobserver. --force: make has found the target to be
# out of date, and the old one stays until the new one is complete. An interrupted conversion is continued; one of sources that have changed since,
# which a dry run finds (65), begins anew. exec: what make sends a signal to is drover and no shell.
convert = set -- $(DROVER) convert --force $(OPTIONS) $1 $< $@; \
	if test -e $@.manifest && { MAKEFLAGS=n "$$@" >/dev/null 2>&1; test $$? -eq 65; }; then set -- "$$@" --restart; fi; exec "$$@"

# Complete or not there: nothing that make would have to remove.
.PRECIOUS: $(OUT)/%.raw $(OUT)/%.cow $(OUT)/%.qcow2

$(OUT)/%.raw: $(FLEET)/%.cow
	@mkdir -p $(@D)
	+@$(call convert,)

$(OUT)/%.cow: $(FLEET)/%.cow
	@mkdir -p $(@D)
	+@$(call convert,-O cow $(if $(base.$@),-B $(base.$@) -F raw,-o layout=qemu-v2))

$(OUT)/%.qcow2: $(FLEET)/%.cow
	@mkdir -p $(@D)
	+@$(call convert,-O qcow2 $(if $(base.$@),-B $(base.$@) -F raw))

$(foreach file,$(images),$(eval $(call image,$(file),$(patsubst $(FLEET)/%.cow,$(OUT)/%.$(FORMAT),$(file)),$(call chain,$(file)))))
