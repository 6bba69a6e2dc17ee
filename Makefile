# `make` prints the targets. Whatever a target needs, it installs or builds first; a second run finds it done.
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
SECONDS ?= 600
SEED ?= 1
ON ?= node
.PHONY: help doctor setup ready build lab lab-kind test chaos fuzz e2e e2e-ssh e2e-upstream kernels release docs lint format bench cluster teardown clean programs kind-image kind kind-teardown

# pyinfra, lab, pytest and what they start; a root shell made by `su` has no sbin on its PATH.
export PATH := $(CURDIR)/.venv/bin:$(PATH):/usr/local/sbin:/usr/sbin:/sbin
# What Python compiled once is kept: the suite starts hundreds of Pythons.
unexport PYTHONDONTWRITEBYTECODE

PYTEST_ARGS ?=

help:  ## print this list
	@sed -n 's/^\([a-z0-9-]*\):.*  ## \(.*\)/  make \1\t\2/p' Makefile | expand -t 22

doctor:  ## a table of everything this machine must have, with the remedy where something is missing
	@setup/doctor.sh

setup:  ## install what is missing: Debian packages, uv, the locked Python environment
	@setup/packages.sh
	@setup/python.sh

build: setup  ## compile the eBPF objects and pack what a node runs (build/agent.tar)
	@$(MAKE) -s -C bpf --question >/dev/null 2>&1 || setup/step.sh bpf "Compiling the eBPF objects" $(MAKE) -C bpf
	@setup/build-agent.sh

ready:
	@setup/doctor.sh --quiet
	@$(MAKE) build

lab: ready  ## build the local cluster and run the first lab on it
	@setup/step.sh cluster "Building the local cluster: pyinfra inventory deploys/cluster.py" \
		pyinfra -y --fail-percent 0 inventory deploys/cluster.py
	@lab run 01
	@printf '\n%s\n' 'The cluster goes on running. Next, in this folder as root:'
	@printf '  %-36s %s\n' 'source .venv/bin/activate' 'lab, pyinfra and pytest by their names' \
		'lab report 01' 'what it showed, as a page with its packets drawn' \
		'lab start 01' 'the same lab by hand, step by step' \
		'lab exec w1 -- socklb status' 'is node w1 served, and by what' \
		'make teardown' 'removes the cluster'

cluster: ready  ## build the local cluster: nodes, pods, Services and the agent
	@pyinfra -y --fail-percent 0 inventory deploys/cluster.py

teardown:  ## remove everything that the local cluster put on this machine
	@[ "$$(id -u)" = 0 ] || { echo "make teardown: only root can remove the nodes. Next: sudo make teardown" >&2; exit 1; }
	@$(MAKE) setup
	@pyinfra -y inventory deploys/teardown.py

programs: setup  ## build Kubernetes' programs from Go modules: 10 minutes on two cores, once
	@images/programs.sh

kind-image: ready  ## build the node image for kind on a machine without a registry, and load it into docker
	@setup/packages.sh setup/apt-kind.txt
	@images/build.sh node

kind: ready  ## build a kind cluster without kube-proxy and run the agent in it (needs a docker and the node image)
	@pyinfra -y --fail-percent 0 inventory/kind.py deploys/cluster.py

lab-kind: kind  ## build the kind cluster and run the first lab on it
	@SOCKLB_INVENTORY=kind lab run 01
	@printf '\n%s\n' 'The kind cluster goes on running. Next, in this folder:'
	@printf '  %-36s %s\n' 'source .venv/bin/activate' 'lab, pyinfra and pytest by their names' \
		'export SOCKLB_INVENTORY=kind' 'lab means this cluster' \
		'lab show; lab start 01' 'what there is; the same lab by hand, step by step' \
		'make kind-teardown' 'removes the cluster'

kind-teardown: setup  ## remove the kind cluster
	@pyinfra -y inventory/kind.py deploys/teardown.py

# Ubuntu has no browser as a package: there the tests that need one skip.
test: ready  ## run every test: unit, datapath, packets, kube, cluster, nodes, labs, e2e
	@setup/packages.sh setup/apt-kind.txt
	@setup/packages.sh setup/apt-monitoring.txt
	@setup/packages.sh setup/apt-arm64.txt
	-@setup/packages.sh setup/apt-browser.txt
	@setup/kernel-headers.sh
	@images/programs.sh >/dev/null
	@python tests/run.py $(PYTEST_ARGS)

e2e: ready  ## run only the tests that need a kind cluster, which they make and remove
	@setup/packages.sh setup/apt-kind.txt
	@images/programs.sh >/dev/null
	@pytest tests/e2e $(PYTEST_ARGS)

e2e-ssh: ready  ## run the tests that provision machines over SSH, which they make and remove (docs/bare-metal-tests.md)
	@setup/packages.sh setup/apt-kind.txt
	@images/offline.sh >/dev/null
	@setup/build-agent.sh 3.11
	@setup/build-agent.sh 3.12
	@setup/build-agent.sh 3.13
	@pytest tests/e2e_ssh $(PYTEST_ARGS)

e2e-upstream: ready  ## run Kubernetes' own e2e tests of Services on the kind cluster (docs/e2e-upstream.md)
	@setup/packages.sh setup/apt-kind.txt
	@SOCKLB_E2E_UPSTREAM=1 pytest tests/e2e/test_upstream.py $(PYTEST_ARGS)

kernels: ready  ## boot Debian's kernels 5.10, 6.1, 6.12 and the newest under QEMU, and try hooks, packet path and agent on each
	@setup/packages.sh setup/apt-kernels.txt
	@python -m tests.kernels.run

chaos: ready  ## walk over faults under load, with an oracle: SECONDS, SEED, and ON=local or kind for a cluster (docs/chaos.md)
	@images/programs.sh kube-apiserver etcd kubectl >/dev/null
	@python -m tests.chaos --seconds $(SECONDS) --seed $(SEED) --on $(ON)

fuzz: ready  ## draw at random what the agent and labs read, guided by what it makes run: SECONDS and SEED choose (docs/fuzzing.md)
	@setup/python.sh fuzz
	@build/fuzz-venv/bin/python -m tests.unit.fuzz.run --seconds $(SECONDS) --seed $(SEED) $(TARGET)

release: ready  ## make what a release consists of, into build/release/: packages, agents for nodes, images, checksums
	@python setup/release.py

docs: setup  ## build the documents as a site, into build/site: English and Chinese, with search; nothing of it is fetched when read
	@setup/python.sh docs
	@setup/step.sh docs "Building the site of the documents into build/site" \
		env NO_MKDOCS_2_WARNING=1 build/docs-venv/bin/mkdocs build --quiet --config-file docs/site/mkdocs.yml
	@echo "Next: python3 -m http.server --bind 127.0.0.1 --directory build/site"

lint: build  ## check style, types, imports between folders, C format and shell scripts
	@setup/lint.sh

format: setup  ## mend formats of Python and C; print anew what comes from elsewhere: reference, README's picture, the version
	@ruff format .
	@ruff check --fix .
	@clang-format -i bpf/*.[ch]
	@python -m setup.reference
	@python -m setup.picture
	@python -m setup.version

bench: ready  ## measure every figure that is stated, and make docs/performance.md from the run
	@python -m bench
	@python -m bench page

clean:  ## remove what building made: build/, .venv/, .tools/, caches, objects (the cluster: make teardown)
	@rm -rf build .venv .tools .pytest_cache .ruff_cache .import_linter_cache socklb/datapath/*.bpf.o
	@find . -name __pycache__ -prune -exec rm -rf {} +
