"""The Reciprocator on Cleanup and Harvest: images for policies and estimator, memory, many agents, any grouping."""

from __future__ import annotations

import pytest
import torch
from benchmarl.experiment import Experiment
from tensordict import TensorDict

from benchmarl_reciprocator.algorithms.reciprocity.callback import Reciprocity
from benchmarl_reciprocator.influence import value_influence

# BenchMARL names the layers of a sequence on its command line.
CNN_AND_GRU = (
    "model=sequence",
    "model/layers@model.layers.l1=cnn",
    "model/layers@model.layers.l2=gru",
    "model.layers.l1.cnn_num_cells=[4]",
    "model.layers.l1.cnn_kernel_sizes=3",
    "model.layers.l1.mlp_num_cells=[8]",
    "model.intermediate_sizes=[8]",
    "model.layers.l2.hidden_size=8",
)


def run(experiment: Experiment) -> Reciprocity:
    """Two iterations, in which the whole estimator is fitted, with the one that encodes its images."""
    reciprocity = Reciprocity.of(experiment)
    estimator = reciprocity.learner.loss.estimator_network
    assert estimator.encoder is not None
    before = [parameter.clone() for parameter in reciprocity.learner.loss.parameters()]
    experiment.run()
    assert all(not torch.equal(old, new) for old, new in zip(before, reciprocity.learner.loss.parameters()))
    return reciprocity


@pytest.mark.parametrize(
    ("task", "grouping", "n_agents"),
    [
        ("cleanup", "per_agent", 2),
        ("cleanup", "one_group", 5),
        ("harvest", "per_agent", 5),
        ("harvest", "one_group", 2),
        ("harvest", "per_agent", 7),
    ],
)
def test_images_many_agents_and_any_grouping(task: str, grouping: str, n_agents: int, small_experiment) -> None:
    shared = [f"experiment.share_policy_params={grouping == 'one_group'}"]
    experiment = small_experiment(
        "algorithm=reciprocator", f"task.n_agents={n_agents}", f"task.grouping={grouping}", *shared, preset=task
    )
    reciprocity = run(experiment)
    # One that knows all actions, one that leaves one out and one that knows none, for however many agents.
    assert reciprocity.learner.loss.estimator_network.n_networks == 3
    assert len(experiment.group_map) == (n_agents if grouping == "per_agent" else 1)


@pytest.mark.parametrize("grouping", ["per_agent", "one_group"])
def test_one_encoder_for_all_agents(grouping: str, small_experiment) -> None:
    shared = ("algorithm.estimator_share_params=True", "task.n_agents=3", f"task.grouping={grouping}")
    experiment = small_experiment("algorithm=reciprocator", *shared, preset="cleanup")
    estimator = run(experiment).learner.loss.estimator_network
    assert len(estimator.encoder.models) == 1
    # Everybody one seat further: the same influences, one seat further.
    observation = torch.rand(
        4, 3, *experiment.observation_spec[next(iter(experiment.group_map)), "observation"].shape[1:]
    )
    action = torch.rand(4, 3, estimator.weights[0].shape[1] // 3)
    members, order = Reciprocity.of(experiment).view.members, torch.tensor([1, 2, 0])

    def influence(observation: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        seen = {group: {"observation": observation[:, agents]} for group, agents in members.items()}
        data = TensorDict({**seen, "elapsed": torch.ones(4, 1), "action": action}, [4])
        return value_influence(estimator.full(data).sum(-1), estimator.left_out(data).sum(-1))

    expected = influence(observation, action)[:, order][..., order]
    assert expected.abs().max() > 1e-3
    torch.testing.assert_close(influence(observation[:, order], action[:, order]), expected)


@pytest.mark.parametrize(
    ("task", "options"),
    [
        ("harvest", ("algorithm.observe_balance=True",)),
        ("harvest", CNN_AND_GRU),
        ("cleanup", ("algorithm.observe_balance=True", *CNN_AND_GRU)),
        ("cleanup", ("task.observation=rgb", "algorithm.observe_balance=True")),
    ],
    ids=["balance", "gru", "balance and gru", "rgb and balance"],
)
def test_memory_and_balance(task: str, options: tuple[str, ...], small_experiment) -> None:
    run(small_experiment("algorithm=reciprocator", *options, preset=task))


@pytest.mark.parametrize("algorithm", ["reciprocator", "mappo", "qmix"])
@pytest.mark.parametrize("task", ["cleanup", "harvest"])
def test_published_size(task: str, algorithm: str, small_experiment) -> None:
    cpu = [f"experiment.{use}_device=cpu" for use in ("sampling", "train", "buffer")]
    options = ("task.max_steps=32", "experiment.max_n_iters=1", "experiment.off_policy_memory_size=512")
    experiment = small_experiment(f"algorithm={algorithm}", *cpu, *options, preset=f"{task}_published")
    assert sum(map(len, experiment.group_map.values())) == 7
    experiment.run()
    if algorithm == "reciprocator":
        # However large the view: 64 features for every agent's, and how much of the episode is over.
        assert Reciprocity.of(experiment).learner.loss.estimator_network.state_weight.shape[1] == 7 * 64 + 1


def test_members_of_a_mixed_population_take_the_tuning(small_experiment) -> None:
    experiment = small_experiment("algorithm=mixed", preset="harvest")
    assert experiment.algorithm_config.member_configs()["reciprocator"].estimator_encoder == "cnn"
    run(experiment)


def test_vectors_for_an_encoder_of_images_are_refused_by_name(small_experiment) -> None:
    flat = ("task.observation=flat", "model=layers/small_mlp", "model@critic_model=layers/small_mlp")
    with pytest.raises(
        ValueError, match=r"algorithm.estimator_encoder must be a model that takes vectors .* but is 'cnn'"
    ):
        small_experiment("algorithm=reciprocator", *flat, preset="cleanup")
    small_experiment("algorithm=reciprocator", *flat, "algorithm.estimator_encoder=null", preset="cleanup").run()
