"""A game of your own from a payoff table, without a task file: rock, paper, scissors with a prize for a tie.

    python examples/custom_payoffs.py
    python examples/custom_payoffs.py experiment.max_n_iters=2   # any override, such as a shorter run

The same from the command line:

    python -m benchmarl.run algorithm=reciprocator +preset=matrix_game \\
        'task.payoffs=[[[1,1],[-1,1],[1,-1]],[[1,-1],[1,1],[-1,1]],[[-1,1],[1,-1],[1,1]]]'
"""

import sys
from pathlib import Path

from benchmarl_reciprocator import load_experiment

WIN, LOSE, TIE = [1, -1], [-1, 1], [1, 1]

if __name__ == "__main__":
    payoffs = [[TIE, LOSE, WIN], [WIN, TIE, LOSE], [LOSE, WIN, TIE]]
    folder = Path("custom_payoffs_results")
    folder.mkdir(exist_ok=True)
    experiment = load_experiment(
        [
            "algorithm=reciprocator",
            "+preset=matrix_game",
            f"task.payoffs={payoffs}",
            "experiment.max_n_iters=20",
            f"experiment.save_folder={folder.resolve()}",
            *sys.argv[1:],
        ]
    )
    experiment.run()
