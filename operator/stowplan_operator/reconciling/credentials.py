"""Credentials for the API server as kopf and our own client take them; reading them is `stowplan_fleet.kubeconfigs`'s work."""

import asyncio
import base64
import datetime as dt
from pathlib import Path
from typing import Final

import kopf
from kubernetes.aio.client import Configuration
from stowplan_fleet import kubeconfigs
from stowplan_fleet.errors import CredentialsRefused

from stowplan_operator.errors import StartRefused
from stowplan_operator.settings import ApiSettings

# Tokens of service accounts live an hour and their files are renewed at 80 % of that (kubelet, token manager); exec plug-ins may be shorter.
LIFETIME: Final = dt.timedelta(minutes=10)


async def connect(settings: ApiSettings) -> kopf.ConnectionInfo:
    """Credentials read anew.

    Raises:
        StartRefused: none that can be used; says which file or variable is missing.
    """
    try:
        found = await kubeconfigs.read(settings.kubeconfig, settings.context)
        return await asyncio.to_thread(_info, found, await kubeconfigs.bearer(found))
    except CredentialsRefused as error:
        raise StartRefused(str(error)) from error
    except (OSError, ValueError) as error:
        raise StartRefused(str(kubeconfigs.refusal(settings.kubeconfig, error))) from error


def _info(found: Configuration, authorization: str | None) -> kopf.ConnectionInfo:
    scheme, _, token = (authorization or "").rpartition(" ")
    return kopf.ConnectionInfo(
        server=str(found.host).rstrip("/"),
        ca_data=base64.b64encode(Path(found.ssl_ca_cert).read_bytes()).decode() if found.ssl_ca_cert else None,
        insecure=not found.verify_ssl,
        scheme=scheme or None,
        token=token or None,
        certificate_path=found.cert_file,
        private_key_path=found.key_file,
        expiration=dt.datetime.now(dt.UTC) + LIFETIME,
    )
