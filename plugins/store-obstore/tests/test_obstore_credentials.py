"""Credentials, regions and servers as Amazon's, Microsoft's and Google's own libraries find them."""

import base64
import hashlib
import hmac
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

import zarrv3
from zarrv3.errors import ConfigurationError
from zarrv3_store_obstore import ObjectStore, clouds


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of the test's own, and an environment that names no cloud."""
    for name in [*os.environ]:
        if name.startswith(("AWS_", "AZURE_", "GOOGLE_", "STORAGE_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    (tmp_path / ".aws").mkdir()
    return tmp_path


def who(s3: Any, store: ObjectStore) -> str:
    """Under which key, with which token, and paid by whom a store asks: empty where nobody signs."""
    (line,) = s3.requests(lambda: store.get("no-such-key"))
    return str(line.partition("?")[2].strip())


def files(home: Path, config: str, credentials: str = "") -> None:
    """Write what `aws configure` writes."""
    (home / ".aws" / "config").write_text(config)
    (home / ".aws" / "credentials").write_text(credentials)


# ---------------------------------------------------------------- Amazon


def test_keys_in_the_environment(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys, token and server come from the variables of the AWS command line."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "ENV", "AWS_SECRET_ACCESS_KEY": "s", "AWS_SESSION_TOKEN": "TOKEN",
        "AWS_ENDPOINT_URL_S3": f"http://{s3.address}",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    assert who(s3, ObjectStore(f"s3://{s3.bucket}/x")) == "ENV TOKEN"
    assert (
        who(s3, ObjectStore(f"s3://{s3.bucket}/x", key="GIVEN", secret="s")) == "GIVEN"
    )  # not with another one's token
    assert who(s3, ObjectStore(f"s3://{s3.bucket}/x", anon=True)) == ""


def test_profiles(s3: Any, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys, region and server of a profile: the default one, that of `AWS_PROFILE`, or that of the option, which goes first."""
    files(
        home,
        f"""
[default]
region = eu-north-1
endpoint_url = http://{s3.address}
[profile lab]
services = ours
aws_access_key_id = FROMCONFIG
aws_secret_access_key = s
[services ours]
s3 =
  endpoint_url = http://{s3.address}
ec2 =
  endpoint_url = http://127.0.0.1:9
""",
        "[default]\naws_access_key_id = DEFAULT\naws_secret_access_key = s\naws_session_token = T\n"
        "[other]\naws_access_key_id = OTHER\naws_secret_access_key = s\n",
    )
    url = f"s3://{s3.bucket}/x"
    assert who(s3, ObjectStore(url)) == "DEFAULT T"
    assert clouds.target(url, {}).config["region"] == "eu-north-1"
    assert clouds.target(url, {"region": "us-west-2"}).config["region"] == "us-west-2"
    monkeypatch.setenv("AWS_PROFILE", "lab")
    assert who(s3, ObjectStore(url)) == "FROMCONFIG"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    assert who(s3, ObjectStore(url)) == "ENV"
    server = f"http://{s3.address}"
    assert who(s3, ObjectStore(url, profile="other", endpoint_url=server)) == "OTHER"
    assert who(s3, zarrv3.open_store(f"obstore+{url}?profile=lab")) == "FROMCONFIG"  # type: ignore[arg-type]
    assert not ObjectStore(url, profile="lab").capabilities.swap  # not Amazon's server
    monkeypatch.setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")
    assert ObjectStore(url, profile="lab").capabilities.swap
    with pytest.raises(ConfigurationError, match="no profile 'nobody'"):
        ObjectStore(url, profile="nobody").get("k")


def test_credentials_that_are_fetched(s3: Any, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a profile says how credentials are fetched, botocore fetches them; without it, the error says what to install."""
    answer = {"Version": 1, "AccessKeyId": "FETCHED", "SecretAccessKey": "s3cr3t", "SessionToken": "T"}
    (home / "fetch.py").write_text(f"print({json.dumps(json.dumps(answer))})")
    files(
        home,
        f"[profile lab]\ncredential_process = {sys.executable} {home}/fetch.py\nendpoint_url = http://{s3.address}\n",
    )
    store = ObjectStore(f"s3://{s3.bucket}/x", profile="lab")
    assert who(s3, store) == "FETCHED T"
    monkeypatch.setitem(sys.modules, "botocore.session", None)
    with pytest.raises(ConfigurationError, match=r"credential_process.*zarrv3-store-obstore\[aws\]"):
        ObjectStore(f"s3://{s3.bucket}/x", profile="lab").get("k")


def test_damaged_files(home: Path) -> None:
    """A file that cannot be read is an error that names it, and shows none of its lines."""
    files(home, "aws_secret_access_key = s3cr3t")
    with pytest.raises(
        ConfigurationError, match=r"\.aws/config cannot be read: MissingSectionHeader"
    ) as caught:
        ObjectStore("s3://bucket/x").get("k")
    assert "s3cr3t" not in str(caught.value)


def test_who_pays(s3: Any, s3_store: Callable[..., ObjectStore]) -> None:
    """With `requester_pays` every request says so: reading, measuring, writing, listing and erasing."""
    store = s3_store(requester_pays=True)
    asked = s3.requests(
        lambda: [
            store.update(k=b"v"),
            store["k"],
            store.stat_many(["k"]),
            store.list(),
            store.delitems(["k"]),
        ]
    )
    assert len(asked) == 5
    assert {line.rpartition(" ")[2] for line in asked} == {"requester"}


@pytest.mark.parametrize("status", [200, 301, 403])
def test_the_region_is_asked_for(status: int, answering: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody says in which region a bucket lies, Amazon is asked, once and before the first request; others are not."""
    with answering(status, {"x-amz-bucket-region": "eu-west-3"}) as (address, seen):
        monkeypatch.setattr(clouds, "AMAZON", address)
        store = ObjectStore("s3://bucket/x", anon=True)
        assert store.capabilities.swap
        assert not seen
        assert [store.driver.requests.store.config["region"] for _ in range(2)] == ["eu-west-3"] * 2
        for options in ({"region": "us-west-2"}, {"endpoint_url": address}):
            assert ObjectStore("s3://bucket/x", anon=True, **options).driver.requests.store
        assert len(seen) == 1
    monkeypatch.setattr(clouds, "AMAZON", address)  # where nobody answers any more
    assert ObjectStore("s3://bucket/x", anon=True).driver.requests.store.config["region"] == "us-east-1"


# ---------------------------------------------------------------- Microsoft


def test_azures_ways_in(azure_store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys, connection strings and shared access signatures let in, as options and from the environment."""
    (url,), given = azure_store.args, azure_store.keywords
    azure_store()["k"] = b"v"
    account, key, endpoint = (given[name] for name in ("account_name", "account_key", "endpoint_url"))
    sas = signature(account, key)
    connection = f"AccountName={account};AccountKey={key};BlobEndpoint={endpoint};"
    by_sas = f"BlobEndpoint={endpoint};SharedAccessSignature={sas};AccountName={account}"
    wrong = base64.b64encode(b"wrong").decode()
    stores = [
        ObjectStore(url, connection_string=connection),
        ObjectStore(url, connection_string=by_sas),
        ObjectStore(url, account_name=account, sas_token=sas, endpoint_url=endpoint),
        ObjectStore(url, account_name=account, sas_token=f"?{sas}", endpoint_url=endpoint),
    ]
    for variables in (
        {"AZURE_STORAGE_CONNECTION_STRING": connection},
        {"AZURE_STORAGE_ACCOUNT": account, "AZURE_STORAGE_KEY": key, "AZURE_STORAGE_ENDPOINT": endpoint},
        {
            "AZURE_STORAGE_ACCOUNT_NAME": account,
            "AZURE_STORAGE_SAS_TOKEN": sas,
            "AZURE_STORAGE_ENDPOINT": endpoint,
        },
    ):
        with monkeypatch.context() as here:
            for name, value in variables.items():
                here.setenv(name, value)
            store = ObjectStore(url)
            assert (store["k"], store.capabilities.swap) == (b"v", False)
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", wrong)  # what is given goes before it
    for store in stores:
        assert (store["k"], store.capabilities.swap) == (b"v", False)
        assert not any(secret in repr(store) for secret in (key, sas))


def signature(account: str, key: str) -> str:
    """A shared access signature for a whole account, as Microsoft's documentation describes it."""
    fields = {
        "sp": "rwdlac", "ss": "b", "srt": "sco", "st": "", "se": "2099-01-01T00:00:00Z", "sip": "",
        "spr": "https,http", "sv": "2020-08-04",
    }  # fmt: skip
    text = "".join(f"{field}\n" for field in (account, *fields.values()))
    digest = hmac.new(base64.b64decode(key), text.encode(), hashlib.sha256).digest()
    return urlencode({**{n: v for n, v in fields.items() if v}, "sig": base64.b64encode(digest).decode()})


def test_clouds_of_their_own() -> None:
    """Hosts and connection strings of Azure's national clouds lead there; they are Microsoft's own too."""
    found = clouds.target("abfs://c@acc.dfs.core.chinacloudapi.cn/x", {})
    assert found.config["endpoint"] == "https://acc.blob.core.chinacloudapi.cn"
    assert found.is_the_providers
    text = "AccountName=acc;AccountKey=a2V5;EndpointSuffix=core.chinacloudapi.cn"
    assert (
        clouds.target("az://c/x", {"connection_string": text}).config["endpoint"] == found.config["endpoint"]
    )
    assert clouds.target("az://c/x", {"connection_string": "UseDevelopmentStorage=true"}).config[
        "use_emulator"
    ]


# ---------------------------------------------------------------- Google


@pytest.mark.parametrize("how", ["GOOGLE_APPLICATION_CREDENTIALS", "gcloud", "token"])
def test_googles_service_accounts(
    how: str, answering: Any, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service account's key signs requests, wherever its file is named or lies."""
    key = generate_private_key(65537, 2048).private_bytes(
        Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()
    )
    with answering(404, {}) as (address, seen):
        account = {
            "type": "service_account", "client_email": "me@lab", "private_key": key.decode(), "private_key_id": "1",
            "gcs_base_url": address,
        }  # fmt: skip
        path = home / "key.json"
        options: dict[str, Any] = {"endpoint_url": address}
        if how == "gcloud":
            path = home / ".config" / "gcloud" / "application_default_credentials.json"
            path.parent.mkdir(parents=True)
        elif how == "token":
            options["token"] = str(path)
        else:
            monkeypatch.setenv(how, str(path))
        path.write_text(json.dumps(account))
        assert ObjectStore("gs://bucket/x", **options).get("k") is None
        claims = seen[0]["Authorization"].removeprefix("Bearer ").split(".")[1]
        assert json.loads(base64.urlsafe_b64decode(claims + "=="))["iss"] == "me@lab"
