# A thin wrapper: each target makes the Python environment and runs one command in it.
SHELL := /bin/bash
.DEFAULT_GOAL := help
ACTIVATE := source .venv/bin/activate &&

.PHONY: help root operator environment simulation verify check lint galaxy machine unit test test-all docs screenshots

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 16

operator: ## Make the Python environment .venv that runs the playbooks
	@tools/environment.sh operator

environment: ## Make the Python environment .venv that runs the tests too
	@tools/environment.sh

root:
	@[ "$$(id -u)" = 0 ] || { echo "You are $$(id -un), and this installs packages and changes this machine:" \
		"run it as root (sudo make $(MAKECMDGOALS)). Nothing was changed." >&2; exit 1; }

simulation: root operator ## Bring up the whole node on this machine and prove it (needs root)
	$(ACTIVATE) ansible-playbook -i inventories/simulation site.yml $(ARGS)

verify: operator ## Prove a running node again: make verify INVENTORY=inventories/simulation
	@[ -n "$(INVENTORY)" ] || { echo "Name the node: make verify INVENTORY=inventories/simulation, or your own" \
		"inventory. Nothing was proved." >&2; exit 1; }
	$(ACTIVATE) ansible-playbook -i $(INVENTORY) playbooks/verify.yml $(ARGS)

check: environment ## Style, types and unit tests, within minutes
	$(ACTIVATE) tools/lint.sh --units

lint: environment ## Check style and types
	$(ACTIVATE) tools/lint.sh

galaxy: environment ## Have Galaxy's importer and ansible-test judge the collection (needs shellcheck)
	$(ACTIVATE) python -m tools.testrun.galaxy

machine: root environment ## Install what the tests call on this machine (needs root)
	$(ACTIVATE) ansible-playbook -i localhost, tests/machine.yml $(ARGS)

unit: environment ## Test the Python
	$(ACTIVATE) tools/unit.sh $(ARGS)

test: root environment ## All tests: lint, unit, and the node on test hosts (needs root)
	$(ACTIVATE) tools/test.sh $(ARGS)

test-all: root environment ## As test, and the long scenarios too
	$(ACTIVATE) tools/test.sh --all $(ARGS)

screenshots: root environment ## Take the pictures of the documents again (needs root)
	$(ACTIVATE) tools/screenshots.sh

docs: environment ## Write the generated documentation again (needs dciodvfy)
	$(ACTIVATE) python tools/variables_table.py
	$(ACTIVATE) python tools/filter_documentation.py
	$(ACTIVATE) python tools/faults_table.py
	$(ACTIVATE) python tools/objects_table.py
	$(ACTIVATE) python tools/score_table.py
