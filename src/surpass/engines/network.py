"""The connection to a server, with the proxies and certificates that the environment names; where one cannot
be used, a message names the variable.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import ssl
from pathlib import Path
from typing import Any
from urllib.request import getproxies_environment

import httpx2 as httpx

from surpass.engines.hiding import hidden
from surpass.errors import SurpassError

CHARSETS = {"utf-8", "utf8", "utf-16", "latin-1", "iso-8859-1", "ascii", "us-ascii", "windows-1252"}
# headers about how a body was sent, not about what it is
_OF_THE_WAY = {"content-encoding", "content-length", "transfer-encoding", "content-type"}


def certificates() -> ssl.SSLContext:
    """The trusted certificates: SSL_CERT_FILE, SSL_CERT_DIR, else the system's. SurpassError where these
    cannot be read.
    """
    folder = os.environ.get("SSL_CERT_DIR")
    if (
        folder
        and not os.environ.get("SSL_CERT_FILE")
        and not any(Path(part).is_dir() for part in folder.split(os.pathsep))
    ):
        raise SurpassError(
            f"SSL_CERT_DIR={folder} is no folder; set it to the folder of trusted certificates, or unset it"
        )
    try:
        return httpx.create_ssl_context()
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        for name, holds in (
            ("SSL_CERT_FILE", "a file of trusted certificates (PEM)"),
            ("SSLKEYLOGFILE", "a file that can be written"),
        ):
            if os.environ.get(name):
                why = "" if Path(os.environ[name]).exists() else " does not exist, and"
                raise SurpassError(
                    f"{name}={os.environ[name]}{why} cannot be used "
                    f"({(isinstance(error, OSError) and error.strerror) or error}); set it to {holds}, or "
                    "unset it"
                ) from None
        raise SurpassError(
            f"the trusted certificates cannot be read: {error}; SSL_CERT_FILE names another file of them"
        ) from None


def client(trusted: ssl.SSLContext, url: str, **settings: Any) -> httpx.AsyncClient:
    """A client for one server, through the proxy that the environment names for it; SurpassError, with the
    name of the variable, where that proxy cannot be used.
    """
    name, proxy = proxy_for(url)
    try:
        return httpx.AsyncClient(verify=trusted, trust_env=False, proxy=proxy or None, **settings)
    except ImportError:
        why = "a SOCKS proxy needs the package socksio (pip install socksio)"
    except (ValueError, TypeError, httpx.InvalidURL) as error:
        why = f"it is no address of a proxy, such as http://HOST:PORT ({_shown(str(error))})"
    raise SurpassError(
        f"{name}={_shown(proxy)} cannot be used: {why}; mend it, unset it, or name "
        f"{httpx.URL(url).host} in NO_PROXY"
    )


async def fetched(
    client: httpx.AsyncClient, method: str, url: str, most: int, key: str, **settings: Any
) -> httpx.Response:
    """A whole response, unpacked, with the key hidden. Oversized where it has more than `most` bytes: a
    stream may be endless, and 4 MB may unpack to 4 GB.
    """
    async with client.stream(method, url, **settings) as response:
        packed = [
            name
            for name in response.headers.get_list("content-encoding", split_commas=True)
            if name.strip() != "identity"
        ]
        if len(packed) > 1:
            raise Oversized("an answer that is packed several times over")
        whole = bytearray()
        async for piece in response.aiter_bytes():
            whole += piece
            if len(whole) > most:
                raise Oversized(
                    f"an answer of more than {most:,} bytes, which is no answer to what was asked"
                )
    kind = response.headers.get("content-type", "")
    charset = response.charset_encoding or "utf-8"
    text = bytes(whole).decode(charset if charset.lower() in CHARSETS else "utf-8", "replace")
    headers = [
        (name, hidden(value, key))
        for name, value in response.headers.multi_items()
        if name.lower() not in _OF_THE_WAY
    ]
    said = hidden(response.reason_phrase, key).encode("ascii", "replace")
    return httpx.Response(
        response.status_code,
        headers=[*headers, ("content-type", f"{kind.partition(';')[0]}; charset=utf-8")],
        content=hidden(text, key).encode(),
        request=response.request,
        extensions={"reason_phrase": said},
    )


class Oversized(Exception):
    """A response that is longer than any right one."""


def proxy_for(url: str) -> tuple[str, str]:
    """(the variable, the proxy it names) for requests to `url`; ("", "") where there is no proxy, or NO_PROXY
    names the host, a domain above it, a network that contains it, or *.
    """
    parts, named = httpx.URL(url), getproxies_environment()
    scheme = next((name for name in (parts.scheme, "all") if named.get(name, "").strip()), None)
    if scheme is None or any(
        _covers(part.strip().lower(), parts.host) for part in named.get("no", "").split(",")
    ):
        return "", ""
    proxy, lower = named[scheme].strip(), f"{scheme}_proxy"
    variable = next(
        (name for name in (lower, *os.environ) if name in os.environ and name.lower() == lower), lower.upper()
    )
    return variable, proxy if "://" in proxy else f"http://{proxy}"


def by_way_of(url: str) -> str:
    """The proxy for requests to `url`, in words for a message; "" where there is none."""
    name, proxy = proxy_for(url)
    return f" (by way of {name}={_shown(proxy)})" if name else ""


def same_server(one: httpx.URL, other: httpx.URL) -> bool:
    """Whether two addresses are of one server, so that both may get the same key. The second may be HTTPS
    where the first is HTTP.

    >>> same_server(httpx.URL("http://a.org/v1"), httpx.URL("https://a.org/v1"))
    True
    """
    if (one.scheme, one.host, one.port) == (other.scheme, other.host, other.port):
        return True
    return (
        one.host == other.host
        and (one.scheme, other.scheme) == ("http", "https")
        and not (one.port or other.port)
    )


def _covers(part: str, host: str) -> bool:
    """Whether an entry of NO_PROXY covers a host: *, the host, a domain above it, or a network (10.0.0.0/8).

    >>> _covers(".example.org", "api.example.org"), _covers("10.0.0.0/8", "10.1.2.3")
    (True, True)
    """
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host.strip("[]")) in ipaddress.ip_network(part.strip("[]"), strict=False)
    name = re.sub(r"^\w+://|:\d+$", "", part).removeprefix("*").removeprefix(".")
    return part == "*" or (bool(name) and (host == name or host.endswith(f".{name}")))


def _shown(words: str) -> str:
    """The words without the user name and password of an address."""
    return re.sub(r"//[^/@\s]*@", "//", words)
