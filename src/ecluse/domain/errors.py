"""One error tree: each leaf knows its HTTP status, its OpenAI type and code, and a next step.

EcluseError
├── RequestError                the client can mend it (4xx)
│   ├── InvalidRequest          400  malformed JSON, a wrong type, an impossible value
│   ├── ContextExceeded         400  the prompt fits no candidate
│   ├── NotAuthenticated        401
│   ├── RouteForbidden          403
│   ├── UnknownRoute            404
│   ├── UnknownPath             404
│   ├── MethodNotAllowed        405
│   └── BodyTooLarge            413
├── NothingAlive                503  no deployment can be asked
├── StoreFailed                 503  the database did not do what was asked
├── CannotCount                 503  the store has failed for too long
├── DeadlinePassed              504  the answer had not begun by the time the client set
├── UpstreamError               a deployment was asked and did not answer well
│   ├── UpstreamRefused         the upstream's own 4xx, passed on with its reason
│   ├── UpstreamUnreachable     503  no connection, or it broke before the answer began
│   ├── UpstreamFailed          502  a 5xx, or an error event inside the stream
│   ├── UpstreamGarbage         502  bytes that are not an OpenAI answer
│   ├── UpstreamTruncated       502  the answer stopped before its end
│   └── UpstreamSilent          504  nothing came for longer than the limit
└── StartError                  the program cannot start; shown as a sentence, exit code 2
    ├── ConfigurationError
    ├── PortTaken
    ├── ModelFileBroken
    ├── UnsafeBinding
    └── StoreTooNew
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar


class EcluseError(Exception):
    """Base of everything Ecluse raises on purpose.

    ``message`` says what is wrong, ``next_step`` what the reader can do about it.
    """

    status: ClassVar[int] = 500
    kind: str = "server_error"
    code: str = "internal_error"
    prompt_was_read: ClassVar[bool] = True
    """Whether an upstream may have worked on the prompt before it came to this."""

    def __init__(
        self,
        message: str,
        *,
        next_step: str = "",
        param: str | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step
        self.param = param
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return f"{self.message} {self.next_step}".strip()

    @property
    def http_status(self) -> int:
        """The status an HTTP client sees."""
        return self.status


class RequestError(EcluseError):
    """The client can mend it."""

    status = 400
    kind = "invalid_request_error"
    code = "invalid_request"


class InvalidRequest(RequestError):
    """Malformed JSON, a wrong type or an impossible value."""


class ContextExceeded(RequestError):
    """The prompt is longer than every candidate's context."""

    code = "context_length_exceeded"


class NotAuthenticated(RequestError):
    """No key, or one that is wrong, revoked or expired."""

    status = 401
    kind = "authentication_error"
    code = "invalid_api_key"


class RouteForbidden(RequestError):
    """The key may not use this route."""

    status = 403
    kind = "permission_error"
    code = "route_not_allowed"


class UnknownRoute(RequestError):
    """Nothing of that name answers here."""

    status = 404
    code = "model_not_found"


class UnknownPath(RequestError):
    """No such endpoint."""

    status = 404
    code = "unknown_url"


class MethodNotAllowed(RequestError):
    """The endpoint exists, the method does not."""

    status = 405
    code = "method_not_allowed"

    def __init__(self, message: str, *, allowed: Iterable[str]) -> None:
        self.allowed = ", ".join(allowed)
        super().__init__(message, next_step=f"It takes {self.allowed}.")


class BodyTooLarge(RequestError):
    """The request's body is over the limit."""

    status = 413
    code = "request_too_large"


class NothingAlive(EcluseError):
    """No deployment of the asked models can be reached."""

    status = 503
    kind = "service_unavailable"
    code = "no_deployment_available"


class StoreFailed(EcluseError):
    """The database did not do what was asked; nothing of it was written."""

    status = 503
    kind = "service_unavailable"
    code = "store_unavailable"


class CannotCount(EcluseError):
    """The store has failed for so long that no further attempt could be accounted for."""

    status = 503
    kind = "service_unavailable"
    code = "cannot_count"


class DeadlinePassed(EcluseError):
    """The answer had not begun by the time that the client itself had set."""

    status = 504
    kind = "timeout_error"
    code = "deadline_exceeded"


class UpstreamError(EcluseError):
    """A deployment was asked and did not answer well.

    ``another_may_do`` tells whether asking a different deployment makes sense.
    """

    status = 502
    kind = "upstream_error"
    code = "upstream_error"
    another_may_do: bool = True


class UpstreamRefused(UpstreamError):
    """The upstream's own 4xx: its status, reason and code are passed on.

    Another deployment may do where the refusal is about the upstream (our key there, its load,
    its models, its context) and not about the request.
    """

    prompt_was_read = False

    def __init__(
        self,
        message: str,
        *,
        upstream_status: int,
        next_step: str = "",
        code: str | None = None,
        param: str | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message, next_step=next_step, param=param, retry_after_s=retry_after_s)
        self.upstream_status = upstream_status
        self.code = code or "upstream_refused"
        self.kind = "rate_limit_error" if upstream_status == 429 else "invalid_request_error"
        # What is too long for one model may fit into another.
        too_long = upstream_status == 413 or code == "context_length_exceeded"
        self.another_may_do = too_long or upstream_status in (401, 402, 403, 404, 408, 409, 429)

    def again(self, retry_after_s: int) -> UpstreamRefused:
        """The same refusal for a later request, told without asking once more."""
        return UpstreamRefused(
            self.message,
            upstream_status=self.upstream_status,
            next_step=self.next_step,
            code=self.code,
            param=self.param,
            retry_after_s=max(1, retry_after_s),
        )

    @property
    def http_status(self) -> int:
        """The upstream's status; its 401 and 403 concern our key there, so they become 502."""
        return 502 if self.upstream_status in (401, 403) else self.upstream_status


class UpstreamUnreachable(UpstreamError):
    """No connection, or it broke before the answer began."""

    status = 503
    kind = "service_unavailable"
    code = "upstream_unreachable"
    prompt_was_read = False


class UpstreamFailed(UpstreamError):
    """The upstream said 5xx, or sent an error inside its stream."""

    code = "upstream_failed"
    prompt_was_read = False


class UpstreamGarbage(UpstreamError):
    """The upstream's bytes are not an OpenAI answer."""

    code = "upstream_garbage"


class UpstreamTruncated(UpstreamError):
    """The answer stopped before its end."""

    code = "upstream_truncated"


class UpstreamSilent(UpstreamError):
    """The upstream sent nothing for longer than the limit."""

    status = 504
    code = "upstream_silent"


class StartError(EcluseError):
    """The program cannot start; the command line shows the sentence and exits with 2."""

    code = "cannot_start"


class ConfigurationError(StartError):
    """The configuration is wrong; the message names file, line and key."""


class PortTaken(StartError):
    """Another program listens on the port."""


class ModelFileBroken(StartError):
    """A GGUF file is missing or cannot be loaded."""


class UnsafeBinding(StartError):
    """The address is open to others while no key is defined."""


class StoreTooNew(StartError):
    """The database was written by a newer version of the program."""
