"""The breakers of all deployments, as long as the process lives."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from ecluse.domain.catalog.deployments import Deployment
from ecluse.domain.errors import EcluseError, UpstreamRefused
from ecluse.domain.fleet.breaker import CLOSED, US_PER_S, Breaker, State, after
from ecluse.ports import Clock
from ecluse.runtime.chance import share

logger = logging.getLogger(__name__)

NS_PER_US = 1_000


class Breakers:
    """One breaker a deployment, by its name; those that are closed take no room."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._not_closed: dict[str, Breaker] = {}
        self._asked_to_wait: dict[str, UpstreamRefused] = {}

    def admit(self, deployment: Deployment) -> bool:
        """Whether a request may be sent there now; if so, it is taken to be sent."""
        breaker = self._not_closed.get(deployment.name)
        if breaker is None:
            return True
        now_us = self._now_us()
        if not breaker.lets_through(now_us):
            return False
        self._not_closed[deployment.name] = breaker.probed(now_us)
        return True

    def began(self, deployment: Deployment) -> None:
        """Take note that an attempt has begun to answer.

        That is enough for one that was let through to see. It is not to make up for failures of a
        deployment that is asked as usual: else one that always breaks off would be asked for ever.
        """
        breaker = self._not_closed.get(deployment.name)
        if breaker is not None and breaker.at(self._now_us()).state is State.HALF_OPEN:
            self.ended(deployment, None)

    def ended(self, deployment: Deployment, error: EcluseError | None) -> None:
        """Take note of how an attempt ended."""
        name = deployment.name
        if error is None and name not in self._not_closed:
            return
        now_us = self._now_us()
        before = self._not_closed.get(name, CLOSED)
        breaker = after(before, error, now_us, share(self._clock))
        if breaker == CLOSED:
            self._not_closed.pop(name, None)
        else:
            self._not_closed[name] = breaker
        worse = breaker.failures > before.failures or breaker.asked_until_us > before.asked_until_us
        if worse and isinstance(error, UpstreamRefused):
            self._asked_to_wait[name] = error
        elif breaker == CLOSED or (worse and now_us >= breaker.asked_until_us):
            self._asked_to_wait.pop(name, None)
        if breaker.state is not before.state:
            why = "it is back" if breaker.state is State.CLOSED else error
            logger.warning("%s: breaker %s: %s", name, breaker.state.value, why)

    def wait_s(self, deployments: Iterable[Deployment]) -> float:
        """Seconds until the first of some deployments may be asked; 0 where one may be now."""
        now_us = self._now_us()
        waits = (
            self._not_closed.get(deployment.name, CLOSED).wait_us(now_us)
            for deployment in deployments
        )
        return min(waits, default=0) / US_PER_S

    def refusal(self, deployments: Iterable[Deployment]) -> UpstreamRefused | None:
        """What one of some deployments said when it asked to be left alone, if one did."""
        told = (self._asked_to_wait.get(deployment.name) for deployment in deployments)
        return next((error for error in told if error is not None), None)

    def open_now(self) -> Mapping[str, State]:
        """The deployments that are not asked as usual."""
        now_us = self._now_us()
        states = {name: breaker.at(now_us).state for name, breaker in self._not_closed.items()}
        return {name: state for name, state in states.items() if state is not State.CLOSED}

    def _now_us(self) -> int:
        return self._clock.monotonic_ns() // NS_PER_US
