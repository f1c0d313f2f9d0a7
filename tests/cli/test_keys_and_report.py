"""``ecluse keys`` and ``ecluse report usage``, as functions over a real database."""

import asyncio
import csv
import io
import json
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from ecluse.adapters.store.store import open_store
from ecluse.cli import app
from ecluse.cli.keys import create, list_, revoke
from ecluse.cli.moments import duration_s, iso, moment_us
from ecluse.cli.open_store import store_directory
from ecluse.cli.report import decimal_text, usage
from ecluse.domain.errors import ConfigurationError, InvalidRequest
from ecluse.domain.ledger.attempt_record import AttemptRecord
from ecluse.domain.values.answer import Outcome
from ecluse.domain.values.identifiers import AttemptId, KeyId, RequestId
from ecluse.domain.values.keys import take_apart
from ecluse.domain.values.money import Money
from ecluse.domain.values.usage import Usage
from ecluse.runtime.accounts import Accounts

Printed = pytest.CaptureFixture[str]
NOON_US = 1_700_049_600_000_000
"""2023-11-15T12:00:00Z."""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Data and working folder of the test's own."""
    monkeypatch.setenv("ECLUSE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("ECLUSE_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


def attempt(
    number: int,
    model: str = "small",
    money: Money | None = None,
    used: Usage | None = None,
    key_id: str = "k",
    request: int | None = None,
    started_at_us: int = NOON_US,
) -> AttemptRecord:
    """A sample attempt."""
    return AttemptRecord(
        attempt_id=AttemptId(f"a{number}"),
        request_id=RequestId(f"r{number if request is None else request}"),
        key_id=KeyId(key_id),
        route="auto",
        model=model,
        deployment=f"place/{model}",
        stage=0,
        streamed=False,
        started_at_us=started_at_us,
        first_event_us=1,
        duration_us=2,
        outcome=Outcome.ANSWERED,
        finish_reason="stop",
        error_code=None,
        usage=used or Usage(1_000, 200, 50, 20),
        price=money,
    )


def book(home: Path, records: Sequence[AttemptRecord]) -> None:
    """Write attempts as the gateway would."""

    async def append() -> None:
        async with open_store(home) as store:
            await store.ledger.append(records)

    asyncio.run(append())


def opened_by(home: Path, text: str) -> str:
    """The name of the key that a text opens."""

    async def authenticate() -> str:
        async with open_store(home) as store:
            accounts = Accounts(store.keys)
            await accounts.refresh()
            return accounts.authenticate(f"Bearer {text}", int(time.time())).name

    return asyncio.run(authenticate())


def test_a_created_key_opens_the_gateway(home: Path, capsys: Printed) -> None:
    """Standard output is the key and nothing else; the sentence goes beside it."""
    create(name="front desk", route=["auto"], expires="30d")
    printed = capsys.readouterr()
    text = printed.out.removesuffix("\n")
    assert take_apart(text) is not None
    assert opened_by(home, text) == "front desk"
    for part in ("front desk", "cannot be shown again", "only auto", "until 20"):
        assert part in printed.err
    assert text not in printed.err


def test_create_as_json(capsys: Printed) -> None:
    """One object with the key, its id, name, scope and end."""
    create(json=True)
    made = json.loads(capsys.readouterr().out)
    presented = take_apart(made.pop("key"))
    assert presented is not None
    assert made == {
        "key_id": presented.key_id,
        "name": "default",
        "routes": None,
        "expires_at": None,
    }
    create(json=True, route=["b", "a"], expires="1h")
    made = json.loads(capsys.readouterr().out)
    assert made["routes"] == ["a", "b"]
    now_s = int(time.time())
    assert made["expires_at"] in {iso(now_s + 3_600 - late) for late in range(30)}


def test_lists_never_show_a_secret(capsys: Printed) -> None:
    """The table and the JSON show id, name and state, and neither secret nor hash."""
    create(name="[red]one[/red]", json=True)
    text = json.loads(capsys.readouterr().out)["key"]
    presented = take_apart(text)
    assert presented is not None
    create(name="gone")
    revoke("gone")
    capsys.readouterr()
    list_()
    table = capsys.readouterr().out
    list_(json=True)
    listed = capsys.readouterr().out
    for shown in (table, listed):
        assert presented.key_id in shown
        assert presented.secret not in shown
        assert "sha256" not in shown
        assert "[red]one[/red]" in shown
        assert "revoked" in shown
    assert sorted(key["state"] for key in json.loads(listed)) == ["revoked", "valid"]


def test_a_list_of_nothing(capsys: Printed) -> None:
    """Without keys the list says how to make one."""
    list_()
    assert "ecluse keys create" in capsys.readouterr().out
    list_(json=True)
    assert json.loads(capsys.readouterr().out) == []


def test_revoke_says_which(capsys: Printed) -> None:
    """The revoked key is named; an unknown one is an error of ours."""
    create(name="desk")
    capsys.readouterr()
    revoke("desk")
    told = capsys.readouterr().out
    assert 'The key "desk" (' in told
    assert "within a second" in told
    with pytest.raises(InvalidRequest):
        revoke("nobody")


def test_revoke_wants_a_key(capsys: Printed) -> None:
    """What is missing has no name that somebody could have typed."""
    with pytest.raises(SystemExit):
        app(["keys", "revoke"])
    printed = capsys.readouterr()
    told = printed.out + printed.err
    assert "KEY" in told
    assert "--key" not in told


def test_a_route_that_nobody_configured(capsys: Printed) -> None:
    """The key is made, and the slip is told; what is always there is no slip."""
    create(route=["nope", "demo-smal", "auto"], json=True)
    printed = capsys.readouterr()
    assert json.loads(printed.out)["routes"] == ["auto", "demo-smal", "nope"]
    assert printed.err.count("Warning: ") == 2
    assert 'called "nope"' in printed.err
    assert 'Did you mean "demo-small"?' in printed.err


def test_the_configuration_names_the_folder(tmp_path: Path, home: Path) -> None:
    """storage.directory counts from the file's folder; without it $ECLUSE_HOME holds."""
    file = tmp_path / "etc" / "mine.toml"
    file.parent.mkdir()
    file.write_text('[storage]\ndirectory = "data"\n')
    assert store_directory(file) == file.parent / "data"
    assert store_directory(None) == home
    with pytest.raises(ConfigurationError):
        store_directory(tmp_path / "absent.toml")


def test_usage_of_nothing(home: Path, capsys: Printed) -> None:
    """An empty ledger says what to do; an empty period says how to see more."""
    usage()
    assert str(home) in (told := capsys.readouterr().out)
    assert "ecluse serve" in told
    usage(since="7d")
    assert "Without --since" in capsys.readouterr().out
    usage(json=True)
    assert json.loads(capsys.readouterr().out)["lines"] == []
    usage(csv=True)
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_a_table_with_totals(home: Path, capsys: Printed) -> None:
    """Every sum is there, requests are counted once in the total, money is exact."""
    book(
        home,
        [
            attempt(1, "small", Money(1, "USD")),
            attempt(2, "large", Money(2_500_000_000, "USD"), request=1),
            attempt(3, "small", Money(7, "EUR")),
        ],
    )
    usage()
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    rows = [line for line in lines if line and line[0] in ("small", "large", "total")]
    assert [row[:8] for row in rows] == [
        ["large", "1", "1", "0", "1,000", "50", "200", "20"],
        ["small", "2", "2", "0", "2,000", "100", "400", "40"],
        ["total", "2", "3", "0", "3,000", "150", "600", "60"],
    ]
    assert rows[0][8:] == ["2.50", "USD"]
    assert rows[1][8:] == ["0.000000007", "EUR"]
    assert ["2.500000001", "USD"] in lines


def test_unknown_and_estimated_are_marked(home: Path, capsys: Printed) -> None:
    """An unknown price is never nothing, and a count of our own is never a report."""
    book(
        home,
        [
            attempt(1, "dark"),
            attempt(2, "half", Money(0, "USD")),
            attempt(3, "half", used=Usage(10, 5, source="estimate")),
        ],
    )
    usage()
    printed = capsys.readouterr().out
    rows = {line.split()[0]: line for line in printed.splitlines() if line.strip()}
    assert rows["dark"].rstrip().endswith(" unknown")
    assert "0.00" not in rows["dark"]
    assert "0.00 USD" in rows["half"]
    assert "1 unknown" in printed
    assert "~1,010" in rows["half"]
    assert "~" not in rows["dark"]
    assert "counted here, not reported" in printed
    assert "price of 2 attempts is unknown" in printed


def test_usage_as_json(home: Path, capsys: Printed) -> None:
    """Amounts are exact decimal texts, and an unknown price leaves no amount."""
    book(home, [attempt(1, money=Money(1_234_567_890_123_456_789, "USD")), attempt(2, "dark")])
    usage(json=True, since="2023-11-15", until="2023-11-15")
    answer = json.loads(capsys.readouterr().out)
    assert (answer["by"], answer["since"]) == ("model", "2023-11-15T00:00:00Z")
    assert answer["until"] == "2023-11-16T00:00:00Z"
    assert [line["spend"] for line in answer["lines"]] == [{}, {"USD": "1234567890.123456789"}]
    assert answer["total"]["attempts"] == 2
    assert answer["total"]["unpriced_attempts"] == 1


def test_usage_as_csv(home: Path, capsys: Printed) -> None:
    """An unknown price is an empty cell, and a price of nothing is not."""
    book(
        home,
        [
            attempt(1, "paid", Money(5, "USD")),
            attempt(2, "paid", Money(7, "EUR")),
            attempt(3, "free", Money(0, "EUR")),
            attempt(4, 'na,me"'),
        ],
    )
    usage(csv=True)
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(row["model"], row["attempts"], row["spend"], row["currency"]) for row in rows] == [
        ("free", "1", "0.00", "EUR"),
        ('na,me"', "1", "", ""),
        ("paid", "2", "0.000000007", "EUR"),
        ("paid", "", "0.000000005", "USD"),
    ]
    assert rows[1]["unpriced_attempts"] == "1"


