"""The value-influence estimator: one prediction given all actions, and one with each agent's left out."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from tensordict import TensorDictBase
from tensordict.nn import TensorDictModuleBase
from torch import Tensor, nn

from benchmarl_reciprocator.influence.networks import stacked_networks
from benchmarl_reciprocator.influence.unit import SMALLEST


class InfluenceEstimator(TensorDictModuleBase):
    """Predicts every agent's reward and discounted future, with all actions known and with each left out.

    ``V = N + 2`` small networks with weights of their own run as one stacked batch: network ``0`` sees the whole
    joint action, network ``i + 1`` all but agent ``i``'s action, network ``N + 1`` no action at all (so that its
    prediction is the value of the state; without the future part there is no need of it, and ``V = N + 1``). An
    action is left out by holding its first-layer weights at zero, and all networks read the state through the same
    first-layer weights, so that a large state costs no more with many agents. Regressed on replayed data, the left-out
    predictions average over what the agent usually does in that state: they are the counterfactual baselines of Zhou
    et al. 2024 (arXiv 2406.01641, section 4).

    Targets are standardised inside (:meth:`update_normalisation`). All but :meth:`standardised` is in units of reward.

    Args:
        n_agents (int): number of agents ``N``, at least 2.
        state_features (int): size ``S`` of the state vector.
        action_features (int): size ``A`` of one agent's action vector (one-hot for discrete actions).
        num_cells (sequence of int): widths of the hidden layers.
        future (bool): whether the future is predicted (``P = 2`` parts) besides the immediate reward (``P = 1``).
        encoder (TensorDictModuleBase, optional): writes the ``"state"`` entry ``[*B, S]`` from other entries,
            for example from images. Trained with the estimator.
        device (torch.device, optional): device of the parameters.

    Keys read: ``"state"`` ``[*B, S]`` (or what the encoder reads) and ``"action"`` ``[*B, N, A]``.

    Keys written: ``"prediction"``, ``[*B, V, N, P]``: by network, by agent whose reward is predicted, and by part
    (0: immediate reward; 1: future, already discounted once, ``gamma F``).

    Raises:
        ValueError: with fewer than two agents, or an empty hidden layer.

    Examples:
        >>> from tensordict import TensorDict
        >>> from benchmarl_reciprocator.influence import value_influence
        >>> estimator = InfluenceEstimator(n_agents=3, state_features=4, action_features=2)
        >>> data = TensorDict({"state": torch.zeros(8, 4), "action": torch.zeros(8, 3, 2)}, [8])
        >>> estimator(data)["prediction"].shape
        torch.Size([8, 5, 3, 2])
        >>> full, left_out = estimator.full(data).sum(-1), estimator.left_out(data).sum(-1)
        >>> value_influence(full, left_out).shape
        torch.Size([8, 3, 3])
    """

    def __init__(
        self,
        n_agents: int,
        state_features: int,
        action_features: int,
        num_cells: Sequence[int] = (64, 64),
        future: bool = True,
        encoder: TensorDictModuleBase | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        if n_agents < 2:
            raise ValueError(f"n_agents must be an integer >= 2, but is {n_agents!r}")
        if any(cells < 1 for cells in num_cells):
            raise ValueError(f"num_cells must be integers >= 1, but is {list(num_cells)!r}")
        self.n_agents = n_agents
        self.future = future
        self.n_parts = 2 if future else 1
        # In this order: one that knows all actions, those that leave one out, and with a future one that knows none.
        self.n_left_out = self.count_left_out(n_agents)
        self.n_networks = self.n_left_out + self.n_parts
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

        known = torch.ones(self.n_networks, n_agents, device=device)
        known[1 : self.n_left_out + 1].fill_diagonal_(0)
        known[self.n_left_out + 1 :] = 0
        self.known_actions: Tensor
        self.register_buffer("known_actions", known.repeat_interleave(action_features, dim=-1).unsqueeze(-1))
        self.target_mean: Tensor
        self.register_buffer("target_mean", torch.zeros(n_agents, self.n_parts, device=device))
        self.target_std: Tensor
        self.register_buffer("target_std", torch.ones(n_agents, self.n_parts, device=device))

    @staticmethod
    def count_left_out(n_agents: int) -> int:
        """Number of networks that leave out one agent's action."""
        return n_agents

    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        """Write ``"prediction"``, see the class."""
        return tensordict.set("prediction", self.denormalise(self.standardised(tensordict)))

    def standardised(self, tensordict: TensorDictBase, seats: Tensor | None = None) -> Tensor:
        """All predictions of standardised targets, ``[*B, V, N, P]``: :meth:`full`, :meth:`left_out` and, where the
        future is predicted, those that know no action.

        Args:
            tensordict (TensorDictBase): with the keys that the class reads, any batch size ``*B``.
            seats (Tensor, optional): see :class:`SharedInfluenceEstimator`, which alone has a use for it.
        """
        return self._predict(tensordict, slice(0, self.n_networks), seats)

    def full(self, tensordict: TensorDictBase, seats: Tensor | None = None) -> Tensor:
        """Predictions given the whole joint action, ``[*B, N, P]``, in units of reward. Arguments as
        :meth:`standardised`.
        """
        return self.denormalise(self._predict(tensordict, slice(0, 1), seats)).squeeze(-3)

    def left_out(self, tensordict: TensorDictBase) -> Tensor:
        """Counterfactual baselines, ``[*B, N, N, P]``, in units of reward: ``[..., i, j, :]`` is predicted for agent
        ``j`` with agent ``i``'s action left out. Arguments as :meth:`standardised`.
        """
        return self.denormalise(self._predict(tensordict, slice(1, self.n_left_out + 1)))

    def full_and_left_out(self, tensordict: TensorDictBase) -> tuple[Tensor, Tensor]:
        """:meth:`full` and :meth:`left_out` in one pass, which takes little longer than one of them."""
        prediction = self.denormalise(self._predict(tensordict, slice(0, self.n_left_out + 1)))
        return prediction[..., 0, :, :], prediction[..., 1:, :, :]

    def state_value(self, tensordict: TensorDictBase, seats: Tensor | None = None) -> Tensor:
        """Value of the state for every agent: reward plus discounted future with no action known, ``[*B, N]``.
        Arguments as :meth:`standardised`; ``"action"`` is not read.

        Raises:
            RuntimeError: if the estimator does not predict the future.
        """
        if not self.future:
            raise RuntimeError("an estimator without the future part knows no state value, build it with future=True")
        prediction = self._predict(tensordict, slice(self.n_left_out + 1, self.n_networks), seats)
        return self.denormalise(prediction).sum(-1).squeeze(-2)

    def sample_seats(self) -> Tensor | None:
        """Seats for one gradient step, see :class:`SharedInfluenceEstimator`; ``None``: all."""
        return None

    def _predict(self, tensordict: TensorDictBase, networks: slice, seats: Tensor | None = None) -> Tensor:
        """Predictions of standardised targets by some of the networks, ``[*B, V, N, P]``."""
        action = tensordict.get("action", None)
        if self.encoder is not None:
            tensordict = self.encoder(tensordict.select(*self.encoder.in_keys))
        return self._run(tensordict.get("state"), action, networks, seats)

    def _run(self, state: Tensor, action: Tensor | None, networks: slice, seats: Tensor | None) -> Tensor:
        predictions = self._stacked(state.reshape(-1, state.shape[-1]), action, networks)
        return predictions.movedim(-1, 0).reshape(*state.shape[:-1], *predictions.shape[:-1])

    def _stacked(self, state: Tensor, action: Tensor | None, networks: slice) -> Tensor:
        """Predictions ``[V, N, P, B]`` for rows of a state ``[B, S]`` and all agents' actions."""

        def chosen(stacked: Tensor) -> Tensor:
            # A slice costs a copy of the gradient.
            return stacked if len(stacked) in (1, networks.stop - networks.start) else stacked[networks]

        weights, biases = ([chosen(x) for x in layers] for layers in (self.weights, self.biases))
        # What is after those that leave out one agent's knows no action.
        knowing = slice(networks.start, min(networks.stop, self.n_left_out + 1))
        if action is None or knowing.start >= knowing.stop:
            action = None
        else:
            action = action.reshape(len(state), -1)
            weights[0] = (self.weights[0] * self.known_actions)[knowing]
        predictions = stacked_networks(state, action, chosen(self.state_weight), weights, biases)
        return predictions.unflatten(1, (self.n_agents, self.n_parts))

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
        self.biases[-1].add_(error.flatten(1).unsqueeze(1))

    @torch.no_grad()
    def update_normalisation(self, target: Tensor, unit: float = 1.0) -> None:
        """Take mean and deviation from ``target`` and rescale the last layer so that no prediction changes.

        Keeping the outputs is the second half of PopArt (van Hasselt et al. 2016, arXiv 1602.07714).

        Args:
            target (Tensor): targets, ``[*B, N, P]``.
            unit (float): what rewards are counted in: targets that hardly vary beside it are scaled by it instead.
        """
        pooled = self._pooled(target)
        mean = pooled.mean(0).expand_as(self.target_mean)
        std = pooled.std(0, unbiased=False).expand_as(self.target_std)
        std = torch.where(std > SMALLEST * unit, std, torch.full_like(std, unit))
        ratio = (self.target_std / std).flatten()
        shift = ((self.target_mean - mean) / std).flatten()
        self.weights[-1].mul_(ratio)
        if len(self.weights) == 1:
            self.state_weight.mul_(ratio)
        self.biases[-1].mul_(ratio).add_(shift)
        self.target_mean.copy_(mean)
        self.target_std.copy_(std)

    def _pooled(self, target: Tensor) -> Tensor:
        """What mean and deviation are taken over, in the first dimension: here every agent's targets by themselves."""
        return target.reshape(-1, *self.target_mean.shape)


