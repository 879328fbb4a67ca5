"""The configuration: precedence, refusals in one line, rendering that loads again, and its reference page."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.config import Config, ConfigError, keys, load, variable
from service.config_text import hidden, markdown, toml

pytestmark = pytest.mark.usefixtures("no_variables")

DOCS = Path(__file__).parents[2] / "docs" / "configuration.md"


def _file(folder: Path, text: str) -> Path:
    path = folder / "mien.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_flags_win_over_environment_over_file_over_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = _file(tmp_path, "[server]\nport = 1001\nmax_sessions = 1002\nmax_in_flight = 1003\n[cameras]\ndoor = 'webcam:0'\n")
    monkeypatch.setenv("MIEN_SERVER__PORT", "2001")
    monkeypatch.setenv("MIEN_SERVER__MAX_SESSIONS", "2002")
    monkeypatch.setenv("MIEN_CAMERAS__HALL", "synthetic:")
    monkeypatch.setenv("MIEN_CAMERAS__HALL", "synthetic:faces")
    config = load(file, {"server": {"port": 3001}, "cameras": {"desk": "webcam:1"}})
    assert (config.server.port, config.server.max_sessions, config.server.max_in_flight) == (3001, 2002, 1003)
    assert config.server.max_pixels == 8_000_000
    assert config.cameras == {"door": "webcam:0", "hall": "synthetic:faces", "desk": "webcam:1"}


def test_the_file_may_be_named_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_CONFIG", str(_file(tmp_path, "[session]\nfaces = 7\n")))
    assert load().session.faces == 7


def test_lists_and_nothing_in_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_SERVER__ORIGINS", "https://a.example, https://b.example:8443")
    monkeypatch.setenv("MIEN_MODEL__DIRS", "/one,/two")
    monkeypatch.setenv("MIEN_SESSION__HOP", "none")
    config = load(_file(tmp_path, "[session]\nhop = 9\n"))
    assert config.server.origins == ("https://a.example", "https://b.example:8443")
    assert config.model.dirs == (Path("/one"), Path("/two"))
    assert config.session.hop is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[server]\nprot = 1\n", ("'server.prot'", "mien.toml", "'server.port'")),
        ("[sever]\nport = 1\n", ("'sever'", "mien.toml", "'server'")),
        ("port = 1\n", ("'port'", "mien.toml", "'server.port'")),
        ("[server]\nport = 70000\n", ("server.port = 70000", "mien.toml", "65535")),
        ("[session]\npolicy = 'newest'\n", ("session.policy = 'newest'", "'latest' or 'all'")),
        ("[session]\nmax_fps = nan\n", ("session.max_fps", "finite")),
        ("[server]\nhost = '0.0.0.0'\n", ("server.host = '0.0.0.0'", "loopback", "SSH tunnel")),
        ("[server]\nhost = 'example.org'\n", ("server.host", "loopback")),
        ("[cameras]\n'Front door' = 'webcam:0'\n", ("cameras", "'Front door'")),
        ("[server\n", ("mien.toml", "is not TOML")),
        ("server = 3\n", ("server = 3", "mien.toml")),
    ],
)
def test_a_bad_file_is_refused_in_one_line_that_names_it(tmp_path: Path, text: str, words: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError) as refused:
        load(_file(tmp_path, text))
    said = str(refused.value)
    assert "\n" not in said
    assert [word for word in words if word not in said] == []


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("MIEN_SREVER__PORT", "1", ("MIEN_SREVER__PORT", "MIEN_SERVER__PORT")),
        ("MIEN_PORT", "1", ("MIEN_PORT", "did you mean MIEN_")),
        ("MIEN_SERVER__PORT", "many", ("server.port = 'many'", "environment variable MIEN_SERVER__PORT", "integer")),
        ("MIEN_CAMERAS", "webcam:0", ("cameras",)),
        ("MIEN_CAMERAS__DOOR", "0:secret-password", ("cameras", "URI")),
    ],
)
def test_a_bad_variable_is_refused_in_one_line_that_names_it(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: tuple[str, ...]
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as refused:
        load()
    said = str(refused.value)
    assert "\n" not in said
    assert "secret-password" not in said
    assert [word for word in words if word not in said] == []


def test_a_flag_out_of_bounds_is_laid_to_the_command_line() -> None:
    with pytest.raises(ConfigError, match=r"session\.faces = 0 in command line: .*greater than or equal to 1"):
        load(flags={"session": {"faces": 0}})


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        load(tmp_path / "none.toml")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "::1", "localhost"])
def test_every_loopback_address_may_be_bound(host: str) -> None:
    assert load(flags={"server": {"host": host}}).server.host == host


_text = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=12)
_configs = st.builds(
    lambda port, origins, dirs, hop, providers, fps, cameras: {
        "server": {"port": port, "origins": origins},
        "model": {"dirs": dirs},
        "session": {"max_fps": fps} | ({} if hop is None else {"hop": hop}),
        "engine": {} if providers is None else {"providers": providers},
        "cameras": {name: f"webcam:{uri}" for name, uri in cameras.items()},
    },
    st.integers(0, 65535),
    st.lists(_text, max_size=3),
    st.lists(_text, max_size=2),
    st.none() | st.integers(1, 100),
    st.none() | st.lists(_text, max_size=2),
    st.floats(0.001, 1000),
    st.dictionaries(st.from_regex(r"[a-z0-9][a-z0-9_-]{0,9}", fullmatch=True), st.from_regex(r"[!-~]{1,12}", fullmatch=True), max_size=3),
)


@given(_configs)
def test_printed_configuration_loads_to_the_same(tmp_path_factory: pytest.TempPathFactory, values: dict[str, dict[str, object]]) -> None:
    config = load(flags=values)
    file = _file(tmp_path_factory.getbasetemp(), toml(config, show_secrets=True))
    assert load(file) == config


def test_secrets_of_cameras_are_hidden_unless_asked_for() -> None:
    uris = {"door": "rtsp://me:tops3cret@10.0.0.2:554/tops3cret?x=tops3cret", "hall": "video:https://tops3cret@h/s", "desk": "webcam:0"}
    config = load(flags={"cameras": uris})
    assert "tops3cret" not in toml(config)
    assert 'door = "rtsp://10.0.0.2:554/…"' in toml(config)
    assert toml(config, show_secrets=True).count("tops3cret") == 4
    assert hidden("video:a:b@c.mp4?loop=1") == "video:a:b@c.mp4?loop=1"


def test_every_key_says_what_it_means() -> None:
    silent = [
        f"{name}.{key}"
        for name, field in Config.model_fields.items()
        for key, inner in getattr(field.annotation, "model_fields", {"": field}).items()
        if not inner.description or not inner.description.endswith(".")
    ]
    assert silent == []


def test_the_reference_page_is_up_to_date_and_complete() -> None:
    page = DOCS.read_text(encoding="utf-8")
    assert page == markdown(), "run: mien config --markdown > docs/configuration.md"
    assert [key for key in keys() if variable(key) not in page] == []
