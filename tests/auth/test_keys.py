import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from joserfc.jwk import ECKey, RSAKey, thumbprint

from tellstream.auth.keys import FILE_NAME, KeyFileError, SigningKeys


def rows(data_dir: Path) -> list[dict[str, Any]]:
    document: dict[str, list[dict[str, Any]]] = json.loads((data_dir / FILE_NAME).read_bytes())
    return document["keys"]


def row(key: ECKey | RSAKey) -> dict[str, Any]:
    return {**key.as_dict(private=True), "kid": key.thumbprint()}


def write(data_dir: Path, content: str | bytes) -> None:
    path = data_dir / FILE_NAME
    path.touch(mode=0o600)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def test_generated_once_and_then_kept(tmp_path: Path) -> None:
    data_dir = tmp_path / "state"
    first = SigningKeys.load_or_create(data_dir)
    content = (data_dir / FILE_NAME).read_bytes()
    assert SigningKeys.load_or_create(data_dir).jwks() == first.jwks()
    assert (data_dir / FILE_NAME).read_bytes() == content
    assert (data_dir / FILE_NAME).stat().st_mode & 0o777 == 0o600
    assert data_dir.stat().st_mode & 0o777 == 0o700


def test_jwks_is_public_and_named_by_thumbprint(tmp_path: Path) -> None:
    (key,) = SigningKeys.load_or_create(tmp_path).jwks()["keys"]
    assert key.keys() == {"kty", "crv", "x", "y", "kid", "use", "alg"}
    assert (key["kty"], key["crv"], key["use"], key["alg"]) == ("EC", "P-256", "sig", "ES256")
    assert key["kid"] == thumbprint({name: key[name] for name in ("kty", "crv", "x", "y")})


def test_several_keys_the_first_signs_and_all_verify(tmp_path: Path) -> None:
    keys = [ECKey.generate_key("P-256") for _ in range(3)]
    write(tmp_path, json.dumps({"keys": [row(key) for key in keys]}))
    loaded = SigningKeys.load_or_create(tmp_path)
    kids = [key.thumbprint() for key in keys]
    assert loaded.signer(0)[0] == kids[0]
    assert [key["kid"] for key in loaded.jwks()["keys"]] == kids
    assert not any("d" in key for key in loaded.jwks()["keys"])
    assert [len(loaded.keys(kid)) for kid in (*kids, None, "other")] == [1, 1, 1, 3, 0]


def test_threads_starting_at_once_agree(tmp_path: Path) -> None:
    barrier = Barrier(12)

    def start(_: int) -> str:
        barrier.wait()
        return SigningKeys.load_or_create(tmp_path / "state").signer(0)[0]

    with ThreadPoolExecutor(12) as pool:
        kids = set(pool.map(start, range(12)))
    assert kids == {rows(tmp_path / "state")[0]["kid"]}


def test_processes_starting_at_once_agree(tmp_path: Path) -> None:
    code = (
        "import sys; sys.path[:0] = sys.argv[2:]\n"
        "from pathlib import Path\n"
        "from tellstream.auth.keys import SigningKeys\n"
        "print(SigningKeys.load_or_create(Path(sys.argv[1])).signer(0)[0])"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "state"), *sys.path]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    kids = {process.communicate()[0].strip() for process in processes}
    assert kids == {rows(tmp_path / "state")[0]["kid"]}


def _damaged(change: Callable[[dict[str, Any]], object]) -> Callable[[dict[str, Any]], str]:
    def damage(key: dict[str, Any]) -> str:
        change(key)
        return json.dumps({"keys": [key]})

    return damage


@pytest.mark.parametrize(
    "content",
    [
        lambda _: "",
        lambda _: "not json",
        lambda _: "[]",
        lambda _: "{}",
        lambda _: '{"keys":[]}',
        lambda _: '{"keys":{}}',
        lambda _: '{"keys":["k"]}',
        lambda key: json.dumps({"keys": [key, key]}),
        lambda key: json.dumps({"keys": [key]})[:-20],
        lambda key: '{"keys":[],' + json.dumps({"keys": [key]})[1:],
        _damaged(lambda key: key.pop("d")),
        _damaged(lambda key: key.pop("kid")),
        _damaged(lambda key: key.update(kid="other")),
        _damaged(lambda key: key.update(d="AAAA")),
        _damaged(lambda key: key.update(d="!")),
        _damaged(lambda key: key.update(d=1)),
        _damaged(lambda key: key.update(signs_from="1")),
        _damaged(lambda key: key.update(signs_from=True)),
        _damaged(lambda key: key.update(signs_from=-1)),
        _damaged(lambda key: key.update(crv="P-384")),
        _damaged(lambda key: key.update(ECKey.generate_key("P-256").as_dict(private=False))),
        _damaged(lambda key: key.update(row(ECKey.generate_key("P-384")))),
        lambda _: json.dumps({"keys": [row(RSAKey.generate_key(2048))]}),
    ],
)
def test_a_damaged_file_stops_and_stays(
    tmp_path: Path, content: Callable[[dict[str, Any]], str]
) -> None:
    damaged = content(row(ECKey.generate_key("P-256")))
    write(tmp_path, damaged)
    with pytest.raises(KeyFileError) as caught:
        SigningKeys.load_or_create(tmp_path)
    assert str(tmp_path / FILE_NAME) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert (tmp_path / FILE_NAME).read_text() == damaged


def test_a_file_open_to_others_stops_the_start(tmp_path: Path) -> None:
    SigningKeys.load_or_create(tmp_path)
    (tmp_path / FILE_NAME).chmod(0o644)
    with pytest.raises(KeyFileError, match=r"oauth_keys.json: mode 0644"):
        SigningKeys.load_or_create(tmp_path)


def test_a_directory_that_cannot_be_made_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(KeyFileError, match="file"):
        SigningKeys.load_or_create(tmp_path / "file")
