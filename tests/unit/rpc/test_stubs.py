import sys
from pathlib import Path
from subprocess import run

ROOT = Path(__file__).resolve().parents[3]


def test_the_committed_stubs_are_what_the_protos_generate(tmp_path: Path) -> None:
    run([sys.executable, str(ROOT / "scripts" / "generate_stubs.py"), str(tmp_path)], check=True, timeout=60)
    generated = {path.name: path.read_text() for path in tmp_path.iterdir()}
    committed = {path.name: path.read_text() for path in (ROOT / "wattkeeper" / "rpc").glob("*_pb2*.py*")}
    assert committed == generated, "run python scripts/generate_stubs.py and commit what it changes"
