"""The league: one table of ours and of published figures, and bars that are read off results."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarl_reciprocator import SocialDilemmaTask
from benchmarl_reciprocator.commands import league as command
from benchmarl_reciprocator.evaluation.league.bars import Bar, Results, answers_table, bars_table, missing, read_bars
from benchmarl_reciprocator.evaluation.league.published import published
from benchmarl_reciprocator.evaluation.league.tables import (
    Meeting,
    as_rows,
    league_table,
    our_meetings,
    published_meetings,
)
from benchmarl_reciprocator.evaluation.sections import Measured, read_sections


def game(name: str, **options: object):
    task = SocialDilemmaTask[name.upper()].get_from_yaml()
    task.config.update(options)
    return task


def pairings(*rows: tuple) -> pd.DataFrame:
    """A table of cross-play: row, column, kind, seeds, agents, both sides' scores per step."""
    names = ["row", "column", "kind", "row_seed", "column_seed", "row_agent", "column_agent"]
    table = pd.DataFrame(rows, columns=[*names, "row_per_step", "column_per_step"])
    table["steps"] = 32.0
    return table.astype(dict.fromkeys(names[3:], "Int64"))


def test_published_figures_stand_beside_their_own_game_alone() -> None:
    assert [league.name for league in published(game("coins", variant="loqa"))] == [
        "LOQA's league",
        "Advantage Alignment",
    ]
    assert published(game("coins", variant="reciprocator")) == published(game("stag_hunt")) == []
    assert published(game("coins", variant="loqa", n_agents=3)) == []
    (theirs,) = published(game("prisoners_dilemma"))
    assert theirs.scores("NL") == {"Recip": (-1.05, -1.03), "NL": (-1.99, -1.99), "LOLA": (-1.53, -1.32)}
    for league in (*published(game("coins", variant="pola")), theirs):
        task = game(league.task, variant=league.variants[0])
        assert set(league.players.values()) <= set(task.players()), "who stands for their players must be the task's"


def test_what_ours_came_to() -> None:
    table = pairings(
        ("mine", "greedy", "same seed", 0, None, 0, None, 0.2, 0.4),
        ("mine", "mine", "same seed", 0, 0, 0, 1, 0.4, 0.6),
        ("mine", "mine", "same seed", 0, 0, 1, 0, 0.6, 0.4),
        ("mine", "mine", "other seed", 0, 1, 0, 0, 0.7, 0.1),
        ("greedy", "mine", "same seed", None, 0, None, 0, 0.4, 0.2),
    )
    found = our_meetings(table)
    assert [(one.population, one.against, str(one)) for one in found] == [
        ("mine", "greedy", "0.20 / 0.40"),
        ("mine", "itself", "0.50 / 0.50"),
        ("mine", "itself, another seed", "0.70 / 0.10"),
        ("greedy", "mine", "0.40 / 0.20"),
    ]
    assert {one.population: one.whose for one in found} == {
        "mine": "ours, 1 seed, 2 agents",
        "greedy": "ours, a script",
    }


def test_one_table_says_whose_number_is_whose() -> None:
    ours = [
        Meeting("LOQA", "ours, 5 seeds, 10 agents", True, "itself", Measured(0.3, 0.2, 0.4), Measured(0.3)),
        Meeting("LOQA", "ours, 5 seeds, 10 agents", True, "greedy", Measured(-0.1), Measured(0.2)),
        Meeting("greedy", "ours, a script", True, "LOQA", Measured(0.2), Measured(-0.1)),
    ]
    (loqa, adalign) = published(game("coins", variant="loqa"))
    assert loqa.rows == ["LOQA", "POLA", "M-FOS", "AllC", "AllD"] and adalign.rows == ["AdAlign"]
    assert str(published_meetings(adalign)[0]) == "0.28 / 0.28"
    meetings = [*ours, *published_meetings(loqa)]
    table = league_table(meetings, ["LOQA"], ["greedy"], "league_x")
    columns = list(table.columns)
    assert columns[:5] == ["population", "whose numbers", "with itself", "with greedy", "with LOQA"]
    assert columns[-1] == "worst case" and "with LOQA (published)" in columns
    rows = [dict(zip(columns, row)) for row in table.rows]
    assert [row["whose numbers"] for row in rows[:3]] == [
        "ours, 5 seeds, 10 agents",
        "ours, a script",
        "published: LOQA's league",
    ]
    assert rows[0]["with itself"] == "0.30 [0.20, 0.40] / 0.30" and rows[0]["worst case"] == "-0.10 with greedy"
    # Their AllD plays as our greedy does, so that both stand in one column.
    assert rows[2]["population"] == "LOQA" and rows[2]["with greedy"] == "-0.054 / 0.123"
    assert rows[3]["population"] == "POLA" and rows[3]["with LOQA (published)"] == "0.238 / 0.170"
    assert table.best == [0]
    first = next(as_rows("coins_single", meetings))
    assert (first["whose"], first["own_low"], first["other_low"]) == ("ours, 5 seeds, 10 agents", 0.2, None)


