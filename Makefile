# make help tells what each target does. Everything also works without make once `make deps` has run:
# plain go build ./..., go test ./... and go vet ./... need no environment variable.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory

export THAW_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/thaw

GO          ?= go
PYTHON      ?= python3
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
FUZZTIME    ?= 60s
FAULTS      ?= 100
PEERS       := $(THAW_CACHE)/peers
DEMO        := runs/reviews-$(shell date +%Y%m%d-%H%M%S)
DEMO_VISION := runs/fashion-$(shell date +%Y%m%d-%H%M%S)
DEMO_DETECT := runs/stamps-$(shell date +%Y%m%d-%H%M%S)

.DEFAULT_GOAL := help
.PHONY: help deps deps-cuda build reviews fashion stamps demo demo-vision demo-detect test lint gen race torture cache-torture faults fuzz bench peers launchers exports gpu-bundle gpu-rehearsal docker docker-bases docker-test cluster-test clean

help: ## lists these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

deps: ## brings libtorch for the CPU, once per machine (0.5 GB), and links it to third_party/libtorch
	@third_party/fetch.sh --set cpu

deps-cuda: ## brings libtorch and all that it needs on a GPU (about 2.5 GB); from then on programs are built with CUDA
	@third_party/fetch.sh --set cuda

build: deps ## builds the program: bin/thaw, with CUDA (-tags cuda) after make deps-cuda
	@tags=; grep -qE '^# sets (.* )?cuda( |$$)' third_party/libtorch/.complete && tags=cuda; \
	$(GO) build -tags "$$tags" -o bin/thaw ./cmd/thaw

reviews: ## brings the demo's model and data, once per machine (90 MB)
	@third_party/fetch.sh --set reviews
	@examples/reviews/prepare.sh

fashion: ## brings Fashion-MNIST, once per machine (31 MB; with apt-get, from Debian)
	@third_party/fetch.sh --set fashion-mnist

stamps: ## brings Tux Paint's stamps, once per machine (161 MB; with apt-get, from Debian), and composes pictures with boxes of them
	@third_party/fetch.sh --set stamps
	@$(GO) run ./examples/stamps/compose

demo: build reviews ## fine-tunes a real BERT on 9,544 movie reviews and tries it on a few sentences (CPU: a minute or two)
	@bin/thaw train examples/reviews/reviews.yaml out=$(DEMO)
	@bin/thaw predict $(DEMO) \
		"A quiet, generous film that stays with you for days." \
		"Two hours of my life that I will not get back."
	@echo "run       $(DEMO)"

demo-vision: build fashion ## pre-trains a ResNet-18 on five classes of Fashion-MNIST and fine-tunes it on the others, beside training from scratch (CPU, 7 minutes)
	@examples/fashion/demo.sh $(DEMO_VISION)

demo-detect: build stamps ## pre-trains a ResNet-18 on small pictures and fine-tunes an FCOS on it to find other things, beside training from scratch (CPU, about 15 minutes)
	@examples/stamps/demo.sh $(DEMO_DETECT)

test: deps reviews ## runs all tests, those on the real weights too
	$(GO) test ./...

lint: deps ## checks gofmt, go vet and staticcheck
	@files=$$(gofmt -l .); [[ -z $$files ]] || { echo "not gofmt'ed:" $$files >&2; exit 1; }
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...

gen: deps ## makes the generated code anew
	$(GO) generate ./...

# Every package with goroutines or locks. Of those whose tests are long, the tests that use them.
race: deps reviews ## runs tests under the race detector
	$(GO) test -race -timeout 20m -skip '^TestCUDAIsLinked$$' ./torch/... ./finetune/... ./serve/... ./hub/... ./vision/album ./vision/picture ./internal/...
	$(GO) test -race -timeout 20m -run 'COCO|Pycocotools' ./vision/detection/annotation ./vision/detection/evaluation
	$(GO) test -race -timeout 20m -run 'Goroutines|Concurrent|Encode|Lines|Pipe|Predict|Dataset|Skip|Items' ./vision ./text/... ./cmd/...

