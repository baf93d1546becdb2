"""The commands in README.md and docs/, and what runs each of them. `python tests/documentation.py` prints the list."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

TOP_TO_BOTTOM = {
    "README.md": "tests/test_docs.py",
    "docs/haystack.md": "tests/search_app/haystack/test_haystack_page.py",
    "docs/index-care.md": "tests/indexing/test_index_care_page.py",
    "docs/jobs.md": "tests/indexing/test_jobs_page.py",
}
"""Page → the test that runs its commands one after another, except those listed below."""

SLOW = ("search-app train", "SEARCH_APP_READER__MODEL=my-reader", "search-app evaluate")
"""Starts of README's commands that run in `make test-all` only."""

ELSEWHERE = {
    "README.md": {
        "make demo": ("tests/integration/test_demo.py", "run_demo("),
        "make setup": (".ci/run", "make check"),
        "search-app calibrate": ("tests/integration/test_cli.py", '"calibrate"'),
        "pip install -c requirements.lock '.[cpu]'": ("tests/integration/test_install.py", '"cpu"'),
        "docker compose up --detach": ("tests/docker/stack.py", '"up"'),
        "docker compose run --rm indexer": ("tests/docker/test_default_profile.py", '"indexer"'),
        "docker compose exec api cat /secrets/api/key": ("tests/docker/stack.py", "/secrets/api/key"),
    },
    "docs/elasticsearch.md": {
        "pip install": ("tests/integration/test_install.py", '"elasticsearch"'),
        "export SEARCH_APP_STORE": ("tests/elasticsearch/test_elasticsearch_docs.py", "PAGE"),
        "search-index apply handbook": ("tests/elasticsearch/test_elasticsearch_docs.py", "PAGE"),
        "search-app answer": ("tests/elasticsearch/test_elasticsearch_docs.py", "PAGE"),
        "curl --cacert ca.pem": ("tests/elasticsearch/test_security.py", "/_security/api_key"),
    },
    "docs/formats.md": {
        "search-index preview": ("tests/indexing/test_preview.py", '"preview"'),
        "export SEARCH_APP_INDEXING__FIELDS": ("tests/indexing/test_indexing_records.py", "INDEXING__FIELDS"),
        "search-index apply --rebuild": ("tests/indexing/test_indexing_cli.py", '"--rebuild"'),
    },
    "docs/gpu.md": {
        "python -m search_app.stores.vectors.selftest": ("tests/search_app/stores/test_gpu_vectors.py", "selftest."),
    },
    "docs/haystack.md": {
        "from hayhooks import": ("tests/search_app/haystack/test_haystack_page.py", '"hayhooks"'),
    },
    "docs/training.md": {
        "search-app train reader": ("tests/search_app/training/test_train_reader.py", '"train", "reader"'),
        "search-app train encoder": ("tests/search_app/training/test_train_encoder.py", '"train", "encoder"'),
        "search-index rebuild": ("tests/search_app/training/test_train_encoder.py", '"rebuild", "--encoder"'),
        "search-app adapt encoder": ("tests/search_app/training/test_adapt.py", '"adapt", "encoder"'),
        "search-app adapt reader": ("tests/search_app/training/test_adapt.py", "ReaderAdaptation("),
        "search-app distill reader": ("tests/search_app/training/test_distill_reader.py", '"distill", "reader"'),
        "search-app distill encoder": ("tests/search_app/training/test_distill_encoder.py", '"distill", "encoder"'),
        "search-app train average": ("tests/search_app/training/test_averaging.py", '"train", "average"'),
        "search-app prune reader": ("tests/search_app/training/test_prune.py", '"prune", "reader"'),
        "search-app prune encoder": ("tests/search_app/training/test_prune.py", 'role="encoder"'),
    },
    "docs/scaling.md": {
        "search-index apply s3://": ("tests/indexing/test_object_stores.py", '"s3://docs'),
        "search-index apply 's3://": ("tests/indexing/test_object_stores.py", "**/"),
        "search-index apply https://": ("tests/indexing/test_object_stores.py", "http.server"),
        "search-index apply 'https://": ("tests/indexing/test_object_stores.py", "*.jsonl"),
        "search-index plan --shard": ("tests/elasticsearch/test_shards.py", '"plan", "--shard"'),
        "search-index apply --shard": ("tests/elasticsearch/test_shards.py", '"apply", "--shard"'),
        "search-index apply --workers": ("tests/elasticsearch/test_ray.py", '"--workers"'),
        "search-index apply --ray": ("tests/elasticsearch/test_ray.py", '"--ray"'),
    },
}  # fmt: skip
"""Page → start of a command → the file that runs it, or the same on smaller data, and a text in that file."""

