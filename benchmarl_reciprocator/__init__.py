"""benchmarl-reciprocator: the Reciprocator and social dilemmas as native BenchMARL components.

Names load when they are first used: the influence parts bring in TorchRL alone, most others BenchMARL, and with it
this package's registration. If BenchMARL is loaded already, importing the package registers it.

``__init__.pyi`` beside this file lists the names. Type checkers read their types there, and this file where they are.
"""

from __future__ import annotations

import ast
import importlib
import sys
from importlib.resources import files
from typing import Any

__version__ = "0.2.0"


def _modules_of_names() -> dict[str, str]:
    """The module of every public name, by the imports of the stub."""
    stub = ast.parse(files(__name__).joinpath("__init__.pyi").read_text(encoding="utf-8"))
    imports = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    return {alias.name: f"{__name__}.{node.module}" for node in imports for alias in node.names}


_MODULE_OF = _modules_of_names()
__all__ = sorted(_MODULE_OF)


def _register_with_benchmarl() -> None:
    """Once BenchMARL is loaded: before, there is nothing to register with."""
    if "benchmarl" in sys.modules:
        importlib.import_module(f"{__name__}.plugin.registration").register()


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULE_OF[name]), name)
    _register_with_benchmarl()
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])


_register_with_benchmarl()
