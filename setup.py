"""Where the packages are: conf/ and tasks/ stand at the top and are installed inside benchmarl_reciprocator.

Computed here, since a list in pyproject.toml would leave new sub-folders out of the wheel.
"""

from pathlib import Path

from setuptools import find_namespace_packages, setup

PACKAGE = "benchmarl_reciprocator"
FOLDERS = {
    PACKAGE: PACKAGE,
    f"{PACKAGE}.conf": "conf",
    f"{PACKAGE}.tasks": "tasks",
    # Hydra's namespace for plugins: the folder itself must have no __init__.py.
    "hydra_plugins": f"{PACKAGE}/hydra_plugins",
}
# Links to the packages as they are installed. An editable install puts this folder on Python's path, where editors and
# type checkers look too; an import hook, setuptools' default for such a layout, they could not read.
EDITABLE = ".editable"

packages = list(FOLDERS)
for package, folder in FOLDERS.items():
    # Namespace packages too: the folders of yaml files have no __init__.py. Not by the links that editors and type
    # checkers follow: what they lead to is a package by itself.
    links = [f"{place.name}*" for place in Path(folder).iterdir() if place.is_symlink()]
    inner = find_namespace_packages(folder, exclude=["*__pycache__*", "hydra_plugins*", *links])
    packages += [f"{package}.{name}" for name in inner]

# Where the file system has no links, the default.
linked = all(Path(EDITABLE, name).is_dir() for name in (PACKAGE, "hydra_plugins"))
options = {"editable_wheel": {"mode": "compat"}} if linked else {}

setup(
    license="MIT",
    packages=packages,
    package_dir={"": EDITABLE, **FOLDERS} if linked else FOLDERS,
    package_data={"": ["*.yaml", "*.jinja", "*.txt", "*.pyi", "py.typed"]},
    options=options,
)
