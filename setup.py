"""Where the packages are: conf/ and tasks/ stand at the top and are installed inside benchmarl_reciprocator.

Computed here, since a list in pyproject.toml would leave new sub-folders out of the wheel.
"""

from setuptools import find_packages, setup

PACKAGE = "benchmarl_reciprocator"
FOLDERS = {
    PACKAGE: PACKAGE,
    f"{PACKAGE}.conf": "conf",
    f"{PACKAGE}.tasks": "tasks",
    # Hydra's namespace for plugins: the folder itself must have no __init__.py.
    "hydra_plugins": f"{PACKAGE}/hydra_plugins",
}

packages = list(FOLDERS)
for package, folder in FOLDERS.items():
    packages += [f"{package}.{inner}" for inner in find_packages(folder)]

setup(
    packages=packages,
    package_dir=FOLDERS,
    package_data={f"{PACKAGE}.conf": ["**/*.yaml"]},
)
