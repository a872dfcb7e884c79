"""What stands between observations that are no vectors and the estimator."""

from __future__ import annotations

from typing import Any

import torch
from benchmarl.models import model_config_registry
from benchmarl.models.common import parse_model_config
from tensordict import TensorDictBase
from tensordict.nn import TensorDictModuleBase
from torchrl.data import Composite, Unbounded

from benchmarl_reciprocator.algorithms.joint_batch import JointView
from benchmarl_reciprocator.tasks.task import SocialDilemmaClass


class ObservationEncoder(TensorDictModuleBase):
    """BenchMARL models that turn each group's observations, or the state, into the estimator's state vector.

    Args:
        experiment (Experiment): for its specs and device.
        view (JointView): which entries the state is made of.
        model (str): name of the model in BenchMARL's registry.
        options (dict): options of the model in place of its yaml's.
        width (int): features per agent (or of the state) that the model gives.

    Raises:
        ValueError: on an option that the model does not have, a model with memory, or one that cannot take the
            observations of a social dilemma.
    """

    def __init__(self, experiment, view: JointView, model: str, options: dict[str, Any], width: int) -> None:
        super().__init__()
        defaults = model_config_registry[model].get_from_yaml()
        for key, value in parse_model_config({"name": None, **options}).items():
            if not hasattr(defaults, key):
                raise ValueError(
                    f"algorithm.estimator_encoder_options.{key}={value!r} is not allowed, allowed: "
                    f"{', '.join(vars(defaults))}"
                )
            setattr(defaults, key, value)
        if defaults.is_rnn:
            raise ValueError(f"algorithm.estimator_encoder={model!r} is not allowed, allowed: a model without memory")
        if isinstance(experiment.task, SocialDilemmaClass):
            experiment.task.check_model("algorithm.estimator_encoder", defaults)
        common = {"action_spec": experiment.action_spec, "device": experiment.config.train_device}
        models = []
        if experiment.state_spec is not None:
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
            for group, agents in experiment.group_map.items():
                output = Composite(influence_features=Unbounded((len(agents), width)), shape=(len(agents),))
                models.append(
                    defaults.get_model(
                        input_spec=Composite({group: experiment.observation_spec[group].clone()}),
                        output_spec=Composite({group: output}),
                        agent_group=group,
                        input_has_agent_dim=True,
                        n_agents=len(agents),
                        centralised=False,
                        share_params=True,
                        **common,
                    )
                )
        self.models = torch.nn.ModuleList(models)
        self.features = 1 + width * (1 if experiment.state_spec is not None else view.n_agents)
        self.in_keys = [*view.state_specs, "elapsed"]
        self.out_keys = ["state"]

    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        parts = [model(tensordict).get(model.out_key).flatten(tensordict.ndim) for model in self.models]
        return tensordict.set("state", torch.cat([*parts, tensordict.get("elapsed")], dim=-1))
