"""Install GPAW into the Python that runs this file, with whatever the machine has.

GPAW is C++ that links to MPI, libxc and a BLAS. It needs none of the three: without libxc it has LDA and GGA of its own
(PBE is the same to 1e-5 eV/atom), without a BLAS it uses scipy's, without MPI it is serial. Only a C++ compiler must be
there. This script tries by compiling what works, writes a site configuration, builds, and runs one small calculation.

    python scripts/build_gpaw.py [--lock requirements.lock] [--force]

Exit codes: 0 installed and checked; 1 no build worked; 2 nothing to build with. A site configuration of your own, named
by the environment variable GPAW_CONFIG, is tried first.
"""

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

PLAIN_COMPILERS = ("g++", "c++", "clang++")
MPI_COMPILERS = ("mpicxx", "mpic++")
BLAS_LIBRARIES = ("openblas", "flexiblas", "blas")
NO_COMPILER = (
    "build_gpaw: no working C++ compiler: install one (Debian, Ubuntu: g++; Fedora: gcc-c++; conda: gxx) or name it by "
    "CXX=..., then run this again; or set KOSSEL_WITHOUT_GPAW=1 to go on without GPAW"
)
NO_HEADERS = (
    "build_gpaw: Python.h is missing at {}: install the headers of this Python (Debian, Ubuntu: python3-dev; "
    "Fedora: python3-devel), then run this again; or set KOSSEL_WITHOUT_GPAW=1 to go on without GPAW"
)

PROGRAM_PLAIN = "#include <vector>\nint main() { return static_cast<int>(std::vector<int>().size()); }\n"
PROGRAM_PYTHON = "#include <Python.h>\nint main() { return 0; }\n"
PROGRAM_MPI = "#include <mpi.h>\nint main(int n, char **v) { MPI_Init(&n, &v); MPI_Finalize(); return 0; }\n"
PROGRAM_LIBXC = "#include <xc.h>\nint main() { int a, b, c; xc_version(&a, &b, &c); return 0; }\n"
PROGRAM_BLAS = """
extern "C" double ddot_(const int *, const double *, const int *, const double *, const int *);
int main() { int n = 1; double x = 2; return ddot_(&n, &x, &n, &x, &n) == 4 ? 0 : 1; }
"""

CHECK = """
import os
for name in ("PMI_SIZE", "PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"):
    os.environ.pop(name, None)
from ase import Atoms
from gpaw import GPAW
h2 = Atoms("H2", [(2.5, 2.5, 2.1), (2.5, 2.5, 2.9)], cell=(5, 5, 5))
h2.calc = GPAW(mode="lcao", basis="dzp", h=0.25, xc="PBE", txt=None)
energy = h2.get_potential_energy()
assert -7.5 < energy < -5.5, f"energy of H2: {energy} eV"
"""


@dataclass(frozen=True)
class Machine:
    """What GPAW can be built with; `None` or an empty field where nothing works."""

    compiler: str
    mpi: bool = False
    libxc: bool = False
    blas: str | None = None
    include_dirs: list[str] = field(default_factory=list)
    library_dirs: list[str] = field(default_factory=list)

    def site_configuration(self) -> str:
        """Text of the file that GPAW's build reads."""
        libraries = (["xc"] if self.libxc else []) + ([self.blas] if self.blas else [])
        lines = {
            "compiler": self.compiler,
            "mpi": self.mpi,
            "nolibxc": not self.libxc,
            "noblas": self.blas is None,
            "libraries": libraries,
            "include_dirs": self.include_dirs,
            "library_dirs": self.library_dirs,
            "runtime_library_dirs": self.library_dirs,
        }
        return "".join(f"{name} = {value!r}\n" for name, value in lines.items())

    def __str__(self) -> str:
        found = {"MPI": self.mpi, "libxc": self.libxc, self.blas or "BLAS": self.blas is not None}
        return f"{self.compiler}, " + ", ".join(name if there else f"no {name}" for name, there in found.items())


def compiles(compiler: str, program: str, *flags: str, run: bool = False) -> bool:
    """Whether `compiler` compiles and links `program` (and, with `run`, whether it then exits with 0)."""
    with tempfile.TemporaryDirectory() as folder:
        source, binary = Path(folder, "trial.cpp"), Path(folder, "trial")
        source.write_text(program)
        command = [compiler, "-std=c++17", str(source), "-o", str(binary), *flags]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=120, stdin=subprocess.DEVNULL)
            if run:
                subprocess.run([str(binary)], check=True, capture_output=True, timeout=60)
        except (OSError, subprocess.SubprocessError):
            return False
    return True


def first_that_compiles(compilers: tuple[str, ...], program: str) -> str | None:
    for compiler in compilers:
        if shutil.which(compiler) and compiles(compiler, program):
            return compiler
    return None


