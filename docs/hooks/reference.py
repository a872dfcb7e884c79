"""The pages of the reference that are made from the code and its yaml files: nothing here names a task or algorithm."""

from __future__ import annotations

import ast
import importlib
import inspect
import io
import re
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout, suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import scores
import torch
import yaml
from benchmarl.algorithms import algorithm_config_registry
from benchmarl.environments import task_config_registry
from docstrings import as_markdown
from options import cell, head_comment, merged, sections_of, tables
from PIL import Image

import benchmarl_reciprocator
from benchmarl_reciprocator import MatrixGameEnv, SocialDilemmaClass, register
from benchmarl_reciprocator.algorithms.not_trained import NotTrainedConfig
from benchmarl_reciprocator.algorithms.yaml import options_in_yaml_of, yaml_of
from benchmarl_reciprocator.commands.cli import commands
from benchmarl_reciprocator.evaluation.reports.words import title_of
from benchmarl_reciprocator.tasks.noise import NoiseOptions
from benchmarl_reciprocator.tasks.task import yaml_of as yaml_of_task

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = benchmarl_reciprocator.__name__
CONF = ROOT / "conf"
NOTES = ROOT / "docs" / "notes"
RESULTS = ROOT / "examples" / "results"
NOISE = "../../how-to/noise.md"
ARXIV = re.compile(r"\b(\d{4}\.\d{5})\b")
MARK = {True: "yes", False: "no"}
ACRONYMS = {"ippo", "iql", "loqa", "mappo", "mate", "qmix", "vdn"}
# What the pages of the API are called, by the folder that a name loads from.
PARTS = {
    "influence": "Influence",
    "algorithms": "Algorithms",
    "tasks": "Tasks",
    "agents": "Agents",
    "plugin": "Experiments and registration",
    "extensions": "Extensions",
    "evaluation": "Evaluation",
}
Pages = dict[str, "str | bytes"]


def pages() -> Pages:
    """Every generated page and picture, by its path in the site's sources."""
    register()
    made: Pages = {}
    for name in tasks():
        made |= task_pages(name)
    for name in algorithms():
        made[f"reference/algorithms/{name}.md"] = algorithm_page(name)
    made["reference/tasks/index.md"] = index_of_tasks()
    made["reference/algorithms/index.md"] = index_of_algorithms()
    made["reference/players.md"] = players_page()
    made["reference/presets.md"] = yaml_page("Presets", "preset", "+preset=")
    made["reference/suites.md"] = yaml_page("Suites", "suite", "suite=")
    made["reference/scenarios.md"] = yaml_page("Scenarios", "scenario", "")
    made["reference/commands.md"] = commands_page()
    return made | api_pages()


def tasks() -> list[str]:
    """Names of all registered social dilemmas, without their environment's."""
    prefix = f"{SocialDilemmaClass.env_name()}/"
    return sorted(name.removeprefix(prefix) for name in task_config_registry if name.startswith(prefix))


def algorithms() -> list[str]:
    """Names of all registered algorithms that are not BenchMARL's own."""
    return sorted(name for name, config in algorithm_config_registry.items() if not _of_benchmarl(config))


def _of_benchmarl(config: type) -> bool:
    return config.__module__.partition(".")[0] == "benchmarl"


# Tasks


def task_pages(name: str) -> Pages:
    """The page of a task, and the picture on it where the task renders."""
    task = _task(name)
    options = task.options
    env = options.make_env(num_envs=2, device="cpu", seed=0)
    module = inspect.getmodule(type(options))
    title = as_markdown(inspect.getdoc(module) or name)
    more = title.partition("\n\n")[2]
    parts = [f"# {title_of(name)}\n\n{_about(options)}\n", _how_to_start(name)]
    picture = _picture(env)
    made: Pages = {}
    if picture is not None:
        made[f"reference/tasks/{name}.png"] = picture
        parts.append(f"![The first step of {name.replace('_', ' ')}]({name}.png){{ .picture }}\n")
    parts.append(f"## In short\n\n{_facts(task, env)}\n")
    parts += ["## Rules\n", more, _rules_in(type(options)), _note("tasks", name)]
    if isinstance(env, MatrixGameEnv) and env.payoffs.ndim == 3 and max(env.payoffs.shape) <= 6:
        parts.append(_payoff_table(env.payoffs))
    parts.append(_described(type(env)))
    parts.append(f"## Options\n\n{_options_of_task(name, task)}")
    parts.append(f"## Measures\n\n{_measures(task, env)}")
    parts.append(f"## Scripted players\n\n{_players_of(task)}")
    parts.append(_sources(module, inspect.getmodule(type(env))))
    parts.append(f"## Scores\n\n{_scores_of_task(name, task)}")
    made[f"reference/tasks/{name}.md"] = "\n".join(parts)
    return made


