"""The best memory-one policy that never changes against an opponent that learns: the mark for meta-learners.

    python examples/best_fixed_policy.py
    python examples/best_fixed_policy.py --options learns_at_reset=True opponent=lola

Cross-entropy search over the logits of a policy of the meta-game (``matrix_meta_game``), by the meta-game's reward per
step. Prints what the policy that was found gets, and what its opponent gets, on fresh draws of the opponent.
"""

from __future__ import annotations

import argparse
import sys

import torch
import yaml
from torch import Tensor

from benchmarl_reciprocator import SocialDilemmaClass, SocialDilemmaTask


def scores(task: SocialDilemmaClass, logits: Tensor, draws: int, seed: int) -> Tensor:
    """Reward per step of policies ``[C, 5]`` and of their opponents, mean over draws of these: ``[C, 2]``."""
    env = task.options.make_env(len(logits) * draws, "cpu", seed=seed, continuous_actions=True)
    now, total = env.reset(), torch.zeros(len(logits) * draws, 2)
    for _ in range(env.max_steps):
        now["agent_0", "action"] = logits.repeat_interleave(draws, 0).unsqueeze(1)
        now = env.step(now)["next"]
        both = [now["agent_0", "reward"].flatten(), now["agent_0", "info", "opponent"].flatten()]
        total += torch.stack(both, -1)
    return total.view(len(logits), draws, 2).mean(1) / env.max_steps


def main() -> None:
    """Search and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--options", nargs="*", default=[], help="of the task, such as opponent=lola")
    parser.add_argument("--generations", type=int, default=25, help="of the search")
    parser.add_argument("--candidates", type=int, default=32, help="in a generation; a quarter is kept")
    parser.add_argument("--draws", type=int, default=24, help="of the opponent in the search")
    parser.add_argument("--final-draws", type=int, default=1024, help="of the opponent for what is printed")
    parser.add_argument("--seed", type=int, default=0, help="of everything")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(arguments.seed)
    task = SocialDilemmaTask.MATRIX_META_GAME.get_from_yaml()
    given = {key: yaml.safe_load(value) for key, value in (text.split("=", 1) for text in arguments.options)}
    task = SocialDilemmaClass(
        task.name, {**task.config, "opponent": "naive", "learns_at_reset": False, "grouping": "per_agent", **given}
    )
    bound = task.options.logit_bound
    mean, deviation = torch.zeros(5), torch.full((5,), 2.0)
    for generation in range(arguments.generations):
        tried = (mean + deviation * torch.randn(arguments.candidates, 5)).clamp(-bound, bound)
        found = scores(task, tried, arguments.draws, arguments.seed + generation)[:, 0]
        best = tried[found.topk(max(2, arguments.candidates // 4)).indices]
        # Never certain too early
        mean, deviation = best.mean(0), best.std(0) + 0.05
    own, other = scores(task, mean.unsqueeze(0), arguments.final_draws, arguments.seed + arguments.generations)[0]
    chances = ", ".join(f"{chance:.2f}" for chance in mean.sigmoid())
    sys.stdout.write(f"P(cooperate) after CC, CD, DC, DD and at the start: {chances}\n")
    sys.stdout.write(f"reward per step: {own:.3f}, its opponent's {other:.3f}\n")


if __name__ == "__main__":
    main()
