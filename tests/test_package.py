"""``import facemug_lib``: quick, and clear about names that it has not."""

from __future__ import annotations

import subprocess
import sys

import pytest


def test_importing_the_package_loads_no_torch() -> None:
    code = "import sys, facemug_lib; assert 'torch' not in sys.modules; facemug_lib.Editor; assert 'torch' in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_unknown_name_of_the_package() -> None:
    import facemug_lib

    with pytest.raises(AttributeError, match="no attribute 'Edittor'"):
        facemug_lib.Edittor  # noqa: B018
    assert set(facemug_lib.__all__) <= set(dir(facemug_lib))
