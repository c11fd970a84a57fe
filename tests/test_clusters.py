"""What `docs/clusters.md` names is there and well-formed; that it works is tested where its text says so."""

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import yaml
from packaging.version import Version
from ray import __version__ as ray_version

from growth.config import Config

ROOT = Path(__file__).parents[1]
CLUSTERS = ROOT / "docs" / "clusters"


def test_the_slurm_script_is_one_for_bash() -> None:
    subprocess.run(["bash", "-n", str(CLUSTERS / "slurm.sh")], check=True)
    done = subprocess.run(["bash", str(CLUSTERS / "slurm.sh")], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "usage: sbatch slurm.sh CONFIG.yaml RUN_DIR" in done.stderr


def test_the_manifest_runs_the_driver_with_authentication_and_without_root() -> None:
    job: dict[str, Any] = yaml.safe_load((CLUSTERS / "rayjob.yaml").read_text())
    cluster = job["spec"]["rayClusterSpec"]
    program = shlex.split(job["spec"]["entrypoint"])[1]
    home = re.search(r"WORKDIR (\S+)", (CLUSTERS / "Dockerfile").read_text())
    assert home is not None
    assert program == f"{home.group(1)}/growth/run.py"
    assert (ROOT / "growth" / "run.py").exists()
    assert cluster["authOptions"] == {"mode": "token"}
    assert Version(cluster["rayVersion"]).release[:2] == Version(ray_version).release[:2]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        assert group["template"]["spec"]["securityContext"]["runAsNonRoot"]


def test_the_settings_that_the_page_names_are_settings() -> None:
    page = (ROOT / "docs" / "clusters.md").read_text()
    given = yaml.safe_load(page.split("```yaml\n")[1].split("```")[0])
    given["oracle"]["method"] = {"kind": "emt"}
    config = Config.model_validate(
        {"structure": {"kind": "fcc14", "species": "Al"}, "growth": {"species": "Al"}, **given}
    )
    assert config.oracle.cores == 4
    assert config.oracle.most_actors == 16