def test_the_columns_are_always_the_same(home: Path, capsys: Printed) -> None:
    """A program that reads them need not look whether anything was priced."""
    usage(csv=True)
    nothing = capsys.readouterr().out.splitlines()[0]
    book(home, [attempt(1)])
    usage(csv=True)
    unpriced = capsys.readouterr().out.splitlines()[0]
    book(home, [attempt(2, money=Money(5, "USD"))])
    usage(csv=True)
    assert nothing == unpriced == capsys.readouterr().out.splitlines()[0]


def test_keys_are_shown_by_name(home: Path, capsys: Printed) -> None:
    """By key, a line has the key's name and id; a key that is not there has its id."""
    create(name="front desk", json=True)
    key_id = json.loads(capsys.readouterr().out)["key_id"]
    book(home, [attempt(1, key_id=key_id), attempt(2, key_id="local")])
    usage(by="key")
    printed = capsys.readouterr().out
    assert f"front desk ({key_id})" in printed
    assert "local" in printed


def test_periods(home: Path, capsys: Printed) -> None:
    """A first and a last day take in both; durations count back from now."""
    day_us = 86_400_000_000
    now_us = time.time_ns() // 1_000
    started = [NOON_US - day_us, NOON_US, NOON_US + day_us, now_us - 3_600_000_000]
    book(home, [attempt(n, started_at_us=at) for n, at in enumerate(started)])
    for since, until, attempts in (
        ("2023-11-15", "2023-11-15", 1),
        ("2023-11-14", "2023-11-15", 2),
        ("2h", None, 1),
        (None, "2h", 3),
        (None, None, 4),
    ):
        usage(by="total", since=since, until=until, json=True)
        assert json.loads(capsys.readouterr().out)["total"]["attempts"] == attempts


