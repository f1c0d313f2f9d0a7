"""What a client sees of an answer's events: what it did not ask for is taken out again. Pure."""

from __future__ import annotations

import msgspec

from ecluse.domain.values.answer import Event, Progress
from ecluse.domain.values.request import ChatRequest, spliced

DATA = b"data: "
END = b"\n\n"
DONE = b"data: [DONE]\n\n"
WAITING = b": waiting\n\n"


class _ChoiceLogprobs(msgspec.Struct, gc=False):
    logprobs: msgspec.Raw = msgspec.Raw()


class _AnswerLogprobs(msgspec.Struct, gc=False):
    choices: list[_ChoiceLogprobs]


_logprobs_decoder = msgspec.json.Decoder(_AnswerLogprobs)
_fields_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
_choices_decoder = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
LOGPROBS_KEY = b'"logprobs":'
NULL = b"null"
_NO_LOGPROBS = (b"", NULL)
_NO_CHOICES = msgspec.Raw(b"[]")


class ShownStream:
    """Writes one answer's events as server-sent events.

    ``told_in_headers`` are the model and the number of attempts that the headers told, None where
    they left before that was known; the terminal chunk tells what is missing or has changed.
    """

    def __init__(self, request: ChatRequest) -> None:
        self._request = request
        self._usage_shown = False
        self._usage_with_choices: Event | None = None
        self.told_in_headers: tuple[str, int] | None = None

    def write(self, progress: Progress) -> bytes:
        """The bytes of some events."""
        pieces: list[bytes] = []
        for event in progress.events:
            raw = self._shown(event, progress)
            if raw is not None:
                pieces += (DATA, raw, END)
        return b"".join(pieces)

    def end(self) -> bytes:
        """The bytes after the last event: usage in a chunk of its own if it was asked for and
        only came along with choices, then ``[DONE]``.
        """
        event = self._usage_with_choices
        if not self._request.wants_stream_usage or self._usage_shown or event is None:
            return DONE
        alone = _changed(event.raw, {"choices": _NO_CHOICES}, ())
        return DATA + _on_one_line(alone) + END + DONE

    def _shown(self, event: Event, progress: Progress) -> bytes | None:
        changes: dict[str, object] = {}
        removed: tuple[str, ...] = ()
        if event.usage is not None:
            if self._request.wants_stream_usage:
                self._note_usage(event)
            elif not event.choices:
                return None
            else:
                removed = ("usage",)
        raw = event.raw
        if progress.strip_logprobs and event.choices:
            raw = _without_logprobs(raw)
        if self.told_in_headers != (progress.model, progress.attempts) and any(
            p.finish_reason for p in event.choices
        ):
            changes["ecluse"] = {"model": progress.model, "attempts": progress.attempts}
        return _on_one_line(_changed(raw, changes, removed))

    def _note_usage(self, event: Event) -> None:
        if event.choices:
            self._usage_with_choices = event
        else:
            self._usage_shown = True


def shown_whole(progress: Progress) -> bytes:
    """The body of an answer that is not streamed."""
    (event,) = progress.events
    return _without_logprobs(event.raw) if progress.strip_logprobs else event.raw


def _changed(raw: bytes, changes: dict[str, object], removed: tuple[str, ...]) -> bytes:
    if not changes and not removed:
        return raw
    fields = _fields_decoder.decode(raw)
    for name in removed:
        fields.pop(name, None)
    return spliced(fields, changes)


def _on_one_line(raw: bytes) -> bytes:
    """JSON without line ends, which a frame's payload may not have; CR ends a line there too."""
    return msgspec.json.format(raw, indent=-1) if b"\n" in raw or b"\r" in raw else raw


def _without_logprobs(raw: bytes) -> bytes:
    """The answer with null for its choices' log-probabilities, everything else byte for byte.

    They are most of the bytes, so they are cut out where they stand instead of written anew.
    """
    pieces: list[bytes] = []
    done = 0
    for choice in _logprobs_decoder.decode(raw).choices:
        value = bytes(choice.logprobs)
        if value in _NO_LOGPROBS:
            continue
        begin = raw.find(LOGPROBS_KEY, done) + len(LOGPROBS_KEY)
        if not raw.startswith(value, begin):
            return _written_anew(raw)
        pieces += (raw[done:begin], NULL)
        done = begin + len(value)
    pieces.append(raw[done:])
    return b"".join(pieces)


def _written_anew(raw: bytes) -> bytes:
    choices = _choices_decoder.decode(_fields_decoder.decode(raw)["choices"])
    for choice in choices:
        if "logprobs" in choice:
            choice["logprobs"] = msgspec.Raw(NULL)
    return _changed(raw, {"choices": choices}, ())
