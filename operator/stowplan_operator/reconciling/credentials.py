"""Credentials for the API server: a kubeconfig, or the service account of the pod we run in.

Reading them (client certificates, token files, exec plug-ins) is the official client's work; kopf and our own client use the same result.
"""

import asyncio
import base64
import datetime as dt
from pathlib import Path
from typing import Final

import kopf
from kubernetes.aio import config
from kubernetes.aio.client import Configuration
from kubernetes.aio.config.config_exception import ConfigException

from stowplan_operator.errors import StartRefused
from stowplan_operator.settings import ApiSettings

# Tokens of service accounts live an hour and their files are renewed at 80 % of that (kubelet, token manager); exec plug-ins may be shorter.
LIFETIME: Final = dt.timedelta(minutes=10)


async def connect(settings: ApiSettings) -> kopf.ConnectionInfo:
    """Credentials read anew.

    Raises:
        StartRefused: none that can be used; says which file or variable is missing.
    """
    found = Configuration()
    try:
        if settings.kubeconfig:
            await config.load_kube_config(settings.kubeconfig, settings.context or None, found, persist_config=False)
        else:
            config.load_incluster_config(found)
        bearer = (await found.auth_settings()).get("BearerToken")
        return await asyncio.to_thread(_info, found, str(bearer["value"]) if bearer and bearer["value"] else None)
    except (ConfigException, OSError, ValueError) as error:
        where = f"kubeconfig {settings.kubeconfig}" if settings.kubeconfig else "the pod's service account (or set api.kubeconfig)"
        raise StartRefused(f"no credentials for the API server from {where}: {error}") from error


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
