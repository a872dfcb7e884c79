"""The value-influence estimator: one prediction given all actions, and one with each agent's left out."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from tensordict import TensorDictBase
from tensordict.nn import TensorDictModuleBase
from torch import Tensor, nn
from torch.nn.functional import pad

from benchmarl_reciprocator.influence.balance import value_influence


class InfluenceEstimator(TensorDictModuleBase):
    """Predicts every agent's reward and discounted future, with all actions known and with each left out.

    ``V = N + 2`` small networks with weights of their own run as one stacked batch: network ``0`` sees the whole
    joint action, network ``i + 1`` all but agent ``i``'s action, network ``N + 1`` no action at all (so that its
    prediction is the value of the state; without the future part there is no need of it, and ``V = N + 1``). An
    action is left out by holding its first-layer weights at zero, and all networks read the state through the same
    first-layer weights, so that a large state costs no more with many agents. Regressed on replayed data, the left-out
    predictions average over what the agent usually does in that state: they are the counterfactual baselines of Zhou
    et al. 2024 (arXiv 2406.01641, section 4).

    With ``share_params`` three networks serve all agents, each seen as the first of the row (as BenchMARL's
    ``share_param_critic``, and for the same reasons: less to learn, from ``N`` times the data): one knows all actions,
    one all but the first agent's, one none. It is more than an economy. A baseline of an agent's own is that agent's
    habit, and what is habitual is no influence: who always takes is forgiven for it, who always gives gets no thanks.
    The shared baseline is what agents in such a situation usually do, a norm, and whoever falls short of it does harm
    for as long as it goes on. It is this package's own addition to the method.

    Targets are standardised inside (:meth:`update_normalisation`), predictions come out in units of reward.

    Args:
        n_agents (int): number of agents ``N``, at least 2.
        state_features (int): size ``S`` of the state vector.
        action_features (int): size ``A`` of one agent's action vector (one-hot for discrete actions).
        num_cells (sequence of int): widths of the hidden layers.
        future (bool): whether the future is predicted (``P = 2`` parts) besides the immediate reward (``P = 1``).
        share_params (bool): whether all agents share one set of weights. The state must then hold the agents' parts in
            a row, equally long, and after them ``common_features`` that belong to nobody; and turning the row must give
            a situation of the same game.
        common_features (int): see ``share_params``.
        encoder (TensorDictModuleBase, optional): writes the ``"state"`` entry ``[*B, S]`` from other entries,
            for example from images. Trained with the estimator.
        device (torch.device, optional): device of the parameters.

    Keys read: ``"state"`` ``[*B, S]`` (or what the encoder reads) and ``"action"`` ``[*B, N, A]``.

    Keys written: ``"prediction"``, ``[*B, V, N, P]``: by network, by agent whose reward is predicted, and by part
    (0: immediate reward; 1: future, already discounted once, ``gamma F``).

    Raises:
        ValueError: with fewer than two agents, an empty hidden layer, or a state to be shared that does not divide into
            equal parts.

    Examples:
        >>> from tensordict import TensorDict
        >>> estimator = InfluenceEstimator(n_agents=3, state_features=4, action_features=2)
        >>> data = TensorDict({"state": torch.zeros(8, 4), "action": torch.zeros(8, 3, 2)}, [8])
        >>> estimator(data)["prediction"].shape
        torch.Size([8, 5, 3, 2])
        >>> estimator.value_influence(data).shape
        torch.Size([8, 3, 3])
    """

    def __init__(
        self,
        n_agents: int,
        state_features: int,
        action_features: int,
        num_cells: Sequence[int] = (64, 64),
        future: bool = True,
        share_params: bool = False,
        common_features: int = 0,
        encoder: TensorDictModuleBase | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        if n_agents < 2:
            raise ValueError(f"n_agents={n_agents}: value influence needs at least 2 agents")
        if any(cells < 1 for cells in num_cells):
            raise ValueError(f"num_cells={list(num_cells)}: every layer needs at least 1 cell")
        if share_params and (state_features - common_features) % n_agents:
            raise ValueError(
                f"state_features={state_features} without common_features={common_features} do not divide into equal "
                f"parts for {n_agents} agents, as share_params=True needs"
            )
        self.n_agents = n_agents
        self.future = future
        self.share_params = share_params
        self.common_features = common_features
        self.n_parts = 2 if future else 1
        self.n_networks = (1 if share_params else n_agents) + self.n_parts
        self.encoder = encoder
        self.in_keys = [*(encoder.in_keys if encoder is not None else ["state"]), "action"]
        self.out_keys = ["prediction"]

        sizes = [state_features + n_agents * action_features, *num_cells, n_agents * self.n_parts]
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        for layer, (n_in, n_out) in enumerate(zip(sizes[:-1], sizes[1:])):
            bound = 1 / math.sqrt(n_in)

            def uniform(*shape: int, bound: float = bound) -> nn.Parameter:
                return nn.Parameter(torch.empty(*shape, device=device).uniform_(-bound, bound))

            # Unit gain behind a rectifier, which halves the signal's power
            gain = math.sqrt(3) if layer else 1.0

            if layer == 0:
                # Without a hidden layer the networks share nothing.
                self.state_weight = uniform(1 if num_cells else self.n_networks, state_features, n_out)
                n_in = n_agents * action_features
            self.weights.append(uniform(self.n_networks, n_in, n_out, bound=gain * bound))
            self.biases.append(uniform(self.n_networks, 1, n_out))

        n_left_out = 1 if share_params else n_agents
        known = torch.ones(self.n_networks, n_agents, device=device)
        known[1 : n_left_out + 1].fill_diagonal_(0)
        known[n_left_out + 1 :] = 0
        self.register_buffer("known_actions", known.repeat_interleave(action_features, dim=-1).unsqueeze(-1))
        self.register_buffer("target_mean", torch.zeros(n_agents, self.n_parts, device=device))
        self.register_buffer("target_std", torch.ones(n_agents, self.n_parts, device=device))
        seats = torch.arange(n_agents, device=device)
        # Who is where in the row as seen from each seat, and the way back.
        self.register_buffer("row_from_seat", (seats.unsqueeze(-1) + seats) % n_agents, persistent=False)
        self.register_buffer("place_in_row", (seats - seats.unsqueeze(-1)) % n_agents, persistent=False)
        if share_params:
            features = torch.arange(state_features, device=device)
            own = features[: state_features - common_features].unflatten(0, (n_agents, -1))
            common = features[own.numel() :].expand(n_agents, -1)
            state_from_seat = torch.cat([own[self.row_from_seat].flatten(1), common], dim=-1)
            self.register_buffer("state_from_seat", state_from_seat, persistent=False)

    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        """Write ``"prediction"``, see the class."""
        return tensordict.set("prediction", self.denormalise(self.normalised(tensordict)))

    def normalised(self, tensordict: TensorDictBase, kinds: slice = slice(None), seats: Tensor | None = None) -> Tensor:
        """Predictions of standardised targets by the chosen kinds, ``[*B, V, N, P]``.

        Kind 0 knows all actions, 1 leaves out each agent's in turn, 2 knows none. Where parameters are shared,
        ``seats`` (default: all) are those from which the row is seen, and whose actions kind 1 leaves out.
        """
        action = tensordict.get("action", None)
        if self.encoder is not None:
            tensordict = self.encoder(tensordict.select(*self.encoder.in_keys))
        state = tensordict.get("state")
        kinds = range(1 + self.n_parts)[kinds]
        if self.share_params:
            return self._from_seats(state, action, kinds, slice(None) if seats is None else seats)
        ends = (0, 1, self.n_agents + 1, self.n_agents + 2)
        return self._stacked(state, action, slice(ends[kinds.start], ends[kinds.stop]))

    def _from_seats(self, state: Tensor, action: Tensor | None, kinds: range, seats: Tensor | slice) -> Tensor:
        row, place = self.row_from_seat[seats], self.place_in_row[seats]
        # Columns of a matrix are much faster to pick than those of more dimensions, or rows by an index of two.
        rows = state.reshape(-1, state.shape[-1]).index_select(-1, self.state_from_seat[seats].flatten())
        rows = rows.view(*state.shape[:-1], *row.shape[:-1], -1)
        if action is not None:
            action = action.index_select(-2, row.flatten()).unflatten(-2, row.shape)
        seen = self._stacked(rows, action, slice(kinds.start, kinds.stop))
        # [*B, seat, kind, place in its row, P] -> [*B, kind, seat, agent, P]
        seen = seen.gather(-2, place[:, None, :, None].expand_as(seen)).transpose(-3, -4)
        by_kind = dict(zip(kinds, seen.unbind(-4)))
        # What leaves nobody in particular out, every seat predicts: their mean is the better prediction.
        return torch.cat([x if kind == 1 else x.mean(-3, keepdim=True) for kind, x in by_kind.items()], dim=-3)

    def _stacked(self, state: Tensor, action: Tensor | None, networks: slice) -> Tensor:
        batch_shape = state.shape[:-1]
        state_weight = self.state_weight if len(self.state_weight) == 1 else self.state_weight[networks]
        hidden = state.reshape(-1, state.shape[-1]) @ state_weight
        if action is None:
            hidden.add_(self.biases[0][networks])
        else:
            # The bias is the weight of an action that is always taken: what it saves is a pass over the memory, which
            # on a CPU takes longer than the sums. In place, below, for the same reason.
            weight = torch.cat([self.weights[0] * self.known_actions, self.biases[0]], dim=-2)[networks]
            action = pad(action.reshape(-1, weight.shape[-2] - 1), (0, 1), value=1.0)
            hidden = torch.baddbmm(hidden, action.expand(len(weight), -1, -1), weight)
        for weight, bias in zip(self.weights[1:], self.biases[1:]):
            hidden = torch.bmm(hidden.relu_(), weight[networks]).add_(bias[networks])
        return hidden.transpose(0, 1).reshape(*batch_shape, len(hidden), self.n_agents, self.n_parts)

    def state_value(self, tensordict: TensorDictBase, seats: Tensor | None = None) -> Tensor:
        """Value of the state for every agent: reward plus discounted future with no action known, ``[*B, N]``.

        Where parameters are shared, it is the mean of what is predicted from each of ``seats`` (default: all).

        Raises:
            RuntimeError: if the estimator does not predict the future.
        """
        if not self.future:
            raise RuntimeError("an estimator without the future part knows no state value, build it with future=True")
        return self.denormalise(self.normalised(tensordict, slice(2, None), seats)).sum(-1).squeeze(-2)

    def value_influence(self, tensordict: TensorDictBase) -> Tensor:
        """Value influence of the actions in ``tensordict``: on the reward and, where it is predicted, on the future.

        Args:
            tensordict (TensorDictBase): with the keys that the class reads, any batch size ``*B``.

        Returns:
            Tensor: ``[*B, N, N]``, entry ``[..., i, j]`` is the influence of ``i`` on ``j``, in units of reward.
        """
        prediction = self.denormalise(self.normalised(tensordict, slice(0, 2)))
        predicted = prediction.sum(-1)
        return value_influence(predicted[..., 0, :], predicted[..., 1:, :])

    def normalise(self, target: Tensor) -> Tensor:
        """Standardise targets ``[*B, N, P]``."""
        return (target - self.target_mean) / self.target_std

    def denormalise(self, prediction: Tensor) -> Tensor:
        """Standardised predictions ``[*B, N, P]`` in units of reward."""
        return prediction * self.target_std + self.target_mean

    @torch.no_grad()
    def shift(self, error: Tensor) -> None:
        """Raise every network's predictions by the same everywhere, so that a mean error becomes zero.

        A counterfactual baseline averages over what the agent usually does, so the influence of all that it usually did
        has mean zero. Networks fitted by sampled steps keep to that only roughly, and what is left is an influence that
        every action seems to have: it would add up in the balance, step by step.

        Args:
            error (Tensor): mean of standardised targets minus predictions, ``[V, N, P]``.
        """
        if self.share_params:
            # The same for all agents, as the weights are; what a network predicts for whom depends on the place.
            every, one, none = error[:1], error[1 : self.n_agents + 1], error[self.n_agents + 1 :]
            one = one.gather(-2, self.row_from_seat.unsqueeze(-1).expand_as(one)).mean(0, keepdim=True)
            every, none = (x.mean(-2, keepdim=True).expand(-1, self.n_agents, -1) for x in (every, none))
            error = torch.cat([every, one, none])
        self.biases[-1].add_(error.flatten(1).unsqueeze(1))

    @torch.no_grad()
    def update_normalisation(self, target: Tensor, eps: float = 1e-4) -> None:
        """Take mean and deviation from ``target`` and rescale the last layer so that no prediction changes.

        Keeping the outputs is the second half of PopArt (van Hasselt et al. 2016, arXiv 1602.07714).

        Args:
            target (Tensor): targets, ``[*B, N, P]``.
            eps (float): smallest deviation, in units of reward: a constant target is left unscaled.
        """
        flat = target.reshape(-1, *self.target_mean.shape)
        if self.share_params:
            flat = flat.flatten(0, 1).unsqueeze(1)
        mean = flat.mean(0).expand_as(self.target_mean)
        std = flat.std(0, unbiased=False).expand_as(self.target_std)
        std = torch.where(std > eps, std, torch.ones_like(std))
        ratio = (self.target_std / std).flatten()
        shift = ((self.target_mean - mean) / std).flatten()
        self.weights[-1].mul_(ratio)
        if len(self.weights) == 1:
            self.state_weight.mul_(ratio)
        self.biases[-1].mul_(ratio).add_(shift)
        self.target_mean.copy_(mean)
        self.target_std.copy_(std)
