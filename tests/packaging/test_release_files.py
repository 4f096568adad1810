"""The files of a release other than code agree with the code, and name only what exists."""

import re
from pathlib import Path
from typing import Any

import pytest

from internet import __version__

yaml = pytest.importorskip("yaml")
ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(not (ROOT / "CITATION.cff").is_file(), reason="the source tree is not here")


def read(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def test_the_citation_is_of_this_version() -> None:
    citation = read("CITATION.cff")
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()  # what the format requires
    assert str(citation["version"]) == __version__
    assert citation["license"] == "Apache-2.0"


def test_the_workflow_tries_every_wheel_that_it_builds() -> None:
    jobs = read(".github/workflows/release.yml")["jobs"]
    built = {step["with"]["name"] for job in jobs.values() for step in job["steps"] if "upload" in step.get("uses", "")}
    tried = {wheel["wheel"] for wheel in jobs["test"]["strategy"]["matrix"]["include"]}
    assert tried == built == set(jobs["test"]["needs"])
    assert jobs["publish"]["needs"] == "test"
    text = (ROOT / ".github/workflows/release.yml").read_text() + (ROOT / "pyproject.toml").read_text()
    for example in re.findall(r"examples/\w+\.py", text):
        assert (ROOT / example).is_file()


def test_the_readme_links_to_what_exists() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    assert links
    assert not [link for link in links if not (ROOT / link.split("#")[0]).exists()]
    assert (ROOT / "docs/figure.png").stat().st_size <= 200_000