class SharedInfluenceEstimator(InfluenceEstimator):
    """An :class:`InfluenceEstimator` with one set of weights for all agents, each seen as the first of the row.

    As with BenchMARL's ``share_param_critic``, there is less to learn, from ``N`` times the data. Three networks serve
    all agents: one knows all actions, one all but the first agent's, one none. It is more than an economy. A baseline
    of an agent's own is that agent's habit, and what is habitual is no influence: who always takes is forgiven for it,
    who always gives gets no thanks. The shared baseline is what agents in such a situation usually do, a norm, and
    whoever falls short of it does harm for as long as it goes on. It is this package's own addition to the method.

    The state must hold the agents' parts in a row, equally long, and after them ``common_features`` that belong to
    nobody; and turning the row must give a situation of the same game.

    Where a method takes ``seats`` (integers ``[K]``; default: all), these are the seats from which the row is seen and
    whose actions are left out: ``V = K + 2``. What leaves nobody in particular out is predicted from every seat, and
    the mean taken.

    Args:
        n_agents, state_features, action_features, num_cells, future, encoder, device: see :class:`InfluenceEstimator`.
        common_features (int): features at the end of the state that belong to no agent.

    Raises:
        ValueError: also if the state does not divide into equal parts.

    Examples:
        >>> from tensordict import TensorDict
        >>> estimator = SharedInfluenceEstimator(n_agents=3, state_features=7, action_features=2, common_features=1)
        >>> data = TensorDict({"state": torch.zeros(8, 7), "action": torch.zeros(8, 3, 2)}, [8])
        >>> estimator(data)["prediction"].shape, estimator.n_networks
        (torch.Size([8, 5, 3, 2]), 3)
    """

    def __init__(
        self,
        n_agents: int,
        state_features: int,
        action_features: int,
        num_cells: Sequence[int] = (64, 64),
        future: bool = True,
        common_features: int = 0,
        encoder: TensorDictModuleBase | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__(n_agents, state_features, action_features, num_cells, future, encoder, device)
        if (state_features - common_features) % n_agents:
            raise ValueError(
                f"state_features without common_features must be a multiple of n_agents={n_agents}, equal parts for "
                f"all, but is {state_features} - {common_features}"
            )
        seats = torch.arange(n_agents, device=device)
        # Who is where in the row as seen from each seat, and the way back.
        self.row_from_seat: Tensor
        self.register_buffer("row_from_seat", (seats.unsqueeze(-1) + seats) % n_agents, persistent=False)
        self.place_in_row: Tensor
        self.register_buffer("place_in_row", (seats - seats.unsqueeze(-1)) % n_agents, persistent=False)
        # The same with the rows of all seats one after the other
        self.place_in_rows: Tensor
        self.register_buffer("place_in_rows", self.place_in_row + n_agents * seats.unsqueeze(-1), persistent=False)
        features = torch.arange(state_features, device=device)
        own = features[: state_features - common_features].unflatten(0, (n_agents, -1))
        common = features[own.numel() :].expand(n_agents, -1)
        self.state_from_seat: Tensor
        state_from_seat = torch.cat([own[self.row_from_seat].flatten(1), common], dim=-1)
        self.register_buffer("state_from_seat", state_from_seat, persistent=False)

    @staticmethod
    def count_left_out(n_agents: int) -> int:
        """One, for the first of the row."""
        return 1

    def sample_seats(self) -> Tensor | None:
        """Two seats drawn at random, so that a step takes no longer with many agents; ``None`` where there are two."""
        if self.n_agents == 2:
            return None
        return torch.randperm(self.n_agents, device=self.target_mean.device)[:2]

    def _run(self, state: Tensor, action: Tensor | None, networks: slice, seats: Tensor | None) -> Tensor:
        columns, agents, places = self.state_from_seat, self.row_from_seat, self.place_in_rows
        if seats is not None:
            columns, agents = columns[seats], agents[seats]
            places = self.place_in_row[seats] + (places - self.place_in_row)[: len(seats)]
        n_seats = len(agents)
        # Columns of a matrix are much faster to pick than those of more dimensions, or rows by an index of two.
        rows = state.reshape(-1, state.shape[-1]).index_select(-1, columns.flatten())
        if action is not None:
            action = action.reshape(len(rows), self.n_agents, -1).index_select(-2, agents.flatten())
        seen = self._stacked(rows.view(len(rows) * n_seats, -1), action, networks)
        # [V, place, P, row and seat] -> [V, seat and agent, P, row]
        seen = seen.unflatten(-1, (-1, n_seats)).permute(0, 4, 1, 2, 3).flatten(1, 2)
        seen = seen.index_select(1, places.flatten()).unflatten(1, (n_seats, -1))
        # What leaves nobody in particular out, every seat predicts: their mean is the better prediction.
        by_network = zip(range(networks.start, networks.stop), seen)
        seen = torch.cat([x if network == 1 else x.mean(0, keepdim=True) for network, x in by_network])
        return seen.movedim(-1, 0).reshape(*state.shape[:-1], *seen.shape[:-1])

    @torch.no_grad()
    def shift(self, error: Tensor) -> None:
        """As in :class:`InfluenceEstimator`, by the same for all agents, as the weights are: what a network predicts
        for whom depends on the place in the row.
        """
        every, one, none = error[:1], error[1 : self.n_agents + 1], error[self.n_agents + 1 :]
        one = one.gather(-2, self.row_from_seat.unsqueeze(-1).expand_as(one)).mean(0, keepdim=True)
        every, none = (x.mean(-2, keepdim=True).expand(-1, self.n_agents, -1) for x in (every, none))
        super().shift(torch.cat([every, one, none]))

    def _pooled(self, target: Tensor) -> Tensor:
        """All agents' targets together."""
        return super()._pooled(target).flatten(0, 1).unsqueeze(1)