def index_of_tasks() -> str:
    rows = []
    for name in tasks():
        task = _task(name)
        about = _about(task.options)
        measure = task.cooperation
        players = ", ".join(f"`{player}`" for player in task.players()) or "-"
        rows.append(f"| [`{name}`]({name}.md) | {cell(about)} | {measure.label if measure else '-'} | {players} |")
    return "\n".join(
        [
            "# Tasks",
            "",
            "`task=social_dilemmas/<name>`. Each page is generated from the task's code and yaml file. BenchMARL's own "
            "tasks work with all algorithms here as well.",
            "",
            "To add a game of your own, see [Add your own game](../../tutorials/own-task.md).",
            "",
            "| task | game | measure of cooperation | scripted players |",
            "| --- | --- | --- | --- |",
            *rows,
            "",
        ]
    )


def _task(name: str) -> SocialDilemmaClass:
    task = task_config_registry[f"{SocialDilemmaClass.env_name()}/{name}"].get_from_yaml()
    return task.for_algorithm(needs_joint_group=False)


def _about(options: Any) -> str:
    """What a game is in a sentence or two: its module says it, or the class of its environments, where the module says
    that it makes a task of those.
    """
    said = _first_paragraph(inspect.getmodule(type(options)))
    return _first_paragraph(type(options.make_env(1, "cpu", 0))) if re.search(r"\bas (a|one) task\b", said) else said


def _how_to_start(name: str) -> str:
    presets = sorted(file.stem for file in (CONF / "preset").glob("*.yaml") if _task_of_preset(file) == name)
    lines = [f"python -m benchmarl.run algorithm=reciprocator +preset={preset}" for preset in presets] or [
        f"python -m benchmarl.run algorithm=reciprocator task=social_dilemmas/{name} experiment=social_dilemmas"
    ]
    return "```bash\n" + "\n".join(lines) + "\n```\n"


def _task_of_preset(file: Path) -> str | None:
    """The social dilemma that a preset chooses, itself or by one that it takes; ``None`` where it leaves it open."""
    for entry in reversed((yaml.safe_load(file.read_text()) or {}).get("defaults", [])):
        if isinstance(entry, dict) and "override /task" in entry:
            return entry["override /task"].rpartition("/")[2]
        parent = CONF / "preset" / f"{entry}.yaml"
        if isinstance(entry, str) and entry != "_self_" and parent.is_file():
            return _task_of_preset(parent)
    return None


def _facts(task: SocialDilemmaClass, env: Any) -> str:
    group = next(iter(env.group_map))
    observed = env.full_observation_spec_unbatched[group, "observation"]
    measure = task.cooperation
    bounds = ", ".join(f"{key.replace('_', ' ')} {value:.4g}" for key, value in task.bounds().items())
    actions = sorted(set(env.n_actions)) if hasattr(env, "n_actions") else []
    kinds = f"{', '.join(map(str, actions))} discrete" if actions else "discrete"
    if task.supports_continuous_actions():
        kinds += "; or continuous"
    low, high = (None, None) if measure is None else (measure.low, measure.high)
    within = f" in [{low:g}, {high:g}]" if low is not None and high is not None else ""
    rows = {
        "agents, by default": str(sum(map(len, env.group_map.values()))),
        "actions of an agent": kinds,
        "what an agent observes": f"`{list(observed.shape[1:])}`",
        "global state": f"`{list(env.full_observation_spec_unbatched['state'].shape)}`",
        "steps of an episode, by default": str(env.max_steps),
        "agents can exchange seats": MARK[bool(getattr(env, "interchangeable_seats", False))],
        "measure of cooperation": f"{measure.label} (`{measure.metric}`){within}" if measure else "none",
        "returns of scripted play": bounds or "no bounds",
        "version of the rules": str(task.version),
    }
    return "\n".join(["| | |", "| --- | --- |", *(f"| {key} | {cell(value)} |" for key, value in rows.items())])


