"""behest_core.testing as a package: what it offers, and what it needs."""

import pkgutil
import re
import subprocess
import sys
from importlib import import_module

import pytest

from behest_core import testing


def test_every_public_name_is_there_and_explained():
    for name in testing.__all__:
        assert getattr(testing, name) is not None
        assert re.search(rf"\b{name}\b", testing.__doc__), f"{name} is not explained"


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = testing.Nothing


@pytest.mark.parametrize("missing", ["moto", "yaml"])
def test_without_its_requirements_it_says_what_to_install(missing):
    script = f"import sys; sys.modules['{missing}'] = None; from behest_core.testing import LocalStack"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert 'pip install "behest-core[testing]"' in done.stderr


def test_the_model_of_the_mapping_needs_no_aws_library():
    script = "import sys, behest_core.testing; sys.exit(bool({'boto3', 'botocore', 'moto', 'yaml'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=60).returncode == 0


def test_a_plugins_tests_need_no_agent_framework_and_only_their_fixtures_need_pytest():
    modules = [module.name for module in pkgutil.iter_modules(testing.__path__) if module.name != "fixtures"]
    script = (
        "import sys\n"
        "for name in ('pytest', 'ag_ui', 'agents', 'langchain_core', 'langgraph', 'pydantic_ai', 'strands'):\n"
        "    sys.modules[name] = None\n"
        f"for name in {modules}:\n"
        "    __import__('behest_core.testing.' + name)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


def test_every_module_for_a_plugins_tests_is_explained():
    for name in ("builders", "fixtures", "folding", "recorded"):
        assert import_module(f"behest_core.testing.{name}").__doc__
        assert re.search(rf"^    {name} ", testing.__doc__, re.MULTILINE), f"{name} is not explained"
