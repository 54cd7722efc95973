"""What starting up may load; times depend on the machine, modules do not."""

import subprocess
import sys

import pytest

HEAVY = {"torch", "diffusers", "transformers", "av", "numpy", "PIL", "soxr"}


def loaded_by(code: str) -> set[str]:
    probe = f"import sys\n{code}\nprint('LOADED', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    return set(done.stdout.rsplit("LOADED", 1)[1].split())


def test_importing_the_package_loads_nothing():
    modules = loaded_by("import openreels")
    assert not HEAVY & modules
    assert not any(name.startswith("openreels.") for name in modules)


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["generate", "--help"], ["edit", "--help"], ["world", "--help"], ["train", "--help"], ["--version"]],
)
def test_help_loads_no_engine(arguments):
    modules = loaded_by(f"from openreels.cli.__main__ import main\nmain({arguments})")
    assert not HEAVY & modules


def test_a_request_and_a_clip_need_no_torch():
    modules = loaded_by("import openreels\nopenreels.Request, openreels.Clip, openreels.__version__")
    assert "torch" not in modules


def test_what_cannot_be_done_is_known_without_torch():
    modules = loaded_by(
        "from openreels.cli.__main__ import main\n"
        "assert main(['generate', 'x', '-o', 'a.mp4', '--duration', '150']) == 2\n"
        "assert main(['generate', 'x', '-o', 'a.mp4', '--model', 'nothing']) == 2\n"
        "assert main(['models']) == 0\n"
        "assert main(['train', 'big', '--steps', '1']) == 2\n"
        "assert main(['train', 'pocket']) == 2\n"
        "assert main(['train', 'pocket', '--steps', '1', '--device', 'tpu']) == 2"
    )
    assert "torch" not in modules


def test_names():
    import openreels

    assert {"load", "Request", "Clip", "__version__"} <= set(dir(openreels))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = openreels.nothing


def test_python_dash_m():
    done = subprocess.run([sys.executable, "-m", "openreels", "--version"], capture_output=True, text=True, check=True)
    import openreels

    assert done.stdout.strip() == openreels.__version__
