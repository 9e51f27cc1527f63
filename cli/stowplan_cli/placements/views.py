"""Views: what `nodes`, `what-if`, `audit` and `kubectl stowplan explain` have in common: a cluster, live or of a file, and who predicts."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stowplan_cli.inputs import questions
from stowplan_cli.objects import clusters
from stowplan_cli.objects.clusters import Access
from stowplan_cli.placements import placing
from stowplan_cli.terminal import outputs

if TYPE_CHECKING:
    from stowplan_predictor.serving.local import LocalPredictor

    from stowplan_cli.objects.snapshots import Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Options of a command that looks at a cluster and predicts what is there."""

    cluster: clusters.FileOption = None
    kubeconfig: clusters.KubeconfigOption = ""
    context: clusters.ContextOption = ""
    models: placing.ModelsOption = None
    bundle: questions.BundleOption = None
    runtime: questions.RuntimeOption = questions.RUNTIME
    output: outputs.OutputOption = outputs.Format.TABLE

    @property
    def access(self) -> Access:
        """How the live cluster is reached."""
        return Access(self.kubeconfig, self.context)

    def snapshot(self) -> "Snapshot":
        """The cluster's state: of the file where one is named, else live.

        Raises:
            Refused: it cannot be read.
        """
        return clusters.snapshot_of(self.access, self.cluster)

    def predictor(self) -> "LocalPredictor":
        """Who predicts, in this process."""
        return questions.opened_predictor(self.bundle, self.runtime)