NOT_RUN = {
    "README.md": {
        "git clone": "needs a network and the repository's address",
        "source .venv/bin/activate": "changes the shell; tests put .venv/bin on PATH",
        "pip install torch==": "needs a network; make setup installs the same build from wheels at hand",
        "docker compose --profile monitoring": "needs images from registries; tests check the files and run Prometheus",
        "docker compose exec grafana": "needs images from registries",
        "docker compose --profile gpu": "needs an NVIDIA GPU and its container toolkit",
        "docker compose up --detach --no-deps ui": "needs an NVIDIA GPU and its container toolkit",
    },
    "docs/benchmarks.md": {
        "python -m benchmarks.conversion": "compares with a checkout of an older commit",
    },
    "docs/gpu.md": {
        "pip install -c requirements.lock '.[gpu]'": "needs an NVIDIA GPU",
        "grep -v '^torch=='": "needs CUDA 13",
        "pytest tests/search_app/stores/test_gpu_vectors.py": "runs in every tier; its GPU cases skip without one",
        "make bench-gpu": "needs an NVIDIA GPU",
    },
    "docs/jobs.md": {
        "export SEARCH_APP_JOBS__FOLDERS": "names a folder of the reader's machine; the page's test sets its own",
    },
}  # fmt: skip
"""Page → start of a command → why no test runs it."""


@dataclass(frozen=True)
class Block:
    """A fenced block of code; `language` is sh or python."""

    page: str
    language: str
    text: str

    def commands(self) -> list[str]:
        """The lines of a shell block, without those that continue a quoted text; a Python block is one command."""
        if self.language == "python":
            return [self.text]
        commands: list[str] = []
        for line in self.text.splitlines():
            if commands and re.sub(r" #.*", "", commands[-1]).count("'") % 2:
                commands[-1] += f"\n{line}"
            else:
                commands.append(line)
        return commands


def pages() -> list[str]:
    """Paths of all pages, relative to the repository."""
    return [path.relative_to(ROOT).as_posix() for path in sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])]


def blocks(page: str) -> list[Block]:
    """The page's blocks of commands, in order."""
    found = re.findall(r"^ *```(sh|python)\n(.*?)^ *```$", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)
    return [Block(page, language, text) for language, text in found]


def to_run(page: str) -> Iterator[Block]:
    """What the page's own test has to run: its blocks without the commands of ELSEWHERE and NOT_RUN."""
    for block in blocks(page):
        left = [command for command in block.commands() if _listed(page, command) is None]
        if left:
            yield Block(page, block.language, "".join(f"{command.rstrip()}\n" for command in left))


def runner(page: str, command: str) -> str | None:
    """The file that runs the command, or "not run: " and why; None if neither is known."""
    return _listed(page, command) or TOP_TO_BOTTOM.get(page)


def tier(command: str, path: str) -> str:
    """The smallest of `make test` and `make test-all` that runs the command in that file."""
    slow = r"mark\.slow\n(?:@.*\n)*def test_\w*(?:page|commands)"
    is_slow = path.startswith("tests/docker/") or re.search(slow, (ROOT / path).read_text()) or command.startswith(SLOW)
    return "make test-all" if is_slow else "make test"


def _listed(page: str, command: str) -> str | None:
    run = {start: path for start, (path, _) in ELSEWHERE.get(page, {}).items()}
    not_run = {start: f"not run: {reason}" for start, reason in NOT_RUN.get(page, {}).items()}
    starts = [start for start in run | not_run if command.startswith(start)]
    return (run | not_run)[max(starts, key=len)] if starts else None


if __name__ == "__main__":
    for page in pages():
        for block in blocks(page):
            for command in block.commands():
                place = runner(page, command) or "nothing runs it"
                where = f"{tier(command, place)}: {place}" if (ROOT / place).is_file() else place
                print(f"{page:22} {command.splitlines()[0][:58]:58} {where}")
