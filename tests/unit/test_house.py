"""The repository itself: generated files are up to date, the wheel holds what it should, nothing private slips in."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from scripts.generate import outputs
from scripts.require_ran import skipped

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("wattkeeper", "scaler", "kserve_hooks", "admission")


def tracked() -> list[Path]:
    """Every file of the repository; none where this is no git checkout."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=30
    ).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


@pytest.mark.parametrize("name", outputs())
def test_a_generated_file_is_what_its_source_makes(name: str) -> None:
    assert (ROOT / name).read_text() == outputs()[name], "run make generate and commit what it changes"


def test_no_definition_is_left_of_a_kind_that_is_gone() -> None:
    for folder in ("manifests/crds", "manifests/chart/files/crds"):
        present = {f"{folder}/{path.name}" for path in (ROOT / folder).iterdir()}
        assert present == {name for name in outputs() if name.startswith(folder + "/")}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The names in the wheel, built from a copy: a build leaves files beside its sources."""
    copy = tmp_path_factory.mktemp("source")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy / name)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", "dist", "."]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    (made,) = (copy / "dist").glob("*.whl")
    with zipfile.ZipFile(made) as archive:
        return archive.namelist()


def test_the_wheel_holds_four_packages_and_nothing_else(wheel: list[str]) -> None:
    tops = {name.split("/")[0] for name in wheel if ".dist-info/" not in name}
    assert tops == set(PACKAGES)


def test_the_wheel_holds_every_module_and_the_licence(wheel: list[str]) -> None:
    sources = {path.relative_to(ROOT).as_posix() for name in PACKAGES for path in (ROOT / name).rglob("*.py")}
    assert sources <= set(wheel)
    assert "wattkeeper/py.typed" in wheel
    assert any(name.endswith("/licenses/LICENSE") for name in wheel)


def test_no_file_speaks_of_the_machine_it_was_written_on() -> None:
    private = re.compile(rf"{re.escape(str(ROOT))}/|/Users/\w|/home/(?!runner\b)\w+/")
    found = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in tracked()
        if (match := private.search(path.read_text(errors="replace")))
    ]
    assert found == []


def test_nothing_is_left_to_do_in_the_sources() -> None:
    later = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")
    found = [
        str(path.relative_to(ROOT))
        for path in tracked()
        if path.suffix in (".py", ".md", ".yaml", ".tpl") and later.search(path.read_text())
    ]
    assert found == []


def test_requirements_are_pinned_by_hash_and_name_no_index() -> None:
    text = (ROOT / "requirements" / "dev.txt").read_text()
    assert "--index-url" not in text
    assert "://" not in text
    pins = re.findall(r"^[a-z0-9][^\n]*", text, flags=re.MULTILINE | re.IGNORECASE)
    assert pins
    assert all("==" in pin and pin.endswith("\\") for pin in pins)


def test_links_between_pages_lead_somewhere() -> None:
    links = (
        (page, target)
        for page in tracked()
        if page.suffix == ".md"
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text())
    )
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page, target in links
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert broken == []


def test_a_report_without_tests_counts_as_one_that_did_not_run() -> None:
    assert skipped("<testsuites/>") == ["the report names no test at all"]


def test_every_skipped_test_is_named_with_its_reason() -> None:
    report = """<testsuites><testsuite>
      <testcase classname="a" name="ran"/>
      <testcase classname="a" name="skipped"><skipped message="no Go"/></testcase>
    </testsuite></testsuites>"""
    assert skipped(report) == ["a.skipped: no Go"]