def _payoff_table(payoffs: torch.Tensor) -> str:
    rows, columns, _ = payoffs.shape
    lines = [
        "Rewards of agent 0 (rows) and agent 1 (columns):\n",
        "| | " + " | ".join(f"action {column}" for column in range(columns)) + " |",
        "| --- |" + " --- |" * columns,
    ]
    for row in range(rows):
        cells = [", ".join(f"{value:g}" for value in payoffs[row, column].tolist()) for column in range(columns)]
        lines.append(f"| **action {row}** | " + " | ".join(cells) + " |")
    return "\n".join([*lines, ""])


def _options_of_task(name: str, task: SocialDilemmaClass) -> str:
    file = yaml_of_task(name)
    if file is None:
        return "\n".join(
            ["| option | default |", "| --- | --- |", *(f"| `task.{k}` | `{v}` |" for k, v in task.config.items())]
        )
    values = yaml.safe_load(file.read_text())
    text = tables(sections_of(file, ""), values, "task.").replace("### \n", "")
    noise = {option.name for option in fields(NoiseOptions)}
    shared = [f"`task.{name}`" for name in task.config if name in noise and name not in values]
    if shared:
        text += f"\nBesides, 0 by default: {' and '.join(shared)}, see [Noise]({NOISE}).\n"
    return f"Set on the command line, as `task.max_steps=64`, or in yaml.\n{text}"


def _measures(task: SocialDilemmaClass, env: Any) -> str:
    torch.manual_seed(0)
    keys: dict[str, None] = {}
    for key in task.evaluation_metrics([env.rollout(4)[0]]):
        keys[re.sub(r"(agent_|from_)\d+", r"\1<i>", key)] = None
    listed = ", ".join(f"`{key}`" for key in keys)
    text = _first_paragraph(type(task.options).metrics)
    text = re.sub(r",? see `.*", "", text.replace("\n", " ")).rstrip(".")
    more = f" {text}." if text else ""
    return f"In logs and in the evaluation JSON, one value for every episode: {listed}.{more}\n"


def _players_of(task: SocialDilemmaClass) -> str:
    makers = task.players()
    if not makers:
        return "None.\n"
    rows = [f"| `{name}` | {cell(_first_paragraph(_made_by(maker)))} |" for name, maker in makers.items()]
    how = "`algorithm=mixed algorithm.others=<player>`, or `algorithm=scripted algorithm.player=<player>`.\n\n"
    return how + "\n".join(["| player | what it does |", "| --- | --- |", *rows, ""])


def _made_by(maker: Callable[..., Any]) -> Any:
    """The function or class that a maker of players calls in the end."""
    while hasattr(maker, "func"):
        maker = next((a for a in maker.args if inspect.isfunction(a) or inspect.isclass(a)), maker.func)
    return maker


def _picture(env: Any) -> bytes | None:
    """The first step of an episode as a PNG; ``None`` where the environment does not render."""
    if not callable(getattr(env, "render", None)):
        return None
    env.reset()
    frame = env.render(mode="rgb_array") if "mode" in inspect.signature(env.render).parameters else env.render()
    if frame is None:
        return None
    file = io.BytesIO()
    Image.fromarray(np.asarray(frame).astype(np.uint8)).save(file, "PNG", optimize=True)
    return file.getvalue()


def _rules_in(options: type) -> str:
    """What the docstring of a task's options says besides of the options."""
    text = as_markdown(inspect.cleandoc(options.__doc__ or "")).partition("\nArgs:")[0]
    return "\n\n".join(part for part in text.split("\n\n") if " options " not in f" {part.lower()} ")


# Algorithms


