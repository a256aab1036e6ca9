"""Fault points: a closed list of names, each at a place of its own, and nothing at any of them in production."""

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from unit_support import SOURCE

from qirsh import fault_points
from qirsh.fault_points import Step
from qirsh.server import serve
from qirsh.settings import ConfigurationError, Settings
from qirsh.working import work


@pytest.fixture(autouse=True)
def nothing_registered() -> Iterator[None]:
    """Each test begins and ends with none."""
    fault_points.clear()
    yield
    fault_points.clear()


def test_a_step_does_only_what_is_registered_for_it() -> None:
    """A kill at one step must not come at another, or a test proves something else than it says."""
    reached: list[str] = []
    fault_points.register(Step.CAPTURE_DUE, lambda: reached.append("due"))
    fault_points.register("capture.answered", lambda: reached.append("answered"))

    for step in (Step.CAPTURE_DUE, Step.SWEEP_LEASED, Step.CAPTURE_ANSWERED):
        fault_points.reached(step)

    assert reached == ["due", "answered"]
    assert fault_points.registered() == {Step.CAPTURE_DUE, Step.CAPTURE_ANSWERED}


def test_a_misspelt_step_is_refused() -> None:
    """It would never be reached, and the test that named it would prove nothing."""
    with pytest.raises(ValueError, match=r"capture\.dew"):
        fault_points.register("capture.dew", lambda: None)
    assert not fault_points.registered()


def test_every_step_is_reached_at_exactly_one_place() -> None:
    """A name that no code reaches, or that two places share, kills somewhere else than its docstring says."""
    found = Counter(name for file in sorted((SOURCE / "qirsh").rglob("*.py")) for name in _reached_in(file))
    assert found == Counter(step.name for step in Step)


async def test_production_refuses_to_start_with_a_fault_point_registered(tmp_path: Path) -> None:
    """No database is touched and no port opened: neither a server nor a worker begins."""
    fault_points.register(Step.INITIATE_CLAIMED, lambda: None)

    with pytest.raises(ConfigurationError, match=r"initiate\.claimed"):
        await serve(Settings(), tmp_path, "127.0.0.1", 0, lambda _: None)
    with pytest.raises(ConfigurationError, match=r"initiate\.claimed"):
        await work(Settings(), tmp_path, None, lambda _: None)

    assert not list(tmp_path.iterdir())


def _reached_in(file: Path) -> Iterator[str]:
    """The steps that a module reaches, each as often as it stands there."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        match node:
            case ast.Call(func=ast.Name(id="reached"), args=[ast.Attribute(value=ast.Name(id="Step"), attr=name)]):
                yield name
