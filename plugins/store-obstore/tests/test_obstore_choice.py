"""Who serves `s3://` and the other schemes that fsspec knows too, and options that mean the same to both."""

from typing import Any

import pytest

import zarrv3
from zarrv3.errors import ConfigurationError
from zarrv3_store_fsspec import FSStore
from zarrv3_store_obstore import ObjectStore

SCHEMES = ["s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "http", "https"]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_plain_schemes(scheme: str) -> None:
    """The schemes that both know are served by obstore; a prefix, the setting or a class says otherwise."""
    url = f"{scheme}://place/x"
    assert isinstance(zarrv3.open_store(url), ObjectStore)
    assert isinstance(zarrv3.open_store(f"obstore+{url}"), ObjectStore)
    assert zarrv3.open_store(f"obstore+{url}") == zarrv3.open_store(url)
    assert isinstance(zarrv3.open_store(f"fsspec+{url}"), FSStore)
    with zarrv3.config.set(prefer="fsspec"):
        assert isinstance(zarrv3.open_store(url), FSStore)
        assert isinstance(zarrv3.open_store(f"obstore+{url}"), ObjectStore)


def test_the_environment_prefers(monkeypatch: pytest.MonkeyPatch) -> None:
    """`ZARRV3_PREFER` says for a process which of both is asked first."""
    monkeypatch.setenv("ZARRV3_PREFER", "fsspec")
    assert isinstance(zarrv3.open_store("s3://bucket/x"), FSStore)
    assert isinstance(zarrv3.open_store("s3://bucket/x?virtual_hosted_style_request=true"), ObjectStore)


@pytest.mark.parametrize(
    ("url", "cls"),
    [
        ("s3://b/x?anon=true&endpoint_url=http://h&region=eu&mode=r", ObjectStore),
        ("s3://b/x?key=k&secret=s&token=t&profile=p&requester_pays=yes", ObjectStore),
        ("s3://b/x?virtual_hosted_style_request=true", ObjectStore),
        ("s3://b/x?connect_timeout=3&read_timeout=2.5&conditional_writes=yes", ObjectStore),
        ('s3://b/x?client_kwargs={"region_name":"eu"}', FSStore),
        ("s3://b/x?normalize_keys=yes", FSStore),
        ("s3://b/x?create=yes", FSStore),
        ("gs://b/x?token=anon", ObjectStore),
        ("https://host/x?mode=r", ObjectStore),
        ('https://host/x?headers={"Authorization":"Bearer x"}', ObjectStore),
        ("https://host/x?sv=1&sig=abc", FSStore),  # a signature that goes with every request
        ("https://host/x?token=abc", FSStore),
        ("fsspec+simplecache::s3://b/x", FSStore),
    ],
)
def test_options_decide(url: str, cls: type) -> None:
    """A URL is opened by obstore if that knows all of its options, else by fsspec; configurations too."""
    store = zarrv3.open_store(url)
    assert type(store) is cls
    assert zarrv3.open_store(store.spec()) == store


def test_options_that_both_know() -> None:
    """A URL with the common options is understood by both, by the same names."""
    url = "s3://b/x?key=k&secret=s&token=t&endpoint_url=http://127.0.0.1:9&region=eu-west-1&profile=lab"
    url += "&requester_pays=yes&connect_timeout=3&read_timeout=2&conditional_writes=yes&mode=r&anon=false"
    assert isinstance(zarrv3.open_store(f"obstore+{url}"), ObjectStore)
    store = zarrv3.open_store(f"fsspec+{url}".replace("&profile=lab", ""))
    fs = store.driver.files.fs
    assert fs.client_kwargs["region_name"] == "eu-west-1"
    assert (fs.config_kwargs["connect_timeout"], fs.config_kwargs["read_timeout"]) == (3, 2)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("obstore+s3://b/x?client_kwargs={}", r"'s3' has no URL option 'client_kwargs'; its"),
        ("obstore+s3://b/x?anom=true", r"did you mean 'anon'"),
        ("s3://b/x?anom=true", r"^'s3' has no URL option 'anom'; did you mean 'anon'\?$"),
        ("obstore+s3://b/x?account_name=a", r"'s3' has no URL option 'account_name'; .*\d others$"),
        ("obstore+https://h/x?anon=true", r"'https' has no URL option 'anon'; its URL options are: headers"),
        ("obstore+gs://b/x?token=browser", r"log in as token=.*fsspec\+gs://"),
    ],
)
def test_options_that_one_lacks(url: str, message: str) -> None:
    """An option that does not belong there is refused when the store is made, with whose it may be."""
    with pytest.raises(ConfigurationError, match=message):
        zarrv3.open_store(url)


def test_both_write_what_both_read(s3: Any) -> None:
    """What one library has written, the other one reads and changes, by the same URL and options."""
    query = "&".join(f"{name}={value}" for name, value in s3.options.items())
    url = f"s3://{s3.bucket}/both?{query}"
    zarrv3.create_array(url, shape=8, chunks=4, dtype="i4")[:] = range(8)
    with zarrv3.config.set(prefer="fsspec"):
        array = zarrv3.open_array(url)
        assert isinstance(array.store, FSStore)
        array[3:5] = 0
    assert zarrv3.open_array(url)[...].tolist() == [0, 1, 2, 0, 0, 5, 6, 7]
