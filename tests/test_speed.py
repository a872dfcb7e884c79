"""The command speed: turns, ratios, and what counts as a regression."""

from __future__ import annotations

import ast
import json
import threading
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarl_reciprocator.commands import speed
from benchmarl_reciprocator.suites.speed import PARTS, Turns, iteration_rows, read_rows, worse

PACKAGE = "benchmarl_reciprocator"
SMALL = [
    "experiment.on_policy_n_envs_per_worker=8",
    "experiment.on_policy_collected_frames_per_batch=256",
    "experiment.on_policy_minibatch_size=128",
    "experiment.on_policy_n_minibatch_iters=1",
]


def test_one_thread_at_a_time_and_all_in_turn() -> None:
    turns, order = Turns(3), []

    def run(who: int) -> None:
        turns.wait(who)
        for _ in range(3 if who else 1):
            order.append(who)
            turns.pass_on(who)
        turns.leave(who)

    threads = [threading.Thread(target=run, args=(who,)) for who in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=10)
    # The first has left after its first turn.
    assert order == [0, 1, 2, 1, 2, 1, 2]


def test_iterations_of_both_algorithms() -> None:
    rows = {row["what"]: row for row in iteration_rows("prisoners_dilemma", 2, SMALL)}
    assert set(rows) == {f"prisoners_dilemma, {name}, {part}" for name in ("ippo", "reciprocator") for part in PARTS}
    assert rows["prisoners_dilemma, ippo, iteration"]["ratio"] == 1
    # Not which iteration is longer: two small ones on a busy machine do not tell.
    assert (
        rows["prisoners_dilemma, reciprocator, reciprocity"]["ratio"]
        > rows["prisoners_dilemma, ippo, reciprocity"]["ratio"]
    )
    for name in ("ippo", "reciprocator"):
        whole, *parts = (rows[f"prisoners_dilemma, {name}, {part}"]["seconds"] for part in PARTS)
        # Medians of the parts, of two iterations: of their means
        assert sum(parts) == pytest.approx(whole)


def test_what_is_worse() -> None:
    before = [{"what": "a", "ratio": 1.2}, {"what": "b", "ratio": 1.0}, {"what": "gone", "ratio": 1.0}]
    now = [{"what": "a", "ratio": 1.35}, {"what": "b", "ratio": 1.05}, {"what": "new", "ratio": 9.0}]
    assert worse(now, before, 0.1) == ["a: 1.350, was 1.200"]
    assert worse(now, before, 0.2) == []


def test_command_writes_compares_and_tells_by_its_exit_code(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(speed, "import_rows", lambda: [{"what": "import", "seconds": 0.1, "ratio": 0.5}])
    output = tmp_path / "speed.json"
    assert speed.main(["--only", "import", "--output", str(output)]) == 0
    assert read_rows(output) == [{"what": "import", "ratio": 0.5}]
    again = ["--only", "import", "--output", str(tmp_path / "again.json"), "--against", str(output)]
    assert speed.main(again) == 0
    content = json.loads(output.read_text())
    content["rows"][0]["ratio"] = 0.3
    output.write_text(json.dumps(content))
    assert speed.main(again) == 1
    assert "worse: import: 0.500, was 0.300" in capsys.readouterr().out
    assert speed.main([*again, "--tolerance", "0.3"]) == 0


@pytest.mark.parametrize("content", [None, "[]", '{"rows": [{"what": "a"}]}'])
def test_file_to_compare_with_must_be_one(content: str | None, tmp_path: Path, capsys) -> None:
    file = tmp_path / "speed.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(SystemExit, match="2"):
        speed.main(["--against", str(file)])
    assert "--against must be a speed.json of this command" in capsys.readouterr().err


def loaded_with(module: str, found: dict[str, set[str]]) -> dict[str, set[str]]:
    """What a module of this package loads at once, functions and type checkers' imports left out, and so on with those
    of this package.
    """
    spec = None if module in found else find_spec(module)
    if spec is None or spec.origin is None:
        return found
    found[module] = set()
    for node in ast.parse(Path(spec.origin).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            found[module].update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found[module].update([node.module, *(f"{node.module}.{alias.name}" for alias in node.names)])
    for name in [*found[module]]:
        if name.startswith(PACKAGE):
            try:
                loaded_with(name, found)
            except ModuleNotFoundError:
                # A name in a module, not a module
                continue
    return found


def test_registration_loads_nothing_that_is_seldom_used() -> None:
    found: dict[str, set[str]] = {}
    root = Path(find_spec(PACKAGE).origin).parent
    shipped = [
        f"{PACKAGE}.{'.'.join(file.relative_to(root).with_suffix('').parts)}"
        for folder in ("algorithms", "tasks")
        for file in (root / folder).rglob("*.py")
        if file.stem != "scenario"
    ]
    for module in [f"{PACKAGE}.plugin.registration", *shipped]:
        loaded_with(module, found)
    assert f"{PACKAGE}.tasks.pasture.rules" in found
    seldom = {"PIL", "vmas", "gym", "matplotlib", "pandas", "axelrod", "moviepy", "scipy"}
    loaded = {module: {name.partition(".")[0] for name in names} & seldom for module, names in found.items()}
    assert not any(loaded.values()), {module: names for module, names in loaded.items() if names}


def test_numbers_of_agents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def measured(preset: str, iterations: int, overrides: list[str]) -> list[dict]:
        asked.append((preset, iterations, overrides))
        return [{"what": f"{preset}, ippo, iteration", "seconds": 1.0, "ratio": 1.0}]

    monkeypatch.setattr(speed, "iteration_rows", measured)
    file = tmp_path / "agents.json"
    arguments = ["--only", "public_goods", "--agents", "2", "10", "--iterations", "3", "--output", str(file)]
    assert speed.main(arguments) == 0
    assert asked == [("public_goods", 3, ["task.n_agents=2"]), ("public_goods", 3, ["task.n_agents=10"])]
    assert [row["what"] for row in read_rows(file)] == [f"public_goods, ippo, iteration, {n} agents" for n in (2, 10)]