def look_around() -> list[Machine]:
    """What this machine can build, found by trial: the richest first, then the minimal; empty without a compiler."""
    own = os.environ.get("CXX", "").split()
    plain = first_that_compiles((*own[:1], *PLAIN_COMPILERS), PROGRAM_PLAIN)
    parallel = first_that_compiles(MPI_COMPILERS, PROGRAM_MPI)
    compiler = parallel or plain
    if compiler is None:
        return []
    prefix = os.environ.get("CONDA_PREFIX")
    include_dirs = [f"{prefix}/include"] if prefix else []
    library_dirs = [f"{prefix}/lib"] if prefix else []
    flags = [f"-I{d}" for d in include_dirs] + [f"-L{d}" for d in library_dirs]
    flags += [f"-Wl,-rpath,{d}" for d in library_dirs]
    rich = Machine(
        compiler=compiler,
        mpi=parallel is not None,
        libxc=compiles(compiler, PROGRAM_LIBXC, *flags, "-lxc", run=True),
        blas=next((b for b in BLAS_LIBRARIES if compiles(compiler, PROGRAM_BLAS, *flags, f"-l{b}", run=True)), None),
        include_dirs=include_dirs,
        library_dirs=library_dirs,
    )
    minimal = Machine(plain or compiler)
    return [rich] if str(rich) == str(minimal) else [rich, minimal]


def pinned(lock: Path) -> list[str]:
    """The lines of the lock file that name GPAW: `gpaw==...` and `gpaw-data==...`."""
    lines = [line.strip() for line in lock.read_text().splitlines()]
    found = [line for line in lines if line.split("==")[0] in ("gpaw", "gpaw-data")]
    if not any(line.startswith("gpaw==") for line in found):
        raise SystemExit(f"build_gpaw: {lock} pins no gpaw==VERSION; add the line")
    return found


def install(requirements: list[str], configuration: Path, log: Path) -> bool:
    """`pip install` with this site configuration; no cache, since a cached build has another configuration."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--no-cache-dir",
        "--force-reinstall",
        "--no-deps",
        *requirements,
    ]
    environment = {**os.environ, "GPAW_CONFIG": str(configuration)}
    with log.open("w") as out:
        done = subprocess.run(
            command, check=False, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT
        )
    if done.returncode != 0:
        errors = [line.strip() for line in log.read_text().splitlines() if "error" in line.lower()]
        print(f"build_gpaw: {(errors or ['pip failed'])[0]} (all of it: {log})", file=sys.stderr)
    return done.returncode == 0


def works(requirements: list[str], *, verbose: bool = True) -> bool:
    """Whether the installed GPAW has the pinned version and computes a hydrogen molecule."""
    version = next(r for r in requirements if r.startswith("gpaw==")).split("==")[1]
    code = f"import gpaw; assert gpaw.__version__ == {version!r}, gpaw.__version__\n" + CHECK
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, check=False, cwd=folder, env=environment, capture_output=True, text=True)
    if verbose and done.returncode != 0:
        print(f"build_gpaw: the check failed: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
    return done.returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    root = Path(__file__).resolve().parent.parent
    parser.add_argument("--lock", type=Path, default=root / "requirements.lock", help="file that pins gpaw")
    parser.add_argument("--force", action="store_true", help="build although a working GPAW is there")
    arguments = parser.parse_args()
    requirements = pinned(arguments.lock)
    if not arguments.force and works(requirements, verbose=False):
        print("build_gpaw: already there and working")
        return 0

    machines = look_around()
    if not machines:
        print(NO_COMPILER, file=sys.stderr)
        return 2
    headers = sysconfig.get_path("include")
    if not compiles(machines[0].compiler, PROGRAM_PYTHON, f"-I{headers}"):
        print(NO_HEADERS.format(headers), file=sys.stderr)
        return 2

    log = Path(sys.prefix, "gpaw-build.log")
    configurations = [(str(machine), machine.site_configuration()) for machine in machines]
    own = os.environ.get("GPAW_CONFIG")
    if own:
        configurations.insert(0, (own, Path(own).read_text()))
    with tempfile.TemporaryDirectory() as folder:
        for what, text in configurations:
            print(f"build_gpaw: building {' '.join(requirements)} with {what} (about a minute)", flush=True)
            configuration = Path(folder, "siteconfig.py")
            configuration.write_text(text)
            if install(requirements, configuration, log) and works(requirements):
                print("build_gpaw: built and checked")
                return 0
            print(f"build_gpaw: that did not work: {what}", file=sys.stderr)
    print(f"build_gpaw: no build of GPAW worked; what pip and the compiler said: {log}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