def algorithm_page(name: str) -> str:
    """The page of an algorithm: what it does, its equations, its options."""
    config = algorithm_config_registry[name]
    module = importlib.import_module(config.__module__)
    algorithm = config if _is_of_members(config) else config.associated_class()
    parts = [
        f"# {_name_of(name)}\n\n{as_markdown(inspect.getdoc(module) or '')}\n",
        f"```bash\npython -m benchmarl.run {_call(name)} +preset=prisoners_dilemma\n```\n",
        _described(algorithm, heading=False),
        _note("algorithms", name),
        f"## In short\n\n{_facts_of_algorithm(config)}\n",
        _functions(module),
        f"## Options\n\n{_options_of_algorithm(name, config)}",
        _sources(module),
        f"## Scores\n\n{scores.of_algorithm(name, _name_of(name), _score_tables())}",
        _cost_of_algorithm(name),
        f"## Reports\n\n{_reports_on(_name_of(name), name)}",
    ]
    return "\n".join(part for part in parts if part)


def index_of_algorithms() -> str:
    rows = []
    for name in algorithms():
        config = algorithm_config_registry[name]
        about = _first_sentence(importlib.import_module(config.__module__))
        rows.append(f"| [`{name}`]({name}.md) | {cell(about)} |")
    text = (
        "`algorithm=<name>`. Each page is generated from the algorithm's code and yaml file. BenchMARL's own (`ippo`, "
        "`mappo`, `qmix`, `vdn`, `iql`, ...) run beside them, unchanged.\n\n"
        "To add one of your own, see [Add your own algorithm](../../tutorials/own-algorithm.md).\n"
    )
    table = ["| algorithm | what |", "| --- | --- |", *rows, ""]
    return "\n".join([f"# Algorithms\n\n{text}", *table, _note("algorithms", "index")])


def _name_of(algorithm: str) -> str:
    """An algorithm's name as a title."""
    words = [word.upper() if word in ACRONYMS else word for word in algorithm.split("_")]
    return " ".join([words[0][0].upper() + words[0][1:], *words[1:]])


def _call(name: str) -> str:
    """How an algorithm is chosen on the command line, with what it cannot do without."""
    missing = [key for key, value in options_in_yaml_of(name).items() if value is None and key == "checkpoint"]
    return " ".join([f"algorithm={name}", *(f"algorithm.{key}=<file>" for key in missing)])


def _facts_of_algorithm(config: Any) -> str:
    if _is_of_members(config):
        return "What its members learn from, and which actions they take, is theirs: see their pages."
    critic = "none"
    if config.has_centralized_critic():
        critic = "centralised: it works within a group, see [Groupings](../../how-to/groupings.md)"
    elif config.has_independent_critic():
        critic = "of each agent, from what the agent observes"
    learns = "its own recent experience (on-policy)" if config.on_policy() else "a replay buffer (off-policy)"
    rows = {
        "learns from": "nothing: it is not trained" if issubclass(config, NotTrainedConfig) else learns,
        "discrete actions": MARK[config.supports_discrete_actions()],
        "continuous actions": MARK[config.supports_continuous_actions()],
        "critic": critic,
    }
    return "\n".join(["| | |", "| --- | --- |", *(f"| {key} | {value} |" for key, value in rows.items())])


def _cost_of_algorithm(name: str) -> str:
    text = scores.cost_of(name, _score_tables())
    return f"## Cost\n\n{text}" if text else ""


def _scores_of_task(name: str, task: SocialDilemmaClass) -> str:
    methods = {*algorithm_config_registry, *task.players(), "guilt", "envy"}
    return scores.of_task(name, methods, _score_tables())


def _score_tables() -> list[scores.Scores]:
    return scores.tables(_game_of_preset)


def _game_of_preset(name: str) -> str | None:
    file = CONF / "preset" / f"{name}.yaml"
    return _task_of_preset(file) if file.is_file() else None


def _is_of_members(config: type) -> bool:
    """Whether what an algorithm can do depends on the members that it is made of."""
    return not isinstance(inspect.getattr_static(config, "associated_class"), staticmethod)


def _functions(module: Any) -> str:
    """The public functions on tensors that an algorithm's modules import: its equations in code."""
    found = dict.fromkeys(_public_functions(module.__name__, depth=3))
    if not found:
        return ""
    return "## In code\n\n" + "\n".join(_described(function) for function in found)


