"""`stowplan slices` lists what a GPU can be cut into."""

from support.command_lines import Run


def test_an_h100_lists_every_class_with_its_resources(run: Run) -> None:
    """MIG by its table (26 multiprocessors for 1g.20gb, not a seventh), MPS by the rounding rule, time slicing by its share of the time."""
    listed = {item["slice"]: item for item in run("slices", "--device", "NVIDIA-H100-80GB-HBM3", "-o", "json").json["slices"]}

    assert listed["mig-1g.20gb"]["multiprocessors"] == 26
    assert listed["mps-25"]["multiprocessors"] == 32
    assert listed["time-4"]["timeShare"] == 0.25
    assert not listed["mps-25"]["isolated"]


def test_what_nobody_published_is_said_to_be_unknown(run: Run) -> None:
    """A B200's MIG profiles have a reason in place of numbers."""
    outcome = run("slices", "--device", "NVIDIA-B200")

    assert outcome.status == 0
    assert "mig-1g.23gb: how many multiprocessors" in outcome.stdout


def test_without_a_device_the_catalogue_is_listed(run: Run) -> None:
    """Every known GPU with its structure."""
    assert "NVIDIA-L40S" in run("slices").stdout


def test_slices_on_which_results_were_reported_wrong_say_so(run: Run) -> None:
    """A third of an H200 is doubtful (42 multiprocessors), a quarter (32) and MIG instances are not; no other generation is."""
    listed = {item["slice"]: item for item in run("slices", "--device", "NVIDIA-H200", "-o", "json").json["slices"]}

    assert {name for name, item in listed.items() if "doubt" in item} == {"mps-33", "mps-20", "mps-16", "mps-14"}
    assert "mps-33: at 42 multiprocessors" in run("slices", "--device", "NVIDIA-H200").stdout
    assert "doubt" not in run("slices", "--device", "NVIDIA-B200", "-o", "json").stdout


def test_an_unknown_gpu_is_refused_by_name(run: Run) -> None:
    """The message says what to do."""
    outcome = run("slices", "--device", "Voodoo2")

    assert outcome.status == 1
    assert "Voodoo2" in outcome.stderr
    assert "stowplan slices" in outcome.stderr