torture: deps ## kills and stops 200 training processes at random moments and has them go on: same weights to the last bit
	THAW_TORTURE=200 $(GO) test -count=1 -v -timeout 2h -run '^TestTorture$$' ./cmd/thaw

cache-torture: deps ## kills 50 runs at random moments while they write what frozen layers gave: no later run reads a bad row
	THAW_CACHE_TORTURE=50 $(GO) test -count=1 -v -timeout 1h -run '^TestCacheTorture$$' ./cmd/thaw

faults: deps ## kills, stops, cuts off and starves ranks of runs of 2 and 4 at 100 random moments and starts them again: same weights
	THAW_FAULTS=$(FAULTS) $(GO) test -count=1 -v -timeout 2h -run '^TestFaults' ./cmd/thaw

fuzz: deps ## runs every fuzz target for FUZZTIME (60s)
	@grep -rl --include='*_test.go' '^func Fuzz' --exclude-dir=bench --exclude-dir=examples . | \
	while read -r file; do \
		for name in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$$file"); do \
			echo "$(GO) test -fuzz $$name -fuzztime $(FUZZTIME) $$(dirname "$$file")"; \
			$(GO) test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) "$$(dirname "$$file")" </dev/null; \
		done; \
	done

bench: build peers ## measures beside PyTorch's Python: opcall and tokenizer, or BENCH="steps", "demo" or "lora" (10 minutes each), "detect", "dist" (two ranks beside DDP), "overlap", "scale", "shared" (beside busy processes; half an hour), "runs" (whole fine-tunings, beside PyTorch as its best user writes it too; an hour), "loader", "opcall -profile", "all"
	@third_party/fetch.sh --set reviews
	@examples/reviews/prepare.sh
	cd bench && $(GO) run . $(BENCH)

peers: ## brings the Python stack that benchmarks and goldens compare with into the cache (5 GB)
	@cmp -s bench/peers/requirements.txt $(PEERS)/requirements.txt || { \
		$(PYTHON) -m venv $(PEERS); \
		$(PEERS)/bin/python -m pip install --disable-pip-version-check -q -r bench/peers/requirements.txt; \
		cp bench/peers/requirements.txt $(PEERS)/requirements.txt; \
	}

launchers: deps peers ## starts ranks by the real torchrun
	THAW_LAUNCHERS=1 $(GO) test -count=1 -v -run '^Test(Torchrun|ErrorFile)' ./torch/dist/launch

exports: deps reviews peers ## checks that what thaw export writes gives the same logits and boxes in transformers, torchvision and onnxruntime (6 minutes)
	THAW_EXPORTS=1 $(GO) test -count=1 -v -timeout 30m -run '^TestExportsLoadElsewhere$$' ./recipe

gpu-bundle: deps reviews ## makes dist/gpu: programs, tests and run.sh for a machine with a GPU, PyTorch and no Go
	@bench/gpu/bundle.sh

gpu-rehearsal: gpu-bundle ## runs the bundle's doctor and tests on a pretend GPU (docs/decisions/007), minutes
	@bench/gpu/rehearsal/rehearse.sh doctor test
	@bench/gpu/rehearsal/refused.sh ./finetune ./text ./vision
	@bench/gpu/rehearsal/machines.sh

docker: ## builds the images thaw:cpu and thaw:cuda (docker/README.md), where no Docker runs with a private engine
	@docker/engine.sh run docker/build.sh $(IMAGES)

docker-bases: ## renews the digests of the images that docker/Dockerfile stands on; needs a registry
	@docker/bases.sh

docker-test: ## builds both images and tests them (docker/README.md); half an hour, 12 GB in the cache
	docker/engine.sh run $(GO) test -tags docker -timeout 40m -v ./docker/...

cluster-test: build ## tests docker/kubernetes on a real kube-apiserver and docker/slurm on a real Slurm; 10 minutes at first, then two
	@docker/slurm/install.sh
	$(GO) test -tags cluster -count=1 -timeout 40m ./docker/kubernetes ./docker/slurm

clean: ## removes what was built here; what was brought stays in the cache
	rm -rf bin dist third_party/libtorch examples/reviews/data examples/reviews/reviews.tsv examples/fashion/data examples/stamps/data examples/stamps/composed