def _public_functions(module: str, depth: int) -> Iterator[Any]:
    imported = importlib.import_module(module)
    for node in ast.parse(inspect.getsource(imported)).body:
        if not (isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGE)):
            continue
        for alias in node.names:
            value = getattr(imported, alias.name, None)
            shown = alias.name in benchmarl_reciprocator.__all__
            if shown and inspect.isfunction(value) and not value.__module__.startswith(f"{PACKAGE}.plugin"):
                yield value
        if depth and (node.module or "").startswith(f"{PACKAGE}.algorithms."):
            yield from _public_functions(node.module or "", depth - 1)


def _options_of_algorithm(name: str, config: type) -> str:
    files = list(_yaml_files(name, yaml_of(config, name)))
    values = options_in_yaml_of(name)
    if not files:
        return "Those of the algorithm that it derives from.\n"
    return tables(merged(files), values, "algorithm.")


def _yaml_files(name: str, file: Path | None) -> Iterator[tuple[Path, str]]:
    """The yaml files that an algorithm's is made of, those that it takes first, and a title for each."""
    if file is None:
        return
    for entry in (yaml.safe_load(file.read_text()) or {}).get("defaults", []):
        parent = file.parent / f"{str(entry).removesuffix('@_here_')}.yaml"
        if parent.is_file():
            yield from _yaml_files(parent.stem, parent)
    yield file, f"Of `{name}`"


# Players, presets, suites


def players_page() -> str:
    parts = [
        "# Scripted players\n\nPlayers are not trained. Their memory starts anew with every episode. A name that no "
        "algorithm has is looked up among the task's players: `algorithm.others=grim`, "
        "`'algorithm.groups={agent_0: reciprocator, agent_1: all_d}'`; `algorithm=scripted "
        "algorithm.player=tit_for_tat` plays it in all seats. Those that act at random show it only if evaluation "
        "samples actions (`experiment.evaluation_deterministic_actions=False`, as in the presets).\n\nTo write one, "
        "see [Contributing](../contributing.md#add-a-scripted-player).\n"
    ]
    by_table: dict[str, list[str]] = {}
    for name in tasks():
        text = _players_of(_task(name)).partition("\n\n")[2]
        if text:
            by_table.setdefault(text, []).append(name)
    for text, names in by_table.items():
        parts.append("## " + ", ".join(title_of(name) for name in names) + f"\n\n{text}")
    return "\n".join(parts)


def yaml_page(title: str, folder: str, how: str) -> str:
    """A page of all yaml files in a folder of ``conf/``, each with its head comment and its content."""
    parts = [f"# {title}\n\n`{how}<name>`.\n" if how else f"# {title}\n"]
    for file in sorted((CONF / folder).glob("*.yaml")):
        comment = head_comment(file)
        about = "\n".join(line if line.strip() else "" for line in comment.splitlines())
        content = "\n".join(f"    {line}" for line in ["```yaml", *_without_head(file), "```"])
        source = f'??? note "conf/{folder}/{file.name}"\n\n{content}\n'
        parts.append(f"## `{file.stem}`\n\n{_prose(about)}\n\n{source}")
    return "\n".join(parts)


def commands_page() -> str:
    """What each command of ``benchmarl-reciprocator`` says of itself."""
    parts = [
        "# Commands\n\nAll are `benchmarl-reciprocator <command>`, or `python -m benchmarl_reciprocator <command>`.\n"
    ]
    for name, about in commands().items():
        said = io.StringIO()
        with redirect_stdout(said), suppress(SystemExit):
            importlib.import_module(f"{PACKAGE}.commands.{name}").main(["--help"])
        parts.append(f"## {name}\n\n{about.replace('``', '`')}\n\n```text\n{said.getvalue().strip()}\n```\n")
    return "\n".join(parts)


def _prose(comment: str) -> str:
    """A comment as Markdown: commands, which are indented, as code."""
    out, code = [], False
    for line in comment.splitlines():
        is_code = line.startswith("  ") and line.strip() != ""
        if is_code and not code:
            out += ["", "```bash"]
        if code and not is_code:
            out += ["```", ""]
        out.append(line.strip() if is_code else line.replace("<", "&lt;"))
        code = is_code
    return "\n".join([*out, "```"] if code else out)


def _without_head(file: Path) -> list[str]:
    lines = file.read_text().splitlines()
    while lines and lines[0].startswith("#"):
        lines.pop(0)
    return lines


