"""Every public name can be imported from where the packages and the documentation say."""

import importlib
import pkgutil
import re
from pathlib import Path
from typing import Any

import pytest

import internet

ROOT = Path(__file__).parents[2]
PACKAGES = ["internet", *(m.name for m in pkgutil.walk_packages(internet.__path__, "internet.") if m.ispkg)]
PUBLIC = [name for name in PACKAGES if not any(part.startswith("_") for part in name.split("."))]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

DOTTED = re.compile(r"(?<![\w./@-])internet(?:\.[A-Za-z_]\w*)+(?![\w/-])")
IMPORTED = re.compile(r"^from (internet[\w.]*) import (?:\(([^)]*)\)|(.+))$", re.MULTILINE)


def find(dotted: str) -> Any:
    """The module or attribute with a dotted name."""
    parts = dotted.split(".")
    found: Any = internet
    for i, part in enumerate(parts[1:], 2):
        try:
            found = getattr(found, part)
        except AttributeError:
            found = importlib.import_module(".".join(parts[:i]))
    return found


@pytest.mark.parametrize("package", PUBLIC)
def test_a_package_has_what_it_lists(package: str) -> None:
    module = importlib.import_module(package)
    names = getattr(module, "__all__", [])
    assert len(set(names)) == len(names)
    for name in names:
        assert getattr(module, name) is not None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_names_on_a_page_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    names = {name for name in DOTTED.findall(text) if not name.endswith((".json", ".md", ".py", ".yaml"))}
    for module, several, one in IMPORTED.findall(text):
        listed = re.sub(r"#.*", "", several or one).split(",")
        names |= {f"{module}.{name.split(' as ')[0].strip()}" for name in listed if name.strip()}
    missing = []
    for name in sorted(names):
        try:
            find(name)
        except ImportError as error:
            missing.append(f"{name} ({error})")
    assert not missing, f"{page.name} names what does not exist: {', '.join(missing)}"
