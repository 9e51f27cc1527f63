"""Rollouts: how a change reaches the pods without fewer of them serving than before. Pure functions of what a Deployment says of itself.

A Deployment never has fewer available pods than it asks for (`maxUnavailable: 0`), but a change that also asks for fewer pods would take the former ones away
before the new ones serve: four servers on one core each, to become one on four cores, would be one on one core for a while. So the former count is kept
until enough new pods serve.
"""

from dataclasses import dataclass

from stowplan_operator.workloads.deployments import DeploymentState


@dataclass(frozen=True, slots=True)
class Rollout:
    """A change on its way."""

    new: int
    """Pods of the present template, serving or not."""
    former: int
    """Pods of former templates."""


def rollout_of(state: DeploymentState | None) -> Rollout | None:
    """The change that a Deployment is bringing to its pods; None where all of them have it, or nobody has looked at it yet."""
    if state is None or state.observed_generation < state.generation or state.total <= state.updated:
        return None
    return Rollout(state.updated, state.total - state.updated)


def replicas_for(state: DeploymentState | None, template_digest: str, wanted: int) -> int:
    """How many replicas to ask for now, so that no change takes serving pods away before enough new ones serve.

    Args:
        state: the Deployment as last seen; None where there is none.
        template_digest: of the template that is to be applied.
        wanted: replicas of the rung.
    """
    if state is None:
        return wanted
    changes = state.template_digest != template_digest or state.observed_generation < state.generation
    rollout = rollout_of(state)
    if not changes and (rollout is None or state.available - rollout.former >= wanted):
        # Former pods may be among the available ones; at least the rest is new.
        return wanted
    # Pods that do not serve are nothing to keep.
    return max(wanted, min(state.available, state.replicas))