# API


def api_pages() -> Pages:
    """A page for each folder that public names load from, and one that lists them all."""
    parts: dict[str, list[str]] = {}
    for name in benchmarl_reciprocator.__all__:
        parts.setdefault(benchmarl_reciprocator._MODULE_OF[name].split(".")[1], []).append(name)
    made: Pages = {}
    index = ["# API\n\nEvery name can be imported from `benchmarl_reciprocator`; it loads when it is first used.\n"]
    for part, names in sorted(parts.items(), key=lambda item: [*PARTS, item[0]].index(item[0])):
        title = PARTS.get(part, title_of(part))
        listed = sorted(names, key=lambda name: (name.islower(), name))
        docs = "\n".join(f"::: {_path(name)}\n" for name in listed)
        made[f"reference/api/{part}.md"] = f"# {title}\n\n{docs}"
        links = ", ".join(f"[`{name}`]({part}.md#{_path(name)})" for name in listed)
        index.append(f"## {title}\n\n{links}\n")
    made["reference/api/index.md"] = "\n".join(index)
    return made


def _path(name: str) -> str:
    """Where a public name is defined."""
    value = getattr(benchmarl_reciprocator, name)
    module = (
        value.__module__
        if inspect.isclass(value) or inspect.isfunction(value)
        else benchmarl_reciprocator._MODULE_OF[name]
    )
    return f"{module}.{name}"


# What several pages need


def _note(folder: str, name: str) -> str:
    """What is written by hand for a page, with links as they are on it; empty where there is nothing."""
    file = NOTES / folder / f"{name}.md"
    return file.read_text() if file.is_file() else ""


def _described(thing: Any, heading: bool = True) -> str:
    """What mkdocstrings says of a class or function, apart from the API's pages; its text alone without ``heading``."""
    if not (thing.__module__.startswith(PACKAGE) and inspect.getdoc(thing)):
        return ""
    options = {"heading_level": 3, "members": False, "skip_local_inventory": True}
    if not heading:
        options |= {"show_root_heading": False, "show_root_toc_entry": False, "show_signature": False}
    listed = "\n".join(f"      {key}: {str(value).lower()}" for key, value in options.items())
    return f"::: {thing.__module__}.{thing.__qualname__}\n    options:\n{listed}\n"


def _first_paragraph(thing: Any) -> str:
    own = thing.__doc__ if inspect.isclass(thing) else inspect.getdoc(thing)
    return as_markdown(inspect.cleandoc(own or "")).partition("\n\n")[0]


def _first_sentence(module: Any) -> str:
    return _first_paragraph(module).partition("\n")[0]


def _sources(*modules: Any) -> str:
    """The papers that modules name, by their numbers at arXiv."""
    found: dict[str, str] = {}
    for module in dict.fromkeys(modules):
        text = re.sub(r"\s*\n\s*#?\s*", " ", inspect.getsource(module))
        earlier = 0
        for match in ARXIV.finditer(text):
            # What stands before another number is its name.
            before = re.findall(
                r"\b(?:[A-Z][\w.\u00c0-\u017f-]+(?:, | and )?)+(?: et al\.)? \d{4}",
                text[max(earlier, match.start() - 90) : match.start()],
            )
            earlier = match.end()
            found.setdefault(match[1], before[-1] if before else "")
    if not found:
        return ""
    listed = [
        f"- {name + ', ' if name else ''}[arXiv {number}](https://arxiv.org/abs/{number})"
        for number, name in found.items()
    ]
    return "## Sources\n\n" + "\n".join(listed) + "\n"


def _reports_on(title: str, name: str) -> str:
    """Links to the committed reports that name an algorithm."""
    names = re.compile(rf"\b({re.escape(title)}|{re.escape(name)})\b", re.I)
    links = []
    for page in sorted(RESULTS.rglob("*.md")):
        if names.search(page.read_text()) and page.name in ("report.md", "README.md") and page.parent != RESULTS:
            place = page.relative_to(RESULTS)
            links.append(f"- [{place.as_posix()}](../../results/{place.as_posix()})")
    return "\n".join([*links, ""]) if links else "No committed report yet.\n"
