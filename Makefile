# A thin wrapper: each target makes the Python environment and runs one command in it.
SHELL := /bin/bash
.DEFAULT_GOAL := help
ACTIVATE := source .venv/bin/activate &&

.PHONY: help environment simulation verify check lint unit test test-all docs screenshots

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 16

environment: ## Make the Python environment .venv (pinned; kept outside the tree)
	@tools/environment.sh

simulation: environment ## Bring up the whole node on this machine and prove it
	$(ACTIVATE) ansible-playbook site.yml $(ARGS)

verify: environment ## Prove the running node again
	$(ACTIVATE) ansible-playbook playbooks/verify.yml $(ARGS)

check: environment ## Style, types and unit tests, within minutes
	$(ACTIVATE) tools/lint.sh --units

lint: environment ## Check style and types
	$(ACTIVATE) tools/lint.sh

unit: environment ## Test the Python
	$(ACTIVATE) tools/unit.sh $(ARGS)

test: environment ## All tests: lint, unit, and the node on test hosts (needs root)
	$(ACTIVATE) tools/test.sh $(ARGS)

test-all: environment ## As test, and the long scenarios too
	$(ACTIVATE) tools/test.sh --all $(ARGS)

screenshots: environment ## Take the pictures of the documents again (needs root)
	$(ACTIVATE) tools/screenshots.sh

docs: environment ## Write the generated documentation again (needs dciodvfy)
	$(ACTIVATE) python tools/variables_table.py
	$(ACTIVATE) python tools/objects_table.py
	$(ACTIVATE) python tools/score_table.py
