"""What other installed packages add by entry points: found, registered, told of where it cannot be used."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest
from fresh_python import fresh_python

from benchmarl_reciprocator import extensions
from benchmarl_reciprocator.extensions import ExtensionWarning, NameTakenError

GAME = """
from dataclasses import dataclass
from omegaconf import MISSING
from benchmarl_reciprocator.tasks.matrix.matrix_game import MatrixGameOptions, symmetric_table

@dataclass
class TaskConfig(MatrixGameOptions):
    {option}

    def payoff_table(self):
        return symmetric_table((3.0, 1.0, self.temptation, 0.0))
"""
DEFAULTS = """
    max_steps: int = 8
    continuation_probability: float = 1.0
    reward_noise: float = 0.0
    action_noise: float = 0.0
    observation: str = "joint"
    grouping: str = "auto"
    temptation: float = 5.0
"""
YAML = (
    "max_steps: 8\ncontinuation_probability: 1.0\nreward_noise: 0.0\naction_noise: 0.0\nobservation: joint\n"
    "grouping: auto\ntemptation: {temptation}\n"
)
ALGORITHM = """
from dataclasses import dataclass
from omegaconf import MISSING
from benchmarl.algorithms.ippo import Ippo, IppoConfig
from benchmarl_reciprocator.algorithms.yaml import ConfigFromYaml

class Mine(Ippo):
    def __init__(self, extra, **options):
        super().__init__(**options)
        self.extra = extra

@dataclass
class MineConfig(ConfigFromYaml, IppoConfig):
    extra: float = {default}

    @staticmethod
    def associated_class():
        return Mine
"""
PLAYERS = """
from benchmarl_reciprocator.tasks.matrix.matrix_game import MatrixGameOptions
from benchmarl_reciprocator.tasks.matrix.players import MatrixGame, all_c

def generous(options):
    if not isinstance(options, MatrixGameOptions):
        return None
    return all_c(MatrixGame(options.payoff_table()))

def picky(options):
    return options.no_such_option
"""
COMPOSED = """
import benchmarl_reciprocator
from benchmarl_reciprocator import load_experiment
from benchmarl.algorithms import algorithm_config_registry
from benchmarl.environments import task_config_registry
SHORT = ["experiment=social_dilemmas", "experiment.loggers=[]", "experiment.save_folder={folder}",
         "model=layers/small_mlp", "model@critic_model=layers/small_mlp"]
