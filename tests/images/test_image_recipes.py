"""The Containerfile, read as the builder without an engine reads it: what each image is told to be, and what that must never be."""

import re
from pathlib import Path

import images_builds
import images_recipes as recipes
import pytest
import yaml
from images_errors import RecipeRefused

ROOT = Path(__file__).resolve().parents[2]
COMPONENTS = ("predictor", "extender", "operator")


def test_there_is_an_image_for_every_component() -> None:
    """The targets that `docker build --target` takes."""
    assert set(recipes.targets()) == {*COMPONENTS, "example-server"}


@pytest.mark.parametrize("name", [*COMPONENTS, "example-server"])
def test_images_run_as_a_numbered_nobody(name: str) -> None:
    """Kubernetes can check `runAsNonRoot` on a number only; the chart's security contexts name the same one."""
    assert recipes.targets()[name].configuration()["User"] == "65532:65532"
    assert "runAsUser: 65532" in (ROOT / "charts" / "stowplan" / "templates" / "_helpers.tpl").read_text()


@pytest.mark.parametrize("component", COMPONENTS)
def test_images_start_what_the_chart_starts(component: str) -> None:
    """The entrypoint is the chart's own command, and Python takes no module from the working directory."""
    template = "scheduler" if component == "extender" else component
    command = re.findall(rf"command: (\[python, -m, stowplan_{component}\])", (ROOT / "charts" / "stowplan" / "templates" / f"{template}.yaml").read_text())
    recipe = recipes.targets()[component]
    assert list(recipe.entrypoint) == yaml.safe_load(command[0])
    assert recipe.environment["PYTHONSAFEPATH"] == "1"


@pytest.mark.parametrize("component", COMPONENTS)
def test_an_image_installs_its_own_extra_pinned(component: str) -> None:
    """Each stage installs one extra of the wheel by constraints.txt, from wheels only: nothing is compiled and nothing else comes in."""
    stage = recipes.stages()[f"{component}-site"]
    assert recipes.requirement_of(recipes.targets()[component]) == f"[{component}]"
    assert "--constraint /constraints.txt" in stage.runs[-1]
    assert "--only-binary :all:" in stage.runs[-1]


def test_the_base_is_an_argument() -> None:
    """Every stage that starts from outside starts from BASE, so that one argument pins them all by digest."""
    outside = {stage.parent for stage in recipes.stages().values()} - set(recipes.stages())
    assert outside == {"${BASE}"}


def test_the_example_servers_requirements_are_pinned() -> None:
    """Each has its line in constraints.txt."""
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in (ROOT / "constraints.txt").read_text().splitlines()}
    assert set((ROOT / "examples" / "server" / "requirements.txt").read_text().split()) <= pinned


def test_the_example_names_the_image_that_is_built() -> None:
    """Its tag is the version that images are tagged with."""
    service = next(yaml.safe_load_all((ROOT / "examples" / "serving.yaml").read_text()))
    image = service["spec"]["template"]["spec"]["containers"][0]["image"]
    assert image == f"localhost/stowplan-example-server:{images_builds.version()}"


def test_stages_inherit() -> None:
    """What a stage says is added to what its parent said, and an entrypoint clears the inherited command, as engines do."""
    text = 'FROM scratch AS a\nENV X=1 Y="two words"\nUSER 1:1\nCMD ["c"]\nFROM a AS b\nENV X=3\nENTRYPOINT ["e"]\nEXPOSE 80 81\n'
    configuration = recipes.targets(text)["b"].configuration()
    assert configuration["Env"] == ["X=3", "Y=two words"]
    assert (configuration["User"], configuration["Entrypoint"], configuration["Cmd"]) == ("1:1", ["e"], [])
    assert configuration["ExposedPorts"] == {"80/tcp": {}, "81/tcp": {}}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("FROM scratch", "write FROM BASE AS NAME"),
        ("RUN true", "before the first FROM"),
        ("FROM a AS b\nHEALTHCHECK CMD true", "HEALTHCHECK is not understood"),
        ("FROM a AS b\nENTRYPOINT python", "write a list"),
    ],
)
def test_what_cannot_be_followed_is_refused(text: str, complaint: str) -> None:
    """The two builders never differ in silence."""
    with pytest.raises(RecipeRefused, match=complaint):
        recipes.stages(text)


def test_a_stage_that_installs_in_another_way_is_refused() -> None:
    """The builder without an engine must know what to install."""
    text = 'FROM x AS it\nENTRYPOINT ["it"]\nFROM x AS it-site\nRUN curl example.com | sh\n'
    with pytest.raises(RecipeRefused, match="it-site must install one extra"):
        recipes.requirement_of(recipes.targets(text)["it"], text)
