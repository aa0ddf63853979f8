# Every target sets up what it needs. PYTHON names the Python 3.11+ to build the environment with.
PYTHON ?= python3
OUT ?= outputs
BIN := .venv/bin
SHELL := bash
.SHELLFLAGS := -o pipefail -ec
# a remark of the Jupyter kernel about its local sockets, which every notebook would start with
QUIET := 2> >(grep --line-buffered -v IPKernelApp >&2)
# papermill itself waits for ever; seconds for a kernel's start, and for one cell, in which runs may be trained
PAPERMILL := --no-progress-bar --start-timeout 120 --execution-timeout 7200
export PIP_DISABLE_PIP_VERSION_CHECK = 1
# the machine's own certificates, as behind a company's proxy
export UV_SYSTEM_CERTS = 1

# where `make evidence` trains and writes everything a second time
AGAIN ?= build/evidence

.PHONY: help quickstart lab notebooks committed keep site readme-figure evidence test test-cluster lint lock
help:
	@echo "make quickstart   run the first notebook, training one more seed live (minutes on two CPU cores)"
	@echo "make lab          open the notebooks in JupyterLab"
	@echo "make notebooks    run every notebook again in place, from the committed records"
	@echo "make keep RUN=ID  add a finished run's record to what is committed"
	@echo "make site         notebooks, tables and API reference as static pages, in build/site/html"
	@echo "make readme-figure  draw the README's figure again"
	@echo "make evidence     train and measure everything again, from nothing, beside the committed records (hours)"
	@echo "make test         everything CI checks"
	@echo "make test-cluster a sweep on a Slurm of two nodes set up on this machine for it (Debian, as root; minutes)"
	@echo "make lint         style and types only"
	@echo "make lock         resolve requirements.lock anew"

.venv/ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "gdwlib needs Python 3.11 or newer; this is $$($(PYTHON) --version). Try: make PYTHON=python3.11"; exit 1; }
	@echo "== Setting up .venv with $$($(PYTHON) --version): about 3 GB to download, 6 GB on disk, 1 to 5 minutes"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet uv
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@
	@echo "== .venv is ready"

quickstart: .venv/ready
	@echo "== Running notebooks/00_quickstart.ipynb: three recorded seeds, and seed 3 trained now by four methods"
	@mkdir -p $(OUT)
	@$(BIN)/papermill notebooks/00_quickstart.ipynb $(OUT)/00_quickstart.ipynb --cwd notebooks -p live_seed 3 \
		--log-output $(PAPERMILL) $(QUIET)
	@$(BIN)/jupyter nbconvert --log-level ERROR --to html $(OUT)/00_quickstart.ipynb
	@echo "== Done. Read $(OUT)/00_quickstart.html in a browser, or step through it: make lab"

lab: .venv/ready
	@$(BIN)/jupyter lab notebooks

notebooks: committed
	@for notebook in notebooks/*.ipynb; do \
		echo "== $$notebook"; \
		$(COMMITTED) $(BIN)/jupyter nbconvert --log-level ERROR --to notebook --execute \
			--inplace --ExecutePreprocessor.record_timing=False $$notebook $(QUIET) || exit 1; \
	done

# a copy of what the project keeps in outputs/, without a reader's own runs
COMMITTED := GDWLIB_OUTPUTS=$(CURDIR)/build/committed
committed: .venv/ready
	@rm -rf build/committed
	@$(BIN)/python -W ignore -c "from gdwlib.companion.evidence import Path, copy_committed; \
		copy_committed(Path('outputs'), Path('build/committed'))"

keep:
	@test -n "$(RUN)" || { echo "make keep RUN=run_id: name a finished run of outputs/runs"; exit 1; }
	@cd outputs/runs/$(RUN) && git add --force result.json config.json metrics.jsonl examples.npz model.json
	@cd outputs && git ls-files -- bench figures 'runs/*/result.json' | xargs -d '\n' sha256sum > committed.sha256
	@git add outputs/committed.sha256

evidence: .venv/ready
	@echo "== 1 of 4: every record behind the notebooks, into $(AGAIN); if stopped, the same command goes on"
	@$(BIN)/python -m gdwlib sweep evidence --cores --outputs $(AGAIN)
	@test -z "$$($(BIN)/python -m gdwlib sweep evidence --list --outputs $(AGAIN) 2>/dev/null)" || \
		{ echo "some runs are missing yet (being trained elsewhere?); run make evidence again"; exit 1; }
	@echo "== 2 of 4: the speed, undisturbed; wrong labels found; tables; virtual steps of other lengths (hours)"
	@test -e $(AGAIN)/bench/complete || { \
		$(BIN)/python -m gdwlib bench steps parts loop growth --dataset cifar10 --rounds 12 --outputs $(AGAIN) && \
		$(BIN)/python benchmarks/replicas.py --outputs $(AGAIN) && \
		$(BIN)/python benchmarks/detectors.py --outputs $(AGAIN) --folds $(AGAIN)/detectors && \
		$(BIN)/python benchmarks/tables.py --outputs $(AGAIN) && \
		$(BIN)/python benchmarks/look_ahead.py --outputs $(AGAIN) --kept $(AGAIN)/look_ahead && \
		touch $(AGAIN)/bench/complete; }
	@echo "== 3 of 4: every notebook from these, into $(AGAIN)/notebooks (a few minutes)"
	@mkdir -p $(AGAIN)/notebooks
	@for notebook in notebooks/*.ipynb; do \
		echo "== $$notebook"; \
		$(BIN)/papermill $$notebook $(AGAIN)/$$notebook --cwd notebooks -p outputs $(abspath $(AGAIN)) \
			$(PAPERMILL) $(QUIET) || exit 1; \
	done
	@echo "== 4 of 4: beside the committed records"
	@$(BIN)/python -m gdwlib compare $(AGAIN)

site: committed
	@echo "== The notebooks, tables and API reference as static pages (a minute)"
	@$(COMMITTED) $(BIN)/python -W ignore docs/build.py

readme-figure: .venv/ready
	@$(BIN)/python docs/readme_figure.py

lint: .venv/ready
	@echo "== Style: ruff, notebooks included"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check gdwlib tests benchmarks data docs
	@$(BIN)/ruff format --check notebooks
	@echo "== Types: mypy"
	@$(BIN)/mypy

# CI=true: also what takes long; one thread each, for two at a time
test: lint
	@echo "== Tests, two at a time (about eight minutes on two cores)"
ifndef CI
	@echo "== Left to CI, or to make test CI=true: nine notebooks in the browser, sweeps that are killed, processes that are lost"
endif
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder -rs $(if $(CI),-m "")
	@echo "== The committed notebooks: what they show is what the code and the committed records give"
	@$(BIN)/python tests/check_notebooks.py
	@echo "== All passed"

test-cluster: .venv/ready
	@if ! { command -v slurmctld && command -v slurmd && command -v munged; } > /dev/null; then \
		if [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; then \
			echo "== Installing Debian's slurmctld, slurmd, slurm-client and munge"; \
			apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
				apt-get install -qq -y --no-install-recommends slurmctld slurmd slurm-client munge > /dev/null; \
		else echo "== There is no Slurm here to install (that takes Debian and root): skipped"; exit 0; fi; fi; \
	echo "== Eight runs through sbatch, on two nodes of which one is lost (about five minutes)"; \
	GDWLIB_TEST_CLUSTER=1 $(BIN)/python -m pytest -rs tests/sweeps/test_cluster.py

lock: .venv/ready
	@$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header --upgrade --output-file requirements.lock