def test_bars_are_read_off_every_agent(tmp_path: Path) -> None:
    table = pairings(
        ("mine", "greedy", "same seed", 0, None, 0, None, -0.1, 0.1),
        ("mine", "greedy", "same seed", 0, None, 1, None, -0.3, 0.3),
        ("mine", "mine", "other seed", 0, 1, 0, 0, 0.6, 0.5),
        ("mine", "mine", "other seed", 0, 1, 0, 1, 0.4, 0.5),
        ("greedy", "mine", "same seed", None, 0, None, 0, 0.7, 0.2),
    )
    run = tmp_path / "runs" / "coins" / "mine-0" / "seed_0"
    run.mkdir(parents=True)
    (run / "run.record").write_text(json.dumps({"task": "coins", "population": "mine", "seconds": 300.0}))
    results = Results(tmp_path, "coins", "coins", {run: "mine"}, table)
    greed = Bar("greedy gets", "crossplay", "per_step", "max", "greedy", "other", most=0.25)
    assert results.values(greed, "mine").tolist() == [0.1, 0.3] and greed.met_by(0.3) is False
    stranger = Bar("another seed", "crossplay", "per_step", "min", "another seed", least=0.5)
    assert results.values(stranger, "mine").tolist() == [0.5] and stranger.met_by(0.5) is True
    of_three = Bar("gain", "crossplay", "per_step", "max", side="less", row="greedy", most=0.0)
    assert results.values(of_three, "mine") == pytest.approx([0.5])
    assert results.values(Bar("time", "runs", "seconds", "max", most=480), "mine").tolist() == [300.0]
    answer = Bar("share", "exploitability", "own_coin_share", "min", "best response", "other", least=0.7)
    rank = Bar("rank", "tournament", "rank", "max", most=4)
    told = Bar("told", "crossplay", "per_step", "mean", "greedy")
    assert missing(results, [greed, answer, rank]) == ["exploitability", "tournament"]
    for name, content in {
        "exploitability/coins/meetings.csv": "focal,opponent,opponent_own_coin_share\nmine,best response,0.75\n"
        "mine,learner,0.1\nother,best response,0.2\n",
        "tournament/coins/ranking.csv": "population,trained,rank\nmine,True,5\nmine,False,1\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(content)
    rows = bars_table(results, [greed, answer, rank, told], ["mine", "nobody"]).rows
    assert [row[3] for row in rows] == [
        "0.30, not met (2 agents)",
        "0.75, met (1 agent)",
        "5.00, not met (1 agent)",
        "-0.20 (2 agents)",
    ]
    assert {row[4] for row in rows} == {"not measured"}
    assert [row[1] for row in rows] == ["every agent", "every agent", "every agent", "mean of agents"]


def test_shipped_bars_name_what_is_measured() -> None:
    for task, bars in read_bars().items():
        for bar in bars:
            assert bar.source in ("crossplay", "exploitability", "tournament", "runs"), task
            assert bar.over in ("min", "max", "mean") and bar.side in ("own", "other", "less")
            assert bar.least is None or bar.most is None
            value = np.nan if bar.least is None else bar.least
            assert math.isnan(value) or bar.met_by(value)


def suite_of(checkpoints: Path, folder: Path) -> Path:
    """A suite's folder with the runs of one seed of two populations."""
    for name in ("recip", "mixed"):
        run = folder / "runs" / "prisoners_dilemma" / name / "seed_0"
        shutil.copytree(checkpoints / "runs" / f"{name}_seed_0", run)
        record = json.loads((run / "run.json").read_text())
        (run / "run.json").write_text(json.dumps({**record, "task": "prisoners_dilemma", "seconds": 1.0}))
    return folder


def test_one_command_from_runs_to_the_league(checkpoints: Path, tmp_path: Path, capsys) -> None:
    folder = suite_of(checkpoints, tmp_path)
    arguments = [str(folder), "--against", "all_d", "random", "--episodes=8", "--agents=all"]
    with pytest.raises(SystemExit):
        command.main([*arguments[:2], "nobody"])
    assert "against must be all_c, " in capsys.readouterr().err
    assert command.main(arguments) == 0
    printed = capsys.readouterr().out
    numbers = pd.read_csv(folder / "league" / "league.csv")
    defectors = numbers[(numbers["population"] == "all_d") & (numbers["against"] == "itself")]
    assert defectors["own_per_step"].tolist() == [-2.0]
    assert set(numbers["whose"]) >= {
        "ours, 1 seed, 2 agents",
        "ours, a script",
        "published: Reciprocator, the authors' code",
    }
    document = read_sections(folder / "league" / "section.json")["league"]
    assert [section.title for section in document] == [
        "The league",
        "Prisoner's dilemma",
        "Prisoner's dilemma: what is to be reached",
        "Prisoner's dilemma: how every agent answers",
    ]
    answers = document[-1].blocks[1]
    assert [row[:3] for row in answers.rows if row[0] == "Recip"] == [["Recip", "0", "0"], ["Recip", "0", "1"]]
    assert len(answers.columns) == 8 and answers.rows[0][3].number != "-"
    # What is not measured is told by the command that measures it.
    assert f"benchmarl-reciprocator tournament {folder}/runs/prisoners_dilemma/" in printed
    records = {file: file.stat().st_mtime_ns for file in folder.glob("crossplay/prisoners_dilemma/pairings/*.json")}
    assert records
    # Who takes part may be chosen, by name or pattern.
    with pytest.raises(SystemExit):
        command.main([*arguments, "--populations", "Rescip*"])
    assert "populations must be Mixed or Recip, but is 'Rescip*'" in capsys.readouterr().err
    assert command.main([*arguments, "--populations", "Recip*"]) == 0
    took_part = set(pd.read_csv(folder / "league" / "league.csv")["population"])
    assert "Recip" in took_part and not any(name.startswith("Mixed") for name in took_part)
    capsys.readouterr()
    # What is played already is not played again; what cannot be is told, and by the exit code too.
    missing_one = next(file for file in records if file.name.startswith("recip__all_d"))
    missing_one.unlink()
    (checkpoint,) = (folder / "runs" / "prisoners_dilemma" / "recip").rglob("checkpoint_*.pt")
    saved = torch.load(checkpoint, weights_only=True)
    torch.save({key: value for key, value in saved.items() if key in ("state", "collector")}, checkpoint)
    with pytest.warns(UserWarning, match="skipped Recip with all_d"):
        assert command.main(arguments) == 1
    assert "prisoners_dilemma: Recip with all_d, seeds (0, None): " in capsys.readouterr().err
    assert "## Skipped meetings" in (folder / "league" / "league.md").read_text()
    assert {file: file.stat().st_mtime_ns for file in records if file != missing_one} == {
        file: time for file, time in records.items() if file != missing_one
    }


def test_no_runs_are_one_clear_error(tmp_path: Path, capsys) -> None:
    with pytest.raises(SystemExit):
        command.main([str(tmp_path)])
    assert "folder must hold finished runs of a suite" in capsys.readouterr().err


def test_without_such_measures_nobody_s_answers_are_shown() -> None:
    table = pairings(("mine", "random", "same seed", 0, None, 0, None, 0.1, 0.3))
    assert answers_table(table, {"p_cooperate_after_CC": "CC"}, "random", "x") is None
