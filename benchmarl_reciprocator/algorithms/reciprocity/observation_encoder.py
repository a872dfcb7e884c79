"""What stands between observations that are no vectors and the estimator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from benchmarl.models import model_config_registry
from benchmarl.models.common import parse_model_config
from tensordict import TensorDict, TensorDictBase
from tensordict.nn import TensorDictModuleBase
from torchrl.data import Composite, Unbounded

from benchmarl_reciprocator.algorithms.reciprocity.joint_batch import JointView
from benchmarl_reciprocator.tasks.task import SocialDilemmaClass

if TYPE_CHECKING:
    from benchmarl.experiment import Experiment

# Group of all agents, where one model serves them
ALL = "all"


class ObservationEncoder(TensorDictModuleBase):
    """BenchMARL models that turn each group's observations, or the state, into the estimator's state vector.

    Args:
        experiment (Experiment): for its specs and device.
        view (JointView): which entries the state is made of.
        model (str): name of the model in BenchMARL's registry.
        options (dict): options of the model in place of its yaml's.
        width (int): features per agent (or of the state) that the model gives.
        share_params (bool): whether one model serves the agents of all groups, which must then observe alike; else each
            group has a model of its own.

    Raises:
        ValueError: on an option that the model does not have, a model with memory, or one that cannot take the
            observations of a social dilemma.
    """

    def __init__(
        self,
        experiment: Experiment,
        view: JointView,
        model: str,
        options: dict[str, Any],
        width: int,
        share_params: bool = False,
    ) -> None:
        super().__init__()
        defaults = model_config_registry[model].get_from_yaml()
        for key, value in parse_model_config({"name": None, **options}).items():
            if not hasattr(defaults, key):
                raise ValueError(
                    f"algorithm.estimator_encoder_options must hold options of {model} ({', '.join(vars(defaults))}), "
                    f"but has {key}={value!r}"
                )
            setattr(defaults, key, value)
        if defaults.is_rnn:
            raise ValueError(f"algorithm.estimator_encoder must be a model without memory, but is {model!r}")
        if isinstance(experiment.task, SocialDilemmaClass):
            experiment.task.check_model("algorithm.estimator_encoder", defaults)
        common = {"action_spec": experiment.action_spec, "device": experiment.config.train_device}
        self.members = view.members if share_params else None
        models = []
        if not view.in_a_row:
            models.append(
                defaults.get_model(
                    input_spec=experiment.state_spec.clone(),
                    output_spec=Composite(influence_features=Unbounded((width,))),
                    agent_group=next(iter(experiment.group_map)),
                    input_has_agent_dim=False,
                    n_agents=view.n_agents,
                    centralised=True,
                    share_params=True,
                    **common,
                )
            )
        else:
            observed = {
                group: (len(agents), experiment.observation_spec[group])
                for group, agents in experiment.group_map.items()
            }
            if share_params:
                _, one = next(iter(observed.values()))
                observed = {ALL: (view.n_agents, one[:1].expand(view.n_agents))}
            for group, (n_agents, spec) in observed.items():
                models.append(
                    defaults.get_model(
                        input_spec=Composite({group: spec.clone()}),
                        output_spec=Composite(
                            {group: Composite(influence_features=Unbounded((n_agents, width)), shape=(n_agents,))}
                        ),
                        agent_group=group,
                        input_has_agent_dim=True,
                        n_agents=n_agents,
                        centralised=False,
                        share_params=True,
                        **common,
                    )
                )
        self.models = torch.nn.ModuleList(models)
        self.features = 1 + width * (view.n_agents if view.in_a_row else 1)
        self.in_keys = [*view.state_specs, "elapsed"]
        self.out_keys = ["state"]

    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        inputs = tensordict
        if self.members is not None:
            agents = tensordict.ndim
            seen = [tensordict.get(group).auto_batch_size_(agents + 1) for group in self.members]
            inputs = TensorDict({ALL: torch.cat(seen, dim=agents)}, tensordict.batch_size)
        parts = [model(inputs).get(model.out_key).flatten(tensordict.ndim) for model in self.models]
        return tensordict.set("state", torch.cat([*parts, tensordict.get("elapsed")], dim=-1))
