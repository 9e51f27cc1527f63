"""Credentials for the API server: a kubeconfig, or the service account of the pod we run in.

Reading them (client certificates, token files, exec plug-ins, their renewal) is the official client's work; its requests and watches are not
used, because its watch reads lines of at most 64 KiB and keeps no store (`kubernetes.aio.watch`).
"""

import ssl
from collections.abc import Mapping

from kubernetes.aio import config
from kubernetes.aio.client import Configuration
from kubernetes.aio.config.config_exception import ConfigException

from stowplan_extender.connections import ApiConnection
from stowplan_extender.errors import ConfigurationRefused
from stowplan_extender.settings import ApiSettings


async def connect(settings: ApiSettings) -> ApiConnection:
    """A connection that is not open yet.

    Raises:
        ConfigurationRefused: no usable credentials; says which file or variable is missing.
    """
    configuration = Configuration()
    try:
        if settings.kubeconfig:
            await config.load_kube_config(settings.kubeconfig, settings.context or None, configuration, persist_config=False)
        else:
            config.load_incluster_config(configuration)
        tls = _tls(configuration) if str(configuration.host).startswith("https://") else None
    except (ConfigException, OSError, ssl.SSLError, ValueError) as error:
        where = f"kubeconfig {settings.kubeconfig}" if settings.kubeconfig else "the pod's service account (or set api.kubeconfig)"
        raise ConfigurationRefused(f"no credentials for the API server from {where}: {error}") from error

    async def headers() -> Mapping[str, str]:
        found = (await configuration.auth_settings()).get("BearerToken")
        return {"Authorization": str(found["value"])} if found and found["value"] else {}

    return ApiConnection(str(configuration.host), tls, headers)


def _tls(configuration: Configuration) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert or None, cadata=configuration.ca_cert_data)
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, configuration.key_file)
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
