"""Credentials for an API server: those of a kubeconfig, or of the service account of the pod we run in.

Reading them (client certificates, token files, exec plug-ins, their renewal) is the official client's work, and all that is taken from it here.
"""

from kubernetes.aio import config
from kubernetes.aio.client import Configuration
from kubernetes.aio.config.config_exception import ConfigException

from stowplan_fleet.errors import CredentialsRefused


async def read(kubeconfig: str, context: str) -> Configuration:
    """The credentials in a kubeconfig's context (its current one where that is empty), or those of the pod where no kubeconfig is named.

    Raises:
        CredentialsRefused: none that can be used; says which file or variable is missing.
    """
    found = Configuration()
    try:
        if kubeconfig:
            await config.load_kube_config(kubeconfig, context or None, found, persist_config=False)
        else:
            config.load_incluster_config(found)
    except (ConfigException, OSError, ValueError) as error:
        raise refusal(kubeconfig, error) from error
    return found


def refusal(kubeconfig: str, error: Exception) -> CredentialsRefused:
    """The error of credentials that cannot be used."""
    where = f"kubeconfig {kubeconfig}" if kubeconfig else "the pod's service account (or set api.kubeconfig)"
    return CredentialsRefused(f"no credentials for the API server from {where}: {error}")


async def bearer(found: Configuration) -> str | None:
    """What stands in the Authorization header now (`Bearer ...`), renewed where that is due; None without a token."""
    token = (await found.auth_settings()).get("BearerToken")
    return str(token["value"]) if token and token["value"] else None
