"""Gateways that are installed beside the server: one that is there is used, and one that is not changes nothing."""

import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Final

import pytest
import tomli_w

from qirsh.gateways.registry import GATEWAYS, installed
from qirsh_sandbox.registry import PSPS

SOURCE: Final = Path(__file__).resolve().parents[2] / "src"
PLUGIN: Final = "textpay"


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages of this environment without the example plugin: what a production install looks like."""
    folder = tmp_path_factory.mktemp("bare")
    for package in Path(sysconfig.get_path("purelib")).iterdir():
        if PLUGIN not in package.name and package.suffix != ".pth":
            (folder / package.name).symlink_to(package)
    return folder


def run(packages: Path, code: str, *arguments: str, more: str = "", config: Path | None = None) -> tuple[int, str]:
    """Run Python with these packages alone; its exit code and its output."""
    path = ":".join(filter(None, (str(packages), str(SOURCE), more)))
    environment = {"PYTHONPATH": path, "COLUMNS": "200", **({"QIRSH_CONFIG": str(config)} if config else {})}
    # -S: no site-packages, and so no plugin that is installed for development.
    command = [sys.executable, "-S", "-c", code, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


def serve(packages: Path, config: Path, more: str = "") -> tuple[int, str]:
    """Start a server that is expected to refuse to."""
    return run(packages, "from qirsh.cli import main; main()", "serve", more=more, config=config)


def written(folder: Path, **keys: object) -> Path:
    """A configuration file."""
    file = folder / "qirsh.toml"
    file.write_text(tomli_w.dumps(keys))
    return file


def test_the_example_is_installed_for_development() -> None:
    """Otherwise the tests of plugins would have none."""
    assert PLUGIN in installed(), "`make setup` installs examples/textpay: run it again"


def test_without_the_plugin_there_are_the_gateways_of_this_release_alone(bare: Path) -> None:
    """Nothing of the example is in the server or in the sandbox."""
    code = (
        "from qirsh.gateways.registry import installed; import qirsh_sandbox.registry as psps; "
        "print(*installed(), '|', *psps.installed())"
    )
    status, output = run(bare, code)
    assert (status, output.strip()) == (0, f"{' '.join(GATEWAYS)} | {' '.join(PSPS)}")


def test_no_file_of_ours_names_the_plugin() -> None:
    """A line for it anywhere would be a line that every other plugin lacks."""
    texts = [file for file in SOURCE.rglob("*") if file.suffix in {".py", ".sql", ".js", ".html", ".css", ".json"}]
    assert len(texts) > 100
    assert [str(file) for file in texts if PLUGIN in file.read_text("utf-8").lower()] == []


def test_a_section_of_a_plugin_that_is_not_installed_stops_the_start(bare: Path, tmp_path: Path) -> None:
    """Keys that nobody reads are payments that nobody takes: the operator must hear it at once."""
    status, output = serve(bare, written(tmp_path, textpay={"api_key": "key of the merchant"}))
    assert status == 1
    assert "textpay: no such key, and no gateway of this name is installed" in output
    assert ", ".join(GATEWAYS) in output
    assert "key of the merchant" not in output


def test_a_route_to_a_plugin_that_is_not_installed_stops_the_start(bare: Path, tmp_path: Path) -> None:
    """As above, for the one who wrote the route before the package came."""
    status, output = serve(bare, written(tmp_path, routes={"mobile_wallet": {"EGP": [PLUGIN]}}))
    assert status == 1
    assert "names textpay, which is not installed" in output


def test_a_plugin_cannot_take_the_name_of_a_key(bare: Path, tmp_path: Path) -> None:
    """Its section would replace ours: one called `dev` would switch the production checks off."""
    packages = tmp_path / "packages"
    facts = packages / "grabber-1.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: grabber\nVersion: 1\n")
    (facts / "entry_points.txt").write_text("[qirsh.gateways]\ndev = grabber:GATEWAY\n")
    (packages / "grabber.py").write_text("from qirsh.gateways.registry import GATEWAYS\nGATEWAY = GATEWAYS['paypal']\n")

    status, output = serve(bare, written(tmp_path, operator_key="x"), more=str(packages))

    assert status == 1
    assert "A gateway cannot be called dev" in output
