"""Trajectories with every state once: nothing is lost by it."""

from __future__ import annotations

import torch
from tensordict import TensorDict

from benchmarl_reciprocator.influence.trajectories import next_values, pack, with_room


def play(done: torch.Tensor) -> TensorDict:
    """Trajectories ``[B, T]`` in which every state is another number, and an episode begins anew where one is done."""
    n, horizon = done.shape
    state = torch.arange(n * (horizon + 1.0)).view(n, horizon + 1, 1)
    after = torch.where(done.unsqueeze(-1), -state[:, :-1] - 1, state[:, 1:])
    data = {"group": {"board": state[:, :-1]}, "elapsed": state[:, :-1] / 100}
    following = {"group": {"board": after}, "elapsed": after / 100, "reward": after + 0.5}
    return TensorDict({**data, "action": state[:, :-1] + 0.25, "next": following}, [n, horizon])


KEYS = [("group", "board"), "elapsed"]


def test_next_states_are_found_again() -> None:
    done = torch.tensor([[0, 1, 0, 0, 1], [0, 0, 0, 0, 0], [1, 1, 0, 1, 0]]).bool()
    batch = play(done)
    packed = pack(batch, KEYS)
    # The last of a trajectory is kept, too.
    assert torch.equal(packed["breaks"][:, :-1], done[:, :-1])
    assert packed["breaks"][:, -1].all()
    assert packed["after", "group", "board"].shape == (3, 4, 1)
    assert set(packed["next"].keys()) == {"reward"}
    for room in (4, 6):
        roomy = with_room(packed, room)
        for key in KEYS:
            path = key if isinstance(key, tuple) else (key,)
            found = next_values(roomy[key], roomy[("after", *path)], roomy["breaks"])
            assert torch.equal(found, batch[("next", *path)])
            assert roomy[("after", *path)].shape[:2] == (3, room)
    assert torch.equal(packed["action"], batch["action"])


def test_a_trajectory_to_its_end_keeps_one_state_more() -> None:
    packed = pack(play(torch.tensor([[0, 0, 0, 1]]).bool()), KEYS)
    assert packed["after", "elapsed"].shape == (1, 1, 1)
    assert packed["after", "group", "board"].item() == -4


def test_states_that_do_not_follow_on_each_other_are_kept() -> None:
    batch = play(torch.zeros(2, 4).bool())
    batch["next", "elapsed"][1, 1] = torch.nan
    packed = pack(batch, KEYS)
    assert packed["breaks"].tolist() == [[False, False, False, True], [False, True, False, True]]
    found = next_values(packed["elapsed"], packed["after", "elapsed"], packed["breaks"])
    torch.testing.assert_close(found, batch["next", "elapsed"], equal_nan=True, rtol=0, atol=0)