def test_names_cannot_write_to_the_terminal(home: Path, capsys: Printed) -> None:
    """Escape sequences and markup in a model's name are shown and not obeyed."""
    book(home, [attempt(1, "\x1b]0;owned\x07[bold]x[/bold]")])
    usage()
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert "\x07" not in printed
    assert "[bold]x[/bold]" in printed


def test_two_formats_at_once() -> None:
    """--json and --csv exclude each other."""
    with pytest.raises(InvalidRequest):
        usage(json=True, csv=True)


@pytest.mark.parametrize(
    ("nano", "text"),
    [
        (0, "0.00"),
        (1, "0.000000001"),
        (10, "0.00000001"),
        (1_500_000_000, "1.50"),
        (1_000_000_000, "1.00"),
        (-1_250_000_001, "-1.250000001"),
        (2**62, "4611686018.427387904"),
    ],
)
def test_exact_decimals(nano: int, text: str) -> None:
    """Nano-units become decimals without a float between."""
    assert decimal_text(nano) == text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30d", 2_592_000), ("12h", 43_200), (" 45M ", 2_700), ("2w", 1_209_600), ("90s", 90)],
)
def test_durations(text: str, seconds: int) -> None:
    """A number and a unit."""
    assert duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "d", "1.5d", "-1d", "1y", "٣d", "99999999999d"])
def test_no_durations(text: str) -> None:
    """Anything else is refused with an example."""
    with pytest.raises(InvalidRequest) as caught:
        duration_s(text)
    assert "30d" in caught.value.next_step


def test_a_negative_duration() -> None:
    """It is one, but not of a life to come."""
    with pytest.raises(InvalidRequest, match="a time that has passed"):
        duration_s("-3d")


def test_moments() -> None:
    """Dates are UTC days; the last day counts whole, the calendar's very last one, too."""
    assert moment_us("2023-11-15", 0) == NOON_US - 43_200_000_000
    assert moment_us("2023-11-15", 0, end_of_day=True) == NOON_US + 43_200_000_000
    assert moment_us("1d", 100_000_000_000) == 13_600_000_000
    assert moment_us("9999-12-31", 0, end_of_day=True) > moment_us("9999-12-31", 0)
    for text in ("yesterday", "2023-02-30", "15.11.2023"):
        with pytest.raises(InvalidRequest, match="neither a date nor a duration"):
            moment_us(text, 0)
