"""The connection to the API server with the credentials that a kubeconfig or the pod's service account gives.

The official client's requests and watches are not used, because its watch reads lines of at most 64 KiB and keeps no store (`kubernetes.aio.watch`).
"""

import ssl
from collections.abc import Mapping

from kubernetes.aio.client import Configuration
from stowplan_fleet import kubeconfigs
from stowplan_fleet.errors import CredentialsRefused

from stowplan_extender.apiserver.connections import ApiConnection
from stowplan_extender.errors import ConfigurationRefused
from stowplan_extender.settings import ApiSettings


async def connect(settings: ApiSettings) -> ApiConnection:
    """A connection that is not open yet.

    Raises:
        ConfigurationRefused: no usable credentials; says which file or variable is missing.
    """
    try:
        found = await kubeconfigs.read(settings.kubeconfig, settings.context)
    except CredentialsRefused as error:
        raise ConfigurationRefused(str(error)) from error
    try:
        tls = _tls(found) if str(found.host).startswith("https://") else None
    except (OSError, ValueError) as error:
        raise ConfigurationRefused(str(kubeconfigs.refusal(settings.kubeconfig, error))) from error

    async def headers() -> Mapping[str, str]:
        token = await kubeconfigs.bearer(found)
        return {"Authorization": token} if token else {}

    return ApiConnection(str(found.host), tls, headers)


def _tls(configuration: Configuration) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert or None, cadata=configuration.ca_cert_data)
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, configuration.key_file)
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
