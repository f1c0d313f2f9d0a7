"""What a start tells its user: the address, a key, what can answer, and lines to paste."""

from __future__ import annotations

from ipaddress import ip_address

from ecluse.domain.catalog.deployments import Fleet

MODELS_SHOWN = 12
NO_KEY = "YOUR_KEY"


def welcome(host: str, port: int, first_key: str | None, fleet: Fleet) -> str:
    """The text of a start. ``first_key`` is set when it was just made: it is shown only now."""
    shown_host = "127.0.0.1" if ip_address(host).is_unspecified else host
    address = (
        f"http://[{shown_host}]:{port}" if ":" in shown_host else f"http://{shown_host}:{port}"
    )
    key = first_key or NO_KEY
    model = _model_to_try(fleet)
    lines = [
        "",
        f"Ecluse answers at   {address}/v1",
        f"Key                 {_about_key(first_key)}",
        *_about_models(fleet),
        "",
    ]
    if model is not None:
        lines += _to_paste(address, key, model)
    return "\n".join(lines)


def _about_key(first_key: str | None) -> str:
    if first_key is None:
        return "one you have made; `ecluse keys create` makes another"
    return f"{first_key}   (shown only now; `ecluse keys create` makes others)"


def _about_models(fleet: Fleet) -> list[str]:
    names = fleet.names()
    lines = []
    if not names:
        lines += [
            "Models              none found. Start Ollama, LM Studio, llama.cpp or vLLM, or name a",
            "                    GGUF file in ecluse.toml; `ecluse doctor` tells more.",
        ]
    for position, name in enumerate(names[:MODELS_SHOWN]):
        label = "Models" if position == 0 else ""
        lines.append(f"{label:<20}{name:<20}{_what(name, fleet)}".rstrip())
    if len(names) > MODELS_SHOWN:
        lines.append(f"{'':<20}and {len(names) - MODELS_SHOWN} more: GET /v1/models")
    if fleet.silent_upstreams:
        lines.append(f"{'Not reachable':<20}{', '.join(fleet.silent_upstreams)}")
    return lines


def _what(name: str, fleet: Fleet) -> str:
    route = fleet.routes.get(name)
    if route is not None:
        return "asks " + ", then ".join(stage.model for stage in route.stages)
    places = fleet.deployments[name]
    text = "at " + ", ".join(dict.fromkeys(place.place for place in places))
    return f"{text} (demonstration)" if places[0].demonstration else text


def _model_to_try(fleet: Fleet) -> str | None:
    names = fleet.names()
    for preferred in ("auto", "demo"):
        if preferred in names:
            return preferred
    return names[0] if names else None


def _to_paste(address: str, key: str, model: str) -> list[str]:
    asks_demo = model in ("auto", "demo")
    question = "add 47 38" if asks_demo else "Why is the sky blue?"
    body = f'{{"model": "{model}", "messages": [{{"role": "user", "content": "{question}"}}]}}'
    return [
        "Try it:",
        "",
        f"curl {address}/v1/chat/completions -H 'Authorization: Bearer {key}' \\",
        f"  -H 'Content-Type: application/json' -d '{body}'",
        "",
        "or in Python (pip install openai):",
        "",
        "from openai import OpenAI",
        f'client = OpenAI(base_url="{address}/v1", api_key="{key}")',
        "answer = client.chat.completions.create(",
        f'    model="{model}", messages=[{{"role": "user", "content": "{question}"}}]',
        ")",
        "print(answer.choices[0].message.content)",
        "",
    ]