"""


def install(folder: Path, name: str, entry_points: dict[str, dict[str, str]], files: dict[str, str]) -> None:
    """A distribution as an installer leaves it, in a folder for the path of Python."""
    info = folder / f"{name}-1.5.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.5\n")
    lines = []
    for group, entries in entry_points.items():
        lines += [f"[benchmarl_reciprocator.{group}]", *(f"{entry} = {value}" for entry, value in entries.items())]
    (info / "entry_points.txt").write_text("\n".join(lines))
    for place, text in files.items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_text(text)


def python(code: str, folder: Path, *path: Path, fails: bool = False) -> str:
    """What a fresh process prints, with ``path`` before its own."""
    done = fresh_python(COMPOSED.replace("{folder}", str(folder)) + dedent(code), cwd=folder, path=path)
    assert (done.code != 0) == fails, done.printed[-3000:]
    return done.printed


def test_a_package_adds_all_kinds_of_things(tmp_path: Path) -> None:
    package = tmp_path / "package"
    install(
        package,
        "my-games",
        {
            "tasks": {"by_defaults": "my_games.by_defaults", "by_yaml": "my_games.by_yaml"},
            "algorithms": {"mine": "my_games.algorithm"},
            "players": {"generous": "my_games.players:generous", "picky": "my_games.players:picky"},
            "conf": {"my_games": "my_games.conf"},
        },
        {
            "my_games/__init__.py": "",
            "my_games/by_defaults.py": GAME.format(option=DEFAULTS.strip()),
            "my_games/by_yaml.py": GAME.format(option="temptation: float = MISSING"),
            "my_games/algorithm.py": ALGORITHM.format(default="MISSING"),
            "my_games/players.py": PLAYERS,
            # Without __init__.py: a folder is enough.
            "my_games/conf/task/social_dilemmas/by_yaml.yaml": "defaults: [social_dilemmas_by_yaml_config, _self_]\n"
            + YAML.format(temptation=4.0),
            "my_games/conf/algorithm/mine.yaml": "defaults: [ippo, mine_config, _self_]\nextra: 0.25\nlmbda: 0.5\n",
            "my_games/conf/preset/by_yaml.yaml": "# @package _global_\ndefaults:\n  - social_dilemma\n  - _self_\n"
            "  - override /task: social_dilemmas/by_yaml\n",
        },
    )
    printed = python(
        """
        import warnings
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for overrides in (["+preset=by_yaml"], ["task=social_dilemmas/by_defaults", "task.temptation=6", *SHORT]):
                experiment = load_experiment(["algorithm=mine", *SHORT, *overrides])
                task, config = experiment.task, experiment.algorithm_config
                print(">", task.config["temptation"], type(config).__name__, config.extra, config.lmbda)
            population = ["algorithm=mixed", "algorithm.focal=mine", "algorithm.others=generous"]
            print(">", load_experiment([*population, *SHORT, "+preset=by_yaml"]).algorithm_name)
        print(">", sorted({str(warning.message) for warning in caught if "picky" in str(warning.message)}))
        print(">", task_config_registry["social_dilemmas/by_yaml"].get_from_yaml().config["temptation"])
        print(">", task_config_registry["social_dilemmas/by_defaults"].get_from_yaml().config["temptation"])
        mine = algorithm_config_registry["mine"].get_from_yaml()
        print(">", mine.extra, mine.lmbda, mine.clip_epsilon)
        print(">", "generous" in task_config_registry["social_dilemmas/coins"].get_from_yaml().players())
        """,
        tmp_path,
        package,
    )
    # Warnings come in between.
    lines = [line.removeprefix("> ") for line in printed.splitlines() if line.startswith("> ")]
    assert lines[:3] == ["4.0 MineConfig 0.25 0.5", "6.0 MineConfig 0.25 0.5", "mixed_1_mine_others_generous"]
    assert "left out: 'picky' of the package my-games 1.5" in lines[3] and "no_such_option" in lines[3]
    assert lines[4:] == ["4.0", "5.0", "0.25 0.5 0.2", "False"]
    (task_file, *_) = tmp_path.glob("mixed_1_mine*/task.yaml")
    assert "my-games 1.5" in task_file.read_text() and "task: social_dilemmas/by_yaml" in task_file.read_text()


def test_what_cannot_be_loaded_is_told_and_leaves_the_rest(tmp_path: Path) -> None:
    package = tmp_path / "package"
    install(
        package,
        "half-broken",
        {"tasks": {"broken": "half_broken.missing", "empty": "half_broken.empty", "fine": "half_broken.fine"}},
        {
            "half_broken/__init__.py": "",
            "half_broken/empty.py": "",
            "half_broken/fine.py": GAME.format(option=DEFAULTS.strip()),
        },
    )
    printed = python("print(sorted(name for name in task_config_registry if 'social' in name))", tmp_path, package)
    assert "left out: 'broken' of the package half-broken 1.5 (entry point benchmarl_reciprocator.tasks" in printed
    assert "ModuleNotFoundError: No module named 'half_broken.missing'" in printed
    assert "half_broken.empty must define a dataclass TaskConfig" in printed
    assert "social_dilemmas/fine" in printed and "social_dilemmas/coins" in printed


@pytest.mark.parametrize(
    ("group", "name", "message"),
    [
        (
            "algorithms",
            "mixed",
            "taken-names 1.5: an algorithm must have a name of its own, but 'mixed' of taken.algorithm",
        ),
        ("tasks", "coins", "taken-names 1.5: a task must have a name of its own, but 'coins' is one of"),
        ("players", "ippo", "a player must have a name that no algorithm has, but 'ippo' of taken-names 1.5"),
    ],
)
def test_a_taken_name_is_one_clear_error(group: str, name: str, message: str, tmp_path: Path) -> None:
    value = {"algorithms": "taken.algorithm", "tasks": "taken.game", "players": "taken.players:generous"}[group]
    files = {
        "taken/__init__.py": "",
        "taken/algorithm.py": ALGORITHM.format(default=1.0),
        "taken/game.py": GAME.format(option=DEFAULTS.strip()),
        "taken/players.py": PLAYERS,
    }
    install(tmp_path / "package", "taken-names", {group: {name: value}}, files)
    assert message in python("benchmarl_reciprocator.register()", tmp_path, tmp_path / "package", fails=True)


def test_another_plugins_algorithm_is_not_replaced(tmp_path: Path) -> None:
    install(
        tmp_path / "package",
        "other-plugin",
        {},
        {
            "sitecustomize.py": "import benchmarl.algorithms\nclass FrozenConfig: pass\n"
            "benchmarl.algorithms.algorithm_config_registry['frozen'] = FrozenConfig\n"
        },
    )
    printed = python("", tmp_path, tmp_path / "package", fails=True)
    assert "an algorithm must have a name of its own, but 'frozen' of benchmarl_reciprocator.algorithms" in printed
    assert "is that of sitecustomize (of no package) already" in printed


def test_a_module_that_is_imported_first_is_registered_once_it_is_there(tmp_path: Path) -> None:
    # Its first lines load BenchMARL and this package, whose registration finds it half imported.
    code = "import benchmarl.algorithms\nfrom benchmarl_reciprocator import ReciprocatorConfig\n"
    files = {"early_bird.py": code + ALGORITHM.format(default=1.0), "sitecustomize.py": "import early_bird\n"}
    install(tmp_path / "package", "early-bird", {"algorithms": {"early": "early_bird"}}, files)
    printed = python("print(algorithm_config_registry['early'])", tmp_path, tmp_path / "package")
    assert "early_bird.MineConfig" in printed and "left out" not in printed


def test_yaml_files_of_all_packages_by_name(tmp_path: Path, monkeypatch) -> None:
    install(
        tmp_path,
        "more-suites",
        {"conf": {"more": "more_suites.conf", "gone": "more_suites.gone"}},
        {
            "more_suites/__init__.py": "",
            "more_suites/conf/suite/another.yaml": "seeds: 1\n",
            "more_suites/conf/suite/quick.yaml": "seeds: 1\n",
        },
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.warns(ExtensionWarning, match=r"'gone' of the package more-suites 1\.5 .*a package of yaml"):
        folders = extensions.conf_folders()
    assert list(folders) == ["benchmarl_reciprocator.conf", "more_suites.conf"]
    with pytest.warns(ExtensionWarning):
        suites = extensions.yaml_files("suite")
    assert suites["another"] == tmp_path / "more_suites/conf/suite/another.yaml"
    assert suites["quick"].parent.parent == folders["benchmarl_reciprocator.conf"]
    with pytest.warns(ExtensionWarning):
        assert list(extensions.clashing_yaml_files()) == [
            f"{Path('suite/quick.yaml')} of more_suites.conf is hidden by that of benchmarl_reciprocator.conf"
        ]


def test_two_packages_with_one_name(tmp_path: Path, monkeypatch) -> None:
    for name in ("first-one", "second-one"):
        install(tmp_path, name, {"players": {"same": f"{name[:-4]}_players:make"}}, {})
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(NameTakenError, match=r"'same' is in (first|second)-one 1\.5 and in (first|second)-one 1\.5"):
        extensions.declared("players")


def test_a_player_of_a_tasks_own_name_is_refused(tmp_path: Path, monkeypatch) -> None:
    from benchmarl_reciprocator import SocialDilemmaTask

    files = {"third_players.py": PLAYERS}
    install(tmp_path, "third-one", {"players": {"tit_for_tat": "third_players:generous"}}, files)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(NameTakenError, match=r"'tit_for_tat' of third-one 1\.5 is one of all_c"):
        SocialDilemmaTask.STAG_HUNT.get_from_yaml().players()
    # It has none for Coins, where the name is taken too.
    assert "tit_for_tat" in SocialDilemmaTask.COINS.get_from_yaml().players()


def test_providers_of_modules() -> None:
    assert extensions.provider_of("benchmarl_reciprocator.tasks.coins.coins").startswith("benchmarl-reciprocator ")
    assert extensions.provider_of("torchrl.envs").startswith("torchrl ")
    assert extensions.provider_of("__main__") is None


def test_a_script_registers_an_algorithm_with_its_yaml_beside_it(tmp_path: Path) -> None:
    (tmp_path / "script_algorithm.py").write_text(ALGORITHM.format(default="MISSING"))
    code = """
        import script_algorithm
        from benchmarl_reciprocator import register_algorithm
        try:
            register_algorithm(script_algorithm)
        except ValueError as error:
            print(error)
        open("script_algorithm.yaml", "w").write("defaults: [ippo, script_algorithm_config, _self_]\\nextra: 0.75\\n")
        register_algorithm(script_algorithm)
        arguments = ["task=social_dilemmas/stag_hunt", *SHORT]
        print(load_experiment(["algorithm=script_algorithm", *arguments]).algorithm_config.extra)
        script_algorithm.MineConfig.extra = 2.0
        algorithm_config_registry.pop("script_algorithm")
        open("other.yaml", "w").write("")
        print(script_algorithm.MineConfig.get_from_yaml("script_algorithm.yaml").extra)
        """
    printed = python(code, tmp_path, tmp_path)
    assert (
        "script_algorithm.MineConfig.extra must have a default, or a value in a yaml file, but has neither" in printed
    )
    assert printed.splitlines()[-2:] == ["0.75", "0.75"]
